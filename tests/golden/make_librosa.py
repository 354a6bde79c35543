"""Write librosa.npz: what librosa 0.11 answers to the calls below, for tests/dsp/test_golden.py.

    python tests/golden/make_librosa.py          (needs the `peers` extra)

Everything is float64. librosa's mel filters are float32 unless told otherwise, hence `dtype`.
"""

import json
from pathlib import Path

import librosa
import numpy as np

FUNCTIONS = {
    "stft": librosa.stft,
    "istft": librosa.istft,
    "frame": librosa.util.frame,
    "window_sumsquare": librosa.filters.window_sumsquare,
    "get_window": librosa.filters.get_window,
    "fft_frequencies": librosa.fft_frequencies,
    "frames_to_samples": librosa.frames_to_samples,
    "frames_to_time": librosa.frames_to_time,
    "samples_to_frames": librosa.samples_to_frames,
    "time_to_frames": librosa.time_to_frames,
    "hz_to_mel": librosa.hz_to_mel,
    "mel_to_hz": librosa.mel_to_hz,
    "mel_frequencies": librosa.mel_frequencies,
    "mel_filterbank": librosa.filters.mel,
    "melspectrogram": librosa.feature.melspectrogram,
    "mfcc": librosa.feature.mfcc,
    "delta": librosa.feature.delta,
}

