"""A damaged lake is made whole again from what is sound of it, or it is said what cannot be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows.audit.repair import repair, with_workers
from tests.flows.audit.little import Little, at_once, flip, rewritten
from warehouse import Artifact, Warehouse, Work
from warehouse.artifact import MANIFEST
from warehouse.audit.aside import ASIDE, Fate
from warehouse.audit.verify import verify
from warehouse.errors import MissingFolder, UnknownName
from warehouse.marker import MARKER, id_of


def mended(little: Little, answer: Any = None, named: Sequence[str] = (), **roots: Path) -> dict[str, Fate]:
    faults = verify(Warehouse(little.warehouse.root))
    made = answer or at_once(Warehouse(little.warehouse.root))
    return {fate.key: fate for fate in repair(little.setup(**roots), faults, made, named)}


def largest(artifact: Artifact) -> Path:
    return max((artifact.path(name) for name in artifact.files), key=lambda path: path.stat().st_size)


def identities(little: Little) -> dict[str, str]:
    return {a.key: a.digest for a in Warehouse(little.warehouse.root).artifacts()}


def outcomes(fates: dict[str, Fate]) -> set[str]:
    return {fate.outcome for fate in fates.values()}


def is_whole(little: Little, whole: Little) -> bool:
    faults = verify(Warehouse(little.warehouse.root))
    assert faults == []
    return identities(little) == identities(whole) and not (little.warehouse.root / ASIDE).exists()


def test_one_damage_of_every_kind_of_artifact_is_repaired(little: Little, whole: Little) -> None:
    kinds = {a.request.kind: a for a in little.warehouse.artifacts()}
    assert kinds.keys() >= {"raw", "utterances", "labels", "features", "canary", "first_canary", "split", "truth",
                            "shards", "checkpoint", "predictions", "metrics", "leakage", "report"}  # fmt: skip
    for artifact in kinds.values():
        flip(largest(artifact))
    fates = mended(little)
    assert id_of((little.warehouse.root / MARKER).read_bytes()), "copies of what it was know that they are old"
    assert {key for key, fate in fates.items() if fate.outcome == "repaired"} == {a.key for a in kinds.values()}
    assert {fate.told for fate in fates.values()} == {"made again, with the bytes it had"}
    assert is_whole(little, whole)
    assert mended(little) == {}


def test_every_way_of_damage_is_repaired(little: Little, whole: Little) -> None:
    found = iter(little.warehouse.artifacts("checkpoint") + little.warehouse.artifacts("predictions"))
    torn, gone, lost = next(found), next(found), next(found)
    rewritten(torn.folder / MANIFEST, (torn.folder / MANIFEST).read_bytes()[:-9])
    (gone.folder / MANIFEST).unlink()
    shutil.rmtree(lost.folder)
    moved = next(found)
    (moved.folder.parent.parent / "others").mkdir()
    moved.folder.rename(moved.folder.parent.parent / "others" / moved.key)
    renamed = next(found)
    renamed.folder.rename(renamed.folder.with_name("f" * 32))
    linked = little.warehouse.artifacts("shards")[0]
    linked.folder.rename(little.warehouse.root / "elsewhere")
    linked.folder.symlink_to(little.warehouse.root / "elsewhere")
    name = little.warehouse.root / "refs" / "features" / "frames.json"
    rewritten(name, b"{")
    fates = mended(little)
    assert outcomes(fates) == {"repaired"}
    assert fates[torn.key].told == "made again" and fates[gone.key].told == "made again"
    assert fates[lost.digest].told == "what was cited and nowhere is in the lake again"
    assert fates[moved.key].told == f"put back from artifacts/others/{moved.key}"
    assert fates[renamed.key].told == f"put back from artifacts/{renamed.request.kind}/{'f' * 32}"
    assert fates["refs/features/frames"].told == "written again"
    assert name.read_bytes() == (whole.warehouse.root / "refs" / "features" / "frames.json").read_bytes()
    assert is_whole(little, whole)


def test_what_should_not_be_there_is_moved_aside_and_kept(little: Little, whole: Little) -> None:
    folder = little.warehouse.artifacts("split")[0].folder
    (folder / "below").mkdir()
    (folder / "below" / "more.txt").write_text("mine")
    (folder.parent / "notes.txt").write_text("mine too")
    fates = mended(little)
    assert outcomes(fates) == {"moved aside"} and fates[folder.name].told == (
        f"'split/{folder.name}/below' is now below .damaged/extra"
    )  # fmt: skip
    extra = little.warehouse.root / ASIDE / "extra" / "split"
    assert (extra / folder.name / "below" / "more.txt").read_text() == "mine"
    assert (extra / "notes.txt").read_text() == "mine too"
    assert verify(Warehouse(little.warehouse.root)) == [] and identities(little) == identities(whole)


@pytest.mark.parametrize("step", ["extractors.mfcc", "extractors.opensmile"])
def test_without_raw_files_what_needs_them_is_named_and_the_rest_repaired(
    little: Little, whole: Little, tmp_path: Path, step: str
) -> None:
    """The model rests on openSMILE's rows and not on the others: then a fit can still be done again from its shards,
    but the line does not get as far as its metrics."""
    heard = next(a for a in little.warehouse.artifacts("features") if a.request.step == step)
    scored, fit = little.warehouse.artifacts("metrics")[0], little.warehouse.artifacts("checkpoint")[0]
    for artifact in (heard, scored, fit):
        flip(largest(artifact))
    away = tmp_path / "not mounted"
    fates = mended(little, tones=away)
    left = fates[heard.key]
    assert left.outcome == "not repaired"
    assert left.told == (
        f"{away}/0-angry.wav is not what was ingested (missing, or other bytes): run `emolake ingest` again; "
        "it lies in .damaged"
    )
    is_used = step == "extractors.opensmile"
    assert fates[fit.key].outcome == "repaired"
    assert fates[scored.key].outcome == ("not repaired" if is_used else "repaired")
    below = {whole.warehouse.artifacts(kind)[0].key for kind in ("shards", "checkpoint", "metrics", "report")}
    assert below <= set(left.taints) if is_used else not left.taints
    assert heard.key not in identities(little) and (little.warehouse.root / ASIDE / "features" / heard.key).is_dir()
    assert outcomes(mended(little)) == {"repaired"} and is_whole(little, whole)  # mounted again


def test_without_raw_files_a_reading_cannot_be_had_again(little: Little, whole: Little, tmp_path: Path) -> None:
    reading = little.warehouse.artifacts("utterances")[0]
    flip(largest(reading))
    away = tmp_path / "not mounted"
    (fate,) = mended(little, tones=away).values()
    assert fate.outcome == "not repaired"
    assert fate.told == (
        f"corpus 'tones' is not at {away}: say where it is with --root tones=FOLDER; it lies in .damaged"
    )
    assert {a.request.kind for a in whole.warehouse.artifacts() if a.key in fate.taints} >= {"checkpoint", "report"}


def test_a_killed_repair_goes_on_when_it_is_called_again(little: Little, whole: Little) -> None:
    for artifact in little.warehouse.artifacts():
        if artifact.request.kind in ("features", "split", "predictions"):
            flip(largest(artifact))
    n_works = 0

    def dying(works: Sequence[Work], bar: Any) -> Iterator[tuple[str, str]]:
        nonlocal n_works
        for work in works:
            n_works += 1
            if n_works % 2 == 0:
                raise KeyboardInterrupt
            yield from at_once(Warehouse(little.warehouse.root))([work], bar)

    for _ in range(20):
        try:
            fates = mended(little, dying)
        except KeyboardInterrupt:
            continue
        break
    assert outcomes(fates) == {"repaired"} and is_whole(little, whole) and n_works > 4


def test_other_bytes_stay_aside_and_are_named_with_what_rests_on_them(little: Little) -> None:
    victim = little.warehouse.artifacts("features")[0]
    before = json.loads((victim.folder / MANIFEST).read_bytes())
    flip(largest(victim))

    def copied(works: Sequence[Work], bar: Any) -> Iterator[tuple[str, str]]:
        """The damaged files themselves, as if a library had moved."""
        aside = little.warehouse.root / ASIDE / "features" / victim.key
        for work in works:
            little.warehouse.materialize(work.request, lambda folder: [
                shutil.copyfile(aside / name, folder / name) for name in before["files"]
            ])  # fmt: skip
        yield from ()

    fate = mended(little, copied)[victim.key]
    assert fate.outcome == "not repaired"
    assert fate.told == (
        "made again, but with other bytes (in an environment of the same libraries); it lies in .damaged"
    )
    kinds = {a.request.kind for a in little.warehouse.artifacts() if a.key in fate.taints}
    users = [a for a in little.warehouse.artifacts() if victim.digest in a.request.inputs.get("features", ())]
    assert ("report" in kinds) == bool(users)


def test_what_no_recipe_asks_for_is_said_to_be(little: Little, whole: Little) -> None:
    """Without its report the lake knows no recipe; named, the recipe makes the report as well."""
    (report,), (ref,) = little.warehouse.artifacts("report"), (little.warehouse.root / "refs" / "reports").glob("*")
    flip(largest(little.warehouse.artifacts("metrics")[0]))
    shutil.rmtree(report.folder)
    ref.unlink()
    (fate,) = mended(little).values()
    assert fate.told == (
        "no recipe that the lake remembers asks for it (`--recipe` names one; `emolake gc` lists what none reaches); "
        "it lies in .damaged"
    )
    fates = mended(little, named=[str(little.recipe)])
    assert outcomes(fates) == {"repaired"}
    assert verify(Warehouse(little.warehouse.root)) == []


def test_what_a_purge_rewrote_no_step_asks_for(little: Little, tmp_path: Path) -> None:
    """Whatever else went wrong is not the reason."""
    rows = little.warehouse.artifacts("features")[0].request
    request = replace(rows, params={**rows.params, "purged": ["one"]})
    flip(largest(little.warehouse.materialize(request, lambda folder: (folder / "x").write_text("x"))))
    for roots in ({}, {"tones": tmp_path / "not mounted"}):
        fate = mended(little, **roots)[request.key]
        assert fate.outcome == "not repaired" and fate.told == (
            "a purge rewrote it and no step asks for this request: a run makes again what is missing of it; "
            "it lies in .damaged"
        )


def test_a_recipe_that_cannot_be_read_stops_before_anything_is_touched(little: Little) -> None:
    flip(largest(little.warehouse.artifacts("metrics")[0]))
    with pytest.raises(UnknownName, match="no recipe 'litle'"):
        mended(little, named=["litle"])
    with pytest.raises(MissingFolder, match=r"the recipe is not at nowhere\.toml"):
        mended(little, named=["nowhere.toml"])
    assert not (little.warehouse.root / ASIDE).exists()


def test_what_the_code_would_make_otherwise_is_not_made(little: Little, monkeypatch: pytest.MonkeyPatch) -> None:
    """An extractor of another version is no repair."""
    from features.extractors.opensmile import OpenSmile

    fit = little.warehouse.artifacts("metrics")[0]
    flip(largest(fit))
    monkeypatch.setattr(OpenSmile, "version", OpenSmile.version + 1)
    before = len(little.warehouse.artifacts("features"))
    fate = mended(little)[fit.key]
    assert fate.outcome == "not repaired" and "would be made anew, which is no repair" in fate.told
    assert len(Warehouse(little.warehouse.root).artifacts("features")) == before


@pytest.mark.slow
def test_processes_make_what_is_missing(little: Little, whole: Little) -> None:
    for kind in ("features", "checkpoint"):
        flip(largest(little.warehouse.artifacts(kind)[0]))
    with with_workers(little.warehouse.root, 2, "cpu") as answer:
        assert outcomes(mended(little, answer)) == {"repaired"}
    assert is_whole(little, whole)
