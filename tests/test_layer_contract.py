"""Every Layer of the package keeps the layer contract, and none can be left out.

To add a layer: one line in LAYERS, name -> (factory, shapes of the inputs, options of check_layer).
"""

import importlib
import inspect
import pkgutil

import numpy as np
import pytest

import scratchaudio
from scratchaudio import nn
from scratchaudio.models.vad import VoiceActivityDetector
from scratchaudio.nn.gradcheck import fourth_order_difference
from scratchaudio.nn.recurrent import Recurrent
from scratchaudio.testing import check_layer

B, T, D, H = 4, 2, 3, 5
X, STATE = (B, T, D), (B, H)
KINKED = {"method": fourth_order_difference}
LENGTHS = {"keywords": {"lengths": np.array([1, 2, 2, 1])}}

LAYERS = {
    "Linear": (lambda rng: nn.Linear(D, H, rng=rng), [X], {}),
    "Linear without bias": (lambda rng: nn.Linear(D, H, bias=False, rng=rng), [X], {}),
    "Linear on rows": (lambda rng: nn.Linear(D, H, rng=rng), [(B, D)], {}),
    "Sigmoid": (lambda rng: nn.Sigmoid(), [X], {}),
    "Tanh": (lambda rng: nn.Tanh(), [X], {}),
    "ReLU": (lambda rng: nn.ReLU(), [X], KINKED),
    "LeakyReLU": (lambda rng: nn.LeakyReLU(0.2), [X], KINKED),
    "Softplus": (lambda rng: nn.Softplus(), [X], {}),
    "GELU": (lambda rng: nn.GELU(), [X], {}),
    "GELUTanh": (lambda rng: nn.GELUTanh(), [X], {}),
    "Softmax": (lambda rng: nn.Softmax(), [X], {}),
    "Sequential": (
        lambda rng: nn.Sequential(nn.Linear(D, H, rng=rng), nn.Tanh(), nn.Linear(H, 7, rng=rng)),
        [X],
        {},
    ),
    "RNN": (lambda rng: nn.RNN(D, H, rng=rng), [X], {}),
    "RNN with state": (lambda rng: nn.RNN(D, H, rng=rng), [X, STATE], LENGTHS),
    "GRU": (lambda rng: nn.GRU(D, H, rng=rng), [X], {}),
    "GRU with state": (lambda rng: nn.GRU(D, H, rng=rng), [X, STATE], LENGTHS),
    "GRUResetBefore": (lambda rng: nn.GRUResetBefore(D, H, rng=rng), [X], {}),
    "LSTM": (lambda rng: nn.LSTM(D, H, rng=rng), [X], {}),
    "LSTM with state": (lambda rng: nn.LSTM(D, H, rng=rng), [X, (STATE, STATE)], LENGTHS),
    "Bidirectional": (
        lambda rng: nn.Bidirectional(nn.LSTM(D, H, rng=rng), nn.LSTM(D, H, rng=rng)),
        [X, ((STATE, STATE), (STATE, STATE))],
        LENGTHS,
    ),
    "VoiceActivityDetector": (
        lambda rng: VoiceActivityDetector(n_hidden=2, n_layers=2, rng=rng),
        [(2, 5, 40)],
        {},
    ),
    "VoiceActivityDetector with lengths": (
        lambda rng: VoiceActivityDetector(n_hidden=2, n_layers=1, frames_per_step=3, rng=rng),
        [(4, 5, 40)],
        {"keywords": {"lengths": np.array([5, 1, 4, 3])}},
    ),
}

# Bases that cannot run by themselves.
BASES = {nn.Layer, nn.Activation, Recurrent}


@pytest.mark.parametrize("name", LAYERS)
def test_contract(name):
    factory, shapes, options = LAYERS[name]
    laws = check_layer(factory, *shapes, **options)
    assert len(laws) >= 17, f"only {len(laws)} laws were checked"


def layers_of_the_package():
    """Every Layer subclass defined in any module of the package."""
    found = set()
    for module_info in pkgutil.walk_packages(scratchaudio.__path__, "scratchaudio."):
        module = importlib.import_module(module_info.name)
        for value in vars(module).values():
            if inspect.isclass(value) and issubclass(value, nn.Layer):
                found.add(value)
    return found


def test_every_layer_is_in_the_table():
    rng = np.random.default_rng(0)
    covered = {type(factory(rng=rng)) for factory, _, _ in LAYERS.values()}
    layers = layers_of_the_package()
    assert len(layers) >= 14, "the walk finds too few layers: it is broken"
    missing = sorted(layer.__qualname__ for layer in layers - covered - BASES)
    assert not missing, f"add {missing} to LAYERS in tests/test_layer_contract.py"
