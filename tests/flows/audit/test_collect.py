"""What nothing reaches goes, and what is wanted stays: after it, the lake is sound and no recipe has anything to do."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from features.extract import extract
from flows.audit.collect import Garbage, collect, garbage
from flows.line import Line
from flows.plan import is_done, plan
from flows.recipe import read_recipe
from tests.flows.audit.little import Little, flip, little_copy, rewritten
from tests.flows.killing import HERE
from tests.flows.wholly import Wholly
from tests.sparing import first
from warehouse import Artifact, Request, Warehouse
from warehouse.artifact import MANIFEST
from warehouse.audit.errors import LakeAtWork, ReachUnknown
from warehouse.audit.verify import verify
from warehouse.compaction import merge, merge_of
from warehouse.errors import UnreadableManifest, UnreadableRef
from warehouse.marker import MARKER, id_of


def found(little: Little, **how: Any) -> Garbage:
    return garbage(little.setup(), **{"hours": 0, **how})


def keys(garbage: Garbage) -> set[str]:
    return {artifact.key for artifact in garbage.artifacts}


def has_nothing_to_do(little: Little) -> bool:
    warehouse = Warehouse(little.warehouse.root)
    assert verify(warehouse) == []
    return is_done(plan(read_recipe(little.recipe), warehouse, little.roots))


Aged = tuple[Little, dict[str, Artifact]]


@pytest.fixture(scope="module")
def grown(whole: Little, tmp_path_factory: pytest.TempPathFactory) -> Little:
    """The little lake after a recipe with another extractor under the same name ran in it, and then the first again."""
    folder = tmp_path_factory.mktemp("grown")
    grown = little_copy(whole, folder / "lake")
    for path in (other_recipe(whole, folder), whole.recipe):
        Line(read_recipe(path), grown.warehouse, grown.roots, Wholly(grown.warehouse)).run()
    return grown


@pytest.fixture
def aged(grown: Little, whole: Little, tmp_path: Path) -> Aged:
    """A copy of it, and what only the other recipe made."""
    little, before = little_copy(grown, tmp_path / "lake"), {a.key for a in whole.warehouse.artifacts()}
    return little, {a.key: a for a in little.warehouse.artifacts() if a.key not in before}


def other_recipe(little: Little, folder: Path) -> Path:
    text = little.recipe.read_text(encoding="utf-8")
    other = folder / "other.toml"
    other.write_text(text.replace("eGeMAPSv02", "GeMAPSv01b").replace("n_mfcc = 13", "n_mfcc = 20"), encoding="utf-8")
    return other


def test_of_a_lake_whose_recipe_has_just_run_nothing_goes(little: Little) -> None:
    """Also not what is in no report: the frames that no model reads."""
    assert found(little).artifacts == [] and found(little).remarks == []


def test_what_only_an_earlier_form_of_a_recipe_made_goes_and_its_plan_finds_all_the_rest(
    aged: Aged, whole: Little
) -> None:
    little, old = aged
    assert {a.request.kind for a in old.values()} >= {"features", "shards", "checkpoint", "report"}
    canaries = {a.key for a in old.values() if "canary" in a.request.kind}
    rubbish = found(little)
    assert keys(rubbish) == old.keys() - canaries
    assert rubbish.n_bytes == sum(a.n_bytes for key, a in old.items() if key not in canaries)
    assert collect(little.warehouse, rubbish) == len(rubbish.artifacts)
    assert id_of((little.warehouse.root / MARKER).read_bytes()), "copies of what it was know that they are old"
    assert has_nothing_to_do(little)
    left = {a.key: a.digest for a in Warehouse(little.warehouse.root).artifacts() if a.key not in canaries}
    assert left == {a.key: a.digest for a in whole.warehouse.artifacts()}
    assert found(little).artifacts == []


def test_the_raw_files_and_the_recipe_need_not_be_there(aged: Aged, tmp_path: Path) -> None:
    little, old = aged
    away = garbage(little.setup(tones=tmp_path / "not mounted"), hours=0)
    assert away.remarks == [] and keys(away) == keys(found(little)) and keys(away) < old.keys()


def test_what_is_young_stays_with_all_that_it_rests_on(aged: Aged) -> None:
    little, old = aged
    assert found(little, hours=24).artifacts == []
    tomorrow = datetime.now(UTC) + timedelta(hours=25)
    assert keys(found(little, hours=24, now=tomorrow)) == keys(found(little)) != set()
    shards = next(a for a in old.values() if a.request.kind == "shards")
    new = little.warehouse.materialize(Request("made", "new", 1, {}, {"shards": (shards.digest,)}), text)
    moment = datetime.fromisoformat(new.created_at)
    spared = found(little, hours=24, now=moment + timedelta(hours=24) - timedelta(milliseconds=1))
    features = {a.key for a in old.values() if a.digest in shards.request.inputs["features"]}
    assert keys(found(little)) - keys(spared) >= {new.key, shards.key} | features


def text(folder: Path) -> None:
    (folder / "x").write_text("x")


def test_what_is_named_stays(aged: Aged, tmp_path: Path) -> None:
    (little, old), other = aged, other_recipe(aged[0], tmp_path)
    report = next(a for a in old.values() if a.request.kind == "report")
    spared = found(little, keep=[report.key[:12]])
    assert {a.request.kind for a in spared.artifacts} == {"features"}  # the frames, which are in no report
    assert found(little, named=[str(other)]).artifacts == []  # and the last report's stays too
    renamed = other.read_text(encoding="utf-8").replace('"little"', '"other"')
    (tmp_path / "third.toml").write_text(renamed, encoding="utf-8")
    left = found(little, named=[str(tmp_path / "third.toml")]).artifacts
    assert {a.request.kind for a in left} == {"report"}  # whose text has another name


def test_rows_of_a_recipe_that_is_under_way_stay(little: Little, tmp_path: Path) -> None:
    """Whose rows are there but not all, so that no name stands for them yet."""
    made = extract(little.warehouse, "mfcc", ["tones"], n_mfcc=7)
    assert keys(found(little)) == {a.key for a in made}
    recipe = tmp_path / "way.toml"
    words = little.recipe.read_text(encoding="utf-8").replace('"little"', '"way"').replace("n_mfcc = 13", "n_mfcc = 7")
    recipe.write_text(words, encoding="utf-8")
    assert found(little, named=[str(recipe)]).artifacts == []


def test_what_was_cited_meanwhile_is_put_back(aged: Aged) -> None:
    little, old = aged
    rubbish = found(little)
    shards = next(a for a in old.values() if a.request.kind == "shards")
    little.warehouse.materialize(Request("made", "new", 1, {}, {"shards": (shards.digest,)}), text)
    assert 0 < collect(little.warehouse, rubbish) < len(rubbish.artifacts)
    assert has_nothing_to_do(little)


@pytest.mark.parametrize("every", first(1, [15, 4]))
def test_killed_at_any_moment_it_leaves_a_sound_lake(
    aged: Aged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    little, rename, n_left = aged[0], os.rename, 0

    def dying(source: Any, target: Any) -> None:
        nonlocal n_left
        if n_left == 0:
            raise KeyboardInterrupt
        n_left -= 1
        rename(source, target)

    for n_renames in range(0, len(found(little).artifacts), every):
        copy = little_copy(little, tmp_path / str(n_renames))
        n_left = n_renames
        monkeypatch.setattr(os, "rename", dying)
        with pytest.raises(KeyboardInterrupt):
            collect(copy.warehouse, found(copy))
        monkeypatch.undo()
        assert verify(Warehouse(copy.warehouse.root), deep=False) == []
        collect(copy.warehouse, found(copy))
        assert has_nothing_to_do(copy)
        shutil.rmtree(copy.warehouse.root)


def test_what_a_killed_process_left_is_completed_by_the_next_call(aged: Aged, tmp_path: Path) -> None:
    """Killed for good between two renames, the first of which it has done."""
    once, killed = (little_copy(aged[0], tmp_path / name) for name in ("once", "killed"))
    assert collect(once.warehouse, found(once)) > 1
    child = subprocess.run([sys.executable, "-c", _KILLED, killed.warehouse.root], cwd=HERE)
    assert child.returncode == 9
    (left,) = (killed.warehouse.root / ".scratch").iterdir()
    assert len(list(left.iterdir())) == 1, "aside, and not yet gone"
    collect(Warehouse(killed.warehouse.root), found(killed))
    assert _what_is_there(killed) == _what_is_there(once) and has_nothing_to_do(killed)


_KILLED = """
import os, sys
from pathlib import Path
from flows.audit.collect import collect, garbage
from flows.run import Setup
from warehouse import Warehouse
from warehouse.artifact import MANIFEST

