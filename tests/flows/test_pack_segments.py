from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from features.extract import feature_schema
from features.inventory import row_identity, row_key
from features.plugin import FeatureSpec
from flows import pack
from flows.pack import Told
from flows.pack_segments import Frames, Tier, pack_means_works, pack_spans_works
from models.stream import Stream
from tests.flows.made import utterance, utterances
from warehouse import Artifact, Warehouse
from warehouse.artifact import Request
from warehouse.compaction import merge, merge_of
from warehouse.merged import pieces
from warehouse.schema import FAILURES, INTERVALS, pair_id
from warehouse.shards import ShardReader
from warehouse.tables import array_cells, read_table, write_rows

HOP_S = 0.01
NAMES = ("a", "b", "c")
ROWS = {name: utterance(name) for name in NAMES}
PAIRS = {name: pair_id(row["audio_id"], row["text_id"]) for name, row in ROWS.items()}
WORDS = (("ONE", 0.0, 0.1), ("TWO", 0.1, 0.105), ("THREE", 0.2, 0.55))


@dataclasses.dataclass(frozen=True)
class Made:
    name: str
    version: ClassVar[int] = 1
    needs: ClassVar[str] = "audio"


@dataclasses.dataclass(frozen=True)
class Heard:
    name: str
    version: ClassVar[int] = 1
    needs: ClassVar[str] = "pair"


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "CHUNK", 2)


@pytest.fixture
def read(lake: Warehouse) -> list[Artifact]:
    made = utterances(lake, list(ROWS.values()))
    lake.set_ref("corpora/made", {"raw": [], "utterances": [made.digest], "labels": []})
    return [made]


def frames_of(name: str, *layers: int) -> np.ndarray:
    n_frames = 50 + 10 * NAMES.index(name)
    return np.random.default_rng(n_frames).normal(size=(*layers, n_frames, 3)).astype(np.float32)


def frames(lake: Warehouse, names: Iterable[str] = NAMES, layers: int = 0, **more: Any) -> Frames:
    """A row of each utterance, with layers before its frames or without."""
    before = (layers,) if layers else ()
    axes = ("layer", "frame", "dim") if layers else ("frame", "dim")
    plugin = Made(f"{layers} layers")
    rows = [
        {"input_id": ROWS[name]["audio_id"]} | array_cells("frames", frames_of(name, *before)) for name in sorted(names)
    ]
    schema = feature_schema({"frames": FeatureSpec("frame", axes, 3, hop_s=HOP_S)})
    params = {"plugin": row_identity("extractors.made", plugin), "ids": [row["input_id"] for row in rows]} | more
    artifact = lake.materialize(
        Request("features", "extractors.made", 1, params),
        lambda folder: write_rows(folder / "features.parquet", rows, schema),
    )
    known = {"plugin_key": row_key("extractors.made", plugin), "needs": "audio", "hops_s": {"frames": HOP_S}}
    lake.set_ref("features/made", known)
    return Frames("frames", HOP_S, "extractors.made", plugin, [artifact])


def tier(lake: Warehouse, words: Mapping[str, Iterable[tuple[str, float, float]]], aligner: str = "one") -> Tier:
    plugin = Heard(aligner)
    rows = [
        {"input_id": PAIRS[name], "tier": "word", "position": n, "symbol": symbol, "start_s": a, "end_s": b,
         "score": None}
        for name, segments in words.items() for n, (symbol, a, b) in enumerate(segments)
    ]  # fmt: skip
    rows.reverse()  # whoever reads them puts them in order
    params = {"plugin": row_identity("aligners.made", plugin), "ids": list(words)}

    def write(folder: Path) -> None:
        write_rows(folder / "intervals.parquet", rows, INTERVALS)
        write_rows(folder / "failures.parquet", [], FAILURES)

    artifact = lake.materialize(Request("intervals", "aligners.made", 1, params), write)
    return Tier("word", "aligners.made", plugin, [artifact])


def means(lake: Warehouse, read: list[Artifact], own: Frames, words: Tier, **more: Any) -> list[Artifact]:
    return [lake.perform(work) for work in pack_means_works(read, own, words, **more)]


def by_name(shards: Iterable[Artifact]) -> dict[str, np.ndarray]:
    readers = [ShardReader(shard.folder) for shard in shards]
    return {name: reader.array(name) for reader in readers for name in reader}


