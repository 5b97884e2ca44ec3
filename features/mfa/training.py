"""An acoustic model that MFA trains on the clips of some corpora, for those corpora: an artifact like any other."""

from __future__ import annotations

import functools
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.extract import decoded
from features.inventory import input_id
from features.mfa import invocation
from features.mfa.lexicon import Lexicon, read_lexicon
from features.mfa.staging import name_of, refusal, scratch_in, staged
from features.mfa.validation import validate
from features.plugin import Clip
from features.rows import failure_row
from warehouse.artifact import Artifact, Request, Work
from warehouse.errors import MfaFailed, NothingToTrainOn
from warehouse.hashing import digest
from warehouse.schema import FAILURES, UTTERANCES
from warehouse.tables import read_table, write_rows

STEP = "features.mfa.training"
VERSION = 1
MODEL = "acoustic_model.zip"

BEFORE_S = 3600.0
PER_SECOND_S = 20.0
"""Time limit of a training: an hour, and so many times the length of its sound. Not measured: it is there because MFA
hangs for good when one of its workers dies."""


@dataclass(frozen=True)
class Training:
    """What a training is told apart by, beside what it hears; `dictionary` is known by its digest."""

    dictionary: Path
    dictionary_digest: str
    speaker_adaptation: bool
    versions: Mapping[str, str]


def training_work(lake: Path, training: Training, utterances: Sequence[Artifact], roots: Mapping[str, Path]) -> Work:
    """The work whose artifact is the model: all utterances with sound, each pair of sound and words once."""
    rows: dict[str, dict[str, Any]] = {}
    for artifact in utterances:
        for row in read_table(artifact.path("utterances.parquet"), UTTERANCES).to_pylist():
            if own := input_id(row, "pair"):
                rows.setdefault(own, row | {"input_id": own})
    params = {
        "dictionary": training.dictionary_digest, "speaker_adaptation": training.speaker_adaptation,
        "versions": dict(training.versions), "ids": digest(sorted(rows)),
    }  # fmt: skip
    inputs = {"utterances": tuple(sorted({artifact.digest for artifact in utterances}))}
    request = Request("acoustic_model", STEP, VERSION, params, inputs)
    ordered = sorted(rows.values(), key=_place)
    arguments = {"lake": lake, "training": training, "rows": ordered, "roots": dict(roots)}
    return Work(request, write_acoustic_model, arguments, n_rows=len(rows))


def _place(row: Mapping[str, Any]) -> tuple[str, str, str, float, str]:
    return row["corpus"], row["path"], row["channel"], row["start_s"], row["input_id"]


def write_acoustic_model(
    folder: Path, lake: Path, training: Training, rows: Sequence[Mapping[str, Any]], roots: Mapping[str, Path]
) -> None:
    """Writes `acoustic_model.zip`, and `failures.parquet` of the clips that it heard nothing of.

    All sound is held in memory at once, some 230 MB an hour.

    Raises:
        MfaMissing: there is no MFA.
        NothingToTrainOn, MfaFailed: as `train`.
    """
    clips, failures = decoded(lake, STEP, "pair", rows, roots)
    scratch, logs = functools.partial(scratch_in, lake), lake / ".cache" / "mfa"
    told = train(
        invocation.find(), clips, read_lexicon(training.dictionary), training.speaker_adaptation, scratch, logs,
        folder / MODEL,
    )  # fmt: skip
    names = {row["input_id"]: row["utterance_id"] for row in rows}
    failures += [failure_row(STEP, names[own], reason, own) for own, reason in told.items()]
    write_rows(folder / "failures.parquet", sorted(failures, key=lambda row: row["input_id"]), FAILURES)


def train(
    command: Path, clips: Sequence[Clip], lexicon: Lexicon, adapts: bool, scratch: Callable[[], Path], logs: Path,
    model: Path,
) -> dict[str, str]:  # fmt: skip
    """Trains on all clips but those that could only harm: the ones that are never aligned, and the ones that MFA's
    validator finds something against.

    As when aligning, each clip is a speaker of its own. One job, so that what is heard alike is summed alike. The model
    knows the phones of the clips' words only: it is made to align these clips.

    Args:
        lexicon: the whole dictionary; it is cut to the clips' words.
        adapts: whether the model is one for speaker adaptation.
        scratch: makes a new folder for a run.
        logs: folder where the log of a run that broke is kept.
        model: the zip file to write.

    Returns:
        Input id -> why MFA was not given this clip.

    Raises:
        NothingToTrainOn: no clip is left.
        MfaFailed: MFA breaks off or hangs; what it wrote is no zip file.
    """
    told = {clip.input_id: reason for clip in clips if (reason := refusal(clip, lexicon))}
    heard = [clip for clip in clips if clip.input_id not in told]
    limit_s = round(BEFORE_S + PER_SECOND_S * sum(clip.duration_s for clip in heard))
    if heard:
        with staged(scratch, heard, lexicon) as stage:
            found = validate(command, stage, limit_s)
        told |= {clip.input_id: found[name] for n, clip in enumerate(heard) if (name := name_of(n)) in found}
        heard = [clip for clip in heard if clip.input_id not in told]
    if not heard:
        raise NothingToTrainOn(len(clips), next(iter(told.values()), "there is none"))
    with staged(scratch, heard, lexicon) as stage:
        made = stage.folder / model.name
        arguments = ["train", str(stage.corpus), str(stage.dictionary), str(made), "--clean", "-q", "-j", "1"]
        code = invocation.run(
            command, arguments if adapts else [*arguments, "--single_speaker"], stage.root, stage.log, limit_s
        )
        if code != 0 or not zipfile.is_zipfile(made):
            why = f"MFA ended with exit code {code}" if code else "MFA wrote no acoustic model"
            why = f"MFA did not end within {limit_s} s" if code is None else why
            raise MfaFailed(why, invocation.kept(stage.log, logs))
        made.replace(model)
    return told
