"""What proves that a sound file is whole: sizes in WAV, checksums in Ogg, a digest in FLAC.

A file is a container: pieces, each with a name or number and a length, around the coded samples.

    WAV     chunks of (name, length, body). No checksum, so only the lengths can tell: the chunks
            must fill the file to its last byte, and the format chunk must not contradict itself.
            A damaged sample cannot be told from a right one.
    Ogg     pages of (flags, number, CRC-32, lengths, body), around Vorbis (.ogg) or Opus: any
            damaged bit breaks a checksum, any lost page the numbering, and the last page is marked.
    FLAC    frames behind a header with the MD5 of all samples, computed along while decoding; the
            rate stands in the header and again in every frame.

Each check raises an `AudioFileError` naming the file, the byte and the reason.
"""

import hashlib
import struct
import zlib

import numpy as np

from scratchaudio.errors import AudioFileError


def unreadable(path, reason):
    """Make the error that says why a sound file cannot be read."""
    return AudioFileError(f"cannot read {path}: {reason}")


def check_wav(path, file, size):
    """Walk the chunks of a WAV: name (4 bytes), length (4), body, a pad byte after odd lengths."""
    position, seen, frame_bytes = 12, set(), 1
    while position < size:
        file.seek(position)
        head = file.read(8).ljust(8, b"\0")
        name, length = struct.unpack("<4sI", head)
        body = position + 8
        if not all(32 <= byte < 127 for byte in name) or name in seen & {b"fmt ", b"data"}:
            raise unreadable(
                path,
                f"the {size - position} bytes from byte {position} on are no chunk: a length in "
                f"its header is wrong, or something was inserted",
            )
        if name == b"data" and length == 0xFFFFFFFF:
            return  # written to a pipe, the length unknown at the time: all that follows
        if body + length > size:
            raise unreadable(
                path,
                f"it is truncated: the chunk {name.decode()!r} at byte {position} promises "
                f"{length} bytes, {max(size - body, 0)} are there",
            )
        if name == b"data" and length % frame_bytes:
            raise unreadable(
                path,
                f"its {length} bytes of samples at byte {body} are no whole number of frames of "
                f"{frame_bytes} bytes",
            )
        if name == b"fmt ":
            frame_bytes = _check_wav_format(path, file.read(min(length, 40)))
        seen.add(name)
        position = body + length + length % 2
    if not {b"fmt ", b"data"} <= seen:
        raise unreadable(path, "it is a WAV without format or without samples")


def _check_wav_format(path, fmt):
    """The format chunk says the same twice: hold it against itself; return the bytes a frame."""
    if len(fmt) < 16:
        raise unreadable(path, f"its format chunk has {len(fmt)} bytes instead of at least 16")
    tag, channels, sr, bytes_per_second, frame_bytes, bits = struct.unpack_from("<HHIIHH", fmt)
    if tag == 0xFFFE and len(fmt) >= 40:  # extensible: the tag proper follows
        tag = struct.unpack_from("<H", fmt, 24)[0]
    plain = {1: (8, 16, 24, 32), 3: (32, 64), 6: (8,), 7: (8,)}  # PCM, float, A-law, mu-law
    if tag not in plain:
        return 1  # compressed: the fields mean something else
    if (
        bits not in plain[tag]
        or not frame_bytes == channels * bits // 8 > 0
        or bytes_per_second != sr * frame_bytes
    ):
        raise unreadable(
            path,
            f"its header contradicts itself: format {tag}, {channels} channels of {bits} bits at "
            f"{sr} Hz, yet {frame_bytes} bytes a frame and {bytes_per_second} bytes a second",
        )
    return frame_bytes


_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _ogg_crc(page):
    """CRC-32 as Ogg has it: zlib's polynomial, but bits in the other order and no inversions."""
    crc = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{crc:032b}"[::-1], 2)


