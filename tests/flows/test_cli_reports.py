"""The commands about reports, on the small lake."""

from __future__ import annotations

import json

from tests.flows.saying import Say
from tests.flows.small import Small


def test_two_reported_models_as_a_table_and_as_json(say: Say, small: Small) -> None:
    done = say("compare", "small:distilled", "small")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].strip() == "A = small:distilled, B = small:distilled"
    assert [line.split()[0] for line in lines[2:]] == ["metric", *["wf1", "accuracy"] * 2]
    assert ["over utterances" in lines[3], "speakers" in lines[5], "speakers" in lines[6]] == [True] * 3
    (found,) = say("compare", "small", "small", "--json").json
    assert [test["p"] for test in found["tests"]] == [1.0] * 4
    scores = json.loads((small.warehouse.resolve("reports/small").path("report.json")).read_text())["scores"]
    pooled = {row["metric"]: row["pooled"] for row in scores}
    assert all(test["first"] == pooled.get(test["metric"], test["first"]) for test in found["tests"])
    assert found["tests"][0]["metric"] in pooled
    assert found["first"]["name"] == "small:distilled" and found["n_utterances"] == scores[0]["n_utterances"]


def test_a_comparison_with_nothing(say: Say) -> None:
    done = say("compare", "small", "large")
    assert (done.code, done.out) == (1, "")
    assert done.err == "emolake: no report of a recipe 'large' (there are: small)\n"


def test_what_fits_cost(say: Say, small: Small) -> None:
    (row,) = say("cost", "small", "--json").json
    assert row["model"] == "distilled" and row["device"] == "cpu" and row["unit"] == "s of audio per s"
    assert row["speed"] > 0 and row["seconds"] >= row["per_fit"] > 0 and row["memory"] > 2**20
    sizes = json.loads((small.warehouse.resolve("reports/small").path("report.json")).read_text())["sizes"]
    assert sizes == [{"model": "distilled", "parameters": row["parameters"], "trained_parameters": row["trained"]}]
    lines = say("cost", "small").out.splitlines()
    assert lines[0].strip() == "cost of the fits"
    assert lines[1].split() == [
        "model", "device", "fits", "parameters", "trained", "seconds", "per_fit", "speed", "memory", "on_device",
    ]  # fmt: skip
    assert "MiB" in lines[2] and "s of audio per s" in lines[2]
