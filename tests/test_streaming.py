"""Laws of scratchaudio/streaming.py: chunks without a seam, any length in constant memory."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio.errors import ConfigError, ShapeError
from scratchaudio.streaming import process_in_chunks


def run(process, x, chunk, overlap, sizes=None):
    """Feed x in blocks of the sizes given, over and over; join what comes out."""
    out = list(process_in_chunks(process, cut(x, sizes), chunk=chunk, overlap=overlap))
    assert all(0 < block.shape[-1] <= chunk for block in out)
    return np.concatenate(out, axis=-1)


def cut(x, sizes):
    start, i = 0, 0
    while start < x.shape[-1]:
        n = x.shape[-1] if sizes is None else sizes[i % len(sizes)]
        yield x[..., start : start + n]
        start, i = start + n, i + 1


def noise(shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def smeared(x):
    """Depends on the whole chunk, as a model does: no two chunks agree about a sample."""
    return x * (1 + np.square(x).mean()) + np.roll(x, 1, axis=-1)


def literal(process, x, chunk, overlap):
    """Sample by sample: the weighted mean of the chunks that hold it, by the formula."""
    N = x.shape[-1]
    starts = [0]
    while starts[-1] + chunk < N:
        starts.append(starts[-1] + chunk - overlap)
    y = np.zeros(x.shape)
    end = 0  # how far the chunks before reach
    for start in starts:
        stop = min(start + chunk, N)
        begin = max(0, stop - chunk)  # the last one reaches back
        result = process(x[..., begin:stop].copy())
        for n in range(start, stop):
            w = np.sin(np.pi / 2 * (n - start + 0.5) / overlap) ** 2 if n < end else 1.0
            y[..., n] = (1 - w) * y[..., n] + w * result[..., n - begin]
        end = stop
    return y


SETTINGS = st.integers(1, 23).flatmap(
    lambda chunk: st.tuples(st.just(chunk), st.integers(0, chunk // 2))
)
SIZES = st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(any)


@given(
    settings=SETTINGS,
    N=st.integers(1, 150),
    sizes=SIZES,
    leading=st.sampled_from([(), (1,), (3,), (2, 3)]),
    seed=st.integers(0, 99),
)
def test_against_the_formula_sample_by_sample(settings, N, sizes, leading, seed):
    chunk, overlap = settings
    x = noise((*leading, N), seed, np.float64)
    y = run(smeared, x, chunk, overlap, sizes)
    assert y.shape == x.shape
    assert np.abs(y - literal(smeared, x, chunk, overlap)).max() <= 1e-12 * (1 + np.abs(y).max())


@pytest.mark.parametrize("N", [1, 2, 4, 5, 6, 19, 20, 21, 34, 35, 36, 49, 50, 51, 500, 501, 65])
@pytest.mark.parametrize("overlap", [0, 1, 5, 10])
def test_as_many_samples_come_out_as_went_in(N, overlap):
    x = noise((2, N))
    np.testing.assert_array_equal(run(lambda chunk: chunk, x, 20, overlap, [7, 1, 33]), x)


@given(settings=SETTINGS, N=st.integers(1, 150), sizes=SIZES, seed=st.integers(0, 99))
def test_blocks_do_not_matter(settings, N, sizes, seed):
    x = noise((2, N), seed)
    whole = run(smeared, x, *settings)
    np.testing.assert_array_equal(run(smeared, x, *settings, sizes), whole)
    np.testing.assert_array_equal(run(smeared, x, *settings, [1]), whole)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_gain_is_exact_and_the_dtype_stays(dtype):
    x = noise((2, 333), dtype=dtype)
    y = run(lambda chunk: chunk * dtype(0.3), x, 50, 25, [64])
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, x * dtype(0.3))


def test_a_process_of_higher_precision_does_not_change_the_dtype():
    x = noise(99)
    y = run(lambda chunk: chunk.astype(np.float64) * 2, x, 20, 5)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, 2 * x)


def test_from_one_chunk_to_the_next_with_weights_that_sum_to_one():
    """Chunk k says k: the seam shows the weights, rising, symmetric, from near 0 to near 1."""
    count = iter(range(9))
    y = run(lambda x: np.full_like(x, next(count)), np.zeros(8 + 6 + 6), 8, 2)
    np.testing.assert_array_equal(y[:6], 0)
    np.testing.assert_array_equal(y[8:12], 1)
    np.testing.assert_array_equal(y[14:], 2)
    np.testing.assert_allclose(y[6:8], np.sin(np.pi / 8 * np.array([1, 3])) ** 2, atol=1e-15)
    count = iter(range(9))
    w = run(lambda x: np.full_like(x, next(count)), np.zeros(300), 200, 100)[100:200]
    assert (np.diff(w) > 0).all()
    np.testing.assert_allclose(w + w[::-1], 1, atol=1e-14)
    assert 0 < w[0] <= 1e-4


def test_a_later_chunk_hides_the_bad_end_of_the_one_before():
    """A process that is wrong by 1 at the ends of its chunk: the result is wrong by little."""

    def bad_ends(x):
        x[:3] += 1
        x[-3:] += 1
        return x

    y = run(bad_ends, np.zeros(1000), 100, 50)
    assert np.abs(y[3:-3]).max() <= 0.01
    np.testing.assert_array_equal(y[:3], 1)  # the ends of the recording have no neighbour
    np.testing.assert_array_equal(y[-3:], 1)


def test_chunks_are_long_and_each_sample_is_processed_about_once():
    lengths = []

    def counted(x):
        lengths.append(x.shape[-1])
        return x

    run(counted, noise((2, 100 + 3 * 80 + 1)), 100, 20, [9])
    assert lengths == [100] * 5, "the last chunk reaches back to full length"
    lengths.clear()
    run(counted, noise((2, 100 + 3 * 80)), 100, 20, [9])
    assert lengths == [100] * 4, "no chunk for nothing new"
    lengths.clear()
    run(counted, noise((2, 7)), 100, 20, [9])
    assert lengths == [7]


def test_stems_come_as_leading_axes():
    x = noise((2, 77))
    stems = run(lambda chunk: np.stack([0.25 * chunk, 0.75 * chunk, chunk]), x, 20, 6, [13])
    assert stems.shape == (3, 2, 77)
    np.testing.assert_array_equal(stems[2], x)
    np.testing.assert_allclose(stems[0] + stems[1], x, atol=1e-6)
    assert run(lambda chunk: np.stack([chunk] * 4), x[0], 20, 6).shape == (4, 77)


def test_neither_the_blocks_nor_a_reused_result_is_mixed_up():
    """Blocks are read-only and strided, and process returns the same array every time."""
    x = noise((2, 200))[:, ::2]
    x.flags.writeable = False
    before = x.copy()
    kept = {}

    def reusing(chunk):
        y = kept.setdefault(chunk.shape, np.empty_like(chunk))
        y[...] = chunk
        chunk[...] = 99
        return y

    np.testing.assert_array_equal(run(reusing, x, 30, 10, [17]), before)
    np.testing.assert_array_equal(x, before)

    def read_only(chunk):
        chunk.flags.writeable = False
        return chunk

    np.testing.assert_array_equal(run(read_only, x, 30, 10, [17]), before)


def test_memory_does_not_grow_with_the_length():
    """4,000 blocks, 64 MB: what is held stays that of a few chunks of 80 kB; results come early."""
    fed = 0

    def many():
        nonlocal fed
        for _ in range(4000):
            fed += 1
            yield np.ones((2, 2000), np.float32)

    tracemalloc.start()
    N, furthest = 0, 0
    for block in process_in_chunks(lambda x: x * 2, many(), chunk=10_000, overlap=1000):
        N += block.shape[-1]
        furthest = max(furthest, 2000 * fed - N)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert N == 8_000_000
    assert furthest <= 10_000 + 9_000 + 2_000
    assert peak <= 10 * 80_000


def test_nothing_in_nothing_out():
    assert list(process_in_chunks(abs, [], chunk=4, overlap=1)) == []
    assert list(process_in_chunks(abs, [np.zeros(0), np.zeros(0)], chunk=4, overlap=1)) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"chunk": 0, "overlap": 0}, "chunk must be an integer of at least 1, got 0"),
        ({"chunk": 8.0, "overlap": 0}, "chunk must be an integer of at least 1, got 8.0"),
        ({"chunk": 8, "overlap": 5}, "overlap must be an integer from 0 to half of chunk=8.*got 5"),
        ({"chunk": 7, "overlap": 4}, "got 4"),
        ({"chunk": 8, "overlap": -1}, "overlap must be .* got -1"),
        ({"chunk": 8, "overlap": 1.0}, "overlap must be .* got 1.0"),
        ({"chunk": 8, "overlap": True}, "overlap must be .* got True"),
    ],
)
def test_impossible_settings_raise_at_once(settings, message):
    with pytest.raises(ConfigError, match=message):
        process_in_chunks(abs, [], **settings)


ONE = [np.zeros((2, 9), np.float32)]


@pytest.mark.parametrize(
    ("process", "blocks", "message"),
    [
        (lambda x: x[..., :-1], ONE, r"must return the shape of its argument, \(2, 8\).*\(2, 7\)"),
        (lambda x: x[0], ONE, r"must return the shape of its argument, \(2, 8\).*returned \(8,\)"),
        (lambda x: x.T, ONE, r"returned \(8, 2\)"),
        (lambda x: np.full_like(x, np.nan), ONE, "what process returned must be finite"),
        (lambda x: x.astype(int), ONE, "what process returned must hold floating-point samples"),
        (lambda x: None, ONE, "what process returned must hold floating-point samples"),
        (
            abs,
            [*ONE, np.zeros((3, 9), np.float32)],
            r"\(2,\) .*; blocks\[1\] has \(3,\)",
        ),
        (abs, [*ONE, np.zeros(9, np.float32)], r"blocks\[1\] has \(\) and float32"),
        (abs, [*ONE, np.zeros((2, 9))], r"blocks\[1\] has \(2,\) and float64"),
        (abs, [*ONE, np.full((2, 9), np.inf)], r"blocks\[1\] must be finite"),
        (abs, [np.zeros(9, np.int16)], r"blocks\[0\] must hold floating-point samples"),
        (abs, [np.float32(1)], r"blocks\[0\] must hold at least one sample, got shape \(\)"),
    ],
)
def test_what_does_not_fit_is_named(process, blocks, message):
    with pytest.raises(ShapeError, match=message):
        list(process_in_chunks(process, blocks, chunk=8, overlap=2))


def test_stems_must_stay_as_many():
    count = iter([2, 3])
    stems = process_in_chunks(
        lambda x: np.stack([x] * next(count)), [np.zeros(9)], chunk=8, overlap=2
    )
    with pytest.raises(ShapeError, match=r"same leading axes .* \(2,\) before and \(3,\) now"):
        list(stems)
