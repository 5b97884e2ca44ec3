"""A recipe as a line of works: raw files, utterances, intervals, features, shards, checkpoints, predictions, report.

The line is described once. What happens with its works is the doer's: a plan looks them up, a run answers them.
Every product is asked for by name and made of what it needs, so the order of steps follows from the recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from features import ingest
from features.aligners import provided
from features.extract import works as extract_works
from features.inventory import column, failed, holding, ids_in, row_key, wanted_ids
from features.plugin import FeatureSpec, RawFile
from features.raw import RawDigests
from flows import protocol
from flows.doer import Doer, Waits
from flows.pack import pack_text_works, pack_works
from flows.recipe import Recipe, plugin_of, step_of
from flows.references import TEXT
from flows.reporting import report_of
from flows.score import Fitted
from flows.select import selection_work
from models.orders import fit_request, predict_request
from warehouse import Warehouse
from warehouse.artifact import Artifact, Work
from warehouse.errors import InvalidField, TooManyFailures
from warehouse.hashing import digest


@dataclass(frozen=True)
class Reading:
    """A corpus as ingested now. `units` has each unit's raw files, their record, and its utterances."""

    utterances: list[Artifact]
    labels: list[Artifact]
    units: Mapping[str, tuple[Sequence[RawFile], Artifact, Artifact]] = field(default_factory=dict)


@dataclass(frozen=True)
class Feature:
    """An extractor's rows for the corpora of its entry."""

    step: str
    plugin: Any
    outputs: Mapping[str, FeatureSpec]
    artifacts: list[Artifact]


T = TypeVar("T")


