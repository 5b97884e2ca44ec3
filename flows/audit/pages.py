"""The audit of a report as one HTML page: what the other commands of this room answer, asked about this report as it
stands now. A report itself is an artifact and never changes; this page is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from flows.audit.contamination import contamination
from flows.audit.licence import derived, licences
from flows.sections import Section
from flows.traced_number import trace_number
from flows.trained import reported
from warehouse import Warehouse
from warehouse.artifact import Artifact
from warehouse.audit.diff import diff, side_of
from warehouse.audit.drawn import drawing_of, svg
from warehouse.audit.errors import NoReport, NothingAsOf
from warehouse.audit.grounds import grounds
from warehouse.audit.lineage import closure_up, graph_among
from warehouse.audit.reach import reached
from warehouse.audit.tombstones import TAINTED
from warehouse.audit.verify import Fault, verify
from warehouse.audit.why import differences
from warehouse.merged import is_merged, with_pieces

_MOST_ROWS = 200  # of one table: a page is read, lists are asked for with --json


@dataclass(frozen=True)
class _Subject:
    """A report, everything it rests on, and all that the lake holds."""

    warehouse: Warehouse
    report: Artifact
    artifacts: Sequence[Artifact]
    above: set[str]

    @property
    def own(self) -> list[Artifact]:
        return [a for a in self.artifacts if a.key in self.above]


def audit_of(
    warehouse: Warehouse, reference: str, deep: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[str, list[Section]]:  # fmt: skip
    """The title and the sections of a report's audit.

    Args:
        reference: of a report: its name (reports/demo), key or digest.
        deep: hash every file of the lake again.
        progress: told of the hashing.

    Raises:
        NoReport: the reference is of something else. ArtifactNotFound, AmbiguousReference.
    """
    report = warehouse.resolve(reference)
    if report.request.kind != "report":
        raise NoReport(reference, report.request.kind)
    artifacts = warehouse.artifacts()
    subject = _Subject(warehouse, report, artifacts, closure_up(artifacts, [report.key]))
    faults = verify(warehouse, progress, deep=deep)
    sections = [
        *_origin(subject), _anew(subject), _soundness(subject, faults, deep), _purged(subject),
        *_contamination(subject), _licences(subject), _changed(subject), _shared(subject), _unreached(subject),
    ]  # fmt: skip
    return f"Audit of {report.request.params['title']}", sections


def _origin(subject: _Subject) -> Iterator[Section]:
    """Where do the numbers come from?"""
    found = grounds(subject.artifacts, [subject.report.key])
    rows = [
        (one["corpus"], one["files"], f"{one['n_bytes'] / 2**20:.1f}", one["n_utterances"], f"{one['seconds']:.1f}")
        for one in found.corpora()
    ]
    drawing = Markup(svg(drawing_of(graph_among(subject.artifacts, subject.above))))
    text = [
        f"Report {subject.report.key} of {subject.report.created_at} rests on {len(subject.above) - 1} artifacts of "
        f"this lake and on these raw files; `emolake lineage {subject.report.key[:12]}` lists every one."
    ]
    head = ("corpus", "files", "MiB", "utterances", "seconds")
    yield Section("Where do these numbers come from?", text, head, rows, drawing)
    number = trace_number(subject.warehouse, subject.report)
    if number:
        hops = [(hop.what, hop.key[:12], hop.note) for hop in number.hops]
        yield Section(
            "One number, to its bytes", [f"{number.name} = {number.value:.3f}"], ("what", "key", "which"), hops
        )
    for title, told in (("Protocols", found.protocols), ("Code and environments", found.steps)):
        yield Section(title, (), list(told[0]) if told else (), [tuple(map(_cell, row.values())) for row in told])


def _cell(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return f"{value:.1f}" if isinstance(value, float) else value


def _anew(subject: _Subject) -> Section:
    """Why was this computed again?"""
    title, name = "What was made anew, and why?", _recipe_name(subject.report)
    earlier = [
        a for a in subject.artifacts
        if a.request.kind == "report" and a.key != subject.report.key and _recipe_name(a) == name
        and a.created_at <= subject.report.created_at
    ]  # fmt: skip
    if not earlier:
        return Section(title, ["This lake holds no earlier report of the same recipe."])
    before = closure_up(subject.artifacts, [earlier[-1].key])
    old = [a for a in with_pieces(subject.artifacts) if a.key in before]
    new = [a for a in with_pieces(subject.own) if a.key in subject.above - before and not is_merged(a)]
    rows = list(_first_differences(new, old))
    text = [f"Against the report before it, {earlier[-1].key[:12]} of {earlier[-1].created_at}: what it did not have."]
    return Section(title, text if rows else [*text, "Nothing."], ("step", "key", "differs from", "where"), rows)


def _first_differences(new: Iterable[Artifact], old: Sequence[Artifact]) -> Iterator[tuple[str, ...]]:
    for artifact in list(new)[:_MOST_ROWS]:
        alike = [a for a in old if (a.request.kind, a.request.step) == (artifact.request.kind, artifact.request.step)]
        found = [(differences(artifact.request, a.request), a.key) for a in alike]
        nearest = min(found, key=lambda pair: len(pair[0]), default=None)
        where = "; ".join(map(str, nearest[0][:3])) if nearest else "nothing like it was there"
        yield artifact.request.step, artifact.key[:12], nearest[1][:12] if nearest else "", where


def _recipe_name(report: Artifact) -> str:
    """The line of the recipe's text that names it; a report keeps that text."""
    lines = str(report.request.params.get("recipe", "")).splitlines()
    return next((line for line in lines if line.replace(" ", "").startswith("name=")), "")


