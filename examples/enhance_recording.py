"""Take the noise out of your own recordings of speech, however long.

    python examples/enhance_recording.py interview.mp3 lecture.wav --out cleaned

For each recording NAME you get, in the folder given:
    NAME.wav    the recording, cleaned: same length, rate and channels (NAME.flac for a FLAC)
    NAME.png    before, after, and the gain in between

What you will hear: hiss, hum and traffic behind the voice softer or gone, in the pauses most of
all. A voice that noise had covered sounds duller than a clean one, and music counts as noise: the
model knows speech only. If it takes too much, `--mix 0.2` leaves a fifth of the recording in; to
hear what was done before neural networks, use `--method wiener` or `--method subtraction`, which
clean each channel by itself (the network gives all channels one mask, so that every voice stays
in its place between the loudspeakers).

What you will see: the haze between the stripes of the voice goes dark from the first drawing to the
second; the third is bright where sound was kept and dark where it was taken away.

The recording is never held whole: chunks of half a minute are cleaned and joined without a seam, so
an hour takes no more memory than a minute. Recordings of 16, 24 or 32 bits or floats keep them, as
.wav or .flac; what has 8 bits, too few for the softer pauses, or was compressed with loss becomes a
16-bit .wav. If the result reaches beyond full scale, which integers cannot hold, it becomes a .wav
of 32-bit floats.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from own_recordings import (
    DYNAMIC_RANGE,
    BeyondFullScale,
    Columns,
    draw_below_each_other,
    process_each,
    require_free,
    require_scale,
    storage,
)

from scratchaudio import dsp
from scratchaudio.errors import ConfigError, ScratchAudioError
from scratchaudio.io import blocks, info, writer
from scratchaudio.models import load_model, load_pretrained
from scratchaudio.streaming import process_in_chunks

# %% Settings
CHUNK = 30.0  # s cleaned at a time
OVERLAP = 2.0  # s in which one chunk fades into the next
METHOD = "network"  # or "wiener", "subtraction": without a network
MIX = 0.0  # share of the recording left in the result: 0 cleans, 1 changes nothing
GAIN_RANGE = 30  # dB shown below "kept as it was"


# %% Sound


class Cleaned(NamedTuple):
    """What became of a recording."""

    sound: Path
    seconds: float
    peak: float  # of the result
    softer: float  # dB by which the quietest tenth of the recording fell


def enhance_file(path, folder, model, mix=MIX, overwrite=False, recordings=(), progress=None):
    """Write a cleaned recording and its picture into a folder.

    Parameters
    ----------
    path : the recording
    folder : where to
    model : object with enhance(x, sr), which takes (N,) or (C, N) and returns as much
    mix : share of the recording left in the result, 0 to 1
    overwrite : replace results that are there already
    recordings : files that must not be written over, whatever `overwrite` says, besides `path`
    progress : function called with the seconds done and those of the recording, or None

    Returns
    -------
    Cleaned
    """
    require_share("mix", mix)
    header = info(path)

    def attempt(suffix, subtype):
        target = folder / f"{path.stem}{suffix}"
        picture = folder / f"{path.stem}.png"
        require_free([target, picture], [path, *recordings], overwrite, "cleaned")
        image, cleaned = clean(path, header, model, mix, target, subtype, progress, overwrite)
        write_whole(picture, image)
        return cleaned

    try:
        return attempt(*storage(header))
    except BeyondFullScale:
        return attempt(".wav", "FLOAT")


class Classical:
    """A method from before neural networks, as an object like the network."""

    def __init__(self, method):
        self.method = method

    def enhance(self, x, sr):
        """Clean (N,) or (C, N), one channel after the other, which saves memory."""
        y = [dsp.denoise(channel, sr, method=self.method) for channel in np.atleast_2d(x)]
        return np.reshape(y, x.shape)


def clean(path, header, model, mix, target, subtype, progress, overwrite):
    """Read, clean and write chunk by chunk; return the picture and what became of the sound."""
    sr, channels, frames = header.sr, header.channels, header.frames
    before, after = Columns(frames, sr), Columns(frames, sr)
    chunk, overlap = round(CHUNK * sr), round(OVERLAP * sr)
    peak, done = 0.0, 0

    def recording():
        for x in blocks(path):  # (n,) or (C, n)
            before.add(x)
            yield x

    def process(x):
        y = model.enhance(x, sr)
        return y if mix == 0 else mix * x + (1 - mix) * y

    with writer(target, sr, channels, overwrite=overwrite, subtype=subtype, frames=frames) as write:
        for y in process_in_chunks(process, recording(), chunk=chunk, overlap=overlap):
            peak = max(peak, float(np.abs(y).max()))
            require_scale(peak, subtype)
            write(y)
            after.add(y)
            done += y.shape[-1]
            if progress:
                progress(done / sr, header.seconds)
        image = draw(before, after)  # before the sound appears: both or neither
    softer = before.quietest_tenth() - after.quietest_tenth()
    return image, Cleaned(target, header.seconds, peak, softer)


def require_share(name, value):
    """Raise unless a setting is from 0 to 1."""
    if not 0 <= value <= 1:
        raise ConfigError(f"{name} must be from 0 to 1, got {value}")


def write_whole(path, content):
    """Write bytes beside their place and rename, so that there is never half a file."""
    beside = path.with_name(f"{path.name}.part")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


# %% Pictures


def draw(before, after):
    """Draw the spectrograms before and after in the same colours, and the gain; return a PNG."""
    old, new = before.decibels(), after.decibels()
    levels = "level (dB)", old.max() - DYNAMIC_RANGE, old.max()
    return draw_below_each_other(
        [
            (old, "before", *levels),
            (new, "after", *levels),
            (new - old, "gain", "gain (dB)", -GAIN_RANGE, 0),
        ],
        before.sr,
        before.n_samples,
    )


# %% Command


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", nargs="+", type=Path, help="WAV, FLAC, OGG, MP3, Opus, ...")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--model", type=Path, help="your own checkpoint instead of the shipped one")
    parser.add_argument("--method", choices=("network", "wiener", "subtraction"), default=METHOD)
    parser.add_argument("--mix", type=float, default=MIX, help="share of the recording left in")
    parser.add_argument("--overwrite", action="store_true")
    args = parser.parse_args()

    try:
        model = load_enhancer(args.method, args.model)
        require_share("--mix", args.mix)
        args.out.mkdir(parents=True, exist_ok=True)
    except (ScratchAudioError, OSError) as error:
        sys.exit(f"error: {error}")

    def process(path, progress):
        return enhance_file(
            path, args.out, model, args.mix, args.overwrite, args.recordings, progress
        )

    process_each(args.recordings, process, summary)


def load_enhancer(method, path):
    """Make what cleans: a classical method, or the network at `path` (None: the shipped one)."""
    if method != "network":
        if path:
            raise ConfigError(f"--model is for --method network, not for {method}")
        return Classical(method)
    model = load_model(path) if path else load_pretrained("enhancer")
    if not hasattr(model, "enhance"):
        raise ConfigError(f"{path} holds a {type(model).__name__}, which does not clean recordings")
    return model


def summary(progress, cleaned):
    """Say in one line what became of a recording."""
    beyond = f"; 32-bit floats, for it reaches {cleaned.peak:.2f}" if cleaned.peak > 1 else ""
    return (
        f"{progress.total(cleaned.seconds, 'cleaned')}, pauses {cleaned.softer:.1f} dB softer -> "
        f"{cleaned.sound}{beyond}"
    )


if __name__ == "__main__":
    main()
