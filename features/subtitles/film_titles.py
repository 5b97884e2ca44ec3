"""One title of a film folder, read: its subtitles, how they fit the soundtrack, and what becomes of each cue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from features.rows import duration_of
from features.subtitles.cue_fates import Fate, Rules, by_text, by_time
from features.subtitles.cues import Cue
from features.subtitles.languages import contradiction, language_code
from features.subtitles.spoken_text import plain, without_foreign_lines
from features.subtitles.subrip import parse_srt
from features.subtitles.substation import parse_ass
from features.subtitles.subtitle_files import is_forced, is_media, stated_language
from features.subtitles.subtitle_streams import Embedded, embedded
from features.subtitles.subtitle_sync import MAX_OFFSET_S, Alignment, align, part_elsewhere
from features.subtitles.text_encoding import Decoded, decoded
from features.subtitles.webvtt import parse_vtt
from features.subtitles.webvtt import stated_language as vtt_language
from warehouse.errors import UnreadableAudio, Untreatable

Sync = Literal["off", "check", "correct"]

UNDECODABLE = "its name, or that of its film or its subtitles, is not UTF-8: rename it"


@dataclass(frozen=True)
class Fault:
    """Why a title gives no utterance: a name among the anomalies of the check, and a sentence."""

    name: str
    problem: str


@dataclass
class Title:
    """What was read of one title. With a `fault` it gives no utterance; what could be looked at all the same is there.

    Args:
        source: the subtitle file, or the stream as in 'stream 2 (mov_text)'; '' if there is none.
        is_forced: whether they are only those of what is foreign in the film.
        language: of the subtitles, '' if nothing says so.
        encoding: what the bytes of a subtitle file were decoded by; None for a stream.
        cues: as the source has them.
        alignment: None where nothing was measured.
        fates: of the cues, at the times when they are heard.
    """

    media: str
    source: str = ""
    is_forced: bool = False
    language: str = ""
    encoding: Decoded | None = None
    duration_s: float = 0.0
    cues: Sequence[Cue] = ()
    alignment: Alignment | None = None
    fates: list[Fate] = field(default_factory=list)
    fault: Fault | None = None

    @property
    def is_moved(self) -> bool:
        """Whether the times of the cues are no longer those of the subtitles."""
        return self.alignment is not None and not self.alignment.is_in_place


def read_title(
    root: Path,
    paths: Sequence[str],
    rules: Rules,
    language: str,
    sync: Sync,
    min_score: float,
    voice: Callable[[str], np.ndarray],
) -> Title:
    """Reads one title as far as it can be read; never stops at a fault, but says it.

    Args:
        paths: of the film and of its subtitle file, if there is one, below `root`; none where a name is not UTF-8.
        language: the wanted one; '' takes what there is.
        sync: whether to look at the soundtrack, and what to do with subtitles that are elsewhere.
        min_score: agreement with the soundtrack's speech below which the subtitles are another film's.
        voice: gives the voice activity of a path.
    """
    media = [path for path in paths if is_media(path)]
    title = Title(next(iter(media), ""))
    if not media:
        return _faulty(title, "misnamed_file", UNDECODABLE)
    if len(media) > 1:
        folder, names = Path(title.media).parent.name, ", ".join(Path(path).name for path in media)
        problem = f"{folder} holds {len(media)} films ({names}): give each a folder of its own"
        return _faulty(title, "several_films", problem)
    try:
        title.duration_s = duration_of(root, title.media)
    except Untreatable as error:
        return _faulty(title, "unreadable_film", str(error))
    try:
        _find_cues(title, root, next((path for path in paths if not is_media(path)), ""), language)
    except Untreatable as error:
        return _faulty(title, "unreadable_subtitles", str(error))
    if title.fault is None:
        _judge(title, rules, sync, min_score, voice)
    return title


def cues_of(text: str, name: str) -> list[Cue]:
    """The cues of a subtitle file by what it begins with, else by its suffix."""
    beginning = text.lstrip("\ufeff\r\n\t ")[:2_000]
    if beginning.startswith("WEBVTT"):
        return parse_vtt(text)
    if "[Script Info]" in beginning or "[Events]" in beginning or name.lower().endswith((".ass", ".ssa")):
        return parse_ass(text)
    return parse_vtt(text) if name.lower().endswith(".vtt") else parse_srt(text)


def _faulty(title: Title, name: str, problem: str) -> Title:
    title.fault = Fault(name, problem)
    return title


def _find_cues(title: Title, root: Path, subtitles: str, language: str) -> None:
    stem = Path(title.media).stem
    title.is_forced = bool(subtitles) and is_forced(Path(subtitles).name, stem)
    inside = _embedded(root, title.media) if title.is_forced or not subtitles else Embedded()
    stream = inside.chosen(language)
    if stream is not None and not (subtitles and stream.is_forced):
        title.source, title.cues, title.is_forced = stream.name, stream.cues, stream.is_forced
        title.language = language or stream.language
        return
    if not subtitles:
        missing = f"no subtitles {stem}.srt or {stem}.{language or 'en'}.srt stand beside {title.media}"
        if inside.pictures:
            pictures = f"its own subtitles are no text ({', '.join(inside.pictures)})"
            _faulty(title, "picture_subtitles", f"{missing}, and {pictures}")
        else:
            streams = sorted({stream.language or "no stated language" for stream in inside.texts})
            inner = f", and its own are in {', '.join(streams)}" if streams else ""
            _faulty(title, "no_subtitles", missing + inner)
        return
    title.source = subtitles
    named = stated_language(Path(subtitles).name, stem)
    title.encoding = decoded((root / subtitles).read_bytes(), language or named)
    title.language = language or named or language_code(vtt_language(title.encoding.text))
    title.cues = cues_of(title.encoding.text, subtitles)
    if not title.cues:
        _faulty(title, "empty_subtitles", f"{subtitles} holds no subtitle")


def _embedded(root: Path, media: str) -> Embedded:
    try:
        return embedded(root / media)
    except UnreadableAudio as error:
        raise Untreatable(str(UnreadableAudio(media, error.why))) from error


def _judge(title: Title, rules: Rules, sync: Sync, min_score: float, voice: Callable[[str], np.ndarray]) -> None:
    """Fills in the fates, at the times when the cues are heard, and the first fault of language or place."""
    if against := contradiction(_words_of(title), title.language):
        problem = f"{title.source} should be in '{title.language}', but {against}: find others, or name it rightly"
        _faulty(title, "wrong_language", problem)
    title.fates = by_text(title.cues, title.language)
    latest_s = title.duration_s + MAX_OFFSET_S  # a mistyped end must not be looked for, hours behind the film
    spans_s = [fate.cue.times_s for fate in title.fates if fate.is_speech and fate.cue.times_s]
    shown_s = [(start_s, end_s) for start_s, end_s in spans_s if end_s <= latest_s]
    if sync != "off" and shown_s and title.fault is None:
        try:
            active = voice(title.media)
        except UnreadableAudio as error:
            _faulty(title, "unreadable_film", str(UnreadableAudio(title.media, error.why)))
            return
        found = title.alignment = align(shown_s, active)
        if found.score < min_score or found.score <= found.chance:
            _faulty(title, "other_soundtrack", _does_not_fit(title.source, found, active, min_score, len(shown_s)))
            return  # their times mean nothing here
        if not found.is_in_place:
            if sync == "check":
                _faulty(title, "out_of_sync", _out_of_place(title.source, found))
            title.fates = [_moved(fate, found) for fate in title.fates]
        if title.fault is None and (part := part_elsewhere(shown_s, active, found)):
            _faulty(title, "changing_shift", _changes(title.source, *part))
    title.fates = by_time(title.fates, title.duration_s, rules)


def _words_of(title: Title) -> str:
    """What the language of a title is judged by: of bilingual cues only the lines in its script."""
    texts = [plain(cue.text) for cue in title.cues]
    own = [text for text in (without_foreign_lines(text, title.language) for text in texts) if text.strip()]
    return "\n".join(own if 2 * len(own) >= len(texts) else texts)


def _moved(fate: Fate, alignment: Alignment) -> Fate:
    if fate.cue.times_s is None:
        return fate
    start_s, end_s = fate.cue.times_s
    return replace(fate, cue=replace(fate.cue, times_s=(alignment.moved(start_s), alignment.moved(end_s))))


def _does_not_fit(source: str, found: Alignment, active: np.ndarray, min_score: float, n_cues: int) -> str:
    if not active.any():
        return f"{source} does not fit the soundtrack: no speech is heard there; read with sync = 'off' if there is"
    fits = f"at {_place(found)} it agrees with the speech by {found.score:.2f}"
    if found.score < min_score:
        return (
            f"{source} does not fit the soundtrack: {fits}, less than {min_score}: find others, or read with "
            "sync = 'off'"
        )
    return (
        f"{source} cannot be told from another film's: {fits}, and {n_cues} such cue{'s' if n_cues > 1 else ''} may "
        f"by {found.chance:.2f} with any: find others, or read with sync = 'off' if they are this film's"
    )


def _out_of_place(source: str, found: Alignment) -> str:
    return (
        f"{source} is out of step with the soundtrack: it fits best at {_place(found)}, by "
        f"{found.score:.2f} against {found.own_score:.2f} where it is: "
        "read with sync = 'correct' to move it"
    )


def _changes(source: str, start_s: float, end_s: float, there: Alignment) -> str:
    return (
        f"{source} fits the soundtrack at several places: from {start_s:.0f} to {end_s:.0f} s it fits best at "
        f"{_place(there)}, by {there.score:.2f} against {there.own_score:.2f} where the whole does: find others, or "
        "read with sync = 'off'"
    )


def _place(alignment: Alignment) -> str:
    return f"{alignment.offset_s:+.2f} s, {alignment.ratio:.4f} of its length"
