"""EmotionLines (Friends) at its true size: as many dialogues, utterances and labels as published, in sentences of our
own."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from features.sandbox.sentences import TELLING

FOLDER = "EmotionLines"
CLASSES = ("neutral", "joy", "sadness", "fear", "anger", "surprise", "disgust")
SIZES = {"train": (720, 10_561), "dev": (80, 1_178), "test": (200, 2_764)}
"""Split -> dialogues and utterances."""

LABELS = {
    "neutral": 6_530, "non-neutral": 2_772, "joy": 1_710, "surprise": 1_657, "anger": 759, "sadness": 498,
    "disgust": 331, "fear": 246,
}  # fmt: skip
UNDECIDED = ("2100011", "1110002", "0120200", "2000120")
SPEAKERS = ("Clara", "Arthur", "Irene", "Walter", "Clara’s Father")


def write(root: Path, seed: int = 0) -> None:
    """Writes the three files; the same bytes for the same seed."""
    choose = random.Random(f"{seed} emotionlines")
    emotions = [emotion for emotion, n in LABELS.items() for _ in range(n)]
    choose.shuffle(emotions)
    (root / "Friends").mkdir(parents=True)
    for split, (n_dialogues, n_lines) in SIZES.items():
        dialogues: list[list[dict[str, str]]] = [[] for _ in range(n_dialogues)]
        for number in range(n_lines):
            dialogues[number * n_dialogues // n_lines].append(_line(split, number, emotions.pop(), choose))
        (root / path_of(split)).write_text(json.dumps(dialogues, ensure_ascii=False, indent=1), encoding="utf-8")


def path_of(split: str) -> str:
    """Where a split's file lies under the root."""
    return f"Friends/friends.{split}.json"


def _line(split: str, number: int, emotion: str, choose: random.Random) -> dict[str, Any]:
    votes = choose.choice(UNDECIDED)
    if emotion in CLASSES:
        n_votes = choose.choice((3, 4, 5))
        counts = dict.fromkeys(CLASSES, 0) | {emotion: n_votes}
        counts[choose.choice([name for name in CLASSES if name != emotion])] += 5 - n_votes
        votes = "".join(map(str, counts.values()))
    words = TELLING["sad"][number % 2 + 3]
    text = f"{words.split('{', 1)[0].strip()}… it’s {split} line {number}!"
    return {"speaker": choose.choice(SPEAKERS), "utterance": text, "emotion": emotion, "annotation": votes}
