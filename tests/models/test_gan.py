"""WaveGAN and SpecGAN: sizes, phase shuffle, the two updates and what they must not touch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchaudio import dsp, nn
from scratchaudio.checkpoint import load_checkpoint, save_checkpoint
from scratchaudio.errors import CheckpointError, ConfigError, ShapeError
from scratchaudio.models import gan, load_model
from scratchaudio.models.gan import (
    SpecGANDiscriminator,
    SpecGANGenerator,
    SpectrogramScale,
    WaveGANDiscriminator,
    WaveGANGenerator,
    discriminator_step,
    generator_step,
)
from scratchaudio.nn.gradcheck import fourth_order_difference
from scratchaudio.testing import RepeatingGenerator

TINY_WAVE = {"n_samples": 48, "width": 3, "n_layers": 2, "kernel_size": 7}
TINY_SPEC = {"n_bins": 8, "n_frames": 12, "width": 3, "n_layers": 2}
GAMES = {
    "non-saturating": nn.NON_SATURATING,
    "least squares": nn.LEAST_SQUARES,
    "hinge": nn.HINGE,
    "Wasserstein": nn.WASSERSTEIN,
}


def count(layer):
    return sum(parameter.value.size for parameter in layer.parameters())


def state_of(layer):
    """Bytes of every parameter and gradient."""
    return {n: (p.value.tobytes(), p.grad.tobytes()) for n, p in layer.named_parameters()}


# Sizes -------------------------------------------------------------------------------------------


class Nothing(np.random.Generator):
    """Draws zeros that take no memory, to count large networks."""

    def __init__(self):
        super().__init__(np.random.PCG64(0))

    def uniform(self, low, high, size):
        return np.broadcast_to(np.float32(0), size)

    def standard_normal(self, size):
        return np.broadcast_to(np.float32(0), size)


def test_the_papers_sizes():
    """Tables 3 to 6 of the paper, layer by layer: kernels (k, in, out), and biases."""
    channels = [1024, 512, 256, 128, 64, 1]
    pairs = list(zip(channels, channels[1:], strict=False))
    dense = 100 * 16384 + 16384
    logit = 16384 + 1
    for taps, make_g, make_d in (
        (25, WaveGANGenerator, WaveGANDiscriminator),
        (5 * 5, SpecGANGenerator, SpecGANDiscriminator),
    ):
        expected = dense + sum(taps * n_in * n_out + n_out for n_in, n_out in pairs)
        assert count(make_g(rng=Nothing())) == expected == 19065345
        expected = logit + sum(taps * n_in * n_out + n_in for n_in, n_out in pairs)
        assert count(make_d(rng=Nothing())) == expected == 17427969


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize(("stride", "kernel_size"), [(4, 25), (2, 5), (3, 4), (4, 4), (2, 6)])
def test_waveforms_of_any_stride(stride, kernel_size, n_channels):
    sizes = {"n_samples": 5 * stride**3, "width": 2, "n_layers": 3, "stride": stride}
    sizes |= {"kernel_size": kernel_size, "n_channels": n_channels}
    generator = WaveGANGenerator(**sizes, n_latent=6, rng=0)
    x = generator.forward(generator.draw(4, rng=1))
    assert x.shape == (4, n_channels, 5 * stride**3)
    assert x.dtype == np.float32 and 0.01 < abs(x).max() < 1
    logits = WaveGANDiscriminator(**sizes, rng=1).forward(x)
    assert logits.shape == (4,) and logits.dtype == np.float32 and logits.std() > 1e-5


def test_spectrograms_need_not_be_square():
    generator = SpecGANGenerator(**TINY_SPEC, n_latent=6, rng=0)
    x = generator.forward(generator.draw(4, rng=1))
    assert x.shape == (4, 1, 8, 12) and x.dtype == np.float32 and 0.01 < abs(x).max() < 1
    logits = SpecGANDiscriminator(**TINY_SPEC, rng=1).forward(x)
    assert logits.shape == (4,) and logits.std() > 1e-5


@pytest.mark.parametrize("sizes", [gan.SMALL_WAVE, {**gan.SMALL_WAVE, "width": 32}])
def test_signals_keep_their_size_through_the_layers(sizes):
    """The initial weights: no layer's output is ten times larger or smaller than another's."""
    generator, critic = WaveGANGenerator(**sizes, rng=0), WaveGANDiscriminator(**sizes, rng=1)
    x, rms = generator.draw(4, rng=2), []
    for layer in generator.network.layers[1:]:
        x = layer.forward(generator.network.layers[0].forward(x) if not rms else x)
        rms.append(np.sqrt((x * x).mean()))
    assert max(rms) < 10 * min(rms), rms
    rms = []
    x = np.random.default_rng(3).uniform(-1, 1, (4, 1, sizes["n_samples"])).astype(np.float32)
    for layer in critic.network.layers[:-2]:
        x = layer.forward(x)
        rms.append(np.sqrt((x * x).mean()))
    assert max(rms) < 10 * min(rms), rms


def test_latent_numbers():
    generator = WaveGANGenerator(**TINY_WAVE, n_latent=6, rng=0)
    z = generator.draw(2000, rng=1)
    assert z.shape == (2000, 6) and z.dtype == np.float32
    assert -1 <= z.min() < -0.99 and 0.99 < z.max() <= 1 and abs(z.mean()) < 0.03
    assert np.array_equal(z, generator.draw(2000, rng=1))
    assert generator.astype(np.float64).draw(1).dtype == np.float64


# Phase shuffle -----------------------------------------------------------------------------------


class Shifts(np.random.Generator):
    """Draws the shifts that it was given."""

    def __init__(self, shifts):
        super().__init__(np.random.PCG64(0))
        self.shifts = shifts

    def integers(self, low, high, size):
        assert (low, high) == (-2, 3)
        return np.array(self.shifts[:size])


def reflected(t, T):
    return -t if t < 0 else 2 * (T - 1) - t if t >= T else t


@pytest.mark.parametrize("T", [3, 4, 11])
@pytest.mark.parametrize("shared", [False, True])
def test_phase_shuffle_by_loops(T, shared):
    """y[b, c, t] = x[b, c, t - s], reflected; and its transpose entry by entry."""
    shifts = [0, 2, -2, 1, -1]
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 5, 3, T))
    layer = nn.PhaseShuffle(2, shared, Shifts(shifts[1:] if shared else shifts))
    y, dx = np.zeros_like(x), np.zeros_like(x)
    for b, c, t in np.ndindex(x.shape):
        source = reflected(t - (2 if shared else shifts[b]), T)
        y[b, c, t] = x[b, c, source]
        dx[b, c, source] += dy[b, c, t]
    assert np.array_equal(layer.forward(x), y)
    np.testing.assert_allclose(layer.backward(dy), dx, rtol=1e-15, atol=1e-15)


def test_phase_shuffle_draws_every_shift_and_rests_in_evaluation():
    x = np.arange(40.0).reshape(1, 1, 40).repeat(3000, axis=0)
    layer = nn.PhaseShuffle(3, rng=0)
    shifts = 20 - layer.forward(x)[:, 0, 20]
    values, counts = np.unique(shifts, return_counts=True)
    assert values.tolist() == [-3, -2, -1, 0, 1, 2, 3] and counts.min() > 340
    shared = nn.PhaseShuffle(3, shared=True, rng=0)
    assert len({len(np.unique(shared.forward(x)[:, 0, 20])) for _ in range(9)}) == 1
    assert len({shared.forward(x)[0, 0, 20] for _ in range(50)}) == 7
    assert np.array_equal(layer.eval().forward(x), x)


def test_phase_shuffle_refuses():
    with pytest.raises(ConfigError, match="radius must be an integer of at least 1, got 0"):
        nn.PhaseShuffle(0)
    with pytest.raises(ShapeError, match=r"more steps than the radius 2, got \(4, 3, 2\)"):
        nn.PhaseShuffle(2).forward(np.ones((4, 3, 2)))
    layer = nn.PhaseShuffle(2)
    layer.forward(np.ones((4, 3, 5)))
    with pytest.raises(ShapeError, match=r"dy must have shape \(4, 3, 5\)"):
        layer.backward(np.ones((4, 3, 4)))


def test_where_the_shuffles_stand():
    """After each layer but the last, as in the paper; radius 0 leaves them out."""
    layers = WaveGANDiscriminator(n_samples=64, width=2, n_layers=3, rng=0).network.layers
    names = [type(layer).__name__ for layer in layers]
    assert names == 2 * ["Conv1d", "LeakyReLU", "PhaseShuffle"] + [
        "Conv1d", "LeakyReLU", "Reshape", "Linear"
    ]  # fmt: skip
    slopes = [layer.negative_slope for layer in layers if isinstance(layer, nn.LeakyReLU)]
    assert slopes == [0.2, 0.2, 0.2]
    assert [layer.radius for layer in layers if isinstance(layer, nn.PhaseShuffle)] == [2, 2]
    still = WaveGANDiscriminator(n_samples=64, width=2, n_layers=3, radius=0, rng=0)
    assert "PhaseShuffle" not in [type(layer).__name__ for layer in still.network.layers]


# The two updates ---------------------------------------------------------------------------------


def players(seed=0, spectral=False):
    generator = WaveGANGenerator(**TINY_WAVE, n_latent=6, rng=seed)
    critic = WaveGANDiscriminator(**TINY_WAVE, spectral=spectral, rng=seed + 1)
    rng = np.random.default_rng(seed)
    for layer in (generator, critic):
        for parameter in layer.parameters():
            parameter.grad[...] = rng.standard_normal(parameter.grad.shape)
    return generator, critic, nn.Adam(generator.parameters()), nn.Adam(critic.parameters())


def sounds(n=5, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (n, 1, 48)).astype(np.float32)


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("way", ["bare", "penalty", "spectral"])
def test_each_update_moves_one_player_only(game, way):
    """Bit for bit: values and gradients of the other, though these were not 0."""
    generator, critic, optimizer, critic_optimizer = players(spectral=way == "spectral")
    z = generator.draw(5, rng=0)
    at_rest, before = state_of(generator), state_of(critic)
    fake = generator.forward(z)
    penalty = 10.0 if way == "penalty" else 0.0
    discriminator_step(critic, critic_optimizer, GAMES[game], sounds(), fake, penalty, rng=0)
    assert state_of(generator) == at_rest
    moved = state_of(critic)
    assert all(moved[name][0] != before[name][0] for name in moved if name.endswith("W"))

    generator_step(generator, critic, optimizer, GAMES[game], z)
    assert state_of(critic) == moved
    after = state_of(generator)
    assert all(after[name][0] != at_rest[name][0] for name in after)


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("penalty", [0.0, 3.0])
def test_the_discriminators_gradient_is_that_of_its_loss(game, penalty):
    """By differences of what the step says it minimises; nothing of an earlier step remains."""
    _, critic, _, _ = players(3)
    critic.astype(np.float64)
    critic.network.layers[2].rng = RepeatingGenerator(0)
    rng = np.random.default_rng(1)
    real, fake = rng.uniform(-1, 1, (2, 5, 1, 48))
    still = nn.SGD(critic.parameters(), lr=0.0)

    def loss():
        return discriminator_step(critic, still, GAMES[game], real, fake[:5], penalty, rng=2)

    loss()
    gradients = {n: p.grad.copy() for n, p in critic.named_parameters()}
    for name in ("network.layers.0.W", "network.layers.6.W"):
        parameter = dict(critic.named_parameters())[name]

        def changed(values, parameter=parameter):
            parameter.value[...] = values
            return loss()

        measured = fourth_order_difference(changed, parameter.value.copy(), h=1e-6)
        np.testing.assert_allclose(gradients[name], measured, rtol=1e-5, atol=2e-6)
        assert abs(measured).max() > 1e-3


@pytest.mark.parametrize("game", GAMES)
def test_the_generators_gradient_is_that_of_its_loss(game):
    generator, critic, _, _ = players(4)
    generator.astype(np.float64)
    critic.astype(np.float64)
    critic.network.layers[2].rng = RepeatingGenerator(0)
    z = generator.draw(5, rng=1)
    still = nn.SGD(generator.parameters(), lr=0.0)

    def loss():
        return generator_step(generator, critic, still, GAMES[game], z)

    loss()
    gradients = {n: p.grad.copy() for n, p in generator.named_parameters()}
    for name in ("network.layers.0.b", "network.layers.5.W"):
        parameter = dict(generator.named_parameters())[name]

        def changed(values, parameter=parameter):
            parameter.value[...] = values
            return loss()

        measured = fourth_order_difference(changed, parameter.value.copy(), h=1e-6)
        np.testing.assert_allclose(gradients[name], measured, rtol=1e-5, atol=1e-8)
        assert abs(measured).max() > 1e-5


def test_batches_of_different_sizes():
    generator, critic, _, critic_optimizer = players()
    fake = generator.forward(generator.draw(3, rng=0))
    loss = discriminator_step(critic, critic_optimizer, nn.HINGE, sounds(7), fake)
    assert np.isfinite(loss)


def test_spectral_normalisation_bounds_the_slope():
    """Every layer stretches nothing by more than about 1, and the penalty is refused."""
    critic = WaveGANDiscriminator(**TINY_WAVE, spectral=True, rng=0)
    for layer in critic.network.layers:
        if hasattr(layer, "W"):
            assert isinstance(layer, nn.SpectralNorm)
    with pytest.raises(ConfigError, match="SpectralNorm has no tangent"):
        nn.gradient_penalty(critic, sounds(), sounds())
    image_critic = SpecGANDiscriminator(**TINY_SPEC, spectral=True, rng=0)
    kinds = [type(layer).__name__ for layer in image_critic.network.layers]
    assert kinds.count("SpectralNorm") == 3


@pytest.mark.parametrize("game", GAMES)
def test_a_waveform_is_learnt(game):
    """One sine with a little noise; without the shuffle, which would make its phase invisible."""
    rng = np.random.default_rng(0)
    sizes = TINY_WAVE | {"width": 8}
    generator = WaveGANGenerator(**sizes, n_latent=4, rng=rng)
    critic = WaveGANDiscriminator(**sizes, radius=0, rng=rng)
    optimizer = nn.Adam(generator.parameters(), 2e-3, (0.5, 0.9))
    critic_optimizer = nn.Adam(critic.parameters(), 5e-3, (0.5, 0.9))
    wave = 0.5 * np.sin(np.arange(48) / 3)
    for _ in range(130):
        real = (wave + 0.05 * rng.standard_normal((8, 1, 48))).astype(np.float32)
        fake = generator.forward(generator.draw(8, rng))
        discriminator_step(critic, critic_optimizer, GAMES[game], real, fake, 1.0, rng)
        generator_step(generator, critic, optimizer, GAMES[game], generator.draw(8, rng))
    made = generator.forward(generator.draw(64, rng))[:, 0]
    assert np.square(made - wave).mean() < 0.4 * np.square(wave).mean()


# Spectrograms ------------------------------------------------------------------------------------


def hits(n=6, length=1024, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(length) / 8000
    f = rng.uniform(300, 2500, (n, 1))
    return (0.5 * np.sin(2 * np.pi * f * t) * np.exp(-rng.uniform(20, 60, (n, 1)) * t)).astype(
        np.float32
    )


def test_pictures_are_standardised_in_each_bin():
    x = hits()
    scale = SpectrogramScale.fit(x, n_bins=32, hop_length=16)
    pictures = scale.encode(x)
    assert pictures.shape == (6, 1, 32, 64) and pictures.dtype == np.float32
    logs = np.log(np.abs(dsp.stft(x, n_fft=64, hop_length=16))[:, :32, :64] + 1e-6)
    for k in range(32):
        expected = (logs[:, k] - logs[:, k].mean()) / (3 * logs[:, k].std())
        np.testing.assert_allclose(
            pictures[:, 0, k], np.clip(expected, -1, 1), rtol=1e-4, atol=1e-5
        )
    assert abs(pictures).max() <= 1


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 999))
def test_decoding_inverts_encoding(seed):
    """Magnitudes come back, up to what was cut off and what Griffin-Lim does not find."""
    x = hits(3, seed=seed)
    scale = SpectrogramScale.fit(x, n_bins=64, hop_length=32)
    y = scale.decode(scale.encode(x), n_iter=60, rng=0)
    assert y.shape == x.shape and y.dtype == np.float32
    S, S_y = (np.abs(dsp.stft(z, n_fft=128, hop_length=32)) for z in (x, y))
    assert np.linalg.norm(S_y - S) < 0.5 * np.linalg.norm(S)


def test_a_generator_carries_its_scale():
    generator = SpecGANGenerator(**TINY_SPEC, n_latent=6, hop_length=8, rng=0)
    scale = generator.scale = SpectrogramScale.fit(hits(length=96), n_bins=8)
    assert np.array_equal(generator.scale.mean, scale.mean)
    assert np.array_equal(generator.scale.std, scale.std)
    pictures = generator.forward(generator.draw(2, rng=0))
    assert generator.scale.decode(pictures, rng=0).shape == (2, 96)
    for wrong in (
        SpectrogramScale.fit(hits(), n_bins=16, hop_length=8),
        SpectrogramScale.fit(hits(), n_bins=8, hop_length=4),
    ):
        with pytest.raises(ConfigError, match="scale must be of 8 bins and hop_length 8"):
            generator.scale = wrong


def test_windows_overlap_by_half_unless_said():
    assert SpecGANGenerator(**TINY_SPEC, rng=0).hop_length == 8
    assert SpectrogramScale.fit(hits(), n_bins=32).hop_length == 32


def test_silent_bins_do_not_divide_by_zero():
    scale = SpectrogramScale.fit(np.zeros((2, 256), np.float32), n_bins=16)
    pictures = scale.encode(np.zeros((2, 256), np.float32))
    assert abs(pictures).max() < 0.01
    assert abs(scale.decode(pictures, rng=0)).max() < 1e-5


# Checkpoints -------------------------------------------------------------------------------------


def made(kind):
    if kind is WaveGANGenerator:
        return WaveGANGenerator(**TINY_WAVE, n_latent=6, n_channels=2, sample_rate=8000, rng=0)
    generator = SpecGANGenerator(**TINY_SPEC, n_latent=6, kernel_size=4, hop_length=8, rng=0)
    generator.scale = SpectrogramScale.fit(hits(length=96), n_bins=8)
    return generator


@pytest.mark.parametrize("kind", [WaveGANGenerator, SpecGANGenerator])
def test_a_checkpoint_brings_the_generator_back(kind, tmp_path):
    generator = made(kind)
    path = tmp_path / "generator.npz"
    save_checkpoint(path, generator, settings=generator.settings)
    loaded = load_model(path)
    z = generator.draw(3, rng=1)
    assert np.array_equal(loaded.forward(z), generator.forward(z))
    assert loaded.sample_rate == generator.sample_rate and not loaded.training
    if kind is SpecGANGenerator:
        assert np.array_equal(loaded.scale.mean, generator.scale.mean)
        assert np.array_equal(loaded.scale.std, generator.scale.std)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(WaveGANGenerator, n) for n in
     ("n_samples", "n_latent", "width", "n_layers", "kernel_size", "n_channels", "stride")]
    + [(SpecGANGenerator, n) for n in
       ("n_bins", "n_frames", "n_latent", "width", "n_layers", "kernel_size")],
)  # fmt: skip
def test_settings_must_fit_the_weights(kind, name, tmp_path):
    generator = made(kind)
    for value in (generator.settings[name] * 10**6, -1, "many", None, 0):
        path = tmp_path / "generator.npz"
        path.unlink(missing_ok=True)
        save_checkpoint(path, generator, settings=generator.settings | {name: value})
        with pytest.raises(CheckpointError, match="settings"):
            kind.from_checkpoint(load_checkpoint(path))


def test_a_checkpoint_of_other_weights_is_refused(tmp_path):
    path = tmp_path / "linear.npz"
    save_checkpoint(path, nn.Linear(3, 2, rng=0), settings={"n_samples": 48})
    for kind in (WaveGANGenerator, SpecGANGenerator):
        with pytest.raises(CheckpointError):
            kind.from_checkpoint(load_checkpoint(path))


# What they refuse --------------------------------------------------------------------------------


def test_latents_of_the_wrong_size():
    for generator in (
        WaveGANGenerator(**TINY_WAVE, n_latent=6, rng=0),
        SpecGANGenerator(**TINY_SPEC, n_latent=6, rng=0),
    ):
        for shape in ((2, 5), (2, 7), (6,), (2, 1, 6), (0, 6)):
            with pytest.raises(ShapeError, match=r"z must have shape \(batch, 6\).*draw\(n\)"):
                generator.forward(np.zeros(shape, np.float32))
        with pytest.raises(ConfigError, match="n must be an integer of at least 1, got 0"):
            generator.draw(0)


def test_audio_outside_full_scale():
    critic = WaveGANDiscriminator(**TINY_WAVE, rng=0)
    x = np.zeros((2, 1, 48), np.float32)
    for loud in (1.001, -1.5, 300, np.nan, np.inf):
        x[1, 0, 7] = loud
        with pytest.raises(ShapeError, match=r"x must lie in -1\.\.1.*Divide sounds by their peak"):
            critic.forward(x)
    for allowed in (1, -1):
        x[1, 0, 7] = allowed
        critic.forward(x)


def test_shapes_that_cannot_be():
    critic = WaveGANDiscriminator(**TINY_WAVE, rng=0)
    for shape in ((2, 48), (2, 1, 47), (2, 2, 48), (0, 1, 48)):
        with pytest.raises(ShapeError, match=r"x must have shape \(batch, 1, 48\), got"):
            critic.forward(np.zeros(shape, np.float32))
    critic = SpecGANDiscriminator(**TINY_SPEC, rng=0)
    with pytest.raises(
        ShapeError, match=r"x must have shape \(batch, 1, 8, 12\), got \(2, 8, 12\)"
    ):
        critic.forward(np.zeros((2, 8, 12), np.float32))


@pytest.mark.parametrize("kind", [WaveGANGenerator, WaveGANDiscriminator])
def test_wave_settings_that_cannot_be(kind):
    with pytest.raises(ConfigError, match="n_samples must be a multiple of 16.* got 50"):
        kind(**TINY_WAVE | {"n_samples": 50})
    with pytest.raises(ConfigError, match="kernel_size must be at least the stride 4.* got 3"):
        kind(**TINY_WAVE | {"kernel_size": 3})
    for name in ("n_samples", "width", "n_layers", "kernel_size", "stride", "n_channels"):
        with pytest.raises(ConfigError, match=f"{name} must be an integer of at least 1, got 0"):
            kind(**TINY_WAVE | {name: 0})


@pytest.mark.parametrize("kind", [SpecGANGenerator, SpecGANDiscriminator])
def test_spec_settings_that_cannot_be(kind):
    with pytest.raises(ConfigError, match="n_bins must be a multiple of 4.* got 6"):
        kind(**TINY_SPEC | {"n_bins": 6})
    with pytest.raises(ConfigError, match="n_frames must be a multiple of 4.* got 13"):
        kind(**TINY_SPEC | {"n_frames": 13})
    for name in ("n_bins", "n_frames", "width", "n_layers", "kernel_size"):
        with pytest.raises(ConfigError, match=f"{name} must be an integer of at least 1, got 0"):
            kind(**TINY_SPEC | {name: 0})


def test_sounds_and_pictures_that_cannot_be():
    scale = SpectrogramScale.fit(hits(), n_bins=32, hop_length=16)
    with pytest.raises(ShapeError, match=r"a multiple of hop_length 16 samples, got \(6, 1020\)"):
        scale.encode(hits()[:, :1020])
    with pytest.raises(ShapeError, match=r"got \(1024,\)"):
        scale.encode(hits()[0])
    with pytest.raises(ShapeError, match=r"pictures must have shape \(batch, 1, 32, frames\)"):
        scale.decode(np.zeros((2, 32, 64)))
    with pytest.raises(ConfigError, match="n_bins must be an integer of at least 1"):
        SpectrogramScale.fit(hits(), n_bins=0)
