"""BSS Eval against mir_eval (version 3) and museval (version 4), live, and where we part ways."""

import warnings

import mir_eval
import museval
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchaudio.metrics import bss_eval, bss_eval_images, bss_eval_sources

pytestmark = pytest.mark.peers

# dB. 1e-9 is usual. The duller the noises and the farther apart their levels, the fewer digits
# their filters have: least squares on delayed copies in such a case, drawn duller still (G of
# condition 5e8), were 6e-7 from ours and 4e-5 from museval, which does not level its references.
TOLERANCE = 1e-5
CEILING = 150  # dB, beyond which nothing but rounding would be compared


def draw(seed, S, C, N, error_db, dull):
    """Noises of one dullness at levels of their own; estimates have a gain, a leak, and noise."""
    rng = np.random.default_rng(seed)
    references = rng.standard_normal((S, N, C)) * 10 ** rng.uniform(-2, 1, (S, 1, 1))
    for _ in range(dull):
        references[:, 1:] += 0.9 * references[:, :-1]
    error = 10 ** (error_db / 20) * (
        np.roll(references, 1, axis=0) + rng.standard_normal(references.shape)
    )
    return references, rng.uniform(0.3, 3, (S, 1, 1)) * (references + error)


drawn = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32),
        "S": st.integers(1, 3),
        "C": st.just(1),
        "N": st.integers(3000, 6000),
        "error_db": st.floats(-100, 10),
        "dull": st.integers(0, 2),
    }
)


def quietly(function, *arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mir_eval calls its module deprecated
        return function(*arguments, **options)


def agree(got, expected):
    got, expected = (np.array([np.ravel(x) for x in values]) for values in (got, expected))
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(got[~finite], expected[~finite])
    got, expected = (np.minimum(x[finite], CEILING) for x in (got, expected))
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE)


@settings(max_examples=10)
@given(drawn, st.booleans())
def test_sources_agree_with_mir_eval(arguments, compute_permutation):
    references, estimates = (x[::-1, :, 0] for x in draw(**arguments))
    estimates = np.roll(estimates, 1, axis=0)
    options = {"compute_permutation": compute_permutation}
    expected = quietly(
        mir_eval.separation.bss_eval_sources, references, estimates.copy(), **options
    )
    agree(bss_eval_sources(references, estimates, **options), expected)


@settings(max_examples=5)
@given(drawn, st.booleans(), st.sampled_from([1, 2]))
def test_images_agree_with_mir_eval(arguments, compute_permutation, C):
    arguments = arguments | ({"S": 2, "C": 2} if C == 2 else {})
    references, estimates = draw(**arguments)
    options = {"compute_permutation": compute_permutation}
    expected = quietly(mir_eval.separation.bss_eval_images, references, estimates, **options)
    agree(bss_eval_images(references, estimates, **options), expected)


@settings(max_examples=10)
@given(drawn, st.integers(700, 1900), st.integers(300, 1900), st.booleans(), st.booleans())
def test_frames_agree_with_museval(arguments, window, hop, sources_version, pause):
    references, estimates = draw(**arguments)
    if pause:
        (references if arguments["seed"] % 2 else estimates)[0, :1950] = 0
    options = {"bsseval_sources_version": sources_version}
    expected = quietly(
        museval.metrics.bss_eval, references, estimates, window=window, hop=hop, **options
    )
    agree(bss_eval(references, estimates, window, hop, **options)[:4], expected[:4])


@pytest.mark.parametrize("options", [{"framewise_filters": True}, {"filters_len": 32}])
@pytest.mark.parametrize("S", [1, 2])
def test_other_settings_agree_with_museval(S, options):
    pair = draw(S, S, 1, 5000, -10, 1)
    expected = quietly(museval.metrics.bss_eval, *pair, window=2000, hop=1500, **options)
    agree(bss_eval(*pair, 2000, 1500, **options)[:4], expected[:4])


def test_stereo_agrees_with_evaluate():
    references, estimates = draw(0, 2, 2, 9000, -10, 1)
    estimates[1, 4000:6000] = 0
    expected = quietly(museval.evaluate, references, estimates, win=2000, hop=2000)
    got = bss_eval(references, estimates, 2000)
    assert np.isnan(got[0][:, 2]).all()
    agree(got[:4], expected)


