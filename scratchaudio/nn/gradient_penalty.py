"""Gradient penalty: hold the slope of a critic near 1, with its gradient worked out by hand.

A critic D of a Wasserstein game must not be steeper than 1 anywhere. Nobody can look everywhere, so
it is asked at random points on the lines between real and fake examples, where the gradients run
that the generator learns from:

    x_hat = a x_real + (1 - a) x_fake          a ~ U(0, 1), one for each example
    g     = dD/dx_hat                          one for each example, of its shape
    P     = 1/B sum_b (|g_b| - 1)^2            |g| over all axes but the batch

and weight P is added to the critic's loss. The slope is drawn to 1 from below as well: the best
critic has slope 1 nearly everywhere between the two.

The gradient of P with respect to the *parameters* is the derivative of a derivative, g itself
coming from a backward pass. Its first half is easy:

    v_b = dP/dg_b = 2/B (|g_b| - 1) g_b / |g_b|

By the chain rule the gradient of P is that of the number <v, g>, with v held fixed. Now g = J^T 1,
where J is the matrix of derivatives of all logits by x_hat, so that

    <v, g> = <v, J^T 1> = <J v, 1>

J v is the directional derivative of the logits along v: how they change as x_hat moves by a small
step v. No backward pass is in it any more. It is a forward pass of its own, the *tangent pass*,
through the same layers (let t be what comes in, and x what came in when D saw x_hat):

    linear, convolution       y = W x + b            J t = W t        the same without the bias
    ReLU, leaky ReLU          y = slope(x) x         J t = slope(x) t
    permutations              reshape, shift         J t = the same of t

All of these are *linear in t*: layers without bias, and entries multiplied by numbers that are
known. So `tangent(critic)` is itself a network, with weights that it shares with the critic, and
its own backward gives the gradient of sum(J v) by its parameters, which are the critic's:

    dW = t^T delta          t from the tangent pass, delta from the backward pass that begins with 1

Is this all? J depends on the parameters in two ways, by the weights, which is the gradient above,
and by the slopes, as x at each activation depends on the weights before it. For activations made
of straight pieces the slope does not change with x, except at the kinks, which have measure 0:
nothing is missing, and biases have no gradient, as they only move the kinks. With tanh or GELU the
second way would add f''(x) times the tangent, which is sent back through the critic from there; and
a normalisation has second derivatives too (and lets examples see each other, so that "the gradient
of each example" would lose its meaning). `tangent` refuses both.

One penalty costs a forward, a backward, a tangent pass and its backward: two steps of training.

References
----------
Gulrajani, Ahmed, Arjovsky, Dumoulin & Courville (2017), Improved training of Wasserstein GANs,
NeurIPS, eq. 3 and algorithm 1; tangent and adjoint passes: Pearlmutter (1994), Fast exact
multiplication by the Hessian, Neural Computation 6(1).

Legend: B batch; everything behind the first axis is one example.
"""

import copy
import math

import numpy as np

from scratchaudio.errors import ConfigError, ShapeError
from scratchaudio.nn.activations import LeakyReLU, ReLU
from scratchaudio.nn.container import Reshape, Sequential
from scratchaudio.nn.conv1d import Conv1d, ConvTranspose1d
from scratchaudio.nn.conv2d import Conv2d, ConvTranspose2d
from scratchaudio.nn.frozen import frozen
from scratchaudio.nn.layer import Layer
from scratchaudio.nn.linear import Linear


