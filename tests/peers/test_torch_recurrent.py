"""RNN, GRU, LSTM, Bidirectional against torch: outputs, gradients, states, ten Adam steps."""

import numpy as np
import pytest
import torch

from scratchaudio.nn import GRU, LSTM, RNN, Adam, Bidirectional, mse

pytestmark = pytest.mark.peers

# Where gate k of ours stands among torch's: ours i, f, o, g and r, z, n; torch's i, f, g, o.
ORDER = {RNN: [0], GRU: [0, 1, 2], LSTM: [0, 1, 3, 2]}
PEER = {RNN: torch.nn.RNN, GRU: torch.nn.GRU, LSTM: torch.nn.LSTM}
TOLERANCE = 1e-5  # float32, sums of some hundred terms of order 1
SIZES = [(3, 7, 2, 5), (2, 50, 9, 16), (1, 4, 3, 6), (5, 1, 4, 3)]  # B, T, D, H


def in_torch_order(matrix, cell, H):
    """Columns by gate in our order -> rows by gate in torch's."""
    gates = np.split(matrix, len(ORDER[cell]), axis=-1)
    ours_at = np.argsort(ORDER[cell])
    return np.concatenate([gates[k] for k in ours_at], axis=-1).T


def torch_parameters(layer, value=True):
    """Our parameters, or their gradients, under torch's names for one direction."""
    cell, H = type(layer), layer.n_hidden
    get = (lambda p: p.value) if value else (lambda p: p.grad)
    b = in_torch_order(get(layer.b), cell, H)
    named = {
        "weight_ih_l0": in_torch_order(get(layer.Wx), cell, H),
        "weight_hh_l0": in_torch_order(get(layer.Wh), cell, H),
        "bias_ih_l0": b,
    }
    if cell is GRU:  # torch keeps the candidate's second bias inside the reset
        bias_hh = np.zeros_like(b) if value else b.copy()
        bias_hh[2 * H :] = get(layer.bh)
        named["bias_hh_l0"] = bias_hh
    else:  # two biases whose sum acts: both have our gradient
        named["bias_hh_l0"] = np.zeros_like(b) if value else b
    return named


def pair(cell, B, T, D, H, bidirectional, seed=0):
    """Our layer and torch's with the same weights, x, a state, and upstream gradients."""
    rng = np.random.default_rng(seed)
    layers = [cell(D, H, rng) for _ in range(1 + bidirectional)]
    for layer in layers:
        for parameter in layer.parameters():
            parameter.value += 0.2 * rng.standard_normal(parameter.value.shape)
            parameter.value = parameter.value.astype(np.float32)
            parameter.grad = np.zeros_like(parameter.value)
    ours = Bidirectional(*layers) if bidirectional else layers[0]
    theirs = PEER[cell](D, H, batch_first=True, bidirectional=bool(bidirectional))
    with torch.no_grad():
        for layer, suffix in zip(layers, ("", "_reverse"), strict=False):
            for name, value in torch_parameters(layer).items():
                getattr(theirs, name + suffix).copy_(torch.from_numpy(value.copy()))
    x = rng.standard_normal((B, T, D)).astype(np.float32)
    n_states = 2 if cell is LSTM else 1
    states = rng.standard_normal((n_states, len(layers), B, H)).astype(np.float32)
    return layers, ours, theirs, x, states, rng


def our_state(states):
    """(n_states, directions, B, H) -> the form our forward takes."""
    each = [s[0] if len(s) == 1 else tuple(s) for s in states.swapaxes(0, 1)]
    return each[0] if len(each) == 1 else tuple(each)


def flat(state):
    if isinstance(state, tuple):
        return [array for part in state for array in flat(part)]
    return [state]


def torch_state(tensors):
    return tuple(tensors) if len(tensors) == 2 else tensors[0]


