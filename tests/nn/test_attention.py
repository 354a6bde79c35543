"""Attention: values against four loops, gradients under every kind of mask, and its laws.

A layer with dropout is checked in tests/test_layer_contract.py; here dropout is 0 unless named.
"""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchaudio.errors import CallOrderError, ConfigError, ShapeError
from scratchaudio.nn import (
    Cache,
    MultiHeadAttention,
    attention_weights,
    causal_mask,
    padding_mask,
    rotary_angles,
    rotate,
    scaled_dot_product_attention,
    xavier_uniform,
)
from scratchaudio.nn.gradcheck import adjoint_error, check_gradients

seeds = st.integers(0, 2**32 - 1)
sizes = st.permutations([2, 3, 4, 5, 6, 7]).map(lambda p: p[:5])  # no two equal
BAD = [np.nan, np.inf, -np.inf, 1e30]


# Oracles: one sequence, one head, one query, one key at a time ------------------------------------


def attention_by_loops(q, k, v, mask):
    """(T, d), (S, d), (S, d') and bools (T, S) -> y (T, d') and A (T, S), in Python floats."""
    (T, d), S = q.shape, len(k)
    y, A = np.zeros((T, v.shape[1])), np.zeros((T, S))
    for t in range(T):
        visible = [s for s in range(S) if mask[t, s]]
        scores = {}
        for s in visible:
            scores[s] = sum(q[t, i] * k[s, i] for i in range(d)) / math.sqrt(d)
        total = sum(math.exp(score) for score in scores.values())
        for s in visible:
            A[t, s] = math.exp(scores[s]) / total
            for j in range(v.shape[1]):
                y[t, j] += A[t, s] * v[s, j]
    return y, A


def multi_head_by_loops(layer, x, memory, mask):
    """(T, D) and (S, D) -> y (T, D) and the weights of each head, from the layer's parameters."""
    d = x.shape[1] // layer.n_heads
    q, k, v = (
        source @ part.W.value + part.b.value
        for part, source in ((layer.query, x), (layer.key, memory), (layer.value, memory))
    )
    found, weights = [], []
    for head in range(layer.n_heads):
        columns = slice(head * d, (head + 1) * d)
        qh, kh, vh = q[:, columns], k[:, columns], v[:, columns]
        if layer.rotary:
            qh, kh = (rotate(part, rotary_angles(len(part), d)) for part in (qh, kh))
        y, A = attention_by_loops(qh, kh, vh, mask)
        found.append(y)
        weights.append(A)
    return np.concatenate(found, axis=1) @ layer.output.W.value + layer.output.b.value, weights


def drawn_layer(D, h, rng, **options):
    """A float64 layer with every parameter moved off its initial value."""
    layer = MultiHeadAttention(D, h, rng=rng, **options).astype(np.float64)
    for parameter in layer.parameters():
        parameter.value += 0.3 * rng.standard_normal(parameter.value.shape)
    return layer


def drawn_mask(kind, B, T, S, rng):
    """A mask of each kind, in the shape in which it is usually given."""
    padding = padding_mask(rng.integers(1, S + 1, B), S)
    if kind == "padding":
        return padding
    if kind == "causal":
        return np.tri(T, S, dtype=bool)
    if kind == "both":
        return np.tri(T, S, dtype=bool) & padding
    if kind == "random":
        return rng.random((B, T, S)) < 0.6
    if kind == "one row":
        return rng.random(S) < 0.6
    if kind == "nothing for some":
        mask = rng.random((B, T, S)) < 0.6
        mask[0], mask[1, -1] = False, False
        return mask
    return None


MASKS = ["none", "causal", "padding", "both", "random", "one row", "nothing for some"]


# Masks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("T", "S"), [(1, 1), (4, 4), (3, 7)])
def test_causal_mask_by_definition(T, S):
    mask = causal_mask(T, S)
    assert mask.dtype == bool and mask.shape == (T, S)
    for t in range(T):
        for s in range(S):
            assert mask[t, s] == (s <= t + S - T), "step t of the last T of S steps sees 0 ... it"
    np.testing.assert_array_equal(causal_mask(S), causal_mask(S, S))


