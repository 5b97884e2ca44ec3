from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.encoding.pretrained import one_thread
from features.extractors.synthesis import Synthesis
from features.extractors.waveform import Waveform
from features.placed import record
from features.plugin import RATE_HZ, Clip
from tests.features.tiny_synthesis import VOICE_DIM, write_speaker, write_speaker_encoder, write_vocoder
from tests.features.tiny_translation import SENTENCES
from tests.sparing import first
from warehouse import Warehouse
from warehouse.errors import InvalidField, MalformedSource, Untreatable
from warehouse.hashing import digest

TEXT = "You are so happy today!"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_speaker(tmp_path_factory.mktemp("speaker"))


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def voice(pitch_hz: float, length_s: float = 1.0) -> np.ndarray:
    time_s = np.arange(int(length_s * RATE_HZ)) / RATE_HZ
    return (0.3 * np.sign(np.sin(2 * np.pi * pitch_hz * time_s))).astype(np.float32)


def spoken(folder: Path, *clips: tuple[str, np.ndarray], **fields: bool) -> list[np.ndarray]:
    say = Synthesis("w", **fields).load("cpu", folder)
    return [row["wave"] for row in say([Clip(str(n), wave, text) for n, (text, wave) in enumerate(clips)])]


def plainly(folder: Path, text: str, wave: np.ndarray, length: float = 1.0) -> np.ndarray:
    """As the model's page shows it, with the lot drawn from the words.

    Args:
        length: what the speaker vector is multiplied by.
    """
    import torch
    import transformers

    heard = transformers.AutoModelForAudioXVector.from_pretrained(folder / "speaker_encoder").eval()
    tokenizer = transformers.SpeechT5Tokenizer.from_pretrained(folder / "text_to_speech")
    network = transformers.SpeechT5ForTextToSpeech.from_pretrained(folder / "text_to_speech").eval()
    vocoder = transformers.SpeechT5HifiGan.from_pretrained(folder / "vocoder").eval()
    with torch.random.fork_rng(), torch.no_grad(), one_thread():
        vector = length * heard(torch.from_numpy(wave)[None]).embeddings
        torch.manual_seed(int(digest(text)[:15], 16))
        ids = tokenizer(text, return_tensors="pt").input_ids
        said: np.ndarray = network.generate_speech(ids, vector, vocoder=vocoder).numpy()
        return said


def test_it_is_what_the_networks_say_when_they_are_asked_plainly(folder: Path) -> None:
    [said] = spoken(folder, (TEXT, voice(200)))
    assert np.array_equal(said, plainly(folder, TEXT, voice(200)))
    assert said.std() > 0.1


def test_a_speaker_vector_counts_by_its_direction_alone(folder: Path) -> None:
    longer = plainly(folder, TEXT, voice(200), length=8.0)
    np.testing.assert_allclose(longer, plainly(folder, TEXT, voice(200)), atol=1e-4)


def test_other_voices_and_other_words_sound_otherwise(folder: Path) -> None:
    one, lower, other = spoken(folder, (TEXT, voice(200)), (TEXT, voice(90)), (SENTENCES[0], voice(200)))
    n = min(map(len, (one, lower, other)))
    assert np.abs(one[:n] - lower[:n]).max() > 1e-3
    assert np.abs(one[:n] - other[:n]).max() > 1e-3


def test_the_last_bits_of_a_voice_move_its_speech_by_little(folder: Path) -> None:
    louder = np.nextafter(voice(200), np.float32(1))
    one, other = spoken(folder, (TEXT, voice(200)), (TEXT, louder))
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_lots_are_left_as_they_were_and_do_not_count(folder: Path) -> None:
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(1)
        before = torch.get_rng_state()
        [one] = spoken(folder, (TEXT, voice(200)))
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(2)
        np_state = np.random.get_state()[1].tolist()
        assert np.array_equal(spoken(folder, (TEXT, voice(200)))[0], one)
        assert np.random.get_state()[1].tolist() == np_state


