import io
import json
import os
import stat
import struct
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kill_target import Momentum, NoisyLinear

from scratchaudio import checkpoint as checkpoint_module
from scratchaudio.checkpoint import DTYPES, load_checkpoint, save_checkpoint
from scratchaudio.errors import CheckpointError, ConfigError
from scratchaudio.nn.layer import Layer, Parameter

# Limits of a process, named pipes and Linux's /proc: this file needs a POSIX system.
resource = pytest.importorskip("resource")

SETTINGS = {"n_hidden": 64, "noises": ["white", "hum"], "window": {"name": "hann", "db": -3.5}}
PROGRESS = {"history": [{"epoch": 1, "loss": 0.1 + 0.2}, {"epoch": 2, "loss": float("nan")}]}


class Holder(Layer):
    """A model with exactly the arrays it is given."""

    def __init__(self, **arrays):
        for name, array in arrays.items():
            setattr(self, name, Parameter(array))


def make_run(seed=1, n_out=3):
    """A model, its optimiser and its generator, none of them in their initial state."""
    rng = np.random.default_rng(seed)
    model = NoisyLinear(2, n_out, rng)
    optimizer = Momentum(model.parameters())
    for parameter in model.parameters():
        parameter.grad[...] = rng.standard_normal(parameter.value.shape)
    optimizer.step()
    return model, optimizer, rng


def save_run(path, seed=1):
    model, optimizer, rng = make_run(seed)
    best = {name: value + 1 for name, value in model.state_dict().items()}
    save_checkpoint(path, model, optimizer, rng, SETTINGS, PROGRESS, best)
    return model, optimizer, rng


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.npz"


def signed(body):
    """The bytes with a right digest: what someone can write who knows the format."""
    return bytes(body) + sha256(body).hexdigest().encode()


def assemble(manifest, arrays=None):
    """A file framed as `save_checkpoint` does, around any manifest (or its bytes) and arrays."""
    with pytest.MonkeyPatch.context() as patch:
        if isinstance(manifest, bytes):
            patch.setattr(checkpoint_module, "_encode", bytes)
        return signed(b"".join(checkpoint_module._pieces(manifest, arrays or {})))


def manifest_of(path):
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("manifest.json"))


def overwrite(path, content):
    """Write without emptying the file first, which some file systems take 2 ms for."""
    with open(path, "r+b") as file:
        file.write(content)
        file.truncate()


def assert_refused(path, *words):
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    for word in (path.name, *words):
        assert word in message, f"{word!r} is not in the message: {message}"


# What goes in comes out -----------------------------------------------------------------------


def test_restore_gives_back_every_value_moment_and_random_draw(path):
    model, optimizer, rng = save_run(path)
    other_model, other_optimizer, other_rng = make_run(seed=2)
    assert not np.array_equal(other_model.W.value, model.W.value)
    value = other_model.W.value

    found = load_checkpoint(path)
    found.restore(other_model, other_optimizer, other_rng, SETTINGS)
    assert other_model.W.value is value, "restore must work in place: the optimiser holds the array"
    for a, b in (
        (model.state_dict(), other_model.state_dict()),
        (optimizer.state_dict(), other_optimizer.state_dict()),
    ):
        assert list(a) == list(b)
        for name in a:
            np.testing.assert_array_equal(b[name], a[name], strict=True, err_msg=name)
    np.testing.assert_array_equal(other_rng.standard_normal(5), rng.standard_normal(5))
    assert found.settings == SETTINGS
    assert repr(found.progress) == repr(PROGRESS)  # NaN included, floats to the last bit
    assert (found.model_class, found.optimizer_class) == ("NoisyLinear", "Momentum")

    found.restore(other_model, best=True)
    np.testing.assert_array_equal(other_model.W.value, model.W.value + 1)


