"""Linear against torch.nn.Linear: output and all gradients, float32."""

import numpy as np
import pytest
import torch

from scratchaudio.nn import Linear

pytestmark = pytest.mark.peers


@pytest.mark.parametrize("shape", [(7, 30), (4, 11, 30)])
def test_linear(shape):
    rng = np.random.default_rng(0)
    ours, theirs = Linear(30, 20, rng=rng), torch.nn.Linear(30, 20)
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor(ours.W.value.T))
        theirs.bias.copy_(torch.tensor(ours.b.value))
    x = rng.standard_normal(shape).astype(np.float32)
    dy = rng.standard_normal((*shape[:-1], 20)).astype(np.float32)
    x_torch = torch.tensor(x, requires_grad=True)
    y_torch = theirs(x_torch)
    y_torch.backward(torch.tensor(dy))

    pairs = [(ours.forward(x), y_torch), (ours.backward(dy), x_torch.grad)]
    pairs += [(ours.W.grad.T, theirs.weight.grad), (ours.b.grad, theirs.bias.grad)]
    for got, expected in pairs:
        np.testing.assert_allclose(got, expected.detach().numpy(), rtol=1e-5, atol=1e-5)


def test_initial_weights_have_torch_s_distribution():
    rng, spread = np.random.default_rng(0), torch.nn.Linear(300, 500).weight.detach().numpy()
    ours = Linear(300, 500, rng=rng).W.value
    assert abs(ours).max() == pytest.approx(abs(spread).max(), rel=1e-3)
    assert ours.std() == pytest.approx(spread.std(), rel=1e-2)
