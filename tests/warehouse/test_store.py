"""The lake under everything that goes wrong: exceptions, races, kills, full disks, and questions that would write."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from textwrap import dedent
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from warehouse import Request, Warehouse, Work, in_progress, store
from warehouse.audit.verify import verify
from warehouse.errors import (
    AmbiguousReference,
    ArtifactNotFound,
    DiskFull,
    EmptyArtifact,
    NameTooLong,
    NotALake,
    QueryFailed,
    UnreadableManifest,
    UnreadableRef,
)

REQUEST = Request("raw", "features.raw", 1, {"corpus": "films"})
HOUSE = Path(__file__).resolve().parents[2]


def write_one(folder: Path, text: str = "one") -> None:
    (folder / "one.txt").write_text(text)


def never(folder: Path) -> NoReturn:
    raise AssertionError("written although it exists")


def scratch_of(lake: Warehouse) -> list[Path]:
    return sorted((lake.root / ".scratch").glob("*"))


def everything(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def python(code: str, *arguments: Any) -> subprocess.Popen[str]:
    """A real process with our house on its path."""
    return subprocess.Popen(
        [sys.executable, "-c", dedent(code), *map(str, arguments)], cwd=HOUSE, text=True,
        stdout=subprocess.PIPE, stdin=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


# -- opening ---------------------------------------------------------------------------------------------------


def test_a_folder_is_no_lake_until_asked_to_become_one(tmp_path: Path) -> None:
    with pytest.raises(NotALake, match=r"lake is no lake \(it has no lake\.json\): name another folder, or start one"):
        Warehouse(tmp_path / "lake")
    assert not (tmp_path / "lake").exists()
    Warehouse(tmp_path / "lake", create=True)
    assert json.loads((tmp_path / "lake" / "lake.json").read_bytes()) == {"format": store.FORMAT}
    assert Warehouse(str(tmp_path / "lake")).artifacts() == []


def test_what_is_recorded_is_not_hashed(lake: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    first = lake.materialize(REQUEST, write_one)
    assert first.environment["packages"]["pyarrow"] == pa.__version__
    other = Warehouse(lake.root.with_name("other"), create=True)
    monkeypatch.setattr(store, "environment", lambda: {"python": "4"})
    second = other.materialize(REQUEST, write_one)
    assert (second.key, second.digest) == (first.key, first.digest)
    assert second.environment.keys() == {"python", "work_s"} and 0 <= second.environment["work_s"] < 60


def test_what_is_told_beside_is_recorded_and_not_hashed(lake: Warehouse) -> None:
    told: dict[str, int] = {}

    def write(folder: Path) -> None:
        write_one(folder)
        told["cost"] = 7

    made = lake.materialize(REQUEST, write, told)
    assert made.environment["cost"] == 7
    other = Warehouse(lake.root.with_name("other"), create=True).materialize(REQUEST, write_one)
    assert (other.key, other.digest) == (made.key, made.digest) and "cost" not in other.environment


# -- materialize -----------------------------------------------------------------------------------------------


def test_write_is_called_once(lake: Warehouse) -> None:
    first = lake.materialize(REQUEST, write_one)
    assert lake.materialize(REQUEST, never) == first
    assert Warehouse(lake.root).materialize(REQUEST, never) == first
    assert lake.find(REQUEST) == first
    assert scratch_of(lake) == []


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt, SystemExit, MemoryError, PermissionError])
def test_whatever_stops_write_leaves_nothing(lake: Warehouse, stop: type[BaseException]) -> None:
    def write(folder: Path) -> None:
        write_one(folder)
        raise stop

    with pytest.raises(stop):
        lake.materialize(REQUEST, write)
    assert lake.find(REQUEST) is None and lake.artifacts() == []
    assert scratch_of(lake) == []
    assert lake.materialize(REQUEST, write_one).files.keys() == {"one.txt"}


def test_nothing_written_is_refused(lake: Warehouse) -> None:
    with pytest.raises(EmptyArtifact, match=r"'features\.raw' wrote no file for"):
        lake.materialize(REQUEST, lambda folder: None)
    assert lake.artifacts() == [] and scratch_of(lake) == []


def test_a_race_lost_inside_write_returns_the_winner(lake: Warehouse) -> None:
    winners = []

    def write(folder: Path) -> None:
        winners.append(Warehouse(lake.root).materialize(REQUEST, lambda f: write_one(f, "the winner's")))
        write_one(folder, "the loser's")

    assert lake.materialize(REQUEST, write) == winners[0]
    assert lake.find(REQUEST) == winners[0]
    assert winners[0].path("one.txt").read_text() == "the winner's"
    assert scratch_of(lake) == [] and verify(lake) == []


def test_two_processes_make_one_artifact(lake: Warehouse) -> None:
    code = """
        import os, sys
        from warehouse import Request, Warehouse
        lake = Warehouse(sys.argv[1])
        def write(folder):
            print("writing", flush=True)
            sys.stdin.readline()
            (folder / "one.txt").write_text(sys.argv[2])
        print(lake.materialize(Request("raw", "features.raw", 1, {"corpus": "films"}), write).digest)
    """
    with python(code, lake.root, "first") as one, python(code, lake.root, "second") as other:
        for process in (one, other):
            assert process.stdout is not None and process.stdout.readline() == "writing\n"
        assert len(scratch_of(lake)) == 2
        answers = [process.communicate("go\n") for process in (one, other)]
    assert answers[0] == answers[1] == (lake.artifacts()[0].digest + "\n", "")
    assert scratch_of(lake) == [] and verify(lake) == []


WRITES_FOR_EVER = """
    import sys, time
    from warehouse import Request, Warehouse
    def write(folder):
        (folder / "one.txt").write_text("half")
        print("writing", flush=True)
        time.sleep(60)
    Warehouse(sys.argv[1]).materialize(Request("raw", "features.raw", 1, {"corpus": "films"}), write)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_process_leaves_no_artifact_and_its_scratch_is_swept(lake: Warehouse, number: signal.Signals) -> None:
    with python(WRITES_FOR_EVER, lake.root) as process:
        assert process.stdout is not None and process.stdout.readline() == "writing\n"
        assert len(scratch_of(Warehouse(lake.root))) == 1, "a live process keeps its scratch"
        process.send_signal(number)
        process.communicate()
    assert len(scratch_of(lake)) == (1 if number == signal.SIGKILL else 0)
    again = Warehouse(lake.root)
    assert scratch_of(again) == [] and again.artifacts() == []
    assert again.materialize(REQUEST, write_one).path("one.txt").read_text() == "one"


