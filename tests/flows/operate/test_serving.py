"""Serving a lake: alone, for the whole of a run's life, and gone without a trace."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from flows import server
from flows.operate import serving
from flows.operate.serving import SERVING, address, serve
from tests.flows.small import Small, emolake, films_recipe, small_recipe
from warehouse import Warehouse
from warehouse.errors import ServerNotStarted
from warehouse.operating_errors import AlreadyServed

HERE = Path(__file__).parents[3]


def test_a_lake_is_served_once(tmp_path: Path) -> None:
    (tmp_path / SERVING).write_text('{"url": "http://127.0.0.1:4200/api", "pid": 1}', encoding="utf-8")
    with serving._alone(tmp_path):
        sentence = rf"the lake {tmp_path.parent} is served already \(http://127.0.0.1:4200/api\)"
        with pytest.raises(AlreadyServed, match=sentence):
            serve([], tmp_path, 0, print, threading.Event())
        (tmp_path / SERVING).unlink()
        with pytest.raises(AlreadyServed, match="it is just starting"):
            serve([], tmp_path, 0, print, threading.Event())
    with serving._alone(tmp_path):
        pass


def test_an_address_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    assert address(tmp_path) == ""
    for text in ("", "{", "[]", "{}"):
        (tmp_path / SERVING).write_text(text, encoding="utf-8")
        assert address(tmp_path) == ""


def test_who_stops_a_service_interrupts_it() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), serving._interrupted_by(signal.SIGTERM):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        taken = pytest.raises(ServerNotStarted, match=rf"port {port}: Address already in use")
        with taken, server._server_begun(tmp_path, port):
            pass


def test_a_whole_server_has_what_one_for_a_run_does_without(tmp_path: Path) -> None:
    whole = server._whole(tmp_path, "http://127.0.0.1:4200/api")
    assert server._SERVER.keys() - whole.keys() == set(server._FOR_RUNS_ALONE)
    assert whole["PREFECT_UI_STATIC_DIRECTORY"].startswith(str(tmp_path)), "not in the folder of a package"


def test_who_holds_a_slot_is_known_as_long_as_that_it_is_held(tmp_path: Path) -> None:
    """That one is taken stands in the database, which outlives a server that is killed."""
    from prefect.server.concurrency.lease_storage.filesystem import ConcurrencyLeaseStorage
    from prefect.settings import PREFECT_HOME, Settings, temporary_settings
    from prefect.settings.legacy import _get_valid_setting_names

    whole = server._whole(tmp_path, "http://127.0.0.1:4200/api")
    assert set(server._LEASES) <= set(_get_valid_setting_names(Settings))
    assert whole["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"] == ConcurrencyLeaseStorage.__module__
    with temporary_settings({PREFECT_HOME: tmp_path}):
        assert ConcurrencyLeaseStorage().storage_path == tmp_path / server.LEASES


# -- for real ----------------------------------------------------------------------------------------------------


@contextmanager
def served(
    small: Small, folder: Path, schedule: str, recipe: str = films_recipe(), **roots: Path
) -> Iterator[subprocess.Popen[str]]:
    """`emolake serve` of the films recipe, or of another one, over a copy of the small lake and its films; Ctrl-C at
    the end."""
    shutil.copytree(small.lake, folder / "lake", copy_function=os.link, ignore=shutil.ignore_patterns(".*"))
    shutil.copytree(small.roots["films"], folder / "films")
    (folder / "nightly.toml").write_text(recipe.replace('"small"', '"nightly"') + schedule, encoding="utf-8")
    with served_again(folder, **roots) as process:
        yield process


@contextmanager
def served_again(folder: Path, **roots: Path) -> Iterator[subprocess.Popen[str]]:
    """`served`, over what is there."""
    where = [f"--root={name}={root}" for name, root in {"films": folder / "films", **roots}.items()]
    given = ["nightly.toml", *where, "--port", "0", "--workers", "1"]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    path = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))
    with (folder / "printed").open("w") as printed:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows", "serve", *given], cwd=folder, stdout=printed, stderr=printed, text=True,
            env=inherited | {"PYTHONPATH": path, "PREFECT_RUNNER_POLL_FREQUENCY": "1"}, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(timeout=60)
        finally:
            process.kill()


def until(process: subprocess.Popen[str], folder: Path, found: Any, seconds: float = 120) -> Any:
    """What a question answers, as soon as it answers anything."""
    deadline = time.monotonic() + seconds
    while not (answer := found()):
        words = (folder / "printed").read_text()
        assert process.poll() is None and time.monotonic() < deadline, words
        time.sleep(0.2)
    return answer


def ask(url: str, path: str, **question: Any) -> Any:
    for _ in range(5):  # Prefect's own clients come again too when its database is busy
        answer = httpx.post(f"{url}/{path}", json=question, timeout=30)
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            break
        time.sleep(1)
    answer.raise_for_status()
    return answer.json()


def begin(url: str, name: str) -> str:
    """A run of a deployment, now; its id."""
    (one,) = ask(url, "deployments/filter", deployments={"name": {"any_": [name]}})
    return str(ask(url, f"deployments/{one['id']}/create_flow_run")["id"])


def state(url: str, run: str) -> dict[str, Any]:
    return dict(httpx.get(f"{url}/flow_runs/{run}", timeout=30).json()["state"])


def ended(url: str, run: str) -> dict[str, Any] | None:
    now = state(url, run)
    return now if now["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None


def finished(process: subprocess.Popen[str], folder: Path, url: str, name: str, seconds: float = 120) -> dict[str, Any]:
    """The last state of a run of a deployment that begins now."""
    run = begin(url, name)
    return dict(until(process, folder, lambda: ended(url, run), seconds))


def status(folder: Path) -> dict[str, Any]:
    printed = emolake("status", "--json", cwd=folder)
    assert printed.returncode == 0, printed.stderr
    return dict(json.loads(printed.stdout))


SCHEDULE = '\n[schedule]\nbuild = "0 2 1 1 *"\nverify = "0 3 1 1 *"\ncanary = "0 4 1 1 *"\nretries = 0\n'


@pytest.mark.slow
def test_runs_that_are_served_do_their_work_say_what_they_did_and_can_be_cancelled(
    small: Small, tmp_path: Path
) -> None:
    home = tmp_path / "lake" / ".prefect"
    with served(small, tmp_path, SCHEDULE) as process:
        url = until(process, tmp_path, lambda: address(home))

        # A night without news; then a film goes, which is no work either; then one comes, which is.
        calm = finished(process, tmp_path, url, "nightly-build")
        assert calm["type"] == "COMPLETED" and calm["message"].startswith("0 of "), calm
        shutil.copytree(next((tmp_path / "films").iterdir()), tmp_path / "films" / "Once Again")
        news = finished(process, tmp_path, url, "nightly-build")
        assert news["type"] == "COMPLETED" and not news["message"].startswith("0 of "), news
        kinds = {one["key"]: one["type"] for one in ask(url, "artifacts/filter")}
        assert kinds["nightly-extract-steps"] == "markdown" and kinds["nightly-extract-progress"] == "progress"

        # A failure is a failed run with our sentence, as is what verify finds.
        sound = finished(process, tmp_path, url, "nightly-verify")
        assert sound["message"].startswith("sound: "), sound
        shutil.move(tmp_path / "films", tmp_path / "away")
        failed = finished(process, tmp_path, url, "nightly-build")
        assert failed["type"] == "FAILED" and "corpus 'films' is not at" in failed["message"], failed
        shutil.move(tmp_path / "away", tmp_path / "films")
        rows = {row["deployment"]: row for row in status(tmp_path)["deployments"]}
        assert rows["nightly-build"]["state"] == "Failed" and rows["nightly-build"]["message"] == failed["message"]
        assert rows["nightly-verify"]["state"] == "Completed"

        # The limits are there, and a second server of this lake is refused.
        limits = {one["name"]: one["limit"] for one in ask(url, "v2/concurrency_limits/filter")}
        assert {"gpu": 1, "disk": 1, "emolake-nightly": 1}.items() <= limits.items()
        second = emolake("serve", "nightly.toml", "--root", f"films={tmp_path / 'films'}", cwd=tmp_path)
        assert second.returncode == 1 and "is served already" in second.stderr
    assert process.returncode == 130
    words = (tmp_path / "printed").read_text()
    assert "Traceback" not in words and "interrupted: what was finished is kept" in words
    assert f"Task run failed with exception: {failed['message']}\n" in words
    assert not (home / SERVING).exists()
    printed = emolake("status", cwd=tmp_path)
    assert "no server answers for the lake" in printed.stdout


TRAINING = """
[schedule]
build = "0 2 1 1 *"
retries = 0

