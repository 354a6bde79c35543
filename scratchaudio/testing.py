"""Does a layer keep the contract? One call that holds any `Layer`, ours or yours, to all of it.

    check_layer(lambda rng: MyLayer(3, 5, rng=rng), (4, 2, 3))

draws an input of shape (4, 2, 3) and goes through the laws below, each a short function here:
what goes in stays as it was, float32 stays float32, gradients add up, every forward serves one
backward, evaluation keeps nothing, a saved state brings back the same layer, and every gradient is
what a measurement of forward says (`nn.gradcheck`). The first law that is broken raises an
AssertionError of one sentence: which law, what came, where to look.

Passing does not say that forward computes what you want: compare its values with a slow loop.

A layer that draws random numbers in training, as dropout does, is another function at every call;
give it a `RepeatingGenerator`, and it is checked like any other.
"""

import re

import numpy as np

from scratchaudio.errors import CallOrderError, ConfigError, ShapeError
from scratchaudio.nn.gradcheck import (
    check_gradients,
    complex_step,
    input_names,
    is_float,
    map_arrays,
    named_arrays,
)
from scratchaudio.nn.layer import Layer, Parameter


def check_layer(
    factory,
    *inputs,
    method=complex_step,
    may_vanish=(),
    feature_axis=-1,
    time_axis=1,
    keywords=None,
    rng=0,
):
    """Hold a layer to every law of the layer contract.

    Parameters
    ----------
    factory : function `factory(rng)` that makes the layer, with float32 parameters
    inputs : for each array that forward takes, its shape, or a tuple of shapes for a state such as
        an LSTM's (h, c), or the array itself. Axis 0 is the batch. Make all sizes different, none
        of them 1, so that a wrong axis shows
    method : how gradients are measured: `complex_step`, or `fourth_order_difference` for layers
        with kinks or without a complex form; random inputs then stay 0.1 away from 0
    may_vanish : names of gradients that may be zero, see `check_gradients`
    feature_axis : the axis of the first input whose size the parameters fix; None if none is fixed
    time_axis : the axis that is cut to a single step, in inputs of three axes and more; None: none
    keywords : dict of further arguments of forward, such as {"lengths": ...}
    rng : seed or Generator of inputs, parameters and upstream gradients

    Returns
    -------
    list of the laws that were checked and hold; those that do not apply are left out. A line that
    names their numbers is printed

    Raises
    ------
    AssertionError : a law is broken

    Examples
    --------
    >>> from scratchaudio.nn import Linear
    >>> laws = check_layer(lambda rng: Linear(3, 5, rng=rng), (4, 2, 3))
    Linear: 20 of 20 checks passed
    >>> laws[2]
    'Float32 in, float32 out'
    """
    rng = np.random.default_rng(rng)
    case = _Case(factory, inputs, keywords or {}, method, may_vanish, feature_axis, time_axis, rng)
    passed, not_run = [], []
    for check in CHECKS:
        law = check.__doc__.rstrip(".")
        try:
            reason = check(case)
        except Exception as error:
            said = str(error) if type(error) is AssertionError else repr(error)
            raise AssertionError(f"{case.name} breaks the law '{law}': {said}") from error
        if reason is None:
            passed.append(law)
        else:
            not_run.append(f"'{law}' ({reason})")
    print(
        f"{case.name}: {len(passed)} of {len(CHECKS)} checks passed"
        + (f", not run: {', '.join(not_run)}" if not_run else "")
    )
    return passed


