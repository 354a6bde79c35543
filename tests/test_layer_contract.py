"""Every Layer of the package keeps the layer contract, and none can be left out.

To add a layer: one line in LAYERS, name -> (factory, shapes of the inputs, options of check_layer).
"""

import importlib
import inspect
import pkgutil

import numpy as np
import pytest

import scratchaudio
from scratchaudio import nn
from scratchaudio.models import (
    ClassWaveGANDiscriminator,
    ClassWaveGANGenerator,
    ConvTasNet,
    OpenUnmix,
    SEGANDiscriminator,
    SEGANGenerator,
    SpecGANDiscriminator,
    SpecGANGenerator,
    UNet,
    WaveGANDiscriminator,
    WaveGANGenerator,
    WaveNet,
    class_gan,
    conv_tasnet,
    gan,
    wavenet,
)
from scratchaudio.models.cyclegan import CycleGAN, CycleGenerator, PatchDiscriminator, ResidualBlock
from scratchaudio.models.enhancer import N_BINS, SpeechEnhancer
from scratchaudio.models.spectrogram_transformer import SpectrogramSeq2Seq, SpectrogramTransformer
from scratchaudio.models.vad import VoiceActivityDetector
from scratchaudio.nn.gradcheck import fourth_order_difference
from scratchaudio.nn.pooling import AvgPool, MaxPool, Pool
from scratchaudio.nn.recurrent import Recurrent
from scratchaudio.nn.reparametrization import Reparametrized
from scratchaudio.testing import RepeatingGenerator, check_layer

B, T, D, H = 4, 2, 3, 5
X, STATE = (B, T, D), (B, H)
KINKED = {"method": fourth_order_difference}
LENGTHS = {"keywords": {"lengths": np.array([1, 2, 2, 1])}}

ASKED = {"keywords": {"kind": np.array([2, 0, 1, 2])}}  # of B examples, which of three kinds

MAGNITUDES = np.random.default_rng(0).random((B, 2, 8, 7), np.float32)
# The residual path of the last block leads nowhere.
LAST_RESIDUAL = "blocks.1.residual.W", "blocks.1.residual.b"

# Attention: 3 heads of 2 features; T steps that ask, S steps that are asked.
D_MODEL, N_HEADS, D_FF, S = 6, 3, 8, 7
STEPS, MEMORY = (5, 4, D_MODEL), (5, S, D_MODEL)
BLOCK = {"d_ff": D_FF, "dropout": 0.3, "activation": nn.Tanh}  # smooth: for the complex step
PADDING, MEMORY_PADDING = (nn.padding_mask([4, 1, 3, 4, 2], n) for n in (STEPS[1], S))
CAUSAL = {"keywords": {"mask": nn.causal_mask(STEPS[1]) & PADDING}}


def with_still_noise(layer):
    """The layer, with dropout masks that are the same at every call, but another in each place."""
    for place, dropout in enumerate(each(layer, nn.Dropout)):
        dropout.rng = RepeatingGenerator(place)
    return layer


def smooth(layer):
    """The layer with Tanh for each ReLU: among so many units one is always near its kink."""
    for sequence in each(layer, nn.Sequential):
        sequence.layers = [
            nn.Tanh() if isinstance(part, nn.ReLU) else part for part in sequence.layers
        ]
    return layer


def still(layer):
    """The layer with phase shuffles that are the same at every call."""
    for place, shuffle in enumerate(each(layer, nn.PhaseShuffle)):
        shuffle.rng = RepeatingGenerator(place)
    return layer


def within_full_scale(*shape):
    """Random values that a discriminator takes, also a step of the differences further out."""
    return np.random.default_rng(0).uniform(-0.9, 0.9, shape).astype(np.float32)


def each(layer, kind):
    """Every layer of this kind, inside a layer or itself."""
    found = [layer] if isinstance(layer, kind) else []
    return found + [inner for _, child in layer.children() for inner in each(child, kind)]


