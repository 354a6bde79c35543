"""Activations: the nonlinear functions between layers, and how to compute them without overflow.

Without them a stack of linear layers is one linear layer. First the functions, for use anywhere;
then each as a Layer. On entries, y = f(x) gives by the chain rule

    dx = dy * f'(x)

so that an elementwise Layer states only f and f', the latter through y where that is cheaper
(sigma' = sigma (1 - sigma)). Softmax mixes entries and has a backward of its own.

Two tricks keep exp from overflowing, at no loss of digits:

    softplus   is written with exp(-|x|), which is at most 1
    softmax    does not change when a constant is subtracted from the row: take its maximum

All functions keep the dtype, float32 or float64, and accept complex arrays, so that a complex
step off the real line measures their derivatives (`nn.gradcheck`). NumPy's maximum and minimum
order complex numbers by their real part first; `np.abs` would lose the step, so that -|x| is
written min(x, -x).
"""

import math

import numpy as np
from scipy.special import erfc

from scratchaudio.errors import ConfigError, ShapeError, require_positive_integer
from scratchaudio.nn.layer import Layer, Parameter

# Functions ---------------------------------------------------------------------------------------


def sigmoid(x):
    """Map any number to (0, 1): sigma(x) = 1 / (1 + exp(-x)).

    Digits are kept on both sides; 0.5 + 0.5 tanh(x / 2) would lose them for very negative x.
    """
    with np.errstate(over="ignore"):  # exp(-x) may reach inf: 1 / (1 + inf) = 0 is right
        return 1 / (1 + np.exp(-x))


def softplus(x):
    """Smooth ReLU: log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)); its slope is sigma(x)."""
    return np.maximum(x, 0) + np.log1p(np.exp(np.minimum(x, -x)))


def log_sigmoid(x):
    """Logarithm of a probability given as a logit: log sigma(x) = -softplus(-x), exact far out."""
    return -softplus(-x)


def logsumexp(x, axis=-1, keepdims=False):
    """Smooth maximum log sum exp(x) along `axis`; the largest entry is taken out of the sum.

    At least one entry along `axis` must be finite; the others may be -inf.
    """
    largest = x.max(axis=axis, keepdims=True)
    y = largest + np.log(np.exp(x - largest).sum(axis=axis, keepdims=True))
    return y if keepdims else y.squeeze(axis)


def softmax(x, axis=-1):
    """Probabilities from logits: exp(x) / sum exp(x) along `axis`.

    At least one entry along `axis` must be finite; where others are -inf the result is 0.
    """
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def log_softmax(x, axis=-1):
    """Logarithm of `softmax`, exact also where the probability is too small for a float."""
    return x - logsumexp(x, axis=axis, keepdims=True)


def relu(x):
    """Rectifier max(x, 0); its slope at the kink x = 0 is taken as 0."""
    return np.maximum(x, np.zeros_like(x))  # with a scalar NumPy takes three times as long


def leaky_relu(x, negative_slope=0.01):
    """Rectifier that leaks: x where x > 0, else negative_slope * x, with a slope in 0..1."""
    return np.maximum(x, negative_slope * x)


def gelu(x):
    """Gaussian error linear unit x Phi(x), Phi the standard normal distribution function.

    Phi(x) = erfc(-x / sqrt(2)) / 2 keeps its digits for very negative x, where 1 + erf does not.

    References
    ----------
    Hendrycks & Gimpel (2016), Gaussian error linear units, arXiv:1606.08415, section 2.
    """
    return x * _normal_cdf(x)


def gelu_tanh(x):
    """Approximate `gelu`: x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2; off by at most 5e-4.

    The form of GPT-2 and torch's `approximate="tanh"`.

    References
    ----------
    Hendrycks & Gimpel (2016), Gaussian error linear units, arXiv:1606.08415, section 2.
    """
    return 0.5 * x * (1 + _gelu_inner_tanh(x))


def _normal_cdf(x):
    """Phi(x)."""
    return 0.5 * erfc(x * -math.sqrt(0.5))


def _gelu_inner_tanh(x):
    """tanh(sqrt(2/pi) (x + 0.044715 x^3))."""
    return np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))


# Layers ------------------------------------------------------------------------------------------


class Activation(Layer):
    """Base of the elementwise activations, y = f(x), dx = dy * f'(x).

    A subclass states `function(x)` and `derivative(x, y)`, where y is f(x).
    """

    def forward(self, x):  # any shape, kept
        y = self.function(x)
        self.save_for_backward(x, y)
        return y

    def backward(self, dy):
        x, y = self.pop_saved()
        return dy * self.derivative(x, y)


class Sigmoid(Activation):
    """y = sigma(x), y' = y (1 - y)."""

    def function(self, x):
        return sigmoid(x)

    def derivative(self, x, y):
        return y * (1 - y)


class Tanh(Activation):
    """y = tanh(x), y' = 1 - y^2."""

    def function(self, x):
        return np.tanh(x)

    def derivative(self, x, y):
        return 1 - y * y


