"""Complete models: each one readable file, trained checkpoints by `load_pretrained`."""

from scratchaudio.models.conv_tasnet import ConvTasNet
from scratchaudio.models.energy_vad import adaptive_energy_score, energy_score
from scratchaudio.models.enhancer import SpeechEnhancer
from scratchaudio.models.nmf_separator import (
    BlindSeparator,
    NMFSeparator,
    SemiSupervisedSeparator,
)
from scratchaudio.models.open_unmix import OpenUnmix
from scratchaudio.models.pretrained import load_model, load_pretrained
from scratchaudio.models.segmentation import SegmentSettings, decide, frames_to_segments
from scratchaudio.models.spectrogram_transformer import SpectrogramSeq2Seq, SpectrogramTransformer
from scratchaudio.models.unet import UNet
from scratchaudio.models.vad import VadStream, VoiceActivityDetector

__all__ = [
    "BlindSeparator",
    "ConvTasNet",
    "NMFSeparator",
    "OpenUnmix",
    "SegmentSettings",
    "SemiSupervisedSeparator",
    "SpectrogramSeq2Seq",
    "SpectrogramTransformer",
    "SpeechEnhancer",
    "UNet",
    "VadStream",
    "VoiceActivityDetector",
    "adaptive_energy_score",
    "decide",
    "energy_score",
    "frames_to_segments",
    "load_model",
    "load_pretrained",
]
