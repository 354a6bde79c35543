"""A training step of a bidirectional LSTM: ours against torch.nn.LSTM on the CPU.

One step is forward and backward with gradients of x and of every parameter, float32. Also how much
memory our backward needs, in arrays of (B, T, H).
"""

import tracemalloc
from functools import partial

import numpy as np
import torch

from benchmarks.timing import ratio
from scratchaudio.nn import LSTM, Bidirectional

SIZES = [(16, 300, 40, 64), (1, 3000, 40, 64)]  # B, T, D, H


def our_step(layer, x, dy):
    layer.zero_grad()
    layer.forward(x)
    layer.backward(dy)


def torch_step(layer, x, dy):
    layer.zero_grad()
    x.grad = None
    layer(x)[0].backward(dy)


def compare(B, T, D, H):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((B, T, D)).astype(np.float32)
    dy = rng.standard_normal((B, T, 2 * H)).astype(np.float32)
    ours = Bidirectional(LSTM(D, H, rng), LSTM(D, H, rng))
    theirs = torch.nn.LSTM(D, H, batch_first=True, bidirectional=True)
    tensors = torch.from_numpy(x.copy()).requires_grad_(), torch.from_numpy(dy.copy())
    quotient = ratio(partial(our_step, ours, x, dy), partial(torch_step, theirs, *tensors))
    print(f"BiLSTM step, B {B}, T {T}, D {D}, H {H}: ours / torch {quotient:.2f}", flush=True)


def memory(B, T, D, H):
    layer = LSTM(D, H, rng=0)
    x, dy = np.zeros((B, T, D), np.float32), np.zeros((B, T, H), np.float32)
    tracemalloc.start()
    layer.forward(x)
    layer.backward(dy)
    arrays = tracemalloc.get_traced_memory()[1] / (B * T * H * 4)
    tracemalloc.stop()
    print(f"LSTM step, B {B}, T {T}, D {D}, H {H}: {arrays:.1f} arrays of (B, T, H) at the peak")


def main():
    torch.set_num_threads(2)
    for sizes in SIZES:
        compare(*sizes)
    memory(*SIZES[0])


if __name__ == "__main__":
    main()
