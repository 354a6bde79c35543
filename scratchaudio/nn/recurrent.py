"""What every recurrent layer shares: states, sequence lengths, and work that need not wait.

A recurrent layer reads a sequence step by step; its state h_t depends on h_{t-1}:

    a_t = x_t Wx + b + h_{t-1} Wh          pre-activations of the G gates, (B, G H)
    h_t = cell(a_t, state_{t-1})           the formulas of RNN, GRU or LSTM

Only h_{t-1} Wh has to wait for the step before. Everything else is done for all steps at once:
the input's share x Wx + b before the loop over t, and after the backward loop, which leaves
da_t = dL/da_t of every step,

    dWx = sum_t x_t^T da_t     dWh = sum_t h_{t-1}^T da_t     db = sum_t da_t     dx_t = da_t Wx^T

This sum over t is what makes it backpropagation through *time*: one Wh, used T times.

States. `y = forward(x)` starts from zeros. `y, state = forward(x, state)` starts from a given
state and also returns the last one; then `dx, dstate0 = backward(dy, dstate)`. Truncated BPTT is
a loop of such calls that carries the state on and passes no dstate back.

Lengths. `lengths[b]` says how many steps of sequence b are real. Steps behind them are computed
and thrown away: nothing real comes after them. Their output is 0, the state returned is that of
the last real step, and its gradient enters there, so that none reaches a padded step. (An LSTM's c
has its gradient at the end of the loop: there the padded steps' gates are overwritten by those of a
frozen step, i = 0, f = 1, o = 0, through which it passes untouched. See `LSTM.freeze`.)

Legend: B batch, T steps, D input features, H hidden units, G gates, N directions: 1, or 2 when
`Bidirectional` runs two layers in one loop. Arrays of the loop are (T, G, N, B, H): time first
and gates next, so that each step's gates lie in memory as one block and each gate as one, which
NumPy sweeps in a single pass.
"""

import numpy as np

from scratchaudio.errors import CallOrderError, ShapeError, require_positive_integer
from scratchaudio.nn.init import uniform
from scratchaudio.nn.layer import Layer, Parameter


class Recurrent(Layer):
    """Base of RNN, GRU and LSTM, which add `steps` and `steps_backward`: the loops over time.

    Parameters
    ----------
    n_in, n_hidden : D and H
    rng : seed or Generator for the initial weights, U(-1/sqrt(H), 1/sqrt(H)) as in torch
    dtype : of the parameters

    Attributes
    ----------
    Wx : Parameter (D, G H), Wh : Parameter (H, G H), b : Parameter (G H,)
    """

    n_gates = None
    n_states = 1  # arrays in the state: h, and for the LSTM also c

    def __init__(self, n_in, n_hidden, rng=None, dtype=np.float32):
        require_positive_integer("n_in", n_in)
        require_positive_integer("n_hidden", n_hidden)
        rng = np.random.default_rng(rng)
        width = self.n_gates * n_hidden
        self.n_in, self.n_hidden = n_in, n_hidden
        self.Wx = Parameter(uniform((n_in, width), n_hidden, rng, dtype))
        self.Wh = Parameter(uniform((n_hidden, width), n_hidden, rng, dtype))
        self.b = Parameter(uniform(width, n_hidden, rng, dtype))

    def initial_state(self, batch_size):
        """Zeros in the form `forward` takes as `state`: h (B, H), or the LSTM's (h, c)."""
        zeros = [np.zeros((batch_size, self.n_hidden), self.b.value.dtype)] * self.n_states
        return _as_given(zeros)

    def forward(self, x, state=None, lengths=None):  # (B, T, D) -> (B, T, H)
        y, new_states = run([self], self, x, [state], lengths)
        return y if state is None else (y, new_states[0])

    def backward(self, dy, dstate=None):  # (B, T, H) -> (B, T, D)
        dx, dstates, had_state = run_backward([self], self, dy, [dstate])
        return (dx, dstates[0]) if had_state else dx

    @staticmethod
    def freeze(frozen, *saved):
        """Change what `steps` saved so that steps that are padding keep the state."""

    def add_gradients(self, x, h_before, da, da_recurrent):
        """Add one layer's parameter gradients; all (B T, ...): every step is one more example.

        `da_recurrent` is the gradient at h_{t-1} Wh: `da` itself, except in the GRU.
        """
        self.Wx.grad += x.T @ da
        self.Wh.grad += h_before.T @ da_recurrent
        self.b.grad += da.sum(axis=0)


