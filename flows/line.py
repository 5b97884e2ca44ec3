"""A recipe as a line of works: raw files, utterances, intervals, features, shards, checkpoints, predictions, report.

The line is described once. What happens with its works is the doer's: a plan looks them up, a run answers them.
Every product is asked for by name and made of what it needs, so the order of steps follows from the recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from features.aligners import provided
from features.extract import works as extract_works
from features.inventory import column, failures_of, ids_in, n_rows, row_key, wanted_ids
from features.mfa.training import MODEL, training_work
from features.placed import Placed
from features.plugin import FeatureSpec
from features.whole import holding_wanted, of_utterances, remembered
from flows import canaries, protocol
from flows.checkpoints import only_checkpoint, record_placed
from flows.choice import Choice, choice_of
from flows.doer import Doer, Waits
from flows.fitting import Orders, fit_all, fits_of
from flows.packing import Packed, packed_shards
from flows.predicting import predictions_of
from flows.readings import Reading, corpus_reading
from flows.recipe import ModelEntry, Recipe, plugin_of, step_of
from flows.reporting import report_of
from flows.retelling import read_for, refuse_voices_of_other_parts, retold_reading, retold_roots
from flows.score import Fitted
from flows.select import selection_work
from warehouse import Warehouse
from warehouse.artifact import Artifact, Work
from warehouse.copies import fetched
from warehouse.errors import InvalidField, TooManyFailures
from warehouse.hashing import digest
from warehouse.tables import reading


@dataclass(frozen=True)
class Feature:
    """An extractor's rows for the corpora of its entry."""

    step: str
    plugin: Any
    outputs: Mapping[str, FeatureSpec]
    corpora: Sequence[str]
    artifacts: list[Artifact]


@dataclass(frozen=True)
class Alignment:
    """An aligner's intervals for the corpora of its entry."""

    step: str
    plugin: Any
    artifacts: list[Artifact]


T = TypeVar("T")


