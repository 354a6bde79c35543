"""From frame probabilities to segments of speech, and back to frames and to sound.

    probabilities (T,)  --decide-->  decisions (T,) bool  --frames_to_segments-->  [(start, end)]

A network judges each frame by itself, and people speak in words. `decide` follows four rules, in
this order: hysteresis, short gaps filled, short pieces dropped, what is left padded.

Legend: T frames, N samples; a frame is 10 ms, frame t is centred at t / 100 s; segments are in s.
"""

import math
from dataclasses import dataclass

import numpy as np

from scratchaudio.errors import ConfigError, ShapeError, require_signal

FRAME_RATE = 100  # frames a second


@dataclass(frozen=True)
class SegmentSettings:
    """How frame probabilities become segments; all durations in seconds.

    onset : speech starts where the probability reaches this ...
    offset : ... and ends where it falls below this; the gap between the two (hysteresis) keeps a
        probability that hovers around one threshold from chopping a word into pieces
    min_silence : shorter gaps are filled: the closure of a "p" is not the end of a sentence
    min_speech : shorter segments are dropped: a click is not a word
    pad : each segment grows by this much at both ends, so that soft beginnings are kept
    """

    onset: float = 0.5
    offset: float = 0.35
    min_silence: float = 0.15
    min_speech: float = 0.1
    pad: float = 0.0

    def __post_init__(self):
        if not 0 <= self.offset <= self.onset <= 1:
            raise ConfigError(
                f"thresholds must satisfy 0 <= offset <= onset <= 1, got offset={self.offset}, "
                f"onset={self.onset}"
            )
        for name in ("min_silence", "min_speech", "pad"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be at least 0 s, got {getattr(self, name)}")


def decide(probabilities, settings=None):
    """Frame decisions (T,) bool: hysteresis, then gaps filled, short ones dropped, then padded."""
    settings = settings or SegmentSettings()
    probabilities = require_signal("probabilities", probabilities)
    if probabilities.ndim != 1:
        raise ShapeError(f"probabilities must have shape (T,), got {probabilities.shape}")
    active = hysteresis(probabilities, settings.onset, settings.offset)
    for start, stop in runs(~active):
        inside = start > 0 and stop < len(active)
        if inside and stop - start < settings.min_silence * FRAME_RATE:
            active[start:stop] = True
    for start, stop in runs(active):
        if stop - start < settings.min_speech * FRAME_RATE:
            active[start:stop] = False
    pad = round(settings.pad * FRAME_RATE)
    for start, stop in runs(active):
        active[max(0, start - pad) : stop + pad] = True
    return active


def hysteresis(probabilities, onset, offset):
    """Frame decisions (T,) bool: on from `onset` upwards, until the value falls below `offset`.

    A frame between the two thresholds keeps the decision of the last frame outside them.
    """
    decided = (probabilities >= onset) | (probabilities < offset)
    last = np.maximum.accumulate(np.where(decided, np.arange(len(probabilities)), -1))
    return np.where(last >= 0, probabilities[last] >= onset, False)


def runs(active):
    """(start, stop) of each run of True in a boolean (T,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], active, [False]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def frames_to_segments(active):
    """Frame decisions (T,) -> [(start, end)] in seconds; a frame stands for +-5 ms around it."""
    half = 0.5 / FRAME_RATE
    return [
        (max(0.0, start / FRAME_RATE - half), (stop - 1) / FRAME_RATE + half)
        for start, stop in runs(active)
    ]


def segments_to_frames(segments, n_frames):
    """[(start, end)] in seconds -> (n_frames,) bool: True where a frame's centre lies inside."""
    times = np.arange(n_frames) / FRAME_RATE
    active = np.zeros(n_frames, bool)
    for start, end in segments:
        if not 0 <= start <= end < math.inf:
            raise ShapeError(f"a segment must have 0 <= start <= end, got ({start}, {end})")
        if end > n_frames / FRAME_RATE + 1e-9:
            raise ShapeError(
                f"the segment ({start}, {end}) ends behind the recording's end at "
                f"{(n_frames - 1) / FRAME_RATE:.2f} s; are these the labels of another file?"
            )
        active |= (times >= start - 1e-9) & (times < end - 1e-9)
    return active


def keep_segments(x, sr, segments, fade=0.01):
    """Silence everything outside the segments: (..., N) -> (..., N), with fades against clicks.

    The fades of `fade` seconds lie outside the segments; a gap too short for two of them is kept.
    `x - keep_segments(x, ...)` is the complement.
    """
    x = require_signal("x", x)
    spans = []
    for start, end in sorted(segments):
        if not 0 <= start <= end < math.inf:
            raise ShapeError(f"a segment must have 0 <= start <= end, got ({start}, {end})")
        if spans and start - spans[-1][1] < 2 * fade:  # no room to fade out and in again
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((start, end))
    y = np.zeros_like(x)
    for start, end in spans:
        first, last = max(0, math.ceil((start - fade) * sr)), math.ceil((end + fade) * sr)
        t = np.arange(first, min(last, x.shape[-1])) / sr
        gain = np.interp(t, [start - fade, start, end, end + fade], [0, 1, 1, 0])
        smooth = 0.5 - 0.5 * np.cos(np.pi * gain)  # raised cosine
        y[..., first : first + len(t)] = x[..., first : first + len(t)] * smooth.astype(x.dtype)
    return y