def test_padding_mask_by_definition():
    lengths = [3, 0, 5, 1]
    mask = padding_mask(np.array(lengths), 5)
    assert mask.dtype == bool and mask.shape == (4, 1, 5)
    for b, length in enumerate(lengths):
        assert mask[b, 0].tolist() == [s < length for s in range(5)]
    both = causal_mask(5) & padding_mask(lengths, 5)
    assert both.shape == (4, 5, 5) and both[3].sum() == 5 and both[2].sum() == 15


# Values ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MASKS)
@given(sizes=sizes, seed=seeds)
def test_scaled_dot_product_attention_equals_four_loops(kind, sizes, seed):
    B, T, S, d, d_v = sizes
    rng = np.random.default_rng(seed)
    q, k, v = (rng.standard_normal((B, *shape)) for shape in ((T, d), (S, d), (S, d_v)))
    mask = drawn_mask(kind, B, T, S, rng)
    y, A = scaled_dot_product_attention(q, k, v, mask)
    seen = np.broadcast_to(True if mask is None else mask, (B, T, S))
    for b in range(B):
        expected_y, expected_A = attention_by_loops(q[b], k[b], v[b], seen[b])
        np.testing.assert_allclose(y[b], expected_y, rtol=0, atol=1e-13)
        np.testing.assert_allclose(A[b], expected_A, rtol=0, atol=1e-14)
    sums = A.sum(axis=-1)
    np.testing.assert_allclose(sums, seen.any(axis=-1), rtol=0, atol=1e-14)
    assert (A[~seen] == 0).all() and (A >= 0).all()
    np.testing.assert_array_equal(attention_weights(q, k, mask), A)


@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("kind", MASKS)
@settings(max_examples=25)
@given(seed=seeds, h=st.sampled_from([1, 2, 3]), cross=st.booleans())
def test_multi_head_attention_equals_four_loops(kind, rotary, seed, h, cross):
    B, T, D = 2, 4, 6 if h != 2 else 8
    S = 5 if cross and not rotary else T
    rng = np.random.default_rng(seed)
    layer = drawn_layer(D, h, rng, rotary=rotary)
    x, memory = rng.standard_normal((B, T, D)), None
    if S != T:
        memory = rng.standard_normal((B, S, D))
    mask = drawn_mask(kind, B, T, S, rng)
    weights = []
    y = layer.forward(x, memory, mask, weights)
    (A,) = weights
    assert A.shape == (B, h, T, S)
    seen = np.broadcast_to(True if mask is None else mask, (B, T, S))
    for b in range(B):
        source = x[b] if memory is None else memory[b]
        expected_y, expected_A = multi_head_by_loops(layer, x[b], source, seen[b])
        np.testing.assert_allclose(y[b], expected_y, rtol=0, atol=1e-12)
        np.testing.assert_allclose(A[b], expected_A, rtol=0, atol=1e-13)


def test_large_scores_do_not_overflow_and_float32_stays():
    q = 1e4 * np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32)
    for mask in (None, causal_mask(4), np.zeros((4, 4), bool)):
        y, A = scaled_dot_product_attention(q, q, q, mask)
        assert y.dtype == A.dtype == np.float32
        assert np.isfinite(y).all() and np.isfinite(A).all()


def test_arguments_are_not_changed():
    rng = np.random.default_rng(0)
    arrays = q, k, v, mask = *rng.standard_normal((3, 2, 4, 4)), causal_mask(4)
    copies = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    scaled_dot_product_attention(q, k, v, mask)
    for array, copied in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copied)


def test_scores_are_of_variance_one_for_random_queries_and_keys():
    """What the root of d is for: without it the variance would be d."""
    q, k = np.random.default_rng(0).standard_normal((2, 300, 64))
    A = attention_weights(q, k)
    scores = np.log(A)
    scores -= scores.mean(axis=-1, keepdims=True)
    assert scores.var() == pytest.approx(1, abs=0.05)


