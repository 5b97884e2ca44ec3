"""The network of `models.students.mmer`."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from models import losses
from models.batch import Batch
from models.contrastive import LEAST_NORM, augmented_contrastive, supervised_contrastive
from models.network import Network
from models.networks.attention import TransformerLayer
from models.networks.encoder_blocks import SpeechEncoder
from models.networks.fusion import MultimodalInteraction
from models.networks.pools import masked_max
from models.networks.states import states_of
from models.spelling import alphabet_of, ctc_targets
from warehouse.hashing import canonical_json

if TYPE_CHECKING:
    from models.students.mmer import Mmer

ALPHABET = "alphabet.json"
RATE_HZ = 16_000
"""Of all waves in the lake."""

OWN = {"audio": "wave", "text": "text_states"}
TOLD_AGAIN = {"audio": "augmented_wave", "text": "augmented_states"}
"""Stream -> the role that it is read from."""

Streams = dict[str, tuple[Tensor, Tensor]]
"""'audio' and 'text', as far as they are there: steps, [B, T, width], and which are valid, bool [B, T]."""


class MmerNetwork(Network):
    """See `models.students.mmer.Mmer`.

    Args:
        widths: role of stored states -> their dimensions.
        encoders: slot -> folder of the encoder that is inside.
        taught: the further roles that its terms will read. Of 'text', `prepare` finds out the characters.
    """

    def __init__(
        self, student: Mmer, widths: Mapping[str, int], encoders: Mapping[str, Path], n_classes: int,
        taught: Collection[str],
    ) -> None:  # fmt: skip
        super().__init__()
        self.student, self.spells, self.alphabet = student, "text" in taught, ""
        dims = {}
        if student.modalities != "text":
            self.audio_encoder = SpeechEncoder(encoders["audio"], "context")
            dims["audio"] = self.audio_encoder.dim
        if student.modalities != "audio":
            dims["text"] = widths["text_states"]
        if student.is_fused:
            size = student.width, student.heads, student.feed_forward, student.dropout
            self.widen = nn.ModuleDict({
                stream: nn.Identity() if dim == student.width else nn.Linear(dim, student.width)
                for stream, dim in dims.items()
            })  # fmt: skip
            if student.text_attention:
                self.text_attention = TransformerLayer(*size)
            self.interaction = MultimodalInteraction(*size)
            dims["text"] = student.width
        n_pooled = sum(dims.values())
        self.classify = nn.Linear(n_pooled, n_classes)
        if student.projections:
            whose = ["own", "told_again"] if "augmented_wave" in taught else ["own"]
            self.project = nn.ModuleDict({one: _projection(n_pooled, student.width) for one in whose})

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Collects the characters of the training part, where they are to be taught."""
        if self.spells:
            self._spell_with(alphabet_of(text for batch in batches for text in batch.texts["text"]))

    def forward(self, batch: Batch) -> Tensor:
        """Source: eq. 3, without the softmax."""
        return self._logits(self._pooled(self._streams(batch, OWN)))

    def last_layers(self) -> Sequence[nn.Linear]:
        return (self.classify,)

    def losses(self, batch: Batch, terms: Sequence[str]) -> dict[str, Tensor]:
        """'label', 'ctc', 'supervised' and 'augmented', those of them that are asked for."""
        streams = self._streams(batch, OWN)
        pooled = self._pooled(streams)
        found = {}
        if "label" in terms:
            found["label"] = self.label_loss(self._logits(pooled), batch)
        if "ctc" in terms:
            found["ctc"] = self._spelling(batch, *streams["audio"])
        if "supervised" in terms:
            vectors, labels, settings = self._compared(pooled, "own"), batch.labels, self.student
            released = settings.contrast == "released"
            found["supervised"] = supervised_contrastive(vectors, labels, settings.temperature, released)
        if "augmented" in terms:
            again = self._compared(self._pooled(self._streams(batch, TOLD_AGAIN)), "told_again")
            vectors = self._compared(pooled, "own")
            found["augmented"] = augmented_contrastive(vectors, again, self.student.temperature)
        return found

    def save(self, folder: Path) -> None:
        super().save(folder)
        if self.spells:
            (folder / ALPHABET).write_bytes(canonical_json(self.alphabet))

    def load(self, folder: Path) -> None:
        if self.spells:
            self._spell_with(json.loads((folder / ALPHABET).read_bytes()))
        super().load(folder)

    def _spell_with(self, alphabet: str) -> None:
        self.alphabet = alphabet
        self.spell = nn.Linear(self.audio_encoder.dim, len(alphabet) + 1)  # and the blank

    def _streams(self, batch: Batch, roles: Mapping[str, str]) -> Streams:
        """What the encoders say."""
        found = {}
        if self.student.modalities != "text":
            found["audio"] = self.audio_encoder(*self._wave(batch, roles["audio"]))
        if self.student.modalities != "audio":
            found["text"] = states_of(batch, roles["text"])
        return found

    def _wave(self, batch: Batch, role: str) -> tuple[Tensor, Tensor]:
        wave, lengths = batch.arrays[role], batch.lengths[role]
        if self.student.cut_s:
            n_most = round(self.student.cut_s * RATE_HZ)
            n_kept = torch.sym_min(wave.shape[1], n_most)  # of any wave, as an exported graph must know it
            wave, lengths = wave[:, :n_kept], lengths.clamp(max=n_most)
        return wave, lengths

    def _pooled(self, streams: Streams) -> list[Tensor]:
        """What is classified, side by side: [B, width] each, the interaction last."""
        found = [masked_max(*steps) for steps in streams.values()]
        if self.student.is_fused:
            (audio, audio_mask), (text, text_mask) = streams["audio"], streams["text"]
            audio, text = self.widen["audio"](audio), self.widen["text"](text)
            if self.student.text_attention:
                text = self.text_attention(text, text_mask)
            found[-1] = masked_max(self.interaction(audio, audio_mask, text, text_mask), text_mask)
        return found

    def _logits(self, pooled: Sequence[Tensor]) -> Tensor:
        logits: Tensor = self.classify(torch.cat(list(pooled), dim=-1))
        return logits

    def _spelling(self, batch: Batch, frames: Tensor, mask: Tensor) -> Tensor:
        """Source: eq. 4."""
        targets, lengths = ctc_targets(batch.texts["text"], self.alphabet)
        return losses.ctc(self.spell(frames), mask.sum(dim=1), targets, lengths, self.student.ctc)

    def _compared(self, pooled: Sequence[Tensor], whose: str) -> Tensor:
        """The vector of each utterance in the contrasts. Source: algorithm 1, R and R_au."""
        if self.student.projections:
            vectors: Tensor = self.project[whose](torch.cat(list(pooled), dim=-1))
        else:
            vectors = pooled[-1] if self.student.is_fused else torch.cat(list(pooled), dim=-1)
        if self.student.similarity == "cosine":
            vectors = functional.normalize(losses.at_least_float32(vectors), dim=-1, eps=LEAST_NORM)
        return vectors


def _projection(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(before, after), nn.GELU(), nn.Linear(after, after))
