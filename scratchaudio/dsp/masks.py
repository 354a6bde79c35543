"""Masks: one gain for each time and frequency, which keeps one sound of a mixture.

In a spectrogram two sounds rarely meet: while a vowel holds its harmonics, the bins between them
belong to the noise. So multiply the STFT of the mixture, X = S + N, by a mask, and transform back:

    estimate = istft(mask * X),    0 <= mask <= 1

What is the best mask? Whoever knows S and N, as we do when we made the mixture, can say. Such
"ideal" masks are no method, they are the ceiling of a table: what any method with masks can reach.

    binary            1 where |S|^2 > threshold |N|^2, else 0       one decision a bin
    ratio             |S|^p / (|S|^p + |N|^p)                       the share of the speech
    phase-sensitive   Re(S / X) = |S| / |X| cos(angle), in [0, 1]   nearest of all masks to S

All of them keep the phase of the mixture: a gain can only shorten X, not turn it. Hence the third
one, which shortens a bin the more, the more its phase is wrong. `with_phase` shows what the wrong
phase costs: the true |S| with the phase of X.

Several sources share a mixture by `ratio_masks`: the masks sum to one in every bin, so the
estimates sum to the mixture, and nothing is lost or heard twice.

Legend: S, N, X STFTs (..., F, T) of speech, noise and mixture, F bins, T frames; in `ratio_masks`
(as elsewhere for sources) S counts sources.

Sources: Wang (2005), On ideal binary mask as the computational goal of auditory scene analysis
(binary); Erdogan et al. (2015), Phase-sensitive and recognition-boosted speech separation using
deep recurrent neural networks, ICASSP (all three).
"""

import numpy as np

from scratchaudio.errors import ConfigError, ShapeError, require_signal

# Ideal masks ----------------------------------------------------------------------------------


def ideal_binary_mask(S, N, *, threshold_db=0):
    """Mark the bins where the speech is louder than the noise by more than a threshold.

        mask = 1 where |S|^2 > 10^(threshold_db / 10) |N|^2, else 0

    Parameters
    ----------
    S, N : (..., F, T) STFTs of speech and noise, or their magnitudes
    threshold_db : local signal-to-noise ratio above which a bin is kept, dB

    Returns
    -------
    (..., F, T) zeros and ones, float; 0 where both are silent

    References
    ----------
    Wang (2005), section 4.

    Examples
    --------
    >>> ideal_binary_mask(np.array([[2.0, 1.0]]), np.array([[1.0, 1.0]]))
    array([[1., 0.]])
    """
    S, N = _require_pair("S", S, "N", N)
    if not np.isfinite(threshold_db):
        raise ConfigError(f"threshold_db must be a finite number, got {threshold_db!r}")
    louder = np.abs(S) > 10 ** (float(threshold_db) / 20) * np.abs(N)
    return louder.astype(np.abs(S).dtype)


def ideal_ratio_mask(S, N, *, power=2):
    """The share of the speech in each bin: the ratio mask of two sources.

        mask = |S|^p / (|S|^p + |N|^p)

    With p = 2 this is the Wiener filter of the true powers. Its square root, of the same name in
    other papers, keeps more of the noise.

    Parameters
    ----------
    S, N : (..., F, T) STFTs of speech and noise, or their magnitudes
    power : p > 0; the larger, the nearer to a binary mask

    Returns
    -------
    (..., F, T) between 0 and 1; 1/2 where both are silent. The noise's mask is 1 minus this.

    Examples
    --------
    >>> ideal_ratio_mask(np.array([[3.0, 0.0]]), np.array([[1.0, 1.0]]))
    array([[0.9, 0. ]])
    """
    S, N = _require_pair("S", S, "N", N)
    return ratio_masks(np.abs(np.stack([S, N])), power)[0]


def phase_sensitive_mask(S, X):
    """The mask that brings the mixture nearest to the speech.

    In one bin |S - m X|^2 is a parabola in m with its minimum at

        m = Re(S / X) = |S| / |X| cos(angle between S and X)

    Cut to [0, 1], on purpose, it is nearest of all masks in that range: 0 where the phase of the
    mixture is wrong by more than a right angle, and 1 where speech and noise cancel each other.

    Parameters
    ----------
    S, X : (..., F, T) complex STFTs of speech and mixture

    Returns
    -------
    (..., F, T) between 0 and 1; 0 where the mixture is silent

    References
    ----------
    Erdogan et al. (2015), section 3.1 ("truncated" to [0, 1]).

    Examples
    --------
    >>> phase_sensitive_mask(np.array([[1 + 1j, -1j]]), np.array([[2 + 0j, 1j]]))
    array([[0.5, 0. ]])
    """
    S, X = _require_pair("S", S, "X", X)
    if not (np.iscomplexobj(S) and np.iscomplexobj(X)):
        raise ShapeError(f"S and X must be complex, for their phase; got {S.dtype}, {X.dtype}")
    along = (S * _phase(X).conj()).real  # |S| cos(angle)
    length = np.abs(X)
    along = along.clip(0, length)  # cut before dividing, so that a tiny X cannot overflow
    return np.divide(along, length, out=np.zeros_like(along), where=length > 0)


