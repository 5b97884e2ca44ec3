"""The strict check of a film folder: counts per title, and every anomaly of tree, files, cues and soundtrack."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from features.check import Anomaly, Count, Findings, counted
from features.subtitles.cue_fates import FLAWS, LEFT_OUT, is_rolling, n_rolling
from features.subtitles.film_titles import Title
from features.subtitles.languages import is_foreign, n_letters
from features.subtitles.spoken_text import plain, repaired
from features.subtitles.subrip import irregular
from features.subtitles.subtitle_files import (
    belongs,
    is_media,
    is_subtitles,
    is_utf8,
    shown_name,
    title_folders,
    title_paths,
)
from warehouse.errors import MissingFolder

ANOMALIES: Mapping[str, str] = {
    "loose_file": "a film or its subtitles lie in no folder of their own",
    "no_film": "a folder holds no film",
    "several_films": "a folder holds more than one film",
    "misnamed_file": "the name of a title, its film or its subtitles is not UTF-8",
    "unpaired_subtitles": "a subtitle file is not named after the film beside it",
    "unreadable_film": "a film cannot be opened, or has no sound",
    "no_subtitles": "a film has no subtitles",
    "picture_subtitles": "a film's only subtitles are pictures of text",
    "forced_subtitles": "a film's only subtitles are those of what is foreign in it",
    "embedded_subtitles": "the subtitles are a stream of the film",
    "unreadable_subtitles": "a subtitle file is in no encoding that can be told",
    "guessed_encoding": "the code page of a subtitle file was found by the look of the text",
    "empty_subtitles": "a subtitle file holds no subtitle",
    "wrong_language": "the subtitles are in another language than their name, or the reader, says",
    "other_soundtrack": "the subtitles fit the soundtrack nowhere, or no better than others may",
    "out_of_sync": "the subtitles fit the soundtrack at another place or speed",
    "changing_shift": "a part of the subtitles fits the soundtrack at another place than the others",
    **FLAWS,
    "missing_text": "a cue has no text",
    "hidden_cue": "a cue ends when it starts",
    "overlap": "cues of speech overlap",
    "advert": "a cue is no part of the film",
    "placed_text": "a cue is put at a place in the picture: a sign, not speech",
    "bilingual": "cues have lines in a script that the language is not written in",
    "rolling": "each caption repeats the line of the one before",
    "scanner_letters": "a scanner read l for I",
    "odd_index": "indices are missing or do not rise",
    "short_times": "times are not written in full",
    "entities": "letters are written as entities",
}
"""What every film has (tags, sound descriptions, speakers' names and dashes, songs) is counted and is none."""

KNOWN = frozenset({
    "advert", "bilingual", "embedded_subtitles", "entities", "guessed_encoding", "hidden_cue", "missing_text",
    "odd_index", "overlap", "placed_text", "rolling", "scanner_letters", "short_times",
})  # fmt: skip
"""What reading treats rightly: told, and no reason to fail."""

_ENTITY = re.compile(r"&(?:\w+|#\d+|#x[0-9a-fA-F]+);")

_FATES = {
    "advert": "advert", "placed": "placed_text", "hidden": "hidden_cue", "empty": "missing_text", "overlap": "overlap",
}  # fmt: skip


def check(root: Path, language: str, read: Callable[[Sequence[str]], Title], expected: Mapping[str, int]) -> Findings:
    """Counts and anomalies of every folder under `root`.

    Args:
        language: of the subtitles that are wanted, '' for any.
        read: reads the title that the film and its subtitles, given below `root`, make.

    Raises:
        MissingFolder: `root` itself is not there.
    """
    if not root.is_dir():
        raise MissingFolder("the film folder", root, "make it, with one folder per title in it")
    anomalies = list(_loose(root))
    found: Counter[str] = Counter()
    by_title: dict[str, Counter[str]] = {}
    for name, folder, names in title_folders(root):
        paths = title_paths(name, names, language)
        anomalies += _folder(folder, names)
        if not paths:
            continue
        odd = [path for path in (paths if is_utf8(name) else [name]) if not is_utf8(path)]
        title = read([] if odd else paths)
        anomalies += (Anomaly("misnamed_file", shown_name(path), "its name is not UTF-8: rename it") for path in odd)
        if not odd:
            anomalies += _title(folder, title)
        by_title[folder] = _counts(title)
        found.update(_summable(by_title[folder]))
    counts = {what: found[what] for what in ("titles", "titles refused", "cues", "utterances", "failures")}
    counts |= {f"left out, {reason}": found[f"left out, {reason}"] for reason in LEFT_OUT}
    counts |= {what: found[what] // 60 for what in ("minutes of film", "minutes of utterances")}
    findings = Findings(counted(counts, {what: n for what, n in expected.items() if what in counts}), anomalies)
    for name, own in by_title.items():
        shown = {what: n // 60 if what.startswith("minutes") else n for what, n in own.items() if what != "titles"}
        findings.counts += [
            Count(f"{what}, {name}", expected.get(f"{what}, {name}"), n, name) for what, n in shown.items()
        ]
    return findings


def _counts(title: Title) -> Counter[str]:
    """Figures of one title; minutes still in seconds, so that they can be summed."""
    counts = Counter({"titles": 1, "cues": len(title.cues), "minutes of film": round(title.duration_s)})
    if title.alignment is not None:
        counts["offset, ms"] = round(title.alignment.offset_s * 1_000)
        counts["ratio, millionths"] = round(title.alignment.ratio * 1_000_000)
        counts["score, thousandths"] = round(title.alignment.score * 1_000)
    if title.fault:
        counts["titles refused"] = 1
        return counts
    utterances = [fate.cue.times_s for fate in title.fates if fate.is_utterance and fate.cue.times_s]
    counts["utterances"] = len(utterances)
    counts["minutes of utterances"] = round(sum(end_s - start_s for start_s, end_s in utterances))
    counts["failures"] = sum(bool(fate.problem) for fate in title.fates)
    counts.update(f"left out, {fate.left_out}" for fate in title.fates if fate.left_out and not fate.problem)
    return counts


def _summable(counts: Mapping[str, int]) -> Mapping[str, int]:
    return {what: n for what, n in counts.items() if not what.startswith(("offset", "ratio", "score"))}


def _loose(root: Path) -> Iterator[Anomaly]:
    for path in sorted(root.iterdir()):
        if path.is_file() and not path.name.startswith(".") and (is_media(path.name) or is_subtitles(path.name)):
            yield Anomaly("loose_file", shown_name(path.name), "it lies in no folder of a title, and is not read")


def _folder(folder: str, names: Sequence[str]) -> Iterator[Anomaly]:
    media = [name for name in names if is_media(name)]
    if not media:
        yield Anomaly("no_film", folder, "no film lies in it (a .mkv, .mp4, .wav, …)")
    elif len(media) == 1:
        stem = Path(media[0]).stem
        for name in names:
            if is_subtitles(name) and not belongs(name, stem):
                problem = f"its name does not begin with that of the film, '{shown_name(stem)}', and it is not read"
                yield Anomaly("unpaired_subtitles", f"{folder}/{shown_name(name)}", problem)


def _title(folder: str, title: Title) -> Iterator[Anomaly]:
    where = title.source if "/" in title.source else f"{folder}, {title.source}" if title.source else title.media
    if title.fault is not None and title.fault.name == "several_films":
        where = folder

    def told(name: str, problem: str) -> Anomaly:
        return Anomaly(name, where, problem, name in KNOWN)

    if title.fault:
        yield told(title.fault.name, title.fault.problem)
    elif title.is_moved and title.alignment is not None:
        yield Anomaly("out_of_sync", where, f"moved by {title.alignment.offset_s:+.2f} s", known=True)
    if not title.cues:
        return
    if title.encoding is None:
        yield told("embedded_subtitles", f"they are {title.source} of {title.media}")
    elif title.encoding.is_guess:
        yield told("guessed_encoding", f"it was decoded by {title.encoding.encoding}")
    if title.is_forced:
        yield told("forced_subtitles", "no other subtitles are there")
    yield from (told(name, problem) for name, problem in _cues(title))


def _cues(title: Title) -> Iterator[tuple[str, str]]:
    """What is odd about cues, each kind told once per title."""
    numbers: dict[str, list[int]] = {}
    problems: dict[str, str] = {}
    for fate in title.fates:
        if fate.problem:
            problems.setdefault(fate.flaw, fate.problem)
            numbers.setdefault(fate.flaw, []).append(fate.cue.number)
        elif fate.left_out in _FATES:
            numbers.setdefault(_FATES[fate.left_out], []).append(fate.cue.number)
    for cue in title.cues:
        for name in _in_text(cue.text, title.language):
            numbers.setdefault(name, []).append(cue.number)
    for name, own in numbers.items():
        n = f"{len(own)} cue{'s' if len(own) > 1 else ''} (first: {own[0]})"
        yield name, f"{n}: {problems.get(name, ANOMALIES[name])}"
    if is_rolling(title.cues):
        yield "rolling", f"{n_rolling(title.cues)} of {len(title.cues)} cues begin with the line before"
    if title.encoding is not None and title.source.lower().endswith(".srt"):
        for name, n_cues in irregular(title.encoding.text).items():
            if n_cues:
                yield name, f"{n_cues} of {len(title.cues)} cues: {ANOMALIES[name]}"


def _in_text(text: str, language: str) -> Iterator[str]:
    unmarked = plain(text)
    if _ENTITY.search(text):
        yield "entities"
    if repaired(unmarked, language) != unmarked:
        yield "scanner_letters"
    foreign = [is_foreign(line, language) for line in unmarked.split("\n") if n_letters(line)]
    if any(foreign) and not all(foreign):
        yield "bilingual"
