"""The network of `models.students.text_encoder`."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertTokenizer,
)

from models import losses
from models.batch import NO_LABEL, Batch
from models.network import Network
from models.networks.encoder_blocks import n_tokens, tokenized
from models.wordpiece import SPECIAL, train_vocabulary
from warehouse.errors import InvalidField, NothingLoaded
from warehouse.hashing import short_digest

if TYPE_CHECKING:
    from models.students.text_encoder import TextEncoder

transformers.logging.set_verbosity_error()  # what was loaded and what was not stands in the checkpoint's card
transformers.logging.disable_progress_bar()

_READ = {"local_files_only": True}
_READ_WEIGHTS = _READ | {"use_safetensors": True, "dtype": torch.float32, "output_loading_info": True}


class TextNetwork(Network):
    """See `models.students.text_encoder.TextEncoder`."""

    def __init__(self, student: TextEncoder, classes: tuple[str, ...], init: Path | None) -> None:
        super().__init__()
        self.student = student
        self.tokenizer: Any = None
        self._auto: Any = AutoModelForMaskedLM if student.task == "mlm" else AutoModelForSequenceClassification
        if init is None:
            self.model = self._auto.from_config(_config(student, classes))
        elif not (init / "config.json").is_file():
            raise NothingLoaded("students.text_encoder", init)
        else:
            self.tokenizer = AutoTokenizer.from_pretrained(init, **_READ)
            config = AutoConfig.from_pretrained(init, **_READ)
            if student.task == "classify" and tuple(config.id2label.values()) != classes:
                self.model, self.fresh = _with_new_classifier(config, classes, init)
            else:
                self.model, report = self._auto.from_pretrained(init, **_READ_WEIGHTS)
                self.fresh = tuple(sorted(report["missing_keys"]))
            if {name for name, _ in self.model.named_parameters()} <= set(self.fresh):
                raise NothingLoaded("students.text_encoder", init)

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Makes the vocabulary; that of an initial checkpoint stands."""
        if self.tokenizer is not None:
            return
        splitter = BertTokenizer().backend_tokenizer
        counts: Counter[str] = Counter()
        for batch in batches:
            for text in batch.texts["text"]:
                normalised = splitter.normalizer.normalize_str(text)
                counts.update(word for word, _ in splitter.pre_tokenizer.pre_tokenize_str(normalised))
        vocabulary = train_vocabulary(counts, self.student.vocabulary_size)
        positions = {token: i for i, token in enumerate(vocabulary)}
        self.tokenizer = BertTokenizer(vocab=positions, model_max_length=self.student.max_tokens)

    def forward(self, batch: Batch) -> Tensor:
        """Logits, [B, n_classes]."""
        tokens = self._tokens(batch)
        return self.model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).logits

    def last_layers(self) -> Sequence[nn.Linear]:
        """The one before the classes; whatever the architecture, it is the last."""
        if self.student.task == "mlm":
            return ()
        return [layer for layer in self.model.modules() if isinstance(layer, nn.Linear)][-1:]

    def losses(self, batch: Batch, terms: Sequence[str]) -> dict[str, Tensor]:
        """The one term of the task.

        Raises:
            InvalidField: another term is asked for.
        """
        own = "mlm" if self.student.task == "mlm" else "label"
        if list(terms) != [own]:
            problem = f"is '{self.student.task}', whose one term is '{own}', but the objective has: {', '.join(terms)}"
            raise InvalidField("student 'text_encoder'", "task", problem)
        if own == "label":
            return {"label": self.label_loss(self(batch), batch)}
        tokens = self._tokens(batch, return_special_tokens_mask=True)
        shown, wanted = self._masked(batch.ids, tokens["input_ids"], tokens["special_tokens_mask"].bool())
        logits = self.model(input_ids=shown, attention_mask=tokens["attention_mask"]).logits
        return {"mlm": losses.cross_entropy(logits.flatten(0, 1), wanted.flatten())}

    def save(self, folder: Path) -> None:
        try:
            self.model.save_pretrained(folder)
        except SafetensorError as error:
            if "No space left" in str(error):  # said as Python does, so that the warehouse understands it
                raise OSError(errno.ENOSPC, "No space left on device") from error
            raise
        self.tokenizer.save_pretrained(folder)

    def load(self, folder: Path) -> None:
        self.model = self._auto.from_pretrained(folder, **_READ_WEIGHTS)[0]  # of the family that it began with
        self.tokenizer = AutoTokenizer.from_pretrained(folder, **_READ)

    @property
    def max_tokens(self) -> int:
        """Longer texts lose their end. Some families count positions in tables of other names, or in none."""
        asked = min(self.student.max_tokens, self.model.config.max_position_embeddings)
        return n_tokens(asked, self.tokenizer, self.model)

    def _tokens(self, batch: Batch, **more: bool) -> Any:
        return tokenized(self.tokenizer, batch.texts["text"], self.max_tokens, **more).to(batch.labels.device)

    def _masked(self, ids: Sequence[str], tokens: Tensor, special: Tensor) -> tuple[Tensor, Tensor]:
        """What the network is shown and what it must guess (NO_LABEL elsewhere), both [B, n_tokens].

        Training draws anew at every pass; otherwise an utterance decides its own draws, so that losses compare.
        """
        if self.training:
            draws = torch.rand(len(ids), 3, tokens.shape[1])
        else:
            draws = torch.stack([_own_draws(utterance_id, tokens.shape[1]) for utterance_id in ids])
        chosen, action, other = draws.to(tokens.device).unbind(1)
        guess = (chosen < self.student.mask_fraction) & ~special
        shown = tokens.masked_fill(guess & (action < 0.8), self.tokenizer.mask_token_id)
        any_token = (other * len(self.tokenizer)).long()
        shown = torch.where(guess & (action >= 0.8) & (action < 0.9), any_token, shown)
        return shown, tokens.masked_fill(~guess, NO_LABEL)


