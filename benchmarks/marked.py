"""What a script measured, in the page that tells of it: between two comments that name the script."""

from __future__ import annotations

from pathlib import Path


def marks(script: str) -> tuple[str, str]:
    """The comments before and behind what a script writes."""
    return f"<!-- {script}: begin -->", f"<!-- {script}: end -->"


def put_between(page: Path, script: str, found: str) -> None:
    """Writes a text between the marks of a script; all around them stays.

    Raises:
        ValueError: the page does not have each mark once, one behind the other.
    """
    text = page.read_text(encoding="utf-8")
    begin, end = marks(script)
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    if not (text.count(begin) == text.count(end) == rest.count(end) == 1):
        raise ValueError(f"{page.name} has no one place for what '{script}' measured: {begin} … {end}")
    page.write_text(f"{before}{begin}\n{found}\n{end}{after}", encoding="utf-8")
