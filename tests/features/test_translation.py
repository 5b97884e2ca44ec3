from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import pytest

from features.encoding.pretrained import one_thread
from features.extractors.translation import Translation
from features.plugin import Clip
from tests.features.tiny_bert import write_bert
from tests.features.tiny_translation import SENTENCES, write_translator
from warehouse.catalog import build
from warehouse.errors import InvalidField, MalformedSource, Untreatable

CODES = (">>deu<<", ">>nld<<")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_translator(tmp_path_factory.mktemp("translator"))


@pytest.fixture(scope="module")
def many_tongues(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_translator(tmp_path_factory.mktemp("many_tongues"), CODES)


def translated(folder: Path, *texts: str, **fields: int | str) -> list[str]:
    rows = Translation("w", **fields).load("cpu", folder)([Clip(text, text=text) for text in texts])
    return [row["text"].tobytes().decode() for row in rows]


def plainly(folder: Path, text: str, beams: int) -> str:
    """As the model's page shows it."""
    import transformers

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Recommended: pip install sacremoses")
        tokenizer = transformers.MarianTokenizer.from_pretrained(folder)
    network = transformers.MarianMTModel.from_pretrained(folder).eval()
    with one_thread():
        [said] = network.generate(**tokenizer(text, return_tensors="pt"), num_beams=beams)
    return tokenizer.decode(said, skip_special_tokens=True)


@pytest.mark.parametrize("beams", [1, 4])
def test_it_is_what_the_network_says_when_it_is_asked_plainly(folder: Path, beams: int) -> None:
    found = translated(folder, *SENTENCES[:3], beams=beams)
    assert found == [plainly(folder, text, beams) for text in SENTENCES[:3]]
    assert len(set(found)) == 3 and all(found)


def test_more_beams_may_find_another_translation(folder: Path) -> None:
    assert translated(folder, "I am sad.") != translated(folder, "I am sad.", beams=1)


def test_there_and_back_again_is_a_text(folder: Path) -> None:
    [there] = translated(folder, SENTENCES[0])
    [back] = translated(folder, there)
    assert there and isinstance(back, str)


def test_a_longer_text_is_refused_and_not_cut(folder: Path) -> None:
    told = r"^the text has \d{4} tokens, and at most 512 are translated at once$"
    with pytest.raises(Untreatable, match=told):
        translated(folder, " ".join(SENTENCES * 12))
    with pytest.raises(Untreatable, match="the text has 18 tokens, and at most 10 are translated at once"):
        translated(folder, SENTENCES[0], max_tokens=10)


def test_a_translation_that_goes_on_is_refused_though_the_checkpoint_would_end_it_by_force(folder: Path) -> None:
    import transformers

    assert transformers.GenerationConfig.from_pretrained(folder).forced_eos_token_id == 0
    with pytest.raises(Untreatable, match=r"^its translation does not end within 10 tokens$"):
        translated(folder, "I am sad.", max_tokens=10)


def test_an_empty_text_is_untreatable(folder: Path) -> None:
    with pytest.raises(Untreatable, match="the transcript is empty"):
        translated(folder, " \n")


def test_the_language_is_chosen_by_a_prefix(many_tongues: Path) -> None:
    text = "Nobody knows."
    said = {code: translated(many_tongues, text, prefix=code, beams=1) for code in ("", *CODES)}
    assert len({text for [text] in said.values()}) == 3
    assert said[CODES[0]] == [plainly(many_tongues, f"{CODES[0]} {text}", 1)]


def test_a_language_that_the_checkpoint_does_not_know_is_refused(folder: Path, many_tongues: Path) -> None:
    with pytest.raises(InvalidField, match="'prefix' is '>>fra<<', but the checkpoint knows: >>deu<<, >>nld<<"):
        translated(many_tongues, SENTENCES[0], prefix=">>fra<<")
    with pytest.raises(InvalidField, match="'prefix' is 'deu', but the checkpoint knows: none"):
        translated(folder, SENTENCES[0], prefix="deu")


def test_no_beam_finds_nothing() -> None:
    with pytest.raises(InvalidField, match="'translation': field 'beams' is 0, but must be at least 1"):
        build("features.extractors", "translation", {"weights": "w", "beams": 0}, "extractor 'translation'")


def test_other_networks_are_refused(tmp_path: Path) -> None:
    told = "'weights' are of a BertForSequenceClassification, but translators are of MarianMTModel"
    with pytest.raises(InvalidField, match=told):
        Translation("w").outputs(write_bert(tmp_path))
    (tmp_path / "half").mkdir()
    write_translator(tmp_path / "half", kind="MarianModel")
    with pytest.raises(InvalidField, match="are of a MarianModel, but translators"):
        Translation("w").outputs(tmp_path / "half")


@pytest.mark.parametrize("name", ["source.spm", "target.spm", "vocab.json"])
def test_without_its_tokenizer_nothing_is_translated(folder: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / name).unlink()
    with pytest.raises(MalformedSource, match="needs its tokenizer's files"):
        translated(tmp_path, SENTENCES[0])


def test_it_does_not_ask_for_what_it_does_not_use(folder: Path, recwarn: pytest.WarningsRecorder) -> None:
    translated(folder, SENTENCES[0])
    assert [str(warning.message) for warning in recwarn] == []


def test_the_tiny_checkpoint_is_always_the_same(folder: Path, tmp_path: Path) -> None:
    write_translator(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }
