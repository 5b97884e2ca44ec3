"""What the parts of a recipe refer to must be there, must fit, and must not need itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flows.explained import unexplained
from flows.operate.schedule_entry import unscheduled
from flows.reported_references import misreported, unchosen
from flows.retold_references import mistold, untold
from flows.sources import TEXT, TIERS, Source, aligner_of, read_source, told_source
from flows.taught_references import mistaught, misvoted, roles_taught
from models.orders import fit_request
from models.plugin import encoder_slots
from warehouse.catalog import build, plugin_class
from warehouse.errors import EmolakeError

if TYPE_CHECKING:
    from flows.recipe import Recipe


def complaints(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """(field, problem) of references to what the recipe does not have, or to what does not fit. The first counts:
    what is looked at later trusts that what was looked at before is there."""
    known: dict[str, Mapping[str, Any]] = {
        "corpus": {**recipe.corpora, **recipe.retold},
        "aligner": recipe.align,
        "feature": recipe.features,
        "model": recipe.models,
        "selection": recipe.selections,
    }

    def missing(kind: str, name: str | None, place: str) -> Iterator[tuple[str, str]]:
        if name is not None and name not in known[kind]:
            yield place, f"names the {kind} '{name}', which the recipe does not have"

    yield from mistold(recipe)
    yield from unchosen(recipe)
    for name, align in recipe.align.items():
        for corpus in align.corpora:
            yield from missing("corpus", corpus, f"align.{name}.corpora")
        yield from _unaligned(recipe, name)
        yield from _untrained(recipe, name)
    for name in recipe.checkpoints.keys() & recipe.models.keys():
        yield f"checkpoints.{name}", "has the name of a model too: which is meant could not be told"
    for name, feature in recipe.features.items():
        for corpus in feature.corpora:
            yield from missing("corpus", corpus, f"features.{name}.corpora")
        if feature.checkpoint is not None and feature.checkpoint not in {**recipe.models, **recipe.checkpoints}:
            known_ones = ", ".join(sorted({**recipe.models, **recipe.checkpoints})) or "none"
            problem = f"names '{feature.checkpoint}', which is neither a model nor a checkpoint of the recipe"
            yield f"features.{name}.checkpoint", f"{problem} (there are: {known_ones})"
        reads = getattr(plugin_class("features.extractors", feature.extractor), "reads_checkpoint", False)
        if reads != (feature.checkpoint is not None):
            problem = (
                "must name a model or a checkpoint of the recipe"
                if reads
                else "must not be given: this extractor loads none"
            )
            yield f"features.{name}.checkpoint", problem
    for name, selection in recipe.selections.items():
        yield from missing("corpus", selection.corpus, f"selections.{name}.corpus")
        yield from missing("feature", selection.logits.split(".")[0], f"selections.{name}.logits")
        yield from _thresholds_of_nothing(recipe, name)
    for name, model in recipe.models.items():
        yield from _misread(recipe, name)
        if model.init in recipe.checkpoints:
            yield from _not_placed(recipe, name)
        else:
            yield from missing("model", model.init, f"models.{name}.init")
        yield from _unfilled(recipe, name)
        yield from missing("selection", model.selection, f"models.{name}.selection")
        yield from mistaught(recipe, name)
        yield from misvoted(recipe, name)
        for role, text in model.inputs.items():
            told, text = told_source(text)
            source, place = read_source(text), f"models.{name}.inputs.{role}"
            if told:
                yield from ((place, problem) for problem in untold(recipe, told, text, model.corpora))
            if text != TEXT and (source.feature or not source.tier):
                yield from missing("feature", source.feature, place)
            if source.tier:
                yield from missing("aligner", source.aligner or None, place)
                aligned = [told] if told else model.corpora
                yield from ((place, problem) for problem in _unsegmented(recipe, source, aligned))
    yield from misreported(recipe)
    yield from unexplained(recipe)
    yield from _uncounted(recipe)
    yield from _named_alike(recipe)
    yield from _cycles(recipe)
    for name in recipe.models:
        yield from _unfittable(recipe, name)
    yield from unscheduled(recipe)


def _named_alike(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Protocols of one id that say different things: a report would show their results under one name."""
    first: dict[str, str] = {}
    for name in recipe.models:
        protocol = recipe.protocol(name)
        other = first.setdefault(protocol.id, name)
        if recipe.protocol(other) != protocol:
            problem = f"has the id '{protocol.id}', and so has another one, that of '{other}': give each its own"
            yield f"models.{name}.protocol", problem


