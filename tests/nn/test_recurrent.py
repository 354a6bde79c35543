"""RNN, GRU, GRUResetBefore, LSTM and Bidirectional: values against step-by-step loops, and laws.

Every gradient of every configuration is checked in tests/test_layer_contract.py and below in
`test_gradients`, over states and lengths too.
"""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio.errors import CallOrderError, ConfigError, ShapeError
from scratchaudio.nn import GRU, LSTM, RNN, Adam, Bidirectional, GRUResetBefore, mse
from scratchaudio.nn.gradcheck import check_gradients

CELLS = [RNN, GRU, GRUResetBefore, LSTM]
seeds = st.integers(0, 2**32 - 1)


# Oracles: one sequence, one step, one hidden unit at a time -----------------------------------


def sigma(a):
    return 1 / (1 + math.exp(-a))


def dot(vector, matrix, column):
    return sum(vector[k] * matrix[k, column] for k in range(len(vector)))


def rnn_step(p, x, state, H):
    h = state[0]
    return [[math.tanh(dot(x, p["Wx"], j) + p["b"][j] + dot(h, p["Wh"], j)) for j in range(H)]]


def gru_step(p, x, state, H, reset_after=True):
    h = state[0]
    share = [dot(x, p["Wx"], j) + p["b"][j] for j in range(3 * H)]
    r = [sigma(share[j] + dot(h, p["Wh"], j)) for j in range(H)]
    z = [sigma(share[H + j] + dot(h, p["Wh"], H + j)) for j in range(H)]
    new = []
    for j in range(H):
        if reset_after:
            u = r[j] * (dot(h, p["Wh"], 2 * H + j) + p["bh"][j])
        else:
            u = sum(r[k] * h[k] * p["Wh"][k, 2 * H + j] for k in range(H))
        n = math.tanh(share[2 * H + j] + u)
        new.append((1 - z[j]) * n + z[j] * h[j])
    return [new]


def gru_before_step(p, x, state, H):
    return gru_step(p, x, state, H, reset_after=False)


def lstm_step(p, x, state, H):
    h, c = state
    a = [dot(x, p["Wx"], j) + p["b"][j] + dot(h, p["Wh"], j) for j in range(4 * H)]
    new_c = [sigma(a[H + j]) * c[j] + sigma(a[j]) * math.tanh(a[3 * H + j]) for j in range(H)]
    return [[sigma(a[2 * H + j]) * math.tanh(new_c[j]) for j in range(H)], new_c]


STEP = {RNN: rnn_step, GRU: gru_step, GRUResetBefore: gru_before_step, LSTM: lstm_step}


def loop(layer, x, state, lengths, backwards=False):
    """y and the final state, each sequence on its own and nothing behind its end."""
    B, T, _ = x.shape
    H = layer.n_hidden
    p = {name: parameter.value for name, parameter in layer.named_parameters()}
    y = np.zeros((B, T, H))
    finals = [np.zeros((B, H)) for _ in state]
    for b in range(B):
        current = [list(s[b]) for s in state]
        steps = range(lengths[b])
        for t in reversed(steps) if backwards else steps:
            current = STEP[type(layer)](p, x[b, t], current, H)
            y[b, t] = current[0]
        for final, value in zip(finals, current, strict=True):
            final[b] = value
    return y, finals


# Drawing layers and data ------------------------------------------------------------------------


def drawn(cell, rng, B, T, D, H, bidirectional=False):
    """A float64 layer with every parameter moved off its initial value, x and a state."""
    layer = Bidirectional(cell(D, H, rng), cell(D, H, rng)) if bidirectional else cell(D, H, rng)
    layer.astype(np.float64)
    for parameter in layer.parameters():
        parameter.value += 0.3 * rng.standard_normal(parameter.value.shape)
    x = rng.standard_normal((B, T, D))
    return layer, x, random_like(layer.initial_state(B), rng)


def random_like(state, rng):
    if isinstance(state, tuple):
        return tuple(random_like(part, rng) for part in state)
    return rng.standard_normal(state.shape)


def arrays_of(state):
    if isinstance(state, tuple):
        return [array for part in state for array in arrays_of(part)]
    return [state]


sizes = st.permutations([2, 3, 4, 5, 6]).map(lambda p: p[:4])  # B, T, D, H: no two equal


