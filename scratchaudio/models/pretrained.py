"""Trained models: from a checkpoint file to a model ready for use."""

from pathlib import Path

from scratchaudio.checkpoint import load_checkpoint
from scratchaudio.errors import CheckpointError, ConfigError
from scratchaudio.models.class_gan import ClassWaveGANGenerator
from scratchaudio.models.conv_tasnet import ConvTasNet
from scratchaudio.models.cyclegan import CycleGAN
from scratchaudio.models.enhancer import SpeechEnhancer
from scratchaudio.models.gan import SpecGANGenerator, WaveGANGenerator
from scratchaudio.models.nmf_separator import NMFSeparator
from scratchaudio.models.open_unmix import OpenUnmix
from scratchaudio.models.segan import SEGANGenerator
from scratchaudio.models.unet import UNet
from scratchaudio.models.vad import VoiceActivityDetector
from scratchaudio.models.wavenet import WaveNet

FOLDER = Path(__file__).parent / "pretrained"
PRETRAINED = ("enhancer", "nmf", "vad")  # the files of FOLDER that ship with the package
CLASSES = {
    model_class.__name__: model_class
    for model_class in (
        ClassWaveGANGenerator,
        ConvTasNet,
        CycleGAN,
        NMFSeparator,
        OpenUnmix,
        SEGANGenerator,
        SpecGANGenerator,
        SpeechEnhancer,
        UNet,
        VoiceActivityDetector,
        WaveGANGenerator,
        WaveNet,
    )
}


def load_model(path):
    """Build the model that a checkpoint holds, with its best weights, in evaluation mode.

    The class and the constructor's arguments stand in the checkpoint, which is verified first.

    Raises
    ------
    CheckpointError : the file is missing, damaged, or holds no model of this library
    """
    checkpoint = load_checkpoint(path)
    if checkpoint.model_class not in CLASSES:
        raise CheckpointError(
            f"{path} holds a {checkpoint.model_class}; models here are {sorted(CLASSES)}"
        )
    model = CLASSES[checkpoint.model_class].from_checkpoint(checkpoint)
    checkpoint.restore(model, best=bool(checkpoint.best))
    return model.eval()


def load_pretrained(name):
    """Load a model that ships with the package.

    "vad" is the voice activity detector, "enhancer" takes the noise off speech, "nmf" the voice out
    of a song.

    Examples
    --------
    >>> model = load_pretrained("vad")
    >>> model.bidirectional
    True
    """
    if name not in PRETRAINED:
        raise ConfigError(f"name must be one of {PRETRAINED}, got {name!r}")
    return load_model(FOLDER / f"{name}.npz")
