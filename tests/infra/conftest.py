"""What the tests of this room share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def moto() -> Iterator[str]:
    """The address of a server that speaks the protocol of S3, by a name, as in the compose file."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    try:
        yield f"http://localhost:{server.get_host_and_port()[1]}"
    finally:
        server.stop()
