"""The training loop: one file, one loop."""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from models import checkpoint, metrics
from models.batch import NO_LABEL, Batch
from models.checkpoint import build_network
from models.determinism import reproducible
from models.encoders import describe, placed_folder
from models.inputs import input_folders
from models.orders import Fit, FitOrder, encoder_digests, read_fit, shard_roles
from models.plugin import Progress, wave_roles
from models.schedule import Drops, rate_factor
from models.stream import Stream, read_split
from warehouse import Request, Warehouse
from warehouse.errors import Diverged, InvalidField, LabelsMissing, PartEmpty

if TYPE_CHECKING:
    from models.network import Network

__all__ = ["Fit", "write"]

HISTORY = "history.csv"

Row = dict[str, float]

logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it greets; only our own words reach the reader


def write(
    warehouse: Warehouse, request: Request, folder: Path, progress: Progress, device: str = "cpu", n_processes: int = 1,
    weights: Mapping[str, Path] | None = None,
) -> None:  # fmt: skip
    """Fits the student that a request orders and writes its checkpoint: the network's files, `student.json` and,
    unless it was solved in closed form, `history.csv` with one row per epoch.

    The epoch of least dev loss is kept, of equal ones the first; the last one where the split has no dev part.
    The test part is never read. On a CPU the same request gives the same bytes.

    Args:
        device: 'cpu', 'cuda', 'mps' or 'auto'; where, never what.
        n_processes: one per device; they share the batches of each optimiser step.
        weights: digest of the record of a placed checkpoint -> the folder where it lies here.

    Raises:
        EmolakeError: the request is not one of a fit, an input is missing or unfit, the loss diverges.
    """
    order = read_fit(request)
    n_shared = order.fit.accumulate if order.fit else 1
    if n_processes > n_shared:
        problem = f"are {n_processes}, but a step has {n_shared} batches to share: raise 'accumulate' or use fewer"
        raise InvalidField("the job", "processes", problem)
    folders = input_folders(warehouse, request)
    fabric = Fabric(
        accelerator=device,
        devices=n_processes,
        strategy="ddp_spawn" if n_processes > 1 else "auto",
        precision=order.fit.precision if order.fit else "32-true",
    )
    first = order.student.inputs[0]
    roles = sorted(shard_roles(request), key=lambda role: (role != first, role))
    shards = {role: folders[f"shards:{role}"] for role in roles}
    init = folders["init"][0] if "init" in folders else None
    split = folders["split"][0] / "split.parquet"
    placed = {slot: placed_folder(warehouse, d, weights or {}) for slot, d in encoder_digests(request).items()}
    fabric.launch(
        partial(
            _fit, order=order, shards=shards, split=split, init=init, encoders=placed, folder=folder, progress=progress
        )
    )


def _fit(
    fabric: Fabric, *, order: FitOrder, shards: Mapping[str, Sequence[Path]], split: Path, init: Path | None,
    encoders: Mapping[str, Path], folder: Path, progress: Progress,
) -> None:  # fmt: skip
    """What each process does."""
    parts = read_split(split)
    if "train" not in parts:
        raise PartEmpty("train", parts)
    with reproducible(order.seed):
        budget = order.fit.batch_frames if order.fit else 1
        streams = {
            part: Stream(shards, part, parts[part], order.classes, budget, wave_roles(order.student))
            for part in ("train", "dev") if part in parts
        }  # fmt: skip
        if "label" in order.objective:
            for part, stream in streams.items():
                if not any(label != NO_LABEL for label in stream.labels.values()):
                    raise LabelsMissing(part, 0, "the objective has the term 'label'")
        shapes = streams["train"].shapes
        network = build_network(order.student, shapes, order.classes, init, encoders)
        history: list[Row] = []
        if order.fit is None:
            network.solve(streams["train"].batches())
            progress(1, 1, "solved")
        else:
            network.prepare(streams["train"].batches())
            history = _descend(fabric, network, order, order.fit, streams["train"], streams.get("dev"), progress)
        if fabric.is_global_zero:
            checkpoint.save(network, order.step, order.student, order.classes, shapes, folder)
            for slot, source in encoders.items():
                describe(source, checkpoint.encoder_folder(folder, slot))
            if history:
                _write_history(folder / HISTORY, history)


