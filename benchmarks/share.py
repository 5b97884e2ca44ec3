"""How long `share` and `gc --recipe` take of a corpus of many files, against the least that either could do.

    PYTHONPATH=. python benchmarks/share.py FOLDER [--rounds 7] [--write]

FOLDER is one that `benchmarks/plan.py FOLDER` has made. Its corpus is packed for two models, once. Then whole commands
are taken in turns with programs that only import the same libraries and read and write the same: for `share` every
manifest, the columns of five tables and five records of raw files, into a zip file on the disk; for `gc` the status of
every folder and file of the lake. The least of several rounds stands.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.marked import put_between
from benchmarks.plan import EMOLAKE, PAGE, QUIET, RECIPE, processor_s
from flows.audit.bundle import SPANS

SCRIPT = "benchmarks/share.py"
MODELS = """
[models.frames]
student = "mult"
modalities = "audio"
corpus = "large"
protocol = "iemocap4-loso5"
inputs = { audio_states = "mfcc" }
objective = { label = 1.0 }
fit = { epochs = 1, batch_frames = 12, learning_rate = 1e-3 }

[models.words]
student = "text_encoder"
task = "classify"
vocabulary_size = 100
layers = 1
width = 16
heads = 1
dropout = 0.0
corpus = "large"
protocol = "iemocap4-loso5"
inputs = { text = "text" }
objective = { label = 1.0 }
fit = { epochs = 1, batch_frames = 12, learning_rate = 1e-3 }
"""

LIBRARIES = "import sys, os, pyarrow.parquet as pq, pydantic.types, typer, rich.console\n"
BUNDLE = f"""
import glob, io, json, zipfile
from concurrent.futures import ThreadPoolExecutor
artifacts, out = sys.argv[1] + "/artifacts/", sys.argv[2]
def written(pattern, columns):
    stream, writer = io.BytesIO(), None
    for path in glob.glob(artifacts + pattern):
        table = pq.read_table(path, columns=columns, use_threads=False)
        how = dict(compression="zstd", use_dictionary=False, write_statistics=False)
        writer = writer or pq.ParquetWriter(stream, table.schema, **how)
        writer.write_table(table)
    writer.close()
    return stream.getbuffer()
with ThreadPoolExecutor(1) as threads, open(out, "wb") as file:
    spans = threads.submit(written, "utterances/*/utterances.parquet", {list(SPANS)!r})
    manifests = [json.loads(open(path, "rb").read()) for path in glob.glob(artifacts + "*/*/manifest.json")]
    lines = "\\n".join(json.dumps(one, sort_keys=True) for one in manifests)
    with zipfile.ZipFile(file, "w") as bundle:
        bundle.writestr("lines", lines, zipfile.ZIP_DEFLATED)
        bundle.writestr("spans", spans.result())
        for number, path in enumerate(glob.glob(artifacts + "raw/*/files.parquet")):
            bundle.writestr(f"files {{number}}", open(path, "rb").read())
    file.flush()
    os.fsync(file.fileno())
"""
STATUS = """
for kind in os.scandir(sys.argv[1] + "/artifacts"):
    for artifact in os.scandir(kind.path):
        os.lstat(artifact.path)
        for file in os.scandir(artifact.path):
            os.lstat(file.path)
"""


def main() -> None:
    """Prints the table, or puts it into BENCHMARKS.md too."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--write", action="store_true", help="into BENCHMARKS.md")
    given = parser.parse_args()
    lake, recipe = given.folder / "lake", given.folder / "packed.toml"
    recipe.write_text(RECIPE.replace('name = "large"', 'name = "packed"') + MODELS)
    subprocess.run([*EMOLAKE, "pack", str(recipe), "--lake", str(lake), "--trust-raw"], **QUIET)
    time.sleep(2.5)  # what the lake remembers of its manifests settles
    with tempfile.TemporaryDirectory() as name:
        text = table(measured(lake, recipe, Path(name) / "bundle.zip", given.rounds))
    print(text)
    if given.write:
        put_between(PAGE, SCRIPT, text)


def measured(lake: Path, recipe: Path, out: Path, rounds: int) -> dict[str, tuple[float, float]]:
    """What was run -> the least seconds, on the clock and of the processor."""
    python = [sys.executable, "-c"]
    commands = {
        "`emolake share`": [*EMOLAKE, "share", str(recipe), "--out", str(out), "--lake", str(lake)],
        "its floor": [*python, LIBRARIES + BUNDLE, str(lake), str(out)],
        "`emolake gc --recipe`": [*EMOLAKE, "gc", "--recipe", str(recipe), "--lake", str(lake)],
        "its floor ": [*python, LIBRARIES + STATUS, str(lake)],
        "to import the libraries": [*python, LIBRARIES],
    }
    least = dict.fromkeys(commands, (float("inf"), float("inf")))
    for _ in range(rounds + 1):  # the first finds what later ones remember
        for what, arguments in commands.items():
            began, busy = time.perf_counter(), processor_s()
            subprocess.run(arguments, **QUIET)
            took = time.perf_counter() - began, processor_s() - busy
            least[what] = min(least[what][0], took[0]), min(least[what][1], took[1])
    return least


def table(least: dict[str, tuple[float, float]]) -> str:
    """As Markdown, with ratios to the floors."""
    lines = ["| command | clock, s | processor, s | × its floor (clock / processor) |", "|---|---|---|---|"]
    rows = list(least.items())
    for number, (what, (clock, busy)) in enumerate(rows):
        ratio = "–"
        if what.startswith("`"):
            _, (floor, floor_busy) = rows[number + 1]
            ratio = f"{clock / floor:.2f} / {busy / floor_busy:.2f}"
        lines.append(f"| {what.strip()} | {clock:.2f} | {busy:.2f} | {ratio} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
