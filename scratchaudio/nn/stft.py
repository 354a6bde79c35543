"""The STFT and its inverse as layers: gradients that pass from a spectrogram back to the sound.

A network that cleans or separates sound often works on the spectrogram, while what counts is the
waveform that comes out. Then the loss is taken there, and its gradient must run backwards through
the inverse STFT, the mask and the STFT:

    X = stft.forward(x)                  dY = istft.backward(dy)
    M = network.forward(|X|)             dM = (dY * X).sum(axis=-3)
    y = istft.forward(M * X)             dX = M * dY + magnitude.backward(network.backward(dM))

The one convention: a complex number is the pair (re, im) of real numbers, and a spectrogram has an
axis of 2 for them, before its bins: (..., 2, F, T). A loss is a function of these reals, so that
dX is an array of X's shape like the gradient of any other array, dL/d re beside dL/d im (torch
keeps the same two numbers as dL/d re + i dL/d im). No derivative by a complex number is needed,
every layer can be checked in the same way, and two channels of an image F x T are what a
convolution in two dimensions takes. In use:

    magnitude    Magnitude().forward(X)                                 (..., F, T)
    mask         M[..., None, :, :] * X                                 (..., 2, F, T)
    phase        X / magnitude[..., None, :, :], the pair (cos, sin)    (..., 2, F, T)
    to complex   pair_to_complex(X), and back complex_to_pair(X)        (..., F, T)

Both transforms are linear, X = A x, and the backward of a linear map is its transpose, A^T. The
transpose of a chain of steps is the chain of their transposes in reverse:

    STFT, step by step                   backward of it, from the last to the first
    continue x beyond its ends           bring what fell there home to the samples it was copied of
    cut into frames                      overlap-add: a sample in many frames gets all gradients
    times the window w                   times w
    rfft, bins k = 0 .. N/2              sum over the same bins, below

Real signals have X[N - k] = conj X[k], and rfft leaves that mirror image out. irfft puts it back,
so that it counts each bin c_k times, and divides by N. The transposes do neither:

    x = rfft^T dX     x[n]  = sum_k  re( dX[k] exp(2 pi i k n / N) )           = N irfft(dX / c)
    Z = irfft^T dy    dZ[k] = c_k / N sum_n  dy[n] exp(-2 pi i k n / N)        = c / N rfft(dy)

    c_k = 2, but 1 for k = 0 and, if N is even, for k = N/2, which are their own mirror images.

Legend: N samples (in the two lines above: n_fft of them); F = 1 + n_fft // 2 bins; T frames; x, y
waveforms (..., N); X spectrogram (..., 2, F, T); w window, centred in n_fft.

Reference: Griffin & Lim (1984), Signal estimation from modified short-time Fourier transform, IEEE
Trans. ASSP 32(2), eq. 6; the transposes are those of any linear map.
"""

import numpy as np
import scipy.fft

# The one file of nn that imports dsp: a layer must compute the very numbers of dsp.stft.
from scratchaudio.dsp.stft import _hop_and_window, istft, overlap_add, stft, window_sumsquare
from scratchaudio.dsp.windows import is_nola
from scratchaudio.errors import ConfigError, ShapeError, require_signal
from scratchaudio.nn.layer import Layer

PAD_MODES = ("constant", "edge", "reflect", "symmetric")

# Complex numbers as pairs ------------------------------------------------------------------------


def complex_to_pair(X):
    """View a complex spectrogram as real and imaginary part: (..., F, T) -> (..., 2, F, T).

    Examples
    --------
    >>> complex_to_pair(np.array([[1 + 2j, 3 + 4j, 5 + 6j]]))
    array([[[1., 3., 5.]],
    <BLANKLINE>
           [[2., 4., 6.]]])
    """
    if X.ndim < 2 or not np.iscomplexobj(X):
        raise ShapeError(f"X must be complex of shape (..., F, T), got {X.dtype} {X.shape}")
    # In memory a frame's bins lie side by side, and im next to re: read so, nothing is copied.
    X = np.ascontiguousarray(X.swapaxes(-1, -2))  # (..., T, F)
    pairs = X.view(X.real.dtype).reshape(*X.shape, 2)  # (..., T, F, 2)
    return pairs.swapaxes(-1, -3)


def pair_to_complex(X):
    """The complex spectrogram of a pair: (..., 2, F, T) -> (..., F, T), re + i im.

    Examples
    --------
    >>> pair_to_complex(np.array([[[1.0, 3.0, 5.0]], [[2.0, 4.0, 6.0]]]))
    array([[1.+2.j, 3.+4.j, 5.+6.j]])
    """
    if X.ndim < 3 or X.shape[-3] != 2 or np.iscomplexobj(X):
        raise ShapeError(f"X must be real of shape (..., 2, F, T), got {X.dtype} {X.shape}")
    pairs = np.ascontiguousarray(X.swapaxes(-1, -3))  # (..., T, F, 2)
    return pairs.view(np.result_type(X, np.complex64))[..., 0].swapaxes(-1, -2)


