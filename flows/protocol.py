"""Protocols: which utterances, which classes, which part is learned from, chosen on and tested on. Data, not code."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, ValidationError

from warehouse.artifact import Artifact, Request, Work
from warehouse.errors import CountsDiffer, InvalidField, UnknownName
from warehouse.schema import LABELS, SELECTION, SPLIT, UTTERANCES
from warehouse.tables import read_table, write_table

PROTOCOLS = Path(__file__).parent / "protocols"
VERSION = 1
WHOLE = "all"
"""The name of the only fold of a protocol without folds."""


class Protocol(BaseModel):
    """One file of `flows/protocols`.

    Args:
        reader: the corpus reader it is made for.
        scheme, rater: which labels count; without labels (`labels` empty) every utterance belongs to it.
        labels: verbatim value -> class; an utterance whose value is not named does not belong to it.
        folds: an SQL expression over utterances; one fold per distinct value, in order. Empty: one fold.
        dev, test: SQL predicates over utterances. $fold is the fold's value and $next the one after it, in a circle.
            What is neither is train. bucket(id, n) is a number from 0 to n - 1 that depends on the id alone.
        counts: class -> utterances that the corpus must give.
        metrics: the names of `models.metrics`, the first being the one the tables lead with.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    reader: str
    title: str
    citation: str = ""
    scheme: str = "emotion"
    rater: str = "summary"
    labels: dict[str, str] = {}
    folds: str = ""
    dev: str = "false"
    test: str = "false"
    counts: dict[str, int] = {}
    metrics: list[str] = []

    @property
    def judged_parts(self) -> list[str]:
        """The parts that are predicted: dev and test, where the protocol has them."""
        return [part for part in ("dev", "test") if getattr(self, part) != "false"]

    @property
    def classes(self) -> list[str]:
        return sorted(set(self.labels.values()))


