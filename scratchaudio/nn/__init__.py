"""Layers with hand-derived backward passes, losses, optimisers and gradient checks."""

from scratchaudio.nn.activations import (
    GELU,
    Activation,
    GELUTanh,
    LeakyReLU,
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
from scratchaudio.nn.bidirectional import Bidirectional
from scratchaudio.nn.container import Sequential
from scratchaudio.nn.dropout import Dropout
from scratchaudio.nn.gradcheck import (
    adjoint_error,
    check_gradients,
    complex_step,
    fourth_order_difference,
)
from scratchaudio.nn.gru import GRU, GRUResetBefore
from scratchaudio.nn.init import kaiming_normal, orthogonal, uniform, xavier_uniform
from scratchaudio.nn.layer import Layer, Parameter
from scratchaudio.nn.linear import Linear
from scratchaudio.nn.losses import bce_with_logits, cross_entropy, mse
from scratchaudio.nn.lstm import LSTM
from scratchaudio.nn.memory import keep_freed_memory
from scratchaudio.nn.normalization import LayerNorm
from scratchaudio.nn.optim import SGD, Adam, AdamW, Optimizer, clip_grad_norm
from scratchaudio.nn.positional import rotary_angles, rotate, sinusoidal_positions
from scratchaudio.nn.rnn import RNN
from scratchaudio.nn.schedules import (
    constant_with_warmup,
    cosine_with_warmup,
    exponential_decay,
    noam,
    step_decay,
)
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
    "LSTM",
    "RNN",
    "SGD",
    "Activation",
    "Adam",
    "AdamW",
    "Bidirectional",
    "Cache",
    "DecoderBlock",
    "Dropout",
    "EncoderBlock",
    "GELUTanh",
    "GRUResetBefore",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "MultiHeadAttention",
    "Optimizer",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "Transformer",
    "TransformerDecoder",
    "TransformerEncoder",
    "adjoint_error",
    "attention_weights",
    "bce_with_logits",
    "causal_mask",
    "check_gradients",
    "clip_grad_norm",
    "complex_step",
    "constant_with_warmup",
    "cosine_with_warmup",
    "cross_entropy",
    "exponential_decay",
    "feed_forward",
    "fourth_order_difference",
    "gelu",
    "gelu_tanh",
    "kaiming_normal",
    "leaky_relu",
    "log_sigmoid",
    "log_softmax",
    "logsumexp",
    "mse",
    "noam",
    "orthogonal",
    "padding_mask",
    "relu",
    "rotary_angles",
    "rotate",
    "scaled_dot_product_attention",
    "sigmoid",
    "sinusoidal_positions",
    "softmax",
    "softplus",
    "step_decay",
    "uniform",
    "xavier_uniform",
]
