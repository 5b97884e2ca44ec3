"""What the lake has of a plug-in's rows: answered and failed both count, and the order is nobody's speed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pytest

from features import inventory
from features.retry import Retry, retry
from features.rows import failure_row
from warehouse import Artifact, Request, Warehouse
from warehouse.catalog import identity
from warehouse.compaction import merge, merge_of, merges
from warehouse.schema import FAILURES, SELECTION, UTTERANCES, audio_id, pair_id, text_id
from warehouse.tables import write_rows

STEP = "extractors.made"


@dataclasses.dataclass(frozen=True)
class Made:
    version: ClassVar[int] = 1
    needs: ClassVar[str] = "text"
    gain: float = 1.0


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


def rows(
    lake: Warehouse, answered: Sequence[str], failed: Sequence[str] = (), plugin: Made | None = None, step: str = STEP
) -> Artifact:
    """An artifact with rows for some input ids and failures for others."""
    params = {"plugin": identity(step, plugin or Made()), "ids": [*answered, *failed]}

    def write(folder: Path) -> None:
        found = [{"input_id": input_id} for input_id in answered]
        write_rows(folder / "features.parquet", found, pa.schema([pa.field("input_id", pa.string(), nullable=False)]))
        write_rows(folder / "failures.parquet", [failure_row(step, f"u{i}", "odd", i) for i in failed], FAILURES)

    return lake.materialize(Request("features", step, 1, params), write)


def test_only_the_rows_of_exactly_this_plugin_count(lake: Warehouse) -> None:
    own = rows(lake, ["a"])
    rows(lake, ["b"], plugin=Made(gain=2.0))
    rows(lake, ["c"], step="extractors.other")
    assert inventory.holding(lake, "features", STEP, Made()) == [own]
    assert inventory.treated(lake, "features", STEP, Made()) == {"a"}
    assert inventory.holding(lake, "intervals", STEP, Made()) == []


def test_what_failed_counts_as_treated(lake: Warehouse) -> None:
    made = [rows(lake, ["a", "b"], ["c"]), rows(lake, [], ["d"])]
    assert inventory.treated(lake, "features", STEP, Made()) == {"a", "b", "c", "d"}
    assert {row["utterance_id"] for row in inventory.failed(made)} == {"uc", "ud"}


def test_the_order_does_not_depend_on_who_was_faster(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d", "e"]
    orders = []
    for number, order in enumerate((names, names[::-1])):
        lake = Warehouse(tmp_path / str(number), create=True)
        for name in order:
            rows(lake, [name])
        orders.append([a.key for a in inventory.holding(lake, "features", STEP, Made())])
    assert orders[0] == orders[1]


def test_an_artifact_without_failures_has_none(lake: Warehouse) -> None:
    schema = pa.schema([("input_id", pa.string())])
    bare = lake.materialize(Request("made", "made", 1), lambda f: write_rows(f / "rows.parquet", [], schema))
    assert inventory.failed([bare]) == []


def test_requests_meet_what_was_merged_as_it_was(lake: Warehouse) -> None:
    made = [rows(lake, ["a", "b"], ["c"]), rows(lake, ["d"], ["e"]), rows(lake, ["f"])]
    before = inventory.made_by(lake, "features", STEP, Made())
    lake.set_ref(f"{inventory.RETRIES}/{made[0].key}", {"input_ids": ["c"]})
    treated, tries = (ask(lake, "features", STEP, Made()) for ask in (inventory.treated, inventory.tries))
    (one,) = merges(lake)
    whole = merge(lake, one)
    assert inventory.holding(lake, "features", STEP, Made()) == [whole]
    found = inventory.made_by(lake, "features", STEP, Made())
    assert [(a.key, a.digest) for a in found] == [(a.key, a.digest) for a in before]
    answered = {a.key: ids for a, ids in inventory.ids_by(found, inventory.row_ids)}
    assert answered == {a.key: ids for a, ids in zip(made, ({"a", "b"}, {"d"}, {"f"}), strict=True)}
    assert inventory.treated(lake, "features", STEP, Made()) == treated == set("abdef")
    assert inventory.tries(lake, "features", STEP, Made()) == tries == {"c": 1}
    failed = {a.key: row["input_id"] for a, row in inventory.failures_of(found)}
    assert failed == {made[0].key: "c", made[1].key: "e"}
    assert retry(lake, "odd") == Retry({STEP: 2})
    assert lake.refs(inventory.RETRIES) == {made[n].key: {"input_ids": [one]} for n, one in enumerate("ce")}
    assert inventory.treated(lake, "features", STEP, Made()) == set("abdf")
    assert inventory.tries(lake, "features", STEP, Made()) == {"c": 1, "e": 1}
    rows(lake, ["g"])
    (again,) = merges(lake)
    assert whole in again.sources and merge(lake, again)
    assert inventory.treated(lake, "features", STEP, Made()) == set("abdfg"), "merged again it is not forgotten"
    assert inventory.tries(lake, "features", STEP, Made()) == {"c": 1, "e": 1}


def test_what_lies_in_two_merged_artifacts_failed_once(lake: Warehouse) -> None:
    one, two, three = rows(lake, ["a"], ["b"]), rows(lake, ["c"]), rows(lake, ["d"])
    for own in ([one, two], [one, three]):
        merge(lake, merge_of(own))
    assert retry(lake, "odd", dry_run=True) == retry(lake, "odd") == Retry({STEP: 1})
    assert lake.refs(inventory.RETRIES) == {one.key: {"input_ids": ["b"]}}
    assert inventory.tries(lake, "features", STEP, Made()) == {"b": 1}
    assert inventory.treated(lake, "features", STEP, Made()) == set("acd")


def test_failures_of_pieces_are_read_once_and_stay_in_the_order_of_the_file(
    lake: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [rows(lake, [f"r{n}"], [f"f{n}-{i}" for i in (2, 0, 1)]) for n in range(4)]
    before = {a.key: [row for one, row in inventory.failures_of(made) if one is a] for a in made}
    (whole,) = [merge(lake, one) for one in merges(lake)]
    read: list[Path] = []
    real = inventory.read_table

    def reading(path: Path, columns: pa.Schema) -> pa.Table:
        read.append(path)
        return real(path, columns)

    monkeypatch.setattr(inventory, "read_table", reading)
    found = inventory.failures_of(inventory.made_by(lake, "features", STEP, Made()))
    assert {a.key: [row for one, row in found if one is a] for a, _ in found} == before
    assert read == [whole.path("failures.parquet")]


def test_wanted_ids_are_those_of_sound_of_words_or_of_both(lake: Warehouse) -> None:
    spoken = [("one", "same words"), ("two", "same words"), ("two", "other words")]
    found = [
        dict.fromkeys(UTTERANCES.names, "")
        | {"utterance_id": f"u{n}", "audio_id": audio_id(sound, 0, 1, "mix"), "text_id": text_id(words), "turn": n}
        | {"start_s": 0.0, "end_s": 1.0, "attributes": []}
        for n, (sound, words) in enumerate(spoken)
    ]
    artifact = lake.materialize(
        Request("utterances", "made", 1), lambda f: write_rows(f / "utterances.parquet", found, UTTERANCES)
    )
    sounds = {audio_id(sound, 0, 1, "mix") for sound, _ in spoken}
    assert inventory.wanted_ids([artifact], "audio") == sounds and len(sounds) == 2
    assert inventory.wanted_ids([artifact], "text") == {text_id(words) for _, words in spoken}
    pairs = {pair_id(audio_id(sound, 0, 1, "mix"), text_id(words)) for sound, words in spoken}
    assert inventory.wanted_ids([artifact, artifact], "pair") == pairs and len(pairs) == 3


def test_what_has_no_sound_is_wanted_by_nothing_that_hears(lake: Warehouse) -> None:
    found = [
        dict.fromkeys(UTTERANCES.names, "")
        | {"utterance_id": f"u{n}", "audio_id": audio, "text_id": text_id("w"), "turn": n}
        | {"start_s": 0.0, "end_s": 0.0, "attributes": []}
        for n, audio in enumerate(["", "A"])
    ]
    silent, heard = found
    assert [inventory.input_id(silent, needs) for needs in ("audio", "pair", "text")] == ["", "", text_id("w")]
    artifact = lake.materialize(
        Request("utterances", "made", 2), lambda f: write_rows(f / "utterances.parquet", found, UTTERANCES)
    )
    assert inventory.wanted_ids([artifact], "audio") == {"A"}
    assert inventory.wanted_ids([artifact], "pair") == {pair_id("A", heard["text_id"])}
    assert inventory.wanted_ids([artifact], "text") == {text_id("w")}


def test_the_utterances_of_a_selection(lake: Warehouse) -> None:
    chosen = [{"utterance_id": name, "label": "sad", "probability": 0.9} for name in "ab"]
    artifact = lake.materialize(
        Request("selection", "made", 1), lambda f: write_rows(f / "selection.parquet", chosen, SELECTION)
    )
    assert inventory.ids_in(artifact) == {"a", "b"}
