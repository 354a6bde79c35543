"""Checkpoints: all that a training run needs to go on, in one `.npz` file that is whole or refused.

The file is a zip archive without compression, so `np.load` opens it, and `unzip -p FILE
manifest.json` shows what it is:

    manifest.json            model class, settings, progress, random state; names, dtypes, shapes
    model/NAME.npy   ...     the parameters
    optimizer/NAME.npy ...   the moments of the optimiser
    best/NAME.npy    ...     the parameters of the best epoch so far
    directory                what a zip reader reads first: name, size and place of each member
    end record               its comment, the last 64 bytes, is the SHA-256 of all bytes before it

Three decisions make it safe.

- Written aside, then renamed. The bytes go to a temporary file in the same folder and are forced
  to the disk; then `os.replace` puts the file in place in one act. A run killed at any moment
  leaves the old checkpoint or the new one, never half of one.
- One spelling. The manifest determines every byte of the file but the values. `load_checkpoint`
  first compares the SHA-256, then writes the file again in memory from what it read: if one byte
  differs, it refuses. So there is no room for anything that the manifest does not name.
- Sizes before memory. Nothing is compressed and nothing is pickled; an array is cut from the bytes
  that are there, so a small file cannot ask for much memory, and no file can run code.

The same content always gives the same bytes: no clock, no machine, no process enters the file.
"""

import hashlib
import json
import math
import os
import re
import stat
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import scratchaudio
from scratchaudio.errors import CheckpointError, ConfigError

FORMAT = "scratchaudio checkpoint"
FORMAT_VERSION = 1
DTYPES = ("|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8")
DTYPES += ("<f2", "<f4", "<f8", "<c8", "<c16")
MAX_FILE_BYTES = 2**32 - 1  # what a zip archive without its 64-bit extension can address
MAX_MANIFEST_BYTES = 2**20  # parsed JSON can take 30 times its text
MAX_ARRAYS = 10_000
MAX_DIMENSIONS = 32
MAX_DEPTH = 30  # of lists and dicts inside settings and progress

_ARRAY_NAME = re.compile(r"(model|optimizer|best)/\w+(\.\w+)*")
_MANIFEST_TYPES = {
    "format": (str,),
    "format_version": (int,),
    "library_version": (str,),
    "model_class": (str,),
    "optimizer_class": (str, type(None)),
    "settings": (dict,),
    "progress": (dict,),
    "rng_state": (dict, type(None)),
    "arrays": (dict,),
}

# Records of a zip archive (APPNOTE.TXT 6.3, sections 4.3.7, 4.3.12, 4.3.16).
_LOCAL = struct.Struct("<4s5H3I2H")
_DIRECTORY = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_VERSION_NEEDED, _NAMES_ARE_UTF8, _STORED, _MIDNIGHT, _FIRST_OF_1980 = 20, 0x800, 0, 0, 0x21
_BEGIN = b"PK\3\4"
_DIGEST_BYTES = 64  # SHA-256 in hexadecimal digits


