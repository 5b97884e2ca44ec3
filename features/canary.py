"""The canary of an extractor: the numbers that it gave on a fixed handful of clips, in each environment it ran in.

Library versions are recorded, not hashed. In an environment that is new to an extractor, its canary runs first: the
same numbers within its tolerance, and its rows stay where they were; other numbers, and rows from there on have a
namespace of their own, so that old and new are never mixed.

What all are compared with are the numbers of the first. They are an artifact of their own (`first_canary`) whose
request names no environment: of two environments that are the first at once, one commits it, and the other is given
it and is compared with it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from features.canary_clips import canary_clips
from features.encoding.pretrained import device_of
from features.guard import guarded
from features.inventory import checkpoint_inputs, forked, row_identity
from features.placed import unchanged
from features.plugin import FeatureSpec
from warehouse import Warehouse
from warehouse.artifact import Artifact, Request, Work
from warehouse.errors import EmolakeError
from warehouse.hashing import canonical_json, short_digest
from warehouse.tables import array_cells, array_columns, array_of, read_table, write_rows

ALL = ("numpy",)
"""Distributions that can move the numbers of every extractor."""

HEARING = ("av", "soundfile", "soxr")
"""The same of those that hear: what decodes and resamples."""

SCHEMA = pa.schema([
    *(pa.field(name, pa.string(), nullable=False) for name in ("clip", "output")), *array_columns("value"),
])  # fmt: skip

FAINTEST = 1e-6
"""A dimension fainter than this share of its output's middle one is measured as if it were so loud. Not of the loudest:
one of ComParE's functionals is 10 ** 11 times most others and would hide what they do."""

ABSENT = "none"
"""The version of what is not installed."""

Numbers = dict[tuple[str, str], np.ndarray]
"""(clip, output) -> array; a clip that the extractor refuses has none."""


@dataclass(frozen=True)
class Verdict:
    """What was said of a canary when it ran.

    Args:
        namespace: '' where its rows go to the first namespace, else what tells the fork's.
        reference: key of the canary that it was compared with; '' for the first, with which all others are.
        moved: distribution (or 'device') -> its version there and here, of those that differ.
        drift: largest change relative to the scale of its dimension; None where the shapes differ.
        where: the output and clip of that change.
        tolerance: what was allowed.
        promised: output -> digest of its specification.
        refused: clip -> why the extractor has no numbers for it.
    """

    namespace: str = ""
    reference: str = ""
    moved: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    drift: float | None = 0.0
    where: str = ""
    tolerance: float = 0.0
    promised: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """What the user is told where rows are kept apart."""
        if not self.namespace:
            return ""
        how = "into another shape"
        if self.drift is not None:
            how = f"by {self.drift:.2g} of its scale ({self.tolerance:g} is allowed)"
        return f"{told(self.moved)} moved {self.where} {how}: its rows are kept apart from those made before"


def told(moved: Mapping[str, tuple[str, str]]) -> str:
    """Which libraries moved, from which version to which.

    Example:
        >>> told({"soxr": ("0.5", "1.0"), "device": ("cpu", "cuda")})
        'device cpu → cuda, soxr 0.5 → 1.0'
    """
    return ", ".join(f"{name} {there} → {here}" for name, (there, here) in sorted(moved.items()))


def environment(plugin: Any, device: str) -> dict[str, Any]:
    """What can move the numbers of an extractor and is no part of its identity."""
    names = {*ALL, *plugin.libraries, *(() if plugin.needs == "text" else HEARING)}
    kind = device_of(device) if "torch" in names else "cpu"
    return {"libraries": {name: _version(name) for name in sorted(names)}, "device": kind}


def canary_work(
    warehouse: Warehouse, step: str, plugin: Any, device: str = "cpu", checkpoint: Path | None = None
) -> Work:
    """The work that runs an extractor's canary in the environment that is here; it counts no row."""
    params = {"plugin": row_identity(step, plugin), "environment": environment(plugin, device)}
    request = Request("canary", step, plugin.version, params, checkpoint_inputs(plugin))
    arguments = {"lake": warehouse.root, "request": request, "plugin": plugin, "device": device,
                 "checkpoint": checkpoint}  # fmt: skip
    return Work(request, write_canary, arguments, n_rows=0)


