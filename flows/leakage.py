"""What the parts of a split share: who speaks, what is said, when, the sound itself, and what a teacher has read."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from flows.leaks import Leak, Leakage
from flows.protocol import WHOLE, Protocol, folds_of, split_of
from flows.similarity import LEAST_WORDS, Nearest, Repeats, Texts, Words, words_of
from flows.stand_ins import StandIns
from warehouse.artifact import Artifact
from warehouse.hashing import canonical_json, digest_of_pieces
from warehouse.schema import UTTERANCES
from warehouse.tables import rows_of

if TYPE_CHECKING:
    import duckdb
    import pyarrow.dataset as ds

MOST_EXAMPLES = 5

Teachers = Mapping[str, Iterable[pa.RecordBatch]]
"""Checkpoint -> the texts it was trained on, in batches of `flows.teacher_texts.TEXTS`; gone through once."""

_MEMORY = "256MB"
"""Of the database: what is larger goes to a temporary folder."""

_ROWS = 10_000
"""That are Python objects at a time."""

PAIRS = (("test", "train"), ("dev", "train"), ("test", "dev"))
"""(part that is judged, part it may have leaked from)."""

GROUPS = {
    "speaker": "CASE WHEN speaker_id <> '' THEN corpus || '/' || speaker_id END",
    "dialogue": "CASE WHEN dialogue_id <> '' THEN corpus || '/' || dialogue_id END",
    "session": "CASE WHEN session <> '' THEN corpus || '/' || session END",
    "episode": "corpus || '/' || attributes['season'] || '.' || attributes['episode']",
    "recording": "CASE WHEN end_s > start_s THEN recording_id END",
}
"""What utterances can have in common -> its name in SQL; NULL where an utterance has none."""

_FINITE = "CASE WHEN isfinite(TRY_CAST(attributes['{0}'] AS DOUBLE)) THEN TRY_CAST(attributes['{0}'] AS DOUBLE) END"

TIMELINES = {
    "recording": "[start_s, end_s]",
    **{
        name: "[{}, {}]".format(*(_FINITE.format(f"{name}_{end}_s") for end in ("start", "end")))
        for name in ("episode", "dialogue")
    },
}
"""What time runs through -> an utterance's start and end in it; NULL for what is no time."""


def protocol_leakage(
    protocol: Protocol,
    utterances: Sequence[Artifact],
    labels: Sequence[Artifact],
    teachers: Teachers | None = None,
    told: StandIns | None = None,
) -> list[Leakage]:
    """The leakage of every fold of a protocol over a corpus.

    Args:
        told: as `flows.protocol.split_work` takes it: what shares something is then what is told.
        teachers: as `flows.teacher_texts` gives it.

    Raises:
        InvalidField: as `flows.protocol.split_of`.
    """
    folds = folds_of(protocol, utterances)
    splits = {fold: split_of(protocol, fold, folds, utterances, labels, told=told)[0] for fold in folds}
    own = told.utterances if told else utterances
    rows = rows_of([artifact.path("utterances.parquet") for artifact in own], UTTERANCES)
    return leakages(rows, splits, protocol.id, teachers)


def leakage(
    utterances: pa.Table | ds.Dataset, split: pa.Table, protocol: str = "", fold: str = WHOLE,
    teachers: Teachers | None = None,
) -> Leakage:  # fmt: skip
    """What the parts of one split share; see `leakages`."""
    (found,) = leakages(utterances, {fold: split}, protocol, teachers)
    return found


def leakages(
    utterances: pa.Table | ds.Dataset, splits: Mapping[str, pa.Table], protocol: str = "",
    teachers: Teachers | None = None,
) -> list[Leakage]:  # fmt: skip
    """What the parts of each split share.

    Speakers, dialogues, sessions and episodes are those of one corpus: the same name in two corpora is not shared.
    Spans that only touch do not overlap. Words are compared without case and punctuation. For a text that several
    utterances have, the label compared is that of the first by id.

    Only the texts of test and dev are held in memory. What they are held against, the train part and all that teachers
    have read, passes by, the latter once for all splits.

    Args:
        utterances: of `schema.UTTERANCES`; may hold more than the splits do.
        splits: fold -> its table of `schema.SPLIT`.
        teachers: as `flows.teacher_texts` gives it: what the teachers in the lineage of the judged model have read.
    """
    with tempfile.TemporaryDirectory(prefix="emolake-") as folder, _database(folder) as connection:
        connection.register("_utterances", utterances)
        read = _read_by(connection, teachers, splits.values()) if teachers else {}
        return [_leakage(connection, split, protocol, fold, read) for fold, split in splits.items()]


