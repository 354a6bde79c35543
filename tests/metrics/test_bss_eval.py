"""BSS Eval against least squares on delayed copies, mir_eval's and museval's frozen values, laws.

The slow oracle lays every delayed copy of every reference side by side and lets `lstsq` find the
nearest sum of them. Drawn filters are short, so that this is quick and their least squares are
well conditioned; the 512 taps of the real measure stand in the golden file and in the laws.
"""

import importlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
from golden.make_bss_eval import HOP, VERSIONS, WINDOW
from golden.make_bss_eval import draw as draw_golden
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchaudio import metrics
from scratchaudio.errors import ConfigError, ScratchAudioError, ShapeError
from scratchaudio.metrics import (
    bss_eval,
    bss_eval_images,
    bss_eval_sources,
    median_over_frames,
    sdr_improvement,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "bss_eval.json").read_text())["cases"]
LAW = 1e-9  # dB
# mir_eval and museval solve the same equations by other routes; the worst case here is 4e-12 dB.
PARITY = LAW


def draw(seed, S, N, C, error_db=-10.0):
    """Noises; each estimate has a gain, something of all references, and noise of its own."""
    rng = np.random.default_rng(seed)
    references = rng.standard_normal((S, N, C)) * rng.uniform(0.5, 2, (S, 1, 1))
    leak = np.einsum("ij,jnc->inc", rng.uniform(-1, 1, (S, S)), references)
    noise = rng.standard_normal((S, N, C))
    error = 10 ** (error_db / 20) * (0.5 * leak + noise)
    return references, rng.uniform(0.5, 2, (S, 1, 1)) * (references + error)


drawn = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32),
        "S": st.integers(1, 3),
        "N": st.integers(40, 90),
        "C": st.integers(1, 2),
        "error_db": st.floats(-50, 10),
    }
)
readings = st.booleans()


def draw_enough(arguments, L):
    """With twice as many samples as all filters together have taps, so that these are unique."""
    return draw(**arguments | {"N": arguments["N"] + _enough(arguments, L)})


def _enough(arguments, L):
    return 2 * arguments["S"] * arguments["C"] * L


def mono(seed=0, S=2, N=3000, error_db=-10.0):
    return tuple(x[..., 0] for x in draw(seed, S, N, 1, error_db))


# The slow oracle ------------------------------------------------------------------------------


def delayed_copies(references, L):
    """(N + L - 1, S C L): all channels of all references, each 0 to L - 1 samples late."""
    S, N, C = references.shape
    columns = []
    for s in range(S):
        for c in range(C):
            for a in range(L):
                column = [0.0] * (N + L - 1)
                for n in range(N):
                    column[n + a] = references[s, n, c]
                columns.append(column)
    return np.array(columns).T


def slow_parts(references, estimate, j, L, fitted_to=None):
    """s, own, every and e, each (N + L - 1, C); the filters may be of another stretch of sound."""
    s, e = (np.pad(x, [(0, L - 1), (0, 0)]) for x in (references[j], estimate))
    nearest = []
    for group in (references[j : j + 1], references):
        here = delayed_copies(group, L)
        if fitted_to is None:
            A, b = here, e
        else:
            whole, whole_estimate = fitted_to
            A = delayed_copies(whole[j : j + 1] if len(group) < len(whole) else whole, L)
            b = np.pad(whole_estimate, [(0, L - 1), (0, 0)])
        nearest.append(here @ np.linalg.lstsq(A, b, rcond=None)[0])
    return s, *nearest, e


def slow_ratios(s, own, every, e, sources_version):
    def db(wanted, unwanted):
        a = math.fsum(v * v for v in wanted.ravel())
        b = math.fsum(v * v for v in unwanted.ravel())
        return 10 * math.log10(a / b) if b > 1e-25 * a else math.inf

    sir, sar = db(own, every - own), db(every, e - every)
    if sources_version:
        return db(own, e - own), math.nan, sir, sar
    return db(s, e - s), db(s, own - s), sir, sar


