"""What goes when somebody withdraws, or a licence ends: utterances, and what nobody who stays has too.

Who is named is looked for in every reading that the lake holds, not in the current ones only. From there

* an utterance that is told from one that goes, or has its voice, goes too (`features.retell`, `flows.voices`);
* a sound goes when no utterance stays that has it, and so do a text, and a sound and its words together;
* a raw file is withdrawn when no utterance of it stays.

So the same sound under the name of another corpus stays until that is named as well; `Withdrawal.echoes` says where.
"""

from __future__ import annotations

import glob
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from warehouse.audit.errors import NoPredicate, NothingFallsUnder, NothingToPurge, ToldAgain
from warehouse.audit.holders import one_connection
from warehouse.audit.tombstones import Tombstone, hashed, hashed_all, speaker_name, tombstones
from warehouse.errors import QueryFailed
from warehouse.schema import UTTERANCES, pair_id
from warehouse.store import Warehouse
from warehouse.tables import check_files

LEAST_WORDS = 3
"""Words of a text that is looked for in reports: what is shorter anybody may have said."""

_SHOWN = 20


@dataclass(frozen=True)
class Asked:
    """Who or what is named: 'CORPUS/SPEAKER', SHA-256 of raw files, utterance ids, predicates over `utterances`."""

    speakers: Sequence[str] = ()
    recordings: Sequence[str] = ()
    utterances: Sequence[str] = ()
    where: Sequence[str] = ()

    def without(self, done: Sequence[Tombstone]) -> Asked:
        """What is left of it after purges that withdrew some of what is named."""
        left = {
            name: tuple(
                one for one in getattr(self, name) if not any(hashed(one) in getattr(each, name) for each in done)
            )
            for name in ("speakers", "recordings", "utterances")
        }
        return replace(self, **left)


@dataclass(frozen=True)
class Withdrawal:
    """What goes, in clear. A purge keeps it only until it is done.

    Args:
        corpora: that utterances go from.
        speakers: as `speaker_name` has them, of those that were named.
        utterances: ids, those of older readings too.
        audio, pairs, texts: ids of what nobody who stays has.
        recordings: SHA-256 of raw files of which nothing stays; `shared` of those of which something stays.
        files: (corpus, path) of the former, below the corpus' root.
        phrases: texts of at least LEAST_WORDS words that go.
        heirs: input id -> an utterance that stays with it, where one that goes has it too.
        echoes: utterances that stay and have the very sound of one that goes.
        hours: of what is heard in the utterances that go.
    """

    corpora: frozenset[str] = frozenset()
    speakers: frozenset[str] = frozenset()
    utterances: frozenset[str] = frozenset()
    audio: frozenset[str] = frozenset()
    pairs: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()
    recordings: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()
    files: frozenset[tuple[str, str]] = frozenset()
    phrases: frozenset[str] = frozenset()
    heirs: Mapping[str, str] = field(default_factory=dict)
    echoes: Sequence[str] = ()
    hours: float = 0.0

    @property
    def inputs(self) -> frozenset[str]:
        """Input ids whose rows go."""
        return self.audio | self.pairs | self.texts

    @property
    def tombstone(self) -> Tombstone:
        """What stays known of it."""
        names = ("corpora", "speakers", "utterances", "audio", "pairs", "recordings", "shared")
        return Tombstone(**{name: hashed_all(getattr(self, name)) for name in names})

    def as_json(self) -> dict[str, Any]:
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in values.items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Withdrawal:
        plain = {"heirs", "echoes", "hours"}
        held = dict(value) | {"files": map(tuple, value["files"])}
        given: dict[str, Any] = {name: one if name in plain else frozenset(one) for name, one in held.items()}
        return cls(**given)


