"""How far the boundaries of the pocketsphinx aligner lie from reference boundaries, and how fast it finds them.

    python benchmarks/alignment.py [FOLDER]

The reference is the sandbox's synthesiser, which knows when it began each word and phone: exact, but no human voice.
FOLDER adds real speech: every `NAME.phone.json` (pocketsphinx's own format) and `NAME.TextGrid` (MFA's tiers 'words'
and 'phones') beside `NAME.wav` or `NAME.flac`. Such references are themselves the output of aligners.

A word boundary is the begin or end of a word; a phone boundary is the begin of a phone that is not the first of its
word, in words where both sides have as many phones. A shift is found minus reference. The last line gives each
sandbox clip the words of the next one, and counts those that the aligner refuses.
"""

from __future__ import annotations

import json
import random
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from features.aligners.pocketsphinx import PocketSphinx
from features.plugin import RATE_HZ, Clip, Interval
from features.sandbox.sentences import sentence
from features.sandbox.voices import MEN, PROSODY, WOMEN, resampled, say
from warehouse.errors import Untreatable


class Word(NamedTuple):
    symbol: str
    start_s: float
    end_s: float
    phone_starts_s: tuple[float, ...]


@dataclass(frozen=True)
class Reference:
    text: str
    wave: np.ndarray
    words: tuple[Word, ...]


def main(arguments: list[str]) -> None:
    align = PocketSphinx().load("cpu")
    sandbox = list(spoken())
    columns = "  median   90 %   shift"
    print(f"{'':<35}{'word boundary (ms)':<28}{'phone boundary (ms)':<28}")
    print(f"{'reference':<14}{'clips':>6}{'failed':>7}{'words':>7} {columns:<28}{columns:<28}x real time")
    report("sandbox", sandbox, align)
    if arguments:
        folder = Path(arguments[0])
        report("*.phone.json", in_sphinx_json(folder), align)
        report("*.TextGrid", in_textgrids(folder), align)
    n_refused = sum(refuses(align, a.wave, b.text) for a, b in pairwise(sandbox))
    print(f"wrong transcripts refused: {n_refused} of {len(sandbox) - 1}")


def refuses(align: Callable[[Clip], list[Interval]], wave: np.ndarray, text: str) -> bool:
    try:
        align(Clip("wrong", wave, text))
    except Untreatable:
        return True
    return False


def report(name: str, references: Iterable[Reference], align: Callable[[Clip], list[Interval]]) -> None:
    words: list[float] = []
    phones: list[float] = []
    n_clips = n_failed = n_words = 0
    spoken_s = spent_s = 0.0
    for reference in references:
        clip = Clip(name, reference.wave, reference.text)
        n_clips += 1
        begun = time.perf_counter()
        try:
            found = align(clip)
        except Untreatable as error:
            n_failed += 1
            print(f"  not aligned: {error}")
            continue
        spent_s += time.perf_counter() - begun
        spoken_s += clip.duration_s
        of_words, of_phones = differences(reference.words, found)
        n_words += len(reference.words)
        words += of_words
        phones += of_phones
    if n_clips:
        speed = spoken_s / spent_s if spent_s else 0.0
        counts = f"{name:<14}{n_clips:>6}{n_failed:>7}{n_words:>7}"
        print(f"{counts} {summary(words):<28}{summary(phones):<28}{speed:>11.0f}")


def differences(words: tuple[Word, ...], found: list[Interval]) -> tuple[list[float], list[float]]:
    """Milliseconds from reference to found boundaries: of words, and of phones within words."""
    aligned = [i for i in found if i.tier == "word"]
    of_words, of_phones = [], []
    for word, own in zip(words, aligned, strict=True):
        of_words += [own.start_s - word.start_s, own.end_s - word.end_s]
        starts = [i.start_s for i in found if i.tier == "phone" and own.start_s <= i.start_s < own.end_s]
        if len(starts) == len(word.phone_starts_s):
            of_phones += [a - b for a, b in zip(starts[1:], word.phone_starts_s[1:], strict=True)]
    return [1000 * d for d in of_words], [1000 * d for d in of_phones]


def summary(milliseconds: list[float]) -> str:
    if not milliseconds:
        return "-"
    distance = np.abs(milliseconds)
    return f"{np.median(distance):8.1f}{np.percentile(distance, 90):7.1f}{np.mean(milliseconds):+8.1f}"


def in_sphinx_json(folder: Path) -> Iterator[Reference]:
    for path in sorted(folder.rglob("*.phone.json")):
        found = json.loads(path.read_text())
        said = [word for word in found["w"] if word["t"][0] not in "<["]
        words = [Word(w["t"], w["b"], w["b"] + w["d"], tuple(phone["b"] for phone in w["w"])) for w in said]
        yield Reference(found["t"], read_sound(path.with_name(path.name.removesuffix(".phone.json"))), tuple(words))


def in_textgrids(folder: Path) -> Iterator[Reference]:
    entry = re.compile(r'xmin = (\S+)\s+xmax = (\S+)\s+text = "(.*)"')
    for path in sorted(folder.rglob("*.TextGrid")):
        _, words_tier, phones_tier = re.split(r'name = "(?:words|phones)"', path.read_text())
        phones = [(float(b), float(e)) for b, e, symbol in entry.findall(phones_tier) if symbol]
        spans = [(float(b), float(e), symbol) for b, e, symbol in entry.findall(words_tier) if symbol]
        words = [Word(symbol, b, e, tuple(p for p, _ in phones if b <= p < e)) for b, e, symbol in spans]
        yield Reference(" ".join(w.symbol for w in words), read_sound(path.with_suffix("")), tuple(words))


def read_sound(stem: Path) -> np.ndarray:
    candidates = [stem.with_name(stem.name + ending) for ending in (".wav", ".flac")]
    path = next(path for path in candidates if path.exists())
    wave, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    return soxr.resample(wave.mean(axis=1), rate_hz, RATE_HZ).astype(np.float32)


def spoken() -> Iterator[Reference]:
    """Every voice of the sandbox in every mood, once; the synthesiser knows when it began each word and phone."""
    choose = random.Random(0)
    for speaker in WOMEN + MEN:
        for mood in PROSODY:
            text = sentence(mood, choose.random() < 0.5, choose)
            take = say(text, speaker, mood, 1.0, choose)
            words = tuple(
                Word(symbol, start_s, end_s, tuple(at_s for _, at_s, _ in take.phones if start_s <= at_s < end_s))
                for symbol, start_s, end_s in take.words
            )
            yield Reference(text, resampled(take.wave, RATE_HZ).astype(np.float32), words)


if __name__ == "__main__":
    main(sys.argv[1:])
