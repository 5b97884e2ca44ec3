"""Which models learned from what is withdrawn, and how each is had again without it.

A model learned from an utterance that its split has in 'train' or, because its epoch was chosen there, in 'dev'; of a
model without a split, every utterance of its shards. Whoever comes from such a model (began with its weights, was
taught by it, reads features that it made) is tainted too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from warehouse.arrays import texts_of
from warehouse.artifact import Artifact
from warehouse.audit.lineage import closure_down, closure_up
from warehouse.audit.tombstones import TAINTED, with_purged
from warehouse.audit.withdrawal import Withdrawal
from warehouse.schema import pair_id
from warehouse.store import Warehouse
from warehouse.tables import columns_of

LEARNED = ("checkpoint", "acoustic_model")
"""Kinds of what learns."""

_SEEN = ("train", "dev")


@dataclass(frozen=True)
class Taint:
    """A model that learned from what goes: its key, the step that made it, why it is tainted, and what to run."""

    key: str
    step: str
    why: str
    retrain: str


def taints_of(warehouse: Warehouse, withdrawal: Withdrawal) -> list[Taint]:
    """The models of a lake that are tainted when this is withdrawn, oldest first."""
    artifacts = warehouse.artifacts()
    models = [a for a in artifacts if a.request.kind in LEARNED]
    by_digest: dict[str, list[Artifact]] = {}
    for artifact in artifacts:
        by_digest.setdefault(artifact.digest, []).append(artifact)
    by_digest = with_purged(warehouse.root, by_digest)  # what an earlier purge rewrote stands for what was learned from
    counted = {model.key: _n_seen(model, by_digest, withdrawal) for model in models}
    reasons = {key: f"it learned from {n} of the utterances that were withdrawn" for key, n in counted.items() if n}
    for key in closure_down(artifacts, list(reasons)):
        reasons.setdefault(key, "it comes from a model that learned from what was withdrawn")
    tainted = [model for model in models if model.key in reasons]
    recipes = _recipes(warehouse, artifacts, tainted)
    return [Taint(a.key, a.request.step, reasons[a.key], _how(recipes.get(a.key, []))) for a in tainted]


def taint(warehouse: Warehouse, purge: str, one: Taint) -> None:
    """Marks a model. One that is marked already has both purges."""
    known = warehouse.ref(f"{TAINTED}/{one.key}") or {"purges": []}
    value: Mapping[str, Any] = {
        "purges": sorted({*known["purges"], purge}), "step": one.step, "why": one.why, "retrain": one.retrain,
    }  # fmt: skip
    warehouse.set_ref(f"{TAINTED}/{one.key}", value)


def _n_seen(model: Artifact, by_digest: Mapping[str, list[Artifact]], withdrawal: Withdrawal) -> int:
    import pyarrow.compute as pc  # takes as long to import as small questions to answer

    inputs = model.request.inputs

    def cited(role: str) -> list[Artifact]:
        return [a for digest in inputs.get(role, ()) for a in by_digest.get(digest, ())[:1]]

    seen: set[str] = set()
    if "split" in inputs:
        for split in cited("split"):
            rows = columns_of(split.path("split.parquet"), ["utterance_id", "part"])
            seen |= _among(rows.filter(pc.is_in(rows["part"], texts_of(_SEEN))), withdrawal.utterances)
        return len(seen)
    for reading in cited("utterances"):  # an acoustic model is trained on all pairs of sound and words
        spoken = columns_of(reading.path("utterances.parquet"), ["audio_id", "text_id"]).to_pylist()
        seen |= {pair_id(row["audio_id"], row["text_id"]) for row in spoken if row["audio_id"]}
    if seen:
        return len(seen & withdrawal.pairs)
    for role in inputs:
        for shard in cited(role) if role.startswith("shards:") else ():
            seen |= _among(columns_of(shard.path("index.parquet"), ["utterance_id"]), withdrawal.utterances)
    return len(seen)


def _among(rows: pa.Table, ids: Collection[str]) -> set[str]:
    """Those of some utterances that rows are about; of the others, which are most, no Python object is made."""
    import pyarrow.compute as pc

    column = rows["utterance_id"]
    return set(column.filter(pc.is_in(column, texts_of(sorted(ids)))).to_pylist())


def _recipes(warehouse: Warehouse, artifacts: Sequence[Artifact], tainted: Sequence[Artifact]) -> dict[str, list[str]]:
    """Key of a model -> the recipes in whose last report it had a part."""
    found: dict[str, list[str]] = {}
    keys = {model.key for model in tainted}
    for name, ref in warehouse.refs("reports").items() if keys else ():
        top = [a.key for a in artifacts if ref.get("artifact") in (a.key, a.digest)]
        for key in closure_up(artifacts, top) & keys:
            found.setdefault(key, []).append(name)
    return found


def _how(recipes: Sequence[str]) -> str:
    if not recipes:
        return "no report of the lake names its recipe: `emolake run` the recipe that declares it fits it anew"
    runs = " and ".join(f"`emolake run {name}`" for name in sorted(recipes))
    return f"{runs} fits it anew without what was withdrawn"
