"""Shards that were all there are known without a row being read, and whatever is another is packed anew."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from features.inventory import n_rows
from flows import line as module
from flows import packing
from flows.line import Line
from flows.packing import Packed, packed_shards
from flows.readings import Reading
from tests.flows.made import FRAMES, LOGITS, features, utterance, utterances
from warehouse import Artifact, Request, Warehouse, Work
from warehouse.artifact import MANIFEST
from warehouse.errors import ArtifactNotFound, SchemaMismatch
from warehouse.schema import SELECTION, text_id
from warehouse.tables import write_rows


@dataclasses.dataclass(frozen=True)
class Made:
    version: ClassVar[int] = 1
    needs: ClassVar[str] = "text"


class Recorder:
    """Makes all works, and keeps them."""

    def __init__(self, lake: Warehouse) -> None:
        self.lake, self.works = lake, list[Work]()

    def step(self, name: str, works: Sequence[Work]) -> list[Artifact]:
        self.works = list(works)
        return [self.lake.perform(work) for work in works]


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


def line(lake: Warehouse, read: Sequence[Artifact], made: Sequence[Artifact], chosen: Artifact | None = None) -> Any:
    """What a line knows of one corpus and one feature."""
    feature = SimpleNamespace(step="extractors.made", plugin=Made(), outputs={"frames": FRAMES, "logits": LOGITS})
    return SimpleNamespace(
        warehouse=Warehouse(lake.root), doer=Recorder(lake), corpus=lambda name: SimpleNamespace(utterances=read),
        selection=lambda name: chosen, source=lambda source: (feature, "logits"), of_corpus=lambda rows, corpus: made,
    )  # fmt: skip


def of(lake: Warehouse, *names: str, unit: str = "u") -> Artifact:
    return utterances(lake, [utterance(name, text=name) for name in names], unit)


def rows(lake: Warehouse, names: str) -> Artifact:
    return features(lake, {text_id(name): (0, n) for n, name in enumerate(names)})


def selection(lake: Warehouse, *ids: str) -> Artifact:
    chosen = [dict.fromkeys(SELECTION.names, "x") | {"utterance_id": one, "probability": 1.0} for one in ids]
    request = Request("selection", "made", 1, {"ids": list(ids)})
    return lake.materialize(request, lambda folder: write_rows(folder / "selection.parquet", chosen, SELECTION))


def packed(*asked: Any) -> list[Artifact]:
    return packed_shards(*asked).shards


def reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pack_works", "pack_text_works", "ids_in"):
        monkeypatch.setattr(packing, name, lambda *given, **more: pytest.fail("read again"))


@pytest.mark.parametrize("source", ["text", "made.logits"])
def test_what_was_packed_is_known_without_reading_it_again(
    lake: Warehouse, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    own = [of(lake, "a", "b")], [rows(lake, "ab")], selection(lake, "b")
    first = line(lake, *own)
    made = packed(first, "pack", "made", source, "chosen")
    reads_nothing(monkeypatch)
    again = line(lake, *own)
    assert packed(again, "pack", "made", source, "chosen") == made
    told = [[(work.request, work.n_rows) for work in one.doer.works] for one in (first, again)]
    assert told[0] == told[1] == [(made[0].request, 1)] and made[0].request.as_json() == told[1][0][0].as_json()


@pytest.mark.parametrize("source", ["text", "made.logits"])
def test_it_is_told_how_many_utterances_the_shards_hold(lake: Warehouse, source: str) -> None:
    readings = [utterances(lake, [utterance(name, text=name if name != "b" else "") for name in "abc"], "u")]
    asked = "pack", "made", source, None
    first, again = (packed_shards(line(lake, readings, [rows(lake, "ac")]), *asked) for _ in range(2))
    assert first == again and first.n_utterances == sum(n_rows(a.path("index.parquet")) for a in first.shards) == 2


def test_what_some_shard_lacks_is_left_out_though_full_ones_are_not_opened(
    lake: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, others, chosen = of(lake, "a", "b", "c"), of(lake, "x", "y", "z", unit="v"), selection(lake, "b", "c")
    whole, part, elsewhere, few = (
        packed_shards(line(lake, [own], [rows(lake, have)], one), "pack", "made", "made.logits", one and "chosen")
        for own, have, one in ((read, "abc", None), (read, "ab", None), (others, "xyz", None), (read, "ab", chosen))
    )

    def unpacked(own: list[Packed], taught: list[Packed], teaches: str = "made", chosen: Artifact | None = None) -> Any:
        roles = {
            "model": SimpleNamespace(teacher=taught and "teacher", selection=chosen, corpora=["made"], own=own),
            "teacher": SimpleNamespace(teacher=None, selection=None, corpora=[teaches], own=taught),
        }  # fmt: skip
        packs = lambda entry: {str(n): [one] for n, one in enumerate(entry.own)}  # noqa: E731
        known: Any = SimpleNamespace(recipe=SimpleNamespace(models=roles), _packed=packs)
        return Line._unpacked(known, "model", Reading([read], []), chosen)

    assert unpacked([whole, part], []) == unpacked([whole], [part]) == ["c"]
    assert unpacked([whole], [elsewhere], "other") == ["a", "b", "c"], "as many, and others"
    assert unpacked([few], [whole], chosen=chosen) == ["c"] and unpacked([few], [part], chosen=chosen) == ["c"]
    monkeypatch.setattr(module, "_utterance_ids", lambda *given: pytest.fail("opened"))
    assert unpacked([whole, whole], [whole]) == []


def test_a_damaged_index_or_table_of_utterances_is_named(lake: Warehouse) -> None:
    (shard,) = packed(line(lake, [of(lake, "a")], [rows(lake, "a")]), "pack", "made", "made.logits", None)
    index = shard.path("index.parquet")
    whole = index.read_bytes()
    for damaged in (b"hello", whole[:-1], None):
        index.unlink() if damaged is None else index.write_bytes(damaged)
        for ask in (lambda: n_rows(index), lambda: module._utterance_ids([shard], "index.parquet")):
            with pytest.raises(SchemaMismatch, match=r"index\.parquet does not have the schema it must have: "):
                ask()


def test_other_utterances_rows_or_selections_are_packed_anew(lake: Warehouse) -> None:
    one, other = of(lake, "a", "b"), of(lake, "c", unit="v")
    some, more = rows(lake, "abc"), rows(lake, "xabc")
    asked = [
        (read, made, chosen)
        for read in ([one], [one, other]) for made in ([some], [more]) for chosen in (None, selection(lake, "a"))
    ]  # fmt: skip

    def keys(source: str) -> list[list[str]]:
        return [
            [a.key for a in packed(line(lake, *given), "pack", "made", source, given[2] and "chosen")]
            for given in asked
        ]

    for source, n_different in (("made.logits", 8), ("text", 4)):
        first = keys(source)
        assert keys(source) == first and len({tuple(own) for own in first}) == n_different - n_different // 4


def test_a_shard_that_is_gone_is_packed_again(lake: Warehouse) -> None:
    own = [of(lake, "a", "b"), of(lake, "c", unit="v")], [rows(lake, "abc")]
    first, second = packed(line(lake, *own), "pack", "made", "made", None)
    shutil.rmtree(second.folder)
    again = line(lake, *own)
    found = packed(again, "pack", "made", "made", None)
    assert [a.key for a in found] == [first.key, second.key] and second.folder.exists()
    assert all("key" not in work.arguments for work in again.doer.works)


def test_a_shard_that_goes_meanwhile_is_told(lake: Warehouse) -> None:
    own = [of(lake, "a")], [rows(lake, "a")]
    first, again = line(lake, *own), line(lake, *own)
    packed(first, "pack", "made", "made", None)
    (shard,) = packed(again, "pack", "made", "made", None)
    (work,) = again.doer.works
    shutil.rmtree(shard.folder)
    with pytest.raises(ArtifactNotFound, match=shard.key):
        lake.perform(work)


@pytest.mark.parametrize("content", [b"", b"no seal", None])
def test_what_is_remembered_may_be_lost_or_damaged(lake: Warehouse, content: bytes | None) -> None:
    own = [of(lake, "a")], [rows(lake, "a")]
    made = packed(line(lake, *own), "pack", "made", "made", None)
    (path,) = (lake.root / ".cache" / "packed").iterdir()
    path.unlink() if content is None else path.write_bytes(content)
    assert packed(line(lake, *own), "pack", "made", "made", None) == made


def test_a_manifest_of_other_shards_that_cannot_be_read_hinders_nobody(lake: Warehouse) -> None:
    own = [of(lake, "a")], [rows(lake, "a")]
    made = packed(line(lake, *own), "pack", "made", "made", None)
    (other,) = packed(line(lake, [of(lake, "b", unit="v")], [rows(lake, "b")]), "pack", "made", "made", None)
    other.path(MANIFEST).write_text("{")
    assert packed(line(lake, *own), "pack", "made", "made", None) == made


def test_all_corpora_of_a_recipe_are_remembered_however_many_they_are(lake: Warehouse) -> None:
    own = {f"c{n}": of(lake, f"a{n}", unit=f"u{n}") for n in range(packing._MOST + 1)}
    for again in (False, True):
        for name, reading in own.items():
            one = line(lake, [reading], [])
            packed(one, "pack", name, "text", None)
            assert ("key" in one.doer.works[0].arguments) == again


def test_few_answers_are_kept_and_a_lake_that_cannot_be_written_to_can_be_asked(
    lake: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "_MOST", 2)
    readings = [of(lake, name, unit=name) for name in "abc"]
    for reading in readings:
        packed(line(lake, [reading], [rows(lake, "abc")]), "pack", "made", "made", None)
    known = line(lake, [readings[1]], [rows(lake, "abc")]), line(lake, [readings[0]], [rows(lake, "abc")])
    for one in known:
        packed(one, "pack", "made", "made", None)
    assert ["key" in one.doer.works[0].arguments for one in known] == [True, False]
    shutil.rmtree(lake.root / ".cache" / "packed")
    (lake.root / ".cache" / "packed").write_text("no folder")
    assert len(packed(line(lake, [readings[0]], [rows(lake, "abc")]), "pack", "made", "made", None)) == 1
