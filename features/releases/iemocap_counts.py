"""What IEMOCAP must count: the figures that three public id lists agree on, and the same figures of a tree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from features.releases.iemocap_files import scenario_of, speaker_of, spoken, wearer_of

SESSIONS = (1, 2, 3, 4, 5)
CLASSES = {"neu": "neu", "hap": "hap+exc", "exc": "hap+exc", "ang": "ang", "sad": "sad"}
"""Emotion -> class of the four that most papers use."""

PER_SESSION = {
    "wav": (1819, 1811, 2136, 2103, 2170),
    "dialogues": (28, 30, 32, 30, 31),
    "neu": (384, 362, 320, 258, 384),
    "hap": (135, 117, 135, 65, 143),
    "exc": (143, 210, 151, 238, 299),
    "ang": (229, 137, 240, 327, 170),
    "sad": (194, 197, 305, 143, 245),
}
PER_SPEAKER = {  # F and M of session 1, of session 2, …
    "neu": (171, 213, 135, 227, 130, 190, 76, 182, 221, 163),
    "hap+exc": (132, 146, 166, 161, 128, 158, 185, 118, 159, 283),
    "ang": (147, 82, 67, 70, 92, 148, 205, 122, 78, 92),
    "sad": (78, 116, 113, 84, 172, 133, 62, 81, 132, 113),
}
OTHERS = {"fru": 1849, "sur": 107, "fea": 40, "dis": 2, "oth": 3, "xxx": 2507}
SCENARIOS = {"neu": (1099, 609), "hap+exc": (947, 689), "ang": (289, 814), "sad": (608, 476)}
"""Class -> improvised, scripted."""

WEARER_IS_NOT_SPEAKER = 2750
ONLY_TAGS = 29
"""Of the four classes, like the figure before it."""

TAGS = {"[LAUGHTER]": 121, "[GARBAGE]": 29, "[BREATHING]": 27}
"""Tag -> how often it stands in the transcripts of the four classes."""

NO_ALIGNMENT = frozenset({"Ses03M_impro03_M001", "Ses03F_impro07_M030"})
"""Utterances whose alignment no copy of the release has."""


def tally(
    judged: Iterable[tuple[str, str, str | None]],
    wavs: Iterable[str] = (),
    dialogues: Iterable[str] = (),
    aligned: Iterable[str] = (),
) -> dict[str, int]:
    """The figures of a tree, by the names that `published` has.

    Args:
        judged: (utterance, emotion of the summary, verbatim transcript or None where there is none).
        wavs, dialogues, aligned: ids of sentence wavs, of dialogues, of utterances with a word alignment.
    """
    found: Counter[str] = Counter()
    for what, names in (("wav", wavs), ("dialogues", dialogues)):
        for name in names:
            found[what] += 1
            found[f"{what}, session {name[4]}"] += 1
    found["aligned"] = sum(1 for _ in aligned)
    for name, emotion, verbatim in judged:
        found[f"label {emotion}"] += 1
        if emotion not in CLASSES:
            continue
        own = CLASSES[emotion]
        found[f"{own}, {speaker_of(name)}"] += 1
        found[f"{own}, {scenario_of(name)}"] += 1
        for what in {emotion, own, "four classes"}:
            found[f"{what}, session {name[4]}"] += 1
        found["four classes"] += 1
        found[f"four classes, {speaker_of(name)}"] += 1
        found["four classes, wearer is not the speaker"] += wearer_of(name) != speaker_of(name)
        if verbatim is not None:
            found["four classes, only tags"] += not spoken(verbatim).strip()
            found.update({f"four classes, {tag}": verbatim.count(tag) for tag in TAGS})
    for number in SESSIONS:
        found[f"training without session {number}"] = found["four classes"] - found[f"four classes, session {number}"]
    return dict(found)


def published(sessions: Sequence[int] = SESSIONS) -> dict[str, int]:
    """What these sessions of the full release must count; totals only where it is all five.

    Source: the id lists of s3prl, EmoBox and MMER, which agree; their sums are those of Busso et al. 2008.
    """
    table: dict[str, int] = {}
    for what in ("wav", "dialogues"):
        table |= _per_session(what, PER_SESSION[what])
    emotions = {emotion: PER_SESSION[emotion] for emotion in CLASSES}
    table |= {f"label {emotion}": sum(figures) for emotion, figures in emotions.items()}
    table |= {f"label {emotion}": n for emotion, n in OTHERS.items()}
    both = tuple(map(sum, zip(emotions["hap"], emotions["exc"], strict=True)))
    four = tuple(map(sum, zip(*emotions.values(), strict=True)))
    table |= _per_session("four classes", four)
    for what, figures in {**emotions, "hap+exc": both}.items():
        table |= {key: n for key, n in _per_session(what, figures).items() if key != what}
    table |= {f"training without session {i}": sum(four) - n for i, n in enumerate(four, start=1)}
    speakers = [f"Ses0{number}{letter}" for number in SESSIONS for letter in "FM"]
    all_four = tuple(map(sum, zip(*PER_SPEAKER.values(), strict=True)))
    for what, figures in {"four classes": all_four, **PER_SPEAKER}.items():
        table |= {f"{what}, {speaker}": n for speaker, n in zip(speakers, figures, strict=True)}
    for what, (improvised, scripted) in SCENARIOS.items():
        table |= {f"{what}, improvised": improvised, f"{what}, scripted": scripted}
    table["four classes, wearer is not the speaker"] = WEARER_IS_NOT_SPEAKER
    table["four classes, only tags"] = ONLY_TAGS
    table |= {f"four classes, {tag}": n for tag, n in TAGS.items()}
    table["aligned"] = table["wav"] - len(NO_ALIGNMENT)
    return table if set(sessions) == set(SESSIONS) else of_sessions(sessions, table)


def of_sessions(sessions: Sequence[int], table: Mapping[str, int]) -> dict[str, int]:
    """The figures that concern these sessions alone."""
    own = [f"session {i}" for i in sessions] + [f"Ses0{i}{letter}" for i in sessions for letter in "FM"]
    return {what: n for what, n in table.items() if what.partition(", ")[2] in own}


def _per_session(what: str, figures: Sequence[int]) -> dict[str, int]:
    return {what: sum(figures)} | {f"{what}, session {i}": n for i, n in enumerate(figures, start=1)}
