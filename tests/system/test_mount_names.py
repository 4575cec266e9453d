"""Names, attributes and errnos as programs see them through a mount."""

import math
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hingfs.library.names import name_of
from tests.support import endpoint as faults
from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import (
    BINDINGS,
    Mounted,
    as_nobody,
    each_binding,
    errno_of_process,
    eventually,
    mount_directory,
    own_mount,
    run,
    stat_says,
)
from tests.support.personalities import CREATED_AT, RENDER_SECONDS
from tests.support.reading import Handle, errno_of

pytestmark = pytest.mark.fuse

SIZE_BYTES = 600_001


@pytest.fixture(scope="module", params=BINDINGS)
def mounted(request: pytest.FixtureRequest) -> Iterator[Mounted]:
    """One mount per binding for the module; each test has ids of its own."""
    options = ("--listing-ttl", "0s", "--negative-ttl", "500ms")
    with own_mount(request.param, *options) as (endpoint, mounted):
        yield mounted
        assert endpoint.requests_of("other") == []  # whatever the names were


@pytest.fixture(params=BINDINGS)
def own(request: pytest.FixtureRequest) -> Iterator[Mounted]:
    """A mount with an endpoint that no other test sees."""
    with own_mount(request.param, "--listing-ttl", "0s") as (_endpoint, mounted):
        yield mounted


def listed(mounted: Mounted) -> list[str]:
    return sorted(os.listdir(mounted.directory))


# --- what stat says -------------------------------------------------------------------


@pytest.mark.parametrize("word", ["queued", "in_progress", "a word nobody knows"])
def test_a_video_that_is_not_ready_is_eagain_until_it_is(
    mounted: Mounted, word: str
) -> None:
    """Resource temporarily unavailable; once ready, the same command succeeds."""
    video = mounted.endpoint.add(f"soon {word}", size_bytes=SIZE_BYTES, status=word)
    path = mounted.path(video.video_id)

    assert stat_says(path) == "Resource temporarily unavailable"
    assert errno_of_process(path, "os.stat(path)") == "EAGAIN"
    assert errno_of_process(path, "open(path)") == "EAGAIN"
    assert path.name not in listed(mounted)

    video.set_status("completed")

    eventually(lambda: stat_says(path) == "", "a stat that succeeds")
    assert path.read_bytes() == video.read(0, SIZE_BYTES)
    assert path.name in listed(mounted)


def test_a_missing_video_is_enoent_until_it_is_there(mounted: Mounted) -> None:
    path = mounted.path("missing")
    assert stat_says(path) == "No such file or directory"
    assert errno_of_process(path, "os.stat(path)") == "ENOENT"
    assert not path.exists()

    mounted.endpoint.add("missing", size_bytes=SIZE_BYTES)

    eventually(path.exists, "a video that was added")


@pytest.mark.parametrize("word", ["failed", "cancelled"])
def test_a_failed_video_is_eio_for_good(mounted: Mounted, word: str) -> None:
    video = mounted.endpoint.add(word, size_bytes=SIZE_BYTES, status=word)
    path = mounted.path(video.video_id)

    assert stat_says(path) == "Input/output error"
    assert errno_of_process(path, "open(path)") == "EIO"
    assert path.name not in listed(mounted)


def test_a_token_refused_in_mid_life_is_eacces(own: Mounted) -> None:
    """Known videos stay readable where their bytes are; new ones cannot be read."""
    video = own.endpoint.add("known", size_bytes=SIZE_BYTES)
    own.endpoint.add("new", size_bytes=SIZE_BYTES)
    assert own.path("known").read_bytes() == video.read(0, SIZE_BYTES)

    own.endpoint.token = "oh-another"

    assert stat_says(own.path("new")) == "Permission denied"
    assert errno_of(lambda: os.stat(own.path("new"))) == "EACCES"
    assert own.path("known").stat().st_size == SIZE_BYTES
    assert own.path("known").read_bytes() == video.read(0, SIZE_BYTES)


