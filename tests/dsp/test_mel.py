import doctest
import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio import dsp
from scratchaudio.errors import ConfigError, ScratchAudioError, ShapeError


def test_examples_are_true():
    assert doctest.testmod(sys.modules["scratchaudio.dsp.mel"]).failed == 0


def test_scales_at_known_points():
    """1 kHz is 15 mel (Slaney) or 1000 mel (HTK); 6400 Hz is 27 Slaney steps above it."""
    assert dsp.hz_to_mel(1000.0) == 15
    assert abs(dsp.hz_to_mel(500.0) - 7.5) <= 1e-14
    assert abs(dsp.hz_to_mel(6400.0) - 42) <= 1e-13
    assert abs(dsp.hz_to_mel(1000.0, htk=True) - 1000) <= 0.02
    assert abs(dsp.hz_to_mel(6300.0, htk=True) - 2595) <= 1e-9
    assert dsp.mel_to_hz(0.0) == dsp.mel_to_hz(0.0, htk=True) == 0


@given(st.floats(0, 24_000), st.booleans())
def test_scales_are_inverse_and_rising(f, htk):
    m = dsp.hz_to_mel(f, htk=htk)
    assert abs(dsp.mel_to_hz(m, htk=htk) - f) <= 1e-10 * (1 + f)
    assert dsp.hz_to_mel(f + 1, htk=htk) > m


def test_the_slaney_scale_has_no_step_and_no_corner_jump_at_1_khz():
    below, above = dsp.hz_to_mel(np.array([1000 - 1e-6, 1000 + 1e-6]))
    assert abs(above - below) <= 1e-7


