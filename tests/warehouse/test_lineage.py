"""The way up, the way down, why an order is not answered, and what a damaged lake is found to be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.warehouse.small_lake import MAIN, OTHER, SmallLake, small_lake
from tests.warehouse.test_artifact import REQUESTS
from warehouse import Artifact, Request, Warehouse
from warehouse.artifact import MANIFEST
from warehouse.errors import ArtifactNotFound
from warehouse.lineage import Node, differences, down, is_utterance, nearest, trace, up, uses, verify, why
from warehouse.schema import pair_id


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


# -- trees -----------------------------------------------------------------------------------------------------


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


# -- traces ----------------------------------------------------------------------------------------------------


def hops_of(small: SmallLake, utterance_id: str | None, role: str) -> list[tuple[str, str]]:
    """The hops of one role's shard: what, and the name of the artifact in the small lake."""
    names = {a.key: name for name, a in small.named.items()}
    hops = trace(small.lake, small.predictions, utterance_id)
    starts = [i for i, hop in enumerate(hops) if hop.what == "shard" and hop.note.startswith(f"{role}, bytes")]
    rest = hops[starts[0] + 1 :]
    end = next((i for i, hop in enumerate(rest) if hop.what == "shard"), len(rest))
    return [(hop.what, names[hop.key]) for hop in [hops[starts[0]], *rest[:end]]]


def test_a_trace_begins_with_the_number_and_its_checkpoint(small: SmallLake) -> None:
    first, *judging, checkpoint = trace(small.lake, small.predictions)[:4]
    assert (first.what, first.key) == ("prediction", small.predictions.key)
    assert first.note == "u1: labelled happy, predicted happy"
    assert [(hop.what, hop.key, hop.note) for hop in judging] == [
        ("truth", small.named["truth"].key, "u1: happy"),
        ("labels", small.named["labels main"].key, "summary: emotion happy"),
    ]
    assert (checkpoint.what, checkpoint.note) == ("checkpoint", "students.tiny, seed 7")


def test_what_has_no_truth_is_traced_without_a_label(small: SmallLake) -> None:
    first, second, *_ = trace(small.lake, small.predictions, "v1")
    assert (first.note, second.what) == ("v1: labelled None, predicted happy", "checkpoint")
    shutil.rmtree(small.named["truth"].folder)
    first, second, *_ = trace(Warehouse(small.lake.root), small.predictions, "u1")
    assert (first.note, second.what) == ("u1: labelled None, predicted happy", "checkpoint")


@pytest.mark.parametrize(
    ("utterance_id", "role", "expected"),
    [
        ("u1", "voice", ["voice shard main", "voice main", "utterances main", "raw main"]),
        ("v1", "voice", ["voice shard other", "voice other", "utterances other", "raw other"]),
        ("u1", "words", ["words shard", "words main", "utterances main", "raw main"]),
        ("v1", "words", ["words shard", "words main", "utterances main", "raw main"]),  # u1's words, the same
        ("u1", "pairs", ["pairs shard", "pairs main", "utterances main", "raw main"]),
    ],
)
def test_every_shard_is_followed_to_the_bytes(
    small: SmallLake, utterance_id: str, role: str, expected: list[str]
) -> None:
    whats = ["shard", "feature row", "utterance", "raw file"]
    assert hops_of(small, utterance_id, role) == list(zip(whats, expected, strict=True))


def test_texts_are_followed_without_features(small: SmallLake) -> None:
    expected = [("shard", "text shard"), ("utterance", "utterances main"), ("raw file", "raw main")]
    assert hops_of(small, "u1", "text") == expected


def test_segments_are_followed_to_their_intervals_too(small: SmallLake) -> None:
    voice, words = small.named["voice main"], small.named["intervals"]
    pair, members = pair_id(MAIN["audio_id"], MAIN["text_id"]), np.ones((2, 1), np.float32)
    means = small.shards("means", "m", [("u1", MAIN["audio_id"], members)], {"features": [voice], "intervals": [words]})
    times = small.shards("times", "t", [("u1", pair, members)], {"intervals": [words]})
    table = pq.read_table(small.predictions.path("predictions.parquet"))
    small.predictions = small.make(
        "predictions", "predictions", "models.predict", lambda f: pq.write_table(table, f / "predictions.parquet"),
        {"checkpoint": [small.named["checkpoint"]], "shards:means": [means], "shards:times": [times]}, version=2,
    )  # fmt: skip
    last = [("intervals", "intervals"), ("utterance", "utterances main"), ("raw file", "raw main")]
    assert hops_of(small, "u1", "means") == [("shard", "means"), ("feature row", "voice main"), *last]
    assert hops_of(small, "u1", "times") == [("shard", "times"), *last]


