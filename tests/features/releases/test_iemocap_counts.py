from __future__ import annotations

import json
from pathlib import Path

from features.releases.iemocap_counts import NO_ALIGNMENT, SESSIONS, of_sessions, published, tally
from features.releases.iemocap_files import DIALOGUE

FOLDS = (4446, 4508, 4380, 4500, 4290)


def test_the_published_figures_add_up() -> None:
    table = published()
    assert table["wav"] == sum(n for what, n in table.items() if what.startswith("label ")) == 10_039
    assert table["dialogues"] == 151
    assert table["four classes"] == 5531
    assert tuple(table[f"training without session {number}"] for number in SESSIONS) == FOLDS
    for what in ("neu", "hap+exc", "ang", "sad", "four classes"):
        total = sum(table[f"{what}, session {number}"] for number in SESSIONS)
        speakers = {number: [table[f"{what}, Ses0{number}{letter}"] for letter in "FM"] for number in SESSIONS}
        assert all(sum(own) == table[f"{what}, session {number}"] for number, own in speakers.items())
        if what != "four classes":
            assert table[f"{what}, improvised"] + table[f"{what}, scripted"] == total
    assert table["aligned"] == 10_037


def test_they_are_those_of_the_public_lists(real: Path) -> None:
    lists = json.loads((real / "expected_counts.json").read_text())
    lists = next(value for key, value in lists.items() if key.lower() == "iemocap")
    table = published()
    assert table["wav"] == lists["utterances_total"]
    assert [table[f"wav, session {number}"] for number in SESSIONS] == lists["wav_per_session"]
    assert [table[f"dialogues, session {number}"] for number in SESSIONS] == lists["dialogues_per_session"]
    assert {what[6:]: n for what, n in table.items() if what.startswith("label ")} == lists["labels_all"]
    for emotion, figures in lists["hap_exc_by_session"].items():
        assert [table[f"{emotion}, session {number}"] for number in SESSIONS] == figures
    names = {"hap": "hap+exc"}
    for key, figures in lists["four_class_by_session_speaker"].items():
        speaker = f"Ses0{key[7]}{key[-1]}"
        assert {names.get(what, what): n for what, n in figures.items()} == {
            what.partition(", ")[0]: n
            for what, n in table.items() if what.endswith(speaker) and not what.startswith("four")
        }  # fmt: skip
    for scenario, own in (("improvised", "impro"), ("scripted", "script")):
        for what, n in lists["impro_script_4class"][own].items():
            assert table[f"{names.get(what, what)}, {scenario}"] == n
    tags = dict(lists["tag_tokens_in_5531"])
    assert table["four classes, only tags"] == tags.pop("tag_only_utterances")
    assert {what.partition(", ")[2]: n for what, n in table.items() if what.startswith("four classes, [")} == tags
    assert table["dialogues"] == lists["dialogues"]
    merged = dict(lists["four_class_exc_merged"])
    assert table["four classes"] == merged.pop("total")
    for what, n in merged.items():
        assert sum(table[f"{names.get(what, what)}, session {number}"] for number in SESSIONS) == n
    assert sorted(NO_ALIGNMENT) == lists["missing_forced_alignment"]
    assert all(DIALOGUE.fullmatch(name) for name in lists["suffix_dialogues"])


def test_a_tally_names_what_is_published() -> None:
    judged = [
        ("Ses03M_impro08b_F003", "exc", "[LAUGHTER]"),
        ("Ses03M_impro08b_M000", "hap", "Yes."),
        ("Ses01F_script01_1_F000", "xxx", "[GARBAGE]"),
    ]
    found = tally(judged, ["Ses03M_impro08b_F003"], ["Ses03M_impro08b"], ["Ses03M_impro08b_F003"])
    assert found.keys() <= published().keys()
    assert {what: n for what, n in found.items() if n} == {
        "wav": 1, "wav, session 3": 1, "dialogues": 1, "dialogues, session 3": 1, "aligned": 1,
        "label exc": 1, "label hap": 1, "label xxx": 1, "exc, session 3": 1, "hap, session 3": 1,
        "hap+exc, session 3": 2, "four classes, session 3": 2, "four classes": 2,
        "hap+exc, Ses03F": 1, "hap+exc, Ses03M": 1, "four classes, Ses03F": 1, "four classes, Ses03M": 1,
        "hap+exc, improvised": 2, "four classes, wearer is not the speaker": 1, "four classes, only tags": 1,
        "four classes, [LAUGHTER]": 1, "training without session 1": 2, "training without session 2": 2,
        "training without session 4": 2, "training without session 5": 2,
    }  # fmt: skip


def test_who_is_not_transcribed_does_not_only_laugh() -> None:
    found = tally([("Ses03M_impro08b_F003", "exc", None), ("Ses03M_impro08b_F004", "exc", "")])
    assert found["four classes, only tags"] == 1


def test_sessions_have_no_totals() -> None:
    own = published((2,))
    assert own["wav, session 2"] == 1811
    assert own["four classes, Ses02M"] == 542
    assert {what.partition(", ")[2] for what in own} == {"session 2", "Ses02F", "Ses02M"}
    assert of_sessions((2,), published()) == own
    assert not any("training" in what for what in own)
