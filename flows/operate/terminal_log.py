"""What Prefect prints of a mistake on the terminal of `emolake serve`: its sentence, where by itself it prints the
traceback of each failed try. Prefect's record of the run, which its UI shows, has both.
"""

from __future__ import annotations

import logging
from copy import copy

from flows.server import prints

Mistakes = tuple[type[BaseException], ...]


def say_sentences(mistakes: Mistakes) -> None:
    """From here on this process prints those mistakes as sentences; a fault of our own keeps its traceback."""
    for outlet in filter(prints, logging.getLogger().handlers):
        if not isinstance(outlet.formatter, _Sentences):
            outlet.setFormatter(_Sentences(outlet.formatter or logging.Formatter(), mistakes))


class _Sentences(logging.Formatter):
    """Another formatter, which is given mistakes without their tracebacks. Not a filter: that would take them from
    every handler which comes after."""

    def __init__(self, of: logging.Formatter, mistakes: Mistakes) -> None:
        super().__init__()
        self._of, self._mistakes = of, mistakes

    def format(self, record: logging.LogRecord) -> str:
        named = record.args if isinstance(record.args, tuple) else ()
        error = record.exc_info[1] if record.exc_info else next((one for one in named if self._is_one(one)), None)
        if not self._is_one(error):
            return self._of.format(record)
        told, said, sentence = copy(record), record.getMessage(), str(error) or type(error).__name__
        told.msg = said.replace(repr(error), sentence) if repr(error) in said else f"{said}: {sentence}"
        told.args = None
        told.exc_info = told.exc_text = None
        return self._of.format(told)

    def _is_one(self, one: object) -> bool:
        return isinstance(one, self._mistakes)
