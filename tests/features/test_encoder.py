from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from features.extractors.encoder import Encoder
from features.guard import guarded
from features.plugin import Clip, normalised_words
from tests.features.tiny_bert import WORDS, write_bert
from tests.features.tiny_text import ARCHITECTURES, write_text_encoder
from warehouse.errors import InvalidField, MalformedSource, Untreatable

TEXTS = ("I am so happy today !", "sad", "you are angry", "am I angry ? so sad .", "unheard words")
CLIPS = [Clip(f"t{n}", text=text) for n, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("classifier"))


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("masked"), "BertForMaskedLM")


def test_layers_and_logits_are_those_of_the_network(classifier: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    network = AutoModelForSequenceClassification.from_pretrained(classifier).eval()
    ids = torch.tensor([[2, 5, 6, 7, 8, 13, 14, 3]])  # [CLS] i am so happy today ! [SEP]
    with torch.no_grad():
        expected = network(input_ids=ids, output_hidden_states=True)
    [row] = Encoder("w", logits=True).load("cpu", classifier)(CLIPS[:1])
    assert row["hidden"].shape == (4, 8, 16)
    assert np.array_equal(row["hidden"], torch.cat(expected.hidden_states).numpy())
    np.testing.assert_allclose(row["logits"], expected.logits[0].numpy(), rtol=1e-5, atol=1e-7)


def test_chosen_layers_come_in_the_order_named(classifier: Path) -> None:
    [every] = Encoder("w").load("cpu", classifier)(CLIPS[:1])
    [chosen] = Encoder("w", layers=(3, 0)).load("cpu", classifier)(CLIPS[:1])
    assert np.array_equal(chosen["hidden"], every["hidden"][[3, 0]])


def test_a_row_is_the_same_whatever_it_came_with(classifier: Path) -> None:
    extract = Encoder("w", logits=True).load("cpu", classifier)
    together, reversed_ = extract(CLIPS), extract(CLIPS[::-1])[::-1]
    for clip, row, other in zip(CLIPS, together, reversed_, strict=True):
        [alone] = extract([clip])
        for name in ("hidden", "logits"):
            assert np.array_equal(alone[name], row[name])
            assert np.array_equal(alone[name], other[name])


def test_a_row_does_not_depend_on_the_number_of_cores(classifier: Path) -> None:
    extract = Encoder("w", logits=True).load("auto", classifier)
    n_threads = torch.get_num_threads()
    try:
        rows = []
        for n in (1, 2):
            torch.set_num_threads(n)
            rows.append(extract(CLIPS[:1])[0])
            assert torch.get_num_threads() == n
    finally:
        torch.set_num_threads(n_threads)
    assert np.array_equal(rows[0]["hidden"], rows[1]["hidden"])


def test_there_is_no_dropout(classifier: Path) -> None:
    first, second = (Encoder("w").load("cpu", classifier)(CLIPS)[0]["hidden"] for _ in range(2))
    assert np.array_equal(first, second)


def test_promises_read_the_config_only(classifier: Path, tmp_path: Path) -> None:
    shutil.copy(classifier / "config.json", tmp_path)
    promised = Encoder("w", logits=True, dtype="float16").outputs(tmp_path)
    assert (promised["hidden"].level, promised["hidden"].dim, promised["hidden"].dtype) == ("token", 16, "float16")
    assert promised["logits"].names == ("logit_angry", "logit_happy", "logit_sad")
    assert set(Encoder("w").outputs(tmp_path)) == {"hidden"}


def test_float16_is_the_rounded_float32(classifier: Path) -> None:
    [full] = Encoder("w").load("cpu", classifier)(CLIPS[:1])
    [half] = Encoder("w", dtype="float16").load("cpu", classifier)(CLIPS[:1])
    assert np.array_equal(half["hidden"], full["hidden"].astype(np.float16))


def test_long_texts_lose_their_end(classifier: Path) -> None:
    [row] = Encoder("w", max_tokens=4).load("cpu", classifier)(CLIPS[:1])
    assert row["hidden"].shape[1] == 4


def test_hidden_layers_of_a_network_without_classifier(masked: Path) -> None:
    [row] = Encoder("w", layers=(3,)).load("cpu", masked)(CLIPS[:1])
    assert set(row) == {"hidden"}
    assert row["hidden"].shape == (1, 8, 16)


def test_logits_need_a_classifier(masked: Path) -> None:
    told = "field 'logits' is true, but the checkpoint is a BertForMaskedLM, which has no classifier"
    with pytest.raises(InvalidField, match=told):
        Encoder("w", logits=True).outputs(masked)
    with pytest.raises(InvalidField, match=told):
        Encoder("w", logits=True).load("cpu", masked)


@pytest.mark.parametrize("layer", [4, -1])
def test_an_absent_layer_is_told(masked: Path, layer: int) -> None:
    with pytest.raises(InvalidField, match=f"asks for layer {layer}, but the checkpoint has layers 0 to 3"):
        Encoder("w", layers=(0, layer)).outputs(masked)


def test_absent_weights_are_told_rather_than_drawn_by_lot(classifier: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(classifier, tmp_path / "cut")
    weights = load_file(folder / "model.safetensors")
    del weights["classifier.bias"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(MalformedSource, match=r"lacks 1 weights of its network \(first: classifier.bias\)"):
        Encoder("w", logits=True).load("cpu", folder)


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_transcript_is_untreatable(classifier: Path, text: str) -> None:
    with pytest.raises(Untreatable, match="the transcript is empty"):
        Encoder("w").load("cpu", classifier)([Clip("e", text=text)])


def test_labels_stay_in_the_order_of_the_network(classifier: Path, tmp_path: Path) -> None:
    config = json.loads((classifier / "config.json").read_text())
    config["id2label"] = {"2": "zorn", "0": "freude", "1": "angst"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert Encoder("w", logits=True).outputs(tmp_path)["logits"].names == ("logit_freude", "logit_angst", "logit_zorn")


# -- other architectures ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=ARCHITECTURES)
def other(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return request.param, write_text_encoder(tmp_path_factory.mktemp("other"), request.param)


def test_every_architecture_gives_its_layers_logits_and_words(other: tuple[str, Path]) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    _, folder = other
    text = "I can't, so-so happy!"
    [row] = Encoder("w", logits=True, words=True).load("cpu", folder)([Clip("a", text=text)])
    tokens = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with torch.no_grad():
        network = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        expected = network(**tokens, output_hidden_states=True)
    np.testing.assert_allclose(row["hidden"], torch.cat(expected.hidden_states).numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(row["logits"], expected.logits[0].numpy(), rtol=1e-5, atol=1e-6)
    assert row["hidden"].shape == (3, tokens.input_ids.shape[1], 16)
    assert set(row["word"][:, 0].tolist()) == {-1, *range(len(normalised_words(text)))}


Row = Mapping[str, np.ndarray]


def same(rows: Sequence[Row], others: Sequence[Row]) -> bool:
    """To the bit."""
    return len(rows) == len(others) and all(
        row.keys() == other.keys() and all(row[name].tobytes() == other[name].tobytes() for name in row)
        for row, other in zip(rows, others, strict=True)
    )


def spoken(n: int, n_words: int) -> list[Clip]:
    """Texts of 1 to `n_words` words, always the same."""
    choose = random.Random(0)
    words = ["I", "am", "so", "happy", "sad", "you", "are", "angry", "today", "!", ".", "can't", "unheard"]
    texts = [" ".join(choose.choices(words, k=choose.randint(1, n_words))) for _ in range(n)]
    return [Clip(f"t{position}", text=text) for position, text in enumerate(texts)]


def laws(extract: Callable[[Sequence[Clip]], Sequence[Row]], clips: Sequence[Clip]) -> None:
    """Rows are the same alone, among all others, in another order, and in halves of that."""
    rows = extract(clips)
    assert same(rows, [extract([clip])[0] for clip in clips])
    order = random.Random(1).sample(range(len(clips)), len(clips))
    for size in (len(clips), len(clips) // 2, 7):
        parts = [order[at : at + size] for at in range(0, len(order), size)]
        moved = [row for part in parts for row in extract([clips[position] for position in part])]
        assert same(moved, [rows[position] for position in order])


def test_a_row_of_every_architecture_is_the_same_whatever_it_came_with(other: tuple[str, Path]) -> None:
    laws(Encoder("w", words=True, logits=True).load("cpu", other[1]), spoken(60, 12))


@pytest.mark.parametrize("architecture", ["roberta", "mpnet"])
@pytest.mark.slow
def test_rows_are_the_same_at_the_width_of_real_networks(architecture: str, tmp_path: Path) -> None:
    """Other kernels treat these than the tiny ones; one has torch's attention, the other writes it out."""
    folder = write_text_encoder(tmp_path, architecture, width=768, n_heads=12)
    laws(Encoder("w", logits=True).load("cpu", folder), spoken(16, 6))


@pytest.mark.parametrize(("least", "n_passes", "n_filled"), [(1, 4, 0), (2, 4, 2), (4, 4, 8), (None, 10, 0)])
def test_texts_of_equal_length_pass_together(
    classifier: Path, monkeypatch: pytest.MonkeyPatch, least: int | None, n_passes: int, n_filled: int
) -> None:
    """Of 10 texts, six have 3 tokens, two have 4, one 5 and one 6. Where company changes rows, each passes alone."""
    monkeypatch.setattr("features.extractors.encoder.least_rows", lambda *_: least)
    extract = Encoder("w", logits=True).load("cpu", classifier)
    clips = [Clip(f"t{n}", text=" ".join(["so"] * n_words)) for n, n_words in enumerate([1, 2, 1, 3, 1, 4, 1, 2, 1, 1])]
    shapes: list[torch.Size] = []

    def note(module: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        if isinstance(module, torch.nn.Embedding) and module.num_embeddings == len(WORDS.split()):
            shapes.append(given[0].shape)

    hook = torch.nn.modules.module.register_module_forward_pre_hook(note)
    try:
        rows = extract(clips)
    finally:
        hook.remove()
    assert [row["hidden"].shape[1] for row in rows] == [len(clip.text.split()) + 2 for clip in clips]
    assert len(shapes) == n_passes
    assert sum(shape[0] for shape in shapes) == len(clips) + n_filled


def test_a_full_accelerator_gives_the_same_rows_half_at_once(other: tuple[str, Path]) -> None:
    plugin = Encoder("w", logits=True)
    extract = plugin.load("cpu", other[1])
    clips = spoken(40, 9)

    def run(some: Sequence[Clip]) -> Sequence[Row]:
        if len(some) > 6:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return extract(some)

    found = list(guarded(run, clips, plugin.outputs(other[1])))
    assert [clip for clip, _ in found] == clips
    assert same([answer for _, answer in found if not isinstance(answer, Exception)], extract(clips))


def test_few_layers_are_made_of_more_texts_at_once() -> None:
    assert Encoder("w", layers=(3, 4)).batch_s > Encoder("w").batch_s == Encoder("w", layers=(0, 1, 2, 3, 4)).batch_s


@pytest.mark.parametrize("architecture", ["roberta", "mpnet"])
def test_positions_that_count_from_the_padding_tokens_number(architecture: str, tmp_path: Path) -> None:
    """Of 40 positions, the first two are never used: a text of 40 tokens would read past the end of the table."""
    folder = write_text_encoder(tmp_path, architecture)
    [row] = Encoder("w", max_tokens=100).load("cpu", folder)([Clip("a", text="so " * 200)])
    assert row["hidden"].shape[1] == 38


def test_what_is_not_asked_for_is_not_there_and_changes_nothing(classifier: Path) -> None:
    plain, full = (
        Encoder("w", logits=True, **more).load("cpu", classifier)(CLIPS[:1])[0] for more in ({}, {"words": True})
    )
    assert set(plain) == set(Encoder("w", logits=True).outputs(classifier)) == {"hidden", "logits"}
    assert all(plain[name].tobytes() == full[name].tobytes() for name in plain)


@pytest.mark.parametrize(
    ("name", "sizes", "n_layers", "dim"),
    [
        *((name, {}, 12, 768) for name in ("Bert", "Roberta", "MPNet")),
        ("DistilBert", {}, 6, 768),
        ("DebertaV2", {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}, 12, 768),
        ("Roberta", {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}, 24, 1024),
        ("Electra", {"hidden_size": 256, "embedding_size": 128}, 12, 256),
    ],
)  # fmt: skip
def test_published_shapes_are_promised_by_the_config_alone(
    name: str, sizes: dict[str, int], n_layers: int, dim: int, tmp_path: Path
) -> None:
    import transformers

    getattr(transformers, f"{name}Config")(**sizes).save_pretrained(tmp_path)
    promised = Encoder("w", layers=(0, n_layers), words=True, sentence=True).outputs(tmp_path)
    assert (promised["hidden"].axes, promised["hidden"].dim) == (("layer", "token", "dim"), dim)
    assert (promised["word"].dim, promised["word"].dtype) == (1, "int32")
    assert (promised["sentence"].level, promised["sentence"].names[-1]) == ("utterance", f"sentence_{dim - 1}")
    with pytest.raises(InvalidField, match=f"asks for layer {n_layers + 1}, but the checkpoint has layers 0 to"):
        Encoder("w", layers=(n_layers + 1,)).outputs(tmp_path)


def test_float16_is_within_the_bound_and_what_it_cannot_hold_is_a_failure(masked: Path, tmp_path: Path) -> None:
    [full] = Encoder("w").load("cpu", masked)(CLIPS[:1])
    [half] = Encoder("w", dtype="float16").load("cpu", masked)(CLIPS[:1])
    error = np.abs(half["hidden"].astype(np.float64) - full["hidden"])
    assert (error <= np.maximum(2.0**-11 * np.abs(full["hidden"]), 2.0**-25)).all()
    folder = shutil.copytree(masked, tmp_path / "loud")
    weights = load_file(folder / "model.safetensors")
    weights["bert.encoder.layer.2.output.LayerNorm.weight"] *= 1e6
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    plugin = Encoder("w", dtype="float16")
    [(_, failure)] = guarded(plugin.load("cpu", folder), CLIPS[:1], plugin.outputs(folder))
    assert isinstance(failure, Untreatable) and str(failure) == "output 'hidden' holds values that are not finite"


def test_a_tokenizer_that_is_not_there_is_told(classifier: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(classifier, tmp_path / "without")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(MalformedSource, match=r"best a tokenizer\.json \(without, no word is known\)"):
        Encoder("w").load("cpu", folder)


@pytest.mark.parametrize("architecture", ["roberta", "deberta"])
def test_half_a_tokenizer_is_told(architecture: str, tmp_path: Path) -> None:
    """Nothing reads this vocabulary without its merges, nor pieces that are none."""
    folder = write_text_encoder(tmp_path, architecture)
    for path in folder.glob("tokenizer*"):
        path.unlink()
    (folder / {"roberta": "vocab.json", "deberta": "spm.model"}[architecture]).write_text("{}")
    with pytest.raises(MalformedSource, match=r"needs its tokenizer's files, best a tokenizer\.json"):
        Encoder("w").load("cpu", folder)


def test_words_need_a_tokenizer_that_says_where_its_tokens_stand(
    classifier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import PreTrainedTokenizerFast

    monkeypatch.setattr(PreTrainedTokenizerFast, "is_fast", False)
    with pytest.raises(InvalidField, match="field 'words' is true, but this tokenizer does not say where its tokens"):
        Encoder("w", words=True).load("cpu", classifier)
