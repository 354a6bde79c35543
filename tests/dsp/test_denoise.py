"""Laws of scratchaudio/dsp/denoise.py: the noise found, the gains, and what they gain on speech."""

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchaudio import dsp
from scratchaudio.dsp.denoise import METHODS
from scratchaudio.errors import ConfigError, ShapeError
from scratchaudio.io import load

SPEECH = Path(__file__).parents[2] / "sounds" / "speech.wav"
SR = 16000
RATE = 125  # frames a second
ROUNDING = 1e-12
shapes = st.lists(st.integers(1, 6), min_size=2, max_size=4).map(tuple)
seeds = st.integers(0, 9999)
GAINS = {"wiener": dsp.wiener_decision_directed, "subtraction": dsp.spectral_subtraction}


def white_noise(seconds, seed=0):
    return np.random.default_rng(seed).standard_normal(int(seconds * SR))


def spectrogram(x):
    return dsp.stft(x, n_fft=512, hop_length=128, pad_mode="reflect")


def power_of(x):
    return np.abs(spectrogram(x)) ** 2


def speech(repeats=1):
    return np.tile(load(SPEECH)[0].astype(np.float64), repeats)


def si_sdr(reference, estimate):
    scaled = (estimate @ reference) / (reference @ reference) * reference
    return 10 * math.log10((scaled**2).sum() / ((estimate - scaled) ** 2).sum())


def draw_powers(seed, shape, silent=0.2):
    """Powers over six decades and noise to them, some of both exactly 0."""
    rng = np.random.default_rng(seed)
    power, noise = 10 ** rng.uniform(-3, 3, (2, *shape))
    return power * (rng.random(shape) > silent), noise * (rng.random(shape) > silent)


# What is noise --------------------------------------------------------------------------------


def hann_power_correlation(lag):
    """Squared correlation of a Hann window with itself, moved by lag quarters of its length."""
    n = np.arange(4096)
    w = np.sin(np.pi * n / 4096) ** 2
    moved = np.concatenate([np.zeros(lag * 1024), w[: 4096 - lag * 1024]])
    return ((w * moved).sum() / (w * w).sum()) ** 2