class _Case:
    """What the laws are checked on: a way to make the layer, and inputs nobody has touched."""

    def __init__(self, factory, inputs, keywords, method, may_vanish, feature_axis, time_axis, rng):
        if not inputs:
            raise ConfigError("check_layer needs the shape of at least one input")
        self.factory, self.keywords, self.method = factory, keywords, method
        self.may_vanish, self.feature_axis, self.time_axis = may_vanish, feature_axis, time_axis
        self.rng = rng
        self.seed = int(rng.integers(2**32))
        layer = factory(rng=np.random.default_rng(self.seed))
        if not isinstance(layer, Layer):
            raise ConfigError(f"factory must make a Layer, it made a {type(layer).__name__}")
        self.name = type(layer).__name__
        self._inputs = tuple(self._drawn(given) for given in inputs)

    def layer(self, seed_offset=0, dtype=np.float32):
        """Make a new layer; the same one each time unless `seed_offset` differs."""
        return self.factory(rng=np.random.default_rng(self.seed + seed_offset)).astype(dtype)

    def inputs(self, dtype=np.float32):
        """Copies of the inputs."""
        return map_arrays(lambda a: a.astype(dtype) if is_float(a) else a.copy(), self._inputs)

    def forward(self, layer, inputs):
        return layer.forward(*inputs, **self.keywords)

    def backward(self, layer, dy):
        return layer.backward(*dy) if type(dy) is tuple else layer.backward(dy)

    def upstream(self, y):
        """A random gradient for each array that forward returned; the same one each time."""
        rng = np.random.default_rng(self.seed + 1)
        return map_arrays(lambda a: rng.standard_normal(a.shape).astype(a.dtype), y)

    def one_pass(self, layer, inputs=None):
        """Forward and backward; return (y, dy, dx), the last a tuple with one item an input."""
        inputs = self.inputs() if inputs is None else inputs
        y = self.forward(layer, inputs)
        dy = self.upstream(y)
        dx = self.backward(layer, dy)
        return y, dy, dx if len(inputs) > 1 else (dx,)

    def named_inputs(self, inputs):
        return list(named_arrays(inputs, input_names(self.layer(), inputs)))

    def _drawn(self, given):
        """An array from a shape, a tuple of arrays from a tuple of shapes."""
        if given is None or isinstance(given, np.ndarray):
            return given
        if not all(isinstance(size, int | np.integer) for size in given):
            return tuple(self._drawn(item) for item in given)
        x = self.rng.standard_normal(given)
        if self.method is not complex_step:  # keep away from a kink at 0
            x = np.where(x < 0, x - 0.1, x + 0.1)
        return x.astype(np.float32)


# The laws: a docstring that states it, None if it holds, a reason if it does not apply ------------


def _same_seed_same_layer(case):
    """The same seed makes the same parameters."""
    first, second = (dict(case.layer().named_parameters()) for _ in range(2))
    for name, parameter in first.items():
        if parameter is second[name]:
            raise AssertionError(
                f"{name} belongs to two layers: make it in __init__, not the class"
            )
        if not np.array_equal(parameter.value, second[name].value):
            raise AssertionError(
                f"{name} differs between two layers of one seed: draw it from "
                f"rng = np.random.default_rng(rng), never from np.random"
            )


def _parameters_are_found(case):
    """Walking named_parameters() finds every Parameter, each float32 with a gradient like it."""
    layer = case.factory(rng=np.random.default_rng(case.seed))
    found = dict(layer.named_parameters())
    for path, parameter in _held(layer, Parameter):
        if not any(parameter is other for other in found.values()):
            raise AssertionError(
                f"the Parameter in {path} is not among {sorted(found)}: hold layers in attributes "
                f"or lists"
            )
    for name, parameter in found.items():
        value, grad = parameter.value, parameter.grad
        if value.dtype != np.float32 or grad.dtype != np.float32 or grad.shape != value.shape:
            raise AssertionError(
                f"{name}.value is {value.dtype} {value.shape} and {name}.grad {grad.dtype} "
                f"{grad.shape}; both must be float32 of one shape"
            )


def _float32_stays(case):
    """Float32 in, float32 out."""
    for name, y in named_arrays(case.forward(case.layer(), case.inputs()), "y"):
        _require_dtype(name, y, np.float32, "forward")
        if not np.isfinite(y).all():
            raise AssertionError(f"{name} holds NaN or infinity for a finite input")


def _forward_changes_nothing(case):
    """Forward does not change what it is given, nor its parameters."""
    layer, inputs = case.layer(), case.inputs()
    before = layer.state_dict()
    case.forward(layer, inputs)
    for (name, x), (_, original) in zip(
        case.named_inputs(inputs), case.named_inputs(case.inputs()), strict=True
    ):
        if not np.array_equal(x, original):
            raise AssertionError(f"forward changed {name} in place: x = x - m makes a new array")
    _require_same_state("forward", layer, before)


def _forward_repeats(case):
    """Forward gives the same answer twice."""
    layer = case.layer()
    first, second = (case.forward(layer, case.inputs()) for _ in range(2))
    _require_equal(first, second, "y", "the second forward differs from the first: something stays")


