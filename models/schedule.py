"""The learning rate over the epochs, as a share of its peak."""

from __future__ import annotations

import math

from models.orders import Fit


def rate_factor(fit: Fit, n_epochs: float, n_drops: int = 0) -> float:
    """The share of the peak learning rate after so many epochs.

    Args:
        n_epochs: that are done, with the part of the one that is being done.
        n_drops: how often the dev loss has made a plateau (`Drops`).

    Example:
        >>> cmd = Fit(epochs=50, learning_rate=1e-4, batch_frames=1, warmup_fraction=0.2, schedule="exponential")
        >>> [round(rate_factor(cmd, n), 3) for n in (5, 10.5, 11.5, 12.5)]
        [0.5, 1.0, 0.9, 0.81]
    """
    warmup = fit.warmup_fraction * fit.epochs
    if n_epochs < warmup:
        return n_epochs / warmup
    if fit.schedule == "linear":
        return (fit.epochs - n_epochs) / (fit.epochs - warmup)
    if fit.schedule == "exponential":
        return float(fit.decay ** math.floor(n_epochs - warmup))
    return float(fit.decay**n_drops) if fit.schedule == "plateau" else 1.0


class Drops:
    """How often the rate of the schedule 'plateau' has dropped: once after every `plateau` epochs in a row whose dev
    loss is not below the least before them."""

    def __init__(self, fit: Fit) -> None:
        self.n, self._plateau, self._least, self._waited = 0, fit.plateau, math.inf, 0

    def see(self, dev_loss: float) -> None:
        """Told the dev loss of each epoch."""
        if dev_loss < self._least:
            self._least, self._waited = dev_loss, 0
            return
        self._waited += 1
        if self._waited == self._plateau:
            self.n, self._waited = self.n + 1, 0