def literal_noise_power(power, K, W):
    """Average, search and compensate for one bin, by loops: power (T,) -> (T,)."""
    T = len(power)
    K, W = min(K, T), min(W, T)
    mirrored = list(power[::-1]) + list(power) + list(power[::-1])  # frame t is entry T + t
    smooth = [sum(mirrored[T + t - K // 2 + k] for k in range(K)) / K for t in range(T)]
    variance = (
        sum(
            hann_power_correlation(abs(a - b)) for a in range(K) for b in range(K) if abs(a - b) < 4
        )
        / K**2
    )
    gamma = scipy.stats.gamma(1 / variance, scale=variance)  # mean 1
    bias = 1 / gamma.ppf(1 / (2 + (W - 1) / math.sqrt(K)))
    noise = []
    for t in range(T):
        first = min(max(t - W // 2, 0), T - W)  # the window stays inside the recording
        noise.append(bias * min(smooth[first : first + W]))
    return noise


@settings(max_examples=30)
@given(
    T=st.integers(1, 40),
    K=st.integers(1, 9),
    W=st.integers(1, 30),
    rate=st.sampled_from([1.0, 10.0]),
    seed=seeds,
)
def test_noise_power_by_loops(T, K, W, rate, seed):
    power = np.random.default_rng(seed).exponential(size=(2, 3, T))
    noise = dsp.noise_power(power, frame_rate=rate, window=W / rate, smoothing=K / rate)
    for i in np.ndindex(2, 3):
        np.testing.assert_allclose(noise[i], literal_noise_power(power[i], K, W), rtol=2e-3)


def test_the_seconds_of_the_tracker():
    """Defaults: 125 frames a second, the mean of 12 and the minimum of 312."""
    power = np.random.default_rng(0).exponential(size=(1, 700))
    np.testing.assert_allclose(
        dsp.noise_power(power)[0], literal_noise_power(power[0], 12, 312), rtol=2e-3
    )


@pytest.mark.parametrize("K", [4, 8, 25, 37])
def test_the_bias_is_that_of_white_noise(K):
    power = power_of(white_noise(60))[5:-5]
    for W in (5, 12, 50, 312, 400):
        noise = dsp.noise_power(power, frame_rate=1, window=W, smoothing=K)
        assert abs(10 * math.log10(noise.mean() / power.mean())) <= 0.7


def test_short_recordings_of_noise():
    power = power_of(white_noise(60))[5:-5]
    for T in (1, 2, 5, 20, 100):
        starts = range(10, 7000, max(T, 200))
        noise = np.mean([dsp.noise_power(power[:, t : t + T]).mean() for t in starts])
        assert abs(10 * math.log10(noise / power.mean())) <= 1.8


@pytest.mark.parametrize("variance", [1e-8, 1.0, 300.0])
def test_white_noise_of_known_variance(variance):
    noise = dsp.noise_power(power_of(math.sqrt(variance) * white_noise(8)))
    truth = variance * (np.hanning(513)[:-1] ** 2).sum()
    db = 10 * np.log10(noise[3:-3] / truth)  # the outermost bins see 0 Hz and sr / 2, real numbers
    assert abs(db.mean()) <= 0.3
    assert np.abs(db.mean(axis=0)).max() <= 0.5  # in every frame, from the first
    assert (np.abs(db) <= 1.5).mean() >= 0.8  # in single bins


@pytest.mark.parametrize("snr_db", [0, 10, 20])
def test_white_noise_under_speech(snr_db):
    clean = speech(2)
    mixture, noise = dsp.mix_at_snr(clean, white_noise(len(clean) / SR)[: len(clean)], snr_db)
    truth = noise.var() * (np.hanning(513)[:-1] ** 2).sum()
    db = 10 * np.log10(dsp.noise_power(power_of(mixture))[3:-3] / truth)
    assert np.abs(db.mean(axis=0)).max() <= 1.5
    assert abs(db.mean()) <= 0.7


def test_a_step_of_the_level_is_followed():
    x = white_noise(18)
    x[6 * SR : 12 * SR] *= 4
    db = 10 * np.log10(dsp.noise_power(power_of(x)).mean(axis=0) / (384 * 0.5))
    rise, fall = 6 * RATE, 12 * RATE
    step = 20 * math.log10(4)
    assert np.abs(db[: rise + RATE // 2]).max() <= 1.5
    assert np.abs(db[int(rise + 1.5 * RATE) : int(fall - 1.5 * RATE)] - step).max() <= 1.5
    assert np.abs(db[fall:]).max() <= 1.5
    assert db[rise + RATE] <= 3  # no sooner than the window says


@given(shape=shapes, seed=seeds, exponent=st.integers(-20, 20))
def test_noise_power_scales_with_the_power_and_never_falls_below_0(shape, seed, exponent):
    power, _ = draw_powers(seed, shape, silent=0.6)
    settings = {"window": 0.03, "smoothing": 0.016}
    noise = dsp.noise_power(power, **settings)
    assert noise.shape == shape
    assert noise.min() >= 0
    louder = dsp.noise_power(2.0**exponent * power, **settings)
    np.testing.assert_allclose(louder, 2.0**exponent * noise, rtol=1e-9, atol=1e-12)


# How much to turn down ------------------------------------------------------------------------


@given(
    shape=shapes,
    over=st.sampled_from([0, 1, 2.5, 5]),
    floor=st.sampled_from([0, 0.05, 0.3, 1]),
    seed=seeds,
)
def test_subtraction_bin_by_bin(shape, over, floor, seed):
    power, noise = draw_powers(seed, shape)
    gains = dsp.spectral_subtraction(power, noise, over_subtraction=over, floor=floor)
    for i in np.ndindex(shape):
        left = power[i] - over * noise[i]
        expected = math.sqrt(left / power[i]) if left > 0 else 0.0
        assert abs(gains[i] - max(expected, floor)) <= ROUNDING


def literal_wiener(power, noise, alpha, xi_min):
    """The rule of Ephraim and Malah for one bin, with its divisions: (T,) -> (T,)."""
    gains = []
    for t in range(len(power)):
        if noise[t] == 0:  # the limits for noise that vanishes
            speech_there = power[t] > 0 or (t > 0 and gains[t - 1] ** 2 * power[t - 1] > 0)
            gains.append(1.0 if speech_there or power[t] == 0 else None)
            continue
        excess = max(power[t] / noise[t] - 1, 0)
        if t == 0:
            xi = excess
        else:
            before = gains[t - 1] ** 2 * power[t - 1] / noise[t]
            xi = alpha * before + (1 - alpha) * excess
        xi = max(xi, xi_min)
        gains.append(xi / (1 + xi))
    return gains


@given(
    shape=shapes,
    alpha=st.sampled_from([0, 0.5, 0.97]),
    xi_min_db=st.sampled_from([-25, -15, 0]),
    seed=seeds,
)
def test_wiener_frame_by_frame(shape, alpha, xi_min_db, seed):
    power, noise = draw_powers(seed, shape)
    gains = dsp.wiener_decision_directed(power, noise, alpha=alpha, xi_min_db=xi_min_db)
    for i in np.ndindex(shape[:-1]):
        expected = literal_wiener(power[i], noise[i], alpha, 10 ** (xi_min_db / 10))
        np.testing.assert_allclose(gains[i], expected, atol=ROUNDING)


def test_the_settings_unless_others_are_said():
    power, noise = draw_powers(0, (4, 30), silent=0)
    expected = [literal_wiener(power[f], noise[f], 0.97, 0.01) for f in range(4)]
    np.testing.assert_allclose(dsp.wiener_decision_directed(power, noise), expected)
    expected = np.sqrt(np.maximum(1 - 5 * noise / power, 0.05**2))
    np.testing.assert_allclose(dsp.spectral_subtraction(power, noise), expected)


@pytest.mark.parametrize("method", GAINS)
@given(shape=shapes, seed=seeds)
def test_more_noise_never_more_gain_and_gains_within_bounds(method, shape, seed):
    function = GAINS[method]
    power, noise = draw_powers(seed, shape)
    gains = function(power, noise)
    floor = 0.05 if method == "subtraction" else 0.01 / 1.01
    assert gains.min() >= floor - ROUNDING
    assert gains.max() <= 1
    rng = np.random.default_rng(seed)
    more = noise * rng.uniform(1, 3, shape) + (rng.random(shape) > 0.5) * rng.random(shape)
    assert (function(power, more) <= gains + ROUNDING).all()
    np.testing.assert_allclose(function(7 * power, 7 * noise), gains, atol=ROUNDING)


@pytest.mark.parametrize("method", GAINS)
def test_extremes_of_the_gains(method):
    function = GAINS[method]
    power = np.random.default_rng(0).exponential(size=(5, 7)) + 0.1
    np.testing.assert_array_equal(function(power, np.zeros((5, 7))), np.ones((5, 7)))
    floor = 0.05 if method == "subtraction" else 0.01 / 1.01
    np.testing.assert_allclose(function(power, np.full((5, 7), 1e9)), np.full((5, 7), floor))
    assert np.isfinite(function(np.zeros((5, 7)), np.zeros((5, 7)))).all()


@pytest.mark.parametrize("method", GAINS)
def test_one_frame_of_noise_serves_to_all_and_inputs_stay(method):
    function = GAINS[method]
    power, noise = draw_powers(0, (2, 5, 7))
    spectrum = noise[..., :1].copy()
    power.flags.writeable = spectrum.flags.writeable = False
    copies = power.copy(), spectrum.copy()
    gains = function(power, spectrum)
    np.testing.assert_array_equal(gains, function(power, np.repeat(spectrum, 7, axis=-1)))
    assert (copies[0] == power).all() and (copies[1] == spectrum).all()
    across = function(power.swapaxes(0, 1), noise.swapaxes(0, 1))  # not contiguous
    np.testing.assert_allclose(across.swapaxes(0, 1), function(power, noise), atol=ROUNDING)
    single = function(power.astype(np.float32), noise)
    assert single.dtype == dsp.noise_power(power.astype(np.float32)).dtype == np.float32
    assert np.abs(single - function(power, noise)).max() <= 1e-4


def test_musical_noise_of_plain_subtraction_and_what_helps():
    """How much the level of single bins scatters, where there is nothing but noise."""
    X = spectrogram(white_noise(6))
    power = np.abs(X) ** 2
    noise = dsp.noise_power(power)

    def scatter(gains):
        level = 10 * np.log10(gains**2 * power)
        return level[3:-3].std()

    plain = scatter(dsp.spectral_subtraction(power, noise, over_subtraction=1, floor=0.01))
    assert abs(scatter(np.ones_like(power)) - 5.6) <= 0.1
    assert plain >= 3 * 5.6
    assert scatter(dsp.spectral_subtraction(power, noise)) <= 0.5 * plain
    assert scatter(dsp.wiener_decision_directed(power, noise)) <= 0.5 * plain


# From recording to recording ------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("sr", "sizes", "n_fft", "hop"),
    [
        (16000, {}, 512, 128),
        (8000, {}, 256, 64),
        (44100, {}, 1412, 353),
        (16000, {"n_fft": 400}, 400, 100),
        (16000, {"hop_length": 64}, 512, 64),
    ],
)
def test_denoise_step_by_step(method, sr, sizes, n_fft, hop):
    x = np.random.default_rng(0).standard_normal(2 * sr + 1) * np.linspace(1, 20, 2 * sr + 1)
    X = dsp.stft(x, n_fft=n_fft, hop_length=hop, pad_mode="reflect")
    noise = dsp.noise_power(np.abs(X) ** 2, frame_rate=sr / hop)
    Y = GAINS[method](np.abs(X) ** 2, noise) * X
    expected = dsp.istft(Y, n_fft=n_fft, hop_length=hop, length=len(x))
    y = dsp.denoise(x, sr, method=method, **sizes)
    np.testing.assert_allclose(y, expected, atol=1e-9 * np.abs(expected).max())
    assert np.abs(y - x).max() >= 0.1


def test_wiener_unless_said():
    x = white_noise(1)
    np.testing.assert_array_equal(dsp.denoise(x, SR), dsp.denoise(x, SR, method="wiener"))


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=40)
@given(
    N=st.one_of(st.integers(1, 60), st.integers(61, 5000)),
    C=st.integers(1, 2),
    sr=st.sampled_from([50, 8000, 11025, 16000, 48000]),
    gain=st.sampled_from([1e-250, 1e-7, 0.3, 1e5, 1e250]),
    seed=seeds,
)
def test_any_length_any_rate_any_level(method, N, C, sr, gain, seed):
    x = np.random.default_rng(seed).standard_normal((C, N))
    x[0, : N // 3] = 0
    x.flags.writeable = False
    y = dsp.denoise(x, sr, method=method)
    assert y.shape == (C, N)
    assert np.isfinite(y).all()
    for c in range(C):
        alone = dsp.denoise(x[c], sr, method=method)
        assert np.abs(alone - y[c]).max() <= 1e-9 * np.abs(x).max()
    louder = dsp.denoise(gain * x, sr, method=method)
    assert np.abs(louder - gain * y).max() <= 1e-6 * gain * np.abs(y).max()


@pytest.mark.parametrize("method", METHODS)
def test_silence_clicks_and_dtypes(method):
    for N in (1, 7, 40_001):
        silence = np.zeros(N, np.float32)
        y = dsp.denoise(silence, SR, method=method)
        assert y.dtype == np.float32
        np.testing.assert_array_equal(y, silence)
    x = np.zeros(20_000, np.float32)
    x[9000:9400] = white_noise(0.025)  # a sound on perfect silence is left as it is
    y = dsp.denoise(x, SR, method=method)
    assert np.abs(y - x).max() <= 1e-5
    wide = dsp.denoise(x.astype(np.float64), SR, method=method)
    assert wide.dtype == np.float64
    assert np.abs(dsp.denoise(np.repeat(x, 2)[::2], SR, method=method) - y).max() == 0


# The rise of the SI-SDR of sounds/speech.wav in white noise at 0, 5, 10 and 20 dB, as measured.
RISE = {"wiener": (11.4, 9.7, 7.7, 4.3), "subtraction": (11.4, 9.9, 8.2, 5.1)}


@pytest.mark.parametrize("method", METHODS)
def test_speech_in_white_noise_becomes_clearer(method):
    clean = speech()
    for snr_db, rise in zip((0, 5, 10, 20), RISE[method], strict=True):
        mixture, _ = dsp.mix_at_snr(clean, white_noise(6)[: len(clean)], snr_db)
        measured = si_sdr(clean, dsp.denoise(mixture, SR, method=method)) - si_sdr(clean, mixture)
        assert rise - 0.3 <= measured, f"{measured:.2f} dB at {snr_db} dB"


@pytest.mark.parametrize("method", METHODS)
def test_clean_speech_stays_nearly_what_it_was(method):
    clean = speech()
    assert si_sdr(clean, dsp.denoise(clean, SR, method=method)) >= 45


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda p: dsp.denoise(p, 0), ConfigError, "sr must be an integer of at least 1, got 0"),
        (
            lambda p: dsp.denoise(p, SR, method="magic"),
            ConfigError,
            "wiener, subtraction; got 'mag",
        ),
        (lambda p: dsp.denoise(p, SR, n_fft=0), ConfigError, "n_fft must be"),
        (lambda p: dsp.denoise(p, SR, hop_length=1.5), ConfigError, "hop_length must be"),
        (lambda p: dsp.denoise(p, SR, n_fft=8, hop_length=9), ConfigError, "hop_length must be at"),
        (lambda p: dsp.denoise(np.ones(9, int), SR), ShapeError, "x must hold floating-point"),
        (lambda p: dsp.denoise(np.zeros(0), SR), ShapeError, "x must hold at least one"),
        (lambda p: dsp.denoise(p * np.nan, SR), ShapeError, "x must be finite"),
        (lambda p: dsp.noise_power(p[0]), ShapeError, r"power must have shape \(..., F, T\)"),
        (lambda p: dsp.noise_power(-p), ShapeError, "power must hold powers"),
        (lambda p: dsp.noise_power(p, window=0), ConfigError, "window must be .* got 0"),
        (lambda p: dsp.noise_power(p, smoothing=-1), ConfigError, "smoothing must be .* got -1"),
        (lambda p: dsp.noise_power(p, frame_rate=np.inf), ConfigError, "frame_rate must be"),
        (lambda p: dsp.spectral_subtraction(p, p[:2]), ShapeError, r"\(4, 1\); got \(2, 6\)"),
        (lambda p: dsp.spectral_subtraction(p, p[:, :3]), ShapeError, r"got \(4, 3\)"),
        (lambda p: dsp.spectral_subtraction(p, -p), ShapeError, "noise must hold powers"),
        (lambda p: dsp.spectral_subtraction(p, p, floor=1.5), ConfigError, "floor .* got 1.5"),
        (lambda p: dsp.spectral_subtraction(p, p, floor=-0.1), ConfigError, "floor .* got -0.1"),
        (lambda p: dsp.spectral_subtraction(p, p, over_subtraction=-1), ConfigError, "got -1"),
        (lambda p: dsp.wiener_decision_directed(p, p.T), ShapeError, "noise must have the shape"),
        (lambda p: dsp.wiener_decision_directed(p, p, alpha=1), ConfigError, "alpha .* got 1"),
        (lambda p: dsp.wiener_decision_directed(p, p, alpha=-1), ConfigError, "alpha .* got -1"),
        (lambda p: dsp.wiener_decision_directed(p, p, xi_min_db=np.nan), ConfigError, "xi_min_db"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call(np.random.default_rng(0).random((4, 6)))
