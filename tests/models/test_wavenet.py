"""WaveNet: forward by loops, gradients, what an output sees, speaking from queues, known truths."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter
from scipy.stats import norm

from scratchaudio import dsp, nn
from scratchaudio.checkpoint import save_checkpoint
from scratchaudio.errors import CallOrderError, CheckpointError, ConfigError, ShapeError
from scratchaudio.models import WaveNet, load_model, wavenet
from scratchaudio.models.wavenet import draw

SIZES = {"n_levels": 7, "n_channels": 3, "n_skip": 5, "n_layers": 2, "n_stacks": 2}
B, N, G, F, HOP = 2, 11, 4, 6, 3
T = 4  # frames of 3 samples for 11
CONDITIONS = [(0, 0), (G, 0), (0, F), (G, F)]


def tiny(seed=0, n_global=G, n_local=F, dtype=np.float64, **sizes):
    """Weights off their initial values."""
    sizes = SIZES | {"n_global": n_global, "n_local": n_local, "hop_length": HOP} | sizes
    model = WaveNet(**sizes, rng=seed)
    rng = np.random.default_rng(seed + 1)
    for parameter in model.parameters():
        parameter.value += 0.5 * rng.standard_normal(parameter.value.shape).astype(np.float32)
    return model.astype(dtype)


def drawn(n_samples=N, n_global=G, n_local=F, batch=B, seed=3, dtype=np.float64):
    """Codes and conditions."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, SIZES["n_levels"], (batch, n_samples))
    g = rng.standard_normal((batch, n_global)).astype(dtype) if n_global else None
    T = -(-n_samples // HOP)
    h = rng.standard_normal((batch, n_local, T)).astype(dtype) if n_local else None
    return codes, g, h


# The network -------------------------------------------------------------------------------------


def by_samples(model, codes, g, h):
    """The logits of one sound, sample by sample and block by block: (N, Q)."""
    Q, K = model.n_levels, len(model.blocks)
    xs = [{} for _ in range(K + 1)]  # block -> sample -> (R,)
    logits = []
    for n in range(len(codes)):
        one_hot = np.zeros(Q)
        one_hot[codes[n - 1] if n else Q // 2] = 1
        xs[0][n] = one_hot @ model.table.value
        total = 0
        for k, block in enumerate(model.blocks):
            d = 2 ** (k % SIZES["n_layers"])
            W = block.dilated.W.value
            y = W[:, :, 1] @ xs[k][n] + block.dilated.b.value
            if n - d >= 0:
                y = y + W[:, :, 0] @ xs[k][n - d]
            given_now = [g] if g is not None else []
            given_now += [h[:, n // HOP]] if h is not None else []
            if given_now:
                y = y + block.condition.W.value[:, :, 0] @ np.concatenate(given_now)
            filtered, gate = np.tanh(y[:3]), 1 / (1 + np.exp(-y[3:]))
            z = filtered * gate
            xs[k + 1][n] = xs[k][n] + block.residual.W.value[:, :, 0] @ z + block.residual.b.value
            total = total + block.skip.W.value[:, :, 0] @ z + block.skip.b.value
        u = np.maximum(total, 0)
        v = np.maximum(model.hidden.W.value[:, :, 0] @ u + model.hidden.b.value, 0)
        logits.append(model.logits.W.value[:, :, 0] @ v + model.logits.b.value)
    return np.array(logits)


@pytest.mark.parametrize(("n_global", "n_local"), CONDITIONS)
def test_forward_by_loops(n_global, n_local):
    model = tiny(n_global=n_global, n_local=n_local)
    codes, g, h = drawn(n_global=n_global, n_local=n_local)
    logits = model.forward(codes, g, h)
    assert logits.shape == (B, N, SIZES["n_levels"])
    for b in range(B):
        expected = by_samples(
            model, codes[b], None if g is None else g[b], None if h is None else h[b]
        )
        np.testing.assert_allclose(logits[b], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("n_global", "n_local"), CONDITIONS)
def test_gradients(n_global, n_local):
    """Of every parameter and of both conditions; a code that never comes has no gradient."""
    model = tiny(n_global=n_global, n_local=n_local)
    inputs = drawn(n_global=n_global, n_local=n_local)
    last = [f"blocks.3.residual.{name}" for name in "Wb"]  # leads nowhere
    assert nn.check_gradients(model, *inputs, rng=4, may_vanish=last) < 1e-10


def test_the_gradients_of_a_block():
    """Both outputs, and an upstream gradient of the residual path that is not 0."""
    rng = np.random.default_rng(0)
    block = wavenet.GatedBlock(3, 5, 4, 2, rng=1).astype(np.float64)
    x, h = rng.standard_normal((2, 3, 11)), rng.standard_normal((2, 4, 4))
    dx, dskip = rng.standard_normal((2, 3, 11)), rng.standard_normal((2, 5, 11))

    def loss(x, h):
        x_next, skip = block.forward(x, h, HOP)
        return (dx * x_next).sum() + (dskip * skip).sum()

    loss(x, h)
    got = block.backward(dx, dskip)
    for index, measured in enumerate(
        (
            nn.complex_step(lambda x: loss(x, h), x),
            nn.complex_step(lambda h: loss(x, h), h),
        )
    ):
        assert np.abs(measured).max() > 0.1
        np.testing.assert_allclose(got[index], measured, rtol=1e-11, atol=1e-12)


def test_an_embedding_is_a_product_with_one_hot_vectors():
    """And its gradient the transposed product: rows that come often are summed."""
    model = tiny(n_global=0, n_local=0)
    codes, dx = np.array([[2, 2, 5, 2]]), np.random.default_rng(0).standard_normal((1, 3, 4))
    one_hot = np.eye(7)[codes[0]]
    model._add_to_table(codes, dx)
    np.testing.assert_allclose(model.table.grad, one_hot.T @ dx[0].T, rtol=1e-14)
    model._add_to_table(codes, dx)
    np.testing.assert_allclose(model.table.grad, 2 * one_hot.T @ dx[0].T, rtol=1e-14)


def test_float32_stays():
    model = tiny(dtype=np.float32)
    codes, g, h = drawn(dtype=np.float32)
    logits = model.forward(codes, g, h)
    nothing, dg, dh = model.backward(logits)
    assert nothing is None
    assert logits.dtype == dg.dtype == dh.dtype == model.table.grad.dtype == np.float32
    stream = model.eval().start(B, g, h)
    assert stream.step(codes[:, 0]).dtype == np.float32


# What an output sees -----------------------------------------------------------------------------


@pytest.mark.parametrize(("n_layers", "n_stacks"), [(1, 1), (3, 1), (2, 3), (4, 2)])
def test_the_receptive_field(n_layers, n_stacks):
    """Logits change with the codes from n - receptive field to n - 1, both included, alone."""
    model = tiny(n_global=0, n_local=0, n_layers=n_layers, n_stacks=n_stacks).eval()
    reach = model.receptive_field
    assert reach == n_stacks * (2**n_layers - 1) + 1
    n = reach + 4
    codes = np.random.default_rng(0).integers(0, 7, (1, n + 3))
    seen = np.zeros(n + 3, bool)
    before = model.forward(codes)[0, n]
    for m in range(n + 3):
        for change in range(1, 7):
            changed = codes.copy()
            changed[0, m] = (codes[0, m] + change) % 7
            seen[m] |= not np.array_equal(model.forward(changed)[0, n], before)
    assert np.flatnonzero(seen).tolist() == list(range(n - reach, n))


def test_nothing_comes_from_the_present_or_the_future():
    """NaN in place of every code from n on, and of every frame that has not begun."""
    for n in range(N):
        model = tiny().eval()
        codes, g, h = drawn()
        expected = model.forward(codes, g, h)
        codes[:, :n] = codes[:, :n] % 6
        expected = model.forward(codes, g, h)
        codes[:, n:] = 6  # level 6 comes from n on only
        model.table.value[6] = np.nan
        h[:, :, n // HOP + 1 :] = np.nan
        logits = model.forward(codes, g, h)
        assert np.array_equal(logits[:, : n + 1], expected[:, : n + 1])
        if n + 1 < N:
            assert np.isnan(logits[:, n + 1]).all()


def test_the_paper_size():
    """By counting: 256 levels, 64 and 256 channels, 30 blocks."""
    model = WaveNet(rng=0)
    block = (2 * 64 * 64 * 2 + 2 * 64) + (64 * 64 + 64) + (64 * 256 + 256)
    expected = 256 * 64 + 30 * block + (256 * 256 + 256) + (256 * 256 + 256)
    assert sum(p.value.size for p in model.parameters()) == expected == 1_267_328
    assert model.receptive_field == 3070


def test_the_small_size():
    model = WaveNet(**wavenet.SMALL, rng=0)
    assert sum(p.value.nbytes for p in model.parameters()) < 1.1e6
    assert model.receptive_field == 1023


# Speaking ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_global", "n_local"), CONDITIONS)
@pytest.mark.parametrize("batch", [1, 3])
def test_every_prefix_cached_equals_the_full_pass(n_global, n_local, batch):
    """The rings go round many times: 45 samples, dilations to 4."""
    n = 45
    model = tiny(n_global=n_global, n_local=n_local, n_layers=3).eval()
    codes, g, h = drawn(n, n_global, n_local, batch)
    stream = model.start(batch, g, h)
    code = np.full(batch, 3)  # silence, Q // 2
    for i in range(n):
        logits = stream.step(code)
        code = codes[:, i]
        prefix = model.forward(codes[:, : i + 1], g, None if h is None else h[:, :, : i // HOP + 1])
        assert logits.shape == (batch, 7)
        np.testing.assert_allclose(logits, prefix[:, i], rtol=1e-11, atol=1e-12)


def test_logits_of_a_step_stay_when_the_next_is_made():
    model = tiny(n_global=0, n_local=0).eval()
    stream = model.start(2)
    logits = stream.step(np.array([1, 2]))
    before = logits.copy()
    stream.step(np.array([3, 4]))
    assert np.array_equal(logits, before)


def by_full_passes(model, prompt, n_samples, g, h, temperature):
    """Generation by a full pass over all that was said, for each sample."""
    codes, rng = prompt, np.random.default_rng(0)
    for _ in range(n_samples):
        codes = np.pad(codes, ((0, 0), (0, 1)))
        frames = -(-codes.shape[1] // HOP)
        logits = model.forward(codes, g, None if h is None else h[:, :, :frames])
        codes[:, -1] = draw(logits[:, -1], temperature, None, rng)
    return codes[:, prompt.shape[1] :]


@pytest.mark.parametrize("n_prompt", [0, 1, 3, 6, 7, 8, 30])
@pytest.mark.parametrize(("n_global", "n_local"), [(0, 0), (G, F)])
@pytest.mark.parametrize("temperature", [0, 1.5])
def test_prompts_shorter_and_longer_than_the_receptive_field(
    n_prompt, n_global, n_local, temperature
):
    """The receptive field is 7: the same as by full passes over all that was said."""
    model = tiny(n_global=n_global, n_local=n_local).eval()
    assert model.receptive_field == 7
    codes, g, h = drawn(n_prompt + 20, n_global, n_local)
    prompt = codes[:, :n_prompt]
    said = model.generate(20, prompt, g, h, temperature=temperature, rng=0)
    assert said.shape == (B, 20)
    assert np.array_equal(said, by_full_passes(model, prompt, 20, g, h, temperature))
    assert temperature == 0 or len(np.unique(said)) > 2


def test_of_a_long_prompt_only_the_end_matters():
    """And the same random numbers are drawn after it."""
    model = tiny(n_global=0, n_local=0).eval()
    codes, _, _ = drawn(40, 0, 0)
    said = model.generate(15, codes, rng=0)
    assert np.array_equal(said, model.generate(15, codes[:, -7:], rng=0))
    assert np.array_equal(said, model.generate(15, codes[:, 11:], rng=0))


@pytest.mark.parametrize("n_prompt", [0, 1, 6, 7, 8, 30])
def test_the_first_logits_after_a_prompt(n_prompt, monkeypatch):
    """Those of the full pass: the oldest code within reach counts too."""
    model = tiny().eval()
    codes, g, h = drawn(n_prompt + 1)
    seen = []
    monkeypatch.setattr(wavenet, "draw", lambda logits, *_: seen.append(logits) or codes[:, -1])
    model.generate(1, codes[:, :-1], g, h)
    expected = model.forward(codes, g, h)[:, -1]
    np.testing.assert_allclose(seen[0], expected, rtol=1e-11, atol=1e-12)


def test_no_prompt_is_a_prompt_of_nothing():
    model = tiny(n_global=0, n_local=0).eval()
    alone = model.generate(9, batch_size=3, rng=0)
    assert alone.shape == (3, 9)
    assert np.array_equal(alone, model.generate(9, np.zeros((3, 0), int), rng=0))
    assert not np.array_equal(alone, model.generate(9, batch_size=3, rng=1))


def test_progress_is_told():
    told = []
    model = tiny(n_global=0, n_local=0).eval()
    model.generate(250, temperature=0, progress=lambda done, of: told.append((done, of)))
    assert told == [(100, 250), (200, 250)]


# Drawing -----------------------------------------------------------------------------------------


def shares(logits, n=40_000, **options):
    """How often each level is drawn."""
    rows = np.tile(logits, (n, 1))
    return (
        np.bincount(draw(rows, rng=np.random.default_rng(0), **options), minlength=len(logits)) / n
    )


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("top_k", [None, 1, 3, 5])
def test_levels_are_drawn_as_often_as_they_should(temperature, top_k):
    logits = np.array([0.3, -1.0, 1.1, 0.9, -0.2], np.float32)
    kept = np.sort(logits)[::-1][: top_k or 5]
    p = np.where(np.isin(logits, kept), np.exp(logits / temperature), 0)
    p /= p.sum()
    got = shares(logits, temperature=temperature, top_k=top_k)
    assert np.all(got[p == 0] == 0)
    np.testing.assert_allclose(got, p, atol=4.5 * math.sqrt(0.25 / 40_000))


def test_temperature_0_is_the_likeliest_and_needs_no_generator():
    logits = np.random.default_rng(0).standard_normal((50, 7))
    assert np.array_equal(draw(logits, 0), logits.argmax(axis=1))
    assert np.array_equal(draw(logits, 1e-12, rng=np.random.default_rng(1)), logits.argmax(axis=1))


@given(st.integers(0, 2**32), st.integers(1, 6), st.floats(1e-3, 50))
@settings(max_examples=50, deadline=None)
def test_what_is_drawn_is_among_the_k_likeliest(seed, k, temperature):
    """Far-out logits too: no level of probability 0, none out of range."""
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((9, 6)) * 10.0 ** rng.integers(0, 5)
    level = draw(logits, temperature, k, rng)
    rank = (logits > logits[np.arange(9), level][:, None]).sum(axis=1)
    assert rank.max() < k


def test_equal_logits_still_leave_k():
    got = shares(np.zeros(6), n=500, top_k=2)
    assert np.count_nonzero(got) == 2


# Known truths ------------------------------------------------------------------------------------

# x_n = a1 x_(n-1) + a2 x_(n-2) + noise: a resonance at a tenth of the rate.
A1, A2, SIGMA = 2 * 0.9 * math.cos(2 * math.pi / 10), -0.81, 0.04


def ar2(n_samples, n_levels, seed):
    """Codes of the process, and the bits a sample costs whoever knows a1, a2 and sigma.

    The past is given as it was before it was quantised, so nobody who sees codes alone can do
    better: P(code | past) is the normal distribution's part between the edges of the code.
    """
    rng = np.random.default_rng(seed)
    x = lfilter([1], [1, -A1, -A2], SIGMA * rng.standard_normal(n_samples + 500))[500:]
    x = np.clip(x, -1, 1)
    codes = dsp.mulaw_encode(x, n_levels)
    mean = A1 * x[1:-1] + A2 * x[:-2]
    edges = np.concatenate([[-np.inf], dsp.mulaw_edges(n_levels), [np.inf]])
    k = codes[2:]
    low, high = (edges[k + i] - mean for i in (0, 1))
    sign = np.where(low > 0, -1, 1)  # far out, cdf has its digits on the left only
    p = np.abs(norm.cdf(sign * low / SIGMA) - norm.cdf(sign * high / SIGMA))
    return codes, -np.log2(p)


def trained(model, codes, n_steps, lr, length=256, batch=8, seed=0):
    optimizer = nn.Adam(model.parameters(), lr=lr)
    rng = np.random.default_rng(seed)
    for step in range(n_steps):
        optimizer.lr = nn.cosine_with_warmup(step, lr, n_steps, n_steps // 10, lr / 50)
        begins = rng.integers(0, len(codes) - length, batch)
        c = codes[begins[:, None] + np.arange(length)]
        model.zero_grad()
        _, dlogits = nn.cross_entropy(model.forward(c), c)
        model.backward(dlogits)
        optimizer.step()
    return model.eval()


def bits(model, codes):
    """Bits of each sample that was not learned from."""
    logits = model.eval().forward(codes[None])[0]
    log_p = nn.log_softmax(logits.astype(np.float64))
    return -log_p[np.arange(len(codes)), codes] / math.log(2)


def test_the_entropy_of_quantised_ar2_by_the_high_rate_formula():
    """h - E[log2 step], h = log2(2 pi e sigma^2) / 2: with 1024 levels both ways agree."""
    codes, exact = ar2(50_000, 1024, 0)
    edges = np.concatenate([[-1], dsp.mulaw_edges(1024), [1]])
    steps = np.diff(edges)[codes[2:]]
    h = 0.5 * math.log2(2 * math.pi * math.e * SIGMA**2)
    assert exact.mean() == pytest.approx(h - np.log2(steps).mean(), abs=0.02)


def test_an_ar2_process_is_learned_to_its_entropy():
    """Within 3 % of what knowing the process gives, and never below it (but for chance)."""
    Q = 64
    codes, _ = ar2(60_000, Q, 0)
    unseen, exact = ar2(20_000, Q, 1)
    model = WaveNet(Q, 16, 32, 3, 1, rng=0)
    trained(model, codes, 500, 1e-2)
    ours = bits(model, unseen)[2:]
    excess = ours - exact
    chance = 4 * excess.std() / math.sqrt(len(excess))
    unigram = np.bincount(codes, minlength=Q) + 1
    by_histogram = -np.log2(unigram / unigram.sum())[unseen[2:]].mean()
    print(f"bits: unigram {by_histogram:.3f}, ours {ours.mean():.3f}, truth {exact.mean():.3f}")
    assert by_histogram > 1.3 * exact.mean()
    assert -chance < excess.mean() < 0.03 * exact.mean()


def test_white_noise_cannot_be_foretold():
    """A leak would bring the loss to 0. Levels that come unequally often cost their entropy."""
    p = np.array([0.1, 0.4, 0.3, 0.2])
    rng = np.random.default_rng(0)
    codes, unseen = rng.choice(4, 20_000, p=p), rng.choice(4, 20_000, p=p)
    model = trained(WaveNet(4, 8, 16, 3, 2, rng=0), codes, 150, 1e-2)
    entropy = -(p * np.log2(p)).sum()
    assert entropy - 0.02 < bits(model, unseen).mean() < entropy + 0.03


def test_a_condition_is_heeded():
    """Levels told by voice and by frame, of which a fifth are replaced: the entropy of that."""
    rng = np.random.default_rng(0)
    frames, g = rng.integers(0, 2, (16, 1, 50)), rng.integers(0, 2, (16, 1))
    codes = np.repeat(2 * frames[:, 0] + g, HOP, axis=1)
    codes = np.where(rng.random(codes.shape) < 0.2, rng.integers(0, 4, codes.shape), codes)
    model = WaveNet(4, 8, 16, 1, 1, n_global=1, n_local=1, hop_length=HOP, rng=0)
    optimizer = nn.Adam(model.parameters(), lr=2e-2)
    g, h = g.astype(np.float32), frames.astype(np.float32)
    for _ in range(100):
        model.zero_grad()
        loss, dlogits = nn.cross_entropy(model.forward(codes, g, h), codes)
        model.backward(dlogits)
        optimizer.step()
    p = np.array([0.85, 0.05, 0.05, 0.05])
    assert loss / math.log(2) == pytest.approx(-(p * np.log2(p)).sum(), abs=0.05)


# Bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -0.5}, "temperature must be a finite number of at least 0, got -0.5"),
        ({"temperature": np.nan}, "temperature must be a finite number"),
        ({"temperature": np.inf}, "temperature must be a finite number"),
        ({"top_k": 0}, "top_k must be an integer of 1 to 7, got 0"),
        ({"top_k": 8}, "top_k must be an integer of 1 to 7, got 8"),
        ({"top_k": 2.0}, "top_k must be an integer of 1 to 7, got 2.0"),
        ({"n_samples": 0}, "n_samples must be an integer of at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
    ],
)
def test_settings_of_speaking_that_cannot_be(options, message):
    model = tiny(n_global=0, n_local=0).eval()
    with pytest.raises(ConfigError, match=message):
        model.generate(**({"n_samples": 3} | options))


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (np.zeros((1, 5)), "prompt must hold integers, the codes of dsp.mulaw_encode, got dtype f"),
        (np.array([[3, 7]]), r"prompt must lie in 0 ... 6, got 3 ... 7"),
        (np.array([[-1, 3]]), r"prompt must lie in 0 ... 6, got -1 ... 3"),
        (np.array([1, 2]), r"prompt must have shape \(batch, samples\), got \(2,\)"),
        (np.zeros((0, 2), int), r"prompt must have shape \(batch, samples\), got \(0, 2\)"),
    ],
)
def test_prompts_that_cannot_be(prompt, message):
    with pytest.raises(ShapeError, match=message):
        tiny(n_global=0, n_local=0).eval().generate(3, prompt)


def test_a_prompt_outside_full_scale():
    """A waveform becomes codes first, and that refuses it."""
    with pytest.raises(
        ShapeError, match=r"x must lie in \[-1, 1\] to be coded, got 1.5 and 1 more"
    ):
        dsp.mulaw_encode(np.array([0.1, 1.5, -2]), 7)


def test_speaking_while_training():
    with pytest.raises(CallOrderError, match=r"start is for evaluation: call eval\(\) first"):
        tiny(n_global=0, n_local=0).generate(3)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((2, 3)), "codes must hold integers"),
        (np.full((2, 3), 7), r"codes must lie in 0 ... 6, got 7 ... 7"),
        (np.zeros(3, int), r"codes must have shape \(batch, samples\), got \(3,\)"),
        (np.zeros((2, 0), int), r"codes must have shape \(batch, samples\), got \(2, 0\)"),
    ],
)
def test_codes_that_cannot_be(codes, message):
    with pytest.raises(ShapeError, match=message):
        tiny(n_global=0, n_local=0).forward(codes)


def test_conditions_of_the_wrong_size():
    codes, g, h = drawn()
    model = tiny().eval()
    expected = r"local_condition must have shape \(2, 6, 4\), frames of 3 samples for 11 samples, "
    for wrong in (h[:, :, :3], np.pad(h, ((0, 0), (0, 0), (0, 1))), h[:, :5], h[:1]):
        with pytest.raises(ShapeError, match=expected + rf"got \({wrong.shape[0]}, "):
            model.forward(codes, g, wrong)
    for wrong in (g[:, :3], g[:1], g[:, :, None]):
        with pytest.raises(ShapeError, match=r"global_condition must have shape \(2, 4\), got"):
            model.forward(codes, wrong, h)
    with pytest.raises(ShapeError, match=r"local_condition must have shape \(2, 6, 5\), .* 13 sam"):
        model.generate(2, codes, g, h)
    with pytest.raises(ShapeError, match=r"must have shape \(3, 6, 4\), frames of 3 samples, got"):
        model.start(3, np.ones((3, 4)), h)


@pytest.mark.parametrize(
    ("n_global", "n_local", "message"),
    [
        (0, F, r"global_condition: this network is made for none, got one of shape \(2, 4\)"),
        (G, 0, r"local_condition: this network is made for none, got one of shape \(2, 6, 4\)"),
    ],
)
def test_conditions_that_nobody_asked_for(n_global, n_local, message):
    with pytest.raises(ShapeError, match=message):
        tiny(n_global=n_global, n_local=n_local).forward(*drawn())


def test_conditions_that_are_missing():
    codes, g, h = drawn()
    with pytest.raises(
        ShapeError, match="local_condition: this network is made for 6 numbers, got"
    ):
        tiny().forward(codes, g)
    with pytest.raises(ShapeError, match="global_condition: this network is made for 4 numbers"):
        tiny().eval().generate(3, None, None, h)


def test_the_end_of_the_condition_is_the_end():
    _, g, h = drawn()
    stream = tiny().eval().start(2, g, h)
    for _ in range(T * HOP):
        stream.step(np.array([1, 2]))
    with pytest.raises(ShapeError, match="local_condition has 4 frames of 3 samples: the sound is"):
        stream.step(np.array([1, 2]))


@pytest.mark.parametrize(
    "name", ["n_levels", "n_channels", "n_skip", "n_layers", "n_stacks", "hop_length"]
)
def test_sizes_that_cannot_be(name):
    with pytest.raises(ConfigError, match=f"{name} must be an integer of at least 1, got 0"):
        WaveNet(**(SIZES | {name: 0}))


@pytest.mark.parametrize("name", ["n_global", "n_local"])
def test_conditions_of_a_negative_size(name):
    with pytest.raises(ConfigError, match=f"{name} must be an integer of at least 1, got -1"):
        WaveNet(**(SIZES | {name: -1}))


# Checkpoints and sounds --------------------------------------------------------------------------


@pytest.mark.parametrize(("n_global", "n_local"), CONDITIONS)
def test_a_checkpoint_gives_the_same_network(tmp_path, n_global, n_local):
    model = tiny(n_global=n_global, n_local=n_local, dtype=np.float32)
    save_checkpoint(tmp_path / "net.npz", model, settings=model.settings)
    inputs = drawn(n_global=n_global, n_local=n_local, dtype=np.float32)
    loaded = load_model(tmp_path / "net.npz")
    assert np.array_equal(loaded.forward(*inputs), model.eval().forward(*inputs))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({name: 10**9}, f"{name} is 1000000000 in its settings, ")
        for name in ("n_levels", "n_channels", "n_skip", "n_stacks", "n_local")
    ]
    + [
        ({"n_layers": 10**9}, "n_stacks is 2 in its settings, 0 in its weights"),
        ({"n_layers": None}, "n_stacks is 2 in its settings, None in its weights"),
        ({"n_global": 10**9}, "n_local is 6 in its settings, -999999990 in its weights"),
        ({"n_global": -1}, "n_global is -1 in its settings, 10 in its weights"),
        ({"magic": 1}, "its settings do not fit its class"),
    ],
)
def test_settings_that_are_not_those_of_the_weights(tmp_path, changed, message):
    model = tiny(dtype=np.float32)
    save_checkpoint(tmp_path / "net.npz", model, settings=model.settings | changed)
    with pytest.raises(CheckpointError, match=f"net.npz: ({message})"):
        load_model(tmp_path / "net.npz")


def test_what_a_vocoder_hears():
    """One frame begins with each hop; louder by 20 dB is higher by 1 / 2; silence is the floor."""
    model = WaveNet(**SIZES, n_local=5, hop_length=16, sample_rate=8000)
    x = 0.05 * np.random.default_rng(0).standard_normal(161).astype(np.float32)
    c = model.condition_of(x)
    assert c.shape == (5, 11) and c.dtype == np.float32
    np.testing.assert_allclose(model.condition_of(10 * x) - c, 0.5, atol=1e-5)
    assert np.all(model.condition_of(np.zeros(160, np.float32)) == -1.5)
    assert model.condition_of(x[:160]).shape == (5, 10)
    late = np.concatenate([np.zeros(16 * 5, np.float32), x[:80]])
    heard = model.condition_of(late).max(axis=0)
    assert np.all(heard[:3] == -1.5) and np.all(heard[4:] > -1)
