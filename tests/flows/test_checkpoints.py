"""Checkpoints that a recipe names: placed by a person or fitted, recorded, refused."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from features.extract import extract
from flows.checkpoints import checkpoint_roots
from flows.doer import Step
from flows.line import Line
from flows.plan import plan
from flows.recipe import Recipe, read_recipe
from flows.run import roots_of
from tests.features.tiny_bert import write_bert
from tests.features.tiny_speech import write_speech_encoder
from tests.flows.partly import Partly, by_name, contents, new, waiting
from warehouse import Request, Warehouse
from warehouse.audit.lineage import up
from warehouse.audit.verify import verify
from warehouse.errors import InvalidField, MalformedSource, MissingFolder, WeightsChanged
from warehouse.pooling import mean_over
from warehouse.schema import FAILURES, INTERVALS, pair_id
from warehouse.tables import array_of, write_rows

RECIPE = """
name = "placed"
title = "Two clips through networks that somebody placed"

[corpora.clips]
reader = "table"
file = "clips.csv"

[checkpoints.hubert]
folder = "facebook/hubert-tiny"
revision = "abc123"
licence = "Apache-2.0"
trained_on = ["LibriSpeech 960 h"]

[checkpoints.bert]
folder = "../weights/bert"
licence = "MIT"

[features.hub]
extractor = "speech_encoder"
corpora = ["clips"]
checkpoint = "hubert"
layers = [0, 2]

[features.words]
extractor = "encoder"
corpora = ["clips"]
checkpoint = "bert"
logits = true
"""


@dataclass(frozen=True)
class Place:
    """A lake, two clips, two checkpoints and the recipe above."""

    folder: Path
    warehouse: Warehouse

    @property
    def weights(self) -> Path:
        return self.folder / "weights"

    def recipe(self, old: str = "", new: str = "") -> Recipe:
        path = self.folder / "recipes" / "placed.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(RECIPE.replace(old, new, 1) if old else RECIPE, encoding="utf-8")
        return read_recipe(path)

    def roots(self, recipe: Recipe) -> dict[str, Path]:
        return roots_of(recipe, self.warehouse, {"clips": self.folder / "clips"}, self.weights)

    def plan(self, recipe: Recipe) -> dict[str, Step]:
        return by_name(plan(recipe, self.warehouse, self.roots(recipe), "extract"))

    def extract(self, recipe: Recipe) -> Line:
        line = Line(recipe, self.warehouse, self.roots(recipe), Partly(self.warehouse, ""))
        line.extract()
        return line


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    (folder / "clips").mkdir()
    with open(folder / "clips" / "clips.csv", "w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(["path", "text", "speaker", "label"])
        for n, text in enumerate(("I am happy", "I am sad")):
            wave = np.random.default_rng(n).normal(0, 0.1, 8_000 + 4_000 * n)
            soundfile.write(folder / "clips" / f"{n}.wav", wave, 16_000)
            rows.writerow([f"{n}.wav", text, "s", "x"])
    write_speech_encoder(folder / "weights" / "facebook" / "hubert-tiny", "hubert")
    write_bert(folder / "weights" / "bert")
    return folder


@pytest.fixture
def place(written: Path, tmp_path: Path) -> Iterator[Place]:
    folder = shutil.copytree(written, tmp_path / "place")
    yield Place(folder, Warehouse(folder / "lake", create=True))


@pytest.fixture(scope="module")
def extracted(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The same after extraction; read only."""
    folder = shutil.copytree(written, tmp_path_factory.mktemp("extracted") / "place")
    place = Place(folder, Warehouse(folder / "lake", create=True))
    place.extract(place.recipe())
    return place


def test_features_wait_for_the_record_of_their_checkpoint(place: Place) -> None:
    place.recipe()
    steps = place.plan(place.recipe())
    assert new(steps)["weights hubert"] == 3, "config, weights and preprocessor"
    assert waiting(steps) == {"extract hub": "weights hubert", "extract words": "weights bert"}
    assert set(contents(place.warehouse.root)) == set(), "a plan makes nothing"


