"""The folder is the registry; fields are checked, and are the identity."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any, ClassVar, get_type_hints

import pytest

from warehouse.catalog import build, filled, identity, names, plugin_class, plugin_key
from warehouse.errors import InvalidField, UnknownField, UnknownName
from warehouse.hashing import short_digest

PITCH = """
    from __future__ import annotations
    from dataclasses import dataclass, field
    from typing import ClassVar, Literal

    @dataclass(frozen=True)
    class Helper:
        '''A dataclass without a version is no plug-in.'''
        x: int = 0

    @dataclass(frozen=True)
    class Pitch:
        version: ClassVar[int] = 3
        n_bins: int
        floor_hz: float = 60.0
        method: Literal["yin", "swipe"] = "yin"
        layers: tuple[int, ...] = ()
        weights: dict[str, float] = field(default_factory=dict)
"""
counter = itertools.count()


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package of invented plug-ins, importable under a name that no other test uses."""
    package = f"rooms{next(counter)}"
    folder = tmp_path / package / "extractors"
    folder.mkdir(parents=True)
    files = {"__init__": "", "pitch": PITCH, "glove": PITCH.replace("= 3", "= 1"), "empty": "X = 1"}
    files["two"] = PITCH + PITCH.replace("Pitch", "Second").replace("from __future__ import annotations", "")
    for name, text in files.items():
        (folder / f"{name}.py").write_text(dedent(text))
    (folder / "notes.txt").write_text("no plug-in")
    (folder.parent / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    yield f"{package}.extractors"
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        del sys.modules[name]


def test_a_file_is_found_by_being_there(room: str, tmp_path: Path) -> None:
    assert names(room) == ["empty", "glove", "pitch", "two"]
    folder = tmp_path / room.replace(".", "/")
    (folder / "zcr.py").write_text(dedent(PITCH))
    assert "zcr" in names(room)
    assert plugin_class(room, "zcr").__name__ == "Pitch"


def test_the_plugin_is_the_dataclass_with_a_version(room: str) -> None:
    assert plugin_class(room, "pitch").__name__ == "Pitch"


def test_an_unknown_name_is_met_with_the_nearest(room: str) -> None:
    with pytest.raises(UnknownName, match=r"no extractor 'ptich'; did you mean 'pitch'\? \(there are: empty, glove,"):
        plugin_class(room, "ptich")
    with pytest.raises(UnknownName, match=r"no corpus 'ravdess' \(there are: "):
        plugin_class("features.corpora", "ravdess")
    with pytest.raises(UnknownName, match=r"no extractor '\.\.corpora\.meld'"):
        plugin_class("features.extractors", "..corpora.meld")


def test_a_file_that_breaks_the_rule_of_one_is_refused(room: str) -> None:
    with pytest.raises(TypeError, match=r"extractors\.empty must define exactly one plug-in dataclass .*, not 0"):
        plugin_class(room, "empty")
    with pytest.raises(TypeError, match=r"extractors\.two must define exactly one plug-in dataclass .*, not 2"):
        plugin_class(room, "two")


def test_fields_arrive_typed(room: str) -> None:
    plugin = build(room, "pitch", {"n_bins": 12, "floor_hz": 50, "layers": [1, 2], "weights": {"a": 1}}, "here")
    assert dataclasses.asdict(plugin) == {
        "n_bins": 12, "floor_hz": 50.0, "method": "yin", "layers": (1, 2), "weights": {"a": 1.0}
    }  # fmt: skip
    assert type(plugin.floor_hz) is float and type(plugin.weights["a"]) is float


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"n_bins": 1, "n_bims": 2}, UnknownField, r"recipe 'demo': no field 'n_bims'; did you mean 'n_bins'\?"),
        ({"zz": 2}, UnknownField, r"no field 'zz' \(fields: floor_hz, layers, method, n_bins, weights\)"),
        ({"n_bins": 1, "version": 2}, UnknownField, "no field 'version'"),
        ({"n_bins": 1, "device": "cuda"}, UnknownField, "no field 'device'"),
        ({}, InvalidField, "recipe 'demo': field 'n_bins' must be given"),
        ({"n_bins": "many"}, InvalidField, "field 'n_bins' is 'many': input should be a valid integer"),
        ({"n_bins": 1.5}, InvalidField, r"field 'n_bins' is 1\.5: input should be a valid integer"),
        ({"n_bins": None}, InvalidField, "field 'n_bins' is None: input should be a valid integer"),
        ({"n_bins": 1, "method": "yang"}, InvalidField, "field 'method' is 'yang': input should be 'yin' or 'swipe'"),
        ({"n_bins": 1, "layers": 3}, InvalidField, "field 'layers' is 3: input should be a valid tuple"),
        ({"n_bins": 1, "layers": ["x"]}, InvalidField, r"field 'layers' is \['x'\]: input should be a valid integer"),
    ],
)
def test_what_is_wrong_with_a_field_is_said(room: str, fields: dict[str, Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        build(room, "pitch", fields, "recipe 'demo'")


def test_the_key_is_of_file_version_and_fields(room: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pitch = build(room, "pitch", {"n_bins": 12}, "here")
    glove = build(room, "glove", {"n_bins": 12}, "here")
    fields = {"n_bins": 12, "floor_hz": 60.0, "method": "yin", "layers": [], "weights": {}}
    assert plugin_key("e.pitch", pitch) == short_digest({"step": "e.pitch", "version": 3, "fields": fields})
    keys = [plugin_key("e.pitch", pitch), plugin_key("e.glove", pitch), plugin_key("e.pitch", glove)]
    changes: list[dict[str, Any]] = [
        {"n_bins": 13}, {"floor_hz": 61.0}, {"method": "swipe"}, {"layers": (1,)}, {"weights": {"a": 1.0}}
    ]  # fmt: skip
    keys += [plugin_key("e.pitch", dataclasses.replace(pitch, **change)) for change in changes]
    monkeypatch.setattr(type(pitch), "version", 4)
    keys.append(plugin_key("e.pitch", pitch))
    assert len(set(keys)) == len(keys)


def test_a_default_that_is_written_out_is_the_same_plugin(room: str) -> None:
    left_out = build(room, "pitch", {"n_bins": 12}, "here")
    written = build(room, "pitch", {"n_bins": 12.0, "floor_hz": 60, "layers": [], "weights": {}}, "here")
    assert plugin_key("e", left_out) == plugin_key("e", written)


# -- the house's own plug-ins ----------------------------------------------------------------------------------

OURS = [
    (room, name)
    for room in ("features.corpora", "features.aligners", "features.extractors", "models.students")
    for name in names(room)
]


def field_defaults(cls: type) -> dict[str, Any]:
    """Every default as a recipe would write it."""
    defaults = {}
    for field in dataclasses.fields(cls):
        if field.default is not dataclasses.MISSING:
            defaults[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            defaults[field.name] = field.default_factory()
    return defaults


@pytest.mark.parametrize(("room_of_ours", "name"), OURS)
def test_our_plugins_are_frozen_and_their_defaults_have_the_promised_types(room_of_ours: str, name: str) -> None:
    """A default typed float but written 1 would give another key than the same value in a recipe."""
    cls = plugin_class(room_of_ours, name)
    assert cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "version" not in {field.name for field in dataclasses.fields(cls)}
    for key, value in field_defaults(cls).items():
        only = dataclasses.make_dataclass("Only", [(key, get_type_hints(cls)[key])], frozen=True)
        typed = getattr(filled(only, {key: value}, name), key)
        assert short_digest({"value": typed}) == short_digest({"value": value}), f"{name}.{key}"


@pytest.mark.parametrize(("room_of_ours", "name"), OURS)
def test_a_number_that_cannot_be_is_refused_when_it_is_read(room_of_ours: str, name: str) -> None:
    """None of a plug-in's whole numbers may be negative, none of its numbers is nan, and 0 where it cannot be is
    refused in a sentence too."""
    cls = plugin_class(room_of_ours, name)
    needed = {"text_encoder": {"task": "mlm"}, "glove": {"dim": 2}}.get(name, {})
    numbers = [(key, hint) for key, hint in get_type_hints(cls).items() if hint in (int, float)]
    for key, hint in numbers:
        for value in (-1, 0) if hint is int else (float("nan"), float("inf"), 0.0):
            try:
                build(room_of_ours, name, {**needed, key: value}, "here")
            except InvalidField:
                continue
            assert value == 0, f"{key} = {value}"


def test_finding_plugins_loads_nothing_heavy() -> None:
    code = "import sys; from warehouse.catalog import names, plugin_class\n" + dedent("""
        for room in ("features.corpora", "features.aligners", "features.extractors"):
            for name in names(room):
                plugin_class(room, name)
        heavy = {"torch", "transformers", "opensmile", "pocketsphinx", "av", "prefect"} & sys.modules.keys()
        print(sorted(heavy))
    """)
    house = Path(__file__).resolve().parents[2]
    ran = subprocess.run([sys.executable, "-c", code], cwd=house, capture_output=True, text=True)
    assert (ran.stderr, ran.stdout) == ("", "[]\n")


def test_a_room_is_a_package() -> None:
    module: ModuleType = importlib.import_module("features.extractors")
    assert set(names("features.extractors")) == {
        path.stem for path in Path(module.__path__[0]).glob("*.py") if path.stem != "__init__"
    }


def test_a_plugin_may_say_itself_what_stands_for_its_fields() -> None:
    @dataclasses.dataclass(frozen=True)
    class Reads:
        version: ClassVar[int] = 1
        path: str

        def identity_fields(self) -> dict[str, Any]:
            return {"path": "the digest of it"}

    assert identity("x", Reads("/here")) == {"step": "x", "version": 1, "fields": {"path": "the digest of it"}}
    assert plugin_key("x", Reads("/here")) == plugin_key("x", Reads("/there"))
