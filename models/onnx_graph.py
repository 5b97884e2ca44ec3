"""A checkpoint as an ONNX graph: whoever runs it needs neither Emolake nor torch."""

from __future__ import annotations

import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models import checkpoint
from models.batch import Batch
from models.checkpoint import Card
from models.network import Network
from models.networks.encoder_blocks import RATE_HZ
from models.plugin import wave_roles
from warehouse.errors import InvalidField

ONNX = "model.onnx"
TOKENIZERS = "tokenizer"
"""Folder beside the graph: in it, one folder for each role of text."""

LENGTH = "_length"
"""Behind a role's name: the input with how many steps of each utterance are valid."""

IDS, MASK = "_input_ids", "_attention_mask"
"""The same: the two inputs that stand for a text."""


class GraphInput(NamedTuple):
    """One input of a graph.

    Args:
        dtype: 'float32' or 'int64'.
        shape: sizes, and the names of those that may be any.
        says: what is to be given.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    says: str


def to_onnx(folder: Path, target: Path) -> list[GraphInput]:
    """Writes the network of a checkpoint as `model.onnx`.

    Its inputs are the student's roles:

    * Stored features: float32, [batch, dim], or [batch, steps, dim] with an axis of layers before the steps where the
      features have one. Beside each that has steps stands 'ROLE_length', int64 [batch]; what is behind a length may be
      any finite number.
    * Text: 'ROLE_input_ids' and 'ROLE_attention_mask', int64 [batch, tokens], as the tokenizer gives them that is
      written into `tokenizer/ROLE`. Its tokenizer.json cuts and pads texts as the network was given them, so that the
      package `tokenizers` is enough.
    * Sound: float32 [1, samples], one channel at 16 kHz in [-1, 1]. Clips pass an encoder of sound one by one, so such
      a graph takes one utterance at a time, and 'batch' is 1 for all its inputs. A row of logits is the same whatever
      it is batched with.

    Batch, steps and samples may be of any size from 1. The output is `logits`, [batch, class]. The graph's metadata has
    'classes' and 'inputs', as JSON.

    Returns:
        The inputs.

    Raises:
        InvalidField: the checkpoint knows no classes, its tokenizer tells more of a text than the graph is given, torch
            cannot draw a network that is inside, or the packages that write ONNX are not installed.
    """
    card, network = checkpoint.load(folder)
    if not card.classes:
        raise _refused(card, "but this checkpoint tells no classes apart: it has no logits to give")
    if importlib.util.find_spec("onnxscript") is None:
        raise _refused(card, "which needs packages that are not installed: pip install 'emolake[export]'")
    for role in card.student.inputs:
        if card.shapes[role] == ():
            _write_tokenizer(card, _reader(network), target / TOKENIZERS / role)
    inputs = _inputs(card, network)
    example = {one.name: _example(one, network) for one in inputs}
    names = {
        one.name: {axis: size for axis, size in enumerate(one.shape) if isinstance(size, str)} for one in inputs
    }  # fmt: skip
    module = _Named(card, network).eval().requires_grad_(False)  # with gradients torch cannot draw a Conformer
    try:
        with _silence():
            program: Any = torch.onnx.export(
                module, (), kwargs={"given": example}, dynamo=True, verbose=False,
                dynamic_shapes={"given": names}, input_names=[*example], output_names=["logits"],
            )  # fmt: skip
    except torch.onnx.OnnxExporterError as error:
        raise _refused(card, "but torch draws no graph of a network that is inside: take 'transformers'") from error
    program.model.metadata_props["classes"] = json.dumps(list(card.classes))
    program.model.metadata_props["inputs"] = json.dumps([one._asdict() for one in inputs])
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # from which line of which file, by paths of this machine, each was drawn
    program.save(target / ONNX)
    return inputs


# -- inside ----------------------------------------------------------------------------------------------------------


def _inputs(card: Card, network: Network) -> list[GraphInput]:
    waves = wave_roles(card.student)
    batch: int | str = 1 if any(role in waves for role in card.student.inputs) else "batch"
    found = []
    for role in card.student.inputs:
        shape = card.shapes[role]
        if shape == ():
            tokens = batch, f"{role}_tokens"
            says = f"tokens of a text, at most {_reader(network).max_tokens}, as {TOKENIZERS}/{role} gives them"
            found.append(GraphInput(role + IDS, "int64", tokens, says))
            found.append(GraphInput(role + MASK, "int64", tokens, "1 for a token, 0 for padding"))
        elif role in waves:
            says = f"one clip: one channel at {RATE_HZ} Hz, in [-1, 1]"
            found.append(GraphInput(role, "float32", (1, f"{role}_samples"), says))
        elif len(shape) == 1:
            found.append(GraphInput(role, "float32", (batch, *shape), "a stored feature"))
        else:
            steps = batch, *shape[:-2], f"{role}_steps", shape[-1]
            found.append(GraphInput(role, "float32", steps, "steps of a stored feature"))
            found.append(GraphInput(role + LENGTH, "int64", (batch,), f"how many steps of '{role}' are valid"))
    return found


def _example(one: GraphInput, network: Network) -> Tensor:
    sizes = [_some(size, network) if isinstance(size, str) else size for size in one.shape]
    return torch.ones(sizes, dtype=getattr(torch, one.dtype))


def _some(size: str, network: Network) -> int:
    """A number for a size that may be any, unlike other sizes: the exporter tells sizes apart by the example's."""
    if size.endswith("_samples"):
        return RATE_HZ
    if size.endswith("_tokens"):
        return min(9, int(_reader(network).max_tokens))
    return 2 if size == "batch" else 9


class _Named(nn.Module):
    """A network whose inputs have names."""

    def __init__(self, card: Card, network: Network) -> None:
        super().__init__()
        self.shapes = {role: card.shapes[role] for role in card.student.inputs}
        self.waves, self.network = wave_roles(card.student), network

    def forward(self, given: Mapping[str, Tensor]) -> Tensor:
        arrays, lengths, texts = {}, {}, dict[str, Any]()
        for role, shape in self.shapes.items():
            if shape == ():
                texts[role] = _Tokens(input_ids=given[role + IDS], attention_mask=given[role + MASK])
            elif role in self.waves:
                arrays[role] = given[role][..., None]
                lengths[role] = torch.full((1,), given[role].shape[1])
            else:
                arrays[role] = given[role]
                if len(shape) > 1:
                    lengths[role] = given[role + LENGTH]
        n = next(iter(given.values())).shape[0]
        logits: Tensor = self.network(Batch((), arrays, lengths, texts, torch.zeros(n, dtype=torch.int64)))
        return logits


class _Tokens(dict[str, Tensor]):
    """What stands in a batch where its texts would: their tokens, which are where they are wanted."""

    def to(self, device: torch.device) -> _Tokens:
        return self


def _reader(network: Network) -> Any:
    """The part of a network that has a tokenizer; students have one at most."""
    return next(part for part in network.modules() if hasattr(part, "tokenizer"))


def _write_tokenizer(card: Card, reader: Any, folder: Path) -> None:
    tokenizer = reader.tokenizer
    kinds = tokenizer(["."], padding=True, truncation=True, max_length=reader.max_tokens).get("token_type_ids", [[]])
    if any(kinds[0]):
        raise _refused(card, "but its tokenizer gives types to tokens, and the graph reads none: take 'transformers'")
    tokenizer.model_max_length = reader.max_tokens
    tokenizer.save_pretrained(folder)


def _refused(card: Card, problem: str) -> InvalidField:
    return InvalidField(f"'{card.step}'", "to", f"is 'onnx', {problem}")


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
