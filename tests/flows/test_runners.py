"""Works in the processes of a task runner: what they make, and what becomes of a lost one."""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from flows import run_log, runners
from flows.runners import Elsewhere, refuse_absent
from flows.server import prefect_server
from flows.show import Silent
from flows.tasks import Answered, Parcel, answer_elsewhere
from tests.flows import brittle, deeds
from tests.flows.recorded import events
from tests.flows.test_clusters import program
from tests.flows.test_crashes import ABORT, corpus, reasons, rows, wanted
from warehouse import Artifact, Request, Warehouse, Work
from warehouse.errors import Untreatable, WorkerDied
from warehouse.operating_errors import ClusterNotReached, MissingExtra, ServerNotReached, WorkersLost

HERE = Path(__file__).resolve().parents[2]


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


def work(name: str, **arguments: str) -> Work:
    return Work(Request("made", name, 1, arguments), getattr(deeds, name), arguments)


def numbered(n: int) -> list[Work]:
    return [Work(Request("made", "write_pid", 1, {"number": number}), deeds.write_pid) for number in range(n)]


# -- without processes -------------------------------------------------------------------------------------------------


class Fate(Exception):
    """Of a worker that was lost."""


class Near:
    """A task runner that does tasks at once, in this process, and loses those that it is told to."""

    def __init__(self, lake: Warehouse, n_losses: int) -> None:
        self.lake, self.n_losses, self.n_waiting, self.most = lake, n_losses, 0, 0
        self.is_asking, self.asked = False, list[bool]()
        self.n_processes = set[int | None]()
        self.on_gpu: runners.Asking = self.asking

    @contextmanager
    def asking(self) -> Iterator[None]:
        self.is_asking = True
        yield
        self.is_asking = False

    def submit(self, task: Any, parameters: dict[str, Any]) -> Any:
        self.n_waiting += 1
        self.most = max(self.most, self.n_waiting)

        self.asked.append(self.is_asking)
        self.n_processes.add(parameters["parcel"].n_processes)

        def result() -> Answered:
            self.n_waiting -= 1
            if self.n_losses:
                self.n_losses -= 1
                raise Fate
            parcel = parameters["parcel"]
            with (
                pytest.MonkeyPatch.context() as in_a_process_of_a_cluster,
                run_log.Telling("" if parcel.log == "" else f"{parcel.log}-of-another-host") as lines,
            ):
                in_a_process_of_a_cluster.setattr(run_log, "_flows", [])
                run_log.tell_began([parcel.work])
                return Answered([self.lake.perform(parcel.work)], lines)

        return SimpleNamespace(result=result, add_done_callback=lambda tell: tell(None))


def networks() -> list[Work]:
    """Two works that may compute on a GPU, and three that may not."""
    encoder, plain = SimpleNamespace(libraries=("torch", "transformers")), SimpleNamespace(libraries=("opensmile",))
    given = [(encoder, "cuda"), (encoder, "auto"), (encoder, "cpu"), (plain, "cuda"), (None, "auto")]
    return [
        Work(Request("made", "write_gpu", 1, {"n": n}), deeds.write_gpu, {"plugin": plugin, "device": device})
        for n, (plugin, device) in enumerate(given)
    ]


class Counted(Silent):
    """Counts the works that are done."""

    n_done = 0

    def noter(self, works: Sequence[Work]) -> Any:
        def note(done: int, total: int, text: str) -> None:
            self.n_done += 1

        return note