@each_binding
def test_a_new_token_in_the_file_is_taken_without_a_remount(
    binding: str, tmp_path: Path
) -> None:
    token_file = tmp_path / "token"
    token_file.touch(mode=0o600)
    token_file.write_text("oh-first\n")
    with (
        FakeEndpoint(token="oh-first") as endpoint,
        Mounted(
            endpoint, binding, "--token-file", str(token_file), token="oh-not-used"
        ) as mounted,
    ):
        video = endpoint.add("video", size_bytes=SIZE_BYTES)
        endpoint.token = "oh-second"
        token_file.write_text("oh-second\n")

        assert mounted.path("video").read_bytes() == video.read(0, SIZE_BYTES)
        assert "oh-first" not in mounted.log
        assert "oh-second" not in mounted.log


def test_attributes_are_those_of_a_file_of_ones_own(mounted: Mounted) -> None:
    mounted.endpoint.add("plain", size_bytes=SIZE_BYTES)

    found = mounted.path("plain").stat()

    assert stat.S_IFMT(found.st_mode) == stat.S_IFREG
    assert stat.S_IMODE(found.st_mode) == 0o644
    assert found.st_nlink == 1
    assert (found.st_uid, found.st_gid) == (os.getuid(), os.getgid())
    assert found.st_size == SIZE_BYTES
    assert found.st_blocks == math.ceil(SIZE_BYTES / 512)
    assert found.st_mtime == CREATED_AT + RENDER_SECONDS
    root = mounted.directory.stat()
    assert stat.S_ISDIR(root.st_mode)
    assert stat.S_IMODE(root.st_mode) == 0o755


@each_binding
def test_owner_group_and_modes_are_those_of_the_options(binding: str) -> None:
    options = ("--uid", "1234", "--gid", "nogroup", "--file-mode", "0440")
    with own_mount(binding, *options, HINGFS_DIR_MODE="550") as (endpoint, mounted):
        endpoint.add("video", size_bytes=SIZE_BYTES)

        for path, mode in ((mounted.path("video"), 0o440), (mounted.directory, 0o550)):
            assert (path.stat().st_uid, path.group()) == (1234, "nogroup")
            assert stat.S_IMODE(path.stat().st_mode) == mode


def test_the_time_is_that_of_completion_else_of_creation(mounted: Mounted) -> None:
    mounted.endpoint.add(
        "undated", size_bytes=9, created_at=2_000_000_000, completed_at=None
    )

    assert mounted.path("undated").stat().st_mtime == 2_000_000_000


@each_binding
def test_inode_and_time_are_the_same_after_a_remount(binding: str) -> None:
    """Else a second rsync would copy again."""
    seen = []
    with FakeEndpoint() as endpoint, mount_directory() as directory:
        endpoint.add("video", size_bytes=SIZE_BYTES)
        for _ in range(2):
            with Mounted(endpoint, binding, directory=directory) as mounted:
                found = mounted.path("video").stat()
                seen.append((found.st_ino, found.st_mtime_ns, found.st_size))

    assert seen[0] == seen[1]
    assert seen[0][0] > 1


def test_known_attributes_and_the_file_system_are_answered_from_memory(
    own: Mounted,
) -> None:
    own.endpoint.add("video", size_bytes=SIZE_BYTES)
    own.path("video").stat()
    own.endpoint.reset_log()

    for _ in range(20):
        run(["stat", own.path("video")])
    assert run(["stat", "-f", own.directory]).returncode == 0
    assert own.endpoint.log == []

    own.endpoint.stop()
    try:
        assert own.path("video").stat().st_size == SIZE_BYTES
        assert os.statvfs(own.directory).f_blocks > 0
    finally:
        own.endpoint.start()


# --- listings ---------------------------------------------------------------------------


def test_a_listing_holds_what_can_be_read_now(own: Mounted) -> None:
    for name, word in (
        ("ready", "completed"),
        ("queued", "queued"),
        ("rendering", "in_progress"),
        ("failed", "failed"),
        ("expired", "expired"),
        ("odd", "marinating"),
    ):
        own.endpoint.add(name, size_bytes=SIZE_BYTES, status=word)

    assert listed(own) == ["ready.mp4"]
    assert run(["ls", own.directory]).stdout.split() == ["ready.mp4"]


