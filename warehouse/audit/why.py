"""Where two requests differ: why an order is not answered by what exists."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from warehouse.artifact import Artifact, Request
from warehouse.hashing import canonical_json
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
    found: list[Difference] = []

    def compare(a: Any, b: Any, where: str) -> None:
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            for name in sorted(a.keys() | b.keys()):
                compare(a.get(name, ABSENT), b.get(name, ABSENT), f"{where}.{name}" if where else name)
        elif type(a) is type(b) is str and a == b:
            pass  # most are: their JSON need not be written
        elif a is ABSENT or b is ABSENT or canonical_json(a) != canonical_json(b):
            found.append(Difference(where, a, b))

    compare(first, second, "")
    return found


def nearest(warehouse: Warehouse, request: Request) -> Artifact | None:
    """The artifact of the same kind and step whose request differs in the fewest places; the newest of those."""
    same = [a for a in warehouse.artifacts(request.kind) if a.request.step == request.step and a.key != request.key]
    asked = request.as_json()
    return min(reversed(same), key=lambda a: len(differences(asked, a.request)), default=None)


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
