"""A base URL that leads to something else than a video API, and how that is noticed.

`SITES` answer every path in one manner, as websites and other APIs do; the mounts are
real ones, begun as a person begins them.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from hingfs.api.judgement.signs import Heard, Sign, of_list, of_status, says_no_list
from hingfs.errors import EndpointError, NoSuchApi, TokenError
from tests.conftest import Build, LogWatch
from tests.support import endpoint as faults
from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import (
    Mounted,
    bindings_in_turn,
    hingfs,
    mount_directory,
    mount_line,
    run,
)
from tests.support.personalities import (
    PERSONALITIES,
    Personality,
    Request,
    Response,
    Site,
    json_response,
    redirect,
    text_response,
)
from tests.support.reading import errno_of
from tests.support.views import Direct

HTML = "text/html; charset=utf-8"
NGINX_404 = (
    b"<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n"
    b"<center><h1>404 Not Found</h1></center>\r\n</body>\r\n</html>\r\n"
)
APPLICATION = b'<!doctype html><html><title>Acme</title><div id="app"></div></html>'


def page(code: int, body: bytes = NGINX_404) -> Response:
    return text_response(code, body, HTML)


def spring(request: Request) -> Response:
    """Spring Boot names the time and the path."""
    said = {"status": 404, "error": "Not Found", "path": request.path}
    return json_response(404, {"timestamp": str(id(request)), **said})


def login(request: Request) -> Response:
    """A site that wants people to sign in."""
    home = request.path == "/login"
    return page(200, APPLICATION) if home else redirect("/login?state=secret")


def invalid_url(request: Request) -> Response:
    said = f"Invalid URL ({request.method} {request.target})"
    return json_response(404, {"error": {"message": said}})


def cannot_get(request: Request) -> Response:
    said = f"Cannot {request.method} {request.target}"
    return json_response(404, {"statusCode": 404, "message": said})


Answer = Callable[[Request], Response]

# Servers that answer and are no video API.
WEBSITES: dict[str, Answer] = {
    "a page of nginx": lambda _: page(404),
    "an application in one page": lambda _: page(200, APPLICATION),
    "a page to sign in": login,
    "words of Go": lambda _: text_response(404, b"404 page not found\n", "text/plain"),
    "nothing": lambda _: text_response(404, b"", "text/plain"),
    "an API without videos": invalid_url,
    "an API of another kind": cannot_get,
}
# Servers that may be one, as far as anybody can tell.
DOUBTFUL: dict[str, Answer] = {
    "FastAPI": lambda _: json_response(404, {"detail": "Not Found"}),
    "Spring": spring,
    "JSON for everything": lambda _: json_response(200, {"status": "ok"}),
}
SITES = {**WEBSITES, **DOUBTFUL}


@dataclass(frozen=True)
class Instead(Personality):
    """Something else answers, whoever asks; by *routes* all but these are the API's."""

    answer: Answer = WEBSITES["a page of nginx"]
    routes: tuple[str, ...] = ("list", "status", "content", "other")

    def respond(self, request: Request, site: Site) -> Response:
        if request.kind in self.routes:
            return self.answer(request)
        return super().respond(request, site)


def no_list(answer: Answer) -> Instead:
    """The API, with *answer* where others have a list."""
    return Instead(answer, ("list",))


@pytest.fixture
def server() -> Iterator[FakeEndpoint]:
    with FakeEndpoint() as endpoint:
        yield endpoint


def mounting(server: FakeEndpoint, path: str = "") -> tuple[int, str]:
    """The exit status of `hingfs mount` and the line that it says; nothing is mounted."""
    with mount_directory() as directory:
        base_url = server.base_url + path
        done = hingfs(
            *("mount", directory, "--base-url", base_url), HINGFS_TOKEN=server.token
        )
        assert mount_line(directory) is None
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return done.returncode, line


# --- before the mount -------------------------------------------------------------------


