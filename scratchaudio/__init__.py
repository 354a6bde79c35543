"""Audio machine learning from scratch in NumPy: every derivative written by hand.

    from scratchaudio import dsp, nn, metrics, models

`dsp` turns sound into numbers (STFT, mel, MFCC), `nn` holds the layers with their hand-derived
backward passes, `models` makes detectors and enhancers of both, `metrics` tells how good they are.
"""

__version__ = "0.3.0"
