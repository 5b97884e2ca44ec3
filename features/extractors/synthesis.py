"""A clip's words in the voice that is heard in it, said by SpeechT5 with its vocoder and a speaker encoder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from features.encoding.hearing import CONVOLUTIONAL, read_sound_preprocessor, steps_of_network
from features.encoding.pretrained import (
    device_of,
    load_network,
    one_thread,
    read_config,
    read_preprocessor,
    read_tokenizer,
)
from features.placed import SPEAKING, require_speaking
from features.plugin import RATE_HZ, Clip, FeatureSpec, Needs, heard
from warehouse.errors import InvalidField, Untreatable
from warehouse.hashing import digest

_WHERE = "extractor 'synthesis'"

VOICE_S = 30.0
"""How much of a clip, from its beginning, is heard for its voice."""

FRAMES_PER_TOKEN = 20.0
"""How long a text may go on, in mel frames per letter: 0.32 s of the published vocoder's. `generate_speech` says so."""

SHORTEST_S = 0.025
"""Less than a frame of most that hears: no speech."""

_UNNEEDED = r"(\w+\.)?masked_spec_embed$|classifier\.|objective\."
_COMMA_IN_NUMBER = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_LONE_ZERO = re.compile(r"(?<![\w.,])0(?!\w|[.,]\d)")


@dataclass(frozen=True)
class Synthesis:
    """'wave' [sample] at RATE_HZ: the words of the clip, spoken anew in the voice of its sound.

    The words and the voice may be of different utterances: so does a corpus that is told again with other voices.
    `checkpoint` has three folders: text_to_speech (a SpeechT5ForTextToSpeech), vocoder (its SpeechT5HifiGan) and
    speaker_encoder (any network with an x-vector head: WavLM, wav2vec 2.0, UniSpeech-SAT, data2vec-audio).

    All that can be checked of a speaker encoder is that its vectors are as long as SpeechT5 wants them. The published
    SpeechT5 is used with the x-vectors of another toolkit (SpeechBrain's, 512 numbers). Vectors of another encoder are
    of another space, even if they are 512 numbers too: the voice is then some voice, one for each vector, and not the
    speaker's, unless SpeechT5 was tuned on vectors of that encoder. SpeechT5 brings them to unit length itself.

    Its decoder drops units by lot, after training too, as it was trained to expect. The lot is drawn from the words
    alone, clip by clip, and leaves the process's own generators as they were: a row is the same to the bit whatever it
    came with, and the last bits of the voice's sound move it by little.

    Speech that has not ended after FRAMES_PER_TOKEN is a failure: what goes on so long no longer says the text. Texts
    with more letters than there are positions are failures too. Letters that the tokenizer does not know are one and
    the same to SpeechT5, whatever it makes of them: the published one reads English.

    Args:
        weights: digest of the checkpoint artifact, all three folders together; the folder is given to `load`.
        english_numbers: whether digits become English words; without, the published tokenizer does not know them.

    Raises:
        InvalidField: a part that is no such network, parts that do not fit each other, or another rate.
        MalformedSource: a folder, weights of a network, its tokenizer or its preprocessor are not there.
        Untreatable: no words, too many, too little sound to tell a voice by, or speech that does not end.

    Source: J. Ao and others, "SpeechT5", 2022; D. Snyder and others, "X-vectors", 2018. Dropout in the prenet of a
    decoder that speaks: J. Shen and others, "Natural TTS synthesis" (Tacotron 2), 2018, section 2.2.
    """

    weights: str
    english_numbers: bool = True

    version: ClassVar[int] = 1
    needs: ClassVar[Needs] = "pair"
    reads_checkpoint: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "sentencepiece")
    tolerance: ClassVar[float] = 1e-3  # another end, or another lot, is another shape or no small change

    def outputs(self, checkpoint: Path) -> Mapping[str, FeatureSpec]:
        """What every voice promises; reads the three config.json and no weights."""
        _check(checkpoint)
        return {"wave": FeatureSpec("sample", ("sample",), 1, hop_s=1 / RATE_HZ)}

    def load(self, device: str, checkpoint: Path) -> Callable[[Sequence[Clip]], list[dict[str, np.ndarray]]]:
        import torch

        _check(checkpoint)
        spoken, sounding, speaker = (checkpoint / part for part in SPEAKING)
        tokenizer = read_tokenizer(spoken)
        device = device_of(device)
        if device == "mps":
            device = "cpu"  # the lot that is drawn there cannot be put back
        network = load_network(spoken, "SpeechT5ForTextToSpeech", r"$").to(device)
        vocoder = load_network(sounding, "SpeechT5HifiGan", r"$").to(device)
        voice_of = _hear_voice(speaker, device)

        def extract(clips: Sequence[Clip]) -> list[dict[str, np.ndarray]]:
            with torch.inference_mode(), one_thread():
                return [{"wave": row(clip)} for clip in clips]

        def row(clip: Clip) -> np.ndarray:
            wave = heard(clip)
            if not clip.text.strip():
                raise Untreatable("the transcript is empty")
            text = with_whole_numbers(clip.text) if self.english_numbers else clip.text
            ids = tokenizer(text, normalize=self.english_numbers, return_tensors="pt").input_ids.to(device)
            spectrum = _spectrum(network, ids, voice_of(wave), int(digest(clip.text)[:15], 16))
            said: np.ndarray = vocoder(spectrum).cpu().numpy()
            if len(said) < SHORTEST_S * RATE_HZ:
                raise Untreatable(f"its speech lasts {len(said) / RATE_HZ:.3f} s, less than {SHORTEST_S:g} s")
            return said

        return extract


