"""What MFA really wrote (format fixtures of version 3.4.3), and what it might write."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.mfa.outcome import Labelled, intervals, read_analysis, read_tiers
from features.plugin import RATE_HZ, Clip, Interval
from warehouse.errors import Untreatable

GRID = re.compile(r'xmin = (\S+) \s+xmax = (\S+) \s+text = "(.*)"')


def silent(duration_s: float, text: str) -> Clip:
    return Clip("c", np.zeros(round(duration_s * RATE_HZ), np.float32), text)


def stored(corpus: Path, output: Path, folder: str, name: str, tmp_path: Path) -> list[Interval]:
    """A stored alignment, read as one of ours: under the name that is its speaker's too."""
    analysis = read_analysis(output)
    row = dict(next(iter(analysis[name]))) if name in analysis else None
    clip = silent(float(row["end"]) if row else 2.99, (corpus / folder / f"{name}.lab").read_text("utf-8", "replace"))
    (tmp_path / name).mkdir()
    source, grid = output / folder / f"{name}.json", output / folder / f"{name}.TextGrid"
    if source.exists():
        whole = json.loads(source.read_bytes())
        whole["tiers"].pop("utterances", None)  # where the original text was asked for
        (tmp_path / name / f"{name}.json").write_text(json.dumps(whole))
    elif grid.exists():
        (tmp_path / name / f"{name}.json").write_text(as_json(grid))
    return intervals(clip, name, tmp_path, {name: [row | {"speaker": name}]} if row else {})


def as_json(grid: Path) -> str:
    """A TextGrid as the same alignment in JSON."""
    _, words, phones = grid.read_text("utf-8").split("IntervalTier")
    tiers = {
        name: {"entries": [[float(a), float(b), label] for a, b, label in GRID.findall(text)]}
        for name, text in (("words", words), ("phones", phones))
    }
    return json.dumps({"tiers": tiers})


def failure(real: Path, name: str, tmp_path: Path) -> list[Interval]:
    failures = real / "mfa" / "failures"
    return stored(failures / "corpus_transcripts", failures / "align_out", "spk1", name, tmp_path)


@pytest.mark.parametrize("kind", ["json", "json_no_cleanup"])
def test_every_real_alignment_holds_together(real: Path, kind: str, tmp_path: Path) -> None:
    labs = sorted((real / "mfa" / "corpus").rglob("*.lab"))
    refused = []
    for lab in labs:
        try:
            found = stored(real / "mfa" / "corpus", real / "mfa" / "align" / kind, lab.parent.name, lab.stem, tmp_path)
        except Untreatable as error:
            refused.append((lab.stem, str(error)))
            continue
        for tier in ("word", "phone", "syllable"):
            own = [i for i in found if i.tier == tier]
            assert own
            assert all(a.end_s <= b.start_s for a, b in pairwise(own))
            assert all(i.start_s == round(i.start_s, 3) for i in own)
    assert len(labs) == 15
    assert refused == [
        ("acoustic_corpus", "MFA does not know the word 'yknow'"),
        ("cold_corpus3", "word 36 of MFA's alignment is '[bracketed]', of the transcript 'adif'"),
    ]


def test_times_are_without_the_noise_of_float32(real: Path, tmp_path: Path) -> None:
    mfa = real / "mfa"
    found = stored(mfa / "corpus", mfa / "align" / "json", "cards", "cards_001", tmp_path)
    words = [(i.symbol, i.start_s, i.end_s) for i in found if i.tier == "word"]
    assert words == [("TEN", 0.23, 0.41), ("OF", 0.56, 0.72), ("CLUBS", 0.72, 0.94)]
    assert [i.symbol for i in found if i.tier == "phone"][:3] == ["T", "EH1", "N"]
    assert {i.score for i in found} == {None}


def test_ends_that_mfa_moved_to_the_end_of_the_file_are_put_back(real: Path, tmp_path: Path) -> None:
    mfa = real / "mfa"
    found = stored(mfa / "corpus", mfa / "align" / "json", "librivox", "sense_0920", tmp_path)
    last = [(i.symbol, i.start_s, i.end_s) for i in found if i.tier == "phone"][-3:]
    assert last == [("W", 6.01, 6.03), ("AH0", 6.03, 6.04), ("Z", 6.04, 6.05)]
    grid = json.loads(as_json(mfa / "align" / "long_textgrid" / "librivox" / "sense_0920.TextGrid"))
    assert [(s, a, b) for a, b, s in grid["tiers"]["phones"]["entries"] if s][-3:] == last


