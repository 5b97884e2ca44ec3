"""How long questions take of a lake of 100,000 artifacts, and of 221,000 or ten million utterances.

    PYTHONPATH=. python benchmarks/audit.py [FOLDER] [--millions]

Makes the lake once in FOLDER (a temporary one without it): hand-made artifacts, a million edges, utterances and a
feature's rows in few files; with `--millions` a second one with ten million utterances. Every number is the least of
several; a view's query and the bare one over the same Parquet files are asked in turns, each on a connection that was
opened before. Commands are processes of their own, with their imports, each the least of two.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from warehouse import Request, Warehouse
from warehouse.artifact import MANIFEST, SEAL, content_digest, seal_of
from warehouse.audit import lineage
from warehouse.audit.verify import verify
from warehouse.audit.why import why
from warehouse.hashing import canonical_json, digest, short_digest
from warehouse.manifest_index import SETTLED_NS
from warehouse.schema import FAILURES, UTTERANCES

N_ARTIFACTS, N_INPUTS, N_UTTERANCES, N_FILES = 100_000, 10, 221_000, 4
KINDS = ("shards", "checkpoint", "explanations", "votes", "canary")
PLUGIN = {"step": "extractors.made", "version": 1, "fields": {}}
ENVIRONMENT = {"python": "3.11", "machine": "made", "packages": {f"package{n}": "1.2.3" for n in range(15)}}
SPEAKERS, SMALL = 1000, 5000


def main() -> None:
    """Prints one table about manifests and one for each number of utterances."""
    arguments = [one for one in sys.argv[1:] if not one.startswith("--")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(arguments[0] if arguments else name)
        large = lake_of(folder / "lake", N_UTTERANCES, N_ARTIFACTS)
        time.sleep(SETTLED_NS / 1e9 + 1)
        table(f"{N_ARTIFACTS:,} artifacts, {N_ARTIFACTS * N_INPUTS:,} edges", manifests(large))
        questions(large.root, N_UTTERANCES)
        commands(lake_of(folder / "utterances", N_UTTERANCES, 0).root, N_UTTERANCES)
        if "--millions" in sys.argv:
            many = lake_of(folder / "millions", 10_000_000, 0)
            questions(many.root, 10_000_000)
            commands(many.root, 10_000_000)


def table(title: str, rows: Iterator[tuple[str, float]]) -> None:
    """One line for each of some measured seconds."""
    print(f"\n{title}")
    for what, seconds in rows:
        print(f"{what:58} {seconds * 1e3:10.1f} ms", flush=True)


def timed(function: Callable[[], object], times: int = 1) -> float:
    """The least seconds of a call."""
    least = float("inf")
    for _ in range(times):
        gc.collect()
        began = time.perf_counter()
        function()
        least = min(least, time.perf_counter() - began)
    return least


# -- the lake --------------------------------------------------------------------------------------------------


def lake_of(root: Path, n_utterances: int, n_artifacts: int) -> Warehouse:
    """The lake below a folder, made where it is not yet."""
    if (root / "lake.json").exists():
        return Warehouse(root)
    lake = Warehouse(root, create=True)
    made = rows(lake, n_utterances)
    small = SMALL if n_artifacts else 0
    plugin = PLUGIN | {"version": 2}
    for n in range(small):
        table = pa.table({"input_id": ids_of(np.arange(n * 44, n * 44 + 44)), "F0": np.zeros(44)})
        artifact(lake, "features", {"plugin": plugin, "part": n}, {}, {"features.parquet": table}, n)
    lake.set_ref("features/small", {"plugin_key": short_digest(plugin), "needs": "audio", "hops_s": {}})
    for n in range(n_artifacts - len(made) - small):
        inputs = {"features": tuple(made[-N_INPUTS:])}
        made.append(artifact(lake, KINDS[n % len(KINDS)], {"n": n}, inputs, {}, n))
    return lake


def artifact(
    lake: Warehouse, kind: str, params: dict[str, Any], inputs: dict[str, tuple[str, ...]],
    tables: dict[str, pa.Table], n: int,
) -> str:  # fmt: skip
    """Made by hand, without a commit's wait for the disk; its digest."""
    request = Request(kind, f"made.{kind}", 1, params, inputs)
    folder = lake.folder_of(request)
    folder.mkdir(parents=True)
    for name, rows in tables.items():
        pq.write_table(rows, folder / name, compression="zstd")
    files = {name: {"sha256": digest([name, params]), "n_bytes": (folder / name).stat().st_size} for name in tables}
    files |= {"a.txt": {"sha256": f"{n:064x}", "n_bytes": 0}} if not tables else {}
    if not tables:
        (folder / "a.txt").touch()
    manifest = {
        "request": request.as_json(), "files": files, "digest": content_digest(files),
        "environment": ENVIRONMENT | {"work_s": n / 7},
        "created_at": f"2026-01-{1 + n // 86_400:02}T{n // 3600 % 24:02}:{n // 60 % 60:02}:{n % 60:02}.000+00:00",
    }  # fmt: skip
    (folder / MANIFEST).write_bytes(canonical_json(manifest | {SEAL: seal_of(manifest)}))
    return str(manifest["digest"])


