from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from flows.card import card_of, markdown
from flows.clips import label_clips
from flows.exporting import CARD, export
from flows.origins import Host
from flows.trained import trained
from models import onnx_graph
from tests.flows.spoken import Spoken
from warehouse.audit.errors import TermsUnknown, UseForbidden
from warehouse.errors import InvalidField

BARE = """
import json, sys
import numpy as np, onnxruntime, tokenizers
given = json.load(sys.stdin)
session = onnxruntime.InferenceSession(given["folder"] + "/model.onnx")
text = tokenizers.Tokenizer.from_file(given["folder"] + "/tokenizer/text/tokenizer.json").encode(given["text"])
(logits,) = session.run(None, {
    "wave": np.array([given["wave"]], np.float32),
    "text_input_ids": np.array([text.ids]), "text_attention_mask": np.array([text.attention_mask]),
})
shares = np.exp(logits[0] - logits[0].max())
classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
print(json.dumps(dict(zip(classes, (shares / shares.sum()).tolist()))))
"""


def test_a_fit_is_given_with_its_card(spoken: Spoken, tmp_path: Path) -> None:
    fit = trained(spoken.warehouse, "spoken:crossed")[0]
    files = export(spoken.warehouse, fit, "transformers", tmp_path / "given")
    assert {CARD, "config.json", "model.safetensors", "student.json", "encoders/audio/model.safetensors"} <= set(files)
    card = card_of(spoken.warehouse, fit)
    assert (tmp_path / "given" / CARD).read_text(encoding="utf-8") == markdown(card)
    with pytest.raises(InvalidField, match="which is not empty: name another"):
        export(spoken.warehouse, fit, "transformers", tmp_path / "given")


def test_what_cannot_be_given_leaves_nothing(spoken: Spoken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    linear = trained(spoken.warehouse, "spoken:linear")[0]
    with monkeypatch.context() as patch, pytest.raises(InvalidField, match="needs packages that are not installed"):
        patch.setattr(onnx_graph.importlib.util, "find_spec", lambda name: None)
        export(spoken.warehouse, linear, "onnx", tmp_path / "given")
    assert not (tmp_path / "given").exists()
    assert export(spoken.warehouse, linear, "onnx", tmp_path / "given") == [CARD, "model.onnx"]
    card = (tmp_path / "given" / CARD).read_text(encoding="utf-8")
    assert "| vector | float32 | [batch, 88] | a stored feature |" in card


@pytest.mark.slow
def test_a_graph_says_of_a_clip_what_predict_says(spoken: Spoken, tmp_path: Path) -> None:
    """Read, tokenised and run by a program that has onnxruntime, tokenizers and numpy alone."""
    fit = trained(spoken.warehouse, "spoken:crossed")[0]
    files = export(spoken.warehouse, fit, "onnx", tmp_path / "given")
    assert {CARD, "model.onnx", "tokenizer/text/tokenizer.json"} <= set(files)
    card = (tmp_path / "given" / CARD).read_text(encoding="utf-8")
    assert "| text_input_ids | int64 | [1, text_tokens] | tokens of a text, at most 128, as tokenizer/text" in card
    clips = sorted(spoken.clips.glob("test_*.wav"))
    told, _ = label_clips(spoken.warehouse, [fit], clips, Host(spoken.weights))
    for clip, one in zip(clips, told, strict=True):
        wave, rate = soundfile.read(clip, dtype="float32")
        assert rate == 16_000
        text = clip.with_suffix(".txt").read_text(encoding="utf-8").strip()
        given = json.dumps({"folder": str(tmp_path / "given"), "wave": wave.tolist(), "text": text})
        done = subprocess.run([sys.executable, "-c", BARE], input=given, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        assert found == pytest.approx(one.probabilities, abs=1e-4)


def test_a_purpose_is_refused_until_the_terms_are_known_and_allow_it(spoken: Spoken, tmp_path: Path) -> None:
    fit, stated = trained(spoken.warehouse, "spoken:linear")[0], spoken.warehouse.root / "licences.toml"
    with pytest.raises(TermsUnknown, match=r"not all terms of corpus 'clips' are known .* → spoken:linear: where you"):
        export(spoken.warehouse, fit, "onnx", tmp_path / "given", "public")
    try:
        stated.write_text('[corpora.clips]\nlicence = "CC-BY-4.0"\nsource = "our own voices"\n')
        with pytest.raises(UseForbidden, match=r"program 'openSMILE' is non-commercial .*\(students.linear\) → spoken"):
            export(spoken.warehouse, fit, "onnx", tmp_path / "given", "commercial")
        assert not (tmp_path / "given").exists()
        export(spoken.warehouse, fit, "onnx", tmp_path / "given", "public")
    finally:
        stated.unlink()
    card = (tmp_path / "given" / CARD).read_text(encoding="utf-8")
    assert "Together: non-commercial, attribution." in card and "It was given for public use." in card
    assert "| clips | corpus | CC-BY-4.0 | attribution | utterances " in card