@pytest.mark.parametrize("bidirectional", [0, 1])
@pytest.mark.parametrize("cell", [RNN, GRU, LSTM])
@pytest.mark.parametrize("sizes", SIZES)
def test_outputs_states_and_all_gradients(cell, sizes, bidirectional):
    B, T, D, H = sizes
    layers, ours, theirs, x, states, rng = pair(cell, B, T, D, H, bidirectional)
    tx = torch.from_numpy(x).requires_grad_()
    tstates = [torch.from_numpy(s.copy()).requires_grad_() for s in states]
    ty, tfinal = theirs(tx, torch_state(tstates))
    tfinal = list(tfinal) if cell is LSTM else [tfinal]
    y, final = ours.forward(x, our_state(states))
    close(y, ty, "y")

    dy = rng.standard_normal(y.shape).astype(np.float32)
    dfinal = rng.standard_normal(states.shape).astype(np.float32)
    torch.autograd.backward([ty, *tfinal], [torch.from_numpy(d.copy()) for d in (dy, *dfinal)])
    dx, dstate = ours.backward(dy, our_state(dfinal))
    close(dx, tx.grad, "dx")
    directions = 1 + bidirectional
    for k, (got, dgot) in enumerate(zip(flat(final), flat(dstate), strict=True)):
        direction, which = divmod(k, len(states)) if directions == 2 else (0, k)
        close(got, tfinal[which][direction], f"final state {k}")
        close(dgot, tstates[which].grad[direction], f"gradient of the initial state {k}")
    for layer, suffix in zip(layers, ("", "_reverse"), strict=False):
        for name, grad in torch_parameters(layer, value=False).items():
            close(grad, getattr(theirs, name + suffix).grad, name + suffix)


@pytest.mark.parametrize("cell", [RNN, GRU, LSTM])
def test_lengths_equal_a_packed_sequence(cell):
    B, T, D, H = 4, 9, 3, 5
    layers, ours, theirs, x, _, rng = pair(cell, B, T, D, H, 1)
    lengths = np.array([9, 1, 4, 6])
    tx = torch.from_numpy(x).requires_grad_()
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        tx, torch.from_numpy(lengths), batch_first=True, enforce_sorted=False
    )
    ty, _ = torch.nn.utils.rnn.pad_packed_sequence(theirs(packed)[0], True, total_length=T)
    y = ours.forward(x, lengths=lengths)
    close(y, ty, "y")
    dy = rng.standard_normal(y.shape).astype(np.float32)
    ty.backward(torch.from_numpy(dy.copy()))
    close(ours.backward(dy), tx.grad, "dx")
    for layer, suffix in zip(layers, ("", "_reverse"), strict=False):
        for name, grad in torch_parameters(layer, value=False).items():
            close(grad, getattr(theirs, name + suffix).grad, name + suffix)


@pytest.mark.parametrize("bidirectional", [0, 1])
@pytest.mark.parametrize("cell", [RNN, GRU, LSTM])
def test_ten_adam_steps(cell, bidirectional):
    """torch's second bias stays out of the training: the two biases of a gate are one of ours."""
    B, T, D, H = 4, 12, 3, 6
    layers, ours, theirs, x, _, rng = pair(cell, B, T, D, H, bidirectional)
    target = rng.standard_normal((B, T, H * (1 + bidirectional))).astype(np.float32)
    frozen = [p for name, p in theirs.named_parameters() if name.startswith("bias_hh")]
    masks = []
    for bias in frozen:
        mask = torch.zeros_like(bias)
        if cell is GRU:
            mask[2 * H :] = 1
        masks.append(mask)
    optimizer = Adam(ours.parameters(), lr=0.01)
    toptimizer = torch.optim.Adam(theirs.parameters(), lr=0.01)
    for _ in range(10):
        ours.zero_grad()
        loss, dy = mse(ours.forward(x), target)
        ours.backward(dy)
        optimizer.step()
        toptimizer.zero_grad()
        tloss = torch.nn.functional.mse_loss(
            theirs(torch.from_numpy(x))[0], torch.from_numpy(target)
        )
        tloss.backward()
        for bias, mask in zip(frozen, masks, strict=True):
            bias.grad *= mask
        toptimizer.step()
        assert abs(loss - tloss.item()) <= TOLERANCE * abs(tloss.item())
    for layer, suffix in zip(layers, ("", "_reverse"), strict=False):
        for name, value in torch_parameters(layer).items():
            close(value, getattr(theirs, name + suffix), name + suffix)


def close(ours, theirs, name):
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape, name
    error = np.abs(ours - theirs).max() / max(1, np.abs(theirs).max())
    assert error <= TOLERANCE, f"{name} differs by {error:.1e}"
