"""The network of `models.students.linear`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor

from models.batch import NO_LABEL, Batch
from models.network import Network
from warehouse.errors import LabelsMissing

if TYPE_CHECKING:
    from models.students.linear import Linear


class LogisticRegressor(Network):
    """See `models.students.linear.Linear`. A class without a training utterance has probability 0."""

    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, student: Linear, dim: int, n_classes: int) -> None:
        super().__init__()
        self.student = student
        for name, tensor in {
            "mean": torch.zeros(dim),
            "scale": torch.ones(dim),
            "weight": torch.zeros(n_classes, dim),
            "bias": torch.zeros(n_classes),
        }.items():
            self.register_buffer(name, tensor)

    def solve(self, batches: Iterable[Batch]) -> None:
        """Fits to all labelled utterances at once.

        Raises:
            LabelsMissing: fewer than two classes occur.
        """
        several = list(batches)
        x = np.concatenate([batch.arrays["vector"].double().numpy() for batch in several])
        y = np.concatenate([batch.labels.numpy() for batch in several])
        x, y = x[y != NO_LABEL], y[y != NO_LABEL]
        found = np.unique(y)
        if len(found) < 2:
            raise LabelsMissing("train", len(found), "'students.linear' tells at least two classes apart")
        mean, deviation = x.mean(0), x.std(0)
        scale = np.where(deviation > 1e-6 * np.maximum(np.abs(mean), 1), deviation, 1.0)
        model = LogisticRegression(
            C=self.student.inverse_strength, class_weight="balanced" if self.student.balanced else None, max_iter=10_000
        )
        with threadpool_limits(1):  # the sums, and with them the last bits, depend on the number of threads
            model.fit((x - mean) / scale, y)
        weight, bias = model.coef_, model.intercept_
        if len(found) == 2:  # one row then, for the second class: the first one's logit is 0
            weight, bias = np.vstack([0 * weight, weight]), np.append(0.0, bias)
        self.mean.copy_(torch.from_numpy(mean))
        self.scale.copy_(torch.from_numpy(scale))
        self.bias.fill_(-torch.inf)
        self.weight[found] = torch.from_numpy(weight).float()
        self.bias[found] = torch.from_numpy(bias).float()

    def forward(self, batch: Batch) -> Tensor:
        """Logits, [B, n_classes]."""
        return (batch.arrays["vector"] - self.mean) / self.scale @ self.weight.T + self.bias