def check_ogg(path, file):
    """Walk the pages of an Ogg (RFC 3533): each checksum, the numbering, the mark on the last."""
    file.seek(0)
    expected, unfinished = {}, set()
    while True:
        position = file.tell()
        head = file.read(27)
        if not head and not unfinished:
            return
        if not head:
            raise unreadable(
                path, f"it is truncated: it ends at byte {position} without a page marked as last"
            )
        if len(head) == 27 and head[:4] == b"OggS":
            kind, serial, number, crc = struct.unpack_from("<5xB8xIII", head)
            lacing = file.read(head[26])
            body = file.read(sum(lacing))
            if len(lacing) < head[26] or len(body) < sum(lacing):
                raise unreadable(
                    path,
                    f"it is truncated: its page at byte {position} promises "
                    f"{sum(lacing)} bytes, {len(body)} are there",
                )
            whole = _ogg_crc(head[:22] + bytes(4) + head[26:] + lacing + body) == crc
        if len(head) < 27 or head[:4] != b"OggS" or not whole:
            raise unreadable(path, f"its page at byte {position} is damaged")
        if number != expected.get(serial, 0):
            raise unreadable(
                path,
                f"its page at byte {position} is number {number} where "
                f"{expected.get(serial, 0)} is due",
            )
        expected[serial] = number + 1
        (unfinished.discard if kind & 4 else unfinished.add)(serial)


_FLAC_RATES = (0, 88200, 176400, 192000, 8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000)


def check_flac(path, file):
    """Hold the rate in a FLAC's header, which nothing guards, against that of its first frame."""
    file.seek(8)
    streaminfo = file.read(34).ljust(34, b"\0")
    stated = int.from_bytes(streaminfo[10:13], "big") >> 4
    position, last = 4, False
    while not last:  # metadata blocks: 1 bit "last", 7 bits type, 24 bits length, body
        file.seek(position)
        block = file.read(4)
        if len(block) < 4:
            raise unreadable(path, f"it is truncated: it ends at byte {position} before any sound")
        last = bool(block[0] & 128)
        position += 4 + int.from_bytes(block[1:], "big")
    file.seek(position)
    frame = file.read(16).ljust(16, b"\0")  # sync 16 bits, block size 4, rate 4, ...
    code = frame[2] & 15
    after = 4 + max(1, 8 - (frame[4] ^ 0xFF).bit_length())  # behind the number, coded as in UTF-8
    after += {6: 1, 7: 2}.get(frame[2] >> 4, 0)  # and behind the block size, if it stands here
    coded = int.from_bytes(frame[after : after + 2], "big")
    special = {12: 1000 * (coded >> 8), 13: coded, 14: 10 * coded}
    rate = special[code] if code in special else _FLAC_RATES[code % 15]
    if rate not in (0, stated):
        raise unreadable(path, f"its header says {stated} Hz, its first frame {rate} Hz")


class FlacProof:
    """Holds the decoded samples of a FLAC against the MD5 in its header (RFC 9639, 8.2)."""

    def __init__(self, path):
        self.path = path
        with open(path, "rb") as file:
            head = file.read(42)  # "fLaC", block header, STREAMINFO: sizes, rate, bits, MD5
        self.known = head[:4] == b"fLaC" and any(head[26:42])  # all zero: not computed
        self.bits = ((head[20] & 1) << 4 | head[21] >> 4) + 1 if self.known else 16
        self.promised = head[26:42].hex()
        self.md5 = hashlib.md5(usedforsecurity=False)

    def update(self, x):
        """Hash (n, C) samples: little-endian, in as many bytes as the bits need."""
        if self.known:
            values = (x >> (32 - self.bits)).astype("<i4")
            octets = values.view(np.uint8).reshape(-1, 4)[:, : (self.bits + 7) // 8]
            self.md5.update(octets.tobytes())

    def verify(self):
        """Raise unless all the samples hashed are those that were encoded."""
        if self.known and self.md5.hexdigest() != self.promised:
            raise unreadable(
                self.path,
                f"its samples are damaged: their MD5 is {self.md5.hexdigest()}, "
                f"its header says {self.promised}",
            )
