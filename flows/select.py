"""Salience: the utterances whose words a text teacher is sure of (MCED's filter)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from warehouse.artifact import Artifact, Request, Work
from warehouse.errors import NothingSelected
from warehouse.schema import SELECTION, UTTERANCES
from warehouse.tables import read_table, write_rows

VERSION = 1


def selection_work(
    utterances: Sequence[Artifact], features: Sequence[Artifact], names: Sequence[str], needs: str,
    threshold: float, thresholds: Mapping[str, float],
) -> Work:  # fmt: skip
    """The work that keeps every utterance whose likeliest class is likelier than that class's threshold.

    Args:
        names: the logit columns, in order ('logit_angry', …); a class is its column without the first 'logit_'.
        needs: what the extractor is keyed by: 'text', 'audio' or 'pair'.
        threshold: of the classes that `thresholds` does not name.

    Source: Li et al. 2021 (MCED), section 3.1.2; thresholds are the group's later ones, METHODS' recipe fields.
    """
    params = {"logits": list(names), "threshold": threshold, "thresholds": dict(thresholds), "needs": needs}
    inputs = {"utterances": tuple(a.digest for a in utterances), "features": tuple(a.digest for a in features)}
    request = Request("selection", "flows.select", VERSION, params, inputs)
    arguments = {"utterances": utterances, "features": features} | params
    return Work(request, write_selection, arguments)


def write_selection(
    folder: Path, utterances: Sequence[Artifact], features: Sequence[Artifact], logits: Sequence[str], needs: str,
    threshold: float, thresholds: Mapping[str, float],
) -> None:  # fmt: skip
    """Writes `selection.parquet`, ordered by utterance id.

    Raises:
        NothingSelected: the teacher is sure of none.
    """
    connection = duckdb.connect()
    read = [read_table(a.path("utterances.parquet"), UTTERANCES) for a in utterances]
    connection.register("utterances", pa.concat_tables(read))
    columns = ", ".join(f'"{name}"' for name in logits)
    files = [str(a.path("features.parquet")) for a in features]
    rows = connection.execute(
        f"SELECT DISTINCT ON (utterance_id) utterance_id, {columns} FROM utterances "
        f"JOIN read_parquet($files) ON input_id = {needs}_id ORDER BY utterance_id",
        {"files": files},
    ).fetchall()
    classes = [name.removeprefix("logit_") for name in logits]
    kept = _salient(rows, classes, threshold, thresholds)
    if not kept:
        raise NothingSelected(len(rows))
    write_rows(folder / "selection.parquet", kept, SELECTION)


def _salient(
    rows: Sequence[tuple[Any, ...]], classes: Sequence[str], threshold: float, thresholds: Mapping[str, float]
) -> list[dict[str, Any]]:
    kept = []
    for utterance_id, *logits in rows:
        shifted = np.exp(np.array(logits) - max(logits))
        probabilities = shifted / shifted.sum()
        best = int(probabilities.argmax())
        if probabilities[best] > thresholds.get(classes[best], threshold):
            kept.append({
                "utterance_id": utterance_id, "label": classes[best], "probability": float(probabilities[best]),
            })  # fmt: skip
    return kept
