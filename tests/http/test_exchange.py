"""An answer belongs to its request: reading a connection, and trusting the bytes."""

import contextlib
import gzip
import os
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from hingfs.blocks import views_of
from hingfs.errors import (
    BodyCut,
    HingError,
    NoAnswer,
    ServerBroken,
    TransportError,
    Undecodable,
    Unreachable,
)
from hingfs.http.answer import Answer
from hingfs.http.connections import Keeping
from hingfs.http.dialing import LIVELY
from hingfs.http.exchange import MOST_HEAD_BYTES
from hingfs.http.transport import HttpTransport
from hingfs.settings import EndpointConfig
from hingfs.token import Token
from tests.support.certificates import certificate
from tests.support.mounting import eventually
from tests.support.raw import Asked, Hangup, RawServer, Reset, Script

Pieces = Sequence[bytes | float]
STALL = 0.3
# Many times what a wait may last, on a machine that is busy with other things.
PATIENT = 5.0
# A peer that acknowledges nothing is noticed soon.
QUICK = Keeping(
    options=[*LIVELY[:-1], (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 300)]
)


@pytest.fixture
def serve():
    """`serve(script)`: the server, and a transport to it."""
    open_: list[HttpTransport] = []
    servers: list[RawServer] = []

    def serve(script: Script, **options) -> tuple[HttpTransport, RawServer]:
        server = RawServer(script, options.pop("tls", None))
        server.__enter__()
        servers.append(server)
        options = {"connect_seconds": 2.0, "stall_seconds": STALL, **options}
        url = options.pop("base_url", server.base_url)
        keeping = options.pop("keeping", Keeping())
        config = EndpointConfig(url, token=Token("oh-t"), **options)
        open_.append(HttpTransport(config, keeping))
        return open_[-1], server

    yield serve
    for transport in open_:
        transport.close()
    for server in servers:
        server.__exit__(None, None, None)


def ask(
    transport: HttpTransport, path: str, method: str = "GET", seconds: float = PATIENT
) -> Answer:
    deadline = time.monotonic() + seconds
    return transport.request(method, transport.url_of(path), deadline=deadline)


def body_of(answer: Answer) -> bytes:
    target = memoryview(bytearray(1 << 20))
    count = 0
    with answer:
        while came := answer.read_into([target[count:]]):
            count += came
    return bytes(target[:count])


def read(transport: HttpTransport, path: str, **options) -> bytes:
    return body_of(ask(transport, path, **options))


def name_of(asked: Asked) -> bytes:
    """The body of each path; all have one length."""
    return asked.target.rjust(40).encode()


def named(asked: Asked) -> Iterator[bytes]:
    yield ok(name_of(asked))


def saying(*pieces: bytes | float, again: Pieces = (), hangup: bool = False) -> Script:
    """*pieces* whatever is asked for, then *again* for ever, or the connection's end."""

    def script(_asked: Asked) -> Iterator[bytes | float]:
        yield from pieces
        while again:
            yield from again
        if hangup:
            raise Hangup

    return script


def check_two(connections: list[int], transport: HttpTransport, server: RawServer):
    """Ask for two videos in turn: each has its own body, by one of *connections*."""
    for path in ("/v1/videos/a", "/v1/videos/b"):
        assert read(transport, path) == path.rjust(40).encode()
    assert server.connections == connections


@contextlib.contextmanager
def soon() -> Iterator[None]:
    """The block ends long before the time-outs that must not count."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < PATIENT


def ok(body: bytes, *lines: bytes, length: int | None = None) -> bytes:
    length = len(body) if length is None else length
    head = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % length, *lines, b"", b""]
    return b"\r\n".join(head) + body


def chunked(*chunks: bytes, last: bytes = b"0\r\n\r\n", head: bytes = b"") -> bytes:
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + head + b"\r\n" + framed
    ) + last


# --- interim answers --------------------------------------------------------------------

INTERIM = {
    "100": b"HTTP/1.1 100 Continue\r\n\r\n",
    "102": b"HTTP/1.1 102 Processing\r\n\r\n",
    "103": b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n",
    "199": b"HTTP/1.1 199 Whatever\r\nContent-Length: 40\r\n\r\n",
    "many": b"HTTP/1.1 102 Processing\r\n\r\n" * 200,
    "many kinds": b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n",
}


@pytest.mark.parametrize("interim", INTERIM.values(), ids=INTERIM)
def test_an_interim_answer_is_none(serve, interim):
    """RFC 9110 §15.2: any number of them; the answer behind them is the request's own."""

    def script(asked: Asked) -> Iterator[bytes]:
        yield interim
        yield ok(name_of(asked))

    transport, server = serve(script)

    for path in ("/v1/videos/a", "/v1/videos/b", "/v1/videos/c"):
        assert read(transport, path) == path.rjust(40).encode()
    assert server.connections == [0, 0, 0]


