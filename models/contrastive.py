"""The contrastive losses, one pure function each: what belongs together is to be more alike than what does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from models.batch import NO_LABEL
from models.losses import at_least_float32

LEAST_NORM = 1e-6
"""A vector shorter than this has no direction, and would have a gradient without bound."""


def nt_xent(
    student: Tensor, teacher: Tensor, mask: Tensor, temperature: float, chunk: int = 256,
    similarity: Literal["cosine", "dot"] = "cosine",
) -> Tensor:  # fmt: skip
    """Normalised temperature-scaled cross-entropy per time step: each of the n valid steps of the batch is a pair,
    student and teacher, and the 2n - 2 others are what it must not be like.

    Padding never enters the similarities. The 2n × 2n matrix never exists: its rows are computed `chunk` at a
    time, forwards and again backwards, so that memory grows with chunk * n. 0 where no step is valid.

    Args:
        student, teacher: [B, T, dim], after their linear maps.
        mask: bool [B, T].
        temperature: κ.
        chunk: rows of the similarity matrix at a time; changes the last bits only.
        similarity: 'dot' is the product that figure 5 shows; the equations do not say.

    Source: Kim & Kang 2022, eq. 8 and 9; `l_{n+k,n}` as printed there is `l_{n+k,k}`.
    """
    z = at_least_float32(torch.cat([teacher[mask], student[mask]]))
    if not len(z):
        return z.sum()
    if similarity == "cosine":
        z = functional.normalize(z, dim=-1, eps=LEAST_NORM)
    loss: Tensor = _PairwiseCrossEntropy.apply(z, temperature, chunk)
    return loss


class _PairwiseCrossEntropy(torch.autograd.Function):
    """Eq. 9 of rows z_1 … z_2n, where k and n + k are a pair, under s_ij = z_i · z_j.

    With b_i = log Σ exp(s_ik / κ) over all k but i and its pair, eq. 8 for the pair is log(1 + exp(b_i - s_pair / κ)),
    which float32 holds even where a pair is much more alike than all others. Let p_ik be the fraction in eq. 8.
    Because s is symmetric, the gradient of all terms by z_i is Σ_{k≠i} (p_ik + p_ki - 2 [k is the pair of i]) z_k / κ.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, temperature: float, chunk: int) -> Tensor:
        with torch.autocast(z.device.type, enabled=False):
            others = torch.cat([scores.logsumexp(dim=1) for *_, scores in _rows(z, temperature, chunk)])
        positive = (z * z.roll(len(z) // 2, dims=0)).sum(dim=1) / temperature
        ctx.save_for_backward(z, others, positive)
        ctx.temperature, ctx.chunk = temperature, chunk
        return -functional.logsigmoid(positive - others).mean()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None]:
        z, others, positive = ctx.saved_tensors
        normaliser = torch.logaddexp(others, positive)
        missed = torch.sigmoid(others - positive)  # 1 - p of the pair
        both = missed + missed.roll(len(z) // 2)
        gradient = torch.empty_like(z)
        with torch.autocast(z.device.type, enabled=False):
            for rows, pairs, scores in _rows(z, ctx.temperature, ctx.chunk):
                weights = (scores - normaliser[rows, None]).exp_()
                weights += scores.sub_(normaliser).exp_()
                weights[pairs] = -both[rows]
                gradient[rows] = weights @ z
        return gradient.mul_(outer / (len(z) * ctx.temperature)), None, None


def _rows(z: Tensor, temperature: float, chunk: int) -> Iterator[tuple[slice, tuple[Tensor, Tensor], Tensor]]:
    """Rows of s / κ, some at a time, with -inf where a row meets itself or its pair, and the places of the latter."""
    columns = torch.arange(len(z), device=z.device)
    paired = columns.roll(len(z) // 2)
    for start in range(0, len(z), chunk):
        rows = slice(start, min(start + chunk, len(z)))
        scores = (z[rows] / temperature) @ z.T
        pairs = columns[: len(scores)], paired[rows]
        scores.diagonal(offset=start).fill_(-torch.inf)
        scores[pairs] = -torch.inf
        yield rows, pairs, scores


def supervised_contrastive(vectors: Tensor, labels: Tensor, temperature: float, released: bool = False) -> Tensor:
    """Utterances of one class are to be alike: - log p_ij summed over the pairs of a class, divided by the number of
    utterances, where p_i = softmax over the batch of v_i · v_j / τ.

    As printed and as released, an utterance is among its own positives and among those that it is compared with.
    Rows without a label are left out; 0 where none has one.

    Args:
        vectors: [B, dim]. Products are taken as they are: normalise before for cosine similarity.
        labels: int64 [B], NO_LABEL where there is none.
        temperature: τ; the paper does not print it, the released code has 0.07.
        released: as the released code computes it: log-softmax of the products, then division by τ, which does no
            more than scale the loss; and the mean over the pairs in place of the number of utterances.

    Source: Ghosh et al. 2023, algorithm 1 (L_SCL), whose minus sign is lost in print.
    """
    known = labels != NO_LABEL
    v, labels = at_least_float32(vectors[known]), labels[known]
    with torch.autocast(v.device.type, enabled=False):
        scores = v @ v.T
    same = labels[:, None] == labels
    if released:
        log_p, n = functional.log_softmax(scores, dim=-1) / temperature, same.sum()
    else:
        log_p, n = functional.log_softmax(scores / temperature, dim=-1), known.sum()
    return -log_p.masked_fill(~same, 0.0).sum() / n.clamp(min=1)


def augmented_contrastive(vectors: Tensor, augmented: Tensor, temperature: float) -> Tensor:
    """Each utterance is to be more like its own augmentation than like those of the others: cross-entropy over the
    batch of v_i · u_j / τ, where u_i is right.

    Args:
        vectors: v, [B, dim].
        augmented: u, [B, dim], the same utterances in the same order.

    Source: Ghosh et al. 2023, algorithm 1 (L_ACL).
    """
    v, u = at_least_float32(vectors), at_least_float32(augmented)
    with torch.autocast(v.device.type, enabled=False):
        scores = v @ u.T / temperature
    return functional.cross_entropy(scores, torch.arange(len(v), device=v.device))