def with_whole_numbers(text: str) -> str:
    """The text with numbers as SpeechT5's tokenizer can spell them: it would stop at a second comma, and say nothing
    for a lone 0.

    Example:
        >>> with_whole_numbers("1,000,000 to 0, or 0.5, or 10,20")
        '1000000 to zero, or 0.5, or 10,20'
    """
    return _LONE_ZERO.sub("zero", _COMMA_IN_NUMBER.sub("", text))


def _spectrum(network: Any, ids: Any, voice: Any, seed: int) -> Any:
    """[frame, mel] of what is said."""
    config, n_tokens = network.config, ids.shape[1]
    if n_tokens > config.max_text_positions:
        problem = f"the text has {n_tokens} tokens, and this network has positions for {config.max_text_positions}"
        raise Untreatable(problem)
    ratio = min(FRAMES_PER_TOKEN, config.max_speech_positions * config.reduction_factor / n_tokens)
    with _drawn_from(seed, network.device):
        spectrum = network.generate_speech(ids, voice, maxlenratio=ratio)
    n_most = int(n_tokens * ratio / config.reduction_factor) * config.reduction_factor
    if len(spectrum) >= n_most:
        raise Untreatable(f"its speech does not end within {n_most} mel frames")
    return spectrum


def _hear_voice(folder: Path, device: str) -> Callable[[np.ndarray], Any]:
    """A clip's speaker vector [1, dim]. The head takes the deviation over frames, so there must be two of them."""
    import torch

    preprocessor = read_sound_preprocessor(_WHERE, folder)
    network = load_network(folder, "AutoModelForAudioXVector", _UNNEEDED).to(device)
    config, steps = network.config, steps_of_network(network.config)
    around = zip(config.tdnn_kernel, config.tdnn_dilation, strict=True)
    n_least = steps.reach + steps.hop * (1 + sum(dilation * (kernel - 1) for kernel, dilation in around))

    def voice_of(wave: np.ndarray) -> Any:
        if len(wave) < n_least:
            lasts, needed = len(wave) / RATE_HZ, n_least / RATE_HZ
            raise Untreatable(f"the clip lasts {lasts:.3f} s, too little to tell a voice by ({needed:g} s)")
        beginning = wave[: int(VOICE_S * RATE_HZ)]
        [values] = preprocessor(beginning, sampling_rate=RATE_HZ, return_tensors="np").input_values
        return network(torch.from_numpy(values)[None].to(device)).embeddings

    return voice_of


@contextmanager
def _drawn_from(seed: int, device: Any) -> Iterator[None]:
    """What is drawn by lot inside depends on the seed alone, and what is drawn after it on nothing inside."""
    import torch

    is_cuda = device.type == "cuda"
    with torch.random.fork_rng([device] if is_cuda else []):
        torch.default_generator.manual_seed(seed)
        if is_cuda:
            torch.cuda.default_generators[device.index].manual_seed(seed)
        yield


def _check(checkpoint: Path) -> None:
    """Refuses parts that are not what they should be, or do not fit each other."""
    require_speaking(checkpoint)
    spoken, sounding, speaker = (checkpoint / part for part in SPEAKING)
    speech, voice = read_config(spoken), read_config(speaker)
    vocoder = read_preprocessor("SpeechT5HifiGanConfig", sounding, "config.json, which describes a vocoder")
    for part, config, kind in (
        (SPEAKING[0], speech, "SpeechT5ForTextToSpeech"), (SPEAKING[1], vocoder, "SpeechT5HifiGan"),
        (SPEAKING[2], voice, "ForXVector"),
    ):  # fmt: skip
        own = (config.architectures or ["network without a name"])[0]
        if not own.endswith(kind):
            raise InvalidField(_WHERE, "weights", f"have a {own} in {part}, where a …{kind} belongs")
    if voice.model_type not in CONVOLUTIONAL:
        known = ", ".join(CONVOLUTIONAL)
        raise InvalidField(_WHERE, "weights", f"tell voices by a '{voice.model_type}', but encoders are: {known}")
    if voice.xvector_output_dim != speech.speaker_embedding_dim:
        problem = (
            f"do not fit together: speaker vectors of {voice.xvector_output_dim} numbers, of which text_to_speech "
            f"takes {speech.speaker_embedding_dim}"
        )
        raise InvalidField(_WHERE, "weights", problem)
    if vocoder.model_in_dim != speech.num_mel_bins:
        problem = (
            f"do not fit together: a vocoder of {vocoder.model_in_dim} mel bands, of which text_to_speech gives "
            f"{speech.num_mel_bins}"
        )
        raise InvalidField(_WHERE, "weights", problem)
    if vocoder.sampling_rate != RATE_HZ:
        problem = f"have a vocoder that sounds at {vocoder.sampling_rate} Hz, but clips have {RATE_HZ} Hz"
        raise InvalidField(_WHERE, "weights", problem)
