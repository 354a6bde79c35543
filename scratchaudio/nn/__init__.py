"""Layers with hand-derived backward passes, losses, optimisers and gradient checks."""

from scratchaudio.nn.activations import (
    GELU,
    Activation,
    GELUTanh,
    LeakyReLU,
    PReLU,
    ReLU,
    Sigmoid,
    Softmax,
    Softplus,
    Tanh,
    gelu,
    gelu_tanh,
    leaky_relu,
    log_sigmoid,
    log_softmax,
    logsumexp,
    relu,
    sigmoid,
    softmax,
    softplus,
)
from scratchaudio.nn.attention import (
    Cache,
    MultiHeadAttention,
    attention_weights,
    causal_mask,
    padding_mask,
    scaled_dot_product_attention,
)
from scratchaudio.nn.audio_losses import (
    best_order,
    multi_resolution_stft_loss,
    permutation_invariant,
    si_sdr_loss,
    snr_loss,
)
from scratchaudio.nn.bidirectional import Bidirectional
from scratchaudio.nn.container import Reshape, Sequential
from scratchaudio.nn.conv1d import Conv1d, ConvTranspose1d, receptive_field
from scratchaudio.nn.conv2d import Conv2d, ConvTranspose2d
from scratchaudio.nn.dropout import Dropout
from scratchaudio.nn.frozen import frozen
from scratchaudio.nn.gan_losses import (
    HINGE,
    LEAST_SQUARES,
    NON_SATURATING,
    WASSERSTEIN,
    GANLoss,
)
from scratchaudio.nn.gradcheck import (
    adjoint_error,
    check_gradients,
    complex_step,
    fourth_order_difference,
)
from scratchaudio.nn.gradient_penalty import Scale, gradient_penalty, tangent
from scratchaudio.nn.gru import GRU, GRUResetBefore
from scratchaudio.nn.init import kaiming_normal, orthogonal, uniform, xavier_uniform
from scratchaudio.nn.layer import Buffer, Layer, Parameter
from scratchaudio.nn.linear import Linear
from scratchaudio.nn.losses import bce_with_logits, cross_entropy, l1, mse
from scratchaudio.nn.lstm import LSTM
from scratchaudio.nn.memory import keep_freed_memory
from scratchaudio.nn.normalization import (
    BatchNorm,
    CumulativeLayerNorm,
    GlobalLayerNorm,
    LayerNorm,
)
from scratchaudio.nn.optim import SGD, Adam, AdamW, Optimizer, clip_grad_norm
from scratchaudio.nn.phase_shuffle import PhaseShuffle
from scratchaudio.nn.pooling import AvgPool1d, AvgPool2d, MaxPool1d, MaxPool2d
from scratchaudio.nn.positional import rotary_angles, rotate, sinusoidal_positions
from scratchaudio.nn.reparametrization import SpectralNorm, WeightNorm
from scratchaudio.nn.rnn import RNN
from scratchaudio.nn.schedules import (
    constant_with_warmup,
    cosine_with_warmup,
    exponential_decay,
    noam,
    step_decay,
)
from scratchaudio.nn.stft import ISTFT, STFT, Magnitude, complex_to_pair, pair_to_complex
from scratchaudio.nn.transformer import (
    DecoderBlock,
    EncoderBlock,
    Transformer,
    TransformerDecoder,
    TransformerEncoder,
    feed_forward,
)

keep_freed_memory()

__all__ = [
    "GELU",
    "GRU",
    "HINGE",
    "ISTFT",
    "LEAST_SQUARES",
    "LSTM",
    "NON_SATURATING",
    "RNN",
    "SGD",
    "STFT",
    "WASSERSTEIN",
    "Activation",
    "Adam",
    "AdamW",
    "AvgPool1d",
    "AvgPool2d",
    "BatchNorm",
    "Bidirectional",
    "Buffer",
    "Cache",
    "Conv1d",
    "Conv2d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "CumulativeLayerNorm",
    "DecoderBlock",
    "Dropout",
    "EncoderBlock",
    "GANLoss",
    "GELUTanh",
    "GRUResetBefore",
    "GlobalLayerNorm",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "Magnitude",
    "MaxPool1d",
    "MaxPool2d",
    "MultiHeadAttention",
    "Optimizer",
    "PReLU",
    "Parameter",
    "PhaseShuffle",
    "ReLU",
    "Reshape",
    "Scale",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "SpectralNorm",
    "Tanh",
    "Transformer",
    "TransformerDecoder",
    "TransformerEncoder",
    "WeightNorm",
    "adjoint_error",
    "attention_weights",
    "bce_with_logits",
    "best_order",
    "causal_mask",
    "check_gradients",
    "clip_grad_norm",
    "complex_step",
    "complex_to_pair",
    "constant_with_warmup",
    "cosine_with_warmup",
    "cross_entropy",
    "exponential_decay",
    "feed_forward",
    "fourth_order_difference",
    "frozen",
    "gelu",
    "gelu_tanh",
    "gradient_penalty",
    "kaiming_normal",
    "l1",
    "leaky_relu",
    "log_sigmoid",
    "log_softmax",
    "logsumexp",
    "mse",
    "multi_resolution_stft_loss",
    "noam",
    "orthogonal",
    "padding_mask",
    "pair_to_complex",
    "permutation_invariant",
    "receptive_field",
    "relu",
    "rotary_angles",
    "rotate",
    "scaled_dot_product_attention",
    "si_sdr_loss",
    "sigmoid",
    "sinusoidal_positions",
    "snr_loss",
    "softmax",
    "softplus",
    "step_decay",
    "tangent",
    "uniform",
    "xavier_uniform",
]
