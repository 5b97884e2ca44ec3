"""The pieces of the stack, each really run: PostgreSQL behind Prefect's server, its worker, and a build of ours that
writes to a store by the protocol of S3. Commands, settings and health checks are those of the compose file, with the
services' names replaced by the loopback and the ports by free ones.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.infra.declared import HOUSE, run, services

pytestmark = pytest.mark.slow

PASSWORD = "word of the test/+"
RECIPE = """
name = "pieces"
title = "Two clips"

[corpora.clips]
reader = "table"
file = "clips.csv"

[features.cepstra]
extractor = "mfcc"
corpora = ["clips"]
"""
TINY = """
from pathlib import Path
from prefect import flow

@flow
def tiny(place: str) -> None:
    Path(place).write_text("was here")
"""
SCHEDULED = """
import sys
from prefect import flow
from prefect.deployments import run_deployment

folder, place = sys.argv[1:]
source = flow.from_source(source=folder, entrypoint="tiny.py:tiny")
source.deploy(name="tiny", work_pool_name="emolake", print_next_steps=False, ignore_warnings=True)
print(run_deployment("tiny/tiny", parameters={"place": place}, timeout=120, poll_interval=0.5).state.name)
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def postgresql() -> Path | None:
    """The folder of the newest PostgreSQL's programs. It must have its contributed modules: packages that carry the
    server alone, as those for Python do, are refused by Prefect."""
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_config"), key=lambda path: -int(path.parts[-3]))
    for config in (shutil.which("pg_config"), *newest):
        if config is not None:
            said = subprocess.run([config, "--bindir", "--sharedir"], capture_output=True, text=True, check=True)
            programs, shared = map(Path, said.stdout.splitlines())
            if (programs / "initdb").exists() and (shared / "extension" / "pg_trgm.control").exists():
                return programs
    return None


@contextmanager
def running(command: list[str], log: Path, environment: Mapping[str, str], stop: int, **how: str) -> Iterator[None]:
    """A process with what it starts, ended by a signal; its log is shown where the test fails."""
    with open(log, "wb") as words:
        process = subprocess.Popen(
            command, env=dict(environment), cwd=log.parent, stdin=subprocess.DEVNULL, stdout=words, stderr=words,
            start_new_session=True, **how,  # type: ignore[call-overload]
        )  # fmt: skip
    try:
        yield
    finally:
        process.send_signal(stop)
        try:
            code = process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
        print(f"--- {command[:3]} ended with {code}\n{log.read_text(errors='replace')[-6000:]}")
    assert code in (0, -stop, 128 + stop)


def wait_until(ready: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, f"{what} is not ready"
        time.sleep(0.2)


def is_healthy(name: str, **ports: int) -> bool:
    """Whether the service's own health check passes, at other ports."""
    _, *command = services()[name]["healthcheck"]["test"]
    for port, other in ports.items():
        command = [word.replace(f":{port.removeprefix('p')}/", f":{other}/") for word in command]
    return run(command).returncode == 0


@dataclass(frozen=True)
class Stack:
    """What runs: Prefect's address and how its database is asked."""

    api: str
    environment: dict[str, str]
    ask: Callable[[str], list[str]]


@pytest.fixture(scope="module")
def postgres() -> Iterator[tuple[int, Callable[[str], list[str]]]]:
    """A PostgreSQL as the compose file's: its user and database, a password, over TCP. Yields its port, and psql.

    It refuses to run as root, who lets nobody run it."""
    programs = postgresql()
    if programs is None:
        pytest.skip("no PostgreSQL with pg_trgm, which Prefect's tables need, is installed (Debian: postgresql)")
    declared = services()["postgres"]["environment"]
    user, name = declared["POSTGRES_USER"], declared["POSTGRES_DB"]
    how = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid} if os.geteuid() == 0 else {}
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        (folder / "password").write_text(PASSWORD)
        if how:
            for path in (folder, folder / "password"):
                shutil.chown(path, "nobody", how["group"])
        place = {"env": {"LC_ALL": "C", "PATH": os.environ["PATH"]}, "cwd": folder, **how}
        made = subprocess.run(
            [programs / "initdb", "--auth=scram-sha-256", "--pwfile=password", "--encoding=utf8", "--no-sync",
             f"--username={user}", "--pgdata=database"],
            capture_output=True, text=True, **place,  # type: ignore[call-overload]
        )  # fmt: skip
        if made.returncode:
            pytest.skip(f"PostgreSQL cannot be run by 'nobody' here: {made.stderr.strip()[-200:]}")
        port = free_port()
        command = [str(programs / "postgres"), "-D", "database", "-p", str(port), "-h", "127.0.0.1", "-k", ""]
        stack.enter_context(
            running(command, folder / "log", {"LC_ALL": "C"}, signal.SIGINT, **how)  # type: ignore[arg-type]
        )
        entry = f"postgresql://{user}@127.0.0.1:{port}"
        words = {**os.environ, "PGPASSWORD": PASSWORD}

        def ask(question: str, database: str = name) -> list[str]:
            said = subprocess.run(
                [programs / "psql", f"{entry}/{database}", "-Atc", question], env=words, capture_output=True, text=True,
            )  # fmt: skip
            assert said.returncode == 0, said.stderr
            return said.stdout.splitlines()

        health = [programs / "pg_isready", "-d", f"{entry}/postgres"]
        wait_until(lambda: subprocess.run(health, capture_output=True, check=False).returncode == 0, "PostgreSQL", 30)
        ask(f"CREATE DATABASE {name}", "postgres")
        yield port, ask


