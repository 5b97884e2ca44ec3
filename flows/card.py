"""The card of a checkpoint: what it learned from, how it was tested, what its inputs' licences ask, where it is from.

It is made from the lake's manifests and names whenever it is asked for, so it says what is known now.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from safetensors import safe_open

from flows.firewall import selected_on
from flows.trained import Trained
from models.orders import shard_roles
from warehouse import Warehouse
from warehouse.artifact import Artifact
from warehouse.audit.lineage import up
from warehouse.hashing import short_digest
from warehouse.schema import METRICS, SPLIT
from warehouse.tables import read_table

UNSTATED = "not stated in this lake: its publisher's terms hold"
UNKNOWN = "unknown: nobody said what it was trained on"

_TEMPLATES = Path(__file__).parent / "templates"
_PARTS = ("train", "dev", "test")


@dataclass(frozen=True)
class Section:
    """One part of a card: sentences, then a table that may have no row."""

    title: str
    text: Sequence[str] = ()
    head: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()


def card_of(warehouse: Warehouse, fit: Trained) -> dict[str, Any]:
    """What the card of a fit says, as JSON values. Nothing in it depends on when or where it is made.

    A corpus or a checkpoint that somebody placed may state its licence in its name in the lake; one that does not is
    said not to. What a placed checkpoint was trained on is what was declared of it: nothing declared is unknown, never
    clean. Of the models of this lake it comes from, the utterances of the test part that they learned from are counted.
    """
    checkpoint = fit.checkpoint
    params = checkpoint.request.params
    above = {node.artifact.key: node.artifact for node in up(warehouse, checkpoint).walk()}
    split = _one(above.values(), "split", checkpoint.request.inputs["split"][0])
    members = _members(above.values(), split)
    tests = [row for row in members if row["part"] == "test"]
    tested = {row["corpus"] for row in tests}
    kinds = Counter(a.request.kind for a in above.values() if a.key != checkpoint.key)
    readers = {name: ref.get("reader", "") for name, ref in warehouse.refs("corpora").items()}
    placed = list(_placed(warehouse, above.values()))
    return {
        "title": f"{fit.name}, fold '{fit.fold}', seed {fit.seed}",
        "model": {
            "student": checkpoint.request.step, "fields": params["student"], "classes": params["classes"],
            "n_weights": _n_weights(checkpoint), "fit": params["fit"], "objective": params["objective"],
            "seed": params["seed"], "inputs": _inputs(above.values(), checkpoint),
        },
        "data": _data(members, readers),
        "classes": _classes(split),
        "protocol": {
            "id": split.request.params["protocol"], "fold": fit.fold, "rules": split.request.params["rules"],
            "selected_on": selected_on(warehouse, checkpoint),
        },
        "metrics": _metrics(warehouse, fit),
        "caveats": _caveats(fit),
        "licences": _licences(warehouse, {row["corpus"] for row in members}, above.values(), placed),
        "contamination": [
            {name: one[name] for name in ("name", "trained_on")}
            | {"verdict": _verdict(one["trained_on"], tested, readers)}
            for one in placed
        ],
        "teachers": _teachers(above.values(), checkpoint, {row["utterance_id"] for row in tests}),
        "trace": _trace(fit, split),
        "made_from": ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items())),
    }  # fmt: skip


def sections(card: Mapping[str, Any]) -> list[Section]:
    """A card for people."""
    model, protocol, metrics = card["model"], card["protocol"], card["metrics"]
    said = {**model["fields"], **{f"fit: {name}": value for name, value in model["fit"].items()}}
    said |= {f"weight of '{term}'": weight for term, weight in model["objective"].items()}
    stamp = "Test-selected: the part that judges it chose its epoch." if protocol["selected_on"] == "test" else ""
    figures = [] if metrics else ["No report of this lake names it, so no figure is known here."]
    return [
        Section(
            "Model",
            [
                f"Student '{model['student'].partition('.')[2]}' with {model['n_weights']:,} numbers in its weights, "
                f"seed {model['seed']}. It tells apart: {', '.join(model['classes']) or 'no classes'}."
            ],
            ("input", "is", "key"), [(one["role"], one["source"], one["key"]) for one in model["inputs"]],
        ),
        Section("Settings", (), ("name", "value"), [(name, json.dumps(value)) for name, value in said.items()]),
        Section(
            "Data", (), ("corpus", "reader", "part", "utterances", "hours", "speakers"),
            [tuple(row.values()) for row in card["data"]],
        ),
        Section(
            "Classes", ["The labels of the test part are kept from fits, so they are not counted here."],
            ("class", "train", "dev"), [tuple(row.values()) for row in card["classes"]],
        ),
        Section(
            "Protocol", list(filter(None, [
                f"Protocol '{protocol['id']}', fold '{protocol['fold']}'. "
                f"The epoch that was kept was chosen on {protocol['selected_on']}.", stamp,
            ])),
            ("rule", "says"), [(name, json.dumps(rule)) for name, rule in protocol["rules"].items()],
        ),
        Section(
            "Metrics", figures, ("part", "metric", "value", "utterances", "selected on"),
            [tuple(row.values()) for row in metrics],
        ),
        Section("Keep in mind", card["caveats"] or (["The report warns of nothing."] if metrics else figures)),
        Section(
            "Licences", ["It was made from all of these, and the terms of each hold for it."],
            ("what", "is", "licence"), [tuple(row.values()) for row in card["licences"]],
        ),
        Section(
            "Contamination",
            [] if card["contamination"] else ["No checkpoint from outside this lake had a part in it."],
            ("checkpoint", "declared training corpora", "against the test part"),
            [(one["name"], ", ".join(one["trained_on"]), one["verdict"]) for one in card["contamination"]],
        ),
        Section(
            "Models it comes from",
            [] if card["teachers"] else ["None: it began with weights drawn by its seed, or with those above."],
            ("model", "key", "learned from", "test utterances that it learned from"),
            [tuple(row.values()) for row in card["teachers"]],
        ),
        Section(
            "Trace", [f"Made from {card['made_from']}; `emolake lineage {card['trace'][0]['key']}` lists them."],
            ("what", "key", "digest"), [tuple(row.values()) for row in card["trace"]],
        ),
    ]  # fmt: skip


def markdown(card: Mapping[str, Any]) -> str:
    """The card as Markdown, with the head that model hubs read. What came from data is escaped."""
    lines = ["---", "library_name: emolake", "license: other", "tags:", "- speech-emotion-recognition", "---", ""]
    lines += [f"# {_plain(card['title'])}"]
    for section in sections(card):
        lines += ["", f"## {section.title}"]
        for sentence in section.text:
            lines += ["", _plain(sentence)]
        if section.rows:
            lines += ["", _row(section.head), _row(["---"] * len(section.head)), *map(_row, section.rows)]
    return "\n".join(lines) + "\n"


def page(card: Mapping[str, Any]) -> str:
    """The card as one HTML file that needs nothing else."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("card.html.j2").render(title=card["title"], sections=sections(card))


