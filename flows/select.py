"""Salience: the utterances whose words a text teacher is sure of (MCED's filter)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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

    Source: Li et al. 2021 (MCED), section 3.1.2; the thresholds of its films are not told.
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
        NothingSelected: the teacher is sure of none, or there is none.
    """
    import duckdb

    if not features:
        raise NothingSelected(0)
    connection = duckdb.connect()
    read = [read_table(a.path("utterances.parquet"), UTTERANCES) for a in utterances]
    connection.register("utterances", pa.concat_tables(read))
    columns = ", ".join(f'"{name}"' for name in logits)
    files = list(dict.fromkeys(str(a.path("features.parquet")) for a in features))
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


def selection_table(name: str, selection: pa.Table, utterances: pa.Table) -> dict[str, Any]:
    """What a teacher chose of a corpus, whole and title by title: utterances, those chosen, their hours and classes.

    Args:
        selection: of SELECTION.
        utterances: of UTTERANCES; those of the corpus it was chosen from.

    Source: Li et al. 2021 tell the classes of their films so, in table 2.
    """
    label_of = dict(zip(*(selection.column(c).to_pylist() for c in ("utterance_id", "label")), strict=True))
    titles: dict[str, list[tuple[str | None, float]]] = {}
    for row in utterances.select(("unit", "utterance_id", "start_s", "end_s")).sort_by("unit").to_pylist():
        span_s = row["end_s"] - row["start_s"]
        titles.setdefault(row["unit"], []).append((label_of.get(row["utterance_id"]), span_s))
    whole = _counted([one for own in titles.values() for one in own])
    return {"selection": name, **whole, "titles": [{"title": title, **_counted(own)} for title, own in titles.items()]}


def _counted(spans: Sequence[tuple[str | None, float]]) -> dict[str, Any]:
    chosen = [(label, span_s) for label, span_s in spans if label is not None]
    return {
        "n_utterances": len(spans), "n_selected": len(chosen),
        "hours": math.fsum(span_s for _, span_s in chosen) / 3600,
        "classes": dict(sorted(Counter(label for label, _ in chosen).items())),
    }  # fmt: skip


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
