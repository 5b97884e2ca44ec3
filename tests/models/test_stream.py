from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.batch import Batch
from models.packed import Packed
from models.stream import RATE_HZ, Stream, read_split, read_votes
from tests.models.tiny_lake import CLASSES, TinyLake
from tests.sparing import first
from warehouse.errors import RowsMissing, SchemaMismatch, ShapeDiffers, UnknownName
from warehouse.schema import SPLIT, VOTES
from warehouse.shards import ShardReader, write_shard
from warehouse.tables import write_rows


def _stream(folder: Path, lengths: list[int], budget: int, n_chunks: int = 1, reverse: bool = False) -> Stream:
    ids = [f"u{number:03d}" for number in range(len(lengths))]
    folders = []
    for chunk in range(n_chunks):
        folders.append(folder / str(chunk))
        folders[-1].mkdir(parents=True, exist_ok=True)
        write_shard(folders[-1], "speech", [
            (ids[i], "x", np.full((lengths[i], 2), i, dtype="float32")) for i in range(chunk, len(ids), n_chunks)
        ])  # fmt: skip
    return Stream({"speech": folders[::-1] if reverse else folders}, "train", dict.fromkeys(ids), (), budget)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=40), st.integers(1, 200), st.integers(0, 5), st.integers(1, 5))
def test_every_utterance_once_per_epoch_and_never_over_the_budget(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], budget: int, seed: int, epoch: int
) -> None:
    stream = _stream(tmp_path_factory.mktemp("shards"), lengths, budget)
    for groups in (stream.shuffled(seed, epoch), stream.in_order()):
        assert sorted(utterance_id for group in groups for utterance_id in group) == stream.ids
        for group in groups:
            longest = max(max(1, lengths[int(utterance_id[1:])]) for utterance_id in group)
            assert len(group) == 1 or longest * len(group) <= budget


def test_seed_and_epoch_alone_decide_the_order(tmp_path: Path) -> None:
    lengths = [int(n) for n in np.random.default_rng(0).integers(5, 60, size=50)]
    one = _stream(tmp_path / "one", lengths, 200)
    other = _stream(tmp_path / "other", lengths, 200, n_chunks=4, reverse=True)
    assert one.shuffled(3, 7) == other.shuffled(3, 7)
    assert one.shuffled(3, 7) != one.shuffled(3, 8)
    assert one.shuffled(3, 7) != one.shuffled(4, 7)
    for here, there in zip(one.batches(), other.batches(), strict=True):
        assert here.ids == there.ids
        assert here.arrays["speech"].equal(there.arrays["speech"])


def test_members_of_a_batch_change_from_epoch_to_epoch(tmp_path: Path) -> None:
    stream = _stream(tmp_path, [30] * 40, 300)
    assert {frozenset(group) for group in stream.shuffled(0, 1)} != {frozenset(g) for g in stream.shuffled(0, 2)}


def test_little_is_padded(tmp_path: Path) -> None:
    lengths = [int(n) for n in np.random.default_rng(1).integers(20, 400, size=300)]
    stream = _stream(tmp_path, lengths, 6000)
    groups = stream.shuffled(0, 1)
    padded = sum(len(group) * max(lengths[int(u[1:])] for u in group) for group in groups)
    assert padded < 1.2 * sum(lengths)


def test_arrays_texts_and_labels_belong_together(lake: TinyLake) -> None:
    folders = {
        role: [lake.warehouse.resolve(digest).folder for digest in digests] for role, digests in lake.shards.items()
    }
    labels = read_split(lake.warehouse.resolve(lake.split).path("split.parquet"))["train"]
    waves = [role for role in folders if "wave" in role]
    stream = Stream({"text": folders["text"]} | folders, "train", labels, CLASSES, 40, waves)
    assert set(stream.shapes) == set(lake.shards)
    assert stream.shapes["text"] == ()
    for batch in stream.batches(stream.shuffled(0, 1)):
        wanted = [CLASSES.index(labels[utterance_id] or "") for utterance_id in batch.ids]
        assert batch.labels.tolist() == wanted
        assert batch.arrays["teacher_logits"].argmax(-1).tolist() == wanted
        assert [len(text.split()) for text in batch.texts["text"]] == batch.lengths["teacher_hidden"].tolist()
        assert sum(len(batch.texts["text"]) * [max(batch.lengths["teacher_hidden"].tolist())]) <= 40


