"""The same arrays as this project's shards, as MosaicML's MDS, as WebDataset and as Lhotse Shar, each brought to
batches as its own documentation does: what it costs to read them all once.

    pip install mosaicml-streaming lhotse
    PYTHONPATH=. python benchmarks/formats.py [N_UTTERANCES]

MDS and Lhotse are no dependency of the project; what is absent has no row. Everything is read once before it is timed;
numbers are processor seconds of one process, the least of several rounds in turns. `packed` rows put arrays one behind
the other, with their lengths; `padded` rows make float32 with zeros behind. Where a reader gives any array that it is
asked for (MDS), it is also given our batches, which have little padding; where it gives them in the order of the file,
a batch has as many utterances as ours have on average. Lhotse makes batches by length itself. Sound is stored as int16
arrays, in Shar as WAV, which is how Lhotse keeps sound.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webdataset
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from benchmarks.stream import (
    FRAMES_HZ,
    PER_SHARD,
    RATE_HZ,
    N,
    arrays_of,
    consume,
    copy,
    ids_of,
    least,
    mapped,
    touch,
    write,
)  # fmt: skip
from models.batch import FULL_SCALE
from models.stream import Stream
from warehouse.shards import TAR, ShardReader

BUDGETS = {"frames": 10_000, "wave": 640_000}
Ways = dict[str, Callable[[], object]]
Join = Callable[[Sequence[np.ndarray]], object]


def main() -> None:
    """Prints one table for each form of input."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else N
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # torch's about arrays that nobody can write to
    with tempfile.TemporaryDirectory() as name:
        for role, budget in BUDGETS.items():
            folders = write(Path(name), role, n)
            stream = Stream(
                {role: folders}, "train", dict.fromkeys(ids_of(folders)), (), budget,
                ("wave",) if role == "wave" else (),
            )  # fmt: skip
            groups = stream.shuffled(0, 1)
            show(role, n, ways_of(Path(name), role, folders, stream, groups, budget))


def ways_of(
    folder: Path, role: str, folders: Sequence[Path], stream: Stream, groups: list[list[str]], budget: int
) -> Ways:
    """Everything that is timed."""
    maps = [mapped(each) for each in folders]
    order = [arrays_of([ShardReader(each) for each in folders], group) for group in groups]
    n_each = round(len(stream) / len(groups))
    memory = np.ones(max(sum(array.size for array in arrays) for arrays in order), order[0][0].dtype)
    ways: Ways = {
        "every byte through a map": lambda: touch(maps),
        "each array copied as it is stored": lambda: copy(order, memory),
        "this, packed": lambda: consume(stream.packed(groups)),
        "this, padded": lambda: consume(stream.batches(groups)),
    }
    if find_spec("streaming"):
        ways |= mds(folder / f"mds-{role}", folders, groups, n_each)
    ways |= tars(role, folders, n_each)
    if find_spec("lhotse"):
        hz = RATE_HZ if role == "wave" else FRAMES_HZ
        ways |= shar(folder / f"shar-{role}", folders, budget / hz, role)
    return ways


def show(role: str, n: int, ways: Ways) -> None:
    """Times and prints, and says how far the best of the others is behind."""
    spent = least(ways)
    sums, copies, *_ = spent.values()
    print(f"\n{role}: {n} utterances; ms, × bytes, × copies")
    for what, least_s in spent.items():
        print(f"{what:52} {least_s * 1e3:8.1f} {least_s / sums:7.2f} {least_s / copies:7.2f}")
    for form in ("packed", "padded"):
        others = {what: s for what, s in spent.items() if form in what and not what.startswith("this")}
        if others:
            best = min(others, key=lambda what: others[what])
            print(f"{form}: {best} takes {others[best] / spent[f'this, {form}']:.1f} × as long as this")


def packed(arrays: Sequence[np.ndarray]) -> object:
    """One array behind the other, and their lengths."""
    tensors = [torch.from_numpy(array) for array in arrays]
    return torch.cat(tensors), torch.tensor([len(tensor) for tensor in tensors])


def padded(arrays: Sequence[np.ndarray]) -> object:
    """What torch itself offers: zeros behind what is shorter, as float32, and the lengths."""
    tensors = [torch.from_numpy(array) for array in arrays]
    batch = pad_sequence(tensors, batch_first=True)
    if batch.dtype == torch.int16:
        batch = batch.float().mul_(1 / FULL_SCALE)
    return batch, torch.tensor([len(tensor) for tensor in tensors])


FORMS: dict[str, Join] = {"packed": packed, "padded": padded}


