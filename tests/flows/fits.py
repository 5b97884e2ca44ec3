"""Made-up splits, packed texts and checkpoints, for tests of what a model has learned from. Nothing is fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flows.pack import pack_text_works
from flows.protocol import Protocol, split_work
from flows.truth import truth_work
from tests.flows.made import labels, utterance, utterances
from warehouse import Artifact, Request, Warehouse, Work
from warehouse.schema import UTTERANCES
from warehouse.tables import read_table

RULES = Protocol(
    id="p", reader="made", title="t", labels={"hap": "happy"}, test="split = 'test'", dev="split = 'dev'"
)  # fmt: skip


def corpus(lake: Warehouse, name: str, n: int, **columns: Any) -> Artifact:
    """`n` utterances in each part."""
    rows = [
        utterance(f"{name}-{part}{number}", corpus=name, split=part, **columns)
        for part in ("train", "dev", "test") for number in range(n)
    ]  # fmt: skip
    return utterances(lake, rows, unit=name)


def split(lake: Warehouse, reading: Artifact) -> Artifact:
    return lake.perform(_split_work(lake, reading))


def truth(lake: Warehouse, reading: Artifact) -> Artifact:
    """That of its split."""
    return lake.perform(truth_work(_split_work(lake, reading), split(lake, reading)))


def _split_work(lake: Warehouse, reading: Artifact) -> Work:
    ids = read_table(reading.path("utterances.parquet"), UTTERANCES).column("utterance_id").to_pylist()
    return split_work(RULES, "all", ["all"], [reading], [labels(lake, dict.fromkeys(ids, "hap"))])


def checkpoint(
    lake: Warehouse, split: Artifact, shards: Mapping[str, Sequence[Artifact]], init: Artifact | None = None
) -> Artifact:
    """A checkpoint as `models.orders` orders them."""
    inputs = {f"shards:{role}": tuple(a.digest for a in own) for role, own in shards.items()}
    inputs |= {"split": (split.digest,)} | ({"init": (init.digest,)} if init else {})
    request = Request("checkpoint", "students.made", 1, {"seed": 0}, inputs)
    return lake.materialize(request, lambda folder: (folder / "weights").write_text(request.key) and None)


def text_shards(lake: Warehouse, reading: Artifact, keep: set[str] | None = None) -> list[Artifact]:
    return [lake.perform(work) for work in pack_text_works([reading], keep)]
