"""A damaged name is told of, by name and with what to do; a sound one is not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.warehouse.small_lake import SmallLake, small_lake
from warehouse.audit.verify import verify
from warehouse.errors import UnreadableRef
from warehouse.refs import corpus_root, read_ref, ref_faults
from warehouse.store import Warehouse


@pytest.fixture
def small(tmp_path: Path) -> SmallLake:
    lake = small_lake(tmp_path / "lake")
    lake.lake.set_ref("reports/demo", {"artifact": lake.named["metrics"].key, "metrics": lake.named["metrics"].key})
    lake.lake.set_ref("aligners/made", {"plugin_key": "0"})
    lake.lake.set_ref("weights/hubert", {"digest": lake.named["metrics"].digest, "folder": "hubert"})
    lake.lake.set_ref(f"retries/{lake.named['metrics'].key}", {"input_ids": ["a"]})
    return lake


def test_the_names_of_a_sound_lake_have_no_faults(small: SmallLake) -> None:
    assert {path.parent.name for path in (small.lake.root / "refs").rglob("*.json")} == {
        "corpora", "features", "aligners", "reports", "weights", "retries",
    }  # fmt: skip
    assert verify(small.lake) == []


def as_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def binary(path: Path) -> None:
    path.write_bytes(b'{"plugin_key":"\xff"}')


def dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent / "elsewhere")


def written(text: str) -> Callable[[Path], Any]:
    return lambda path: path.write_text(text)


def having(**fields: Any) -> Callable[[Path], Any]:
    """A field with another value, or without it where that is None."""

    def change(path: Path) -> None:
        value = json.loads(path.read_bytes()) | fields
        path.write_text(json.dumps({name: inner for name, inner in value.items() if inner is not None}))

    return change


UNREADABLE: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "a folder": ("corpora/main", as_a_folder, "IsADirectoryError: "),
    "a link to nowhere": ("corpora/main", dangling, "it is a link, which could lead out of the lake"),
    "empty": ("corpora/main", written(""), "JSONDecodeError: Expecting value"),
    "truncated": ("reports/demo", truncated, "JSONDecodeError: "),
    "no text": ("features/voice", binary, "UnicodeDecodeError: "),
    "a list": ("aligners/made", written("[]"), r"it holds no JSON object"),
    "a number for a path": ("corpora/main", having(root=5), "its field 'root' holds 5"),
    "a number for a folder": ("weights/hubert", having(folder=3), "its field 'folder' holds 3"),
    "text for digests": ("corpora/main", having(raw="abc"), "its field 'raw' holds \"abc\""),
    "numbers for digests": ("corpora/main", having(utterances=[1]), r"its field 'utterances' holds \[1\]"),
    "a number for a key": ("features/voice", having(plugin_key=5), "its field 'plugin_key' holds 5"),
    "a list for a key": ("reports/demo", having(artifact=["x"]), "its field 'artifact' holds"),
}


def ref_of(small: SmallLake, name: str) -> Path:
    (path,) = (small.lake.root / "refs").glob(f"{name}.json")
    return path


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_cannot_be_read_is_named_and_refused_by_all_who_read_it(small: SmallLake, case: str) -> None:
    name, damage, why = UNREADABLE[case]
    path = ref_of(small, name)
    damage(path)
    (fault,) = verify(small.lake)
    sentence = rf"{re.escape(str(path))} cannot be read \({why}.*\): delete it, and the next run writes it again"
    assert (fault.key, list(fault.taints)) == (f"refs/{name}", []) and re.fullmatch(sentence, fault.problem)
    for ask in (lambda: read_ref(path), lambda: small.lake.refs(name.partition("/")[0])):
        with pytest.raises(UnreadableRef, match=sentence):
            ask()


@pytest.mark.parametrize(
    ("name", "damage", "problem"),
    [
        ("corpora/main", having(labels=["f" * 64]), "its labels ffffffffffff are not in the lake: ingest 'main' again"),
        ("reports/demo", having(artifact="f" * 32), "its artifact ffffffffffff is not in the lake: run 'demo' again"),
        ("reports/demo", having(metrics="f" * 32), "its metrics ffffffffffff is not in the lake: run 'demo' again"),
        ("weights/hubert", having(digest="f" * 64),
         "its digest ffffffffffff is not in the lake: delete PATH, and the next run writes it again"),
        ("corpora/main", having(raw=None), "its field 'raw' is missing: delete PATH, and the next run writes it again"),
    ],
)  # fmt: skip
def test_what_points_at_nothing_is_named(
    small: SmallLake, name: str, damage: Callable[[Path], Any], problem: str
) -> None:
    path = ref_of(small, name)
    damage(path)
    (fault,) = verify(small.lake)
    assert (fault.key, fault.problem) == (f"refs/{name}", problem.replace("PATH", str(path)))


def test_a_name_of_what_was_damaged_or_lost_is_a_fault_of_its_own(small: SmallLake) -> None:
    lost = small.named["labels main"]
    (lost.folder / "manifest.json").unlink()
    assert {fault.key for fault in verify(Warehouse(small.lake.root))} >= {"refs/corpora/main"}


def test_each_damaged_name_is_named(small: SmallLake) -> None:
    for path in (small.lake.root / "refs").rglob("*.json"):
        path.write_text("{")
    names = {path.relative_to(small.lake.root).with_suffix("").as_posix()
             for path in (small.lake.root / "refs").rglob("*.json")}  # fmt: skip
    assert {name for name, _ in ref_faults(small.lake.root, (), ())} == names


def test_the_root_of_what_was_made_in_a_lake_moves_with_it(tmp_path: Path) -> None:
    for lake in (tmp_path, tmp_path / "moved"):
        assert corpus_root(lake, {"root": "artifacts"}) == lake / "artifacts"
        assert corpus_root(lake, {"root": "/corpora/meld"}) == Path("/corpora/meld")


def test_what_is_being_written_is_no_name_yet(small: SmallLake) -> None:
    (small.lake.root / "refs" / "corpora" / ".main.json.host-1-abc").write_text("{")
    assert verify(small.lake) == []


def test_failures_that_are_tried_again_are_of_an_artifact_that_is_there(small: SmallLake) -> None:
    small.lake.set_ref("retries/" + "f" * 32, {"input_ids": ["a"]})
    [(name, problem)] = ref_faults(small.lake.root, {a.digest for a in small.lake.artifacts()},
                                   {a.key for a in small.lake.artifacts()})  # fmt: skip
    assert name == "refs/retries/" + "f" * 32
    assert re.fullmatch(r"it is about an artifact that is not in the lake: delete .*\.json", problem)
