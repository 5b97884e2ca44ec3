"""What a lake was asked before and what the answer was, remembered: of the same question nothing is read again.

For questions about what never changes, such as which utterances two artifacts share: they are named by digests, so that
whatever comes or goes makes another question. One file, sealed like what is remembered of manifests: damaged, it
remembers nothing, and it may be deleted, as a purge does. What is kept must not tell of any one utterance.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from warehouse import Warehouse
from warehouse.manifest_rows import unsealed_json, write_sealed

_MOST = 50_000
"""Answers that are kept: the newest."""


@contextmanager
def remembering(warehouse: Warehouse, about: str) -> Iterator[dict[str, Any]]:
    """Answers in JSON by question. Those that are added within are remembered, though what asks be interrupted.

    Args:
        about: names the file, below `.cache`.
    """
    path = warehouse.root / ".cache" / about
    known = unsealed_json(path)
    before = set(known)
    try:
        yield known
    finally:
        new = {question: answer for question, answer in known.items() if question not in before}
        if new:
            answers = list((unsealed_json(path) | new).items())[-_MOST:]  # others may have written meanwhile
            with suppress(OSError):  # a lake that cannot be written to can be asked
                write_sealed(path, json.dumps(dict(answers)).encode(), warehouse.manifests.beside())