def _backward_fits(case):
    """Backward returns one float32 gradient of the input's shape for each input."""
    layer, inputs = case.layer(), case.inputs()
    *_, dx = case.one_pass(layer)
    if type(dx) is not tuple or len(dx) != len(inputs):
        raise AssertionError(
            f"backward returned {len(dx) if type(dx) is tuple else 1} gradients for {len(inputs)} "
            f"inputs"
        )
    given = dict(case.named_inputs(dx))
    for name, x in case.named_inputs(inputs):
        if not is_float(x):
            continue
        if given.get(name) is None:
            raise AssertionError(f"backward returned no gradient for {name}: return dx")
        if np.shape(given[name]) != x.shape:
            raise AssertionError(
                f"the gradient of {name} has shape {np.shape(given[name])}, {name} has {x.shape}"
            )
        _require_dtype(f"the gradient of {name}", given[name], np.float32, "backward")
    for name, parameter in layer.named_parameters():
        if parameter.grad.shape != parameter.value.shape:
            raise AssertionError(
                f"{name}.grad has shape {parameter.grad.shape} after backward, "
                f"{name}.value has {parameter.value.shape}"
            )
        _require_dtype(f"{name}.grad", parameter.grad, np.float32, "backward")


def _backward_changes_nothing(case):
    """Backward does not change dy, the inputs or the parameters."""
    layer, inputs = case.layer(), case.inputs()
    before = layer.state_dict()
    y, dy, _ = case.one_pass(layer, inputs)
    _require_equal(dy, case.upstream(y), "dy", "backward changed it in place: work on a new array")
    _require_equal(inputs, case.inputs(), "x", "backward changed it in place: work on a new array")
    _require_same_state("backward", layer, before)


def _read_only_and_strided(case):
    """Read-only and non-contiguous arrays give the same as ordinary ones."""
    y, _, dx = case.one_pass(case.layer())
    layer = case.layer()
    other_y = case.forward(layer, map_arrays(_read_only_strided, case.inputs()))
    other_dx = case.backward(layer, map_arrays(_read_only_strided, case.upstream(other_y)))
    advice = "it depends on the memory layout: reshape copies, .shape = and .data do not"
    _require_equal(other_y, y, "y", advice, tolerance=1e-5)
    _require_equal(other_dx, dx if len(case.inputs()) > 1 else dx[0], "dx", advice, tolerance=1e-5)


def _gradients_add_up(case):
    """Two passes add twice the gradient of one, to what is there already."""
    layer = case.layer()
    if not layer.parameters():
        return "no parameters"
    start, passes = {}, []
    for name, parameter in layer.named_parameters():
        parameter.grad[...] = start[name] = np.float32(0.5)
    for _ in range(2):
        case.one_pass(layer)
        passes.append({name: p.grad.copy() for name, p in layer.named_parameters()})
    for name, once in passes[0].items():
        first, both = once - start[name], passes[1][name] - start[name]
        size = max(abs(first).max(), 0.5)
        if not (abs(both - 2 * first) <= 1e-4 * size).all():
            raise AssertionError(
                f"{name}.grad is not twice as large after two passes as after one: add to it "
                f"with {name}.grad += ..., do not assign"
            )


def _second_backward_raises(case):
    """A second backward after one forward raises CallOrderError."""
    layer = case.layer()
    _, dy, _ = case.one_pass(layer)
    _require_raises(
        CallOrderError,
        lambda: case.backward(layer, dy),
        "it did not: begin backward with self.pop_saved()",
    )


def _backward_first_raises(case):
    """Backward before any forward raises CallOrderError."""
    dy = case.upstream(case.forward(case.layer(), case.inputs()))
    _require_raises(
        CallOrderError,
        lambda: case.backward(case.layer(), dy),
        "it did not: begin backward with self.pop_saved()",
    )


def _eval_keeps_nothing(case):
    """Forward after eval() keeps no array."""
    layer = case.layer().eval()
    before = dict(_held(layer, np.ndarray))
    case.forward(layer, case.inputs())
    for path, array in _held(layer, np.ndarray):
        if path not in before or array is not before[path]:
            raise AssertionError(
                f"it kept self.{path}: keep what backward needs with self.save_for_backward(...)"
            )


def _backward_after_eval_raises(case):
    """Backward after eval() raises CallOrderError."""
    layer = case.layer().eval()
    dy = case.upstream(case.forward(layer, case.inputs()))
    late = case.layer()
    case.forward(late, case.inputs())
    late.eval()
    for chosen in (layer, late):
        _require_raises(
            CallOrderError,
            lambda chosen=chosen: case.backward(chosen, dy),
            "it did not: keep values with self.save_for_backward, take them with self.pop_saved()",
        )