def agree(got, expected, tolerance):
    """Equal nan and inf; finite ones within the tolerance."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(got[~finite], expected[~finite])
    np.testing.assert_allclose(got[finite], expected[finite], rtol=0, atol=tolerance)


@settings(max_examples=30)
@given(drawn, st.integers(1, 7), readings)
def test_least_squares_on_delayed_copies(arguments, L, sources_version):
    references, estimates = draw_enough(arguments, L)
    expected = [
        slow_ratios(*slow_parts(references, e, j, L), sources_version)
        for j, e in enumerate(estimates)
    ]
    *ratios, permutation = bss_eval(
        references, estimates, filters_len=L, bsseval_sources_version=sources_version
    )
    agree(np.array(ratios)[..., 0].T, expected, 1e-7)
    np.testing.assert_array_equal(permutation, range(len(references)))


@settings(max_examples=20)
@given(drawn, st.integers(1, 5), st.integers(15, 30), st.integers(5, 30), readings, st.booleans())
def test_frames(arguments, L, window, hop, sources_version, framewise):
    """Filters of the whole recording, or of each frame; what goes before a frame is cut off."""
    references, estimates = draw_enough(arguments, L)
    window += _enough(arguments, L)
    N = references.shape[1]
    expected = []
    for start in range(0, N - window + 1, hop):
        stretch = slice(start, start + window)
        for j, e in enumerate(estimates):
            fitted_to = None if framewise else (references, e)
            parts = slow_parts(references[:, stretch], e[stretch], j, L, fitted_to)
            expected.append(slow_ratios(*parts, sources_version))
    *ratios, _ = bss_eval(
        references,
        estimates,
        window,
        hop,
        filters_len=L,
        framewise_filters=framewise,
        bsseval_sources_version=sources_version,
    )
    T = (N - window) // hop + 1
    assert ratios[0].shape == (len(references), T)
    agree(np.stack(ratios, -1).swapaxes(0, 1).reshape(-1, 4), expected, 1e-6)


# Frozen values --------------------------------------------------------------------------------

SETTINGS = "S", "C", "N", "error_db", "pause"


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"seed {case['seed']}")
def test_frozen_values_of_mir_eval_and_museval(case):
    references, estimates = draw_golden(case["seed"], **{name: case[name] for name in SETTINGS})
    agree(np.array(bss_eval_images(references, estimates)), case["images"], PARITY)
    if "sources" in case:
        waveforms = references[..., 0], estimates[..., 0]
        agree(np.array(bss_eval_sources(*waveforms)), case["sources"], PARITY)
    back = estimates[(np.arange(case["S"]) + 1) % case["S"]]
    for name, options in VERSIONS.items():
        *ratios, _ = bss_eval(references, back, WINDOW, HOP, **options)
        agree(ratios, case[name], PARITY)


def test_the_golden_file_holds_what_it_should():
    assert len(GOLDEN) == 7
    assert all(set(case) >= {"images", *VERSIONS} for case in GOLDEN)
    assert sum("sources" in case for case in GOLDEN) == 6
    paused = [case for case in GOLDEN if case["pause"]]
    assert len(paused) == 4
    for case in paused:
        assert np.isnan(case["v4"]).sum() == 4 * case["S"]  # one frame


# What is forgiven -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delay", "forgiven"), [(0, True), (1, True), (511, True), (512, False), (-1, False)]
)
def test_a_delay_of_up_to_511_samples_is_forgiven_by_sources_and_not_by_images(delay, forgiven):
    references, _ = mono(S=2, N=3000)
    references[:, :600] = references[:, -600:] = 0  # room to move
    late = np.roll(references, delay, axis=1)
    sdr, sir, sar, permutation = bss_eval_sources(references, late)
    if forgiven:
        np.testing.assert_array_equal(permutation, [0, 1])
        assert min(*sdr, *sir, *sar) >= 200
    else:
        assert max(sdr) <= 10
    sdr, isr, *_ = bss_eval_images(references, late, compute_permutation=False)
    if delay == 0:
        assert (sdr == np.inf).all()
        assert min(isr) >= 200
    else:
        np.testing.assert_allclose(sdr, -10 * math.log10(2), atol=0.5)  # |e - s|^2 = 2 |s|^2


def test_a_short_filter_is_forgiven_by_sources_and_not_by_images():
    references, _ = mono(S=2, N=2500)
    dull = np.stack([np.convolve(s, [0.5, 0.3, 0.2])[:2500] for s in references])
    sdr, sir, sar, _ = bss_eval_sources(references, dull)
    assert min(*sir) >= 25  # but for what was cut off at the end
    assert min(*sdr) >= 25
    padded = (np.pad(x, [(0, 0), (0, 2)]) for x in (references, references))
    dull = np.stack([np.convolve(s, [0.5, 0.3, 0.2]) for s in references])
    assert min(np.concatenate(bss_eval_sources(next(padded), dull)[:3])) >= 200
    sdr, isr, sir, sar, _ = bss_eval_images(next(padded), dull)
    assert max(*sdr, *isr) <= 6
    assert min(*sir, *sar) >= 200


@settings(max_examples=25)
@given(drawn, readings, st.floats(-60, 60), st.floats(-60, 60))
def test_gains(arguments, sources_version, reference_db, estimate_db):
    """Free for "sources". "Images" forgive none, but SIR and SAR are free of it all the same."""
    references, estimates = draw(**arguments)
    options = {"filters_len": 3, "bsseval_sources_version": sources_version}
    before = np.array(bss_eval(references, estimates, **options)[:4])[..., 0]
    gained = 10 ** (reference_db / 20) * references, -(10 ** (estimate_db / 20)) * estimates
    after = np.array(bss_eval(*gained, **options)[:4])[..., 0]
    agree(after[2:], before[2:], 1e-6)
    if sources_version:
        agree(after[0], before[0], 1e-6)
    common = 10 ** (reference_db / 20)
    agree(bss_eval(common * references, common * estimates, **options)[0][:, 0], before[0], LAW)


def test_the_sdr_of_images_is_the_snr_over_all_channels():
    references, estimates = draw(0, 2, 700, 2)
    expected = metrics.snr(references.reshape(2, -1), estimates.reshape(2, -1))
    agree(bss_eval(references, estimates, filters_len=9)[0][:, 0], expected, LAW)


# The parts ------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(drawn, st.integers(1, 12))
def test_parts_are_at_right_angles(arguments, L):
    """own, interference and artefacts: |every|^2 = |own|^2 + |every - own|^2, and so on."""
    references, estimates = draw_enough(arguments, L)
    options = {"filters_len": L, "bsseval_sources_version": True}
    sdr, _, sir, sar, _ = bss_eval(references, estimates, **options)
    interference, artefacts = 10 ** (-sir / 10), 10 ** (-sar / 10) * (1 + 10 ** (-sir / 10))
    np.testing.assert_allclose(10 ** (-sdr / 10), interference + artefacts, rtol=1e-9)


@settings(max_examples=15)
@given(drawn, st.integers(1, 6))
def test_what_is_left_is_at_right_angles_to_every_delayed_reference(arguments, L):
    from scratchaudio.metrics.bss_eval import _fit_filters

    references, estimates = draw_enough(arguments, L)
    S, N, C = references.shape
    r, e = references.swapaxes(1, 2), estimates.swapaxes(1, 2)
    j, k = np.indices((S, S)).reshape(2, -1)
    own, every = _fit_filters(r.copy(), e.copy(), (j, k), L)
    for p in range(S * S):
        A = delayed_copies(references[j[p] : j[p] + 1], L)
        target = np.pad(estimates[k[p]], [(0, L - 1), (0, 0)])
        made = A @ own[p].swapaxes(1, 2).reshape(C * L, C)
        largest = np.linalg.norm(A, axis=0).max() * np.linalg.norm(target)
        assert np.abs(A.T @ (target - made)).max() <= 1e-9 * largest
    A = delayed_copies(references, L)
    for i in range(S):
        target = np.pad(estimates[i], [(0, L - 1), (0, 0)])
        made = A @ every[:, :, i].swapaxes(2, 3).reshape(S * C * L, C)
        largest = np.linalg.norm(A, axis=0).max() * np.linalg.norm(target)
        assert np.abs(A.T @ (target - made)).max() <= 1e-9 * largest


@settings(max_examples=25)
@given(db=st.lists(st.floats(-60, 60), min_size=2, max_size=2), gain=st.floats(0.1, 10))
def test_sources_and_noise_at_right_angles_have_the_ratios_they_were_given(db, gain):
    a = np.tile([1.0, 1.0, 1.0, 1.0], 5)
    b = np.tile([1.0, -1.0, 1.0, -1.0], 5)
    neither = np.tile([1.0, 1.0, -1.0, -1.0], 5)
    leak, noise = (10 ** (-x / 20) for x in db)
    estimates = np.stack([gain * (a + leak * b + noise * neither), b])
    sdr, _, sir, sar, _ = bss_eval(
        np.stack([a, b]), estimates, filters_len=1, bsseval_sources_version=True
    )
    assert abs(sir[0, 0] - db[0]) <= 1e-6
    assert abs(sar[0, 0] - 10 * math.log10((1 + leak**2) / noise**2)) <= 1e-6
    assert abs(sdr[0, 0] + 10 * math.log10(leak**2 + noise**2)) <= 1e-6
    sdr, isr, sir, sar, _ = bss_eval(np.stack([a, b]), estimates, filters_len=1)
    wrong = (gain - 1) ** 2
    assert abs(sdr[0, 0] + 10 * math.log10(wrong + gain**2 * (leak**2 + noise**2))) <= 1e-6
    if wrong > 1e-6:
        assert abs(isr[0, 0] + 10 * math.log10(wrong)) <= 1e-6


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(2, 4), st.floats(-40, 10))
def test_with_one_tap_it_is_the_scale_invariant_measure(seed, S, error_db):
    references, estimates = mono(seed, S, 80, error_db)
    options = {"filters_len": 1, "bsseval_sources_version": True}
    sdr, _, sir, sar, _ = (x.T[0] for x in bss_eval(references, estimates, **options))
    si_sdr, si_sir, si_sar = metrics.si_bss(references, estimates)
    agree(sdr, si_sdr, 1e-6)
    agree(sir, si_sir, 1e-6)
    # BSS Eval holds artefacts against target and interference, SI-SAR against the target alone.
    agree(sar, si_sar + 10 * np.log10(1 + 10 ** (-si_sir / 10)), 1e-6)


@pytest.mark.parametrize("db", [80, 120, 160])
def test_very_good_estimates_keep_their_digits(db):
    rng = np.random.default_rng(0)
    references, noise = rng.standard_normal((2, 2, 20000))
    gain = 10 ** (-db / 20)
    estimates = references + gain * (references[::-1] + noise)
    sdr, sir, sar, _ = bss_eval_sources(references, estimates)
    # Of white noise, filters of 2 x 512 taps can imitate 1024 / N.
    np.testing.assert_allclose(sir, db, atol=0.3)
    np.testing.assert_allclose(sar, db, atol=0.5)
    np.testing.assert_allclose(10 ** (-sdr / 10), 2 * gain**2, rtol=0.1)
    scaled = bss_eval_sources(1e-6 * references, 1e3 * estimates)
    np.testing.assert_allclose(scaled[:3], (sdr, sir, sar), rtol=0, atol=1e-3)


# Order ----------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.integers(1, 4), readings)
def test_the_order_of_the_estimates_is_found(seed, S, sources_version):
    references, estimates = draw(seed, S, 90, 1, error_db=-15)
    shuffled = np.random.default_rng(seed).permutation(S)
    options = {"filters_len": 4, "bsseval_sources_version": sources_version}
    *expected, _ = bss_eval(references, estimates, **options)
    for frames in ((), (30, 20)):
        *ratios, permutation = bss_eval(
            references, estimates[shuffled], *frames, compute_permutation=True, **options
        )
        np.testing.assert_array_equal(shuffled[permutation], range(S))
        if not frames:
            agree(ratios, expected, 1e-6)
    *_, permutation = bss_eval(references, estimates[shuffled], **options)
    np.testing.assert_array_equal(permutation, range(S))


def test_defaults_of_permutation():
    references, estimates = mono(S=2, N=1500)
    for function in (bss_eval_sources, bss_eval_images):
        *ratios, permutation = function(references, estimates[::-1])
        np.testing.assert_array_equal(permutation, [1, 0])
        *in_order, permutation = function(references, estimates[::-1], False)
        np.testing.assert_array_equal(permutation, [0, 1])
        assert (ratios[-2] > in_order[-2]).all()


def test_the_best_sir_decides_not_the_best_sdr():
    """In order SIRs are 3 and -2 dB, a mean of 1/2, but the second one counts twice for SDR."""
    a = np.tile([1.0, 1.0, 1.0, 1.0], 5)
    b = np.tile([1.0, -1.0, 1.0, -1.0], 5)
    noise = np.tile([1.0, 1.0, -1.0, -1.0], 5)
    references = np.stack([a, b])
    estimates = np.stack([10 ** (3 / 20) * a + b + 100 * noise, a + 10 ** (-2 / 20) * b])
    options = {"filters_len": 1, "bsseval_sources_version": True, "compute_permutation": True}
    _, _, sir, _, permutation = bss_eval(references, estimates, **options)
    np.testing.assert_array_equal(permutation, [0, 1])
    agree(sir[:, 0], [3.0, -2.0], 1e-6)
    np.testing.assert_array_equal(metrics.best_permutation(references, estimates)[0], [1, 0])


# Silence and singular references --------------------------------------------------------------


def test_one_source_has_no_interference():
    reference, estimate = mono(S=1, N=1200)
    assert bss_eval_sources(reference, estimate)[1] == [math.inf]
    assert bss_eval_images(reference, estimate)[2] == [math.inf]
    # Nor has one among silent ones, though its filters are rounded in another order.
    silent = np.zeros_like(reference)
    references, estimates = np.stack([silent, reference])[:, 0], np.concatenate([estimate] * 2)
    for L in (49, 50, 51):
        sir = bss_eval(references, estimates, filters_len=L)[2]
        np.testing.assert_array_equal(sir[:, 0], [math.nan, math.inf])


@pytest.mark.parametrize("compute_permutation", [False, True])
def test_a_silent_reference_is_nan_and_the_others_as_without_it(compute_permutation):
    references, estimates = mono(S=3, N=1500)
    references[1] = 0
    options = {"filters_len": 32, "compute_permutation": compute_permutation}
    kept = [0, 2]
    for sources_version in (False, True):
        options["bsseval_sources_version"] = sources_version
        for frames in ((), (600, 300)):
            *ratios, permutation = bss_eval(references, estimates, *frames, **options)
            *expected, _ = bss_eval(references[kept], estimates[kept], *frames, **options)
            assert np.isnan(np.array(ratios)[:, 1]).all()
            agree(np.array(ratios)[:, kept], expected, 1e-6)
            np.testing.assert_array_equal(permutation, [0, 1, 2])


@pytest.mark.parametrize("compute_permutation", [False, True])
def test_a_silent_estimate_is_nan_and_the_others_as_before(compute_permutation):
    references, estimates = mono(S=3, N=1500)
    options = {"filters_len": 32, "compute_permutation": compute_permutation}
    *expected, _ = bss_eval(references, estimates, 600, 300, **options)
    estimates[1] = 0
    *ratios, permutation = bss_eval(references, estimates, 600, 300, **options)
    assert np.isnan(np.array(ratios)[:, 1]).all()
    agree(np.array(ratios)[:, [0, 2]], np.array(expected)[:, [0, 2]], 1e-6)
    np.testing.assert_array_equal(permutation, [0, 1, 2])
    # A silent estimate goes to a silent reference rather than to one that could be measured.
    references[2] = 0
    *ratios, permutation = bss_eval(references, estimates, compute_permutation=True, filters_len=32)
    np.testing.assert_array_equal(permutation, [0, 2, 1])
    assert np.isnan(np.array(ratios)[:, 2]).all()
    assert np.isfinite(np.array(ratios)[:, :2]).all()


def test_all_silent():
    silence, noise = np.zeros((2, 600)), mono(S=2, N=600)[0]
    for pair in ((silence, silence), (silence, noise), (noise, silence)):
        for function in (bss_eval_sources, bss_eval_images):
            *ratios, permutation = function(*pair)
            assert np.isnan(ratios).all()
            np.testing.assert_array_equal(permutation, [0, 1])


@pytest.mark.parametrize("framewise", [False, True])
@pytest.mark.parametrize("which", [0, 1])
def test_a_frame_in_which_anyone_pauses_is_nan_for_all(which, framewise):
    pair = mono(S=2, N=4000)
    *before, _ = bss_eval(*pair, 1000, filters_len=16, framewise_filters=framewise)
    pair[which][1, 1000:2000] = 0
    *ratios, _ = bss_eval(*pair, 1000, filters_len=16, framewise_filters=framewise)
    ratios = np.array(ratios)
    assert ratios.shape == (4, 2, 4)
    assert np.isnan(ratios[:, :, 1]).all()
    assert np.isfinite(ratios[:, :, [0, 2, 3]]).all()
    if framewise:
        agree(ratios[:, :, [0, 2, 3]], np.array(before)[:, :, [0, 2, 3]], LAW)
    pair[which][1, 1000] = 1e-3  # one sample is enough
    assert np.isfinite(bss_eval(*pair, 1000, filters_len=16)[0]).all()


def test_when_a_frame_cannot_be_measured_the_others_decide_the_order():
    references, estimates = mono(S=2, N=4000)
    references[1, 1000:2000] = 0
    *ratios, permutation = bss_eval(
        references, estimates[::-1], 1000, filters_len=16, compute_permutation=True
    )
    np.testing.assert_array_equal(permutation, [1, 0])
    references[1, :1000] = references[0, 2000:] = 0  # and now somebody pauses in every frame
    *ratios, permutation = bss_eval(
        references, estimates[::-1], 1000, filters_len=16, compute_permutation=True
    )
    np.testing.assert_array_equal(permutation, [0, 1])
    assert np.isnan(ratios).all()


def test_equal_references_and_equal_channels_are_measured_all_the_same():
    references, estimates = mono(S=2, N=2000)
    options = {"filters_len": 64, "bsseval_sources_version": True}
    in_mono = bss_eval(references, estimates, **options)
    # Sources in the middle of a stereo recording.
    middle = bss_eval(*(np.stack([x, x], axis=-1) for x in (references, estimates)), **options)
    agree(middle[:4], in_mono[:4], 1e-6)
    # One of them on the right alone, so that its left channel is silent.
    right = references[..., None] * np.array([[[1.0, 1.0]], [[0.0, 1.0]]])
    apart = bss_eval(right, right + 0.1 * estimates[::-1, :, None], filters_len=64)
    assert np.isfinite(apart[:4]).all()
    # The same reference three times over.
    same = references[[0, 0, 0]]
    sdr, _, sir, *_ = bss_eval(same, estimates[[0, 0, 0]], **options)
    alone = bss_eval(references[:1], estimates[:1], **options)[0]
    agree(sdr, np.repeat(alone, 3, axis=0), 1e-6)
    assert sir.min() >= 80


N_TONES = 3000


@pytest.mark.parametrize(
    "waveform",
    [
        np.ones(N_TONES),
        np.sin(0.1 * np.arange(N_TONES)),
        np.sin(1e-4 * np.arange(N_TONES)),
        np.exp(-(((np.arange(N_TONES) - 1500) / 40) ** 2)),
        np.eye(1, N_TONES, 7)[0],
        np.convolve(np.random.default_rng(1).standard_normal(N_TONES), np.kaiser(90, 12))[:N_TONES],
    ],
    ids=["constant", "tone", "slow", "bell", "click", "dull"],
)
def test_waveforms_of_few_dimensions(waveform):
    """Their delayed copies are almost the same: rounding must not decide between them."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(N_TONES)
    references = np.stack([waveform, noise])
    error = 0.1 * np.linalg.norm(waveform) / np.sqrt(N_TONES) * rng.standard_normal(N_TONES)
    sdr, sir, sar, _ = bss_eval_sources(references, np.stack([waveform + error, noise]), False)
    assert 19 <= sdr[0] <= 23  # of the error, filters can imitate 512 / N at most
    assert np.isfinite([sir, sar]).all()
    sdr, *_ = bss_eval_sources(references, references, False)
    assert sdr[0] >= 150


