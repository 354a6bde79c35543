"""The gradient penalty: its value by definition, its gradient by differences of the whole of it."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchaudio import nn
from scratchaudio.errors import CallOrderError, ConfigError, ShapeError
from scratchaudio.nn.gradcheck import fourth_order_difference
from scratchaudio.testing import RepeatingGenerator

B = 3


def moved(critic, rng):
    """The critic in float64, its parameters moved off their initial values, gradients random."""
    critic.astype(np.float64)
    for parameter in critic.parameters():
        parameter.value += 0.3 * rng.standard_normal(parameter.value.shape)
        parameter.grad += rng.standard_normal(parameter.grad.shape)
    return critic


CRITICS = {
    "linear": (
        lambda rng: nn.Sequential(
            nn.Linear(5, 7, rng=rng), nn.LeakyReLU(0.2), nn.Linear(7, 4, rng=rng), nn.ReLU(),
            nn.Linear(4, 1, rng=rng),
        ),
        (5,),
    ),
    "linear, without bias": (lambda rng: nn.Linear(5, 1, bias=False, rng=rng), (5,)),
    "linear on rows": (
        lambda rng: nn.Sequential(
            nn.Linear(5, 2, rng=rng), nn.LeakyReLU(0.2), nn.Reshape(8), nn.Linear(8, 1, rng=rng)
        ),
        (4, 5),
    ),
    "conv1d": (
        lambda rng: nn.Sequential(
            nn.Conv1d(2, 4, 5, stride=2, padding=2, rng=rng), nn.LeakyReLU(0.2),
            nn.Conv1d(4, 6, 3, dilation=2, groups=2, rng=rng), nn.LeakyReLU(0.1),
            nn.Reshape(6 * 5), nn.Linear(30, 1, rng=rng),
        ),
        (2, 17),
    ),
    "conv1d with phase shuffle": (
        lambda rng: nn.Sequential(
            nn.Conv1d(2, 4, 5, stride=2, padding=2, rng=rng), nn.LeakyReLU(0.2),
            nn.PhaseShuffle(3, rng=RepeatingGenerator(1)),
            nn.Conv1d(4, 3, 3, rng=rng), nn.LeakyReLU(0.2),
            nn.PhaseShuffle(2, shared=True, rng=RepeatingGenerator(2)),
            nn.Reshape(3 * 7), nn.Linear(21, 1, rng=rng),
        ),
        (2, 17),
    ),
    "conv2d": (
        lambda rng: nn.Sequential(
            nn.Conv2d(1, 2, (3, 2), stride=(2, 1), padding=(1, 0), rng=rng), nn.LeakyReLU(0.2),
            nn.Conv2d(2, 3, 3, stride=2, padding=1, rng=rng), nn.ReLU(),
            nn.Reshape(3 * 2 * 3), nn.Linear(18, 1, rng=rng),
        ),
        (1, 7, 6),
    ),
    "transposed": (
        lambda rng: nn.Sequential(
            nn.ConvTranspose1d(2, 3, 4, stride=2, rng=rng), nn.LeakyReLU(0.2),
            nn.Reshape(1, 3, 8), nn.ConvTranspose2d(1, 2, 2, rng=rng), nn.LeakyReLU(0.2),
            nn.Reshape(2 * 4 * 9), nn.Linear(72, 1, rng=rng),
        ),
        (2, 3),
    ),
}  # fmt: skip


def case(name, seed):
    """A critic and two batches; no kink so near that a step of the differences could cross it."""
    make, shape = CRITICS[name]
    for attempt in range(200):
        rng = np.random.default_rng((seed, attempt))
        critic = moved(make(rng), rng)
        real, fake = rng.standard_normal((2, B, *shape))
        if margin(critic, points(real, fake, seed)) > 2e-3:
            return critic, real, fake
    raise AssertionError("no critic without a kink nearby")


def points(real, fake, seed):
    a = np.random.default_rng(seed).random(B).reshape(B, *[1] * (real.ndim - 1))
    return a * real + (1 - a) * fake


def margin(critic, x):
    """How near any activation's input comes to 0."""
    nearest = np.inf
    for layer in getattr(critic, "layers", [critic]):
        if isinstance(layer, nn.Activation):
            nearest = min(nearest, abs(x).min())
        x = layer.forward(x)
    return nearest


