"""STOI against the paper's equations in loops, pystoi's frozen values, and its laws.

Drawn "speech" is noise whose loudness swells and fades a few times a second.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from golden.make_pystoi import draw_pair as draw_golden_pair
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchaudio.errors import ConfigError, ShapeError
from scratchaudio.metrics import stoi

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "pystoi.json").read_text())["cases"]
SHORTEST = 4097  # samples at 10 kHz: 31 frames of 256, half overlapping, and one sample


def draw_pair(seed, N=6000, noise_gain=0.5, sr=10000):
    rng = np.random.default_rng(seed)
    t = np.arange(N) / sr
    reference = rng.standard_normal(N) * np.sin(2 * np.pi * rng.uniform(1, 3) * t) ** 2
    return reference, 3 * (reference + noise_gain * rng.standard_normal(N))


# The slow oracle ------------------------------------------------------------------------------

WINDOW = [0.5 - 0.5 * math.cos(2 * math.pi * (n + 1) / 257) for n in range(256)]


def slow_frames(x):
    return [[WINDOW[n] * x[start + n] for n in range(256)] for start in range(0, len(x) - 256, 128)]


def slow_pauses_out(x, y):
    frames = slow_frames(x), slow_frames(y)
    energies = [10 * math.log10(math.fsum(v * v for v in f) + 1e-300) for f in frames[0]]
    kept = [t for t in range(len(energies)) if energies[t] > max(energies) - 40]
    closed = []
    for signal in frames:
        out = [0.0] * (128 * (len(kept) - 1) + 256)
        for place, t in enumerate(kept):
            for n in range(256):
                out[128 * place + n] += signal[t][n]
        closed.append(out)
    return closed


def slow_bands(x):
    """Rows: 15 bands. The bin nearest to each edge; the DFT as a matrix of the definition."""
    frequencies = [k * 10000 / 512 for k in range(257)]

    def nearest(f):
        return min(range(257), key=lambda k: abs(frequencies[k] - f))

    dft = np.exp(-2j * np.pi * np.outer(range(257), range(256)) / 512)
    spectra = [np.abs(dft @ np.array(f)) for f in slow_frames(x)]
    bands = []
    for j in range(15):
        centre = 150 * 2 ** (j / 3)
        low, high = nearest(centre * 2 ** (-1 / 6)), nearest(centre * 2 ** (1 / 6))
        bands.append([math.sqrt(sum(X[k] ** 2 for k in range(low, high))) for X in spectra])
    return bands


def slow_standardise(x):
    mean = math.fsum(x) / len(x)
    norm = math.sqrt(math.fsum((v - mean) ** 2 for v in x))
    return [(v - mean) / norm for v in x]


def slow_stoi(x, y):
    x, y = (slow_bands(signal) for signal in slow_pauses_out(x, y))
    correlations = []
    for m in range(30, len(x[0]) + 1):
        for j in range(15):
            a, b = x[j][m - 30 : m], y[j][m - 30 : m]
            alpha = math.sqrt(sum(v * v for v in a) / sum(v * v for v in b))
            b = [min(alpha * v, u + 10 ** (15 / 20) * u) for u, v in zip(a, b, strict=True)]
            pair = zip(slow_standardise(a), slow_standardise(b), strict=True)
            correlations.append(math.fsum(u * v for u, v in pair))
    return math.fsum(correlations) / len(correlations)


def slow_estoi(x, y):
    x, y = (slow_bands(signal) for signal in slow_pauses_out(x, y))
    values = []
    for m in range(30, len(x[0]) + 1):
        columns = []
        for bands in (x, y):
            rows = [slow_standardise(row[m - 30 : m]) for row in bands]
            columns.append([slow_standardise([row[n] for row in rows]) for n in range(30)])
        for a, b in zip(*columns, strict=True):
            values.append(math.fsum(u * v for u, v in zip(a, b, strict=True)))
    return math.fsum(values) / len(values)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("extended", "oracle"), [(False, slow_stoi), (True, slow_estoi)])
def test_equals_the_paper_in_loops(seed, extended, oracle):
    reference, estimate = draw_pair(seed, [5500, 7300, 7937][seed])  # 7937 = 60 * 128 + 257
    if seed:  # a pause into which the speech decays and from which it comes back
        reference[4000:6000] *= 10 ** (-6 * np.sin(np.pi * np.arange(2000) / 2000))
    value = stoi(reference, estimate, 10000, extended=extended)
    assert isinstance(value, float)
    assert abs(value - oracle(reference.tolist(), estimate.tolist())) <= 1e-10


@pytest.mark.parametrize("case", GOLDEN, ids=lambda c: f"{c['sr']}-{c['noise_gain']}")
def test_equals_pystoi(case):
    pair = draw_golden_pair(case["seed"], case["sr"], case["noise_gain"])
    assert abs(stoi(*pair, case["sr"]) - case["stoi"]) <= 1e-9
    assert abs(stoi(*pair, case["sr"], extended=True) - case["estoi"]) <= 1e-9


def test_golden_values_tell_rates_and_noises_apart():
    assert len(GOLDEN) == 28
    assert len({round(c["stoi"], 4) for c in GOLDEN if c["noise_gain"] > 0}) == 21
    assert all(abs(c["stoi"] - c["estoi"]) > 1e-3 for c in GOLDEN if c["noise_gain"] > 0)


# Laws -----------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32),
    exponents=st.tuples(st.integers(-300, 150), st.integers(-300, 150)),
    sign=st.sampled_from([-1, 1]),
    extended=st.booleans(),
)
def test_levels_and_sign_do_not_count(seed, exponents, sign, extended):
    reference, estimate = draw_pair(seed)
    before = stoi(reference, estimate, 10000, extended=extended)
    scaled = 10.0 ** exponents[0] * reference, sign * 10.0 ** exponents[1] * estimate
    assert abs(stoi(*scaled, 10000, extended=extended) - before) <= 1e-9
    assert 0.2 < before < 0.99


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32), gain=st.floats(0.01, 100), extended=st.booleans())
def test_a_perfect_estimate_scores_1(seed, gain, extended):
    reference, _ = draw_pair(seed)
    assert abs(stoi(reference, gain * reference, 10000, extended=extended) - 1) <= 1e-9


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("sr", [8000, 10000, 16000])
def test_more_noise_scores_less(sr, extended):
    reference, _ = draw_pair(0, N=2 * sr, sr=sr)
    noise = np.random.default_rng(1).standard_normal(2 * sr)
    scores = [
        stoi(reference, reference + gain * noise, sr, extended=extended)
        for gain in (0, 0.1, 0.3, 1, 3)
    ]
    assert (np.diff(scores) < -0.003).all()
    assert scores[-1] < 0.5


def test_what_lies_in_pauses_does_not_count():
    """Twelve silent seconds with a noisy estimate change nothing but a few frames at the edges."""
    reference, estimate = draw_pair(0, N=20000)
    noise = np.random.default_rng(2).standard_normal(120_000)
    longer = [
        np.concatenate([x[:10000], pause, x[10000:]])
        for x, pause in ((reference, 0 * noise), (estimate, noise))
    ]
    assert abs(stoi(*longer, 10000) - stoi(reference, estimate, 10000)) <= 0.02
    # The reference alone says where the pauses are.
    swapped = stoi(*longer[::-1], 10000)
    assert abs(swapped - stoi(estimate, reference, 10000)) > 0.1


@pytest.mark.parametrize(("level_db", "frames"), [(-39.9, 29), (-40.1, 19)])
def test_a_pause_begins_40_db_below_the_loudest_frame(level_db, frames):
    """20 loud frames and 10 soft ones are too few either way; the error counts those that stay."""
    reference = np.full(SHORTEST - 128, 10 ** (level_db / 20))
    reference[: 20 * 128] = 1.0
    with pytest.raises(ShapeError, match=f"reference holds {frames} frames"):
        stoi(reference, reference, 10000)


@pytest.mark.parametrize("sr", [8000, 16000, 44100])
def test_resampling_keeps_a_constant_and_lasts_as_long(sr):
    from scratchaudio.metrics.intelligibility import _resample

    resampled = _resample(np.ones((2, sr)), sr)
    assert resampled.shape == (2, 10000)
    np.testing.assert_allclose(resampled[:, 500:-500], 1, atol=2e-3)  # 60 dB


def test_without_resampling_and_with_it_speech_scores_alike():
    """The same tones and noise bands sampled at 10 and at 16 kHz."""
    scores = []
    for sr in (10000, 16000):
        reference, _ = draw_golden_pair(0, sr, 0)
        t = np.arange(reference.size) / sr
        hum = sum(np.sin(2 * np.pi * f * t + f) for f in range(160, 4200, 97))
        scores.append(stoi(reference, reference + 0.1 * hum, sr))
    assert abs(scores[0] - scores[1]) <= 0.01
    assert scores[0] < 0.95


def test_silent_and_constant_bands_stay_finite():
    reference, _ = draw_pair(0)
    for extended in (False, True):
        assert stoi(reference, np.zeros_like(reference), 10000, extended=extended) == 0
        tone = np.sin(2 * np.pi * 1000 * np.arange(6000) / 10000)
        assert math.isfinite(stoi(tone, reference, 10000, extended=extended))
        assert math.isfinite(stoi(reference, tone, 10000, extended=extended))


def test_blocks_of_segments_add_up():
    """Long enough for several blocks, the last one not full: the mean over all is the same."""
    from scratchaudio.metrics import intelligibility

    pair = draw_pair(3, N=30000)
    whole = [stoi(*pair, 10000, extended=extended) for extended in (False, True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intelligibility, "BLOCK", 10**6)
        at_once = [stoi(*pair, 10000, extended=extended) for extended in (False, True)]
    np.testing.assert_allclose(whole, at_once, rtol=1e-12)


# Input ----------------------------------------------------------------------------------------


def test_read_only_strided_and_float32_input():
    reference, estimate = draw_pair(0, N=12000)
    before = reference.copy(), estimate.copy()
    reference.flags.writeable = estimate.flags.writeable = False
    strided, copied = reference[::2], before[0][::2].copy()
    assert stoi(strided, estimate[::2], 10000) == stoi(copied, before[1][::2].copy(), 10000)
    for sr in (10000, 16000):
        single = [x.astype(np.float32) for x in before]
        double = [x.astype(np.float64) for x in single]
        assert stoi(reference, estimate, sr) == stoi(*before, sr)
        assert stoi(*single, sr) == stoi(*double, sr)
    np.testing.assert_array_equal([reference, estimate], before)
    assert stoi(reference, estimate, np.int64(16000)) == stoi(reference, estimate, 16000)


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("N", [1, 256, 257, 2000, SHORTEST - 1])
def test_too_short_is_an_error(N, extended):
    noise = np.random.default_rng(0).standard_normal(SHORTEST)
    assert abs(stoi(noise, noise, 10000, extended=extended) - 1) <= 1e-9
    frames = max(0, math.ceil((N - 256) / 128) - 1)
    with pytest.raises(ShapeError, match=rf"reference holds {frames} frames of speech.* needs 30"):
        stoi(noise[:N], noise[:N], 10000, extended=extended)


def test_too_little_speech_in_a_long_recording_is_an_error():
    reference = np.zeros(50_000)
    reference[20_000:23_000] = 1.0
    with pytest.raises(ShapeError, match="frames of speech"):
        stoi(reference, np.ones(50_000), 10000)
    reference[:] = 0
    reference[-1] = 1.0  # in no frame
    with pytest.raises(ShapeError, match="reference holds 0 frames"):
        stoi(reference, np.ones(50_000), 10000)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (
            {"estimate": np.ones(7999)},
            ShapeError,
            r"one length, got shapes \(8000,\) and \(7999,\)",
        ),
        (
            {"reference": np.ones((2, 8000)), "estimate": np.ones((2, 8000))},
            ShapeError,
            "one channel each",
        ),
        ({"reference": np.zeros(8000)}, ShapeError, "reference is silent"),
        ({"reference": np.ones(8000, int)}, ShapeError, "reference must hold floating-point"),
        ({"estimate": np.full(8000, np.nan)}, ShapeError, "estimate must be finite"),
        ({"sr": 7999}, ConfigError, "sr must be at least 8000 Hz, got 7999"),
        ({"sr": 16000.0}, ConfigError, "sr must be an integer"),
        ({"sr": 0}, ConfigError, "sr"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, says):
    arguments = {"reference": np.ones(8000), "estimate": np.ones(8000), "sr": 10000} | arguments
    with pytest.raises(error, match=says):
        stoi(**arguments)
