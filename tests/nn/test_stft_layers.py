"""STFT, ISTFT and Magnitude as layers: against loops, their own transposes and the complex step."""

import cmath
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scratchaudio import dsp
from scratchaudio.errors import CallOrderError, ConfigError, ShapeError
from scratchaudio.nn import (
    ISTFT,
    STFT,
    Layer,
    Linear,
    Magnitude,
    Sigmoid,
    adjoint_error,
    check_gradients,
    complex_to_pair,
    pair_to_complex,
)

# n_fft odd and even, a window that is shorter, hops that do not divide n_fft, and outermost sizes.
SETTINGS = [(8, 2, None), (9, 4, None), (16, 5, 11), (15, 7, 10), (12, 3, 12), (2, 1, None)]
PAD_MODES = ["constant", "edge", "reflect", "symmetric"]
seeds = st.integers(0, 2**32 - 1)


def padded(x, n, mode):
    """x[-n] .. x[N - 1 + n], each sample looked up by the definition of the mode."""
    N, samples = len(x), []
    for i in range(-n, N + n):
        if mode == "constant":
            samples.append(x[i] if 0 <= i < N else 0.0)
            continue
        if mode == "edge":
            i = min(max(i, 0), N - 1)
        while not 0 <= i < N:  # mirrored until it lies inside
            if mode == "reflect":
                i = -i if i < 0 else 2 * (N - 1) - i
            else:
                i = -1 - i if i < 0 else 2 * N - 1 - i
        samples.append(x[i])
    return samples


def hann_in(n_fft, win_length):
    left = (n_fft - win_length) // 2
    inner = [0.5 - 0.5 * math.cos(2 * math.pi * n / win_length) for n in range(win_length)]
    return [0.0] * left + inner + [0.0] * (n_fft - win_length - left)


