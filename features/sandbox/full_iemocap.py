"""IEMOCAP at its true size: as many utterances per session, speaker, class and scenario as published, each some
hundredths of a second long. For what depends on how much there is: the strict check, protocols, benchmarks."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from features.releases import iemocap_counts as counts
from features.releases.iemocap_files import EMOTIONS
from features.sandbox import alignment

RATE_HZ = 16_000
FRAME = RATE_HZ // 100
N_OTHERS_IMPROVISED = 1841
"""Of the 4,508 utterances outside the four classes; nobody published it."""

_PLACED = {("Ses03M_impro03", "M"): (1, "hap"), ("Ses03F_impro07", "M"): (30, "xxx")}
"""Dialogue and letter -> number and emotion of the two utterances without alignment."""


@dataclass
class _Line:
    """One utterance: everything but its number in the dialogue."""

    dialogue: str
    letter: str
    emotion: str
    text: str


def write(root: Path) -> None:
    """Writes the tree, some 40,000 small files. The same bytes every time."""
    lines: dict[str, list[_Line]] = {}
    for line in _lines():
        lines.setdefault(line.dialogue, []).append(line)
    for position, (dialogue, own) in enumerate(sorted(lines.items())):
        _write_dialogue(root / f"Session{dialogue[4]}", dialogue, _numbered(dialogue, own), position * 1000)


@cache
def _dialogues(session: int, wearer: str, improvised: bool) -> tuple[str, ...]:
    """Names of dialogues: they are not published, but these agree with the counts and the known suffixes."""
    if improvised:
        names = [f"impro{number:02d}" for number in range(1, 8 if session == 1 else 9)]
        if (session, wearer) == (3, "M"):
            names = [half for name in names for half in _halves(name, ("impro05", "impro08"))]
    else:
        names = [f"script{scene}" for scene in ("01_1", "01_2", "01_3", "02_1", "02_2", "03_1", "03_2")]
        if (session, wearer) == (5, "M"):
            names.append("script01_1b")
    return tuple(f"Ses0{session}{wearer}_{name}" for name in names)


def _halves(name: str, halved: Sequence[str]) -> list[str]:
    return [f"{name}a", f"{name}b"] if name in halved else [name]


def _lines() -> list[_Line]:
    """Every utterance with its dialogue; who wears the markers and what is improvised is spread evenly."""
    speakers = [(session, letter) for session in counts.SESSIONS for letter in "FM"]
    excited = {session: counts.PER_SESSION["exc"][session - 1] for session in counts.SESSIONS}
    found = []
    n_four = n_others = 0
    n_of_class = dict.fromkeys(counts.PER_SPEAKER, 0)
    in_group: dict[tuple[int, str, bool], int] = {}

    def place(session: int, letter: str, emotion: str, foreign: bool, improvised: bool, text: str) -> None:
        wearer = "MF"[letter == "M"] if foreign else letter
        group = (session, wearer, improvised)
        names = _dialogues(*group)
        in_group[group] = in_group.get(group, 0) + 1
        found.append(_Line(names[in_group[group] % len(names)], letter, emotion, text))

    n_all = sum(map(sum, counts.PER_SPEAKER.values()))
    for own, per_speaker in counts.PER_SPEAKER.items():
        n_improvised, n_scripted = counts.SCENARIOS[own]
        for (session, letter), n in zip(speakers, per_speaker, strict=True):
            for _ in range(n):
                emotion = own
                if own == "hap+exc":  # the excited first, so that both speakers have happy ones in most sessions
                    emotion = "exc" if excited[session] else "hap"
                    excited[session] -= emotion == "exc"
                improvised = _spread(n_of_class[own], n_improvised, n_improvised + n_scripted)
                foreign = _spread(n_four, counts.WEARER_IS_NOT_SPEAKER, n_all)
                place(session, letter, emotion, foreign, improvised, _words(n_four))
                n_of_class[own] += 1
                n_four += 1
    others = iter([emotion for emotion, n in counts.OTHERS.items() for _ in range(n)])
    for session, n_wav in zip(counts.SESSIONS, counts.PER_SESSION["wav"], strict=True):
        n_left = n_wav - sum(counts.PER_SESSION[emotion][session - 1] for emotion in counts.CLASSES)
        for number in range(n_left):
            improvised = _spread(n_others, N_OTHERS_IMPROVISED, sum(counts.OTHERS.values()))
            place(session, "FM"[number % 2], next(others), number % 4 > 1, improvised, f"Other words, {n_others}.")
            n_others += 1
    return found


def _words(number: int) -> str:
    """What the utterance of this number says: the first only laugh, and those after them have the other tags."""
    tags = [tag for tag, n in counts.TAGS.items() for _ in range(n)]
    tag = tags[number] if number < len(tags) else "--"
    return tag if number < counts.ONLY_TAGS else f"Sentence {number} {tag} of them: yes."


def _spread(position: int, n: int, n_all: int) -> bool:
    """True for `n` of `n_all` positions, evenly."""
    return (position + 1) * n // n_all > position * n // n_all


def _numbered(dialogue: str, lines: Sequence[_Line]) -> list[tuple[str, _Line]]:
    """Utterance ids, the two letters in turn; the two utterances without alignment come to their numbers."""
    named = []
    for letter in "FM":
        own = [line for line in lines if line.letter == letter]
        if (dialogue, letter) in _PLACED:
            number, emotion = _PLACED[dialogue, letter]
            found = next(line for line in own if line.emotion == emotion)
            own.remove(found)
            own.insert(number, found)
        named += [(f"{dialogue}_{letter}{number:03d}", line) for number, line in enumerate(own)]
    return sorted(named, key=lambda pair: (pair[0][-3:], pair[0]))


def _write_dialogue(folder: Path, dialogue: str, named: Sequence[tuple[str, _Line]], first: int) -> None:
    judged, said = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""], []
    wavs, aligned = (folder / "sentences" / kind / dialogue for kind in ("wav", "ForcedAlignment"))
    for path in (wavs, aligned):
        path.mkdir(parents=True)
    at = 0
    for number, (name, line) in enumerate(named):
        n_frames = 5 + number % 4
        (wavs / f"{name}.wav").write_bytes(_wav(n_frames * FRAME, 1, struct.pack("<i", first + number)))
        if name not in counts.NO_ALIGNMENT:
            for kind, table in _tables(n_frames).items():
                (aligned / f"{name}.{kind}").write_bytes(table)
        start_s, end_s = at / 100, (at + n_frames) / 100
        summary = f"[{start_s:.4f} - {end_s:.4f}]\t{name}\t{line.emotion}\t[2.5000, 3.0000, 3.5000]"
        judged += [summary, *_raters(line), ""]
        said.append(f"{name} [{start_s:08.4f}-{end_s:08.4f}]: {line.text}")
        at += n_frames + 1
    _write_text(folder / "dialog" / "EmoEvaluation" / f"{dialogue}.txt", judged)
    _write_text(folder / "dialog" / "transcriptions" / f"{dialogue}.txt", said)
    recording = folder / "dialog" / "wav" / f"{dialogue}.wav"
    recording.parent.mkdir(parents=True, exist_ok=True)
    recording.write_bytes(_wav(at * FRAME, 2, struct.pack("<i", first)))


def _raters(line: _Line) -> list[str]:
    """Three external raters, of whom two say what the summary says, or who all differ, and the actor."""
    votes = ["Anger", "Sadness", "Neutral state"] if line.emotion == "xxx" else [EMOTIONS[line.emotion]] * 2 + ["Other"]
    categories = zip(("E2", "E3", "E4", f"{line.letter}1"), [*votes, votes[0]], strict=True)
    return [
        *(f"C-{rater}:\t{vote};\t()" for rater, vote in categories),
        *(f"A-{rater}:\tval {val}; act 3; dom  {dom};\t()" for rater, val, dom in (("E3", 2, 3), ("E4", 3, 4))),
    ]


@cache
def _tables(n_frames: int) -> dict[str, bytes]:
    words = [("<s>", 0, 1), ("SO", 1, n_frames - 1), ("</s>", n_frames - 1, n_frames)]
    phones = [("SIL", 0, 1), ("S", 1, 2), ("OW", 2, n_frames - 1), ("SIL", n_frames - 1, n_frames)]
    choose = random.Random(n_frames)
    texts = {"wdseg": alignment.wdseg(words, choose), "phseg": alignment.phseg(phones, choose)}
    return {kind: text.encode() for kind, text in {**texts, "syseg": alignment.syseg(phones)}.items()}


def _wav(n_samples: int, n_channels: int, beginning: bytes) -> bytes:
    """16-bit PCM: silence after a beginning that tells one recording from the other."""
    n_bytes = n_samples * n_channels * 2
    width = 2 * n_channels
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, n_channels, RATE_HZ, RATE_HZ * width, width, 16)
    head = struct.pack("<4sI4s", b"RIFF", 36 + n_bytes, b"WAVE") + form + struct.pack("<4sI", b"data", n_bytes)
    return head + beginning.ljust(n_bytes, b"\0")


def _write_text(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="ascii", newline="\n")
