"""What can be wrong with a corpus, planted one at a time in a copy of its sandbox tree: so the checks are tested."""

from __future__ import annotations

import os
from pathlib import Path


def misnamed_file(root: Path) -> None:
    """Plants an empty file whose name is 'café.txt' in cp1252, which is not UTF-8."""
    open(os.path.join(os.fsencode(root), b"caf\xe9.txt"), "wb").close()
