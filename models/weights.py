"""Weights on disk: safetensors, which hold numbers and nothing that runs."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from safetensors.torch import load_file, save
from torch import nn

FILE = "model.safetensors"


def save_weights(module: nn.Module, folder: Path) -> None:
    """Writes every parameter and buffer. Same numbers, same bytes."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    (folder / FILE).write_bytes(save(tensors))  # by Python, whose error on a full disk the warehouse understands


def load_weights(module: nn.Module, folder: Path) -> None:
    """Reads what `save_weights` wrote into a module of the same shape; every name must be there."""
    module.load_state_dict(load_file(folder / FILE))


def load_matching(module: nn.Module, folder: Path, never: Collection[str] = ()) -> tuple[str, ...]:
    """Reads the weights whose name and shape the module has too.

    Args:
        never: names that are left as they are even if they match.

    Returns:
        The names that were not read, in the module's order; all of them where nothing matches.
    """
    own = module.state_dict()
    given = load_file(folder / FILE)
    taken = {
        name: tensor for name, tensor in given.items()
        if name in own and own[name].shape == tensor.shape and name not in never
    }  # fmt: skip
    module.load_state_dict(taken, strict=False)
    return tuple(name for name in own if name not in taken)
