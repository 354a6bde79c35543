"""Reparametrisation: train other numbers than the weights, and compute the weights from them.

A layer with a weight W is wrapped by a layer that owns what is trained and makes W from it before
each forward. Backward turns dW into the gradients of what is trained, by the chain rule; to the
layer inside nothing changes.

    WeightNorm      W = g v / |v|           length and direction of each output's weights apart
    SpectralNorm    W' = W / sigma(W)       no input is stretched by more than 1

With weight normalisation an optimiser can turn the weights of an output without making them longer,
and the reverse; it takes the place of batch normalisation where examples must not see each other.
Spectral normalisation bounds how fast a network can change with its input, and keeps the
discriminator of a generative adversarial network from running away.

The layer inside holds its weight as a `Derived`, which is no Parameter: no optimiser finds it,
nothing saves it, and its gradient lives only during one backward.

`axis` is the axis of W that counts the outputs; the weights of one output are all the rest:

    Linear (D, H)                                       axis=1
    Conv1d (C', C / g, k), Conv2d (C', C / g, k, k)     axis=0
    ConvTranspose1d, ConvTranspose2d (C, C' / g, ...)   axis=1, with g = 1

(With groups, axis 1 of a transposed convolution's W counts the outputs within a group, and outputs
at the same place of each group share one norm.)

Legend: O outputs, I weights of one output; W is (O, I) once `axis` is brought to the front and
all other axes are laid in a row.
"""

import math

import numpy as np

from scratchaudio.errors import ConfigError
from scratchaudio.nn.layer import Buffer, Layer, Parameter


class Derived:
    """A weight that is computed from parameters: has `value` and `grad`, but is not trained."""

    def __init__(self, value):
        self.value = value
        self.grad = None  # there only while the layer that holds it runs backward


class Reparametrized(Layer):
    """Base of the wrappers, which make W in `weight` and take dW apart in `weight_backward`.

    Parameters
    ----------
    layer : a Layer with a Parameter W of at least two axes. It is changed: its W becomes a
        `Derived`, and it must not be used any more but through the wrapper
    axis : the axis of W that counts the outputs, see above
    """

    def __init__(self, layer, axis=0):
        W = getattr(layer, "W", None)
        if not isinstance(layer, Layer) or not isinstance(W, Parameter) or W.value.ndim < 2:
            raise ConfigError(
                f"layer of {type(self).__name__} must be a Layer with a Parameter W of at least "
                f"two axes, got a {type(layer).__name__}"
            )
        if type(axis) is not int or not 0 <= axis < W.value.ndim:
            raise ConfigError(
                f"axis must be the axis of W that counts the outputs, 0..{W.value.ndim - 1} for a "
                f"W of shape {W.value.shape}, got {axis!r}"
            )
        self.axis = axis
        self.layer = layer

    def forward(self, x):  # as the layer's
        self.layer.W.value, saved = self.weight()
        y = self.layer.forward(x)
        self.save_for_backward(*saved)
        return y

    def backward(self, dy):
        saved = self.pop_saved()
        W = self.layer.W
        W.grad = np.zeros_like(W.value)
        dx = self.layer.backward(dy)
        self.weight_backward(W.grad, *saved)
        W.grad = None
        return dx

    def weight(self):
        """Return W and a tuple of what `weight_backward` needs."""
        raise NotImplementedError(f"{type(self).__name__} has no weight yet")

    def weight_backward(self, dW, *saved):
        """Add to the gradients of the parameters that W is made of."""
        raise NotImplementedError(f"{type(self).__name__} has no weight_backward yet")


class WeightNorm(Reparametrized):
    """Weight normalisation: the weights of output o are g_o v_o / |v_o|.

    The length of each output's weights is a parameter of its own, g_o; of v_o only the direction
    counts. At first g_o = |v_o|, so that W is what it was.

    Backward, with the unit vector e_o = v_o / |v_o| and sums over the weights of o:

        dg_o = sum dW_o e_o
        dv_o = g_o / |v_o| (dW_o - e_o dg_o)

    The second one takes from dW what it has along v: a longer v changes nothing. So dv is at a
    right angle to v, and every step of plain gradient descent makes v longer, never shorter.

    Parameters
    ----------
    layer : Layer with a Parameter W, which is replaced
    axis : the axis of W that counts the outputs: 0 for Conv1d and Conv2d, 1 for Linear and
        transposed convolutions

    Attributes
    ----------
    g : Parameter (O,); v : Parameter of W's shape
    layer : the layer inside, whose other parameters (bias) are trained as before

    References
    ----------
    Salimans & Kingma (2016), Weight normalization: a simple reparameterization to accelerate
    training of deep neural networks, NeurIPS, eq. 2 and 3.

    Examples
    --------
    >>> from scratchaudio.nn.linear import Linear
    >>> layer = WeightNorm(Linear(3, 5, rng=0), axis=1)
    >>> [(name, p.value.shape) for name, p in layer.named_parameters()]
    [('g', (5,)), ('v', (3, 5)), ('layer.b', (5,))]
    """

    def __init__(self, layer, axis=0):
        super().__init__(layer, axis)
        v = layer.W.value
        norm = np.sqrt(self._sum(v * v))
        if not norm.all():
            raise ConfigError(
                f"W of {type(layer).__name__} has an output (axis {axis}) with weights that are "
                f"all 0: they have no direction"
            )
        self.g = Parameter(norm.reshape(-1))
        self.v = Parameter(v)
        layer.W = Derived(v)

    def weight(self):
        v = self.v.value
        norm = np.sqrt(self._sum(v * v))  # (O,) with axes of size 1 for the others
        e = v / norm
        return e * self.g.value.reshape(norm.shape), (e, norm)

    def weight_backward(self, dW, e, norm):
        dg = self._sum(dW * e)
        self.g.grad += dg.reshape(-1)
        self.v.grad += self.g.value.reshape(norm.shape) / norm * (dW - e * dg)

    def _sum(self, W):
        """Sum over the weights of each output; the axes stay, with size 1."""
        others = tuple(n for n in range(W.ndim) if n != self.axis)
        return W.sum(axis=others, keepdims=True)


