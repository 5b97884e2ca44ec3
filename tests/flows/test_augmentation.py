"""Utterances translated there and back and said in the voice of another training speaker, through a whole line."""

from __future__ import annotations

import pytest

from flows.line import Line
from flows.recipe import read_recipe
from tests.features.tiny_synthesis import write_speaker
from tests.features.tiny_translation import write_translator
from tests.flows.partly import Partly
from tests.flows.test_retelling import PROTOCOL, rows_of, write_clips
from warehouse import Warehouse
from warehouse.audit.lineage import up
from warehouse.audit.verify import verify
from warehouse.schema import SHARD_INDEX
from warehouse.shards import ShardReader
from warehouse.tables import read_table

RECIPE = """
name = "augmented"
title = "Back-translated texts in other voices"

[corpora.clips]
reader = "table"
file = "clips.csv"
session = "session"

[checkpoints.there]
folder = "there"
licence = "our own"

[checkpoints.back]
folder = "back"
licence = "our own"

[checkpoints.speaking]
folder = "speaking"
licence = "our own"

[features.abroad]
extractor = "translation"
corpora = ["clips"]
checkpoint = "there"

[features.home]
extractor = "translation"
corpora = ["clips_abroad"]
checkpoint = "back"

[features.said]
extractor = "synthesis"
corpora = ["clips_voiced"]
checkpoint = "speaking"

[features.loud]
extractor = "mfcc"
corpora = ["clips", "clips_spoken"]
n_mfcc = 13

[retold.clips_abroad]
corpus = "clips"
text = "abroad"
language = "de"

[retold.clips_back]
corpus = "clips_abroad"
text = "home"
language = "en"

[retold.clips_voiced]
corpus = "clips_back"
voices = "two.toml"

[retold.clips_spoken]
corpus = "clips_voiced"
sound = "said"

[models.listener]
student = "mced"
corpus = "clips"
protocol = "two.toml"
inputs = { speech = "loud", again = "clips_spoken:loud", told = "clips_back:text" }
objective = { label = 1.0 }
fit = { epochs = 1, learning_rate = 1e-3, batch_frames = 64 }
"""
STEPS = ("record", "ingest", "canary", "weights", "extract", "retell", "label", "pack", "split")


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    """Everything made up to the splits."""
    folder = tmp_path_factory.mktemp("augmented")
    write_clips(folder / "clips")
    roots = {"clips": folder / "clips"}
    for name in ("there", "back", "speaking"):
        (folder / name).mkdir()
        roots[f"checkpoints/{name}"] = folder / name
    write_translator(folder / "there")
    write_translator(folder / "back", decoder_ffn_dim=40)
    write_speaker(folder / "speaking")
    (folder / "augmented.toml").write_text(RECIPE, encoding="utf-8")
    (folder / "two.toml").write_text(PROTOCOL, encoding="utf-8")
    warehouse = Warehouse(folder / "lake", create=True)
    made = Line(read_recipe(folder / "augmented.toml"), warehouse, roots, Partly(warehouse, *STEPS))
    made.run()
    return made


def test_every_utterance_is_told_there_and_back_and_said_by_another(line: Line) -> None:
    clips, abroad, back, voiced, spoken = (
        rows_of(line.warehouse, name)
        for name in ("clips", "clips_abroad", "clips_back", "clips_voiced", "clips_spoken")
    )
    assert not line.failures
    assert clips.keys() == abroad.keys() == back.keys()
    assert spoken.keys() == voiced.keys() == clips.keys() - {"ann4"}, "one without a class gets no voice"
    assert len({row["text"] for row in back.values()}) > 1
    assert any(back[name]["text"] != clips[name]["text"] for name in clips)
    for name, row in spoken.items():
        assert row["text"] == back[name]["text"] and row["language"] == "en"
        assert row["attributes"]["voice_speaker"] != row["speaker_id"] == clips[name]["speaker_id"]
        assert row["audio_id"] not in {other["audio_id"] for other in clips.values()}
        assert (line.warehouse.root / "artifacts" / row["path"]).is_file()
    assert verify(line.warehouse) == []


def test_what_was_made_is_packed_beside_its_source_row(line: Line) -> None:
    shards = line.shards("listener")
    assert shards.keys() == {"speech", "again", "told"}
    held = {
        role: {row["utterance_id"]: row["input_id"] for shard in several
               for row in read_table(shard.path("index.parquet"), SHARD_INDEX).to_pylist()}
        for role, several in shards.items()
    }  # fmt: skip
    spoken, back = rows_of(line.warehouse, "clips_spoken"), rows_of(line.warehouse, "clips_back")
    assert held["again"] == {f"clips-{name}": row["audio_id"] for name, row in spoken.items()}
    assert held["told"].keys() == held["speech"].keys() == {f"clips-{name}" for name in back}
    for shard in shards["told"]:
        reader = ShardReader(shard.folder)
        assert all(reader.text(one) == back[one.removeprefix("clips-")]["text"] for one in reader)


def test_a_said_utterance_stands_on_its_words_its_voice_and_three_checkpoints(line: Line) -> None:
    [shard] = line.shards("listener")["again"]
    steps = [node.artifact.request.step for node in up(line.warehouse, shard).walk() if not node.repeated]
    for step in ("features.retell", "extractors.synthesis", "extractors.translation", "corpora.table", "features.raw"):
        assert step in steps
    assert steps.count("features.placed") == 3
