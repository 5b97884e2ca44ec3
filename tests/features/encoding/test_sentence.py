from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from features.encoding.sentence import Pooling, read_pooling
from features.extractors.encoder import Encoder
from features.plugin import Clip
from tests.features.tiny_bert import write_bert
from tests.features.tiny_text import write_sentence_encoder
from warehouse.errors import MalformedSource

TOKENS = torch.tensor([[3.0, 4.0], [0.0, 10.0], [0.0, 1.0]])


@pytest.mark.parametrize(("mode", "expected"), [("cls", [3, 4]), ("mean", [1, 5]), ("max", [3, 10])])
def test_ways_of_pooling(mode: str, expected: list[float]) -> None:
    assert Pooling(mode, False, None)(TOKENS).tolist() == expected
    assert Pooling(mode, True, None)(TOKENS).tolist() == pytest.approx(np.array(expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("mode", ["cls", "mean", "max"])
@pytest.mark.parametrize("kinds", [("Transformer", "Pooling"), ("Transformer", "Pooling", "Normalize")])
def test_what_the_checkpoint_says_is_done(mode: str, kinds: tuple[str, ...], tmp_path: Path) -> None:
    folder = write_sentence_encoder(tmp_path, mode, kinds)
    assert read_pooling(folder) == Pooling(mode, "Normalize" in kinds, 32)
    [row] = Encoder("w", sentence=True).load("cpu", folder)([Clip("a", text="I am so happy")])
    last = row["hidden"][-1]
    expected = {"cls": last[0], "mean": last.mean(0), "max": last.max(0)}[mode]
    expected = expected / np.linalg.norm(expected) if "Normalize" in kinds else expected
    np.testing.assert_allclose(row["sentence"], expected, rtol=1e-5, atol=1e-6)
    assert Encoder("w", sentence=True).outputs(folder)["sentence"].names[:2] == ("sentence_0", "sentence_1")


def test_texts_are_cut_where_the_sentence_encoder_cuts_them(tmp_path: Path) -> None:
    folder, text = write_sentence_encoder(tmp_path), "so " * 100
    lengths = [
        Encoder("w", sentence=sentence, max_tokens=64).load("cpu", folder)([Clip("a", text=text)])[0]["hidden"].shape[1]
        for sentence in (True, False)
    ]
    assert lengths == [32, 64]


def test_the_newer_way_of_naming_a_mode(tmp_path: Path) -> None:
    folder = write_sentence_encoder(tmp_path)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "cls"}))
    (folder / "sentence_bert_config.json").unlink()
    assert read_pooling(folder) == Pooling("cls", True, None)


def test_what_cannot_be_pooled_is_told(tmp_path: Path) -> None:
    with pytest.raises(MalformedSource, match=r"lacks modules\.json, which says how a sentence encoder pools"):
        Encoder("w", sentence=True).load("cpu", write_bert(tmp_path / "bert"))
    dense = write_sentence_encoder(tmp_path / "dense", kinds=("Transformer", "Pooling", "Dense"))
    with pytest.raises(MalformedSource, match=r"lists Transformer, Pooling, Dense in modules\.json, but only"):
        read_pooling(dense)
    folder = write_sentence_encoder(tmp_path / "two")
    said = {"pooling_mode_mean_tokens": True, "pooling_mode_lasttoken": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(said))
    with pytest.raises(MalformedSource, match="pools by mean, pooling_mode_lasttoken, but only one of cls, mean, max"):
        read_pooling(folder)
    (folder / "1_Pooling" / "config.json").unlink()
    with pytest.raises(MalformedSource, match=r"lacks 1_Pooling/config\.json"):
        read_pooling(folder)


def test_pooling_lies_in_a_folder_of_its_own_whose_file_is_recorded(tmp_path: Path) -> None:
    folder = write_sentence_encoder(tmp_path)
    modules = json.loads((folder / "modules.json").read_text())
    for path in ("../elsewhere", "pooling", "deep/1_Pooling"):
        modules[1]["path"] = path
        (folder / "modules.json").write_text(json.dumps(modules))
        with pytest.raises(MalformedSource, match=f"keeps its pooling in '{path}', but only one such as 1_Pooling"):
            read_pooling(folder)


def test_texts_in_lower_case_are_the_tokenizers_matter(tmp_path: Path) -> None:
    folder = write_sentence_encoder(tmp_path)
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 32, "do_lower_case": True}))
    with pytest.raises(MalformedSource, match=r"lower-cases texts \(sentence_bert_config\.json\), which is not done"):
        read_pooling(folder)
