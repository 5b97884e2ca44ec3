"""Merging changes no row, and no key or digest that anybody cites; killed or done twice it loses nothing."""

from __future__ import annotations

import dataclasses
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from flows.audit.collect import Garbage, collect
from tests.warehouse.audit.withdrawn_lake import ANA, BEN, ROWS, bits, withdrawn_lake
from tests.warehouse.faulty_store import FaultyStore
from tests.warehouse.small_lake import SmallLake
from warehouse import Artifact, Request, Warehouse
from warehouse.audit.errors import DamagedBefore, DamagedSource, UnfinishedPurge
from warehouse.audit.lineage import closure_down, closure_up, graph_among, up
from warehouse.audit.purge import complete, plan_purge, purge
from warehouse.audit.reach import reached
from warehouse.audit.receipts import remains
from warehouse.audit.tombstones import JOURNALS, unfinished
from warehouse.audit.verify import verify
from warehouse.audit.why import why
from warehouse.audit.withdrawal import Asked
from warehouse.compaction import merge, merge_of, merges
from warehouse.hashing import short_digest
from warehouse.in_progress import write_atomically
from warehouse.merged import PIECES, Pieces, copies_of, is_merged
from warehouse.schema import FAILURES, SELECTION
from warehouse.tables import array_cells, array_columns, write_rows

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
STEP = "extractors.pieces"
OF = {row["utterance_id"]: row["audio_id"] for row in ROWS}
QUESTIONS = (
    "SELECT plugin_key, step, input_id FROM features ORDER BY ALL",
    "SELECT * EXCLUDE (artifact) FROM features_pieces ORDER BY ALL",
)
MORE = (
    "SELECT * EXCLUDE (artifact) FROM failures ORDER BY ALL",
    "SELECT * FROM coverage ORDER BY ALL",
    "SELECT * REPLACE (round(seconds, 3) AS seconds) FROM costs ORDER BY ALL",
)


def batch(small: SmallLake, name: str, utterances: list[str], failed: str = "") -> Artifact:
    rows = [{"input_id": OF[one]} | array_cells("x", bits(one)) for one in utterances]
    lost = [{"input_id": OF[failed], "utterance_id": failed, "step": STEP, "reason": "too short"}] if failed else []
    return small.features(name, STEP, small.named["utterances"], rows, array_columns("x"), lost)


@pytest.fixture
def small(tmp_path: Path) -> SmallLake:
    """Three batches of one extractor, and a shard of the first and one of the second."""
    made = withdrawn_lake(tmp_path)
    a = batch(made, "a", [ANA[0], BEN[0]], ANA[2])
    b = batch(made, "b", [BEN[1]])
    batch(made, "c", [ANA[1]])
    made.shards("of a", "x", [(ANA[0], OF[ANA[0]], bits("a")), (BEN[0], OF[BEN[0]], bits("b"))], {"features": [a]})
    made.shards("of b", "x", [(BEN[1], OF[BEN[1]], bits("c"))], {"features": [b]})
    return made


def merged(lake: Warehouse, **limits: int) -> list[Artifact]:
    return [merge(lake, one) for one in merges(lake, **limits)]


def take_copies(lake: Warehouse) -> list[str]:
    """As `emolake gc` does with what is reached by nothing."""
    copies = copies_of(lake)
    stays = reached(lake, lake.artifacts())
    assert stays.isdisjoint(a.key for a in copies)
    for a in copies:
        shutil.rmtree(a.folder)
    return [a.key for a in copies]


def answers(lake: Warehouse, questions: tuple[str, ...] = QUESTIONS) -> list[Any]:
    return [lake.table(query) for query in questions]


def rows_by_key(lake: Warehouse) -> set[tuple[str, str]]:
    return {(a.key, a.digest) for a in lake.artifacts() if a.request.step == STEP}


