"""The contrastive losses against loops over their equations, in float64; and the memory that NT-Xent takes."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from models.batch import NO_LABEL
from models.contrastive import augmented_contrastive, nt_xent, supervised_contrastive
from tests.models.slow import dot, draw, half, mask_of, numbers, total


def _equation_9(student: Tensor, teacher: Tensor, mask: Tensor, temperature: float, similarity: str) -> Tensor:
    """Eq. 8 and 9 of Kim & Kang 2022 as they stand, with rows 1 … n the teacher's and n + 1 … 2n the student's."""
    places = [(b, t) for b in range(mask.shape[0]) for t in range(mask.shape[1]) if mask[b, t]]
    z = [list(x[b, t].unbind()) for x in (teacher, student) for b, t in places]
    n = len(places)

    def s(i: int, j: int) -> Tensor:
        lengths = torch.sqrt(dot(z[i], z[i])) * torch.sqrt(dot(z[j], z[j])) if similarity == "cosine" else 1.0
        return dot(z[i], z[j]) / lengths

    def term(i: int, j: int) -> Tensor:
        others = total([torch.exp(s(i, k) / temperature) for k in range(2 * n) if k != i])
        return -torch.log(torch.exp(s(i, j) / temperature) / others)

    return total([term(k, n + k) + term(n + k, k) for k in range(n)]) / (2 * n)


@settings(max_examples=15, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 3), min_size=1, max_size=3).filter(any),
    more=st.integers(0, 1),
    case=st.sampled_from([("cosine", 0.01), ("cosine", 0.05), ("cosine", 0.1), ("dot", 0.5), ("dot", 2.0)]),
    chunk=st.integers(1, 9),
)
def test_nt_xent_and_its_gradients_are_equations_8_and_9(
    lengths: list[int], more: int, case: tuple[Any, float], chunk: int
) -> None:
    mask = mask_of(lengths, max(lengths) + more)
    student, teacher = (draw(*mask.shape, 3, seed=seed).requires_grad_() for seed in (1, 2))
    found = nt_xent(student, teacher, mask, case[1], chunk, case[0])
    expected = _equation_9(student, teacher, mask, case[1], case[0])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    for one, other in zip(*(torch.autograd.grad(x, (student, teacher)) for x in (found, expected)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_the_gradient_of_nt_xent_by_finite_differences(similarity: Any) -> None:
    mask = mask_of([2, 1], 2)
    leaves = (draw(2, 2, 3, seed=1).requires_grad_(), draw(2, 2, 3, seed=2).requires_grad_())
    assert torch.autograd.gradcheck(lambda s, t: nt_xent(s, t, mask, 0.3, 4, similarity), leaves)


def _plain(student: Tensor, teacher: Tensor, mask: Tensor, temperature: float) -> Tensor:
    """The same with the whole matrix at once."""
    z = torch.nn.functional.normalize(torch.cat([teacher[mask], student[mask]]), dim=-1)
    n = len(z) // 2
    scores = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
    return torch.nn.functional.cross_entropy(scores, torch.arange(2 * n).roll(n))


@pytest.mark.parametrize(
    ("temperature", "noise", "chunk"), [(0.01, 0.5, 256), (0.01, 3.0, 256), (0.05, 0.5, 1000), (0.1, 3.0, 101)]
)
def test_chunked_is_plain_to_1e_5(temperature: float, noise: float, chunk: int) -> None:
    """In float32 against the plain formula in float64, which in float32 is itself off by a quarter where a student
    is as like its teacher as with a noise of 0.5, and the temperature is 0.01."""
    mask = mask_of([120, 90, 3, 77, 110], 120)
    teacher = draw(5, 120, 32, seed=1).float()
    student = teacher + noise * draw(5, 120, 32, seed=2).float()
    outcomes = []
    for loss, dtype in ((_plain, torch.float64), (partial(nt_xent, chunk=chunk), torch.float32)):
        leaves = [x.detach().to(dtype).requires_grad_() for x in (student, teacher)]
        value = loss(leaves[0], leaves[1], mask, temperature)
        outcomes.append([value.detach(), *torch.autograd.grad(value, leaves)])
    for exact, found in zip(*outcomes, strict=True):
        assert (found.double() - exact).abs().max() <= 1e-5 * exact.abs().max()


class _Memory(TorchDispatchMode):
    """How many bytes tensors hold, and held at most, of those that came into being under it."""

    def __init__(self) -> None:
        super().__init__()
        self.held = self.peak = 0
        self.known: dict[int, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and id(tensor.untyped_storage()) not in self.known:
                self._watch(tensor.untyped_storage())
        return result

    def _watch(self, storage: Any) -> None:
        name, size = id(storage), storage.nbytes()
        self.held += size
        self.peak = max(self.peak, self.held)

        def gone(_: Any) -> None:
            self.held -= size
            del self.known[name]

        self.known[name] = weakref.ref(storage, gone)


def _peak(loss: Callable[..., Tensor], n: int) -> int:
    student, teacher = (draw(1, n, 32, seed=seed).float().requires_grad_() for seed in (1, 2))
    with _Memory() as memory:
        loss(student, teacher, torch.ones(1, n, dtype=torch.bool), 0.05).backward()
    return memory.peak


def test_the_meter_counts_what_lives_at_once() -> None:
    with _Memory() as memory:
        for _ in range(3):
            x = torch.zeros(1000)
            y = x + 1
            del x, y
    assert memory.peak == 8000 and memory.held == 0


def test_memory_grows_linearly() -> None:
    """Forwards and backwards: twice the steps, twice the bytes; the whole matrix takes four times."""
    few, many = (_peak(partial(nt_xent, chunk=32), n) for n in (300, 600))
    whole_few, whole_many = (_peak(_plain, n) for n in (300, 600))
    assert many < 2.05 * few and whole_many > 3.8 * whole_few
    assert many < whole_many / 15


@pytest.mark.parametrize("junk", [1e6, torch.nan])
def test_padding_never_enters_the_similarities(junk: float) -> None:
    mask = mask_of([3, 0, 2], 4)
    outcomes = []
    for value in (0.0, junk):
        student, teacher = (torch.where(mask[..., None], draw(3, 4, 5, seed=seed), value) for seed in (1, 2))
        loss = nt_xent(student.requires_grad_(), teacher.requires_grad_(), mask, 0.05)
        outcomes.append([loss.detach(), *torch.autograd.grad(loss, (student, teacher))])
    plain, strange = outcomes
    for one, other in zip(plain, strange, strict=True):
        assert one.equal(other)
    assert plain[1][~mask].abs().sum() == plain[2][~mask].abs().sum() == 0


def test_the_order_of_utterances_does_not_matter() -> None:
    mask, order = mask_of([3, 1, 2], 3), torch.tensor([2, 0, 1])
    student, teacher = draw(3, 3, 5, seed=1), draw(3, 3, 5, seed=2)
    shuffled = nt_xent(student[order], teacher[order], mask[order], 0.05)
    torch.testing.assert_close(shuffled, nt_xent(student, teacher, mask, 0.05), rtol=1e-12, atol=0)


@pytest.mark.parametrize("lengths", [[0, 0], [1, 0]])
def test_no_step_and_one_step_have_nothing_to_tell_apart(lengths: list[int]) -> None:
    student, teacher = (draw(2, 3, 5, seed=seed).requires_grad_() for seed in (1, 2))
    loss = nt_xent(student, teacher, mask_of(lengths, 3), 0.05)
    assert loss.item() == pytest.approx(0, abs=1e-12)
    for gradient in torch.autograd.grad(loss, (student, teacher)):
        assert gradient.abs().max() < 1e-12


def test_a_student_that_equals_its_teacher_has_the_least_loss_where_teachers_are_far_apart() -> None:
    """With the teacher's n steps at the corners of a regular simplex, other steps have the similarity -1 / (n - 1).
    Elsewhere a student may do better than its teacher by standing further from the other steps."""
    n, temperature = 5, 0.3
    teacher = (torch.eye(n, dtype=torch.float64) - 1 / n)[None]
    mask = torch.ones(1, n, dtype=torch.bool)
    student = teacher.clone().requires_grad_()
    least = nt_xent(student, teacher, mask, temperature)
    assert least.item() == pytest.approx(math.log(1 + (2 * n - 2) * math.exp(-n / (n - 1) / temperature)), rel=1e-12)
    assert torch.autograd.grad(least, student)[0].abs().max() < 1e-12
    for seed in range(20):
        for size in (1e-3, 0.1, 1.0):
            assert nt_xent(teacher + size * draw(1, n, n, seed=seed), teacher, mask, temperature) > least
    assert nt_xent(teacher[:, torch.arange(n).roll(1)], teacher, mask, temperature) > least


def test_half_precision_takes_part_in_single() -> None:
    mask = mask_of([4, 2], 4)
    student, teacher = (draw(2, 4, 5, seed=seed).bfloat16().requires_grad_() for seed in (1, 2))
    with half():
        loss = nt_xent(student, teacher, mask, 0.01)
        loss.backward()
    expected = nt_xent(student.detach().float(), teacher.detach().float(), mask, 0.01)
    assert loss.dtype == torch.float32 and loss.item() == expected.item()
    assert student.grad is not None and student.grad.isfinite().all()


# -- of Ghosh et al. 2023, algorithm 1 -------------------------------------------------------------------------


def _log_softmax(values: list[float]) -> list[float]:
    return [value - math.log(sum(math.exp(other) for other in values)) for value in values]


def _scores(v: Tensor, u: Tensor) -> list[list[float]]:
    return [[dot(a, b).item() for b in numbers(u)] for a in numbers(v)]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([0, 1, 2, NO_LABEL]), min_size=1, max_size=7), st.sampled_from([0.07, 0.5]), st.booleans()
)
def test_the_supervised_loss_is_algorithm_1(labels: list[int], temperature: float, released: bool) -> None:
    vectors = draw(len(labels), 4) * 0.5
    known = [i for i, label in enumerate(labels) if label != NO_LABEL]
    found = supervised_contrastive(vectors, torch.tensor(labels), temperature, released)
    summed, n_pairs = 0.0, 0
    for i in known:
        products = [dot(*numbers(vectors[[i, k]])).item() for k in known]
        if released:
            log_p = [value / temperature for value in _log_softmax(products)]
        else:
            log_p = _log_softmax([value / temperature for value in products])
        positives = [value for value, k in zip(log_p, known, strict=True) if labels[k] == labels[i]]
        summed, n_pairs = summed + sum(positives), n_pairs + len(positives)
    expected = -summed / max(1, n_pairs if released else len(known))
    assert found.item() == pytest.approx(expected, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("released", [False, True])
def test_the_supervised_loss_looks_at_labelled_rows_alone_in_any_order(released: bool) -> None:
    labels = torch.tensor([0, 1, NO_LABEL, 0, 1])
    vectors = draw(5, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: supervised_contrastive(v, labels, 0.5, released), (vectors,))
    loss = supervised_contrastive(vectors, labels, 0.07, released)
    (gradient,) = torch.autograd.grad(loss, vectors)
    assert gradient[2].abs().sum() == 0
    order = torch.tensor([4, 2, 0, 3, 1])
    shuffled = supervised_contrastive(vectors[order], labels[order], 0.07, released)
    torch.testing.assert_close(shuffled, loss, rtol=1e-12, atol=0)


def test_descending_the_supervised_loss_brings_a_class_together() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    vectors = draw(4, 3).requires_grad_()
    optimizer = torch.optim.SGD([vectors], lr=0.2)
    for _ in range(60):
        optimizer.zero_grad()
        supervised_contrastive(torch.nn.functional.normalize(vectors, dim=-1), labels, 0.07).backward()
        optimizer.step()
    unit = torch.nn.functional.normalize(vectors.detach(), dim=-1)
    alike = unit @ unit.T
    assert min(alike[0, 1], alike[2, 3]) > 0.95 > 0.7 > alike[:2, 2:].max()


def test_nothing_labelled_is_nothing_to_lose() -> None:
    vectors = draw(2, 3).requires_grad_()
    for released in (False, True):
        loss = supervised_contrastive(vectors, torch.tensor([NO_LABEL, NO_LABEL]), 0.07, released)
        assert loss.item() == 0 and torch.autograd.grad(loss, vectors)[0].abs().sum() == 0


@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_augmented_loss_is_algorithm_1(n: int) -> None:
    v, u = (draw(n, 4, seed=seed).requires_grad_() for seed in (1, 2))
    rows = [_log_softmax([value / 0.5 for value in row]) for row in _scores(v.detach(), u.detach())]
    expected = -sum(row[i] for i, row in enumerate(rows)) / n
    found = augmented_contrastive(v, u, 0.5)
    assert found.item() == pytest.approx(expected, rel=1e-10, abs=1e-12)
    assert torch.autograd.gradcheck(lambda a, b: augmented_contrastive(a, b, 0.5), (v, u))
    order = torch.arange(n).roll(1)
    torch.testing.assert_close(augmented_contrastive(v[order], u[order], 0.5), found, rtol=1e-12, atol=1e-15)


def test_the_augmented_loss_is_least_where_each_is_its_own_augmentation() -> None:
    v = 10 * torch.eye(4)
    assert augmented_contrastive(v, v, 0.07).item() == 0
    assert augmented_contrastive(v, v.roll(1, 0), 0.07).item() > 1


def test_both_are_finite_in_half_precision() -> None:
    v, u = (20 * draw(4, 8, seed=seed).bfloat16().requires_grad_() for seed in (1, 2))
    with half():
        loss = supervised_contrastive(v, torch.tensor([0, 0, 1, 1]), 0.07) + augmented_contrastive(v, u, 0.07)
    assert loss.isfinite() and loss.dtype == torch.float32
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(loss, (v, u)))
