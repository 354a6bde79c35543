"""What a sample costs whoever knows less than a network: to compare a WaveNet's bits with.

Foretelling is coding: a sample whose code has probability p needs -log2 p bits. All costs here are
of the same codes, on sound that was not learned from.
"""

import numpy as np

from scratchaudio import dsp

ORDER = 16
WINDOWS = (16, 32, 64, 128)  # samples whose errors tell how large the next will be
GAINS = (0.5, 0.7, 1.0, 1.4)
UNIFORM = 1e-3  # share of all codes alike, for what nobody expects


def unigram_bits(learned, x, n_levels=256):
    """How often each code came in the sound learned from (N,), once more for each code."""
    counts = np.bincount(dsp.mulaw_encode(learned, n_levels), minlength=n_levels) + 1
    return float(-np.log2(counts / counts.sum())[dsp.mulaw_encode(x, n_levels)].mean())


def linear_bits(learned, x, n_levels=256, order=ORDER):
    """A linear prediction from the last samples, and how far it tends to be off.

    The error is taken to have Laplace's distribution, as wide as the last errors were large on
    average. Weights, window and the width's gain are those that suit the sound learned from.
    """
    heard = [dsp.mulaw_decode(dsp.mulaw_encode(y, n_levels), n_levels) for y in (learned, x)]
    heard = [y.astype(np.float64) for y in heard]
    past, present = _rows(heard[0], order)
    weights = np.linalg.lstsq(past, present, rcond=None)[0]
    options = [(window, gain) for window in WINDOWS for gain in GAINS]
    costs = [_laplace_bits(heard[0], weights, n_levels, *option) for option in options]
    return _laplace_bits(heard[1], weights, n_levels, *options[int(np.argmin(costs))])


def _laplace_bits(x, weights, n_levels, window, gain):
    past, present = _rows(x, len(weights))
    mean = past @ weights
    errors = np.abs(present - mean)
    sums = np.cumsum(np.concatenate([np.zeros(window + 1), errors[:-1]]))  # of errors before
    size = (sums[window:] - sums[:-window]) / window
    code = dsp.mulaw_encode(present.astype(np.float32), n_levels)
    edges = np.concatenate([[-np.inf], dsp.mulaw_edges(n_levels), [np.inf]])
    low, high = edges[code] - mean, edges[code + 1] - mean
    scale = gain * size + edges[n_levels // 2 + 1]  # at least a step near 0, or silence were sure
    p = _laplace_cdf(high / scale) - _laplace_cdf(low / scale)
    p = (1 - UNIFORM) * p + UNIFORM / n_levels
    return float(-np.log2(p).mean())


def _laplace_cdf(t):
    half = 0.5 * np.exp(-np.abs(t))
    return np.where(t < 0, half, 1 - half)


def _rows(x, order):
    """The `order` samples before each sample, latest first, and the samples: (N - order, order)."""
    past = np.lib.stride_tricks.sliding_window_view(x[:-1], order)[:, ::-1]
    return past, x[order:]
