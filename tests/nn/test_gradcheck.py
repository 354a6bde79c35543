"""The measuring instruments themselves: exact on known derivatives, and able to fail."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio.errors import ConfigError
from scratchaudio.nn import LSTM, Layer, Linear, Parameter
from scratchaudio.nn.gradcheck import (
    adjoint_error,
    check_gradients,
    complex_step,
    fourth_order_difference,
)

seeds = st.integers(0, 2**32 - 1)


def f(x):
    return (np.exp(x) * np.sin(3 * x)).sum() + x[0, 0] * x[1, 2] ** 2


def df(x):
    gradient = np.exp(x) * (np.sin(3 * x) + 3 * np.cos(3 * x))
    gradient[0, 0] += x[1, 2] ** 2
    gradient[1, 2] += 2 * x[0, 0] * x[1, 2]
    return gradient


@given(seed=seeds)
def test_both_methods_measure_a_known_gradient(seed):
    x = np.random.default_rng(seed).standard_normal((2, 3))
    before = x.copy()
    exact = df(x)
    scale = abs(exact).max()
    assert (abs(complex_step(f, x) - exact) <= 1e-14 * scale).all()
    assert (abs(fourth_order_difference(f, x) - exact) <= 1e-8 * scale).all()
    assert np.array_equal(x, before)


def test_the_difference_is_of_fourth_order():
    """Half the step, a sixteenth of the error."""
    x = np.array(0.3)
    errors = [abs(fourth_order_difference(np.exp, x, h) - np.exp(x)) for h in (0.2, 0.1)]
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.05)
    assert errors[0] == pytest.approx(0.2**4 / 30 * math.exp(0.3), rel=0.05)


@pytest.mark.parametrize("h", [1e-8, 1e-20, 1e-100])
def test_complex_step_does_not_depend_on_h(h):
    x = np.random.default_rng(0).standard_normal((2, 3))
    assert (abs(complex_step(f, x, h) - df(x)) <= 1e-13).all()


def into_float_array(x):
    y = np.zeros(3)
    y[:] = x
    return y.sum()


@pytest.mark.parametrize(
    ("lossy", "message"),
    [
        (lambda x: np.abs(x).sum(), "imaginary part did not survive"),
        (lambda x: x.real.sum(), "imaginary part did not survive"),
        (lambda x: x.astype(float).sum(), "does not take complex numbers"),
        (into_float_array, "does not take complex numbers"),
        (lambda x: np.hypot(x, x).sum(), "does not take complex numbers .*hypot"),
    ],
)
def test_a_lost_imaginary_part_is_an_error_that_names_the_culprits(lossy, message):
    with pytest.raises(ConfigError, match=f"{message}.*usual culprits: np.abs.*fourth_order"):
        complex_step(lossy, np.ones(3))


# Adjoint test ------------------------------------------------------------------------------------


@given(seed=seeds, is_complex=st.booleans())
def test_adjoint_error_of_matrices(seed, is_complex):
    rng = np.random.default_rng(seed)
    A, x, y = (rng.standard_normal(shape) for shape in ((5, 3), 3, 5))
    if is_complex:
        A = A + 1j * rng.standard_normal(A.shape)
        y = y + 1j * rng.standard_normal(y.shape)
    assert adjoint_error(lambda x: A @ x, lambda y: A.conj().T @ y, x, y) <= 1e-15
    wrong = A.copy()
    wrong[2, 1] *= 1.01
    assert adjoint_error(lambda x: A @ x, lambda y: wrong.conj().T @ y, x, y) >= 1e-7


def test_adjoint_error_refuses_what_proves_nothing():
    with pytest.raises(AssertionError, match=r"adjoint\(y\) has shape \(2,\), expected \(3,\)"):
        adjoint_error(lambda x: x[:2], lambda y: y, np.ones(3), np.ones(2))
    with pytest.raises(AssertionError, match="prove nothing"):
        adjoint_error(lambda x: 0 * x, lambda y: 0 * y, np.ones(3), np.ones(3))


# Whole layers ------------------------------------------------------------------------------------


class Mixed(Layer):
    """Two inputs, the second a tuple, two outputs, an integer input and a keyword."""

    wrong = None

    def __init__(self):
        self.w = Parameter(np.array(0.7))

    def forward(self, x, pair, index, power=2):
        a, b = pair
        self.save_for_backward(x, a, b, index, power)
        return self.w.value * x * a[index], (x**power, b * b)

    def backward(self, dy, dothers):
        x, a, b, index, power = self.pop_saved()
        dx_power, dbb = dothers
        self.w.grad += (dy * x * a[index]).sum()
        dx = dy * self.w.value * a[index] + dx_power * power * x ** (power - 1)
        da = np.zeros_like(a)
        np.add.at(da, index, dy * self.w.value * x)
        db = 2 * b * dbb
        if self.wrong == "b":
            db[1, 1] *= 1 + 1e-9
        return dx, (da, db), None


@given(seed=seeds)
def test_nested_inputs_and_outputs(seed):
    rng = np.random.default_rng(seed)
    x, a, b = rng.standard_normal(4), rng.standard_normal(5), rng.standard_normal((2, 3))
    index = rng.permutation(5)[:4]
    assert check_gradients(Mixed(), x, (a, b), index, rng=rng, power=3) <= 1e-11
    wrong = Mixed()
    wrong.wrong = "b"
    with pytest.raises(AssertionError, match=r"pair\[1\]\[1, 1\]: backward .*1 of 6 entries"):
        check_gradients(wrong, x, (a, b), index, rng=rng, power=3)


def test_an_lstm_with_state_and_lengths():
    rng = np.random.default_rng(0)
    state = (rng.standard_normal((2, 5)), rng.standard_normal((2, 5)))
    x = rng.standard_normal((2, 4, 3))
    layer = LSTM(3, 5, rng=rng)
    before = layer.state_dict()
    assert check_gradients(layer, x, state, rng=1, lengths=np.array([4, 2])) <= 1e-11
    for name, array in layer.state_dict().items():
        assert np.array_equal(array, before[name]), "the layer itself was changed"
        assert array.dtype == np.float32


def broken(change):
    """A Linear whose backward's results pass through `change(layer, dx, dW, db) -> dx, dW, db`."""

    class Broken(Linear):
        def backward(self, dy):
            dx = super().backward(dy)
            dx, dW, db = change(dx, self.W.grad.copy(), self.b.grad.copy())
            self.W.grad, self.b.grad = dW, db
            return dx

    return Broken(3, 3, rng=0)


