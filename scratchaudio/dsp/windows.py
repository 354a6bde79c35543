"""Windows: how a frame of sound is faded in and out before its spectrum is taken.

The DFT sees a frame as one turn of an endless loop. Where the end does not meet the beginning,
the jump smears every tone over all frequencies (leakage). A window w fades both ends, and trades
the width of a tone's peak against how far below it the leakage lies:

    window           first zero (bins)   highest side lobe (dB)
    boxcar                   1                    -13
    bartlett                 2                    -27
    hann                     2                    -31
    hamming                  2                    -43
    blackman                 3                    -58
    blackmanharris           4                    -92

Most of them are sums of a few cosines. They come in two forms. The *periodic* one, our default,
lets w[n_fft] meet w[0] again, so that copies shifted by the hop add up to a constant:

    COLA  (constant overlap-add)    sum_t w[n - t hop]   = constant
    NOLA  (nonzero overlap-add)     sum_t w[n - t hop]^2 > 0      `istft` divides by this

The *symmetric* one (`sym=True`), w[n] = w[N - 1 - n], is for filter design only.

    N   window length         n   sample in the window, 0 .. N - 1
    T   number of frames      hop   samples from one frame to the next

Source: Harris (1978), On the use of windows for harmonic analysis with the discrete Fourier
transform, Proc. IEEE 66(1), Table 1.
"""

import math

import numpy as np

from scratchaudio.errors import ConfigError, ShapeError, require_positive_integer

NOLA_FLOOR = 1e-10  # of the largest sum of w^2; less would multiply rounding errors by over 1e5


def _phase(n, sym):
    """One turn over the window, 2 pi [0 .. n - 1] / n (or / (n - 1), where the last meets 2 pi)."""
    require_positive_integer("n", n)
    return 2 * math.pi * np.arange(n) / (n - 1 if sym else n)


def _cosine_sum(coefficients, n, sym):
    """Sum of cosines, w = a0 - a1 cos(phase) + a2 cos(2 phase) - ..."""
    require_positive_integer("n", n)
    if n == 1:
        return np.ones(1)
    phase = _phase(n, sym)
    return sum((-1) ** k * a * np.cos(k * phase) for k, a in enumerate(coefficients))


def boxcar(n, sym=False):
    """No fading at all: w = 1. The narrowest peak and the strongest leakage."""
    return _cosine_sum([1.0], n, sym)


def bartlett(n, sym=False):
    """Straight up to 1 and straight down: w = 1 - |2 n / N - 1|, a boxcar convolved with itself."""
    require_positive_integer("n", n)
    if n == 1:
        return np.ones(1)
    return 1 - np.abs(_phase(n, sym) / math.pi - 1)


def hann(n, sym=False):
    """Raised cosine, w = 1/2 - 1/2 cos(2 pi n / N) = sin^2(pi n / N): the STFT's usual window.

    Parameters
    ----------
    n : window length, samples
    sym : True for filter design; False (periodic) for spectra

    Returns
    -------
    (n,) float64

    Examples
    --------
    >>> hann(4)
    array([0. , 0.5, 1. , 0.5])
    >>> hann(5, sym=True)
    array([0. , 0.5, 1. , 0.5, 0. ])
    """
    return _cosine_sum([0.5, 0.5], n, sym)


def hamming(n, sym=False):
    """Hann on a step, w = 0.54 - 0.46 cos(2 pi n / N): cancels the first side lobe."""
    return _cosine_sum([0.54, 0.46], n, sym)


def blackman(n, sym=False):
    """Three cosine terms: 0.42, 0.5, 0.08; wider than Hann, with far less leakage."""
    return _cosine_sum([0.42, 0.5, 0.08], n, sym)


def blackmanharris(n, sym=False):
    """Four cosine terms with the lowest side lobes that four can give (Harris 1978, eq. 33)."""
    return _cosine_sum([0.35875, 0.48829, 0.14128, 0.01168], n, sym)


