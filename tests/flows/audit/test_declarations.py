from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from flows.audit.contamination import contamination
from flows.audit.declarations import (
    CLEAN,
    DEFERS,
    PARTLY_KNOWN,
    UNKNOWN,
    Declared,
    absent,
    declared,
    lost,
    placed,
    verdict,
)
from flows.audit.licence import licences
from flows.card import card_of
from flows.trained import trained
from tests.flows.audit.lent import lent_lake
from warehouse import Warehouse
from warehouse.compaction import merge, merge_of


def said_of(lake: Path, folder: str, **said: Any) -> Declared:
    return declared(lake, "mine", {"folder": folder, "digest": "d" * 64} | said)


@pytest.mark.parametrize(
    "folder", ["facebook/wav2vec2-base", "hub/facebook/wav2vec2-base", "wav2vec2-base", "Facebook/Wav2Vec2_base"]
)
def test_a_published_checkpoint_is_known_by_its_name(tmp_path: Path, folder: str) -> None:
    found = said_of(tmp_path, folder)
    assert found.trained_on == ("LibriSpeech 960 h",) and found.licence == "Apache-2.0"
    assert found.said_by == "the list of published ones" and "arxiv.org/abs/2006.11477" in found.source


@pytest.mark.parametrize("folder", ["wav2vec2", "somebody/wav2vec2-base", "facebook/wav2vec2-base/tuned", ""])
def test_another_name_is_unknown(tmp_path: Path, folder: str) -> None:
    found = said_of(tmp_path, folder)
    assert found.trained_on == () and found.said_by == "nobody" and found.licence == ""
    assert verdict(tmp_path, found, {"iemocap": "iemocap"}) == UNKNOWN


def test_word_vectors_are_known_by_their_file(tmp_path: Path) -> None:
    found = declared(tmp_path, "glove", {"folder": "glove"}, ["glove.840B.300d.txt"])
    assert found.trained_on == ("Common Crawl",) and found.licence == "PDDL-1.0"
    assert verdict(tmp_path, found, {"mine": "meld"}) == (
        "unknown: Common Crawl may hold it, for nobody published whether it does"
    )


def test_the_lake_is_heard_before_the_recipe_and_that_before_the_list(tmp_path: Path) -> None:
    by_recipe = said_of(tmp_path, "facebook/wav2vec2-base", trained_on=["My tapes"], licence="MIT")
    assert (by_recipe.trained_on, by_recipe.said_by, by_recipe.licence) == (("My tapes",), "its recipe", "MIT")
    assert by_recipe.said_too == ("LibriSpeech 960 h",)
    deferring = said_of(tmp_path, "facebook/wav2vec2-base", licence=DEFERS)
    assert deferring.licence == "Apache-2.0"
    (tmp_path / "encoders.toml").write_text(
        '[encoders."facebook/wav2vec2-base"]\ntrained_on = ["IEMOCAP"]\nlicence = "CC0-1.0"\nsource = "we tuned it"\n'
        f'[encoders.other]\ndigest = "{"e" * 64}"\ntrained_on = ["Tapes"]\nsource = "we made it"\n'
    )
    by_lake = said_of(tmp_path, "facebook/wav2vec2-base", trained_on=["My tapes"], licence="MIT")
    assert (by_lake.trained_on, by_lake.said_by) == (("IEMOCAP",), "the lake's encoders.toml")
    assert by_lake.licence == "CC0-1.0" and by_lake.source == "we tuned it"
    assert said_of(tmp_path, "anything", digest="e" * 64).trained_on == ("Tapes",)


def test_one_voice_is_enough_to_say_that_a_test_corpus_is_in_it(tmp_path: Path) -> None:
    """What a recipe leaves out does not clean a checkpoint that is known to hold it."""
    found = said_of(tmp_path, "superb/wav2vec2-base-superb-er", trained_on=["LibriSpeech 960 h"])
    said = verdict(tmp_path, found, {"mine": "iemocap"})
    assert said == "declared to have learned from the test corpus: IEMOCAP"
    assert verdict(tmp_path, found, {"mine": "meld"}) == CLEAN


@pytest.mark.parametrize(
    ("trained_on", "tested", "says"),
    [
        (["CMU-MOSEI"], {"videos": "mosei"}, "declared to have learned from the test corpus: CMU-MOSEI"),
        (["EmotionLines"], {"friends": "meld"}, "EmotionLines (which holds what 'meld' reads)"),
        (["my clips, 2019"], {"clips": "table"}, "declared to have learned from the test corpus: my clips, 2019"),
        (["table talk"], {"clips": "table"}, CLEAN),
        (["OpenSubtitles 2018"], {"friends": "meld"}, "unknown: OpenSubtitles 2018 may hold it"),
        (["LibriSpeech"], {"friends": "meld"}, CLEAN),
    ],
)
def test_a_declaration_against_a_test_corpus(
    tmp_path: Path, trained_on: list[str], tested: dict[str, str], says: str
) -> None:
    assert says in verdict(tmp_path, said_of(tmp_path, "mine", trained_on=trained_on), tested)


