"""The embedded Prefect server: ours alone, silent, and gone when we are.

`prefect_server(home)` starts this same file as a process of its own, which serves Prefect's API on a free loopback port
and ends when its stdin does. So one rule covers every end of ours, `kill -9` included. All its state is in `home`:
`prefect.db`, `server.log` (the server's words) and `flows.log` (those of flows and tasks).

Prefect, asyncio and HTTP are imported inside the functions only: asking what there is to do must not cost their start.
"""

from __future__ import annotations

import fcntl
import gc
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

START_S = 120.0  # a new database may take some hundred migrations: about 9 s on two cores, and more on a busy machine
HANDLE_S = 60.0  # for the server to write what it has received; as a rule it needs a tenth of a second
STOP_S = HANDLE_S + 30.0
LEAST_FREE = 2**24  # bytes: with less, what the server or a log could not do is the disk's fault

_QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_COLORS": "false",
    # The warehouse is the only memory.
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
    "PREFECT_TASKS_DEFAULT_NO_CACHE": "true",
}
_SERVER = {
    "PREFECT_SERVER_UI_ENABLED": "false",
    "PREFECT__SERVER_EPHEMERAL": "1",  # no scheduler, no late runs, no vacuum of what nobody schedules
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
    "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    "PREFECT_SERVER_EVENTS_STREAM_OUT_ENABLED": "false",
    # Many rows per transaction: one by one, the recorder falls far behind a flow of a few hundred tasks.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "100",
}
_FOR_RUNS_ALONE = ("PREFECT_SERVER_UI_ENABLED", "PREFECT__SERVER_EPHEMERAL", "PREFECT_SERVER_EVENTS_STREAM_OUT_ENABLED")
"""What of it a server does without that has nothing to schedule, to show or to cancel."""

LEASES = "concurrency_leases"
"""Below PREFECT_HOME: who holds which slot, where that is kept in files."""

_LEASES = {"PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem"}

_NO_PROXY = ("NO_PROXY", "no_proxy")

_SETTING = {
    "~/.prefect/profiles.toml": b"_URL",
    "prefect.toml": b"",
    "pyproject.toml": b"tool.prefect",
    ".env": b"PREFECT_",
}
"""Files that Prefect reads, and what stands in each that may set a server."""


