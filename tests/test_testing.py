"""check_layer: layers broken on purpose, each of which it must reject and say why."""

import copy

import numpy as np
import pytest

from scratchaudio.errors import ConfigError, ShapeError
from scratchaudio.nn import Dropout, Linear, Parameter, Sequential, Tanh
from scratchaudio.testing import CHECKS, RepeatingGenerator, check_layer

X = (4, 2, 3)  # B, T, D


class BiasOverTheWrongAxis(Linear):
    def backward(self, dy):
        before = self.b.grad.copy()
        dx = super().backward(dy)
        self.b.grad[...] = before + np.resize(dy.sum(axis=-1).ravel(), before.shape)
        return dx


class MeanForSum(Linear):
    def backward(self, dy):
        before = self.W.grad.copy()
        dx = super().backward(dy)
        self.W.grad[...] = before + (self.W.grad - before) / (dy.size // dy.shape[-1])
        return dx


class Assigns(Linear):
    def backward(self, dy):
        self.W.grad[...] = 0
        return super().backward(dy)


class NewGradient(Linear):
    def backward(self, dy):
        (x,) = self.pop_saved()
        rows = dy.reshape(-1, dy.shape[-1])
        self.W.grad = (x.T @ rows).T
        self.b.grad += rows.sum(axis=0)
        return dy @ self.W.value.T


class TransposedGradient(Linear):  # square: only the numbers show it
    def backward(self, dy):
        before = self.W.grad.copy()
        dx = super().backward(dy)
        self.W.grad[...] = before + (self.W.grad - before).T
        return dx


class TransposedWeight(Linear):  # square
    def backward(self, dy):
        super().backward(dy)
        return dy @ self.W.value


class CentresInPlace(Linear):
    def forward(self, x):
        x -= x.mean()
        return super().forward(x)


class ChangesUpstream(Linear):
    def backward(self, dy):
        dy *= 2
        return super().backward(dy / 2)


class ChangesInputInBackward(Linear):
    def forward(self, x):
        self._x = x if self.training else None
        return super().forward(x)

    def backward(self, dy):
        dx = super().backward(dy)
        self._x[...] = 0
        return dx


class CachesInEval(Linear):
    def forward(self, x):
        self.last_x = x
        return super().forward(x)


class Float64Output(Linear):
    def forward(self, x):
        return super().forward(x) * np.sqrt(64)


class Float64Gradient(Linear):
    def backward(self, dy):
        return super().backward(dy).astype(np.float64)


class Float64Grad(Linear):
    def backward(self, dy):
        dx = super().backward(dy)
        self.W.grad = self.W.grad.astype(np.float64)
        return dx


class WrongShape(Linear):
    def backward(self, dy):
        dx = super().backward(dy)
        return dx.reshape(-1, dx.shape[-1])


class NoReturn(Linear):
    def backward(self, dy):
        super().backward(dy)


class ZeroInput(Linear):
    def backward(self, dy):
        return np.zeros_like(super().backward(dy))


class WrongSign(Linear):
    def backward(self, dy):
        return -super().backward(dy)


class SavedForGood(Linear):
    def pop_saved(self):
        return self._saved


class OwnCache(Linear):
    def forward(self, x):
        y = super().forward(x)
        self._saved = (x.reshape(-1, x.shape[-1]),)
        return y


class OwnError(Linear):
    def pop_saved(self):
        if self._saved is None:
            raise RuntimeError("no forward")
        return super().pop_saved()


class NeedsItsForward(Linear):
    def forward(self, x):
        self.shape = x.shape
        return super().forward(x)

    def backward(self, dy):
        shape = self.shape
        return super().backward(dy).reshape(shape)


class KeepsAfterEval(Linear):
    def train(self, mode=True):
        self.training = mode
        return self


class NoSizeCheck(Linear):
    def forward(self, x):
        return super().forward(x[..., : self.W.value.shape[0]])


class PlainSizeError(Linear):
    def forward(self, x):
        if x.shape[-1] != self.W.value.shape[0]:
            raise ShapeError("wrong shape")
        return super().forward(x)


class GlobalRandom(Linear):
    def __init__(self, n_in, n_out, rng=None):
        super().__init__(n_in, n_out)  # forgets to pass rng on


class NoisyInEval(Linear):
    noise = np.random.default_rng(0)

    def forward(self, x):
        y = super().forward(x)
        return y if self.training else y + self.noise.standard_normal(y.shape, y.dtype)


class Drifts(Linear):
    def __init__(self, n_in, n_out, rng=None):
        super().__init__(n_in, n_out, rng=rng)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x) * self.calls


