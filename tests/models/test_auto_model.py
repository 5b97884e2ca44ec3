from __future__ import annotations

from pathlib import Path

import torch
import transformers

from models.auto_model import EmolakeConfig, EmolakeForSequenceClassification
from models.export import to_transformers
from tests.models.tiny_lake import TinyLake, batch_of, fitted, order


def test_the_auto_classes_know_the_type_once_this_is_imported(lake: TinyLake, tmp_path: Path) -> None:
    folder = fitted(lake, order(lake, "linear")).folder
    to_transformers(folder, tmp_path)
    config = transformers.AutoConfig.from_pretrained(tmp_path)
    assert (type(config), config.student, config.roles) == (EmolakeConfig, "students.linear", ["vector"])
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert isinstance(loaded, EmolakeForSequenceClassification)
    batch = batch_of(lake, ("vector",))
    torch.testing.assert_close(loaded(batch.arrays).logits, loaded.network(batch))
