"""Every error that scratchaudio raises on purpose, and the checks that raise the commonest ones.

    ScratchAudioError
    ├── AudioFileError   also an OSError      a sound file is missing, damaged or not a sound
    ├── CheckpointError  also an OSError      a checkpoint is missing, damaged or of another model
    ├── ShapeError       also a ValueError    an array has the wrong shape, is empty or not finite
    ├── ConfigError      also a ValueError    a setting is impossible
    └── CallOrderError   also a ValueError    backward before forward, backward twice, ...

A message names the argument, what came and what was expected. One `except ScratchAudioError`
catches them all.
"""

import numpy as np


class ScratchAudioError(Exception):
    """Base of every error raised on purpose by scratchaudio."""


class AudioFileError(ScratchAudioError, OSError):
    """A sound file is missing, damaged, empty or not a sound."""


class CheckpointError(ScratchAudioError, OSError):
    """A checkpoint is missing, damaged, or belongs to another model."""


class ShapeError(ScratchAudioError, ValueError):
    """An array has the wrong shape or dtype, is empty, or is not finite."""


class ConfigError(ScratchAudioError, ValueError):
    """A setting is impossible, or two settings contradict each other."""


class CallOrderError(ScratchAudioError, ValueError):
    """Methods were called in an order that cannot work, such as backward before forward."""


def require_positive_integer(name, value):
    """Raise `ConfigError` unless `value` is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ConfigError(f"{name} must be an integer of at least 1, got {value!r}")


def require_signal(name, x):
    """Return `x` as an array; raise `ShapeError` unless it is a non-empty, finite float array."""
    x = np.asarray(x)
    if not np.issubdtype(x.dtype, np.floating):
        raise ShapeError(
            f"{name} must hold floating-point samples, got dtype {x.dtype}; "
            f"divide integer PCM by its full scale first (int16: 32768)"
        )
    if x.ndim == 0 or x.size == 0:
        raise ShapeError(f"{name} must hold at least one sample, got shape {x.shape}")
    if not np.isfinite(x).all():
        bad = np.argwhere(~np.isfinite(x))[0]
        where = ", ".join(str(int(index)) for index in bad)
        raise ShapeError(f"{name} must be finite, but {name}[{where}] is {x[tuple(bad)]}")
    return x


def require_gradient(dy, shape):
    """Raise `ShapeError` unless dy has the shape of what forward returned."""
    if dy.shape != shape:
        raise ShapeError(f"dy must have shape {shape} like forward's y, got {dy.shape}")