def transformer(make, *shapes, **options):
    """A line of the table: still noise, and the bias of keys may have no gradient.

    The bias adds q . b to all scores of a row, whatever the key, and softmax does not see what is
    added to all: rounding apart the gradient is 0. Rotary positions turn the bias with the key, so
    that it adds something else to each score; there it must have one.
    """
    layer = make(np.random.default_rng(0))
    unseen = [a.key.b for a in each(layer, nn.MultiHeadAttention) if not a.rotary]
    may_vanish = [
        name for name, parameter in layer.named_parameters() if any(parameter is b for b in unseen)
    ]
    return (
        lambda rng: with_still_noise(make(rng)),
        list(shapes),
        {"may_vanish": may_vanish, **options},
    )


LAYERS = {
    "Linear": (lambda rng: nn.Linear(D, H, rng=rng), [X], {}),
    "Linear without bias": (lambda rng: nn.Linear(D, H, bias=False, rng=rng), [X], {}),
    "Linear on rows": (lambda rng: nn.Linear(D, H, rng=rng), [(B, D)], {}),
    "Sigmoid": (lambda rng: nn.Sigmoid(), [X], {}),
    "Tanh": (lambda rng: nn.Tanh(), [X], {}),
    "ReLU": (lambda rng: nn.ReLU(), [X], KINKED),
    "LeakyReLU": (lambda rng: nn.LeakyReLU(0.2), [X], KINKED),
    "PReLU": (lambda rng: nn.PReLU(), [X], {**KINKED, "feature_axis": None}),
    "PReLU by channel": (
        lambda rng: nn.PReLU(D, 0.2),
        [(B, D, H)],
        {**KINKED, "feature_axis": 1, "time_axis": 2},
    ),
    "Softplus": (lambda rng: nn.Softplus(), [X], {}),
    "GELU": (lambda rng: nn.GELU(), [X], {}),
    "GELUTanh": (lambda rng: nn.GELUTanh(), [X], {}),
    "Softmax": (lambda rng: nn.Softmax(), [X], {}),
    "Sequential": (
        lambda rng: nn.Sequential(nn.Linear(D, H, rng=rng), nn.Tanh(), nn.Linear(H, 7, rng=rng)),
        [X],
        {},
    ),
    "Reshape": (lambda rng: nn.Reshape(2, 6), [(B, D, 4)], {"time_axis": None}),
    "Scale": (lambda rng: nn.Scale(np.array([0.2, 1, -3], np.float32)), [X], {}),
    "PhaseShuffle": (
        lambda rng: nn.PhaseShuffle(2, rng=RepeatingGenerator(rng)),
        [(B, D, 7)],
        {"time_axis": None},
    ),
    "RNN": (lambda rng: nn.RNN(D, H, rng=rng), [X], {}),
    "RNN with state": (lambda rng: nn.RNN(D, H, rng=rng), [X, STATE], LENGTHS),
    "GRU": (lambda rng: nn.GRU(D, H, rng=rng), [X], {}),
    "GRU with state": (lambda rng: nn.GRU(D, H, rng=rng), [X, STATE], LENGTHS),
    "GRUResetBefore": (lambda rng: nn.GRUResetBefore(D, H, rng=rng), [X], {}),
    "LSTM": (lambda rng: nn.LSTM(D, H, rng=rng), [X], {}),
    "LSTM with state": (lambda rng: nn.LSTM(D, H, rng=rng), [X, (STATE, STATE)], LENGTHS),
    "Bidirectional": (
        lambda rng: nn.Bidirectional(nn.LSTM(D, H, rng=rng), nn.LSTM(D, H, rng=rng)),
        [X, ((STATE, STATE), (STATE, STATE))],
        LENGTHS,
    ),
    "LayerNorm": (lambda rng: nn.LayerNorm(D), [X], {}),
    "LayerNorm on rows": (lambda rng: nn.LayerNorm(D, eps=0.1), [(B, D)], {}),
    "BatchNorm": (lambda rng: nn.BatchNorm(D), [(B, D)], {}),
    "BatchNorm of frames": (
        lambda rng: nn.BatchNorm(D, eps=0.1),
        [(B, D, H)],
        {"feature_axis": 1, "time_axis": 2},
    ),
    "BatchNorm of images": (
        lambda rng: nn.BatchNorm(D),
        [(B, D, H, 2)],
        {"feature_axis": 1, "time_axis": 3},
    ),
    "GlobalLayerNorm": (
        lambda rng: nn.GlobalLayerNorm(D),
        [(B, D, H)],
        {"feature_axis": 1, "time_axis": 2},
    ),
    "CumulativeLayerNorm": (
        lambda rng: nn.CumulativeLayerNorm(D),
        [(B, D, H)],
        {"feature_axis": 1, "time_axis": 2},
    ),
    "WeightNorm": (lambda rng: nn.WeightNorm(nn.Linear(D, H, rng=rng), axis=1), [X], {}),
    # without power iterations, or forward would give another answer at every call
    "SpectralNorm": (
        lambda rng: nn.SpectralNorm(nn.Linear(D, H, rng=rng), 1, n_power_iterations=0, rng=rng),
        [X],
        {},
    ),
    "Dropout": (lambda rng: nn.Dropout(0.4, RepeatingGenerator(rng)), [X], {}),
    "Dropout of nothing": (lambda rng: nn.Dropout(0.0), [X], {}),
    "STFT": (lambda rng: nn.STFT(9, 4, 7, pad_mode="reflect"), [(B, 13)], {}),
    "STFT, not centred": (
        lambda rng: nn.STFT(8, 3, center=False),
        [(B, 2, 13)],
        {"time_axis": None},
    ),
    "ISTFT": (lambda rng: nn.ISTFT(9, 3, 7), [(B, 2, 5, 3)], {"time_axis": None}),
    "ISTFT, not centred": (
        lambda rng: nn.ISTFT(8, 3, center=False),
        [(B, 2, 5, 3)],
        {"time_axis": -1},
    ),
    "Magnitude": (lambda rng: nn.Magnitude(), [(B, 2, 5, 3)], {"time_axis": -1}),
    "Conv1d": (
        lambda rng: nn.Conv1d(6, 4, 3, stride=2, padding=1, groups=2, rng=rng),
        [(B, 6, 9)],
        {"feature_axis": 1, "time_axis": 2},
    ),
    "Conv1d, causal, dilated": (
        lambda rng: nn.Conv1d(D, H, 2, dilation=3, causal=True, rng=rng),
        [(B, D, 7)],
        {"feature_axis": 1, "time_axis": 2},
    ),
    "Conv1d, 1 tap, without bias": (
        lambda rng: nn.Conv1d(D, H, 1, bias=False, rng=rng),
        [(B, D, 7)],
        {"feature_axis": 1, "time_axis": 2},
    ),
    "Conv1d, depthwise": (
        lambda rng: nn.Conv1d(D, D, 3, dilation=2, groups=D, rng=rng),
        [(B, D, 7)],
        {"feature_axis": 1, "time_axis": None},
    ),
    "ConvTranspose1d": (
        lambda rng: nn.ConvTranspose1d(6, 4, 5, 3, 1, 2, groups=2, rng=rng),
        [(B, 6, 5)],
        {"feature_axis": 1, "time_axis": 2},
    ),
    "ConvTranspose1d, no stride": (
        lambda rng: nn.ConvTranspose1d(D, H, 3, dilation=2, rng=rng),
        [(B, D, 7)],
        {"feature_axis": 1, "time_axis": 2},
    ),
    "Conv2d": (
        lambda rng: nn.Conv2d(6, 4, (3, 2), 2, (1, 2), (1, 2), groups=2, rng=rng),
        [(B, 6, 7, 5)],
        {"feature_axis": 1, "time_axis": 3},
    ),
    "Conv2d without bias": (
        lambda rng: nn.Conv2d(D, H, 3, padding=1, bias=False, rng=rng),
        [(B, D, 7, 6)],
        {"feature_axis": 1, "time_axis": 3},
    ),
    "ConvTranspose2d": (
        lambda rng: nn.ConvTranspose2d(6, 4, (3, 2), (2, 3), (1, 0), (1, 2), 1, 2, rng=rng),
        [(B, 6, 7, 5)],
        {"feature_axis": 1, "time_axis": 3},
    ),
    "MaxPool1d": (lambda rng: nn.MaxPool1d(3, 2), [(B, D, 8)], {"time_axis": None, **KINKED}),
    "MaxPool2d": (
        lambda rng: nn.MaxPool2d((2, 3), (2, 1)),
        [(B, D, 5, 6)],
        {"time_axis": None, **KINKED},
    ),
    "AvgPool1d": (lambda rng: nn.AvgPool1d(3, 2), [(B, D, 8)], {"time_axis": None}),
    "AvgPool2d": (
        lambda rng: nn.AvgPool2d((2, 3), (2, 1)),
        [(B, D, 5, 6)],
        {"time_axis": None},
    ),
    "MultiHeadAttention": transformer(
        lambda rng: nn.MultiHeadAttention(D_MODEL, N_HEADS, rng=rng), STEPS
    ),
    "MultiHeadAttention with dropout and mask": transformer(
        lambda rng: nn.MultiHeadAttention(D_MODEL, N_HEADS, 0.3, rng=rng), STEPS, **CAUSAL
    ),
    "MultiHeadAttention to a memory": transformer(
        lambda rng: nn.MultiHeadAttention(D_MODEL, N_HEADS, 0.3, rng=rng), STEPS, MEMORY
    ),
    "MultiHeadAttention to a padded memory": transformer(
        lambda rng: nn.MultiHeadAttention(D_MODEL, N_HEADS, 0.3, rng=rng),
        STEPS,
        MEMORY,
        keywords={"mask": MEMORY_PADDING},
    ),
    "MultiHeadAttention, rotary": transformer(
        lambda rng: nn.MultiHeadAttention(D_MODEL, N_HEADS, 0.3, rotary=True, rng=rng),
        STEPS,
    ),
    "EncoderBlock": transformer(
        lambda rng: nn.EncoderBlock(D_MODEL, N_HEADS, **BLOCK, rng=rng), STEPS
    ),
    "EncoderBlock, pre-norm, rotary, masked": transformer(
        lambda rng: nn.EncoderBlock(
            D_MODEL, N_HEADS, **BLOCK, norm_first=True, rotary=True, rng=rng
        ),
        STEPS,
        **CAUSAL,
    ),
    "EncoderBlock, ReLU": transformer(
        lambda rng: nn.EncoderBlock(D_MODEL, N_HEADS, D_FF, 0.3, rng=rng), STEPS, **KINKED
    ),
    "EncoderBlock, GELU": transformer(
        lambda rng: nn.EncoderBlock(D_MODEL, N_HEADS, D_FF, 0.3, nn.GELU, rng=rng), STEPS
    ),
    "DecoderBlock": transformer(
        lambda rng: nn.DecoderBlock(D_MODEL, N_HEADS, **BLOCK, rng=rng), STEPS, MEMORY
    ),
    "DecoderBlock, pre-norm, masked": transformer(
        lambda rng: nn.DecoderBlock(D_MODEL, N_HEADS, **BLOCK, norm_first=True, rng=rng),
        STEPS,
        MEMORY,
        keywords={"mask": CAUSAL["keywords"]["mask"], "memory_mask": MEMORY_PADDING},
    ),
    "TransformerEncoder": transformer(
        lambda rng: nn.TransformerEncoder(D_MODEL, N_HEADS, 2, **BLOCK, rng=rng), STEPS
    ),
    "TransformerEncoder, pre-norm": transformer(
        lambda rng: nn.TransformerEncoder(
            D_MODEL, N_HEADS, 2, **BLOCK, norm_first=True, rotary=True, rng=rng
        ),
        STEPS,
    ),
    "TransformerDecoder": transformer(
        lambda rng: nn.TransformerDecoder(D_MODEL, N_HEADS, 2, **BLOCK, rng=rng), STEPS, MEMORY
    ),
    "TransformerDecoder, pre-norm": transformer(
        lambda rng: nn.TransformerDecoder(
            D_MODEL, N_HEADS, 2, **BLOCK, norm_first=True, rotary=True, rng=rng
        ),
        STEPS,
        MEMORY,
        keywords={"memory_mask": MEMORY_PADDING},
    ),
    "Transformer": transformer(
        lambda rng: nn.Transformer(D_MODEL, N_HEADS, 1, **BLOCK, rng=rng), MEMORY, STEPS
    ),
    "Transformer, pre-norm, masked": transformer(
        lambda rng: nn.Transformer(D_MODEL, N_HEADS, 1, **BLOCK, norm_first=True, rng=rng),
        MEMORY,
        STEPS,
        keywords={"source_mask": MEMORY_PADDING, "target_mask": CAUSAL["keywords"]["mask"]},
    ),
    "SpectrogramTransformer": transformer(
        lambda rng: smooth(SpectrogramTransformer(7, 6, 3, 1, 8, 0.3, mask=True, rng=rng)),
        (5, 4, 7),
    ),
    "SpectrogramSeq2Seq": transformer(
        lambda rng: smooth(SpectrogramSeq2Seq(7, 6, 3, 1, 8, 0.3, mask=True, rng=rng)),
        (5, 4, 7),
        (5, 4, 7),
    ),
    "SpeechEnhancer": transformer(
        lambda rng: smooth(SpeechEnhancer(4, 2, 1, 5, 0.3, rng=rng)),
        (2, 3, 2 * N_BINS),
        time_axis=None,
    ),
    "ConvTasNet": (
        lambda rng: ConvTasNet(6, 4, 3, 5, 7, 3, 2, 1, n_channels=2, n_sources=3, rng=rng),
        [(B, 2, 23)],
        {"feature_axis": 1, "time_axis": 2, "may_vanish": LAST_RESIDUAL},
    ),
    "ConvTasNet, causal": (
        lambda rng: ConvTasNet(6, 4, 3, 5, 7, 3, 2, 1, 2, 3, causal=True, rng=rng),
        [(B, 2, 23)],
        {"feature_axis": 1, "time_axis": None, "may_vanish": LAST_RESIDUAL},
    ),
    "ClassWaveGANGenerator": (
        lambda rng: smooth(ClassWaveGANGenerator(["a", "b"], 5, 3.0, 24, 2, 2, 7, 2, rng=rng)),
        [(3, 5)],
        {"time_axis": None},
    ),
    "ClassWaveGANDiscriminator": (
        lambda rng: ClassWaveGANDiscriminator(3, 24, 2, 2, 7, 2, radius=0, rng=rng),
        [np.random.default_rng(0).uniform(-0.9, 0.9, (B, 1, 24)).astype(np.float32)],
        {**KINKED, **ASKED, "feature_axis": None, "time_axis": None},
    ),
    "CycleGenerator": (
        lambda rng: CycleGenerator(3, 1, rng=rng),
        [(3, 1, 8, 4)],
        {"feature_axis": 1, "time_axis": None},
    ),
    "PatchDiscriminator": (
        lambda rng: PatchDiscriminator(3, 1, rng=rng),
        [(3, 1, 9, 7)],
        {"feature_axis": 1, "time_axis": None},
    ),
    "ResidualBlock": (
        lambda rng: ResidualBlock(3, rng),
        [(2, 3, 5, 4)],
        {"feature_axis": 1, "time_axis": 3},
    ),
    "CycleGAN": (
        lambda rng: CycleGAN(3, 1, 16, 8, rng=rng),
        [(2, 1, 8, 4), (3, 1, 4, 12)],
        {"feature_axis": 1, "time_axis": None},
    ),
    "OpenUnmix": transformer(
        lambda rng: OpenUnmix(
            2, 6, 2, n_fft=14, hop_length=5, sample_rate=100, bandwidth=35, rng=rng
        ),
        MAGNITUDES,
        feature_axis=1,
        time_axis=None,
        may_vanish=("input_mean",),  # a shift that the first batch normalisation takes out
    ),
    "UNet": transformer(
        lambda rng: UNet(2, (3, 4, 5), 0.3, n_fft=14, hop_length=5, n_bins=8, rng=rng),
        MAGNITUDES,
        feature_axis=1,
        time_axis=None,
    ),
    "WaveNet": (
        lambda rng: WaveNet(7, 3, 5, 2, 1, n_global=2, n_local=6, hop_length=4, rng=rng),
        [np.random.default_rng(0).integers(0, 7, (B, 14)), (B, 2), (B, 6, 4)],
        {"feature_axis": None, "time_axis": None, "may_vanish": LAST_RESIDUAL},
    ),
    "SEGANGenerator": (
        lambda rng: SEGANGenerator((3, 5), 7, 5, 2, rng=rng),
        [(B, 1, 12), (B, 7, 3)],
        {"feature_axis": 1, "time_axis": None},
    ),
    "SEGANDiscriminator": (
        lambda rng: SEGANDiscriminator(12, (3, 5), 5, 2, rng=rng),
        [within_full_scale(B, 2, 12)],
        {**KINKED, "feature_axis": 1, "time_axis": None},
    ),
    "WaveGANGenerator": (
        lambda rng: smooth(WaveGANGenerator(24, 5, 2, 2, 7, 2, 1, rng=rng)),
        [(3, 5)],
        {"time_axis": None},
    ),
    "WaveGANDiscriminator": (
        lambda rng: still(WaveGANDiscriminator(24, 2, 2, 7, 2, rng=rng)),
        [within_full_scale(B, 1, 24)],
        {**KINKED, "feature_axis": None, "time_axis": None},
    ),
    "SpecGANGenerator": (
        lambda rng: smooth(SpecGANGenerator(8, 4, 5, 2, 2, 3, rng=rng)),
        [(3, 5)],
        {"time_axis": None},
    ),
    "SpecGANDiscriminator": (
        lambda rng: SpecGANDiscriminator(8, 4, 2, 2, 3, rng=rng),
        [within_full_scale(B, 1, 8, 4)],
        {**KINKED, "feature_axis": None, "time_axis": None},
    ),
    "VoiceActivityDetector": (
        lambda rng: VoiceActivityDetector(n_hidden=2, n_layers=2, rng=rng),
        [(2, 5, 40)],
        {},
    ),
    "VoiceActivityDetector with lengths": (
        lambda rng: VoiceActivityDetector(n_hidden=2, n_layers=1, frames_per_step=3, rng=rng),
        [(4, 5, 40)],
        {"keywords": {"lengths": np.array([5, 1, 4, 3])}},
    ),
}