def test_ls_and_find_show_size_and_time(own: Mounted) -> None:
    for number in range(30):
        own.endpoint.add(f"video_{number:02}", size_bytes=1000 + number)

    long = run(["ls", "-l", "--time-style=+%s", own.directory])
    found = run(["find", own.directory, "-type", "f", "-printf", r"%f %s %m %T@\n"])

    assert (long.returncode, long.stderr) == (0, "")
    rows = [line.split() for line in long.stdout.splitlines()[1:]]
    when = str(CREATED_AT + RENDER_SECONDS)
    assert [(row[0], row[4], row[5], row[6]) for row in rows] == [
        ("-rw-r--r--", str(1000 + n), when, f"video_{n:02}.mp4") for n in range(30)
    ]
    assert (found.returncode, found.stderr) == (0, "")
    assert sorted(line.split(".0000")[0] for line in found.stdout.splitlines()) == [
        f"video_{n:02}.mp4 {1000 + n} 644 {when}" for n in range(30)
    ]


def test_a_listing_of_several_pages_is_whole(own: Mounted) -> None:
    names = [f"video_{number:03}" for number in range(250)]
    for name in names:
        own.endpoint.add(name, size_bytes=1000)

    assert listed(own) == [name_of(name) for name in names]


def test_a_listing_that_cannot_be_had_is_an_error_not_a_short_one(
    own: Mounted,
) -> None:
    """A short listing would make `rsync --delete` erase copies."""
    own.endpoint.add("video", size_bytes=SIZE_BYTES)
    own.path("video").read_bytes()
    own.endpoint.inject(faults.status(500), math.inf, lambda r: r.kind == "list")
    assert errno_of(lambda: os.listdir(own.directory)) in {"EIO", "ETIMEDOUT"}
    own.endpoint.calm()

    eventually(lambda: lists(own, ["video.mp4"]), "a listing after the fault")


def lists(mounted: Mounted, expected: list[str]) -> bool:
    try:
        return listed(mounted) == expected
    except OSError:
        return False


def test_du_adds_up_and_df_shows_a_disk_that_is_not_full(own: Mounted) -> None:
    """Used is what is known; monitoring, Samba and installers take little free for a fault."""
    for number in range(3):
        own.endpoint.add(f"video_{number}", size_bytes=10_000_000)

    used = run(["du", "--apparent-size", "-B1", "-a", own.directory]).stdout
    blocks = run(["du", "-s", "-B512", own.directory]).stdout
    columns = "--output=source,fstype,used,avail,pcent,ipcent"
    table = run(["df", "-B1", columns, own.directory])
    space = os.statvfs(own.directory)

    sizes = dict(line.split("\t")[::-1] for line in used.splitlines())
    assert [sizes[str(own.path(f"video_{n}"))] for n in range(3)] == ["10000000"] * 3
    assert int(blocks.split()[0]) >= 3 * math.ceil(10_000_000 / 512)
    known = 29 << 20  # in whole MiB
    told = table.stdout.splitlines()[1].split()
    assert told == [
        f"hingfs:{own.endpoint.base_url}",
        "fuse.hingfs",
        str(known),
        str(1 << 50),
        "1%",
        "-",
    ]
    assert str(own.directory) in run(["df"]).stdout
    assert space.f_bavail / space.f_blocks > 0.99
    assert space.f_blocks < 1 << 32  # else programs without large files get EOVERFLOW
    assert space.f_flag & os.ST_RDONLY


# --- read-only --------------------------------------------------------------------------

