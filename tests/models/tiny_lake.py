"""A lake of invented shards in which every role carries the class, for the tests of this room."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from features.placed import record
from models import fit, predict, teach
from models.batch import Batch
from models.orders import ROOM, fit_request
from models.plugin import encoder_slots, wave_roles
from models.stream import Stream, read_split
from tests.features.tiny_bert import write_bert
from tests.features.tiny_speech import write_speech_encoder
from warehouse import Artifact, Request, Warehouse, catalog
from warehouse.schema import PREDICTIONS, SPLIT, VOTES
from warehouse.shards import write_shard
from warehouse.tables import read_table, write_rows

CLASSES = ("angry", "happy", "sad")
WORDS = {
    "angry": ["how", "dare", "you", "leave", "me", "out", "there", "stop", "it", "now"],
    "happy": ["what", "a", "lovely", "day", "we", "won", "the", "prize", "thank", "you"],
    "sad": ["i", "lost", "my", "home", "and", "nobody", "came", "to", "say", "goodbye"],
}
TEACHER_LAYERS, TEACHER_DIM, DIM, VECTOR_DIM, STATE_DIM, POOLED_DIM = 3, 12, 6, 5, 10, 7
DTYPES = {"teacher_hidden": "float16", "wave": "int16", "augmented_wave": "int16"}
SPECIAL = "[PAD] [UNK] [CLS] [SEP] [MASK]"


@dataclass(frozen=True)
class TinyLake:
    """A warehouse, the digests of its shards by role, that of its split, and placed encoders: slot -> digest of the
    record, digest -> folder; the classes of the dev and the test part, which the split has of dev alone."""

    warehouse: Warehouse
    shards: dict[str, list[str]] = field(default_factory=dict)
    split: str = ""
    encoders: dict[str, str] = field(default_factory=dict)
    weights: dict[str, Path] = field(default_factory=dict)
    truth: dict[str, str] = field(default_factory=dict)


def tiny_lake(
    root: Path, n_utterances: int = 48, n_frames: tuple[int, int] = (3, 40), n_chunks: int = 2,
    parts: Sequence[str] = ("train", "train", "dev", "test"), labelled: bool = True, seed: int = 0,
) -> TinyLake:  # fmt: skip
    """Writes it, or begins with a copy of the artifacts that an earlier call with the same arguments wrote. The class
    decides the mean of the frames, the words, the vector and what the teacher says; `parts` are dealt out in turn."""
    how = (n_utterances, n_frames, n_chunks, tuple(parts), labelled, seed)
    if root.exists():  # and holds something else, which goes on
        return _tiny_lake(root, *how)
    root.parent.mkdir(parents=True, exist_ok=True)
    if how not in _made:
        _made[how] = _tiny_lake(Path(tempfile.mkdtemp(prefix="tiny-", dir=root.parent)), *how)
    made = _made[how]
    first, warehouse = made.warehouse.root, Warehouse(root, create=True)
    for name in ("artifacts", "weights"):
        shutil.copytree(first / name, root / name, dirs_exist_ok=True)
    weights = {digest: root / folder.relative_to(first) for digest, folder in made.weights.items()}
    return replace(made, warehouse=warehouse, weights=weights)


_made: dict[tuple[Any, ...], TinyLake] = {}
"""Arguments -> what the first call with them wrote, which nobody touches."""


def _tiny_lake(
    root: Path, n_utterances: int, n_frames: tuple[int, int], n_chunks: int, parts: Sequence[str], labelled: bool,
    seed: int,
) -> TinyLake:  # fmt: skip
    rng = np.random.default_rng(seed)
    means = 2 * rng.normal(size=(len(CLASSES), DIM))
    warehouse = Warehouse(root, create=True)
    members: dict[str, list] = {}
    split, truth = [], dict[str, str]()
    for number in range(n_utterances):
        position = int(rng.integers(len(CLASSES)))
        name = CLASSES[position]
        utterance_id = f"u{(number * 37) % 1000:03d}"
        words = rng.choice(WORDS[name], size=rng.integers(2, 7))
        one_hot = np.eye(len(CLASSES))[position]
        values = {
            "speech": rng.normal(size=(rng.integers(*n_frames), DIM)) * 0.7 + means[position] + 3,
            "text": " ".join(words),
            "vector": np.concatenate([one_hot, [0, 0]]) * 2 + rng.normal(size=VECTOR_DIM) * 0.3 + 100,
            "teacher_hidden": rng.normal(size=(TEACHER_LAYERS, len(words), TEACHER_DIM)) + position,
            "teacher_logits": 3 * one_hot + rng.normal(size=len(CLASSES)) * 0.3,
        }
        values |= heard_and_read(number, position)
        values |= told_again(number, position)
        values |= layers_of_segments(number, position)
        values |= told_by_teachers(number, position, len(values["wave"]), len(words))
        values |= pooled_by_a_teacher(number, position)
        for role, value in values.items():
            kept = value if isinstance(value, str) else value.astype(DTYPES.get(role, "float32"))
            members.setdefault(role, []).append((utterance_id, f"input-{utterance_id}", kept))
        part = parts[number % len(parts)]
        is_told = labelled and part != "test"
        split.append({"utterance_id": utterance_id, "part": part, "label": name if is_told else None})
        truth |= {utterance_id: name} if part != "train" else {}
    shards: dict[str, list[str]] = {}
    for role, several in members.items():
        for chunk in range(n_chunks):
            request = Request("shards", "features.pack", 1, {"role": role, "chunk": chunk, "root": seed})
            some = several[chunk::n_chunks]
            artifact = warehouse.materialize(request, lambda folder, r=role, m=some: write_shard(folder, r, m))
            shards.setdefault(role, []).append(artifact.digest)
    request = Request("split", "protocols.tiny", 1, {"parts": list(parts), "labelled": labelled, "seed": seed})
    artifact = warehouse.materialize(request, lambda folder: write_rows(folder / "split.parquet", split, SPLIT))
    known = dict.fromkeys(word for words in WORDS.values() for word in words)
    folders = {
        "audio": write_speech_encoder(root / "weights" / "audio", "wav2vec2"),
        "text": write_bert(root / "weights" / "text", "BertModel", f"{SPECIAL} {' '.join(known)}"),
    }
    placed = {slot: record(warehouse, folder).digest for slot, folder in folders.items()}
    weights = {placed[slot]: at for slot, at in folders.items()}
    return TinyLake(warehouse, shards, artifact.digest, placed, weights, truth)


def heard_and_read(number: int, position: int) -> dict[str, np.ndarray]:
    """What encoders hear and read of an utterance: the class decides the pitch and the means of the states. Drawn apart
    from the rest, which must not change when a role is added."""
    rng = np.random.default_rng([number, position])
    n_samples = int(rng.integers(800, 2400))
    tone = np.sin(2 * np.pi * (400 * 3**position) * np.arange(n_samples) / 16_000)
    return {
        "wave": np.rint((0.5 * tone + 0.02 * rng.normal(size=n_samples)) * 20_000),
        "audio_states": rng.normal(size=(rng.integers(3, 20), STATE_DIM)) + np.eye(STATE_DIM)[position] * 2,
        "text_states": rng.normal(size=(1, rng.integers(2, 8), STATE_DIM)) + np.eye(STATE_DIM)[position] * 2,
    }


def layers_of_segments(number: int, position: int) -> dict[str, np.ndarray]:
    """Two layers of frames, their means over segments, and of tokens: the class decides the mean of the second."""
    rng = np.random.default_rng([number, position, 2])
    frames = rng.normal(size=(2, rng.integers(6, 20), STATE_DIM)) + 3
    frames[1] += np.eye(STATE_DIM)[position] * 2
    roles = {"phones": 3, "syllables": 2, "words": 1}
    means = {
        role: np.stack([part.mean(axis=1) for part in np.array_split(frames, n, axis=1)], axis=1)
        for role, n in roles.items()
    }
    tokens = rng.normal(size=(2, rng.integers(2, 8), STATE_DIM))
    tokens[1] += np.eye(STATE_DIM)[position] * 2
    return {"frames": frames, **means, "tokens": tokens}


def told_again(number: int, position: int) -> dict[str, np.ndarray]:
    """The same of what another voice says in other words: the class is the utterance's own."""
    own = heard_and_read(number + 1_000_000, position)
    return {"augmented_wave": own["wave"], "augmented_states": own["text_states"]}


