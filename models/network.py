"""Network: what a student builds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import Tensor, nn

from models.batch import Batch
from models.weights import load_weights, save_weights


class Network(nn.Module):
    """A module that reads batches, and knows how it is prepared, taught and kept.

    `forward(batch)` gives logits, [B, n_classes]. `fresh` names the weights that an initial checkpoint did not give;
    None where there was no such checkpoint.
    """

    fresh: tuple[str, ...] | None = None

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Sees the training batches once before the first epoch: statistics, vocabulary."""

    def solve(self, batches: Iterable[Batch]) -> None:
        """Fits in closed form, where the student has no loss terms; then the training loop is skipped."""

    def losses(self, batch: Batch, terms: Sequence[str]) -> dict[str, Tensor]:
        """The loss terms named, each one number, and no others."""
        return {}

    def save(self, folder: Path) -> None:
        """Writes the files of the checkpoint."""
        save_weights(self, folder)

    def load(self, folder: Path) -> None:
        """Reads what `save` of the same student, shapes and classes wrote."""
        load_weights(self, folder)
