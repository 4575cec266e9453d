"""Small containers made by hand: whole, and as a writer that is not done leaves them."""

import struct


def box(name: bytes, body: bytes = b"", *, length: int | None = None) -> bytes:
    """An MP4 box; *length* is what its header says, if not the truth."""
    said = 8 + len(body) if length is None else length
    return struct.pack(">I4s", said, name) + body


def long_box(name: bytes, body: bytes) -> bytes:
    """The same with its length in 64 bits."""
    return struct.pack(">I4sQ", 1, name, 16 + len(body)) + body


FTYP = box(b"ftyp", b"isom\0\0\2\0isommp42")
MOOV = box(b"moov", b"index " * 40)
MEDIA = bytes(range(256)) * 200
MDAT = box(b"mdat", MEDIA)


def mp4(media: bytes = MEDIA) -> bytes:
    """Index last, as most encoders write it."""
    return FTYP + box(b"free") + box(b"mdat", media) + MOOV


def fragments(count: int) -> bytes:
    """An MP4 in fragments, each of which ends where a file could."""
    fragment = box(b"moof", b"f" * 500) + box(b"mdat", MEDIA[:10_000])
    return FTYP + MOOV + fragment * count


def element(name: int, body: bytes, *, size: bytes | None = None) -> bytes:
    """An EBML element; *size* is how its length is written, if not in eight bytes."""
    id_bytes = name.to_bytes((name.bit_length() + 7) // 8, "big")
    said = (1 << 56 | len(body)).to_bytes(8, "big") if size is None else size
    return id_bytes + said + body


def webm(*, size: bytes | None = None, rest: bytes = b"") -> bytes:
    """A WebM; a *size* of ones alone is what live ones have: not known."""
    head = element(0x1A45DFA3, b"\x42\x82\x84webm", size=b"\x87")
    return head + element(0x18538067, MEDIA, size=size) + rest


def avi() -> bytes:
    body = b"AVI LIST" + MEDIA
    return b"RIFF" + struct.pack("<I", len(body)) + body


WHOLE = {
    "index last": mp4(),
    "index first": FTYP + MOOV + MDAT,
    "64 bits": FTYP + long_box(b"mdat", MEDIA) + MOOV,
    "quicktime": box(b"wide") + MDAT + MOOV,
    "fragments": fragments(5) + box(b"mfra", b"x" * 40),
    "webm": webm(),
    "webm and void": webm(rest=element(0xEC, b"\0" * 100)),
    "avi": avi(),
}
OPEN = {
    "no index yet": FTYP + MDAT,
    "no media yet": FTYP + MOOV,
    "media to the end": FTYP + MOOV + box(b"mdat", MEDIA, length=0),
    "media to be": FTYP + MOOV + box(b"mdat", MEDIA, length=len(MEDIA) + 9),
    "cut": mp4()[:-1],
    "cut in the media": mp4()[:20_000],
    "more than boxes": mp4() + b"\0",
    "zeros behind": mp4() + b"\0" * 64,
    "half a header": mp4() + b"\0\0\0\x10mo",
    "length of nothing": FTYP + box(b"mdat", MEDIA, length=4) + MOOV,
    "64 bits of nothing": FTYP + struct.pack(">I4sQ", 1, b"mdat", 3) + MOOV,
    "a fragment begun": fragments(5) + box(b"moof", b"f" * 500)[:300],
    "live webm": webm(size=b"\xff"),
    "live webm in eight bytes": webm(size=b"\x01" + b"\xff" * 7),
    "cut webm": webm()[:-1],
    "webm of a head": webm()[:12],
    "cut avi": avi()[:-1],
    "ogg": b"OggS\0\2" + MEDIA,
    "flv": b"FLV\1\5\0\0\0\t" + MEDIA,
    "mpeg-ts": b"\x47\x40\0\x10" + MEDIA,
    "text": b"all is well " * 100,
    "index without opening": MOOV[:4] + b"abcd" + MEDIA,
    "empty": b"",
}
