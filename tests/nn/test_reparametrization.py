"""Weight and spectral normalisation: values by loops and by SVD, gradients, what is trained."""

import copy
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio.errors import CallOrderError, ConfigError
from scratchaudio.nn import Conv1d, Layer, Linear, Parameter, ReLU, SpectralNorm, WeightNorm
from scratchaudio.nn.gradcheck import check_gradients, fourth_order_difference

seeds = st.integers(0, 2**32 - 1)


class Trilinear(Layer):
    """y[b, o] = sum_ij W[o, i, j] x[b, i, j]: a weight with three axes, and no bias."""

    def __init__(self, n_out, n_in, k, rng):
        self.W = Parameter(rng.standard_normal((n_out, n_in, k)))

    def forward(self, x):
        self.save_for_backward(x)
        return np.tensordot(x, self.W.value, axes=([1, 2], [1, 2]))

    def backward(self, dy):
        (x,) = self.pop_saved()
        self.W.grad += np.tensordot(dy, x, axes=(0, 0))
        return np.tensordot(dy, self.W.value, axes=(1, 0))


# name -> (layer, axis of outputs, shape of x)
CASES = {
    "Linear": (lambda rng: Linear(3, 5, rng=rng, dtype=np.float64), 1, (4, 2, 3)),
    "Linear, other axis": (lambda rng: Linear(3, 5, rng=rng, dtype=np.float64), 0, (4, 2, 3)),
    "Trilinear": (lambda rng: Trilinear(4, 3, 2, rng), 0, (5, 3, 2)),
    "Trilinear, axis 1": (lambda rng: Trilinear(4, 3, 2, rng), 1, (5, 3, 2)),
    "Trilinear, axis 2": (lambda rng: Trilinear(4, 3, 2, rng), 2, (5, 3, 2)),
    "Conv1d": (
        lambda rng: Conv1d(4, 6, 3, stride=2, groups=2, rng=rng, dtype=np.float64),
        0,
        (2, 4, 7),
    ),
}
every_case = pytest.mark.parametrize("case", CASES)


def weights_of(W, axis, o):
    """The weights of one output, by index loops, as a list of (index, value)."""
    return [(i, float(W[i])) for i in np.ndindex(W.shape) if i[axis] == o]


def as_matrix(W, axis):
    """(O, I), row by row."""
    return np.array([[w for _, w in weights_of(W, axis, o)] for o in range(W.shape[axis])])


# WeightNorm --------------------------------------------------------------------------------------


@every_case
def test_weight_norm_changes_nothing_at_first(case):
    make, axis, shape = CASES[case]
    rng = np.random.default_rng(0)
    layer, x = make(rng), rng.standard_normal(shape)
    expected = layer.forward(x)
    np.testing.assert_allclose(WeightNorm(layer, axis).forward(x), expected, rtol=1e-13, atol=1e-15)


@every_case
def test_weight_norm_equals_the_literal_loop(case):
    make, axis, shape = CASES[case]
    rng = np.random.default_rng(0)
    plain = make(rng)
    layer = WeightNorm(copy.deepcopy(plain), axis)
    layer.g.value += rng.standard_normal(layer.g.value.shape)
    layer.v.value += rng.standard_normal(layer.v.value.shape)
    for o in range(plain.W.value.shape[axis]):
        weights = weights_of(layer.v.value, axis, o)
        norm = math.sqrt(sum(v * v for _, v in weights))
        for i, v in weights:
            plain.W.value[i] = layer.g.value[o] * v / norm
    x = rng.standard_normal(shape)
    np.testing.assert_allclose(layer.forward(x), plain.forward(x), rtol=1e-12, atol=1e-13)


@every_case
@pytest.mark.parametrize("kind", [WeightNorm, SpectralNorm])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_gradients(kind, case, seed):
    make, axis, shape = CASES[case]
    rng = np.random.default_rng(seed)
    layer = kind(make(rng), axis)
    assert check_gradients(layer, rng.standard_normal(shape), rng=rng) <= 1e-11


