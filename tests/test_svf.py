"""SVF: the algebra of scaled singular values, by hand and against the library's own decomposition."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from callgrain.core.errors import BrokenModel  # noqa: E402
from callgrain.models import _svf  # noqa: E402


def matrix(m: int, n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(m, n, generator=torch.Generator().manual_seed(seed))


def wrapped(weight: torch.Tensor, form: _svf.Form = "free", bias: bool = True) -> torch.nn.Module:
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias)
    with torch.no_grad():
        layer.weight.copy_(weight)
    holder = torch.nn.Sequential(layer)
    holder.requires_grad_(False)
    _svf.attach(holder, ["0"], form)
    return holder


def test_scales_are_those_of_the_singular_values() -> None:
    turn = math.pi / 5
    left = torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    weight = left @ torch.diag(torch.tensor([3.0, 1.0]))  # right vectors are the axes
    parts = _svf.factors(weight)
    changed = weight + parts.change(torch.tensor([2.0, 0.5]))
    assert torch.allclose(changed, left @ torch.diag(torch.tensor([6.0, 0.5])), atol=1e-6)
    assert parts.s.tolist() == pytest.approx([3.0, 1.0], abs=1e-6)


@pytest.mark.parametrize("shape", [(24, 24), (40, 12), (12, 40)])
def test_the_factors_give_the_matrix_back(shape: tuple[int, int]) -> None:
    weight = matrix(*shape)
    parts = _svf.factors(weight)
    assert parts.s.numel() == 12 + 12 * (shape == (24, 24))
    assert torch.allclose((parts.u * parts.s) @ parts.vh, weight, atol=1e-5)


def test_weights_that_are_not_finite_are_refused() -> None:
    weight = matrix(4, 4)
    weight[1, 2] = float("nan")
    with pytest.raises(BrokenModel, match="q_proj are not all finite"):
        _svf.factors(weight, "q_proj")
    with pytest.raises(BrokenModel, match="quantised"):
        _svf.factors(torch.ones(3, 3, dtype=torch.int8))


@pytest.mark.parametrize("form", ["free", "relative"])
def test_a_matrix_of_zeros_stays_one(form: _svf.Form) -> None:
    holder = wrapped(torch.zeros(5, 3), form, bias=False)
    with torch.no_grad():
        holder[0].svf.copy_(torch.tensor([0.5, -1.0, 2.0]))
        assert torch.equal(holder[0].changed(), torch.zeros(5, 3))


@pytest.mark.parametrize("form", ["free", "relative"])
def test_nothing_is_changed_before_the_first_step(form: _svf.Form) -> None:
    weight = matrix(20, 9)
    layer = wrapped(weight, form)[0]
    assert torch.allclose(layer.scales(), torch.ones(9), atol=1e-6)
    x = matrix(3, 9, seed=1)
    with torch.no_grad():
        plain = torch.nn.functional.linear(x, weight, layer.bias)
        assert torch.allclose(layer(x), plain, atol=1e-6)
        if form == "free":
            assert torch.equal(layer.changed(), weight)


def test_the_relative_form_is_the_released_codes() -> None:
    """scale = sigmoid(p) * sum(S) / sum(S * sigmoid(p)): the sum of singular values is kept, whatever p is."""
    layer = wrapped(matrix(16, 10), "relative")[0]
    p = torch.linspace(-2, 3, 10)
    with torch.no_grad():
        layer.svf.copy_(p)
        raw = 1 / (1 + torch.exp(-p))
        by_hand = raw * layer.s.sum() / (layer.s * raw).sum()
        assert torch.allclose(layer.scales(), by_hand, atol=1e-6)
        after = torch.linalg.svdvals(layer.changed())
    assert after.sum().item() == pytest.approx(layer.s.sum().item(), rel=1e-5)
    assert not torch.allclose(after, layer.s, atol=0.05)


@pytest.mark.parametrize("form", ["free", "relative"])
def test_both_ways_of_computing_agree_with_the_definition(form: _svf.Form) -> None:
    """Few rows go through the factors, many through the whole weight: outputs and gradients are U (S z) V^T's."""
    weight = matrix(12, 12)
    seen: set[bool] = set()
    for rows in (2, 400):
        layer = wrapped(weight, form)[0]
        with torch.no_grad():
            layer.svf.add_(matrix(1, 12, seed=3)[0] * 0.3)
        seen.add(_svf._is_cheaper_apart(rows, 12, 12))
        x = matrix(rows, 12, seed=4).requires_grad_()
        out = layer(x)
        out.square().sum().backward()
        p = layer.svf.detach().clone().requires_grad_()
        y = x.detach().clone().requires_grad_()
        parts = layer.parts
        whole = (parts.u * (parts.s * _svf.scales_of(p, parts.s, form))) @ parts.vh
        expected = y @ whole.T + layer.bias
        expected.square().sum().backward()
        assert torch.allclose(out, expected, atol=1e-4)
        assert torch.allclose(layer.svf.grad, p.grad, rtol=1e-3, atol=1e-2)
        assert torch.allclose(x.grad, y.grad, rtol=1e-3, atol=1e-3)
        assert layer.weight.grad is None
    assert seen == {True, False}


