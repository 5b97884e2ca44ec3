from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from flows import pack
from flows.pack import Told, pack_text_works, pack_works
from tests.flows.made import FRAMES, LOGITS, features, utterance, utterances
from warehouse import Artifact, Request, Warehouse
from warehouse.compaction import merge, merge_of
from warehouse.merged import pieces
from warehouse.schema import UTTERANCES, text_id
from warehouse.shards import ShardReader
from warehouse.tables import read_table, write_rows


@dataclasses.dataclass(frozen=True)
class Made:
    version: ClassVar[int] = 1
    needs: ClassVar[str] = "text"


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "CHUNK", 2)


def corpus(lake: Warehouse, *units: tuple[str, ...]) -> list[Artifact]:
    return [
        utterances(lake, [utterance(name, text=name) for name in names], unit=str(number))
        for number, names in enumerate(units)
    ]


def packed(
    lake: Warehouse, rows: list[Artifact], made: list[Artifact], output: str, **more: set[str]
) -> list[Artifact]:
    spec = {"frames": FRAMES, "logits": LOGITS}[output]
    return [lake.perform(w) for w in pack_works(rows, "extractors.made", Made(), output, spec, made, **more)]


def test_arrays_and_vectors_come_back_as_they_were(lake: Warehouse) -> None:
    rows = corpus(lake, ("a", "b", "c"))
    made = [features(lake, {text_id(name): (n, -n) for n, name in enumerate("abc")})]
    frames, logits = packed(lake, rows, made, "frames"), packed(lake, rows, made, "logits")
    assert [list(ShardReader(a.folder)) for a in frames] == [["a", "b"], ["c"]]
    assert ShardReader(frames[1].folder).array("c").tolist() == np.full((4, 3), 2.0).tolist()
    assert ShardReader(logits[0].folder).array("b").tolist() == [1.0, -1.0]


def test_a_chunk_stays_inside_its_unit_so_a_new_film_rewrites_nothing(lake: Warehouse) -> None:
    made = [features(lake, {text_id(name): (0, 0) for name in "abcde"})]
    before = packed(lake, corpus(lake, ("a",), ("b", "c")), made, "frames")
    after = packed(lake, corpus(lake, ("a",), ("b", "c"), ("d", "e")), made, "frames")
    assert [a.key for a in after[:2]] == [a.key for a in before]
    assert len(after) == 3


def test_a_shard_cites_only_the_artifacts_its_rows_come_from(lake: Warehouse) -> None:
    rows = corpus(lake, ("a",), ("b",))
    one = features(lake, {text_id("a"): (0, 0)})
    two = features(lake, {text_id("b"): (1, 1)})
    first, second = packed(lake, rows, [one, two], "frames")
    assert first.request.inputs == {"features": (one.digest,)}
    assert second.request.inputs == {"features": (two.digest,)}


def test_rows_that_failed_and_utterances_not_chosen_are_left_out(lake: Warehouse) -> None:
    rows = corpus(lake, ("a", "b", "c"))
    made = [features(lake, {text_id("a"): (0, 0), text_id("c"): (0, 0)})]
    assert [list(ShardReader(a.folder)) for a in packed(lake, rows, made, "frames")] == [["a"], ["c"]]
    assert [list(ShardReader(a.folder)) for a in packed(lake, rows, made, "frames", keep={"c"})] == [["c"]]


def test_a_row_that_failed_in_one_field_moves_no_utterance_to_another_shard(lake: Warehouse) -> None:
    """Tars of several fields are read side by side: shard n of each must hold the same utterances."""
    rows = corpus(lake, ("a", "b", "c", "d"))
    whole = [features(lake, {text_id(name): (0, 0) for name in "abcd"}, name="whole")]
    lacking = [features(lake, {text_id(name): (0, 0) for name in "bcd"}, name="lacking")]
    sides = [[set(ShardReader(a.folder)) for a in packed(lake, rows, made, "frames")] for made in (whole, lacking)]
    assert sides == [[{"a", "b"}, {"c", "d"}], [{"b"}, {"c", "d"}]]


