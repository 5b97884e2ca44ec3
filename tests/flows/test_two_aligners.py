"""The sandbox's IEMOCAP aligned by pocketsphinx and by what it ships: both in SQL, and both as fields of shards."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.extractors.mfcc import Mfcc
from features.inventory import column
from features.sandbox import iemocap
from flows import pack_segments
from flows.line import Line
from flows.plan import plan
from flows.recipe import Recipe, read_recipe, recipe_path
from tests.flows.partly import Partly, by_name, contents, new
from warehouse import Artifact, Warehouse
from warehouse.artifact import Request
from warehouse.errors import InvalidField, TooManyFailures
from warehouse.pooling import mean_over
from warehouse.schema import INTERVALS
from warehouse.shards import ShardReader
from warehouse.tables import read_table, write_rows

RECIPE = """
name = "two"
title = "Two aligners of one corpus"

[corpora.iemocap]
reader = "iemocap"
sessions = [1, 2, 3]

[align.sphinx]
aligner = "pocketsphinx"
corpora = ["iemocap"]

[align.shipped]
aligner = "provided"
corpora = ["iemocap"]

[features.mfcc]
extractor = "mfcc"
corpora = ["iemocap"]
n_mfcc = 13

[features.wave]
extractor = "waveform"
corpora = ["iemocap"]

[models.small]
student = "mced"
corpus = "iemocap"
protocol = "sandbox4-loso5"
objective = { label = 1.0 }
fit = { epochs = 1, learning_rate = 1e-3, batch_frames = 100 }
[models.small.inputs]
speech = "mfcc@shipped.phone"
words = "mfcc.frames@sphinx.word"
syllables = "mfcc@sphinx.syllable"
times = "@sphinx.word"
"""
STEPS = ("record", "survey", "ingest", "align", "extract", "canary", "pack", "split")


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One dialogue of each of three sessions."""
    root = tmp_path_factory.mktemp("raw") / "IEMOCAP_full_release"
    dialogues = [next(d for d in iemocap.plan(0, 0.1) if d.session == n) for n in (1, 2, 3)]
    iemocap.write(root, dialogues, 0, lambda: None)
    return {"iemocap": root}


def recipe_of(folder: Path, old: str = "", new: str = "") -> Recipe:
    assert old in RECIPE
    (folder / "two.toml").write_text(RECIPE.replace(old, new, 1) if old else RECIPE, encoding="utf-8")
    return read_recipe(folder / "two.toml")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, roots: Mapping[str, Path]) -> Path:
    """A lake with everything up to the shards."""
    folder = tmp_path_factory.mktemp("built")
    warehouse = Warehouse(folder / "lake", create=True)
    line = Line(recipe_of(folder), warehouse, roots, Partly(warehouse, *STEPS))
    line.align()
    line.pack()
    return warehouse.root


@pytest.fixture
def lake(built: Path, tmp_path: Path) -> Warehouse:
    return Warehouse(Path(shutil.copytree(built, tmp_path / "lake")))


def arrays(shards: list[Artifact]) -> dict[str, np.ndarray]:
    readers = [ShardReader(shard.folder) for shard in shards]
    return {name: reader.array(name) for reader in readers for name in reader}


# -- side by side ----------------------------------------------------------------------------------------------------


def test_both_alignments_stand_side_by_side_with_their_disagreement(lake: Warehouse) -> None:
    (n_utterances,) = lake.sql("SELECT count(*) FROM utterances").fetchall()[0]
    named = dict(lake.sql("SELECT name, step FROM aligners JOIN (SELECT DISTINCT step, plugin_key FROM intervals) "
                          "USING (plugin_key)").fetchall())  # fmt: skip
    assert named == {"sphinx": "aligners.pocketsphinx", "shipped": "aligners.provided"}
    rows = lake.table("FROM disagreement WHERE tier = 'word'").to_pylist()
    assert len(rows) == n_utterances > 0
    assert {(row["aligner_a"], row["aligner_b"]) for row in rows} == {("aligners.pocketsphinx", "aligners.provided")}
    assert {row["unmatched"] for row in rows} == {0.0}, "both have the words of the transcript"
    assert float(np.median([row["start_median_s"] for row in rows])) < 0.03
    phones = lake.table("FROM disagreement WHERE tier = 'phone'").to_pylist()
    assert len(phones) == n_utterances and np.mean([row["unmatched"] for row in phones]) < 0.3
    sides = lake.table("SELECT symbol_a, symbol_b FROM side_by_side WHERE tier = 'word'").to_pylist()
    assert all(row["symbol_a"] == row["symbol_b"] for row in sides)


