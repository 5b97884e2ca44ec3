"""What was learned from, held against what judges: which test utterances a model, or one that it comes from, has met.

A learner is anything that was fitted to utterances of the lake: a checkpoint by the train part of its split, an
acoustic model by all it was given, and, where an encoder from outside is declared to know a corpus that the lake has,
that corpus. What an encoder from outside really met is not in the lake, so it is unknown here and never 0; so is all
that a learner or an evaluation shares when the lake lacks a part of what it is made of.
"""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
import numpy as np
import pyarrow as pa

from flows.audit.echoes import Echoes
from flows.leakage import GROUPS, TIMELINES
from warehouse import Warehouse
from warehouse.artifact import Artifact
from warehouse.schema import SPLIT, UTTERANCES
from warehouse.tables import check_files, read_table

KINDS = ("utterance", "chosen on", "sound", "time", "text", "near text", "speaker", "dialogue")
"""What a test utterance may share with what was learned from: itself; itself with what an epoch was chosen on; the same
stretch of sound; a span that overlaps in time; the same words; most of its 4-grams (`flows.similarity`); who speaks;
the dialogue."""

UNKNOWN = "unknown"

_MEMORY = "512MB"
_ROWS = 65_536


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
    pairs: Iterable[tuple[Learner, Evaluation]], progress: Callable[[int, int], None] = lambda done, total: None
) -> list[Overlap]:
    """What each of these evaluations shares with each learner.

    The test utterances, which are few, are held in memory; what was learned from passes by, once per learner. Speakers
    and dialogues are those of one corpus, and words are compared without case and punctuation, as in `flows.leakage`.
    """
    wanted: dict[tuple[str, str], tuple[Learner, dict[str, Evaluation]]] = {}
    for learner, evaluation in pairs:
        own = wanted.setdefault((learner.key, learner.name), (learner, {}))[1]
        own[evaluation.split.key] = evaluation
    judging = {key: evaluation for _, own in wanted.values() for key, evaluation in own.items()}
    found = []
    with (
        tempfile.TemporaryDirectory(prefix="emolake-") as folder,
        duckdb.connect(config={"memory_limit": _MEMORY, "temp_directory": folder}) as connection,
    ):
        connection.execute("SET enable_progress_bar = false")
        whole = [one for one in judging.values() if not one.missing]
        for one in whole:
            _enter(connection, one)
        tests = _Tests(connection) if whole else None
        for number, (learner, own) in enumerate(wanted.values(), start=1):
            counts = _counts(connection, learner, tests, own.keys()) if tests else {}
            for key, evaluation in own.items():
                if learner.missing or evaluation.missing:
                    found.append(Overlap(learner, evaluation, _n_test(evaluation), dict.fromkeys(KINDS)))
                elif key in counts:
                    found.append(Overlap(learner, evaluation, *counts[key]))
            progress(number, len(wanted))
    return found


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


def _n_test(evaluation: Evaluation) -> int:
    parts = read_table(evaluation.split.path("split.parquet"), SPLIT).column("part").to_pylist()
    return parts.count("test")


_GROUPED = ("speaker", "dialogue")


def _columns(timelines: Iterable[str] = TIMELINES) -> str:
    """What is compared of an utterance, in SQL."""
    groups = [f"({GROUPS[name]}) AS g_{name}" for name in dict.fromkeys((*_GROUPED, *timelines))]
    spans = [f"({TIMELINES[name]}) AS t_{name}" for name in timelines]
    return ", ".join(["utterance_id", "if(end_s > start_s, audio_id, NULL) AS audio_id", "text", *groups, *spans])


def _show(connection: duckdb.DuckDBPyConnection, readings: Sequence[Artifact], split: Artifact | None) -> None:
    """Lets SQL see `_utterances`, and `_split`, which is empty without one."""
    for view, own, name, schema in (
        ("_utterances", readings, "utterances", UTTERANCES),
        ("_split", [split] if split else [], "split", SPLIT),
    ):
        paths = [one.path(f"{name}.parquet") for one in own]
        check_files(paths, schema)
        if paths:
            found = connection.read_parquet([glob.escape(str(path)) for path in paths], hive_partitioning=False)
        else:
            found = connection.from_arrow(schema.empty_table())
        found.create_view(view, replace=True)


