"""Whether what judges a model was met before: declared of encoders from outside, measured of all that the lake fitted.

Both are told of every encoder and teacher that a model comes from, however far up its lineage, and of every evaluation
split that the lake holds. Nothing declared is unknown, and so are what an encoder from outside really met and all that
came by way of what is missing from the lake.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from rich.console import Console

from flows import show
from flows.audit.answered import remembering
from flows.audit.declarations import ANY_KIND, Declared, lost, placed, verdict
from flows.audit.overlap import (
    KINDS,
    UNKNOWN,
    Evaluation,
    Learner,
    Overlap,
    Progress,
    count_new,
    evaluation_of,
    evaluations,
    learner_of,
    overlaps,
)
from flows.audit.stated import bare
from flows.protocol import protocol_names
from flows.trained import Trained, of_fold_and_seed, reported, trained
from warehouse import Warehouse
from warehouse.artifact import Artifact
from warehouse.audit.lineage import edges
from warehouse.errors import EmolakeError, UnknownName
from warehouse.hashing import short_digest

UNHEARD = "unknown: it is not in this lake which corpus this is"
"""Of a test corpus whose reading is missing."""
UNJUDGED = "unknown: nothing of this lake judges it"

_FITTED = ("checkpoint", "acoustic_model")
_MEMORY = "overlaps-met"
_TO_BE_DECLARED = "what somebody may declare"


@dataclass(frozen=True)
class Judgement:
    """What was declared of one encoder against one test corpus of the lake."""

    encoder: Declared
    corpus: str
    says: str


@dataclass(frozen=True)
class Contamination:
    """What is known of a model, or of all models of a protocol.

    Args:
        subject: what was asked for.
        protocol: that judges it.
        fits: whom it is about.
    """

    subject: str
    protocol: str
    fits: Sequence[Trained]
    declared: Sequence[Judgement]
    measured: Sequence[Overlap]

    def declared_rows(self) -> list[dict[str, Any]]:
        """A table: encoder, what it was trained on, who says so, and what that means for each test corpus."""
        return [
            {
                "encoder": one.encoder.name, "trained on": ", ".join(one.encoder.trained_on) or UNKNOWN,
                "said by": one.encoder.said_by, "test corpus": one.corpus, "so": one.says,
            }
            for one in self.declared
        ]  # fmt: skip

    def measured_rows(self) -> list[dict[str, Any]]:
        """A table: learner, what it learned from, the protocol that judges, and of how many test utterances it met
        what: the least and the most over folds, or 'unknown'. Encoders from outside end it, with 'unknown'."""
        groups: dict[tuple[str, ...], list[Overlap]] = {}
        for one in sorted(self.measured, key=lambda one: one.evaluation.protocol != self.protocol):
            place = one.learner.name, ", ".join(one.learner.corpora), one.evaluation.protocol
            groups.setdefault((*place, ", ".join(one.evaluation.corpora)), []).append(one)
        rows = []
        for (name, learned, protocol, tested), own in groups.items():
            n_folds = len({one.evaluation.fold for one in own})
            rows.append({
                "learner": name, "learned from": learned,
                "protocol": f"{protocol}, {n_folds} folds" if n_folds > 1 else protocol, "tests": tested,
                "judges it": "yes" if protocol == self.protocol else "no",
                "test utterances": _range([one.n_test for one in own]),
                **{kind: _range([one.shared[kind] for one in own]) for kind in KINDS},
            })  # fmt: skip
        for encoder in dict.fromkeys(one.encoder.name for one in self.declared):
            blank = dict.fromkeys(("tests", "judges it", "test utterances"), "")
            outside = {"learner": encoder, "learned from": "not in this lake", "protocol": "all"}
            rows.append(outside | blank | dict.fromkeys(KINDS, UNKNOWN))
        return rows

    def as_json(self) -> dict[str, Any]:
        return {
            "subject": self.subject, "protocol": self.protocol,
            "fits": [fit.as_json() for fit in self.fits],
            "declared": [
                {
                    "encoder": one.encoder.name, "folder": one.encoder.folder, "digest": one.encoder.digest,
                    "trained_on": list(one.encoder.trained_on), "said_by": one.encoder.said_by,
                    "source": one.encoder.source, "said_too": list(one.encoder.said_too), "corpus": one.corpus,
                    "verdict": one.says,
                }
                for one in self.declared
            ],
            "measured": [
                {
                    "learner": one.learner.name, "key": one.learner.key, "learned_from": list(one.learner.corpora),
                    "protocol": one.evaluation.protocol, "fold": one.evaluation.fold,
                    "tests": list(one.evaluation.corpora), "n_test": one.n_test, "shared": dict(one.shared),
                }
                for one in self.measured
            ],
            "unknown": list(dict.fromkeys(one.encoder.name for one in self.declared)),
        }  # fmt: skip


def contamination(
    warehouse: Warehouse, name: str, fold: str | None = None, seed: int | None = None,
    progress: Progress = lambda done, total: None,
) -> Contamination:  # fmt: skip
    """What is known of the encoders and teachers behind a model, or behind all reported models of a protocol.

    A model is held against the fold that judges it and against every fold of every other protocol of the lake; from
    what the other folds of its own protocol test it is meant to learn. A protocol's models are held against the folds
    that judge them. Models that teach it, or that it began with, count like itself, however far up; those of one kind
    that were fitted fold by fold are told of together.

    Args:
        name: as `flows.trained.trained` takes it, or a protocol's.
        fold, seed: only fits of these.

    Raises:
        UnknownName: no report of the lake has a model of this protocol, or none of this fold and seed.
        Whatever `flows.trained.trained` raises.
    """
    judging, splits = evaluations(warehouse), warehouse.by_digest("split")
    stem = name.partition(":")[0]
    if name not in {one.protocol for one in judging} and (
        stem not in protocol_names() or stem in warehouse.refs("reports")
    ):
        fits = trained(warehouse, name, fold, seed)
        return _contamination(warehouse, name, fits, _protocol(splits, fits[0].checkpoint), judging, progress)
    every = reported(warehouse)
    fits = [fit for fit in every if _protocol(splits, fit.checkpoint) == name]
    if not fits:
        known = {_protocol(splits, fit.checkpoint) for fit in every}
        raise UnknownName("protocol with fits in a report of this lake", name, known)
    fits = of_fold_and_seed(fits, name, fold, seed)
    return _contamination(warehouse, name, fits, name, [], progress)


def count_all(warehouse: Warehouse, progress: Progress = lambda done, total: None) -> None:
    """Counts what is not remembered yet of all models of the lake: whoever asks of one of them, or of a protocol that
    judges them, need only look it up. Where anything comes from outside, each corpus of the lake whose tables are on
    this host is counted as if that had learned from it: somebody may declare so later.

    Raises:
        Whatever `contamination` raises of what is damaged; what was counted before that is remembered.
    """
    fitted = [a for a in warehouse.artifacts("checkpoint") if "split" in a.request.inputs]
    checkpoints = {repr(sorted(a.request.inputs.items())): a for a in fitted}.values()  # one of those alike
    if not checkpoints:
        return
    judging, splits = evaluations(warehouse), warehouse.by_digest("split")
    asked = [(a.key, a, _of_others(judging, _protocol(splits, a))) for a in checkpoints]
    pairs, outside = _held(warehouse, asked)
    if outside:
        readings = warehouse.by_digest("utterances")
        corpora = [_all_of(_TO_BE_DECLARED, ref, readings) for ref in warehouse.refs("corpora").values()]
        here = [one for one in corpora if all(read.is_here("utterances.parquet") for read in one.readings)]
        judges = {one.identity: one for _, one in pairs}.values()
        pairs += [(corpus, one) for corpus in here for one in judges]
    with remembering(warehouse, _MEMORY) as known:
        count_new(pairs, progress, known)


def count_ahead(warehouse: Warehouse, console: Console) -> str:
    """`count_all` at the end of what changed a lake and is done, with a bar: what is damaged is told and ends nothing.

    Returns:
        Why it could not be counted, '' where it could.
    """
    try:
        with show.counting(console, "comparing what was learned from") as progress:
            count_all(warehouse, progress)
    except (EmolakeError, OSError, MemoryError, pa.ArrowException) as error:
        return f"what models learned from could not be compared with what judges them: {error}"
    return ""


# -- inside ----------------------------------------------------------------------------------------------------------


def _contamination(
    warehouse: Warehouse, subject: str, fits: Sequence[Trained], protocol: str, judging: Sequence[Evaluation],
    progress: Progress,
) -> Contamination:  # fmt: skip
    """Of these fits, held against their own folds and all evaluations of other protocols."""
    others = _of_others(judging, protocol)
    pairs, outside = _held(warehouse, [(fit.name, fit.checkpoint, others) for fit in fits])
    tested = _tested(warehouse, [one for _, one in pairs])
    declared = [
        Judgement(one, corpus, _says(warehouse, one, corpus, reader))
        for one in outside
        for corpus, reader in (tested or {"": ""}).items()
    ]
    with remembering(warehouse, _MEMORY) as known:
        return Contamination(subject, protocol, fits, declared, overlaps(pairs, progress, known))


def _of_others(judging: Sequence[Evaluation], protocol: str) -> list[Evaluation]:
    return [one for one in judging if one.protocol != protocol]


def _held(
    warehouse: Warehouse, asked: Sequence[tuple[str, Artifact, Sequence[Evaluation]]]
) -> tuple[list[tuple[Learner, Evaluation]], list[Declared]]:
    """All that checkpoints come from, each with its own fold and the evaluations that are given with it, and what among
    that comes from outside, by digest.

    Args:
        asked: what a checkpoint is called, the checkpoint, evaluations.
    """
    sources: dict[str, list[Artifact]] = {}
    for user, _, source in edges(warehouse.artifacts()):
        sources.setdefault(user.key, []).append(source)
    gone = lost(warehouse, warehouse.artifacts())
    readings, splits = warehouse.by_digest("utterances"), warehouse.by_digest("split")
    pairs: list[tuple[Learner, Evaluation]] = []
    outside: dict[tuple[str, str], Declared] = {}
    names: dict[str, str] = {}
    for called, checkpoint, others in asked:
        above = _above(sources, checkpoint)
        encoders = placed(warehouse, above) + [missing for one in above for missing in gone.get(one.key, ())]
        outside |= {(one.digest, one.name): one for one in encoders}
        learners = [learner_of(checkpoint, called, readings, splits)]
        for one in (a for a in above if a.request.kind in _FITTED and a.key != checkpoint.key):
            params = {name: value for name, value in one.request.params.items() if name != "seed"}
            name = names.setdefault(short_digest([one.request.step, params]), f"{one.request.step} {one.key[:12]}")
            learners.append(learner_of(one, name, readings, splits))
        learners += [one for encoder in encoders for one in _as_declared(warehouse, encoder, readings)]
        split = splits.get(checkpoint.request.inputs["split"][0])
        own = evaluation_of(split, readings) if split else None
        pairs += [(learner, one) for learner in learners for one in [*filter(None, [own]), *others]]
    return pairs, [one for _, one in sorted(outside.items())]


def _says(warehouse: Warehouse, one: Declared, corpus: str, reader: str) -> str:
    if not corpus:
        return UNJUDGED
    return UNHEARD if corpus == UNKNOWN else verdict(warehouse.root, one, {corpus: reader})


def _above(sources: Mapping[str, Sequence[Artifact]], artifact: Artifact) -> list[Artifact]:
    """An artifact and all it was made from, by key."""
    found, waiting = {artifact.key: artifact}, [artifact]
    while waiting:
        new = {one.key: one for one in sources.get(waiting.pop().key, ()) if one.key not in found}
        found |= new
        waiting += new.values()
    return [found[key] for key in sorted(found)]


def _protocol(splits: Mapping[str, Artifact], checkpoint: Artifact) -> str:
    split = splits.get(checkpoint.request.inputs["split"][0])
    return str(split.request.params["protocol"]) if split else ""


def _as_declared(
    warehouse: Warehouse, encoder: Declared, readings: Mapping[str, Artifact]
) -> Iterable[Learner]:  # fmt: skip
    """The corpora of the lake that an encoder is declared to know, as if it had learned from all of each."""
    for name, ref in warehouse.refs("corpora").items():
        words = {bare(name), bare(ref.get("reader", "").partition(".")[2])} - {bare(one) for one in ANY_KIND}
        if any(len(word) > 2 and word in bare(said) for word in words for said in encoder.corpora):
            yield _all_of(f"{encoder.name}, as declared", ref, readings)


def _all_of(name: str, ref: Mapping[str, Any], readings: Mapping[str, Artifact]) -> Learner:
    """Who would have learned from all of a corpus, as its name points at it."""
    cited = ref.get("utterances", ())
    own = [readings[digest] for digest in cited if digest in readings]
    missing = [digest for digest in cited if digest not in readings]
    return Learner(name, "", own, missing=missing)


def _tested(warehouse: Warehouse, judging: Sequence[Evaluation]) -> dict[str, str]:
    """Corpus of a test part -> its reader; that of what it is told from, where it is told again."""
    refs = warehouse.refs("corpora")
    names = sorted({name for one in judging for name in one.corpora})
    return {name: refs.get(name, {}).get("reader", "").partition(".")[2] for name in names}


def _range(values: Sequence[int | None]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return UNKNOWN
    low, high = min(known), max(known)
    return str(low) if low == high else f"{low}–{high}"
