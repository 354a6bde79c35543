"""Complete models: each one readable file, trained checkpoints by `load_pretrained`."""

from scratchaudio.models.pretrained import load_pretrained
from scratchaudio.models.vad import VadStream, VoiceActivityDetector

__all__ = ["VadStream", "VoiceActivityDetector", "load_pretrained"]
