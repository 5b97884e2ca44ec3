"""How long a plan takes that finds nothing to do, against a look at every file, and against `dvc status`.

    PYTHONPATH=. python benchmarks/plan.py [FOLDER] [--files 221000] [--dvc PATH] [--write]

Makes, once, in FOLDER (a temporary one without it) a tree in IEMOCAP's layout with one small file for each utterance,
and a lake that has all that a recipe wants of it: the requests are the line's own, what answers them is made up. Then
takes in turns: the floor, which lists the tree and asks the system for each file's status, one after the other; the
plan, looking at every file and trusting what is recorded of them, in a process that has imported what it needs and
as a command of its own; `dvc status` on the same tree, where PATH names a dvc. The least of several rounds stands.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.marked import put_between
from features.extract import feature_schema
from features.rows import utterance_row
from flows.doer import Step
from flows.line import Line
from flows.plan import is_done, plan
from flows.recipe import read_recipe
from warehouse import Warehouse
from warehouse.artifact import Artifact, Work
from warehouse.schema import FAILURES, LABELS, UTTERANCES
from warehouse.tables import write_rows, write_table

PAGE = Path(__file__).parents[1] / "BENCHMARKS.md"
SCRIPT = "benchmarks/plan.py"
N_DIALOGUES, SESSIONS = 442, (1, 2, 3, 4, 5)
RECIPE = """
name = "large"
title = "A corpus of many files"

[corpora.large]
reader = "iemocap"

[features.mfcc]
extractor = "mfcc"
corpora = ["large"]
"""


def main() -> None:
    """Prints the table, or puts it into BENCHMARKS.md too."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", default="")
    parser.add_argument("--files", type=int, default=221_000)
    parser.add_argument("--dvc", default="")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="into BENCHMARKS.md")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(given.folder or name).absolute()
        tree = folder / "dvc" / "tree"
        write_tree(tree, given.files)
        if given.dvc:
            add(given.dvc, tree)
        lake_of(folder, tree)
        text = table(given.files, measured(folder, tree, given.dvc, given.rounds))
    print(text)
    if given.write:
        put_between(PAGE, SCRIPT, text)


# -- what is looked at -----------------------------------------------------------------------------------------------


