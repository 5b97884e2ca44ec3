"""What it costs to bring shards into batches, against touching every byte of the same tars through a map.

Run as `PYTHONPATH=. python benchmarks/stream.py [N_UTTERANCES [FOLDER]]`. Everything is read once before it is timed;
numbers are processor seconds, the least of several rounds in turns. There are five floors: the sum of every byte,
which writes nothing; each array copied as it is stored, into memory that is there, which is the least that joining
arrays takes; the same into two memories in turns, as whoever makes a batch must while the one before is held; each
array made float32 in one memory, not padded; and the memory map, which does all that a reader must and has no format:
the same numbers in one flat file, each utterance cut out by its offset, a batch joined into a tensor beside its
lengths. Packed batches are what a fit sends to a GPU, which pads them; padded ones are what it gives a CPU.
webdataset reads the same tars, decodes and does not batch.
"""

from __future__ import annotations

import mmap
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
import webdataset

from models.ahead import ahead
from models.batch import FULL_SCALE
from models.stream import RATE_HZ, Stream
from warehouse.shards import TAR, ShardReader, write_shard

N = 1000
ROUNDS = 5
PER_SHARD = 250
BUDGETS = {"frames": (4_000, 10_000, 40_000), "wave": (320_000, 640_000, 1_280_000)}
FRAMES_HZ, DIM = 100, 130
MANY = 5531
WAIT_S = 0.005


def main() -> None:
    """Prints one table for each form of input and size of batch, then padding and random access."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else N
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as name:
        for role, budgets in BUDGETS.items():
            folders = write(Path(name), role, n)
            for budget in budgets:
                show(role, folders, budget)
        for n_padded in (n, MANY):
            folders = write(Path(name) / str(n_padded), "empty", n_padded)
            for budget in BUDGETS["wave"]:
                stream = Stream({"empty": folders}, "train", dict.fromkeys(ids_of(folders)), (), budget)
                print(f"padding of {budget} samples, {n_padded} utterances: {100 * padding(stream):.1f} %")


def show(role: str, folders: list[Path], budget: int) -> None:
    """Times and prints one form of input in batches of one size."""
    ids, opened = ids_of(folders), [ShardReader(folder) for folder in folders]
    stream = Stream({role: folders}, "train", dict.fromkeys(ids), (), budget, ("wave",) if role == "wave" else ())
    maps, groups = [mapped(folder) for folder in folders], stream.shuffled(0, 1)
    order = [arrays_of(opened, group) for group in groups]
    stored, other, floats = (np.ones(max(sum(a.size for a in group) for group in order), dtype) for dtype in
                             (order[0][0].dtype, order[0][0].dtype, np.float32))  # fmt: skip
    flat, spans = flat_file(folders[0].parent / "flat", opened)
    pairs = zip(stream.packed(groups), flat_batches(flat, spans, groups), strict=True)
    if not all(own.flat[role].equal(numbers.reshape(-1)) and own.lengths[role].equal(n) for own, (numbers, n) in pairs):
        raise SystemExit(f"{role}, batches of {budget}: a packed batch is not what lies in the flat file")
    ways: dict[str, Callable[[], object]] = {
        "every byte through a map": lambda: touch(maps),
        "each array copied as it is stored": lambda: copy(order, stored),
        "the same, two memories in turns": lambda: copy(order, stored, other),
        "each array as float32, not batched": lambda: copy(order, floats),
        "one flat file through a map, cut and joined": lambda: consume(flat_batches(flat, spans, groups)),
        "this, packed": lambda: consume(stream.packed(groups)),
        "this, packed, one ahead in a thread": lambda: consume(ahead(stream.packed(groups))),
        "this, packed, then padded by the processor": lambda: consume(one.to("cpu") for one in stream.packed(groups)),
        "this, padded": lambda: consume(stream.batches(groups)),
        "this, padded, one ahead in a thread": lambda: consume(ahead(stream.batches(groups))),
        "webdataset .decode(), no batches": lambda: decode(folders),
    }
    spent = least(ways)
    size_mb = sum((folder / TAR).stat().st_size for folder in folders) / 1e6
    print(f"\n{role}: {len(ids)} utterances, {size_mb:.0f} MB, {seconds(stream, role):.0f} s of sound; "
          f"{len(groups)} batches of {budget}\n"
          f"{'':44}       ms  × bytes × copies × in two × floats    × map")  # fmt: skip
    floors = list(spent.values())[:5]
    for what, least_s in spent.items():
        ratios = " ".join(f"{least_s / floor:8.2f}" for floor in floors)
        print(f"{what:44} {least_s * 1e3:8.1f} {ratios} {seconds(stream, role) / least_s:12.0f} × real time")
    print(f"random access: {access_us(opened, ids):.1f} µs an array")
    for form in (stream.packed, stream.batches):
        one_by_one, one_ahead = beside(lambda f=form: f(groups[:60])), beside(lambda f=form: ahead(f(groups[:60])))  # type: ignore[misc]
        print(f"a device that takes {1e3 * WAIT_S:.0f} ms a batch, {form.__name__}: {one_by_one:.2f} × its time, "
              f"one batch ahead {one_ahead:.2f} ×")  # fmt: skip


def flat_file(path: Path, readers: Iterable[ShardReader]) -> tuple[np.ndarray, dict[str, slice]]:
    """All arrays one behind the other in a file without any format, through a map; and where each lies, in steps."""
    spans, n_steps = {}, 0
    with open(path, "wb") as stream:
        for reader in readers:
            for utterance_id in reader:
                array = reader.array(utterance_id)
                stream.write(array.tobytes())
                spans[utterance_id] = slice(n_steps, n_steps := n_steps + len(array))
    return np.asarray(np.memmap(path, array.dtype, "r", shape=(n_steps, *array.shape[1:]))), spans


def flat_batches(
    flat: np.ndarray, spans: Mapping[str, slice], groups: Sequence[Sequence[str]]
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches and their lengths, in two memories in turns: the plainest reader there is."""
    most = max(sum(spans[u].stop - spans[u].start for u in group) for group in groups)
    memories = cycle([np.ones((most, *flat.shape[1:]), flat.dtype) for _ in range(2)])
    for group, memory in zip(groups, memories, strict=False):
        arrays = [flat[spans[utterance_id]] for utterance_id in group]
        lengths = [len(array) for array in arrays]
        yield torch.from_numpy(np.concatenate(arrays, out=memory[: sum(lengths)])), torch.tensor(lengths)


