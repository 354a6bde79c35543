"""Complete models: each one readable file, trained checkpoints by `load_pretrained`."""

from scratchaudio.models.class_gan import ClassWaveGANDiscriminator, ClassWaveGANGenerator
from scratchaudio.models.conv_tasnet import ConvTasNet
from scratchaudio.models.cyclegan import CycleGAN, CycleGenerator, PatchDiscriminator
from scratchaudio.models.energy_vad import adaptive_energy_score, energy_score
from scratchaudio.models.enhancer import SpeechEnhancer
from scratchaudio.models.gan import (
    SpecGANDiscriminator,
    SpecGANGenerator,
    SpectrogramScale,
    WaveGANDiscriminator,
    WaveGANGenerator,
    discriminator_step,
    generator_step,
)
from scratchaudio.models.nmf_separator import (
    BlindSeparator,
    NMFSeparator,
    SemiSupervisedSeparator,
)
from scratchaudio.models.open_unmix import OpenUnmix
from scratchaudio.models.pretrained import load_model, load_pretrained
from scratchaudio.models.segan import SEGANDiscriminator, SEGANGenerator
from scratchaudio.models.segmentation import SegmentSettings, decide, frames_to_segments
from scratchaudio.models.spectrogram_transformer import SpectrogramSeq2Seq, SpectrogramTransformer
from scratchaudio.models.unet import UNet
from scratchaudio.models.vad import VadStream, VoiceActivityDetector
from scratchaudio.models.wavenet import WaveNet

__all__ = [
    "BlindSeparator",
    "ClassWaveGANDiscriminator",
    "ClassWaveGANGenerator",
    "ConvTasNet",
    "CycleGAN",
    "CycleGenerator",
    "NMFSeparator",
    "OpenUnmix",
    "PatchDiscriminator",
    "SEGANDiscriminator",
    "SEGANGenerator",
    "SegmentSettings",
    "SemiSupervisedSeparator",
    "SpecGANDiscriminator",
    "SpecGANGenerator",
    "SpectrogramScale",
    "SpectrogramSeq2Seq",
    "SpectrogramTransformer",
    "SpeechEnhancer",
    "UNet",
    "VadStream",
    "VoiceActivityDetector",
    "WaveGANDiscriminator",
    "WaveGANGenerator",
    "WaveNet",
    "adaptive_energy_score",
    "decide",
    "discriminator_step",
    "energy_score",
    "frames_to_segments",
    "generator_step",
    "load_model",
    "load_pretrained",
]
