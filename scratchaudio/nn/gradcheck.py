"""Is a hand-written backward right? Three ways to measure derivatives that know no backward.

Complex step, for anything analytic. Take a step of h along the *imaginary* axis:

    f(x + i h) = f(x) + i h f'(x) - h^2 f''(x) / 2 - ...     so     f'(x) = Im f(x + i h) / h

up to h^2. No two numbers of like size are subtracted, so h = 1e-20 loses nothing and f' comes out
to all 16 digits, where a difference (f(x + h) - f(x - h)) / 2h stops at about 10: a mistake of
1e-9 cannot hide. It needs a forward that takes complex arrays: no `np.abs`, no `astype(float)`,
no `x.var()` on its way; comparisons by `x.real`.

Fourth-order differences, for functions with kinks (ReLU, max) or without a complex form:

    f'(x) = (8 f(x + h) - 8 f(x - h) - f(x + 2h) + f(x - 2h)) / 12h     up to h^4 f^(5) / 30

good to 1e-7 and better, as long as no kink lies within 2h.

Adjoint test, for linear maps y = A x, whose backward is dx = A^T dy: <A x, y> = <x, A^T y> for
any x and y. One inner product tests the whole matrix.

`check_gradients(layer, x)` does the whole of it for a layer: every entry of every input and of
every parameter, with a random upstream gradient.

References
----------
Squire & Trapp (1998), Using complex variables to estimate derivatives of real functions, SIAM
Review 40(1); adjoint test: Claerbout (2014), Geophysical image estimation by example, section 2.
"""

import copy
import inspect
import warnings

import numpy as np

from scratchaudio.errors import ConfigError

# A gradient smaller than this proves nothing when it agrees: 0 = 0 also for a wrong backward.
SIGNAL = 1e-3

_CULPRITS = (
    "usual culprits: np.abs, .real, x.var(), astype(float), or an array made with a fixed dtype "
    "such as np.zeros(n) and filled afterwards (use x.dtype); use fourth_order_difference for a "
    "function without a complex form"
)


# Measured derivatives ----------------------------------------------------------------------------


def complex_step(f, x, h=1e-20):
    """Gradient of the scalar function `f` at the real array `x`: Im f(x + i h) / h, by entry.

    Parameters
    ----------
    f : function of a complex array of x's shape, which returns one number
    x : (...) where to differentiate
    h : length of the step; any value far below 1e-8 gives the same

    Returns
    -------
    (...) df/dx, float64

    Raises
    ------
    ConfigError : the imaginary part does not survive f

    Examples
    --------
    >>> complex_step(lambda x: (x**3).sum(), np.array([1.0, 2.0])).tolist()
    [3.0, 12.0]
    """
    x = np.array(x, np.complex128)
    gradient = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        kept = x[index]
        x[index] = kept + 1j * h
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            try:
                value = f(x)
            except (TypeError, np.exceptions.ComplexWarning) as error:
                raise ConfigError(
                    f"f does not take complex numbers ({error}); {_CULPRITS}"
                ) from error
        x[index] = kept
        if not np.iscomplexobj(value):
            raise ConfigError(f"the imaginary part did not survive f; {_CULPRITS}")
        gradient[index] = np.imag(value) / h
    return gradient


def fourth_order_difference(f, x, h=1e-3):
    """Gradient of the scalar function `f` at the array `x` from four values of f for each entry.

    Parameters
    ----------
    f : function of a float64 array of x's shape, which returns one number
    x : (...) where to differentiate; no kink of f within 2 h
    h : length of the step: the error is about h^4 f^(5) / 30 + 1e-16 f / h

    Returns
    -------
    (...) df/dx, float64

    Examples
    --------
    >>> fourth_order_difference(lambda x: (x**3).sum(), np.array([1.0, 2.0])).round(9).tolist()
    [3.0, 12.0]
    """
    x = np.array(x, np.float64)
    gradient = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        kept = x[index]
        total = 0.0
        for steps, weight in ((1, 8), (-1, -8), (2, -1), (-2, 1)):
            x[index] = kept + steps * h
            total += weight * f(x)
        x[index] = kept
        gradient[index] = total / (12 * h)
    return gradient


