"""A small made-up lake of things with owners: two corpora, a checkpoint from outside, a teacher, a student, a report.

The teacher learned words from films; the student began with it, heard 'iemocap' through openSMILE and a placed encoder,
and is judged on fold 1 of protocol 'p'. Another protocol, 'q', tests what the student learned from.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

from tests.warehouse.small_lake import SmallLake, utterance
from warehouse import Artifact, Warehouse
from warehouse.schema import FAILURES, FILES, LABELS, METRICS, PREDICTIONS, SPLIT, TRUTH, UTTERANCES, audio_id
from warehouse.shards import write_shard
from warehouse.tables import vector_columns

LONG = "I never said that to anybody in this house"


def row(corpus: str, name: str, text: str, **fields: Any) -> dict[str, Any]:
    """An utterance of two seconds by a speaker of its own."""
    made = utterance(corpus, name, text) | {"speaker_id": f"s-{name}", "dialogue_id": f"d-{name}"} | fields
    sound = audio_id(made["recording_id"], made["start_s"], made["end_s"], "mix")
    return made | {"audio_id": sound}


IEMOCAP = [
    row("iemocap", "i_train", "So it is."),
    row("iemocap", "i_dev", "Come in."),
    row("iemocap", "i_test", LONG, recording_id="a" * 64),
    row("iemocap", "i_test2", "Nothing of the kind.", speaker_id="s-i_train"),
]
FILMS = [
    row("films", "f_train", f"{LONG}, never!", recording_id="a" * 64, start_s=2.0, end_s=4.0),
    row("films", "f_train2", "Nothing of the kind!"),
    row("films", "f_dev", "Well."),
]


class Lent(SmallLake):
    """The lake; `student` and `teacher` are its checkpoints."""

    student: Artifact
    teacher: Artifact

    def read(self, corpus: str, rows: list[dict[str, Any]]) -> Artifact:
        """A corpus as its own reader reads it, of one unit."""
        step, said = f"corpora.{corpus}", {"corpus": corpus, "unit": "one"}
        files = [{"path": r["path"], "n_bytes": 9, "sha256": r["recording_id"]} for r in rows]
        raw = self.rows(f"raw {corpus}", "raw", "features.raw", {"files": (files, FILES)}, {}, **said)
        labels: list[dict[str, Any]] = []
        self.rows(f"labels {corpus}", "labels", step, {"labels": (labels, LABELS)}, {"raw": [raw]}, **said)
        tables: Any = {"utterances": (rows, UTTERANCES), "failures": ([], FAILURES)}
        read = self.rows(f"utterances {corpus}", "utterances", step, tables, {"raw": [raw]}, **said)
        ref = {"reader": step, "root": "/nowhere", "utterances": [read.digest]}
        self.lake.set_ref(f"corpora/{corpus}", ref | {kind: [self.named[f"{kind} {corpus}"].digest]
                                                      for kind in ("raw", "labels")})  # fmt: skip
        return read

    def placed(self, name: str, **said: Any) -> Artifact:
        """A checkpoint from outside."""
        files = [{"path": f"{name}.safetensors", "n_bytes": 9, "sha256": name * 8}]
        made = self.rows(f"weights {name}", "weights", "features.placed", {"files": (files, FILES)}, {}, files=name)
        known = {"folder": name, "revision": "", "licence": "", "trained_on": []}
        self.lake.set_ref(f"weights/{name}", known | said | {"digest": made.digest})
        return made

    def split(self, name: str, read: Artifact, protocol: str, judges: str, **parts: list[str]) -> Artifact:
        rows = [{"utterance_id": u, "part": part, "label": None} for part, own in parts.items() for u in own]
        rules = {"dev": "false", "test": judges}
        tables: Any = {"split": (rows, SPLIT)}
        return self.rows(
            name, "split", "flows.protocol", tables, {"utterances": [read]}, protocol=protocol, fold="1", rules=rules
        )

    def features_of(self, step: str, read: Artifact, **inputs: list[Artifact]) -> Artifact:
        ids = [{"input_id": r["audio_id"], "F0": 1.0} for r in IEMOCAP]
        columns = [*vector_columns(["F0"])]
        tables: Any = {"features": (ids, _columns(columns)), "failures": ([], FAILURES)}
        plugin = {"step": step, "version": 1, "fields": {}}
        return self.rows(step, "features", step, tables, {"utterances": [read], **inputs}, plugin=plugin)

    def fitted(self, name: str, step: str, **inputs: list[Artifact]) -> Artifact:
        def weights(folder: Path) -> None:
            (folder / "weights.bin").write_bytes(name.encode())

        return self.make(name, "checkpoint", step, weights, inputs, seed=0, student={"named": name}, **_FIT)

    def packed(self, role: str, members: list[tuple[str, str, Any]], **inputs: list[Artifact]) -> Artifact:
        made = inputs.get("features", [])
        source = {"plugin": made[0].request.params["plugin"], "output": "F0"} if made else {"column": "text"}
        write = partial(write_shard, field=role, members=members)
        return self.make(f"packed {role}", "shards", "flows.pack", write, inputs, source=source, members=role)

    def lose(self, name: str) -> str:
        """Takes an artifact away, as no command does; its digest."""
        artifact = self.named[name]
        shutil.rmtree(artifact.folder)
        self.lake = Warehouse(self.lake.root)
        return artifact.digest

    def report(self, **inputs: list[Artifact]) -> Artifact:
        """Of the student's predictions."""

        def write(folder: Path) -> None:
            (folder / "report.json").write_text('{"warnings": []}')

        cited = {kind: [self.named[kind]] for kind in ("predictions", "metrics")}
        runs = [{"fold": "1", "seed": 0, "model": "best"}]
        return self.make("report", "report", "flows.report", write, cited | inputs, runs=runs)