class _Step(nn.Module):
    """What Fabric wraps, so that losses and logits alike pass through its precision and its exchange of gradients.

    The batch comes inside a function, because Fabric rounds every number it finds among the arguments to the half
    precision of '16-mixed' and 'bf16-mixed', and features must not be rounded before they are standardised.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: Callable[[], Batch], terms: Sequence[str] = ()) -> Tensor | dict[str, Tensor]:
        """The loss terms named; the logits where none is."""
        return self.network.losses(batch(), terms) if terms else self.network(batch())


def _descend(
    fabric: Fabric, network: Network, order: FitOrder, fit: Fit, train: Stream, dev: Stream | None, progress: Progress
) -> list[Row]:
    """Trains the network, leaves it as it was after the epoch that is kept, and tells what every epoch gave."""
    kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer: Any = kinds[fit.optimizer](trained, lr=fit.learning_rate, weight_decay=fit.weight_decay)
    module: Any
    module, optimizer = fabric.setup(_Step(network), optimizer)
    history: list[Row] = []
    kept, least, weights = 0, math.inf, {}
    drops = Drops(fit)
    for epoch in range(1, fit.epochs + 1):
        row = {"epoch": epoch} | _one_epoch(fabric, module, optimizer, order, fit, train, epoch, drops.n)
        if not math.isfinite(row["train_loss"]):
            raise Diverged(epoch)
        if dev is not None:
            row |= fabric.broadcast(_evaluate(fabric, module, order, dev))
            drops.see(row["dev_loss"])
        history.append(row)
        shown = "dev" if dev else "train"
        progress(epoch, fit.epochs, f"{shown} loss {row[f'{shown}_loss']:.4g}")
        if dev is None or row["dev_loss"] < least:
            kept, least = epoch, row.get("dev_loss", math.inf)
            weights = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
        elif fit.patience and epoch - kept >= fit.patience:
            progress(fit.epochs, fit.epochs, f"no lower dev loss since epoch {kept}")
            break
    network.load_state_dict(weights)
    return [row | {"kept": int(row["epoch"] == kept)} for row in history]


def _one_epoch(
    fabric: Fabric, module: Any, optimizer: Any, order: FitOrder, fit: Fit, train: Stream, epoch: int, n_drops: int
) -> Row:
    """One pass over the training part; the mean losses, with the dropout and batch statistics of training."""
    module.train()
    groups = train.shuffled(order.seed, epoch)
    steps = [groups[i : i + fit.accumulate] for i in range(0, len(groups), fit.accumulate)]
    sums = dict.fromkeys(order.objective, 0.0)
    for number, step in enumerate(steps):
        rate = fit.learning_rate * rate_factor(fit, epoch - 1 + (number + 0.5) / len(steps), n_drops)
        for group in optimizer.param_groups:
            group["lr"] = rate
        mine = step[fabric.global_rank :: fabric.world_size]
        share = fabric.world_size / len(step)  # processes average their gradients, the batches of a step count alike
        if not mine:
            mine, share = step[:1], 0.0  # a last, short step: take part in the exchange, add nothing
        for position, batch in enumerate(train.batches(mine)):
            with fabric.no_backward_sync(module, enabled=position < len(mine) - 1):
                terms = module(partial(batch.to, fabric.device), tuple(order.objective))
                fabric.backward(_total(terms, order.objective) * share)
            for term, value in terms.items():
                sums[term] += value.item() * len(batch) * (share > 0)
        if fit.gradient_clip:
            fabric.clip_gradients(module, optimizer, max_norm=fit.gradient_clip, error_if_nonfinite=False)
        optimizer.step()
        optimizer.zero_grad()
    if fabric.world_size > 1:
        total: Any = fabric.all_reduce(torch.tensor(list(sums.values()), dtype=torch.float64), reduce_op="sum")
        sums = dict(zip(sums, total.tolist(), strict=True))
    return {"learning_rate": rate} | _means("train", sums, len(train), order.objective)


@torch.no_grad()
def _evaluate(fabric: Fabric, module: Any, order: FitOrder, dev: Stream) -> Row:
    """The losses of the dev part, and the mean recall where it has labels."""
    module.eval()
    sums = dict.fromkeys(order.objective, 0.0)
    labels: list[int] = []
    predicted: list[int] = []
    for batch in dev.batches():
        moved = partial(batch.to, fabric.device)
        for term, value in module(moved, tuple(order.objective)).items():
            sums[term] += value.item() * len(batch)
        labelled = batch.labels != NO_LABEL
        if labelled.any():
            labels += batch.labels[labelled].tolist()
            predicted += module(moved)[labelled].argmax(dim=-1).tolist()
    row = _means("dev", sums, len(dev), order.objective)
    if labels:
        named = [order.classes[i] for i in labels], [order.classes[i] for i in predicted]
        row["dev_uar"] = metrics.scores(*named, order.classes)["uar"]
    return row


def _total(terms: Mapping[str, Any], objective: Mapping[str, float]) -> Any:
    return sum(weight * terms[term] for term, weight in objective.items())


def _means(part: str, sums: Mapping[str, float], n: int, objective: Mapping[str, float]) -> Row:
    means = {term: value / n for term, value in sums.items()}
    return {f"{part}_loss": _total(means, objective)} | {f"{part}_{term}": mean for term, mean in means.items()}


def _write_history(path: Path, history: Sequence[Row]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(history[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: f"{value:.9g}" for name, value in row.items()} for row in history)
