"""Convolution over frequency and time: one small picture, looked for everywhere in a spectrogram.

What `conv1d` does along time is done along two axes. Output (f, t) is a weighted sum of kF x kT
entries ("taps") near (f, t), over all input channels c:

    y[o, f, t] = b[o] + sum_c sum_i sum_j W[o, c, i, j] x[c, f s + i d - p, t s + j d - p]

with a stride s, a dilation d and a padding p of zeros for each axis; x is 0 outside. All of it is
linear, and a linear map has one transpose. So three small functions make two layers, and backward
of the one *is* forward of the other, with the very same W:

                            forward       dx            dW
    Conv2d                  correlate     spread        weight_gradient(x, dy)
    ConvTranspose2d         spread        correlate     weight_gradient(dy, x)

`correlate` gathers what each output needs; `spread`, its transpose, hands each value of dy back to
all places that it came from: x[c, f s + i d - p, t s + j d - p] += W[o, c, i, j] dy[o, f, t].

How it is computed. Stacking all kF kT shifted copies of x as rows of one matrix (im2col, as in
`conv1d`) makes y one matrix product, but copies x kF kT times. Here only the kT shifts along *time*
are copied. A shift along *frequency* needs no copy: an image is stored row after row, so the image
that begins q rows further down is the same memory, read from q T' numbers further on. It can
wait until the products are added up:

    y = sum_i (W[:, :, i, :] columns)[:, q_i T' :]         (C', C kT) (C kT, F T'), cut to F' T'

With a stride s, tap i of output f reads row f s + i d - p. Let q_i, r_i be quotient and remainder
of i d / s: then it reads entry f + q_i of every s-th row from row r_i - p on. So the rows are
sorted into s *phases*, and within a phase each tap is a shift again.

The images of a batch are strung together into one tall image, so that small images make one large
product too. Between two of them lie rows in which taps reach from one into the next: they are
computed like all others, and dropped.

`spread` is done in the same way, from shifted copies of dy. With a stride it computes s^2 phases of
x, one for each pair of remainders, each a correlation without stride of dy with the taps that have
these remainders, and interleaves them. The phases of time come from one product: their kernels lie
one below the other.

Legend: B batch, C channels in, C' channels out, F x T frequencies and frames in, F' x T' out,
kF x kT kernel_size, g groups; R rows of an image in the string, n images in a block.

References
----------
Dumoulin & Visin (2016), A guide to convolution arithmetic for deep learning, arXiv:1603.07285,
section 4; columns along one axis ("compact lowering"): Cho & Brand (2017), MEC: memory-efficient
convolution for deep neural network, ICML, arXiv:1706.06873.
"""

from typing import NamedTuple

import numpy as np

from scratchaudio.errors import ConfigError, ShapeError, require_gradient, require_positive_integer
from scratchaudio.nn.init import uniform
from scratchaudio.nn.layer import Layer, Parameter

# Columns are made for as many images at a time as fit into this many numbers, 16 MB of float32:
# much memory is slow to get (see `memory`), and many small products are slow on two threads.
ROOM = 2**22


class Grid(NamedTuple):
    """Where the taps lie: tap i of output f reads f stride + i dilation - padding, on either axis.

    The first three are pairs (frequency, time).
    """

    stride: tuple
    padding: tuple
    dilation: tuple
    groups: int


# Three linear maps -------------------------------------------------------------------------------


