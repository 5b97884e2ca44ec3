"""Where one modality asks the other: what each step of the one attends to in the other, whatever the student."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.network import Network
from models.networks.attention import TransformerLayer

SOUND, WORDS = "sound", "words"

_ASKS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "students.cmd": {
        r"across\.\d+\.branches\.0": (SOUND, WORDS),
        r"across\.\d+\.branches\.1": (WORDS, SOUND),
    },
    "students.cross_attention": {"cma_1": (SOUND, WORDS), "cma_2": (WORDS, SOUND)},
    "students.mmer": {r"interaction\.b": (SOUND, WORDS), r"interaction\.d": (WORDS, SOUND)},
    "students.mult": {
        r"across\.audio_states\.layers\.\d+": (SOUND, WORDS),
        r"across\.text_states\.layers\.\d+": (WORDS, SOUND),
    },
    "students.multilevel": {
        r"fusion\.co_attention\.(\w+)\.\d+\.branches\.0": (WORDS, SOUND),
        r"fusion\.co_attention\.(\w+)\.\d+\.branches\.1": (SOUND, WORDS),
    },
}
"""Step of a student -> name of a layer in its network -> who asks whom. The further interaction C of MMER asks what
words and sound have become together, and is not among them."""


@dataclass(frozen=True)
class Crossing:
    """One layer's attention in one pass.

    Args:
        asks, asked: 'sound' and 'words', or the other way round.
        weights: mean over heads, [B, T, S].
        mask: the valid steps of what is asked, bool [B, S].
    """

    layer: str
    asks: str
    asked: str
    weights: Tensor
    mask: Tensor


def crossing_layers(step: str, network: Network) -> dict[str, tuple[str, str]]:
    """Name of a layer -> who asks whom, in the order of the network. Of a stack only the last layer is told."""
    last: dict[tuple[object, ...], tuple[str, tuple[str, str]]] = {}
    for name, module in network.named_modules():
        for pattern, roles in _ASKS.get(step, {}).items():
            match = re.fullmatch(pattern, name)
            if match and isinstance(module, TransformerLayer):
                last[*match.groups(), roles] = name, roles
    return dict(last.values())


@contextmanager
def listening(step: str, network: Network) -> Iterator[list[Crossing]]:
    """Within it, every pass of the network adds what its crossing layers attended to."""
    heard: list[Crossing] = []
    hooks = []
    modules = dict(network.named_modules())
    for name, (asks, asked) in crossing_layers(step, network).items():
        hooks.append(_hook(modules[name], name, asks, asked, heard))
    try:
        yield heard
    finally:
        for hook in hooks:
            hook.remove()


def _hook(layer: nn.Module, name: str, asks: str, asked: str, heard: list[Crossing]) -> Any:
    def see(module: Any, given: tuple[Tensor, ...]) -> None:
        x, mask, context = given
        with torch.no_grad():
            heard.append(Crossing(name, asks, asked, module.weights(x, mask, context), mask))

    return layer.register_forward_pre_hook(see)
