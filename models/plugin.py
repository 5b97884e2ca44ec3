"""What a student is, and what it builds. Reading a student needs no torch: a planner has none.

A student file holds one frozen dataclass (see `warehouse.catalog`) whose fields are its identity; its network is
built, and torch imported, inside `module`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from models.network import Network


class Student(Protocol):
    """A plug-in that is fitted.

    `inputs` are the roles of shards it needs to predict, as it is set; the first is the one whose steps fill a batch.
    `terms` are its loss terms with the further roles that each reads; a student without terms is solved in closed form.

    `module` builds the network: `shapes[role]` is the shape of one utterance's array (() for text), `init` the folder
    of a checkpoint to start from. A row of logits is the same, to rounding, whatever it was batched with.
    """

    version: ClassVar[int]
    terms: ClassVar[Mapping[str, tuple[str, ...]]]

    @property
    def inputs(self) -> tuple[str, ...]: ...

    def module(self, shapes: Mapping[str, tuple[int, ...]], classes: Sequence[str], init: Path | None) -> Network: ...


class Listener(Student, Protocol):
    """A student with pretrained networks inside, which are trained with it or are a part of it: `encoders` names their
    slots. A recipe says which placed checkpoint fills each; `module` gets the folder of each (`models.encoders`).
    `waves` are those of its roles that are sound."""

    @property
    def encoders(self) -> tuple[str, ...]: ...

    @property
    def waves(self) -> tuple[str, ...]: ...

    def module(
        self, shapes: Mapping[str, tuple[int, ...]], classes: Sequence[str], init: Path | None,
        encoders: Mapping[str, Path] | None = None,
    ) -> Network: ...  # fmt: skip


def encoder_slots(student: Student) -> tuple[str, ...]:
    """The slots of a student's pretrained networks; () where it has none."""
    slots: tuple[str, ...] = getattr(student, "encoders", ())
    return slots


def wave_roles(student: Student) -> tuple[str, ...]:
    """The roles of a student that are sound."""
    roles: tuple[str, ...] = getattr(student, "waves", ())
    return roles


Progress = Callable[[int, int, str], None]
"""Told how much is done, of how much, and a note for the reader."""