def rows(lake: Warehouse, n: int) -> list[str]:
    """Utterances and, for nine of ten, a feature's rows, in few files."""
    made, readings = [], []
    for part, numbers in enumerate(np.array_split(np.arange(n), N_FILES)):
        ids = ids_of(numbers)
        constant = {name: pa.array([""]).take(pa.array(np.zeros(len(ids), np.int64))) for name in UTTERANCES.names}
        own = constant | {
            "utterance_id": pa.array([f"made-{number:08d}" for number in numbers]), "audio_id": pa.array(ids),
            "text_id": pa.array(ids), "start_s": pa.array(numbers * 2.0), "end_s": pa.array(numbers * 2.0 + 1.5),
            "turn": pa.array(numbers % 40),
            "attributes": pa.array([[]] * len(ids), UTTERANCES.field("attributes").type),
            "speaker_id": pa.array([f"speaker{number % SPEAKERS}" for number in numbers]),
            "corpus": pa.array([f"corpus{number % 4}" for number in numbers]),
        }  # fmt: skip
        utterances = pa.table({name: own[name] for name in UTTERANCES.names}, schema=UTTERANCES)
        tables = {"utterances.parquet": utterances, "failures.parquet": FAILURES.empty_table()}
        readings.append(artifact(lake, "utterances", {"part": part}, {}, tables, part))
        present = [one for number, one in zip(numbers, ids, strict=True) if number % 10]
        features = pa.table({"input_id": present, "F0": np.random.default_rng(part).normal(size=len(present))})
        tables = {"features.parquet": features, "failures.parquet": FAILURES.empty_table()}
        inputs = {"utterances": (readings[-1],)}
        made.append(artifact(lake, "features", {"plugin": PLUGIN, "part": part}, inputs, tables, part))
    lake.set_ref("corpora/made", {"reader": "", "raw": [], "utterances": readings, "labels": [], "root": ""})
    lake.set_ref("features/made", {"plugin_key": short_digest(PLUGIN), "needs": "audio", "hops_s": {}})
    return [*readings, *made]


def ids_of(numbers: np.ndarray) -> list[str]:
    """Ids that are as unlike each other as digests are."""
    mixed = (numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) ^ np.uint64(0x5DEECE66D)
    return [f"{one:016x}{number:016x}" for one, number in zip(mixed.tolist(), numbers.tolist(), strict=True)]


# -- what is measured ------------------------------------------------------------------------------------------


def manifests(lake: Warehouse) -> Iterator[tuple[str, float]]:
    """Each as a process meets it that has asked nothing yet, unless it says otherwise."""
    root = lake.root
    for path in (root / ".cache" / "manifests").glob("*"):
        path.unlink()
    yield "rebuild: every manifest read, remembered", timed(Warehouse(root).artifacts)
    time.sleep(SETTLED_NS / 1e9 + 1)
    yield "list all", timed(lambda: Warehouse(root).artifacts(), 3)
    known = Warehouse(root)
    last = known.artifacts()[-1]
    yield "list all, again in one process", timed(known.artifacts, 3)
    yield "list checkpoints", timed(lambda: Warehouse(root).artifacts("checkpoint"), 3)
    yield "SELECT count(*) FROM artifacts", timed(lambda: Warehouse(root).table("SELECT count(*) FROM artifacts"), 3)
    yield "SELECT count(*) FROM inputs", timed(lambda: Warehouse(root).table("SELECT count(*) FROM inputs"), 3)
    count = "SELECT count(*) FROM features_small"
    yield f"{count}: {SMALL:,} files, first time", timed(lambda: Warehouse(root).table(count))
    yield f"{count}: {SMALL:,} files", timed(lambda: Warehouse(root).table(count), 3)
    yield "every view", timed(lambda: Warehouse(root).connect(), 2)
    yield "find the answer to a request", timed(lambda: Warehouse(root).find(last.request), 3)
    yield "show: resolve the beginning of a key", timed(lambda: Warehouse(root).resolve(last.key[:12]), 3)
    request = Request(last.request.kind, last.request.step, 2, last.request.params, last.request.inputs)
    yield "why: the nearest of 20,000 of its step, which is the newest", timed(lambda: why(Warehouse(root), request))
    far = Request(last.request.kind, last.request.step, 2, {"n": -1, "more": 1}, {"features": ("a", "b")})
    yield "why: the nearest of 20,000 of its step, all of them far", timed(lambda: why(Warehouse(root), far))
    yield "lineage up, all 100,000 artifacts", timed(lambda: lineage.up(Warehouse(root), last))
    near = known.artifacts()[60]
    yield "lineage up, 60 artifacts", timed(lambda: lineage.up(Warehouse(root), near), 3)
    yield "lineage up, 60 artifacts, again in one process", timed(lambda: lineage.up(known, near), 3)
    first = known.artifacts()[20]
    yield "lineage down, all 100,000 artifacts", timed(lambda: lineage.down(Warehouse(root), first))
    yield "verify, quick", timed(lambda: verify(Warehouse(root), deep=False))
    for number in (1, 2):
        artifact(lake, "checkpoint", {"new": time.time_ns()}, {}, {}, number)
        yield (
            "refresh after one new artifact" + ", in a process that knew the rest" * (number - 1),
            timed(known.artifacts if number == 2 else Warehouse(root).artifacts),
        )


