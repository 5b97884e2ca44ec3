"""Whether subtitles belong to a soundtrack: the shift and stretch under which they cover its speech best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.voice_activity import FRAME_S

MAX_OFFSET_S = 60.0
TOLERANCE_S = 0.3
"""A smaller shift is none: subtitles come a little before or after the voice by their maker's taste."""

_PAL, _FILM, _NTSC = 25.0, 24.0, 24_000 / 1_001
RATIOS = (1.0, _FILM / _NTSC, _PAL / _NTSC, _PAL / _FILM, _NTSC / _FILM, _NTSC / _PAL, _FILM / _PAL)
"""Stretches that come of a film played at another frame rate than its subtitles were made for."""

LEAST_MARGIN = 0.005
MARGIN = 1.2
"""How much better than at its own place a title must fit elsewhere before that is believed: MARGIN / number of cues,
for chance does more with a few, and LEAST_MARGIN for a long film."""

ABOVE_CHANCE = 2.5
"""How many standard deviations above what the cues reach on sound that is not theirs they must agree with the speech.
Of simulated titles, wrong ones pass in at most 2 of 100 cases, whatever their length."""

ABOVE_CHANCE_ELSEWHERE = 4.0
"""The same where the subtitles are not: of very many places tried there, the best is high by chance alone."""

MOST_PARTS, LEAST_IN_PART = 4, 50
"""Into how many parts subtitles are cut, and of how many cues at least, to see whether all fit at the same place."""

_NEIGHBOURHOOD_S = 3.0
_BREATH_S = 0.2
_MOST = round(MAX_OFFSET_S / FRAME_S)
_OFFSETS = np.arange(-_MOST, _MOST + 1)


@dataclass(frozen=True)
class Alignment:
    """What the subtitles have at t is heard at t * ratio + offset_s. `score` is the correlation of subtitles and
    speech there, -1 … 1, comparable between titles; `own_score` the same at the place where the subtitles are. `chance`
    is what the same cues may reach on sound that is not theirs: at most that, and the score says nothing."""

    offset_s: float
    ratio: float
    score: float
    own_score: float
    chance: float

    @property
    def is_in_place(self) -> bool:
        """Within TOLERANCE_S of where the subtitles are, unstretched."""
        return self.ratio == 1.0 and abs(self.offset_s) <= TOLERANCE_S

    def moved(self, seconds: float) -> float:
        """Where a time of the subtitles is in the soundtrack, to the millisecond."""
        return round(seconds * self.ratio + self.offset_s, 3)


def align(spans_s: Sequence[tuple[float, float]], voice: np.ndarray) -> Alignment:
    """The shift within MAX_OFFSET_S and the stretch of RATIOS under which cues and speech agree best.

    Both are tracks of 0 and 1 at FRAME_S; every shift is tried at once by a Fourier transform, for each stretch. A
    cue that touches the next one ends a breath before it, or titles whose cues leave no gap would have nothing to be
    recognised by. Where the best place is hardly better (MARGIN) than where the subtitles are, they stay. A score that
    is not above `chance` tells nothing of them, which is what becomes of a few cues, right or wrong.

    Args:
        spans_s: of the cues that are speech.
        voice: bool [n_frames], from `voice_activity`.
    """
    tracks = [_track(spans_s, ratio) for ratio in RATIOS]
    own, *_ = scores = _correlations(tracks, voice)
    near = abs(_OFFSETS) * FRAME_S <= TOLERANCE_S
    margin = max(LEAST_MARGIN, MARGIN / max(1, len(spans_s)))
    best, ratio = max(zip(scores, RATIOS, strict=True), key=lambda place: place[0].max())
    if own.max() >= best.max() - margin / 4:  # two stretches of a short title differ by little
        best, ratio = own, 1.0
    if own[near].max() >= best.max() - margin:
        best, ratio = np.where(near, own, -1.0), 1.0
    place = int(best.argmax())
    offset_s, is_near = float(_OFFSETS[place] * FRAME_S), ratio == 1.0 and bool(near[place])
    chance = _chance(tracks[RATIOS.index(ratio)], voice, offset_s, ABOVE_CHANCE if is_near else ABOVE_CHANCE_ELSEWHERE)
    return Alignment(offset_s, ratio, float(best[place]), float(own[near].max()), chance)


