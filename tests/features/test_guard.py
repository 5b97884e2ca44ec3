"""One clip that cannot be treated takes nobody along; an accelerator that is full takes less at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from features import guard
from features.guard import Answer, Apart, apart, death_of, guarded, one_by_one
from features.plugin import Clip, FeatureSpec, Interval
from warehouse.errors import Untreatable

OUTPUTS = {"vector": FeatureSpec("utterance", ("dim",), 1, names=("length",))}
CLIPS = [Clip(f"c{n}", np.zeros(n, np.float32)) for n in range(8)]
FULL = "CUDA out of memory. Tried to allocate 2 GiB"


def running(most: int, calls: list[int], bad: str = "") -> Callable[[Sequence[Clip]], list[Answer]]:
    """Treats at most so many clips at once, as an accelerator of that memory does, and one clip not at all."""

    def run(clips: Sequence[Clip]) -> list[Answer]:
        calls.append(len(clips))
        if len(clips) > most:
            raise torch.OutOfMemoryError(FULL)
        if bad in [clip.input_id for clip in clips]:
            raise Untreatable("not this one")
        return [{"vector": np.array([clip.duration_s], np.float32)} for clip in clips]

    return run


@pytest.mark.parametrize(
    ("most", "calls"), [(8, [8]), (4, [8, 4, 4]), (3, [8, 4, 2, 2, 4, 2, 2]), (1, [8, 4, 2, 1, 1])]
)
def test_a_full_accelerator_is_given_half_at_once(most: int, calls: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    emptied: list[int] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(1))
    made: list[int] = []
    found = list(guarded(running(most, made), CLIPS, OUTPUTS))
    assert [clip.input_id for clip, _ in found] == [clip.input_id for clip in CLIPS], "all of them, in order"
    assert all(isinstance(answer, dict) for _, answer in found)
    assert made[: len(calls)] == calls and len(emptied) == sum(n > most for n in made)


def test_a_full_accelerator_that_holds_not_one_clip_stops_the_run() -> None:
    with pytest.raises(torch.OutOfMemoryError, match="Tried to allocate 2 GiB"):
        list(guarded(running(0, []), CLIPS, OUTPUTS))


def test_what_torch_says_of_a_full_processor_is_believed() -> None:
    def run(clips: Sequence[Clip]) -> list[Answer]:
        torch.empty(1 << 50, dtype=torch.uint8)
        return []

    with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
        list(guarded(run, CLIPS, OUTPUTS))


def test_what_filled_the_memory_is_let_go_before_the_halves_are_tried() -> None:
    alive: list[Any] = []

    class Tensor:
        def __init__(self) -> None:
            alive.append(id(self))

        def __del__(self) -> None:
            alive.remove(id(self))

    def run(clips: Sequence[Clip]) -> list[Answer]:
        assert alive == [], "the frames of the error before hold theirs still"
        held = Tensor()
        if len(clips) > 2:
            raise torch.OutOfMemoryError(FULL)
        del held
        return [{"vector": np.zeros(1, np.float32)} for _ in clips]

    assert len(list(guarded(run, CLIPS, OUTPUTS))) == len(CLIPS)


def test_without_torch_there_is_no_memory_to_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(guard.sys.modules, "torch")
    assert len(list(guarded(running(8, [], bad="c3"), CLIPS, OUTPUTS))) == len(CLIPS)
    assert "torch" not in guard.sys.modules


def test_a_bad_clip_in_a_full_accelerator_is_found_and_the_others_stay() -> None:
    found = {clip.input_id: answer for clip, answer in guarded(running(2, [], bad="c5"), CLIPS, OUTPUTS)}
    assert [name for name, answer in found.items() if isinstance(answer, Exception)] == ["c5"]
    assert str(found["c5"]) == "not this one" and len(found) == len(CLIPS)
    assert list(guarded(running(2, []), [], OUTPUTS)) == []


@pytest.mark.parametrize("error", [MemoryError("full"), OSError(24, "Too many open files"), torch.AcceleratorError])
def test_other_trouble_of_the_machine_stops_the_run(error: Any) -> None:
    def run(clips: Sequence[Clip]) -> list[Answer]:
        raise error if isinstance(error, Exception) else error("device-side assert")

    def align(clip: Clip) -> list[Interval]:
        raise error if isinstance(error, Exception) else error("device-side assert")

    for trying in (guarded(run, CLIPS, OUTPUTS), one_by_one(align, CLIPS)):
        with pytest.raises((MemoryError, OSError, torch.AcceleratorError), match=r"full|Too many|assert"):
            list(trying)


def test_an_aligner_answers_clip_by_clip() -> None:
    def align(clip: Clip) -> list[Interval]:
        if clip.input_id == "c1":
            raise Untreatable("no words")
        return [Interval("word", "A", 0.0, 1.0)]

    found = [answer for _, answer in one_by_one(align, CLIPS[:3])]
    assert [isinstance(answer, Exception) for answer in found] == [False, True, False]


# -- after a death -----------------------------------------------------------------------------------------------------


def test_after_a_death_each_clip_is_noted_and_treated_by_itself_and_the_suspects_first() -> None:
    said: list[str | int] = []

    def run(clips: Sequence[Clip]) -> list[Answer]:
        said.append(len(clips))
        return [{"vector": np.array([clip.duration_s], np.float32)} for clip in clips]

    with apart(Apart(said.append, first=frozenset({"c2", "c1", "gone"}))):
        found = list(guarded(run, CLIPS[:4], OUTPUTS))
    assert [clip.input_id for clip, _ in found] == ["c0", "c1", "c2", "c3"], "answers in the order of the clips"
    assert found == list(guarded(run, CLIPS[:4], OUTPUTS)) and said.pop() == 4, "the same; outside, all at once"
    assert said == ["c1", 1, "", "c2", 1, "", "c0", 1, "", "c3", 1, ""]


def test_after_a_death_an_aligner_answers_the_suspects_first_too() -> None:
    said: list[str] = []

    def align(clip: Clip) -> list[Interval]:
        if clip.input_id == "c1":
            raise Untreatable("no words")
        return [Interval("word", clip.input_id, 0.0, 1.0)]

    with apart(Apart(said.append, first=frozenset({"c2"}))):
        found = list(one_by_one(align, CLIPS[:3]))
    assert said == ["c2", "", "c0", "", "c1", ""] and str(found[1][1]) == "no words"
    assert [clip.input_id for clip, _ in found] == ["c0", "c1", "c2"]


def test_who_died_of_what_is_known_within() -> None:
    with apart(Apart(lambda place: None, died={"c1": -6, "film": -11})):
        assert [death_of("c1", "r"), death_of("c2", "film"), death_of("c2", "r")] == [-6, -11, None]
        with apart(None):
            assert death_of("c1", "film") is None
    assert death_of("c1", "film") is None