# Layers ------------------------------------------------------------------------------------------


class STFT(Layer):
    """Short-time Fourier transform: (..., N) -> (..., 2, F, T), the numbers of `dsp.stft`.

        X[k, t] = sum_n w[n] x[t hop + n] exp(-2 pi i k n / n_fft)

    Backward. Each frame t gets back the tones that its bins are made of, faded by the same window,

        dframe_t[n] = w[n] sum_k ( dre[k, t] cos(2 pi k n / n_fft) - dim[k, t] sin(...) )

    over k = 0 .. F - 1; the frames are added where they were cut, and with `center=True` the
    gradient of the padding is dropped (constant) or added to the samples that were copied there.

    Parameters
    ----------
    n_fft : samples in a frame
    hop_length : samples from one frame to the next, at most n_fft; None for win_length // 4
    win_length : length of the window, at most n_fft (then centred between zeros); None for n_fft
    window : name, function or array, see `dsp.get_window`
    center : pad x so that frame t is centred at sample t hop_length; if False it starts there
    pad_mode : how x is continued beyond its ends, as `numpy.pad` says: "constant" with 0, or
        "edge", "reflect" (the default of torch.stft), "symmetric"

    Attributes
    ----------
    hop_length : hop
    window : (n_fft,) w, with its zeros on both sides

    Examples
    --------
    >>> layer = STFT(n_fft=256)
    >>> layer.forward(np.zeros((4, 8000), np.float32)).shape
    (4, 2, 129, 126)
    """

    def __init__(
        self,
        n_fft=2048,
        hop_length=None,
        win_length=None,
        window="hann",
        center=True,
        pad_mode="constant",
    ):
        self.hop_length, self.window = _hop_and_window(n_fft, hop_length, win_length, window)
        if pad_mode not in PAD_MODES:
            raise ConfigError(f"pad_mode must be one of {', '.join(PAD_MODES)}; got {pad_mode!r}")
        self.n_fft, self.center, self.pad_mode = n_fft, center, pad_mode

    def forward(self, x):  # (..., N) -> (..., 2, F, T)
        X = _by_parts(self._transform, x)
        self.save_for_backward(x.shape[-1])
        return X

    def backward(self, dX):  # (..., 2, F, T) -> (..., N)
        (N,) = self.pop_saved()
        return _by_parts(lambda part: self._transpose(part, N), dX)

    def _transform(self, x):
        x = require_signal("x", x)
        return complex_to_pair(
            stft(
                x,
                n_fft=self.n_fft,
                hop_length=self.hop_length,
                window=self.window,
                center=self.center,
                pad_mode=self.pad_mode,
            )
        )

    def _transpose(self, dX, N):
        dX = pair_to_complex(dX).swapaxes(-1, -2)  # (..., T, F)
        dX = dX * (1 / _counts(self.n_fft, dX.real.dtype))
        dframes = scipy.fft.irfft(dX, n=self.n_fft, norm="forward")  # "forward": without the 1/N
        dframes *= self.window.astype(dframes.dtype)  # (..., T, n_fft)
        dx = overlap_add(dframes.swapaxes(-1, -2), self.hop_length)

        border = self.n_fft // 2 if self.center else 0
        unseen = N + 2 * border - dx.shape[-1]  # after the last full frame: gradient 0
        dx = np.pad(dx, [(0, 0)] * (dx.ndim - 1) + [(0, unseen)])  # (..., border + N + border)
        return self._bring_home(dx, N, border)

    def _bring_home(self, dpadded, N, border):
        """Transpose of padding: what was copied beyond the ends adds to its origin, (..., N)."""
        dx = dpadded[..., border : border + N]
        if border and self.pad_mode != "constant":
            dx = dx.copy()
            origin = np.pad(np.arange(N), border, mode=self.pad_mode)
            for side in (slice(None, border), slice(border + N, None)):
                # add.at: a sample may be copied to one side many times (edge, short signals)
                np.add.at(dx, (..., origin[side]), dpadded[..., side])
        return dx


