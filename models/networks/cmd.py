"""The network of `models.students.cmd`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from models import losses
from models.batch import Batch
from models.contrastive import nt_xent
from models.encoders import load_encoder, load_tokenizer
from models.network import Network, reaching
from models.networks.attention import TransformerLayer
from models.networks.encoder_blocks import SpeechFrontEnd, n_tokens, tokenized
from models.networks.fusion import CoAttention
from models.networks.pools import masked_mean
from models.networks.states import states_of
from models.weights import load_matching
from warehouse.errors import MalformedSource, NothingLoaded, StepsDiffer

if TYPE_CHECKING:
    from models.students.cmd import Cmd

Streams = dict[str, tuple[Tensor, Tensor]]
"""'audio' and 'text', as far as they are there: steps, [B, T, width], and which are valid, bool [B, T]."""

ROUNDING = {"audio": 1, "text": 0}
"""By how many steps a teacher may differ: encoders of sound round the last frame up or down."""


class CmdNetwork(Network):
    """See `models.students.cmd.Cmd`.

    Args:
        teachers: role of a teacher's stored states -> their dimensions, where they teach.
        encoders: slot -> folder of the encoder whose input embedding is taken.
        init: folder of a checkpoint whose weights are taken where name and shape agree, those of `heads` excepted.

    Raises:
        NothingLoaded: no weight of `init` fits.
    """

    def __init__(
        self, student: Cmd, teachers: Mapping[str, int], encoders: Mapping[str, Path], n_classes: int,
        init: Path | None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.student = student
        streams = student.encoders
        size = student.channels, student.heads, student.feed_forward, student.dropout
        self.embeddings = nn.ModuleDict()
        if "audio" in streams:
            self.embeddings["audio"] = SpeechFrontEnd(encoders["audio"])
        if "text" in streams:
            self.embeddings["text"] = TextFrontEnd(encoders["text"], student.max_tokens)
        dims: dict[str, Any] = {stream: embed.dim for stream, embed in self.embeddings.items()}
        self.convolutions = nn.ModuleDict({
            stream: nn.Conv1d(dim, student.channels, student.kernel, padding=student.kernel // 2)
            for stream, dim in dims.items()
        })  # fmt: skip
        n_cross = student.blocks if len(streams) > 1 else 0
        self.across = nn.ModuleList(CoAttention(*size) for _ in range(n_cross))
        self.within = nn.ModuleDict({
            stream: nn.ModuleList(TransformerLayer(*size) for _ in range(student.blocks)) for stream in streams
        })  # fmt: skip
        self.maps = nn.ModuleDict({
            f"{whose}_{stream}": nn.Linear(dim, student.latent)
            for stream in streams if f"teacher_{stream}" in teachers
            for whose, dim in (("student", student.channels), ("teacher", teachers[f"teacher_{stream}"]))
        })  # fmt: skip
        self.heads = nn.ModuleDict()
        if n_classes:  # where no class is told, a student is distilled all the same
            self.heads.update({stream: _head(student, n_classes) for stream in streams})
        if init is not None:
            self.fresh = load_matching(self, init, [name for name in self.state_dict() if name.startswith("heads.")])
            if len(self.fresh) == len(self.state_dict()):
                raise NothingLoaded("students.cmd", init)

    def forward(self, batch: Batch) -> Tensor:
        """Logits, [B, n_classes]: the logarithm of the streams' mean probability. Source: algorithm 3, lines 7-11."""
        return self._average(self.logits(self.context(batch)))

    def last_layers(self) -> Sequence[nn.Linear]:
        heads: Any = self.heads.values()
        return [head[-1] for head in heads]

    def losses(self, batch: Batch, terms: Sequence[str]) -> dict[str, Tensor]:
        """'distill' and 'label', those of them that are asked for."""
        context = self.context(batch)
        found = {}
        if "distill" in terms:
            each = [self._contrast(batch, stream, *steps) for stream, steps in context.items()]
            total = torch.stack(each).sum()
            found["distill"] = total if "label" in terms else reaching(total, self.heads)
        if "label" in terms:
            found["label"] = self.label_loss(self._average(self.logits(context)), batch)
        return found

    def context(self, batch: Batch) -> Streams:
        """What the blocks make of each stream. Source: eq. 1-4."""
        streams = {stream: self._convolved(batch, stream) for stream in self.convolutions}
        if self.student.fusion == "early":
            return self._within(self._across(streams))
        return self._across(self._within(streams))

    def logits(self, context: Streams) -> dict[str, Tensor]:
        """Those of each stream, [B, n_classes], before κ. Source: algorithm 3, lines 8-10."""
        return {stream: self.heads[stream](masked_mean(*steps)) for stream, steps in context.items()}

    def _average(self, logits: Mapping[str, Tensor]) -> Tensor:
        return losses.average_log_probability(list(logits.values()), self.student.temperature)

    def _convolved(self, batch: Batch, stream: str) -> tuple[Tensor, Tensor]:
        embed = self.embeddings[stream]
        if stream == "audio":
            x, mask = embed(batch.arrays["wave"], batch.lengths["wave"])
        else:
            x, mask = embed(batch.texts["text"])
        x = x.masked_fill(~mask[..., None], 0.0).transpose(1, 2)
        return self.convolutions[stream](x).transpose(1, 2), mask

    def _across(self, streams: Streams) -> Streams:
        if not self.across:
            return streams
        (audio, audio_mask), (text, text_mask) = streams["audio"], streams["text"]
        for layer in self.across:
            audio, text = layer(audio, audio_mask, text, text_mask)
        return {"audio": (audio, audio_mask), "text": (text, text_mask)}

    def _within(self, streams: Streams) -> Streams:
        found = {}
        for stream, (x, mask) in streams.items():
            layers: Any = self.within[stream]
            for layer in layers:
                x = layer(x, mask)
            found[stream] = x, mask
        return found

    def _contrast(self, batch: Batch, stream: str, context: Tensor, mask: Tensor) -> Tensor:
        """Of one stream. Source: algorithm 2, lines 16-18; eq. 8 and 9."""
        role = f"teacher_{stream}"
        states, valid = states_of(batch, role)
        own, given = mask.sum(dim=1), valid.sum(dim=1)
        apart = (own - given).abs() > ROUNDING[stream]
        if apart.any():
            first = int(apart.nonzero()[0])
            raise StepsDiffer(batch.ids[first], stream, int(own[first]), role, int(given[first]))
        n_steps = min(context.shape[1], states.shape[1])
        student = self.maps[f"student_{stream}"](context[:, :n_steps])
        teacher = self.maps[f"teacher_{stream}"](states[:, :n_steps])
        both = mask[:, :n_steps] & valid[:, :n_steps]
        settings = self.student
        return nt_xent(student, teacher, both, settings.temperature, similarity=settings.similarity)


