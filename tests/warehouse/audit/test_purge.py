"""Purging: nothing of who withdraws is left, everything of the others is, and a kill anywhere changes nothing of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from flows.operate.serving import _alone
from tests.warehouse.audit.withdrawn_lake import (
    ANA,
    BEN,
    DIALOGUE,
    OWN,
    ROWS,
    SAID,
    SECRET,
    bits,
    everything,
    files_digest,
    pair,
    remembered,
    withdrawn_lake,
)
from tests.warehouse.small_lake import SmallLake
from warehouse import Request, Warehouse
from warehouse.audit.errors import DamagedBefore, LakeAtWork, LakeServed, NothingNamed, StillThere, UnfinishedPurge
from warehouse.audit.lineage import down, up
from warehouse.audit.purge import complete, plan_purge, purge, resume
from warehouse.audit.receipts import read_receipt, remains
from warehouse.audit.tombstones import (
    JOURNALS,
    Tombstone,
    hashed,
    refuse_unfinished,
    successors,
    taint_of,
    tombstones,
    unfinished,
)
from warehouse.audit.verify import verify
from warehouse.audit.withdrawal import Asked
from warehouse.hashing import digest
from warehouse.marker import MARKER, id_of
from warehouse.shards import ShardReader
from warehouse.tables import array_of

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
WITHDRAWS = Asked(speakers=["clips/Ana"])
NAMES = [name.replace("clips", corpus) for name in ANA for corpus in ("clips", "german", "spoken")]
GONE = [row for row in ROWS if row["utterance_id"] in ANA]


@pytest.fixture
def held(tmp_path: Path) -> SmallLake:
    return withdrawn_lake(tmp_path)


def purged(lake: Warehouse, asked: Asked = WITHDRAWS) -> dict[str, Any]:
    return purge(lake, plan_purge(lake, asked), KEY)


# -- the plan --------------------------------------------------------------------------------------------------------


def test_a_plan_says_what_goes_and_changes_nothing(held: SmallLake) -> None:
    remembered(held.lake)
    before = everything(held.lake.root)
    plan = plan_purge(held.lake, WITHDRAWS)
    changes = {change.artifact.key: change for change in plan.changes}
    named = {name: changes[a.key].how for name, a in held.named.items() if a.key in changes}
    assert {name: how for name, how in named.items() if how != "rewritten"} == {
        "only ana": "removed", "truth 2": "removed", "report": "removed", "leakage": "removed",
        "explanations": "removed",
    }  # fmt: skip
    assert {"clean", "child", "learned", "metrics", "aside"}.isdisjoint(named)
    assert plan.rows()["labels/labels.parquet"] == 3 and plan.rows()["utterances/utterances.parquet"] == 9
    root = (held.lake.ref("corpora/clips") or {})["root"]
    assert plan.files == [f"{root}/wav/garden.wav"] and plan.shared == 1
    assert {name: a.files.keys() for name, a in held.named.items() if name == "raw"} == {"raw": {"files.parquet"}}
    assert {k: v for k, v in everything(held.lake.root).items() if ".cache/manifests" not in k} == before


def test_models_that_saw_it_are_tainted_and_so_is_what_comes_from_them(held: SmallLake) -> None:
    found = {one.key: one for one in plan_purge(held.lake, WITHDRAWS).taints}
    learned, child = held.named["learned"].key, held.named["child"].key
    assert found.keys() == {learned, child}
    assert found[learned].why == "it learned from 1 of the utterances that were withdrawn"
    assert found[learned].retrain == "`emolake run garden` fits it anew without what was withdrawn"
    assert found[child].why == "it comes from a model that learned from what was withdrawn"


def test_nobody_named_is_refused(held: SmallLake) -> None:
    with pytest.raises(NothingNamed, match=r"^nobody and nothing is named: give --speaker, --recording, --utterance"):
        plan_purge(held.lake, Asked())


# -- what is left ----------------------------------------------------------------------------------------------------


def test_no_byte_of_what_was_withdrawn_is_left(held: SmallLake) -> None:
    remembered(held.lake)
    texts = [SECRET, SECRET.title(), SAID[ANA[0]]]
    words = [*NAMES, "clips/Ana", OWN, *texts, *(row["audio_id"] for row in GONE), *(pair(row) for row in GONE)]
    words += [digest(name) for name in NAMES if name.startswith("spoken")]
    sounds = [bits(row["audio_id"]).tobytes() for row in GONE]
    sounds += [bits(name).tobytes() for name in NAMES if name.startswith("spoken")]
    needles = [word.encode() for word in words] + sounds
    before = everything(held.lake.root)
    assert all(any(needle in content for content in before.values()) for needle in sounds)
    purged(held.lake)
    assert id_of((held.lake.root / MARKER).read_bytes()), "copies of what it was know that they are old"
    assert not (held.lake.root / JOURNALS / f"{next(iter(tombstones(held.lake.root)))}.json").exists()
    for name, content in everything(held.lake.root).items():
        assert [needle for needle in needles if needle in content or needle in name.encode()] == [], name
    for path in (held.lake.root / "artifacts").rglob("*.parquet"):  # which are compressed
        held_values = {str(value) for column in pq.read_table(path).columns for value in column.to_pylist()}
        assert held_values.isdisjoint(words), path


def test_everything_of_the_others_is_the_same_bits(held: SmallLake) -> None:
    def rows(lake: Warehouse) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for artifact in lake.artifacts():
            for name in artifact.files:
                if name.endswith(".parquet") and name not in ("index.parquet", "failures.parquet"):
                    table = pq.read_table(artifact.path(name))
                    drop = [
                        c for c in ("path",) if c in table.column_names and "spoken" in str(table["path"].to_pylist())
                    ]
                    lines = [repr(row) for row in table.drop_columns(drop).to_pylist()]
                    found.setdefault(f"{artifact.request.kind}/{artifact.request.step}/{name}", []).extend(lines)
        return {name: sorted(lines) for name, lines in found.items()}

    gone = [*NAMES, OWN, *(row["audio_id"] for row in GONE), *(pair(row) for row in GONE), *(
        row["text_id"] for row in GONE[:1]), *(digest(name) for name in NAMES)]  # fmt: skip
    gone += [row["input_id"] for row in pq.read_table(held.named["only ana"].path("features.parquet")).to_pylist()]
    before = rows(held.lake)
    purged(held.lake)
    expected = {
        name: [line for line in lines if not any(one in line for one in gone)] for name, lines in before.items()
    }
    assert rows(Warehouse(held.lake.root)) == {name: lines for name, lines in expected.items() if lines}
    (shard,) = [a for a in held.lake.artifacts("shards") if a.request.params["members"] == "sound"]
    reader = ShardReader(shard.folder)
    assert tuple(reader) == BEN
    for row in ROWS[3:]:
        assert reader.array(row["utterance_id"]).tobytes() == bits(row["audio_id"]).tobytes()


def test_what_somebody_else_has_too_stays(held: SmallLake) -> None:
    purged(held.lake)
    features = {a.request.step: pq.read_table(a.path("features.parquet")) for a in held.lake.artifacts("features")}
    words = {row["input_id"]: row for row in features["extractors.words"].to_pylist()}
    assert words.keys() == {ROWS[1]["text_id"], ROWS[4]["text_id"]}
    assert array_of(words[ROWS[1]["text_id"]], "x").tobytes() == bits(ROWS[1]["text_id"]).tobytes()
    paths = [row["path"] for row in held.lake.table("FROM raw_files").to_pylist()]
    assert paths == ["wav/dialogue.wav"]


def test_a_failure_that_another_has_too_is_told_under_the_other_and_is_still_to_be_tried_again(held: SmallLake) -> None:
    purged(held.lake)
    (words,) = [a for a in held.lake.artifacts("features") if a.request.step == "extractors.words"]
    (failed,) = pq.read_table(words.path("failures.parquet")).to_pylist()
    assert (failed["input_id"], failed["utterance_id"]) == (ROWS[5]["text_id"], BEN[2])
    assert held.lake.refs("retries") == {words.key: {"input_ids": [failed["input_id"]]}}


def test_sound_that_was_made_here_goes_and_paths_lead_to_what_stays(held: SmallLake) -> None:
    purged(held.lake)
    (spoken,) = [a for a in held.lake.artifacts("utterances") if a.request.params["corpus"] == "spoken"]
    rows = pq.read_table(spoken.path("utterances.parquet")).to_pylist()
    assert [row["utterance_id"] for row in rows] == [name.replace("clips", "spoken") for name in BEN]
    for row in rows:
        assert (held.lake.root / "artifacts" / row["path"]).read_bytes() == bits(row["utterance_id"]).tobytes()
    (waves,) = held.lake.with_digest(spoken.request.inputs["raw"][0])
    assert set(waves.files) == {"files.parquet", *(f"wav/{row['utterance_id']}.wav" for row in rows)}


def test_the_lake_is_sound_and_knows_what_stands_in_whose_place(held: SmallLake) -> None:
    old = held.named["split 1"]
    receipt = purged(held.lake)
    lake = Warehouse(held.lake.root)
    assert verify(lake) == []
    (new,) = lake.with_digest(old.digest)
    marked = {"without": ["clips-ben-lost"], "purged": [receipt["purge"]]}
    assert new.request.params == {**old.request.params, **marked}
    assert lake.by_digest("split")[old.digest].key == new.key
    learned = lake.resolve(held.named["learned"].key)
    assert learned.request.inputs["split"] == (old.digest,)
    assert new.key in {node.artifact.key for node in up(lake, learned).walk()}
    assert learned.key in {node.artifact.key for node in down(lake, new).walk()}
    assert successors(lake.root)[held.named["report"].digest] == ""
    assert new.environment["rewritten"] == {"purge": receipt["purge"], "from": old.key}


def test_names_point_anew_and_a_name_of_what_went_goes(held: SmallLake) -> None:
    purged(held.lake)
    ref = held.lake.ref("corpora/clips") or {}
    for role in ("raw", "utterances", "labels"):
        (artifact,) = held.lake.with_digest(ref[role][0])
        assert artifact.digest == ref[role][0]
    assert held.lake.refs("reports").keys() == {"aside"}


def test_readings_get_the_request_that_the_next_ingest_makes(held: SmallLake) -> None:
    receipt = purged(held.lake)
    raw = held.named["raw"].request
    kept = [{"path": "wav/dialogue.wav", "n_bytes": 9, "sha256": DIALOGUE}]
    (record,) = [a for a in held.lake.artifacts("raw") if a.request.step == "features.raw"]
    assert record.request == Request("raw", raw.step, 1, dict(raw.params) | {"files": files_digest(kept)})
    for kind in ("utterances", "labels"):
        old = held.named[kind].request
        params = dict(old.params) | {"withdrawn": (receipt["purge"],)}
        assert held.lake.find(Request(kind, old.step, 1, params, {"raw": (record.digest,)}))
    (read,) = [a for a in held.lake.artifacts("utterances") if a.request.step == "corpora.table"]
    old = held.named["provided"].request
    inputs = {"raw": (record.digest,), "utterances": (read.digest,)}
    assert held.lake.find(Request("intervals", old.step, 1, old.params, inputs))


def test_tainted_models_say_so(held: SmallLake) -> None:
    receipt = purged(held.lake)
    assert taint_of(held.lake.root, held.named["learned"].key) == (
        f"tainted by purge {receipt['purge']}: it learned from 1 of the utterances that were withdrawn. A purge cannot "
        "un-train a model: do not use it; `emolake run garden` fits it anew without what was withdrawn"
    )
    assert taint_of(held.lake.root, held.named["clean"].key) == ""


def test_what_is_remembered_beside_artifacts_goes(held: SmallLake) -> None:
    remembered(held.lake)
    purged(held.lake)
    lake = held.lake.root
    assert [path.name for path in (lake / ".cache" / "voice").iterdir()] == [f"{DIALOGUE}-1-1.bits"]
    content = b"".join(path.read_bytes() for path in (lake / ".cache").glob("raw.sqlite*"))
    assert OWN.encode() not in content and DIALOGUE.encode() in content
    assert not any((lake / name).exists() for name in (".resume", ".prefect", "catalog.duckdb", ".cache/mfa/log.txt"))


# -- one utterance, one recording, a second purge --------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked, gone",
    [
        (Asked(utterances=[ANA[0]]), ANA[:1]),
        (Asked(recordings=[OWN]), ANA[:1]),
        (Asked(recordings=[DIALOGUE]), (*ANA[1:], *BEN)),
        (Asked(utterances=[BEN[0]], where=["text LIKE '%lemons%'"]), (ANA[0], BEN[0])),
        (Asked(where=["corpus = 'clips'"]), (*ANA, *BEN)),
    ],
)
def test_other_ways_to_say_what_goes(held: SmallLake, asked: Asked, gone: tuple[str, ...]) -> None:
    purged(held.lake, asked)
    lake = Warehouse(held.lake.root)
    left = {row["utterance_id"] for row in lake.table("FROM utterances").to_pylist()}
    assert left == {*ANA, *BEN} - {*gone} and verify(lake) == []
    places = {
        value for a in lake.artifacts() for name in a.files if name.endswith(".parquet")
        for column in {"utterance_id"} & set(pq.read_schema(a.path(name)).names)
        for value in pq.read_table(a.path(name), columns=[column]).column(0).to_pylist()
    }  # fmt: skip
    assert places.isdisjoint(gone)


def test_purges_one_after_the_other(held: SmallLake) -> None:
    old = held.named["split 2"]
    first, second = purged(held.lake), purged(held.lake, Asked(utterances=[BEN[0]]))
    lake = Warehouse(held.lake.root)
    assert verify(lake) == []
    (split,) = lake.with_digest(old.digest)
    assert split.request.params["purged"] == [first["purge"], second["purge"]]
    read = [a for a in lake.artifacts("utterances") if a.request.step == "corpora.table"]
    assert [a.request.params["withdrawn"] for a in read] == [sorted([first["purge"], second["purge"]])]
    for receipt in (first, second):
        assert remains(lake, Tombstone.from_json(receipt["withdrawn"])) == []
    assert len(tombstones(lake.root)) == 2
    ref = lake.ref(f"tainted/{held.named['learned'].key}") or {}
    assert ref["purges"] == sorted([first["purge"], second["purge"]]) and ref["why"].startswith("it learned from 1 of")


# -- ended half-way --------------------------------------------------------------------------------------------------


class _Killed(BaseException):
    """Passes every guard, as a kill does."""


def _killing(at: int) -> Callable[[str], None]:
    passed: list[str] = []

    def boundary(step: str) -> None:
        passed.append(step)
        if len(passed) > at:
            raise _Killed

    return boundary


def _state(lake: Path) -> dict[str, Any]:
    """Keys, digests and names: what two purges of the same must agree on."""
    warehouse = Warehouse(lake)
    artifacts = {a.key: a.digest for a in warehouse.artifacts()}
    names = {path.relative_to(lake).as_posix(): path.read_text() for path in sorted((lake / "refs").rglob("*.json"))}
    receipts = {path.name: read_receipt(path) for path in (lake / "receipts").glob("*.json")}
    said = {name: {k: v for k, v in one.items() if not k.endswith("_at") and k != "signature"}
            for name, one in receipts.items()}  # fmt: skip
    return {"artifacts": artifacts, "names": names, "receipts": said, "unfinished": unfinished(lake)}


def _begin(lake: Warehouse) -> str:
    """Plans, and ends right after the journal is written."""
    plan = plan_purge(lake, WITHDRAWS)
    journal = lake.root / JOURNALS / f"{plan.id}.json"
    journal.parent.mkdir()
    content = {"withdrawal": plan.withdrawal.as_json(), "files": len(plan.files), "began_at": "now"}
    journal.write_text(json.dumps(content))
    return plan.id


@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_any_boundary_and_completed_it_leaves_the_same(tmp_path: Path, every: int) -> None:
    whole = withdrawn_lake(tmp_path / "whole").lake
    steps: list[str] = []
    complete(whole, _begin(whole), KEY, boundary=steps.append)
    expected = _state(whole.root)
    assert not expected["unfinished"] and len(steps) > 40
    middles = {steps.index("made") + 7, steps.index("pointed") + 3, steps.index("removed") + 5}
    for at in sorted({steps.index(step) for step in steps} | middles)[::every]:
        lake = withdrawn_lake(tmp_path / f"killed-{at}").lake
        purge_id = _begin(lake)
        with pytest.raises(_Killed):
            complete(lake, purge_id, KEY, boundary=_killing(at))
        if unfinished(lake.root):
            with pytest.raises(UnfinishedPurge, match="is not done: `emolake purge --resume` completes it"):
                refuse_unfinished(lake.root)
        resume(Warehouse(lake.root), lambda: KEY)
        assert _state(lake.root) == expected, steps[at]
        assert verify(Warehouse(lake.root)) == []


JOURNAL_KILLED = """
import os, signal, sys
from pathlib import Path
from warehouse import in_progress
in_progress.os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
in_progress.write_atomically(Path(sys.argv[1]), {"utterances": sys.argv[2:]})
"""


def test_of_a_journal_that_was_killed_half_way_no_name_stays(held: SmallLake, tmp_path: Path) -> None:
    """It has the names in clear: of this purge, by whatever host, and of one that never began."""
    root = held.lake.root
    purge_id = plan_purge(held.lake, WITHDRAWS).id
    others = "0" * 32
    for name in (purge_id, others):
        journal = root / JOURNALS / f"{name}.json"
        assert subprocess.run([sys.executable, "-c", JOURNAL_KILLED, str(journal), *ANA]).returncode == -signal.SIGKILL
    elsewhere = root / JOURNALS / f".{purge_id[:30]}.json.gpu~0123456789ab.f0000001-77-0123456789ab"
    elsewhere.write_text(ANA[0])
    begun = [path.name for path in (root / JOURNALS).iterdir()]
    assert len(begun) == 3 and unfinished(root) == [] and ANA[0] in next((root / JOURNALS).iterdir()).read_text()
    assert purged(Warehouse(root))["purge"] == purge_id
    assert list((root / JOURNALS).iterdir()) == []


def test_killed_twice(tmp_path: Path) -> None:
    lake = withdrawn_lake(tmp_path).lake
    purge_id = _begin(lake)
    for at in (5, 12, 30, 36):
        with pytest.raises(_Killed):
            complete(Warehouse(lake.root), purge_id, KEY, boundary=_killing(at))
    (receipt,) = resume(Warehouse(lake.root), lambda: KEY)
    assert receipt["purge"] == purge_id and verify(Warehouse(lake.root)) == [] and resume(lake, lambda: KEY) == []


def test_what_no_step_wrote_keeps_a_purge_from_being_done(held: SmallLake) -> None:
    notes = held.lake.root / "notes.txt"
    notes.write_text(f"ask {ANA[1]} again")
    plan = plan_purge(held.lake, WITHDRAWS)
    with pytest.raises(StillThere, match=f"purge {plan.id} is not done: what it withdraws is still in notes.txt; "):
        purge(held.lake, plan, KEY)
    assert unfinished(held.lake.root) == [plan.id]
    notes.unlink()
    assert [one["purge"] for one in resume(held.lake, lambda: KEY)] == [plan.id]


def test_a_lake_at_work_is_not_purged(held: SmallLake) -> None:
    other = held.lake.root / ".scratch" / f"elsewhere-{os.getpid() + 1}-abc"
    other.mkdir(parents=True)
    with pytest.raises(LakeAtWork, match=r"^something is being made in this lake \(elsewhere-"):
        purged(held.lake)
    assert unfinished(held.lake.root) == []


def test_what_a_living_serve_remembers_is_not_taken_from_under_it(held: SmallLake) -> None:
    """It has nothing in the works while it waits, and a database and a lock all the same. One that begins in the middle
    of a purge only delays its end."""
    remembered(held.lake)
    home = held.lake.root / ".prefect"
    before = everything(home)
    with _alone(home):
        with pytest.raises(LakeServed):
            purged(held.lake)
        assert unfinished(held.lake.root) == []
    with ExitStack() as serving, pytest.raises(LakeServed):
        told = {"pointed": lambda: serving.enter_context(_alone(home))}
        complete(held.lake, _begin(held.lake), KEY, boundary=lambda step: told.pop(step, lambda: None)())
    assert everything(home) == before | {"serving.lock": b""}
    (receipt,) = resume(held.lake, lambda: KEY)
    assert not home.exists() and any("Prefect server of your own" in one for one in receipt["outside"])


def test_what_is_damaged_is_not_rewritten_into_something_sound(held: SmallLake) -> None:
    path = held.named["labels"].path("labels.parquet")
    sound = path.read_bytes()
    path.unlink()
    path.write_bytes(sound[:40] + bytes([sound[40] ^ 1]) + sound[41:])
    plan = plan_purge(held.lake, WITHDRAWS)
    with pytest.raises(DamagedBefore, match=r"while labels/[0-9a-f]{12} is damaged, for a rewriting would"):
        purge(held.lake, plan, KEY)
    assert unfinished(held.lake.root) == []
    path.unlink()
    with pytest.raises(DamagedBefore, match=r"while labels/[0-9a-f]{12} is damaged"):
        plan_purge(held.lake, WITHDRAWS)
    path.write_bytes(b"no table")
    with pytest.raises(DamagedBefore, match=r"while labels/[0-9a-f]{12} is damaged"):
        plan_purge(held.lake, WITHDRAWS)
    path.write_bytes(sound)
    aside = held.lake.root / ".damaged" / "features" / "x"
    aside.mkdir(parents=True)
    with pytest.raises(DamagedBefore, match=r"while \.damaged/features is damaged"):
        purge(held.lake, plan, KEY)
    shutil.rmtree(aside.parent.parent)
    purge(held.lake, plan, KEY)
    assert verify(Warehouse(held.lake.root)) == []


def test_a_request_that_names_somebody_inside_a_longer_text_goes(held: SmallLake) -> None:
    rules = {"test": f"utterance_id <> '{ANA[1]}'"}
    named = held.lake.materialize(
        Request("split", "flows.protocol", 9, {"rules": rules}), lambda folder: (folder / "x").write_text("x") and None
    )
    receipt = purged(held.lake)
    assert {one["key"]: one["how"] for one in receipt["artifacts"]}[named.key] == "removed"
    assert not named.folder.exists() and verify(Warehouse(held.lake.root)) == []


# -- the receipt -----------------------------------------------------------------------------------------------------


def test_the_receipt_says_all_of_it_and_no_name(held: SmallLake) -> None:
    receipt = purged(held.lake)
    path = held.lake.root / "receipts" / f"{receipt['purge']}.json"
    assert read_receipt(path) == receipt
    by_key = {one["key"]: one for one in receipt["artifacts"]}
    entry = by_key[held.named["labels"].key]
    assert (entry["digest"], entry["gone"]) == (held.named["labels"].digest, {"labels.parquet": 3})
    assert held.lake.resolve(entry["key_after"]).digest == entry["digest_after"] != entry["digest"]
    assert by_key[held.named["report"].key]["digest_after"] == ""
    assert receipt["rows"]["predictions/predictions.parquet"] == 2 and receipt["what"]["utterances"] == 9
    assert hashed(ANA[0]) in receipt["withdrawn"]["utterances"]
    content = path.read_text()
    assert not any(word in content for word in ("Ana", *NAMES, *SAID.values(), "garden.wav"))


def test_what_a_backup_brings_back_is_purged_again_beside_the_first_receipt(held: SmallLake, tmp_path: Path) -> None:
    artifacts = held.lake.root / "artifacts"
    shutil.copytree(artifacts, tmp_path / "backup")
    first = purged(held.lake)
    state = {a.key: a.digest for a in Warehouse(held.lake.root).artifacts()}
    part = tmp_path / "backup" / "utterances"  # a part of what went: the rest must not be forgotten
    shutil.copytree(part, artifacts / "utterances", dirs_exist_ok=True)
    lake = Warehouse(held.lake.root)
    assert remains(lake, Tombstone.from_json(first["withdrawn"])) != []
    second = purged(lake)
    assert second["purge"] == first["purge"]
    receipts = sorted(path.name for path in (lake.root / "receipts").iterdir())
    assert receipts == [f"{first['purge']}-2.json", f"{first['purge']}.json"]
    assert {a.key: a.digest for a in Warehouse(lake.root).artifacts()} == state and verify(Warehouse(lake.root)) == []
