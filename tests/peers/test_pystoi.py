"""STOI and extended STOI against pystoi, live, over drawn recordings and sampling rates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pystoi import stoi as theirs

from scratchaudio.errors import ShapeError
from scratchaudio.metrics import stoi

pytestmark = pytest.mark.peers

TOLERANCE = 1e-9


def draw_pair(seed, sr, seconds, noise_db, pause_db, dtype):
    """Noise in syllables with a pause, at a level of its own; the estimate is louder and noisy."""
    rng = np.random.default_rng(seed)
    N = int(seconds * sr)
    t = np.arange(N) / sr
    speech = np.sin(2 * np.pi * rng.uniform(1, 4) * t) ** 2 * rng.standard_normal(N)
    speech = np.convolve(speech, [1, 0.9, 0.5, 0.2])[:N]
    speech[N // 2 : 2 * N // 3] *= 10 ** (pause_db / 20)
    speech *= 10 ** rng.uniform(-2, 2)
    noise = 10 ** (noise_db / 20) * np.abs(speech).mean() * rng.standard_normal(N)
    return speech.astype(dtype), (rng.uniform(0.1, 10) * (speech + noise)).astype(dtype)


@pytest.mark.parametrize("sr", [8000, 10000, 11025, 12000, 16000, 22050, 32000, 44100, 48000])
@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**32),
    seconds=st.floats(1.0, 2.5),
    noise_db=st.floats(-40, 30),
    pause_db=st.sampled_from([0.0, -35.0, -40.0, -60.0, -np.inf]),
    extended=st.booleans(),
)
def test_both_agree(sr, seed, seconds, noise_db, pause_db, extended):
    pair = draw_pair(seed, sr, seconds, noise_db, pause_db, np.float64)
    assert abs(stoi(*pair, sr, extended=extended) - theirs(*pair, sr, extended)) <= TOLERANCE


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32), noise_db=st.floats(-20, 20))
def test_both_agree_on_float32(seed, noise_db):
    pair = draw_pair(seed, 16000, 1.5, noise_db, -60.0, np.float32)
    assert abs(stoi(*pair, 16000) - theirs(*pair, 16000)) <= TOLERANCE


def test_pystoi_returns_a_number_for_too_short_a_recording_and_ours_says_so():
    noise = np.random.default_rng(0).standard_normal(4096)
    with pytest.warns(RuntimeWarning, match="Not enough STFT frames"):
        assert theirs(noise, noise, 10000) == 1e-5
    with pytest.raises(ShapeError, match="needs 30"):
        stoi(noise, noise, 10000)
    one_more = np.append(noise, 1.0)
    assert abs(stoi(one_more, one_more, 10000) - theirs(one_more, one_more, 10000)) <= TOLERANCE


def test_both_give_a_silent_estimate_0():
    speech, _ = draw_pair(0, 10000, 1.0, 0, 0, np.float64)
    assert stoi(speech, 0 * speech, 10000) == theirs(speech, 0 * speech, 10000) == 0
