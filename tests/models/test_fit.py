from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models import fit
from models.batch import collate
from models.checkpoint import load
from models.determinism import reproducible
from models.networks.mced import MaskedConvolution
from models.orders import Fit, predict_request
from models.processes import fabric_for
from models.stream import Stream, read_split
from models.students.pooled import Pooled
from tests.models.tiny_lake import FIT, TinyLake, batch_of, fitted, order, predictions, silent, tiny_lake, voted
from tests.sparing import first
from warehouse import Artifact, Warehouse, copies
from warehouse.errors import Diverged, InvalidField, LabelsMissing, PartEmpty, RowsMissing


def _history(artifact: Artifact) -> list[dict[str, float]]:
    with open(artifact.path("history.csv"), newline="") as stream:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(stream)]


def test_a_student_learns_what_the_frames_carry(lake: TinyLake) -> None:
    artifact = fitted(lake, order(lake, "mced", fit={"epochs": 12}))
    history = _history(artifact)
    assert history[-1]["train_loss"] < history[0]["train_loss"] / 2
    request = predict_request("mced", {}, artifact.digest, shards=lake.shards, split=lake.split)
    rows = predictions(lake, request)
    assert sum(row["label"] == row["predicted"] for row in rows) / len(rows) > 0.8  # chance: 1/3


def test_a_student_learns_from_its_teacher_alone(lake: TinyLake) -> None:
    objective = {"response": 1.0, "feature": 1.0}
    unlabelled = tiny_lake(lake.warehouse.root, labelled=False)
    artifact = fitted(unlabelled, order(unlabelled, "mced", objective=objective, fit={"epochs": 12}))
    rows = predictions(lake, predict_request("mced", {}, artifact.digest, shards=lake.shards, split=lake.split))
    assert sum(row["label"] == row["predicted"] for row in rows) / len(rows) > 0.8
    assert "dev_uar" not in _history(artifact)[0]


def test_the_same_request_gives_the_same_bytes(lake: TinyLake, tmp_path: Path) -> None:
    settings = {"accumulate": 2, "warmup_fraction": 0.3}
    request = order(lake, "mced", objective={"label": 1.0, "feature": 1.0}, fit=settings)
    torch.rand(3)  # chance outside is no chance inside
    again = tiny_lake(tmp_path / "lake")
    assert fitted(lake, request).digest == fitted(again, request).digest
    assert fitted(lake, order(lake, "mced", seed=1)).digest != fitted(lake, order(lake, "mced", seed=2)).digest


@pytest.mark.parametrize("student", first(1, ["mced", "cmd", "multilevel"]))  # frames, sound and text, layers
def test_what_is_packed_and_padded_by_the_device_gives_the_same_bytes(
    lake: TinyLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, student: str
) -> None:
    """As a GPU gets its batches; on a CPU they are padded at once."""
    request = order(lake, student)
    padded = fitted(lake, request).digest
    monkeypatch.setattr(Stream, "loads", lambda self, device, groups=None: self.packed(groups))
    assert fitted(tiny_lake(tmp_path / "lake"), request).digest == padded