def one_entry(dW):
    dW[2, 1] *= 1 + 1e-9
    return dW


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda dx, dW, db: (dx, one_entry(dW), db), r"W\[2, 1\]: .*1 of 9 entries of W are wrong"),
        (lambda dx, dW, db: (dx, -dW, db), "All signs are turned"),
        (lambda dx, dW, db: (dx, dW / 5, db), "0.2 times what they should be"),
        (lambda dx, dW, db: (dx, dW.T, db), "transpose"),
        (lambda dx, dW, db: (dx[:, ::-1], dW, db), "x.*reversed along axis 1"),
        (lambda dx, dW, db: (0 * dx, dW, db), r"x\[.*leaves it at zero"),
        (lambda dx, dW, db: (dx, dW, db + dx.sum()), "b.*Usual causes: a term of the chain rule"),
        (lambda dx, dW, db: (dx * np.nan, dW, db), r"x\[0, 0\]: backward nan.*NaN or infinity"),
        (lambda dx, dW, db: (dx * (dx > 0), dW, db), "Some entries are left at zero"),
        (lambda dx, dW, db: (dx + 1, dW + 1, db), "and so are entries of"),
        (lambda dx, dW, db: (dx[:1], dW, db), r"shape \(1, 3\) for x, whose shape is \(4, 3\)"),
        (lambda dx, dW, db: (dx, dW[:1], db), r"shape \(1, 3\) for W, whose shape is \(3, 3\)"),
        (lambda dx, dW, db: (None, dW, db), "returned no gradient for x"),
        (lambda dx, dW, db: ((dx, dx), dW, db), "2 gradients, forward took 1 inputs|for x"),
    ],
)
def test_a_wrong_gradient_is_found_and_its_pattern_named(change, message):
    x = np.random.default_rng(0).standard_normal((4, 3))
    with pytest.raises(AssertionError, match=f"^Broken: .*{message}"):
        check_gradients(broken(change), x, rng=0)


def test_fourth_order_differences_find_errors_of_1e_6():
    x = np.random.default_rng(0).standard_normal((4, 3))
    options = {"rng": 0, "method": fourth_order_difference}
    assert check_gradients(broken(lambda *gradients: gradients), x, **options) <= 1e-9
    with pytest.raises(AssertionError, match=r"W\[.*fourth order difference .*allowed 1e-07"):
        check_gradients(broken(lambda dx, dW, db: (dx, dW * (1 + 1e-6), db)), x, **options)


def test_a_gradient_without_signal_is_refused_unless_allowed():
    x = np.zeros((4, 3))  # so the gradient of W is zero
    with pytest.raises(AssertionError, match="measured gradient of W is all but zero .*nothing"):
        check_gradients(Linear(3, 5, rng=0), x, rng=0)
    assert check_gradients(Linear(3, 5, rng=0), x, rng=0, may_vanish=("W",)) <= 1e-11
    with pytest.raises(AssertionError, match=r"W\[0, 0\]: backward 1, "):
        wrong = broken(lambda dx, dW, db: (dx, dW + 1, db))
        check_gradients(wrong, x, rng=0, may_vanish=("W",))


def test_it_moves_parameters_off_their_initial_values():
    """A bias of 0 would hide that backward uses it where it should not."""

    class UsesBias(Linear):
        def __init__(self):
            super().__init__(3, 3, rng=0)
            self.b.value[...] = 0

        def backward(self, dy):
            return super().backward(dy) + self.b.value

    with pytest.raises(AssertionError, match=r"UsesBias: x\["):
        check_gradients(UsesBias(), np.ones((4, 3)), rng=0)


def test_it_checks_in_training_mode_and_leaves_the_mode():
    layer = Linear(3, 5, rng=0).eval()
    assert check_gradients(layer, np.ones((4, 3)), rng=0) <= 1e-11
    assert not layer.training