def test_a_merge_changes_no_answer_while_the_small_ones_are_there_or_when_they_are_gone(small: SmallLake) -> None:
    lake = small.lake
    lake.set_ref("reports/of-b", {"artifact": small.named["of b"].key})
    before = answers(lake, QUESTIONS + MORE)
    (cost,) = (row for row in before[-1].to_pylist() if row["kind"] == "features" and row["recipe"] == "of-b")
    assert (cost["n_artifacts"], cost["step"], cost["n_bytes"]) == (1, STEP, small.named["b"].n_bytes), "not of all"
    (one,) = merges(lake)
    assert not copies_of(lake), "a plan changes nothing"
    made = merge(lake, one)
    assert merges(lake) == [] and answers(lake, QUESTIONS + MORE) == before
    rows = lake.table(f"SELECT artifact FROM plugins WHERE step = '{STEP}'").to_pylist()
    assert rows == [{"artifact": made.key}], "what nobody reads counts for nobody"
    assert sorted(take_copies(lake)) == sorted(small.named[name].key for name in "abc")
    assert answers(lake, QUESTIONS + MORE) == before and merges(lake) == [] and verify(lake) == []
    found = lake.table("SELECT digest, artifact FROM merged ORDER BY digest").to_pylist()
    assert [row["digest"] for row in found] == sorted(small.named[name].digest for name in "abc")
    assert {row["artifact"] for row in found} == {made.key}


def test_the_same_pieces_give_the_same_bytes_whichever_way_they_came_together(small: SmallLake, tmp_path: Path) -> None:
    other = Warehouse(shutil.copytree(small.lake.root, tmp_path / "other"))
    (at_once,) = merged(small.lake)
    aside = tmp_path / "aside"
    os.rename(other.folder_of(small.named["c"].request), aside)
    (first,) = merged(other)
    take_copies(other)
    os.rename(aside, other.folder_of(small.named["c"].request))
    (night,) = merged(other)
    assert (night.key, night.digest, night.files) == (at_once.key, at_once.digest, at_once.files)
    assert set(take_copies(other)) == {first.key, small.named["c"].key}
    assert verify(other) == []


def test_what_was_made_from_a_piece_is_made_from_no_other(small: SmallLake) -> None:
    lake, named = small.lake, small.named
    before = closure_up(lake.artifacts(), [named["of b"].key])
    tree = [(node.artifact.key, node.role) for node in up(lake, named["of b"]).walk()]
    (made,) = merged(lake)
    take_copies(lake)
    assert closure_up(lake.artifacts(), [named["of b"].key]) == before | {made.key}
    assert [(node.artifact.key, node.role) for node in up(lake, named["of b"]).walk()] == tree
    below = closure_down(lake.artifacts(), [made.key])
    assert below >= {named["of a"].key, named["of b"].key}
    of_b = closure_down(lake.artifacts(), [named["b"].key])
    assert named["of b"].key in of_b and named["of a"].key not in of_b
    (piece,) = lake.with_digest(named["b"].digest)
    assert (piece.key, piece.request, piece.created_at) == (named["b"].key, named["b"].request, named["b"].created_at)
    assert lake.resolve(named["b"].key[:12]).digest == named["b"].digest
    assert piece.environment == named["b"].environment and piece.folder == made.folder
    assert piece.n_bytes == named["b"].n_bytes and piece.files.keys() == named["b"].files.keys()
    keys = closure_up(lake.artifacts(), [named["of b"].key])
    graph = graph_among(lake.artifacts(), keys)
    assert {a.key for a in graph.artifacts} == before, "nothing was made from the merged one"
    assert {key for key, _, _ in graph.edges} <= before
    assert made.key in {
        a.key for a in graph_among(lake.artifacts(), closure_up(lake.artifacts(), [made.key])).artifacts
    }


