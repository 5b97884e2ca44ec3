"""What a key is made of, and what a commit leaves on the disk."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import operator
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse import Artifact, Request, Warehouse
from warehouse.artifact import MANIFEST, commit, content_digest, read_artifact
from warehouse.audit.why import why
from warehouse.errors import EmptyArtifact, InvalidId, NotCanonical, UnreadableManifest

PARAMS = {"plugin": {"n_mels": 40}, "ids": "0a"}
REQUEST = Request("features", "extractors.mfcc", 1, PARAMS, {"utterances": ("d1", "d2")})

LEAVES = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-2, 2) | st.text(max_size=3)
NAMES = st.sampled_from("xy")
VALUES = st.recursive(LEAVES, lambda v: st.lists(v, max_size=2) | st.dictionaries(NAMES, v), max_leaves=4)
REQUESTS = st.builds(
    Request, st.sampled_from(["raw", "features"]), st.sampled_from(["a.b", "a.c"]), st.integers(1, 3),
    st.dictionaries(st.sampled_from(["a", "b", "ab"]), VALUES),
    st.dictionaries(st.sampled_from(["utterances", "checkpoint"]), st.lists(st.sampled_from(["d1", "d2"])).map(tuple)),
)  # fmt: skip


def write_two(folder: Path) -> None:
    (folder / "b.txt").write_bytes(b"two")
    (folder / "deep").mkdir()
    (folder / "deep" / "a.bin").write_bytes(b"one")


# -- requests --------------------------------------------------------------------------------------------------


def test_every_field_is_identity_and_there_are_no_others() -> None:
    assert [field.name for field in dataclasses.fields(Request)] == ["kind", "step", "version", "params", "inputs"]
    others = [
        dataclasses.replace(REQUEST, kind="intervals"),
        dataclasses.replace(REQUEST, step="extractors.glove"),
        dataclasses.replace(REQUEST, version=2),
        dataclasses.replace(REQUEST, params={"plugin": {"n_mels": 41}, "ids": "0a"}),
        dataclasses.replace(REQUEST, params={"plugin": {"n_mels": 40.0}, "ids": "0a"}),
        dataclasses.replace(REQUEST, params={"plugin": {"n_mels": 40}, "ids": "0a", "more": None}),
        dataclasses.replace(REQUEST, inputs={"utterances": ("d2", "d1")}),
        dataclasses.replace(REQUEST, inputs={"others": ("d1", "d2")}),
        dataclasses.replace(REQUEST, inputs={}),
    ]
    assert len({request.key for request in [REQUEST, *others]}) == len(others) + 1
    assert len({REQUEST, *others}) == len(others) + 1


def test_the_key_is_the_digest_that_anyone_can_repeat() -> None:
    text = json.dumps(REQUEST.as_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest()[:32] == REQUEST.key


@given(REQUESTS)
def test_a_request_is_the_same_after_a_file(request: Request) -> None:
    again = Request.from_json(json.loads(json.dumps(request.as_json())))
    assert again == request
    assert (again.key, hash(again)) == (request.key, hash(request))


@given(REQUESTS, REQUESTS)
def test_requests_are_equal_when_their_keys_are(one: Request, other: Request) -> None:
    assert (one == other) == (one.key == other.key)
    assert one != one.key


def test_a_choice_that_is_no_json_cannot_become_a_key() -> None:
    with pytest.raises(NotCanonical, match=r"the value\.root holds PosixPath"):
        _ = Request("raw", "features.raw", 1, {"root": Path("/corpora")}).key


@pytest.mark.parametrize("kind", ["../refs", "a/b", "", "."])
def test_a_kind_names_a_folder_of_the_lake_and_no_other(lake: Warehouse, kind: str) -> None:
    with pytest.raises(InvalidId, match=r"kind '.*' must match"):
        lake.find(Request(kind, "s", 1))


# -- commit ----------------------------------------------------------------------------------------------------


def committed(root: Path, request: Request = REQUEST, created_at: str = "2025-01-01T00:00:00.000+00:00") -> Artifact:
    scratch = root / "scratch"
    scratch.mkdir(parents=True)
    write_two(scratch)
    return commit(request, scratch, root / "artifacts" / request.kind / request.key, {"python": "3"}, created_at)


def test_a_commit_keeps_the_files_and_says_what_they_are(tmp_path: Path) -> None:
    artifact = committed(tmp_path)
    assert artifact.path("deep/a.bin").read_bytes() == b"one"
    assert {name: entry["sha256"] for name, entry in artifact.files.items()} == {
        "b.txt": hashlib.sha256(b"two").hexdigest(),
        "deep/a.bin": hashlib.sha256(b"one").hexdigest(),
    }
    assert artifact.n_bytes == 6
    assert artifact.key == REQUEST.key == artifact.folder.name
    assert not (tmp_path / "scratch").exists()
    assert read_artifact(artifact.folder) == artifact


def test_the_digest_is_of_names_and_bytes_alone(tmp_path: Path) -> None:
    first = committed(tmp_path / "a")
    second = committed(tmp_path / "b", dataclasses.replace(REQUEST, version=7), "2026-02-02T00:00:00.000+00:00")
    assert first.digest == second.digest
    entries = {name: dict(entry) for name, entry in first.files.items()}
    renamed = {"c.txt": entries["b.txt"], "deep/a.bin": entries["deep/a.bin"]}
    grown = entries | {"b.txt": entries["b.txt"] | {"n_bytes": 4}}
    changed = entries | {"b.txt": entries["b.txt"] | {"sha256": "0" * 64}}
    digests = {content_digest(files) for files in (entries, renamed, grown, changed, {})}
    assert len(digests) == 5 and first.digest in digests


def test_an_artifact_of_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scratch" / "only a folder").mkdir(parents=True)
    with pytest.raises(EmptyArtifact, match=rf"step 'extractors\.mfcc' wrote no file for {REQUEST.key[:12]}"):
        commit(REQUEST, tmp_path / "scratch", tmp_path / REQUEST.key, {}, "")
    assert not (tmp_path / REQUEST.key).exists()


def test_the_manifests_own_name_is_taken(lake: Warehouse) -> None:
    def write(folder: Path) -> None:
        (folder / MANIFEST).write_text("{}")

    with pytest.raises(ValueError, match=r"'extractors\.mfcc' wrote 'manifest\.json', which is the manifest's own"):
        lake.materialize(REQUEST, write)
    assert lake.find(REQUEST) is None


def test_the_loser_of_a_race_gets_the_winners_artifact(tmp_path: Path) -> None:
    winner = committed(tmp_path, created_at="2025-01-01T00:00:00.000+00:00")
    assert committed(tmp_path, created_at="2025-01-01T00:00:09.000+00:00") == winner
    assert not (tmp_path / "scratch").exists()


def test_remains_without_a_manifest_do_not_stand_in_the_way(tmp_path: Path) -> None:
    folder = tmp_path / "artifacts" / REQUEST.kind / REQUEST.key
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "old.bin").write_bytes(b"half")
    artifact = committed(tmp_path)
    assert sorted(p.name for p in artifact.folder.rglob("*") if p.is_file()) == ["a.bin", "b.txt", MANIFEST]


# -- manifests that cannot be read -----------------------------------------------------------------------------


def edit(artifact: Artifact, change: Any) -> None:
    path = artifact.folder / MANIFEST
    value = json.loads(path.read_bytes())
    path.write_text(json.dumps(change(value) or value))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("files") and None, "KeyError: 'files'"),
        (lambda m: m["request"].pop("inputs") and None, "KeyError: 'inputs'"),
        (lambda m: ["no mapping"], "TypeError: "),
        (lambda m: m["request"].update(inputs=["d1"]), "AttributeError: "),
        (lambda m: m["request"].update(params={"x": float("nan")}), "NotCanonical: "),
        (lambda m: m.update(created_at=None), "TypeError: 'created_at' is None, no str"),
        (lambda m: m["files"]["b.txt"].update(n_bytes="3"), "TypeError: 'n_bytes' is '3', no int"),
        (lambda m: m["request"].update(version=2), "its request has key [0-9a-f]{32}, but the folder is [0-9a-f]{32}"),
    ],
)
def test_what_is_wrong_with_a_manifest_is_said(tmp_path: Path, change: Any, message: str) -> None:
    artifact = committed(tmp_path)
    edit(artifact, change)
    with pytest.raises(UnreadableManifest, match=rf"manifest\.json cannot be read \({message}.*emolake verify"):
        read_artifact(artifact.folder)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_a_manifest_that_is_no_json_is_said_to_be(tmp_path: Path, content: bytes) -> None:
    artifact = committed(tmp_path)
    (artifact.folder / MANIFEST).write_bytes(content)
    with pytest.raises(UnreadableManifest, match=r"cannot be read \((JSONDecodeError|UnicodeDecodeError)"):
        read_artifact(artifact.folder)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value of a manifest; what the environment says is nobody's input."""
    yield path
    if isinstance(value, dict) and path != ("environment",):
        for key, inner in value.items():
            yield from places(inner, (*path, key))


