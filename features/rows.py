"""Rows of the tables that readers fill, built so that ids are always made the same way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from features import audio
from features.plugin import Interval, RawFile
from warehouse.errors import UnreadableAudio, Untreatable
from warehouse.schema import audio_id, canonical_text, text_id


def utterance_row(
    *,
    utterance_id: str,
    corpus: str,
    unit: str,
    recording: RawFile,
    start_s: float,
    end_s: float,
    verbatim: str,
    text: str,
    channel: str = "mix",
    speaker_id: str = "",
    dialogue_id: str = "",
    turn: int = 0,
    session: str = "",
    split: str = "",
    language: str = "",
    attributes: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """One row of UTTERANCES; `text` is made canonical, and the ids are made from what they identify."""
    text = canonical_text(text)
    return {
        "utterance_id": utterance_id,
        "corpus": corpus,
        "unit": unit,
        "recording_id": recording.sha256,
        "path": recording.path,
        "start_s": start_s,
        "end_s": end_s,
        "channel": channel,
        "audio_id": audio_id(recording.sha256, start_s, end_s, channel),
        "verbatim": verbatim,
        "text": text,
        "text_id": text_id(text),
        "speaker_id": speaker_id,
        "dialogue_id": dialogue_id,
        "turn": turn,
        "session": session,
        "split": split,
        "language": language,
        "attributes": dict(attributes or {}),
    }


def text_row(
    *, utterance_id: str, corpus: str, unit: str, source: RawFile, verbatim: str, text: str, **columns: Any
) -> dict[str, Any]:
    """One row of UTTERANCES for words that nobody is heard saying: it has no span, no channel and no audio id.

    Args:
        source: the text file they stand in.
        columns: what else `utterance_row` takes, but for the channel.
    """
    row = utterance_row(
        utterance_id=utterance_id, corpus=corpus, unit=unit, recording=source, start_s=0.0, end_s=0.0,
        verbatim=verbatim, text=text, channel="", **columns,
    )  # fmt: skip
    return row | {"audio_id": ""}


def label_row(utterance_id: str, scheme: str, rater: str, value: str, number: float | None = None) -> dict[str, Any]:
    """One row of LABELS."""
    return {"utterance_id": utterance_id, "scheme": scheme, "rater": rater, "value": value, "number": number}


def failure_row(step: str, utterance_id: str, reason: str, input_id: str = "") -> dict[str, Any]:
    """One row of FAILURES; a reader knows no input id, because what failed has no utterance."""
    return {"input_id": input_id, "utterance_id": utterance_id, "step": step, "reason": reason}


def interval_rows(input_id: str, intervals: Iterable[Interval]) -> list[dict[str, Any]]:
    """Rows of INTERVALS for one input, numbered within each tier."""
    position: dict[str, int] = {}
    rows = []
    for interval in intervals:
        position[interval.tier] = position.get(interval.tier, -1) + 1
        rows.append({
            "input_id": input_id, "tier": interval.tier, "position": position[interval.tier],
            "symbol": interval.symbol, "start_s": interval.start_s, "end_s": interval.end_s, "score": interval.score,
        })  # fmt: skip
    return rows


def duration_of(root: Path, path: str) -> float:
    """Seconds of the sound in `root / path`.

    Raises:
        Untreatable: the header cannot be read; names the path below the root only, because rows are the same
            wherever the corpus lies.
    """
    try:
        return audio.probe(root / path).duration_s
    except UnreadableAudio as error:
        raise Untreatable(str(UnreadableAudio(path, error.why))) from error
