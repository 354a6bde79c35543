"""REPET: periods of what repeats, medians by loops, and a voice over a loop of music."""

import importlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio import dsp, metrics
from scratchaudio.errors import ConfigError, ShapeError

SR = 8000
seeds = st.integers(0, 2**32 - 1)
module = importlib.import_module("scratchaudio.dsp.repet")


@given(seed=seeds)
def test_the_beat_spectrum_by_loops(seed):
    V = np.random.default_rng(seed).random((3, 11))
    b = dsp.beat_spectrum(V)
    by_hand = [
        sum(V[f, t] ** 2 * V[f, t + lag] ** 2 for f in range(3) for t in range(11 - lag))
        / (11 - lag)
        for lag in range(11)
    ]
    np.testing.assert_allclose(b, np.array(by_hand) / by_hand[0], rtol=1e-10)
    np.testing.assert_allclose(dsp.beat_spectrum(1e-20 * V), b, rtol=1e-10)


@pytest.mark.parametrize("period", [7, 12, 20])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_period_of_a_loop_is_found(period, seed):
    rng = np.random.default_rng(seed)
    V = np.tile(rng.random((30, period)) ** 4, 8)[:, : 7 * period + 3]
    V += 0.05 * rng.random(V.shape)
    found = dsp.repetition_period(dsp.beat_spectrum(V), 4, 2 * period - 1)
    assert found == period