# An argument "@name" is the array of that name.
CASES = [
    ("stft", {"y": "@mono", "n_fft": 64}),
    ("stft", {"y": "@mono", "n_fft": 64, "hop_length": 23, "window": "blackman"}),
    ("stft", {"y": "@mono", "n_fft": 63, "win_length": 40, "pad_mode": "reflect"}),
    ("stft", {"y": "@stereo", "n_fft": 50, "hop_length": 20, "window": "hamming"}),
    ("stft", {"y": "@mono", "n_fft": 64, "center": False, "window": "boxcar"}),
    ("stft", {"y": "@stereo", "n_fft": 32, "pad_mode": "edge", "window": ["kaiser", 6.0]}),
    ("stft", {"y": "@short", "n_fft": 16}),
    ("istft", {"stft_matrix": "@spectrum", "hop_length": 16}),
    ("istft", {"stft_matrix": "@spectrum", "hop_length": 16, "length": 262}),
    ("istft", {"stft_matrix": "@spectrum", "hop_length": 20, "n_fft": 65, "window": "hamming"}),
    ("istft", {"stft_matrix": "@spectrum", "win_length": 50, "length": 190}),
    ("istft", {"stft_matrix": "@spectrum", "hop_length": 11, "center": False}),
    ("istft", {"stft_matrix": "@spectra", "hop_length": 9, "length": 77}),
    ("frame", {"x": "@mono", "frame_length": 100, "hop_length": 60}),
    ("frame", {"x": "@mono", "frame_length": 7, "hop_length": 101}),
    ("frame", {"x": "@stereo", "frame_length": 200, "hop_length": 45}),
    ("frame", {"x": "@stereo", "frame_length": 200, "hop_length": 45, "axis": 1}),
    ("frame", {"x": "@spectrum", "frame_length": 5, "hop_length": 6, "axis": 0}),
    ("get_window", {"window": "hann", "Nx": 17}),
    ("get_window", {"window": "hamming", "Nx": 16}),
    ("get_window", {"window": "blackman", "Nx": 17}),
    ("get_window", {"window": "blackmanharris", "Nx": 16}),
    ("get_window", {"window": "bartlett", "Nx": 17}),
    ("get_window", {"window": "bartlett", "Nx": 16}),
    ("get_window", {"window": "boxcar", "Nx": 5}),
    ("get_window", {"window": ["kaiser", 8.6], "Nx": 17}),
    ("get_window", {"window": "hann", "Nx": 1}),
    ("get_window", {"window": "hann", "Nx": 17, "fftbins": False}),
    ("get_window", {"window": "bartlett", "Nx": 16, "fftbins": False}),
    ("get_window", {"window": ["kaiser", 3.0], "Nx": 16, "fftbins": False}),
    ("window_sumsquare", {"window": "hann", "n_frames": 7, "hop_length": 16, "n_fft": 64}),
    ("window_sumsquare", {"window": "hann", "n_frames": 1, "hop_length": 5, "n_fft": 33}),
    ("window_sumsquare", {"window": "hamming", "n_frames": 5, "hop_length": 13, "n_fft": 30}),
    (
        "window_sumsquare",
        {"window": "blackman", "n_frames": 4, "hop_length": 9, "n_fft": 40, "win_length": 29},
    ),
    (
        "window_sumsquare",
        {"window": "hann", "n_frames": 3, "hop_length": 8, "n_fft": 32, "norm": 1},
    ),
    ("fft_frequencies", {}),
    ("fft_frequencies", {"sr": 16000, "n_fft": 512}),
    ("fft_frequencies", {"sr": 8000, "n_fft": 255}),
    ("fft_frequencies", {"sr": 44100, "n_fft": 2}),
    ("fft_frequencies", {"sr": 48000, "n_fft": 1}),
    ("frames_to_samples", {"frames": [0, 1, 5, 100]}),
    ("frames_to_samples", {"frames": [0, 1, 5], "hop_length": 160, "n_fft": 401}),
    ("frames_to_samples", {"frames": 7, "hop_length": 3}),
    ("frames_to_samples", {"frames": [2.5, 3.2], "hop_length": 9}),
    ("frames_to_samples", {"frames": [0], "n_fft": 64}),
    ("frames_to_time", {"frames": [0, 1, 5, 100]}),
    ("frames_to_time", {"frames": [0, 1, 5], "sr": 16000, "hop_length": 160, "n_fft": 400}),
    ("frames_to_time", {"frames": 7, "sr": 8000}),
    ("frames_to_time", {"frames": [3, 4], "sr": 44100, "hop_length": 441}),
    ("frames_to_time", {"frames": [3, 4], "sr": 48000, "n_fft": 33}),
    ("samples_to_frames", {"samples": [0, 511, 512, 5000]}),
    ("samples_to_frames", {"samples": [0, 199, 200, 359, 360], "hop_length": 160, "n_fft": 400}),
    ("samples_to_frames", {"samples": 1000, "hop_length": 7}),
    ("samples_to_frames", {"samples": [10, 20], "hop_length": 10}),
    ("samples_to_frames", {"samples": [10, 20], "hop_length": 10, "n_fft": 15}),
    ("time_to_frames", {"times": [0.0, 0.1, 2.5]}),
    ("time_to_frames", {"times": [0.0, 0.1, 2.5], "sr": 16000, "hop_length": 160}),
    ("time_to_frames", {"times": 0.3, "sr": 8000, "hop_length": 80, "n_fft": 256}),
    ("time_to_frames", {"times": [1.0], "sr": 44100}),
    ("time_to_frames", {"times": [0.01, 0.02], "sr": 48000, "hop_length": 480}),
    ("hz_to_mel", {"frequencies": [0.0, 60.0, 440.0, 999.9, 1000.0, 1000.1, 8000.0]}),
    ("hz_to_mel", {"frequencies": [0.0, 60.0, 440.0, 1000.0, 8000.0], "htk": True}),
    ("hz_to_mel", {"frequencies": 60.0}),
    ("hz_to_mel", {"frequencies": 4186.0}),
    ("hz_to_mel", {"frequencies": 4186.0, "htk": True}),
    ("mel_to_hz", {"mels": [0.0, 3.0, 14.9, 15.0, 15.1, 40.0]}),
    ("mel_to_hz", {"mels": [0.0, 500.0, 1000.0, 2840.0], "htk": True}),
    ("mel_to_hz", {"mels": 3.0}),
    ("mel_to_hz", {"mels": 33.0}),
    ("mel_to_hz", {"mels": 33.0, "htk": True}),
    ("mel_frequencies", {}),
    ("mel_frequencies", {"n_mels": 40, "fmin": 20.0, "fmax": 8000.0}),
    ("mel_frequencies", {"n_mels": 40, "fmin": 20.0, "fmax": 8000.0, "htk": True}),
    ("mel_frequencies", {"n_mels": 7, "fmin": 1500.0, "fmax": 4000.0}),
    ("mel_frequencies", {"n_mels": 5, "fmax": 900.0}),
    ("mel_filterbank", {"sr": 8000, "n_fft": 256, "n_mels": 20, "dtype": "float64"}),
    ("mel_filterbank", {"sr": 8000, "n_fft": 200, "n_mels": 17, "htk": True, "dtype": "float64"}),
    (
        "mel_filterbank",
        {"sr": 16000, "n_fft": 255, "n_mels": 13, "fmin": 90.0, "fmax": 7600.0, "dtype": "float64"},
    ),
    ("mel_filterbank", {"sr": 8000, "n_fft": 128, "n_mels": 11, "norm": None, "dtype": "float64"}),
    ("mel_filterbank", {"sr": 8000, "n_fft": 128, "n_mels": 11, "norm": 1, "dtype": "float64"}),
    ("mel_filterbank", {"sr": 22050, "n_fft": 256, "n_mels": 16}),
    (
        "melspectrogram",
        {"y": "@mono", "sr": 8000, "n_fft": 256, "hop_length": 100, "n_mels": 20},
    ),
    (
        "melspectrogram",
        {"y": "@stereo", "sr": 8000, "n_fft": 200, "hop_length": 50, "n_mels": 12, "htk": True},
    ),
    (
        "melspectrogram",
        {"y": "@mono", "sr": 8000, "n_fft": 256, "n_mels": 9, "power": 1.0, "hop_length": 64},
    ),
    (
        "melspectrogram",
        {
            "y": "@mono",
            "sr": 16000,
            "n_fft": 128,
            "hop_length": 70,
            "win_length": 100,
            "window": "hamming",
            "center": False,
            "n_mels": 10,
            "fmin": 100.0,
            "fmax": 7000.0,
            "norm": None,
        },
    ),
    ("melspectrogram", {"S": "@powers", "sr": 8000, "n_mels": 10}),
    ("mfcc", {"y": "@mono", "sr": 8000, "n_fft": 256, "hop_length": 100, "n_mels": 40}),
    (
        "mfcc",
        {
            "y": "@mono",
            "sr": 8000,
            "n_fft": 256,
            "hop_length": 80,
            "n_mels": 26,
            "n_mfcc": 13,
            "lifter": 22,
        },
    ),
    (
        "mfcc",
        {
            "y": "@stereo",
            "sr": 16000,
            "n_fft": 256,
            "hop_length": 90,
            "n_mels": 24,
            "n_mfcc": 12,
            "norm": None,
            "htk": True,
            "mel_norm": None,
        },
    ),
    ("mfcc", {"S": "@decibels", "n_mfcc": 9}),
    ("mfcc", {"S": "@decibels", "n_mfcc": 14, "lifter": 7.5, "norm": None}),
    ("delta", {"data": "@decibels"}),
    ("delta", {"data": "@decibels", "width": 5}),
    ("delta", {"data": "@decibels", "width": 7, "order": 2}),
    ("delta", {"data": "@decibels", "width": 5, "mode": "nearest"}),
    ("delta", {"data": "@decibels", "width": 3, "axis": 0}),
    ("delta", {"data": "@decibels", "width": 9, "order": 3, "mode": "nearest"}),
]


