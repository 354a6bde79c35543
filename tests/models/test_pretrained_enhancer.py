"""The enhancer that ships: small, better than what needs no training, and harmless."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from scratchaudio import dsp, metrics
from scratchaudio.models import load_pretrained
from scratchaudio.models.pretrained import FOLDER

EXAMPLES = Path(__file__).parents[2] / "examples"
SR = 16000


@pytest.fixture(scope="module")
def model():
    return load_pretrained("enhancer")


@pytest.fixture(scope="module")
def clips():
    """Beginnings of four test voices, with all voices for babble."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        data = importlib.import_module("voice_data")
        recordings = data.load_split("test")
        mixtures = []
        for k, recording in enumerate(recordings[::3]):
            clip = data.beginning(recording, 8)
            rng = np.random.default_rng(k)
            for kind, snr_db in (("engine", 0), ("rain", 5)):
                mixtures.append((kind, clip.samples, data.noisy(clip, kind, snr_db, [], rng)))
        return mixtures


def test_it_is_small():
    assert (FOLDER / "enhancer.npz").stat().st_size < 4_000_000


def test_it_improves_unseen_voices_in_unseen_noise(model, clips):
    gains, wiener_gains = [], []
    for _, clean, x in clips:
        before = metrics.si_sdr(clean, x)
        gains.append(metrics.si_sdr(clean, model.enhance(x, SR)) - before)
        wiener_gains.append(metrics.si_sdr(clean, dsp.denoise(x, SR)) - before)
    assert np.mean(gains) >= 6, f"improves by {np.mean(gains):.1f} dB"
    assert np.mean(gains) > np.mean(wiener_gains)


def test_a_clean_voice_stays_as_it_was(model, clips):
    for kind, clean, _ in clips:
        if kind == "rain":
            assert metrics.si_sdr(clean, model.enhance(clean, SR)) >= 20


def test_noise_alone_is_turned_down(model):
    noise = 0.1 * np.random.default_rng(0).standard_normal(5 * SR).astype(np.float32)
    assert dsp.amplitude_to_db(np.array(model.enhance(noise, SR).std() / noise.std())) <= -15


@pytest.mark.parametrize("level", [1e-30, 1e20])
def test_levels_at_the_ends_of_float32(model, clips, level):
    _, _, x = clips[0]
    x = x.astype(np.float32)[: 2 * SR]
    expected = model.enhance(x, SR)
    y = model.enhance(np.float32(level) * x, SR)
    np.testing.assert_allclose(y / np.float32(level), expected, atol=1e-3 * np.abs(x).max())