# About *path*, a file of the mount, and *other*, a name there that is free.
CHANGES = {
    "open for writing": "os.open(path, os.O_WRONLY)",
    "open for appending": "os.open(path, os.O_RDWR | os.O_APPEND)",
    "open and truncate": "os.open(path, os.O_RDONLY | os.O_TRUNC)",
    "truncate": "os.truncate(path, 0)",
    "create": "os.open(other, os.O_CREAT | os.O_WRONLY)",
    "unlink": "os.unlink(path)",
    "rename": "os.rename(path, other)",
    "link": "os.link(path, other)",
    "symlink": "os.symlink(path, other)",
    "chmod": "os.chmod(path, 0o600)",
    "chmod of the root": "os.chmod(os.path.dirname(path), 0o700)",
    "chown": "os.chown(path, 1, 1)",
    "utime": "os.utime(path)",
    "setxattr": "os.setxattr(path, 'user.note', b'mine')",
    "removexattr": "os.removexattr(path, 'user.note')",
    "mkdir": "os.mkdir(other)",
    "rmdir": "os.rmdir(path)",
    "mknod": "os.mknod(other)",
    "access": "may_write(path)",
}
TRY_CHANGES = """
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def may_write(path):
    if libc.access(os.fsencode(path), os.W_OK):
        raise OSError(ctypes.get_errno(), "access")
path, other = sys.argv[1:3]
for change in sys.argv[3:]:
    try:
        print("no error:", eval(change))
    except OSError as error:
        print(errno.errorcode[error.errno])
"""


def outcomes(mounted: Mounted, *prefix: str) -> dict[str, str]:
    """What becomes of each change; *prefix* runs it as somebody else."""
    python = Path(sys.executable).resolve()  # which another user can reach
    paths = mounted.path("unchanged"), mounted.path("other")
    done = run([*prefix, python, "-c", TRY_CHANGES, *paths, *CHANGES.values()])
    return dict(zip(CHANGES, done.stdout.splitlines(), strict=True))


def test_every_change_is_erofs(mounted: Mounted) -> None:
    video = mounted.endpoint.add("unchanged", size_bytes=SIZE_BYTES)

    assert outcomes(mounted) == dict.fromkeys(CHANGES, "EROFS")

    assert mounted.path("unchanged").read_bytes() == video.read(0, SIZE_BYTES)


@each_binding
def test_every_change_is_erofs_to_all_where_all_may_come_in(binding: str) -> None:
    """There the kernel checks modes, which let the owner write, and root do anything."""
    with own_mount(binding, "--allow-other") as (endpoint, own):
        endpoint.add("unchanged", size_bytes=SIZE_BYTES)

        assert outcomes(own) == dict.fromkeys(CHANGES, "EROFS")
        assert outcomes(own, *as_nobody()) == dict.fromkeys(CHANGES, "EROFS")


# --- names ------------------------------------------------------------------------------

IDS = [
    "video_68d7512d07848190b3e45da0ecbebcde",
    "with blank",
    "models/veo-3/operations/abc",
    "a:b=c+d%e",
    "100%",
    "literal%2Fslash",
    "percent%252F",
    "a/b%2Fc%252Fd",
    "ütf-8 видео 動画 🎬",
    "dXNlcjoxMjM0NTY3ODkw==",
    "ends in .mp4",
    "doubled.mp4",
    "-rf",
    "*?[a]",
    "back\\slash",
    "quote'\"",
    "x" * 270,
    "é" * 400,
    "z" * 1016,
]


def test_ids_round_trip_through_the_listing(own: Mounted) -> None:
    """Each id is listed under a name, and the name leads back to exactly that id."""
    videos = [own.endpoint.add(id_, size_bytes=5000 + n) for n, id_ in enumerate(IDS)]

    names = listed(own)

    assert names == sorted(name_of(video_id) for video_id in IDS)
    for video in videos:
        path = own.directory / name_of(video.video_id)
        assert path.stat().st_size == video.size_bytes
        assert path.read_bytes() == video.read(0, video.size_bytes)
    assert run(["ls", "-l", own.directory]).returncode == 0
    assert own.endpoint.requests_of("other") == []


