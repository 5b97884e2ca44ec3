"""Requests to an object store, each made again while the store fails: the only module that speaks to one.

Whatever fsspec opens serves. Credentials are fsspec's and boto's own business: in the environment or their files, never
in the URL of a lake.
"""

from __future__ import annotations

import errno
import random
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from warehouse.errors import NotALake
from warehouse.hashing import file_digest
from warehouse.operating_errors import MissingExtra, StoreFails
from warehouse.secrets import refuse_in_url

PAUSES_S: Sequence[float] = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Before each further attempt at a request, give or take a half; beside what the store's own library does."""

N_AT_ONCE = 16
"""Requests of a listing, of a commit, of a fetch."""

_PART = 1 << 26
"""Files from so many bytes on are sent in parts, from the disk."""

_ANSWERS = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)
"""What a store says that does not fail."""

_FAILURES = {
    "aiohttp": "ClientError",
    "botocore.exceptions": "BotoCoreError",
    "http.client": "HTTPException",
    "urllib3.exceptions": "HTTPError",
}
"""Module -> what it raises where a store fails, beside OSErrors."""

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

T = TypeVar("T")
S = TypeVar("S")


def at_once(do: Callable[[S], T], values: Iterable[S]) -> list[T]:
    """Several requests at the same time, answered in order."""
    values = list(values)
    if len(values) < 2:
        return [do(value) for value in values]
    with ThreadPoolExecutor(min(N_AT_ONCE, len(values))) as threads:
        return list(threads.map(do, values))


