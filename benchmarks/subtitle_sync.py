"""How often subtitles of another film pass for a title's own, and its own are refused, on simulated films.

Run as `PYTHONPATH=. python benchmarks/subtitle_sync.py [N_TRIALS]`. A film has cues of 0.8 to 4.5 s, with short and
long pauses, that fill 20, 40, 60 or 80 % of it; its voice activity is those cues a little off, with music in up to a
third of its half minutes and up to 5 % of frames wrong. Wrong subtitles are drawn like right ones, for a film up to
30 % longer or shorter.
"""

from __future__ import annotations

import sys

import numpy as np

from features.corpora.films import Films
from features.subtitles.subtitle_sync import Alignment, align
from features.voice_activity import FRAME_S

Spans = list[tuple[float, float]]
N_CUES = (3, 5, 8, 12, 20, 50, 150)
NOISES = (0.0, 0.5, 1.0)


def main() -> None:
    """Prints, per number of cues and noise, which share is accepted of right titles in place, of right ones 5 s late
    that may be moved, and of wrong ones that may be moved; and of the last by the least score alone."""
    n_trials = int(sys.argv[1]) if len(sys.argv) > 1 else 240
    least = Films().min_sync_score
    print("cues  noise  trials   in place   5 s late   wrong   wrong, by the least score alone")
    for n_cues in N_CUES:
        n = max(12, min(n_trials, 40 * n_trials // n_cues))
        for noise in NOISES:
            choose = np.random.default_rng(n_cues)
            right, late, wrong = [], [], []
            for trial in range(n):
                share, has_scenes = (0.2, 0.4, 0.6, 0.8)[trial % 4], bool(trial // 4 % 2)
                own, length_s = cues(n_cues, share, has_scenes, choose)
                voice = voice_of(own, length_s, noise, choose)
                right.append(align(own, voice))
                late.append(align([(a + 5, b + 5) for a, b in own], voice))
                others, _ = cues(max(1, round(n_cues * choose.uniform(0.7, 1.3))), share, has_scenes, choose)
                wrong.append(align([(a, b) for a, b in others if a < length_s + 60], voice))
            shares = (
                np.mean([passes(one, least) and one.is_in_place for one in right]),
                *(np.mean([passes(one, least) for one in many]) for many in (late, wrong)),
                np.mean([one.score >= least for one in wrong]),
            )
            print(f"{n_cues:4} {noise:6} {n:7} " + " ".join(f"{share:10.1%}" for share in shares))


def passes(found: Alignment, least: float) -> bool:
    """As a reader decides."""
    return found.score >= least and found.score > found.chance


def cues(n: int, share: float, has_scenes: bool, choose: np.random.Generator) -> tuple[Spans, float]:
    """Cues that fill a share of a film, and its length in seconds."""
    lengths = choose.uniform(0.8, 4.5, n)
    pauses = np.where(choose.random(n) < 0.4, 0.02, choose.exponential(1.5, n))
    if has_scenes:
        pauses = pauses + np.where(choose.random(n) < 0.06, choose.exponential(20.0, n), 0.0)
    film_s = lengths.sum() / share
    pauses *= 0.95 * (film_s - lengths.sum()) / pauses.sum()
    starts = np.cumsum(pauses) + np.concatenate([[0.0], np.cumsum(lengths)[:-1]])
    return list(zip(starts.tolist(), (starts + lengths).tolist(), strict=True)), float(film_s)


def voice_of(spans_s: Spans, length_s: float, noise: float, choose: np.random.Generator) -> np.ndarray:
    """bool [n_frames]: what a detector makes of a film with these cues."""
    voice = np.zeros(max(1, round(length_s / FRAME_S)), dtype=bool)
    for start_s, end_s in spans_s:
        begins_s = start_s + choose.normal(0, 0.1)
        ends_s = begins_s + (end_s - start_s) * choose.uniform(0.6, 1.0)
        voice[max(0, round(begins_s / FRAME_S)) : max(0, round(ends_s / FRAME_S))] = True
    half_minute = round(30 / FRAME_S)
    for first in range(0, len(voice), half_minute):
        voice[first : first + half_minute] |= choose.random() < 0.3 * noise
    return voice ^ (choose.random(len(voice)) < 0.05 * noise)


if __name__ == "__main__":
    main()
