"""Lineage and differences of the small lake, from the command line."""

from __future__ import annotations

from tests.flows.saying import Say
from tests.flows.small import Small


def test_lineage_up_down_and_of_an_utterance(say: Say, small: Small) -> None:
    warehouse = small.warehouse
    answer = say("lineage", "reports/small", "--json").json
    assert answer["tree"]["kind"] == "report" and answer["trace"][0]["what"] == "prediction"
    raw = next(hop["key"] for hop in answer["trace"] if hop["what"] == "raw file")
    told = say("lineage", "reports/small").out
    assert f"raw features.raw {raw[:12]}" in told and "one number, traced: wf1 of 'distilled', fold all, seed 0" in told

    below = say("lineage", raw, "--down").out
    report = warehouse.resolve("reports/small")
    assert f"report flows.report {report.key[:12]}" in below and "one number" not in below

    utterance = answer["trace"][0]["note"].partition(":")[0]
    hops = say("lineage", utterance, "--json").json
    assert {"raw file", "utterances", "features", "predictions", "split"} <= {hop["what"] for hop in hops}
    assert [line.split()[0] for line in say("lineage", utterance).out.splitlines()[2:]] == [h["what"] for h in hops[1:]]


def test_lineage_of_the_number_over_another_utterance(say: Say, small: Small) -> None:
    query = "SELECT utterance_id FROM predictions WHERE part = 'test' ORDER BY utterance_id DESC LIMIT 1"
    last = say("sql", query, "--json").json[0]["utterance_id"]
    answer = say("lineage", "reports/small", "--utterance", last, "--json").json
    assert answer["trace"][0]["note"].startswith(f"{last}: ")
    nobody = say("lineage", "reports/small", "--utterance", "nobody")
    assert nobody.code == 2 and "no prediction of 'nobody' is under reports/small" in nobody.err


def test_why(say: Say, small: Small) -> None:
    fits = {a.request.params["fit"]["batch_frames"]: a for a in small.warehouse.artifacts("checkpoint")[:2]}
    language, teacher = fits[128], fits[64]
    answer = say("why", teacher.key, "--than", language.key[:12], "--json").json
    found = {row["where"]: (row["asked"], row["there"]) for row in answer["differences"]}
    assert answer["than"] == language.key and found["params.fit.batch_frames"] == (64, 128)
    assert say("why", teacher.key, "--json").json["than"] == language.key, "the nearest one"
    table = say("why", teacher.key).out.splitlines()
    assert table[0].split() == ["where", teacher.key[:12], language.key[:12]]
    assert any(line.split() == ["params.fit.batch_frames", "64", "128"] for line in table)
    assert "the lake holds no other artifact of 'flows.report' to compare with" in say("why", "reports/small").out
    assert say("why", "reports/small", "--json").json["than"] is None