def test_the_cheaper_way_is_counted_in_products() -> None:
    # Square, n = 12: apart 4 * rows * n^2, whole 3 * rows * n^2 + 2 * n^3, so apart up to rows = 2 n.
    assert _svf._is_cheaper_apart(24, 12, 12)
    assert not _svf._is_cheaper_apart(25, 12, 12)
    assert _svf._is_cheaper_apart(10**6, 48, 12)


def test_what_is_kept_for_inference_follows_what_is_learned() -> None:
    layer = wrapped(matrix(8, 8))[0]
    x = matrix(2, 8, seed=5)
    with torch.no_grad():
        before = layer(x)
        assert layer._kept() is layer._kept()
        layer.svf.add_(0.5)
        after = layer(x)
    assert torch.allclose(after - layer.bias, 1.5 * (before - layer.bias), atol=1e-5)


def test_a_change_does_not_depend_on_the_signs_of_the_vectors() -> None:
    parts = _svf.factors(matrix(9, 7))
    sign = torch.tensor([1.0, -1, -1, 1, -1, 1, 1])
    flipped = _svf.Factors(parts.u * sign, parts.s, parts.vh * sign[:, None])
    scales = torch.linspace(0.5, 1.5, 7)
    assert torch.allclose(parts.change(scales), flipped.change(scales), atol=1e-6)


def test_another_basis_of_equal_singular_values_is_noticed() -> None:
    """W = I has any basis: scales of 2 and 1 in one are another weight in the other, and opening says so."""
    parts = _svf.factors(torch.eye(2))
    scales = torch.tensor([2.0, 1.0])
    saved = parts.s, _svf.fingerprint(parts.change(scales))
    _svf.check(parts, scales, "q", saved)
    turn = torch.tensor([[math.cos(0.7), -math.sin(0.7)], [math.sin(0.7), math.cos(0.7)]])
    other = _svf.Factors(parts.u @ turn, parts.s, turn.T @ parts.vh)
    assert torch.allclose((other.u * other.s) @ other.vh, torch.eye(2), atol=1e-6)
    with pytest.raises(BrokenModel, match="come out otherwise"):
        _svf.check(other, scales, "q", saved)


def test_saved_scales_open_over_their_own_base_alone() -> None:
    holder = wrapped(matrix(10, 6))
    with torch.no_grad():
        holder[0].svf.copy_(torch.linspace(0.8, 1.3, 6))
    tensors, marks = _svf.state(holder), _svf.fingerprints(holder)
    assert {k: tuple(v.shape) for k, v in tensors.items()} == {"0.p": (6,), "0.s": (6,)}

    def base(weight: torch.Tensor) -> torch.nn.Module:
        made = torch.nn.Sequential(torch.nn.Linear(weight.shape[1], weight.shape[0]))
        with torch.no_grad():
            made[0].weight.copy_(weight)
        return made

    same = base(matrix(10, 6))
    _svf.work_in(same, tensors, "free", marks)
    assert type(same[0]) is torch.nn.Linear
    assert torch.allclose(same[0].weight, holder[0].changed(), atol=1e-6)
    again = base(matrix(10, 6))
    _svf.load(again, tensors, "free", marks)
    assert torch.equal(again[0].svf, holder[0].svf)
    with pytest.raises(BrokenModel, match="other singular values"):
        _svf.work_in(base(matrix(10, 6, seed=8)), tensors, "free", marks)
    with pytest.raises(BrokenModel, match="scales 6 singular values of 0, which has 5"):
        _svf.work_in(base(matrix(10, 5)), tensors, "free", marks)
    with pytest.raises(BrokenModel, match="which the base lacks"):
        _svf.work_in(torch.nn.Sequential(), tensors, "free", marks)


def test_merging_leaves_an_ordinary_layer_that_answers_alike() -> None:
    holder = wrapped(matrix(14, 6), bias=False)
    with torch.no_grad():
        holder[0].svf.copy_(torch.linspace(0.2, 2.0, 6))
        x = matrix(5, 6, seed=2)
        before = holder(x)
        _svf.merge(holder)
        assert type(holder[0]) is torch.nn.Linear
        assert holder[0].bias is None
        assert torch.equal(holder(x), before)
        assert list(holder.state_dict()) == ["0.weight"]


@pytest.mark.parametrize("rank", [1, 3, 6, 20])
def test_the_lora_of_a_change_is_the_best_of_its_rank(rank: int) -> None:
    weight = matrix(11, 8)
    parts = _svf.factors(weight)
    scales = torch.tensor([1.1, 0.2, 3.0, 1.0, 0.5, 1.9, 1.0, 4.0])
    a, b, error = _svf.as_lora(parts, scales, rank)
    change = parts.change(scales)
    u, s, vh = torch.linalg.svd(change.double())
    best = (u[:, :rank] * s[:rank]) @ vh[:rank] if rank < 8 else change.double()
    assert torch.allclose((b @ a).double(), best, atol=1e-4)
    assert error == pytest.approx(((change.double() - best).norm() / change.double().norm()).item(), abs=1e-5)
    assert a.shape == (min(rank, 8), 8)
    assert _svf.as_lora(parts, torch.ones(8), 2)[2] == 0.0
