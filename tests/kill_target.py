"""A small training that saves after each epoch: what test_training kills at random moments.

    python kill_target.py CHECKPOINT N_EPOCHS

For each line it reads, it starts a process that goes on from CHECKPOINT (or begins) up to N_EPOCHS
epochs; it writes the number of that process, waits for its end and writes its exit status. (A fork
of a Python that has NumPy loaded starts at once.)
"""

import os
import sys
import traceback

import numpy as np

from scratchaudio.nn.layer import Layer, Parameter
from scratchaudio.training import fit

LARGE = {"n_in": 230, "n_out": 120}


class Momentum:
    """The protocol of `nn.optim` in few lines: step, lr, state_dict, load_state_dict."""

    def __init__(self, parameters, lr=0.05):
        self.parameters, self.lr = parameters, lr
        self.velocities = [np.zeros_like(parameter.value) for parameter in parameters]

    def step(self):
        for parameter, velocity in zip(self.parameters, self.velocities, strict=True):
            velocity *= 0.9
            velocity += parameter.grad
            parameter.value -= self.lr * velocity

    def state_dict(self):
        return {f"velocity.{i}": v.copy() for i, v in enumerate(self.velocities)}

    def load_state_dict(self, state):
        for i, velocity in enumerate(self.velocities):
            velocity[...] = state[f"velocity.{i}"]


class NoisyLinear(Layer):
    """y = (x * drop) @ W + b: a linear map whose inputs are dropped at random while training."""

    def __init__(self, n_in, n_out, rng):
        self.rng = rng
        self.W = Parameter(rng.standard_normal((n_in, n_out)).astype(np.float32))
        self.b = Parameter(np.zeros(n_out, np.float32))

    def forward(self, x):
        if self.training:
            x = x * (self.rng.random(x.shape) < 0.9)
        self.save_for_backward(x)
        return x @ self.W.value + self.b.value

    def backward(self, dy):
        (x,) = self.pop_saved()
        self.W.grad += x.T @ dy
        self.b.grad += dy.sum(axis=0)
        return dy @ self.W.value.T


def mean_squared_error(prediction, target):
    error = prediction - target
    return float((error * error).mean()), error * (2 / error.size)


def make_task(n_in=6, n_out=4, seed=0):
    """(model, optimizer, batches, validate, rng) of a small regression."""
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal((n_in, n_out)).astype(np.float32)
    model = NoisyLinear(n_in, n_out, rng)

    def batches(rng):
        for _ in range(3):
            x = rng.standard_normal((5, n_in)).astype(np.float32)
            yield (x,), (x @ truth,)

    def validate(model):
        x = np.random.default_rng(99).standard_normal((7, n_in)).astype(np.float32)
        return {"error": mean_squared_error(model.forward(x), x @ truth)[0]}

    return model, Momentum(model.parameters()), batches, validate, rng


def train(path, n_epochs, **options):
    """Train the task with a checkpoint at `path`; return (model, history)."""
    model, optimizer, batches, validate, rng = make_task(**options.pop("task", {}))
    options = {"resume": True, "verbose": False, "max_norm": 5.0, **options}
    history = fit(
        model,
        optimizer,
        batches,
        mean_squared_error,
        n_epochs=n_epochs,
        rng=rng,
        validate=validate,
        monitor="error",
        schedule=lambda step: 0.05 / (1 + 0.01 * step),
        checkpoint_path=path,
        **options,
    )
    return model, history


def train_and_exit(path, n_epochs):
    """What the child process does: 110 kB of weights, long enough to be killed while writing."""
    status = 1
    try:
        train(path, n_epochs, task=LARGE)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


if __name__ == "__main__":
    for _ in sys.stdin:
        process = os.fork()
        if process == 0:
            train_and_exit(sys.argv[1], int(sys.argv[2]))
        print(process, flush=True)
        _, status = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