@pytest.mark.fuse
@pytest.mark.parametrize("site", WEBSITES)
def test_a_website_is_status_9_and_says_what_came(
    server: FakeEndpoint, site: str
) -> None:
    server.personality = Instead(WEBSITES[site])

    status, said = mounting(server)

    assert status == 9
    assert (
        f"{server.base_url}/v1/videos answers HTTP {server.log[-1].status} with" in said
    )
    assert "--base-url" in said
    assert "--no-check" in said
    assert "secret" not in said
    asked = [record for record in server.log if "/login" not in record.path]
    assert len(asked) == 2


@pytest.mark.fuse
@pytest.mark.parametrize("path", ["/api", "/openai", "/v1/chat/completions"])
def test_another_path_of_the_api_itself_is_status_9(
    server: FakeEndpoint, path: str
) -> None:
    status, said = mounting(server, path)

    assert status == 9
    assert f"{server.base_url}{path} is no video API" in said


@pytest.mark.fuse
def test_an_api_that_moved_is_named_and_gets_no_token(server: FakeEndpoint) -> None:
    """As http that redirects to https: the token goes to the base URL alone."""
    with FakeEndpoint() as elsewhere:
        server.personality = Instead(
            lambda request: redirect(elsewhere.base_url + request.target)
        )

        status, said = mounting(server)

        assert status == 9
        assert f"--base-url {elsewhere.base_url}," in said
        assert elsewhere.log
        assert all("authorization" not in seen.headers for seen in elsewhere.log)


@pytest.mark.fuse
@bindings_in_turn("path", ["/v1/videos", "/v1/videos/", "/v1"])
def test_the_address_of_the_list_is_as_good_as_the_base_url(
    server: FakeEndpoint, binding: str, path: str
) -> None:
    video = server.add("v", size_bytes=1000)

    with Mounted(server.base_url + path, binding) as mounted:
        assert os.listdir(mounted.directory) == ["v.mp4"]
        assert mounted.path("v").read_bytes() == video.read(0, 1000)


@pytest.mark.fuse
@bindings_in_turn("site", DOUBTFUL)
def test_what_may_be_an_api_is_mounted_with_a_warning(
    server: FakeEndpoint, binding: str, site: str
) -> None:
    """A gateway that has content alone, and says of all else what any router says."""
    server.personality = Instead(DOUBTFUL[site], ("list", "status", "other"))
    video = server.add("v", size_bytes=5000)

    with Mounted(server, binding) as mounted:
        (line,) = mounted.stderr.splitlines()
        assert "warning" in line
        assert "may be no video API" in line
        assert len(server.log) == 2
        if site != "JSON for everything":  # a status, of which nobody knows the word
            assert mounted.path("v").read_bytes() == video.read(0, 5000)


@pytest.mark.parametrize(
    ("personality", "requests"),
    [
        (PERSONALITIES["openai"], 1),
        (PERSONALITIES["bifrost"], 1),
        (no_list(lambda _: json_response(405, {"detail": "Method Not Allowed"})), 1),
        (PERSONALITIES["new_api_new"], 2),
        (no_list(DOUBTFUL["FastAPI"]), 2),
        (no_list(WEBSITES["a page of nginx"]), 2),
        (no_list(WEBSITES["an application in one page"]), 2),
        (no_list(WEBSITES["words of Go"]), 2),
    ],
)
def test_an_api_is_known_by_its_list_or_by_its_status_route(
    build: Build, endpoint: FakeEndpoint, personality: Personality, requests: int
) -> None:
    """One request, and a second one in doubt alone."""
    endpoint.personality = personality

    assert build().engine.client.check().warning == ""

    assert len(endpoint.log) == requests


@pytest.mark.parametrize("rows", [100, 1000])
def test_the_page_of_a_check_is_kept_unless_it_is_long(
    build: Build, endpoint: FakeEndpoint, rows: int
) -> None:
    """A server may ignore that a page was asked for."""
    row = {"status": "completed", "prompt": "a cat " * 200}
    listed = {"data": [{"id": f"v{number}", **row} for number in range(rows)]}
    endpoint.personality = Instead(lambda _: json_response(200, listed))

    warning, newest = build().engine.client.check()

    assert warning == ""
    assert (newest is not None) is (rows == 100)
    assert len(endpoint.log) == 1


