"""Laws of scratchaudio/dsp/noise.py: unit level, spectra, rhythms, and seeds that matter."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import welch

from scratchaudio import dsp
from scratchaudio.dsp import noise
from scratchaudio.dsp.noise import NOISES
from scratchaudio.errors import ConfigError, ShapeError

SR = 16000


@pytest.mark.parametrize("kind", NOISES)
@settings(max_examples=25)
@given(
    n=st.one_of(st.integers(2, 50), st.integers(51, 9000)),
    sr=st.sampled_from([4000, 8000, 16000, 44100]),
    seed=st.integers(0, 10_000),
)
def test_every_noise_has_zero_mean_and_unit_rms(kind, n, sr, seed):
    x = NOISES[kind](n, sr, seed)
    assert x.shape == (n,)
    assert x.dtype == np.float32
    assert abs(x.mean(dtype=float)) <= 1e-6
    assert abs(math.sqrt(np.square(x, dtype=float).mean()) - 1) <= 1e-6


@pytest.mark.parametrize("kind", NOISES)
def test_seeds_repeat_and_differ(kind):
    make = NOISES[kind]
    x = make(SR, SR, 7)
    np.testing.assert_array_equal(x, make(SR, SR, np.random.default_rng(7)))
    assert abs(np.corrcoef(x, make(SR, SR, 8))[0, 1]) <= 0.9
    rng = np.random.default_rng(7)
    assert not np.array_equal(make(SR, SR, rng), make(SR, SR, rng))
    assert not np.array_equal(make(SR, SR), make(SR, SR))


def band_levels(x, sr=SR):
    """Level of each octave from 62.5 Hz on, dB."""
    f, power = welch(x, sr, nperseg=4096)
    edges = 62.5 * 2.0 ** np.arange(8)
    return np.array(
        [
            10 * np.log10(power[(f >= low) & (f < high)].mean() + 1e-20)
            for low, high in zip(edges, edges[1:], strict=False)
        ]
    )


@pytest.mark.parametrize(("kind", "slope"), [("white", 0), ("pink", -3.01), ("brown", -6.02)])
def test_density_falls_as_stated_per_octave(kind, slope):
    for seed in range(3):
        levels = band_levels(NOISES[kind](60 * SR, SR, seed))
        measured = np.polyfit(np.arange(len(levels)), levels, 1)[0]
        assert abs(measured - slope) <= 0.15


@pytest.mark.parametrize("kind", ["pink", "brown"])
def test_nothing_grows_below_20_hz(kind):
    f, power = welch(NOISES[kind](120 * SR, SR, 0), SR, nperseg=16 * SR)
    low = power[(f >= 1) & (f <= 10)].mean()
    assert abs(10 * math.log10(low / power[(f > 11) & (f < 19)].mean())) <= 0.7


@pytest.mark.parametrize("kind", ["resonant", "modulated", "wind", "traffic", "rain"])
def test_two_seeds_have_different_colours(kind):
    shapes = [band_levels(NOISES[kind](10 * SR, SR, seed)) for seed in range(6)]
    spread = np.std(shapes, axis=0).max()
    assert spread >= 2, f"{kind}: octave levels of six seeds differ by {spread:.1f} dB only"


def test_hum_has_lines_at_the_mains_and_its_harmonics():
    mains = set()
    for seed in range(8):
        x = NOISES["hum"](20 * SR, SR, seed)
        f, power = welch(x, SR, nperseg=4 * SR)
        share = {}
        for base in (50, 60):
            lines = np.abs(f - base * np.round(f / base)) <= np.maximum(0.5, 0.0015 * f)
            share[base] = power[lines & (f > 40) & (f < 2000)].sum() / power.sum()
        mains.add(max(share, key=share.get))
        assert max(share.values()) >= 0.95
        assert 20 * math.log10(np.abs(x).max()) <= 14
    assert mains == {50, 60}


def envelope(x, sr=SR, seconds=0.02):
    size = int(sr * seconds)
    return np.sqrt(np.square(x[: len(x) // size * size].reshape(-1, size)).mean(axis=1))


@pytest.mark.parametrize("kind", ["clicks", "impacts"])
def test_strokes_are_short_and_die_away(kind):
    for seed in range(4):
        x = NOISES[kind](20 * SR, SR, seed)
        assert np.abs(x).max() >= 6
        levels = envelope(x)
        assert np.median(levels) <= 0.8 * levels.max()
        # A stroke rises at once and dies slowly: the steepest step up beats the steepest down.
        steps = np.diff(np.log(envelope(x, seconds=0.004) + 1e-2))
        assert steps.max() >= -steps.min()


def test_stationary_kinds_are_stationary_and_the_others_not():
    def unsteadiness(kind, seed):
        levels = envelope(NOISES[kind](20 * SR, SR, seed), seconds=0.1)
        return np.std(levels) / np.mean(levels)

    for seed in range(3):
        assert max(unsteadiness(kind, seed) for kind in ("white", "pink")) <= 0.15
        for kind in ("modulated", "traffic", "birds", "wind", "clicks"):
            assert unsteadiness(kind, seed) >= 0.15, kind


def test_modulation_lies_between_half_and_12_hz():
    for seed in range(6):
        levels = envelope(NOISES["modulated"](30 * SR, SR, seed), seconds=0.01)
        f, power = welch(levels - levels.mean(), 100, nperseg=1000)
        assert 0.1 <= f[np.argmax(power)] <= 12.5


def test_an_engine_and_an_alarm_and_music_have_pitch():
    """Periodic waves: the spectrum of a moment is peaked, unlike that of noise."""

    def flatness(x):
        power = welch(x, SR, nperseg=2048)[1]
        return np.exp(np.mean(np.log(power))) / power.mean()

    for seed in range(3):
        reference = flatness(NOISES["white"](2 * SR, SR, seed))
        for kind in ("alarm", "music", "hum"):
            assert flatness(NOISES[kind](2 * SR, SR, seed)) <= 0.2 * reference, kind


def test_music_plays_semitones():
    for seed in range(3):
        x = NOISES["music"](30 * SR, SR, seed)
        f, power = welch(x, SR, nperseg=SR)
        heard = (f > 300) & (f < 2000)
        semitones = 12 * np.log2(f[heard] / 440)
        in_tune = np.abs(semitones - np.round(semitones)) <= 0.2  # 40 % of all frequencies
        assert power[heard][in_tune].sum() >= 0.6 * power[heard].sum()  # and drums


def test_chirps_lie_where_birds_sing():
    for seed in range(6):
        f, power = welch(NOISES["birds"](20 * SR, SR, seed), SR, nperseg=1024)
        assert power[(f > 1300) & (f < 7200)].sum() >= 0.95 * power.sum()
        assert power[(f > 100) & (f < 1200)].max() <= 0.01 * power.max()


# Babble ---------------------------------------------------------------------------------------


def voices(count, seconds=3, seed=0):
    """Tones of different pitch, one a voice, each at its own level."""
    rng = np.random.default_rng(seed)
    t = np.arange(seconds * SR) / SR
    pitches = 400 + 100 * np.arange(count)
    return [10 ** rng.uniform(-2, 0) * np.sin(2 * np.pi * p * t) for p in pitches], pitches


def talkers_heard(x, pitches):
    f, power = welch(x, SR, nperseg=4096)
    lines = np.array([power[np.abs(f - pitch) < 20].max() for pitch in pitches])
    return lines > 0.03 * lines.max()  # 15 dB; they may differ by 12


def test_babble_has_four_to_eight_talkers_at_like_levels_and_all_get_a_turn():
    pool, pitches = voices(10)
    turns = np.zeros(10, int)
    counts = set()
    for seed in range(20):
        x = dsp.babble(4 * SR, SR, pool, rng=seed)
        assert x.shape == (4 * SR,) and x.dtype == np.float32
        assert abs(np.square(x, dtype=float).mean() - 1) <= 1e-6
        heard = talkers_heard(x, pitches)
        counts.add(int(heard.sum()))
        turns += heard
    assert counts == {4, 5, 6, 7, 8}
    assert turns.min() >= 3


@settings(max_examples=20)
@given(count=st.integers(1, 4), n=st.integers(2, 60_000), seed=st.integers(0, 999))
def test_babble_of_few_voices_lets_each_speak(count, n, seed):
    pool, pitches = voices(count, seconds=1)
    before = [voice.copy() for voice in pool]
    x = dsp.babble(n, SR, pool, rng=seed)
    assert x.shape == (n,)
    assert abs(np.square(x, dtype=float).mean() - 1) <= 1e-6
    if n > SR:
        assert talkers_heard(x, pitches).all()
    for voice, copy in zip(pool, before, strict=True):
        np.testing.assert_array_equal(voice, copy)


def test_babble_pieces_are_drawn_anew():
    pool = [NOISES["modulated"](4 * SR, SR, seed) for seed in range(5)]
    a, b = (dsp.babble(2 * SR, SR, pool, rng=seed) for seed in (0, 1))
    np.testing.assert_array_equal(a, dsp.babble(2 * SR, SR, pool, rng=0))
    assert abs(np.corrcoef(a, b)[0, 1]) <= 0.2


def test_babble_talks_all_the_time():
    pool, _ = voices(6, seconds=2)
    levels = envelope(dsp.babble(10 * SR, SR, pool, rng=0), seconds=0.1)
    assert levels.min() >= 0.2


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: noise.white(1, SR), ConfigError, "n must be at least 2: one sample cannot"),
        (lambda: noise.pink(0, SR), ConfigError, "n must be an integer of at least 1, got 0"),
        (lambda: noise.brown(10.0, SR), ConfigError, "n must be an integer .* got 10.0"),
        (lambda: noise.music(10, 3000), ConfigError, "sr must be at least 4000 Hz .* got 3000"),
        (lambda: noise.hum(10, 16e3), ConfigError, "sr must be an integer"),
        (lambda: dsp.babble(10, SR, []), ShapeError, "at least one waveform, got none"),
        (lambda: dsp.babble(10, SR, [np.ones(99)]), ShapeError, r"voices\[0\] .* \(99,\)"),
        (lambda: dsp.babble(10, SR, [np.ones((2, SR))]), ShapeError, "must be one channel"),
        (lambda: dsp.babble(10, SR, [np.zeros(SR)]), ShapeError, "no active level"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_tones_lie_in_few_narrow_bands_and_some_of_them_glide():
    """Half of the power of a moment lies in 20 of 1025 bins, which are not always the same."""
    moved = []
    for seed in range(12):
        x = NOISES["tones"](8 * SR, SR, seed)
        power = np.square(np.abs(dsp.stft(x, n_fft=2048)))  # (F, T)
        loud = power[:, power.sum(axis=0) > 0.1 * power.sum(axis=0).mean()]
        strongest = np.sort(loud, axis=0)[-20:].sum(axis=0) / loud.sum(axis=0)
        assert np.median(strongest) >= 0.5, seed
        moved.append(np.ptp(loud.argmax(axis=0)))
    assert max(moved) >= 100, "each draw keeps its strongest tone"
    assert sum(range_ <= 20 for range_ in moved) >= 1, "no draw holds a tone"
