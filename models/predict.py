"""Predictions of a checkpoint for some parts of a split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from models.asked import asked_model
from models.determinism import reproducible
from models.orders import PREDICT, VERSION
from models.plugin import Progress, wave_roles
from models.stream import Stream
from warehouse import Request, Warehouse
from warehouse.errors import PartEmpty, VersionDiffers
from warehouse.schema import PREDICTIONS
from warehouse.tables import write_rows

if TYPE_CHECKING:
    from models.checkpoint import Card
    from models.network import Network

__all__ = ["VERSION", "probabilities", "write"]

BATCH_FRAMES = 40_000
"""Fixed, so that the last bits of a probability depend on the request alone."""

BATCH_SAMPLES = 640_000
"""The same where the first input is a wave."""


def write(warehouse: Warehouse, request: Request, folder: Path, progress: Progress, device: str = "cpu") -> None:
    """Writes `predictions.parquet`: the class of greatest probability and all probabilities, by utterance id.

    No label is among them: what judges them is the truth beside the split (`warehouse.truths`).

    Raises:
        EmolakeError: an input is missing, the split lacks a part, the checkpoint knows no classes.
    """
    if request.version != VERSION:
        raise VersionDiffers(PREDICT, request.version, VERSION)
    card, network, shards, parts = asked_model(warehouse, request, "to predict")
    rows = []
    for n_done, part in enumerate(request.params["parts"]):
        if part not in parts:
            raise PartEmpty(part, parts)
        progress(n_done, len(request.params["parts"]), part)
        for utterance_id, row in probabilities(card, network, shards, part, parts[part], device).items():
            rows.append({
                "utterance_id": utterance_id,
                "part": part,
                "predicted": card.classes[int(row.argmax())],
                "classes": list(card.classes),
                "probabilities": row.tolist(),
            })  # fmt: skip
    rows.sort(key=lambda row: row["utterance_id"])
    write_rows(folder / "predictions.parquet", rows, PREDICTIONS)
    progress(len(request.params["parts"]), len(request.params["parts"]), f"{len(rows)} utterances")


def probabilities(
    card: Card, network: Network, shards: Mapping[str, Sequence[Path]], part: str, ids: Mapping[str, str | None],
    device: str,
) -> dict[str, Tensor]:  # fmt: skip
    """Utterance id -> the probability of each class, float64 [n_classes].

    Args:
        shards: role -> folders.
        part: name of the part, for errors.
        ids: of the part, as `read_split` gives them; at least one.

    Raises:
        RowsMissing, ShapeDiffers.
    """
    waves = wave_roles(card.student)
    budget = BATCH_SAMPLES if card.student.inputs[0] in waves else BATCH_FRAMES
    network.to(device)
    found: dict[str, Tensor] = {}
    with reproducible(seed=0), torch.inference_mode():
        for batch in Stream(shards, part, ids, (), budget, waves).batches():
            rows = network(batch.to(device)).double().softmax(dim=-1).cpu()
            found |= dict(zip(batch.ids, rows, strict=True))
    return found
