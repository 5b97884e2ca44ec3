"""The alignment that a corpus ships: the reader's intervals under the ids that every aligner's rows have."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from features import ingest
from features.aligners import provided
from features.corpora.iemocap import Iemocap
from features.inventory import failed, holding, input_id
from features.plugin import RawFile
from features.raw import RawDigests
from warehouse import Artifact, Warehouse
from warehouse.errors import SourceChanged, Untreatable
from warehouse.schema import INTERVALS, UTTERANCES
from warehouse.tables import read_table

READER = Iemocap()
PLUGIN = provided.Provided()

Units = Mapping[str, tuple[tuple[RawFile, ...], Artifact, Artifact]]


@pytest.fixture
def root(small_sandbox: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_sandbox["iemocap"], tmp_path / "raw"))


def read(warehouse: Warehouse, root: Path) -> Units:
    digests = RawDigests(warehouse.root)
    works = ingest.raw_works(digests, "iemocap", READER, root)
    digests.close()
    units = {}
    for unit, work in works.items():
        recorded = warehouse.perform(work)
        both = ingest.unit_works(warehouse.root, "iemocap", "corpora.iemocap", READER, root, {unit: (work, recorded)})
        units[unit] = (work.arguments["files"], recorded, warehouse.perform(both[0]))
    return units


def align(warehouse: Warehouse, root: Path) -> list[Artifact]:
    works = provided.works(
        warehouse.root, PLUGIN, "iemocap", "corpora.iemocap", READER, root, read(warehouse, root)
    )  # fmt: skip
    return [warehouse.perform(work) for work in works if warehouse.find(work.request) is None]


def test_rows_are_the_readers_under_the_pairs_id(root: Path, tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "lake", create=True)
    made = align(warehouse, root)
    assert len(made) == 5 and failed(made) == []
    for (unit, (files, _, utterances)), artifact in zip(read(warehouse, root).items(), made, strict=True):
        rows = read_table(artifact.path("intervals.parquet"), INTERVALS).to_pylist()
        uttered = read_table(utterances.path("utterances.parquet"), UTTERANCES).to_pylist()
        by_id = {row["utterance_id"]: row for row in uttered}
        wanted = []
        for utterance_id, found in READER.intervals(root, unit, {file.path: file for file in files}, "iemocap"):
            assert not isinstance(found, Untreatable)
            key = input_id(by_id[utterance_id], "pair")
            for tier in ("word", "phone", "syllable"):
                own = [one for one in found if one.tier == tier]
                wanted += [(key, tier, n, i.symbol, i.start_s, i.end_s, i.score) for n, i in enumerate(own)]
        assert [tuple(row.values()) for row in rows] == wanted
    assert len(holding(warehouse, "intervals", provided.STEP, PLUGIN)) == 5


def test_a_table_that_is_missing_is_a_failure_of_its_utterance_and_one_session_is_made_again(
    root: Path, tmp_path: Path
) -> None:
    warehouse = Warehouse(tmp_path / "lake", create=True)
    align(warehouse, root)
    assert align(warehouse, root) == [], "what is there is not made again"
    gone = sorted(root.glob("Session2/sentences/ForcedAlignment/*/*.phseg"))[0]
    gone.unlink()
    (again,) = align(warehouse, root)
    assert again.request.params["unit"] == "Session2"
    (row,) = failed([again])
    assert (row["utterance_id"], row["step"]) == (f"iemocap-{gone.stem}", "aligners.provided")
    assert row["reason"] == "there is no phseg of this name" and row["input_id"]


def test_a_file_that_changes_while_it_is_read_is_refused(root: Path, tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "lake", create=True)
    units = read(warehouse, root)
    path = sorted(root.glob("Session1/sentences/ForcedAlignment/*/*.wdseg"))[0]
    path.write_bytes(path.read_bytes().replace(b"0", b"1", 1))
    works = provided.works(warehouse.root, PLUGIN, "iemocap", "corpora.iemocap", READER, root, units)
    with pytest.raises(SourceChanged, match=r"\.wdseg is not what was ingested"):
        warehouse.perform(works[0])
