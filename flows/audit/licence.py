"""Whose terms hold for an artifact, and by which way each reaches it.

Every source (a corpus that was read, a checkpoint that was placed, a program whose licence speaks of its use) has terms
from a closed vocabulary, and everything made from it has them too: terms are only ever added. Where nobody stated any,
they are unknown, which is a term of its own, and so is what an artifact was made from that is not in the lake any more.
It is a reading for engineers and not legal advice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field

from flows.audit.declarations import ANY_KIND, Declared, absent, declared, placed
from flows.audit.stated import Section, bare, files_of, read_stated
from flows.recipe import Recipe, read_recipe, recipe_path, step_of
from flows.trained import trained
from warehouse import Warehouse
from warehouse.artifact import Artifact
from warehouse.audit.errors import NothingLicensed, TermsUnknown, UseForbidden
from warehouse.audit.lineage import closure_up, edges
from warehouse.errors import ArtifactNotFound, UnknownName

FILE = "licences"
"""Of what comes with Emolake, and of a lake's own: `licences.toml`."""

Term = Literal["research-only", "no-redistribution", "non-commercial", "share-alike", "attribution", "unknown"]
TERMS: tuple[str, ...] = get_args(Term)
"""All that can be said of a source; the stricter first."""

Purpose = Literal["private", "research", "commercial", "public"]
FORBIDS: Mapping[str, tuple[str, ...]] = {
    "private": (),
    "research": (),
    "commercial": ("research-only", "no-redistribution", "non-commercial", "unknown"),
    "public": ("research-only", "no-redistribution", "unknown"),
}
"""Purpose -> the terms that forbid it. 'private' stays with who made it, 'research' with people who hold the sources'
licences themselves; 'commercial' is part of a product; 'public' is for anybody to take. What is not forbidden still has
its terms: they go along in the card."""

UNSTATED = "not stated in this lake: its publisher's terms hold"
GONE = "it is not in this lake, nor is what it was made from known"


class Stated(Section):
    """The licence of a corpus or a checkpoint; its terms, where they are not those of a licence that is known."""

    licence: str = Field(min_length=1)
    terms: list[Term] | None = None
    source: str = Field(min_length=1)


class Licence(Section):
    """What a licence asks."""

    terms: list[Term]
    source: str = Field(min_length=1)


class Program(Stated):
    """The terms of what a step is made with."""

    what: str = Field(min_length=1)


class Licences(Section):
    """A file of them. Corpora are named as the lake or as their reader is, checkpoints as their recipe does, and what
    is `missing` from a lake by the beginning of its digest."""

    licences: dict[str, Licence] = Field(default_factory=dict)
    corpora: dict[str, Stated] = Field(default_factory=dict)
    checkpoints: dict[str, Stated] = Field(default_factory=dict)
    steps: dict[str, Program] = Field(default_factory=dict)
    missing: dict[str, Stated] = Field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """Something whose terms hold, and the way from it to what they hold for, as words.

    Args:
        is_a: 'corpus', 'checkpoint', 'program', 'corpus in a checkpoint', or 'missing input'.
        stated: where the terms stand; '' where nobody stated any.
        entry: what the lake's `licences.toml` would call it.
    """

    what: str
    is_a: str
    licence: str
    terms: tuple[str, ...]
    stated: str
    entry: str
    path: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "what": self.what, "is": self.is_a, "licence": self.licence, "terms": list(self.terms),
            "stated": self.stated, "path": list(self.path),
        }  # fmt: skip


def licences(warehouse: Warehouse, name: str) -> list[Source]:
    """Whose terms hold for what a person names.

    Args:
        name: RECIPE:MODEL of a report, a corpus or a report of the lake, an artifact's key, digest or ref, or a recipe,
            also one that never ran.

    Raises:
        NothingLicensed: it is none of these.
        ArtifactNotFound: the lake has its name, and its artifact not any more.
        AmbiguousReference; UnknownName: the report has no such model; whatever `read_recipe` raises.
    """
    if name.partition(":")[1]:
        return sources_of(warehouse, [fit.checkpoint for fit in trained(warehouse, name)])
    corpora, reports, weights = (warehouse.refs(group) for group in ("corpora", "reports", "weights"))
    group, _, own = name.rpartition("/")
    if own in corpora and group in ("", "corpora"):
        return sources_of(warehouse, _cited(warehouse, "utterances", corpora[own]["utterances"]))
    if own in weights and group in ("", "weights"):
        return sources_of(warehouse, _cited(warehouse, "weights", [weights[own]["digest"]]))
    if own in reports and group in ("", "reports"):
        return sources_of(warehouse, [warehouse.resolve(f"reports/{own}")])
    try:
        return sources_of(warehouse, [warehouse.resolve(name)])
    except ArtifactNotFound:
        pass
    try:
        path = recipe_path(name)
    except UnknownName:
        raise NothingLicensed(name, corpora, reports) from None
    return recipe_sources(warehouse.root, read_recipe(path))


