"""The text teacher's protocol on its two corpora at their published size, and on the published part of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from features.corpora.emotionlines import EmotionLines
from features.corpora.xed import Xed
from features.ingest import ingest
from features.sandbox import emotionlines, xed
from flows.protocol import folds_of, read_protocol, split_of
from flows.similarity import words_of
from warehouse import Artifact, Warehouse
from warehouse.errors import InvalidField
from warehouse.schema import UTTERANCES
from warehouse.tables import read_table

RULES = read_protocol("teacher5")


def of_kind(artifacts: list[Artifact], kind: str) -> list[Artifact]:
    return [artifact for artifact in artifacts if artifact.request.kind == kind]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Artifact], list[Artifact]]:
    folder = tmp_path_factory.mktemp("teacher5")
    lake = Warehouse(folder / "lake", create=True)
    xed.write(folder / "xed")
    emotionlines.write(folder / "emotionlines")
    artifacts = ingest(lake, "xed", "corpora.xed", Xed(), folder / "xed")
    artifacts += ingest(lake, "emotionlines", "corpora.emotionlines", EmotionLines(), folder / "emotionlines")
    return of_kind(artifacts, "utterances"), of_kind(artifacts, "labels")


@pytest.fixture(scope="module")
def split(made: tuple[list[Artifact], list[Artifact]]) -> tuple[pa.Table, dict[str, tuple[int, int, int]]]:
    """The split, and what -> (expected, found, difference)."""
    table, counts = split_of(RULES, "all", folds_of(RULES, made[0]), *made)
    return table, {count.what: (count.expected or 0, count.found, count.difference) for count in counts}


def test_the_classes_are_as_near_to_the_paper_as_can_be(split: Any) -> None:
    _, counts = split
    whole = {what: count for what, count in counts.items() if "," not in what}
    assert whole == {
        "sad": (2_962, 2_962, 0),
        "happy": (4_542, 4_543, 1),
        "surprise": (4_089, 4_099, 10),
        "angry": (4_577, 4_587, 10),
        "neutral": (14_352, 16_204, 1_852),
    }


def test_dev_and_test_of_emotionlines_are_never_trained_on(split: Any, made: Any) -> None:
    parts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in split[0].to_pylist():
        corpus, own, *_ = row["utterance_id"].split("-")
        parts[own if corpus == "emotionlines" else corpus][row["part"]] += 1
    assert {own: set(found) for own, found in parts.items()} == {
        "train": {"train"}, "dev": {"dev"}, "test": {"test"}, "xed": {"train", "dev"},
    }  # fmt: skip
    assert parts["xed"]["dev"] / parts["xed"].total() == pytest.approx(0.1, abs=0.001)


def words_by_part(table: pa.Table, artifacts: list[Artifact]) -> dict[str, set[tuple[str, ...]]]:
    """Part -> what is said in XED's utterances of it, without case and punctuation."""
    part_of = dict(zip(*(table.column(name).to_pylist() for name in ("utterance_id", "part")), strict=True))
    found = defaultdict(set)
    for artifact in artifacts:
        for row in read_table(artifact.path("utterances.parquet"), UTTERANCES).to_pylist():
            if row["corpus"] == "xed" and row["utterance_id"] in part_of and words_of(row["text"]):
                found[part_of[row["utterance_id"]]].add(tuple(words_of(row["text"])))
    return found


def test_nothing_said_in_xed_is_both_learned_and_chosen_on(split: Any, made: Any) -> None:
    """Lines of two labels are two utterances of the same words, and 891 neutral lines repeat others."""
    words = words_by_part(split[0], made[0])
    assert words["train"] and words["dev"] and not words["train"] & words["dev"]


def test_another_seed_draws_others(split: Any, made: Any) -> None:
    other, _ = split_of(read_protocol("teacher5:seed=1"), "all", ["all"], *made)
    one, two = ({row["utterance_id"] for row in t.to_pylist() if row["part"] == "dev"} for t in (split[0], other))
    assert len(one & two) < len(one) / 2


def test_xed_by_line_has_several_labels_and_is_refused(tmp_path: Path) -> None:
    lake = Warehouse(tmp_path / "lake", create=True)
    xed.write(tmp_path / "xed")
    for name in (xed.ANNOTATED, xed.NEUTRAL):
        path = tmp_path / "xed" / name
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:99]))
    artifacts = ingest(lake, "xed", "corpora.xed", Xed(rows="line"), tmp_path / "xed")
    with pytest.raises(InvalidField, match=r"field 'rater' gives utterance 'xed-annotated-l0.*' more than one label"):
        split_of(RULES, "all", ["all"], of_kind(artifacts, "utterances"), of_kind(artifacts, "labels"))


@pytest.mark.slow
def test_the_published_lines_of_xed_give_their_share(real: Path, tmp_path: Path) -> None:
    lake = Warehouse(tmp_path / "lake", create=True)
    artifacts = ingest(lake, "xed", "corpora.xed", Xed(), real / "xed")
    utterances, labels = of_kind(artifacts, "utterances"), of_kind(artifacts, "labels")
    table, _ = split_of(RULES, "all", ["all"], utterances, labels)
    assert Counter(table.column("label").to_pylist()) == {
        "angry": 3_828, "happy": 2_833, "neutral": 9_674, "sad": 2_464, "surprise": 2_442,
    }  # fmt: skip
    words = words_by_part(table, utterances)
    assert len(words["dev"]) > 1_000 and not words["train"] & words["dev"]