def adjoint_error(forward, adjoint, x, y):
    """Relative error of <A x, y> = <x, A^T y>, for a linear map and what should be its transpose.

    Complex arrays count as pairs of reals: <a, b> is the real part of sum conj(a) b.

    Parameters
    ----------
    forward : function x -> A x
    adjoint : function y -> A^T y, the backward of `forward`
    x, y : random arrays of the shapes of input and output

    Returns
    -------
    float, |<A x, y> - <x, A^T y>| / (|A x| |y|); rounding alone gives about 1e-16

    Examples
    --------
    >>> A = np.arange(6.0).reshape(2, 3)
    >>> adjoint_error(lambda x: A @ x, lambda y: A.T @ y, np.ones(3), np.ones(2))
    0.0
    """
    Ax, ATy = forward(x), adjoint(y)
    for name, got, like in (("forward(x)", Ax, y), ("adjoint(y)", ATy, x)):
        if np.shape(got) != np.shape(like):
            raise AssertionError(f"{name} has shape {np.shape(got)}, expected {np.shape(like)}")
    scale = np.linalg.norm(Ax) * np.linalg.norm(y)
    if not scale > 0:
        raise AssertionError("A x or y is zero: the test would prove nothing")
    return float(abs(np.vdot(Ax, y).real - np.vdot(x, ATy).real) / scale)


# A whole layer -----------------------------------------------------------------------------------


def check_gradients(
    layer,
    *inputs,
    rng=None,
    method=complex_step,
    tolerance=None,
    may_vanish=(),
    **keywords,
):
    """Compare every gradient that `layer.backward` gives, entry by entry, with measured ones.

    A copy of the layer, in float64 and with its parameters moved off their initial values (a bias
    that is 0 hides mistakes), runs forward, then backward with a random upstream gradient dy. What
    it returns and adds to its parameters is compared with the derivatives of the number
    sum(dy * y). The error of an entry is relative to the largest of three sizes,

        |backward - measured| / max(|backward|, |measured|, rms of the measured array)

    the third because an entry near 0 is a sum of terms of the array's size that cancel, and is
    only known up to their rounding.

    Parameters
    ----------
    layer : the layer to check; it is not changed
    inputs : what forward takes: arrays, or tuples of arrays such as an LSTM's state (h, c).
        Integer and boolean arrays and None are passed on, not differentiated
    rng : seed or Generator of the upstream gradient and the parameters' move
    method : `complex_step`, or `fourth_order_difference` for layers with kinks
    tolerance : largest error allowed; None is 1e-11 for the complex step, else 1e-7
    may_vanish : names of gradients, such as "Wh", that may be zero, as a recurrent weight's is
        after a single step from a zero state; any other must have a norm above 1e-3
    keywords : further arguments of forward, passed on, such as `lengths`

    Returns
    -------
    float, the worst error

    Raises
    ------
    AssertionError : a gradient is wrong; the message names the worst entry and likely causes

    Examples
    --------
    >>> from scratchaudio.nn import Linear
    >>> check_gradients(Linear(3, 5, rng=0), np.ones((4, 3)), rng=1) < 1e-11
    True
    """
    rng = np.random.default_rng(rng)
    if tolerance is None:
        tolerance = 1e-11 if method is complex_step else 1e-7
    layer = copy.deepcopy(layer).train().astype(np.float64)
    for parameter in layer.parameters():
        parameter.value += 0.3 * rng.standard_normal(parameter.value.shape)
    inputs = map_arrays(lambda a: np.array(a, np.float64) if is_float(a) else a, inputs)

    upstream = map_arrays(
        lambda y: rng.standard_normal(y.shape), layer.forward(*inputs, **keywords)
    )
    from_backward = _backward_gradients(layer, inputs, upstream, keywords)
    measured = _measured_gradients(layer, inputs, upstream, keywords, method)

    worst, failures = 0.0, []
    largest = max(map(_rms, measured.values()), default=0.0)
    for name, expected in measured.items():
        got = from_backward[name]
        if got.shape != expected.shape:
            raise AssertionError(
                f"{_title(layer)}: backward returned a gradient of shape {got.shape} for {name}, "
                f"whose shape is {expected.shape}"
            )
        if name not in may_vanish and not np.linalg.norm(expected) > SIGNAL:
            raise AssertionError(
                f"{_title(layer)}: the measured gradient of {name} is all but zero (norm "
                f"{np.linalg.norm(expected):.1e}), so that agreement would prove nothing: forward "
                f"does not use {name}, or the step is lost on its way ({_CULPRITS})"
            )
        # What vanishes is a sum whose terms cancel, but for their rounding; the largest gradient
        # stands for the size of these terms.
        rms = largest if name in may_vanish else _rms(expected)
        size = np.maximum(np.maximum(abs(got), abs(expected)), max(rms, SIGNAL))
        error = abs(got - expected) / size
        worst = max(worst, error.max(initial=0.0))
        if not (error <= tolerance).all():  # NaN fails too
            failures.append((name, got, expected, error))
    if failures:
        raise AssertionError(f"{_title(layer)}: {_report(failures, tolerance, method)}")
    return float(worst)


