"""The one base class to know: a layer with parameters, a forward and a hand-written backward.

A layer computes y = f(x; theta). Training needs how the loss L changes with everything that went
in. `backward` receives dy = dL/dy and does two things by the chain rule:

    theta.grad += dL/dtheta          adds to the gradient of each of its parameters
    returns dx = dL/dx               what the layer before needs as its own dy

So a network's backward is its forward read upwards, under three laws:

    used twice    -> gradients add          y = f(x) + g(x):      dx = f'(dy) + g'(dy)
    added         -> gradient copies        y = a + b:            da = dy, db = dy
    concatenated  -> gradient splits        y = [a, b]:           da, db = split(dy)

What backward needs of forward is saved by forward in one tuple and consumed by backward; in
evaluation mode nothing is saved. One layer object is one place in the network.

The training loop in five visible lines:

    model.zero_grad()
    prediction = model.forward(x)
    loss, dprediction = mse(prediction, target)
    model.backward(dprediction)
    optimizer.step()
"""

import numpy as np

from scratchaudio.errors import CallOrderError, ShapeError


class Parameter:
    """An array that training changes, and the gradient of the loss with respect to it.

    `value` and `grad` have the same shape and dtype. Sharing one Parameter between two layers ties
    their weights: both add to the same `grad`.
    """

    def __init__(self, value):
        self.value = np.asarray(value)
        self.grad = np.zeros_like(self.value)


class Buffer:
    """An array that belongs to a model but is not trained, such as a running mean: only a `value`.

    It is saved, loaded and converted with the parameters, and no optimiser sees it. Only a forward
    in training mode changes it, in place.
    """

    def __init__(self, value):
        self.value = np.asarray(value)


class Layer:
    """Base of every layer and model: walks parameters, switches modes, keeps what backward needs.

    A subclass sets its parameters (and buffers, layers, lists of layers) as attributes in
    `__init__`, and writes `forward` and `backward`. It needs no call of `super().__init__()`.
    """

    training = True
    _saved = None

    def forward(self, x):
        raise NotImplementedError(f"{type(self).__name__} has no forward yet")

    def backward(self, dy):
        raise NotImplementedError(f"{type(self).__name__} has no backward yet")

    # What forward saves for backward ---------------------------------------------------------

    def save_for_backward(self, *values):
        """Keep what backward will need; the last act of `forward`. In eval mode: keep nothing."""
        self._saved = values if self.training else None

    def pop_saved(self):
        """Hand over what `forward` saved, once; the first act of `backward`."""
        if self._saved is None:
            name = type(self).__name__
            raise CallOrderError(
                f"{name}.backward needs one {name}.forward in training mode before it, and each "
                f"forward serves one backward; call train() and forward() first"
            )
        saved, self._saved = self._saved, None
        return saved

    # Walking parameters and layers -----------------------------------------------------------

    def children(self):
        """Yield (name, layer) of each layer held in an attribute or in a list, in order."""
        for name, value in vars(self).items():
            if isinstance(value, Layer):
                yield name, value
            elif isinstance(value, list):
                for index, item in enumerate(value):
                    if isinstance(item, Layer):
                        yield f"{name}.{index}", item

    def named_parameters(self):
        """Yield (name, Parameter) in definition order: `("encoder.0.Wx", ...)`; tied ones once."""
        return self._named(Parameter)

    def named_buffers(self):
        """Yield (name, Buffer), named and ordered as the parameters are."""
        return self._named(Buffer)

    def _named(self, kind):
        """Yield (name, object) of each `kind`: the layer's own, then those of the layers below."""
        seen = set()
        own = [(name, value) for name, value in vars(self).items() if isinstance(value, kind)]
        below = [
            (f"{prefix}.{name}", found)
            for prefix, child in self.children()
            for name, found in child._named(kind)
        ]
        for name, found in own + below:
            if id(found) not in seen:
                seen.add(id(found))
                yield name, found

    def parameters(self):
        """List the Parameters, in the order of `named_parameters`."""
        return [parameter for _, parameter in self.named_parameters()]

    def zero_grad(self):
        """Set every gradient to zero."""
        for parameter in self.parameters():
            parameter.grad[...] = 0

    # Modes and dtype -------------------------------------------------------------------------

    def train(self, mode=True):
        """Switch this layer and all below to training mode; return self."""
        self.training = mode
        self._saved = None
        for _, child in self.children():
            child.train(mode)
        return self

    def eval(self):
        """Switch to evaluation: deterministic, and nothing is kept for backward; return self."""
        return self.train(False)

    def astype(self, dtype):
        """Convert every parameter and buffer, for gradient checks in float64; return self."""
        for parameter in self.parameters():
            parameter.value = parameter.value.astype(dtype)
            parameter.grad = parameter.grad.astype(dtype)
        for _, buffer in self.named_buffers():
            buffer.value = buffer.value.astype(dtype)
        return self

    # Saving and loading ----------------------------------------------------------------------

    def state_dict(self):
        """Copies of everything that must be saved: name -> array."""
        return {name: held.value.copy() for name, held in self._held().items()}

    def load_state_dict(self, state):
        """Take over the arrays of `state_dict()`; names and shapes must be exactly the same."""
        held = self._held()
        missing, unknown = sorted(held.keys() - state.keys()), sorted(state.keys() - held.keys())
        if missing or unknown:
            raise ShapeError(
                f"state does not fit {type(self).__name__}: missing {missing}, unknown {unknown}"
            )
        for name, own in held.items():
            if np.shape(state[name]) != own.value.shape:
                raise ShapeError(
                    f"state[{name!r}] has shape {np.shape(state[name])}, "
                    f"{type(self).__name__} expects {own.value.shape}"
                )
        for name, own in held.items():
            own.value[...] = state[name]

    def _held(self):
        """Parameters and buffers: name -> object with a value."""
        return dict(self.named_parameters()) | dict(self.named_buffers())
