"""The simple (Elman) recurrent layer: the shortest example of backpropagation through time.

Legend: B batch, T steps, D input features, H hidden units, N directions (1, or 2 in a
`Bidirectional`). In the loops, arrays are (..., N, B, H); an RNN has one "gate", its state.
"""

import numpy as np

from scratchaudio.nn.recurrent import Recurrent, stacked_Wh, stacked_Wh_T


class RNN(Recurrent):
    """Simple recurrent layer with tanh: (B, T, D) -> (B, T, H).

    Forward:

        a_t = x_t Wx + b + h_{t-1} Wh
        h_t = tanh(a_t)

    Backward, from the last step to the first:

        dh  = dy_t + da_{t+1} Wh^T          h_t is used twice: as output, and by step t + 1
        da_t = dh * (1 - h_t^2)             tanh' = 1 - tanh^2

    From step t to step s < t the gradient passes t - s times through Wh^T and (1 - h^2): it
    vanishes or explodes exponentially, which is why the LSTM and the GRU exist. `Recurrent` turns
    da into the gradients of Wx, Wh, b and x.

    Parameters
    ----------
    n_in, n_hidden : D and H
    rng : seed or Generator for the initial weights
    dtype : of the parameters

    Examples
    --------
    >>> layer = RNN(n_in=3, n_hidden=5, rng=0)
    >>> layer.forward(np.ones((2, 7, 3), np.float32)).shape
    (2, 7, 5)

    References
    ----------
    Elman (1990), Finding structure in time, Cognitive Science 14(2); the backward pass: Werbos
    (1990), Backpropagation through time, Proceedings of the IEEE 78(10).
    """

    n_gates = 1

    @staticmethod
    def steps(layers, a, h0):
        """Run the loop forward; a (T, 1, N, B, H) is the input's share of all steps."""
        T, _, N, B, H = a.shape
        h = np.empty((T + 1, N, B, H), a.dtype)  # h[t + 1] is h_t; h[0] is the initial state
        h[0] = h0
        (Wh,) = stacked_Wh(layers)  # (N, H, H)
        for t, a_t in enumerate(a[:, 0]):
            np.matmul(h[t], Wh, out=h[t + 1])
            np.add(h[t + 1], a_t, out=h[t + 1])
            np.tanh(h[t + 1], out=h[t + 1])
        return (h,)

    @staticmethod
    def steps_backward(layers, dh, h):
        """Run the loop backward from dh (T, N, B, H); return da twice and [dh0]."""
        da = 1 - h[1:] * h[1:]  # (T, N, B, H): tanh' of all steps, to be multiplied by dh
        Wh_T = stacked_Wh_T(layers)  # (N, H, H)
        dh_next = np.zeros_like(dh[0])
        for dh_t, da_t in zip(dh[::-1], da[::-1], strict=True):
            np.add(dh_t, dh_next, out=dh_t)
            np.multiply(da_t, dh_t, out=da_t)
            np.matmul(da_t, Wh_T, out=dh_next)  # a_t = ... + h_{t-1} Wh
        da = da[:, None]  # (T, 1, N, B, H)
        return da, da, [dh_next]