def _enter(connection: duckdb.DuckDBPyConnection, evaluation: Evaluation) -> None:
    """Adds its test utterances to the table of all."""
    _show(connection, evaluation.readings, evaluation.split)
    rows = (
        f"SELECT '{evaluation.split.key}' AS split, {_columns()} FROM _utterances "
        "SEMI JOIN (FROM _split WHERE part = 'test') USING (utterance_id)"
    )
    connection.execute(f"CREATE TEMP TABLE IF NOT EXISTS tests AS {rows} LIMIT 0")
    connection.execute(f"INSERT INTO tests {rows}")


class _Tests:
    """What all test utterances say, of which split each is, and the timelines on which any of them is: the others,
    which are most, need not be asked about what was learned from."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        tests = connection.sql("SELECT split, text FROM tests").to_arrow_table()
        lasting = "FROM tests WHERE g_{0} IS NOT NULL AND t_{0}[1] < t_{0}[2] LIMIT 1"
        self.timelines = [name for name in TIMELINES if connection.sql(lasting.format(name)).fetchall()]
        self._split = tests.column("split").to_numpy(zero_copy_only=False)
        self._echoes = Echoes(tests.column("text"))

    def again(self, keys: Collection[str], references: Iterable[pa.Array]) -> dict[str, dict[str, int]]:
        """Key of a split -> how many of its test utterances are said again in the same words, and nearly."""
        found = self._echoes.among(references, np.isin(self._split, sorted(keys)))
        counts = {}
        for key in keys:
            own = self._split == key
            counts[key] = {"text": int(found.same[own].sum()), "near text": int(found.near[own].sum())}
        return counts


def _counts(
    connection: duckdb.DuckDBPyConnection, learner: Learner, tests: _Tests, keys: Collection[str]
) -> dict[str, tuple[int, dict[str, int]]]:
    """Key of each of these splits that has test utterances -> how many, and how many of them share what."""
    if not learner.readings or learner.missing:
        return {}
    _show(connection, learner.readings, learner.split)
    only = "SEMI JOIN (FROM _split WHERE part = 'train') USING (utterance_id)" if learner.split else ""
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE learned AS SELECT {_columns(tests.timelines)} FROM _utterances {only}"
    )
    lines = " OR ".join(
        f"EXISTS (FROM learned AS l WHERE l.g_{name} = t.g_{name} AND l.t_{name}[1] < t.t_{name}[2] "
        f"AND t.t_{name}[1] < l.t_{name}[2] AND t.t_{name}[1] < t.t_{name}[2] AND l.t_{name}[1] < l.t_{name}[2])"
        for name in tests.timelines
    )
    met = {
        "utterance": "utterance_id IN (SELECT utterance_id FROM learned)",
        "chosen on": "utterance_id IN (SELECT utterance_id FROM _split WHERE part = 'dev')",
        "sound": "audio_id IN (SELECT audio_id FROM learned WHERE audio_id IS NOT NULL)", "time": lines or "false",
        **{name: f"g_{name} IN (SELECT g_{name} FROM learned WHERE g_{name} IS NOT NULL)" for name in _GROUPED},
    }  # fmt: skip
    flags = ", ".join(f'({sql}) AS "{kind}"' for kind, sql in met.items())
    sums = ", ".join(f'count(*) FILTER ("{kind}")' for kind in met)
    own = f"SELECT split, {flags} FROM tests AS t WHERE list_contains($keys, split)"
    query = f"SELECT split, count(*), {sums} FROM ({own}) GROUP BY split"
    rows = connection.execute(query, {"keys": sorted(keys)}).fetchall()
    counted = {row[0]: (row[1], dict(zip(met, row[2:], strict=True))) for row in rows}
    batches = connection.sql("SELECT text FROM learned").to_arrow_reader(_ROWS)
    again = tests.again(counted.keys(), (batch.column(0) for batch in batches))
    return {key: (n, {kind: (shared | again[key])[kind] for kind in KINDS}) for key, (n, shared) in counted.items()}