def stft_by_loops(x, n_fft, hop, win_length, center, mode):
    """The definition: (2, F, T) of one waveform."""
    x = padded(x, n_fft // 2 if center else 0, mode)
    w = hann_in(n_fft, win_length or n_fft)
    F, T = 1 + n_fft // 2, 1 + (len(x) - n_fft) // hop
    X = np.zeros((2, F, T))
    for k in range(F):
        for t in range(T):
            total = 0j
            for n in range(n_fft):
                total += w[n] * x[t * hop + n] * cmath.exp(-2j * math.pi * k * n / n_fft)
            X[:, k, t] = total.real, total.imag
    return X


def istft_by_loops(X, n_fft, hop, win_length, center, length):
    """Overlap-add of the inverse DFTs over the whole circle of bins, divided by the sum of w^2."""
    _, F, T = X.shape
    w = hann_in(n_fft, win_length or n_fft)
    size = max(n_fft + hop * (T - 1), length + n_fft)
    y, seen = np.zeros(size), np.zeros(size)
    for t in range(T):
        for n in range(n_fft):
            total = 0.0
            for k in range(n_fft):
                mirrored = n_fft - k if k >= F else k
                re, im = X[:, mirrored, t]
                im = 0.0 if 2 * k % n_fft == 0 else -im if k >= F else im
                total += (complex(re, im) * cmath.exp(2j * math.pi * k * n / n_fft)).real
            y[t * hop + n] += w[n] * total / n_fft
            seen[t * hop + n] += w[n] ** 2
    start = n_fft // 2 if center else 0
    y[seen > 0] /= seen[seen > 0]
    return y[start : start + length]


# Values ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_fft", "hop", "win_length"), SETTINGS)
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("mode", PAD_MODES)
def test_stft_is_its_definition(n_fft, hop, win_length, center, mode):
    x = np.random.default_rng(0).standard_normal((1, 2, 19))
    X = STFT(n_fft, hop, win_length, center=center, pad_mode=mode).forward(x)
    for index in np.ndindex(1, 2):
        expected = stft_by_loops(x[index], n_fft, hop, win_length, center, mode)
        assert X[index].shape == expected.shape
        np.testing.assert_allclose(X[index], expected, atol=1e-12)


@pytest.mark.parametrize(("n_fft", "hop", "win_length"), SETTINGS)
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("length", [None, 17])
def test_istft_is_its_definition(n_fft, hop, win_length, center, length):
    T = -(-17 // hop) + n_fft // hop
    X = np.random.default_rng(1).standard_normal((2, 2, 1 + n_fft // 2, T))
    y = ISTFT(n_fft, hop, win_length, center=center).forward(X, length=length)
    whole = n_fft + hop * (T - 1) - (2 * (n_fft // 2) if center else 0)
    assert y.shape == (2, length or whole)
    for b in range(2):
        expected = istft_by_loops(X[b], n_fft, hop, win_length, center, y.shape[-1])
        np.testing.assert_allclose(y[b], expected, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_numbers_are_those_of_dsp(dtype):
    rng = np.random.default_rng(2)
    x = rng.standard_normal((3, 500)).astype(dtype)
    for window in ("hamming", ("kaiser", 5.0), np.arange(1.0, 41.0)):
        X = STFT(64, 10, 40, window, pad_mode="edge").forward(x)
        same = dsp.stft(x, n_fft=64, hop_length=10, win_length=40, window=window, pad_mode="edge")
        assert np.array_equal(pair_to_complex(X), same)
        y = ISTFT(64, 10, 40, window).forward(X, length=500)
        back = dsp.istft(same, hop_length=10, win_length=40, window=window, length=500)
        assert np.array_equal(y, back)
        assert X.dtype == y.dtype == dtype
    assert STFT().n_fft == ISTFT().n_fft == 2048
    assert STFT().hop_length == ISTFT().hop_length == 512
    assert STFT(win_length=800).hop_length == 200


@given(N=st.integers(1, 60), n_fft=st.integers(2, 24), data=st.data(), seed=seeds)
def test_there_and_back(N, n_fft, data, seed):
    hop = data.draw(st.integers(1, n_fft // 2))  # then the frames reach the last sample
    mode = data.draw(st.sampled_from(PAD_MODES))
    x = np.random.default_rng(seed).standard_normal((2, N))
    y = ISTFT(n_fft, hop).forward(STFT(n_fft, hop, pad_mode=mode).forward(x), length=N)
    np.testing.assert_allclose(y, x, atol=1e-10)


# Transposes --------------------------------------------------------------------------------------

short_time = {
    "n_fft": st.integers(1, 20),
    "hop": st.integers(1, 20),
    "shorter": st.integers(0, 6),
    "center": st.booleans(),
    "N": st.integers(1, 70),
    "seed": seeds,
}


@given(mode=st.sampled_from(PAD_MODES), **short_time)
def test_backward_of_stft_is_its_transpose(n_fft, hop, shorter, center, mode, N, seed):
    assume(hop <= n_fft and shorter < n_fft)
    assume(N + (2 * (n_fft // 2) if center else 0) >= n_fft)
    rng = np.random.default_rng(seed)
    layer = STFT(n_fft, hop, n_fft - shorter, center=center, pad_mode=mode)
    x = rng.standard_normal((2, N))
    X = layer.forward(x)
    assume(np.linalg.norm(X) > 1e-3)
    # backward consumes what the forward above saved; the one inside is another layer's
    other = STFT(n_fft, hop, n_fft - shorter, center=center, pad_mode=mode)
    assert adjoint_error(other.forward, layer.backward, x, rng.standard_normal(X.shape)) <= 1e-13


@given(cut=st.integers(-5, 5), **short_time)
def test_backward_of_istft_is_its_transpose(n_fft, hop, shorter, center, N, cut, seed):
    assume(hop <= n_fft and shorter < n_fft)
    assume(hop < n_fft - shorter or n_fft == 1)
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((2, 2, 1 + n_fft // 2, 1 + N // hop))
    layer, other = (ISTFT(n_fft, hop, n_fft - shorter, center=center) for _ in range(2))
    try:
        y = layer.forward(X, length=max(1, N + cut))
    except ConfigError:
        assume(False)  # centred, and longer than the frames
    assume(np.linalg.norm(y) > 1e-3)
    dy = rng.standard_normal(y.shape)
    length = y.shape[-1]
    assert adjoint_error(lambda X: other.forward(X, length), layer.backward, X, dy) <= 1e-13


def matrix_of(forward, shape):
    """The matrix of a linear map, a column for each unit input."""
    units = np.eye(math.prod(shape)).reshape(-1, *shape)
    return np.stack([forward(unit).ravel() for unit in units], axis=1)


@pytest.mark.parametrize("mode", PAD_MODES)
@pytest.mark.parametrize(("n_fft", "hop", "win_length"), SETTINGS)
@pytest.mark.parametrize("N", [3, 19])
def test_backward_is_the_transposed_matrix(n_fft, hop, win_length, N, mode):
    """Entry by entry, and for signals so short that the padding copies a sample many times."""
    layer = STFT(n_fft, hop, win_length, pad_mode=mode)
    A = matrix_of(layer.forward, (N,))
    X = layer.forward(np.zeros(N))
    dX = np.random.default_rng(4).standard_normal(X.shape)
    np.testing.assert_allclose(layer.backward(dX), A.T @ dX.ravel(), atol=1e-12)

    inverse = ISTFT(n_fft, hop, win_length, center=False)
    A = matrix_of(inverse.forward, X.shape)
    dy = np.random.default_rng(5).standard_normal(inverse.forward(X).shape)
    expected = (A.T @ dy).reshape(X.shape)
    scale = abs(expected).max()
    np.testing.assert_allclose(inverse.backward(dy) / scale, expected / scale, atol=1e-13)
    outermost = [0, -1] if n_fft % 2 == 0 else [0]
    inverse.forward(X)
    assert not inverse.backward(dy)[1, outermost].any()


def test_one_frame_of_one_tone_by_hand():
    """A window of ones: dx is a cosine where dre is 1, a sine with a minus where dim is 1."""
    layer = STFT(4, 4, window="boxcar", center=False)
    for part, k, expected in (
        (0, 0, [1, 1, 1, 1]),
        (0, 1, [1, 0, -1, 0]),
        (0, 2, [1, -1, 1, -1]),
        (1, 0, [0, 0, 0, 0]),
        (1, 1, [0, -1, 0, 1]),
        (1, 2, [0, 0, 0, 0]),
    ):
        layer.forward(np.array([0.3, -0.2, 0.7, 0.1]))
        dX = np.zeros((2, 3, 1))
        dX[part, k] = 1
        np.testing.assert_allclose(layer.backward(dX), expected, atol=1e-15)


@pytest.mark.parametrize("mode", PAD_MODES)
def test_gradients_of_stft(mode):
    x = np.random.default_rng(6).standard_normal((3, 2, 11))
    check_gradients(STFT(9, 4, 7, pad_mode=mode), x, rng=0)


@pytest.mark.parametrize("length", [None, 7, 10])
def test_gradients_of_istft(length):
    X = np.random.default_rng(7).standard_normal((3, 2, 5, 4))
    check_gradients(ISTFT(9, 3, 8), X, rng=0, length=length)
    if length != 7:  # not centred, 30 samples are more than the frames hold
        check_gradients(ISTFT(8, 3, center=False), X, rng=0, length=length and 30)


def test_a_window_that_all_but_vanishes():
    """Samples that istft does not divide, because only rounding is left of them."""
    w = np.ones(6)
    w[0] = 1e-20
    layer, other = (ISTFT(6, 3, window=w, center=False) for _ in range(2))
    rng = np.random.default_rng(8)
    for length in (1, 2, 20):  # of 1: that sample is the largest there is
        X = rng.standard_normal((2, 4, 5))
        dy = rng.standard_normal(layer.forward(X, length).shape)
        error = adjoint_error(
            lambda X, length=length: other.forward(X, length), layer.backward, X, dy
        )
        assert error <= 1e-13


def test_float32_gradients_are_those_of_float64():
    rng = np.random.default_rng(9)
    x, layer = rng.standard_normal((2, 4000)), STFT(512, 100, 400, pad_mode="reflect")
    X = layer.forward(x)
    dX = rng.standard_normal(X.shape)
    expected = layer.backward(dX)
    layer.forward(x.astype(np.float32))
    got = layer.backward(dX.astype(np.float32))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=2e-6 * abs(expected).max())

    inverse = ISTFT(512, 100, 400)
    y = inverse.forward(X, length=4000)
    dy = rng.standard_normal(y.shape)
    expected = inverse.backward(dy)
    inverse.forward(X.astype(np.float32), length=4000)
    got = inverse.backward(dy.astype(np.float32))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=2e-6 * abs(expected).max())


def test_each_forward_serves_one_backward():
    for layer, x in ((STFT(8), np.ones(20)), (ISTFT(8), np.ones((2, 5, 4)))):
        dy = layer.forward(x)
        layer.backward(dy)
        with pytest.raises(CallOrderError, match="backward needs one"):
            layer.backward(dy)
        layer.eval().forward(x)
        with pytest.raises(CallOrderError, match="backward needs one"):
            layer.backward(dy)


# Magnitude ---------------------------------------------------------------------------------------


@given(seed=seeds)
def test_magnitude(seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((3, 2, 4, 1))
    layer = Magnitude()
    y = layer.forward(X)
    for b, k, t in np.ndindex(3, 4, 1):
        assert y[b, k, t] == pytest.approx(abs(complex(*X[b, :, k, t])), rel=1e-14)
    dy = rng.standard_normal(y.shape)
    dX = layer.backward(dy)
    np.testing.assert_allclose(np.sqrt((dX**2).sum(axis=1)), abs(dy), rtol=1e-12)
    assert np.isclose(dX[:, 0] * X[:, 1], dX[:, 1] * X[:, 0]).all()  # along X, not across
    check_gradients(layer, X, rng=seed)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_at_zero_the_gradient_of_the_magnitude_is_zero(dtype):
    X = np.zeros((2, 3, 4), dtype)
    X[:, 1, 2] = 3, -4
    layer = Magnitude()
    y = layer.forward(X)
    dX = layer.backward(np.full((3, 4), 10, dtype))
    assert y[1, 2] == 5
    assert dX[:, 1, 2].tolist() == [6, -8]
    assert np.count_nonzero(dX) == 2
    assert dX.dtype == y.dtype == dtype
    tiny = np.full((2, 1, 1), np.finfo(dtype).tiny, dtype)  # its square is 0
    assert layer.forward(tiny) == 0
    assert not layer.backward(np.ones((1, 1), dtype)).any()


# In use ------------------------------------------------------------------------------------------


class Masker(Layer):
    """The network of the module's docstring: a mask estimated from the magnitudes."""

    def __init__(self, n_fft, hop_length, rng):
        self.stft, self.istft = STFT(n_fft, hop_length), ISTFT(n_fft, hop_length)
        self.magnitude, self.sigmoid = Magnitude(), Sigmoid()
        self.linear = Linear(1 + n_fft // 2, 1 + n_fft // 2, rng=rng, dtype=np.float64)

    def forward(self, x):  # (B, N)
        X = self.stft.forward(x)  # (B, 2, F, T)
        features = self.magnitude.forward(X).swapaxes(-1, -2)  # (B, T, F)
        M = self.sigmoid.forward(self.linear.forward(features)).swapaxes(-1, -2)
        M = M[..., None, :, :]  # (B, 1, F, T)
        y = self.istft.forward(M * X, length=x.shape[-1])
        self.save_for_backward(X, M)
        return y

    def backward(self, dy):
        X, M = self.pop_saved()
        dY = self.istft.backward(dy)  # (B, 2, F, T)
        dM = (dY * X).sum(axis=-3).swapaxes(-1, -2)  # (B, T, F)
        dfeatures = self.linear.backward(self.sigmoid.backward(dM)).swapaxes(-1, -2)
        return self.stft.backward(M * dY + self.magnitude.backward(dfeatures))


def test_a_masker_has_the_right_gradients():
    x = np.random.default_rng(10).standard_normal((2, 25))
    assert check_gradients(Masker(8, 2, rng=0), x, rng=1, tolerance=1e-10) > 0


def test_pairs_and_complex_numbers():
    rng = np.random.default_rng(11)
    X = rng.standard_normal((3, 5, 4)) + 1j * rng.standard_normal((3, 5, 4))
    pair = complex_to_pair(X)
    assert np.array_equal(pair, np.stack([X.real, X.imag], axis=1))
    assert np.array_equal(pair_to_complex(pair), X)
    single = complex_to_pair(X.astype(np.complex64))
    assert single.dtype == np.float32
    assert pair_to_complex(single).dtype == np.complex64
    # what comes from the STFT is viewed, not copied
    of_layer = STFT(8).forward(rng.standard_normal(30))
    assert np.shares_memory(pair_to_complex(of_layer), of_layer)
    phase = of_layer / Magnitude().forward(of_layer)[..., None, :, :]
    np.testing.assert_allclose(phase[0], np.cos(np.angle(pair_to_complex(of_layer))), atol=1e-12)


# Errors ------------------------------------------------------------------------------------------


def test_settings_are_checked_at_once():
    for layer in (STFT, ISTFT):
        with pytest.raises(ConfigError, match="n_fft must be an integer of at least 1, got 0"):
            layer(0)
        with pytest.raises(ConfigError, match="win_length must be at most n_fft=8, got 9"):
            layer(8, win_length=9)
        with pytest.raises(ConfigError, match="hop_length must be at most n_fft=8, got 9"):
            layer(8, 9)
        with pytest.raises(ConfigError, match="window must be one of .* got 'han'"):
            layer(8, window="han")
    for mode in ("linear_ramp", "wrap"):
        with pytest.raises(
            ConfigError, match=f"pad_mode must be one of constant, edge, .* got '{mode}'"
        ):
            STFT(8, pad_mode=mode)
    with pytest.raises(ConfigError, match="hop_length=8 leaves samples that no frame sees"):
        ISTFT(8, 8)


def test_inputs_are_checked():
    with pytest.raises(ShapeError, match=r"x must be finite, but x\[1, 2\] is nan"):
        STFT(4).forward(np.where(np.arange(10).reshape(2, 5) == 7, np.nan, 1.0))
    with pytest.raises(ShapeError, match="x must hold floating-point samples, got dtype int64"):
        STFT(4).forward(np.arange(10))
    with pytest.raises(ShapeError, match="5 samples, fewer than one frame of n_fft=8"):
        STFT(8, center=False).forward(np.zeros(5))
    for shape in ((3, 2, 6, 4), (3, 5, 4), (5, 4)):
        with pytest.raises(ShapeError, match=r"X of ISTFT must have shape \(\.\.\., 2, 5, T\)"):
            ISTFT(8).forward(np.zeros(shape))
    with pytest.raises(ConfigError, match="length=90 is more than the 4 frames hold"):
        ISTFT(8).forward(np.ones((2, 5, 4)), length=90)
    with pytest.raises(ShapeError, match=r"X of Magnitude .*got \(3, 5, 4\)"):
        Magnitude().forward(np.zeros((3, 5, 4)))
    with pytest.raises(ShapeError, match=r"X must be complex .*got float64 \(5, 4\)"):
        complex_to_pair(np.zeros((5, 4)))
    with pytest.raises(ShapeError, match=r"X must be real .*got float64 \(3, 5, 4\)"):
        pair_to_complex(np.zeros((3, 5, 4)))
    with pytest.raises(ShapeError, match=r"X must be real .*got complex128 \(2, 5, 4\)"):
        pair_to_complex(np.zeros((2, 5, 4), complex))
