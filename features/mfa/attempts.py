"""Many clips to MFA and back: runs, a second try with a wider beam, and the search for a clip that breaks a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from features.mfa import invocation, outcome
from features.mfa.invocation import kept
from features.mfa.lexicon import Lexicon
from features.mfa.staging import Stage, name_of, refusal, staged
from features.mfa.validation import validate
from features.plugin import Clip, Interval
from warehouse.errors import MfaFailed, Untreatable

WIDER = 10
"""What the beams are multiplied by for the second try: what MFA itself advises when no clip has a path."""

BEFORE_S = 600.0
"""Time limit of a run beyond the length of its sound: starting took 17 to 50 s on two cores, with a tiny model some 1 %
of the sound's length went by after that."""

_NO_PATH = b"NoAlignmentsError"

Answer = Sequence[Interval] | Untreatable


@dataclass(frozen=True)
class Asked:
    """What every run of a batch has in common.

    Args:
        scratch: makes a new folder for a run.
        logs: folder where the log of a run that broke is kept.
    """

    command: Path
    model: Path
    lexicon: Lexicon
    beam: int
    retry_beam: int
    adapts: bool
    scratch: Callable[[], Path]
    logs: Path


def answer_all(asked: Asked, clips: Sequence[Clip]) -> list[Answer]:
    """Intervals or a reason for every clip, in order.

    One run answers them all. What has no answer then is run once more by itself, with a wider beam; of what MFA still
    says nothing of, its validator is asked. A run that breaks
    off or does not end is run again by halves, until the clip that breaks it is alone: it is recorded, if MFA came to
    an end on any other. Where two clips break alone before MFA has come to any end, or the only one does, it is
    MFA that is broken and nothing is recorded.

    Raises:
        MfaFailed: MFA came to no end at all; names the log.
    """
    answers: dict[int, Answer] = {}
    heard: dict[int, Clip] = {}
    for position, clip in enumerate(clips):
        if reason := refusal(clip, asked.lexicon):
            answers[position] = Untreatable(reason)
        else:
            heard[position] = clip
    first, ended = _try(asked, heard, 1, False)
    again = {position: heard[position] for position, answer in first.items() if isinstance(answer, Untreatable)}
    second, _ = _try(asked, again, WIDER, ended)
    answers |= first | second
    silent = {position: clip for position, clip in heard.items() if str(answers[position]) == outcome.NOTHING_SAID}
    answers |= _explained(asked, silent)
    return [answers[position] for position in range(len(clips))]


def arguments(asked: Asked, stage: Stage, wider: int = 1) -> list[str]:
    """Of `mfa align`. Each is one that MFA 3.4.3 knows: it takes unknown ones without a word.

    One job: batches run side by side as processes, like all works.
    """
    found = ["align", str(stage.corpus), str(stage.dictionary), str(asked.model), str(stage.output)]
    found += ["--clean", "-q", "-j", "1", "--output_format", "json"]
    found += ["--beam", str(asked.beam * wider), "--retry_beam", str(asked.retry_beam * wider)]
    return found if asked.adapts else [*found, "--single_speaker"]


def _try(asked: Asked, clips: Mapping[int, Clip], wider: int, ended: bool) -> tuple[dict[int, Answer], bool]:
    """An answer for every clip, and whether MFA came to an end on any; `ended` if it did before."""
    answers: dict[int, Answer] = {}
    waiting = [list(clips)] if clips else []
    broken = 0
    while waiting:
        group = waiting.pop()
        found, why, log = _run(asked, {position: clips[position] for position in group}, wider)
        if not why:
            answers |= found
            ended = True
        elif len(group) > 1:
            half = len(group) // 2
            waiting += [group[half:], group[:half]]
        else:
            broken += 1
            answers[group[0]] = Untreatable(f"{why}, given this clip alone")
            if not ended and (broken > 1 or not waiting):
                raise MfaFailed(why, log)
    return answers, ended


def _run(asked: Asked, clips: Mapping[int, Clip], wider: int) -> tuple[dict[int, Answer], str, Path]:
    """One run: its answers, or why it came to no end and the log of it."""
    with staged(asked.scratch, list(clips.values()), asked.lexicon) as stage:
        log = stage.log
        limit_s = _limit_s(clips.values())
        code = invocation.run(asked.command, arguments(asked, stage, wider), stage.root, log, limit_s)
        if code == 0:
            return dict(zip(clips, _answers(stage, clips.values()), strict=True)), "", log
        if code is not None and _NO_PATH in log.read_bytes():
            return {position: Untreatable(_no_path(clip)) for position, clip in clips.items()}, "", log
        why = f"MFA did not end within {limit_s} s" if code is None else f"MFA ended with exit code {code}"
        return {}, why, kept(log, asked.logs)


def _limit_s(clips: Iterable[Clip]) -> int:
    return round(BEFORE_S + sum(clip.duration_s for clip in clips))


def _answers(stage: Stage, clips: Iterable[Clip]) -> list[Answer]:
    found: list[Answer] = []
    try:
        analysis = outcome.read_analysis(stage.output)
    except Untreatable as error:
        return [error for _ in clips]
    for number, clip in enumerate(clips):
        try:
            found.append(outcome.intervals(clip, name_of(number), stage.output, analysis))
        except Untreatable as error:
            found.append(error)
    return found


def _no_path(clip: Clip) -> str:
    return f"no path through {clip.duration_s:.3f} s of sound says its words"


def _explained(asked: Asked, clips: Mapping[int, Clip]) -> dict[int, Untreatable]:
    """What MFA's validator says of the clips of which its aligner says nothing."""
    if not clips:
        return {}
    with staged(asked.scratch, list(clips.values()), asked.lexicon) as stage:
        found = validate(asked.command, stage, _limit_s(clips.values()))
    names = {position: name_of(number) for number, position in enumerate(clips)}
    return {p: Untreatable(f"{outcome.NOTHING_SAID}: {found[name]}") for p, name in names.items() if name in found}
