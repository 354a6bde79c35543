"""Convolution along time: one small filter, slid over the whole signal and learned.

A layer that looks at every moment in the same way needs the same weights at every moment. Output t
is a weighted sum of k samples ("taps") near input t, over all input channels c:

    y[o, t] = b[o] + sum_c sum_j W[o, c, j] x[c, t s + j d - p]          x is 0 outside 0 ... T - 1

Stride s takes every s-th output; dilation d puts d - 1 gaps between the taps; padding p lets the
first taps hang over the edge. Take tap j alone: it is a matrix W[:, :, j], applied to a shifted
signal. So a convolution is k matrix products of shifted signals, added up, and one product once the
k shifted signals are stacked as rows of one matrix, the *columns* of this file (im2col):

    y = W columns           (C', C k) (C k, T')           columns[c j, t] = x[c, t s + j d - p]

Everything is linear, so backward is the transpose, read from the same picture:

    dW = dy columns^T       dcolumns = W^T dy       dx[c, t s + j d - p] += dcolumns[c j, t]

The last one adds where the first had copied: `correlate` *gathers* what each output needs,
its transpose `spread` hands each output's gradient back to all that it came from. A transposed
convolution, the layer that makes a signal longer, is `spread` used as forward. With
`weight_gradient` that makes three functions for two layers, and backward of one is forward of the
other:

                            forward       dx            dW
    Conv1d                  correlate     spread        weight_gradient(x, dy)
    ConvTranspose1d         spread        correlate     weight_gradient(dy, x)

Lengths. The k taps span d (k - 1) + 1 samples, and a span fits in this many places:

    T' = floor((T + 2p - d (k - 1) - 1) / s) + 1              transposed, with q output_padding:
    T  = (T' - 1) s - 2p + d (k - 1) + q + 1                  q = what the floor forgot

Receptive field: how many input samples one output of a stack of layers sees; each layer adds its
span, counted in samples that are already s_1 s_2 ... s_(l-1) apart (`receptive_field`):

    R = 1 + sum_l (k_l - 1) d_l prod_(m < l) s_m

Doubling d from layer to layer makes R grow exponentially while the weights grow linearly.

Causality: with all d (k - 1) zeros on the left, output t sees x up to t s and nothing later; a
stack of such layers can run while the sound is still being made.

With groups, the channels are cut into g parts that do not see each other; g = C is a filter for
each channel alone, called depthwise. What is computed is a correlation: mathematicians' convolution
runs over the taps backwards, which makes no difference to weights that are learned.

References
----------
Dumoulin & Visin (2016), A guide to convolution arithmetic for deep learning, arXiv:1603.07285,
sections 2 and 4; dilation and causality: van den Oord et al. (2016), WaveNet, arXiv:1609.03499,
section 2.1; columns: Chellapilla, Puri & Simard (2006), High performance convolutional neural
networks for document processing, section 2.

Legend: B batch, C channels in, C' channels out, T steps in, T' steps out, k kernel_size, s stride,
p padding, d dilation, g groups; Q = ceil(T / s).
"""

import math
from typing import NamedTuple

import numpy as np

from scratchaudio.errors import ConfigError, ShapeError, require_gradient, require_positive_integer
from scratchaudio.nn.init import uniform
from scratchaudio.nn.layer import Layer, Parameter

# The columns hold every sample k times. They are made for a block of outputs at a time, 4 MB of
# float32: small enough to stay in the cache until the matrix product reads them, large enough
# for the cost of a call, and of waking a second thread, not to count.
ROOM = 2**20


class Taps(NamedTuple):
    """Where the taps lie: tap j of output t reads input t stride + j dilation - left."""

    stride: int
    left: int
    dilation: int
    groups: int


# Three linear maps -------------------------------------------------------------------------------


