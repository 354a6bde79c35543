"""Laws of scratchaudio/io.py: a sound file is right as a whole, or refused by name and reason."""

import os
import struct
import time

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio import io
from scratchaudio.audiofile import _ogg_crc
from scratchaudio.errors import (
    AudioFileError,
    CallOrderError,
    ConfigError,
    ScratchAudioError,
    ShapeError,
)
from scratchaudio.io import blocks, info, load, save, writer


def sound(C=2, N=1601, seed=0, dtype=np.float32):
    """Three tones and noise, peak below 0.9, another in each channel."""
    rng = np.random.default_rng(seed)
    t = np.arange(N) / 16000
    tones = [np.sin(2 * np.pi * f * t) for f in rng.uniform(100, 3000, (C, 1))[:, 0]]
    return (0.5 * np.array(tones) + 0.05 * rng.standard_normal((C, N))).astype(dtype)


# What is saved comes back ---------------------------------------------------------------------

STEPS = {"PCM_S8": 2**-7, "PCM_U8": 2**-7, "PCM_16": 2**-15, "PCM_24": 2**-23, "PCM_32": 2**-31}


@pytest.mark.parametrize(
    ("extension", "subtype"),
    [(".wav", name) for name in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", None)]
    + [(".flac", name) for name in ("PCM_S8", "PCM_16", "PCM_24", None)],
)
@pytest.mark.parametrize("shape", [(1601,), (1, 7), (2, 1601), (3, 40), (1,), (2, 1)])
def test_lossless_formats_return_the_nearest_code(tmp_path, extension, subtype, shape):
    x = sound(*(shape if len(shape) == 2 else (1, *shape))).reshape(shape)
    x.flat[-1] = -1.0  # full scale, which PCM holds exactly
    path = tmp_path / f"sound{extension}"
    save(path, x, 16000, subtype=subtype)
    y, sr = load(path)
    assert sr == 16000
    assert y.dtype == np.float32
    assert y.shape == (x if x.ndim == 1 or len(x) > 1 else x[0]).shape
    step = STEPS.get(subtype or "PCM_16", 0)
    # Half a step by rounding; 2^-25 because a float32 near 1 has no finer steps.
    assert np.abs(y - x.reshape(y.shape)).max() <= step / 2 + 2**-25


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24"])
def test_plus_one_becomes_the_largest_code(tmp_path, subtype):
    save(tmp_path / "one.wav", np.array([1.0, -1.0, 0.0]), 8000, subtype=subtype)
    y, _ = load(tmp_path / "one.wav")
    np.testing.assert_array_equal(y, np.float32([1 - STEPS[subtype], -1, 0]))


@pytest.mark.parametrize("extension", [".ogg", ".opus", ".mp3"])
@pytest.mark.parametrize("C", [1, 2])
def test_lossy_formats_keep_rate_length_alignment_and_sound(tmp_path, extension, C):
    t = np.arange(30011) / 16000
    x = 0.4 * np.array([np.sin(2 * np.pi * f * t) * np.minimum(1, t) for f in (440, 660)[:C]])
    path = tmp_path / f"sound{extension}"
    save(path, x if C == 2 else x[0], 16000)
    y, sr = load(path)
    assert sr == 16000
    assert y.shape == ((C, 30011) if C == 2 else (30011,))
    error = np.atleast_2d(y) - x
    assert np.sqrt(np.mean(error**2) / np.mean(x**2)) <= 0.1  # at a shift by one sample: 0.2


def test_samples_do_not_depend_on_the_container(tmp_path):
    x = sound()
    save(tmp_path / "a.wav", x, 22050)
    save(tmp_path / "a.flac", x, 22050)
    np.testing.assert_array_equal(load(tmp_path / "a.wav")[0], load(tmp_path / "a.flac")[0])


@given(
    C=st.integers(1, 3),
    N=st.integers(1, 3000),
    sr=st.sampled_from([8000, 11025, 44100, 96000]),
    seed=st.integers(0, 99),
)
def test_float_files_are_exact(tmp_path_factory, C, N, sr, seed):
    if C > N:
        N = C
    x = 3 * sound(C, N, seed)  # beyond 1: float files may
    path = tmp_path_factory.mktemp("float") / "x.wav"
    save(path, x, sr, subtype="FLOAT")
    y, rate = load(path)
    assert rate == sr
    np.testing.assert_array_equal(np.atleast_2d(y), x)


def test_integer_pcm_is_divided_by_its_full_scale(tmp_path):
    sf.write(tmp_path / "codes.wav", np.array([-32768, -1, 0, 1, 32767], np.int16), 8000)
    y, _ = load(tmp_path / "codes.wav")
    np.testing.assert_array_equal(y * 32768, [-32768, -1, 0, 1, 32767])


def test_save_takes_read_only_and_strided_arrays_and_changes_nothing(tmp_path):
    x = sound(4, 900)[::2, ::3]
    x.flags.writeable = False
    before = x.copy()
    save(tmp_path / "x.wav", x, 8000, subtype="FLOAT")
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(load(tmp_path / "x.wav")[0], before)


@pytest.mark.parametrize("name", ["silent.wav", "silent.flac", "silent.ogg"])
def test_silence_and_single_samples_load(tmp_path, name):
    save(tmp_path / name, np.zeros(1000), 16000)
    y, _ = load(tmp_path / name)
    assert y.shape == (1000,)
    assert not y.any()


# Nothing silently -----------------------------------------------------------------------------


def test_rate_and_channels_stay_unless_asked(tmp_path):
    x = sound(2, 4410)
    save(tmp_path / "x.wav", x, 44100, subtype="FLOAT")
    assert load(tmp_path / "x.wav")[1] == 44100
    assert load(tmp_path / "x.wav")[0].shape == (2, 4410)
    mono, _ = load(tmp_path / "x.wav", mono=True)
    np.testing.assert_allclose(mono, (x[0] + x[1]) / 2, atol=1e-7)
    y, sr = load(tmp_path / "x.wav", sr=16000)
    assert (y.shape, sr, y.dtype) == ((2, 1600), 16000, np.float32)


def test_load_resamples_the_sound_and_not_its_pitch(tmp_path):
    save(tmp_path / "x.wav", 0.5 * np.sin(2 * np.pi * 440 * np.arange(44100) / 44100), 44100)
    y, _ = load(tmp_path / "x.wav", sr=16000)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert np.abs(y - expected)[200:-200].max() <= 1e-4


def test_info_says_what_the_file_is(tmp_path):
    save(tmp_path / "x.flac", sound(2, 800), 16000, subtype="PCM_24")
    about = info(tmp_path / "x.flac")
    assert about == (16000, 2, 800, "FLAC", "PCM_24")
    assert about.seconds == 0.05


@pytest.mark.parametrize("name", ["x.wav", "x.flac", "x.ogg", "x.opus", "x.mp3"])
@pytest.mark.parametrize("seconds", [0.001, 0.013, 0.1, 99])
def test_blocks_are_the_file(tmp_path, name, seconds):
    save(tmp_path / name, sound(2, 4001), 16000)
    pieces = list(blocks(tmp_path / name, seconds))
    size = max(1, round(seconds * 16000))
    assert [p.shape[1] for p in pieces[:-1]] == [size] * (len(pieces) - 1)
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), load(tmp_path / name)[0])
    mono = np.concatenate(list(blocks(tmp_path / name, seconds, mono=True)))
    np.testing.assert_array_equal(mono, load(tmp_path / name, mono=True)[0])