def read_protocol(name: str) -> Protocol:
    """A protocol by the name of its file.

    Raises:
        UnknownName; InvalidField.
    """
    shipped = {p.stem: p for p in PROTOCOLS.glob("*.toml")}
    if name not in shipped:
        raise UnknownName("protocol", name, shipped)
    try:
        protocol = Protocol.model_validate(tomllib.loads(shipped[name].read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidField(
            f"protocol '{name}'", ".".join(map(str, first["loc"])), f"is wrong: {first['msg'].lower()}"
        ) from error
    if protocol.id != name:
        raise InvalidField(f"protocol '{name}'", "id", f"is '{protocol.id}', but the file is {name}.toml")
    return protocol


def folds_of(protocol: Protocol, utterances: Sequence[Artifact]) -> list[str]:
    """The folds' values, in order."""
    if not protocol.folds:
        return [WHOLE]
    connection = _connection(utterances)
    query = f"SELECT DISTINCT ({protocol.folds})::VARCHAR AS fold FROM utterances ORDER BY fold"
    return [row[0] for row in connection.execute(query).fetchall()]


def split_work(
    protocol: Protocol,
    fold: str,
    folds: Sequence[str],
    utterances: Sequence[Artifact],
    labels: Sequence[Artifact],
    selection: Artifact | None = None,
    without: Sequence[str] = (),
) -> Work:
    """The work that writes one fold's `split.parquet`.

    Args:
        selection: keep these utterances only, with the teacher's class as label.
        without: utterances that a needed step could not treat; they are left out, and that is part of identity.
    """
    after = folds[(folds.index(fold) + 1) % len(folds)]
    rules = protocol.model_dump(include={"scheme", "rater", "labels", "counts", "dev", "test"})
    params = {"protocol": protocol.id, "rules": rules, "fold": fold, "next": after, "without": sorted(without)}
    inputs = {"utterances": tuple(a.digest for a in utterances), "labels": tuple(a.digest for a in labels)}
    if selection is not None:
        inputs["selection"] = (selection.digest,)
    arguments = {
        "protocol": protocol, "fold": fold, "after": after, "utterances": utterances, "labels": labels,
        "selection": selection, "without": without,
    }  # fmt: skip
    return Work(Request("split", "flows.protocol", VERSION, params, inputs), write_split, arguments)


def write_split(
    folder: Path, protocol: Protocol, fold: str, after: str, utterances: Sequence[Artifact],
    labels: Sequence[Artifact], selection: Artifact | None, without: Sequence[str],
) -> None:  # fmt: skip
    """Writes `split.parquet`, one row per utterance of the protocol in this fold.

    Raises:
        CountsDiffer: the corpus does not give the counts that the protocol must reproduce.
        InvalidField: an utterance has several labels of the wanted rater and scheme, or a predicate is no SQL.
    """
    connection = _connection(utterances)
    _register(connection, "labels", [read_table(a.path("labels.parquet"), LABELS) for a in labels], LABELS)
    mapped = pa.table({"value": list(protocol.labels), "class": list(protocol.labels.values())})
    connection.register("mapped", mapped)
    if selection is not None:
        connection.register("selection", read_table(selection.path("selection.parquet"), SELECTION))
        own = "SELECT utterance_id, label AS class FROM selection"
    elif protocol.labels:
        connection.execute("SET VARIABLE scheme = ?", [protocol.scheme])
        connection.execute("SET VARIABLE rater = ?", [protocol.rater])
        own = (
            "SELECT utterance_id, class FROM labels JOIN mapped USING (value) "
            "WHERE scheme = getvariable('scheme') AND rater = getvariable('rater')"
        )
    else:
        own = "SELECT utterance_id, NULL::VARCHAR AS class FROM utterances"
    predicates = {part: _bound(getattr(protocol, part), fold, after) for part in ("test", "dev")}
    try:
        table = connection.sql(f"""
            WITH own AS ({own})
            SELECT utterance_id,
                   CASE WHEN {predicates["test"]} THEN 'test' WHEN {predicates["dev"]} THEN 'dev' ELSE 'train' END AS part,
                   class AS label
            FROM utterances JOIN own USING (utterance_id)
            ORDER BY utterance_id
        """).to_arrow_table()
    except duckdb.Error as error:
        raise InvalidField(f"protocol '{protocol.id}'", "dev or test", f"is no SQL over utterances: {error}") from error
    _check_counts(protocol, table, selected=selection is not None)
    kept = pc.invert(pc.is_in(table.column("utterance_id"), pa.array(list(without), pa.string())))
    write_table(folder / "split.parquet", table.filter(kept), SPLIT)


def _check_counts(protocol: Protocol, table: pa.Table, selected: bool) -> None:
    ids = table.column("utterance_id").to_pylist()
    if len(set(ids)) != len(ids):
        twice = next(i for i, n in Counter(ids).items() if n > 1)
        raise InvalidField(f"protocol '{protocol.id}'", "rater", f"gives utterance '{twice}' more than one label")
    if not protocol.counts or selected:
        return
    found = Counter(table.column("label").to_pylist())
    if found != protocol.counts:
        lines = [f"{'class':<12}{'expected':>10}{'found':>8}"]
        for name in sorted(set(found) | set(protocol.counts)):
            lines.append(f"{name:<12}{protocol.counts.get(name, 0):>10}{found.get(name, 0):>8}")
        raise CountsDiffer(protocol.id, "\n".join(lines))


def _connection(utterances: Sequence[Artifact]) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("CREATE MACRO bucket(id, n) AS ('0x' || left(sha256(id), 8))::UBIGINT % n")
    tables = [read_table(a.path("utterances.parquet"), UTTERANCES) for a in utterances]
    _register(connection, "utterances", tables, UTTERANCES)
    return connection


def _register(connection: duckdb.DuckDBPyConnection, name: str, tables: Sequence[pa.Table], schema: pa.Schema) -> None:
    connection.register(name, pa.concat_tables(tables) if tables else schema.empty_table())


def _bound(predicate: str, fold: str, after: str) -> str:
    """The predicate with $fold and $next as SQL literals."""
    for name, value in (("$fold", fold), ("$next", after)):
        predicate = predicate.replace(name, "'" + value.replace("'", "''") + "'")
    return f"({predicate})"


def describe(protocol: Protocol) -> Mapping[str, Any]:
    """What the report says of a protocol."""
    return protocol.model_dump(include={"id", "title", "citation", "classes", "dev", "test", "folds", "metrics"})