def test_a_status_route_that_is_broken_is_a_doubt(
    build: Build, endpoint: FakeEndpoint
) -> None:
    endpoint.personality = no_list(DOUBTFUL["FastAPI"])
    endpoint.inject(faults.status(503), 9, lambda r: r.kind == "status")

    assert "may be no video API" in build().engine.client.check().warning
    assert len(endpoint.log) == 2


def test_what_is_down_is_no_website(build: Build, endpoint: FakeEndpoint) -> None:
    """A page for the time of the maintenance: the server is broken, not another one."""
    endpoint.personality = Instead(lambda _: page(503, b"<html>We will be back"))
    with pytest.raises(EndpointError, match="503"):
        build().engine.client.check()

    endpoint.personality = no_list(lambda _: page(503, b"<html>We will be back"))
    assert "does not give its list" in build().engine.client.check().warning


def test_a_page_with_401_is_a_refused_token(
    build: Build, endpoint: FakeEndpoint
) -> None:
    endpoint.personality = Instead(lambda _: page(401))

    with pytest.raises(TokenError):
        build().engine.client.check()


def test_what_a_website_says_is_made_fit_for_a_terminal(
    build: Build, endpoint: FakeEndpoint
) -> None:
    title = "<title>\x1b[31m\r\nFORGED " + "x" * 1000
    endpoint.personality = Instead(lambda _: page(404, title.encode()))

    with pytest.raises(NoSuchApi) as caught:
        build().engine.client.check()

    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700


# --- ls of what was mounted all the same ----------------------------------------------------


@pytest.mark.fuse
@bindings_in_turn(
    "site", ["a page of nginx", "an application in one page", "a page to sign in"]
)
def test_ls_of_a_website_is_eio_with_the_reason_in_the_log_once(
    server: FakeEndpoint, binding: str, site: str
) -> None:
    server.personality = Instead(WEBSITES[site])

    with Mounted(server, binding, "--no-check") as mounted:
        for _ in range(2):
            done = run(["ls", mounted.directory])
            assert done.returncode == 2
            assert "Input/output error" in done.stderr

        reason = f"the list of {server.base_url} came as"
        (line,) = [line for line in mounted.log.splitlines() if reason in line]
        assert "WARNING" in line
        assert "a web page" in line
        assert "check the base URL" in line


@pytest.fixture
def files(build: Build) -> Direct:
    return Direct(build({"listing_ttl_seconds": 0.0}))


@pytest.mark.parametrize(
    "site", ["a page of nginx", "words of Go", "nothing", "FastAPI"]
)
def test_an_api_without_a_list_has_an_empty_listing(
    files: Direct, endpoint: FakeEndpoint, site: str
) -> None:
    """Its status route shows it, and is asked once."""
    endpoint.add("v", size_bytes=1000)
    endpoint.personality = no_list(SITES[site])

    assert [files.names() for _ in range(3)] == [[], [], []]

    assert len(endpoint.requests_of("status")) == (site != "FastAPI")


def test_a_page_that_passes_for_the_list_is_no_empty_one(
    files: Direct, endpoint: FakeEndpoint, expected_log: LogWatch
) -> None:
    """200 with a page is an application, a sign-in, a maintenance: never "no list"."""
    expected_log("came as HTTP 200 with a web page")
    expected_log("EIO")
    endpoint.add("v", size_bytes=1000)
    endpoint.personality = no_list(WEBSITES["an application in one page"])
    assert errno_of(files.names) == "EIO"

    endpoint.personality = PERSONALITIES["openai"]

    assert files.names() == ["v.mp4"]


def test_another_host_refuses_no_token(
    files: Direct, endpoint: FakeEndpoint, expected_log: LogWatch
) -> None:
    """Nor is its refusal an empty list."""
    expected_log("came as HTTP 401 .*by a redirect to")
    expected_log("EIO")
    with FakeEndpoint() as elsewhere:
        endpoint.personality = Instead(
            lambda request: redirect(elsewhere.base_url + request.target)
        )

        assert errno_of(files.names) == "EIO"


# --- what an answer shows ---------------------------------------------------------------------

URL = "https://api.example/v1/videos"
JSON = {"Content-Type": "application/json"}
NOT_FOUND = {"detail": "Not Found"}


