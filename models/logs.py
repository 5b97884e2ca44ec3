"""What a fit tells TensorBoard while it runs: `tensorboard --logdir LAKE/.logs`.

Layout:
    LAKE/.logs/<key of the request>/events.out.tfevents.…

They hold times, and so are no part of the checkpoint, whose `history.csv` tells the losses of every epoch; they stay
when the fit is done and may be deleted. The x axis is always optimiser steps since the first epoch began. What
`step/…` shows is the mean since the point before, in the first process.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch import Tensor, nn

    from models.pace import Pace

FOLDER = ".logs"
EVERY = 10
"""Optimiser steps between two points."""

FLUSH_S = 10
"""So much of what was told may be lost with a process that is killed; the fit itself goes on from its state."""


def log_folder(lake: Path, key: str) -> Path:
    """Where the log of the fit with this key lies."""
    return lake / FOLDER / key


class Log:
    """The log of one fit.

    Args:
        folder: where it lies; None writes none.
        pace: of the training part.
        objective: loss term -> weight.
    """

    def __init__(self, folder: Path | None, pace: Pace, objective: Mapping[str, float]) -> None:
        self.pace = pace
        self._folder, self._objective = folder, objective
        self._writer: Any = None
        self.begin({})

    def open(self, n_done: int) -> None:
        """Begins, or goes on after so many optimiser steps: what was told of later ones is forgotten."""
        if self._folder is not None:
            from torch.utils.tensorboard import SummaryWriter  # a fifth of a second: where it is used

            self._writer = SummaryWriter(str(self._folder), purge_step=n_done + 1, flush_secs=FLUSH_S)

    def begin(self, sums: Mapping[str, float]) -> None:
        """Told when an epoch begins, or goes on with these sums of the losses."""
        self._sums, self._since_s = dict(sums), time.monotonic()
        self._worked: list[Sequence[str]] = []

    def is_due(self, number: int) -> bool:
        """Whether a step is one that is told of."""
        return self._writer is not None and number % EVERY == 0

    def step(
        self, number: int, groups: Sequence[Sequence[str]], sums: Mapping[str, float], rate: float, norm: Any
    ) -> None:
        """Told of every optimiser step.

        Args:
            number: of the step since the first epoch began, counted from 1.
            groups: the utterances of this process's batches in it.
            sums: of the losses since the epoch began, over utterances, by term.
            rate: the learning rate.
            norm: of the gradient before it was clipped; None where it is not due.
        """
        self._worked += groups
        if not self.is_due(number):
            return
        n = max(1, sum(map(len, self._worked)))
        means = {term: (total - self._sums[term]) / n for term, total in sums.items()}
        lasted_s = max(time.monotonic() - self._since_s, 1e-9)
        figures = {"loss": sum(weight * means[term] for term, weight in self._objective.items())} | means
        figures |= {"learning_rate": rate, f"{self.pace.unit} per second": self.pace.amount(self._worked) / lasted_s}
        if norm is not None:
            figures["gradient_norm"] = float(norm)
        self._write("step", figures, number)
        self.begin(sums)

    def epoch(self, number: int, row: Mapping[str, float], worked: Sequence[Sequence[str]], lasted_s: float) -> None:
        """Told of every epoch.

        Args:
            number: of its last optimiser step.
            row: of the history.
            worked: the utterances that all processes worked through, in so many seconds.
        """
        pace = {f"{self.pace.unit} per second": self.pace.amount(worked) / max(lasted_s, 1e-9)} if worked else {}
        self._write("epoch", dict(row) | pace, number)

    def close(self) -> None:
        """Writes what is not yet written."""
        if self._writer is not None:
            self._writer.close()

    def _write(self, axis: str, figures: Mapping[str, float], number: int) -> None:
        if self._writer is not None:
            for name, value in figures.items():
                self._writer.add_scalar(f"{axis}/{name.replace(' ', '_')}", value, number)


def gradient_norm(fabric: Fabric, module: nn.Module, optimizer: Any) -> Tensor:
    """The norm that clipping tells, where nothing is clipped."""
    from torch.nn.utils import get_total_norm

    fabric.strategy.precision.unscale_gradients(optimizer.optimizer)  # those of '16-mixed' are scaled
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    return get_total_norm(gradients)