@given(
    dtype=st.sampled_from(DTYPES),
    shape=st.lists(st.integers(0, 4), max_size=5),
    order=st.sampled_from("CF"),
    big_endian=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_every_dtype_and_shape_comes_back(tmp_path_factory, dtype, shape, order, big_endian, seed):
    path = tmp_path_factory.getbasetemp() / "shapes.npz"
    rng = np.random.default_rng(seed)
    array = rng.integers(0, 2 if dtype == "|b1" else 100, shape).astype(dtype, order=order)
    stored = array.astype(array.dtype.newbyteorder(">")) if big_endian else array
    save_checkpoint(path, Holder(a=stored, b=np.float32(1.5)))
    found = load_checkpoint(path).model
    np.testing.assert_array_equal(found["a"], array, strict=True)
    assert found["b"].shape == () and found["b"] == 1.5
    assert found["a"].flags.writeable and found["a"].flags.aligned
    with np.load(path) as plain:
        np.testing.assert_array_equal(plain["model/a"], array, strict=True)


def test_numpy_and_zip_tools_open_it(path):
    model, optimizer, _ = save_run(path)
    with np.load(path, allow_pickle=False) as plain:
        assert plain.files[0] == "manifest.json"
        np.testing.assert_array_equal(plain["model/W"], model.W.value, strict=True)
        np.testing.assert_array_equal(plain["best/b"], model.b.value + 1, strict=True)
        np.testing.assert_array_equal(plain["optimizer/velocity.0"], optimizer.velocities[0])
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())


def test_npy_header_is_the_one_numpy_reads():
    for dtype in DTYPES:
        for shape in ((), (3,), (0, 4), (2, 3, 5, 7), (1,) * 32):
            header = checkpoint_module._npy_header(dtype, shape)
            file = io.BytesIO(header)
            assert np.lib.format.read_magic(file) == (1, 0)
            read = np.lib.format.read_array_header_1_0(file)
            assert read == (shape, False, np.dtype(dtype)) and file.read() == b""
            assert len(header) % 64 == 0


def test_names_may_be_greek_and_nested(path):
    inner = Holder(γ=np.ones((2, 3), np.float32))
    outer = Holder(W=np.zeros(4))
    outer.layers = [inner]
    save_checkpoint(path, outer)
    assert list(load_checkpoint(path).model) == ["W", "layers.0.γ"]
    with np.load(path) as plain:
        assert plain["model/layers.0.γ"].shape == (2, 3)


def test_same_content_gives_same_bytes(tmp_path):
    for name in ("a.npz", "b.npz"):
        save_run(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    save_run(tmp_path / "b.npz", seed=2)
    assert (tmp_path / "a.npz").read_bytes() != (tmp_path / "b.npz").read_bytes()


def test_a_model_that_is_float_16_or_read_only_is_saved(path):
    array = np.arange(6, dtype=np.float16).reshape(2, 3)
    array.flags.writeable = False
    save_checkpoint(path, Holder(a=array.T))
    np.testing.assert_array_equal(load_checkpoint(path).model["a"], array.T, strict=True)


# What does not fit is named -------------------------------------------------------------------


def restore_error(path, **changes):
    model, optimizer, rng = make_run(seed=2)
    arguments = {"model": model, "optimizer": optimizer, "rng": rng, **changes}
    model, optimizer, rng = (arguments[name] for name in ("model", "optimizer", "rng"))
    state = [model.state_dict(), optimizer and optimizer.state_dict(), rng.bit_generator.state]
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path).restore(**arguments)
    now = [model.state_dict(), optimizer and optimizer.state_dict(), rng.bit_generator.state]
    assert repr(now) == repr(state), "something changed in spite of the error"
    return str(caught.value)


def test_restore_names_what_differs(path):
    save_run(path)
    assert "holds a NoisyLinear, but the model is a Holder" in restore_error(path, model=Holder())
    settings = {**SETTINGS, "n_hidden": 32, "n_mels": 40}
    message = restore_error(path, settings=settings)
    assert "n_hidden was 64, now 32; n_mels was '(none)', now 40" in message, message
    assert "noises" not in message

    model, optimizer, _ = make_run(n_out=4)
    message = restore_error(path, model=model)
    assert "W is (2, 3) float32, expected (2, 4) float32" in message, message
    message = restore_error(path, model=make_run()[0].astype(np.float64))
    assert "W is (2, 3) float32, expected (2, 3) float64" in message, message
    model.c = Parameter(np.zeros(1))
    del model.W
    message = restore_error(path, model=model)
    assert "it lacks ['c'], it has unknown ['W']" in message, message

    assert "velocity.0 is (2, 3)" in restore_error(path, optimizer=optimizer)

    class Other(Momentum):
        pass

    message = restore_error(path, optimizer=Other(make_run()[0].parameters()))
    assert "state of optimizer Momentum, not Other" in message, message


