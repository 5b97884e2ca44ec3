"""Lineage from the command line: of anything, up and down, in every form."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.flows.audit.little import Little, little_copy
from tests.flows.saying import Said, saying

Ask = Callable[..., Said]


@pytest.fixture(scope="module")
def little(whole: Little, tmp_path_factory: pytest.TempPathFactory) -> Little:
    return little_copy(whole, tmp_path_factory.mktemp("little") / "lake")


@pytest.fixture
def ask(little: Little, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """`emolake lineage …` on the little lake."""
    say = saying(monkeypatch, capsys)
    return lambda *arguments: say("lineage", *arguments, "--lake", str(little.warehouse.root))


def clip_of(ask: Ask) -> str:
    """The utterance that the report's trace begins with."""
    return str(ask("reports/little", "--json").json["trace"][0]["note"].partition(":")[0])


def test_a_report_up(ask: Ask, little: Little) -> None:
    answer = ask("reports/little", "--json").json
    report = little.warehouse.resolve("reports/little")
    assert answer["subject"]["what"] == "artifact" and answer["subject"]["artifacts"] == [report.key]
    nodes = {node["key"]: node["kind"] for node in answer["nodes"]}
    assert nodes[report.key] == "report" and {"raw", "utterances", "features", "checkpoint"} <= set(nodes.values())
    assert all(edge["key"] in nodes and edge["from"] in nodes for edge in answer["edges"])
    assert {file["corpus"] for file in answer["files"]} == {"tones"} and len(answer["files"]) == 13
    assert sum(file["seconds"] for file in answer["files"]) == pytest.approx(12 * 0.75)
    assert [row["protocol"] for row in answer["protocols"]] == ["emodb4-loso6"]
    assert {row["step"]: row["differing"] for row in answer["steps"]}["flows.report"] == []
    told = ask("reports/little").out
    assert told.startswith(f"report flows.report {report.key[:12]}\n") and "one number, traced: " in told
    assert "corpus  files" in told and "other than now" in told


def test_a_number_up_ends_in_the_file_and_its_seconds(ask: Ask) -> None:
    told = ask("reports/little#linear/uar").out.splitlines()
    assert told[0].split() == ["variant", "fold", "seed", "part", "metric", "value", "n_utterances"]
    assert {tuple(line.split()[0:5:4]) for line in told[1:4]} == {("linear", "uar")}
    answer = ask("reports/little#linear/uar", "--json").json
    assert answer["subject"]["what"] == "number" and len(answer["subject"]["numbers"]) == 3
    kinds = {node["kind"] for node in answer["nodes"]}
    assert {"predictions", "truth", "checkpoint", "raw"} <= kinds and "report" not in kinds
    assert answer["trace"][-1]["what"] == "raw file" and "seconds 0.000–0.750, sha256 " in answer["trace"][-1]["note"]
    refused = ask("reports/little#linear/9/uar")
    assert refused.code == 1 and "has no number 'linear/9/uar': write MODEL/FOLD/SEED/METRIC" in refused.err


def test_an_utterance_down_ends_in_numbers(ask: Ask, little: Little) -> None:
    clip = clip_of(ask)
    answer = ask(clip, "--down", "--json").json
    held = {use["key"] for use in answer["holding"]}
    kinds = {a.key: a.request.kind for a in little.warehouse.artifacts()}
    assert {kinds[key] for key in held} == {
        "utterances", "labels", "features", "shards", "split", "truth", "predictions",
    }  # fmt: skip
    assert {kinds[use["key"]] for use in answer["learned"]} == {"checkpoint"}
    hows = {tuple(number["how"]) for number in answer["numbers"] if number["part"] == "test"}
    assert hows == {("learned from it",), ("scored on it",), ("chosen on it",)}
    assert {tuple(number["reports"]) for number in answer["numbers"]} == {("reports/little",)}
    told = ask(clip, "--down").out
    assert "holds it" in told and "learned from it" in told
    numbers = [line.split() for line in told.split("\n\n")[-1].splitlines()[1:]]
    assert {(line[0], line[1]) for line in numbers} == {("reports/little", "linear")}


def test_an_utterance_a_file_a_row_and_a_part_of_a_digest_up(ask: Ask) -> None:
    clip = clip_of(ask)
    [place] = ask(clip, "--json").json["subject"]["places"]
    assert place["utterance"] == clip and place["where"].startswith("seconds 0.000–0.750, sha256 ")
    sha256 = place["where"].rpartition(" ")[2]
    for reference in (sha256, sha256[:12], f"tones/{Path(place['file']).name}"):
        assert ask(reference, "--json").json["subject"]["places"] == [place], reference
    row = ask(f"features/functionals#{clip}", "--json").json
    assert row["subject"]["what"] == "row" and row["subject"]["places"] == [place]
    assert {node["kind"] for node in row["nodes"]} == {"features", "utterances", "raw"}
    first = ask(clip).out.splitlines()
    assert first[0].split() == ["utterance", "file", "where", "text"] and first[1].startswith(clip)
    table = ask("tones/tones.csv", "--json").json
    assert table["subject"]["what"] == "file" and {node["kind"] for node in table["nodes"]} == {"raw"}


