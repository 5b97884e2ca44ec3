"""Any student as `transformers` loads one: importing this teaches its Auto classes the type 'emolake'."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import AutoConfig, AutoModelForSequenceClassification, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from models import checkpoint
from models.export import MODEL_TYPE, named_batch, write_encoders
from models.network import Network


class EmolakeConfig(PretrainedConfig):
    """`student` and `roles` say what it is and what it reads; `id2label` has the classes. The student's fields are in
    student.json beside it."""

    model_type = MODEL_TYPE


class EmolakeForSequenceClassification(PreTrainedModel):
    """A student of a folder that `models.export.to_transformers` wrote."""

    config_class = EmolakeConfig
    base_model_prefix = "network"

    def __init__(self, config: EmolakeConfig, network: Network, folder: Path) -> None:
        super().__init__(config)
        self.network, self.folder = network, folder

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, folder: Any, *arguments: Any, **settings: Any
    ) -> EmolakeForSequenceClassification:
        """Reads a folder of this machine; settings of `transformers` (dtype, device_map) change nothing."""
        config = EmolakeConfig.from_pretrained(folder)
        _, network = checkpoint.load(Path(folder))
        return cls(config, network, Path(folder)).eval()

    def save_pretrained(  # type: ignore[override]
        self, folder: str | os.PathLike[str], *arguments: Any, **settings: Any
    ) -> None:
        """Writes the folder again, with the weights as they are now."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        self.network.save(Path(folder))
        write_encoders(self.network, self.folder, Path(folder))

    def forward(
        self, arrays: Mapping[str, Tensor] | None = None, lengths: Mapping[str, Tensor] | None = None,
        texts: Mapping[str, Sequence[str]] | None = None, **settings: Any,
    ) -> SequenceClassifierOutput:  # fmt: skip
        """Logits, [B, n_classes].

        Args:
            arrays: role -> float32 [B, dim] or [B, …, T, dim]; a wave is [B, n_samples, 1] at 16 kHz.
            lengths: role -> valid steps, int64 [B], of those that have steps.
            texts: role -> B strings.
        """
        return SequenceClassifierOutput(logits=self.network(named_batch(arrays or {}, lengths or {}, texts)))


AutoConfig.register(MODEL_TYPE, EmolakeConfig, exist_ok=True)
AutoModelForSequenceClassification.register(EmolakeConfig, EmolakeForSequenceClassification, exist_ok=True)
