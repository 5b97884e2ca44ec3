from __future__ import annotations

import json
import re
import statistics
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from flows.findings import corpus_table, duration_counts, score_table
from flows.report import html_report, report_content, terminal_tables
from models.metrics import bootstrap_interval, scores
from warehouse.hashing import canonical_json
from warehouse.schema import UTTERANCES

CLASSES = ["angry", "happy", "sad"]
LOSO = {
    "id": "three-loso", "title": "three classes, leave one session out", "classes": CLASSES, "folds": "session",
    "dev": "session = $next", "test": "session = $fold", "metrics": ["uar", "accuracy", "f1/sad"], "citation": "",
}  # fmt: skip
TEXT_PLAIN = "epoch,train_loss,train_label,dev_loss,kept\n1,1.2,1.2,1.1,0\n2,0.9,0.9,1,1\n3,0.7,0.7,nan,0\n"


def _prediction(variant: str, fold: str, seed: int, number: int, label: str | None, predicted: str) -> dict[str, Any]:
    return {
        "variant": variant, "fold": fold, "seed": seed, "part": "test", "utterance_id": f"{fold}-{number}",
        "label": label, "predicted": predicted, "classes": CLASSES, "probabilities": [0.2, 0.3, 0.5],
    }  # fmt: skip


Rows = list[dict[str, Any]]


def _predictions(variant: str, seeds: tuple[int, ...] = (0, 1), folds: tuple[str, ...] = ("A", "B")) -> Rows:
    rows = []
    for seed in seeds:
        for fold in folds:
            for number in range(12):
                label = CLASSES[number % 3]
                wrong = (number * 7 + seed * 3 + len(variant) + ord(fold[0])) % 5 == 0
                rows.append(_prediction(variant, fold, seed, number, label, "happy" if wrong else label))
    return rows


def _utterance(corpus: str, number: int, span_s: float, speaker: str = "") -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(UTTERANCES.names, "")
    return row | {
        "corpus": corpus, "utterance_id": f"{corpus}-{number}", "speaker_id": speaker, "turn": 0, "attributes": [],
        "start_s": 2.0, "end_s": 2.0 + span_s,
    }  # fmt: skip


UTTERED = pa.Table.from_pylist(
    [_utterance("acted", n, 0.5 * (1 + n % 7), f"speaker {n % 2}") for n in range(20)]
    + [_utterance("films", n, 1.5) for n in range(4)],
    schema=UTTERANCES,
)
LABELLED = pa.table(
    {
        "utterance_id": [f"acted-{n}" for n in range(18)],
        "value": [CLASSES[n % 3] for n in range(18)],
    }
)


def _content(**changes: Any) -> dict[str, Any]:
    given_content: dict[str, Any] = {
        "title": "A title & <more>",
        "recipe": 'name = "demo"\n[models.student]\nnote = "<script>alert(1)</script>"\n',
        "predictions": pa.Table.from_pylist(_predictions("distilled") + _predictions("plain", seeds=(0,))),
        "protocols": {"plain": LOSO, "distilled": LOSO},
        "utterances": UTTERED,
        "labels": LABELLED,
        "failures": [{"input_id": "x", "utterance_id": "films-9", "step": "aligners.one", "reason": "no word of <it>"}],
        "trace": [
            {"what": "metric", "key": "", "note": "uar 0.5"},
            {"what": "predictions", "key": "ab" * 16, "digest": "cd" * 32, "note": ""},
        ],
        "caveats": ["Scripts repeat over sessions."],
        "histories": {"distilled": {"fold A, seed 0": TEXT_PLAIN, "fold B, seed 0": TEXT_PLAIN}, "solved": {}},
    }
    return report_content(**given_content | changes)


# -- numbers ---------------------------------------------------------------------------------------------------------


def _score(rows: list[dict[str, Any]], metric: str, protocol: dict[str, Any] | None = None) -> dict[str, Any]:
    chosen = (protocol or LOSO) | {"metrics": [metric]}
    return score_table(pa.Table.from_pylist(rows), {rows[0]["variant"]: chosen})[0]


def test_mean_sd_pooled_and_interval_by_hand() -> None:
    rows = _predictions("m", seeds=(0,), folds=("A", "B", "C"))
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
    once = _predictions("m", seeds=(0,))
    twice = once + [row | {"seed": 1} for row in once]
    one, two = _score(once, "accuracy"), _score(twice, "accuracy")
    for name in ("mean", "sd", "pooled", "low", "high", "n_folds", "n_utterances"):
        assert one[name] == two[name], name
    assert (one["n_seeds"], two["n_seeds"]) == (1, 2)


def test_with_one_fold_the_spread_is_over_seeds_and_with_one_value_there_is_none() -> None:
    several = _score(_predictions("m", seeds=(0, 1, 2), folds=("all",)), "accuracy")
    assert several["sd"] == pytest.approx(statistics.stdev(run["value"] for run in several["runs"]))
    assert _score(_predictions("m", seeds=(0,), folds=("all",)), "accuracy")["sd"] is None


def test_only_labelled_test_utterances_count() -> None:
    rows = _predictions("m")
    more = [
        *[row | {"part": "dev", "predicted": "sad"} for row in rows],
        *[row | {"part": "train", "predicted": "sad"} for row in rows],
        _prediction("m", "A", 0, 99, None, "sad"),
    ]
    assert _score(rows, "uar") == _score(rows + more, "uar")