def test_initial_weights_are_those_of_torch():
    """Xavier, query, key and value being one matrix (D, 3D): sqrt(6 / 4D); 1/sqrt(D) at the end."""
    D = 48
    layer = MultiHeadAttention(D, 3, rng=0)
    for part, bound in (
        (layer.query, math.sqrt(6 / (4 * D))),
        (layer.key, math.sqrt(6 / (4 * D))),
        (layer.value, math.sqrt(6 / (4 * D))),
        (layer.output, 1 / math.sqrt(D)),
    ):
        assert 0.95 * bound < abs(part.W.value).max() <= bound
        assert part.W.value.dtype == np.float32
        np.testing.assert_array_equal(part.b.value, 0)
    assert abs(xavier_uniform((D, D), D, 3 * D, 0)).max() <= math.sqrt(6 / (4 * D))
    assert not np.array_equal(layer.query.W.value, layer.key.W.value)
    assert MultiHeadAttention(4, 2, dtype=np.float64).output.b.value.dtype == np.float64


# Gradients ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("form", ["self", "rotary", "cross"])
@settings(max_examples=8)
@given(seed=seeds)
def test_gradients(form, kind, seed):
    rng = np.random.default_rng(seed)
    B, T, D, h = 2, 3, 4, 2
    S = 5 if form == "cross" else T
    layer = drawn_layer(D, h, rng, rotary=form == "rotary")
    inputs = [rng.standard_normal((B, T, D))]
    if form == "cross":
        inputs.append(rng.standard_normal((B, S, D)))
    mask = drawn_mask(kind, B, T, S, rng)
    # A step that sees one step alone has the weight 1, whatever the scores.
    names = ["x", *(name for name, _ in layer.named_parameters())]
    worst = check_gradients(layer, *inputs, mask=mask, rng=rng, may_vanish=names)
    assert worst <= 1e-11


def test_gradients_flow_to_every_step_that_is_seen_and_to_no_other():
    rng = np.random.default_rng(0)
    layer = drawn_layer(6, 3, rng)
    x, memory = rng.standard_normal((2, 4, 6)), rng.standard_normal((2, 5, 6))
    mask = np.ones((2, 4, 5), bool)
    mask[0, :, 3] = mask[1, 2] = False  # step 3 of sequence 0 unseen; query 2 of sequence 1 blind
    y = layer.forward(x, memory, mask)
    dx, dmemory = layer.backward(rng.standard_normal(y.shape))
    no_gradient = {(int(b), int(s)) for b, s in np.argwhere((dmemory == 0).all(axis=-1))}
    assert no_gradient == {(0, 3)}
    assert {(int(b), int(t)) for b, t in np.argwhere((dx == 0).all(axis=-1))} == {(1, 2)}
    np.testing.assert_array_equal(y[1, 2], layer.output.b.value)


def test_values_are_a_linear_map_with_the_transpose_as_backward():
    """For fixed weights: A v and A^T dy."""
    rng = np.random.default_rng(0)
    q, k, v, dy = rng.standard_normal((4, 2, 5, 5))
    A = attention_weights(q, k)
    error = adjoint_error(
        lambda v: scaled_dot_product_attention(q, k, v)[0],
        lambda dy: A.swapaxes(-1, -2) @ dy,
        v,
        dy,
    )
    assert error <= 1e-14


# Laws --------------------------------------------------------------------------------------------


@given(seed=seeds)
def test_without_positions_steps_that_change_places_take_their_outputs_along(seed):
    rng = np.random.default_rng(seed)
    layer, x = drawn_layer(6, 3, rng), rng.standard_normal((2, 5, 6))
    order = rng.permutation(5)
    np.testing.assert_allclose(layer.forward(x[:, order]), layer.forward(x)[:, order], atol=1e-12)
    # The order of what is read does not matter at all.
    memory = rng.standard_normal((2, 7, 6))
    reordered = layer.forward(x, memory[:, rng.permutation(7)])
    np.testing.assert_allclose(reordered, layer.forward(x, memory), atol=1e-12)


