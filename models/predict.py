"""Predictions of a checkpoint for some parts of a split."""

from __future__ import annotations

from pathlib import Path

import torch

from models import checkpoint
from models.determinism import reproducible
from models.inputs import input_folders
from models.orders import PREDICT, VERSION, shard_roles
from models.plugin import Progress, wave_roles
from models.stream import Stream, read_split
from warehouse import Request, Warehouse
from warehouse.errors import NoClasses, PartEmpty, RoleMissing, VersionDiffers
from warehouse.schema import PREDICTIONS
from warehouse.tables import write_rows

__all__ = ["VERSION", "write"]

BATCH_FRAMES = 40_000
"""Fixed, so that the last bits of a probability depend on the request alone."""

BATCH_SAMPLES = 640_000
"""The same where the first input is a wave."""


def write(warehouse: Warehouse, request: Request, folder: Path, progress: Progress, device: str = "cpu") -> None:
    """Writes `predictions.parquet`: the class of greatest probability and all probabilities, by utterance id.

    A label that the checkpoint does not know is written as it is: the predictions say so, the metrics decide.

    Raises:
        EmolakeError: an input is missing, the split lacks a part, the checkpoint knows no classes.
    """
    if request.version != VERSION:
        raise VersionDiffers(PREDICT, request.version, VERSION)
    folders = input_folders(warehouse, request)
    card, network = checkpoint.load(folders["checkpoint"][0])
    if not card.classes:
        raise NoClasses(card.step)
    shards = {}
    for role in card.student.inputs:
        if f"shards:{role}" not in folders:
            raise RoleMissing(card.step, role, "to predict", shard_roles(request))
        shards[role] = folders[f"shards:{role}"]
    parts = read_split(folders["split"][0] / "split.parquet")
    waves = wave_roles(card.student)
    budget = BATCH_SAMPLES if card.student.inputs[0] in waves else BATCH_FRAMES
    network.to(device)
    rows = []
    with reproducible(seed=0), torch.inference_mode():
        for n_done, part in enumerate(request.params["parts"]):
            if part not in parts:
                raise PartEmpty(part, parts)
            progress(n_done, len(request.params["parts"]), part)
            for batch in Stream(shards, part, parts[part], (), budget, waves).batches():
                probabilities = network(batch.to(device)).double().softmax(dim=-1).cpu()
                for utterance_id, row in zip(batch.ids, probabilities, strict=True):
                    rows.append({
                        "utterance_id": utterance_id,
                        "part": part,
                        "label": parts[part][utterance_id],
                        "predicted": card.classes[int(row.argmax())],
                        "classes": list(card.classes),
                        "probabilities": row.tolist(),
                    })  # fmt: skip
    rows.sort(key=lambda row: row["utterance_id"])
    write_rows(folder / "predictions.parquet", rows, PREDICTIONS)
    progress(len(request.params["parts"]), len(request.params["parts"]), f"{len(rows)} utterances")
