"""Shared paths and settings of the tests; nothing here reaches the network."""

from __future__ import annotations

import fcntl
import gc
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import pytest

hypothesis.settings.register_profile("house", deadline=None)  # how long an example takes is no law
hypothesis.settings.load_profile("house")
gc.disable()  # until all tests are collected: what is imported stays, and looking through it takes seconds
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # processes share the cores: their threads would only wait for each other

REAL = Path(__file__).resolve().parents[2] / "shared" / "data"
"""Real files to try things on; tests that use them skip where they are absent."""

COSTLY = {"small": r"\b(small: Small|say: Say|api: str)\b", "spoken": r"\bspoken: Spoken\b"}
"""Lake that takes long to build -> what says in a file that its tests use it, or the server that its tests have. The
costliest is the first."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Several workers share files, not single tests: no message for each of thousands, and nothing that the tests of a
    file share is made twice. All files that use a costly lake are for one worker, and come first: the longest must not
    be last. (The marks that xdist has for this, `xdist_group`, mean nothing to it under pytest 9.2.)"""
    from xdist.scheduler import LoadScopeScheduling

    class ByLake(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return shared_by(nodeid.partition("::")[0])

    config.option.loadscopereorder = False  # as collected, and not whoever has the most tests first
    return ByLake(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    lakes = [*COSTLY]
    places = {group: lakes.index(group) for group in lakes}
    items.sort(key=lambda test: places.get(shared_by(test.nodeid.partition("::")[0]), len(lakes)))


def pytest_collection_finish() -> None:
    gc.enable()
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # DuckDB complains of what is left at the end


@cache
def shared_by(path: str) -> str:
    """The costly lake that tests of this file use, or else the file."""
    text = Path(__file__).parents[1].joinpath(path).read_text(encoding="utf-8") if "tests/flows" in path else ""
    return next((lake for lake, words in COSTLY.items() if re.search(words, text)), path)


@pytest.fixture(scope="session")
def small_sandbox(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Corpus name -> root of its tree; read only. Whichever worker is the first to need it speaks it for all."""
    from features import sandbox

    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    with open(shared / "sandbox.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return sandbox.write(shared / "sandbox", seed=0, scale=0.1)


@pytest.fixture(scope="session")
def real() -> Path:
    if not REAL.is_dir():
        pytest.skip("the real files are not beside this checkout")
    return REAL