def test_scratch_of_other_hosts_is_left_to_them(lake: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "gpu")
    monkeypatch.setattr(in_progress, "is_running", lambda pid: pid == os.getpid())
    names = [f"{process}-0123456789ab" for process in ("gpu-77", f"gpu-{os.getpid()}", "gpu-77-77", "gpu-node-77")]
    for name in names:
        (lake.root / ".scratch" / name).mkdir(parents=True)
    Warehouse(lake.root)
    assert [path.name for path in scratch_of(lake)] == sorted(names[1:])


def test_scratch_of_no_process_is_left_alone(lake: Warehouse) -> None:
    for name in ("my-own-notes", "notes", f"{socket.gethostname()}-x-0123"):
        (lake.root / ".scratch" / name).mkdir(parents=True)
    Warehouse(lake.root)
    assert len(scratch_of(lake)) == 3


def test_a_ref_killed_on_its_way_leaves_nothing_once_the_lake_is_opened_again(lake: Warehouse) -> None:
    lake.set_ref("corpora/films", {"root": "/a"})
    code = """
        import os, sys, time
        from warehouse import Warehouse
        lake = Warehouse(sys.argv[1])
        def wait(*_):
            print("writing", flush=True)
            time.sleep(60)
        os.replace = wait
        lake.set_ref("corpora/films", {"root": "/b"})
    """
    with python(code, lake.root) as process:
        assert process.stdout is not None and process.stdout.readline() == "writing\n"
        Warehouse(lake.root)
        assert len(list((lake.root / "refs" / "corpora").iterdir())) == 2, "a living process is left alone"
        process.kill()
    assert len(list((lake.root / "refs" / "corpora").iterdir())) == 2
    Warehouse(lake.root)
    assert [p.name for p in (lake.root / "refs" / "corpora").iterdir()] == ["films.json"]
    assert lake.ref("corpora/films") == {"root": "/a"}


