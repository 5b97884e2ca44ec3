"""A store that fails, is slow and lists late: an fsspec filesystem over any other, for the tests of what goes wrong.

`faulty://bucket/lake` is `bucket/lake` on `FaultyStore.inner`, in this process. Which requests fail is drawn by a seed.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import fsspec
from fsspec import AbstractFileSystem
from fsspec.implementations.memory import MemoryFileSystem


class FaultyStore(AbstractFileSystem):
    """A request fails before it is done, or after it, so that its answer is lost; a listing may lack what is newest.

    Args of the class, which tests set (`reset`):
        fails: share of requests that fail; half of them after they were done.
        slow_s: seconds that each takes more.
        stale: names that listings lack. A read by name finds them all the same, as stores promise.
        before: told of each request before it is done: ("pipe_file", path).
    """

    protocol = "faulty"
    cachable = False
    inner: ClassVar[AbstractFileSystem] = MemoryFileSystem()
    fails: ClassVar[float] = 0.0
    slow_s: ClassVar[float] = 0.0
    stale: ClassVar[Callable[[str], bool]] = staticmethod(lambda path: False)
    before: ClassVar[Callable[[str, str], None]] = staticmethod(lambda request, path: None)
    n_requests: ClassVar[int] = 0
    n_failed: ClassVar[int] = 0
    rng: ClassVar[random.Random] = random.Random(0)
    _lock: ClassVar[Any] = threading.Lock()

    @classmethod
    def reset(cls, fails: float = 0.0, slow_s: float = 0.0, seed: int = 0) -> None:
        """An empty store again that never fails, or as often as is said."""
        cls.inner = MemoryFileSystem(skip_instance_cache=True)
        cls.inner.store = {}
        cls.inner.pseudo_dirs = [""]
        cls.fails, cls.slow_s, cls.rng = fails, slow_s, random.Random(seed)
        cls.stale = staticmethod(lambda path: False)
        cls.before = staticmethod(lambda request, path: None)
        cls.n_requests = cls.n_failed = 0

    def _ask(self, request: str, path: str, *arguments: Any, **options: Any) -> Any:
        cls, path = type(self), self._strip_protocol(path)
        with cls._lock:
            cls.n_requests += 1
            is_failing, is_done = cls.rng.random() < cls.fails, cls.rng.random() < 0.5
            cls.n_failed += is_failing
        time.sleep(cls.slow_s)
        cls.before(request, path)
        if is_failing and not is_done:
            raise ConnectionResetError(f"{request} of {path} was cut off")
        with cls._lock:
            answer = getattr(cls.inner, request)(f"/{path}", *arguments, **options)
        if is_failing:
            raise TimeoutError(f"the answer to {request} of {path} was lost")
        return answer

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        return self._ask("cat_file", path, start=start, end=end)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        self._ask("pipe_file", path, value, mode=mode)

    def put_file(self, lpath: str, rpath: str, mode: str = "overwrite", **options: Any) -> None:
        with open(lpath, "rb") as stream:
            self._ask("pipe_file", rpath, stream.read(), mode=mode)

    def get_file(self, rpath: str, lpath: str, **options: Any) -> None:
        content = self._ask("cat_file", rpath)
        with open(lpath, "wb") as stream:
            stream.write(content)

    def cp_file(self, path1: str, path2: str, **options: Any) -> None:
        self._ask("cp_file", path1, f"/{self._strip_protocol(path2)}")

    def rm_file(self, path: str) -> None:
        self._ask("rm_file", path)

    def exists(self, path: str, **options: Any) -> bool:
        return bool(self._ask("exists", path))

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        found = [one for one in self._ask("ls", path, detail=True) if not type(self).stale(one["name"])]
        shown = [one | {"name": one["name"].lstrip("/")} for one in found]
        return shown if detail else [one["name"] for one in shown]

    def find(self, path: str, **options: Any) -> Any:
        found = self._ask("find", path, detail=True)
        return {name.lstrip("/"): one for name, one in found.items() if not type(self).stale(name)}


fsspec.register_implementation("faulty", FaultyStore, clobber=True)


def on_store(below: str = "artifacts") -> dict[str, bytes]:
    """The files of `faulty://bucket/lake` that lie there, whatever fails."""
    start = f"/bucket/lake/{below}/"
    return {path.removeprefix(start): FaultyStore.inner.cat_file(path) for path in FaultyStore.inner.find(start)}


def put_lake(folder: Path) -> None:
    """Puts a lake that lies in a folder there, as `aws s3 sync --exclude '.*'` does."""
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith("."):
            FaultyStore.inner.pipe_file(f"/bucket/lake/{name}", path.read_bytes())
