"""Schedules: values at chosen steps worked out by hand, and their shape."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio.errors import ConfigError
from scratchaudio.nn import (
    constant_with_warmup,
    cosine_with_warmup,
    exponential_decay,
    noam,
    step_decay,
)


def test_constant_with_warmup():
    assert [constant_with_warmup(s, 0.8, 4) for s in range(6)] == [0.2, 0.4, 0.6000000000000001] + [
        0.8
    ] * 3
    assert constant_with_warmup(0, 0.8) == 0.8


def test_exponential_decay():
    assert [exponential_decay(s, 8.0, 0.5) for s in range(4)] == [8, 4, 2, 1]


def test_step_decay():
    assert [step_decay(s, 8.0, 3, 0.5) for s in range(8)] == [8, 8, 8, 4, 4, 4, 2, 2]
    assert step_decay(10, 1.0, 10) == pytest.approx(0.1)


def test_cosine_with_warmup():
    lr = [cosine_with_warmup(s, 1.0, n_steps=12, n_warmup=4, min_lr=0.2) for s in range(15)]
    assert lr[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert lr[6] == pytest.approx(0.2 + 0.8 * (1 + math.sqrt(0.5)) / 2)  # a quarter of the way
    assert lr[8] == pytest.approx(0.6)  # half way
    assert lr[12:] == pytest.approx([0.2] * 3)


def test_noam():
    """The base Transformer: d_model 512, 4000 steps of warm-up, at most 7e-4 at their end."""
    lr = [noam(s, 512, 4000) for s in range(20000)]
    assert max(range(20000), key=lr.__getitem__) == 3999
    assert lr[3999] == pytest.approx(1 / math.sqrt(512 * 4000))
    assert lr[0] == pytest.approx(lr[3999] / 4000)
    assert lr[15999] == pytest.approx(lr[3999] / 2)
    assert noam(7, 512, 4000, scale=2.0) == 2 * noam(7, 512, 4000)


@given(n_warmup=st.integers(1, 30), rest=st.integers(1, 50), lr=st.floats(1e-6, 10))
def test_warmup_rises_and_decay_falls(n_warmup, rest, lr):
    for schedule in (
        lambda s: cosine_with_warmup(s, lr, n_warmup + rest, n_warmup),
        lambda s: noam(s, 64, n_warmup, lr),
        lambda s: constant_with_warmup(s, lr, n_warmup),
    ):
        rates = [schedule(s) for s in range(n_warmup + rest)]
        assert rates[0] > 0
        before, after = rates[:n_warmup], rates[n_warmup - 1 :]
        assert all(a <= b * (1 + 1e-12) for a, b in pairwise(before))
        assert all(a >= b * (1 - 1e-12) for a, b in pairwise(after))


def test_cosine_needs_steps_after_the_warmup():
    with pytest.raises(ConfigError, match="n_steps must exceed n_warmup, got 10 and 10"):
        cosine_with_warmup(0, 1e-3, n_steps=10, n_warmup=10)
