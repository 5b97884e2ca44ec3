"""Made-up artifacts of utterances, labels and features, for tests that need no corpus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from features.extract import feature_schema
from features.plugin import FeatureSpec
from warehouse import Artifact, Request, Warehouse
from warehouse.schema import FAILURES, LABELS, UTTERANCES, audio_id, text_id
from warehouse.tables import array_cells, write_rows


def utterance(utterance_id: str, **columns: Any) -> dict[str, Any]:
    """A row of UTTERANCES; what is not given is plausible and depends on the id alone."""
    text = columns.get("text", f"words of {utterance_id}")
    return {
        "utterance_id": utterance_id, "corpus": "made", "unit": "u", "recording_id": f"r{utterance_id}",
        "path": f"{utterance_id}.wav", "start_s": 0.0, "end_s": 1.0, "channel": "mix",
        "audio_id": audio_id(utterance_id, 0.0, 1.0, "mix"), "verbatim": text, "text": text, "text_id": text_id(text),
        "speaker_id": "s", "dialogue_id": "d", "turn": 0, "session": "", "split": "", "language": "en",
        "attributes": [],
    } | columns  # fmt: skip


def utterances(warehouse: Warehouse, rows: Sequence[Mapping[str, Any]], unit: str = "u") -> Artifact:
    request = Request("utterances", "made", 1, {"unit": unit, "rows": [row["utterance_id"] for row in rows]})
    return warehouse.materialize(request, lambda f: write_rows(f / "utterances.parquet", rows, UTTERANCES))


def labels(warehouse: Warehouse, values: Mapping[str, str], rater: str = "summary") -> Artifact:
    rows = [
        {"utterance_id": name, "scheme": "emotion", "rater": rater, "value": value, "number": None}
        for name, value in values.items()
    ]
    request = Request("labels", "made", 1, {"values": dict(values), "rater": rater})
    return warehouse.materialize(request, lambda f: write_rows(f / "labels.parquet", rows, LABELS))


def numbers(warehouse: Warehouse, values: Mapping[str, Mapping[str, float]]) -> Artifact:
    """Labels that are numbers: utterance id -> scheme -> number."""
    rows = [
        {"utterance_id": name, "scheme": scheme, "rater": "summary", "value": str(number), "number": number}
        for name, schemes in values.items()
        for scheme, number in schemes.items()
    ]
    request = Request("labels", "made", 1, {"numbers": {name: dict(schemes) for name, schemes in values.items()}})
    return warehouse.materialize(request, lambda f: write_rows(f / "labels.parquet", rows, LABELS))


LOGITS = FeatureSpec("utterance", ("dim",), 2, names=("logit_calm", "logit_loud"))
FRAMES = FeatureSpec("frame", ("frame", "dim"), 3, hop_s=0.01)


def features(warehouse: Warehouse, logits: Mapping[str, Sequence[float]], name: str = "made") -> Artifact:
    """Input id -> two logits, and frames whose first value is the number of the row."""
    rows = [
        {"input_id": i, "logit_calm": a, "logit_loud": b} | array_cells("frames", np.full((4, 3), number, np.float32))
        for number, (i, (a, b)) in enumerate(logits.items())
    ]
    plugin = {"step": "extractors.made", "version": 1, "fields": {"name": name}}
    request = Request("features", "extractors.made", 1, {"plugin": plugin, "ids": sorted(logits)})

    def write(folder: Any) -> None:
        write_rows(folder / "features.parquet", rows, feature_schema({"logits": LOGITS, "frames": FRAMES}))
        write_rows(folder / "failures.parquet", [], FAILURES)

    return warehouse.materialize(request, write)
