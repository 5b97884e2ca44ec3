"""Raw trees to utterances and labels: one unit (a session, a split, a film) at a time, after one
survey of them all where the reader asks for it.

What was withdrawn (`warehouse.audit.purge`) is read and dropped: a reader is given all files, because what it makes of
one may rest on another, and no row of what is withdrawn is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from features import raw
from features.plugin import Corpus, RawFile, Rows, Surveyor
from features.unit_files import recorded_files
from features.voice_activity import kept_in
from warehouse import Warehouse
from warehouse.artifact import Artifact, Request, Work
from warehouse.audit.tombstones import (
    WITHDRAWN,
    Tombstone,
    concerned,
    hashed,
    refuse_unfinished,
    tombstones,
    withdrawn_recordings,
)
from warehouse.catalog import identity
from warehouse.errors import DuplicateId, MissingFolder, SourceChanged
from warehouse.hashing import plain
from warehouse.refs import corpus_root
from warehouse.schema import FAILURES, LABELS, SURVEY, UTTERANCES
from warehouse.tables import write_rows


def raw_works(
    digests: raw.RawDigests,
    corpus: str,
    reader: Corpus,
    root: Path,
    progress: Callable[[int], None] = lambda n_bytes: None,
) -> dict[str, Work]:
    """Unit -> the work that records its raw files. Hashes what is new or changed since the last time.

    Raises:
        MissingFolder: the corpus root is not there.
    """
    if not root.is_dir():
        raise MissingFolder(f"corpus '{corpus}'", root, f"say where it is with --root {corpus}=FOLDER")
    works, known = {}, tombstones(digests.lake)
    for unit, paths in reader.units(root).items():
        whole, files = digests.unit(root, f"{unit} {reader!r}", paths, progress)
        arguments: dict[str, Any] = {"files": files}
        if known and (gone := withdrawn_recordings(known, [file.sha256 for file in files])):
            whole = raw.files_digest(raw.without(files, gone))
            arguments["withdrawn"] = gone
        request = Request("raw", "features.raw", raw.VERSION, {"corpus": corpus, "unit": unit, "files": whole})
        works[unit] = Work(request, raw.write_files, arguments, n_rows=len(files))
    return works


def trusted_works(
    warehouse: Warehouse, corpus: str, step: str, reader: Corpus, root: Path
) -> tuple[dict[str, Work], str]:
    """What `raw_works` said when this corpus was read the last time, without a look at any raw file: work that rests on
    them is found by what the lake recorded of them, and a file that is new or has changed since is not seen. Who opens
    one later sees whether it is the recorded one, and stops if not.

    Args:
        root: where the files are said to be: of another folder than the one that was read nothing is recorded.

    Returns:
        Unit -> the work, whose artifact is there; or none, and why the files must be looked at all the same.
    """
    ref = warehouse.ref(f"corpora/{corpus}")
    if ref is None:
        return {}, "it was not read before"
    recorded_root = corpus_root(warehouse.root, ref)
    if recorded_root != root.absolute():
        return {}, f"it was read in {recorded_root}, not in {root.absolute()}"
    if tombstones(warehouse.root):
        return {}, "some of what was read was withdrawn since, and what is withdrawn is not recorded"
    asked = {"corpus": corpus} | plain(identity(step, reader))
    with_digest = warehouse.manifests.as_of_now()
    for digest in ref["utterances"]:
        made = [one.request for one in with_digest(digest)]
        told = [{"corpus": one.params.get("corpus"), "step": one.step, "version": one.version,
                 "fields": one.params.get("reader")} for one in made]  # fmt: skip
        if asked not in told:
            return {}, "its reader has changed since" if made else "the lake lacks some of what was read"
    recorded: dict[str, list[Artifact]] = {}
    for artifact in sorted(warehouse.artifacts("raw"), key=lambda one: str(one.request.params["unit"]), reverse=True):
        if artifact.request.params["corpus"] == corpus:
            recorded.setdefault(artifact.digest, []).append(artifact)
    if any(len(recorded.get(digest, ())) != n_units for digest, n_units in Counter(ref["raw"]).items()):
        return {}, "the lake does not record just these raw files"
    works = {}
    for digest in ref["raw"]:
        one = recorded[digest].pop()
        files = recorded_files(one.path("files.parquet"))
        works[one.request.params["unit"]] = Work(one.request, raw.write_files, {"files": files}, len(files))
    return works, ""


def survey_work(
    lake: Path, corpus: str, step: str, reader: Any, root: Path, recorded: Mapping[str, tuple[Work, Artifact]]
) -> Work | None:
    """The work that looks at all units before any is read; None where the reader asks for none (`plugin.Surveyor`).

    Args:
        recorded: unit -> the work of `raw_works` and its artifact.
    """
    if not (hasattr(reader, "wants_survey") and reader.wants_survey(root)):
        return None
    params = {"corpus": corpus, "reader": identity(step, reader)["fields"]}
    inputs = {"raw": tuple(artifact.digest for _, artifact in recorded.values())}
    units = {unit: work.arguments["files"] for unit, (work, _) in recorded.items()}
    arguments = {"lake": lake, "reader": reader, "root": root, "units": units}
    return Work(Request("survey", step, reader.version, params, inputs), write_survey, arguments)


def unit_works(
    lake: Path, corpus: str, step: str, reader: Corpus, root: Path, recorded: Mapping[str, tuple[Work, Artifact]],
    survey: Artifact | None = None,
) -> list[Work]:  # fmt: skip
    """Two works per unit, its utterances and its labels, apart: so that a relabelling changes no utterance.

    Args:
        recorded: unit -> the work of `raw_works` and its artifact.
        survey: the answer to `survey_work`, where there is one: then every unit rests on it.
    """
    works, known = [], tombstones(lake)
    for unit, (work, artifact) in recorded.items():
        files = work.arguments["files"]
        params = {"corpus": corpus, "unit": unit, "reader": identity(step, reader)["fields"]}
        arguments = {"lake": lake, "reader": reader, "root": root, "unit": unit, "corpus": corpus, "files": files}
        if known and (own := concerned(known, corpus, [file.sha256 for file in files])):
            params |= {WITHDRAWN: own}
            arguments |= {WITHDRAWN: own}
        inputs = {"raw": (artifact.digest,)}
        if survey:
            arguments["survey"] = survey.place("survey.parquet")
            inputs["survey"] = (survey.digest,)
        for kind, function in (("utterances", write_utterances), ("labels", write_labels)):
            request = Request(kind, step, reader.version, params, inputs)
            works.append(Work(request, function, arguments))
    return works


def ingest(warehouse: Warehouse, corpus: str, step: str, reader: Any, root: Path) -> list[Artifact]:
    """Ingests what is missing of a corpus, one unit after the other in this process, and lets its name point there.

    Args:
        step: of the reader: 'corpora.iemocap'.

    Returns:
        Its utterances and labels, unit by unit.

    Raises:
        MissingFolder, MalformedSource: as the reader says. SourceChanged: a file changed while it was read.
        UnfinishedPurge: a purge of the lake was ended half-way.

    Example:
        ``ingest(wh, "iemocap", "corpora.iemocap", Iemocap(), Path("/corpora/IEMOCAP_full_release"))``
    """
    refuse_unfinished(warehouse.root)
    digests = raw.RawDigests(warehouse.root)
    try:
        works = raw_works(digests, corpus, reader, root)
    finally:
        digests.close()
    recorded = {unit: (work, warehouse.perform(work)) for unit, work in works.items()}
    reading = warehouse.root, corpus, step, reader, root, recorded
    work = survey_work(*reading)
    made = [warehouse.perform(one) for one in unit_works(*reading, warehouse.perform(work) if work else None)]
    ref = corpus_ref(step, root.absolute(), [artifact for _, artifact in recorded.values()], made)
    warehouse.set_ref(f"corpora/{corpus}", ref)
    return made


@lru_cache(maxsize=4)
def _read(
    lake: Path, reader: Any, root: Path, unit: str, corpus: str, files: tuple[RawFile, ...],
    survey: Path | None = None, withdrawn: tuple[str, ...] = (),
) -> Rows:  # fmt: skip
    """One reading serves both of a unit's artifacts. `withdrawn` names the tombstones that concern the unit."""
    by_path = {file.path: file for file in files}
    surveyed = {"survey": _marks(survey, unit)} if survey else {}
    with unchanged(lake, root, files), kept_in(lake / ".cache" / "voice"):
        found: Rows = reader.read(root, unit, by_path, corpus, **surveyed)
    return _kept(found, [tombstones(lake)[own] for own in withdrawn]) if withdrawn else found


