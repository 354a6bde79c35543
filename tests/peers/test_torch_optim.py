"""Optimisers, clipping and initialisers against torch: 50 steps with the same gradients."""

import math

import numpy as np
import pytest
import torch

from scratchaudio.nn import SGD, Adam, AdamW, Parameter, clip_grad_norm, cosine_with_warmup

pytestmark = pytest.mark.peers

CASES = [
    (SGD, torch.optim.SGD, {"lr": 0.1}),
    (SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.02}),
    (SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    (Adam, torch.optim.Adam, {}),
    (Adam, torch.optim.Adam, {"lr": 0.02, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    (AdamW, torch.optim.AdamW, {}),
    (AdamW, torch.optim.AdamW, {"lr": 0.02, "betas": (0.8, 0.9), "weight_decay": 0.1}),
]
SHAPES = [(3, 5), (7,), ()]


def drawn(dtype):
    rng = np.random.default_rng(0)
    parameters = [Parameter(np.asarray(rng.standard_normal(shape), dtype)) for shape in SHAPES]
    tensors = [torch.nn.Parameter(torch.tensor(p.value)) for p in parameters]
    return rng, parameters, tensors


def set_gradients(rng, parameters, tensors):
    for parameter, tensor in zip(parameters, tensors, strict=True):
        parameter.grad[...] = rng.standard_normal(parameter.grad.shape)
        tensor.grad = torch.tensor(parameter.grad)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-12)])
@pytest.mark.parametrize(("ours", "theirs", "settings"), CASES)
def test_fifty_steps(ours, theirs, settings, dtype, tolerance):
    rng, parameters, tensors = drawn(dtype)
    optimizer, peer = ours(parameters, **settings), theirs(tensors, **settings)
    for step in range(50):
        set_gradients(rng, parameters, tensors)
        if step == 30:  # a schedule
            optimizer.lr = peer.param_groups[0]["lr"] = 0.03
        optimizer.step()
        peer.step()
        for parameter, tensor in zip(parameters, tensors, strict=True):
            np.testing.assert_allclose(
                parameter.value, tensor.detach().numpy(), rtol=tolerance, atol=tolerance
            )


@pytest.mark.parametrize("factor", [0.3, 3.0])
def test_clip_grad_norm(factor):
    rng, parameters, tensors = drawn(np.float32)
    set_gradients(rng, parameters, tensors)
    max_norm = factor * math.sqrt(sum((p.grad**2).sum() for p in parameters))
    norm = clip_grad_norm(parameters, max_norm)
    peer = torch.nn.utils.clip_grad_norm_(tensors, max_norm)
    assert norm == pytest.approx(peer.item(), rel=1e-6)
    for parameter, tensor in zip(parameters, tensors, strict=True):
        np.testing.assert_allclose(parameter.grad, tensor.grad.numpy(), rtol=1e-5)


def test_cosine_is_torch_s_annealing():
    tensor = torch.nn.Parameter(torch.zeros(1))
    peer = torch.optim.SGD([tensor], lr=0.5)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(peer, T_max=20, eta_min=0.1)
    for step in range(20):
        assert cosine_with_warmup(step, 0.5, n_steps=20, min_lr=0.1) == pytest.approx(
            peer.param_groups[0]["lr"], rel=1e-6
        )
        peer.step()
        scheduler.step()