def test_restore_says_what_was_not_saved(path):
    model, optimizer, _ = make_run()
    save_checkpoint(path, model)
    assert "optimizer None, not Momentum" in restore_error(path)
    assert "no random state" in restore_error(path, optimizer=None)
    assert "no weights of a best epoch" in restore_error(path, best=True)
    load_checkpoint(path).restore(model)


def test_settings_compare_as_json_gives_them_back(path):
    model = make_run()[0]
    save_checkpoint(path, model, settings={"band": (50, 4000)})
    load_checkpoint(path).restore(model, settings={"band": (50, 4000)})


def test_missing_file_folder_and_other_kinds_of_file(path, tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint at .*nowhere.npz"):
        load_checkpoint(tmp_path / "nowhere.npz")
    with pytest.raises(CheckpointError, match="is a folder"):
        load_checkpoint(tmp_path)
    os.mkfifo(path)
    with pytest.raises(CheckpointError, match="is not a regular file"):
        load_checkpoint(path)
    path.unlink()
    np.savez(path, a=np.ones(3))
    assert_refused(path, "not a scratchaudio checkpoint")
    for content in (b"", b"RIFF....WAVEfmt ", b"PK\3\4"):
        path.write_bytes(content)
        assert_refused(path, "not a scratchaudio checkpoint", repr(content[:16]))


def test_other_format_version_names_both_versions(path):
    save_run(path)
    manifest = {**manifest_of(path), "format_version": 2, "library_version": "9.9.9"}
    path.write_bytes(assemble(manifest))
    assert_refused(path, "format version 2", "9.9.9", "reads version 1")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"window": {"taps": [1, np.float32(2)]}}, "settings['window']['taps'][1]"),
        ({"path": os}, "settings['path']"),
        ({"sizes": {1: 2}}, "settings['sizes'] must have strings as keys, got 1"),
        ({"x": np.ones(2)}, "settings['x']"),
    ],
)
def test_settings_that_json_cannot_hold(path, settings, named):
    with pytest.raises(ConfigError) as caught:
        save_checkpoint(path, make_run()[0], settings=settings)
    assert named in str(caught.value)
    assert not path.exists()


def test_settings_nested_without_end(path):
    settings = {}
    settings["again"] = settings
    with pytest.raises(ConfigError, match="nested more than 30 deep"):
        save_checkpoint(path, make_run()[0], settings=settings)


def test_what_no_checkpoint_can_hold(path):
    with pytest.raises(ConfigError, match="'model/a' is .* object"):
        save_checkpoint(path, Holder(a=np.array([None])))
    with pytest.raises(ConfigError, match="'best/../a' cannot be the name"):
        save_checkpoint(path, Holder(), best={"../a": np.ones(2)})
    with pytest.raises(ConfigError, match="less than 1048576 bytes"):
        save_checkpoint(path, Holder(), progress={"history": ["x" * 2**20]})
    with pytest.raises(ConfigError, match="10001 arrays"):
        save_checkpoint(path, Holder(), best={f"a{i}": np.ones(1) for i in range(10_001)})
    with pytest.raises(ConfigError, match="rng must be made by np.random.default_rng"):
        save_checkpoint(path, Holder(), rng=np.random.Generator(np.random.MT19937(1)))
    assert not path.exists()


# Damage ---------------------------------------------------------------------------------------


