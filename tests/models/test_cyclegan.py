"""CycleGAN: pictures and sounds, both networks layer by layer, what a patch sees, errors."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchaudio import dsp, nn
from scratchaudio.checkpoint import load_checkpoint, save_checkpoint
from scratchaudio.errors import CallOrderError, CheckpointError, ConfigError, ShapeError
from scratchaudio.models import (
    CycleGAN,
    CycleGenerator,
    PatchDiscriminator,
    cyclegan,
    load_model,
)
from scratchaudio.models.cyclegan import ResidualBlock, decode, encode, with_frequencies

SR = 8000
TINY = {"width": 3, "n_blocks": 2, "n_fft": 32, "hop_length": 8, "sample_rate": SR}


def moved(layer, seed=1, size=0.1):
    """The layer with parameters off their initial values."""
    rng = np.random.default_rng(seed)
    for parameter in layer.parameters():
        parameter.value += (size * rng.standard_normal(parameter.value.shape)).astype(np.float32)
    return layer


def pictures(seed, B=2, F=12, T=8):
    return np.random.default_rng(seed).random((B, 1, F, T))


def sound(n=1000, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(n) / SR
    return (0.4 * np.sin(2 * np.pi * 700 * t) + 0.05 * rng.standard_normal(n)).astype(np.float32)


# Pictures ----------------------------------------------------------------------------------------


def test_a_picture_is_a_spectrum_in_decibels():
    """Frame 2 by the definition of the Fourier transform, bin for bin."""
    x = sound().astype(np.float64)
    picture = encode(x, n_fft=32, hop_length=8)
    assert picture.shape == (16, 1 + 1000 // 8)
    frame = x[: 16 + 16]  # centred on sample 16
    for k in range(16):
        X = sum(
            (0.5 - 0.5 * math.cos(2 * math.pi * n / 32))
            * frame[n]
            * np.exp(-2j * math.pi * k * n / 32)
            for n in range(32)
        )
        level = 20 * math.log10(abs(X) / (32 / 4))  # the window's sum is 16, a sine has half
        assert picture[k, 2] == pytest.approx(max(0, 1 + level / 70), abs=1e-9)


@pytest.mark.parametrize("amplitude", [1.0, 0.1, 1e-3])
def test_a_sine_has_its_level(amplitude):
    x = amplitude * np.sin(2 * np.pi * np.arange(4000) * 500 / SR)
    picture = encode(x, 256, 64)
    assert picture[16, 30] == pytest.approx(1 + math.log10(amplitude) * 20 / 70, abs=1e-3)
    assert picture[60, 30] == 0


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), batch=st.booleans())
def test_decoding_inverts_encoding(seed, batch):
    x = sound(seed=seed)
    x = np.stack([x, 0.5 * x]) if batch else x
    S = np.abs(dsp.stft(x, n_fft=32, hop_length=8))
    picture = encode(x, 32, 8)
    back = decode(picture)
    assert back.shape == S.shape and back.dtype == picture.dtype == np.float32
    np.testing.assert_array_equal(back[..., -1, :], 0)  # the bin that was left out
    heard = picture > 0
    np.testing.assert_allclose(back[..., :-1, :][heard], S[..., :-1, :][heard], rtol=1e-3)
    assert not back[..., :-1, :][~heard].any() and heard.any()


def test_silence_is_zero_and_more_than_full_scale_is_full_scale():
    picture = encode(np.zeros(100, np.float32), 32, 8)
    assert not picture.any() and not decode(picture).any()
    np.testing.assert_allclose(decode(np.full((16, 3), 50.0))[:-1], 32 / 4)
    assert not decode(np.full((16, 3), -0.5)).any()


# Networks ----------------------------------------------------------------------------------------


def relu(x):
    return np.where(x > 0, x, 0)


def convolved(x, layer, stride, padding=1):
    """Convolution by loops over outputs."""
    W, b = layer.W.value, layer.b.value
    n_out, _, k, _ = W.shape
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    F, T = ((size - k) // stride + 1 for size in x.shape[2:])
    y = np.zeros((len(x), n_out, F, T))
    for f, t in np.ndindex(F, T):
        seen = x[:, :, f * stride : f * stride + k, t * stride : t * stride + k]
        y[:, :, f, t] = np.einsum("bcij,ocij->bo", seen, W) + b
    return y


def unconvolved(x, layer):
    """Transposed convolution of 4 x 4, stride 2, padding 1, by loops over inputs."""
    W, b = layer.W.value, layer.b.value
    B, _, F, T = x.shape
    y = np.zeros((B, W.shape[1], 2 * F + 2, 2 * T + 2))
    for f, t in np.ndindex(F, T):
        y[:, :, 2 * f : 2 * f + 4, 2 * t : 2 * t + 4] += np.einsum(
            "bc,coij->boij", x[:, :, f, t], W
        )
    return y[:, :, 1:-1, 1:-1] + b[:, None, None]


def beside_frequencies(x):
    F = x.shape[2]
    rows = np.array([-1 + 2 * f / (F - 1) for f in range(F)])
    return np.concatenate([x, np.zeros_like(x) + rows[:, None]], axis=1)


def test_the_generator_by_loops():
    generator = moved(CycleGenerator(3, 2, rng=0)).astype(np.float64)
    x = pictures(0) - 0.3
    first, _, second, _, blocks, third, _, last = generator.change.layers
    assert len(blocks.layers) == 2
    h = relu(convolved(beside_frequencies(x), first, 2))
    h = relu(convolved(h, second, 2))
    assert h.shape == (2, 6, 3, 2)
    for block in blocks.layers:
        one, _, two = block.change.layers
        h = h + convolved(relu(convolved(h, one, 1)), two, 1)
    change = unconvolved(relu(unconvolved(h, third)), last)
    y = generator.forward(x)
    expected = np.where(x + change > 0, x + change, 0.1 * (x + change))
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-13)
    assert (y < 0).any() and abs(change).max() > 0.05


@pytest.mark.parametrize("spectral", [False, True])
def test_the_discriminator_by_loops(spectral):
    critic = moved(PatchDiscriminator(3, 2, spectral, rng=0)).astype(np.float64).eval()
    x = pictures(1, F=16, T=14)
    logits = critic.forward(x)
    h = beside_frequencies(x)
    layers = critic.network.layers[::2]
    assert len(layers) == 4
    for layer, stride in zip(layers, (2, 2, 1, 1), strict=True):
        h = convolved(h, layer.layer if spectral else layer, stride)
        h = h if layer is layers[-1] else np.where(h > 0, h, 0.2 * h)
    np.testing.assert_allclose(logits, h, rtol=1e-11, atol=1e-13)
    assert logits.shape == (2, 1, 2, 1)


def test_gradients():
    generator = moved(CycleGenerator(2, 1, rng=0)).astype(np.float64)
    x = pictures(2, T=4) - 0.3
    assert 0.05 < (generator.forward(x) < 0).mean() < 0.8
    nn.check_gradients(generator, x)
    critic = moved(PatchDiscriminator(2, 1, rng=0)).astype(np.float64)
    nn.check_gradients(critic, pictures(3, F=9, T=7))
    block = moved(ResidualBlock(2, rng=0)).astype(np.float64)
    nn.check_gradients(block, np.random.default_rng(4).standard_normal((3, 2, 5, 4)))


def test_both_generators_at_once():
    """forward(a, b) = G(a), F(b); gradients likewise, and neither touches the other."""
    model = moved(CycleGAN(**TINY, rng=0)).astype(np.float64)
    a, b = pictures(5), pictures(6, B=3)
    fake_b, fake_a = model.forward(a, b)
    da, db = model.backward(np.ones_like(fake_b), 2 * np.ones_like(fake_a))
    alone = moved(CycleGAN(**TINY, rng=0)).astype(np.float64)
    np.testing.assert_array_equal(fake_b, alone.to_b.forward(a))
    np.testing.assert_array_equal(fake_a, alone.to_a.forward(b))
    np.testing.assert_array_equal(da, alone.to_b.backward(np.ones_like(fake_b)))
    np.testing.assert_array_equal(db, alone.to_a.backward(2 * np.ones_like(fake_a)))
    for (name, p), q in zip(model.named_parameters(), alone.parameters(), strict=True):
        np.testing.assert_array_equal(p.grad, q.grad, err_msg=name)
        assert p.grad.any(), name
    assert abs(model.to_a.forward(a) - fake_b).max() > 0.01  # two different networks
    model.forward(a, b)
    model.eval().forward(a, b)
    with pytest.raises(CallOrderError):
        model.backward(fake_b, fake_a)


def test_an_untrained_generator_changes_little():
    """So training starts with the sound itself, which has the melody already."""
    x = pictures(7, F=128, T=64).astype(np.float32)
    y = CycleGenerator(rng=0).forward(x)
    assert y.dtype == np.float32 and abs(y - x).mean() < 0.25 * x.mean()


@pytest.mark.parametrize("n_halvings", [1, 2, 3])
def test_a_logit_sees_a_patch_and_no_more(n_halvings):
    """Which rows and frames change one logit in the middle: as many as `patch` says, in a row."""
    critic = PatchDiscriminator(2, n_halvings, rng=n_halvings).astype(np.float64)
    assert critic.patch == {1: 16, 2: 34, 3: 70}[n_halvings]
    size = 2 * critic.patch + 2**n_halvings - 2 * critic.patch % 2**n_halvings
    x = pictures(8, B=1, F=size, T=size)
    logits = critic.forward(x)
    f, t = (n // 2 for n in logits.shape[2:])
    dlogits = np.zeros_like(logits)
    dlogits[0, 0, f, t] = 1
    seen = np.argwhere(critic.backward(dlogits)[0, 0])
    span = seen.max(axis=0) - seen.min(axis=0) + 1
    assert span.tolist() == [critic.patch, critic.patch]


def test_the_frequency_of_each_row():
    x = pictures(9, F=5)
    y = with_frequencies(x.astype(np.float32))
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y[1, 1, :, 3], np.float32([-1, -0.5, 0, 0.5, 1]))
    np.testing.assert_array_equal(y[:, :1], x.astype(np.float32))


def test_spectral_normalisation_bounds_each_layer():
    critic = PatchDiscriminator(3, 2, spectral=True, rng=0)
    kinds = [type(layer).__name__ for layer in critic.network.layers]
    assert kinds == ["SpectralNorm", "LeakyReLU"] * 3 + ["SpectralNorm"]
    critic.forward(pictures(0, F=16, T=16).astype(np.float32))
    for layer in critic.network.layers[::2]:
        W = layer.layer.W.value
        assert np.linalg.norm(W.reshape(len(W), -1), 2) == pytest.approx(1, abs=0.05)


def test_number_of_parameters():
    """The small sizes: what fits into a checkpoint of 600 kB, both generators together."""
    w = 16
    generator = 16 * 2 * w + w + 16 * w * 2 * w + 2 * w
    generator += 3 * 2 * (9 * (2 * w) ** 2 + 2 * w)
    generator += 16 * 2 * w * w + w + 16 * w + 1
    model = CycleGAN(**cyclegan.SMALL, rng=0)
    assert sum(p.value.size for p in model.parameters()) == 2 * generator == 145410
    critic = sum(16 * i * o + o for i, o in ((2, 16), (16, 32), (32, 64), (64, 1)))
    assert sum(p.value.size for p in PatchDiscriminator(rng=0).parameters()) == critic == 42609


def test_a_louder_timbre_is_learnt():
    """A is faint noise and B loud: G finds the level of B, F finds the way back."""
    rng = np.random.default_rng(0)

    def noise(level):
        x = rng.uniform(0.9, 1.1, (8, 1, 1, 1)) * level + 0.05 * rng.standard_normal((8, 1, 12, 12))
        return x.astype(np.float32)

    model, critic = CycleGAN(**TINY | {"width": 8}, rng=1), PatchDiscriminator(8, 1, rng=2)
    G, F = model.to_b, model.to_a
    optimizer, critic_optimizer = (
        nn.Adam(network.parameters(), 3e-3, (0.5, 0.999)) for network in (model, critic)
    )
    levels = []
    for _ in range(100):
        a, b = noise(0.3), noise(0.7)
        model.zero_grad()
        fake = G.forward(a)
        back = F.forward(fake)
        _, dback = nn.l1(back, a)
        _, dlogits = nn.LEAST_SQUARES.generator(critic.forward(fake))
        with nn.frozen(critic):
            dfake = critic.backward(dlogits)
        G.backward(dfake + F.backward(dback))
        optimizer.step()
        critic.zero_grad()
        real, made = np.split(critic.forward(np.concatenate([b, fake])), 2)
        _, dreal, dmade = nn.LEAST_SQUARES.discriminator(real, made)
        critic.backward(np.concatenate([dreal, dmade]))
        critic_optimizer.step()
        levels.append((fake.mean(), back.mean()))
    assert np.mean(levels[:3], axis=0)[0] < 0.45
    np.testing.assert_allclose(np.mean(levels[-40:], axis=0), [0.7, 0.3], atol=0.1)


# From sound to sound -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    return moved(CycleGAN(**TINY, rng=0), size=0.02).eval()


@pytest.mark.parametrize("n", [1, 7, 31, 32, 100, 1001])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sounds_of_any_length(model, n, dtype):
    x = sound(n).astype(dtype)
    for y in (model.play_as_b(x, SR), model.play_as_a(x, SR)):
        assert y.shape == (n,) and y.dtype == dtype and np.isfinite(y).all()


def test_a_generator_that_changes_nothing_gives_the_sound_back():
    model = CycleGAN(**TINY, rng=0).eval()
    for layer in (model.to_a, model.to_b):
        for parameter in layer.parameters():
            parameter.value[...] = 0
    x = sound()
    y = model.play_as_b(x, SR)
    assert np.linalg.norm(y - x) < 0.1 * np.linalg.norm(x)  # but for the highest bin


def test_each_way_has_its_generator(model):
    x = sound()
    picture = encode(x, 32, 8)
    for play, generator in ((model.play_as_b, model.to_b), (model.play_as_a, model.to_a)):
        padded = np.pad(picture, ((0, 0), (0, 2)))[None, None]  # 126 frames: two more
        expected = decode(generator.forward(padded)[0, 0, :, :126])
        X = dsp.stft(x, n_fft=32, hop_length=8)
        Y = expected * X / np.abs(X)
        np.testing.assert_allclose(
            play(x, SR), dsp.istft(Y, n_fft=32, hop_length=8, length=1000), atol=1e-5
        )
    assert np.abs(model.play_as_b(x, SR) - model.play_as_a(x, SR)).max() > 1e-3


def test_silence_without_biases_is_silence():
    model = CycleGAN(**TINY, rng=0).eval()
    for name, parameter in model.named_parameters():
        if name.endswith(".b"):
            parameter.value[...] = 0
    for generator in (model.to_a, model.to_b):
        generator.change.layers[0].W.value[:, 1] = 0  # the row of frequencies is no sound
    assert not model.play_as_b(np.zeros(300, np.float32), SR).any()


def test_sounds_that_cannot_be(model):
    x = sound()
    for play, name in ((model.play_as_b, "a"), (model.play_as_a, "b")):
        with pytest.raises(ShapeError, match=rf"{name} must lie in -1\.\.1, but reaches 1\.5"):
            play(np.float32([0.5, -1.5]), SR)
        with pytest.raises(ShapeError, match=rf"{name} must be one channel .* \(2, 500\)"):
            play(x.reshape(2, 500), SR)
        with pytest.raises(ConfigError, match="sr must be 8000 Hz.* got 16000; use dsp.resample"):
            play(x, 16000)
        with pytest.raises(ShapeError, match=f"{name} must be finite"):
            play(np.float32([0, np.nan]), SR)
        with pytest.raises(ShapeError, match=f"{name} must hold floating-point samples"):
            play(np.arange(9), SR)
        with pytest.raises(ShapeError, match=f"{name} must hold at least one sample"):
            play(np.zeros(0, np.float32), SR)
    assert np.isfinite(model.play_as_b(x / np.abs(x).max(), SR)).all()


def test_pictures_that_cannot_be():
    generator, critic = CycleGenerator(3, 1, rng=0), PatchDiscriminator(3, 2, rng=0)
    for shape in ((2, 12, 8), (2, 2, 12, 8), (0, 1, 12, 8), (2, 1, 13, 8), (2, 1, 12, 6)):
        with pytest.raises(ShapeError, match=r"x must be pictures .*multiples of 4, got"):
            generator.forward(np.zeros(shape, np.float32))
    with pytest.raises(ShapeError, match=r"x must be pictures of shape \(batch, 1, bins, frames\)"):
        critic.forward(np.zeros((2, 2, 12, 12), np.float32))
    for shape in ((2, 1, 11, 20), (2, 1, 20, 11)):
        with pytest.raises(ShapeError, match="at least 12 bins and frames, for one patch, got"):
            critic.forward(np.zeros(shape, np.float32))
    assert critic.forward(np.zeros((2, 1, 12, 12), np.float32)).shape == (2, 1, 1, 1)


def test_settings_that_cannot_be():
    for name in TINY:
        for wrong in (0, -1, 2.0, None):
            with pytest.raises(ConfigError, match=f"{name} must be an integer of at least 1"):
                CycleGAN(**TINY | {name: wrong})
    with pytest.raises(ConfigError, match="n_fft must be a multiple of 8.* got 36"):
        CycleGAN(**TINY | {"n_fft": 36})
    for name in ("width", "n_halvings"):
        with pytest.raises(ConfigError, match=f"{name} must be an integer of at least 1, got 0"):
            PatchDiscriminator(**{name: 0})
    for name in ("width", "n_blocks"):
        with pytest.raises(ConfigError, match=f"{name} must be an integer of at least 1, got 0"):
            CycleGenerator(**{name: 0})


# Checkpoints -------------------------------------------------------------------------------------


def test_a_checkpoint_brings_both_generators_back(model, tmp_path):
    path = tmp_path / "style.npz"
    save_checkpoint(path, model, settings=model.settings)
    loaded = load_model(path)
    assert not loaded.training and loaded.settings == model.settings == TINY
    x = sound()
    np.testing.assert_array_equal(loaded.play_as_b(x, SR), model.play_as_b(x, SR))
    np.testing.assert_array_equal(loaded.play_as_a(x, SR), model.play_as_a(x, SR))


@pytest.mark.parametrize("name", ["width", "n_blocks"])
@pytest.mark.parametrize("value", [4, 10**6, 0, -1, "many", None])
def test_settings_must_fit_the_weights(model, tmp_path, name, value):
    path = tmp_path / "style.npz"
    save_checkpoint(path, model, settings=model.settings | {name: value})
    with pytest.raises(CheckpointError, match=f"{name} is .* in its settings"):
        CycleGAN.from_checkpoint(load_checkpoint(path))


def test_a_checkpoint_of_other_weights_is_refused(tmp_path):
    path = tmp_path / "linear.npz"
    save_checkpoint(path, nn.Linear(3, 2, rng=0), settings=TINY)
    with pytest.raises(CheckpointError):
        CycleGAN.from_checkpoint(load_checkpoint(path))
