"""Lineage as people read it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from flows import show
from flows.audit.lineage_shown import number_rows, print_parts, rests_on, went_into
from tests.warehouse.small_lake import SmallLake, small_lake
from warehouse import Artifact, Request
from warehouse.audit.grounds import grounds
from warehouse.audit.lineage import forest
from warehouse.audit.subject import places_of, subject_of
from warehouse.audit.touched import Number, touched


@pytest.fixture
def small(tmp_path: Path) -> SmallLake:
    return small_lake(tmp_path / "lake")


def shown(small: SmallLake, reference: str, down: bool = False) -> list[list[str]]:
    """The parts that are printed, each as its lines."""
    artifacts, subject = small.lake.artifacts(), subject_of(small.lake, reference)
    places = places_of(small.lake, subject)
    if down:
        parts = went_into(subject, artifacts, touched(small.lake, subject), places)
    else:
        rest = grounds(artifacts, [a.key for a in subject.artifacts])
        parts = rests_on(subject, artifacts, rest, places)
    stream = io.StringIO()
    print_parts(parts, Console(file=stream, width=200))
    return [part.splitlines() for part in stream.getvalue().split("\n\n")]


def test_a_clip_up_has_its_place_its_tree_and_its_steps(small: SmallLake) -> None:
    place, tree, steps = shown(small, "u1")
    assert place[0].split() == ["utterance", "file", "where", "text"] and "wav/u1.wav" in place[1]
    assert [line.split()[-3] for line in tree] == ["utterances", "raw"]
    assert len(steps) == 3


def test_an_artifact_up_has_its_corpora(small: SmallLake) -> None:
    tree, corpora, _ = shown(small, small.named["metrics"].key)
    assert tree[0].startswith("metrics flows.report ") and corpora[0].split()[0] == "corpus"
    assert [line.split()[0] for line in corpora[1:]] == ["main", "other"]


def test_down_has_tables_for_clips_and_trees_for_artifacts(small: SmallLake) -> None:
    _, uses, numbers = shown(small, "v1", down=True)
    assert uses[0].split() == ["how", "kind", "step", "artifacts", "rows", "keys"]
    assert "learned from it" in "\n".join(uses) and "scored on it; learned from it" in numbers[1]
    tree, _ = shown(small, small.named["voice other"].key, down=True)
    assert tree[0].startswith("features extractors.voice") and "metrics flows.report" in "".join(tree)
    assert shown(small, small.named["metrics"].key, down=True)[-1][0].split()[:2] == ["report", "model"]


def test_a_tree_that_is_deeper_than_a_line_is_wide_is_cut_and_says_so() -> None:
    line: list[Artifact] = []
    for n in range(2_000):
        request = Request("raw", "s", 1, {"n": n}, {"from": (str(n - 1),)})
        place = Path("/no/artifacts/raw/key")
        line.append(Artifact(request, {}, str(n), {}, "2026-01-01T00:00:00.000+00:00", place))
    [tree] = forest(line, line[-1:])
    stream = io.StringIO()
    Console(file=stream, width=1_000).print(show.lineage_tree(tree))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 41 and lines[-1].strip().endswith("… and 1960 below it, which --to json lists")


def test_numbers_of_one_run_are_one_row(small: SmallLake) -> None:
    def number(metric: str, value: float, part: str = "test") -> Number:
        row = {"variant": "v", "fold": "1", "seed": 0, "part": part, "metric": metric, "value": value}
        return Number(row, ("scored on it",), small.named["metrics"], ("reports/a", "f" * 32))

    rows = number_rows([number("uar", 0.5), number("wf1", 0.25), number("uar", 0.1, "dev")])
    assert [(row["part"], row["numbers"]) for row in rows] == [("test", "uar 0.500, wf1 0.250"), ("dev", "uar 0.100")]
    assert rows[0]["report"] == "reports/a, ffffffffffff"
