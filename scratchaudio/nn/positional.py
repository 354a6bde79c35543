"""Positions: how attention is told where in time a frame stands.

Attention sees a set of frames: if they change places, its outputs change places with them and are
otherwise the same. In a sound the order is everything, so a position has to be put into the
vectors. Both ways here use the clock of Fourier analysis: pairs (cos, sin) that turn at D / 2
different speeds,

    omega_i = 10000^(-2i / D),   i = 0 ... D/2 - 1        from 1 radian a step to 1/10000

*Sinusoidal positions* are added to the input once. *Rotary positions* turn each query and key by
its own time's angles just before they meet. Turning both by the same angle does not change their
product, so that it depends on the distance t - s alone:

    (R_t q) . (R_s k)  =  q . (R_{s - t} k)

Legend: B batch, T steps, D features (even for rotary), h heads.
"""

import numpy as np

from scratchaudio.errors import ConfigError, ShapeError, require_positive_integer


def sinusoidal_positions(n_steps, d_model, dtype=np.float32):
    """Sines and cosines to be added to the vectors of a sequence: (T, D).

        P[t, 2i] = sin(omega_i t)        P[t, 2i + 1] = cos(omega_i t)

    Parameters
    ----------
    n_steps : T
    d_model : D, any size; if it is odd the last cosine is left out
    dtype : of the result

    Returns
    -------
    (T, D) positions, between -1 and 1

    References
    ----------
    Vaswani et al. (2017), Attention is all you need, NeurIPS, section 3.5.

    Examples
    --------
    >>> sinusoidal_positions(2, 4).round(3)
    array([[0.   , 1.   , 0.   , 1.   ],
           [0.841, 0.54 , 0.01 , 1.   ]], dtype=float32)
    """
    require_positive_integer("n_steps", n_steps)
    require_positive_integer("d_model", d_model)
    angles = np.arange(n_steps)[:, None] * _speeds(d_model)  # (T, ceil(D / 2))
    positions = np.empty((n_steps, d_model), dtype)
    positions[:, 0::2] = np.sin(angles)
    positions[:, 1::2] = np.cos(angles[:, : d_model // 2])
    return positions


def rotary_angles(n_steps, n_features, start=0):
    """Angles by which each step turns each pair of features: (T, D / 2), float64.

    Parameters
    ----------
    n_steps : T
    n_features : D, even
    start : position of the first step
    """
    require_positive_integer("n_steps", n_steps)
    require_positive_integer("n_features", n_features)
    if n_features % 2:
        raise ConfigError(f"rotary positions turn pairs of features, but n_features={n_features}")
    return np.arange(start, start + n_steps)[:, None] * _speeds(n_features)


def rotate(x, angles):
    """Turn pairs of features: (..., T, D) by angles (T, D / 2).

    Feature i and feature i + D / 2 are one pair, the two coordinates of a point in the plane:

        y_i         = x_i cos - x_{i + D/2} sin
        y_{i + D/2} = x_i sin + x_{i + D/2} cos

    A rotation's transpose is the rotation back, so the backward pass is `rotate(dy, -angles)`.

    References
    ----------
    Su et al. (2021), RoFormer: enhanced transformer with rotary position embedding,
    arXiv:2104.09864, eq. 34. There pairs are neighbours, features 2i and 2i + 1: the same up to
    the order of the features, which learned weights can take on either way.
    """
    half = x.shape[-1] // 2
    if x.ndim < 2 or np.shape(angles) != (x.shape[-2], half) or x.shape[-1] % 2:
        raise ShapeError(
            f"x must be (..., T, D) and angles (T, D / 2) with an even D, "
            f"got x {x.shape} and angles {np.shape(angles)}"
        )
    if not np.issubdtype(x.dtype, np.inexact):
        raise ShapeError(f"x must be floating-point numbers, got dtype {x.dtype}")
    cos, sin = (f(angles).astype(x.real.dtype) for f in (np.cos, np.sin))  # (T, D / 2)
    first, second = x[..., :half], x[..., half:]
    return np.concatenate([first * cos - second * sin, first * sin + second * cos], axis=-1)


def _speeds(n_features):
    """(ceil(D / 2),) angles a step, in radians."""
    return 10000.0 ** (-np.arange(0, n_features, 2) / n_features)
