"""Harmonic and percussive parts against librosa, live, over drawn settings."""

import librosa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio import dsp

pytestmark = pytest.mark.peers

TOLERANCE = 1e-6  # of the largest value

dtypes = st.sampled_from([np.float32, np.float64, np.complex64, np.complex128])
kernels = st.integers(0, 15).map(lambda n: 2 * n + 1)
margins = st.floats(1, 5)


def one_or_two(numbers):
    return numbers | st.tuples(numbers, numbers)


def assert_close(ours, theirs):
    assert len(ours) == len(theirs) == 2
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.shape == other.shape
        assert mine.dtype == other.dtype
        assert np.abs(other).max() > 0
        error = np.abs(mine - other).max() / np.abs(other).max()
        assert error <= TOLERANCE, f"relative error {error:.1e}"


def spectrogram(seed, shape, dtype):
    """Lines in both directions, noise of very different level, and silence."""
    rng = np.random.default_rng(seed)
    S = rng.random(shape) ** 3
    S[..., shape[-2] // 2, :] += 2
    S[..., :, shape[-1] // 3] += 3
    S *= 10.0 ** rng.integers(-3, 2, shape)
    S[..., :2, : shape[-1] // 2] = 0
    if np.issubdtype(dtype, np.complexfloating):
        S = S * np.exp(1j * rng.uniform(0, 2 * np.pi, shape))
    return S.astype(dtype)


@given(
    st.tuples(st.integers(3, 40), st.integers(3, 40)),
    st.sampled_from([(), (2,), (3, 2)]),
    one_or_two(kernels),
    st.sampled_from([1.0, 2.0, 0.7, 3.5]),
    st.just(1.0) | one_or_two(margins),
    st.booleans(),
    dtypes,
    st.integers(0),
)
def test_hpss(size, channels, kernel_size, power, margin, mask, dtype, seed):
    S = spectrogram(seed, (*channels, *size), dtype)
    settings = {"kernel_size": kernel_size, "power": power, "margin": margin, "mask": mask}
    theirs = librosa.decompose.hpss(S, **settings)
    if not all(part.any() for part in theirs):
        return  # nothing is above such margins
    assert_close(dsp.hpss(S, **settings), theirs)


@given(st.tuples(st.integers(3, 30), st.integers(3, 30)), dtypes, st.integers(0))
def test_a_pair_is_frames_and_then_bins(size, dtype, seed):
    """And harmonic and then percussive: with one pair exchanged nothing would be the same."""
    S = spectrogram(seed, size, dtype)
    settings = {"kernel_size": (3, 9), "margin": (1.0, 1.5)}
    assert_close(dsp.hpss(S, **settings), librosa.decompose.hpss(S, **settings))


def test_defaults_on_a_sound():
    t = np.arange(44_100) / 22_050
    x = np.sin(2 * np.pi * 440 * t) + (t % 0.5 < 0.01) * np.random.default_rng(0).normal(
        size=t.size
    )
    X = librosa.stft(x)
    assert_close(dsp.hpss(X), librosa.decompose.hpss(X))
    assert_close(dsp.hpss(np.abs(X)), librosa.decompose.hpss(np.abs(X)))
    assert_close(dsp.hpss(X, mask=True), librosa.decompose.hpss(X, mask=True))
