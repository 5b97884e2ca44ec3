"""What a clip, or an artifact, went into: rows, models that learned from it, and the numbers that would be others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from warehouse.artifact import Artifact
from warehouse.audit.holders import holders, one_of, rows_where
from warehouse.audit.lineage import closure_down
from warehouse.audit.subject import Subject
from warehouse.store import Warehouse

LEARNED, CHOSEN, SCORED, MADE = "learned from it", "chosen on it", "scored on it", "made from it"
INHERITED = "made with what learned from it"


@dataclass(frozen=True)
class Use:
    """An artifact that has to do with a clip, how, and how many of its rows are about it (0: none, it learned)."""

    artifact: Artifact
    how: str
    n_rows: int = 0


@dataclass(frozen=True)
class Number:
    """A row of METRICS that a clip went into: how, in which metrics it stands, and in which reports."""

    row: Mapping[str, Any]
    how: tuple[str, ...]
    metrics: Artifact
    reports: tuple[str, ...]  # names such as reports/demo; of a report that no name points at, its key


@dataclass(frozen=True)
class Touched:
    """All that a subject went into: what holds rows about it, what learned from it, what inherits from that, and the
    numbers of either."""

    holding: Sequence[Use]
    learned: Sequence[Use]
    heirs: Sequence[Use]
    numbers: Sequence[Number]


def touched(warehouse: Warehouse, subject: Subject) -> Touched:
    """What would be another, or would not be, without the subject.

    The hard case is a corpus: all that was made of it stands below every clip of it. So a clip is followed by its rows.
    It is in an artifact that holds a row about it; a model learned from it where its split has it in train, and was
    chosen on it where it is in dev; what begins with such a model, is taught by it, or is computed with it is made with
    what learned from it. A number is scored on it, or is that of such a model. An artifact, and a raw file that is no
    recording, is followed by what was made from it.
    """
    artifacts = warehouse.artifacts()
    own = {a.key for a in subject.artifacts}
    of_key = {a.key: a for a in artifacts}
    if not (subject.clips or subject.what == "row"):
        below = closure_down(artifacts, own) - own if subject.what != "number" else set()
        heirs = [Use(a, MADE) for a in artifacts if a.key in below]
        followed = own | {a.key for a in artifacts if a.key in below and a.request.kind != "metrics"}
        how = dict.fromkeys(followed, (MADE,)) if subject.what != "number" else {}
        return Touched([], [], heirs, _numbers(warehouse, artifacts, how, {}))
    held = holders(artifacts, subject.utterance_ids, subject.input_ids)
    among = closure_down(artifacts, own) if subject.what == "row" else of_key.keys()
    holding = [Use(a, "holds it", held[a.key].total()) for a in artifacts if a.key in held and a.key in among]
    learned = _learned(artifacts, subject, held, among)
    inherited = closure_down(artifacts, learned) - learned.keys()
    of_models = {a.key: (INHERITED,) for a in artifacts if a.key in inherited and a.request.kind == "predictions"}
    scored = _scored([use.artifact for use in holding], subject)
    return Touched(
        holding,
        [Use(of_key[key], how) for key, how in learned.items()],
        [Use(a, INHERITED) for a in artifacts if a.key in inherited],
        _numbers(warehouse, artifacts, _by_model(artifacts, of_models, learned), scored),
    )


def _learned(
    artifacts: Iterable[Artifact], subject: Subject, held: Collection[str], among: Iterable[str]
) -> dict[str, str]:
    """Key -> how a model learned from some clips: as its split has them, or as the aligner that heard them all."""
    known, possible = list(artifacts), set(among)
    splits = {a.key: a.digest for a in known if a.request.kind == "split" and a.key in held}
    wanted = f"{one_of('utterance_id', 'ids')} AND part IN ('train', 'dev')"
    ids = {"ids": sorted(subject.utterance_ids)}
    rows = rows_where([a for a in known if a.key in splits], "split", wanted, ids, ("utterance_id", "part"))
    parts: dict[str, set[str]] = {}
    for row in rows:
        parts.setdefault(splits[row["artifact"]], set()).add(row["part"])
    heard = {a.digest for a in known if a.request.kind == "utterances" and a.key in held}
    found = {}
    for a in known:
        inputs = a.request.inputs
        seen = set().union(*(parts.get(digest, ()) for digest in inputs.get("split", ())))
        if a.request.kind == "acoustic_model" and heard & set(inputs.get("utterances", ())):
            seen = {"train"}
        if seen and a.request.kind in ("checkpoint", "acoustic_model") and a.key in possible:
            found[a.key] = LEARNED if "train" in seen else CHOSEN
    return found


def _by_model(
    artifacts: Iterable[Artifact], how: Mapping[str, tuple[str, ...]], learned: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """Predictions of a model that learned itself are its own, though they stand below it."""
    of_digest: dict[str, str] = {}
    found = dict(how)
    for a in artifacts:  # oldest first: a mean comes after what it is the mean of
        if a.key in learned:
            of_digest[a.digest] = learned[a.key]
        sources = (*a.request.inputs.get("checkpoint", ()), *a.request.inputs.get("predictions", ()))
        own = {of_digest[digest] for digest in sources if digest in of_digest}
        if a.request.kind == "predictions" and own and a.key in found:
            of_digest[a.digest] = LEARNED if LEARNED in own else CHOSEN
            found[a.key] = (of_digest[a.digest],)
    return found


def _scored(holding: Iterable[Artifact], subject: Subject) -> dict[str, set[str]]:
    """Key of predictions -> the parts in which they have the clips."""
    own = [a for a in holding if a.request.kind == "predictions"]
    wanted, ids = one_of("utterance_id", "ids"), {"ids": sorted(subject.utterance_ids)}
    found: dict[str, set[str]] = {}
    for row in rows_where(own, "predictions", wanted, ids, ("utterance_id", "part")):
        found.setdefault(row["artifact"], set()).add(row["part"])
    return found


def _numbers(
    warehouse: Warehouse, artifacts: Sequence[Artifact], how: Mapping[str, tuple[str, ...]],
    scored: Mapping[str, set[str]],
) -> list[Number]:  # fmt: skip
    """Rows of all metrics whose predictions, or what judges these, are in `how` or `scored`, or which are so
    themselves: metrics stand below everything, and their rows do not."""
    keys: dict[str, list[str]] = {}
    for a in artifacts:
        if a.request.kind in ("predictions", "truth"):
            keys.setdefault(a.digest, []).append(a.key)
    found = []
    reports = _reports(warehouse, artifacts)
    for metrics in (a for a in artifacts if a.request.kind == "metrics"):
        inputs = metrics.request.inputs
        judges = dict(zip(inputs["predictions"], inputs.get("truths", ()), strict=False))
        named = tuple(reports.get(metrics.digest, ()))
        for row in pq.read_table(metrics.path("metrics.parquet")).to_pylist():
            made, judge = keys.get(row["predictions"], []), keys.get(judges.get(row["predictions"], ""), [])
            ways = [SCORED] * any(row["part"] in scored.get(key, ()) for key in made)
            ways += [one for key in (*made, *judge, metrics.key) for one in how.get(key, ())]
            if ways:
                found.append(Number(row, tuple(dict.fromkeys(ways)), metrics, named))
    return found


def _reports(warehouse: Warehouse, artifacts: Iterable[Artifact]) -> dict[str, list[str]]:
    """Digest of metrics -> the reports that print them."""
    names: dict[str, list[str]] = {}
    for name, ref in warehouse.refs("reports").items():
        names.setdefault(ref.get("artifact", ""), []).append(f"reports/{name}")
    found: dict[str, list[str]] = {}
    for a in artifacts:
        if a.request.kind == "report":
            own = names.get(a.key) or names.get(a.digest) or [a.key]
            for digest in a.request.inputs.get("metrics", ()):
                found.setdefault(digest, []).extend(own)
    return found


def by_step(uses: Iterable[Use]) -> list[dict[str, Any]]:
    """Uses as rows for reading: how many artifacts of each kind and step, and rows about the subject in them."""
    groups: Counter[tuple[str, str, str]] = Counter()
    rows: Counter[tuple[str, str, str]] = Counter()
    keys: dict[tuple[str, str, str], list[str]] = {}
    for use in uses:
        group = use.how, use.artifact.request.kind, use.artifact.request.step
        groups[group] += 1
        rows[group] += use.n_rows
        keys.setdefault(group, []).append(use.artifact.key[:12])
    return [
        {"how": how, "kind": kind, "step": step, "artifacts": n, "rows": rows[how, kind, step],
         "keys": ", ".join(keys[how, kind, step][:3]) + ", …" * (n > 3)}
        for (how, kind, step), n in groups.items()
    ]  # fmt: skip