def _eval_is_deterministic(case):
    """Forward after eval() gives the same answer twice, float32 for float32."""
    layer = case.layer().eval()
    first, second = (case.forward(layer, case.inputs()) for _ in range(2))
    _require_equal(first, second, "y", "it is random in eval mode: ask self.training first")
    for name, y in named_arrays(first, "y"):
        _require_dtype(name, y, np.float32, "forward in eval mode")


def _state_dict_brings_it_back(case):
    """A state_dict() loaded into another layer makes it the same layer."""
    layer, other = case.layer(), case.layer(seed_offset=1)
    state = layer.state_dict()
    other.load_state_dict(state)
    expected = case.forward(layer.eval(), case.inputs())
    for array in state.values():
        array[...] = 7
    advice = "its y differs: is something learned not a Parameter, or state_dict not a copy?"
    _require_equal(case.forward(other.eval(), case.inputs()), expected, "y", advice)
    _require_equal(case.forward(layer.eval(), case.inputs()), expected, "y", advice)


def _batch_of_one(case):
    """The first of a batch alone gives the same as in the batch (eval mode)."""
    arrays = [x for _, x in case.named_inputs(case.inputs())]
    B = arrays[0].shape[0] if arrays[0].ndim else 0
    if any(x.ndim < 2 or x.shape[0] != B for x in arrays) or B < 2:
        return "no batch axis"
    layer = case.layer(dtype=np.float64).eval()
    inputs = case.inputs(np.float64)

    def first(x):
        return x[:1] if isinstance(x, np.ndarray) and x.ndim and x.shape[0] == B else x

    keywords = {name: first(value) for name, value in case.keywords.items()}
    _require_equal(
        layer.forward(*map_arrays(first, inputs), **keywords),
        map_arrays(first, case.forward(layer, inputs)),
        "y",
        "it depends on the others: a sum or mean over the wrong axis",
        tolerance=1e-10,
    )


def _one_step(case):
    """A sequence of one step works, gradients included."""
    if case.time_axis is None or case.inputs()[0].ndim < 3:
        return "no time axis"
    if case.keywords:
        return "keywords given"
    axis = case.time_axis
    inputs = map_arrays(
        lambda x: np.take(x, [0], axis=axis) if x.ndim >= 3 else x, case.inputs(np.float64)
    )
    names = [name for name, _ in case.named_inputs(inputs)]
    names += [name for name, _ in case.layer().named_parameters()]
    check_gradients(case.layer(), *inputs, rng=case.seed, method=case.method, may_vanish=names)


def _wrong_size_raises(case):
    """An input of a wrong size raises ShapeError that names both sizes."""
    if case.feature_axis is None or not case.layer().parameters():
        return "no size is fixed"
    x, *others = case.inputs()
    wrong_shape = list(x.shape)
    size = wrong_shape[case.feature_axis]
    wrong_shape[case.feature_axis] = wrong = size + 17
    message = _require_raises(
        ShapeError,
        lambda: case.forward(case.layer(), (np.ones(wrong_shape, x.dtype), *others)),
        f"forward took x of shape {tuple(wrong_shape)} where {tuple(x.shape)} is right: compare "
        f"x.shape with the parameters' first",
    )
    numbers = re.findall(r"\d+", message)
    if str(wrong) not in numbers or str(size) not in numbers:
        raise AssertionError(f"the message must name {wrong}, which came, and {size}: {message!r}")


def _float64_works(case):
    """Float64 in, float64 out, and the same as float32 within its rounding."""
    double = case.forward(case.layer(dtype=np.float64), case.inputs(np.float64))
    for name, y in named_arrays(double, "y"):
        _require_dtype(name, y, np.float64, "forward")
    single = case.forward(case.layer(), case.inputs())
    advice = "float32 and float64 disagree by more than rounding"
    _require_equal(single, double, "y", advice, tolerance=1e-4)


def _gradients_are_right(case):
    """Every gradient of backward is what forward's measured derivatives say."""
    check_gradients(
        case.layer(),
        *case.inputs(np.float64),
        rng=case.seed,
        method=case.method,
        may_vanish=case.may_vanish,
        **case.keywords,
    )


CHECKS = [
    _same_seed_same_layer,
    _parameters_are_found,
    _float32_stays,
    _forward_changes_nothing,
    _forward_repeats,
    _backward_fits,
    _backward_changes_nothing,
    _read_only_and_strided,
    _gradients_add_up,
    _second_backward_raises,
    _backward_first_raises,
    _eval_keeps_nothing,
    _backward_after_eval_raises,
    _eval_is_deterministic,
    _state_dict_brings_it_back,
    _gradients_are_right,
    _float64_works,
    _batch_of_one,
    _one_step,
    _wrong_size_raises,
]