WRONG = (None, 3, -1.5, True, "x", [], [3], {}, {"x": 3}, {"x": {"n_bytes": "x"}}, float("nan"))


def test_whatever_a_manifest_holds_is_named_or_does_no_harm(lake: Warehouse) -> None:
    """`ls`, `sql` and `plan` rest on these questions: each answers, or says which manifest is at fault."""
    request = dataclasses.replace(REQUEST, kind="checkpoint")
    path = lake.materialize(request, write_two).folder / MANIFEST
    good = path.read_text()
    n_named = 0
    for place in places(json.loads(good)):
        for wrong in WRONG:
            value: Any = {"manifest": json.loads(good)}
            functools.reduce(operator.getitem, ("manifest", *place)[:-1], value)[("manifest", *place)[-1]] = wrong
            path.write_text(json.dumps(value["manifest"]))
            again = Warehouse(lake.root)
            try:
                again.artifacts()
            except UnreadableManifest as error:
                assert str(path) in str(error)
                n_named += 1
            else:
                assert again.find(request) and again.resolve(request.key)
                assert why(again, dataclasses.replace(request, version=2))
                assert again.table("SELECT key FROM artifacts").num_rows == 1
    assert n_named > 100
    path.write_text("[" * 100_000)
    with pytest.raises(UnreadableManifest, match="RecursionError"):
        Warehouse(lake.root).artifacts()