# Any number of sources ------------------------------------------------------------------------


def ratio_masks(magnitudes, power=2):
    """Masks that divide a mixture among its sources, each bin in proportion to |S_s|^power.

        masks[s] = |S_s|^p / sum_r |S_r|^p

    They sum to one in every bin, so the masked mixtures sum to the mixture. Where all sources are
    silent (0/0) each gets the same share.

    Parameters
    ----------
    magnitudes : (S, ..., F, T) the magnitudes of S sources, not negative
    power : p > 0: 2 shares by power (the Wiener filter), 1 by magnitude

    Returns
    -------
    (S, ..., F, T) between 0 and 1

    Examples
    --------
    >>> ratio_masks(np.array([[[3.0, 0.0]], [[1.0, 0.0]]]), power=1)
    array([[[0.75, 0.5 ]],
    <BLANKLINE>
           [[0.25, 0.5 ]]])
    """
    magnitudes = require_signal("magnitudes", magnitudes)
    if magnitudes.ndim < 3:
        raise ShapeError(f"magnitudes must be (S, ..., F, T), got shape {magnitudes.shape}")
    if magnitudes.min() < 0:
        raise ShapeError(f"magnitudes must not be negative, but the least is {magnitudes.min()}")
    if not 0 < power < np.inf:
        raise ConfigError(f"power must be greater than 0 and finite, got {power!r}")
    loudest = magnitudes.max(axis=0)
    # Relative to the loudest source no power overflows and the sum is at least 1.
    shares = np.divide(
        magnitudes, loudest, out=np.ones_like(magnitudes), where=loudest > 0
    ) ** float(power)
    return shares / shares.sum(axis=0)


# Use ------------------------------------------------------------------------------------------


def apply_mask(X, mask):
    """Multiply a spectrogram by a mask, or by the masks of several sources at once.

    Parameters
    ----------
    X : (..., F, T) complex STFT of the mixture
    mask : (..., F, T) gains or booleans, or (S, ..., F, T) with the masks of S sources first

    Returns
    -------
    in the shape of mask, the estimates; in the dtype of X

    Examples
    --------
    >>> apply_mask(np.array([[2j, 4j]]), np.array([[1.0, 0.25]]))
    array([[0.+2.j, 0.+1.j]])
    """
    X, mask = _require_finite("X", X), np.asarray(mask)
    if np.iscomplexobj(mask) or not np.isfinite(mask).all():
        raise ShapeError(f"mask must hold real, finite gains; got dtype {mask.dtype}")
    if mask.shape[-X.ndim :] != X.shape:
        raise ShapeError(
            f"mask must have the shape of X, {X.shape}, or more axes before these; "
            f"got {mask.shape}. Both are (..., F, T): bins, then frames"
        )
    return X * mask.astype(np.abs(X).dtype, copy=False)


def with_phase(magnitude, X):
    """Give a magnitude the phase of another spectrogram: magnitude * X / |X|.

    With the true magnitude of the speech and the phase of the mixture this is the most that an
    estimate of magnitudes alone can reach: what then still sounds wrong is phase.

    Parameters
    ----------
    magnitude : (..., F, T) not negative
    X : (..., F, T) complex STFT that lends its phase, of the same shape

    Returns
    -------
    (..., F, T) complex, in the dtype of X; where X is 0 its phase counts as 0, as in `np.angle`

    Examples
    --------
    >>> with_phase(np.array([[2.0, 2.0]]), np.array([[5j, 0j]]))
    array([[0.+2.j, 2.+0.j]])
    """
    magnitude, X = _require_pair("magnitude", magnitude, "X", X)
    if np.iscomplexobj(magnitude) or magnitude.min() < 0:
        raise ShapeError("magnitude must hold real numbers that are not negative: np.abs(S)")
    if not np.iscomplexobj(X):
        raise ShapeError(f"X must be complex, for its phase; got {X.dtype}")
    phase = _phase(X)
    return magnitude.astype(phase.real.dtype, copy=False) * phase


def _phase(X):
    """X / |X|, the number of modulus 1 in the direction of X; 1 where X is 0."""
    length = np.abs(X)
    return np.divide(X, length, out=np.ones_like(X), where=length > 0)


def _require_pair(name_a, a, name_b, b):
    """Return both as spectrograms of one shape."""
    a, b = _require_finite(name_a, a), _require_finite(name_b, b)
    if a.shape != b.shape:
        raise ShapeError(
            f"{name_a} and {name_b} must have one shape, got {a.shape} and {b.shape}; "
            f"make both with the same stft settings from signals of one length"
        )
    return a, b


def _require_finite(name, S):
    """Return S as an array (..., F, T) of finite floats, real or complex."""
    S = np.asarray(S)
    if not np.issubdtype(S.dtype, np.inexact):
        raise ShapeError(f"{name} must hold real or complex floats, got dtype {S.dtype}")
    if S.ndim < 2 or S.size == 0:
        raise ShapeError(f"{name} must have shape (..., F, T), got {S.shape}")
    if not np.isfinite(S).all():
        raise ShapeError(f"{name} must be finite, but it holds NaN or infinity")
    return S
