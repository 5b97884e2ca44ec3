"""Where two requests differ: why an order is not answered by what exists."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from types import NoneType
from typing import Any

from warehouse.artifact import Artifact, Request
from warehouse.hashing import canonical_json
from warehouse.merged import with_pieces
from warehouse.store import Warehouse

ABSENT = "(absent)"


@dataclass(frozen=True)
class Difference:
    """One place where two requests differ, as a path such as 'params.plugin.fields.level'."""

    where: str
    asked: Any
    there: Any  # ABSENT where one has no such place

    def __str__(self) -> str:
        return f"{self.where}: {_brief(self.asked)} instead of {_brief(self.there)}"


def _brief(value: Any) -> str:
    if value is ABSENT:
        return ABSENT
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"


def differences(asked: Mapping[str, Any] | Request, there: Mapping[str, Any] | Request) -> list[Difference]:
    """Every field, version or input in which two requests differ: none exactly when their keys are the same."""
    first = asked.as_json() if isinstance(asked, Request) else asked
    second = there.as_json() if isinstance(there, Request) else there
    return list(_apart(first, second))


def _apart(a: Any, b: Any, where: str = "") -> Iterator[Difference]:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for name in sorted(a.keys() | b.keys()):
            yield from _apart(a.get(name, ABSENT), b.get(name, ABSENT), f"{where}.{name}" if where else name)
    elif a is ABSENT or b is ABSENT or not _is_same(a, b):
        yield Difference(where, a, b)


_PLAIN = {str, int, bool, NoneType}


def _is_same(a: Any, b: Any) -> bool:
    """Whether two values have one canonical JSON, which of most need not be written for that."""
    if type(a) in _PLAIN and type(b) in _PLAIN:
        return type(a) is type(b) and a == b
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(_is_same, a, b))
    return canonical_json(a) == canonical_json(b)


def nearest(warehouse: Warehouse, request: Request) -> Artifact | None:
    """The artifact of the same kind and step whose request differs in the fewest places; the newest of those.
    What was merged is compared as it was."""
    found, least = None, None
    for a in reversed(with_pieces(warehouse.artifacts(request.kind))):
        if a.request.step != request.step or a.key == request.key:
            continue
        n = sum(1 for _ in islice(_of_one_step(request, a.request), least))
        if least is None or n < least:
            found, least = a, n
        if least == 1:
            break  # one of another key differs
    return found


def _of_one_step(asked: Request, there: Request) -> Iterator[Difference]:
    """Differences of two requests, the costly fields last: what is not asked for is not read."""
    for name in ("version", "inputs", "params"):
        yield from _apart(getattr(asked, name), getattr(there, name), name)


def why(warehouse: Warehouse, request: Request) -> list[Difference]:
    """Why an order is not answered by what exists: how it differs from the nearest artifact; [] when there is none."""
    close = nearest(warehouse, request)
    return differences(request, close.request) if close else []


def environment_differences(asked: Artifact, there: Artifact) -> list[Difference]:
    """In what two artifacts ran that differs: interpreter, machine, and versions of libraries. None of it is identity:
    where the requests are alike and the bytes are not, it is what is left. What only one of them recorded is absent."""
    first, second = (
        {name: a.environment[name] for name in ("python", "machine", "packages") if name in a.environment}
        for a in (asked, there)
    )
    return [Difference(f"environment.{one.where}", one.asked, one.there) for one in differences(first, second)]
