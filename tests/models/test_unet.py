"""The U-Net: its forward layer by layer, gradients, sizes, what a pixel sees, songs in and out."""

import math

import numpy as np
import pytest

from scratchaudio import nn
from scratchaudio.checkpoint import save_checkpoint
from scratchaudio.errors import CheckpointError, ConfigError, ShapeError
from scratchaudio.models import UNet, load_model, unet

TINY = {"n_fft": 62, "hop_length": 16, "n_bins": 16, "sample_rate": 8000}
SR = 8000


def tiny(seed=0, **settings):
    """Two levels, with weights off their initial values."""
    sizes = {"n_channels": 2, "widths": (3, 4), "dropout": 0.0} | TINY | settings
    model = UNet(**sizes, rng=seed)
    rng = np.random.default_rng(seed + 1)
    for parameter in model.parameters():
        parameter.value += 0.3 * rng.standard_normal(parameter.value.shape).astype(np.float32)
    return model


def pictures(seed, B=3, T=6, F=16, C=2):
    return np.random.default_rng(seed).random((B, C, F, T))


def by_layers(model, X):
    """Forward once more, from the layers of torch's order, with every skip written out."""
    (conv1, norm1, _), (conv2, norm2, _) = (down.layers for down in model.downs)
    up2, norm3, *_ = model.ups[0].layers
    up1 = model.ups[1]
    x = np.log(1 + X)
    T = X.shape[3]
    x = np.concatenate([x, np.zeros((*x.shape[:3], -T % 4))], axis=3)
    d1 = norm1.forward(conv1.forward(x))
    d1 = np.where(d1 > 0, d1, 0.2 * d1)
    d2 = norm2.forward(conv2.forward(d1))
    d2 = np.where(d2 > 0, d2, 0.2 * d2)
    u = norm3.forward(up2.forward(d2))
    u = np.where(u > 0, u, 0)
    logits = up1.forward(np.concatenate([u, d1], axis=1))[..., :T]
    return X / (1 + np.exp(-logits))


@pytest.mark.parametrize("T", [1, 3, 4, 6, 9])
def test_forward_is_its_layers_one_after_the_other(T):
    X = pictures(0, T=T)
    model = tiny().astype(np.float64)
    y, expected = model.forward(X), by_layers(tiny().astype(np.float64), X)
    assert y.shape == X.shape
    np.testing.assert_allclose(y, expected, rtol=1e-12)


@pytest.mark.parametrize("T", [6, 8])
def test_gradients(T):
    nn.check_gradients(tiny().astype(np.float64), pictures(1, T=T))


def test_the_mask_is_between_nothing_and_all():
    X = pictures(2)
    y = tiny().eval().forward(X)
    assert (y >= 0).all() and (y <= X).all() and (y < X).any()


def test_evaluation_keeps_nothing_and_does_not_depend_on_the_batch():
    model = tiny()
    for seed in range(3):
        model.forward(pictures(seed).astype(np.float32))
    model.eval()
    X = pictures(3).astype(np.float32)
    y = model.forward(X)
    np.testing.assert_array_equal(model.forward(X), y)
    for x, one in zip(X, y, strict=True):
        np.testing.assert_allclose(model.forward(x[None])[0], one, rtol=1e-5, atol=1e-6)


def test_the_published_size():
    """Six levels of 5 x 5, without biases where batch normalisation follows."""
    widths = (1, 16, 32, 64, 128, 256, 512)
    down = sum(25 * a * b + 2 * b for a, b in zip(widths, widths[1:], strict=False))
    up = 25 * 512 * 256 + 2 * 256
    up += sum(25 * 2 * widths[i] * widths[i - 1] + 2 * widths[i - 1] for i in range(5, 1, -1))
    up += 25 * 2 * 16 * 1 + 1
    model = UNet(rng=0)
    assert sum(p.value.size for p in model.parameters()) == down + up == 9821809
    assert (model.n_fft, model.hop_length, model.sample_rate, model.n_bins) == (
        1024,
        768,
        8192,
        512,
    )


def test_three_lowest_levels_but_the_last_drop_units():
    model = UNet(widths=(2, 3, 4, 5, 6), n_fft=62, hop_length=16, n_bins=32, rng=0)
    dropouts = [up.layers[3].p for up in model.ups[:-1]]
    assert dropouts == [0.5, 0.5, 0.5, 0.0]