@pytest.mark.parametrize("layers", [0, 2])
def test_a_packed_row_is_the_row_of_the_view(lake: Warehouse, read: list[Artifact], layers: int) -> None:
    own, words = frames(lake, layers=layers), tier(lake, dict.fromkeys(NAMES, WORDS))
    packed = by_name(means(lake, read, own, words))
    assert {name: array.shape for name, array in packed.items()} == dict.fromkeys(
        NAMES, (layers, 3, 3) if layers else (3, 3)
    )
    rows = lake.table("SELECT utterance_id, position, mean FROM means_made").to_pylist()
    assert len(rows) == 9
    for row in rows:
        own_mean = packed[row["utterance_id"]][..., row["position"], :]
        assert own_mean.ravel().tolist() == row["mean"], "SQL has layers one after the other"


def test_the_times_of_segments_are_a_field_of_their_own(lake: Warehouse, read: list[Artifact]) -> None:
    words = tier(lake, {"a": WORDS, "c": WORDS[:1]})
    made = [lake.perform(work) for work in pack_spans_works(read, words)]
    packed = by_name(made)
    assert {name: array.tolist() for name, array in packed.items()} == {
        "a": [[0.0, 0.1], [0.1, 0.105], [0.2, 0.55]], "c": [[0.0, 0.1]]
    }  # fmt: skip
    assert {array.dtype for array in packed.values()} == {np.dtype(np.float64)}
    assert [set(a.request.inputs) for a in made] == [{"intervals"}] * 2


def test_a_request_cites_frames_and_intervals_and_names_both_plugins(lake: Warehouse, read: list[Artifact]) -> None:
    own, words = frames(lake), tier(lake, dict.fromkeys(NAMES, WORDS))
    request = means(lake, read, own, words)[0].request
    assert request.inputs == {
        "features": (own.artifacts[0].digest,), "intervals": (words.artifacts[0].digest,)
    }  # fmt: skip
    source = request.params["source"]
    assert (source["output"], source["tier"]) == ("frames", "word")
    assert source["plugin"]["fields"] == {"name": "0 layers"} and source["aligner"]["fields"] == {"name": "one"}


def test_another_alignment_is_packed_from_the_same_frames(lake: Warehouse, read: list[Artifact]) -> None:
    own = frames(lake)
    first = means(lake, read, own, tier(lake, dict.fromkeys(NAMES, WORDS)))
    moved = tier(lake, {name: [(s, a, b + 0.02) for s, a, b in WORDS] for name in NAMES}, aligner="other")
    second = means(lake, read, own, moved)
    assert {a.key for a in first} & {a.key for a in second} == set()
    assert [a.request.inputs["features"] for a in first] == [a.request.inputs["features"] for a in second]
    assert not np.array_equal(by_name(first)["a"], by_name(second)["a"])


def test_who_lacks_frames_or_segments_is_left_out_and_keeps_its_place(lake: Warehouse, read: list[Artifact]) -> None:
    whole = means(lake, read, frames(lake), tier(lake, dict.fromkeys(NAMES, WORDS)))
    assert [list(ShardReader(a.folder)) for a in whole] == [["a", "b"], ["c"]]
    unheard = means(lake, read, frames(lake, ("b", "c")), tier(lake, dict.fromkeys(NAMES, WORDS)))
    unsaid = means(lake, read, frames(lake), tier(lake, {"b": WORDS, "c": WORDS}))
    for made in (unheard, unsaid):
        assert [list(ShardReader(a.folder)) for a in made] == [["b"], ["c"]]
    assert list(by_name(means(lake, read, frames(lake), tier(lake, {"a": WORDS, "b": WORDS}), keep={"b"}))) == ["b"]


def test_a_segment_outside_its_frames_is_a_failure_with_its_sentence(lake: Warehouse, read: list[Artifact]) -> None:
    words = tier(lake, {"a": [*WORDS, ("LATE", 0.6, 9.0)], "b": WORDS})
    (made,) = means(lake, read, frames(lake), words)
    assert list(ShardReader(made.folder)) == ["b"]
    assert read_table(made.path("failures.parquet"), FAILURES).to_pylist() == [
        {"input_id": ROWS["a"]["audio_id"], "utterance_id": "a", "step": "flows.pack_segments",
         "reason": "interval 3 ('LATE') spans [0.6, 9.0] s, but the features cover [0, 0.500] s"}
    ]  # fmt: skip