def test_perform_passes_the_arguments_and_knows_a_job(lake: Warehouse) -> None:
    assert lake.perform(Work(REQUEST, write_one, {"text": "argued"})).path("one.txt").read_text() == "argued"
    with pytest.raises(TypeError, match=r"'features\.raw' is a job: launch it, it has no function"):
        lake.perform(Work(REQUEST))


# -- a full disk -----------------------------------------------------------------------------------------------

FULL = r"no space left on the disk of .*lake while 'features\.raw' was written: nothing half-written stays; free some"


def _write_arrow(folder: Path) -> None:
    with pa.OSFile("/dev/full", "wb") as stream:  # by itself: pq.write_table would remove the path it failed on
        pq.write_table(pa.table({"a": range(10)}), stream)


def _write_plain(folder: Path) -> None:
    with open("/dev/full", "wb") as stream:
        stream.write(b"x" * 100_000)


def _quota(folder: Path) -> None:
    raise OSError(errno.EDQUOT, "Disk quota exceeded")


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="this system has no /dev/full")
@pytest.mark.parametrize("write", [_write_arrow, _write_plain, _quota])
def test_a_full_disk_is_one_sentence(lake: Warehouse, write: Any) -> None:
    with pytest.raises(DiskFull, match=FULL):
        lake.materialize(REQUEST, write)
    assert lake.artifacts() == [] and scratch_of(lake) == []


def test_other_errors_of_the_system_are_not_taken_for_a_full_disk(lake: Warehouse) -> None:
    with pytest.raises(FileNotFoundError):
        lake.materialize(REQUEST, lambda folder: write_one(folder / "no such folder"))


def test_a_ref_that_finds_no_space_says_so(lake: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.set_ref("corpora/films", {"root": "/a"})

    def full(*_: Any) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(DiskFull, match="while 'refs/corpora/films' was written"):
        lake.set_ref("corpora/films", {"root": "/b"})
    assert lake.ref("corpora/films") == {"root": "/a"}
    assert [p.name for p in (lake.root / "refs" / "corpora").iterdir()] == ["films.json"]


def test_a_disk_that_is_full_from_the_start_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(DiskFull, match=r"while 'lake\.json' was written"):
        Warehouse(tmp_path / "lake", create=True)
    assert list((tmp_path / "lake").iterdir()) == []


def test_a_disk_that_is_really_full_and_then_freed(tmp_path: Path) -> None:
    code = """
        import sys
        from pathlib import Path
        from warehouse import Request, Warehouse
        from warehouse.errors import DiskFull
        disk = Path(sys.argv[1])
        lake = Warehouse(disk / "lake", create=True)
        request = Request("raw", "features.raw", 1)
        (disk / "ballast").write_bytes(bytes(300_000))
        write = lambda folder: (folder / "big").write_bytes(bytes(400_000)) and None
        try:
            lake.materialize(request, write)
        except DiskFull as error:
            print(error)
        print(sorted(p.name for p in lake.root.rglob("*")))
        (disk / "ballast").unlink()
        print(lake.materialize(request, write).n_bytes)
    """
    disk, script = tmp_path / "disk", tmp_path / "fill.py"
    disk.mkdir()
    script.write_text(dedent(code))
    mounted = "mount -t tmpfs -o size=512k none $0 && exec $1 $2 $0"
    shell = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*shell, "mount -t tmpfs none $0", str(disk)]).returncode:
        pytest.skip("this system lets nobody mount")
    ran = subprocess.run(
        [*shell, mounted, str(disk), sys.executable, str(script)],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(HOUSE)},
    )  # fmt: skip
    assert ran.stderr == ""
    sentence, names, n_bytes = ran.stdout.splitlines()
    assert sentence.startswith(f"no space left on the disk of {disk}/lake while 'features.raw' was written")
    assert (names, n_bytes) == ("['.scratch', 'lake.json']", "400000")


