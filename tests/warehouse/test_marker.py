"""Which lake a folder or a store holds."""

from __future__ import annotations

import json

from warehouse import Warehouse
from warehouse.audit.verify import verify
from warehouse.marker import MARKER, id_of, new_id, renew_id


def test_a_lake_has_the_empty_id_until_something_is_taken_away(lake: Warehouse) -> None:
    marker = lake.root / MARKER
    assert id_of(marker.read_bytes()) == "" == id_of(b"[]") and new_id() != new_id()
    renew_id(lake.root)
    first = marker.read_bytes()
    renew_id(lake.root)
    assert "" != id_of(first) != id_of(marker.read_bytes()) and json.loads(first).keys() == {"format", "id"}
    assert verify(lake) == [] and Warehouse(lake.root).artifacts() == []
