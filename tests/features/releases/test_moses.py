from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.releases import moses
from features.releases.moses import Origin, find_moses, line_starts, origin_of, read_lines
from warehouse.errors import MalformedSource


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.lists(st.sampled_from([b"", b"a", b"bcd", "é\u2028".encode(), b"x\x0b\x0c\x85y"])), st.booleans(),
       st.integers(1, 7), st.integers(1, 9))  # fmt: skip
def test_pieces_are_the_lines_of_the_file(
    tmp_path: Path, lines: list[bytes], is_ended: bool, every: int, block: int
) -> None:
    path = tmp_path / "text"
    content = b"\n".join(lines) + b"\n" * (is_ended and bool(lines))
    path.write_bytes(content)
    whole = content.split(b"\n")
    whole = whole[:-1] if not whole[-1] else whole
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moses, "_BLOCK", block)
        moses._line_starts.cache_clear()
        n_lines, starts = line_starts(path, every)
    assert n_lines == len(whole)
    pieces = [list(read_lines(path, start, every)) for start in starts]
    assert [line for piece in pieces for line in piece] == whole
    assert all(len(piece) == every for piece in pieces[:-1])


def test_a_changed_file_is_counted_again(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"a\r\nb\n")
    assert line_starts(path, 1) == (2, (0, 3)) and list(read_lines(path)) == [b"a", b"b"]
    path.write_bytes(b"a\n\nb")
    os.utime(path, ns=(1, 1))
    assert line_starts(path, 1) == (3, (0, 2, 3))


def test_the_pair_with_the_language_is_found(tmp_path: Path) -> None:
    deep = tmp_path / "moses" / "v2018"
    deep.mkdir(parents=True)
    for side in ("en", "zh_cn", "ids", "xml"):
        (deep / f"OpenSubtitles.en-zh_cn.{side}").touch()
    (deep / "Other.en-fr.en").touch()
    found = find_moses(tmp_path, "en")
    assert found is not None and found.text == deep / "OpenSubtitles.en-zh_cn.en"
    assert [path.suffix for path in found.aligned] == [".zh_cn", ".ids"]
    other = find_moses(tmp_path, "zh_cn")
    assert other is not None and other.translation == found.text
    assert find_moses(tmp_path, "fr") is None
    (deep / "OpenSubtitles.en-zh_cn.zh_cn").unlink()
    alone = find_moses(tmp_path, "en")
    assert alone is not None and [path.suffix for path in alone.aligned] == [".ids"]
    (tmp_path / "OpenSubtitles.de-en.en").mkdir()  # as some tools unpack: a folder is no text
    (tmp_path / "OpenSubtitles.en-fr.en").touch()
    with pytest.raises(MalformedSource, match=r"it holds 2 texts in 'en' \(OpenSubtitles.en-fr.en, OpenSubtitles.en-z"):
        find_moses(tmp_path, "en")


@pytest.mark.parametrize(
    ("line", "origin"),
    [
        (b"en/1968/62/51.xml.gz\tzh_cn/1968/62/47.xml\t7 8\t6", Origin("1968/62/51", 7)),
        (b"de/1968/62/47.xml\ten/1968/62/51.xml\t6\t7 8", Origin("1968/62/51", 7)),
        (b"en/1968/62/51.xml.gz\tzh_cn/1968/62/47.xml.gz\t7", None),
        (b"en/1968/62/51.xml.gz\tzh_cn/1968/62/47.xml.gz\t\t6", None),
        (b"en/1968/62/51.xml.gz\tzh_cn/1968/62/47.xml.gz\t0\t6", None),
        (b"fr/1968/62/51.xml.gz\tzh_cn/1968/62/47.xml.gz\t7\t6", None),
        (b"en/1968/62/51.xml.gz\tzh_cn/1968/62/47.xml.gz\t" + b"9" * 5000 + b"\t6", None),
        (b"\xff\t\t\t", None),
    ],
)
def test_where_a_line_comes_from(line: bytes, origin: Origin | None) -> None:
    assert origin_of(line, "en") == origin