@pytest.mark.parametrize("n_levels", [1, 2, 3])
def test_the_receptive_field_is_that_of_the_formula(n_levels):
    """Which frames change one frame of the mask: never more, and somewhere as many as it says.

    The mask multiplies the input, so that it is measured through the logits' derivative.
    """
    model = UNet(
        widths=(3,) * n_levels, dropout=0.0, n_fft=62, hop_length=16, n_bins=8, rng=n_levels
    ).astype(np.float64)
    T = 2 * model.receptive_field + 16
    T += -T % 8
    X = np.random.default_rng(0).random((1, 1, 8, T)) + 0.5
    for _ in range(20):
        model.forward(X)  # running statistics, so that evaluation has some
    model.eval()
    y = model.forward(X)
    reach = []
    for t in range(T // 2, T // 2 + 2**n_levels):
        changed = X.copy()
        changed[..., t] += 0.5
        other = np.abs(model.forward(changed) / changed - y / X).max(axis=(0, 1, 2)) > 0
        frames = np.flatnonzero(other)
        reach.append((frames.min() - t, frames.max() - t))
    # a frame of the output sees from -before to after frames of the input
    before, after = max(last for _, last in reach), -min(first for first, _ in reach)
    assert before + after + 1 == model.receptive_field


def test_it_learns():
    """Whose picture is bright below is the voice."""
    rng = np.random.default_rng(0)
    X = rng.random((4, 1, 16, 16)).astype(np.float32) + 0.5
    S = X * (np.arange(16) < 8)[:, None]
    model = UNet(widths=(8, 8), dropout=0.0, n_fft=62, hop_length=16, n_bins=16, rng=0)
    optimizer = nn.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        model.zero_grad()
        loss, dy = nn.l1(model.forward(X), S)
        model.backward(dy)
        optimizer.step()
        losses.append(loss)
    assert losses[-1] < losses[0] / 10, losses[::10]


# Songs -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def separator():
    model = tiny()
    rng = np.random.default_rng(0)
    for _ in range(20):
        model.forward(rng.random((2, 2, 16, 8), np.float32))
    return model.eval()


def song(shape, sr=SR, seed=0):
    return 0.1 * np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("sr", [4000, SR, 22050, 96000])
@pytest.mark.parametrize("shape", [(3001,), (1, 3001), (2, 3001)])
def test_stems_sum_to_the_song_at_any_rate(separator, shape, sr):
    for dtype in (np.float32, np.float64):
        x = song(shape).astype(dtype)
        stems = separator.separate(x, sr)
        assert stems.shape == (2, *shape) and stems.dtype == dtype
        np.testing.assert_allclose(stems.sum(axis=0), x, rtol=0, atol=1e-6)
        assert stems[0].any() and stems[1].any()


@pytest.mark.parametrize("N", [1, 2, 40, 63])
def test_a_song_shorter_than_a_window(separator, N):
    stems = separator.separate(song((2, N)), SR)
    assert stems.shape == (2, 2, N) and np.isfinite(stems).all()


def test_silence_stays_silent(separator):
    assert not separator.separate(np.zeros((2, 3000)), SR).any()


def test_left_and_right_exchanged_exchange_the_stems(separator):
    """Middle stays, and the side changes its sign."""
    x = song((2, 3000))
    stems = separator.separate(x, SR)
    np.testing.assert_allclose(separator.separate(x[::-1], SR), stems[:, ::-1], atol=1e-6)


def test_what_is_above_its_bins_stays_with_the_band(separator):
    t = np.arange(4000) / SR
    x = np.stack([np.sin(2 * np.pi * 3200 * t)] * 2)  # bin 25 of 31, beyond the 16 lowest
    vocals, _ = separator.separate(x, SR)
    assert np.abs(vocals[:, 200:-200]).max() < 1e-3


# Checkpoints and errors --------------------------------------------------------------------------


def test_a_checkpoint_gives_the_same_network(separator, tmp_path):
    save_checkpoint(tmp_path / "unet.npz", separator, settings=separator.settings)
    loaded = load_model(tmp_path / "unet.npz")
    x = song((2, 2000))
    np.testing.assert_array_equal(loaded.separate(x, SR), separator.separate(x, SR))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"widths": [3, 5]}, r"widths is \[3, 5\] in its settings, \[3, 4\] in its weights"),
        ({"widths": [3]}, r"widths is \[3\] in its settings, \[3, 4\] in its weights"),
        ({"widths": None}, "widths is None in its settings"),
        ({"n_channels": 10**9}, "n_channels is 1000000000 in its settings, 2 in its weights"),
        ({"n_bins": 10}, "its settings do not fit its class: n_bins must be a multiple of 2"),
        ({"magic": 1}, "its settings do not fit its class: .*magic"),
    ],
)
def test_settings_that_are_not_those_of_the_weights(separator, tmp_path, changed, message):
    save_checkpoint(tmp_path / "unet.npz", separator, settings=separator.settings | changed)
    with pytest.raises(CheckpointError, match=f"unet.npz: {message}"):
        load_model(tmp_path / "unet.npz")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"widths": ()}, r"n_bins must be a multiple of 2\^0"),
        ({"widths": (3, 0)}, r"widths\[1\] must be an integer of at least 1, got 0"),
        ({"n_bins": 18}, r"n_bins must be a multiple of 2\^2, .* got 18"),
        ({"n_bins": 64}, r"at most n_fft / 2 \+ 1 = 32, got 64"),
        ({"n_channels": 0}, "n_channels must be an integer of at least 1, got 0"),
        ({"hop_length": 1.5}, "hop_length must be an integer of at least 1, got 1.5"),
    ],
)
def test_sizes_that_cannot_be(settings, message):
    with pytest.raises(ConfigError, match=message):
        tiny(**settings)


@pytest.mark.parametrize("shape", [(2, 16, 6), (3, 1, 16, 6), (3, 2, 15, 6), (3, 2, 16, 0)])
def test_pictures_of_another_shape(shape):
    with pytest.raises(ShapeError, match=r"X must have shape \(batch, 2, 16, frames\), got"):
        tiny().forward(np.ones(shape))


def test_the_small_size_is_small():
    model = UNet(**unet.SMALL, rng=0)
    n_bytes = sum(p.value.nbytes for p in model.parameters())
    assert n_bytes < 3e6
    assert math.log2(model.n_bins) == 9
