"""Corpora told again through a whole line: heard words, others' voices, sound made here; packed, split and traced."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from features.extract import extract
from features.inventory import column
from features.retell import retold_row
from flows.cli import app
from flows.line import Line
from flows.plan import is_done, plan
from flows.protocol import Protocol, folds_of
from flows.readings import Reading
from flows.recipe import Recipe, read_recipe
from flows.retelling import refuse_voices_of_other_parts
from flows.traced_number import trace_number
from flows.transcripts import error_rates, transcript_rates
from flows.voices import voice_works
from tests.features.tiny_recogniser import write_recogniser
from tests.flows.made import labels as made_labels
from tests.flows.made import utterances as made_utterances
from tests.flows.partly import Partly, contents, new
from tests.flows.test_stand_ins import selected
from tests.flows.test_voices import labels_of, protocol_of, recorded
from tests.flows.test_voices import rows_of as made_rows
from tests.sparing import first
from warehouse import Artifact, Request, Warehouse
from warehouse.audit.lineage import up
from warehouse.audit.subject import places_of, subject_of
from warehouse.audit.trace import trace
from warehouse.audit.verify import verify
from warehouse.errors import ArtifactNotFound, InvalidField, TooManyFailures, VoiceElsewhere
from warehouse.schema import PREDICTIONS, SPLIT, UTTERANCES, text_id
from warehouse.shards import ShardReader
from warehouse.tables import read_table, write_rows

RECIPE = """
name = "again"
title = "A corpus told again"

[corpora.clips]
reader = "table"
file = "clips.csv"
session = "session"
language = "tongue"

[checkpoints.hearer]
folder = "recogniser"
licence = "our own"

[features.heard]
extractor = "asr"
corpora = ["clips"]
checkpoint = "hearer"

[features.wave]
extractor = "waveform"
corpora = ["clips_voiced"]
dtype = "float32"

[features.loud]
extractor = "mfcc"
corpora = ["clips_spoken"]
n_mfcc = 13

[features.lld]
extractor = "mfcc"
corpora = ["clips", "clips_voiced"]
n_mfcc = 12

[retold.clips_spoken]
corpus = "clips_voiced"
sound = "wave"

[retold.clips_heard]
corpus = "clips"
text = "heard"
language = "de"

[retold.clips_voiced]
corpus = "clips_heard"
voices = "two.toml"

[models.reader]
student = "text_encoder"
task = "classify"
corpus = "clips"
protocol = "two.toml"
inputs = { text = "clips_heard:text" }
objective = { label = 1.0 }
fit = { epochs = 1, learning_rate = 1e-3, batch_frames = 64 }

[models.hearer_reader]
student = "text_encoder"
task = "classify"
corpus = "clips_heard"
protocol = "two.toml"
inputs = { text = "text" }
objective = { label = 1.0 }
fit = { epochs = 1, learning_rate = 1e-3, batch_frames = 64 }

[models.listener]
student = "mced"
corpus = "clips"
protocol = "two.toml"
inputs = { speech = "clips_spoken:loud" }
objective = { label = 1.0 }
fit = { epochs = 1, learning_rate = 1e-3, batch_frames = 64 }

[models.parrot]
student = "mced"
corpus = "clips"
protocol = "two.toml"
inputs = { speech = "clips_voiced:lld" }
objective = { label = 1.0 }
fit = { epochs = 1, learning_rate = 1e-3, batch_frames = 64 }

