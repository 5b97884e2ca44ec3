"""New clips to probabilities: made as the corpora's were, in a lake of their own that is gone afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from features.audio import PLAIN
from features.encoding.pretrained import device_of
from features.extract import works
from features.inventory import column, holding, row_key
from features.placed import unchanged
from features.plugin import RawFile
from features.raw import RawDigests
from features.rows import duration_of, utterance_row
from features.subtitles.subtitle_files import MEDIA
from flows.origins import Host, Origin, Plugin, moved, origins_of, plugin_of
from flows.pack import pack_text_works, pack_works
from flows.pack_segments import Frames, Tier, pack_means_works, pack_spans_works
from flows.trained import Trained
from warehouse import Warehouse
from warehouse.artifact import Artifact, Request, Work
from warehouse.errors import EmolakeError, InvalidField, NoClasses, UnknownName
from warehouse.hashing import short_digest
from warehouse.schema import FAILURES, UTTERANCES, pair_id
from warehouse.tables import array_of, read_table, write_rows

CORPUS = "clips"
SUFFIXES = PLAIN | frozenset(MEDIA)
"""What of a folder is taken for sound. A file that is named itself may have any suffix."""

BATCH_S = 30.0
"""Seconds of sound between two signs of life."""

ROOT = Path("/")
"""What the clips' paths are relative to: they may lie anywhere."""

Watch = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
"""Who is shown how far a stage is: done, of how many."""


@dataclass(frozen=True)
class Clip:
    """One file with what was said of it: the probability of each class, or why there is none.

    Args:
        text_from: 'given', 'beside' (its .txt), 'heard', or '' where the model reads none.
    """

    file: str
    text: str = ""
    text_from: str = ""
    probabilities: Mapping[str, float] = field(default_factory=dict)
    failure: str = ""

    @property
    def label(self) -> str:
        """The class of greatest probability, '' where there is none."""
        return max(self.probabilities, key=self.probabilities.__getitem__, default="")

    def as_json(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("file", "label", "text", "text_from", "failure")}
        return own | {"probabilities": dict(self.probabilities)}


