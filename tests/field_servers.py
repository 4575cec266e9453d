"""Servers as people reported them: each is one kind of oddness, by the book otherwise.

`FIELD` goes through the same matrix as the survey's personalities, and each kind has its
section in test_field.
"""

from collections.abc import Mapping

from .personalities import Personality, Request, Response, Site, Video


class NoCoding(Personality):
    """Storage that names a coding which changes no byte, as versitygw and minio do."""

    def serve(self, request: Request, video: Video, site: Site) -> Response:
        coding = {"Content-Encoding": "aws-chunked"}
        return super().serve(request, video, site).with_headers(coding)


FIELD: Mapping[str, Personality] = {
    "no_coding": NoCoding(),
}