[models.mimic]
student = "mced"
corpus = "clips_voiced"
protocol = "two.toml"
inputs = { speech = "lld" }
objective = { label = 1.0 }
fit = { epochs = 1, learning_rate = 1e-3, batch_frames = 64 }
"""
PROTOCOL = """
id = "two"
reader = "table"
title = "Two classes, leave one session out"
folds = "session"
test = "session = $fold"
dev = "session = $next"
labels = { calm = "calm", loud = "loud" }
"""
STEPS = ("record", "ingest", "canary", "weights", "extract", "retell", "label", "pack", "split")

PEOPLE = [("1", "ann"), ("1", "bob"), ("2", "cid"), ("2", "dee"), ("3", "eve"), ("3", "fay")]


def write_clips(root: Path) -> Path:
    """Two utterances of either class of six speakers in three sessions, and one of a class that is not asked for."""
    root.mkdir()
    rng = np.random.default_rng(0)
    lines = ["path,text,speaker,session,label,tongue"]
    for session, speaker in PEOPLE:
        for number, label in enumerate(("calm", "calm", "loud", "loud", *(["odd"] if speaker == "ann" else []))):
            name = f"{speaker}{number}.wav"
            soundfile.write(root / name, rng.normal(0, 0.1, 8_000), 16_000)
            lines.append(f"{name},Words of {speaker} {number},{speaker},{session},{label},en")
    (root / "clips.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def recipe_of(folder: Path, old: str = "", new: str = "", text: str = RECIPE) -> Recipe:
    assert old in text
    (folder / "again.toml").write_text(text.replace(old, new, 1) if old else text, encoding="utf-8")
    (folder / "two.toml").write_text(PROTOCOL, encoding="utf-8")
    return read_recipe(folder / "again.toml")


def roots_of(folder: Path) -> dict[str, Path]:
    return {"clips": folder / "clips", "checkpoints/hearer": folder / "recogniser"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a lake in which everything is made up to the splits."""
    folder = tmp_path_factory.mktemp("again")
    write_clips(folder / "clips")
    (folder / "recogniser").mkdir()
    write_recogniser(folder / "recogniser")
    warehouse = Warehouse(folder / "lake", create=True)
    Line(recipe_of(folder), warehouse, roots_of(folder), Partly(warehouse, *STEPS)).run()
    return folder


@pytest.fixture
def warehouse(built: Path) -> Warehouse:
    return Warehouse(built / "lake")


def rows_of(warehouse: Warehouse, corpus: str) -> dict[str, dict[str, Any]]:
    """Own id -> utterance."""
    rows = warehouse.table(f"SELECT * FROM utterances WHERE corpus = '{corpus}'").to_pylist()
    prefix = f"{corpus}-"
    return {row["utterance_id"].removeprefix(prefix): row | {"attributes": dict(row["attributes"])} for row in rows}


def line_of(folder: Path, recipe: Recipe, *steps: str) -> Line:
    warehouse = Warehouse(folder / "lake")
    return Line(recipe, warehouse, roots_of(folder), Partly(warehouse, *steps))


# -- what is told ----------------------------------------------------------------------------------------------------

TOLD = ("utterance_id", "corpus", "attributes", "artifact")


def test_words_that_were_heard_stand_where_the_transcript_stood(warehouse: Warehouse) -> None:
    source, heard = rows_of(warehouse, "clips"), rows_of(warehouse, "clips_heard")
    assert source.keys() == heard.keys() and len(source) == 25
    texts = warehouse.table("SELECT input_id, decode(text) AS text FROM features_heard").to_pylist()
    by_audio = {row["input_id"]: row["text"] for row in texts}
    assert any(by_audio.values())
    for name, row in heard.items():
        said = by_audio[row["audio_id"]]
        assert (row["verbatim"], row["text"], row["text_id"], row["language"]) == (said, said, text_id(said), "de")
        assert row["attributes"] == {"source": source[name]["utterance_id"]}
        words = ("verbatim", "text", "text_id", "language", *TOLD)
        assert {k: v for k, v in row.items() if k not in words} == {
            k: v for k, v in source[name].items() if k not in words
        }


def test_labels_and_ids_are_its_own(warehouse: Warehouse) -> None:
    n, n_ids = warehouse.sql("SELECT count(*), count(DISTINCT utterance_id) FROM utterances").fetchall()[0]
    assert n == n_ids == 25 + 25 + 24 + 24
    listed = "corpus, list(value ORDER BY utterance_id) AS labels"
    query = f"SELECT {listed} FROM labels JOIN utterances USING (utterance_id) GROUP BY ALL"
    labels = {row["corpus"]: row["labels"] for row in warehouse.table(query).to_pylist()}
    assert labels["clips"] == labels["clips_heard"]
    assert labels["clips_voiced"] == labels["clips_spoken"] == [one for one in labels["clips"] if one != "odd"]
    orphans = "SELECT count(*) FROM labels ANTI JOIN utterances USING (utterance_id)"
    assert warehouse.sql(orphans).fetchall() == [(0,)]