def test_interim_answers_that_never_end_are_no_answer(serve):
    transport, _ = serve(saying(again=(INTERIM["102"], 0.02)))

    with pytest.raises(NoAnswer):
        read(transport, "/v1/videos/a", seconds=0.5)


HEADS_IN_DOUBT: dict[str, tuple[Script, str]] = {
    "interim answers beyond a bound": (
        saying(INTERIM["102"] * (MOST_HEAD_BYTES // len(INTERIM["102"]) + 1)),
        "headers",
    ),
    "another protocol": (
        saying(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"),
        "protocol",
    ),
    "headers without end": (
        saying(b"HTTP/1.1 200 OK\r\n", again=(b"X: y\r\n" * 1000,)),
        "headers",
    ),
}


@pytest.mark.parametrize(
    ("script", "said"), HEADS_IN_DOUBT.values(), ids=HEADS_IN_DOUBT
)
def test_a_head_beyond_reason_is_broken(serve, script, said):
    with pytest.raises(ServerBroken, match=said):
        read(serve(script)[0], "/v1/videos/a")


# --- connections that are used again ------------------------------------------------------


def behind(
    extra: bytes,
    *,
    apart: bool,
    first: bytes = b"",
    sent: threading.Event | None = None,
) -> Script:
    """Each answer is followed by *extra*, in the same segment or in one of its own.

    *sent* is set once it has left; by loopback it is there as well, then.
    """

    def script(asked: Asked) -> Iterator[bytes | float]:
        answer = first or ok(name_of(asked))
        if asked.number or asked.connection:
            yield ok(name_of(asked))
        elif apart:
            yield answer
            yield extra
        else:
            yield answer + extra
        if sent is not None:
            sent.set()

    return script


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("extra", [b"\r\n", b"x", ok(b"another's".rjust(40))])
def test_bytes_behind_an_answer_end_its_connection(serve, extra, apart):
    sent = threading.Event()
    transport, server = serve(behind(extra, apart=apart, sent=sent))
    read(transport, "/v1/videos/a")
    assert sent.wait(PATIENT)  # sooner it is undetectable

    assert read(transport, "/v1/videos/b") == b"/v1/videos/b".rjust(40)
    assert server.connections == [0, 1]


@pytest.mark.parametrize(
    ("method", "first"),
    [
        ("HEAD", ok(b"x" * 40)),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\nbody"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\n\r\nbody"),
        ("GET", ok(b"x" * 40, length=20)),
        ("GET", ok(b"", b"Transfer-Encoding: chunked") + b"0\r\n\r\n"),
    ],
)
def test_a_body_where_none_should_be_ends_the_connection(serve, method, first):
    transport, server = serve(behind(b"", apart=False, first=first))
    read(transport, "/v1/videos/a", method=method)

    assert read(transport, "/v1/videos/b") == b"/v1/videos/b".rjust(40)
    assert server.connections == [0, 1]


def test_a_body_that_is_not_read_out_ends_the_connection(serve):
    transport, server = serve(named)
    with ask(transport, "/v1/videos/a") as answer:
        answer.read_some(10)

    assert read(transport, "/v1/videos/b") == b"/v1/videos/b".rjust(40)
    assert server.connections == [0, 1]


def test_an_answer_that_was_given_up_is_nobody_else_s(serve):
    """The server answers late, after its caller has gone."""
    late = iter([0.4])

    def script(asked: Asked) -> Iterator[bytes | float]:
        yield next(late, 0.0)
        yield ok(name_of(asked))

    transport, server = serve(script)
    with pytest.raises(NoAnswer):
        read(transport, "/v1/videos/a", seconds=0.2)

    assert read(transport, "/v1/videos/b") == b"/v1/videos/b".rjust(40)
    assert server.connections == [0, 1]


@pytest.mark.parametrize(
    ("line", "again"),
    [(b"Connection: keep-alive", True), (b"Connection: close", False)],
)
def test_a_connection_is_kept_as_its_server_says(serve, line, again):
    def script(asked: Asked) -> Iterator[bytes]:
        yield ok(name_of(asked), line)

    check_two([0, 0] if again else [0, 1], *serve(script))


@pytest.fixture
def tls(tmp_path, monkeypatch) -> ssl.SSLContext:
    """Of a server on loopback whose authority we know."""
    files = certificate(tmp_path, "127.0.0.1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", files[0])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    return context


def test_what_tls_has_deciphered_already_ends_the_connection(serve, tls):
    """The socket does not show the bytes: TLS has read their record."""
    body = os.urandom(20_000)

    def script(asked: Asked) -> Iterator[bytes]:
        if asked.connection == 0:
            yield ok(body, length=len(body) - 3000)
        yield ok(name_of(asked))

    transport, server = serve(script, tls=tls)

    assert read(transport, "/v1/videos/a") == body[:-3000]
    assert read(transport, "/v1/videos/b") == b"/v1/videos/b".rjust(40)
    assert server.connections == [0, 1]


# --- heads --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [b"X-Note no colon", b"X-Note : blank", b"X\0: x", b"X: a\rb"],
)
def test_a_header_line_in_doubt_spoils_the_answer(serve, line):
    """The line behind it would be lost: here, that the body is in chunks."""

    def script(asked: Asked) -> Iterator[bytes]:
        yield (
            b"HTTP/1.1 200 OK\r\n%b\r\nTransfer-Encoding: chunked\r\n\r\n" % line
            + b"28\r\n%b\r\n0\r\n\r\n" % name_of(asked)
        )

    with pytest.raises(ServerBroken, match="no HTTP"):
        read(serve(script)[0], "/v1/videos/a")


def test_headers_of_any_reasonable_number_are_read(serve):
    lines = [b"X-%d: %b" % (number, b"x" * 100) for number in range(2000)]

    def script(asked: Asked) -> Iterator[bytes]:
        yield ok(name_of(asked), *lines)

    assert read(serve(script)[0], "/v1/videos/a") == b"/v1/videos/a".rjust(40)


@pytest.mark.parametrize("cut", [0, 5, 30])
def test_a_head_that_is_cut_is_no_answer(serve, cut):
    with pytest.raises(TransportError) as failed:
        read(serve(saying(ok(b"")[:cut], hangup=True))[0], "/v1/videos/a")
    assert isinstance(failed.value, Unreachable if cut == 0 else ServerBroken)


# --- framing of bodies ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        chunked(b"abc", b"defg"),
        chunked(*(b"%c" % byte for byte in b"abcdefg")),
        chunked(b"abcdefg", last=b"0;x=y\r\nX-Sum: 1\r\nY: z\r\n\r\n"),
        chunked(b"abcdefg", last=b"000\r\n\r\n"),
        chunked() .removesuffix(b"0\r\n\r\n") + b"7;ext=1 \r\nabcdefg\r\n0\r\n\r\n",
    ],
    ids=["chunks", "of one byte", "trailers", "zeros", "extensions"],
)  # fmt: skip
@pytest.mark.parametrize("size", [1, 3, 1 << 20])
def test_chunks_are_put_together(serve, text, size):
    """However they are cut into segments, the connection is kept."""
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    transport, server = serve(saying(*pieces))

    assert read(transport, "/v1/videos/a") == b"abcdefg"
    assert read(transport, "/v1/videos/b") == b"abcdefg"
    assert server.connections == [0, 0]


CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BROKEN_CHUNKS = {
    "a negative size": b"-5\r\nabcde\r\n0\r\n\r\n",
    "a sign": b"+5\r\nabcde\r\n0\r\n\r\n",
    "0x": b"0x5\r\nabcde\r\n0\r\n\r\n",
    "a size that no video has": b"7fffffffffffffff\r\nabcde\r\n0\r\n\r\n",
    "no size": b"\r\nabcde\r\n0\r\n\r\n",
    "17 digits": b"00000000000000005\r\nabcde\r\n0\r\n\r\n",
    "a bare line feed": b"5\nabcde\r\n0\r\n\r\n",
    "an extension without end": b"5;" + b"x" * 10_000,
    "trailers without end": b"0\r\n" + b"X: y\r\n" * 10_000,
    "a trailer that is none": b"0\r\nHTTP/1.1 200 OK\r\n\r\n",
}


@pytest.mark.parametrize("text", BROKEN_CHUNKS.values(), ids=BROKEN_CHUNKS)
def test_a_chunk_in_doubt_is_refused(serve, text):
    with pytest.raises(ServerBroken):
        read(serve(saying(CHUNKS + text))[0], "/v1/videos/a")


LIES = {
    "it is longer than it said": b"5\r\ncdefghi\r\n",
    "its last bytes would be the size of the next one": b"4\r\ncde\r\n3\r\nfgh\r\n",
    # It may seem to end where the next one's size does; by 8 more it is a true one.
    **{
        f"it takes in {more} bytes of the framing behind it": (
            b"%x\r\ncdefghij\r\n3\r\nklm\r\n3\r\nnop\r\n" % (8 + more)
        )
        for more in (1, 2, 3, 4, 5, 6, 7, 9, 10, 11)
    },
}