def test_pieces_are_looked_for_in_one_index(small: SmallLake, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = [{"utterance_id": BEN[0], "label": "happy", "probability": 0.9}]
    own = [small.named[name] for name in "abc"]
    made = small.rows("all", "selection", "flows.select", {"selection": (chosen, SELECTION)}, {"features": own}, more=1)
    merged(small.lake)
    take_copies(small.lake)
    built: list[str] = []

    def building(artifacts: list[Artifact]) -> Pieces:
        built.extend(a.request.kind for a in artifacts[:1])
        return Pieces(artifacts)

    monkeypatch.setattr("warehouse.manifest_index.Pieces", building)
    assert {a.key for a in own} <= {node.artifact.key for node in up(small.lake, made).walk()}
    assert built.count("features") == 1


def test_damage_of_a_merged_artifact_taints_what_was_made_from_its_rows(small: SmallLake) -> None:
    (made,) = merged(small.lake)
    take_copies(small.lake)
    path = made.path("features.parquet")
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    (fault,) = verify(small.lake)
    assert fault.key == made.key and set(fault.taints) >= {small.named["of a"].key, small.named["of b"].key}


def test_what_withdraws_leaves_merged_rows_too(small: SmallLake) -> None:
    lake = small.lake
    (made,) = merged(lake)
    kept = small.named["of b"]
    plan = plan_purge(lake, Asked(speakers=["clips/Ana"]))
    assert not {small.named[name].key for name in "abc"} & {change.artifact.key for change in plan.changes}
    purge(lake, plan, KEY)
    assert verify(lake) == [] and remains(lake, plan.withdrawal.tombstone) == []
    (left,) = [a for a in lake.artifacts() if is_merged(a)]
    assert left.key != made.key and not copies_of(lake)
    assert set(pq.read_table(left.path("features.parquet"))["input_id"].to_pylist()) == {OF[BEN[0]], OF[BEN[1]]}
    assert set(pq.read_table(left.path(PIECES))["input_id"].to_pylist()) == {OF[BEN[0]], OF[BEN[1]]}
    assert lake.find(kept.request) and lake.with_digest(small.named["b"].digest)[0].folder == left.folder
    batch(small, "d", [BEN[2]])
    (again,) = merged(lake)
    assert lake.table("SELECT input_id FROM features_pieces").num_rows == 3
    purged = {one["key"] for one in again.request.params["merged"] if "purged" in one}
    assert purged == {small.named[name].key for name in "abc"}, "what is left of them is not what they were"


def test_a_merged_artifact_of_which_nothing_is_left_goes_and_is_missed_by_nobody(small: SmallLake) -> None:
    lake = small.lake
    shutil.rmtree(small.named["a"].folder)
    shutil.rmtree(small.named["of a"].folder)
    batch(small, "hers", [ANA[0]])
    shutil.rmtree(small.named["b"].folder)
    shutil.rmtree(small.named["of b"].folder)
    chosen = [{"utterance_id": BEN[0], "label": "happy", "probability": 0.9}]
    tables = {"selection": (chosen, SELECTION)}
    small.rows("chosen of hers", "selection", "flows.select", tables, {"features": [small.named["hers"]]}, more=1)
    merged(lake)
    purge(lake, plan_purge(lake, Asked(speakers=["clips/Ana"])), KEY)
    assert verify(lake) == [] and not [a for a in lake.artifacts() if is_merged(a)]


def test_what_two_answer_and_what_was_tried_again_is_left_alone(small: SmallLake) -> None:
    batch(small, "again", [BEN[0]])
    plugin, columns = small.named["a"].request.params["plugin"], array_columns("x")
    columns = pa.schema([pa.field("input_id", pa.string(), nullable=False), *columns])
    tables: Any = {"features": ([{"input_id": OF[BEN[2]]} | array_cells("x", bits("t"))], columns)}
    tables |= {"failures": ([], FAILURES)}
    inputs = {"utterances": [small.named["utterances"]]}
    small.rows("tried", "features", STEP, tables, inputs, plugin=plugin, ids="t", attempt=1)
    (one,) = merges(small.lake)
    assert {a.key for a in one.sources} == {small.named["b"].key, small.named["c"].key}


def test_merges_fill_up_to_the_target_and_the_rest_waits(small: SmallLake) -> None:
    n_bytes = {name: small.named[name].n_bytes for name in "abc"}
    target = sum(n_bytes.values()) - 1
    found = merges(small.lake, target)
    assert [len(one.sources) for one in found] == [2]
    made = [merge(small.lake, one) for one in found]
    assert merges(small.lake, target) == [], "what is half of the target is not small"
    assert len(merges(small.lake)[0].sources) == 2 and len(made) == 1, "but it is, of a larger one"


def test_one_artifact_has_so_many_pieces_at_most(small: SmallLake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warehouse.compaction.MOST", 3)
    batch(small, "d", [BEN[2]])
    (made,) = merged(small.lake)
    assert len(made.request.params["merged"]) == 3 and merges(small.lake) == []


def test_two_merges_that_overlap_are_read_once(small: SmallLake) -> None:
    lake = small.lake
    before = answers(lake)
    a, b, c = (small.named[name] for name in "abc")
    for own in ([a, b], [b, c]):
        merge(lake, merge_of(own))
    assert answers(lake) == before
    take_copies(lake)
    assert answers(lake) == before and merges(lake) == [] and verify(lake) == []


def test_a_failure_that_lies_in_two_merges_is_listed_once(small: SmallLake) -> None:
    lake = small.lake
    before = answers(lake, MORE)
    for name in "bc":
        merge(lake, merge_of([small.named["a"], small.named[name]]))
    assert lake.table(f"SELECT * FROM failures WHERE step = '{STEP}'").num_rows == 1
    assert answers(lake, MORE) == before
    take_copies(lake)
    assert answers(lake, MORE) == before


def test_a_merge_that_is_killed_leaves_the_small_ones(small: SmallLake, monkeypatch: pytest.MonkeyPatch) -> None:
    before = answers(small.lake)
    keys = rows_by_key(small.lake)
    (one,) = merges(small.lake)

    def killed(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("warehouse.compaction.write_table", killed)
        merge(small.lake, one)
    assert rows_by_key(small.lake) == keys and answers(small.lake) == before
    assert merge(small.lake, one) and answers(small.lake) == before


def one_bit(artifact: Artifact, column: str = "x") -> None:
    """Other rows that can be read: a bit of a column, where the file is no longer than before."""
    path = artifact.path("features.parquet")
    group = pq.ParquetFile(path).metadata.row_group(0)
    own = next(c for c in map(group.column, range(group.num_columns)) if c.path_in_schema.startswith(column))
    start = own.data_page_offset if own.dictionary_page_offset is None else own.dictionary_page_offset
    content = bytearray(path.read_bytes())
    content[start + own.total_compressed_size // 2] ^= 1
    path.unlink()
    path.write_bytes(content)


def test_damage_is_not_merged_into_something_sound(small: SmallLake) -> None:
    one_bit(small.named["a"])
    before = rows_by_key(small.lake)
    (one,) = merges(small.lake)
    place = f"features/{small.named['a'].key[:12]}"
    with pytest.raises(DamagedSource, match=f"^nothing is merged while {place} is damaged or gone, for what a merge"):
        merge(small.lake, one)
    assert rows_by_key(small.lake) == before and [fault.what for fault in verify(small.lake)] == ["bytes"]


def test_a_small_one_that_cannot_be_read_is_told(small: SmallLake) -> None:
    path = small.named["b"].path("features.parquet")
    path.unlink()
    path.write_bytes(b"nothing like it")
    with pytest.raises(DamagedSource, match=small.named["b"].key[:12]):
        merges(small.lake)


def test_what_another_merge_took_in_before_is_told(small: SmallLake) -> None:
    (one,) = merges(small.lake)
    batch(small, "d", [BEN[2]])
    merged(Warehouse(small.lake.root))
    take_copies(small.lake)
    with pytest.raises(DamagedSource, match="is damaged or gone"):
        merge(small.lake, one)


def test_a_failure_to_be_tried_again_is_known_by_its_piece(small: SmallLake) -> None:
    small.lake.set_ref(f"retries/{small.named['a'].key}", {"input_ids": [OF[ANA[2]]]})
    merged(small.lake)
    take_copies(small.lake)
    assert verify(small.lake) == []
    purge(small.lake, plan_purge(small.lake, Asked(where=["corpus = 'clips'"])), KEY)
    assert verify(small.lake) == [] and small.lake.refs("retries") == {}, "gone with what it was about"


def test_what_was_made_before_a_purge_is_found_after_a_merge(small: SmallLake) -> None:
    lake, a = small.lake, small.named["a"]
    of_ben = [(BEN[0], OF[BEN[0]], bits("a"))]
    used = small.shards("ben", "x", of_ben, {"features": [a], "utterances": [small.named["utterances"]]})
    purge(lake, plan_purge(lake, Asked(speakers=["clips/Ana"])), KEY)
    (now,) = lake.with_digest(a.digest)
    merged(lake)
    take_copies(lake)
    assert [(one.key, one.digest) for one in lake.with_digest(a.digest)] == [(now.key, now.digest)]
    assert now.key in {node.artifact.key for node in up(lake, used).walk()} and verify(lake) == []


def test_the_nearest_is_found_among_pieces(small: SmallLake) -> None:
    request = small.named["a"].request
    plugin = {**request.params["plugin"], "version": 2}
    asked = dataclasses.replace(request, version=2, params={**request.params, "plugin": plugin})
    before = [str(one) for one in why(small.lake, asked)]
    merged(small.lake)
    take_copies(small.lake)
    assert before and [str(one) for one in why(small.lake, asked)] == before


# -- beside a purge --------------------------------------------------------------------------------------------------


def test_what_purge_takes_as_a_copy_stands_in_its_receipt(small: SmallLake) -> None:
    merged(small.lake)
    plan = plan_purge(small.lake, Asked(speakers=["clips/Ana"]))
    begun = {"withdrawal": plan.withdrawal.as_json(), "files": 0, "began_at": "now"}
    write_atomically(small.lake.root / JOURNALS / f"{plan.id}.json", begun)

    def killed(step: str) -> None:
        if step == "copy":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        complete(small.lake, plan.id, KEY, boundary=killed)
    assert len(copies_of(small.lake)) == 2, "one is gone already"
    receipt = complete(Warehouse(small.lake.root), plan.id, KEY)
    assert {(one["key"], one["digest"]) for one in receipt["copies"]} == {
        (small.named[name].key, small.named[name].digest) for name in "abc"
    }
    assert not copies_of(small.lake)


def test_copies_of_what_is_damaged_are_no_copies(small: SmallLake) -> None:
    """Not of those whom a purge concerns, for it begins with none, nor of others when it is completed."""
    lake, read = small.lake, small.named["utterances"]
    others = [
        small.features(
            name, "extractors.other", read, [{"input_id": OF[who]} | array_cells("x", bits(who))], array_columns("x")
        )
        for name, who in (("e", BEN[0]), ("f", BEN[1]))
    ]
    made = {one.request.params["plugin"]["step"]: one for one in merged(lake)}
    plan = plan_purge(lake, Asked(speakers=["clips/Ana"]))
    one_bit(made["extractors.other"])
    with pytest.raises(DamagedBefore, match=f"features/{made['extractors.other'].key[:12]} is damaged"):
        purge(lake, plan, KEY)
    assert unfinished(lake.root) == [] and all(one.folder.exists() for one in others)
    begun = {"withdrawal": plan.withdrawal.as_json(), "files": 0, "began_at": "now"}
    write_atomically(lake.root / JOURNALS / f"{plan.id}.json", begun)
    complete(lake, plan.id, KEY)
    assert all(one.folder.exists() for one in others) and [fault.key for fault in verify(lake)] == [
        made["extractors.other"].key
    ]


def test_copies_that_must_go_are_not_the_last_ones(small: SmallLake) -> None:
    lake = small.lake
    (made,) = merged(lake)
    plan = plan_purge(lake, Asked(speakers=["clips/Ana"]))
    write_atomically(
        lake.root / JOURNALS / f"{plan.id}.json",
        {"withdrawal": plan.withdrawal.as_json(), "files": 0, "began_at": "now"},
    )
    one_bit(made)
    with pytest.raises(DamagedBefore, match=made.key[:12]):
        complete(lake, plan.id, KEY)
    assert all(small.named[name].folder.exists() for name in "abc")
    shutil.rmtree(made.folder)  # as the sentence says, where nothing repairs it: the small ones count again
    complete(Warehouse(lake.root), plan.id, KEY)
    assert verify(lake) == [] and remains(lake, plan.withdrawal.tombstone) == []


@pytest.mark.parametrize("step", ["rewritten", pytest.param("removed", marks=pytest.mark.slow)])
def test_a_purge_is_completed_though_what_goes_was_merged_meanwhile(small: SmallLake, step: str) -> None:
    """As an earlier Emolake might, which did not look. What the merge holds goes, and the rest is not lost."""
    lake = small.lake
    (one,) = merges(lake)
    plan = plan_purge(lake, Asked(speakers=["clips/Ana"]))
    begun = {"withdrawal": plan.withdrawal.as_json(), "files": 0, "began_at": "now"}
    write_atomically(lake.root / JOURNALS / f"{plan.id}.json", begun)

    def killed(told: str) -> None:
        if told == step:
            raise KeyboardInterrupt

    if step == "removed":
        merge(lake, one)
        shutil.move(lake.folder_of(one.request), lake.root.parent / "aside")
    with pytest.raises(KeyboardInterrupt):
        complete(lake, plan.id, KEY, boundary=killed)
    if step == "removed":
        shutil.move(lake.root.parent / "aside", lake.folder_of(one.request))
    else:
        merge(lake, one)
    receipt = complete(Warehouse(lake.root), plan.id, KEY)
    lake = Warehouse(lake.root)
    assert one.request.key in {entry["key"] for entry in receipt["artifacts"]} and unfinished(lake.root) == []
    assert remains(lake, plan.withdrawal.tombstone) == [] and verify(lake) == []
    rows = lake.table("SELECT input_id FROM features_pieces")["input_id"].to_pylist()
    assert sorted(rows) == sorted([OF[BEN[0]], OF[BEN[1]]])


def test_nothing_is_merged_in_a_lake_with_half_a_purge(small: SmallLake) -> None:
    (small.lake.root / JOURNALS).mkdir()
    (small.lake.root / JOURNALS / "half.json").write_text("{}")
    with pytest.raises(UnfinishedPurge, match="half"):
        merges(small.lake)


def test_large_rows_lie_in_groups(small: SmallLake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warehouse.compaction._GROUP", 1)
    (made,) = merged(small.lake)
    assert pq.ParquetFile(made.path("features.parquet")).num_row_groups == 4
    assert pq.read_schema(made.path("features.parquet")) == pq.read_schema(small.named["a"].path("features.parquet"))


@pytest.mark.usefixtures("store")
def test_on_a_store_a_merge_is_a_commit_like_any_other() -> None:
    lake = Warehouse("faulty://bucket/lake", create=True)
    plugin = {"step": STEP, "version": 1, "fields": {}}
    lake.set_ref("features/pieces", {"plugin_key": short_digest(plugin)})
    columns = pa.schema([pa.field("input_id", pa.string(), nullable=False)])

    def write(folder: Path, name: str) -> None:
        write_rows(folder / "features.parquet", [{"input_id": name}], columns)
        write_rows(folder / "failures.parquet", [], FAILURES)

    made = [
        lake.materialize(Request("features", STEP, 1, {"plugin": plugin, "ids": name}), partial(write, name=name))
        for name in ("one", "two")
    ]
    before = answers(lake)
    (whole,) = merged(lake)
    at = f"/bucket/lake/artifacts/features/{whole.key}/features.parquet"
    sound = FaultyStore.inner.cat_file(at)
    FaultyStore.inner.pipe_file(at, b"x" * len(sound))
    told: list[str] = []
    rubbish = Garbage(made, [], frozenset(one.key for one in (*made, whole)), read={one.key: [whole] for one in made})
    assert collect(lake, rubbish, told=told.append) == 0
    why = f"merged features/{whole.key} was made of are kept, for it is damaged: see `emolake verify`"
    assert told == [f"2 small artifacts that {why}"]
    FaultyStore.inner.pipe_file(at, sound)
    for a in made:
        assert FaultyStore.inner.exists(f"/bucket/lake/artifacts/features/{a.key}/manifest.json")
        FaultyStore.inner.rm(f"/bucket/lake/artifacts/features/{a.key}", recursive=True)
        shutil.rmtree(a.folder)
    shutil.rmtree(whole.folder)  # as on a host that has not met it
    lake = Warehouse("faulty://bucket/lake")
    assert answers(lake) == before and merges(lake) == [] and verify(lake) == []
    assert lake.with_digest(made[0].digest)[0].key == made[0].key
