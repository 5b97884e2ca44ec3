"""Raw trees to utterances and labels: one unit (a session, a split, a film) at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from features import raw
from features.plugin import Corpus, RawFile, Rows
from features.voice_activity import kept_in
from warehouse.artifact import Artifact, Request, Work
from warehouse.catalog import identity
from warehouse.errors import DuplicateId, MissingFolder, SourceChanged
from warehouse.schema import FAILURES, LABELS, UTTERANCES
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
    works = {}
    for unit, paths in reader.units(root).items():
        files = tuple(digests.raw_files(root, paths, progress).values())
        params = {"corpus": corpus, "unit": unit, "files": raw.files_digest(files)}
        request = Request("raw", "features.raw", raw.VERSION, params)
        works[unit] = Work(request, raw.write_files, {"files": files}, n_rows=len(files))
    return works


def unit_works(
    lake: Path, corpus: str, step: str, reader: Corpus, root: Path, recorded: Mapping[str, tuple[Work, Artifact]]
) -> list[Work]:
    """Two works per unit, its utterances and its labels, apart: so that a relabelling changes no utterance.

    Args:
        recorded: unit -> the work of `raw_works` and its artifact.
    """
    works = []
    for unit, (work, artifact) in recorded.items():
        params = {"corpus": corpus, "unit": unit, "reader": identity(step, reader)["fields"]}
        arguments = {
            "lake": lake,
            "reader": reader,
            "root": root,
            "unit": unit,
            "corpus": corpus,
            "files": work.arguments["files"],
        }
        for kind, function in (("utterances", write_utterances), ("labels", write_labels)):
            request = Request(kind, step, reader.version, params, {"raw": (artifact.digest,)})
            works.append(Work(request, function, arguments))
    return works


@lru_cache(maxsize=4)
def _read(lake: Path, reader: Corpus, root: Path, unit: str, corpus: str, files: tuple[RawFile, ...]) -> Rows:
    """One reading serves both of a unit's artifacts."""
    with unchanged(lake, root, files), kept_in(lake / ".cache" / "voice"):
        return reader.read(root, unit, {file.path: file for file in files}, corpus)


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
    """What `refs/corpora/<name>` holds: the current reading of a corpus and where its files are."""
    by_kind = {kind: [a.digest for a in artifacts if a.request.kind == kind] for kind in ("utterances", "labels")}
    return {"reader": reader_step, "root": str(root), "raw": [a.digest for a in raw_artifacts], **by_kind}
