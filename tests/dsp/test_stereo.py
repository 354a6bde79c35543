"""The centre between two loudspeakers: similarity by hand, and what the centre mask keeps."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio import dsp
from scratchaudio.errors import ConfigError, ShapeError

SR = 16000
seeds = st.integers(0, 2**32 - 1)


@given(seed=seeds, position=st.floats(-1, 1))
def test_pan_keeps_the_power_and_says_where(seed, position):
    x = np.random.default_rng(seed).standard_normal(50)
    left, right = dsp.pan(x, position)
    assert np.square(left).sum() + np.square(right).sum() == pytest.approx(np.square(x).sum())
    angle = math.atan2(np.vdot(right, x), np.vdot(left, x))
    assert angle == pytest.approx((position + 1) * math.pi / 4, abs=1e-9)


@given(seed=seeds)
def test_similarity_entry_by_entry(seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((2, 3, 5)) + 1j * rng.standard_normal((2, 3, 5))
    X[:, 1, 2] = 0
    psi = dsp.similarity(X)
    for f, t in np.ndindex(3, 5):
        left, right = X[0, f, t], X[1, f, t]
        power = abs(left) ** 2 + abs(right) ** 2
        expected = 2 * (left.real * right.real + left.imag * right.imag) / power if power else 0
        assert psi[f, t] == pytest.approx(expected, abs=1e-12)


@given(seed=seeds, scale=st.sampled_from([1e-30, 1.0, 1e30]))
def test_similarity_knows_no_loudness_and_no_phase_that_both_share(seed, scale):
    rng = np.random.default_rng(seed)
    X = (rng.standard_normal((2, 3, 5)) + 1j * rng.standard_normal((2, 3, 5))).astype(np.complex64)
    turned = (scale * X * np.exp(1j * rng.uniform(0, 6, (3, 5)))).astype(np.complex64)
    np.testing.assert_allclose(dsp.similarity(turned), dsp.similarity(X), atol=1e-5)
    np.testing.assert_allclose(dsp.similarity(X[::-1]), dsp.similarity(X), atol=1e-6)


@pytest.mark.parametrize("position", [-1, -0.4, 0, 0.4, 1])
def test_a_single_source_has_the_similarity_of_its_position(position):
    x = np.random.default_rng(0).standard_normal(SR)
    psi = dsp.similarity(dsp.stft(dsp.pan(x, position), n_fft=512))
    expected = math.sin((position + 1) * math.pi / 2)  # 2 cos(theta) sin(theta)
    np.testing.assert_allclose(psi, expected, atol=1e-9)


def sources():
    """A voice in the middle, an instrument far left in other bins, a bass in the middle."""
    t = np.arange(2 * SR) / SR
    voice = np.sin(2 * np.pi * 1000 * t) * (t % 0.5 < 0.3)
    return dsp.pan(voice, 0), dsp.pan(np.sin(2 * np.pi * 3000 * t), -1), dsp.pan(
        np.sin(2 * np.pi * 60 * t), 0
    )  # fmt: skip


def test_the_centre_keeps_the_voice_and_leaves_the_sides_and_the_bass():
    voice, side, bass = sources()
    kept = dsp.centre(voice + side + bass, SR)
    inside = slice(2048, -2048)
    error = (kept - voice)[:, inside]
    assert np.square(error).sum() < 1e-2 * np.square(voice).sum()
    everything = dsp.centre(voice + side + bass, SR, fmin=0)
    assert np.square(everything - voice - bass).sum() < 1e-2 * np.square(voice).sum()


def test_a_higher_power_asks_for_more_agreement():
    x = np.random.default_rng(1).standard_normal((2, SR))
    kept = [np.square(dsp.centre(x, SR, power=p)).sum() for p in (1, 2, 8)]
    assert kept[0] > kept[1] > kept[2] > 0
    X = dsp.stft(x, n_fft=2048, hop_length=512)
    mask = np.clip(dsp.similarity(X), 0, 1) ** 2
    mask[: math.ceil(150 * 2048 / SR)] = 0
    expected = dsp.istft(mask * X, n_fft=2048, hop_length=512, length=SR)
    np.testing.assert_allclose(dsp.centre(x, SR), expected, atol=1e-9)


def test_float32_silence_and_length():
    x = np.random.default_rng(1).standard_normal((2, 7777)).astype(np.float32)
    assert dsp.centre(x, SR).shape == x.shape and dsp.centre(x, SR).dtype == np.float32
    assert not dsp.centre(0 * x, SR).any()


@pytest.mark.parametrize("shape", [(SR,), (1, SR), (3, SR)])
def test_a_mono_song_has_no_centre(shape):
    with pytest.raises(ShapeError, match=r"x must be stereo, \(2, N\), got shape .*two channels"):
        dsp.centre(np.ones(shape), SR)


def test_what_is_refused():
    X = np.ones((2, 3, 5), complex)
    with pytest.raises(ShapeError, match=r"X must be the STFT of two channels.*\(3, 5\).*mono"):
        dsp.similarity(X[0])
    with pytest.raises(ShapeError, match="X must hold finite complex numbers, got dtype float64"):
        dsp.similarity(X.real)
    with pytest.raises(ShapeError, match="finite"):
        dsp.similarity(np.nan * X)
    x = np.ones((2, SR))
    with pytest.raises(ConfigError, match="power must be a finite number above 0, got 0"):
        dsp.centre(x, SR, power=0)
    with pytest.raises(ConfigError, match=r"fmin must be from 0 to sr / 2 = 8000 Hz, got 9000"):
        dsp.centre(x, SR, fmin=9000)
    with pytest.raises(ShapeError, match=r"x must be mono, \(N,\), got shape \(2, 16000\)"):
        dsp.pan(x, 0)
    with pytest.raises(ConfigError, match=r"position must be from -1 \(left\) to 1"):
        dsp.pan(x[0], 1.5)
