"""What separators share: songs as arrays, middle and side, stems, and networks of magnitudes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchaudio import dsp
from scratchaudio.errors import ConfigError, ShapeError
from scratchaudio.models import songs
from scratchaudio.models.songs import (
    as_middle_and_side,
    from_middle_and_side,
    middle_and_side,
    require_song,
    separate_by_magnitudes,
    stems,
    stems_from_stft,
)

SR = 8000
seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from([np.float32, np.float64])
SHAPES = [(3001,), (1, 3001), (2, 3001)]


def song(shape, seed=0, dtype=np.float64):
    return (0.1 * np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


class Network:
    """Not one, but it looks like one: a gain for each magnitude of the lowest bins."""

    n_channels = 2

    def __init__(self, gain=1.0, n_fft=64, hop_length=16, sample_rate=SR, n_bins=None):
        self.n_fft, self.hop_length, self.sample_rate = n_fft, hop_length, sample_rate
        self.n_bins = n_fft // 2 + 1 if n_bins is None else n_bins
        self.gain, self.training, self.heard = gain, True, []

    def eval(self):
        self.training = False
        return self

    def forward(self, X):
        assert not self.training
        self.heard.append(X.copy())
        return X * np.asarray(self.gain, np.float32)


def uneven(network, seed=0):
    """The network with another gain for each channel and bin, 0..1."""
    shape = (2, network.n_bins, 1)
    network.gain = np.random.default_rng(seed).random(shape)
    return network


# Songs, middle and side --------------------------------------------------------------------------


def test_a_song_is_what_it_was():
    for shape in [(1,), (7,), (1, 7), (2, 7), (2, 1)]:
        x = song(shape)
        assert require_song(x, 44100) is x
    assert require_song([0.1, 0.2], np.int64(8000)).shape == (2,)


@pytest.mark.parametrize("shape", [(3, 9), (9, 2), (1, 1, 9), (1, 2, 9), (2, 2, 2)])
def test_arrays_that_are_no_song(shape):
    message = r"x must be a song of one or two channels, \(N,\), \(1, N\) or \(2, N\), got shape "
    with pytest.raises(ShapeError, match=message + rf"\({', '.join(map(str, shape))}\)"):
        require_song(np.zeros(shape), SR)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 9), np.int16), "x must hold floating-point samples, got dtype int16"),
        (np.zeros((2, 9), complex), "x must hold floating-point samples, got dtype complex128"),
        (np.zeros((2, 0)), r"x must hold at least one sample, got shape \(2, 0\)"),
        (np.zeros((0, 9)), r"x must hold at least one sample, got shape \(0, 9\)"),
        (np.zeros(()), r"x must hold at least one sample, got shape \(\)"),
        (np.array([[0, 0], [0, np.nan]]), r"x must be finite, but x\[1, 1\] is nan"),
        (np.array([0, -np.inf]), r"x must be finite, but x\[1\] is -inf"),
    ],
)
def test_samples_that_are_none(x, message):
    for refuse in (require_song, lambda x, sr: separate_by_magnitudes(Network(), x, sr)):
        with pytest.raises(ShapeError, match=message):
            refuse(x, SR)


@pytest.mark.parametrize("sr", [0, -8000, 44100.0, True, None])
def test_rates_that_are_none(sr):
    for refuse in (require_song, lambda x, sr: separate_by_magnitudes(Network(), x, sr)):
        with pytest.raises(ConfigError, match=f"sr must be an integer of at least 1, got {sr}"):
            refuse(song((2, 9)), sr)


@given(seed=seeds, shape=st.sampled_from([(2,), (2, 1), (2, 7), (2, 3, 5)]), dtype=dtypes)
def test_middle_and_side(seed, shape, dtype):
    """By the definition, its own inverse, of the same energy, and it keeps what it is given."""
    x = song(shape, seed, dtype)
    before, tolerance = x.copy(), 4 * np.finfo(dtype).eps
    y = middle_and_side(x)
    assert y.shape == shape and y.dtype == dtype
    np.testing.assert_allclose(y[0], (x[0] + x[1]) / math.sqrt(2), atol=tolerance)
    np.testing.assert_allclose(y[1], (x[0] - x[1]) / math.sqrt(2), atol=tolerance)
    np.testing.assert_allclose(middle_and_side(y), x, atol=tolerance)
    energy, kept = (np.square(a.astype(float)).sum() for a in (x, y))
    assert kept == pytest.approx(energy, rel=1e-6 if dtype == np.float32 else 1e-14)
    np.testing.assert_array_equal(x, before)
    exchanged = middle_and_side(x[::-1])
    np.testing.assert_array_equal(exchanged[0], y[0])
    np.testing.assert_array_equal(exchanged[1], -y[1])


def test_who_stands_in_the_middle_is_not_at_the_side():
    x = song((7,))
    middle, side = middle_and_side(dsp.pan(x, 0))
    np.testing.assert_allclose(middle, x, rtol=1e-12)
    np.testing.assert_allclose(side, 0, atol=1e-16)
    np.testing.assert_allclose(*middle_and_side(dsp.pan(x, -1)), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(7,), (1, 7), (2, 7), (2,), (1, 1), (2, 1), (2, 2)])
def test_songs_of_any_shape_have_middle_and_side(shape, dtype):
    x = song(shape, dtype=dtype)
    y = as_middle_and_side(x)
    assert y.shape == (2, shape[-1]) and y.dtype == dtype
    if shape[:-1] == (2,):
        np.testing.assert_array_equal(y, middle_and_side(x))
    else:
        np.testing.assert_array_equal(y[0], x.reshape(-1))
        np.testing.assert_array_equal(y[1], 0)
    back = from_middle_and_side(y, shape)
    assert back.shape == shape and back.dtype == dtype
    np.testing.assert_allclose(back, x, atol=4 * np.finfo(dtype).eps)


def test_whatever_is_at_the_side_of_one_channel_is_lost():
    y = song((2, 7))
    np.testing.assert_array_equal(from_middle_and_side(y, (7,)), y[0])
    np.testing.assert_array_equal(from_middle_and_side(y, (1, 7)), y[:1])


# Stems -------------------------------------------------------------------------------------------


@given(seed=seeds, shape=st.sampled_from(SHAPES), dtype=dtypes, other=dtypes)
def test_stems_are_vocals_and_the_rest(seed, shape, dtype, other):
    x, vocals = song(shape, seed, dtype), song((1, *shape), seed + 1, other)
    got = stems(x, vocals)
    assert got.shape == (2, *shape) and got.dtype == dtype
    np.testing.assert_array_equal(got[0], vocals[0].astype(dtype))
    np.testing.assert_array_equal(got[1], x - got[0])
    np.testing.assert_allclose(
        got.sum(axis=0), x, rtol=0, atol=1e-6 if dtype == np.float32 else 1e-15
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_stems_from_the_stft_of_the_vocals(shape):
    x = song(shape)
    Y = 0.3 * dsp.stft(np.atleast_2d(x), n_fft=64, hop_length=16)
    got = stems_from_stft(x, Y, 64, 16)
    assert got.shape == (2, *shape)
    np.testing.assert_allclose(got, [0.3 * x, 0.7 * x], atol=1e-12)


# Networks ----------------------------------------------------------------------------------------


def magnitudes_by_loops(x, n_fft, hop_length, n_bins):
    """|DFT| of windowed frames around each hop, of middle and side of a song (2, N)."""
    left, right = x.astype(float)
    n_frames = 1 + -(-len(left) // hop_length)
    X = np.empty((2, n_bins, n_frames))
    for c, channel in enumerate([(left + right) / math.sqrt(2), (left - right) / math.sqrt(2)]):
        for f, t in np.ndindex(n_bins, n_frames):
            total = 0
            for n in range(n_fft):
                at = t * hop_length + n - n_fft // 2
                window = 0.5 - 0.5 * math.cos(2 * math.pi * n / n_fft)
                sample = channel[at] if 0 <= at < len(channel) else 0
                total += window * sample * np.exp(-2j * math.pi * f * n / n_fft)
            X[c, f, t] = abs(total)
    return X


@pytest.mark.parametrize("N", [1, 11, 12, 13])
def test_a_network_hears_magnitudes_of_middle_and_side(N):
    network, x = Network(n_fft=10, hop_length=4, n_bins=5), song((2, N))
    x *= songs.LEVEL / math.sqrt(np.square(x).mean())
    separate_by_magnitudes(network, x, SR)
    (heard,) = network.heard
    expected = magnitudes_by_loops(x, 10, 4, 5)
    assert heard.dtype == np.float32 and heard.shape == (1, *expected.shape)
    np.testing.assert_allclose(heard[0], expected, atol=1e-6)


@given(
    seed=seeds,
    channels=st.sampled_from([(), (1,), (2,)]),
    N=st.integers(1, 300),
    hop_length=st.sampled_from([16, 20, 32, 48]),
    dtype=dtypes,
    gain=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
)
def test_a_network_of_one_gain_gives_the_song_with_this_gain(
    seed, channels, N, hop_length, dtype, gain
):
    """Of any length and hop, to the very last sample; and the stems sum to the song."""
    network, x = Network(gain, hop_length=hop_length), song((*channels, N), seed, dtype)
    before = x.copy()
    got = separate_by_magnitudes(network, x, SR)
    assert got.shape == (2, *x.shape) and got.dtype == dtype
    np.testing.assert_allclose(got, [gain * x, (1 - gain) * x], rtol=0, atol=2e-6)
    np.testing.assert_allclose(
        got.sum(axis=0), x, rtol=0, atol=1e-6 if dtype == np.float32 else 1e-15
    )
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(separate_by_magnitudes(network, x, SR), got)
    if gain == 0:
        np.testing.assert_array_equal(got[1], x)
    assert not network.training


@pytest.mark.parametrize("n_bins", [1, 9, 20, 33])
def test_bins_that_the_network_does_not_know_stay_with_the_band(n_bins):
    """Middle and side are a rotation: the same bins of left and right are left out."""
    x = song((2, 3001))
    vocals, _ = separate_by_magnitudes(Network(n_bins=n_bins), x, SR)
    X = dsp.stft(np.pad(x, ((0, 0), (0, 7))), n_fft=64, hop_length=16)
    X[:, n_bins:] = 0
    expected = dsp.istft(X, n_fft=64, hop_length=16, length=3001)
    np.testing.assert_allclose(vocals, expected, atol=1e-6)
    assert (np.abs(vocals - x).max() > 0.05) == (n_bins < 33)


@pytest.mark.parametrize("hop_length", [16, 32, 48])
def test_no_click_at_the_end(hop_length):
    """Whatever the song's length is: its end does not lie at the end of a window."""
    x = song((2, 1000 + hop_length))
    network = uneven(Network(hop_length=hop_length))
    for N in range(1000, 1000 + hop_length):
        vocals, _ = separate_by_magnitudes(network, x[:, :N], SR)
        assert np.abs(vocals[:, -20:]).max() <= np.abs(x).max()
        assert np.abs(vocals).max() >= 0.1


