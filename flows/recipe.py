"""The declared experiment: one TOML file, thirty-odd lines, read strictly. What to do, never where or how fast."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flows.firewall import SelectOn
from flows.grid import Point, expanded
from flows.operate.schedule_entry import ScheduleEntry, without_schedule
from flows.protocol import Protocol, read_protocol, read_toml
from flows.references import complaints
from warehouse.catalog import build, plugin_class, wrong_field
from warehouse.errors import InvalidField, MissingFolder, UnknownField, UnknownName

RECIPES = Path(__file__).parent / "recipes"

_LONGEST = 100
"""Letters of a name: it becomes part of names of files, views and deployments, which have a longest of their own."""

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=_LONGEST)]
"""What a recipe calls its corpora, features, selections and models: parts of SQL views' names and ids, so no '-'."""

ModelName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\(.*\))?$")]
"""A name, or that of a point of a grid (`flows.grid`)."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CorpusEntry(_Section):
    """One corpus of the recipe: its reader and the reader's own fields."""

    reader: str
    fields: dict[str, Any] = {}


class RetoldEntry(_Section):
    """A corpus told again from another: exactly one of `text`, `voices` and `sound` says what is new.

    Args:
        corpus: what it is told from: one that is read, or one that is told again itself.
        text: a feature (or 'feature.output') of that corpus whose output is text: what was heard, or a translation.
        language: of that text; none is the source's.
        voices: a protocol. Each utterance of a class gets the sound of another speaker of its class, who is in the
            same part in every fold.
        sound: a feature of that corpus whose output is a wave.
    """

    corpus: str
    text: str | None = Field(None, min_length=1)
    language: str | None = Field(None, min_length=1)
    voices: str | None = Field(None, min_length=1)
    sound: str | None = Field(None, min_length=1)

    @property
    def told(self) -> str:
        """What is new: 'text', 'voices' or 'sound'."""
        return self.tellings[0]

    @property
    def tellings(self) -> list[str]:
        """All that are given, of which there must be one."""
        return [name for name in ("text", "voices", "sound") if getattr(self, name) is not None]

    @property
    def feature(self) -> str | None:
        """The feature it is told with; voices need none."""
        source = self.text or self.sound
        return source.split(".")[0] if source else None


class AlignEntry(_Section):
    """One aligner: its fields and the corpora it aligns. Several may align the same corpus.

    Args:
        train: the corpora that the aligner's acoustic model is trained on first, for one that can; [] takes the model
            that its fields name.
    """

    aligner: str
    corpora: list[str]
    train: list[str] = []
    fields: dict[str, Any] = {}


class FeatureEntry(_Section):
    """One extractor: its fields, the corpora it hears or reads, the checkpoint it loads (if any): the name of a model
    or of a checkpoint of the recipe."""

    extractor: str
    corpora: list[str]
    checkpoint: str | None = None
    fields: dict[str, Any] = {}


class CheckpointEntry(_Section):
    """A checkpoint that a person placed (README, 'Your own checkpoints').

    Args:
        folder: below EMOLAKE_WEIGHTS, or relative to the recipe.
        revision, licence, trained_on: as its publisher says. They are remembered in a ref and change no key.
    """

    folder: str = Field(pattern=r"^[^/]")
    revision: str = ""
    licence: str
    trained_on: list[str] = []


class SelectionEntry(_Section):
    """Utterances of one corpus that a teacher is sure of. `logits` is a source such as 'teacher.logits'; a class
    without a threshold of its own takes `threshold`."""

    corpus: str
    logits: str
    threshold: float = Field(gt=0, lt=1)
    thresholds: dict[str, Annotated[float, Field(gt=0, lt=1)]] = {}