def test_of_two_answers_the_one_of_the_views_is_packed(lake: Warehouse, read: list[Artifact]) -> None:
    """Two runs that overlapped may both have answered: every question then gets the same one."""
    own = frames(lake)
    several = [tier(lake, {"a": [("ONE", 0.0, 0.1 * n)], "bc"[n % 2]: WORDS}) for n in (1, 2)]
    both = dataclasses.replace(several[0], artifacts=[a for one in several for a in one.artifacts])
    for order in (both.artifacts, both.artifacts[::-1]):
        packed = by_name(means(lake, read, own, dataclasses.replace(both, artifacts=order)))
        for row in lake.table("SELECT utterance_id, position, mean FROM means_made").to_pylist():
            assert packed[row["utterance_id"]][row["position"]].tolist() == row["mean"]


def test_segments_are_those_of_what_is_cited_also_where_others_lie_in_the_file(
    lake: Warehouse, read: list[Artifact]
) -> None:
    answers = [tier(lake, {"a": [("ONE", 0.0, 0.1 * n)], **({"c": WORDS} if n > 1 else {})}) for n in (1, 2)]
    cited, other = sorted((one.artifacts[0] for one in answers), key=lambda a: a.key)
    several = (tier(lake, {"b": [("TWO", 0.0, 0.01 * n)]}, f"{n}").artifacts[0] for n in range(1, 20))
    beside = next(a for a in several if a.key < cited.key)  # so that the merged file would be read first
    held = [cited, *pieces(merge(lake, merge_of([other, beside])))]
    works = pack_spans_works(read, dataclasses.replace(answers[0], artifacts=held), keep={"a", "b"})
    packed = by_name(lake.perform(work) for work in works)
    end_s = 0.1 if cited is answers[0].artifacts[0] else 0.2
    assert packed["a"].tolist() == [[0.0, pytest.approx(end_s)]] and len(packed["b"]) == 1


def test_same_inputs_same_bytes(lake: Warehouse, read: list[Artifact], tmp_path: Path) -> None:
    works = pack_means_works(read, frames(lake), tier(lake, dict.fromkeys(NAMES, WORDS)))
    elsewhere = Warehouse(tmp_path / "elsewhere", create=True)
    assert [elsewhere.perform(work).digest for work in works] == [lake.perform(work).digest for work in works]


@pytest.mark.parametrize("layers", [0, 2])
def test_a_model_reads_segments_as_steps(lake: Warehouse, read: list[Artifact], layers: int) -> None:
    own, words = frames(lake, layers=layers), tier(lake, {"a": WORDS, "b": WORDS[:1], "c": WORDS[:2]})
    shards = {
        "speech": [a.folder for a in means(lake, read, own, words)],
        "times": [lake.perform(work).folder for work in pack_spans_works(read, words)],
    }
    stream = Stream(shards, "train", dict.fromkeys(NAMES), (), 100)
    (batch,) = stream.batches()
    assert batch.arrays["speech"].shape == ((3, 2, 3, 3) if layers else (3, 3, 3))
    assert batch.lengths["speech"].tolist() == batch.lengths["times"].tolist() == [1, 2, 3]
    assert batch.arrays["times"][2].tolist() == [pytest.approx([a, b]) for _, a, b in WORDS]


def test_segments_of_what_is_told_again_are_packed_under_the_ids_it_is_told_from(
    lake: Warehouse, read: list[Artifact]
) -> None:
    """'a' has the sound and the words of 'b', 'c' has nothing there."""
    own, words = frames(lake), tier(lake, {name: WORDS[: n + 1] for n, name in enumerate(NAMES)})
    told = Told("told", {"a": ROWS["b"], "b": ROWS["b"]}, dict.fromkeys("ab", read[0]))
    shards, plain_shards = means(lake, read, own, words, told=told), means(lake, read, own, words)
    packed, plain = by_name(shards), by_name(plain_shards)
    assert packed.keys() == {"a", "b"} and plain["b"].shape != plain["a"].shape
    assert packed["a"].tobytes() == packed["b"].tobytes() == plain["b"].tobytes()
    spans = [lake.perform(work) for work in pack_spans_works(read, words, told=told)]
    assert {a.request.inputs["utterances"] for a in (*shards, *spans)} == {(read[0].digest,)}
    assert not any("utterances" in a.request.inputs for a in plain_shards)
    times = by_name(spans)
    assert times.keys() == {"a", "b"} and times["a"].tolist() == [[0.0, 0.1], [0.1, 0.105]]
