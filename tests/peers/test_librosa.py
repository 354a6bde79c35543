"""Signals and features against librosa, live, over drawn settings and in both precisions."""

import librosa
import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from scratchaudio import dsp

pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore:n_fft=.* is too large for input signal:UserWarning"),
]

# Of the largest value. What is asked is 1e-4 in float32.
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-9}

dtypes = st.sampled_from([np.float32, np.float64])
windows = st.sampled_from(
    ["hann", "hamming", "blackman", "blackmanharris", "bartlett", "boxcar", ("kaiser", 5.0)]
)
pad_modes = st.sampled_from(["constant", "edge", "reflect", "symmetric", "linear_ramp"])


def assert_close(ours, theirs, dtype):
    assert ours.shape == theirs.shape
    assert ours.real.dtype == theirs.real.dtype == dtype
    error = np.abs(ours - theirs).max() / max(np.abs(theirs).max(), np.finfo(dtype).tiny)
    assert error <= TOLERANCE[dtype], f"relative error {error:.1e}"


def voice(seed, shape, dtype):
    """Noise with a slope of 1 / f and a loud and a soft half: bands of very different level."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape).cumsum(axis=-1) * 0.05
    x[..., shape[-1] // 2 :] *= 0.01
    return (x + 0.001 * rng.standard_normal(shape)).astype(dtype)


@st.composite
def stft_settings(draw):
    n_fft = draw(st.integers(2, 300))
    win_length = draw(st.none() | st.integers(1, n_fft))
    longest = max(1, (win_length or n_fft) // 2)
    return {
        "n_fft": n_fft,
        "win_length": win_length,
        "hop_length": draw(st.integers(1, longest)),
        "window": draw(windows),
        "center": draw(st.booleans()),
    }


@given(stft_settings(), pad_modes, st.integers(1, 900), st.integers(0, 3), dtypes, st.integers(0))
def test_stft_and_istft(settings, pad_mode, n, channels, dtype, seed):
    assume(settings["center"] or n >= settings["n_fft"])
    # librosa mirrors the end within its last n_fft - hop_length samples, even if they are too few.
    assume(pad_mode != "reflect" or settings["hop_length"] < settings["n_fft"] // 2)
    y = voice(seed, (channels, n) if channels else (n,), dtype)
    X = librosa.stft(y, **settings, pad_mode=pad_mode)
    assert_close(dsp.stft(y, **settings, pad_mode=pad_mode), X, dtype)

    w = dsp.get_window(settings["window"], settings["win_length"] or settings["n_fft"])
    assume(dsp.is_nola(w, settings["hop_length"]))
    assume(settings["center"])  # uncentred, librosa divides rounding errors by w^2 near 0 there
    theirs = librosa.istft(X, **settings, length=n)
    edge = librosa.filters.window_sumsquare(
        window=settings["window"],
        n_frames=X.shape[-1],
        hop_length=settings["hop_length"],
        win_length=settings["win_length"],
        n_fft=settings["n_fft"],
        dtype=np.float64,
    )[settings["n_fft"] // 2 :]
    assume(len(edge) >= n and edge[:n].min() > 1e-2)
    assert_close(dsp.istft(X, **settings, length=n), theirs, dtype)


@given(st.integers(1, 40), st.integers(4, 60), st.integers(1, 30), st.integers(0), dtypes)
def test_istft_of_any_spectrogram(frames, half, hop, seed, dtype):
    hop = min(hop, half)
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((2, half + 1, frames, 2)) @ np.array([1, 1j])
    X = X.astype(np.result_type(dtype, np.complex64))
    length = max(1, hop * (frames - 1))
    settings = {"hop_length": hop, "window": "hamming", "length": length}
    assert_close(dsp.istft(X, **settings), librosa.istft(X, **settings), dtype)


def test_defaults():
    y = voice(0, (30_000,), np.float32)
    X = librosa.stft(y)
    assert_close(dsp.stft(y), X, np.float32)
    assert_close(dsp.istft(X), librosa.istft(X), np.float32)
    assert_close(
        dsp.mel_filterbank(sr=22050, n_fft=2048),
        librosa.filters.mel(sr=22050, n_fft=2048),
        np.float32,
    )
    assert_close(dsp.melspectrogram(y=y), librosa.feature.melspectrogram(y=y), np.float32)
    assert_close(dsp.mfcc(y=y), librosa.feature.mfcc(y=y), np.float32)
    data = librosa.feature.mfcc(y=y)
    assert_close(dsp.delta(data), librosa.feature.delta(data), np.float32)


@st.composite
def mel_settings(draw):
    sr = draw(st.sampled_from([8000, 11025, 16000, 22050, 44100]))
    fmin = draw(st.floats(0, sr / 8))
    return {
        "sr": sr,
        "n_fft": draw(st.integers(500, 1100)),
        "n_mels": draw(st.integers(1, 20)),
        "fmin": fmin,
        "fmax": draw(st.none() | st.floats(sr / 4, sr / 2)),
        "htk": draw(st.booleans()),
        "norm": draw(st.sampled_from(["slaney", None, 1, 2, np.inf])),
    }


@given(mel_settings(), dtypes)
def test_mel_filterbank(settings, dtype):
    theirs = librosa.filters.mel(**settings, dtype=dtype)
    assert_close(dsp.mel_filterbank(**settings, dtype=dtype), theirs, dtype)


@given(mel_settings(), st.sampled_from([1.0, 2.0, 1.7]), windows, dtypes, st.integers(0))
def test_melspectrogram(settings, power, window, dtype, seed):
    y = voice(seed, (2, 1500), dtype)
    more = {"hop_length": 160, "power": power, "window": window}
    theirs = librosa.feature.melspectrogram(y=y, **settings, **more, dtype=dtype)
    assert_close(dsp.melspectrogram(y=y, **settings, **more), theirs, dtype)


@given(
    mel_settings(),
    st.sampled_from(["ortho", None]),
    st.floats(0, 30),
    st.data(),
    dtypes,
    st.integers(0),
)
def test_mfcc(settings, norm, lifter, data, dtype, seed):
    y = voice(seed, (3, 1500), dtype)
    settings["mel_norm"] = settings.pop("norm")
    more = {
        "n_mfcc": data.draw(st.integers(1, settings["n_mels"])),
        "norm": norm,
        "lifter": lifter if lifter > 0.5 else 0,
        "hop_length": 200,
    }
    theirs = librosa.feature.mfcc(y=y, **settings, **more, dtype=dtype)
    assert_close(dsp.mfcc(y=y, **settings, **more), theirs, dtype)


@given(
    st.integers(1, 3),
    st.integers(1, 7),
    st.sampled_from([0, 1, -1]),
    st.sampled_from(["interp", "nearest"]),
    dtypes,
    st.integers(0),
)
def test_delta(order, half_width, axis, mode, dtype, seed):
    width = 2 * half_width + 1
    assume(width > order)
    data = (30 * np.random.default_rng(seed).standard_normal((19, 16))).astype(dtype)
    settings = {"width": width, "order": order, "axis": axis, "mode": mode}
    assert_close(dsp.delta(data, **settings), librosa.feature.delta(data, **settings), dtype)


@given(st.lists(st.floats(0, 20_000), min_size=1, max_size=9), st.booleans())
@example([1000.0], False)
def test_scales(values, htk):
    values = np.array(values)
    mels = librosa.hz_to_mel(values, htk=htk)
    assert_close(dsp.hz_to_mel(values, htk=htk), mels, np.float64)
    assert_close(dsp.mel_to_hz(mels, htk=htk), librosa.mel_to_hz(mels, htk=htk), np.float64)


@given(st.integers(0, 99_999), st.integers(1, 900), st.none() | st.integers(1, 99), st.integers(1))
def test_axes(frame, hop_length, n_fft, sr):
    settings = {"hop_length": hop_length, "n_fft": n_fft}
    for name in ("frames_to_samples", "samples_to_frames"):
        assert getattr(dsp, name)(frame, **settings) == getattr(librosa, name)(frame, **settings)
    time = librosa.frames_to_time(frame, sr=sr, **settings)
    assert dsp.frames_to_time(frame, sr=sr, **settings) == time
    assert dsp.time_to_frames(time, sr=sr, **settings) == librosa.time_to_frames(
        time, sr=sr, **settings
    )


@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 60), st.sampled_from([0, -1, 1, -2]))
def test_frame(frame_length, hop_length, extra, axis):
    n = frame_length + extra
    x = np.arange(3 * n).reshape((n, 3) if axis in (0, -2) else (3, n))
    settings = {"frame_length": frame_length, "hop_length": hop_length, "axis": axis}
    np.testing.assert_array_equal(dsp.frame(x, **settings), librosa.util.frame(x, **settings))