def test_a_trace_ends_at_file_and_seconds_and_its_bytes_are_the_members(small: SmallLake) -> None:
    hops = trace(small.lake, small.predictions, "u1", {"main": "/corpora/main"})
    last = [hop for hop in hops if hop.what == "raw file"][-1]
    assert last.note == f"/corpora/main/wav/u1.wav, seconds 1.000–3.000, sha256 {MAIN['recording_id']}"
    shard = next(hop for hop in hops if hop.note.startswith("text, bytes "))
    start, end = map(int, shard.note.removeprefix("text, bytes ").split("–"))
    assert small.lake.resolve(shard.key).path("shard.tar").read_bytes()[start:end] == b"so it is"


def test_a_trace_of_nothing_says_what_is_missing(small: SmallLake) -> None:
    with pytest.raises(ArtifactNotFound, match="name 'u77'"):
        trace(small.lake, small.predictions, "u77")
    shutil.rmtree(small.named["checkpoint"].folder)
    with pytest.raises(ArtifactNotFound, match=f"name '{small.named['checkpoint'].digest}'"):
        trace(Warehouse(small.lake.root), small.predictions, "u1")


def test_words_without_sound_are_traced_to_file_and_line(tmp_path: Path) -> None:
    small = SmallLake(tmp_path / "lake")
    silent = {"start_s": 0.0, "end_s": 0.0, "channel": "", "audio_id": "", "path": "lines.txt"}
    rows = [
        MAIN | silent | {"utterance_id": "t1", "attributes": {"line": "12"}},
        MAIN | silent | {"utterance_id": "t2", "attributes": {"sentence": "3.1"}},
        MAIN | silent | {"utterance_id": "t3", "attributes": {}},
    ]
    small.ingested("main", small.reading("main", rows))
    for name, place in (("t1", "line 12"), ("t2", "sentence 3.1"), ("t3", "text only")):
        first, *rest = uses(small.lake, name)
        assert first.note == f"{tmp_path}/main/lines.txt, {place}, sha256 {MAIN['recording_id']}"
        assert sorted(hop.what for hop in rest) == ["labels", "utterances"], "the failures of others are not its own"


def test_uses_names_every_artifact_with_a_row_about_an_utterance(small: SmallLake) -> None:
    names = {a.key: name for name, a in small.named.items()}
    first, *rest = uses(small.lake, "v1")
    assert (first.what, first.key) == ("raw file", "")
    root = small.lake.refs("corpora")["other"]["root"]
    assert first.note == f"{root}/wav/v1.wav, seconds 1.000–3.000, sha256 {OTHER['recording_id']}"
    assert {names[hop.key] for hop in rest} == {
        "utterances other", "labels other", "voice other", "voice shard other", "words main", "words shard",
        "text shard", "split", "selection", "predictions",
    }, "the text shard holds u1's words, which are the same text"  # fmt: skip
    assert is_utterance(small.lake, "v1") and not is_utterance(small.lake, "u77' OR 1=1 --")
    with pytest.raises(ArtifactNotFound, match="name 'u77'"):
        uses(small.lake, "u77")


# -- why -------------------------------------------------------------------------------------------------------

BASE = Request("features", "e.mfcc", 1, {"plugin": {"fields": {"n_mels": 40, "floor": None}}}, {"utterances": ("d1",)})


def changed(version: int = 1, inputs: Any = None, **fields: Any) -> Request:
    params = {"plugin": {"fields": {"n_mels": 40, "floor": None} | fields}}
    return Request("features", "e.mfcc", version, params, inputs or {"utterances": ("d1",)})


@pytest.mark.parametrize(
    ("asked", "sentences"),
    [
        (changed(), []),
        (changed(n_mels=80), ["params.plugin.fields.n_mels: 80 instead of 40"]),
        (changed(n_mels=40.0), ["params.plugin.fields.n_mels: 40.0 instead of 40"]),
        (changed(floor=0), ["params.plugin.fields.floor: 0 instead of null"]),
        (changed(more=None), ["params.plugin.fields.more: null instead of (absent)"]),
        (changed(version=2), ["version: 2 instead of 1"]),
        (changed(inputs={"utterances": ("d2",)}), ['inputs.utterances: ["d2"] instead of ["d1"]']),
        (
            changed(inputs={"u": ()}),
            ["inputs.u: [] instead of (absent)", 'inputs.utterances: (absent) instead of ["d1"]'],
        ),
        (changed(n_mels="x" * 99), [f'params.plugin.fields.n_mels: "{"x" * 56}… instead of 40']),
    ],
)
def test_differences_are_named_by_their_place(asked: Request, sentences: list[str]) -> None:
    assert [str(difference) for difference in differences(asked, BASE)] == sentences


@given(REQUESTS, REQUESTS)
def test_there_is_a_difference_exactly_when_the_keys_differ(one: Request, other: Request) -> None:
    assert bool(differences(one, other)) == (one.key != other.key)
    assert differences(one, one.as_json()) == []