@pytest.mark.parametrize("name", ["good", "punct", "stereo", "float32", "rate8k", "rate48k", "wrong_text"])
def test_what_mfa_aligned_is_accepted_a_wrong_transcript_too(real: Path, name: str, tmp_path: Path) -> None:
    assert failure(real, name, tmp_path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty", "no path through 2.990 s of sound says its words"),
        ("whitespace", "no path through 2.990 s of sound says its words"),
        ("silent", "no path through 2.000 s of sound says its words"),
        ("noise", "no path through 2.000 s of sound says its words"),
        ("short10ms", "no path through 0.010 s of sound says its words"),
        ("short50ms", "no path through 0.050 s of sound says its words"),
        ("zero_samples", "no path through 0.000 s of sound says its words"),
        ("too_much_text", "no path through 0.500 s of sound says its words"),
        ("punctonly", "MFA found no word in it"),
        ("latin1", "MFA says nothing of it"),
        ("labonly", "MFA says nothing of it"),
        ("oov", "MFA does not know the word 'zorblattish'"),
        ("number", "MFA does not know the word '2'"),
        ("brackets", "word 4 of MFA's alignment is '[laughter]', of the transcript 'laugh'"),
    ],
)
def test_what_mfa_failed_on_is_told(real: Path, name: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(Untreatable) as told:
        failure(real, name, tmp_path)
    assert str(told.value) == reason


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("sense_0880", "word 1 of MFA's alignment is '[laughter]', of the transcript 'he'"),
        ("sense_0890", "MFA found no word in it"),
        ("sense_0920", "MFA found no word in it"),
    ],
)
def test_words_of_one_file_in_the_alignment_of_another_are_refused(
    real: Path, name: str, reason: str, tmp_path: Path
) -> None:
    swapped = real / "mfa" / "legacy_model_label_swap"
    with pytest.raises(Untreatable) as told:
        transcripts = tmp_path / "transcripts" / "s"
        transcripts.mkdir(parents=True)
        (transcripts / f"{name}.lab").write_bytes((swapped / "transcripts" / f"{name}.lab").read_bytes())
        stored(transcripts.parent, swapped / "out", "s", name, tmp_path)
    assert str(told.value) == reason


def test_the_file_beside_the_swapped_one_holds_together(real: Path, tmp_path: Path) -> None:
    swapped = real / "mfa" / "legacy_model_label_swap"
    (tmp_path / "s").mkdir()
    lab = (swapped / "transcripts" / "sense_0930.lab").read_bytes()
    (tmp_path / "s" / "sense_0930.lab").write_bytes(lab)
    assert stored(tmp_path, swapped / "out", "s", "sense_0930", tmp_path)


@pytest.mark.parametrize("name", ["empty", "oov"])
def test_what_align_one_makes_of_it_is_refused(real: Path, name: str, tmp_path: Path) -> None:
    text = {"empty": "he was", "oov": "he might even have been made zorblattish himself"}[name]
    raw = (real / "mfa" / "align_one" / f"{name}.json").read_bytes()
    told = {"empty": "has 0 words, the transcript 2", "oov": "is '<unk>', of the transcript 'zorblattish'"}[name]
    with pytest.raises(Untreatable, match=told):
        answer(tmp_path, raw, silent(json.loads(raw)["end"], text))


def test_tiers_of_several_speakers_are_refused(real: Path) -> None:
    folder = real / "mfa" / "align" / "multispeaker_textgrid_input"
    with pytest.raises(Untreatable, match=r"MFA's alignment cannot be read \(ValueError\)"):
        read_tiers((folder / "michaelandsickmichael.json").read_bytes())


# -- what it might write ---------------------------------------------------------------------------------------


def row(clip: Clip, **columns: str) -> dict[str, str]:
    likelihoods = {"overall_log_likelihood": "-96.1", "speech_log_likelihood": "-95.2"}
    return {"file": "u", "begin": "0.0", "end": str(clip.duration_s), "speaker": "u"} | likelihoods | columns


def answer(folder: Path, raw: bytes, clip: Clip, **columns: str) -> list[Interval]:
    (folder / "u").mkdir(exist_ok=True)
    (folder / "u" / "u.json").write_bytes(raw)
    return intervals(clip, "u", folder, {"u": [row(clip, **columns)]})