def test_an_utterance_in_no_shard(tmp_path: Path) -> None:
    folder = tmp_path / "0"
    folder.mkdir()
    write_shard(folder, "speech", [("a", "x", np.zeros((2, 2)))])
    with pytest.raises(RowsMissing, match=r"2 rows of shards of 'speech' for part 'dev' are missing \(first: b\)"):
        Stream({"speech": [folder]}, "dev", {"a": None, "c": None, "b": None}, (), 10)


def test_a_label_that_is_no_class(tmp_path: Path) -> None:
    folder = tmp_path / "0"
    folder.mkdir()
    write_shard(folder, "speech", [("a", "x", np.zeros((2, 2)))])
    with pytest.raises(UnknownName, match="no class 'hapy'; did you mean 'happy'"):
        Stream({"speech": [folder]}, "train", {"a": "hapy"}, CLASSES, 10)


def test_read_split_sorts_by_id(tmp_path: Path) -> None:
    rows = [
        {"utterance_id": "b", "part": "train", "label": "sad"},
        {"utterance_id": "c", "part": "test", "label": None},
        {"utterance_id": "a", "part": "train", "label": None},
    ]
    write_rows(tmp_path / "split.parquet", rows, SPLIT)
    parts = read_split(tmp_path / "split.parquet")
    assert parts == {"train": {"a": None, "b": "sad"}, "test": {"c": None}}
    assert list(parts["train"]) == ["a", "b"]


@pytest.mark.parametrize("dtype", ["int16", "float16", "float32"])
def test_a_wave_is_steps_of_one_dimension_whatever_it_is_stored_as(tmp_path: Path, dtype: str) -> None:
    waves = {"u0": np.array([0, 0.5, -1, 0.25]), "u1": np.array([-0.5, 0.125])}
    stored = {u: (wave * 32_768 if dtype == "int16" else wave).astype(dtype) for u, wave in waves.items()}
    write_shard(tmp_path, "wave", [(u, "x", wave) for u, wave in stored.items()])
    stream = Stream({"wave": [tmp_path]}, "train", dict.fromkeys(waves), (), 6, waves=("wave",))
    assert stream.shapes == {"wave": (4, 1)}
    assert stream.in_order() == [["u1"], ["u0"]]  # two of four samples, padding counted, are more than six
    [batch] = stream.batches([["u0", "u1"]])
    assert batch.arrays["wave"].dtype.is_floating_point
    assert batch.arrays["wave"].squeeze(-1).tolist() == [[0, 0.5, -1, 0.25], [-0.5, 0.125, 0, 0]]
    assert batch.lengths["wave"].tolist() == [4, 2]


def test_steps_are_counted_without_padding(tmp_path: Path) -> None:
    stream = _stream(tmp_path / "frames", [30, 10, 20], 100)
    assert stream.n_steps([["u000"], ["u001", "u002"]]) == 60


def _acted(folder: Path, n: int, budget: int) -> Stream:
    """Utterances of 1 to 20 s of sound, as long as in acted dialogues: log-normal, median 3.5 s. They have a length and
    no bytes, which the order of batches does not look at."""
    lasts_s = np.clip(np.random.default_rng(0).lognormal(np.log(3.5), 0.7, size=n), 1, 20)
    folder.mkdir()
    members = [(f"u{i:05d}", "x", np.zeros((round(s * RATE_HZ), 0), np.float32)) for i, s in enumerate(lasts_s)]
    write_shard(folder, "wave", members)
    return Stream({"wave": [folder]}, "train", dict.fromkeys(name for name, *_ in members), (), budget)


@pytest.mark.parametrize(
    ("n", "budget"), first(1, [(5531, 320_000), (5531, 640_000), (5531, 1_280_000), (2000, 1_280_000)])
)
def test_less_than_a_twentieth_of_the_samples_is_padding(tmp_path: Path, n: int, budget: int) -> None:
    """At the size of IEMOCAP's four classes and of less than half of them, in every epoch, and no batch holds more than
    its budget."""
    stream = _acted(tmp_path / "acted", n, budget)
    for epoch in (1, 2):
        held, groups = 0, stream.shuffled(0, epoch)
        for group in groups:
            in_batch = len(group) * max(stream.n_steps([[utterance_id]]) for utterance_id in group)
            assert in_batch <= budget
            held += in_batch
        assert 1 - stream.n_steps(groups) / held < 0.05