@pytest.mark.parametrize("N", [1, 5, 63, 100])
@pytest.mark.parametrize("sr", [SR, 96000])
@pytest.mark.parametrize("channels", [(), (1,), (2,)])
def test_songs_shorter_than_a_window(N, sr, channels):
    x = song((*channels, N))
    for n_iter in (0, 1):
        got = separate_by_magnitudes(uneven(Network(n_fft=256, hop_length=128)), x, sr, n_iter)
        assert got.shape == (2, *x.shape)
        np.testing.assert_allclose(got.sum(axis=0), x, rtol=0, atol=1e-15)
        assert np.abs(got).max() <= 2 * np.abs(x).max()


@pytest.mark.parametrize("n_iter", [0, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_silence_stays_silent(shape, n_iter):
    got = separate_by_magnitudes(uneven(Network()), np.zeros(shape, np.float32), SR, n_iter)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, np.zeros((2, *shape)))


@pytest.mark.parametrize("n_iter", [0, 1])
def test_a_silent_channel(n_iter):
    """A song of one side only: nothing comes out on the other, for the same gain for both."""
    x = song((2, 3001))
    x[1] = 0
    got = separate_by_magnitudes(Network(0.4), x, SR, n_iter)
    assert np.abs(got[:, 1]).max() <= 1e-6 and np.abs(got[0, 0]).max() > 0.03


@pytest.mark.parametrize("n_iter", [0, 1])
def test_left_and_right_exchanged_exchange_the_channels(n_iter):
    x, network = song((2, 3001)), uneven(Network())
    got = separate_by_magnitudes(network, x, SR, n_iter)
    exchanged = separate_by_magnitudes(network, x[::-1], SR, n_iter)
    assert np.abs(got[0, 0] - got[0, 1]).max() > 1e-2
    np.testing.assert_allclose(exchanged, got[:, ::-1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("n_iter", [0, 1])
def test_one_channel_has_one_result_with_or_without_an_axis(n_iter):
    x, network = song((3001,)), uneven(Network())
    got = separate_by_magnitudes(network, x, SR, n_iter)
    np.testing.assert_array_equal(separate_by_magnitudes(network, x[None], SR, n_iter)[:, 0], got)
    assert not network.heard[0][0, 1].any(), "a song of one channel has an empty side"
    # twice the same channel is the same song, sqrt(2) as loud in the middle
    both = separate_by_magnitudes(network, np.stack([x, x]), SR, n_iter)
    np.testing.assert_allclose(both[:, 0], both[:, 1], rtol=0, atol=1e-7)
    np.testing.assert_allclose(both[:, 0], got, rtol=0, atol=1e-6 if n_iter == 0 else 1e-4)


# Other rates -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_iter", [0, 1])
@pytest.mark.parametrize("sr", [4000, 8000, 22050, 44101, 96000])
@pytest.mark.parametrize("channels", [(), (1,), (2,)])
def test_any_rate(channels, sr, n_iter):
    for N, dtype in ((2999, np.float32), (3000, np.float64)):
        x = song((*channels, N), dtype=dtype)
        got = separate_by_magnitudes(uneven(Network()), x, sr, n_iter)
        assert got.shape == (2, *x.shape) and got.dtype == dtype
        np.testing.assert_allclose(got.sum(axis=0), x, rtol=0, atol=1e-6)
        assert np.abs(got[0]).max() > 1e-3 and np.abs(got[1]).max() > 1e-3


@pytest.mark.parametrize("sr", [16000, 22050, 96000])
def test_what_a_network_cannot_hold_stays_with_the_band(sr):
    """All vocals, says the network, of what lies below half its rate; tones on both sides of it."""
    t = np.arange(sr // 4) / sr
    low, high = (0.3 * np.sin(2 * np.pi * f * t + 1) for f in (700, 5500))
    x = np.stack([low + high, low - high])
    network = Network(n_fft=128, hop_length=32)
    vocals, rest = separate_by_magnitudes(network, x, sr)
    inner = slice(sr // 20, -sr // 20)  # a tone that begins suddenly is at all frequencies
    np.testing.assert_allclose(vocals[:, inner], np.stack([low, low])[:, inner], atol=1e-3)
    np.testing.assert_allclose(rest[:, inner], np.stack([high, -high])[:, inner], atol=1e-3)
    assert network.heard[0].shape[-1] == 1 + math.ceil(math.ceil(len(t) * SR / sr) / 32)


def test_at_a_higher_rate_than_the_song_s_nothing_is_lost():
    t = np.arange(4000) / 4000
    x = 0.3 * np.sin(2 * np.pi * 500 * t)
    vocals, _ = separate_by_magnitudes(Network(), x, 4000)
    np.testing.assert_allclose(vocals[200:-200], x[200:-200], atol=1e-3)


# The Wiener filter -------------------------------------------------------------------------------


@pytest.mark.parametrize("n_iter", [1, 2])
@pytest.mark.parametrize(("block", "blocks"), [(300, [64]), (30, [32, 32]), (20, [22, 21, 21])])
def test_the_wiener_filter_goes_over_blocks_of_frames(monkeypatch, block, blocks, n_iter):
    """Each at least so long: voice, and what it leaves, of middle and side."""
    monkeypatch.setattr(songs, "WIENER_BLOCK", block)
    x, network = song((2, 1001)), uneven(Network())
    heard = np.zeros((2, 1008), np.float32)
    heard[:, :1001] = middle_and_side(x)
    X = dsp.stft(heard, n_fft=64, hop_length=16)
    assert X.shape[-1] == sum(blocks)
    Y, first = np.empty_like(X), 0
    for n in blocks:
        part = X[..., first : first + n]
        voice = network.gain * part
        both = np.stack([voice, part - voice])
        Y[..., first : first + n] = dsp.multichannel_wiener(part, both, n_iter)[0]
        first += n
    expected = middle_and_side(dsp.istft(Y, n_fft=64, hop_length=16, length=1001))
    vocals, _ = separate_by_magnitudes(network, x, SR, n_iter)
    np.testing.assert_allclose(vocals, expected, atol=1e-5)
    plain, _ = separate_by_magnitudes(network, x, SR)
    assert np.abs(vocals - plain).max() > 1e-2, "the filter does something"


def test_the_blocks_of_a_real_song_have_300_frames():
    assert songs.WIENER_BLOCK == 300


@settings(max_examples=20)
@given(seed=seeds, channels=st.sampled_from([(), (1,), (2,)]), gain=st.sampled_from([0.0, 1.0]))
def test_who_has_all_keeps_all_but_for_the_regularisation(seed, channels, gain):
    x = 10 * song((*channels, 2000), seed)
    vocals, rest = separate_by_magnitudes(Network(gain), x, SR, n_iter=1)
    np.testing.assert_allclose(vocals, gain * x, rtol=0, atol=1e-3)
    np.testing.assert_allclose(rest, (1 - gain) * x, rtol=0, atol=1e-3)


@pytest.mark.parametrize("channels", [(), (2,)])
@pytest.mark.parametrize("decibels", [-140, -60, 20])
def test_a_softer_song_is_heard_alike_and_has_the_same_stems_softer(channels, decibels):
    x, gain, network = song((*channels, 2000)), 10 ** (decibels / 20), uneven(Network())
    loud, soft = (separate_by_magnitudes(network, y, SR, n_iter=1) for y in (x, gain * x))
    np.testing.assert_allclose(network.heard[1], network.heard[0], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(soft / gain, loud, rtol=0, atol=1e-5)


@pytest.mark.parametrize("n_channels", [1, 3])
def test_a_network_of_other_channels_separates_no_songs(n_channels):
    network = Network()
    network.n_channels = n_channels
    message = f"must have n_channels=2, middle and side, this one has {n_channels}"
    with pytest.raises(ConfigError, match=message):
        separate_by_magnitudes(network, song((2, 300)), SR)


@pytest.mark.parametrize("n_iter", [-1, 1.5, "2"])
def test_rounds_that_cannot_be(n_iter):
    with pytest.raises(ConfigError, match="n_iter must be an integer of at least 1, got"):
        separate_by_magnitudes(Network(), song((2, 300)), SR, n_iter)
