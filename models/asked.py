"""The fitted model that a request asks, whatever of: what it predicts, teaches, or why it answers so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from models import checkpoint
from models.inputs import input_folders
from models.orders import SHARDS, shard_roles
from models.stream import read_split
from warehouse import Request, Warehouse
from warehouse.errors import NoClasses, RoleMissing

if TYPE_CHECKING:
    from models.checkpoint import Card
    from models.network import Network


class Asked(NamedTuple):
    """A fitted model with what it is asked about.

    Args:
        shards: role -> folders, for the student's own inputs.
        parts: part -> utterance id -> label, as `read_split` gives them.
    """

    card: Card
    network: Network
    shards: dict[str, Sequence[Path]]
    parts: dict[str, dict[str, str | None]]


def asked_model(warehouse: Warehouse, request: Request, what_for: str) -> Asked:
    """Loads the checkpoint of a request and finds its shards and its split.

    Args:
        what_for: what an error says that the shards are needed for: 'to predict'.

    Raises:
        EmolakeError: an input is missing from the lake.
        NoClasses: the checkpoint knows none.
        RoleMissing: the request has no shards of a role that the student reads.
    """
    folders = input_folders(warehouse, request)
    card, network = checkpoint.load(folders["checkpoint"][0])
    if not card.classes:
        raise NoClasses(card.step)
    shards: dict[str, Sequence[Path]] = {}
    for role in card.student.inputs:
        if SHARDS + role not in folders:
            raise RoleMissing(card.step, role, what_for, shard_roles(request))
        shards[role] = folders[SHARDS + role]
    return Asked(card, network, shards, read_split(folders["split"][0] / "split.parquet"))