# -- inside ----------------------------------------------------------------------------------------------------------


@contextmanager
def _database(folder: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Bounded in memory. It draws no bar, as DuckDB does in a worker process of any terminal."""
    import duckdb

    connection = duckdb.connect(config={"memory_limit": _MEMORY, "temp_directory": folder})
    try:
        connection.execute("SET enable_progress_bar = false")
        yield connection
    finally:
        connection.close()


def _batches(connection: duckdb.DuckDBPyConnection, query: str) -> Iterator[pa.RecordBatch]:
    """An answer that is never whole in memory."""
    yield from connection.sql(query).to_arrow_reader(_ROWS)


def _rows(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    return zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _leakage(
    connection: duckdb.DuckDBPyConnection, split: pa.Table, protocol: str, fold: str,
    read: Mapping[str, Repeats[str]],
) -> Leakage:  # fmt: skip
    connection.register("_split", split)
    groups = ", ".join(f"({sql}) AS g_{name}" for name, sql in GROUPS.items())
    spans = ", ".join(f"({sql}) AS t_{name}" for name, sql in TIMELINES.items())
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE u AS SELECT utterance_id, part, label, text, text_id, audio_id, start_s, end_s, "
        f"{groups}, {spans} FROM _utterances JOIN _split USING (utterance_id) ORDER BY utterance_id"
    )
    parts = dict(connection.execute("SELECT part, count(*) FROM u GROUP BY ALL ORDER BY ALL").fetchall())
    own = {part: dict(_texts_of(connection, part)) for part in ("test", "dev") if part in parts}
    among = {
        other: Texts(words for part in own if (part, other) in PAIRS for words in own[part].values()).among(
            _texts_of(connection, other)
        )
        for other in ("train", "dev")
        if other in parts
    }
    leaks: list[Leak] = []
    for part, other in PAIRS:
        if part in parts and other in parts:
            leaks += _group_leaks(connection, part, other)
            leaks += [_audio_leak(connection, part, other), _time_leak(connection, part, other)]
            leaks += _text_leaks(part, own[part], other, among[other], connection)
    for key, repeats in read.items():
        for part in own:
            leaks += _text_leaks(part, own[part], f"teacher {key}", repeats)
    return Leakage(protocol, fold, parts, tuple(leaks), _compared(connection, list(read)))


def _texts_of(connection: duckdb.DuckDBPyConnection, part: str) -> Iterator[tuple[str, Words]]:
    """The utterances of one part that have words, with them, in order of id."""
    query = f"SELECT utterance_id, text FROM u WHERE part = '{part}' ORDER BY utterance_id"
    for batch in _batches(connection, query):
        for name, text in _rows(batch):
            if words := words_of(text):
                yield name, words


def _group_leaks(connection: duckdb.DuckDBPyConnection, part: str, other: str) -> list[Leak]:
    """All kinds in one query: what DuckDB takes to plan it is most of the time of a small corpus. Each group is one row
    before any is counted, in a table that DuckDB can spill, as it cannot what it counts with DISTINCT."""
    kinds, groups = (", ".join(form.format(kind) for kind in GROUPS) for form in ("'{}'", "g_{}"))
    query = f"""
        WITH grouped AS (SELECT part, unnest([{kinds}]) AS kind, unnest([{groups}]) AS g FROM u),
        counted AS (
            SELECT kind, g, count(*) FILTER (part = $part) AS n, bool_or(part = $other) AS shared FROM grouped
            WHERE g IS NOT NULL GROUP BY kind, g HAVING n > 0
        )
        SELECT kind, coalesce(sum(n) FILTER (shared), 0)::BIGINT, sum(n)::BIGINT, count(*) FILTER (shared), count(*),
               min(g, {MOST_EXAMPLES}) FILTER (shared)
        FROM counted GROUP BY kind
    """
    found = {kind: row for kind, *row in connection.execute(query, {"part": part, "other": other}).fetchall()}
    leaks = []
    for kind in GROUPS:
        n, n_compared, n_shared, n_groups, first = found.get(kind, (0, 0, 0, 0, None))
        examples = tuple((name,) for name in first or [])
        leaks.append(Leak(kind, part, other, n, n_compared, n_shared, n_groups, examples=examples))
    return leaks


def _audio_leak(connection: duckdb.DuckDBPyConnection, part: str, other: str) -> Leak:
    heard = "FROM u WHERE end_s > start_s AND part"
    pairs = f"""
        SELECT a.utterance_id, b.utterance_id AS other_id, a.label, b.label AS other_label
        FROM (SELECT * {heard} = $part) AS a JOIN (SELECT * {heard} = $other) AS b USING (audio_id)
    """
    return _pair_leak(connection, "audio", pairs, f"SELECT count(*) {heard} = $part", part, other)


def _time_leak(connection: duckdb.DuckDBPyConnection, part: str, other: str) -> Leak:
    spans = " UNION ALL ".join(
        f"SELECT utterance_id, part, label, '{name} ' || g_{name} AS line, t_{name}[1] AS from_s, t_{name}[2] AS to_s "
        f"FROM u WHERE g_{name} IS NOT NULL"
        for name in TIMELINES
    )
    timed = f"(SELECT * FROM ({spans}) WHERE from_s < to_s)"
    pairs = f"""
        SELECT a.utterance_id, b.utterance_id AS other_id, a.label, b.label AS other_label
        FROM {timed} AS a JOIN {timed} AS b ON a.line = b.line AND a.from_s < b.to_s AND b.from_s < a.to_s
        WHERE a.part = $part AND b.part = $other
    """
    n_timed = f"SELECT count(DISTINCT utterance_id) FROM {timed} WHERE part = $part"
    return _pair_leak(connection, "time", pairs, n_timed, part, other)


def _pair_leak(
    connection: duckdb.DuckDBPyConnection, kind: str, pairs: str, n_compared: str, part: str, other: str
) -> Leak:
    """Of each utterance's partners the first by id."""
    first = f"""
        SELECT utterance_id, min(other_id) AS other_id, any_value(label) AS label,
               arg_min(coalesce(other_label, ''), other_id) AS other_label
        FROM ({pairs}) GROUP BY utterance_id
    """
    query = f"""
        SELECT count(*), ({n_compared}), count(*) FILTER (label = other_label),
               count(*) FILTER (label IS NOT NULL AND other_label <> ''),
               list([utterance_id, other_id] ORDER BY utterance_id)[:{MOST_EXAMPLES}]
        FROM ({first})
    """
    n, n_of, n_agree, n_labelled, examples = _one(connection, query, part, other)
    return Leak(
        kind, part, other, n, n_of, n_agree=n_agree, n_labelled=n_labelled, examples=tuple(map(tuple, examples or []))
    )


def _one(connection: duckdb.DuckDBPyConnection, query: str, part: str, other: str) -> tuple[Any, ...]:
    (row,) = connection.execute(query, {"part": part, "other": other}).fetchall()
    return row


def _text_leaks(
    part: str, own: Mapping[str, Words], against: str, repeats: Repeats[str],
    labelled: duckdb.DuckDBPyConnection | None = None,
) -> list[Leak]:  # fmt: skip
    """The same words and near-duplicates among others; `labelled` knows the labels of both, where others have any."""
    n_long = sum(len(words) >= LEAST_WORDS for words in own.values())
    near = {words: nearest.reference for words, nearest in repeats.near.items()}
    leaks = []
    for kind, found, n_compared in (("text", repeats.same, len(own)), ("near text", near, n_long)):
        pairs = [(name, found[words]) for name, words in own.items() if words in found]
        n_agree, n_both = _agreement(labelled, pairs) if labelled else (0, 0)
        examples = tuple(pairs[:MOST_EXAMPLES])
        leaks.append(
            Leak(kind, part, against, len(pairs), n_compared, n_agree=n_agree, n_labelled=n_both, examples=examples)
        )
    return leaks


def _agreement(connection: duckdb.DuckDBPyConnection, pairs: Sequence[tuple[str, str]]) -> tuple[int, int]:
    """Of how many pairs the labels are the same, and of how many both are there."""
    names = pa.schema([("one", pa.string()), ("other", pa.string())])
    rows = [dict(zip(names.names, pair, strict=True)) for pair in pairs]
    connection.register("_pairs", pa.Table.from_pylist(rows, schema=names))
    query = """
        SELECT count(*) FILTER (a.label = b.label), count(*) FILTER (a.label IS NOT NULL AND b.label IS NOT NULL)
        FROM _pairs JOIN u AS a ON a.utterance_id = one JOIN u AS b ON b.utterance_id = other
    """
    ((n_agree, n_both),) = connection.execute(query).fetchall()
    return n_agree, n_both


def _read_by(
    connection: duckdb.DuckDBPyConnection, teachers: Teachers, splits: Iterable[pa.Table]
) -> dict[str, Repeats[str]]:
    """Checkpoint -> what test and dev of any split repeat of what it has read, by text id; none for one that has read
    nothing. The ids of all that was read stay in the database, for `_compared`."""
    judged: set[Words] = set()
    for split in splits:
        connection.register("_split", split)
        query = "SELECT text FROM _utterances JOIN _split USING (utterance_id) WHERE part IN ('test', 'dev')"
        judged |= {words_of(text) for batch in _batches(connection, query) for (text,) in _rows(batch)}
    texts, found = Texts(judged), {}
    for key, lines in sorted(teachers.items()):
        connection.execute("CREATE OR REPLACE TEMP TABLE ids (text_id VARCHAR)")
        repeats = texts.among(_read(connection, lines))
        connection.execute(f'CREATE TEMP TABLE "read by {key}" AS SELECT DISTINCT text_id FROM ids ORDER BY ALL')
        if connection.execute(f'SELECT 1 FROM "read by {key}" LIMIT 1').fetchall():
            same = {words: text_id for words, (_, text_id) in repeats.same.items()}
            near = {words: Nearest(one.reference[1], one.containment) for words, one in repeats.near.items()}
            found[key] = Repeats(same, near)
    connection.execute("DROP TABLE ids")
    return found


def _read(
    connection: duckdb.DuckDBPyConnection, texts: Iterable[pa.RecordBatch]
) -> Iterator[tuple[tuple[str, str], Words]]:
    """Named by utterance, whose order decides which is the first, and text."""
    for batch in texts:
        connection.register("_batch", pa.Table.from_batches([batch]))
        connection.execute("INSERT INTO ids SELECT text_id FROM _batch")
        names, ids, said = (batch.column(name).to_pylist() for name in ("utterance_id", "text_id", "text"))
        for name, text_id, text in zip(names, ids, said, strict=True):
            yield (name, text_id), words_of(text)


def _compared(connection: duckdb.DuckDBPyConnection, teachers: Iterable[str]) -> str:
    """The digest of all that any leak depends on, as of [utterances, [checkpoint, text id] of all that was read]; a
    text id stands for its text."""
    looked_at = ", ".join([*(f"g_{name}" for name in GROUPS), *(f"t_{name}" for name in TIMELINES)])
    query = f"SELECT utterance_id, part, label, text_id, audio_id, {looked_at} FROM u ORDER BY utterance_id"
    rows = (canonical_json(row) for batch in _batches(connection, query) for row in _rows(batch))
    read = (
        # keys and ids are hexadecimal: nothing in them is written in another way
        ",".join(f'["{key}","{text_id}"]' for text_id in batch.column(0).to_pylist()).encode()
        for key in teachers
        for batch in _batches(connection, f'FROM "read by {key}"')
    )
    return digest_of_pieces(_listed([_listed(rows), _listed(read)]))


def _listed(parts: Iterable[bytes | Iterable[bytes]]) -> Iterator[bytes]:
    """The JSON list of values that are written already, in pieces."""
    yield b"["
    for number, part in enumerate(parts):
        if number:
            yield b","
        yield from [part] if isinstance(part, bytes) else part
    yield b"]"
