import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchaudio import dsp
from scratchaudio.checkpoint import load_checkpoint, save_checkpoint
from scratchaudio.errors import CheckpointError, ConfigError, ShapeError
from scratchaudio.models import SpeechEnhancer, load_model
from scratchaudio.models import enhancer as module
from scratchaudio.models.enhancer import N_BINS, WINDOW, at_points, features, phase_sensitive
from scratchaudio.nn import Adam

SMALL = {"d_model": 8, "n_heads": 2, "n_layers": 2, "d_ff": 12}


def small(rng=0, **settings):
    """A small one, as if it had learned something: no weights are 0."""
    model = SpeechEnhancer(**(SMALL | settings), rng=rng)
    rng = np.random.default_rng(rng)
    model.output.W.value[...] = 0.3 * rng.standard_normal(model.output.W.value.shape)
    model.slope.value[...] = rng.uniform(0.5, 1.5, model.slope.value.shape)
    return model


def open_wide(model):
    """Make every mask 1."""
    model.slope.value[...] = 0
    model.output.W.value[...] = 0
    model.output.b.value[...] = 50
    return model


def spectra(rng, *shape):
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


# Features ----------------------------------------------------------------------------------------


def test_features_by_their_definition():
    rng = np.random.default_rng(0)
    power = rng.exponential(size=(11, 3)) * np.array([1.0, 1e-3, 1e-9])
    found = features(power)
    gain = dsp.wiener_decision_directed(
        power.T, dsp.noise_power(power.T, frame_rate=module.SAMPLE_RATE / module.HOP_LENGTH)
    )
    for t in range(11):
        for f in range(3):
            level = np.log10(power[t, f] / power.mean() + 1e-6) / 3
            assert abs(found[t, f] - level) < 1e-6, "the level"
            xi = gain[f, t] / (1 - gain[f, t])
            assert abs(found[t, 3 + f] - math.log(xi) / 4) < 1e-5, "the a-priori SNR"


@given(st.integers(0, 2**32), st.floats(-4, 4))
@settings(deadline=None, max_examples=20)
def test_features_do_not_know_how_loud_it_is(seed, exponent):
    power = np.random.default_rng(seed).exponential(size=(7, 5))
    np.testing.assert_allclose(features(power), features(10**exponent * power), atol=1e-4)


def test_features_of_a_batch_are_those_of_each_and_of_silence_finite():
    rng = np.random.default_rng(1)
    power = np.stack([rng.exponential(size=(7, 5)), np.zeros((7, 5)), 9 * np.ones((7, 5))])
    together = features(power)
    assert together.dtype == np.float32
    assert together.shape == (3, 7, 10)
    for one, alone in zip(together, power, strict=True):
        np.testing.assert_allclose(one, features(alone), atol=1e-6)
    np.testing.assert_allclose(together[1, :, :5], -2)  # 60 dB below: where every silence is
    assert np.isfinite(together).all()


# Loss --------------------------------------------------------------------------------------------


def test_loss_by_loops():
    rng = np.random.default_rng(2)
    mask, X, S = rng.random((2, 3, 4)), spectra(rng, 2, 3, 4), spectra(rng, 2, 3, 4)
    total = 0
    for b in range(2):
        error = energy = 0
        for t in range(3):
            for f in range(4):
                error += abs(mask[b, t, f] * X[b, t, f] - S[b, t, f]) ** 2
                energy += abs(X[b, t, f]) ** 2
        total += 10 * math.log10((error + 0.05 * energy) / energy)
    loss, _ = phase_sensitive(mask, X, S, softening=0.05)
    assert abs(loss - total / 2) <= 1e-12


def test_gradient_of_the_loss():
    rng = np.random.default_rng(3)
    mask, X, S = rng.random((2, 3, 4)), spectra(rng, 2, 3, 4), spectra(rng, 2, 3, 4)
    _, dmask = phase_sensitive(mask, X, S)
    for index in np.ndindex(mask.shape):
        step = np.zeros_like(mask)
        step[index] = 1e-5
        up, down = (phase_sensitive(mask + sign * step, X, S)[0] for sign in (1, -1))
        assert abs((up - down) / 2e-5 - dmask[index]) <= 1e-7, f"dmask[{index}]"


def test_the_phase_sensitive_mask_has_the_least_loss():
    rng = np.random.default_rng(4)
    X, S = spectra(rng, 1, 6, 5), spectra(rng, 1, 6, 5)
    best = dsp.phase_sensitive_mask(S, X)
    least, _ = phase_sensitive(best, X, S)
    for _ in range(20):
        other = np.clip(best + 0.1 * rng.standard_normal(best.shape), 0, 1)
        assert phase_sensitive(other, X, S)[0] > least


