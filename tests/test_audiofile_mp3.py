"""Laws of scratchaudio/audiofile.py for MP3: a file without a tag is decoded to its last frame."""

import io as python_io
import time
import tracemalloc

import numpy as np
import pytest
import soundfile as sf

from scratchaudio import io
from scratchaudio.audiofile import check_mp3
from scratchaudio.errors import AudioFileError
from scratchaudio.io import blocks, info, load

DELAY = 576 + 529  # samples: LAME's and the decoder's, which its tag tells to drop
ATOL = 1e-6  # a decoder that starts elsewhere rounds differently

KBITS_1 = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320]
KBITS_2 = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160]


def sound(sr, C, N, seed=0):
    """Tones and noise that come and go, so that a variable bitrate does vary."""
    t = np.arange(N) / sr
    rng = np.random.default_rng(seed)
    tones = 0.3 * np.sin(2 * np.pi * np.outer([440, 660][:C], t)) * (np.sin(9 * t) > 0)
    return tones + 0.05 * rng.standard_normal((C, N)) * (np.sin(14 * t) > 0)


def encode(path, sr=44100, C=2, mode="CONSTANT", N=30_000, seed=0):
    """Write an mp3; returns its bytes without the tag, and where the frames it promises begin."""
    with sf.SoundFile(path, "w", sr, C, bitrate_mode=mode, compression_level=0.5) as file:
        file.write(sound(sr, C, N, seed).T)
    whole = path.read_bytes()
    tag = whole.index(b"Info" if mode == "CONSTANT" else b"Xing")
    frames = int.from_bytes(whole[tag + 8 : tag + 12], "big")
    bare = whole[whole.index(whole[:2], 4) :]
    starts, at = [], 0
    while at < len(bare):
        starts.append(at)
        bits = 144 * KBITS_1[bare[at + 2] >> 4] if sr >= 32000 else 72 * KBITS_2[bare[at + 2] >> 4]
        at += 1000 * bits // sr + (bare[at + 2] >> 1 & 1)
    assert len(starts) == frames > 10 and at == len(bare)
    return bare, starts


