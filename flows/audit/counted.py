"""How many test utterances share what with what was learned from: ids, sounds, times and groups in SQL, words as arrays
(`flows.audit.echoes`)."""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa

from flows.audit.echoes import Echoes
from flows.audit.overlap import KINDS
from flows.audit.wordings import Numbers, numbers_of
from flows.leakage import GROUPS, TIMELINES
from warehouse.artifact import Artifact
from warehouse.errors import QueryFailed
from warehouse.schema import SPLIT, UTTERANCES
from warehouse.tables import check_files

if TYPE_CHECKING:
    from flows.audit.overlap import Evaluation, Learner

Counted = tuple[int, list[int]]
"""Test utterances, and those of them that share each of KINDS."""

_MEMORY = "512MB"
"""Of the database: what is larger goes to a temporary folder."""

_ROWS = 32_768
"""Texts that are held against the test utterances at a time: what is made of so many stays near the processor."""

_AT_ONCE = 63
"""Learners that are counted together: each is a bit of a number with a sign."""


def count(
    pairs: Sequence[tuple[Learner, Sequence[Evaluation]]],
) -> Iterator[tuple[Learner, list[tuple[Evaluation, Counted | None]]]]:
    """Of each learner and each of its evaluations, how many test utterances there are and how many of them share each
    of KINDS; None where there are none, or nothing was learned from. Nothing of them may be missing.

    The test utterances, which are few, are held in memory; what was learned from passes by, once for all learners that
    learned from parts of the same readings, each of which is a bit of a number that tells whose an utterance is.

    Raises:
        SchemaMismatch, QueryFailed: a table is damaged.
    """
    try:
        with (
            tempfile.TemporaryDirectory(prefix="emolake-") as folder,
            duckdb.connect(config={"memory_limit": _MEMORY, "temp_directory": folder}) as connection,
        ):
            yield from _counted(connection, pairs)
    except duckdb.Error as error:
        said, _, _ = str(error).partition("\n")  # behind it stands the query
        why = f"tables of utterances or splits cannot be compared, see `emolake verify` ({said})"
        raise QueryFailed(why) from error


# -- inside ----------------------------------------------------------------------------------------------------------

_GROUPED = ("speaker", "dialogue")


def _counted(
    connection: duckdb.DuckDBPyConnection, pairs: Sequence[tuple[Learner, Sequence[Evaluation]]]
) -> Iterator[tuple[Learner, list[tuple[Evaluation, Counted | None]]]]:
    connection.execute("SET enable_progress_bar = false")
    judging = {one.split.key: one for _, own in pairs for one in own}
    _enter(connection, list(judging.values()))
    tests = _Tests(connection, {reading.key for one in judging.values() for reading in one.readings})
    number_of = {key: number for number, key in enumerate(judging)}
    together: dict[tuple[str, ...], list[tuple[Learner, Sequence[Evaluation]]]] = {}
    for learner, own in pairs:
        together.setdefault(_keys(learner.readings), []).append((learner, own))
    for group in together.values():
        for start in range(0, len(group), _AT_ONCE):
            learners, judged = zip(*group[start : start + _AT_ONCE], strict=True)
            splits = [[number_of[one.split.key] for one in own] for own in judged]
            counts = _counts(connection, learners, tests, splits)
            for learner, own, numbers, counted in zip(learners, judged, splits, counts, strict=True):
                yield learner, [(one, counted.get(number)) for one, number in zip(own, numbers, strict=True)]


def _keys(readings: Sequence[Artifact]) -> tuple[str, ...]:
    return tuple(one.key for one in readings)


def _columns(timelines: Iterable[str] = TIMELINES) -> str:
    """What is compared of an utterance, in SQL."""
    groups = [f"({GROUPS[name]}) AS g_{name}" for name in dict.fromkeys((*_GROUPED, *timelines))]
    spans = [f"({TIMELINES[name]}) AS t_{name}" for name in timelines]
    return ", ".join(["utterance_id", "if(end_s > start_s, audio_id, NULL) AS audio_id", *groups, *spans])


