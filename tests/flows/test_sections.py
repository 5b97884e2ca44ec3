"""Pages of sections: what comes from data is escaped, a picture of our own is not."""

from __future__ import annotations

from markupsafe import Markup

from flows.sections import Section, html_page

SCRIPT = "<script>alert(1)</script>"


def test_everything_but_the_picture_is_escaped() -> None:
    section = Section(SCRIPT, [SCRIPT], [SCRIPT], [[SCRIPT]], Markup("<svg id='own'></svg>"))
    page = html_page(SCRIPT, [section])
    assert SCRIPT not in page and page.count("&lt;script&gt;") == 6  # the title stands in the head too
    assert "<svg id='own'></svg>" in page


def test_a_section_without_rows_has_no_table() -> None:
    page = html_page("t", [Section("empty", ["Nothing."], ["column"])])
    assert "<table>" not in page and "<figure" not in page and "<p>Nothing.</p>" in page