def files_below(paths: Sequence[Path]) -> list[Path]:
    """The files named, and in the place of a folder all sound below it, in order of path."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(one for one in path.rglob("*") if one.suffix.lower() in SUFFIXES and one.is_file())
        else:
            found.append(path)
    return found


def label_clips(
    warehouse: Warehouse, fits: Sequence[Trained], files: Sequence[Path], host: Host, *, text: str | None = None,
    recogniser: str | None = None, watch: Watch | None = None,
) -> tuple[list[Clip], list[str]]:  # fmt: skip
    """Labels clips, each with the mean of the fits' probabilities.

    A clip is treated as an utterance of a corpus would be: by the same extractors and aligners, so it gets what the
    same sound and text got in the model's own test part. Nothing of it stays in the lake, but that an extractor's
    canary is run where this environment is new to it.

    Args:
        fits: of one model.
        text: of every clip, in the place of the .txt file that lies beside one.
        recogniser: the feature of extractor 'asr' that hears the words of clips without text; the only one of the lake
            if none is named.

    Returns:
        The clips in order, those that could not be treated among them, and what a reader should know of all.

    Raises:
        InvalidField: the model reads text, some clip has none, and there is no recogniser, or there are several; or an
            input of the model cannot be made here, as `flows.origins` says.
        UnknownName, MissingFolder, VersionDiffers, NoClasses.
    """
    watch = watch or (lambda stage: nullcontext(lambda done, total: None))
    origins = origins_of(warehouse, fits[0].checkpoint, host)
    reads = any("text" in origin.needs for origin in origins.values())
    clips = [_with_text(Clip(str(file)), text) if reads else Clip(str(file)) for file in files]
    silent = [clip for clip in clips if reads and not clip.text and not clip.failure]
    hears = _recogniser(warehouse, recogniser, len(silent), fits[0].name, host) if silent else None
    plugins = [one for origin in origins.values() for one in (origin.extractor, origin.aligner) if one]
    plugins += [hears] if hears else []
    with warehouse.scratch("predict") as folder, ExitStack() as stack:
        for one in plugins:
            stack.enter_context(unchanged(warehouse.root, one.plugin, one.folder))
        tried = {row_key(one.step, one.plugin): one for one in plugins if one.step.startswith("extractors.")}
        told = [moved(warehouse, one, host.device) for one in tried.values()]
        line = _Line(Warehouse(folder / "lake", create=True), host.device, watch)
        rows, clips = line.rows(clips)
        if hears:
            rows, clips = line.heard(hears, rows, clips)
        reading = line.reading(rows)
        shards = {role: line.shards(origin, reading) for role, origin in origins.items()}
        clips = _without(clips, rows, shards, line.reasons(rows))
        ready = [f"{number:06d}" for number, clip in enumerate(clips) if not clip.failure]
        if ready:
            clips = _labelled(clips, ready, fits, shards, host.device, watch)
    return clips, list(dict.fromkeys(filter(None, told)))


def _labelled(
    clips: Sequence[Clip], ready: Sequence[str], fits: Sequence[Trained], shards: Mapping[str, Sequence[Path]],
    device: str, watch: Watch,
) -> list[Clip]:  # fmt: skip
    from models import checkpoint
    from models.predict import probabilities  # here: torch takes a second or two

    sums: dict[str, Any] = {}
    with watch("labelling") as progress:
        for n_done, fit in enumerate(fits, start=1):
            card, network = checkpoint.load(fit.checkpoint.whole())
            if not card.classes:
                raise NoClasses(card.step)
            found = probabilities(card, network, shards, CORPUS, dict.fromkeys(ready), device_of(device))
            sums = {one: sums.get(one, 0) + found[one] for one in ready}
            progress(n_done, len(fits))
    means = {int(one): (total / len(fits)).tolist() for one, total in sums.items()}
    return [
        replace(clip, probabilities=dict(zip(card.classes, means[number], strict=True))) if number in means else clip
        for number, clip in enumerate(clips)
    ]


def _with_text(clip: Clip, given: str | None) -> Clip:
    beside = Path(clip.file).with_suffix(".txt")
    try:
        if given is not None:
            return replace(clip, text=given, text_from="given")
        if beside.is_file():
            return replace(clip, text=beside.read_text(encoding="utf-8"), text_from="beside")
    except UnicodeDecodeError:
        return replace(clip, failure=f"{beside.name} beside it is not UTF-8")
    return clip


def _recogniser(warehouse: Warehouse, name: str | None, n_silent: int, model: str, host: Host) -> Plugin:
    """The extractor that hears words, as some feature of the lake has it."""
    rows = {
        short_digest(a.request.params["plugin"]): a.request.params["plugin"]
        for a in warehouse.artifacts("features") if a.request.params["plugin"]["step"] == "extractors.asr"
    }  # fmt: skip
    keys = {own: ref["plugin_key"] for own, ref in warehouse.refs("features").items()}
    known = {own: rows[key] for own, key in keys.items() if key in rows}
    if name is not None and name not in known:
        raise UnknownName("feature of extractor 'asr'", name, known)
    if name is None and len({keys[own] for own in known}) != 1:
        there = f"the lake has several that hear words ({', '.join(sorted(known))}): choose one with --asr"
        ways = "give --text, put a .txt of the same name beside the clip, or run a recipe with a feature of extractor "
        todo = there if known else f"{ways}'asr' in this lake, which hears the words"
        raise InvalidField(f"'{model}'", "text", f"is read by the model, and {n_silent} clips have none; {todo}")
    return plugin_of(warehouse, known[name or next(iter(known))], host)


def _without(
    clips: Sequence[Clip], rows: Mapping[int, Mapping[str, Any]], shards: Mapping[str, Sequence[Path]],
    reasons: Mapping[int, str],
) -> list[Clip]:  # fmt: skip
    """The clips, with a failure where some role has nothing of one."""
    packed = {
        role: {int(one) for folder in folders for one in column(folder / "index.parquet", "utterance_id")}
        for role, folders in shards.items()
    }
    found = list(clips)
    for number in rows:
        lacking = [role for role, own in packed.items() if number not in own]
        if lacking and not clips[number].failure:
            none = "it has no words" if not clips[number].text.strip() else f"there is nothing of it for '{lacking[0]}'"
            found[number] = replace(clips[number], failure=reasons.get(number, none))
    return found


@dataclass(frozen=True)
class _Line:
    """The few steps of `flows.line` that new clips need, over the lake of their own."""

    lake: Warehouse
    device: str
    watch: Watch

    def rows(self, clips: Sequence[Clip]) -> tuple[dict[int, dict[str, Any]], list[Clip]]:
        """Number -> row of UTTERANCES of those that have sound; and all clips, with a failure where one has none."""
        found, told = {}, list(clips)
        digests = RawDigests(self.lake.root)
        try:
            for number, clip in enumerate(clips):
                if clip.failure:
                    continue
                path = Path(clip.file).absolute().as_posix().lstrip("/")
                try:
                    if not (ROOT / path).is_file():
                        told[number] = replace(clip, failure="there is no such file")
                        continue
                    recording = digests.raw_file(ROOT, path)
                    end_s = duration_of(ROOT, path)
                except EmolakeError as error:
                    told[number] = replace(clip, failure=_named(str(error), path))
                    continue
                found[number] = utterance_row(
                    utterance_id=f"{number:06d}", corpus=CORPUS, unit=CORPUS, recording=recording, start_s=0.0,
                    end_s=end_s, verbatim=clip.text, text=clip.text,
                )  # fmt: skip
        finally:
            digests.close()
        return found, told

    def reading(self, rows: Mapping[int, Mapping[str, Any]]) -> Artifact:
        """An artifact of these utterances."""
        own = list(rows.values())
        asked = [[row["utterance_id"], row["audio_id"], row["text_id"]] for row in own]
        request = Request("utterances", "flows.clips", 1, {"rows": asked})
        return self.lake.materialize(request, lambda folder: write_rows(folder / "utterances.parquet", own, UTTERANCES))

    def heard(
        self, hears: Plugin, rows: Mapping[int, dict[str, Any]], clips: Sequence[Clip]
    ) -> tuple[dict[int, dict[str, Any]], list[Clip]]:
        """The rows and clips with the words that were heard where there is no text."""
        silent = {number: row for number, row in rows.items() if not clips[number].text}
        texts: dict[str, str] = {}
        for artifact in self._made(hears, self.reading(silent), "hearing words") if silent else ():
            for row in pq.read_table(artifact.path("features.parquet")).to_pylist():
                texts[row["input_id"]] = array_of(row, "text").tobytes().decode()
        told, found = list(clips), dict(rows)
        for number, row in silent.items():
            text = texts.get(row["audio_id"], "")
            told[number] = replace(clips[number], text=text, text_from="heard")
            recording = RawFile(row["path"], 0, row["recording_id"])
            own = {name: row[name] for name in ("utterance_id", "corpus", "unit", "start_s", "end_s")}
            found[number] = utterance_row(**own, recording=recording, verbatim=text, text=text)
        return found, told

    def shards(self, origin: Origin, reading: Artifact) -> list[Path]:
        """The folders of the shards of one role."""
        if origin.aligner:
            aligned = self._made(origin.aligner, reading, "aligning", "intervals")
            tier = Tier(origin.tier, origin.aligner.step, origin.aligner.plugin, aligned)
            if not origin.extractor:
                return self._packed(pack_spans_works([reading], tier))
        if not origin.extractor:
            return self._packed(pack_text_works([reading]))
        step, plugin, output = origin.extractor.step, origin.extractor.plugin, origin.output
        made, spec = self._made(origin.extractor, reading, f"extracting {step}"), origin.extractor.outputs[output]
        if not origin.aligner:
            return self._packed(pack_works([reading], step, plugin, output, spec, made))
        frames = Frames(output, spec.hop_s or 0.0, step, plugin, made)
        return self._packed(pack_means_works([reading], frames, tier))

    def reasons(self, rows: Mapping[int, Mapping[str, Any]]) -> dict[int, str]:
        """Number -> why a step could not treat it. Clips of the same sound share their rows, and so their failures."""
        reasons: dict[str, str] = {}
        for artifact in self.lake.artifacts():
            if "failures.parquet" in artifact.files:
                for row in read_table(artifact.path("failures.parquet"), FAILURES).to_pylist():
                    reasons.setdefault(row["input_id"], row["reason"])
        found: dict[int, str] = {}
        for number, row in rows.items():
            ids = row["audio_id"], row["text_id"], pair_id(row["audio_id"], row["text_id"])
            told = [_named(reasons[one], row["path"]) for one in ids if one in reasons]
            found |= {number: told[0]} if told else {}
        return found

    def _made(self, one: Plugin, reading: Artifact, stage: str, kind: str = "features") -> list[Artifact]:
        roots = {CORPUS: ROOT}
        asked = works(self.lake, one.step, one.plugin, [reading], roots, self.device, one.folder, BATCH_S)
        with self.watch(stage) as progress:
            for n_done, work in enumerate(asked):
                progress(n_done, len(asked))
                self.lake.perform(work)
        return holding(self.lake, kind, one.step, one.plugin)

    def _packed(self, asked: Sequence[Work]) -> list[Path]:
        return [self.lake.perform(work).folder for work in asked]


def _named(reason: str, path: str) -> str:
    """A reason that names the file by its name alone: the row says where it lies."""
    return reason.replace(path, Path(path).name)
