"""Whether a page of the list says that it failed, and so may lack rows. Pure.

Servers say so by a flag, a code, a word or a sentence, each under many names. Leaves to
`listing` in which part of a page these stand, and which are its rows.
"""

import re
from collections.abc import Callable

from ...errors import RateLimited, ServerBroken, printable
from ...http import pauses
from . import wording
from .video_object import word_of
from .wording import Fields, fields_of

# Any value under a name of _FAILURES tells of a failure. The others may tell of success
# as well: a flag, a number or a word, a sentence.
_FAILURES = ("error", "errors", "detail")
_FLAGS = ("success", "succeeded", "ok")
_CODES = (
    *("code", "status_code", "error_code", "err_code", "errcode", "errno", "err_no"),
    *("ret_code", "retcode", "result_code"),
)
_MESSAGES = (
    *("message", "msg", "error_message", "error_msg", "err_msg", "errmsg"),
    *("status_message", "status_msg"),
)
_TELLING = (*_FAILURES, *_MESSAGES, *_CODES, "status", "state")
_CODES_OF_SUCCESS = re.compile(r"0+|200|[12]0000|success|ok|succeed|succeeded")
_CODES_OF_FAILURE = re.compile(r"[45]\d\d")
_FAILURE_TEXT = re.compile(
    r"fail|(?<!no )(?<!0 )(?<!without )error|exception|denied|invalid|unavailable|"
    r"time[d ]*out|throttl|busy|locked|offline|try.{0,10}(again|later)|incomplete|"
    r"partial|unsuccess|not success|失败|错误|超时|异常|繁忙|不成功|未成功|稍后",
    re.IGNORECASE,
)
_SUCCESS_TEXT = re.compile(
    r"success|succeed|成功|^\W*(ok|okay|done|no error|正常)\W*$", re.IGNORECASE
)


def refuse_failure(part: Fields, rows: list[object] | None) -> None:
    """Raise if *part* of a page with these *rows* says that the page failed.

    RateLimited if it asks for a pause, else ServerBroken.
    """
    if not _has_failed(part, rows):
        return
    said = " ".join(_said_in(part[name]) for name in _TELLING if part.get(name))
    if pauses.speaks_of_limit(said.encode()):
        raise RateLimited(f"the list asks for a pause: {said}")
    raise ServerBroken(f"the list says: {said or 'a failure'}")


def tells_success(part: Fields, name: str) -> bool:
    """Whether the value under *name* in *part* tells of success and of nothing else."""
    if name in _MESSAGES:
        return _succeeded(_SUCCESS_TEXT.search, part[name]) is True
    words = [_succeeded(_SUCCESS_TEXT.search, part.get(said)) for said in _MESSAGES]
    if name in _CODES and True in words:
        return True
    says = name in (*_CODES, *_FLAGS) or word_of({name: part[name]})
    return bool(says) and _succeeded(_CODES_OF_SUCCESS.fullmatch, part[name]) is True


def _said_in(value: object) -> str:
    sentence = fields_of(value).get("message")
    return printable(sentence if isinstance(sentence, str) else value, 120)


def _has_failed(part: Fields, rows: list[object] | None) -> bool:
    """Whether *part* tells of a failure; without *rows*, whether it may mean one."""
    codes = [part[name] for name in _CODES if part.get(name) not in (None, "")]
    messages = [part[name] for name in _MESSAGES if part.get(name) not in (None, "")]
    by_code = [_succeeded(_CODES_OF_SUCCESS.fullmatch, code) for code in codes]
    by_words = [_succeeded(_SUCCESS_TEXT.search, message) for message in messages]
    flags = [part.get(name) for name in _FLAGS]
    if any(map(part.get, _FAILURES)) or False in (*by_code, *by_words, *flags):
        return True
    if word_of(part) in wording.FAILED_WORDS or _names_error(part.get("status")):
        return True
    if True in by_words:
        return False
    # Beside an unknown code, the rows may be only a part of the page.
    strange = None in by_code and (not rows or bool(part.get("code")))
    # An empty list may be the success that a code or flag tells of; a page without any
    # list is not.
    promised = rows is not None and (codes or True in flags)
    return strange or bool(messages and not rows and not promised)


def _names_error(status: object) -> bool:
    is_word = isinstance(status, str | int)
    return is_word and _succeeded(_CODES_OF_SUCCESS.fullmatch, status) is False


def _succeeded(success: Callable[[str], object], said: object) -> bool | None:
    """Whether a code or message tells of *success*; None if of neither that nor failure."""
    text = printable(said, 200).lower()
    if _FAILURE_TEXT.search(text) or _CODES_OF_FAILURE.fullmatch(text):
        return False
    if wording.plain_word(text[:80]) in wording.FAILED_WORDS:
        return False
    return True if said is True or success(text) else None