# Values -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", CELLS)
@given(sizes=sizes, seed=seeds)
def test_equals_the_literal_loop(cell, sizes, seed):
    B, T, D, H = sizes
    rng = np.random.default_rng(seed)
    layer, x, state = drawn(cell, rng, B, T, D, H)
    lengths = rng.integers(1, T + 1, B)
    y, final = layer.forward(x, state, lengths)
    expected_y, expected_final = loop(layer, x, arrays_of(state), lengths)
    np.testing.assert_allclose(y, expected_y, rtol=0, atol=1e-13)
    for got, expected in zip(arrays_of(final), expected_final, strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("cell", CELLS)
@given(sizes=sizes, seed=seeds)
def test_bidirectional_equals_two_literal_loops(cell, sizes, seed):
    B, T, D, H = sizes
    rng = np.random.default_rng(seed)
    layer, x, state = drawn(cell, rng, B, T, D, H, bidirectional=True)
    lengths = rng.integers(1, T + 1, B)
    y, final = layer.forward(x, state, lengths)
    for part, direction, s, f in zip(
        np.split(y, 2, axis=2), (layer.ahead, layer.back), state, final, strict=True
    ):
        expected_y, expected_final = loop(
            direction, x, arrays_of(s), lengths, backwards=direction is layer.back
        )
        np.testing.assert_allclose(part, expected_y, rtol=0, atol=1e-13)
        for got, expected in zip(arrays_of(f), expected_final, strict=True):
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_no_state_is_a_state_of_zeros_and_no_lengths_are_full_lengths(cell, bidirectional):
    rng = np.random.default_rng(5)
    layer, x, _ = drawn(cell, rng, 3, 4, 2, 5, bidirectional)
    y = layer.forward(x)
    zeros = layer.initial_state(3)
    with_state, _ = layer.forward(x, zeros, np.full(3, 4))
    np.testing.assert_array_equal(y, with_state)


def test_extreme_inputs_saturate_without_warnings():
    rng = np.random.default_rng(0)
    for cell in CELLS:
        layer = cell(2, 3, rng)
        x = np.float32(1e6) * rng.standard_normal((2, 4, 2)).astype(np.float32)
        y = layer.forward(x)
        assert np.isfinite(y).all() and np.isfinite(layer.backward(np.ones_like(y))).all(), cell


# Gradients --------------------------------------------------------------------------------------


@pytest.mark.parametrize("bidirectional", [False, True], ids=["one_way", "both_ways"])
@pytest.mark.parametrize("cell", CELLS)
@given(sizes=st.permutations([1, 2, 3, 4]), seed=seeds, with_lengths=st.booleans())
def test_gradients(cell, bidirectional, sizes, seed, with_lengths):
    """x, every parameter and both states, with random upstream gradients of y and final state."""
    B, T, D, H = sizes
    rng = np.random.default_rng(seed)
    layer, x, state = drawn(cell, rng, B, T, D, H, bidirectional)
    lengths = rng.integers(1, T + 1, B) if with_lengths else None
    worst = check_gradients(layer, x, state, lengths=lengths, rng=rng)
    assert worst <= 1e-11


@pytest.mark.parametrize("cell", CELLS)
def test_upstream_gradient_of_the_state_alone(cell):
    """Loss of the final state only: dy = 0 still sends gradients through every step."""
    rng = np.random.default_rng(2)
    layer, x, state = drawn(cell, rng, 2, 5, 3, 4)
    y, final = layer.forward(x, state)
    dx, dstate = layer.backward(np.zeros_like(y), random_like(final, rng))
    assert (np.abs(dx).max(axis=(0, 2)) > 1e-9).all(), "a step received no gradient"
    assert all(np.abs(d).max() > 1e-9 for d in arrays_of(dstate))


# Laws -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", CELLS)
@given(seed=seeds, cut=st.integers(1, 6))
def test_a_split_sequence_with_the_state_carried_gives_the_same(cell, seed, cut):
    layer, x, state = drawn(cell, np.random.default_rng(seed), 3, 7, 2, 5)
    whole, final = layer.forward(x, state)
    first, between = layer.forward(x[:, :cut], state)
    second, last = layer.forward(x[:, cut:], between)
    np.testing.assert_allclose(np.concatenate([first, second], 1), whole, rtol=0, atol=1e-14)
    for got, expected in zip(arrays_of(last), arrays_of(final), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("cell", CELLS)
@given(seed=seeds, cut=st.integers(1, 6))
def test_truncated_backpropagation_that_hands_back_the_state_gradient_is_full(cell, seed, cut):
    """Chunks from last to first, dstate handed back, give the gradients of the whole sequence."""
    rng = np.random.default_rng(seed)
    layer, x, state = drawn(cell, rng, 3, 7, 2, 5)
    y, _ = layer.forward(x, state)
    dy = rng.standard_normal(y.shape)
    dx, dstate0 = layer.backward(dy)
    expected = [p.grad.copy() for p in layer.parameters()]

    layer.zero_grad()
    _, between = layer.forward(x[:, :cut], state)
    layer.forward(x[:, cut:], between)
    dx_second, dbetween = layer.backward(dy[:, cut:])
    layer.forward(x[:, :cut], state)
    dx_first, dstate = layer.backward(dy[:, :cut], dbetween)
    np.testing.assert_allclose(np.concatenate([dx_first, dx_second], 1), dx, atol=1e-12)
    for got, want in zip(arrays_of(dstate), arrays_of(dstate0), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-12)
    for p, want in zip(layer.parameters(), expected, strict=True):
        np.testing.assert_allclose(p.grad, want, atol=1e-12)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
@given(seed=seeds, more=st.integers(1, 4))
def test_padding_changes_nothing_whatever_it_holds(cell, bidirectional, seed, more):
    rng = np.random.default_rng(seed)
    layer, x, state = drawn(cell, rng, 3, 5, 2, 4, bidirectional)
    lengths = np.array([5, 1, 3])
    y, final = layer.forward(x, state, lengths)
    dy, dfinal = rng.standard_normal(y.shape), random_like(final, rng)
    dx, dstate = layer.backward(dy, dfinal)
    grads = [p.grad.copy() for p in layer.parameters()]

    padded = np.concatenate([x, np.zeros((3, more, 2))], axis=1)
    for b, length in enumerate(lengths):
        padded[b, length:] = np.nan
    layer.zero_grad()
    y2, final2 = layer.forward(padded, state, lengths)
    dy2 = np.concatenate([dy, rng.standard_normal((3, more, dy.shape[2]))], axis=1)
    dx2, dstate2 = layer.backward(dy2, dfinal)
    np.testing.assert_allclose(y2[:, :5], y, rtol=0, atol=1e-14)
    for b, length in enumerate(lengths):
        assert (y2[b, length:] == 0).all(), "outputs of padded steps must be 0"
        assert (dx2[b, length:] == 0).all(), "gradients of padded steps must be 0"
    np.testing.assert_allclose(dx2[:, :5], dx, rtol=0, atol=1e-13)
    pairs = zip(arrays_of((final2, dstate2)), arrays_of((final, dstate)), strict=True)
    for got, expected in pairs:
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-13)
    for p, expected in zip(layer.parameters(), grads, strict=True):
        np.testing.assert_allclose(p.grad, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_the_future_does_not_reach_the_past(cell):
    layer, x, _ = drawn(cell, np.random.default_rng(1), 2, 6, 3, 4)
    y = layer.forward(x)
    x[:, 4:] = np.nan
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(layer.forward(x)[:, :4], y[:, :4])


@pytest.mark.parametrize("cell", CELLS)
def test_swapping_directions_and_reversing_time_mirrors_the_output(cell):
    layer, x, _ = drawn(cell, np.random.default_rng(1), 2, 6, 3, 4, bidirectional=True)
    ahead, back = np.split(layer.forward(x), 2, axis=2)
    mirrored = Bidirectional(layer.back, layer.ahead)
    ahead2, back2 = np.split(mirrored.forward(x[:, ::-1]), 2, axis=2)
    np.testing.assert_allclose(ahead2[:, ::-1], back, atol=1e-14)
    np.testing.assert_allclose(back2[:, ::-1], ahead, atol=1e-14)


def test_forget_bias_starts_at_one_and_can_be_chosen():
    H = 5
    np.testing.assert_array_equal(LSTM(3, H, rng=0).b.value[H : 2 * H], 1)
    np.testing.assert_array_equal(LSTM(3, H, rng=0, forget_bias=0.5).b.value[H : 2 * H], 0.5)


@pytest.mark.parametrize("cell", CELLS)
def test_initial_weights_fill_the_range_of_torch(cell):
    """U(-1/sqrt(H), 1/sqrt(H)) for every parameter, the LSTM's forget bias aside."""
    H = 25
    layer = cell(30, H, rng=0)
    for name, parameter in layer.named_parameters():
        values = parameter.value.copy()
        if cell is LSTM and name == "b":
            values[H : 2 * H] = 0
        largest = np.abs(values).max()
        assert 0.15 < largest <= 0.2, f"{name} reaches {largest:.3f}, 1/sqrt(H) is 0.2"


def test_lstm_memory_is_linear_in_time_and_at_most_12_arrays():
    """Peak of forward and backward together, in arrays of (B, T, H), x and dy aside."""
    B, D, H = 4, 8, 16
    peaks = {}
    for T in (100, 400):
        layer = LSTM(D, H, rng=0)
        x, dy = np.zeros((B, T, D), np.float32), np.zeros((B, T, H), np.float32)
        layer.backward(layer.forward(x) + dy)  # warm caches
        tracemalloc.start()
        layer.forward(x)
        layer.backward(dy)
        peaks[T] = tracemalloc.get_traced_memory()[1] / (B * T * H * 4)
        tracemalloc.stop()
    assert peaks[400] <= 12, f"peak of {peaks[400]:.1f} arrays of (B, T, H)"
    assert peaks[400] <= peaks[100] * 1.05, f"more than linear in T: {peaks}"


# Errors -----------------------------------------------------------------------------------------


def test_errors_say_what_came_and_what_was_expected():
    layer = LSTM(3, 4, rng=0)
    x = np.zeros((2, 5, 3), np.float32)
    with pytest.raises(ShapeError, match=r"x of LSTM must have shape \(batch, steps, 3\).*2, 5, 7"):
        layer.forward(np.zeros((2, 5, 7), np.float32))
    with pytest.raises(ShapeError, match=r"at least one of each, got \(2, 0, 3\)"):
        layer.forward(x[:, :0])
    with pytest.raises(ShapeError, match=r"state of LSTM must be 2 arrays"):
        layer.forward(x, np.zeros((2, 4)))
    with pytest.raises(ShapeError, match=r"state of LSTM must have shape \(2, 4\).*got \(2, 5\)"):
        layer.forward(x, (np.zeros((2, 5)), np.zeros((2, 5))))
    with pytest.raises(ShapeError, match=r"lengths must lie in 1..5 .*got \[0, 5\]"):
        layer.forward(x, lengths=np.array([0, 5]))
    with pytest.raises(ShapeError, match=r"lengths must lie in 1..5 .*got \[5, 6\]"):
        layer.forward(x, lengths=np.array([5, 6]))
    with pytest.raises(ShapeError, match="lengths must be 2 integers"):
        layer.forward(x, lengths=np.array([1.5, 2]))
    layer.forward(x)
    with pytest.raises(ShapeError, match=r"dy must have shape \(2, 5, 4\).*got \(2, 5, 3\)"):
        layer.backward(x)
    layer.forward(x)
    with pytest.raises(CallOrderError, match="forward was not given a state"):
        layer.backward(np.zeros((2, 5, 4), np.float32), layer.initial_state(2))
    with pytest.raises(ConfigError, match=r"one class and size, got LSTM\(3, 4\) and GRU\(3, 4\)"):
        Bidirectional(layer, GRU(3, 4))
    with pytest.raises(ConfigError, match="two layers"):
        Bidirectional(layer, layer)
    with pytest.raises(ConfigError, match="n_hidden must be an integer of at least 1, got 0"):
        RNN(3, 0)


# Learning ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", [GRU, GRUResetBefore, LSTM])
def test_learns_to_remember_the_first_step(cell):
    """The loss of recalling x_0 after 9 further steps falls at least tenfold."""
    rng = np.random.default_rng(0)
    layer = cell(2, 8, rng)
    optimizer = Adam(layer.parameters(), lr=0.02)
    losses = []
    for _ in range(200):
        x = rng.choice([-1.0, 1.0], (32, 10, 2)).astype(np.float32)
        x[:, 1:, 1] = 0  # the second feature speaks at the first step only
        layer.zero_grad()
        y = layer.forward(x)
        dy = np.zeros_like(y)
        loss, dy[:, -1, 0] = mse(y[:, -1, 0], 0.8 * x[:, 0, 1])
        layer.backward(dy)
        optimizer.step()
        losses.append(loss)
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) / 10, losses[::20]
