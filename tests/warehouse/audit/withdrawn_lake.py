"""A made-up lake with one artifact of every kind in which Ana and Ben speak, so that Ana can withdraw.

clips-ana-hello   Ana, a recording of her own, a text that only she says
clips-ana-plain   Ana, in a dialogue with Ben; Ben says the same words
clips-ana-spoilt  Ana, in the dialogue; one extractor failed on its words, which Ben says too
clips-ben-plain, clips-ben-other, clips-ben-spoilt
german-…          the same, told again in other words
spoken-…          the same, told again in another sound, whose files lie in the lake
"""

from __future__ import annotations

import atexit
import json
import shutil
import sqlite3
import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.warehouse.small_lake import SmallLake
from warehouse import Artifact, Request, Warehouse
from warehouse.hashing import digest, short_digest
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
    VOTES,
    audio_id,
    pair_id,
    text_id,
)
from warehouse.shards import write_shard
from warehouse.tables import array_cells, array_columns, write_rows

ANA = ("clips-ana-hello", "clips-ana-plain", "clips-ana-spoilt")
BEN = ("clips-ben-plain", "clips-ben-other", "clips-ben-spoilt")
SECRET = "my garden has seven <yellow> lemons & figs"
SAID = {
    "clips-ana-hello": SECRET, "clips-ana-plain": "so it is", "clips-ana-spoilt": "well then goodbye",
    "clips-ben-plain": "so it is", "clips-ben-other": "nobody has ever asked me that",
    "clips-ben-spoilt": "well then goodbye",
}  # fmt: skip
OWN, DIALOGUE = digest("the recording of Ana alone"), digest("the recording of both")


def _utterance(name: str, number: int) -> dict[str, Any]:
    recording, path = (OWN, "wav/garden.wav") if name == ANA[0] else (DIALOGUE, "wav/dialogue.wav")
    start_s, text = float(number), SAID[name]
    return {
        "utterance_id": name, "corpus": "clips", "unit": "one", "recording_id": recording, "path": path,
        "start_s": start_s, "end_s": start_s + 1.0, "channel": "mix",
        "audio_id": audio_id(recording, start_s, start_s + 1.0, "mix"), "verbatim": text.title(), "text": text,
        "text_id": text_id(text), "speaker_id": "Ana" if "-ana-" in name else "Ben", "dialogue_id": "d", "turn": number,
        "session": "", "split": "", "language": "en", "attributes": {},
    }  # fmt: skip


ROWS = [_utterance(name, number) for number, name in enumerate([*ANA, *BEN])]


def pair(row: dict[str, Any]) -> str:
    return pair_id(row["audio_id"], row["text_id"])


def files_digest(files: list[dict[str, Any]]) -> str:
    return digest([[one["path"], one["n_bytes"], one["sha256"]] for one in files])


def told(row: dict[str, Any], corpus: str, **columns: Any) -> dict[str, Any]:
    name = row["utterance_id"].replace("clips", corpus)
    return row | {"utterance_id": name, "corpus": corpus, "attributes": {"source": row["utterance_id"]}} | columns


def bits(name: str) -> np.ndarray:
    """What everybody's rows and members hold: numbers that are nobody else's."""
    seed = int(short_digest(name)[:8], 16)
    return np.random.default_rng(seed).integers(0, 255, (3, 4)).astype(np.float32)


def withdrawn_lake(root: Path) -> SmallLake:
    """A fresh copy; it is built once."""
    built = _built()
    shutil.copytree(built.lake.root, root / "lake")
    copy = SmallLake(root / "lake")
    copy.named = {name: copy.lake.find_folder(copy.lake.folder_of(a.request)) for name, a in built.named.items()}
    return copy