def test_voices_are_others_of_the_class_and_the_session(warehouse: Warehouse) -> None:
    heard, voiced = rows_of(warehouse, "clips_heard"), rows_of(warehouse, "clips_voiced")
    labels = dict(warehouse.sql("SELECT utterance_id, value FROM labels").fetchall())
    by_id = {row["utterance_id"]: row for row in heard.values()}
    assert voiced.keys() == heard.keys() - {"ann4"}, "one without a class of the protocol is not told again"
    for name, row in voiced.items():
        voice = by_id[row["attributes"]["voice"]]
        assert row["attributes"]["voice_speaker"] == voice["speaker_id"] != row["speaker_id"]
        assert row["speaker_id"] == heard[name]["speaker_id"] and row["session"] == voice["session"]
        assert labels[row["utterance_id"]] == labels[voice["utterance_id"]]
        sound = ("recording_id", "path", "start_s", "end_s", "channel", "audio_id")
        assert {k: row[k] for k in sound} == {k: voice[k] for k in sound}
        assert {k: v for k, v in row.items() if k not in (*sound, *TOLD)} == {
            k: v for k, v in heard[name].items() if k not in (*sound, *TOLD)
        }


def test_sound_that_was_made_here_is_heard_as_it_was_made(warehouse: Warehouse) -> None:
    """`waveform` is the extractor that says what it hears: what is spoken is then the voice to the bit."""
    voiced, spoken = rows_of(warehouse, "clips_voiced"), rows_of(warehouse, "clips_spoken")
    waves = {row["input_id"]: row["wave"] for row in warehouse.table("FROM features_wave").to_pylist()}
    for name, row in spoken.items():
        wave, rate_hz = soundfile.read(warehouse.root / "artifacts" / row["path"], dtype="float32")
        assert rate_hz == 16_000 and wave.tobytes() == waves[voiced[name]["audio_id"]]
        assert (row["start_s"], row["end_s"], row["channel"]) == (0.0, len(wave) / 16_000, "mix")
        assert row["attributes"] == voiced[name]["attributes"] | {"source": voiced[name]["utterance_id"]}
        assert (row["text"], row["speaker_id"]) == (voiced[name]["text"], voiced[name]["speaker_id"])
    assert len(warehouse.table("FROM features_loud").to_pylist()) == len({row["audio_id"] for row in spoken.values()})


def test_the_lake_knows_them_as_corpora(warehouse: Warehouse, built: Path) -> None:
    refs = warehouse.refs("corpora")
    assert {name: (ref.get("source"), ref.get("told")) for name, ref in refs.items()} == {
        "clips": (None, None), "clips_heard": ("clips", "text"), "clips_voiced": ("clips_heard", "voices"),
        "clips_spoken": ("clips_voiced", "sound"),
    }  # fmt: skip
    assert {ref["reader"] for ref in refs.values()} == {"corpora.table"}
    assert refs["clips_heard"]["root"] == str(built / "clips")
    assert refs["clips_spoken"]["root"] == "artifacts", "wherever the lake is moved to"
    needs = {name: ref.get("needs") for name, ref in refs.items()}
    assert needs == {"clips": None, "clips_heard": "audio", "clips_voiced": None, "clips_spoken": "audio"}
    assert verify(warehouse) == []
    name = rows_of(warehouse, "clips_spoken")["ann0"]["utterance_id"]
    assert places_of(warehouse, subject_of(warehouse, name))[0]["file"].startswith(f"{warehouse.root}/artifacts/raw/")