@given(seed=seeds, o=st.integers(0, 4), scale=st.floats(0.01, 100))
def test_of_v_only_the_direction_counts_and_of_g_the_length(seed, o, scale):
    rng = np.random.default_rng(seed)
    layer = WeightNorm(Linear(3, 5, bias=False, rng=rng, dtype=np.float64), axis=1)
    x = rng.standard_normal((4, 3))
    y = layer.forward(x)
    layer.backward(rng.standard_normal(y.shape))
    assert abs((layer.v.grad * layer.v.value).sum(axis=0)).max() <= 1e-13

    layer.v.value[:, o] *= scale
    np.testing.assert_allclose(layer.forward(x), y, rtol=1e-11, atol=1e-13)
    layer.g.value[o] *= scale
    y[:, o] *= scale
    np.testing.assert_allclose(layer.forward(x), y, rtol=1e-11, atol=1e-13)


def test_weight_norm_refuses_weights_without_a_direction():
    layer = Linear(3, 5, rng=0)
    layer.W.value[:, 2] = 0
    with pytest.raises(ConfigError, match=r"W of Linear has an output \(axis 1\).*all 0"):
        WeightNorm(layer, axis=1)
    assert isinstance(layer.W, Parameter), "the layer was changed in spite of the error"


# SpectralNorm ------------------------------------------------------------------------------------


