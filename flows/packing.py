"""A corpus of the line in shards; which these are is asked of artifacts, not of rows, where all of them were there.

What is packed follows from what never changes: utterances, rows, a selection. So the shards are remembered with the
keys and digests of these, and of the same ones nothing is read again: a plan with nothing to do, what is shared and
what is garbage take as long as there are artifacts. Whether each shard is still there is asked again.

One file for each source of a corpus below `.cache/packed`, sealed like what is remembered of manifests. May be deleted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.inventory import failed, ids_in, row_identity
from flows import pack, pack_segments
from flows.pack import Told, pack_text_works, pack_works
from flows.pack_segments import Frames, Tier, pack_means_works, pack_spans_works
from flows.retelling import told_rows
from flows.sources import TEXT, aligner_of, read_source, told_source
from warehouse import Warehouse
from warehouse.artifact import MANIFEST, Artifact, Work
from warehouse.errors import ArtifactNotFound, InvalidField, UnreadableManifest
from warehouse.hashing import digest, short_digest
from warehouse.manifest_rows import unsealed_json, write_sealed

if TYPE_CHECKING:
    from flows.line import Line

VERSION = 1
"""Raised by hand when the same artifacts are packed by another rule and the versions of packing stay."""

_MOST = 8
"""Answers that are kept of one source of a corpus: of so many sets of artifacts."""

Works = Callable[[set[str] | None, Told | None], list[Work]]
"""The works that pack these utterances only, and what is told again in their place."""


@dataclass(frozen=True)
class Packed:
    """The shards of one source of a corpus, and how many utterances they hold."""

    shards: list[Artifact]
    n_utterances: int


def packed_shards(line: Line, name: str, corpus: str, source: str, selection: str | None) -> Packed:
    """The shards of one source of a corpus, by the line's step `name`.

    Args:
        source: as `flows.sources` has it.
        selection: that of the recipe which says what is packed; all is where there is none.

    Raises:
        InvalidField: the source asks for means over time of rows that are no frames, or for an output that is none.
    """
    utterances = line.corpus(corpus).utterances
    chosen = [line.selection(selection)] if selection else []
    retold, source = told_source(source)
    heard = retold or corpus

    def answered(packs: Mapping[str, Any], rows: Sequence[Sequence[Artifact]], works: Works) -> Packed:
        asked = {"corpus": corpus, "told": retold, **packs}
        question = _question(asked, [utterances, chosen, line.corpus(heard).utterances, *rows])
        if (known := _remembered(line.warehouse, asked, question)) is not None:
            return Packed(line.doer.step(name, known), _n_rows(known))
        new = works(ids_in(chosen[0]) if chosen else None, told_rows(line, retold, corpus) if retold else None)
        made = line.doer.step(name, new)
        _remember(line.warehouse, asked, question, new)
        return Packed(made, _n_rows(new))

    if source == TEXT:
        return answered({"column": "text"}, [], lambda keep, told: pack_text_works(utterances, keep, told))
    parts = read_source(source)
    if not parts.tier:
        feature, output = line.source(source)
        of_feature = feature.step, feature.plugin, output, feature.outputs[output], line.of_corpus(feature, heard)
        packs = {"plugin": row_identity(feature.step, feature.plugin), "output": output}
        return answered(packs, [of_feature[-1]], lambda keep, told: pack_works(utterances, *of_feature, keep, told))
    # The means of a feature's frames over a tier of an alignment, or where only the tier is named, its times.
    alignment = line.alignment(aligner_of(parts, heard, line.recipe.align))
    tier = Tier(parts.tier, alignment.step, alignment.plugin, line.of_corpus(alignment, heard))
    if not parts.feature:
        works: Works = lambda keep, told: pack_spans_works(utterances, tier, keep, told)  # noqa: E731
        return answered(tier.identity(), [tier.artifacts], works)
    feature, output = line.source(source.partition("@")[0])
    spec = feature.outputs[output]
    if spec.level != "frame" or not spec.hop_s:
        problem = f"asks for means over time, but '{output}' of this feature is no row of frames"
        raise InvalidField(f"recipe '{line.recipe.name}'", source, problem)
    frames = Frames(output, spec.hop_s, feature.step, feature.plugin, line.of_corpus(feature, heard))
    packs = {"plugin": row_identity(feature.step, feature.plugin), "output": output, **tier.identity()}
    rows = [frames.artifacts, tier.artifacts]
    made = answered(packs, rows, lambda keep, told: pack_means_works(utterances, frames, tier, keep, told))
    line.count_failures(made.shards)
    return replace(made, n_utterances=made.n_utterances - len(failed(made.shards)))


def _n_rows(works: Sequence[Work]) -> int:
    return sum(work.n_rows for work in works)


# -- what is remembered ----------------------------------------------------------------------------------------------


def _question(packs: Mapping[str, Any], rests_on: Sequence[Sequence[Artifact]]) -> str:
    rules = [VERSION, pack.VERSION, pack_segments.VERSION, pack.CHUNK, pack.SILENT_CHUNK]
    return digest([rules, packs, [" ".join(f"{a.key} {a.digest}" for a in own) for own in rests_on]])


def _remembered(warehouse: Warehouse, packs: Mapping[str, Any], question: str) -> list[Work] | None:
    """Works with the requests of the shards, whose answers are there; None where one is not, or nothing is known."""
    known = _answers(warehouse, packs).get(question)
    if known is None:
        return None
    try:
        shards = {one.key: one for one in warehouse.artifacts("shards")}
    except UnreadableManifest:  # of any: who asks for each by its name need not meet it
        return None
    there = [(shards[key], n_rows) for key, n_rows in known if key in shards]
    if warehouse.store is None:  # what is remembered of a kind may outlive a manifest that somebody deleted
        folder = warehouse.root / "artifacts" / "shards"
        there = [one for one in there if os.path.exists(f"{folder}/{one[0].key}/{MANIFEST}")]
    works = [Work(shard.request, _lost, {"key": shard.key}, n_rows) for shard, n_rows in there]
    return works if len(works) == len(known) else None


def _lost(folder: Path, key: str) -> None:
    """The work of a shard that was there a moment ago.

    Raises:
        ArtifactNotFound.
    """
    raise ArtifactNotFound(key)


def _remember(warehouse: Warehouse, packs: Mapping[str, Any], question: str, works: Sequence[Work]) -> None:
    answers = {key: one for key, one in _answers(warehouse, packs).items() if key != question}
    answers[question] = [[work.request.key, work.n_rows] for work in works]
    content = json.dumps(dict(list(answers.items())[-_MOST:])).encode()
    with suppress(OSError):  # a lake that cannot be written to can be asked
        path = warehouse.root / ".cache" / "packed" / short_digest(packs)
        write_sealed(path, content, warehouse.manifests.beside())


def _answers(warehouse: Warehouse, packs: Mapping[str, Any]) -> dict[str, Any]:
    return unsealed_json(warehouse.root / ".cache" / "packed" / short_digest(packs))
