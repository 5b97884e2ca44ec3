"""The arithmetic of the papers one number at a time, in float64: what the fast blocks are held against.

A vector is a list of numbers, a sequence a list of vectors. Numbers are tensors without axes, so that the gradient
of a reference comes from the same loops.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

Vector = list[Tensor]
Vectors = list[Vector]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mask_of(lengths: Sequence[int], n_steps: int) -> Tensor:
    return torch.tensor([[step < length for step in range(n_steps)] for length in lengths])


def numbers(x: Tensor) -> Vectors:
    return [list(row.unbind()) for row in x.unbind()]


def tensor(rows: Vectors) -> Tensor:
    return torch.stack([torch.stack(row) for row in rows])


def total(values: Sequence[Tensor]) -> Tensor:
    result = values[0]
    for value in values[1:]:
        result = result + value
    return result


def dot(a: Vector, b: Vector) -> Tensor:
    return total([x * y for x, y in zip(a, b, strict=True)])


def plus(a: Vector, b: Vector) -> Vector:
    return [x + y for x, y in zip(a, b, strict=True)]


def relu(a: Vector) -> Vector:
    return [x if x > 0 else 0 * x for x in a]


def softmax(values: Vector) -> Vector:
    powers = [torch.exp(value) for value in values]
    return [power / total(powers) for power in powers]


def linear(a: Vector, weight: Tensor, bias: Tensor) -> Vector:
    return [dot(row, a) + b for row, b in zip(numbers(weight), bias.unbind(), strict=True)]


def through(layer: nn.Linear) -> Callable[[Vector], Vector]:
    return lambda a: linear(a, layer.weight, layer.bias)


def layer_norm(a: Vector, norm: nn.LayerNorm) -> Vector:
    mean = total(a) / len(a)
    variance = total([(x - mean) ** 2 for x in a]) / len(a)
    scaled = [(x - mean) / torch.sqrt(variance + norm.eps) for x in a]
    return [g * x + b for g, x, b in zip(norm.weight.unbind(), scaled, norm.bias.unbind(), strict=True)]


def attention(queries: Vectors, keys: Vectors, values: Vectors, heads: int, scale: float | None = None) -> Vectors:
    """Head by head and query by query; the heads side by side."""
    size = len(queries[0]) // heads
    scale = 1 / math.sqrt(size) if scale is None else scale
    rows = []
    for query in queries:
        joined: Vector = []
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            weights = softmax([dot(query[part], key[part]) * scale for key in keys])
            joined += [total([w * v[part][j] for w, v in zip(weights, values, strict=True)]) for j in range(size)]
        rows.append(joined)
    return rows


def transformer_layer(layer: Any, x: Vectors, context: Vectors | None = None) -> Vectors:
    """Algorithm 1 of Kim & Kang 2022, lines 8-14; with `pre_norm`, the normalisations where Krishna 2021 has them."""
    width = len(x[0])
    fused = layer.query_key_value
    first, second = layer.norms
    asked, given = x, x if context is None else context
    if layer.pre_norm:
        asked, given = ([layer_norm(a, first) for a in rows] for rows in (asked, given))
    parts = [(fused.weight[i * width : (i + 1) * width], fused.bias[i * width : (i + 1) * width]) for i in range(3)]
    queries = [linear(a, *parts[0]) for a in asked]
    keys, values = ([linear(a, *part) for a in given] for part in parts[1:])
    result = []
    for a, h in zip(x, attention(queries, keys, values, layer.heads, layer.scale), strict=True):
        u = plus(a, through(layer.joined)(h))
        u = u if layer.pre_norm else layer_norm(u, first)
        inside = relu(through(layer.widen)(layer_norm(u, second) if layer.pre_norm else u))
        c = plus(u, through(layer.narrow)(inside))
        result.append(c if layer.pre_norm else layer_norm(c, second))
    return result


def gradients(value: Tensor, module: nn.Module, *leaves: Tensor) -> list[Tensor]:
    """Of a weighted sum of the value, by every parameter of the module and every leaf, zero where nothing depends."""
    weights = draw(*value.shape, seed=99) if value.dim() else torch.ones((), dtype=torch.float64)
    wanted = [*module.parameters(), *leaves]
    found = torch.autograd.grad((value * weights.to(value.dtype)).sum(), wanted, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for w, g in zip(wanted, found, strict=True)]


def shaken(module: nn.Module, seed: int = 0) -> Any:
    """In float64, with no parameter left at a value that hides a mistake, such as a gain of 1 or an offset of 0."""
    module = module.double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return module


def assert_same(found: Sequence[Tensor], expected: Sequence[Tensor], atol: float = 1e-10) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=atol)


@contextmanager
def half() -> Iterator[None]:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        yield
