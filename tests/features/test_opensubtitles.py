"""OpenSubtitles as rows: pieces of a Moses text, documents and what is aligned of them."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.corpora.opensubtitles import OpenSubtitles
from features.releases import opus_xml
from features.sandbox import opensubtitles
from features.sandbox.opensubtitles import ALIGNMENT, DOCUMENTS, FILMS, IDS, MOSES, TEXT
from features.sandbox.traps.opensubtitles import DOCUMENT_TRAPS, MOSES_TRAPS
from features.subtitles.subtitle_lines import Fate, evaluation_lines, judged
from tests.features.surveying import files_of, surveyed
from warehouse.catalog import build
from warehouse.errors import InvalidField, MalformedSource, MissingFolder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    opensubtitles.write(tmp_path)
    return tmp_path


def without_unit(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row | {"unit": ""} for row in rows]


# -- a Moses text --------------------------------------------------------------------------------------------------


def test_lines_say_where_they_stand(root: Path, read_all) -> None:
    rows = read_all(OpenSubtitles(), root / MOSES)
    lines = (root / MOSES / TEXT).read_text().splitlines()
    assert len(rows.utterances) == opensubtitles.expected(MOSES)["lines, kept"] and not rows.failures
    for row in rows.utterances:
        assert lines[int(row["attributes"]["line"]) - 1] == row["verbatim"]
        assert row["utterance_id"] == f"c-{int(row['attributes']['line']):08d}"
        assert (row["path"], row["audio_id"], row["channel"], row["end_s"]) == (TEXT, "", "", 0.0)
    assert len({row["text"] for row in rows.utterances}) == len(rows.utterances)
    assert rows.labels == []


def test_the_ids_tell_documents_and_turns(root: Path, read_all) -> None:
    rows = read_all(OpenSubtitles(), root / MOSES).utterances
    assert {row["dialogue_id"] for row in rows} == {name.replace("/", "-") for name in FILMS}
    for document in FILMS:
        turns = [row["turn"] for row in rows if row["dialogue_id"] == document.replace("/", "-")]
        assert turns == sorted(set(turns))
    (root / MOSES / IDS).unlink()
    rows = read_all(OpenSubtitles(), root / MOSES).utterances
    assert {(row["dialogue_id"], row["turn"]) for row in rows} == {("", 0)}


@pytest.mark.parametrize("duplicates", ["drop", "keep"])
@pytest.mark.parametrize("lines_per_unit", [1, 50, 241, 1000])
def test_the_size_of_pieces_changes_no_row(root: Path, read_all, lines_per_unit: int, duplicates: Any) -> None:
    pieces = OpenSubtitles(lines_per_unit=lines_per_unit, duplicates=duplicates)
    assert len(pieces.units(root / MOSES)) == -(-241 // lines_per_unit)
    whole = read_all(OpenSubtitles(duplicates=duplicates), root / MOSES)
    assert without_unit(read_all(pieces, root / MOSES).utterances) == without_unit(whole.utterances)


def test_duplicates_may_stay(root: Path, read_all) -> None:
    counts = opensubtitles.expected(MOSES)
    kept = read_all(OpenSubtitles(duplicates="keep"), root / MOSES).utterances
    assert len(kept) == counts["lines, kept"] + counts["lines, duplicates"]
    assert sum(row["text"] == "Yes." for row in kept) == counts["lines, duplicates"] + 1


def test_evaluation_lines_are_left_out_and_part_of_every_unit(root: Path, read_all) -> None:
    chosen = read_all(OpenSubtitles(), root / MOSES).utterances[7]
    (root / MOSES / "test.txt").write_text(chosen["text"].upper().replace(",", "") + "\n")
    reader = OpenSubtitles(without=("test.txt",))
    assert all("test.txt" in paths for paths in reader.units(root / MOSES).values())
    rows = read_all(reader, root / MOSES).utterances
    assert chosen["utterance_id"] not in {row["utterance_id"] for row in rows}
    assert len(rows) == opensubtitles.expected(MOSES)["lines, kept"] - 1
    (root / MOSES / "test.txt").write_text("nothing of it\n")
    assert chosen in read_all(reader, root / MOSES).utterances, "another list, another reading"
    with pytest.raises(MissingFolder, match="the list of evaluation lines 'absent' is not at"):
        OpenSubtitles(without=("absent",)).units(root / MOSES)


def test_lines_that_cannot_be_read_are_failures(root: Path, read_all) -> None:
    MOSES_TRAPS["not_utf8"](root / MOSES)
    MOSES_TRAPS["malformed_ids"](root / MOSES)
    for reader in (OpenSubtitles(), OpenSubtitles(duplicates="keep")):
        reasons = [row["reason"] for row in read_all(reader, root / MOSES).failures]
        assert reasons[0] == "line 1 of the .ids file is not two documents and two lists of sentences"
        assert len(reasons) == 2 and reasons[1].endswith(" is not UTF-8")


def test_unequal_numbers_of_lines_are_refused(root: Path) -> None:
    MOSES_TRAPS["unequal_lines"](root / MOSES)
    complaint = r"OpenSubtitles\.en-zh_cn\.zh_cn: it has 240 lines, but OpenSubtitles\.en-zh_cn\.en has 241: they"
    with pytest.raises(MalformedSource, match=complaint):
        OpenSubtitles().units(root / MOSES)


def test_the_other_side_is_another_corpus(root: Path, read_all) -> None:
    rows = read_all(OpenSubtitles(language="zh_cn"), root / MOSES).utterances
    assert rows[0]["text"] == "第 0 行" and {row["language"] for row in rows} == {"zh-cn"}
    assert rows[0]["dialogue_id"] == f"{FILMS[0]}9".replace("/", "-")


# -- documents -----------------------------------------------------------------------------------------------------


def test_documents_are_dialogues(root: Path, read_all) -> None:
    reader = OpenSubtitles()
    assert list(reader.units(root / DOCUMENTS)) == ["1968-62622-5157083", "1994-110912-3"]
    rows = read_all(reader, root / DOCUMENTS)
    assert len(rows.utterances) == opensubtitles.expected(DOCUMENTS)["sentences, kept"] and not rows.failures
    first = rows.utterances[0]
    assert (first["utterance_id"], first["text"], first["turn"]) == ("c-1968-62622-5157083-1", "Yes.", 0)
    assert (first["dialogue_id"], first["attributes"]) == ("1968-62622-5157083", {"sentence": "1"})
    moses = {row["text"] for row in read_all(OpenSubtitles(), root / MOSES).utterances}
    assert {row["text"] for row in rows.utterances} == moses, "words that were cut apart are joined"


def test_only_what_is_aligned(root: Path, read_all) -> None:
    reader = OpenSubtitles(alignment=ALIGNMENT)
    assert all(ALIGNMENT in paths for paths in reader.units(root / DOCUMENTS).values())
    rows = read_all(reader, root / DOCUMENTS)
    assert rows.utterances and not rows.failures
    assert not [row for row in rows.utterances if int(row["attributes"]["sentence"]) % 5 == 0]
    whole = read_all(OpenSubtitles(duplicates="keep"), root / DOCUMENTS).utterances
    assert all(row in whole for row in rows.utterances)


@pytest.mark.parametrize(
    ("trap", "name", "reason"),
    [
        ("missing_document", "1968-62622-1", "1968/62622/1: the alignment names 1968/62622/1.xml, which is not there"),
        ("missing_sentence", "1968-62622-5157083", "the alignment names sentence '900', which 1968/62622/5157083.xml"),
        ("malformed_document", "1968-62622-5157083", "1968/62622/5157083: it cannot be unpacked (Compressed"),
        ("declared_entity", "1968-63001-77", "1968/63001/77: it declares the entity 'a', which no document of OPUS"),
        ("foreign_entity", "1968-63001-77", "1968/63001/77: it refers to the entity 'hellip', which only another"),
    ],
)
def test_a_document_that_cannot_be_read_is_a_failure(root: Path, read_all, trap: str, name: str, reason: str) -> None:
    clean = read_all(OpenSubtitles(alignment=ALIGNMENT, duplicates="keep"), root / DOCUMENTS).utterances
    DOCUMENT_TRAPS[trap](root / DOCUMENTS)
    rows = read_all(OpenSubtitles(alignment=ALIGNMENT, duplicates="keep"), root / DOCUMENTS)
    (failure,) = rows.failures
    assert failure["utterance_id"] == f"c-{name}" and reason in failure["reason"]
    lost = {row["dialogue_id"] for row in clean} - {row["dialogue_id"] for row in rows.utterances}
    assert len(lost) == 1, "its neighbours stay"


def test_a_folder_that_is_named_like_a_document_is_none(root: Path, read_all) -> None:
    clean = read_all(OpenSubtitles(), root / DOCUMENTS)
    (root / DOCUMENTS / "xml/en" / FILMS[0]).with_name("1.xml").mkdir()
    assert read_all(OpenSubtitles(), root / DOCUMENTS) == clean
    packed = (root / DOCUMENTS / "xml/en" / FILMS[0]).with_name("5157083.xml.gz")
    packed.unlink()
    packed.mkdir()
    (failure,) = read_all(OpenSubtitles(alignment=ALIGNMENT), root / DOCUMENTS).failures
    assert failure["reason"] == f"{FILMS[0]}: the alignment names {FILMS[0]}.xml, which is not there"


def test_an_alignment_may_name_what_lies_elsewhere(tmp_path: Path, read_all) -> None:
    write_documents(tmp_path, [("1990/1/1", [("Yes.", True)])])
    path = tmp_path / "en-fr.xml"
    group = '<linkGrp fromDoc="en/1.xml" toDoc="fr/1.xml"/>'
    path.write_text(path.read_text().replace("</cesAlign>", f"{group}</cesAlign>"))
    rows = read_all(OpenSubtitles(alignment="en-fr.xml"), tmp_path)
    assert len(rows.utterances) == 1
    assert [row["reason"] for row in rows.failures] == ["1: the alignment names 1.xml, which is not there"]


# -- repeats over all documents --------------------------------------------------------------------------------------

WORDS = ("Yes.", "- Yes.", "No.", "Yes", "[door slams]", "- Is it? - No.", "Subtitles by a friend", "Of course, yes!")
Document = tuple[str, Sequence[tuple[str, bool]]]
"""Its name, and its sentences, each with whether it is aligned."""


def write_documents(root: Path, documents: Sequence[Document]) -> None:
    links = []
    for name, sentences in documents:
        path = root / "en" / f"{name}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        body = "".join(f'<s id="{n}">{escape(text)}</s>' for n, (text, _) in enumerate(sentences, start=1))
        path.write_text(f"<document>{body}</document>", encoding="utf-8")
        aligned = "".join(f'<link xtargets="{n};1"/>' for n, (_, own) in enumerate(sentences, start=1) if own)
        links.append(f'<linkGrp fromDoc="en/{name}.xml" toDoc="fr/{name}.xml">{aligned}</linkGrp>')
    (root / "en-fr.xml").write_text(f"<cesAlign>{''.join(links)}</cesAlign>", encoding="utf-8")
    (root / "test.txt").write_text("NO\n", encoding="utf-8")


def firsts(documents: Sequence[Document], aligned_only: bool, evaluation: frozenset[str]) -> list[tuple[str, str]]:
    """(document, sentence) of what is to be kept, found as slowly as can be."""
    seen: list[str] = []
    found = []
    for name, sentences in sorted(documents):
        for number, (text, is_aligned) in enumerate(sentences, start=1):
            fate, said = judged(text, evaluation)
            if fate == Fate.KEPT and (is_aligned or not aligned_only) and said not in seen:
                seen.append(said)
                found.append((name.replace("/", "-"), str(number)))
    return found


def kept(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    return [(row["dialogue_id"], row["attributes"]["sentence"]) for row in rows]


sentences = st.lists(st.tuples(st.sampled_from(WORDS), st.booleans()), max_size=12)
names = st.builds("{}/{}/{}".format, st.integers(1990, 1993), st.integers(1, 3), st.integers(1, 12))


@settings(max_examples=settings.default.max_examples * 3 // 5)
@given(
    st.dictionaries(names, sentences, min_size=1, max_size=12), st.integers(1, 4), st.booleans(), st.booleans(),
    st.randoms(use_true_random=False),
)  # fmt: skip
def test_the_first_of_all_documents_is_kept_in_whatever_order_units_are_read(
    documents: dict[str, list[tuple[str, bool]]], per_unit: int, aligned: bool, evaluated: bool, order: random.Random
) -> None:
    reader = OpenSubtitles(alignment="en-fr.xml" if aligned else "", without=("test.txt",) if evaluated else ())
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(opus_xml, "DOCUMENTS", per_unit)
        root = Path(folder)
        write_documents(root, list(documents.items()))
        units = files_of(reader, root)
        survey = surveyed(reader, root, units)
        shuffled = order.sample(sorted(units), len(units))
        rows = {unit: reader.read(root, unit, units[unit], "c", **survey[unit]).utterances for unit in shuffled}
        found = kept([row for unit in units for row in rows[unit]])
        counts = {count.what: count.found for count in reader.check(root).counts}
        evaluation = evaluation_lines(root, reader.without)
    assert found == firsts(list(documents.items()), aligned, evaluation)
    assert counts["sentences, kept"] == len(found), "the check counts what is read"
    assert counts["sentences"] == sum(map(len, documents.values()))


def test_a_document_of_an_earlier_year_moves_the_first(tmp_path: Path, read_all) -> None:
    documents: list[Document] = [(f"199{n}/1/1", [("Yes.", True), (f"Number {n}.", True)]) for n in (1, 2)]
    write_documents(tmp_path, documents)
    before = kept(read_all(OpenSubtitles(), tmp_path).utterances)
    assert before == [("1991-1-1", "1"), ("1991-1-1", "2"), ("1992-1-1", "2")]
    write_documents(tmp_path, [("1990/1/1", [("Yes.", False)]), *documents])
    after = read_all(OpenSubtitles(), tmp_path).utterances
    assert kept(after) == [("1990-1-1", "1"), ("1991-1-1", "2"), ("1992-1-1", "2")]
    aligned = read_all(OpenSubtitles(alignment="en-fr.xml"), tmp_path).utterances
    assert kept(aligned) == before, "what is not aligned is the first of nothing"


def test_what_cannot_be_read_is_the_first_of_nothing(tmp_path: Path, read_all) -> None:
    write_documents(tmp_path, [(f"199{n}/1/1", [("Yes.", True)]) for n in (1, 2)])
    (tmp_path / "en/1991/1/1.xml").write_text('<document><s id="1">Yes.</s>')
    rows = read_all(OpenSubtitles(), tmp_path)
    assert kept(rows.utterances) == [("1992-1-1", "1")] and len(rows.failures) == 1


def test_only_documents_without_repeats_are_surveyed(root: Path) -> None:
    assert OpenSubtitles().wants_survey(root / DOCUMENTS)
    assert not OpenSubtitles(duplicates="keep").wants_survey(root / DOCUMENTS)
    assert not OpenSubtitles().wants_survey(root / MOSES)
    with pytest.raises(TypeError, match="unit '1994-110912-3' cannot be read without repeats unless 'survey' has said"):
        OpenSubtitles().read(root / DOCUMENTS, "1994-110912-3", {}, "c")


# -- what cannot be --------------------------------------------------------------------------------------------------


def test_an_alignment_that_is_missing_or_broken(root: Path) -> None:
    with pytest.raises(MissingFolder, match=r"the alignment 'en-fr\.xml' is not at .*: name it relative to the root"):
        OpenSubtitles(alignment="en-fr.xml").units(root / DOCUMENTS)
    with pytest.raises(MissingFolder, match=r"the alignment 'en-fr\.xml' is not at"):
        OpenSubtitles(alignment="en-fr.xml").check(root / DOCUMENTS)
    DOCUMENT_TRAPS["malformed_alignment"](root / DOCUMENTS)
    with pytest.raises(MalformedSource, match=r"en-zh_cn\.xml\.gz: a link of 1968/62622/5157083 has not two sides"):
        OpenSubtitles(alignment=ALIGNMENT).units(root / DOCUMENTS)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"lines_per_unit": 0}, "field 'lines_per_unit' is 0, but must be at least 1"),
        ({"without": ("a.txt", "../b.txt")}, r"field 'without' is '\.\./b\.txt', but must be a path below the root"),
        ({"alignment": "/en-fr.xml"}, "field 'alignment' is '/en-fr.xml', but must be a path below the root"),
    ],
)
def test_fields_that_cannot_be(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidField, match=f"reader 'opensubtitles': {complaint}"):
        build("features.corpora", "opensubtitles", fields, "reader 'opensubtitles'")


def test_what_is_empty_is_no_corpus(tmp_path: Path) -> None:
    (tmp_path / "xml" / "en" / "1968" / "1").mkdir(parents=True)
    with pytest.raises(MissingFolder, match=r"any document in 'en' is not at .*en: unpack OPUS's archive again"):
        OpenSubtitles().units(tmp_path)
    shutil.rmtree(tmp_path / "xml")
    (tmp_path / TEXT).touch()
    with pytest.raises(MalformedSource, match=r"OpenSubtitles\.en-zh_cn\.en: it has no line: unpack OPUS's archive"):
        OpenSubtitles().units(tmp_path)


# -- what is where -------------------------------------------------------------------------------------------------


def test_a_root_holds_one_of_the_layouts(root: Path, tmp_path: Path) -> None:
    with pytest.raises(MalformedSource, match=r"it holds OpenSubtitles\.en-zh_cn\.en and the documents of documents"):
        OpenSubtitles().units(root)
    with pytest.raises(MissingFolder, match=r"any text in 'fr' is not at .*: unpack OPUS's Moses text"):
        OpenSubtitles(language="fr").units(root)
    with pytest.raises(MissingFolder, match="OpenSubtitles is not at"):
        OpenSubtitles().units(root / "nowhere")
    shutil.rmtree(root / DOCUMENTS)
    with pytest.raises(MalformedSource, match=r"a\.xml: it aligns documents, but OpenSubtitles\.en-zh_cn\.en is"):
        OpenSubtitles(alignment="a.xml").units(root)
