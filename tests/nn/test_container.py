"""Sequential: the chain rule by hand, and what it refuses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio.errors import ConfigError
from scratchaudio.nn import GELU, Linear, Sequential, Softmax, Tanh
from scratchaudio.nn.gradcheck import check_gradients


def test_forward_and_backward_are_the_layers_in_turn():
    rng = np.random.default_rng(0)
    first, second, third = Linear(3, 5, rng=rng), Tanh(), Linear(5, 2, rng=rng)
    model = Sequential(first, second, third)
    x, dy = rng.standard_normal((4, 3)), rng.standard_normal((4, 2))
    expected = np.tanh(x @ first.W.value + first.b.value) @ third.W.value + third.b.value
    np.testing.assert_allclose(model.forward(x), expected, rtol=1e-12)
    hidden = np.tanh(x @ first.W.value + first.b.value)
    expected = (dy @ third.W.value.T * (1 - hidden**2)) @ first.W.value.T
    np.testing.assert_allclose(model.backward(dy), expected, rtol=1e-12)


@given(
    widths=st.lists(st.integers(2, 5), min_size=2, max_size=4),
    seed=st.integers(0, 2**32 - 1),
)
def test_gradients(widths, seed):
    rng = np.random.default_rng(seed)
    layers = []
    for n_in, n_out in zip(widths[:-1], widths[1:], strict=True):
        layers += [Linear(n_in, n_out, rng=rng), rng.choice([Tanh, GELU, Softmax])()]
    x = rng.standard_normal((3, 2, widths[0]))
    assert check_gradients(Sequential(*layers), x, rng=rng) <= 1e-11


def test_what_it_refuses():
    layer = Linear(3, 3, rng=0)
    with pytest.raises(ConfigError, match="one an argument; argument 0 is a list"):
        Sequential([layer])
    with pytest.raises(ConfigError, match="at least one layer"):
        Sequential()
    with pytest.raises(ConfigError, match="occurs twice"):
        Sequential(layer, Tanh(), layer)
