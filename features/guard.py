"""The guard around one utterance: what cannot be treated is an answer of its own and takes nobody along."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from features.plugin import Clip, FeatureSpec, Interval
from warehouse.errors import Untreatable

Answer = Mapping[str, np.ndarray]
T = TypeVar("T")


@dataclass(frozen=True)
class Apart:
    """How a work is done again whose processes died: each clip by itself, so that the next death says whose it was.

    Args:
        note: told the id of the clip, or of the recording, that is given to a library next, and '' when that is done.
        first: clips to begin with: a process died while they were treated.
        died: clip or recording -> exit code of the second process that crashed at it; it is not tried again.
    """

    note: Callable[[str], None]
    first: AbstractSet[str] = frozenset()
    died: Mapping[str, int] = field(default_factory=dict)


_APART: ContextVar[Apart | None] = ContextVar("_APART", default=None)


@contextmanager
def apart(how: Apart | None) -> Iterator[None]:
    """Within, clips are treated each by itself; as ever where None is given."""
    token = _APART.set(how)
    try:
        yield
    finally:
        _APART.reset(token)


def death_of(clip: str, recording: str) -> int | None:
    """With what exit code a process died of a clip, or of its recording; None where none did."""
    how = _APART.get()
    return how.died.get(clip, how.died.get(recording)) if how else None


@contextmanager
def noted(place: str) -> Iterator[None]:
    """A death within is known to be of this clip or recording, where clips are treated apart."""
    how = _APART.get()
    if how:
        how.note(place)
    yield
    if how:
        how.note("")


def guarded(
    run: Callable[[Sequence[Clip]], Sequence[Answer]], clips: Sequence[Clip], outputs: Mapping[str, FeatureSpec]
) -> Iterator[tuple[Clip, Answer | Exception]]:
    """Each clip with its answer, which is as promised, or with the exception it caused.

    The batch is tried at once; where that fails, or memory does not hold it, its two halves are tried, and so on: the
    others of a batch with one bad clip keep their company. Where memory does not hold one clip, that stops the run.
    """
    if _APART.get():
        yield from _each_by_itself(lambda clip: next(_tried(run, [clip], outputs))[1], clips)
    else:
        yield from _tried(run, clips, outputs)


def _tried(
    run: Callable[[Sequence[Clip]], Sequence[Answer]], clips: Sequence[Clip], outputs: Mapping[str, FeatureSpec]
) -> Iterator[tuple[Clip, Answer | Exception]]:
    if not clips:
        return
    try:
        answers = list(run(clips))
        for answer in answers:
            _check(answer, outputs)
    except Exception as error:
        is_full = _is_too_much(error) and len(clips) > 1
        if not is_full:
            _let_pass(error)
        if len(clips) == 1:
            yield clips[0], error
            return
    else:
        yield from zip(clips, answers, strict=True)
        return
    if is_full:
        _free_memory()  # here, where the error is gone and all that its frames held
    half = len(clips) // 2
    for part in (clips[:half], clips[half:]):
        yield from _tried(run, part, outputs)


def one_by_one(
    align: Callable[[Clip], Sequence[Interval]], clips: Sequence[Clip]
) -> Iterator[tuple[Clip, Sequence[Interval] | Exception]]:
    """Each clip with its intervals or the exception it caused."""

    def answer(clip: Clip) -> Sequence[Interval] | Exception:
        try:
            return align(clip)
        except Exception as error:
            _let_pass(error)
            return error

    yield from _each_by_itself(answer, clips)


def _each_by_itself(answer: Callable[[Clip], T], clips: Sequence[Clip]) -> Iterator[tuple[Clip, T]]:
    """Each clip with its answer, in order, whichever was treated first."""
    how = _APART.get()
    early = {}
    for clip in clips:
        if how and clip.input_id in how.first:
            with noted(clip.input_id):
                early[clip.input_id] = answer(clip)
    for clip in clips:
        if clip.input_id in early:
            yield clip, early[clip.input_id]
            continue
        with noted(clip.input_id):
            found = answer(clip)
        yield clip, found


def _let_pass(error: Exception) -> None:
    """Raises what is the machine's trouble and not the utterance's (memory, files, the accelerator): it stops the run,
    because a failures row is kept and not tried again by itself."""
    if isinstance(error, (MemoryError, OSError)) or "AcceleratorError" in _names(error) or _is_too_much(error):
        raise error


def _is_too_much(error: Exception) -> bool:
    """Whether memory did not suffice for what torch wanted; by name, because torch may not be there. Of the processor's
    it says so in words only."""
    return "OutOfMemoryError" in _names(error) or "DefaultCPUAllocator" in str(error)


def _names(error: Exception) -> set[str]:
    return {cls.__name__ for cls in type(error).__mro__}


def _free_memory() -> None:
    """Gives back what torch keeps of an accelerator's memory, if torch is there at all."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.cuda.empty_cache()


def _check(answer: Answer, outputs: Mapping[str, FeatureSpec]) -> None:
    for name, spec in outputs.items():
        array = answer[name]
        n_axes = 1 if spec.level == "utterance" else len(spec.axes)
        last = array.shape[-1] if spec.axes != ("sample",) else spec.dim
        if array.ndim != n_axes or last != spec.dim or array.dtype.name != spec.dtype:
            raise Untreatable(
                f"output '{name}' is {array.dtype.name} {array.shape}, but {spec.dtype} with axes {spec.axes} "
                f"and {spec.dim} dimensions was promised"
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise Untreatable(f"output '{name}' holds values that are not finite")
