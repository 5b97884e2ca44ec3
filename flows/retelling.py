"""The corpora of a recipe that are told again: what their tables ask for, and where their voices may not come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from features.ingest import corpus_ref
from features.inventory import failed
from features.retell import Answers, Units, is_text, is_wave, label_works, own_id, sound_works, text_works, wave_works
from flows.pack import Told
from flows.protocol import read_protocol, split_of
from flows.readings import Reading
from flows.recipe import Recipe, step_of
from flows.sources import told_source
from flows.stand_ins import StandIns
from flows.voices import voice_works
from warehouse.artifact import Artifact
from warehouse.errors import InvalidField, VoiceElsewhere
from warehouse.schema import UTTERANCES
from warehouse.tables import read_table

if TYPE_CHECKING:
    from flows.line import Line


MADE_HERE = Path("artifacts")
"""The root of a corpus whose sound was made here, relative to the lake, which may be moved."""


def retold_roots(recipe: Recipe, roots: Mapping[str, Path], lake: Path) -> dict[str, Path]:
    """Retold corpus -> the folder that its paths are relative to: that of the corpus whose sound it has, or the lake's
    own artifacts where the sound was made here."""
    return {
        name: lake / MADE_HERE if _is_made_here(recipe, name) else roots[recipe.told_from(name)[-1]]
        for name in recipe.retold
    }


def _is_made_here(recipe: Recipe, name: str) -> bool:
    return any(recipe.retold[one].sound for one in [name, *recipe.told_from(name)] if one in recipe.retold)


def retold_reading(line: Line, name: str) -> Reading:
    """Tells a corpus of the line's recipe again, and lets its name point there."""
    recipe, doer, entry = line.recipe, line.doer, line.recipe.retold[name]
    source = line.corpus(entry.corpus)
    units = {unit: (recorded, utterances) for unit, (_, recorded, utterances) in source.units.items()}
    recorded = {unit: artifact for unit, (artifact, _) in units.items()}
    answers = None
    if entry.text:
        answers = _answers(line, name, "text", entry.text)
        works = text_works(name, units, answers, entry.language or "")
    elif entry.sound:
        answers = _answers(line, name, "sound", entry.sound)
        waves = wave_works(name, units, answers)
        recorded = dict(zip(waves, doer.step(f"record {name}", list(waves.values())), strict=True))
        works = sound_works(name, units, answers, recorded)
    else:
        works = _voice_works(line, name, units)
    utterances = doer.step(f"retell {name}", works)
    own = dict(zip(units, utterances, strict=True))
    both = {unit: (own[unit], labels) for unit, labels in zip(units, source.labels, strict=True)}
    labels = doer.step(f"label {name}", label_works(name, both))
    reader = step_of("corpora", recipe.corpora[recipe.told_from(name)[-1]])
    root = MADE_HERE if _is_made_here(recipe, name) else line.roots[name].absolute()
    ref = corpus_ref(reader, root, list(recorded.values()), [*utterances, *labels])
    needs = {"needs": answers.plugin.needs} if answers else {}
    doer.remember(f"corpora/{name}", ref | {"source": entry.corpus, "told": entry.told} | needs)
    line.count_failures(utterances, counted={row["input_id"] for row in failed(answers.artifacts)} if answers else ())
    return Reading(utterances, labels, {unit: ((), recorded[unit], own[unit]) for unit in units})


def _answers(line: Line, name: str, told: str, source: str) -> Answers:
    """The rows that a corpus is told again with.

    Raises:
        InvalidField: they are no text, or no wave.
    """
    feature, output = line.source(source)
    is_fit, form = (is_text, "text (bytes)") if told == "text" else (is_wave, "a wave (float32 at 16 kHz)")
    if not is_fit(feature.outputs[output]):
        problem = f"names '{source}', whose output '{output}' is not {form}"
        raise InvalidField(f"recipe '{line.recipe.name}'", f"retold.{name}.{told}", problem)
    return Answers(feature.step, feature.plugin, output, feature.artifacts)


def _voice_works(line: Line, name: str, units: Units) -> list[Any]:
    recipe = line.recipe
    read = line.corpus(recipe.told_from(name)[-1])
    protocol = read_protocol(str(recipe.retold[name].voices), recipe.folder)
    return voice_works(name, units, protocol, read.utterances, read.labels)