@dataclass(frozen=True)
class Checkpoint:
    """What `load_checkpoint` found in a file.

    Attributes
    ----------
    path : where it came from
    model_class : name of the model's class
    model : name -> array, the parameters
    optimizer_class : name of the optimiser's class, None when none was saved
    optimizer : name -> array, the state of the optimiser
    best : name -> array, the parameters of the best epoch; empty when none were saved
    rng_state : state of the random generator, or None
    settings : dict, as given to `save_checkpoint`
    progress : dict, as given to `save_checkpoint`
    library_version : version of scratchaudio that wrote the file
    """

    path: Path
    model_class: str
    model: dict
    optimizer_class: str | None
    optimizer: dict
    best: dict
    rng_state: dict | None
    settings: dict
    progress: dict
    library_version: str

    def build(self, model_class, sizes):
        """Build the untrained model that the settings describe.

        Its sizes must be those of the weights, so that no settings can ask for more memory than
        the weights, which are loaded already, take.

        Parameters
        ----------
        model_class : class of the model, made by its settings as arguments
        sizes : name of a setting -> its value as the shapes of the weights tell it

        Raises
        ------
        CheckpointError : settings and weights differ, or are no settings of this class
        """
        for name, size in sizes.items():
            if self.settings.get(name) != size:
                raise CheckpointError(
                    f"{self.path}: {name} is {self.settings.get(name)!r} in its settings, {size} "
                    f"in its weights"
                )
        try:
            return model_class(**self.settings)
        except (TypeError, ValueError) as error:
            message = f"{self.path}: its settings do not fit its class: {error}"
            raise CheckpointError(message) from error

    def restore(self, model, optimizer=None, rng=None, settings=None, best=False):
        """Put the saved state into `model` and, where given, `optimizer` and `rng`, in place.

        All is checked before anything changes: after an error, everything is as it was.

        Parameters
        ----------
        model : a Layer of the saved class, with parameters of the saved names, shapes and dtypes
        optimizer : an optimiser of the saved class, or None
        rng : np.random.Generator, or None
        settings : dict that must equal the saved settings; None checks nothing
        best : take the parameters of the best epoch instead of the last

        Raises
        ------
        CheckpointError : the checkpoint is of another model; the message names the difference
        """
        if type(model).__name__ != self.model_class:
            raise CheckpointError(
                f"{self.path} holds a {self.model_class}, but the model is a {type(model).__name__}"
            )
        if settings is not None:
            self._require_settings(_as_json("settings", settings))
        if best and not self.best:
            raise CheckpointError(
                f"{self.path} holds no weights of a best epoch; restore with best=False"
            )
        weights = self.best if best else self.model
        self._require_same(f"model {self.model_class}", model.state_dict(), weights)
        if optimizer is not None:
            name = type(optimizer).__name__
            if name != self.optimizer_class:
                raise CheckpointError(
                    f"{self.path} holds the state of optimizer {self.optimizer_class}, not {name}"
                )
            self._require_same(f"optimizer {name}", optimizer.state_dict(), self.optimizer)
        if rng is not None:
            _require_generator(rng)
            self._require_random_state()

        model.load_state_dict(weights)
        if optimizer is not None:
            optimizer.load_state_dict(self.optimizer)
        if rng is not None:
            rng.bit_generator.state = self.rng_state

    def _require_settings(self, settings):
        """Raise `CheckpointError` naming the settings that are not the saved ones."""
        nothing = "(none)"
        differences = [
            f"{name} was {self.settings.get(name, nothing)!r}, now {settings.get(name, nothing)!r}"
            for name in sorted(self.settings.keys() | settings.keys())
            if self.settings.get(name, nothing) != settings.get(name, nothing)
        ]
        if differences:
            raise CheckpointError(f"{self.path} has other settings: " + "; ".join(differences))

    def _require_same(self, owner, expected, saved):
        """Raise `CheckpointError` unless names, shapes and dtypes of the arrays agree."""
        missing, unknown = sorted(expected.keys() - saved.keys()), sorted(saved.keys() - expected)
        if missing or unknown:
            raise CheckpointError(
                f"{self.path} does not fit {owner}: it lacks {missing}, it has unknown {unknown}"
            )
        for name, array in expected.items():
            there, here = saved[name], np.asarray(array)
            if there.shape != here.shape or there.dtype != here.dtype:
                raise CheckpointError(
                    f"{self.path} does not fit {owner}: {name} is {there.shape} {there.dtype}, "
                    f"expected {here.shape} {here.dtype}"
                )

    def _require_random_state(self):
        """Raise `CheckpointError` unless NumPy takes the random state over unchanged."""
        if self.rng_state is None:
            raise CheckpointError(f"{self.path} holds no random state; restore with rng=None")
        trial = np.random.PCG64(0)
        try:
            trial.state = self.rng_state
            taken = trial.state == self.rng_state
        except (ValueError, TypeError, KeyError, OverflowError):
            taken = False
        if not taken:
            raise CheckpointError(f"{self.path} holds a random state that NumPy refuses")