def heard(code: int, said: object, url: str = URL) -> Heard:
    if isinstance(said, bytes):
        return Heard(url, code, {"Content-Type": HTML}, said, url, from_api=True)
    body = json.dumps(said).encode()
    return Heard(url, code, JSON, body, url, from_api=True)


@pytest.mark.parametrize(
    ("code", "said", "sign"),
    [
        (200, {"object": "list", "data": []}, Sign.SPEAKS),
        (200, {"data": [{"id": "v", "status": "completed"}]}, Sign.SPEAKS),
        (200, [], Sign.SPEAKS),
        (200, b'{"data": [{"id": "v", "status": "comp', Sign.SPEAKS),  # read so far
        (200, {"message": "Welcome"}, Sign.DOUBTFUL),
        (200, {"version": "1.2"}, Sign.DOUBTFUL),
        (200, {"success": False, "message": "no provider"}, Sign.DOUBTFUL),
        (200, b"", Sign.ABSENT),
        (200, b"[notice] hello", Sign.ABSENT),
        (200, APPLICATION, Sign.ABSENT),
        (400, {"error": "provider query parameter is required"}, Sign.SPEAKS),
        (405, {"detail": "Method Not Allowed"}, Sign.SPEAKS),
        (405, NGINX_404, Sign.ABSENT),
        (404, NOT_FOUND, Sign.DOUBTFUL),
        (404, NGINX_404, Sign.ABSENT),
    ],
)
def test_what_an_answer_for_the_list_shows(code: int, said: object, sign: Sign) -> None:
    assert of_list(heard(code, said), 0.0) is sign


ROUTER = {"message": "Not Found", "request_id": "a1"}


@pytest.mark.parametrize(
    ("listed", "code", "said", "sign"),
    [
        ((404, NGINX_404), 404, {"detail": "Video not found"}, Sign.SPEAKS),
        ((404, NGINX_404), 400, {"code": "task_not_exist"}, Sign.SPEAKS),
        ((404, NOT_FOUND), 404, {"detail": "Video not found"}, Sign.SPEAKS),
        ((404, NOT_FOUND), 405, {"detail": "Method Not Allowed"}, Sign.SPEAKS),
        ((404, NGINX_404), 404, NOT_FOUND, Sign.SPEAKS),
        ((404, NOT_FOUND), 404, NOT_FOUND, Sign.DOUBTFUL),
        ((404, ROUTER), 404, {**ROUTER, "request_id": "b2"}, Sign.DOUBTFUL),
        ((404, NOT_FOUND), 404, {"path": "/v1/videos/none"}, Sign.DOUBTFUL),
        ((200, {"status": "ok"}), 200, {"status": "ok"}, Sign.DOUBTFUL),
        ((404, NOT_FOUND), 404, NGINX_404, Sign.DOUBTFUL),
        ((404, NGINX_404), 404, NGINX_404, Sign.ABSENT),
        ((200, APPLICATION), 200, APPLICATION, Sign.ABSENT),
        ((404, NOT_FOUND), 404, {"error": "Invalid URL (GET /x)"}, Sign.ABSENT),
        ((404, NOT_FOUND), 404, {"message": "Cannot GET /x"}, Sign.ABSENT),
        ((404, NOT_FOUND), 404, {"message": "Route GET:/x not found"}, Sign.ABSENT),
        ((404, NOT_FOUND), 404, {"message": "no Route matched with"}, Sign.ABSENT),
    ],
)
def test_what_an_answer_about_no_video_shows(
    listed: tuple[int, object], code: int, said: object, sign: Sign
) -> None:
    """A route says that there is no such video, a router that there is no such route."""
    assert of_status(heard(code, said, f"{URL}/none"), heard(*listed)) is sign


def said(message: str, **more: object) -> dict[str, object]:
    return {"error": {"message": message, "type": "invalid_request_error", **more}}


def titled(title: str) -> bytes:
    return f"<html><head><title>{title}</title></head></html>".encode()


