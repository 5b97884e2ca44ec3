"""The parts that publishers give as lists of ids, shipped with the readers: one file per part, one id per line.

cmu_mosei/   videos of CMU-MOSEI's train, valid and test parts (source: the CMU Multimodal SDK)
"""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def fold_of(corpus: str) -> dict[str, str]:
    """Id -> the part it is in; ids in no part are absent.

    Example:
        >>> fold_of("cmu_mosei")["-3g5yACwYnA"]
        'train'
    """
    files = sorted((Path(__file__).parent / corpus).glob("*.txt"))
    return {name: path.stem for path in files for name in path.read_text(encoding="ascii").split()}