# Blocks, frames and averages ------------------------------------------------------------------


def test_blocks_add_up():
    module = importlib.import_module("scratchaudio.metrics.bss_eval")
    pair = draw(0, 2, 900, 2)
    whole = bss_eval(*pair, filters_len=40)[:4], bss_eval(*pair, 700, 100, filters_len=40)[:4]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", 1)  # four times as long as the filters
        blocks = bss_eval(*pair, filters_len=40)[:4], bss_eval(*pair, 700, 100, filters_len=40)[:4]
    for a, b in zip(whole, blocks, strict=True):
        agree(a, b, LAW)


def test_windows():
    pair = mono(S=2, N=1000)

    def frames(*window_and_hop):
        return bss_eval(*pair, *window_and_hop, filters_len=8)[0].shape[1]

    assert frames() == frames(None, None) == frames(1000) == frames(5000, 3) == 1
    assert frames(999) == 1
    assert frames(500) == frames(500, 500) == 2
    assert frames(334, 333) == 3
    assert frames(500, 100) == 6
    assert frames(501, 100) == 5
    assert frames(1, 999) == 2
    whole = bss_eval(*pair, filters_len=8)
    for a, b in zip(whole[:4], bss_eval(*pair, 1000, 7, filters_len=8)[:4], strict=True):
        np.testing.assert_array_equal(a, b)
    last = bss_eval(*pair, 400, 600, filters_len=8, framewise_filters=True)
    alone = bss_eval(*(x[:, 600:] for x in pair), filters_len=8)
    agree([x[:, 1] for x in last[:4]], [x[:, 0] for x in alone[:4]], LAW)