def correlate(x, W, size, grid, b=None):
    """Gather: y[o, f, t] = b[o] + sum_c,i,j W[o, c, i, j] x[c, f s + i d - p, t s + j d - p].

    Parameters
    ----------
    x : (B, C, F, T), 0 outside
    W : (C', C / g, kF, kT)
    size : (F', T'), how many outputs to compute
    grid : where the taps lie
    b : (C',) or None

    Returns
    -------
    (B, C', F', T')
    """
    n_out, n_channels, kF, kT = W.shape
    g, taps = grid.groups, _taps(kF, grid, 0)
    kernels = np.ascontiguousarray(W.transpose(2, 0, 1, 3))
    kernels = kernels.reshape(kF, g, n_out // g, n_channels * kT)
    y = np.empty((len(x), g, n_out // g, *size), np.result_type(x, W))
    for batch, columns in _columns_of_input(x, size, grid, kernels):
        images = _sum_of_taps(kernels, columns, taps)  # (g, C'/g, n, R, T')
        y[batch] = images[..., : size[0], :].transpose(2, 0, 1, 3, 4)
    return _with_bias(y.reshape(len(x), n_out, *size), b)


def spread(dy, W, size, grid, b=None):
    """Transpose of `correlate`, which hands back what that had gathered.

    x[c, f s + i d - p, t s + j d - p] += sum_o W[o, c, i, j] dy[o, f, t]   for all f, t, i, j

    Parameters
    ----------
    dy : (B, C', F', T')
    W : (C', C / g, kF, kT)
    size : (F, T) of the result; what falls outside is dropped
    grid : where the taps lie
    b : (C,) where the sum starts, or None for 0

    Returns
    -------
    (B, C, F, T)
    """
    g, (sF, sT), (pF, pT) = grid.groups, grid.stride, grid.padding
    n_channels, taps = W.shape[1], _taps(W.shape[2], grid, 0)
    kernels, shifts = _kernels_of_phases(W, grid)  # (kF, g, sT C/g, C'/g m)
    x = np.empty((len(dy), g, n_channels, *size), np.result_type(dy, W))

    # Entry n of phase r is x[n s + r - p], and tap (q, r) brings dy[n - q] there.
    n_rows, n_frames = -(-(pF + size[0]) // sF), -(-(pT + size[1]) // sT)
    last = taps[-1][0]
    sources = [(dy, -q) for q in shifts]
    for batch, columns in _columns(sources, g, [-last], 1, (n_rows + last, n_frames), kernels):
        for r_F in range(sF):
            mine = [i for i, (_, r) in enumerate(taps) if r == r_F]
            images = _sum_of_taps(kernels[mine], columns, [(last - taps[i][0], 0) for i in mine])
            images = images.reshape(g, sT, n_channels, *images.shape[2:])  # (g, sT, C/g, n, R, .)
            for r_T in range(sT):
                f, f_x = _inside(r_F - pF, sF, n_rows, size[0])
                t, t_x = _inside(r_T - pT, sT, n_frames, size[1])
                x[batch, ..., f_x, t_x] = images[:, r_T, ..., f, t].transpose(2, 0, 1, 3, 4)
    return _with_bias(x.reshape(len(dy), g * n_channels, *size), b)


def weight_gradient(x, dy, kernel_size, grid):
    """Gradient of sum(dy correlate(x, W)) with respect to W.

    dW[o, c, i, j] = sum_f,t dy[o, f, t] x[c, f s + i d - p, t s + j d - p], summed over the batch.

    Parameters
    ----------
    x : (B, C, F, T)
    dy : (B, C', F', T')
    kernel_size : (kF, kT)
    grid : where the taps lie

    Returns
    -------
    (C', C / g, kF, kT)
    """
    (n_out, *size), g, (kF, kT) = dy.shape[1:], grid.groups, kernel_size
    n_channels, taps = x.shape[1] // g, _taps(kF, grid, 0)
    dW = np.zeros((kF, g, n_channels * kT, n_out // g), np.result_type(x, dy))
    for batch, columns in _columns_of_input(x, size, grid, dW.swapaxes(2, 3)):
        # dy strung together likewise, 0 in the rows between: these must not count.
        rows = _gather([(_grouped(dy[batch], g), 0)], [0], 1, columns.shape[-2:])
        rows = rows.reshape(g, n_out // g, -1).swapaxes(1, 2)  # (g, n R T', C'/g)
        columns = columns.reshape(*columns.shape[:3], -1)  # (g, C/g kT, sF, n R T')
        N = columns.shape[-1] - taps[-1][0] * size[1]
        for dW_i, (q, r) in zip(dW, taps, strict=True):
            start = q * size[1]
            dW_i += columns[:, :, r, start : start + N] @ rows[:, :N]
    dW = dW.reshape(kF, g, n_channels, kT, n_out // g)
    return dW.transpose(1, 4, 2, 0, 3).reshape(n_out, n_channels, kF, kT)


# Columns and taps --------------------------------------------------------------------------------


def _taps(kernel_size, grid, axis):
    """For each tap (q, r): it reads entry f + q of phase r."""
    return [divmod(i * grid.dilation[axis], grid.stride[axis]) for i in range(kernel_size)]


def _grouped(x, g):
    """(B, C, F, T) -> (B, g, C/g, F, T)."""
    return x.reshape(len(x), g, x.shape[1] // g, *x.shape[2:])


def _with_bias(y, b):
    if b is not None:
        y += b[:, None, None]
    return y


def _kernels_of_phases(W, grid):
    """What `spread` multiplies dy with: (kF, g, sT C/g, C'/g m), and the m shifts along time.

    Below each other the kernels of the sT phases of time, each with a weight for every one of the
    m different shifts q of dy. Where a phase has no tap with a shift, the weight is 0.
    """
    (n_out, n_channels, kF, kT), g = W.shape, grid.groups
    time = _taps(kT, grid, 1)
    shifts = sorted({q for q, _ in time})
    shape = (kF, g, grid.stride[1], n_channels, n_out // g, len(shifts))
    kernels = np.zeros(shape, W.dtype)
    W = W.reshape(g, n_out // g, n_channels, kF, kT)
    for j, (q, r) in enumerate(time):
        kernels[:, :, r, :, :, shifts.index(q)] = W[..., j].transpose(3, 0, 2, 1)
    return kernels.reshape(kF, g, grid.stride[1] * n_channels, -1), shifts


def _columns_of_input(x, size, grid, kernels):
    """Yield slices of the batch and the columns that all taps of `correlate` read."""
    (sF, sT), (pF, pT), (_, dT), g = grid
    kF, kT = len(kernels), kernels.shape[-1] * g // x.shape[1]
    last = _taps(kF, grid, 0)[-1][0]
    # The phases of time side by side: each is copied several times, at full speed only so.
    phases = [np.ascontiguousarray(x[..., r::sT]) for r in range(sT)]
    taps = (divmod(j * dT - pT, sT) for j in range(kT))
    sources = [(phases[r], q) for q, r in taps]
    rows = [r - pF for r in range(sF)]
    return _columns(sources, g, rows, sF, (size[0] + last, size[1]), kernels)


def _columns(sources, g, rows, stride, shape, kernels):
    """Yield slices of the batch and their columns, see `_gather`: as many images as have room.

    Room is needed for the columns, and for what all `kernels` (kF, g, M, C m) make of them.
    """
    kF, _, M, width = kernels.shape
    n_numbers = g * max(width * len(rows), kF * M) * shape[0] * shape[1]
    n_images = max(1, ROOM // n_numbers)
    sources = [(_grouped(x, g), start) for x, start in sources]
    for first in range(0, len(sources[0][0]), n_images):
        batch = slice(first, first + n_images)
        yield batch, _gather([(x[batch], start) for x, start in sources], rows, stride, shape)


def _gather(sources, rows, stride, shape):
    """Shifted copies of images: (g, C m, phases, n, R, T').

    Entry (c j, r, f, t) is x[c, rows[r] + f stride, start + t], or 0 outside, of the j-th of the m
    sources (x, start); each x is (n, g, C, F, T).
    """
    n, g, C, F, _ = sources[0][0].shape
    columns = np.empty((g, C, len(sources), len(rows), n, *shape), sources[0][0].dtype)
    for r, row in enumerate(rows):
        f, f_x = _inside(row, stride, shape[0], F)
        columns[:, :, :, r, :, : f.start] = 0
        columns[:, :, :, r, :, f.stop :] = 0
        for j, (x, start) in enumerate(sources):
            t, t_x = _inside(start, 1, shape[1], x.shape[-1])
            columns[:, :, j, r, :, f, : t.start] = 0
            columns[:, :, j, r, :, f, t] = x[..., f_x, t_x].transpose(1, 2, 0, 3, 4)
            columns[:, :, j, r, :, f, t.stop :] = 0
    return columns.reshape(g, -1, len(rows), n, *shape)


def _inside(start, stride, n, size):
    """Those of 0 ... n - 1 for which 0 <= start + stride i < size, and these places: two slices."""
    lo = min(max(0, -(start // stride)), n)
    hi = max(lo, min(n, -((start - size) // stride)))
    if lo == hi:
        return slice(lo, hi), slice(0, 0)
    return slice(lo, hi), slice(start + stride * lo, start + stride * (hi - 1) + 1, stride)


def _sum_of_taps(kernels, columns, taps):
    """Sum over taps of kernel times shifted columns: (kF, g, M, C m) -> (g, M, n, R, T').

    The rows that are dropped later, at the end of each image, hold anything.
    """
    g, M = kernels.shape[1:3]
    n, R, T = columns.shape[-3:]
    flat = columns.reshape(*columns.shape[:3], -1)  # (g, C m, phases, n R T')
    total = np.zeros((g, M, n * R * T), np.result_type(kernels, columns))
    N = total.shape[-1] - max((q for q, _ in taps), default=0) * T
    for phase in sorted({r for _, r in taps}):
        # One product for all taps of a phase, their kernels below each other.
        mine = [i for i, (_, r) in enumerate(taps) if r == phase]
        stacked = kernels[mine].swapaxes(0, 1).reshape(g, len(mine) * M, -1)
        products = (stacked @ flat[:, :, phase]).reshape(g, len(mine), M, -1)
        for k, i in enumerate(mine):
            start = taps[i][0] * T
            total[..., :N] += products[:, k, :, start : start + N]
    return total.reshape(g, M, n, R, T)


# Layers ------------------------------------------------------------------------------------------


class Conv2d(Layer):
    """Convolution over frequency and time: (B, C, F, T) -> (B, C', F', T').

        y[o, f, t] = b[o] + sum_c sum_i sum_j W[o, c, i, j] x[c, f s + i d - p, t s + j d - p]
        F' = floor((F + 2p - d (kF - 1) - 1) / s) + 1               T' likewise

    with c over the channels of o's group. Backward:

        dx[c, u, v] = sum of W[o, c, i, j] dy[o, f, t]
                      over all o, i, j, f, t with f s + i d - p = u and t s + j d - p = v
        dW[o, c, i, j] = sum_f sum_t dy[o, f, t] x[c, f s + i d - p, t s + j d - p]
        db[o] = sum_f sum_t dy[o, f, t]

    summed over the batch too. dx is what `ConvTranspose2d` computes forward, with the same W.

    Parameters
    ----------
    n_in, n_out : C and C'
    kernel_size : taps; this and the next three are integers, or pairs (frequency, time)
    stride : s, entries from one output to the next
    padding : p, zeros at either end
    dilation : d, entries from one tap to the next
    groups : g, must divide C and C'; each part of C' sees its own part of C only
    bias : whether b is there
    rng : seed or Generator for the initial weights, U(-a, a), a = 1 / sqrt(kF kT C / g), as in
        torch
    dtype : of the parameters

    Attributes
    ----------
    W : Parameter (C', C / g, kF, kT) in torch's layout; b : Parameter (C',), or None

    Examples
    --------
    >>> layer = Conv2d(3, 5, kernel_size=(5, 3), stride=(2, 1), padding=(2, 1), rng=0)
    >>> layer.forward(np.ones((2, 3, 64, 11), np.float32)).shape
    (2, 5, 32, 11)
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
        rng=None,
        dtype=np.float32,
    ):
        self.kernel_size, self.grid = _checked(
            n_in, n_out, kernel_size, stride, padding, dilation, groups
        )
        self.n_in, self.n_out = n_in, n_out
        rng = np.random.default_rng(rng)
        shape = (n_out, n_in // groups, *self.kernel_size)
        fan_in = shape[1] * shape[2] * shape[3]
        self.W = Parameter(uniform(shape, fan_in, rng, dtype))
        self.b = Parameter(uniform(n_out, fan_in, rng, dtype)) if bias else None

    def output_size(self, size):
        """(F', T') of an input of (F, T); below 1 where the taps do not fit into it."""
        s, p, d, _ = self.grid
        return tuple(
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(size, self.kernel_size, s, p, d, strict=True)
        )

    def forward(self, x):  # (B, C, F, T) -> (B, C', F', T')
        _require_input(self, x)
        size = self.output_size(x.shape[2:])
        if min(size) < 1:
            raise ShapeError(
                f"x of Conv2d is too small: {self.kernel_size} taps with dilation "
                f"{self.grid.dilation} do not fit into {x.shape[2:]} with padding "
                f"{self.grid.padding}"
            )
        y = correlate(x, self.W.value, size, self.grid, _value(self.b))
        self.save_for_backward(x, y.shape)
        return y

    def backward(self, dy):  # (B, C', F', T') -> (B, C, F, T)
        x, shape = self.pop_saved()
        require_gradient(dy, shape)
        self.W.grad += weight_gradient(x, dy, self.kernel_size, self.grid)
        if self.b is not None:
            self.b.grad += dy.sum(axis=(0, 2, 3))
        return spread(dy, self.W.value, x.shape[2:], self.grid)


class ConvTranspose2d(Layer):
    """Transposed convolution, which makes an image larger: (B, C, F, T) -> (B, C', F', T').

        y[o, u, v] = b[o] + sum of W[c, o, i, j] x[c, f, t]
                     over all c, i, j, f, t with f s + i d - p = u and t s + j d - p = v
        F' = (F - 1) s - 2p + d (kF - 1) + output_padding + 1       T' likewise

    Each input lays a copy of the kernel, scaled by its value, into the output; copies overlap and
    add. It is the transpose of the matrix of a `Conv2d` from C' to C channels with the same
    settings and the very same W, not its inverse. Backward is that Conv2d:

        dx[c, f, t] = sum_o sum_i sum_j W[c, o, i, j] dy[o, f s + i d - p, t s + j d - p]
        dW[c, o, i, j] = sum_f sum_t x[c, f, t] dy[o, f s + i d - p, t s + j d - p]
        db[o] = sum_u sum_v dy[o, u, v]

    Parameters
    ----------
    n_in, n_out : C and C'
    kernel_size : taps; this and the next four are integers, or pairs (frequency, time)
    stride : s, by how much the image gets larger
    padding : p, entries to cut from either end: what Conv2d had added
    output_padding : entries more at the end, below the larger of stride and dilation. Conv2d gives
        s different sizes the same F'; this says which of them is meant
    dilation : d, entries from one tap to the next
    groups : g, must divide C and C'
    bias : whether b is there
    rng : seed or Generator for the initial weights, U(-a, a), a = 1 / sqrt(kF kT C' / g), as in
        torch
    dtype : of the parameters

    Attributes
    ----------
    W : Parameter (C, C' / g, kF, kT) in torch's layout; b : Parameter (C',), or None

    Examples
    --------
    >>> layer = ConvTranspose2d(5, 3, 5, stride=2, padding=2, output_padding=1, rng=0)
    >>> layer.forward(np.ones((2, 5, 32, 11), np.float32)).shape
    (2, 3, 64, 22)
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
        self.kernel_size, self.grid = _checked(
            n_in, n_out, kernel_size, stride, padding, dilation, groups
        )
        self.output_padding = pair("output_padding", output_padding, 0)
        for q, s, d in zip(self.output_padding, self.grid.stride, self.grid.dilation, strict=True):
            if q >= max(s, d):
                raise ConfigError(
                    f"output_padding must be below the larger of stride and dilation, got "
                    f"{self.output_padding} with stride {self.grid.stride} and dilation "
                    f"{self.grid.dilation}"
                )
        self.n_in, self.n_out = n_in, n_out
        rng = np.random.default_rng(rng)
        shape = (n_in, n_out // groups, *self.kernel_size)
        fan = shape[1] * shape[2] * shape[3]  # torch reads the fan-in from the same axes of W
        self.W = Parameter(uniform(shape, fan, rng, dtype))
        self.b = Parameter(uniform(n_out, fan, rng, dtype)) if bias else None

    def output_size(self, size):
        """(F', T') of an input of (F, T); below 1 where the padding cuts everything off."""
        s, p, d, _ = self.grid
        return tuple(
            (n - 1) * s - 2 * p + d * (k - 1) + q + 1
            for n, k, s, p, d, q in zip(
                size, self.kernel_size, s, p, d, self.output_padding, strict=True
            )
        )

    def forward(self, x):  # (B, C, F, T) -> (B, C', F', T')
        _require_input(self, x)
        size = self.output_size(x.shape[2:])
        if min(size) < 1:
            raise ShapeError(
                f"x of ConvTranspose2d is too small: padding {self.grid.padding} cuts all of its "
                f"output off at either end, got {x.shape[2:]}"
            )
        y = spread(x, self.W.value, size, self.grid, _value(self.b))
        self.save_for_backward(x, y.shape)
        return y

    def backward(self, dy):  # (B, C', F', T') -> (B, C, F, T)
        x, shape = self.pop_saved()
        require_gradient(dy, shape)
        self.W.grad += weight_gradient(dy, x, self.kernel_size, self.grid)
        if self.b is not None:
            self.b.grad += dy.sum(axis=(0, 2, 3))
        return correlate(dy, self.W.value, x.shape[2:], self.grid)


def pair(name, value, least=1):
    """Return a setting as (frequency, time); raise `ConfigError` if one is below `least`."""
    values = value if isinstance(value, tuple | list) else (value, value)
    if len(values) != 2 or not all(
        isinstance(v, int | np.integer) and not isinstance(v, bool) and v >= least for v in values
    ):
        raise ConfigError(
            f"{name} must be an integer of at least {least}, or a pair of them "
            f"(frequency, time), got {value!r}"
        )
    return tuple(values)


def _checked(n_in, n_out, kernel_size, stride, padding, dilation, groups):
    """Return kernel_size as a pair, and the Grid; raise `ConfigError` unless all is possible."""
    require_positive_integer("n_in", n_in)
    require_positive_integer("n_out", n_out)
    require_positive_integer("groups", groups)
    if n_in % groups or n_out % groups:
        raise ConfigError(
            f"groups must divide n_in and n_out, got groups={groups}, n_in={n_in}, n_out={n_out}"
        )
    grid = Grid(
        pair("stride", stride), pair("padding", padding, 0), pair("dilation", dilation), groups
    )
    return pair("kernel_size", kernel_size), grid


def _value(b):
    return None if b is None else b.value


def _require_input(layer, x):
    if x.ndim != 4 or x.shape[1] != layer.n_in or 0 in x.shape:
        raise ShapeError(
            f"x of {type(layer).__name__} must have shape (batch, {layer.n_in}, frequencies, "
            f"frames), at least one of each, got {x.shape}"
        )