@cache
def _built() -> SmallLake:
    folder = tempfile.mkdtemp(prefix="withdrawn-lake-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    lake = SmallLake(Path(folder) / "lake")
    _read(lake)
    _told_again(lake)
    _used(lake)
    return lake


def _read(lake: SmallLake) -> None:
    files = [{"path": f"wav/{name}.wav", "n_bytes": 9, "sha256": one} for name, one in
             (("dialogue", DIALOGUE), ("garden", OWN))]  # fmt: skip
    raw = lake.rows("raw", "raw", "features.raw", {"files": (files, FILES)}, {}, corpus="clips", unit="one",
                    files=files_digest(files))  # fmt: skip
    lost = [
        {"input_id": "", "utterance_id": name, "step": "corpora.table", "reason": f"{name} cannot be read"}
        for name in ("clips-ben-lost",)
    ]
    reading: dict[str, Any] = {"corpus": "clips", "unit": "one", "reader": {"file": "clips.csv"}}
    tables: dict[str, Any] = {"utterances": (ROWS, UTTERANCES), "failures": (lost, FAILURES)}
    read = lake.rows("utterances", "utterances", "corpora.table", tables, {"raw": [raw]}, **reading)
    labels = [
        {"utterance_id": name, "scheme": "emotion", "rater": "summary", "value": "happy", "number": None}
        for name in SAID
    ]
    lake.rows("labels", "labels", "corpora.table", {"labels": (labels, LABELS)}, {"raw": [raw]}, **reading)
    root = lake.lake.root.parent / "clips"
    lake.lake.set_ref("corpora/clips", {
        "reader": "corpora.table", "root": str(root), "raw": [raw.digest], "utterances": [read.digest],
        "labels": [lake.named["labels"].digest],
    })  # fmt: skip
    words = [
        {"input_id": pair(row), "tier": "word", "position": i, "symbol": word, "start_s": float(i), "end_s": i + 1.0,
         "score": None}
        for row in ROWS for i, word in enumerate(row["text"].split())
    ]  # fmt: skip
    tables = {"intervals": (words, INTERVALS), "failures": ([], FAILURES)}
    plugin = {"step": "aligners.provided", "version": 1, "fields": {}}
    lake.rows("provided", "intervals", "aligners.provided", tables, {"raw": [raw], "utterances": [read]},
              plugin=plugin, **reading)  # fmt: skip
    sound = [{"input_id": row["audio_id"]} | array_cells("x", bits(row["audio_id"])) for row in ROWS]
    lake.features("sound", "extractors.sound", read, sound, array_columns("x"))
    said = {row["text_id"]: row for row in ROWS if not row["utterance_id"].endswith("-spoilt")}
    texts = [{"input_id": own} | array_cells("x", bits(own)) for own in said]
    spoilt = [{"input_id": row["text_id"], "utterance_id": row["utterance_id"], "step": "extractors.words",
               "reason": "too many words"} for row in ROWS if row["utterance_id"] == ANA[2]]  # fmt: skip
    lake.features("words", "extractors.words", read, texts, array_columns("x"), spoilt)
    lake.features("only ana", "extractors.only", read, [sound[0]], array_columns("x"))
    lake.lake.set_ref(f"retries/{lake.named['words'].key}", {"input_ids": [spoilt[0]["input_id"]]})


def _told_again(lake: SmallLake) -> None:
    read, raw = lake.named["utterances"], lake.named["raw"]
    german = [told(row, "german", text=f"auf deutsch {row['turn']}", text_id=text_id(f"auf deutsch {row['turn']}"))
              for row in ROWS]  # fmt: skip
    tables: dict[str, Any] = {"utterances": (german, UTTERANCES), "failures": ([], FAILURES)}
    inputs = {"raw": [raw], "source": [read], "features": [lake.named["words"]]}
    lake.rows(
        "german", "utterances", "features.retell", tables, inputs, corpus="german", unit="one", source={"text": 1}
    )

    asked = Request("raw", "features.retell", 1, {"corpus": "spoken", "unit": "one", "source": {"sound": 1}},
                    {"source": (read.digest,)})  # fmt: skip
    rows = []

    def write(folder: Path) -> None:
        (folder / "wav").mkdir()
        files = []
        for row in ROWS:
            name = row["utterance_id"].replace("clips", "spoken")
            (folder / "wav" / f"{name}.wav").write_bytes(bits(name).tobytes())
            path = f"raw/{asked.key}/wav/{name}.wav"
            files.append({"path": path, "n_bytes": 48, "sha256": digest(name)})
        write_rows(folder / "files.parquet", files, FILES)

    record = lake.named["waves"] = lake.lake.materialize(asked, write)
    for row in ROWS:
        name = row["utterance_id"].replace("clips", "spoken")
        path = f"raw/{asked.key}/wav/{name}.wav"
        own = audio_id(digest(name), 0.0, 1.0, "mix")
        rows.append(told(row, "spoken", recording_id=digest(name), path=path, start_s=0.0, end_s=1.0, audio_id=own))
    tables = {"utterances": (rows, UTTERANCES), "failures": ([], FAILURES)}
    lake.rows("spoken", "utterances", "features.retell", tables, {"raw": [record], "source": [read]}, corpus="spoken",
              unit="one", source={"sound": 1})  # fmt: skip


def _used(lake: SmallLake) -> None:
    read, labels = lake.named["utterances"], lake.named["labels"]
    members = [(row["utterance_id"], row["audio_id"], bits(row["audio_id"])) for row in ROWS]
    sound = lake.make("shard", "shards", "flows.pack", lambda f: write_shard(f, "sound-x", members),
                      {"features": [lake.named["sound"]]}, members="sound")  # fmt: skip
    said = [(row["utterance_id"], row["text_id"], row["text"]) for row in ROWS]
    text = lake.make("texts", "shards", "flows.pack", lambda f: write_shard(f, "text", said), {"utterances": [read]},
                     members="text")  # fmt: skip
    parts = dict(zip([*ANA, *BEN], ["train", "test", "test", "train", "test", "dev"], strict=True))
    splits: dict[str, Artifact] = {}
    for fold, own in (("1", parts), ("2", {name: "test" if name in ANA else "train" for name in parts})):
        rows = [{"utterance_id": name, "part": part, "label": None if part == "test" else "happy"}
                for name, part in own.items()]  # fmt: skip
        splits[fold] = lake.rows(
            f"split {fold}", "split", "flows.protocol", {"split": (rows, SPLIT)},
            {"utterances": [read], "labels": [labels]}, fold=fold, without=[ANA[2], "clips-ben-lost"],
            protocol="p", rules={"dev": "false", "test": "true"},
        )  # fmt: skip
        truth = [{"utterance_id": name, "part": "test", "label": "happy"} for name in own if own[name] == "test"]
        lake.rows(f"truth {fold}", "truth", "flows.truth", {"truth": (truth, TRUTH)},
                  {"split": [splits[fold]], "labels": [labels]}, fold=fold)  # fmt: skip
    votes = [{"utterance_id": name, "label": "happy", "n_votes": 2} for name in SAID]
    lake.rows("votes", "votes", "flows.votes", {"votes": (votes, VOTES)}, {"labels": [labels]})
    chosen = [{"utterance_id": name, "label": "happy", "probability": 0.9} for name in SAID]
    lake.rows("selection", "selection", "flows.select", {"selection": (chosen, SELECTION)}, {"utterances": [read]})

    def fitted(name: str, split: Artifact | None, seed: int, **more: list[Artifact]) -> Artifact:
        def write(folder: Path) -> None:
            (folder / "weights.bin").write_bytes(f"weights {name}".encode())
            (folder / "history.csv").write_text("epoch,loss\n1,0.5\n")

        inputs = ({"split": [split]} if split else {}) | {"shards:sound": [sound], "shards:text": [text]} | more
        return lake.make(name, "checkpoint", "students.tiny", write, inputs, seed=seed)

    first = fitted("learned", splits["1"], 0)
    fitted("clean", splits["2"], 1)
    fitted("child", splits["2"], 2, init=[first])
    answers = [
        {"utterance_id": name, "part": "test", "predicted": "happy", "classes": ["happy"], "probabilities": [1.0]}
        for name, part in parts.items() if part == "test"
    ]  # fmt: skip
    predictions = lake.rows(
        "predictions", "predictions", "models.predict", {"predictions": (answers, PREDICTIONS)},
        {"checkpoint": [first], "split": [splits["1"]], "shards:sound": [sound]},
    )  # fmt: skip
    metric = {
        "protocol": "p", "variant": "v", "fold": "1", "seed": 0, "part": "test", "metric": "uar", "value": 0.5,
        "n_utterances": 3, "predictions": predictions.digest, "selected_on": "dev",
    }  # fmt: skip
    metrics = lake.rows("metrics", "metrics", "flows.report", {"metrics": ([metric], METRICS)},
                        {"predictions": [predictions], "truths": [lake.named["truth 1"]]})  # fmt: skip
    _text(lake, "leakage", {"leakage.json": json.dumps({"examples": [[ANA[0], BEN[0]]]})}, {"split": [splits["1"]]})
    _text(lake, "explanations", {"explanations.json": json.dumps({"texts": [SECRET]})}, {"checkpoint": [first]})
    page = {"report.html": "<p>My garden has seven &lt;yellow&gt; lemons &amp; figs</p>".lower(), "report.json": "{}"}
    cited = {"predictions": [predictions], "metrics": [metrics], "checkpoints": [first]}
    report = _text(lake, "report", page, cited, runs=[{"fold": "1", "seed": 0, "model": "tiny"}])
    lake.lake.set_ref("reports/garden", {"artifact": report.digest, "metrics": metrics.digest})
    aside = _text(lake, "aside", {"report.json": "{}"}, {"predictions": []}, runs=[])
    lake.lake.set_ref("reports/aside", {"artifact": aside.key})


def _text(
    lake: SmallLake, name: str, files: dict[str, str], inputs: dict[str, list[Artifact]], **params: Any
) -> Artifact:
    def write(folder: Path) -> None:
        for file, content in files.items():
            (folder / file).write_text(content, encoding="utf-8")

    kind = "report" if name in ("report", "aside") else name
    return lake.make(name, kind, f"flows.{kind}", write, inputs, called=name, **params)


def remembered(warehouse: Warehouse) -> None:
    """Caches, states and logs beside the artifacts, as readers and fits leave them."""
    lake = warehouse.root
    for name in (OWN, DIALOGUE):
        path = lake / ".cache" / "voice" / f"{name}-1-1.bits"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"bits")
    with closing(sqlite3.connect(lake / ".cache" / "raw.sqlite")) as database, database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE raw (path TEXT PRIMARY KEY, stamp TEXT NOT NULL, sha256 TEXT NOT NULL)")
        rows = [(f"/somewhere/{name}", "1", name) for name in (OWN, DIALOGUE)]
        database.executemany("INSERT INTO raw VALUES (?, ?, ?)", rows)
    for place in (".resume/aa/00000001-bb.safetensors", ".cache/mfa/log.txt", ".logs/cc/events", ".prefect/flow.db"):
        (lake / place).parent.mkdir(parents=True, exist_ok=True)
        (lake / place).write_text(f"failed at {ANA[0]}" if "log" in place or "flow" in place else "state")
    (lake / "catalog.duckdb").write_bytes(b"a catalog")


def everything(lake: Path) -> dict[str, bytes]:
    """Every file of a lake but journals."""
    return {
        path.relative_to(lake).as_posix(): path.read_bytes()
        for path in sorted(lake.rglob("*")) if path.is_file() and ".purge" not in path.parts
    }  # fmt: skip


def tables(lake: Path) -> dict[str, list[pa.Table]]:
    """Kind and file -> the tables, in no order that means anything."""
    found: dict[str, list[pa.Table]] = {}
    for path in sorted((lake / "artifacts").rglob("*.parquet")):
        found.setdefault(f"{path.parents[1].name}/{path.name}", []).append(pq.read_table(path))
    return found