def test_rows_cite_the_record_and_the_ref_says_whose_it_is(extracted: Place) -> None:
    warehouse = extracted.warehouse
    steps = extracted.plan(extracted.recipe())
    assert new(steps) == {} and waiting(steps) == {}
    ref = warehouse.ref("weights/hubert")
    assert ref is not None
    assert {name: ref[name] for name in ("folder", "revision", "licence", "trained_on")} == {
        "folder": "facebook/hubert-tiny", "revision": "abc123", "licence": "Apache-2.0",
        "trained_on": ["LibriSpeech 960 h"],
    }  # fmt: skip
    [rows] = [a for a in warehouse.artifacts("features") if a.request.step == "extractors.speech_encoder"]
    assert rows.request.inputs["checkpoint"] == (ref["digest"],)
    assert rows.request.params["plugin"]["fields"]["weights"] == ref["digest"]
    above = {branch.artifact.request.kind for branch in up(warehouse, rows).branches}
    assert above == {"utterances", "weights"}
    assert verify(warehouse) == []
    assert str(extracted.folder) not in json.dumps([a.request.as_json() for a in warehouse.artifacts()])


def test_a_corrected_licence_changes_no_row(place: Place) -> None:
    place.extract(place.recipe())
    before = {a.key for a in place.warehouse.artifacts()}
    place.extract(place.recipe("Apache-2.0", "CC-BY-NC-4.0"))
    assert {a.key for a in place.warehouse.artifacts()} == before
    ref = place.warehouse.ref("weights/hubert")
    assert ref is not None and ref["licence"] == "CC-BY-NC-4.0"


def test_other_weights_under_the_same_name_are_other_features(place: Place) -> None:
    line = place.extract(place.recipe())
    before = line.feature("hub")
    path = place.weights / "facebook" / "hubert-tiny" / "config.json"
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert new(place.plan(place.recipe())).keys() == {"weights hubert"}
    after = place.extract(place.recipe()).feature("hub")
    assert after.plugin.weights != before.plugin.weights
    assert {a.key for a in after.artifacts} & {a.key for a in before.artifacts} == set()
    assert after.outputs == before.outputs


def test_weights_that_change_before_they_are_loaded_stop_the_run(place: Place) -> None:
    recipe = place.recipe()
    line = Line(recipe, place.warehouse, place.roots(recipe), Partly(place.warehouse, ""))
    line.weights("hubert")
    path = place.weights / "facebook" / "hubert-tiny" / "config.json"
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(WeightsChanged, match=r"config\.json is not what was recorded of this checkpoint"):
        line.feature("hub")
    assert place.warehouse.artifacts("features") == []


def test_a_plan_says_what_is_missing_and_what_to_do(place: Place) -> None:
    shutil.rmtree(place.weights / "facebook")
    told = "'hubert' is not at .*weights/facebook/hubert-tiny: put its files there, or set EMOLAKE_WEIGHTS"
    with pytest.raises(MissingFolder, match=told):
        place.plan(place.recipe())
    recipe = place.recipe()
    assert plan(recipe, place.warehouse, place.roots(recipe), "ingest"), "what needs no weights is planned"


def test_a_pickle_is_refused(place: Place) -> None:
    folder = place.weights / "bert"
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(MalformedSource, match=r"holds pytorch_model\.bin but no model\.safetensors"):
        place.plan(place.recipe())


def test_folders_lie_below_the_weights_or_beside_the_recipe(extracted: Place) -> None:
    recipe = extracted.recipe()
    weights = extracted.weights
    assert checkpoint_roots(recipe, weights)["checkpoints/hubert"] == weights / "facebook" / "hubert-tiny"
    beside = checkpoint_roots(recipe, None)["checkpoints/bert"]
    assert beside.resolve() == (weights / "bert").resolve()


def test_from_python_a_folder_is_enough(place: Place) -> None:
    place.extract(place.recipe())
    folder = place.weights / "facebook" / "hubert-tiny"
    n = len(place.warehouse.artifacts())
    [same] = extract(place.warehouse, "speech_encoder", ["clips"], checkpoint=folder, layers=[0, 2])
    assert len(place.warehouse.artifacts()) == n, "the recipe made these rows before"
    [others] = extract(place.warehouse, "speech_encoder", ["clips"], checkpoint=folder, layers=[1])
    assert others.key != same.key


