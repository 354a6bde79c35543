"""The gated recurrent unit: an LSTM's idea with one state and three gates.

There are two GRUs under one name; they differ in where the reset gate r acts on the state:

    after the matrix    n = tanh(x Wx_n + b_n + r * (h Wh_n + bh))       `GRU`
    before the matrix   n = tanh(x Wx_n + b_n + (r * h) Wh_n)            `GRUResetBefore`

The first is what torch, cuDNN and Keras (reset_after=True) compute: all three recurrent products
are one matmul. The second is the published equation. Weights of one do not work in the other.

Legend: B batch, T steps, D input features, H hidden units, N directions (1, or 2 in a
`Bidirectional`). In the loops, arrays are (..., N, B, H). Gates in the order r, z, n.
"""

import numpy as np

from scratchaudio.nn.init import uniform
from scratchaudio.nn.layer import Parameter
from scratchaudio.nn.recurrent import Recurrent, gate_rows, stacked_Wh, stacked_Wh_T


def _sigmoid_in_place(a):
    """Overwrite a by 1 / (1 + exp(-a)); exp may reach inf, whose reciprocal 0 is right."""
    np.negative(a, out=a)
    np.exp(a, out=a)
    a += 1
    np.reciprocal(a, out=a)


class GRU(Recurrent):
    """GRU layer, reset after the matrix: (B, T, D) -> (B, T, H).

    Forward, with * elementwise and sigma(a) = 1 / (1 + exp(-a)):

        r = sigma(x Wx_r + b_r + h_{t-1} Wh_r)              reset gate
        z = sigma(x Wx_z + b_z + h_{t-1} Wh_z)              update gate
        u = h_{t-1} Wh_n + bh                               what the state proposes
        n = tanh(x Wx_n + b_n + r * u)                      candidate
        h_t = (1 - z) * n + z * h_{t-1}

    Backward, from the last step to the first:

        dh   = dy_t + z_{t+1} * dh_{t+1} + (da_r, da_z, du)_{t+1} Wh^T
        da_n = dh * (1 - z) (1 - n^2)                       du   = da_n * r
        da_z = dh * (h_{t-1} - n) * z (1 - z)               da_r = da_n * u * r (1 - r)

    All of them are dh times a factor known from the forward pass. Where z is near 1 the state and
    its gradient pass unchanged: the LSTM's memory without a second state.

    Parameters
    ----------
    n_in, n_hidden : D and H
    rng : seed or Generator for the initial weights
    dtype : of the parameters

    Attributes
    ----------
    Wx (D, 3H), Wh (H, 3H), b (3H,), bh (H,) : Parameters, gates in the order r, z, n

    Examples
    --------
    >>> layer = GRU(n_in=3, n_hidden=5, rng=0)
    >>> layer.forward(np.ones((2, 7, 3), np.float32)).shape
    (2, 7, 5)

    References
    ----------
    Cho et al. (2014), Learning phrase representations using RNN encoder-decoder, eq. 5-8 (which
    resets before the matrix, and has z and 1 - z swapped); reset after: torch.nn.GRU.
    """

    n_gates = 3

    def __init__(self, n_in, n_hidden, rng=None, dtype=np.float32):
        rng = np.random.default_rng(rng)
        super().__init__(n_in, n_hidden, rng, dtype)
        self.bh = Parameter(uniform(n_hidden, n_hidden, rng, dtype))

    def add_gradients(self, x, h_before, da, da_recurrent):
        super().add_gradients(x, h_before, da, da_recurrent)
        self.bh.grad += da_recurrent[:, 2 * self.n_hidden :].sum(axis=0)  # du

    @staticmethod
    def steps(layers, a, h0):
        """Run the loop forward. a (T, 3, N, B, H) becomes the gates."""
        T, _, N, B, H = a.shape
        h = np.empty((T + 1, N, B, H), a.dtype)  # h[t + 1] is h_t; h[0] is the initial state
        h[0] = h0
        u = np.empty((T, N, B, H), a.dtype)
        Wh = stacked_Wh(layers)  # (3, N, H, H)
        bh = np.stack([layer.bh.value for layer in layers])[:, None]  # (N, 1, H)
        recurrent = np.empty_like(a[0])
        r, z, n = a.swapaxes(0, 1)
        with np.errstate(over="ignore"):
            for t, rz_t, r_t, z_t, n_t, u_t in zip(range(T), a[:, :2], r, z, n, u, strict=True):
                np.matmul(h[t], Wh, out=recurrent)  # (3, N, B, H)
                np.add(rz_t, recurrent[:2], out=rz_t)
                _sigmoid_in_place(rz_t)
                np.add(recurrent[2], bh, out=u_t)
                n_t += r_t * u_t
                np.tanh(n_t, out=n_t)
                h_t = np.subtract(h[t], n_t, out=h[t + 1])  # h_t = n + z (h_{t-1} - n)
                np.multiply(h_t, z_t, out=h_t)
                np.add(h_t, n_t, out=h_t)
        return h, a, u

    @staticmethod
    def steps_backward(layers, dh, h, gates, u):
        """Run the loop backward from dh (T, N, B, H); return da with da_n, with du; [dh0]."""
        r, z, n = gates.swapaxes(0, 1)
        # The factors by which dh_t is multiplied, for all steps at once.
        factor_n = (1 - z) * (1 - n * n)
        recurrent = np.empty_like(gates)  # becomes (da_r, da_z, du)
        np.multiply(factor_n, u * r * (1 - r), out=recurrent[:, 0])
        np.multiply(h[:-1] - n, z * (1 - z), out=recurrent[:, 1])
        np.multiply(factor_n, r, out=recurrent[:, 2])

        Wh_T = stacked_Wh_T(layers)  # (N, 3H, H)
        by_gate, rows = gate_rows(gates[0])
        dh_next = np.zeros_like(dh[0])
        for dh_t, z_t, recurrent_t in zip(dh[::-1], z[::-1], recurrent[::-1], strict=True):
            np.add(dh_t, dh_next, out=dh_t)
            np.multiply(recurrent_t, dh_t, out=recurrent_t)
            np.copyto(by_gate, recurrent_t)
            np.matmul(rows, Wh_T, out=dh_next)
            dh_next += z_t * dh_t
        da = recurrent.copy()
        np.multiply(factor_n, dh, out=da[:, 2])  # dh now holds what reached each h_t
        return da, recurrent, [dh_next]


