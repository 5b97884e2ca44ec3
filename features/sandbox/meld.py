"""A miniature MELD: three CSV files and mp4 clips in the layout of MELD.Raw."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from features.sandbox import voices
from features.sandbox.media import CENTRE, CONTAINER_RATE_HZ, write_film
from features.sandbox.sentences import sentence

FOLDER = "MELD.Raw"
CLIPS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
COLUMNS = (
    "Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID",
    "Season", "Episode", "StartTime", "EndTime",
)  # fmt: skip

MOODS = {
    "neutral": "neutral", "joy": "happy", "surprise": "surprised", "anger": "angry", "sadness": "sad",
    "disgust": "disgusted", "fear": "fearful",
}  # fmt: skip
COUNTS = {
    "train": {"neutral": 48, "joy": 28, "surprise": 22, "anger": 22, "sadness": 16, "disgust": 7, "fear": 7},
    "dev": {"neutral": 13, "joy": 7, "surprise": 6, "anger": 6, "sadness": 4, "disgust": 2, "fear": 2},
    "test": {"neutral": 13, "joy": 7, "surprise": 6, "anger": 6, "sadness": 4, "disgust": 2, "fear": 2},
}
SENTIMENT = {"neutral": "neutral", "joy": "positive"}
CAST = {
    "Clara": voices.WOMEN[5], "Irene": voices.WOMEN[6], "Nadia": voices.WOMEN[7],
    "Arthur": voices.MEN[5], "Walter": voices.MEN[6], "Clara's Father": voices.MEN[7],
}  # fmt: skip


@dataclass(frozen=True)
class Clip:
    """One utterance before it is spoken."""

    split: str
    dialogue: int
    utterance: int
    speaker: str
    emotion: str
    strength: float
    text: str
    season: int

    @property
    def name(self) -> str:
        return f"dia{self.dialogue}_utt{self.utterance}"


def plan(seed: int, scale: float) -> list[Clip]:
    """Who says what; every split has every emotion at any scale."""
    choose = random.Random(f"{seed} meld")
    clips: list[Clip] = []
    for split, counts in COUNTS.items():
        emotions = [emotion for emotion, n in counts.items() for _ in range(max(1, round(n * scale)))]
        choose.shuffle(emotions)
        dialogue, utterance, season = 0, 0, 3
        speakers = choose.sample(sorted(CAST), 2)
        for emotion in emotions:
            clips.append(
                Clip(
                    split=split,
                    dialogue=dialogue,
                    utterance=utterance,
                    speaker=speakers[len(clips) % 2],
                    emotion=emotion,
                    strength=choose.uniform(0.5, 1.2),
                    text=sentence(MOODS[emotion], choose.random() < 0.7, choose),
                    season=season,
                )
            )
            utterance += 1 if choose.random() < 0.95 else 2  # numbers have gaps
            if choose.random() < 0.2:
                dialogue, utterance, season = dialogue + 1, 0, choose.choice((3, 8, 8, 8))
                speakers = choose.sample(sorted(CAST), 2)
    return clips


def write(root: Path, clips: Sequence[Clip], seed: int, spoke: Callable[[], None]) -> None:
    """Speaks and writes the tree; calls `spoke` after each utterance."""
    root.mkdir(parents=True)
    for split, folder in CLIPS.items():
        own = [clip for clip in clips if clip.split == split]
        choose = random.Random(f"{seed} meld {split}")
        rows, at_s = [], 600.0
        for number, clip in enumerate(own, start=1):
            wave = _sound(clip, choose)
            path = root / folder / f"{clip.name}.mp4"
            if split == "test" and number == 1:  # the plain twin of a clip that was cut again is the wrong one
                write_film(path, np.concatenate([wave, wave]))
                path = path.with_name(f"final_videos_test{clip.name}.mp4")
            write_film(path, wave)
            at_s += choose.uniform(0.2, 3)
            rows.append(_row(number, clip, at_s, at_s + len(wave) / CONTAINER_RATE_HZ))
            at_s += len(wave) / CONTAINER_RATE_HZ
            spoke()
        (root / f"{split}_sent_emo.csv").write_bytes(_table(rows, older=split == "test"))
    first = root / CLIPS["dev"] / f"{next(clip.name for clip in clips if clip.split == 'dev')}.mp4"
    first.with_name("dia66_utt9.mp4").write_bytes(first.read_bytes())  # a clip that no line names
    first.with_name(f"._{first.name}").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        ")


def _sound(clip: Clip, choose: random.Random) -> np.ndarray:
    """Stereo in season 8, else 5.1 with the speech in its centre; float32 [n_samples, n_channels]."""
    take = voices.say(clip.text, CAST[clip.speaker], MOODS[clip.emotion], clip.strength, choose)
    wave = voices.resampled(take.wave, CONTAINER_RATE_HZ)
    n_channels = 2 if clip.season == 8 else 6
    heard = np.stack([voices.room_noise(len(wave), choose) for _ in range(n_channels)], axis=1)
    if n_channels == 2:
        heard += wave[:, None]
    else:
        heard[:, CENTRE] += wave
        heard[:, :CENTRE] += 0.15 * wave[:, None]
    return np.clip(heard, -1, 1).astype(np.float32)


def _row(number: int, clip: Clip, start_s: float, end_s: float) -> list[str]:
    sentiment = SENTIMENT.get(clip.emotion, "negative")
    if clip.emotion == "surprise" and number % 2:
        sentiment = "positive"
    text, speaker = clip.text.replace("'", "’"), clip.speaker.replace("'", "’")
    if number % 15 == 0:
        text = text.replace(" ", "  ", 1)
    width = 2 if number % 3 else 1
    times = [_clock(seconds, width) for seconds in (start_s, end_s)]
    return [str(number), text, speaker, clip.emotion, sentiment, str(clip.dialogue), str(clip.utterance),
            str(clip.season), str(clip.dialogue % 20 + 1), *times]  # fmt: skip


def _clock(seconds: float, width: int) -> str:
    thousandths = round(seconds * 1000)
    hours, rest = divmod(thousandths, 3_600_000)
    return f"{hours:0{width}d}:{rest // 60_000:02d}:{rest // 1000 % 60:02d},{rest % 1000:03d}"


def _table(rows: Sequence[Sequence[str]], older: bool) -> bytes:
    """The CSV; the older generation has LF and typographic signs as Windows-1252 control characters."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n" if older else "\r\n")
    writer.writerows([COLUMNS, *rows])
    text = stream.getvalue()
    return (text.replace("’", "\x92") if older else text).encode("utf-8")