def test_blocks_need_no_memory_for_the_length(tmp_path):
    import tracemalloc

    save(tmp_path / "long.wav", np.zeros(2_000_000), 16000)  # 8 MB as float32
    tracemalloc.start()
    assert sum(len(block) for block in blocks(tmp_path / "long.wav", 1)) == 2_000_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 1_000_000


@pytest.mark.parametrize("seconds", [0, -1, 3601, float("nan")])
def test_blocks_refuse_impossible_lengths_at_once(tmp_path, seconds):
    with pytest.raises(ConfigError, match="seconds must be above 0 and at most 3600, got"):
        blocks(tmp_path / "x.wav", seconds)


def test_blocks_refuse_a_missing_file_at_once(tmp_path):
    with pytest.raises(AudioFileError, match="gone.wav: No such file"):
        blocks(tmp_path / "gone.wav")


# Files that cannot be read --------------------------------------------------------------------


def refusal(path):
    with pytest.raises(AudioFileError) as caught:
        load(path)
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, ScratchAudioError)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_missing_folder_empty_and_raw(tmp_path):
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "x.raw").write_bytes(bytes(100))
    assert "No such file or directory" in refusal(tmp_path / "missing.wav")
    assert "it is a folder" in refusal(tmp_path)
    assert "it is empty (0 bytes)" in refusal(tmp_path / "empty.wav")
    assert "raw samples carry no rate or format" in refusal(tmp_path / "x.raw")
    assert "null" in refusal(f"{tmp_path}/zero\0byte.wav")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    assert "it is not a regular file" in refusal(tmp_path / "pipe.wav")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not bind root"
)
def test_an_unreadable_file_is_named(tmp_path):
    save(tmp_path / "x.wav", np.zeros(10), 8000)
    (tmp_path / "x.wav").chmod(0)
    assert "Permission denied" in refusal(tmp_path / "x.wav")