class ModelEntry(_Section):
    """One student to fit.

    Args:
        corpus, protocol: what it learns from (several corpora as a list) and how that is split; one fit per fold and
            seed.
        inputs: the student's role -> source (see `flows.sources`): a feature ('lld'), one output of it
            ('teacher.hidden'), its means over aligned segments ('lld@word'), their times ('@word'), or 'text'; any of
            these of a corpus told again from the model's own ('heard:text').
        objective: loss term -> weight.
        init: the model whose checkpoint it starts from; a placed checkpoint too, for a student that can.
        teacher: the model of the same utterances and protocol that tells it, fold by fold, what the terms 'logits' and
            'features' of the objective read.
        encoders: the student's slot -> the checkpoint of the recipe that fills it, for a student with networks inside.
        selection: learn from these utterances only; the teacher's class is then the label.
        select_on: the part whose loss says which epoch is kept. 'test' is what papers did that had no other part; then
            all that comes from it is stamped test-selected.
    """

    student: str
    corpus: str | list[str]
    protocol: str
    inputs: dict[str, str]
    objective: dict[str, float] = {}
    fit: dict[str, Any] = {}
    init: str | None = None
    teacher: str | None = None
    encoders: dict[str, str] = {}
    selection: str | None = None
    select_on: SelectOn = "dev"
    seeds: list[Annotated[int, Field(ge=0, lt=2**63)]] = [0]
    fields: dict[str, Any] = {}

    @property
    def corpora(self) -> list[str]:
        return [self.corpus] if isinstance(self.corpus, str) else self.corpus


class ReportEntry(_Section):
    """What makes the tables.

    Args:
        models: those whose test predictions are judged. Of a grid it is the point that is best on dev.
        averages: name -> models or grids: the mean of their logits, per fold and seed, is judged as a model is.
        explain: those of `models`, and no grids, of which is told why they answer as they do (`models.explaining`).
        remarks: sentences the reader should know.
    """

    models: list[str]
    averages: dict[Name, list[str]] = {}
    explain: list[str] = []
    remarks: list[str] = []

    @property
    def names(self) -> list[str]:
        """Whatever has rows in the tables."""
        return [*self.models, *self.averages]

    @property
    def sentences(self) -> list[str]:
        """What averages are of, and the remarks."""
        told = [f"'{name}' is the mean of the logits of {', '.join(own)}." for name, own in self.averages.items()]
        return [*told, *self.remarks]


class FailuresEntry(_Section):
    """How many utterances may fail in all steps together before the run stops."""

    allowed: int = 0


class Recipe(_Section):
    """A recipe as read and checked."""

    name: str = Field(pattern=r"^[a-z0-9_-]+$", max_length=_LONGEST)
    title: str
    corpora: dict[Name, CorpusEntry]
    retold: dict[Name, RetoldEntry] = {}
    align: dict[Name, AlignEntry] = {}
    checkpoints: dict[Name, CheckpointEntry] = {}
    features: dict[Name, FeatureEntry] = {}
    selections: dict[Name, SelectionEntry] = {}
    models: dict[ModelName, ModelEntry] = {}  # the points of grids among them
    grids: dict[Name, list[Point]] = {}
    report: ReportEntry | None = None
    failures: FailuresEntry = FailuresEntry()
    schedule: ScheduleEntry | None = None
    text: str = ""  # the file itself but for its schedule, for the report
    folder: Path = Path()  # where it lies: what its protocols' paths are relative to

    def behind(self, name: str) -> list[str]:
        """The models behind a name that a report may have: itself, a grid's points, or those of an average's members.
        What decides who is judged is the same for all of them."""
        if name in self.grids:
            return [point.name for point in self.grids[name]]
        members = self.report.averages.get(name, []) if self.report else []
        return [model for member in members for model in self.behind(member)] or [name]

    def protocol(self, name: str) -> Protocol:
        """The protocol of one of its models, grids or averages."""
        return read_protocol(self.models[self.behind(name)[0]].protocol, self.folder)

    def told_from(self, corpus: str) -> list[str]:
        """The corpora that one is told from, nearest first; none for one that is read. A circle is gone round once."""
        found: list[str] = []
        while corpus in self.retold and (corpus := self.retold[corpus].corpus) not in found:
            found.append(corpus)
        return found

    def reader_of(self, corpus: str) -> str:
        """The reader of a corpus, or of the one that it is told from."""
        return self.corpora[[corpus, *self.told_from(corpus)][-1]].reader


_PLUGINS: dict[str, tuple[str, str]] = {
    "corpora": ("features.corpora", "reader"),
    "align": ("features.aligners", "aligner"),
    "features": ("features.extractors", "extractor"),
    "models": ("models.students", "student"),
}
"""Section -> the room its plug-ins live in and the field that names one."""

