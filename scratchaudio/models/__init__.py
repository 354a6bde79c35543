"""Complete models: each one readable file, trained checkpoints by `load_pretrained`."""

from scratchaudio.models.energy_vad import adaptive_energy_score, energy_score
from scratchaudio.models.enhancer import SpeechEnhancer
from scratchaudio.models.nmf_separator import (
    BlindSeparator,
    NMFSeparator,
    SemiSupervisedSeparator,
)
from scratchaudio.models.pretrained import load_model, load_pretrained
from scratchaudio.models.segmentation import SegmentSettings, decide, frames_to_segments
from scratchaudio.models.spectrogram_transformer import SpectrogramSeq2Seq, SpectrogramTransformer
from scratchaudio.models.vad import VadStream, VoiceActivityDetector

__all__ = [
    "BlindSeparator",
    "NMFSeparator",
    "SegmentSettings",
    "SemiSupervisedSeparator",
    "SpectrogramSeq2Seq",
    "SpectrogramTransformer",
    "SpeechEnhancer",
    "VadStream",
    "VoiceActivityDetector",
    "adaptive_energy_score",
    "decide",
    "energy_score",
    "frames_to_segments",
    "load_model",
    "load_pretrained",
]