@pytest.fixture(scope="module")
def stack(
    postgres: tuple[int, Callable[[str], list[str]]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """Prefect's server on that PostgreSQL, and the worker."""
    folder = tmp_path_factory.mktemp("stack")
    port, worker_port = free_port(), free_port()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    inherited |= {
        "HOME": str(folder), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DO_NOT_TRACK": "1", "NO_PROXY": "127.0.0.1,localhost", "NO_COLOR": "1",
    }  # fmt: skip
    server, worker = services()["server"], services()["worker"]
    settings = server["environment"] | {
        "PREFECT_SERVER_DATABASE_HOST": "127.0.0.1",
        "PREFECT_SERVER_DATABASE_PORT": str(postgres[0]),
        "PREFECT_SERVER_DATABASE_PASSWORD": PASSWORD,
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(folder / "ui"),
    }
    command = [{"0.0.0.0": "127.0.0.1", "4200": str(port)}.get(word, word) for word in server["command"]]
    api = f"http://127.0.0.1:{port}/api"
    of_worker = {"PREFECT_API_URL": api, "PREFECT_WORKER_QUERY_SECONDS": "1"}
    of_worker |= {"PREFECT_WORKER_WEBSERVER_PORT": str(worker_port), "PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1"}
    with ExitStack() as running_here:
        running_here.enter_context(running(command, folder / "server.log", inherited | settings, signal.SIGTERM))
        wait_until(lambda: is_healthy("server", p4200=port), "the server")
        running_here.enter_context(
            running(worker["command"], folder / "worker.log", inherited | of_worker, signal.SIGTERM)
        )
        wait_until(lambda: is_healthy("worker", p8080=worker_port), "the worker")
        yield Stack(api, inherited | {"PREFECT_API_URL": api}, postgres[1])


def test_the_server_keeps_all_it_knows_in_postgresql(stack: Stack) -> None:
    assert int(stack.ask("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")[0]) > 30
    assert not list(Path(stack.environment["HOME"]).rglob("prefect.db"))
    with urllib.request.urlopen(f"{stack.api.removesuffix('/api')}/ui-settings") as answer:
        assert json.load(answer)["api_url"] == services()["server"]["environment"]["PREFECT_SERVER_UI_API_URL"]
    with urllib.request.urlopen(stack.api.removesuffix("api")) as answer:
        assert b"<html" in answer.read()


def test_a_build_of_ours_is_recorded_there_and_its_lake_is_on_the_store(
    stack: Stack, tmp_path: Path, moto: str
) -> None:
    import s3fs

    keys = {name: value for name, value in services()["worker"]["environment"].items() if name.startswith("AWS_")}
    keys["AWS_ENDPOINT_URL"] = moto
    lake = services()["worker"]["environment"]["EMOLAKE_LAKE"]
    store = s3fs.S3FileSystem(
        key=keys["AWS_ACCESS_KEY_ID"], secret=keys["AWS_SECRET_ACCESS_KEY"], endpoint_url=moto, skip_instance_cache=True
    )
    store.mkdir("emolake")
    (tmp_path / "pieces.toml").write_text(RECIPE)
    clips = tmp_path / "clips"
    clips.mkdir()
    for number in range(2):
        noise = np.random.default_rng(number).normal(0, 0.1, 16_000)
        soundfile.write(clips / f"{number}.wav", noise.astype(np.float32), 16_000)
    (clips / "clips.csv").write_text("path,text,speaker,label\n0.wav,so it is,a,happy\n1.wav,it is not,b,sad\n")
    variables = stack.environment | keys | {"EMOLAKE_LAKE": lake, "EMOLAKE_COPIES": str(tmp_path / "copies")}
    variables |= {"EMOLAKE_WORKERS": "1", "PYTHONPATH": str(HOUSE)}
    command = [sys.executable, "-m", "flows", "extract", "pieces.toml", "--root", f"clips={clips}", "--json"]
    said = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    kinds = {path.split("/")[2] for path in store.find("emolake/artifacts") if path.endswith("manifest.json")}
    assert kinds >= {"raw", "utterances", "labels", "features"}
    flow = "SELECT id FROM flow WHERE name = 'emolake'"
    assert stack.ask(f"SELECT state_type FROM flow_run WHERE flow_id = ({flow})") == ["COMPLETED"]
    tasks = f"SELECT count(*) FROM task_run WHERE flow_run_id IN (SELECT id FROM flow_run WHERE flow_id = ({flow}))"
    assert int(stack.ask(tasks)[0]) >= 3
    assert PASSWORD not in said.stdout + said.stderr


def test_the_worker_picks_up_what_is_scheduled(stack: Stack, tmp_path: Path) -> None:
    assert stack.ask("SELECT type FROM work_pool WHERE name = 'emolake'") == ["process"]
    (tmp_path / "tiny.py").write_text(TINY)
    (tmp_path / "scheduled.py").write_text(SCHEDULED)
    place = tmp_path / "place"
    said = subprocess.run(
        [sys.executable, "scheduled.py", str(tmp_path), str(place)], cwd=tmp_path, env=stack.environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert said.stdout.splitlines()[-1] == "Completed" and place.read_text() == "was here"