@contextmanager
def prefect_server(home: Path, port: int | None = None) -> Iterator[Callable[[], None]]:
    """Within it, flows run against a Prefect server, and Prefect prints nothing on the terminal.

    The server is only begun: call what is given before the first flow, to wait until it answers. A server that the
    user has set (PREFECT_API_URL in the environment, a profile or prefect.toml) is respected and none is started. On
    the way out, whatever events and log lines this process still holds are delivered first.

    Args:
        home: the folder for the server's database and for the logs; made when absent.
        port: given, it is a whole server: with its scheduler, and its UI at this port (0: at any that is free).

    Raises:
        ServerNotStarted: with the path of its log; or the port is taken.
        DiskFull: the server or the log could not write.
        ServerLost: it does not answer, or not any more; an embedded one is begun again before that (`flows.kept_up`).

    Example:
        ``with prefect_server(lake / ".prefect") as wait_until_ready: …; wait_until_ready(); flow()``
    """
    home = home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(_saying_disk_full(home))
        stack.enter_context(_environment(_QUIET))
        own = stack.enter_context(ExitStack())
        # Begun before Prefect is imported here, which takes long too; afterwards where only Prefect can tell.
        begun = None if port is not None or _may_be_set() else own.enter_context(_server_begun(home))
        if "PREFECT_HOME" not in os.environ and not Path("~/.prefect").expanduser().exists():
            stack.enter_context(_environment({"PREFECT_HOME": str(home)}))  # else the import makes that folder
        with _importing():
            import prefect.main  # noqa: F401  (sets up the logging that is silenced next)
        from prefect.settings import get_current_settings, temporary_settings

        stack.enter_context(_logging_to(home / "flows.log"))
        settings, wait_until_ready = _QUIET, ready_already
        if get_current_settings().api.url:
            own.close()
            begun = None
        else:
            stack.push(own.pop_all())  # it goes after what is sent to it, and before the log of that
            url, wait_until_ready = begun = begun or stack.enter_context(_server_begun(home, port))
            settings = _QUIET | {"PREFECT_HOME": str(home), "PREFECT_API_URL": url}
            proxies = {name: ",".join(filter(None, (os.environ.get(name), "127.0.0.1"))) for name in _NO_PROXY}
            stack.enter_context(_environment(settings | proxies))
        prefect_settings: dict[str, Any] = {name: settings[name] for name in settings if name.startswith("PREFECT_")}
        if begun and port is None:  # nobody listens there, and a flow that ends waits for its next beat: up to 1 s
            prefect_settings["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] = None
        stack.enter_context(temporary_settings(prefect_settings))
        stack.callback(_deliver)
        yield wait_until_ready


def _may_be_set() -> bool:
    """Whether the user may have set a server, by what can be said before Prefect is imported: rather yes than no."""
    if any(name.upper().startswith("PREFECT_") and name not in _QUIET for name in os.environ):
        return True
    files = ((Path(name).expanduser(), word) for name, word in _SETTING.items())
    return any(file.is_file() and word in file.read_bytes() for file, word in files)


def ready_already() -> None:
    """What there is to wait for where the server is the user's."""


@contextmanager
def _saying_disk_full(home: Path) -> Iterator[None]:
    """The server answers 'internal server error' to everything then, to the report of a work's own DiskFull too."""
    from httpx import HTTPError

    from warehouse.errors import DiskFull, ServerNotStarted
    from warehouse.operating_errors import ServerLost

    try:
        yield
    except (OSError, HTTPError, ServerNotStarted, RuntimeError) as error:
        if shutil.disk_usage(home).free < LEAST_FREE:
            raise DiskFull(home.parent, "the record of the run") from error
        if isinstance(error, HTTPError) or str(error).startswith("Failed to reach API"):
            raise ServerLost(str(error) or type(error).__name__, home) from error
        raise


@contextmanager
def _server_begun(home: Path, port: int | None = None) -> Iterator[tuple[str, Callable[[], None]]]:
    """The address of a server that is starting, and what waits until it answers."""
    from flows import server_database  # here, because the server's process needs nothing of ours
    from flows.kept_up import KeptUp
    from warehouse.errors import ServerNotStarted

    log = home / "server.log"
    with ExitStack() as stack:
        try:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", port or 0)))
        except OSError as error:
            raise ServerNotStarted(log, f"port {port}: {error.strerror}") from error
        is_whole, port = port is not None, listener.getsockname()[1]  # the port is ours from here on
        url = f"http://127.0.0.1:{port}/api"
        starting = stack.enter_context(ExitStack())
        starting.enter_context(_one_at_a_time(home))
        server_database.prepare(home)
        if is_whole:  # one at a time serves a lake (`flows.operate.serving`): whoever held these is gone
            shutil.rmtree(home / LEASES, ignore_errors=True)
        environment = {
            **os.environ,
            **(_whole(home, url) if is_whole else _SERVER),
            "PREFECT_HOME": str(home),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{server_database.path(home)}",
        }

        def begin() -> subprocess.Popen[bytes]:
            with open(log, "ab") as words:
                return subprocess.Popen(
                    [sys.executable, "-P", __file__, str(listener.fileno())],
                    stdin=subprocess.PIPE,
                    stdout=words,
                    stderr=words,
                    pass_fds=[listener.fileno()],
                    start_new_session=True,  # Ctrl-C is for us; the server ends after we have delivered
                    env=environment,
                )

        # The listener stays open: who asks while a dead server is replaced waits, and is not refused.
        kept = KeptUp(begin, given_up=listener.close)
        server = kept.process
        failed: list[Exception] = []

        def start() -> None:
            try:
                _wait_until_healthy(server, port, log)
                server_database.complete(home)
                kept.watch()
            except (ServerNotStarted, OSError) as error:
                failed.append(error)
            finally:
                starting.close()  # whoever starts another one here need not wait for what we do meanwhile

        starter = threading.Thread(target=start, daemon=True)
        starter.start()
        stack.callback(starter.join)
        stack.callback(lambda: _stop(kept.last()))

        def wait_until_ready() -> None:
            starter.join()
            if failed:
                raise failed[0]

        yield url, wait_until_ready


def _whole(home: Path, url: str) -> dict[str, str]:
    """The settings of a server with everything; its UI is unpacked beside its database, not into Prefect's package.

    Who holds which slot stands in files too: that one is taken stands in the database, and a server that was killed and
    knew its holders from memory would never give it back.
    """
    ui = {"PREFECT_UI_API_URL": url, "PREFECT_UI_STATIC_DIRECTORY": str(home / "ui")}
    return {name: value for name, value in _SERVER.items() if name not in _FOR_RUNS_ALONE} | _LEASES | ui


@contextmanager
def _one_at_a_time(home: Path) -> Iterator[None]:
    """Two starts in one home must not both make the database; the lock goes with its process."""
    with open(home / "server.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _wait_until_healthy(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    import http.client

    from warehouse.errors import ServerNotStarted  # here, because the server's process needs nothing of ours

    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise ServerNotStarted(log, f"it ended with exit code {server.returncode}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/api/health")
            if connection.getresponse().status == 200:
                return
        except (OSError, http.client.HTTPException):
            pass  # not yet
        finally:
            connection.close()
        time.sleep(0.05)
    raise ServerNotStarted(log, f"no answer within {START_S:.0f} s")


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Lets the server finish what it has received; insists when it does not end."""
    if server.stdin is not None:
        server.stdin.close()
    for insist in (lambda: None, server.terminate, server.kill):
        insist()
        try:
            server.wait(timeout=STOP_S)
            return
        except subprocess.TimeoutExpired:
            continue


def _deliver() -> None:
    """Sends the events and log lines that wait in this process, while the server is still there."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    EventsWorker.drain_all(timeout=STOP_S)
    APILogWorker.drain_all(timeout=STOP_S)


@contextmanager
def _importing() -> Iterator[None]:
    """What is imported within it stays: Python need not look through it, again and again, for what may go. That is a
    quarter of the seconds that Prefect takes."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """What Prefect's handlers would print, and Python's warnings, go to a file instead."""
    lines = logging.FileHandler(path, delay=True, encoding="utf-8")
    lines.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(), *(logging.getLogger(name) for name in list(logging.Logger.manager.loggerDict))]
    before = {logger: list(logger.handlers) for logger in loggers if any(map(prints, logger.handlers))}
    for logger, outlets in before.items():
        logger.handlers = [lines if prints(outlet) else outlet for outlet in outlets]
    logging.captureWarnings(True)
    complains = logging.raiseExceptions
    logging.raiseExceptions = False  # a line that cannot be written, as on a full disk, would be a traceback on stderr
    try:
        yield
    finally:
        logging.raiseExceptions = complains
        logging.captureWarnings(False)
        for logger, outlets in before.items():
            logger.handlers = outlets
        with suppress(OSError):
            lines.close()


def prints(outlet: logging.Handler) -> bool:
    """Whether a handler of Prefect writes to the terminal."""
    return isinstance(outlet, logging.StreamHandler) and type(outlet).__module__.startswith("prefect.")


# From here on: the server's own process.


def serve(listener: socket.socket) -> None:
    """Serves Prefect's API on a bound socket until stdin ends, and then until all it received is in the database."""
    serving, ended = threading.Event(), threading.Event()
    threading.Thread(target=_watch_stdin, args=(serving, ended), daemon=True).start()
    import asyncio

    with _importing():
        import uvicorn
        from prefect.server.api.server import create_app

        app = create_app()
    config = uvicorn.Config(app, log_config=None, log_level="warning", timeout_graceful_shutdown=10)
    server = uvicorn.Server(config)

    async def run() -> None:
        running = asyncio.create_task(server.serve(sockets=[listener]))
        while not running.done() and not ended.is_set():
            if server.started:
                serving.set()
            await asyncio.sleep(0.05)
        await _until_all_is_handled(server.server_state.tasks)
        server.should_exit = True
        await running

    asyncio.run(run())
    sys.stderr.flush()
    os._exit(0)  # all is written; taking the interpreter down in order would cost our parent another second and a half


def _watch_stdin(serving: threading.Event, ended: threading.Event) -> None:
    while os.read(0, 1):
        pass
    if not serving.is_set():
        os._exit(0)  # nothing was received yet
    ended.set()


async def _until_all_is_handled(requests: set[asyncio.Task[None]]) -> None:
    """Waits until no request runs and each message was handled: Prefect's services forget what is in their queues."""
    import asyncio

    from prefect.server.utilities.messaging.memory import METRICS

    deadline = time.monotonic() + HANDLE_S
    n_quiet = 0
    while n_quiet < 3 and time.monotonic() < deadline:
        waiting = any(count["published"] > count["consumed"] for count in METRICS.values())
        n_quiet = 0 if waiting or requests else n_quiet + 1
        await asyncio.sleep(0.02)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
