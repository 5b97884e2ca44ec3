"""What the parts of a split share: who speaks, what is said, when, the sound itself, and what a teacher has read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from flows.protocol import WHOLE, Protocol, folds_of, split_of
from flows.similarity import CONTAINED, LEAST_WORDS, N, Words, near_duplicates, same_words, words_of
from warehouse.artifact import Artifact
from warehouse.hashing import digest
from warehouse.schema import SPLIT, UTTERANCES
from warehouse.tables import read_table

MOST_EXAMPLES = 5

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

TIMELINES = {
    "recording": "[start_s, end_s]",
    **{
        name: f"[TRY_CAST(attributes['{name}_start_s'] AS DOUBLE), TRY_CAST(attributes['{name}_end_s'] AS DOUBLE)]"
        for name in ("episode", "dialogue")
    },
}
"""What time runs through -> an utterance's start and end in it."""


@dataclass(frozen=True)
class Leak:
    """One kind of thing that a judged part shares with another, or shares nothing of (`n_utterances` is 0).

    Args:
        kind: 'speaker', 'dialogue', 'session', 'episode', 'recording' (groups); 'audio' (the same stretch of sound),
            'time' (spans that overlap in a recording, episode or dialogue), 'text' (the same words), 'near text'
            (the near-duplicates of `flows.similarity`).
        part: 'test' or 'dev'.
        against: 'train', 'dev', or 'teacher <key>' for the texts that a checkpoint was trained on.
        n_utterances: of `part`, that are concerned.
        n_compared: of `part`, that could be: those with a speaker, with words, with six words.
        n_shared, n_groups: for groups, how many of the part's are in the other one too.
        n_agree, n_labelled: for pairs with a label on both sides, how many have the same.
        examples: the first few shared groups, or pairs of utterance ids (of utterance and text id for teachers).
    """

    kind: str
    part: str
    against: str
    n_utterances: int
    n_compared: int
    n_shared: int | None = None
    n_groups: int | None = None
    n_agree: int | None = None
    n_labelled: int | None = None
    examples: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Leakage:
    """Everything that was looked for in one fold of a protocol, found or not.

    `digest` is that of what was compared: whoever computes it again from the same utterances, split and teachers has
    compared the same.
    """

    protocol: str
    fold: str
    parts: Mapping[str, int]
    leaks: tuple[Leak, ...]
    digest: str

    @property
    def found(self) -> list[Leak]:
        return [leak for leak in self.leaks if leak.n_utterances]

    def as_json(self) -> dict[str, Any]:
        rules = {"gram_words": N, "least_words": LEAST_WORDS, "contained": CONTAINED}
        leaks = [vars(leak) | {"examples": [list(example) for example in leak.examples]} for leak in self.leaks]
        return {
            "protocol": self.protocol, "fold": self.fold, "parts": dict(self.parts), "rules": rules,
            "compared": self.digest, "leaks": leaks,
        }  # fmt: skip

    def sentences(self) -> list[str]:
        """What was found, for the warnings of a report."""
        return sentences([self])


def protocol_leakage(
    protocol: Protocol,
    utterances: Sequence[Artifact],
    labels: Sequence[Artifact],
    teachers: pa.Table | None = None,
) -> list[Leakage]:
    """The leakage of every fold of a protocol over a corpus.

    Args:
        teachers: as `flows.teacher_texts` gives it.

    Raises:
        InvalidField: as `flows.protocol.split_of`.
    """
    table = pa.concat_tables(read_table(a.path("utterances.parquet"), UTTERANCES) for a in utterances)
    folds = folds_of(protocol, utterances)
    splits = ((fold, split_of(protocol, fold, folds, utterances, labels)[0]) for fold in folds)
    return [leakage(table, split, protocol.id, fold, teachers) for fold, split in splits]


