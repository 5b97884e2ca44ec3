"""The figures of a report: numbers to SVG text, the same bytes for the same numbers, fit for a light and a dark page.

Ink is drawn in the page's own text colour (`currentColor`); only what carries meaning has a colour of its own.
Text is drawn as outlines, so it looks the same wherever the page is opened.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib
import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

_INK = "#010203"  # stands for the page's text colour; replaced by currentColor
_ACCENT = "#3b78b5"
_SECOND = "#c9772b"
_WIDTH = 8.6  # inches: that of the page's text

FEWEST_IN_A_BOX = 5

_STYLE: dict[Any, Any] = {
    "axes.edgecolor": _INK,
    "axes.facecolor": "none",
    "axes.labelcolor": _INK,
    "axes.labelsize": 9,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": _INK,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.titlesize": 9.5,
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "legend.frameon": False,
    "legend.labelcolor": _INK,
    "legend.fontsize": 8.5,
    "svg.fonttype": "path",
    "text.color": _INK,
    "xtick.color": _INK,
    "xtick.labelsize": 8.5,
    "xtick.major.size": 3,
    "xtick.major.width": 0.6,
    "ytick.color": _INK,
    "ytick.labelsize": 8.5,
    "ytick.major.size": 0,
    "ytick.major.width": 0.6,
}

_FAMILIES = {
    "#c8453b": ("ang", "angry", "anger"),
    "#dba52a": ("hap", "happy", "happiness", "joy"),
    "#e07f35": ("exc", "excited", "excitement"),
    "#8d939c": ("neu", "neutral"),
    "#3f6fb0": ("sad", "sadness"),
    "#8a5fb5": ("sur", "surprise", "surprised"),
    "#3b9b94": ("fea", "fear", "fearful"),
    "#6b9a3f": ("dis", "disgust", "disgusted"),
    "#a0564f": ("fru", "frustrated", "frustration"),
    "#b9839f": ("bor", "bored", "boredom"),
}
_COLOURS = {name: colour for colour, names in _FAMILIES.items() for name in names}
_OTHERS = ("#7d6e57", "#5b8aa8", "#a88f3d", "#9a6a8f", "#5f9a78", "#b06d5a", "#6f74a8")


def class_colour(name: str) -> str:
    """The colour of a class: the same in every figure and every report, whatever the other classes are.

    Example:
        >>> class_colour("sadness") == class_colour("sad")
        True
    """
    return _COLOURS.get(name.lower(), _OTHERS[sum(name.encode()) % len(_OTHERS)])


def fold_dots(scores: Sequence[Mapping[str, Any]]) -> str:
    """One row per variant: a dot per fold and seed, their mean, and the 95 % interval of the pooled predictions. Five
    dots or more have a box: their quartiles and median, whiskers to the last dot within 1.5 times its width.

    Args:
        scores: rows of `flows.report.score_table`, all of one metric.
    """
    with _style():
        figure = Figure(figsize=(_WIDTH, 0.75 + 0.42 * len(scores)), layout="constrained")
        axes = figure.add_subplot()
        for row, score in enumerate(scores):
            if score["low"] is not None:
                axes.plot([score["low"], score["high"]], [row, row], color=_ACCENT, alpha=0.28, linewidth=9, zorder=1)
            values = sorted(run["value"] for run in score["runs"])
            if len(values) >= FEWEST_IN_A_BOX:
                _box(axes, values, row)
            axes.scatter(values, row + _spread(values), s=20, color=_ACCENT, alpha=0.85, linewidths=0, zorder=3)
            axes.plot([score["mean"]] * 2, [row - 0.3, row + 0.3], color=_INK, linewidth=1.4, zorder=4)
        axes.set_yticks(range(len(scores)), [score["variant"] for score in scores])
        axes.set_ylim(len(scores) - 0.45, -0.55)
        axes.set_xlabel(scores[0]["metric"])
        axes.spines["left"].set_visible(False)
        _grid(axes, "x")
        return _svg(figure, f"folds-{scores[0]['metric']}", f"{scores[0]['metric']} of each fold, by model")


def _box(axes: Axes, values: Sequence[float], row: int) -> None:
    line = {"color": _INK, "linewidth": 0.8, "alpha": 0.75}
    axes.boxplot(
        values, positions=[row], widths=0.62, orientation="horizontal", showfliers=False, manage_ticks=False,
        boxprops=line, whiskerprops=line, capprops=line, medianprops=line | {"linestyle": (0, (2, 1.5))}, zorder=2,
    )  # fmt: skip


def reliability_diagrams(calibrations: Sequence[Mapping[str, Any]]) -> str:
    """One panel per variant: how often predictions of a confidence are right. On the diagonal they are as often as the
    model says; below it, it is too sure. The area of a dot is the share of predictions in its bin.

    Args:
        calibrations: rows of `flows.calibration.calibration_table`.
    """
    with _style():
        figure, grid = _panels(len(calibrations), 2.3)
        for axes, one in zip(grid, calibrations, strict=False):
            confidence, accuracy = ([of_bin[name] for of_bin in one["bins"]] for name in ("confidence", "accuracy"))
            axes.plot([0, 1], [0, 1], color=_INK, linewidth=0.8, alpha=0.5, linestyle=(0, (4, 3)))
            for x, y in zip(confidence, accuracy, strict=True):
                axes.plot([x, x], [x, y], color=_SECOND, linewidth=1.4, alpha=0.8, solid_capstyle="butt")
            areas = [12 + 160 * of_bin["n"] / one["n"] for of_bin in one["bins"]]
            axes.scatter(confidence, accuracy, s=areas, color=_ACCENT, alpha=0.85, linewidths=0, zorder=3)
            axes.set_xlim(-0.04, 1.04)
            axes.set_ylim(-0.04, 1.04)
            axes.set_aspect("equal")
            axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
            axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
            axes.set_title(one["variant"])
            axes.set_xlabel("confidence")
            axes.spines["left"].set_visible(False)
            _grid(axes, "y")
        grid[0].set_ylabel("share that is right")
        return _svg(figure, "reliability", "reliability diagrams: confidence across, share of right predictions up")


def confusion_matrices(confusions: Sequence[Mapping[str, Any]]) -> str:
    """One matrix per variant: rows are labels and sum to 100 %, with the counts beneath.

    Args:
        confusions: `variant`, `classes` and `counts`, labels down and predictions across.
    """
    n_classes = max(len(one["classes"]) for one in confusions)
    n_columns = min(len(confusions), 3 if n_classes <= 5 else 2)
    n_rows = math.ceil(len(confusions) / n_columns)
    side = _WIDTH / 3 if n_classes <= 5 else min(0.5 * n_classes + 0.75, _WIDTH / n_columns)
    with _style():
        figure = Figure(figsize=(side * n_columns, (side + 0.15) * n_rows), layout="constrained")
        figure.get_layout_engine().set(h_pad=0.09, w_pad=0.09)  # type: ignore[union-attr, call-arg]
        grid = figure.subplots(n_rows, n_columns, squeeze=False)
        for place, axes in enumerate(grid.flat):
            if place >= len(confusions):
                axes.set_axis_off()
                continue
            _confusion(axes, confusions[place], labelled=place % n_columns == 0)
        return _svg(figure, "confusion", "confusion matrices, labels down and predictions across")


def _confusion(axes: Axes, confusion: Mapping[str, Any], labelled: bool) -> None:
    counts = np.asarray(confusion["counts"], dtype=float)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    for row, column in np.ndindex(*counts.shape):
        share = shares[row, column]
        corner, alpha = (column - 0.48, row - 0.48), round(0.04 + 0.68 * share, 3)
        axes.add_patch(Rectangle(corner, 0.96, 0.96, facecolor=_ACCENT, alpha=alpha, linewidth=0))
        faint = 1.0 if counts[row, column] else 0.45
        axes.text(column, row - 0.1, f"{100 * share:.0f}", ha="center", va="center", fontsize=9, alpha=faint)
        axes.text(column, row + 0.24, f"{counts[row, column]:.0f}", ha="center", va="center", fontsize=7, alpha=0.65)
    names = confusion["classes"]
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_aspect("equal")
    axes.set_xticks(range(len(names)), names)
    if sum(map(len, names)) > 22:
        axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.set_title(confusion["variant"])
    axes.set_xlabel("predicted")
    if labelled:
        axes.set_ylabel("label")
    for spine in axes.spines.values():
        spine.set_visible(False)


def class_bars(corpora: Sequence[Mapping[str, Any]]) -> str:
    """The utterances of each class, one panel per corpus.

    Args:
        corpora: `corpus` and `classes`, a mapping of class to count.
    """
    with _style():
        n_bars = max(len(corpus["classes"]) for corpus in corpora)
        figure, grid = _panels(len(corpora), 0.55 + 0.235 * n_bars)
        for axes, corpus in zip(grid, corpora, strict=False):
            names = sorted(corpus["classes"], key=lambda name: (-corpus["classes"][name], name))
            counts = [corpus["classes"][name] for name in names]
            axes.barh(range(len(names)), counts, height=0.72, color=[class_colour(name) for name in names])
            for row, count in enumerate(counts):
                axes.text(count + 0.015 * max(counts), row, str(count), va="center", fontsize=8)
            axes.set_yticks(range(len(names)), names)
            axes.set_ylim(n_bars - 0.4, -0.6)
            axes.set_xlim(0, 1.18 * max(counts))
            axes.set_xticks([])
            axes.spines[["left", "bottom"]].set_visible(False)
            axes.set_title(corpus["corpus"])
        return _svg(figure, "classes", "utterances per class and corpus")


def duration_histograms(durations: Mapping[str, Any]) -> str:
    """How long utterances are, one panel per corpus.

    Args:
        durations: `width_s` of a bin and `counts`, a mapping of corpus to the counts from 0 s on.
    """
    width = durations["width_s"]
    with _style():
        figure, grid = _panels(len(durations["counts"]), 1.6)
        for axes, (corpus, counts) in zip(grid, durations["counts"].items(), strict=False):
            edges = width * np.arange(len(counts) + 1)
            axes.stairs(counts, edges, fill=True, color=_ACCENT, alpha=0.75)
            axes.set_xlim(0, edges[-1])
            axes.set_ylim(0, 1.08 * max(counts))
            axes.set_title(corpus)
            axes.set_xlabel("seconds")
            axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(3, integer=True))
            axes.spines["left"].set_visible(False)
            _grid(axes, "y")
        return _svg(figure, "durations", "durations of utterances per corpus")


def learning_curves(curves: Sequence[Mapping[str, Any]]) -> str:
    """Loss by epoch, one panel per model and one pair of lines per run; a ring marks the epoch that was kept.

    Args:
        curves: `model` and its `runs`, each with `epoch` and, where it has them, `train_loss`, `dev_loss` and `kept`.
    """
    names = {"train_loss": ("train", _SECOND), "dev_loss": ("dev", _ACCENT)}
    with _style():
        figure, grid = _panels(len(curves), 1.75)
        for place, (axes, curve) in enumerate(zip(grid, curves, strict=False)):
            runs = curve["runs"]
            alpha = max(0.3, 1 / math.sqrt(len(runs)))
            for run in runs:
                for column in (name for name in names if name in run):
                    colour = names[column][1]
                    losses = [math.nan if value is None else value for value in run[column]]
                    mark = "o" if len(losses) == 1 else None
                    axes.plot(run["epoch"], losses, color=colour, alpha=alpha, linewidth=1.1, marker=mark, markersize=3)
                    if run.get("kept") in run["epoch"] and (column == "dev_loss" or "dev_loss" not in run):
                        kept = run["epoch"].index(run["kept"])
                        axes.plot(
                            run["kept"], losses[kept], marker="o", markersize=4.5, color=colour, fillstyle="none",
                            markeredgewidth=1.1,
                        )  # fmt: skip
            axes.set_title(curve["model"])
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5, integer=True))
            axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4))
            axes.spines["left"].set_visible(False)
            _grid(axes, "y")
            if place == 0:
                axes.set_ylabel("loss")
                axes.legend(
                    [Line2D([], [], color=colour, linewidth=1.4) for _, colour in names.values()],
                    [label for label, _ in names.values()], loc="lower right", bbox_to_anchor=(1, 1.01),
                    ncols=2, handlelength=1.2, borderaxespad=0, columnspacing=1,
                )  # fmt: skip
        return _svg(figure, "curves", "losses by epoch")


# -- inside ----------------------------------------------------------------------------------------------------------


@contextmanager
def _style() -> Iterator[None]:
    """Matplotlib as shipped plus our style, whatever the user's own settings file says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def _panels(n_panels: int, height: float) -> tuple[Figure, list[Axes]]:
    n_columns = min(n_panels, 3)
    n_rows = math.ceil(n_panels / n_columns)
    figure = Figure(figsize=(_WIDTH * n_columns / 3, (height + 0.35) * n_rows), layout="constrained")
    grid = list(figure.subplots(n_rows, n_columns, squeeze=False).flat)
    for axes in grid[n_panels:]:
        axes.set_axis_off()
    return figure, grid


