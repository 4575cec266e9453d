"""Which requests carry the token: each of the two checks alone keeps it at home."""

import pytest
import requests

from hingfs.errors import AccessDenied
from hingfs.http.authorization import Authorization
from hingfs.settings import EndpointConfig
from hingfs.token import Token

API = "https://api.example/v1/videos/v/content"
ELSEWHERE = [
    *("http://api.example/v1/videos", "https://api.example:8443/v1/videos"),
    *("https://cdn.api.example/v1/videos", "https://api.example.evil/v1/videos"),
    *("https://evil/?https://api.example/", "https://api.example@evil/v1/videos"),
]


@pytest.fixture
def authorization() -> Authorization:
    return Authorization(
        EndpointConfig("https://api.example", token=Token("oh-secret"))
    )


def sent(auth: requests.auth.AuthBase, url: str) -> str | None:
    """The header of a request for *url* that is made with *auth*."""
    headers = requests.Request("GET", url, auth=auth).prepare().headers
    return headers.get("Authorization")


@pytest.mark.parametrize(
    "url", [API, "https://API.example:443/", "https://api.example"]
)
def test_the_api_gets_the_token(authorization: Authorization, url: str) -> None:
    auth, _ = authorization.of(url)

    assert sent(auth, url) == "Bearer oh-secret"


@pytest.mark.parametrize("url", ELSEWHERE)
def test_a_request_for_elsewhere_is_made_without_it(
    authorization: Authorization, url: str
) -> None:
    auth, _ = authorization.of(url)

    assert sent(auth, API) is None  # whatever becomes of its URL


@pytest.mark.parametrize("url", ELSEWHERE)
def test_a_request_for_the_api_that_is_sent_elsewhere_has_no_token(
    authorization: Authorization, url: str
) -> None:
    auth, _ = authorization.of(API)

    assert sent(auth, url) is None


def test_where_a_token_may_come_later_nothing_goes_to_the_api_without_it(tmp_path):
    """Each request looks for it; one that has gone again stays in use."""
    file = tmp_path / "token"
    authorization = Authorization(
        EndpointConfig("https://api.example", token=Token(file=file, optional=True))
    )
    for _ in range(2):
        with pytest.raises(AccessDenied, match="no token yet in token file"):
            authorization.of(API)
    auth, _ = authorization.of(ELSEWHERE[0])
    assert sent(auth, API) is None

    file.touch(0o600)
    file.write_text("oh-late")
    assert sent(authorization.of(API)[0], API) == "Bearer oh-late"
    file.unlink()
    assert not authorization.renew()
    assert sent(authorization.of(API)[0], API) == "Bearer oh-late"