def damage(content, rng):
    """One random change of the bytes; returns (what was done, bytes)."""
    content = bytearray(content)
    n = len(content)
    start, length = int(rng.integers(n)), int(rng.integers(1, 65))
    kind = rng.choice(
        ["cut", "bit", "byte", "zeros", "insert", "remove", "repeat", "append", "swap"]
    )
    if kind == "cut":
        del content[start:]
    elif kind == "bit":
        content[start] ^= 1 << rng.integers(8)
    elif kind == "byte":
        content[start] = rng.integers(256)
    elif kind == "zeros":
        content[start : start + length] = bytes(len(content[start : start + length]))
    elif kind == "insert":
        content[start:start] = rng.bytes(length)
    elif kind == "remove":
        del content[start : start + length]
    elif kind == "repeat":
        content[start:start] = content[start : start + length]
    elif kind == "append":
        content += rng.bytes(length)
    else:
        other = int(rng.integers(n))
        content[start], content[other] = content[other], content[start]
    return f"{kind} at {start} of {n}", bytes(content)


def count_refused(path, original, n, forge=lambda content: content):
    """How many of `n` damaged files were refused; fails on one that was accepted."""
    rng = np.random.default_rng(7)
    refused = 0
    while refused < n:
        what, content = damage(original, rng)
        content = forge(content)
        if content == forge(original):  # zeros over zeros
            continue
        overwrite(path, content)
        try:
            load_checkpoint(path)
        except CheckpointError as error:
            assert str(path) in str(error), f"{what}: the message does not name the file: {error}"
            refused += 1
        except Exception as error:
            pytest.fail(f"{what}: {type(error).__name__}: {error}")
        else:
            pytest.fail(f"{what}: the damaged file was accepted")
    return refused


def test_of_2000_damaged_checkpoints_none_is_accepted(path):
    save_run(path)
    original = path.read_bytes()
    load_checkpoint(path)
    assert count_refused(path, original, 2000) == 2000


def test_of_2000_damaged_and_signed_anew_none_is_accepted(path):
    save_run(path)
    original = path.read_bytes()[:-64]
    path.write_bytes(signed(original))
    load_checkpoint(path)
    assert count_refused(path, original, 2000, forge=signed) == 2000


def test_every_single_byte_counts(path):
    save_checkpoint(path, Holder(a=np.ones(1, np.float32)))
    original = path.read_bytes()
    for body, forge in ((original, bytes), (original[:-64], signed)):
        for position in range(len(body)):
            changed = bytearray(body)
            changed[position] ^= 0x20  # upper case to lower case and back
            overwrite(path, forge(changed))
            with pytest.raises(CheckpointError):
                load_checkpoint(path)


def test_damage_is_described(path):
    save_run(path)
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    assert_refused(path, "damaged", "cut short or altered", str(len(content) - 100))


# Hostile files: written by someone who knows the format ---------------------------------------


GOOD_MANIFEST = {
    "format": "scratchaudio checkpoint",
    "format_version": 1,
    "library_version": "0.1.0",
    "model_class": "Holder",
    "optimizer_class": None,
    "settings": {},
    "progress": {},
    "rng_state": None,
    "arrays": {},
}
GOOD_TEXT = json.dumps(GOOD_MANIFEST).encode()


def test_the_frame_around_the_hostile_ones_is_accepted(path):
    """Otherwise the tests below would refuse for the wrong reason."""
    manifest = {**GOOD_MANIFEST, "arrays": {"model/a": ["<f8", [1]]}}
    path.write_bytes(assemble(manifest, {"model/a": np.ones(1)}))
    assert load_checkpoint(path).model == {"a": np.ones(1)}
    path.write_bytes(assemble(GOOD_TEXT))
    load_checkpoint(path)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("pickle-was-run",)


def npz_with_pickle():
    file = io.BytesIO()
    np.savez(file, **{"model/a": np.array([Bomb()], dtype=object)})
    return file.getvalue()


