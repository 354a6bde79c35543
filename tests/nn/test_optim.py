"""Optimisers against scalar loops over the papers' formulas, resuming, clipping, and learning."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio.errors import ConfigError, ShapeError
from scratchaudio.nn import SGD, Adam, AdamW, Linear, Optimizer, Parameter, clip_grad_norm, optim

seeds = st.integers(0, 2**32 - 1)
SHAPES = [(2, 3), (5,), ()]


# The papers' formulas for one number, in Python floats: gradients g_1 .. g_T -> theta_T -----------


def sgd_by_hand(theta, gradients, lr, momentum=0.0, weight_decay=0.0, nesterov=False):
    velocity = 0.0
    for g in gradients:
        g = g + weight_decay * theta
        velocity = momentum * velocity + g
        theta = theta - lr * (g + momentum * velocity if nesterov else velocity)
    return theta


def adam_by_hand(theta, gradients, lr, betas=(0.9, 0.999), eps=1e-8, l2=0.0, decay=0.0):
    m = v = 0.0
    for t, g in enumerate(gradients, start=1):
        theta = theta - lr * decay * theta
        # the L2 penalty sees the theta before this step; l2 and decay are not both used
        g = g + l2 * theta
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        m_hat, v_hat = m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)
        theta = theta - lr * m_hat / (math.sqrt(v_hat) + eps)
    return theta


CASES = [
    (SGD, {"lr": 0.1}, lambda th, gs: sgd_by_hand(th, gs, 0.1)),
    (SGD, {"lr": 0.1, "momentum": 0.8}, lambda th, gs: sgd_by_hand(th, gs, 0.1, 0.8)),
    (
        SGD,
        {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.3, "nesterov": True},
        lambda th, gs: sgd_by_hand(th, gs, 0.1, 0.8, 0.3, True),
    ),
    (Adam, {}, lambda th, gs: adam_by_hand(th, gs, 1e-3)),
    (
        Adam,
        {"lr": 0.02, "betas": (0.7, 0.95), "eps": 0.1, "weight_decay": 0.3},
        lambda th, gs: adam_by_hand(th, gs, 0.02, (0.7, 0.95), 0.1, l2=0.3),
    ),
    (AdamW, {}, lambda th, gs: adam_by_hand(th, gs, 1e-3, decay=0.01)),
    (
        AdamW,
        {"lr": 0.02, "betas": (0.7, 0.95), "eps": 0.1, "weight_decay": 0.3},
        lambda th, gs: adam_by_hand(th, gs, 0.02, (0.7, 0.95), 0.1, decay=0.3),
    ),
]


def drawn_parameters(rng, dtype=np.float64):
    return [Parameter(np.asarray(rng.standard_normal(shape), dtype)) for shape in SHAPES]


def set_gradients(parameters, rng):
    for parameter in parameters:
        parameter.grad[...] = rng.standard_normal(parameter.grad.shape)


@pytest.mark.parametrize(("kind", "settings", "by_hand"), CASES)
@pytest.mark.parametrize("n_steps", [1, 3, 20])
def test_steps_against_the_formulas_number_by_number(kind, settings, by_hand, n_steps):
    rng = np.random.default_rng(0)
    parameters = drawn_parameters(rng)
    start = [parameter.value.copy() for parameter in parameters]
    arrays = [parameter.value for parameter in parameters]
    optimizer = kind(parameters, **settings)
    history = [[] for _ in parameters]
    for _ in range(n_steps):
        set_gradients(parameters, rng)
        for past, parameter in zip(history, parameters, strict=True):
            past.append(parameter.grad.copy())
        optimizer.step()
        for past, parameter in zip(history, parameters, strict=True):
            assert np.array_equal(past[-1], parameter.grad), "step changed a gradient"
    for k, parameter in enumerate(parameters):
        assert parameter.value is arrays[k], "not updated in place"
        for index in np.ndindex(parameter.value.shape):
            gradients = [float(g[index]) for g in history[k]]
            expected = by_hand(float(start[k][index]), gradients)
            assert parameter.value[index] == pytest.approx(expected, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize(("kind", "settings", "by_hand"), CASES)
def test_float32_stays_whatever_kind_of_number_lr_is(kind, settings, by_hand):
    results = []
    for lr in (0.01, np.float64(0.01)):
        rng = np.random.default_rng(0)
        parameters = drawn_parameters(rng, np.float32)
        optimizer = kind(parameters, **settings)
        for _ in range(20):
            optimizer.lr = lr
            set_gradients(parameters, rng)
            optimizer.step()
        results.append([parameter.value for parameter in parameters])
    for a, b in zip(*results, strict=True):
        assert np.array_equal(a, b), "the kind of number changes the rounding"
    assert {parameter.value.dtype for parameter in parameters} == {np.dtype(np.float32)}
    for name in optimizer.moments:
        assert optimizer.state_dict()[name].dtype == np.float32


@pytest.mark.parametrize(("kind", "settings", "by_hand"), CASES)
@given(seed=seeds, cut=st.integers(0, 6))
def test_resumed_is_bit_identical(kind, settings, by_hand, seed, cut):
    """Steps 1..cut, state into a new optimiser, steps cut+1..6, as against 6 steps at once."""

    def steps(optimizer, parameters, first, last):
        for step in range(first, last):
            set_gradients(parameters, np.random.default_rng([seed, step]))
            optimizer.lr = optimizer.lr * 0.9  # a schedule that needs the lr before
            optimizer.step()

    whole = drawn_parameters(np.random.default_rng(seed), np.float32)
    optimizer = kind(whole, **settings)
    steps(optimizer, whole, 0, 6)

    part = drawn_parameters(np.random.default_rng(seed), np.float32)
    first = kind(part, **settings)
    steps(first, part, 0, cut)
    state = first.state_dict()
    second = kind(part, **settings)
    second.load_state_dict(state)
    for array in state.values():
        array[...] = 7  # the state loaded is a copy
    steps(second, part, cut, 6)
    for a, b in zip(whole, part, strict=True):
        assert np.array_equal(a.value, b.value)


def test_state_dict_is_names_and_arrays_and_a_copy():
    optimizer = Adam([Parameter(np.ones((2, 3), np.float32))], lr=0.5)
    state = optimizer.state_dict()
    assert {name: (a.shape, a.dtype.kind) for name, a in state.items()} == {
        "t": ((), "i"),
        "lr": ((), "f"),
        "sum_g": ((6,), "f"),
        "sum_g2": ((6,), "f"),
    }
    state["sum_g"][...] = 3
    assert not optimizer.state_dict()["sum_g"].any()


def test_state_of_another_optimizer_is_refused():
    parameters = [Parameter(np.ones((2, 3)))]
    message = r"does not fit Adam: missing \['sum_g', 'sum_g2'\], unknown \['m'\]"
    with pytest.raises(ShapeError, match=message):
        Adam(parameters).load_state_dict(SGD(parameters).state_dict())
    other = Adam([Parameter(np.ones(5))]).state_dict()
    with pytest.raises(ShapeError, match=r"state\['sum_g'\] has shape \(5,\), Adam expects \(6,\)"):
        Adam(parameters).load_state_dict(other)


@pytest.mark.parametrize(("kind", "settings", "by_hand"), CASES)
def test_it_learns_a_linear_map(kind, settings, by_hand):
    rng = np.random.default_rng(0)
    x, W = rng.standard_normal((40, 3)), rng.standard_normal((3, 2))
    layer = Linear(3, 2, bias=False, rng=rng, dtype=np.float64)
    optimizer = kind(layer.parameters(), **{**settings, "lr": 0.05, "weight_decay": 0.0})
    losses = []
    for _ in range(200):
        layer.zero_grad()
        error = layer.forward(x) - x @ W
        losses.append((error**2).mean())
        layer.backward(2 * error / error.size)
        optimizer.step()
    assert losses[-1] <= losses[0] / 10


def test_adam_moves_each_number_by_lr_whatever_its_gradient():
    parameter = Parameter(np.zeros(3))
    optimizer = Adam([parameter], lr=0.01)
    parameter.grad[...] = [1e-3, 1, -1e5]
    for _ in range(5):
        optimizer.step()
    np.testing.assert_allclose(parameter.value, [-0.05, -0.05, 0.05], rtol=1e-4)


def test_momentum_ends_at_one_over_one_minus_momentum():
    parameter = Parameter(np.zeros(1))
    optimizer = SGD([parameter], lr=0.1, momentum=0.9)
    parameter.grad[...] = 1
    for _ in range(300):
        before = parameter.value.copy()
        optimizer.step()
    assert (before - parameter.value).item() == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0)])
def test_scalar_and_empty_parameters(shape):
    parameters = [Parameter(np.ones(shape)), Parameter(np.ones(2))]
    optimizer = AdamW(parameters)
    parameters[1].grad[...] = 1
    optimizer.step()
    assert parameters[0].value.shape == shape


# What it refuses ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [[], [np.ones(3)], [("W", Parameter(np.ones(3)))]])
def test_parameters_must_be_parameters(bad):
    with pytest.raises(ConfigError, match=r"pass model\.parameters\(\)"):
        Adam(bad)


def test_one_parameter_twice_is_refused():
    parameter = Parameter(np.ones(3))
    with pytest.raises(ConfigError, match="one Parameter twice"):
        SGD([parameter, parameter])


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (SGD, {"lr": -1}, "lr must be a finite number of at least 0, got -1"),
        (Adam, {"lr": math.nan}, "lr must be a finite number .* got nan"),
        (SGD, {"momentum": 1.0}, r"momentum must lie in 0\.\.1 \(1 excluded\), got 1"),
        (SGD, {"nesterov": True}, "nesterov needs a momentum"),
        (SGD, {"weight_decay": -1}, "weight_decay must be at least 0, got -1"),
        (Adam, {"betas": (0.9, 1.0)}, r"betas\[1\] must lie in 0\.\.1 .*got 1"),
        (Adam, {"betas": (-0.1, 0.9)}, r"betas\[0\] must lie"),
        (Adam, {"eps": 0}, "eps must be positive, got 0"),
        (AdamW, {"weight_decay": math.nan}, "weight_decay must be at least 0, got nan"),
    ],
)
def test_impossible_settings(kind, settings, message):
    with pytest.raises(ConfigError, match=message):
        kind([Parameter(np.ones(3))], **settings)


def test_an_optimizer_without_update_says_so():
    with pytest.raises(NotImplementedError, match="Optimizer has no update yet"):
        Optimizer([Parameter(np.ones(3))], lr=1).step()


# Clipping ----------------------------------------------------------------------------------------


@given(seed=seeds, factor=st.sampled_from([0.1, 0.999, 1.001, 10]))
def test_clip_grad_norm(seed, factor):
    rng = np.random.default_rng(seed)
    parameters = drawn_parameters(rng)
    set_gradients(parameters, rng)
    before = [parameter.grad.copy() for parameter in parameters]
    norm = math.sqrt(sum(float(g) ** 2 for grad in before for g in grad.ravel()))
    got = clip_grad_norm(parameters, max_norm=factor * norm)
    assert type(got) is float
    assert got == pytest.approx(norm, rel=1e-13)
    for old, parameter in zip(before, parameters, strict=True):
        if factor > 1:
            assert np.array_equal(parameter.grad, old), "a short gradient was changed"
        else:
            np.testing.assert_allclose(parameter.grad, factor * old, rtol=1e-12)


def test_clip_takes_any_iterable_and_huge_float32():
    parameters = [Parameter(np.zeros(2, np.float32)) for _ in range(2)]
    for parameter in parameters:
        parameter.grad[...] = 3e30  # its square overflows float32
    assert clip_grad_norm(iter(parameters), 1.0) == pytest.approx(6e30)
    for parameter in parameters:
        np.testing.assert_allclose(parameter.grad, [0.5, 0.5], rtol=1e-6)
    assert clip_grad_norm([Parameter(np.zeros(3))], 1.0) == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_clip_names_the_gradient_that_is_not_finite(bad):
    parameters = drawn_parameters(np.random.default_rng(0))
    parameters[1].grad[3] = bad
    message = rf"gradient of parameters\[1\], shape \(5,\), is {bad} at \[3\].*named_parameters"
    with pytest.raises(ShapeError, match=message):
        clip_grad_norm(parameters, 1.0)
    with pytest.raises(ConfigError, match="max_norm must be positive, got 0"):
        clip_grad_norm(parameters, 0)


@pytest.mark.parametrize(("kind", "settings", "by_hand"), CASES)
def test_blocks_of_any_size_give_the_same(kind, settings, by_hand, monkeypatch):
    """More numbers than a block holds, in parameters whose borders are not those of blocks."""
    results = []
    for block in (5, 7, 2**15):
        monkeypatch.setattr(optim, "BLOCK", block)
        rng = np.random.default_rng(0)
        parameters = [Parameter(rng.standard_normal(shape)) for shape in [(3, 4), (11,), (2, 3)]]
        optimizer = kind(parameters, **settings)
        for _ in range(4):
            set_gradients(parameters, rng)
            optimizer.step()
        results.append(np.concatenate([parameter.value.ravel() for parameter in parameters]))
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], rtol=1e-13)