def _show(connection: duckdb.DuckDBPyConnection, view: str, artifacts: Sequence[Artifact], schema: pa.Schema) -> None:
    """Lets SQL see the rows of these: of their table of this schema."""
    name = "split" if schema is SPLIT else "utterances"
    paths = [one.path(f"{name}.parquet") for one in artifacts]
    check_files(paths, schema)
    if paths:
        found = connection.read_parquet([glob.escape(str(path)) for path in paths], hive_partitioning=False)
    else:
        found = connection.from_arrow(schema.empty_table())
    found.create_view(view, replace=True)


def _show_parts(
    connection: duckdb.DuckDBPyConnection, readings: Sequence[Artifact], splits: Mapping[int, Artifact | None]
) -> str:
    """Lets SQL see the `_utterances` of these readings; a query for `utterance_id`, `part` and number of the splits."""
    _show(connection, "_utterances", readings, UTTERANCES)
    for number, split in splits.items():
        _show(connection, f"_split{number}", [split] if split else [], SPLIT)
    return " UNION ALL ".join(f"SELECT utterance_id, part, {n}::BIGINT AS number FROM _split{n}" for n in splits)


def _enter(connection: duckdb.DuckDBPyConnection, judging: Sequence[Evaluation]) -> None:
    """Makes the table of all test utterances, which numbers the evaluations."""
    together: dict[tuple[str, ...], list[int]] = {}
    for number, one in enumerate(judging):
        together.setdefault(_keys(one.readings), []).append(number)
    for numbers in together.values():
        parts = _show_parts(connection, judging[numbers[0]].readings, {n: judging[n].split for n in numbers})
        rows = (
            f"SELECT number AS split, text, {_columns()} FROM _utterances "
            f"JOIN (FROM ({parts}) WHERE part = 'test') USING (utterance_id)"
        )
        connection.execute(f"CREATE TEMP TABLE IF NOT EXISTS tests AS {rows} LIMIT 0")
        connection.execute(f"INSERT INTO tests {rows}")


