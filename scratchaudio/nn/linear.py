"""The linear layer, and the two lines of calculus behind every matrix product in the package.

For y = x W with the loss L, write dy = dL/dy. Each x[n, i] goes to all outputs j with weight
W[i, j], each W[i, j] is used by all rows n:

    dx[n, i] = sum_j dy[n, j] W[i, j]      dx = dy W^T
    dW[i, j] = sum_n x[n, i] dy[n, j]      dW = x^T dy

The shapes leave no other choice: dx must be (N, D), dW (D, H). A bias is added to every row, so
its gradient is the sum over rows.

Legend: D n_in, H n_out, N rows: all leading axes (batch, time) together.
"""

import numpy as np

from scratchaudio.errors import ShapeError, require_positive_integer
from scratchaudio.nn.init import uniform
from scratchaudio.nn.layer import Layer, Parameter


class Linear(Layer):
    """Linear layer y = x W + b on the last axis: (..., D) -> (..., H).

    Backward:

        dx = dy W^T        dW = x^T dy        db = sum of dy over rows

    Parameters
    ----------
    n_in, n_out : D and H
    bias : whether b is there
    rng : seed or Generator for the initial weights, U(-1/sqrt(D), 1/sqrt(D)) as in torch
    dtype : of the parameters

    Attributes
    ----------
    W : Parameter (D, H), the transpose of torch's; b : Parameter (H,), or None

    Examples
    --------
    >>> layer = Linear(3, 5, rng=0)
    >>> layer.forward(np.ones((2, 7, 3), np.float32)).shape
    (2, 7, 5)
    """

    def __init__(self, n_in, n_out, bias=True, rng=None, dtype=np.float32):
        require_positive_integer("n_in", n_in)
        require_positive_integer("n_out", n_out)
        rng = np.random.default_rng(rng)
        self.W = Parameter(uniform((n_in, n_out), n_in, rng, dtype))
        self.b = Parameter(uniform(n_out, n_in, rng, dtype)) if bias else None

    def forward(self, x):  # (..., D) -> (..., H)
        n_in, n_out = self.W.value.shape
        if x.ndim == 0 or x.shape[-1] != n_in:
            raise ShapeError(f"x of Linear must have shape (..., {n_in}), got {x.shape}")
        rows = x.reshape(-1, n_in)  # (N, D): one matmul for all leading axes
        y = rows @ self.W.value
        if self.b is not None:
            y += self.b.value
        self.save_for_backward(rows)
        return y.reshape(*x.shape[:-1], n_out)

    def backward(self, dy):  # (..., H) -> (..., D)
        (x,) = self.pop_saved()  # (N, D)
        n_in, n_out = self.W.value.shape
        dy_rows = dy.reshape(-1, n_out)  # (N, H)
        self.W.grad += x.T @ dy_rows
        if self.b is not None:
            self.b.grad += dy_rows.sum(axis=0)
        return (dy_rows @ self.W.value.T).reshape(*dy.shape[:-1], n_in)
