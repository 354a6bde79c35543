"""Long short-term memory: a state that is added to, not overwritten.

Legend: B batch, T steps, D input features, H hidden units, N directions (1, or 2 in a
`Bidirectional`, whose two layers step together). In the loops, arrays are (..., N, B, H).
"""

import numpy as np

from scratchaudio.nn.recurrent import Recurrent, gate_rows, stacked_Wh, stacked_Wh_T


class LSTM(Recurrent):
    """LSTM layer: (B, T, D) -> (B, T, H).

    Forward, with * elementwise and sigma(a) = 1 / (1 + exp(-a)):

        a_t = x_t Wx + b + h_{t-1} Wh               (B, 4H), gates in the order i, f, o, g
        i, f, o = sigma(a_i), sigma(a_f), sigma(a_o)        input, forget and output gate
        g       = tanh(a_g)                                  candidate
        c_t = f * c_{t-1} + i * g                            cell: the memory
        h_t = o * tanh(c_t)                                  output

    Backward, from the last step to the first. dh and dc carry what step t + 1 sends back:

        dh  = dy_t + da_{t+1} Wh^T                  h_t is used twice: as output, by step t + 1
        dc  = f_{t+1} * dc_{t+1} + dh * o * (1 - tanh(c_t)^2)
        da_o = dh * tanh(c_t) * o (1 - o)           da_i = dc * g       * i (1 - i)
        da_g = dc * i * (1 - g^2)                   da_f = dc * c_{t-1} * f (1 - f)

    Along the cell the gradient is only multiplied by f, which is near 1 where the memory is kept:
    it neither vanishes nor explodes (the "constant error carousel"). The forget gate's bias
    therefore starts at 1. `Recurrent` turns da into the gradients of Wx, Wh, b and x.

    Parameters
    ----------
    n_in, n_hidden : D and H
    rng : seed or Generator for the initial weights
    forget_bias : initial bias of the forget gate
    dtype : of the parameters

    Examples
    --------
    >>> layer = LSTM(n_in=3, n_hidden=5, rng=0)
    >>> layer.forward(np.ones((2, 7, 3), np.float32)).shape
    (2, 7, 5)
    >>> y, (h, c) = layer.forward(np.ones((2, 7, 3), np.float32), layer.initial_state(2))
    >>> h.shape, bool(np.all(h == y[:, -1]))
    ((2, 5), True)

    References
    ----------
    Hochreiter & Schmidhuber (1997), Long short-term memory, Neural Computation 9(8); forget gate:
    Gers, Schmidhuber & Cummins (2000), Learning to forget, Neural Computation 12(10), eq. 2.1-2.8.
    torch orders the gates i, f, g, o and has two biases, whose sum is ours.
    """

    n_gates = 4
    n_states = 2

    def __init__(self, n_in, n_hidden, rng=None, forget_bias=1.0, dtype=np.float32):
        super().__init__(n_in, n_hidden, rng, dtype)
        self.b.value[n_hidden : 2 * n_hidden] = forget_bias

    @staticmethod
    def steps(layers, a, h0, c0):
        """Run the loop forward. a (T, 4, N, B, H) becomes the gates."""
        T, _, N, B, H = a.shape
        h = np.empty((T + 1, N, B, H), a.dtype)  # h[t + 1] is h_t; h[0] is the initial state
        c = np.empty_like(h)
        h[0], c[0] = h0, c0
        tanh_c = np.empty((T, N, B, H), a.dtype)
        Wh = stacked_Wh(layers)
        # A sigmoid needs exp(-a): turn the sign once here rather than at every step.
        np.negative(a[:, :3], out=a[:, :3])
        Wh[:3] *= -1

        # At B = 1 a NumPy call's overhead costs more than its arithmetic: so few calls, each over
        # memory that lies in one block and exists already, and views made by zip, not by indexing.
        i, f, o, g = a.swapaxes(0, 1)  # each (T, N, B, H)
        one = np.ones((), a.dtype)
        recurrent = np.empty_like(a[0])
        ig = np.empty_like(h[0])
        with np.errstate(over="ignore"):  # exp(-a) may reach inf: 1 / (1 + inf) = 0 is right
            views = (h, h[1:], c, c[1:], a, a[:, :3], i, f, o, g, tanh_c)
            for h_before, h_t, c_before, c_t, a_t, ifo_t, i_t, f_t, o_t, g_t, tanh_c_t in zip(
                *views, strict=False
            ):
                np.matmul(h_before, Wh, out=recurrent)  # (4, N, B, H)
                np.add(a_t, recurrent, out=a_t)  # a_t = x_t Wx + b + h_{t-1} Wh
                np.exp(ifo_t, out=ifo_t)
                np.add(ifo_t, one, out=ifo_t)
                np.reciprocal(ifo_t, out=ifo_t)  # i, f, o = 1 / (1 + exp(-a))
                np.tanh(g_t, out=g_t)  # g = tanh(a_g)
                np.multiply(f_t, c_before, out=c_t)
                np.multiply(i_t, g_t, out=ig)
                np.add(c_t, ig, out=c_t)  # c_t = f * c_{t-1} + i * g
                np.tanh(c_t, out=tanh_c_t)
                np.multiply(o_t, tanh_c_t, out=h_t)  # h_t = o * tanh(c_t)
        return h, c, a, tanh_c

    @staticmethod
    def freeze(frozen, c, gates, tanh_c):
        """Give padded steps the gates i = 0, f = 1, o = 0, g = 0: c_t = c_{t-1}."""
        gates *= ~frozen[:, None]
        np.copyto(gates[:, 1], 1, where=frozen)

    @staticmethod
    def steps_backward(layers, dh, dc, h, c, gates, tanh_c):
        """Run the loop backward from dh (T, N, B, H) of the outputs and dc (N, B, H) of the end.

        Returns da twice (gradient at the input's and at the recurrent share) and [dh0, dc0].
        """
        i, f, o, g = gates.swapaxes(0, 1)  # each (T, N, B, H)

        # The factors of dh and dc do not wait for step t + 1: find them for all steps at once,
        # each written over an array that is not needed any more.
        keep = f.copy()  # dc_{t-1} = f * dc_t
        factor_o = 1 - o
        factor_o *= o
        factor_o *= tanh_c  # da_o = dh * tanh(c) o (1 - o)
        tanh_c *= tanh_c
        dc_from_dh = np.subtract(1, tanh_c, out=tanh_c)
        dc_from_dh *= o  # dc += dh * o (1 - tanh(c)^2)
        o[...] = factor_o
        factor_i = np.multiply(g, i, out=factor_o)
        factor_i *= 1 - i  # da_i = dc * g i (1 - i)
        g *= g
        np.subtract(1, g, out=g)
        g *= i  # da_g = dc * i (1 - g^2)
        i[...] = factor_i
        f *= 1 - f
        f *= c[:-1]  # da_f = dc * c_{t-1} f (1 - f)

        Wh_T = stacked_Wh_T(layers)  # (N, 4H, H)
        da_by_gate, da_rows = gate_rows(gates[0])
        dh_next, dc = np.zeros_like(dh[0]), dc.copy()
        backwards = (array[::-1] for array in (dh, dc_from_dh, keep, gates, gates[:, :2], o, g))
        for dh_t, dc_from_dh_t, keep_t, da, da_if, da_o, da_g in zip(*backwards, strict=True):
            np.add(dh_t, dh_next, out=dh_t)  # h_t was used twice
            np.multiply(dc_from_dh_t, dh_t, out=dc_from_dh_t)
            np.add(dc, dc_from_dh_t, out=dc)
            np.multiply(da_if, dc, out=da_if)
            np.multiply(da_o, dh_t, out=da_o)
            np.multiply(da_g, dc, out=da_g)
            np.multiply(dc, keep_t, out=dc)
            np.copyto(da_by_gate, da)
            np.matmul(da_rows, Wh_T, out=dh_next)  # a_t was ... + h_{t-1} Wh
        return gates, gates, [dh_next, dc]