def refusal(path):
    with pytest.raises(AudioFileError) as caught:
        info(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.mp3"


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE", "AVERAGE"])
@pytest.mark.parametrize("C", [1, 2])
@pytest.mark.parametrize(("sr", "samples"), [(44100, 1152), (22050, 576)])
def test_without_its_tag_a_file_has_the_same_samples(path, mode, C, sr, samples):
    bare, starts = encode(path, sr, C, mode)
    expected = np.atleast_2d(load(path)[0])
    assert expected.shape == (C, 30_000) and np.abs(expected).max() > 0.2
    path.write_bytes(bare)
    x, rate = load(path)
    assert info(path) == (rate, C, x.shape[-1], "MP3", "MPEG_LAYER_III")
    shape = (len(starts) * samples,) if C == 1 else (2, len(starts) * samples)
    assert (rate, x.shape, x.dtype) == (sr, shape, np.float32)
    x = np.atleast_2d(x)
    np.testing.assert_allclose(x[:, DELAY : DELAY + 30_000], expected, rtol=0, atol=ATOL)
    np.testing.assert_array_equal(
        np.concatenate([np.atleast_2d(block) for block in blocks(path, 0.1)], axis=1), x
    )
    if mode == "VARIABLE":  # what this file is about
        assert sf.info(path).frames < 0.95 * x.shape[1], "libsndfile guesses well: a poor test"


@pytest.mark.parametrize("sr", io._CODEC_RATES["MPEG_LAYER_III"])
def test_the_frames_of_every_rate_are_counted(path, sr):
    bare, starts = encode(path, sr, 1, "VARIABLE", 13_000)
    path.write_bytes(bare)
    x, rate = load(path)
    assert rate == sr and info(path).frames == len(x) == len(starts) * (1152, 576)[sr < 32000]


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize(("sr", "samples"), [(44100, 1152), (22050, 576)])
def test_a_cut_frame_at_the_end_is_left_out_and_all_whole_ones_are_there(path, mode, sr, samples):
    bare, starts = encode(path, sr, 2, mode)
    path.write_bytes(bare)
    x, _ = load(path)
    last = starts[-1]
    for end in (len(bare) - 1, last + 20, last + 4, last + 3, last + 1, last):
        path.write_bytes(bare[:end])
        y, _ = load(path)
        assert info(path).frames == y.shape[1] == (len(starts) - 1) * samples
        np.testing.assert_array_equal(y, x[:, : y.shape[1]])
    path.write_bytes(bare[: last - 1])
    assert load(path)[0].shape[1] == info(path).frames == (len(starts) - 2) * samples


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("C", [1, 2])
@pytest.mark.parametrize(("sr", "samples"), [(44100, 1152), (22050, 576)])
def test_a_file_that_begins_within_a_frame(tmp_path, mode, C, sr, samples):
    """The first frames lack bits that stood before: silence, then as from the whole file."""
    path = tmp_path / ("x.mp3" if C == 1 else "x.MP3")
    bare, starts = encode(path, sr, C, mode)
    path.write_bytes(bare)
    whole = np.atleast_2d(load(path)[0])
    for k, within in [(2, 1), (5, 40), (9, -1)]:
        path.write_bytes(bare[starts[k] + within :])
        x = np.atleast_2d(load(path)[0])
        k += within > 0  # the first whole frame
        assert info(path).frames == x.shape[1] == (len(starts) - k) * samples
        assert np.abs(x).max() <= 1.5 * np.abs(whole).max(), "a bang of bits that were not there"
        same = x.shape[1] - 7 * 1152
        np.testing.assert_allclose(x[:, -same:], whole[:, -same:], rtol=0, atol=ATOL)
        # libsndfile alone guesses the length, not the samples.
        with sf.SoundFile(python_io.BytesIO(bare[starts[k] :])) as file:
            guess = file.read(3000, dtype="float32", always_2d=True).T
        assert guess.shape[1] == 3000
        np.testing.assert_allclose(x[:, :3000], guess, rtol=0, atol=ATOL)


def id3v2(body):
    return b"ID3\x04\0\0" + bytes(len(body) >> bits & 127 for bits in (21, 14, 7, 0)) + body


def ape(body):
    fields = (2000).to_bytes(4, "little") + (len(body) + 32).to_bytes(4, "little") + bytes(16)
    return b"APETAGEX" + fields + body + b"APETAGEX" + fields


def test_tags_and_pictures_are_no_sound(path):
    """The picture is an mp3 itself: its frames must not be counted."""
    picture, _ = encode(path, 44100, 2, "AVERAGE", 90_000, seed=1)
    bare, starts = encode(path, 44100, 2, "VARIABLE")
    assert len(picture) > 9000
    path.write_bytes(bare)
    x, _ = load(path)
    v1 = b"TAG" + b"a title".ljust(125, b"\0")
    for name, content in {
        "ID3v2": id3v2(picture) + bare,
        "two ID3v2": id3v2(b"title") + id3v2(picture) + bare,
        "padding behind ID3v2": id3v2(picture) + bytes(9000) + bare,
        "ID3v1": bare + v1,
        "APE": bare + ape(picture),
        "all": id3v2(picture) + bare + ape(picture) + v1,
        "APE in front": ape(picture) + bare,
        "ID3v2 between": bare[: starts[9]] + id3v2(picture) + bare[starts[9] :],
    }.items():
        path.write_bytes(content)
        y, _ = load(path)
        assert info(path).frames == y.shape[1] == len(starts) * 1152, name
        np.testing.assert_array_equal(y, x, err_msg=name)


@pytest.mark.parametrize("length", [1, 417, 4000])
@pytest.mark.parametrize("kind", ["noise", "zeros", "ones", "layer II", "no version"])
def test_junk_between_frames_is_skipped(path, length, kind):
    bare, starts = encode(path, 44100, 2, "VARIABLE")
    path.write_bytes(bare)
    x, _ = load(path)
    junk = {
        "noise": np.random.default_rng(length).bytes(length),
        "zeros": bytes(length),
        "ones": b"\xff" * length,
        "layer II": (b"\xff\xfd\x90\x64".ljust(417, b"\0") * 10)[:length],
        "no version": (b"\xff\xeb\x90\x64".ljust(130, b"\0") * 31)[:length],
    }[kind]
    path.write_bytes(
        bare[: starts[5]] + junk + bare[starts[5] : starts[17]] + junk + bare[starts[17] :] + junk
    )
    y, _ = load(path)
    assert info(path).frames == y.shape[1] == len(starts) * 1152
    np.testing.assert_array_equal(y, x)


def test_more_than_junk_may_have_been_sound(path):
    bare, starts = encode(path)
    half = starts[12]
    for hole in (bytes(5000), np.random.default_rng(0).bytes(5000)):
        path.write_bytes(bare[:half] + hole + bare[half:])
        assert f"bytes from byte {half} on no frame begins where one should" in refusal(path)
        path.write_bytes(bare[:half] + hole)
        assert f"it is damaged: among the 5000 bytes from byte {half} on" in refusal(path)


@pytest.mark.parametrize(
    ("sr", "C", "says"), [(44100, 1, "44100 Hz and 1"), (22050, 2, "22050 Hz and 2")]
)
def test_a_file_that_changes_its_rate_or_channels_is_refused(path, sr, C, says):
    other, _ = encode(path, sr, C)
    bare, _ = encode(path, 44100, 2)
    path.write_bytes(bare + other)
    assert (
        f"its frame at byte {len(bare)} has {says} channels, its first one 44100 Hz and 2"
        in refusal(path)
    )


@pytest.mark.parametrize("front", [b"", id3v2(bytes(200_000))])
@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_a_tag_that_promises_more_than_is_there_stays_an_error(path, mode, front):
    encode(path, 44100, 2, mode)
    whole = front + path.read_bytes()
    path.write_bytes(whole)
    assert info(path).frames == load(path)[0].shape[1] == 30_000, "a tag knows delay and padding"
    path.write_bytes(whole[:-3000])
    assert info(path).frames == 30_000
    with pytest.raises(AudioFileError, match=r"x\.mp3.*promises 30000 samples per channel") as said:
        load(path)
    assert "could be decoded" in str(said.value) or "decoding failed" in str(said.value)


def test_a_tag_without_a_number_does_not_count_as_one(path):
    bare, starts = encode(path, 44100, 2, "VARIABLE")
    whole = bytearray(path.read_bytes())
    whole[whole.index(b"Xing") + 7] &= 0xFE
    path.write_bytes(whole)
    x, _ = load(path)
    assert info(path).frames == x.shape[1] == (len(starts) + 1) * 1152
    path.write_bytes(bare)
    np.testing.assert_allclose(x[:, 1152:], load(path)[0], rtol=0, atol=ATOL)


@pytest.mark.parametrize(
    "content",
    [
        b"hello, this is no sound\n" * 9000,
        np.random.default_rng(0).bytes(200_000),
        id3v2(b"a title") + b"no sound " * 20,
        b"\xff" * 70_000,
        b"\xff\xfb",
    ],
    ids=["text", "noise", "tag and text", "ones", "half a header"],
)
def test_what_is_no_mp3_is_said(path, content):
    path.write_bytes(content)
    start = time.perf_counter()
    assert "it is not a sound file that libsndfile knows" in refusal(path)
    assert time.perf_counter() - start <= 2


def test_a_name_does_not_matter_to_a_file_that_begins_as_an_mp3(tmp_path, path):
    bare, starts = encode(path, 44100, 1, "VARIABLE")
    for content in (bare, id3v2(b"a title") + bare):
        (tmp_path / "recording").write_bytes(content)
        assert info(tmp_path / "recording").frames == len(starts) * 1152


def test_frames_may_carry_checksums(path):
    slow, fast = b"\xff\xfa\x90\x64".ljust(417, b"\0"), b"\xff\xfa\xe0\x64".ljust(1044, b"\0")
    path.write_bytes(slow * 20 + fast * 20)
    x, _ = load(path)
    assert x.shape == (2, 40 * 1152) and not x.any()


def test_one_frame_is_enough(path):
    bare, starts = encode(path)
    path.write_bytes(bare[: starts[1]])
    assert load(path)[0].shape == (2, 1152)
    assert info(path).frames == 1152


def test_an_hour_is_walked_quickly_and_in_little_memory(path):
    bare, starts = encode(path, 44100, 1, "VARIABLE")
    once = 140_000 // len(starts) + 1
    path.write_bytes(bare * once)
    start = time.perf_counter()
    assert info(path).frames == len(starts) * once * 1152
    assert time.perf_counter() - start <= 3  # about 0.3 s
    path.write_bytes(bare * (once // 20))
    tracemalloc.start()
    info(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 4 * 200_000 and peak <= 200_000


def test_what_is_decoded_reads_as_a_file_and_is_closed(path):
    bare, starts = encode(path)
    path.write_bytes(bare[: starts[9]] + bytes(99) + bare[starts[9] :])
    with open(path, "rb") as file:
        frames = check_mp3(str(path), file, len(bare) + 99)
    file = python_io.BufferedReader(frames)
    whole = file.read()
    assert whole.endswith(bare) and b"Xing" in whole[:40] and len(whole) < len(bare) + 1000
    for offset, whence, expected in [
        (-700, python_io.SEEK_END, whole[-700:]),
        (starts[9], python_io.SEEK_SET, whole[starts[9] :]),
        (0, python_io.SEEK_CUR, b""),
    ]:
        file.seek(offset, whence)
        assert file.read() == expected
    file.seek(0)
    stream = io._Stream(file)
    assert not frames.file.closed
    stream.close()
    assert frames.file.closed and stream.closed


def test_damaged_files_are_as_long_as_said_or_refused(path):
    rng = np.random.default_rng(3)
    bare, starts = encode(path, 22050, 2, "VARIABLE")
    right = 0
    for trial in range(60):
        data = bytearray(bare)
        for _ in range(rng.integers(1, 4)):
            a, length = int(rng.integers(len(data))), int(rng.integers(1, 600))
            if trial % 3 == 0:
                del data[a : a + length]
            else:
                data[a : a + length * (trial % 3 - 1)] = rng.bytes(length)
        path.write_bytes(data)
        try:
            x, _ = load(path)
        except AudioFileError as error:
            assert str(path) in str(error), trial
        else:
            right += 1
            assert x.shape[1] == info(path).frames <= (len(starts) + 1) * 576, trial
            assert np.isfinite(x).all(), trial
    assert right >= 30
