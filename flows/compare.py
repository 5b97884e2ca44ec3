"""Two models of the last reports of a lake against each other, on the test utterances that both predicted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from flows.findings import METRICS
from flows.firewall import judged_by
from flows.score import VERSION
from flows.significance import Difference, Said, Word, mcnemar, paired_bootstrap
from warehouse import Warehouse
from warehouse.artifact import Artifact
from warehouse.errors import InvalidField, UnknownName, VersionDiffers
from warehouse.schema import PREDICTIONS, UTTERANCES
from warehouse.tables import read_table


@dataclass(frozen=True)
class Side:
    """A model of a report: how it was tested, and what it said of each labelled test utterance."""

    name: str  # 'recipe:model'
    protocol: str
    metrics: Sequence[str]
    selected_on: str
    n_folds: int
    n_seeds: int
    classes: frozenset[str]
    said: Said
    speakers: Mapping[str, str]  # of utterances whose speaker is known

    def as_json(self) -> dict[str, Any]:
        names = ("name", "protocol", "selected_on", "n_folds", "n_seeds")
        return {name: getattr(self, name) for name in names} | {"n_utterances": len(self.said)}


@dataclass(frozen=True)
class Verdict:
    """One row of a comparison."""

    metric: str
    test: str
    difference: Difference
    p: float

    def as_json(self) -> dict[str, Any]:
        found = self.difference
        figures = {"first": found.first, "second": found.second, "difference": found.value}
        interval = {"low": found.low, "high": found.high, "p": self.p}
        return {"metric": self.metric, "test": self.test} | figures | interval


@dataclass(frozen=True)
class Comparison:
    """Two models, tested on `n_utterances`. `stamps` are the reasons why their figures do not belong side by side."""

    first: Side
    second: Side
    n_utterances: int
    stamps: Sequence[str]
    tests: Sequence[Verdict]

    def as_json(self) -> dict[str, Any]:
        return {
            "first": self.first.as_json(), "second": self.second.as_json(), "n_utterances": self.n_utterances,
            "stamps": list(self.stamps), "tests": [test.as_json() for test in self.tests],
        }  # fmt: skip


def compare(warehouse: Warehouse, first: str, second: str, force: bool = False) -> list[Comparison]:
    """Compares two models, or the models of two recipes that have the same names.

    The first metric of the protocol is judged by a paired bootstrap over utterances, accuracy by McNemar's exact test;
    its interval too is the bootstrap's. Where the speakers of all utterances are known, and are several, both metrics
    are judged by a paired bootstrap over speakers as well. The rules for folds and seeds are those of
    `flows.significance`: folds are pooled, seeds averaged, so the figures are the 'pooled' ones of the reports.

    Models of different protocols, or judged on other utterances or other labels of them, are refused: a difference
    would not be one of the models. With `force` the utterances that both were tested on are compared, each model by its
    own labels, and the comparison is stamped; it is also stamped where a model was selected on the test part.

    Args:
        first, second: 'recipe:model', or a recipe. A recipe alone stands for its model of the other's name, or for its
            only one; two recipes alone for every model that both report.
        force: compare what should not be compared.

    Raises:
        UnknownName: the lake has no report of that recipe, or the report no such model.
        VersionDiffers: another version wrote a report.
        InvalidField: the two must not be compared, or have no labelled test utterance in common.
    """
    models = [_models(warehouse, name.partition(":")[0]) for name in (first, second)]
    pairs = _pairs(first, second, *models)
    return [_compared(models[0][one], models[1][other], force) for one, other in pairs]


def comparison_table(comparison: Comparison) -> Table:
    """The figures side by side, one row per test, and over them whose they are and what they are stamped with."""
    first, second = comparison.first, comparison.second
    title = Text(f"A = {first.name}, B = {second.name}")
    title.append(f"\n{_tested(first, second)}, {comparison.n_utterances} test utterances", style="not bold")
    for stamp in comparison.stamps:
        title.append(f"\n{stamp}", style="yellow")
    table = Table(box=None, header_style="bold", pad_edge=False, title=title, title_justify="left", title_style="bold")
    for name in ("metric", "A", "B", "A − B", "95 %", "p", "test"):
        table.add_column(name, justify="left" if name in ("metric", "test") else "right", no_wrap=name != "test")
    for test in comparison.tests:
        found = test.difference
        interval = f"[{found.low:+.3f}, {found.high:+.3f}]"
        p = "< 0.001" if test.p < 0.001 else f"{test.p:.3f}"
        cells = f"{found.first:.3f}", f"{found.second:.3f}", f"{found.value:+.3f}", interval, p
        table.add_row(*map(Text, (test.metric, *cells, test.test)))
    return table


# -- inside ----------------------------------------------------------------------------------------------------------


def _tested(first: Side, second: Side) -> str:
    sides = dict.fromkeys(f"{side.protocol}, {side.n_folds} × {side.n_seeds} folds × seeds" for side in (first, second))
    return " against ".join(sides)


def _models(warehouse: Warehouse, recipe: str) -> dict[str, Side]:
    """The models of a recipe's last report that have labelled test predictions."""
    ref = warehouse.ref(f"reports/{recipe}") if recipe in warehouse.refs("reports") else None
    if ref is None:
        raise UnknownName("report of a recipe", recipe, warehouse.refs("reports"))
    report = warehouse.resolve(ref["artifact"])
    if report.request.version != VERSION:
        raise VersionDiffers(report.request.step, report.request.version, VERSION)
    there = {"predictions": warehouse.by_digest("predictions"), "truths": warehouse.by_digest("truth")}
    inputs = [[own[digest] for digest in report.request.inputs[role]] for role, own in there.items()]
    by_model: dict[str, list[tuple[Mapping[str, Any], Artifact, Artifact]]] = defaultdict(list)
    for run, predictions, truth in zip(report.request.params["runs"], *inputs, strict=True):
        by_model[run["model"]].append((run, predictions, truth))
    speakers = _speakers(warehouse, report)
    sides = {model: _side(f"{recipe}:{model}", runs, speakers) for model, runs in by_model.items()}
    return {model: side for model, side in sides.items() if side.said}