def save_checkpoint(path, model, optimizer=None, rng=None, settings=None, progress=None, best=None):
    """Write a checkpoint so that at any moment `path` is a whole checkpoint, old or new.

    Parameters
    ----------
    path : of the file, used as it is; an existing file is replaced
    model : Layer; its `state_dict()` is saved
    optimizer : optimiser; its `state_dict()` is saved
    rng : np.random.Generator made by `np.random.default_rng`; its state is saved
    settings : dict of what JSON can hold (None, bool, int, float, str, list, dict): whatever is
        needed to build the model again
    progress : dict of what JSON can hold: epoch, history, ...
    best : dict name -> array, the `state_dict()` of the best epoch so far

    Raises
    ------
    ConfigError : something cannot be put into a checkpoint; the message names it
    CheckpointError : the file cannot be written; the old file is as it was
    """
    groups = {
        "model": model.state_dict(),
        "optimizer": {} if optimizer is None else optimizer.state_dict(),
        "best": best or {},
    }
    arrays = {
        f"{group}/{name}": _storable(f"{group}/{name}", array)
        for group, members in groups.items()
        for name, array in members.items()
    }
    if rng is not None:
        _require_generator(rng)
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "library_version": scratchaudio.__version__,
        "model_class": type(model).__name__,
        "optimizer_class": None if optimizer is None else type(optimizer).__name__,
        "settings": _as_json("settings", settings or {}),
        "progress": _as_json("progress", progress or {}),
        "rng_state": None if rng is None else rng.bit_generator.state,
        "arrays": {name: [array.dtype.str, list(array.shape)] for name, array in arrays.items()},
    }
    n_bytes = sum(array.nbytes for array in arrays.values())
    if len(_encode(manifest)) > MAX_MANIFEST_BYTES:
        raise ConfigError(f"settings and progress must take less than {MAX_MANIFEST_BYTES} bytes")
    if len(arrays) > MAX_ARRAYS or n_bytes > MAX_FILE_BYTES - 2 * MAX_MANIFEST_BYTES - 2**24:
        raise ConfigError(
            f"a checkpoint holds up to {MAX_ARRAYS} arrays and 4 GiB, "
            f"got {len(arrays)} arrays of {n_bytes} bytes"
        )
    _replace_file(Path(os.path.realpath(path)), _pieces(manifest, arrays))


def load_checkpoint(path):
    """Read and verify a checkpoint; nothing of a damaged file is ever used.

    Parameters
    ----------
    path : of a file written by `save_checkpoint`

    Returns
    -------
    Checkpoint; its `restore` puts the state into a model, an optimiser and a random generator

    Raises
    ------
    CheckpointError : missing, damaged, hostile, or not a checkpoint of this version
    """
    path = Path(path)
    content = _read_file(path)
    manifest, position = _read_manifest(path, content)
    arrays = _cut_arrays(path, content, manifest["arrays"], position)
    _require_one_spelling(path, content, manifest, arrays)

    groups = {"model": {}, "optimizer": {}, "best": {}}
    for name, array in arrays.items():
        group, _, member = name.partition("/")
        groups[group][member] = array.copy()  # aligned, writeable, and free of the file's bytes
    about = {key: manifest[key] for key in manifest.keys() - {"format", "format_version", "arrays"}}
    return Checkpoint(path=path, **about, **groups)


# The bytes of a file --------------------------------------------------------------------------


def _pieces(manifest, arrays):
    """Yield the bytes of a checkpoint before its digest, piece by piece."""
    directory, position = bytearray(), 0
    for name, header, values in _members(manifest, arrays):
        data = values.tobytes() if isinstance(values, np.ndarray) else values
        crc = zlib.crc32(data, zlib.crc32(header))
        size = len(header) + len(data)
        record = (_VERSION_NEEDED, _NAMES_ARE_UTF8, _STORED, _MIDNIGHT, _FIRST_OF_1980)
        record += (crc, size, size, len(name), 0)
        directory += _DIRECTORY.pack(b"PK\1\2", _VERSION_NEEDED, *record, 0, 0, 0, 0, position)
        directory += name
        yield _LOCAL.pack(_BEGIN, *record) + name + header
        yield data
        position += _LOCAL.size + len(name) + size
    yield directory
    n_members = 1 + len(arrays)
    yield _END.pack(b"PK\5\6", 0, 0, n_members, n_members, len(directory), position, _DIGEST_BYTES)


