"""The two small Transformers of the demo: values by slow loops, gradients, causality, use."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchaudio import nn
from scratchaudio.errors import ConfigError, ShapeError
from scratchaudio.models import SpectrogramSeq2Seq, SpectrogramTransformer
from scratchaudio.testing import RepeatingGenerator, check_layer

B, T, F, D, H, D_FF = 3, 5, 7, 6, 2, 8
seeds = st.integers(0, 2**32 - 1)


def encoder(mask=False, positions=False, dropout=0.0, rng=0, n_layers=2):
    return SpectrogramTransformer(F, D, H, n_layers, D_FF, dropout, mask, positions, rng)


def seq2seq(mask=False, dropout=0.0, rng=0, n_layers=2):
    return SpectrogramSeq2Seq(F, D, H, n_layers, D_FF, dropout, mask, rng)


def moved(model, seed=1):
    """The model with all parameters moved off their initial values, such as biases of 0."""
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        parameter.value += 0.3 * rng.standard_normal(parameter.value.shape).astype(np.float32)
    return model


def magnitudes(*shape, seed=0):
    return np.abs(np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


# What they compute, literally -----------------------------------------------------------------


class Literal:
    """The equations of both networks, number by number in float64, from a state_dict."""

    def __init__(self, model):
        self.p = {name: value.astype(np.float64) for name, value in model.state_dict().items()}

    def linear(self, name, x):
        return x @ self.p[f"{name}.W"] + self.p[f"{name}.b"]

    def norm(self, name, x):
        x = (x - x.mean()) / math.sqrt(((x - x.mean()) ** 2).mean() + 1e-5)
        return self.p[f"{name}.gamma"] * x + self.p[f"{name}.beta"]

    def attention(self, name, asking, asked):
        """Each vector of `asking` looks at the list `asked[t]` of vectors."""
        result, d = [], D // H
        for x, others in zip(asking, asked, strict=True):
            heads = []
            for h in range(H):
                part = slice(h * d, (h + 1) * d)
                q = self.linear(f"{name}.query", x)[part]
                scores = [self.linear(f"{name}.key", o)[part] @ q / math.sqrt(d) for o in others]
                shares = [math.exp(score) for score in scores]
                values = [self.linear(f"{name}.value", o)[part] for o in others]
                total = sum(shares)
                heads.append(sum(a / total * v for a, v in zip(shares, values, strict=True)))
            result.append(self.linear(f"{name}.output", np.concatenate(heads)))
        return result

    def feed_forward(self, name, x):
        hidden = np.maximum(self.linear(f"{name}.feed_forward.layers.0", x), 0)
        return self.linear(f"{name}.feed_forward.layers.3", hidden)

    def encode(self, name, h, n_layers):
        for k in range(n_layers):
            block = f"{name}.blocks.{k}"
            found = self.attention(f"{block}.attention", h, [h] * len(h))
            h = [self.norm(f"{block}.norm1", x + f) for x, f in zip(h, found, strict=True)]
            h = [self.norm(f"{block}.norm2", x + self.feed_forward(block, x)) for x in h]
        return h

    def decode(self, name, h, memory, n_layers):
        for k in range(n_layers):
            block = f"{name}.blocks.{k}"
            past = [h[: t + 1] for t in range(len(h))]
            found = self.attention(f"{block}.self_attention", h, past)
            h = [self.norm(f"{block}.norm1", x + f) for x, f in zip(h, found, strict=True)]
            found = self.attention(f"{block}.cross_attention", h, [memory] * len(h))
            h = [self.norm(f"{block}.norm2", x + f) for x, f in zip(h, found, strict=True)]
            h = [self.norm(f"{block}.norm3", x + self.feed_forward(block, x)) for x in h]
        return h

    def head(self, h, noisy, mask):
        z = np.array([self.linear("output", x) for x in h])
        return noisy / (1 + np.exp(-z)) if mask else z


def position(t):
    """Sines and cosines of step t, feature by feature."""
    angles = [t / 10000 ** (2 * (i // 2) / D) for i in range(D)]
    return np.array([math.cos(a) if i % 2 else math.sin(a) for i, a in enumerate(angles)])


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("positions", [False, True])
def test_the_encoder_computes_its_equations(mask, positions):
    model = moved(encoder(mask, positions)).eval()
    literal = Literal(model)
    noisy = magnitudes(B, T, F)
    y = model.forward(noisy)
    for x, got in zip(noisy.astype(np.float64), y, strict=True):
        h = [literal.linear("input", frame) for frame in x]
        if positions:
            h = [v + position(t) for t, v in enumerate(h)]
        expected = literal.head(literal.encode("encoder", h, 2), x, mask)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mask", [False, True])
def test_the_encoder_decoder_computes_its_equations(mask):
    model = moved(seq2seq(mask)).eval()
    literal = Literal(model)
    noisy, clean = magnitudes(B, T, F), magnitudes(B, T, F, seed=1)
    y = model.forward(noisy, clean)
    for x, s, got in zip(noisy.astype(np.float64), clean.astype(np.float64), y, strict=True):
        source = [literal.linear("input", frame) + position(t) for t, frame in enumerate(x)]
        before = [np.zeros(F), *s[:-1]]
        target = [literal.linear("previous", f) + position(t) for t, f in enumerate(before)]
        memory = literal.encode("transformer.encoder", source, 2)
        decoded = literal.decode("transformer.decoder", target, memory, 2)
        np.testing.assert_allclose(got, literal.head(decoded, x, mask), rtol=1e-4, atol=1e-4)


# Gradients and the contract -----------------------------------------------------------------------


def each(layer, kind):
    found = [layer] if isinstance(layer, kind) else []
    return found + [inner for _, child in layer.children() for inner in each(child, kind)]


def measurable(model):
    """The model with still noise, and a smooth activation for the complex step."""
    for hidden in each(model, nn.Sequential):
        assert isinstance(hidden.layers[1], nn.ReLU)
        hidden.layers[1] = nn.Tanh()
    for place, dropout in enumerate(each(model, nn.Dropout)):
        dropout.rng = RepeatingGenerator(place)
    return model


@pytest.mark.parametrize(
    ("make", "n_inputs"),
    [
        (lambda rng: encoder(False, True, 0.3, rng, 1), 1),
        (lambda rng: encoder(True, False, 0.3, rng, 2), 1),
        (lambda rng: seq2seq(False, 0.3, rng, 1), 2),
        (lambda rng: seq2seq(True, 0.3, rng, 1), 2),
    ],
    ids=["mapping with positions", "mask", "encoder-decoder mapping", "encoder-decoder mask"],
)
def test_contract_and_gradients(make, n_inputs):
    names = [name for name, _ in make(0).named_parameters()]
    key_biases = [name for name in names if name.endswith("key.b")]  # softmax does not see them
    laws = check_layer(
        lambda rng: measurable(make(rng)),
        *[(2, 3, F)] * n_inputs,
        may_vanish=key_biases,
    )
    assert len(laws) >= 17, f"only {len(laws)} laws were checked"


@pytest.mark.parametrize("kind", ["mapping", "mask", "encoder-decoder"])
def test_it_learns_a_clip_by_heart(kind):
    rng = np.random.default_rng(0)
    clean = 3 * np.abs(rng.standard_normal((1, 12, F)).astype(np.float32))
    noisy = clean + np.abs(rng.standard_normal(clean.shape).astype(np.float32))
    model = {"mapping": encoder(), "mask": encoder(mask=True), "encoder-decoder": seq2seq()}[kind]
    inputs = (noisy, clean) if kind == "encoder-decoder" else (noisy,)
    optimizer = nn.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(250):
        model.zero_grad()
        loss, dy = nn.mse(model.forward(*inputs), clean)
        model.backward(dy)
        optimizer.step()
        losses.append(loss)
    assert losses[-1] <= losses[0] / 10, (losses[0], losses[-1])


# What each frame may know -------------------------------------------------------------------------


def test_without_positions_a_spectrogram_is_a_set_of_frames():
    order = np.array([3, 0, 4, 1, 2])
    noisy = magnitudes(B, T, F)
    for mask in (False, True):
        model = moved(encoder(mask)).eval()
        shuffled = model.forward(noisy[:, order])
        np.testing.assert_allclose(shuffled, model.forward(noisy)[:, order], atol=1e-5)
    model = moved(encoder(positions=True)).eval()
    change = np.abs(model.forward(noisy[:, order]) - model.forward(noisy)[:, order]).max()
    assert change >= 1e-2


@given(seed=seeds, t=st.integers(0, T - 1))
@settings(max_examples=20, deadline=None)
def test_a_frame_is_written_from_the_clean_frames_before_and_all_noisy_ones(seed, t):
    model = moved(seq2seq(), seed).eval()
    noisy, clean = magnitudes(B, T, F, seed=seed), magnitudes(B, T, F, seed=seed + 1)
    y = model.forward(noisy, clean)
    changed = clean.copy()
    changed[:, t] += 5
    difference = np.abs(model.forward(noisy, changed) - y).max(axis=(0, 2))  # (T,)
    assert (difference[: t + 1] == 0).all(), "a frame saw itself or the future"
    assert (difference[t + 1 :] > 1e-6).all(), "a frame did not see the past"
    louder = noisy.copy()
    louder[:, t] += 5
    assert (np.abs(model.forward(louder, clean) - y).max(axis=(0, 2)) > 1e-6).all()


@given(seed=seeds, mask=st.booleans(), n_frames=st.integers(1, 20), n_clips=st.integers(1, 3))
@settings(max_examples=15, deadline=None)
def test_generate_is_forward_on_what_it_wrote_before(seed, mask, n_frames, n_clips):
    """The slow way: the whole network anew for every frame, on all that was written so far."""
    model = moved(seq2seq(mask, dropout=0.4), seed)
    noisy = magnitudes(n_clips, n_frames, F, seed=seed)
    written = np.zeros_like(noisy)
    model.eval()
    for t in range(n_frames):
        written[:, t] = np.maximum(model.forward(noisy, written)[:, t], 0)
    model.train()
    before = noisy.copy()
    got = model.generate(noisy)
    assert got.dtype == np.float32 and got.shape == noisy.shape
    assert not model.training
    assert (noisy == before).all()
    np.testing.assert_allclose(got, written, rtol=1e-3, atol=1e-3)
    if not mask and n_frames > 5:
        assert (got == 0).any(), "nothing was negative: the case is not tested"


@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_a_mask_only_ever_turns_down(seed):
    noisy, clean = magnitudes(B, T, F, seed=seed), magnitudes(B, T, F, seed=seed + 1)
    noisy[:, 2, 3] = 0
    for y in (
        moved(encoder(mask=True), seed).eval().forward(noisy),
        moved(seq2seq(mask=True), seed).eval().forward(noisy, clean),
        moved(seq2seq(mask=True), seed).generate(noisy),
    ):
        assert (y >= 0).all() and (y <= noisy).all()
        assert (y < noisy).mean() >= 0.9 and (y > 0).mean() >= 0.9


def test_positions_are_used_by_the_encoder_decoder():
    """Frames that are all alike come out different, by their place."""
    model = moved(seq2seq()).eval()
    alike = np.ones((B, T, F), np.float32)
    alike[:, 0] = 0  # for the decoder, the frame before the first is silence
    y = model.forward(np.ones_like(alike), alike)
    assert np.abs(np.diff(y, axis=1)).max(axis=(0, 2)).min() >= 1e-3


# Attention weights --------------------------------------------------------------------------------


def test_attention_weights_are_handed_out_block_by_block():
    noisy, clean = magnitudes(B, T, F), magnitudes(B, T, F, seed=1)
    for model, inputs in ((encoder(), (noisy,)), (seq2seq(), (noisy, clean))):
        weights = []
        with_weights = moved(model).eval().forward(*inputs, weights)
        assert [A.shape for A in weights] == [(B, H, T, T)] * 2
        for A in weights:
            np.testing.assert_allclose(A.sum(axis=-1), 1, atol=1e-5)
        # Every frame may look at every noisy one, also at those to come.
        assert all((A > 0).all() for A in weights)
        assert (with_weights == model.forward(*inputs)).all()


# What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(T, F), (B, T, F + 1), (B, F, T), (0, T, F), (B, 0, F)])
def test_other_shapes_are_refused_by_name(shape):
    x = np.zeros(shape, np.float32)
    with pytest.raises(ShapeError, match=r"^x must have shape \(batch, frames, 7\), got"):
        encoder().forward(x)
    with pytest.raises(ShapeError, match=r"^noisy must have shape \(batch, frames, 7\), got"):
        seq2seq().forward(x, x)
    with pytest.raises(ShapeError, match=r"^noisy must have shape \(batch, frames, 7\), got"):
        seq2seq().generate(x)


def test_clean_must_be_as_long_as_noisy():
    with pytest.raises(ShapeError, match="noisy and clean must have one shape"):
        seq2seq().forward(magnitudes(B, T, F), magnitudes(B, T + 1, F))


@pytest.mark.parametrize("make", [SpectrogramTransformer, SpectrogramSeq2Seq])
@pytest.mark.parametrize(
    "wrong",
    [
        {"n_bins": 0},
        {"n_bins": 7.0},
        {"n_heads": 4},
        {"n_heads": 0},
        {"n_layers": 0},
        {"d_model": -6},
        {"d_ff": 0},
        {"dropout": 1.5},
    ],
    ids=str,
)
def test_impossible_sizes_are_refused_by_name(make, wrong):
    good = {"n_bins": F, "d_model": D, "n_heads": H, "n_layers": 1, "d_ff": D_FF}
    make(**good)
    name = next(iter(wrong)).replace("dropout", "p")  # what the layer Dropout calls it
    with pytest.raises(ConfigError, match=f"^{name} must"):
        make(**(good | wrong))
