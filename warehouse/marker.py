"""The marker of a lake, lake.json: that it is one, of which format, and which one it is.

A lake on a store is given an id when it is made, and a lake in a folder when something is taken away from it: no host
may go on with a copy that still has what went, or with one of another lake that had the same URL. A marker without an
id has the empty one, which is compared like any other.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from warehouse.in_progress import write_atomically

MARKER = "lake.json"


def id_of(content: bytes) -> str:
    """The id in a marker.

    Example:
        >>> id_of(b'{"format":1,"id":"5f0c"}'), id_of(b'{"format":1}')
        ('5f0c', '')
    """
    found = json.loads(content)
    return str(found.get("id", "")) if isinstance(found, dict) else ""


def new_id() -> str:
    """One that no lake had."""
    return uuid.uuid4().hex


def renew_id(root: Path) -> None:
    """Something was taken away: once the folder is copied back to a store, no older copy of it is worked on."""
    found: dict[str, Any] = json.loads((root / MARKER).read_bytes())
    write_atomically(root / MARKER, found | {"id": new_id()})