def _members(manifest, arrays):
    """Yield (name, header, values) of each member of the archive, in order."""
    yield b"manifest.json", b"", _encode(manifest)
    for name, array in arrays.items():
        yield _member_name(name), _npy_header(array.dtype.str, array.shape), array


def _member_name(array_name):
    return f"{array_name}.npy".encode()


def _encode(manifest):
    """The manifest as JSON text; NaN and Infinity are spelled so, as Python's json does."""
    return json.dumps(manifest).encode("ascii")


def _npy_header(dtype, shape):
    """The head of a `.npy` file of version 1.0, filled up with spaces to a multiple of 64 bytes."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    length = math.ceil((10 + len(text) + 1) / 64) * 64 - 10
    return b"\x93NUMPY\1\0" + struct.pack("<H", length) + text.ljust(length - 1).encode() + b"\n"


# Reading --------------------------------------------------------------------------------------


def _read_file(path):
    """The bytes of the file before its digest, once it is known that nothing was altered."""
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise CheckpointError(f"{path} is not a regular file")
            begin = file.read(_LOCAL.size + len(b"manifest.json"))
            if not begin.startswith(_BEGIN) or not begin.endswith(b"manifest.json"):
                raise CheckpointError(
                    f"{path} is not a scratchaudio checkpoint: it begins with {begin[:16]!r}"
                )
            if status.st_size > MAX_FILE_BYTES:
                raise CheckpointError(f"{path} is too large: {status.st_size} bytes")
            content = begin + file.read(status.st_size - len(begin))
    except FileNotFoundError as error:
        raise CheckpointError(f"no checkpoint at {path}") from error
    except IsADirectoryError as error:
        raise CheckpointError(f"{path} is a folder, not a checkpoint") from error
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    content, digest = memoryview(content)[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    if hashlib.sha256(content).hexdigest().encode() != digest:
        raise CheckpointError(
            f"{path} is damaged: the last {_DIGEST_BYTES} bytes of its {status.st_size} are not "
            f"the SHA-256 of those before (cut short or altered); use an older copy"
        )
    return content


def _open_without_waiting(path, flags):
    """Open for reading; a pipe without a writer must not block."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _read_manifest(path, content):
    """Parse and check the manifest, the first member; return it and where the next one begins."""
    start = _LOCAL.size + len(b"manifest.json")
    size = _LOCAL.unpack_from(content)[8]
    if size > MAX_MANIFEST_BYTES:
        raise CheckpointError(f"{path}: the manifest claims {size} bytes")
    try:
        manifest = json.loads(bytes(content[start : start + size]))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: the manifest is not JSON: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a scratchaudio checkpoint: other manifest")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {manifest.get('format_version')!r}, written by "
            f"scratchaudio {manifest.get('library_version')!r}; this is scratchaudio "
            f"{scratchaudio.__version__}, which reads version {FORMAT_VERSION}"
        )
    for key in sorted(manifest.keys() | _MANIFEST_TYPES.keys()):
        types = _MANIFEST_TYPES.get(key, ())
        if key not in manifest or type(manifest[key]) not in types:
            raise CheckpointError(f"{path}: the manifest has a wrong or missing {key!r}")
    return manifest, start + size


