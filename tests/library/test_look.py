"""What a look at a video asks for, and leaves for others to know."""

from hingfs.library.names import name_of
from tests.conftest import Build
from tests.support.endpoint import FakeEndpoint


def test_what_a_look_was_told_need_not_be_asked_for_again(
    build: Build, endpoint: FakeEndpoint
) -> None:
    """A row of the list saved the request about the status, and told no model."""
    endpoint.add("video")
    catalog = build().engine.catalog
    catalog.listing()
    file = catalog.find(name_of("video"))

    look = catalog.look_at(name_of("video"))

    assert (look.file, look.error, look.details.model) == (file, None, "sora-2")
    endpoint.reset_log()
    assert catalog.details_of(file).model == "sora-2"
    assert endpoint.log == []