def inputs():
    rng = np.random.default_rng(20)
    n = np.arange(333)
    tone = 0.3 * np.sin(0.2 * n) + 0.2 * np.sin(1.3 * n)
    return {
        "mono": tone + 0.05 * rng.standard_normal(333),
        "stereo": 0.2 * rng.standard_normal((2, 263)),
        "short": rng.standard_normal(3),
        "spectrum": rng.standard_normal((33, 17)) + 1j * rng.standard_normal((33, 17)),
        "spectra": rng.standard_normal((2, 17, 9)) + 1j * rng.standard_normal((2, 17, 9)),
        "powers": rng.standard_normal((65, 6)) ** 2,
        "decibels": 20 * rng.standard_normal((15, 13)) - 30,
    }


def resolved(function, arguments, arrays):
    """Arguments as librosa wants them."""
    arguments = dict(arguments)
    for name, value in arguments.items():
        if isinstance(value, str) and value.startswith("@"):
            arguments[name] = arrays[value[1:]]
        elif name == "window" and isinstance(value, list):
            arguments[name] = tuple(value)
    if function == "window_sumsquare" or function in ("melspectrogram", "mfcc"):
        arguments["dtype"] = np.float64
    if function == "mfcc" and "S" in arguments:
        del arguments["dtype"]
    return arguments


def main():
    arrays = inputs()
    results = {}
    for number, (function, arguments) in enumerate(CASES):
        result = FUNCTIONS[function](**resolved(function, arguments, arrays))
        results[f"result.{number}"] = np.asarray(result)
    np.savez_compressed(
        Path(__file__).with_name("librosa.npz"),
        origin=f"librosa {librosa.__version__}, numpy {np.__version__}, make_librosa.py",
        cases=json.dumps(CASES),
        **{f"input.{name}": array for name, array in arrays.items()},
        **results,
    )


if __name__ == "__main__":
    main()
