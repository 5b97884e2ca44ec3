"""A corpus told again: the same utterances with other words or another sound, out of the rows of an extractor.

What is told again is a corpus like any other: aligners, extractors and models are given its name. Each of its
utterances has an id of its own and says in `attributes['source']` whose place it takes. Who speaks, in which dialogue
and session, is as in the source, and a protocol puts it where its source is (`flows.stand_ins`).

It has the units of its source, and one step for each: a unit that changes tells itself again and no other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from features import raw
from features.float_wav import HEADER_BYTES, write_float_wav
from features.inventory import failures_of, ids_by, input_id, row_identity, row_ids
from features.plugin import RATE_HZ, FeatureSpec, RawFile
from features.rows import failure_row
from warehouse.artifact import Artifact, Request, Work
from warehouse.hashing import file_digest
from warehouse.schema import FAILURES, FILES, LABELS, UTTERANCES, audio_id, canonical_text, make_id, text_id
from warehouse.tables import array_of, read_table, rows_about, write_rows

STEP = "features.retell"
VERSION = 1

Units = Mapping[str, tuple[Artifact, Artifact]]
"""Unit of the source -> the record of its raw files, and its utterances."""


@dataclass(frozen=True)
class Answers:
    """One output of an extractor, and every artifact with its rows, or failures, for the corpus that is told again."""

    step: str
    plugin: Any
    output: str
    artifacts: Sequence[Artifact]

    def identity(self) -> dict[str, Any]:
        """What a request says of it."""
        return {"plugin": row_identity(self.step, self.plugin), "output": self.output}


def is_text(spec: FeatureSpec) -> bool:
    """Whether an output is UTF-8 text, as `asr` gives it."""
    return spec.level == "token" and spec.axes[0] == "byte" and (spec.dim, spec.dtype) == (1, "uint8")


def is_wave(spec: FeatureSpec) -> bool:
    """Whether an output is sound as `Clip.wave` is: float32 at RATE_HZ."""
    return (spec.level, spec.axes, spec.dtype, spec.hop_s) == ("sample", ("sample",), "float32", 1 / RATE_HZ)


def own_id(utterance_id: str, corpus: str) -> str:
    """The id without the name of its corpus: the same in a corpus and in all that are told from it.

    Example:
        >>> own_id("iemocap-Ses01F_impro01_F000", "iemocap")
        'Ses01F_impro01_F000'
    """
    return utterance_id.removeprefix(f"{corpus}-")


def retold_row(row: Mapping[str, Any], corpus: str, attributes: Mapping[str, str], **columns: Any) -> dict[str, Any]:
    """An utterance of the source as one of the corpus told from it.

    Args:
        attributes: beside its own and 'source'.
        columns: those that are told otherwise.
    """
    told = {**dict(row["attributes"]), "source": row["utterance_id"], **attributes}
    new_id = make_id(corpus, own_id(row["utterance_id"], row["corpus"]))
    return {**row, "utterance_id": new_id, "corpus": corpus, "attributes": told, **columns}


# -- other words -------------------------------------------------------------------------------------------------------


def text_works(corpus: str, units: Units, answers: Answers, language: str = "") -> list[Work]:
    """One work per unit: its utterances with the text of the rows, verbatim and normalised alike.

    A text without a letter is a legal text; an utterance without a row is a failures row that says why.

    Args:
        corpus: the name of what is told.
        language: of the texts; '' leaves the source's.
    """
    source = {"text": answers.identity(), "language": language}
    works = []
    for unit, (recorded, utterances), cited in _cited(units, answers):
        inputs = {
            "raw": (recorded.digest,), "source": (utterances.digest,), "features": tuple(a.digest for a in cited),
        }  # fmt: skip
        request = Request("utterances", STEP, VERSION, {"corpus": corpus, "unit": unit, "source": source}, inputs)
        arguments = {
            "corpus": corpus, "source": utterances, "features": cited, "needs": answers.plugin.needs,
            "output": answers.output, "language": language,
        }  # fmt: skip
        works.append(Work(request, write_text, arguments))
    return works


def write_text(
    folder: Path, corpus: str, source: Artifact, features: Sequence[Artifact], needs: str, output: str, language: str
) -> None:
    """Writes a unit's utterances with other words, and which of them have none."""
    rows = read_table(source.path("utterances.parquet"), UTTERANCES).to_pylist()
    wanted = {input_id(row, needs) for row in rows}
    texts = {one: array.tobytes() for one, array in _arrays(features, wanted, output)}
    reasons = _reasons(features)
    found, failures = [], []
    for row in rows:
        try:
            text = canonical_text(texts[input_id(row, needs)].decode())
        except KeyError:
            failures.append(_failure(row, needs, reasons, corpus))
        except UnicodeDecodeError as error:
            failures.append(failure_row(STEP, row["utterance_id"], f"its text for '{corpus}' is not UTF-8: {error}"))
        else:
            words = {"verbatim": text, "text": text, "text_id": text_id(text)}
            found.append(retold_row(row, corpus, {}, **words, language=language or row["language"]))
    write_rows(folder / "utterances.parquet", found, UTTERANCES)
    write_rows(folder / "failures.parquet", failures, FAILURES)