class ReLU(Activation):
    """y = max(x, 0), y' = 1 where x > 0 and 0 elsewhere, at x = 0 too."""

    def function(self, x):
        return relu(x)

    def derivative(self, x, y):
        return x > 0  # a bool counts as 0 or 1


class LeakyReLU(Activation):
    """y = x where x > 0, else negative_slope x; y' = 1 where x > 0, else negative_slope."""

    def __init__(self, negative_slope=0.01):
        if not 0 <= negative_slope < 1:
            raise ConfigError(f"negative_slope must lie in 0..1 (1 excluded), got {negative_slope}")
        self.negative_slope = negative_slope

    def function(self, x):
        return leaky_relu(x, self.negative_slope)

    def derivative(self, x, y):
        return np.maximum((x > 0).astype(x.dtype), self.negative_slope)


class PReLU(Layer):
    """Leaky ReLU that learns its slope: y = x where x > 0, else a x.

        y = max(x, 0) + a min(x, 0)
        dx = dy where x > 0, else a dy        da = sum of dy min(x, 0)

    One slope serves all entries, or each channel, axis 1, has its own. At x = 0 the slope is a.

    Parameters
    ----------
    n_channels : 1, one slope for an x of any shape; or C, for x of shape (B, C, ...)
    initial : the slopes at first
    dtype : of the slopes

    Attributes
    ----------
    a : Parameter (n_channels,)

    References
    ----------
    He, Zhang, Ren & Sun (2015), Delving deep into rectifiers, ICCV, eq. 1 and 3.
    """

    def __init__(self, n_channels=1, initial=0.25, dtype=np.float32):
        require_positive_integer("n_channels", n_channels)
        if not math.isfinite(initial):
            raise ConfigError(f"initial must be a finite number, got {initial}")
        self.a = Parameter(np.full(n_channels, initial, dtype))

    def forward(self, x):  # any shape, or (B, C, ...); kept
        n_channels = self.a.value.size
        if x.ndim == 0 or x.size == 0:
            raise ShapeError(f"x of PReLU must have at least one entry and axis, got {x.shape}")
        if n_channels > 1 and (x.ndim < 2 or x.shape[1] != n_channels):
            raise ShapeError(
                f"x of PReLU must have shape (batch, {n_channels}, ...), got {x.shape}"
            )
        shape, x = x.shape, x.reshape(len(x), n_channels, -1)  # (B, C, rest); (B, 1, all) for one
        zeros = np.zeros_like(x)
        y = self.a.value[:, None] * np.minimum(x, zeros)
        y += np.maximum(x, zeros)
        self.save_for_backward(x)
        return y.reshape(shape)

    def backward(self, dy):
        (x,) = self.pop_saved()  # (B, C, rest)
        shape, dy = dy.shape, dy.reshape(x.shape)
        product = np.minimum(x, np.zeros_like(x))
        product *= dy
        self.a.grad += product.sum(axis=(0, 2))
        return np.where(x > 0, dy, self.a.value[:, None] * dy).reshape(shape)


class Softplus(Activation):
    """y = log(1 + exp(x)), y' = sigma(x)."""

    def function(self, x):
        return softplus(x)

    def derivative(self, x, y):
        return sigmoid(x)


class GELU(Layer):
    """y = x Phi(x), y' = Phi(x) + x phi(x), phi(x) = exp(-x^2 / 2) / sqrt(2 pi).

    Phi costs about fifty times as much as a multiplication, so forward keeps it for backward.
    """

    def forward(self, x):  # any shape, kept
        cdf = _normal_cdf(x)
        self.save_for_backward(x, cdf)
        return x * cdf

    def backward(self, dy):
        x, cdf = self.pop_saved()
        slope = x * x
        slope *= -0.5
        np.exp(slope, out=slope)
        slope *= x
        slope *= 1 / math.sqrt(2 * math.pi)  # x phi(x)
        slope += cdf
        slope *= dy
        return slope


class GELUTanh(Activation):
    """y = x (1 + t) / 2 with t = tanh(u), u = sqrt(2/pi) (x + 0.044715 x^3).

    y' = (1 + t) / 2 + x (1 - t^2) u' / 2,    u' = sqrt(2/pi) (1 + 3 * 0.044715 x^2)
    """

    def function(self, x):
        return gelu_tanh(x)

    def derivative(self, x, y):
        t = _gelu_inner_tanh(x)
        du = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)
        return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * du


class Softmax(Layer):
    """Probabilities along the last axis: y = exp(x) / sum exp(x).

    Every y sees every x of its row, dy_j/dx_i = y_j ([i = j] - y_i), so that

        dx = y * (dy - sum_j dy_j y_j)

    A classifier does not need it in training: `cross_entropy` takes logits.
    """

    def forward(self, x):  # (..., K) -> (..., K)
        y = softmax(x)
        self.save_for_backward(y)
        return y

    def backward(self, dy):  # (..., K) -> (..., K)
        (y,) = self.pop_saved()
        return y * (dy - (dy * y).sum(axis=-1, keepdims=True))