@pytest.mark.parametrize("chunks", LIES.values(), ids=LIES)
def test_a_chunk_that_says_a_wrong_size_is_refused(serve, chunks):
    """Bytes before its end may be true, but none of them is handed out."""
    script = saying(CHUNKS + b"2\r\nab\r\n", chunks + b"0\r\n\r\n")

    with ask(serve(script)[0], "/v1/videos/a") as answer:
        assert answer.read_some(100) == b"ab"
        for _ in range(2):  # again, whoever asks
            with pytest.raises(ServerBroken):
                answer.read_some(100)


def test_a_chunk_that_hardly_comes_is_cut(serve):
    """A chunk is handed out as a whole; its wait is that of any body."""
    script = saying(CHUNKS + b"10000\r\n", again=(b"x", STALL / 10))

    with soon(), pytest.raises(BodyCut, match="slowly"):
        read(serve(script)[0], "/v1/videos/a")


PAUSED = bytes(range(40, 80))
PAUSED_FRAMES = {
    "chunks": chunked(
        PAUSED[:17], PAUSED[17:29], PAUSED[29:], last=b"0\r\nA: b\r\n\r\n"
    ),
    "length": ok(PAUSED),
}


@pytest.fixture(params=[None, "TLSv1_2", "TLSv1_3"])
def scheme(request, tls):
    """Options of `serve`: without TLS, and with it."""
    if request.param is None:
        return {}
    tls.minimum_version = tls.maximum_version = ssl.TLSVersion[request.param]
    return {"tls": tls}


