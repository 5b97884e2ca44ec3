"""Why an order is not answered."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from tests.warehouse.small_lake import SmallLake, small_lake
from tests.warehouse.test_artifact import REQUESTS
from warehouse import Artifact, Request, Warehouse
from warehouse.audit.why import ABSENT, differences, environment_differences, nearest, why
from warehouse.hashing import canonical_json


@pytest.fixture
def small(tmp_path: Path) -> SmallLake:
    return small_lake(tmp_path / "lake")


def put(lake: Warehouse, name: str, *inputs: Artifact, text: str | None = None, **params: Any) -> Artifact:
    request = Request("raw", name, 1, params, {"from": tuple(a.digest for a in inputs)})
    return lake.materialize(request, partial(write_text, text=text or name))


def write_text(folder: Path, text: str) -> None:
    (folder / "x").write_text(text)


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
def test_places_that_differ_have_other_canonical_json(one: Request, other: Request) -> None:
    def apart(a: Any, b: Any, where: str) -> list[str]:
        if isinstance(a, dict) and isinstance(b, dict):
            names = sorted(a.keys() | b.keys())
            inner = [apart(a.get(n, ABSENT), b.get(n, ABSENT), f"{where}.{n}" if where else n) for n in names]
            return [place for each in inner for place in each]
        return [] if a is not ABSENT and b is not ABSENT and canonical_json(a) == canonical_json(b) else [where]

    assert [d.where for d in differences(one, other)] == apart(one.as_json(), other.as_json(), "")


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


def test_the_nearest_is_that_of_whole_differences(lake: Warehouse) -> None:
    """Numbers of another type, places that are absent and lists that begin alike: each difference counts once."""
    fields: list[Any] = [1, 1.0, True, None, "1", [1, 2], [1, 2.0], [], {"x": 1}, {"x": 1.0, "y": [1]}, 0.0, -0.0]
    for n, one in enumerate(fields):
        request = Request("raw", "s", n % 3, {"a": one, f"b{n % 2}": one}, {"in": (str(n % 4),)})
        lake.materialize(request, partial(write_text, text=request.key))
    artifacts = lake.artifacts("raw")
    for n, one in enumerate(fields):
        asked = Request("raw", "s", n % 2, {"a": one, "b0": one}, {"in": ("1",), "other": ()})
        others = [a for a in reversed(artifacts) if a.key != asked.key]
        assert nearest(lake, asked) == min(others, key=lambda a: len(differences(asked, a.request)))


def test_environments_differ_in_what_is_recorded_of_interpreter_machine_and_libraries(small: SmallLake) -> None:
    one, other = small.named["voice main"], small.named["words main"]
    assert environment_differences(one, other) == [], "the seconds of work are no difference"
    then = dict(one.environment)
    then |= {"python": "3.9.1", "packages": {**then["packages"], "numpy": "1.0"} | {"gone": "2"}, "work_s": 99.0}
    found = {d.where: (d.asked, d.there) for d in environment_differences(replace(one, environment=then), other)}
    assert found == {
        "environment.python": ("3.9.1", one.environment["python"]),
        "environment.packages.numpy": ("1.0", one.environment["packages"]["numpy"]),
        "environment.packages.gone": ("2", ABSENT),
    }
