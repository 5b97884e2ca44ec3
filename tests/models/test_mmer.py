from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional

from models import losses
from models.batch import NO_LABEL, Batch, collate
from models.checkpoint import load
from models.contrastive import augmented_contrastive, supervised_contrastive
from models.networks.mmer import MmerNetwork
from models.networks.pools import masked_max
from models.networks.states import states_of
from models.spelling import ctc_targets
from models.students.mmer import Mmer
from tests.models.parity import remember_frames
from tests.models.tiny_lake import CLASSES, FIELDS, STATE_DIM, TinyLake, batch_of, fitted, order, tiny_lake
from tests.sparing import first
from warehouse.errors import InvalidField, RoleMissing, ShapeDiffers

SHAPES = {"wave": (900, 1), "text_states": (1, 3, STATE_DIM)}
TOLD = {"augmented_wave": (900, 1), "augmented_states": (1, 3, STATE_DIM), "text": ()}
ROLES = (*SHAPES, *TOLD)
PAPER = {"label": 1.0, "ctc": 0.1, "supervised": 0.1, "augmented": 0.1}
RELEASED = {"text_attention": True, "projections": True, "ctc": "sum", "contrast": "released", "cut_s": 0.06}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> TinyLake:
    return tiny_lake(tmp_path_factory.mktemp("mmer") / "lake", n_utterances=24)


def _student(**fields: Any) -> Mmer:
    return Mmer(**{**FIELDS["mmer"], **fields})


def _batch(lake: TinyLake, n_letters: int = 2) -> Batch:
    """With so few letters of each text that they fit into the frames of these clips, which are far too short for it."""
    batch = batch_of(lake, ROLES)
    return replace(batch, texts={"text": tuple(text[:n_letters] for text in batch.texts["text"])})


def _network(lake: TinyLake, **fields: Any) -> Any:
    """Prepared, and without chance."""
    torch.manual_seed(0)
    placed = {"audio": lake.weights[lake.encoders["audio"]]}
    network = _student(**fields).module(SHAPES | TOLD, CLASSES, None, placed)
    network.prepare([_batch(lake)])
    return network.eval()


# -- variants ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fields", "inputs", "objective"), first(4, [
    ({}, ("wave", "text_states"), PAPER),
    (RELEASED, ("wave", "text_states"), PAPER),
    ({"modalities": "audio"}, ("wave",), PAPER),
    ({"modalities": "text"}, ("text_states",), {"label": 1.0}),
    ({"fusion": "concatenation"}, ("wave", "text_states"), PAPER),
    ({"width": 16, "similarity": "cosine"}, ("wave", "text_states"), {"label": 1.0, "supervised": 0.1}),
]))  # fmt: skip
def test_every_variant_is_fitted_and_read_again(
    lake: TinyLake, fields: dict[str, Any], inputs: tuple[str, ...], objective: dict[str, float]
) -> None:
    student = _student(**fields)
    assert student.inputs == inputs
    asked = order(lake, "mmer", fields=fields, objective=objective, fit={"epochs": 1})
    checkpoint = fitted(lake, asked)
    card, network = load(checkpoint.folder)
    assert card.student == student
    batch = batch_of(lake, student.inputs)
    with torch.inference_mode():
        together = network(batch)
        alone = torch.cat([network(batch_of(lake, student.inputs, ids=[one])) for one in batch.ids])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_an_ablation_reads_nothing_that_it_is_not_taught(lake: TinyLake) -> None:
    own = {"shards:wave", "shards:text_states"}
    told = {"shards:augmented_wave", "shards:augmented_states"}

    def read(*terms: str) -> set[str]:
        inputs = order(lake, "mmer", objective={term: PAPER[term] for term in terms}).inputs
        return {role for role in inputs if role.startswith("shards:")}

    assert read("label", "supervised") == own
    assert read("label", "ctc") == own | {"shards:text"}
    assert read(*PAPER) == own | told | {"shards:text"}
    without = {role: lake.shards[role] for role in ROLES if not role.startswith("augmented")}
    with pytest.raises(RoleMissing, match="augmented_wave"):
        order(lake, "mmer", objective=PAPER, shards=without)


def test_characters_are_those_of_the_training_part(lake: TinyLake) -> None:
    checkpoint = fitted(lake, order(lake, "mmer", objective=PAPER, fit={"epochs": 1}))
    _, network = load(checkpoint.folder)
    texts = batch_of(lake, ("text",)).texts["text"]
    assert isinstance(network, MmerNetwork)
    assert network.alphabet == "".join(sorted({letter for text in texts for letter in text.upper()}))
    assert network.spell.out_features == len(network.alphabet) + 1
    plain = load(fitted(lake, order(lake, "mmer", fit={"epochs": 1})).folder)[1]
    assert not hasattr(plain, "spell"), "nobody taught it"


def test_its_convolutions_do_not_learn_and_all_else_does(lake: TinyLake) -> None:
    network = _network(lake, projections=True, text_attention=True)
    sum(network.losses(_batch(lake), list(PAPER)).values()).backward()
    without = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    assert without and all("front.convolutions" in name for name in without)


