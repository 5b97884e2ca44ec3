"""Any student with any teacher: what a fitted model answered, stored in shards, as two more loss terms."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from torch import Tensor, nn

from models import losses
from models.batch import Batch
from models.network import Network, reaching
from models.orders import TEACHER_TERMS, FitOrder
from warehouse.errors import InvalidField, ShapeDiffers

(LOGITS,), (POOLED,) = TEACHER_TERMS["logits"], TEACHER_TERMS["features"]


class Taught(Network):
    """A student's network with the terms 'logits' and 'features'; all else is the student's own. Only the student is
    kept as a checkpoint: the projection is no part of it.

    * 'logits': softened probabilities as near as can be to the teacher's (`losses.response_distillation`).
    * 'features': what the student's last layers are given, through a linear layer that is learned, as near as can be to
      what the teacher's are (`losses.vector_distillation`). The linear layer begins as the identity where both are as
      wide, so that who is the teacher already has nothing to learn.

    Args:
        network: of the student.
        terms: those of the two that are wanted.
        shapes: role -> shape of one utterance's array.
        n_classes: as many logits as the teacher must have.
        temperature: of 'logits'.

    Raises:
        InvalidField: 'features' are wanted of a network without last layers.
        ShapeDiffers: the teacher's logits are not one per class, or what it pooled is no vector.

    Source: Hinton et al. 2015, section 2, for the first; Romero et al. 2015, eq. 3, for the second, there for a layer
    further inside.
    """

    def __init__(
        self, network: Network, terms: Collection[str], shapes: Mapping[str, tuple[int, ...]], n_classes: int,
        temperature: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.network, self.taught, self.temperature = network, tuple(terms), temperature
        if "logits" in terms and shapes[LOGITS] != (n_classes,):
            raise ShapeDiffers(LOGITS, shapes[LOGITS], f"must be ({n_classes},), one number per class")
        if "features" in terms:
            if len(shapes[POOLED]) != 1:
                raise ShapeDiffers(POOLED, shapes[POOLED], "one vector per utterance is wanted, (dim,)")
            layers = network.last_layers()
            if not layers:
                problem = "cannot have a weight: this student has no layer before its classes"
                raise InvalidField("the objective", "features", problem)
            (n_given,), n_own = shapes[POOLED], sum(layer.in_features for layer in layers)
            self.project = nn.Linear(n_own, n_given)
            if n_own == n_given:
                nn.init.eye_(self.project.weight)
                nn.init.zeros_(self.project.bias)

    def forward(self, batch: Batch) -> Tensor:
        """The student's logits, [B, n_classes]."""
        logits: Tensor = self.network(batch)
        return logits

    def losses(self, batch: Batch, terms: Sequence[str]) -> dict[str, Tensor]:
        """The two terms and 'label' from one pass; further terms of the student's own take another."""
        own = [term for term in terms if term not in (*self.taught, "label")]
        found = self.network.losses(batch, own) if own else {}
        logits, pooled = self.network.answers(batch)
        if "label" in terms:
            found["label"] = self.network.label_loss(logits, batch)
        if "logits" in self.taught:
            teacher = batch.arrays[LOGITS]
            found["logits"] = losses.response_distillation(losses.at_least_float32(logits), teacher, self.temperature)
        if "features" in self.taught:
            found["features"] = losses.vector_distillation(batch.arrays[POOLED], self.project(pooled))
            if not {"label", "logits"} & set(terms):
                found["features"] = reaching(found["features"], *self.network.last_layers())
        return {term: found[term] for term in terms}


def with_teacher(network: Network, order: FitOrder, shapes: Mapping[str, tuple[int, ...]]) -> Network:
    """The network that is trained: the student's own unless a teacher's terms are wanted that it has not itself.

    Raises:
        InvalidField, ShapeDiffers.
    """
    terms = [term for term in order.objective if term in TEACHER_TERMS and term not in order.student.terms]
    if not terms or order.fit is None:
        return network
    return Taught(network, terms, shapes, len(order.classes), order.fit.teacher_temperature)
