"""openSMILE's C core: configured once, reset between clips, with only the components that are needed."""

from __future__ import annotations

import ctypes
import functools
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from features.ctrl_c import ctrl_c_waits
from features.plugin import RATE_HZ
from warehouse.errors import MalformedSource

SHARED = {
    "source": "standard_external_wave_input.conf.inc",
    "sink": "standard_external_data_output_single.conf.inc",
    "bufferModeRbConf": "BufferModeRb.conf.inc",
    "frameModeFunctionalsConf": "FrameModeFunctionals.conf.inc",
}
"""What configurations include by an option that the `opensmile` package sets -> the package's own file for it."""

ENCODING = "latin-1"
"""Of configurations, so that every byte survives."""

PROBE_S = 5.0
"""Seconds of noise that an unknown configuration is tried on."""

TRIAL_S = 60.0
"""How long such a trial may take."""

_SOURCE, _SINK = b"extsource", b"extsink"

_INCLUDE = re.compile(
    r"^[ \t]*\\\{(?:\\cm\[(?P<option>\w+)[^\]{]*(?:\{(?P<default>[^}]*)\})?[^\]]*\]|(?P<path>[^\\}]+))\}.*$",
    re.MULTILINE,
)
_SECTION = re.compile(r"^(?=[ \t]*\[\w+:\w+\])", re.MULTILINE)
_NAME = re.compile(r"[ \t]*\[(\w+):(\w+)\]")
_INSTANCE = re.compile(r"^[ \t]*instance[ \t]*\[(\w+)\].*\n?", re.MULTILINE)
_LEVELS = re.compile(r"^[ \t]*(\w*reader\w*|writer)\.dmLevel[ \t]*=(.*)$", re.MULTILINE)
_TAKES_ALL = re.compile(r"^[ \t]*includeSingleElementFields[ \t]*=[ \t]*1[ \t\r]*$", re.MULTILINE)
_FIELDWISE = re.compile(r"^[ \t]*(processArrayFields|preserveFieldNames)[ \t]*=", re.MULTILINE)


def package() -> Path:
    """The folder of the `opensmile` package, which is not imported: that brings pandas, and takes half a second."""
    return Path(str(importlib.metadata.distribution("opensmile").locate_file("opensmile")))


@functools.cache
def _binding() -> Any:
    """The package's own module for the C library, `opensmile.core.lib`, without the rest of it."""
    path = package() / "core" / "lib.py"
    module = ModuleType("opensmile.core.lib")
    module.__file__ = str(path)
    SourceFileLoader(module.__name__, str(path)).exec_module(module)
    return module


def configuration(path: Path) -> str:
    """A configuration file with every file that it includes in the place of the line that includes it, but for what
    it includes by an option of SHARED. A path is relative to the file that names it, as for openSMILE.

    Raises:
        MalformedSource: an included file is not there, includes itself, or is named by an option without a default.
    """
    return _with_includes(path, {}, ())


def _with_includes(path: Path, chosen: dict[str, Path], within: tuple[Path, ...]) -> str:
    """`chosen`: option -> the file that its first use names by default, for all uses after it."""

    def included(line: re.Match[str]) -> str:
        option, default, named = line["option"], line["default"], line["path"]
        if option in SHARED:
            return line[0]
        if option is None:
            target = path.parent / named.strip()
        elif default is not None:
            target = chosen.setdefault(option, path.parent / default)
        elif option in chosen:
            target = chosen[option]
        else:
            raise MalformedSource(path, f"includes what option '{option}' names, which has no default")
        target = target.resolve()
        if not target.is_file():
            raise MalformedSource(path, f"includes {(named or default or '').strip()}, which is no file")
        if target in within or target == path.resolve():
            raise MalformedSource(path, f"includes {target.name} in a circle")
        return _with_includes(target, chosen, (*within, path.resolve()))

    return _INCLUDE.sub(included, path.read_bytes().decode(ENCODING))


def completed(text: str) -> str:
    """A configuration with the package's own files in the place of the lines that include one by an option of SHARED:
    sound comes from us and features go to us, and frames are kept as the package keeps them."""
    folder = package() / "core" / "config" / "shared"
    parts = {option: (folder / name).read_bytes().decode(ENCODING) for option, name in SHARED.items()}
    return _INCLUDE.sub(lambda line: parts[line["option"]], text)


