"""XED (English) at its true size: as many lines, labels and oddities as published, in sentences of our own."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

from features.sandbox.sentences import PLAIN

FOLDER = "XED"
ANNOTATED, NEUTRAL = "AnnotatedData/en-annotated.tsv", "AnnotatedData/neu_en.txt"

LABELS = {"1": 3828, "2": 3400, "3": 2317, "4": 2439, "5": 2833, "6": 2464, "7": 2442, "8": 2699}
"""Label -> its occurrences."""

N_LABELS = {1: 13_655, 2: 3_024, 3: 710, 4: 117, 5: 12, 6: 9, 7: 1}
"""Labels of a line -> lines."""

N_UNSORTED, N_PLACEHOLDERS, N_SUNG, N_NEUTRAL, N_REPEATED, N_TABS = 1_069, 2_099, 30, 9_674, 891, 7
WORDLESS = (", ...", "!", "% ? !")
BLANK_LINE = 74


def write(root: Path, seed: int = 0) -> None:
    """Writes both files; the same bytes for the same seed."""
    (root / "AnnotatedData").mkdir(parents=True)
    (root / ANNOTATED).write_bytes("".join(f"{text}\t{labels}\r\n" for text, labels in _annotated(seed)).encode())
    (root / NEUTRAL).write_bytes("\n".join(_neutral()).encode())


def _annotated(seed: int) -> list[tuple[str, str]]:
    labels = _label_cells(seed)
    texts = [*WORDLESS]
    for number in range(len(labels) - len(texts)):
        text = f"{_words(number)} , and that was line {number} ."
        if number < N_PLACEHOLDERS:
            text = f"[PERSON] , {text}"
        elif number < N_PLACEHOLDERS + N_SUNG:
            text = f"♪ {text} ♪"
        texts.append(text)
    random.Random(f"{seed} xed texts").shuffle(texts)
    return list(zip(texts, labels, strict=True))


def _label_cells(seed: int) -> list[str]:
    """The lines of most labels first, each with those of which most are left: so that none comes twice in a line."""
    left = Counter(LABELS)
    cells = []
    for n_labels in sorted(N_LABELS, reverse=True):
        for _ in range(N_LABELS[n_labels]):
            chosen = sorted(label for label, _ in left.most_common(n_labels))
            left.subtract(chosen)
            cells.append(chosen)
    for chosen in cells[:N_UNSORTED]:
        chosen.reverse()
    random.Random(f"{seed} xed labels").shuffle(cells)
    return [", ".join(chosen) for chosen in cells]


def _neutral() -> list[str]:
    lines = []
    for number in range(N_NEUTRAL):
        text_number = number % (N_NEUTRAL - N_REPEATED)
        text = f"{_words(text_number)}, and that was neutral line {text_number}."
        lines.append(f"9\t{text}" + "\t" * 3 * (number < N_TABS))
    lines.insert(BLANK_LINE - 1, "\t\t\t\t")
    return lines


def _words(number: int) -> str:
    fillers = {"person": "Anna", "place": "the station", "thing": "the letter", "time": "at noon"}
    return PLAIN[number % len(PLAIN)].format(**fillers).rstrip(".")