def test_a_loss_of_silence_is_finite_and_pulls_the_mask_down():
    rng = np.random.default_rng(5)
    X, nothing = spectra(rng, 1, 3, 4), np.zeros((1, 3, 4), complex)
    loss, dmask = phase_sensitive(np.full((1, 3, 4), 0.5), X, nothing)
    assert abs(loss - 10 * math.log10(0.25 + 1e-3)) < 1e-9
    assert (dmask > 0).all()
    loss, dmask = phase_sensitive(np.full((1, 3, 4), 0.5), nothing, nothing)
    assert math.isfinite(loss)
    assert np.isfinite(dmask).all()


def test_shapes_of_the_loss_are_checked():
    mask, X = np.ones((1, 3, 4)), np.ones((1, 3, 4), complex)
    with pytest.raises(ShapeError, match=r"one shape.*\(1, 4, 3\)"):
        phase_sensitive(mask, X, X.swapaxes(1, 2))


# Between the points of a mask --------------------------------------------------------------------


def test_a_mask_read_at_its_own_points_is_itself():
    mask = np.random.default_rng(6).random((9, N_BINS)).astype(np.float32)
    np.testing.assert_array_equal(at_points(mask, np.arange(9), np.arange(N_BINS)), mask)


def test_a_mask_between_its_points_is_interpolated_linearly():
    rng = np.random.default_rng(7)
    mask = rng.random((9, N_BINS))
    times, bins = rng.uniform(0, 8, 5), rng.uniform(0, N_BINS - 1, 4)
    found = at_points(mask, times, bins)
    for i, time in enumerate(times):
        for j, bin_ in enumerate(bins):
            t, f = int(time), int(bin_)
            row = [(1 - (bin_ - f)) * mask[k, f] + (bin_ - f) * mask[k, f + 1] for k in (t, t + 1)]
            assert abs(found[i, j] - ((1 - (time - t)) * row[0] + (time - t) * row[1])) < 1e-12


def test_beyond_its_ends_a_mask_goes_on():
    mask = np.random.default_rng(8).random((3, N_BINS))
    found = at_points(mask, [2, 5], [N_BINS, 2 * N_BINS])
    first = round(5000 / 16000 * module.N_FFT)
    np.testing.assert_allclose(found, mask[2, first:].mean(), rtol=1e-12)


# Recordings --------------------------------------------------------------------------------------


