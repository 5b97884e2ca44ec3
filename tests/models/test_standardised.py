from __future__ import annotations

import numpy as np
import pytest
import torch

from models.batch import Batch, collate
from models.networks.pools import LayerMean
from models.networks.standardised import StandardisedStates, standardise
from warehouse.errors import ShapeDiffers


def _batch(arrays: list[np.ndarray], role: str = "states") -> Batch:
    return collate([f"u{i}" for i in range(len(arrays))], {role: arrays}, {}, [0] * len(arrays))


def _arrays(*lengths: int, layers: tuple[int, ...] = (), dim: int = 4, offset: float = 0.0) -> list[np.ndarray]:
    rng = np.random.default_rng(len(lengths))
    each = [rng.normal(size=(*layers, n, dim)) * np.arange(1, dim + 1) + offset for n in lengths]
    return [array.astype(np.float32) for array in each]


@pytest.mark.parametrize("layers", [(), (1,), (3,)])
@pytest.mark.parametrize("offset", [0.0, 5000.0])
def test_the_moments_are_those_of_all_valid_steps(layers: tuple[int, ...], offset: float) -> None:
    arrays = _arrays(5, 1, 9, 3, layers=layers, offset=offset)
    states = StandardisedStates("states", arrays[0].shape)
    standardise([states], [_batch(arrays[:2]), _batch(arrays[2:])])
    steps = np.concatenate(arrays, axis=-2).astype(np.float64)
    np.testing.assert_allclose(states.mean.squeeze().numpy(), steps.mean(axis=-2).squeeze(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(states.scale.squeeze().numpy(), steps.std(axis=-2).squeeze(), rtol=1e-4)


def test_one_layer_is_standardised_and_padding_is_zero() -> None:
    arrays = _arrays(5, 2, 9)
    states = StandardisedStates("states", arrays[0].shape)
    standardise([states], [_batch(arrays)])
    x, mask = states(_batch(arrays))
    assert mask.sum(dim=1).tolist() == [5, 2, 9] and x.shape == (3, 9, 4)
    torch.testing.assert_close(x[mask].mean(dim=0), torch.zeros(4), rtol=0, atol=1e-6)
    torch.testing.assert_close(x[mask].std(dim=0, correction=0), torch.ones(4), rtol=1e-5, atol=0)
    assert x[~mask].abs().max() == 0


def test_several_layers_become_their_learned_mean() -> None:
    arrays = _arrays(5, 2, layers=(3,))
    states = StandardisedStates("states", arrays[0].shape)
    standardise([states], [_batch(arrays)])
    assert isinstance(states.layers, LayerMean) and states.layers.scores.requires_grad
    states.layers.scores.data = torch.tensor([-torch.inf, 0.0, -torch.inf])  # the second alone
    x, mask = states(_batch(arrays))
    second = (torch.from_numpy(arrays[1][1]) - states.mean[1]) / states.scale[1]
    torch.testing.assert_close(x[1, :2], states.layers.norm(second), rtol=1e-5, atol=1e-6)
    assert x[~mask].abs().max() == 0


def test_a_dimension_that_never_changes_is_only_centred() -> None:
    arrays = [np.full((3, 2), -100.1, dtype=np.float32), np.full((4, 2), -100.1, dtype=np.float32)]
    arrays[0][0, 1] = 7.0
    states = StandardisedStates("states", (3, 2))
    standardise([states], [_batch(arrays[1:]), _batch(arrays[:1])])
    assert states.scale[0, 0, 0] == 1 and states.scale[0, 0, 1] > 1
    assert states(_batch(arrays))[0][..., 0].abs().max() < 1e-4


def test_utterances_without_a_step_change_no_moment() -> None:
    arrays = _arrays(5, 2)
    one, other = (StandardisedStates("states", (5, 4)) for _ in range(2))
    nothing = np.zeros((0, 4), dtype=np.float32)
    standardise([one], [_batch([nothing]), _batch([*arrays, nothing])])
    standardise([other], [_batch(arrays)])
    assert torch.equal(one.mean, other.mean) and torch.equal(one.scale, other.scale)
    never = StandardisedStates("states", (5, 4))
    standardise([never], [_batch([nothing])])
    assert never.mean.abs().max() == 0 and never.scale.min() == 1


def test_what_has_no_steps_is_refused() -> None:
    with pytest.raises(ShapeDiffers, match=r"steps are wanted, \(n_steps, dim\) or \(n_layers, n_steps, dim\)"):
        StandardisedStates("states", (7,))
