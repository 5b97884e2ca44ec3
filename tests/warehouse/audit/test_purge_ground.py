"""A purge of a lake on a store leaves what it leaves of the same lake in a folder, on the store and in every host's
copy, and nobody works in the lake until it is done."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from flows.audit.collect import garbage
from flows.cli import app
from flows.run import Setup
from tests.warehouse.audit.withdrawn_lake import (
    ANA,
    OWN,
    ROWS,
    SECRET,
    bits,
    pair,
    remembered,
    withdrawn_lake,
)
from tests.warehouse.faulty_store import FaultyStore, on_store, put_lake
from tests.warehouse.s3_server import s3_bucket
from tests.warehouse.test_taking import content, in_peace, marker, rebuilt
from warehouse import Request, Warehouse, copies
from warehouse.audit import receipts
from warehouse.audit.errors import DamagedBefore, StillThere, UnfinishedPurge
from warehouse.audit.purge import plan_purge, purge, resume
from warehouse.audit.purge_ground import held, write
from warehouse.audit.receipts import read_receipt, remains
from warehouse.audit.tombstones import Tombstone, refuse_unfinished, unfinished
from warehouse.audit.verify import verify
from warehouse.audit.withdrawal import Asked
from warehouse.hashing import digest
from warehouse.operating_errors import BeingTaken, StoreAtWork, TakenMeanwhile
from warehouse.taking import take_alone

URL = "faulty://bucket/lake"
OTHER = "elsewhere-7-0123456789ab"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
WITHDRAWS = Asked(speakers=["clips/Ana"])
NAMES = [name.replace("clips", corpus) for name in ANA for corpus in ("clips", "german", "spoken")]

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The lake that is put on the store, as it lies in a folder."""
    lake = withdrawn_lake(tmp_path / "folder").lake.root
    put_lake(lake)
    return lake


def purged(lake: Warehouse) -> dict[str, Any]:
    return purge(lake, plan_purge(lake, WITHDRAWS), KEY)


def resumed() -> list[dict[str, Any]]:
    return resume(Warehouse(URL), lambda: KEY)


def elsewhere(copies_in: Callable[[str], None], host: str) -> None:
    """From here on this is another host."""
    copies.REMOTES.clear()
    copies_in(host)


def said(receipt: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in receipt.items() if not k.endswith("_at") and k not in ("signature", "outside")}


def state() -> dict[str, Any]:
    """What the store has: names, receipts, and of each artifact its digest."""
    artifacts = {path.split("/")[1]: json.loads(one)["digest"] for path, one in on_store().items()
                 if path.endswith("/manifest.json")}  # fmt: skip
    return {"artifacts": artifacts, "refs": on_store("refs"),
            "receipts": {name: said(json.loads(one)) for name, one in on_store("receipts").items()}}  # fmt: skip


def needles() -> list[bytes]:
    gone = [row for row in ROWS if row["utterance_id"] in ANA]
    words = [*NAMES, "clips/Ana", OWN, SECRET, SECRET.title(), *(row["audio_id"] for row in gone), *map(pair, gone)]
    sounds = [bits(row["audio_id"]).tobytes() for row in gone]
    return [*(word.encode() for word in words), *(digest(name).encode() for name in NAMES if "spoken" in name), *sounds]


def holding(files: dict[str, bytes], tmp_path: Path) -> list[str]:
    """Those in which something withdrawn is; of tables, which are compressed, as a value."""
    words, found = {word for word in needles() if word.isascii()}, []
    for name, one in files.items():
        if any(needle in one or needle in name.encode() for needle in needles()):
            found.append(name)
        if name.endswith(".parquet"):
            (tmp_path / "one.parquet").write_bytes(one)
            values = (str(v) for column in pq.read_table(tmp_path / "one.parquet").columns for v in column.to_pylist())
            found += [name] if any(value.encode() in words for value in values) else []
    return found


