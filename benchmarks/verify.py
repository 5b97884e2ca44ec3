"""How fast a lake is looked through, and how fast it is hashed, against the hash library alone on the same bytes.

    PYTHONPATH=. python benchmarks/verify.py [N_ARTIFACTS]

One lake of few large files and one of many small ones. What is hashed was read before, so the disk is not measured;
each way is taken in turns, and the least of several rounds stands.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from warehouse import Request, Warehouse
from warehouse.artifact import MANIFEST, SEAL, content_digest, seal_of
from warehouse.audit.verify import verify
from warehouse.hashing import canonical_json

ROUNDS = 3


def main() -> None:
    """Prints one row per way for each lake."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    for n_artifacts, n_bytes in ((32, 2**24), (n, 2**14)):
        with tempfile.TemporaryDirectory() as name:
            warehouse = lake(Path(name) / "lake", n_artifacts, n_bytes)
            measure(warehouse, n_artifacts, n_bytes)


def lake(root: Path, n_artifacts: int, n_bytes: int) -> Warehouse:
    """Artifacts of one file each, every one made from the one before; written without waiting for the disk."""
    warehouse = Warehouse(root, create=True)
    before: tuple[str, ...] = ()
    for number in range(n_artifacts):
        request = Request("made", "benchmark", 1, {"number": number}, {"from": before})
        folder = warehouse.folder_of(request)
        folder.mkdir(parents=True)
        content = number.to_bytes(8, "big") * (n_bytes // 8)
        (folder / "content").write_bytes(content)
        files = {"content": {"sha256": hashlib.sha256(content).hexdigest(), "n_bytes": len(content)}}
        before = (content_digest(files),)
        manifest = {"request": request.as_json(), "files": files, "digest": before[0], "environment": {"python": "3"},
                    "created_at": "2026-01-01T00:00:00.000+00:00"}  # fmt: skip
        (folder / MANIFEST).write_bytes(canonical_json(manifest | {SEAL: seal_of(manifest)}))
    return warehouse


def measure(warehouse: Warehouse, n_artifacts: int, n_bytes: int) -> None:
    """Takes the ways in turns and prints what they took."""
    contents = [path.read_bytes() for path in (warehouse.root / "artifacts").glob("*/*/content")]
    n_threads = os.cpu_count() or 1
    ways: dict[str, Callable[[], object]] = {
        "hashlib, 1 thread": lambda: hashed(contents),
        f"hashlib, {n_threads} threads": lambda: hashed_by(contents, n_threads),
        "verify --deep": lambda: verify(warehouse),
        "verify": lambda: verify(warehouse, deep=False),
    }
    least = dict.fromkeys(ways, float("inf"))
    for _ in range(ROUNDS):
        for name, way in ways.items():
            began = time.perf_counter()
            faults = way()
            least[name] = min(least[name], time.perf_counter() - began)
            if faults:
                raise SystemExit(f"the lake is not sound: {faults}")
    total = n_artifacts * n_bytes
    print(f"\n{n_artifacts} artifacts of {n_bytes / 2**20:g} MiB")
    one, several = list(least.values())[:2]
    for name, seconds in least.items():
        rate = f"{total / seconds / 2**30:6.2f} GiB/s" if name != "verify" else " " * 12
        ratio = f"{one / seconds:6.2f} × 1 thread {several / seconds:6.2f} × {n_threads}" if name != "verify" else ""
        print(f"{name:20} {seconds * 1e3:9.1f} ms {rate} {ratio}")


def hashed(contents: Sequence[bytes]) -> None:
    """Every one, as the library does it."""
    for content in contents:
        hashlib.sha256(content).hexdigest()


def hashed_by(contents: Sequence[bytes], n_threads: int) -> None:
    """Shared among threads."""
    with ThreadPoolExecutor(n_threads) as threads:
        list(threads.map(hashed, [contents[start::n_threads] for start in range(n_threads)]))


if __name__ == "__main__":
    main()
