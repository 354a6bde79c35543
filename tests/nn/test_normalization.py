"""Normalisations: values against literal loops, who sees whom, gradients, streams, errors."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio.errors import CallOrderError, ConfigError, ShapeError
from scratchaudio.nn import BatchNorm, CumulativeLayerNorm, GlobalLayerNorm, LayerNorm
from scratchaudio.nn.gradcheck import check_gradients

seeds = st.integers(0, 2**32 - 1)
shapes = st.permutations([2, 3, 4, 5, 6]).map(lambda p: tuple(p[:3]))
# (B, C, T), (B, C, F, T) and (B, C) of three entries or more: of two, x_hat is 1 and -1 for any x
batches = st.one_of(
    shapes,
    st.permutations([1, 2, 3, 4]).map(tuple),
    st.permutations([3, 4, 5, 6]).map(lambda p: tuple(p[:2])),
)


def drawn(shape, seed, eps=1e-5):
    """A float64 layer with gamma and beta off their initial values, and x."""
    rng = np.random.default_rng(seed)
    layer = LayerNorm(shape[-1], eps).astype(np.float64)
    for parameter in layer.parameters():
        parameter.value += 0.3 * rng.standard_normal(parameter.value.shape)
    return layer, rng.standard_normal(shape), rng


def by_hand(row, gamma, beta, eps):
    """One row, number by number."""
    F = len(row)
    mean = sum(row) / F
    variance = sum((value - mean) ** 2 for value in row) / F
    return [gamma[i] * (row[i] - mean) / math.sqrt(variance + eps) + beta[i] for i in range(F)]


# LayerNorm ---------------------------------------------------------------------------------------


@given(shape=shapes, seed=seeds, n_axes=st.integers(1, 3), eps=st.sampled_from([1e-5, 0.5]))
def test_equals_the_literal_loop(shape, seed, n_axes, eps):
    layer, x, _ = drawn(shape[-n_axes:], seed, eps)
    y = layer.forward(x)
    gamma, beta = layer.gamma.value, layer.beta.value
    for index in np.ndindex(x.shape[:-1]):
        expected = by_hand(x[index].tolist(), gamma.tolist(), beta.tolist(), eps)
        np.testing.assert_allclose(y[index], expected, rtol=0, atol=1e-13)


@given(shape=shapes, seed=seeds, eps=st.sampled_from([1e-5, 0.5]))
def test_gradients(shape, seed, eps):
    layer, x, rng = drawn(shape, seed, eps)
    assert check_gradients(layer, x, rng=rng, may_vanish=("x",)) <= 1e-11


def spread_rows(shape, rng):
    """Rows of 0 ... F - 1 in any order: random, but of a variance that is never small."""
    return rng.permuted(np.broadcast_to(np.arange(float(shape[-1])), shape), axis=-1)


@given(shape=shapes, seed=seeds, shift=st.floats(-100, 100), scale=st.floats(0.01, 100))
def test_shift_and_scale_of_a_row_change_nothing(shape, seed, shift, scale):
    """Exactly so but for eps, which is all but 0 here."""
    layer, _, rng = drawn(shape, seed, eps=1e-20)
    x = spread_rows(shape, rng)
    np.testing.assert_allclose(layer.forward(scale * x + shift), layer.forward(x), atol=1e-10)


@given(shape=shapes, seed=seeds)
def test_dx_has_nothing_along_one_and_along_x_hat(shape, seed):
    layer, _, rng = drawn(shape, seed, eps=1e-20)
    x = spread_rows(shape, rng)
    layer.forward(x)
    dx = layer.backward(rng.standard_normal(shape))
    centred = x - x.mean(axis=-1, keepdims=True)
    assert abs(dx.sum(axis=-1)).max() <= 1e-12
    assert abs((dx * centred).sum(axis=-1)).max() <= 1e-12


def test_a_new_layer_gives_mean_0_and_variance_1():
    x = 3 + 5 * np.random.default_rng(0).standard_normal((4, 7, 50)).astype(np.float32)
    y = LayerNorm(50).forward(x)
    assert abs(y.mean(axis=-1)).max() <= 1e-6
    np.testing.assert_allclose(y.var(axis=-1), 1, atol=1e-5)


def test_a_constant_row_gives_beta_and_finite_gradients():
    layer = LayerNorm(4)
    layer.beta.value[...] = [1, 2, 3, 4]
    x = np.full((2, 3, 4), 7, np.float32)
    np.testing.assert_array_equal(layer.forward(x), np.broadcast_to([1, 2, 3, 4], x.shape))
    assert np.isfinite(layer.backward(np.arange(24, dtype=np.float32).reshape(2, 3, 4))).all()


def test_a_large_mean_does_not_drown_the_variance():
    """E x^2 - (E x)^2 would lose all digits of float32 here."""
    x = np.random.default_rng(0).standard_normal((3, 64)).astype(np.float32)
    shifted = (x + 4096).astype(np.float32)
    expected = LayerNorm(64).forward(shifted - np.float32(4096))
    np.testing.assert_allclose(LayerNorm(64).forward(shifted), expected, atol=2e-3)


def test_no_row_sees_another():
    layer, x, rng = drawn((3, 4, 5), 0)
    y = layer.forward(x)
    other = x.copy()
    other[1, 2] = rng.standard_normal(5)
    changed = (layer.forward(other) != y).any(axis=-1)
    assert np.argwhere(changed).tolist() == [[1, 2]]


def test_errors():
    with pytest.raises(ConfigError, match="n_features must be an integer of at least 1, got 0"):
        LayerNorm(0)
    for eps in (0, -1e-5, math.nan):
        with pytest.raises(ConfigError, match=f"eps must be positive, got {eps}"):
            LayerNorm(3, eps)
    with pytest.raises(ShapeError, match=r"x of LayerNorm must have shape \(\.\.\., 3\), got \(2"):
        LayerNorm(3).forward(np.ones((2, 4), np.float32))
    with pytest.raises(ShapeError, match=r"got \(\)"):
        LayerNorm(1).forward(np.float32(1))


def test_gradients_of_the_parameters_add_up():
    layer, x, rng = drawn((3, 4, 5), 0)
    dy = rng.standard_normal(x.shape)
    once = []
    for passes in (1, 2):
        layer.forward(x)
        layer.backward(dy)
        once.append([parameter.grad / passes for parameter in layer.parameters()])
    np.testing.assert_allclose(once[1], once[0], rtol=1e-13)


# What the others share ---------------------------------------------------------------------------

CHANNELWISE = [BatchNorm, GlobalLayerNorm, CumulativeLayerNorm]


def drawn_channels(kind, shape, seed, eps=1e-5, dtype=np.float64):
    """A layer for channels on axis 1, gamma and beta off their initial values, x, and its rng."""
    rng = np.random.default_rng(seed)
    layer = kind(shape[1], eps, dtype=dtype)
    for parameter in layer.parameters():
        parameter.value += 0.3 * rng.standard_normal(parameter.value.shape).astype(dtype)
    return layer, rng.standard_normal(shape).astype(dtype), rng


def mean_and_variance(values):
    mean = math.fsum(values) / len(values)
    return mean, math.fsum((value - mean) ** 2 for value in values) / len(values)


@pytest.mark.parametrize("kind", [GlobalLayerNorm, CumulativeLayerNorm])
@given(shape=shapes, seed=seeds, eps=st.sampled_from([1e-5, 0.5]))
def test_gradients_of_global_and_cumulative(kind, shape, seed, eps):
    layer, x, rng = drawn_channels(kind, shape, seed, eps)
    assert check_gradients(layer, x, rng=rng) <= 1e-11


@pytest.mark.parametrize("kind", CHANNELWISE)
@given(shape=shapes, seed=seeds, shift=st.floats(-100, 100), scale=st.floats(0.01, 100))
def test_shift_and_scale_of_everything_change_nothing(kind, shape, seed, shift, scale):
    layer, x, _ = drawn_channels(kind, shape, seed, eps=1e-20)
    np.testing.assert_allclose(layer.forward(scale * x + shift), layer.forward(x), atol=1e-8)


@pytest.mark.parametrize(
    ("kind", "allowed"), [(BatchNorm, 2e-3), (GlobalLayerNorm, 5e-4), (CumulativeLayerNorm, 5e-4)]
)
def test_a_large_mean_does_not_drown_the_variance_of_channels(kind, allowed):
    """E x^2 - (E x)^2 would lose all digits of float32 here; the spacing at 4096 is 5e-4."""
    x = np.random.default_rng(0).standard_normal((3, 512, 20)).astype(np.float32)
    shifted = (x + 4096).astype(np.float32)
    expected = kind(512).forward(shifted - np.float32(4096))
    np.testing.assert_allclose(kind(512).forward(shifted), expected, rtol=0, atol=allowed)


@pytest.mark.parametrize("kind", CHANNELWISE)
def test_constant_input_gives_beta_and_finite_gradients(kind):
    layer = kind(4)
    layer.beta.value[...] = [1, 2, 3, 4]
    x = np.full((2, 4, 3), 7, np.float32)
    beta = layer.beta.value[:, None]
    np.testing.assert_array_equal(layer.forward(x), np.broadcast_to(beta, x.shape))
    assert np.isfinite(layer.backward(np.arange(24, dtype=np.float32).reshape(2, 4, 3))).all()


@pytest.mark.parametrize("kind", CHANNELWISE)
def test_errors_of_channelwise(kind):
    name = kind.__name__
    with pytest.raises(ConfigError, match="n_(features|channels) must be an integer of at least 1"):
        kind(0)
    for eps in (0, -1e-5, math.nan):
        with pytest.raises(ConfigError, match=f"eps must be positive, got {eps}"):
            kind(3, eps)
    for shape in ((2, 4, 5), (3,), (0, 3, 5), (2, 3, 0)):
        with pytest.raises(ShapeError, match=rf"x of {name} must have shape \(batch, 3, .*got \("):
            kind(3).forward(np.ones(shape, np.float32))


@pytest.mark.parametrize("kind", [GlobalLayerNorm, CumulativeLayerNorm])
def test_global_and_cumulative_take_three_axes(kind):
    for shape in ((2, 3), (2, 3, 4, 5)):
        with pytest.raises(ShapeError, match=r"must have shape \(batch, 3, frames\).*got"):
            kind(3).forward(np.ones(shape, np.float32))


@pytest.mark.parametrize("kind", [GlobalLayerNorm, CumulativeLayerNorm])
def test_no_example_sees_another(kind):
    layer, x, rng = drawn_channels(kind, (3, 4, 5), 0)
    other = x.copy()
    other[1] = rng.standard_normal((4, 5))
    changed = (layer.forward(other) != layer.forward(x)).any(axis=(1, 2))
    assert changed.tolist() == [False, True, False]


@pytest.mark.parametrize("kind", CHANNELWISE)
def test_long_inputs_keep_float32_s_digits(kind):
    """100 000 frames whose level rises and falls: float32 stays with float64, gradients too."""
    T = 100_000
    rng = np.random.default_rng(0)
    level = 1.5 + np.sin(np.arange(T) / 5000)
    x = (level * rng.standard_normal((2, 3, T)) + 2).astype(np.float32)
    dy = rng.standard_normal(x.shape).astype(np.float32)
    results = []
    for dtype in (np.float32, np.float64):
        layer = kind(3, dtype=dtype)
        layer.gamma.value[...] = [0.5, 1, 2]
        y = layer.forward(x.astype(dtype))
        dx = layer.backward(dy.astype(dtype))
        results.append([y, dx, layer.gamma.grad, layer.beta.grad])
    for single, double in zip(*results, strict=True):
        assert single.dtype == np.float32
        np.testing.assert_allclose(single, double, rtol=1e-5, atol=1e-5 * abs(double).max())


# BatchNorm ---------------------------------------------------------------------------------------


def entries_of(x, c):
    """All entries of a channel, one by one."""
    return [float(x[i]) for i in np.ndindex(x.shape) if i[1] == c]


@given(shape=batches, seed=seeds, eps=st.sampled_from([1e-5, 0.5]))
def test_batch_norm_equals_the_literal_loop(shape, seed, eps):
    layer, x, _ = drawn_channels(BatchNorm, shape, seed, eps)
    y = layer.forward(x)
    for c in range(shape[1]):
        mean, variance = mean_and_variance(entries_of(x, c))
        for i in np.ndindex(x.shape):
            if i[1] == c:
                x_hat = (x[i] - mean) / math.sqrt(variance + eps)
                expected = layer.gamma.value[c] * x_hat + layer.beta.value[c]
                assert y[i] == pytest.approx(expected, abs=1e-12)


@given(shape=batches, seed=seeds)
def test_batch_norm_gradients(shape, seed):
    layer, x, rng = drawn_channels(BatchNorm, shape, seed)
    assert check_gradients(layer, x, rng=rng) <= 1e-11


@given(shape=batches, seed=seeds, momentum=st.sampled_from([0.0, 0.1, 0.7, 1.0]))
def test_running_statistics_and_evaluation_equal_the_literal_loop(shape, seed, momentum):
    rng = np.random.default_rng(seed)
    layer = BatchNorm(shape[1], 0.01, momentum, dtype=np.float64)
    means, variances = [0.0] * shape[1], [1.0] * shape[1]
    for _ in range(3):
        x = 2 + 3 * rng.standard_normal(shape)
        layer.forward(x)
        for c in range(shape[1]):
            entries = entries_of(x, c)
            mean, variance = mean_and_variance(entries)
            unbiased = variance * len(entries) / (len(entries) - 1)
            means[c] = (1 - momentum) * means[c] + momentum * mean
            variances[c] = (1 - momentum) * variances[c] + momentum * unbiased
    np.testing.assert_allclose(layer.running_mean.value, means, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(layer.running_var.value, variances, rtol=1e-12)

    layer.gamma.value[...] = rng.standard_normal(shape[1])
    layer.beta.value[...] = rng.standard_normal(shape[1])
    y = layer.eval().forward(x)
    for i in np.ndindex(x.shape):
        c = i[1]
        x_hat = (x[i] - means[c]) / math.sqrt(variances[c] + 0.01)
        expected = layer.gamma.value[c] * x_hat + layer.beta.value[c]
        assert y[i] == pytest.approx(expected, abs=1e-11)


def test_evaluation_changes_no_statistics_and_takes_one_entry():
    layer, x, _ = drawn_channels(BatchNorm, (5, 3, 4), 0)
    layer.forward(x)
    before = layer.state_dict()
    y = layer.eval().forward(x)
    np.testing.assert_allclose(layer.forward(x[1:2, :, 2:3]), y[1:2, :, 2:3], rtol=1e-14)
    np.testing.assert_allclose(layer.forward(x[1, None, :, 2]), y[1, None, :, 2], rtol=1e-14)
    for name, array in layer.state_dict().items():
        assert np.array_equal(array, before[name]), f"{name} changed"


def test_a_complex_step_changes_no_statistics():
    layer, x, _ = drawn_channels(BatchNorm, (5, 3, 4), 0)
    layer.forward(x + 1e-20j)
    assert layer.running_mean.value.tolist() == [0, 0, 0]
    assert layer.running_var.value.tolist() == [1, 1, 1]


def test_running_statistics_become_those_of_the_data():
    rng = np.random.default_rng(0)
    layer = BatchNorm(3)
    true_mean, true_std = np.array([-2.0, 0.5, 7.0]), np.array([0.1, 2.0, 5.0])
    for _ in range(200):
        layer.forward((true_mean + true_std * rng.standard_normal((200, 3))).astype(np.float32))
    y = layer.eval().forward((true_mean + true_std * rng.standard_normal((9999, 3))).astype("f"))
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=0.05)
    np.testing.assert_allclose(y.std(axis=0), 1, atol=0.05)


def test_where_the_entries_of_a_channel_lie_does_not_matter():
    layer, x, _ = drawn_channels(BatchNorm, (4, 3, 5, 2), 0)
    y = layer.forward(x)
    rows = np.moveaxis(x, 1, -1).reshape(-1, 3)  # (n, C)
    np.testing.assert_allclose(
        layer.forward(rows), np.moveaxis(y, 1, -1).reshape(-1, 3), atol=1e-13
    )


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1), (1, 3, 1, 1)])
def test_batch_norm_refuses_one_entry_in_training(shape):
    layer = BatchNorm(3)
    with pytest.raises(ShapeError, match="two entries of each channel in training, got one.*eval"):
        layer.forward(np.ones(shape, np.float32))
    assert layer.running_var.value.tolist() == [1, 1, 1]


@pytest.mark.parametrize("momentum", [-0.1, 1.1, math.nan])
def test_batch_norm_momentum_is_checked(momentum):
    with pytest.raises(ConfigError, match=rf"momentum must lie in 0\.\.1, got {momentum}"):
        BatchNorm(3, momentum=momentum)


# GlobalLayerNorm and CumulativeLayerNorm ---------------------------------------------------------


@given(shape=shapes, seed=seeds, eps=st.sampled_from([1e-8, 0.5]))
def test_global_equals_the_literal_loop(shape, seed, eps):
    layer, x, _ = drawn_channels(GlobalLayerNorm, shape, seed, eps)
    y = layer.forward(x)
    for b in range(shape[0]):
        mean, variance = mean_and_variance(x[b].ravel().tolist())
        for c, t in np.ndindex(shape[1:]):
            x_hat = (x[b, c, t] - mean) / math.sqrt(variance + eps)
            expected = layer.gamma.value[c] * x_hat + layer.beta.value[c]
            assert y[b, c, t] == pytest.approx(expected, abs=1e-12)


@given(shape=shapes, seed=seeds, eps=st.sampled_from([1e-8, 0.5]))
def test_cumulative_equals_the_literal_loop(shape, seed, eps):
    layer, x, _ = drawn_channels(CumulativeLayerNorm, shape, seed, eps)
    y = layer.forward(x)
    for b in range(shape[0]):
        for t in range(shape[2]):
            so_far = [float(x[b, c, s]) for s in range(t + 1) for c in range(shape[1])]
            mean, variance = mean_and_variance(so_far)
            for c in range(shape[1]):
                x_hat = (x[b, c, t] - mean) / math.sqrt(variance + eps)
                expected = layer.gamma.value[c] * x_hat + layer.beta.value[c]
                assert y[b, c, t] == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize("shape", [(3, 1, 5), (1, 4, 5), (3, 4, 1), (2, 1, 1)])
@pytest.mark.parametrize("kind", [GlobalLayerNorm, CumulativeLayerNorm])
def test_gradients_with_sizes_of_one(kind, shape):
    layer, x, rng = drawn_channels(kind, shape, 0, eps=0.3)
    assert check_gradients(layer, x, rng=rng, may_vanish=("x", "gamma")) <= 1e-11


@given(shape=shapes, seed=seeds)
def test_the_last_frame_of_cumulative_is_that_of_global(shape, seed):
    cumulative, x, _ = drawn_channels(CumulativeLayerNorm, shape, seed)
    layer = GlobalLayerNorm(shape[1], 1e-5, dtype=np.float64)
    layer.load_state_dict(cumulative.state_dict())
    for n in range(1, shape[2] + 1):
        expected = layer.forward(x[:, :, :n])[:, :, -1]
        np.testing.assert_allclose(cumulative.forward(x)[:, :, n - 1], expected, atol=1e-11)


@given(shape=shapes, seed=seeds)
def test_cumulative_sees_no_later_frame(shape, seed):
    """Neither does a gradient reach a later frame than it comes from."""
    layer, x, rng = drawn_channels(CumulativeLayerNorm, shape, seed)
    T = shape[2]
    for t in range(T):
        y = layer.forward(x)
        other = x.copy()
        other[:, :, t:] = rng.standard_normal(other[:, :, t:].shape)
        np.testing.assert_array_equal(layer.forward(other)[:, :, :t], y[:, :, :t])
        dy = np.zeros(shape)
        dy[:, :, t] = rng.standard_normal(shape[:2])
        dx = layer.backward(dy)
        assert not dx[:, :, t + 1 :].any()
        assert dx[:, :, : t + 1].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(lengths=st.lists(st.integers(1, 7), min_size=1, max_size=8), seed=seeds)
def test_a_stream_in_pieces_equals_the_whole_bit_for_bit(dtype, lengths, seed):
    layer, x, _ = drawn_channels(CumulativeLayerNorm, (2, 37, sum(lengths)), seed, dtype=dtype)
    whole = layer.eval().forward(x)
    state, end = layer.start(2), 0
    for length in lengths:
        start, end = end, end + length
        piece = layer.step(x[:, :, start:end], state)
        np.testing.assert_array_equal(piece, whole[:, :, start:end], strict=True)
    assert state["n_frames"] == end


def test_a_stream_keeps_nothing_and_its_pieces_are_checked():
    layer = CumulativeLayerNorm(3)
    x = np.ones((2, 3, 4), np.float32)
    with pytest.raises(CallOrderError, match=r"step is for evaluation: call eval\(\) first"):
        layer.step(x, layer.start(2))
    layer.eval()
    state = layer.start()
    with pytest.raises(ShapeError, match=r"state is of a batch of 1, got \(2, 3, 4\)"):
        layer.step(x, state)
    with pytest.raises(ShapeError, match=r"must have shape \(batch, 3, frames\).*got \(1, 2, 4\)"):
        layer.step(x[:1, :2], state)
    assert state["n_frames"] == 0
    layer.step(x[:1], state)
    assert layer._saved is None


def test_start_gives_every_stream_a_state_of_its_own():
    layer = CumulativeLayerNorm(3).eval()
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 1, 3, 6)).astype(np.float32)
    states = layer.start(), layer.start()
    layer.step(first, states[0])
    np.testing.assert_array_equal(layer.step(second, states[1]), layer.forward(second))
