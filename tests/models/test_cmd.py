from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from models import losses
from models.batch import Batch, collate
from models.checkpoint import load
from models.contrastive import nt_xent
from models.network import Network
from models.networks.cmd import TextFrontEnd
from models.students.cmd import Cmd
from tests.features.tiny_bert import write_bert
from tests.features.tiny_speech import write_speech_encoder
from tests.features.tiny_text import ARCHITECTURES, write_text_encoder
from tests.models.tiny_lake import CLASSES, FIELDS, STATE_DIM, TinyLake, batch_of, fitted, order, tiny_lake
from tests.sparing import first
from warehouse.errors import InvalidField, MalformedSource, NothingLoaded, ShapeDiffers, StepsDiffer

ALL_ROLES = ("wave", "text", "teacher_audio", "teacher_text")
SHAPES = {"wave": (900, 1), "text": ()}
TEACHERS = {"teacher_audio": (1, 7, STATE_DIM), "teacher_text": (3, STATE_DIM)}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> TinyLake:
    return tiny_lake(tmp_path_factory.mktemp("cmd") / "lake", n_utterances=24)


def _student(**fields: Any) -> Cmd:
    return Cmd(**{**FIELDS["cmd"], **fields})


def _network(lake: TinyLake, shapes: Mapping[str, tuple[int, ...]] = SHAPES, **fields: Any) -> Any:
    placed = {slot: lake.weights[lake.encoders[slot]] for slot in ("audio", "text")}
    return _student(**fields).module(shapes, CLASSES, None, placed).eval()


# -- the network -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("modalities", "inputs", "encoders", "teachers"), first(1, [
    ("both", ("wave", "text"), ("audio", "text"), ("teacher_audio", "teacher_text")),
    ("audio", ("wave",), ("audio",), ("teacher_audio",)),
    ("text", ("text",), ("text",), ("teacher_text",)),
]))  # fmt: skip
def test_every_form_is_distilled_then_tuned_and_read_again(
    lake: TinyLake, modalities: str, inputs: tuple[str, ...], encoders: tuple[str, ...], teachers: tuple[str, ...]
) -> None:
    fields = {"modalities": modalities, "kernel": 3, "fusion": "late"}
    student = _student(**fields)
    assert (student.inputs, student.encoders, student.terms["distill"]) == (inputs, encoders, teachers)
    asked: dict[str, Any] = {"fields": fields, "fit": {"epochs": 1}}
    classes = () if modalities == "both" else CLASSES  # distilled heads were never taught: nobody begins with them
    distilled = fitted(lake, order(lake, "cmd", objective={"distill": 1.0}, classes=classes, **asked))
    checkpoint = fitted(lake, order(lake, "cmd", init=distilled.digest, **asked))
    card, network = load(checkpoint.folder)
    assert card.student == student and card.fresh is not None
    assert {name.split(".")[0] for name in card.fresh} == {"heads"}
    batch = batch_of(lake, student.inputs)
    with torch.inference_mode():
        together = network(batch)
        alone = torch.cat([network(batch_of(lake, student.inputs, ids=[one])) for one in batch.ids])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fusion", ["early", "late"])