@every_case
def test_spectral_norm_equals_the_literal_power_iteration(case):
    make, axis, shape = CASES[case]
    rng = np.random.default_rng(0)
    plain = make(rng)
    layer = SpectralNorm(copy.deepcopy(plain), axis, n_power_iterations=2, rng=1)
    W = plain.W.value.copy()
    M = as_matrix(W, axis).tolist()
    u = layer.u.value[...] = rng.standard_normal(len(M))
    v = layer.v.value[...] = rng.standard_normal(len(M[0]))
    for _ in range(2):
        u = [sum(row[i] * v[i] for i in range(len(v))) for row in M]
        u = [value / math.sqrt(sum(other * other for other in u)) for value in u]
        v = [sum(M[o][i] * u[o] for o in range(len(u))) for i in range(len(v))]
        v = [value / math.sqrt(sum(other * other for other in v)) for value in v]
    sigma = sum(u[o] * M[o][i] * v[i] for o in range(len(u)) for i in range(len(v)))

    x = rng.standard_normal(shape)
    y = layer.forward(x)
    np.testing.assert_allclose(layer.u.value, u, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(layer.v.value, v, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(layer.W.value, W)
    plain.W.value[...] = W / sigma
    np.testing.assert_allclose(y, plain.forward(x), rtol=1e-12, atol=1e-13)


@every_case
@pytest.mark.parametrize("n_rounds", [300])
def test_after_many_rounds_sigma_is_the_largest_singular_value(case, n_rounds):
    make, axis, shape = CASES[case]
    rng = np.random.default_rng(0)
    layer = SpectralNorm(make(rng), axis, rng=rng)
    x = rng.standard_normal(shape)
    for _ in range(n_rounds):
        layer.forward(x)
    largest = np.linalg.svd(as_matrix(layer.layer.W.value, axis), compute_uv=False)[0]
    assert largest == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("case", ["Linear", "Trilinear, axis 1"])
def test_at_the_maximum_the_gradient_is_that_of_the_exact_norm(case):
    """Oracle: differences of W / (largest singular value by SVD), where nothing is held fixed."""
    make, axis, shape = CASES[case]
    rng = np.random.default_rng(3)
    plain = make(rng)
    layer = SpectralNorm(copy.deepcopy(plain), axis, n_power_iterations=1000, rng=rng)
    x = rng.standard_normal(shape)
    y = layer.forward(x)
    dy = rng.standard_normal(y.shape)
    layer.backward(dy)

    def loss(W):
        plain.W.value = W / np.linalg.svd(as_matrix(W, axis), compute_uv=False)[0]
        return (dy * plain.forward(x)).sum()

    expected = fourth_order_difference(loss, layer.W.value)
    assert np.linalg.norm(expected) > 1e-3
    np.testing.assert_allclose(layer.W.grad, expected, atol=1e-8)


@given(seed=seeds, scale=st.floats(0.01, 100))
def test_the_scale_of_W_does_not_count(seed, scale):
    rng = np.random.default_rng(seed)
    layer = SpectralNorm(Linear(3, 5, rng=rng, dtype=np.float64), axis=1, rng=rng).eval()
    x = rng.standard_normal((4, 3))
    y = layer.forward(x)
    layer.W.value *= scale
    np.testing.assert_allclose(layer.forward(x), y, rtol=1e-12, atol=1e-14)


def test_u_and_v_move_in_training_only():
    rng = np.random.default_rng(0)
    layer = SpectralNorm(Linear(6, 5, rng=rng), axis=1, rng=rng)
    x = rng.standard_normal((4, 6)).astype(np.float32)
    before = layer.state_dict()
    assert set(before) == {"W", "layer.b", "u", "v"}
    layer.eval().forward(x)
    for name, array in layer.state_dict().items():
        assert np.array_equal(array, before[name]), f"{name} changed"
    layer.train().forward(x)
    assert not np.array_equal(layer.u.value, before["u"])
    assert not np.array_equal(layer.v.value, before["v"])
    still = SpectralNorm(Linear(6, 5, rng=rng), axis=1, n_power_iterations=0, rng=rng)
    before = still.state_dict()
    still.forward(x)
    assert np.array_equal(still.u.value, before["u"])


def test_u_and_v_start_close_to_the_maximum_and_from_the_seed():
    makes = [
        SpectralNorm(Linear(30, 20, rng=0, dtype=np.float64), axis=1, rng=seed)
        for seed in (1, 1, 2)
    ]
    u = [layer.u.value for layer in makes]
    assert np.array_equal(u[0], u[1])
    assert not np.array_equal(u[0], u[2])
    W = makes[0].eval().weight()[0]
    assert 1 <= np.linalg.norm(W, 2) <= 1.1
    assert np.linalg.norm(u[0]) == pytest.approx(1, rel=1e-12)


def test_weights_of_zero_leave_u_and_v_finite():
    layer = Linear(3, 5, rng=0)
    layer.W.value[...] = 0
    layer = SpectralNorm(layer, axis=1)
    assert np.isfinite(layer.u.value).all() and np.isfinite(layer.v.value).all()


# Both --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "names"), [(WeightNorm, ["g", "v", "layer.b"]), (SpectralNorm, ["W", "layer.b"])]
)
def test_only_what_W_is_made_of_is_trained(kind, names):
    rng = np.random.default_rng(0)
    layer = kind(Linear(3, 5, rng=rng, dtype=np.float64), axis=1)
    assert [name for name, _ in layer.named_parameters()] == names
    x, dy = rng.standard_normal((4, 3)), rng.standard_normal((4, 5))
    grads = []
    layer.n_power_iterations = 0
    for passes in (1, 2):
        layer.forward(x)
        layer.backward(dy)
        assert layer.layer.W.grad is None, "the inner weight keeps a gradient"
        grads.append([parameter.grad / passes for parameter in layer.parameters()])
    for once, twice in zip(*grads, strict=True):
        assert np.linalg.norm(once) > 1e-3
        np.testing.assert_allclose(twice, once, rtol=1e-12)


@pytest.mark.parametrize("kind", [WeightNorm, SpectralNorm])
def test_a_failed_forward_leaves_nothing_for_backward(kind):
    layer = kind(Linear(3, 5, rng=0), axis=1)
    with pytest.raises(ValueError, match="x of Linear"):
        layer.forward(np.ones((4, 2), np.float32))
    with pytest.raises(CallOrderError, match=f"{kind.__name__}.backward needs one"):
        layer.backward(np.ones((4, 5), np.float32))


@pytest.mark.parametrize("kind", [WeightNorm, SpectralNorm])
def test_errors(kind):
    name = kind.__name__
    vector = Linear(3, 5, rng=0)
    vector.W = Parameter(np.ones(3))
    wrapped = WeightNorm(Linear(3, 5, rng=0), axis=1)
    for wrong in (ReLU(), "Linear", vector, wrapped):
        with pytest.raises(
            ConfigError, match=f"layer of {name} must be a Layer with a Parameter W"
        ):
            kind(wrong)
    for axis in (2, -1, 1.0, None, True):
        layer = Linear(3, 5, rng=0)
        with pytest.raises(
            ConfigError, match=rf"axis must be .* 0\.\.1 for .*\(3, 5\), got {axis}"
        ):
            kind(layer, axis)
        assert isinstance(layer.W, Parameter), "the layer was changed in spite of the error"


def test_errors_of_spectral_norm():
    layer = Linear(3, 5, rng=0)
    for n in (-1, 1.0, True):
        with pytest.raises(ConfigError, match=f"n_power_iterations must be .* got {n}"):
            SpectralNorm(layer, n_power_iterations=n)
    for eps in (0, -1e-12, math.nan):
        with pytest.raises(ConfigError, match=f"eps must be positive, got {eps}"):
            SpectralNorm(layer, eps=eps)
    assert isinstance(layer.W, Parameter), "the layer was changed in spite of the error"