def write_tree(tree: Path, n_files: int) -> None:
    """IEMOCAP's folders with this many wavs, whose bytes nobody will decode."""
    if tree.exists():
        return
    unfinished = tree.with_name("unfinished")
    each = -(-n_files // (N_DIALOGUES * len(SESSIONS)))
    n_left = n_files
    for session in SESSIONS:
        part = unfinished / f"Session{session}"
        for name in ("dialog/EmoEvaluation", "dialog/transcriptions"):
            (part / name).mkdir(parents=True)
            (part / name / "all.txt").write_text("")
        for dialogue in range(N_DIALOGUES):
            name = f"Ses{session:02}F_impro{dialogue:03}"
            folder = part / "sentences" / "wav" / name
            folder.mkdir(parents=True)
            for turn in range(min(each, n_left)):
                (folder / f"{name}_F{turn:03}.wav").write_bytes(f"{name} {turn}".encode())
            n_left -= min(each, n_left)
    unfinished.rename(tree)


def add(dvc: str, tree: Path) -> None:
    """Has dvc remember the tree; its cache is of links, so that nothing is copied."""
    if (tree.parent / "tree.dvc").exists():
        return
    for arguments in (["init", "--no-scm", "-q"], ["config", "cache.type", "hardlink,copy"], ["add", "-q", tree.name]):
        subprocess.run([dvc, *arguments], cwd=tree.parent, check=True)


# -- the lake --------------------------------------------------------------------------------------------------------


class Forger:
    """The doer that answers works with rows that nobody computed; what is small is done as it should be."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse

    def step(self, name: str, works: Sequence[Work], n_rows: int | None = None) -> list[Artifact]:
        forged = {"utterances": forge_utterances, "labels": forge_labels, "features": forge_features}
        made = []
        for number, work in enumerate(works):
            if (write := forged.get(work.request.kind)) is None:
                made.append(self.warehouse.perform(work))
            else:
                made.append(self.warehouse.materialize(work.request, partial(write, **work.arguments)))
            if number % 500 == 499:
                print(f"{name}: {number + 1} of {len(works)}", flush=True)
        return made

    def ahead(self, name: str, works: Callable[[], Sequence[Work]]) -> None:
        """Each step does its own."""

    def waits(self, name: str, step: str) -> None:
        """Nothing does."""

    def remark(self, name: str, sentence: str) -> None:
        """Nobody reads it."""

    def hashing(self, corpus: str) -> Callable[[int], None]:
        return lambda n_bytes: None

    def remember(self, ref: str, value: Mapping[str, Any]) -> None:
        self.warehouse.set_ref(ref, value)


def forge_utterances(folder: Path, files: Sequence[Any], unit: str, corpus: str, **reading: Any) -> None:
    """An utterance of 2.6 s for each wav."""
    rows = [
        utterance_row(
            utterance_id=f"{corpus}-{Path(file.path).stem}", corpus=corpus, unit=unit, recording=file, start_s=0.0,
            end_s=2.6, verbatim="", text=Path(file.path).stem, speaker_id=unit,
        )
        for file in files if file.path.endswith(".wav")
    ]  # fmt: skip
    write_rows(folder / "utterances.parquet", rows, UTTERANCES)
    write_table(folder / "failures.parquet", FAILURES.empty_table(), FAILURES)


def forge_labels(folder: Path, **reading: Any) -> None:
    """None."""
    write_table(folder / "labels.parquet", LABELS.empty_table(), LABELS)


def forge_features(folder: Path, plugin: Any, rows: Sequence[Mapping[str, Any]], **others: Any) -> None:
    """Arrays of one number, and the same for all."""
    schema = feature_schema(plugin.outputs())
    columns = {name: pa.array([row["input_id"] for row in rows]) for name in schema.names[:1]}
    for column in list(schema)[1:]:
        one: Any = {"_shape": [1, 1], "_dtype": "float32"}.get(column.name[column.name.rfind("_") :], bytes(4))
        one = 0.0 if pa.types.is_floating(column.type) else one
        columns[column.name] = pa.array([one] * len(rows), column.type)
    write_table(folder / "features.parquet", pa.table(columns, schema=schema), schema)
    write_table(folder / "failures.parquet", FAILURES.empty_table(), FAILURES)


def lake_of(folder: Path, tree: Path) -> None:
    """A lake in which nothing of the recipe is missing."""
    (folder / "large.toml").write_text(RECIPE, encoding="utf-8")
    warehouse = Warehouse(folder / "lake", create=True)
    Line(read_recipe(folder / "large.toml"), warehouse, {"large": tree}, Forger(warehouse)).run()
    time.sleep(2.5)  # what the lake remembers of its manifests settles


# -- what is measured ------------------------------------------------------------------------------------------------


def measured(folder: Path, tree: Path, dvc: str, rounds: int) -> dict[str, tuple[float, float]]:
    """Way -> the least seconds, on the clock and of the processor."""
    ways: dict[str, Callable[[], object]] = {
        "floor: list the tree, `os.stat` of each file": partial(look_at_all, tree),
        "plan, every file looked at": partial(planned, folder, tree, False),
        "plan --trust-raw": partial(planned, folder, tree, True),
        "command `emolake plan`": partial(command, folder, tree),
        "command `emolake plan --trust-raw`": partial(command, folder, tree, "--trust-raw"),
        "command `emolake --help`: to start and to import": partial(subprocess.run, [*EMOLAKE, "--help"], **QUIET),
    }
    if dvc:
        ways["command `dvc status`"] = partial(subprocess.run, [dvc, "status"], cwd=tree.parent, **QUIET)
    least = dict.fromkeys(ways, (float("inf"), float("inf")))
    for _ in range(rounds):
        for name, way in ways.items():
            began, busy = time.perf_counter(), processor_s()
            way()
            took = time.perf_counter() - began, processor_s() - busy
            least[name] = min(least[name][0], took[0]), min(least[name][1], took[1])
    return least


EMOLAKE = [sys.executable, "-m", "flows"]
QUIET: dict[str, Any] = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def processor_s() -> float:
    """Seconds of the processor that this process and those it waited for have used."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def look_at_all(tree: Path) -> int:
    """Every folder listed, every file's status asked for: nobody who looks at all files does less."""
    n, waiting = 0, [str(tree)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    waiting.append(entry.path)
                else:
                    os.stat(entry.path)
                    n += 1
    return n


def planned(folder: Path, tree: Path, trust_raw: bool) -> list[Step]:
    """A plan in this process, which keeps nothing of the one before."""
    steps = plan(
        read_recipe(folder / "large.toml"), Warehouse(folder / "lake"), {"large": tree}, trust_raw=trust_raw
    )  # fmt: skip
    if not is_done(steps):
        raise SystemExit(f"there is something to do: {[step.as_json() for step in steps if step.works]}")
    return steps


def command(folder: Path, tree: Path, *options: str) -> None:
    """The same as people ask for it."""
    where = ["--lake", str(folder / "lake"), "--root", f"large={tree}"]
    subprocess.run([*EMOLAKE, "plan", str(folder / "large.toml"), *where, *options], **QUIET)


def table(n_files: int, least: Mapping[str, tuple[float, float]]) -> str:
    """As Markdown, with ratios to the floor and to dvc."""
    floor, *_ = least.values()
    other = least.get("command `dvc status`")
    lines = [
        f"| {n_files:,} files | clock, s | processor, s | × floor (clock / processor) | `dvc status` / this |",
        "|---|---|---|---|---|",
    ]
    for name, (clock, busy) in least.items():
        quicker = f"{other[0] / clock:.1f} / {other[1] / busy:.1f}" if other else "–"
        lines.append(
            f"| {name} | {clock:.2f} | {busy:.2f} | {clock / floor[0]:.2f} / {busy / floor[1]:.2f} | {quicker} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
