"""`emolake …`: a thin skin over functions that work without it."""

from __future__ import annotations

import sys

from flows.commands import app


def main() -> None:
    """The entry point: whatever goes wrong is one sentence on stderr and the exit code 1."""
    try:
        app()
    except Exception as error:
        from flows.app import complain, sentence_of

        complain(sentence_of(error))
    sys.exit(1)