OUTSIDE = (
    "../../../outside", "..", ".", "", "/etc/passwd", "deep/../../outside", "deep//a.bin", "deep/", "./b.txt", MANIFEST,
    "..\\outside", "C:\\outside", "nul\x00.txt", "line\n.txt", "\u202etxt.b", "x" * 256, "é" * 128,
    "/".join("a" * 17),
)  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE, ids=[ascii(name)[:20] for name in OUTSIDE])
def test_a_manifest_cannot_name_what_is_not_in_its_folder(tmp_path: Path, name: str) -> None:
    artifact = committed(tmp_path)
    edit(artifact, lambda m: m["files"].update({name: m["files"]["b.txt"]}))
    with pytest.raises(UnreadableManifest, match=r"\(ValueError: .* cannot be the name of a file below it"):
        read_artifact(artifact.folder)


@pytest.mark.parametrize("name", ["音声.wav", "голос.wav", "صوت.wav", "a b'c.txt", "...", "x" * 255, "a/b/c/d.npy"])
def test_a_file_may_be_named_in_any_script(tmp_path: Path, name: str) -> None:
    artifact = committed(tmp_path)
    edit(artifact, lambda m: m["files"].update({name: m["files"]["b.txt"]}))
    path = read_artifact(artifact.folder).path(name)
    assert path.resolve().is_relative_to(artifact.folder.resolve())


@pytest.mark.parametrize("size", [-1, 1 << 60, 10**400])
def test_a_size_that_no_file_has_is_refused(tmp_path: Path, size: int) -> None:
    artifact = committed(tmp_path)
    edit(artifact, lambda m: m["files"]["b.txt"].update(n_bytes=size))
    with pytest.raises(UnreadableManifest, match=r"ValueError: "):
        read_artifact(artifact.folder)


def test_an_artifact_behind_a_link_is_none(tmp_path: Path) -> None:
    artifact = committed(tmp_path)
    elsewhere = artifact.folder.rename(tmp_path / artifact.key)
    artifact.folder.symlink_to(elsewhere)
    with pytest.raises(UnreadableManifest, match="it is reached through a link, which could lead out of the lake"):
        read_artifact(artifact.folder)
    artifact.folder.unlink()
    artifact.folder.mkdir()
    (artifact.folder / MANIFEST).symlink_to(elsewhere / MANIFEST)
    with pytest.raises(UnreadableManifest, match="it is reached through a link"):
        read_artifact(artifact.folder)


def test_no_step_commits_a_link(lake: Warehouse, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    with pytest.raises(ValueError, match=r"'extractors\.mfcc' wrote the link 'a': what it leads to is not the lake's"):
        lake.materialize(REQUEST, lambda folder: (folder / "a").symlink_to(tmp_path / "secret"))
    assert lake.artifacts() == []


def test_a_folder_under_another_name_is_not_that_artifact(tmp_path: Path) -> None:
    artifact = committed(tmp_path)
    moved = artifact.folder.rename(artifact.folder.with_name("0" * 32))
    with pytest.raises(UnreadableManifest, match=f"its request has key {REQUEST.key}, but the folder is 000"):
        read_artifact(moved)
