from __future__ import annotations

import pytest

from models.inputs import input_folders
from tests.models.tiny_lake import TinyLake
from warehouse import Request
from warehouse.errors import ArtifactNotFound


def test_folders_come_in_the_order_of_the_digests(lake: TinyLake) -> None:
    digests = lake.shards["speech"]
    folders = [input_folders(lake.warehouse, Request("x", "x", 1, {}, {"speech": tuple(order)})) for order in (
        digests, digests[::-1],
    )]  # fmt: skip
    assert folders[0] == folders[1]
    assert [lake.warehouse.resolve(digest).folder for digest in sorted(digests)] == list(folders[0]["speech"])


def test_a_digest_that_nothing_has(lake: TinyLake) -> None:
    with pytest.raises(ArtifactNotFound, match="no artifact has the key, digest or name 'feed'"):
        input_folders(lake.warehouse, Request("x", "x", 1, {}, {"speech": (lake.shards["speech"][0], "feed")}))