@pytest.mark.parametrize("content", [b"hello, this is no sound\n" * 40, b"\x89PNG\r\n\x1a\n" * 9])
def test_what_is_no_sound(tmp_path, content):
    (tmp_path / "text.wav").write_bytes(content)
    assert "it is not a sound file that libsndfile knows" in refusal(tmp_path / "text.wav")


@pytest.mark.parametrize("extension", [".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".au"])
@pytest.mark.parametrize("share", [0.4, 0.7, 0.95])
def test_truncated_files_say_what_is_there_and_what_was_promised(tmp_path, extension, share):
    path = tmp_path / f"x{extension}"
    if extension in (".aiff", ".au"):
        sf.write(path, sound(2, 30000).T, 16000)
    else:
        save(path, sound(2, 30000), 16000)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    message = refusal(path)
    assert "truncated" in message
    assert "promises" in message or "without a page marked as last" in message


def test_a_truncated_wav_reports_both_lengths(tmp_path):
    save(tmp_path / "x.wav", sound(1, 1000)[0], 16000)
    whole = (tmp_path / "x.wav").read_bytes()
    (tmp_path / "x.wav").write_bytes(whole[:-300])
    assert "promises 2000 bytes, 1700 are there" in refusal(tmp_path / "x.wav")


def test_no_samples(tmp_path):
    for extension in (".wav", ".aiff"):
        path = tmp_path / f"none{extension}"
        sf.write(path, np.zeros(0), 16000)
        assert "it holds no samples" in refusal(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_first_sample_that_is_no_number_is_named(tmp_path, bad):
    x = np.zeros((200_000, 2), np.float32)
    x[170_123, 1] = bad  # in the second block
    x[180_000, 0] = bad
    sf.write(tmp_path / "x.wav", x, 16000, subtype="FLOAT")
    assert "sample 170123 is not a finite number" in refusal(tmp_path / "x.wav")


def test_absurd_rates_and_channels(tmp_path):
    sf.write(tmp_path / "slow.wav", np.zeros(10), 12)
    sf.write(tmp_path / "fast.wav", np.zeros(10), 2_000_000_000)
    sf.write(tmp_path / "many.wav", np.zeros((10, 65)), 16000)
    assert "its sampling rate of 12 Hz is absurd" in refusal(tmp_path / "slow.wav")
    assert "its sampling rate of 2000000000 Hz is absurd" in refusal(tmp_path / "fast.wav")
    assert "its number of channels, 65, is absurd" in refusal(tmp_path / "many.wav")


def test_a_wav_written_to_a_pipe_has_no_length_and_is_read_to_its_end(tmp_path):
    save(tmp_path / "x.wav", sound(1, 1000)[0], 16000)
    whole = bytearray((tmp_path / "x.wav").read_bytes())
    expected, _ = load(tmp_path / "x.wav")
    whole[4:8] = whole[40:44] = b"\xff" * 4
    (tmp_path / "x.wav").write_bytes(whole)
    np.testing.assert_array_equal(load(tmp_path / "x.wav")[0], expected)


@pytest.mark.parametrize(
    ("byte", "value", "says"),
    [
        (24, 0x81, "1 channels of 16 bits at 16001 Hz"),  # yet 32000 bytes a second
        (22, 2, "2 channels of 16 bits at 16000 Hz"),  # yet 2 bytes a frame
        (34, 8, "1 channels of 8 bits at 16000 Hz"),
        (34, 15, "1 channels of 15 bits at 16000 Hz"),
        (20, 3, "format 3, 1 channels of 16 bits"),  # floats of 16 bits
        (20, 6, "format 6, 1 channels of 16 bits"),  # A-law has 8
    ],
)
def test_a_wav_header_that_contradicts_itself(tmp_path, byte, value, says):
    save(tmp_path / "x.wav", sound(1, 1000)[0], 16000)
    whole = bytearray((tmp_path / "x.wav").read_bytes())
    whole[byte] = value
    (tmp_path / "x.wav").write_bytes(whole)
    message = refusal(tmp_path / "x.wav")
    assert "its header contradicts itself" in message
    assert says in message


@pytest.mark.parametrize("wrong", [-1000, -400, -1, 1, 400])
def test_a_wav_whose_sizes_do_not_add_up(tmp_path, wrong):
    save(tmp_path / "x.wav", sound(1, 1000)[0], 16000)
    whole = bytearray((tmp_path / "x.wav").read_bytes())
    whole[40:44] = struct.pack("<I", 2000 + wrong)
    (tmp_path / "x.wav").write_bytes(whole)
    message = refusal(tmp_path / "x.wav")
    if wrong == -1:
        assert "its 1999 bytes of samples at byte 44 are no whole number of frames" in message
    else:
        assert "are there" in message if wrong > 0 else "are no chunk: a length" in message


def test_a_wav_with_its_samples_twice(tmp_path):
    save(tmp_path / "x.wav", sound(1, 1000)[0], 16000)
    whole = (tmp_path / "x.wav").read_bytes()
    (tmp_path / "x.wav").write_bytes(whole + whole[36:])
    assert "something was inserted" in refusal(tmp_path / "x.wav")


def test_flac_samples_are_held_against_their_digest(tmp_path):
    save(tmp_path / "x.flac", sound(1, 1000)[0], 16000)
    whole = bytearray((tmp_path / "x.flac").read_bytes())
    whole[30] ^= 1  # within the MD5
    (tmp_path / "x.flac").write_bytes(whole)
    assert "its samples are damaged: their MD5 is" in refusal(tmp_path / "x.flac")


@pytest.mark.parametrize("sr", [8000, 11025, 16000, 44100, 96000, 12_000, 70_010, 300_000])
def test_the_rate_of_a_flac_is_held_against_its_first_frame(tmp_path, sr):
    path = tmp_path / "x.flac"
    save(path, sound(1, 5000)[0], sr)
    assert load(path)[1] == sr
    if sr == 300_000:
        return  # more than a frame can state
    whole = path.read_bytes()
    for byte, bit in [(18, 3), (19, 0), (20, 4)]:
        damaged = bytearray(whole)
        damaged[byte] ^= 1 << bit
        path.write_bytes(damaged)
        assert f"its first frame {sr} Hz" in refusal(path)


@pytest.mark.parametrize("extension", [".ogg", ".opus"])
def test_every_page_of_an_ogg_is_checked(tmp_path, extension):
    path = tmp_path / f"x{extension}"
    save(path, sound(1, 60_000)[0], 16000)
    whole = path.read_bytes()
    starts, position = [], 0
    while position < len(whole):  # 27 bytes, the last of which counts the lengths that follow
        starts.append(position)
        count = whole[position + 26]
        position += 27 + count + sum(whole[position + 27 : position + 27 + count])
    assert len(starts) >= 4
    for number, start in enumerate(starts):
        damaged = bytearray(whole)
        damaged[start + 27 + whole[start + 26]] ^= 4  # the first byte after the lengths
        path.write_bytes(damaged)
        assert f"its page at byte {start} is damaged" in refusal(path)
        if number > 0:
            path.write_bytes(whole[:start])
            assert f"it ends at byte {start} without a page marked as last" in refusal(path)
    path.write_bytes(whole[: starts[2]] + whole[starts[3] :])
    assert f"its page at byte {starts[2]} is number 3 where 2 is due" in refusal(path)
    path.write_bytes(whole + whole[starts[-1] :])
    assert f"its page at byte {len(whole)} is number" in refusal(path)


def test_ogg_checksum_is_that_of_its_specification():
    """RFC 3533: generator 0x04c11db7, initial value and final XOR 0, bit by bit."""
    data = np.random.default_rng(0).bytes(57)
    register = 0
    for byte in data:
        register ^= byte << 24
        for _ in range(8):
            register = (register << 1) ^ (0x04C11DB7 if register & 0x80000000 else 0)
            register &= 0xFFFFFFFF
    assert _ogg_crc(data) == register


# 1,000 damaged files --------------------------------------------------------------------------

EVIL = (0, 1, 2, 3, 255, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
WAYS = ["cut", "field", "field", "header", "bit", "byte"]
WAYS += ["zero", "insert", "delete", "duplicate", "swap", "append"]
WAV_FIELDS = ((4, 4), (16, 4), (20, 2), (22, 2), (24, 4), (28, 4), (32, 2), (34, 2), (40, 4))


def mutate(data, rng):
    """Damage a file in one of eleven ways; returns the way and the bytes."""
    data = bytearray(data)
    a = int(rng.integers(len(data)))
    length = int(rng.integers(1, 40))
    b = min(a + length, len(data))
    way = rng.choice(WAYS)
    if way == "cut":
        del data[a:]
    elif way == "field":  # a number in the header, as those who attack parsers choose it
        offset, size = WAV_FIELDS[rng.integers(len(WAV_FIELDS))]
        if rng.uniform() < 0.3:
            offset = int(rng.integers(60))
        value = int(rng.choice(EVIL)) if rng.uniform() < 0.7 else int(rng.integers(2**32))
        data[offset : offset + size] = struct.pack("<I", value)[:size]
    elif way == "header":
        data[int(rng.integers(min(80, len(data))))] = int(rng.integers(256))
    elif way == "bit":
        data[a] ^= 1 << int(rng.integers(8))
    elif way == "byte":
        data[a] = int(rng.integers(256))
    elif way == "zero":
        data[a:b] = bytes(b - a)
    elif way == "insert":
        data[a:a] = rng.bytes(length)
    elif way == "delete":
        del data[a:b]
    elif way == "duplicate":
        data[a:a] = data[a:b]
    elif way == "swap":
        c = int(rng.integers(len(data)))
        data[a], data[c] = data[c], data[a]
    elif way == "append":
        data += rng.bytes(length)
    return str(way), bytes(data)


def read_wav_literally(data):
    """Samples and rate of an uncompressed WAV by the letter of the format; None for others."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return None
    position, fmt, body = 12, None, None
    while position + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, position)
        content = data[position + 8 : position + 8 + length]
        if name == b"fmt " and fmt is None:
            fmt = content
        if name == b"data" and body is None:
            body = content
        position += 8 + length + length % 2
    tag, channels, sr, _, _, bits = struct.unpack_from("<HHIIHH", fmt)
    if tag == 0xFFFE:
        tag = struct.unpack_from("<H", fmt, 24)[0]
    if tag not in (1, 3):
        return None
    width = bits // 8
    values = []
    for start in range(0, len(body) - len(body) % (width * channels), width):
        code = body[start : start + width]
        if tag == 3:
            values.append(struct.unpack("<f" if width == 4 else "<d", code)[0])
        elif width == 1:
            values.append((code[0] - 128) / 128)
        else:
            values.append(int.from_bytes(code, "little", signed=True) / 2 ** (bits - 1))
    samples = np.array(values, np.float32).reshape(-1, channels).T
    return (samples[0] if channels == 1 else samples), sr


def test_damaged_files_are_right_or_refused(tmp_path):
    """Every seeded mutation: the right samples or an AudioFileError, quickly and nothing else.

    SCRATCHAUDIO_DAMAGED=10000 tries more than the 1,000 of every run.
    """
    bases = {}
    for name, subtype, C in (
        ("16.wav", "PCM_16", 1),
        ("16s.wav", "PCM_16", 2),
        ("24.wav", "PCM_24", 2),
        ("8.wav", "PCM_U8", 1),
        ("f.wav", "FLOAT", 2),
        ("d.wav", "DOUBLE", 1),
        ("16.flac", "PCM_16", 1),
        ("24.flac", "PCM_24", 2),
        ("v.ogg", "VORBIS", 1),
        ("o.opus", "OPUS", 2),
    ):
        save(tmp_path / name, sound(C, 400) if C > 1 else sound(1, 400)[0], 16000, subtype=subtype)
        bases[name] = ((tmp_path / name).read_bytes(), load(tmp_path / name)[0])
    for subtype in ("MS_ADPCM", "ALAW"):
        sf.write(tmp_path / f"{subtype}.wav", sound(1, 400)[0], 16000, subtype=subtype)
        name = f"{subtype}.wav"
        bases[name] = ((tmp_path / name).read_bytes(), load(tmp_path / name)[0])

    rng = np.random.default_rng(20)
    names, right, refused = list(bases), 0, 0
    for trial in range(int(os.environ.get("SCRATCHAUDIO_DAMAGED", 1000))):
        name = names[trial % len(names)]
        way, data = mutate(bases[name][0], rng)
        path = tmp_path / f"damaged{os.path.splitext(name)[1]}"
        path.write_bytes(data)
        where = f"trial {trial}: {way} of {name}"
        start = time.perf_counter()
        try:
            x, sr = load(path)
        except AudioFileError as error:
            assert str(path) in str(error), where
            assert len(str(error)) > len(str(path)) + 20, where
            refused += 1
        except Exception as error:
            raise AssertionError(f"{where} raised {error!r}") from error
        else:
            right += 1
            assert np.isfinite(x).all() and x.size > 0, where
            assert 1000 <= sr <= 1_000_000, where
            if name.endswith(".wav"):
                literal = read_wav_literally(data)
                if literal is not None:
                    np.testing.assert_array_equal(x, literal[0], err_msg=where)
                    assert sr == literal[1], where
            else:
                np.testing.assert_array_equal(x, bases[name][1], err_msg=where)
                assert sr == 16000, where
        assert time.perf_counter() - start <= 2, f"{where} took long"
    assert right >= 0.05 * (right + refused), "the mutations must leave some files readable"
    assert refused >= 0.3 * (right + refused), "the mutations must damage"


# Files that cannot be written -----------------------------------------------------------------


def test_an_existing_file_stays_unless_overwritten(tmp_path):
    path = tmp_path / "x.wav"
    save(path, np.zeros(10), 8000)
    before = path.read_bytes()
    with pytest.raises(AudioFileError, match="it exists; pass overwrite=True to replace it"):
        save(path, np.ones(10), 8000)
    assert path.read_bytes() == before
    save(path, np.full(5, 0.5), 8000, overwrite=True)
    np.testing.assert_array_equal(load(path)[0], np.full(5, 0.5, np.float32))


@pytest.mark.parametrize(
    ("x", "name", "settings", "error", "message"),
    [
        (np.array([0, -1.5]), "x.wav", {}, ShapeError, r"x reaches 1.5, beyond .* divide it by"),
        (np.array([0, 1.5]), "x.ogg", {}, ShapeError, r'or save it as a .wav with subtype="FLOAT"'),
        (np.array([0, np.nan]), "x.wav", {}, ShapeError, r"x must be finite, but x\[1\] is nan"),
        (np.zeros(0), "x.wav", {}, ShapeError, "x must hold at least one sample"),
        (np.zeros(5, np.int16), "x.wav", {}, ShapeError, "x must hold floating-point samples"),
        (np.zeros((100, 2)), "x.wav", {}, ShapeError, r"channels first.*\(100, 2\), pass x.T"),
        (np.zeros((9, 3)), "x.wav", {}, ShapeError, r"channels first.*\(9, 3\), pass x.T"),
        (np.zeros((2, 3, 50)), "x.wav", {}, ShapeError, r"x must be \(N,\) or \(C, N\)"),
        (np.zeros((3, 50)), "x.mp3", {}, ShapeError, "holds at most 2 channels, got 3"),
        (np.zeros((9, 50)), "x.flac", {}, ShapeError, "holds at most 8 channels, got 9"),
        (np.zeros(5), "x.xyz", {}, ConfigError, "path must end in one of .wav, .flac"),
        (np.zeros(5), "x", {}, ConfigError, "path must end in one of .wav, .flac"),
        (np.zeros(5), "x.flac", {"subtype": "FLOAT"}, ConfigError, "subtype must be one of PCM_S8"),
        (np.zeros(5), "x.wav", {"sr": 8000.0}, ConfigError, "sr must be an integer"),
        (np.zeros(5), "x.wav", {"sr": 10}, ConfigError, "sr must be one of 1000 to 1000000 Hz"),
        (np.zeros(5), "x.opus", {"sr": 44100}, ConfigError, "8000, 12000, .*44100; resample first"),
        (np.zeros(5), "x.mp3", {"sr": 96000}, ConfigError, "sr must be one of 8000, 11025"),
        (np.zeros(5), "no/x.wav", {}, AudioFileError, "the folder .*no does not exist"),
    ],
)
def test_what_cannot_be_saved_leaves_nothing_behind(tmp_path, x, name, settings, error, message):
    with pytest.raises(error, match=message):
        save(tmp_path / name, x, **({"sr": 8000} | settings))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.wav"
    save(path, np.zeros(10), 8000)
    before = path.read_bytes()

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sf.SoundFile, "write", full)
    with pytest.raises(AudioFileError, match="x.wav: No space left on device"):
        save(path, np.ones(10), 8000, overwrite=True)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# Writing piece by piece -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "subtype"),
    [
        ("x.wav", "PCM_U8"),
        ("x.wav", "PCM_16"),
        ("x.wav", "PCM_24"),
        ("x.wav", "DOUBLE"),
        ("x.flac", None),
        ("x.ogg", None),
        ("x.opus", None),
        ("x.mp3", None),
    ],
)
@pytest.mark.parametrize("C", [1, 2])
def test_pieces_make_the_file_that_save_makes(tmp_path, name, subtype, C):
    x = sound(C, 40_001)[0 if C == 1 else slice(None)]
    save(tmp_path / name, x, 16000, subtype=subtype)
    whole, _ = load(tmp_path / name)
    with writer(tmp_path / name, 16000, C, overwrite=True, subtype=subtype) as write:
        for start, end in [(0, 1), (1, 3), (3, 20_000), (20_000, 40_001)]:
            write(x[..., start:end])
    pieces, _ = load(tmp_path / name)
    lossless = name.endswith((".wav", ".flac"))  # the others' encoders look at what comes at once
    assert np.abs(pieces - whole).max() <= (0 if lossless else 0.005)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_one_channel_may_come_as_two_dimensions_and_pieces_shorter_than_wide(tmp_path):
    x = sound(6, 30, dtype=np.float64)
    x.flags.writeable = False
    with writer(tmp_path / "six.wav", 8000, 6, subtype="DOUBLE", frames=30) as write:
        for start in range(0, 30, 2):
            write(x[:, start : start + 2])
    np.testing.assert_array_equal(load(tmp_path / "six.wav")[0], x.astype(np.float32))
    with writer(tmp_path / "one.wav", 8000, 1, subtype="DOUBLE") as write:
        write(x[:1])
        write(x[1])
    np.testing.assert_array_equal(load(tmp_path / "one.wav")[0], x[:2].ravel().astype(np.float32))


def test_the_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "x.wav"
    save(path, np.zeros(10), 8000)
    before = path.read_bytes()
    with writer(path, 8000, 1, overwrite=True) as write:
        write(np.ones(99))
        assert path.read_bytes() == before
    assert info(path).frames == 99
    with pytest.raises(CallOrderError, match="after the end of its with block: .*x.wav is closed"):
        write(np.ones(99))
    assert info(path).frames == 99


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(5, "another file"), ValueError("no")])
def test_an_error_on_the_way_leaves_no_half_file_and_is_not_renamed(tmp_path, error):
    path = tmp_path / "x.wav"
    with pytest.raises(type(error) if isinstance(error, Exception) else error) as caught:  # noqa: SIM117
        with writer(path, 8000, 1) as write:
            write(np.zeros(20_000))
            raise error
    assert "x.wav" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("pieces", "settings", "error", "message"),
    [
        ([np.zeros(5), np.array([0, -1.5])], {}, ShapeError, "x reaches 1.5, beyond the -1 to 1"),
        ([np.zeros(5), np.array([0, np.nan])], {}, ShapeError, r"x must be finite, but x\[1\]"),
        ([np.zeros(5), np.zeros(0)], {}, ShapeError, "x must hold at least one sample"),
        ([np.zeros(5, np.int16)], {}, ShapeError, "x must hold floating-point samples"),
        ([np.zeros((2, 5))], {}, ShapeError, r"x must be \(n,\) for 1 channels, .*\(2, 5\)"),
        ([np.zeros((1, 1, 5))], {}, ShapeError, r"x must be \(n,\) .*\(1, 1, 5\)"),
        ([np.zeros(5)], {"channels": 2}, ShapeError, r"x must be \(2, n\) for 2 .*\(1, 5\)"),
        ([np.zeros((5, 2))], {"channels": 2}, ShapeError, r"x must be \(2, n\) .*\(5, 2\)"),
        ([], {}, ShapeError, "x.wav: at least one samples were due, 0 were written"),
        ([np.zeros(5)] * 2, {"frames": 11}, ShapeError, "11 samples were due, 10 were written"),
        ([np.zeros(5)] * 2, {"frames": 9}, ShapeError, "9 samples were due, 10 were written"),
        ([], {"frames": 0}, ConfigError, "frames must be an integer of at least 1, got 0"),
        ([], {"channels": 0}, ConfigError, "channels must be an integer of at least 1, got 0"),
        ([], {"channels": 65}, ShapeError, "PCM_16 in WAV holds at most 64 channels, got 65"),
        ([], {"sr": 10}, ConfigError, "sr must be one of 1000 to 1000000 Hz"),
        ([], {"sr": 8000.0}, ConfigError, "sr must be an integer"),
        ([], {"subtype": "VORBIS"}, ConfigError, "subtype must be one of PCM_U8"),
        ([], {"path": "no/x.wav"}, AudioFileError, "the folder .*no does not exist"),
        ([], {"path": "x"}, ConfigError, "path must end in one of .wav, .flac"),
    ],
)
def test_what_cannot_be_written_leaves_nothing_behind(tmp_path, pieces, settings, error, message):
    settings = {"path": "x.wav", "sr": 8000, "channels": 1} | settings
    path = tmp_path / settings.pop("path")
    with pytest.raises(error, match=message), writer(path, **settings) as write:
        for piece in pieces:
            write(piece)
    assert list(tmp_path.iterdir()) == []


def test_a_writer_keeps_an_existing_file_unless_told(tmp_path):
    save(tmp_path / "x.wav", np.zeros(10), 8000)
    with (
        pytest.raises(AudioFileError, match="it exists; pass overwrite=True"),
        writer(tmp_path / "x.wav", 8000, 1),
    ):
        raise AssertionError("must not come here")
    assert info(tmp_path / "x.wav").frames == 10


@pytest.mark.parametrize("method", ["write", "close"])
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, monkeypatch, method):
    """The disk may be found full at any write, or when the last bytes leave the buffer."""
    genuine = getattr(sf.SoundFile, method)

    def full(self, *data):
        if self.mode == "w" and not self.closed:
            genuine(self, *data)
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sf.SoundFile, method, full)
    with (
        pytest.raises(AudioFileError, match="cannot write .*x.wav: No space left on device"),
        writer(tmp_path / "x.wav", 8000, 1) as write,
    ):
        write(np.ones(10))
    assert list(tmp_path.iterdir()) == []


def test_samples_that_the_disk_lost_are_noticed(tmp_path, monkeypatch):
    genuine = sf.SoundFile.write
    monkeypatch.setattr(sf.SoundFile, "write", lambda self, data: genuine(self, data[:-1]))
    with (
        pytest.raises(AudioFileError, match="x.wav: the disk did not take all samples"),
        writer(tmp_path / "x.wav", 8000, 1) as write,
    ):
        write(np.ones(10))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("subtype", "size"),
    [("PCM_U8", 1), ("PCM_16", 2), ("PCM_24", 3), ("PCM_32", 4), ("FLOAT", 4), ("DOUBLE", 8)],
)
def test_a_wav_ends_at_4_gib(tmp_path, monkeypatch, subtype, size):
    path, most = tmp_path / "x.wav", (2**32 - 2**12) // (3 * size)
    with (
        pytest.raises(AudioFileError, match="x.wav: its 4.0 GiB .* more than the 4 GiB that a"),
        writer(path, 8000, 3, subtype=subtype, frames=most + 1),
    ):
        raise AssertionError("must be refused before anything is written")
    monkeypatch.setattr(io, "_WAV_BYTES", 3 * size * 20)
    with writer(path, 8000, 3, subtype=subtype, frames=20) as write:
        write(np.zeros((3, 10)))
        write(np.zeros((3, 10)))
    assert info(path).frames == 20
    with (
        pytest.raises(AudioFileError, match="more than the 4 GiB"),
        writer(path, 8000, 3, subtype=subtype, overwrite=True) as write,
    ):
        write(np.zeros((3, 20)))
        write(np.zeros((3, 1)))
    assert info(path).frames == 20
    with writer(tmp_path / "x.flac", 8000, 3) as write:  # has no such end
        write(np.zeros((3, 500)))


def test_a_writer_needs_no_memory_for_the_length(tmp_path):
    import tracemalloc

    block = np.zeros((2, 10_000), np.float32)
    tracemalloc.start()
    with writer(tmp_path / "long.wav", 16000, 2) as write:
        for _ in range(200):  # 16 MB
            write(block)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 1_500_000
    assert info(tmp_path / "long.wav").frames == 2_000_000


def test_load_refuses_an_impossible_rate(tmp_path):
    save(tmp_path / "x.wav", np.zeros(10), 8000)
    with pytest.raises(ConfigError, match="sr must be an integer of at least 1, got 16000.5"):
        load(tmp_path / "x.wav", sr=16000.5)