def members(folders: Sequence[Path]) -> Iterator[tuple[str, np.ndarray]]:
    """Every utterance with a copy of its array."""
    for folder in folders:
        reader = ShardReader(folder)
        for utterance_id in reader:
            yield utterance_id, np.array(reader.array(utterance_id))


def mds(folder: Path, folders: Sequence[Path], groups: Sequence[Sequence[str]], n_each: int) -> Ways:
    """Writes the arrays as MDS; reads them by its loader, and array by array into our batches."""
    from streaming import MDSWriter, StreamingDataset

    dtype, places = next(members(folders))[1].dtype, {}
    with MDSWriter(out=str(folder), columns={"array": f"ndarray:{dtype}"}) as writer:
        for utterance_id, array in members(folders):
            places[utterance_id] = len(places)
            writer.write({"array": array})
    dataset = StreamingDataset(local=str(folder), shuffle=False, batch_size=n_each)
    ways: Ways = {"MDS, arrays": lambda: sum(1 for group in groups for u in group if dataset[places[u]] is not None)}
    for form, join in FORMS.items():
        loader: Any = DataLoader(
            dataset, batch_size=n_each, collate_fn=lambda rows, join=join: join([row["array"] for row in rows])
        )
        ways[f"MDS, its loader, {form}"] = lambda loader=loader: consume(loader)
        ways[f"MDS, our batches, {form}"] = lambda join=join: consume(
            join([dataset[places[u]]["array"] for u in group]) for group in groups
        )
    return ways


def tars(role: str, folders: Sequence[Path], n_each: int) -> Ways:
    """The same tars through webdataset."""
    paths = [str(folder / TAR) for folder in folders]

    def read(join: Join | None) -> Iterable[object]:
        pipeline = webdataset.WebDataset(paths, shardshuffle=False).decode().to_tuple(f"{role}.npy")
        return (
            pipeline if join is None else pipeline.batched(n_each, collation_fn=lambda rows: join([a for (a,) in rows]))
        )

    ways: Ways = {"webdataset, arrays": lambda: consume(read(None))}
    for form, join in FORMS.items():
        ways[f"webdataset, {form}"] = lambda join=join: consume(read(join))
    return ways


def shar(folder: Path, folders: Sequence[Path], budget_s: float, role: str) -> Ways:
    """Writes the arrays as Lhotse Shar, uncompressed; reads them in batches of its own making."""
    from lhotse import CutSet, MonoCut, Recording
    from lhotse.dataset import DynamicBucketingSampler
    from lhotse.dataset.collation import collate_audio, collate_custom_field
    from lhotse.shar import SharWriter

    folder.mkdir()
    is_wave = role == "wave"
    fields = {"recording": "wav"} if is_wave else {"array": "numpy"}
    with SharWriter(str(folder), fields=fields, shard_size=PER_SHARD) as writer:
        for utterance_id, array in members(folders):
            if is_wave:
                writer.write(recorded(Recording, folder.parent, utterance_id, array))
            else:
                cut = MonoCut(utterance_id, 0, len(array) / FRAMES_HZ, 0)
                writer.write(cut.attach_tensor("array", array, frame_shift=1 / FRAMES_HZ, temporal_dim=0))
    paths = {kind: sorted(map(str, folder.glob(f"{kind}.*"))) for kind in ("cuts", *fields)}

    def loaded(cut: Any) -> np.ndarray:
        array = cut.load_audio()[0] if is_wave else cut.load_array()
        return np.asarray(array)

    def batches() -> Iterator[Any]:
        yield from DynamicBucketingSampler(CutSet.from_shar(fields=paths), max_duration=budget_s, shuffle=False)

    return {
        "Shar, arrays": lambda: sum(1 for cut in CutSet.from_shar(fields=paths) if loaded(cut) is not None),
        "Shar, its batches, packed": lambda: consume(packed([loaded(cut) for cut in cuts]) for cuts in batches()),
        "Shar, its batches, padded": lambda: consume(
            collate_audio(cuts) if is_wave else collate_custom_field(cuts, "array") for cuts in batches()
        ),
    }


def recorded(kind: Any, folder: Path, utterance_id: str, array: np.ndarray) -> Any:
    """A cut of sound, from a WAV file."""
    import soundfile

    path = folder / f"{utterance_id}.wav"
    soundfile.write(path, array, RATE_HZ, subtype="PCM_16")
    return kind.from_file(path, recording_id=utterance_id).to_cut()


if __name__ == "__main__":
    main()
