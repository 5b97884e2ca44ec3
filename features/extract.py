"""Wanted rows minus present rows, in batches, to artifacts: the one loop of every aligner and extractor.

A row belongs to (plug-in, input id). The input id is the audio id, the text id, or both together, as the plug-in
`needs`; so a corrected transcript re-embeds one text and decodes no audio, a new film costs only itself, and two
corpora that share a clip share its rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from features.audio import decode_many
from features.canary import canary_work, settled, verdict_of
from features.guard import death_of, guarded, noted, one_by_one
from features.inventory import checkpoint_inputs, holding, input_id, row_identity, row_key, treated, tries
from features.placed import record, unchanged
from features.plugin import Clip, FeatureSpec
from features.raw import RawDigests
from features.rows import interval_rows
from warehouse import Warehouse
from warehouse.artifact import Artifact, Request, Work
from warehouse.catalog import build
from warehouse.copies import fetched
from warehouse.errors import (
    ArtifactNotFound,
    EmolakeError,
    NothingToHear,
    ProcessDied,
    SourceChanged,
    UnreadableAudio,
)
from warehouse.hashing import digest
from warehouse.refs import corpus_root
from warehouse.schema import FAILURES, INTERVALS, UTTERANCES
from warehouse.tables import array_cells, array_columns, read_table, vector_columns, write_rows

BATCH_S = 240.0
"""Seconds of audio per artifact: long enough to hide the cost of a commit, short enough to lose little to a kill."""

WORD_S = 0.3
"""What a word counts as where there is no sound: about what it takes to say one."""


def works(
    warehouse: Warehouse,
    step: str,
    plugin: Any,
    utterances: Sequence[Artifact],
    roots: Mapping[str, Path],
    device: str = "cpu",
    checkpoint: Path | None = None,
    batch_s: float | None = None,
) -> list[Work]:
    """The works whose artifacts would hold every row that these utterances want and the lake has not.

    The hard case is a killed run: batches are cut from the *wanted* rows, which do not depend on what is present,
    and only then are present rows taken out. So whatever was finished before, the rest falls into the same batches.

    Args:
        step: 'extractors.opensmile', 'aligners.pocketsphinx', …
        utterances: 'utterances' artifacts; a batch never crosses from one to the next.
        roots: corpus -> folder of its raw files.
        checkpoint: folder of the checkpoint, for plug-ins that read one.
        batch_s: seconds of audio per artifact; the plug-in's own, or else BATCH_S, where none is given.

    Raises:
        NothingToHear: the plug-in needs sound, and a corpus has none at all.
    """
    kind = "intervals" if step.startswith("aligners.") else "features"
    limit_s: float = getattr(plugin, "batch_s", BATCH_S) if batch_s is None else batch_s
    present, again = treated(warehouse, kind, step, plugin), tries(warehouse, kind, step, plugin)
    seen = {""}  # no row is about sound that is not there
    found = []
    silent: dict[str, bool] = {}
    for artifact in utterances:
        wanted = []
        for row in read_table(artifact.path("utterances.parquet"), UTTERANCES).to_pylist():
            row["input_id"] = input_id(row, plugin.needs)
            silent[row["corpus"]] = silent.get(row["corpus"], True) and not row["input_id"]
            if row["input_id"] not in seen:
                seen.add(row["input_id"])
                wanted.append(row)
        for batch in _batches(wanted, limit_s):
            missing = [row for row in batch if row["input_id"] not in present]
            for attempt in sorted({again[row["input_id"]] for row in missing}):
                rows = [row for row in missing if again[row["input_id"]] == attempt]
                params = {"plugin": row_identity(step, plugin), "ids": digest([row["input_id"] for row in rows])}
                tried = {"attempt": attempt} if attempt else {}  # what failed and is tried again has a key of its own
                inputs = {"utterances": (artifact.digest,)} | checkpoint_inputs(plugin)
                request = Request(kind, step, plugin.version, params | tried, inputs)
                arguments = {
                    "lake": warehouse.root, "step": step, "plugin": plugin, "rows": rows, "roots": dict(roots),
                    "device": device, "checkpoint": checkpoint,
                }  # fmt: skip
                writer = write_intervals if kind == "intervals" else write_features
                found.append(Work(request, writer, arguments, n_rows=len(rows)))
    for corpus, is_silent in silent.items():
        if is_silent:
            raise NothingToHear(step, corpus)
    return found


def extract(
    warehouse: Warehouse,
    extractor: str,
    corpora: Sequence[str],
    *,
    device: str = "cpu",
    checkpoint: Path | None = None,
    **fields: Any,
) -> list[Artifact]:
    """Extracts what is missing, one batch after the other in this process, and returns every artifact that holds rows
    of this extractor.

    A clip that crashes a native library takes this process along, for there is no other: a recipe's run has processes
    for that, and records such a clip as a failure. Where the canary of this environment keeps the rows apart from those
    made before, a UserWarning says which library moved, and by how much.

    Args:
        extractor: a file name of `features/extractors`.
        corpora: names of ingested corpora.
        checkpoint: folder of the checkpoint, for extractors that read one. Its files are recorded first.
        fields: of the extractor.

    Raises:
        UnknownName, UnknownField, NothingToHear, ArtifactNotFound (a corpus that was never ingested).

    Example:
        ``extract(wh, "opensmile", ["iemocap"], feature_set="eGeMAPSv02", level="functionals")``
        ``extract(wh, "speech_encoder", ["iemocap"], checkpoint=Path("weights/facebook/hubert-base-ls960"))``
    """
    if checkpoint is not None and "weights" not in fields:
        fields["weights"] = record(warehouse, checkpoint).digest
    plugin = build("features.extractors", extractor, fields, f"extractor '{extractor}'")
    artifacts, roots = [], {}
    for corpus in corpora:
        ref = warehouse.ref(f"corpora/{corpus}")
        if ref is None:
            raise ArtifactNotFound(f"corpora/{corpus}")
        artifacts += [warehouse.with_digest(d)[0] for d in ref["utterances"]]
        roots[corpus] = corpus_root(warehouse.root, ref)
    step = f"extractors.{extractor}"
    canary = warehouse.perform(canary_work(warehouse, step, plugin, device, checkpoint))
    if verdict_of(canary).sentence:
        warnings.warn(f"extractor '{extractor}': {verdict_of(canary).sentence}", stacklevel=2)
    plugin = settled(plugin, canary)
    for work in works(warehouse, step, plugin, artifacts, roots, device, checkpoint):
        warehouse.perform(work)
    return holding(warehouse, "features", step, plugin)


def write_features(
    folder: Path, lake: Path, step: str, plugin: Any, rows: Sequence[Mapping[str, Any]], roots: Mapping[str, Path],
    device: str, checkpoint: Path | None,
) -> None:  # fmt: skip
    """Answers one batch of an extractor: `features.parquet` and `failures.parquet`."""
    extra = (checkpoint,) if getattr(plugin, "reads_checkpoint", False) else ()
    found = []
    with unchanged(lake, plugin, checkpoint):
        outputs = plugin.outputs(*extra)
        run = _loaded(row_key(step, plugin), plugin, device, extra)
        clips, failures = decoded(lake, step, plugin.needs, rows, roots)
        for clip, answer in guarded(run, clips, outputs):
            if isinstance(answer, Exception):
                failures.append(_failure(clip.input_id, rows, step, answer))
                continue
            row: dict[str, Any] = {"input_id": clip.input_id}
            for name, spec in outputs.items():
                if spec.level == "utterance":
                    row |= dict(zip(spec.names, answer[name].tolist(), strict=True))
                else:
                    row |= array_cells(name, answer[name])
            found.append(row)
    write_rows(folder / "features.parquet", found, feature_schema(outputs))
    write_rows(folder / "failures.parquet", failures, FAILURES)


@lru_cache(maxsize=1)
def _loaded(key: str, plugin: Any, device: str, extra: tuple[Path, ...]) -> Any:
    """One loading serves batch after batch: a network, or a decoder's dictionary, takes longer to read than some
    batches to treat. `key` tells two plug-ins apart that name the same file, which has changed since."""
    return plugin.load(device, *extra)


def write_intervals(
    folder: Path, lake: Path, step: str, plugin: Any, rows: Sequence[Mapping[str, Any]], roots: Mapping[str, Path],
    device: str, checkpoint: Path | None,
) -> None:  # fmt: skip
    """Answers one batch of an aligner: `intervals.parquet` and `failures.parquet`."""
    many = getattr(plugin, "aligns_many", False)
    align = _loaded(row_key(step, plugin), plugin, device, (lake,) if many else ())
    clips, failures = decoded(lake, step, plugin.needs, rows, roots)
    answers = zip(clips, align(clips), strict=True) if many else one_by_one(align, clips)
    found: list[dict[str, Any]] = []
    for clip, answer in answers:
        if isinstance(answer, Exception):
            failures.append(_failure(clip.input_id, rows, step, answer))
        else:
            found += interval_rows(clip.input_id, answer)
    write_rows(folder / "intervals.parquet", found, INTERVALS)
    write_rows(folder / "failures.parquet", failures, FAILURES)


def feature_schema(outputs: Mapping[str, FeatureSpec]) -> pa.Schema:
    """Columns of a feature table: the input id, then each output's."""
    columns = [pa.field("input_id", pa.string(), nullable=False)]
    for name, spec in outputs.items():
        columns += list(vector_columns(spec.names) if spec.level == "utterance" else array_columns(name))
    return pa.schema(columns)