def test_512_taps_unless_asked_for_others():
    pair = mono(S=2, N=1500)
    default = bss_eval(*pair)
    asked = bss_eval(*pair, filters_len=512)
    fewer = bss_eval(*pair, filters_len=511)
    np.testing.assert_array_equal(default[1], asked[1])
    assert (np.abs(default[3] - fewer[3]) > 1e-4).all()


def test_median_over_frames():
    ratios = np.array([[1.0, np.nan, 9.0, 4.0], [np.nan] * 4, [np.inf, 2.0, np.inf, np.nan]])
    np.testing.assert_array_equal(median_over_frames(ratios), [4.0, np.nan, np.inf])
    np.testing.assert_array_equal(median_over_frames(ratios[0]), 4.0)
    np.testing.assert_array_equal(median_over_frames(ratios[None]), [[4.0, np.nan, np.inf]])
    assert math.isnan(median_over_frames(np.array([np.nan])))


def test_sdr_improvement():
    references, estimates = mono(S=2, N=600)
    mixture = references.sum(axis=0)
    rise = sdr_improvement(references, estimates, mixture)
    before = bss_eval_sources(references, np.stack([mixture, mixture]), False)[0]
    agree(rise, bss_eval_sources(references, estimates, False)[0] - before, LAW)
    assert (rise > 3).all()
    agree(sdr_improvement(references, np.stack([mixture, mixture]), mixture), [0.0, 0.0], 0)
    references[0] = 0
    assert np.isnan(sdr_improvement(references, estimates, mixture)).tolist() == [True, False]


