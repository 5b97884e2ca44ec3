"""What nothing reaches, listed and taken away from the command line."""

from __future__ import annotations

import pytest

from features.extract import extract
from tests.flows.audit.little import Little
from tests.flows.saying import Say, saying
from warehouse import Warehouse


@pytest.fixture
def tell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    return saying(monkeypatch, capsys)


def test_gc_lists_first_and_takes_away_when_it_is_told_to(tell: Say, little: Little) -> None:
    lake = str(little.warehouse.root)
    nothing = "everything is reached, or too young to tell: nothing to take away\n"
    assert tell("gc", "--lake", lake, "--older-than", "0").out == nothing
    (made,) = extract(little.warehouse, "mfcc", ["tones"], n_mfcc=7)
    state = little.warehouse.root / ".resume" / ("f" * 32)
    state.mkdir(parents=True)
    assert tell("gc", "--lake", lake).out == nothing
    told = tell("gc", "--lake", lake, "--older-than", "0")
    header, row, left, last = told.out.splitlines()
    assert header.split() == ["kind", "step", "artifacts", "MiB", "oldest", "newest"]
    assert row.split()[:3] == ["features", "extractors.mfcc", "1"]
    assert left == f"left over: {state}" and last.endswith("MiB: --delete")
    assert last.startswith("nothing reaches 1 artifacts and 1 leftovers, ")
    assert made.folder.is_dir() and state.is_dir()
    kept = tell("gc", "--lake", lake, "--older-than", "0", "--keep", made.key, "--json").json
    assert kept["artifacts"] == [] and kept["leftovers"] == [str(state)]
    gone = tell("gc", "--lake", lake, "--older-than", "0", "--delete", "--json").json
    assert [row["key"] for row in gone["artifacts"]] == [made.key] and gone["deleted"] == 1
    assert gone["bytes"] == made.n_bytes and not made.folder.exists() and not state.exists()
    assert tell("gc", "--lake", lake, "--older-than", "0", "--delete").out == nothing
    assert tell("verify", "--lake", lake).code == 0
    assert tell("plan", str(little.recipe), "--lake", lake).out.splitlines()[-1].startswith("0 of ")


def test_gc_takes_nothing_where_it_is_not_known_what_is_wanted(tell: Say, little: Little) -> None:
    extract(little.warehouse, "mfcc", ["tones"], n_mfcc=7)
    (little.warehouse.root / "refs" / "corpora" / "tones.json").unlink()
    n = len(little.warehouse.artifacts())
    lake = str(little.warehouse.root)
    problem = "recipe 'little': field 'corpora.tones' was not ingested into this lake before"
    assert tell("gc", "--lake", lake, "--older-than", "0").out.startswith(problem)
    refused = tell("gc", "--lake", lake, "--older-than", "0", "--delete")
    assert refused.code == 1 and refused.out == "" and f"is not known ({problem}" in refused.err
    assert len(Warehouse(little.warehouse.root).artifacts()) == n