def withdrawal_of(warehouse: Warehouse, asked: Asked) -> Withdrawal:
    """What goes when these are withdrawn.

    Raises:
        NothingToPurge: somebody or something that is named is in no reading of the lake.
        NoPredicate: `where` is none. NothingFallsUnder: it is one, and no utterance falls under it.
        ToldAgain: an utterance is named that is told from one that would stay.
    """
    readings = [a for a in warehouse.artifacts("utterances") if "utterances.parquet" in a.files]
    with one_connection() as connect, connect().cursor() as connection:
        _show(connection, [a.path("utterances.parquet") for a in readings])
        connection.execute("""
            CREATE TEMP TABLE told AS
            SELECT utterance_id, attributes['source'] AS source, attributes['voice'] AS voice FROM readings
            WHERE attributes['source'] IS NOT NULL OR attributes['voice'] IS NOT NULL
        """)
        found = set()
        for speaker in asked.speakers:
            found |= _named(warehouse, connection, "speaker", "corpus || '/' || nullif(speaker_id, '')", speaker)
        for recording in asked.recordings:
            found |= _named(warehouse, connection, "recording", "recording_id", recording)
        for utterance in asked.utterances:
            found |= _named(warehouse, connection, "utterance", "utterance_id", utterance)
        for predicate in asked.where:
            found |= _falling_under(warehouse, predicate)
        _take(connection, found)
        _refuse_told(connection)
        return _withdrawal(connection, asked)


def _show(connection: duckdb.DuckDBPyConnection, paths: Sequence[Path]) -> None:
    """Lets SQL see `readings`, UTTERANCES of any age, of which it reads the columns that it asks for."""
    check_files(paths, UTTERANCES)
    if paths:
        files = [glob.escape(str(path)) for path in paths]
        connection.read_parquet(files, hive_partitioning=False).create_view("readings")
    else:
        connection.register("readings", UTTERANCES.empty_table())


def _named(warehouse: Warehouse, connection: duckdb.DuckDBPyConnection, what: str, column: str, value: str) -> set[str]:
    """The utterances that have this value."""
    query = f"SELECT DISTINCT utterance_id FROM readings WHERE {column} = $value"
    found = {row[0] for row in connection.execute(query, {"value": value}).fetchall()}
    if not found:
        query = f"SELECT DISTINCT {column} FROM readings WHERE {column} IS NOT NULL"
        known = [row[0] for row in connection.execute(query).fetchall()]
        raise NothingToPurge(what, value, known, _withdrawn_by(warehouse, what, value))
    return found


def _withdrawn_by(warehouse: Warehouse, what: str, value: str) -> str:
    """The purge that withdrew it before, or ''."""
    known = tombstones(warehouse.root)
    return next((own for own, one in known.items() if hashed(value) in getattr(one, f"{what}s")), "")


def _falling_under(warehouse: Warehouse, predicate: str) -> set[str]:
    try:
        table = warehouse.table(f"SELECT utterance_id, (\n{predicate}\n) AS goes FROM utterances")
    except QueryFailed as error:
        raise NoPredicate(predicate, str(error)) from error
    if table.column_names != ["utterance_id", "goes"] or not pa.types.is_boolean(table.schema.field("goes").type):
        raise NoPredicate(predicate, f"it gives {table.schema.field(1).type}, not true or false")
    found = set(table.filter(table["goes"])["utterance_id"].to_pylist())
    if not found:
        raise NothingFallsUnder(predicate, table.num_rows)
    return found


def _take(connection: duckdb.DuckDBPyConnection, found: Iterable[str]) -> None:
    """Tables `gone`, the rows of UTTERANCES that go, with what is told from them; `staying`: of the others those that
    share a sound or a text with one of these; and `shared`: the recordings of these that others have too."""
    ids = {"ids": sorted(found)}
    connection.execute("CREATE TEMP TABLE named AS SELECT unnest($ids::VARCHAR[]) AS utterance_id", ids)
    connection.execute("CREATE TEMP TABLE going AS FROM named")
    more = (
        "INSERT INTO going SELECT DISTINCT utterance_id FROM told "
        "WHERE (source IN (FROM going) OR voice IN (FROM going)) AND utterance_id NOT IN (FROM going)"
    )
    while connection.execute(more).fetchall()[0][0]:
        pass
    columns = "utterance_id, corpus, recording_id, path, start_s, end_s, audio_id, text_id, text, verbatim"
    connection.execute(f"CREATE TEMP TABLE gone AS SELECT {columns} FROM readings WHERE utterance_id IN (FROM going)")
    connection.execute(
        "CREATE TEMP TABLE staying AS SELECT utterance_id, audio_id, text_id FROM readings "
        "WHERE (audio_id IN (SELECT audio_id FROM gone WHERE audio_id <> '') "
        "OR text_id IN (SELECT text_id FROM gone)) AND utterance_id NOT IN (FROM going)"
    )
    # Of a text, which is one recording, all lines would be staying.
    connection.execute(
        "CREATE TEMP TABLE shared AS SELECT recording_id FROM readings SEMI JOIN gone USING (recording_id) "
        "GROUP BY recording_id HAVING count(*) > (SELECT count(*) FROM gone WHERE recording_id = readings.recording_id)"
    )


