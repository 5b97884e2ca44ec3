"""Corpora told again through a whole line: heard words, others' voices, sound made here; packed, split and traced."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from features.extract import extract
from features.inventory import column
from flows.cli import app
from flows.line import Line
from flows.plan import is_done, plan
from flows.recipe import Recipe, read_recipe
from flows.transcripts import error_rates, transcript_rates
from tests.features.tiny_recogniser import write_recogniser
from tests.flows.partly import Partly, contents, new
from warehouse import Artifact, Request, Warehouse
from warehouse.errors import InvalidField, TooManyFailures, VoiceElsewhere
from warehouse.lineage import trace, up, uses, verify
from warehouse.schema import PREDICTIONS, SPLIT, text_id
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
    assert refs["clips_spoken"]["root"] == str(warehouse.root / "artifacts")
    assert verify(warehouse) == []
    name = rows_of(warehouse, "clips_spoken")["ann0"]["utterance_id"]
    assert uses(warehouse, name)[0].note.startswith(f"{warehouse.root}/artifacts/raw/")


def test_a_library_call_hears_the_sound_that_was_made_here(warehouse: Warehouse, tmp_path: Path) -> None:
    copy = Warehouse(Path(shutil.copytree(warehouse.root, tmp_path / "lake")))
    for name, ref in copy.refs("corpora").items():
        copy.set_ref(f"corpora/{name}", ref | {"root": ref["root"].replace(str(warehouse.root), str(copy.root))})
    made = extract(copy, "mfcc", ["clips_spoken"], n_mfcc=20)
    assert sum(len(column(a.path("features.parquet"), "input_id")) for a in made) > 0


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


# -- what is made again, and what stops ------------------------------------------------------------------------------


def test_nothing_is_told_twice(built: Path, warehouse: Warehouse) -> None:
    before = contents(warehouse.root)
    steps = plan(read_recipe(built / "again.toml"), warehouse, roots_of(built), explain=False)
    assert set(new({step.name: step for step in steps})) == {f"fit {m}" for m in MODELS}
    assert is_done(plan(read_recipe(built / "again.toml"), warehouse, roots_of(built), "extract"))
    assert contents(warehouse.root) == before


MODELS = ("reader", "hearer_reader", "listener")


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
        line_of(folder, recipe, *STEPS)._splits("listener")
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
    for fold, split in line._splits("reader").items():
        told = line._splits("hearer_reader")[fold]
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


def predictions_of(warehouse: Warehouse, shards: Mapping[str, list[Artifact]], utterance: str) -> Artifact:
    fitted = warehouse.materialize(
        Request("checkpoint", "made", 1, {"seed": 0}), lambda folder: (folder / "x").write_bytes(b"x")
    )
    inputs = {"checkpoint": (fitted.digest,)} | {f"shards:{r}": tuple(a.digest for a in s) for r, s in shards.items()}
    row = {
        "utterance_id": utterance, "part": "test", "label": "calm", "predicted": "calm", "classes": ["calm"],
        "probabilities": [1.0],
    }  # fmt: skip
    request = Request("predictions", "made", 1, {}, inputs)
    return warehouse.materialize(request, lambda f: write_rows(f / "predictions.parquet", [row], PREDICTIONS))
