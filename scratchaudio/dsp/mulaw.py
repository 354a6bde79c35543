"""Mu-law coding: a waveform in 256 levels that lie denser where the ear hears more.

Sixteen bits are 65536 levels; telephones make do with 256, and so does a network that must give
each level a probability. Evenly spaced, 256 levels would drown soft sounds in rounding. Soft sounds
are common, and noise is heard beside them most, so the waveform is first bent ("companded"),

    c = sign(x) log(1 + mu |x|) / log(1 + mu)          mu = Q - 1, |x| <= 1

which is steep at 0: a step there is 248 times finer, for Q = 256, than at full scale. Then c, in
-1 ... 1, is rounded to Q even steps:

    code = floor((c + 1) / 2 * mu + 0.5)               0 ... Q - 1

and back, by the inverse of the bend:

    c = 2 code / mu - 1        x = sign(c) ((1 + mu)^|c| - 1) / mu

There is no level at 0 itself: for an even Q the two nearest lie at +-1 / 2 of a step, and silence
is coded Q / 2, 8.6e-5 of full scale for Q = 256.

Reference: ITU-T G.711 (its mu-law is a piecewise linear cousin of this one); the rule of rounding
is torchaudio's.
"""

import math

import numpy as np

from scratchaudio.errors import ConfigError, ShapeError


def mulaw_encode(x, n_levels=256):
    """Waveform to codes.

    Parameters
    ----------
    x : (...) floating-point samples in [-1, 1]
    n_levels : Q

    Returns
    -------
    (...) int64 codes 0 ... Q - 1

    Examples
    --------
    >>> mulaw_encode(np.array([-1.0, 0.0, 0.01, 1.0])).tolist()
    [0, 128, 157, 255]
    """
    mu = _require_levels(n_levels) - 1
    x = np.asarray(x)
    if not np.issubdtype(x.dtype, np.floating):
        raise ShapeError(f"x must hold floating-point samples, got dtype {x.dtype}")
    outside = ~(np.abs(x) <= 1)  # NaN too
    if outside.any():
        raise ShapeError(
            f"x must lie in [-1, 1] to be coded, got {x[outside][0]} and {outside.sum() - 1} more "
            f"outside; scale it, for instance by its peak"
        )
    c = np.sign(x) * np.log1p(mu * np.abs(x)) / math.log1p(mu)
    return np.floor((c + 1) / 2 * mu + 0.5).astype(np.int64)


def mulaw_decode(codes, n_levels=256):
    """Codes to waveform: (...) integers 0 ... Q - 1 to (...) float32.

    Examples
    --------
    >>> mulaw_decode(np.array([0, 128, 255])).round(6)
    array([-1.0e+00,  8.6e-05,  1.0e+00], dtype=float32)
    """
    mu = _require_levels(n_levels) - 1
    codes = require_codes("codes", codes, n_levels)
    c = 2 * codes / mu - 1
    return _expand(c, mu).astype(np.float32)


def mulaw_edges(n_levels=256):
    """Where one code ends and the next begins: (Q - 1,) rising float64.

    Code k is that of all x from edge k - 1, included, to edge k. So a distribution of samples with
    distribution function F gives code k the probability F(edge k) - F(edge k - 1).

    Examples
    --------
    >>> mulaw_edges(4).round(4).tolist()
    [-0.5066, 0.0, 0.5066]
    """
    mu = _require_levels(n_levels) - 1
    return _expand((2 * np.arange(mu) + 1) / mu - 1, mu)


def _expand(c, mu):
    """Undo the bend."""
    return np.sign(c) * np.expm1(np.abs(c) * math.log1p(mu)) / mu


def require_codes(name, codes, n_levels):
    """Return `codes` as an array, or raise unless they are integers 0 ... n_levels - 1."""
    codes = np.asarray(codes)
    if not np.issubdtype(codes.dtype, np.integer):
        raise ShapeError(
            f"{name} must hold integers, the codes of dsp.mulaw_encode, got dtype {codes.dtype}"
        )
    if codes.size and not (codes.min() >= 0 and codes.max() < n_levels):
        raise ShapeError(
            f"{name} must lie in 0 ... {n_levels - 1}, got {codes.min()} ... {codes.max()}"
        )
    return codes


def _require_levels(n_levels):
    if not isinstance(n_levels, int | np.integer) or n_levels < 2:
        raise ConfigError(f"n_levels must be an integer of at least 2, got {n_levels!r}")
    return int(n_levels)