def _refuse_told(connection: duckdb.DuckDBPyConnection) -> None:
    """What is told again is told from its source whenever a recipe is run, so it cannot go alone."""
    query = (
        "SELECT utterance_id, source FROM told WHERE utterance_id IN (FROM named) "
        "AND source NOT IN (FROM going) ORDER BY ALL LIMIT 1"
    )
    for utterance, source in connection.execute(query).fetchall():
        raise ToldAgain(utterance, source)


def _withdrawal(connection: duckdb.DuckDBPyConnection, asked: Asked) -> Withdrawal:
    def column(query: str) -> list[Any]:
        return [row[0] for row in connection.execute(query).fetchall()]

    def only_gone(name: str, stays: str = "staying") -> frozenset[str]:
        query = f"SELECT DISTINCT {name} FROM gone WHERE {name} <> '' AND {name} NOT IN (SELECT {name} FROM {stays})"
        return frozenset(column(query))

    def pairs(rows: str) -> dict[str, str]:
        query = f"SELECT audio_id, text_id, min(utterance_id) FROM {rows} WHERE audio_id <> '' GROUP BY ALL"
        return {pair_id(audio, text): one for audio, text, one in connection.execute(query).fetchall()}

    heirs: dict[str, str] = {}
    for name in ("audio_id", "text_id"):
        query = f"SELECT {name}, min(utterance_id) FROM staying WHERE {name} IN (SELECT {name} FROM gone) GROUP BY ALL"
        heirs |= dict(connection.execute(query).fetchall())
    gone, staying = pairs("gone"), pairs("staying SEMI JOIN gone USING (audio_id, text_id)")
    heirs |= {pair: staying[pair] for pair in gone if pair in staying}
    recordings, texts = only_gone("recording_id", "shared"), only_gone("text_id")
    said = "SELECT DISTINCT unnest([text, verbatim]) FROM gone WHERE text_id NOT IN (SELECT text_id FROM staying)"
    files = "SELECT DISTINCT corpus, path FROM gone WHERE recording_id NOT IN (FROM shared)"
    seconds = "SELECT end_s - start_s FROM (SELECT DISTINCT audio_id, start_s, end_s FROM gone)"
    echoes = (
        "SELECT DISTINCT utterance_id FROM staying WHERE audio_id <> '' AND audio_id IN (SELECT audio_id FROM gone)"
    )
    speakers = {speaker_name(*name.split("/", 1)) for name in asked.speakers}
    return Withdrawal(
        corpora=frozenset(column("SELECT DISTINCT corpus FROM gone")),
        speakers=frozenset(speakers),
        utterances=frozenset(column("SELECT DISTINCT utterance_id FROM gone")),
        audio=only_gone("audio_id"),
        pairs=frozenset(gone.keys() - staying.keys()),
        texts=texts,
        recordings=recordings,
        shared=frozenset(column("SELECT DISTINCT recording_id FROM gone")) - recordings,
        files=frozenset(connection.execute(files).fetchall()),
        phrases=frozenset(text for text in column(said) if len(text.split()) >= LEAST_WORDS),
        heirs={one: heir for one, heir in heirs.items() if one},
        echoes=sorted(column(echoes))[:_SHOWN],
        hours=math.fsum(column(seconds)) / 3600,
    )
