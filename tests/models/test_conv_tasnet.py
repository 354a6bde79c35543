"""Conv-TasNet: forward by matrices, gradients, sizes, what a frame sees, streams, songs."""

import numpy as np
import pytest

from scratchaudio import nn
from scratchaudio.checkpoint import save_checkpoint
from scratchaudio.errors import CallOrderError, CheckpointError, ConfigError, ShapeError
from scratchaudio.models import ConvTasNet, conv_tasnet, load_model

SIZES = {"N": 6, "L": 4, "B": 3, "H": 5, "Sc": 7, "P": 3, "X": 2, "R": 2}
SR = 8000


def tiny(seed=0, n_channels=2, n_sources=2, causal=False, **sizes):
    """Weights off their initial values."""
    sizes = SIZES | {"n_channels": n_channels, "n_sources": n_sources, "causal": causal} | sizes
    model = ConvTasNet(**sizes, sample_rate=SR, rng=seed)
    rng = np.random.default_rng(seed + 1)
    for parameter in model.parameters():
        parameter.value += 0.3 * rng.standard_normal(parameter.value.shape).astype(np.float32)
    return model


def sound(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


# The network -------------------------------------------------------------------------------------


def normalised(layer, y, causal):
    """gLN and cLN by their definitions: (B, C, T)."""
    out = np.empty_like(y)
    for b, t in np.ndindex(y.shape[0], y.shape[2]):
        seen = y[b, :, : t + 1] if causal else y[b]
        out[b, :, t] = (y[b, :, t] - seen.mean()) / np.sqrt(seen.var() + 1e-8)
    return out * layer.gamma.value[:, None] + layer.beta.value[:, None]


def prelu(layer, x):
    return np.where(x > 0, x, layer.a.value * x)


def pointwise(layer, x):
    return np.einsum("oi,bit->bot", layer.W.value[:, :, 0], x) + layer.b.value[:, None]


def by_frames(model, x):
    """Forward by loops over frames and taps."""
    causal, stride, (B, _, n) = model.causal, model.stride, x.shape
    T = 1 + -(-n // stride)
    padded = np.zeros((*x.shape[:2], (T + 1) * stride))
    padded[..., stride : stride + n] = x
    frames = np.stack([padded[..., t * stride :][..., : 2 * stride] for t in range(T)], axis=-1)
    w = np.einsum("ncl,bclt->bnt", model.encoder.W.value, frames)
    y = pointwise(model.bottleneck, normalised(model.norm, w, causal))
    total = 0
    for i, block in enumerate(model.blocks):
        d = 2 ** (i % SIZES["X"])
        z = normalised(block.norm1, prelu(block.prelu1, pointwise(block.expand, y)), causal)
        out = np.zeros_like(z)
        for t in range(T):
            for j in range(3):
                at = t + (j - 2) * d if causal else t + (j - 1) * d
                if 0 <= at < T:
                    out[..., t] += block.depthwise.W.value[:, 0, j] * z[..., at]
        out += block.depthwise.b.value[:, None]
        z = normalised(block.norm2, prelu(block.prelu2, out), causal)
        y = y + pointwise(block.residual, z)
        total = total + pointwise(block.skip, z)
    logits = pointwise(model.masks, prelu(model.prelu, total))
    S = model.n_sources
    masked = w[:, None] / (1 + np.exp(-logits.reshape(B, S, -1, T)))  # (B, S, N, T)
    s = np.zeros((B, S, model.n_channels, (T + 1) * stride))
    for t in range(T):
        window = np.einsum("ncl,bsn->bscl", model.decoder.W.value, masked[..., t])
        s[..., t * stride : (t + 2) * stride] += window
    return s[..., stride : stride + n]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("n", [1, 7, 10])
def test_forward_by_loops(causal, n):
    model, x = tiny(causal=causal).astype(np.float64), sound((3, 2, n))
    s = model.forward(x)
    assert s.shape == (3, 2, 2, n)
    np.testing.assert_allclose(s, by_frames(model, x), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("n_sources", [1, 3])
def test_gradients(causal, n_sources):
    """The residual path of the last block leads nowhere, as in the paper's code."""
    model = tiny(causal=causal, n_sources=n_sources).astype(np.float64)
    last = [name for name, _ in model.named_parameters() if name.startswith("blocks.3.residual")]
    nn.check_gradients(model, sound((3, 2, 23)), may_vanish=last)


def test_a_block_alone():
    block = conv_tasnet.Block(3, 5, 4, 3, 2, rng=0).astype(np.float64)
    x, dx, dskip = sound((2, 3, 9)), sound((2, 3, 9), 1), sound((2, 4, 9), 2)
    y, skip = block.forward(x)
    assert y.shape == x.shape and skip.shape == dskip.shape
    back = block.backward(dx, dskip)

    def loss(z):
        outputs = block.forward(z)
        return (outputs[0] * dx).sum() + (outputs[1] * dskip).sum()

    np.testing.assert_allclose(back, nn.complex_step(loss, x), rtol=1e-9, atol=1e-12)


def test_the_published_size():
    """Table II's best network, two speakers: 5.1 million."""
    N, L, B, H, Sc, P, X, R = 512, 16, 128, 512, 128, 3, 8, 3
    block = B * H + H + 1 + 2 * H + H * P + H + 1 + 2 * H + H * B + B + H * Sc + Sc
    expected = N * L + 2 * N + N * B + B + X * R * block + 1 + Sc * 2 * N + 2 * N + N * L
    model = ConvTasNet(rng=0)
    assert sum(p.value.size for p in model.parameters()) == expected == 5050545
    assert model.receptive_field == 1531  # frames of 1 ms and 1 of overlap: 1.53 s


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("P", "X", "R"), [(3, 1, 1), (3, 3, 1), (3, 2, 2), (5, 2, 1)])
def test_the_receptive_field_is_that_of_the_formula(causal, P, X, R):
    """Measured by the gradient of one frame, the normalisations left out: they see everything."""
    model = tiny(causal=causal, P=P, X=X, R=R, n_channels=1, n_sources=1).astype(np.float64)
    assert model.receptive_field == 1 + R * (P - 1) * (2**X - 1)
    T = 2 * model.receptive_field + 1
    y, total = sound((1, SIZES["B"], T)), 0
    layers = [(b.expand, b.prelu1, b.depthwise, b.prelu2, b.residual, b.skip) for b in model.blocks]
    for expand, prelu1, depthwise, prelu2, residual, skip in layers:
        z = prelu2.forward(depthwise.forward(prelu1.forward(expand.forward(y))))
        y, total = y + residual.forward(z), total + skip.forward(z)
    dtotal = np.zeros_like(total)
    dtotal[..., T // 2] = sound(SIZES["Sc"], 1)
    dy = np.zeros_like(y)
    for expand, prelu1, depthwise, prelu2, residual, skip in layers[::-1]:
        dz = residual.backward(dy) + skip.backward(dtotal)
        dz = prelu1.backward(depthwise.backward(prelu2.backward(dz)))
        dy = dy + expand.backward(dz)
    seen = np.flatnonzero(np.abs(dy).max(axis=(0, 1)))
    assert seen[-1] - seen[0] + 1 == model.receptive_field
    assert seen[-1] == (T // 2 if causal else T // 2 + model.receptive_field // 2)


def test_it_learns():
    """A low and a high tone, told apart."""
    t = np.arange(400) / SR
    rng = np.random.default_rng(0)
    low, high = (
        np.sin(2 * np.pi * f * t + rng.uniform(0, 6, (4, 1, 1, 1))).astype(np.float32)
        for f in (200, 1600)
    )
    target = np.concatenate([low, high], axis=1)  # (B, S, 1, N)
    model = ConvTasNet(24, 16, 12, 24, 12, 3, 2, 1, sample_rate=SR, rng=0)
    optimizer = nn.Adam(model.parameters(), lr=1e-2)
    for _ in range(80):
        model.zero_grad()
        loss, ds = nn.si_sdr_loss(model.forward(target.sum(axis=1)), target)
        model.backward(ds)
        optimizer.step()
    assert loss < -15, "15 dB after 80 steps"


# Past and future ---------------------------------------------------------------------------------


def test_a_causal_network_does_not_know_the_future():
    model, x = tiny(causal=True), sound((2, 2, 60)).astype(np.float32)
    model.eval()
    s = model.forward(x)
    for first in (10, 30):
        changed = x.copy()
        changed[..., first:] = np.nan
        known = first // model.stride * model.stride - model.stride  # before the window it is in
        np.testing.assert_array_equal(model.forward(changed)[..., :known], s[..., :known])
    other = tiny(causal=False).eval()
    changed = x.copy()
    changed[..., 30:] += 1
    assert (other.forward(changed)[..., :10] != other.forward(x)[..., :10]).all()


@pytest.mark.parametrize("cuts", [(2,), (2, 4, 6, 8), (30, 42), (60,)])
def test_a_stream_gives_what_the_whole_gives(cuts):
    model, x = tiny(causal=True).astype(np.float64).eval(), sound((3, 2, 61))
    whole, delay = model.forward(x), model.stride
    state = model.start(3)
    padded = np.concatenate([x, np.zeros((3, 2, 3))], axis=2)  # the last sample, and the delay
    pieces = np.split(padded, cuts, axis=2)
    heard = np.concatenate([model.step(piece, state) for piece in pieces], axis=3)
    np.testing.assert_allclose(heard[..., delay : delay + 61], whole, rtol=1e-12, atol=1e-13)


def test_who_may_stream():
    with pytest.raises(CallOrderError, match="for a network made with causal=True"):
        tiny().eval().start()
    with pytest.raises(CallOrderError, match="start is for evaluation"):
        tiny(causal=True).start()
    model = tiny(causal=True).eval()
    with pytest.raises(ShapeError, match="a multiple of 2 samples"):
        model.step(np.zeros((1, 2, 3), np.float32), model.start())


# Songs -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def separator():
    return tiny(n_sources=1).eval()


@pytest.mark.parametrize("sr", [4000, SR, 22050, 96000])
@pytest.mark.parametrize("shape", [(3001,), (1, 3001), (2, 3001)])
def test_stems_sum_to_the_song_at_any_rate(separator, shape, sr):
    for dtype in (np.float32, np.float64):
        x = 0.1 * sound(shape).astype(dtype)
        stems = separator.separate(x, sr)
        assert stems.shape == (2, *shape) and stems.dtype == dtype
        np.testing.assert_allclose(stems.sum(axis=0), x, rtol=0, atol=1e-6)
        assert stems[0].any() and stems[1].any()


@pytest.mark.parametrize("N", [1, 2, 3, 40])
def test_a_song_of_some_samples(separator, N):
    stems = separator.separate(sound((2, N)), SR)
    assert stems.shape == (2, 2, N) and np.isfinite(stems).all()


def test_silence_stays_silent(separator):
    assert not separator.separate(np.zeros((2, 3000)), SR).any()


def test_a_checkpoint_gives_the_same_network(separator, tmp_path):
    save_checkpoint(tmp_path / "net.npz", separator, settings=separator.settings)
    x = sound((2, 2000))
    loaded = load_model(tmp_path / "net.npz")
    np.testing.assert_array_equal(loaded.separate(x, SR), separator.separate(x, SR))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({name: 10**9}, f"{name} is 1000000000 in its settings, ")
        for name in ("N", "L", "B", "H", "Sc", "P", "R", "n_channels", "n_sources")
    ]
    + [
        ({"X": 10**9}, "R is 2 in its settings, 0 in its weights"),
        ({"X": None}, "R is 2 in its settings, None in its weights"),
        ({"L": 4.0, "magic": 1}, "its settings do not fit its class"),
    ],
)
def test_settings_that_are_not_those_of_the_weights(separator, tmp_path, changed, message):
    save_checkpoint(tmp_path / "net.npz", separator, settings=separator.settings | changed)
    with pytest.raises(CheckpointError, match=f"net.npz: ({message})"):
        load_model(tmp_path / "net.npz")


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"L": 5}, "L must be even, for a stride of L / 2, got 5"),
        ({"P": 4}, "P must be odd, to reach as far back as ahead, got 4"),
        ({"N": 0}, "N must be an integer of at least 1, got 0"),
        ({"Sc": 1.5}, "Sc must be an integer of at least 1, got 1.5"),
    ],
)
def test_sizes_that_cannot_be(sizes, message):
    with pytest.raises(ConfigError, match=message):
        tiny(**sizes)
    tiny(causal=True, P=4)


@pytest.mark.parametrize("shape", [(2, 23), (3, 1, 23), (3, 2, 0), (0, 2, 23)])
def test_sounds_of_another_shape(shape):
    with pytest.raises(ShapeError, match=r"x must be \(batch, 2, samples\), got"):
        tiny().forward(np.ones(shape, np.float32))


def test_the_small_size_is_small():
    model = ConvTasNet(**conv_tasnet.SMALL, rng=0)
    assert sum(p.value.nbytes for p in model.parameters()) < 2e6
