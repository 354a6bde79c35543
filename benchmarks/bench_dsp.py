"""STFT, ISTFT and MFCC of a minute of sound: our time as a ratio of librosa's.

    python benchmarks/bench_dsp.py

60 s at 22.05 kHz in float32, librosa's defaults (n_fft 2048, hop 512, 128 mel bands), in turns on
the same threads. The hand-written FFT is there to be read; its ratio to `scipy.fft` says what that
costs.
"""

import librosa
import numpy as np

from benchmarks.timing import ratio
from scratchaudio import dsp

SR, SECONDS = 22050, 60


def measure():
    """Yield (what, ours / theirs)."""
    y = np.random.default_rng(0).standard_normal(SR * SECONDS).astype(np.float32)
    X = librosa.stft(y)
    bands = librosa.power_to_db(librosa.feature.melspectrogram(y=y))
    yield "stft / librosa", ratio(lambda: dsp.stft(y), lambda: librosa.stft(y))
    yield (
        "istft / librosa",
        ratio(lambda: dsp.istft(X, length=y.size), lambda: librosa.istft(X, length=y.size)),
    )
    yield (
        "melspectrogram / librosa",
        ratio(lambda: dsp.melspectrogram(y=y), lambda: librosa.feature.melspectrogram(y=y)),
    )
    yield "mfcc / librosa", ratio(lambda: dsp.mfcc(y=y), lambda: librosa.feature.mfcc(y=y))
    yield "delta / librosa", ratio(lambda: dsp.delta(bands), lambda: librosa.feature.delta(bands))
    yield (
        "hand-written fft / scipy.fft",
        ratio(lambda: dsp.stft(y, fft=dsp.fft), lambda: dsp.stft(y), repeats=5),
    )


def main():
    """Print one line for each."""
    print(f"{SECONDS} s at {SR} Hz, float32, medians of interleaved pairs; below 1 we are faster")
    for what, median in measure():
        print(f"  {what:30s} {median:6.2f}", flush=True)


if __name__ == "__main__":
    main()
