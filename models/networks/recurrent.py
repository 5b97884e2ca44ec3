"""A recurrent layer that knows which steps are valid."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from models.batch import step_mask


class MaskedBiLstm(nn.Module):
    """One bidirectional LSTM layer. Backwards it starts at each utterance's own last step; padding gets zeros.

    Source: Krishna 2021, eq. 2.
    """

    def __init__(self, before: int, hidden: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(before, hidden, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """x [B, T, before] and lengths, int64 [B] -> [B, T, 2 * hidden]."""
        if torch.compiler.is_exporting():
            return self.unpacked(x, lengths)
        packed = pack_padded_sequence(x, lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False)
        out, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=x.shape[1])
        return out.masked_fill(~step_mask(lengths, x.shape[1])[..., None], 0.0)

    def unpacked(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The same without packing, whose steps an exported graph cannot count: what goes backwards is turned round
        within each utterance's own length."""
        steps = torch.arange(x.shape[1], device=x.device)
        own = lengths[:, None]
        turn = torch.where(steps < own, own - 1 - steps, steps)[..., None]
        turned = x.gather(1, turn.expand(-1, -1, x.shape[2]))
        ahead, behind = (
            self._one_way(steps, weights)
            for steps, weights in ((x, self.lstm._flat_weights[:4]), (turned, self.lstm._flat_weights[4:]))
        )
        both = torch.cat([ahead, behind.gather(1, turn.expand(-1, -1, behind.shape[2]))], dim=-1)
        return both.masked_fill(~step_mask(lengths, x.shape[1])[..., None], 0.0)

    def _one_way(self, x: Tensor, weights: Any) -> Tensor:
        start = x.new_zeros(1, x.shape[0], self.lstm.hidden_size)
        out: Tensor = torch.lstm(x, [start, start], weights, True, 1, 0.0, False, False, True)[0]
        return out