lake, rename, renamed = Path(sys.argv[1]), os.rename, []
rubbish = garbage(Setup(lake, {}, "cpu", 1), hours=0)

def dying(source, target):
    if renamed:
        os._exit(9)
    renamed.append(target)
    rename(source, target)

os.rename = dying
collect(Warehouse(lake), rubbish)
"""


def _what_is_there(little: Little) -> set[str]:
    root = little.warehouse.root
    names = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return {name for name in names if not name.startswith(".cache/")}


def test_small_ones_stay_while_what_holds_their_rows_is_young(little: Little) -> None:
    small = little.warehouse.artifacts("features")[0]
    made = merge(little.warehouse, merge_of([small]))
    moment = datetime.fromisoformat(made.created_at)
    for later in (timedelta(hours=24) - timedelta(milliseconds=1), timedelta(hours=24)):
        goes = keys(found(little, hours=24, now=moment + later))
        assert goes == (set() if later < timedelta(hours=24) else {small.key}), later


def other_date(path: Path) -> None:
    """An edit that leaves a manifest well-formed."""
    rewritten(path, path.read_bytes().replace(b'"created_at":"2', b'"created_at":"1'))


@pytest.mark.parametrize(("file", "damage"), [("features.parquet", flip), (MANIFEST, other_date)])
def test_small_ones_stay_while_what_holds_their_rows_is_damaged(
    little: Little, file: str, damage: Callable[[Path], object]
) -> None:
    """And only they: they are the last copies of their rows. A bit may turn where no time of change tells of it."""
    small, other = little.warehouse.artifacts("features")[:2]
    made, _ = (merge(little.warehouse, merge_of([one])) for one in (small, other))
    rubbish = found(little)
    assert keys(rubbish) == {small.key, other.key} and rubbish.remarks == []
    sound = (made.folder / file).read_bytes()
    damage(made.folder / file)
    told: list[str] = []
    assert collect(little.warehouse, rubbish, told=told.append) == 1
    assert small.folder.exists() and not other.folder.exists()
    why = f"1 small artifacts that merged features/{made.key} was made of are kept, for it is damaged"
    assert told == [f"{why}: see `emolake verify`"]
    rewritten(made.folder / file, sound)
    assert collect(little.warehouse, rubbish, told=told.append) == 1 and len(told) == 1 and has_nothing_to_do(little)


def test_all_stays_where_it_cannot_be_told_what_is_cited(little: Little) -> None:
    small = little.warehouse.artifacts("features")[0]
    made = merge(little.warehouse, merge_of([small]))
    rubbish, before = found(little), _what_is_there(little)
    sound = (made.folder / MANIFEST).read_bytes()
    rewritten(made.folder / MANIFEST, sound[:-1])
    rubbish = replace(rubbish, read={})  # what holds its rows is sound when it is looked at
    with pytest.raises(UnreadableManifest):
        collect(little.warehouse, rubbish)
    rewritten(made.folder / MANIFEST, sound)
    assert _what_is_there(little) == before and verify(little.warehouse) == []


def test_leftovers_of_fits_that_nobody_goes_on_with_go(aged: Aged) -> None:
    little, old = aged
    root, done = little.warehouse.root, next(a for a in little.warehouse.artifacts("checkpoint") if a.key not in old)
    goes = next(a for a in old.values() if a.request.kind == "checkpoint")
    for name in (".resume", ".logs"):
        for key in (done.key, goes.key, "f" * 32):
            (root / name / key).mkdir(parents=True)
            (root / name / key / "state").write_text("x")
    (root / ".logs" / "runs" / "some").mkdir(parents=True)
    (root / ".scratch").mkdir(exist_ok=True)
    (root / ".scratch" / "elsewhere-1-abc").mkdir()
    young = found(little, hours=24)
    assert {path.relative_to(root).as_posix() for path in young.leftovers} == {
        f".resume/{done.key}", f".resume/{goes.key}"
    }  # fmt: skip
    assert young.artifacts == []
    rubbish = found(little)
    left = {path.relative_to(root).as_posix() for path in rubbish.leftovers}
    assert left == {f".resume/{key}" for key in (done.key, goes.key, "f" * 32)} | {
        f".logs/{goes.key}", f".logs/{'f' * 32}", ".scratch/elsewhere-1-abc",
    }  # fmt: skip
    collect(little.warehouse, rubbish)
    assert {path.name for path in (root / ".logs").iterdir()} == {done.key, "runs"}
    assert not any((root / ".resume").iterdir()) and not any((root / ".scratch").iterdir())


def test_nothing_goes_while_something_is_being_made(little: Little) -> None:
    """Also not what it writes; what another host left long ago does not count."""
    (made,) = extract(little.warehouse, "mfcc", ["tones"], n_mfcc=7)
    scratch, state = little.warehouse.root / ".scratch", little.warehouse.root / ".resume" / ("f" * 32)
    living, dead = scratch / f"{socket.gethostname()}-{os.getppid()}-abc", scratch / "elsewhere-1-abc"
    for folder in (living, dead, state):
        folder.mkdir(parents=True)
    rubbish = found(little)
    assert set(rubbish.leftovers) == {dead, state} and keys(rubbish) == {made.key}
    with pytest.raises(LakeAtWork, match=f"something is being made in this lake \\({living.name} in "):
        collect(little.warehouse, rubbish)
    assert made.folder.is_dir() and state.is_dir() and living.is_dir()
    living.rmdir()
    assert collect(little.warehouse, rubbish) == 1
    assert not made.folder.exists() and not state.exists() and not dead.exists()


def test_leftovers_may_vanish_while_they_are_looked_at(little: Little, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes them is at work."""
    state = little.warehouse.root / ".resume" / ("f" * 32)
    (state / "gone").mkdir(parents=True)
    (state / "left").write_text("xyz")
    lstat = Path.lstat

    def vanishing(path: Path) -> os.stat_result:
        if path.name == "gone" and path.exists():
            path.rmdir()
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", vanishing)
    rubbish = found(little)
    assert rubbish.leftovers == [state] and not (state / "gone").exists()
    (state / "gone").mkdir()
    assert rubbish.n_bytes == 3 and not (state / "gone").exists()
    shutil.rmtree(state)
    assert rubbish.n_bytes == 0 and collect(little.warehouse, rubbish) == 0