def _uncounted(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Lists that name nothing, or something twice: what was done twice would count twice in every number."""
    lists: dict[str, Sequence[Any]] = {f"features.{name}.corpora": one.corpora for name, one in recipe.features.items()}
    for name, model in recipe.models.items():
        lists |= {f"models.{name}.corpus": model.corpora, f"models.{name}.seeds": model.seeds}
    lists |= {f"align.{name}.corpora": one.corpora for name, one in recipe.align.items()}
    lists |= {f"align.{name}.train": one.train for name, one in recipe.align.items() if one.train}
    for place, own in lists.items():
        if not own:
            yield place, "must name at least one"
        for one, n_times in Counter(own).items():
            if n_times > 1:
                yield place, f"names {one!r} {n_times} times"


def _unaligned(recipe: Recipe, aligner: str) -> Iterator[tuple[str, str]]:
    """Corpora that ship no alignment, where the aligner takes what is shipped."""
    align = recipe.align[aligner]
    if not getattr(plugin_class("features.aligners", align.aligner), "is_shipped", False):
        return
    for name in align.corpora:
        if name in recipe.retold:
            problem = f"names '{name}', which is told again: the alignment that is shipped is of other words or sound"
            yield f"align.{aligner}.corpora", problem
            continue
        reader = recipe.corpora[name].reader
        if not hasattr(plugin_class("features.corpora", reader), "intervals"):
            problem = f"names '{name}', whose reader '{reader}' knows of no alignment that is shipped"
            yield f"align.{aligner}.corpora", problem


def _untrained(recipe: Recipe, aligner: str) -> Iterator[tuple[str, str]]:
    """Corpora to train an aligner on that are not there, or for one that trains none or has its model already."""
    align, place = recipe.align[aligner], f"align.{aligner}.train"
    for corpus in align.train:
        if corpus not in {**recipe.corpora, **recipe.retold}:
            yield place, f"names the corpus '{corpus}', which the recipe does not have"
    if align.train and not getattr(plugin_class("features.aligners", align.aligner), "trains", False):
        yield place, f"must not be given: the aligner '{align.aligner}' trains no acoustic model"
    if align.train and "acoustic_model" in align.fields:
        yield place, "must not be given beside an acoustic model: that one is used, or one is trained"


def _unsegmented(recipe: Recipe, source: Source, corpora: Sequence[str]) -> Iterator[str]:
    """What keeps a source of segments from having them: their tier, or who aligns the model's corpora."""
    if source.tier not in TIERS:
        yield f"names the tier '{source.tier}': use {', '.join(TIERS)}"
    for corpus in corpora:
        if aligner_of(source, corpus, recipe.align):
            continue
        those = [name for name, align in recipe.align.items() if corpus in align.corpora]
        if source.aligner:
            yield f"needs '{corpus}' aligned by '{source.aligner}': add it to align.{source.aligner}.corpora"
        elif those:
            examples = " or ".join(f"'@{name}.{source.tier}'" for name in those)
            yield f"could mean several alignments of '{corpus}': write {examples}"
        else:
            yield f"needs '{corpus}' aligned: give the recipe a table [align.NAME] that has it among its corpora"


def _thresholds_of_nothing(recipe: Recipe, name: str) -> Iterator[tuple[str, str]]:
    """Thresholds of classes that the teacher does not tell: they would be passed over."""
    selection = recipe.selections[name]
    teacher = recipe.features[selection.logits.split(".")[0]].checkpoint
    classes = recipe.protocol(teacher).classes if teacher in recipe.models else []
    for one in selection.thresholds:
        if classes and one not in classes:
            yield f"selections.{name}.thresholds", f"names '{one}', but '{teacher}' tells {', '.join(classes)}"


def _misread(recipe: Recipe, name: str) -> Iterator[tuple[str, str]]:
    """Corpora of a model that are not there, or that its protocol or its selection is not made for; a part to select on
    that its protocol does not have."""
    model = recipe.models[name]
    readers = recipe.protocol(name).readers
    for corpus in model.corpora:
        if corpus not in {**recipe.corpora, **recipe.retold}:
            yield f"models.{name}.corpus", f"names the corpus '{corpus}', which the recipe does not have"
        elif (reader := recipe.reader_of(corpus)) not in readers:
            made_for = " or ".join(f"'{reader}'" for reader in readers)
            problem = f"is for the reader {made_for}, but '{corpus}' is read by '{reader}'"
            yield f"models.{name}.protocol", problem
    if model.select_on == "test" and recipe.protocol(name).test == "false":
        yield f"models.{name}.select_on", f"is 'test', but protocol '{recipe.protocol(name).id}' has no test part"
    chosen = recipe.selections.get(model.selection or "")
    if chosen and model.corpora != [chosen.corpus]:
        yield f"models.{name}.corpus", f"must be '{chosen.corpus}', of which '{model.selection}' selects"


def _not_placed(recipe: Recipe, name: str) -> Iterator[tuple[str, str]]:
    """A placed checkpoint to start from, for a student that starts from models only."""
    model = recipe.models[name]
    if not getattr(plugin_class("models.students", model.student), "begins_placed", False):
        problem = f"names the checkpoint '{model.init}', but '{model.student}' starts from a model of the recipe only"
        yield f"models.{name}.init", problem


def _unfilled(recipe: Recipe, name: str) -> Iterator[tuple[str, str]]:
    """Networks inside a student that no checkpoint of the recipe is."""
    model, place = recipe.models[name], f"models.{name}.encoders"
    student = build("models.students", model.student, model.fields, f"[models.{name}]")
    slots = encoder_slots(student)
    for slot, checkpoint in model.encoders.items():
        if slot not in slots:
            yield place, f"names the slot '{slot}', but '{model.student}' as it is set has {', '.join(slots) or 'none'}"
        elif checkpoint not in recipe.checkpoints:
            known = ", ".join(sorted(recipe.checkpoints)) or "none"
            yield place, f"names '{checkpoint}', which is no checkpoint of the recipe (there are: {known})"
    for slot in slots:
        if slot not in model.encoders:
            yield place, f"must say which checkpoint of the recipe is the student's '{slot}'"


def _unfittable(recipe: Recipe, name: str) -> Iterator[tuple[str, str]]:
    """What no fit of a model could be ordered with: missing roles, weights of terms and settings of the training that
    its student does not have. A fit would say so when the features are extracted, hours later."""
    model = recipe.models[name]
    roles = [*model.inputs, *(roles_taught(recipe, name) if model.teacher else ())]
    try:
        fit_request(
            model.student,
            model.fields,
            fit=model.fit,
            objective=model.objective,
            classes=(),
            seed=0,
            split="",
            shards=dict.fromkeys(roles, ("",)),
            encoders=dict.fromkeys(model.encoders, ""),
            votes="",
        ).as_json()  # which knows no `nan` and no `inf`
    except EmolakeError as error:
        yield f"models.{name}", f"cannot be fitted: {error}"


_SECTION = {"feature": "features", "selection": "selections", "retold": "retold", "aligner": "align", "model": "models"}


def _cycles(recipe: Recipe) -> Iterator[tuple[str, str]]:
    def needs(kind: str, name: str) -> Iterator[tuple[str, str]]:
        corpora: Sequence[str] = ()
        if kind == "feature":
            corpora = recipe.features[name].corpora
            if recipe.features[name].checkpoint in recipe.models:
                yield "model", str(recipe.features[name].checkpoint)
        elif kind == "selection":
            corpora = [recipe.selections[name].corpus]
            yield "feature", recipe.selections[name].logits.split(".")[0]
        elif kind == "retold":
            corpora = [recipe.retold[name].corpus]
            if recipe.retold[name].feature:
                yield "feature", str(recipe.retold[name].feature)
        elif kind == "aligner":
            corpora = [*recipe.align[name].corpora, *recipe.align[name].train]
        else:
            model = recipe.models[name]
            corpora = [*model.corpora, *(told for told, _ in map(told_source, model.inputs.values()))]
            for told, source in map(told_source, model.inputs.values()):
                parts = read_source(source)
                if source != TEXT and parts.feature:
                    yield "feature", parts.feature
                for corpus in model.corpora if parts.tier else ():
                    yield "aligner", aligner_of(parts, told or corpus, recipe.align)
            if model.init in recipe.models:
                yield "model", str(model.init)
            if model.teacher:
                yield "model", model.teacher
            if model.selection:
                yield "selection", model.selection
        yield from (("retold", corpus) for corpus in corpora if corpus in recipe.retold)

    def visit(kind: str, name: str, path: tuple[tuple[str, str], ...]) -> Iterator[tuple[str, str]]:
        if (kind, name) in path:
            yield f"{_SECTION[kind]}.{name}", "needs itself: " + " → ".join(n for _, n in [*path, (kind, name)])
            return
        for other in needs(kind, name):
            yield from visit(*other, (*path, (kind, name)))

    for name in recipe.models:
        yield from visit("model", name, ())
    for name in recipe.retold:
        yield from visit("retold", name, ())