def told_by_teachers(number: int, position: int, n_samples: int, n_words: int) -> dict[str, np.ndarray]:
    """Last layers of the two placed encoders' kind, as many steps as theirs: the class decides the means."""
    rng = np.random.default_rng([number, position, 1])
    n_steps = {"teacher_audio": max(0, n_samples - 400) // 320 + 1, "teacher_text": n_words + 2}
    mean = np.eye(STATE_DIM)[position] * 2
    return {role: rng.normal(size=(1, n, STATE_DIM)) + mean for role, n in n_steps.items()}


def pooled_by_a_teacher(number: int, position: int) -> dict[str, np.ndarray]:
    """What a teacher's last layer was given: the class decides the mean."""
    rng = np.random.default_rng([number, position, 3])
    return {"teacher_pooled": np.eye(POOLED_DIM)[position] * 2 + rng.normal(size=POOLED_DIM) * 0.3}


FIELDS: dict[str, dict] = {
    "mced": {
        "channels": 16, "width": 16, "layers": 2, "heads": 2, "feed_forward": 32, "dropout": 0.1,
        "teacher_layers": [1, 2], "student_layers": [1, 2], "layer_weights": [0.5, 0.5],
    },
    "text_encoder": {
        "task": "classify", "vocabulary_size": 150, "layers": 1, "width": 16, "heads": 2, "max_tokens": 12,
    },
    "multilevel": {
        "granularities": ["frame", "phone"], "fusion": "early", "hidden": 8, "width": 8, "layers": 1, "heads": 2,
        "feed_forward": 8,
    },
    "cmd": {"channels": 8, "feed_forward": 16, "blocks": 2, "latent": 8, "hidden": 8, "max_tokens": 12},
    "mmer": {"width": 8, "heads": 2, "feed_forward": 16},
    "mult": {"channels": 8, "blocks": 1, "feed_forward": 16},
    "cross_attention": {"channels": 8, "lstm": 4, "heads": 2, "feed_forward": 8, "max_tokens": 12},
}  # fmt: skip
"""Small settings of the students that need them."""

FIT: dict[str, Any] = {"epochs": 2, "learning_rate": 3e-3, "batch_frames": 120}
WAVE_FRAMES = 16_000
"""`batch_frames` for a student whose first input is a wave."""


def order(lake: TinyLake, student: str, **changes: Any) -> Request:
    """A small fit request of a student; any argument of `fit_request` may be changed."""
    fields = FIELDS.get(student, {}) | changes.pop("fields", {})
    plugin = catalog.build(ROOM, student, fields, "the test")
    asked = FIT | changes.pop("fit", {})
    if plugin.inputs[0] in wave_roles(plugin):
        asked["batch_frames"] = WAVE_FRAMES
    given: dict[str, Any] = {
        "encoders": {slot: lake.encoders[slot] for slot in encoder_slots(plugin)},
        "fit": asked, "objective": {"label": 1.0}, "classes": CLASSES, "seed": 0,
        "shards": lake.shards, "split": lake.split,
    }  # fmt: skip
    return fit_request(student, fields, **given | changes)


def silent(done: int, total: int, note: str) -> None:
    """Progress for nobody."""


def fitted(lake: TinyLake, request: Request) -> Artifact:
    return lake.warehouse.materialize(request, partial(_write, lake, request))


def _write(lake: TinyLake, request: Request, folder: Path) -> None:
    fit.write(lake.warehouse, request, folder, silent, weights=lake.weights)


def predictions(lake: TinyLake, request: Request) -> list[dict[str, Any]]:
    """The rows that answer a predictions request, with the labels of the truth, and of the split where it has some."""
    artifact = lake.warehouse.materialize(
        request, lambda folder: predict.write(lake.warehouse, request, folder, silent)
    )
    rows = read_table(artifact.path("predictions.parquet"), PREDICTIONS).to_pylist()
    (split,) = request.inputs["split"]
    parts = read_split(lake.warehouse.resolve(split).path("split.parquet"))
    labels = parts.get("train", {}) | lake.truth
    return [row | {"label": labels[row["utterance_id"]]} for row in rows]


def lesson(lake: TinyLake, request: Request) -> Artifact:
    """The shard in which a fitted model answers its students."""
    return lake.warehouse.materialize(request, lambda folder: teach.write(lake.warehouse, request, folder, silent))


def voted(lake: TinyLake, votes: Mapping[str, Mapping[str, int]]) -> str:
    """The digest of votes: utterance id -> class -> how many raters named it."""
    rows = [
        {"utterance_id": name, "label": label, "n_votes": n} for name, own in votes.items() for label, n in own.items()
    ]
    request = Request("votes", "made", 1, {"votes": {name: dict(own) for name, own in votes.items()}})
    artifact = lake.warehouse.materialize(request, lambda folder: write_rows(folder / "votes.parquet", rows, VOTES))
    return artifact.digest


def batch_of(lake: TinyLake, roles: Sequence[str], part: str = "train", ids: Sequence[str] | None = None) -> Batch:
    """One part of the lake, or some of it, as one batch."""
    folders = {role: [lake.warehouse.resolve(digest).folder for digest in lake.shards[role]] for role in roles}
    waves = ("wave", "augmented_wave")
    labels = read_split(lake.warehouse.resolve(lake.split).path("split.parquet"))[part]
    stream = Stream(folders, part, labels, CLASSES, 10**9, waves)
    return next(stream.batches([stream.ids if ids is None else ids]))
