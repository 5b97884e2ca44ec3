"""An S3 server of this process, for the tests of lakes on a real protocol; other processes reach it too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import Request, urlopen

import pytest


@contextmanager
def s3_bucket() -> Iterator[str]:
    """The URL of an empty bucket; boto finds the server and its keys in the environment meanwhile."""
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
            patch.setenv("AWS_ACCESS_KEY_ID", "emolake")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "of-a-test-0123456789")
            patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            reset = Request(f"http://{host}:{port}/moto-api/reset", method="POST")  # what servers before it had
            urlopen(reset, timeout=60).close()
            s3fs.S3FileSystem.clear_instance_cache()  # one that knows the server of another test
            s3fs.S3FileSystem(use_listings_cache=False).mkdir("bucket")
            yield "s3://bucket"
    finally:
        server.stop()
