"""Libraries move or they do not, and with them the numbers: where the rows lie then, and what is said of it."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from features import canary, inventory
from features.canary import Verdict, awaited, canary_work, drift_of, environment, settled, verdict_of
from features.plugin import Clip, FeatureSpec
from warehouse import Artifact, Warehouse
from warehouse.errors import Untreatable

STEP = "extractors.wobbly"


class Library:
    """A library of which two versions may give other numbers."""

    version = "1.0"
    gain = 1.0
    n_columns = 2
    refuses = ""
    calls: ClassVar[list[str]] = []


@dataclasses.dataclass(frozen=True)
class Wobbly:
    """The mean loudness and the largest value, by means of the library."""

    version: ClassVar[int] = 1
    needs: ClassVar[str] = "audio"
    libraries: ClassVar[tuple[str, ...]] = ("wobble",)
    tolerance: ClassVar[float] = 1e-3
    offset: float = 0.0

    def outputs(self) -> Mapping[str, FeatureSpec]:
        names = ("mean", "most", "more")[: Library.n_columns]
        return {"vector": FeatureSpec("utterance", ("dim",), len(names), names=names)}

    def load(self, device: str) -> Callable[[Sequence[Clip]], Sequence[Mapping[str, np.ndarray]]]:
        def run(clips: Sequence[Clip]) -> list[dict[str, np.ndarray]]:
            return [self._row(clip) for clip in clips]

        return run

    def _row(self, clip: Clip) -> dict[str, np.ndarray]:
        assert clip.wave is not None
        if clip.input_id == Library.refuses:
            raise Untreatable("not this one")
        Library.calls.append(clip.input_id)
        values = [np.abs(clip.wave).mean() * Library.gain, clip.wave.max(), 0][: Library.n_columns]
        return {"vector": np.array(values, np.float32)}


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: Library.version if name == "wobble" else real(name))
    for name, value in (("version", "1.0"), ("gain", 1.0), ("n_columns", 2), ("refuses", "")):
        monkeypatch.setattr(Library, name, value)
    Library.calls.clear()


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


def ran(lake: Warehouse, plugin: Any = None, **library: Any) -> Artifact:
    """The canary of the library as it is set now."""
    for name, value in library.items():
        setattr(Library, name, value)
    return lake.perform(canary_work(lake, STEP, plugin or Wobbly()))


def test_a_known_environment_runs_nothing(lake: Warehouse) -> None:
    first = ran(lake)
    assert Library.calls == ["tones", "noise", "pulses"]
    assert ran(lake).key == first.key and len(Library.calls) == 3
    assert verdict_of(first) == Verdict(tolerance=1e-3, promised=verdict_of(first).promised)
    assert settled(Wobbly(), first) == Wobbly() and inventory.row_key(STEP, settled(Wobbly(), first)) == _base()


def _base() -> str:
    return inventory.row_key(STEP, Wobbly())


def test_a_library_that_moves_and_changes_nothing_costs_one_canary(lake: Warehouse) -> None:
    first = ran(lake)
    second = ran(lake, version="2.0", gain=1.0001)
    verdict = verdict_of(second)
    assert verdict.namespace == "" and verdict.reference == first.key and verdict.sentence == ""
    assert verdict.moved == {"wobble": ("1.0", "2.0")}
    assert verdict.drift == pytest.approx(1e-4, rel=0.01) and verdict.where.startswith("'vector' (mean, clip '")
    assert inventory.row_key(STEP, settled(Wobbly(), second)) == _base()
    assert ran(lake).key == second.key and len(Library.calls) == 6


def test_drift_forks_the_namespace_and_names_the_library_and_the_size(lake: Warehouse) -> None:
    ran(lake)
    forked = settled(Wobbly(), drifted := ran(lake, version="2.0", gain=1.25))
    assert inventory.row_key(STEP, forked) != _base()
    assert inventory.row_identity(STEP, forked) == inventory.row_identity(STEP, Wobbly()) | {
        "canary": verdict_of(drifted).namespace
    }
    assert verdict_of(drifted).sentence == (
        "wobble 1.0 → 2.0 moved 'vector' (mean, clip 'tones') by 0.25 of its scale (0.001 is allowed): "
        "its rows are kept apart from those made before"
    )
    assert forked == Wobbly(), "a fork is no field"
    assert settled(Wobbly(), ran(lake, version="1.0", gain=1.0)) == Wobbly()
    assert inventory.row_key(STEP, settled(Wobbly(), ran(lake))) == _base(), "back with the old library, back home"


def test_a_later_environment_joins_the_fork_that_it_agrees_with(lake: Warehouse) -> None:
    ran(lake)
    second = ran(lake, version="2.0", gain=1.25)
    joined = ran(lake, version="2.1", gain=1.2501)
    other = ran(lake, version="3.0", gain=1.5)
    again = ran(lake, version="3.1", gain=1.2499)
    home = ran(lake, version="4.0", gain=1.0002)
    names = [verdict_of(a).namespace for a in (second, joined, other, again, home)]
    assert names[0] == names[1] == names[3] != names[2] and names[4] == ""
    assert verdict_of(joined).moved == {"wobble": ("1.0", "2.1")}, "compared with the first"


def test_every_library_that_moved_is_named(lake: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    ran(lake)
    before = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "99" if name == "soxr" else before(name))
    assert list(verdict_of(ran(lake, version="2.0", gain=2.0)).moved) == ["soxr", "wobble"]
    verdict = Verdict("x", "y", {"b": ("1", "2"), "a": ("3", "none")}, 0.5, "'v'", 0.1)
    assert verdict.sentence.startswith("a 3 → none, b 1 → 2 moved 'v' by 0.5 of its scale (0.1 is allowed)")


def test_other_shapes_and_other_promises_are_drift_without_a_size(lake: Warehouse) -> None:
    ran(lake)
    wider = verdict_of(ran(lake, version="2.0", n_columns=3))
    assert (wider.drift, wider.where) == (None, "'vector'") and wider.namespace
    assert "moved 'vector' into another shape: its rows" in wider.sentence
    json.loads((ran(lake).path("verdict.json")).read_text())
    assert verdict_of(ran(lake, version="2.1")).namespace == wider.namespace, "a fork has forks' promises"


def test_a_clip_that_is_refused_only_now_is_drift(lake: Warehouse) -> None:
    ran(lake)
    verdict = verdict_of(ran(lake, version="2.0", refuses="noise"))
    assert (verdict.drift, verdict.where) == (None, "'vector' (clip 'noise')")
    assert verdict.refused == {"noise": "not this one"}
    assert verdict_of(ran(lake, version="2.1")).namespace == verdict.namespace, "what both refuse agrees"


def test_a_fault_is_no_number_and_leaves_no_canary(lake: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Wobbly, "_row", fault)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        ran(lake)
    monkeypatch.setattr(Wobbly, "_row", lambda *_: [][0])
    with pytest.raises(IndexError):
        ran(lake)
    assert lake.artifacts("canary") == []


def test_each_extractor_has_its_own_history(lake: Warehouse) -> None:
    ran(lake)
    ran(lake, version="2.0", gain=2.0)
    assert verdict_of(ran(lake, Wobbly(offset=1.0))).reference == "", "its first: nothing to compare with"


def test_a_canary_that_has_not_run_is_awaited_unless_it_will_be_the_first(lake: Warehouse) -> None:
    request = canary_work(lake, STEP, Wobbly()).request
    assert awaited(lake, request) is None
    ran(lake)
    Library.version = "2.0"
    assert awaited(lake, canary_work(lake, STEP, Wobbly()).request) == {"wobble": ("1.0", "2.0")}


def test_a_canary_that_is_stopped_leaves_nothing(lake: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(canary, "_judged", stopped)
    with pytest.raises(KeyboardInterrupt):
        ran(lake)
    assert lake.artifacts() == [] and list((lake.root / ".scratch").iterdir()) == []
    monkeypatch.undo()
    assert verdict_of(ran(lake)).namespace == ""


def test_what_hears_depends_on_decoders_and_only_what_computes_with_torch_on_the_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = environment(Wobbly(), "cuda")
    assert own["device"] == "cpu" and set(own["libraries"]) == {"av", "numpy", "soundfile", "soxr", "wobble"}

    class Reads(Wobbly):
        needs: ClassVar[str] = "text"
        libraries: ClassVar[tuple[str, ...]] = ("torch", "nowhere")

    libraries = environment(Reads(), "cuda")["libraries"]
    assert environment(Reads(), "cuda")["device"] == "cuda" and set(libraries) == {"nowhere", "numpy", "torch"}
    assert libraries["nowhere"] == "none"
    monkeypatch.setattr(canary, "device_of", lambda device: f"the best of {device}")
    assert environment(Reads(), "auto")["device"] == "the best of auto"


# -- how large a change is -------------------------------------------------------------------------------------------

FRAMES = {"frames": FeatureSpec("frame", ("frame", "dim"), 2, hop_s=0.01, names=("loud", "faint"))}


def test_each_dimension_has_its_own_scale() -> None:
    reference = {("a", "frames"): np.array([[1000, 0.1], [-2000, 0.0]], np.float32)}
    changed = {("a", "frames"): np.array([[1000, 0.1], [-2000, 0.05]], np.float32)}
    drift, where = drift_of(reference, changed, FRAMES)
    assert where == "'frames' (faint, clip 'a')"
    assert drift == pytest.approx(0.05 / 0.1)
    assert drift_of(reference, reference, FRAMES) == (0.0, "")
    hush = {("a", "frames"): np.array([[2000, 0.0]], np.float32)}
    noise = {("a", "frames"): np.array([[2000, 0.0005]], np.float32)}
    faintest = 2000 * canary.FAINTEST
    assert drift_of(hush, noise, FRAMES)[0] == pytest.approx(0.0005 / faintest), "silence has a scale too"


@pytest.mark.parametrize("loudest", [1.0, 1e11])
def test_one_enormous_dimension_hides_no_other(loudest: float) -> None:
    """As one of ComParE's functionals would."""
    sizes = np.array([*np.geomspace(1e-3, 1e3, 30), loudest])
    spec = {"vector": FeatureSpec("utterance", ("dim",), 31, names=tuple(f"d{n}" for n in range(31)))}
    for dimension in range(31):
        moved = sizes.copy()
        moved[dimension] *= 1.1
        drift, where = drift_of({("a", "vector"): sizes}, {("a", "vector"): moved}, spec)
        assert drift == pytest.approx(0.1, rel=1e-6) and where == f"'vector' (d{dimension}, clip 'a')"


