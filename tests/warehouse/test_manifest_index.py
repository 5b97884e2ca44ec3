"""What is remembered of manifests is what the disk says, whatever happens to either."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tests.sparing import first
from warehouse import Artifact, Request, Warehouse, manifest_index
from warehouse.artifact import MANIFEST, content_digest, read_artifact
from warehouse.errors import UnreadableManifest
from warehouse.hashing import canonical_json
from warehouse.manifest_index import MANY

HOUSE = Path(__file__).resolve().parents[2]
N = 3 * MANY
LONG_AGO = 10**9


def put(lake: Warehouse, n: int, kind: str = "raw", text: str = "") -> Path:
    """An artifact of a made-up file, without the wait for the disk of a commit; some have the same bytes."""
    params = {"n": n, "what": "ö"} | ({"plugin": {"step": "made"}, "attempt": n} if n % 3 else {})
    request = Request(kind, "made", 1, params, {"from": (f"d{n}", f"d{n // 2}"), "none": ()})
    files = {"a.txt": {"sha256": text or str(n // 2), "n_bytes": n}}
    manifest = {
        "request": request.as_json(), "files": files, "digest": content_digest(files), "environment": {"work_s": n},
        "created_at": f"2026-01-01T00:{n % 60:02}:00.000+00:00",
    }  # fmt: skip
    folder, scratch = lake.folder_of(request), lake.root / ".scratch" / f"{os.getpid()}-{n}"
    scratch.mkdir(parents=True)
    (scratch / MANIFEST).write_bytes(canonical_json(manifest))
    folder.parent.mkdir(parents=True, exist_ok=True)
    os.rename(scratch, folder)
    return folder


def take(folder: Path) -> None:
    """Away, as every removal here begins."""
    away = folder.parents[2] / ".scratch" / folder.name
    away.parent.mkdir(exist_ok=True)
    os.rename(folder, away)
    shutil.rmtree(away)


def on_disk(lake: Warehouse, kind: str = "*") -> dict[str, Artifact]:
    folders = [path.parent for path in (lake.root / "artifacts").glob(f"{kind}/*/{MANIFEST}")]
    return {folder.name: read_artifact(folder) for folder in folders}


def holds(lake: Warehouse, there: dict[str, Artifact] | None = None) -> None:
    """Every question is answered as by one who reads all manifests."""
    there = on_disk(lake) if there is None else there
    oldest_first = sorted(there.values(), key=lambda a: (a.created_at, a.key))
    assert lake.artifacts() == oldest_first
    for kind in {a.request.kind for a in oldest_first} | {"nothing"}:
        own = [a for a in oldest_first if a.request.kind == kind]
        assert lake.artifacts(kind) == own
        assert lake.by_digest(kind) == {a.digest: a for a in sorted(own, key=lambda a: a.key, reverse=True)}
    for one in oldest_first[::17]:
        assert lake.with_digest(one.digest) == sorted((a for a in oldest_first if a.digest == one.digest), key=by_key)
        assert lake.find(one.request) == one == lake.find_folder(one.folder)
    table = lake.manifests.table("key", "digest", "n_bytes", "attempt")
    assert sorted(map(str, table.to_pylist())) == sorted(
        str({"key": a.key, "digest": a.digest, "n_bytes": a.n_bytes, "attempt": a.request.params.get("attempt", 0)})
        for a in oldest_first
    )


def by_key(artifact: Artifact) -> str:
    return artifact.key


def rows_of(lake: Warehouse) -> Path:
    return lake.root / ".cache" / "manifests" / "raw.rows"


def names_of(lake: Warehouse) -> Path:
    return rows_of(lake).with_suffix(".names")


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if nothing had been changed for some seconds."""
    monkeypatch.setattr(manifest_index, "SETTLED_NS", -LONG_AGO)


