"""What a fitted model answers to the utterances that its students learn from and are chosen on, as a shard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from models.asked import asked_model
from models.determinism import reproducible
from models.networks.taught import POOLED
from models.orders import TEACH, TEACH_VERSION, TEACHER_TERMS
from models.plugin import Progress, wave_roles
from models.predict import BATCH_FRAMES, BATCH_SAMPLES
from models.stream import Stream
from warehouse import Request, Warehouse
from warehouse.errors import InvalidField, PartEmpty, UnknownName, VersionDiffers
from warehouse.shards import write_shard

PARTS = ("train", "dev")
"""What a teacher may speak of. Nobody who is taught hears of the test part."""

LEAST = -1e4
"""The logit of a class that cannot be, which a teacher solved in closed form may give -∞: its probability is 0 with
either, and with this one a divergence is a number."""


def write(warehouse: Warehouse, request: Request, folder: Path, progress: Progress, device: str = "cpu") -> None:
    """Writes a shard of one float32 vector per utterance, in order of id: the logits, or what the last layers are given
    for them.

    Raises:
        EmolakeError: an input is missing, the split has nothing to teach, or the model nothing to say.
    """
    if request.step != TEACH:
        raise UnknownName("job that writes shards", request.step, (TEACH,))
    if request.version != TEACH_VERSION:
        raise VersionDiffers(TEACH, request.version, TEACH_VERSION)
    role = request.params["source"]["role"]
    roles = [one for several in TEACHER_TERMS.values() for one in several]
    if role not in roles:
        raise UnknownName("role of a teacher", role, roles)
    card, network, shards, parts = asked_model(warehouse, request, "to teach")
    if role == POOLED and not network.last_layers():
        problem = f"must have no weight: the teacher '{card.step}' has no layer before its classes"
        raise InvalidField("the objective", "features", problem)
    mine = {part: parts[part] for part in PARTS if part in parts}
    if not mine:
        raise PartEmpty(PARTS[0], parts)
    waves = wave_roles(card.student)
    budget = BATCH_SAMPLES if card.student.inputs[0] in waves else BATCH_FRAMES
    network.to(device)
    answers: dict[str, np.ndarray] = {}
    with reproducible(seed=0), torch.inference_mode():
        for n_done, (part, labels) in enumerate(mine.items()):
            progress(n_done, len(mine), part)
            for batch in Stream(shards, part, labels, (), budget, waves).batches():
                logits, pooled = network.answers(batch.to(device))
                told = logits.clamp(min=LEAST) if pooled is None or role != POOLED else pooled
                answers |= dict(zip(batch.ids, told.float().cpu().numpy(), strict=True))
    write_shard(folder, role, ((name, name, answers[name]) for name in sorted(answers)))
    progress(len(mine), len(mine), f"{len(answers)} utterances")