def sources_of(warehouse: Warehouse, artifacts: Sequence[Artifact]) -> list[Source]:
    """Whose terms hold for some artifacts, each by its shortest way; corpora first, by name.

    A corpus that is told again has the terms of what it is told from and told with. What is missing above them has
    unknown terms, for nobody can see whose it was.
    """
    said = _said(warehouse.root)
    refs, asked = warehouse.refs("corpora"), {a.key for a in artifacts}
    found: dict[tuple[str, str], Source] = {}
    above, ways = _ways(warehouse, artifacts)
    for a in above:
        if (name := _corpus_of(refs, a, a.key in asked)) is not None:
            own = [_corpus(said, name, refs.get(name, {}), a)]
        elif a.request.kind == "weights":
            own = [source for one in placed(warehouse, [a]) for source in _checkpoint(said, one)]
        else:
            own = _program(said, a.request.step)
        for source in own:
            found.setdefault((source.is_a, source.what), _by(source, ways[a.key]))
    for a, role, digest in absent(warehouse, above):
        missing = _missing(said, role, digest)
        found.setdefault((missing.is_a, missing.what), _by(missing, ways[a.key]))
    return sorted(found.values(), key=_place)


def recipe_sources(lake: Path, recipe: Recipe) -> list[Source]:
    """Whose terms would hold for all that a recipe makes."""
    said, found = _said(lake), []
    for name, corpus in recipe.corpora.items():
        entry = said[0].corpora.get(name) or said[0].corpora.get(corpus.reader) or said[1].corpora.get(corpus.reader)
        found.append(_by(_stated(said, name, "corpus", entry, f"corpora.{name}"), (f"[corpora.{name}]",)))
    for name, one in recipe.checkpoints.items():
        way = (f"[checkpoints.{name}]",)
        found += [_by(source, way) for source in _checkpoint(said, declared(lake, name, one.model_dump()))]
    for section in _MADE_WITH:
        for name, entry in getattr(recipe, section).items():
            step = step_of(section, entry)
            found += [_by(source, (f"[{section}.{name}]",)) for source in _program(said, step)]
    return sorted({(one.is_a, one.what): one for one in reversed(found)}.values(), key=_place)


def derived(sources: Iterable[Source]) -> list[str]:
    """The terms that hold for what is made from all of these: those of each, the stricter first."""
    own = {term for source in sources for term in source.terms}
    return [term for term in TERMS if term in own]


def refuse(lake: Path, subject: str, sources: Sequence[Source], purpose: Purpose) -> None:
    """Does nothing where no term forbids a purpose.

    Raises:
        UseForbidden: one does, with the way by which it came.
        TermsUnknown: nobody stated the terms of a source, so that nobody can know.
    """
    forbidding = [(term, one) for term in FORBIDS[purpose] for one in sources if term in one.terms]
    for term, one in forbidding:
        n_more = len({(other.is_a, other.what) for _, other in forbidding}) - 1
        way = [*one.path, subject]
        if term == "unknown":
            raise TermsUnknown(subject, purpose, one.is_a, one.what, one.licence, way, lake / f"{FILE}.toml", one.entry)
        raise UseForbidden(subject, purpose, one.is_a, one.what, one.licence, term, way, n_more)


# -- inside ----------------------------------------------------------------------------------------------------------

_MADE_WITH: tuple[Literal["align", "features"], ...] = ("align", "features")
_KINDS = ("corpus", "checkpoint", "corpus in a checkpoint", "program", "missing input")


def _place(source: Source) -> tuple[int, str]:
    return _KINDS.index(source.is_a), source.what


def _by(source: Source, way: Sequence[str]) -> Source:
    return replace(source, path=(f"{source.is_a} '{source.what}'", *source.path, *way))


def _cited(warehouse: Warehouse, kind: str, digests: Iterable[str]) -> list[Artifact]:
    """What a name of the lake says it consists of."""
    there, found = warehouse.by_digest(kind), []
    for digest in digests:
        if digest not in there:
            raise ArtifactNotFound(digest)
        found.append(there[digest])
    return found


def _said(lake: Path) -> tuple[Licences, Licences]:
    """The lake's own word, and the shipped one."""
    own, shipped = files_of(lake, FILE)
    return read_stated(own, Licences), read_stated(shipped, Licences)


