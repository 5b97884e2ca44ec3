from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from features.corpora.table import Table
from features.extract import extract
from features.ingest import ingest
from features.inventory import row_key
from flows.transcripts import error_rates, says_its_words, transcript_rates
from tests.features.tiny_recogniser import write_recogniser
from warehouse import Warehouse
from warehouse.catalog import build
from warehouse.errors import UnknownName


def distance(one: list[str] | str, other: list[str] | str) -> int:
    """Levenshtein's, by its recurrence."""
    before = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        now = [i]
        for j, b in enumerate(other, 1):
            now.append(min(before[j] + 1, now[-1] + 1, before[j - 1] + (a != b)))
        before = now
    return before[-1]


WORDS = st.lists(st.sampled_from(["A", "BE", "CAT", "I'M"]), min_size=1, max_size=6).map(" ".join)


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=5))
def test_rates_are_edits_over_what_was_spoken(pairs: list[tuple[str, str]]) -> None:
    spoken, heard = zip(*pairs, strict=True)
    rates = error_rates(spoken, heard)
    n_words = sum(len(said.split()) for said in spoken)
    assert rates["words"] == n_words
    edits = sum(distance(a.split(), b.split()) for a, b in pairs)
    assert rates["wer"] == pytest.approx(edits / n_words)
    assert rates["cer"] == pytest.approx(sum(distance(a, b) for a, b in pairs) / sum(map(len, spoken)))


def test_case_and_marks_are_no_errors_and_a_text_without_words_does_not_count() -> None:
    assert error_rates(["Well -- I can't!", "[...]"], ["WELL I CAN'T", "AH"]) == {
        "utterances": 1, "words": 3, "wer": 0.0, "cer": 0.0
    }  # fmt: skip
    assert error_rates(["!"], ["AH"]) == {"utterances": 0, "words": 0, "wer": None, "cer": None}


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """A lake with two recordings, what a recogniser heard in them, and another feature."""
    root, checkpoint = tmp_path_factory.mktemp("clips"), tmp_path_factory.mktemp("recogniser")
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 16_000))
    for name, wave in zip("ab", noise, strict=True):
        soundfile.write(root / f"{name}.wav", wave, 16_000)
    (root / "clips.csv").write_text("path,text\na.wav,A bad cab.\nb.wav,Dab!\n")
    warehouse = Warehouse(tmp_path_factory.mktemp("lake"), create=True)
    reader = build("features.corpora", "table", {"file": "clips.csv", "speaker": "", "label": ""}, "the test")
    assert isinstance(reader, Table)
    ingest(warehouse, "clips", "corpora.table", reader, root)
    write_recogniser(checkpoint)
    for name, extractor, folder in (("asr", "asr", checkpoint), ("wave", "waveform", None)):
        [rows] = extract(warehouse, extractor, ["clips"], checkpoint=folder)
        weights = {"weights": rows.request.params["plugin"]["fields"]["weights"]} if folder else {}
        plugin = build("features.extractors", extractor, weights, "the test")
        key = row_key(f"extractors.{extractor}", plugin)
        warehouse.set_ref(f"features/{name}", {"plugin_key": key, "needs": "audio", "hops_s": {}})
    return warehouse


def test_transcripts_of_a_lake_are_held_against_its_corpora(heard: Warehouse) -> None:
    [row] = transcript_rates(heard, "asr")
    query = "SELECT decode(own.text) FROM features_asr own JOIN utterances ON input_id = audio_id ORDER BY utterance_id"
    texts = heard.table(query).column(0).to_pylist()
    assert all(texts)
    assert row == {"corpus": "clips"} | error_rates(["A bad cab.", "Dab!"], texts)
    assert row["words"] == 4


def test_sound_that_was_only_made_anew_does_not_say_the_words_beside_it(heard: Warehouse) -> None:
    """Sound of a text, or of a text in a voice, says it; sound of sound says what that said."""
    refs: dict[str, dict[str, str]] = {
        "read": {},
        "text": {"source": "read", "told": "text", "needs": "audio"},
        "voiced": {"source": "text", "told": "voices"},
        "louder": {"source": "read", "told": "sound", "needs": "audio"},
        "louder_still": {"source": "louder", "told": "sound", "needs": "audio"},
        "other_words": {"source": "text", "told": "sound", "needs": "audio"},
        "other_voice": {"source": "voiced", "told": "sound", "needs": "audio"},
        "spoken": {"source": "voiced", "told": "sound", "needs": "pair"},
        "read_out": {"source": "text", "told": "sound", "needs": "text"},
        "cleaned": {"source": "spoken", "told": "sound", "needs": "audio"},
    }
    said = {name for name in refs if says_its_words(refs, name)}
    assert said == {"read", "louder", "louder_still", "spoken", "read_out", "cleaned"}
    [row] = transcript_rates(heard, "asr")
    before = heard.ref("corpora/clips")
    for told, kept in (refs["other_voice"], False), (refs["spoken"], True):
        heard.set_ref("corpora/clips", before | told)
        heard.set_ref("corpora/voiced", before | refs["voiced"] | {"utterances": [], "labels": [], "raw": []})
        assert transcript_rates(heard, "asr") == ([row] if kept else [])
    heard.set_ref("corpora/clips", before)
    (heard.root / "refs" / "corpora" / "voiced.json").unlink()


def test_what_is_no_transcript_is_told(heard: Warehouse) -> None:
    with pytest.raises(UnknownName, match=r"no transcript 'wave' \(there are: asr\)"):
        transcript_rates(heard, "wave")


def test_without_any_transcript_there_are_none(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"no transcript 'asr' \(there are: none\)"):
        transcript_rates(Warehouse(tmp_path / "lake", create=True), "asr")


def test_names_do_not_lead_out_of_the_query(heard: Warehouse) -> None:
    with pytest.raises(UnknownName, match="no transcript"):
        transcript_rates(heard, 'asr" --')
    assert Path(heard.root).is_dir()