class Line:
    """The products of one recipe over one lake.

    Args:
        roots: corpus -> folder of its raw files; 'checkpoints/<name>' -> folder of a checkpoint that was placed.
        device: for extractors; jobs get theirs from whoever launches them.
        known: products by the name of their step ('ingest films') that are not asked for again.
        trust_raw: raw files are what was recorded of them; nobody looks.
    """

    def __init__(
        self, recipe: Recipe, warehouse: Warehouse, roots: Mapping[str, Path], doer: Doer, device: str = "cpu",
        known: Mapping[str, Any] | None = None, trust_raw: bool = False,
    ) -> None:  # fmt: skip
        self.trust_raw = trust_raw
        self.recipe, self.warehouse, self.doer, self.device = recipe, warehouse, doer, device
        self.roots = {**roots, **retold_roots(recipe, roots, warehouse.root)}
        self.failures: dict[tuple[str, str], dict[str, Any]] = {}
        self.split_works: dict[str, Work] = {}  # by the key of the split
        self.orders: dict[str, Orders] = {}  # by model
        self.unfitted: dict[str, list[tuple[str, int]]] = {}  # model -> (fold, seed) of the fits that could not be made
        self._made: dict[str, Any] = dict(known or {})

    # -- the five verbs ----------------------------------------------------------------------------------------

    def ingest(self) -> None:
        _each(self.corpus, self.recipe.corpora)

    def align(self) -> None:
        _each(self.alignment, self.recipe.align)

    def extract(self) -> None:
        _each(self.feature, self.recipe.features)
        _each(self.corpus, self.recipe.retold)

    def pack(self) -> None:
        _each(self.shards, self.recipe.models)

    def run(self) -> None:
        """Everything the recipe declares, up to its report."""
        self.ingest()
        self.align()
        self.extract()
        fit_all(self)
        if self.recipe.report:
            with suppress(Waits):
                self.report()

    # -- products ----------------------------------------------------------------------------------------------

    def corpus(self, name: str) -> Reading:
        """A corpus of the recipe, as it is read or as it is told again."""
        if name in self.recipe.retold:
            return self._once(f"retell {name}", lambda: retold_reading(self, name))
        return self._once(f"ingest {name}", lambda: corpus_reading(self, name))

    def corpora_of(self, model: str) -> Reading:
        """All corpora of a model as one."""
        own = [self.corpus(name) for name in self.recipe.models[model].corpora]
        return Reading([a for one in own for a in one.utterances], [a for one in own for a in one.labels])

    def alignment(self, name: str) -> Alignment:
        return self._once(f"align {name}", lambda: self._alignment(name))

    def _alignment(self, name: str) -> Alignment:
        entry = self.recipe.align[name]
        step, where = step_of("align", entry), f"aligner '{name}'"
        trained = {"acoustic_model": str(self._acoustic_model(name))} if entry.train else {}
        plugin = plugin_of("align", entry, where, **trained)
        if getattr(plugin, "is_shipped", False):
            artifacts = [a for corpus in entry.corpora for a in self._shipped_intervals(name, corpus, plugin)]
        else:
            artifacts = self._rows(f"align {name}", "intervals", step, plugin, entry.corpora)
        self.doer.remember(f"aligners/{name}", {"plugin_key": row_key(step, plugin)})
        return Alignment(step, plugin, artifacts)

    def _acoustic_model(self, aligner: str) -> Path:
        """The model that an aligner is first trained on the corpora of its entry to have."""
        entry = self.recipe.align[aligner]
        utterances = [artifact for corpus in entry.train for artifact in self.corpus(corpus).utterances]
        roots = {corpus: self.roots[corpus] for corpus in entry.train}
        training = plugin_of("align", entry, f"aligner '{aligner}'").training()
        work = training_work(self.warehouse.root, training, utterances, roots)
        return self.doer.step(f"train {aligner}", [work])[0].path(MODEL)

    def _shipped_intervals(self, aligner: str, name: str, plugin: provided.Provided) -> list[Artifact]:
        entry, reading = self.recipe.corpora[name], self.corpus(name)
        reader, step = plugin_of("corpora", entry, f"corpus '{name}'"), step_of("corpora", entry)
        works = provided.works(self.warehouse.root, plugin, name, step, reader, self.roots[name], reading.units)
        made = self.doer.step(f"align {aligner} {name}", works)
        self.count_failures(made)
        return made

    def weights(self, name: str) -> Placed:
        return self._once(f"weights {name}", lambda: record_placed(self, name))

    def feature(self, name: str) -> Feature:
        return self._once(f"extract {name}", lambda: self._feature(name))

    def _feature(self, name: str) -> Feature:
        entry = self.recipe.features[name]
        step, where = step_of("features", entry), f"feature '{name}'"
        if entry.checkpoint is None:
            folder = None
            plugin = plugin_of("features", entry, where)
            outputs = plugin.outputs()
        else:
            placed = entry.checkpoint in self.recipe.checkpoints
            checkpoint = self.weights(entry.checkpoint) if placed else only_checkpoint(self, entry.checkpoint)
            plugin, folder = plugin_of("features", entry, where, weights=checkpoint.digest), fetched(checkpoint.folder)
            outputs = plugin.outputs(folder)
        for corpus in entry.corpora:
            self.corpus(corpus)
        plugin = canaries.asked(self.doer, self.warehouse, name, step, plugin, self.device, folder)
        artifacts = self._rows(f"extract {name}", "features", step, plugin, entry.corpora, folder)
        hops_s = {output: spec.hop_s for output, spec in outputs.items() if spec.level == "frame" and spec.hop_s}
        known = {"plugin_key": row_key(step, plugin), "needs": plugin.needs, "hops_s": hops_s}
        self.doer.remember(f"features/{name}", known)
        return Feature(step, plugin, outputs, entry.corpora, artifacts)

    def _rows(
        self, name: str, kind: str, step: str, plugin: Any, corpora: Sequence[str], checkpoint: Path | None = None
    ) -> list[Artifact]:
        """Every artifact that holds rows of this plug-in for these corpora, after making what is missing."""
        utterances = [artifact for corpus in corpora for artifact in self.corpus(corpus).utterances]
        rows = self.warehouse, kind, step, plugin, utterances
        if there := remembered(*rows):
            self.doer.step(name, [], n_rows=there.n_wanted)
            if there.has_failures:
                self.count_failures(there.artifacts, wanted_ids(utterances, plugin.needs))
            return there.artifacts
        wanted = wanted_ids(utterances, plugin.needs)
        roots = {corpus: self.roots[corpus] for corpus in corpora}
        works = extract_works(self.warehouse, step, plugin, utterances, roots, self.device, checkpoint)
        self.doer.step(name, works, n_rows=len(wanted))
        artifacts = holding_wanted(*rows, wanted)
        self.count_failures(artifacts, wanted)
        return artifacts

    def selection(self, name: str) -> Artifact:
        return self._once(f"select {name}", lambda: self._selection(name))

    def _selection(self, name: str) -> Artifact:
        entry = self.recipe.selections[name]
        corpus = self.corpus(entry.corpus)
        feature, output = self.source(entry.logits)
        work = selection_work(
            corpus.utterances, self.of_corpus(feature, entry.corpus), feature.outputs[output].names,
            feature.plugin.needs, entry.threshold, entry.thresholds,
        )  # fmt: skip
        return self.doer.step(f"select {name}", [work])[0]

    def shards(self, model: str) -> dict[str, list[Artifact]]:
        """Role -> the shards that a model reads, corpus by corpus."""
        packed = self._packed(self.recipe.models[model])
        return {role: [shard for one in own for shard in one.shards] for role, own in packed.items()}

    def _packed(self, entry: ModelEntry) -> dict[str, list[Packed]]:
        return {
            role: [self._packed_of(corpus, source, entry.selection) for corpus in entry.corpora]
            for role, source in entry.inputs.items()
        }

    def _packed_of(self, corpus: str, source: str, selection: str | None) -> Packed:
        chosen = f" ({selection})" if selection else ""
        name = f"pack {corpus} {source}{chosen}"
        return self._once(name, lambda: packed_shards(self, name, corpus, source, selection))

    def model(self, name: str) -> list[Fitted]:
        return self._once(f"fit {name}", lambda: fits_of(self, name))

    def splits(self, model: str) -> dict[str, Artifact]:
        """Fold -> its split."""
        entry, rules, corpus = self.recipe.models[model], self.recipe.protocol(model), self.corpora_of(model)
        chosen = self.selection(entry.selection) if entry.selection else None
        read, told = read_for(self, model)
        asked = digest([rules.folds, [a.digest for a in read.utterances]])  # the same of most models
        folds = self._once(f"folds {asked}", lambda: protocol.folds_of(rules, read.utterances))
        refuse_voices_of_other_parts(self, model, folds)
        without = self._unpacked(model, corpus, chosen)
        how = chosen, without, told, entry.select_on
        works = [protocol.split_work(rules, fold, folds, read.utterances, read.labels, *how) for fold in folds]
        self.split_works |= {work.request.key: work for work in works}
        return dict(zip(folds, self.doer.step(f"split for {model}", works), strict=True))

    def classes(self, model: str) -> list[str]:
        """The classes of a model: its protocol's, or those of the teacher that chose its utterances."""
        entry = self.recipe.models[model]
        own = self.recipe.protocol(model).classes
        if own or entry.selection is None:
            return own
        logits = self.recipe.selections[entry.selection].logits
        teacher = str(self.recipe.features[logits.split(".")[0]].checkpoint)
        if teacher in self.recipe.models:
            return self.classes(teacher)
        feature, output = self.source(logits)
        return [name.removeprefix("logit_") for name in feature.outputs[output].names]

    def predictions(self, name: str, parts: Sequence[str] = ()) -> list[tuple[Fitted, Artifact]]:
        return self._once(" ".join(("predict", name, *parts)), lambda: predictions_of(self, name, parts))

    def choice(self, grid: str) -> Choice:
        return self._once(f"choose {grid}", lambda: choice_of(self, grid))

    def report(self) -> Artifact:
        return self._once("report", lambda: report_of(self))

    # -- inside ------------------------------------------------------------------------------------------------

    def _once(self, name: str, make: Callable[[], T]) -> T:
        """Makes a product the first time it is asked for; one that waits is told to the doer once and waits again."""
        if name not in self._made:
            try:
                self._made[name] = make()
            except Waits as waits:
                if waits.step != name:
                    self.doer.waits(name, waits.step)
                self._made[name] = waits
        if isinstance(self._made[name], Waits):
            raise self._made[name]
        made: T = self._made[name]
        return made

    def source(self, source: str) -> tuple[Feature, str]:
        """A feature and the name of one output, from 'lld' (its only output) or 'teacher.hidden'."""
        name, _, output = source.partition(".")
        feature = self.feature(name)
        if not output and len(feature.outputs) == 1:
            output = next(iter(feature.outputs))
        if output not in feature.outputs:
            known = ", ".join(f"'{name}.{o}'" for o in feature.outputs)
            problem = f"names no output of feature '{name}': use {known}"
            raise InvalidField(f"recipe '{self.recipe.name}'", source, problem)
        return feature, output

    def of_corpus(self, rows: Feature | Alignment, corpus: str) -> list[Artifact]:
        """Those of the artifacts of a feature or an alignment that hold rows of one corpus."""
        if isinstance(rows, Feature) and list(rows.corpora) == [corpus]:
            return rows.artifacts
        kind, utterances = "features" if isinstance(rows, Feature) else "intervals", self.corpus(corpus).utterances
        kept = {a.key for a in of_utterances(self.warehouse, kind, rows.step, rows.plugin, utterances)}
        return [a for a in rows.artifacts if a.key in kept]

    def _unpacked(self, model: str, corpus: Reading, chosen: Artifact | None) -> list[str]:
        """Utterances for which some role of a model, or of its teacher, has no row: what a split must leave out. Where
        the shards of just these corpora hold as many as there are they hold all, and none is opened."""
        models = [self.recipe.models[one] for one in (model, self.recipe.models[model].teacher) if one]
        n_wanted = sum(n_rows(a.path("utterances.parquet")) for a in corpus.utterances)
        lacking = [
            [shard for one in own for shard in one.shards]
            for entry in models for own in self._packed(entry).values()
            if entry.selection or entry.corpora != models[0].corpora or sum(one.n_utterances for one in own) < n_wanted
        ]  # fmt: skip
        if not lacking:
            return []
        wanted = ids_in(chosen) if chosen else _utterance_ids(corpus.utterances, "utterances.parquet")
        return sorted(set[str]().union(*(wanted - _utterance_ids(shards, "index.parquet") for shards in lacking)))

    def count_failures(
        self, artifacts: Sequence[Artifact], wanted: set[str] | None = None, counted: Container[str] = ()
    ) -> None:
        """Adds the failures rows of a step, and stops when they are more than the recipe allows. Two extractors of one
        file that both fail on an utterance are two failures.

        Args:
            wanted: input ids; no others count.
            counted: input ids whose failures were counted where they happened, and are only quoted here.
        """
        for artifact, row in failures_of(artifacts):
            params = artifact.request.params
            whose = digest(params.get("plugin", params.get("source", artifact.request.step)))
            if (wanted is None or row["input_id"] in wanted) and row["input_id"] not in counted:
                self.failures[(whose, row["utterance_id"])] = row
        if len(self.failures) > self.recipe.failures.allowed:
            first = next(iter(self.failures.values()))
            example = f"{first['utterance_id']}: {first['reason']}"
            raise TooManyFailures(first["step"], len(self.failures), self.recipe.failures.allowed, example)


def _each(product: Callable[[str], Any], names: Iterable[str]) -> None:
    """Asks for several products; one that waits keeps none of the others back."""
    for name in names:
        with suppress(Waits):
            product(name)


def _utterance_ids(artifacts: Sequence[Artifact], file: str) -> set[str]:
    found: set[str] = set()
    for path in [a.path(file) for a in artifacts]:
        with reading(path):
            found.update(column(path, "utterance_id"))
    return found
