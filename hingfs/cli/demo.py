"""The command `demo`: an API of this machine, mounted, to try or to check.

Leaves the API to the package `demo`, and the mount to the package `mount`.
"""

import argparse
import hashlib
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from .. import invocation, log
from ..demo.endpoint import DemoEndpoint
from ..errors import command_word
from ..given import Given
from ..library.names import name_of
from ..mount import daemon, mountpoint, serving
from ..mount.filesystem import WAITING
from ..settings import Config, EndpointConfig, MountConfig
from ..token import Token
from ..workers import Worker


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Serve the demo and its mount until the mount ends; the exit status."""
    if arguments.directory is not None:
        directory = mountpoint.absolute(arguments.directory)
        daemon.leave(_serve(directory, environ, check=arguments.check))
    directory = mountpoint.absolute(tempfile.mkdtemp(prefix="hingfs-demo-"))
    try:
        status = _serve(directory, environ, check=arguments.check)
    finally:
        directory.rmdir()
    daemon.leave(status)


def _serve(directory: Path, environ: Mapping[str, str], *, check: bool) -> int:
    """Serve the demo endpoint and its mount in this process until the mount ends."""
    serving.block_signals()  # before the endpoint's threads exist, so that they inherit it
    with DemoEndpoint() as endpoint:
        chosen = Given({}, {"HINGFS_FUSE": environ.get("HINGFS_FUSE", "")})
        config = Config(
            mount=chosen.part(MountConfig, directory=directory),
            endpoint=EndpointConfig(
                base_url=endpoint.base_url, token=Token(endpoint.token)
            ),
        )
        serving.prepare(config)
        mountpoint.clear(directory)
        log.begin(config.log.level, config.endpoint.token.hide)
        demo = _Demo(endpoint, directory, check=check)
        serving.serve(config, demo.start)
        return demo.status


class _Demo:
    """Invites a person to try the demo's mount, or checks it, on `hingfs-demo-guide`."""

    def __init__(self, endpoint: DemoEndpoint, directory: Path, *, check: bool) -> None:
        self._endpoint = endpoint
        self._directory = directory
        self._job = self._check if check else self._invite
        self.status = 0

    def start(self) -> None:
        """Begin; called when the mount is up."""
        Worker("hingfs-demo-guide", self._job).start()

    def _invite(self) -> None:
        files = self._directory
        umount = f"{invocation.command()} umount {command_word(files)}"
        names = {
            video_id: files / name_of(video_id) for video_id in self._endpoint.videos
        }
        awaited = f"{files}{WAITING}/{name_of('video_demo_rendering')}"
        print(
            f"""\
hingfs: a small video API runs at {self._endpoint.base_url}, mounted on {files}
  ls -l {files}
  ffprobe -hide_banner {names["video_demo_moov_last"]}
  cvlc --play-and-exit {names["video_demo_moov_first"]}
  rsync -a {files}/ copies/
  stat {names["video_demo_rendering"]}    # not ready; try again in 20 s
  ffprobe -hide_banner {awaited}    # waits for it
  stat {names["video_demo_failed"]}    # failed for good
end it with Ctrl-C, or in another shell: {umount}""",
            flush=True,
        )

    def _check(self) -> None:
        try:
            listed = sorted(os.listdir(self._directory))
            print(
                f"hingfs demo: mounted on {self._directory}, {len(listed)} videos listed"
            )
            ready = self._endpoint.ready_ids()
            wrong = [id_ for id_ in ready if name_of(id_) not in listed]
            for video_id in wrong:
                print(f"hingfs demo: {video_id} is ready and not listed")
            wrong += [id_ for id_ in ready if not self._reads_right(id_)]
            self.status = 1 if wrong or not ready else 0
            right = len(ready) - len(set(wrong))
            print(f"hingfs demo: {right} of {len(ready)} ready clips are as served")
        except OSError as error:
            print(f"hingfs demo: {error}", file=sys.stderr)
            self.status = 1
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def _reads_right(self, video_id: str) -> bool:
        expected = self._endpoint.clips[video_id]
        path = self._directory / name_of(video_id)
        data = path.read_bytes()
        right = data == expected and path.stat().st_size == len(expected)
        digest = hashlib.sha256(data).hexdigest()[:16]
        print(
            f"hingfs demo: {path.name}: {len(data)} bytes read, sha256 {digest}…, "
            + ("as served" if right else "NOT as served"),
            flush=True,
        )
        return right
