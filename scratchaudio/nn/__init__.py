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
from scratchaudio.nn.bidirectional import Bidirectional
from scratchaudio.nn.container import Sequential
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
from scratchaudio.nn.optim import SGD, Adam, AdamW, Optimizer, clip_grad_norm
from scratchaudio.nn.rnn import RNN
from scratchaudio.nn.schedules import (
    constant_with_warmup,
    cosine_with_warmup,
    exponential_decay,
    noam,
    step_decay,
)

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
    "GELUTanh",
    "GRUResetBefore",
    "Layer",
    "LeakyReLU",
    "Linear",
    "Optimizer",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "adjoint_error",
    "bce_with_logits",
    "check_gradients",
    "clip_grad_norm",
    "complex_step",
    "constant_with_warmup",
    "cosine_with_warmup",
    "cross_entropy",
    "exponential_decay",
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
    "relu",
    "sigmoid",
    "softmax",
    "softplus",
    "step_decay",
    "uniform",
    "xavier_uniform",
]
