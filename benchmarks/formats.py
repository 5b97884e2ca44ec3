"""The same arrays as this project's shards, as MosaicML's MDS and as Lhotse Shar: what it costs to read them all once.

    pip install mosaicml-streaming lhotse
    PYTHONPATH=. python benchmarks/formats.py [N_UTTERANCES]

The two are no dependency of the project; what is absent has no row. Everything is read once before it is timed; numbers
are processor seconds, the least of several rounds in turns. MDS and Shar give one array after the other as it was
stored; the rows with "batches" put the same utterances together, with the same function.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from benchmarks.stream import FRAMES_HZ, PER_SHARD, RATE_HZ, N, consume, ids_of, least, mapped, touch, write
from models.batch import NO_LABEL, collate
from models.stream import Stream
from warehouse.shards import ShardReader

BUDGETS = {"frames": 40_000, "wave": 640_000}


def main() -> None:
    """Prints one table for each form of input."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else N
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        for role, budget in BUDGETS.items():
            folders = write(Path(name), role, n)
            stream = Stream(
                {role: folders}, "train", dict.fromkeys(ids_of(folders)), (), budget,
                ("wave",) if role == "wave" else (),
            )  # fmt: skip
            groups, maps = stream.shuffled(0, 1), [mapped(folder) for folder in folders]
            ways: dict[str, Callable[[], object]] = {
                "every byte through a map": lambda m=maps: touch(m),  # type: ignore[misc]
                "this, padded batches": lambda s=stream, g=groups: consume(s.batches(g)),  # type: ignore[misc]
            }
            if find_spec("streaming"):
                read = mds(Path(name) / f"mds-{role}", folders)
                ways["MDS, arrays"] = lambda r=read, g=groups: sum(1 for group in g for _ in map(r, group))  # type: ignore[misc]
                ways["MDS, padded batches"] = lambda r=read, g=groups: batched(r, g, role)  # type: ignore[misc]  # noqa: B023
            if find_spec("lhotse"):
                ways["Lhotse Shar, arrays"] = shar(Path(name) / f"shar-{role}", folders)
            spent = least(ways)
            floor, own, *others = spent.values()
            print(f"\n{role}: {n} utterances, × bytes")
            for what, least_s in spent.items():
                print(f"{what:28} {least_s * 1e3:8.1f} ms {least_s / floor:7.2f}")
            if others:
                print(f"the quickest of the others takes {min(others) / own:.1f} × as long as this")


def arrays_of(folders: Sequence[Path]) -> Iterator[tuple[str, np.ndarray]]:
    """Every utterance with a copy of its array."""
    for folder in folders:
        reader = ShardReader(folder)
        for utterance_id in reader:
            yield utterance_id, np.array(reader.array(utterance_id))


def mds(folder: Path, folders: Sequence[Path]) -> Callable[[str], np.ndarray]:
    """Writes the arrays as MDS; what reads one of them."""
    from streaming import MDSWriter, StreamingDataset

    dtype, places = next(arrays_of(folders))[1].dtype, {}
    with MDSWriter(out=str(folder), columns={"array": f"ndarray:{dtype}"}) as writer:
        for utterance_id, array in arrays_of(folders):
            places[utterance_id] = len(places)
            writer.write({"array": array})
    dataset = StreamingDataset(local=str(folder), shuffle=False, batch_size=1)
    return lambda utterance_id: dataset[places[utterance_id]]["array"]


def batched(read: Callable[[str], np.ndarray], groups: Sequence[Sequence[str]], role: str) -> int:
    """Padded batches of what a function reads."""
    waves = ("wave",) if role == "wave" else ()
    n = 0
    for group in groups:
        arrays = [array[:, None] if array.ndim == 1 else array for array in map(read, group)]
        n += len(collate(group, {role: arrays}, {}, [NO_LABEL] * len(group), waves))
    return n


def shar(folder: Path, folders: Sequence[Path]) -> Callable[[], int]:
    """Writes the arrays as Lhotse Shar, uncompressed; what reads them all in order."""
    from lhotse import CutSet, MonoCut
    from lhotse.shar import SharWriter

    folder.mkdir()
    with SharWriter(str(folder), fields={"array": "numpy"}, shard_size=PER_SHARD) as writer:
        for utterance_id, array in arrays_of(folders):
            shift_s = 1 / (RATE_HZ if array.ndim == 1 else FRAMES_HZ)
            cut = MonoCut(utterance_id, 0, len(array) * shift_s, 0)
            writer.write(cut.attach_tensor("array", array, frame_shift=shift_s, temporal_dim=0))
    fields = {kind: sorted(map(str, folder.glob(f"{kind}.*"))) for kind in ("cuts", "array")}
    return lambda: sum(1 for cut in CutSet.from_shar(fields=fields) if cut.load_array() is not None)


if __name__ == "__main__":
    main()