def leakage(
    utterances: pa.Table, split: pa.Table, protocol: str = "", fold: str = WHOLE, teachers: pa.Table | None = None
) -> Leakage:
    """What the parts of one split share.

    Speakers, dialogues, sessions and episodes are those of one corpus: the same name in two corpora is not shared.
    Spans that only touch do not overlap. Words are compared without case and punctuation. For a text that several
    utterances have, the label compared is that of the first by id.

    Args:
        utterances: of `schema.UTTERANCES`; may hold more than the split does.
        split: of `schema.SPLIT`.
        teachers: as `flows.teacher_texts` gives it: what the teachers in the lineage of the judged model have read.
    """
    connection = duckdb.connect()
    connection.register("_utterances", utterances.select(UTTERANCES.names))
    connection.register("_split", split.select(SPLIT.names))
    groups = ", ".join(f"({sql}) AS g_{name}" for name, sql in GROUPS.items())
    spans = ", ".join(f"({sql}) AS t_{name}" for name, sql in TIMELINES.items())
    connection.execute(
        f"CREATE TEMP TABLE u AS SELECT utterance_id, part, label, text, text_id, audio_id, start_s, end_s, "
        f"{groups}, {spans} FROM _utterances JOIN _split USING (utterance_id) ORDER BY utterance_id"
    )
    parts = dict(connection.execute("SELECT part, count(*) FROM u GROUP BY ALL ORDER BY ALL").fetchall())
    texts = {part: _Texts(connection, part) for part in parts}
    leaks: list[Leak] = []
    for part, other in PAIRS:
        if part in parts and other in parts:
            leaks += [_group_leak(connection, kind, part, other) for kind in GROUPS]
            leaks += [_audio_leak(connection, part, other), _time_leak(connection, part, other)]
            leaks += _text_leaks(part, texts[part], other, texts[other].ids, texts[other].labels, texts[other].words)
    for key, read in _by_checkpoint(teachers):
        for part in ("test", "dev"):
            if part in parts:
                leaks += _text_leaks(part, texts[part], f"teacher {key}", read[0], {}, read[1])
    return Leakage(protocol, fold, parts, tuple(leaks), _compared(connection, teachers))


def sentences(leakages: Sequence[Leakage]) -> list[str]:
    """What was found, in one sentence per kind and pair of parts, over the folds of one protocol.

    Where folds differ, the smallest and largest figures are told, of all folds: one without the leak counts as 0.
    """
    places = dict.fromkeys((leak.kind, leak.part, leak.against) for one in leakages for leak in one.found)
    told = []
    for place in places:
        found = [leak for one in leakages for leak in one.leaks if (leak.kind, leak.part, leak.against) == place]
        told.append(_sentence(leakages[0].protocol, found))
    return told


# -- inside ----------------------------------------------------------------------------------------------------------


