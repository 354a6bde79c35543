"""Normalisation: bring activations to mean 0 and variance 1, then let the network choose again.

A deep network is easier to train when what enters each layer keeps its scale while the layers
before it change. Normalising over a set of entries gives that,

    x_hat = (x - mean) / sqrt(var + eps)          y = gamma x_hat + beta

and gamma, beta, one of each a feature, give back the freedom that it took. What differs between
the kinds is the set over which mean and variance are taken. Layer normalisation takes them over
the features of one frame: no frame sees another, so it works alike for one example and for a
thousand, in training and in use, and in a causal network.

Legend: F features, the last axis; everything before it is rows.
"""

import numpy as np

from scratchaudio.errors import ConfigError, ShapeError, require_positive_integer
from scratchaudio.nn.layer import Layer, Parameter


class LayerNorm(Layer):
    """Layer normalisation over the last axis: (..., F) -> (..., F).

        mean = 1/F sum_i x_i        var = 1/F sum_i (x_i - mean)^2        (biased: 1/F)
        x_hat = (x - mean) / sqrt(var + eps)
        y = gamma x_hat + beta

    Backward. With dx_hat = gamma dy, every x_i also moves the mean and the variance of its row.
    x_hat has no component along (1, ..., 1) and a fixed length, so what dx_hat has along 1 and
    along x_hat itself cannot matter and is taken out:

        dx = (dx_hat - mean(dx_hat) - x_hat mean(dx_hat x_hat)) / sqrt(var + eps)
        dgamma = sum over rows of dy x_hat        dbeta = sum over rows of dy

    Parameters
    ----------
    n_features : F
    eps : added to the variance, inside the root, as in torch
    dtype : of the parameters

    Attributes
    ----------
    gamma : Parameter (F,), ones at first; beta : Parameter (F,), zeros at first

    References
    ----------
    Ba, Kiros & Hinton (2016), Layer normalization, arXiv:1607.06450, eq. 3 and 4.
    """

    def __init__(self, n_features, eps=1e-5, dtype=np.float32):
        require_positive_integer("n_features", n_features)
        if not eps > 0:
            raise ConfigError(f"eps must be positive, got {eps}")
        self.gamma = Parameter(np.ones(n_features, dtype))
        self.beta = Parameter(np.zeros(n_features, dtype))
        self.eps = eps

    def forward(self, x):  # (..., F) -> (..., F)
        n_features = self.gamma.value.size
        if x.ndim == 0 or x.shape[-1] != n_features:
            raise ShapeError(f"x of LayerNorm must have shape (..., {n_features}), got {x.shape}")
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = (centred * centred).mean(axis=-1, keepdims=True)  # (..., 1)
        inv_std = 1 / np.sqrt(variance + self.eps)
        x_hat = centred * inv_std
        self.save_for_backward(x_hat, inv_std)
        return self.gamma.value * x_hat + self.beta.value

    def backward(self, dy):  # (..., F) -> (..., F)
        x_hat, inv_std = self.pop_saved()
        rows = tuple(range(dy.ndim - 1))
        self.gamma.grad += (dy * x_hat).sum(axis=rows)
        self.beta.grad += dy.sum(axis=rows)
        dx_hat = dy * self.gamma.value
        along_one = dx_hat.mean(axis=-1, keepdims=True)
        along_x_hat = (dx_hat * x_hat).mean(axis=-1, keepdims=True)
        return inv_std * (dx_hat - along_one - x_hat * along_x_hat)
