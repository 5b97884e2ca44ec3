"""How long it takes to hold what was learned from against what judges, in a lake of N utterances (221,000).

    PYTHONPATH=. python benchmarks/contamination.py [FOLDER] [N]

Makes the lake once in FOLDER (a temporary one without it): a tenth, but no more than IEMOCAP, MELD and CMU-MOSEI have
together, is a corpus of five sessions, of which five students leave one out each; the rest are lines of films, from
which their teacher learned. Words are drawn as often as words are
said, one line in twenty is not ASCII, and one in ten is said again elsewhere. Each line is the least of
three questions of a newly opened lake, imports not counted: the first ones with nothing remembered, then those that
were asked before.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.audit import artifact, ids_of, timed
from flows.audit.contamination import contamination
from warehouse import Warehouse
from warehouse.schema import FAILURES, METRICS, PREDICTIONS, SPLIT, UTTERANCES

FOLDS = ("1", "2", "3", "4", "5")
_MOST_ACTED = 10_039 + 13_708 + 23_453
_LINES = 1_000_000
"""That are made at a time: among these one in ten is said again."""
MARKS = ("{}.", "{}?", "{}!", "- {}", "“{}”", "{}…", "'{}'", "Well, {}")


def main() -> None:
    """Prints seconds of the clock and of the processor."""
    arguments = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        root = Path(arguments[0] if arguments else name) / "judged"
        n = int(arguments[1]) if arguments[1:] else 221_000
        if not (root / "lake.json").exists():
            lake_of(root, n)
        for subject in ("mine:best", "made5", teacher_of(root)):
            for asked in ("first", "again"):
                seconds, used = asked_thrice(root, subject, asked == "first")
                spent = f"{seconds:7.3f} s of the clock, {used:7.3f} s of processors"
                print(f"contamination {subject[:12]:12} {asked} {spent}", flush=True)


def asked_thrice(root: Path, subject: str, is_first: bool) -> tuple[float, float]:
    """The least seconds of three questions, by the clock and of processors."""
    seconds, used = [], []
    for _ in range(3):
        if is_first:
            shutil.rmtree(root / ".cache", ignore_errors=True)
        began = time.process_time()
        seconds.append(timed(lambda: contamination(Warehouse(root), subject)))
        used.append(time.process_time() - began)
    return min(seconds), min(used)


def teacher_of(root: Path) -> str:
    """The key of the checkpoint that learned from films."""
    return next(a.key for a in Warehouse(root).artifacts("checkpoint") if "teacher" in a.request.params)


def lake_of(root: Path, n: int) -> None:
    """Makes the lake."""
    lake = Warehouse(root, create=True)
    texts = lines(n)
    acted, films = np.split(np.arange(n), [min(n // 10, _MOST_ACTED)])
    sessions = [FOLDS[number % 5] for number in acted]
    heard = read(lake, "acted", acted, texts, sessions)
    seen = [read(lake, "films", part, texts, [""] * len(part)) for part in np.array_split(films, 4)]
    parts = np.where(films % 100 == 0, "dev", "train")
    words = split(lake, "films-unlabelled", "whole", seen, films, parts, "false")
    teacher = fitted(lake, 0, {"split": (words,)}, {"teacher": True})
    runs, predictions = [], []
    for fold in FOLDS:
        others = np.where(acted % 50 == 0, "dev", "train")
        own = split(lake, "made5", fold, [heard], acted, np.where(np.array(sessions) == fold, "test", others), "true")
        student = fitted(lake, int(fold), {"split": (own,), "init": (teacher,)}, {"fold": fold})
        inputs = {"checkpoint": (student,), "split": (own,)}
        tables = {"predictions.parquet": PREDICTIONS.empty_table()}
        predictions.append(artifact(lake, "predictions", {"fold": fold}, inputs, tables, 10 + int(fold)))
        runs.append({"fold": fold, "seed": 0, "model": "best"})
    cited = {"predictions": tuple(predictions)}
    metrics = artifact(lake, "metrics", {}, cited, {"metrics.parquet": METRICS.empty_table()}, 20)
    report = artifact(lake, "report", {"runs": runs, "recipe": ""}, cited | {"metrics": (metrics,)}, {}, 21)
    lake.set_ref("reports/mine", {"artifact": report, "metrics": metrics})


def lines(n: int) -> list[str]:
    """What is said: words by Zipf's law, one to twenty of them."""
    return [line for block in range(0, n, _LINES) for line in _lines(min(_LINES, n - block), block)]