def test_a_lake_with_sound_that_was_made_here_can_be_moved(built: Path, warehouse: Warehouse, tmp_path: Path) -> None:
    listener = line_of(built, read_recipe(built / "again.toml")).shards("listener")
    first = Path(shutil.copytree(warehouse.root, tmp_path / "first"))
    moved = Warehouse(first.rename(tmp_path / "moved"))
    assert verify(moved) == []
    made = extract(moved, "mfcc", ["clips_spoken"], n_mfcc=20)
    assert sum(len(column(a.path("features.parquet"), "input_id")) for a in made) > 0
    number = trace_number(moved, predictions_of(moved, listener, "clips-ann0"), "clips-ann0")
    files = [hop.note.partition(",")[0] for hop in number.hops if hop.what == "raw file"]
    assert files[0].startswith(f"{moved.root}/artifacts/raw/") and all(Path(path).is_file() for path in files)
    name = rows_of(moved, "clips_spoken")["ann0"]["utterance_id"]
    assert places_of(moved, subject_of(moved, name))[0]["file"].startswith(f"{moved.root}/artifacts/raw/")


def test_transcripts_are_held_against_what_was_said(warehouse: Warehouse) -> None:
    source, heard = rows_of(warehouse, "clips"), rows_of(warehouse, "clips_heard")
    [row] = transcript_rates(warehouse, "heard")
    rates = error_rates(*([rows[name]["text"] for name in sorted(source)] for rows in (source, heard)))
    assert row == {"corpus": "clips"} | rates and rates["wer"] > 0


def test_a_protocol_is_asked_of_the_corpus_that_was_read_where_none_is_named(built: Path) -> None:
    def asked(*corpus: str) -> list[str]:
        arguments = ["split", str(built / "two.toml"), "--lake", str(built / "lake"), "--json", *corpus]
        return json.loads(CliRunner().invoke(app, arguments).stdout)["corpora"]

    assert asked() == ["clips"]
    assert asked("--corpus", "clips_heard") == ["clips_heard"]