def filterbank_by_loops(sr, n_fft, n_mels, fmin, fmax, htk):
    low, high = dsp.hz_to_mel(fmin, htk=htk), dsp.hz_to_mel(fmax, htk=htk)
    edges = [
        float(dsp.mel_to_hz(low + (high - low) * i / (n_mels + 1), htk=htk))
        for i in range(n_mels + 2)
    ]
    weights = np.zeros((n_mels, 1 + n_fft // 2))
    for m in range(n_mels):
        for k in range(1 + n_fft // 2):
            f = k * sr / n_fft
            if edges[m] <= f <= edges[m + 1]:
                weights[m, k] = (f - edges[m]) / (edges[m + 1] - edges[m])
            elif edges[m + 1] < f <= edges[m + 2]:
                weights[m, k] = (edges[m + 2] - f) / (edges[m + 2] - edges[m + 1])
    return weights, np.array(edges)


@pytest.mark.parametrize("htk", [False, True])
@pytest.mark.parametrize(
    ("sr", "n_fft", "n_mels", "fmin", "fmax"),
    [(16000, 512, 40, 0.0, 8000.0), (8000, 255, 11, 130.0, 3700.0), (22050, 1024, 1, 0.0, 9000.0)],
)
def test_filterbank_by_loops(sr, n_fft, n_mels, fmin, fmax, htk):
    settings = {"sr": sr, "n_fft": n_fft, "n_mels": n_mels, "fmin": fmin, "fmax": fmax, "htk": htk}
    triangles, edges = filterbank_by_loops(**settings)
    ours = dsp.mel_filterbank(**settings, norm=None, dtype=np.float64)
    assert np.abs(ours - triangles).max() <= 1e-11
    area = (edges[2:] - edges[:-2]) / 2
    ours = dsp.mel_filterbank(**settings, dtype=np.float64)
    assert np.abs(ours - triangles / area[:, np.newaxis]).max() <= 1e-11


@pytest.mark.parametrize("htk", [False, True])
def test_triangles_add_up_to_one_between_the_first_and_the_last_peak(htk):
    settings = {"sr": 16000, "n_fft": 1024, "n_mels": 30, "htk": htk, "dtype": np.float64}
    weights = dsp.mel_filterbank(**settings, norm=None)
    peaks = dsp.mel_frequencies(32, fmin=0.0, fmax=8000.0, htk=htk)[1:-1]
    f = dsp.fft_frequencies(sr=16000, n_fft=1024)
    inside = (peaks[0] <= f) & (f <= peaks[-1])
    assert inside.sum() > 400
    assert np.abs(weights.sum(axis=0)[inside] - 1).max() <= 1e-12
    assert weights.min() == 0
    assert weights.max() <= 1


def test_white_noise_is_level_in_all_bands():
    """Each triangle has an area of 1 Hz, so a flat spectrum of 1 gives n_fft / sr everywhere."""
    weights = dsp.mel_filterbank(sr=16000, n_fft=16384, n_mels=40, dtype=np.float64)
    assert np.abs(weights.sum(axis=1) / (16384 / 16000) - 1).max() <= 1e-3


@pytest.mark.parametrize("norm", [1, 2, np.inf])
def test_numeric_norms(norm):
    weights = dsp.mel_filterbank(sr=8000, n_fft=256, n_mels=12, norm=norm, dtype=np.float64)
    assert np.abs(np.linalg.norm(weights, norm, axis=1) - 1).max() <= 1e-14


def test_librosas_default_works():
    weights = dsp.mel_filterbank(sr=22050, n_fft=2048)
    assert weights.shape == (128, 1025)
    assert weights.dtype == np.float32


@pytest.mark.parametrize("power", [1.0, 2.0, 0.6])
def test_melspectrogram_band_by_band(power):
    y = np.random.default_rng(0).standard_normal((2, 900))
    settings = {"n_fft": 128, "hop_length": 50}
    magnitude = np.abs(dsp.stft(y, **settings))
    weights = dsp.mel_filterbank(sr=8000, n_fft=128, n_mels=9, dtype=np.float64)
    ours = dsp.melspectrogram(y=y, sr=8000, n_mels=9, power=power, **settings)
    assert ours.shape == (2, 9, 19)
    for m in range(9):
        expected = sum(weights[m, k] * magnitude[:, k] ** power for k in range(65))
        assert np.abs(ours[:, m] - expected).max() <= 1e-12 * ours.max()


def test_melspectrogram_of_a_spectrogram_and_of_float32():
    y = np.random.default_rng(1).standard_normal(900).astype(np.float32)
    ours = dsp.melspectrogram(y=y, sr=8000, n_fft=128, hop_length=50, n_mels=9)
    S = np.abs(dsp.stft(y, n_fft=128, hop_length=50)) ** 2
    again = dsp.melspectrogram(S=S, sr=8000, n_mels=9)
    assert ours.dtype == again.dtype == np.float32
    assert np.abs(ours - again).max() <= 1e-5 * ours.max()


def test_silence_is_zero():
    assert (dsp.melspectrogram(y=np.zeros(4000), sr=16000, n_mels=40) == 0).all()


BAD_FILTERBANK = [
    (
        {"n_fft": 256, "n_mels": 128},
        r"n_mels=128 is too many: \d+ of the 128 mel bands lie between two bins, which are 62.5 Hz "
        r"apart \(sr=16000, n_fft=256\).*use fewer bands or a larger n_fft",
    ),
    ({"fmax": 8001.0}, "fmax must be at most half the sample rate, 8000 Hz; got 8001"),
    ({"fmin": 4000.0, "fmax": 4000.0}, "fmin must be at least 0 and below fmax=4000 Hz; got 4000"),
    ({"fmin": 5000.0, "fmax": 4000.0}, "fmin must be at least 0 and below fmax=4000 Hz; got 5000"),
    ({"fmin": -1.0}, "fmin must be at least 0 and below fmax=8000 Hz; got -1"),
    ({"fmax": math.nan}, "fmax must be at most half the sample rate"),
    ({"sr": 0}, "sr must be positive, in Hz; got 0"),
    ({"n_mels": 0}, "n_mels must be an integer of at least 1, got 0"),
    ({"n_fft": 12.5}, "n_fft must be an integer of at least 1, got 12.5"),
    ({"norm": "area"}, "norm must be \"slaney\", None or the order of a norm; got 'area'"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_FILTERBANK)
def test_bad_filterbank(changes, message):
    with pytest.raises(ConfigError, match=message):
        dsp.mel_filterbank(**{"sr": 16000, "n_fft": 512, "n_mels": 40, **changes})


def test_the_number_of_empty_bands_is_right():
    weights, _ = filterbank_by_loops(16000, 256, 128, 0.0, 8000.0, False)
    empty = int((weights.max(axis=1) == 0).sum())
    assert empty > 0
    with pytest.raises(ConfigError, match=f": {empty} of the 128"):
        dsp.mel_filterbank(sr=16000, n_fft=256)


BAD_MELSPECTROGRAM = [
    ({}, "melspectrogram needs either y"),
    ({"y": np.ones(9), "S": np.ones((9, 9))}, "melspectrogram needs either y"),
    ({"y": np.ones(9, int)}, "y must hold floating-point samples, got dtype int64"),
    ({"y": np.array([np.nan])}, r"y must be finite, but y\[0\] is nan"),
    ({"S": np.ones((9, 9), complex)}, "S must be real floating-point"),
    ({"S": np.full((9, 9), np.inf)}, "S must be finite"),
    ({"S": np.ones((9, 0))}, "S must be real floating-point"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_MELSPECTROGRAM)
def test_bad_melspectrogram(arguments, message):
    with pytest.raises(ScratchAudioError, match=message):
        dsp.melspectrogram(**arguments)


def test_error_types():
    with pytest.raises(ShapeError):
        dsp.melspectrogram(y=np.zeros(0))
