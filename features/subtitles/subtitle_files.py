"""Which file of a folder holds the subtitles of its film, by name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import chain, count
from pathlib import Path

from features.subtitles.languages import language_code, same_language

MEDIA = frozenset({
    ".avi", ".flac", ".m4a", ".mkv", ".mov", ".mp3", ".mp4", ".ogg", ".wav", ".webm",
})  # fmt: skip
SUBTITLES = (".srt", ".vtt", ".ass", ".ssa")
"""Formats that are read; of two equally good files the earlier format wins."""

KINDS = frozenset({"sdh", "cc", "hi", "forced"})
"""Parts of a subtitle file's name that say what it is, not its language."""


def title_folders(root: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Each folder below `root` that may be of a title, how the title is written down (`shown_name`; where another is
    written so, with a number), and the files in it; hidden ones do not count."""
    with os.scandir(root) as entries:
        folders = sorted(one.name for one in entries if one.is_dir() and not one.name.startswith("."))
    titles: set[str] = set()
    for folder in folders:  # in this order one that is UTF-8 comes before what is only shown so, and keeps its name
        shown = shown_name(folder)
        numbered = (f"{shown} ({number})" for number in count(2))
        title = next(name for name in chain([shown], numbered) if name not in titles)
        titles.add(title)
        with os.scandir(f"{root}/{folder}") as entries:
            yield folder, title, sorted(one.name for one in entries if one.is_file() and not one.name.startswith("."))


def title_paths(folder: str, names: Sequence[str], language: str) -> list[str]:
    """What is read of a title, below the root: its film and the chosen subtitles. Where several films lie in the
    folder, those alone, for nobody can tell which one subtitles are of."""
    media = [name for name in names if is_media(name)]
    subtitles = chosen_subtitles(Path(media[0]).stem, names, language) if len(media) == 1 else None
    return [f"{folder}/{name}" for name in (*media, subtitles) if name]


def is_utf8(path: str) -> bool:
    """Whether a path can be written down: that of a file named in an old code page cannot."""
    return shown_name(path) == path


def shown_name(path: str) -> str:
    r"""A path as it can be written down: what is no UTF-8 in it as \udc and two digits."""
    return path.encode("utf-8", "backslashreplace").decode()


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
