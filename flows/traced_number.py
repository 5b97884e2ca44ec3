"""One number, traced: a metric's value and the way from it to the bytes of one utterance under it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq
from rich.console import Console

from flows import show
from warehouse import Warehouse
from warehouse.artifact import Artifact
from warehouse.audit.trace import Hop, trace
from warehouse.refs import corpus_root


@dataclass(frozen=True)
class Number:
    """A metric's value with the way to the bytes of one utterance under it."""

    name: str
    value: float
    hops: list[Hop]


def metric_rows(warehouse: Warehouse, recipe: str) -> list[dict[str, Any]]:
    """The metrics of a recipe's last report; none before the first."""
    ref = warehouse.ref(f"reports/{recipe}")
    return pq.read_table(warehouse.resolve(ref["metrics"]).path("metrics.parquet")).to_pylist() if ref else []


def trace_number(
    warehouse: Warehouse, artifact: Artifact, utterance: str | None = None,
    numbers: Sequence[Mapping[str, Any]] | None = None,
) -> Number | None:  # fmt: skip
    """The way from a number to bytes, for a report, metrics or predictions; None for anything else.

    Without an utterance it starts from the first test metric and the first utterance under it.

    Args:
        numbers: rows of metrics to start from instead.
    """
    roots = {name: str(corpus_root(warehouse.root, ref)) for name, ref in warehouse.refs("corpora").items()}
    if artifact.request.kind == "predictions":
        return Number("prediction", float("nan"), trace(warehouse, artifact, utterance, roots))
    if artifact.request.kind == "report":
        artifact = warehouse.with_digest(artifact.request.inputs["metrics"][0])[0]
    if artifact.request.kind != "metrics":
        return None
    of_test = [("part", "=", "test")]
    for row in numbers or pq.read_table(artifact.path("metrics.parquet"), filters=of_test).to_pylist():
        predictions = warehouse.with_digest(row["predictions"])[0]
        ids = pq.read_table(predictions.path("predictions.parquet"), filters=[("part", "=", row["part"])])
        own = ids.column("utterance_id").to_pylist()
        if utterance is None or utterance in own:
            stamp = ", test-selected" if row.get("selected_on") == "test" else ""
            name = f"{row['metric']} of '{row['variant']}', fold {row['fold']}, seed {row['seed']}{stamp}"
            cited = artifact.request.inputs
            judges = dict(zip(cited["predictions"], cited.get("truths", ()), strict=False))
            truth = warehouse.by_digest("truth").get(judges.get(row["predictions"], ""))
            hops = trace(warehouse, predictions, utterance or own[0], roots, truth)
            return Number(name, row["value"], hops)
    return None


def print_number(number: Number, console: Console) -> None:
    """A number and, below it, its way to the bytes."""
    value = "" if number.value != number.value else f" = {number.value:.3f}"
    console.print(f"\none number, traced: {number.name}{value}", style="bold")
    console.print(show.trace_table(number.hops))
