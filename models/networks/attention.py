"""Attention that knows which steps are valid, and the one transformer layer: within a stream or across two."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, heads: int, scale: float | None = None) -> Tensor:
    """Multi-head scaled dot-product attention, the heads side by side again at the end.

    A row with nobody to attend to gets zeros.

    Args:
        query: [B, T, width].
        key, value: [B, S, width].
        mask: bool [B, S]; nobody attends to a step where it is False. What stands there must be finite.
        scale: of the scores before the softmax; None is 1 / √(width / heads).

    Returns:
        [B, T, width].

    Source: Vaswani et al. 2017, eq. 1; Kim & Kang 2022, algorithm 1, lines 9-11; Ghosh et al. 2023, eq. 1;
    Krishna 2021, eq. 4, which prints d_q where its own source and ours have the root: scale = 1 / d_q is as printed.
    """
    alone = ~mask.any(dim=1)
    query, key, value = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    seen = (mask | alone[:, None])[:, None, None, :]
    attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen, scale=scale)
    return attended.transpose(1, 2).flatten(2).masked_fill(alone[:, None, None], 0.0)


class TransformerLayer(nn.Module):
    """Attention and feed-forward, each with dropout and residual sum, and layer normalisation after it or before.

    With a context, of the same width, queries come from x and keys and values from the context (eq. 1 and 2 of
    Kim & Kang 2022); without one all three come from x (eq. 3 and 4).

    Args:
        feed_forward: width inside.
        pre_norm: normalise what goes into attention (x and context alike) and into the feed-forward, and leave the
            residual sums as they are; otherwise normalise the sums.
        scale: see `attend`.

    Source: Vaswani et al. 2017, sections 3.1 and 5.4; like there, attention weights themselves are not dropped.
    After: Kim & Kang 2022, algorithm 1, lines 7-15. Before: Krishna 2021, section 4, which does not speak of
    residual sums, and Tsai et al. 2019; x and context share one normalisation as in the latter's code,
    which costs nothing, because the matrices of keys and values can undo its gain and offset.
    """

    def __init__(
        self, width: int, heads: int, feed_forward: int, dropout: float, pre_norm: bool = False,
        scale: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.heads, self.pre_norm, self.scale = heads, pre_norm, scale
        self.query_key_value = nn.Linear(width, 3 * width)
        self.joined = nn.Linear(width, width)
        self.widen = nn.Linear(width, feed_forward)
        self.narrow = nn.Linear(feed_forward, width)
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor, context: Tensor | None = None) -> Tensor:
        """x, [B, T, width], to the same shape.

        Args:
            mask: the valid steps of what is attended to: bool [B, T], or [B, S] with a context.
            context: [B, S, width].
        """
        if self.pre_norm:
            context = None if context is None else self.norms[0](context)
            x = x + self.dropout(self._attention(self.norms[0](x), mask, context))
            return x + self.dropout(self._feed_forward(self.norms[1](x)))
        x = self.norms[0](x + self.dropout(self._attention(x, mask, context)))
        return self.norms[1](x + self.dropout(self._feed_forward(x)))

    def weights(self, x: Tensor, mask: Tensor, context: Tensor) -> Tensor:
        """How each step of x attends to the steps of the context, mean over the heads: [B, T, S], rows of sum 1.

        Args:
            mask: bool [B, S]; each row must have a valid step.
        """
        if self.pre_norm:
            x, context = self.norms[0](x), self.norms[0](context)
        query, key, _ = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self._projected(x, context))
        scale = 1 / math.sqrt(query.shape[-1]) if self.scale is None else self.scale
        scores = query @ key.transpose(-2, -1) * scale
        return scores.masked_fill(~mask[:, None, None, :], -torch.inf).softmax(dim=-1).mean(dim=1)

    def _attention(self, x: Tensor, mask: Tensor, context: Tensor | None) -> Tensor:
        query, key, value = self._projected(x, context)
        return self.joined(attend(query, key, value, mask, self.heads, self.scale))

    def _projected(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, the heads side by side."""
        if context is None:
            query, key, value = self.query_key_value(x).chunk(3, dim=-1)
            return query, key, value
        width = x.shape[-1]
        weight, bias = self.query_key_value.weight, self.query_key_value.bias
        query = functional.linear(x, weight[:width], bias[:width])
        key, value = functional.linear(context, weight[width:], bias[width:]).chunk(2, dim=-1)
        return query, key, value

    def _feed_forward(self, x: Tensor) -> Tensor:
        return self.narrow(self.widen(x).relu())


def sinusoids(n_steps: int, width: int, device: torch.device) -> Tensor:
    """Sines and cosines of the position, [n_steps, width]. Source: Vaswani et al. 2017, section 3.5."""
    step = torch.arange(n_steps, device=device, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(10_000) / width))
    return torch.stack([torch.sin(step * rate), torch.cos(step * rate)], dim=-1).flatten(1)
