"""Where scripts write what they measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import gpu, plan, reliability, scale, scaling, share
from benchmarks.marked import marks, put_between

BEGIN, END = marks("a script")


def test_what_stands_around_the_marks_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"ä\n{BEGIN}\nold\n{END}\nb\n", encoding="utf-8")
    put_between(page, "a script", "new")
    put_between(page, "a script", "newer")
    assert page.read_text(encoding="utf-8") == f"ä\n{BEGIN}\nnewer\n{END}\nb\n"


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{END}{END}", f"{BEGIN}{BEGIN}{END}"])
def test_a_page_without_one_place_is_left_alone(text: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"page\.md has no one place for what 'a script' measured: <!-- a script"):
        put_between(page, "a script", "new")
    assert page.read_text(encoding="utf-8") == text


OURS = [(one.PAGE, one.SCRIPT) for one in (gpu, plan, reliability, scale, share)]


@pytest.mark.parametrize(("page", "script"), [*OURS, *((scaling.PAGE, one) for one in scaling.SCRIPTS.values())])
def test_the_pages_of_the_house_have_the_marks(page: Path, script: str) -> None:
    text = page.read_text(encoding="utf-8")
    begin, end = marks(script)
    assert text.count(begin) == text.count(end) == 1 and text.index(begin) < text.index(end)
