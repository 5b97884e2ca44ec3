"""What the loop costs: an extractor alone on decoded clips against the whole way from file to committed artifact; and
what openSMILE costs clip by clip against its own C core over one long file.

Run as `PYTHONPATH=. python benchmarks/extraction.py`. Everything is one process; the ratio is what matters.
"""

from __future__ import annotations

import re
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import opensmile
from opensmile.core.lib import OpenSMILE

from features import sandbox
from features.audio import decode
from features.extract import works
from features.ingest import ingest
from features.opensmile_engine import ENCODING, as_one_array, completed, configuration, only
from features.plugin import RATE_HZ, Clip
from warehouse import Warehouse
from warehouse.catalog import build
from warehouse.schema import UTTERANCES
from warehouse.tables import read_table

EXTRACTORS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("waveform", {}),
    ("mfcc", {}),
    ("opensmile", {"feature_set": "eGeMAPSv02", "level": "functionals"}),
    ("opensmile", {"feature_set": "ComParE_2016", "level": "lld_and_deltas"}),
)


OPENSMILE = (
    ("ComParE_2016", "lld_and_deltas", ("lld", "lld_de"), "compare/ComParE_2016"),
    ("ComParE_2016", "functionals", ("func",), "compare/ComParE_2016"),
    ("eGeMAPSv02", "lld", ("lld",), "egemaps/v02/eGeMAPSv02"),
    ("eGeMAPSv02", "functionals", ("func",), "egemaps/v02/eGeMAPSv02"),
)
N_ROUNDS = 3


def main() -> None:
    """Prints one row per extractor: × real time alone and through the lake, and the ratio of the two; then one per
    feature set of openSMILE: processor seconds as multiples of its floor."""
    with tempfile.TemporaryDirectory() as folder:
        root = sandbox.write(Path(folder) / "sandbox", scale=0.3)["iemocap"]
        warehouse = Warehouse(Path(folder) / "lake", create=True)
        reader = build("features.corpora", "iemocap", {}, "the benchmark")
        read = ingest(warehouse, "sandbox", "corpora.iemocap", reader, root)
        utterances = [a for a in read if a.request.kind == "utterances"]
        rows = [row for a in utterances for row in read_table(a.path("utterances.parquet"), UTTERANCES).to_pylist()]
        clips = [Clip(row["audio_id"], decode(root / row["path"])) for row in rows]
        audio_s = sum(clip.duration_s for clip in clips)

        print(f"{len(clips)} clips, {audio_s:.0f} s of audio")
        print(f"{'extractor':<36}{'alone':>10}{'the line':>10}{'ratio':>8}   (x real time)")
        for name, fields in EXTRACTORS:
            plugin = build("features.extractors", name, fields, "the benchmark")
            run = plugin.load("cpu")
            run(clips[:1])
            began = time.perf_counter()
            run(clips)
            alone_s = time.perf_counter() - began
            began = time.perf_counter()
            for work in works(warehouse, f"extractors.{name}", plugin, utterances, {"sandbox": root}):
                warehouse.perform(work)
            line_s = time.perf_counter() - began
            what = " ".join([name, *map(str, fields.values())])
            print(f"{what:<36}{audio_s / alone_s:>10.0f}{audio_s / line_s:>10.0f}{line_s / alone_s:>8.2f}")

        columns = f"{'floor':>9}{'windows':>9}{'core':>7}{'this':>7}{'one call':>10}{'a call per level':>18}"
        print(f"\n{'openSMILE':<30}{columns}")
        for feature_set, level, levels, path in OPENSMILE:
            floor_s, *others = opensmile_costs(clips, feature_set, level, levels, path)
            windows, core, ours, one_call, a_call_each = (cost / floor_s for cost in others)
            print(
                f"{feature_set + ' ' + level:<30}{audio_s / floor_s:>7.0f} x{windows:>9.2f}{core:>7.2f}{ours:>7.2f}"
                f"{one_call:>10.2f}{a_call_each:>18.2f}"
            )


def opensmile_costs(clips: Sequence[Clip], feature_set: str, level: str, read: Sequence[str], path: str) -> list[float]:
    """Processor seconds, the least of N_ROUNDS in turns: of the floor, of the floor with functionals over windows, of
    the C core reset and run for each clip, of our extractor with its configuration, of one call of the `opensmile`
    package per clip, and of one call per clip and level.

    The floor is the C core over all clips as one long recording, configured before, with only the components that the
    levels need and nobody to take the frames. It computes functionals once; over windows as long as the clips are on
    average it computes them as often as there are clips. The core clip by clip has our configuration and nobody to take
    the frames either: what is left between the two is openSMILE's own reset.
    """
    both = ";".join(read)
    text = only(completed(configuration(Path(opensmile.__file__).parent / "core" / "config" / f"{path}.conf")), both)
    each = [sixteen_bits(clip.wave) for clip in clips if clip.wave is not None]
    long = b"".join(each)
    mean_s = sum(clip.duration_s for clip in clips) / len(clips)
    smiles = [opensmile.Smile(opensmile.FeatureSet[feature_set], one, loglevel=0) for one in (both, *read)]
    plugin = build("features.extractors", "opensmile", {"feature_set": feature_set, "level": level}, "the benchmark")

    def configured(text: str) -> OpenSMILE:
        core = OpenSMILE()
        with tempfile.NamedTemporaryFile("w", encoding=ENCODING) as file:
            file.write(text)
            file.flush()
            core.initialize(file.name, {"sinkLevel": both, "sampleRate": RATE_HZ, "nBits": 16}, 0)
        return core

    def over(core: OpenSMILE, pcm: bytes) -> None:
        core.external_audio_source_write_data("extsource", pcm)
        core.external_audio_source_set_eoi("extsource")
        core.run()

    def clip_by_clip(core: OpenSMILE) -> None:
        for pcm in each:
            core.reset()
            over(core, pcm)

    def package(chosen: Sequence[opensmile.Smile]) -> None:
        for clip in clips:
            for smile in chosen:
                smile(clip.wave, RATE_HZ)

    def took_s(run: Callable[[], object]) -> float:
        began = time.process_time()
        run()
        return time.process_time() - began

    warnings.filterwarnings("ignore", "Segment too short", UserWarning)
    least = [float("inf")] * 6
    for _ in range(N_ROUNDS):
        whole, windows, kept = map(configured, (text, over_windows(text, mean_s), as_one_array(text, both)))
        over(kept, each[0])
        extract = plugin.load("cpu")
        costs = (
            took_s(partial(over, whole, long)),
            took_s(partial(over, windows, long)),
            took_s(partial(clip_by_clip, kept)),
            took_s(partial(extract, clips)),
            took_s(partial(package, smiles[:1])),
            took_s(partial(package, smiles[1:])),
        )
        for core in (whole, windows, kept):
            core.free()
        least = [min(pair) for pair in zip(least, costs, strict=True)]
    return least


def sixteen_bits(wave: np.ndarray) -> bytes:
    """As openSMILE takes them."""
    return (np.clip(wave, -1, 32_767 / 32_768) * np.float32(32_768)).astype(np.int16).tobytes()


def over_windows(text: str, window_s: float) -> str:
    """A configuration whose functionals are those of one window after the other, not of the whole."""
    text = re.sub(r"(?m)^frameMode *= *full", "frameMode = fixed", text)
    return re.sub(r"(?m)^(frameSize|frameStep) *= *0 *$", rf"\1 = {window_s:.2f}", text)


if __name__ == "__main__":
    main()
