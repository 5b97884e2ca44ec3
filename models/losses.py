"""The losses, one pure function each: tensors in, one number out, and padding never counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

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


def vector_distillation(teacher: Tensor, projected: Tensor) -> Tensor:
    """Mean squared error of one vector per utterance: the mean over dimensions, then over utterances.

    Args:
        teacher, projected: [B, dim].

    Source: Romero et al. 2015, eq. 3, whose squared norm is not divided by its size; ours is, so that the weight keeps
    its meaning whatever the teacher's width.
    """
    return (teacher - at_least_float32(projected)).square().mean()


def cross_entropy(
    logits: Tensor, labels: Tensor, class_weights: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Mean over the labelled rows; 0, with a gradient of 0, where no row has a label.

    With class weights w a row of class y counts w_y times and the divisor stays the number of labelled rows: divided by
    Σ w_y, as torch has it, the one row of a batch would count alike whatever its class. With smoothing ε the label y
    becomes (1 - ε) for y plus ε / n_classes for every class, each class with its own weight.

    Args:
        logits: [N, n_classes].
        labels: int64 [N], NO_LABEL where there is none.
        class_weights: [n_classes], as `balanced_weights` gives them.

    Source: Szegedy et al. 2016, section 7, for the smoothing.
    """
    total = functional.cross_entropy(
        logits, labels, class_weights, ignore_index=NO_LABEL, reduction="sum", label_smoothing=smoothing
    )
    return total / (labels != NO_LABEL).sum().clamp(min=1)


def soft_cross_entropy(
    logits: Tensor, targets: Tensor, class_weights: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Cross-entropy to probabilities, as several raters' votes give them: - Σ_c w_c q_c log p_c, summed over rows
    and divided by their number. A row of zeros, for which nobody voted, does not count; 0 where no row counts.

    With smoothing ε each share q becomes (1 - ε) q + ε / n_classes. Equal to `cross_entropy` where every row has all
    its votes on one class.

    Args:
        logits: [N, n_classes].
        targets: q, [N, n_classes]; rows with the sum 1 or 0.
        class_weights: w, [n_classes]; 1 where there are none.
    """
    counts = targets.any(dim=-1)
    if smoothing:
        targets = ((1 - smoothing) * targets + smoothing / targets.shape[-1]) * counts[:, None]
    weighted = targets if class_weights is None else targets * class_weights
    log_p = functional.log_softmax(at_least_float32(logits), dim=-1).masked_fill(weighted == 0, 0.0)
    return -(weighted * log_p).sum() / counts.sum().clamp(min=1)


def balanced_weights(labels: Tensor, n_classes: int) -> Tensor:
    """Class weights under which all classes that occur weigh alike: n / (n_classes * n_class); 0 for one that does not.
    Where all occur, the mean weight of the n labels is 1.

    Args:
        labels: int64 [n], those of the training part; NO_LABEL does not count.

    Returns:
        float32 [n_classes].

    Example:
        >>> balanced_weights(torch.tensor([0, 0, 0, 1, NO_LABEL]), 2)
        tensor([0.6667, 2.0000])

    Source: as scikit-learn's `compute_class_weight("balanced")`, which `students.linear` uses.
    """
    counts = torch.bincount(labels[labels != NO_LABEL], minlength=n_classes)
    return torch.where(counts > 0, counts.sum() / (n_classes * counts.clamp(min=1)), 0.0).float()


def average_log_probability(streams: Sequence[Tensor], temperature: float) -> Tensor:
    """Logarithm of the mean of the streams' probabilities, which are softmax(logits / κ) each.

    Nothing is lost where a stream is so sure that its other probabilities are 0 in float32. The result serves as
    logits: its softmax is the mean, and `cross_entropy` of it is the loss of the fine-tuning.

    Args:
        streams: logits, [B, n_classes] each.
        temperature: κ.

    Source: Kim & Kang 2022, algorithm 3, lines 9-12. Line 12 also divides by the number of classes, which a
    learning rate undoes; ours does not.
    """
    each = [functional.log_softmax(at_least_float32(logits) / temperature, dim=-1) for logits in streams]
    return torch.stack(each).logsumexp(dim=0) - math.log(len(each))


def ctc(
    logits: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor,
    reduction: Literal["mean", "sum"] = "mean", blank: int = 0,
) -> Tensor:  # fmt: skip
    """Connectionist temporal classification: - log of the probability of all alignments of the characters.

    A target that does not fit into its frames (one for each character, one more between two that are equal) has
    the probability 0: it adds 0, with a gradient of 0, and still counts as an utterance of the mean.
    Always computed on the CPU, because the gradient on GPUs is not the same every time.

    Args:
        logits: [B, n_frames, n_characters + 1].
        lengths: valid frames, int64 [B].
        targets: positions of the characters among the logits, int64 [B, n_longest]; see `models.spelling`.
        target_lengths: int64 [B]. With length 0 every frame is to say the blank.
        reduction: 'mean' divides each utterance by its number of characters, at least 1, and takes the mean of the
            batch; 'sum' adds all up, as the released code does.
        blank: position of the blank among the logits.

    Source: Graves et al. 2006; Ghosh et al. 2023, eq. 4.
    """
    log_p = functional.log_softmax(at_least_float32(logits), dim=-1).transpose(0, 1)
    loss = functional.ctc_loss(
        log_p.cpu(), targets.cpu(), lengths.cpu(), target_lengths.cpu(), blank, reduction, zero_infinity=True
    )
    return loss.to(logits.device)


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision made single; double stays."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
