"""The detector: features, gradients, stream and segments."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import fft

from scratchaudio import dsp
from scratchaudio.checkpoint import save_checkpoint
from scratchaudio.errors import CheckpointError, ConfigError, ShapeError
from scratchaudio.models import VadStream, VoiceActivityDetector, load_pretrained, vad
from scratchaudio.models.energy_vad import adaptive_energy_score, energy_score
from scratchaudio.models.pretrained import load_model
from scratchaudio.nn import LSTM, Adam, bce_with_logits

seeds = st.integers(0, 2**32 - 1)


def small(bidirectional=False, seed=0, n_layers=2):
    return VoiceActivityDetector("log_mel", 5, n_layers, bidirectional, rng=seed)


def speechlike(n, seed=0):
    """Bursts of a buzz in faint noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(n) / vad.SAMPLE_RATE
    buzz = np.sign(np.sin(2 * np.pi * 140 * t)) * (np.sin(2 * np.pi * 0.8 * t) > 0)
    return (0.1 * buzz + 0.003 * rng.standard_normal(n)).astype(np.float32)


# Features -----------------------------------------------------------------------------------------


def test_a_frame_looks_at_25_ms_around_its_centre():
    """A click at sample n is seen by just the frames whose window covers it."""
    x = np.zeros(8000, np.float32)
    x[4003] = 1
    energy = np.exp(vad.log_mel_features(x)).sum(axis=1)
    seen = np.flatnonzero(energy > 1e-6)
    assert seen.tolist() == [24, 25, 26]  # |160 t - 4003| < 200


