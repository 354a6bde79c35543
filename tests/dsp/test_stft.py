import doctest
import math
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio import dsp
from scratchaudio.errors import ConfigError, ScratchAudioError, ShapeError

WINDOWS = ["boxcar", "bartlett", "hann", "hamming", "blackman", "blackmanharris"]


def adds_to_constant(w, hop):
    """COLA by definition, over a long run of frames."""
    total = np.zeros(len(w) + 40 * hop)
    for t in range(41):
        total[t * hop : t * hop + len(w)] += w
    middle = total[len(w) : 40 * hop]
    return np.ptp(middle) <= 1e-10 * middle.max()


# Hops of at most half a window: with longer ones the last frame may end before the signal does.
COLA = [
    (name, n_fft, n_fft // parts)
    for name in WINDOWS
    for n_fft in (8, 9, 15, 60, 105, 512, 600)
    for parts in (2, 3, 4, 5, 8)
    if n_fft % parts == 0 and adds_to_constant(dsp.get_window(name, n_fft), n_fft // parts)
]


def stft_by_definition(y, n_fft, hop, w, center):
    """X[k, t] = sum_n w[n] y[t hop + n] exp(-2 pi i k n / N), y zero outside."""
    if center:
        y = np.concatenate([np.zeros(n_fft // 2), y, np.zeros(n_fft // 2)])
    w = np.concatenate([np.zeros((n_fft - len(w)) // 2), w, np.zeros(n_fft)])[:n_fft]
    T = 1 + (len(y) - n_fft) // hop
    X = np.zeros((1 + n_fft // 2, T), complex)
    for t in range(T):
        for k in range(1 + n_fft // 2):
            for n in range(n_fft):
                angle = -2 * math.pi * (k * n % n_fft) / n_fft
                X[k, t] += w[n] * y[t * hop + n] * complex(math.cos(angle), math.sin(angle))
    return X


def noise(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def test_examples_are_true():
    assert doctest.testmod(sys.modules["scratchaudio.dsp.stft"]).failed == 0


# Frames ---------------------------------------------------------------------------------------


def test_frame_is_a_read_only_view():
    x = np.arange(20.0)
    frames = dsp.frame(x, frame_length=6, hop_length=3)
    assert np.shares_memory(frames, x)
    assert not frames.flags.writeable
    np.testing.assert_array_equal(frames[:, 2], x[6:12])
    assert frames.shape == (6, 5)
    assert dsp.frame(x.reshape(10, 2), frame_length=4, hop_length=3, axis=0).shape == (3, 4, 2)


@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 60), st.integers(0))
def test_overlap_add_is_the_adjoint_of_frame(frame_length, hop, extra, seed):
    """<frame(x), Y> = <x, overlap_add(Y)>, with the samples that are in no frame left out."""
    x = noise(seed, 2, frame_length + extra)
    frames = dsp.frame(x, frame_length=frame_length, hop_length=hop)
    Y = noise(seed + 1, *frames.shape)
    back = dsp.overlap_add(Y, hop)
    assert back.shape[-1] == frame_length + hop * (frames.shape[-1] - 1)
    left, right = (frames * Y).sum(), (x[:, : back.shape[-1]] * back).sum()
    assert abs(left - right) <= 1e-14 * (np.linalg.norm(frames) * np.linalg.norm(Y) + 1e-300)


@given(st.integers(1, 20), st.integers(1, 25), st.integers(1, 9), st.integers(0))
def test_overlap_add_frame_by_frame(N, hop, T, seed):
    frames = noise(seed, 3, N, T)
    expected = np.zeros((3, N + hop * (T - 1)))
    for t in range(T):
        expected[:, t * hop : t * hop + N] += frames[:, :, t]
    assert np.abs(dsp.overlap_add(frames, hop) - expected).max() <= 1e-14


# Transform ------------------------------------------------------------------------------------


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize(
    ("n_fft", "hop", "win_length", "window"),
    [(8, 3, 8, "hann"), (9, 4, 6, "hamming"), (10, 2, 7, "blackman"), (5, 5, 5, "boxcar")],
)
def test_stft_by_definition(n_fft, hop, win_length, window, center):
    y = noise(1, 23)
    w = dsp.get_window(window, win_length)
    X = dsp.stft(
        y, n_fft=n_fft, hop_length=hop, win_length=win_length, window=window, center=center
    )
    expected = stft_by_definition(y, n_fft, hop, w, center)
    assert X.shape == expected.shape
    assert np.abs(X - expected).max() <= 1e-14 * np.abs(expected).max()


def test_istft_of_stft_is_the_signal():
    """COLA settings by six lengths, from one sample up: at least 546 cases."""
    assert len(COLA) * 6 >= 546, len(COLA)
    worst = 0.0
    for name, n_fft, hop in COLA:
        settings = {"n_fft": n_fft, "hop_length": hop, "window": name}
        for n in (1, 2, 17, 1000, 4097, 22050):
            y = noise(n, n)
            back = dsp.istft(dsp.stft(y, **settings), **settings, length=n)
            assert back.shape == y.shape
            error = np.abs(back - y).max()
            assert error <= 1e-12, (settings, n, error)
            worst = max(worst, error)
    assert worst > 0, "nothing was compared"


@given(st.integers(4, 200), st.data(), st.integers(1, 700), st.integers(0, 2), st.integers(0))
def test_any_valid_setting_reconstructs(n_fft, data, n, channels, seed):
    win_length = data.draw(st.integers(4, n_fft))
    settings = {
        "n_fft": n_fft,
        "win_length": win_length,
        "hop_length": data.draw(st.integers(1, win_length // 3 + 1)),
        "window": data.draw(st.sampled_from(["hann", "hamming", "bartlett", ("kaiser", 3.0)])),
    }
    y = noise(seed, *([n] if channels == 0 else [channels + 1, n]))
    back = dsp.istft(dsp.stft(y, **settings), **settings, length=n)
    assert back.shape == y.shape
    assert np.abs(back - y).max() <= 1e-10


@given(st.integers(1, 64), st.integers(1, 300), st.integers(0))
def test_a_shorter_length_is_the_beginning_of_the_whole(hop, length, seed):
    """Frames that begin after `length` are left out, and no others."""
    X = noise(seed, 33, 300 // hop + 3) + 1j * noise(seed + 1, 33, 300 // hop + 3)
    settings = {"hop_length": hop, "window": "boxcar"}
    whole = dsp.istft(X, **settings)
    assert np.abs(dsp.istft(X, **settings, length=length) - whole[:length]).max() <= 1e-13


def test_the_default_hop_is_a_quarter_of_the_window():
    y = noise(4, 400)
    X = dsp.stft(y, n_fft=64, win_length=40)
    np.testing.assert_array_equal(X, dsp.stft(y, n_fft=64, win_length=40, hop_length=10))
    back = dsp.istft(X, win_length=40, length=400)
    assert np.abs(back - y).max() <= 1e-12


def test_without_length_whole_hops_come_back_and_without_center_all_but_the_faded_ends():
    y = noise(3, 1000)
    back = dsp.istft(dsp.stft(y, n_fft=64, hop_length=30), hop_length=30)
    assert back.shape == (990,)
    assert np.abs(back - y[:990]).max() <= 1e-12
    X = dsp.stft(y, n_fft=64, hop_length=30, center=False)
    back = dsp.istft(X, hop_length=30, center=False, length=1000)
    end = 64 + 30 * (X.shape[-1] - 1)
    assert np.abs(back[1:end] - y[1:end]).max() <= 1e-12
    assert back[0] == 0, "the Hann window is 0 there"
    assert (back[end:] == 0).all(), "no frame reaches there"


@given(st.integers(6, 60), st.data(), st.integers(0))
def test_istft_is_the_least_squares_signal(n_fft, data, seed):
    """Of an X that is no STFT: what is left of X is orthogonal to the STFT of every signal."""
    hop = data.draw(st.integers(1, n_fft // 3))
    settings = {"n_fft": n_fft, "hop_length": hop, "window": "hamming"}
    n = hop * 9
    X = dsp.stft(noise(seed, n), **settings)
    X = X * noise(seed + 1, *X.shape)
    X[0].imag = 0
    if n_fft % 2 == 0:
        X[-1].imag = 0
    rest = dsp.stft(dsp.istft(X, **settings, length=n), **settings) - X
    probe = dsp.stft(noise(seed + 2, n), **settings)
    both_sides = np.full((len(X), 1), 2.0)  # bins k and N - k; 0 and N/2 are alone
    both_sides[0] = 1
    if n_fft % 2 == 0:
        both_sides[-1] = 1
    product = (both_sides * rest * probe.conj()).sum().real
    assert abs(product) <= 1e-13 * np.linalg.norm(X) * np.linalg.norm(probe) * 2


@given(st.integers(2, 60), st.data(), st.integers(0))
def test_adjoint_of_stft(n_fft, data, seed):
    """<stft(y), X> = <y, A'X>, A' = overlap_add of w times the inverse DFT; uncentred."""
    hop = data.draw(st.integers(1, n_fft))
    n = n_fft + 5 * hop
    y = noise(seed, n)
    settings = {"n_fft": n_fft, "hop_length": hop, "center": False}
    X = dsp.stft(y, **settings)
    G = noise(seed + 1, *X.shape) + 1j * noise(seed + 2, *X.shape)
    half = G.copy()  # irfft counts the inner bins twice
    half[1 : (n_fft + 1) // 2] /= 2
    frames = n_fft * np.fft.irfft(half, n=n_fft, axis=0) * dsp.hann(n_fft)[:, np.newaxis]
    back = dsp.overlap_add(frames, hop)
    left, right = (X * G.conj()).sum().real, (y * back).sum()
    assert np.linalg.norm(back) > 1e-3 or n_fft < 4
    assert abs(left - right) <= 1e-14 * np.linalg.norm(y) * max(np.linalg.norm(back), 1)


@given(st.integers(1, 90), st.integers(0))
def test_parseval_and_linearity(n_fft, seed):
    """With frames side by side and no window, the power of the bins is the power of the samples."""
    y, z = noise(seed, 2, 4 * n_fft)
    settings = {"n_fft": n_fft, "hop_length": n_fft, "window": "boxcar", "center": False}
    Y, Z = dsp.stft(y, **settings), dsp.stft(z, **settings)
    power = np.abs(Y) ** 2
    power[1 : (n_fft + 1) // 2] *= 2
    assert abs(power.sum() / n_fft - (y**2).sum()) <= 1e-13 * (y**2).sum()
    mixed = dsp.stft(0.3 * y - 1.7 * z, **settings)
    assert np.abs(mixed - (0.3 * Y - 1.7 * Z)).max() <= 1e-12 * math.sqrt(n_fft)


def test_a_tone_has_the_height_that_the_module_states():
    n_fft, k, amplitude = 256, 20, 0.7
    y = amplitude * np.cos(2 * np.pi * k * np.arange(4000) / n_fft + 0.4)
    magnitude = np.abs(dsp.stft(y, n_fft=n_fft))[:, 10:-10]
    assert (magnitude.argmax(axis=0) == k).all()
    assert np.abs(magnitude[k] - amplitude * dsp.hann(n_fft).sum() / 2).max() <= 1e-10
    assert dsp.fft_frequencies(sr=16000, n_fft=n_fft)[k] == 1250


@pytest.mark.parametrize("n_fft", [64, 63, 50])
@pytest.mark.parametrize("module", [np.fft, dsp.fft])
def test_other_transforms_do_the_same(module, n_fft):
    y = noise(5, 2, 700)
    X = dsp.stft(y, n_fft=n_fft)
    assert np.abs(dsp.stft(y, n_fft=n_fft, fft=module) - X).max() <= 1e-12
    back = dsp.istft(X, n_fft=n_fft, length=700, fft=module)
    assert np.abs(back - y).max() <= 1e-12


@pytest.mark.parametrize("module", [dsp.fft, np.fft])
def test_float32_stays_float32(module):
    y = noise(6, 3000).astype(np.float32)
    X = dsp.stft(y, n_fft=256, fft=module)
    assert X.dtype == np.complex64
    exact = dsp.stft(y.astype(np.float64), n_fft=256)
    assert np.abs(X - exact).max() <= 1e-6 * np.abs(exact).max()
    back = dsp.istft(X, length=3000, fft=module)
    assert back.dtype == np.float32
    assert np.abs(back - y).max() <= 1e-5


def test_inputs_are_left_alone_and_may_be_views():
    y = noise(7, 600)[::2]
    y.setflags(write=False)
    X = dsp.stft(y, n_fft=64)
    before = X.copy()
    X.setflags(write=False)
    np.testing.assert_allclose(dsp.istft(X, length=300), y, atol=1e-13)
    np.testing.assert_allclose(
        dsp.istft(np.ascontiguousarray(X), length=300), dsp.istft(X, length=300)
    )
    np.testing.assert_array_equal(X, before)


def test_memory_beside_the_result_is_small():
    """No array of all windowed frames: that alone would be 16 MB here."""
    y = noise(8, 500_000).astype(np.float32)
    dsp.stft(y[:5000])
    tracemalloc.start()
    X = dsp.stft(y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - X.nbytes - y.nbytes <= 3e6


# Axes and errors ------------------------------------------------------------------------------


def test_axes():
    np.testing.assert_array_equal(dsp.fft_frequencies(sr=10, n_fft=5), [0, 2, 4])
    times = dsp.frames_to_time(np.arange(4), sr=16000, hop_length=160)
    np.testing.assert_array_equal(times, [0, 0.01, 0.02, 0.03])
    between = times + 0.005
    np.testing.assert_array_equal(
        dsp.time_to_frames(between, sr=16000, hop_length=160), [0, 1, 2, 3]
    )
    frames = np.arange(100)
    samples = dsp.frames_to_samples(frames, hop_length=7, n_fft=33)
    np.testing.assert_array_equal(samples, 16 + 7 * frames)
    np.testing.assert_array_equal(dsp.samples_to_frames(samples, hop_length=7, n_fft=33), frames)
    np.testing.assert_array_equal(
        dsp.samples_to_frames(samples - 1, hop_length=7, n_fft=33), frames - 1
    )


Y = noise(9, 1000)
BAD_STFT = [
    ({"hop_length": 65}, "hop_length must be at most n_fft=64, got 65"),
    ({"hop_length": 0}, "hop_length must be an integer of at least 1, got 0"),
    ({"hop_length": 2.5}, "hop_length must be an integer of at least 1, got 2.5"),
    ({"win_length": 65}, "win_length must be at most n_fft=64, got 65"),
    ({"n_fft": 0}, "n_fft must be an integer of at least 1, got 0"),
    ({"pad_mode": "wrap"}, "pad_mode must be one of constant, .*; got 'wrap'"),
    ({"window": "han"}, "window must be one of .*; got 'han'"),
    ({"n_fft": 1024, "center": False}, "y has 1000 samples, fewer than one frame of n_fft=1024"),
    ({"y": np.zeros(0)}, r"y must hold at least one sample, got shape \(0,\)"),
    ({"y": np.zeros((2, 0))}, r"y must hold at least one sample, got shape \(2, 0\)"),
    ({"y": np.zeros(100, np.int16)}, "y must hold floating-point samples, got dtype int16"),
    ({"y": np.array([0.0, np.nan, 0.0])}, r"y must be finite, but y\[1\] is nan"),
    ({"y": np.array([[0.0], [-np.inf]])}, r"y must be finite, but y\[1, 0\] is -inf"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_STFT)
def test_bad_stft(changes, message):
    settings = {"y": Y, "n_fft": 64, **changes}
    with pytest.raises(ScratchAudioError, match=message):
        dsp.stft(**settings)


BAD_ISTFT = [
    ({"hop_length": 64}, r"window='hann' of 64 samples with hop_length=64 leaves samples that no"),
    ({"hop_length": 64, "window": dsp.hann}, "window=hann of 64 samples with hop_length=64"),
    ({"hop_length": 65}, "hop_length must be at most n_fft=64, got 65"),
    ({"win_length": 65}, "win_length must be at most n_fft=64, got 65"),
    ({"length": 400}, "length=400 is more than the 18 frames hold: sample 304 is in no frame"),
    ({"length": 0}, "length must be an integer of at least 1, got 0"),
    ({"n_fft": 66}, "stft_matrix has 33 bins, n_fft=66 expects 34"),
    ({"stft_matrix": np.ones((33, 18))}, "stft_matrix must be complex of shape"),
    ({"stft_matrix": np.full((33, 18), np.nan + 0j)}, "stft_matrix must be finite"),
    ({"stft_matrix": np.ones((33, 0), complex)}, "stft_matrix must be complex of shape"),
    ({"stft_matrix": np.ones((1, 5), complex)}, "stft_matrix has one bin only"),
    ({"stft_matrix": np.ones((33, 1), complex)}, "one centred frame spans no whole hop"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_ISTFT)
def test_bad_istft(changes, message):
    settings = {"stft_matrix": dsp.stft(Y[:272], n_fft=64), **changes}
    with pytest.raises(ScratchAudioError, match=message):
        dsp.istft(**settings)


def test_a_hop_that_loses_the_end_is_an_error_and_not_a_silent_zero():
    X = dsp.stft(Y, n_fft=512, hop_length=512, window="boxcar")
    message = "sample 768 is in no frame of window='boxcar', n_fft=512, hop_length=512"
    with pytest.raises(ConfigError, match=message):
        dsp.istft(X, hop_length=512, window="boxcar", length=1000)


def test_bad_frames():
    with pytest.raises(ShapeError, match=r"x of shape \(3,\) is shorter than one frame of 4"):
        dsp.frame(np.ones(3), frame_length=4, hop_length=1)
    with pytest.raises(ConfigError, match="hop_length must be an integer of at least 1, got 0"):
        dsp.frame(np.ones(3), frame_length=2, hop_length=0)
    with pytest.raises(ShapeError, match=r"frames must be \(..., frame_length, T\), got shape \(3"):
        dsp.overlap_add(np.ones(3), 1)