def test_with_rotary_positions_they_do_not():
    rng = np.random.default_rng(0)
    layer, x = drawn_layer(6, 3, rng, rotary=True), rng.standard_normal((2, 5, 6))
    order = np.array([1, 0, 2, 3, 4])
    assert abs(layer.forward(x[:, order]) - layer.forward(x)[:, order]).max() >= 0.01


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("rotary", [False, True])
def test_the_future_does_not_reach_the_past(rotary, bad, training):
    rng = np.random.default_rng(1)
    layer = MultiHeadAttention(6, 3, rotary=rotary, rng=rng).train(training)
    x = rng.standard_normal((2, 7, 6)).astype(np.float32)
    y = layer.forward(x, mask=causal_mask(7))
    x[:, 4:] = bad
    with np.errstate(all="ignore"):
        changed = layer.forward(x, mask=causal_mask(7))
    np.testing.assert_array_equal(changed[:, :4], y[:, :4])
    if not np.isfinite(bad):
        assert np.isnan(changed[:, 4:]).all(), "those who see NaN must not hide it"


@pytest.mark.parametrize("bad", BAD)
def test_what_is_hidden_in_a_memory_is_not_seen(bad):
    rng = np.random.default_rng(1)
    layer = MultiHeadAttention(6, 3, rng=rng)
    x, memory = (rng.standard_normal((3, n, 6)).astype(np.float32) for n in (4, 5))
    mask = padding_mask([5, 2, 0], 5)
    y = layer.forward(x, memory, mask)
    memory[1, 2:] = memory[2] = bad
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(layer.forward(x, memory, mask), y)


@given(seed=seeds, more=st.integers(1, 4))
def test_padding_changes_nothing_and_gets_no_gradient(seed, more):
    rng = np.random.default_rng(seed)
    layer, x = drawn_layer(6, 3, rng), rng.standard_normal((2, 4, 6))
    dy = rng.standard_normal(x.shape)
    y = layer.forward(x)
    dx = layer.backward(dy)
    grads = [parameter.grad.copy() for parameter in layer.parameters()]
    padded, dy_padded = (np.pad(array, ((0, 0), (0, more), (0, 0))) for array in (x, dy))
    padded[:, 4:] = 100 * rng.standard_normal((2, more, 6))
    layer.zero_grad()
    y_padded = layer.forward(padded, mask=padding_mask([4, 4], 4 + more))
    dx_padded = layer.backward(dy_padded)
    np.testing.assert_allclose(y_padded[:, :4], y, rtol=0, atol=1e-12)
    np.testing.assert_allclose(dx_padded[:, :4], dx, rtol=0, atol=1e-12)
    assert (dx_padded[:, 4:] == 0).all()
    for parameter, grad in zip(layer.parameters(), grads, strict=True):
        np.testing.assert_allclose(parameter.grad, grad, rtol=0, atol=1e-11)


def test_dropout_of_weights_is_only_in_training_and_after_the_weights_are_shown():
    rng = np.random.default_rng(0)
    layer, x = drawn_layer(6, 3, rng, dropout=0.5), rng.standard_normal((2, 8, 6))
    shown = []
    first, second = layer.forward(x, weights=shown), layer.forward(x, weights=shown)
    assert abs(first - second).max() >= 0.01
    np.testing.assert_array_equal(*shown)
    np.testing.assert_allclose(shown[0].sum(axis=-1), 1, atol=1e-12)
    layer.eval()
    np.testing.assert_array_equal(layer.forward(x), layer.forward(x))
    mean = np.mean([layer.train().forward(x) for _ in range(1000)], axis=0)
    assert abs(mean - layer.eval().forward(x)).max() <= 0.3


# One step after another --------------------------------------------------------------------------

splits = st.lists(st.integers(1, 5), min_size=1, max_size=6)


@pytest.mark.parametrize("rotary", [False, True])
@given(seed=seeds, pieces=splits)
def test_cached_decoding_equals_one_causal_pass(rotary, seed, pieces):
    rng = np.random.default_rng(seed)
    T = sum(pieces)
    layer = drawn_layer(6, 3, rng, rotary=rotary, dropout=0.5).eval()
    x = rng.standard_normal((2, T, 6))
    whole = layer.forward(x, mask=causal_mask(T))
    cache = Cache()
    got = [layer.decode(part, cache) for part in np.split(x, np.cumsum(pieces)[:-1], axis=1)]
    np.testing.assert_allclose(np.concatenate(got, axis=1), whole, rtol=0, atol=1e-12)
    assert cache.n_steps == T


