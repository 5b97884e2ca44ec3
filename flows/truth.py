"""The truth of a split: the labels of its judged parts, apart from it. Only evaluation reads it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from flows.counts import as_json
from flows.firewall import SelectOn
from flows.protocol import Protocol, split_of
from flows.stand_ins import StandIns
from warehouse.artifact import Artifact, Request, Work
from warehouse.schema import TRUTH
from warehouse.tables import write_table

VERSION = 1


def truth_work(asked: Work, split: Artifact) -> Work:
    """The work that writes the `truth.parquet` of a split.

    Args:
        asked: the work that the split is the answer to, as `flows.protocol.split_work` gives it.
    """
    inputs = dict(asked.request.inputs) | {"split": (split.digest,)}
    # The split's code says who has which label, and of the test part the split's bytes do not tell.
    params = dict(asked.request.params) | {"split_version": asked.request.version}
    return Work(Request("truth", "flows.truth", VERSION, params, inputs), write_truth, asked.arguments)


def write_truth(
    folder: Path, protocol: Protocol, fold: str, after: str, utterances: Sequence[Artifact],
    labels: Sequence[Artifact], selection: Artifact | None, without: Sequence[str], told: StandIns | None,
    select_on: SelectOn,
) -> None:  # fmt: skip
    """Writes `truth.parquet`: the label of every utterance of the dev and the test part that has one; of the test part
    alone where that is the dev part. Where published counts cannot be reproduced, also `counts.json`: they count
    labels of all parts."""
    import pyarrow.compute as pc  # takes as long to import as a plan with nothing to do

    table, counts = split_of(protocol, fold, (fold, after), utterances, labels, selection, told)
    if protocol.counts_must == "warn":
        text = json.dumps(as_json(counts), ensure_ascii=False, indent=1)
        (folder / "counts.json").write_text(text + "\n", encoding="utf-8")
    judged = ["test"] if select_on == "test" else ["dev", "test"]
    is_judged = pc.and_(pc.is_in(table.column("part"), pa.array(judged)), pc.is_valid(table.column("label")))
    left_out = pc.is_in(table.column("utterance_id"), pa.array(list(without), pa.string()))
    write_table(folder / "truth.parquet", table.filter(pc.and_not(is_judged, left_out)), TRUTH)
