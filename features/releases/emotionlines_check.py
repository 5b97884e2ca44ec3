"""The strict check of EmotionLines (Friends)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from features.check import Anomaly, Findings, counted
from features.releases.emotionlines_release import DEPTH, FILES, JOINT, N_RATERS, Line, find_files, read_table
from features.releases.meld_release import repaired
from features.releases.walk import misnamed_files

PUBLISHED: Mapping[str, int] = {
    "utterances": 14_503,
    "utterances, train": 10_561,
    "utterances, dev": 1_178,
    "utterances, test": 2_764,
    "dialogues, train": 720,
    "dialogues, dev": 80,
    "dialogues, test": 200,
    "neutral": 6_530,
    "non-neutral": 2_772,
    "joy": 1_710,
    "surprise": 1_657,
    "anger": 759,
    "sadness": 498,
    "disgust": 331,
    "fear": 246,
}
"""Counted on the published files; nobody published how many of each class a split has."""

ANOMALIES: Mapping[str, str] = {
    "missing_part": "a split's file is not there",
    "joint_file": f"EmotionX-2019's {JOINT}, the three splits in one: whoever trains on it reads MELD's test text",
    "malformed_file": "a file is not UTF-8, no JSON, or no list of dialogues",
    "misnamed_file": "a file or folder whose name is not UTF-8: what lies there is not ingested",
    "malformed_row": "an utterance has not its four texts, or half of a character in one",
    "empty_dialogue": "a dialogue without an utterance",
    "unknown_emotion": "an emotion that is none of the seven, nor 'non-neutral'",
    "malformed_votes": "the votes are not seven digits",
    "votes_sum": f"the votes are not {N_RATERS} in all",
    "majority_differs": "the emotion is not that of three votes or more, which is kept",
    "mojibake": "Windows-1252 signs stored as control characters, as every published file has them; readers repair it",
    "broken_text": "a text or speaker holds control or replacement characters that no repair explains",
}

_BROKEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd]")


def check(root: Path, expected: Mapping[str, int]) -> Findings:
    """Counts and anomalies of the three files.

    Raises:
        MissingFolder: `root` itself is not there.
    """
    files = find_files(root)
    found: Counter[str] = Counter()
    anomalies = []
    for split, name in FILES.items():
        if name not in files:
            anomalies.append(Anomaly("missing_part", name, f"'{name}' is not there (looked {DEPTH} folders deep)"))
            continue
        table = read_table(files[name].read_bytes())
        for fault in table.faults:
            anomalies.append(Anomaly(fault.name, f"{name}, {fault.where}".removesuffix(", "), fault.problem))
        anomalies += _anomalies(name, table.lines)
        found.update(line.emotion for line in table.lines)
        found.update({
            "utterances": len(table.lines), f"utterances, {split}": len(table.lines),
            f"dialogues, {split}": table.n_dialogues,
        })  # fmt: skip
    if JOINT in files:
        problem = "it joins the three splits, so it holds MELD's test text: it is not read"
        anomalies.append(Anomaly("joint_file", JOINT, problem))
    anomalies += misnamed_files(root)
    return Findings(counted(found, expected), anomalies)


def _anomalies(name: str, lines: tuple[Line, ...]) -> Iterator[Anomaly]:
    n_repaired = 0
    for line in lines:
        where = f"{name}, {line.name}"
        if sum(line.votes) != N_RATERS:
            yield Anomaly("votes_sum", where, f"its votes are {sum(line.votes)}, not {N_RATERS}")
        elif line.emotion != line.majority:
            yield Anomaly("majority_differs", where, f"it is '{line.emotion}', but its votes say '{line.majority}'")
        texts = {"text": line.text, "speaker": line.speaker}
        n_repaired += any(repaired(text) != text for text in texts.values())
        for what, text in texts.items():
            if broken := _BROKEN.search(repaired(text)):
                yield Anomaly("broken_text", where, f"its {what} holds the character U+{ord(broken[0]):04X}")
    if n_repaired:
        problem = f"{n_repaired} utterances have Windows-1252 signs as control characters"
        yield Anomaly("mojibake", name, problem, known=True)
