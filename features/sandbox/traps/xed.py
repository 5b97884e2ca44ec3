"""What can be wrong with XED (English), planted in a copy of its sandbox tree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from features.sandbox.traps import misnamed_file
from features.sandbox.xed import ANNOTATED, NEUTRAL


def _missing_part(root: Path) -> None:
    (root / NEUTRAL).unlink()


def _changed(old: bytes, new: bytes, path: str = ANNOTATED) -> Callable[[Path], None]:
    """Plants other bytes where some stand first."""

    def plant(root: Path) -> None:
        raw = (root / path).read_bytes()
        at = raw.index(old)
        (root / path).write_bytes(raw[:at] + new + raw[at + len(old) :])

    return plant


def _repeated_text(root: Path) -> None:
    lines = (root / ANNOTATED).read_bytes().split(b"\r\n")
    lines[1] = lines[0].partition(b"\t")[0] + b"\t" + lines[1].partition(b"\t")[2]
    (root / ANNOTATED).write_bytes(b"\r\n".join(lines))


TRAPS: Mapping[str, Callable[[Path], None]] = {
    "missing_part": _missing_part,
    "misnamed_file": misnamed_file,
    "malformed_file": _changed(b"\t", b"\xff\t"),
    "other_line_ends": _changed(b"\r\n", b"\n"),
    "blank_line": _changed(b"\r\n", b"\r\n\r\n"),
    "malformed_line": _changed(b"9\tWe", b"0 We", NEUTRAL),
    "unknown_label": _changed(b"9\tWe", b"0\tWe", NEUTRAL),
    "repeated_label": _changed(b"\t5\r\n", b"\t5, 5\r\n"),
    "repeated_text": _repeated_text,
    "broken_text": _changed(b" .\t", b"\xef\xbf\xbd .\t"),
}
"""Anomaly -> what plants it, and nothing else, in a copy of the sandbox tree."""