UNASKED = [
    b".mp4",
    b"..mp4",
    b"...mp4",
    b".hidden.mp4",
    b".Trash",
    b"autorun.inf",
    b"video",
    b"video.MP4",
    b"video.mp4~",
    b"new\nline.mp4",
    b"escape\x1b[2J.mp4",
    b"delete\x7f.mp4",
    "c1 control\x85.mp4".encode(),
    b"latin-1 \xe9.mp4",
    b"surrogate \xed\xa0\x80.mp4",
    b"overlong \xc0\xaf.mp4",
]


@pytest.mark.parametrize("name", UNASKED, ids=repr)
def test_a_name_that_no_video_has_is_enoent_without_a_request(
    mounted: Mounted, name: bytes
) -> None:
    """File managers probe hundreds of them."""
    before = len(mounted.endpoint.log)

    path = mounted.directory / os.fsdecode(name)
    assert errno_of(lambda: os.stat(path)) == "ENOENT"
    assert errno_of(lambda: os.open(path, os.O_RDONLY)) == "ENOENT"

    assert len(mounted.endpoint.log) == before


@pytest.mark.parametrize(
    "name",
    [
        b"%2e%2e.mp4",
        b"%2e%2e%2F%2e%2e.mp4",
        b"..%2F..%2Fadmin.mp4",
        b"%2F%2F.mp4",
        b"a%2F..%2F..%2F..%2Fsecret.mp4",
        b"video?after=1.mp4",
        b"video#fragment.mp4",
        b"video%00.mp4",
        b"http:%2F%2Fexample.com%2F.mp4",
        b"a\\..\\b.mp4",
        b"x" * 270 + b".mp4",
        b"x" * 1016 + b".mp4",
    ],
    ids=lambda name: f"{name[:30]!r}, {len(name)} bytes",
)
def test_a_hostile_name_asks_for_nothing_but_a_video(
    mounted: Mounted, name: bytes
) -> None:
    mounted.endpoint.reset_log()

    path = mounted.directory / os.fsdecode(name)
    assert errno_of(lambda: os.stat(path)) == "ENOENT"

    assert {record.kind for record in mounted.endpoint.log} <= {"content", "status"}
    for record in mounted.endpoint.log:
        _, v1, videos, quoted, *rest = record.path.split("/")
        assert (v1, videos) == ("v1", "videos")
        assert quoted not in {"", ".", ".."}
        assert rest in ([], ["content"])


@pytest.mark.parametrize("length", [1021, 1024, 1025, 2000])
def test_a_name_longer_than_a_video_can_have_is_enametoolong(
    mounted: Mounted, length: int
) -> None:
    before = len(mounted.endpoint.log)
    name = b"x" * (length - 4) + b".mp4"

    path = mounted.directory / os.fsdecode(name)

    assert errno_of(lambda: os.stat(path)) == "ENAMETOOLONG"
    assert len(mounted.endpoint.log) == before


def test_there_is_nothing_below_a_video(mounted: Mounted) -> None:
    mounted.endpoint.add("leaf", size_bytes=10)

    path = mounted.path("leaf")
    assert errno_of(lambda: os.stat(path / "below.mp4")) == "ENOTDIR"
    assert errno_of(lambda: os.listdir(path)) == "ENOTDIR"
    assert errno_of(lambda: os.stat(mounted.directory / "no" / "a.mp4")) == "ENOENT"


def test_an_id_can_be_opened_without_being_listed_and_is_listed_then(
    own: Mounted,
) -> None:
    own.endpoint.add("unlisted", size_bytes=SIZE_BYTES)
    with Handle(own.path("unlisted")):
        own.endpoint.remove("unlisted")

        assert listed(own) == ["unlisted.mp4"]


def test_scandir_tells_files_without_a_stat(own: Mounted) -> None:
    """Names, types and inodes come with the listing."""
    own.endpoint.add("video", size_bytes=SIZE_BYTES)
    script = (
        "import os, sys\n"
        "for e in os.scandir(sys.argv[1]): print(e.name, e.is_file(), e.inode())\n"
    )

    done = run([sys.executable, "-c", script, own.directory])

    assert own.endpoint.requests_of("content") == []
    assert done.stdout.split() == [
        *("video.mp4", "True", str(own.path("video").stat().st_ino))
    ]