# -- inside ----------------------------------------------------------------------------------------------------------


def _plain(text: Any) -> str:
    return html.escape(" ".join(str(text).split()), quote=False)


def _row(cells: Iterable[Any]) -> str:
    return f"| {' | '.join(_plain(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def _one(above: Iterable[Artifact], kind: str, digest: str) -> Artifact:
    found = [a for a in above if a.request.kind == kind and a.digest == digest]
    return min(found, key=lambda artifact: artifact.key)


def _members(above: Iterable[Artifact], split: Artifact) -> list[dict[str, Any]]:
    """The utterances of a split: part, corpus, speaker and seconds. One that is in two parts is there twice."""
    cited = {digest for role in ("utterances", "told") for digest in split.request.inputs.get(role, ())}
    columns = ["utterance_id", "corpus", "speaker_id", "start_s", "end_s"]
    known = {
        row["utterance_id"]: row
        for a in above if a.request.kind == "utterances" and a.digest in cited
        for row in pq.read_table(a.path("utterances.parquet"), columns=columns).to_pylist()
    }  # fmt: skip
    rows = read_table(split.path("split.parquet"), SPLIT).to_pylist()
    return [known[row["utterance_id"]] | {"part": row["part"]} for row in rows]


def _data(members: Sequence[Mapping[str, Any]], readers: Mapping[str, str]) -> list[dict[str, Any]]:
    own: dict[tuple[str, int], list[Mapping[str, Any]]] = defaultdict(list)
    for row in members:
        own[row["corpus"], _PARTS.index(row["part"])].append(row)
    return [
        {
            "corpus": corpus, "reader": readers.get(corpus, "").partition(".")[2], "part": _PARTS[part],
            "n_utterances": len(rows), "hours": round(math.fsum(r["end_s"] - r["start_s"] for r in rows) / 3600, 3),
            "n_speakers": len({row["speaker_id"] for row in rows} - {""}),
        }
        for (corpus, part), rows in sorted(own.items())
    ]  # fmt: skip


def _classes(split: Artifact) -> list[dict[str, Any]]:
    rows = read_table(split.path("split.parquet"), SPLIT).to_pylist()
    counts = Counter((row["label"], row["part"]) for row in rows if row["label"] is not None)
    names = sorted({name for name, _ in counts})
    return [{"class": name, "train": counts[name, "train"], "dev": counts[name, "dev"]} for name in names]


def _n_weights(checkpoint: Artifact) -> int:
    total = 0
    for name in checkpoint.files:
        if name.endswith(".safetensors"):
            with safe_open(checkpoint.path(name), framework="numpy") as tensors:
                total += sum(math.prod(tensors.get_slice(key).get_shape()) for key in tensors.keys())  # noqa: SIM118
    return total


