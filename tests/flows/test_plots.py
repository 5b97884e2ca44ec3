from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest

from flows import plots

SCORES = [
    {
        "variant": name, "metric": "uar", "mean": 0.5, "low": low, "high": high,
        "runs": [{"value": 0.4}, {"value": 0.401}, {"value": 0.402}, {"value": 0.7}],
    }
    for name, low, high in (("distilled & <tuned>", 0.45, 0.55), ("plain", None, None))
]  # fmt: skip
REPEATED = [score | {"metric": "wf1", "runs": [{"value": 0.4 + 0.03 * n} for n in range(10)]} for score in SCORES]
CONFUSIONS = [
    {"variant": "four", "classes": ["a", "b"], "counts": [[3, 1], [0, 0]]},
    {"variant": "seven", "classes": list("abcdefg"), "counts": [[1] * 7] * 7},
]
CORPORA = [{"corpus": "one", "classes": {"happy": 3, "sad": 1200}}, {"corpus": "two", "classes": {"joy": 1}}]
DURATIONS = {"width_s": 0.5, "counts": {"one": [0, 3, 1], "two": [1, 0, 0]}}
CURVES = [
    {"model": "m", "runs": [{"epoch": [1, 2], "train_loss": [1.0, 0.5], "dev_loss": [1.1, None], "kept": 1}] * 2},
    {"model": "no dev", "runs": [{"epoch": [1], "train_loss": [1.0], "kept": 1}]},
    {"model": "no losses", "runs": [{"epoch": [1, 2], "kept": None}]},
    {"model": "fourth", "runs": [{"epoch": [1, 2], "dev_loss": [2.0, 1.0], "kept": 2}]},
]
CALIBRATIONS = [
    {"variant": name, "n": 40, "bins": [
        {"low": 0.2, "high": 0.3, "n": 10, "confidence": 0.25, "accuracy": 0.5},
        {"low": 0.9, "high": 1.0, "n": 30, "confidence": 0.95, "accuracy": 0.8},
    ]}
    for name in ("one & <another>", "plain")
]  # fmt: skip
FIGURES = {
    "fold_dots": lambda: plots.fold_dots(SCORES),
    "boxes": lambda: plots.fold_dots(REPEATED),
    "reliability_diagrams": lambda: plots.reliability_diagrams(CALIBRATIONS),
    "confusion_matrices": lambda: plots.confusion_matrices(CONFUSIONS),
    "class_bars": lambda: plots.class_bars(CORPORA),
    "duration_histograms": lambda: plots.duration_histograms(DURATIONS),
    "learning_curves": lambda: plots.learning_curves(CURVES),
}


@cache
def drawn(name: str) -> str:
    """The figure, drawn once for all tests."""
    return FIGURES[name]()


@pytest.mark.parametrize("name", FIGURES)
def test_same_numbers_same_bytes_whatever_the_settings(name: str) -> None:
    first = drawn(name)
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "none", "lines.linewidth": 9, "savefig.dpi": 33}):
        assert FIGURES[name]() == first


def test_same_bytes_in_another_process() -> None:
    load = f"import runpy; FIGURES = runpy.run_path({__file__!r})['FIGURES']"
    program = f"{load}; print(*(figure() for figure in FIGURES.values()), sep='')"
    command, environment = [sys.executable, "-c", program], {"PYTHONHASHSEED": "7", "LC_ALL": "C.UTF-8"}
    here = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, check=True, text=True)
    assert done.stdout == "".join(map(drawn, FIGURES)) + "\n"


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_one_element_of_the_page(name: str) -> None:
    svg = drawn(name)
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("role") == "img"
    assert root.get("aria-label")
    assert "width" not in root.attrib and root.get("viewBox")
    ids = re.findall(r' id="([^"]*)"', svg)
    assert len(ids) == len(set(ids))
    referred = set(re.findall(r'(?:href="|url\()#([^")]*)', svg))
    assert referred <= set(ids)
    assert "currentColor" in svg
    for trace in ("Matplotlib", "matplotlib", "<metadata", "<!--", "<text", plots._INK):
        assert trace not in svg


def test_ids_of_different_figures_differ() -> None:
    ids = [set(re.findall(r' id="([^"]*)"', drawn(name))) for name in FIGURES]
    assert sum(map(len, ids)) == len(set.union(*ids))


def test_a_confusion_tells_counts_and_on_its_diagonal_the_recall(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = []
    monkeypatch.setattr(plots, "_svg", lambda figure, *words: figures.append(figure))
    plots.confusion_matrices([{"variant": "m", "classes": ["a", "b"], "counts": [[30, 10], [0, 5]]}])
    told = {tuple(text.get_position()): text.get_text() for text in figures[0].axes[0].texts}
    shares = {place: float(text) for place, text in told.items() if round(place[1] % 1, 2) == 0.9}
    assert list(shares.values()) == [75, 25, 0, 100]
    assert [text for place, text in told.items() if place not in shares] == ["30", "10", "0", "5"]


def test_five_values_have_a_box_and_four_do_not() -> None:
    few = [score | {"runs": [{"value": 0.1 * n} for n in range(4)]} for score in SCORES[:1]]
    enough = [score | {"runs": [{"value": 0.1 * n} for n in range(5)]} for score in SCORES[:1]]
    lines = [plots.fold_dots(scores).count("stroke-dasharray: 1.6") for scores in (few, enough)]
    assert lines == [0, 1], "the dashed median"


def test_a_class_has_one_colour() -> None:
    assert plots.class_colour("Anger") == plots.class_colour("ang") == plots.class_colour("angry")
    known = [plots.class_colour(name) for name in ("angry", "happy", "neutral", "sad", "surprise", "fear", "disgust")]
    assert len(set(known)) == len(known)
    assert re.fullmatch(r"#[0-9a-f]{6}", plots.class_colour("perplexed"))
    assert plots.class_colour("perplexed") == plots.class_colour("perplexed")


def test_dots_of_near_values_do_not_cover_each_other() -> None:
    offsets = plots._spread([0.4, 0.401, 0.402, 0.7])
    assert len(set(offsets[:3])) == 3
    assert offsets[3] == 0
    assert abs(plots._spread([0.5] * 40)).max() <= 0.32