def test_a_planted_shift_of_30_ms_is_found_as_30_ms(lake: Warehouse) -> None:
    for artifact in lake.artifacts("intervals"):
        if artifact.request.step == "aligners.provided":
            rows = read_table(artifact.path("intervals.parquet"), INTERVALS).to_pylist()
            rows = [row | {"start_s": row["start_s"] + 0.03, "end_s": row["end_s"] + 0.03} for row in rows]
            request = Request("intervals", "aligners.shifted", 1, {"plugin": {"step": "shifted"}, "of": artifact.key})
            lake.materialize(request, partial(_write, rows))
    query = "FROM disagreement WHERE aligner_a = 'aligners.provided' AND aligner_b = 'aligners.shifted'"
    found = lake.table(query).to_pylist()
    assert {row["tier"] for row in found} == {"word", "phone", "syllable"}
    distances = [f"{edge}_{name}_s" for edge in ("start", "end") for name in ("median", "p90", "max")]
    assert [row[name] for row in found for name in distances] == pytest.approx([0.03] * len(found) * 6)
    assert {row["unmatched"] for row in found} == {0.0}


def _write(rows: list[dict[str, Any]], folder: Path) -> None:
    write_rows(folder / "intervals.parquet", rows, INTERVALS)


# -- as fields of shards ---------------------------------------------------------------------------------------------


def test_a_packed_field_is_the_view_row_by_row(lake: Warehouse, roots: Mapping[str, Path], tmp_path: Path) -> None:
    shards = Line(recipe_of(tmp_path), lake, roots, Partly(lake)).shards("small")
    for role, aligner, tier in (
        ("speech", "provided", "phone"), ("syllables", "pocketsphinx", "syllable"), ("words", "pocketsphinx", "word"),
    ):  # fmt: skip
        packed = arrays(shards[role])
        query = f"SELECT * FROM means_mfcc WHERE aligner = 'aligners.{aligner}' AND tier = '{tier}'"
        rows = lake.table(query).to_pylist()
        sizes = f"SELECT count(*) FROM intervals WHERE step = 'aligners.{aligner}' AND tier = '{tier}'"
        assert [(sum(map(len, packed.values())),)] == [(len(rows),)] == lake.sql(sizes).fetchall() != [(0,)]
        for row in rows:
            assert packed[row["utterance_id"]][row["position"]].tolist() == row["mean"]
    times = arrays(shards["times"])
    for row in rows:
        assert times[row["utterance_id"]][row["position"]].tolist() == [row["start_s"], row["end_s"]]


def test_a_new_alignment_packs_anew_and_extracts_nothing(
    lake: Warehouse, roots: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Mfcc, device: str) -> None:
        raise AssertionError("an extractor was loaded")

    monkeypatch.setattr(Mfcc, "load", refuse)
    wider = recipe_of(tmp_path, 'aligner = "pocketsphinx"', 'aligner = "pocketsphinx"\nbeam = 1e-200')
    doer = Partly(lake, *STEPS)
    line = Line(wider, lake, roots, doer)
    line.align()
    line.pack()
    before = {a.key for a in lake.artifacts("features")}
    counted = {step.name: step.n_rows for step in doer.steps}
    assert counted["extract mfcc"] == counted["align sphinx"] > 0
    steps = by_name(plan(wider, lake, roots, "pack"))
    assert new(steps) == {} and {a.key for a in lake.artifacts("features")} == before
    packed = [a for a in lake.artifacts("shards") if a.request.params["source"]["tier"] == "word"]
    beams = {a.request.params["source"]["aligner"]["fields"]["beam"] for a in packed}
    assert beams == {1e-120, 1e-200}