@given(seed=seeds, n=st.integers(8, 30), shortest=st.integers(1, 4), more=st.integers(0, 3))
def test_the_period_by_loops(seed, n, shortest, more):
    b = np.random.default_rng(seed).random(n)
    heights = {}
    for lag in range(shortest, shortest + more + 1):
        over = []
        for m in range(lag, n, lag):
            near = [b[j] for j in range(m - lag // 2, m + lag // 2 + 1) if 0 <= j < n]
            over.append(b[m] - sum(near) / len(near))
        heights[lag] = sum(over) / len(over)
    if shortest == 1:
        heights[1] = 0  # a lag of 1 has nothing around it
    period = dsp.repetition_period(b, shortest, shortest + more)
    assert heights[period] == pytest.approx(max(heights.values()), abs=1e-12)


@given(seed=seeds, period=st.integers(1, 6))
def test_the_repeating_mask_by_loops(seed, period):
    V = np.random.default_rng(seed).random((3, 13))
    mask = dsp.repeating_mask(V, period)
    for f in range(3):
        for t in range(13):
            middle = np.median(V[f, t % period :: period])
            assert mask[f, t] == pytest.approx(min(middle, V[f, t]) / V[f, t])


@given(
    seed=seeds,
    n_similar=st.integers(1, 4),
    apart=st.integers(1, 4),
    least=st.sampled_from([0.0, 0.9]),
)
def test_the_similar_mask_by_loops(seed, n_similar, apart, least):
    rng = np.random.default_rng(seed)
    V = rng.random((4, 12))
    mask = dsp.similar_mask(V, n_similar, apart, least)
    unit = V / np.linalg.norm(V, axis=0)
    cosine = unit.T @ unit
    for t in range(12):
        row = np.concatenate([[-1], cosine[t], [-1]])
        peaks = [k for k in range(12) if row[k + 1] > row[k] and row[k + 1] > row[k + 2]]
        peaks = [k for k in peaks if cosine[t, k] >= least]
        chosen = []
        for k in sorted(peaks, key=lambda k: -cosine[t, k]):  # the best first, none beside it
            if all(abs(k - other) >= apart for other in chosen):
                chosen.append(k)
        assert t in chosen, "a frame is most similar to itself"
        background = np.median(V[:, chosen[:n_similar]], axis=1)
        np.testing.assert_allclose(mask[:, t], np.minimum(background, V[:, t]) / V[:, t])


def song(seed=0):
    """Eight bars of one loop of chords and strokes, and over it a melody that never comes again."""
    rng = np.random.default_rng(seed)
    bar = SR
    t = np.arange(bar) / SR
    loop = sum(
        np.sin(2 * np.pi * f * t) * (t % 0.5 < 0.35) * rng.uniform(0.5, 1) for f in (220, 330, 550)
    )
    loop[:: bar // 4] += 6
    band = np.tile(loop, 8)
    melody = np.zeros(8 * bar)
    for start in range(0, 8 * bar, bar // 2):
        n = np.arange(bar // 2)
        pitch = rng.uniform(700, 1500)
        melody[start + n] = 2 * np.sin(2 * np.pi * pitch * n / SR + 3 * np.sin(n / 500))
    return melody, band


@pytest.mark.parametrize("method", [dsp.repet, dsp.repet_sim])
def test_the_voice_comes_out_of_a_loop(method):
    melody, band = song()
    settings = {"n_fft": 512, "hop_length": 128}
    estimate = method(melody + band, SR, **settings)
    before = metrics.si_sdr(melody, melody + band)
    assert metrics.si_sdr(melody, estimate) > before + 6
    stereo = method(np.stack([melody + band, band]), SR, **settings)
    np.testing.assert_allclose(stereo[0], estimate, atol=1e-9)
    assert method(band.astype(np.float32), SR, **settings).dtype == np.float32
    assert np.square(stereo[1]).sum() < 0.1 * np.square(band).sum(), "a mere loop is background"


@pytest.mark.parametrize("periods", [(0.05, 0.2), (0.05, 8.0), (0.21, 8.0), (3.0, 8.0)])
def test_repet_step_by_step(monkeypatch, periods):
    """Between the shortest and the longest period that fits in thrice."""
    monkeypatch.setattr(module, "PERIODS", periods)
    rng = np.random.default_rng(1)
    x = np.tile(rng.standard_normal(1600), 4) + rng.standard_normal(6400)
    X = dsp.stft(x, n_fft=256, hop_length=64)  # 101 frames
    V = np.abs(X)
    longest = min(round(periods[1] * SR / 64), 33)
    shortest = min(round(periods[0] * SR / 64), longest)
    period = dsp.repetition_period(dsp.beat_spectrum(V), shortest, longest)
    Y = (1 - dsp.repeating_mask(V, period)) * X
    Y[: math.ceil(100 * 256 / SR)] = 0
    expected = dsp.istft(Y, n_fft=256, hop_length=64, length=len(x))
    np.testing.assert_allclose(dsp.repet(x, SR, n_fft=256, hop_length=64), expected, atol=1e-9)


def test_repet_sim_step_by_step():
    x = np.random.default_rng(2).standard_normal(5 * SR)
    X = dsp.stft(x, n_fft=256, hop_length=64)
    mask = dsp.similar_mask(np.abs(X), n_similar=100, apart=SR // 64, least=0)
    Y = (1 - mask) * X
    Y[: math.ceil(100 * 256 / SR)] = 0
    expected = dsp.istft(Y, n_fft=256, hop_length=64, length=len(x))
    np.testing.assert_allclose(dsp.repet_sim(x, SR, n_fft=256, hop_length=64), expected, atol=1e-9)


def test_at_most_100_frames_are_similar():
    V = np.random.default_rng(0).random((4, 500))
    np.testing.assert_array_equal(dsp.similar_mask(V), dsp.similar_mask(V, 100, 1, 0.0))
    assert not np.array_equal(dsp.similar_mask(V), dsp.similar_mask(V, 120))


@pytest.mark.parametrize("method", [dsp.repet, dsp.repet_sim])
def test_what_is_very_low_is_background(method):
    t = np.arange(6 * SR) / SR
    low = np.sin(2 * np.pi * np.cumsum(40 + 20 * np.sin(2 * np.pi * 0.13 * t**1.5)) / SR)
    higher = np.sin(2 * np.pi * np.cumsum(600 + 300 * np.sin(2 * np.pi * 0.13 * t**1.5)) / SR)
    left = [method(x, SR, n_fft=1024, hop_length=256) for x in (low, higher)]
    assert np.square(left[0]).sum() < 0.01 * np.square(low).sum()
    assert np.square(left[1]).sum() > 0.3 * np.square(higher).sum(), "which never repeats"


def test_silence_is_background():
    V = np.zeros((4, 9))
    np.testing.assert_array_equal(dsp.repeating_mask(V, 3), 1)
    np.testing.assert_array_equal(dsp.similar_mask(V), 1)
    assert not dsp.beat_spectrum(V).any()
    for method in (dsp.repet, dsp.repet_sim):
        assert not method(np.zeros(SR), SR, n_fft=256, hop_length=64).any()


def test_what_is_refused():
    V = np.ones((4, 9))
    with pytest.raises(ShapeError, match=r"V must be one spectrogram \(F, T\), got shape \(9,\)"):
        dsp.beat_spectrum(V[0])
    with pytest.raises(ShapeError, match="V must hold magnitudes, not negative"):
        dsp.similar_mask(-V)
    with pytest.raises(ConfigError, match="period must be"):
        dsp.repeating_mask(V, 0)
    with pytest.raises(ConfigError, match="0 < shortest <= longest < 9 frames"):
        dsp.repetition_period(np.ones(9), 2, 9)
    with pytest.raises(ShapeError, match="too short for anything to repeat"):
        dsp.repet(np.ones(600), SR)