def test_a_wave_has_one_scale_and_layers_are_steps() -> None:
    wave = {"wave": FeatureSpec("sample", ("sample",), 1, "int16", hop_s=1 / 16_000)}
    one, other = np.array([0, -32_768], np.int16), np.array([1, 32_767], np.int16)
    assert drift_of({("a", "wave"): one}, {("a", "wave"): other}, wave)[0] == pytest.approx(65_535 / 32_768)
    hidden = {"hidden": FeatureSpec("token", ("layer", "token", "dim"), 2)}
    ones = np.ones((3, 4, 2), np.float16)
    moved = ones.copy()
    moved[2, 1, 1] = 1.5
    assert drift_of({("a", "hidden"): ones}, {("a", "hidden"): moved}, hidden) == (0.5, "'hidden' (clip 'a')")
    assert drift_of({("a", "hidden"): ones}, {("a", "hidden"): ones[1:]}, hidden)[0] == np.inf
    zeros = {("a", "hidden"): np.zeros((1, 1, 2), np.float32)}
    assert drift_of(zeros, {("a", "hidden"): np.full((1, 1, 2), 0.25, np.float32)}, hidden)[0] == 0.25
    nothing = {("a", "hidden"): np.zeros((1, 0, 2), np.float32)}
    assert drift_of(nothing, nothing, hidden) == (0.0, "")