class HiddenInTuple(Linear):
    def __init__(self, n_in, n_out, rng=None):
        super().__init__(n_in, n_out, rng=rng)
        self.gains = (Parameter(np.ones(n_out, np.float32)),)


class SharedByAll(Linear):
    shared = Parameter(np.ones(3, np.float32))

    def __init__(self, n_in, n_out, rng=None):
        super().__init__(n_in, n_out, rng=rng)
        self.b = SharedByAll.shared


class LearnsOutsideParameters(Linear):
    def __init__(self, n_in, n_out, rng=None):
        rng = np.random.default_rng(rng)
        super().__init__(n_in, n_out, rng=rng)
        self.offset = rng.standard_normal(n_out).astype(np.float32)

    def forward(self, x):
        return super().forward(x) + self.offset


class StateIsNoCopy(Linear):
    def state_dict(self):
        return {name: parameter.value for name, parameter in self.named_parameters()}


class MixesTheBatch(Linear):
    def forward(self, x):
        return super().forward(x - x.mean(axis=0))

    def backward(self, dy):
        dx = super().backward(dy)
        return dx - dx.mean(axis=0)


class NeedsTwoSteps(Linear):
    def forward(self, x):
        x[:, 1]
        return super().forward(x)


class ParametersInFloat64(Linear):
    def __init__(self, n_in, n_out, rng=None):
        super().__init__(n_in, n_out, rng=rng, dtype=np.float64)


class WritesIntoInput(Linear):
    """Writes what is there already, so that only a read-only array shows it."""

    def forward(self, x):
        x *= 1
        return super().forward(x)


class DropsTheStep(Linear):
    def forward(self, x):
        return super().forward(x * (np.abs(x) > 0) if x.dtype.kind == "f" else np.abs(x))


class BreaksInFloat64(Linear):
    def forward(self, x):
        y = super().forward(x)
        return y + 0.01 if y.dtype == np.float64 else y


BROKEN = [
    (BiasOverTheWrongAxis, r"b\[\d\]: backward .*, complex step .*wrong axis in a sum"),
    (MeanForSum, r"W\[\d, \d\].* 0\.125 times .* mean stands where a sum should"),
    (Assigns, r"W\.grad is not twice as large .* \+="),
    (NewGradient, r"W\.grad is not twice as large .* \+="),
    (TransposedGradient, r"W\[\d, \d\].*transpose"),
    (TransposedWeight, r"x\[\d, \d, \d\]: backward .*, complex step"),
    (CentresInPlace, r"forward changed x in place"),
    (ChangesUpstream, r"dy is off by .*backward changed it in place"),
    (ChangesInputInBackward, r"x\[0\] is off by .*backward changed it in place"),
    (CachesInEval, r"'Forward after eval\(\) keeps no array': it kept self\.last_x"),
    (Float64Output, r"y is float64 where float32 is due.*math\.sqrt"),
    (Float64Gradient, r"gradient of x is float64 where float32 is due"),
    (Float64Grad, r"W\.grad is float64 where float32 is due"),
    (WrongShape, r"gradient of x has shape \(8, 3\), x has \(4, 2, 3\)"),
    (NoReturn, r"backward returned no gradient for x: return dx"),
    (ZeroInput, r"x\[.*backward 0, .*leaves it at zero"),
    (WrongSign, r"x\[.*signs are turned"),
    (SavedForGood, r"'A second backward.*pop_saved"),
    (OwnCache, r"'Forward after eval\(\) keeps no array': it kept self\._saved"),
    (OwnError, r"RuntimeError \(no forward\) came instead of CallOrderError"),
    (NeedsItsForward, r"'Backward before any forward.*AttributeError .*instead of CallOrderError"),
    (KeepsAfterEval, r"'Backward after eval\(\) raises CallOrderError': it did not"),
    (NoSizeCheck, r"forward took x of shape \(4, 2, 20\) where \(4, 2, 3\) is right"),
    (PlainSizeError, r"must name 20, which came, and 3"),
    (GlobalRandom, r"W differs between two layers of one seed.*default_rng"),
    (NoisyInEval, r"random in eval mode"),
    (Drifts, r"second forward differs"),
    (HiddenInTuple, r"the Parameter in gains\.0 is not among \['W', 'b'\]"),
    (SharedByAll, r"b belongs to two layers"),
    (LearnsOutsideParameters, r"brings|makes it the same layer.*not a Parameter"),
    (StateIsNoCopy, r"state_dict not a copy"),
    (MixesTheBatch, r"sum or mean over the wrong axis"),
    (NeedsTwoSteps, r"'A sequence of one step works.*IndexError"),
    (ParametersInFloat64, r"W\.value is float64"),
    (WritesIntoInput, r"'Read-only .*read-only"),
    (DropsTheStep, r"imaginary part did not survive.*np\.abs|x.*all but zero|complex step"),
    (BreaksInFloat64, r"float32 and float64 disagree"),
]