def test_a_protocol_is_not_asked_of_what_stands_for_a_corpus_that_is_gone(built: Path, tmp_path: Path) -> None:
    lake = Path(shutil.copytree(built / "lake", tmp_path / "lake"))
    (lake / "refs" / "corpora" / "clips.json").unlink()
    arguments = ["split", str(built / "two.toml"), "--lake", str(lake), "--corpus", "clips_spoken"]
    with pytest.raises(ArtifactNotFound, match="no artifact has the key, digest or name 'corpora/clips'"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


# -- what is made again, and what stops ------------------------------------------------------------------------------


def test_nothing_is_told_twice(built: Path, warehouse: Warehouse) -> None:
    before = contents(warehouse.root)
    steps = plan(read_recipe(built / "again.toml"), warehouse, roots_of(built), explain=False)
    assert set(new({step.name: step for step in steps})) == {f"fit {m}" for m in MODELS}
    assert is_done(plan(read_recipe(built / "again.toml"), warehouse, roots_of(built), "extract"))
    assert contents(warehouse.root) == before


MODELS = ("reader", "hearer_reader", "listener", "parrot", "mimic")


def test_a_plan_of_an_empty_lake_says_what_waits(built: Path, tmp_path: Path) -> None:
    steps = plan(read_recipe(built / "again.toml"), Warehouse(tmp_path / "lake", create=True), roots_of(built))
    waits = {step.name: step.waits_for for step in steps if step.waits_for}
    assert waits["retell clips_spoken"] == waits["pack clips clips_heard:text"] == "record clips"


def copied(built: Path, folder: Path) -> Path:
    return Path(shutil.copytree(built, folder / "again"))


def test_relabelling_changes_nothing_but_labels_and_voices(built: Path, tmp_path: Path) -> None:
    folder = copied(built, tmp_path)
    recipe, table = read_recipe(folder / "again.toml"), folder / "clips" / "clips.csv"

    def told() -> dict[str, dict[str, list[str]]]:
        line = line_of(folder, recipe, *STEPS)
        line.extract()
        readings = {name: line.corpus(name) for name in recipe.retold}
        return {
            kind: {name: [a.digest for a in getattr(one, kind)] for name, one in readings.items()}
            for kind in ("utterances", "labels")
        }

    before = told()
    table.write_text(re.sub(r"(ann0.*|bob3.*)(calm|loud)", r"\1odd", table.read_text()), encoding="utf-8")
    after = told()
    assert after["utterances"]["clips_heard"] == before["utterances"]["clips_heard"]
    assert after["labels"]["clips_heard"] != before["labels"]["clips_heard"]
    voiced = rows_of(Warehouse(folder / "lake"), "clips_voiced")
    assert not {"ann0", "bob3"} & voiced.keys() and len(voiced) == 22
    assert not {f"clips_heard-{n}" for n in ("ann0", "bob3")} & {row["attributes"]["voice"] for row in voiced.values()}


def test_one_whose_class_nobody_else_has_is_a_failure(built: Path, tmp_path: Path) -> None:
    folder = copied(built, tmp_path)
    text = PROTOCOL.replace('"two"', '"three"').replace('loud = "loud" }', 'loud = "loud", odd = "odd" }')
    (folder / "three.toml").write_text(text, encoding="utf-8")
    recipe = recipe_of(folder, 'voices = "two.toml"', 'voices = "three.toml"')
    reason = "no speaker but 'ann' has the class 'odd' among those that are test in fold '1', dev in fold '3'"
    with pytest.raises(TooManyFailures, match=re.escape(f"clips_heard-ann4: {reason}")):
        line_of(folder, recipe, *STEPS).corpus("clips_voiced")
    allowed = recipe_of(folder, 'voices = "two.toml"', 'voices = "three.toml"\n[failures]\nallowed = 1')
    assert len(column(line_of(folder, allowed, *STEPS).corpus("clips_voiced").utterances[0].path("utterances.parquet"),
                      "utterance_id")) == 24  # fmt: skip


def test_no_voice_may_be_a_test_speakers(built: Path, tmp_path: Path) -> None:
    """Voices that one protocol chose serve no model of another that parts these speakers."""
    folder = copied(built, tmp_path)
    text = PROTOCOL.replace('"two"', '"speakers"').replace('= "session"', '= "speaker_id"')
    (folder / "speakers.toml").write_text(text.replace("session =", "speaker_id ="), encoding="utf-8")
    old = 'protocol = "two.toml"\ninputs = { speech'
    recipe = recipe_of(folder, old, old.replace("two", "speakers"))
    with pytest.raises(VoiceElsewhere) as raised:
        line_of(folder, recipe, *STEPS).splits("listener")
    sentence = str(raised.value)
    voiced = rows_of(Warehouse(folder / "lake"), "clips_voiced")
    fold, utterance, voice, part = re.match(
        r"model 'listener', fold '(\w+)': utterance 'clips-(\w+)' is learned from with the voice of 'clips-(\w+)', "
        r"which is (\w+) there: let retold.clips_voiced.voices name the protocol of the model$", sentence
    ).groups()  # fmt: skip
    assert voiced[utterance]["attributes"]["voice"] == f"clips_heard-{voice}"
    assert part in ("test", "dev") and (part == "dev" or fold == voice[:3])


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('sound = "wave"', 'sound = "again"', "retold.clips_spoken.sound' names 'again', whose output 'wave' is not a "
         "wave (float32 at 16 kHz)"),
        ('text = "heard"', 'text = "early"', "retold.clips_heard.text' names 'early', whose output 'wave' is not text "
         "(bytes)"),
    ],
)  # fmt: skip
def test_rows_of_another_kind_tell_nothing(built: Path, tmp_path: Path, old: str, new: str, problem: str) -> None:
    more = "".join(
        f'[features.{name}]\nextractor = "waveform"\ncorpora = ["{corpus}"]\n'
        for name, corpus in (("again", "clips_voiced"), ("early", "clips"))
    )
    folder = copied(built, tmp_path)
    recipe = recipe_of(folder, old, new, RECIPE + more)
    with pytest.raises(InvalidField, match=re.escape(problem)):
        line_of(folder, recipe, *STEPS).extract()


