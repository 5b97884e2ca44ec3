"""Subtitles inside a film's container: streams of text to cues, on the clock of the soundtrack."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from features.audio import PLAIN
from features.subtitles.cues import BROKEN, NO_END, Cue
from features.subtitles.languages import language_code, same_language
from features.subtitles.substation import PACKET, event_of, shown
from features.subtitles.webvtt import voice_of
from warehouse.errors import UnreadableAudio

TEXT = frozenset({"ass", "mov_text", "ssa", "srt", "subrip", "text", "webvtt"})
"""Formats of text, by FFmpeg's names; every other kind of subtitle stream is a stream of pictures or of a programme."""


@dataclass(frozen=True)
class SubtitleStream:
    """One stream of text: its place in the container, format, language ('' if not stated) and cues."""

    index: int
    kind: str
    language: str
    is_forced: bool
    cues: tuple[Cue, ...]

    @property
    def name(self) -> str:
        """As in 'stream 2 (mov_text)'."""
        return f"stream {self.index} ({self.kind})"


@dataclass(frozen=True)
class Embedded:
    """The subtitle streams of one container; of those that are no text only the formats' names are known."""

    texts: tuple[SubtitleStream, ...] = ()
    pictures: tuple[str, ...] = ()

    def chosen(self, language: str) -> SubtitleStream | None:
        """The stream to read: in the language (or in none stated, if none is), full before forced, then the one with
        the most cues. None when there is no such stream with cues.
        """
        fitting = [s for s in self.texts if not language or not s.language or same_language(s.language, language)]
        ranked = [
            (bool(language) and not stream.language, stream.is_forced, -len(stream.cues), stream.index, stream)
            for stream in fitting
            if stream.cues
        ]
        return min(ranked, key=lambda rank: rank[:-1])[-1] if ranked else None


def embedded(path: Path) -> Embedded:
    """What a container holds of subtitles; nothing for a file of sound alone.

    Times are counted from where players put 0, as `features.audio` counts them for the sound. An MP4 fills the time
    between subtitles with empty ones, which are no cues.

    Raises:
        UnreadableAudio: the container cannot be opened, or breaks off.
    """
    if path.suffix.lower() in PLAIN:
        return Embedded()
    import av

    try:
        with av.open(str(path), metadata_errors="replace") as container:
            origin_s = max(container.start_time or 0, 0) / 1_000_000
            streams = list(container.streams.subtitles)
            texts = {stream.index: stream for stream in streams if _kind(stream) in TEXT}
            found: dict[int, list[Cue]] = {index: [] for index in texts}
            if texts:
                for packet in container.demux(*texts.values()):
                    cue = _cue(packet, origin_s, len(found[packet.stream.index]))
                    if cue is not None:
                        found[packet.stream.index].append(cue)
            return Embedded(
                tuple(
                    SubtitleStream(index, _kind(stream), _language(stream), _is_forced(stream), tuple(found[index]))
                    for index, stream in texts.items()
                ),
                tuple(sorted({_kind(stream) for stream in streams} - TEXT)),
            )
    except (av.error.FFmpegError, OSError) as error:
        raise UnreadableAudio(path, getattr(error, "strerror", None) or "no media file") from error


def _cue(packet, origin_s: float, number: int) -> Cue | None:  # type: ignore[no-untyped-def]  # av is imported late
    kind = _kind(packet.stream)
    raw = bytes(packet)
    if kind == "mov_text":  # two bytes of length before the text, boxes of styles behind it
        raw = raw[2 : 2 + int.from_bytes(raw[:2], "big")]
    if packet.pts is None or not raw.strip(b"\0 \r\n"):
        return None
    encoding = "utf-16" if raw[:2] in (b"\xfe\xff", b"\xff\xfe") else "utf-8"
    try:
        decoded = raw.decode(encoding)
    except UnicodeDecodeError:
        return Cue(number, None, raw.decode(encoding, "replace").strip("\0\r\n "), problem=BROKEN)
    text, speaker = decoded.replace("\r\n", "\n").replace("\r", "\n").strip("\0\n "), ""
    if kind in ("ass", "ssa"):
        event = event_of(text, PACKET) or {"text": text}
        text, speaker = shown(event["text"]), event.get("name", "").strip()
    start_s = float(packet.pts * packet.time_base) - origin_s
    if not packet.duration:
        return Cue(number, None, text, speaker, NO_END)
    end_s = start_s + float(packet.duration * packet.time_base)
    return Cue(number, (round(start_s, 3), round(end_s, 3)), text, speaker or voice_of(text))


def _kind(stream) -> str:  # type: ignore[no-untyped-def]
    return stream.codec_context.name if stream.codec_context else "unknown"


def _language(stream) -> str:  # type: ignore[no-untyped-def]
    return language_code(stream.metadata.get("language", ""))


def _is_forced(stream) -> bool:  # type: ignore[no-untyped-def]
    import av

    return bool(stream.disposition & av.stream.Disposition.forced)
