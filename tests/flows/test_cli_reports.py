"""The commands about reports, on the small lake."""

from __future__ import annotations

import json

from tests.flows.small import Small


def test_two_reported_models_as_a_table_and_as_json(small: Small) -> None:
    done = small.cli("compare", "small:distilled", "small")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].strip() == "A = small:distilled, B = small:distilled"
    assert [line.split()[0] for line in lines[2:]] == ["metric", "wf1", "accuracy"]
    (found,) = json.loads(small.cli("compare", "small", "small", "--json").stdout)
    assert [test["p"] for test in found["tests"]] == [1.0, 1.0]
    scores = json.loads((small.warehouse.resolve("reports/small").path("report.json")).read_text())["scores"]
    pooled = {row["metric"]: row["pooled"] for row in scores}
    assert all(test["first"] == pooled.get(test["metric"], test["first"]) for test in found["tests"])
    assert found["tests"][0]["metric"] in pooled
    assert found["first"]["name"] == "small:distilled" and found["n_utterances"] == scores[0]["n_utterances"]


def test_a_comparison_with_nothing(small: Small) -> None:
    done = small.cli("compare", "small", "large")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "emolake: no report of a recipe 'large' (there are: small)\n"


def test_what_fits_cost(small: Small) -> None:
    (row,) = json.loads(small.cli("cost", "small", "--json").stdout)
    assert row["model"] == "distilled" and row["device"] == "cpu" and row["unit"] == "s of audio per s"
    assert row["speed"] > 0 and row["seconds"] >= row["per_fit"] > 0 and row["memory"] > 2**20
    sizes = json.loads((small.warehouse.resolve("reports/small").path("report.json")).read_text())["sizes"]
    assert sizes == [
        {"model": "distilled", "parameters": row["parameters"], "trained_parameters": row["trained"]}
    ]
    lines = small.cli("cost", "small").stdout.splitlines()
    assert lines[0].strip() == "cost of the fits"
    assert lines[1].split() == [
        "model", "device", "fits", "parameters", "trained", "seconds", "per_fit", "speed", "memory", "on_device",
    ]  # fmt: skip
    assert "MiB" in lines[2] and "s of audio per s" in lines[2]
