"""Parameter and Layer: walking, modes, saving, and the errors for calls in the wrong order."""

import numpy as np
import pytest

from scratchaudio.checkpoint import load_checkpoint, save_checkpoint
from scratchaudio.errors import CallOrderError, CheckpointError, ConfigError, ShapeError
from scratchaudio.nn import (
    Adam,
    BatchNorm,
    Buffer,
    Dropout,
    Layer,
    Linear,
    Parameter,
    ReLU,
    Sequential,
    mse,
)
from scratchaudio.training import fit


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


# Buffers -----------------------------------------------------------------------------------------


class Counting(Layer):
    """A buffer and a parameter of its own, and layers below that have both."""

    def __init__(self, rng=None):
        self.norms = [BatchNorm(3), ReLU(), BatchNorm(2)]
        self.count = Buffer(np.zeros(4, np.float32))
        self.scale = Parameter(np.ones(7, np.float32))


BUFFERS = ["count"] + [f"norms.{i}.running_{what}" for i in (0, 2) for what in ("mean", "var")]
LEARNED = ["scale"] + [f"norms.{i}.{what}" for i in (0, 2) for what in ("gamma", "beta")]


def test_buffers_are_walked_like_parameters_and_are_none():
    layer = Counting()
    assert [name for name, _ in layer.named_buffers()] == BUFFERS
    assert [name for name, _ in layer.named_parameters()] == LEARNED
    assert not any(isinstance(parameter, Buffer) for parameter in layer.parameters())
    layer.norms[2].running_mean = layer.norms[0].running_mean
    assert [name for name, _ in layer.named_buffers()] == BUFFERS[:3] + BUFFERS[4:]


def test_buffers_are_saved_loaded_in_place_and_converted():
    first, second = Counting(), Counting()
    for number, (_, buffer) in enumerate(first.named_buffers()):
        buffer.value[...] = number + 0.5
    state = first.state_dict()
    assert list(state) == LEARNED + BUFFERS
    values = [buffer.value for _, buffer in second.named_buffers()]
    second.load_state_dict(state)
    for number, value in enumerate(values):
        assert (value == number + 0.5).all(), "not loaded in place"
    state["count"][...] = 7
    assert (first.count.value == 0.5).all() and (second.count.value == 0.5).all(), "not a copy"
    first.astype(np.float64)
    assert {buffer.value.dtype for _, buffer in first.named_buffers()} == {np.dtype(np.float64)}
    assert (first.count.value == 0.5).all()


def test_a_state_without_the_buffers_or_of_other_shapes_is_refused():
    layer = Counting()
    before = layer.state_dict()
    changed = {name: array + 1 for name, array in before.items()}
    for names, message in ((BUFFERS[:1], "count"), (BUFFERS[3:4], "norms.2.running_mean")):
        lacking = {name: array for name, array in changed.items() if name not in names}
        with pytest.raises(
            ShapeError, match=rf"fit Counting: missing \['{message}'\], unknown \[\]"
        ):
            layer.load_state_dict(lacking)
    changed["count"] = np.zeros(5)
    with pytest.raises(
        ShapeError, match=r"state\['count'\] has shape \(5,\), Counting expects \(4"
    ):
        layer.load_state_dict(changed)
    for name, array in layer.state_dict().items():
        assert np.array_equal(array, before[name]), f"{name} changed"


def test_checkpoints_hold_buffers(tmp_path):
    model = Counting()
    for number, (_, buffer) in enumerate(model.named_buffers()):
        buffer.value[...] = number + 0.5
    save_checkpoint(tmp_path / "run.npz", model)
    other = Counting()
    load_checkpoint(tmp_path / "run.npz").restore(other)
    for name, array in other.state_dict().items():
        np.testing.assert_array_equal(array, model.state_dict()[name], strict=True)
    del model.count
    with pytest.raises(CheckpointError, match=r"it has unknown \['count'\]"):
        load_checkpoint(tmp_path / "run.npz").restore(model)


def train_with_buffers(path, n_epochs, resume=False):
    """Train a model with batch normalisation and dropout; return (model, history)."""
    rng = np.random.default_rng(0)
    model = Sequential(
        Linear(3, 5, rng=rng), BatchNorm(5), ReLU(), Dropout(0.2, rng), Linear(5, 2, rng=rng)
    )

    def batches(rng):
        for _ in range(2):
            x = rng.standard_normal((6, 3)).astype(np.float32)
            yield (x,), (x[:, :2] * x[:, 1:],)

    def validate(model):
        x = np.random.default_rng(9).standard_normal((8, 3)).astype(np.float32)
        return {"error": mse(model.forward(x), x[:, :2] * x[:, 1:])[0]}

    options = {"n_epochs": n_epochs, "rng": rng, "validate": validate, "monitor": "error"}
    options |= {"checkpoint_path": path, "resume": resume, "verbose": False}
    return model, fit(model, Adam(model.parameters(), 0.05), batches, mse, **options)


def test_a_resumed_run_has_the_same_buffers_bit_for_bit(tmp_path):
    """Validation uses the running statistics, so that the history would tell too."""
    model, history = train_with_buffers(tmp_path / "whole.npz", 6)
    train_with_buffers(tmp_path / "cut.npz", 2)
    resumed, resumed_history = train_with_buffers(tmp_path / "cut.npz", 6, resume=True)
    assert resumed_history == history
    assert (tmp_path / "cut.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(resumed.state_dict()[name], array, err_msg=name)
    assert model.layers[1].running_mean.value.any()


def test_training_stops_when_a_buffer_is_no_longer_finite():
    class Overflowing(BatchNorm):
        def forward(self, x):
            y = super().forward(x)
            self.running_var.value[1] = np.inf
            return y

    model = Overflowing(3)

    def batches(rng):
        x = rng.standard_normal((4, 3)).astype(np.float32)
        yield (x,), (x,)

    with pytest.raises(ConfigError, match="running_var holds NaN or infinite values after epoch 1"):
        fit(model, Adam(model.parameters()), batches, mse, n_epochs=1, verbose=False)


# Calls in the wrong order ------------------------------------------------------------------------


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