# Give two outputs: checked in their model's tests, and within the model.
PARTS = {conv_tasnet.Block, wavenet.GatedBlock}

# Run only within ClassWaveGANDiscriminator: tests/models/test_class_gan.py.
PARTS |= {class_gan.Choice, class_gan.Given}

# Bases that cannot run by themselves.
BASES = {nn.Layer, nn.Activation, Recurrent, Reparametrized, Pool, MaxPool, AvgPool}
BASES |= {gan.Generator, gan.Discriminator}


@pytest.mark.parametrize("name", LAYERS)
def test_contract(name):
    factory, shapes, options = LAYERS[name]
    laws = check_layer(factory, *shapes, **options)
    assert len(laws) >= 17, f"only {len(laws)} laws were checked"


def test_gradients_that_may_vanish_do():
    """And only these: `may_vanish` excuses what changes nothing, for a reason stated there."""
    excused = 0
    reasons = "key.b", "input_mean", *LAST_RESIDUAL
    for name, (factory, shapes, options) in LAYERS.items():
        rng = np.random.default_rng(1)
        layer = factory(rng=rng).astype(np.float64)
        for parameter in layer.parameters():
            parameter.value += 0.3 * rng.standard_normal(parameter.value.shape)
        for parameter_name in options.get("may_vanish", ()):
            inputs = [x if isinstance(x, np.ndarray) else rng.standard_normal(x) for x in shapes]
            y = layer.forward(*inputs, **options.get("keywords", {}))
            layer.zero_grad()
            layer.backward(rng.standard_normal(y.shape))
            grad = dict(layer.named_parameters())[parameter_name].grad
            assert parameter_name.endswith(reasons) and abs(grad).max() <= 1e-12, name
            excused += 1
    assert excused >= 10


def layers_of_the_package():
    """Every Layer subclass defined in any module of the package."""
    found = set()
    for module_info in pkgutil.walk_packages(scratchaudio.__path__, "scratchaudio."):
        module = importlib.import_module(module_info.name)
        for value in vars(module).values():
            if inspect.isclass(value) and issubclass(value, nn.Layer):
                found.add(value)
    return found


def test_every_layer_is_in_the_table():
    rng = np.random.default_rng(0)
    covered = {type(factory(rng=rng)) for factory, _, _ in LAYERS.values()}
    layers = layers_of_the_package()
    assert len(layers) >= 14, "the walk finds too few layers: it is broken"
    missing = sorted(layer.__qualname__ for layer in layers - covered - BASES - PARTS)
    assert not missing, f"add {missing} to LAYERS in tests/test_layer_contract.py"