def test_rows_are_those_of_what_is_cited_also_where_others_lie_in_the_file(lake: Warehouse) -> None:
    answers = features(lake, {text_id("a"): (1, 1)}), features(lake, {text_id("a"): (2, 2), "more": (0, 0)})
    other, cited = sorted(answers, key=lambda a: a.key)
    several = (features(lake, {text_id("b"): (0, 0), f"more {n}": (0, 0)}) for n in range(20))
    beside = next(a for a in several if a.digest > cited.digest)  # so that the merged file would be read later
    made = [cited, *pieces(merge(lake, merge_of([other, beside])))]
    (shard,) = packed(lake, corpus(lake, ("a", "b")), made, "logits")
    assert shard.request.inputs["features"] == (cited.digest, beside.digest)
    assert ShardReader(shard.folder).array("a").tolist() == ([1, 1] if cited is answers[0] else [2, 2])


def test_texts(lake: Warehouse) -> None:
    rows = [utterances(lake, [utterance("a", text="good day"), utterance("b", text="")])]
    (artifact,) = [lake.perform(work) for work in pack_text_works(rows)]
    reader = ShardReader(artifact.folder)
    assert list(reader) == ["a"] and reader.text("a") == "good day"


def test_a_work_carries_its_own_texts_only(lake: Warehouse) -> None:
    """A unit of fifty thousand lines is two hundred works, and each is sent to another process."""
    works = pack_text_works(corpus(lake, ("a", "b", "c")))
    assert [set(work.arguments["texts"].values()) for work in works] == [{"a", "b"}, {"c"}]


def test_lines_without_sound_are_packed_many_to_a_shard_whatever_field_is_packed(lake: Warehouse) -> None:
    silent = [utterance(name, text=name, audio_id="") for name in "abcde"]
    rows = [utterances(lake, silent, unit="silent")]
    made = [features(lake, {text_id(name): (0, 0) for name in "abcde"})]
    (text,), (frames,) = [lake.perform(w) for w in pack_text_works(rows)], packed(lake, rows, made, "frames")
    assert list(ShardReader(text.folder)) == list(ShardReader(frames.folder)) == list("abcde")


def test_what_is_told_again_is_packed_under_the_ids_it_is_told_from(lake: Warehouse) -> None:
    """Chunks are those of the corpus itself, so that its fields lie side by side whatever was told."""
    rows = corpus(lake, ("a", "b", "c", "d"))
    told = utterances(lake, [utterance(f"told-{n}", corpus="told", text=f"new {n}") for n in "acd"], unit="told")
    by_id = {row["utterance_id"].removeprefix("told-"): row for row in read_rows(told)}
    again = Told("told", by_id, dict.fromkeys(by_id, told))
    made = [features(lake, {text_id(f"new {n}"): (i, 0) for i, n in enumerate("cd")})]
    works = pack_works(rows, "extractors.made", Made(), "frames", FRAMES, made, told=again)
    frames = [lake.perform(work) for work in works]
    assert [list(ShardReader(a.folder)) for a in frames] == [["c", "d"]], "b is not told, and a has no row"
    assert ShardReader(frames[0].folder).array("d").tolist() == np.full((4, 3), 1.0).tolist()
    texts = [lake.perform(w) for w in pack_text_works(rows, {"a", "b", "d"}, again)]
    assert {n: ShardReader(a.folder).text(n) for a in texts for n in ShardReader(a.folder)} == {
        "a": "new a", "d": "new d"
    }  # fmt: skip
    assert {a.request.inputs["utterances"] for a in texts} == {(told.digest,)}
    assert frames[0].request.inputs == {"features": (made[0].digest,), "utterances": (told.digest,)}
    assert pack_text_works(rows)[0].request.params["source"] == {"table": "utterances", "column": "text"}


def test_a_shard_of_a_corpus_that_is_told_again_cites_its_utterances(lake: Warehouse) -> None:
    """Its rows may have been made for another corpus, with the same sound under other ids."""
    made = features(lake, {text_id("a"): (0, 0)})
    request = Request("utterances", "features.retell", 1, {"unit": "u"})
    row = utterance("told-a", text="a", corpus="told")
    told = lake.materialize(request, lambda f: write_rows(f / "utterances.parquet", [row], UTTERANCES))
    (shard,) = packed(lake, [told], [made], "frames")
    assert shard.request.inputs == {"features": (made.digest,), "utterances": (told.digest,)}


def read_rows(artifact: Artifact) -> list[dict[str, Any]]:
    return read_table(artifact.path("utterances.parquet"), UTTERANCES).to_pylist()