def _own_draws(utterance_id: str, n_tokens: int) -> Tensor:
    generator = torch.Generator().manual_seed(int(short_digest(["mask", utterance_id])[:12], 16))
    return torch.rand(n_tokens, 3, generator=generator).T  # by token, so that padding takes from the end


def _config(student: TextEncoder, classes: Sequence[str]) -> BertConfig:
    config = BertConfig(
        vocab_size=student.vocabulary_size,
        hidden_size=student.width,
        num_hidden_layers=student.layers,
        num_attention_heads=student.heads,
        intermediate_size=4 * student.width,
        max_position_embeddings=student.max_tokens,
        hidden_dropout_prob=student.dropout,
        attention_probs_dropout_prob=student.dropout,
        pad_token_id=SPECIAL.index("[PAD]"),
    )
    if classes:
        config.id2label, config.label2id = dict(enumerate(classes)), _positions(classes)
    return config


def _with_new_classifier(config: Any, classes: Sequence[str], init: Path) -> tuple[nn.Module, tuple[str, ...]]:
    """A classifier whose encoder is the checkpoint's and whose last layers are new, and the names of what is new."""
    config.id2label, config.label2id = dict(enumerate(classes)), _positions(classes)
    model = AutoModelForSequenceClassification.from_config(config)
    encoder, report = AutoModel.from_pretrained(init, **_READ_WEIGHTS)
    given = {name: tensor for name, tensor in encoder.state_dict().items() if name not in report["missing_keys"]}
    model.base_model.load_state_dict(given, strict=False)
    taken = {f"{model.base_model_prefix}.{name}" for name in given}
    return model, tuple(name for name in model.state_dict() if name not in taken)


def _positions(classes: Sequence[str]) -> dict[str, int]:
    return {name: i for i, name in enumerate(classes)}
