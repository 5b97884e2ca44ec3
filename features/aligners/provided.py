"""The alignment that a corpus ships, as intervals like any other's: nothing is heard again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow.parquet as pq

from features.ingest import unchanged
from features.inventory import input_id, row_identity
from features.plugin import Corpus, Needs, RawFile
from features.rows import failure_row, interval_rows
from warehouse.artifact import Artifact, Request, Work
from warehouse.catalog import identity
from warehouse.errors import Untreatable
from warehouse.schema import FAILURES, INTERVALS, UTTERANCES
from warehouse.tables import read_table, write_rows

STEP = "aligners.provided"


@dataclass(frozen=True)
class Provided:
    """Takes what the reader of a corpus knows of its own alignment; only readers with `intervals` can be asked.

    Unlike other aligners it has no `load`: its unit of work is a unit of the corpus (`works`), not a batch of clips.
    """

    version: ClassVar[int] = 2
    needs: ClassVar[Needs] = "pair"
    is_shipped: ClassVar[bool] = True


def works(
    lake: Path, plugin: Provided, corpus: str, reader_step: str, reader: Corpus, root: Path,
    units: Mapping[str, tuple[Sequence[RawFile], Artifact, Artifact]],
) -> list[Work]:  # fmt: skip
    """One work per unit of a corpus.

    Args:
        units: unit -> its raw files, the artifact that records them, and the unit's utterances.
    """
    found = []
    for unit, (files, recorded, utterances) in units.items():
        params = {
            "plugin": row_identity(STEP, plugin), "corpus": corpus, "unit": unit,
            "reader": identity(reader_step, reader),
        }  # fmt: skip
        inputs = {"raw": (recorded.digest,), "utterances": (utterances.digest,)}
        arguments = {
            "lake": lake, "corpus": corpus, "reader": reader, "root": root, "unit": unit, "files": files,
            "utterances": utterances,
        }  # fmt: skip
        request = Request("intervals", STEP, plugin.version, params, inputs)
        with pq.ParquetFile(utterances.path("utterances.parquet")) as table:
            n_rows = table.metadata.num_rows
        found.append(Work(request, write_provided, arguments, n_rows=n_rows))
    return found


def write_provided(
    folder: Path, lake: Path, corpus: str, reader: Any, root: Path, unit: str, files: Sequence[RawFile],
    utterances: Artifact,
) -> None:  # fmt: skip
    """Writes a unit's `intervals.parquet` and, for utterances without a usable alignment, `failures.parquet`.

    Raises:
        SourceChanged: a raw file is not the one that was recorded.
    """
    own = read_table(utterances.path("utterances.parquet"), UTTERANCES).to_pylist()
    ids = {row["utterance_id"]: input_id(row, Provided.needs) for row in own}
    found: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    with unchanged(lake, root, files):
        for utterance_id, answer in reader.intervals(root, unit, {file.path: file for file in files}, corpus):
            if utterance_id not in ids:
                continue  # it was withdrawn (`features.ingest`)
            if isinstance(answer, Untreatable):
                failures.append(failure_row(STEP, utterance_id, str(answer), ids[utterance_id]))
            else:
                found += interval_rows(ids[utterance_id], answer)
    write_rows(folder / "intervals.parquet", found, INTERVALS)
    write_rows(folder / "failures.parquet", failures, FAILURES)
