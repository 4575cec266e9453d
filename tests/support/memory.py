"""How much memory a piece of work takes, and bodies made to take much of it."""

import contextlib
import gc
import resource
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

ASTRAL = "\U0001f600".encode()  # makes the text around it four bytes a character


@contextlib.contextmanager
def little_memory(most_bytes: int) -> Iterator[None]:
    """Python may not hold more than *most_bytes* above what it holds now.

    Mappings, as spools in memory are, it does not see.
    """
    gc.collect()
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < most_bytes, f"{peak} bytes at the peak"


@contextlib.contextmanager
def little_address_space(most_bytes: int) -> Iterator[None]:
    """The process may map no more than *most_bytes* above what it maps now.

    Whoever asks for more, in Python or below, gets a MemoryError.
    """
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + most_bytes
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def json_of(
    unit: bytes, size_bytes: int, opening: bytes = b"[", end: bytes = b"]"
) -> bytes:
    """*unit* again and again, as the elements of an array of *size_bytes*."""
    room = size_bytes - len(opening) - len(end)
    return opening + b",".join([unit] * (room // (len(unit) + 1))) + end


def keys_of(value: bytes, size_bytes: int, key: bytes = b"%x") -> bytes:
    """An object of as many keys as fit."""
    count = size_bytes // (len(key) + len(value) + 8)
    return b"{" + b",".join(b'"%s":%s' % (key % n, value) for n in range(count)) + b"}"


def many_words(size_bytes: int) -> bytes:
    """Texts below three objects each, whose keys are repeated for each text."""
    key = ASTRAL + b"k" * 60
    texts = json_of(b'"q"', size_bytes // 1024, b"[")
    for _ in range(2):
        texts = keys_of(texts, 32 * (len(texts) + 72), b"%02x" + key)
    return texts


CHAIN = b"[" * 900 + b"]" * 900
OBJECTS = b'{"":' * 800 + b"0" + b"}" * 800

# Bodies of about so many bytes that take the most memory as objects or words.
WORST_JSON: dict[str, Callable[[int], bytes]] = {
    "arrays": lambda size: json_of(b"[]", size),
    "objects": lambda size: json_of(b"{}", size),
    "objects of a key": lambda size: json_of(b'{"a":1.1}', size),
    "nested objects": lambda size: json_of(b'{"":{"":{}}}', size),
    "arrays nested deeply": lambda size: json_of(CHAIN, size),
    "objects nested deeply": lambda size: json_of(OBJECTS, size),
    "arrays without end": lambda size: b"[" * size,
    "floats": lambda size: json_of(b"1.5", size),
    "long numbers": lambda size: json_of(b"9" * 4000, size),
    "many keys": lambda size: keys_of(b"1.5", size),
    "many wide keys": lambda size: keys_of(b"{}", size, b"%x" + ASTRAL),
    "equal keys": lambda size: json_of(b'"a":1', size, b"{", b"}"),
    "short texts": lambda size: json_of(b'"ab"', size),
    "short wide texts": lambda size: json_of(b'"' + ASTRAL + b'"', size),
    "a wide text": lambda size: b'{"a":"%s"}' % (b"a" * (size - 12) + ASTRAL),
    "an escaped wide text": lambda size: (
        b'{"a":"%s\\ud83d\\ude00"}' % (b"a" * (size - 20))
    ),
    "escapes": lambda size: b'{"a":"%s"}' % (b"\\n" * (size // 2 - 4)),
    "a text without end": lambda size: b'{"a":"' + b"\\n" * (size // 2 - 4),
    "quotes that close nothing": lambda size: b"[" + b'\\"' * (size // 2 - 1),
    "words": many_words,
    "UTF-16": lambda size: ("[" + "[]," * (size // 6 - 2) + "0]").encode("utf-16"),
}


def page_of(row: bytes, size_bytes: int) -> bytes:
    return json_of(row, size_bytes, b'{"data":[', b"]}")


def page_with(row: bytes, times: int, size_bytes: int) -> bytes:
    """A page that holds *row* so many times, in its middle; the others are one text each.

    What a row takes is given back before the next one is read: rows whose sum would not
    fit the bound prove it, and more of them only cost time.
    """
    text = b'"%s"' % (b"x" * 32_000)
    fill = (size_bytes - times * (len(row) + 1)) // (2 * (len(text) + 1))
    rows = [text] * fill + [row] * times + [text] * fill
    return b'{"data":[' + b",".join(rows) + b"]}"


# Pages of a list, as `WORST_JSON`.
WORST_PAGES: dict[str, Callable[[int], bytes]] = {
    "rows": lambda size: page_of(b'{"id":"v","status":"queued"}', size),
    "empty rows": lambda size: page_of(b"{}", size),
    "long ids": lambda size: page_of(b'{"id":"%s"}' % (b"i" * 990), size),
    "wide ids": lambda size: page_of(b'{"id":"%s"}' % (ASTRAL + b"i" * 990), size),
    "one row of arrays": lambda size: b'{"data":[{"id":%s}]}' % json_of(b"[]", size),
    "rows of many keys": lambda size: page_with(keys_of(b"1.5", 200_000), 5, size),
    "rows of objects": lambda size: page_with(OBJECTS, 150, size),
    "arrays beside the rows": lambda size: b'{"data":[],"x":%s}' % json_of(b"[]", size),
    "a text beside the rows": lambda size: (
        b'{"data":[],"x":%s}' % WORST_JSON["a wide text"](size)
    ),
    **{what: WORST_JSON[what] for what in ("arrays", "quotes that close nothing")},
}