def test_what_an_extractor_failed_on_is_one_failure(tmp_path: Path) -> None:
    """Though every utterance that would be told with it is a row that says so."""
    root = write_clips(tmp_path / "clips")
    soundfile.write(root / "ann0.wav", np.full(8_000, np.nan, np.float32), 16_000, subtype="FLOAT")
    (tmp_path / "recogniser").mkdir()
    write_recogniser(tmp_path / "recogniser")
    warehouse = Warehouse(tmp_path / "lake", create=True)
    text = RECIPE[: RECIPE.index("[features.wave]")] + RETOLD_HEARD
    line = line_of(tmp_path, recipe_of(tmp_path, text=text + "[failures]\nallowed = 1\n"), *STEPS)
    line.run()
    assert len(line.failures) == 1
    reasons = dict(warehouse.sql("SELECT step, reason FROM failures").fetchall())
    assert reasons.keys() == {"extractors.asr", "features.retell"}
    assert reasons["features.retell"].endswith(f"'clips_heard': {reasons['extractors.asr']}")
    none = recipe_of(tmp_path, text=text)
    with pytest.raises(TooManyFailures, match="could not treat 1 utterances"):
        line_of(tmp_path, none, *STEPS).run()


RETOLD_HEARD = """
[retold.clips_heard]
corpus = "clips"
text = "heard"
language = "de"
"""


# -- whose voice may be learned from ---------------------------------------------------------------------------------


def told_line(
    lake: Warehouse, protocol: Protocol, model: SimpleNamespace, told: Mapping[str, tuple[str, bool]],
    readings: Mapping[str, Reading], chosen: Artifact | None = None,
) -> Any:  # fmt: skip
    """A line as far as `refuse_voices_of_other_parts` asks it.

    Args:
        told: corpus that is told again -> what it is told from, and whether with others' voices.
    """
    retold = {name: SimpleNamespace(corpus=of, voices="mine" if has else None) for name, (of, has) in told.items()}

    def told_from(name: str) -> list[str]:
        return [told[name][0], *told_from(told[name][0])] if name in told else []

    def corpora_of(model: str) -> Reading:
        own = [readings[name] for name in recipe.models["m"].corpora]
        return Reading([a for one in own for a in one.utterances], [a for one in own for a in one.labels])

    model.selection = "sure" if chosen else None
    recipe = SimpleNamespace(models={"m": model}, retold=retold, told_from=told_from, protocol=lambda name: protocol)
    return SimpleNamespace(
        recipe=recipe, corpus=readings.__getitem__, corpora_of=corpora_of, selection=lambda name: chosen
    )


def voiced_rows(
    lake: Warehouse, protocol: Protocol, read: Reading, units: Artifact
) -> tuple[Artifact, list[dict[str, Any]]]:
    [work] = voice_works("voiced", {"u": (recorded(lake), units)}, protocol, read.utterances, read.labels)
    made = lake.perform(work)
    return made, read_table(made.path("utterances.parquet"), UTTERANCES).to_pylist()


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "voices", create=True)


@pytest.mark.parametrize("protocol", first(1, ["drawn", "sessions", "official parts"]))
def test_voices_of_the_models_own_protocol_are_never_refused_whatever_was_lost(lake: Warehouse, protocol: str) -> None:
    """Not of what is read with other words, nor where a voice's own utterance was lost between it and the model."""
    rows, rules = made_rows(), protocol_of(protocol)
    here = Reading([made_utterances(lake, rows)], [made_labels(lake, labels_of(rows))])
    heard = made_utterances(lake, [retold_row(row, "heard", {}) for row in rows[3:]])
    voiced, told = voiced_rows(lake, rules, here, heard)
    voices = {dict(row["attributes"])["voice"] for row in told}
    lost = next(row for row in told if row["utterance_id"].replace("voiced", "heard") in voices)
    spoken = [retold_row(row, "spoken", {}) for row in told if row is not lost]
    readings = {
        "here": here, "heard": Reading([heard], []), "voiced": Reading([voiced], []),
        "spoken": Reading([made_utterances(lake, spoken)], []),
    }  # fmt: skip
    again = {"heard": ("here", False), "voiced": ("heard", True), "spoken": ("voiced", False)}
    folds = folds_of(rules, here.utterances)
    for inputs, corpora in (
        ({"speech": "lld"}, ["spoken"]), ({"speech": "lld"}, ["here", "voiced"]), ({"speech": "voiced:lld"}, ["here"]),
        ({"speech": "spoken:lld"}, ["heard"]),
    ):  # fmt: skip
        model = SimpleNamespace(inputs=inputs, corpora=corpora)
        refuse_voices_of_other_parts(told_line(lake, rules, model, again, readings), "m", folds)
    other = protocol_of("drawn", seed=7)
    with pytest.raises(VoiceElsewhere, match=r"let retold\.voiced\.voices name the protocol of the model$"):
        model = SimpleNamespace(inputs={"speech": "lld"}, corpora=["spoken"])
        refuse_voices_of_other_parts(told_line(lake, other, model, again, readings), "m", ["all"])