def test_frames_are_no_wave(tmp_path: Path) -> None:
    write_shard(tmp_path, "wave", [("u0", "x", np.zeros((3, 2), np.float32))])
    stream = Stream({"wave": [tmp_path]}, "train", {"u0": None}, (), 100, waves=("wave",))
    with pytest.raises(ShapeDiffers, match=r"an array of 'wave' has shape \(3, 2\), but a wave is wanted"):
        list(stream.batches())


def test_texts_alone_are_batches_too(tmp_path: Path) -> None:
    write_shard(tmp_path, "text", [("u0", "x", "so it is"), ("u1", "x", "no")])
    stream = Stream({"text": [tmp_path]}, "train", {"u0": "sad", "u1": "happy"}, CLASSES, 100)
    for [batch] in (stream.batches(), (one.to("cpu") for one in stream.packed())):
        assert batch.texts == {"text": ("no", "so it is")} and not batch.arrays and not batch.lengths
        assert [CLASSES[n] for n in batch.labels] == ["happy", "sad"]


@pytest.mark.parametrize("first", ["text", "array"])
def test_a_role_is_texts_or_arrays_and_not_both(tmp_path: Path, first: str) -> None:
    values = {"text": "so it is", "array": np.ones((3, 2), np.float32)}
    members = sorted(values, key=lambda kind: kind != first)
    write_shard(tmp_path, "speech", [(f"u{n}", "x", values[kind]) for n, kind in enumerate(members)])
    stream = Stream({"speech": [tmp_path]}, "train", {"u0": None, "u1": None}, (), 100)
    with pytest.raises(SchemaMismatch, match=rf"the member of u{members.index('array')} is no text"):
        list(stream.batches([["u0", "u1"]]))


