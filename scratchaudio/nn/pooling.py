"""Pooling: one number for a window of many, so that the next layer sees further for less.

A window of k entries slides along with stride s, k unless said otherwise; of each window remains
its maximum ("was it there, wherever?") or its mean ("how much of it was there?"):

    y[t] = max_j x[t s + j]         or         y[t] = 1/k sum_j x[t s + j]          j = 0 ... k - 1

with windows of kF x kT over spectrograms. What does not fill a window at the end is dropped:

    T' = floor((T - k) / s) + 1

Backward, dy goes where y came from: to the maximum alone, or in equal parts to all of the window.
Where windows overlap (s < k), an entry is used several times, and its gradients add.

All windows are computed at once: entry j of every window is one strided view of x, so the loop runs
over the few places in a window, not over the many windows.

Legend: B batch, C channels, F x T frequencies and frames in, F' x T' out; k window, s stride.
"""

import math

import numpy as np

from scratchaudio.errors import ShapeError, require_gradient, require_positive_integer
from scratchaudio.nn.conv2d import pair
from scratchaudio.nn.layer import Layer


class Pool(Layer):
    """Base of the four layers: settings, shapes, and the views of one place in every window.

    Parameters
    ----------
    kernel_size, stride : tuples, one number for each of the axes to pool, the last ones of x
    """

    def __init__(self, kernel_size, stride):
        self.kernel_size, self.stride = kernel_size, stride

    def output_shape(self, x):
        """Shape of y; raise `ShapeError` unless a window fits into x."""
        n_axes = len(self.kernel_size)
        sizes = x.shape[2:]
        if (
            x.ndim != 2 + n_axes
            or 0 in x.shape
            or any(n < k for n, k in zip(sizes, self.kernel_size, strict=True))
        ):
            axes = ("frequencies", "frames")[-n_axes:]
            least = ", ".join(str(k) for k in self.kernel_size)
            raise ShapeError(
                f"x of {type(self).__name__} must have shape (batch, channels, {', '.join(axes)}), "
                f"at least one of each and a window ({least}) at the end, got {x.shape}"
            )
        windows = zip(sizes, self.kernel_size, self.stride, strict=True)
        return (*x.shape[:2], *((n - k) // s + 1 for n, k, s in windows))

    def places(self, x, shape):
        """Yield for each place of a window, row by row, a view of it in all windows: of `shape`."""
        for place in np.ndindex(*self.kernel_size):
            windows = zip(place, shape[2:], self.stride, strict=True)
            yield x[(..., *(slice(j, j + (n - 1) * s + 1, s) for j, n, s in windows))]


class MaxPool(Pool):
    """Maximum of each window; base of `MaxPool1d` and `MaxPool2d`.

        y = x[j*],  j* = the first place of the largest value          dx[j*] += dy

    If several are the largest, the first gets all of dy, as in torch. NaN counts as larger than
    everything: a window with one gives NaN.
    """

    def forward(self, x):
        shape = self.output_shape(x)
        first, *others = self.places(x, shape)
        y = first.copy()
        largest = np.zeros(shape, np.min_scalar_type(len(others)))  # j*, which place it is
        for place, view in enumerate(others, 1):
            view = view.copy()  # side by side: it is read several times
            larger = (view > y) | (view != view)  # NaN alone differs from itself
            # Places come in rising order, so the latest is the maximum; no branches, so fast.
            np.maximum(largest, larger * largest.dtype.type(place), out=largest)
            np.maximum(y, view, out=y)  # NaN, once there, stays
        self.save_for_backward(largest, x.shape)
        return y

    def backward(self, dy):
        largest, shape = self.pop_saved()
        require_gradient(dy, largest.shape)
        dx = np.zeros(shape, dy.dtype)
        for place, view in enumerate(self.places(dx, dy.shape)):
            view += dy * (largest == place)  # += : windows may overlap
        return dx


class AvgPool(Pool):
    """Mean of each window; base of `AvgPool1d` and `AvgPool2d`.

    y = 1/k sum_j x[j]             dx[j] += dy / k             k entries in a window
    """

    def forward(self, x):
        shape = self.output_shape(x)
        first, *others = self.places(x, shape)
        y = first.copy()
        for view in others:
            y += view
        self.save_for_backward(x.shape, shape)
        return y / math.prod(self.kernel_size)

    def backward(self, dy):
        x_shape, shape = self.pop_saved()
        require_gradient(dy, shape)
        dx = np.zeros(x_shape, dy.dtype)
        share = dy / math.prod(self.kernel_size)
        for view in self.places(dx, shape):
            view += share  # += : windows may overlap
        return dx


class MaxPool1d(MaxPool):
    """Maximum over windows of time: (B, C, T) -> (B, C, T'); the derivative is in `MaxPool`.

    Parameters
    ----------
    kernel_size : k, steps of a window
    stride : s, steps from one window to the next; None: kernel_size

    Examples
    --------
    >>> MaxPool1d(2).forward(np.array([[[1.0, 3.0, 2.0, 5.0, 9.0]]]))
    array([[[3., 5.]]])
    """

    def __init__(self, kernel_size, stride=None):
        super().__init__(*_of_time(kernel_size, stride))


class AvgPool1d(AvgPool):
    """Mean over windows of time: (B, C, T) -> (B, C, T'); the derivative is in `AvgPool`.

    Parameters
    ----------
    kernel_size : k, steps of a window
    stride : s, steps from one window to the next; None: kernel_size

    Examples
    --------
    >>> AvgPool1d(2).forward(np.array([[[1.0, 3.0, 2.0, 5.0, 9.0]]]))
    array([[[2. , 3.5]]])
    """

    def __init__(self, kernel_size, stride=None):
        super().__init__(*_of_time(kernel_size, stride))


class MaxPool2d(MaxPool):
    """Maximum over windows of a spectrogram: (B, C, F, T) -> (B, C, F', T'); see `MaxPool`.

    Parameters
    ----------
    kernel_size : of a window, an integer or a pair (frequency, time)
    stride : from one window to the next, likewise; None: kernel_size

    Examples
    --------
    >>> MaxPool2d((2, 1)).forward(np.ones((3, 4, 65, 7))).shape
    (3, 4, 32, 7)
    """

    def __init__(self, kernel_size, stride=None):
        super().__init__(*_of_both(kernel_size, stride))


class AvgPool2d(AvgPool):
    """Mean over windows of a spectrogram: (B, C, F, T) -> (B, C, F', T'); see `AvgPool`.

    Parameters
    ----------
    kernel_size : of a window, an integer or a pair (frequency, time)
    stride : from one window to the next, likewise; None: kernel_size

    Examples
    --------
    >>> AvgPool2d(3, stride=2).forward(np.ones((3, 4, 65, 7))).shape
    (3, 4, 32, 3)
    """

    def __init__(self, kernel_size, stride=None):
        super().__init__(*_of_both(kernel_size, stride))


def _of_time(kernel_size, stride):
    """Checked kernel_size and stride of one axis, as tuples of one."""
    stride = kernel_size if stride is None else stride
    require_positive_integer("kernel_size", kernel_size)
    require_positive_integer("stride", stride)
    return (kernel_size,), (stride,)


def _of_both(kernel_size, stride):
    """Checked kernel_size and stride of two axes, as pairs."""
    kernel_size = pair("kernel_size", kernel_size)
    return kernel_size, kernel_size if stride is None else pair("stride", stride)
