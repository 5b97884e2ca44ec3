from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import pytest

from features.releases.opus_xml import (
    DOCUMENTS,
    Sentence,
    documents,
    find_alignments,
    find_language,
    groups,
    links,
    named_alignment,
    sentences,
)
from warehouse.errors import DeclaredEntity, ForeignEntity, MissingFolder, Untreatable


def document(tmp_path: Path, body: str, name: str = "d.xml") -> Path:
    path = tmp_path / name
    raw = f'<?xml version="1.0" encoding="utf-8"?>\n<document id="1">{body}</document>'.encode()
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return path


def test_sentences_with_and_without_words(tmp_path: Path) -> None:
    body = """<meta><source>s</source></meta>
        <s id="1"><time id="T1S" value="00:00:05,897" />Rock &amp;
        roll</s>
        <s id="2"><w id="2.1">Well</w><w id="2.2">,</w> <w id="2.3">no</w><time id="T1E" value="00:00:07,100" /></s>
        <s id="3.1"><time id="T2S" value="00:00:08,000" /></s>"""
    expected = [
        Sentence("1", "Rock & roll", False), Sentence("2", "Well , no", True), Sentence("3.1", "", False)
    ]  # fmt: skip
    assert sentences(document(tmp_path, body)) == expected
    assert sentences(document(tmp_path, body, "d.xml.gz")) == expected
    assert sentences(document(tmp_path, "", "e.xml")) == []


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "it is not well-formed XML (no element found"),
        (b"<document><s id='1'>a</document>", "it is not well-formed XML (mismatched tag: line 1"),
        (b"<document><s id='1'>&nbsp;</s></document>", "it is not well-formed XML (undefined entity"),
        (b"<document><s id='1'>\xff</s></document>", "it is not well-formed XML (not well-formed"),
        (b"<html></html>", "it begins with <html>, not with <document>"),
        (b"<document><s>a</s></document>", "sentence 1 has no id"),
        (b"<document><s id='1'>a<s id='2'>b</s></s></document>", "sentence 1 holds another one"),
        (b"<?xml version='1.0' encoding='x'?><document/>", "it is in an encoding that cannot be read (unknown enc"),
        (b"<?xml version='1.0' encoding='gbk'?><document/>", "it is in an encoding that cannot be read (multi-byte"),
        (b"<document><s id='1'>a</s><s id='1'>b</s></document>", "it has 2 sentences of id '1'"),
    ],
)
def test_what_is_no_document_says_why(tmp_path: Path, raw: bytes, reason: str) -> None:
    (tmp_path / "d.xml").write_bytes(raw)
    with pytest.raises(Untreatable) as raised:
        sentences(tmp_path / "d.xml")
    assert str(raised.value).startswith(reason)


@pytest.mark.parametrize("cut", [lambda raw: raw[:-9], lambda raw: b"plain" + raw, lambda raw: raw[:40] + b"\0" * 99])
def test_a_packed_file_that_is_cut_off_or_none(tmp_path: Path, cut) -> None:
    path = document(tmp_path, "".join(f'<s id="{n}">{n * n}</s>' for n in range(99)), "d.xml.gz")
    path.write_bytes(cut(path.read_bytes()))
    with pytest.raises(Untreatable, match=r"it cannot be unpacked \("):
        sentences(path)


@pytest.mark.parametrize("declared", ['a "laugh"', 'a SYSTEM "file:///etc/passwd"', '% a "laugh"', 'a PUBLIC "p" "u"'])
def test_a_declared_entity_is_refused_before_it_is_expanded(tmp_path: Path, declared: str) -> None:
    path = tmp_path / "d.xml"
    path.write_text(f"<!DOCTYPE document [<!ENTITY {declared}>]><document/>")
    with pytest.raises(DeclaredEntity, match="it declares the entity 'a', which no document of OPUS does"):
        sentences(path)


@pytest.mark.parametrize("doctype", ["SYSTEM 'marks.dtd'", "PUBLIC 'marks' ''", "SYSTEM 'marks.dtd' []"])
def test_an_entity_that_another_file_may_declare_is_refused_not_passed_over(tmp_path: Path, doctype: str) -> None:
    """Expat reads no other file, and without a word it would leave 'Well now' of it."""
    path = tmp_path / "d.xml"
    text = f'<!DOCTYPE document {doctype}><document><s id="1">Well&hellip; now</s></document>'
    path.write_text(text)
    with pytest.raises(ForeignEntity, match="it refers to the entity 'hellip', which only another file could declare"):
        sentences(path)
    path.write_text(text.replace("hellip", "amp"))
    assert sentences(path) == [Sentence("1", "Well& now", False)], "a DTD alone is no fault"