def penalty_by_definition(critic, real, fake, seed):
    """The slope at each point by differences of the logit: knows no backward."""
    total = 0.0
    critic = copy.deepcopy(critic)
    x = points(real, fake, seed)
    for b in range(B):

        def logit(changed, b=b):
            batch = x.copy()
            batch[b] = changed
            return critic.forward(batch).ravel()[b]

        g = fourth_order_difference(logit, x[b], h=1e-4)
        total += (np.sqrt((g**2).sum()) - 1) ** 2
    return total / B


@pytest.mark.parametrize("name", CRITICS)
def test_the_penalty_is_that_of_its_definition(name):
    critic, real, fake = case(name, 1)
    got = nn.gradient_penalty(critic, real, fake, rng=1)
    assert type(got) is float
    assert got == pytest.approx(penalty_by_definition(critic, real, fake, 1), rel=1e-8)
    assert got > 1e-2


@pytest.mark.parametrize("name", CRITICS)
def test_the_gradient_is_that_of_the_whole_penalty(name):
    """All parameters, by differences of the function itself; biases have none."""
    critic, real, fake = case(name, 2)
    weight = 1.7
    before = {n: p.grad.copy() for n, p in critic.named_parameters()}
    values = {n: p.value.copy() for n, p in critic.named_parameters()}
    nn.gradient_penalty(critic, real, fake, weight, rng=2)
    added = {n: p.grad - before[n] for n, p in critic.named_parameters()}

    trial = copy.deepcopy(critic)
    for n, parameter in trial.named_parameters():

        def penalty(changed, parameter=parameter):
            parameter.value = changed
            return nn.gradient_penalty(trial, real, fake, weight, rng=2)

        kept = parameter.value
        measured = weight * fourth_order_difference(penalty, kept, h=1e-4)
        parameter.value = kept
        size = max(abs(measured).max(), 1e-3)
        np.testing.assert_allclose(added[n], measured, rtol=0, atol=1e-8 * size, err_msg=n)
        if n.endswith("W"):
            assert abs(measured).max() > 1e-3
        else:
            assert not measured.any() and abs(added[n]).max() <= 1e-15
    for n, parameter in critic.named_parameters():
        assert np.array_equal(parameter.value, values[n])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 9999))
def test_the_slope_of_a_linear_critic_is_the_length_of_its_weights(seed):
    """P = (|w| - 1)^2 wherever it is asked, dP/dw = 2 (|w| - 1) w / |w|."""
    rng = np.random.default_rng(seed)
    critic = nn.Linear(6, 1, rng=rng).astype(np.float64)
    w = critic.W.value
    w[...] = rng.standard_normal(w.shape)
    real, fake = rng.standard_normal((2, B, 6))
    length = np.sqrt((w**2).sum())
    assert nn.gradient_penalty(critic, real, fake, 3.0, rng) == pytest.approx((length - 1) ** 2)
    np.testing.assert_allclose(critic.W.grad, 6 * (length - 1) * w / length, rtol=1e-12)