def _cut_arrays(path, content, table, position):
    """Cut name -> array from `content`, read-only and without a copy."""
    if len(table) > MAX_ARRAYS:
        raise CheckpointError(f"{path}: {len(table)} arrays, at most {MAX_ARRAYS} are allowed")
    arrays = {}
    for name, entry in table.items():
        if not _ARRAY_NAME.fullmatch(name):
            raise CheckpointError(f"{path}: {name!r} cannot be the name of an array")
        dtype, shape = _checked_entry(path, name, entry)
        n_items = math.prod(shape)
        position += _LOCAL.size + len(_member_name(name)) + len(_npy_header(dtype, shape))
        end = position + n_items * np.dtype(dtype).itemsize
        if end > len(content):
            raise CheckpointError(
                f"{path}: {name!r} of shape {shape} ends at byte {end} of {len(content)}"
            )
        arrays[name] = np.frombuffer(content[position:end], dtype).reshape(shape)
        position = end
    return arrays


def _checked_entry(path, name, entry):
    """(dtype, shape) of the manifest's `[dtype, [size, ...]]`."""
    if type(entry) is list and len(entry) == 2 and type(entry[1]) is list:
        dtype, shape = entry[0], tuple(entry[1])
        sizes_fit = len(shape) <= MAX_DIMENSIONS and all(
            type(size) is int and 0 <= size <= MAX_FILE_BYTES for size in shape
        )
        # NumPy bounds the product of the sizes that are not zero, even for an empty array.
        sizes_fit = sizes_fit and math.prod(size or 1 for size in shape) <= MAX_FILE_BYTES
        if sizes_fit and dtype in DTYPES:
            return dtype, shape
    raise CheckpointError(f"{path}: {name!r} has the impossible dtype and shape {entry!r:.80}")


def _require_one_spelling(path, content, manifest, arrays):
    """Raise `CheckpointError` unless `content` is byte for byte what we would write."""
    position = 0
    for piece in _pieces(manifest, arrays):
        if content[position : position + len(piece)] != piece:
            raise CheckpointError(
                f"{path} does not agree with its manifest from byte {position} on; "
                f"it was not written by scratchaudio"
            )
        position += len(piece)
    if position != len(content):
        raise CheckpointError(f"{path} goes on for {len(content) - position} bytes after its end")


# Writing --------------------------------------------------------------------------------------


def _replace_file(path, pieces):
    """Write `pieces` and their digest to a temporary file, force it to disk, rename it to path."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)  # of a killed process that had the same number
        try:
            with open(temporary, "xb") as file:
                digest = hashlib.sha256()
                for piece in pieces:
                    digest.update(piece)
                    file.write(piece)
                file.write(digest.hexdigest().encode())
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        if os.name == "posix":  # the new name itself must survive a power cut
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        raise CheckpointError(
            f"cannot write checkpoint {path}: {error.strerror or error}; the old file is unchanged"
        ) from error


def _storable(name, array):
    """The array in C order and little endian; `ConfigError` when its name or dtype is unfit."""
    array = np.asarray(array)
    dtype = array.dtype.newbyteorder("<")
    if not _ARRAY_NAME.fullmatch(name):
        raise ConfigError(f"{name!r} cannot be the name of an array: letters, digits, _ and .")
    if dtype.str not in DTYPES or array.ndim > MAX_DIMENSIONS:
        raise ConfigError(f"{name!r} is {array.shape} {array.dtype}, which no checkpoint can hold")
    return np.asarray(array, dtype, order="C")


def _as_json(where, value, depth=0):
    """`value` as JSON would give it back; `ConfigError` naming the first thing JSON cannot hold."""
    if depth > MAX_DEPTH:
        raise ConfigError(f"{where} is nested more than {MAX_DEPTH} deep")
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise ConfigError(f"{where} must have strings as keys, got {key!r}")
        return {key: _as_json(f"{where}[{key!r}]", value[key], depth + 1) for key in value}
    if isinstance(value, list | tuple):
        return [_as_json(f"{where}[{i}]", item, depth + 1) for i, item in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ConfigError(
        f"{where} must be None, bool, int, float, str, list or dict, got {type(value).__name__}"
    )


def _require_generator(rng):
    """Raise `ConfigError` unless `rng` is the kind of generator that `default_rng` makes."""
    if not isinstance(rng, np.random.Generator) or type(rng.bit_generator) is not np.random.PCG64:
        raise ConfigError(f"rng must be made by np.random.default_rng, got {rng!r}")