def test_an_alignment_is_named_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "en-fr.xml").touch()
    (tmp_path / "de-en.xml").mkdir()
    assert named_alignment(tmp_path, "en-fr.xml") == tmp_path / "en-fr.xml"
    assert find_alignments(tmp_path) == [tmp_path / "en-fr.xml"]
    with pytest.raises(MissingFolder, match=r"the alignment 'de-en\.xml' is not at .*: name it relative to the root"):
        named_alignment(tmp_path, "de-en.xml")


def test_laughs_cost_nothing(tmp_path: Path) -> None:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    path = tmp_path / "d.xml"
    path.write_text(f'<!DOCTYPE document [<!ENTITY l0 "ha">{laughs}]><document><s id="1">&l11;</s></document>')
    tracemalloc.start()
    with pytest.raises(DeclaredEntity):
        sentences(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


ALIGNMENT = """<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE cesAlign PUBLIC "-//CES//DTD XML cesAlign//EN" "">
<cesAlign version="1.0">
<linkGrp targType="s" fromDoc="en/1968/62/51.xml.gz" toDoc="zh_cn/1968/62/47.xml.gz">
<link id="SL0" xtargets="1 2;1" /><link id="SL1" xtargets=";2" /><link id="SL2" xtargets="5;3" />
</linkGrp>
<linkGrp targType="s" fromDoc="en/1968/62/52.xml.gz" toDoc="zh_cn/1968/62/48.xml.gz">
<link id="SL0" xtargets="4;" /></linkGrp>
<linkGrp targType="s" fromDoc="en/1968/62/51.xml.gz" toDoc="zh_cn/1968/62/49.xml.gz">
<link id="SL0" xtargets="9;3" /></linkGrp>
</cesAlign>"""


def test_aligned_sentences_of_either_side(tmp_path: Path) -> None:
    (tmp_path / "en-zh_cn.xml").write_text(ALIGNMENT)
    assert links(tmp_path / "en-zh_cn.xml", "en") == {"1968/62/51": "1 2 5 9", "1968/62/52": ""}
    assert links(tmp_path / "en-zh_cn.xml", "zh_cn") == {"1968/62/47": "1 3", "1968/62/48": "", "1968/62/49": "3"}
    with pytest.raises(Untreatable, match="it aligns no document in 'fr'"):
        links(tmp_path / "en-zh_cn.xml", "fr")
    (tmp_path / "en-zh_cn.xml").write_text(ALIGNMENT.replace("5;3", "5"))
    with pytest.raises(Untreatable, match=r"a link of 1968/62/51 has not two sides \('5'\)"):
        links(tmp_path / "en-zh_cn.xml", "en")


def test_documents_are_found_and_grouped(tmp_path: Path) -> None:
    folder = tmp_path / "OpenSubtitles" / "xml" / "en"
    assert find_language(tmp_path, "en") is None
    for name in ("1968/62/51.xml.gz", "1968/62/51.xml", "1968/7/1.xml", "1999/1/2.xml.gz", "1999/1/._2.xml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "1999/1/notes.txt").touch()
    (folder / "1999/README").touch()
    (folder / "README").touch()
    (folder / "1999/1/3.xml").mkdir()
    (tmp_path / "en").mkdir()
    assert find_language(tmp_path, "en") == folder
    found = documents(folder)
    assert list(found) == ["1968/62/51", "1968/7/1", "1999/1/2"] and found["1968/62/51"].name == "51.xml"
    assert groups(list(found)) == {"1968-62-51": ["1968/62/51", "1968/7/1"], "1999-1-2": ["1999/1/2"]}
    names = [f"1968/1/{number:03d}" for number in range(2 * DOCUMENTS + 1)]
    assert [len(group) for group in groups(names[::-1]).values()] == [DOCUMENTS, DOCUMENTS, 1]
    for name in ("en-zh_cn.xml.gz", "de-en.xml", "notes.xml"):
        (tmp_path / "OpenSubtitles" / name).touch()
    assert [path.name for path in find_alignments(tmp_path)] == ["de-en.xml", "en-zh_cn.xml.gz"]