def questions(root: Path, n: int) -> None:
    """The five queries on views and on the files that these read, and what a command pays to open the lake."""
    print(f"\n{n:,} utterances{'':24} {'bare':>9} {'view':>9} {'ratio':>6} {'with opening':>14}")
    lake = Warehouse(root)
    files = {
        name: [str(a.path(f"{kind}.parquet")) for a in lake.artifacts(kind)]
        for name, kind in (("utterances", "utterances"), ("features_made", "features"))
    }
    one = f"made-{n // 3:08d}"
    for what, query in {
        "filter": "SELECT utterance_id FROM utterances WHERE corpus = 'corpus1' AND end_s - start_s > 1 AND turn = 7",
        "count": "SELECT corpus, count(*) FROM utterances GROUP BY corpus",
        "per-speaker aggregate": "SELECT speaker_id, count(*), sum(end_s - start_s) FROM utterances GROUP BY ALL",
        "mean of a feature by speaker": "SELECT speaker_id, avg(F0) FROM utterances JOIN features_made "
        "ON input_id = audio_id GROUP BY ALL",
        "missing rows": "SELECT count(*) FROM utterances WHERE NOT EXISTS "
        "(FROM features_made WHERE input_id = audio_id)",
        "point look-up": f"SELECT * FROM utterances WHERE utterance_id = '{one}'",
    }.items():
        bare, ours = duckdb.connect(), lake.connect(query)
        for name, paths in files.items():
            bare.execute(f"CREATE VIEW {name} AS FROM read_parquet({paths})")
        seconds = [float("inf"), float("inf")]
        for _ in range(25 if n < 1_000_000 else 3):
            for place, connection in enumerate((bare, ours)):
                seconds[place] = min(seconds[place], timed(lambda c=connection, q=query: c.sql(q).fetchall()))  # type: ignore[misc]
        whole = timed(lambda q=query: Warehouse(root).sql(q).fetchall(), 2)  # type: ignore[misc]
        print(
            f"{what:42} {seconds[0] * 1e3:6.1f} ms {seconds[1] * 1e3:6.1f} ms {seconds[1] / seconds[0]:6.2f}"
            f" {whole * 1e3:11.1f} ms", flush=True,
        )  # fmt: skip


def commands(root: Path, n: int) -> None:
    """Whole commands of a lake without small artifacts: seconds of the clock, of processors, and the most memory."""
    first, second = (a.key for a in Warehouse(root).artifacts("utterances")[:2])
    one = f"made-{n // 20 + 1:08d}"
    print(f"\n{n:,} utterances, whole commands")
    for arguments in (
        ["lineage", one], ["lineage", one, "--down"], ["lineage", f"features/made#{one}"], ["why", first], ["verify"],
        ["purge", "--speaker", "corpus3/speaker3"], ["purge", "--utterance", one], ["licence", "corpora/made"],
        ["diff", first, second], ["diff", "features/made", "features/made"], ["gc"],
        ["sql", "SELECT speaker_id, avg(F0) FROM utterances JOIN features_made ON input_id = audio_id GROUP BY ALL"],
    ):  # fmt: skip
        clock, busy, n_bytes = min(process(["-m", "flows", *arguments, "--lake", str(root)]) for _ in range(2))
        print(f"{' '.join(arguments)[:58]:58} {clock:7.2f} s {busy:7.2f} s {n_bytes / 2**20:7.0f} MiB", flush=True)


def process(arguments: list[str]) -> tuple[float, float, int]:
    """Seconds of the clock and of processors that Python takes with these arguments, and its most bytes of memory."""
    began = time.perf_counter()
    child = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    clock = time.perf_counter() - began
    if status:
        raise SystemExit(f"{arguments} failed")
    return clock, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


if __name__ == "__main__":
    main()
