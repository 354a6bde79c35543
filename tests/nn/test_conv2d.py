"""Conv2d and ConvTranspose2d: against loops, each the other's transpose, gradients, laws, errors.

The axes (frequency, time) have settings of their own in all that is drawn.
"""

import itertools
from unittest import mock

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scratchaudio.errors import CallOrderError, ConfigError, ShapeError
from scratchaudio.nn import Conv1d, Conv2d, ConvTranspose2d, Linear, conv2d
from scratchaudio.nn.gradcheck import adjoint_error, check_gradients

NAMES = ("stride", "padding", "dilation")


def pairs(least, most):
    return st.tuples(st.integers(least, most), st.integers(least, most))


@st.composite
def cases(draw, most_taps=4, most_extra=5, **fixed):
    """Channels of the large and the small side, settings common to both layers, sizes, a seed.

    `room` cuts the batch into blocks, from one image each to all at once.
    """
    groups = fixed.get("groups") or draw(st.integers(1, 3))
    shared = {
        "kernel_size": draw(pairs(1, most_taps)),
        "stride": fixed.get("stride") or draw(pairs(1, 4)),
        "padding": fixed.get("padding") or draw(pairs(0, 3)),
        "dilation": draw(pairs(1, 3)),
    }
    size = tuple(
        max(1, d * (k - 1) + 1 - 2 * p) + draw(st.integers(0, most_extra))
        for k, d, p in zip(
            *(shared[n] for n in ("kernel_size", "dilation", "padding")), strict=True
        )
    )
    return {
        "n_large": groups * draw(st.integers(1, 3)),
        "n_small": groups * draw(st.integers(1, 3)),
        "shared": {**shared, "groups": groups},
        "size": size,
        "B": draw(st.integers(1, 3)),
        "room": draw(st.sampled_from([1, 500, 2**22])),
        "rng": np.random.default_rng(draw(st.integers(0, 2**32 - 1))),
    }


def made(case, bias=True):
    """A Conv2d from the large side to the small one, float64, and an input."""
    rng = case["rng"]
    layer = Conv2d(
        case["n_large"], case["n_small"], **case["shared"], bias=bias, rng=rng, dtype=np.float64
    )
    return layer, rng.standard_normal((case["B"], case["n_large"], *case["size"]))


def made_transposed(case, bias=True):
    """The ConvTranspose2d that gives back the large size, and an input."""
    conv, _ = made(case)
    sizes = conv.output_size(case["size"])
    s, p, d, _ = conv.grid
    left_over = tuple(
        (n + 2 * p - d * (k - 1) - 1) % s
        for n, k, s, p, d in zip(case["size"], conv.kernel_size, s, p, d, strict=True)
    )
    layer = ConvTranspose2d(
        case["n_small"],
        case["n_large"],
        **case["shared"],
        output_padding=left_over,
        bias=bias,
        rng=case["rng"],
        dtype=np.float64,
    )
    return layer, case["rng"].standard_normal((case["B"], case["n_small"], *sizes))


def in_blocks(case):
    return mock.patch.object(conv2d, "ROOM", case["room"])


def convolution_by_loops(x, W, b, stride, padding, dilation, groups):
    """Literally: for each output, all channels of its group and all taps, on a padded image."""
    (B, C, F, T), (n_out, width, kF, kT) = x.shape, W.shape
    assert width == C // groups
    (sF, sT), (pF, pT), (dF, dT) = stride, padding, dilation
    padded = np.zeros((B, C, F + 2 * pF, T + 2 * pT))
    padded[:, :, pF : pF + F, pT : pT + T] = x
    rows = range(0, F + 2 * pF - dF * (kF - 1), sF)
    frames = range(0, T + 2 * pT - dT * (kT - 1), sT)
    y = np.zeros((B, n_out, len(rows), len(frames)))
    taps = list(itertools.product(range(width), range(kF), range(kT)))
    for n, o, f, t in np.ndindex(*y.shape):
        first = o // (n_out // groups) * width  # channel that o's group begins with
        total = b[o]
        for c, i, j in taps:
            total += W[o, c, i, j] * padded[n, first + c, rows[f] + i * dF, frames[t] + j * dT]
        y[n, o, f, t] = total
    return y