def files_of(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_it_leaves_what_it_leaves_in_a_folder(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts, "_BYTES_AT_A_TIME", 20_000)  # less than the largest file
    lake, before = Warehouse(URL), marker().get("id", "")
    plan = plan_purge(lake, WITHDRAWS)
    assert any("earlier versions of objects" in one for one in plan.outside) and "taking" not in marker()
    receipt = purge(lake, plan, KEY)
    expected = purged(Warehouse(folder))
    assert said(receipt) == said(expected) and receipt["outside"] == list(plan.outside)
    assert state()["artifacts"] == {a.key: a.digest for a in Warehouse(folder).artifacts()}
    assert state()["refs"] == {name.removeprefix("refs/"): one for name, one in files_of(folder).items()
                               if name.startswith("refs/")}  # fmt: skip
    assert read_receipt(folder / "receipts" / f"{receipt['purge']}.json")
    lake = Warehouse(URL)
    assert verify(lake) == [] and marker()["id"] != before and "taking" not in marker()
    assert remains(lake, Tombstone.from_json(receipt["withdrawn"])) == [] == holding(content(), tmp_path)
    assert on_store(".purge") == on_store(".working") == {} and unfinished(lake.root) == []
    assert {a.key: a.digest for a in lake.artifacts()} == state()["artifacts"]


def test_nothing_is_left_in_any_copy_nor_of_what_the_store_remembers(
    folder: Path, tmp_path: Path, copies_in: Callable[[str], None]
) -> None:
    for name in (".resume/aa/00000001-bb.safetensors", "catalog.duckdb", f".cache/voice/{OWN}-1-1.bits"):
        FaultyStore.inner.pipe_file(f"/bucket/lake/{name}", b"what a lake in a folder had, in no words")
    FaultyStore.inner.pipe_file(f"/bucket/lake/.staged/bb/cc/{NAMES[0]}.wav", b"of a killed commit")
    FaultyStore.inner.pipe_file(f"/bucket/lake/artifacts/raw/cc/{NAMES[0]}.wav", b"of another")
    for host in ("other", "one"):
        elsewhere(copies_in, host)
        lake = Warehouse(URL)
        for artifact in lake.artifacts():
            artifact.whole()
        remembered(lake)
    purged(lake)
    assert holding(content(), tmp_path) == [] and not any(b"in no words" in one for one in content().values())
    assert on_store(".staged") == {}
    assert holding(files_of(lake.root), tmp_path) == []
    elsewhere(copies_in, "other")
    lake = Warehouse(URL)
    shutil.rmtree(lake.root / ".prefect")  # as the receipt says
    assert holding(files_of(lake.root), tmp_path) == []
    assert lake.refs("reports").keys() == {"aside"} and verify(lake) == []
    assert {a.key: a.digest for a in lake.artifacts()} == state()["artifacts"]


def killed_before_writing(number: int) -> list[str]:
    """Has this process be gone before so many-th of the requests that change the store; tells which were done."""
    done = list[str]()

    def before(request: str, path: str) -> None:
        if request in ("pipe_file", "cp_file", "rm_file"):
            if len(done) == number:
                FaultyStore.before = staticmethod(gone)
                gone(request, path)
            done.append(f"{request} {path}")

    def gone(request: str, path: str) -> None:
        raise KeyboardInterrupt

    FaultyStore.before = staticmethod(before)
    return done


@pytest.mark.parametrize("n_times", [4, pytest.param(1000, marks=pytest.mark.slow)])
def test_killed_before_anything_it_changes_any_host_completes_it_and_it_leaves_the_same(
    folder: Path, copies_in: Callable[[str], None], n_times: int
) -> None:
    whole, seen = content(), set()
    plan, done = plan_purge(Warehouse(URL), WITHDRAWS), killed_before_writing(10**6)
    purge(Warehouse(URL), plan, KEY)
    in_peace()
    plan = replace(plan, changes=[])  # whose files lie in another copy than those that follow; here none is damaged
    expected, n = state(), len(done)
    journal = next(number for number, one in enumerate(done) if ".purge/" in one)
    chosen = {0, 2, journal, journal + 1, n // 3, n // 2, 2 * n // 3, n - 4, n - 2, n - 1}
    for number in sorted(chosen)[1::3] if n_times < n else range(n):
        elsewhere(copies_in, f"first-{number}")
        lake = rebuilt(whole)
        killed_before_writing(number)
        with pytest.raises(KeyboardInterrupt):
            purge(lake, plan, KEY)
        in_peace()
        if number % 2:
            elsewhere(copies_in, f"second-{number}")
        is_begun, has_journal, left = "taking" in marker(), bool(on_store(".purge")), Warehouse(URL)
        seen.add((is_begun, has_journal))
        assert unfinished(left.root) == [plan.id] * is_begun
        if is_begun:
            with pytest.raises(UnfinishedPurge, match=r"is not done: `emolake purge --resume` completes it"):
                left.materialize(Request("made", "x", 1), lambda folder: (folder / "x").write_text("x") and None)
            with pytest.raises(UnfinishedPurge):
                garbage(Setup(left.root, {}, "cpu", 1))
            with pytest.raises(BeingTaken, match=r"of a purge `emolake purge --resume`, on its host ends"):
                resumed()
        for name in on_store(".working"):
            FaultyStore.inner.rm_file(f"/bucket/lake/.working/{name}")
        completed = resumed()
        assert len(completed) == has_journal and unfinished(left.root) == []
        if not has_journal and state() != expected:
            assert content() == whole | {"/bucket/lake/lake.json": content()["/bucket/lake/lake.json"]}
            continue
        assert state() == expected and "taking" not in marker() and on_store(".purge") == {}
        assert verify(Warehouse(URL)) == []
    assert (True, True) in seen and (n_times < n or seen == {(False, False), (True, False), (True, True)})


def test_what_no_step_wrote_keeps_it_from_being_done_and_others_from_working(folder: Path) -> None:
    FaultyStore.inner.pipe_file("/bucket/lake/notes.txt", f"ask {ANA[1]} again".encode())
    lake = Warehouse(URL)
    with pytest.raises(StillThere, match=r"what it withdraws is still in notes\.txt; "):
        purged(lake)
    with pytest.raises(UnfinishedPurge):
        refuse_unfinished(lake.root)
    with pytest.raises(UnfinishedPurge), Warehouse(URL).scratch("run", is_announced=True):
        pass
    assert [fault.problem for fault in verify(Warehouse(URL)) if "emolake purge --resume` ends" in fault.problem]
    FaultyStore.inner.rm_file("/bucket/lake/notes.txt")
    FaultyStore.inner.pipe_file(f"/bucket/lake/.working/{OTHER}", b"{}")
    with pytest.raises(StoreAtWork):
        resumed()
    FaultyStore.inner.rm_file(f"/bucket/lake/.working/{OTHER}")
    (receipt,) = resumed()
    assert receipt["proof"]["found"] == 0 and "taking" not in marker()


def test_who_was_slow_undoes_nothing_of_who_was_told_to_go_on_in_its_place(
    folder: Path, copies_in: Callable[[str], None]
) -> None:
    with pytest.raises(TakenMeanwhile), held(Warehouse(URL), "slow") as lake:
        for name in on_store(".working"):  # as if its host were gone for good
            FaultyStore.inner.rm_file(f"/bucket/lake/.working/{name}")
        elsewhere(copies_in, "other")
        assert resumed() == [] and purged(Warehouse(URL))
        left = content()
        with pytest.raises(TakenMeanwhile):
            take_alone(lake.store, {})  # type: ignore[arg-type]
        write(lake, ".purge/slow.json", {})
    assert content() == left


def test_the_receipt_that_is_named_is_the_last_one_in_a_copy_that_had_none(
    folder: Path, copies_in: Callable[[str], None], tmp_path: Path
) -> None:
    first = purged(Warehouse(URL))
    put_lake(folder)  # a backup brings it back
    elsewhere(copies_in, "other")
    asked = ["purge", "--speaker", "clips/Ana", "--delete", "--lake", URL]
    told = CliRunner().invoke(app, asked, env={"EMOLAKE_SIGNING_KEY": str(tmp_path / "key.pem")})
    named = Path(told.output.rpartition("receipt: ")[2].strip())
    assert read_receipt(named)["done_at"] > first["done_at"] and named.stem == f"{first['purge']}-2"


def test_what_is_damaged_there_is_not_rewritten_and_the_lake_is_free_again(folder: Path) -> None:
    lake = Warehouse(URL)
    plan, before = plan_purge(lake, WITHDRAWS), content()
    (lake.root / ".damaged" / "features" / "x").mkdir(parents=True)
    with pytest.raises(DamagedBefore, match=r"while \.damaged/features is damaged"):
        purge(lake, plan, KEY)
    assert content().keys() == before.keys() and "taking" not in marker()


@pytest.mark.slow
def test_the_commands_on_a_real_store(tmp_path: Path, copies_in: Callable[[str], None]) -> None:
    import fsspec

    folder = withdrawn_lake(tmp_path / "folder").lake.root
    environ = {"EMOLAKE_SIGNING_KEY": str(tmp_path / "key.pem")}
    with s3_bucket() as bucket:
        url = f"{bucket}/lake"
        fsspec.filesystem("s3").put(str(folder), url, recursive=True)
        asked = ["purge", "--speaker", "clips/Ana", "--lake", url]
        told = CliRunner().invoke(app, asked, env=environ)
        assert told.exit_code == 0 and "nothing was changed" in told.output, told.output
        told = CliRunner().invoke(app, [*asked, "--delete"], env=environ)
        assert told.exit_code == 0 and "Looked for in every file: found 0" in told.output, told.output
        (name,) = fsspec.filesystem("s3").ls(f"{url}/receipts", refresh=True)
        elsewhere(copies_in, "other")
        told = CliRunner().invoke(app, ["purge", "--check", Path(name).stem, "--lake", url], env=environ)
        assert told.exit_code == 0 and "found: 0" in told.output, told.output
        assert {a.key: a.digest for a in Warehouse(url).artifacts()} == {
            a.key: a.digest for a in (purged(Warehouse(folder)), Warehouse(folder))[1].artifacts()
        }
        assert verify(Warehouse(url)) == []
