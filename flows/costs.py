"""What the fits of a recipe's last report cost, as recorded beside their checkpoints: time, memory, size, speed.

Time and memory differ every time and from machine to machine, so no artifact holds them: they are printed from the
records. How many parameters a network has does not, and is in the report.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from statistics import fmean
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
from rich.table import Table

from flows import show
from warehouse import Warehouse
from warehouse.artifact import Artifact
from warehouse.errors import UnknownName

if TYPE_CHECKING:
    from flows.score import Fitted

COLUMNS = ("model", "device", "fits", "parameters", "trained", "seconds", "per_fit", "speed", "memory", "on_device")
SIZES = ("parameters", "trained_parameters")


def sizes_of(fits: Iterable[Fitted]) -> dict[str, dict[str, int]]:
    """Model -> the parameters of its network, all and trained, of those that are recorded; of an average, those of its
    members together. All fits of a model have the same, wherever they ran."""
    found: dict[str, dict[str, int]] = {}
    for fit in fits:
        costs = [checkpoint.environment.get("cost", {}) for checkpoint in fit.checkpoints]
        if fit.model not in found and all(name in cost for name in SIZES for cost in costs):
            found[fit.model] = {name: sum(cost[name] for cost in costs) for name in SIZES}
    return found


def cost_list(warehouse: Warehouse, recipe: str) -> list[dict[str, Any]]:
    """One row per model of a recipe's last report and device that fits of it ran on; none for an average, which is
    not fitted.

    `seconds` are those of all its fits from start to checkpoint, of a fit that was ended and went on only those since;
    `per_fit` is their mean. `speed` is what a second of training got through: seconds of audio where the utterances
    have any, else steps of the first input, with all processes of a fit together; looking at the dev part is no
    training. `memory` and `on_device` are the most bytes that the first process of a fit held, in the host's memory
    and the accelerator's. None: not recorded, or there is none.

    Args:
        recipe: its name.

    Raises:
        UnknownName: the lake has no report of it.
    """
    known = warehouse.refs("reports")
    if recipe not in known:
        raise UnknownName("report of a recipe", recipe, known)
    request = warehouse.resolve(known[recipe]["artifact"]).request
    kinds = ("utterances", "split", "checkpoint", "predictions")
    utterances, splits, checkpoints, predictions = map(warehouse.by_digest, kinds)
    durations_s = _durations_s(utterances[digest] for digest in request.inputs["utterances"])

    @cache
    def mean_s(split: str) -> float:
        return _mean_s(splits[split], durations_s)

    fits: dict[tuple[str, str], list[Artifact]] = {}
    for run, digest in zip(request.params["runs"], request.inputs["predictions"], strict=True):
        for own in predictions[digest].request.inputs.get("checkpoint", ()):
            device = checkpoints[own].environment.get("cost", {}).get("device", "")
            fits.setdefault((run["model"], device), []).append(checkpoints[own])
    return [
        {"model": model, "device": device} | _row(own, [mean_s(one.request.inputs["split"][0]) for one in own])
        for (model, device), own in fits.items()
    ]


def cost_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Rows of `cost_list` for the terminal."""
    table = show.rows_table([readable(row) for row in rows], COLUMNS)
    table.title, table.title_justify, table.title_style = "cost of the fits", "left", "bold"
    return table


def readable(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `cost_list` with the units beside the numbers."""
    told = dict(row) | {name: None if row[name] is None else round(row[name], 1) for name in ("seconds", "per_fit")}
    told |= {name: None if row[name] is None else f"{row[name] / 2**20:.0f} MiB" for name in ("memory", "on_device")}
    return told | {"speed": None if row["speed"] is None else f"{_three_digits(row['speed'])} {row['unit']}"}


def _three_digits(value: float) -> str:
    return f"{value:.3g}" if value < 999.5 else f"{float(f'{value:.3g}'):,.0f}"


def _row(fits: list[Artifact], means_s: list[float]) -> dict[str, Any]:
    works_s = [fit.environment["work_s"] for fit in fits if "work_s" in fit.environment]
    costs = [fit.environment.get("cost", {}) for fit in fits]
    sized: Mapping[str, Any] = next((cost for cost in costs if "parameters" in cost), {})
    return {
        "fits": len(fits), "parameters": sized.get("parameters"), "trained": sized.get("trained_parameters"),
        "seconds": sum(works_s) if works_s else None, "per_fit": fmean(works_s) if works_s else None,
        **_speed(costs, means_s), "memory": _most(costs, "peak_bytes"), "on_device": _most(costs, "device_peak_bytes"),
    }  # fmt: skip


def _most(costs: list[Mapping[str, Any]], name: str) -> int | None:
    return max((cost[name] for cost in costs if name in cost), default=None)


def _speed(costs: list[Mapping[str, Any]], means_s: list[float]) -> dict[str, Any]:
    recorded = [(cost, mean_s) for cost, mean_s in zip(costs, means_s, strict=True) if cost.get("train_s")]
    if not recorded:
        return {"speed": None, "unit": None}
    train_s = sum(cost["train_s"] / cost["processes"] for cost, _ in recorded)
    audio_s = sum(cost["n_utterances"] * mean_s for cost, mean_s in recorded)
    if audio_s:
        return {"speed": audio_s / train_s, "unit": "s of audio per s"}
    n_steps, role = sum(cost["n_steps"] for cost, _ in recorded), recorded[0][0]["role"]
    return {"speed": n_steps / train_s, "unit": f"steps of '{role}' per s"}


def _durations_s(utterances: Iterable[Artifact]) -> dict[str, float]:
    import pyarrow.compute as pc  # takes as long to import as a plan with nothing to do

    found: dict[str, float] = {}
    for artifact in utterances:
        table = pq.read_table(artifact.path("utterances.parquet"), columns=["utterance_id", "start_s", "end_s"])
        spans = pc.subtract(table["end_s"], table["start_s"])
        found |= dict(zip(table["utterance_id"].to_pylist(), spans.to_pylist(), strict=True))
    return found


def _mean_s(split: Artifact, durations_s: Mapping[str, float]) -> float:
    """The mean duration of the utterances that a split's fit learns from."""
    trained = pq.read_table(split.path("split.parquet"), filters=[("part", "=", "train")], columns=["utterance_id"])
    spans = [durations_s[one] for one in trained["utterance_id"].to_pylist() if one in durations_s]
    return fmean(spans) if spans else 0.0
