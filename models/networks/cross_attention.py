"""The network of `models.students.cross_attention`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from models.batch import Batch
from models.network import Network
from models.networks.attention import TransformerLayer
from models.networks.convolution import MaskedConvolution
from models.networks.encoder_blocks import SentenceEncoder, SpeechEncoder
from models.networks.pools import masked_statistics
from models.networks.recurrent import MaskedBiLstm
from models.networks.states import states_of

if TYPE_CHECKING:
    from models.students.cross_attention import CrossAttention

KERNEL, STRIDE, N_CONVOLUTIONS = 3, 2, 2


class CrossAttentionNetwork(Network):
    """See `models.students.cross_attention.CrossAttention`.

    Args:
        widths: role of stored states -> their dimensions.
        encoders: slot -> folder of the encoder that is inside.
    """

    def __init__(
        self, student: CrossAttention, widths: Mapping[str, int], encoders: Mapping[str, Path], n_classes: int
    ) -> None:
        super().__init__()
        self.student = student
        width = 0
        if student.modalities != "text":
            if student.trained:
                self.audio_encoder = SpeechEncoder(encoders["audio"], "context")
            dim = self.audio_encoder.dim if student.trained else widths["audio_states"]
            self.audio = AudioFeatures(dim, student.channels, student.lstm, student.dropout)
            width += 2 * 2 * student.lstm
        if student.modalities != "audio":
            if student.trained:
                self.text_encoder = SentenceEncoder(encoders["text"], True, student.max_tokens)
            dim = self.text_encoder.dim if student.trained else widths["text_states"]
            self.project = nn.Linear(dim, student.channels)  # a convolution of kernel 1, eq. 3
            width += 2 * student.channels
        if student.modalities == "both":
            size = student.channels, student.heads, student.feed_forward, student.dropout
            scale = 1 / (student.channels // student.heads) if student.scale == "printed" else None
            self.cma_1 = TransformerLayer(*size, pre_norm=True, scale=scale)
            self.cma_2 = TransformerLayer(*size, pre_norm=True, scale=scale)
        self.classify = nn.Linear(width, n_classes)

    def forward(self, batch: Batch) -> Tensor:
        streams = []
        if self.student.modalities != "text":
            h_a, audio_mask = self.audio(*self._audio_states(batch))
            streams.append((h_a, audio_mask))
        if self.student.modalities != "audio":
            states, text_mask = self._text_states(batch)
            h_t = self.project(states)
            streams.append((h_t, text_mask))
        if self.student.modalities == "both":
            streams = [(self.cma_1(h_a, text_mask, h_t), audio_mask), (self.cma_2(h_t, audio_mask, h_a), text_mask)]
        return self.classify(torch.cat([masked_statistics(x, mask) for x, mask in streams], dim=-1))

    def last_layers(self) -> Sequence[nn.Linear]:
        return (self.classify,)

    def losses(self, batch: Batch, terms: Sequence[str]) -> dict[str, Tensor]:
        return {"label": self.label_loss(self(batch), batch)}

    def _audio_states(self, batch: Batch) -> tuple[Tensor, Tensor]:
        if self.student.trained:
            states: tuple[Tensor, Tensor] = self.audio_encoder(batch.arrays["wave"], batch.lengths["wave"])
            return states
        return states_of(batch, "audio_states")

    def _text_states(self, batch: Batch) -> tuple[Tensor, Tensor]:
        if self.student.trained:
            states: tuple[Tensor, Tensor] = self.text_encoder(batch.texts["text"])
            return states
        return states_of(batch, "text_states")


class AudioFeatures(nn.Module):
    """Two convolutions, which leave a quarter of the frames, and a BiLSTM. Source: Krishna 2021, eq. 1 and 2."""

    def __init__(self, dim: int, channels: int, lstm: int, dropout: float) -> None:
        super().__init__()
        sizes = [dim] + [channels] * N_CONVOLUTIONS
        self.convolutions = nn.ModuleList(
            MaskedConvolution(before, after, KERNEL, STRIDE) for before, after in pairwise(sizes)
        )
        self.lstm = MaskedBiLstm(channels, lstm)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """[B, T, dim] and bool [B, T] -> [B, T', 2 * lstm] and its mask."""
        x, lengths = states.transpose(1, 2), mask.sum(dim=1)
        for convolution in self.convolutions:
            x, lengths, mask = convolution(x, lengths, mask)
        return self.dropout(self.lstm(x.transpose(1, 2), lengths)), mask
