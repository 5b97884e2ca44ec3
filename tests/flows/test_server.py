"""The embedded server in processes of its own: what it prints, what it keeps, and that it never outlives us."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from flows import server
from warehouse.errors import DiskFull, ServerNotStarted, Untreatable
from warehouse.operating_errors import ServerLost

HERE = Path(__file__).parents[2]

PROGRAM = """
import sys, time
from pathlib import Path
from flows.server import prefect_server
try:
    with prefect_server(Path(sys.argv[1])) as wait_until_ready:
        wait_until_ready()
        from prefect import flow, get_run_logger, task
        import warnings

        @task
        def double(number):
            get_run_logger().warning("a word of a task")
            return 2 * number

        @task
        def fail():
            raise ValueError("on purpose")

        @task
        def wait():
            print("waiting", flush=True)
            time.sleep(60)

        @flow
        def main():
            warnings.warn("a word of a library")
            print("our own words", sum(double.submit(number).result() for number in range(12)))
            fail(return_state=True)
            wait()

        main()
except KeyboardInterrupt:
    print("interrupted")
"""


def _start(home: Path) -> subprocess.Popen[bytes]:
    """Someone's program; the database begins with what any server on this machine ended with, if there is one."""
    cache = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(home)],
        cwd=HERE,
        env={"XDG_CACHE_HOME": cache, **inherited, "HOME": str(home.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _count(home: Path, question: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(home / "prefect.db")
    try:
        return connection.execute(question).fetchall()
    finally:
        connection.close()


def _servers_of(home: Path) -> list[int]:
    """The processes whose log is in this home."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and os.readlink(process / "fd" / "1") == str(home / "server.log"):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def _wait_until_gone(home: Path) -> None:
    deadline = time.monotonic() + 30
    while _servers_of(home):
        assert time.monotonic() < deadline, "the server outlived its parent"
        time.sleep(0.05)


@pytest.fixture(scope="module", params=["a new home", pytest.param("a killed start", marks=pytest.mark.slow)])
def home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home, new or one in which a first start was killed with -9 while it made the database, which it has to."""
    home = tmp_path_factory.mktemp("someone") / "prefect"
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "a killed start":
            patch.setenv("XDG_CACHE_HOME", str(home.parent / "cache"))
            _killed_while_it_makes_the_database(home)
        yield home


def _killed_while_it_makes_the_database(home: Path) -> None:
    with _start(home) as process:
        deadline = time.monotonic() + 60
        while not (home / "prefect.db").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
        process.communicate()
    _wait_until_gone(home)
    assert not (home / "prefect.db.complete").exists()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks for the server in /proc")
def test_silent_complete_and_never_left_behind(home: Path) -> None:
    # A flow with a task that fails, and then Ctrl-C: only our own words, and whatever happened is in the database.
    with _start(home) as process:
        assert process.stdout is not None
        assert [process.stdout.readline(), process.stdout.readline()] == [b"our own words 132\n", b"waiting\n"]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert (out.decode(), err.decode()) == ("interrupted\n", "")
    assert _servers_of(home) == []
    assert _count(home, "SELECT event, count(*) FROM events WHERE event LIKE '%-run.%ed' GROUP BY 1 ORDER BY 1") == [
        ("prefect.flow-run.Crashed", 1),
        ("prefect.task-run.Completed", 12),
        ("prefect.task-run.Crashed", 1),
        ("prefect.task-run.Failed", 1),
    ]
    assert _count(home, "SELECT state_name, count(*) FROM task_run GROUP BY 1 ORDER BY 1") == [
        ("Completed", 12),
        ("Crashed", 1),
        ("Failed", 1),
    ]
    assert _count(home, "SELECT count(*) FROM task_run_state") == [(3 * 14,)]
    beats = "SELECT count(*) FROM events WHERE event LIKE '%heartbeat%'"
    assert _count(home, beats) == [(0,)], "a flow that ends would wait for the next"
    assert _count(home, "SELECT count(*) FROM log WHERE message = 'a word of a task'") == [(12,)]
    log = (home / "flows.log").read_text(encoding="utf-8")
    assert log.count("a word of a task") == 12
    assert "a word of a library" in log
    assert not (home.parent / ".prefect").exists()  # nothing outside its home
    assert not list((home / "storage").glob("*"))  # and no results: the warehouse is the only memory


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks for the server in /proc")
def test_a_server_goes_with_a_flow_that_is_killed(home: Path) -> None:
    with _start(home) as process:
        assert process.stdout is not None
        while process.stdout.readline() != b"waiting\n":
            assert process.poll() is None
        assert len(_servers_of(home)) == 1
        process.kill()
        process.communicate()
    _wait_until_gone(home)


@pytest.mark.slow  # `…_only_prefect_can_tell_of_ends_ours` and `test_a_server_that_may_be_set_…` have its two halves
@pytest.mark.parametrize(("own", "url"), [
    ({}, "http://prefect.lab/api"), ({"PREFECT_API_URL": "http://x/api"}, "http://x/api"),
])  # fmt: skip
def test_a_server_of_the_users_own_is_respected(tmp_path: Path, own: dict[str, str], url: str) -> None:
    program = """
import os, sys
from pathlib import Path
from flows.server import prefect_server
with prefect_server(Path(sys.argv[1])) as wait_until_ready:
    wait_until_ready()  # for nothing: it is not ours
    from prefect.settings import get_current_settings
    print(get_current_settings().api.url)
"""
    (tmp_path / ".prefect").mkdir()
    profiles = 'active = "lab"\n[profiles.lab]\nPREFECT_API_URL = "http://prefect.lab/api"\n'
    (tmp_path / ".prefect" / "profiles.toml").write_text(profiles, encoding="utf-8")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    command = [sys.executable, "-c", program, str(tmp_path / "home")]
    environment = {**inherited, "HOME": str(tmp_path), **own}
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, check=True, text=True)
    assert (done.stdout, done.stderr) == (f"{url}\n", "")
    assert not (tmp_path / "home" / "prefect.db").exists()


def test_a_server_that_only_prefect_can_tell_of_ends_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings

    ended: list[Path] = []

    @contextmanager
    def begun(home: Path) -> Iterator[tuple[str, Callable[[], None]]]:
        yield "http://ours/api", lambda: pytest.fail("it is waited for")
        ended.append(home)

    monkeypatch.setattr(server, "_may_be_set", lambda: False)
    monkeypatch.setattr(server, "_server_begun", begun)
    with temporary_settings({PREFECT_API_URL: "http://toml/api"}), server.prefect_server(tmp_path) as wait_until_ready:
        assert ended == [tmp_path]
        wait_until_ready()
        assert get_current_settings().api.url == "http://toml/api"


@pytest.mark.slow  # the one above, with processes and with what Prefect itself reads
def test_a_server_that_only_prefect_can_tell_of_is_respected_too(tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from flows.server import prefect_server\n"
    program += "with prefect_server(Path(sys.argv[1])) as ready:\n    ready()\n"
    program += "    from prefect.settings import get_current_settings; print(get_current_settings().api.url)\n"
    (tmp_path / "pyproject.toml").write_text('[tool]\nprefect = {api = {url = "http://toml/api"}}\n')
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment = {**inherited, "HOME": str(tmp_path), "PYTHONPATH": str(HERE)}
    command = [sys.executable, "-c", program, str(tmp_path / "home")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True, text=True)
    assert (done.stdout, done.stderr) == ("http://toml/api\n", "")
    assert _servers_of(tmp_path / "home") == []


def test_a_server_of_our_own_begins_before_prefect_is_imported(tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from flows import server\n"
    program += "server._server_begun = lambda home: sys.exit('prefect' in sys.modules)\n"
    program += "server.prefect_server(Path(sys.argv[1])).__enter__()\nraise AssertionError"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment = {**inherited, "HOME": str(tmp_path), "PYTHONPATH": str(HERE)}
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "home")], cwd=tmp_path, env=environment, check=True)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("", "", False),
        (".prefect/profiles.toml", '[profiles.lab]\nPREFECT_API_URL = "http://lab/api"\n', True),
        (".prefect/profiles.toml", "[profiles.mine]\n", False),
        ("prefect.toml", "", True),
        ("pyproject.toml", "[tool.prefect]\n", True),
        ("pyproject.toml", '[project]\ndependencies = ["prefect"]\n', False),
        (".env", "PREFECT_API_URL=http://lab/api\n", True),
    ],
)
def test_a_server_that_may_be_set_is_looked_for_where_prefect_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, expected: bool
) -> None:
    for variable in [variable for variable in os.environ if variable.startswith("PREFECT_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    if name:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert server._may_be_set() == expected
    monkeypatch.setenv("prefect_api_url", "http://lab/api")
    assert server._may_be_set()


def test_asking_does_not_cost_the_start_of_prefect() -> None:
    program = "import sys, flows.server; sys.exit('prefect' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=HERE, check=True)


def test_a_server_that_cannot_start_names_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", str(tmp_path / "nowhere"))  # not even its Python starts
    sentence = r"did not start \(it ended with exit code \d+\).*server\.log"
    with pytest.raises(ServerNotStarted, match=sentence), server._server_begun(tmp_path) as (_, ready):
        ready()
    assert (tmp_path / "server.log").stat().st_size > 0


def test_a_server_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "START_S", 0.2)
    with pytest.raises(ServerNotStarted, match=r"no answer within 0 s"), server._server_begun(tmp_path) as (_, ready):
        ready()
    assert not (tmp_path / "prefect.db.complete").exists()


def test_on_a_full_disk_what_the_server_could_not_do_is_the_disks_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meet(mistake: Exception, n_free: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(2**30, 2**30 - n_free, n_free))
        with server._saying_disk_full(tmp_path / ".prefect"):
            raise mistake

    refused, full = httpx.HTTPError("500 Internal Server Error"), OSError(errno.ENOSPC, "No space left on device")
    for mistake in (refused, full, ServerNotStarted(tmp_path, "it ended")):
        with pytest.raises(DiskFull, match=f"no space left on the disk of {tmp_path} while 'the record of the run'"):
            meet(mistake, 4096)
        with pytest.raises(ServerLost if mistake is refused else type(mistake)):
            meet(mistake, 2**29)
    with pytest.raises(ServerLost, match=r"does not answer \(500 Internal Server Error\): what was finished is kept"):
        meet(refused, 2**29)
    with pytest.raises(ServerLost, match=r"does not answer \(Failed to reach API at http://x/api/\)"):
        meet(RuntimeError("Failed to reach API at http://x/api/"), 2**29)
    with pytest.raises(RuntimeError, match="a fault"):
        meet(RuntimeError("a fault"), 2**29)
    with pytest.raises(Untreatable, match="the words of a work"):
        meet(Untreatable("the words of a work"), 4096)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no disk that is always full")
def test_a_log_that_cannot_be_written_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    import prefect.main  # noqa: F401  (its logging is what is silenced)

    with server._logging_to(Path("/dev/full")):
        logging.getLogger("prefect").error("a word of Prefect's")
    assert capsys.readouterr() == ("", "")
    assert logging.raiseExceptions


@pytest.mark.slow
def test_a_second_start_waits_for_the_first_start_alone(tmp_path: Path) -> None:
    """Not for what the first one does before it needs its server."""
    with server._server_begun(tmp_path) as (first, _), server._server_begun(tmp_path) as (second, ready):
        ready()  # the first was never waited for, and its lock would have kept the second from starting
        assert first != second and (tmp_path / "prefect.db.complete").exists()