def settled(plugin: Any, canary: Artifact) -> Any:
    """The plug-in whose rows lie where the canary says."""
    verdict = verdict_of(canary)
    return forked(plugin, verdict.namespace) if verdict.namespace else plugin


def awaited(warehouse: Warehouse, request: Request) -> dict[str, tuple[str, str]] | None:
    """What has moved, for a canary that has not run; None if it will be the first, whose namespace is known."""
    reference = _reference(warehouse, request)
    return _moved(reference.request, request) or None if reference else None


def verdict_of(canary: Artifact) -> Verdict:
    """What was said of a canary when it ran."""
    value = json.loads(canary.path("verdict.json").read_bytes())
    return Verdict(**value | {"moved": {name: (there, here) for name, (there, here) in value["moved"].items()}})


def write_canary(folder: Path, lake: Path, request: Request, plugin: Any, device: str, checkpoint: Path | None) -> None:
    """Writes the `numbers.parquet` of a canary and, after comparing them with those before, its `verdict.json`."""
    extra = (checkpoint,) if getattr(plugin, "reads_checkpoint", False) else ()
    with unchanged(lake, plugin, checkpoint):
        outputs = plugin.outputs(*extra)
        run = plugin.load(device, *extra)
    numbers: Numbers = {}
    refused = {}
    for clip, answer in guarded(run, canary_clips(plugin.needs), outputs):
        if isinstance(answer, EmolakeError):
            refused[clip.input_id] = str(answer)
        elif isinstance(answer, Exception):
            raise answer  # a fault is no number: it must not become what later environments are held against
        else:
            numbers |= {(clip.input_id, name): np.asarray(answer[name]) for name in outputs}
    promised = {name: short_digest(asdict(spec)) for name, spec in outputs.items()}
    own = _Own(numbers, outputs, Verdict(tolerance=plugin.tolerance, promised=promised, refused=refused))
    _write(folder, own, _judged(Warehouse(lake), request, own))


@dataclass(frozen=True)
class _Own:
    """What an extractor gave now, and the verdict if nothing was there to compare it with."""

    numbers: Numbers
    outputs: Mapping[str, FeatureSpec]
    first: Verdict


@dataclass(frozen=True)
class _Reference:
    """What all canaries of an extractor are compared with: the request of the first, and where its numbers are."""

    request: Request
    artifact: Artifact


def _write(folder: Path, own: _Own, verdict: Verdict) -> None:
    rows = [{"clip": clip, "output": name} | array_cells("value", a) for (clip, name), a in own.numbers.items()]
    write_rows(folder / "numbers.parquet", rows, SCHEMA)
    (folder / "verdict.json").write_bytes(canonical_json(asdict(verdict)))


def _judged(warehouse: Warehouse, request: Request, own: _Own) -> Verdict:
    reference = _reference(warehouse, request)
    if reference is None:
        warehouse.materialize(_first_request(request), partial(_write_first, request=request, own=own))
        reference = _reference(warehouse, request)
    if reference is None or reference.request == request:
        return own.first
    drift, where = _drift(reference.artifact, own)
    tolerance = own.first.tolerance
    namespace = _fork(_canaries(warehouse, request), own) if drift > tolerance else ""
    return replace(
        own.first, namespace=namespace, reference=reference.request.key, moved=_moved(reference.request, request),
        drift=drift if math.isfinite(drift) else None, where=where,
    )  # fmt: skip


def _first_request(request: Request) -> Request:
    """The request of the first canary's numbers, the same in every environment."""
    return replace(request, kind="first_canary", params={"plugin": request.params["plugin"]})


def _write_first(folder: Path, request: Request, own: _Own) -> None:
    _write(folder, own, own.first)
    (folder / "environment.json").write_bytes(canonical_json(request.params["environment"]))


def _reference(warehouse: Warehouse, request: Request) -> _Reference | None:
    """What a canary is compared with; in a lake of before there were first canaries, the oldest that is no other's."""
    first = warehouse.find(_first_request(request))
    if first is not None:
        environment = json.loads(first.path("environment.json").read_bytes())
        return _Reference(replace(request, params={**request.params, "environment": environment}), first)
    oldest = (canary for canary in _canaries(warehouse, request) if not verdict_of(canary).reference)
    return next((_Reference(canary.request, canary) for canary in oldest), None)