def told_rows(line: Line, retold: str, corpus: str) -> Told:
    """The rows of a retold corpus under the ids of one that it is told from, near or far."""
    ids = _by_own_id(line.corpus(corpus))
    rows: dict[str, Mapping[str, Any]] = {}
    place: dict[str, Artifact] = {}
    columns = ["utterance_id", "corpus", "audio_id", "text_id", "text"]
    for artifact in line.corpus(retold).utterances:
        for row in pq.read_table(artifact.path("utterances.parquet"), columns=columns).to_pylist():
            told = ids[own_id(row["utterance_id"], row["corpus"])]
            rows[told], place[told] = row, artifact
    return Told(retold, rows, place)


def read_for(line: Line, model: str) -> tuple[Reading, StandIns | None]:
    """The corpora that a model's were read as, all as one; and what is split in their place, if any is told again."""
    own = line.recipe.models[model].corpora
    told = {name: line.recipe.told_from(name)[-1] for name in own if name in line.recipe.retold}
    several = [line.corpus(name) for name in dict.fromkeys(told.get(name, name) for name in own)]
    read = Reading([a for one in several for a in one.utterances], [a for one in several for a in one.labels])
    return read, StandIns(told, line.corpora_of(model).utterances) if told else None


def refuse_voices_of_other_parts(line: Line, model: str, folds: Sequence[str]) -> None:
    """Stops where a fold would learn from an utterance with the voice of one that it does not learn from. The part of
    a voice that the model does not have (lost on the way, or not selected) is the one its protocol gives it.

    Raises:
        VoiceElsewhere: names both.
    """
    recipe = line.recipe
    entry, rules = recipe.models[model], recipe.protocol(model)
    retold = {told for told, _ in map(told_source, entry.inputs.values()) if told}
    retold |= {name for name in entry.corpora if name in recipe.retold}
    voiced = {name: by for name in sorted(retold) if (by := _voiced_by(recipe, name))}
    if not voiced:
        return
    (read, told), chosen = read_for(line, model), line.selection(entry.selection) if entry.selection else None
    corpus = read.utterances, read.labels
    whole = {fold: _parts(split_of(rules, fold, folds, *corpus)[0]) for fold in folds}
    own, redrawn = whole, str(entry.selection) if chosen and "drawn" in f"{rules.test} {rules.dev}" else ""
    if told or chosen:
        own = {fold: _parts(split_of(rules, fold, folds, *corpus, chosen, told)[0]) for fold in folds}
    for name, by in voiced.items():
        for learned in (one for one in [name, *recipe.told_from(name)] if one in entry.corpora):
            for utterance, voice, voice_read in _voices(line, name, by, learned):
                for fold in folds:
                    part = own[fold].get(voice) or whole[fold].get(voice_read)
                    if own[fold].get(utterance) == "train" and part != "train":
                        raise VoiceElsewhere(model, fold, utterance, voice, part or "", by, redrawn)


def _parts(split: pa.Table) -> dict[str, str]:
    """Utterance id -> its part."""
    return dict(zip(split.column("utterance_id").to_pylist(), split.column("part").to_pylist(), strict=True))


def _voices(line: Line, name: str, by: str, learned: str) -> Iterator[tuple[str, str, str]]:
    """Each utterance of a corpus and the one whose voice it has, both under the ids of the corpus it is learned as, and
    the id that the voice was read with. A voice that was lost before it could be learned has that id twice."""
    ids, read = (_by_own_id(line.corpus(one)) for one in (learned, line.recipe.told_from(name)[-1]))
    for artifact in line.corpus(name).utterances:
        for row in read_table(artifact.path("utterances.parquet"), UTTERANCES).to_pylist():
            voice = own_id(str(dict(row["attributes"])["voice"]), line.recipe.retold[by].corpus)
            yield ids[own_id(row["utterance_id"], name)], ids.get(voice, read[voice]), read[voice]


def _voiced_by(recipe: Recipe, name: str) -> str:
    """The corpus, this one or one that it is told from, in which utterances got another's voice; '' where none."""
    told = [one for one in [name, *recipe.told_from(name)] if one in recipe.retold]
    return next((one for one in told if recipe.retold[one].voices), "")


def _by_own_id(reading: Reading) -> dict[str, str]:
    """Own id -> utterance id."""
    columns = ["utterance_id", "corpus"]
    rows = [pq.read_table(a.path("utterances.parquet"), columns=columns).to_pylist() for a in reading.utterances]
    return {own_id(row["utterance_id"], row["corpus"]): row["utterance_id"] for several in rows for row in several}
