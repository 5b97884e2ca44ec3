"""A checkpoint for those who have no lake: as a folder that `transformers` loads. See also `models.onnx_graph`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models import checkpoint
from models.batch import Batch
from models.checkpoint import Card, encoder_folder
from models.encoders import load_encoder, quiet
from models.network import Network
from models.networks.encoder_blocks import SentenceEncoder, SpeechEncoder
from warehouse.errors import InvalidField
from warehouse.hashing import canonical_json

MODEL_TYPE = "emolake"
MODULE = "modeling_emolake"
CODE = """# Found by `transformers` where trust_remote_code=True is given; Emolake must be installed.
from models.auto_model import EmolakeConfig, EmolakeForSequenceClassification
"""

_LEFT_OUT = frozenset({"manifest.json", "history.csv"})
_DRAWN = ("masked_spec_embed",)
"""Weights that pre-training alone reads: a student has not kept them."""


def to_transformers(folder: Path, target: Path) -> None:
    """Writes a folder that `transformers` loads.

    A student that is a network of `transformers` as a whole ('text_encoder') needs nothing else. For any other,
    `AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)` gives `models.auto_model`'s
    class, so Emolake must be installed; but `encoders/audio` and `encoders/text`, where a student has the whole of such
    an encoder inside, are folders that `AutoModel` loads without it, with the weights as the student left them.
    """
    card, network = checkpoint.load(folder)
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in _LEFT_OUT):
        place = target / path.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    if (folder / "config.json").is_file():
        return
    (target / "config.json").write_bytes(canonical_json(_config(card)))
    (target / f"{MODULE}.py").write_text(CODE, encoding="utf-8")
    write_encoders(network, folder, target)


def write_encoders(network: Network, folder: Path, target: Path) -> None:
    """Writes the encoders that a network has inside as a whole into `encoders` of a folder.

    Args:
        folder: of the checkpoint, which describes them.

    Raises:
        InvalidField: an encoder has weights that the student took no part of.
    """
    with quiet():
        for module in network.modules():
            if isinstance(module, SpeechEncoder):
                _whole(module, encoder_folder(folder, "audio")).save_pretrained(encoder_folder(target, "audio"))
            elif isinstance(module, SentenceEncoder):
                module.network.save_pretrained(encoder_folder(target, "text"))


def _config(card: Card) -> dict[str, Any]:
    names = {str(number): name for number, name in enumerate(card.classes)}
    return {
        "model_type": MODEL_TYPE, "architectures": ["EmolakeForSequenceClassification"],
        "id2label": names, "label2id": {name: number for number, name in enumerate(card.classes)},
        "student": card.step, "roles": list(card.student.inputs),
        "auto_map": {
            "AutoConfig": f"{MODULE}.EmolakeConfig",
            "AutoModelForSequenceClassification": f"{MODULE}.EmolakeForSequenceClassification",
        },
    }  # fmt: skip


def _whole(encoder: SpeechEncoder, described: Path) -> Any:
    """The network of `transformers` that an encoder of sound was taken out of, with the student's weights."""
    network: Any = _described(described)
    parts = {
        "feature_extractor": encoder.front.convolutions, "feature_projection": encoder.front.projection,
        "encoder": encoder.context,
    }  # fmt: skip
    for name, part in parts.items():
        getattr(network, name).load_state_dict(part.state_dict())
    others = [name for name, _ in network.named_parameters() if name.partition(".")[0] not in (*parts, *_DRAWN)]
    if others:
        problem = f"has weights that the student has not ({others[0]}, …): it cannot be given as a whole"
        raise InvalidField("the slot 'audio'", "encoder", problem)
    with torch.no_grad():
        for name in _DRAWN:
            if hasattr(network, name):
                getattr(network, name).zero_()
    return network


def _described(folder: Path) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        return load_encoder(folder)


def named_batch(
    arrays: Mapping[str, Tensor], lengths: Mapping[str, Tensor], texts: Mapping[str, Sequence[str]] | None = None
) -> Batch:
    """A batch of utterances that nobody has labelled, from what each role has."""
    told = {role: tuple(several) for role, several in (texts or {}).items()}
    first = next(iter(arrays.values()), None)
    n = len(next(iter(told.values()))) if first is None else first.shape[0]
    labels = torch.zeros(n, dtype=torch.int64, device=None if first is None else first.device)
    return Batch((), arrays, lengths, told, labels)