# -- finding ---------------------------------------------------------------------------------------------------


def put(lake: Warehouse, text: str, **params: Any) -> Any:
    return lake.materialize(Request("raw", "features.raw", 1, params), lambda folder: write_one(folder, text))


def test_resolve_by_key_digest_beginning_and_name(lake: Warehouse) -> None:
    a, b = put(lake, "a"), put(lake, "b", unit=1)
    lake.set_ref("reports/demo", {"artifact": b.digest})
    lake.set_ref("corpora/films", {"root": "/a"})
    for reference in (a.key, a.digest, a.key[:16], a.digest[:16]):
        assert lake.resolve(reference) == a
    assert lake.resolve("reports/demo") == b
    for unknown in ("", "nothing", "corpora/films", "../lake", "reports/Demo", a.key + "0"):
        with pytest.raises(ArtifactNotFound, match=rf"no artifact has .* or name '{unknown}': `emolake ls`"):
            lake.resolve(unknown)


def test_a_beginning_that_fits_several_is_ambiguous(lake: Warehouse) -> None:
    made = [put(lake, str(n), unit=n) for n in range(17)]  # more than there are first letters
    firsts = [a.key[0] for a in made]
    letter = next(first for first in firsts if firsts.count(first) > 1)
    with pytest.raises(AmbiguousReference, match=f"'{letter}' begins several keys or digests .*give more characters"):
        lake.resolve(letter)


def test_the_same_bytes_from_two_requests_are_not_ambiguous(lake: Warehouse) -> None:
    a, b = put(lake, "same"), put(lake, "same", unit=1)
    assert a.digest == b.digest and lake.with_digest(a.digest) == sorted([a, b], key=lambda one: one.key)
    assert lake.by_digest(a.request.kind)[a.digest] == lake.with_digest(a.digest)[0]
    assert lake.resolve(a.key) == a and lake.resolve(b.key) == b
    assert lake.resolve(a.digest).digest == a.digest


def test_artifacts_are_listed_oldest_first_and_by_kind(lake: Warehouse) -> None:
    made = [put(lake, str(n), unit=n) for n in range(3)]
    other = lake.materialize(Request("labels", "corpora.films", 1), write_one)
    assert sorted(lake.artifacts("raw"), key=lambda a: a.key) == sorted(made, key=lambda a: a.key)
    assert lake.artifacts("labels") == [other] and lake.artifacts("nothing") == []
    times = [(a.created_at, a.key) for a in lake.artifacts()]
    assert times == sorted(times) and len(times) == 4


def test_a_folder_without_a_manifest_does_not_exist(lake: Warehouse) -> None:
    folder = lake.folder_of(REQUEST)
    folder.mkdir(parents=True)
    write_one(folder)
    assert lake.find(REQUEST) is None and lake.artifacts() == []


def test_a_manifest_that_cannot_be_read_is_named(lake: Warehouse) -> None:
    put(lake, "a").folder.joinpath("manifest.json").write_text("{")
    with pytest.raises(UnreadableManifest, match=r"raw/[0-9a-f]{32}/manifest\.json cannot be read \(JSONDecodeError"):
        Warehouse(lake.root).artifacts()


# -- refs ------------------------------------------------------------------------------------------------------