def correlate(x, W, n_steps, taps, b=None):
    """Gather: y[o, t] = b[o] + sum_c sum_j W[o, c, j] x[c, t s + j d - left].

    Parameters
    ----------
    x : (B, C, T)
    W : (C', C / g, k)
    n_steps : T', how many outputs to compute; x counts as 0 before its beginning and behind its end
    taps : where the taps lie
    b : (C',) or None

    Returns
    -------
    (B, C', T')
    """
    y = np.empty((len(x), len(W), n_steps), np.result_type(x, W))
    kernel = _kernel(W, taps)  # (g, C'/g, C/g k)
    bias = None if b is None else b.reshape(taps.groups, -1, 1)
    x, y_grouped = _phases(_grouped(x, taps), taps), _grouped(y, taps)
    for batch, groups, time in _blocks(y_grouped, kernel):
        columns = _gather(x[batch, groups], W.shape[2], taps, time, y.dtype)
        block = y_grouped[batch, groups, :, time]
        np.matmul(kernel[groups], columns, out=block)  # (.., C'/g, C/g k) (.., C/g k, n)
        if bias is not None:
            block += bias[groups]
    return y


def spread(dy, W, n_steps, taps, b=None):
    """Transpose of `correlate`: x[c, t s + j d - left] += sum_o W[o, c, j] dy[o, t].

    Parameters
    ----------
    dy : (B, C', T')
    W : (C', C / g, k)
    n_steps : T, the length of the result; what falls outside is dropped
    taps : where the taps lie
    b : (C,) where the sum starts, or None for 0

    Returns
    -------
    (B, C, T)
    """
    n_channels, k = W.shape[1:]
    kernel = _kernel(W, taps).swapaxes(1, 2)  # (g, C/g k, C'/g)
    g, _, n_out = kernel.shape
    if taps.stride == 1 and (k == 1 or n_out <= n_channels):
        # Without stride, the transpose is a correlation too, with the taps in reverse order and
        # the channels' roles exchanged. Gathering is cheaper than adding, if rows are no more.
        exchanged = W.reshape(g, n_out, n_channels, k).swapaxes(1, 2)[..., ::-1]
        reverse = taps._replace(left=(k - 1) * taps.dilation - taps.left)
        return correlate(dy, exchanged.reshape(-1, n_out, k), n_steps, reverse, b)

    dy = _grouped(np.ascontiguousarray(dy), taps)
    shape = (len(dy), g, n_channels, taps.stride, -(-n_steps // taps.stride))
    x = np.empty(shape, np.result_type(dy, W))
    x[...] = 0 if b is None else b.reshape(g, -1, 1, 1)
    for batch, groups, time in _blocks(dy, kernel):
        columns = kernel[groups] @ dy[batch, groups, :, time]  # (.., C/g k, n)
        columns = columns.reshape(*columns.shape[:2], n_channels, k, -1)
        block = x[batch, groups]
        for j, r, here, there in _inside(taps, k, time, x.shape[-1]):
            block[..., r, there] += columns[..., j, here]
    return _interleave(x, n_steps).reshape(len(dy), -1, n_steps)


def weight_gradient(x, dy, kernel_size, taps):
    """Gradient of sum(dy correlate(x, W)): dW[o, c, j] = sum_t dy[o, t] x[c, t s + j d - left].

    Parameters
    ----------
    x : (B, C, T)
    dy : (B, C', T')
    kernel_size : k
    taps : where the taps lie

    Returns
    -------
    (C', C / g, k)
    """
    x = _phases(_grouped(x, taps), taps)
    dy = _grouped(np.ascontiguousarray(dy), taps)
    n_channels = x.shape[2]
    dW = np.zeros((taps.groups, n_channels * kernel_size, dy.shape[2]), np.result_type(x, dy))
    for batch, groups, time in _blocks(dy, dW):
        columns = _gather(x[batch, groups], kernel_size, taps, time, dW.dtype)
        product = columns @ dy[batch, groups, :, time].swapaxes(-1, -2)  # (.., C/g k, C'/g)
        dW[groups] += product.sum(axis=0)
    return dW.swapaxes(1, 2).reshape(-1, n_channels, kernel_size)


# Columns -----------------------------------------------------------------------------------------


def _grouped(x, taps):
    """(B, C, T) -> (B, g, C/g, T), a view."""
    return x.reshape(len(x), taps.groups, -1, x.shape[-1])


def _kernel(W, taps):
    """(C', C/g, k) -> one matrix for each group, (g, C'/g, C/g k)."""
    return np.ascontiguousarray(W).reshape(taps.groups, len(W) // taps.groups, -1)


def _phases(x, taps):
    """(..., T) -> (..., s, Q): row r holds samples r, r + s, r + 2s, ...

    With a stride, a tap sees every s-th sample only. Sorted like this once, these lie side by
    side, and every later copy runs at full speed. Without, it is a view.
    """
    s, T = taps.stride, x.shape[-1]
    if s == 1:
        return np.ascontiguousarray(x)[..., None, :]
    phases = np.zeros((*x.shape[:-1], s, -(-T // s)), x.dtype)
    for r in range(min(s, T)):
        phases[..., r, : len(range(r, T, s))] = x[..., r::s]
    return phases


def _interleave(phases, n_steps):
    """(..., s, Q) -> (..., T), the inverse of `_phases`."""
    s = phases.shape[-2]
    if s == 1:
        return phases
    x = np.empty((*phases.shape[:-2], n_steps), phases.dtype)
    for r in range(min(s, n_steps)):
        x[..., r::s] = phases[..., r, : len(range(r, n_steps, s))]
    return x


def _inside(taps, kernel_size, time, n_phase):
    """Yield for each tap j its phase r, which outputs of a block it serves, and where it reads.

    Tap j of output t reads sample t s + (j d - left) = (t + q) s + r: phase r, entry t + q. Outputs
    for which that is outside 0 ... n_phase - 1 read padding and are left out.
    """
    n = time.stop - time.start
    for j in range(kernel_size):
        q, r = divmod(j * taps.dilation - taps.left, taps.stride)
        first = time.start + q
        lo = max(0, -first)
        hi = max(min(n, n_phase - first), lo)
        yield j, r, slice(lo, hi), slice(first + lo, first + hi)


def _gather(phases, kernel_size, taps, time, dtype):
    """The columns of outputs `time`: (B, g, C/g, s, Q) -> (B, g, C/g k, n)."""
    B, g, C, _, n_phase = phases.shape
    if kernel_size == 1 and taps.left == 0 and time.stop <= n_phase:
        return phases[..., 0, time]  # nothing to shift, nothing to pad: x itself
    columns = np.empty((B, g, C, kernel_size, time.stop - time.start), dtype)
    for j, r, here, there in _inside(taps, kernel_size, time, n_phase):
        columns[..., j, : here.start] = 0
        columns[..., j, here] = phases[..., r, there]
        columns[..., j, here.stop :] = 0
    return columns.reshape(B, g, C * kernel_size, -1)


def _blocks(y, kernel):
    """Cut (B, g, C'/g, T') into blocks whose columns have room; yield slices of B, g and T'."""
    B, g, _, n_steps = y.shape
    size = max(kernel.shape[1:])  # of a group's column
    lengths = []
    for n in (n_steps, g, B):  # as many steps as there is room for, then as many groups, ...
        n_parts = -(-n // max(1, ROOM // size))
        lengths.append(-(-n // n_parts))  # about equal parts
        size *= lengths[-1]
    for batch in _slices(B, lengths[2]):
        for groups in _slices(g, lengths[1]):
            for time in _slices(n_steps, lengths[0]):
                yield batch, groups, time


def _slices(n, length):
    return [slice(start, min(start + length, n)) for start in range(0, n, length)]


# Layers ------------------------------------------------------------------------------------------


class Conv1d(Layer):
    """Convolution along time: (B, C, T) -> (B, C', T').

        y[o, t] = b[o] + sum_c sum_j W[o, c, j] x[c, t s + j d - p]
        T' = floor((T + 2p - d (k - 1) - 1) / s) + 1

    with c over the channels of o's group. Backward:

        dx[c, n] = sum of W[o, c, j] dy[o, t] over all o, j, t with t s + j d - p = n
        dW[o, c, j] = sum_t dy[o, t] x[c, t s + j d - p]          db[o] = sum_t dy[o, t]

    summed over the batch too. dx is what `ConvTranspose1d` computes forward, with the same W.

    Parameters
    ----------
    n_in, n_out : C and C'
    kernel_size : k, taps
    stride : s, samples from one output to the next
    padding : p, zeros at either end
    dilation : d, samples from one tap to the next
    groups : g, must divide C and C'; each part of C' sees its own part of C only
    bias : whether b is there
    causal : put all d (k - 1) zeros that keep the length on the left, none on the right, so that
        no output sees what comes later; `padding` must stay 0
    rng : seed or Generator for the initial weights, U(-a, a), a = 1 / sqrt(k C / g), as in torch
    dtype : of the parameters

    Attributes
    ----------
    W : Parameter (C', C / g, k) in torch's layout; b : Parameter (C',), or None

    Examples
    --------
    >>> layer = Conv1d(3, 5, kernel_size=4, stride=2, rng=0)
    >>> layer.forward(np.ones((2, 3, 11), np.float32)).shape
    (2, 5, 4)
    """

    def __init__(
        self,
        n_in,
        n_out,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        bias=True,
        causal=False,
        rng=None,
        dtype=np.float32,
    ):
        _require_settings(n_in, n_out, kernel_size, stride, padding, dilation, groups)
        if causal and padding:
            raise ConfigError(
                f"padding must be 0 with causal=True, which pads dilation (kernel_size - 1) on the "
                f"left, got {padding}"
            )
        span = dilation * (kernel_size - 1)
        self.n_in, self.n_out, self.kernel_size = n_in, n_out, kernel_size
        self.taps = Taps(stride, span if causal else padding, dilation, groups)
        self.padded = span if causal else 2 * padding  # zeros at both ends together
        rng = np.random.default_rng(rng)
        fan_in = n_in // groups * kernel_size
        self.W = Parameter(uniform((n_out, n_in // groups, kernel_size), fan_in, rng, dtype))
        self.b = Parameter(uniform(n_out, fan_in, rng, dtype)) if bias else None

    def output_length(self, n_steps):
        """T' of an input of T = `n_steps`; below 1 if the taps do not fit into it."""
        span = self.taps.dilation * (self.kernel_size - 1) + 1
        return (n_steps + self.padded - span) // self.taps.stride + 1

    def forward(self, x):  # (B, C, T) -> (B, C', T')
        _require_input(self, x)
        n_steps = self.output_length(x.shape[-1])
        if n_steps < 1:
            raise ShapeError(
                f"x of Conv1d is too short: {self.kernel_size} taps with dilation "
                f"{self.taps.dilation} span {self.taps.dilation * (self.kernel_size - 1) + 1} "
                f"samples, got {x.shape[-1]} and {self.padded} of padding"
            )
        b = None if self.b is None else self.b.value
        y = correlate(x, self.W.value, n_steps, self.taps, b)
        self.save_for_backward(x, n_steps)
        return y

    def backward(self, dy):  # (B, C', T') -> (B, C, T)
        x, n_steps = self.pop_saved()
        require_gradient(dy, (len(x), self.n_out, n_steps))
        self.W.grad += weight_gradient(x, dy, self.kernel_size, self.taps)
        if self.b is not None:
            self.b.grad += dy.sum(axis=(0, 2))
        return spread(dy, self.W.value, x.shape[-1], self.taps)


class ConvTranspose1d(Layer):
    """Transposed convolution along time, which makes a signal longer: (B, C, T) -> (B, C', T').

        y[o, n] = b[o] + sum of W[c, o, j] x[c, t] over all c, j, t with t s + j d - p = n
        T' = (T - 1) s - 2p + d (k - 1) + output_padding + 1

    Each input lays a copy of the kernel, scaled by its value, into the output; copies overlap and
    add, as frames do in overlap-add. It is the transpose of the matrix of a `Conv1d` from C' to C
    channels with the same settings and the very same W, not its inverse. Backward is that Conv1d:

        dx[c, t] = sum_o sum_j W[c, o, j] dy[o, t s + j d - p]
        dW[c, o, j] = sum_t x[c, t] dy[o, t s + j d - p]          db[o] = sum_n dy[o, n]

    Parameters
    ----------
    n_in, n_out : C and C'
    kernel_size : k, taps
    stride : s, by how much the signal gets longer
    padding : p, samples to cut from either end: what Conv1d had added
    output_padding : samples more at the end, below the larger of stride and dilation. Conv1d gives
        s different lengths the same T'; this says which of them is meant
    dilation : d, samples from one tap to the next
    groups : g, must divide C and C'
    bias : whether b is there
    rng : seed or Generator for the initial weights, U(-a, a), a = 1 / sqrt(k C' / g), as in torch
    dtype : of the parameters

    Attributes
    ----------
    W : Parameter (C, C' / g, k) in torch's layout; b : Parameter (C',), or None

    Examples
    --------
    >>> layer = ConvTranspose1d(5, 3, kernel_size=4, stride=2, output_padding=1, rng=0)
    >>> layer.forward(np.ones((2, 5, 4), np.float32)).shape
    (2, 3, 11)
    """

    def __init__(
        self,
        n_in,
        n_out,
        kernel_size,
        stride=1,
        padding=0,
        output_padding=0,
        dilation=1,
        groups=1,
        bias=True,
        rng=None,
        dtype=np.float32,
    ):
        _require_settings(n_in, n_out, kernel_size, stride, padding, dilation, groups)
        _require_not_negative("output_padding", output_padding)
        if output_padding >= max(stride, dilation):
            raise ConfigError(
                f"output_padding must be below the larger of stride and dilation, got "
                f"{output_padding} with stride {stride} and dilation {dilation}"
            )
        self.n_in, self.n_out, self.kernel_size = n_in, n_out, kernel_size
        self.taps = Taps(stride, padding, dilation, groups)
        self.output_padding = output_padding
        rng = np.random.default_rng(rng)
        fan = n_out // groups * kernel_size  # torch reads the fan-in from the same axes of W
        self.W = Parameter(uniform((n_in, n_out // groups, kernel_size), fan, rng, dtype))
        self.b = Parameter(uniform(n_out, fan, rng, dtype)) if bias else None

    def output_length(self, n_steps):
        """T' of an input of T = `n_steps`; below 1 if the padding cuts everything off."""
        s, p, d, _ = self.taps
        return (n_steps - 1) * s - 2 * p + d * (self.kernel_size - 1) + self.output_padding + 1

    def forward(self, x):  # (B, C, T) -> (B, C', T')
        _require_input(self, x)
        n_steps = self.output_length(x.shape[-1])
        if n_steps < 1:
            raise ShapeError(
                f"x of ConvTranspose1d is too short: of {n_steps + 2 * self.taps.left} samples "
                f"padding={self.taps.left} cuts {2 * self.taps.left}, got {x.shape[-1]} steps"
            )
        b = None if self.b is None else self.b.value
        y = spread(x, self.W.value, n_steps, self.taps, b)
        self.save_for_backward(x, n_steps)
        return y

    def backward(self, dy):  # (B, C', T') -> (B, C, T)
        x, n_steps = self.pop_saved()
        require_gradient(dy, (len(x), self.n_out, n_steps))
        self.W.grad += weight_gradient(dy, x, self.kernel_size, self.taps)
        if self.b is not None:
            self.b.grad += dy.sum(axis=(0, 2))
        return correlate(dy, self.W.value, x.shape[-1], self.taps)


def receptive_field(convolutions):
    """How many input samples one output of a stack of `Conv1d` sees, first layer first.

        R = 1 + sum_l (k_l - 1) d_l prod_(m < l) s_m

    Examples
    --------
    >>> receptive_field([Conv1d(1, 1, 2, dilation=2**i) for i in range(10)])
    1024
    """
    strides = [convolution.taps.stride for convolution in convolutions]
    return 1 + sum(
        (convolution.kernel_size - 1) * convolution.taps.dilation * math.prod(strides[:i])
        for i, convolution in enumerate(convolutions)
    )


def _require_settings(n_in, n_out, kernel_size, stride, padding, dilation, groups):
    require_positive_integer("n_in", n_in)
    require_positive_integer("n_out", n_out)
    require_positive_integer("kernel_size", kernel_size)
    require_positive_integer("stride", stride)
    _require_not_negative("padding", padding)
    require_positive_integer("dilation", dilation)
    require_positive_integer("groups", groups)
    if n_in % groups or n_out % groups:
        raise ConfigError(
            f"groups must divide n_in and n_out, got groups={groups}, n_in={n_in}, n_out={n_out}"
        )


def _require_not_negative(name, value):
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise ConfigError(f"{name} must be an integer of at least 0, got {value!r}")


def _require_input(layer, x):
    if x.ndim != 3 or x.shape[1] != layer.n_in or 0 in x.shape:
        raise ShapeError(
            f"x of {type(layer).__name__} must have shape (batch, {layer.n_in}, steps), at least "
            f"one of each, got {x.shape}"
        )
