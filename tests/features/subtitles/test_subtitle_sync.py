from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

from features.subtitles.subrip import parse_srt
from features.subtitles.subtitle_sync import RATIOS, TOLERANCE_S, align, part_elsewhere
from features.voice_activity import FRAME_S, voice_of_file
from tests.sparing import first

Spans = list[tuple[float, float]]


@functools.cache
def voice_of(path: Path) -> np.ndarray:
    return voice_of_file(path)


def dialogue(duration_s: float, choose: np.random.Generator) -> Spans:
    """Cues of a film: some touch, some pauses are long."""
    spans, at = [], choose.uniform(1, 10)
    while at < duration_s - 10:
        end = at + choose.uniform(0.8, 4.5)
        spans.append((at, end))
        at = end + choose.choice([0.0, choose.exponential(1.5), choose.exponential(20)], p=[0.4, 0.54, 0.06])
    return spans


def heard(spans: Spans, duration_s: float, choose: np.random.Generator) -> np.ndarray:
    """What a poor detector makes of them: late and early, holes, music taken for speech, one frame in twenty wrong."""
    n_frames = round(duration_s / FRAME_S)
    active = np.zeros(n_frames, bool)
    for start_s, end_s in spans:
        start_s += choose.normal(0, 0.1)
        end_s = start_s + (end_s - start_s) * choose.uniform(0.6, 1)
        active[max(0, round(start_s / FRAME_S)) : round(end_s / FRAME_S)] = 1
    for start in range(0, n_frames, 3_000):
        if choose.random() < 0.3:
            active[start : start + 3_000] = 1
    return active ^ (choose.random(n_frames) < 0.05)


def written(spans: Spans, offset_s: float, ratio: float) -> Spans:
    """The times of subtitles that are heard at `spans` when moved by these; what would stand before 0 is lost."""
    moved = [((start_s - offset_s) / ratio, (end_s - offset_s) / ratio) for start_s, end_s in spans]
    return [span for span in moved if span[0] >= 0]


@pytest.mark.parametrize("ratio", first(3, RATIOS))
@pytest.mark.parametrize("offset_s", [0.0, -55.0, 2.0, 40.0])
def test_any_shift_and_stretch_of_a_film_is_found(offset_s: float, ratio: float) -> None:
    choose = np.random.default_rng(int(ratio * 1_000 + offset_s + 60))
    spans = dialogue(900, choose)
    found = align(written(spans, offset_s, ratio), heard(spans, 900, choose))
    assert found.ratio == ratio
    assert found.offset_s == pytest.approx(offset_s, abs=0.3)
    assert found.score > 0.25
    assert found.is_in_place == (offset_s == 0 and ratio == 1)


@pytest.mark.parametrize("duration_s", [40, 120, 600, 1_800])
def test_subtitles_in_place_stay_whatever_their_length(duration_s: int) -> None:
    for seed in range(4):
        choose = np.random.default_rng(seed)
        spans = dialogue(duration_s, choose)
        found = align(written(spans, choose.uniform(-0.2, 0.2), 1), heard(spans, duration_s, choose))
        assert found.is_in_place and found.score == found.own_score


def test_subtitles_of_another_film_fit_nowhere() -> None:
    choose = np.random.default_rng(0)
    voice = heard(dialogue(2_000, choose), 2_000, choose)
    assert align(dialogue(2_000, choose), voice).score < 0.15


def test_scores_of_films_of_any_length_are_alike() -> None:
    scores = []
    for duration_s in (300, 1_200, 3_600):
        choose = np.random.default_rng(7)
        spans = dialogue(duration_s, choose)
        scores.append(align(spans, heard(spans, duration_s, choose)).score)
    assert max(scores) - min(scores) < 0.15


@pytest.mark.parametrize("voice", [np.zeros(1_000, bool), np.ones(1_000, bool), np.zeros(0, bool)])
def test_where_nothing_can_be_told_the_score_is_0(voice: np.ndarray) -> None:
    found = align([(1.0, 2.0)], voice)
    assert (found.score, found.is_in_place) == (0.0, True)
    assert align([], voice).score == 0.0


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("offset_s", [0.0, 0.2, 1.0, -2.0, 5.0, -10.0, 20.0, -45.0])
def test_the_real_pair_is_found_again(real: Path, offset_s: float, ratio: float) -> None:
    """In 53 s some stretches differ by less than the tolerance from another with another shift: what counts is where
    the cues come to lie."""
    silence_s = max(0.0, offset_s) + 1
    voice = np.pad(voice_of(real / "movie_like" / "p001.mp3"), (round(silence_s / FRAME_S), 100))
    cues = parse_srt((real / "movie_like" / "sonnet001.srt").read_text())[1:]
    spans = [(cue.times_s[0] + silence_s, cue.times_s[1] + silence_s) for cue in cues if cue.times_s]
    subtitles = written(spans, offset_s, ratio)
    assert len(subtitles) == 14
    found = align(subtitles, voice)
    for (written_s, _), (heard_s, _) in zip(subtitles, spans, strict=True):
        assert found.moved(written_s) == pytest.approx(heard_s, abs=TOLERANCE_S + 0.05)


