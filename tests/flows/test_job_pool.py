"""Jobs through a work pool: what becomes of a run in each state, as a server would tell it; and a real pool."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

import httpx
import pytest
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Completed, Crashed, Failed, Pending, Running, Scheduled, State

from flows import job_pool
from flows.job_pool import Pulse, run_in_pool
from infra.launch import JobError, JobLost, call_name, stop_jobs
from warehouse import Request, Warehouse
from warehouse.operating_errors import NoWorkPool, ServerLost

REQUESTS = [Request("checkpoint", "students.x", 1, {"seed": seed}) for seed in (1, 2)]
ORDERS = [request.as_json() for request in REQUESTS]


class Server:
    """A client whose server tells, of each run that is submitted, the next list of states."""

    api_url = "http://server/api"

    def __init__(self, *runs: list[State]) -> None:
        self.told = list(runs)
        self.states: dict[UUID, list[State]] = {}
        self.labels: dict[UUID, dict[str, str]] = {}
        self.submitted: list[SimpleNamespace] = []
        self.under_way: list[SimpleNamespace] = []
        self.set: list[State] = []
        self.lines: list[str] = []
        self.pools = {"gpu"}
        self.deployments: dict[str, dict[str, Any]] = {}
        self.at: dict[str, Callable[[], None]] = {}

    def read_deployment_by_name(self, name: str) -> SimpleNamespace:
        if name not in self.deployments:
            raise ObjectNotFound(http_exc=httpx.HTTPError("404"))
        return SimpleNamespace(id=uuid5(NAMESPACE_URL, name))

    def read_work_pool(self, pool: str) -> None:
        if pool not in self.pools:
            raise ObjectNotFound(http_exc=httpx.HTTPError("404"))

    def create_flow_from_name(self, name: str) -> str:
        return name

    def create_deployment(self, flow: str, name: str, **options: Any) -> None:
        self.deployments[f"{flow}/{name}"] = options

    def read_flow_runs(self, **filters: Any) -> list[SimpleNamespace]:
        self.at.get("asked", lambda: None)()
        return self.under_way

    def add(self, states: list[State], parameters: dict[str, Any], owner: str = "") -> SimpleNamespace:
        run = SimpleNamespace(id=uuid4(), name=f"run-{len(self.states)}", parameters=parameters)
        self.states[run.id], self.labels[run.id] = states, {"emolake.owner": owner}
        return run

    def create_flow_run_from_deployment(
        self, deployment: UUID, parameters: dict[str, Any], tags: list[str], labels: dict[str, str]
    ) -> Any:
        self.at.get("submitted", lambda: None)()
        self.submitted.append(self.add(self.told.pop(0), parameters))
        self.labels[self.submitted[-1].id] = labels
        return self.submitted[-1]

    def update_flow_run_labels(self, run: UUID, labels: dict[str, str]) -> None:
        self.labels[run] |= labels

    def read_flow_run(self, run: UUID) -> SimpleNamespace:
        states = self.states[run]
        if states[0].name == "Deleted":
            raise ObjectNotFound(http_exc=httpx.HTTPError("404"))
        state = states.pop(0) if len(states) > 1 else states[0]
        self.at.get(state.name or "", lambda: None)()
        return SimpleNamespace(state=state, labels=self.labels[run])

    def read_logs(self, log_filter: Any, limit: int, offset: int) -> list[SimpleNamespace]:
        return [SimpleNamespace(message=line) for line in self.lines[offset : offset + limit]]

    def read_events(self, filter: Any, limit: int) -> SimpleNamespace:
        return SimpleNamespace(events=[])

    def set_flow_run_state(self, run: UUID, state: State, force: bool = False) -> None:
        self.set.append(state)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """With what the first request asks for."""
    warehouse = Warehouse(tmp_path / "lake", create=True)
    warehouse.materialize(REQUESTS[0], lambda folder: (folder / "weights").touch())
    return warehouse.root


def _run(server: Server, lake: Path, heard: list[Any] | None = None, **options: Any) -> list[dict[str, Any]]:
    @contextmanager
    def client(sync_client: bool) -> Iterator[Server]:
        yield server

    told = heard if heard is not None else []
    options = {"on_progress": lambda *progress: told.append(progress), "requests": ORDERS[:1]} | options
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(job_pool, "get_client", client)
        return run_in_pool(lake, options.pop("requests"), "cuda", pool="gpu", pause_s=0.01, poll_s=0.001, **options)


def _done(*told: dict[str, Any]) -> State:
    return Completed(message=json.dumps(told))


def test_a_run_that_completes_is_answered_from_the_lake(lake: Path) -> None:
    server = Server([Scheduled(), Scheduled(), Pending(), Running(), Running(), _done()])
    server.lines = ["Beginning flow run", '{"done": 1, "total": 2, "note": "epoch 1"}', '{"done": 2, "total": 2}']
    heard: list[tuple[int, int, str]] = []
    [answer] = _run(server, lake, heard, weights={"w": Path("/weights")})
    artifact = Warehouse(lake).find(REQUESTS[0])
    assert artifact is not None and answer == {"key": artifact.key, "digest": artifact.digest}
    assert heard == [(0, 1, "waits for a worker of the pool"), (1, 2, "epoch 1"), (2, 2, "")]
    [run] = server.submitted
    assert run.parameters == {
        "lake": str(lake), "requests": ORDERS[:1], "device": "cuda", "weights": {"w": "/weights"},
    }  # fmt: skip
    assert server.set == []
    deployment = server.deployments["emolake-job/gpu"]
    assert (deployment["entrypoint"], deployment["work_pool_name"]) == ("flows.job_pool.job", "gpu")


def test_what_could_not_be_made_is_told_beside_what_was(lake: Path) -> None:
    key = REQUESTS[1].key
    answers = _run(Server([_done({"key": key, "error": "no number"})]), lake, requests=ORDERS)
    assert answers[1] == {"key": key, "error": "no number"} and "digest" in answers[0]
    with pytest.raises(JobError, match=r"what it made is not in .*lake: do the pool's workers see the same lake\?$"):
        _run(Server([_done({"key": key, "digest": "d"})]), lake, requests=ORDERS)


@pytest.mark.parametrize(
    ("message", "code", "sentence"),
    [
        ("exit code 3: the shards are empty", 3, "'students.x' ended with exit code 3: the shards are empty$"),
        ("exit code -9: ", -9, r"'students.x' was ended by signal 9 \(Killed\): it printed nothing$"),
        ("no such module", 1, "'students.x' ended with exit code 1: no such module$"),
    ],
)
def test_a_run_that_fails_is_not_submitted_again(lake: Path, message: str, code: int, sentence: str) -> None:
    with pytest.raises(JobError, match=sentence) as caught:
        _run(Server([Running(), Failed(message=message)]), lake)
    assert caught.value.code == code


def test_a_run_that_crashes_is_submitted_again(lake: Path) -> None:
    heard: list[tuple[int, int, str]] = []
    server = Server([Running(), Crashed(message="the host is gone")], [_done()])
    assert "digest" in _run(server, lake, heard)[0]
    assert heard == [(0, 1, "the run run-0 was lost and is submitted again")]
    lost = r"on the work pool 'gpu' \(run run-2\) ended as Crashed, tried 3 times: the host is gone"
    with pytest.raises(JobLost, match=lost):
        _run(Server(*[[Crashed(message="the host is gone")]] * 3), lake)
    cancelled = r"on the work pool 'gpu' \(run run-0\) ended as Cancelled, tried once: by hand"
    with pytest.raises(JobLost, match=cancelled):
        _run(Server([Cancelled(message="by hand")]), lake)


def test_a_run_without_a_sign_of_life_is_lost_though_the_server_says_it_runs() -> None:
    now_s = [0.0]
    pulse = Pulse(lambda: now_s[0])
    asked: list[float] = []

    def was_lost(beat: UUID | None, *until: float) -> list[bool]:
        def ask() -> UUID | None:
            asked.append(now_s[0])
            return beat

        lost = []
        for now_s[0] in range(*until):
            lost.append(pulse.is_lost(ask))
        return lost

    assert not any(was_lost(None, 0, 1_000, 10)), "it never gave any: they are not asked for"
    assert len(asked) == 34, "every half minute"
    assert not any(was_lost(uuid4(), 1_000, 1_200, 10))
    silent_since = was_lost(uuid4(), 1_200, 1_600, 10)
    assert not any(silent_since[:30]) and any(silent_since[30:])


def test_stopping_cancels_the_run(lake: Path) -> None:
    server, stopped = Server([Running()]), threading.Event()

    def stop() -> None:
        if not stopped.is_set():
            stopped.set()
            stop_jobs()  # as the main thread does

    server.at["Running"] = stop
    with pytest.raises(JobError, match=r"'students\.x' was ended by signal 15"):
        _run(server, lake, stopped=stopped)
    assert {state.name for state in server.set} == {"Cancelling"}


def test_whatever_stops_the_wait_cancels_the_run(lake: Path) -> None:
    server = Server([Scheduled()])

    def interrupt(*told: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _run(server, lake, on_progress=interrupt)
    assert [state.name for state in server.set] == ["Cancelling"]


def test_a_run_that_is_under_way_is_followed(lake: Path) -> None:
    server = Server([_done()])
    others = server.add([Running()], {"lake": "another", "requests": ORDERS})
    server.under_way = [others, server.add([Running(), _done()], {"lake": str(lake), "requests": ORDERS})]
    assert "digest" in _run(server, lake)[0]
    assert server.submitted == []
    server.under_way = [others]
    assert "digest" in _run(server, lake)[0]
    assert len(server.submitted) == 1


def test_a_follower_cancels_a_run_only_if_its_submitter_is_gone(lake: Path) -> None:
    def interrupt(*told: Any) -> None:
        raise KeyboardInterrupt

    with subprocess.Popen(["true"]) as ended:
        pass
    gone, given = f"{socket.gethostname()}-{ended.pid}-0a", {"lake": str(lake), "requests": ORDERS}
    for owner, cancelled in [(call_name(), []), ("elsewhere-1-0a", []), ("", []), (gone, ["Cancelling"])]:
        server = Server()
        server.under_way = [server.add([Scheduled()], given, owner)]
        with pytest.raises(KeyboardInterrupt):
            _run(server, lake, on_progress=interrupt)
        assert [state.name for state in server.set] == cancelled
        [labels] = server.labels.values()
        assert (labels["emolake.owner"] == owner) == (owner != gone), "it is not the next follower's too"
    server = Server()
    server.under_way = [server.add([State(type=Running().type, name="Deleted")], given)]
    server.told = [[_done()]]
    assert "digest" in _run(server, lake)[0], "one that is deleted just then is not followed"


def test_a_server_may_be_away_for_a_while(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise httpx.ConnectError("nobody there")

    server = Server([Running(), State(type=Running().type, name="Away"), Running(), _done()])
    server.at["Away"] = fail
    assert "digest" in _run(server, lake)[0]
    monkeypatch.setattr(job_pool, "PATIENCE_S", -1.0)
    server = Server([State(type=Running().type, name="Away")])
    server.at["Away"] = fail
    with pytest.raises(ServerLost, match=r"server does not answer \(nobody there\): what was finished is kept"):
        _run(server, lake)


@pytest.mark.parametrize("asked", ["asked", "submitted"])
def test_a_server_that_answers_no_question_is_one_sentence(lake: Path, asked: str) -> None:
    def fail() -> None:
        raise httpx.ReadTimeout("")

    server = Server([_done()])
    server.at[asked] = fail
    with pytest.raises(ServerLost, match=rf"\(ReadTimeout\): .* in {lake}/\.prefect/server\.log"):
        _run(server, lake)


def test_a_run_that_is_deleted_at_the_server(lake: Path) -> None:
    """It is submitted again as long as no worker had begun, and else answered from the lake."""
    deleted = State(type=Running().type, name="Deleted")
    heard: list[tuple[int, int, str]] = []
    server = Server([Scheduled(), deleted], [_done()])
    server.told[1] = [_done({"key": REQUESTS[1].key, "error": "no number"})]
    assert _run(server, lake, heard, requests=ORDERS[1:])[0]["error"] == "no number"
    assert heard[-1] == (0, 1, "the run run-0 was lost and is submitted again")
    lost = r"\(run run-0\) ended as Deleted, tried once: somebody deleted it at the server$"
    with pytest.raises(JobLost, match=lost):
        _run(Server([Running(), deleted]), lake, requests=ORDERS[1:])
    assert "digest" in _run(Server([Running(), deleted]), lake)[0]


def test_a_pool_that_is_not_there_is_one_sentence(lake: Path) -> None:
    server = Server()
    server.pools = set()
    with pytest.raises(NoWorkPool, match=r"server http://server/api has no work pool 'gpu': set PREFECT_API_URL .* or"):
        _run(server, lake)


def test_the_flow_says_in_its_state_what_became_of_the_job(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []

    def told(lake: Path, requests: Any, device: str, note: Any, weights: Any) -> list[dict[str, Any]]:
        for done in range(50):
            note(done, 50, "λ")
        note(50, 50, "λ")
        if not requests:
            raise JobError("students.x", -9, "no\nmemory")
        assert isinstance(lake, Path)
        return [{"key": device, "digest": f"{lake.name}/{weights['w']}"}]

    monkeypatch.setattr(job_pool, "run_job", told)
    monkeypatch.setattr(job_pool, "get_run_logger", lambda: SimpleNamespace(info=lines.append))
    state = job_pool.job.fn(str(lake), ORDERS, "cuda", {"w": "a"})
    assert json.loads(state.message or "") == [{"key": "cuda", "digest": "lake/a"}]
    assert [json.loads(line)["done"] for line in lines] == [0, 50], "a line a second, and the last"
    failed = job_pool.job.fn(str(lake), [], "cuda", {"w": "a"})
    assert (failed.type.value, failed.message) == ("FAILED", "exit code -9: no\nmemory")
    absent = job_pool.job.fn(str(lake / "elsewhere"), ORDERS, "cuda", {})
    assert re.match(r"exit code 1: .*elsewhere .*it has no lake\.json", absent.message or "")


@contextmanager
def _worker(url: str, folder: Path) -> Iterator[None]:
    """A real worker of a process pool, which the first one makes."""
    words = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "gpu", "--type", "process", "--limit", "2"]
    environ = os.environ | {"PREFECT_API_URL": url, "PREFECT_HOME": str(folder / "worker"), "DO_NOT_TRACK": "1"}
    with open(folder / "worker.log", "ab") as log, subprocess.Popen(words, env=environ, stdout=log, stderr=log) as run:
        try:
            yield
        finally:
            run.send_signal(signal.SIGINT)
            try:
                run.wait(30)
            except subprocess.TimeoutExpired:
                run.kill()


def _job_of(lake: Path) -> int | None:
    """The process of the job that works in a lake."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"models.job" in words and str(lake).encode() in words:
            return int(path.parent.name)
    return None


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for the job in /proc")
def test_a_real_pool_whose_worker_is_killed_makes_the_same_bytes(tmp_path: Path) -> None:
    """A real server, a real worker: the process of the run is killed with -9, and the fit goes on from its state."""
    from prefect.client.orchestration import get_client

    from flows.server import prefect_server
    from tests.models.tiny_lake import fitted, order, tiny_lake

    undisturbed = tiny_lake(tmp_path / "undisturbed")
    lake = tiny_lake(tmp_path / "lake")
    request = order(lake, "mced", seed=7, fit={"epochs": 200})  # seconds: a log line takes two to come
    wanted = fitted(undisturbed, request).digest
    root = lake.warehouse.root
    killed: list[int] = []

    def kill(done: int, total: int, note: str) -> None:
        if not killed and 0 < done < total and (job := _job_of(root)) is not None:
            parent = int(Path(f"/proc/{job}/stat").read_text().rpartition(")")[2].split()[1])
            os.kill(parent, signal.SIGKILL)
            killed.append(job)

    with prefect_server(tmp_path / "home") as wait_until_ready:
        wait_until_ready()
        with get_client(sync_client=True) as client:
            url = str(client.api_url)
        with _worker(url, tmp_path):
            deadline = time.monotonic() + 60
            while True:
                try:
                    [answer] = run_in_pool(root, [request.as_json()], "cpu", kill, pool="gpu", pause_s=0.1, poll_s=0.2)
                    break
                except NoWorkPool:
                    assert time.monotonic() < deadline, (tmp_path / "worker.log").read_text()
                    time.sleep(0.5)
    assert killed, "the job was done before it could be killed"
    assert answer == {"key": request.key, "digest": wanted}