def test_a_prediction_is_traced_to_its_own_bytes(ask: Ask, little: Little) -> None:
    predictions = little.warehouse.artifacts("predictions")[0]
    table = "SELECT utterance_id FROM predictions WHERE artifact = '{}' AND part = 'test' ORDER BY ALL DESC LIMIT 1"
    ((last,),) = little.warehouse.sql(table.format(predictions.key)).fetchall()
    for arguments in ([f"{predictions.key[:12]}#{last}"], [predictions.key, "--utterance", last]):
        trace = ask(*arguments, "--json").json["trace"]
        assert trace[0]["note"].startswith(f"{last}: labelled ") and trace[-1]["what"] == "raw file"
    nobody = ask("reports/little", "--utterance", "nobody")
    assert nobody.code == 2 and "no prediction of 'nobody' is under reports/little" in nobody.err


def test_a_raw_record_down(ask: Ask, little: Little) -> None:
    raw = little.warehouse.artifacts("raw")[0]
    report = little.warehouse.resolve("reports/little")
    told = ask(raw.key[:12], "--down").out
    assert f"report flows.report {report.key[:12]}" in told and "one number" not in told
    assert "made from it" in told
    assert len(ask(raw.key, "--down", "--json").json["nodes"]) > 20
    assert ask("reports/little", "--down").out.splitlines()[-1] == "no number of any report"


def test_a_number_down_ends_in_the_report(ask: Ask) -> None:
    told = ask("reports/little#linear/uar", "--down").out
    assert "report flows.report" in told and "no number" not in told


def test_pictures(ask: Ask, tmp_path: Path) -> None:
    chart = ask("reports/little", "--to", "mermaid").out
    assert chart.startswith("flowchart LR\n") and "report " in chart and "×" in chart
    out = tmp_path / "r.svg"
    assert ask("reports/little", "--to", "svg", "--out", str(out)).out == ""
    assert ElementTree.parse(out).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    below = ask(clip_of(ask), "--down", "--to", "mermaid").out
    assert "metrics" in below and "raw" not in below


def test_openlineage_into_a_file(ask: Ask, tmp_path: Path) -> None:
    out = tmp_path / "events.ndjson"
    said = ask("reports/little#linear/uar", "--to", "openlineage", "--out", str(out))
    events = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert said.out == "" and said.err == f"{len(events)} events of {len(events) // 2} runs: {out}\n"
    assert [event["eventType"] for event in events] == ["START", "COMPLETE"] * (len(events) // 2)
    assert events[0]["job"]["name"] == "features.raw"
    assert len(ask("reports/little", "--to", "openlineage").out.splitlines()) > len(events)


def test_a_column(ask: Ask) -> None:
    assert ask("metrics.value", "--column", "--json").json == [
        {"kind": "metrics", "file": "metrics.parquet", "column": "value", "role": "its value"}
    ]
    assert ask("predictions.label", "--column").out.splitlines()[1].split() == [
        "truth", "truth.parquet", "label", "its", "value",
    ]  # fmt: skip
    assert "no view 'nothing'" in ask("nothing.x", "--column").err


def test_as_of_a_run(ask: Ask, little: Little) -> None:
    raw = little.warehouse.artifacts("raw")[0]
    first = little.warehouse.artifacts("checkpoint")[0]
    then = ask(raw.key, "--down", "--as-of", first.key, "--json").json
    assert {node["kind"] for node in then["nodes"]} & {"metrics", "report"} == set() and then["numbers"] == []
    assert first.key in {node["key"] for node in then["nodes"]}
    refused = ask("reports/little", "--as-of", first.key[:12])
    assert refused.code == 1 and "where a name pointed then is not recorded: give a key" in refused.err
    report = little.warehouse.resolve("reports/little").key
    assert ask(report, "--as-of", f"reports/little@{report}", "--json").json["subject"]["artifacts"] == [report]
    assert "'soon' is no moment and no artifact" in ask(report, "--as-of", "soon").err


def test_what_does_not_go_together_is_a_usage_error(ask: Ask) -> None:
    for arguments, sentence in (
        (("--down", "--utterance", "x"), "Invalid value for --utterance"),
        (("--out", "x.txt"), "tree is for the terminal"),
        (("--to", "json", "--out", "x.txt"), "json is for the terminal"),
        (("--to", "png"), "'png' is not one of"),
    ):
        refused = ask("reports/little", *arguments)
        assert refused.code == 2 and sentence in refused.err, refused
    nothing = ask("nonsense")
    assert nothing.code == 1 and "ARTIFACT#ROW, an utterance id, or the path or sha256 of a raw file" in nothing.err
