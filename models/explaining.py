"""Why a fitted model answers as it does to a test part, as an artifact: whatever of it its network can tell."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.asked import asked_model
from models.batch import Batch
from models.determinism import reproducible
from models.explain import explain
from models.network import Network
from models.networks.cmd import CmdNetwork, TextFrontEnd
from models.networks.crossing import SOUND, Crossing, listening
from models.networks.encoder_blocks import SentenceEncoder
from models.networks.standardised import StandardisedStates
from models.orders import EXPLAIN, EXPLAIN_VERSION
from models.plugin import Progress, wave_roles
from models.predict import BATCH_FRAMES, BATCH_SAMPLES
from models.stream import Stream
from warehouse import Request, Warehouse
from warehouse.errors import PartEmpty, VersionDiffers

FILE = "explanations.json"
N_SHOWN = 8
"""Utterances that are told one by one, at even distances in the order of ids."""

N_BINS = 24
"""Sound has more steps than a table has columns: so many stretches of equal length stand for them."""


def write(warehouse: Warehouse, request: Request, folder: Path, progress: Progress, device: str = "cpu") -> None:
    """Writes `explanations.json`.

    * `streams`, for CMD: of every utterance the class that is told, the length of the gradient of its loss by the
      logits of each stream, which is greater, and the number of tokens. No label is read: the test part has none here.
    * `layers`: role -> how much each layer of a stack of states weighs, where that is learned.
    * `utterances`: of some, the importance of each token (CMD), and what words and sound attend to in each other.

    All may be empty: how a student is set decides whether there is anything to tell.

    Raises:
        EmolakeError: an input is missing.
    """
    if request.version != EXPLAIN_VERSION:
        raise VersionDiffers(EXPLAIN, request.version, EXPLAIN_VERSION)
    card, network, shards, parts = asked_model(warehouse, request, "to explain")
    if "test" not in parts:
        raise PartEmpty("test", parts)
    waves = wave_roles(card.student)
    budget = BATCH_SAMPLES if card.student.inputs[0] in waves else BATCH_FRAMES
    stream = Stream(shards, "test", parts["test"], (), budget, waves)
    network.to(device)
    content: dict[str, Any] = {"classes": card.classes, "layers": layer_weights(network), "streams": []}
    with reproducible(seed=0):
        told: dict[str, dict[str, Any]] = {}
        if isinstance(network, CmdNetwork):
            for one in explain(network, (batch.to(device) for batch in stream.batches()), card.classes):
                content["streams"].append({
                    "utterance_id": one.utterance_id, "told": one.label, "n_tokens": len(one.tokens),
                    "dominant": one.dominant, "gradients": {name: _short(n) for name, n in one.streams.items()},
                })  # fmt: skip
                told[one.utterance_id] = {"tokens": one.tokens, "importance": [_short(n) for n in one.importance]}
            content["streams"].sort(key=lambda row: row["utterance_id"])
        ids = stream.ids[:: -(-len(stream) // N_SHOWN)]
        content["utterances"] = []
        for number, utterance_id in enumerate(ids):
            progress(number, len(ids), utterance_id)
            [batch] = stream.batches([[utterance_id]])
            seen = _crossings(card.step, network, batch.to(device), card.classes)
            coloured = told.get(utterance_id, {"tokens": [], "importance": []})
            content["utterances"].append({"utterance_id": utterance_id, **coloured, **seen})
    text = json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")
    progress(len(ids), len(ids), f"{len(ids)} utterances")


def layer_weights(network: Network) -> dict[str, list[float]]:
    """Role -> what each layer of its stack weighs (`models.networks.pools.LayerMean`)."""
    found = {}
    for module in network.modules():
        if isinstance(module, StandardisedStates) and module.layers is not None:
            found[module.role] = [_short(weight) for weight in module.layers.weights.tolist()]
    return found


@torch.inference_mode()
def _crossings(step: str, network: Network, batch: Batch, classes: Sequence[str]) -> dict[str, Any]:
    """The class that is told of one utterance, and what words and sound attend to in each other."""
    with listening(step, network) as heard:
        told = classes[int(network(batch)[0].argmax())]
    words = _tokens(network, batch)
    return {"told": told, "attention": [_table(one, words) for one in heard if bool(one.mask.any())]}


def _table(crossing: Crossing, words: Sequence[str] | None) -> dict[str, Any]:
    """The attention of one utterance: one row per step that asks, one column per step that is asked. A stretch of sound
    asks with the mean of its steps, and is asked with their sum."""
    weights = crossing.weights[0][:, crossing.mask[0]].float().cpu()
    if crossing.asks == SOUND:
        weights = torch.stack([part.mean(dim=0) for part in _stretches(weights)])
    else:
        weights = torch.stack([part.sum(dim=0) for part in _stretches(weights.T)]).T
    n_words = weights.shape[1 if crossing.asks == SOUND else 0]
    return {
        "layer": crossing.layer, "asks": crossing.asks, "asked": crossing.asked,
        "words": list(words) if words is not None and len(words) == n_words else None,
        "weights": [[_short(weight) for weight in row] for row in weights.tolist()],
    }  # fmt: skip


def _stretches(steps: Tensor) -> Sequence[Tensor]:
    return steps.tensor_split(min(N_BINS, len(steps)))


def _tokens(network: Network, batch: Batch) -> list[str] | None:
    """All tokens of the one text, special ones too, where the network has a tokenizer."""
    if "text" not in batch.texts:
        return None
    for module in network.modules():
        if isinstance(module, SentenceEncoder | TextFrontEnd):
            front: Any = module
            ids = front.tokenizer(batch.texts["text"][0], truncation=True, max_length=front.max_tokens)["input_ids"]
            return [str(token) for token in front.tokenizer.convert_ids_to_tokens(ids)]
    return None


def _short(value: float) -> float:
    return float(f"{value:.5g}")