def hostile_manifests():
    """Yield (name, manifest with one thing wrong, the arrays that it names where they can be)."""
    good = GOOD_MANIFEST
    for key in good:
        yield f"no {key}", {k: v for k, v in good.items() if k != key}, {}
        yield f"{key} is a number", {**good, key: 7.5}, {}
    yield "one more", {**good, "code": "print()"}, {}
    yield "true for 1", {**good, "format_version": True}, {}
    yield "a list", [good], {}
    for name in (
        "model/../../x",
        "/etc/passwd",
        "model/",
        "a",
        "model/a/b",
        "model/a.npy\0",
        "other/a",
    ):
        arrays = {name: np.array(1, np.float32)}
        yield f"array {name!r}", {**good, "arrays": {name: ["<f4", []]}}, arrays
    entries = {
        "8 TB": ["<f8", [2**40]],
        "beyond int64": ["<f8", [2**62, 4]],
        "0 times much": ["<f8", [0, 2**31, 2**31]],
        "negative": ["<f8", [-1]],
        "fraction": ["<f8", [1.5]],
        "true": ["<f8", [True]],
        "deep": ["<f8", [1] * 33],
        "object": ["|O", [1]],
        "record": [[["a", "<f4"]], [1]],
        "big endian": [">f4", [0]],
        "long text": ["<U99999999", [1]],
        "empty": [],
        "text": "<f4",
        "none": None,
        "shape is text": ["<f4", "12"],
    }
    for name, entry in entries.items():
        yield f"entry {name}", {**good, "arrays": {"model/a": entry}}, {"model/a": np.ones(1)}


def test_hostile_manifests(path):
    names = []
    for name, manifest, arrays in hostile_manifests():
        content = assemble(manifest, arrays)
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="run.npz"):
            load_checkpoint(path)
            pytest.fail(f"{name}: accepted")
        names.append(name)
    assert len(names) == 43


def hostile_files(good):
    """Yield (name, bytes): each signed where that makes sense."""
    end = len(good) - 64
    yield "pickle inside", npz_with_pickle()
    yield "pickle instead of an array", signed(good[:end].replace(b"NUMPY\1\0", b"\x80\4cos\n\x01"))
    for what, text in {
        "deep JSON": b"[" * 500_000,
        "deep JSON, closed": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        "not text": b"\x80\xff",
        "long number": GOOD_TEXT.replace(b"1", b"1" * 5000),
        "key twice": GOOD_TEXT[:-1] + b', "format_version": 1}',
        "other spaces": GOOD_TEXT.replace(b": ", b":"),
    }.items():
        yield what, assemble(text)
    huge = bytearray(good[:end])
    struct.pack_into("<2I", huge, 18, 2**32 - 1, 2**32 - 1)
    yield "manifest of 4 GB", signed(huge)
    yield (
        "junk before the directory",
        signed(good[: end - 300] + b"junk" * 9 + good[end - 300 : end]),
    )
    yield "junk after the end", signed(good[:end] + b"junk")
    yield "two archives", signed(good[:end] + good)


