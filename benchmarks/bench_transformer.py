"""A training step of a Transformer that maps frames to frames: ours against torch on the CPU.

One step is zero_grad, forward, the mean squared error, backward and Adam, float32. Then its parts,
each forward and backward, and the decoder's next step from a cache, which torch has no ready-made
layer for: there the other side computes the whole sequence again.
"""

from functools import partial

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.timing import ratio
from scratchaudio import nn

T, F_BINS, D, N_HEADS, N_LAYERS, D_FF, DROPOUT = 345, 513, 256, 4, 2, 2048, 0.1


def drawn(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def training_step(activation, their_activation):
    """Return our step and torch's."""
    x, target = drawn(1, T, F_BINS), drawn(1, T, F_BINS)
    ours = nn.Sequential(
        nn.Linear(F_BINS, D, rng=0),
        nn.TransformerEncoder(D, N_HEADS, N_LAYERS, D_FF, DROPOUT, activation, rng=1),
        nn.Linear(D, F_BINS, rng=2),
    )
    optimizer = nn.Adam(ours.parameters(), lr=1e-4)

    def our_step():
        ours.zero_grad()
        _, dy = nn.mse(ours.forward(x), target)
        ours.backward(dy)
        optimizer.step()

    block = torch.nn.TransformerEncoderLayer(
        D, N_HEADS, D_FF, DROPOUT, their_activation, batch_first=True
    )
    theirs = torch.nn.Sequential(
        torch.nn.Linear(F_BINS, D),
        torch.nn.TransformerEncoder(block, N_LAYERS, enable_nested_tensor=False),
        torch.nn.Linear(D, F_BINS),
    )
    toptimizer = torch.optim.Adam(theirs.parameters(), lr=1e-4)
    tx, ttarget = torch.from_numpy(x), torch.from_numpy(target)

    def their_step():
        toptimizer.zero_grad()
        F.mse_loss(theirs(tx), ttarget).backward()
        toptimizer.step()

    return our_step, their_step


def forward_backward(ours, theirs, *shape):
    """Return forward and backward of a layer of ours and of a function of torch's."""
    x, dy = drawn(*shape), drawn(*shape)
    tx, tdy = torch.from_numpy(x.copy()).requires_grad_(), torch.from_numpy(dy.copy())

    def our_step():
        ours.forward(x)
        ours.backward(dy)

    def their_step():
        tx.grad = None
        theirs(tx).backward(tdy)

    return our_step, their_step


def attention():
    theirs = torch.nn.MultiheadAttention(D, N_HEADS, DROPOUT, batch_first=True)
    ours = nn.MultiHeadAttention(D, N_HEADS, DROPOUT, rng=0)
    return forward_backward(ours, lambda x: theirs(x, x, x, need_weights=False)[0], 1, T, D)


def feed_forward():
    theirs = torch.nn.Sequential(
        torch.nn.Linear(D, D_FF),
        torch.nn.GELU(),
        torch.nn.Dropout(DROPOUT),
        torch.nn.Linear(D_FF, D),
    )
    return forward_backward(nn.feed_forward(D, D_FF, DROPOUT, nn.GELU, rng=0), theirs, 1, T, D)


def adam():
    shapes = [(D, D_FF), (D_FF, D), (D, D), (D,), (D_FF,)] * N_LAYERS
    parameters = [nn.Parameter(drawn(*shape)) for shape in shapes]
    for parameter in parameters:
        parameter.grad[...] = 1e-3
    tensors = [torch.nn.Parameter(torch.from_numpy(p.value.copy())) for p in parameters]
    for tensor in tensors:
        tensor.grad = torch.full_like(tensor, 1e-3)
    return nn.Adam(parameters).step, torch.optim.Adam(tensors).step


def decoding():
    """Steps 1 ... 64 of a decoder, each from the cache, and by torch each from the start."""
    n_steps = 64
    x, memory = drawn(1, n_steps, D), drawn(1, T, D)
    ours = nn.TransformerDecoder(D, N_HEADS, N_LAYERS, D_FF, rng=0).eval()
    block = torch.nn.TransformerDecoderLayer(D, N_HEADS, D_FF, batch_first=True)
    theirs = torch.nn.TransformerDecoder(block, N_LAYERS).eval()
    tx, tmemory = torch.from_numpy(x), torch.from_numpy(memory)
    mask = torch.nn.Transformer.generate_square_subsequent_mask(n_steps)

    def our_steps():
        state = ours.start(memory)
        for t in range(n_steps):
            ours.decode(x[:, t : t + 1], state)

    def their_steps():
        with torch.no_grad():
            for t in range(1, n_steps + 1):
                theirs(tx[:, :t], tmemory, tgt_mask=mask[:t, :t], tgt_is_causal=True)

    return our_steps, their_steps


PAIRS = {
    "training step, ReLU": partial(training_step, nn.ReLU, "relu"),
    "training step, GELU": partial(training_step, nn.GELU, "gelu"),
    "multi-head attention": attention,
    "feed-forward, GELU": feed_forward,
    "Adam step": adam,
    "64 steps of decoding": decoding,
}


def main():
    torch.set_num_threads(2)
    print(f"T {T}, F {F_BINS}, d_model {D}, {N_HEADS} heads, {N_LAYERS} layers, d_ff {D_FF}")
    for name, make in PAIRS.items():
        print(f"{name}: ours / torch {ratio(*make()):.2f}", flush=True)


if __name__ == "__main__":
    main()