def transposed_by_loops(x, W, b, stride, padding, output_padding, dilation, groups):
    """Every input lays its scaled kernel into a large output; then the edges are cut off."""
    (B, C, F, T), (_, width, kF, kT) = x.shape, W.shape
    (sF, sT), (pF, pT), (qF, qT), (dF, dT) = stride, padding, output_padding, dilation
    rows, frames = (F - 1) * sF + dF * (kF - 1) + 1 + qF, (T - 1) * sT + dT * (kT - 1) + 1 + qT
    y = np.zeros((B, width * groups, rows, frames))
    taps = list(itertools.product(range(width), range(kF), range(kT)))
    for n, c, f, t in np.ndindex(*x.shape):
        first = c // (C // groups) * width
        for o, i, j in taps:
            y[n, first + o, f * sF + i * dF, t * sT + j * dT] += x[n, c, f, t] * W[c, o, i, j]
    return (y + np.reshape(b, (-1, 1, 1)))[:, :, pF : rows - pF, pT : frames - pT]


# Values ------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(case=cases(most_extra=3))
def test_conv_equals_the_loops(case):
    layer, x = made(case)
    options = {name: case["shared"][name] for name in (*NAMES, "groups")}
    expected = convolution_by_loops(x, layer.W.value, layer.b.value, **options)
    with in_blocks(case):
        y = layer.forward(x)
    assert y.shape == expected.shape == (*expected.shape[:2], *layer.output_size(case["size"]))
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-13)


@settings(max_examples=40)
@given(case=cases(most_extra=3), data=st.data())
def test_transposed_conv_equals_the_loops(case, data):
    layer, x = made_transposed(case)
    options = {name: case["shared"][name] for name in (*NAMES, "groups")}
    layer.output_padding = tuple(
        data.draw(st.integers(q, max(s, d) - 1))
        for q, s, d in zip(
            layer.output_padding, options["stride"], options["dilation"], strict=True
        )
    )
    expected = transposed_by_loops(
        x, layer.W.value, layer.b.value, output_padding=layer.output_padding, **options
    )
    with in_blocks(case):
        y = layer.forward(x)
    assert y.shape == expected.shape == (*expected.shape[:2], *layer.output_size(x.shape[2:]))
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-13)


def test_one_number_stands_for_both_axes():
    x = np.random.default_rng(0).standard_normal((2, 3, 9, 8))
    for kind in (Conv2d, ConvTranspose2d):
        y, both = (
            kind(3, 2, k, stride=s, padding=p, dilation=d, rng=0).forward(x)
            for k, s, p, d in ((3, 2, 1, 2), ((3, 3), [2, 2], (1, 1), (2, 2)))
        )
        np.testing.assert_array_equal(y, both)


def test_a_kernel_of_one_row_is_conv1d_of_each_row():
    rng = np.random.default_rng(0)
    row = Conv1d(4, 6, 5, stride=2, padding=2, dilation=3, groups=2, rng=rng, dtype=np.float64)
    layer = Conv2d(4, 6, (1, 5), (1, 2), (0, 2), (1, 3), groups=2, dtype=np.float64)
    layer.W.value[...] = row.W.value[:, :, None]
    layer.b.value[...] = row.b.value
    x = rng.standard_normal((2, 4, 7, 23))
    y = layer.forward(x)
    for f in range(7):
        np.testing.assert_allclose(y[:, :, f], row.forward(x[:, :, f]), rtol=0, atol=1e-13)


