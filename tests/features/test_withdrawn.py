"""Ingest after a purge: it makes nothing new, and what was withdrawn does not come back, under no name."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from features.corpora.table import Table
from features.extract import extract
from features.ingest import ingest
from features.inventory import treated, wanted_ids
from warehouse import Warehouse
from warehouse.audit.errors import UnfinishedPurge
from warehouse.audit.purge import plan_purge, purge
from warehouse.audit.receipts import remains
from warehouse.audit.tombstones import JOURNALS, tombstones
from warehouse.audit.verify import verify
from warehouse.audit.withdrawal import Asked
from warehouse.catalog import build

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
STEP = "corpora.table"
SAID = {
    "ana1": ("Ana", "the lemons are yellow"), "ana2": ("Ana", "so it is"), "ben1": ("Ben", "so it is"),
    "ben2": ("Ben", "nobody has asked me that"), "gone": ("Ana", "of a file that is not there"),
}  # fmt: skip


def _corpus(root: Path, names: dict[str, str]) -> Path:
    """A table of clips; `names` has the file of each row and whose sound is in it."""
    root.mkdir(parents=True)
    with open(root / "clips.csv", "w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["path", "speaker", "text", "label"])
        for file, name in names.items():
            table.writerow([f"{file}.wav", *SAID[name], "happy"])
            if name != "gone":
                seed = list(SAID).index(name)
                wave = np.random.default_rng(seed).uniform(-0.5, 0.5, 8_000).astype(np.float32)
                soundfile.write(root / f"{file}.wav", wave, 16_000)
    return root


def _read(lake: Warehouse, corpus: str, root: Path) -> None:
    ingest(lake, corpus, STEP, Table("clips.csv"), root)


def _state(lake: Warehouse) -> dict[str, Any]:
    names = {path.name: path.read_text() for path in sorted((lake.root / "refs" / "corpora").glob("*.json"))}
    return {"artifacts": {a.key: a.digest for a in Warehouse(lake.root).artifacts()}, "corpora": names}


def _readings(lake: Warehouse) -> dict[str, str]:
    kinds = ("raw", "utterances", "labels")
    return {a.key: a.digest for kind in kinds for a in lake.artifacts(kind)}


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    return _corpus(tmp_path / "clips", {name: name for name in SAID})


@pytest.fixture(scope="module")
def purged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read, with features of everything, and purged of Ana."""
    folder = tmp_path_factory.mktemp("purged")
    lake = Warehouse(folder / "lake", create=True)
    _read(lake, "clips", _corpus(folder / "clips", {name: name for name in SAID}))
    extract(lake, "mfcc", ["clips"])
    purge(lake, plan_purge(lake, Asked(speakers=["clips/Ana"])), KEY)
    return lake.root


@pytest.fixture
def lake(tmp_path: Path, clips: Path, purged: Path) -> Warehouse:
    """A copy of it, whose clips are those of the test."""
    lake = Warehouse(shutil.copytree(purged, tmp_path / "lake"))
    lake.set_ref("corpora/clips", {**(lake.ref("corpora/clips") or {}), "root": str(clips)})
    return lake


def test_reading_again_makes_nothing_new(lake: Warehouse, clips: Path) -> None:
    before = _state(lake)
    assert lake.table("SELECT path FROM utterances ORDER BY ALL").column(0).to_pylist() == ["ben1.wav", "ben2.wav"]
    _read(lake, "clips", clips)
    extract(lake, "mfcc", ["clips"])
    assert _state(lake) == before and verify(lake) == []


def test_no_row_that_stays_is_wanted_again(lake: Warehouse) -> None:
    plugin: Any = build("features.extractors", "mfcc", {}, "mfcc")
    wanted = wanted_ids(lake.artifacts("utterances"), plugin.needs)
    assert len(wanted) == 2 and wanted <= treated(lake, "features", "extractors.mfcc", plugin)


def test_what_is_left_is_what_a_reading_with_the_tombstone_writes(lake: Warehouse, clips: Path, tmp_path: Path) -> None:
    fresh = Warehouse(tmp_path / "fresh", create=True)
    shutil.copytree(lake.root / "refs" / "tombstones", fresh.root / "refs" / "tombstones")
    _read(fresh, "clips", clips)
    assert _readings(fresh) == _readings(lake)


def test_raw_files_that_were_removed_as_told_change_nothing(lake: Warehouse, clips: Path) -> None:
    before = _state(lake)
    for name in ("ana1", "ana2"):
        (clips / f"{name}.wav").unlink()
    _read(lake, "clips", clips)
    assert _state(lake) == before


def test_the_same_sound_does_not_come_back_under_another_name(lake: Warehouse, tmp_path: Path) -> None:
    copied = _corpus(tmp_path / "again", {"x": "ana1", "y": "ben1"})
    _read(lake, "again", copied)
    rows = lake.table("SELECT path, text FROM utterances WHERE corpus = 'again'").to_pylist()
    assert rows == [{"path": "y.wav", "text": "so it is"}]
    labels = lake.table("SELECT count(*) FROM labels WHERE utterance_id LIKE 'again-%'").column(0).to_pylist()
    files = lake.table("SELECT path FROM raw_files").column(0).to_pylist()
    assert labels == [1] and "x.wav" not in files
    (tombstone,) = tombstones(lake.root).values()
    assert remains(lake, tombstone) == []


def test_a_speaker_who_withdrew_does_not_come_back_in_new_clips(lake: Warehouse, clips: Path) -> None:
    with open(clips / "clips.csv", "a", newline="") as stream:
        csv.writer(stream).writerow(["new.wav", "Ana", "something new", "sad"])
    soundfile.write(clips / "new.wav", np.full(8_000, 0.25, np.float32), 16_000)
    _read(lake, "clips", clips)
    assert lake.table("SELECT DISTINCT speaker_id FROM utterances").column(0).to_pylist() == ["Ben"]


def test_readings_that_no_tombstone_concerns_keep_their_keys(lake: Warehouse, tmp_path: Path) -> None:
    other = _corpus(tmp_path / "other", {"z": "ben2"})
    fresh = Warehouse(tmp_path / "fresh", create=True)
    for one in (lake, fresh):
        _read(one, "other", other)
    assert _readings(fresh).keys() <= _readings(lake).keys()


def test_nothing_is_read_into_a_lake_whose_purge_is_not_done(lake: Warehouse, clips: Path) -> None:
    journal = lake.root / JOURNALS / "aa.json"
    journal.parent.mkdir(exist_ok=True)
    journal.write_text("{}")
    with pytest.raises(UnfinishedPurge, match=r"^purge aa of this lake is not done: `emolake purge --resume`"):
        _read(lake, "clips", clips)


def test_failures_of_what_was_withdrawn_are_not_told_again(tmp_path: Path, clips: Path) -> None:
    lake = Warehouse(tmp_path / "lake", create=True)
    _read(lake, "clips", clips)
    (name,) = lake.table("SELECT utterance_id FROM utterances WHERE path = 'ana1.wav'").column(0).to_pylist()
    purge(lake, plan_purge(lake, Asked(utterances=[name])), KEY)
    (clips / "ana1.wav").unlink()
    _read(lake, "clips", clips)
    (reading,) = [a for a in lake.artifacts("utterances") if a.request.params.get("withdrawn")]
    failed = pq.read_table(reading.path("failures.parquet")).column("utterance_id").to_pylist()
    assert len(failed) == 1 and name not in failed
