"""Sound and numbers: windows, transforms, mel bands, cepstra, levels, rates, noise, rooms, masks.

`dsp.fft` is a module, as `numpy.fft` is; everything else is a function.
"""

from scratchaudio.dsp import fft
from scratchaudio.dsp.denoise import (
    denoise,
    noise_power,
    spectral_subtraction,
    wiener_decision_directed,
)
from scratchaudio.dsp.griffin_lim import griffinlim
from scratchaudio.dsp.hpss import hpss, voice_between
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
from scratchaudio.dsp.loudness import k_weighting, loudness
from scratchaudio.dsp.masks import (
    apply_mask,
    ideal_binary_mask,
    ideal_ratio_mask,
    phase_sensitive_mask,
    ratio_masks,
    with_phase,
)
from scratchaudio.dsp.mel import (
    hz_to_mel,
    mel_filterbank,
    mel_frequencies,
    mel_to_hz,
    melspectrogram,
)
from scratchaudio.dsp.mfcc import dct, dct_matrix, delta, idct, mfcc
from scratchaudio.dsp.mulaw import mulaw_decode, mulaw_edges, mulaw_encode
from scratchaudio.dsp.noise import NOISES, babble
from scratchaudio.dsp.repet import (
    beat_spectrum,
    repeating_mask,
    repet,
    repet_sim,
    repetition_period,
    similar_mask,
)
from scratchaudio.dsp.resample import resample
from scratchaudio.dsp.room import bandlimit, reverberate, room_impulse_response
from scratchaudio.dsp.stereo import centre, pan, similarity
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
from scratchaudio.dsp.wiener import multichannel_wiener
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
    "apply_mask",
    "babble",
    "bandlimit",
    "bartlett",
    "beat_spectrum",
    "blackman",
    "blackmanharris",
    "boxcar",
    "centre",
    "db_to_amplitude",
    "db_to_power",
    "dct",
    "dct_matrix",
    "deemphasis",
    "delta",
    "denoise",
    "fft",
    "fft_frequencies",
    "frame",
    "frames_to_samples",
    "frames_to_time",
    "get_window",
    "griffinlim",
    "hamming",
    "hann",
    "hpss",
    "hz_to_mel",
    "idct",
    "ideal_binary_mask",
    "ideal_ratio_mask",
    "is_cola",
    "is_nola",
    "istft",
    "k_weighting",
    "kaiser",
    "loudness",
    "mel_filterbank",
    "mel_frequencies",
    "mel_to_hz",
    "melspectrogram",
    "mfcc",
    "mix_at_snr",
    "mulaw_decode",
    "mulaw_edges",
    "mulaw_encode",
    "multichannel_wiener",
    "noise_power",
    "overlap_add",
    "pan",
    "phase_sensitive_mask",
    "power_to_db",
    "preemphasis",
    "ratio_masks",
    "repeating_mask",
    "repet",
    "repet_sim",
    "repetition_period",
    "resample",
    "reverberate",
    "rms",
    "room_impulse_response",
    "samples_to_frames",
    "similar_mask",
    "similarity",
    "snr",
    "spectral_subtraction",
    "stft",
    "time_to_frames",
    "voice_between",
    "wiener_decision_directed",
    "window_sumsquare",
    "with_phase",
]