# Input ----------------------------------------------------------------------------------------


def test_read_only_strided_and_float32_input():
    references, estimates = draw(0, 2, 1400, 2)
    before = references.copy(), estimates.copy()
    references.flags.writeable = estimates.flags.writeable = False
    options = {"filters_len": 20}
    strided = bss_eval(references[:, ::2], estimates[:, ::2], **options)
    copied = bss_eval(before[0][:, ::2].copy(), before[1][:, ::2].copy(), **options)
    np.testing.assert_array_equal(strided[:4], copied[:4])
    single = [x.astype(np.float32) for x in before]
    double = [x.astype(np.float64) for x in single]
    got, expected = bss_eval(*single, **options), bss_eval(*double, **options)
    assert all(x.dtype == np.float64 for x in got[:4])
    np.testing.assert_array_equal(got[:4], expected[:4])
    np.testing.assert_array_equal([references, estimates], before)
    flat = [x[..., 0] for x in before]
    channel = [x[..., :1] for x in before]
    np.testing.assert_array_equal(bss_eval(*flat, **options)[:4], bss_eval(*channel, **options)[:4])


@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1e-160, 1e160, 1e300])
def test_extreme_levels_neither_overflow_nor_vanish(scale):
    rng = np.random.default_rng(0)
    references = rng.integers(-2, 3, (2, 300)).astype(float)  # exact in subnormals, too
    estimates = references[::-1] + 4 * rng.integers(-2, 3, (2, 300))
    expected = bss_eval(references, estimates, filters_len=4)
    got = bss_eval(scale * references, scale * estimates, filters_len=4)
    agree(got[:4], expected[:4], LAW)
    apart = bss_eval(1e-153 * references, estimates, filters_len=4)
    agree(apart[2:4], expected[2:4], LAW)
    assert (apart[0] < -2900).all()


