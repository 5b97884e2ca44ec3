"""The way up and the way down."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.warehouse.small_lake import SmallLake, small_lake
from warehouse import Artifact, Request, Warehouse
from warehouse.audit.lineage import Node, closure_down, closure_up, down, edges, forest, graph_among, up


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
    assert (tree.role, tree.artifact.key) == ("", small.named["metrics"].key)
    predictions, truth = tree.branches
    assert (truth.role, truth.artifact.key) == ("truths", small.named["truth"].key)
    assert {branch.role for branch in truth.branches} == {"split", "labels"}, "the way to the bytes of the label"
    assert (predictions.role, predictions.artifact.key) == ("predictions", small.predictions.key)
    roles = [branch.role for branch in predictions.branches]
    assert roles == sorted(roles) and {"checkpoint", "split", "shards:voice"} <= set(roles)
    assert {n.artifact.request.kind for n in tree.walk()} >= {"raw", "utterances", "features", "shards", "checkpoint"}
    artifacts = small.lake.artifacts()
    graph = graph_among(artifacts, closure_up(artifacts, [tree.artifact.key]))
    value = json.loads(json.dumps(graph.as_json()))
    assert {node["key"] for node in value["nodes"]} == {n.artifact.key for n in tree.walk()}
    assert {"key": tree.artifact.key, "role": "truths", "from": small.named["truth"].key} in value["edges"]


def test_closures_are_the_trees_without_their_order(small: SmallLake) -> None:
    artifacts = small.lake.artifacts()
    for a in artifacts:
        assert closure_up(artifacts, [a.key]) == {n.artifact.key for n in up(small.lake, a).walk()}
        assert closure_down(artifacts, {a.key}) == {n.artifact.key for n in down(small.lake, a).walk()}
    both = [small.named["words main"].key, small.named["raw other"].key]
    assert closure_down(artifacts, both) == closure_down(artifacts, both[:1]) | closure_down(artifacts, both[1:])
    assert closure_up(artifacts, ["not a key"]) == {"not a key"} and closure_up(artifacts, []) == set()


def made_up(number: int, *inputs: int) -> Artifact:
    """An artifact of no lake, whose digest is its number."""
    request = Request("raw", "s", 1, {"n": number}, {"from": tuple(str(one) for one in inputs)})
    return Artifact(request, {}, str(number), {}, "2026-01-01T00:00:00.000+00:00", Path("/no/artifacts/raw/key"))


def test_lines_may_be_longer_than_functions_may_call_themselves() -> None:
    line = [made_up(0), *(made_up(n, n - 1) for n in range(1, 10_000))]
    [tree] = forest(line, line[-1:])
    assert sum(1 for _ in tree.walk()) == len(line)
    [below] = forest(line, line[:1], downwards=True)
    assert [node.artifact.digest for node in below.walk()] == [a.digest for a in line]
    assert len(closure_up(line, [line[-1].key])) == len(closure_down(line, [line[0].key])) == len(line)
    assert len(graph_among(line, closure_up(line, [line[-1].key])).as_json()["edges"]) == len(line) - 1


DIGESTS = st.sampled_from("abcdef")
MADE = st.lists(
    st.tuples(
        DIGESTS, st.lists(DIGESTS, max_size=3), st.lists(DIGESTS, max_size=2), st.sampled_from([None, 0, 1]),
        st.sampled_from("xy"), st.integers(0, 9),
    ),
    max_size=8,
)  # fmt: skip


def meant_slowly(known: list[Artifact], digest: str, user: Artifact) -> list[Artifact]:
    """By the rule, one after the other: those with the digest, of the unit that asks, else of any; the earlier ones."""
    found = [a for a in known if a.digest == digest]
    own = user.request.params
    if "unit" in own:
        units = [a for a in found if a.request.params.get("unit") == own["unit"]]
        found = [a for a in units if a.request.params["corpus"] == own["corpus"]] or units or found
    return [a for a in found if a.created_at <= user.created_at] or found


def edges_slowly(known: list[Artifact]) -> list[tuple[Artifact, str, Artifact]]:
    return [
        (user, role, source)
        for user in known
        for role, digests in sorted(user.request.inputs.items())
        for digest in dict.fromkeys(digests)
        for source in meant_slowly(known, digest, user)
    ]


def tree_slowly(
    one: Artifact, role: str, found: list[tuple[Artifact, str, Artifact]], is_down: bool, seen: set[str]
) -> Any:
    if one.key in seen:
        return one.key, role, True, []
    seen.add(one.key)
    if is_down:
        nexts = [(r, user) for user, r, source in found if source.key == one.key]
    else:
        nexts = [(r, source) for user, r, source in found if user.key == one.key]
    return one.key, role, False, [tree_slowly(other, r, found, is_down, seen) for r, other in nexts]


def told(node: Node) -> Any:
    return node.artifact.key, node.role, node.repeated, [told(branch) for branch in node.branches]


@given(MADE)
def test_trees_are_those_of_the_rule_word_by_word(made: list[Any]) -> None:
    """Also where digests are shared, cited twice, missing, or of what was made later, and where lines go in circles."""
    known = []
    for number, (digest, first, second, unit, corpus, minute) in enumerate(made):
        params = {"n": number} | ({} if unit is None else {"unit": unit, "corpus": corpus})
        request = Request("raw", "s", 1, params, {"b": tuple(first), "a": tuple(second)})
        made_at = f"2026-01-01T00:0{minute}:00.000+00:00"
        known.append(Artifact(request, {}, digest, {}, made_at, Path("/no/artifacts/raw/key")))
    known.sort(key=lambda a: (a.created_at, a.key))
    found = edges_slowly(known)
    assert [(u.key, role, s.key) for u, role, s in edges(known)] == [(u.key, role, s.key) for u, role, s in found]
    for is_down in (False, True):
        seen: set[str] = set()
        slow = [tree_slowly(one, "", found, is_down, seen) for one in known]
        assert [told(tree) for tree in forest(known, known, downwards=is_down)] == slow


def test_walks_are_linear() -> None:
    """Of 20,000 pieces of one file, whose records have the same bytes, each stands on its own."""
    began = time.process_time()
    raws = [replace(made_up(0), request=Request("raw", "r", 1, {"corpus": "c", "unit": n})) for n in range(20_000)]
    pieces = [
        replace(made_up(1 + n), request=Request("piece", "p", 1, {"corpus": "c", "unit": n}, {"raw": ("0",)}))
        for n in range(20_000)
    ]
    found = list(edges([*raws, *pieces]))
    assert len(found) == 20_000
    assert all(user.request.params["unit"] == source.request.params["unit"] for user, _, source in found)
    assert time.process_time() - began < 10, "seconds; were it quadratic, hours"


def test_brothers_beyond_the_most_are_counted(lake: Warehouse) -> None:
    many = [put(lake, "many", text=str(n), n=n) for n in range(5)]
    other = put(lake, "other")
    top = put(lake, "top", *many, other)
    [tree] = forest(lake.artifacts(), [top], most=2)
    assert [(node.artifact.request.step, node.n_more) for node in tree.branches] == [
        ("many", 0), ("many", 3), ("other", 0),
    ]  # fmt: skip
    first, second = forest(lake.artifacts(), [top, many[0]])
    assert len(first.branches) == 6 and second.repeated, "what stands in the first tree is not told again"


def test_a_missing_input_ends_its_branch(small: SmallLake) -> None:
    shutil.rmtree(small.named["checkpoint"].folder)
    tree = up(Warehouse(small.lake.root), small.predictions)
    assert "checkpoint" not in {branch.role for branch in tree.branches}
