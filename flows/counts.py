"""The counts a protocol must reproduce against those that a corpus gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from features.check import Count, counted
from flows.protocol_sql import asked, must_be_sql
from warehouse.errors import NoneInPart

if TYPE_CHECKING:
    import duckdb

    from flows.protocol import Protocol

ALL = "all classes"
PARTS = ("train", "dev", "test")


def compared(protocol: Protocol, connection: duckdb.DuckDBPyConnection) -> list[Count]:
    """Every count of a protocol beside what was found: 'all classes', 'happy', 'happy, session 1'.

    Where the protocol counts at all, a class or group that it does not name is expected 0 times. What the corpus is
    known to lack (`may_lack`) and does lack here is not expected.

    Args:
        connection: has the tables `split` (with `own_id`) and `utterances`.

    Raises:
        InvalidField: `counts_by` names no column.
    """
    present = {row[0] for row in connection.execute("SELECT own_id FROM utterances").fetchall()}
    expected = expected_counts(protocol, present)
    found: Counter[str] = Counter()
    if protocol.total is not None:
        found[ALL] = _all(connection, "SELECT count(*) FROM split")[0][0]
    if protocol.counts:
        found.update(dict(_all(connection, "SELECT label, count(*) FROM split GROUP BY ALL ORDER BY ALL")))
    for column in protocol.counts_by:
        query = (
            f"SELECT label || ', {column} ' || ({column})::VARCHAR AS what, count(*) "
            "FROM split JOIN utterances USING (utterance_id) GROUP BY ALL ORDER BY ALL"
        )
        with must_be_sql(protocol, "counts_by", "is no SQL"):
            found.update(dict(asked(connection, query).fetchall()))
    return counted(found, expected | {what: 0 for what in found if what not in expected})


def expected_counts(protocol: Protocol, present: Collection[str]) -> dict[str, int]:
    """What a protocol expects of a corpus with these utterances.

    Args:
        present: the corpus's own ids of all its utterances.
    """
    expected: Counter[str] = Counter({} if protocol.total is None else {ALL: protocol.total})
    expected.update(protocol.counts)
    for column, groups in protocol.counts_by.items():
        for value, classes in groups.items():
            expected.update({f"{name}, {column} {value}": n for name, n in classes.items()})
    for own_id, place in protocol.may_lack.items():
        if own_id not in present:
            name = place["class"]
            lacking = [ALL, name, *(f"{name}, {column} {place.get(column, '')}" for column in protocol.counts_by)]
            expected.subtract([what for what in lacking if what in expected])
    return dict(expected)


def counts_table(counts: Sequence[Count]) -> str:
    """Expected, found and difference as lines of text. Of groups (', session 1') only those that differ somewhere are
    listed, and those whole."""
    differing = {_group(count.what) for count in counts if count.difference}
    shown = [count for count in counts if not _group(count.what) or _group(count.what) in differing]
    width = max(len("class"), *(len(count.what) for count in shown)) + 2
    lines = [f"{'class':<{width}}{'expected':>10}{'found':>8}{'difference':>12}"]
    lines += [f"{c.what:<{width}}{c.expected:>10}{c.found:>8}{_signed(c.difference):>12}" for c in shown]
    return "\n".join(lines)


def counts_sentences(protocol: str, counts: Sequence[Count]) -> list[str]:
    """What a report says of a protocol whose counts may differ: one sentence for those of whole classes that do."""
    differing = [count for count in counts if count.difference and not _group(count.what)]
    if not differing:
        return []
    told = ", ".join(f"{c.found} {c.what} instead of {c.expected} ({c.difference:+})" for c in differing)
    return [f"Protocol '{protocol}' does not give the published counts: {told}."]


def empty_parts(
    protocol: Protocol, fold: str, sizes: Mapping[str, int], parts: Sequence[str] = PARTS
) -> list[NoneInPart]:
    """Which of these parts hold nothing in a fold although they should: train always, another where there is a rule.

    Args:
        sizes: part -> its utterances in this fold.
    """
    empty = [part for part in parts if part in ("train", *protocol.judged_parts) and not sizes.get(part)]
    stem, n_utterances = protocol.id.partition(":")[0], sum(sizes.values())
    told = []
    for part in empty:
        others = [name for name, sql in protocol.options.get(part, {}).items() if sql != getattr(protocol, part)]
        choices = [f"{stem}:{part}={name}" for name in others]
        told.append(NoneInPart(protocol.id, fold, part, n_utterances, choices))
    return told


def as_json(counts: Sequence[Count]) -> list[dict[str, Any]]:
    """For `counts.json` beside a split."""
    return [count.as_json() for count in counts]


def _signed(difference: int) -> str:
    return f"{difference:+}" if difference else "0"


def _group(what: str) -> str:
    return what.partition(", ")[2]


def _all(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple]:
    return connection.execute(query).fetchall()
