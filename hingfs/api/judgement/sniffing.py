"""Whether a body is a video, or a message in its place, told from its first bytes. Pure.

This is the one rule for probes, ranges and whole files. A body that begins as a container
is a video; JSON, HTML and XML are messages. Any other body is believed to be a video,
since test data and rare containers exist. It needs a proof, though, if the type or coding
of the answer speaks against a video. Leaves to `verdict` what headers say.
"""

import enum
import re
import string

from ...blocks import KIB
from ...mp4 import OPENING_BOXES
from .bodies import is_markup, parsed_json

# So many bytes tell whether a body begins as a container does.
PROOF_BYTES = 16
# A body that is neither a known container nor a message by then is judged so.
JUDGED_BYTES = 8 * KIB
# Of a body, so much is parsed to see whether it is JSON.
_MOST_MESSAGE_BYTES = 64 * KIB
# A message may begin with blanks, which keep a connection alive, and with a byte order
# mark; then with one of these.
_BLANK = b"\xef\xbb\xbf" + string.whitespace.encode()
_OPENINGS = (b"{", b"[", b"<")
_JSON_BEGINNING = re.compile(rb'[{\[]\s*(\[|\{\s*"|"[A-Za-z_]{1,64}"\s*:)')
# How containers other than MP4 begin; each has bytes that are in no text.
_MAGIC = (
    re.compile(rb"\x1a\x45\xdf\xa3"),  # Matroska and WebM
    re.compile(rb"RIFF.{4}AVI ", re.DOTALL),
    re.compile(rb"OggS\x00"),
    re.compile(rb"FLV\x01[\x01\x04\x05]\x00\x00"),
    re.compile(rb"\x47\x40[\x00\x11][\x10-\x1f]\x00"),  # MPEG-TS: its first tables
    re.compile(rb"\x00\x00\x01\xba"),  # MPEG-PS
    re.compile(rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),  # ASF: WMV
)
_FOUR_OF_TEXT = re.compile(rb"[\t\n\r -~]{4}")


class Sort(enum.Enum):
    """What a body is."""

    VIDEO = "a video"
    MESSAGE = "something else in place of a video"
    UNTOLD = "more bytes are needed to tell"


def sort_of(first: bytes, *, needs_proof: bool, ended: bool = False) -> Sort:
    """The sort of a body that begins with *first*; never UNTOLD if it *ended* there.

    *needs_proof*: only a container is believed to be a video.
    """
    if is_container(first):
        return Sort.VIDEO
    said = first.lstrip(_BLANK)
    if _begins_as_message(said):
        return Sort.MESSAGE
    if ended or len(first) >= (PROOF_BYTES if needs_proof else JUDGED_BYTES):
        is_blank = bool(first) and not said
        is_none = needs_proof or is_blank or looks_like_message(said)
        return Sort.MESSAGE if is_none else Sort.VIDEO
    may_be_message = not said or said[:1] in _OPENINGS
    return Sort.UNTOLD if needs_proof or may_be_message else Sort.VIDEO


def looks_like_message(first: bytes) -> bool:
    """Whether a body that begins with *first* is JSON, HTML or XML instead of video.

    *first* is the whole body or its beginning. A body needs no container's magic to be a
    video: test data and rare containers exist, and plain text may be such data.
    """
    if _begins_as_message(first):
        return True
    is_json = _stripped(first)[:1] in (b"{", b"[")
    return is_json and parsed_json(first[:_MOST_MESSAGE_BYTES]) is not None


def _begins_as_message(first: bytes) -> bool:
    """Whether no video begins with *first*, whatever follows."""
    return is_markup(first) or bool(_JSON_BEGINNING.match(_stripped(first)))


def _stripped(first: bytes) -> bytes:
    return first[:JUDGED_BYTES].strip().removeprefix(b"\xef\xbb\xbf").lstrip()


def is_container(first: bytes) -> bool:
    """Whether a body that begins with *first* is certainly a video.

    A body that passes is believed under any type; 16 bytes are enough. An MP4 must begin
    with a box that opens a file, and the length of that box must not be text.
    """
    length = int.from_bytes(first[:4], "big")
    if first[4:8] in OPENING_BOXES:
        sane = length in (0, 1) or length >= 8
        return sane and not _FOUR_OF_TEXT.match(first)
    return any(magic.match(first) for magic in _MAGIC)