class TextFrontEnd(nn.Module):
    """The embeddings of an encoder of text, with its tokenizer: what its first block is given.

    Args:
        folder: of the checkpoint.
        max_tokens: longer texts lose their end, as do those longer than the network has positions for.

    Raises:
        MalformedSource: its network has no such part, or lacks weights.
    """

    def __init__(self, folder: Path, max_tokens: int) -> None:
        super().__init__()
        self.tokenizer = load_tokenizer(folder)
        network: Any = load_encoder(folder, unneeded=("pooler.",))
        if not hasattr(getattr(network, "embeddings", None), "LayerNorm"):
            problem = f"is a '{network.config.model_type}', whose embeddings of text cannot be taken out of it"
            raise MalformedSource(folder, problem)
        self.embeddings, self.max_tokens = network.embeddings, n_tokens(max_tokens, self.tokenizer, network)
        self.dim: int = self.embeddings.LayerNorm.normalized_shape[0]

    def forward(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """
        Returns:
            Embedded tokens, [B, n_tokens, dim], and their mask, bool [B, n_tokens].
        """
        tokens = tokenized(self.tokenizer, texts, self.max_tokens).to(self.embeddings.LayerNorm.weight.device)
        return self.embeddings(tokens["input_ids"]), tokens["attention_mask"].bool()


def _head(student: Cmd, n_classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(student.channels, student.hidden), nn.ReLU(), nn.Linear(student.hidden, n_classes))
