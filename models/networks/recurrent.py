"""A recurrent layer that knows which steps are valid."""

from __future__ import annotations

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
        packed = pack_padded_sequence(x, lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False)
        out, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=x.shape[1])
        return out.masked_fill(~step_mask(lengths, x.shape[1])[..., None], 0.0)
