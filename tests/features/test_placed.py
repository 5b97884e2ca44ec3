from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from features.extractors.encoder import Encoder
from features.extractors.glove import Glove
from features.extractors.synthesis import Synthesis
from features.placed import files_of, placed_folder, record, record_work, unchanged, weights_ref
from features.raw import RawDigests
from tests.features.tiny_bert import write_bert
from tests.features.tiny_glove import write_glove
from tests.features.tiny_speech import write_speech_encoder
from tests.features.tiny_synthesis import write_speaker
from tests.features.tiny_text import write_sentence_encoder
from tests.features.tiny_translation import write_translator
from tests.sparing import first
from warehouse import Warehouse
from warehouse.errors import MalformedSource, WeightsChanged
from warehouse.schema import FILES
from warehouse.tables import read_table


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("bert"))


def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


def test_files_that_make_the_numbers_are_recorded_and_no_others(bert: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bert, tmp_path / "downloaded")
    others = ("README.md", "pytorch_model.bin", "tf_model.h5", "model.msgpack", "trainer_state.json", ".hidden.txt")
    for name in (*others, ".git/config.json", "onnx/model.safetensors", "onnx/config.json", ".cache/vocab.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("no number")
    assert files_of(folder) == ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    warehouse = lake(tmp_path)
    placed = record(warehouse, folder)
    [artifact] = warehouse.artifacts("weights")
    assert (placed.digest, placed.folder) == (artifact.digest, folder)
    rows = read_table(artifact.path("files.parquet"), FILES).to_pylist()
    assert [row["path"] for row in rows] == files_of(folder)
    assert set(artifact.files) == {"files.parquet"}, "nothing is copied"
    assert record(warehouse, bert).digest == placed.digest, "the same files elsewhere are the same checkpoint"
    assert len(warehouse.artifacts("weights")) == 1


def test_what_each_kind_of_checkpoint_is_made_of(tmp_path: Path) -> None:
    sentence = files_of(write_sentence_encoder(tmp_path / "sentence"))
    assert {"1_Pooling/config.json", "modules.json", "sentence_bert_config.json"} < set(sentence)
    (tmp_path / "glove").mkdir()
    assert files_of(write_glove(tmp_path / "glove")) == ["vectors.txt"]
    speech = files_of(write_speech_encoder(tmp_path / "speech"))
    assert speech == ["config.json", "model.safetensors", "preprocessor_config.json"]


def test_a_checkpoint_that_speaks_is_its_three_folders(tmp_path: Path) -> None:
    folder = write_speaker(tmp_path / "speaker")
    assert files_of(folder) == [
        "speaker_encoder/config.json", "speaker_encoder/model.safetensors", "speaker_encoder/preprocessor_config.json",
        "text_to_speech/config.json", "text_to_speech/generation_config.json", "text_to_speech/model.safetensors",
        "text_to_speech/spm_char.model", "text_to_speech/tokenizer_config.json",
        "vocoder/config.json", "vocoder/model.safetensors",
    ]  # fmt: skip
    for name in ("LICENSE.txt", "README.md", "vocoder/pytorch_model.bin", "other/config.json"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("no number")
    assert len(files_of(folder)) == 10
    (folder / "vocoder" / "model.safetensors").unlink()
    with pytest.raises(MalformedSource, match=r"vocoder: holds pytorch_model\.bin but no model\.safetensors"):
        files_of(folder)


@pytest.mark.parametrize(("present", "told"), [
    (("text_to_speech", "speaker_encoder"), "lacks vocoder: a checkpoint that speaks has the folders text_to_speech,"),
    (("vocoder",), "lacks text_to_speech and speaker_encoder: a checkpoint that speaks"),
])  # fmt: skip
def test_a_checkpoint_that_lacks_what_it_speaks_with_is_told(
    tmp_path: Path, present: tuple[str, ...], told: str
) -> None:
    for name in present:
        (tmp_path / name).mkdir()
    with pytest.raises(MalformedSource, match=told):
        files_of(tmp_path)


def test_folders_beside_a_network_of_its_own_are_no_part_of_it(bert: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bert, tmp_path / "bert"))
    (folder / "vocoder").mkdir()
    assert files_of(folder) == files_of(bert)


def test_a_translator_is_its_tokenizers_too(tmp_path: Path) -> None:
    folder = write_translator(tmp_path)
    (folder / "target_vocab.json").write_text("{}")
    assert files_of(folder) == [
        "config.json", "generation_config.json", "model.safetensors", "source.spm", "target.spm",
        "target_vocab.json", "tokenizer_config.json", "vocab.json",
    ]  # fmt: skip


@pytest.mark.parametrize("part", first(1, ["text_to_speech", "vocoder", "speaker_encoder"]))
def test_a_change_in_any_part_is_told_and_is_another_checkpoint(tmp_path: Path, part: str) -> None:
    folder, warehouse = write_speaker(tmp_path / "speaker"), lake(tmp_path)
    plugin = Synthesis(record(warehouse, folder).digest)
    config = folder / part / "config.json"
    with unchanged(warehouse.root, plugin, folder):
        pass
    config.write_text(config.read_text() + "\n")
    with pytest.raises(WeightsChanged, match=f"{part}/config.json"), unchanged(warehouse.root, plugin, folder):
        pytest.fail("it was not looked at before")
    assert record(warehouse, folder).digest != plugin.weights


def test_files_that_are_links_as_download_caches_have_them(bert: Path, tmp_path: Path) -> None:
    folder = tmp_path / "snapshot"
    folder.mkdir()
    for name in files_of(bert):
        (folder / name).symlink_to(bert / name)
    warehouse = lake(tmp_path)
    assert record(warehouse, folder).digest == record(warehouse, bert).digest


@pytest.mark.parametrize(("present", "told"), [
    (("config.json", "pytorch_model.bin"), "holds pytorch_model.bin but no model.safetensors"),
    (("config.json",), "holds neither model.safetensors nor"),
    (("pytorch_model.bin",), "holds pytorch_model.bin but no"),
    (("model.safetensors",), "lacks config.json, which describes the network"),
    ((), "holds neither model.safetensors nor"),
])  # fmt: skip
def test_a_folder_that_is_no_checkpoint_is_told(tmp_path: Path, present: tuple[str, ...], told: str) -> None:
    for name in present:
        (tmp_path / name).write_text("{}")
    with pytest.raises(MalformedSource, match=told):
        files_of(tmp_path)


def test_the_pieces_that_an_index_names_are_recorded(bert: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bert, tmp_path / "pieces"))
    (folder / "model.safetensors").rename(folder / "weights-1.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "weights-1.safetensors", "b": "weights-1.safetensors"}}))
    assert {"weights-1.safetensors", index.name} < set(files_of(folder))
    for named in ("../outside.safetensors", "absent.safetensors", 5):
        index.write_text(json.dumps({"weight_map": {"a": named}}))
        with pytest.raises(MalformedSource, match=f"names '{named}', which is no file beside it"):
            files_of(folder)
    for text in ("{}", "[]", "no json", '{"weight_map": 3}'):
        index.write_text(text)
        with pytest.raises(MalformedSource, match=r"has a model\.safetensors\.index\.json that names no files"):
            files_of(folder)


def test_files_are_hashed_once(bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = lake(tmp_path)
    record(warehouse, bert)
    monkeypatch.setattr("features.raw.file_digest", lambda path: pytest.fail(f"{path} is hashed again"))
    record(warehouse, bert)


def test_one_other_byte_is_another_checkpoint(bert: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bert, tmp_path / "changed")
    digests = RawDigests(lake(tmp_path).root)
    before = record_work(digests, folder).request
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config + "\n")
    assert record_work(digests, folder).request.key != before.key
    digests.close()


@pytest.mark.parametrize("change", ["touch", "other bytes", "gone", "one more", "folder gone"])
def test_what_is_loaded_is_what_was_recorded(bert: Path, tmp_path: Path, change: str) -> None:
    folder = shutil.copytree(bert, tmp_path / "placed")
    warehouse = lake(tmp_path)
    plugin = Encoder(record(warehouse, folder).digest)
    with unchanged(warehouse.root, plugin, folder):
        pass
    if change == "touch":
        os.utime(folder / "config.json", ns=(1, 1))
        with unchanged(warehouse.root, plugin, folder):
            return
    if change == "other bytes":
        (folder / "config.json").write_text("{}")
    elif change == "gone":
        (folder / "tokenizer.json").unlink()
    elif change == "one more":
        (folder / "added_tokens.json").write_text("{}")
    else:
        shutil.rmtree(folder)
    told = "is not what was recorded of this checkpoint .* run the same command again, which records it as another"
    with pytest.raises(WeightsChanged, match=told), unchanged(warehouse.root, plugin, folder):
        pytest.fail("it was not looked at before")


def test_a_change_while_it_is_used_is_told_after(bert: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bert, tmp_path / "placed")
    warehouse = lake(tmp_path)
    plugin = Encoder(record(warehouse, folder).digest)
    with pytest.raises(WeightsChanged, match=r"config\.json is not what"), unchanged(warehouse.root, plugin, folder):
        (folder / "config.json").write_text("{}")


def test_checkpoints_of_fits_and_plugins_without_any_are_not_looked_at(tmp_path: Path) -> None:
    warehouse = lake(tmp_path)
    with unchanged(warehouse.root, Glove("0" * 64), tmp_path / "nowhere"), unchanged(warehouse.root, object(), None):
        pass


def test_where_a_checkpoint_lies(tmp_path: Path) -> None:
    (tmp_path / "weights" / "facebook" / "hubert").mkdir(parents=True)
    (tmp_path / "recipes" / "own").mkdir(parents=True)
    weights, recipes = tmp_path / "weights", tmp_path / "recipes"
    assert placed_folder("facebook/hubert", weights, recipes) == weights / "facebook" / "hubert"
    assert placed_folder("own", weights, recipes) == recipes / "own"
    assert placed_folder("own", None, recipes) == recipes / "own"
    assert placed_folder("nowhere", weights, recipes) == weights / "nowhere", "where it is looked for first"
    assert placed_folder("nowhere", None, recipes) == recipes / "nowhere"


def test_the_ref_says_what_is_known(bert: Path, tmp_path: Path) -> None:
    warehouse = lake(tmp_path)
    record(warehouse, bert)
    [artifact] = warehouse.artifacts("weights")
    said = {"revision": "a1", "licence": "MIT", "trained_on": ["LibriSpeech 960 h"], "folder": "x"}
    assert weights_ref(artifact, "x/y", said) == {
        "digest": artifact.digest, "folder": "x/y", "revision": "a1", "licence": "MIT",
        "trained_on": ["LibriSpeech 960 h"],
    }  # fmt: skip