class Line:
    """The products of one recipe over one lake.

    Args:
        roots: corpus -> folder of its raw files.
        device: for extractors; jobs get theirs from whoever launches them.
    """

    def __init__(
        self, recipe: Recipe, warehouse: Warehouse, roots: Mapping[str, Path], doer: Doer, device: str = "cpu"
    ) -> None:
        self.recipe, self.warehouse, self.roots, self.doer, self.device = recipe, warehouse, roots, doer, device
        self.failures: dict[tuple[str, str], dict[str, Any]] = {}
        self._made: dict[str, Any] = {}

    # -- the five verbs ----------------------------------------------------------------------------------------

    def ingest(self) -> None:
        _each(self.corpus, self.recipe.corpora)

    def align(self) -> None:
        if self.recipe.align:
            with suppress(Waits):
                self.intervals()

    def extract(self) -> None:
        _each(self.feature, self.recipe.features)

    def pack(self) -> None:
        _each(self.shards, self.recipe.models)

    def run(self) -> None:
        """Everything the recipe declares, up to its report."""
        self.ingest()
        self.align()
        self.extract()
        _each(self.model, self.recipe.models)
        if self.recipe.report:
            with suppress(Waits):
                self.report()

    # -- products ----------------------------------------------------------------------------------------------

    def corpus(self, name: str) -> Reading:
        return self._once(f"ingest {name}", lambda: self._corpus(name))

    def _corpus(self, name: str) -> Reading:
        entry = self.recipe.corpora[name]
        reader, step = plugin_of("corpora", entry, f"corpus '{name}'"), step_of("corpora", entry)
        root = self.roots[name]
        digests = RawDigests(self.warehouse.root)
        try:
            works = ingest.raw_works(digests, name, reader, root, self.doer.hashing(name))
        finally:
            digests.close()
        recorded = self.doer.step(f"record {name}", list(works.values()))
        units = {unit: (work, artifact) for (unit, work), artifact in zip(works.items(), recorded, strict=True)}
        read = self.doer.step(f"ingest {name}", ingest.unit_works(self.warehouse.root, name, step, reader, root, units))
        self.doer.remember(f"corpora/{name}", ingest.corpus_ref(step, root, recorded, read))
        self._count_failures(read)
        kinds = {kind: [a for a in read if a.request.kind == kind] for kind in ("utterances", "labels")}
        whole = {
            unit: (work.arguments["files"], artifact, utterances)
            for (unit, (work, artifact)), utterances in zip(units.items(), kinds["utterances"], strict=True)
        }
        return Reading(kinds["utterances"], kinds["labels"], whole)

    def corpora_of(self, model: str) -> Reading:
        """All corpora of a model as one."""
        own = [self.corpus(name) for name in self.recipe.models[model].corpora]
        return Reading([a for one in own for a in one.utterances], [a for one in own for a in one.labels])

    def intervals(self) -> list[Artifact]:
        return self._once("align", self._intervals)

    def _intervals(self) -> list[Artifact]:
        entry = self.recipe.align
        if entry is None:
            raise InvalidField(f"recipe '{self.recipe.name}'", "align", "must be given to align")
        plugin = plugin_of("align", entry, "the aligner")
        if getattr(plugin, "is_shipped", False):
            return [artifact for corpus in entry.corpora for artifact in self._shipped_intervals(corpus, plugin)]
        return self._rows("align", "intervals", step_of("align", entry), plugin, entry.corpora)

    def _shipped_intervals(self, name: str, plugin: provided.Provided) -> list[Artifact]:
        entry, reading = self.recipe.corpora[name], self.corpus(name)
        reader, step = plugin_of("corpora", entry, f"corpus '{name}'"), step_of("corpora", entry)
        works = provided.works(self.warehouse.root, plugin, name, step, reader, self.roots[name], reading.units)
        made = self.doer.step(f"align {name}", works)
        self._count_failures(made)
        return made

    def feature(self, name: str) -> Feature:
        return self._once(f"extract {name}", lambda: self._feature(name))

    def _feature(self, name: str) -> Feature:
        entry = self.recipe.features[name]
        step, where = step_of("features", entry), f"feature '{name}'"
        if entry.checkpoint is None:
            checkpoint = None
            plugin = plugin_of("features", entry, where)
            outputs = plugin.outputs()
        else:
            checkpoint = self._only_checkpoint(entry.checkpoint)
            plugin = plugin_of("features", entry, where, weights=checkpoint.digest)
            outputs = plugin.outputs(checkpoint.folder)
        artifacts = self._rows(f"extract {name}", "features", step, plugin, entry.corpora, checkpoint)
        hops_s = {output: spec.hop_s for output, spec in outputs.items() if spec.level == "frame" and spec.hop_s}
        known = {"plugin_key": row_key(step, plugin), "needs": plugin.needs, "hops_s": hops_s}
        self.doer.remember(f"features/{name}", known)
        return Feature(step, plugin, outputs, artifacts)

    def _rows(
        self, name: str, kind: str, step: str, plugin: Any, corpora: Sequence[str], checkpoint: Artifact | None = None
    ) -> list[Artifact]:
        """Every artifact that holds rows of this plug-in for these corpora, after making what is missing."""
        utterances = [artifact for corpus in corpora for artifact in self.corpus(corpus).utterances]
        wanted = wanted_ids(utterances, plugin.needs)
        roots = {corpus: self.roots[corpus] for corpus in corpora}
        folder = checkpoint.folder if checkpoint else None
        works = extract_works(self.warehouse, step, plugin, utterances, roots, self.device, folder)
        self.doer.step(name, works, n_rows=len(wanted))
        artifacts = holding(self.warehouse, kind, step, plugin, wanted)
        self._count_failures(artifacts, wanted)
        return artifacts

    def selection(self, name: str) -> Artifact:
        return self._once(f"select {name}", lambda: self._selection(name))

    def _selection(self, name: str) -> Artifact:
        entry = self.recipe.selections[name]
        corpus = self.corpus(entry.corpus)
        feature, output = self._source(entry.logits)
        work = selection_work(
            corpus.utterances, self._of_corpus(feature, corpus), feature.outputs[output].names,
            feature.plugin.needs, entry.threshold, entry.thresholds,
        )  # fmt: skip
        return self.doer.step(f"select {name}", [work])[0]

    def shards(self, model: str) -> dict[str, list[Artifact]]:
        """Role -> the shards that a model reads, corpus by corpus."""
        entry = self.recipe.models[model]
        return {
            role: [shard for corpus in entry.corpora for shard in self._shards(corpus, source, entry.selection)]
            for role, source in entry.inputs.items()
        }

    def _shards(self, corpus: str, source: str, selection: str | None) -> list[Artifact]:
        chosen = f" ({selection})" if selection else ""
        name = f"pack {corpus} {source}{chosen}"
        return self._once(name, lambda: self._pack(name, corpus, source, selection))

    def _pack(self, name: str, corpus_name: str, source: str, selection: str | None) -> list[Artifact]:
        utterances = self.corpus(corpus_name).utterances
        keep = ids_in(self.selection(selection)) if selection else None
        if source == TEXT:
            return self.doer.step(name, pack_text_works(utterances, keep))
        feature, output = self._source(source)
        rows = self._of_corpus(feature, self.corpus(corpus_name))
        spec = feature.outputs[output]
        return self.doer.step(name, pack_works(utterances, feature.step, feature.plugin, output, spec, rows, keep))

    def model(self, name: str) -> list[Fitted]:
        return self._once(f"fit {name}", lambda: self._model(name))

    def _model(self, name: str) -> list[Fitted]:
        entry = self.recipe.models[name]
        shards = {role: [a.digest for a in own] for role, own in self.shards(name).items()}
        splits = self._splits(name)
        init = self._only_checkpoint(entry.init).digest if entry.init else None
        places = [(fold, seed) for fold in splits for seed in entry.seeds]
        requests = [
            fit_request(
                entry.student, entry.fields, fit=entry.fit, objective=entry.objective, classes=self._classes(name),
                seed=seed, shards=shards, split=splits[fold].digest, init=init,
            )
            for fold, seed in places
        ]  # fmt: skip
        made = self.doer.step(f"fit {name}", [Work(request) for request in requests])
        return [
            Fitted(name, fold, seed, splits[fold], checkpoint)
            for (fold, seed), checkpoint in zip(places, made, strict=True)
        ]

    def _splits(self, model: str) -> dict[str, Artifact]:
        """Fold -> its split."""
        entry, rules, corpus = self.recipe.models[model], self.recipe.protocol(model), self.corpora_of(model)
        chosen = self.selection(entry.selection) if entry.selection else None
        folds = protocol.folds_of(rules, corpus.utterances)
        without = self._unpacked(model, corpus, chosen)
        works = [
            protocol.split_work(rules, fold, folds, corpus.utterances, corpus.labels, chosen, without) for fold in folds
        ]
        return dict(zip(folds, self.doer.step(f"split for {model}", works), strict=True))

    def predictions(self, name: str) -> list[tuple[Fitted, Artifact]]:
        return self._once(f"predict {name}", lambda: self._predictions(name))

    def _predictions(self, name: str) -> list[tuple[Fitted, Artifact]]:
        fitted = self.model(name)
        shards = {role: [a.digest for a in own] for role, own in self.shards(name).items()}
        entry = self.recipe.models[name]
        student, parts = entry.student, self.recipe.protocol(name).judged_parts
        requests = [
            predict_request(student, fit.checkpoint.digest, shards=shards, split=fit.split.digest, parts=parts)
            for fit in fitted
        ]
        made = self.doer.step(f"predict {name}", [Work(request) for request in requests])
        return list(zip(fitted, made, strict=True))

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

    def _source(self, source: str) -> tuple[Feature, str]:
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

    def _of_corpus(self, feature: Feature, corpus: Reading) -> list[Artifact]:
        """Those of a feature's artifacts that hold rows of one corpus."""
        wanted = wanted_ids(corpus.utterances, feature.plugin.needs)
        kept = {a.key for a in holding(self.warehouse, "features", feature.step, feature.plugin, wanted)}
        return [a for a in feature.artifacts if a.key in kept]

    def _only_checkpoint(self, model: str) -> Artifact:
        """The checkpoint of a model that others start from or extract with."""
        entry = self.recipe.models[model]
        folds = protocol.folds_of(self.recipe.protocol(model), self.corpora_of(model).utterances)
        n_fits = len(folds) * len(entry.seeds)
        if n_fits != 1:  # said before anything is fitted
            problem = (
                f"has {n_fits} fits, so nothing can start from its checkpoint or extract with it: "
                "give it a protocol without folds and one seed"
            )
            raise InvalidField(f"recipe '{self.recipe.name}'", f"models.{model}", problem)
        return self.model(model)[0].checkpoint

    def _classes(self, model: str) -> list[str]:
        """The classes of a model: its protocol's, or those of the teacher that chose its utterances."""
        entry = self.recipe.models[model]
        own = self.recipe.protocol(model).classes
        if own or entry.selection is None:
            return own
        teacher = self.recipe.features[self.recipe.selections[entry.selection].logits.split(".")[0]].checkpoint
        return self._classes(str(teacher))

    def _unpacked(self, model: str, corpus: Reading, chosen: Artifact | None) -> list[str]:
        """Utterances for which some role has no row: what a split must leave out."""
        wanted = ids_in(chosen) if chosen else _utterance_ids(corpus.utterances, "utterances.parquet")
        packed = [_utterance_ids(artifacts, "index.parquet") for artifacts in self.shards(model).values()]
        return sorted({utterance_id for ids in packed for utterance_id in wanted - ids})

    def _count_failures(self, artifacts: Sequence[Artifact], wanted: set[str] | None = None) -> None:
        """Adds the failures rows of a step, and stops when they are more than the recipe allows. Two extractors of one
        file that both fail on an utterance are two failures."""
        for artifact in artifacts:
            whose = digest(artifact.request.params.get("plugin", artifact.request.step))
            for row in failed([artifact]):
                if wanted is None or row["input_id"] in wanted:
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
    return {utterance_id for a in artifacts for utterance_id in column(a.path(file), "utterance_id")}
