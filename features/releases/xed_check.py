"""The strict check of XED (English)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from features.check import Anomaly, Findings, counted
from features.releases.walk import misnamed_files
from features.releases.xed_release import DEPTH, FILES, LABELS, Table, find_files, read_table

PUBLISHED: Mapping[str, int] = {
    "lines, annotated": 17_528,
    "lines, neutral": 9_674,
    "anger": 3_828,
    "anticipation": 3_400,
    "disgust": 2_317,
    "fear": 2_439,
    "joy": 2_833,
    "sadness": 2_464,
    "surprise": 2_442,
    "trust": 2_699,
    "neutral": 9_674,
    "lines of one label, annotated": 13_655,
    "lines of unsorted labels, annotated": 1_069,
    "texts, annotated": 17_528,
    "texts, neutral": 8_783,
    "lines with placeholders, annotated": 2_099,
    "lines without letters, annotated": 3,
    "music marks, annotated": 60,
    "lines with tabs at their end, neutral": 7,
}
"""Counted on the published files. Labels are counted by their occurrences, 22,422 on 17,528 lines."""

ANOMALIES: Mapping[str, str] = {
    "missing_part": "the annotated or the neutral file is not there",
    "malformed_file": "a file is not UTF-8",
    "misnamed_file": "a file or folder whose name is not UTF-8: what lies there is not ingested",
    "other_line_ends": "lines end in LF where the published file has CR LF, or the other way round: an edited copy",
    "blank_line": "a line without text and label; the published neutral file has one",
    "malformed_line": "a line has another number of cells, no text, or labels of another form",
    "unknown_label": "a label that is none of the file's",
    "repeated_label": "a line has a label twice",
    "repeated_text": "an annotated text stands twice",
    "broken_text": "a text holds control or replacement characters",
}

KNOWN_BLANK = {"annotated": frozenset[int](), "neutral": frozenset({74})}
"""Unit -> numbers of the lines that are blank in every copy."""

_BROKEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffd]")


def check(root: Path, expected: Mapping[str, int]) -> Findings:
    """Counts and anomalies of both files.

    Raises:
        MissingFolder: `root` itself is not there.
    """
    files = find_files(root)
    found: Counter[str] = Counter()
    anomalies = []
    for unit, name in FILES.items():
        if unit not in files:
            anomalies.append(Anomaly("missing_part", name, f"'{name}' is not there (looked {DEPTH} folders deep)"))
            continue
        try:
            table = read_table(unit, files[unit].read_bytes())
        except UnicodeDecodeError as error:
            problem = f"it is not UTF-8 ({error.reason} at byte {error.start})"
            anomalies.append(Anomaly("malformed_file", name, problem))
            continue
        found += _counts(unit, table)
        anomalies += _anomalies(unit, table)
    anomalies += misnamed_files(root)
    return Findings(counted(found, expected), anomalies)


def _counts(unit: str, table: Table) -> Counter[str]:
    found = Counter(label for line in table.lines for label in line.labels)
    texts = [line.text for line in table.lines]
    traits = {"lines": len(texts), "texts": len(set(texts))}
    if unit == "neutral":
        traits["lines with tabs at their end"] = table.n_trailing
    else:
        order = list(LABELS.values())
        traits |= {
            "lines of one label": sum(len(line.labels) == 1 for line in table.lines),
            "lines of unsorted labels": sum(
                line.labels != tuple(sorted(line.labels, key=order.index)) for line in table.lines
            ),
            "lines with placeholders": sum("[" in text for text in texts),
            "lines without letters": sum(not any(map(str.isalpha, text)) for text in texts),
            "music marks": sum(text.count("♪") for text in texts),
        }
    return found + Counter({f"{what}, {unit}": n for what, n in traits.items()})


def _anomalies(unit: str, table: Table) -> Iterator[Anomaly]:
    name = FILES[unit]
    for fault in table.faults:
        known = fault.name == "blank_line" and fault.number in KNOWN_BLANK[unit]
        yield Anomaly(fault.name, name, fault.problem, known)
    if table.n_other_ends:
        ends = "CR LF" if unit == "annotated" else "LF"
        yield Anomaly("other_line_ends", name, f"{table.n_other_ends} lines do not end in {ends}")
    first: dict[str, int] = {}
    for line in table.lines:
        if broken := _BROKEN.search(line.text):
            yield Anomaly("broken_text", name, f"line {line.number} holds the character U+{ord(broken[0]):04X}")
        if unit == "annotated" and line.text in first:
            problem = f"line {line.number} has the text of line {first[line.text]}"
            yield Anomaly("repeated_text", name, problem)
        first.setdefault(line.text, line.number)
