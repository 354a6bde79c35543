"""Sound files: read them whole or block by block, write them, and never anything in silence.

    x, sr = load("voice.mp3")                    the file as it is: its rate, its channels
    x, sr = load("voice.mp3", sr=16000, mono=True)
    for x in blocks("voice.mp3"): ...            ten seconds at a time
    with writer("new.wav", sr, channels=2) as write: write(x)

libsndfile, through soundfile, decodes WAV, FLAC, OGG, MP3, Opus and some twenty others. It is
forgiving: of a file cut in half it returns the first half, of a damaged OGG the pages it could use.
A model that learns from such a file learns from the wrong sound, so here every file is right as a
whole or refused with an `AudioFileError` that says which file and why: `audiofile.py` checks what
the formats offer as proof, and this file that there are as many samples as the header promises,
all of them finite, at a plausible rate.

Samples are floats between -1 and 1: integer PCM of b bits is divided by 2^(b - 1).

Legend: C channels, N samples; waveforms are (N,) or (C, N), channels first.
"""

import contextlib
import io
import os
import re
import secrets
import stat
from typing import NamedTuple

import numpy as np
import soundfile as sf

from scratchaudio.audiofile import (
    FlacProof,
    check_flac,
    check_mp3,
    check_ogg,
    check_wav,
    unreadable,
)
from scratchaudio.dsp.resample import resample
from scratchaudio.errors import (
    AudioFileError,
    CallOrderError,
    ConfigError,
    ShapeError,
    require_positive_integer,
    require_signal,
)

_RATES = (1000, 1_000_000)  # Hz; beyond, a header is damaged
_MAX_CHANNELS = 64

# Reading --------------------------------------------------------------------------------------


def load(path, sr=None, mono=False):
    """Read a sound file whole.

    Parameters
    ----------
    path : the file
    sr : sampling rate wanted, Hz; None keeps the file's (librosa's default is 22050)
    mono : mix the channels down to their mean (librosa's default is True)

    Returns
    -------
    x : (N,) float32 for a file of one channel or mono=True, else (C, N)
    sr : its sampling rate, Hz

    Raises
    ------
    AudioFileError : the file is missing, damaged, cut short, empty or not a sound
    """
    if sr is not None:
        require_positive_integer("sr", sr)
    file_sr = info(path).sr
    x = np.concatenate(list(blocks(path, mono=mono)), axis=-1)
    if sr is None or sr == file_sr:
        return x, file_sr
    return resample(x, file_sr, sr), sr


class AudioInfo(NamedTuple):
    """What the header of a sound file says."""

    sr: int  # sampling rate, Hz
    channels: int
    frames: int  # samples per channel
    format: str  # such as "WAV"
    subtype: str  # such as "PCM_16"

    @property
    def seconds(self):
        """Duration."""
        return self.frames / self.sr


def info(path):
    """Read what a sound file is, without its samples.

    Parameters
    ----------
    path : the file

    Returns
    -------
    AudioInfo with sr, channels, frames, format, subtype, and seconds
    """
    path = os.fspath(path)
    with _open(path) as file:
        return _header(file)


def blocks(path, seconds=10.0, mono=False):
    """Read a sound file piece by piece, so that its length does not matter to the memory.

    A file that proves damaged raises when the damage is met, for a FLAC at the latest after the
    last block.

    Parameters
    ----------
    path : the file
    seconds : length of a block; the last one may be shorter
    mono : mix the channels down to their mean

    Returns
    -------
    iterator over (n,) or (C, n) float32 at the file's rate, `info(path).sr`
    """
    if not 0 < seconds <= 3600:
        raise ConfigError(f"seconds must be above 0 and at most 3600, got {seconds!r}")
    path = os.fspath(path)
    return _decode(path, _open(path), seconds, mono)