def alignment(words: list[object], phones: list[object]) -> bytes:
    return json.dumps({"tiers": {"words": {"entries": words}, "phones": {"entries": phones}}}).encode()


def test_the_last_frame_may_stand_out_of_the_clip_by_half_and_is_cut(tmp_path: Path) -> None:
    found = answer(tmp_path, alignment([[0.1, 1.005, "he"]], [[0.1, 1.005, "IY1"]]), silent(1.0, "he"))
    assert [(i.start_s, i.end_s) for i in found] == [(0.1, 1.0)] * 3


@pytest.mark.parametrize("likelihood", ["", "nan", "inf", "x"])
def test_a_likelihood_that_is_no_number_is_blank(tmp_path: Path, likelihood: str) -> None:
    with pytest.raises(Untreatable, match=r"no path through 1\.000 s of sound says its words"):
        raw = alignment([[0.1, 0.2, "he"]], [[0.1, 0.2, "IY1"]])
        answer(tmp_path, raw, silent(1.0, "he"), overall_log_likelihood=likelihood)


def test_a_row_of_another_speaker_is_of_another_clip(tmp_path: Path) -> None:
    with pytest.raises(Untreatable, match="what MFA says of it is of another clip"):
        answer(tmp_path, alignment([], []), silent(1.0, "he"), speaker="v")


KEYS = st.sampled_from(["tiers", "words", "phones", "entries", "x"])
LEAVES = st.none() | st.booleans() | st.floats() | st.text()


@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner)))
def test_any_json_is_two_tiers_or_refused(value: object) -> None:
    try:
        tiers = read_tiers(json.dumps(value).encode())
    except Untreatable as error:
        assert "MFA's alignment cannot be read" in str(error)
    else:
        assert set(tiers) == {"words", "phones"}


@given(st.binary())
def test_any_bytes_are_two_tiers_or_refused(raw: bytes) -> None:
    with pytest.raises(Untreatable, match="MFA's alignment cannot be read"):
        read_tiers(raw)


TIMES = st.floats(-0.1, 1.2).map(lambda t: round(t, 2))
LABELS = st.sampled_from(["he", "was", "", "<eps>", "sil", "IY1", "spn"])
ENTRIES = st.lists(st.tuples(TIMES, TIMES, LABELS), max_size=5)


@given(words=ENTRIES, phones=ENTRIES)
def test_what_is_accepted_says_the_words_in_order_within_the_clip(
    tmp_path_factory: pytest.TempPathFactory, words: list[object], phones: list[object]
) -> None:
    try:
        found = answer(tmp_path_factory.getbasetemp(), alignment(words, phones), silent(1.0, "he was"))
    except Untreatable:
        return
    assert [i.symbol for i in found if i.tier == "word"] == ["HE", "WAS"]
    assert all(0 <= i.start_s < i.end_s <= 1.0 for i in found)
    assert not {"spn", "sil", ""} & {i.symbol for i in found}


@pytest.mark.parametrize(("vowel", "expected"), [("IY1", ["HH_IY1"]), ("iː", [])])
def test_syllables_are_those_of_arpabet_and_of_no_other_phones(tmp_path: Path, vowel: str, expected: list[str]) -> None:
    raw = alignment([[0.1, 0.3, "he"]], [[0.1, 0.2, "HH"], [0.2, 0.3, vowel]])
    found = answer(tmp_path, raw, silent(1.0, "he"))
    assert [i.symbol for i in found if i.tier == "syllable"] == expected
    assert [i.tier for i in found] == ["word", "phone", "phone", *(["syllable"] * len(expected))]


def test_an_entry_is_read_as_it_is_written() -> None:
    tiers = read_tiers(alignment([[0, 0.5, "he"]], [[0, 0.5, "IY1"]]))
    assert tiers == {"words": [Labelled("he", 0.0, 0.5)], "phones": [Labelled("IY1", 0.0, 0.5)]}


def test_no_table_is_no_row(tmp_path: Path) -> None:
    assert read_analysis(tmp_path) == {}


@pytest.mark.parametrize("content", [b"stem,end\nu,1\n", b"file,end\n\xff,1\n", b'file,end\n"u"x,1\n'])
def test_a_table_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "alignment_analysis.csv").write_bytes(content)
    with pytest.raises(Untreatable, match="MFA's table of alignments cannot be read"):
        read_analysis(tmp_path)