def _inputs(above: Iterable[Artifact], checkpoint: Artifact) -> list[dict[str, str]]:
    shards = {a.digest: a for a in above if a.request.kind == "shards"}
    found = []
    for role, digests in sorted(shard_roles(checkpoint.request).items()):
        source = shards[digests[0]].request.params.get("source", {})
        plugin = source.get("plugin")
        what = "times" if "tier" in source else source.get("column", "another model's answers")
        what = f"{plugin['step']}.{source['output']}" if plugin else what
        what += f" over each {source['tier']} of {source['aligner']['step']}" if "tier" in source else ""
        what += f", of corpus '{source['told']}'" if "told" in source else ""
        found.append({"role": role, "source": what, "key": short_digest(plugin) if plugin else ""})
    return found


def _metrics(warehouse: Warehouse, fit: Trained) -> list[dict[str, Any]]:
    if fit.report is None:
        return []
    metrics = warehouse.by_digest("metrics")[fit.report.request.inputs["metrics"][0]]
    rows = read_table(metrics.path("metrics.parquet"), METRICS).to_pylist()
    own = [row for row in rows if (row["variant"], row["fold"], row["seed"]) == (fit.model, fit.fold, fit.seed)]
    names = ("part", "metric", "value", "n_utterances", "selected_on")
    return [{name: round(row[name], 4) if name == "value" else row[name] for name in names} for row in own]


def _caveats(fit: Trained) -> list[str]:
    if fit.report is None:
        return []
    content = json.loads(fit.report.path("report.json").read_text(encoding="utf-8"))
    found: list[str] = content["warnings"]
    return found


def _placed(warehouse: Warehouse, above: Iterable[Artifact]) -> Iterable[dict[str, Any]]:
    """The checkpoints from outside, by name, with what was said of them; '' and [] where nothing was."""
    refs = warehouse.refs("weights")
    for digest in sorted({a.digest for a in above if a.request.kind == "weights"}):
        said = {name: ref for name, ref in refs.items() if ref["digest"] == digest}
        for name, ref in said.items() or [(digest[:12], {})]:
            yield {
                "name": name, "licence": ref.get("licence", ""), "revision": ref.get("revision", ""),
                "trained_on": list(ref.get("trained_on", ())),
            }  # fmt: skip


def _licences(
    warehouse: Warehouse, corpora: set[str], above: Iterable[Artifact], placed: Sequence[Mapping[str, Any]]
) -> list[dict[str, str]]:
    refs = warehouse.refs("corpora")
    read = {row for a in above if a.request.kind == "utterances" for row in [a.request.params.get("corpus")] if row}
    rows = [
        {"what": name, "is": "corpus", "licence": refs.get(name, {}).get("licence") or UNSTATED}
        for name in sorted(corpora | read)
    ]
    return rows + [
        {"what": one["name"], "is": "checkpoint", "licence": one["licence"] or UNSTATED} for one in placed
    ]  # fmt: skip


def _verdict(trained_on: Sequence[str], tested: set[str], readers: Mapping[str, str]) -> str:
    """Names are compared without marks and case; 'CMU-MOSEI' is what the reader 'mosei' reads."""
    if not trained_on:
        return UNKNOWN
    names = {name for corpus in tested for name in (corpus, readers.get(corpus, "").partition(".")[2]) if name}
    names -= {"table", "films"}  # what these read is of any kind
    bare = [name for name in map(_bare, names) if len(name) > 2]
    hit = [one for one in trained_on if any(name in _bare(one) for name in bare)]
    if hit:
        return f"declared to have learned from the test corpus: {', '.join(hit)}"
    return "none of them is a test corpus by its name; their words and sounds were not compared"


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _teachers(above: Iterable[Artifact], checkpoint: Artifact, tested: set[str]) -> list[dict[str, Any]]:
    artifacts = list(above)
    rows = []
    for teacher in sorted(artifacts, key=lambda artifact: artifact.key):
        if teacher.request.kind != "checkpoint" or teacher.key == checkpoint.key:
            continue
        split = _one(artifacts, "split", teacher.request.inputs["split"][0])
        learned = [row for row in _members(artifacts, split) if row["part"] == "train"]
        rows.append({
            "step": teacher.request.step, "key": teacher.key,
            "learned_from": ", ".join(sorted({row["corpus"] for row in learned})),
            "n_tested": len({row["utterance_id"] for row in learned} & tested),
        })  # fmt: skip
    return rows


def _trace(fit: Trained, split: Artifact) -> list[dict[str, str]]:
    rows = [("checkpoint", fit.checkpoint), ("split", split)] + ([("report", fit.report)] if fit.report else [])
    return [{"what": what, "key": a.key, "digest": a.digest} for what, a in rows]
