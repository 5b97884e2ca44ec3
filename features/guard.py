"""The guard around one utterance: what cannot be treated is an answer of its own and takes nobody along."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from features.plugin import Clip, FeatureSpec, Interval
from warehouse.errors import Untreatable

Answer = Mapping[str, np.ndarray]


def guarded(
    run: Callable[[Sequence[Clip]], Sequence[Answer]], clips: Sequence[Clip], outputs: Mapping[str, FeatureSpec]
) -> Iterator[tuple[Clip, Answer | Exception]]:
    """Each clip with its answer, which is as promised, or with the exception it caused.

    The batch is tried at once; where that fails, its clips one by one. Where memory does not hold the
    batch, its two halves are tried, and so on; where it does not hold one clip, that stops the run.
    """
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
    parts: list[Sequence[Clip]] = [[clip] for clip in clips]
    if is_full:
        _free_memory()  # here, where the error is gone and all that its frames held
        parts = [clips[: len(clips) // 2], clips[len(clips) // 2 :]]
    for part in parts:
        yield from guarded(run, part, outputs)


def one_by_one(
    align: Callable[[Clip], Sequence[Interval]], clips: Sequence[Clip]
) -> Iterator[tuple[Clip, Sequence[Interval] | Exception]]:
    """Each clip with its intervals or the exception it caused."""
    for clip in clips:
        try:
            answer = align(clip)
        except Exception as error:
            _let_pass(error)
            yield clip, error
        else:
            yield clip, answer


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
