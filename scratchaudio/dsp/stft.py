"""The short-time Fourier transform: what frequencies are there, and when.

One spectrum of a whole recording hides when things happen. So we cut the signal into overlapping
frames, fade each with a window w, and take the spectrum of each:

    X[k, t] = sum_n w[n] y[t hop + n] exp(-2 pi i k n / N)          stft

Back again, each frame's inverse DFT is y times w. It is multiplied by w once more, added where it
came from, and what each sample has seen of w^2 is divided out:

    y[m] = sum_t w[m - t hop] irfft(X[:, t])[m - t hop]  /  sum_t w[m - t hop]^2          istft

For an X nobody touched this is y itself. For any other X (a masked one, say) it is the signal whose
STFT is nearest to X in the least-squares sense: that is why w comes twice and w^2 is divided by.

    N, n_fft   samples in a frame       T   frames               y   waveform (..., N samples)
    F          bins, 1 + n_fft // 2     t   frame, 0 .. T - 1    X   spectrogram (..., F, T)
    hop        samples from one frame to the next                w   window, centred in n_fft zeros

With `center=True`, y first gets n_fft // 2 samples of padding on both sides, so that frame t is
centred at sample t hop and T = 1 + N // hop for even n_fft. Nothing is scaled: a tone of amplitude
A in the middle of a bin gives |X| = A sum(w) / 2.

Source: Griffin & Lim (1984), Signal estimation from modified short-time Fourier transform, IEEE
Trans. ASSP 32(2), eq. 6.
"""

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view

from scratchaudio.dsp.windows import get_window, is_nola, pad_center
from scratchaudio.errors import (
    ConfigError,
    ShapeError,
    require_positive_integer,
    require_signal,
)

PAD_MODES = ("constant", "edge", "linear_ramp", "reflect", "symmetric")
BLOCK_SAMPLES = 1 << 16  # transformed at a time: fits the processor's cache, keeps memory small

# Frames ---------------------------------------------------------------------------------------


def frame(x, *, frame_length, hop_length, axis=-1):
    """Cut a signal into overlapping frames: a read-only view of `x`, whose samples are not copied.

    Parameters
    ----------
    x : (..., N) signal, or time on another `axis`
    frame_length : samples in a frame
    hop_length : samples from the start of one frame to the start of the next
    axis : axis of x that is time; negative ones become (frame_length, T), others (T, frame_length)

    Returns
    -------
    (..., frame_length, T) with T = 1 + (N - frame_length) // hop_length; samples after the last
    full frame are in none

    Examples
    --------
    >>> frame(np.arange(6), frame_length=3, hop_length=2)
    array([[0, 2],
           [1, 3],
           [2, 4]])
    """
    require_positive_integer("frame_length", frame_length)
    require_positive_integer("hop_length", hop_length)
    x = np.asarray(x)
    if x.ndim == 0 or x.shape[axis] < frame_length:
        raise ShapeError(f"x of shape {x.shape} is shorter than one frame of {frame_length}")
    time = axis % x.ndim
    frames = sliding_window_view(x, frame_length, axis=time)  # a frame at every sample, axis last
    frames = frames[(slice(None),) * time + (slice(None, None, hop_length),)]
    return np.moveaxis(frames, -1, time if axis < 0 else time + 1)


def overlap_add(frames, hop_length):
    """Add frames where they were cut, y[t hop + n] = sum_t frames[n, t]: the adjoint of `frame`.

    Parameters
    ----------
    frames : (..., N, T) frames of N samples
    hop_length : samples from the start of one frame to the start of the next

    Returns
    -------
    (..., N + hop_length (T - 1))

    Examples
    --------
    >>> overlap_add(np.ones((3, 4)), hop_length=2)
    array([1., 1., 2., 1., 2., 1., 2., 1., 1.])
    """
    require_positive_integer("hop_length", hop_length)
    frames = np.asarray(frames)
    if frames.ndim < 2 or frames.size == 0:
        raise ShapeError(f"frames must be (..., frame_length, T), got shape {frames.shape}")
    N, T = frames.shape[-2:]
    rows = _empty_rows(frames.shape[:-2], N, T, hop_length, frames.dtype)
    _add_to_rows(rows, frames.swapaxes(-1, -2), 0)
    return _rows_to_signal(rows, N, T)


