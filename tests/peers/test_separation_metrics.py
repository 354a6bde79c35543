"""SI-SDR and SNR against BSS-eval, of which they are the cases of a filter of one tap and of none.

mir_eval takes apart an estimate by filters of any length; of one tap, a gain, what is left of its
SDR is the SI-SDR. museval's version 4 with one tap forgives no gain: its SDR is the SNR.
"""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mir_eval.separation import _bss_decomp_mtifilt
from museval.metrics import bss_eval

from scratchaudio.metrics import si_sdr, si_sdr_improvement, snr, snr_improvement

pytestmark = pytest.mark.peers


def draw_triple(seed, N, error_db):
    rng = np.random.default_rng(seed)
    reference, noise, error = rng.normal(size=(3, N)) + rng.normal(size=(3, 1))
    estimate = rng.uniform(0.2, 3) * (reference + 10 ** (error_db / 20) * error)
    return reference, estimate, reference + noise


triples = st.builds(
    draw_triple, seed=st.integers(0, 2**32), N=st.integers(50, 400), error_db=st.floats(-40, 20)
)


def mir_eval_si_sdr(reference, estimate):
    s_true, e_spat, e_interf, e_artif = _bss_decomp_mtifilt(reference[None], estimate, 0, 1)
    target, rest = s_true + e_spat, e_interf + e_artif
    return 10 * np.log10((target**2).sum() / (rest**2).sum())


def museval_snr(reference, estimate):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sdr, *_ = bss_eval(
            reference[None, :, None], estimate[None, :, None], window=np.inf, filters_len=1
        )
    return float(np.squeeze(sdr))


@settings(max_examples=100)
@given(triples)
def test_si_sdr_is_bss_eval_with_one_tap(triple):
    reference, estimate, mixture = triple
    expected = mir_eval_si_sdr(reference, estimate)
    # Where little of the reference is left, its gain has few digits.
    tolerance = 1e-6 * max(1, 10 ** (-expected / 20))
    assert abs(si_sdr(reference, estimate) - expected) <= tolerance
    centred = [x - x.mean() for x in triple]
    expected = mir_eval_si_sdr(*centred[:2])
    tolerance = 1e-6 * max(1, 10 ** (-expected / 20))
    assert abs(si_sdr(reference, estimate, zero_mean=True) - expected) <= tolerance
    expected = mir_eval_si_sdr(reference, estimate) - mir_eval_si_sdr(reference, mixture)
    assert abs(si_sdr_improvement(*triple) - expected) <= 1e-4


@settings(max_examples=50)
@given(triples)
def test_snr_is_the_sdr_of_version_4(triple):
    reference, estimate, mixture = triple
    expected = museval_snr(reference, estimate)
    assert abs(snr(reference, estimate) - expected) <= 1e-6
    expected -= museval_snr(reference, mixture)
    assert abs(snr_improvement(reference, estimate, mixture) - expected) <= 1e-6
