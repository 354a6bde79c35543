"""WaveNet beside the same network in torch on the CPU: training, and speaking sample by sample.

Speaking is written for torch as one would: rings as tensors, `addmm` with bias, skips summed as
they come, under `inference_mode`. Both draw from the same softmax. The samples a second that are
printed are those of the processor's time, which other programs do not change as much.
"""

from time import process_time

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.timing import ratio
from scratchaudio import nn
from scratchaudio.models import WaveNet
from scratchaudio.models.wavenet import draw

SIZES = {"n_channels": 32, "n_skip": 64, "n_layers": 10, "n_stacks": 2}
B, N = 4, 4000


class TorchWaveNet(torch.nn.Module):
    """The same network; `weights_of` copies the weights."""

    def __init__(self, Q=256, R=32, S=64, dilations=(1,), n_condition=0):
        super().__init__()
        conv = torch.nn.Conv1d
        self.table = torch.nn.Embedding(Q, R)
        self.dilated = torch.nn.ModuleList([conv(R, 2 * R, 2, dilation=d) for d in dilations])
        self.condition = torch.nn.ModuleList(
            [conv(n_condition, 2 * R, 1, bias=False) for _ in dilations] if n_condition else []
        )
        self.residual = torch.nn.ModuleList([conv(R, R, 1) for _ in dilations])
        self.skip = torch.nn.ModuleList([conv(R, S, 1) for _ in dilations])
        self.hidden, self.logits = conv(S, S, 1), conv(S, Q, 1)

    def weights_of(self, ours):
        """Take the weights of our WaveNet."""

        def take(theirs, value):
            theirs.data = torch.from_numpy(value.copy())

        take(self.table.weight, ours.table.value)
        for name in ("dilated", "residual", "skip"):
            for layer, block in zip(getattr(self, name), ours.blocks, strict=True):
                take(layer.weight, getattr(block, name).W.value)
                take(layer.bias, getattr(block, name).b.value)
        for layer, block in zip(self.condition, ours.blocks, strict=False):
            take(layer.weight, block.condition.W.value)
        for name in ("hidden", "logits"):
            take(getattr(self, name).weight, getattr(ours, name).W.value)
            take(getattr(self, name).bias, getattr(ours, name).b.value)
        return self

    def forward(self, codes, h=None, hop=1, silence=128):
        """Codes (B, N), condition (B, C, T) of frames of `hop` -> logits (B, N, Q)."""
        late = F.pad(codes[:, :-1], (1, 0), value=silence)
        x, total = self.table(late).transpose(1, 2), 0
        for k, dilated in enumerate(self.dilated):
            y = dilated(F.pad(x, (dilated.dilation[0], 0)))
            if h is not None:
                y = y + self.condition[k](h).repeat_interleave(hop, 2)[:, :, : y.shape[2]]
            a, b = y.chunk(2, 1)
            z = torch.tanh(a) * torch.sigmoid(b)
            total = total + self.skip[k](z)
            x = x + self.residual[k](z)
        return self.logits(F.relu(self.hidden(F.relu(total)))).transpose(1, 2)


class TorchStream:
    """Sample by sample: `step` as ours."""

    def __init__(self, model, batch_size):
        with torch.no_grad():
            self.table = model.table.weight
            self.blocks = [
                (
                    [torch.zeros(batch_size, W.weight.shape[1]) for _ in range(W.dilation[0])],
                    torch.cat([W.weight[:, :, 0].T, W.weight[:, :, 1].T]).contiguous(),
                    W.bias,
                    residual.weight[:, :, 0].T.contiguous(),
                    residual.bias,
                    skip.weight[:, :, 0].T.contiguous(),
                    skip.bias,
                )
                for W, residual, skip in zip(model.dilated, model.residual, model.skip, strict=True)
            ]
            self.hidden = model.hidden.weight[:, :, 0].T.contiguous(), model.hidden.bias
            self.logits = model.logits.weight[:, :, 0].T.contiguous(), model.logits.bias
        self.n = 0

    def step(self, codes):
        x, total = self.table[codes], 0
        for ring, W, b, W_residual, b_residual, W_skip, b_skip in self.blocks:
            place = self.n % len(ring)
            y = torch.addmm(b, torch.cat([ring[place], x], 1), W)
            ring[place] = x
            filtered, gate = y.chunk(2, 1)
            z = torch.tanh(filtered) * torch.sigmoid(gate)
            total = total + torch.addmm(b_skip, z, W_skip)
            x = x + torch.addmm(b_residual, z, W_residual)
        u = torch.addmm(self.hidden[1], F.relu(total), self.hidden[0])
        self.n += 1
        return torch.addmm(self.logits[1], F.relu(u), self.logits[0])


def both():
    """Our network and torch's, with the same weights."""
    ours = WaveNet(**SIZES, rng=0)
    dilations = [block.dilation for block in ours.blocks]
    return ours, TorchWaveNet(dilations=dilations).weights_of(ours)


def training_step():
    """Return our step and torch's: zero_grad, forward, cross-entropy, backward, Adam."""
    codes = np.random.default_rng(0).integers(0, 256, (B, N))
    tcodes = torch.from_numpy(codes)
    ours, theirs = both()
    optimizer = nn.Adam(ours.parameters(), lr=1e-3)
    toptimizer = torch.optim.Adam(theirs.parameters(), lr=1e-3)

    def our_step():
        ours.zero_grad()
        _, dlogits = nn.cross_entropy(ours.forward(codes), codes)
        ours.backward(dlogits)
        optimizer.step()

    def their_step():
        toptimizer.zero_grad()
        F.cross_entropy(theirs(tcodes).reshape(-1, 256), tcodes.reshape(-1)).backward()
        toptimizer.step()

    return our_step, their_step


def speaking(batch_size, n_samples=400):
    """Return our loop and torch's; each call says so many samples."""
    ours, theirs = both()
    stream, tstream = ours.eval().start(batch_size), TorchStream(theirs, batch_size)
    state = {"codes": np.full(batch_size, 128), "tcodes": torch.full((batch_size,), 128)}
    rng = np.random.default_rng(0)

    def our_loop():
        for _ in range(n_samples):
            state["codes"] = draw(stream.step(state["codes"]), rng=rng)

    def their_loop():
        with torch.inference_mode():
            for _ in range(n_samples):
                p = tstream.step(state["tcodes"]).softmax(1)
                state["tcodes"] = torch.multinomial(p, 1)[:, 0]

    return our_loop, their_loop


def samples_per_second(loop, n_samples=400, repeats=7):
    """The most that any of the repeats reached, in processor time."""
    times = []
    for _ in range(repeats):
        begin = process_time()
        loop()
        times.append(process_time() - begin)
    return n_samples / min(times)


def main():
    torch.set_num_threads(2)
    print(f"{SIZES}, float32")
    quotient = ratio(*training_step(), repeats=7)
    print(f"training step, {B} x {N} samples: ours / torch {quotient:.2f}", flush=True)
    torch.set_num_threads(1)  # for products this small a second thread only costs time
    speeds = {}
    for batch_size in (1, 16):
        ours, theirs = speaking(batch_size)
        quotient, speeds[batch_size] = ratio(ours, theirs, repeats=7), samples_per_second(ours)
        print(
            f"speaking, {batch_size} at once: torch / ours {1 / quotient:.2f}, ours "
            f"{speeds[batch_size]:.0f} samples a second each",
            flush=True,
        )
    print(f"16 at once take {speeds[1] / speeds[16]:.2f} times as long as one")


if __name__ == "__main__":
    main()
