"""Hidden layers of a speech encoder, read from any checkpoint folder of an architecture below."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from features.encoding.config_fields import read_fields
from features.encoding.hearing import (
    CONVOLUTIONAL,
    check_windows,
    frames_at_once,
    hear_samples,
    read_sound_preprocessor,
    steps_of_network,
)
from features.encoding.pretrained import (
    as_stored,
    check_layers,
    device_of,
    load_network,
    one_thread,
    read_config,
)
from features.encoding.windows import windows
from features.plugin import RATE_HZ, Clip, FeatureSpec, Needs, heard
from warehouse.catalog import Positive, PositiveOrZero
from warehouse.errors import InvalidField

_WHERE = "extractor 'speech_encoder'"

_MEL_HOP = 160  # samples from one mel frame of Whisper to the next; its convolutions halve them
_NOTHING = -1.5  # what Whisper's preprocessor makes of no sound at all; of silence, 2 less than of the loudest
_UNNEEDED = r"masked_spec_embed$|adapter\.|decoder\."


@dataclass(frozen=True)
class SpeechEncoder:
    """'hidden' [layer, frame, dim] of wav2vec 2.0, HuBERT, WavLM, data2vec-audio, UniSpeech, or Whisper's encoder.

    Layer 0 is what goes into the first block and n what the n-th gives; the last is what the encoder as a whole gives,
    after its closing normalisation where it has one. Frame i stands for [i, i + 1) * hop_s. Convolutions make it of
    samples from i * hop_s on, 25 ms of them in the published networks, so the last frame may end before the clip does;
    Whisper's is centred at i * hop_s, and the clip's end is in its last frame. The checkpoint's own preprocessor
    prepares the sound.

    Clips pass through the network one at a time and on one thread, so a row is the same to the bit whatever it came
    with. None is masked, and none is padded to the length of another (only Whisper's to its window, with silence, as it
    was trained). That matters most for networks with a group norm, such as wav2vec 2.0 base, whose statistics run over
    time: they are those of the clip alone.

    A clip longer than `window_s` is heard in windows of at most that length, cut between frames. Each keeps its own
    frames but not those of `context_s` at either side that it shares with its neighbours, so there are as many frames
    as the whole would have. The sound is normalised over the whole clip before it is cut; a group norm's statistics are
    then those of a window, and attention reaches no further than one.

    Args:
        weights: digest of the checkpoint artifact. It identifies the network; the folder is given to `load`.
        layers: which layers, in this order; none named, all.
        dtype: of 'hidden' as stored. float16 is at most 2**-11 of a value, or 2**-25, away from float32; a value that
            it cannot hold makes the clip a failure.
        window_s: seconds heard at once; Whisper hears at most 30 whatever stands here, and silence behind fewer.
        context_s: seconds at either side of a cut that are heard but not kept.

    Raises:
        InvalidField: a checkpoint of another architecture or rate, a layer it has not, or windows without a middle
            in whole frames.
        MalformedSource: the folder lacks weights of the network that its config.json describes, or its preprocessor.
        Untreatable: the clip is shorter than one frame, or not finite.
    """

    weights: str
    layers: tuple[int, ...] = ()
    dtype: Literal["float32", "float16"] = "float32"
    window_s: Positive = 30.0
    context_s: PositiveOrZero = 2.5

    version: ClassVar[int] = 2
    needs: ClassVar[Needs] = "audio"
    reads_checkpoint: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers")
    tolerance: ClassVar[float] = 1e-3  # one step of float16

    def __post_init__(self) -> None:
        check_windows(_WHERE, self.window_s, self.context_s)

    def outputs(self, checkpoint: Path) -> Mapping[str, FeatureSpec]:
        """What a checkpoint promises; reads its config.json and no weights."""
        config = read_fields(checkpoint, ("hidden_size", "num_hidden_layers", "conv_kernel", "conv_stride"))
        hop_s = self._hop(config) / RATE_HZ
        check_layers(_WHERE, self.layers, config.num_hidden_layers)
        axes = ("layer", "frame", "dim")
        return {"hidden": FeatureSpec("frame", axes, config.hidden_size, self.dtype, hop_s=hop_s)}

    def load(self, device: str, checkpoint: Path) -> Callable[[Sequence[Clip]], list[dict[str, np.ndarray]]]:
        import torch

        config = read_config(checkpoint)
        self._hop(config)
        check_layers(_WHERE, self.layers, config.num_hidden_layers)
        preprocessor = read_sound_preprocessor(_WHERE, checkpoint)
        network = load_network(checkpoint, "AutoModel", _UNNEEDED).to(device_of(device))
        hear = self._hear_mel if config.model_type == "whisper" else self._hear_samples
        pieces = hear(network, preprocessor)

        def extract(clips: Sequence[Clip]) -> list[dict[str, np.ndarray]]:
            with torch.inference_mode(), one_thread():
                return [{"hidden": np.concatenate(pieces(heard(clip)), axis=1)} for clip in clips]

        return extract

    def _hear_samples(self, network: Any, preprocessor: Any) -> Callable[[np.ndarray], list[np.ndarray]]:
        """A clip's kept frames, window by window: networks that hear samples."""
        network.adapter = None  # one that some have after the encoder
        return hear_samples(network, preprocessor, self.window_s, self.context_s, self._kept)

    def _hear_mel(self, network: Any, preprocessor: Any) -> Callable[[np.ndarray], list[np.ndarray]]:
        """The same of Whisper, which hears windows of one length: mel frames of the sound and of silence after it."""
        import torch

        encoder, most = network.encoder, network.config.max_source_positions
        hop = 2 * _MEL_HOP
        size, context = frames_at_once(_WHERE, self.window_s, self.context_s, hop, most)

        def pieces(wave: np.ndarray) -> list[np.ndarray]:
            n_frames = -(-len(wave) // hop)
            cuts = list(windows(n_frames, size, context))
            n_heard = (cuts[-1].begin + most) * hop
            [mel] = preprocessor(
                wave, sampling_rate=RATE_HZ, return_tensors="np", padding="max_length", max_length=n_heard,
                truncation=False,
            ).input_features  # fmt: skip
            silence = max(mel.max() - 2, _NOTHING)
            found = []
            for window in cuts:
                sound = np.full_like(mel[:, : 2 * most], silence)
                sound[:, : 2 * size] = mel[:, 2 * window.begin : 2 * (window.begin + size)]
                answer = encoder(torch.from_numpy(sound)[None].to(network.device), output_hidden_states=True)
                found.append(self._kept(answer, window.keep - window.begin, window.stop - window.begin))
            return found

        return pieces

    def _kept(self, answer: Any, first: int, end: int) -> np.ndarray:
        """[layer, frame, dim] of the frames that are kept, as stored."""
        every = [*answer.hidden_states[:-1], answer.last_hidden_state]
        layers = self.layers or range(len(every))
        return as_stored(np.stack([every[layer][0, first:end].float().cpu().numpy() for layer in layers]), self.dtype)

    def _hop(self, config: Any) -> int:
        """Samples from one frame to the next.

        Raises:
            InvalidField: no speech encoder that is known here, or windows that do not fit its frames.
        """
        if config.model_type == "whisper":
            hop, most = 2 * _MEL_HOP, config.max_source_positions
        elif config.model_type in CONVOLUTIONAL:
            hop, most = steps_of_network(config).hop, None
        else:
            known = ", ".join((*CONVOLUTIONAL, "whisper"))
            raise InvalidField(_WHERE, "weights", f"are of a '{config.model_type}', but speech encoders are: {known}")
        frames_at_once(_WHERE, self.window_s, self.context_s, hop, most)
        return hop