@pytest.fixture
def near(lake: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Near:
    monkeypatch.setattr(runners, "PAUSES_S", (0.0, 0.0))
    runner = Near(lake, 0)

    def begin(self: Elsewhere) -> None:
        self._runner, self._lost, self._on_gpu = runner, (Fate,), runner.on_gpu

    monkeypatch.setattr(Elsewhere, "_begin", begin)
    return runner


def answered(lake: Warehouse, works: Sequence[Work]) -> tuple[list[Any], int]:
    """The answers, and how many works were said to be done."""
    progress = Counted()
    with closing(Elsewhere("dask", None, 2)) as elsewhere:
        return elsewhere.answer(str(lake.root), works, progress), progress.n_done


def test_a_lost_work_is_done_again_and_the_others_are_not(lake: Warehouse, near: Near) -> None:
    near.n_losses = 2
    found, n_done = answered(lake, numbered(5))
    assert len({one.key for one in found}) == len(found) == n_done == 5 == len(lake.artifacts())


def test_works_that_are_lost_time_and_again_end_the_run(lake: Warehouse, near: Near) -> None:
    near.n_losses = 99
    sentence = r"the processes that did 2 works of 'write_pid' were lost 3 times \(EMOLAKE_RUNNER 'dask'\)"
    with pytest.raises(WorkersLost, match=sentence):
        answered(lake, numbered(2))


def test_a_mistake_of_a_work_is_not_tried_again(lake: Warehouse, near: Near) -> None:
    with pytest.raises(Untreatable, match="too odd"):
        answered(lake, [work("refuse", reason="too odd")])
    assert near.n_waiting == 0


def test_a_worker_that_finds_no_server_says_what_to_set(
    lake: Warehouse, near: Near, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> None:
        raise RuntimeError("Failed to reach API at http://127.0.0.1:4200/api/")

    odd = Work(Request("made", "refuse", 1), refuse)
    with pytest.raises(ServerNotReached, match="PREFECT_API_URL"):
        answered(lake, [odd])


def test_an_exit_of_prefects_engine_becomes_an_error() -> None:
    """A SystemExit ends the thread that tells of futures, and the flow waits for ever."""

    def call() -> bytes:
        try:
            raise RuntimeError("Failed to reach API at http://127.0.0.1:9/api/")
        except RuntimeError:
            sys.exit(1)

    with pytest.raises(RuntimeError, match="Failed to reach API"):
        runners._without_exit(call)
    assert runners._without_exit(lambda: b"result") == b"result"


def test_what_another_host_tells_of_a_run_comes_into_its_log(lake: Warehouse, near: Near) -> None:
    """Before the end of the work, for whoever counts those that are under way."""
    with run_log.logged(lake.root, "small"):
        answered(lake, numbered(2))
    told = [(event["event"], event["maker"]) for event in events(lake) if "maker" in event]
    assert told == [("began", "write_pid"), ("made", "write_pid")] * 2


def test_of_a_loss_the_log_says_what_the_runner_raised(lake: Warehouse, near: Near) -> None:
    near.n_losses = 1
    with run_log.logged(lake.root, "small"):
        answered(lake, numbered(1))
    (again,) = [event for event in events(lake) if event["event"] == "retried"]
    assert (again["maker"], again["error"]) == ("write_pid", "Fate")


def test_a_dask_worker_that_goes_unasked_is_told(lake: Warehouse) -> None:
    gone = {"action": "remove-worker", "worker": "tcp://10.0.0.7:4321", "processing-tasks": ["a", "b"]}
    with run_log.logged(lake.root, "small"):
        runners._tell_of_dask_worker((1.0, gone | {"expected": False}))
        runners._tell_of_dask_worker((2.0, gone | {"expected": True}))
        runners._tell_of_dask_worker((3.0, {"action": "add-worker"}))
    (died,) = [event for event in events(lake) if event["event"] == "worker died"]
    assert (died["place"], died["works"]) == ("tcp://10.0.0.7:4321", 2)


def test_what_another_host_tells_of_a_mistake_comes_into_the_log_too(lake: Warehouse, near: Near) -> None:
    with run_log.logged(lake.root, "small"), pytest.raises(Untreatable, match="too odd"):
        answered(lake, [work("refuse", reason="too odd")])
    assert [(event["event"], event["maker"]) for event in events(lake) if "maker" in event] == [
        ("began", "refuse"), ("failed", "refuse"),
    ]  # fmt: skip


def test_a_mistake_brings_along_what_its_host_could_not_write(lake: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the child that made it, and the process of a cluster whose child that is: here one that kills it. A
    child that is killed brings nothing along; that it began is told for it."""
    with run_log.logged(lake.root, "small") as folder:
        assert folder is not None
        away = f"{folder.parent}/elsewhere/{folder.name}"
        for one, mistake in ((work("refuse", reason="too odd"), Untreatable), (work("crash"), WorkerDied)):
            with pytest.raises(mistake) as raised, monkeypatch.context() as in_a_process_of_a_cluster:
                in_a_process_of_a_cluster.setattr(run_log, "_flows", [])
                answer_elsewhere.fn(str(lake.root), Parcel(one, away))
            with suppress(mistake), run_log.Answering([one]):
                raise pickle.loads(pickle.dumps(raised.value))
    told = [(event["event"], event["maker"]) for event in events(lake) if "maker" in event]
    assert told == [
        ("began", "refuse"), ("failed", "refuse"),
        ("began", "crash"), ("retried", "crash"), ("began", "crash"), ("worker died", "crash"), ("failed", "crash"),
    ]  # fmt: skip


def test_a_host_that_sees_the_log_writes_into_it_itself(lake: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    with run_log.logged(lake.root, "small") as folder:
        assert folder is not None
        with monkeypatch.context() as in_a_process_of_a_cluster:
            in_a_process_of_a_cluster.setattr(run_log, "_flows", [])
            seeing = answer_elsewhere.fn(str(lake.root), Parcel(numbered(2)[0], str(folder)))
            blind = answer_elsewhere.fn(
                str(lake.root), Parcel(numbered(2)[1], f"{folder.parent}/elsewhere/{folder.name}")
            )
        assert (len(seeing.lines), len(blind.lines)) == (0, 1)
        run_log.take_in(blind.lines)
    began = {event["key"]: event for event in events(lake) if event["event"] == "began"}
    for one in (*seeing.answers, *blind.answers):
        assert isinstance(one, Artifact) and one.path("pid").read_text() == str(began[one.key]["pid"])
        assert began[one.key]["run"] == folder.name


def test_works_of_networks_ask_for_a_gpu_where_the_cluster_has_any(lake: Warehouse, near: Near) -> None:
    answered(lake, networks())
    assert near.asked == [True] * 2 + [False] * 3
    near.on_gpu = nullcontext
    answered(lake, networks())
    assert near.asked[5:] == [False] * 5


def test_a_worker_of_a_cluster_of_our_own_has_one_process_whatever_its_tasks(lake: Warehouse, near: Near) -> None:
    """Prefect's engine readies the next task meanwhile. Others' clusters say by their threads how much they take."""
    answered(lake, numbered(1))
    assert near.n_processes == {1}
    with closing(Elsewhere("dask", "tcp://far:8786", 2)) as elsewhere:
        elsewhere.answer(str(lake.root), numbered(1), Silent())
    assert near.n_processes == {1, None}


def test_only_so_many_wait_at_once(lake: Warehouse, near: Near, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners, "MOST_AT_ONCE", 2)
    found, _ = answered(lake, numbered(5))
    assert len(found) == 5 and near.most == 2


def test_where_there_is_nothing_to_do_nothing_is_begun(lake: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Elsewhere, "_begin")
    assert answered(lake, []) == ([], 0)


def test_a_package_that_is_absent_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners.importlib.util, "find_spec", lambda package: None)  # type: ignore[attr-defined]
    sentence = r"EMOLAKE_RUNNER 'ray' needs the package 'prefect_ray', .*: pip install 'emolake\[cluster\]'"
    with pytest.raises(MissingExtra, match=sentence):
        refuse_absent("ray")
    refuse_absent("threads")


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_ray_head_that_does_not_answer_is_named_at_once(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray itself tries for minutes, and says nothing meanwhile."""
    monkeypatch.setitem(sys.modules, "ray", None)  # is not even imported
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"{scheme}127.0.0.1:{closed.getsockname()[1]}"
    sentence = rf"no Ray cluster answers at '{address}' \(.*refused\): start one there, or leave EMOLAKE_CLUSTER out"
    with pytest.raises(ClusterNotReached, match=sentence), closing(Elsewhere("ray", address, 2)) as elsewhere:
        elsewhere._begin()
    odd = f"{scheme}127.0.0.1:port"
    with pytest.raises(ClusterNotReached, match="Port could not"), closing(Elsewhere("ray", odd, 2)) as elsewhere:
        elsewhere._begin()


@pytest.mark.filterwarnings("ignore")  # of Dask itself
def test_a_scheduler_that_does_not_answer_is_named(lake: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    def client(address: str, **settings: Any) -> Any:
        raise OSError("timed out")

    import prefect_dask  # noqa: F401  (before: it has a class of that one)

    monkeypatch.setattr("distributed.Client", client)
    sentence = r"no Dask cluster answers at 'tcp://far:8786' \(timed out\): start one there, or leave"
    with pytest.raises(ClusterNotReached, match=sentence), closing(Elsewhere("dask", "tcp://far:8786", 2)) as elsewhere:
        elsewhere.answer(str(lake.root), numbered(1), Silent())
    assert "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL" not in os.environ, "whoever is started later has words of its own"


def test_a_task_elsewhere_is_one_call(lake: Warehouse) -> None:
    [first] = answer_elsewhere.fn(str(lake.root), Parcel(work("write_pid"))).answers
    assert isinstance(first, Artifact) and int(first.path("pid").read_text()) != os.getpid()
    assert answer_elsewhere.cache_policy is not None and answer_elsewhere.persist_result is False


# -- with them ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Prefect's engine looks for its server before it runs a task anywhere."""
    with prefect_server(tmp_path_factory.mktemp("server")) as wait_until_ready:
        wait_until_ready()
        yield


def heard_at(process: psutil.Process) -> list[str]:
    """The addresses at which a process waits for others."""
    try:
        return [at.laddr.ip for at in process.net_connections("tcp") if at.status == psutil.CONN_LISTEN]
    except psutil.Error:  # it is gone
        return []


@pytest.fixture(params=["processes", "dask", "ray"])
def elsewhere(server: None, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Elsewhere]:
    """Two processes of each runner, which find the tests' own plug-ins, in a program that may have had Ray before."""
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    if request.param == "ray":
        importlib.import_module("ray")
    before = told_to_children()
    with closing(Elsewhere(request.param, None, 2)) as elsewhere:
        yield elsewhere
    assert told_to_children() == before, "whoever is started later has words of its own"


def told_to_children() -> dict[str, str]:
    """The variables that runners set; Dask and Ray leave some of their own."""
    ours = "PREFECT_LOGGING", "RAY_ENABLE", "RAY_USAGE", "RAY_ACCEL"
    return {name: value for name, value in os.environ.items() if name.startswith(ours)}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Dask and Ray themselves
def test_a_clip_that_kills_and_a_worker_that_is_killed(elsewhere: Elsewhere, lake: Warehouse, tmp_path: Path) -> None:
    """The clip is recorded and the rest completes; what the worker was at is done again by another. Nobody else can
    reach a cluster of this host's own."""
    root = corpus(tmp_path, ["one", "abort", "fifteen", "seven"])
    victim, listening = tmp_path / "victim", set[str]()
    hanging = work("write_after_hanging_once", path=str(victim))

    def kill() -> None:
        deadline = time.monotonic() + 100
        while not (victim.exists() and victim.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        listening.update(where for process in psutil.Process().children(recursive=True) for where in heard_at(process))
        os.kill(int(victim.read_text()), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    made = elsewhere.answer(str(lake.root), [hanging, *wanted(lake, root, batch_s=0.25)], Silent())
    killer.join()
    assert listening <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    features = [one for one in made if isinstance(one, Artifact) and one.request.kind == "features"]
    assert len(made) == 3 and list(reasons(features).values()) == [ABORT] and len(rows(features)) == 3
    assert len(lake.artifacts("made")) == 1

    other = Warehouse(tmp_path / "other", create=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(brittle.MENDED, "")
        expected = {one.key: one for one in map(other.perform, wanted(other, root, batch_s=0.25))}
    for one in features:
        assert one.files["features.parquet"] == expected[one.key].files["features.parquet"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Dask and Ray themselves
def test_a_mistake_of_a_host_that_cannot_write_comes_with_what_it_told(
    elsewhere: Elsewhere, lake: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    with run_log.logged(lake.root, "small") as folder:
        assert folder is not None
        monkeypatch.setattr(runners, "log_told_to", lambda: f"{folder.parent}/elsewhere/{folder.name}")
        with pytest.raises(Untreatable, match="too odd"):
            elsewhere.answer(str(lake.root), [work("refuse", reason="too odd")], Silent())
    told = [event for event in events(lake) if "maker" in event]
    assert [event["event"] for event in told] == ["began", "failed"] and told[0]["pid"] != os.getpid()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Dask itself
def test_a_gpu_of_a_dask_worker_is_for_those_that_ask(
    server: None, lake: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    address = tmp_path / "scheduler.json"
    with ExitStack() as stack:
        told = ["--scheduler-file", str(address), "--no-dashboard"]
        stack.enter_context(program("dask_scheduler", "--host", "127.0.0.1", "--port", "0", *told))
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        stack.enter_context(program("dask_worker", "--nthreads", "1", "--no-nanny", *told))
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
        stack.enter_context(program("dask_worker", "--nthreads", "1", "--no-nanny", "--resources", "GPU=1", *told))
        from distributed import Client

        with Client(scheduler_file=str(address), set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
            cluster = client.scheduler.address
        with closing(Elsewhere("dask", cluster, 2)) as elsewhere:
            assert seen_by(elsewhere, lake, networks()[:2]) == ["0", "0"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Ray itself
def test_a_gpu_of_a_ray_node_is_for_those_that_ask(
    server: None, lake: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", str(HERE))
    head = {"num_cpus": 2, "num_gpus": 1, "include_dashboard": False}  # Ray believes what it is told
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        with closing(Elsewhere("ray", cluster.address, 2)) as elsewhere:
            assert seen_by(elsewhere, lake, networks()) == ["0", "0", "", "", ""]
    finally:
        cluster.shutdown()


def seen_by(elsewhere: Elsewhere, lake: Warehouse, works: Sequence[Work]) -> list[str]:
    """The GPUs that works see."""
    made = {one.key: one for one in elsewhere.answer(str(lake.root), works, Silent()) if isinstance(one, Artifact)}
    return [made[work.request.key].path("gpu").read_text() for work in works]


@pytest.mark.slow
def test_processes_that_find_no_server_say_so(lake: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.setenv("PREFECT_API_URL", url := "http://127.0.0.1:9/api")  # nobody listens there
    sentence = r"a worker does not reach Prefect's server \(Failed to reach API at \S+:9/api/\): start one"
    with (
        temporary_settings({PREFECT_API_URL: url}),
        closing(Elsewhere("processes", None, 1)) as elsewhere,
        pytest.raises(ServerNotReached, match=sentence),
    ):
        elsewhere.answer(str(lake.root), numbered(2), Silent())