@pytest.fixture
def large(lake: Warehouse, settled: None) -> Warehouse:
    """A lake whose manifests are remembered; this process has not read them."""
    for n in range(N):
        put(lake, n)
    put(lake, 1, "labels")
    holds(Warehouse(lake.root))
    assert rows_of(lake).exists() and names_of(lake).exists() and not rows_of(lake).with_stem("labels").exists()
    return Warehouse(lake.root)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The manifests that are read from now on."""
    read: list[Path] = []

    def reading(folder: Path) -> Artifact:
        read.append(folder)
        return read_artifact(folder)

    monkeypatch.setattr(manifest_index, "read_artifact", reading)
    yield read


def test_what_is_remembered_is_not_read_again(large: Warehouse, reads: list[Path]) -> None:
    large.artifacts("raw")
    assert reads == []
    new = put(large, N)
    assert new.name in {a.key for a in large.artifacts("raw")} and reads == [new]
    again = Warehouse(large.root)
    assert len(again.artifacts("raw")) == N + 1 and reads == [new, new], "too few for a file of rows"
    there = on_disk(large)
    holds(large, there)
    holds(Warehouse(large.root), there)


def test_a_small_lake_remembers_nothing(lake: Warehouse, settled: None) -> None:
    for n in range(MANY - 1):
        put(lake, n)
    holds(lake)
    assert not (lake.root / ".cache").exists()


def test_an_artifact_that_is_remembered_is_that_of_the_disk(large: Warehouse) -> None:
    for kept in large.artifacts("raw")[::20]:
        read = read_artifact(kept.folder)
        assert (kept, kept.key, kept.request, repr(kept)) == (read, read.key, read.request, repr(read))
        assert kept.request.inputs == read.request.inputs and kept.request.params == read.request.params
        assert pickle.loads(pickle.dumps(kept)) == read, "it travels without what it was remembered by"
        with pytest.raises(AttributeError, match="'Artifact' has no 'size'"):
            _ = kept.size  # type: ignore[attr-defined]


def test_what_comes_and_goes_is_seen_at_once(large: Warehouse) -> None:
    beside = Warehouse(large.root)
    for lake in (large, beside):
        holds(lake)
    made = [put(large, n) for n in range(N, N + 5)]
    for lake in (large, beside, Warehouse(large.root)):
        holds(lake)
    for folder in (made[0], large.artifacts("raw")[3].folder):
        take(folder)
        for lake in (large, beside, Warehouse(large.root)):
            assert folder.name not in {a.key for a in lake.artifacts()}
            holds(lake)


def test_an_artifact_that_was_made_again_is_the_new_one(large: Warehouse) -> None:
    """As repair does where a fit gave other weights: the same key, other bytes."""
    holds(large)
    before = next(a for a in large.artifacts("raw") if a.request.params["n"] == 7)
    take(before.folder)
    put(large, 7, text="other")
    for lake in (large, Warehouse(large.root)):
        assert lake.find_folder(before.folder).digest != before.digest
        holds(lake)


def test_a_kind_that_shrank_is_forgotten(large: Warehouse) -> None:
    for artifact in large.artifacts("raw")[: N - 5]:
        take(artifact.folder)
    holds(large)
    assert not rows_of(large).exists() and not names_of(large).exists()
    holds(Warehouse(large.root))


def test_a_kind_that_went_is_gone(large: Warehouse) -> None:
    shutil.rmtree(large.root / "artifacts" / "raw")
    assert {a.request.kind for a in large.artifacts()} == {"labels"} and large.artifacts("raw") == []
    shutil.rmtree(large.root / "artifacts")
    assert large.artifacts() == []


def test_remains_without_a_manifest_do_not_exist_until_they_have_one(large: Warehouse) -> None:
    empty = large.root / "artifacts" / "raw" / ("0" * 32)
    empty.mkdir()
    (empty.parent / "a file").write_text("")
    holds(large)
    with pytest.raises(UnreadableManifest, match="FileNotFoundError"):
        large.find_folder(empty)


def test_a_manifest_that_cannot_be_read_is_named_each_time(large: Warehouse) -> None:
    folder = put(large, N)
    (folder / MANIFEST).write_text("{")
    for _ in range(2):
        for lake in (large, Warehouse(large.root)):
            with pytest.raises(UnreadableManifest, match=f"{folder.name}/manifest.json cannot be read"):
                lake.artifacts()
            assert len(lake.artifacts("labels")) == 1
    take(folder)
    holds(large)


@pytest.mark.parametrize("ending", ["rows", "names"])
@pytest.mark.parametrize(
    "damage",
    first(3, [
        lambda content: b"", lambda content: content[:-1], lambda content: content[:100], lambda content: b"x" * 5000,
        lambda content: content + b"x", lambda content: content[:200] + bytes([content[200] ^ 1]) + content[201:],
        lambda content: content.replace(b"manifests 2", b"manifests 1"),
    ]),
)  # fmt: skip
def test_a_file_that_is_damaged_remembers_nothing(large: Warehouse, ending: str, damage: Any) -> None:
    path = rows_of(large).with_suffix(f".{ending}")
    path.write_bytes(damage(path.read_bytes()))
    holds(large)
    again = Warehouse(large.root)
    path.unlink()
    holds(again)


def test_names_are_of_the_rows_that_they_were_written_with(large: Warehouse) -> None:
    old_rows, old_names = rows_of(large).read_bytes(), names_of(large).read_bytes()
    for n in range(N, N + MANY):
        put(large, n)
    holds(Warehouse(large.root))
    assert rows_of(large).read_bytes() != old_rows, "enough are new"
    for path, content in ((rows_of(large), old_rows), (names_of(large), old_names)):
        kept = path.read_bytes()
        path.write_bytes(content)
        holds(Warehouse(large.root))
        path.write_bytes(kept)
        holds(Warehouse(large.root))


def test_a_folder_that_changed_just_now_is_looked_at_again(large: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two changes may have the same time; a copy of a lake may bring times of its own."""
    monkeypatch.setattr(manifest_index, "SETTLED_NS", LONG_AGO * 60)
    put(large, N)
    holds(large)
    real = os.stat(large.root / "artifacts" / "raw")

    def standing_still(path: Any, **options: Any) -> os.stat_result:
        return real if str(path).endswith("artifacts/raw") else stat(path, **options)

    stat = os.stat
    monkeypatch.setattr(os, "stat", standing_still)
    there = on_disk(large)
    new, gone = put(large, N + 1), next(iter(there.values())).folder
    take(gone)
    keys = {a.key for a in large.artifacts("raw")}
    assert new.name in keys and gone.name not in keys


