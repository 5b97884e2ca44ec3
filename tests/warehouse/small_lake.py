"""A small made-up lake with one artifact of every kind, for the tests of views and lineage.

Two corpora share one text ("so it is") and one clip; `u1` of 'main' and `v1` of 'other' say the same words.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from warehouse import Artifact, Request, Warehouse
from warehouse.hashing import short_digest
from warehouse.schema import (
    FAILURES,
    FILES,
    INTERVALS,
    LABELS,
    METRICS,
    PREDICTIONS,
    SELECTION,
    SPLIT,
    TRUTH,
    UTTERANCES,
    audio_id,
    pair_id,
    text_id,
)
from warehouse.shards import write_shard
from warehouse.tables import array_cells, array_columns, vector_columns, write_rows


def utterance(corpus: str, name: str, text: str, recording: str | None = None) -> dict[str, Any]:
    """A row of UTTERANCES: two seconds of a recording of its own, unless one is given."""
    recording = recording or short_digest([corpus, name])
    return {
        "utterance_id": name, "corpus": corpus, "unit": "one", "recording_id": recording, "path": f"wav/{name}.wav",
        "start_s": 1.0, "end_s": 3.0, "channel": "mix", "audio_id": audio_id(recording, 1.0, 3.0, "mix"),
        "verbatim": text, "text": text.lower().rstrip("."), "text_id": text_id(text.lower().rstrip(".")),
        "speaker_id": "s1", "dialogue_id": "d1", "turn": 0, "session": "", "split": "", "language": "en",
        "attributes": {"scene": "kitchen"},
    }  # fmt: skip


MAIN = utterance("main", "u1", "So it is.")
OTHER = utterance("other", "v1", "So it is.")


class SmallLake:
    """The lake and its artifacts by name; `make` adds more."""

    utterances: Artifact
    predictions: Artifact

    def __init__(self, root: Path) -> None:
        self.lake = Warehouse(root, create=True)
        self.named: dict[str, Artifact] = {}

    def make(
        self, name: str, kind: str, step: str, write: Callable[[Path], None], inputs: Mapping[str, Iterable[Artifact]],
        version: int = 1, **params: Any,
    ) -> Artifact:  # fmt: skip
        digests = {role: tuple(a.digest for a in artifacts) for role, artifacts in inputs.items()}
        self.named[name] = self.lake.materialize(Request(kind, step, version, params, digests), write)
        return self.named[name]

    def rows(
        self, name: str, kind: str, step: str, tables: Mapping[str, tuple[list[dict[str, Any]], pa.Schema]],
        inputs: Mapping[str, Iterable[Artifact]], version: int = 1, **params: Any,
    ) -> Artifact:  # fmt: skip
        def write(folder: Path) -> None:
            for file, (rows, columns) in tables.items():
                write_rows(folder / f"{file}.parquet", rows, columns)

        return self.make(name, kind, step, write, inputs, version, **params)

    def reading(self, corpus: str, rows: list[dict[str, Any]], version: int = 1) -> Artifact:
        """Raw files, utterances and labels of a corpus; the utterances are returned."""
        files = [{"path": r["path"], "n_bytes": 9, "sha256": r["recording_id"]} for r in rows]
        raw = self.rows(f"raw {corpus}", "raw", "features.raw", {"files": (files, FILES)}, {}, corpus=corpus, v=version)
        failures = [{"input_id": "", "utterance_id": "u9", "step": "corpora.table", "reason": "no such file"}]
        labels = [
            {"utterance_id": r["utterance_id"], "scheme": "emotion", "rater": "summary",
             "value": "happy" if corpus == "main" else "sad", "number": None}
            for r in rows
        ]  # fmt: skip
        self.rows(f"labels {corpus}", "labels", "corpora.table", {"labels": (labels, LABELS)}, {"raw": [raw]}, version)
        tables = {"utterances": (rows, UTTERANCES), "failures": (failures if corpus == "main" else [], FAILURES)}
        return self.rows(f"utterances {corpus}", "utterances", "corpora.table", tables, {"raw": [raw]}, version)

    def ingested(self, corpus: str, utterances: Artifact) -> None:
        """Points the corpus at a reading, as ingestion does."""
        root = self.lake.root.parent / corpus
        root.mkdir(exist_ok=True)
        ref = {"reader": "corpora.table", "root": str(root), "utterances": [utterances.digest]}
        ref |= {role: [self.named[f"{role} {corpus}"].digest] for role in ("raw", "labels")}
        self.lake.set_ref(f"corpora/{corpus}", ref)

    def features(
        self, name: str, step: str, utterances: Artifact, rows: list[dict[str, Any]], columns: pa.Schema,
        failures: list[dict[str, Any]] | None = None,
    ) -> Artifact:  # fmt: skip
        columns = pa.schema([pa.field("input_id", pa.string(), nullable=False), *columns])
        plugin = {"step": step, "version": 1, "fields": {}}
        self.lake.set_ref(f"features/{step.rpartition('.')[2]}", {"plugin_key": short_digest(plugin)})
        tables = {"features": (rows, columns), "failures": (failures or [], FAILURES)}
        return self.rows(name, "features", step, tables, {"utterances": [utterances]}, plugin=plugin, ids=name)

    def shards(self, name: str, role: str, members: list[tuple[str, str, Any]], inputs: Mapping[str, Any]) -> Artifact:
        return self.make(name, "shards", "flows.pack", lambda f: write_shard(f, role, members), inputs, members=name)


def small_lake(root: Path) -> SmallLake:
    """A fresh copy of it at `root`; it is built once, because each commit waits for the disk."""
    built = _built()
    shutil.copytree(built.lake.root, root)
    copy = SmallLake(root)
    for name, artifact in built.named.items():
        copy.named[name] = copy.lake.find_folder(copy.lake.folder_of(artifact.request))
    copy.utterances, copy.predictions = copy.named["utterances main"], copy.named["predictions"]
    return copy


@cache
def _built() -> SmallLake:
    folder = tempfile.mkdtemp(prefix="small-lake-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    small = SmallLake(Path(folder) / "lake")
    main, other = small.reading("main", [MAIN]), small.reading("other", [OTHER])
    small.utterances = main
    small.ingested("main", main)
    small.ingested("other", other)

    pair = pair_id(MAIN["audio_id"], MAIN["text_id"])
    intervals: list[dict[str, Any]] = [
        {"input_id": pair, "tier": "word", "position": i, "symbol": symbol, "start_s": float(i), "end_s": i + 1.0,
         "score": None}
        for i, symbol in enumerate(("SO", "IT"))
    ]  # fmt: skip
    tables: dict[str, tuple[list[dict[str, Any]], pa.Schema]]
    tables = {"intervals": (intervals, INTERVALS), "failures": ([], FAILURES)}
    small.rows("intervals", "intervals", "aligners.provided", tables, {"utterances": [main]})

    voice = vector_columns(["F0"])
    failed = [{"input_id": "x", "utterance_id": "v1", "step": "extractors.voice", "reason": "too short"}]
    v1 = small.features("voice main", "extractors.voice", main, [{"input_id": MAIN["audio_id"], "F0": 220.0}], voice)
    v2 = small.features(
        "voice other", "extractors.voice", other, [{"input_id": OTHER["audio_id"], "F0": 110.0}], voice, failed
    )
    array = np.ones((2, 3), np.float32)
    w1 = small.features(
        "words main", "extractors.words", main, [{"input_id": MAIN["text_id"]} | array_cells("x", array)],
        array_columns("x"),
    )  # fmt: skip
    p1 = small.features(
        "pairs main", "extractors.pairs", main, [{"input_id": pair} | array_cells("x", array)], array_columns("x")
    )

    vector = np.ones(1, np.float32)
    shards = {
        "shards:voice": [
            small.shards("voice shard main", "voice", [("u1", MAIN["audio_id"], vector)], {"features": [v1]}),
            small.shards("voice shard other", "voice", [("v1", OTHER["audio_id"], vector)], {"features": [v2]}),
        ],
        "shards:words": [
            small.shards(
                "words shard", "words", [("u1", MAIN["text_id"], array), ("v1", OTHER["text_id"], array)],
                {"features": [w1]},
            )
        ],
        "shards:pairs": [small.shards("pairs shard", "pairs", [("u1", pair, array)], {"features": [p1]})],
        "shards:text": [
            small.shards("text shard", "text", [("u1", MAIN["text_id"], "so it is")], {"utterances": [main]})
        ],
    }  # fmt: skip
    split_rows: list[dict[str, Any]] = [
        {"utterance_id": "u1", "part": "test", "label": None}, {"utterance_id": "v1", "part": "train", "label": None}
    ]  # fmt: skip
    split = small.rows("split", "split", "flows.split", {"split": (split_rows, SPLIT)}, {"utterances": [main, other]})
    judged = [{"utterance_id": "u1", "part": "test", "label": "happy"}]
    marked = [small.named["labels main"], small.named["labels other"]]
    truth = small.rows(
        "truth", "truth", "flows.truth", {"truth": (judged, TRUTH)}, {"split": [split], "labels": marked},
        rules={"scheme": "emotion", "rater": "summary"},
    )  # fmt: skip
    chosen = [{"utterance_id": "v1", "label": "sad", "probability": 0.9}]
    small.rows("selection", "selection", "flows.select", {"selection": (chosen, SELECTION)}, {})

    def weights(folder: Path) -> None:
        (folder / "weights.bin").write_bytes(b"weights")

    checkpoint = small.make("checkpoint", "checkpoint", "students.tiny", weights, {"split": [split], **shards}, seed=7)
    predicted: list[dict[str, Any]] = [
        {"utterance_id": name, "part": "test", "predicted": "happy", "classes": ["happy", "sad"],
         "probabilities": [0.8, 0.2]}
        for name in ("u1", "v1")
    ]  # fmt: skip
    small.predictions = small.rows(
        "predictions", "predictions", "models.predict", {"predictions": (predicted, PREDICTIONS)},
        {"checkpoint": [checkpoint], "split": [split], **shards},
    )  # fmt: skip
    metric = {
        "protocol": "p", "variant": "v", "fold": "f", "seed": 7, "part": "test", "metric": "UAR", "value": 0.5,
        "n_utterances": 1, "predictions": small.predictions.digest, "selected_on": "dev",
    }  # fmt: skip
    tables = {"metrics": ([metric], METRICS)}
    inputs = {"predictions": [small.predictions], "truths": [truth]}
    small.rows("metrics", "metrics", "flows.report", tables, inputs)
    return small
