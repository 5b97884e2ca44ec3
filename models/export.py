"""A checkpoint for those who have no lake: as an ONNX graph, or as a folder that `transformers` loads."""

from __future__ import annotations

import importlib.util
import json
import logging
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models import checkpoint
from models.batch import Batch
from models.checkpoint import Card, encoder_folder
from models.encoders import load_encoder
from models.network import Network
from models.networks.encoder_blocks import SentenceEncoder, SpeechEncoder
from models.plugin import encoder_slots, wave_roles
from warehouse.errors import InvalidField
from warehouse.hashing import canonical_json

ONNX = "model.onnx"
LENGTH = "_length"
"""Behind a role's name: the input with how many steps of each utterance are valid."""

MODEL_TYPE = "emolake"
MODULE = "modeling_emolake"
CODE = """# Found by `transformers` where trust_remote_code=True is given; Emolake must be installed.
from models.auto_model import EmolakeConfig, EmolakeForSequenceClassification
"""

_LEFT_OUT = frozenset({"manifest.json", "history.csv"})
_DRAWN = ("masked_spec_embed",)
"""Weights that pre-training alone reads: a student has not kept them."""


def to_onnx(folder: Path, target: Path) -> None:
    """Writes the network of a checkpoint as `model.onnx`.

    Its inputs are the student's roles, float32: [batch, dim], or [batch, steps, dim] with an axis of layers before the
    steps where the features have one. Beside each that has steps stands 'ROLE_length', int64 [batch]; what is behind a
    length may be any finite number. Batch and steps may be of any size from 1. The output is `logits`, [batch, class];
    the classes are in the graph's metadata, as JSON.

    Raises:
        InvalidField: the student reads text or sound itself, or the packages that write ONNX are not installed.
    """
    card, network = checkpoint.load(folder)
    roles = card.student.inputs
    if encoder_slots(card.student) or wave_roles(card.student) or any(card.shapes[role] == () for role in roles):
        problem = "is 'onnx', but this student has a tokenizer or a pretrained network inside: take 'transformers'"
        raise InvalidField(f"'{card.step}'", "to", problem)
    if importlib.util.find_spec("onnxscript") is None:
        problem = "is 'onnx', which needs packages that are not installed: pip install 'emolake[export]'"
        raise InvalidField(f"'{card.step}'", "to", problem)
    shapes = {role: card.shapes[role] for role in roles}
    steps = [role for role in roles if len(shapes[role]) > 1]
    batch = torch.export.Dim("batch")
    dynamic: dict[str, dict[str, dict[int, Any]]] = {
        "arrays": {role: {0: batch} for role in roles}, "lengths": {role: {0: batch} for role in steps}
    }  # fmt: skip
    for role in steps:
        dynamic["arrays"][role][len(shapes[role]) - 1] = torch.export.Dim(f"{role}_steps")
    with _silence():
        program: Any = torch.onnx.export(
            _Named(network).eval(), (), kwargs=_example(shapes), dynamo=True, dynamic_shapes=dynamic, verbose=False,
            input_names=[*roles, *(role + LENGTH for role in steps)], output_names=["logits"],
        )  # fmt: skip
    program.model.metadata_props["classes"] = json.dumps(list(card.classes))
    program.save(target / ONNX)


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


class _Named(nn.Module):
    """A network whose inputs have names."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, arrays: Mapping[str, Tensor], lengths: Mapping[str, Tensor]) -> Tensor:
        logits: Tensor = self.network(named_batch(arrays, lengths))
        return logits


def named_batch(
    arrays: Mapping[str, Tensor], lengths: Mapping[str, Tensor], texts: Mapping[str, Sequence[str]] | None = None
) -> Batch:
    """A batch of utterances that nobody has labelled, from what each role has."""
    told = {role: tuple(several) for role, several in (texts or {}).items()}
    first = next(iter(arrays.values()), None)
    n = len(next(iter(told.values()))) if first is None else first.shape[0]
    labels = torch.zeros(n, dtype=torch.int64, device=None if first is None else first.device)
    return Batch((), arrays, lengths, told, labels)


def _example(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, dict[str, Tensor]]:
    """Two utterances of 9 and 7 steps."""
    arrays, lengths = {}, {}
    for role, shape in shapes.items():
        if len(shape) > 1:
            lengths[role] = torch.tensor([9, 7])
            shape = (*shape[:-2], 9, shape[-1])
        arrays[role] = torch.zeros(2, *shape)
    return {"arrays": arrays, "lengths": lengths}


@contextmanager
def _silence() -> Iterator[None]:
    """Without what the exporter says of packages that are not wanted, and of how it works inside."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