def test_speechlike_float32_agrees():
    references, estimates = draw(3, 2, 1, 6000, -20, 2)
    swelling = np.sin(np.arange(6000) / 700)[:, None] ** 2
    references, estimates = (
        (swelling * x).astype(np.float32)[..., 0] for x in (references, estimates)
    )
    double = references.astype(np.float64), estimates.astype(np.float64)
    expected = quietly(mir_eval.separation.bss_eval_sources, *double)
    agree(bss_eval_sources(references, estimates), expected)


def test_one_order_for_a_recording_agrees_with_museval():
    references, estimates = draw(1, 3, 1, 6000, -10, 0)
    options = {"compute_permutation": True, "filters_len": 64}
    shuffled = estimates[[2, 0, 1]]
    expected = quietly(
        museval.metrics.bss_eval, references, shuffled, window=2000, hop=2000, **options
    )
    got = bss_eval(references, shuffled, 2000, **options)
    agree(got[:4], expected[:4])
    for permutation in (got[4], np.ravel(expected[4])):
        np.testing.assert_array_equal(permutation, [1, 2, 0])


# Where we part ways ---------------------------------------------------------------------------


def test_they_raise_for_a_silent_source_and_ours_is_nan():
    references, estimates = draw(0, 2, 1, 2000, -10, 0)
    references[1] = 0
    for theirs in (
        mir_eval.separation.bss_eval_sources,
        mir_eval.separation.bss_eval_images,
    ):
        with pytest.raises(ValueError, match="silent"):
            quietly(theirs, references[..., 0], estimates[..., 0])
    with pytest.raises(ValueError, match="silent"):
        quietly(museval.metrics.bss_eval, references, estimates)
    sdr, *_ = bss_eval_images(references, estimates)
    assert np.isnan(sdr).tolist() == [False, True]
    alone = quietly(mir_eval.separation.bss_eval_images, references[:1], estimates[:1])
    agree([x[:1] for x in bss_eval_images(references, estimates)], alone)


def test_a_silent_channel_stops_mir_eval_under_numpy_2():
    references, estimates = draw(0, 1, 2, 2000, -10, 0)
    references[..., 0] = estimates[..., 0] = 0
    with pytest.raises(AttributeError, match="linalg"):
        quietly(mir_eval.separation.bss_eval_images, references, estimates)
    mono = quietly(
        mir_eval.separation.bss_eval_images, references[..., 1], estimates[..., 1], False
    )
    agree(bss_eval_images(references, estimates), mono)


def test_museval_takes_channels_of_opposite_sign_for_silence():
    references, estimates = draw(0, 1, 2, 2000, -10, 0)
    references[..., 1] = -references[..., 0]
    with pytest.raises(ValueError, match="silent"):
        quietly(museval.metrics.bss_eval, references, estimates)
    assert np.isfinite(bss_eval(references, estimates)[0]).all()


def test_museval_forgets_the_order_when_one_frame_is_silent():
    references, estimates = draw(0, 2, 1, 6000, -20, 0)
    references[0, 2000:4000] = 0
    options = {"compute_permutation": True, "filters_len": 64}
    theirs = quietly(
        museval.metrics.bss_eval, references, estimates[::-1], window=2000, hop=2000, **options
    )
    np.testing.assert_array_equal(np.ravel(theirs[4]), [0, 1])
    *_, permutation = bss_eval(references, estimates[::-1], 2000, **options)
    np.testing.assert_array_equal(permutation, [1, 0])


def test_museval_may_change_the_order_from_frame_to_frame_and_ours_does_not():
    """Two singers who swap places halfway: one order is wrong in half of the frames."""
    references, estimates = draw(0, 2, 1, 6000, -20, 0)
    estimates[:, 3000:] = estimates[::-1, 3000:]
    options = {"compute_permutation": True, "framewise_filters": True, "filters_len": 64}
    theirs = quietly(
        museval.metrics.bss_eval, references, estimates, window=2000, hop=4000, **options
    )
    np.testing.assert_array_equal(theirs[4], [[0, 1], [1, 0]])
    _, _, sir, _, permutation = bss_eval(references, estimates, 2000, 4000, **options)
    assert permutation.shape == (2,)
    assert sorted((sir > 0).sum(axis=0)) == [0, 2]
