from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from models.weights import load_matching, load_weights, save_weights


def test_what_is_saved_is_read_and_bytes_depend_on_numbers_alone(tmp_path: Path) -> None:
    one, other = nn.Linear(3, 2), nn.Linear(3, 2)
    save_weights(one, tmp_path)
    first = (tmp_path / "model.safetensors").read_bytes()
    load_weights(other, tmp_path)
    assert torch.equal(one.weight, other.weight)
    save_weights(other, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == first
    with pytest.raises(RuntimeError, match="size mismatch"):
        load_weights(nn.Linear(4, 2), tmp_path)


def test_only_weights_of_the_same_name_and_shape_are_taken(tmp_path: Path) -> None:
    one = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(2, 2))
    save_weights(one, tmp_path)
    other = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5), nn.Linear(5, 2))
    assert load_matching(other, tmp_path, never=["0.bias"]) == ("0.bias", "1.weight", "1.bias", "2.weight")
    assert torch.equal(one[0].weight, other[0].weight)
    assert not torch.equal(one[0].bias, other[0].bias)
    assert torch.equal(one[2].bias, other[2].bias)
