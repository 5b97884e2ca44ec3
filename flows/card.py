"""The card of a checkpoint: what it learned from, how it was tested, what its inputs' licences ask, where it is from.

It is made from the lake's manifests and names whenever it is asked for, so it says what is known now.
"""

from __future__ import annotations

import html
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow.parquet as pq
from safetensors import safe_open

from flows.audit.declarations import lost, placed, verdict
from flows.audit.licence import derived, sources_of
from flows.firewall import selected_on
from flows.leakage_work import read_leakage
from flows.sections import Section, html_page
from flows.trained import Trained
from models.orders import shard_roles
from warehouse import Warehouse
from warehouse.artifact import Artifact
from warehouse.audit.lineage import up
from warehouse.audit.tombstones import successors, taint_of, with_purged
from warehouse.errors import ArtifactNotFound
from warehouse.hashing import short_digest
from warehouse.schema import METRICS, SPLIT
from warehouse.tables import read_table

NOT_MEASURED = "not measured"
"""Of a teacher that read no transcript that the lake knows of, or of a fit of no report."""

_PARTS = ("train", "dev", "test")


def card_of(warehouse: Warehouse, fit: Trained) -> dict[str, Any]:
    """What the card of a fit says, as JSON values. Nothing in it depends on when or where it is made.

    The terms of every corpus, placed checkpoint and program that it was made from hold for it (`flows.audit.licence`).
    What a placed checkpoint was trained on is what was declared of it: nothing declared is unknown, never clean. Of the
    models of this lake it comes from, the utterances of the test part that they learned from are counted, and, where a
    report measured it, those whose words they have read.
    """
    checkpoint = fit.checkpoint
    params = checkpoint.request.params
    above = {node.artifact.key: node.artifact for node in up(warehouse, checkpoint).walk()}
    split = _one(above.values(), "split", checkpoint.request.inputs["split"][0])
    members = _members(above.values(), split)
    tests = [row for row in members if row["part"] == "test"]
    kinds = Counter(a.request.kind for a in above.values() if a.key != checkpoint.key)
    readers = {name: ref.get("reader", "") for name, ref in warehouse.refs("corpora").items()}
    tested = {name: readers.get(name, "").partition(".")[2] for name in {row["corpus"] for row in tests}}
    sources = sources_of(warehouse, [checkpoint])
    missing = {one.digest: one for own in lost(warehouse, above.values()).values() for one in own}
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
        "caveats": _caveats(warehouse, fit),
        "licences": [source.as_json() for source in sources],
        "terms": derived(sources),
        "contamination": [
            {
                "name": one.name, "trained_on": list(one.trained_on), "said_by": one.said_by, "source": one.source,
                "verdict": verdict(warehouse.root, one, tested),
            }
            for one in [*placed(warehouse, above.values()), *missing.values()]
        ],
        "teachers": _teachers(warehouse, above.values(), fit, {row["utterance_id"] for row in tests}),
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
        *([_graph(card["graph"])] if card.get("graph") else []),
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
            "Licences",
            [
                "It was made from all of these, and the terms of each hold for it. "
                f"Together: {', '.join(card['terms']) or 'none'}.",
                *([f"It was given for {card['purpose']} use."] if card.get("purpose") else []),
            ],
            ("what", "is", "licence", "terms", "by way of"),
            [
                (one["what"], one["is"], one["licence"], ", ".join(one["terms"]), " → ".join(one["path"][1:]))
                for one in card["licences"]
            ],
        ),
        Section(
            "Contamination",
            [] if card["contamination"] else ["No checkpoint from outside this lake had a part in it."],
            ("checkpoint", "declared training corpora", "declared by", "against the test part"),
            [
                (one["name"], ", ".join(one["trained_on"]) or "unknown", one["said_by"], one["verdict"])
                for one in card["contamination"]
            ],
        ),
        Section(
            "Models it comes from",
            [] if card["teachers"] else ["None: it began with weights drawn by its seed, or with those above."],
            ("model", "key", "learned from", "test utterances that it learned from", "whose words it read", "nearly"),
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
    return html_page(card["title"], sections(card))


# -- inside ----------------------------------------------------------------------------------------------------------


def _graph(inputs: Sequence[Mapping[str, Any]]) -> Section:
    """What an exported graph is given; `models.onnx_graph.GraphInput` says what is in a row."""
    return Section(
        "Graph", ["What model.onnx is given. It answers 'logits', float32 [batch, class], the classes as above."],
        ("input", "is", "shape", "to be given"),
        [(one["name"], one["dtype"], f"[{', '.join(map(str, one['shape']))}]", one["says"]) for one in inputs],
    )  # fmt: skip


def _plain(text: Any) -> str:
    return html.escape(" ".join(str(text).split()), quote=False)


def _row(cells: Iterable[Any]) -> str:
    return f"| {' | '.join(_plain(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def _one(above: Iterable[Artifact], kind: str, digest: str) -> Artifact:
    found = [a for a in above if a.request.kind == kind]
    lakes = {a.folder.parents[2] for a in found}
    meant = {digest, *(successors(lake).get(digest, digest) for lake in lakes)}
    own = [a for a in found if a.digest in meant]
    if not own:
        raise ArtifactNotFound(digest)
    return min(own, key=lambda artifact: artifact.key)


def _members(above: Iterable[Artifact], split: Artifact) -> list[dict[str, Any]]:
    """The utterances of a split: part, corpus, speaker and seconds. One that is in two parts is there twice."""
    cited = {digest for role in ("utterances", "told") for digest in split.request.inputs.get(role, ())}
    columns = ["utterance_id", "corpus", "speaker_id", "start_s", "end_s"]
    read = {a.digest: a for a in above if a.request.kind == "utterances"}
    there = with_purged(split.folder.parents[2], read)
    for digest in sorted(cited - there.keys()):
        raise ArtifactNotFound(digest)
    meant = {there[digest].digest for digest in cited}
    known = {
        row["utterance_id"]: row
        for a in read.values() if a.digest in meant
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
    shards = with_purged(checkpoint.folder.parents[2], {a.digest: a for a in above if a.request.kind == "shards"})
    found = []
    for role, digests in sorted(shard_roles(checkpoint.request).items()):
        cited = (shards[one].request.params.get("source", {}) for one in digests if one in shards)
        source: Mapping[str, Any] = next(cited, {})
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


def _caveats(warehouse: Warehouse, fit: Trained) -> list[str]:
    tainted = list(filter(None, [taint_of(warehouse.root, fit.checkpoint.key)]))
    if fit.report is None:
        return tainted
    content = json.loads(fit.report.path("report.json").read_text(encoding="utf-8"))
    found: list[str] = content["warnings"]
    return tainted + found


def _teachers(
    warehouse: Warehouse, above: Iterable[Artifact], fit: Trained, tested: set[str]
) -> list[dict[str, Any]]:  # fmt: skip
    artifacts, rows = list(above), []
    read = _read_of(warehouse, fit)
    for teacher in sorted(artifacts, key=lambda artifact: artifact.key):
        if teacher.request.kind != "checkpoint" or teacher.key == fit.checkpoint.key:
            continue
        split = _one(artifacts, "split", teacher.request.inputs["split"][0])
        learned = [row for row in _members(artifacts, split) if row["part"] == "train"]
        rows.append({
            "step": teacher.request.step, "key": teacher.key,
            "learned_from": ", ".join(sorted({row["corpus"] for row in learned})),
            "n_tested": len({row["utterance_id"] for row in learned} & tested),
            "n_same_words": read.get((teacher.key, "text"), NOT_MEASURED),
            "n_near_words": read.get((teacher.key, "near text"), NOT_MEASURED),
        })  # fmt: skip
    return rows


def _read_of(warehouse: Warehouse, fit: Trained) -> dict[tuple[str, str], int]:
    """(teacher's key, kind of leak) -> how many test utterances, as the fit's report measured it of what was read."""
    cited = fit.report.request.inputs.get("leakage", ()) if fit.report else ()
    by_digest, found = warehouse.by_digest("leakage"), {}
    for leakage in (by_digest[digest] for digest in cited if digest in by_digest):
        if leakage.request.inputs["split"] == fit.checkpoint.request.inputs["split"]:
            for leak in read_leakage(leakage).leaks:
                what, _, key = leak.against.partition(" ")
                if (what, leak.part) == ("teacher", "test"):
                    found[key, leak.kind] = leak.n_utterances
    return found


def _trace(fit: Trained, split: Artifact) -> list[dict[str, str]]:
    rows = [("checkpoint", fit.checkpoint), ("split", split)] + ([("report", fit.report)] if fit.report else [])
    return [{"what": what, "key": a.key, "digest": a.digest} for what, a in rows]