def _decode(path, file, seconds, mono):
    """Yield the blocks of an open file and check what can only be checked while decoding."""
    header = _header(file)
    size = max(1, round(seconds * header.sr))
    proof = FlacProof(path) if header.format == "FLAC" else None
    done = 0
    with file:
        while done < header.frames:
            try:
                x = file.read(size, dtype="int32" if proof else "float32", always_2d=True)
            except sf.LibsndfileError as error:
                raise unreadable(path, _reason(error, done, header.frames)) from error
            if len(x) == 0:
                raise unreadable(
                    path,
                    f"it is truncated or damaged: its header promises {header.frames} samples per "
                    f"channel, {done} could be decoded",
                )
            if proof:
                proof.update(x)
                x = x.astype(np.float32) / 2**31  # int32 holds the bits left-aligned
            if not np.isfinite(x).all():
                bad = done + int(np.argmin(np.isfinite(x).all(axis=1)))
                raise unreadable(path, f"sample {bad} is not a finite number")
            done += len(x)
            x = x.T  # (C, n)
            if mono or len(x) == 1:
                x = x.mean(axis=0) if len(x) > 1 else x[0]  # (n,)
            yield np.ascontiguousarray(x)
    if proof:
        proof.verify()


def _open(path):
    """Check the container and hand the file to libsndfile; return the open SoundFile."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise unreadable(path, "it is a folder")
        if not stat.S_ISREG(status.st_mode):
            raise unreadable(path, "it is not a regular file")
        if status.st_size == 0:
            raise unreadable(path, "it is empty (0 bytes)")
        if path.lower().endswith(".raw"):
            raise unreadable(path, "raw samples carry no rate or format; save them as WAV")
        frames = None
        with open(path, "rb") as file:
            head = file.read(12)
            if head[:4] == b"RIFF" and head[8:] == b"WAVE":
                check_wav(path, file, status.st_size)
            elif head[:4] == b"OggS":
                check_ogg(path, file)
            elif head[:4] == b"fLaC":
                check_flac(path, file)
            elif head[:3] == b"ID3" or head[:1] == b"\xff" or path.lower().endswith(".mp3"):
                frames = check_mp3(path, file, status.st_size)
        file = _Stream(io.BufferedReader(frames) if frames else path)
    except AudioFileError:
        raise
    except sf.LibsndfileError as error:
        raise unreadable(path, _reason(error)) from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise unreadable(path, getattr(error, "strerror", None) or str(error)) from error
    try:
        _check_header(path, file, trust_log=head[:4] != b"RIFF")
    except AudioFileError:
        file.close()
        raise
    return file


class _Stream(sf.SoundFile):
    """A file read forwards only: soundfile else seeks after each read, inexact in Opus and MP3."""

    def seekable(self):
        """No."""
        return False

    def close(self):
        """Close the sound, and the Python file that it may come from."""
        super().close()
        if isinstance(self.name, io.IOBase):
            self.name.close()


def _header(file):
    return AudioInfo(file.samplerate, file.channels, file.frames, file.format, file.subtype)


def _check_header(path, file, trust_log):
    sr, channels, frames, _, _ = _header(file)
    if not _RATES[0] <= sr <= _RATES[1]:
        raise unreadable(path, f"its sampling rate of {sr} Hz is absurd")
    if not 1 <= channels <= _MAX_CHANNELS:
        raise unreadable(path, f"its number of channels, {channels}, is absurd")
    if frames <= 0:
        raise unreadable(path, "it holds no samples")
    # For AIFF, AU, W64 and others libsndfile notes in its log what it silently put right.
    for promised, present in re.findall(r"(\d+) \(should be (\d+)\)", file.extra_info):
        if trust_log and int(promised) > int(present):
            raise unreadable(
                path, f"it is truncated: it promises {promised} bytes, {present} are there"
            )


def _reason(error, done=0, frames=None):
    """What libsndfile says went wrong; it does not always say."""
    said = error.error_string.strip().rstrip(".") or f"error {error.code}"
    if frames is None:
        return f"it is not a sound file that libsndfile knows, or damaged ({said})"
    return (
        f"it is truncated or damaged: its header promises {frames} samples per channel, decoding "
        f"failed somewhere after {done} of them ({said})"
    )


# Writing --------------------------------------------------------------------------------------

# extension: (container, default subtype, subtypes allowed)
_FORMATS = {
    ".wav": ("WAV", "PCM_16", ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")),
    ".flac": ("FLAC", "PCM_16", ("PCM_S8", "PCM_16", "PCM_24")),
    ".ogg": ("OGG", "VORBIS", ("VORBIS",)),
    ".opus": ("OGG", "OPUS", ("OPUS",)),
    ".mp3": ("MP3", "MPEG_LAYER_III", ("MPEG_LAYER_III",)),
}
_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
_BYTES = {"PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
_WAV_BYTES = 2**32 - 2**12  # of samples; leaves room for the header
_CODEC_RATES = {
    "OPUS": (8000, 12000, 16000, 24000, 48000),
    "MPEG_LAYER_III": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
}
_CODEC_CHANNELS = {"MPEG_LAYER_III": 2, "FLAC": 8}


def save(path, x, sr, overwrite=False, *, subtype=None):
    """Write a sound file; its format is that of its extension: .wav .flac .ogg .opus .mp3.

    PCM of b bits holds the nearest multiples of 2^(1 - b) from -1 to 1 - 2^(1 - b); the value 1
    becomes the last of them. The file is written beside its place and renamed when complete, so
    that never half a file bears its name.

    Parameters
    ----------
    path : where to
    x : (N,) or (C, N) waveform within -1 to 1; beyond for "FLOAT" and "DOUBLE" only
    sr : sampling rate, Hz
    overwrite : allow an existing file to be replaced
    subtype : how samples are stored: "PCM_16" (default of WAV and FLAC), "PCM_24", "FLOAT", ...

    Raises
    ------
    AudioFileError : the file exists, its folder does not, or the disk refuses
    """
    x = require_signal("x", x)
    C, N = np.atleast_2d(x).shape[-2:]
    if x.ndim > 2 or C > _MAX_CHANNELS or C > 2 and C > N:
        raise ShapeError(
            f"x must be (N,) or (C, N), channels first, at most {_MAX_CHANNELS} of them; got "
            f"shape {x.shape}" + (", pass x.T" if x.ndim == 2 else "")
        )
    with writer(path, sr, C, overwrite=overwrite, subtype=subtype, frames=N) as write:
        write(x)


@contextlib.contextmanager
def writer(path, sr, channels, *, overwrite=False, subtype=None, frames=None):
    """Write a sound file piece by piece, by the rules of `save`; the counterpart of `blocks`.

        with writer("half.wav", info("talk.wav").sr, channels=2) as write:
            for x in blocks("talk.wav"):
                write(x / 2)

    The file appears when the `with` block ends. If it ends by an error or Ctrl-C there is none.

    Parameters
    ----------
    path, sr, overwrite, subtype : as for `save`
    channels : of the file
    frames : samples per channel that will be written, if known: too many for the format are then
        refused at once, and any other number at the end

    Returns
    -------
    context manager, whose `as` name is a function write(x) of (n,) or (C, n) with C = `channels`

    Raises
    ------
    AudioFileError : the file exists, its folder does not, or the disk refuses
    """
    path = os.fspath(path)
    container, subtype = _choose_format(path, subtype)
    require_positive_integer("sr", sr)
    require_positive_integer("channels", channels)
    _check_format(sr, channels, container, subtype)
    if frames is not None:
        require_positive_integer("frames", frames)
        _check_size(path, frames * channels, container, subtype)
    if os.path.exists(path) and not overwrite:
        raise AudioFileError(f"cannot write {path}: it exists; pass overwrite=True to replace it")

    beside = f"{path}.{secrets.token_hex(4)}.part"
    written = 0

    def write(x):
        nonlocal written
        x = np.atleast_2d(require_signal("x", x))  # (C, n)
        if file.closed:
            raise CallOrderError(f"write(x) after the end of its with block: {path} is closed")
        if x.ndim > 2 or len(x) != channels:
            shape = "(n,)" if channels == 1 else f"({channels}, n)"
            raise ShapeError(f"x must be {shape} for {channels} channels, got shape {x.shape}")
        _check_peak(x, subtype)
        _check_size(path, (written + x.shape[1]) * channels, container, subtype)
        with _refusals(path):
            for start in range(0, x.shape[1], sr):  # long single writes crash some encoders
                file.write(_quantised(x[:, start : start + sr].T, subtype))
        written += x.shape[1]

    try:
        with _refusals(path):
            file = sf.SoundFile(beside, "w", int(sr), int(channels), subtype, None, container)
        with file:
            yield write
            with _refusals(path):
                file.close()
        if written == 0 or frames not in (None, written):
            due = "at least one" if frames is None else frames
            raise ShapeError(f"cannot write {path}: {due} samples were due, {written} were written")
        with _refusals(path):
            if info(beside).frames != written:
                raise AudioFileError(f"cannot write {path}: the disk did not take all samples")
            os.replace(beside, path)
    finally:
        if os.path.exists(beside):
            os.remove(beside)


@contextlib.contextmanager
def _refusals(path):
    """Say of what libsndfile or the system refuse which file it was and why."""
    try:
        yield
    except sf.LibsndfileError as error:
        folder = os.path.dirname(path) or "."
        why = error.error_string if os.path.isdir(folder) else f"the folder {folder} does not exist"
        raise AudioFileError(f"cannot write {path}: {why}") from error
    except OSError as error:
        if isinstance(error, AudioFileError):
            raise
        raise AudioFileError(f"cannot write {path}: {error.strerror}") from error


def _choose_format(path, subtype):
    extension = os.path.splitext(path)[1].lower()
    if extension not in _FORMATS:
        raise ConfigError(
            f"path must end in one of {', '.join(_FORMATS)} to say its format, got {path!r}"
        )
    container, default, allowed = _FORMATS[extension]
    if subtype is not None and subtype not in allowed:
        raise ConfigError(
            f"subtype must be one of {', '.join(allowed)} in a {extension} file, got {subtype!r}"
        )
    return container, subtype or default


def _check_format(sr, channels, container, subtype):
    """Raise unless the format can hold this rate and so many channels."""
    rates = _CODEC_RATES.get(subtype)
    if (rates and sr not in rates) or not _RATES[0] <= sr <= _RATES[1]:
        allowed = ", ".join(map(str, rates)) if rates else f"{_RATES[0]} to {_RATES[1]}"
        raise ConfigError(f"sr must be one of {allowed} Hz for {subtype}, got {sr}; resample first")
    most = _CODEC_CHANNELS.get(subtype, _CODEC_CHANNELS.get(container, _MAX_CHANNELS))
    if most < channels:
        raise ShapeError(f"{subtype} in {container} holds at most {most} channels, got {channels}")


def _check_size(path, samples, container, subtype):
    """Raise if a WAV would outgrow its length fields of 32 bits."""
    size = samples * _BYTES.get(subtype, 0)
    if container == "WAV" and size > _WAV_BYTES:
        raise AudioFileError(
            f"cannot write {path}: its {size / 2**30:.1f} GiB of samples are more than the 4 GiB "
            f"that a .wav holds; write a .flac, or parts"
        )


def _check_peak(x, subtype):
    """Raise unless the format can hold these samples."""
    peak = np.abs(x).max()
    if peak > 1 and subtype not in ("FLOAT", "DOUBLE"):
        raise ShapeError(
            f"x reaches {peak:.6g}, beyond the -1 to 1 that {subtype} holds; divide it by its "
            f'peak, or save it as a .wav with subtype="FLOAT"'
        )


def _quantised(x, subtype):
    """PCM: the nearest code, left-aligned in int32; libsndfile's own would round down."""
    if subtype not in _BITS:
        return x.astype(np.float64 if subtype == "DOUBLE" else np.float32)
    bits = _BITS[subtype]
    codes = np.rint(x * 2.0 ** (bits - 1)).astype(np.int64)
    return (np.minimum(codes, 2 ** (bits - 1) - 1) << (32 - bits)).astype(np.int32)