class Objects:
    """The files below a URL, by their paths from there.

    Raises:
        NotALake: no such store is known. MissingExtra: s3fs is not installed. SecretToldOn: a password is in the URL.
    """

    def __init__(self, url: str) -> None:
        refuse_in_url(url)
        from fsspec.core import url_to_fs

        try:
            self._files, place = url_to_fs(url, use_listings_cache=False)
        except ImportError as error:
            raise MissingExtra(f"the lake {url}", "s3fs", "s3") from error
        except ValueError as error:
            raise NotALake(url, str(error)) from error
        self.url, self._place = url, place.rstrip("/")

    def get(self, name: str) -> bytes | None:
        """The content of a small file; None where there is none."""
        try:
            return self._steadily(f"give '{name}'", lambda: cast(bytes, self._files.cat_file(self._at(name))))
        except FileNotFoundError:
            return None

    def part(self, name: str, start: int, end: int) -> bytes:
        """Some bytes of a file."""
        ask = partial(self._files.cat_file, self._at(name), start=start, end=end)
        return self._steadily(f"give '{name}'", lambda: cast(bytes, ask()))

    def present(self, name: str) -> bytes:
        """What was put just now, and must be there: a store that does not show it yet is asked again."""

        def ask() -> bytes:
            try:
                return cast(bytes, self._files.cat_file(self._at(name)))
            except FileNotFoundError as error:
                raise OSError(f"'{name}' is not there yet") from error

        return self._steadily(f"give '{name}'", ask)

    def download(self, name: str, path: Path, n_bytes: int, sha256: str) -> bool:
        """Writes a file to the disk; whether it is there, with these bytes."""
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._steadily(f"give '{name}'", lambda: self._files.get_file(self._at(name), str(path)), path)
        except FileNotFoundError:
            return False
        return path.stat().st_size == n_bytes and file_digest(path) == sha256

    def names(self, folder: str) -> list[str]:
        """The names in a folder, sorted."""
        try:
            found = self._steadily(f"list '{folder}'", lambda: self._files.ls(self._at(folder), detail=False))
        except FileNotFoundError:
            return []
        return sorted({one.rstrip("/").rpartition("/")[2] for one in found} - {folder.rpartition("/")[2], ".", ".."})

    def sizes(self, folder: str) -> dict[str, int]:
        """Every file below a folder, '' being the URL's own, as a path from there, with its size."""
        return {name: one["size"] for name, one in self._below(folder).items()}

    def stamps(self, folder: str) -> dict[str, str]:
        """The same, with what another content would change."""
        return {name: _stamp(one) for name, one in self._below(folder).items()}

    def times(self, folder: str) -> dict[str, datetime]:
        """The same, with when it was put there; where a store does not say, never so long ago."""
        return {name: _time(one) for name, one in self._below(folder).items()}

    def put(self, name: str, content: bytes) -> None:
        """Puts a small file, whatever is there."""
        self._steadily(f"take '{name}'", lambda: self._files.pipe_file(self._at(name), content))

    def create(self, name: str, content: bytes) -> bool:
        """Puts a small file where nothing is; False where something is, be it what an attempt put whose answer was
        lost."""
        return self._create(name, partial(self._files.pipe_file, self._at(name), content))

    def upload(self, path: Path, name: str) -> bool:
        """Puts a file where nothing is; False where something is."""
        if path.stat().st_size < _PART:
            return self.create(name, path.read_bytes())
        if self.is_there(name):  # some of fsspec's stores overwrite with `put_file` whatever is asked
            return False
        return self._create(name, partial(self._files.put_file, str(path), self._at(name)))

    def replace(self, path: Path, name: str) -> None:
        """Puts a file, whatever is there."""
        self._steadily(f"take '{name}'", lambda: self._files.put_file(str(path), self._at(name)))

    def is_there(self, name: str) -> bool:
        """Whether there is such a file."""
        return bool(self._steadily(f"look for '{name}'", lambda: self._files.exists(self._at(name))))

    def copy(self, name: str, to: str) -> None:
        """Copies a file within the store, over whatever is there; none, if it went meanwhile."""
        with suppress(FileNotFoundError):
            self._steadily(f"copy '{name}'", lambda: self._files.cp_file(self._at(name), self._at(to)))

    def remove(self, name: str) -> None:
        """Removes a file, if it is there."""
        with suppress(FileNotFoundError):
            self._steadily(f"remove '{name}'", lambda: self._files.rm_file(self._at(name)))

    # -- inside ------------------------------------------------------------------------------------------------

    def _at(self, name: str) -> str:
        return f"{self._place}/{name}" if name else self._place

    def _steadily(self, what: str, request: Callable[[], T], to: Path | None = None) -> T:
        """Raises StoreFails where a request goes on failing or is refused; what is there, or is not, is no failure.
        Nor is it one of the store where the file that a request writes to cannot be written: that passes as it is."""
        said = [getattr(sys.modules.get(module), name, None) for module, name in _FAILURES.items()]
        failures = (OSError, *filter(None, said))
        number = 0
        while True:
            number += 1
            try:
                return request()
            except _ANSWERS:
                raise
            except failures as error:
                if to and (getattr(error, "errno", None) in _DISK or getattr(error, "filename", None) == str(to)):
                    raise
                is_final = isinstance(error, PermissionError) or getattr(error, "errno", None) == errno.ENOSYS
                if is_final or number > len(PAUSES_S):
                    raise StoreFails(self.url, what, number, f"{type(error).__name__}: {error}") from error
                time.sleep(PAUSES_S[number - 1] * random.uniform(0.5, 1.5))

    def _below(self, folder: str) -> dict[str, Mapping[str, Any]]:
        start = f"{self._at(folder)}/"
        try:
            found = self._steadily(f"list '{folder}'", lambda: self._files.find(self._at(folder), detail=True))
        except FileNotFoundError:
            return {}
        names = {path.removeprefix(start): one for path, one in found.items() if path.startswith(start)}
        # A store takes any name, and these become paths here: none may lead out of the copy.
        return {name: one for name, one in names.items() if {"", ".", ".."}.isdisjoint(name.split("/"))}

    def _create(self, name: str, put: Callable[..., Any]) -> bool:
        try:
            self._steadily(f"take '{name}'", lambda: put(mode="create"))
        except FileExistsError:
            return False
        except StoreFails as error:
            if getattr(error.__cause__, "errno", None) != errno.ENOSYS:
                raise
            if self.is_there(name):  # the store knows no condition
                return False
            self._steadily(f"take '{name}'", put)
        return True


def _time(one: Mapping[str, Any]) -> datetime:
    said = next((one[name] for name in ("LastModified", "mtime", "created") if one.get(name)), datetime.max)
    if isinstance(said, (int, float)):
        return datetime.fromtimestamp(said, UTC)
    if not isinstance(said, datetime):
        said = datetime.max
    return said if said.tzinfo else said.replace(tzinfo=UTC)


def _stamp(one: Mapping[str, Any]) -> str:
    said = [one.get(name) for name in ("ETag", "LastModified", "mtime", "created", "ino")]
    return str([one.get("size"), *said]) if any(said) else uuid.uuid4().hex
