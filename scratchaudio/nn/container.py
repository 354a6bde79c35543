"""Layers in a row: the chain rule as a loop.

y = f_n(... f_2(f_1(x))) has the derivative of the last function applied first, so that backward
calls the same layers from the last to the first, each taking the dy that the next one returned.

`Reshape` stands between layers that see the same numbers in other shapes.
"""

import math

from scratchaudio.errors import ConfigError, ShapeError, require_positive_integer
from scratchaudio.nn.layer import Layer


class Sequential(Layer):
    """Run layers one after the other; forward of each takes one array and returns one.

    Parameters
    ----------
    layers : the layers, first to last

    Examples
    --------
    >>> import numpy as np
    >>> from scratchaudio.nn.activations import ReLU
    >>> from scratchaudio.nn.linear import Linear
    >>> model = Sequential(Linear(3, 5, rng=0), ReLU(), Linear(5, 1, rng=1))
    >>> model.forward(np.ones((2, 7, 3), np.float32)).shape
    (2, 7, 1)
    >>> [name for name, _ in model.named_parameters()]
    ['layers.0.W', 'layers.0.b', 'layers.2.W', 'layers.2.b']
    """

    def __init__(self, *layers):
        for position, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise ConfigError(
                    f"Sequential takes layers, one an argument; argument {position} is a "
                    f"{type(layer).__name__}"
                )
        if not layers:
            raise ConfigError("Sequential needs at least one layer")
        if len({id(layer) for layer in layers}) < len(layers):
            raise ConfigError("a layer occurs twice in Sequential; one object is one place")
        self.layers = list(layers)

    def forward(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, dy):
        for layer in reversed(self.layers):
            dy = layer.backward(dy)
        return dy


class Reshape(Layer):
    """Give each example another shape: (B, ...) -> (B, *shape), the numbers in the same order.

    Parameters
    ----------
    shape : sizes of one example, such as (C, T), or (D,) to lay all numbers in a row

    Examples
    --------
    >>> import numpy as np
    >>> Reshape(3, 4).forward(np.ones((2, 12))).shape
    (2, 3, 4)
    """

    def __init__(self, *shape):
        for axis, size in enumerate(shape):
            require_positive_integer(f"shape[{axis}]", size)
        if not shape:
            raise ConfigError("shape of Reshape must hold at least one size")
        self.shape = shape

    def forward(self, x):
        if x.ndim < 2 or len(x) == 0 or math.prod(x.shape[1:]) != math.prod(self.shape):
            raise ShapeError(
                f"x of Reshape must hold {math.prod(self.shape)} numbers for each example, to "
                f"become (batch, {', '.join(map(str, self.shape))}), got {x.shape}"
            )
        self.save_for_backward(x.shape)
        return x.reshape(len(x), *self.shape)

    def backward(self, dy):
        (shape,) = self.pop_saved()
        return dy.reshape(shape)