def test_a_class_that_nobody_says_has_no_interval() -> None:
    rows = [_prediction("m", "all", 0, n, "angry", ("angry", "happy")[n % 2]) for n in range(10)]
    score = _score(rows, "f1/sad")
    assert (score["mean"], score["low"], score["high"]) == (0.0, None, None)


TRIPLES = st.tuples(st.sampled_from("AB"), st.sampled_from(CLASSES), st.sampled_from(CLASSES))


@settings(max_examples=25, deadline=None)
@given(st.lists(TRIPLES, min_size=2, max_size=40), st.randoms())
def test_the_order_of_rows_is_nothing(triples: list[tuple[str, str, str]], random: Any) -> None:
    rows = [_prediction("m", fold, 0, n, label, predicted) for n, (fold, label, predicted) in enumerate(triples)]
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


# -- pages -----------------------------------------------------------------------------------------------------------


class _Page(HTMLParser):
    """Tags that are open, text, and whatever would be fetched."""

    VOID = frozenset({"meta", "br", "img", "link", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href") and value]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_page_is_one_file_and_says_everything() -> None:
    page = _Page(html_report(_content()))
    assert page.open == []
    assert all(reference.startswith("#") for reference in page.fetched)
    assert "script" not in page.tags and "link" not in page.tags
    words = re.sub(r"\s+", " ", page.words)
    for said in (
        "A title & <more>", "<script>alert(1)</script>", "no word of <it>", "Scripts repeat over sessions.",
        "ab" * 16, "cd" * 32, "three-loso: three classes, leave one session out", "session = $next",
        "films-9", "2 × 2", "distilled",
    ):  # fmt: skip
        assert said in words, said
    score = _content()["scores"][0]
    assert f"{score['mean']:.3f} ± {score['sd']:.3f}" in words
    assert f"{score['pooled']:.3f} [{score['low']:.3f}, {score['high']:.3f}]" in words
    assert page.tags.count("svg") == 5


def test_same_content_same_bytes_and_the_page_needs_the_json_alone() -> None:
    content = _content()
    assert canonical_json(content) == canonical_json(_content())
    page = html_report(content)
    assert page == html_report(_content())
    assert page == html_report(json.loads(canonical_json(content)))
    for trace in (str(Path.cwd()), "Matplotlib", "python"):
        assert trace not in page


def test_a_model_selected_on_test_is_stamped() -> None:
    content = _content(protocols={"plain": LOSO, "distilled": LOSO | {"selected_on": "test"}})
    assert "Model 'distilled' was selected on the test part: its numbers are test-selected." in content["warnings"]
    assert {row["variant"]: row["selected_on"] for row in content["scores"]} == {"plain": "dev", "distilled": "test"}
    assert 'class="test">test<' in html_report(content)
    assert "test-selected" not in html_report(_content())


def test_tables_follow_the_order_of_the_protocols() -> None:
    assert [row["variant"] for row in _content()["scores"]] == ["plain"] * 3 + ["distilled"] * 3


def test_a_report_of_almost_nothing() -> None:
    nothing = pa.Table.from_pylist([_prediction("plain", "A", 0, 0, None, "sad")])
    content = _content(
        predictions=nothing, protocols={"plain": LOSO}, utterances=UTTERANCES.empty_table(), failures=[], trace=[],
        labels=LABELLED.slice(0, 0), caveats=[], histories={"plain": {"fold A": "epoch,train_loss\n"}},
    )  # fmt: skip
    assert content["warnings"] == ["Model 'plain' has no labelled test predictions, so it has no scores."]
    page = _Page(html_report(content))
    assert "There are no labelled test predictions." in page.words
    assert "Every utterance could be treated in every step." in page.words
    assert "svg" not in page.tags


def test_histories_become_curves() -> None:
    curves = _content()["curves"]
    assert [curve["model"] for curve in curves] == ["distilled"]
    run = curves[0]["runs"][0]
    assert (run["run"], run["epoch"], run["kept"]) == ("fold A, seed 0", [1, 2, 3], 2)
    assert run["dev_loss"] == [1.1, 1.0, None]


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_shows_whole_numbers_and_colours_on_a_terminal_only(tmp_path: Path, width: int) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(canonical_json(_content(title="t", caveats=["[bold]mind[/bold] this"])))
    pipe = Console(width=width, force_terminal=False, record=True, file=(tmp_path / "out").open("w", encoding="utf-8"))
    for table in terminal_tables(path):
        pipe.print(table)
    printed = pipe.export_text(styles=True)
    pipe.file.close()
    assert (tmp_path / "out").read_text(encoding="utf-8").find("\x1b") == -1
    score = _content()["scores"][0]
    assert f"{score['mean']:.3f} ± {score['sd']:.3f}" in re.sub(r"\x1b\[[\d;]*m", "", printed)
    assert "[bold]mind[/bold] this" in printed
    assert "scores on the test part of three-loso, selected on dev" in printed
    assert max(len(line) for line in (tmp_path / "out").read_text(encoding="utf-8").splitlines()) <= width
