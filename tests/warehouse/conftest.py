"""An empty lake for each test of this room, and a store for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.warehouse.faulty_store import FaultyStore
from warehouse import Warehouse, copies, objects


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


@pytest.fixture
def copies_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Says which host this process is, which has its own copies."""

    def host(name: str) -> None:
        monkeypatch.setenv("EMOLAKE_COPIES", str(tmp_path / name))

    host("one")
    return host


@pytest.fixture
def store(copies_in: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FaultyStore]]:
    """A store that is empty and does not fail yet, and no pauses; no copy is known of other tests."""
    FaultyStore.reset()
    monkeypatch.setattr(objects, "PAUSES_S", (0.0,) * 6)
    yield FaultyStore
    FaultyStore.reset()
    copies.REMOTES.clear()