def _batches(rows: Sequence[dict[str, Any]], batch_s: float) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    total_s = 0.0
    for row in rows:
        length_s = row["end_s"] - row["start_s"] or WORD_S * _n_words(row["text"])
        if batch and total_s + length_s > batch_s:
            yield batch
            batch, total_s = [], 0.0
        batch.append(row)
        total_s += length_s
    if batch:
        yield batch


def _n_words(text: str) -> int:
    """Words, or a twelfth of the bytes where they are more: not all languages set words apart."""
    return max(len(text.split()), len(text.encode()) // 12)


def decoded(
    lake: Path, step: str, needs: str, rows: Sequence[Mapping[str, Any]], roots: Mapping[str, Path]
) -> tuple[list[Clip], list[dict[str, Any]]]:
    """Decodes what must be heard; what cannot be decoded, or killed a process, becomes a failures row."""
    clips, failures, living = [], [], []
    for row in rows:
        exit_code = death_of(row["input_id"], row["recording_id"])
        if exit_code is None:
            living.append(row)
        else:
            failures.append(_failure(row["input_id"], rows, step, ProcessDied(exit_code)))
    if needs == "text":
        return [Clip(row["input_id"], text=row["text"]) for row in living], failures
    digests = RawDigests(lake)
    try:
        for (corpus, path, channel), group in groupby(
            living, key=lambda row: (row["corpus"], row["path"], row["channel"])
        ):
            own = list(group)
            fetched(roots[corpus] / path)  # sound that was made here is the lake's own
            if digests.raw_file(roots[corpus], path).sha256 != own[0]["recording_id"]:
                raise SourceChanged(roots[corpus] / path)
            with noted(own[0]["recording_id"]):
                waves = _waves(roots[corpus], path, own, channel)
            for row, wave in zip(own, waves, strict=True):
                if isinstance(wave, Exception):
                    failures.append(_failure(row["input_id"], rows, step, wave))
                else:
                    clips.append(Clip(row["input_id"], wave, row["text"] if needs == "pair" else ""))
    finally:
        digests.close()
    return clips, failures


def _waves(root: Path, path: str, rows: Sequence[Mapping[str, Any]], channel: str) -> list[np.ndarray | EmolakeError]:
    """The waves of many spans of one recording: all at once, or one by one when that fails. What is said of a failure
    names the path inside the corpus: where the corpus lies on this machine has no place in an artifact."""
    spans = [(row["start_s"], row["end_s"]) for row in rows]
    try:
        return list(decode_many(root / path, spans, channel))
    except EmolakeError as error:
        if len(rows) == 1:
            return [UnreadableAudio(path, error.why) if isinstance(error, UnreadableAudio) else error]
        return [wave for row in rows for wave in _waves(root, path, [row], channel)]


def _failure(input_id: str, rows: Sequence[Mapping[str, Any]], step: str, error: Exception) -> dict[str, Any]:
    utterance_id = next(row["utterance_id"] for row in rows if row["input_id"] == input_id)
    reason = str(error) if isinstance(error, EmolakeError) else f"{type(error).__name__}: {error}"
    return {"input_id": input_id, "utterance_id": utterance_id, "step": step, "reason": reason}
