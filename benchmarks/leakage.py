"""What the leakage report costs: one split of 10,000 test and 10,000 training utterances, and the search for
near-duplicates in it against the definition written out.

Run as `PYTHONPATH=. python benchmarks/leakage.py`. The definition compares every pair, so it is timed on a part and
multiplied up.
"""

from __future__ import annotations

import random
import resource
import time

from flows.leakage import leakage
from flows.similarity import CONTAINED, LEAST_WORDS, Words, grams, near_duplicates, words_of
from warehouse.schema import SPLIT, UTTERANCES, audio_id, text_id
from warehouse.tables import table_of

N = 10_000
PART = 300


def main() -> None:
    """Prints one row per kind of corpus: the whole report, the search alone, the definition, and their ratio."""
    print(f"{'corpus':<44}{'report s':>9}{'search s':>9}{'definition s':>13}{'ratio':>8}{'found':>7}{'MB':>6}")
    corpora = {"speech-like, a tenth repeats a script": spoken(), "one pattern: every pair is near": alike()}
    for name, texts in corpora.items():
        rows = [row(number, text) for number, text in enumerate(texts)]
        parts = [{"utterance_id": r["utterance_id"], "part": r["split"], "label": "calm"} for r in rows]
        table, split = table_of(rows, UTTERANCES), table_of(parts, SPLIT)
        began = time.perf_counter()
        found = {leak.kind: leak.n_utterances for leak in leakage(table, split).leaks}
        report_s = time.perf_counter() - began

        words = [words_of(text) for text in texts]
        began = time.perf_counter()
        near = near_duplicates(words[:N], words[N:])
        search_s = time.perf_counter() - began

        began = time.perf_counter()
        expected = by_definition(words[:PART], words[N : N + PART])
        definition_s = (time.perf_counter() - began) * (N / PART) ** 2
        part = near_duplicates(words[:PART], words[N : N + PART])
        if {position: one.reference for position, one in part.items()} != expected or len(near) != found["near text"]:
            raise SystemExit(f"{name}: the search does not find what the definition finds")
        megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{name:<44}{report_s:>9.1f}{search_s:>9.2f}{definition_s:>13.0f}{definition_s / search_s:>8.0f}"
            f"{len(near):>7}{megabytes:>6.0f}"
        )


def spoken() -> list[str]:
    """Words as frequent as in speech (by rank), lengths as in IEMOCAP (median 8, up to 98); a tenth of all utterances
    are lines of one script, each with a word or two said differently."""
    rng = random.Random(0)
    vocabulary = [f"w{rank}" for rank in range(5_000)]
    weights = [1 / (rank + 1) for rank in range(5_000)]

    def sentence() -> list[str]:
        return rng.choices(vocabulary, weights, k=min(98, max(1, round(rng.lognormvariate(2.1, 0.8)))))

    script = [sentence() for _ in range(500)]
    texts = []
    for _ in range(2 * N):
        words = list(rng.choice(script)) if rng.random() < 0.1 else sentence()
        words[rng.randrange(len(words))] = rng.choice(vocabulary)
        texts.append(" ".join(words))
    return texts


def alike() -> list[str]:
    """The worst case: all texts share most of their grams."""
    return [f"this is the same old sentence with the number {number}" for number in range(2 * N)]


def row(number: int, text: str) -> dict[str, object]:
    """An utterance: the first N are test; 40 episodes with cues of two seconds, some of which overlap."""
    part = "test" if number < N else "train"
    episode, start_s = str(number % 40), (number % N) // 40 * 3.0 + (1.5 if part == "train" else 0.0)
    times = {
        "season": "1", "episode": episode, "episode_start_s": str(start_s), "episode_end_s": str(start_s + 2.0),
    }  # fmt: skip
    return {
        "utterance_id": f"u{number:05}", "corpus": "made", "unit": part, "recording_id": f"r{number}", "path": "r.wav",
        "start_s": 0.0, "end_s": 2.0, "channel": "mix", "audio_id": audio_id(f"r{number}", 0.0, 2.0, "mix"),
        "verbatim": text, "text": text, "text_id": text_id(text), "speaker_id": f"s{number % 300}",
        "dialogue_id": f"{part}_dia{number // 10}", "turn": number % 10, "session": "", "split": part,
        "language": "en", "attributes": list(times.items()),
    }  # fmt: skip


def by_definition(texts: list[Words], references: list[Words]) -> dict[int, int]:
    """Every pair: position of a text -> the first reference that holds the largest share of its grams."""
    held = [set(grams(words)) for words in references]
    nearest = {}
    for position, words in enumerate(texts):
        if len(words) >= LEAST_WORDS:
            own = set(grams(words))
            shares = [len(own & other) / len(own) for other in held]
            if max(shares) >= CONTAINED:
                nearest[position] = shares.index(max(shares))
    return nearest


if __name__ == "__main__":
    main()
