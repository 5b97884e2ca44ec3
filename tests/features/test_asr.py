from __future__ import annotations

import json
from difflib import SequenceMatcher
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from features.extractors.asr import Asr, written
from features.plugin import RATE_HZ, Clip
from tests.features.tiny_recogniser import LETTERS, write_recogniser
from warehouse.errors import InvalidField, MalformedSource, Untreatable


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recogniser(tmp_path_factory.mktemp("recogniser"))


@pytest.fixture(scope="module")
def wave() -> np.ndarray:
    """6 s in which tones of half a second follow each other."""
    times_s = np.arange(6 * RATE_HZ) / RATE_HZ
    pitch_hz = 150 * 1.4 ** (times_s // 0.5)
    return (0.3 * np.sin(2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ)).astype(np.float32)


def text_of(folder: Path, wave: np.ndarray, **fields: float) -> str:
    [row] = Asr("w", **fields).load("cpu", folder)([Clip("a", wave)])
    return row["text"].tobytes().decode()


def best_path(folder: Path, wave: np.ndarray) -> str:
    """The definition: likeliest symbols, repeats taken out, then blanks."""
    import torch
    import transformers

    network = transformers.AutoModelForCTC.from_pretrained(folder).eval()
    heard = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
    with torch.inference_mode():
        symbols = network(torch.from_numpy(heard)[None]).logits[0].argmax(-1).tolist()
    letters = [LETTERS[symbol] for symbol, _ in groupby(symbols)]
    kept = (letter for letter in letters if letter == "|" or not letter.startswith("<"))
    return " ".join("".join(kept).replace("|", " ").split())


def test_it_is_the_best_path(folder: Path, wave: np.ndarray) -> None:
    found = text_of(folder, wave)
    assert len(set(found)) > 2  # else repeats and blanks would not be told apart
    assert found == best_path(folder, wave)


@pytest.mark.parametrize(
    ("path", "text"),
    [("AAB", "AB"), ("A AB", "AAB"), (" A||B ", "A B"), ("|A|", "A"), ("", ""), ("  ", ""), ("A<<B", "AB")],
)
def test_repeats_are_one_symbol_unless_a_blank_parts_them(folder: Path, path: str, text: str) -> None:
    import transformers

    tokenizer = transformers.Wav2Vec2CTCTokenizer.from_pretrained(folder)
    symbols = [{" ": 0, "<": 1}.get(letter, LETTERS.index(letter) if letter in LETTERS else 0) for letter in path]
    assert written(np.array(symbols, dtype=np.int64), tokenizer) == text


def test_windows_neither_split_nor_double_a_symbol(folder: Path, wave: np.ndarray) -> None:
    """Attention reaches further than a window, but this network's says little: the text stays nearly the same."""
    whole, cut = text_of(folder, wave), text_of(folder, wave, window_s=5.0, context_s=2.0)
    assert SequenceMatcher(None, whole, cut, autojunk=False).ratio() > 0.9


def test_what_has_no_ctc_head_is_refused(tmp_path: Path) -> None:
    write_recogniser(tmp_path, "Wav2Vec2Model")
    with pytest.raises(InvalidField, match="field 'weights' are of a Wav2Vec2Model, which has no CTC head"):
        Asr("w").outputs(tmp_path)


def test_other_architectures_are_refused(tmp_path: Path) -> None:
    write_recogniser(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {"add_adapter": True}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InvalidField, match="are of a 'wav2vec2', but recognisers are, without an adapter: wav2vec2,"):
        Asr("w").outputs(tmp_path)


def test_without_a_tokenizer_nothing_can_be_written_down(tmp_path: Path) -> None:
    write_recogniser(tmp_path)
    for name in ("vocab.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"):
        (tmp_path / name).unlink(missing_ok=True)
    with pytest.raises(MalformedSource, match=r"needs tokenizer_config\.json and vocab\.json"):
        Asr("w").load("cpu", tmp_path)


def test_a_mask_that_only_training_needs_may_be_absent(tmp_path: Path, wave: np.ndarray) -> None:
    from safetensors.numpy import load_file, save_file

    write_recogniser(tmp_path)
    text = text_of(tmp_path, wave)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["wav2vec2.masked_spec_embed"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert text_of(tmp_path, wave) == text


def test_windows_have_a_middle() -> None:
    with pytest.raises(InvalidField, match="'asr': field 'context_s' is 3, but must be at least 0 and less than"):
        Asr("w", window_s=5.0, context_s=3.0)


def test_windows_have_a_frame(folder: Path) -> None:
    told = r"field 'window_s' is 0\.01, but one frame of this network lasts 0\.02 s"
    for ask in (Asr("w", 0.01, 0.0).outputs, lambda folder: Asr("w", 0.01, 0.0).load("cpu", folder)):
        with pytest.raises(InvalidField, match=told):
            ask(folder)


def test_less_than_a_frame_is_untreatable(folder: Path) -> None:
    with pytest.raises(Untreatable, match=r"the clip lasts 0\.020 s, less than one frame \(0\.025 s\)"):
        text_of(folder, np.zeros(320, np.float32))
