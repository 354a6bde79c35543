"""Parameter and Layer: walking, modes, saving, and the errors for calls in the wrong order."""

import numpy as np
import pytest

from scratchaudio.errors import CallOrderError, ShapeError
from scratchaudio.nn import Layer, Linear, Parameter, ReLU, Sequential


class Encoder(Layer):
    """A layer in an attribute, a list of layers, and parameters of its own, in this order."""

    def __init__(self, rng=None):
        self.first = Linear(3, 5, rng=rng)
        self.scale = Parameter(np.ones(7))
        self.blocks = [Linear(5, 2, rng=rng), ReLU(), Linear(2, 4, bias=False, rng=rng)]
        self.comment = "not a parameter"


NAMES = ["scale", "first.W", "first.b", "blocks.0.W", "blocks.0.b", "blocks.2.W"]


def test_parameters_are_walked_own_first_then_layers_in_definition_order():
    layer = Encoder(rng=0)
    assert [name for name, _ in layer.named_parameters()] == NAMES
    assert layer.parameters() == [parameter for _, parameter in layer.named_parameters()]


def test_a_tied_parameter_is_walked_once():
    layer = Sequential(Linear(3, 3, rng=0), Linear(3, 3, rng=1))
    layer.layers[1].W = layer.layers[0].W
    assert [name for name, _ in layer.named_parameters()] == [
        "layers.0.W",
        "layers.0.b",
        "layers.1.b",
    ]


def test_gradient_has_the_shape_and_dtype_of_the_value():
    for dtype in (np.float32, np.float64):
        parameter = Parameter(np.ones((2, 3), dtype))
        assert parameter.grad.shape == (2, 3)
        assert parameter.grad.dtype == dtype
        assert not parameter.grad.any()


def test_zero_grad_reaches_every_parameter_in_place():
    layer = Encoder(rng=0)
    grads = [parameter.grad for parameter in layer.parameters()]
    for grad in grads:
        grad[...] = 3
    layer.zero_grad()
    assert not any(grad.any() for grad in grads)


def test_train_and_eval_reach_every_layer_and_return_the_layer():
    layer = Encoder(rng=0)
    everywhere = [layer, layer.first, *layer.blocks]
    assert layer.eval() is layer
    assert not any(part.training for part in everywhere)
    assert layer.train() is layer
    assert all(part.training for part in everywhere)
    assert Encoder().training, "eval() of one object changed the class"


def test_astype_converts_values_and_gradients():
    layer = Encoder(rng=0)
    assert layer.astype(np.float64) is layer
    assert {p.value.dtype for p in layer.parameters()} == {np.dtype(np.float64)}
    assert {p.grad.dtype for p in layer.parameters()} == {np.dtype(np.float64)}


def test_state_dict_round_trip():
    first, second = Encoder(rng=0), Encoder(rng=1)
    values = [parameter.value for parameter in second.parameters()]
    second.load_state_dict(first.state_dict())
    for value, parameter in zip(values, first.parameters(), strict=True):
        assert np.array_equal(value, parameter.value), "not loaded in place"
        assert value is not parameter.value


def test_state_dict_holds_copies():
    layer = Encoder(rng=0)
    for array in layer.state_dict().values():
        array[...] = 7
    assert not any((parameter.value == 7).any() for parameter in layer.parameters())


def test_state_of_another_model_is_refused_and_nothing_changes():
    layer = Encoder(rng=0)
    before = layer.state_dict()
    with pytest.raises(
        ShapeError, match=r"does not fit Encoder: missing \['scale'\], unknown \['x'"
    ):
        layer.load_state_dict({"x": 1, **{n: a for n, a in before.items() if n != "scale"}})
    changed = {name: array + 1 for name, array in before.items()}
    changed["blocks.2.W"] = np.zeros((4, 2))
    message = r"state\['blocks.2.W'\] has shape \(4, 2\), Encoder expects \(2, 4\)"
    with pytest.raises(ShapeError, match=message):
        layer.load_state_dict(changed)
    for name, array in layer.state_dict().items():
        assert np.array_equal(array, before[name]), f"{name} changed"


def test_backward_in_the_wrong_order_says_what_to_do():
    layer, x = Linear(3, 5, rng=0), np.ones((4, 3), np.float32)
    message = r"Linear\.backward needs one Linear\.forward in training mode.*train\(\).*forward\(\)"
    with pytest.raises(CallOrderError, match=message):
        layer.backward(np.ones((4, 5), np.float32))
    dy = layer.forward(x)
    layer.backward(dy)
    with pytest.raises(CallOrderError, match=message):
        layer.backward(dy)
    layer.eval().forward(x)
    with pytest.raises(CallOrderError, match=message):
        layer.backward(dy)


def test_a_layer_without_forward_says_so():
    with pytest.raises(NotImplementedError, match="Layer has no forward yet"):
        Layer().forward(np.ones(3))
    with pytest.raises(NotImplementedError, match="Layer has no backward yet"):
        Layer().backward(np.ones(3))