# -- another sound -----------------------------------------------------------------------------------------------------


def wave_works(corpus: str, units: Units, answers: Answers) -> dict[str, Work]:
    """Unit -> the work that writes the sound of its rows as files, with their record, as if somebody had brought them.

    Their paths are relative to the lake's folder of artifacts, which is the root of the corpus.
    """
    works = {}
    for unit, (_, utterances), cited in _cited(units, answers):
        params = {"corpus": corpus, "unit": unit, "source": {"sound": answers.identity()}}
        inputs = {"source": (utterances.digest,), "features": tuple(a.digest for a in cited)}
        request = Request("raw", STEP, VERSION, params, inputs)
        arguments = {
            "corpus": corpus, "source": utterances, "features": cited, "needs": answers.plugin.needs,
            "output": answers.output, "place": f"raw/{request.key}",
        }  # fmt: skip
        works[unit] = Work(request, write_waves, arguments)
    return works


def write_waves(
    folder: Path, corpus: str, source: Artifact, features: Sequence[Artifact], needs: str, output: str, place: str
) -> None:
    """Writes `wav/<utterance id>.wav` of every row with sound, and `files.parquet`."""
    owners: dict[str, list[str]] = {}
    for row in read_table(source.path("utterances.parquet"), UTTERANCES).to_pylist():
        owners.setdefault(input_id(row, needs), []).append(retold_row(row, corpus, {})["utterance_id"])
    (folder / "wav").mkdir()
    files = []
    for one, wave in _arrays(features, owners.keys(), output):
        for utterance_id in owners[one] if len(wave) else ():
            path = folder / "wav" / f"{utterance_id}.wav"
            write_float_wav(path, wave)
            files.append(RawFile(f"{place}/wav/{path.name}", path.stat().st_size, file_digest(path)))
    raw.write_files(folder, sorted(files, key=lambda file: file.path))


def sound_works(corpus: str, units: Units, answers: Answers, recorded: Mapping[str, Artifact]) -> list[Work]:
    """One work per unit: its utterances with the sound of the files.

    Args:
        recorded: unit -> the answer to its work of `wave_works`.
    """
    source = {"sound": answers.identity()}
    works = []
    for unit, (_, utterances), cited in _cited(units, answers):
        inputs = {
            "raw": (recorded[unit].digest,), "source": (utterances.digest,),
            "features": tuple(a.digest for a in cited),
        }  # fmt: skip
        request = Request("utterances", STEP, VERSION, {"corpus": corpus, "unit": unit, "source": source}, inputs)
        arguments = {
            "corpus": corpus, "source": utterances, "features": cited, "needs": answers.plugin.needs,
            "recorded": recorded[unit],
        }  # fmt: skip
        works.append(Work(request, write_sound, arguments))
    return works


