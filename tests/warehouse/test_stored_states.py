"""States of fits on a store: the newest whole one comes to whichever host asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.warehouse.faulty_store import FaultyStore, on_store
from warehouse.hashing import file_digest
from warehouse.objects import Objects
from warehouse.stored_states import StoredStates, forget_done

URL, KEY = "faulty://bucket/lake", "ab" * 16

pytestmark = pytest.mark.usefixtures("store")


def kept(folder: Path, number: int, text: str = "state") -> Path:
    """A state as a host keeps it, and puts it on the store."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / "beside"
    beside.write_text(f"{text} {number}")
    path = beside.rename(folder / f"{number:08d}-{file_digest(beside)}.safetensors")
    StoredStates(URL, KEY).keep(path)
    return path


def brought(folder: Path, after: int = 0, key: str = KEY) -> list[str]:
    """What another host has then."""
    StoredStates(URL, key).bring(folder, folder.parent / "coming", after)
    assert not (folder.parent / "coming").exists()
    return [path.read_text() for path in sorted(folder.glob("*"))]


def test_the_newest_comes_and_two_stay(tmp_path: Path) -> None:
    assert brought(tmp_path / "none") == []
    for number in range(1, 12):
        kept(tmp_path / "here", number)
    assert sorted(name[:8] for name in on_store(f".resume/{KEY}")) == ["00000010", "00000011"]
    assert brought(tmp_path / "other") == ["state 11"]
    assert brought(tmp_path / "as-far", after=11) == [] and brought(tmp_path / "behind", after=10) == ["state 11"]
    assert brought(tmp_path / "another-fit", key="cd" * 16) == []
    StoredStates(URL, KEY).clear()
    assert on_store(".resume") == {}
    StoredStates(URL, KEY).clear()


def test_states_of_fits_that_are_done_go(tmp_path: Path) -> None:
    kept(tmp_path / "here", 1)
    forget_done(Objects(URL), {"cd" * 16})
    assert len(on_store(".resume")) == 1
    forget_done(Objects(URL), {KEY})
    assert on_store(".resume") == {}


def test_of_a_torn_one_the_one_before_comes(tmp_path: Path) -> None:
    older, newer = kept(tmp_path / "here", 1), kept(tmp_path / "here", 2)
    place = f"/bucket/lake/.resume/{KEY}"
    FaultyStore.inner.pipe_file(f"{place}/{newer.name}", newer.read_bytes()[:-1])
    FaultyStore.inner.pipe_file(f"{place}/notes.txt", b"mine")
    assert brought(tmp_path / "other") == ["state 1"]
    FaultyStore.inner.pipe_file(f"{place}/{older.name}", b"")
    assert brought(tmp_path / "third") == []


def test_a_store_that_fails_stops_no_fit(tmp_path: Path) -> None:
    kept(tmp_path / "here", 1)
    FaultyStore.fails = 1.0
    kept(tmp_path / "here", 2)
    assert brought(tmp_path / "other") == []
    StoredStates(URL, KEY).clear()
    FaultyStore.fails = 0.0
    assert len(brought(tmp_path / "later")) == 1


def test_a_state_that_another_process_took_away_meanwhile_stops_no_fit(tmp_path: Path) -> None:
    StoredStates(URL, KEY).keep(tmp_path / f"{1:08d}-{'0' * 64}.safetensors")
    assert on_store(".resume") == {}


def test_a_lake_in_a_folder_has_none(tmp_path: Path) -> None:
    states = StoredStates("", KEY)
    states.keep(kept(tmp_path / "here", 1))
    states.bring(tmp_path / "other", tmp_path / "coming", 0)
    states.clear()
    assert not (tmp_path / "other").exists() and len(on_store(".resume")) == 1