def test_chance_outside_is_not_disturbed(lake: TinyLake, tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    fit.write(lake.warehouse, order(lake, "mced"), tmp_path, silent)
    assert torch.equal(torch.rand(4), expected)
    assert not torch.are_deterministic_algorithms_enabled()


def test_inside_there_is_one_thread_and_one_seed() -> None:
    before = torch.get_num_threads()
    draws = []
    for _ in range(2):
        with reproducible(3):
            assert torch.get_num_threads() == 1
            assert torch.are_deterministic_algorithms_enabled()
            draws.append(torch.rand(2))
    assert torch.equal(*draws)
    assert torch.get_num_threads() == before


def test_the_epoch_of_least_dev_loss_is_kept(lake: TinyLake) -> None:
    request = order(lake, "mced", fit={"epochs": 6, "learning_rate": 0.03, "schedule": "constant"})
    artifact = fitted(lake, request)
    history = _history(artifact)
    best = min(history, key=lambda row: row["dev_loss"])
    assert [row["epoch"] for row in history if row["kept"]] == [best["epoch"]]
    _, network = load(artifact.folder)
    with torch.inference_mode():
        loss = network.losses(batch_of(lake, ["speech"], "dev"), ["label"])["label"].item()
    assert loss == pytest.approx(best["dev_loss"], rel=1e-3)


def test_without_a_dev_part_the_last_epoch_is_kept(tmp_path: Path) -> None:
    lake = tiny_lake(tmp_path / "lake", n_utterances=12, parts=("train", "test"))
    history = _history(fitted(lake, order(lake, "mced", fit={"epochs": 3})))
    assert [row["kept"] for row in history] == [0, 0, 1]
    assert "dev_loss" not in history[0]


def test_of_equal_dev_losses_the_first_is_kept_and_patience_ends_the_fit(
    lake: TinyLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([3.0, 2.0, 2.0, 2.5, 2.0, 1.0])
    monkeypatch.setattr(fit, "_evaluate", lambda *_: {"dev_loss": next(losses)})
    history = _history(fitted(lake, order(lake, "mced", fit={"epochs": 6, "patience": 3}, seed=77)))
    assert [(row["epoch"], row["kept"]) for row in history] == [(1, 0), (2, 1), (3, 0), (4, 0), (5, 0)]


def test_the_test_part_is_never_read(tmp_path: Path) -> None:
    here = tiny_lake(tmp_path / "here", n_utterances=16)
    other = tiny_lake(tmp_path / "other", n_utterances=16, parts=("train", "train", "dev", "unused"))
    digests = [fitted(lake, order(lake, "mced")).digest for lake in (here, other)]
    assert digests[0] == digests[1]


@pytest.mark.parametrize(("changes", "expected"), [
    ({"schedule": "linear"}, [0.875, 0.625, 0.375, 0.125]),
    ({"schedule": "constant"}, [1, 1, 1, 1]),
    ({"schedule": "linear", "warmup_fraction": 0.5}, [0.25, 0.75, 0.75, 0.25]),
    ({"schedule": "constant", "warmup_fraction": 0.25}, [0.5, 1, 1, 1]),
    ({"schedule": "exponential", "warmup_fraction": 0.25, "decay": 0.5}, [0.5, 1, 0.5, 0.25]),
])  # fmt: skip
def test_the_learning_rate_follows_its_schedule(tmp_path: Path, changes: dict[str, Any], expected: list[float]) -> None:
    lake = tiny_lake(tmp_path / "lake", n_utterances=4, n_frames=(3, 4), parts=("train",))
    settings = {"epochs": 4, "learning_rate": 1e-3, "batch_frames": 10_000} | changes  # one step per epoch
    history = _history(fitted(lake, order(lake, "mced", fit=settings)))
    assert [row["learning_rate"] / 1e-3 for row in history] == pytest.approx(expected)


def test_the_rate_drops_where_the_dev_loss_makes_a_plateau(lake: TinyLake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "_evaluate", lambda *_: {"dev_loss": 1.0})
    settings = {"epochs": 6, "learning_rate": 1e-3, "schedule": "plateau", "plateau": 2, "decay": 0.1}
    history = _history(fitted(lake, order(lake, "mced", fit=settings)))
    assert [row["learning_rate"] for row in history] == pytest.approx([1e-3, 1e-3, 1e-3, 1e-4, 1e-4, 1e-5])


def test_a_plateau_needs_a_dev_part(tmp_path: Path) -> None:
    lake = tiny_lake(tmp_path / "lake", n_utterances=4, parts=("train",))
    with pytest.raises(InvalidField, match="field 'schedule' is 'plateau', but the split has no dev part to have one"):
        fitted(lake, order(lake, "mced", fit={"schedule": "plateau"}))


def test_another_optimizer_is_another_fit(lake: TinyLake) -> None:
    one, other = (order(lake, "mced", fit={"optimizer": name, "weight_decay": 0.1}) for name in ("adam", "adamw"))
    assert one.key != other.key
    assert fitted(lake, one).digest != fitted(lake, other).digest


@pytest.mark.parametrize("changes", [{"label_smoothing": 0.2}, {"class_weights": "balanced"}])
def test_what_is_minimised_decides_on_the_dev_part_too(lake: TinyLake, changes: dict[str, Any]) -> None:
    plain = fitted(lake, order(lake, "mced"))
    artifact = fitted(lake, order(lake, "mced", fit=changes))
    assert artifact.digest != plain.digest and artifact.files.keys() == plain.files.keys()
    history = _history(artifact)
    best = min(history, key=lambda row: row["dev_loss"])
    assert [row["epoch"] for row in history if row["kept"]] == [best["epoch"]]
    card, network = load(artifact.folder)
    settings = Fit(**FIT | changes)
    network.set_label_loss(settings, batch_of(lake, ["speech"]).labels.tolist(), len(card.classes))
    with torch.inference_mode():
        loss = network.losses(batch_of(lake, ["speech"], "dev"), ["label"])["label"].item()
    assert loss == pytest.approx(best["dev_loss"], rel=1e-3)


def test_raters_who_agree_with_the_label_teach_the_same_and_others_do_not(lake: TinyLake) -> None:
    parts = read_split(lake.warehouse.resolve(lake.split).path("split.parquet"))
    labels = {name: str(label) for part in ("train", "dev") for name, label in parts[part].items()}
    settings = {"soft_labels": True, "class_weights": "balanced", "label_smoothing": 0.1}
    hard = _history(fitted(lake, order(lake, "mced", fit=settings | {"soft_labels": False})))
    for votes in ({name: {label: 3} for name, label in labels.items()}, {"nobody": {"sad": 1}}):
        same = _history(fitted(lake, order(lake, "mced", fit=settings, votes=voted(lake, votes))))
        assert [row["dev_loss"] for row in same] == pytest.approx([row["dev_loss"] for row in hard], rel=1e-4)
    torn = {name: {label: 1} | dict.fromkeys({"sad", "happy"} - {label}, 1) for name, label in labels.items()}
    other = fitted(lake, order(lake, "mced", fit=settings, votes=voted(lake, torn)))
    history = _history(other)
    assert abs(history[-1]["dev_loss"] - hard[-1]["dev_loss"]) > 0.01
    card, network = load(other.folder)
    network.set_label_loss(Fit(**FIT | settings), batch_of(lake, ["speech"]).labels.tolist(), len(card.classes))
    batch = batch_of(lake, ["speech"], "dev")
    shares = [[torn[name].get(label, 0) / sum(torn[name].values()) for label in card.classes] for name in batch.ids]
    with torch.inference_mode():
        loss = network.losses(replace(batch, targets=torch.tensor(shares)), ["label"])["label"].item()
    assert loss == pytest.approx(min(row["dev_loss"] for row in history), rel=1e-3), "dev is judged by votes too"


def test_balanced_weights_let_a_rare_class_be_heard() -> None:
    """Nine in ten are of one class, and frames tell little: without weights nothing else is ever said."""
    common, rare = _recalls("none"), _recalls("balanced")
    assert common[1] < 0.2 and rare[1] > common[1] + 0.3 and rare[0] < common[0]


def _recalls(weights: str) -> list[float]:
    """Of both classes, by a probe of noisy vectors that were taught with these class weights."""
    rng = np.random.default_rng(0)
    labels = (np.arange(400) % 10 == 0).astype(int)
    arrays = [rng.normal(loc=(label, 0), size=(1, 2)).astype(np.float32) for label in labels]
    batch = collate([f"u{i}" for i in range(400)], {"audio_states": arrays}, {}, labels.tolist())
    with reproducible(0):
        network = Pooled(modalities="audio").module({"audio_states": (1, 2)}, ("common", "rare"), None)
        network.prepare([batch])
        network.set_label_loss(Fit(1, 1.0, 1, class_weights=weights), labels.tolist(), 2)  # type: ignore[arg-type]
        optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
        for _ in range(100):
            optimizer.zero_grad()
            network.losses(batch, ["label"])["label"].backward()
            optimizer.step()
        predicted = network(batch).argmax(dim=-1)
    return [float((predicted[batch.labels == c] == c).double().mean()) for c in (0, 1)]


def test_accumulated_batches_make_one_step_of_their_mean(tmp_path: Path) -> None:
    lake = tiny_lake(tmp_path / "lake", n_utterances=2, n_frames=(9, 10), parts=("train",))
    settings = {"epochs": 1, "batch_frames": 9, "accumulate": 2, "schedule": "constant", "gradient_clip": 0.0}
    artifact = fitted(lake, order(lake, "mced", fit=settings, fields={"dropout": 0.0}))
    card, found = load(artifact.folder)
    batches = [batch_of(lake, ["speech"], ids=[utterance_id]) for utterance_id in ("u000", "u037")]
    with reproducible(seed=0):
        network = card.student.module(card.shapes, card.classes, None)
        network.prepare(batches)
        optimizer = torch.optim.AdamW(network.parameters(), lr=FIT["learning_rate"], weight_decay=0.0)
        (sum(network.losses(batch, ["label"])["label"] for batch in batches) / 2).backward()  # type: ignore[union-attr]
        optimizer.step()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(found.get_parameter(name), parameter, rtol=0, atol=1e-5)


def test_mixed_precision_is_used_and_does_not_round_the_features(
    lake: TinyLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[torch.dtype, torch.dtype]] = []
    forward = MaskedConvolution.forward

    def watched(self: MaskedConvolution, x: torch.Tensor, *rest: torch.Tensor) -> Any:
        found = forward(self, x, *rest)
        seen.append((x.dtype, found[0].dtype))
        return found

    monkeypatch.setattr(MaskedConvolution, "forward", watched)
    objective = {"label": 1.0, "response": 1.0, "feature": 1.0}
    request = order(lake, "mced", fit={"precision": "bf16-mixed"}, objective=objective)
    fit.write(lake.warehouse, request, tmp_path, silent)
    assert set(seen) == {(torch.float32, torch.bfloat16), (torch.bfloat16, torch.bfloat16)}
    assert {tensor.dtype for tensor in load(tmp_path)[1].parameters()} == {torch.float32}
    assert capfd.readouterr() == ("", "")


def test_progress_counts_the_epochs(lake: TinyLake, tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    fit.write(lake.warehouse, order(lake, "mced"), tmp_path, lambda *line: seen.append(line))
    assert [line[:2] for line in seen] == [(1, 2), (2, 2)]
    assert all(line[2].startswith("dev loss ") for line in seen)


def test_distilled_weights_are_where_fine_tuning_starts(lake: TinyLake) -> None:
    taught = fitted(lake, order(lake, "mced", objective={"response": 1.0, "feature": 1.0}))
    tuned = fitted(lake, order(lake, "mced", init=taught.digest))
    card = json.loads(tuned.path("student.json").read_bytes())
    assert card["fresh"] == []  # the same classes: even the last layer is the teacher's pupil's
    assert card["shapes"].keys() == {"speech"}
    assert _history(tuned)[0]["train_loss"] < _history(fitted(lake, order(lake, "mced")))[0]["train_loss"]


def test_a_fit_that_fails_leaves_nothing(lake: TinyLake, monkeypatch: pytest.MonkeyPatch) -> None:
    request = order(lake, "mced", seed=123)

    def fail(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fit, "_evaluate", fail)
        with pytest.raises(KeyboardInterrupt):
            fitted(lake, request)
    assert lake.warehouse.find(request) is None
    assert list((lake.warehouse.root / ".scratch").iterdir()) == []
    assert fitted(lake, request).files.keys() == {"model.safetensors", "student.json", "history.csv"}


def test_a_loss_that_is_not_finite_ends_the_fit(lake: TinyLake) -> None:
    with pytest.raises(Diverged, match="the training loss is not finite in epoch 1: lower 'learning_rate'"):
        fitted(lake, order(lake, "mced", fit={"learning_rate": 1e30, "gradient_clip": 0.0}, objective={"label": 1e38}))


def test_mistakes_in_the_split(tmp_path: Path) -> None:
    no_train = tiny_lake(tmp_path / "one", n_utterances=4, parts=("dev", "test"))
    with pytest.raises(PartEmpty, match=r"no utterance in part 'train' \(it has: dev, test\)"):
        fitted(no_train, order(no_train, "mced"))
    no_labels = tiny_lake(tmp_path / "two", n_utterances=4, labelled=False)
    with pytest.raises(LabelsMissing, match="part 'train' of the split has 0 different labels, but the objective has"):
        fitted(no_labels, order(no_labels, "mced"))


def test_an_utterance_that_is_in_no_shard(lake: TinyLake) -> None:
    with pytest.raises(RowsMissing, match="rows of shards of 'speech' for part 'train' are missing"):
        fitted(lake, order(lake, "mced", shards={"speech": lake.shards["speech"][:1]}))


def test_no_more_processes_than_batches_to_share(lake: TinyLake, tmp_path: Path) -> None:
    request = order(lake, "mced")
    fit.write(lake.warehouse, request, tmp_path, silent, n_processes=2)
    alone = fitted(lake, request)
    assert (tmp_path / "model.safetensors").read_bytes() == alone.path("model.safetensors").read_bytes()


def test_a_process_that_was_just_started_fetches_shards_from_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tiny_lake(tmp_path / "lake", n_utterances=4)
    request = order(made, "mced", fit=FIT | {"epochs": 1})
    monkeypatch.setenv("EMOLAKE_COPIES", str(tmp_path / "copies"))
    copy = Warehouse((tmp_path / "lake").as_uri())

    class Started:
        """Starts what it is given as a process does that knows no store."""

        def __init__(self, *given: Any) -> None:
            self.fabric = fabric_for(*given)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.fabric, name)

        def launch(self, work: Any) -> Any:
            copies.REMOTES.clear()
            return self.fabric.launch(work)

    monkeypatch.setattr(fit, "fabric_for", Started)
    fit.write(copy, request, tmp_path, silent)
    copies.REMOTES.clear()
    assert (tmp_path / "model.safetensors").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("objective", [
    {"label": 1.0, "feature": 1.0}, {"feature": 1.0}, {"label": 1.0, "logits": 1.0}, {"features": 1.0},
])  # fmt: skip
def test_two_processes_learn_what_one_learns(tmp_path: Path, objective: dict[str, float]) -> None:
    lake = tiny_lake(tmp_path / "lake", n_utterances=20, n_frames=(20, 21), parts=("train",))
    settings = {"epochs": 2, "batch_frames": 80, "accumulate": 2, "learning_rate": 1e-3}
    request = order(lake, "mced", fit=settings, fields={"dropout": 0.0}, objective=objective)
    weights = []
    for n_processes in (1, 2):
        folder = tmp_path / str(n_processes)
        folder.mkdir()
        cost = fit.write(lake.warehouse, request, folder, silent, n_processes=n_processes)
        assert (cost["processes"], cost["n_utterances"]) == (n_processes, {1: 40, 2: 24}[n_processes]), "3 of 5 batches"
        weights.append(load(folder)[1].state_dict())
    for name, tensor in weights[0].items():
        if "running" not in name and "batches" not in name:  # batch statistics are those of the first process
            torch.testing.assert_close(tensor, weights[1][name], rtol=0, atol=1e-4)
