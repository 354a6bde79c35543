"""Take the lead voice out of your own songs, and have both: the voice, and the rest.

    python examples/separate_song.py song.mp3 another.flac --out stems

For each song NAME you get, in the folder given:
    NAME/vocals.wav           the voice: same length, rate and channels as the song
    NAME/accompaniment.wav    all the rest, to sing to; the two sum to the song
    NAME/stems.png            the song, and what became of it

What you will hear: one lead voice, sung in the middle between the loudspeakers, comes forward, and
the band behind it becomes softer. It is not gone. Whatever plays in the middle too leaks into the
voice, a solo or a snare drum most of all; and the accompaniment keeps a shadow of the singer: the
breath, the consonants, the room around the voice. Choirs and second voices on the sides stay with
the band. A mono song has no sides, so more of everything leaks, and music that nobody sings to has
a "voice" nevertheless. Other methods, to compare: `--method semi-supervised` knows other singers
and learns the band on the way; `blind` knows no other song and has to guess which sounds are the
voice; `centre` takes what stands in the middle, with voice and drums alike; `hpss` what neither
holds still nor strikes; `repet` what does not repeat.

What you will see: the band is a pattern that goes on from beginning to end, with drums as thin
columns and notes as straight stripes; the voice is brighter patches, most of them between 200 Hz
and 4 kHz, with a pause after each line of the text. In the first drawing they lie over each other.
The better the separation, the darker the pauses in the second and the more even the third.

The song is never held whole: chunks of half a minute are separated and joined without a seam, so an
hour takes no more memory than a minute. Songs of 16, 24 or 32 bits or floats keep them; what has 8
bits or was compressed with loss becomes 16 bits. If a stem reaches beyond full scale, which
integers cannot hold, both become 32-bit floats.
"""

import argparse
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
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
from scratchaudio.errors import AudioFileError, ConfigError, ScratchAudioError, ShapeError
from scratchaudio.io import blocks, info, writer
from scratchaudio.models import (
    BlindSeparator,
    ConvTasNet,
    NMFSeparator,
    OpenUnmix,
    SemiSupervisedSeparator,
    UNet,
    load_model,
    load_pretrained,
)
from scratchaudio.streaming import process_in_chunks

# %% Settings
CHUNK = 30.0  # s separated at a time
OVERLAP = 2.0  # s in which one chunk fades into the next
METHOD = "nmf"  # or another of METHODS
LEARNED = {"nmf": NMFSeparator, "unet": UNet, "open_unmix": OpenUnmix, "conv_tasnet": ConvTasNet}
CLASSICAL = {"centre": dsp.centre, "hpss": dsp.voice_between, "repet": dsp.repet_sim}
METHODS = (*LEARNED, "semi-supervised", "blind", *CLASSICAL)
SHORTEST = 2**14  # samples; a shorter song is lengthened by silence while it is separated
RESULTS = ("vocals.wav", "accompaniment.wav", "stems.png")


# %% Sound


class Separated(NamedTuple):
    """What became of a song."""

    folder: Path
    seconds: float
    peak: float  # of both stems


def separate_file(path, folder, separator, overwrite=False, songs=(), progress=None):
    """Write the stems of a song and their picture into a folder of its name.

    Parameters
    ----------
    path : the song, of one or two channels
    folder : in which the song's own folder is made
    separator : object with separate(x, sr), which takes (N,) or (2, N) and returns (2, ...):
        vocals, and accompaniment = x - vocals
    overwrite : replace results that are there already
    songs : files that must not be written over, whatever `overwrite` says, besides `path`
    progress : function called with the seconds done and those of the song, or None

    Returns
    -------
    Separated
    """
    header = info(path)
    if header.channels > 2:
        raise AudioFileError(f"{path} has {header.channels} channels, a song here has 1 or 2")
    own = folder / path.stem
    if os.path.lexists(own) and not own.is_dir():
        raise AudioFileError(f"{own} is there already and no folder; choose another one for --out")
    require_free([own / name for name in RESULTS], [path, *songs], overwrite, "separated")

    def attempt(subtype):
        with TemporaryDirectory(suffix=".part", dir=folder) as beside:
            results = Path(beside) / "results"
            results.mkdir()
            peak = separate(path, header, separator, results, subtype, progress)
            move_all(results, own)
        return Separated(own, header.seconds, peak)

    try:
        return attempt(storage(header)[1])
    except BeyondFullScale:
        return attempt("FLOAT")


class Classical:
    """A method from before matrices were factorised, as an object like the separators."""

    def __init__(self, method):
        self.method = method

    def separate(self, x, sr):
        """Separate (N,) or (2, N) into vocals and accompaniment, (2, ...)."""
        if self.method == "centre" and x.ndim == 1:
            raise ShapeError("it is mono, and without two channels nothing is known of the centre")
        vocals = CLASSICAL[self.method](x, sr)
        return np.stack([vocals, x - vocals])