def test_targets_are_shares_of_votes_and_labels_where_nobody_voted(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    write_shard(folder, "vector", [(name, "x", np.ones(2, np.float32)) for name in "abcd"])
    rows = [("a", "happy", 1), ("a", "sad", 3), ("c", "calm", 2), ("elsewhere", "sad", 9)]
    write_rows(tmp_path / "votes.parquet", [dict(zip(VOTES.names, row, strict=True)) for row in rows], VOTES)
    votes = read_votes(tmp_path / "votes.parquet")
    assert votes == {"a": {"happy": 1, "sad": 3}, "c": {"calm": 2}, "elsewhere": {"sad": 9}}
    labels = {"a": "sad", "b": "happy", "c": "happy", "d": None}
    stream = Stream({"vector": [folder]}, "train", labels, ("happy", "sad"), 100, votes=votes)
    [batch] = stream.batches()
    found = dict(zip(batch.ids, batch.targets.tolist(), strict=True))  # type: ignore[union-attr]
    assert found == {"a": [0.25, 0.75], "b": [1.0, 0.0], "c": [1.0, 0.0], "d": [0.0, 0.0]}, "calm is no class here"
    [plain] = Stream({"vector": [folder]}, "train", labels, ("happy", "sad"), 100).batches()
    assert plain.targets is None and plain.labels.tolist() == batch.labels.tolist()


def test_batches_that_are_kept_stay_as_they_were(tmp_path: Path) -> None:
    """Memory is used again, but only what nobody holds."""
    stream = _stream(tmp_path, [int(n) for n in np.random.default_rng(0).integers(1, 60, size=50)], 200)
    kept = [batch for epoch in (1, 2) for batch in stream.batches(stream.shuffled(0, epoch))]
    for _ in stream.batches(stream.shuffled(0, 3)):
        pass  # lets go of each before the next but one
    for batch in kept:
        wanted = torch.tensor([int(utterance_id[1:]) for utterance_id in batch.ids])
        values = batch.arrays["speech"].amax(dim=(1, 2))
        assert values.tolist() == wanted.tolist()
        assert torch.equal(batch.arrays["speech"][..., 0], wanted[:, None] * batch.mask("speech"))


def test_a_cpu_gets_padded_batches_and_all_others_packed_ones(tmp_path: Path) -> None:
    stream = _stream(tmp_path, [5, 9, 2], 100)
    (padded,), (packed,) = (stream.loads(torch.device(name), [["u000", "u001", "u002"]]) for name in ("cpu", "mps"))
    assert isinstance(padded, Batch) and isinstance(packed, Packed)
    assert packed.ids == padded.ids and packed.flat["speech"].numel() == 2 * (5 + 9 + 2)
    assert packed.to("cpu").arrays["speech"].equal(padded.arrays["speech"])


def _slowly(role: str, stored: list[np.ndarray]) -> np.ndarray:
    """What a batch should hold of some arrays, number by number where it matters: float32, zeros behind."""
    floats = [
        a.astype(np.float32) * np.float32(2**-15 if role == "wave" and a.dtype == np.int16 else 1) for a in stored
    ]
    if floats[0].ndim == 1 and role != "wave":
        return np.array(floats)
    steps = [a[:, None] if role == "wave" else a for a in floats]
    padded = np.zeros(
        (len(steps), *steps[0].shape[:-2], max(a.shape[-2] for a in steps), steps[0].shape[-1]), "float32"
    )
    for row, array in zip(padded, steps, strict=True):
        row[..., : array.shape[-2], :] = array
    return padded


@pytest.mark.parametrize("n_at_once", [1, 3, 64])
def test_a_batch_is_what_a_slow_reader_makes_of_the_same_utterances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_at_once: int
) -> None:
    """Every form of array, waves that are stored in two ways among them, in two epochs, packed and padded."""
    monkeypatch.setattr("models.stream.AT_ONCE", n_at_once)
    rng = np.random.default_rng(0)
    stored: dict[str, dict[str, np.ndarray]] = {role: {} for role in ("speech", "states", "wave", "vector", "double")}
    for number, n in enumerate(rng.integers(0, 30, size=40).tolist()):
        name = f"u{number:03d}"
        stored["speech"][name] = rng.normal(size=(n, 3)).astype(np.float32)
        stored["states"][name] = rng.normal(size=(2, n // 3, 4)).astype(np.float16)
        wave = rng.integers(-32768, 32767, size=7 * n)
        stored["wave"][name] = (wave / 32768).astype(np.float32) if number % 5 == 0 else wave.astype(np.int16)
        stored["vector"][name] = rng.normal(size=5).astype(np.float32)
        stored["double"][name] = rng.normal(size=(n + 1, 2))
    folders = {}
    for role, arrays in stored.items():
        folders[role] = [tmp_path / role]
        folders[role][0].mkdir()
        write_shard(folders[role][0], role, [(name, "x", array) for name, array in arrays.items()])
    labels = {name: CLASSES[number % len(CLASSES)] for number, name in enumerate(stored["speech"])}
    stream = Stream(folders, "train", labels, CLASSES, 60, ("wave",))
    for groups in (stream.shuffled(0, 1), stream.shuffled(0, 2)):
        for group, padded, packed in zip(groups, stream.batches(groups), stream.packed(groups), strict=True):
            for batch in (padded, packed.to("cpu")):
                assert list(batch.ids) == group and [CLASSES[n] for n in batch.labels] == [labels[u] for u in group]
                assert list(batch.arrays) == list(stored) and set(batch.lengths) == set(stored) - {"vector"}
                for role, found in batch.arrays.items():
                    several = [stored[role][u] for u in group]
                    np.testing.assert_array_equal(found.numpy(), _slowly(role, several), strict=True)
                    if role in batch.lengths:
                        steps = [len(array) if role != "states" else array.shape[1] for array in several]
                        assert batch.lengths[role].tolist() == steps


def test_texts_and_arrays_are_read_again_as_they_were(lake: TinyLake) -> None:
    folders = {role: [lake.warehouse.resolve(d).folder for d in lake.shards[role]] for role in ("text", "wave")}
    labels = read_split(lake.warehouse.resolve(lake.split).path("split.parquet"))["train"]
    stream = Stream(folders, "train", labels, CLASSES, 40, ("wave",))
    for here, there in zip(stream.batches(), stream.batches(), strict=True):
        assert here.texts == there.texts and here.arrays["wave"].equal(there.arrays["wave"])


def test_the_first_batch_waits_for_no_shard_but_those_of_its_own_utterances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = _stream(tmp_path, [5] * 200, budget=20, n_chunks=50)
    read: list[str] = []
    own = ShardReader.read
    monkeypatch.setattr(ShardReader, "read", lambda shard, one: read.append(one) or own(shard, one))
    groups = stream.shuffled(0, 1)
    batches = stream.batches(groups)
    assert next(batches).ids == tuple(groups[0]) and len(read) == len(groups[0])
    assert [batch.ids for batch in batches] == [tuple(group) for group in groups[1:]] and len(read) == 200
