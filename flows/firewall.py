"""The test firewall: what of a split a fit may see, and what says that a model was selected by what judges it."""

from __future__ import annotations

from typing import Literal

import pyarrow as pa

from warehouse import Warehouse
from warehouse.artifact import Artifact
from warehouse.schema import TRUTH
from warehouse.tables import read_table

SelectOn = Literal["dev", "test"]
"""The part whose loss chooses the epoch that is kept."""


def seen(split: pa.Table, select_on: SelectOn) -> pa.Table:
    """A split as fits and predictions cite it: no utterance of the test part has a label.

    Where a model is selected on the test part, that part is the dev part too, with its labels. The protocol's own dev
    part is then left out: it is neither learned from nor chosen on.

    Args:
        split: of SPLIT, with all labels.
    """
    import pyarrow.compute as pc  # takes as long to import as a plan with nothing to do

    part = split.column("part")
    is_test = pc.equal(part, "test")
    hidden = _with(split, "label", pc.if_else(is_test, pa.scalar(None, pa.string()), split.column("label")))
    if select_on == "dev":
        return hidden
    test = split.filter(is_test)
    chosen_on = _with(test, "part", pa.array(["dev"] * test.num_rows, pa.string()))
    learned = hidden.filter(pc.not_equal(part, "dev"))
    return pa.concat_tables([learned, chosen_on]).sort_by([("utterance_id", "ascending"), ("part", "ascending")])


def judged_by(table: pa.Table, truth: Artifact) -> pa.Table:
    """Predictions or a split with the labels that the truth has: a column `label` behind `part`, null where it has
    none. Labels that a split had where the truth has none, those of train, stay."""
    told = read_table(truth.path("truth.parquet"), TRUTH)
    label_of = dict(zip(told.column("utterance_id").to_pylist(), told.column("label").to_pylist(), strict=True))
    ids = table.column("utterance_id").to_pylist()
    own = table.column("label").to_pylist() if "label" in table.column_names else [None] * len(ids)
    labels = [label_of.get(utterance_id, label) for utterance_id, label in zip(ids, own, strict=True)]
    rest = table.drop_columns(["label"]) if "label" in table.column_names else table
    return rest.add_column(rest.column_names.index("part") + 1, "label", pa.array(labels, pa.string()))


def selected_on(warehouse: Warehouse, artifact: Artifact) -> SelectOn:
    """'test' where a split above an artifact gave the test part as dev: its own, or that of a model it learned from.

    An input is its bytes: where several artifacts have them, of which one was not selected so, the selection changed
    nothing, as with a student that looks at no dev part.
    """
    of_bytes: dict[str, list[Artifact]] = {}
    for one in warehouse.artifacts():
        of_bytes.setdefault(one.digest, []).append(one)
    found: dict[str, bool] = {}

    def stamped(one: Artifact) -> bool:
        if one.key not in found:
            request = one.request
            own = request.kind == "split" and request.params.get("select_on") == "test"
            sources = (of_bytes.get(d, []) for digests in request.inputs.values() for d in digests)
            found[one.key] = own or any(some and all(map(stamped, some)) for some in sources)
        return found[one.key]

    return "test" if stamped(artifact) else "dev"


def _with(table: pa.Table, name: str, column: pa.Array | pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.column_names.index(name), table.schema.field(name), column)