class _Texts:
    """The utterances of one part that have words: ids, words and labels, in order of id."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, part: str) -> None:
        query = "SELECT utterance_id, text, label FROM u WHERE part = ? ORDER BY utterance_id"
        rows = [(i, words_of(text), label) for i, text, label in connection.execute(query, [part]).fetchall()]
        rows = [row for row in rows if row[1]]
        self.ids = [i for i, _, _ in rows]
        self.words: list[Words] = [words for _, words, _ in rows]
        self.labels: dict[str, str | None] = {i: label for i, _, label in rows}


def _group_leak(connection: duckdb.DuckDBPyConnection, kind: str, part: str, other: str) -> Leak:
    query = f"""
        WITH others AS (SELECT DISTINCT g_{kind} AS g FROM u WHERE part = $other),
        own AS (SELECT g_{kind} AS g, g IN (FROM others) AS shared FROM u WHERE part = $part AND g IS NOT NULL)
        SELECT count(*) FILTER (shared), count(*), count(DISTINCT g) FILTER (shared), count(DISTINCT g),
               list(DISTINCT g ORDER BY g) FILTER (shared)
        FROM own
    """
    n, n_compared, n_shared, n_groups, shared = _one(connection, query, part, other)
    return Leak(
        kind, part, other, n, n_compared, n_shared, n_groups,
        examples=tuple((name,) for name in (shared or [])[:MOST_EXAMPLES]),
    )  # fmt: skip


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
    row = connection.execute(query, {"part": part, "other": other}).fetchone()
    return row or ()


def _text_leaks(
    part: str, own: _Texts, against: str, ids: Sequence[str], labels: Mapping[str, str | None], others: Iterable[Words]
) -> list[Leak]:
    """The same words and near-duplicates among others, whose ids and (where they have them) labels are given."""
    others = list(others)
    n_long = sum(len(words) >= LEAST_WORDS for words in own.words)
    near = {position: found.reference for position, found in near_duplicates(own.words, others).items()}
    leaks = []
    for kind, matches, n_compared in (
        ("text", same_words(own.words, others), len(own.ids)), ("near text", near, n_long),
    ):  # fmt: skip
        pairs = [(own.ids[position], ids[reference]) for position, reference in sorted(matches.items())]
        judged = [(own.labels[one], labels.get(other)) for one, other in pairs]
        both = [(one, other) for one, other in judged if one is not None and other is not None]
        agree = sum(one == other for one, other in both)
        examples = tuple(pairs[:MOST_EXAMPLES])
        leaks.append(
            Leak(kind, part, against, len(pairs), n_compared, n_agree=agree, n_labelled=len(both), examples=examples)
        )
    return leaks


def _by_checkpoint(teachers: pa.Table | None) -> Iterator[tuple[str, tuple[list[str], list[Words]]]]:
    """Checkpoint -> the text ids and words of the texts it has read."""
    if teachers is None:
        return
    for key in sorted(pc.unique(teachers.column("checkpoint")).to_pylist()):
        own = teachers.filter(pc.field("checkpoint") == key)
        words = [words_of(text) for text in own.column("text").to_pylist()]
        yield key, (own.column("text_id").to_pylist(), words)


def _compared(connection: duckdb.DuckDBPyConnection, teachers: pa.Table | None) -> str:
    """The digest of all that any leak depends on; a text id stands for its text."""
    looked_at = ", ".join([*(f"g_{name}" for name in GROUPS), *(f"t_{name}" for name in TIMELINES)])
    query = f"SELECT utterance_id, part, label, text_id, audio_id, {looked_at} FROM u ORDER BY utterance_id"
    read = [] if teachers is None else [teachers.column(name).to_pylist() for name in ("checkpoint", "text_id")]
    return digest([connection.execute(query).fetchall(), sorted(set(zip(*read, strict=True)))])


_SAID = {
    "audio": ("", "are the same stretch of sound as"),
    "time": ("", "overlap in time with"),
    "text": ("", "have the same words as"),
    "near text": (f" of {LEAST_WORDS} words or more", f"share at least half of their {N}-grams with"),
}
"""Kind of pair -> which utterances, and what they do."""


def _sentence(protocol: str, leaks: Sequence[Leak]) -> str:
    first = leaks[0]
    where = protocol if len(leaks) == 1 else f"{protocol}, {len(leaks)} folds"
    share = _range([100 * leak.n_utterances / leak.n_compared for leak in leaks if leak.n_compared])
    n = _range([leak.n_utterances for leak in leaks])
    if first.n_groups is not None:
        shared, groups = _range([leak.n_shared or 0 for leak in leaks]), _range([leak.n_groups or 0 for leak in leaks])
        what = f"{shared} of {groups} {first.kind}s of {first.part} are in {first.against} too"
        return f"{where}: {what}, with {share} % of the {first.part} utterances ({n})."
    which, do = _SAID[first.kind]
    kind, _, key = first.against.partition(" ")
    other = f"a text that checkpoint {key[:12]} was trained on" if kind == "teacher" else f"one in {kind}"
    agree = [100 * (leak.n_agree or 0) / leak.n_labelled for leak in leaks if leak.n_labelled]
    labels = f"; labels agree in {_range(agree)} % of those" if agree else ""
    return f"{where}: {share} % of the {first.part} utterances{which} ({n}) {do} {other}{labels}."


def _range(values: Sequence[float]) -> str:
    """'38–74', or one number where all are the same when rounded."""
    low, high = (f"{value:,.0f}" for value in (min(values, default=0), max(values, default=0)))
    return low if low == high else f"{low}–{high}"