def kaiser(n, beta, sym=False):
    """The window that packs most of its energy into the main lobe, w = I0(beta r) / I0(beta).

    I0 is the modified Bessel function of order 0 and r = sqrt(1 - (2 n / N - 1)^2) a half circle
    over the window. beta = 0 is the boxcar; a larger beta fades more: 8.6 is close to blackman.

    Parameters
    ----------
    n : window length, samples
    beta : how much to fade, >= 0
    sym : True for filter design; False (periodic) for spectra

    Returns
    -------
    (n,) float64

    References
    ----------
    Kaiser & Schafer (1980), On the use of the I0-sinh window for spectrum analysis, IEEE Trans.
    ASSP 28(1), eq. 1.
    """
    require_positive_integer("n", n)
    if n == 1:
        return np.ones(1)
    position = _phase(n, sym) / math.pi - 1  # -1 .. 1
    half_circle = np.sqrt(np.maximum(0, 1 - position**2))
    return np.i0(beta * half_circle) / np.i0(beta)


WINDOWS = {
    window.__name__: window
    for window in (boxcar, bartlett, hann, hamming, blackman, blackmanharris, kaiser)
}


def get_window(window, Nx, *, fftbins=True):
    """The window of length `Nx`, from whatever describes it.

    Parameters
    ----------
    window : a name (`"hann"`), a tuple of name and parameters (`("kaiser", 8.6)`), a function of
        the length (`hann`), or the window itself, (Nx,)
    Nx : window length, samples
    fftbins : True for the periodic form, False for the symmetric one; for names only

    Returns
    -------
    (Nx,) float64; an array that was passed in comes back as it is

    Examples
    --------
    >>> get_window("hann", 4)
    array([0. , 0.5, 1. , 0.5])
    >>> get_window([1, 2, 1], 3)
    array([1., 2., 1.])
    """
    require_positive_integer("Nx", Nx)
    if isinstance(window, str | tuple):
        name, *parameters = (window,) if isinstance(window, str) else window
        if name not in WINDOWS:
            raise ConfigError(f"window must be one of {', '.join(WINDOWS)}; got {name!r}")
        if (name == "kaiser") != (len(parameters) == 1):
            raise ConfigError(f'only "kaiser" takes a parameter, ("kaiser", beta); got {window!r}')
        return WINDOWS[name](Nx, *parameters, sym=not fftbins)
    window = np.asarray(window(Nx) if callable(window) else window, dtype=np.float64)
    if window.shape != (Nx,):
        raise ShapeError(f"window has shape {window.shape}, but the window length is {Nx}")
    if not np.isfinite(window).all():
        raise ShapeError("window must be finite, but it holds NaN or infinity")
    return window


def is_cola(window, hop_length):
    """Whether shifted copies of the window add up to a constant, so that a plain sum rebuilds.

    Examples
    --------
    >>> is_cola(hann(512), 128), is_cola(hann(512, sym=True), 128)
    (True, False)
    """
    total = _sum_of_shifts(np.asarray(window), hop_length)
    return bool(np.ptp(total) <= 1e-10 * np.abs(total).max())


def is_nola(window, hop_length):
    """Whether every sample is seen by some frame, so that `istft` can rebuild it.

    Examples
    --------
    >>> is_nola(hann(512), 511), is_nola(hann(512), 512)
    (True, False)
    """
    total = _sum_of_shifts(np.asarray(window) ** 2, hop_length)
    return bool(total.min() > NOLA_FLOOR * total.max())


def _sum_of_shifts(w, hop_length):
    """sum_t w[n - t hop] for n = 0 .. hop - 1; it repeats with period hop."""
    require_positive_integer("hop_length", hop_length)
    rows = np.pad(w, (0, -len(w) % hop_length)).reshape(-1, hop_length)
    return rows.sum(axis=0)


def pad_center(data, *, size):
    """Put zeros on both sides of the last axis until it is `size` long; the odd one goes right."""
    n = data.shape[-1]
    if n > size:
        raise ConfigError(f"size must be at least the length of data, {n}, got {size}")
    left = (size - n) // 2
    return np.pad(data, [(0, 0)] * (data.ndim - 1) + [(left, size - n - left)])
