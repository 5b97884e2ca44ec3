"""How far a fit has come, as tensors and JSON and back: what must be the same for the rest to be the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from models.determinism import chance, set_chance
from models.resume import State, States
from warehouse.operating_errors import StateNotSeen

Row = dict[str, float]

NETWORK, KEPT, OPTIMIZER = "network.", "kept.", "optimizer."
CHANCE, DEVICE_CHANCE, SUMS = "chance", "device_chance", "sums"


@dataclass
class Course:
    """How far a fit has come, between two optimiser steps.

    Args:
        history: a row for each epoch that is done.
        n_steps: optimiser steps of the next one that are done.
        sums: of the losses in those steps, in this process, by term.
        kept: what training had made of the network after the epoch that is kept; {} before there is one.
    """

    sums: dict[str, float]
    history: list[Row] = field(default_factory=list)
    n_steps: int = 0
    kept: dict[str, Tensor] = field(default_factory=dict)


def trained(network: nn.Module) -> dict[str, Tensor]:
    """A copy of what training changes: all buffers, and the parameters that are not frozen."""
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items() if name not in frozen}


def put_back(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Gives a network what `trained` found; the rest stays as it is."""
    network.load_state_dict(tensors, strict=False)


def taken(fabric: Fabric, network: nn.Module, optimizer: Any, course: Course) -> State:
    """A state of the whole fit; all processes take it together, since chance and sums are each one's own."""
    tensors = _under(NETWORK, trained(network)) | _under(KEPT, course.kept)
    for number, moments in optimizer.state_dict()["state"].items():
        tensors |= _under(f"{OPTIMIZER}{number}.", {name: value.cpu().clone() for name, value in moments.items()})
    own = {CHANCE: chance(), SUMS: torch.tensor(list(course.sums.values()), dtype=torch.float64)}
    if fabric.device.type != "cpu":
        own[DEVICE_CHANCE] = torch.get_device_module(fabric.device).get_rng_state()
    for name, tensor in own.items():
        found: Any = fabric.all_gather(tensor) if fabric.world_size > 1 else tensor[None]
        tensors[name] = found.cpu().clone()
    scale = fabric.strategy.precision.state_dict()
    return State(tensors, {"history": course.history, "n_steps": course.n_steps, "scale": scale})


def restored(fabric: Fabric, network: nn.Module, optimizer: Any, state: State, course: Course) -> None:
    """Puts everything back as it was when the state was taken."""
    put_back(network, _below(NETWORK, state.tensors))
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _below(OPTIMIZER, state.tensors).items():
        number, _, moment = name.partition(".")
        moments.setdefault(int(number), {})[moment] = tensor
    optimizer.load_state_dict(optimizer.state_dict() | {"state": moments})
    fabric.strategy.precision.load_state_dict(state.facts["scale"])
    course.history, course.n_steps = state.facts["history"], state.facts["n_steps"]
    course.kept = _below(KEPT, state.tensors)
    rank = fabric.global_rank
    course.sums = dict(zip(course.sums, state.tensors[SUMS][rank].tolist(), strict=True))
    if DEVICE_CHANCE in state.tensors:
        torch.get_device_module(fabric.device).set_rng_state(state.tensors[DEVICE_CHANCE][rank].clone())
    set_chance(state.tensors[CHANCE][rank])


class Keeper:
    """Keeps states of one fit as it goes, and goes on from the newest. The first process writes; all wait for it."""

    def __init__(self, fabric: Fabric, network: nn.Module, optimizer: Any, states: States) -> None:
        self._fabric, self._network, self._optimizer, self._states = fabric, network, optimizer, states

    def go_on(self, course: Course) -> None:
        """Puts everything where it was last kept, if it was: in all processes from the state that the first one chose.

        Raises:
            StateNotSeen: another one does not find it.
        """
        fabric = self._fabric
        state = self._states.newest() if fabric.is_global_zero else None
        if fabric.world_size > 1:
            name = fabric.broadcast(state.name if state else "")
            if name and not fabric.is_global_zero:
                state = self._states.named(name)
            is_there: Any = fabric.all_gather(torch.tensor(name == (state.name if state else "")))
            if not bool(is_there.all()):  # all of them stop, and none waits for the others
                raise StateNotSeen(self._states.folder, name)
        if state is not None:
            restored(self._fabric, self._network, self._optimizer, state, course)

    def keep(self, course: Course) -> bool:
        """Keeps a state if it is time to. Returns whether it did."""
        is_due = self._states.is_due()
        if self._fabric.world_size > 1:
            is_due = self._fabric.broadcast(is_due)
        if is_due:
            state = taken(self._fabric, self._network, self._optimizer, course)
            if self._fabric.is_global_zero:
                self._states.write(state.tensors, state.facts)
        return is_due


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor.contiguous() for name, tensor in tensors.items()}


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
