from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.audit.declarations import UNKNOWN
from flows.audit.licence import UNSTATED
from flows.card import NOT_MEASURED, Section, card_of, markdown, page, sections
from flows.leakage_work import leakage_work
from flows.trained import Trained, trained
from tests.flows.audit.lent import lent_lake
from tests.flows.spoken import Spoken
from warehouse.errors import ArtifactNotFound
from warehouse.schema import METRICS, SPLIT
from warehouse.tables import read_table


@pytest.fixture(scope="module")
def fit(spoken: Spoken) -> Trained:
    return trained(spoken.warehouse, "spoken:crossed", seed=1)[0]


def test_data_are_those_of_the_split(spoken: Spoken, fit: Trained) -> None:
    card = card_of(spoken.warehouse, fit)
    split = spoken.warehouse.with_digest(fit.checkpoint.request.inputs["split"][0])[0]
    parts = read_table(split.path("split.parquet"), SPLIT).column("part").to_pylist()
    counted = {row["part"]: row["n_utterances"] for row in card["data"]}
    assert counted == {part: parts.count(part) for part in set(parts)}
    assert {row["reader"] for row in card["data"]} == {"table"} and all(row["hours"] > 0 for row in card["data"])
    assert [row["class"] for row in card["classes"]] == ["angry", "sad"]
    assert sum(row["train"] for row in card["classes"]) == parts.count("train")


def test_figures_are_those_of_the_report(spoken: Spoken, fit: Trained) -> None:
    card = card_of(spoken.warehouse, fit)
    metrics = spoken.warehouse.artifacts("metrics")[0]
    rows = read_table(metrics.path("metrics.parquet"), METRICS).to_pylist()
    rows = [row for row in rows if (row["variant"], row["seed"]) == ("crossed", 1)]
    own = {(row["part"], row["metric"]): row["value"] for row in rows}
    assert {(row["part"], row["metric"]): row["value"] for row in card["metrics"]} == pytest.approx(own, abs=1e-4)
    assert card["protocol"]["selected_on"] == "dev"


def test_licences_and_what_encoders_learned_from_are_inherited(spoken: Spoken, fit: Trained) -> None:
    card = card_of(spoken.warehouse, fit)
    assert {row["what"]: row["licence"] for row in card["licences"]} == {
        "clips": UNSTATED, "w2v": "Apache-2.0", "bert": UNSTATED
    }  # fmt: skip
    assert card["terms"] == ["attribution", "unknown"]
    assert [row["path"][-1] for row in card["licences"]] == [
        f"checkpoint {fit.checkpoint.key[:12]} (students.cross_attention)"
    ] * 3
    assert {row["name"]: row["said_by"] for row in card["contamination"]} == {"bert": "nobody", "w2v": "its recipe"}
    verdicts = {row["name"]: row["verdict"] for row in card["contamination"]}
    assert verdicts["bert"] == UNKNOWN and verdicts["w2v"].startswith("none of them is a test corpus by its name")
    lake = spoken.warehouse
    before = lake.ref("weights/w2v") or {}
    lake.set_ref("weights/w2v", before | {"trained_on": ["the Clips (2019)"], "licence": "a|b <i>"})
    try:
        now = card_of(lake, fit)
    finally:
        lake.set_ref("weights/w2v", before)
    told = {row["name"]: row["verdict"] for row in now["contamination"]}
    assert told["w2v"] == "declared to have learned from the test corpus: the Clips (2019)"
    assert "| a\\|b &lt;i&gt; |" in markdown(now) and "<td>a|b &lt;i&gt;</td>" in page(now)


def test_a_card_is_the_same_every_time_and_names_no_place(spoken: Spoken, fit: Trained) -> None:
    first, again = (card_of(spoken.warehouse, fit) for _ in range(2))
    assert markdown(first) == markdown(again) and page(first) == page(again)
    assert json.loads(json.dumps(first)) == first
    for text in (markdown(first), page(first)):
        assert str(spoken.weights) not in text and fit.checkpoint.key in text
        for section in sections(first):
            assert section.title in text


def test_a_fit_of_no_report_has_no_figures(spoken: Spoken, fit: Trained) -> None:
    card = card_of(spoken.warehouse, Trained(fit.fold, fit.seed, fit.checkpoint))
    assert card["metrics"] == [] and card["title"].startswith(fit.checkpoint.key[:12])
    by_title = {section.title: section for section in sections(card)}
    assert isinstance(by_title["Metrics"], Section)
    assert by_title["Metrics"].text == ["No report of this lake names it, so no figure is known here."]


def test_models_it_comes_from_are_told_with_what_the_report_measured(tmp_path: Path) -> None:
    lent = lent_lake(tmp_path / "lake")
    fit, place = trained(lent.lake, "mine:best")[0], str(tmp_path)
    assert place not in markdown(card_of(lent.lake, fit))
    (teacher,) = card_of(lent.lake, fit)["teachers"]
    assert teacher == {
        "step": "students.text_encoder", "key": lent.teacher.key, "learned_from": "films", "n_tested": 0,
        "n_same_words": NOT_MEASURED, "n_near_words": NOT_MEASURED,
    }  # fmt: skip
    work = leakage_work(
        lent.lake,
        "p",
        "1",
        lent.named["p split"],
        lent.named["truth"],
        lent.student,
        [lent.named["utterances iemocap"]],
    )
    cited = lent.lake.perform(work)
    report = lent.report(leakage=[cited])
    (told,) = card_of(lent.lake, Trained("1", 0, lent.student, "mine", "best", report))["teachers"]
    assert (told["n_same_words"], told["n_near_words"]) == (1, 1)


def test_what_is_missing_is_told_and_not_left_out(tmp_path: Path) -> None:
    lent = lent_lake(tmp_path / "lake")
    fit = trained(lent.lake, "mine:best")[0]
    weights = lent.lose("weights w2v")
    card = card_of(lent.lake, fit)
    assert {row["name"]: row["verdict"] for row in card["contamination"]} == {"w2v": UNKNOWN}
    assert "unknown" in card["terms"] and weights[:12] in {row["what"] for row in card["licences"]}
    digest = lent.lose("utterances iemocap")
    with pytest.raises(ArtifactNotFound, match=digest):
        card_of(lent.lake, fit)