@given(seed=seeds, with_mask=st.booleans())
def test_recalling_equals_forward_with_the_memory(seed, with_mask):
    rng = np.random.default_rng(seed)
    layer = drawn_layer(6, 3, rng, dropout=0.5).eval()
    x, memory = rng.standard_normal((2, 4, 6)), rng.standard_normal((2, 5, 6))
    mask = padding_mask([3, 5], 5) if with_mask else None
    got = layer.recall(x, layer.remember(memory), mask)
    np.testing.assert_allclose(got, layer.forward(x, memory, mask), rtol=0, atol=1e-12)


@given(seed=seeds, pieces=splits)
def test_a_cache_holds_all_that_was_put_in(seed, pieces):
    rng = np.random.default_rng(seed)
    parts = [rng.standard_normal((2, 2, 3, n, 4)).astype(np.float32) for n in pieces]
    cache = Cache()
    for part in parts:
        k, v = cache.extend(*part)
    whole = np.concatenate(parts, axis=3)
    np.testing.assert_array_equal(k, whole[0])
    np.testing.assert_array_equal(v, whole[1])
    assert k.dtype == np.float32 and cache.n_steps == whole.shape[3]


def test_a_cache_grows_by_doubling():
    """Over 2000 steps: some new arrays, not 2000, and no more than twice the room in the end."""
    cache, k = Cache(), np.zeros((1, 1, 1, 64), np.float32)
    tracemalloc.start()
    array, n_arrays = None, 0
    for _ in range(2000):
        before, array = array, cache.extend(k, k)[0].base
        n_arrays += array is not before
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert n_arrays <= 12
    assert held <= 2 * (2 * 2100) * 64 * 4


# Errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((7, 2), "n_heads must divide d_model.*got n_heads=2 and d_model=7"),
        ((0, 1), "d_model must be an integer of at least 1, got 0"),
        ((4, 0), "n_heads must be an integer of at least 1, got 0"),
        ((6, 2, 0.0, True), "rotary positions turn pairs of features.* = 3"),
        ((4, 2, 1.0), r"p must lie in 0\.\.1"),
    ],
)
def test_impossible_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        MultiHeadAttention(*settings)


def test_inputs_of_wrong_shape():
    layer, x = MultiHeadAttention(4, 2, rng=0), np.zeros((2, 3, 4), np.float32)
    for wrong in (x[0], x[..., :3], x[:, :0], x[:0]):
        with pytest.raises(ShapeError, match=r"x of MultiHeadAttention must have shape \(batch, "):
            layer.forward(wrong)
    for wrong in (x[0], x[..., :3], x[:, :0]):
        with pytest.raises(ShapeError, match=r"memory of MultiHeadAttention must have shape \(bat"):
            layer.forward(x, wrong)
    with pytest.raises(ShapeError, match=r"one batch size, got \(2, 3, 4\) and \(1, 3, 4\)"):
        layer.forward(x, x[:1])
    rotary = MultiHeadAttention(4, 2, rotary=True)
    with pytest.raises(ConfigError, match="queries and keys of one sequence: no memory"):
        rotary.forward(x, x)


def test_masks_of_wrong_shape_or_dtype():
    layer, x = MultiHeadAttention(4, 2, rng=0), np.zeros((2, 3, 4), np.float32)
    for mask in (np.ones((3, 3)), np.zeros((3, 3), int), np.zeros((3, 3), np.float32)):
        with pytest.raises(ShapeError, match="mask must be bool, True where a step may look, got"):
            layer.forward(x, mask=mask)
        with pytest.raises(ShapeError, match="mask must be bool"):
            scaled_dot_product_attention(x, x, x, mask)
    for shape in [(3, 4), (2, 3), (3, 1, 3), (1, 2, 3, 3)]:
        mask = np.ones(shape, bool)
        with pytest.raises(
            ShapeError, match=r"broadcast to \(batch, queries, keys\) = \(2, 3, 3\)"
        ):
            layer.forward(x, mask=mask)
        with pytest.raises(ShapeError, match=r"must broadcast to .*\(2, 3, 3\), got \("):
            scaled_dot_product_attention(x, x, x, mask)
        with pytest.raises(ShapeError, match=r"\(2, 3, 3\), got \("):
            layer.eval().recall(x, layer.remember(x), mask)
        layer.train()