def part_elsewhere(
    spans_s: Sequence[tuple[float, float]], voice: np.ndarray, whole: Alignment
) -> tuple[float, float, Alignment] | None:
    """Begin, end and own alignment of the first part of subtitles that is heard elsewhere than the whole says, as after
    an interval or a scene that only one of both has; None where no part is, or the cues are too few for parts.

    A part must fit there clearly: what fits nowhere, such as a scene with loud music, says nothing. So a break near
    either end, which leaves most of every part in its place, is not found. A break shifts what follows but does not
    stretch it: a part that fits another stretch best, as noisy ones do by a hair, says nothing either.

    Args:
        spans_s: of the cues that are speech.
        voice: bool [n_frames], from `voice_activity`.
        whole: what `align` says of them all.
    """
    heard_s = sorted((whole.moved(start_s), whole.moved(end_s)) for start_s, end_s in spans_s)
    n_parts = min(MOST_PARTS, len(heard_s) // LEAST_IN_PART)
    for part in range(n_parts if n_parts > 1 else 0):
        own = heard_s[part * len(heard_s) // n_parts : (part + 1) * len(heard_s) // n_parts]
        start_s, end_s = own[0][0], max(end_s for _, end_s in own)
        first = max(0, round((start_s - MAX_OFFSET_S) / FRAME_S))
        around = voice[first : round((end_s + MAX_OFFSET_S) / FRAME_S)]
        there = align([(a - first * FRAME_S, b - first * FRAME_S) for a, b in own], around)
        if there.ratio == 1.0 and not there.is_in_place and there.score > there.chance:
            return start_s, end_s, there
    return None


def _track(spans_s: Sequence[tuple[float, float]], ratio: float) -> np.ndarray:
    """float64 [n_frames]: 1 where a cue is shown."""
    spans_s = sorted(spans_s)
    track = np.zeros(round(max((end for _, end in spans_s), default=0.0) * ratio / FRAME_S) + 1)
    for position, (start_s, end_s) in enumerate(spans_s):
        following_s = spans_s[position + 1][0] if position + 1 < len(spans_s) else end_s + 1
        end_s = min(end_s, max(start_s, following_s - _BREATH_S))
        track[max(0, round(start_s * ratio / FRAME_S)) : max(0, round(end_s * ratio / FRAME_S))] = 1
    return track


def _chance(track: np.ndarray, voice: np.ndarray, offset_s: float, n_deviations: float) -> float:
    """The agreement that cues reach on sound that cannot be theirs: the voice backwards, and the voice turned (what
    passes its end comes first) by any time that is not within _NEIGHBOURHOOD_S of `offset_s`.

    Both have the pauses and the music of the title itself. At each of these places the best of a span as wide as that
    which counts as in place is taken; the level is the mean of those and some standard deviations. It is 1, which
    nothing passes, where the sound is too short to tell, and near it for few cues: they fit by chance anywhere.
    """
    n_frames, n_shown, n_voiced = max(len(track), len(voice)), track.sum(), float(voice.sum())
    spread = n_shown * (n_frames - n_shown) * n_voiced * (n_frames - n_voiced)
    if not spread > 0:
        return 1.0
    heard, shown = np.fft.rfft(voice.astype(float), n_frames), np.fft.rfft(track, n_frames).conj()
    turned, backwards = (np.rint(np.fft.irfft(each * shown, n_frames)) for each in (heard, heard.conj()))
    apart = round(_NEIGHBOURHOOD_S / FRAME_S)
    turned = np.roll(turned, -(round(offset_s / FRAME_S) + apart))[: max(0, n_frames - 2 * apart)]
    together = np.concatenate([turned, backwards])
    width = 2 * round(TOLERANCE_S / FRAME_S) + 1
    n_spans = len(together) // width
    if n_spans < 2:
        return 1.0
    best = together[: n_spans * width].reshape(n_spans, width).max(axis=1)
    level = best.mean() + n_deviations * best.std()
    return min(1.0, float((n_frames * level - n_shown * n_voiced) / np.sqrt(spread)))


def _correlations(tracks: Sequence[np.ndarray], voice: np.ndarray) -> list[np.ndarray]:
    """Pearson's correlation of each track and the voice at each of _OFFSETS, over the longer of both; outside nobody
    speaks."""
    size = 1 << (max(map(len, tracks)) + len(voice) + _MOST).bit_length()
    heard, n_voiced = np.fft.rfft(voice.astype(float), size), float(voice.sum())
    found = []
    for track in tracks:
        n_frames, n_shown = max(len(track), len(voice)), track.sum()
        together = np.rint(np.fft.irfft(heard * np.fft.rfft(track, size).conj(), size)[_OFFSETS])
        spread = n_shown * (n_frames - n_shown) * n_voiced * (n_frames - n_voiced)
        flat = np.zeros(len(_OFFSETS))
        found.append((n_frames * together - n_shown * n_voiced) / np.sqrt(spread) if spread > 0 else flat)
    return found