@pytest.mark.parametrize(
    ("broken", "message"), BROKEN, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_broken_layer_is_rejected_and_the_cause_named(broken, message):
    with pytest.raises(AssertionError, match=f"(?s){broken.__name__} breaks the law .*{message}"):
        check_layer(lambda rng: broken(3, 3, rng=rng), X)


def test_a_broken_part_of_a_model_is_found():
    with pytest.raises(AssertionError, match=r"layers\.2\.W\[.*wrong"):
        check_layer(
            lambda rng: Sequential(Linear(3, 5, rng=rng), Tanh(), MeanForSum(5, 5, rng=rng)), X
        )


def test_a_whole_layer_passes_all_and_says_so(capsys):
    laws = check_layer(lambda rng: Linear(3, 5, rng=rng), X)
    assert len(laws) == len(CHECKS) == 20
    assert capsys.readouterr().out == "Linear: 20 of 20 checks passed\n"


def test_what_was_not_run_is_said(capsys):
    assert len(check_layer(lambda rng: Tanh(), (4, 3))) == 17
    printed = capsys.readouterr().out
    assert printed.startswith("Tanh: 17 of 20 checks passed, not run: ")
    assert "(no parameters)" in printed and "(no time axis)" in printed


@pytest.mark.parametrize("rng", range(5))
def test_the_verdict_does_not_depend_on_the_seed(rng):
    check_layer(lambda rng: Linear(3, 5, rng=rng), X, rng=rng)
    with pytest.raises(AssertionError, match="mean stands where a sum should"):
        check_layer(lambda rng: MeanForSum(3, 5, rng=rng), X, rng=rng)


def test_wrong_use_is_refused():
    with pytest.raises(ConfigError, match="at least one input"):
        check_layer(lambda rng: Tanh())
    with pytest.raises(ConfigError, match="must make a Layer, it made a int"):
        check_layer(lambda rng: 3, X)


# Noise that stands still -------------------------------------------------------------------------

DRAWS = {
    "random": (5,),
    "integers": (0, 65536, 5, np.uint16),
    "uniform": (-1, 1, 5),
    "standard_normal": (5,),
    "normal": (0, 1, 5),
    "binomial": (100, 0.5, 5),
    "choice": (np.arange(50), 5),
    "permutation": (50,),
    "permuted": (np.arange(50),),
}


@pytest.mark.parametrize("name", DRAWS)
def test_every_call_of_a_repeating_generator_draws_the_same(name):
    rng = RepeatingGenerator(3)
    first = getattr(rng, name)(*DRAWS[name])
    rng.standard_normal(3)
    copied = copy.deepcopy(rng)
    for again in (rng, copied, RepeatingGenerator(3)):
        for _ in range(2):
            np.testing.assert_array_equal(getattr(again, name)(*DRAWS[name]), first)
    other = getattr(RepeatingGenerator(4), name)(*DRAWS[name])
    assert not np.array_equal(other, first)
    assert not np.array_equal(first, first[0]), "one number in all places is no noise"


def test_a_repeating_generator_shuffles_alike_and_is_a_generator():
    rng = RepeatingGenerator(np.random.default_rng(0))
    first, second = np.arange(50), np.arange(50)
    rng.shuffle(first)
    rng.shuffle(second)
    np.testing.assert_array_equal(first, second)
    assert (first != np.arange(50)).any()
    assert np.random.default_rng(rng) is rng


class UpstreamInsteadOfMask(Dropout):
    def backward(self, dy):
        self.pop_saved()
        return dy


def test_still_noise_lets_gradients_be_checked_and_moving_noise_is_found():
    assert len(check_layer(lambda rng: Dropout(0.4, RepeatingGenerator(rng)), X)) == 18
    with pytest.raises(AssertionError, match="the second forward differs from the first"):
        check_layer(lambda rng: Dropout(0.4, rng), X)
    with pytest.raises(AssertionError, match=r"Every gradient .*backward"):
        check_layer(lambda rng: UpstreamInsteadOfMask(0.4, RepeatingGenerator(rng)), X)