def test_a_leftover_that_vanishes_whole_is_none(little: Little, monkeypatch: pytest.MonkeyPatch) -> None:
    state = little.warehouse.root / ".resume" / ("f" * 32)
    state.mkdir(parents=True)
    lstat = Path.lstat

    def vanishing(path: Path) -> os.stat_result:
        if path == state and path.exists():
            path.rmdir()
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", vanishing)
    assert found(little).leftovers == []


def test_states_of_a_fit_that_a_recipe_asks_for_stay(little: Little) -> None:
    """It was ended; the same command goes on from there."""
    fit = little.warehouse.artifacts("checkpoint")[0]
    shutil.rmtree(fit.folder)
    state = little.warehouse.root / ".resume" / fit.key
    state.mkdir(parents=True)
    assert found(little).leftovers == []


def test_what_is_wanted_must_be_known(aged: Aged) -> None:
    little, _ = aged
    report = next(a for a in little.warehouse.artifacts("report") if a.key == reports(little)["artifact"])
    params = {**report.request.params, "recipe": "name = 'little'\n"}
    bad = little.warehouse.materialize(Request("report", "flows.report", 2, params, report.request.inputs), text)
    little.warehouse.set_ref("reports/little", {"artifact": bad.key, "metrics": reports(little)["metrics"]})
    rubbish = found(little)
    (remark,) = rubbish.remarks
    assert remark.startswith("the recipe 'little' cannot be read from its report any more (recipe 'little'")
    assert remark.endswith("name it with --recipe")
    with pytest.raises(
        ReachUnknown, match=r"nothing is taken away, for what is still wanted in .*: put that right, or"
    ):
        collect(little.warehouse, rubbish)
    assert found(little, named=[str(little.recipe)]).remarks == []


