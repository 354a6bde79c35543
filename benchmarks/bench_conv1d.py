"""Convolutions of real networks, forward and backward with all gradients: ours against torch."""

import numpy as np
import torch

from benchmarks.timing import ratio
from scratchaudio import nn

BATCH = 4
# Name: layer, steps of the input, n_in, n_out, kernel_size, further settings.
SHAPES = {
    "WaveNet": ("Conv1d", 16_000, 64, 128, 2, {"dilation": 16, "padding": 8}),
    "dilated": ("Conv1d", 4000, 64, 64, 3, {"dilation": 8, "padding": 8}),
    "depthwise": ("Conv1d", 1000, 512, 512, 3, {"dilation": 8, "padding": 8, "groups": 512}),
    "fewer channels": ("Conv1d", 1000, 512, 128, 1, {}),
    "more channels": ("Conv1d", 1000, 128, 512, 1, {}),
    "encoder": ("Conv1d", 32_000, 1, 512, 16, {"stride": 8}),
    "WaveGAN": ("Conv1d", 4096, 64, 128, 25, {"stride": 4, "padding": 11}),
    "SEGAN": ("Conv1d", 8192, 16, 32, 31, {"stride": 2, "padding": 15}),
    "decoder": ("ConvTranspose1d", 3999, 512, 1, 16, {"stride": 8}),
    "WaveGAN's generator": ("ConvTranspose1d", 1024, 128, 64, 25, {"stride": 4, "padding": 11}),
}


def forward_backward(kind, n_steps, n_in, n_out, kernel_size, settings):
    """Return forward and backward of our layer and of torch's."""
    rng = np.random.default_rng(0)
    ours = getattr(nn, kind)(n_in, n_out, kernel_size, **settings, rng=rng)
    theirs = getattr(torch.nn, kind)(n_in, n_out, kernel_size, **settings)
    x = rng.standard_normal((BATCH, n_in, n_steps)).astype(np.float32)
    dy = rng.standard_normal(ours.forward(x).shape).astype(np.float32)
    tx, tdy = torch.from_numpy(x.copy()).requires_grad_(), torch.from_numpy(dy.copy())

    def our_step():
        ours.forward(x)
        ours.backward(dy)

    def their_step():
        tx.grad = None
        theirs(tx).backward(tdy)

    return our_step, their_step


def main():
    torch.set_num_threads(2)
    print(f"forward and backward, batch {BATCH}, float32")
    for name, shape in SHAPES.items():
        quotient = ratio(*forward_backward(*shape))
        print(f"{name}, {' '.join(map(str, shape))}: ours / torch {quotient:.2f}", flush=True)


if __name__ == "__main__":
    main()
