"""Segments: hysteresis, gaps, short pieces, padding, and the sound that is kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio.errors import ConfigError, ShapeError
from scratchaudio.models import segmentation

seeds = st.integers(0, 2**32 - 1)


def hysteresis_loop(probabilities, onset, offset):
    active, state = [], False
    for p in probabilities:
        if p >= onset:
            state = True
        elif p < offset:
            state = False
        active.append(state)
    return np.array(active)


@given(seed=seeds, n=st.integers(1, 60), low=st.floats(0, 1), high=st.floats(0, 1))
def test_hysteresis_equals_a_loop(seed, n, low, high):
    offset, onset = sorted([low, high])
    p = np.round(np.random.default_rng(seed).random(n), 1)
    np.testing.assert_array_equal(
        segmentation.hysteresis(p, onset, offset), hysteresis_loop(p, onset, offset)
    )


def test_gaps_are_filled_before_short_pieces_are_dropped_and_the_rest_is_padded():
    settings = segmentation.SegmentSettings(0.5, 0.5, min_silence=0.04, min_speech=0.05, pad=0.02)
    #         a click   two halves of a word, gap of 3        a real gap of 4
    p = [0, 0, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0]
    expected = np.zeros(29, bool)
    expected[7:19] = True  # 9..16 with pad 2
    expected[19:28] = True  # 21..25 with pad 2
    np.testing.assert_array_equal(segmentation.decide(np.array(p, float), settings), expected)


def test_silence_at_the_ends_is_never_filled():
    settings = segmentation.SegmentSettings(0.5, 0.5, min_silence=1.0, min_speech=0.0)
    p = np.array([0.0, 0, 1, 1, 0])
    np.testing.assert_array_equal(segmentation.decide(p, settings), p.astype(bool))


@given(seed=seeds, n=st.integers(1, 200))
def test_frames_to_segments_and_back(seed, n):
    active = np.random.default_rng(seed).random(n) < 0.4
    np.testing.assert_array_equal(
        segmentation.segments_to_frames(
            [(start, min(end, n / 100)) for start, end in segmentation.frames_to_segments(active)],
            n,
        ),
        active,
    )


def test_a_frame_is_speech_when_its_centre_is_inside():
    frames = segmentation.segments_to_frames([(0.02, 0.05), (0.075, 0.081)], 12)
    assert np.flatnonzero(frames).tolist() == [2, 3, 4, 8]


def test_labels_of_another_file_are_refused():
    with pytest.raises(ShapeError, match=r"\(3.0, 12.5\) ends behind the recording's end"):
        segmentation.segments_to_frames([(0.0, 1.0), (3.0, 12.5)], 1001)
    with pytest.raises(ShapeError, match=r"0 <= start <= end, got \(2.0, 1.0\)"):
        segmentation.segments_to_frames([(2.0, 1.0)], 1001)


def test_impossible_segment_settings_are_refused():
    with pytest.raises(ConfigError, match="offset=0.6, onset=0.5"):
        segmentation.SegmentSettings(onset=0.5, offset=0.6)
    with pytest.raises(ConfigError, match="min_speech must be at least 0 s, got -1"):
        segmentation.SegmentSettings(min_speech=-1)


@given(seed=seeds, fade=st.floats(0.001, 0.02))
def test_kept_segments_are_untouched_the_rest_is_silent_and_fades_are_gentle(seed, fade):
    rng = np.random.default_rng(seed)
    sr, n = 1000, 2000
    edges = np.sort(rng.uniform(0.1, 1.9, 4)).round(3)
    segments = [tuple(edges[:2]), tuple(edges[2:])]
    gain = segmentation.keep_segments(np.ones((2, n)), sr, segments, fade)[1]
    t = np.arange(n) / sr
    inside = np.zeros(n, bool)
    near = np.zeros(n, bool)
    for start, end in segments:
        inside |= (t >= start) & (t <= end)
        near |= (t > start - fade) & (t < end + fade)
    if edges[2] - edges[1] < 2 * fade:
        near |= (t >= edges[1]) & (t <= edges[2])
    assert (gain[inside] == 1).all(), "a segment was changed"
    assert (gain[~near] == 0).all(), "something is left outside the segments and fades"
    assert np.abs(np.diff(gain)).max() <= np.pi / 2 / (fade * sr) + 1e-9, "a fade clicks"


def test_frames_stand_for_5_ms_around_them():
    active = np.array([True, False, False, True, True, False])
    np.testing.assert_allclose(
        segmentation.frames_to_segments(active), [(0.0, 0.005), (0.025, 0.045)], atol=1e-12
    )


@pytest.mark.parametrize("gap", [3, 4, 5])
def test_a_gap_is_filled_when_it_is_shorter_than_min_silence(gap):
    settings = segmentation.SegmentSettings(0.5, 0.5, min_silence=0.04, min_speech=0.0)
    p = np.array([1.0] * 5 + [0.0] * gap + [1.0] * 5)
    assert segmentation.decide(p, settings).all() == (gap < 4)


def test_fades_are_raised_cosines_and_float32_stays():
    gain = segmentation.keep_segments(np.ones(100, np.float32), 1000, [(0.05, 0.06)], fade=0.02)
    assert gain.dtype == np.float32
    t = np.arange(30, 51)
    np.testing.assert_allclose(gain[30:51], 0.5 - 0.5 * np.cos(np.pi * (t - 30) / 20), atol=1e-6)


def test_order_of_segments_does_not_matter_and_integers_are_refused():
    x = np.ones(200)
    a = segmentation.keep_segments(x, 1000, [(0.02, 0.05), (0.1, 0.15)])
    np.testing.assert_array_equal(
        a, segmentation.keep_segments(x, 1000, [(0.1, 0.15), (0.02, 0.05)])
    )
    with pytest.raises(ShapeError, match="divide integer PCM"):
        segmentation.keep_segments(x.astype(np.int16), 1000, [])
    with pytest.raises(ShapeError, match=r"probabilities\[1\] is nan"):
        segmentation.decide(np.array([0.1, np.nan]))


def test_defaults_are_the_documented_ones():
    settings = segmentation.SegmentSettings()
    assert (settings.onset, settings.offset) == (0.5, 0.35)
    assert (settings.min_silence, settings.min_speech, settings.pad) == (0.15, 0.1, 0.0)