# Of LiteLLM 1.100.5 without a database (2026-11-27).
LITELLM_WANTS = (
    "litellm.BadRequestError: LLM Provider NOT provided. Pass in the LLM provider you are "
    "trying to call. You passed model=\n Pass model as E.g. For 'Huggingface' inference "
    "endpoints pass in `completion(model='huggingface/starcoder',..)` Learn more: "
    "https://docs.litellm.ai/docs/providers"
)
QUOTED = 'OpenAIException - {"error": {"message": "Invalid URL (GET /v1/videos)"}}'
NO_STATIC = {"title": "Not Found", "detail": "No static resource v1/videos."}
ROCKET = {"code": 404, "reason": "Not Found"}


@pytest.mark.parametrize(
    ("code", "body"),
    [
        *(
            (404, b""),
            (405, b""),
            (501, b""),
            (404, {}),
            (404, b"404 page not found\n"),
        ),
        (404, NOT_FOUND),
        (405, {"detail": "Method Not Allowed"}),
        (405, {"detail": 'Method "GET" not allowed.'}),
        (405, {"message": "Request method 'GET' is not supported"}),
        (404, said("Invalid URL (GET /v1/videos?limit=100)", param="", code="")),
        (404, said("Unknown request URL: GET /v1/videos. See x", code="unknown_url")),
        (404, said("Not found", code="NotFound")),
        (404, {"statusCode": 404, "message": "Cannot GET /v1/videos"}),
        (404, {"status": 404, "error": "Not Found", "path": "/v1/videos"}),
        (404, {"type": "about:blank", "status": 404, **NO_STATIC}),
        (404, {"message": "The route v1/videos could not be found."}),
        (404, {"error": {**ROCKET, "text": "The requested resource was not found."}}),
        (404, said("该接口不存在")),
        (501, said("Listing videos is not implemented", code="not_implemented")),
        (400, said("provider query parameter is required")),
        (400, said("Listing is not supported by this provider")),
        (400, said(LITELLM_WANTS, type=None, param=None, code="400")),
        (400, said(QUOTED)),
        (404, NGINX_404),
        (405, titled("405 Not Allowed")),
        (404, titled("404: This page could not be found.")),
        (404, titled("Acme | Page not found")),
        (404, b"<html><title>Error</title><pre>Cannot GET /v1/videos</pre></html>"),
    ],
)
def test_a_server_without_a_list_says_that_it_has_no_such_route(
    code: int, body: object
) -> None:
    assert says_no_list(of_code(code, body))


@pytest.mark.parametrize(
    ("code", "body"),
    [
        *((400, b""), (400, {}), (403, NOT_FOUND), (503, NOT_FOUND), (200, NOT_FOUND)),
        (400, said("database is locked")),
        (400, said("the model is not loaded")),
        (400, {"error": {"code": "400"}}),
        (400, said("invalid parameter: limit")),
        (400, titled("400 Bad Request")),
        (404, said("storage backend offline")),
        (404, said("Not found: storage backend offline")),
        (404, said("Tenant not found")),
        (404, said("bucket path /data/x not found")),
        (404, {"error": "Not Found", "message": "storage backend offline"}),
        (404, {"code": 404, "message": "Application not found"}),
        (404, {"error": {"code": "storage_offline"}}),
        (404, {"a": {"b": {"c": {"d": {"e": ["Not found"]}}}}}),
        (404, b"upstream not found"),
        (404, b'{"error": "Not Fou'),  # all of which is not there
        (404, titled("We will be back")),
        (501, {"error": "x"}),
    ],
)
def test_any_other_answer_in_the_place_of_the_list_is_trouble(
    code: int, body: object
) -> None:
    """Taken for "no list", it would make `rsync --delete` erase copies."""
    assert not says_no_list(of_code(code, body))


def of_code(code: int, body: object) -> Heard:
    """An answer for the list, of the type that its body has."""
    found = heard(code, body)
    is_page = found.body.startswith(b"<")
    return found if is_page else replace(found, headers={"Content-Type": "text/plain"})


def test_what_another_host_says_is_no_word_of_the_api() -> None:
    elsewhere = replace(heard(400, NOT_FOUND), from_api=False)

    assert of_list(elsewhere, 0.0) is Sign.ABSENT
    assert of_status(elsewhere, heard(404, NGINX_404)) is Sign.ABSENT
