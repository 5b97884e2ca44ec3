"""Two streams made into one, or made to know each other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.networks.attention import TransformerLayer


class CoAttention(nn.Module):
    """One layer of two branches, each of which asks the other: both read what the layer before left.

    Source: Zhao et al. 2022, section 2.3 and figure 3; Kim & Kang 2022, eq. 1 and 2.
    """

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.branches = nn.ModuleList([TransformerLayer(width, heads, feed_forward, dropout) for _ in range(2)])

    def forward(self, first: Tensor, first_mask: Tensor, second: Tensor, second_mask: Tensor) -> tuple[Tensor, Tensor]:
        """[B, T, width] and [B, S, width] to the same shapes; masks bool [B, T] and [B, S]."""
        return self.branches[0](first, second_mask, second), self.branches[1](second, first_mask, first)


class AcousticGate(nn.Module):
    """g ⊙ Q with g = σ(W [R; Q] + b): how much of each dimension of each step of Q passes.

    Source: Ghosh et al. 2023, eq. 2.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Linear(2 * width, width)

    def forward(self, r: Tensor, q: Tensor) -> Tensor:
        """Both [B, T, width], and so is the result."""
        return torch.sigmoid(self.gate(torch.cat([r, q], dim=-1))) * q


class MultimodalInteraction(nn.Module):
    """The three cross-modal encoders B, C and D, the gate E and the map to `width`.

    P = B(audio asks text); R = C(text asks P); Q = D(text asks audio); Q ← g ⊙ Q; [Q; R] → linear. The result has
    the steps of the text.

    Source: Ghosh et al. 2023, section 3.2.2, eq. 1 and 2, with the layer of Vaswani et al. 2017 for each encoder,
    as its section says.
    """

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.b, self.c, self.d = (TransformerLayer(width, heads, feed_forward, dropout) for _ in range(3))
        self.e = AcousticGate(width)
        self.project = nn.Linear(2 * width, width)

    def forward(self, audio: Tensor, audio_mask: Tensor, text: Tensor, text_mask: Tensor) -> Tensor:
        """[B, J, width] and [B, M, width], masks bool [B, J] and [B, M] -> [B, M, width]."""
        p = self.b(audio, text_mask, text)
        r = self.c(text, audio_mask, p)
        q = self.e(r, self.d(text, audio_mask, audio))
        return self.project(torch.cat([q, r], dim=-1))


class ResidualFusion(nn.Module):
    """LN(ReLU(W c + b) + c). Source: Zhao et al. 2022, eq. 4, first line."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, c: Tensor) -> Tensor:
        """[B, width] to the same shape."""
        return self.norm(self.linear(c).relu() + c)
