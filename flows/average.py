"""Averages: the mean of several models' logits, as predictions like any others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from flows.score import Fitted
from flows.unfitted import refuse_unfitted
from warehouse.artifact import Artifact, Request, Work
from warehouse.errors import InvalidField
from warehouse.schema import PREDICTIONS
from warehouse.tables import read_table, write_table

if TYPE_CHECKING:
    from flows.line import Line

VERSION = 1


def averaged_predictions(line: Line, name: str) -> list[tuple[Fitted, Artifact]]:
    """The predictions of an average: for every fold and seed the mean of its members'.

    Raises:
        InvalidField: the members are not judged on the same utterances.
    """
    report = line.recipe.report
    members = report.averages[name] if report else []
    runs = [{(fit.fold, fit.seed): (fit, made) for fit, made in line.predictions(member)} for member in members]
    for member in members:
        refuse_unfitted(line, member, f"the average '{name}'")
    fits: list[Fitted] = []
    works: list[Work] = []
    for place in runs[0]:
        together = tuple(own[place][0] for own in runs)
        first = together[0]
        if any(fit.split.digest != first.split.digest for fit in together):
            problem = (
                f"averages {', '.join(members)}, which are not judged on the same utterances in fold '{first.fold}', "
                "for not every input could be made of every utterance: give them the same inputs"
            )
            raise InvalidField(f"recipe '{line.recipe.name}'", f"report.averages.{name}", problem)
        fits.append(replace(first, model=name, members=together))
        works.append(average_work([own[place][1] for own in runs]))
    return list(zip(fits, line.doer.step(f"predict {name}", works), strict=True))


def average_work(predictions: Sequence[Artifact]) -> Work:
    """The work that writes the mean of some predictions, whose order is nothing."""
    members = sorted(predictions, key=lambda artifact: artifact.digest)
    inputs = {"predictions": tuple(a.digest for a in members)}
    return Work(Request("predictions", "flows.average", VERSION, {}, inputs), write_average, {"members": members})


def write_average(folder: Path, members: Sequence[Artifact]) -> None:
    """Writes `predictions.parquet`: the softmax of the mean of the members' logits, and its class.

    Predictions hold probabilities; the logarithm of a probability is its logit less what all classes of the utterance
    have in common, which the softmax takes away again. A probability of zero counts as the least above it that a
    float can be, so that two members that exclude each other's classes still have a mean.

    Raises:
        InvalidField: the members tell other utterances or other classes.

    Source: Zhao et al. 2022, section 2.4.
    """
    tables = [read_table(a.path("predictions.parquet"), PREDICTIONS) for a in members]
    tables = [table.sort_by([("utterance_id", "ascending"), ("part", "ascending")]) for table in tables]
    same = ("utterance_id", "part", "classes")
    if any(not table.select(same).equals(tables[0].select(same)) for table in tables):
        raise InvalidField("an average", "members", "tell other utterances or classes: fit them for the same protocol")
    if not tables[0].num_rows:
        write_table(folder / "predictions.parquet", tables[0], PREDICTIONS)
        return
    classes = tables[0].column("classes").to_pylist()
    mean = np.mean([_logarithms(table.column("probabilities").to_pylist()) for table in tables], axis=0)
    shares = np.exp(mean - mean.max(axis=1, keepdims=True))
    probabilities = shares / shares.sum(axis=1, keepdims=True)
    predicted = [names[best] for names, best in zip(classes, probabilities.argmax(axis=1), strict=True)]
    columns = {"predicted": pa.array(predicted), "probabilities": pa.array(probabilities.tolist())}
    table = tables[0]
    for name, column in columns.items():
        table = table.set_column(table.column_names.index(name), PREDICTIONS.field(name), column)
    write_table(folder / "predictions.parquet", table, PREDICTIONS)


def _logarithms(probabilities: Sequence[Sequence[float]]) -> np.ndarray:
    return np.log(np.maximum(np.array(probabilities, dtype=np.float64), np.finfo(np.float64).tiny))
