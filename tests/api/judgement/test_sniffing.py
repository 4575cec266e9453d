"""Video or message, by the first bytes: the one rule for every body that is read."""

import pytest

from hingfs.api.judgement.sniffing import JUDGED_BYTES, Sort, sort_of
from tests.support.containers import mp4

MP4 = mp4()[:16]
LONG = JUDGED_BYTES


@pytest.mark.parametrize(
    ("first", "believed", "proven"),
    [
        (MP4, Sort.VIDEO, Sort.VIDEO),
        (b"\x1a\x45\xdf\xa3webm", Sort.VIDEO, Sort.VIDEO),
        (b"plain test data", Sort.VIDEO, Sort.UNTOLD),
        (b"plain test data.", Sort.VIDEO, Sort.MESSAGE),
        (b"{\x00\x01 binary", Sort.UNTOLD, Sort.UNTOLD),
        (b"{\x00\x01 binary".ljust(LONG), Sort.VIDEO, Sort.MESSAGE),
        (b'{"error": "no"', Sort.MESSAGE, Sort.MESSAGE),
        (b'{"err', Sort.UNTOLD, Sort.UNTOLD),
        (b"[1]", Sort.UNTOLD, Sort.UNTOLD),  # it may go on otherwise
        (b"[1]".ljust(LONG), Sort.MESSAGE, Sort.MESSAGE),
        (b"\xef\xbb\xbf <html>", Sort.MESSAGE, Sort.MESSAGE),
        (b"  \n", Sort.UNTOLD, Sort.UNTOLD),
        (b" " * LONG, Sort.MESSAGE, Sort.MESSAGE),
        (b"", Sort.UNTOLD, Sort.UNTOLD),
    ],
)
def test_what_more_bytes_may_change_is_untold(first, believed, proven):
    assert sort_of(first, needs_proof=False) is believed
    assert sort_of(first, needs_proof=True) is proven


@pytest.mark.parametrize(
    ("whole", "believed"),
    [
        (MP4, Sort.VIDEO),
        (b"{\x00\x01 binary", Sort.VIDEO),
        (b"[1, 2]", Sort.MESSAGE),
        (b"  \n", Sort.MESSAGE),
        (b"", Sort.VIDEO),  # of no bytes: others say what that means
    ],
)
def test_the_end_of_a_body_leaves_nothing_untold(whole, believed):
    proven = Sort.VIDEO if whole == MP4 else Sort.MESSAGE

    assert sort_of(whole, needs_proof=False, ended=True) is believed
    assert sort_of(whole, needs_proof=True, ended=True) is proven