def write_sound(
    folder: Path, corpus: str, source: Artifact, features: Sequence[Artifact], needs: str, recorded: Artifact
) -> None:
    """Writes a unit's utterances with another sound, and which of them have none."""
    files = {Path(file["path"]).stem: file for file in read_table(recorded.path("files.parquet"), FILES).to_pylist()}
    reasons = _reasons(features)
    found, failures = [], []
    for row in read_table(source.path("utterances.parquet"), UTTERANCES).to_pylist():
        told = retold_row(row, corpus, {})
        file = files.get(told["utterance_id"])
        if file is None:
            failures.append(_failure(row, needs, reasons, corpus))
            continue
        end_s = (file["n_bytes"] - HEADER_BYTES) / np.dtype(np.float32).itemsize / RATE_HZ
        found.append(told | {
            "recording_id": file["sha256"], "path": file["path"], "start_s": 0.0, "end_s": end_s, "channel": "mix",
            "audio_id": audio_id(file["sha256"], 0.0, end_s, "mix"),
        })  # fmt: skip
    write_rows(folder / "utterances.parquet", found, UTTERANCES)
    write_rows(folder / "failures.parquet", failures, FAILURES)


# -- labels ------------------------------------------------------------------------------------------------------------


def label_works(corpus: str, units: Mapping[str, tuple[Artifact, Artifact]]) -> list[Work]:
    """One work per unit: the source's labels of the utterances that are told again.

    Args:
        units: unit -> its utterances as they are told again, and the source's labels.
    """
    works = []
    for unit, (utterances, labels) in units.items():
        inputs = {"utterances": (utterances.digest,), "labels": (labels.digest,)}
        request = Request("labels", STEP, VERSION, {"corpus": corpus, "unit": unit}, inputs)
        works.append(Work(request, write_labels, {"utterances": utterances, "labels": labels}))
    return works


def write_labels(folder: Path, utterances: Artifact, labels: Artifact) -> None:
    """Writes a unit's labels under the ids of the utterances that are told again."""
    rows = read_table(utterances.path("utterances.parquet"), UTTERANCES).to_pylist()
    told = {dict(row["attributes"])["source"]: row["utterance_id"] for row in rows}
    found = [
        row | {"utterance_id": told[row["utterance_id"]]}
        for row in read_table(labels.path("labels.parquet"), LABELS).to_pylist()
        if row["utterance_id"] in told
    ]
    write_rows(folder / "labels.parquet", found, LABELS)


# -- inside ------------------------------------------------------------------------------------------------------------


def _cited(units: Units, answers: Answers) -> Iterator[tuple[str, tuple[Artifact, Artifact], list[Artifact]]]:
    """Each unit with the artifacts that hold its rows or, where there are none, its failures, by digest."""
    place: dict[str, Artifact] = {}
    for artifact, ids in sorted(ids_by(answers.artifacts, row_ids), key=lambda one: one[0].key):
        for one in ids:
            place.setdefault(one, artifact)
    for artifact, row in failures_of(answers.artifacts):
        place.setdefault(row["input_id"], artifact)
    for unit, (recorded, utterances) in units.items():
        rows = pq.read_table(utterances.path("utterances.parquet"), columns=["audio_id", "text_id"]).to_pylist()
        wanted = {input_id(row, answers.plugin.needs) for row in rows}
        by_digest = {place[one].digest: place[one] for one in wanted if one in place}
        yield unit, (recorded, utterances), sorted(by_digest.values(), key=lambda artifact: artifact.digest)


def _arrays(features: Sequence[Artifact], wanted: Collection[str], output: str) -> Iterator[tuple[str, np.ndarray]]:
    """Input id -> its array, a few at a time, each id once."""
    seen: set[str] = set()
    columns = ["input_id", output, f"{output}_shape", f"{output}_dtype"]
    for path in dict.fromkeys(artifact.path("features.parquet") for artifact in features):
        for row in rows_about(path, wanted, columns):
            if row["input_id"] not in seen:
                seen.add(row["input_id"])
                yield row["input_id"], array_of(row, output)


def _reasons(features: Sequence[Artifact]) -> dict[str, str]:
    """Input id -> why the extractor failed on it."""
    return {failed["input_id"]: failed["reason"] for _, failed in failures_of(features)}


def _failure(row: Mapping[str, Any], needs: str, reasons: Mapping[str, str], corpus: str) -> dict[str, Any]:
    """Why an utterance could not be told again: under its own id, for there is none that is told again."""
    own = input_id(row, needs)
    reason = reasons.get(own, "nothing came of it" if own else "it has no sound")
    return failure_row(STEP, row["utterance_id"], f"it could not be told again for '{corpus}': {reason}", own)
