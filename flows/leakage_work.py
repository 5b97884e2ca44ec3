"""What the split and the teachers of a fitted model share, kept as an artifact, and what a report says of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from features.check import Count
from flows.counts import counts_sentences
from flows.firewall import judged_by
from flows.leakage import leakage
from flows.leaks import Leak, Leakage, sentences
from flows.similarity import CONTAINED, LEAST_WORDS, N
from flows.teacher_texts import teacher_texts
from warehouse import Warehouse
from warehouse.artifact import Artifact, Request, Work
from warehouse.audit.lineage import up
from warehouse.schema import SPLIT, UTTERANCES
from warehouse.tables import read_table, rows_of

VERSION = 3


def leakage_work(
    warehouse: Warehouse, protocol: str, fold: str, split: Artifact, truth: Artifact, checkpoint: Artifact,
    utterances: Sequence[Artifact],
) -> Work:  # fmt: skip
    """The work that writes `leakage.json` of one fit: what the parts of its split share with each other, and its test
    and dev texts with what the checkpoints it comes from were trained on, however far up the lineage.

    Args:
        truth: of the split: whether what is shared has the same label is told too.
        utterances: of the corpora of the split.
    """
    teachers = teachers_of(warehouse, checkpoint)
    params = {
        "protocol": protocol, "fold": fold,
        "rules": {"gram_words": N, "least_words": LEAST_WORDS, "contained": CONTAINED},
    }  # fmt: skip
    inputs = {
        "split": (split.digest,),
        "truth": (truth.digest,),
        "utterances": tuple(a.digest for a in utterances),
        "teachers": tuple(a.digest for a in teachers),
    }
    arguments = {
        "lake": warehouse.root, "protocol": protocol, "fold": fold, "split": split, "truth": truth,
        "checkpoint": checkpoint,
        "utterances": list(utterances),
    }  # fmt: skip
    return Work(Request("leakage", "flows.leakage", VERSION, params, inputs), write_leakage, arguments)


def teachers_of(warehouse: Warehouse, checkpoint: Artifact) -> list[Artifact]:
    """The checkpoints that this one comes from: what it was initialised with, and what made the features it read."""
    above = {node.artifact.digest: node.artifact for node in up(warehouse, checkpoint).walk()}
    found = [a for a in above.values() if a.request.kind == "checkpoint" and a.digest != checkpoint.digest]
    return sorted(found, key=lambda artifact: artifact.key)


def write_leakage(
    folder: Path, lake: Path, protocol: str, fold: str, split: Artifact, truth: Artifact, checkpoint: Artifact,
    utterances: Sequence[Artifact],
) -> None:  # fmt: skip
    """Writes `leakage.json`: everything that was looked for, found or not."""
    read = teacher_texts(Warehouse(lake), checkpoint)
    read.pop(checkpoint.key, None)
    rows = rows_of([artifact.path("utterances.parquet") for artifact in utterances], UTTERANCES)
    labelled = judged_by(read_table(split.path("split.parquet"), SPLIT), truth)
    found = leakage(rows, labelled, protocol, fold, read)
    text = json.dumps(found.as_json(), ensure_ascii=False, indent=1)
    (folder / "leakage.json").write_text(text + "\n", encoding="utf-8")


def read_leakage(artifact: Artifact) -> Leakage:
    """What `write_leakage` wrote."""
    content = json.loads(artifact.path("leakage.json").read_text(encoding="utf-8"))
    leaks = tuple(Leak(**leak | {"examples": tuple(map(tuple, leak["examples"]))}) for leak in content["leaks"])
    return Leakage(content["protocol"], content["fold"], content["parts"], leaks, content["compared"])


def told(leakages: Mapping[str, Sequence[Leakage]]) -> list[str]:
    """What was found, over the folds of each model; models of one split and the same teachers say it once."""
    return list(dict.fromkeys(sentence for own in leakages.values() for sentence in sentences(own)))


def warned(leakages: Mapping[str, Sequence[Leakage]]) -> list[str]:
    """Those sentences that touch a test number: what the test part shares with what was learned from."""
    return told({name: [_of_test(one) for one in own] for name, own in leakages.items()})


def differing_counts(truths: Iterable[tuple[str, Artifact]]) -> list[str]:
    """What must be said of protocols whose published counts a corpus does not give.

    Args:
        truths: (protocol, the truth of one of its splits).
    """
    found: dict[str, None] = {}
    for protocol, truth in truths:
        if "counts.json" in truth.files:
            rows = json.loads(truth.path("counts.json").read_text(encoding="utf-8"))
            counts = [Count(row["what"], row["expected"], row["found"]) for row in rows]
            found |= dict.fromkeys(counts_sentences(protocol, counts))
    return list(found)


def _of_test(found: Leakage) -> Leakage:
    return replace(found, leaks=tuple(leak for leak in found.leaks if leak.part == "test" and leak.against != "dev"))
