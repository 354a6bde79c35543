"""Phase shuffle: take from a discriminator of waveforms a clue that is not about sound.

Transposed convolutions with a stride leave a faint pattern, repeated every stride samples, at an
always equal phase: an artefact that a discriminator finds at once, and learns instead of sound. If
each of its layers sees its input moved by a random few steps, the phase says nothing any more.

    y[c, t] = x[c, t - s]          s ~ U{-r, ..., r}

What would come from beyond the ends is reflected there: x[-1] = x[1], x[T] = x[T - 2]. Each step
of the result so comes from one step of x; steps near an end may be used twice, and others not at
all. Backward is the transpose, which hands each gradient back to where the step came from: used
twice -> gradients add.

Legend: B batch, C channels, T steps, r radius, s shift.

Reference: Donahue, McAuley & Puckette (2019), Adversarial audio synthesis, ICLR, section 3.3.
"""

import copy

import numpy as np

from scratchaudio.errors import ShapeError, require_gradient, require_positive_integer
from scratchaudio.nn.layer import Layer


class PhaseShuffle(Layer):
    """Move each example by a random number of steps: (B, C, T) -> (B, C, T), in training only.

    x is continued by r reflected steps at either end, and T steps are cut out, s before the middle:

        padded = [x[r], ..., x[1],  x[0], ..., x[T - 1],  x[T - 2], ..., x[T - 1 - r]]
        y = padded[r - s : r - s + T]

    Backward does the same in reverse: dy is put back between zeros, and the ends are folded in,
    dx[1 ... r] += reversed(left end), dx[T - 1 - r ... T - 2] += reversed(right end).

    Parameters
    ----------
    radius : r; below T
    shared : draw one shift for the whole batch, as the authors' code does, not one for each example
    rng : seed or Generator of the shifts
    """

    def __init__(self, radius=2, shared=False, rng=None):
        require_positive_integer("radius", radius)
        self.radius, self.shared = radius, shared
        self.rng = np.random.default_rng(rng)
        self.held = None  # shifts that are not drawn, in the tangent

    def forward(self, x):
        r, T = self.radius, x.shape[-1]
        if x.ndim != 3 or r >= T:
            raise ShapeError(
                f"x of PhaseShuffle must have shape (batch, channels, steps), more steps than the "
                f"radius {r}, got {x.shape}"
            )
        if not self.training:
            return x.copy()
        shifts = self._shifts(len(x)) if self.held is None else self.held
        padded = np.empty((*x.shape[:2], T + 2 * r), x.dtype)
        padded[..., r : r + T] = x
        padded[..., :r] = x[..., 1 : r + 1][..., ::-1]
        padded[..., r + T :] = x[..., T - 1 - r : T - 1][..., ::-1]
        y = np.empty_like(x)
        for b, s in enumerate(shifts):
            y[b] = padded[b, :, r - s : r - s + T]
        self.save_for_backward(shifts, x.shape)
        return y

    def backward(self, dy):
        shifts, shape = self.pop_saved()
        require_gradient(dy, shape)
        r, T = self.radius, dy.shape[-1]
        dpadded = np.zeros((*dy.shape[:2], T + 2 * r), dy.dtype)
        for b, s in enumerate(shifts):
            dpadded[b, :, r - s : r - s + T] = dy[b]
        dx = dpadded[..., r : r + T].copy()
        dx[..., 1 : r + 1] += dpadded[..., :r][..., ::-1]
        dx[..., T - 1 - r : T - 1] += dpadded[..., r + T :][..., ::-1]
        return dx

    def tangent(self):
        """The layer with the shifts of its last forward, for `gradient_penalty.tangent`."""
        shifts, shape = self.pop_saved()
        self.save_for_backward(shifts, shape)
        tangent = copy.copy(self)
        tangent.held = shifts
        return tangent

    def _shifts(self, B):
        """Draw s for each example: a list of B integers."""
        n = 1 if self.shared else B
        shifts = self.rng.integers(-self.radius, self.radius + 1, n)
        return shifts.tolist() * (B // n)