def test_features_have_one_row_every_10_ms():
    for n in (1, 159, 160, 161, 16000):
        x = speechlike(n)
        assert vad.log_mel_features(x).shape == (1 + n // 160, 40)
    assert vad.mfcc_features(speechlike(16000)).shape == (101, 39)


@given(seed=seeds, gain=st.floats(0.2, 50))
def test_loudness_does_not_matter_to_normalized_features(seed, gain):
    x = np.random.default_rng(seed).standard_normal(4000) * 0.1
    a = vad.remove_mean(vad.log_mel_features(x))
    b = vad.remove_mean(vad.log_mel_features(gain * x))
    np.testing.assert_allclose(a, b, atol=1e-3)


def test_the_running_mean_equals_its_formula():
    features = np.random.default_rng(0).standard_normal((12, 3))
    got = vad.RunningMean(memory=5)(features)
    mean = np.zeros(3)
    for t, frame in enumerate(features):
        rate = max(1 / (t + 1), 1 / 5)
        mean = mean + rate * (frame - mean)
        np.testing.assert_allclose(got[t], frame - mean, atol=1e-14)
    np.testing.assert_allclose(got[3], features[3] - features[:4].mean(axis=0), atol=1e-14)


# The network --------------------------------------------------------------------------------------


@pytest.mark.parametrize("bidirectional", [False, True])
def test_probabilities_have_one_value_a_frame_between_0_and_1(bidirectional):
    p = small(bidirectional).probabilities(speechlike(4000))
    assert p.shape == (26,) and p.dtype == np.float32
    assert (p > 0).all() and (p < 1).all()


def test_a_long_recording_in_pieces_is_the_same_as_in_one(monkeypatch):
    x = speechlike(48000)
    for bidirectional, tolerance in ((False, 1e-6), (True, 1e-3)):
        model = small(bidirectional)
        whole = model.probabilities(x)
        monkeypatch.setattr(vad, "PIECE_FRAMES", 70)
        monkeypatch.setattr(vad, "CONTEXT_FRAMES", 120)
        np.testing.assert_allclose(model.probabilities(x), whole, rtol=0, atol=tolerance)
        monkeypatch.undo()


@given(seed=seeds, n=st.integers(1, 5000), frames_per_step=st.integers(1, 4), data=st.data())
def test_the_stream_gives_the_probabilities_of_the_whole_recording(seed, n, frames_per_step, data):
    """Chunks of any size, in double precision: equal to 1e-12."""
    rng = np.random.default_rng(seed)
    model = VoiceActivityDetector("log_mel", 5, 2, False, frames_per_step, rng=1)
    model.astype(np.float64)
    x = 0.1 * rng.standard_normal(n)
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=6)))
    stream = VadStream(model)
    parts = [stream.feed(chunk) for chunk in np.split(x, cuts)] + [stream.finish()]
    streamed = np.concatenate(parts)
    assert streamed.shape == (1 + n // 160,)
    np.testing.assert_allclose(streamed, model.probabilities(x), rtol=0, atol=1e-12)


def test_a_one_way_detector_does_not_hear_the_future():
    """Frame t looks at samples before 160 t + 200, its step at one frame more: later, nothing."""
    model, x = small(), speechlike(8000)
    changed = x.copy()
    changed[4000:] = 0.5
    t = (4000 - 200) // 160 - 1
    np.testing.assert_array_equal(model.probabilities(x)[:t], model.probabilities(changed)[:t])


def test_learns_to_find_bursts():
    model = VoiceActivityDetector(n_hidden=8, n_layers=1, rng=0)
    x = speechlike(32000)
    features = model.normalized_features(x)[None]
    labels = (np.sin(2 * np.pi * 0.8 * np.arange(features.shape[1]) / 100) > 0)[None]
    optimizer = Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(40):
        model.zero_grad()
        loss, dlogits = bce_with_logits(model.forward(features), labels.astype(np.float32))
        model.backward(dlogits)
        optimizer.step()
        losses.append(loss)
    assert losses[-1] < losses[0] / 10, losses[::5]


def test_messages():
    with pytest.raises(ConfigError, match=r"features must be one of \['log_mel', 'mfcc'\]"):
        VoiceActivityDetector("mel")
    with pytest.raises(ShapeError, match=r"one channel.*got shape \(2, 500\).*mix the channels"):
        small().probabilities(np.zeros((2, 500), np.float32))
    with pytest.raises(ShapeError, match=r"x must be finite, but x\[3\] is nan"):
        small().probabilities(np.array([0, 0, 0, np.nan], np.float32))
    with pytest.raises(ShapeError, match="divide integer PCM"):
        small().probabilities(np.zeros(500, np.int16))
    with pytest.raises(ConfigError, match="look into the future"):
        VadStream(small(bidirectional=True))
    stream = VadStream(small())
    with pytest.raises(ShapeError, match="divide integer PCM"):
        stream.feed(np.zeros(8, np.int16))
    with pytest.raises(ShapeError, match=r"chunk\[1\] is nan"):
        stream.feed(np.array([0, np.nan]))
    stream.finish()
    with pytest.raises(ConfigError, match="finished"):
        stream.feed(np.zeros(10))
    with pytest.raises(ConfigError, match=r"one of \('enhancer', 'nmf', 'vad'\), got 'voice'"):
        load_pretrained("voice")
    with pytest.raises(ShapeError, match=r"lengths must be at most 5"):
        small().forward(np.zeros((2, 5, 40)), lengths=np.array([6, 5]))
    model = small()
    model.forward(np.zeros((2, 5, 40), np.float32))
    with pytest.raises(ShapeError, match=r"logits' shape \(2, 5\), got \(2, 4\)"):
        model.backward(np.zeros((2, 4), np.float32))
    for score in (energy_score, adaptive_energy_score, vad.log_mel_features):
        with pytest.raises(
            ShapeError, match=r"one channel of shape \(samples,\), got shape \(2, 9\)"
        ):
            score(np.zeros((2, 9)))


def test_checkpoints_of_other_models_and_hostile_settings_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="missing"):
        load_model("missing.npz")
    path, model = tmp_path / "model.npz", small()
    for changes, message in (
        ({"n_hidden": 100_000}, "n_hidden is 100000 in its settings, 5 in its weights"),
        ({"frames_per_step": 10**9}, "frames_per_step is 1000000000"),
        ({"n_layers": 7}, "n_layers is 7 in its settings, 2"),
        ({"rng": -1}, "settings do not fit"),
        ({"features": "mel"}, "features must be one of"),
    ):
        save_checkpoint(path, model, settings=model.settings | changes)
        with pytest.raises(CheckpointError, match=message):
            load_model(path)
    save_checkpoint(path, LSTM(2, 3))
    with pytest.raises(CheckpointError, match="holds a LSTM; models here are"):
        load_model(path)
    save_checkpoint(path, model, settings=model.settings)
    x = speechlike(3000)
    np.testing.assert_array_equal(load_model(path).probabilities(x), model.probabilities(x))


# Values -------------------------------------------------------------------------------------------


def test_log_mel_is_the_logarithm_of_the_mel_bands():
    x = speechlike(4000)
    mel = dsp.melspectrogram(
        y=x, sr=16000, n_fft=512, hop_length=160, win_length=400, n_mels=40, fmin=60
    )
    np.testing.assert_allclose(vad.log_mel_features(x), np.log(mel.T + 1e-9), rtol=1e-5)