@pytest.mark.parametrize("function", [bss_eval_sources, bss_eval_images, bss_eval])
@pytest.mark.parametrize(
    ("references", "estimates", "says"),
    [
        (np.ones((2, 40)), np.ones((2, 41)), r"one shape, got \(2, 40\) and \(2, 41\)"),
        (np.ones((2, 40)), np.ones((3, 40)), "one shape"),
        (np.ones(40), np.ones(40), r"must be \(S, N\) or \(S, N, C\)"),
        (np.ones((2, 40, 2, 1)), np.ones((2, 40, 2, 1)), r"must be \(S, N\) or \(S, N, C\)"),
        (np.ones((2, 2, 40)), np.ones((2, 2, 40)), "channels last, got"),
        (np.ones((2, 40), int), np.ones((2, 40)), "references must hold floating-point"),
        (np.ones((2, 40)), np.full((2, 40), np.nan), "estimates must be finite"),
        (np.ones((2, 0)), np.ones((2, 0)), "references must hold at least one sample"),
    ],
)
def test_wrong_arrays_are_named(function, references, estimates, says):
    with pytest.raises(ShapeError, match=says) as caught:
        function(references, estimates)
    assert isinstance(caught.value, ScratchAudioError)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"window": 0}, "window must be an integer of at least 1, got 0"),
        ({"window": 40.0}, "window must be an integer"),
        ({"window": 40, "hop": 1.5}, "hop must be an integer"),
        ({"hop": 40}, "hop must be None as window is, got 40"),
        ({"filters_len": 0}, "filters_len must be an integer"),
    ],
)
def test_wrong_settings_are_named(settings, says):
    with pytest.raises(ConfigError, match=says):
        bss_eval(*mono(S=2, N=100), **settings)
    with pytest.raises(ShapeError, match=r"mixture must be like one reference, \(100,\), got"):
        sdr_improvement(*mono(S=2, N=100), np.ones(99))
