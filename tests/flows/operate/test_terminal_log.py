"""On the terminal a mistake is a sentence; other handlers are told all of it."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest
from prefect.logging.handlers import PrefectConsoleHandler

from flows.operate.terminal_log import say_sentences
from warehouse.errors import EmolakeError

SENTENCE = "corpus 'films' is not at /films: mount it"


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[logging.Logger, io.StringIO, io.StringIO]]:
    """A logger of Prefect's, what its console prints, and what a handler of another kind writes after it."""
    terminal, kept = io.StringIO(), io.StringIO()
    console, file = PrefectConsoleHandler(terminal), logging.StreamHandler(kept)
    console.setFormatter(logging.Formatter("%(levelname)s | %(message)s"))
    monkeypatch.setattr(logging.getLogger(), "handlers", [console, file])
    say_sentences((EmolakeError,))
    say_sentences((EmolakeError,))
    yield logging.getLogger("prefect.tried"), terminal, kept


def _fail(logger: logging.Logger, error: Exception, said: str = "") -> None:
    """As Prefect's engine tells it."""
    try:
        raise error
    except Exception as raised:
        said = said or f"Task run failed with exception: {raised!r} - Retries are exhausted"
        logger.error(said, exc_info=True)


def test_a_mistake_is_printed_as_its_sentence(printed: tuple[logging.Logger, io.StringIO, io.StringIO]) -> None:
    logger, terminal, kept = printed
    _fail(logger, EmolakeError(SENTENCE))
    line = f"ERROR | Task run failed with exception: {SENTENCE} - Retries are exhausted\n"
    assert terminal.getvalue() == line
    _fail(logger, EmolakeError(SENTENCE), "Engine execution exited with unexpected exception")
    line += f"ERROR | Engine execution exited with unexpected exception: {SENTENCE}\n"
    assert terminal.getvalue() == line
    assert "Traceback" in kept.getvalue() and "raise error" in kept.getvalue()
    logger.warning("Task run failed with %s: %r - Retry %s/%s will start", "x", EmolakeError(SENTENCE), 1, 2)
    again = f"WARNING | Task run failed with x: {SENTENCE} - Retry 1/2 will start\n"
    assert terminal.getvalue() == line + again


def test_a_fault_of_our_own_is_printed_with_its_place(
    printed: tuple[logging.Logger, io.StringIO, io.StringIO],
) -> None:
    logger, terminal, _ = printed
    _fail(logger, ZeroDivisionError("by zero"))
    logger.warning("%s of %s", 1, 2)
    assert "Traceback" in terminal.getvalue() and "raise error" in terminal.getvalue()
    assert terminal.getvalue().endswith("WARNING | 1 of 2\n")