def test_what_is_reached_by_way_of_something_lost_or_damaged_is_no_garbage(little: Little) -> None:
    """Without its fits a report reaches no shards; without its report a lake knows no recipe."""
    extract(little.warehouse, "mfcc", ["tones"], n_mfcc=7)
    fit, root = little.warehouse.artifacts("checkpoint")[0], little.warehouse.root
    fit.folder.rename(root / "elsewhere")
    rubbish = found(little)
    assert rubbish.remarks[0].startswith("the lake is not sound, see `emolake verify`: ")
    with pytest.raises(ReachUnknown, match="is not in the lake"):
        collect(little.warehouse, rubbish)
    (root / "elsewhere").rename(fit.folder)
    report = little.warehouse.artifacts("report")[0]
    (root / ".damaged" / "report").mkdir(parents=True)
    shutil.copytree(report.folder, root / ".damaged" / "report" / report.key)
    with pytest.raises(ReachUnknown, match=r"damaged artifacts lie in .*\.damaged: repair them or delete them"):
        collect(little.warehouse, found(little))
    shutil.rmtree(root / ".damaged")
    assert collect(little.warehouse, found(little)) == 1


def reports(little: Little) -> dict[str, Any]:
    return little.warehouse.ref("reports/little") or {}


def test_a_damaged_lake_is_refused(little: Little) -> None:
    manifest = little.warehouse.artifacts("split")[0].folder / "manifest.json"
    flip(manifest)
    content = manifest.read_bytes()
    manifest.write_bytes(content[:-3])
    with pytest.raises(UnreadableManifest):
        found(little)
    shutil.rmtree(manifest.parent)
    (little.warehouse.root / "refs" / "corpora" / "tones.json").unlink()
    (little.warehouse.root / "refs" / "corpora" / "tones.json").write_text("{")
    with pytest.raises(UnreadableRef):
        found(little)