def test_the_real_pair_is_in_place(real: Path) -> None:
    voice = voice_of(real / "movie_like" / "p001.mp3")
    cues = parse_srt((real / "movie_like" / "sonnet001.srt").read_text())[1:]
    found = align([cue.times_s for cue in cues if cue.times_s], voice)
    assert found.is_in_place and found.score > max(0.3, found.chance)


def test_of_few_cues_or_many_wrong_ones_hardly_ever_pass() -> None:
    """Without the level of chance every second of the wrong ones with few cues would."""
    tried = passed = above = 0
    for seed in range(120):
        choose = np.random.default_rng(seed)
        duration_s = (15, 40, 100, 250)[seed % 4]
        voice = heard(dialogue(duration_s, choose), duration_s, choose)
        if spans := dialogue(duration_s, choose):
            found = align(spans, voice)
            tried, passed = tried + 1, passed + (found.score > max(0.15, found.chance))
            above += found.score > 0.15
    assert tried > 90 and above > 0.5 * tried
    assert passed <= 0.02 * tried


def test_right_titles_of_twenty_cues_pass() -> None:
    passed = []
    for seed in range(40):
        choose = np.random.default_rng(seed)
        spans = dialogue(150, choose)
        voice = np.zeros(15_000, bool)
        for start_s, end_s in spans:
            voice[round((start_s + choose.normal(0, 0.1)) / FRAME_S) : round(end_s / FRAME_S)] = 1
        found = align(spans, voice ^ (choose.random(15_000) < 0.05))
        passed.append(found.score > max(0.15, found.chance))
    assert all(passed)


def test_one_cue_fits_any_sound() -> None:
    choose = np.random.default_rng(0)
    spans = [(4.0, 6.0)]
    found = align(spans, heard(dialogue(60, choose), 60, choose))
    assert found.score < found.chance


@pytest.mark.parametrize("n_frames", [1, 30, 120])
def test_too_short_a_sound_tells_nothing(n_frames: int) -> None:
    assert align([(0.0, n_frames * FRAME_S / 2)], np.arange(n_frames) < n_frames / 2).chance == pytest.approx(
        1, abs=0.5
    )
    assert align([(0.0, 0.1)], np.arange(30) < 10).chance == 1.0


def test_the_level_of_chance_is_the_same_again() -> None:
    choose = np.random.default_rng(3)
    spans = dialogue(300, choose)
    voice = heard(spans, 300, choose)
    assert align(spans, voice) == align(spans, voice.copy())


def test_a_break_on_the_way_is_found() -> None:
    choose = np.random.default_rng(1)
    spans = dialogue(1_200, choose)
    voice = heard(spans, 1_200, choose)
    assert len(spans) > 200
    assert part_elsewhere(spans, voice, align(spans, voice)) is None
    broken = [(a + 20 * (a > 800), b + 20 * (a > 800)) for a, b in spans]
    whole = align(broken, voice)
    assert whole.is_in_place and whole.score > whole.chance
    found = part_elsewhere(broken, voice, whole)
    assert found is not None
    start_s, end_s, there = found
    assert end_s > 800 and start_s < end_s <= broken[-1][1]
    assert there.offset_s == pytest.approx(-20, abs=0.3) and there.score > there.own_score


@pytest.mark.parametrize(("seed", "length_s", "n"), [(1, 3_600, 1_400), (60, 2_400, 900), (3, 2_400, 1_400)])
def test_a_part_that_fits_another_stretch_by_a_hair_stays(seed: int, length_s: int, n: int) -> None:
    """A film heard badly: a third of its cues not at all, and as much besides."""
    choose = np.random.default_rng(seed)
    starts = np.sort(choose.uniform(5, length_s - 10, n))
    ends = np.minimum(starts + choose.uniform(1, 4, n), np.append(starts[1:] - 0.08, length_s))
    spans = [(a, b) for a, b in zip(starts.tolist(), ends.tolist(), strict=True) if b - a > 0.6]
    voice = np.zeros(round(length_s / FRAME_S), dtype=bool)
    for start_s, end_s in spans:
        if choose.random() >= 0.35:
            begins_s = max(0, start_s + choose.normal(0, 0.5))
            ends_s = end_s - choose.uniform(0, 0.8) + choose.normal(0, 0.5)
            voice[round(begins_s / FRAME_S) : round(max(begins_s, ends_s) / FRAME_S)] = True
    for _ in range(int(0.6 * n)):
        start_s = choose.uniform(0, length_s - 8)
        voice[round(start_s / FRAME_S) : round((start_s + choose.uniform(0.5, 8)) / FRAME_S)] = True
    whole = align(spans, voice)
    assert whole.is_in_place and whole.score > whole.chance
    assert part_elsewhere(spans, voice, whole) is None


def test_few_cues_are_one_part() -> None:
    choose = np.random.default_rng(1)
    spans = dialogue(300, choose)[:90]
    voice = heard(spans, 300, choose)
    broken = [(a + 20 * (a > 150), b + 20 * (a > 150)) for a, b in spans]
    assert part_elsewhere(broken, voice, align(spans, voice)) is None