@pytest.mark.parametrize(
    ("q", "k", "v"),
    [
        ((2, 3, 4), (2, 5, 6), (2, 5, 7)),
        ((2, 3, 4), (2, 5, 4), (2, 6, 7)),
        ((4,), (5, 4), (5, 7)),
        ((3, 4), (4,), (5, 7)),
        ((3, 4), (5, 4), (5,)),
        ((2, 3, 4), (3, 5, 4), (3, 5, 7)),
        ((2, 3, 4), (2, 5, 4), (3, 5, 7)),
        ((2, 3, 4), (2, 0, 4), (2, 0, 7)),
    ],
)
def test_attention_of_arrays_that_do_not_fit(q, k, v):
    for mask in (None, np.ones((1, 1), bool)):
        with pytest.raises(ShapeError, match=r"q must be \(\.\.\., T, d\), k .*, got q \("):
            scaled_dot_product_attention(np.zeros(q), np.zeros(k), np.zeros(v), mask)


def test_impossible_masks():
    with pytest.raises(ConfigError, match="n_queries must be an integer of at least 1, got 0"):
        causal_mask(0)
    with pytest.raises(ConfigError, match="n_keys must be an integer of at least 1, got 2.5"):
        causal_mask(2, 2.5)
    with pytest.raises(ConfigError, match="n_keys must be at least n_queries.*got 2 .* 3"):
        causal_mask(3, 2)
    with pytest.raises(ConfigError, match="n_keys must be an integer"):
        padding_mask([1], 0)
    for lengths in ([-1, 2], [1, 6]):
        with pytest.raises(ShapeError, match=r"lengths must lie in 0\.\.5, got \["):
            padding_mask(lengths, 5)
    for lengths in ([1.0, 2.0], [[1, 2]], 3):
        with pytest.raises(ShapeError, match=r"lengths must be integers of shape \(batch,\)"):
            padding_mask(np.array(lengths), 5)


def test_decoding_is_for_evaluation_and_for_one_batch():
    layer, x = MultiHeadAttention(4, 2, rng=0), np.zeros((2, 3, 4), np.float32)
    with pytest.raises(CallOrderError, match=r"decode is for evaluation: call eval\(\) first"):
        layer.decode(x, Cache())
    with pytest.raises(CallOrderError, match=r"remember is for evaluation: call eval\(\) first"):
        layer.remember(x)
    remembered, cache = layer.eval().remember(x), Cache()
    with pytest.raises(CallOrderError, match="recall is for evaluation"):
        layer.train().recall(x, remembered)
    layer.eval().decode(x, cache)
    for other in (x[:1], np.zeros((3, 1, 4), np.float32)):
        with pytest.raises(ShapeError, match=r"batch of 2, got \([13], 2, \d, 2\)"):
            layer.decode(other, cache)
        with pytest.raises(ShapeError, match=r"batch of 2, got \([13], \d, 4\)"):
            layer.recall(other, remembered)
    for call in (lambda x: layer.decode(x, cache), lambda x: layer.recall(x, remembered)):
        with pytest.raises(ShapeError, match="x of MultiHeadAttention"):
            call(x[..., :3])
    with pytest.raises(ShapeError, match="memory of MultiHeadAttention"):
        layer.remember(x[..., :3])


def test_sharp_attention_has_no_denormal_weights():
    """They would make every later product a hundred times slower, and nobody would know why."""
    q = np.linspace(-60, 60, 241, dtype=np.float32)[:, None]
    A = attention_weights(q, q)
    tiny = A[(A != 0) & (A < 1e-21)]
    assert tiny.size == 0, f"{tiny.size} weights below 1e-21"
    assert (A == 0).any() and (A == 0).mean() < 1
    np.testing.assert_allclose(A.sum(axis=-1), 1, rtol=1e-5)