[schedule.train]
check = "0 6 1 1 *"
selection = "salient"
new_salient_h = 0.0005
"""


@pytest.mark.slow
def test_new_clips_are_learned_from_as_soon_as_there_are_enough(small: Small, tmp_path: Path) -> None:
    """From a folder in which a film appears to a new model and its report, by what a schedule starts alone."""
    home, made = tmp_path / "lake" / ".prefect", tmp_path / "lake" / "artifacts"
    meld = small.roots["meld"]
    with served(small, tmp_path, TRAINING, small_recipe(), meld=meld, iemocap=small.roots["iemocap"]) as process:
        url = until(process, tmp_path, lambda: address(home))
        before = {path.parent.name for path in made.glob("*/*/manifest.json")}
        none = finished(process, tmp_path, url, "nightly-train")
        assert none["name"] == "NotYet" and none["message"].startswith("0.00 of "), none
        assert none["message"].endswith("salient hours are new, 0.0005 are wanted: not enough")
        assert {path.parent.name for path in made.glob("*/*/manifest.json")} == before

        # A film comes. Nothing can be said of it before a build has read it and asked the teacher.
        shutil.copytree(next((tmp_path / "films").iterdir()), tmp_path / "films" / "Once Again")
        unread = finished(process, tmp_path, url, "nightly-train")
        assert unread["name"] == "NotYet" and "which a build does" in unread["message"], unread
        built = finished(process, tmp_path, url, "nightly-build", 300)
        assert built["type"] == "COMPLETED" and not built["message"].startswith("0 of "), built

        trained = finished(process, tmp_path, url, "nightly-train", 300)
        assert (trained["type"], trained["name"]) == ("COMPLETED", "Completed"), trained
        assert re.fullmatch(r"[1-9]\d* of \d+ rows new, [\d.]+ s", trained["message"])
        assert "students.mced" in learners_from(tmp_path / "lake", "Once Again")
        report = Warehouse(tmp_path / "lake").ref("reports/nightly")
        assert report is not None and Warehouse(tmp_path / "lake").resolve(report["artifact"]).key not in before

        # A second look finds that all of it has been learned from, and starts nothing.
        after = {path: path.stat().st_mtime_ns for path in made.glob("*/*/manifest.json")}
        again = finished(process, tmp_path, url, "nightly-train")
        assert again["name"] == "NotYet" and again["message"].startswith("0.00 of "), again
        assert {path: path.stat().st_mtime_ns for path in made.glob("*/*/manifest.json")} == after
    assert emolake("verify", "--deep", cwd=tmp_path).returncode == 0


def learners_from(lake: Path, unit: str) -> set[str]:
    """Which students have a checkpoint whose split has an utterance of a film."""
    warehouse = Warehouse(lake)
    query = "SELECT DISTINCT splits.artifact FROM splits JOIN utterances USING (utterance_id) WHERE unit = $unit"
    splits = {warehouse.resolve(key).digest for (key,) in warehouse.sql(query, {"unit": unit}).fetchall()}
    learned = (one.request for one in warehouse.artifacts("checkpoint"))
    return {request.step for request in learned if splits.intersection(request.inputs["split"])}


@pytest.mark.slow
def test_a_cancelled_run_ends_at_once_and_the_next_goes_on_there(small: Small, tmp_path: Path) -> None:
    home = tmp_path / "lake" / ".prefect"
    with served(small, tmp_path, SCHEDULE) as process:
        url = until(process, tmp_path, lambda: address(home))
        for place in ("artifacts", "refs"):  # all is to be done again, which takes a while
            shutil.rmtree(tmp_path / "lake" / place)
        run = begin(url, "nightly-build")
        until(process, tmp_path, lambda: list((tmp_path / "lake" / "artifacts" / "utterances").glob("*/manifest.json")))
        ask(url, f"flow_runs/{run}/set_state", state={"type": "CANCELLING", "name": "Cancelling"}, force=False)
        cancelled = until(process, tmp_path, lambda: ended(url, run))
        assert cancelled["type"] == "CANCELLED"
        done = set((tmp_path / "lake" / "artifacts").glob("*/*/manifest.json"))
        kept = {path: path.stat().st_mtime_ns for path in done}
        again = finished(process, tmp_path, url, "nightly-build", 300)
        assert again["type"] == "COMPLETED"
        assert {path: path.stat().st_mtime_ns for path in done} == kept, "nothing of it was made twice"
    assert emolake("verify", "--deep", cwd=tmp_path).returncode == 0


def lose_power(process: subprocess.Popen[str]) -> None:
    """Ends it, its server and its runs before any of them can say a word."""
    process.send_signal(signal.SIGSTOP)  # or it would begin its server again
    for one in [*psutil.Process(process.pid).children(recursive=True), process]:
        one.kill()
    process.wait()


@pytest.mark.slow
def test_after_a_kill_in_the_middle_of_a_build_the_next_one_completes(small: Small, tmp_path: Path) -> None:
    home, manifests = tmp_path / "lake" / ".prefect", tmp_path / "lake" / "artifacts"
    with served(small, tmp_path, SCHEDULE) as process:
        url = until(process, tmp_path, lambda: address(home))
        for place in ("artifacts", "refs"):
            shutil.rmtree(tmp_path / "lake" / place)
        left = begin(url, "nightly-build")
        until(process, tmp_path, lambda: list((manifests / "utterances").glob("*/manifest.json")))
        taken = {one["name"]: one["active_slots"] for one in ask(url, "v2/concurrency_limits/filter")}
        assert taken["emolake-nightly"] == 1
        lose_power(process)
    with served_again(tmp_path) as process:
        url = until(process, tmp_path, lambda: url != (now := address(home)) and now)
        crashed = state(url, left)
        assert (crashed["type"], crashed["message"]) == ("CRASHED", serving.LEFT)
        again = finished(process, tmp_path, url, "nightly-build", 300)
        assert again["type"] == "COMPLETED", again
        taken = {one["name"]: one["active_slots"] for one in ask(url, "v2/concurrency_limits/filter")}
        assert set(taken.values()) == {0}


@pytest.mark.slow
def test_the_server_plans_the_next_runs(small: Small, tmp_path: Path) -> None:
    with served(small, tmp_path, SCHEDULE) as process:
        until(process, tmp_path, lambda: address(tmp_path / "lake" / ".prefect"))
        until(process, tmp_path, lambda: all(row["next"] for row in status(tmp_path)["deployments"]), 90)