def _speakers(warehouse: Warehouse, report: Artifact) -> dict[str, str]:
    """Utterance -> who speaks it, of the readings that a report cites. Two corpora may call two people the same."""
    readings, found = warehouse.by_digest("utterances"), {}
    for digest in report.request.inputs.get("utterances", ()):
        if digest not in readings:
            continue
        rows = read_table(readings[digest].path("utterances.parquet"), UTTERANCES)
        for row in rows.select(["utterance_id", "corpus", "speaker_id"]).to_pylist():
            if row["speaker_id"]:
                found[row["utterance_id"]] = f"{row['corpus']}/{row['speaker_id']}"
    return found


def _side(name: str, runs: Sequence[tuple[Mapping[str, Any], Artifact, Artifact]], speakers: Mapping[str, str]) -> Side:
    said: dict[str, list[Word]] = defaultdict(list)
    classes: set[str] = set()
    for run, predictions, truth in sorted(runs, key=lambda one: (one[0]["seed"], one[0]["fold"])):
        for row in judged_by(read_table(predictions.path("predictions.parquet"), PREDICTIONS), truth).to_pylist():
            if row["part"] == "test" and row["label"] is not None:
                said[row["utterance_id"]].append((run["seed"], row["label"], row["predicted"]))
                classes.update((*row["classes"], row["label"]))
    first = runs[0][0]
    n_folds, n_seeds = (len({run[of] for run, _, _ in runs}) for of in ("fold", "seed"))
    return Side(
        name, first["protocol"], first["metrics"] or METRICS, first["selected_on"], n_folds, n_seeds,
        frozenset(classes), {utterance_id: tuple(words) for utterance_id, words in said.items()}, speakers,
    )  # fmt: skip


def _pairs(first: str, second: str, own: Mapping[str, Side], others: Mapping[str, Side]) -> list[tuple[str, str]]:
    names = [name.partition(":") for name in (first, second)]
    for (recipe, _, model), known in zip(names, (own, others), strict=True):
        if (model or not known) and model not in known:
            raise UnknownName(f"model with labelled test predictions in the report of '{recipe}'", model, known)
    one, other = names[0][2], names[1][2]
    if not one and not other and len(own) + len(others) > 2:
        both = [(model, model) for model in own if model in others]
        if not both:
            raise UnknownName(f"model of '{second}' in the report of '{first}'", ", ".join(others), own)
        return both
    return [(one or _meant(first, other, own), other or _meant(second, one, others))]


def _meant(recipe: str, model: str, known: Mapping[str, Side]) -> str:
    """The model that a recipe alone stands for."""
    if model in known:
        return model
    if len(known) > 1:
        raise UnknownName(f"model in the report of '{recipe}'", model, known)
    return next(iter(known))


def _compared(first: Side, second: Side, force: bool) -> Comparison:
    problems = _problems(first, second)
    shared = sorted(first.said.keys() & second.said.keys())
    if problems and (not force or not shared):
        todo = "compare them with --force" if shared else "no utterance is left to compare them on"
        name, problem = next(iter(problems.items()))
        where = f"comparison of '{first.name}' with '{second.name}'"
        raise InvalidField(where, name, f"differs ({problem}): a difference would not be one of the models; {todo}")
    stamps = [f"different {name}: {problem}" for name, problem in problems.items()]
    sides = {side.name: side for side in (first, second)}
    stamps += [f"test-selected: {name}" for name, side in sides.items() if side.selected_on == "test"]
    own, others = ({utterance_id: side.said[utterance_id] for utterance_id in shared} for side in (first, second))
    classes = sorted(first.classes | second.classes)
    lead = first.metrics[0]
    found = paired_bootstrap(own, others, lead, classes)
    of_accuracy = found if lead == "accuracy" else paired_bootstrap(own, others, "accuracy", classes)
    n_first, n_second, p = mcnemar(own, others)
    tests = [
        Verdict(lead, "paired bootstrap over utterances", found, found.p),
        Verdict("accuracy", f"McNemar, exact: A alone right on {n_first}, B on {n_second}", of_accuracy, p),
    ]
    known = [first.speakers.get(utterance_id) for utterance_id in shared]
    groups = {utterance_id: speaker for utterance_id, speaker in zip(shared, known, strict=True) if speaker}
    if len(groups) == len(shared) and (n_speakers := len(set(known))) > 1:
        for metric in dict.fromkeys((lead, "accuracy")):
            found = paired_bootstrap(own, others, metric, classes, groups=groups)
            tests.append(Verdict(metric, f"paired bootstrap over {n_speakers} speakers", found, found.p))
    return Comparison(first, second, len(shared), stamps, tests)


def _problems(first: Side, second: Side) -> dict[str, str]:
    """What differs -> how."""
    found = {}
    if first.protocol != second.protocol:
        found["protocols"] = f"'{first.protocol}' and '{second.protocol}'"
    shared = first.said.keys() & second.said.keys()
    n_first, n_second = len(first.said) - len(shared), len(second.said) - len(shared)
    n_labels = sum(_labels(first.said[one]) != _labels(second.said[one]) for one in shared)
    if n_first or n_second or n_labels:
        only = f"{n_first} only of the first and {n_second} only of the second"
        found["test utterances"] = f"{only}, {n_labels} of {len(shared)} of both with another label"
    return found


def _labels(words: Sequence[Word]) -> set[str]:
    return {label for _, label, _ in words}
