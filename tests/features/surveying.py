"""Units with their raw files, and what a reader that surveys them all says of each, as ingest would give them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from features.plugin import RawFile
from warehouse.hashing import file_digest
from warehouse.schema import SURVEY
from warehouse.tables import table_of

Files = Mapping[str, Mapping[str, RawFile]]


def files_of(reader: Any, root: Path) -> Files:
    """Unit -> path -> raw file."""
    return {
        unit: {path: RawFile(path, (root / path).stat().st_size, file_digest(root / path)) for path in paths}
        for unit, paths in reader.units(root).items()
    }


def surveyed(reader: Any, root: Path, units: Files) -> dict[str, dict[str, Any]]:
    """Unit -> what `read` is given beside its files: nothing, unless the reader surveys all units first."""
    if not (hasattr(reader, "wants_survey") and reader.wants_survey(root)):
        return {unit: {} for unit in units}
    rows = table_of(reader.survey(root, units), SURVEY).to_pylist()
    return {unit: {"survey": {r["name"]: r["marks"] for r in rows if r["unit"] == unit}} for unit in units}
