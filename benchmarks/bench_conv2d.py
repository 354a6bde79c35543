"""Convolutions and pooling over spectrograms: ours against torch on the CPU.

Forward and backward with the gradients of x, W and b, float32; the shapes are those of a U-Net,
on its way down, at a level, on its way up, and near the bottom.
"""

import numpy as np
import torch

from benchmarks.timing import ratio
from scratchaudio import nn

DOWN = {"kernel_size": 5, "stride": 2, "padding": 2}
UP = {**DOWN, "output_padding": 1}
# Name of the layer, (B, C, F, T), C', settings.
CASES = [
    ("Conv2d", (4, 16, 256, 64), 32, DOWN),
    ("Conv2d", (4, 32, 128, 64), 32, {"kernel_size": 3, "padding": 1}),
    ("Conv2d", (4, 128, 16, 8), 256, DOWN),
    ("ConvTranspose2d", (4, 32, 128, 32), 16, UP),
    ("ConvTranspose2d", (4, 256, 8, 4), 128, UP),
]
POOLS = ["MaxPool2d", "AvgPool2d"]


def drawn(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def forward_backward(ours, theirs, *shape):
    """Return forward and backward of our layer and of torch's."""
    x = drawn(*shape)
    dy = drawn(*ours.forward(x).shape)
    tx, tdy = torch.from_numpy(x.copy()).requires_grad_(), torch.from_numpy(dy.copy())

    def our_step():
        ours.zero_grad()
        ours.forward(x)
        ours.backward(dy)

    def their_step():
        theirs.zero_grad()
        tx.grad = None
        theirs(tx).backward(tdy)

    return our_step, their_step


def main():
    torch.set_num_threads(2)
    for name, shape, n_out, settings in CASES:
        ours = getattr(nn, name)(shape[1], n_out, **settings, rng=0)
        theirs = getattr(torch.nn, name)(shape[1], n_out, **settings)
        quotient = ratio(*forward_backward(ours, theirs, *shape))
        said = ", ".join(f"{setting} {value}" for setting, value in settings.items())
        print(f"{name} {shape} to {n_out}, {said}: ours / torch {quotient:.2f}", flush=True)
    for name in POOLS:
        shape = (4, 16, 256, 64)
        quotient = ratio(
            *forward_backward(getattr(nn, name)(2), getattr(torch.nn, name)(2), *shape)
        )
        print(f"{name} {shape}, kernel_size 2: ours / torch {quotient:.2f}", flush=True)


if __name__ == "__main__":
    main()