def _ways(
    warehouse: Warehouse, artifacts: Sequence[Artifact]
) -> tuple[list[Artifact], dict[str, tuple[str, ...]]]:  # fmt: skip
    """These and all they were made from, the nearest first, and the words of the shortest way down from each."""
    everything = warehouse.artifacts()
    reached = closure_up(everything, {a.key for a in artifacts})
    above: dict[str, list[Artifact]] = {}
    for user, _, source in edges([a for a in everything if a.key in reached]):
        above.setdefault(user.key, []).append(source)
    ways: dict[str, tuple[str, ...]] = {a.key: (_words(a),) for a in artifacts}
    waiting, nearest = deque(artifacts), []
    while waiting:
        one = waiting.popleft()
        nearest.append(one)
        for source in above.get(one.key, ()):
            if source.key not in ways:
                ways[source.key] = (_words(source), *ways[one.key])
                waiting.append(source)
    return nearest, ways


def _words(a: Artifact) -> str:
    return f"{a.request.kind} {a.key[:12]} ({a.request.step})"


def _corpus_of(refs: Mapping[str, Mapping[str, Any]], a: Artifact, asked: bool) -> str | None:
    """The corpus that comes in with an artifact: of what was read, and of raw files and labels that are asked for
    themselves. Elsewhere those say nothing more, and of two corpora without labels they are the same bytes."""
    name = a.request.params.get("corpus")
    if a.request.kind == "utterances" and a.request.step.startswith("corpora."):
        return str(name)
    if not asked or a.request.kind not in ("raw", "labels") or name is None:
        return None
    while "told" in refs.get(name, {}):
        name = refs[name]["source"]
    return str(name)


def _corpus(said: tuple[Licences, Licences], name: str, ref: Mapping[str, Any], a: Artifact) -> Source:
    """By the corpus' name in the lake, its reader there, what its ref says, and its reader in what is shipped."""
    own, shipped = said
    step = a.request.step if a.request.step.startswith("corpora.") else str(ref.get("reader", ""))
    reader = step.partition(".")[2]
    entry = own.corpora.get(name) or own.corpora.get(reader)
    if entry is None and ref.get("licence"):
        entry = Stated(licence=str(ref["licence"]), source=f"the ref corpora/{name}")
    return _stated(said, name, "corpus", entry or shipped.corpora.get(reader), f"corpora.{name}")


def _checkpoint(said: tuple[Licences, Licences], one: Declared) -> list[Source]:
    """A checkpoint, and the corpora that it is declared to hold, whose terms it cannot have lost."""
    own, shipped = said
    entry = own.checkpoints.get(one.name) or own.checkpoints.get(one.folder)
    if entry is None and one.licence:
        entry = Stated(licence=one.licence, source=one.source or "its recipe")
    found = [_stated(said, one.name, "checkpoint", entry, f"checkpoints.{one.name}")]
    for reader in sorted((own.corpora.keys() | shipped.corpora.keys()) - ANY_KIND):
        if any(bare(reader) in bare(corpus) for corpus in one.corpora):
            inside = own.corpora.get(reader) or shipped.corpora[reader]
            source = _stated(said, reader, "corpus in a checkpoint", inside, f"corpora.{reader}")
            found.append(replace(source, path=(f"checkpoint '{one.name}'",)))
    return found


def _program(said: tuple[Licences, Licences], step: str) -> list[Source]:
    own, shipped = said
    entry = own.steps.get(step) or shipped.steps.get(step)
    return [_stated(said, entry.what, "program", entry, f'steps."{step}"')] if entry else []


def _missing(said: tuple[Licences, Licences], role: str, digest: str) -> Source:
    name = digest[:12]
    entry, place = said[0].missing.get(name), f"missing.{name}"
    if entry is None:
        return Source(name, "missing input", f"its '{role}': {GONE}", ("unknown",), "", place, ())
    return _stated(said, name, "missing input", entry, place)


def _stated(said: tuple[Licences, Licences], what: str, is_a: str, entry: Stated | None, place: str) -> Source:
    if entry is None:
        return Source(what, is_a, UNSTATED, ("unknown",), "", place, ())
    terms: Sequence[str] | None = entry.terms
    if terms is None:
        known = {bare(name): one for table in reversed(said) for name, one in table.licences.items()}
        licence = known.get(bare(entry.licence))
        terms = licence.terms if licence else ["unknown"]
    ordered = tuple(term for term in TERMS if term in terms)
    return Source(what, is_a, entry.licence, ordered, entry.source, place, ())
