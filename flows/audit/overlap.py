"""What was learned from, held against what judges: which test utterances a model, or one that it comes from, has met.

A learner is anything that was fitted to utterances of the lake: a checkpoint by the train part of its split, an
acoustic model by all it was given, and, where an encoder from outside is declared to know a corpus that the lake has,
that corpus. What an encoder from outside really met is not in the lake, so it is unknown here and never 0; so is all
that a learner or an evaluation shares when the lake lacks a part of what it is made of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from flows.leakage import GROUPS, TIMELINES
from flows.similarity import CONTAINED, LEAST_WORDS, N
from warehouse import Warehouse
from warehouse.artifact import Artifact
from warehouse.hashing import short_digest
from warehouse.schema import SPLIT
from warehouse.tables import read_table

KINDS = ("utterance", "chosen on", "sound", "time", "text", "near text", "speaker", "dialogue")
"""What a test utterance may share with what was learned from: itself; itself with what an epoch was chosen on; the same
stretch of sound; a span that overlaps in time; the same words; most of its 4-grams (`flows.similarity`); who speaks;
the dialogue."""

UNKNOWN = "unknown"

Progress = Callable[[int, int], None]
"""Told how many learners are counted, of how many."""

_COUNTED = [1, KINDS, GROUPS, TIMELINES, N, LEAST_WORDS, CONTAINED]
"""What is counted and how; its number is raised by hand when the same artifacts share another number of utterances."""


@dataclass(frozen=True)
class Learner:
    """Something that was fitted to utterances of the lake.

    Args:
        name: for people; learners of one name are told of together.
        key: of the artifact; '' for what an encoder is declared to know.
        readings: the utterances that its split, or it, is made of.
        split: whose train part it learned from; None where it learned from all of them.
        missing: digests of what it learned from, too, and the lake does not have.
    """

    name: str
    key: str
    readings: Sequence[Artifact]
    split: Artifact | None = None
    missing: Sequence[str] = ()

    @property
    def corpora(self) -> tuple[str, ...]:
        """What it learned from, by name; 'unknown' ends it where some of that is missing."""
        return _named(self.readings, self.missing)

    @cached_property
    def identity(self) -> str:
        """A digest of all utterances that it learned from."""
        return _identity(self.readings, self.split)


@dataclass(frozen=True)
class Evaluation:
    """One fold of a protocol that judges with a test part. `missing` are the digests of readings that the lake does not
    have."""

    protocol: str
    fold: str
    split: Artifact
    readings: Sequence[Artifact]
    missing: Sequence[str] = ()

    @property
    def corpora(self) -> tuple[str, ...]:
        return _named(self.readings, self.missing)

    @cached_property
    def identity(self) -> str:
        """A digest of all utterances that judge."""
        return _identity(self.readings, self.split)


@dataclass(frozen=True)
class Overlap:
    """How many of the `n_test` utterances that judge share each of KINDS with what a learner learned from; None where
    something of either is missing, so that nobody knows."""

    learner: Learner
    evaluation: Evaluation
    n_test: int
    shared: Mapping[str, int | None] = field(default_factory=dict)


def evaluations(warehouse: Warehouse) -> list[Evaluation]:
    """Every fold of every protocol that has a test part in this lake; of splits of one fold and the same corpora, made
    for models that lack other utterances, the last."""
    readings = warehouse.by_digest("utterances")
    splits = warehouse.artifacts("split")  # oldest first
    every = [one for split in splits if (one := evaluation_of(split, readings))]
    found = {(one.protocol, one.fold, one.corpora): one for one in every}
    return [found[place] for place in sorted(found)]


def evaluation_of(split: Artifact, readings: Mapping[str, Artifact]) -> Evaluation | None:
    """A split as what judges; None where its protocol has no test part.

    Args:
        readings: the utterances of the lake, by digest.
    """
    (own, missing), params = _read_by(split, readings), split.request.params
    judges = bool(own or missing) and params.get("rules", {}).get("test", "false") != "false"
    return Evaluation(params["protocol"], params["fold"], split, own, missing) if judges else None


def learner_of(
    fitted: Artifact, name: str, readings: Mapping[str, Artifact], splits: Mapping[str, Artifact]
) -> Learner:  # fmt: skip
    """A checkpoint, or an acoustic model, with what it learned from.

    Args:
        readings, splits: of the lake, by digest.
    """
    if "split" not in fitted.request.inputs:
        own, missing = _there(fitted.request.inputs.get("utterances", ()), readings)
        return Learner(name, fitted.key, own, missing=missing)
    digest = fitted.request.inputs["split"][0]
    if digest not in splits:  # also where a purge left nobody in it
        return Learner(name, fitted.key, [], missing=[digest])
    own, missing = _read_by(splits[digest], readings)
    return Learner(name, fitted.key, own, splits[digest], missing)


def overlaps(
    pairs: Iterable[tuple[Learner, Evaluation]],
    progress: Progress = lambda done, total: None,
    known: dict[str, Any] | None = None,
) -> list[Overlap]:
    """What each of these evaluations shares with each learner.

    Speakers and dialogues are those of one corpus, and words are compared without case and punctuation, as in
    `flows.leakage`.

    Args:
        known: what was counted before, by a digest of all that it rests on; what is counted now is added.
    """
    known, pairs = {} if known is None else known, list(pairs)
    count_new(pairs, progress, known)
    wanted: dict[tuple[str, ...], tuple[Learner, dict[str, Evaluation]]] = {}
    for learner, evaluation in pairs:
        place = learner.key, learner.name, learner.identity, *learner.missing  # who is declared to know two has no key
        own = wanted.setdefault(place, (learner, {}))[1]
        own[evaluation.split.key] = evaluation
    found = []
    for learner, own in wanted.values():
        for one in own.values():
            if _is_unknown(learner, one):
                found.append(Overlap(learner, one, _n_test(one), dict.fromkeys(KINDS)))
            elif (counted := known[_question(learner, one)]) is not None:
                found.append(Overlap(learner, one, counted[0], dict(zip(KINDS, counted[1], strict=True))))
    return found


def count_new(pairs: Iterable[tuple[Learner, Evaluation]], progress: Progress, known: dict[str, Any]) -> None:
    """Adds to what is known what these share, as far as that can be told; nothing is read of what was counted before.
    Of those who learned from the same one is counted."""
    whole = ((learner, one) for learner, one in pairs if not _is_unknown(learner, one))
    asked = {(learner.identity, one.identity): (learner, one) for learner, one in whole}
    new: dict[str, tuple[Learner, list[Evaluation]]] = {}
    for learner, one in asked.values():
        if _question(learner, one) not in known:
            new.setdefault(learner.identity, (learner, []))[1].append(one)
    if new:
        from flows.audit.counted import count  # with DuckDB, which takes a while

        for number, (learner, told) in enumerate(count(list(new.values())), start=1):
            known |= {_question(learner, one): counted for one, counted in told}
            progress(number, len(new))


# -- inside ----------------------------------------------------------------------------------------------------------


def _read_by(split: Artifact, readings: Mapping[str, Artifact]) -> tuple[list[Artifact], list[str]]:
    """The utterances whose ids a split has, and the digests of those that are missing: those told again, where there
    are any."""
    inputs = split.request.inputs
    return _there(inputs.get("told", inputs.get("utterances", ())), readings)


def _there(digests: Iterable[str], readings: Mapping[str, Artifact]) -> tuple[list[Artifact], list[str]]:
    cited = list(dict.fromkeys(digests))
    return [readings[one] for one in cited if one in readings], [one for one in cited if one not in readings]


def _named(readings: Iterable[Artifact], missing: Sequence[str]) -> tuple[str, ...]:
    names = {str(a.request.params.get("corpus", "?")) for a in readings}
    return (*sorted(names), *([UNKNOWN] if missing else []))


def _identity(readings: Sequence[Artifact], split: Artifact | None) -> str:
    return short_digest([[one.digest for one in readings], split and split.digest])


def _is_unknown(learner: Learner, evaluation: Evaluation) -> bool:
    return bool(learner.missing or evaluation.missing)


def _question(learner: Learner, evaluation: Evaluation) -> str:
    """What a count rests on: the bytes of both, and what is counted."""
    return short_digest([_COUNTED, learner.identity, evaluation.identity])


def _n_test(evaluation: Evaluation) -> int:
    parts = read_table(evaluation.split.path("split.parquet"), SPLIT).column("part").to_pylist()
    return parts.count("test")