class ISTFT(Layer):
    """Inverse STFT: (..., 2, F, T) -> (..., N), the numbers of `dsp.istft`.

        y[m] = sum_t w[m - t hop] irfft(X[:, t])[m - t hop] / sum_t w[m - t hop]^2

    Backward. The division by what each sample has seen of w^2 comes last, hence first on the way
    back; then every frame is cut out, faded by w and transformed. That is the STFT again:

        dX[k, t] = c_k / n_fft STFT(dy / sum w^2)[k, t]        c_k = 2, 1 for the outermost bins

    The imaginary parts of bins 0 and n_fft / 2 do not sound: their gradient is 0.

    Parameters
    ----------
    n_fft, hop_length, win_length, window, center : as given to `STFT`

    Attributes
    ----------
    hop_length : hop
    window : (n_fft,) w, with its zeros on both sides

    Forward takes `length`, the samples that went into the STFT, to give exactly as many back; None
    for whole hops only, hop_length (T - 1) if centred and n_fft is even.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((3, 1000))
    >>> y = ISTFT(n_fft=256).forward(STFT(n_fft=256).forward(x), length=1000)
    >>> bool(np.abs(y - x).max() < 1e-12)
    True
    """

    def __init__(self, n_fft=2048, hop_length=None, win_length=None, window="hann", center=True):
        self.hop_length, self.window = _hop_and_window(n_fft, hop_length, win_length, window)
        if not is_nola(self.window, self.hop_length):
            raise ConfigError(
                f"hop_length={self.hop_length} leaves samples that no frame sees through this "
                f"window; use a smaller one (a quarter of the window is usual)"
            )
        self.n_fft, self.center = n_fft, center

    def forward(self, X, length=None):  # (..., 2, F, T) -> (..., N)
        F = 1 + self.n_fft // 2
        if X.ndim < 3 or X.shape[-3:-1] != (2, F):
            raise ShapeError(
                f"X of ISTFT must have shape (..., 2, {F}, T): re and im of 1 + n_fft // 2 bins; "
                f"got {X.shape}"
            )
        y = _by_parts(lambda part: self._transform(part, length), X)
        self.save_for_backward(X.shape[-1], y.shape[-1])
        return y

    def backward(self, dy):  # (..., N) -> (..., 2, F, T)
        T, N = self.pop_saved()
        start = self.n_fft // 2 if self.center else 0
        n_framed = self.n_fft + self.hop_length * (T - 1)
        dframed = np.zeros((*dy.shape[:-1], n_framed), dy.dtype)
        inside = slice(start, min(start + N, n_framed))  # frames may end before y, or after it
        dframed[..., inside] = dy[..., : inside.stop - start] / self._seen(T, inside, dy.dtype)
        dX = stft(
            dframed,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            window=self.window,
            center=False,
        )
        dX *= (_counts(self.n_fft, dy.dtype) / self.n_fft)[:, np.newaxis]  # (..., F, T)
        return complex_to_pair(dX)

    def _transform(self, X, length):
        return istft(
            pair_to_complex(X),
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            window=self.window,
            center=self.center,
            length=length,
        )

    def _seen(self, T, inside, dtype):
        """sum_t w^2 of the samples `inside` the frames; 1 where istft has nothing to divide by."""
        seen = window_sumsquare(
            window=self.window,
            n_frames=T,
            hop_length=self.hop_length,
            n_fft=self.n_fft,
            dtype=dtype,
        )[inside]
        return np.where(seen > np.finfo(dtype).eps ** 2 * seen.max(), seen, 1)


class Magnitude(Layer):
    """Magnitude of each bin, without its phase: (..., 2, F, T) -> (..., F, T).

        y = |X| = sqrt(re^2 + im^2)

    Backward. |X| grows fastest along X itself, with slope 1, and not at all across:

        dX = dy X / |X|              that is dre = dy re / |X|,  dim = dy im / |X|

    At X = 0 the magnitude is the tip of a cone, with a slope of 1 in every direction; of all
    gradients there the one taken is 0, so that silence is left alone. Squares below the smallest
    number of the dtype vanish: float32 takes a bin below about 1e-23 for 0.
    """

    def forward(self, X):  # (..., 2, F, T) -> (..., F, T)
        if X.ndim < 3 or X.shape[-3] != 2:
            raise ShapeError(
                f"X of Magnitude must have shape (..., 2, F, T): re and im; got {X.shape}"
            )
        re, im = X[..., 0, :, :], X[..., 1, :, :]
        y = np.sqrt(re * re + im * im)
        self.save_for_backward(X, y)
        return y

    def backward(self, dy):  # (..., F, T) -> (..., 2, F, T)
        X, y = self.pop_saved()
        slope = np.divide(dy, y, out=np.zeros_like(y), where=y != 0)
        return slope[..., np.newaxis, :, :] * X


# What the transforms share -----------------------------------------------------------------------


def _counts(n_fft, dtype):
    """c_k, how often irfft counts bin k: itself and its mirror image, if it has one; (F,)."""
    c = np.full(1 + n_fft // 2, 2, dtype)
    c[0] = 1
    if n_fft % 2 == 0:
        c[-1] = 1
    return c


def _by_parts(linear, x):
    """A linear map of real arrays, applied to a complex one: A(u + i v) = A u + i A v."""
    if np.iscomplexobj(x):
        return linear(x.real) + 1j * linear(x.imag)
    return linear(x)