def test_hostile_files(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_run(path)
    good = path.read_bytes()
    names = []
    for name, content in hostile_files(good):
        path.write_bytes(content)
        with pytest.raises(CheckpointError):
            load_checkpoint(path)
            pytest.fail(f"{name}: accepted")
        names.append(name)
    assert len(names) == 12
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.npz"], "a hostile file ran code"


def test_random_state_that_numpy_refuses(path):
    model, _, rng = make_run()
    save_checkpoint(path, model, rng=rng)
    good = manifest_of(path)
    arrays = {f"model/{name}": value for name, value in model.state_dict().items()}
    state = good["rng_state"]
    for wrong in (
        {},
        {**state, "bit_generator": "MT19937"},
        {**state, "state": {"state": -1, "inc": 1}},
        {**state, "state": {"state": 2**130, "inc": 1}},
        {**state, "state": [1, 2]},
        {**state, "state": {"state": "1", "inc": 1}},
        {**state, "has_uint32": 2**40},
        {**state, "uinteger": -1},
        {**state, "more": 1},
    ):
        path.write_bytes(assemble({**good, "rng_state": wrong}, arrays))
        assert "random state that NumPy refuses" in restore_error(path, optimizer=None), wrong


MEASURE_MEMORY = """
import re, sys
from pathlib import Path
from scratchaudio.checkpoint import load_checkpoint
from scratchaudio.errors import CheckpointError

def peak():  # not ru_maxrss, which a process inherits from the one that started it
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])

before = peak()
try:
    load_checkpoint(sys.argv[1])
    print("accepted")
except CheckpointError as error:
    print("refused")
print(peak() - before)
"""


def measure(path):
    """(verdict, bytes of memory that loading took at most) in a process of its own."""
    command = [sys.executable, "-c", MEASURE_MEMORY, str(path)]
    verdict, kilobytes = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    return verdict, int(kilobytes) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_memory_is_bounded(path):
    """At most 64 MB + 2 x the file, for bombs as for what is right."""
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", b" " * 100_000_000)
    crowd = {f"model/a{i}": ["<f4", [0]] for i in range(100_000)}
    few = dict(list(crowd.items())[:20_000])
    few_arrays = dict.fromkeys(few, np.zeros(0, np.float32))
    files = {
        "zip bomb": (signed(bomb.getvalue()), "refused"),
        "10^5 arrays": (assemble({**GOOD_MANIFEST, "arrays": crowd}), "refused"),
        "20,000 arrays": (assemble({**GOOD_MANIFEST, "arrays": few}, few_arrays), "refused"),
        "wide JSON": (assemble(b"[" + b'{"":0},' * 149_000 + b"0]"), "refused"),
        "wider JSON": (assemble(b"[" + b'{"":0},' * 600_000 + b"0]"), "refused"),
    }
    for name, (content, expected) in files.items():
        path.write_bytes(content)
        verdict, memory = measure(path)
        assert verdict == expected, name
        assert memory <= 64e6 + 2 * len(content), f"{name}: {memory / 1e6:.0f} MB"
    array = np.zeros(4_000_000)
    save_checkpoint(path, Holder(a=array))
    verdict, memory = measure(path)
    assert verdict == "accepted"
    assert memory > array.nbytes, "the measurement has no power"
    assert memory <= 64e6 + 2 * array.nbytes, f"{memory / 1e6:.0f} MB for {array.nbytes / 1e6} MB"


# Writing that fails ---------------------------------------------------------------------------


def assert_old_file_intact(path, content):
    assert path.read_bytes() == content
    assert [entry.name for entry in path.parent.iterdir()] == [path.name], "a file was left behind"


def test_full_disk_leaves_the_old_file(path):
    save_run(path)
    content = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (0, 100, 60_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
        try:
            with pytest.raises(CheckpointError, match="cannot write .*run.npz: File too large"):
                save_checkpoint(path, Holder(a=np.ones((123, 456))))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert_old_file_intact(path, content)


def test_read_only_folder_leaves_the_old_file(path):
    save_run(path)
    content = path.read_bytes()
    path.parent.chmod(0o555)
    root = os.geteuid() == 0  # whom no permission stops
    if root:
        os.seteuid(65534)
    try:
        with pytest.raises(CheckpointError, match="cannot write .*run.npz: Permission denied"):
            save_run(path, seed=2)
    finally:
        if root:
            os.seteuid(0)
        path.parent.chmod(0o755)
    assert_old_file_intact(path, content)


def test_missing_folder_and_a_folder_in_the_way(path, tmp_path):
    with pytest.raises(CheckpointError, match="cannot write .*No such file or directory"):
        save_run(tmp_path / "nowhere" / "run.npz")
    path.mkdir()
    with pytest.raises(CheckpointError, match="cannot write .*Is a directory"):
        save_run(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.npz"]


def test_interrupt_while_writing_leaves_the_old_file(path, monkeypatch):
    save_run(path)
    content = path.read_bytes()

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_run(path, seed=2)
    assert_old_file_intact(path, content)


def test_bytes_are_on_the_disk_before_the_name_changes(path, monkeypatch):
    acts = []
    real = {"fsync": os.fsync, "replace": os.replace}

    def fsync(descriptor):
        acts.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real["fsync"](descriptor)

    def replace(source, target):
        acts.append("replace")
        assert os.path.dirname(source) == os.path.dirname(target)
        real["replace"](source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    save_run(path)
    assert acts == ["file", "replace", "folder"]


def test_a_link_is_followed(path, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "target.npz"
    save_run(target)
    path.symlink_to(target)
    save_run(path, seed=2)
    assert path.is_symlink()
    np.testing.assert_array_equal(load_checkpoint(target).model["W"], make_run(2)[0].W.value)
