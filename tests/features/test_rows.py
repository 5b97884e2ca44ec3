"""Rows that readers fill: whole, and with ids that say what they identify."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from features.plugin import RawFile
from features.rows import duration_of, failure_row, label_row, text_row, utterance_row
from warehouse.errors import Untreatable
from warehouse.schema import FAILURES, LABELS, UTTERANCES, audio_id, text_id
from warehouse.tables import table_of

RECORDING = RawFile("a/b.wav", 12, "f" * 64)


def row(**columns: Any) -> dict[str, Any]:
    needed = {
        "utterance_id": "c-u", "corpus": "c", "unit": "u", "recording": RECORDING, "start_s": 0.5, "end_s": 1.5,
        "verbatim": "Well --", "text": "Well --",
    }  # fmt: skip
    return utterance_row(**needed | columns)


def test_what_readers_fill_has_the_schema() -> None:
    full = {
        "channel": "2", "speaker_id": "s", "dialogue_id": "d", "turn": 3, "session": "1", "split": "dev",
        "language": "en", "attributes": {"season": "1"},
    }  # fmt: skip
    table = table_of([row(), row(**full)], UTTERANCES)
    assert table.to_pylist()[1]["attributes"] == [("season", "1")]
    assert table.to_pylist()[0]["channel"] == "mix"
    assert table_of([label_row("c-u", "valence", "rater 1", "3", 3.0)], LABELS).num_rows == 1
    assert table_of([failure_row("corpora.c", "c-u", "odd")], FAILURES).to_pylist()[0]["input_id"] == ""


def test_a_sound_is_its_recording_its_span_and_its_channel() -> None:
    assert row()["audio_id"] == audio_id(RECORDING.sha256, 0.5, 1.5, "mix")
    assert row(text="Other words", utterance_id="c-v", unit="v")["audio_id"] == row()["audio_id"]
    moved = RawFile("elsewhere.wav", 12, RECORDING.sha256)
    assert row(recording=moved)["audio_id"] == row()["audio_id"]
    for other in ({"start_s": 0.6}, {"end_s": 1.4}, {"channel": "1"}, {"recording": RawFile("a/b.wav", 12, "e" * 64)}):
        assert row(**other)["audio_id"] != row()["audio_id"], other


def test_words_without_sound_have_no_span_no_channel_and_no_audio_id() -> None:
    source = RawFile("lines.txt", 9, "f" * 64)
    found = text_row(
        utterance_id="c-u", corpus="c", unit="u", source=source, verbatim="Yes !", text="Yes!", language="en", turn=2
    )
    assert (found["start_s"], found["end_s"], found["channel"], found["audio_id"]) == (0.0, 0.0, "", "")
    assert (found["recording_id"], found["path"]) == ("f" * 64, "lines.txt")
    spoken = row(text="Yes!", verbatim="Yes !", turn=2, language="en")
    heard = ("recording_id", "path", "start_s", "end_s", "channel", "audio_id")
    assert all(found[name] == spoken[name] for name in spoken if name not in heard)
    assert table_of([found], UTTERANCES).num_rows == 1


@given(st.text(), st.text(alphabet=" \t\n\u00a0", max_size=3))
def test_a_text_is_canonical_and_so_is_its_id(text: str, space: str) -> None:
    one, two = row(text=text), row(text=f"{space}{text}{space}", verbatim="as it stood")
    assert one["text"] == two["text"] == " ".join(one["text"].split())
    assert one["text_id"] == two["text_id"] == text_id(text)
    assert two["verbatim"] == "as it stood", "what the corpus has stays as it is"


def test_seconds_of_a_sound(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(12_000), 8_000)
    assert duration_of(tmp_path, "a.wav") == 1.5


@pytest.mark.parametrize("content", [b"", b"RIFF and nothing else", None])
def test_a_sound_that_cannot_be_probed_is_named_below_its_root(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(Untreatable, match=r"^a\.wav cannot be decoded as audio \(") as raised:
        duration_of(tmp_path, "a.wav")
    assert str(tmp_path) not in str(raised.value)
