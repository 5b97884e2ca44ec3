"""Arrow's columns of Python's values, where a command makes few of them.

`pa.array` first imports pandas where that is installed, which takes longer than a question to a large lake.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import pyarrow as pa


def texts_of(values: Sequence[str | None]) -> pa.StringArray:
    """A column of text.

    Example:
        >>> texts_of(["a", None, "ä"]).to_pylist()
        ['a', None, 'ä']
    """
    cells = [(value or "").encode() for value in values]
    ends = np.fromiter(accumulate(map(len, cells), initial=0), np.int32, len(cells) + 1)
    there = np.packbits([value is not None for value in values], bitorder="little") if None in values else None
    content = pa.py_buffer(ends), pa.py_buffer(b"".join(cells))
    return pa.StringArray.from_buffers(len(cells), *content, None if there is None else pa.py_buffer(there))


def counts_of(values: Sequence[int]) -> pa.Int64Array:
    """A column of integers."""
    numbers = pa.py_buffer(np.array(values, np.int64))
    return pa.Array.from_buffers(pa.int64(), len(values), [None, numbers])