@pytest.mark.parametrize(
    ("folder", "reader", "says"),
    [
        ("tae898/emoberta-base", "iemocap", "declared to have learned from the test corpus: IEMOCAP"),
        ("tae898/emoberta-large", "meld", "declared to have learned from the test corpus: MELD"),
        ("michellejieli/emotion_text_classifier", "emotionlines", "EmotionLines (Friends)"),
        ("j-hartmann/emotion-english-roberta-large", "meld", "declared to have learned from the test corpus: MELD"),
        ("amiriparian/ExHuBERT", "iemocap", "declared to have learned from the test corpus: IEMOCAP"),
        ("emotion2vec/emotion2vec_plus_seed", "meld", "declared to have learned from the test corpus: MELD"),
        ("speechbrain/emotion-diarization-wavlm-large", "iemocap", "from the test corpus: IEMOCAP"),
        ("google/electra-base-discriminator", "meld", "unknown: ClueWeb, Common Crawl may hold it"),
        ("google/electra-small-discriminator", "meld", "unknown: ClueWeb, Common Crawl may hold it"),
        ("facebook/wav2vec2-xls-r-300m", "mosei", "unknown: VoxLingua107 may hold it"),
        ("facebook/w2v-bert-2.0", "mosei", PARTLY_KNOWN),
        ("sentence-transformers/all-MiniLM-L6-v2", "meld", "unknown: Reddit comments may hold it"),
        ("speechbrain/emotion-recognition-wav2vec2-IEMOCAP", "meld", CLEAN),
    ],
)
def test_what_is_told_of_published_encoders_of_emotion_research(
    tmp_path: Path, folder: str, reader: str, says: str
) -> None:
    """Whether a test corpus may be called clean hangs on these words; each stands in the source of its entry."""
    found = said_of(tmp_path, folder)
    assert found.said_by == "the list of published ones"
    assert says in verdict(tmp_path, found, {"mine": reader})


@pytest.mark.parametrize("folder", ["amiriparian/ExHuBERT", "emotion2vec/emotion2vec_plus_seed"])
def test_a_corpus_that_is_read_as_a_table_is_known_by_its_name(tmp_path: Path, folder: str) -> None:
    said = verdict(tmp_path, said_of(tmp_path, folder), {"emodb": "table"})
    assert said in {f"declared to have learned from the test corpus: {name}" for name in ("EMO-DB", "EmoDB")}


def test_those_of_a_lake_are_told_by_name(tmp_path: Path) -> None:
    lent = lent_lake(tmp_path / "lake")
    lent.lake.set_ref("weights/again", lent.lake.ref("weights/w2v") or {})
    found = placed(lent.lake, lent.lake.artifacts())
    assert [(one.name, one.folder) for one in found] == [
        ("again", "facebook/wav2vec2-base"), ("w2v", "facebook/wav2vec2-base"),
    ]  # fmt: skip
    assert {one.digest for one in found} == {lent.named["weights w2v"].digest}


@pytest.mark.parametrize("said", [["unknown"], ["Unknown."], ["", "unknown"]])
def test_who_says_unknown_said_nothing(tmp_path: Path, said: list[str]) -> None:
    found = said_of(tmp_path, "mine", trained_on=said)
    assert found.trained_on == () and found.said_by == "nobody"
    assert verdict(tmp_path, found, {"friends": "meld"}) == UNKNOWN
    published = said_of(tmp_path, "facebook/wav2vec2-base", trained_on=said)
    assert published.trained_on == ("LibriSpeech 960 h",) and published.said_by == "the list of published ones"


def test_a_list_with_an_unknown_is_never_clean(tmp_path: Path) -> None:
    found = said_of(tmp_path, "mine", trained_on=["LibriSpeech", "unknown"])
    assert verdict(tmp_path, found, {"friends": "meld"}) == PARTLY_KNOWN
    assert "EmotionLines" in verdict(
        tmp_path, said_of(tmp_path, "mine", trained_on=["EmotionLines", "unknown"]), {"friends": "meld"}
    )


def test_what_is_missing_may_be_a_checkpoint_unless_it_is_of_utterances(tmp_path: Path) -> None:
    lent = lent_lake(tmp_path / "lake")
    assert list(absent(lent.lake, lent.lake.artifacts())) == [] and lost(lent.lake, lent.lake.artifacts()) == {}
    weights, states = lent.lose("weights w2v"), lent.named["extractors.speech_encoder"]
    raw = lent.lose("raw films")
    users = {(user.key, role, digest) for user, role, digest in absent(lent.lake, lent.lake.artifacts())}
    assert users == {
        (states.key, "checkpoint", weights), (lent.named["utterances films"].key, "raw", raw),
        (lent.named["labels films"].key, "raw", raw),
    }  # fmt: skip
    found = lost(lent.lake, lent.lake.artifacts())
    assert found == {states.key: [Declared("w2v", weights)]}
    assert verdict(lent.lake.root, found[states.key][0], {"iemocap": "iemocap"}) == UNKNOWN


def test_what_was_merged_is_not_missing(tmp_path: Path) -> None:
    """Licences, contamination and cards say the same before and after, when the small ones are gone."""
    lent = lent_lake(tmp_path / "lake")

    def told() -> tuple[object, ...]:
        lake = Warehouse(lent.lake.root)
        found = contamination(lake, "mine:best")
        card = card_of(lake, trained(lake, "mine:best")[0])
        return licences(lake, "mine:best"), found.as_json(), found.measured_rows(), found.declared_rows(), card

    before = told()
    for made in lent.lake.artifacts("features"):
        merge(lent.lake, merge_of([made]))
        shutil.rmtree(made.folder)
    assert list(absent(lent.lake, lent.lake.artifacts())) == [] and told() == before
