"""What proves that a sound file is whole: sizes in WAV, checksums in Ogg, a digest in FLAC.

For MP3, which often proves nothing: how much sound there is.

A file is a container: pieces, each with a name or number and a length, around the coded samples.

    WAV     chunks of (name, length, body). No checksum, so only the lengths can tell: the chunks
            must fill the file to its last byte, and the format chunk must not contradict itself.
            A damaged sample cannot be told from a right one.
    Ogg     pages of (flags, number, CRC-32, lengths, body), around Vorbis (.ogg) or Opus: any
            damaged bit breaks a checksum, any lost page the numbering, and the last page is marked.
    FLAC    frames behind a header with the MD5 of all samples, computed along while decoding; the
            rate stands in the header and again in every frame.
    MP3     frames of (header, bits of 1152 or 576 samples), without an end or a checksum. Many
            encoders put a tag with the number of frames into a first one that holds no sound; in
            recordings of radio and in cut files there is none, and the frames must be counted.

Each check raises an `AudioFileError` naming the file, the byte and the reason.
"""

import bisect
import hashlib
import io
import itertools
import struct
import zlib
from typing import NamedTuple

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


_KBITS = (
    (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # a second, MPEG-2 and 2.5
    (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG-1
)
_LEADING_JUNK = 65536  # bytes before the first frame; libsndfile's decoder gives up there, too
_JUNK = 4096  # bytes elsewhere; more of them may once have been sound


class _Mp3Header(NamedTuple):
    size: int  # bytes of the frame, these 4 included
    sr: int  # Hz
    channels: int

    @property
    def samples(self):
        """Samples per channel: in MPEG-1 twice as many as later."""
        return 1152 if self.sr >= 32000 else 576

    def fits(self, other):
        """Whether both can stand in one file; the bitrate may vary."""
        return other is not None and self[1:] == other[1:]


def _mp3_header(head):
    """Read the 4 bytes in front of a frame (ISO 11172-3, 2.4.2.3); None if they are no header.

    Bits: 11 ones, version 2, layer 2, checksum 1, bitrate 4, rate 2, padding 1, private 1, mode 2,
    and 6 that do not matter here.
    """
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:  # the ones, and layer III
        return None
    version, bitrate, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or bitrate in (0, 15) or rate == 3:
        return None
    mpeg1 = version == 3
    sr = (44100, 48000, 32000)[rate] >> (2, 0, 1, 0)[version]  # MPEG-2 halves, 2.5 quarters
    size = (144_000 if mpeg1 else 72_000) * _KBITS[mpeg1][bitrate - 1] // sr + (head[2] >> 1 & 1)
    return _Mp3Header(size, sr, 1 if head[3] >> 6 == 3 else 2)


def _after_tags(file, position):
    """Skip what players show and no decoder hears: ID3v2 and APE tags, with their pictures."""
    while True:
        file.seek(position)
        head = file.read(32)
        if head[:3] == b"ID3" and len(head) >= 10:  # a length of 4 x 7 bits
            a, b, c, d = head[6:10]
            position += 10 + (a << 21 | b << 14 | c << 7 | d)
        elif head[:8] == b"APETAGEX" and len(head) == 32:
            position += 32 + int.from_bytes(head[12:16], "little")
        else:
            return position


def _next_frame(file, position, reach, size):
    """Find a header that leads to another one, or to the end; returns where and the header."""
    position = _after_tags(file, position)
    file.seek(position)
    block = file.read(reach)
    at = block.find(0xFF)
    while at >= 0:
        header = _mp3_header(block[at : at + 4])
        if header:
            after = position + at + header.size
            file.seek(after)
            if header.fits(_mp3_header(file.read(4))) or after <= size < after + 4:
                return position + at, header
        at = block.find(0xFF, at + 1)
    return position, None


def check_mp3(path, file, size):
    """Walk the frames of an mp3 that does not say how many it has.

    What is there is the whole: every frame but a last one that is cut. What stands between frames
    is skipped, as decoders do, unless it is more than a few frames may leave.

    Returns
    -------
    Mp3Frames to decode in place of the file; None if the file says its length or is no mp3
    """
    position, first = _next_frame(file, 0, _LEADING_JUNK, size)
    if first is None or _says_its_length(file, position, first):
        return None
    count, runs = 0, [[position, position]]  # from byte to byte, frame after frame
    file.seek(position)
    head = file.read(4)
    while True:
        file.seek(position)
        header = _mp3_header(file.read(4))
        if not first.fits(header):
            position, header = _next_frame(file, position, _JUNK, size)
            if header is None:
                break
            if not first.fits(header):
                raise unreadable(
                    path,
                    f"its frame at byte {position} has {header.sr} Hz and {header.channels} "
                    f"channels, its first one {first.sr} Hz and {first.channels}",
                )
            runs.append([position, position])
        if position + header.size > size:
            break
        count += 1
        position += header.size
        runs[-1][1] = position
    if size - position > _JUNK:
        raise unreadable(
            path,
            f"it is damaged: among the {size - position} bytes from byte {position} on no frame "
            f"begins where one should",
        )
    opening = _opening(file, *runs[0])
    runs[0][0] += len(opening)
    return Mp3Frames(path, _length_tag(head, count) + opening, runs)


def _sound_offset(header):
    """Where the side information of a frame without checksum ends; here a tag begins, too."""
    mpeg1, stereo = header.samples == 1152, header.channels == 2
    return 4 + (32 if mpeg1 and stereo else 17 if mpeg1 or stereo else 9)


def _says_its_length(file, position, header):
    """Whether this frame is a tag with the number of frames that follow."""
    file.seek(position)
    frame = file.read(header.size)
    offset = _sound_offset(header)
    name, flags, count = struct.unpack_from(">4sII", frame.ljust(offset + 12, b"\0"), offset)
    return name in (b"Xing", b"Info") and not any(frame[6:offset]) and flags & 1 and count > 0


def _length_tag(head, count):
    """Make the tag that is missing, and a silent frame.

    A decoder lags behind by 529 samples. It does not return them, and as many more at the start
    as a tag says that the encoder lagged: here the rest of the silent frame, so that all samples
    of the `count` frames come, as from a file without a tag.
    """
    head = bytes([head[0], head[1] | 1, 0x90 | head[2] & 0x0D, head[3]])  # no checksum, room enough
    header = _mp3_header(head)
    tag = head.ljust(_sound_offset(header), b"\0") + struct.pack(">4sII", b"Xing", 1, count + 1)
    lags = (header.samples - 529) << 12 | 529  # of the encoder, and samples to drop at the end
    tag += b"scratch".ljust(21, b"\0") + lags.to_bytes(3, "big")
    return tag.ljust(header.size, b"\0") + head.ljust(header.size, b"\0")


def _opening(file, begin, end):
    """Read the first frames and silence those that lack bits, which a decoder would else invent.

    A frame may have the first of its bits up to 511 bytes back, among those of the frames before
    it. Where a file was cut out of another one, they are gone.
    """
    frames, before = b"", 0
    file.seek(begin)
    while before < 511 and begin + len(frames) < end:
        frame = bytearray(file.read(4))
        header = _mp3_header(frame)
        frame += file.read(header.size - 4)
        side = 4 if frame[1] & 1 else 6  # behind a checksum
        sound = _sound_offset(header) + side - 4
        back = int.from_bytes(frame[side : side + 2], "big") >> (7 if header.samples == 1152 else 8)
        if back > before:  # no gain and no code tables; `back` itself stays, for the next frame
            frame[side + 2 : sound] = bytes(sound - side - 2)
        before += len(frame) - sound
        frames += frame
    return frames


class Mp3Frames(io.RawIOBase):
    """Reads as a file: the bytes of an opening, then runs of frames from an mp3."""

    def __init__(self, path, opening, runs):
        self.opening, self.runs = opening, runs
        sizes = [len(opening)] + [end - begin for begin, end in runs]
        self.starts = [0, *itertools.accumulate(sizes)]
        self.position = 0
        self.file = open(path, "rb")  # noqa: SIM115 (closed by close)

    def readable(self):
        """Yes."""
        return True

    def seekable(self):
        """Yes."""
        return True

    def seek(self, offset, whence=io.SEEK_SET):
        """Go to a byte, counted from the start, from here or from the end."""
        self.position = offset + (0, self.position, self.starts[-1])[whence]
        return self.position

    def readinto(self, buffer):
        """Read what is left of the opening or of one run, at most what the buffer holds."""
        piece = bisect.bisect(self.starts, self.position) - 1
        within = self.position - self.starts[piece]
        if piece == 0:
            data = self.opening[within : within + len(buffer)]
        elif piece <= len(self.runs):
            begin, end = self.runs[piece - 1]
            self.file.seek(begin + within)
            data = self.file.read(min(len(buffer), end - begin - within))
        else:
            data = b""
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)

    def close(self):
        """Close the mp3."""
        self.file.close()
        super().close()
