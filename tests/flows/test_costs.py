"""What fits cost, from the records beside their checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flows.costs import cost_list, cost_table, readable, sizes_of
from flows.score import Fitted
from tests.flows.made import utterance, utterances
from warehouse import Artifact, Request, Warehouse
from warehouse.errors import UnknownName
from warehouse.schema import SPLIT
from warehouse.tables import write_rows

RECORD = {
    "device": "cpu", "processes": 1, "parameters": 1000, "trained_parameters": 400, "train_s": 2.0, "role": "speech",
    "n_steps": 600, "n_utterances": 20, "peak_bytes": 3 * 2**20,
}  # fmt: skip


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


def words(folder: Path, text: str) -> None:
    (folder / "words").write_text(text)


def split(lake: Warehouse, ids: list[str]) -> Artifact:
    rows = [{"utterance_id": one, "part": "train", "label": None} for one in ids]
    rows += [{"utterance_id": "other", "part": "test", "label": None}]
    request = Request("split", "made", 1, {"ids": ids})
    return lake.materialize(request, lambda folder: write_rows(folder / "split.parquet", rows, SPLIT))


def fit(lake: Warehouse, own: Artifact, name: str, record: Mapping[str, Any] | None) -> Artifact:
    request = Request("checkpoint", "students.made", 1, {"name": name}, {"split": (own.digest,)})
    beside = {} if record is None else {"cost": record}
    return lake.materialize(request, partial(words, text=name), beside)


def reported(lake: Warehouse, heard: Artifact, fits: Mapping[str, list[Artifact]]) -> None:
    runs, predictions = [], []
    for model, own in fits.items():
        for seed, checkpoint in enumerate(own):
            request = Request("predictions", "models.predict", 1, {}, {"checkpoint": (checkpoint.digest,)})
            predictions.append(lake.materialize(request, partial(words, text=request.key)))
            runs.append({"model": model, "fold": "all", "seed": seed})
    average = Request("predictions", "flows.average", 1, {}, {"predictions": tuple(a.digest for a in predictions)})
    runs.append({"model": "mean", "fold": "all", "seed": 0})
    predictions.append(lake.materialize(average, partial(words, text="mean")))
    inputs = {"utterances": (heard.digest,), "predictions": tuple(a.digest for a in predictions)}
    request = Request("report", "flows.report", 1, {"runs": runs}, inputs)
    made = lake.materialize(request, partial(words, text="report"))
    lake.set_ref("reports/made", {"artifact": made.key, "metrics": made.key})


def test_cost_by_model_and_device(lake: Warehouse) -> None:
    heard = utterances(lake, [utterance(one, start_s=1.0, end_s=4.0) for one in ("a", "b", "other")])
    own = split(lake, ["a", "b"])
    on_gpu = RECORD | {"device": "cuda", "processes": 2, "device_peak_bytes": 2**30}
    fits = {
        "m": [fit(lake, own, "m0", RECORD), fit(lake, own, "m1", RECORD | {"peak_bytes": 5 * 2**20, "train_s": 4.0})],
        "n": [fit(lake, own, "n0", on_gpu)],
        "old": [fit(lake, own, "old", None)],
    }
    reported(lake, heard, fits)
    rows = {row["model"]: row for row in cost_list(lake, "made")}
    assert list(rows) == ["m", "n", "old"], "the mean of models is not fitted"
    m = rows["m"]
    assert (m["device"], m["fits"], m["parameters"], m["trained"]) == ("cpu", 2, 1000, 400)
    assert (m["speed"], m["unit"]) == (pytest.approx(2 * 20 * 3.0 / 6.0), "s of audio per s")
    assert (m["memory"], m["on_device"]) == (5 * 2**20, None)
    assert m["seconds"] == pytest.approx(sum(one.environment["work_s"] for one in fits["m"]))
    assert m["per_fit"] == pytest.approx(m["seconds"] / 2)
    assert rows["n"]["speed"] == pytest.approx(2 * 20 * 3.0 / 2.0), "two processes, of which the first is recorded"
    assert rows["n"]["on_device"] == 2**30
    old = rows["old"]
    assert (old["device"], old["fits"], old["parameters"], old["speed"], old["memory"]) == ("", 1, None, None, None)
    assert readable(m) | {"seconds": 0, "per_fit": 0} == m | {
        "seconds": 0, "per_fit": 0, "speed": "20 s of audio per s", "memory": "5 MiB",
    }  # fmt: skip


def test_without_sound_speed_is_in_steps(lake: Warehouse) -> None:
    read = utterances(lake, [utterance(one, start_s=0.0, end_s=0.0) for one in ("a", "other")])
    reported(lake, read, {"m": [fit(lake, split(lake, ["a"]), "m", RECORD | {"role": "text"})]})
    (row,) = cost_list(lake, "made")
    assert (row["speed"], row["unit"]) == (300.0, "steps of 'text' per s")
    assert readable(row)["speed"] == "300 steps of 'text' per s"
    assert readable(row | {"speed": 18_912.3})["speed"] == "18,900 steps of 'text' per s"
    assert cost_table([row]).title == "cost of the fits" and cost_table([row]).row_count == 1


def test_a_recipe_without_a_report(lake: Warehouse) -> None:
    with pytest.raises(UnknownName, match="no report of a recipe 'made'"):
        cost_list(lake, "made")


def test_sizes_are_those_recorded_and_of_an_average_the_sum(lake: Warehouse) -> None:
    own = split(lake, ["a"])
    fits = {name: fit(lake, own, name, record) for name, record in (("m", RECORD), ("n", RECORD), ("old", None))}
    each = {name: Fitted(name, "all", 0, own, checkpoint) for name, checkpoint in fits.items()}
    both = Fitted("both", "all", 0, own, fits["m"], (each["m"], each["n"]))
    some = Fitted("some", "all", 0, own, fits["m"], (each["m"], each["old"]))
    assert sizes_of([*each.values(), both, some]) == {
        "m": {"parameters": 1000, "trained_parameters": 400},
        "n": {"parameters": 1000, "trained_parameters": 400},
        "both": {"parameters": 2000, "trained_parameters": 800},
    }