def gradient_penalty(critic, real, fake, weight=10.0, rng=None):
    """Add the gradient of weight * P to the critic's parameters; return P.

    Call it between `critic.zero_grad()` and the optimiser's step, next to the backward of the loss.

    Parameters
    ----------
    critic : a piecewise linear Layer that gives one logit for each example, see `tangent`
    real, fake : (B, ...) examples; they stay constant, no gradient is returned for them
    weight : lambda of the paper
    rng : seed or Generator of a

    Returns
    -------
    float, P without the weight

    Examples
    --------
    The slope of a linear critic is the length of its weights:

    >>> critic = Linear(2, 1, rng=0)
    >>> critic.W.value[:] = [[3.0], [4.0]]
    >>> x = np.zeros((5, 2), np.float32)
    >>> gradient_penalty(critic, x, x + 1, weight=1.0, rng=0)
    16.0
    >>> critic.W.grad.round(5)  # 2 (5 - 1) (3, 4) / 5
    array([[4.8],
           [6.4]], dtype=float32)
    """
    if real.shape != fake.shape or real.ndim < 2 or real.size == 0:
        raise ShapeError(
            f"real and fake must have one shape (batch, ...), got {real.shape} and {fake.shape}"
        )
    if not (math.isfinite(weight) and weight >= 0):
        raise ConfigError(f"weight must be a finite number of at least 0, got {weight}")
    rng = np.random.default_rng(rng)
    B, example = len(real), tuple(range(1, real.ndim))
    a = rng.random((B,) + (1,) * len(example)).astype(real.dtype)  # (B, 1, ...)

    logits = critic.forward(a * real + (1 - a) * fake)
    if logits.size != B:
        raise ShapeError(
            f"critic must give one logit for each of the {B} examples, got shape {logits.shape}"
        )
    linearized = tangent(critic)  # now, as backward takes away what it needs
    with frozen(critic):
        g = critic.backward(np.ones_like(logits))  # (B, ...)
    norm = np.sqrt((g * g).sum(axis=example, keepdims=True))  # (B, 1, ...)
    excess = norm - 1

    # Where the slope is 0 it has no direction to grow in.
    direction = np.divide(g, norm, out=np.zeros_like(g), where=norm > 0)
    Jv = linearized.forward(2 / B * excess * direction)
    linearized.backward(np.full_like(Jv, weight))
    return (excess * excess).sum().item() / B


def tangent(layer):
    """The derivative of a piecewise linear layer at the point of its last forward: a linear layer.

    Call it after `forward` in training mode, and before `backward`.

    Parameters
    ----------
    layer : `Linear`, convolutions, `ReLU`, `LeakyReLU`, `Reshape`, a `Sequential` of such, or a
        layer that has a method `tangent()`, as `PhaseShuffle` and the discriminators have

    Returns
    -------
    a Layer that maps small changes of layer's x to those of its y. Parameters are shared: its
        backward adds to the gradients of `layer`
    """
    if hasattr(layer, "tangent"):
        return layer.tangent()
    if isinstance(layer, Sequential):
        return Sequential(*[tangent(part) for part in layer.layers])
    if isinstance(layer, Linear | Conv1d | ConvTranspose1d | Conv2d | ConvTranspose2d):
        without_bias = copy.copy(layer)  # shallow: it holds the same W
        without_bias.b = None
        return without_bias
    if isinstance(layer, ReLU | LeakyReLU):
        x, y = layer.pop_saved()
        layer.save_for_backward(x, y)
        return Scale(layer.derivative(x, y))
    if isinstance(layer, Reshape):
        return copy.copy(layer)
    raise ConfigError(
        f"{type(layer).__name__} has no tangent: the gradient penalty needs a critic of layers "
        f"that are linear or made of straight pieces (Linear, convolutions, ReLU, LeakyReLU) and "
        f"that keep examples apart. Leave normalisation out, take LeakyReLU for a smooth "
        f"activation, or bound the slope by SpectralNorm instead of the penalty"
    )


class Scale(Layer):
    """Multiply by fixed numbers: y = slope x, dx = slope dy. The tangent of an activation.

    Parameters
    ----------
    slope : array that broadcasts to x; not trained
    """

    def __init__(self, slope):
        self.slope = slope

    def forward(self, x):  # any shape, kept
        self.save_for_backward()
        return self.slope * x

    def backward(self, dy):
        self.pop_saved()
        return self.slope * dy