_FIT = {"classes": ["sad"], "fit": {}, "objective": {"label": 1.0}}


def _columns(fields: list[Any]) -> Any:
    import pyarrow as pa

    return pa.schema([pa.field("input_id", pa.string(), nullable=False), *fields])


def lent_lake(root: Path) -> Lent:
    """A fresh one at `root`."""
    lent = Lent(root)
    heard, films = lent.read("iemocap", IEMOCAP), lent.read("films", FILMS)
    outside = lent.placed("w2v", folder="facebook/wav2vec2-base")
    words = lent.split("films split", films, "films-unlabelled", "false", train=["f_train", "f_train2"], dev=["f_dev"])
    said = lent.packed("text", [(r["utterance_id"], r["text_id"], r["text"]) for r in FILMS], utterances=[films])
    lent.teacher = lent.fitted("teacher", "students.text_encoder", **{"split": [words], "shards:text": [said]})
    smile = lent.features_of("extractors.opensmile", heard)
    states = lent.features_of("extractors.speech_encoder", heard, checkpoint=[outside])
    split = lent.split("p split", heard, "p", "true", train=["i_train"], dev=["i_dev"], test=["i_test", "i_test2"])
    lent.split("q split", heard, "q", "true", train=["i_test"], test=["i_train", "i_dev"])
    heard_rows = [("i_train", IEMOCAP[0]["audio_id"], "frames")]
    shards = {f"shards:{role}": [lent.packed(role, heard_rows, features=[own])]
              for role, own in (("speech", smile), ("states", states))}  # fmt: skip
    lent.student = lent.fitted("student", "students.mced", **{"split": [split], "init": [lent.teacher], **shards})
    judged = [{"utterance_id": name, "part": "test", "label": "sad"} for name in ("i_test", "i_test2")]
    lent.rows("truth", "truth", "flows.truth", {"truth": (judged, TRUTH)}, {"split": [split]})
    told = [{"utterance_id": "i_test", "part": "test", "predicted": "sad", "classes": ["sad"], "probabilities": [1.0]}]
    tables: Any = {"predictions": (told, PREDICTIONS)}
    inputs = {"checkpoint": [lent.student], "split": [split]}
    predictions = lent.rows("predictions", "predictions", "models.predict", tables, inputs)
    lent.rows("metrics", "metrics", "flows.score", {"metrics": ([], METRICS)}, {"predictions": [predictions]})
    report = lent.report()
    lent.lake.set_ref("reports/mine", {"artifact": report.key, "metrics": lent.named["metrics"].key})
    return lent