@pytest.mark.parametrize("sr", [8000, 11025, 16000, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("shape", [(), (1,), (3,)], ids=["mono", "one channel", "three"])
def test_any_rate_and_channels_come_back_as_they_were(sr, shape):
    x = np.random.default_rng(9).standard_normal((*shape, sr // 2 + 13)).astype(np.float32)
    y = open_wide(small()).enhance(x, sr)
    assert y.shape == x.shape
    assert y.dtype == x.dtype
    np.testing.assert_allclose(y, x, atol=1e-5)  # a mask of 1 keeps everything


@pytest.mark.parametrize("n", [1, 2, 767, 768, 1600, 16001])
def test_short_recordings_and_silence(n):
    model = small()
    x = np.random.default_rng(10).standard_normal(n)
    y = model.enhance(x, 16000)
    assert y.shape == (n,)
    assert y.dtype == np.float64
    assert np.isfinite(y).all()
    np.testing.assert_array_equal(model.enhance(0 * x, 16000), 0 * x)


def test_louder_in_louder_out_and_one_mask_for_all_channels():
    x = np.random.default_rng(11).standard_normal((2, 20000))
    x[1] = -3 * x[0]
    model = small()
    y = model.enhance(x, 16000)
    assert np.abs(y).max() > 0.1
    np.testing.assert_allclose(y[1], -3 * y[0], atol=1e-6)
    np.testing.assert_allclose(model.enhance(x[0], 16000), y[0], atol=1e-6)
    np.testing.assert_allclose(model.enhance(100 * x, 16000), 100 * y, atol=1e-4)


def test_opposite_channels_do_not_cancel():
    x = np.random.default_rng(12).standard_normal(8000)
    y = open_wide(small()).enhance(np.stack([x, -x]), 16000)
    np.testing.assert_allclose(y, [x, -x], atol=1e-6)


def test_the_mask_multiplies_the_spectrum():
    model = small()
    x = np.random.default_rng(13).standard_normal(9000)
    X = dsp.stft(x, n_fft=module.N_FFT, hop_length=module.HOP_LENGTH)
    mask = model.mask(np.square(abs(X)).T)
    assert mask.min() < 0.4 < 0.6 < mask.max()  # one that would show
    y = dsp.istft(mask.T * X, n_fft=module.N_FFT, hop_length=module.HOP_LENGTH, length=len(x))
    np.testing.assert_allclose(model.enhance(x, 16000), y, atol=1e-6)


def test_windows_of_a_long_recording_are_faded_over():
    model = small()
    rng = np.random.default_rng(14)
    power = rng.exponential(size=(3 * WINDOW + 17, N_BINS))
    mask = model.mask(power)
    assert mask.shape == power.shape
    first = model.forward(features(power[:WINDOW])[None])[0]
    last = model.forward(features(power[-WINDOW:])[None])[0]
    free = WINDOW - 2 * module.OVERLAP
    np.testing.assert_allclose(mask[:free], first[:free], atol=1e-5)
    np.testing.assert_allclose(mask[-free:], last[-free:], atol=1e-5)
    steps = abs(np.diff(open_wide(small()).mask(power), axis=0))
    assert steps.max() < 1e-5, "the weights of the windows do not add up to the same everywhere"


def test_exactly_one_window_more():
    power = np.random.default_rng(15).exponential(size=(WINDOW + 1, N_BINS))
    mask = small().mask(power)
    assert np.isfinite(mask).all()
    assert mask.shape == power.shape


def test_a_middle_frame_is_a_mean_of_two_windows():
    model, T = small(), 2 * WINDOW - module.OVERLAP
    power = np.random.default_rng(16).exponential(size=(T, N_BINS))
    early = model.forward(features(power[:WINDOW])[None])[0]
    late = model.forward(features(power[-WINDOW:])[None])[0]
    mask = model.mask(power)
    for k in (0, 20, module.OVERLAP - 1):
        t = WINDOW - module.OVERLAP + k
        fade = (k + 1) / (module.OVERLAP + 1)
        expected = (1 - fade) * early[t] + fade * late[k]
        np.testing.assert_allclose(mask[t], expected, atol=1e-5)


def test_before_training_it_is_the_wiener_filter():
    x = np.random.default_rng(19).standard_normal(30_000)
    x[10_000:20_000] *= 10  # somebody speaks
    grid = {"n_fft": module.N_FFT, "hop_length": module.HOP_LENGTH}
    X = dsp.stft(x, **grid)
    power = np.square(abs(X))
    noise = dsp.noise_power(power, frame_rate=module.SAMPLE_RATE / module.HOP_LENGTH)
    gain = dsp.wiener_decision_directed(power, noise)
    expected = dsp.istft(gain * X, **grid, length=len(x))
    found = SpeechEnhancer(**SMALL, rng=0).enhance(x, 16000)
    assert np.sqrt(np.mean((found - expected) ** 2)) < 1e-3 * np.sqrt(np.mean(expected**2))


# The model as a whole ----------------------------------------------------------------------------


def test_it_learns_a_fixed_mask():
    rng = np.random.default_rng(17)
    model = small(n_layers=1)
    optimizer = Adam(model.parameters(), lr=1e-2)
    X = spectra(rng, 2, 6, N_BINS).astype(np.complex64)
    S = X * (np.arange(N_BINS) % 3 == 0)
    x = features(np.square(abs(X)))
    losses = []
    for _ in range(60):
        model.zero_grad()
        loss, dmask = phase_sensitive(model.forward(x), X, S)
        model.backward(dmask)
        optimizer.step()
        losses.append(loss)
    assert losses[-1] < losses[0] - 10, f"from {losses[0]:.1f} to {losses[-1]:.1f} dB"


def test_attention_weights_on_request():
    weights = []
    small().eval().forward(features(np.ones((2, 5, N_BINS))), weights)
    assert [A.shape for A in weights] == [(2, 2, 5, 5)] * 2
    np.testing.assert_allclose(weights[1].sum(axis=-1), 1, atol=1e-5)


def test_a_checkpoint_brings_it_back(tmp_path):
    model = small(rng=5)
    save_checkpoint(tmp_path / "model.npz", model, settings=model.settings)
    again = load_model(tmp_path / "model.npz")
    assert again.settings == model.settings
    x = np.random.default_rng(18).standard_normal(5000).astype(np.float32)
    np.testing.assert_array_equal(again.enhance(x, 16000), model.enhance(x, 16000))


@pytest.mark.parametrize("name", ["d_model", "n_layers", "d_ff", "n_heads"])
def test_a_checkpoint_whose_settings_lie_is_refused(tmp_path, name):
    model = small()
    lie = model.settings | {name: 10**6 + 1}
    save_checkpoint(tmp_path / "model.npz", model, settings=lie)
    checkpoint = load_checkpoint(tmp_path / "model.npz")
    with pytest.raises(CheckpointError, match=name):
        SpeechEnhancer.from_checkpoint(checkpoint)


def test_bad_input():
    model = small()
    with pytest.raises(ConfigError, match="n_heads must divide d_model.*n_heads=3.*d_model=8"):
        small(n_heads=3)
    with pytest.raises(ShapeError, match=r"\(samples,\) or \(channels, samples\)"):
        model.enhance(np.zeros((1, 2, 3)), 16000)
    with pytest.raises(ShapeError, match="floating-point"):
        model.enhance(np.zeros(100, np.int16), 16000)
    with pytest.raises(ShapeError, match="finite"):
        model.enhance(np.array([0.0, np.nan]), 16000)
    with pytest.raises(ConfigError, match="sr must be"):
        model.enhance(np.zeros(100), 16000.5)
    with pytest.raises(ShapeError, match=rf"\(frames, {N_BINS}\).*\({N_BINS}, 3\)"):
        model.mask(np.zeros((N_BINS, 3)))