def arrays_of(readers: Iterable[ShardReader], group: Iterable[str]) -> list[np.ndarray]:
    """Views of the arrays of some utterances, in one line each."""
    where = {utterance_id: reader for reader in readers for utterance_id in reader}
    return [where[utterance_id].array(utterance_id).reshape(-1) for utterance_id in group]


def ids_of(folders: Iterable[Path]) -> list[str]:
    """Of all utterances, in the order of the shards."""
    return [utterance_id for folder in folders for utterance_id in ShardReader(folder)]


def write(folder: Path, role: str, n: int) -> list[Path]:
    """Utterances as long as in acted dialogues: median 3.5 s, from 0.6 to 34 s."""
    rng = np.random.default_rng(0)
    lasts_s = np.clip(np.exp(rng.normal(np.log(3.5), 0.7, size=n)), 0.6, 34)
    folders = []
    for start in range(0, n, PER_SHARD):
        folders.append(folder / role / str(start))
        folders[-1].mkdir(parents=True)
        members = []
        for number in range(start, min(n, start + PER_SHARD)):
            value: np.ndarray
            if role == "wave":
                value = rng.integers(-9000, 9000, size=int(lasts_s[number] * RATE_HZ), dtype=np.int16)
            elif role == "empty":
                value = np.zeros((int(lasts_s[number] * RATE_HZ), 0), dtype=np.float32)  # a length and no bytes
            else:
                value = rng.standard_normal((int(lasts_s[number] * FRAMES_HZ), DIM), dtype=np.float32)
            members.append((f"u{number:06d}", f"i{number}", value))
        write_shard(folders[-1], role, members)
    return folders


def touch(maps: Iterable[mmap.mmap]) -> int:
    """The sum of all bytes of the tars, eight at a time."""
    return sum(int(np.frombuffer(mapped, dtype=np.uint64).sum()) for mapped in maps)


def mapped(folder: Path) -> mmap.mmap:
    """The tar of a folder, which stays open as it does in a fit."""
    with open(folder / TAR, "rb") as stream:
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


def copy(order: Iterable[list[np.ndarray]], *memories: np.ndarray) -> None:
    """The arrays of each batch one after the other into memory that is there; scaled where int16 becomes float32."""
    for arrays, memory in zip(order, cycle(memories), strict=False):
        at = 0
        for array in arrays:
            there = memory[at : at + array.size]
            there[:] = array
            if array.dtype == np.int16 and memory.dtype == np.float32:
                there *= np.float32(1 / FULL_SCALE)
            at += array.size


def consume(batches: Iterable[object]) -> int:
    """Takes one batch after the other."""
    return sum(1 for _ in batches)


def beside(batches: Callable[[], Iterable[object]]) -> float:
    """Seconds on the clock for each second of a device that needs WAIT_S for a batch, and no processor; the least of
    the rounds."""
    found = []
    for _ in range(ROUNDS):
        began_s, n_batches = time.perf_counter(), 0
        for _ in batches():
            time.sleep(WAIT_S)
            n_batches += 1
        found.append((time.perf_counter() - began_s) / (n_batches * WAIT_S))
    return min(found)


def decode(folders: Iterable[Path]) -> int:
    """What webdataset makes of the same tars."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        paths = [str(folder / TAR) for folder in folders]
        return sum(1 for _ in webdataset.WebDataset(paths, shardshuffle=False).decode())


def least(ways: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Processor seconds of each, the least of the rounds; the first round only warms the cache."""
    found = dict.fromkeys(ways, float("inf"))
    for number in range(ROUNDS + 1):
        for what, call in ways.items():
            began = time.process_time()
            call()
            if number:
                found[what] = min(found[what], time.process_time() - began)
    return found


def access_us(readers: Iterable[ShardReader], ids: list[str]) -> float:
    """Microseconds to an array at random, as a view of the map."""
    where = {utterance_id: reader for reader in readers for utterance_id in reader}
    chosen = np.random.default_rng(1).choice(ids, size=4000).tolist()
    began = time.process_time()
    for utterance_id in chosen:
        where[utterance_id].array(utterance_id)
    return (time.process_time() - began) / len(chosen) * 1e6


def seconds(stream: Stream, role: str) -> float:
    """Of sound in a stream."""
    return stream.n_steps(stream.in_order()) / (RATE_HZ if role == "wave" else FRAMES_HZ)


def padding(stream: Stream) -> float:
    """The share of padding in what an epoch's batches hold."""
    held, full = 0, 0
    for group in stream.shuffled(0, 1):
        lengths = [stream.n_steps([[utterance_id]]) for utterance_id in group]
        held, full = held + len(group) * max(lengths), full + sum(lengths)
    return 1 - full / held


if __name__ == "__main__":
    main()
