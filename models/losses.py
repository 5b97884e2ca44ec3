"""The losses, one pure function each: tensors in, one number out, and padding never counts."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from models.batch import NO_LABEL


def response_distillation(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """How far the student's softened probabilities are from the teacher's: mean over utterances of
    KL(teacher ‖ student), times the square of the temperature, which keeps the gradient's size.

    Args:
        student_logits, teacher_logits: [B, n_classes], classes in the same order.

    Source: Li et al. 2021, eq. 1. The sign printed there would be maximised; ours is minimised.
    """
    student = functional.log_softmax(student_logits / temperature, dim=-1)
    teacher = functional.log_softmax(teacher_logits / temperature, dim=-1)
    return functional.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2


def soft_align(
    teacher: Tensor, student: Tensor, student_mask: Tensor, query: Tensor, key: Tensor, value: Tensor
) -> Tensor:
    """The student's frames, gathered for each token of the teacher by attention.

    Args:
        teacher: hidden states, [B, n_tokens, d_t].
        student: hidden states, [B, n_frames, d_s].
        student_mask: bool [B, n_frames]; False frames get no attention.
        query: [d_t, d_t]; key, value: [d_s, d_t].

    Returns:
        [B, n_tokens, d_t].

    Source: Li et al. 2021, eq. 2; GELU on keys and values, none on queries.
    """
    scores = (teacher @ query) @ functional.gelu(student @ key).transpose(1, 2) / math.sqrt(teacher.shape[-1])
    weights = scores.masked_fill(~student_mask[:, None, :], -torch.inf).softmax(dim=-1)
    return weights @ functional.gelu(student @ value)


def feature_distillation(teacher: Tensor, aligned: Tensor, teacher_mask: Tensor) -> Tensor:
    """Mean squared error of one pair of layers: the mean over the dimensions and valid tokens of each utterance,
    then over utterances, so that long sentences do not outweigh short ones.

    Args:
        teacher, aligned: [B, n_tokens, d_t].
        teacher_mask: bool [B, n_tokens].

    Source: Li et al. 2021, eq. 3, one term of the sum over layers. The squared norm there is not divided by its
    size; ours is, so that the weights keep their meaning whatever the teacher's width and sentence.
    """
    per_token = (teacher - aligned).square().mean(dim=-1).masked_fill(~teacher_mask, 0.0)
    return (per_token.sum(dim=1) / teacher_mask.sum(dim=1).clamp(min=1)).mean()


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the labelled rows; 0, with a gradient of 0, where no row has a label.

    Args:
        logits: [N, n_classes].
        labels: int64 [N], NO_LABEL where there is none.
    """
    total = functional.cross_entropy(logits, labels, ignore_index=NO_LABEL, reduction="sum")
    return total / (labels != NO_LABEL).sum().clamp(min=1)
