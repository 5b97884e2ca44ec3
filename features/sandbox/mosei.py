"""A miniature CMU-MOSEI: labels and a feature file as .csd, transcripts by segment, whole videos as wav.

The ids of videos are public ones, so that the standard folds apply; nothing else is of those videos.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from features.sandbox import voices
from features.sandbox.espeak import RATE_HZ as SPOKEN_HZ
from features.sandbox.media import write_wav
from features.sandbox.sentences import sentence

FOLDER = "CMU_MOSEI"
LABELS = "CMU_MOSEI_Labels.csd"
COVAREP = "CMU_MOSEI_COVAREP.csd"
AUDIO = "Raw/Audio/Full/WAV_16000"
TRANSCRIPTS = "Raw/Transcript/Segmented/Combined"
RATE_HZ = 16_000

COLUMNS = ("sentiment", "happy", "sad", "anger", "surprise", "disgust", "fear")
MOODS = {
    "happy": "happy", "sad": "sad", "angry": "anger", "surprised": "surprise", "disgusted": "disgust",
    "fearful": "fear",
}  # fmt: skip
SENTIMENT = {"happy": 1, "surprised": 1, "neutral": 0}

FOLDS = {
    "train": ("-3g5yACwYnA", "03X1FwF6udc", "100499", "_26JmJnPKfM", "mjQfQx2K__8"),
    "valid": ("--qXJuDtHPw", "101787"),
    "test": ("-6rXp3zJ3kc", "100178", "1S6ji_d4OLI"),
    "no fold": ("7654321", "sandbox-id_"),
}
"""The videos of each part: ids of every form."""

UNLABELLED = "sandbox-un_"
PLAIN = "03X1FwF6udc"
"""The one whose segments neither overlap nor change order, and all are labelled."""

SHUFFLED = ("-3g5yACwYnA", "101787", "sandbox-id_")
EARLY = "-3g5yACwYnA"
"""Its first segment starts before 0."""

_MARGIN_S = 0.2
"""Segments reach this far into the pause on both sides, so that neighbours overlap."""


@dataclass(frozen=True)
class Line:
    """One segment before it is spoken; without labels it stands in the transcript only."""

    mood: str
    strength: float
    text: str
    labels: tuple[float, ...] | None


@dataclass(frozen=True)
class Video:
    """One video with its speaker; `order` says in which order its labelled lines stand in the .csd."""

    name: str
    speaker: voices.Speaker
    lines: tuple[Line, ...]
    order: tuple[int, ...]


def plan(seed: int = 0) -> list[Video]:
    """Who says what in which video; the last one has no labels."""
    videos = []
    for name in (*(name for names in FOLDS.values() for name in names), UNLABELLED):
        choose = random.Random(f"{seed} mosei {name}")
        n_lines = choose.randint(3, 4)
        silent = range(n_lines) if name == UNLABELLED else () if name == PLAIN else (choose.randrange(1, n_lines),)
        lines = tuple(_line(number not in silent, choose) for number in range(n_lines))
        labelled = [number for number, line in enumerate(lines) if line.labels]
        if name in SHUFFLED:
            labelled.reverse()
        videos.append(Video(name, choose.choice((*voices.WOMEN, *voices.MEN)), lines, tuple(labelled)))
    return videos


def write(root: Path, seed: int = 0) -> None:
    """Speaks and writes the tree into the new folder `root`; the same seed gives the same bytes."""
    labels: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    covarep: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for video in plan(seed):
        choose = random.Random(f"{seed} mosei {video.name} sound")
        wave, times = _spoken(video, choose)
        write_wav(root / AUDIO / f"{video.name}.wav", wave, RATE_HZ)
        _write_transcript(root / TRANSCRIPTS / f"{video.name}.txt", video, times)
        if video.order:
            intervals = np.array([times[number] for number in video.order])
            values = np.array([video.lines[number].labels for number in video.order], np.float32)
            labels[video.name] = (values, intervals)
            covarep[video.name] = _frames(len(wave), choose)
    write_csd(root / LABELS, "All Labels", labels, {"dimension names": list(COLUMNS), "dataset name": "CMU-MOSEI"})
    write_csd(root / COVAREP, "COVAREP", covarep, {})


def write_csd(
    path: Path, key: str, videos: Mapping[str, tuple[np.ndarray, np.ndarray]], metadata: Mapping[str, object]
) -> None:
    """Writes a computational sequence: video -> features [n, dim] and intervals [n, 2]."""
    import h5py

    with h5py.File(path, "w") as stream:
        for name, (features, intervals) in videos.items():
            group = stream.create_group(f"{key}/data/{name}")
            group.create_dataset("features", data=features)
            group.create_dataset("intervals", data=intervals)
        for name, value in {"root name": key, **metadata}.items():
            stream.create_dataset(f"{key}/metadata/{name}", (1,), h5py.string_dtype())[0] = json.dumps(value)


def _line(labelled: bool, choose: random.Random) -> Line:
    mood = choose.choice(("neutral", *MOODS))
    text = sentence(mood, choose.random() < 0.7, choose)
    if choose.random() < 0.3:  # what transcribers could not hear
        text = text.replace(" ", " _____ ", 1)
    levels = dict.fromkeys(COLUMNS, 0)
    if mood in MOODS:
        levels[MOODS[mood]] = choose.randint(1, 9)
        levels["sentiment"] = SENTIMENT.get(mood, -1) * choose.randint(1, 9)
    if choose.random() < 0.3:
        levels[choose.choice(COLUMNS[1:])] += choose.choice((0, 1)) if mood in MOODS else 0
    labels = tuple(min(level, 9) / 3 for level in levels.values())
    return Line(mood, choose.uniform(0.5, 1.2), text, labels if labelled else None)


def _spoken(video: Video, choose: random.Random) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """The soundtrack, float [n_samples] at RATE_HZ, and the segments' times."""
    pause_s = 3 * _MARGIN_S if video.name == PLAIN else _MARGIN_S
    parts, times, at_s = [voices.room_noise(round(0.3 * SPOKEN_HZ), choose)], [], 0.3
    for line in video.lines:
        said = line.text.replace(" _____ ", " ")
        wave = voices.say(said, video.speaker, line.mood, line.strength, choose).wave
        end_s = at_s + len(wave) / SPOKEN_HZ
        times.append((at_s - _MARGIN_S, end_s + _MARGIN_S))
        parts += [wave, voices.room_noise(round(pause_s * SPOKEN_HZ), choose)]
        at_s = end_s + round(pause_s * SPOKEN_HZ) / SPOKEN_HZ
    parts.append(voices.room_noise(round(0.3 * SPOKEN_HZ), choose))
    if video.name == EARLY:
        times[0] = (-0.457596371882, times[0][1])
    return voices.resampled(np.concatenate(parts), RATE_HZ), times


def _write_transcript(path: Path, video: Video, times: Sequence[tuple[float, float]]) -> None:
    """Lines in order of time; their times are rounded in another way than those of the labels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        f"{video.name}___{number}___{start_s:.4f}___{end_s:.4f}___{line.text}\n"
        for number, (line, (start_s, end_s)) in enumerate(zip(video.lines, times, strict=True))
    ]
    path.write_text("".join(lines), encoding="utf-8")


def _frames(n_samples: int, choose: random.Random) -> tuple[np.ndarray, np.ndarray]:
    """Three features every tenth of a second, some of them infinite, as divisions by silence leave them."""
    n_frames = n_samples * 10 // RATE_HZ
    features = np.random.default_rng(choose.getrandbits(64)).standard_normal((n_frames, 3))
    features[0, 1] = -np.inf
    starts_s = np.arange(n_frames) / 10
    return features, np.stack([starts_s, starts_s + 0.1], axis=1)