def test_points_lie_between_real_and_fake_each_on_its_own_line():
    """One a for each example, uniform in 0..1."""
    seen = []

    class Spy(nn.Linear):
        def forward(self, x):
            seen.append(x)
            return super().forward(x)

    n = 4000
    rng = np.random.default_rng(0)
    real, fake = rng.standard_normal((2, n, 3))
    critic = Spy(3, 1, rng=0).astype(np.float64)
    nn.gradient_penalty(critic, real, fake, rng=1)
    a = (seen[0] - fake) / (real - fake)
    np.testing.assert_allclose(a, np.broadcast_to(a[:, :1], a.shape), atol=1e-9)
    assert 0 <= a.min() < 0.01 and 0.99 < a.max() <= 1
    assert abs(a[:, 0].mean() - 0.5) < 0.02 and abs(a[:, 0].std() - 12**-0.5) < 0.02


def test_training_with_the_penalty_alone_brings_every_slope_to_one():
    rng = np.random.default_rng(0)
    critic = nn.Sequential(nn.Linear(2, 16, rng=rng), nn.LeakyReLU(0.2), nn.Linear(16, 1, rng=rng))
    optimizer = nn.Adam(critic.parameters(), lr=1e-2)
    penalties = []
    for _ in range(300):
        real, fake = rng.uniform(-1, 1, (2, 64, 2)).astype(np.float32)
        critic.zero_grad()
        penalties.append(nn.gradient_penalty(critic, real, fake, rng=rng))
        optimizer.step()
    assert penalties[0] > 0.2 and np.mean(penalties[-20:]) < 1e-2


def test_float32_stays_float32_and_weight_scales():
    critic, real, fake = case("conv1d", 3)
    for parameter in critic.parameters():
        parameter.grad[...] = 0
    critic.astype(np.float32)
    real, fake = real.astype(np.float32), fake.astype(np.float32)
    twice = copy.deepcopy(critic)
    assert nn.gradient_penalty(critic, real, fake, 1.0, rng=3) == nn.gradient_penalty(
        twice, real, fake, 2.0, rng=3
    )
    for one, two in zip(critic.parameters(), twice.parameters(), strict=True):
        assert one.grad.dtype == np.float32
        np.testing.assert_allclose(2 * one.grad, two.grad, rtol=1e-5, atol=1e-7)


def test_a_flat_critic_has_no_direction_and_no_nan():
    critic = nn.Linear(3, 1, rng=0)
    critic.W.value[...] = 0
    x = np.ones((2, 3), np.float32)
    assert nn.gradient_penalty(critic, x, x, rng=0) == 1
    assert not critic.W.grad.any()


# The tangent -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CRITICS)
def test_the_tangent_is_what_a_small_step_does(name):
    """J v by a difference along v; backward of the tangent is its transpose."""
    critic, real, _ = case(name, 4)
    rng = np.random.default_rng(4)
    v = rng.standard_normal(real.shape)
    y = critic.forward(points(real, real, 4))
    J = nn.tangent(critic)
    h = 1e-5
    ahead = copy.deepcopy(critic).forward(points(real, real, 4) + h * v)
    Jv = J.forward(v)
    np.testing.assert_allclose(Jv, (ahead - y) / h, rtol=0, atol=1e-9 * max(1, abs(Jv).max()) / h)
    dy = rng.standard_normal(y.shape)
    assert nn.adjoint_error(J.forward, lambda dy: (J.forward(v), J.backward(dy))[1], v, dy) < 1e-14


def test_the_tangent_leaves_the_critic_ready_for_backward():
    critic, real, _ = case("conv1d with phase shuffle", 5)
    twin = copy.deepcopy(critic)
    dy = np.random.default_rng(5).standard_normal((B, 1))
    critic.forward(real)
    nn.tangent(critic).forward(np.ones_like(real))
    twin.forward(real)
    assert np.array_equal(critic.backward(dy), twin.backward(dy))
    for one, other in zip(critic.parameters(), twin.parameters(), strict=True):
        assert np.array_equal(one.grad, other.grad)


def test_the_tangent_shuffles_as_forward_did():
    """Whatever was drawn, and however often it is asked; the layer itself goes on drawing."""
    x = np.random.default_rng(0).standard_normal((9, 2, 12))
    layer = nn.PhaseShuffle(4, rng=0)
    y = layer.forward(x)
    J = nn.tangent(layer)
    assert np.array_equal(J.forward(x), y) and np.array_equal(J.forward(x), y)
    assert not np.array_equal(layer.forward(x), y)


