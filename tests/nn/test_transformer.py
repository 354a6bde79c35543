"""Transformer blocks and stacks: values step by step, causality, padding, decoding, learning.

Every gradient, dropout included, is checked in tests/test_layer_contract.py.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchaudio.errors import CallOrderError, ConfigError, ShapeError
from scratchaudio.nn import (
    GELU,
    Adam,
    DecoderBlock,
    EncoderBlock,
    Linear,
    ReLU,
    Sequential,
    Tanh,
    Transformer,
    TransformerDecoder,
    TransformerEncoder,
    causal_mask,
    feed_forward,
    mse,
    padding_mask,
    scaled_dot_product_attention,
    sinusoidal_positions,
)
from scratchaudio.nn.gradcheck import check_gradients
from scratchaudio.testing import RepeatingGenerator

seeds = st.integers(0, 2**32 - 1)
BAD = [np.nan, np.inf, 1e30]
B, T, S, D, H, D_FF = 2, 5, 4, 6, 3, 7
FORMS = [
    {"norm_first": norm_first, "rotary": rotary}
    for norm_first in (False, True)
    for rotary in (False, True)
]


def drawn(kind, rng, *sizes, dropout=0.0, **options):
    """A float64 layer with every parameter moved off its initial value."""
    layer = kind(D, H, *sizes, d_ff=D_FF, dropout=dropout, rng=rng, **options).astype(np.float64)
    for parameter in layer.parameters():
        parameter.value += 0.2 * rng.standard_normal(parameter.value.shape)
    return layer


# Values ------------------------------------------------------------------------------------------


def linear(layer, row):
    return row @ layer.W.value + layer.b.value


def normed(layer, row):
    centred = row - row.sum() / row.size
    return layer.gamma.value * centred / np.sqrt((centred**2).mean() + 1e-5) + layer.beta.value


def attended(layer, row, rows, visible):
    """What one step (D,) finds in the rows (S, D) that it may see, head by head."""
    d = D // layer.n_heads
    q, k, v = linear(layer.query, row), linear(layer.key, rows), linear(layer.value, rows)
    parts = []
    for head in range(layer.n_heads):
        i = slice(head * d, (head + 1) * d)
        e = np.array([np.exp(q[i] @ k[s, i] / np.sqrt(d)) for s in visible])
        parts.append(sum(e[n] * v[s, i] for n, s in enumerate(visible)) / e.sum())
    return linear(layer.output, np.concatenate(parts))


def fed_forward(layer, row):
    first, _, _, last = layer.layers
    return linear(last, np.maximum(linear(first, row), 0))


def encoder_block_by_steps(block, x, visible):
    """One sequence (T, D), each step on its own, as in figure 1 of either paper."""
    if block.norm_first:
        rows = np.array([normed(block.norm1, row) for row in x])
        x = [x[t] + attended(block.attention, rows[t], rows, visible(t)) for t in range(len(x))]
        return [row + fed_forward(block.feed_forward, normed(block.norm2, row)) for row in x]
    x = [x[t] + attended(block.attention, x[t], x, visible(t)) for t in range(len(x))]
    x = [normed(block.norm1, row) for row in x]
    return [normed(block.norm2, row + fed_forward(block.feed_forward, row)) for row in x]


def decoder_block_by_steps(block, x, memory):
    everything = range(len(memory))
    look, cross = block.self_attention, block.cross_attention
    if block.norm_first:
        rows = np.array([normed(block.norm1, row) for row in x])
        x = [x[t] + attended(look, rows[t], rows, range(t + 1)) for t in range(len(x))]
        x = [row + attended(cross, normed(block.norm2, row), memory, everything) for row in x]
        return [row + fed_forward(block.feed_forward, normed(block.norm3, row)) for row in x]
    x = [x[t] + attended(look, x[t], x, range(t + 1)) for t in range(len(x))]
    x = [normed(block.norm1, row) for row in x]
    x = [normed(block.norm2, row + attended(cross, row, memory, everything)) for row in x]
    return [normed(block.norm3, row + fed_forward(block.feed_forward, row)) for row in x]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("norm_first", [False, True])
@settings(max_examples=15)
@given(seed=seeds)
def test_an_encoder_block_step_by_step(norm_first, causal, seed):
    rng = np.random.default_rng(seed)
    block = drawn(EncoderBlock, rng, norm_first=norm_first)
    x = rng.standard_normal((B, T, D))
    y = block.forward(x, causal_mask(T) if causal else None)
    for b in range(B):
        visible = (lambda t: range(t + 1)) if causal else (lambda t: range(T))
        expected = encoder_block_by_steps(block, x[b], visible)
        np.testing.assert_allclose(y[b], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm_first", [False, True])
@settings(max_examples=15)
@given(seed=seeds)
def test_a_decoder_block_step_by_step(norm_first, seed):
    rng = np.random.default_rng(seed)
    block = drawn(DecoderBlock, rng, norm_first=norm_first)
    x, memory = rng.standard_normal((B, T, D)), rng.standard_normal((B, S, D))
    y = block.forward(x, memory)
    for b in range(B):
        expected = decoder_block_by_steps(block, x[b], memory[b])
        np.testing.assert_allclose(y[b], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm_first", [False, True])
def test_stacks_are_blocks_in_a_row_and_a_last_norm_if_pre_norm(norm_first):
    rng = np.random.default_rng(0)
    model = drawn(Transformer, rng, 2, norm_first=norm_first)
    source, target = rng.standard_normal((B, S, D)), rng.standard_normal((B, T, D))
    mask = padding_mask([S, 2], S)
    memory = source
    for block in model.encoder.blocks:
        memory = block.forward(memory, mask)
    y = target
    if norm_first:
        memory = np.array([[normed(model.encoder.norm, row) for row in rows] for rows in memory])
    for block in model.decoder.blocks:
        y = block.forward(y, memory, None, mask)
    if norm_first:
        y = np.array([[normed(model.decoder.norm, row) for row in rows] for rows in y])
    np.testing.assert_allclose(model.forward(source, target, mask), y, rtol=0, atol=1e-12)
    assert (model.encoder.norm is None) == (model.decoder.norm is None) == (not norm_first)
    assert len(model.encoder.blocks) == len(model.decoder.blocks) == 2


@pytest.mark.parametrize("activation", [ReLU, GELU, Tanh])
def test_feed_forward_is_two_linear_layers_for_each_step(activation):
    rng = np.random.default_rng(0)
    layer = feed_forward(D, D_FF, 0.0, activation, rng).astype(np.float64)
    x = rng.standard_normal((B, T, D))
    hidden = activation().forward(linear(layer.layers[0], x))
    np.testing.assert_allclose(layer.forward(x), linear(layer.layers[3], hidden), atol=1e-12)


def test_defaults_are_those_of_torch():
    block = TransformerEncoder(8, 2, 1, rng=0).blocks[0]
    assert block.feed_forward.layers[0].W.value.shape == (8, 2048)
    assert type(block.feed_forward.layers[1]) is ReLU
    assert not block.norm_first and block.norm1.eps == 1e-5
    dropouts = block.attention.dropout, block.dropout1, block.dropout2, block.feed_forward.layers[2]
    assert [dropout.p for dropout in dropouts] == [0.1] * 4
    assert block.attention.rotary is False
    decoder = TransformerDecoder(8, 2, 1, rotary=True, rng=0).blocks[0]
    assert decoder.self_attention.rotary and not decoder.cross_attention.rotary
    parts = decoder.self_attention, decoder.cross_attention
    assert [part.dropout.p for part in parts] == [0.1, 0.1]
    assert [d.p for d in (decoder.dropout1, decoder.dropout2, decoder.dropout3)] == [0.1] * 3


def test_layers_of_a_stack_start_with_different_weights():
    model = Transformer(D, H, 2, d_ff=D_FF, rng=0)
    values = [p.value for p in model.parameters() if p.value.shape == (D, D)]
    assert len(values) == 2 * 4 + 2 * 8
    assert len({value.tobytes() for value in values}) == len(values)


# Gradients with ReLU, far from its kink, and with one noise for all -------------------------------


@pytest.mark.parametrize("norm_first", [False, True])
def test_gradients_with_dropout_and_the_same_noise(norm_first):
    layer = DecoderBlock(4, 2, 5, 0.3, Tanh, norm_first, rotary=True, rng=RepeatingGenerator(1))
    rng = np.random.default_rng(0)
    x, memory = rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 5, 4))
    may_vanish = ("cross_attention.key.b",)
    assert check_gradients(layer, x, memory, rng=rng, may_vanish=may_vanish) <= 1e-11


# What sees what ----------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("form", FORMS)
def test_the_future_does_not_reach_the_past(form, bad):
    rng = np.random.default_rng(0)
    encoder, decoder = (
        drawn(TransformerEncoder, rng, 2, **form),
        drawn(TransformerDecoder, rng, 2, **form),
    )
    x, memory = rng.standard_normal((B, T, D)), rng.standard_normal((B, S, D))
    before = encoder.forward(x, causal_mask(T)), decoder.forward(x, memory)
    x[:, 3:] = bad
    with np.errstate(all="ignore"):
        after = encoder.forward(x, causal_mask(T)), decoder.forward(x, memory)
    for got, expected in zip(after, before, strict=True):
        np.testing.assert_array_equal(got[:, :3], expected[:, :3])


def test_an_encoder_without_mask_sees_the_future_and_a_decoder_given_a_mask_uses_it():
    rng = np.random.default_rng(0)
    encoder, decoder = drawn(TransformerEncoder, rng, 1), drawn(TransformerDecoder, rng, 1)
    x, memory = rng.standard_normal((B, T, D)), rng.standard_normal((B, S, D))
    everything = np.ones((T, T), bool)
    before = encoder.forward(x), decoder.forward(x, memory, everything)
    x[:, -1] = 0
    after = encoder.forward(x), decoder.forward(x, memory, everything)
    for got, expected in zip(after, before, strict=True):
        assert (abs(got - expected).max(axis=-1) > 1e-6).all()


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=10)
@given(seed=seeds, more=st.integers(1, 3))
def test_padding_changes_nothing_and_gets_no_gradient(form, seed, more):
    rng = np.random.default_rng(seed)
    model = drawn(Transformer, rng, 2, **form)
    source, target = rng.standard_normal((B, S, D)), rng.standard_normal((B, T, D))
    y = model.forward(source, target)
    dy = rng.standard_normal(y.shape)
    expected = model.backward(dy)
    grads = [parameter.grad.copy() for parameter in model.parameters()]

    padded = [
        np.concatenate([array, 10 * rng.standard_normal((B, more, D))], axis=1)
        for array in (source, target)
    ]
    model.zero_grad()
    got = model.forward(*padded, padding_mask([S, S], S + more))
    np.testing.assert_allclose(got[:, :T], y, rtol=0, atol=1e-10)
    dpadded = model.backward(np.pad(dy, ((0, 0), (0, more), (0, 0))))
    for dx, dx_expected in zip(dpadded, expected, strict=True):
        n = dx_expected.shape[1]
        np.testing.assert_allclose(dx[:, :n], dx_expected, rtol=0, atol=1e-10)
        assert (dx[:, n:] == 0).all(), "a step behind the end got a gradient"
    for parameter, grad in zip(model.parameters(), grads, strict=True):
        np.testing.assert_allclose(parameter.grad, grad, rtol=0, atol=1e-9)


@given(seed=seeds)
@settings(max_examples=20)
def test_steps_that_change_places_take_their_outputs_along(seed):
    rng = np.random.default_rng(seed)
    encoder, x = drawn(TransformerEncoder, rng, 2), rng.standard_normal((B, T, D))
    order = rng.permutation(T)
    np.testing.assert_allclose(
        encoder.forward(x[:, order]), encoder.forward(x)[:, order], atol=1e-10
    )


def test_with_positions_they_do_not():
    rng = np.random.default_rng(0)
    x, order = rng.standard_normal((B, T, D)), np.array([1, 0, 2, 3, 4])
    rotary = drawn(TransformerEncoder, rng, 2, rotary=True)
    assert abs(rotary.forward(x[:, order]) - rotary.forward(x)[:, order]).max() >= 0.01
    plain, P = drawn(TransformerEncoder, rng, 2), sinusoidal_positions(T, D)
    assert abs(plain.forward(x[:, order] + P) - plain.forward(x + P)[:, order]).max() >= 0.01


def test_weights_are_shown_block_by_block():
    rng = np.random.default_rng(0)
    model = drawn(Transformer, rng, 3)
    source, target = rng.standard_normal((B, S, D)), rng.standard_normal((B, T, D))
    seen, looked = [], []
    memory = model.encoder.forward(source, padding_mask([S, 2], S), seen)
    model.decoder.forward(target, memory, None, padding_mask([S, 2], S), looked)
    assert [A.shape for A in seen] == [(B, H, S, S)] * 3
    assert [A.shape for A in looked] == [(B, H, T, S)] * 3
    for A in seen + looked:
        np.testing.assert_allclose(A.sum(axis=-1), 1, atol=1e-12)
        assert (A[1, :, :, 2:] == 0).all()
    first = model.encoder.blocks[0].attention
    q, k = (linear(part, source)[..., :2] for part in (first.query, first.key))  # head 0
    _, A = scaled_dot_product_attention(q, k, k, padding_mask([S, 2], S))
    np.testing.assert_allclose(seen[0][:, 0], A, atol=1e-12)


# One step after another --------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=15)
@given(seed=seeds, pieces=st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_decoding_in_pieces_equals_one_pass(form, seed, pieces):
    rng = np.random.default_rng(seed)
    n = sum(pieces)
    encoder = drawn(TransformerEncoder, rng, 2, dropout=0.4, **form).eval()
    decoder = drawn(TransformerDecoder, rng, 2, dropout=0.4, **form).eval()
    x, memory = rng.standard_normal((B, n, D)), rng.standard_normal((B, S, D))
    mask = padding_mask([S, 2], S)
    caches, state = encoder.start(), decoder.start(memory)
    parts = np.split(x, np.cumsum(pieces)[:-1], axis=1)
    encoded = [encoder.decode(part, caches) for part in parts]
    decoded = [decoder.decode(part, state, mask) for part in parts]
    whole = encoder.forward(x, causal_mask(n))
    np.testing.assert_allclose(np.concatenate(encoded, axis=1), whole, rtol=0, atol=1e-10)
    whole = decoder.forward(x, memory, memory_mask=mask)
    np.testing.assert_allclose(np.concatenate(decoded, axis=1), whole, rtol=0, atol=1e-10)


def test_decoding_keeps_float32_and_needs_evaluation():
    model = Transformer(D, H, 1, d_ff=D_FF, rng=0)
    x = np.ones((B, 1, D), np.float32)
    for decode in (
        lambda: model.decoder.start(x),
        lambda: model.encoder.decode(x, model.encoder.start()),
    ):
        with pytest.raises(CallOrderError, match=r"for evaluation: call eval\(\) first"):
            decode()
    model.eval()
    assert model.encoder.decode(x, model.encoder.start()).dtype == np.float32
    assert model.decoder.decode(x, model.decoder.start(x)).dtype == np.float32


# Errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [TransformerEncoder, TransformerDecoder, Transformer])
def test_impossible_settings(kind):
    with pytest.raises(ConfigError, match="n_layers must be an integer of at least 1, got 0"):
        kind(6, 3, 0)
    with pytest.raises(ConfigError, match="n_heads must divide d_model"):
        kind(6, 4, 1)
    with pytest.raises(ConfigError, match=r"p must lie in 0\.\.1"):
        kind(6, 3, 1, dropout=1.0)
    with pytest.raises(ConfigError, match="n_out must be an integer of at least 1, got 0"):
        kind(6, 3, 1, d_ff=0)
    with pytest.raises(ConfigError, match="rotary positions turn pairs"):
        kind(6, 2, 1, rotary=True)


def test_inputs_of_wrong_shape():
    model = Transformer(D, H, 1, d_ff=D_FF, rng=0)
    x = np.ones((B, T, D), np.float32)
    with pytest.raises(ShapeError, match=r"x of MultiHeadAttention .*got \(2, 5, 4\)"):
        model.forward(x[..., :4], x)
    with pytest.raises(ShapeError, match=r"one batch size, got \(1, 5, 6\) and \(2, 5, 6\)"):
        model.forward(x, x[:1])
    with pytest.raises(ShapeError, match="mask must be bool"):
        model.forward(x, x, np.ones((T, T)))


# Learning ----------------------------------------------------------------------------------------


def losses_of(model, batches, lr=3e-3):
    """Train `model` on (inputs, target) pairs; the loss of each step."""
    optimizer = Adam(model.parameters(), lr=lr)
    losses = []
    for inputs, target in batches:
        model.zero_grad()
        loss, dy = mse(model.forward(*inputs), target)
        model.backward(dy)
        optimizer.step()
        losses.append(loss)
    return losses


def require_tenfold(losses):
    assert np.mean(losses[-10:]) <= np.mean(losses[:10]) / 10, losses[::20]


@pytest.mark.parametrize("norm_first", [False, True])
def test_a_causal_encoder_with_rotary_positions_learns_to_look_three_steps_back(norm_first):
    rng = np.random.default_rng(0)

    class LooksBack(Sequential):
        def forward(self, x):
            first, encoder, last = self.layers
            y = encoder.forward(first.forward(x), causal_mask(x.shape[1]))
            return last.forward(y)

    encoder = TransformerEncoder(
        16, 2, 1, 32, dropout=0.0, norm_first=norm_first, rotary=True, rng=rng
    )
    model = LooksBack(Linear(2, 16, rng=rng), encoder, Linear(16, 2, rng=rng))

    def batches():
        for _ in range(400):
            x = rng.standard_normal((16, 12, 2)).astype(np.float32)
            x[:, :3] = 0
            target = np.concatenate([np.zeros((16, 3, 2), np.float32), x[:, :-3]], axis=1)
            yield (x,), target

    require_tenfold(losses_of(model, batches(), lr=1e-2))


def test_encoder_and_decoder_learn_to_reverse_a_sequence():
    rng, n = np.random.default_rng(0), 6
    d = 16

    class Reverses(Transformer):
        """Queries are positions alone: what is at the other end must come from the memory."""

        def forward(self, source):
            P = sinusoidal_positions(n, d)
            return super().forward(source + P, np.broadcast_to(P, source.shape))

        def backward(self, dy):
            return super().backward(dy)[0]

    model = Sequential(
        Linear(2, d, rng=rng),
        Reverses(d, 2, 1, 32, dropout=0.0, norm_first=True, rng=rng),
        Linear(d, 2, rng=rng),
    )

    def batches():
        for _ in range(400):
            x = rng.standard_normal((16, n, 2)).astype(np.float32)
            yield (x,), np.ascontiguousarray(x[:, ::-1])

    require_tenfold(losses_of(model, batches(), lr=5e-3))
