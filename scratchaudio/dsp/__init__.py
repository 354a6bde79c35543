"""Sound and numbers: windows, Fourier transforms, mel bands, cepstra, levels, rates, noise, rooms.

`dsp.fft` is a module, as `numpy.fft` is; everything else is a function.
"""

from scratchaudio.dsp import fft
from scratchaudio.dsp.level import (
    active_level,
    active_mask,
    amplitude_to_db,
    db_to_amplitude,
    db_to_power,
    deemphasis,
    mix_at_snr,
    power_to_db,
    preemphasis,
    rms,
    snr,
)
from scratchaudio.dsp.mel import (
    hz_to_mel,
    mel_filterbank,
    mel_frequencies,
    mel_to_hz,
    melspectrogram,
)
from scratchaudio.dsp.mfcc import dct, dct_matrix, delta, idct, mfcc
from scratchaudio.dsp.noise import NOISES, babble
from scratchaudio.dsp.resample import resample
from scratchaudio.dsp.room import bandlimit, reverberate, room_impulse_response
from scratchaudio.dsp.stft import (
    fft_frequencies,
    frame,
    frames_to_samples,
    frames_to_time,
    istft,
    overlap_add,
    samples_to_frames,
    stft,
    time_to_frames,
    window_sumsquare,
)
from scratchaudio.dsp.windows import (
    bartlett,
    blackman,
    blackmanharris,
    boxcar,
    get_window,
    hamming,
    hann,
    is_cola,
    is_nola,
    kaiser,
)

__all__ = [
    "NOISES",
    "active_level",
    "active_mask",
    "amplitude_to_db",
    "babble",
    "bandlimit",
    "bartlett",
    "blackman",
    "blackmanharris",
    "boxcar",
    "db_to_amplitude",
    "db_to_power",
    "dct",
    "dct_matrix",
    "deemphasis",
    "delta",
    "fft",
    "fft_frequencies",
    "frame",
    "frames_to_samples",
    "frames_to_time",
    "get_window",
    "hamming",
    "hann",
    "hz_to_mel",
    "idct",
    "is_cola",
    "is_nola",
    "istft",
    "kaiser",
    "mel_filterbank",
    "mel_frequencies",
    "mel_to_hz",
    "melspectrogram",
    "mfcc",
    "mix_at_snr",
    "overlap_add",
    "power_to_db",
    "preemphasis",
    "resample",
    "reverberate",
    "rms",
    "room_impulse_response",
    "samples_to_frames",
    "snr",
    "stft",
    "time_to_frames",
    "window_sumsquare",
]
