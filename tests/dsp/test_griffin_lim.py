"""Griffin-Lim: a loop over its definition, the law that no round is worse, what it refuses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchaudio import dsp
from scratchaudio.errors import ConfigError, ShapeError

SR = 8000


def sound(seed=0, n=1500):
    rng = np.random.default_rng(seed)
    t = np.arange(n) / SR
    return np.sin(2 * np.pi * 700 * t) * np.exp(-6 * t) + 0.1 * rng.standard_normal(n)


def magnitudes(y, **settings):
    return np.abs(dsp.stft(y, **settings))


def error(y, S, **settings):
    return np.linalg.norm(magnitudes(y, **settings) - S) / np.linalg.norm(S)


@pytest.mark.parametrize("momentum", [0, 0.7, 0.99])
def test_against_the_definition(momentum):
    """Phases as numbers on the unit circle, entry by entry."""
    S = magnitudes(sound(n=400), n_fft=64, hop_length=16)
    phases = np.exp(2j * np.pi * np.random.default_rng(5).random(S.shape))
    before = np.zeros(S.shape, complex)
    for _ in range(3):
        T = dsp.stft(dsp.istft(S * phases, hop_length=16), n_fft=64, hop_length=16)
        for index in np.ndindex(S.shape):
            c = T[index] - momentum / (1 + momentum) * before[index]
            phases[index] = c / abs(c)
        before = T
    expected = dsp.istft(S * phases, hop_length=16)
    got = dsp.griffinlim(S, n_iter=3, hop_length=16, momentum=momentum, rng=5)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), hop=st.sampled_from([8, 16, 21, 32]))
def test_without_momentum_no_round_makes_it_worse(seed, hop):
    S = np.random.default_rng(seed).random((33, 9))  # of no signal at all
    frames = {"n_fft": 64, "hop_length": hop}

    def remaining(n_iter):
        y = dsp.griffinlim(S, n_iter=n_iter, hop_length=hop, momentum=0, rng=seed)
        return error(y, S, **frames)

    errors = [remaining(n) for n in (1, 2, 3, 5, 9)]
    assert all(b <= a + 1e-12 for a, b in zip(errors, errors[1:], strict=False)), errors


def test_momentum_ends_lower():
    S = magnitudes(sound(), n_fft=256)
    plain, fast = (dsp.griffinlim(S, momentum=m, length=1500, rng=0) for m in (0, 0.99))
    assert error(fast, S, n_fft=256) < 0.8 * error(plain, S, n_fft=256) < 0.2


def test_the_dtype_and_leading_axes_stay():
    for dtype in (np.float32, np.float64):
        S = magnitudes(np.stack([sound(0), sound(1)]).astype(dtype), n_fft=128)
        y = dsp.griffinlim(S, n_iter=2, length=1500, rng=0)
        assert y.shape == (2, 1500) and y.dtype == dtype
    assert np.array_equal(y, dsp.griffinlim(S, n_iter=2, length=1500, rng=0))
    assert not np.array_equal(y, dsp.griffinlim(S, n_iter=2, length=1500, rng=1))


@pytest.mark.parametrize("length", [1400, 1499, 1500, 1510])
def test_any_length_that_the_frames_hold(length):
    S = magnitudes(sound(), n_fft=128, hop_length=32)
    assert dsp.griffinlim(S, n_iter=3, hop_length=32, length=length, rng=0).shape == (length,)


def test_silence_stays_silent():
    y = dsp.griffinlim(np.zeros((65, 7)), rng=0)
    assert not y.any()
    S = magnitudes(sound(), n_fft=128)
    S[:, 5:9] = 0
    assert np.isfinite(dsp.griffinlim(S, rng=0)).all()


def test_what_it_refuses():
    S = np.ones((65, 7))
    with pytest.raises(ShapeError, match="S must hold magnitudes.*db_to_amplitude"):
        dsp.griffinlim(S - 2)
    with pytest.raises(ShapeError, match="S must be real"):
        dsp.griffinlim(S + 0j)
    with pytest.raises(ConfigError, match="n_iter must be an integer of at least 1, got 0"):
        dsp.griffinlim(S, n_iter=0)
    with pytest.raises(ConfigError, match="momentum must be .* at least 0, got -1"):
        dsp.griffinlim(S, momentum=-1)
