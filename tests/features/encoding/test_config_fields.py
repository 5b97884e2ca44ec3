from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from features.encoding import config_fields
from features.encoding.config_fields import PLAIN, read_fields
from features.encoding.hearing import CONVOLUTIONAL
from features.encoding.pretrained import read_config
from features.extractors.encoder import Encoder
from features.extractors.speech_encoder import SpeechEncoder
from features.plugin import FeatureSpec
from tests.features.tiny_speech import write_speech_encoder
from tests.features.tiny_text import ARCHITECTURES, write_text_encoder
from warehouse.errors import MalformedSource

SIZES = ("hidden_size", "num_hidden_layers", "architectures")
STEPS = ("conv_kernel", "conv_stride")
LABELS = {0: "angry", 1: "sad", 2: "neutral"}


def without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("transformers", "torch"):
        monkeypatch.setitem(sys.modules, name, None)


def written(folder: Path, **changes: Any) -> Path:
    """A folder with the config.json of a small BERT, changed."""
    said = {
        "model_type": "bert", "architectures": ["BertModel"], "hidden_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "id2label": {str(number): label for number, label in LABELS.items()},
        "label2id": {label: number for number, label in LABELS.items()},
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(said | changes))
    return folder


@pytest.mark.parametrize("kind", sorted(PLAIN))
def test_of_each_plain_architecture_the_fields_are_those_of_transformers(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import CONFIG_MAPPING

    assert not {*SIZES, *STEPS, "id2label"} & CONFIG_MAPPING[kind].attribute_map.keys()
    own = {"conv_dim": [8, 8], "conv_kernel": [10, 4], "conv_stride": [5, 3]} if kind in CONVOLUTIONAL else {}
    config = CONFIG_MAPPING[kind](
        hidden_size=48, num_hidden_layers=5, num_attention_heads=4, id2label=LABELS, architectures=["A", "B"], **own
    )
    config.save_pretrained(tmp_path)
    asked = [*SIZES, "id2label", *(STEPS if own else ())]
    whole = read_config(tmp_path)
    without_transformers(monkeypatch)
    found = read_fields(tmp_path, asked)
    assert found.model_type == whole.model_type == kind
    assert {name: getattr(found, name) for name in asked} == {name: getattr(whole, name) for name in asked}


def promised(plugin: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, is_plain: bool) -> dict[str, FeatureSpec]:
    """What an extractor promises; the same where config.json is read by `transformers`."""
    with monkeypatch.context() as patch:
        for module in ("encoder", "speech_encoder"):
            patch.setattr(f"features.extractors.{module}.read_fields", lambda folder, asked: read_config(folder))
        whole = dict(plugin.outputs(folder))
    with monkeypatch.context() as patch:
        if is_plain:
            without_transformers(patch)
        assert dict(plugin.outputs(folder)) == whole
    return whole


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_text_encoder_promises_the_same(architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_text_encoder(tmp_path, architecture)
    plugin = Encoder("0" * 32, layers=(2, 0), logits=True, sentence=True)
    found = promised(plugin, folder, monkeypatch, is_plain=architecture != "distilbert")
    assert found["hidden"].dim == 16 and len(found["logits"].names) == 3


@pytest.mark.parametrize("architecture", ["wav2vec2-large", "whisper"])
def test_a_speech_encoder_promises_the_same(architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_speech_encoder(tmp_path, architecture)
    promised(SpeechEncoder("0" * 32), folder, monkeypatch, is_plain=architecture != "whisper")


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({"model_type": "distilbert"}, SIZES),
        ({"architectures": None}, SIZES),
        ({"hidden_size": "16"}, SIZES),
        ({"hidden_size": True}, SIZES),
        ({"num_labels": 4}, ("id2label",)),
        ({"id2label": None}, ("id2label",)),
        ({"id2label": {"x": "angry"}}, ("id2label",)),
        ({"per_layer_config": {"0": {"hidden_size": 8}}}, SIZES),
        ({"configuration_files": ["config.4.0.0.json"]}, SIZES),
        ({"model_type": "hubert", "conv_dim": [8], "conv_kernel": [4, 4], "conv_stride": [2, 2]}, STEPS),
        ({"model_type": "hubert", "conv_dim": [8], "conv_kernel": [4.0], "conv_stride": [2]}, STEPS),
        ({"model_type": "hubert"}, STEPS),
    ],
)
def test_what_is_in_doubt_is_left_to_transformers(
    changes: dict[str, Any], asked: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path, **changes)
    monkeypatch.setattr(config_fields, "read_config", lambda checkpoint: ("asked", checkpoint))
    assert read_fields(folder, asked) == ("asked", folder)


@pytest.mark.parametrize("text", ["", "[]", '"bert"', "{", "\udce4"])
def test_a_config_that_is_none_is_told_as_before(text: str, tmp_path: Path) -> None:
    with pytest.raises(MalformedSource, match=r"has no config\.json of a network that is known here"):
        read_fields(tmp_path, SIZES)
    (tmp_path / "config.json").write_text(text, errors="surrogateescape")
    with pytest.raises(MalformedSource, match=r"has no config\.json of a network that is known here"):
        read_fields(tmp_path, SIZES)