def test_a_layer_of_ones_own_says_its_tangent():
    class Twice(nn.Layer):
        def forward(self, x):
            return 2 * x

        def backward(self, dy):
            return 2 * dy

        def tangent(self):
            return self

    rng = np.random.default_rng(0)
    critic = nn.Sequential(Twice(), nn.Linear(3, 1, rng=rng)).astype(np.float64)
    real, fake = rng.standard_normal((2, B, 3))
    slope = 2 * np.sqrt((critic.layers[1].W.value ** 2).sum())
    assert nn.gradient_penalty(critic, real, fake, rng=0) == pytest.approx((slope - 1) ** 2)


# What it refuses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layer",
    [nn.Tanh(), nn.GELU(), nn.BatchNorm(3), nn.LayerNorm(3), nn.Dropout(0.5),
     nn.SpectralNorm(nn.Linear(3, 3, rng=0), 1, rng=0)],
    ids=lambda layer: type(layer).__name__,
)  # fmt: skip
def test_layers_without_a_tangent(layer):
    critic = nn.Sequential(nn.Linear(3, 3, rng=0), layer, nn.Linear(3, 1, rng=0))
    x = np.ones((4, 3), np.float32)
    name = type(layer).__name__
    with pytest.raises(ConfigError, match=f"{name} has no tangent.*LeakyReLU.*SpectralNorm"):
        nn.gradient_penalty(critic, x, x)
    assert not any(parameter.grad.any() for parameter in critic.parameters())


def test_arguments_that_cannot_be():
    critic, x = nn.Linear(3, 1, rng=0), np.ones((4, 3), np.float32)
    with pytest.raises(ShapeError, match=r"one shape \(batch, ...\), got \(4, 3\) and \(3, 3\)"):
        nn.gradient_penalty(critic, x, x[:3])
    with pytest.raises(ShapeError, match=r"one shape .*got \(0, 3\)"):
        nn.gradient_penalty(critic, x[:0], x[:0])
    for weight in (-1, np.inf, np.nan):
        with pytest.raises(ConfigError, match="weight must be a finite number of at least 0, got"):
            nn.gradient_penalty(critic, x, x, weight)
    with pytest.raises(ShapeError, match=r"one logit for each of the 4 examples, got .*\(4, 2\)"):
        nn.gradient_penalty(nn.Linear(3, 2, rng=0), x, x)
    with pytest.raises(CallOrderError, match="training mode"):
        nn.gradient_penalty(nn.Sequential(nn.Linear(3, 1), nn.ReLU()).eval(), x, x)


# Frozen ------------------------------------------------------------------------------------------


def test_frozen_leaves_no_trace_and_gives_the_same_gradient():
    critic, real, _ = case("conv1d", 6)
    twin = copy.deepcopy(critic)
    before = {n: (p.value.copy(), p.grad, p.grad.copy()) for n, p in critic.named_parameters()}
    dy = np.random.default_rng(6).standard_normal((B, 1))
    critic.forward(real)
    twin.forward(real)
    with nn.frozen(critic):
        dx = critic.backward(dy)
    assert np.array_equal(dx, twin.backward(dy)) and dx.any()
    for n, parameter in critic.named_parameters():
        value, grad, kept = before[n]
        assert np.array_equal(parameter.value, value)
        assert parameter.grad is grad and np.array_equal(grad, kept)


def test_frozen_thaws_after_an_error_too():
    layer = nn.Linear(3, 2, rng=0)
    grad = layer.W.grad
    with pytest.raises(CallOrderError), nn.frozen(layer):
        layer.backward(np.ones((4, 2), np.float32))
    assert layer.W.grad is grad
