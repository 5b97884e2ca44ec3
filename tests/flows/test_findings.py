"""What a report says, by hand and by law: means, spreads, intervals, counts."""

from __future__ import annotations

import statistics
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, f1_score

from flows.findings import class_table, confusion_table, corpus_table, duration_counts, score_table
from flows.report import html_report
from models.metrics import bootstrap_interval, scores
from tests.flows.reported import CLASSES, LABELLED, LOSO, UTTERED, content_of, prediction, predictions
from warehouse.hashing import canonical_json


def _score(rows: list[dict[str, Any]], metric: str, protocol: dict[str, Any] | None = None) -> dict[str, Any]:
    chosen = (protocol or LOSO) | {"metrics": [metric]}
    return score_table(pa.Table.from_pylist(rows), {rows[0]["variant"]: chosen})[0]


def test_mean_sd_pooled_and_interval_by_hand() -> None:
    rows = predictions("m", seeds=(0,), folds=("A", "B", "C"))
    score = _score(rows, "uar")

    def columns(some: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
        some = sorted(some, key=lambda row: (row["fold"], row["utterance_id"]))
        return [row["label"] for row in some], [row["predicted"] for row in some]

    by_fold = [scores(*columns([r for r in rows if r["fold"] == fold]), CLASSES)["uar"] for fold in "ABC"]
    assert score["mean"] == pytest.approx(statistics.mean(by_fold))
    assert score["sd"] == pytest.approx(statistics.stdev(by_fold))
    assert score["pooled"] == pytest.approx(scores(*columns(rows), CLASSES)["uar"])
    assert (score["low"], score["high"]) == bootstrap_interval(*columns(rows), "uar")
    assert (score["n_folds"], score["n_seeds"], score["n_utterances"]) == (3, 1, 36)
    assert (score["protocol"], score["selected_on"]) == ("three-loso", "dev")
    assert [run["value"] for run in score["runs"]] == pytest.approx(by_fold)


def test_a_second_seed_with_the_same_predictions_makes_nobody_surer() -> None:
    once = predictions("m", seeds=(0,))
    twice = once + [row | {"seed": 1} for row in once]
    one, two = _score(once, "accuracy"), _score(twice, "accuracy")
    for name in ("mean", "sd", "pooled", "low", "high", "n_folds", "n_utterances"):
        assert one[name] == two[name], name
    assert (one["n_seeds"], two["n_seeds"]) == (1, 2)


def test_with_one_fold_the_spread_is_over_seeds_and_with_one_value_there_is_none() -> None:
    several = _score(predictions("m", seeds=(0, 1, 2), folds=("all",)), "accuracy")
    assert several["sd"] == pytest.approx(statistics.stdev(run["value"] for run in several["runs"]))
    assert _score(predictions("m", seeds=(0,), folds=("all",)), "accuracy")["sd"] is None


def test_only_labelled_test_utterances_count() -> None:
    rows = predictions("m")
    more = [
        *[row | {"part": "dev", "predicted": "sad"} for row in rows],
        *[row | {"part": "train", "predicted": "sad"} for row in rows],
        prediction("m", "A", 0, 99, None, "sad"),
    ]
    assert _score(rows, "uar") == _score(rows + more, "uar")


def test_a_class_that_nobody_says_has_no_interval() -> None:
    rows = [prediction("m", "all", 0, n, "angry", ("angry", "happy")[n % 2]) for n in range(10)]
    score = _score(rows, "f1/sad")
    assert (score["mean"], score["low"], score["high"]) == (0.0, None, None)


TRIPLES = st.tuples(st.sampled_from("AB"), st.sampled_from(CLASSES), st.sampled_from(CLASSES))


@settings(max_examples=25, deadline=None)
@given(st.lists(TRIPLES, min_size=2, max_size=40), st.randoms())
def test_the_order_of_rows_is_nothing(triples: list[tuple[str, str, str]], random: Any) -> None:
    rows = [prediction("m", fold, 0, n, label, predicted) for n, (fold, label, predicted) in enumerate(triples)]
    shuffled = list(rows)
    random.shuffle(shuffled)
    score = _score(rows, "uar")
    assert score == _score(shuffled, "uar")
    assert 0 <= score["low"] <= score["high"] <= 1
    assert [run["fold"] for run in score["runs"]] == sorted({row["fold"] for row in rows})


def test_corpora_are_counted() -> None:
    acted, films = corpus_table(UTTERED, LABELLED)
    assert acted == {
        "corpus": "acted", "n_utterances": 20, "n_speakers": 2, "classes": {"angry": 6, "happy": 6, "sad": 6},
        "hours": pytest.approx(sum(0.5 * (1 + n % 7) for n in range(20)) / 3600),
    }  # fmt: skip
    assert (films["n_speakers"], films["classes"]) == (0, {})


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0.01, 4000)), max_size=60))
def test_every_utterance_is_in_one_bin(spans: list[tuple[str, float]]) -> None:
    table = pa.table(
        {
            "corpus": pa.array([corpus for corpus, _ in spans], pa.string()),
            "start_s": [0.0 for _ in spans],
            "end_s": pa.array([span for _, span in spans], pa.float64()),
        }
    )
    found = duration_counts(table)
    assert {name: sum(counts) for name, counts in found["counts"].items()} == {
        name: sum(corpus == name for corpus, _ in spans) for name in sorted({corpus for corpus, _ in spans})
    }
    assert all(len(counts) <= 33 for counts in found["counts"].values())
    for corpus, span in spans:
        bin_ = min(int(span / found["width_s"] + 1e-9), len(found["counts"][corpus]) - 1)
        assert found["counts"][corpus][bin_] > 0