def test_the_nearest_differs_least_and_is_the_newest_of_those(lake: Warehouse) -> None:
    def keep(request: Request) -> Artifact:
        return lake.materialize(request, partial(write_text, text=request.key))

    assert nearest(lake, BASE) is None and why(lake, BASE) == []
    far = keep(changed(n_mels=1, floor=2, version=3))
    assert nearest(lake, BASE) == far
    keep(Request("features", "e.other", 1))
    keep(Request("intervals", "e.mfcc", 1))
    close = [keep(changed(n_mels=80)), keep(changed(n_mels=81))]
    assert nearest(lake, BASE) == max(close, key=lambda a: (a.created_at, a.key))
    assert [d.where for d in why(lake, BASE)] == ["params.plugin.fields.n_mels"]
    keep(BASE)
    assert nearest(lake, BASE) in close, "an order is not its own neighbour"


# -- verify ----------------------------------------------------------------------------------------------------


def test_a_sound_lake_has_no_faults_and_progress_reaches_the_end(small: SmallLake) -> None:
    told: list[tuple[int, int]] = []
    assert verify(small.lake, lambda done, total: told.append((done, total))) == []
    n = len(small.lake.artifacts())
    assert told[-1] == (n, n) and [done for done, _ in told] == sorted(done for done, _ in told)


def flip(artifact: Artifact) -> None:
    path = artifact.path("shard.tar")
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)


def edit(change: Callable[[dict[str, Any]], Any]) -> Callable[[Artifact], None]:
    def apply(artifact: Artifact) -> None:
        path = artifact.folder / MANIFEST
        value = json.loads(path.read_bytes())
        change(value)
        path.write_text(json.dumps(value))

    return apply


DAMAGE: list[tuple[Callable[[Artifact], Any], str]] = [
    (flip, "file 'shard.tar' has other bytes than when it was made"),
    (lambda a: a.path("shard.tar").unlink(), "file 'shard.tar' is missing"),
    (lambda a: a.path("more.txt").write_text("x"), "file 'more.txt' is in its folder but not in its manifest"),
    (edit(lambda m: m["files"]["shard.tar"].update(n_bytes=1)), "the digest is not that of its files"),
    (edit(lambda m: m.update(digest="0" * 64)), "the digest is not that of its files"),
    (edit(lambda m: m["request"].update(version=9)), "its request has key"),
    (edit(lambda m: m.pop("files")), "KeyError: 'files'"),
    (lambda a: (a.folder / MANIFEST).write_text("{"), "JSONDecodeError"),
]


@pytest.mark.parametrize(("damage", "problem"), DAMAGE)
@pytest.mark.parametrize("fresh", [True, False])
def test_damage_is_named_with_what_it_taints(
    small: SmallLake, damage: Callable[[Artifact], Any], problem: str, fresh: bool
) -> None:
    victim = small.named["voice shard main"]
    damage(victim)
    faults = verify(Warehouse(small.lake.root) if fresh else small.lake)
    own = [fault for fault in faults if fault.key == victim.key]
    assert len(own) == 1 and problem in own[0].problem
    assert all(len(set(fault.taints)) == len(fault.taints) for fault in faults)
    tainted = {key for fault in faults for key in (fault.key, *fault.taints)}
    assert tainted == {victim.key, *(small.named[name].key for name in ("checkpoint", "predictions", "metrics"))}


def test_a_lost_input_is_a_fault_of_each_that_cites_it(small: SmallLake) -> None:
    lost = small.named["voice shard main"]
    shutil.rmtree(lost.folder)
    faults = {fault.key: fault for fault in verify(Warehouse(small.lake.root))}
    named = small.named
    assert faults.keys() == {named["checkpoint"].key, named["predictions"].key}
    fault = faults[named["checkpoint"].key]
    assert fault.problem == f"its input 'shards:voice' {lost.digest[:12]} is not in the lake"
    assert set(fault.taints) == {named["predictions"].key, named["metrics"].key}


def test_two_damages_are_two_faults(small: SmallLake) -> None:
    (small.named["selection"].folder / MANIFEST).write_text("{")
    flip(small.named["text shard"])
    assert {fault.key for fault in verify(Warehouse(small.lake.root))} == {
        small.named["selection"].key, small.named["text shard"].key
    }  # fmt: skip


@given(st.integers(0, 10**6))
def test_any_flipped_bit_of_any_file_is_found(lake_of_module: SmallLake, place: int) -> None:
    files = lake_of_module.lake.root.glob("artifacts/*/*/*")
    paths = sorted(path for path in files if path.name != MANIFEST and path.stat().st_size)
    path = paths[place % len(paths)]
    before = path.read_bytes()
    content = bytearray(before)
    content[place % len(content)] ^= 1 << place % 8
    path.write_bytes(content)
    try:
        assert [fault.key for fault in verify(lake_of_module.lake)] == [path.parent.name]
    finally:
        path.write_bytes(before)


@pytest.fixture(scope="module")
def lake_of_module(tmp_path_factory: pytest.TempPathFactory) -> SmallLake:
    return small_lake(tmp_path_factory.mktemp("flips") / "lake")