def test_refs_move_and_are_listed_by_group(lake: Warehouse) -> None:
    assert lake.ref("corpora/films") is None and lake.refs("corpora") == {}
    lake.set_ref("corpora/films", {"root": "/a", "utterances": ("d1",)})
    lake.set_ref("corpora/films", {"root": "/b", "utterances": ("d1",)})
    lake.set_ref("corpora/A b", {"root": "/c"})
    lake.set_ref("features/lld", {"plugin_key": "0"})
    assert lake.ref("corpora/films") == {"root": "/b", "utterances": ["d1"]}
    assert lake.refs("corpora") == {"A b": {"root": "/c"}, "films": {"root": "/b", "utterances": ["d1"]}}
    assert sorted(p.name for p in (lake.root / "refs" / "corpora").iterdir()) == ["A b.json", "films.json"]


@pytest.mark.parametrize("content", ["", "{", "[]", "\xff"])
def test_a_damaged_ref_is_told(lake: Warehouse, content: str) -> None:
    lake.set_ref("corpora/films", {"root": "/a"})
    (lake.root / "refs" / "corpora" / "films.json").write_text(content, encoding="latin-1")
    for ask in (partial(lake.ref, "corpora/films"), partial(lake.refs, "corpora")):
        with pytest.raises(UnreadableRef, match=r"refs/corpora/films\.json cannot be read \(.+\): delete it, and"):
            ask()


def test_a_name_that_is_too_long_for_a_file_is_refused(lake: Warehouse) -> None:
    for longest in ("x" * 250, "é" * 125):
        lake.set_ref(f"reports/{longest}", {"artifact": "0"})
        assert lake.ref(f"reports/{longest}") == {"artifact": "0"}
    for name in (f"reports/{'x' * 251}", f"reports/{'é' * 126}", f"{'x' * 251}/a"):
        for call in (lake.ref, lake.resolve, lambda name: lake.set_ref(name, {"artifact": "0"})):
            told = f"the name '{name[:40]}…' is too long for a file: give one of at most 250 bytes"
            with pytest.raises(NameTooLong, match=re.escape(told)):
                call(name)
    assert sorted(lake.refs("reports")) == ["x" * 250, "é" * 125]


def test_a_ref_that_does_not_move_is_not_written(lake: Warehouse) -> None:
    lake.set_ref("corpora/films", {"utterances": ("d1",)})
    path = lake.root / "refs" / "corpora" / "films.json"
    before = path.stat()
    lake.set_ref("corpora/films", {"utterances": ["d1"]})
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_ref_that_could_not_be_moved_still_points_where_it_did(
    lake: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.set_ref("corpora/films", {"root": "/a"})

    def stop(*_: Any) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        lake.set_ref("corpora/films", {"root": "/b"})
    assert lake.ref("corpora/films") == {"root": "/a"}
    assert lake.refs("corpora") == {"films": {"root": "/a"}}
    assert [p.name for p in (lake.root / "refs" / "corpora").iterdir()] == ["films.json"]


@pytest.mark.parametrize("name", ["../lake", "corpora/../../lake", "/etc/hostname", "../../x"])
def test_a_name_cannot_leave_the_folder_of_names(lake: Warehouse, name: str) -> None:
    before = everything(lake.root.parent)
    with pytest.raises(ArtifactNotFound, match="no artifact has the key, digest or name"):
        lake.ref(name)
    with pytest.raises(ArtifactNotFound, match="no artifact has the key, digest or name"):
        lake.set_ref(name, {"format": 9})
    assert everything(lake.root.parent) == before


def test_a_lake_behind_a_link_is_the_lake(tmp_path: Path) -> None:
    Warehouse(tmp_path / "big disk" / "lake", create=True)
    (tmp_path / "lake").symlink_to(tmp_path / "big disk" / "lake")
    lake = Warehouse(tmp_path / "lake")
    artifact = put(lake, "a")
    lake.set_ref("reports/demo", {"artifact": artifact.key})
    assert lake.resolve("reports/demo") == artifact
    assert lake.sql("SELECT count(*) FROM artifacts").fetchall() == [(1,)]


# -- questions -------------------------------------------------------------------------------------------------


def test_answers_come_as_duckdb_gives_them(lake: Warehouse) -> None:
    a = put(lake, "a")
    relation = lake.sql("SELECT key, n_bytes FROM artifacts WHERE kind = $kind", {"kind": "raw"})
    assert relation.fetchall() == [(a.key, 1)]
    assert lake.sql("FROM artifacts").pl().height == 1
    assert lake.sql("FROM artifacts").df().shape[0] == 1
    assert lake.table("SELECT 1 AS one").to_pydict() == {"one": [1]}
    assert len(lake.sql("SUMMARIZE artifacts").fetchall()) == 9
    assert lake.sql("PIVOT artifacts ON kind USING sum(n_bytes) GROUP BY step").fetchall() == [("features.raw", 1)]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELEC 1", "the query could not be answered: Parser Error"),
        ("SELECT nothing FROM artifacts", "Binder Error.*nothing"),
        ("FROM no_such_table", "no_such_table does not exist"),
        ("SELECT $id", "id"),
        ("", "it must be one SELECT; the lake is changed by flows only"),
        ("-- nothing", "it must be one SELECT"),
        ("SELECT 1; SELECT 2", "it must be one SELECT"),
    ],
)
def test_what_duckdb_has_against_a_query_is_passed_on(lake: Warehouse, query: str, message: str) -> None:
    with pytest.raises(QueryFailed, match=message):
        lake.sql(query)