def test_words_without_sound_have_no_duration() -> None:
    table = pa.table({"corpus": ["heard", "read", "read"], "start_s": [0.0, 0.0, 0.0], "end_s": [1.0, 0.0, 0.0]})
    assert list(duration_counts(table)["counts"]) == ["heard"]
    assert duration_counts(table.slice(1))["counts"] == {}


def test_tables_follow_the_order_of_the_protocols() -> None:
    assert [row["variant"] for row in content_of()["scores"]] == ["plain"] * 3 + ["distilled"] * 3


def test_histories_become_curves() -> None:
    curves = content_of()["curves"]
    assert [curve["model"] for curve in curves] == ["distilled"]
    run = curves[0]["runs"][0]
    assert (run["run"], run["epoch"], run["kept"]) == ("fold A, seed 0", [1, 2, 3], 2)
    assert run["dev_loss"] == [1.1, 1.0, None]


def test_confusions_and_f1_are_those_of_scikit_learn() -> None:
    rows = predictions("distilled")
    table = pa.Table.from_pylist(rows)
    labels, said = [row["label"] for row in rows], [row["predicted"] for row in rows]
    (confusion,) = confusion_table(table, {"distilled": LOSO})
    assert confusion["counts"] == confusion_matrix(labels, said, labels=CLASSES).tolist()
    found = {row["class"]: row["f1"] for row in class_table(table, {"distilled": LOSO})}
    assert list(found.values()) == pytest.approx(f1_score(labels, said, labels=CLASSES, average=None).tolist())
    assert list(found) == CLASSES


def test_failures_are_in_order_and_say_nothing_of_inputs() -> None:
    rows = [
        {"input_id": str(n), "utterance_id": name, "step": step, "reason": "odd"}
        for n, (step, name) in enumerate([("b", "x"), ("a", "y"), ("a", "x")])
    ]
    found = content_of(failures=rows)["failures"]
    assert [(row["step"], row["utterance_id"]) for row in found] == [("a", "x"), ("a", "y"), ("b", "x")]
    assert all(set(row) == {"utterance_id", "step", "reason"} for row in found)


def test_what_a_report_says_is_json_and_stays_the_same() -> None:
    assert canonical_json(content_of()) == canonical_json(content_of())


def test_results_of_several_protocols_are_warned_about() -> None:
    other = LOSO | {"id": "three-random"}
    assert not [sentence for sentence in content_of()["warnings"] if "protocols" in sentence]
    content = content_of(protocols={"plain": LOSO, "distilled": other})
    assert content["warnings"][0] == (
        "The tables hold 2 protocols, whose results cannot be compared with each other: "
        "three-loso (plain); three-random (distilled)."
    )
    page = html_report(content)
    assert page.index("cannot be compared") < page.index("<h2>Scores</h2>")