def test_mfcc_features_are_coefficients_and_their_two_deltas():
    x = speechlike(4000)
    c = fft.dct(vad.log_mel_features(x), norm="ortho", axis=1)[:, :13]
    got = vad.mfcc_features(x)
    for column in (0, 1, 12):
        np.testing.assert_allclose(got[:, column], c[:, column], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(got[8:-8, 13], slopes(got[:, 0])[8:-8], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(got[8:-8, 26], curvatures(got[:, 0])[8:-8], rtol=1e-3, atol=1e-3)


def slopes(x):
    """Slope of the line fitted to 9 values around each."""
    k = np.arange(-4, 5)
    return np.array([np.polyfit(k, x[t - 4 : t + 5], 1)[0] if 4 <= t < len(x) - 4 else 0
                     for t in range(len(x))])  # fmt: skip


def curvatures(x):
    """Twice the square coefficient of the parabola fitted to 9 values around each."""
    k = np.arange(-4, 5)
    return np.array([2 * np.polyfit(k, x[t - 4 : t + 5], 2)[0] if 4 <= t < len(x) - 4 else 0
                     for t in range(len(x))])  # fmt: skip


def test_each_kind_of_detector_has_its_own_normalization():
    x = speechlike(16000)
    features = vad.log_mel_features(x)
    np.testing.assert_allclose(
        small(True).normalized_features(x), features - features.mean(axis=0), atol=1e-5
    )
    np.testing.assert_allclose(
        small(False).normalized_features(x), vad.RunningMean(300)(features), atol=1e-5
    )


def test_probabilities_come_from_evaluation():
    for bidirectional in (False, True):
        model = small(bidirectional)
        model.probabilities(speechlike(2000))
        assert not model.training
    assert not VadStream(small().train()).model.training


@pytest.mark.parametrize("frames_per_step", [1, 2, 3])
def test_lengths_hold_with_a_state_too(frames_per_step):
    """A short sequence in a batch gives what it gives alone, its padding whatever it is."""
    model = VoiceActivityDetector("log_mel", 5, 1, False, frames_per_step, rng=0)
    model.astype(np.float64)
    x = np.random.default_rng(0).standard_normal((2, 7, 40))
    state = model.initial_state(2)
    x[1, 4:] = np.nan
    logits, after = model.forward(x, state, np.array([7, 4]))
    alone, after_alone = model.forward(x[1:, :4], model.initial_state(1))
    np.testing.assert_allclose(logits[1, :4], alone[0], atol=1e-13)
    np.testing.assert_allclose(after[0][0][1], after_alone[0][0][0], atol=1e-13)


@pytest.mark.parametrize("n", [1, 100, 16000])
def test_silence_and_single_samples_are_recordings_too(n):
    for bidirectional in (False, True):
        p = small(bidirectional).probabilities(np.zeros(n, np.float32))
        assert p.shape == (1 + n // 160,) and np.isfinite(p).all()
    for score in (energy_score, adaptive_energy_score):
        assert np.isfinite(score(np.zeros(n, np.float32))).all()


# Baselines ----------------------------------------------------------------------------------------


def test_energy_score_is_the_level_in_db():
    x = np.full(16000, 0.1)
    np.testing.assert_allclose(energy_score(x)[5:-5], -20, atol=1e-9)


def test_adaptive_score_ignores_a_steady_level_and_sees_a_burst():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(5 * 16000)
    x[3 * 16000 : 3 * 16000 + 8000] *= 10
    quiet, loud = adaptive_energy_score(0.001 * x), adaptive_energy_score(0.1 * x)
    np.testing.assert_allclose(quiet, loud, atol=1e-6)
    assert loud[310:340].min() > 15
    assert loud[400:].max() < 8, "the hangover must end"
    assert loud[352:363].min() > 15, "the hangover must hold for 0.15 s"
    assert loud[368:380].max() < 12, "and no longer"


def test_the_noise_floor_is_followed_within_three_seconds():
    """A louder noise counts as speech until the quiet before it is 3 s ago."""
    x = np.random.default_rng(0).standard_normal(10 * 16000)
    x[5 * 16000 :] *= 10
    score = adaptive_energy_score(x)
    assert score[520:790].min() > 12, "the floor of the last 3 s is still the quiet one"
    assert score[830:].max() < 8, "the floor must have risen"


def test_energy_is_taken_over_25_ms():
    x = np.zeros(8000)
    x[4000] = 1
    score = energy_score(x)
    assert np.flatnonzero(score > -60).tolist() == [24, 25, 26]
    np.testing.assert_allclose(score[25], 10 * np.log10(1 / 400), atol=1e-6)
    assert score[0] <= -99, "silence must lie far below, not 80 dB under the loudest"
