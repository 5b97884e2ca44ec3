"""Network: what a student builds."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from models import losses
from models.batch import Batch
from models.weights import load_weights, save_weights

if TYPE_CHECKING:
    from models.orders import Fit


class Network(nn.Module):
    """A module that reads batches, and knows how it is prepared, taught and kept.

    `forward(batch)` gives logits, [B, n_classes]. `fresh` names the weights that an initial checkpoint did not give;
    None where there was no such checkpoint.
    """

    fresh: tuple[str, ...] | None = None
    label_smoothing: float = 0.0
    class_weights: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("class_weights", None, persistent=False)  # of the fit, not of the checkpoint

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Sees the training batches once before the first epoch: statistics, vocabulary."""

    def solve(self, batches: Iterable[Batch]) -> None:
        """Fits in closed form, where the student has no loss terms; then the training loop is skipped."""

    def losses(self, batch: Batch, terms: Sequence[str]) -> dict[str, Tensor]:
        """The loss terms named, each one number, and no others."""
        return {}

    def set_label_loss(self, fit: Fit, labels: Collection[int], n_classes: int) -> None:
        """Takes from the settings of a fit how `label_loss` counts.

        Args:
            labels: those of the training part, NO_LABEL where there is none: they decide the class weights.
        """
        self.label_smoothing = fit.label_smoothing
        if fit.class_weights == "balanced":
            self.class_weights = losses.balanced_weights(torch.tensor([*labels]), n_classes)

    def label_loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """The term 'label' of every student: cross-entropy to the labels, or where a fit has soft labels to the shares
        of the votes, with the class weights and the smoothing of the fit."""
        if batch.targets is not None:
            return losses.soft_cross_entropy(logits, batch.targets, self.class_weights, self.label_smoothing)
        return losses.cross_entropy(logits, batch.labels, self.class_weights, self.label_smoothing)

    def last_layers(self) -> Sequence[nn.Linear]:
        """The linear layers that give the logits, all of them or those that are added up; () where there is none."""
        return ()

    def answers(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Logits, [B, n_classes], and what the last layers are given for them, side by side: [B, width]; None
        where there is no such layer."""
        layers, given = self.last_layers(), dict[nn.Module, Tensor]()

        def see(layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            given[layer] = arguments[0]

        hooks = [layer.register_forward_pre_hook(see) for layer in layers]
        try:
            logits = self(batch)
        finally:
            for hook in hooks:
                hook.remove()
        return logits, torch.cat([given[layer] for layer in layers], dim=-1) if layers else None

    def save(self, folder: Path) -> None:
        """Writes the files of the checkpoint."""
        save_weights(self, folder)

    def load(self, folder: Path) -> None:
        """Reads what `save` of the same student, shapes and classes wrote."""
        load_weights(self, folder)


def reaching(loss: Tensor, *modules: nn.Module) -> Tensor:
    """The same loss, with a gradient of 0 for the weights of modules that it does not depend on: several processes wait
    until every weight has one."""
    return loss + 0.0 * sum(weight.sum() for module in modules for weight in module.parameters())
