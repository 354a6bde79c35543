"""Harmonic and percussive parts against medians taken one by one; lines, clicks and voices."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio import dsp
from scratchaudio.errors import ConfigError, ShapeError

SR = 16000
seeds = st.integers(0, 2**32 - 1)


def mirrored(index, n):
    """... 1 0 | 0 1 ... n-1 | n-1 n-2 ..."""
    index %= 2 * n
    return index if index < n else 2 * n - 1 - index


def hpss_by_loops(S, frames, bins, power, margins=(1, 1)):
    F, T = S.shape
    masks = np.zeros((2, F, T))
    for f in range(F):
        for t in range(T):
            h = np.median(
                [S[f, mirrored(t + j, T)] for j in range(-(frames // 2), frames // 2 + 1)]
            )
            p = np.median([S[mirrored(f + j, F), t] for j in range(-(bins // 2), bins // 2 + 1)])
            for k, (own, other) in enumerate(((h, p * margins[0]), (p, h * margins[1]))):
                if own == other == 0:
                    masks[k, f, t] = 0.5 if margins == (1, 1) else 0
                else:
                    masks[k, f, t] = own**power / (own**power + other**power)
    return masks


@given(
    seed=seeds,
    frames=st.sampled_from([1, 3, 5, 9]),
    bins=st.sampled_from([1, 3, 7]),
    power=st.sampled_from([1.0, 2.0, 3.5]),
    margins=st.sampled_from([(1, 1), (1.5, 3)]),
)
def test_masks_by_loops(seed, frames, bins, power, margins):
    S = np.random.default_rng(seed).random((5, 8))
    S[1:4, 2:6] = 0
    margin = 1.0 if margins == (1, 1) else margins
    masks = dsp.hpss(S, kernel_size=(frames, bins), power=power, margin=margin, mask=True)
    np.testing.assert_allclose(masks, hpss_by_loops(S, frames, bins, power, margins), atol=1e-12)


@given(seed=seeds, dtype=st.sampled_from([np.float32, np.complex64, np.float64]))
def test_the_parts_sum_to_the_whole(seed, dtype):
    rng = np.random.default_rng(seed)
    S = rng.random((2, 9, 12)).astype(dtype)
    if np.iscomplexobj(S):
        S = S * np.exp(1j * rng.uniform(0, 6, S.shape)).astype(dtype)
    harmonic, percussive = dsp.hpss(S, kernel_size=5)
    assert harmonic.dtype == percussive.dtype == dtype
    np.testing.assert_allclose(harmonic + percussive, S, rtol=1e-5, atol=1e-6)
    for channel in range(2):
        alone, _ = dsp.hpss(S[channel], kernel_size=5)
        np.testing.assert_array_equal(harmonic[channel], alone)


def test_with_a_margin_something_belongs_to_neither():
    S = np.random.default_rng(0).random((20, 30))
    harmonic, percussive = dsp.hpss(S, kernel_size=5, margin=3.0)
    assert (harmonic + percussive < 0.5 * S).any()


def test_a_tone_is_harmonic_and_a_click_is_not():
    t = np.arange(3 * SR) / SR
    tone = np.sin(2 * np.pi * 1000 * t)
    clicks = np.zeros(3 * SR)
    clicks[SR // 2 :: SR] = 20
    X = dsp.stft(tone + clicks, n_fft=1024, hop_length=256)
    parts = [dsp.istft(Y, n_fft=1024, hop_length=256, length=len(t)) for Y in dsp.hpss(X)]
    for part, alone in zip(parts, (tone, clicks), strict=True):
        assert np.square(part - alone).sum() < 0.2 * np.square(alone).sum()


def test_the_voice_between_is_neither_the_held_note_nor_the_drum():
    """A chirping tone, gliding as a voice does, beside a held tone and clicks."""
    t = np.arange(6 * SR) / SR
    vibrato = 2 * np.pi * (1500 * t - 60 / (2 * np.pi * 5) * np.cos(2 * np.pi * 5 * t))
    voice, held = np.sin(vibrato), np.sin(2 * np.pi * 600 * t)
    clicks = np.zeros(len(t))
    clicks[SR // 3 :: SR // 2] = 15
    mix = voice + held + clicks
    estimate = dsp.voice_between(mix, SR)
    before = np.square(mix - voice).sum()
    assert np.square(estimate - voice).sum() < 0.3 * before
    assert dsp.voice_between(np.float32([mix, mix]), SR).dtype == np.float32


def test_what_is_refused():
    S = np.ones((4, 6))
    with pytest.raises(ConfigError, match="kernel_size must be odd and at least 1, got 4"):
        dsp.hpss(S, kernel_size=4)
    with pytest.raises(ConfigError, match=r"kernel_size must be one number or a pair"):
        dsp.hpss(S, kernel_size=(3, 3, 3))
    with pytest.raises(ConfigError, match="margin must be at least 1, got 0.5"):
        dsp.hpss(S, margin=0.5)
    with pytest.raises(ConfigError, match="power must be greater than 0"):
        dsp.hpss(S, power=0)
    with pytest.raises(ShapeError, match="S must hold magnitudes, not negative"):
        dsp.hpss(-S)
    with pytest.raises(ShapeError, match="S must be a finite spectrogram"):
        dsp.hpss(np.full((4, 6), np.nan))
    with pytest.raises(ShapeError, match="S must be a finite spectrogram"):
        dsp.hpss(np.ones(4))