def test_a_single_tap_is_a_linear_layer_of_the_channels():
    rng = np.random.default_rng(0)
    layer, linear = Conv2d(3, 5, 1, rng=rng, dtype=np.float64), Linear(3, 5, dtype=np.float64)
    linear.W.value[...] = layer.W.value[:, :, 0, 0].T
    linear.b.value[...] = layer.b.value
    x = rng.standard_normal((2, 3, 4, 7))
    expected = linear.forward(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(layer.forward(x), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", [Conv2d, ConvTranspose2d])
def test_without_bias_zeros_give_zeros_and_with_one_the_bias(kind):
    options = {"kernel_size": 2, "stride": (3, 4), "rng": 0}  # some of a sum's places get nothing
    x = np.zeros((2, 3, 5, 6), np.float32)
    layer = kind(3, 4, **options)
    y = layer.forward(x)
    np.testing.assert_array_equal(y, np.broadcast_to(layer.b.value[:, None, None], y.shape))
    without = kind(3, 4, **options, bias=False)
    assert without.b is None and len(without.parameters()) == 1
    np.testing.assert_array_equal(without.forward(x), 0)


# Each the other's transpose ----------------------------------------------------------------------


@given(case=cases(most_taps=5, most_extra=9))
def test_transposed_conv_is_the_transpose_of_conv(case):
    """<Conv x, y> = <x, ConvT y>, with the very same W, and each backward is the other forward."""
    conv, x = made(case, bias=False)
    transposed, y = made_transposed(case, bias=False)
    transposed.W = conv.W
    with in_blocks(case):
        assert conv.forward(x).shape == y.shape and transposed.forward(y).shape == x.shape
        assume(conv.forward(x).any())  # where all taps meet padding there is nothing to compare
        assert adjoint_error(conv.forward, transposed.forward, x, y) <= 1e-14
        np.testing.assert_array_equal(transposed.backward(x), conv.forward(x))
        np.testing.assert_array_equal(conv.backward(y), transposed.forward(y))


@given(case=cases(most_taps=5, most_extra=9))
def test_backward_is_the_transpose_in_the_weights_too(case):
    """As y is linear in W, <y(x, W), dy> = <W, dW> exactly."""
    for layer, x in (made(case, bias=False), made_transposed(case, bias=False)):
        y = layer.forward(x)
        dy = case["rng"].standard_normal(y.shape)
        with in_blocks(case):
            layer.backward(dy)
        size = np.linalg.norm(y) * np.linalg.norm(dy)
        assert abs((y * dy).sum() - (layer.W.value * layer.W.grad).sum()) <= 1e-14 * size + 1e-14


# Gradients ---------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(case=cases(most_taps=3, most_extra=2), bias=st.booleans())
def test_gradients_of_conv(case, bias):
    layer, x = made(case, bias)
    with in_blocks(case):
        assert check_gradients(layer, x, rng=case["rng"], may_vanish=("x", "W")) <= 1e-11


@settings(max_examples=20)
@given(case=cases(most_taps=3, most_extra=2), bias=st.booleans())
def test_gradients_of_transposed_conv(case, bias):
    layer, x = made_transposed(case, bias)
    with in_blocks(case):
        assert check_gradients(layer, x, rng=case["rng"], may_vanish=("x", "W")) <= 1e-11


def test_gradients_with_no_two_sizes_alike():
    """And none of them may vanish."""
    rng = np.random.default_rng(0)
    for kind in (Conv2d, ConvTranspose2d):
        layer = kind(6, 4, (2, 3), (3, 2), (0, 1), groups=2, rng=rng, dtype=np.float64)
        assert check_gradients(layer, rng.standard_normal((3, 6, 5, 7)), rng=rng) <= 1e-11


def test_gradients_add_up():
    layer = Conv2d(2, 3, 2, rng=0)
    x, dy = np.ones((2, 2, 3, 4), np.float32), np.ones((2, 3, 2, 3), np.float32)
    sums = []
    for _ in range(2):
        layer.forward(x)
        layer.backward(dy)
        sums.append([p.grad.copy() for p in layer.parameters()])
    for once, twice in zip(*sums, strict=True):
        np.testing.assert_array_equal(2 * once, twice)
    with pytest.raises(CallOrderError):
        layer.backward(dy)


# Laws --------------------------------------------------------------------------------------------


@given(case=cases(), transposed=st.booleans(), a=st.floats(-3, 3))
def test_linear_in_x(case, transposed, a):
    layer, x = (made_transposed if transposed else made)(case, bias=False)
    other = case["rng"].standard_normal(x.shape)
    expected = layer.forward(x) + a * layer.forward(other)
    np.testing.assert_allclose(layer.forward(x + a * other), expected, rtol=0, atol=1e-12)


@given(case=cases(stride=(1, 1)), shift=pairs(0, 3))
def test_a_shifted_image_gives_the_shifted_result(case, shift):
    """Without stride, and where no zeros are met: x is far larger than the image inside it."""
    layer, x = made(case)
    rows, frames = (
        d * (k - 1) + 4 for d, k in zip(layer.grid.dilation, layer.kernel_size, strict=True)
    )
    around = [(0, 0), (0, 0)]
    first, second = (
        np.pad(x, [*around, (rows + f, 2 * rows - f), (frames + t, 2 * frames - t)])
        for f, t in ((0, 0), shift)
    )
    y = layer.forward(first)
    shifted = np.roll(y, shift, axis=(2, 3))
    np.testing.assert_allclose(layer.forward(second), shifted, rtol=0, atol=1e-13)


@given(case=cases())
def test_a_stride_takes_every_sth_output(case):
    layer, x = made(case)
    s, without = layer.grid.stride, made({**case, "shared": {**case["shared"], "stride": 1}})[0]
    without.W, without.b = layer.W, layer.b
    every = without.forward(x)[:, :, :: s[0], :: s[1]]
    np.testing.assert_allclose(layer.forward(x), every, rtol=0, atol=1e-13)


@given(case=cases(), transposed=st.booleans())
def test_frequency_and_time_can_be_exchanged(case, transposed):
    layer, x = (made_transposed if transposed else made)(case)
    flipped = {
        name: value[::-1] if isinstance(value, tuple) else value
        for name, value in case["shared"].items()
    }
    other = type(layer)(layer.n_in, layer.n_out, **flipped, dtype=np.float64)
    other.W.value, other.b = layer.W.value.swapaxes(2, 3), layer.b
    if transposed:
        other.output_padding = layer.output_padding[::-1]
    expected = layer.forward(x).swapaxes(2, 3)
    np.testing.assert_allclose(other.forward(x.swapaxes(2, 3)), expected, rtol=0, atol=1e-13)


@given(case=cases(groups=3))
def test_groups_do_not_see_each_other(case):
    for layer, x in (made(case), made_transposed(case)):
        parts = zip(
            np.split(x, 3, axis=1),
            np.split(layer.W.value, 3),
            np.split(layer.b.value, 3),
            strict=True,
        )
        alone = []
        for x_part, W, b in parts:
            settings_of_part = {**case["shared"], "groups": 1}
            part = type(layer)(layer.n_in // 3, layer.n_out // 3, **settings_of_part)
            part.W.value, part.b.value = W, b
            if isinstance(layer, ConvTranspose2d):
                part.output_padding = layer.output_padding
            alone.append(part.forward(x_part))
        expected = np.concatenate(alone, axis=1)
        np.testing.assert_allclose(layer.forward(x), expected, rtol=0, atol=1e-13)


def test_images_of_a_batch_do_not_see_each_other():
    """They are strung together inside: what one holds, be it infinite, must stay with it."""
    rng = np.random.default_rng(0)
    for kind in (Conv2d, ConvTranspose2d):
        layer = kind(2, 3, (5, 3), 2, (2, 1), rng=rng, dtype=np.float64)
        x = rng.standard_normal((4, 2, 7, 5))
        y = layer.forward(x)
        dy = rng.standard_normal(y.shape)
        dx = layer.backward(dy)
        other, other_dy = x.copy(), dy.copy()
        other[2] = np.nan
        other_dy[2] = np.nan
        for place in (0, 1, 3):
            np.testing.assert_array_equal(layer.forward(other)[place], y[place])
            np.testing.assert_array_equal(layer.backward(other_dy)[place], dx[place])
        assert np.isnan(layer.forward(other)[2]).all()


def test_as_many_images_at_a_time_as_have_room():
    """The largest arrays are the columns and what the kernels make of them."""
    x = np.ones((6, 1, 10, 8), np.float32)
    # 3 frequency taps give 10 + 2 rows, of 8 frames; a column has 3 numbers, kernels 3 times n_out.
    for n_out, largest in ((1, 12 * 8 * 3), (2, 12 * 8 * 6)):
        layer = Conv2d(1, n_out, 3, padding=1, rng=0)
        for images in (1, 2, 4, 6):
            for room in (images * largest, (images + 1) * largest - 1):
                spy = mock.patch.object(conv2d, "_gather", wraps=conv2d._gather)
                with mock.patch.object(conv2d, "ROOM", room), spy as gather:
                    layer.forward(x)
                assert [len(call.args[0][0][0]) for call in gather.call_args_list] == {
                    1: [1] * 6,
                    2: [2] * 3,
                    4: [4, 2],
                    6: [6],
                }[images]


def test_it_finds_a_pattern_where_it_lies():
    """A kernel that is the pattern answers most where the pattern is: what a convolution is for."""
    rng = np.random.default_rng(0)
    pattern = rng.standard_normal((3, 4))
    x = 0.1 * rng.standard_normal((1, 1, 20, 30))
    x[0, 0, 11:14, 17:21] += pattern
    layer = Conv2d(1, 1, (3, 4), bias=False, dtype=np.float64)
    layer.W.value[0, 0] = pattern
    y = layer.forward(x)[0, 0]
    assert np.unravel_index(y.argmax(), y.shape) == (11, 17)


def test_it_learns_a_kernel_from_examples():
    rng = np.random.default_rng(0)
    teacher, student = (Conv2d(2, 3, 3, padding=1, rng=seed) for seed in (0, 1))
    x = rng.standard_normal((4, 2, 8, 7)).astype(np.float32)
    target, losses = teacher.eval().forward(x), []
    for _ in range(60):
        student.zero_grad()
        error = student.forward(x) - target
        losses.append(float((error**2).mean()))
        student.backward(2 * error / error.size)
        for parameter in student.parameters():
            parameter.value -= 1.0 * parameter.grad
    assert losses[-1] <= losses[0] / 100


# Initial weights and errors ----------------------------------------------------------------------


def test_initial_weights_are_uniform_with_torch_s_bound():
    for kind, fan_in in ((Conv2d, 8 * 4 * 5), (ConvTranspose2d, 12 * 4 * 5)):
        layer = kind(16, 24, (4, 5), groups=2, rng=0)
        for parameter in layer.parameters():
            assert 0.9 <= abs(parameter.value).max() * fan_in**0.5 <= 1
        assert layer.W.value.std() == pytest.approx((3 * fan_in) ** -0.5, rel=0.05)
        assert layer.W.value.dtype == layer.b.value.dtype == np.float32


def test_shapes_of_the_weights_are_torch_s():
    assert Conv2d(6, 4, (3, 5), groups=2).W.value.shape == (4, 3, 3, 5)
    assert ConvTranspose2d(6, 4, (3, 5), groups=2).W.value.shape == (6, 2, 3, 5)


@pytest.mark.parametrize("kind", [Conv2d, ConvTranspose2d])
def test_impossible_settings(kind):
    for name, least in (("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
        for wrong in (
            least - 1,
            -3,
            1.5,
            True,
            (2,),
            (2, 2, 2),
            (2, least - 1),
            (2, 1.5),
            "2",
            None,
        ):
            given_settings = {"kernel_size": 3, name: wrong}
            message = f"{name} must be an integer of at least {least}, or a pair of them .frequency"
            with pytest.raises(ConfigError, match=message):
                kind(2, 2, **given_settings)
    for name in ("n_in", "n_out", "groups"):
        for wrong in (0, -1, 2.0, True):
            sizes = {"n_in": 4, "n_out": 4, "groups": 1, name: wrong}
            with pytest.raises(ConfigError, match=f"{name} must be an integer of at least 1, got"):
                kind(**sizes, kernel_size=3)
    for n_in, n_out in ((4, 3), (3, 4)):
        message = f"groups must divide n_in and n_out, got groups=2, n_in={n_in}, n_out={n_out}"
        with pytest.raises(ConfigError, match=message):
            kind(n_in, n_out, 3, groups=2)


def test_impossible_output_padding():
    for wrong in (2, (0, 2), (3, 0)):
        with pytest.raises(ConfigError, match="output_padding must be below the larger of stride"):
            ConvTranspose2d(2, 2, 3, stride=2, output_padding=wrong)
    with pytest.raises(ConfigError, match="output_padding must be an integer of at least 0"):
        ConvTranspose2d(2, 2, 3, output_padding=-1)
    ConvTranspose2d(2, 2, 3, stride=(2, 1), dilation=(1, 4), output_padding=(1, 3))


@pytest.mark.parametrize("kind", [Conv2d, ConvTranspose2d])
def test_wrong_inputs(kind):
    layer = kind(3, 2, 2)
    for shape in ((3, 5, 5), (2, 4, 5, 5), (0, 3, 5, 5), (2, 3, 0, 5), (2, 3, 5, 0), (2, 3, 5)):
        message = rf"x of {kind.__name__} must have shape \(batch, 3, .*got \({shape[0]}, "
        with pytest.raises(ShapeError, match=message):
            layer.forward(np.ones(shape, np.float32))


def test_too_small_inputs():
    for size in ((4, 9), (9, 2)):
        with pytest.raises(
            ShapeError, match=r"x of Conv2d is too small: \(3, 2\) taps.*do not fit"
        ):
            Conv2d(1, 1, (3, 2), dilation=(3, 4), padding=(1, 1)).forward(np.ones((1, 1, *size)))
    Conv2d(1, 1, (3, 2), dilation=(3, 4), padding=(1, 1)).forward(np.ones((1, 1, 5, 3)))
    for padding in ((2, 0), (0, 2)):
        with pytest.raises(ShapeError, match="x of ConvTranspose2d is too small: padding"):
            ConvTranspose2d(1, 1, 3, padding=padding).forward(np.ones((1, 1, 1, 1)))


@pytest.mark.parametrize("kind", [Conv2d, ConvTranspose2d])
def test_a_gradient_of_another_shape(kind):
    layer = kind(3, 2, 2)
    y = layer.forward(np.ones((2, 3, 5, 6), np.float32))
    with pytest.raises(ShapeError, match=r"dy must have shape \(2, 2, .*like forward's y, got"):
        layer.backward(y[:, :, 1:])