def _soundness(subject: _Subject, faults: Sequence[Fault], deep: bool) -> Section:
    what = "every byte was hashed again" if deep else "names, manifests and sizes were read, bytes were not hashed"
    own = [f for f in faults if f.key in subject.above or subject.above & set(f.taints)]
    text = [
        f"Of {len(subject.artifacts)} artifacts {what}. {len(faults)} faults, {len(own)} of them under this report."
    ]
    rows = [(f.key[:12], f.problem, "yes" if f in own else "no", len(f.taints)) for f in faults[:_MOST_ROWS]]
    return Section("Is the lake sound?", text, ("key", "fault", "under this report", "taints"), rows)


def _purged(subject: _Subject) -> Section:
    tainted = {key: ref for key, ref in subject.warehouse.refs(TAINTED).items() if key in subject.above}
    receipts = sorted((subject.warehouse.root / "receipts").glob("*.json"))
    text = [f"{len(receipts)} purges have receipts in this lake; {len(tainted)} models under this report are tainted."]
    rows = [(key[:12], ref["step"], ref["why"], ref["retrain"]) for key, ref in tainted.items()]
    return Section("Was anybody withdrawn?", text, ("model", "step", "why", "to have it without"), rows)


def _contamination(subject: _Subject) -> Iterator[Section]:
    """What judges the models: was it met before?"""
    declared: dict[tuple[Any, ...], None] = {}
    measured: dict[tuple[Any, ...], None] = {}
    heads: dict[str, Sequence[str]] = {}
    for model in _models(subject):
        found = contamination(subject.warehouse, model)
        for name, rows, into in (
            ("declared", found.declared_rows(), declared), ("measured", found.measured_rows(), measured),
        ):  # fmt: skip
            for row in rows:
                heads.setdefault(name, list(row))
                into[tuple(row.values())] = None
    none = "No checkpoint from outside this lake had a part in it."
    yield Section(
        "Was a test part met before? As declared", [] if declared else [none], heads.get("declared", ()), list(declared)
    )
    yield Section("Was a test part met before? As measured", (), heads.get("measured", ()), list(measured)[:_MOST_ROWS])


def _models(subject: _Subject) -> list[str]:
    """The reported models: as RECIPE:MODEL or, where the recipe has a later report, the keys of their fits."""
    last = [fit.name for fit in reported(subject.warehouse) if fit.report and fit.report.key == subject.report.key]
    cited = set(subject.report.request.inputs["predictions"])
    predictions = [a for a in subject.own if a.request.kind == "predictions" and a.digest in cited]
    judged = {digest for a in predictions for digest in a.request.inputs.get("checkpoint", ())}
    return list(dict.fromkeys(last)) or [a.key for a in subject.own if a.digest in judged]


def _licences(subject: _Subject) -> Section:
    sources = licences(subject.warehouse, subject.report.key)
    rows = [(s.what, s.is_a, s.licence, ", ".join(s.terms), " → ".join(s.path)) for s in sources]
    text = [f"Terms that hold for what is derived: {', '.join(derived(sources)) or 'none known'}."]
    return Section("Whose terms hold?", text, ("source", "is a", "licence", "terms", "by way of"), rows)


def _changed(subject: _Subject) -> Section:
    rows: list[tuple[Any, ...]] = []
    for name in subject.warehouse.refs("corpora"):
        reference = f"corpora/{name}"
        try:
            then = side_of(subject.warehouse, f"{reference}@{subject.report.key}")
        except NothingAsOf:  # the report does not use it
            continue
        for one in diff(then, side_of(subject.warehouse, reference), n_examples=0):
            rows.append((name, one.table, one.n_before, one.n_after, one.added, one.removed, one.changed))
    text = ["Between what the report used and the corpora as last ingested; `emolake diff` names the rows."]
    head = ("corpus", "table", "then", "now", "added", "removed", "changed")
    return Section("Have the corpora changed since?", text, head, rows)


def _shared(subject: _Subject) -> Section:
    bundles: Mapping[str, Mapping[str, Any]] = subject.warehouse.refs("bundles")
    rows = [
        (name, ref["digest"][:12], len(ref["keys"]), len(subject.above & set(ref["keys"])))
        for name, ref in bundles.items()
    ]
    head = ("recipe", "bundle", "artifacts in it", "of these under this report")
    none = [] if rows else ["No bundle of this lake was shared."]
    return Section("Can others rebuild it?", none, head, rows)


def _unreached(subject: _Subject) -> Section:
    kept = reached(subject.warehouse, subject.artifacts)
    rest = [a for a in subject.artifacts if a.key not in kept]
    size = sum(a.n_bytes for a in rest) / 2**20
    text = [
        f"Nothing that is kept reaches {len(rest)} of {len(subject.artifacts)} artifacts, {size:.1f} MiB; "
        "`emolake gc` lists them."
    ]
    return Section("What could go?", text)
