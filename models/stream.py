"""Shards and a split to batches: frame-budget batching, whose order seed and epoch alone decide."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch

from models.batch import NO_LABEL, Batch, Gathered, Several, form_of, lengths_of, pad, several_of
from models.memory import Lend, Shelf, pinned
from models.packed import Packed, join
from warehouse.copies import fetch_ahead
from warehouse.errors import RowsMissing, ShapeDiffers, UnknownName
from warehouse.schema import SPLIT, VOTES
from warehouse.shards import TAR, ShardReader
from warehouse.tables import read_table


def read_split(path: Path) -> dict[str, dict[str, str | None]]:
    """part -> utterance id -> label, ids in order. The test part has none: see `schema.SPLIT`."""
    table = read_table(path, SPLIT).sort_by("utterance_id").to_pydict()
    parts: dict[str, dict[str, str | None]] = {}
    for utterance_id, part, label in zip(*(table[name] for name in SPLIT.names), strict=True):
        parts.setdefault(part, {})[utterance_id] = label
    return parts


def read_votes(path: Path) -> dict[str, dict[str, int]]:
    """utterance id -> class -> how many raters named it."""
    votes: dict[str, dict[str, int]] = {}
    for row in read_table(path, VOTES).to_pylist():
        votes.setdefault(row["utterance_id"], {})[row["label"]] = row["n_votes"]
    return votes


RATE_HZ = 16_000
"""Of every wave in shards."""


AT_ONCE = 64
"""Batches that are looked at together, at most: a tensor of a few lengths costs as much as one of hundreds, of which
each batch has a part. An epoch begins with one and doubles, so that the first waits for no shard but its own."""


class Field:
    """The arrays or texts of one role over all of its shards, as they are stored: arrays are views that nobody can
    write to. A wave [sample] is read as steps of one dimension, [sample, 1]."""

    def __init__(self, role: str, folders: Sequence[Path], is_wave: bool = False) -> None:
        self.role, self.is_wave = role, is_wave
        self._views: dict[str, tuple[np.ndarray, tuple[int, ...]]] = {}
        self._forms: set[tuple[object, ...]] = set()
        self._is_text = False
        self._shards: dict[str, ShardReader] = {}
        for folder in folders:
            shard = ShardReader(folder)
            self._shards |= dict.fromkeys(shard, shard)

    def __contains__(self, utterance_id: str) -> bool:
        return utterance_id in self._shards

    def look_at(self, ids: Sequence[str]) -> bool:
        """Makes a view of each array, to be kept with its shape: to make one takes longer than to copy what a short
        one shows. False where arrays differ in more than their steps, so that each batch must be looked at."""
        if not self._is_text:
            for utterance_id in ids:
                if utterance_id not in self._views:
                    array = self.read(utterance_id)
                    if isinstance(array, str):
                        self._is_text = True
                        break
                    self._views[utterance_id] = array.reshape(-1), array.shape
                    self._forms.add((array.dtype, *form_of(array.shape)))
        return len(self._forms) < 2

    def several(self, ids: Sequence[str]) -> Several | tuple[str, ...]:
        """The arrays of what was looked at, or the texts.

        Raises:
            ShapeDiffers: two arrays differ in an axis that is not their steps.
            SchemaMismatch: there are both.
        """
        if self._is_text:
            return tuple(self._shards[utterance_id].text(utterance_id) for utterance_id in ids)
        flat, shapes = zip(*map(self._views.__getitem__, ids), strict=True)
        if len(self._forms) > 1:
            return several_of(self.role, flat, shapes)
        return Several(flat, shapes[0], lengths_of(shapes), flat[0].dtype)

    def read(self, utterance_id: str) -> np.ndarray | str:
        stored = self._stored(utterance_id)
        if not self.is_wave:
            return stored
        if isinstance(stored, str) or stored.ndim != 1:
            raise ShapeDiffers(self.role, np.shape(stored), "a wave is wanted, (n_samples,)")
        return stored[:, None]

    def shape(self, utterance_id: str) -> tuple[int, ...]:
        """Of what `read` gives, () for text; reads no number."""
        shape = np.shape(self._stored(utterance_id))
        return (*shape, 1) if self.is_wave and len(shape) == 1 else shape

    def n_steps(self, utterance_id: str) -> int:
        """How much of a batch an utterance takes: steps of an array, words of a text, 1 for a vector."""
        shape = self.shape(utterance_id)
        if not shape:
            return max(1, len(str(self._stored(utterance_id)).split()))
        return max(1, shape[-2]) if len(shape) > 1 else 1

    def _stored(self, utterance_id: str) -> np.ndarray | str:
        return self._shards[utterance_id].read(utterance_id)


class Stream:
    """The utterances of one part of a split, as batches.

    Args:
        shards: role -> folders of its shards, in any order; the first role is the one whose steps are budgeted. They
            are fetched from a store in this order, those of other roles while batches are made already.
        part: name of the part, for errors.
        labels: utterance id -> label, as `read_split` gives them; at least one.
        classes: label -> its position; a label that is not among them is an error. () reads no labels.
        batch_frames: steps of the first role that a batch may hold, padding counted.
        waves: the roles that are sound.
        votes: as `read_votes` gives them; then batches have targets.

    Raises:
        RowsMissing: an utterance is in no shard of some role.
        ShapeDiffers: a role that should be sound is not.
        UnknownName: a label is not among the classes.
    """

    def __init__(
        self,
        shards: Mapping[str, Sequence[Path]],
        part: str,
        labels: Mapping[str, str | None],
        classes: Sequence[str],
        batch_frames: int,
        waves: Collection[str] = (),
        votes: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        fetch_ahead(folder / TAR for folders in shards.values() for folder in folders)
        self.fields = [Field(role, folders, role in waves) for role, folders in shards.items()]
        self.ids = sorted(labels)
        for field in self.fields:
            missing = [utterance_id for utterance_id in self.ids if utterance_id not in field]
            if missing:
                raise RowsMissing(f"shards of '{field.role}' for part '{part}'", len(missing), missing[0])
        self.labels = {utterance_id: _position(labels[utterance_id], classes) for utterance_id in self.ids}
        self._votes, self._classes = votes, classes
        self._waves = frozenset(waves)
        self._memory: dict[str, Lend] = {field.role: Shelf().lend for field in self.fields}
        self._n_steps = {utterance_id: self.fields[0].n_steps(utterance_id) for utterance_id in self.ids}
        self._batch_frames = batch_frames

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """role -> shape of the first utterance's array, () for text."""
        return {field.role: field.shape(self.ids[0]) for field in self.fields}

    def n_steps(self, groups: Sequence[Sequence[str]]) -> int:
        """Steps of the first role in some groups of ids, padding not counted."""
        return sum(self._n_steps[utterance_id] for group in groups for utterance_id in group)

    def shuffled(self, seed: int, epoch: int) -> list[list[str]]:
        """The ids of every batch of one epoch: utterances of about the same length together, in an order that
        depends on seed and epoch alone."""
        rng = np.random.default_rng([seed, epoch])
        rank = dict(zip(self.ids, rng.permutation(len(self.ids)).tolist(), strict=True))
        order = sorted(self.ids, key=lambda u: (_bucket(self._n_steps[u]), rank[u]))
        groups = self._pack(order)
        return [groups[i] for i in rng.permutation(len(groups))]

    def in_order(self) -> list[list[str]]:
        """The ids of every batch where no chance is wanted: by length, then by id."""
        return self._pack(sorted(self.ids, key=lambda u: (self._n_steps[u], u)))

    def batches(self, groups: Sequence[Sequence[str]] | None = None) -> Iterator[Batch]:
        """Reads batches: the groups of ids given, or all utterances in order."""
        for gathered in self._gathered(groups):
            yield from pad(gathered, self._waves, self._memory)

    def packed(self, groups: Sequence[Sequence[str]] | None = None, to_cuda: bool = False) -> Iterator[Packed]:
        """The same, to be padded where they are sent."""
        memory = dict.fromkeys(self._memory, pinned) if to_cuda else self._memory
        for gathered in self._gathered(groups):
            yield from join(gathered, self._waves, memory)

    def loads(self, device: torch.device, groups: Sequence[Sequence[str]] | None = None) -> Iterator[Batch | Packed]:
        """Whichever of the two is sooner on a device, with `to`: a CPU would only copy once more what is packed."""
        return self.batches(groups) if device.type == "cpu" else self.packed(groups, device.type == "cuda")

    def _gathered(self, groups: Sequence[Sequence[str]] | None) -> Iterator[Gathered]:
        if groups is None:
            groups = self.in_order()
        first, n = 0, 1
        while some := groups[first : first + n]:
            first, n = first + n, min(2 * n, AT_ONCE)
            ids = list(chain.from_iterable(some))
            are_alike = [field.look_at(ids) for field in self.fields]
            for together in [some] if all(are_alike) else [[group] for group in some]:
                yield self._gather(together)

    def _gather(self, groups: Sequence[Sequence[str]]) -> Gathered:
        ids = list(chain.from_iterable(groups))
        several = {field.role: field.several(ids) for field in self.fields}
        arrays = {role: own for role, own in several.items() if isinstance(own, Several)}
        texts = {role: own for role, own in several.items() if not isinstance(own, Several)}
        labels = torch.from_numpy(np.array([self.labels[utterance_id] for utterance_id in ids], np.int64))
        targets = None if self._votes is None else torch.from_numpy(self._shares(ids))
        return Gathered(groups, arrays, texts, labels, targets)

    def _shares(self, ids: Sequence[str]) -> np.ndarray:
        """Each class's share of the votes, [utterance, class]; where there are none, the label has all."""
        votes = self._votes or {}
        counts = np.array([[votes.get(u, {}).get(name, 0) for name in self._classes] for u in ids], np.float32)
        for own, utterance_id in zip(counts, ids, strict=True):
            if not own.any() and self.labels[utterance_id] != NO_LABEL:
                own[self.labels[utterance_id]] = 1
        return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    def _pack(self, order: Sequence[str]) -> list[list[str]]:
        groups: list[list[str]] = []
        longest = 0
        for utterance_id in order:
            longest = max(longest, self._n_steps[utterance_id])
            if not groups or longest * (len(groups[-1]) + 1) > self._batch_frames:
                groups.append([])
                longest = self._n_steps[utterance_id]
            groups[-1].append(utterance_id)
        return groups


def _position(label: str | None, classes: Sequence[str]) -> int:
    if label is None or not classes:
        return NO_LABEL
    if label not in classes:
        raise UnknownName("class", label, classes)
    return classes.index(label)


def _bucket(n_steps: int) -> int:
    """Lengths within a tenth of each other share a bucket: little padding, and yet chance decides who meets whom."""
    return int(math.log(n_steps) / math.log(1.1))
