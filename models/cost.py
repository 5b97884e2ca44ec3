"""What a fit cost: numbers that are recorded beside the checkpoint and never hashed, since they differ every time."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

_PROCESS = Path("/proc/self")  # of Linux; elsewhere the peak is that of the whole life of the process


@dataclass
class Spent:
    """What one process has put into training since it began or went on: seconds, and what it got through in them."""

    train_s: float = 0.0
    n_steps: int = 0
    n_utterances: int = 0

    @contextmanager
    def on(self, n_steps: int, groups: Sequence[Sequence[str]]) -> Iterator[None]:
        """Counts the seconds within, in which these groups of utterances are worked through.

        Args:
            n_steps: of their first role, padding not counted.
        """
        began_s = time.monotonic()
        yield
        self.train_s += time.monotonic() - began_s
        self.n_steps += n_steps
        self.n_utterances += sum(map(len, groups))


def n_parameters(network: nn.Module) -> tuple[int, int]:
    """How many numbers a network has, and how many of them training changes.

    Only parameters count, as in papers; of a network that has none, because it is solved in closed form, what it keeps
    counts, and all of that is trained.

    Example:
        >>> n_parameters(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1).requires_grad_(False)))
        (11, 8)
    """
    parameters = list(network.parameters())
    if not parameters:
        kept = sum(tensor.numel() for tensor in network.state_dict().values())
        return kept, kept
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)


def forget_peaks(device: torch.device) -> None:
    """Lets the peaks of memory begin anew: a process may fit several models, one after the other."""
    with suppress(OSError):
        (_PROCESS / "clear_refs").write_text("5")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes() -> int:
    """The most memory that this process held, pages of mapped files among it."""
    with suppress(OSError, StopIteration):
        lines = (_PROCESS / "status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def cost_of(network: nn.Module, spent: Spent, role: str, device: torch.device, n_processes: int) -> dict[str, Any]:
    """The record of a fit, as JSON values.

    `train_s`, `n_steps` (of `role`) and `n_utterances` (each once per epoch) are those of the passes over the training
    part alone, by the first process, since it last began: speeds come from them, and hold for a fit that was ended and
    went on as well. So do the peaks of memory.
    """
    total, trained = n_parameters(network)
    cost: dict[str, Any] = {
        "device": device.type, "processes": n_processes, "parameters": total, "trained_parameters": trained,
        "train_s": round(spent.train_s, 3), "role": role, "n_steps": spent.n_steps, "n_utterances": spent.n_utterances,
        "peak_bytes": peak_bytes(),
    }  # fmt: skip
    if device.type == "cuda":
        cost["device_peak_bytes"] = torch.cuda.max_memory_allocated(device)
    return cost