# Noise that stands still -------------------------------------------------------------------------


def _from_the_start(name):
    """Generator's method of this name, run from the state that the Generator began with."""
    draw = getattr(np.random.Generator, name)

    def repeat(self, *arguments, **keywords):
        self.bit_generator.state = self._first_state
        return draw(self, *arguments, **keywords)

    return repeat


class RepeatingGenerator(np.random.Generator):
    """A random Generator that gives the same numbers at every call: noise that stands still.

    Measuring a derivative means to call forward again and again and see what the input changed.
    Dropout would change more, by another mask at each call. With this Generator the mask is always
    the same, forward is a function again, and `check_layer` checks its gradients with dropout:

        check_layer(lambda rng: MyLayer(3, 5, dropout=0.3, rng=RepeatingGenerator(rng)), (4, 2, 3))

    A copy repeats the same numbers too.

    Parameters
    ----------
    seed : seed, or Generator that one is drawn from

    Examples
    --------
    >>> rng = RepeatingGenerator(0)
    >>> bool(rng.random() == rng.random())
    True
    """

    def __init__(self, seed=None):
        self.seed = int(np.random.default_rng(seed).integers(2**63))
        super().__init__(np.random.PCG64(self.seed))
        self._first_state = self.bit_generator.state

    random = _from_the_start("random")
    integers = _from_the_start("integers")
    uniform = _from_the_start("uniform")
    standard_normal = _from_the_start("standard_normal")
    normal = _from_the_start("normal")
    binomial = _from_the_start("binomial")
    choice = _from_the_start("choice")
    permutation = _from_the_start("permutation")
    permuted = _from_the_start("permuted")
    shuffle = _from_the_start("shuffle")

    def __deepcopy__(self, memo):
        """Copy: NumPy's own would be an ordinary Generator."""
        copied = RepeatingGenerator()
        copied.seed, copied._first_state = self.seed, self._first_state
        return copied


# What the laws share -----------------------------------------------------------------------------


def _require_dtype(name, array, dtype, where):
    """Raise unless `array` has the dtype."""
    if np.asarray(array).dtype != dtype:
        raise AssertionError(
            f"{name} is {np.asarray(array).dtype} where {np.dtype(dtype)} is due: in {where}, look "
            f"for np.zeros(n) without a dtype, or a NumPy number like np.sqrt(64) (use math.sqrt)"
        )


def _require_equal(got, expected, name, advice, tolerance=0.0):
    """Raise unless all arrays are equal, up to `tolerance` times their largest entry."""
    expected = list(named_arrays(expected, name))
    for (path, a), (_, b) in zip(named_arrays(got, name), expected, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        if a.shape != b.shape:
            raise AssertionError(f"{path} has shape {a.shape}, expected {b.shape}; {advice}")
        if not (abs(a - b) <= tolerance * abs(b).max(initial=1e-3)).all():
            raise AssertionError(f"{path} is off by {abs(a - b).max():.2g}; {advice}")


def _require_same_state(when, layer, before):
    """Raise unless the parameters are as they were; buffers may change in training."""
    for name, parameter in layer.named_parameters():
        if not np.array_equal(parameter.value, before[name]):
            raise AssertionError(f"{when} changed {name}.value: only the optimiser may")


def _require_raises(kind, action, advice):
    """Return the message of the error of this kind that `action` raises; else raise."""
    try:
        action()
    except kind as error:
        return str(error)
    except Exception as error:
        raise AssertionError(
            f"{type(error).__name__} ({error}) came instead of {kind.__name__}"
        ) from error
    raise AssertionError(advice)


def _read_only_strided(x):
    """The same numbers in every second place of a larger array, not to be written."""
    wide = np.zeros((*x.shape, 2), x.dtype)
    wide[..., 0] = x
    view = wide[..., 0]
    view.flags.writeable = False
    return view


def _held(value, kind, path="", inside=()):
    """Yield (path, object) of each `kind` held in a layer, its layers and their containers."""
    if isinstance(value, kind):
        yield path, value
    elif any(value is other for other in inside) or (
        isinstance(value, Parameter) and kind is not Parameter
    ):
        return
    elif isinstance(value, Layer):
        for name, item in vars(value).items():
            yield from _held(item, kind, f"{path}.{name}".lstrip("."), (*inside, value))
    elif isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _held(item, kind, f"{path}.{key}", (*inside, value))