def test_what_only_shows_while_it_runs_is_passed_on_too(lake: Warehouse) -> None:
    with pytest.raises(QueryFailed, match="Could not convert string 'x' to INT32"):
        lake.table("SELECT x::INT FROM (VALUES ('x')) t(x)")


def test_a_question_to_a_lake_that_lost_a_file_says_so(lake: Warehouse) -> None:
    table = pa.table({"utterance_id": ["u"], "part": ["test"], "label": ["sad"]})
    artifact = lake.materialize(Request("split", "p", 1), lambda f: pq.write_table(table, f / "split.parquet"))
    assert lake.table("FROM splits").num_rows == 1
    artifact.path("split.parquet").unlink()
    with pytest.raises(QueryFailed, match=r"the lake is damaged, see `emolake verify` \(IO Error: .*split\.parquet"):
        lake.table("FROM splits")
    assert lake.table("SELECT 1").num_rows == 1, "another question does not need it"


@pytest.mark.parametrize(
    "query",
    [
        "COPY (SELECT 1) TO '{lake}/artifacts/x.parquet'",
        "COPY (SELECT 1) TO '{lake}/lake.json' (FORMAT json)",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{lake}/x.csv'",
        "SELECT 1; COPY (SELECT 1) TO '{lake}/x.csv'",
        "EXPORT DATABASE '{lake}/export'",
        "ATTACH '{lake}/x.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "CREATE TABLE t (a INT)",
        "DROP VIEW artifacts",
        "DELETE FROM artifacts",
        "SET threads = 1",
        "CALL enable_logging(storage = 'file', storage_config = {{'path': '{lake}/log'}})",
        "FROM enable_logging(storage = 'file', storage_config = {{'path': '{lake}/log'}})",
        "FROM enable_profiling(save_location = '{lake}/profile.json')",
        "PRAGMA import_database('{lake}')",
        "WITH t AS (INSERT INTO artifacts VALUES (1) RETURNING *) FROM t",
    ],
)
def test_a_question_changes_nothing(lake: Warehouse, query: str) -> None:
    put(lake, "a")
    before = everything(lake.root)
    with pytest.raises(QueryFailed, match="the query could not be answered: "):
        lake.table(query.format(lake=lake.root))
    assert everything(lake.root) == before


def test_a_question_does_not_reach_into_the_program_that_asks(lake: Warehouse) -> None:
    parameters = pa.table({"a": [1]})
    with pytest.raises(QueryFailed, match="parameters does not exist"):
        lake.sql("FROM parameters")
    assert parameters.num_rows == 1