def _rms(a):
    return np.sqrt(np.mean(a**2)) if a.size else 0.0


def _backward_gradients(layer, inputs, upstream, keywords):
    """Name -> gradient, of every differentiable input and every parameter, from backward."""
    layer.zero_grad()
    layer.forward(*inputs, **keywords)
    returned = layer.backward(*upstream) if type(upstream) is tuple else layer.backward(upstream)
    if len(inputs) == 1:
        returned = (returned,)
    if type(returned) is not tuple or len(returned) != len(inputs):
        n = len(returned) if type(returned) is tuple else 1
        if n == 1 and all(x is None for x in inputs[1:]):
            returned = (returned,) + (None,) * (len(inputs) - 1)
        else:
            raise AssertionError(
                f"{_title(layer)}: backward returned {n} gradients, forward took {len(inputs)} "
                f"inputs; return a tuple with one gradient for each"
            )
    gradients = {}
    wanted = dict(named_arrays(inputs, input_names(layer, inputs)))
    given = dict(named_arrays(returned, input_names(layer, inputs)))
    for name, x in wanted.items():
        if is_float(x):
            if given.get(name) is None:
                raise AssertionError(f"{_title(layer)}: backward returned no gradient for {name}")
            gradients[name] = np.asarray(given[name])
    for name, parameter in layer.named_parameters():
        gradients[name] = parameter.grad.copy()
    return gradients


def _measured_gradients(layer, inputs, upstream, keywords, method):
    """Name -> derivative of sum(dy * y), of the same arrays, from forward alone."""
    if method is complex_step:
        layer.astype(np.complex128)
        inputs = map_arrays(lambda x: x.astype(np.complex128) if is_float(x) else x, inputs)
    dys = [dy for _, dy in named_arrays(upstream, "dy")]

    def loss(inputs):
        ys = [y for _, y in named_arrays(layer.forward(*inputs, **keywords), "y")]
        return sum((dy * y).sum() for dy, y in zip(dys, ys, strict=True))

    measured = {}
    for name, x in named_arrays(inputs, input_names(layer, inputs)):
        if is_float(x):

            def loss_of_input(changed, x=x):
                return loss(map_arrays(lambda a: changed if a is x else a, inputs))

            measured[name] = method(loss_of_input, x.real)
    for name, parameter in layer.named_parameters():

        def loss_of_parameter(changed, parameter=parameter):
            parameter.value = changed
            return loss(inputs)

        kept = parameter.value
        measured[name] = method(loss_of_parameter, kept.real)
        parameter.value = kept
    return measured