# -- two at once -------------------------------------------------------------------------------------------------------


def both_at_once(lake: Warehouse, monkeypatch: pytest.MonkeyPatch, gain: float) -> tuple[Artifact, Artifact]:
    """Two environments that find no canary and run theirs: the second from beginning to end while the first, which
    gives numbers as large as `gain`, has its own and not yet looked for others."""
    guarded, faster = canary.guarded, []

    def meanwhile(*arguments: Any) -> list[Any]:
        monkeypatch.setattr(canary, "guarded", guarded)
        own = list(guarded(*arguments))
        faster.append(ran(lake, version="2.0", gain=1.0))
        return own

    monkeypatch.setattr(canary, "guarded", meanwhile)
    slower = ran(lake, gain=gain)
    return faster[0], slower


@pytest.mark.parametrize(("gain", "is_forked"), [(1.25, True), (1.0001, False)])
def test_of_two_that_are_the_first_at_once_one_is_compared_with_the_other(
    gain: float, is_forked: bool, lake: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    faster, slower = both_at_once(lake, monkeypatch, gain)
    assert verdict_of(faster).reference == "" and verdict_of(faster).namespace == ""
    assert verdict_of(slower).reference == faster.key and bool(verdict_of(slower).namespace) == is_forked
    assert verdict_of(slower).moved == {"wobble": ("2.0", "1.0")}


@pytest.mark.parametrize("gain", [1.25, 1.0001])
def test_of_two_that_find_no_other_at_once_the_second_to_commit_is_compared_with_the_first(
    gain: float, lake: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As above, but the second has looked for others already and found none."""
    reference, faster = canary._reference, []

    def meanwhile(*arguments: Any) -> Any:
        monkeypatch.setattr(canary, "_reference", reference)
        nobody = reference(*arguments)
        faster.append(ran(lake, version="2.0", gain=1.0))
        return nobody

    monkeypatch.setattr(canary, "_reference", meanwhile)
    slower = verdict_of(ran(lake, gain=gain))
    assert verdict_of(faster[0]).reference == "" and slower.reference == faster[0].key
    assert slower.drift == pytest.approx(gain - 1, rel=0.01) and bool(slower.namespace) == (gain > 1.001)
    later = verdict_of(ran(lake, version="3.0", gain=1.0))
    assert later.reference == faster[0].key and later.moved == {"wobble": ("2.0", "3.0")} and later.namespace == ""


def test_who_is_killed_between_its_numbers_and_its_verdict_is_the_first_still(
    lake: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: Any, **named: Any) -> None:
        write(*arguments, **named)
        raise KeyboardInterrupt

    write = canary.Warehouse.materialize
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        work = canary_work(lake, STEP, Wobbly())
        patched.setattr(canary.Warehouse, "materialize", killed)
        work.function and work.function(lake.root / ".scratch", **work.arguments)
    assert lake.artifacts("canary") == [] and len(lake.artifacts("first_canary")) == 1
    assert awaited(lake, work.request) is None, "its own numbers: nothing has moved"
    other = ran(lake, version="2.0", gain=1.25)
    assert verdict_of(other).reference == work.request.key and verdict_of(other).namespace
    assert verdict_of(ran(lake, version="1.0", gain=1.0)).reference == ""


def test_a_lake_without_first_canaries_compares_with_the_oldest(lake: Warehouse) -> None:
    first = ran(lake)
    shutil.rmtree(lake.root / "artifacts" / "first_canary")
    verdict = verdict_of(ran(Warehouse(lake.root), version="2.0", gain=1.25))
    assert verdict.reference == first.key and verdict.namespace
    assert Warehouse(lake.root).artifacts("first_canary") == []