def test_its_wave_is_one_that_recordings_have(folder: Path) -> None:
    assert Synthesis("w").outputs(folder) == Waveform("float32").outputs()


@pytest.mark.parametrize(("written", "said"), [
    ("I have 12.", "I have twelve."), ("I have 1,200,000.", "I have one million two hundred thousand."),
    ("I have 0.", "I have zero."),
])  # fmt: skip
def test_numbers_are_said_in_english(folder: Path, written: str, said: str) -> None:
    import transformers

    from features.extractors.synthesis import with_whole_numbers

    tokenizer = transformers.SpeechT5Tokenizer.from_pretrained(folder / "text_to_speech")
    assert tokenizer(with_whole_numbers(written), normalize=True).input_ids == tokenizer(said).input_ids


def test_numbers_may_be_left_to_a_tokenizer_that_knows_them(folder: Path) -> None:
    [english] = spoken(folder, ("I have 12.", voice(200)))
    [digits] = spoken(folder, ("I have 12.", voice(200)), english_numbers=False)
    assert digits.tobytes() != english.tobytes()
    assert np.array_equal(digits, plainly(folder, "I have 12.", voice(200)))


@pytest.mark.parametrize("name", first(1, ["Wav2Vec2", "UniSpeechSat", "Data2VecAudio"]))
def test_every_network_with_an_x_vector_head_can_tell_voices(tmp_path: Path, name: str) -> None:
    folder = write_speaker(tmp_path, name)
    [said] = spoken(folder, (TEXT, voice(200)))
    assert np.array_equal(said, plainly(folder, TEXT, voice(200)))


def test_a_voice_is_told_by_its_first_half_minute(folder: Path) -> None:
    calm = voice(200, 30.0)
    whole, longer = spoken(folder, (TEXT, calm), (TEXT, np.concatenate([calm, voice(90, 3.0)])))
    assert np.array_equal(whole, longer)


def test_a_voice_takes_two_frames_of_the_head(folder: Path) -> None:
    assert len(spoken(folder, (TEXT, voice(200)[:5_200]))[0])
    told = r"^the clip lasts 0\.325 s, too little to tell a voice by \(0\.325 s\)$"
    with pytest.raises(Untreatable, match=told):
        spoken(folder, (TEXT, voice(200)[:5_199]))


def test_no_words_cannot_be_said(folder: Path) -> None:
    with pytest.raises(Untreatable, match="the transcript is empty"):
        spoken(folder, (" ", voice(200)))


def test_more_words_than_there_are_positions_are_not_cut(folder: Path) -> None:
    with pytest.raises(Untreatable, match="the text has 602 tokens, and this network has positions for 600"):
        spoken(folder, ("a" * 600, voice(200)))


def change_ends(folder: Path, bias: float) -> None:
    from safetensors.numpy import load_file, save_file

    path = folder / "text_to_speech" / "model.safetensors"
    weights = load_file(path)
    weights["speech_decoder_postnet.prob_out.bias"][:] = bias
    save_file(weights, path, metadata={"format": "pt"})


def change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_speech_that_goes_on_is_refused(copy: Path) -> None:
    change_ends(copy, -1e4)
    with pytest.raises(Untreatable, match=r"^its speech does not end within 80 mel frames$"):
        spoken(copy, ("Oh", voice(200)))


def test_speech_is_never_longer_than_the_decoder_has_positions_for(copy: Path) -> None:
    change_ends(copy, -1e4)
    change(copy / "text_to_speech" / "config.json", max_speech_positions=7)
    with pytest.raises(Untreatable, match="its speech does not end within 14 mel frames"):
        spoken(copy, (TEXT, voice(200)))


def test_a_click_is_no_speech(tmp_path: Path) -> None:
    folder = write_speaker(tmp_path, reduction_factor=1)
    change_ends(folder, 1e4)
    with pytest.raises(Untreatable, match=r"^its speech lasts 0\.016 s, less than 0\.025 s$"):
        spoken(folder, (TEXT, voice(200)))


