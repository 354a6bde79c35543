"""scratchaudio/dsp/level.py and resample.py beside librosa 0.11, on freshly drawn input."""

import librosa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio import dsp

pytestmark = pytest.mark.peers

TOLERANCE = {np.float64: 1e-9, np.float32: 1e-4}
DTYPES = st.sampled_from([np.float32, np.float64])


def assert_same(result, expected, dtype):
    assert np.shape(result) == np.shape(expected)
    assert np.asarray(result).dtype == dtype
    error = np.abs(result - expected).max() / max(np.abs(expected).max(), 1e-30)
    assert error <= TOLERANCE[dtype], f"off by {error:.1e}"


def noise(shape, dtype, seed):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@given(
    dtype=DTYPES,
    C=st.sampled_from([(), (2,), (3, 2)]),
    N=st.integers(1, 900),
    frame_length=st.integers(1, 300),
    hop_length=st.integers(1, 300),
    pad_mode=st.sampled_from(["constant", "edge", "reflect", "symmetric"]),
    seed=st.integers(0, 999),
)
def test_rms_of_waveforms(dtype, C, N, frame_length, hop_length, pad_mode, seed):
    y = noise((*C, N), dtype, seed)
    settings = {"frame_length": frame_length, "hop_length": hop_length, "pad_mode": pad_mode}
    expected = librosa.feature.rms(y=y, dtype=dtype, **settings)
    assert_same(dsp.rms(y=y, **settings), expected, dtype)


@given(dtype=DTYPES, frame_length=st.integers(2, 65), T=st.integers(1, 9), seed=st.integers(0, 999))
def test_rms_of_spectrograms(dtype, frame_length, T, seed):
    S = np.abs(noise((2, frame_length // 2 + 1, T), dtype, seed))
    expected = librosa.feature.rms(S=S, frame_length=frame_length, dtype=dtype)
    assert_same(dsp.rms(S=S, frame_length=frame_length), expected, dtype)


@given(
    dtype=DTYPES,
    ref=st.one_of(st.floats(-10, 10), st.sampled_from([np.max, np.median])),
    amin=st.floats(1e-12, 1e-2),
    top_db=st.one_of(st.none(), st.floats(0, 120)),
    seed=st.integers(0, 999),
)
def test_decibels(dtype, ref, amin, top_db, seed):
    S = noise((5, 7), dtype, seed) * noise((5, 1), dtype, seed) ** 4
    settings = {"ref": ref, "amin": amin, "top_db": top_db}
    assert_same(dsp.power_to_db(S**2, **settings), librosa.power_to_db(S**2, **settings), dtype)
    assert_same(dsp.amplitude_to_db(S, **settings), librosa.amplitude_to_db(S, **settings), dtype)


@given(dtype=DTYPES, ref=st.floats(1e-3, 10), seed=st.integers(0, 999))
def test_back_from_decibels(dtype, ref, seed):
    S_db = 30 * noise((5, 7), dtype, seed)
    assert_same(dsp.db_to_power(S_db, ref=ref), librosa.db_to_power(S_db, ref=ref), dtype)
    assert_same(dsp.db_to_amplitude(S_db, ref=ref), librosa.db_to_amplitude(S_db, ref=ref), dtype)


@given(
    dtype=DTYPES,
    coef=st.floats(0, 1),
    zi=st.one_of(st.none(), st.floats(-2, 2)),
    N=st.integers(2, 400),
    seed=st.integers(0, 999),
)
def test_preemphasis_and_back(dtype, coef, zi, N, seed):
    y = noise((2, N), dtype, seed)
    zi = None if zi is None else np.full((2, 1), zi, dtype)
    for name in ("preemphasis", "deemphasis"):
        expected = getattr(librosa.effects, name)(y, coef=coef, zi=zi)
        assert_same(getattr(dsp, name)(y, coef=coef, zi=zi), expected, dtype)
    _, expected = librosa.effects.preemphasis(y, coef=coef, zi=zi, return_zf=True)
    assert_same(dsp.preemphasis(y, coef=coef, zi=zi, return_zf=True)[1], expected, dtype)


@pytest.mark.parametrize("rates", [(44100, 16000), (16000, 44100), (48000, 8000), (22050, 16000)])
@pytest.mark.parametrize("N", [1, 7, 4001])
def test_resample_has_librosas_length_and_its_passband(rates, N):
    orig_sr, target_sr = rates
    t = np.arange(N) / orig_sr
    y = np.sin(2 * np.pi * 300 * t) + np.sin(2 * np.pi * 2000 * t)
    result = dsp.resample(y, orig_sr, target_sr)
    expected = librosa.resample(y, orig_sr=orig_sr, target_sr=target_sr)
    assert result.shape == expected.shape
    inside = slice(len(result) // 4, -(len(result) // 4) or None)
    if N > 1000:
        assert np.abs(result - expected)[inside].max() <= 1e-3
