"""SEGAN: forward by loops, gradients, sizes, what a sample sees, both players, recordings."""

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchaudio import dsp, nn
from scratchaudio.checkpoint import load_checkpoint, save_checkpoint
from scratchaudio.errors import CheckpointError, ConfigError, ShapeError
from scratchaudio.metrics import si_sdr
from scratchaudio.models import SEGANDiscriminator, SEGANGenerator, load_model, segan
from scratchaudio.models.segan import SMALL_GENERATOR, WIDTHS, pair

TINY = {"widths": (3, 4, 5), "kernel_size": 5, "stride": 2}
OTHER = {"widths": (4, 3), "kernel_size": 7, "stride": 3}
SR = 16000


def off_start(layer, seed=1):
    """Weights off their initial values."""
    rng = np.random.default_rng(seed)
    for parameter in layer.parameters():
        parameter.value += 0.2 * rng.standard_normal(parameter.value.shape).astype(np.float32)
    return layer


def tiny(sizes=TINY, n_latent=2, **settings):
    return off_start(SEGANGenerator(**sizes, n_latent=n_latent, rng=0, **settings))


def sound(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def count(layer):
    return sum(parameter.value.size for parameter in layer.parameters())


# The networks by loops ---------------------------------------------------------------------------


def convolved(layer, x, stride):
    """Each output gathers k inputs around stride t."""
    W, (B, _, N) = layer.W.value, x.shape
    p = W.shape[2] // 2
    y = np.zeros((B, len(W), N // stride))
    for t in range(N // stride):
        for j in range(W.shape[2]):
            n = stride * t + j - p
            if 0 <= n < N:
                y[:, :, t] += x[:, :, n] @ W[:, :, j].T
    return y + layer.b.value[:, None]


def transposed(layer, x, stride):
    """Each input spreads over k outputs around stride t."""
    W, (B, _, T) = layer.W.value, x.shape
    p = W.shape[2] // 2
    y = np.zeros((B, W.shape[1], T * stride))
    for t in range(T):
        for j in range(W.shape[2]):
            n = stride * t + j - p
            if 0 <= n < T * stride:
                y[:, :, n] += x[:, :, t] @ W[:, :, j]
    return y + layer.b.value[:, None]


def prelu(layer, x):
    return np.where(x > 0, x, layer.a.value[:, None] * x)


def generated(model, x, z, stride):
    heard, d = [], x
    for down, bend in zip(model.downs, model.down_prelus, strict=True):
        heard.append(convolved(down, d, stride))
        d = prelu(bend, heard[-1])
    u, last = np.concatenate([d, z], axis=1), len(heard) - 1
    for i, bend in enumerate(model.up_prelus):
        u = prelu(bend, transposed(model.ups[i], u, stride))
        u = np.concatenate([u, heard[last - 1 - i]], axis=1)
    return np.tanh(transposed(model.ups[-1], u, stride))


@pytest.mark.parametrize(("sizes", "N"), [(TINY, 24), (OTHER, 27), (OTHER, 9)])
def test_the_generator_by_loops(sizes, N):
    model, stride = tiny(sizes).astype(np.float64), sizes["stride"]
    x, z = sound((2, 1, N)), sound((2, 2, N // stride ** len(sizes["widths"])), 1)
    y = model.forward(x, z)
    assert y.shape == (2, 1, N) and y.dtype == np.float64
    np.testing.assert_allclose(y, generated(model, x, z, stride), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("sizes", [TINY, OTHER])
def test_the_discriminator_by_loops(sizes):
    stride, N = sizes["stride"], 3 * sizes["stride"] ** len(sizes["widths"])
    model = off_start(SEGANDiscriminator(N, **sizes, rng=0)).astype(np.float64)
    x = np.random.default_rng(2).uniform(-1, 1, (4, 2, N))
    convolutions = [layer for layer in model.network.layers if isinstance(layer, nn.Conv1d)]
    y = x
    for layer in convolutions[:-1]:
        y = convolved(layer, y, stride)
        y = np.where(y > 0, y, 0.3 * y)
    y = convolved(convolutions[-1], y, 1)[:, 0]  # one channel for all
    dense = model.network.layers[-1]
    logits = (y @ dense.W.value + dense.b.value)[:, 0]
    np.testing.assert_allclose(model.forward(x), logits, rtol=1e-10)


@pytest.mark.parametrize(("sizes", "N"), [(TINY, 24), (OTHER, 27)])
def test_gradients_of_the_generator(sizes, N):
    model = tiny(sizes).astype(np.float64)
    x, z = sound((2, 1, N)), sound((2, 2, N // model.step), 1)
    nn.check_gradients(model, x, z)


@pytest.mark.parametrize("spectral", [False, True])
def test_gradients_of_the_discriminator(spectral):
    model = off_start(SEGANDiscriminator(24, **TINY, spectral=spectral, rng=0)).astype(np.float64)
    x = np.random.default_rng(2).uniform(-0.9, 0.9, (3, 2, 24))
    nn.check_gradients(model, x)


def test_skips_pass_before_the_prelu():
    """With slopes of 1 and 0 only what lies below differs; a skip after the PReLU would too."""
    model = tiny({"widths": (3, 2), "kernel_size": 3, "stride": 2}).astype(np.float64)
    for name, parameter in model.named_parameters():
        if name.startswith(("ups.0", "downs.1")):
            parameter.value[...] = 0  # nothing comes from below
    x, z = sound((2, 1, 8)), sound((2, 2, 2), 1)
    before = model.forward(x, z)
    model.down_prelus[0].a.value[...] = 0
    np.testing.assert_array_equal(model.forward(x, z), before)


# Sizes -------------------------------------------------------------------------------------------


def sizes_of(k):
    """Parameters of both players with the paper's channels and k taps."""
    generator, discriminator = SEGANGenerator(kernel_size=k), SEGANDiscriminator(kernel_size=k)
    return np.array([count(generator), count(discriminator)])


def test_the_papers_sizes():
    """Counted with few taps: the count is linear in k, and 31 would take 600 MB."""
    by_one_tap = (sizes_of(5) - sizes_of(3)) // 2
    generator, discriminator = sizes_of(3) + 28 * by_one_tap
    channels = [1, *WIDTHS]
    pairs = list(zip(channels, channels[1:], strict=False))
    encoder = sum(31 * n_in * n_out + 2 * n_out for n_in, n_out in pairs)  # biases and PReLUs
    decoder = sum(2 * 31 * n_in * n_out + 2 * n_in for n_in, n_out in pairs[1:])
    assert generator == encoder + decoder + 2 * 31 * 16 + 1 == 73_100_049
    judge = sum(31 * n_in * n_out + n_out for n_in, n_out in [(2, 16), *pairs[1:]])
    assert discriminator == judge + 1024 + 1 + 8 + 1 == 24_368_058
    # With virtual batch normalisation, a scale and a shift for each channel: the 97.47 million
    # that later papers state.
    assert round((generator + discriminator + 2 * sum(WIDTHS)) / 1e6, 2) == 97.47
    for player in (SEGANGenerator, SEGANDiscriminator):
        defaults = inspect.signature(player).parameters
        assert defaults["kernel_size"].default == 31 and defaults["stride"].default == 2
        assert defaults["widths"].default == WIDTHS and len(WIDTHS) == 11
    assert inspect.signature(SEGANDiscriminator).parameters["n_samples"].default == 16384
    assert 16384 // 2**11 == 8, "steps of the code"


def test_the_small_size_ships():
    model = SEGANGenerator(**SMALL_GENERATOR, rng=0)
    assert 4 * count(model) < 700_000
    x = (0.1 * sound((2, 1, 4096))).astype(np.float32)
    y = model.forward(x, model.draw(2, 4096, rng=1))
    assert y.dtype == np.float32 and y.shape == x.shape and 1e-4 < abs(y).max() < 0.5


def test_random_numbers():
    model = tiny(n_latent=3)
    z = model.draw(50, 81, rng=1)
    assert z.shape == (50, 3, 11) and z.dtype == np.float32, "81 samples, rounded up to 88"
    assert abs(z.mean()) < 0.1 and abs(z.std() - 1) < 0.05
    assert np.array_equal(z, model.draw(50, 81, rng=1))
    assert model.astype(np.float64).draw(1, 8).dtype == np.float64


# What a sample sees ------------------------------------------------------------------------------


def test_the_receptive_field_of_the_paper():
    """By the formula: a sample sees more than the second it is made from."""
    model = SEGANGenerator([1] * 11, n_latent=1, rng=0)
    assert model.reach == 2 * 15 * (2**11 - 1) == 61410
    assert nn.receptive_field(model.downs) == 61411  # of a step of the code
    small = SEGANGenerator(**SMALL_GENERATOR, rng=0)
    assert small.reach == 2 * 5 * (1 + 4 + 16 + 64 + 256) == 3410


@pytest.mark.parametrize("sizes", [TINY, OTHER, {"widths": (2,), "kernel_size": 3, "stride": 2}])
def test_the_receptive_field_is_that_of_the_formula(sizes):
    """Measured by the gradient of each sample in the middle of a long sound."""
    model = tiny(sizes).astype(np.float64)
    step, reach = model.step, model.reach
    N = step * (4 + 2 * reach // step)
    x, z = 0.1 * sound((1, 1, N)), sound((1, 2, N // step), 1)
    before, after = [], []
    for n in range(N // 2, N // 2 + step):
        dy = np.zeros((1, 1, N))
        dy[..., n] = 1
        model.forward(x, z)
        dx, _ = model.backward(dy)
        seen = np.flatnonzero(dx)
        before.append(n - seen[0])
        after.append(seen[-1] - n)
    assert max(before) == max(after) == reach


# Learning ----------------------------------------------------------------------------------------


def players(spectral=False):
    return tiny(), off_start(SEGANDiscriminator(24, **TINY, spectral=spectral, rng=1))


@pytest.mark.parametrize("spectral", [False, True])
def test_gradients_do_not_leak(spectral):
    """The frozen judge is bit for bit as before; what it says reaches the generator."""
    generator, judge = players(spectral)
    noisy = np.random.default_rng(0).uniform(-0.9, 0.9, (4, 1, 24)).astype(np.float32)
    fake = generator.forward(noisy, generator.draw(4, 24, rng=1))
    rng = np.random.default_rng(2)
    for parameter in judge.parameters():
        parameter.grad += rng.standard_normal(parameter.grad.shape).astype(np.float32)
    _, dlogits = nn.LEAST_SQUARES.generator(judge.forward(pair(fake, noisy)))
    before = [(p.value.tobytes(), p.grad.tobytes()) for p in judge.parameters()]
    with nn.frozen(judge):
        dpair = judge.backward(dlogits)
    assert before == [(p.value.tobytes(), p.grad.tobytes()) for p in judge.parameters()]
    generator.backward(dpair[:, :1])
    assert all(abs(p.grad).max() > 0 for p in generator.parameters())


def test_pairs():
    candidate, noisy = sound((3, 1, 5)), sound((3, 1, 5), 1)
    both = pair(candidate, noisy)
    assert both.shape == (3, 2, 5)
    np.testing.assert_array_equal(both[:, 0], candidate[:, 0])
    np.testing.assert_array_equal(both[:, 1], noisy[:, 0])


def test_the_pair_matters():
    """A judge can tell the clean speech of this recording from that of another."""
    rng = np.random.default_rng(0)
    judge = SEGANDiscriminator(32, (8, 8), 5, 2, rng=1)
    optimizer = nn.Adam(judge.parameters(), lr=3e-3)

    def batch():
        clean = rng.uniform(-0.5, 0.5, (16, 1, 32)).astype(np.float32)
        noisy = clean + rng.uniform(-0.1, 0.1, clean.shape).astype(np.float32)
        return pair(clean, noisy), pair(clean[::-1], noisy)

    for _ in range(300):
        judge.zero_grad()
        logits = judge.forward(np.concatenate(batch()))
        loss, dreal, dfake = nn.LEAST_SQUARES.discriminator(logits[:16], logits[16:])
        judge.backward(np.concatenate([dreal, dfake]))
        optimizer.step()
    real, fake = batch()
    assert (judge.forward(real) > judge.forward(fake)).mean() > 0.8


def test_it_learns():
    """A low tone is speech, a high one noise."""
    t = np.arange(256) / SR
    rng = np.random.default_rng(0)
    low, high = (
        0.3 * np.sin(2 * np.pi * f * t + rng.uniform(0, 6, (8, 1, 1))).astype(np.float32)
        for f in (300, 3000)
    )
    model = SEGANGenerator((8, 12), 2, 9, 4, rng=0)
    optimizer, losses = nn.Adam(model.parameters(), lr=1e-2), []
    for step in range(150):
        model.zero_grad()
        y = model.forward(low + high, model.draw(8, 256, rng=step))
        loss, dy = nn.l1(y, low)
        model.backward(dy)
        optimizer.step()
        losses.append(loss)
    assert np.mean(losses[-10:]) < losses[0] / 10


# Recordings --------------------------------------------------------------------------------------


def by_definition(model, x, seed=0):
    """`enhance` of one channel at the model's rate, all at once."""
    heard = x.astype(np.float64) / abs(x).max()
    heard = np.concatenate([heard[:1], heard[1:] - model.emphasis * heard[:-1]])
    gain = 0.9 / abs(heard).max()
    n = -(-len(x) // model.step) * model.step
    padded = np.concatenate([gain * heard, np.zeros(n - len(x))]).astype(np.float32)
    y = model.eval().forward(padded[None, None], model.draw(1, n, rng=seed))[0, 0, : len(x)] / gain
    out, last = [], 0.0
    for sample in y:
        last = sample + model.emphasis * last
        out.append(last)
    return abs(x).max() * np.array(out)


@pytest.mark.parametrize("n", [1, 7, 64, 1003])
@pytest.mark.parametrize("emphasis", [0, 0.5, 0.95])
def test_enhance_by_definition(n, emphasis):
    model = tiny(emphasis=emphasis)
    x = 3 * sound(n)
    y = model.enhance(x, SR)
    assert y.shape == x.shape and y.dtype == np.float64
    np.testing.assert_allclose(y, by_definition(model, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("window", [8, 40, 256])
def test_windows_leave_no_seam(window, monkeypatch):
    model, x = tiny(), sound(1003)
    whole = by_definition(model, x)
    monkeypatch.setattr(segan, "WINDOW", window)
    np.testing.assert_allclose(model.enhance(x, SR), whole, rtol=1e-4, atol=1e-5)


def test_what_the_emphasis_costs():
    """How much louder a mistake at 100 Hz comes out than one at 1 kHz."""
    impulse = np.concatenate([[1.0], np.zeros(15999)])
    for emphasis, expected in ((0.95, 16), (SMALL_GENERATOR["emphasis"], 2)):
        level = dsp.amplitude_to_db(abs(np.fft.rfft(dsp.deemphasis(impulse, coef=emphasis, zi=0))))
        assert round(level[100] - level[1000]) == expected


@settings(max_examples=10)
@given(exponent=st.integers(-30, 30))
def test_any_level(exponent):
    """Audio outside -1 ... 1 is right too: the result is as much louder."""
    model, x = tiny(), sound(100).astype(np.float32)
    y = model.enhance(np.float32(10.0**exponent) * x, SR)
    assert y.dtype == np.float32
    expected = model.enhance(x, SR)
    np.testing.assert_allclose(y / np.float32(10.0**exponent), expected, atol=1e-4)


def test_channels_share_a_gain_and_nothing_else():
    model, x = tiny(), sound((2, 300))
    x[1] *= 0.1
    y = model.enhance(x, SR)
    assert y.shape == (2, 300)
    np.testing.assert_allclose(y[0], model.enhance(x[0], SR), rtol=1e-5, atol=1e-6)
    changed = x.copy()
    changed[1, 150:] = 0
    np.testing.assert_array_equal(model.enhance(changed, SR)[0], y[0])
    same = model.enhance(np.stack([x[0], x[0]]), SR)
    np.testing.assert_array_equal(same[0], same[1])


@pytest.mark.parametrize("sr", [8000, 44100])
def test_other_sampling_rates(sr):
    model, x = tiny(), sound(3001)
    y = model.enhance(x, sr)
    assert y.shape == x.shape
    heard = dsp.resample(x, sr, SR)
    expected = dsp.resample(model.enhance(heard, SR), SR, sr)[: len(x)]
    assert si_sdr(expected, y) > 60


def test_the_same_twice_and_silence_stays():
    model, x = tiny(), sound(300)
    np.testing.assert_array_equal(model.enhance(x, SR), model.enhance(x, SR))
    assert (model.enhance(x, SR, rng=1) != model.enhance(x, SR)).mean() > 0.9
    np.testing.assert_array_equal(model.enhance(np.zeros(50), SR), np.zeros(50))
    kept = x.copy()
    model.enhance(x, SR)
    np.testing.assert_array_equal(x, kept)
    assert not model.training, "nothing is kept for backward"


def test_a_checkpoint_brings_it_back(tmp_path):
    model = tiny(emphasis=0.7, sample_rate=8000)
    save_checkpoint(tmp_path / "segan.npz", model, settings=model.settings)
    again = load_model(tmp_path / "segan.npz")
    assert again.settings == model.settings and not again.training
    np.testing.assert_array_equal(again.enhance(sound(99), 8000), model.enhance(sound(99), 8000))


@pytest.mark.parametrize(
    ("name", "value"),
    [("widths", [3, 4, 6]), ("widths", [3, 4]), ("n_latent", 3), ("kernel_size", 7)],
)
def test_a_checkpoint_whose_settings_are_not_its_own(tmp_path, name, value):
    model = tiny()
    save_checkpoint(tmp_path / "m.npz", model, settings=model.settings | {name: value})
    with pytest.raises(CheckpointError, match=f"{name} is .* in its settings"):
        SEGANGenerator.from_checkpoint(load_checkpoint(tmp_path / "m.npz"))


def test_a_checkpoint_of_nothing(tmp_path):
    class Empty(nn.Layer):
        pass

    save_checkpoint(tmp_path / "m.npz", Empty(), settings={"widths": [], "stride": 0})
    with pytest.raises(CheckpointError, match="in its settings"):
        SEGANGenerator.from_checkpoint(load_checkpoint(tmp_path / "m.npz"))


# Bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"widths": ()}, "widths must hold at least one number of channels"),
        ({"widths": (3, 0)}, r"widths\[1\] must be an integer of at least 1, got 0"),
        ({"kernel_size": 4}, "kernel_size must be odd, and at least the stride 2.*got 4"),
        ({"kernel_size": 3, "stride": 4}, "kernel_size must be odd, and at least the stride 4"),
        ({"stride": 0}, "stride must be an integer of at least 1, got 0"),
        ({"kernel_size": 2.5}, "kernel_size must be an integer"),
    ],
)
def test_impossible_sizes(changed, message):
    with pytest.raises(ConfigError, match=message):
        SEGANGenerator(**TINY | changed)
    with pytest.raises(ConfigError, match=message):
        SEGANDiscriminator(24, **TINY | changed)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"n_latent": 0}, "n_latent must be an integer of at least 1, got 0"),
        ({"emphasis": 1}, r"emphasis must lie in 0..1 \(1 excluded\), got 1"),
        ({"emphasis": -0.1}, r"emphasis must lie in 0..1 \(1 excluded\), got -0.1"),
        ({"emphasis": float("nan")}, "emphasis must lie in"),
        ({"sample_rate": 0}, "sample_rate must be an integer of at least 1, got 0"),
    ],
)
def test_impossible_settings(changed, message):
    with pytest.raises(ConfigError, match=message):
        SEGANGenerator(**TINY, **changed)


@pytest.mark.parametrize("shape", [(2, 24), (2, 2, 24), (0, 1, 24), (2, 1, 0), (2, 1, 23)])
def test_x_of_the_wrong_shape(shape):
    with pytest.raises(ShapeError, match=r"x must have shape \(batch, 1, samples\), a multiple of"):
        tiny().forward(np.zeros(shape), np.zeros((2, 2, 3)))


@pytest.mark.parametrize("shape", [(2, 2, 4), (2, 3, 3), (1, 2, 3), (2, 2)])
def test_z_of_the_wrong_shape(shape):
    with pytest.raises(ShapeError, match=r"z must have shape \(2, 2, 3\).*draw\(2, 24\) gives it"):
        tiny().forward(np.zeros((2, 1, 24)), np.zeros(shape))


def test_the_judge_refuses():
    with pytest.raises(ConfigError, match="n_samples must be a multiple of 8"):
        SEGANDiscriminator(23, **TINY)
    judge = SEGANDiscriminator(24, **TINY)
    with pytest.raises(ShapeError, match=r"x must have shape \(batch, 2, 24\), got \(4, 1, 24\)"):
        judge.forward(np.zeros((4, 1, 24)))
    with pytest.raises(ShapeError, match="x must lie in -1..1.* reaches 1.5"):
        judge.forward(np.full((4, 2, 24), 1.5))


@pytest.mark.parametrize(
    ("x", "sr", "error", "message"),
    [
        (np.zeros(0), SR, ShapeError, "x must hold at least one sample"),
        (np.full(9, np.nan), SR, ShapeError, "x must be finite"),
        (np.arange(9), SR, ShapeError, "x must hold floating-point samples"),
        (np.zeros((1, 2, 9)), SR, ShapeError, r"x must have shape \(samples,\) or \(channels"),
        (np.ones(9), 0, ConfigError, "sr must be an integer of at least 1, got 0"),
        (np.ones(9), 16000.0, ConfigError, "sr must be an integer"),
    ],
)
def test_recordings_that_are_none(x, sr, error, message):
    with pytest.raises(error, match=message):
        tiny().enhance(x, sr)


def test_draws_of_nothing():
    with pytest.raises(ConfigError, match="n must be an integer of at least 1"):
        tiny().draw(0, 24)
    with pytest.raises(ConfigError, match="n_samples must be an integer of at least 1"):
        tiny().draw(1, 0)
