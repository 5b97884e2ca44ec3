"""Protocols as rows: which there are, what their folds hold, and what each of their options changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from features.check import Count
from flows.counts import PARTS, as_json, empty_parts
from flows.protocol import Protocol, folds_of, protocol_names, read_protocol, split_of
from flows.stand_ins import StandIns
from warehouse.artifact import Artifact
from warehouse.schema import UTTERANCES
from warehouse.tables import read_table

UNLABELLED, UNNAMED = "(unlabelled)", "(unnamed)"


def list_protocols() -> list[dict[str, Any]]:
    """One row per shipped protocol. `n_utterances` is what it must give, None where it does not say; of `options` the
    first alternative is the default."""
    return [_row(read_protocol(name)) for name in protocol_names()]


def _row(protocol: Protocol) -> dict[str, Any]:
    counted = sum(protocol.counts.values()) or protocol.total
    return {
        "id": protocol.id, "title": protocol.title, "readers": list(protocol.readers), "classes": protocol.classes,
        "n_utterances": counted, "counts_must": protocol.counts_must if counted else "", "folds": protocol.folds,
        "test": protocol.test, "dev": protocol.dev,
        "options": {name: list(alternatives) for name, alternatives in protocol.options.items()},
        "metrics": protocol.metrics, "citation": protocol.citation,
    }  # fmt: skip


def split_table(
    protocol: Protocol, utterances: Sequence[Artifact], labels: Sequence[Artifact], told: StandIns | None = None
) -> list[dict[str, Any]]:
    """How many utterances each part of each fold has: rows of `fold`, `part`, `by` ('class' or 'speaker'), `value`,
    `n_utterances`, in this order. Counts that differ from the expected stop nothing here: see `count_rows`.

    Args:
        told: as `flows.protocol.split_work` takes it; these are then counted.

    Raises:
        InvalidField: as `flows.protocol.split_of`.
    """
    speaker_of = _speakers(told.utterances if told else utterances)
    folds = folds_of(protocol, utterances)
    rows = []
    for fold in folds:
        split, _ = split_of(protocol, fold, folds, utterances, labels, told=told)
        counts: Counter[tuple[str, str, str]] = Counter()
        for row in split.to_pylist():
            counts[row["part"], "class", row["label"] or UNLABELLED] += 1
            counts[row["part"], "speaker", speaker_of[row["utterance_id"]] or UNNAMED] += 1
        rows += [
            {"fold": fold, "part": part, "by": by, "value": value, "n_utterances": n}
            for (part, by, value), n in sorted(counts.items(), key=lambda one: (PARTS.index(one[0][0]), one[0]))
        ]
    return rows


def empty_rows(protocol: Protocol, utterances: Sequence[Artifact], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for every class that no utterance has, and for every part that should hold something and is empty in
    some fold.

    Args:
        rows: what `split_table` gives.
    """
    sizes: dict[str, Counter[str]] = {fold: Counter() for fold in folds_of(protocol, utterances)}
    for row in rows:
        if row["by"] == "class":
            sizes[row["fold"]][row["part"]] += row["n_utterances"]
    found = {row["value"] for row in rows if row["by"] == "class"}
    unseen = [name for name in protocol.classes if name not in found]
    problem = "the corpus has none of the labels that mean it, or the filter leaves none"
    told = [f"protocol '{protocol.id}' finds no utterance of class '{name}': {problem}" for name in unseen]
    return [*told, *(str(none) for fold, own in sizes.items() for none in empty_parts(protocol, fold, own))]


def count_rows(protocol: Protocol, utterances: Sequence[Artifact], labels: Sequence[Artifact]) -> list[dict[str, Any]]:
    """`what`, `expected`, `found` and `difference` of every count a protocol expects of a corpus. Where it counts
    parts, they are those of the first fold."""
    return as_json(_first_fold(protocol, utterances, labels)[1])


def option_rows(protocol: str, utterances: Sequence[Artifact], labels: Sequence[Artifact]) -> list[dict[str, Any]]:
    """What every alternative of every option gives, the others as they are in `protocol`: rows of `option`,
    `alternative`, `part`, `class`, `n_utterances`, over the first fold."""
    stem, _, chosen = protocol.partition(":")
    rows = []
    for option, alternatives in read_protocol(protocol).options.items():
        others = [choice for choice in chosen.split(",") if choice and not choice.startswith(f"{option}=")]
        for alternative in alternatives:
            decided = read_protocol(f"{stem}:" + ",".join([*others, f"{option}={alternative}"]))
            split = _first_fold(decided, utterances, labels)[0]
            pairs = zip(split.column("part").to_pylist(), split.column("label").to_pylist(), strict=True)
            counts = Counter((part, label or UNLABELLED) for part, label in pairs)
            rows += [
                {"option": option, "alternative": alternative, "part": part, "class": name, "n_utterances": n}
                for (part, name), n in sorted(counts.items(), key=lambda one: (PARTS.index(one[0][0]), one[0]))
            ]
    return rows


def _first_fold(
    protocol: Protocol, utterances: Sequence[Artifact], labels: Sequence[Artifact]
) -> tuple[pa.Table, list[Count]]:
    folds = folds_of(protocol, utterances)
    return split_of(protocol, folds[0], folds, utterances, labels)


def _speakers(utterances: Sequence[Artifact]) -> dict[str, str]:
    tables = (read_table(a.path("utterances.parquet"), UTTERANCES) for a in utterances)
    pairs = (zip(*(t.column(c).to_pylist() for c in ("utterance_id", "speaker_id")), strict=True) for t in tables)
    return {utterance_id: speaker for table in pairs for utterance_id, speaker in table}
