"""The program of examples/enhance_one_clip.py, one head: ours against torch and librosa.

Both load the clip, add noise, transform, train a Transformer encoder with a mask on the one
spectrogram, and transform back: the same shapes, settings, float32 and number of threads.
"""

from pathlib import Path

import librosa
import numpy as np
import torch

from benchmarks.timing import ratio
from scratchaudio import dsp
from scratchaudio.io import load
from scratchaudio.metrics import si_sdr
from scratchaudio.models import SpectrogramTransformer
from scratchaudio.nn import Adam, mse

CLIP = Path(__file__).parent.parent / "sounds" / "speech.wav"
NOISE_LEVEL, N_FFT, HOP_LENGTH = 0.05, 1024, 256
D_MODEL, N_HEADS, N_LAYERS, D_FF, DROPOUT = 256, 4, 2, 2048, 0.1
LR, EPOCHS, REPEATS = 1e-3, 200, 3
STFT = {"n_fft": N_FFT, "hop_length": HOP_LENGTH}


def add_noise(clean):
    noise = NOISE_LEVEL * np.random.default_rng(0).standard_normal(len(clean))
    return (clean + noise).astype(np.float32)


def our_program():
    clean, _ = load(CLIP)
    noisy = add_noise(clean)
    S, X = dsp.stft(clean, **STFT), dsp.stft(noisy, **STFT)  # (F, T)
    x, target = (np.ascontiguousarray(np.abs(Z).T[None]) for Z in (X, S))  # (1, T, F)
    sizes = len(S), D_MODEL, N_HEADS, N_LAYERS, D_FF, DROPOUT
    model = SpectrogramTransformer(*sizes, mask=True, rng=0)
    optimizer = Adam(model.parameters(), lr=LR)
    for _ in range(EPOCHS):
        model.zero_grad()
        _, dy = mse(model.forward(x), target)
        model.backward(dy)
        optimizer.step()
    y = model.eval().forward(x)
    return clean, dsp.istft(dsp.with_phase(y[0].T, X), **STFT, length=len(clean))


class Masked(torch.nn.Module):
    def __init__(self, n_bins):
        super().__init__()
        block = torch.nn.TransformerEncoderLayer(D_MODEL, N_HEADS, D_FF, DROPOUT, batch_first=True)
        self.input = torch.nn.Linear(n_bins, D_MODEL)
        self.encoder = torch.nn.TransformerEncoder(block, N_LAYERS, enable_nested_tensor=False)
        self.output = torch.nn.Linear(D_MODEL, n_bins)

    def forward(self, x):
        return torch.sigmoid(self.output(self.encoder(self.input(x)))) * x


def their_program():
    clean, _ = librosa.load(CLIP, sr=None)
    noisy = add_noise(clean)
    S, X = librosa.stft(clean, **STFT), librosa.stft(noisy, **STFT)
    x, target = (torch.from_numpy(np.ascontiguousarray(np.abs(Z).T[None])) for Z in (X, S))
    torch.manual_seed(0)
    model = Masked(len(S))
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x), target)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        y = model(x)[0].T.numpy()
    phase = np.exp(1j * np.angle(X)).astype(np.complex64)
    return clean, librosa.istft(y * phase, **STFT, length=len(clean))


def main():
    torch.set_num_threads(2)
    quotient = ratio(our_program, their_program, REPEATS)
    print(
        f"Enhance one clip, {EPOCHS} epochs, the whole program: ours / torch and librosa "
        f"{quotient:.2f}"
    )
    reached = [si_sdr(*program()) for program in (our_program, their_program)]
    print(f"SI-SDR after {EPOCHS} epochs: ours {reached[0]:.1f} dB, theirs {reached[1]:.1f} dB")


if __name__ == "__main__":
    main()