def test_a_killed_pack_goes_on_where_it_stopped(lake: Warehouse, roots: Mapping[str, Path], tmp_path: Path) -> None:
    there = lake.artifacts("shards")
    expected = {a.key: a.digest for a in there}
    for artifact in there[::2]:
        shutil.rmtree(artifact.folder)
    again = Warehouse(lake.root)
    kept = contents(again.root)
    Line(recipe_of(tmp_path), again, roots, Partly(again, "pack")).pack()
    assert {a.key: a.digest for a in again.artifacts("shards")} == expected
    assert kept.items() <= contents(again.root).items(), "what was there is not made again"


def test_a_segment_outside_stops_the_run_or_is_left_out_of_the_split(
    built: Path, roots: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Warehouse(Path(shutil.copytree(built, tmp_path / "lake", ignore=lambda at, names: {"shards"} & {*names})))
    odd: list[int] = []

    def pooled(frames: np.ndarray, hop_s: float, spans: Sequence[tuple[str, float, float]]) -> np.ndarray:
        """As if the frames of one utterance ended before its words."""
        odd.append(len(frames))
        return mean_over(frames[: 10 if len(frames) == odd[0] else None], hop_s, spans)

    monkeypatch.setattr(pack_segments, "mean_over", pooled)
    stopped = Line(recipe_of(tmp_path), lake, roots, Partly(lake, *STEPS))
    with pytest.raises(TooManyFailures, match=r"could not treat \d+ utterances.* s, but the features cover"):
        stopped.pack()
    allowing = RECIPE + "\n[failures]\nallowed = 100\n"
    (tmp_path / "two.toml").write_text(allowing, encoding="utf-8")
    line = Line(read_recipe(tmp_path / "two.toml"), lake, roots, Partly(lake, *STEPS))
    line.pack()
    out = {row["utterance_id"] for row in line.failures.values()}
    assert len(line.failures) == 3 * len(out), "each field that lacks an utterance says so"
    rows = lake.table("SELECT DISTINCT utterance_id FROM failures WHERE step = 'flows.pack_segments'").column(0)
    assert out == set(rows.to_pylist()) != set()
    split = line.splits("small")
    assert out.isdisjoint(name for one in split.values() for name in _ids(one))


def _ids(split: Artifact) -> list[str]:
    return list(column(split.path("split.parquet"), "utterance_id"))


def test_what_has_no_frames_has_no_means(lake: Warehouse, roots: Mapping[str, Path], tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, "mfcc@shipped.phone", "wave@shipped.phone")
    sentence = "field 'wave@shipped.phone' asks for means over time, but 'wave' of this feature is no row of frames"
    with pytest.raises(InvalidField, match=sentence):
        Line(recipe, lake, roots, Partly(lake, *STEPS)).pack()


# -- the recipe that is shipped --------------------------------------------------------------------------------------


def test_the_shipped_recipe_says_what_the_readme_asks(roots: Mapping[str, Path], tmp_path: Path) -> None:
    text = recipe_path("aligned").read_text(encoding="utf-8")
    text = text.replace('reader = "iemocap"', 'reader = "iemocap"\nsessions = [1, 2, 3]')
    (tmp_path / "aligned.toml").write_text(text, encoding="utf-8")
    lake = Warehouse(tmp_path / "lake", create=True)
    line = Line(read_recipe(tmp_path / "aligned.toml"), lake, roots, Partly(lake, *STEPS))
    line.align()
    line.pack()
    assert [a.request.step for a in lake.artifacts("features")] == ["extractors.opensmile"] * 3, "each session once"
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    asked = [query for query in re.findall(r'emolake sql "(.*?)"\n', readme, re.DOTALL)
             if re.search("side_by_side|disagreement|means_voice", query)]  # fmt: skip
    beside, apart, means = (lake.table(query).to_pylist() for query in asked)
    assert beside and all(row["symbol_a"] == row["symbol_b"] for row in beside)
    assert {row["tier"] for row in apart} == {"word", "phone", "syllable"}
    assert {(row["aligner_a"], row["aligner_b"]) for row in apart} == {("aligners.pocketsphinx", "aligners.provided")}
    assert [row["aligner"] for row in means] == ["aligners.pocketsphinx", "aligners.provided"]
    assert means[0]["loudness"] == pytest.approx(means[1]["loudness"], rel=0.2), "of the same vowels"
