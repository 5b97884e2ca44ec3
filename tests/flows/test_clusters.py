"""The smallest real extraction on clusters of two nodes of which one is killed: the bytes of an undisturbed build."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.flows import killing
from tests.flows.recorded import events
from tests.flows.small import Small, films_recipe
from warehouse import Warehouse

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # of Dask and Ray themselves
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for orphans in /proc"),
]


def test_dask_of_a_scheduler_and_two_workers(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = tmp_path / "scheduler.json"
    with ExitStack() as stack:
        monkeypatch.setenv("PYTHONPATH", str(killing.HERE))
        told = ["--scheduler-file", str(address), "--no-dashboard"]
        stack.enter_context(program("dask_scheduler", "--host", "127.0.0.1", "--port", "0", *told))
        one, _ = [stack.enter_context(program("dask_worker", "--nthreads", "1", "--no-nanny", *told)) for _ in "ab"]
        from distributed import Client

        with Client(scheduler_file=str(address), set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
            cluster = client.scheduler.address
        monkeypatch.setenv("EMOLAKE_RUNNER", "dask")
        monkeypatch.setenv("EMOLAKE_CLUSTER", cluster)
        is_extracted_all_the_same(small, tmp_path, one.kill)
    (died,) = [event for event in events(Warehouse(tmp_path / "lake")) if event["event"] == "worker died"]
    assert died["place"].startswith("tcp://127.0.0.1:") and died["works"] >= 1


def test_ray_of_two_nodes(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", str(killing.HERE))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        other = cluster.add_node(num_cpus=1)
        monkeypatch.setenv("EMOLAKE_RUNNER", "ray")
        monkeypatch.setenv("EMOLAKE_CLUSTER", cluster.address)
        is_extracted_all_the_same(small, tmp_path, lambda: cluster.remove_node(other, allow_graceful=False))
    finally:
        cluster.shutdown()


@contextmanager
def program(module: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of Dask's that is gone on the way out."""
    command = [sys.executable, "-m", f"distributed.cli.{module}", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ))
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def is_extracted_all_the_same(small: Small, folder: Path, kill: Callable[[], object]) -> None:
    """Extracts the films, and kills a node when the first features are there."""
    recipe, lake = folder / "films.toml", folder / "lake"
    recipe.write_text(films_recipe(), encoding="utf-8")
    given: Sequence[str] = ["--root", f"films={small.roots['films']}"]
    running = killing.Running("extract", str(recipe), *given, cwd=folder)
    running.wait_for(lambda: any((lake / "artifacts" / "features").glob("*/manifest.json")))
    kill()
    assert running.end(timeout_s=300) == 0, running.complaint
    assert running.complaint == ""
    made, expected = killing.identities(lake), killing.identities(small.lake)
    assert made.items() <= expected.items() and len(made) > 20
    assert killing.left_behind(folder) == []
