"""The training loop: one file, one loop."""

from __future__ import annotations

import csv
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from models import checkpoint, metrics
from models.ahead import ahead
from models.batch import NO_LABEL, Batch
from models.checkpoint import build_network
from models.cost import Spent, cost_of, forget_peaks
from models.determinism import reproducible
from models.encoders import PlacedEncoder, describe, initial_folder, placed_encoder
from models.inputs import input_folders
from models.logs import Log, gradient_norm, log_folder
from models.networks.taught import with_teacher
from models.orders import LOOP, Fit, FitOrder, encoder_digests, read_fit, shard_roles
from models.pace import Pace, Remaining, seconds_of
from models.plugin import Progress, wave_roles
from models.processes import fabric_for, n_sharing
from models.resume import SAVE_EVERY_S, States, state_folder
from models.schedule import Drops, rate_factor
from models.snapshot import Course, Keeper, Row, put_back, trained
from models.stream import Stream, read_split, read_votes
from warehouse import Request, Warehouse
from warehouse.errors import Diverged, InvalidField, LabelsMissing, PartEmpty

if TYPE_CHECKING:
    from models.network import Network

__all__ = ["Fit", "write"]

HISTORY = "history.csv"

logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it greets; only our own words reach the reader


def write(
    warehouse: Warehouse, request: Request, folder: Path, progress: Progress, device: str = "cpu", n_processes: int = 1,
    weights: Mapping[str, Path] | None = None, save_every_s: float = SAVE_EVERY_S,
) -> dict[str, Any]:  # fmt: skip
    """Fits the student that a request orders and writes its checkpoint: the network's files, `student.json` and,
    unless it was solved in closed form, `history.csv` with one row per epoch.

    The epoch of least dev loss is kept, of equal ones the first; the last one where the split has no dev part.
    The test part is never read. On a CPU the same request gives the same bytes, also where a fit was ended in any way
    and begins again: it goes on from its last state (`models.resume`).

    Args:
        device: 'cpu', 'cuda', 'mps' or 'auto'; where, never what.
        n_processes: one per device, at most; they share the batches of each optimiser step, so there are no more than
            these.
        weights: digest of the record of a placed checkpoint -> the folder where it lies here.
        save_every_s: seconds of work between two states, at least.

    Returns:
        What it cost (`models.cost.cost_of`).

    Raises:
        EmolakeError: the request is not one of a fit, an input is missing or unfit, the loss diverges.
    """
    order = read_fit(request)
    n_processes = n_sharing(n_processes, order.fit.accumulate) if order.fit else 1  # a closed form has no steps
    folders = input_folders(warehouse, request)
    fabric = fabric_for(device, n_processes, order.fit.precision if order.fit else "32-true")
    first = order.student.inputs[0]
    roles = sorted(shard_roles(request), key=lambda role: (role != first, role))
    shards = {role: folders[f"shards:{role}"] for role in roles}
    init = initial_folder(warehouse, request, weights or {})
    split = folders["split"][0] / "split.parquet"
    votes = folders["votes"][0] / "votes.parquet" if order.fit and order.fit.soft_labels else None
    placed = {slot: placed_encoder(warehouse, d, weights or {}) for slot, d in encoder_digests(request).items()}
    origin = {"key": request.key, "loop": LOOP, "torch": torch.__version__, "device": fabric.device.type,
              "processes": n_processes}  # fmt: skip
    url = warehouse.store.url if warehouse.store else ""
    states = States(state_folder(warehouse.root, request.key), folder, origin, save_every_s, url)
    cost: dict[str, Any] = fabric.launch(
        partial(
            _fit, order=order, shards=shards, split=split, votes=votes, init=init, encoders=placed, states=states,
            folder=folder, log_to=log_folder(warehouse.root, request.key), seconds=seconds_of(warehouse, request),
            progress=progress, lake=warehouse.root,
        )
    )  # fmt: skip
    return cost