def test_what_a_selection_trains_on_is_what_is_looked_at(lake: Warehouse) -> None:
    """What is drawn is drawn among those that are selected, with or without a label of the protocol."""
    rows, rules = made_rows(), protocol_of("drawn")
    here = Reading([made_utterances(lake, rows)], [made_labels(lake, labels_of(rows))])
    readings = {"here": here, "voiced": Reading([voiced_rows(lake, rules, here, here.utterances[0])[0]], [])}
    model = SimpleNamespace(inputs={"speech": "voiced:lld"}, corpora=["here"])

    def look(names: Collection[str], protocol: Protocol) -> None:
        chosen = selected(lake, sorted(names))
        line = told_line(lake, protocol, model, {"voiced": ("here", True)}, readings, chosen)
        refuse_voices_of_other_parts(line, "m", folds_of(protocol, here.utterances))

    every_other = {row["utterance_id"] for row in rows[::2]}
    sentence = "name the protocol of the model (one that draws nothing: among what 'sure' selects it draws anew)"
    with pytest.raises(VoiceElsewhere, match=re.escape(sentence)):
        look(every_other, rules)
    readings["voiced"] = Reading([voiced_rows(lake, protocol_of(), here, here.utterances[0])[0]], [])
    look(every_other, protocol_of())
    none = protocol_of(folds="", test="turn < 2", dev="turn = 2").model_copy(update={"labels": {"none": "none"}})
    with pytest.raises(VoiceElsewhere, match=r"which is (test|dev) there.* name the protocol of the model$"):
        look({row["utterance_id"] for row in rows}, none)


# -- what is packed --------------------------------------------------------------------------------------------------


def shards_of(folder: Path, recipe: Recipe, model: str) -> dict[str, list[Artifact]]:
    return line_of(folder, recipe).shards(model)


def test_rows_of_what_is_told_again_are_packed_under_the_ids_of_the_corpus(built: Path, warehouse: Warehouse) -> None:
    heard, source = rows_of(warehouse, "clips_heard"), rows_of(warehouse, "clips")
    (shards,) = shards_of(built, read_recipe(built / "again.toml"), "reader").values()
    texts = {name: ShardReader(a.folder).text(name) for a in shards for name in ShardReader(a.folder)}
    assert texts == {source[name]["utterance_id"]: row["text"] for name, row in heard.items() if row["text"]}
    (shards,) = shards_of(built, read_recipe(built / "again.toml"), "listener").values()
    packed = {name: ShardReader(a.folder).array(name) for a in shards for name in ShardReader(a.folder)}
    spoken = rows_of(warehouse, "clips_spoken")
    rows = {row["input_id"]: row for row in warehouse.table("FROM features_loud").to_pylist()}
    assert packed.keys() == {source[name]["utterance_id"] for name in spoken}
    for name, row in spoken.items():
        assert packed[source[name]["utterance_id"]].tobytes() == rows[row["audio_id"]]["frames"]


def test_both_corpora_are_split_alike(built: Path) -> None:
    line = line_of(built, read_recipe(built / "again.toml"))
    for fold, split in line.splits("reader").items():
        told = line.splits("hearer_reader")[fold]
        rows, again = (read_table(a.path("split.parquet"), SPLIT).to_pylist() for a in (split, told))
        assert [(r["utterance_id"].replace("clips-", "clips_heard-"), r["part"], r["label"]) for r in rows] == [
            (r["utterance_id"], r["part"], r["label"]) for r in again
        ]


