"""Every table and column, the ids, and the FORMAT number of a lake.

Times are seconds and end in `_s`, counts begin with `n_`. Tables are long and dull on purpose: a new corpus
or emotion scheme adds rows, never columns.
"""

from __future__ import annotations

import re
import unicodedata

import pyarrow as pa

from warehouse.errors import InvalidId
from warehouse.hashing import ID_LENGTH, short_digest

FORMAT = 1

_ID = re.compile(r"[A-Za-z0-9_-]+")
_NOT_ID = re.compile(r"[^A-Za-z0-9_-]+")

_TEXT, _REAL, _COUNT = pa.string(), pa.float64(), pa.int64()


def _table(**columns: pa.DataType) -> pa.Schema:
    """A schema; a column given as (type, None) may be null, every other must not be."""
    return pa.schema(
        [
            pa.field(name, kind[0] if isinstance(kind, tuple) else kind, nullable=isinstance(kind, tuple))
            for name, kind in columns.items()
        ]
    )


def _or_null(kind: pa.DataType) -> tuple[pa.DataType, None]:
    return (kind, None)


FILES = _table(path=_TEXT, n_bytes=_COUNT, sha256=_TEXT)
"""The raw files of one unit of a corpus; `path` is relative to the corpus root, with forward slashes."""

SURVEY = _table(unit=_TEXT, name=_TEXT, marks=pa.binary())
"""What a reader found out of all units before it reads any: `name` is what a row is of (a document), `marks` as the
reader packed it."""

UTTERANCES = _table(
    utterance_id=_TEXT,
    corpus=_TEXT,
    unit=_TEXT,  # what was read as one: a session, a split, a film
    recording_id=_TEXT,  # sha256 of the media file; of the text file where the corpus has no sound
    path=_TEXT,  # of that file, relative to the corpus root
    start_s=_REAL,  # 0, and so is end_s, without sound
    end_s=_REAL,
    channel=_TEXT,  # 'mix', or a channel index as text; '' without sound
    audio_id=_TEXT,  # '' without sound: nothing that hears wants it
    verbatim=_TEXT,  # as the corpus has it, tags and all
    text=_TEXT,  # normalised: what models read; may be empty
    text_id=_TEXT,
    speaker_id=_TEXT,
    dialogue_id=_TEXT,
    turn=_COUNT,  # order within the dialogue, from 0
    session=_TEXT,  # '' where the corpus has none
    split=_TEXT,  # the corpus's own part: 'train', 'dev', 'test' or ''
    language=_TEXT,  # BCP 47, '' if not stated
    attributes=pa.map_(_TEXT, _TEXT),  # what only one corpus knows: 'scenario', 'season', …
)

LABELS = _table(
    utterance_id=_TEXT,
    scheme=_TEXT,  # 'emotion', 'sentiment', 'valence', 'activation', 'dominance', …
    rater=_TEXT,  # 'summary' for the corpus's own aggregate, else the rater's name
    value=_TEXT,  # verbatim
    number=_or_null(_REAL),  # the value where it is one
)

INTERVALS = _table(
    input_id=_TEXT,
    tier=_TEXT,  # 'word', 'phone', 'syllable'
    position=_COUNT,  # order within the tier, from 0
    symbol=_TEXT,
    start_s=_REAL,  # from the start of the utterance
    end_s=_REAL,
    score=_or_null(_REAL),  # log likelihood per frame where the aligner gives one
)

FAILURES = _table(input_id=_TEXT, utterance_id=_TEXT, step=_TEXT, reason=_TEXT)

SPLIT = _table(utterance_id=_TEXT, part=_TEXT, label=_or_null(_TEXT))
"""What training reads beside the shards: `part` is 'train', 'dev' or 'test'; `label` null where there is none, and in
all of test. An utterance is in two parts where a model is selected on the test part: that is dev too."""

TRUTH = _table(utterance_id=_TEXT, part=_TEXT, label=_TEXT)
"""What judges predictions: the labels of the parts of a split that are predicted. No fit and no prediction reads it."""

VOTES = _table(utterance_id=_TEXT, label=_TEXT, n_votes=_COUNT)
"""How many raters gave an utterance each class, of what is learned from and chosen on."""

SELECTION = _table(utterance_id=_TEXT, label=_TEXT, probability=_REAL)
"""Utterances chosen by a teacher: its class and that class's probability."""

SHARD_INDEX = _table(utterance_id=_TEXT, input_id=_TEXT, offset=_COUNT, n_bytes=_COUNT)
"""Where each member's content lies in the tar of one field: byte offset and size."""

PREDICTIONS = _table(
    utterance_id=_TEXT,
    part=_TEXT,
    predicted=_TEXT,
    classes=pa.list_(_TEXT),
    probabilities=pa.list_(_REAL),
)

METRICS = _table(
    protocol=_TEXT,
    variant=_TEXT,
    fold=_TEXT,
    seed=_COUNT,
    part=_TEXT,
    metric=_TEXT,
    value=_REAL,
    n_utterances=_COUNT,
    predictions=_TEXT,  # digest of the predictions it was computed from
    selected_on=_TEXT,  # the part whose loss chose the epoch: 'dev', or 'test' of the model or of one it learned from
)


def check_id(name: str, value: str) -> str:
    """Returns `value`, or raises InvalidId when it could not name a tar member."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise InvalidId(name, value)
    return value


def make_id(*parts: str) -> str:
    """Joins parts with '-' into an id, other characters replaced by '_'.

    A part that loses something so gets the beginning of its digest, or two titles in another script would be one.

    Example:
        >>> make_id("films", "A Night Out", "0007")
        'films-A_Night_Out_c91561-0007'
    """
    return "-".join(part if _ID.fullmatch(part) else _legal(part) for part in parts)


def _legal(part: str) -> str:
    return f"{_NOT_ID.sub('_', part)}_{short_digest(part)[:6]}"


def audio_id(recording_id: str, start_s: float, end_s: float, channel: str) -> str:
    """Identity of a stretch of sound: the recording's bytes, the span to the microsecond, the channel."""
    return short_digest(["audio", recording_id, round(start_s * 1e6), round(end_s * 1e6), channel])


def canonical_text(text: str) -> str:
    """NFC, white space collapsed to single spaces, ends stripped; case and punctuation stay."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def text_id(text: str) -> str:
    """Identity of a transcript: its canonical text."""
    return short_digest(["text", canonical_text(text)])


def pair_id(audio: str, text: str) -> str:
    """Identity of sound and words together, for steps that need both (alignment)."""
    return short_digest(["pair", audio, text])


PAIR_ID = f"""left(sha256('["pair","' || audio || '","' || words || '"]'), {ID_LENGTH})"""
"""The same in SQL, of the columns `audio` and `words`: of digests, in which nothing is to be escaped."""
