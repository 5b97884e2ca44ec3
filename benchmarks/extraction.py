"""What the loop costs: an extractor alone on decoded clips against the whole way from file to committed artifact.

Run as `PYTHONPATH=. python benchmarks/extraction.py`. Everything is one process; the ratio is what matters.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from features import ingest, sandbox
from features.audio import decode
from features.extract import works
from features.plugin import Clip
from features.raw import RawDigests
from warehouse import Warehouse
from warehouse.catalog import build
from warehouse.schema import UTTERANCES
from warehouse.tables import read_table

EXTRACTORS = (
    ("waveform", {}),
    ("opensmile", {"feature_set": "eGeMAPSv02", "level": "functionals"}),
    ("opensmile", {"feature_set": "ComParE_2016", "level": "lld_and_deltas"}),
)


def main() -> None:
    """Prints one row per extractor: × real time alone and through the lake, and the ratio of the two."""
    with tempfile.TemporaryDirectory() as folder:
        root = sandbox.write(Path(folder) / "sandbox", scale=0.3)["iemocap"]
        warehouse = Warehouse(Path(folder) / "lake", create=True)
        reader = build("features.corpora", "iemocap", {}, "the benchmark")
        digests = RawDigests(warehouse.root)
        raw = ingest.raw_works(digests, "sandbox", reader, root)
        digests.close()
        recorded = {unit: (work, warehouse.perform(work)) for unit, work in raw.items()}
        read = [
            warehouse.perform(w)
            for w in ingest.unit_works(warehouse.root, "sandbox", "corpora.iemocap", reader, root, recorded)
        ]
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


if __name__ == "__main__":
    main()