# -- the four losses ---------------------------------------------------------------------------------------------


def _by_hand(network: Any, batch: Batch, wave: str = "wave", states: str = "text_states") -> tuple[Tensor, Tensor]:
    """mp(A) and mp(M) of section 3.2 and 3.3."""
    frames, mask = network.audio_encoder(batch.arrays[wave], batch.lengths[wave])
    text, text_mask = states_of(batch, states)
    fused = network.interaction(network.widen["audio"](frames), mask, network.widen["text"](text), text_mask)
    return masked_max(frames, mask), masked_max(fused, text_mask)


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_the_terms_are_the_losses_of_section_3_3(lake: TinyLake, similarity: Any) -> None:
    network, batch = _network(lake, similarity=similarity), _batch(lake)
    with torch.inference_mode():
        found = network.losses(batch, list(PAPER))
        audio, fused = _by_hand(network, batch)
        _, again = _by_hand(network, batch, "augmented_wave", "augmented_states")
        frames, mask = network.audio_encoder(batch.arrays["wave"], batch.lengths["wave"])
        logits = network.classify(torch.cat([audio, fused], dim=-1))
        spelled = network.spell(frames), mask.sum(1), *ctc_targets(batch.texts["text"], network.alphabet)
        if similarity == "cosine":
            fused, again = functional.normalize(fused, dim=-1), functional.normalize(again, dim=-1)
        expected = {
            "label": functional.cross_entropy(logits, batch.labels),
            "ctc": losses.ctc(*spelled),
            "supervised": supervised_contrastive(fused, batch.labels, 0.07),
            "augmented": augmented_contrastive(fused, again, 0.07),
        }
        torch.testing.assert_close(network(batch), logits)
    assert all(value > 0.01 for value in expected.values())
    for term, value in expected.items():
        torch.testing.assert_close(found[term], value, rtol=1e-4, atol=1e-5)
        with torch.inference_mode():
            torch.testing.assert_close(network.losses(batch, [term]), {term: found[term]})


def test_the_options_are_those_of_the_released_code(lake: TinyLake) -> None:
    network, batch = _network(lake, **RELEASED), _batch(lake, 1)
    n_most = 960
    assert int(batch.lengths["wave"].max()) > n_most > int(batch.lengths["wave"].min()), "some are cut"
    with torch.inference_mode():
        found = network.losses(batch, list(PAPER))
        pooled = []
        for wave, states in (("wave", "text_states"), ("augmented_wave", "augmented_states")):
            heard = network.audio_encoder(batch.arrays[wave][:, :n_most], batch.lengths[wave].clamp(max=n_most))
            text, text_mask = states_of(batch, states)
            text = network.text_attention(network.widen["text"](text), text_mask)
            fused = network.interaction(network.widen["audio"](heard[0]), heard[1], text, text_mask)
            pooled.append(torch.cat([masked_max(*heard), masked_max(fused, text_mask)], dim=-1))
            if wave == "wave":
                targets = ctc_targets(batch.texts["text"], network.alphabet)
                ctc = losses.ctc(network.spell(heard[0]), heard[1].sum(1), *targets, "sum")
        own, again = network.project["own"](pooled[0]), network.project["told_again"](pooled[1])
        torch.testing.assert_close(found["label"], functional.cross_entropy(network.classify(pooled[0]), batch.labels))
        torch.testing.assert_close(found["ctc"], ctc)
        assert ctc > 0
        torch.testing.assert_close(found["supervised"], supervised_contrastive(own, batch.labels, 0.07, True))
        torch.testing.assert_close(found["augmented"], augmented_contrastive(own, again, 0.07))


def test_the_contrasts_of_one_utterance_are_nothing(lake: TinyLake) -> None:
    network = _network(lake)
    one = batch_of(lake, ROLES, ids=batch_of(lake, ROLES).ids[:1])
    found = network.losses(one, ["supervised", "augmented"])
    assert found["supervised"].item() == found["augmented"].item() == 0


def test_what_has_no_label_is_left_to_the_other_terms(lake: TinyLake) -> None:
    network, batch = _network(lake), _batch(lake)
    unlabelled = replace(batch, labels=torch.full_like(batch.labels, NO_LABEL))
    found = network.losses(unlabelled, list(PAPER))
    assert found["label"].item() == found["supervised"].item() == 0 < found["ctc"].item()
    assert all(value.isfinite() for value in found.values())


def test_descending_a_term_does_what_it_is_for(lake: TinyLake) -> None:
    """Utterances of a class, and an utterance and what was told again of it, come nearer than others; and it learns to
    spell."""
    batch = _batch(lake)
    for term in ("supervised", "augmented", "ctc"):
        network = _network(lake, similarity="cosine", dropout=0.0)
        optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=3e-3)
        values = []
        for _ in range(15):
            optimizer.zero_grad()
            loss = network.losses(batch, [term])[term]
            loss.backward()
            optimizer.step()
            values.append(loss.item())
        assert values[-1] < 0.9 * values[0], term


# -- sizes -------------------------------------------------------------------------------------------------------


