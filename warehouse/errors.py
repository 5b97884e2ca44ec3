"""One class per mistake. Each composes its own sentence: what was asked, what is there, what to do."""

from __future__ import annotations

import copyreg
import difflib
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class EmolakeError(Exception):
    """Any mistake with one clear sentence; the command line prints the sentence and exits 1."""

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy keeps the sentence as composed: worker processes pickle what they raise, and pickle's own way
        would compose again from a single argument."""
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _shorten(words: Iterable[str], most: int = 5) -> str:
    words = list(words)
    shown = ", ".join(repr(w) for w in words[:most])
    return shown + (f" and {len(words) - most} more" if len(words) > most else "")


class NotALake(EmolakeError):
    def __init__(
        self, root: Path | str, why: str, todo: str = "name another folder, or start one with `emolake run`"
    ) -> None:
        super().__init__(f"{root} is no lake ({why}): {todo}")


class NewerFormat(EmolakeError):
    def __init__(self, root: Path | str, found: int, known: int) -> None:
        super().__init__(
            f"the lake {root} has format {found}, but this version of Emolake knows formats up to {known}: "
            "install a newer Emolake to open it"
        )


class UnreadableManifest(EmolakeError):
    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"the manifest {path} cannot be read ({why}): run `emolake verify` to see what else is damaged, "
            "then delete the folder it lies in; the next run makes again what it needs"
        )


class ArtifactNotFound(EmolakeError):
    def __init__(self, reference: str) -> None:
        super().__init__(f"no artifact has the key, digest or name '{reference}': `emolake ls` lists those that exist")


class AmbiguousReference(EmolakeError):
    def __init__(self, reference: str, keys: Iterable[str]) -> None:
        super().__init__(f"'{reference}' begins several keys or digests ({_shorten(keys)}): give more characters")


class NotCanonical(EmolakeError):
    def __init__(self, where: str, value: object) -> None:
        super().__init__(
            f"{where} holds {type(value).__name__} {value!r}, which has no canonical JSON: "
            "use text, integers, finite floats, booleans, lists and text-keyed mappings"
        )


class InvalidId(EmolakeError):
    def __init__(self, name: str, value: str) -> None:
        super().__init__(f"{name} '{value}' must match [A-Za-z0-9_-]+: it names files")


class DuplicateId(EmolakeError):
    def __init__(self, name: str, value: str, where: str) -> None:
        super().__init__(f"{name} '{value}' is given twice, but must name one member of '{where}': give each its own")


class SchemaMismatch(EmolakeError):
    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where} does not have the schema it must have: {problem}")


class EmptyArtifact(EmolakeError):
    def __init__(self, step: str, key: str) -> None:
        super().__init__(f"step '{step}' wrote no file for {key[:12]}: an artifact needs at least one")


class DiskFull(EmolakeError):
    def __init__(self, root: Path, step: str) -> None:
        super().__init__(
            f"no space left on the disk of {root} while '{step}' was written: nothing half-written stays; "
            "free some space and run the same command again, which continues where this one stopped"
        )


class UnknownName(EmolakeError):
    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        super().__init__(f"no {what} '{name}'{_did_you_mean(name, known)} (there are: {', '.join(known) or 'none'})")


class UnknownField(EmolakeError):
    def __init__(self, where: str, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        hint = _did_you_mean(name, known) or f" (fields: {', '.join(known)})"
        super().__init__(f"{where}: no field '{name}'{hint}")


class InvalidField(EmolakeError):
    def __init__(self, where: str, name: str, problem: str) -> None:
        super().__init__(f"{where}: field '{name}' {problem}")


class MissingFolder(EmolakeError):
    def __init__(self, what: str, path: Path, todo: str) -> None:
        super().__init__(f"{what} is not at {path}: {todo}")


class MalformedSource(EmolakeError):
    """A raw file that the reader of its corpus cannot accept as a whole."""

    def __init__(self, path: Path | str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")


class SourceChanged(EmolakeError):
    def __init__(self, path: Path | str) -> None:
        super().__init__(f"{path} is not what was ingested (missing, or other bytes): run `emolake ingest` again")


class UnreadableAudio(EmolakeError):
    def __init__(self, path: Path | str, why: str) -> None:
        super().__init__(f"{path} cannot be decoded as audio ({why})")
        self.why = why  # for failures rows, which hold no absolute path


class Untreatable(EmolakeError):
    """One utterance that a step cannot treat: becomes its failures row, never an abort."""


class TooManyFailures(EmolakeError):
    def __init__(self, step: str, n_failed: int, allowed: int, example: str) -> None:
        super().__init__(
            f"step '{step}' could not treat {n_failed} utterances, and the recipe allows {allowed} (first: {example}); "
            'see `emolake sql "FROM failures"`, then mend the sources or raise [failures] allowed in the recipe'
        )


class CountsDiffer(EmolakeError):
    def __init__(self, protocol: str, table: str) -> None:
        super().__init__(f"protocol '{protocol}' must reproduce its counts, but this corpus gives others\n{table}")


class RowsMissing(EmolakeError):
    def __init__(self, what: str, n_missing: int, example: str) -> None:
        super().__init__(
            f"{n_missing} rows of {what} are missing (first: {example}): run `emolake extract` for them first"
        )


class WorkerDied(EmolakeError):
    def __init__(self, step: str, clip: str = "") -> None:
        died = f"a worker process died while it did '{step}' (killed, out of memory, or a crash in a native library)"
        killed = f"two worker processes were killed while they did '{step}' of '{clip}' (perhaps for lack of memory)"
        todo = "take fewer workers or more memory, or cut the recording, and " if clip else ""
        super().__init__(f"{killed if clip else died}: what was finished is kept; {todo}run the same command again")


class QueryFailed(EmolakeError):
    def __init__(self, why: str) -> None:
        super().__init__(f"the query could not be answered: {why}")


class IntervalOutside(EmolakeError):
    def __init__(self, position: int, symbol: str, start_s: float, end_s: float, covered_s: float) -> None:
        super().__init__(
            f"interval {position} ('{symbol}') spans [{start_s}, {end_s}] s, "
            f"but the features cover [0, {covered_s:.3f}] s"
        )


class RoleMissing(EmolakeError):
    def __init__(self, step: str, role: str, why: str, known: Iterable[str]) -> None:
        super().__init__(
            f"'{step}' needs shards of '{role}' {why}, but it is given {_shorten(sorted(known)) or 'none'}: "
            f"pack '{role}' and add it to the inputs"
        )


class VersionDiffers(EmolakeError):
    def __init__(self, step: str, asked: int, here: int) -> None:
        super().__init__(
            f"version {asked} of '{step}' is asked for, but version {here} is installed: "
            "plan again to make it with this one, or install the Emolake that made it"
        )


class PartEmpty(EmolakeError):
    def __init__(self, part: str, known: Iterable[str]) -> None:
        known = sorted(known)
        super().__init__(
            f"the split has no utterance in part '{part}' (it has: {', '.join(known) or 'none'}): "
            "see the split rule of the protocol"
        )


class LabelsMissing(EmolakeError):
    def __init__(self, part: str, n_found: int, needed: str) -> None:
        super().__init__(
            f"part '{part}' of the split has {n_found} different labels, but {needed}: "
            "join labels to the split, or leave that part or term out"
        )


class ShapeDiffers(EmolakeError):
    def __init__(self, role: str, found: object, needed: str) -> None:
        super().__init__(f"an array of '{role}' has shape {found}, but {needed}: pack the shards of '{role}' anew")


class NothingLoaded(EmolakeError):
    def __init__(self, step: str, init: Path) -> None:
        super().__init__(
            f"no weight of the checkpoint {init.name} fits '{step}' as it is asked for: "
            "give the fields the checkpoint was fitted with, or name another checkpoint"
        )


class NoClasses(EmolakeError):
    def __init__(self, step: str) -> None:
        super().__init__(f"this checkpoint of '{step}' knows no classes, so it predicts none: fine-tune it first")


class Diverged(EmolakeError):
    def __init__(self, epoch: int) -> None:
        super().__init__(
            f"the training loss is not finite in epoch {epoch}: lower 'learning_rate' or raise 'warmup_fraction'"
        )


class ServerNotStarted(EmolakeError):
    def __init__(self, log: Path, why: str) -> None:
        super().__init__(f"the embedded Prefect server did not start ({why}): its own words are in {log}")


class NotASandbox(EmolakeError):
    def __init__(self, root: Path, wanted: str) -> None:
        super().__init__(
            f"{root} is not empty and holds no sandbox of {wanted}: name another folder, or delete this one yourself"
        )


class NothingSelected(EmolakeError):
    def __init__(self, n_utterances: int) -> None:
        super().__init__(
            f"the teacher is sure of none of {n_utterances} utterances: "
            "fit it longer, or lower the selection's thresholds"
        )


class RoundedLabels(EmolakeError):
    def __init__(self, path: Path | str, needed: str) -> None:
        super().__init__(
            f"{path} holds CMU-MOSEI's labels rounded to classes: its 'label6' is an arg max, which makes every "
            f"segment without emotion 'happy', and the seven numbers cannot be had back; put {needed} there instead"
        )


class NothingToHear(EmolakeError):
    def __init__(self, step: str, corpus: str) -> None:
        super().__init__(
            f"'{step}' hears, but no utterance of corpus '{corpus}' has sound: "
            "take that corpus out of its entry in the recipe, or use a step that needs only text"
        )


class DeclaredEntity(Untreatable):
    """An XML file that could be made to fill a memory: refused before anything is expanded."""

    def __init__(self, name: str) -> None:
        super().__init__(f"it declares the entity '{name}', which no document of OPUS does: it is not read")


class UnreadableDigests(EmolakeError):
    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"what is remembered of raw files in {path} cannot be read ({why}): delete that file, and they are "
            "hashed again"
        )


class UnreadableRef(EmolakeError):
    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} cannot be read ({why}): delete it, and the next run writes it again")


class NameTooLong(EmolakeError):
    def __init__(self, name: str, most: int) -> None:
        super().__init__(f"the name '{name[:40]}…' is too long for a file: give one of at most {most} bytes")


class MfaMissing(EmolakeError):
    def __init__(self, why: str) -> None:
        super().__init__(
            f"the Montreal Forced Aligner is not at hand ({why}): install it in an environment of its own, with "
            "`pixi install --manifest-path infra/mfa/pixi.toml` or `micromamba create --file "
            "infra/mfa/environment.yml`, and set EMOLAKE_MFA to the 'mfa' in its bin folder"
        )


class MfaFailed(EmolakeError):
    def __init__(self, why: str, log: Path) -> None:
        super().__init__(
            f"{why} on whatever it was given: its own words are in {log}; nothing is recorded of these clips, "
            "so mend it (`mfa version`, the model, memory) and run the same command again"
        )


class ForeignEntity(Untreatable):
    """What a DTD in another file may stand for; what is left without it would be other words."""

    def __init__(self, name: str) -> None:
        super().__init__(f"it refers to the entity '{name}', which only another file could declare: it is not read")


class WeightsChanged(EmolakeError):
    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} is not what was recorded of this checkpoint (missing, or other bytes): put it back, or run the "
            "same command again, which records it as another checkpoint and extracts with that"
        )


class NoneInPart(EmolakeError):
    def __init__(self, protocol: str, fold: str, part: str, n_utterances: int, choices: Iterable[str]) -> None:
        ways = " or ".join(f"'{choice}'" for choice in choices) or f"a protocol with another rule for {part}"
        super().__init__(
            f"protocol '{protocol}' puts none of {n_utterances} utterances into {part} (fold '{fold}'): "
            f"take more utterances, or {ways}"
        )


class NothingToRetry(EmolakeError):
    def __init__(self, reason: str, step: str, reasons: Iterable[str]) -> None:
        where = f" in step '{step}'" if step else ""
        there = _shorten(reasons)
        known = f" (reasons: {there}); `emolake failures` lists them" if there else ": nothing failed there"
        super().__init__(f"nothing failed{where} with a reason that contains '{reason}'{known}")


class NothingToTrainOn(EmolakeError):
    def __init__(self, n_clips: int, reason: str) -> None:
        super().__init__(
            f"MFA can train on none of {n_clips} clips (the first: {reason}): name other corpora, or a dictionary with "
            "their words"
        )


class ProcessDied(EmolakeError):
    def __init__(self, exit_code: int) -> None:
        how = f"ended (status {exit_code})"
        if exit_code < 0:
            names = {one.value: one.name for one in signal.Signals}
            how = f"died (signal {-exit_code}, {names.get(-exit_code, 'unnamed')})"
        super().__init__(f"the process {how} while it was treated")


class NoOtherVoice(EmolakeError):
    def __init__(self, protocol: str) -> None:
        super().__init__(
            f"protocol '{protocol}' puts no two speakers into the same part in every fold, so nobody can be given "
            "another's voice: take a protocol that leaves out sessions or keeps official parts, not single speakers"
        )


class VoiceElsewhere(EmolakeError):
    def __init__(
        self, model: str, fold: str, utterance: str, voice: str, part: str, retold: str, selection: str = ""
    ) -> None:
        where = f"is {part}" if part else "is in no part"
        drawn = f" (one that draws nothing: among what '{selection}' selects it draws anew)" if selection else ""
        super().__init__(
            f"model '{model}', fold '{fold}': utterance '{utterance}' is learned from with the voice of '{voice}', "
            f"which {where} there: let retold.{retold}.voices name the protocol of the model{drawn}"
        )


class StepsDiffer(EmolakeError):
    def __init__(self, utterance: str, stream: str, n_own: int, role: str, n_given: int) -> None:
        same = "tokenizer and max_tokens" if stream == "text" else "convolutions"
        super().__init__(
            f"utterance '{utterance}' has {n_own} steps of {stream} in the student, but {n_given} in '{role}': "
            f"give '{role}' a feature whose encoder has the same {same} as the one in the student's slot '{stream}'"
        )
