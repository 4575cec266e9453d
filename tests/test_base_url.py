"""Base URLs: what is dropped, what is refused, and which are this machine."""

import pytest

from hingfs.base_url import is_loopback, normalized_base_url
from hingfs.errors import UsageError

HTTPS = "https://api.example"
SECRET = "oh-secret-token"


class TestBaseUrl:
    @pytest.mark.parametrize(
        ("text", "url"),
        [
            (HTTPS, HTTPS),
            (HTTPS + "/", HTTPS),
            (HTTPS + "/v1", HTTPS),
            (HTTPS + "/v1/", HTTPS),
            (HTTPS + "//v1//", HTTPS),
            (HTTPS + "/api", HTTPS + "/api"),
            (HTTPS + "/api/v1", HTTPS + "/api"),
            (HTTPS + "/openai/v1/", HTTPS + "/openai"),
            (HTTPS + "/v1/v1", HTTPS + "/v1"),
            (HTTPS + "/v1/videos", HTTPS),
            (HTTPS + "/v1/videos/video_1/content", HTTPS),
            (HTTPS + "/api/v1/videos/video_1", HTTPS + "/api"),
            (HTTPS + "/openai/v1/videos/", HTTPS + "/openai"),
            (HTTPS + "/v1/v1/videos", HTTPS + "/v1"),
            (HTTPS + "/videos", HTTPS + "/videos"),
            (HTTPS + "/v12", HTTPS + "/v12"),
            (f"  {HTTPS}:8443  ", HTTPS + ":8443"),
            ("http://[::1]:80/v1", "http://[::1]:80"),
        ],
    )
    def test_r1_slashes_and_one_v1_are_dropped_and_prefixes_kept(self, text, url):
        assert normalized_base_url(text) == url

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "api.example",
            "ftp://api.example",
            "https://",
            "https:///v1",
            "https://user:pw@api.example",
            "https://user@api.example",
            HTTPS + "?key=x",
            HTTPS + "#part",
            "https://api.example:port",
            "https://[bad",
            "file:///etc/passwd",
        ],
    )
    def test_what_is_no_base_url_is_refused(self, text):
        with pytest.raises(UsageError):
            normalized_base_url(text)

    def test_a_password_in_the_url_is_not_repeated(self):
        with pytest.raises(UsageError) as refused:
            normalized_base_url(f"https://user:{SECRET}@api.example")
        assert SECRET not in str(refused.value)

    @pytest.mark.parametrize(
        ("host", "loopback"),
        [
            ("localhost", True),
            ("127.0.0.1", True),
            ("127.1.2.3", True),
            ("::1", True),
            ("127.0.0.1.evil.example", False),
            ("10.0.0.1", False),
            ("localhost.example", False),
        ],
    )
    def test_loopback_is_this_machine_alone(self, host, loopback):
        assert is_loopback(host) is loopback
