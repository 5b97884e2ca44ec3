"""The way up and the way down."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.warehouse.small_lake import SmallLake, small_lake
from warehouse import Artifact, Request, Warehouse
from warehouse.audit.lineage import Node, down, up


@pytest.fixture
def small(tmp_path: Path) -> SmallLake:
    return small_lake(tmp_path / "lake")


def put(lake: Warehouse, name: str, *inputs: Artifact, text: str | None = None, **params: Any) -> Artifact:
    request = Request("raw", name, 1, params, {"from": tuple(a.digest for a in inputs)})
    return lake.materialize(request, partial(write_text, text=text or name))


def write_text(folder: Path, text: str) -> None:
    (folder / "x").write_text(text)


def shape(node: Node) -> Any:
    """A tree as nested pairs: step (with '*' where repeated) and branches."""
    return (node.artifact.request.step + "*" * node.repeated, [shape(branch) for branch in node.branches])


def test_a_diamond_has_its_root_once_and_a_mark_where_it_comes_again(lake: Warehouse) -> None:
    root = put(lake, "root")
    left, right = put(lake, "left", root), put(lake, "right", root)
    top = put(lake, "top", left, right)
    put(lake, "stranger")
    assert shape(up(lake, top)) == ("top", [("left", [("root", [])]), ("right", [("root*", [])])])
    assert shape(down(lake, root)) == ("root", [("left", [("top", [])]), ("right", [("top*", [])])])
    assert shape(up(lake, root)) == ("root", []) and shape(down(lake, top)) == ("top", [])


def test_two_requests_with_the_same_bytes_are_both_shown(lake: Warehouse) -> None:
    one, other = put(lake, "one", text="same"), put(lake, "other", text="same")
    user = put(lake, "user", one)
    assert shape(up(lake, user)) == ("user", [("one", []), ("other", [])])
    assert shape(down(lake, other)) == ("other", [("user", [])])


def test_a_piece_stands_on_the_record_of_its_own_unit(lake: Warehouse) -> None:
    """All pieces of one file have the same raw record; what is made of all of them has each piece above it once."""
    raws = [put(lake, "raw", text="same", corpus="c", unit=str(n)) for n in range(3)]
    pieces = [put(lake, "piece", raw, text="rows", corpus="c", unit=str(n)) for n, raw in enumerate(raws)]
    whole = put(lake, "whole", *pieces, text="whole")
    units = [
        (branch.artifact.request.params["unit"], [leaf.artifact.request.params["unit"] for leaf in branch.branches])
        for branch in up(lake, whole).branches
    ]
    assert sorted(units) == [("0", ["0"]), ("1", ["1"]), ("2", ["2"])]
    assert [node.artifact.key for node in down(lake, raws[1]).branches] == [pieces[1].key]
    retold = put(lake, "retold", raws[1], corpus="other", unit="1")
    assert [branch.artifact.key for branch in up(lake, retold).branches] == [raws[1].key]
    assert [node.artifact.key for node in down(lake, raws[1]).branches] == [pieces[1].key, retold.key]
    stranger = put(lake, "stranger", raws[0], corpus="other", unit="another")
    assert len(up(lake, stranger).branches) == 3


def test_what_is_up_from_one_is_down_from_the_other(small: SmallLake) -> None:
    artifacts = small.lake.artifacts()
    above = {(a.key, n.artifact.key) for a in artifacts for n in up(small.lake, a).walk()}
    below = {(n.artifact.key, a.key) for a in artifacts for n in down(small.lake, a).walk()}
    assert above == below


def test_roles_and_json(small: SmallLake) -> None:
    tree = up(small.lake, small.named["metrics"])
    value = json.loads(json.dumps(tree.as_json()))
    assert (value["role"], value["kind"], value["digest"]) == ("", "metrics", small.named["metrics"].digest)
    predictions, truth = value["branches"]
    assert (truth["role"], truth["key"]) == ("truths", small.named["truth"].key)
    assert {branch["role"] for branch in truth["branches"]} == {"split", "labels"}, "the way to the bytes of the label"
    assert (predictions["role"], predictions["key"]) == ("predictions", small.predictions.key)
    roles = [branch["role"] for branch in predictions["branches"]]
    assert roles == sorted(roles) and {"checkpoint", "split", "shards:voice"} <= set(roles)
    assert {n.artifact.request.kind for n in tree.walk()} >= {"raw", "utterances", "features", "shards", "checkpoint"}


def test_a_missing_input_ends_its_branch(small: SmallLake) -> None:
    shutil.rmtree(small.named["checkpoint"].folder)
    tree = up(Warehouse(small.lake.root), small.predictions)
    assert "checkpoint" not in {branch.role for branch in tree.branches}
