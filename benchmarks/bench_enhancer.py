"""The program of examples/enhance_one_clip.py, one head: ours against torch and librosa.

Both load the clip, add noise, transform, train a Transformer encoder with a mask on the one
spectrogram, and transform back: the same shapes, settings, float32 and number of threads. Each
runs as a program of its own, as a user starts it. Two ratios are printed: of all the time from the
start to the end of the process, and of the time that is left once everything is imported.
"""

import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

CLIP = Path(__file__).parent.parent / "sounds" / "speech.wav"
NOISE_LEVEL, N_FFT, HOP_LENGTH = 0.05, 1024, 256
D_MODEL, N_HEADS, N_LAYERS, D_FF, DROPOUT = 256, 4, 2, 2048, 0.1
LR, EPOCHS, REPEATS = 1e-3, 200, 3
STFT = {"n_fft": N_FFT, "hop_length": HOP_LENGTH}


def add_noise(clean):
    noise = NOISE_LEVEL * np.random.default_rng(0).standard_normal(len(clean))
    return (clean + noise).astype(np.float32)


def ours():
    """Return when all was imported, the clean and the enhanced clip."""
    from scratchaudio import dsp, io, models, nn

    start = perf_counter()
    clean, _ = io.load(CLIP)
    noisy = add_noise(clean)
    S, X = dsp.stft(clean, **STFT), dsp.stft(noisy, **STFT)  # (F, T)
    x, target = (np.ascontiguousarray(np.abs(Z).T[None]) for Z in (X, S))  # (1, T, F)
    sizes = len(S), D_MODEL, N_HEADS, N_LAYERS, D_FF, DROPOUT
    model = models.SpectrogramTransformer(*sizes, mask=True, rng=0)
    optimizer = nn.Adam(model.parameters(), lr=LR)
    for _ in range(EPOCHS):
        model.zero_grad()
        _, dy = nn.mse(model.forward(x), target)
        model.backward(dy)
        optimizer.step()
    y = model.eval().forward(x)
    return start, clean, dsp.istft(dsp.with_phase(y[0].T, X), **STFT, length=len(clean))


def theirs():
    """Return when all was imported, the clean and the enhanced clip."""
    import librosa
    import torch
    from torch import nn

    class Masked(nn.Module):
        def __init__(self, n_bins):
            super().__init__()
            block = nn.TransformerEncoderLayer(D_MODEL, N_HEADS, D_FF, DROPOUT, batch_first=True)
            self.input = nn.Linear(n_bins, D_MODEL)
            self.encoder = nn.TransformerEncoder(block, N_LAYERS, enable_nested_tensor=False)
            self.output = nn.Linear(D_MODEL, n_bins)

        def forward(self, x):
            return torch.sigmoid(self.output(self.encoder(self.input(x)))) * x

    torch.set_num_threads(2)
    start = perf_counter()
    clean, _ = librosa.load(CLIP, sr=None)
    noisy = add_noise(clean)
    S, X = librosa.stft(clean, **STFT), librosa.stft(noisy, **STFT)
    x, target = (torch.from_numpy(np.ascontiguousarray(np.abs(Z).T[None])) for Z in (X, S))
    torch.manual_seed(0)
    model = Masked(len(S))
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), target)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        y = model(x)[0].T.numpy()
    phase = np.exp(1j * np.angle(X)).astype(np.complex64)
    return start, clean, librosa.istft(y * phase, **STFT, length=len(clean))


def run(program):
    """Run `ours` or `theirs` in a new process; return (all seconds, those of work) and SI-SDR."""
    start = perf_counter()
    command = [sys.executable, "-m", "benchmarks.bench_enhancer", program]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    working, reached = map(float, printed.split())
    return np.array([perf_counter() - start, working]), reached


def main():
    pairs = []
    for pair in range(REPEATS):
        order = ("ours", "theirs") if pair % 2 == 0 else ("theirs", "ours")
        pairs.append({program: run(program) for program in order})
    whole, working = zip(*(pair["ours"][0] / pair["theirs"][0] for pair in pairs), strict=True)
    print(f"Enhance one clip, {EPOCHS} epochs, ours / torch and librosa")
    print(f"the whole program {median(whole):.2f}, without its imports {median(working):.2f}")
    print(", ".join(f"{name}: SI-SDR {pairs[0][name][1]:.1f} dB" for name in ("ours", "theirs")))


if __name__ == "__main__":
    start, clean, enhanced = {"ours": ours, "theirs": theirs}[sys.argv[1]]()
    seconds = perf_counter() - start
    from scratchaudio.metrics import si_sdr  # after the time of both is taken

    print(seconds, si_sdr(clean, enhanced))
