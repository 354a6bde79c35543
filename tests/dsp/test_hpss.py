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


def held_note(t):
    return np.sin(2 * np.pi * 600 * t)


def strokes(t):
    """Clicks with about the power of the held note."""
    x = np.zeros(len(t))
    x[SR // 3 :: SR // 2] = 60
    return x


def gliding(t, octaves=0.3):
    """A voice on its way, that wavers as voices do."""
    pitch = 1500 * 2 ** (octaves * np.sin(2 * np.pi * 0.2 * t))
    pitch = pitch * (1 + 0.03 * np.sin(2 * np.pi * 5 * t))
    return np.sin(2 * np.pi * np.cumsum(pitch) / SR)


def energy(x):
    return np.square(x).sum()


@pytest.mark.parametrize("parts", [(held_note, strokes), (held_note,), (strokes,)])
def test_the_voice_between_is_neither_the_held_note_nor_the_drum(parts):
    t = np.arange(6 * SR) / SR
    voice, band = gliding(t), sum(part(t) for part in parts)
    estimate = dsp.voice_between(voice + band, SR)
    assert energy(estimate - voice) < 0.3 * energy(band)
    assert energy(dsp.voice_between(band, SR)) < 0.02 * energy(band)
    assert energy(dsp.voice_between(voice, SR) - voice) < 0.15 * energy(voice)


def test_a_voice_that_always_wavers_around_one_pitch_goes_with_the_band():
    """To a long window it is a comb of steady lines, as far apart as it wavers fast."""
    t = np.arange(6 * SR) / SR
    voice = gliding(t, octaves=0)
    assert energy(dsp.voice_between(voice, SR)) < 0.1 * energy(voice)


def test_what_is_very_low_is_not_the_voice():
    t = np.arange(6 * SR) / SR
    low = np.sin(2 * np.pi * np.cumsum(60 + 30 * np.sin(2 * np.pi * 0.2 * t)) / SR)
    kept = dsp.voice_between(low + gliding(t), SR)
    assert energy(kept) > 0.5 * energy(gliding(t))
    spectrum = np.square(np.abs(np.fft.rfft(kept * np.hanning(len(kept)))))
    frequencies = np.fft.rfftfreq(len(kept), 1 / SR)
    assert spectrum[frequencies < 90].sum() < 1e-4 * spectrum.sum()
    higher = np.sin(2 * np.pi * np.cumsum(250 + 60 * np.sin(2 * np.pi * 0.2 * t)) / SR)
    assert energy(dsp.voice_between(higher, SR) - higher) < 0.3 * energy(higher)


def test_the_voice_between_of_channels_scales_and_shapes():
    t = np.arange(2 * SR + 1) / SR
    x = np.stack([gliding(t) + held_note(t), strokes(t)])
    estimate = dsp.voice_between(x, SR)
    assert estimate.shape == x.shape and estimate.dtype == np.float64
    for channel in range(2):
        alone = dsp.voice_between(x[channel], SR)
        np.testing.assert_allclose(estimate[channel], alone, rtol=0, atol=1e-9)
    np.testing.assert_allclose(dsp.voice_between(-8 * x, SR), -8 * estimate, rtol=0, atol=1e-8)
    single = dsp.voice_between(x.astype(np.float32), SR)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, estimate, rtol=0, atol=1e-3)
    assert not dsp.voice_between(0 * x, SR).any()
    assert dsp.voice_between(np.ones(1), SR).shape == (1,)
    other = dsp.voice_between(x, SR, kernel_size=9)
    assert energy(other - estimate) > 1e-3 * energy(estimate)
    assert energy(dsp.voice_between(x, SR, power=1.0) - estimate) > 1e-3 * energy(estimate)


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
    with pytest.raises(ShapeError, match="x must be finite"):
        dsp.voice_between(np.full(SR, np.nan), SR)
    with pytest.raises(ConfigError, match="sr must be"):
        dsp.voice_between(np.ones(SR), 0)