def test_blocks_are_those_of_the_equations_in_the_order_of_the_fusion(lake: TinyLake, fusion: str) -> None:
    network = _network(lake, fusion=fusion)
    batch = batch_of(lake, ("wave", "text"))
    with torch.inference_mode():
        (x_a, mask_a), (x_t, mask_t) = (network._convolved(batch, stream) for stream in ("audio", "text"))

        def cross(audio: torch.Tensor, text: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            for layer in network.across:
                f_a, f_t = layer.branches
                audio, text = f_a(audio, mask_t, text), f_t(text, mask_a, audio)  # eq. 1 and 2
            return audio, text

        def within(audio: torch.Tensor, text: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            for f_a, f_t in zip(network.within["audio"], network.within["text"], strict=True):
                audio, text = f_a(audio, mask_a), f_t(text, mask_t)  # eq. 3 and 4
            return audio, text

        expected = within(*cross(x_a, x_t)) if fusion == "early" else cross(*within(x_a, x_t))
        found = network.context(batch)
    torch.testing.assert_close((found["audio"][0], found["text"][0]), expected)


def test_the_answer_is_the_mean_of_both_streams_probabilities(lake: TinyLake) -> None:
    network = _network(lake)
    batch = batch_of(lake, ("wave", "text"))
    with torch.inference_mode():
        context = network.context(batch)
        expected = torch.zeros(len(batch), len(CLASSES))
        for stream, (c, mask) in context.items():  # algorithm 3, lines 8-12, row by row
            for row in range(len(batch)):
                pooled = c[row, mask[row]].mean(dim=0)
                expected[row] += (network.heads[stream](pooled) / network.student.temperature).softmax(-1) / 2
        torch.testing.assert_close(network(batch).softmax(-1), expected, rtol=1e-4, atol=1e-6)
        loss = network.losses(batch, ["label"])["label"]
    right = expected[torch.arange(len(batch)), batch.labels]
    torch.testing.assert_close(loss, -right.log().mean(), rtol=1e-4, atol=1e-6)


def test_the_contrast_is_that_of_both_streams(lake: TinyLake) -> None:
    network = _network(lake, SHAPES | TEACHERS, temperature=0.05)
    batch = batch_of(lake, ALL_ROLES)
    with torch.inference_mode():
        expected = torch.zeros(())
        for stream, (c, mask) in network.context(batch).items():
            teacher = batch.arrays[f"teacher_{stream}"][:, 0]
            z_s, z_t = network.maps[f"student_{stream}"](c), network.maps[f"teacher_{stream}"](teacher)
            expected += nt_xent(z_s, z_t, mask, 0.05)
        torch.testing.assert_close(network.losses(batch, ["distill"])["distill"], expected)
        dot = _network(lake, SHAPES | TEACHERS, temperature=0.05, similarity="dot")
        dot.load_state_dict(network.state_dict())
        assert not torch.isclose(dot.losses(batch, ["distill"])["distill"], expected)


def test_a_teacher_who_says_what_the_student_says_is_followed_best(lake: TinyLake) -> None:
    channels = FIELDS["cmd"]["channels"]
    shapes = SHAPES | dict.fromkeys(TEACHERS, (1, 7, channels))
    network = _network(lake, shapes)
    for name in ("audio", "text"):
        network.maps[f"teacher_{name}"].load_state_dict(network.maps[f"student_{name}"].state_dict())
    batch = batch_of(lake, ("wave", "text"))
    with torch.inference_mode():
        own = {f"teacher_{stream}": c[:, None] for stream, (c, _) in network.context(batch).items()}
        lengths = {f"teacher_{stream}": mask.sum(1) for stream, (_, mask) in network.context(batch).items()}
        same = _with(batch, own, lengths)
        turned = _with(batch, {role: states.flip(0).roll(1, 2) for role, states in own.items()}, lengths)
        noisy = _with(batch, {role: states + torch.randn_like(states) for role, states in own.items()}, lengths)
        least, *others = (float(network.losses(one, ["distill"])["distill"]) for one in (same, turned, noisy))
    assert least < min(others)


@pytest.mark.parametrize("term", ["distill", "label"])
def test_every_weight_has_a_gradient_for_which_several_processes_wait(lake: TinyLake, term: str) -> None:
    network = _network(lake, SHAPES | (TEACHERS if term == "distill" else {}))
    network.losses(batch_of(lake, ALL_ROLES), [term])[term].backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None] == []
    untaught = {name for name, gradient in gradients.items() if not gradient.any()}
    heads = {name for name in gradients if name.startswith("heads.")}
    assert heads <= untaught if term == "distill" else not heads & untaught


def _with(batch: Batch, arrays: Mapping[str, torch.Tensor], lengths: Mapping[str, torch.Tensor]) -> Batch:
    return Batch(batch.ids, {**batch.arrays, **arrays}, {**batch.lengths, **lengths}, batch.texts, batch.labels)


@pytest.mark.parametrize("architecture", ["bert", *ARCHITECTURES])
def test_the_text_front_end_is_what_the_first_block_is_given(tmp_path: Path, architecture: str) -> None:
    folder = tmp_path / "checkpoint"
    if architecture == "bert":
        write_bert(folder, "BertModel")
    else:
        write_text_encoder(folder, architecture, "Model")
    front = TextFrontEnd(folder, max_tokens=8).eval()
    whole = transformers.AutoModel.from_pretrained(folder).eval()
    texts = ["i am so happy", "sad", "you are angry today ! i am so sad"]
    with torch.inference_mode():
        embedded, mask = front(texts)
        given: list[torch.Tensor] = []
        whole.embeddings.register_forward_hook(lambda module, args, answer: given.append(answer))
        for row, valid, text in zip(embedded, mask, texts, strict=True):
            tokens = front.tokenizer([text], truncation=True, max_length=8, return_tensors="pt")
            whole(**tokens)
            torch.testing.assert_close(row[valid], given[-1][0])
    assert embedded.shape[-1] == front.dim and mask.sum(1).max() == 8


# -- sizes -----------------------------------------------------------------------------------------------------


def test_sizes_are_those_of_the_paper(tmp_path: Path) -> None:
    """Kim & Kang 2022, section 5: 94 M -> 5 M of wav2vec 2.0 base, 109 M -> 24 M of BERT base."""
    audio = write_speech_encoder(tmp_path / "audio", "wav2vec2")
    text = write_bert(tmp_path / "text", "BertModel")
    teachers = {}
    for folder, config in ((audio, transformers.Wav2Vec2Config()), (text, transformers.BertConfig())):
        (folder / "model.safetensors").unlink()
        config.save_pretrained(folder)
        with torch.device("meta"):
            teachers[folder.name] = _size(transformers.AutoModel.from_config(config))
    assert teachers == {"audio": 94_371_712, "text": 109_482_240}
    placed = {"audio": audio, "text": text}
    with torch.device("meta"):
        network: Any = Cmd().module(SHAPES, CLASSES, None, placed)
        heard = Cmd(modalities="audio").module(SHAPES, CLASSES, None, placed)
        read = Cmd(modalities="text").module(SHAPES, CLASSES, None, placed)
    assert {stream: _size(embed) for stream, embed in network.embeddings.items()} == {
        "audio": 4_595_456, "text": 23_837_184,
    }  # fmt: skip
    sizes = dict.fromkeys(placed, 0)
    for name, parameter in network.named_parameters():
        parts = name.split(".")  # of a block of cross-attention, branch 0 is the sound's
        sizes[["audio", "text"][int(parts[3])] if parts[0] == "across" else parts[1]] += parameter.numel()
    n_heads = 32 * 32 + 32 + 32 * len(CLASSES) + len(CLASSES)
    assert sizes == {"audio": 4_696_288 + n_heads, "text": 23_938_016 + n_heads}  # 5 M and 24 M
    assert sum(sizes.values()) == _size(network)
    n_across = 3 * 12_704
    assert (_size(heard), _size(read)) == (sizes["audio"] - n_across, sizes["text"] - n_across)


def _size(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# -- what it learns --------------------------------------------------------------------------------------------

EITHER = {"temperature": 1.0, "dropout": 0.0, "blocks": 1, "channels": 16, "feed_forward": 32}
FILLERS = ("well", "then", "so", "it", "is")
MARKS = {0: ("yes", "aye", "sure", "right", "okay", "fine"), 1: ("no", "nay", "never", "wrong", "nope", "bad")}


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small encoders whose convolutions tell two tones apart: two of them, without statistics over time."""
    folder = tmp_path_factory.mktemp("placed")
    sizes = {"conv_dim": (8, 8), "conv_kernel": (20, 16), "conv_stride": (16, 8)}
    words = " ".join((*FILLERS, *MARKS[0], *MARKS[1]))
    return {
        "audio": write_speech_encoder(folder / "audio", "wav2vec2-large", **sizes),
        "text": write_bert(folder / "text", "BertModel", f"[PAD] [UNK] [CLS] [SEP] [MASK] {words}"),
    }


def _said(bit: int, n_marks: int, rng: np.random.Generator) -> str:
    words = [str(word) for word in rng.choice(FILLERS, size=rng.integers(1, 4))]
    words.insert(int(rng.integers(len(words) + 1)), str(rng.choice(MARKS[bit][:n_marks])))
    return " ".join(words)


def _xor(n: int, rng: np.random.Generator) -> Batch:
    """The class is the tone's bit xor the word's bit: either alone says nothing."""
    heard, read = rng.integers(2, size=(2, n))
    waves = []
    for bit in heard:
        n_samples = int(rng.integers(420, 1100))
        tone = np.sin(2 * np.pi * (400, 2000)[bit] * np.arange(n_samples) / 16_000)
        waves.append((0.5 * tone + 0.02 * rng.normal(size=n_samples))[:, None])
    texts = [_said(int(bit), 1, rng) for bit in read]
    return collate([f"u{i}" for i in range(n)], {"wave": waves}, {"text": texts}, (heard ^ read).tolist())


def _descend(network: Network, batch: Batch, term: str, n_steps: int) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    network.train()
    for _ in range(n_steps):
        optimizer.zero_grad()
        network.losses(batch, [term])[term].backward()
        optimizer.step()
    network.eval()


def _accuracy(network: Network, batch: Batch) -> float:
    with torch.inference_mode():
        return float((network(batch).argmax(dim=1) == batch.labels).float().mean())


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_where_the_answer_needs_both_streams_both_beat_either(placed: dict[str, Path], seed: int) -> None:
    rng = np.random.default_rng(seed)
    train, test = _xor(64, rng), _xor(64, rng)
    found = {}
    for modalities in ("both", "audio", "text"):
        torch.manual_seed(seed)
        network = _student(**EITHER, modalities=modalities).module(SHAPES, ("even", "odd"), None, placed)
        _descend(network, train, "label", 40)
        found[modalities] = _accuracy(network, test)
    assert found["both"] > max(found["audio"], found["text"]) + 0.2, found


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_a_teacher_that_knows_lifts_a_student_with_few_labels(
    placed: dict[str, Path], tmp_path: Path, seed: int
) -> None:
    """The teacher knows of six words a class; labels there are for sentences with one of them."""
    rng = np.random.default_rng(seed)
    student = _student(**EITHER, modalities="text")
    untold, few, test = (_read(n, n_marks, rng) for n, n_marks in ((96, 6), (12, 1), (96, 6)))
    torch.manual_seed(seed)
    distilled = student.module({"text": (), "teacher_text": (1, 5, STATE_DIM)}, ("no", "yes"), None, placed)
    _descend(distilled, untold, "distill", 60)
    distilled.save(tmp_path)
    found = {}
    for name, init in (("distilled", tmp_path), ("scratch", None)):
        torch.manual_seed(seed)
        network = student.module({"text": ()}, ("no", "yes"), init, placed)
        _descend(network, few, "label", 40)
        found[name] = _accuracy(network, test)
    assert found["distilled"] > found["scratch"] + 0.2, found


def _read(n: int, n_marks: int, rng: np.random.Generator) -> Batch:
    bits = rng.integers(2, size=n)
    texts = [_said(int(bit), n_marks, rng) for bit in bits]
    states = [
        rng.normal(size=(1, len(text.split()) + 2, STATE_DIM)) * 0.5 + 2 * np.eye(STATE_DIM)[bit]
        for bit, text in zip(bits, texts, strict=True)
    ]
    return collate([f"u{i}" for i in range(n)], {"teacher_text": states}, {"text": texts}, bits.tolist())


# -- mistakes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stream", "same", "own", "given"), [
    ("audio", "convolutions", r"\d+", r"\d+"), ("text", "tokenizer and max_tokens", "4", r"\d+"),
])  # fmt: skip
def test_other_steps_than_the_teachers_are_named(lake: TinyLake, stream: str, same: str, own: str, given: str) -> None:
    network = _network(lake, SHAPES | TEACHERS, max_tokens=4)
    batch = batch_of(lake, ALL_ROLES)
    cut = batch.lengths["teacher_text"].clamp(max=4)
    states = batch.arrays["teacher_text"][:, :, :4]
    fits = _with(batch, {"teacher_text": states}, {"teacher_text": cut})
    if stream == "audio":
        longer = fits.arrays["teacher_audio"].repeat_interleave(2, dim=2)
        batch = _with(fits, {"teacher_audio": longer}, {"teacher_audio": fits.lengths["teacher_audio"] * 2})
    told = rf"has {own} steps of {stream} in the student, but {given} in 'teacher_{stream}': .* same {same}"
    with pytest.raises(StepsDiffer, match=told):
        network.losses(batch, ["distill"])
    assert network.losses(fits, ["distill"])["distill"].isfinite()


@pytest.mark.parametrize("more", [1, -1])
def test_a_frame_more_or_less_is_rounding(lake: TinyLake, more: int) -> None:
    """What only one of the two has is left out: of a teacher's frame too many, and of the student's."""
    network = _network(lake, SHAPES | TEACHERS)
    batch = batch_of(lake, ALL_ROLES)
    longer = batch.lengths["teacher_audio"] > 1  # of one frame none may be left
    batch = batch_of(lake, ALL_ROLES, ids=[one for one, kept in zip(batch.ids, longer, strict=True) if kept])
    states, lengths = batch.arrays["teacher_audio"], batch.lengths["teacher_audio"]
    given = torch.nn.functional.pad(states, (0, 0, 0, 1), value=1e3) if more > 0 else states[:, :, :-1]
    with torch.inference_mode():
        context, mask = network.context(batch)["audio"]
        both = mask & (torch.arange(mask.shape[1]) < (lengths + min(more, 0))[:, None])
        z_s, z_t = network.maps["student_audio"](context), network.maps["teacher_audio"](states[:, 0])
        expected = nt_xent(z_s, z_t, both, network.student.temperature)
        found = _with(batch, {"teacher_audio": given}, {"teacher_audio": lengths + more})
        torch.testing.assert_close(network._contrast(found, "audio", context, mask), expected)


def test_mistakes(lake: TinyLake, tmp_path: Path) -> None:
    with pytest.raises(InvalidField, match=r"'channels' are 10, but must be a multiple of heads \(4\)"):
        _student(channels=10, heads=4)
    with pytest.raises(InvalidField, match="'kernel' is 2, but must be odd"):
        _student(kernel=2)
    with pytest.raises(ShapeDiffers, match="this student reads text"):
        _network(lake, SHAPES | {"text": (3,)})
    with pytest.raises(ShapeDiffers, match="steps of one layer are wanted"):
        _network(lake, SHAPES | {"teacher_audio": (13, 7, STATE_DIM)})
    other = fitted(lake, order(lake, "linear", objective={}))
    shutil.copytree(other.folder, tmp_path / "linear")
    with pytest.raises(NothingLoaded, match=r"fits 'students\.cmd'"):
        _student(modalities="text").module(SHAPES, CLASSES, tmp_path / "linear", {"text": _text_of(lake)})
    sound = lake.weights[lake.encoders["audio"]]
    write_bert(tmp_path / "sound", "BertModel")
    for name in ("config.json", "model.safetensors"):
        shutil.copy(sound / name, tmp_path / "sound" / name)
    with pytest.raises(MalformedSource, match="is a 'wav2vec2', whose embeddings of text cannot be taken out of it"):
        TextFrontEnd(tmp_path / "sound", 8)


def _text_of(lake: TinyLake) -> Path:
    return lake.weights[lake.encoders["text"]]


def test_padding_has_no_part_in_a_wide_convolution(lake: TinyLake) -> None:
    network = _network(lake, kernel=5)
    ids: Sequence[str] = batch_of(lake, ("wave", "text")).ids
    with torch.inference_mode():
        together, _ = network._convolved(batch_of(lake, ("wave", "text")), "text")
        for row, one in zip(together, ids, strict=True):
            alone, _ = network._convolved(batch_of(lake, ("wave", "text"), ids=[one]), "text")
            torch.testing.assert_close(row[: alone.shape[1]], alone[0], rtol=1e-4, atol=1e-5)


def test_logits_of_one_stream_are_not_averaged(lake: TinyLake) -> None:
    network = _network(lake, modalities="audio")
    batch = batch_of(lake, ("wave",))
    with torch.inference_mode():
        logits = network.logits(network.context(batch))["audio"]
        torch.testing.assert_close(network(batch), losses.average_log_probability([logits], 0.1))
        torch.testing.assert_close(network(batch), (logits / 0.1).log_softmax(-1))
