"""Frozen layers: a gradient that runs through a network and leaves no trace in it.

Where one network teaches another, the gradient of the loss runs backward through the teacher to
reach the pupil. `backward` adds to the gradients of the parameters on its way; in a frozen layer it
adds to arrays that are thrown away:

    with frozen(discriminator):
        dfake = discriminator.backward(dlogits)
    generator.backward(dfake)

Nothing else is needed: parameters move only by their optimiser. Without `frozen`, a
discriminator's gradients would hold what the generator wants, until somebody thinks of `zero_grad`.
(What forward itself moves in training, as the running means of `BatchNorm` and the vectors of
`SpectralNorm`, moves all the same.)
"""

import contextlib

import numpy as np


@contextlib.contextmanager
def frozen(layer):
    """Let `layer.backward`, inside this `with`, leave the gradients of the parameters as they are.

    Parameters
    ----------
    layer : a Layer; after the `with`, bit for bit what it was

    Examples
    --------
    >>> from scratchaudio.nn.linear import Linear
    >>> layer = Linear(3, 2, rng=0)
    >>> y = layer.forward(np.ones((4, 3), np.float32))
    >>> with frozen(layer):
    ...     dx = layer.backward(np.ones_like(y))
    >>> dx.shape, bool(layer.W.grad.any())
    ((4, 3), False)
    """
    kept = [(parameter, parameter.grad) for parameter in layer.parameters()]
    try:
        for parameter, grad in kept:
            parameter.grad = np.zeros_like(grad)
        yield
    finally:
        for parameter, grad in kept:
            parameter.grad = grad