def only(text: str, level: str) -> str:
    """A completed configuration without the components that `level` does not need: no functionals, if it is a level of
    descriptors. What a component needs is what it reads, and so on, back to the sound."""
    reads, writes = _wiring(text)
    needed = {"componentInstances", "dataMemory", _SOURCE.decode(), _SINK.decode()}
    waiting = level.split(";")
    while waiting:
        writer = writes.get(waiting.pop())
        if writer is not None and writer not in needed:
            needed.add(writer)
            waiting += reads.get(writer, ())
    kept = [section for section in _SECTION.split(text) if not (name := _NAME.match(section)) or name[1] in needed]
    return _INSTANCE.sub(lambda line: line[0] if line[1] in needed else "", "".join(kept))


def as_one_array(text: str, level: str) -> str:
    """A completed configuration whose `level`, where it only puts other levels side by side, is one array instead of a
    field for each feature: the same numbers in the same order, without their names.

    At every reset openSMILE counts through all fields before a feature to find its name: of the 6373 functionals of
    ComParE_2016 that is two thirds of the reset.
    """
    writer = _wiring(text)[1].get(level)
    return "".join(_one_array(part) if _puts_together(part, writer) else part for part in _SECTION.split(text))


def _puts_together(section: str, writer: str | None) -> bool:
    name = _NAME.match(section)
    if name is None or name.groups() != (writer, "cVectorConcat"):
        return False
    return _TAKES_ALL.search(section) is not None and _FIELDWISE.search(section) is None


def _one_array(section: str) -> str:
    heading, options = section.split("\n", 1)
    return f"{heading}\nprocessArrayFields = 0\npreserveFieldNames = 0\n{options}"


def levels(text: str) -> list[str]:
    """The levels that the components of a configuration write."""
    return sorted(_wiring(text)[1])


def _wiring(text: str) -> tuple[dict[str, set[str]], dict[str, str]]:
    """Component -> the levels it reads, and level -> the component that writes it."""
    reads: dict[str, set[str]] = {}
    writes: dict[str, str] = {}
    for section in _SECTION.split(text):
        if name := _NAME.match(section):
            for way, named in _LEVELS.findall(section):
                own = {word.strip() for word in named.split(";")}
                if way == "writer":
                    writes |= dict.fromkeys(own, name[1])
                else:
                    reads.setdefault(name[1], set()).update(own)
    return reads, writes