def _grid(axes: Axes, axis: Literal["x", "y"]) -> None:
    axes.grid(axis=axis, color=_INK, alpha=0.14, linewidth=0.6)


def _spread(values: Sequence[float], near: float = 0.012, step: float = 0.14) -> NDArray[np.float64]:
    """Vertical offsets that keep dots of nearly the same value apart; the values are sorted."""
    offsets, stack, begin = [], 0, -math.inf
    for value in values:
        if value - begin < near:
            stack += 1
        else:
            stack, begin = 0, value
        offsets.append(step * ((stack + 1) // 2) * (-1) ** stack)
    return np.clip(np.array(offsets), -0.32, 0.32)


def _svg(figure: Figure, name: str, says: str) -> str:
    """A figure as an SVG element to put into a page: ids made its own, page colours, no trace of when and with what."""
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    body = text.getvalue()
    body = body[body.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->\s*", "", body, flags=re.DOTALL)
    used = set(re.findall(r"#([\w-]+)", body))
    body = re.sub(r' id="([^"]*)"', lambda match: f' id="{name}-{match[1]}"' if match[1] in used else "", body)
    body = re.sub(r'(href="|url\()#', rf"\1#{name}-", body)
    body = body.replace(_INK, "currentColor")
    width = re.search(r'<svg[^>]* width="([\d.]+)pt"', body)
    opening = f'<svg role="img" aria-label="{says}" style="width: 100%; max-width: {width[1] if width else 500}pt"'
    return re.sub(r"<svg", opening, re.sub(r' (?:width|height)="[\d.]+pt"', "", body, count=2), count=1)