def run(layers, owner, x, states, lengths):
    """Run N layers over x, the second one backwards in time; return y (B, T, N H) and states.

    What backward needs is saved in `owner`: the layer itself, or the Bidirectional around two.
    """
    _check_input(x, layers[0], owner)
    (B, T, _), H, G = x.shape, layers[0].n_hidden, layers[0].n_gates
    padding = None if lengths is None else _padding(lengths, B, T)
    if padding is not None:
        x = np.where(padding[:, :, None], x.dtype.type(0), x)  # 0 * NaN would be NaN

    dtype = np.result_type(x, layers[0].Wx.value)
    a = np.empty((T, G, len(layers), B, H), dtype)
    for n, layer in enumerate(layers):
        a[:, :, n] = _in_reading_order(_input_share(layer, x), n, lengths).transpose(1, 2, 0, 3)
    initial = _stack_states(layers, states, B, dtype)
    frozen = None if padding is None else padding.T[:, None, :, None]  # (T, 1, B, 1)
    h, *others = layers[0].steps(layers, a, *initial)  # h (T + 1, N, B, H)

    y = np.empty((B, T, len(layers) * H), dtype)
    for n in range(len(layers)):
        y[:, :, n * H : (n + 1) * H] = _in_reading_order(h[1:, n].swapaxes(0, 1), n, lengths)
    if padding is not None:
        y[padding] = 0
    last = np.full(B, T) if lengths is None else np.asarray(lengths)
    finals = [s[last, :, np.arange(B)].swapaxes(0, 1) for s in (h, *others)[: len(initial)]]
    new_states = [_as_given([final[n] for final in finals]) for n in range(len(layers))]
    had_state = states[0] is not None
    owner.save_for_backward(x, h, others, frozen, lengths, had_state)
    return y, new_states


def run_backward(layers, owner, dy, dstates):
    """Invert `run`: add all parameter gradients; return dx, the gradients of the states."""
    x, h, others, frozen, lengths, had_state = owner.pop_saved()
    (B, T, D), H, N = x.shape, layers[0].n_hidden, len(layers)
    if dy.shape != (B, T, N * H):
        raise ShapeError(f"dy must have shape {(B, T, N * H)} like forward's y, got {dy.shape}")
    if dstates[0] is not None and not had_state:
        raise CallOrderError("backward was given dstate, but forward was not given a state")

    dh = np.empty((T, N, B, H), h.dtype)
    for n in range(N):
        part = _in_reading_order(dy[:, :, n * H : (n + 1) * H], n, lengths)
        dh[:, n] = part.swapaxes(0, 1)
    if frozen is not None:
        dh *= ~frozen
        layers[0].freeze(frozen, *others)
    dlast_h, *dlast_others = _stack_states(layers, dstates, B, h.dtype)
    last = np.full(B, T) if lengths is None else np.asarray(lengths)
    dh[last - 1, :, np.arange(B)] += dlast_h.swapaxes(0, 1)  # the state returned was h_last

    # (T, G, N, B, H) twice, and a list of (N, B, H)
    da, da_recurrent, dinitial = layers[0].steps_backward(layers, dh, *dlast_others, h, *others)
    del dh, others
    dx = 0
    for n, layer in enumerate(layers):
        rows = _rows(da, n)  # (B T, G H)
        layer.add_gradients(
            _in_reading_order(x, n, lengths).reshape(B * T, D),
            h[:-1, n].swapaxes(0, 1).reshape(B * T, H),
            rows,
            rows if da_recurrent is da else _rows(da_recurrent, n),
        )
        # both directions read x: their gradients add
        dx = dx + _in_reading_order((rows @ layer.Wx.value.T).reshape(B, T, D), n, lengths)
    return dx, [_as_given([d[n] for d in dinitial]) for n in range(N)], had_state