def _kept(rows: Rows, withdrawn: Sequence[Tombstone]) -> Rows:
    """The rows without what is withdrawn. A failure has no sound to be known by, so its id counts, and the speaker does
    not."""
    gone = {row["utterance_id"] for row in rows.utterances if any(one.covers(row) for one in withdrawn)}
    ids = frozenset[str]().union(*(one.utterances for one in withdrawn))

    def stays(row: Mapping[str, Any]) -> bool:
        return row["utterance_id"] not in gone and hashed(row["utterance_id"]) not in ids

    return Rows(*(list(filter(stays, own)) for own in (rows.utterances, rows.labels, rows.failures)))


def _marks(survey: Path, unit: str) -> dict[str, bytes]:
    """What a survey says of one unit; of a large one, only the part of the file with that unit is read."""
    rows = pq.read_table(survey, columns=["name", "marks"], filters=[("unit", "=", unit)])
    return dict(zip(rows["name"].to_pylist(), rows["marks"].to_pylist(), strict=True))


@contextmanager
def unchanged(lake: Path, root: Path, files: Sequence[RawFile]) -> Iterator[None]:
    """What was read is what was hashed: a file that changed between would give rows of new bytes under the old digest.

    Raises:
        SourceChanged: at the end, where a file is not the recorded one.
    """
    yield
    digests = raw.RawDigests(lake)
    try:
        now = digests.raw_files(root, [file.path for file in files])
        for file in files:
            if now[file.path] != file:
                raise SourceChanged(root / file.path)
    finally:
        digests.close()


