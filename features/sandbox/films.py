"""Miniature films: one long soundtrack each in a video container, with subtitles beside it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from features.sandbox import voices
from features.sandbox.media import CONTAINER_RATE_HZ, write_film
from features.sandbox.sentences import sentence

FOLDER = "films"
TITLES = ("A Letter for Julia", "Monday at the Station", "The Blue Box", "The Old House (1962)")
MOODS = ("neutral", "happy", "surprised", "sad", "angry")
CUES_PER_FILM = 75

ODD = {
    "short": ("No!", "Yes.", "Wait!", "What?"),
    "sound": ("[door closes]", "( music playing )", "♪ la la la ♪"),
}
"""Cues that are no utterances: too short, or not speech."""


@dataclass(frozen=True)
class Line:
    """One cue before it is spoken: what is said and what the subtitle shows; `said` is '' where nobody speaks."""

    speaker: voices.Speaker
    mood: str
    strength: float
    said: str
    shown: str
    pause_s: float


@dataclass(frozen=True)
class Film:
    """One film: its title, what is said in it, and whether its soundtrack begins after its picture."""

    title: str
    lines: tuple[Line, ...]
    starts_late: bool
    encoding: str


def plan(seed: int, scale: float) -> list[Film]:
    """Four films; three at small scales."""
    films = []
    for number, title in enumerate(TITLES if scale >= 0.5 else TITLES[:3]):
        choose = random.Random(f"{seed} {title}")
        cast = [*choose.sample(voices.WOMEN, 2), *choose.sample(voices.MEN, 2)]
        lines = tuple(_line(n, cast, choose) for n in range(max(8, round(CUES_PER_FILM * scale))))
        films.append(Film(title, lines, number == 1, ("utf-8-sig", "utf-8", "cp1252")[number % 3]))
    return films


def write(root: Path, films: Sequence[Film], seed: int, spoke: Callable[[], None]) -> None:
    """Speaks and writes the tree; calls `spoke` after each cue."""
    for film in films:
        choose = random.Random(f"{seed} {film.title} sound")
        start_s = 0.5 if film.starts_late else 0.0
        parts, cues, at = [], [], CONTAINER_RATE_HZ
        for line in film.lines:
            if line.said:
                take = voices.say(line.said, line.speaker, line.mood, line.strength, choose)
                wave = voices.resampled(take.wave, CONTAINER_RATE_HZ)
            else:
                wave = np.zeros(CONTAINER_RATE_HZ, np.float32)
            parts.append((at, wave))
            begin_s = at / CONTAINER_RATE_HZ + start_s
            cues.append((begin_s, begin_s + len(wave) / CONTAINER_RATE_HZ, line.shown))
            at += len(wave) + round(line.pause_s * CONTAINER_RATE_HZ)
            spoke()
        track = voices.room_noise(at + CONTAINER_RATE_HZ, choose)
        for at, wave in parts:
            track[at : at + len(wave)] += wave
        folder = root / film.title
        write_film(folder / f"{film.title}.mkv", np.clip(track, -1, 1).astype(np.float32)[:, None], start_s)
        (folder / f"{film.title}.en.srt").write_bytes(_srt(cues).encode(film.encoding, "replace"))


def _line(number: int, cast: Sequence[voices.Speaker], choose: random.Random) -> Line:
    speaker, mood = choose.choice(cast), choose.choice(MOODS)
    said = shown = sentence(mood, choose.random() < 0.8, choose)
    match number % 25:
        case 7:
            said = shown = choose.choice(ODD["short"])
        case 12:
            said, shown = "", choose.choice(ODD["sound"])
        case 17:
            other = sentence("neutral", False, choose)
            said, shown = f"{said} {other}", f"- {said}\n- {other}"
        case 3:
            shown = f"<i>{shown}</i>"
        case 5:
            shown = f"JULIA:\n{shown}"
        case 20:
            shown = f"{{\\an8}}{shown}"
        case _:
            if choose.random() < 0.3:
                middle = shown.find(" ", len(shown) // 2)
                shown = f"{shown[:middle]}\n{shown[middle + 1 :]}" if middle > 0 else shown
    pause_s = choose.uniform(9, 12) if number % 12 == 11 else choose.uniform(0.1, 1.2)
    return Line(speaker, mood, choose.uniform(0.5, 1.2), said, shown, pause_s)


def _srt(cues: Sequence[tuple[float, float, str]]) -> str:
    blocks = [
        f"{number}\r\n{_clock(start_s)} --> {_clock(end_s)}\r\n" + text.replace("\n", "\r\n") + "\r\n"
        for number, (start_s, end_s, text) in enumerate(cues, start=1)
    ]
    return "\r\n".join(blocks)


def _clock(seconds: float) -> str:
    thousandths = round(seconds * 1000)
    hours, rest = divmod(thousandths, 3_600_000)
    return f"{hours:02d}:{rest // 60_000:02d}:{rest // 1000 % 60:02d},{rest % 1000:03d}"
