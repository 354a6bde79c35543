"""Networks that separate songs: a training step of Open-Unmix beside torch's, and separating.

One step is zero_grad, forward, the mean squared error, backward and Adam, float32, on eight
examples of three seconds. Then how long each small network takes for a second of song.
"""

from time import perf_counter

import numpy as np
import torch
from torch import nn

from benchmarks.timing import ratio
from scratchaudio.models import ConvTasNet, OpenUnmix, UNet, conv_tasnet, open_unmix, unet
from scratchaudio.nn import Adam, mse

B, T = 8, 130
SR, SECONDS = 44100, 10


class TheirOpenUnmix(nn.Module):
    """The same layers, after Open-Unmix's model.py."""

    def __init__(self, ours):
        super().__init__()
        C, F, heard = ours.n_channels, ours.n_bins, ours.n_heard
        H, n_layers = ours.settings["n_hidden"], ours.settings["n_layers"]
        self.heard = heard
        self.input_mean = nn.Parameter(torch.zeros(heard))
        self.input_scale = nn.Parameter(torch.ones(heard))
        self.fc1, self.bn1 = nn.Linear(C * heard, H, bias=False), nn.BatchNorm1d(H)
        self.lstm = nn.LSTM(H, H // 2, n_layers, bidirectional=True, dropout=0.4, batch_first=True)
        self.fc2, self.bn2 = nn.Linear(2 * H, H, bias=False), nn.BatchNorm1d(H)
        self.fc3, self.bn3 = nn.Linear(H, C * F, bias=False), nn.BatchNorm1d(C * F)
        self.output_mean, self.output_scale = (
            nn.Parameter(torch.ones(F)),
            nn.Parameter(torch.ones(F)),
        )

    def forward(self, X):  # (B, C, F, T)
        B, C, F, T = X.shape
        x = X[:, :, : self.heard].permute(0, 3, 1, 2)
        x = ((x + self.input_mean) * self.input_scale).reshape(B * T, -1)
        h = torch.tanh(self.bn1(self.fc1(x))).reshape(B, T, -1)
        y = torch.cat([h, self.lstm(h)[0]], dim=-1).reshape(B * T, -1)
        y = self.bn3(self.fc3(torch.relu(self.bn2(self.fc2(y))))).reshape(B, T, C, F)
        return torch.relu(y * self.output_scale + self.output_mean).permute(0, 2, 3, 1) * X


def training_step():
    """Return our step and torch's."""
    ours = OpenUnmix(**open_unmix.SMALL, rng=0)
    theirs = TheirOpenUnmix(ours)
    rng = np.random.default_rng(0)
    X = rng.exponential(size=(B, ours.n_channels, ours.n_bins, T)).astype(np.float32)
    S = X * rng.random(X.shape, np.float32)
    tX, tS = torch.from_numpy(X), torch.from_numpy(S)
    optimizer = Adam(ours.parameters(), lr=1e-3)
    their_optimizer = torch.optim.Adam(theirs.parameters(), lr=1e-3)

    def our_step():
        ours.zero_grad()
        _, dy = mse(ours.forward(X), S)
        ours.backward(dy)
        optimizer.step()

    def their_step():
        their_optimizer.zero_grad()
        nn.functional.mse_loss(theirs(tX), tS).backward()
        their_optimizer.step()

    return our_step, their_step


def main():
    torch.set_num_threads(2)
    print(
        f"Open-Unmix, small, training step: ours / torch {ratio(*training_step()):.2f}", flush=True
    )
    x = 0.1 * np.random.default_rng(0).standard_normal((2, SECONDS * SR)).astype(np.float32)
    for model in (
        UNet(**unet.SMALL, rng=0),
        OpenUnmix(**open_unmix.SMALL, rng=0),
        ConvTasNet(**conv_tasnet.SMALL, rng=0),
    ):
        model.separate(x[:, :SR], SR)
        start = perf_counter()
        model.separate(x, SR)
        seconds = (perf_counter() - start) / SECONDS
        print(f"{type(model).__name__}, small: {seconds:.2f} s for a second of stereo", flush=True)


if __name__ == "__main__":
    main()