class _Tests:
    """What all test utterances say, of which split each is, and the timelines on which any of them is: the others,
    which are most, need not be asked about what was learned from.

    Args:
        readings: the keys of those that they are of.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, readings: Set[str]) -> None:
        self.readings = readings
        tests = connection.sql("SELECT split, text FROM tests ORDER BY rowid").to_arrow_table()
        lasting = "FROM tests WHERE g_{0} IS NOT NULL AND t_{0}[1] < t_{0}[2] LIMIT 1"
        self.timelines = [name for name in TIMELINES if connection.sql(lasting.format(name)).fetchall()]
        groups = dict.fromkeys((*_GROUPED, *self.timelines))
        self.compared = ["utterance_id", "audio_id", *(f"g_{name}" for name in groups)]
        self.split = numbers_of(tests.column("split"))
        self.echoes = Echoes(tests.column("text"))


def _counts(
    connection: duckdb.DuckDBPyConnection, learners: Sequence[Learner], tests: _Tests,
    splits: Sequence[Collection[int]],
) -> list[dict[int, Counted]]:  # fmt: skip
    """Of each of these learners, which read the same, by the numbers of those splits that have test utterances.

    Args:
        splits: those that each is asked about.
    """
    if not learners[0].readings or not any(splits):
        return [{} for _ in learners]
    n_tests = np.bincount(tests.split)
    asked = np.zeros(len(n_tests), np.int64)
    for number, own in enumerate(splits):
        asked[[split for split in own if split < len(asked)]] |= 1 << number
    met = _met(connection, learners, tests, asked[tests.split])
    counts = []
    for number, own in enumerate(splits):
        n_met = [np.bincount(tests.split[met[kind] >> number & 1 == 1], minlength=len(n_tests)) for kind in KINDS]
        there = [split for split in own if split < len(n_tests) and n_tests[split]]
        counts.append({split: (int(n_tests[split]), [int(n[split]) for n in n_met]) for split in there})
    return counts


def _met(
    connection: duckdb.DuckDBPyConnection, learners: Sequence[Learner], tests: _Tests, asked: Numbers
) -> dict[str, Numbers]:
    """Of each of KINDS and each test utterance, the bits of the learners that met it.

    Args:
        asked: of each test utterance, the bits of the learners that are asked about.
    """
    bits = {1 << number: one.split for number, one in enumerate(learners)}
    always = sum(bit for bit, split in bits.items() if split is None)
    seen = _seen(connection, learners[0].readings, bits)
    trained = f"JOIN (SELECT utterance_id, whose FROM ({seen}) WHERE whose <> 0) USING (utterance_id)"
    if always:
        trained = f"LEFT {trained}"
    whose = f"(coalesce(whose, 0) | {always})::BIGINT AS whose"
    each = f"SELECT {_columns(tests.timelines)} FROM _utterances"
    if tests.readings.isdisjoint(one.key for one in learners[0].readings):  # few have anything that a test has
        has = " OR ".join(f"{name} IN (SELECT {name} FROM tests)" for name in tests.compared)
        connection.execute(f"CREATE OR REPLACE TEMP TABLE near AS FROM ({each}) WHERE {has}")
        each = "FROM near"  # found first: DuckDB would take whose they are of all rows first, which are many
    connection.execute(f"CREATE OR REPLACE TEMP TABLE learned AS SELECT * REPLACE ({whose}) FROM ({each}) {trained}")
    met = {kind: np.zeros(len(asked), np.int64) for kind in KINDS}
    for kind, query in _meetings(tests.timelines, seen):
        rows, found = map(numbers_of, connection.sql(query).to_arrow_table().columns)
        np.bitwise_or.at(met[kind], rows, found)
    batches = connection.sql(f"SELECT text, {whose} FROM _utterances {trained}").to_arrow_reader(_ROWS)
    again = tests.echoes.among(((batch.column(0), numbers_of(batch.column(1))) for batch in batches), asked)
    return met | {"text": again.same, "near text": again.near}


def _seen(
    connection: duckdb.DuckDBPyConnection, readings: Sequence[Artifact], splits: Mapping[int, Artifact | None]
) -> str:
    """A query for `utterance_id`, whose train part has it (`whose`) and whose dev part (`chose`).

    Args:
        splits: by the bit of the learner.
    """
    parts = _show_parts(connection, readings, splits)
    train, dev = ("if(part = 'train', number, 0)", "if(part = 'dev', number, 0)")
    if len(splits) == 1:
        return f"SELECT utterance_id, {train} AS whose, {dev} AS chose FROM ({parts})"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE seen AS SELECT utterance_id, bit_or({train}) AS whose, bit_or({dev}) AS chose "
        f"FROM ({parts}) GROUP BY utterance_id"
    )
    return "FROM seen"


def _meetings(timelines: Sequence[str], seen: str) -> Iterator[tuple[str, str]]:
    """One of KINDS and a query for a row of `tests` and the bits of those who met it so; words are not in SQL."""
    same = {"utterance": "utterance_id", "sound": "audio_id", **{name: f"g_{name}" for name in _GROUPED}}
    for kind, name in same.items():
        met = f"SELECT {name}, bit_or(whose) AS whose FROM learned WHERE {name} IS NOT NULL GROUP BY {name}"
        yield kind, f"SELECT t.rowid, l.whose FROM tests AS t JOIN ({met}) AS l USING ({name})"
    yield "chosen on", f"SELECT t.rowid, chose FROM tests AS t JOIN ({seen}) USING (utterance_id) WHERE chose <> 0"
    for name in timelines:
        ours, theirs = (f"{own}.t_{name}" for own in ("t", "l"))
        lasting = f"{ours}[1] < {ours}[2] AND {theirs}[1] < {theirs}[2]"
        on = f"l.g_{name} = t.g_{name} AND {theirs}[1] < {ours}[2] AND {ours}[1] < {theirs}[2] AND {lasting}"
        yield "time", f"SELECT t.rowid, bit_or(l.whose) FROM tests AS t JOIN learned AS l ON {on} GROUP BY t.rowid"
