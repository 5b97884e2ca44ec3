"""Which file of a folder holds the subtitles of its film, by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from features.subtitles.languages import language_code, same_language

MEDIA = frozenset({
    ".avi", ".flac", ".m4a", ".mkv", ".mov", ".mp3", ".mp4", ".ogg", ".wav", ".webm",
})  # fmt: skip
SUBTITLES = (".srt", ".vtt", ".ass", ".ssa")
"""Formats that are read; of two equally good files the earlier format wins."""

KINDS = frozenset({"sdh", "cc", "hi", "forced"})
"""Parts of a subtitle file's name that say what it is, not its language."""


def is_media(name: str) -> bool:
    """Whether a file is a film or its sound, by its suffix."""
    return Path(name).suffix.lower() in MEDIA


def is_subtitles(name: str) -> bool:
    """Whether a file is subtitles in a format that is read, by its suffix."""
    return Path(name).suffix.lower() in SUBTITLES


def chosen_subtitles(stem: str, names: Sequence[str], language: str) -> str | None:
    """The subtitle file to read, or None: full ones before forced ones, plain before SDH, then by format and name.

    With a language, files that state another one are no choice, and those that state none come last.

    Args:
        stem: name of the film without its suffix, which the file's name must begin with.
    """
    ranked = []
    for name in names:
        if belongs(name, stem):
            found = stated_language(name, stem)
            if not language or not found or same_language(found, language):
                kinds = _suffixes(name, stem)
                form = SUBTITLES.index(Path(name).suffix.lower())
                far = bool(language) and found != language.casefold()
                ranked.append((far and not found, far, is_forced(name, stem), len(kinds), form, name))
    return min(ranked)[-1] if ranked else None


def belongs(name: str, stem: str) -> bool:
    """Whether a subtitle file is named after the film: 'Film.srt', 'Film.en.srt', not 'Film 2.srt'."""
    return is_subtitles(name) and (Path(name).stem == stem or name.startswith(f"{stem}."))


def stated_language(name: str, stem: str) -> str:
    """The language that a subtitle file's name states: 'en' for 'Film.en.sdh.srt' and 'Film.eng.srt', else ''."""
    codes = [language_code(part) for part in _suffixes(name, stem) if part not in KINDS]
    return next((code for code in codes if code), "")


def is_forced(name: str, stem: str) -> bool:
    """Whether the file says that it holds only what is foreign in the film."""
    return "forced" in _suffixes(name, stem)


def _suffixes(name: str, stem: str) -> list[str]:
    return [part for part in Path(name).stem[len(stem) :].lower().split(".") if part]
