"""What the leakage report costs: one split of 10,000 test and 10,000 training utterances, the search for
near-duplicates in it against the definition written out, and memory when a teacher has read millions of lines.

    PYTHONPATH=. python benchmarks/leakage.py [N_LINES ...]

The definition compares every pair, so it is timed on a part and multiplied up. The teachers' lines (0.1, 1 and 10
million, where no numbers are given; a million takes some 150 MB of disk) lie in tables as a lake holds them. Each
teacher is looked at by a process of its own, whose memory is told beside that of one without a teacher; the floor is
reading the same columns of the same tables.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from hashlib import md5
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flows.leakage import leakage
from flows.similarity import CONTAINED, LEAST_WORDS, Texts, Words, grams, words_of
from flows.teacher_texts import TEXTS, TrainedOn
from warehouse.schema import SHARD_INDEX, SPLIT, UTTERANCES, audio_id, text_id
from warehouse.tables import table_of, write_table

N = 10_000
PART = 300
UNIT = 50_000  # lines of a table, as the reader of Moses texts cuts them


def main() -> None:
    """Prints the table of pairs, then that of teachers."""
    pairs()
    teachers([int(argument) for argument in sys.argv[1:]] or [100_000, 1_000_000, 10_000_000])


def pairs() -> None:
    """One row per kind of corpus: the whole report, the search alone, the definition, and their ratio."""
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
        near = nearest(words[:N], words[N:])
        search_s = time.perf_counter() - began

        began = time.perf_counter()
        expected = by_definition(words[:PART], words[N : N + PART])
        definition_s = (time.perf_counter() - began) * (N / PART) ** 2
        part = nearest(words[:PART], words[N : N + PART])
        if part != expected or sum(text in near for text in words[:N]) != found["near text"]:
            raise SystemExit(f"{name}: the search does not find what the definition finds")
        megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{name:<44}{report_s:>9.1f}{search_s:>9.2f}{definition_s:>13.0f}{definition_s / search_s:>8.0f}"
            f"{found['near text']:>7}{megabytes:>6.0f}"
        )


def nearest(texts: Sequence[Words], references: Sequence[Words]) -> dict[Words, int]:
    return {words: one.reference for words, one in Texts(texts).among(enumerate(references)).near.items()}


def teachers(sizes: Sequence[int]) -> None:
    """One row per number of lines: the report, its floor, memory, and that of a report without a teacher."""
    print("lines read".rjust(11), "report s   lines/s  floor s  ratio  found    MB  alone")
    for n_lines in sizes:
        with tempfile.TemporaryDirectory() as folder:
            in_own_process(write_lines, Path(folder), n_lines)
            floor_s, _, _ = in_own_process(read_alone, Path(folder))
            _, _, alone_mb = in_own_process(report, None)
            report_s, found, report_mb = in_own_process(report, Path(folder))
            print(
                f"{n_lines:>11}{report_s:>10.1f}{n_lines / report_s:>9.0f}{floor_s:>9.2f}{report_s / floor_s:>7.0f}"
                f"{found:>7}{report_mb:>6.0f}{alone_mb:>7.0f}"
            )


def in_own_process(call: object, *arguments: object) -> tuple[float, int, float]:
    """Its memory is its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(call, *arguments).result()  # type: ignore[arg-type]


def report(folder: Path | None) -> tuple[float, int, float]:
    """Seconds of the report, near-duplicates of the teacher's texts among the test part, megabytes at most."""
    rows = [row(number, text) for number, text in enumerate(spoken())]
    parts = [{"utterance_id": r["utterance_id"], "part": r["split"], "label": "calm"} for r in rows]
    table, split = table_of(rows, UTTERANCES), table_of(parts, SPLIT)
    read = {} if folder is None else {"0" * 32: TrainedOn(folder / "split.parquet", packed(folder))}
    began = time.perf_counter()
    leaks = leakage(table, split, teachers=read).leaks
    seconds = time.perf_counter() - began
    found = sum(k.n_utterances for k in leaks if k.kind == "near text" and k.against.startswith("teacher"))
    return seconds, found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def read_alone(folder: Path) -> tuple[float, int, float]:
    """Reading what the report reads."""
    began = time.perf_counter()
    for utterances, _ in packed(folder):
        pq.read_table(utterances, columns=TEXTS.names)
    return time.perf_counter() - began, 0, 0.0


def packed(folder: Path) -> list[tuple[Path, list[Path]]]:
    return [(path, [path.with_suffix(".index")]) for path in sorted(folder.glob("*.utterances"))]


def write_lines(folder: Path, n_lines: int) -> None:
    """Lines with words as frequent as those of `spoken`, lengths as in films (median 6); one in a thousand is a line of
    its script. Nine in ten are of the train part."""
    rng, script = np.random.default_rng(0), spoken()[:N]
    weights = 1 / np.arange(1, 5_001)
    vocabulary = pa.array([f"w{rank}" for rank in range(5_000)])
    parts = []
    for start in range(0, n_lines, UNIT):
        n = min(UNIT, n_lines - start)
        lengths = np.clip(np.round(rng.lognormal(1.8, 0.6, n)), 1, 20).astype(np.int32)
        words = rng.choice(5_000, lengths.sum(), p=weights / weights.sum())
        lists = pa.ListArray.from_arrays(np.append(0, np.cumsum(lengths)).astype(np.int32), vocabulary.take(words))
        texts = pc.binary_join(lists, " ").to_pylist()
        for position in rng.integers(0, n, n // 1000):
            texts[position] = script[rng.integers(N)]
        ids = pa.array([f"lines_{start + number:09}" for number in range(n)])
        columns = {field.name: pa.repeat(pa.scalar(_empty(field.type), field.type), n) for field in UTTERANCES}
        columns |= {"utterance_id": ids, "text": pa.array(texts), "verbatim": pa.array(texts)}
        columns["text_id"] = pa.array([md5(text.encode()).hexdigest() for text in texts])
        path = folder / f"{start:09}.utterances"
        write_table(path, pa.table(columns, schema=UTTERANCES), UTTERANCES)
        zero = pa.repeat(pa.scalar(0), n)
        index = {"utterance_id": ids, "input_id": columns["text_id"], "offset": zero, "n_bytes": zero}
        write_table(path.with_suffix(".index"), pa.table(index, schema=SHARD_INDEX), SHARD_INDEX)
        part = pa.array(["dev" if number % 10 == 0 else "train" for number in range(n)])
        parts.append(pa.table({"utterance_id": ids, "part": part, "label": pa.nulls(n, pa.string())}, schema=SPLIT))
    write_table(folder / "split.parquet", pa.concat_tables(parts), SPLIT)


def _empty(kind: pa.DataType) -> object:
    return [] if pa.types.is_map(kind) else "" if pa.types.is_string(kind) else 0


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
    """The worst case: all texts share most of their grams, and every text of one part has its own in the other."""
    return [f"this is the same old sentence with the number {n % N} {'again' * (n // N)}" for n in range(2 * N)]


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


def by_definition(texts: list[Words], references: list[Words]) -> dict[Words, int]:
    """Every pair: a text -> the first reference that holds the largest share of its grams."""
    held = [set(grams(words)) for words in references]
    found = {}
    for words in texts:
        if len(words) >= LEAST_WORDS:
            own = set(grams(words))
            shares = [len(own & other) / len(own) for other in held]
            if max(shares) >= CONTAINED:
                found[words] = shares.index(max(shares))
    return found


if __name__ == "__main__":
    main()