def write_survey(
    folder: Path, lake: Path, reader: Surveyor, root: Path, units: Mapping[str, Sequence[RawFile]]
) -> None:
    """Writes what a reader finds out of all units."""
    with unchanged(lake, root, list({file.path: file for files in units.values() for file in files}.values())):
        rows = reader.survey(root, {unit: {file.path: file for file in files} for unit, files in units.items()})
        write_rows(folder / "survey.parquet", rows, SURVEY)


def write_utterances(folder: Path, **reading: Any) -> None:
    """Writes a unit's utterances and what could not be read of it.

    Raises:
        DuplicateId: the reader gives an id twice.
    """
    rows = _read(**reading)
    counted = Counter(row["utterance_id"] for row in rows.utterances)
    for utterance_id, n_times in counted.items():
        if n_times > 1:
            raise DuplicateId("utterance id", utterance_id, f"{reading['corpus']}, {reading['unit']}")
    write_rows(folder / "utterances.parquet", rows.utterances, UTTERANCES)
    write_rows(folder / "failures.parquet", rows.failures, FAILURES)


def write_labels(folder: Path, **reading: Any) -> None:
    """Writes a unit's labels."""
    write_rows(folder / "labels.parquet", _read(**reading).labels, LABELS)


def corpus_ref(reader_step: str, root: Path, raw_artifacts: Sequence[Artifact], artifacts: Sequence[Artifact]) -> dict:
    """What `refs/corpora/<name>` holds: the current reading of a corpus and where its files are. A `root` that is not
    absolute is relative to the lake (`warehouse.refs.corpus_root`)."""
    by_kind = {kind: [a.digest for a in artifacts if a.request.kind == kind] for kind in ("utterances", "labels")}
    return {"reader": reader_step, "root": str(root), "raw": [a.digest for a in raw_artifacts], **by_kind}