def _empty_rows(leading, N, T, hop, dtype):
    """Room for overlap-add, with time as rows of hop samples: frame t starts in row t."""
    return np.zeros((*leading, T - 1 + -(-N // hop), hop), dtype)


def _add_to_rows(rows, frames, first):
    """Add frames (..., T, N), the first of which starts in row `first`.

    Piece r of a frame, its samples r hop .. (r + 1) hop, belongs in row t + r. For all frames at
    once that is one addition of arrays, so N / hop additions do instead of one for each frame.
    """
    hop, (T, N) = rows.shape[-1], frames.shape[-2:]
    for r, start in enumerate(range(0, N, hop)):
        piece = frames[..., start : start + hop]  # (..., T, hop), the last one may be narrower
        rows[..., first + r : first + r + T, : piece.shape[-1]] += piece


def _rows_to_signal(rows, N, T):
    """Read the rows one after the other, without what lies after the last frame."""
    signal = rows.reshape(*rows.shape[:-2], -1)
    return signal[..., : N + rows.shape[-1] * (T - 1)]


def window_sumsquare(
    *, window, n_frames, hop_length=512, win_length=None, n_fft=2048, dtype=np.float32, norm=None
):
    """How much of w^2 each sample has seen, sum_t w[m - t hop]^2: what `istft` divides by.

    Parameters
    ----------
    window : see `get_window`
    n_frames : number of frames, T
    hop_length : samples from the start of one frame to the start of the next
    win_length : length of the window, None for n_fft; it is centred in the frame
    n_fft : samples in a frame
    dtype : of the result
    norm : None, or the order of the vector norm (1, 2, numpy.inf) that the window is divided by

    Returns
    -------
    (n_fft + hop_length (T - 1),)

    Examples
    --------
    >>> window_sumsquare(window="hann", n_frames=3, hop_length=2, n_fft=4, dtype=float)
    array([0.  , 0.25, 1.  , 0.5 , 1.  , 0.5 , 1.  , 0.25])
    """
    require_positive_integer("n_frames", n_frames)
    require_positive_integer("n_fft", n_fft)
    w = get_window(window, n_fft if win_length is None else win_length)
    if norm is not None:
        w = w / np.linalg.norm(w, norm)
    w = pad_center(w, size=n_fft)
    frames = np.broadcast_to((w * w)[:, np.newaxis], (n_fft, n_frames))
    return overlap_add(frames, hop_length).astype(dtype, copy=False)


# Transform ------------------------------------------------------------------------------------


def stft(
    y,
    *,
    n_fft=2048,
    hop_length=None,
    win_length=None,
    window="hann",
    center=True,
    pad_mode="constant",
    fft=scipy.fft,
):
    """Short-time Fourier transform of a real signal.

    Parameters
    ----------
    y : (..., N) waveform, float
    n_fft : samples in a frame
    hop_length : samples from one frame to the next, at most n_fft; None for win_length // 4
    win_length : length of the window, at most n_fft (then centred between zeros); None for n_fft
    window : name, function or array, see `get_window`
    center : pad y so that frame t is centred at sample t hop_length; if False it starts there
    pad_mode : how `numpy.pad` continues y beyond its ends
    fft : module with `rfft(frames)`, such as `scipy.fft`, `numpy.fft` or the hand-written `dsp.fft`

    Returns
    -------
    X : (..., 1 + n_fft // 2, T) complex64 for float32, complex128 for float64

    Examples
    --------
    A tone of 1000 Hz is largest in bin 1000 / (8000 / 256) = 32:

    >>> y = np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000)
    >>> X = stft(y, n_fft=256)
    >>> X.shape
    (129, 126)
    >>> int(np.abs(X[:, 60]).argmax())
    32
    """
    y = require_signal("y", y)
    hop, w = _hop_and_window(n_fft, hop_length, win_length, window)
    if center:
        if pad_mode not in PAD_MODES:
            raise ConfigError(f"pad_mode must be one of {', '.join(PAD_MODES)}; got {pad_mode!r}")
        y = np.pad(y, [(0, 0)] * (y.ndim - 1) + [(n_fft // 2, n_fft // 2)], mode=pad_mode)
    if y.shape[-1] < n_fft:
        raise ShapeError(
            f"y has {y.shape[-1]} samples, fewer than one frame of n_fft={n_fft}; "
            f"choose a smaller n_fft or center=True"
        )

    frames = frame(y, frame_length=n_fft, hop_length=hop).swapaxes(-1, -2)  # (..., T, N) a view
    T, dtype = frames.shape[-2], np.result_type(y, np.float32)
    w = w.astype(dtype)
    X = np.empty((*frames.shape[:-1], 1 + n_fft // 2), np.result_type(dtype, np.complex64))
    for block in _blocks(T, frames[..., 0, :].size):
        X[..., block, :] = fft.rfft(frames[..., block, :] * w)  # (..., block, F)
    return X.swapaxes(-1, -2)  # (..., F, T)


def istft(
    stft_matrix,
    *,
    hop_length=None,
    win_length=None,
    n_fft=None,
    window="hann",
    center=True,
    length=None,
    fft=scipy.fft,
):
    """Inverse short-time Fourier transform: the signal whose STFT is nearest to `stft_matrix`.

    Parameters
    ----------
    stft_matrix : (..., F, T) complex
    hop_length, win_length, window, center : as given to `stft`
    n_fft : samples in a frame; None for 2 (F - 1), so an odd one must be said
    length : samples of the signal that went into `stft`, to get exactly as many back; None for
        whole hops only, hop_length (T - 1) if centred
    fft : module with `irfft(X, n=)`

    Returns
    -------
    y : (..., length) float32 for complex64, float64 for complex128. With `center=False`, samples
        that no frame sees, where the window begins and ends in 0 and after the last frame, are 0.

    Raises
    ------
    ConfigError
        if window and hop_length leave samples unseen, which no method could bring back

    Examples
    --------
    >>> y = np.random.default_rng(0).standard_normal(1000)
    >>> bool(np.abs(istft(stft(y, n_fft=256), length=1000) - y).max() < 1e-12)
    True
    """
    X = _require_spectrogram(stft_matrix, n_fft)
    n_fft = 2 * (X.shape[-2] - 1) if n_fft is None else n_fft
    hop, w = _hop_and_window(n_fft, hop_length, win_length, window)
    if not is_nola(w, hop):
        raise ConfigError(
            f"window={_describe(window)} of {win_length or n_fft} samples with hop_length={hop} "
            f"leaves samples that no frame sees, so istft cannot rebuild them; "
            f"use a smaller hop_length (a quarter of the window is usual)"
        )
    start = n_fft // 2 if center else 0
    T = X.shape[-1]
    if length is None:
        length = n_fft + hop * (T - 1) - 2 * start
        if length < 1:
            raise ConfigError("one centred frame spans no whole hop: pass length, in samples")
    require_positive_integer("length", length)
    T = min(T, -(-(start + length) // hop))  # frames that start after the last sample add nothing

    frames = X.swapaxes(-1, -2)[..., :T, :]  # (..., T, F)
    w = w.astype(np.result_type(X.real, np.float32))
    rows = _empty_rows(X.shape[:-2], n_fft, T, hop, w.dtype)
    for block in _blocks(T, X[..., 0, 0].size * n_fft):
        _add_to_rows(rows, fft.irfft(frames[..., block, :], n=n_fft) * w, block.start)
    y = _rows_to_signal(rows, n_fft, T)[..., start : start + length]

    seen = window_sumsquare(window=w, n_frames=T, hop_length=hop, n_fft=n_fft, dtype=w.dtype)
    seen = seen[start : start + length]
    reached = seen > np.finfo(w.dtype).eps ** 2 * seen.max()  # below, only rounding error is left
    if center and not (len(seen) == length and reached.all()):
        raise ConfigError(
            f"length={length} is more than the {T} frames hold: sample "
            f"{int(np.append(reached, False).argmin())} is in no frame of "
            f"window={_describe(window)}, n_fft={n_fft}, hop_length={hop}"
        )
    np.divide(y, seen, out=y, where=reached)
    return np.pad(y, [(0, 0)] * (y.ndim - 1) + [(0, length - len(seen))])


def _hop_and_window(n_fft, hop_length, win_length, window):
    """Check the settings that stft and istft share; return the hop and the window, (n_fft,)."""
    require_positive_integer("n_fft", n_fft)
    win_length = n_fft if win_length is None else win_length
    require_positive_integer("win_length", win_length)
    if win_length > n_fft:
        raise ConfigError(f"win_length must be at most n_fft={n_fft}, got {win_length}")
    hop_length = max(1, win_length // 4) if hop_length is None else hop_length
    require_positive_integer("hop_length", hop_length)
    if hop_length > n_fft:
        raise ConfigError(
            f"hop_length must be at most n_fft={n_fft}, got {hop_length}: "
            f"the samples between the frames would be lost"
        )
    return hop_length, pad_center(get_window(window, win_length), size=n_fft)


def _require_spectrogram(X, n_fft):
    """Return X as an array; raise `ShapeError` unless it is complex, finite and of F bins."""
    X = np.asarray(X)
    if not np.iscomplexobj(X) or X.ndim < 2 or X.size == 0:
        raise ShapeError(
            f"stft_matrix must be complex of shape (..., F, T), got {X.dtype} of shape {X.shape}"
        )
    if not np.isfinite(X).all():
        raise ShapeError("stft_matrix must be finite, but it holds NaN or infinity")
    if n_fft is None and X.shape[-2] < 2:
        raise ShapeError("stft_matrix has one bin only; if that is meant, pass n_fft=1")
    if n_fft is not None:
        require_positive_integer("n_fft", n_fft)
        if X.shape[-2] != 1 + n_fft // 2:
            raise ShapeError(
                f"stft_matrix has {X.shape[-2]} bins, n_fft={n_fft} expects {1 + n_fft // 2}"
            )
    return X


def _describe(window):
    """A window as it is named in an error."""
    return repr(window) if isinstance(window, str | tuple) else getattr(window, "__name__", "array")


def _blocks(T, samples_per_frame):
    """Slices of a few frames each, so that what is computed on the way stays small."""
    step = max(1, BLOCK_SAMPLES // samples_per_frame)
    return [slice(start, min(start + step, T)) for start in range(0, T, step)]


# Axes -----------------------------------------------------------------------------------------


def fft_frequencies(*, sr=22050, n_fft=2048):
    """Frequency of each bin in Hz, k sr / n_fft.

    Examples
    --------
    >>> fft_frequencies(sr=8000, n_fft=4)
    array([   0., 2000., 4000.])
    """
    require_positive_integer("n_fft", n_fft)
    return np.arange(1 + n_fft // 2) * (sr / n_fft)


def frames_to_samples(frames, *, hop_length=512, n_fft=None):
    """Sample at which each frame is centred; with `n_fft`, for frames made with `center=False`."""
    offset = 0 if n_fft is None else n_fft // 2
    return (np.asanyarray(frames) * hop_length + offset).astype(int)


def frames_to_time(frames, *, sr=22050, hop_length=512, n_fft=None):
    """Time in seconds at which each frame is centred; see `frames_to_samples`.

    Examples
    --------
    >>> frames_to_time([0, 1, 2], sr=16000, hop_length=160)
    array([0.  , 0.01, 0.02])
    """
    return frames_to_samples(frames, hop_length=hop_length, n_fft=n_fft) / float(sr)


def samples_to_frames(samples, *, hop_length=512, n_fft=None):
    """Last frame centred at or before each sample: the inverse of `frames_to_samples`."""
    offset = 0 if n_fft is None else n_fft // 2
    return np.floor((np.asanyarray(samples) - offset) // hop_length).astype(int)


def time_to_frames(times, *, sr=22050, hop_length=512, n_fft=None):
    """Last frame centred at or before each time in seconds: the inverse of `frames_to_time`."""
    samples = (np.asanyarray(times) * sr).astype(int)
    return samples_to_frames(samples, hop_length=hop_length, n_fft=n_fft)