def separate(path, header, separator, folder, subtype, progress):
    """Read, separate and write chunk by chunk, draw, and return the peak of both stems."""
    sr, channels, frames = header.sr, header.channels, header.frames
    mix, vocals, accompaniment = (Columns(frames, sr) for _ in range(3))
    chunk, overlap = round(CHUNK * sr), round(OVERLAP * sr)
    peak, done = 0.0, 0

    def song():
        for x in blocks(path):  # (n,) or (2, n)
            mix.add(x)
            yield x

    def process(x):
        n = x.shape[-1]
        silence = [(0, 0)] * (x.ndim - 1) + [(0, max(0, SHORTEST - n))]
        stems = separator.separate(np.pad(x, silence), sr)[..., :n]
        if stems.shape != (2, *x.shape):
            raise ShapeError(f"separate must return {(2, *x.shape)}, it returned {stems.shape}")
        return stems

    stored = {"subtype": subtype, "frames": frames}
    with (
        writer(folder / "vocals.wav", sr, channels, **stored) as write_vocals,
        writer(folder / "accompaniment.wav", sr, channels, **stored) as write_accompaniment,
    ):
        for y in process_in_chunks(process, song(), chunk=chunk, overlap=overlap):  # (2, ..., n)
            peak = max(peak, float(np.abs(y).max()))
            require_scale(peak, subtype)
            write_vocals(y[0])
            write_accompaniment(y[1])
            vocals.add(y[0])
            accompaniment.add(y[1])
            done += y.shape[-1]
            if progress:
                progress(done / sr, header.seconds)
    (folder / "stems.png").write_bytes(draw(mix, vocals, accompaniment))
    return peak


def move_all(results, folder):
    """Move the results to their folder: all of them, or none if that fails."""
    if not folder.exists():
        os.rename(results, folder)
        return
    try:
        for name in RESULTS:
            os.replace(results / name, folder / name)
    except BaseException:  # Ctrl-C too
        for name in RESULTS:
            if not (results / name).exists():
                (folder / name).unlink()
        raise


# %% Pictures


def draw(mix, vocals, accompaniment):
    """Draw the spectrograms of a song and its stems in the same colours; return a PNG."""
    loudest = mix.decibels().max()
    drawings = [
        (columns.decibels(), name, "level (dB)", loudest - DYNAMIC_RANGE, loudest)
        for columns, name in ((mix, "song"), (vocals, "vocals"), (accompaniment, "accompaniment"))
    ]
    return draw_below_each_other(drawings, mix.sr, mix.n_samples)


# %% Command


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("songs", nargs="+", type=Path, help="WAV, FLAC, OGG, MP3, Opus, ...")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--model", type=Path, help="your own checkpoint instead of a shipped one")
    parser.add_argument("--method", choices=METHODS, help=f"default: {METHOD}, or that of --model")
    parser.add_argument("--overwrite", action="store_true")
    args = parser.parse_args()

    try:
        separator = load_separator(args.method, args.model)
        args.out.mkdir(parents=True, exist_ok=True)
    except (ScratchAudioError, OSError) as error:
        sys.exit(f"error: {error}")

    def process(path, progress):
        return separate_file(path, args.out, separator, args.overwrite, args.songs, progress)

    process_each(args.songs, process, summary)


def load_separator(method=None, path=None):
    """Make what separates: by the method, or by the checkpoint at `path`, or by METHOD."""
    if path and method and method not in LEARNED:
        raise ConfigError(f"--model is for --method {', '.join(LEARNED)}, not for {method}")
    if path:
        separator = load_model(path)
        if not isinstance(separator, tuple(LEARNED.values())):
            raise ConfigError(
                f"{path} holds a {type(separator).__name__}, which separates no songs"
            )
        if method and not isinstance(separator, LEARNED[method]):
            raise ConfigError(
                f"{path} holds a {type(separator).__name__}; --method {method} needs "
                f"{LEARNED[method].__name__}"
            )
        return separator
    method = method or METHOD
    if method in LEARNED:
        return load_pretrained(method)
    if method in CLASSICAL:
        return Classical(method)
    if method == "blind":
        return BlindSeparator()
    return SemiSupervisedSeparator(load_pretrained("nmf").voice)


def summary(progress, separated):
    """Say in one line what became of a song."""
    peak = separated.peak
    beyond = f"; 32-bit floats, for a stem reaches {peak:.2f}" if peak > 1 else ""
    return f"{progress.total(separated.seconds, 'separated')} -> {separated.folder}{beyond}"


if __name__ == "__main__":
    main()