class GRUResetBefore(Recurrent):
    """GRU layer, reset before the matrix, as first published: (B, T, D) -> (B, T, H).

    Forward: as `GRU`, but the candidate is

        n = tanh(x Wx_n + b_n + (r * h_{t-1}) Wh_n)

    Backward: as `GRU`, but the reset gate's gradient comes back through Wh_n, so that step t needs
    two matmuls, one after the other:

        ds   = da_n Wh_n^T                                  s = r * h_{t-1}
        da_r = ds * h_{t-1} * r (1 - r)
        dh_{t-1} = z * dh + r * ds + (da_r, da_z) Wh_rz^T

    Parameters
    ----------
    n_in, n_hidden : D and H
    rng : seed or Generator for the initial weights
    dtype : of the parameters

    References
    ----------
    Cho et al. (2014), Learning phrase representations using RNN encoder-decoder, eq. 5-8; Keras
    calls it GRU(reset_after=False).
    """

    n_gates = 3

    def add_gradients(self, x, h_before, da, s):
        """Add the gradients; the candidate's matrix multiplied s = r * h_{t-1}, not h_{t-1}."""
        rz, n = slice(0, 2 * self.n_hidden), slice(2 * self.n_hidden, None)
        self.Wx.grad += x.T @ da
        self.Wh.grad[:, rz] += h_before.T @ da[:, rz]
        self.Wh.grad[:, n] += s.T @ da[:, n]
        self.b.grad += da.sum(axis=0)

    @staticmethod
    def steps(layers, a, h0):
        """Run the loop forward. a (T, 3, N, B, H) becomes the gates."""
        T, _, N, B, H = a.shape
        h = np.empty((T + 1, N, B, H), a.dtype)  # h[t + 1] is h_t; h[0] is the initial state
        h[0] = h0
        Wh = stacked_Wh(layers)
        r, z, n = a.swapaxes(0, 1)
        with np.errstate(over="ignore"):
            for t, rz_t, r_t, z_t, n_t in zip(range(T), a[:, :2], r, z, n, strict=True):
                rz_t += h[t] @ Wh[:2]
                _sigmoid_in_place(rz_t)
                n_t += (r_t * h[t]) @ Wh[2]
                np.tanh(n_t, out=n_t)
                h[t + 1] = n_t + z_t * (h[t] - n_t)
        return h, a

    @staticmethod
    def steps_backward(layers, dh, h, gates):
        """Run the loop backward from dh (T, N, B, H); return da, r * h_{t-1} and [dh0]."""
        r, z, n = gates.swapaxes(0, 1)
        s = r * h[:-1]
        da = np.empty_like(gates)  # factors first, gradients after the loop
        da_r, da_z, da_n = da.swapaxes(0, 1)
        da_r[...] = s * (1 - r)
        da_z[...] = (h[:-1] - n) * z * (1 - z)
        da_n[...] = (1 - z) * (1 - n * n)
        Wh_T = stacked_Wh(layers).swapaxes(2, 3)
        dh_next = np.zeros_like(dh[0])
        for t in reversed(range(len(dh))):
            dh_t = dh[t] + dh_next
            da_z[t] *= dh_t
            da_n[t] *= dh_t
            ds = da_n[t] @ Wh_T[2]
            da_r[t] *= ds
            dh_next = z[t] * dh_t + r[t] * ds + (da[t, :2] @ Wh_T[:2]).sum(axis=0)
        return da, s[:, None], [dh_next]