def take(answer: Answer, size: int, block: int = 1 << 19) -> tuple[bytes, Exception]:
    """The bytes that a reader of whole blocks gets of *size*, and what ended them."""
    blocks = [memoryview(bytearray(block)) for _ in range(-(-size // block))]
    count = 0
    try:
        while count < size:
            views = views_of(blocks, count, size)
            least = min(block, len(views[0]))
            count += answer.read_into(views, least, time.monotonic() + 1)
    except HingError as error:
        return b"".join(blocks)[:count], error
    return b"".join(blocks)[:count], EOFError()


@pytest.mark.parametrize("piece", [37, 5000, 3 << 20], ids=["tiny", "odd", "full"])
def test_a_body_in_records_of_any_size_is_whole(serve, scheme, piece):
    """The first shares its record with the head; the last, with nothing."""
    body = os.urandom(min(piece * 3000, 3_000_001))

    def script(_asked: Asked) -> Iterator[bytes]:
        text = ok(body)
        yield from (text[at : at + piece] for at in range(0, len(text), piece))

    transport, server = serve(script, **scheme, stall_seconds=PATIENT)
    for _ in range(2):
        with ask(transport, "/v1/videos/a") as answer:
            assert take(answer, len(body))[0] == body
    assert server.connections == [0, 0]


@pytest.mark.parametrize("ending", [Hangup, Reset, None], ids=["fin", "rst", "stall"])
def test_what_came_before_a_body_broke_off_is_handed_out(serve, scheme, ending):
    body = os.urandom(1_500_000)

    def script(asked: Asked) -> Iterator[bytes | float]:
        if asked.number or asked.connection:
            yield ok(name_of(asked))
            return
        yield ok(body, length=2_000_000)
        if ending is Reset:
            yield STALL / 2  # a reset takes what its peer has not received
        if ending is not None:
            raise ending
        yield PATIENT

    transport, server = serve(script, **scheme)
    with ask(transport, "/v1/videos/a") as answer:
        data, error = take(answer, 2_000_000)
    assert isinstance(error, BodyCut)
    assert data == body
    assert read(transport, "/v1/videos/b") == b"/v1/videos/b".rjust(40)
    assert server.connections == [0, 1]


def test_a_reader_of_blocks_is_woken_by_an_abort(serve, scheme):
    def script(_asked: Asked) -> Iterator[bytes | float]:
        yield ok(os.urandom(100_000), length=1 << 20)
        yield PATIENT

    transport, _ = serve(script, **scheme, stall_seconds=1000.0)
    began = time.monotonic()
    with ask(transport, "/v1/videos/a") as answer:
        threading.Timer(0.2, answer.abort).start()
        assert isinstance(take(answer, 1 << 20)[1], BodyCut)
    assert time.monotonic() - began < PATIENT


def test_a_connection_made_ahead_carries_the_first_request(serve, scheme):
    """Though TLS 1.3 has sent session tickets on it meanwhile."""

    def script(asked: Asked) -> Iterator[bytes]:
        yield ok(name_of(asked))

    transport, server = serve(script, **scheme)
    transport.warm(1)
    if (
        scheme
    ):  # the server keeps the socket once its handshake, tickets included, is over
        eventually(
            lambda: any(isinstance(one, ssl.SSLSocket) for one in server._sockets),
            "the tickets",
        )

    read(transport, "/v1/videos/a")
    assert server.connections == [0]


@pytest.mark.parametrize("pause", [0.1, 2 * STALL], ids=["pause", "stall"])
@pytest.mark.parametrize("text", PAUSED_FRAMES.values(), ids=PAUSED_FRAMES)
def test_wherever_a_body_pauses_no_byte_of_it_is_lost(serve, scheme, text, pause):
    """A reader that takes what is here, and comes again, gets no other bytes.

    It is told that the body stalled, or it goes on where it was.
    """
    start = text.index(b"\r\n\r\n") + 4

    def script(asked: Asked) -> Iterator[bytes | float]:
        at = int(asked.target.rpartition("/")[2])
        yield text[: (start + at) // 2]
        yield 0.02
        yield text[(start + at) // 2 : at]
        yield pause
        yield text[at:]

    def handed_out(at: int) -> tuple[bytes, HingError | None]:
        target, count = memoryview(bytearray(1 << 10)), 0
        with ask(transport, f"/v1/videos/{at}") as answer:
            try:
                while came := answer.read_into(
                    [target[count:]], 100, time.monotonic() + 0.03
                ):
                    count += came
            except HingError as error:
                return bytes(target[:count]), error
        return bytes(target[:count]), None

    # A busy machine adds to a pause, and must not make a stall of it.
    stall_seconds = STALL if pause > STALL else 5.0
    transport, _ = serve(script, **scheme, connections=64, stall_seconds=stall_seconds)
    places = range(start + 1, len(text))
    with ThreadPoolExecutor(len(places)) as readers:
        found = list(readers.map(handed_out, places))

    for at, (data, error) in zip(places, found, strict=True):
        assert PAUSED.startswith(data), at
        assert data == PAUSED if error is None else isinstance(error, BodyCut), at
    if pause < STALL:
        assert [error for _, error in found if error is not None] == []


def test_a_chunk_larger_than_is_held_comes_as_it_comes(serve):
    body = os.urandom(3 << 20)
    transport, server = serve(saying(chunked(body)))
    for _ in range(2):
        target = memoryview(bytearray(len(body)))
        with ask(transport, "/v1/videos/a") as answer:
            assert answer.read_into([target], len(body)) == len(body)
            assert answer.read_some(1) == b""
        assert target == body
    assert server.connections == [0, 0]


def test_a_head_that_has_begun_is_not_waited_for_as_long_as_a_late_one(serve):
    script = saying(0.5, b"HTTP/1.1 200 OK\r\nX: ", again=(b"y", 0.02))
    transport, _ = serve(script, keeping=Keeping(head_seconds=0.3))

    with soon(), pytest.raises(NoAnswer):
        read(transport, "/v1/videos/a", seconds=1000.0)


DRIPS: dict[str, tuple[bytes, bytes]] = {
    "a size": (CHUNKS, b"0"),
    "an extension": (CHUNKS + b"5;", b"x"),
    "a trailer": (CHUNKS + b"0\r\nX: ", b"x"),
    "many trailers": (CHUNKS + b"0\r\n", b"X: y\r\n"),
    "the end of a chunk": (CHUNKS + b"5\r\nabcde", b""),
    "no size": (CHUNKS, b""),
}


@pytest.mark.parametrize(("first", "drip"), DRIPS.values(), ids=DRIPS)
def test_framing_that_drips_ends_at_the_stall_timeout(serve, first, drip):
    """A byte now and then is no byte of the video."""
    with soon(), pytest.raises(BodyCut):
        read(serve(saying(first, again=(drip, STALL / 10)))[0], "/v1/videos/a")


@pytest.mark.parametrize(("first", "drip"), DRIPS.values(), ids=DRIPS)
def test_a_text_whose_framing_drips_ends_at_the_deadline(serve, first, drip):
    script = saying(first.replace(b"200 OK", b"404 Not Found"), again=(drip, 0.02))
    transport, _ = serve(script, stall_seconds=1000.0)

    with soon(), ask(transport, "/v1/videos/a") as answer, pytest.raises(HingError):
        answer.read_text(time.monotonic() + 0.3)


@pytest.mark.parametrize("ending", [b"Connection: close\r\n\r\n", b"\r\n"])
def test_a_body_in_chunks_whose_head_has_lost_that_is_refused(serve, ending):
    text = b"HTTP/1.1 200 OK\r\n" + ending + b"5\r\nabcde\r\n0\r\n\r\n"

    with pytest.raises(ServerBroken, match="chunks"):
        read(serve(saying(text, hangup=True))[0], "/v1/videos/a")


def test_a_body_that_ends_with_its_connection_is_whole(serve):
    def script(asked: Asked) -> Iterator[bytes]:
        yield b"HTTP/1.0 200 OK\r\n\r\n" + name_of(asked)
        raise Hangup

    check_two([0, 1], *serve(script))


@pytest.mark.parametrize("goodbye", [False, True])
def test_by_tls_a_body_without_a_length_ends_with_a_goodbye(serve, tls, goodbye):
    """RFC 9112 §9.8: without one, anybody may have cut it off."""

    def script(asked: Asked) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + name_of(asked)
        if goodbye:
            sock = server._sockets[-1]
            assert isinstance(sock, ssl.SSLSocket)
            sock.unwrap()
        raise Hangup

    transport, server = serve(script, tls=tls)
    with ask(transport, "/v1/videos/a") as answer:
        assert answer.read_some(100) == b"/v1/videos/a".rjust(40)
        if goodbye:
            assert answer.read_some(100) == b""
        else:
            with pytest.raises(BodyCut, match="TLS"):
                answer.read_some(100)


# --- bodies of a length that is known otherwise ---------------------------------------------

WANTED = b"0123456789"


def expected(serve, text: bytes) -> bytes:
    """The bytes that are handed out of a body that must have ten."""
    taken = b""
    with ask(serve(saying(text, hangup=True))[0], "/v1/videos/a") as answer:
        answer.expect(10)
        try:
            while piece := answer.read_some(4):
                taken += piece
        except (BodyCut, ServerBroken):
            taken += b"!"
    return taken


@pytest.mark.parametrize(
    ("text", "handed_out"),
    [
        (chunked(WANTED), WANTED),
        (chunked(b"01234", b"56789"), WANTED),
        (chunked(WANTED + b"a"), b"!"),
        (chunked(b"01234", b"56789a"), b"01234!"),
        (chunked(WANTED, b"a"), b"01234567!"),
        (chunked(WANTED, last=b""), b"01234567!"),
        (chunked(WANTED, last=b"0\r\nx"), b"01234567!"),
        (chunked(WANTED, last=b"zz\r\n"), b"!"),
        (chunked(b"01234"), b"01234"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + WANTED, WANTED),
        (b"HTTP/1.0 200 OK\r\n\r\n" + WANTED + b"a", b"01234567!"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + WANTED[:5], b"01234!"),
    ],
)
def test_the_last_bytes_are_handed_out_once_nothing_comes_behind(
    serve, text, handed_out
):
    assert expected(serve, text) == handed_out


# --- content codings --------------------------------------------------------------------------


def decoded(serve, body: bytes, coding: str) -> bytes:
    script = saying(ok(body, b"Content-Encoding: " + coding.encode()))
    pieces = []
    with ask(serve(script)[0], "/v1/videos/a") as answer:
        while piece := answer.read_some(1000, decoded=True):
            pieces.append(piece)
    return b"".join(pieces)


TEXT = os.urandom(50_000) + b"\0" * 50_000
RAW = zlib.compressobj(wbits=-15)
DEFLATED = RAW.compress(TEXT) + RAW.flush()


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (gzip.compress(TEXT), "gzip"),
        (gzip.compress(TEXT), "X-GZIP"),
        (gzip.compress(TEXT[:99]) + gzip.compress(TEXT[99:]), "gzip"),
        (zlib.compress(TEXT), "deflate"),
        (DEFLATED, "deflate"),
    ],
)
def test_a_coded_body_is_undone(serve, body, coding):
    assert decoded(serve, body, coding) == TEXT


@pytest.mark.parametrize(
    ("body", "coding", "error"),
    [
        (gzip.compress(TEXT)[:-9], "gzip", BodyCut),
        (gzip.compress(TEXT) + b"more", "gzip", Undecodable),
        (TEXT, "gzip", Undecodable),
        (TEXT, "br", Undecodable),
        (TEXT, "gzip, gzip", Undecodable),
    ],
)
def test_a_coded_body_in_doubt_is_refused(serve, body, coding, error):
    with pytest.raises(error):
        decoded(serve, body, coding)


def test_a_coded_body_of_nothing_ends_at_the_stall_timeout(serve):
    """Empty blocks of deflate bring no byte of the file."""

    def script(_asked: Asked) -> Iterator[bytes | float]:
        packer = zlib.compressobj(wbits=31)
        yield (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 99999\r\n\r\n"
        )
        while True:
            yield packer.flush(zlib.Z_FULL_FLUSH) or packer.compress(b"")
            yield 0.02

    with (
        soon(),
        ask(serve(script)[0], "/v1/videos/a") as answer,
        pytest.raises(BodyCut),
    ):
        answer.read_some(100, decoded=True)


# --- through a proxy ---------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\n"
TUNNELS: dict[str, tuple[Pieces, Pieces, type[HingError]]] = {
    "junk": ([b"220 mail.example ESMTP\r\n\r\n"], (), ServerBroken),
    "a refusal": ([b"HTTP/1.1 407 Who?\r\n\r\n"], (), Unreachable),
    "more than asked": ([HEAD + b"\r\n\x16"], (), ServerBroken),
    "headers without end": ([HEAD], [b"X: y\r\n" * 1000], ServerBroken),
    "a drip": ([HEAD + b"X: "], [b"y", 0.02], Unreachable),
    "nothing": ([1000.0], (), Unreachable),
    "an end": ([b"HTTP/1.1 200 O"], (), ServerBroken),
}


@pytest.mark.parametrize(("pieces", "again", "error"), TUNNELS.values(), ids=TUNNELS)
def test_a_proxy_that_makes_no_tunnel_is_told_in_time(
    serve, monkeypatch, *, pieces, again, error
):
    script = saying(*pieces, again=again, hangup=True)
    with soon(), RawServer(script) as proxy:
        monkeypatch.setenv("https_proxy", proxy.base_url)
        transport, _ = serve(
            script, base_url="https://api.example", connect_seconds=0.5
        )
        with pytest.raises(error):
            read(transport, "/v1/videos/a")
    assert proxy.asked[0].head.startswith(b"CONNECT api.example:443 HTTP/1.1\r\n")
    assert b"Authorization" not in proxy.asked[0].head


# --- silence -------------------------------------------------------------------------------------


def test_silence_about_one_video_is_not_the_server_s(serve):
    """However often we ask for it. Silence about several videos is the server's."""
    over = False

    def script(asked: Asked) -> Iterator[bytes | float]:
        if not over:
            yield 1000.0
        yield ok(name_of(asked))

    transport, _ = serve(script)

    def ask_about(video_id: str) -> None:
        deadline = time.monotonic() + 0.05
        url = transport.url_of("/v1/videos/" + video_id)
        with pytest.raises(NoAnswer):
            transport.request("GET", url, deadline=deadline, about=video_id)

    for _ in range(6):
        ask_about("slow")
    assert transport.breaker.tries(3) == 3
    for number in range(3):
        ask_about(f"slow-{number}")
    with pytest.raises(Unreachable):
        transport.breaker.tries(3)


def test_close_wakes_a_thread_that_waits_for_headers(serve):
    transport, server = serve(saying(1000.0))
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(read, transport, "/v1/videos/a", seconds=60)
        eventually(lambda: server.asked, "a request")
        transport.close()
        with pytest.raises(HingError):
            waiting.result(PATIENT)


# --- connections that died unseen -----------------------------------------------------------------


def dying(*, reset: bool, after: int) -> Script:
    """Each connection but those opened later dies at its second request."""

    def script(asked: Asked) -> Iterator[bytes]:
        if asked.number and asked.connection < after:
            raise Reset if reset else Hangup
        yield ok(name_of(asked))

    return script


@pytest.mark.parametrize("reset", [False, True])
def test_kept_connections_that_died_use_up_no_try(serve, reset):
    """Ten of them: the first says it for all, and the caller hears of none."""
    transport, server = serve(dying(reset=reset, after=10))
    kept = [ask(transport, f"/v1/videos/{number}") for number in range(10)]
    for answer in kept:
        body_of(answer)

    assert read(transport, "/v1/videos/a") == b"/v1/videos/a".rjust(40)
    assert server.connections[10:] in ([9, 10], [0, 10])
    assert transport.breaker.tries(3) == 3
    assert not transport.breaker.seems_dead


def test_kept_connections_that_died_in_silence_cost_one_time_out(serve):
    """Nothing is acknowledged any more: a NAT that forgot them, a VPN that went down."""

    def script(asked: Asked) -> Iterator[bytes]:
        if asked.connection < 10:
            server.deafen(asked.connection)
        yield ok(name_of(asked))

    transport, server = serve(script, keeping=QUICK)
    kept = [ask(transport, f"/v1/videos/{number}") for number in range(10)]
    for answer in kept:
        body_of(answer)

    with soon():
        assert read(transport, "/v1/videos/a") == b"/v1/videos/a".rjust(40)
    assert server.connections[10:] == [10]
    assert transport.breaker.tries(3) == 3


def test_a_body_that_died_in_silence_is_cut(serve):
    """Probes notice it, long before the stall time-out."""

    def script(asked: Asked) -> Iterator[bytes | float]:
        yield ok(b"half", length=8)
        server.deafen(asked.connection)
        yield 1000.0

    transport, server = serve(script, keeping=QUICK, stall_seconds=1000.0)
    with ask(transport, "/v1/videos/a") as answer:
        assert answer.read_some(4) == b"half"
        with pytest.raises(BodyCut):
            answer.read_some(4)


def test_a_server_that_ends_every_connection_is_unreachable_in_the_end(serve):
    def script(asked: Asked) -> Iterator[bytes]:
        if asked.target.endswith("never"):
            raise Hangup
        yield ok(name_of(asked))

    transport, server = serve(script)
    read(transport, "/v1/videos/a")

    with pytest.raises(Unreachable):
        read(transport, "/v1/videos/never")
    assert server.connections == [0, 0, 1]


def test_a_connection_that_was_idle_for_long_is_not_used(serve):
    """A NAT may have forgotten it, and says nothing."""
    check_two([0, 0], *serve(named))
    check_two([0, 1], *serve(named, keeping=Keeping(most_idle_seconds=0.0)))
