"""The command `mount`: proves the settings, mounts, and says what there is to say.

Leaves to `given` which settings hold, and to the package `mount` the mount itself.
"""

import argparse
import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from .. import invocation, log
from ..api.endpoint_check import NewestPage
from ..cache.kept_files import anything_kept
from ..errors import EndpointError, HingError, TokenError, command_word, plain
from ..facts import directory as facts_directory
from ..given import Given, demand_token
from ..mount import daemon, mountpoint, serving
from ..settings import Config
from .console import complain, is_terminal
from .given import tell_misspelt

# A person who waits for longer wonders whether anything happens.
_SILENT_SECONDS = 3.0


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Mount, and serve in the foreground or leave a daemon; the exit status."""
    given = Given(vars(arguments), environ)
    tell_misspelt(given)
    config = given.config(mountpoint.absolute(arguments.directory))
    try:
        return _mount_as(config)
    except HingError as error:  # it may quote the server
        error.args = (config.endpoint.token.hide(str(error)),)
        raise


def _mount_as(config: Config) -> int:
    config, newest = _proved(config)
    mountpoint.clear(config.mount.directory)
    if config.start.foreground:
        _serve(config, lambda: None, newest, foreground=True)
        daemon.leave(0)
    daemon.serve_in_background(
        config, lambda on_up: _serve(config, on_up, newest, foreground=False)
    )
    return 0


def _proved(config: Config) -> tuple[Config, NewestPage | None]:
    """*config*, fit to be mounted, and the newest page of the list if a check brought it.

    Where the token or the API fails, and videos of that API are kept, a warning takes the
    place of the error: the copies can be read, and the API is asked again later.
    """
    token = config.endpoint.token
    try:
        if not config.start.offline:
            demand_token(token)
        serving.prepare(config)
        return config, _newest_page(config)
    except (TokenError, EndpointError) as error:
        # A fork would cut off a look-up that hangs.
        if threading.active_count() > 1 or not _is_anything_kept(config):
            raise
        said = token.hide(str(error))
    complain(f"warning: {said}. Until that is mended, kept videos can be read")
    endpoint = replace(config.endpoint, token=replace(token, optional=True))
    config = replace(config, endpoint=endpoint)
    serving.prepare(config)
    return config, None


def _newest_page(config: Config) -> NewestPage | None:
    """The newest page of the list, if a check is wanted and brings it; may warn."""
    if config.start.no_check or config.start.offline:
        return None
    with _saying_when_slow(f"waiting for {config.endpoint.base_url}"):
        warning, newest = serving.check(config)
    if warning:
        complain(f"warning: {warning}")
    return newest


def _is_anything_kept(config: Config) -> bool:
    with contextlib.suppress(OSError):
        directory = facts_directory.usable_if_there(
            config.cache.keep_directory, os.environ, facts_directory.DATA
        )
        return anything_kept(directory, config.endpoint.base_url)
    return False


@contextlib.contextmanager
def _saying_when_slow(
    what: str, after_seconds: float = _SILENT_SECONDS
) -> Iterator[None]:
    """Say on a terminal *what* takes long, after a while; leaves no thread."""

    def say() -> None:
        complain(f"{what}; Ctrl-C ends it")

    timer = threading.Timer(after_seconds, say)
    timer.name = "hingfs-slow"
    if is_terminal():
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if timer.ident is not None:
            timer.join()


def _serve(
    config: Config,
    on_up: Callable[[], None],
    newest: NewestPage | None,
    *,
    foreground: bool,
) -> None:
    """Log, mount and serve in this process until the mount ends.

    Once the mount is up, says so and calls *on_up*. *newest* is what the check brought.
    """
    directory = config.mount.directory
    target = log.begin(
        config.log.level,
        config.endpoint.token.hide,
        file=config.log.file,
        background=None if foreground else directory,
    )
    if target.warning:
        complain(f"warning: {target.warning}")

    config = _with_directories(config)

    def announce() -> None:
        by_key = "Ctrl-C, or " if foreground else ""
        said = (
            f"hingfs: {config.endpoint.base_url} is mounted on {plain(str(directory))}\n"
            f"  end it with {by_key}{invocation.command()} umount "
            f"{command_word(directory)}"
        )
        if target.name:
            said += f"\n  log: {plain(target.name)}"
        with contextlib.suppress(OSError):  # nobody listens, or the disk is full
            print(said, flush=True)
        on_up()

    serving.serve(config, announce, newest)


def _with_directories(config: Config) -> Config:
    """*config* with directories for facts and for what is kept.

    Says why if there is none.
    """
    cache = config.cache
    try:
        found = facts_directory.usable(cache.directory, os.environ)
        cache = replace(cache, kept_directory=found)
    except OSError as error:
        complain(f"warning: nothing is remembered for the next mount: {error}")
    keeps = config.mount.keep != "off"
    find = facts_directory.usable if keeps else facts_directory.usable_if_there
    try:
        kept = find(cache.keep_directory, os.environ, facts_directory.DATA)
        cache = replace(cache, kept_videos=kept)
    except OSError as error:
        lost = "nothing is kept" if keeps else "nothing that is kept is shown"
        complain(f"warning: {lost}: {error}; choose another --keep-dir")
    return replace(config, cache=cache)
