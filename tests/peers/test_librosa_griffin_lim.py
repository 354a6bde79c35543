"""Griffin-Lim against librosa, from the same phases."""

import librosa
import numpy as np
import pytest

from scratchaudio import dsp

pytestmark = pytest.mark.peers


@pytest.mark.parametrize("momentum", [0.0, 0.99])
@pytest.mark.parametrize(
    "settings", [{}, {"hop_length": 40, "win_length": 200}, {"length": 3000, "center": True}]
)
def test_griffinlim(momentum, settings):
    rng = np.random.default_rng(0)
    y = rng.standard_normal(3000) * np.exp(-np.arange(3000) / 700)
    frames = {name: settings[name] for name in settings if name != "length"}
    S = np.abs(librosa.stft(y, n_fft=256, **frames))
    ours = dsp.griffinlim(S, n_iter=8, momentum=momentum, rng=3, **settings)
    theirs = librosa.griffinlim(
        S, n_iter=8, momentum=momentum, random_state=np.random.default_rng(3), **settings
    )
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= 1e-9 * np.abs(theirs).max()