def test_means_over_words_are_those_of_all_layers(place: Place) -> None:
    feature = place.extract(place.recipe()).feature("hub")
    warehouse = place.warehouse
    spans = [("ONE", 0.0, 0.2), ("TWO", 0.2, 0.43)]
    pairs = warehouse.sql("SELECT audio_id, text_id FROM utterances").fetchall()
    rows = [
        {"input_id": pair_id(*pair), "tier": "word", "position": n, "symbol": symbol, "start_s": start_s,
         "end_s": end_s, "score": None}
        for pair in pairs for n, (symbol, start_s, end_s) in enumerate(spans)
    ]  # fmt: skip

    def write(folder: Path) -> None:
        write_rows(folder / "intervals.parquet", rows, INTERVALS)
        write_rows(folder / "failures.parquet", [], FAILURES)

    plugin = {"step": "aligners.made", "version": 1, "fields": {}}
    warehouse.materialize(Request("intervals", "aligners.made", 1, {"plugin": plugin}), write)
    found = warehouse.sql("SELECT utterance_id, position, mean FROM means_hub ORDER BY ALL").fetchall()
    stored = warehouse.table("SELECT utterance_id, h.* FROM features_hub AS h JOIN utterances ON input_id = audio_id")
    frames = {row["utterance_id"]: array_of(row, "hidden") for row in stored.to_pylist()}
    assert len(found) == 2 * len(frames) == 4
    for name, position, mean in found:
        expected = mean_over(frames[name], feature.outputs["hidden"].hop_s or 0, [spans[position]])[:, 0]
        assert np.array_equal(np.array(mean, np.float32), expected.reshape(-1))


def test_a_selection_by_a_placed_classifier_tells_its_classes(place: Place) -> None:
    more = (
        RECIPE
        + """
[selections.sure]
corpus = "clips"
logits = "words.logits"
threshold = 0.1

[models.student]
student = "linear"
corpus = "clips"
protocol = "clips.toml"
selection = "sure"
inputs = { vector = "words.logits" }
"""
    )
    (place.folder / "recipes").mkdir()
    (place.folder / "recipes" / "clips.toml").write_text(UNLABELLED, encoding="utf-8")
    recipe = place.recipe(RECIPE, more)
    line = Line(recipe, place.warehouse, place.roots(recipe), Partly(place.warehouse, ""))
    assert line.classes("student") == ["angry", "happy", "sad"]
    chosen = place.warehouse.find(line.selection("sure").request)
    assert chosen is not None


UNLABELLED = """
id = "clips"
title = "All clips, without labels"
reader = "table"
"""


@pytest.mark.parametrize(("old", "text", "told"), [
    ('checkpoint = "hubert"', 'checkpoint = "huber"',
     r"field 'features.hub.checkpoint' names 'huber', which is neither a model nor a checkpoint of the recipe "
     r"\(there are: bert, hubert\)"),
    ('checkpoint = "hubert"\n', "", "field 'features.hub.checkpoint' must name a model or a checkpoint"),
    ('licence = "MIT"', 'license = "MIT"', "no field 'license'; did you mean 'licence'"),
    ('licence = "MIT"\n', "", "field 'licence' is wrong: field required"),
    ('"facebook/hubert-tiny"', '"/facebook/hubert-tiny"', "field 'folder' is wrong: string should match"),
    ('trained_on = ["LibriSpeech 960 h"]', 'trained_on = "LibriSpeech"', "field 'trained_on' is wrong"),
])  # fmt: skip
def test_what_a_recipe_says_of_a_checkpoint_must_fit(extracted: Place, old: str, text: str, told: str) -> None:
    from warehouse.errors import EmolakeError

    with pytest.raises(EmolakeError, match=told):
        extracted.recipe(old, text)


def test_a_name_of_both_a_model_and_a_checkpoint_is_refused(tmp_path: Path) -> None:
    from flows.recipe import RECIPES

    text = (RECIPES / "demo.toml").read_text(encoding="utf-8")
    path = tmp_path / "both.toml"
    path.write_text(text + '\n[checkpoints.teacher]\nfolder = "x"\nlicence = "MIT"\n', encoding="utf-8")
    with pytest.raises(InvalidField, match=r"'checkpoints\.teacher' has the name of a model too"):
        read_recipe(path)