def _fork(before: Sequence[Artifact], own: _Own) -> str:
    """The nearest fork that these numbers agree with, or else a new one; a fork is named after what began it."""
    drifts = {}
    for canary in before:
        name = verdict_of(canary).namespace
        if name and name == _digest_of(_numbers(canary), verdict_of(canary).promised):
            drifts[name] = _drift(canary, own)[0]
    agreeing = [name for name, drift in drifts.items() if drift <= own.first.tolerance]
    return min(agreeing, key=lambda name: (drifts[name], name), default=_digest_of(own.numbers, own.first.promised))


def _drift(canary: Artifact, own: _Own) -> tuple[float, str]:
    there = verdict_of(canary).promised
    for name in sorted(there.keys() | own.first.promised.keys()):
        if there.get(name) != own.first.promised.get(name):
            return math.inf, f"'{name}'"
    return drift_of(_numbers(canary), own.numbers, own.outputs)


def drift_of(reference: Numbers, numbers: Numbers, outputs: Mapping[str, FeatureSpec]) -> tuple[float, str]:
    """The largest change of a value relative to the scale of its dimension, and where it is.

    The scale is the dimension's largest size in the reference, over all clips and steps: descriptors differ by orders
    of magnitude, and the large ones would hide the others. Other shapes, or numbers for other clips, are an infinite
    change.
    """
    worst = (0.0, "")
    for name, spec in outputs.items():
        clips = sorted({clip for clip, output in reference.keys() | numbers.keys() if output == name})
        scale = _scale([a for (_, output), a in reference.items() if output == name], spec)
        for clip in clips:
            there, here = reference.get((clip, name)), numbers.get((clip, name))
            if there is None or here is None or there.shape != here.shape:
                return math.inf, f"'{name}' (clip '{clip}')"
            change = np.abs(_steps(there, spec) - _steps(here, spec)).max(axis=0, initial=0) / scale
            if change.max(initial=0) > worst[0]:
                column = f"{spec.names[change.argmax()]}, " if spec.names else ""
                worst = (float(change.max()), f"'{name}' ({column}clip '{clip}')")
    return worst


def _scale(arrays: Sequence[np.ndarray], spec: FeatureSpec) -> np.ndarray:
    """[dim]: how large each dimension gets."""
    largest = [np.abs(_steps(array, spec)).max(axis=0, initial=0) for array in arrays]
    scale = np.max(largest, axis=0, initial=0)
    sounding = scale[scale > 0]
    return np.maximum(scale, FAINTEST * np.median(sounding) if sounding.size else 1.0)


def _steps(array: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """float64 [step, dim]."""
    return array.reshape(-1, 1 if spec.axes == ("sample",) else array.shape[-1]).astype(np.float64)


def _canaries(warehouse: Warehouse, request: Request) -> list[Artifact]:
    """Those of the same extractor, oldest first."""
    whose = short_digest(request.params["plugin"])
    return [a for a in warehouse.artifacts("canary") if short_digest(a.request.params["plugin"]) == whose]


def _moved(there: Request, here: Request) -> dict[str, tuple[str, str]]:
    first, second = (
        request.params["environment"]["libraries"] | {"device": request.params["environment"]["device"]}
        for request in (there, here)
    )
    names = sorted(first.keys() | second.keys())
    versions = {name: (first.get(name, ABSENT), second.get(name, ABSENT)) for name in names}
    return {name: (one, other) for name, (one, other) in versions.items() if one != other}


def _numbers(canary: Artifact) -> Numbers:
    rows = read_table(canary.path("numbers.parquet"), SCHEMA).to_pylist()
    return {(row["clip"], row["output"]): array_of(row, "value") for row in rows}


def _digest_of(numbers: Numbers, promised: Mapping[str, str]) -> str:
    arrays = [
        [clip, name, a.dtype.name, list(a.shape), hashlib.sha256(a.tobytes()).hexdigest()]
        for (clip, name), a in sorted(numbers.items(), key=lambda pair: pair[0])
    ]
    return short_digest([arrays, promised])


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ABSENT