def _lines(n: int, seed: int) -> list[str]:
    chance = np.random.default_rng(seed)
    known = np.array([f"word{rank}" if rank % 7 else f"wo'rd{rank}" for rank in range(20_000)])
    often = 1 / np.arange(1, len(known) + 1)
    lengths = np.clip(np.round(chance.lognormal(1.8, 0.6, n)), 1, 20).astype(int)
    words = known[chance.choice(len(known), lengths.sum(), p=often / often.sum())]
    said = [" ".join(own) for own in np.split(words, np.cumsum(lengths)[:-1])]
    again = chance.random(n) < 0.1
    said = [said[int(chance.integers(n))] if repeats else own for own, repeats in zip(said, again, strict=True)]
    marks = chance.choice(len(MARKS), n, p=[0.5, 0.15, 0.1, 0.1, 0.025, 0.025, 0.05, 0.05])
    return [MARKS[mark].format(own.capitalize()) for own, mark in zip(said, marks, strict=True)]


def read(lake: Warehouse, corpus: str, numbers: np.ndarray, texts: Sequence[str], sessions: Sequence[str]) -> str:
    """One reading of a corpus; its digest."""
    ids = ids_of(numbers)
    own = {name: pa.array([""] * len(ids)) for name in UTTERANCES.names} | {
        "utterance_id": pa.array([name_of(number) for number in numbers]), "corpus": pa.array([corpus] * len(ids)),
        "recording_id": pa.array([f"{number // 100:064x}" for number in numbers]), "session": pa.array(sessions),
        "audio_id": pa.array(ids), "text_id": pa.array(ids), "text": pa.array([texts[number] for number in numbers]),
        "start_s": pa.array(numbers % 100 * 2.0), "end_s": pa.array(numbers % 100 * 2.0 + 1.5),
        "turn": pa.array(numbers % 100), "speaker_id": pa.array([f"speaker{number // 100 % 50}" for number in numbers]),
        "dialogue_id": pa.array([f"dialogue{number // 100}" for number in numbers]),
        "attributes": pa.array([[]] * len(ids), UTTERANCES.field("attributes").type),
    }  # fmt: skip
    rows = pa.table({name: own[name] for name in UTTERANCES.names}, schema=UTTERANCES)
    tables = {"utterances.parquet": rows, "failures.parquet": FAILURES.empty_table()}
    first = int(numbers[0])
    return artifact(lake, "utterances", {"corpus": corpus, "unit": str(first)}, {}, tables, first % 86_400)


def name_of(number: int) -> str:
    """An utterance's id."""
    return f"made-{number:08d}"


def split(
    lake: Warehouse, protocol: str, fold: str, readings: Sequence[str], numbers: np.ndarray, parts: np.ndarray,
    judges: str,
) -> str:  # fmt: skip
    """One fold; its digest."""
    names = [name_of(number) for number in numbers]
    rows = pa.table({"utterance_id": names, "part": parts.tolist(), "label": pa.nulls(len(names), pa.string())})
    params = {"protocol": protocol, "fold": fold, "rules": {"dev": "false", "test": judges}}
    return artifact(lake, "split", params, {"utterances": tuple(readings)}, {"split.parquet": rows.cast(SPLIT)}, 5)


def fitted(lake: Warehouse, n: int, inputs: dict[str, tuple[str, ...]], params: dict[str, object]) -> str:
    """A checkpoint; its digest."""
    return artifact(lake, "checkpoint", {"seed": 0, **params}, inputs, {}, 6 + n)


if __name__ == "__main__":
    main()
