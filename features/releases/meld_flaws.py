"""What is wrong with every published copy of MELD, and how a clip's flaws are told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from features.releases.meld_release import Key

MISMATCH_S = 0.5
"""A clip that is longer or shorter than its line says by more than this was cut wrongly."""

LONG_S = 30.0
SHORT_S = 0.25
"""Below this, stacked and strided features may have no frame."""

Known = frozenset[tuple[str, int, int]]
"""Splits, dialogues and utterances."""


def _keys(split: str, dialogues: Mapping[int, tuple[int, ...]]) -> Known:
    return frozenset((split, dialogue, number) for dialogue, numbers in dialogues.items() for number in numbers)


ABSENT: Known = _keys("train", {125: (3,)}) | _keys("dev", {110: (7,)})
"""Lines whose clip is missing, or is a file without an index that nothing can open."""

WITHOUT_LINE: Known = _keys("dev", {66: (9, 10), 49: (4, 5)}) | _keys("test", {108: (2,)})
"""Clips that no line names."""

LONG: Known = _keys("test", {38: (4,), 220: (0,)}) | _keys("train", {309: (0,)})
"""Cut minutes too late; the CSV has the same wrong times."""

EMPTY_INTERVAL: Known = _keys("test", {155: (3,)})

MISMATCHED: Known = _keys("train", {338: (3,), 556: (6,)}) | _keys(
    "test",
    {
        1: (0, 6), 2: (6, 9), 4: (1,), 5: (1, 3), 11: (1,), 12: (3, 11, 13), 14: (0, 1, 2, 6), 15: (3,), 17: (20,),
        22: (0, 13, 15, 20), 25: (3,), 27: (0,), 28: (0, 3, 5, 8), 29: (3, 6, 8), 32: (8,), 33: (7,), 41: (3, 5, 9),
        42: (5,), 44: (0,), 46: (0, 2), 47: (3, 8, 9), 49: (0, 8, 9), 52: (3, 5), 54: (10,), 56: (3,), 58: (0, 6, 11),
        60: (2,), 63: (0,), 64: (4,), 65: (7,), 66: (3,), 68: (12,), 69: (1,), 70: (1, 3, 6), 71: (1, 4, 5, 6),
        72: (0, 1, 2, 3, 6, 7, 10, 12), 73: (4,), 76: (3, 5), 78: (4,), 79: (0,), 80: (7,), 86: (0,), 88: (2, 4, 8),
        93: (4, 8, 9, 13), 95: (10, 11, 14), 96: (0,), 97: (4, 8), 98: (3, 6, 8), 100: (1, 5, 6, 7, 10, 11, 16, 17),
        101: (0, 2), 102: (7,), 103: (0,), 104: (1,), 151: (2,), 155: (3,), 187: (2,), 242: (2,),
    },
)  # fmt: skip
"""Published clips that are longer than their line; most test ones are the plain twins of clips that were cut again."""

BAD_SOUND: Known = _keys("train", {793: (0,), 164: (5,), 682: (1,), 529: (2,), 1029: (1,), 1008: (1,)})
"""Heard and reported by users of the corpus."""

OUT_OF_STEP: Known = _keys("train", {757: (7,), 485: (0,)})
OUT_OF_STEP_DIALOGUES = frozenset({("train", 241)})
"""Words that are not those of the clip, reported by users: single utterances and a whole dialogue."""


def flaws(split: str, key: Key, stated_s: float, clip_s: float) -> Iterator[str]:
    """Names of what is wrong with a clip, though it can be heard: some measured, some known by its name.

    A line whose times are no interval says nothing about the clip's length.

    Args:
        stated_s: from the line's start to its end.
        clip_s: of the clip's sound.

    Example:
        >>> list(flaws("test", (38, 4), 304.94, 304.96))
        ['long_clip']
    """
    name = (split, *key)
    if stated_s <= 0:
        yield "empty_interval"
    elif abs(clip_s - stated_s) > MISMATCH_S:
        yield "duration_mismatch"
    if clip_s > LONG_S:
        yield "long_clip"
    if clip_s < SHORT_S:
        yield "short_clip"
    if name in BAD_SOUND:
        yield "bad_sound"
    if name in OUT_OF_STEP or (split, key[0]) in OUT_OF_STEP_DIALOGUES:
        yield "out_of_step"
