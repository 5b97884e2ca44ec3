"""The processes that share a fit: one, several that this one starts, or those that `torchrun` started on any hosts.

They share the batches of each optimiser step, whose order knows nothing of them. All see the same lake, on a disk that
all hosts have; the first alone writes to it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from warehouse.errors import InvalidField

if TYPE_CHECKING:
    from lightning_fabric import Fabric

PATIENCE = timedelta(days=7)
"""How long processes wait for one another. The first may work alone between two fits, and where one ends for good,
`torchrun` ends all."""


@dataclass(frozen=True)
class Launched:
    """What `torchrun` says of this process: its number among all, and how many there are, on all hosts and on this."""

    rank: int = 0
    n: int = 1
    n_here: int = 1


def launched(environ: Mapping[str, str] = os.environ) -> Launched:
    """What the environment says; a process that `torchrun` did not start is alone.

    Example:
        >>> launched({})
        Launched(rank=0, n=1, n_here=1)
        >>> launched({"TORCHELASTIC_RUN_ID": "none", "RANK": "5", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"})
        Launched(rank=5, n=8, n_here=4)
    """
    if "TORCHELASTIC_RUN_ID" not in environ:
        return Launched()
    return Launched(*(int(environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")))


def n_sharing(n_processes: int, n_batches: int) -> int:
    """How many processes share a fit: as many as there may be, or `torchrun` has started, which cannot be fewer.

    Args:
        n_processes: how many there may be, beside `torchrun`'s own.
        n_batches: of an optimiser step, which is what they share.

    Raises:
        InvalidField: both are several, or a step has no batch for each of those that `torchrun` has started.
    """
    n = launched().n
    if n == 1:
        return min(n_processes, n_batches)
    if n_processes > 1:
        raise InvalidField("the job", "processes", f"are {n_processes}, but torchrun has started {n}: it alone says")
    if n > n_batches:
        problem = f"are {n}, but a step has {n_batches} batches to share: raise 'accumulate' or use fewer"
        raise InvalidField("the job", "processes", problem)
    return n


def fabric_for(device: str, n_processes: int = 1, precision: Any = "32-true") -> Fabric:
    """The Fabric of these processes.

    Args:
        device: as Fabric names accelerators.
        n_processes: to start from this one, where `torchrun` started none.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment
    from lightning_fabric.strategies import DDPStrategy

    here = launched()
    if here.n > 1:
        ddp = DDPStrategy(timeout=PATIENCE)
        n_hosts = here.n // here.n_here
        return Fabric(accelerator=device, devices=here.n_here, num_nodes=n_hosts, strategy=ddp, precision=precision)
    strategy = "ddp_spawn" if n_processes > 1 else "auto"
    ours = LightningEnvironment()  # said, because within a job of Slurm it would hold Slurm's tasks to be the processes
    return Fabric(accelerator=device, devices=n_processes, strategy=strategy, precision=precision, plugins=ours)


def of_the_first(device: str, value: bool) -> bool:
    """What the first of the processes that `torchrun` started says; each must ask."""
    fabric = fabric_for(device)
    fabric.launch()
    told: bool = fabric.broadcast(value)
    return told