def stacked_Wh(layers):
    """The N layers' recurrent weights as (G, N, H, H): h (N, B, H) @ Wh gives (G, N, B, H)."""
    H, G = layers[0].n_hidden, layers[0].n_gates
    split = [layer.Wh.value.reshape(H, G, H).swapaxes(0, 1) for layer in layers]
    return np.stack(split, axis=1)


def stacked_Wh_T(layers):
    """The N layers' transposed recurrent weights as (N, G H, H), for the way back."""
    return np.stack([layer.Wh.value.T for layer in layers])


def gate_rows(da):
    """Room for one step's da (G, N, B, H) as rows (N, B, G H); returned twice, in both shapes.

    Copying da there and multiplying once by (N, G H, H) sums over the gates inside one matmul.
    """
    G, N, B, H = da.shape
    rows = np.empty((N, B, G, H), da.dtype)
    return rows.transpose(2, 0, 1, 3), rows.reshape(N, B, G * H)


def _input_share(layer, x):
    """What x adds to the gates of all steps, in one matmul: (B, T, D) -> (B, T, G, H)."""
    B, T, D = x.shape
    share = x.reshape(B * T, D) @ layer.Wx.value
    share += layer.b.value
    return share.reshape(B, T, layer.n_gates, layer.n_hidden)


def _rows(da, n):
    """(T, G, N, B, H) -> (B T, G H) of direction n: one row a step, as x and h have them."""
    T, G, _, B, H = da.shape
    return da[:, :, n].transpose(2, 0, 1, 3).reshape(B * T, G * H)


def _in_reading_order(x, n, lengths):
    """(B, T, ...) in the order in which direction n reads it; its own inverse."""
    if n == 0:
        return x
    if lengths is None:
        return x[:, ::-1]
    T = x.shape[1]
    t = np.arange(T)
    order = np.where(t < np.c_[lengths], np.c_[lengths] - 1 - t, t)  # each within its length
    return np.take_along_axis(x, order.reshape(order.shape + (1,) * (x.ndim - 2)), axis=1)


def _as_given(arrays):
    """A state of one array is that array, a state of two is a tuple."""
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def _stack_states(layers, states, B, dtype):
    """One array (N, B, H) for h, and one for c, from a state of each layer or None."""
    H, n_states = layers[0].n_hidden, layers[0].n_states
    stacks = [np.zeros((len(layers), B, H), dtype) for _ in range(n_states)]
    for n, state in enumerate(states):
        if state is None:
            continue
        arrays = (state,) if n_states == 1 else state
        if not isinstance(arrays, tuple | list) or len(arrays) != n_states:
            raise ShapeError(
                f"state of {type(layers[0]).__name__} must be {n_states} arrays of shape "
                f"{(B, H)}, got {type(state).__name__}"
            )
        for stack, array in zip(stacks, arrays, strict=True):
            if np.shape(array) != (B, H):
                raise ShapeError(
                    f"state of {type(layers[0]).__name__} must have shape {(B, H)} (batch, "
                    f"n_hidden), got {np.shape(array)}"
                )
            stack[n] = array
    return stacks


def _check_input(x, layer, owner):
    """Raise ShapeError unless x is (B, T, n_in) with at least one step."""
    if x.ndim != 3 or x.shape[2] != layer.n_in or 0 in x.shape:
        raise ShapeError(
            f"x of {type(owner).__name__} must have shape (batch, steps, {layer.n_in}) with at "
            f"least one of each, got {x.shape}"
        )


def _padding(lengths, B, T):
    """(B, T) True where a step lies behind its sequence's end."""
    lengths = np.asarray(lengths)
    if lengths.shape != (B,) or not np.issubdtype(lengths.dtype, np.integer):
        raise ShapeError(
            f"lengths must be {B} integers, one a sequence, got {lengths.dtype} of shape "
            f"{lengths.shape}"
        )
    if lengths.min() < 1 or lengths.max() > T:
        raise ShapeError(f"lengths must lie in 1..{T} (the steps of x), got {lengths.tolist()}")
    return np.arange(T) >= lengths[:, None]