def _count(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def test_its_size_is_the_papers_without_the_feed_forward_layers(tmp_path: Path) -> None:
    """The paper says 228 M. wav2vec 2.0 and RoBERTa base are 218.4 M; gate, map, classes, 28 characters and three
    encoders of attention alone make it 227.9 M, with their feed-forward layers, of which section 3.2.2 speaks, 242.1.
    RoBERTa's are not among the student's own, 118.0 M, because its states are stored."""
    transformers.Wav2Vec2Config().save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    shapes = {"wave": (9, 1), "text_states": (1, 5, 768), "augmented_wave": (9, 1), "augmented_states": (1, 5, 768)}
    sizes: dict[str, Any] = {"vocab_size": 50_265, "max_position_embeddings": 514, "type_vocab_size": 1}
    with torch.device("meta"):
        text = transformers.RobertaModel(transformers.RobertaConfig(**sizes), add_pooling_layer=False)
        networks = []
        for student in (Mmer(), Mmer(text_attention=True, projections=True)):
            network: Any = student.module(shapes | {"text": ()}, "abcd", None, {"audio": tmp_path})
            network._spell_with("ABCDEFGHIJKLMNOPQRSTUVWXYZ ")
            networks.append(network)
    network, released = networks
    assert _count(text) == 124_055_040
    assert {name: _count(part) for name, part in network.named_children()} == {
        "audio_encoder": 94_370_944, "widen": 0, "interaction": 23_624_448, "classify": 6_148, "spell": 21_532,
    }  # fmt: skip
    encoders = network.interaction.b, network.interaction.c, network.interaction.d
    assert _count(network, text) == 242_078_112
    assert _count(network, text) - sum(_count(one.widen, one.narrow) for one in encoders) == 227_910_816
    assert _count(released) - _count(network) == 7_087_872 + 3_542_016  # self-attention; two projections
    learns = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    assert learns == _count(network) - 4_200_448  # the convolutions


# -- both modalities ---------------------------------------------------------------------------------------------


def _either_or(n: int, seed: int) -> Batch:
    """The class is whether the tone is high or the states are, but not both."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(2, size=(n, 2))
    time_s = np.arange(900) / 16_000
    tones = [0.5 * np.sin(2 * np.pi * (3600 if high else 400) * time_s) for high, _ in bits]
    arrays = {
        "wave": [(tone + 0.02 * rng.normal(size=900))[:, None] for tone in tones],
        "text_states": [rng.normal(size=(3, 4)) * 0.3 + (2 * high - 1) for _, high in bits],
    }
    return collate([f"u{i}" for i in range(n)], arrays, {}, (bits[:, 0] ^ bits[:, 1]).tolist())


def _accuracy(lake: TinyLake, seed: int, **fields: Any) -> float:
    torch.manual_seed(seed)
    student = Mmer(width=16, heads=2, feed_forward=32, dropout=0.0, **fields)
    encoders = {"audio": lake.weights[lake.encoders["audio"]]}
    network: Any = student.module({"wave": (900, 1), "text_states": (3, 4)}, ("a", "b"), None, encoders)
    if student.encoders:
        remember_frames(network)
    train, test = _either_or(32, seed), _either_or(64, seed + 100)
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=5e-3)
    for _ in range(40):
        optimizer.zero_grad()
        network.losses(train, ["label"])["label"].backward()
        optimizer.step()
    network.eval()
    with torch.inference_mode():
        return float((network(test).argmax(dim=-1) == test.labels).float().mean())


@pytest.mark.slow
def test_it_beats_either_modality_where_the_answer_needs_both(lake: TinyLake) -> None:
    """And so it beats the concatenation, a linear layer on both, which cannot tell either-or."""
    others: Sequence[dict[str, Any]] = ({"modalities": "audio"}, {"modalities": "text"}, {"fusion": "concatenation"})
    for seed in range(3):
        assert _accuracy(lake, seed) > 0.95
        assert max(_accuracy(lake, seed, **fields) for fields in others) < 0.75


# -- mistakes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fields", "told"), [
    ({"heads": 3}, r"'width' is 8, but must be a multiple of heads \(3\)"),
    ({"text_attention": True, "modalities": "text"}, "'text_attention' must not be given: there is no interaction"),
])  # fmt: skip
def test_fields_that_cannot_be(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidField, match=told):
        _student(**fields)


@pytest.mark.parametrize(("role", "shape", "told"), [
    ("text_states", (13, 3, STATE_DIM), "steps of one layer are wanted"),
    ("augmented_states", (1, 3, 7), r"'text_states' has \(1, 3, 10\), and both must be of one encoder"),
    ("text", (3,), "this student spells text"),
])  # fmt: skip
def test_shards_that_do_not_fit(role: str, shape: tuple[int, ...], told: str) -> None:
    with pytest.raises(ShapeDiffers, match=told):
        _student().module(SHAPES | TOLD | {role: shape}, CLASSES, None)


def test_it_begins_with_its_encoder(tmp_path: Path) -> None:
    with pytest.raises(InvalidField, match="'init' cannot be given: it begins with its encoder"):
        _student().module(SHAPES, CLASSES, tmp_path)
