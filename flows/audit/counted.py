"""How many test utterances share what with what was learned from: ids, sounds, times and groups in SQL, words as arrays
(`flows.audit.echoes`)."""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence, Set
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa

from flows.audit.echoes import Echoes, numbers_of
from flows.audit.overlap import KINDS
from flows.leakage import GROUPS, TIMELINES
from warehouse.artifact import Artifact
from warehouse.schema import SPLIT, UTTERANCES
from warehouse.tables import check_files

if TYPE_CHECKING:
    from flows.audit.overlap import Evaluation, Learner

Counted = tuple[int, list[int]]
"""Test utterances, and those of them that share each of KINDS."""

_MEMORY = "512MB"
"""Of the database: what is larger goes to a temporary folder."""

_ROWS = 262_144
"""Texts that are held against the test utterances at a time."""


def count(
    pairs: Sequence[tuple[Learner, Sequence[Evaluation]]],
) -> Iterator[tuple[Learner, list[tuple[Evaluation, Counted | None]]]]:
    """Of each learner and each of its evaluations, how many test utterances there are and how many of them share each
    of KINDS; None where there are none, or nothing was learned from. Nothing of them may be missing.

    The test utterances, which are few, are held in memory; what was learned from passes by, once per learner.
    """
    with (
        tempfile.TemporaryDirectory(prefix="emolake-") as folder,
        duckdb.connect(config={"memory_limit": _MEMORY, "temp_directory": folder}) as connection,
    ):
        connection.execute("SET enable_progress_bar = false")
        judging = {one.split.key: one for _, own in pairs for one in own}
        for number, one in enumerate(judging.values()):
            _enter(connection, number, one)
        tests = _Tests(connection, {reading.key for one in judging.values() for reading in one.readings})
        number_of = {key: number for number, key in enumerate(judging)}
        for learner, own in pairs:
            numbers = [number_of[one.split.key] for one in own]
            counts = _counts(connection, learner, tests, numbers) if own else {}
            yield learner, [(one, counts.get(number)) for one, number in zip(own, numbers, strict=True)]


# -- inside ----------------------------------------------------------------------------------------------------------

_GROUPED = ("speaker", "dialogue")


def _columns(timelines: Iterable[str] = TIMELINES) -> str:
    """What is compared of an utterance, in SQL."""
    groups = [f"({GROUPS[name]}) AS g_{name}" for name in dict.fromkeys((*_GROUPED, *timelines))]
    spans = [f"({TIMELINES[name]}) AS t_{name}" for name in timelines]
    return ", ".join(["utterance_id", "if(end_s > start_s, audio_id, NULL) AS audio_id", *groups, *spans])


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


def _enter(connection: duckdb.DuckDBPyConnection, number: int, evaluation: Evaluation) -> None:
    """Adds its test utterances, under a number, to the table of all."""
    _show(connection, evaluation.readings, evaluation.split)
    rows = (
        f"SELECT {number} AS split, text, {_columns()} FROM _utterances "
        "SEMI JOIN (FROM _split WHERE part = 'test') USING (utterance_id)"
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
        tests = connection.sql("SELECT split, text FROM tests").to_arrow_table()
        lasting = "FROM tests WHERE g_{0} IS NOT NULL AND t_{0}[1] < t_{0}[2] LIMIT 1"
        self.timelines = [name for name in TIMELINES if connection.sql(lasting.format(name)).fetchall()]
        groups = dict.fromkeys((*_GROUPED, *self.timelines))
        self.compared = ["utterance_id", "audio_id", *(f"g_{name}" for name in groups)]
        self._split = numbers_of(tests.column("split").combine_chunks())
        self._echoes = Echoes(tests.column("text"))

    def again(self, splits: Collection[int], references: Iterable[pa.Array]) -> dict[int, dict[str, int]]:
        """Number of a split -> how many of its test utterances are said again in the same words, and nearly."""
        found = self._echoes.among(references, np.isin(self._split, sorted(splits)))
        counts = {}
        for split in splits:
            own = self._split == split
            counts[split] = {"text": int(found.same[own].sum()), "near text": int(found.near[own].sum())}
        return counts


def _counts(
    connection: duckdb.DuckDBPyConnection, learner: Learner, tests: _Tests, splits: Collection[int]
) -> dict[int, Counted]:
    """By the numbers of these splits, of those that have test utterances."""
    if not learner.readings:
        return {}
    _show(connection, learner.readings, learner.split)
    only = "SEMI JOIN (FROM _split WHERE part = 'train') USING (utterance_id)" if learner.split else ""
    each = f"SELECT {_columns(tests.timelines)} FROM _utterances"
    if tests.readings.isdisjoint(one.key for one in learner.readings):  # few have anything that a test utterance has
        has = " OR ".join(f"{name} IN (SELECT {name} FROM tests)" for name in tests.compared)
        each = f"FROM ({each}) WHERE {has}"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE learned AS FROM ({each}) {only}")
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
    own = f"SELECT split, {flags} FROM tests AS t WHERE list_contains($splits, split)"
    query = f"SELECT split, count(*), {sums} FROM ({own}) GROUP BY split"
    rows = connection.execute(query, {"splits": sorted(splits)}).fetchall()
    counted = {row[0]: (row[1], dict(zip(met, row[2:], strict=True))) for row in rows}
    batches = connection.sql(f"SELECT text FROM _utterances {only}").to_arrow_reader(_ROWS)
    again = tests.again(counted.keys(), (batch.column(0) for batch in batches))
    return {split: (n, [(met | again[split])[kind] for kind in KINDS]) for split, (n, met) in counted.items()}
