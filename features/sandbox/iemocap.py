"""A miniature IEMOCAP: five sessions of two speakers in the layout of the full release."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from features.sandbox import alignment, voices
from features.sandbox.media import write_wav
from features.sandbox.sentences import sentence

RATE_HZ = 16_000
FOLDER = "IEMOCAP_full_release"

MOODS = {
    "ang": "angry", "hap": "happy", "exc": "excited", "sad": "sad", "neu": "neutral", "fru": "frustrated",
}  # fmt: skip
NAMES = {
    "ang": "Anger", "hap": "Happiness", "exc": "Excited", "sad": "Sadness", "neu": "Neutral state",
    "fru": "Frustration", "sur": "Surprise", "oth": "Other",
}  # fmt: skip
PER_SPEAKER = {"neu": 6, "sad": 5, "ang": 5, "hap": 3, "exc": 3, "fru": 1, "xxx": 1}
"""Utterances of each speaker by emotion; together near the balance of the four classes."""

_TAGS = {"hap": "[LAUGHTER]", "exc": "[LAUGHTER]", "sad": "[BREATHING]", "ang": "[BREATHING]"}
_CENTRES = {  # valence, activation, dominance
    "ang": (1.7, 4.1, 4.0), "hap": (4.1, 3.3, 3.1), "exc": (4.3, 4.0, 3.4), "sad": (2.0, 2.0, 2.3),
    "neu": (3.0, 2.6, 2.9), "fru": (2.3, 3.3, 3.2), "xxx": (2.9, 3.0, 3.0),
}  # fmt: skip


@dataclass(frozen=True)
class Turn:
    """One utterance before it is spoken. `mood` is how it sounds, `label` what the raters agreed on."""

    name: str
    speaker: voices.Speaker
    label: str
    mood: str
    strength: float
    text: str
    tag: str


@dataclass(frozen=True)
class Dialogue:
    """One recording of one session."""

    session: int
    name: str
    turns: tuple[Turn, ...]


def plan(seed: int, scale: float) -> list[Dialogue]:
    """Who says what to whom; every speaker says something in each of the four classes at any scale."""
    choose = random.Random(f"{seed} iemocap")
    dialogues = []
    for session in range(1, 6):
        bags = {letter: _bag(scale, session, letter, choose) for letter in "FM"}
        names = _dialogue_names(session, scale)
        for position, name in enumerate(names):
            share = {letter: _share(bag, position, len(names)) for letter, bag in bags.items()}
            dialogues.append(Dialogue(session, name, _turns(session, name, share, choose)))
    return dialogues


def write(root: Path, dialogues: Sequence[Dialogue], seed: int, spoke: Callable[[], None]) -> None:
    """Speaks and writes the tree; calls `spoke` after each utterance."""
    root.mkdir(parents=True)
    (root / "README.txt").write_text("A synthetic miniature in the layout of IEMOCAP; nobody said any of this.\n")
    for dialogue in dialogues:
        _write_dialogue(root / f"Session{dialogue.session}", dialogue, random.Random(f"{seed} {dialogue.name}"), spoke)


def _bag(scale: float, session: int, letter: str, choose: random.Random) -> list[str]:
    lively = "exc" if (session + (letter == "F")) % 2 else "hap"  # one of the two stands for 'happy' at small scales
    at_least = {"neu": 1, "sad": 1, "ang": 1, lively: 1}
    labels = [label for label, n in PER_SPEAKER.items() for _ in range(max(round(n * scale), at_least.get(label, 0)))]
    choose.shuffle(labels)
    return labels


def _dialogue_names(session: int, scale: float) -> list[str]:
    prefix = f"Ses0{session}"
    second = {3: "M_impro05a", 5: "M_script01_1b"}.get(session, "M_script02_1")
    names = [f"{prefix}F_impro01", f"{prefix}{second}"]
    return [*names, f"{prefix}F_script01_3", f"{prefix}M_impro04"] if scale >= 0.5 else names


def _share(bag: Sequence[str], position: int, n: int) -> list[str]:
    return list(bag[position * len(bag) // n : (position + 1) * len(bag) // n])


def _turns(session: int, name: str, share: dict[str, list[str]], choose: random.Random) -> tuple[Turn, ...]:
    turns = []
    for number in range(max(map(len, share.values()))):
        for letter, labels in share.items():
            if number < len(labels):
                label = labels[number]
                mood = MOODS.get(label) or choose.choice(sorted(MOODS.values()))
                tag = _TAGS.get(label, "") if choose.random() < 0.12 else ""
                cast = voices.WOMEN if letter == "F" else voices.MEN
                turns.append(
                    Turn(
                        name=f"{name}_{letter}{number:03d}",
                        speaker=cast[session - 1],
                        label=label,
                        mood=mood,
                        strength=choose.uniform(0.1, 0.5) if label == "xxx" else choose.uniform(0.5, 1.2),
                        text=sentence(mood, choose.random() < 0.5, choose),
                        tag=tag,
                    )
                )
    return tuple(turns)


def _write_dialogue(folder: Path, dialogue: Dialogue, choose: random.Random, spoke: Callable[[], None]) -> None:
    step = RATE_HZ // 100  # turns start and end on whole hundredths of a second
    parts: list[tuple[int, int, np.ndarray]] = []  # start, channel, wave
    judged, said = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""], []
    votes: dict[str, list[str]] = {}
    at = RATE_HZ
    for turn in dialogue.turns:
        take = voices.say(turn.text, turn.speaker, turn.mood, turn.strength, choose)
        wave = voices.resampled(take.wave, RATE_HZ)
        wave = wave[: len(wave) // step * step]
        _write_sentence(folder, dialogue.name, turn.name, wave, take, choose)
        parts.append((at, "FM".index(turn.name[-4]), wave))
        start_s, end_s = at / RATE_HZ, (at + len(wave)) / RATE_HZ
        judged += _judgements(turn, start_s, end_s, votes, choose)
        text = f"{turn.text} {turn.tag}".strip() if choose.random() < 0.7 else f"{turn.tag} {turn.text}".strip()
        said.append(f"{turn.name} [{start_s:08.4f}-{end_s:08.4f}]: {text}")
        at += len(wave) + choose.randrange(30, 120) * step
        spoke()
    said.insert(len(said) // 2, f"{dialogue.name[5]}: Hm.")  # lines without an id occur
    _write_recording(folder / "dialog" / "wav" / f"{dialogue.name}.wav", parts, at + RATE_HZ, choose)
    newline = "\r\n" if dialogue.session == 2 else "\n"
    _write_lines(folder / "dialog" / "transcriptions" / f"{dialogue.name}.txt", said, newline)
    emotions = folder / "dialog" / "EmoEvaluation"
    _write_lines(emotions / f"{dialogue.name}.txt", judged, newline)
    for name, lines in votes.items():
        _write_lines(emotions / name.format(dialogue.name), lines, newline)
    if dialogue.name.endswith("impro01"):
        twin = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "
        (emotions / f"._{dialogue.name}.txt").write_bytes(twin)
        (folder / "sentences" / "wav" / dialogue.name / f"._{dialogue.turns[0].name}.wav").write_bytes(twin)


def _write_sentence(
    folder: Path, dialogue: str, name: str, wave: np.ndarray, take: voices.Take, choose: random.Random
) -> None:
    write_wav(folder / "sentences" / "wav" / dialogue / f"{name}.wav", wave, RATE_HZ)
    n_frames = len(wave) // (RATE_HZ // 100)
    words = alignment.words_in_frames(take.words, n_frames)
    phones = alignment.phones_in_frames(take.phones, n_frames)
    aligned = folder / "sentences" / "ForcedAlignment" / dialogue
    aligned.mkdir(parents=True, exist_ok=True)
    (aligned / f"{name}.wdseg").write_text(alignment.wdseg(words, choose))
    (aligned / f"{name}.phseg").write_text(alignment.phseg(phones, choose))
    (aligned / f"{name}.syseg").write_text(alignment.syseg(phones))


def _judgements(
    turn: Turn, start_s: float, end_s: float, votes: dict[str, list[str]], choose: random.Random
) -> list[str]:
    """The block of one turn; adds the same votes to the files of the single raters."""
    judges = {"E2": "e2", "E3": "e3", "E4": "e4", f"{turn.name[-4]}1": ""}
    lines: list[str] = []
    dimensions: list[list[int]] = []
    for (rater, file), chosen in zip(judges.items(), _votes(turn.label, choose), strict=True):
        lines.append(f"C-{rater}:\t{''.join(f'{NAMES[label]}; ' for label in chosen).strip()}\t()")
        if file:
            listed = "; ".join(f":{NAMES[label]}" for label in chosen)
            votes.setdefault(f"Categorical/{{}}_{file}_cat.txt", []).append(f"{turn.name} {listed}; ()")
    for rater in ("E3", "E4"):
        scores = [max(1, min(5, round(centre + choose.gauss(0, 0.5)))) for centre in _CENTRES[turn.label]]
        dominance = str(scores[2])
        if rater == "E4" and choose.random() < 0.02:  # one is missing here and there; the mean is of what there is
            dominance, scores[2] = "", dimensions[0][2]
        dimensions.append(scores)
        lines.append(f"A-{rater}:\tval {scores[0]}; act {scores[1]}; dom  {dominance};\t()")
        votes.setdefault(f"Attribute/{{}}_{rater.lower()}_atr.txt", []).append(
            f"{turn.name} :act {scores[1]}; :val {scores[0]}; :dom  {dominance};"
        )
    means = ", ".join(f"{(first + second) / 2:.4f}" for first, second in zip(*dimensions, strict=True))
    return [f"[{start_s:.4f} - {end_s:.4f}]\t{turn.name}\t{turn.label}\t[{means}]", *lines, ""]


def _votes(label: str, choose: random.Random) -> list[list[str]]:
    """What three external raters and the actor say: two externals agree, unless the label is that nobody does."""
    if label == "xxx":
        return [[vote] for vote in [*choose.sample(sorted(NAMES), 3), choose.choice(sorted(NAMES))]]
    others = sorted(NAMES.keys() - {label})
    external = [[label], [label], [label] if choose.random() < 0.6 else [choose.choice(others)]]
    if choose.random() < 0.1:
        external[1].append(choose.choice(others))
    choose.shuffle(external)
    return [*external, [label] if choose.random() < 0.8 else [choose.choice(others)]]


def _write_recording(
    path: Path, parts: Sequence[tuple[int, int, np.ndarray]], n_samples: int, choose: random.Random
) -> None:
    """Two channels, one speaker on each, heard faintly on the other."""
    both = np.stack([voices.room_noise(n_samples, choose) for _ in range(2)], axis=1)
    for start, channel, wave in parts:
        both[start : start + len(wave), channel] += wave
        both[start : start + len(wave), 1 - channel] += 0.1 * wave
    write_wav(path, both, RATE_HZ)


def _write_lines(path: Path, lines: Sequence[str], newline: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((newline.join(lines) + newline).encode("ascii"))