def test_the_way_from_a_prediction_leads_through_what_was_heard_to_raw_bytes(built: Path, warehouse: Warehouse) -> None:
    line = line_of(built, read_recipe(built / "again.toml"))
    source = rows_of(warehouse, "clips")
    wanted = next(row for name, row in sorted(rows_of(warehouse, "clips_heard").items()) if row["text"])
    utterance = wanted["attributes"]["source"]
    for model, hops in (
        ("reader", ["utterance", "feature row", "utterance", "raw file"]),
        ("listener", ["feature row", "utterance", "raw file", "feature row", "utterance", "raw file", "utterance",
                      "feature row", "utterance", "raw file"]),
    ):  # fmt: skip
        shards = line.shards(model)
        told = trace(warehouse, predictions_of(warehouse, shards, utterance), utterance, {"clips": "ROOT"})
        assert [hop.what for hop in told] == ["prediction", "checkpoint", "shard", *hops]
        assert told[-1].note.startswith(f"ROOT/{source['ann0']['path']}") or model == "listener"
        assert source["ann0"]["recording_id"] in told[-1].note or model == "reader"
    names = [hop.note.split(":")[0] for hop in told if hop.what == "utterance"]
    assert names == [f"{corpus}-ann0" for corpus in ("clips_spoken", "clips_voiced", "clips_heard", "clips")]
    nodes = [node.artifact.request.step for node in up(warehouse, shards["speech"][0]).walk()]
    assert {"extractors.asr", "extractors.waveform", "corpora.table", "features.raw"} <= set(nodes)


@pytest.mark.parametrize(("model", "corpus"), first(1, [("parrot", "clips"), ("mimic", "clips_voiced")]))
def test_a_voice_leads_to_the_recording_whose_sound_it_is(
    built: Path, warehouse: Warehouse, model: str, corpus: str
) -> None:
    """Its rows were made for another utterance, under whose own id other sound lies."""
    shards = line_of(built, read_recipe(built / "again.toml")).shards(model)
    voiced, source = rows_of(warehouse, "clips_voiced"), rows_of(warehouse, "clips")
    for own, row in voiced.items():
        name = f"{corpus}-{own}"
        told = trace(warehouse, predictions_of(warehouse, shards, name), name, {"clips_voiced": "ROOT"})
        utterances = [hop.note.split(":")[0] for hop in told if hop.what == "utterance"]
        assert utterances == [f"{one}-{own}" for one in ("clips_voiced", "clips_heard", "clips")]
        voice = source[row["attributes"]["voice"].removeprefix("clips_heard-")]
        heard = next(hop.note for hop in told if hop.what == "raw file")
        assert heard.startswith(f"ROOT/{voice['path']}, ") and voice["recording_id"] in heard
        assert voice["path"] != source[own]["path"]
    requests = [node.artifact.request for node in up(warehouse, shards["speech"][0]).walk()]
    assert any("voices" in request.params.get("source", {}) for request in requests)
    assert any((request.kind, request.step) == ("labels", "corpora.table") for request in requests)


def predictions_of(warehouse: Warehouse, shards: Mapping[str, list[Artifact]], utterance: str) -> Artifact:
    fitted = warehouse.materialize(
        Request("checkpoint", "made", 1, {"seed": 0}), lambda folder: (folder / "x").write_bytes(b"x")
    )
    inputs = {"checkpoint": (fitted.digest,)} | {f"shards:{r}": tuple(a.digest for a in s) for r, s in shards.items()}
    row = {
        "utterance_id": utterance, "part": "test", "predicted": "calm", "classes": ["calm"],
        "probabilities": [1.0],
    }  # fmt: skip
    request = Request("predictions", "made", 1, {"utterance": utterance}, inputs)
    return warehouse.materialize(request, lambda f: write_rows(f / "predictions.parquet", [row], PREDICTIONS))