class Engine:
    """One configured C core, which treats one clip after the other and keeps nothing of them.

    The C library's reset builds its components anew without reading the configuration again, so a clip's frames are
    the same whatever was treated before. The names are read from a first core; clips are treated by a second one whose
    level is one array (`as_one_array`), where that gives as many features. Of use to one thread at a time.

    Args:
        text: a completed configuration, or what `only` left of it.
        level: the level that is read; several, joined by ';', are cut to their common length.

    Raises:
        ValueError: openSMILE refuses the configuration or fails on a clip, with its error number (it has no words).
    """

    def __init__(self, text: str, level: str) -> None:
        self._lib = _binding()
        self._api = self._lib.smileapi
        self._block, self._steps_s = bytearray(), [0.0]
        self._receive = self._lib.ExternalSinkCallbackEx(_receiver(self._block, self._steps_s))
        self._is_used = False
        self._configure(text, level)
        self.names = self._names()
        if (fast := as_one_array(text, level)) != text:
            self._free()
            self._configure(fast, level)
            if self._n_features() != len(self.names):  # an option in a comment, say, was taken for one
                self._free()
                self._configure(text, level)

    def _configure(self, text: str, level: str) -> None:
        self._handle = self._api.smile_new()
        self._free = weakref.finalize(self, self._api.smile_free, self._handle)
        settings = [b"sinkLevel", level.encode(), b"sampleRate", b"%d" % RATE_HZ, b"nBits", b"16"]
        options = self._lib.c_char_p_arr(settings)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "configuration"
            path.write_bytes(text.encode(ENCODING))
            n_options, loglevel, debug, console, log = 3, 0, 0, 0, None
            self._must(
                self._api.smile_initialize(
                    self._handle, str(path).encode(), n_options, options, loglevel, debug, console, log
                )
            )

    def frames(self, wave: np.ndarray) -> np.ndarray:
        """One clip, float32 at RATE_HZ, as float32 [frame, dim]; no frame where it is too short for one.

        Sound is handed over as the `opensmile` package does it, 16 bits cut towards zero, but for full scale: +1.0 and
        more become 32767, where the package wraps them round to -32768.
        """
        pcm = (np.clip(wave, -1, 32_767 / 32_768) * np.float32(32_768)).astype(np.int16).tobytes()
        with ctrl_c_waits():
            if self._is_used:
                self._must(self._api.smile_reset(self._handle))
            self._is_used = True
            self._block.clear()
            self._must(self._api.smile_extsink_set_data_callback_ex(self._handle, _SINK, self._receive, None))
            self._must(self._api.smile_extaudiosource_write_data(self._handle, _SOURCE, pcm, len(pcm)))
            self._must(self._api.smile_extaudiosource_set_external_eoi(self._handle, _SOURCE))
            self._must(self._api.smile_run(self._handle))
        return np.frombuffer(bytes(self._block), np.float32).reshape(-1, len(self.names)).copy()

    @property
    def step_s(self) -> float:
        """Seconds from one frame to the next, as the last clip had them; 0 where one vector stands for a whole clip."""
        return self._steps_s[0]

    def _names(self) -> tuple[str, ...]:
        name, found = ctypes.c_char_p(), []
        for i in range(self._n_features()):
            self._must(self._api.smile_extsink_get_element_name(self._handle, _SINK, i, ctypes.byref(name)))
            found.append((name.value or b"").decode())
        return tuple(found)

    def _n_features(self) -> int:
        n_features = ctypes.c_long()
        self._must(self._api.smile_extsink_get_num_elements(self._handle, _SINK, ctypes.byref(n_features)))
        return n_features.value

    def _must(self, result: int) -> None:
        if result:
            raise ValueError(f"openSMILE fails with error {result}")


def _receiver(block: bytearray, steps_s: list[float]) -> Callable[..., int]:
    """What the C core calls with each frame; it knows no Engine, so that an Engine goes when its user goes."""

    def received(frame: Any, n_frames: int, n_values: int, about: Any, _: Any) -> int:
        if not block:
            steps_s[0] = about.contents.period
        block.extend(ctypes.string_at(frame, 4 * n_frames * n_values))
        return 1

    return received


@dataclass(frozen=True)
class Trial:
    """What a configuration gave for PROBE_S of noise.

    Args:
        names: of the features.
        n_frames: how many frames.
        step_s: seconds from one frame to the next; 0 where one vector stands for the whole clip.
        refusal: why there are none.
    """

    names: tuple[str, ...] = ()
    n_frames: int = 0
    step_s: float = 0.0
    refusal: str = ""


@functools.cache
def tried(text: str, level: str) -> Trial:
    """Tries a completed configuration in a process of its own, because some of what openSMILE cannot make sense of
    ends its process (in eGeMAPSv02.conf, a component of a type that is not there). What was tried is remembered."""
    command = [sys.executable, "-m", "features.opensmile_engine", level]
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, ["", *sys.path]))}
    try:
        run = subprocess.run(
            command, input=text.encode(ENCODING), env=os.environ | paths, capture_output=True, timeout=TRIAL_S
        )
    except subprocess.TimeoutExpired:
        return Trial(refusal=f"openSMILE is not done with {PROBE_S:g} s of noise after {TRIAL_S:g} s")
    if run.returncode < 0:
        return Trial(refusal="openSMILE crashes on it: is every type, level and field spelt as openSMILE knows it?")
    run.check_returncode()
    answer = json.loads(run.stdout.splitlines()[-1])
    return Trial(**answer | {"names": tuple(answer["names"])})


def _try(text: str, level: str) -> Trial:
    noise = np.random.default_rng(0).normal(0, 0.05, int(PROBE_S * RATE_HZ)).astype(np.float32)
    try:
        engine = Engine(text, level)
        frames = engine.frames(noise)
    except ValueError as error:
        return Trial(refusal=str(error))
    return Trial(engine.names, len(frames), engine.step_s)


if __name__ == "__main__":
    print(json.dumps(asdict(_try(sys.stdin.buffer.read().decode(ENCODING), sys.argv[1]))))