_ENTRIES: dict[str, type[BaseModel]] = {
    "corpora": CorpusEntry, "retold": RetoldEntry, "align": AlignEntry, "checkpoints": CheckpointEntry,
    "features": FeatureEntry, "selections": SelectionEntry, "models": ModelEntry, "report": ReportEntry,
    "failures": FailuresEntry, "schedule": ScheduleEntry,
}  # fmt: skip
_SECTIONS = frozenset(Recipe.model_fields) - {"text", "folder", "grids"}
_ONE = ("report", "failures", "schedule")  # sections that are one table, not one per name


def recipe_path(name_or_path: str) -> Path:
    """A recipe by path, or by the name of a shipped one.

    Raises:
        UnknownName: neither; lists the shipped ones.
    """
    path = Path(name_or_path)
    if path.suffix == ".toml":
        if not path.is_file():
            raise MissingFolder("the recipe", path, "give the path of a TOML file, or the name of a shipped recipe")
        return path
    shipped = {p.stem: p for p in RECIPES.glob("*.toml")}
    if name_or_path not in shipped:
        raise UnknownName("recipe", name_or_path, shipped)
    return shipped[name_or_path]


def read_recipe(path: Path) -> Recipe:
    """Reads and checks a recipe: names, types, every plug-in's own fields, and that what is referred to exists.

    Raises:
        MalformedSource: not UTF-8, or not TOML.
        UnknownField, InvalidField, UnknownName: each with the place and the nearest name.
    """
    text, tree = read_toml(path)
    where = f"recipe '{path.stem}'"
    try:
        text = without_schedule(text, tree)
    except ValueError as error:
        raise InvalidField(where, "schedule", str(error)) from None
    grids: dict[str, list[Point]] = {}
    if isinstance(tree.get("models"), dict):
        tree["models"], grids = expanded(tree["models"], where)
    for section, content in tree.items():
        if section not in _SECTIONS:
            raise UnknownField(where, section, _SECTIONS)
        if section in _ENTRIES:
            tables = {"": content} if section in _ONE else content
            if not isinstance(tables, dict):
                raise InvalidField(where, section, "must be a table")
            for name, table in tables.items():
                _check_entry(section, table, f"{where} [{section}{'.' if name else ''}{name}]")
    recipe = _typed(Recipe, tree | {"text": text, "folder": path.parent, "grids": grids}, where)
    for complaint in complaints(recipe):
        raise InvalidField(where, *complaint)
    return recipe


def _check_entry(section: str, table: dict[str, Any], where: str) -> None:
    """Moves a plug-in's own fields from the table into `fields`, and checks them by building it."""
    entry = _ENTRIES[section]
    if not isinstance(table, dict):
        problem = "must be a table" if section in _ONE else f"must have tables with names: [{section}.NAME]"
        raise InvalidField(where, section, problem)
    if section in _PLUGINS:
        room, naming = _PLUGINS[section]
        if naming not in table:
            raise InvalidField(where, naming, "must be given")
        if not isinstance(table[naming], str):
            raise InvalidField(where, naming, "must be text")
        plugin = plugin_class(room, table[naming])
        own = {name: table.pop(name) for name in list(table) if name not in entry.model_fields}
        fields = {field.name for field in dataclasses.fields(plugin)}
        known = (set(entry.model_fields) | fields) - {"fields"}
        for name in own:
            if name not in fields:
                raise UnknownField(where, name, known)
        filled = {"weights": ""} if getattr(plugin, "reads_checkpoint", False) else {}
        build(room, table[naming], own | filled, where)
        table["fields"] = own
    else:
        for name in table:
            if name not in entry.model_fields:
                raise UnknownField(where, name, entry.model_fields)
    _typed(entry, table, where)


def _typed(model: type[Any], value: Mapping[str, Any], where: str) -> Any:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise InvalidField(where, *wrong_field(error)) from error


Section = Literal["corpora", "align", "features", "models"]


def plugin_of(section: Section, entry: Any, where: str, **more: Any) -> Any:
    """The plug-in that an entry declares; `more` holds fields that are only known now (the weights' digest)."""
    room, naming = _PLUGINS[section]
    return build(room, getattr(entry, naming), entry.fields | more, where)


def step_of(section: Section, entry: Any) -> str:
    """The step name of an entry's plug-in: 'extractors.opensmile', 'students.mced', …"""
    room, naming = _PLUGINS[section]
    return f"{room.rpartition('.')[2]}.{getattr(entry, naming)}"
