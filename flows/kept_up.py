"""A process that is begun again when it dies: the embedded Prefect server, without which a flow would only wait."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress

MOST_DEATHS = 5
"""Of one process; then what kills it will kill the next one too."""


class KeptUp:
    """A process and those that took its place.

    Args:
        begin: starts one.
        given_up: called when too many of them died, or none can be started any more.
    """

    def __init__(self, begin: Callable[[], subprocess.Popen[bytes]], given_up: Callable[[], None]) -> None:
        self._begin, self._given_up = begin, given_up
        self._changing = threading.Lock()
        self._is_over = False
        self.process = begin()

    def watch(self) -> None:
        """From now on a death is answered by another process. Before, it is the starter's to complain of."""
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        for _ in range(MOST_DEATHS):
            self.process.wait()
            with self._changing, suppress(OSError):
                if self._is_over:
                    return
                self.process = self._begin()
        self.process.wait()
        self._given_up()

    def last(self) -> subprocess.Popen[bytes]:
        """The process that is left, whose place nobody will take."""
        with self._changing:
            self._is_over = True
        return self.process