def test_a_clock_that_is_hours_ahead_of_the_disk_settles_nothing(
    large: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk of a lake may be another host's, and folders bear its times."""
    monkeypatch.setattr(manifest_index, "SETTLED_NS", LONG_AGO * 60)
    ahead = time.time_ns() + LONG_AGO * 3600
    monkeypatch.setattr(time, "time_ns", lambda: ahead)
    put(large, N)
    holds(large)
    real, stat = os.stat(large.root / "artifacts" / "raw"), os.stat
    monkeypatch.setattr(
        os, "stat", lambda path, **options: real if str(path).endswith("artifacts/raw") else stat(path, **options)
    )
    new = put(large, N + 1)
    assert new.name in {a.key for a in large.artifacts("raw")}


@pytest.mark.parametrize("n_asked", [MANY - 1, MANY])
def test_a_manifest_that_was_deleted_is_no_answer_to_few_nor_to_many(large: Warehouse, n_asked: int) -> None:
    asked = [one.request for one in large.artifacts("raw")[:n_asked]]
    gone = large.folder_of(asked[0])
    (gone / MANIFEST).unlink()
    found = Warehouse(large.root).find_all(asked)
    assert found[0] is None and all(found[1:])


def test_a_copy_is_another_lake(large: Warehouse, tmp_path: Path) -> None:
    shutil.copytree(large.root, tmp_path / "copy")
    copy = Warehouse(tmp_path / "copy")
    take(copy.artifacts("raw")[0].folder)
    holds(copy)
    shutil.copytree(large.root, tmp_path / "partly", ignore=lambda folder, names: names[:9] if "raw" in folder else [])
    holds(Warehouse(tmp_path / "partly"))
    holds(large)


def test_a_lake_that_cannot_be_written_to_can_be_asked(lake: Warehouse, settled: None) -> None:
    for n in range(N):
        put(lake, n)
    (lake.root / ".cache").write_text("in the way")
    holds(lake)
    holds(Warehouse(lake.root))


CHANGES = """
    import random, shutil, sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])
    from tests.warehouse.test_manifest_index import put, take
    from warehouse import Warehouse, manifest_index
    manifest_index.SETTLED_NS = -10**9
    lake, start = Warehouse(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(start)
    mine = []
    for n in range(start, start + 150):
        mine.append(put(lake, n))
        if n % 3 == 0:
            take(mine.pop(chance.randrange(len(mine))))
        if n % 10 == 0:
            found = {artifact.key for artifact in Warehouse(lake.root).artifacts("raw")}
            assert all(folder.name in found for folder in mine), "missed"
        if n % 50 == 0:
            shutil.rmtree(lake.root / ".cache", ignore_errors=True)
    print(*(folder.name for folder in mine))
"""


def test_processes_that_change_a_lake_at_once(large: Warehouse) -> None:
    stays = {a.key for a in large.artifacts("raw")}
    code = [sys.executable, "-c", dedent(CHANGES), str(HOUSE), str(large.root)]
    others = [
        subprocess.Popen([*code, str(start)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=HOUSE)
        for start in (10_000, 20_000)
    ]
    n_looks = 0
    while any(other.poll() is None for other in others):
        for lake in (large, Warehouse(large.root)):
            assert stays <= {artifact.key for artifact in lake.artifacts("raw")}
            n_looks += 1
    told = [other.communicate() for other in others]
    assert [errors for _, errors in told] == ["", ""] and n_looks > 4
    expected = stays | {key for keys, _ in told for key in keys.split()}
    for lake in (large, Warehouse(large.root)):
        assert {artifact.key for artifact in lake.artifacts("raw")} == expected
        holds(lake)
    assert not [path for path in (large.root / ".scratch").iterdir() if path.is_file()], "nothing half-written stays"


def test_a_manifest_that_comes_after_its_folder_is_seen(tmp_path: Path) -> None:
    """As in a copy or a restore: the kind's own folder does not change when the last file of an artifact arrives."""
    lake = Warehouse(tmp_path / "lake", create=True)
    folders = [put(lake, n) for n in range(N)]
    content = (folders[0] / MANIFEST).read_bytes()
    (folders[0] / MANIFEST).unlink()
    os.utime(folders[0].parent, (LONG_AGO, LONG_AGO))
    assert len(Warehouse(lake.root).artifacts()) == N - 1
    (folders[0] / MANIFEST).write_bytes(content)
    holds(Warehouse(lake.root))
