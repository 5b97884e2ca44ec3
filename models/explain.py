"""Why a fitted CMD answers as it does: which stream dominates, and which tokens count. By gradients of the loss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Any

import torch
from torch import Tensor

from models import losses
from models.batch import NO_LABEL, Batch
from models.networks.cmd import CmdNetwork


@dataclass(frozen=True)
class Explanation:
    """Of one utterance.

    Args:
        label: the class whose loss is looked at: the utterance's own, or where it has none the one that is told.
        streams: 'audio' and 'text' -> the length of the loss's gradient by the logits of the stream.
        tokens: of the text, without special ones; () where no text is read.
        importance: of each token, the length of the loss's gradient by what the blocks made of it.
    """

    utterance_id: str
    label: str
    streams: Mapping[str, float]
    tokens: tuple[str, ...] = ()
    importance: tuple[float, ...] = ()

    @property
    def dominant(self) -> str:
        """The stream with the greater gradient; of equal ones the text."""
        return max(sorted(self.streams, reverse=True), key=lambda stream: self.streams[stream])


@dataclass(frozen=True)
class Dominance:
    """Of one stream: the share of utterances that it dominates, and their tokens, None where there are none."""

    share: float
    mean_tokens: float | None
    sd_tokens: float | None


def explain(network: CmdNetwork, batches: Iterable[Batch], classes: Sequence[str]) -> Iterator[Explanation]:
    """Explanations of some utterances, in their order. An utterance's is the same whatever it is batched with.

    The paper compares gradients and does not say how it measures a vector's: here by its Euclidean length.

    Args:
        network: fitted, and set to predict (`eval`).
        classes: in the order of the logits.

    Source: Kim & Kang 2022, section 5, tables 6 and 7: ∂L/∂ŷ of both streams, and ∂L/∂c_text.
    """
    for batch in batches:
        with torch.no_grad():
            context = network.context(batch)
        leaves = {stream: (c.detach().requires_grad_(), mask) for stream, (c, mask) in context.items()}
        logits = network.logits(leaves)
        answer = losses.average_log_probability(list(logits.values()), network.student.temperature)
        labels = torch.where(batch.labels == NO_LABEL, answer.argmax(dim=-1), batch.labels)
        loss = losses.cross_entropy(answer, labels) * len(batch)  # the sum: rows do not share it
        wanted = [*logits.values(), *([leaves["text"][0]] if "text" in leaves else [])]
        found = [gradient.norm(dim=-1) for gradient in torch.autograd.grad(loss, wanted)]
        by_stream = dict(zip(logits, found, strict=False))
        for row, utterance_id in enumerate(batch.ids):
            streams = {stream: float(length[row]) for stream, length in by_stream.items()}
            read = _tokens(network, batch.texts["text"][row], found[-1][row]) if "text" in leaves else ((), ())
            yield Explanation(utterance_id, classes[int(labels[row])], streams, *read)


def dominance(explanations: Sequence[Explanation]) -> dict[str, Dominance]:
    """For each stream, how often it dominates, and how long the texts are where it does: table 6."""
    found = {}
    for stream in explanations[0].streams if explanations else ():
        n_tokens = [len(one.tokens) for one in explanations if one.dominant == stream]
        lengths = (fmean(n_tokens), pstdev(n_tokens)) if n_tokens else (None, None)
        found[stream] = Dominance(len(n_tokens) / len(explanations), *lengths)
    return found


def _tokens(network: CmdNetwork, text: str, lengths: Tensor) -> tuple[tuple[str, ...], tuple[float, ...]]:
    front: Any = network.embeddings["text"]
    read = front.tokenizer(text, truncation=True, max_length=front.max_tokens, return_special_tokens_mask=True)
    names = front.tokenizer.convert_ids_to_tokens(read["input_ids"])
    kept = [n for n, is_special in enumerate(read["special_tokens_mask"]) if not is_special]
    return tuple(names[n] for n in kept), tuple(float(lengths[n]) for n in kept)