@pytest.mark.parametrize("part", ["text_to_speech", "vocoder", "speaker_encoder"])
def test_all_three_parts_make_the_checkpoint(copy: Path, tmp_path: Path, part: str) -> None:
    warehouse = Warehouse(tmp_path / "lake", create=True)
    before = record(warehouse, copy).digest
    weights = copy / part / "model.safetensors"
    *most, last = weights.read_bytes()
    weights.write_bytes(bytes([*most, last ^ 1]))
    assert record(warehouse, copy).digest != before
    shutil.rmtree(copy / part)
    for read in (Synthesis("w").outputs, lambda folder: Synthesis("w").load("cpu", folder)):
        with pytest.raises(MalformedSource, match=f"lacks {part}: a checkpoint that speaks has the folders text_to"):
            read(copy)


def test_vectors_of_another_size_are_refused(tmp_path: Path) -> None:
    write_speaker(tmp_path, voice_dim=VOICE_DIM + 1)
    told = "'weights' do not fit together: speaker vectors of 13 numbers, of which text_to_speech takes 12"
    with pytest.raises(InvalidField, match=told):
        Synthesis("w").outputs(tmp_path)


def test_a_vocoder_of_other_bands_or_another_rate_is_refused(copy: Path) -> None:
    write_vocoder(copy / "vocoder", model_in_dim=9)
    told = "do not fit together: a vocoder of 9 mel bands, of which text_to_speech gives 8"
    with pytest.raises(InvalidField, match=told):
        Synthesis("w").outputs(copy)
    write_vocoder(copy / "vocoder", sampling_rate=22_050)
    with pytest.raises(InvalidField, match="have a vocoder that sounds at 22050 Hz, but clips have 16000 Hz"):
        Synthesis("w").outputs(copy)


def test_a_speaker_encoder_of_another_rate_is_refused(copy: Path) -> None:
    write_speaker_encoder(copy / "speaker_encoder", "WavLM", VOICE_DIM, rate_hz=8_000)
    with pytest.raises(InvalidField, match="are of a network that hears at 8000 Hz"):
        Synthesis("w").load("cpu", copy)


@pytest.mark.parametrize(("part", "other", "kind"), [
    ("text_to_speech", "SpeechT5ForSpeechToText", "SpeechT5ForTextToSpeech"),
    ("vocoder", "FastSpeech2ConformerGenerator", "SpeechT5HifiGan"),
    ("speaker_encoder", "WavLMModel", "ForXVector"),
])  # fmt: skip
def test_a_part_that_is_something_else_is_refused(copy: Path, part: str, other: str, kind: str) -> None:
    change(copy / part / "config.json", architectures=[other])
    with pytest.raises(InvalidField, match=f"'weights' have a {other} in {part}, where a …{kind} belongs"):
        Synthesis("w").outputs(copy)


def test_a_speaker_encoder_of_an_unknown_architecture_is_refused(copy: Path) -> None:
    change(copy / "speaker_encoder" / "config.json", model_type="whisper")
    with pytest.raises(InvalidField, match="tell voices by a 'whisper', but encoders are: wav2vec2, hubert"):
        Synthesis("w").outputs(copy)


def test_a_vocoder_may_have_its_older_name(copy: Path, folder: Path) -> None:
    change(copy / "vocoder" / "config.json", model_type="hifigan")
    assert np.array_equal(spoken(copy, (TEXT, voice(200)))[0], spoken(folder, (TEXT, voice(200)))[0])


def test_without_its_tokenizer_nothing_is_said(copy: Path) -> None:
    (copy / "text_to_speech" / "spm_char.model").unlink()
    with pytest.raises(MalformedSource, match="needs its tokenizer's files"):
        spoken(copy, (TEXT, voice(200)))


def test_the_tiny_checkpoint_is_always_the_same(folder: Path, tmp_path: Path) -> None:
    write_speaker(tmp_path)
    paths = [path.relative_to(folder) for path in folder.glob("*/*")]
    assert paths and all((folder / path).read_bytes() == (tmp_path / path).read_bytes() for path in paths)