def _fit(
    fabric: Fabric, *, order: FitOrder, shards: Mapping[str, Sequence[Path]], split: Path, votes: Path | None,
    init: Path | None, encoders: Mapping[str, PlacedEncoder], states: States, folder: Path, log_to: Path,
    seconds: Mapping[str, float], progress: Progress, lake: Path,
) -> dict[str, Any]:  # fmt: skip
    """What each process does, and what that cost; the first one tells."""
    Warehouse(lake)  # by which a process that was just started knows where shards are fetched from
    forget_peaks(fabric.device)
    spent = Spent()
    if not fabric.is_global_zero:
        progress = _silent
    parts = read_split(split)
    if "train" not in parts:
        raise PartEmpty("train", parts)
    with reproducible(order.seed):
        budget = order.fit.batch_frames if order.fit else 1
        if order.fit and order.fit.schedule == "plateau" and "dev" not in parts:
            raise InvalidField("fit", "schedule", "is 'plateau', but the split has no dev part to have one")
        counted = read_votes(votes) if votes else None
        streams = {
            part: Stream(shards, part, parts[part], order.classes, budget, wave_roles(order.student), counted)
            for part in ("train", "dev") if part in parts
        }  # fmt: skip
        if "label" in order.objective:
            for part, stream in streams.items():
                if not any(label != NO_LABEL for label in stream.labels.values()):
                    raise LabelsMissing(part, 0, "the objective has the term 'label'")
        shapes = streams["train"].shapes
        folders = {slot: placed.folder for slot, placed in encoders.items()}
        network = build_network(order.student, shapes, order.classes, init, folders)
        history: list[Row] = []
        if order.fit is None:
            groups = streams["train"].in_order()
            with spent.on(streams["train"].n_steps(groups), groups):
                network.solve(streams["train"].batches(groups))
            progress(1, 1, "solved")
        else:
            learner = with_teacher(network, order, shapes)
            network.prepare(streams["train"].batches())
            network.set_label_loss(order.fit, streams["train"].labels.values(), len(order.classes))
            dev = streams.get("dev")
            pace = Pace(streams["train"], seconds)
            with closing(Log(log_to if fabric.is_global_zero else None, pace, order.objective)) as log:
                history = _descend(
                    fabric, learner, order, order.fit, streams["train"], dev, states, log, spent, progress
                )
        if fabric.is_global_zero:
            checkpoint.save(network, order.step, order.student, order.classes, shapes, folder)
            for slot, placed in encoders.items():
                describe(placed, checkpoint.encoder_folder(folder, slot))
            if history:
                _write_history(folder / HISTORY, history)
        return cost_of(network, spent, order.student.inputs[0], fabric.device, fabric.world_size)


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
    fabric: Fabric, network: Network, order: FitOrder, fit: Fit, train: Stream, dev: Stream | None, states: States,
    log: Log, spent: Spent, progress: Progress,
) -> list[Row]:  # fmt: skip
    """Trains the network, leaves it as it was after the epoch that is kept, and tells what every epoch gave."""
    kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer: Any = kinds[fit.optimizer](learned, lr=fit.learning_rate, weight_decay=fit.weight_decay)
    module: Any
    module, optimizer = fabric.setup(_Step(network), optimizer)
    course = Course(dict.fromkeys(order.objective, 0.0))
    keeper = Keeper(fabric, network, optimizer, states)
    keeper.go_on(course)
    drops = Drops(fit)
    for row in course.history if dev is not None else ():
        drops.see(row["dev_loss"])
    *done, going_on = (len(_steps(train, order, fit, epoch)) for epoch in range(1, len(course.history) + 2))
    n_before = sum(done)
    log.open(n_before + course.n_steps)
    remaining = Remaining(len(done) + course.n_steps / going_on, fit.epochs)
    while len(course.history) < fit.epochs:
        epoch = len(course.history) + 1

        def after_step(n_steps: int, epoch: int = epoch) -> None:
            if keeper.keep(course):
                left = remaining.told(epoch - 1 + course.n_steps / n_steps)
                progress(epoch - 1, fit.epochs, f"epoch {epoch}: {course.n_steps} of {n_steps} steps{left}")

        row, worked, lasted_s = _one_epoch(
            fabric, module, optimizer, order, fit, train, course, drops.n, spent, log, n_before, after_step
        )
        if not math.isfinite(row["train_loss"]):
            states.clear()  # beginning again must not end here again
            raise Diverged(epoch)
        if dev is not None:
            row |= fabric.broadcast(_evaluate(fabric, module, order, dev))
            drops.see(row["dev_loss"])
        course.history.append(row)
        n_before += course.n_steps
        course.n_steps, course.sums = 0, dict.fromkeys(course.sums, 0.0)
        log.epoch(n_before, row, worked, lasted_s)
        shown = "dev" if dev else "train"
        pace = log.pace.told(worked, lasted_s)
        progress(epoch, fit.epochs, f"{shown} loss {row[f'{shown}_loss']:.4g}, {pace}{remaining.told(epoch)}")
        kept = _kept(course.history)
        if kept == epoch:
            course.kept = trained(network)
        elif fit.patience and epoch - kept >= fit.patience:
            progress(fit.epochs, fit.epochs, f"no lower dev loss since epoch {kept}")
            break
    put_back(network, course.kept)
    kept = _kept(course.history)
    return [row | {"kept": int(row["epoch"] == kept)} for row in course.history]