# Saying what is wrong ----------------------------------------------------------------------------


def _report(failures, tolerance, method):
    """Sentences on the worst entry of the worst array, and what its pattern suggests."""
    name, got, expected, error = max(failures, key=lambda f: np.nan_to_num(f[3], nan=np.inf).max())
    index = np.unravel_index(np.argmax(np.nan_to_num(error, nan=np.inf)), error.shape)
    where = f"[{', '.join(str(i) for i in index)}]" if index else ""
    others = [f"{failure[0]}" for failure in failures if failure[0] != name]
    return (
        f"{name}{where}: backward {got[index]:.9g}, {method.__name__.replace('_', ' ')} "
        f"{expected[index]:.9g} (relative error {error[index]:.1e}, allowed {tolerance:g}); "
        f"{np.count_nonzero(~(error <= tolerance))} of {error.size} entries of {name} are wrong"
        + (f", and so are entries of {', '.join(others)}" if others else "")
        + f". {_diagnose(got, expected)}"
    )


def _diagnose(got, expected):
    """What the pattern of a wrong gradient suggests."""

    def close(a, b):
        return a.shape == b.shape and np.allclose(a, b, rtol=1e-6, atol=1e-9 * abs(b).max())

    if not np.isfinite(got).all():
        return "backward gives NaN or infinity: look for a division by 0 or an array not filled"
    if not got.any():
        return "backward leaves it at zero: is it computed, added with += and returned?"
    if close(got, -expected):
        return "All signs are turned: a minus is missing or one too many"
    factor = np.vdot(expected, got) / np.vdot(expected, expected) if expected.any() else 0.0
    if close(got, factor * expected):
        return (
            f"All entries are {factor:.6g} times what they should be: a factor is missing, or a "
            f"mean stands where a sum should (or the reverse)"
        )
    if got.ndim == 2 and close(got, expected.T):
        return "It is the transpose of what it should be"
    for axis in range(expected.ndim):
        if close(got, np.flip(expected, axis)):
            return f"It is reversed along axis {axis}"
    if np.count_nonzero(got) < np.count_nonzero(expected) and close(
        got[got != 0], expected[got != 0]
    ):
        return "Some entries are left at zero, the others are right: is a part skipped?"
    return (
        "Usual causes: a term of the chain rule is missing (a value used twice: gradients add), a "
        "wrong axis in a sum, a factor or sign, a value saved by forward and changed afterwards"
    )


def _title(layer):
    return type(layer).__name__


# Arrays in nested tuples -------------------------------------------------------------------------


def is_float(x):
    """Whether `x` is an array of floating (or complex) type: what can be differentiated."""
    return x is not None and np.issubdtype(np.asarray(x).dtype, np.inexact)


def map_arrays(function, tree):
    """Apply `function` to each array of nested tuples; None stays None."""
    if isinstance(tree, tuple | list):
        return tuple(map_arrays(function, branch) for branch in tree)
    return None if tree is None else function(tree)


def named_arrays(tree, name):
    """Yield (name, array) of nested tuples: "state[0]"; `name` may be one name for each branch."""
    if isinstance(tree, tuple | list):
        names = name if isinstance(name, list) else [f"{name}[{i}]" for i in range(len(tree))]
        for branch_name, branch in zip(names, tree, strict=True):
            yield from named_arrays(branch, branch_name)
    elif tree is not None:
        yield name, tree


def input_names(layer, inputs):
    """The names that the layer's forward gives its first arguments."""
    names = list(inspect.signature(layer.forward).parameters)
    return [names[i] if i < len(names) else f"input {i}" for i in range(len(inputs))]
