"""What a leak is, and how it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows.similarity import CONTAINED, LEAST_WORDS, N


@dataclass(frozen=True)
class Leak:
    """One kind of thing that a judged part shares with another, or shares nothing of (`n_utterances` is 0).

    Args:
        kind: 'speaker', 'dialogue', 'session', 'episode', 'recording' (groups); 'audio' (the same stretch of sound),
            'time' (spans that overlap in a recording, episode or dialogue), 'text' (the same words), 'near text'
            (the near-duplicates of `flows.similarity`).
        part: 'test' or 'dev'.
        against: 'train', 'dev', or 'teacher <key>' for the texts that a checkpoint was trained on.
        n_utterances: of `part`, that are concerned.
        n_compared: of `part`, that could be: those with a speaker, with words, with six words.
        n_shared, n_groups: for groups, how many of the part's are in the other one too.
        n_agree, n_labelled: for pairs with a label on both sides, how many have the same.
        examples: the first few shared groups, or pairs of utterance ids (of utterance and text id for teachers).
    """

    kind: str
    part: str
    against: str
    n_utterances: int
    n_compared: int
    n_shared: int | None = None
    n_groups: int | None = None
    n_agree: int | None = None
    n_labelled: int | None = None
    examples: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Leakage:
    """Everything that was looked for in one fold of a protocol, found or not.

    `digest` is that of what was compared: whoever computes it again from the same utterances, split and teachers has
    compared the same.
    """

    protocol: str
    fold: str
    parts: Mapping[str, int]
    leaks: tuple[Leak, ...]
    digest: str

    @property
    def found(self) -> list[Leak]:
        return [leak for leak in self.leaks if leak.n_utterances]

    def as_json(self) -> dict[str, Any]:
        rules = {"gram_words": N, "least_words": LEAST_WORDS, "contained": CONTAINED}
        leaks = [vars(leak) | {"examples": [list(example) for example in leak.examples]} for leak in self.leaks]
        return {
            "protocol": self.protocol, "fold": self.fold, "parts": dict(self.parts), "rules": rules,
            "compared": self.digest, "leaks": leaks,
        }  # fmt: skip

    def sentences(self) -> list[str]:
        """What was found, for the warnings of a report."""
        return sentences([self])


def sentences(leakages: Sequence[Leakage]) -> list[str]:
    """What was found, in one sentence per kind and pair of parts, over the folds of one protocol.

    Where folds differ, the smallest and largest figures are told, of all folds: one without the leak counts as 0.
    """
    places = dict.fromkeys((leak.kind, leak.part, leak.against) for one in leakages for leak in one.found)
    told = []
    for place in places:
        found = [leak for one in leakages for leak in one.leaks if (leak.kind, leak.part, leak.against) == place]
        told.append(_sentence(leakages[0].protocol, found))
    return told


_SAID = {
    "audio": ("", "are the same stretch of sound as"),
    "time": ("", "overlap in time with"),
    "text": ("", "have the same words as"),
    "near text": (f" of {LEAST_WORDS} words or more", f"share at least half of their {N}-grams with"),
}
"""Kind of pair -> which utterances, and what they do."""


def _sentence(protocol: str, leaks: Sequence[Leak]) -> str:
    first = leaks[0]
    where = protocol if len(leaks) == 1 else f"{protocol}, {len(leaks)} folds"
    share = _range([100 * leak.n_utterances / leak.n_compared for leak in leaks if leak.n_compared])
    n = _range([leak.n_utterances for leak in leaks])
    if first.n_groups is not None:
        shared, groups = _range([leak.n_shared or 0 for leak in leaks]), _range([leak.n_groups or 0 for leak in leaks])
        what = f"{shared} of {groups} {first.kind}s of {first.part} are in {first.against} too"
        return f"{where}: {what}, with {share} % of the {first.part} utterances ({n})."
    which, do = _SAID[first.kind]
    kind, _, key = first.against.partition(" ")
    other = f"a text that checkpoint {key[:12]} was trained on" if kind == "teacher" else f"one in {kind}"
    agree = [100 * (leak.n_agree or 0) / leak.n_labelled for leak in leaks if leak.n_labelled]
    labels = f"; labels agree in {_range(agree)} % of those" if agree else ""
    return f"{where}: {share} % of the {first.part} utterances{which} ({n}) {do} {other}{labels}."


def _range(values: Sequence[float]) -> str:
    """'38–74', or one number where all are the same when rounded."""
    low, high = (f"{value:,.0f}" for value in (min(values, default=0), max(values, default=0)))
    return low if low == high else f"{low}–{high}"