def _one_epoch(
    fabric: Fabric, module: Any, optimizer: Any, order: FitOrder, fit: Fit, train: Stream, course: Course, n_drops: int,
    spent: Spent, log: Log, n_before: int, after_step: Callable[[int], None],
) -> tuple[Row, list[list[str]], float]:  # fmt: skip
    """What is left of one pass over the training part: the mean losses of all of it, with the dropout and batch
    statistics of training; what was worked through here and now, and in how many seconds."""
    module.train()
    epoch = len(course.history) + 1
    steps = _steps(train, order, fit, epoch)
    log.begin(course.sums)
    left = steps[course.n_steps :]
    # A last, short step may leave a process nothing: it takes part in the exchange and adds nothing.
    mine = [step[fabric.global_rank :: fabric.world_size] or step[:1] for step in left]
    began_s = time.monotonic()
    own = [group for some in mine for group in some]
    with spent.on(train.n_steps(own), own), closing(ahead(train.loads(fabric.device, own))) as batches:
        for step, some in zip(left, mine, strict=True):
            rate = _rate(fit, epoch, course.n_steps, len(steps), n_drops)
            for parameters in optimizer.param_groups:
                parameters["lr"] = rate
            # Processes average their gradients, the batches of a step count alike.
            share = fabric.world_size / len(step) if fabric.global_rank < len(step) else 0.0
            for position, batch in enumerate(islice(batches, len(some))):
                with fabric.no_backward_sync(module, enabled=position < len(some) - 1):
                    terms = module(partial(batch.to, fabric.device), tuple(order.objective))
                    fabric.backward(_total(terms, order.objective) * share)
                for term, value in terms.items():
                    course.sums[term] += value.item() * len(batch) * (share > 0)
            number, norm = n_before + course.n_steps + 1, None
            if fit.gradient_clip:
                norm = fabric.clip_gradients(module, optimizer, max_norm=fit.gradient_clip, error_if_nonfinite=False)
            elif log.is_due(number):
                norm = gradient_norm(fabric, module, optimizer)
            optimizer.step()
            optimizer.zero_grad()
            course.n_steps += 1
            log.step(number, some, course.sums, rate, norm)
            after_step(len(steps))
    worked = [group for step in left for group in step]
    lasted_s = time.monotonic() - began_s
    sums = course.sums
    if fabric.world_size > 1:
        total: Any = fabric.all_reduce(torch.tensor(list(sums.values()), dtype=torch.float64), reduce_op="sum")
        sums = dict(zip(sums, total.tolist(), strict=True))
    rate = _rate(fit, epoch, len(steps) - 1, len(steps), n_drops)
    row = {"epoch": epoch, "learning_rate": rate} | _means("train", sums, len(train), order.objective)
    return row, worked, lasted_s


def _steps(train: Stream, order: FitOrder, fit: Fit, epoch: int) -> list[list[list[str]]]:
    """The ids of every batch of every optimiser step of an epoch."""
    groups = train.shuffled(order.seed, epoch)
    return [groups[i : i + fit.accumulate] for i in range(0, len(groups), fit.accumulate)]


def _rate(fit: Fit, epoch: int, number: int, n_steps: int, n_drops: int) -> float:
    """The learning rate of one optimiser step of an epoch."""
    return fit.learning_rate * rate_factor(fit, epoch - 1 + (number + 0.5) / n_steps, n_drops)


def _kept(history: Sequence[Row]) -> int:
    """The epoch of least dev loss, of equal ones the first; the last one where there is no dev part."""
    if "dev_loss" not in history[-1]:
        return len(history)
    losses = [math.inf if math.isnan(row["dev_loss"]) else row["dev_loss"] for row in history]
    return losses.index(min(losses)) + 1


@torch.no_grad()
def _evaluate(fabric: Fabric, module: Any, order: FitOrder, dev: Stream) -> Row:
    """The losses of the dev part, and the mean recall where it has labels."""
    module.eval()
    sums = dict.fromkeys(order.objective, 0.0)
    labels: list[int] = []
    predicted: list[int] = []
    for batch in ahead(dev.loads(fabric.device)):
        moved = cache(partial(batch.to, fabric.device))
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


def _silent(done: int, total: int, note: str) -> None:
    """The progress of all processes but the first."""


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