class SpectralNorm(Reparametrized):
    """Spectral normalisation: the weight is W / sigma, sigma the largest singular value of W.

    sigma is how much W stretches the input that it stretches most, v, whose image points along u:

        sigma = max |W v| = u^T W v        over |v| = |u| = 1

    An exact decomposition at every step would be slow. But W moves little in a step, so that u and
    v of the step before are almost right, and a round of power iteration brings them up to date:

        u <- W v / |W v|        v <- W^T u / |W^T u|        in training only

    Backward holds u and v fixed. That is exact at the maximum, where small changes of u and v do
    not change u^T W v. From dW' = dL/d(W / sigma), as dsigma/dW = u v^T,

        dW = dW' / sigma - (sum dW' W) / sigma^2 u v^T
           = (dW' - (sum dW' W') u v^T) / sigma

    Parameters
    ----------
    layer : Layer with a Parameter W; this stays the Parameter, and the layer gets W / sigma
    axis : the axis of W that counts the outputs: 0 for Conv1d and Conv2d, 1 for Linear and
        transposed convolutions
    n_power_iterations : rounds in each training forward; 0 leaves u and v as they are
    eps : the least length that a vector is divided by
    rng : seed or Generator for the first u and v, which 15 rounds improve, as in torch

    Attributes
    ----------
    W : Parameter, the layer's own before it is divided
    u : Buffer (O,); v : Buffer (I,)
    layer : the layer inside, whose other parameters (bias) are trained as before

    References
    ----------
    Miyato, Kataoka, Koyama & Yoshida (2018), Spectral normalization for generative adversarial
    networks, ICLR, section 2.1, eq. 11 and 12, algorithm 1.

    Examples
    --------
    >>> from scratchaudio.nn.linear import Linear
    >>> layer = SpectralNorm(Linear(3, 5, rng=0), axis=1, rng=1)
    >>> y = layer.forward(np.eye(3, dtype=np.float32))
    >>> float(np.linalg.norm(layer.layer.W.value, 2).round(3))
    1.0
    """

    def __init__(self, layer, axis=0, n_power_iterations=1, eps=1e-12, rng=None):
        super().__init__(layer, axis)
        if type(n_power_iterations) is not int or n_power_iterations < 0:
            raise ConfigError(
                f"n_power_iterations must be an integer of at least 0, got {n_power_iterations!r}"
            )
        if not eps > 0:
            raise ConfigError(f"eps must be positive, got {eps}")
        self.n_power_iterations, self.eps = n_power_iterations, eps
        self.W = W = layer.W
        layer.W = Derived(W.value)
        rng = np.random.default_rng(rng)
        n_outputs, n_weights = self._as_matrix(W.value).shape
        self.u = Buffer(self._unit(rng.standard_normal(n_outputs)).astype(W.value.dtype))
        self.v = Buffer(self._unit(rng.standard_normal(n_weights)).astype(W.value.dtype))
        self._iterate(15)

    def weight(self):
        # a complex step asks for the derivative with u and v held, as backward holds them
        if self.training and not np.iscomplexobj(self.W.value):
            self._iterate(self.n_power_iterations)
        u, v = self.u.value, self.v.value
        sigma = u @ (self._as_matrix(self.W.value) @ v)
        W = self.W.value / sigma
        return W, (W, sigma, u, v)

    def weight_backward(self, dW, W, sigma, u, v):
        uv = np.multiply.outer(u, v)  # (O, I)
        moved = np.moveaxis(self.W.value, self.axis, 0).shape
        uv = np.moveaxis(uv.reshape(moved), 0, self.axis)  # W's shape
        self.W.grad += (dW - (dW * W).sum() * uv) / sigma

    def _iterate(self, n_rounds):
        """Turn u and v, in place, towards what W stretches most."""
        M = self._as_matrix(self.W.value)
        for _ in range(n_rounds):
            self.u.value[...] = self._unit(M @ self.v.value)
            self.v.value[...] = self._unit(M.T @ self.u.value)

    def _as_matrix(self, W):
        """W as (O, I)."""
        return np.moveaxis(W, self.axis, 0).reshape(W.shape[self.axis], -1)

    def _unit(self, x):
        """The vector of length 1 along x."""
        return x / max(math.sqrt(x @ x), self.eps)
