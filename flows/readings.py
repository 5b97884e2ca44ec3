"""A corpus as a line reads it: raw files, their record, utterances and labels, unit by unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features import ingest
from features.plugin import RawFile
from features.raw import RawDigests
from flows.recipe import plugin_of, step_of
from warehouse.artifact import Artifact, Work

if TYPE_CHECKING:
    from flows.line import Line

TRUSTED = "taken as recorded: nobody looked at the raw files, and what is new or changed was not seen"


@dataclass(frozen=True)
class Reading:
    """A corpus as ingested or told again now. `units` has each unit's raw files, their record, and its utterances."""

    utterances: list[Artifact]
    labels: list[Artifact]
    units: Mapping[str, tuple[Sequence[RawFile], Artifact, Artifact]] = field(default_factory=dict)


def corpus_reading(line: Line, name: str) -> Reading:
    """Ingests a corpus of the line's recipe, and lets its name point there. Of a line that trusts raw files none is
    looked at, if the lake has recorded all that this reader read of them."""
    entry, doer = line.recipe.corpora[name], line.doer
    reader, step = plugin_of("corpora", entry, f"corpus '{name}'"), step_of("corpora", entry)
    root = line.roots[name]
    trusted, why = ingest.trusted_works(line.warehouse, name, step, reader, root) if line.trust_raw else ({}, "")
    works = trusted or _looked_at(line, name, reader, root)
    recorded = doer.step(f"record {name}", list(works.values()))
    if trusted:
        doer.remark(f"record {name}", TRUSTED)
    elif line.trust_raw:
        doer.remark(f"record {name}", f"its raw files were looked at: {why}")
    units = {unit: (work, artifact) for (unit, work), artifact in zip(works.items(), recorded, strict=True)}
    reading = line.warehouse.root, name, step, reader, root, units
    work = ingest.survey_work(*reading)
    survey = doer.step(f"survey {name}", [work])[0] if work else None
    read = doer.step(f"ingest {name}", ingest.unit_works(*reading, survey))
    known = line.warehouse.ref(f"corpora/{name}") if trusted else None  # its root, as it was told when it was read
    place = Path(known["root"]) if known else root.absolute()
    doer.remember(f"corpora/{name}", ingest.corpus_ref(step, place, recorded, read))
    line.count_failures(read)
    kinds = {kind: [a for a in read if a.request.kind == kind] for kind in ("utterances", "labels")}
    whole = {
        unit: (work.arguments["files"], artifact, utterances)
        for (unit, (work, artifact)), utterances in zip(units.items(), kinds["utterances"], strict=True)
    }
    return Reading(kinds["utterances"], kinds["labels"], whole)


def _looked_at(line: Line, name: str, reader: Any, root: Path) -> dict[str, Work]:
    with closing(RawDigests(line.warehouse.root)) as digests:
        return ingest.raw_works(digests, name, reader, root, line.doer.hashing(name))
