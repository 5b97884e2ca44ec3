"""Shared paths and settings of the tests; nothing here reaches the network."""

from __future__ import annotations

import fcntl
import gc
import importlib.metadata
import os
import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import hypothesis
import pytest

hypothesis.settings.register_profile("thorough", deadline=None)  # of `make test-all`; how long one takes is no law
hypothesis.settings.register_profile("house", deadline=None, max_examples=30)
hypothesis.settings.load_profile("house")
gc.disable()  # until all tests are collected: what is imported stays, and looking through it takes seconds
os.fsync = lambda fd: None  # no power fails here, and thousands of commits would wait for the disk
# Nothing is installed meanwhile, and each fit asks, which takes 20 ms.
importlib.metadata.entry_points = cache(importlib.metadata.entry_points)
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # processes share the cores: their threads would only wait for each other

REAL = Path(__file__).resolve().parents[2] / "shared" / "data"
"""Real files to try things on; tests that use them skip where they are absent."""

COSTLY = {"small": r"\b(small: Small|say: Say|api: str)\b", "spoken": r"\bspoken: Spoken\b"}
"""Lake that takes long to build -> what says in a file that its tests use it, or the server that its tests have. The
costliest is the first."""

LONG = ("tests/test_demo_kills.py", "tests/test_fuzz.py")
"""Files with tests of minutes, in `make test-all`, that share nothing: each test is for whichever worker is free."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Several workers share files, not single tests: no message for each of thousands, and nothing that the tests of a
    file share is made twice. What is LONG, and then all files that use a costly lake, which are for one worker, come
    first: the longest must not be last. (The marks that xdist has for this, `xdist_group`, mean nothing to it under
    pytest 9.2.)"""
    from xdist.scheduler import LoadScopeScheduling

    class ByLake(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return nodeid if file in LONG else shared_by(file)

    config.option.loadscopereorder = False  # as collected, and not whoever has the most tests first
    return ByLake(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Of several workers each imports another share of the tests before all are collected: pytest compiles a test once
    and for ten seconds altogether, but workers that began with the same file would all compile every one."""
    if "PYTEST_XDIST_WORKER" not in os.environ or session.config.args != session.config.getini("testpaths"):
        return
    number, n_workers = (os.environ[f"PYTEST_XDIST_WORKER{part}"] for part in ("", "_COUNT"))
    for path in sorted(Path(__file__).parent.rglob("test_*.py"))[int(number.removeprefix("gw")) :: int(n_workers)]:
        with suppress(Exception, pytest.skip.Exception):  # what is wrong with it is said when it is collected
            import_module(".".join(path.relative_to(Path(__file__).parents[1]).with_suffix("").parts))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    lakes = [*COSTLY]
    places = {group: lakes.index(group) for group in lakes}
    files = {test: test.nodeid.partition("::")[0] for test in items}
    items.sort(key=lambda test: -1 if files[test] in LONG else places.get(shared_by(files[test]), len(lakes)))


def pytest_collection_finish() -> None:
    gc.enable()
    gc.freeze()
    gc.set_threshold(100_000)  # the usual 700 costs three in a hundred of all tests


def pytest_unconfigure() -> None:
    gc.unfreeze()  # DuckDB complains of what is left at the end


@cache
def shared_by(path: str) -> str:
    """The costly lake that tests of this file use, or else the file."""
    text = Path(__file__).parents[1].joinpath(path).read_text(encoding="utf-8") if "tests/flows" in path else ""
    return next((lake for lake, words in COSTLY.items() if re.search(words, text)), path)


Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """(name, function) -> a folder that the function wrote, once for all workers: whichever needs it first calls it."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def written(name: str, write: Callable[[Path], object]) -> Path:
        with open(shared / f"{name}.lock", "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.fstat(lock.fileno()).st_size == 0:  # nobody has said yet that it is whole
                write(shared / name)
                lock.write(b"written")
        return shared / name

    return written


@pytest.fixture(scope="session")
def small_sandbox(once: Once) -> dict[str, Path]:
    """Corpus name -> root of its tree; read only."""
    from features import sandbox

    write = partial(sandbox.write, seed=0, scale=0.1)
    return write(once("sandbox", write))


@pytest.fixture(scope="session")
def real() -> Path:
    if not REAL.is_dir():
        pytest.skip("the real files are not beside this checkout")
    return REAL
