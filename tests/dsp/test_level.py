"""Laws of scratchaudio/dsp/level.py: levels, decibels, pre-emphasis, mixing at a stated ratio."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio import dsp
from scratchaudio.errors import ConfigError, ShapeError

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "librosa_level.npz")
CASES = json.loads(str(GOLDEN["cases"]))


@pytest.mark.parametrize(
    "number", range(len(CASES)), ids=[f"{number}-{case[0]}" for number, case in enumerate(CASES)]
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_librosa_gave(number, dtype):
    function, arguments = CASES[number]
    named = {"max": np.max, "median": np.median}
    for name, value in (arguments := dict(arguments)).items():
        if isinstance(value, str):
            stored = f"input.{value[1:]}"
            value = GOLDEN[stored].astype(dtype) if stored in GOLDEN else named.get(value, value)
            arguments[name] = value
    given_array = any(isinstance(value, np.ndarray) for value in arguments.values())
    expected = GOLDEN[f"result.{number}"]
    result = np.asarray(getattr(dsp, function)(**arguments))
    assert result.dtype == (dtype if given_array else np.float64)
    assert result.shape == expected.shape
    tolerance = 1e-4 if dtype == np.float32 else 1e-9
    error = np.abs(result - expected).max() / np.abs(expected).max()
    assert error <= tolerance, f"{function}({CASES[number][1]}) is off by {error:.1e}"


def test_every_function_has_at_least_four_cases():
    names = [case[0] for case in CASES]
    assert min(names.count(name) for name in set(names)) >= 4
    assert str(GOLDEN["origin"]).startswith("librosa 0.11.")


# Root mean square -----------------------------------------------------------------------------


def test_rms_by_its_definition():
    y = np.random.default_rng(0).standard_normal((3, 57))
    for center, frame_length, hop in [(False, 10, 7), (True, 10, 7), (True, 11, 3), (True, 60, 5)]:
        padded = y
        if center:
            zeros = np.zeros((3, frame_length // 2))
            padded = np.concatenate([zeros, y, zeros], axis=1)
        T = 1 + (padded.shape[1] - frame_length) // hop
        expected = np.empty((3, 1, T))
        for c in range(3):
            for t in range(T):
                total = sum(padded[c, t * hop + n] ** 2 for n in range(frame_length))
                expected[c, 0, t] = math.sqrt(total / frame_length)
        result = dsp.rms(y=y, frame_length=frame_length, hop_length=hop, center=center)
        np.testing.assert_allclose(result, expected, rtol=1e-13)


@given(n=st.integers(2, 40), T=st.integers(1, 5), seed=st.integers(0, 99))
def test_rms_of_a_spectrogram_is_that_of_the_frames(n, T, seed):
    frames = np.random.default_rng(seed).standard_normal((n, T))
    magnitudes = np.abs(np.fft.rfft(frames, axis=0))
    expected = np.sqrt((frames**2).mean(axis=0, keepdims=True))
    np.testing.assert_allclose(dsp.rms(S=magnitudes, frame_length=n), expected, rtol=1e-10)


@given(gain=st.floats(1e-3, 1e3), seed=st.integers(0, 99))
def test_rms_scales_with_the_signal(gain, seed):
    y = np.random.default_rng(seed).standard_normal(300)
    louder = dsp.rms(y=gain * y, frame_length=50, hop_length=20)
    np.testing.assert_allclose(louder, gain * dsp.rms(y=y, frame_length=50, hop_length=20))


# Decibels -------------------------------------------------------------------------------------


@given(seed=st.integers(0, 99), ref=st.floats(1e-3, 1e3))
def test_decibels_and_back(seed, ref):
    powers = 10 ** np.random.default_rng(seed).uniform(-6, 3, (4, 7))
    db = dsp.power_to_db(powers, ref=ref, top_db=None)
    np.testing.assert_allclose(dsp.db_to_power(db, ref=ref), powers, rtol=1e-12)
    db = dsp.amplitude_to_db(np.sqrt(powers), ref=ref, top_db=None)
    np.testing.assert_allclose(dsp.db_to_amplitude(db, ref=ref), np.sqrt(powers), rtol=1e-12)


def test_known_decibels():
    assert math.isclose(dsp.power_to_db(2.0), 3.0102999566398120)
    assert math.isclose(dsp.amplitude_to_db(2.0), 6.0205999132796239)
    assert math.isclose(dsp.amplitude_to_db(-10.0, top_db=None), 20)
    assert dsp.power_to_db(0.0) == -100


def test_the_reference_may_differ_from_row_to_row():
    S = np.array([[1.0, 10.0], [100.0, 0.1]], np.float32)
    db = dsp.power_to_db(S, ref=lambda S: S.max(axis=1, keepdims=True), top_db=None)
    np.testing.assert_allclose(db, [[-10, 0], [0, -30]], atol=1e-5)
    assert db.dtype == np.float32


def test_float32_stays_float32_whatever_the_settings():
    S = np.array([1.0, 0.5], np.float32)
    settings = {"ref": np.float64(2), "amin": np.float64(1e-9), "top_db": np.float64(60)}
    assert dsp.power_to_db(S, **settings).dtype == np.float32
    assert dsp.amplitude_to_db(S, **settings).dtype == np.float32


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: dsp.power_to_db(np.array([1.0, -2.0])), ShapeError, "its least is -2.0"),
        (lambda: dsp.power_to_db(np.array([1j])), ShapeError, "S is complex; pass its magnitude"),
        (lambda: dsp.amplitude_to_db(np.array([1j])), ShapeError, "S is complex"),
        (lambda: dsp.power_to_db(np.array([1, np.nan])), ShapeError, r"S\[1\] is nan"),
        (lambda: dsp.power_to_db(np.zeros((0, 3))), ShapeError, "at least one sample"),
        (lambda: dsp.power_to_db(1.0, amin=0), ConfigError, "amin must be greater than 0, got 0"),
        (lambda: dsp.amplitude_to_db(1.0, amin=-1), ConfigError, "amin must .* got -1"),
        (lambda: dsp.power_to_db(1.0, top_db=-1), ConfigError, "top_db must be None or at least 0"),
        (lambda: dsp.db_to_power(np.float32([500])), ShapeError, "500.0 dB, more than float32"),
        (lambda: dsp.rms(), ConfigError, "exactly one of y"),
        (lambda: dsp.rms(y=np.ones(9), frame_length=0), ConfigError, "frame_length must be an"),
        (lambda: dsp.rms(y=np.ones(9), hop_length=1.5), ConfigError, "hop_length must be an"),
        (lambda: dsp.rms(y=np.ones(9), pad_mode="x"), ConfigError, "pad_mode must be one of"),
        (lambda: dsp.rms(y=np.ones(9), center=False), ShapeError, "shorter than one frame of 2048"),
        (lambda: dsp.rms(S=np.ones((9, 2)), frame_length=20), ShapeError, "= 11 bins"),
        (lambda: dsp.rms(y=np.ones(9, int)), ShapeError, "floating-point samples, got dtype int64"),
        (lambda: dsp.preemphasis(np.zeros(0)), ShapeError, "at least one sample"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


# Pre-emphasis ---------------------------------------------------------------------------------


@given(N=st.integers(1, 50), C=st.integers(1, 3), coef=st.floats(0, 1.2), seed=st.integers(0, 99))
def test_deemphasis_undoes_preemphasis(N, C, coef, seed):
    x = np.random.default_rng(seed).standard_normal((C, N))
    undone = dsp.deemphasis(dsp.preemphasis(x, coef=coef), coef=coef)
    assert np.abs(undone - x).max() <= 1e-9 * np.abs(x).max() * max(1, coef) ** N
    z = np.random.default_rng(seed).standard_normal((C, 1))
    undone = dsp.deemphasis(dsp.preemphasis(x, coef=coef, zi=z), coef=coef, zi=-z)
    assert np.abs(undone - x).max() <= 1e-9 * np.abs(x).max() * max(1, coef) ** N


@pytest.mark.parametrize("function", [dsp.preemphasis, dsp.deemphasis])
@pytest.mark.parametrize("zi", [None, 0.7])
def test_in_blocks_as_in_one(function, zi):
    x = np.random.default_rng(0).standard_normal((2, 100)).astype(np.float32)
    whole, end = function(x, zi=zi, return_zf=True)
    first, state = function(x[:, :33], zi=zi, return_zf=True)
    second, state = function(x[:, 33:], zi=state, return_zf=True)
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state, end, rtol=1e-5)
    assert whole.dtype == state.dtype == np.float32


def test_preemphasis_lifts_the_treble_as_stated():
    n = np.arange(2000)
    for f, gain in [(0.0, 0.03), (0.25, math.sqrt(1 + 0.97**2)), (0.5, 1.97)]:
        x = np.cos(2 * np.pi * f * n)
        y = dsp.preemphasis(x)
        in_out = [np.sqrt(np.mean(signal[4:] ** 2)) for signal in (x, y)]  # whole periods
        assert math.isclose(in_out[1], gain * in_out[0])


# Speech and noise -----------------------------------------------------------------------------


def phrases(rng, N=20_000, dtype=np.float64):
    """Bursts of noise of changing loudness with digital silence between, as speech has."""
    x = np.zeros(N, dtype)
    start = int(rng.integers(2000))
    while start < N:
        length = int(rng.integers(500, 4000))
        piece = x[start : start + length]
        piece += rng.uniform(0.1, 1) * rng.standard_normal(len(piece))
        start += length + int(rng.integers(300, 5000))
    return x


@given(
    snr_db=st.floats(-60, 60),
    how=st.sampled_from(["found", "mask", "segments", "all"]),
    scale=st.floats(1e-4, 1e4),
    seed=st.integers(0, 99),
)
def test_the_measured_ratio_is_the_one_asked_for(snr_db, how, scale, seed):
    rng = np.random.default_rng(seed)
    clean, noise = phrases(rng), scale * rng.standard_normal(20_000)
    segments = np.array([[10, 9000], [12_000, 20_000]])
    mask = np.zeros(20_000, bool)
    mask[10:9000] = mask[12_000:] = True
    active = {"found": None, "mask": mask, "segments": segments, "all": np.ones(20_000, bool)}[how]
    before = clean.copy(), noise.copy()
    mixture, scaled = dsp.mix_at_snr(clean, noise, snr_db, active)
    np.testing.assert_array_equal(clean, before[0])
    np.testing.assert_array_equal(noise, before[1])
    assert abs(dsp.snr(clean, scaled, active) - snr_db) <= 1e-9
    assert abs(dsp.snr(clean, mixture - clean, active) - snr_db) <= 1e-9
    # The same by definition.
    chosen = {"found": dsp.active_mask(clean), "all": np.ones(20_000, bool)}.get(how, mask)
    speech = sum(float(value) ** 2 for value in clean[chosen]) / chosen.sum()
    measured = 10 * math.log10(speech / (sum(float(v) ** 2 for v in scaled) / len(scaled)))
    assert abs(measured - snr_db) <= 1e-9
    gains = scaled / noise
    assert gains.min() > 0 and np.ptp(gains) <= 1e-12 * gains.max()


def test_the_mixture_keeps_the_dtype_of_the_speech():
    rng = np.random.default_rng(0)
    clean, noise = phrases(rng, dtype=np.float32), rng.standard_normal(20_000)
    mixture, scaled = dsp.mix_at_snr(clean, noise, np.float64(3))
    assert mixture.dtype == scaled.dtype == np.float32
    assert abs(dsp.snr(clean, scaled) - 3) <= 1e-5


def test_pauses_change_neither_the_active_level_nor_the_noise():
    rng = np.random.default_rng(3)
    speech = 0.2 * rng.standard_normal(2560)
    paused = np.concatenate([np.zeros(25_600), speech, np.zeros(256)])
    level = dsp.active_level(speech)
    assert math.isclose(level, math.sqrt(np.mean(speech**2)))
    assert math.isclose(dsp.active_level(paused), level)
    assert math.isclose(dsp.active_level(paused, active=np.array([[25_600, 28_160]])), level)


def test_stereo_is_judged_together():
    x = np.zeros((2, 1024))
    x[1, 256:512] = 1
    np.testing.assert_array_equal(dsp.active_mask(x), np.repeat([False, True, False, False], 256))
    assert math.isclose(dsp.active_level(x), math.sqrt(0.5))


@given(gain=st.floats(1e-6, 1e6), seed=st.integers(0, 99))
def test_activity_does_not_depend_on_the_volume(gain, seed):
    x = phrases(np.random.default_rng(seed))
    np.testing.assert_array_equal(dsp.active_mask(gain * x), dsp.active_mask(x))
    assert math.isclose(dsp.active_level(gain * x), gain * dsp.active_level(x))


def test_active_frames_lie_within_35_db_of_the_loud_ones():
    levels = np.array([0, -34.9, -35.1, -10, -59, -61, 0, 0, 0, -20])
    x = np.repeat(10 ** (levels / 20), 100)
    expected = np.repeat(levels >= -35, 100)
    np.testing.assert_array_equal(dsp.active_mask(x, frame_length=100), expected)
    # A frame cut short at the end counts by its own mean.
    np.testing.assert_array_equal(dsp.active_mask(x[:-99], frame_length=100), expected[:-99])


def test_one_click_does_not_decide_what_is_speech():
    x = np.full(25_600, 0.01)
    x[0] = 20.0  # that frame lies 42 dB above all others
    assert dsp.active_mask(x).all()


@pytest.mark.parametrize("hiss", [0, 3e-4])
def test_little_speech_in_much_silence_sets_the_level(hiss):
    x = np.full(256 * 200, float(hiss))  # 70 dB below the speech
    x[256:512] = 1  # half a percent: the 95th percentile of all frames is silence
    assert dsp.active_mask(x).sum() == 256


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: dsp.active_level(np.zeros(9)), ShapeError, r"silent .*\(0 of 9 samples"),
        (lambda: dsp.active_level(np.ones(9), np.zeros(9, bool)), ShapeError, "0 of 9 samples"),
        (lambda: dsp.active_level(np.ones(9), np.ones(8, bool)), ShapeError, r"\(9,\) .*\(8,\)"),
        (lambda: dsp.active_level(np.ones(9), [[3, 10]]), ShapeError, r"\(3, 10\) does not lie"),
        (lambda: dsp.active_level(np.ones(9), [[4, 4]]), ShapeError, r"\(4, 4\) does not lie"),
        (lambda: dsp.active_level(np.ones(9), [[-1, 4]]), ShapeError, r"\(-1, 4\) does not lie"),
        (lambda: dsp.active_level(np.ones(9), [[0.1, 0.4]]), ShapeError, "seconds times sr"),
        (lambda: dsp.active_level(np.ones(9), [3, 4]), ShapeError, r"got shape \(2,\)"),
        (lambda: dsp.snr(np.ones(9), np.zeros(9)), ShapeError, "noise is silent"),
        (lambda: dsp.snr(np.zeros(9), np.ones(9)), ShapeError, "no active level"),
        (lambda: dsp.snr(np.ones(9), np.ones(8)), ShapeError, r"one shape, got \(9,\) and \(8,\)"),
        (lambda: dsp.mix_at_snr(np.ones(9), np.zeros(9), 3), ShapeError, "noise is silent"),
        (lambda: dsp.mix_at_snr(np.zeros(9), np.ones(9), 3), ShapeError, "no active level"),
        (lambda: dsp.mix_at_snr(np.ones(9), np.ones(9), math.nan), ConfigError, "got nan"),
        (lambda: dsp.mix_at_snr(np.ones(9), np.ones(9), 300), ConfigError, "-200 and 200 decibels"),
        (lambda: dsp.mix_at_snr(np.array([1, np.inf]), np.ones(2), 0), ShapeError, r"clean\[1\]"),
    ],
)
def test_refusals_of_mixing(call, error, message):
    with pytest.raises(error, match=message):
        call()
