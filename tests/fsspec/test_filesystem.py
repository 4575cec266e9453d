"""The filesystem hing://: its names, its list, its bytes, and what it asks a server for."""

import errno
import hashlib
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import fsspec
import pytest

from hingfs.fsspec import HingFileSystem, engines, spans
from tests.support import endpoint as faults
from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import REPOSITORY
from tests.support.personalities import PERSONALITIES

MB = 1_000_000
README = REPOSITORY / "README.md"


@pytest.fixture
def video(endpoint: FakeEndpoint) -> faults.Video:
    return endpoint.add("clip", size_bytes=3 * MB)


@pytest.mark.usefixtures("video")
class TestNames:
    def test_fsspec_finds_it_by_the_protocol(self, endpoint, fs):
        found = fsspec.filesystem("hing", base_url=endpoint.base_url)

        assert type(found) is type(fs)

    @pytest.mark.parametrize(
        "url", ["hing://clip", "hing://clip.mp4", "clip", "clip.mp4", "/clip"]
    )
    def test_an_id_and_a_file_name_are_the_same_file(self, fs, video, url):
        assert fs.info(url)["name"] == "clip.mp4"
        assert fs.size(url) == 3 * MB
        assert fs.cat_file(url, 5, 9) == video.read(5, 9)
        assert fs.isfile(url)
        assert not fs.isdir(url)

    @pytest.mark.parametrize("root", ["hing://", "", "/"])
    def test_the_root_is_the_list(self, fs, endpoint, root):
        endpoint.add("other", size_bytes=100)
        endpoint.add("unfinished", size_bytes=100, status="in_progress")

        assert fs.ls(root, detail=False) == ["clip.mp4", "other.mp4"]
        assert fs.isdir(root)
        assert fs.exists(root)
        assert not fs.isfile(root)

    def test_a_list_asks_for_no_video(self, fs, endpoint):
        """A size is None where nobody has asked for it yet."""
        assert [one["size"] for one in fs.ls("hing://")] == [None]
        assert fs.find("hing://") == ["clip.mp4"]
        assert fs.glob("hing://cl*") == ["clip.mp4"]
        assert endpoint.requests_of("content") == []

        fs.info("clip")
        assert [one["size"] for one in fs.ls("hing://")] == [3 * MB]
        assert fs.du("hing://") == 3 * MB

    def test_what_is_not_there_is_said_so(self, fs):
        assert not fs.exists("hing://none")
        assert not fs.isfile("hing://none")
        assert fs.glob("hing://none*") == []
        with pytest.raises(FileNotFoundError, match="no such video"):
            fs.info("hing://none")
        with pytest.raises(FileNotFoundError):
            fs.ls("hing://directory/clip")

    def test_refresh_reads_the_list_again(self, fs, endpoint):
        assert fs.ls("", detail=False) == ["clip.mp4"]
        endpoint.add("new", size_bytes=100)
        assert fs.ls("", detail=False) == ["clip.mp4"]

        assert fs.ls("", detail=False, refresh=True) == ["clip.mp4", "new.mp4"]

    def test_the_key_is_that_of_the_version(self, make, video):
        fs = make(metadata_ttl="0s")
        before = fs.ukey("clip")
        assert fs.ukey("clip") == before

        video.replace()
        fs.cat_file("clip", 0, 10)
        assert fs.ukey("clip") != before

    def test_the_time_is_that_of_the_mount(self, fs, video):
        assert fs.modified("clip").timestamp() == video.completed_at
        assert fs.info("clip")["mtime"] == video.completed_at


@pytest.mark.usefixtures("video")
class TestBytes:
    @pytest.mark.parametrize(
        ("start", "end"),
        [(None, None), (0, 10), (10, None), (-10, None), (None, -5), (7, 7), (9, 3)],
    )
    def test_a_range_is_a_slice(self, fs, video, start, end):
        whole = video.read(0, 3 * MB)

        assert fs.cat_file("clip", start, end) == whole[start:end]

    def test_past_the_end_is_nothing(self, fs, video):
        assert fs.cat_file("clip", 4 * MB, 5 * MB) == b""
        assert fs.cat_file("clip", 3 * MB - 2, 9 * MB) == video.read(3 * MB - 2, 3 * MB)

    def test_a_film_is_read_whole_and_comes_once(self, fs, endpoint):
        """Longer than what is asked for at once; neither its end nor a byte is lost."""
        film = endpoint.add("film", size_bytes=40 * MB + 7)

        got = fs.cat_file("film")

        assert len(got) == 40 * MB + 7
        assert hash(got) == hash(film.read(0, 40 * MB + 7))
        # A transfer that another takes over from loses what is on its way.
        assert endpoint.content_bytes("film") <= 1.25 * len(got)

    @pytest.mark.usefixtures("fs")
    @pytest.mark.parametrize("chained", ["simplecache", "filecache"])
    def test_a_cache_of_fsspec_stands_before_it(
        self, endpoint, video, chained, tmp_path
    ):
        options = {chained: {"cache_storage": str(tmp_path / "theirs")}}
        opened = fsspec.open(
            f"{chained}::hing://clip", hing={"base_url": endpoint.base_url}, **options
        )

        with opened as file:
            assert file.read() == video.read(0, 3 * MB)

    def test_several_are_read_whole_side_by_side(self, fs, endpoint, video):
        """All are under way before the first has come."""
        other = endpoint.add("other", size_bytes=1000)
        gate = threading.Event()
        endpoint.inject(faults.stall_before_headers(gate), math.inf, faults.content_get)
        with ThreadPoolExecutor(1) as caller:
            reading = caller.submit(fs.cat, ["hing://clip", "other"])
            endpoint.wait_until(
                lambda: (
                    {one.video_id for one in endpoint.log if one.method == "GET"}
                    >= {"clip", "other"}
                )
            )
            gate.set()
            endpoint.calm()
            got = reading.result(timeout=20)

        assert got == {
            "clip.mp4": video.read(0, 3 * MB),
            "other.mp4": other.read(0, 1000),
        }

    def test_an_error_of_several_is_raised_or_left_out_or_returned(self, fs, video):
        whole = video.read(0, 3 * MB)

        assert fs.cat(["clip", "none"], on_error="omit") == {"clip.mp4": whole}
        got = fs.cat(["clip", "none"], on_error="return")
        assert got["clip.mp4"] == whole
        assert isinstance(got["none.mp4"], FileNotFoundError)
        with pytest.raises(FileNotFoundError):
            fs.cat(["clip", "none"])
        assert fs.cat("hing://cl*") == {"clip.mp4": whole}
        assert fs.cat("hing://", recursive=True) == {"clip.mp4": whole}
        assert fs.cat("clip") == whole

    @pytest.mark.parametrize("ending", ["", "copy.mp4"])
    def test_a_file_is_got(self, fs, video, tmp_path, ending):
        (tmp_path / "there").mkdir()

        fs.get("hing://clip", f"{tmp_path}/there/{ending}")

        (got,) = (tmp_path / "there").iterdir()
        assert got.name == (ending or "clip.mp4")
        assert got.read_bytes() == video.read(0, 3 * MB)

    @pytest.mark.parametrize("url", ["hing://", "hing://*", ["clip", "hing://b"]])
    def test_many_are_got_into_a_directory(self, fs, endpoint, video, tmp_path, url):
        endpoint.add("b", size_bytes=10)

        fs.get(url, str(tmp_path / "new" / "there"), recursive=url == "hing://")

        got = {one.name: one.read_bytes() for one in (tmp_path / "new/there").iterdir()}
        assert got["clip.mp4"] == video.read(0, 3 * MB)
        assert sorted(got) == ["b.mp4", "clip.mp4"]

    def test_a_file_is_got_into_an_open_one(self, fs, video):
        target = BytesIO()
        fs.get_file("clip", target)
        assert target.getvalue() == video.read(0, 3 * MB)

    def test_a_copy_that_fails_leaves_no_file(self, fs, endpoint, tmp_path):
        fs.cat_file("clip", 0, 10)
        endpoint.inject(faults.status(500), math.inf, faults.content_get)

        with pytest.raises(OSError, match=r"\[Errno 5\]"):
            fs.get_file("clip", tmp_path / "copy.mp4")

        assert list(tmp_path.glob("*.mp4")) == []

    def test_a_file_that_cannot_be_opened_is_left(self, fs, tmp_path, monkeypatch):
        """As where it is another user's; a test may run as root, who may open any."""
        target = tmp_path / "copy.mp4"
        target.write_bytes(b"mine")

        real = Path.open

        def refuse(path, *arguments, **options):
            if path == target:
                raise PermissionError(errno.EACCES, "refused", str(path))
            return real(path, *arguments, **options)

        monkeypatch.setattr(Path, "open", refuse)
        with pytest.raises(PermissionError):
            fs.get_file("clip", target)
        monkeypatch.undo()
        assert target.read_bytes() == b"mine"

    def test_many_threads_read_at_once(self, fs, endpoint, video):
        """Of one filesystem, each byte from the server once."""

        def read(number):
            with fs.open("clip") as file:
                file.seek(number * 1000)
                return file.read(500_000) == video.read(
                    number * 1000, number * 1000 + 500_000
                )

        with ThreadPoolExecutor(16) as threads:
            assert all(threads.map(read, range(64)))
        assert endpoint.bytes_served_twice("clip") == 0


@pytest.mark.usefixtures("video")
class TestRanges:
    def test_they_are_right_whatever_they_are(self, fs, endpoint, video):
        other = endpoint.add("other", size_bytes=1000)
        asked = [
            *(("clip", 10, 20), ("clip", 15, 700_000), ("other", None, None)),
            *(("hing://clip.mp4", -7, None), ("clip", 5, 5), ("clip", 10, 20)),
            *(("clip", 2 * MB, 9 * MB), ("other", -100, -50)),
        ]

        got = fs.cat_ranges(*(list(one) for one in zip(*asked, strict=True)))

        whole = {"clip": video.read(0, 3 * MB), "other": other.read(0, 1000)}
        for (url, start, end), found in zip(asked, got, strict=True):
            name = "other" if url == "other" else "clip"
            assert found == whole[name][start:end]
        assert endpoint.bytes_served_twice("clip") == 0

    def test_parts_of_a_film_come_side_by_side(self, fs, endpoint):
        """As NeMo Curator reads: all parts are under way before the first has come."""
        film = endpoint.add("film", size_bytes=24 * MB)
        gate = threading.Event()
        fs.info("film")
        # Each answer waits until several requests are there.
        endpoint.inject(faults.stall_before_headers(gate), math.inf, faults.content_get)
        part = 6 * MB
        starts = [number * part for number in range(4)]
        ends = [start + part for start in starts]
        with ThreadPoolExecutor(1) as caller:
            reading = caller.submit(fs.cat_ranges, ["film"] * 4, starts, ends)
            endpoint.wait_until(
                lambda: (
                    {
                        one.range[0] // part
                        for one in endpoint.log
                        if one.range is not None and one.method == "GET"
                    }
                    >= {0, 1, 2, 3}
                )
            )
            gate.set()
            endpoint.calm()
            got = reading.result(timeout=20)

        assert [hashlib.sha256(one).digest() for one in got] == [
            hashlib.sha256(film.read(a, b)).digest()
            for a, b in zip(starts, ends, strict=True)
        ]
        assert endpoint.content_bytes("film") <= 1.02 * 24 * MB

    def test_how_near_is_what_the_readme_says(self):
        assert spans.NEAR_BYTES == 128 << 10
        assert "ranges within 128 KiB of each other" in README.read_text()

    def test_near_ones_are_one_request(self, fs, endpoint):
        """A hundred frames of 1 kB, every 8 kB: as many requests as for one range."""
        film = endpoint.add("film", size_bytes=64 * MB)
        fs.cat_file("film", 0, 100)
        endpoint.wait_until_idle()
        endpoint.reset_log()
        starts = [32 * MB + 8000 * number for number in range(100)]

        got = fs.cat_ranges(["film"] * 100, starts, [start + 1000 for start in starts])

        assert got == [film.read(start, start + 1000) for start in starts]
        demanded = {
            one.range[0] // (1 << 17) for one in endpoint.requests_of("content")
        }
        assert len(endpoint.requests_of("content")) <= 4, demanded

    def test_an_error_takes_the_place_of_its_bytes(self, fs, video):
        got = fs.cat_ranges(["clip", "none", "clip"], [0, 0, 5], 10)

        assert got[0] == video.read(0, 10)
        assert got[2] == video.read(5, 10)
        assert isinstance(got[1], FileNotFoundError)
        with pytest.raises(FileNotFoundError):
            fs.cat_ranges(["clip", "none"], 0, 10, on_error="raise")

    def test_their_numbers_must_agree(self, fs):
        with pytest.raises(ValueError, match="as many"):
            fs.cat_ranges(["clip"], [0, 1], [1])
        with pytest.raises(TypeError):
            fs.cat_ranges("clip", 0, 1)


@pytest.mark.usefixtures("video")
class TestErrors:
    """What a call raises is what callers of Python expect, with the mount's errno."""

    def test_not_ready_is_blocking(self, fs, endpoint):
        endpoint.add("soon", size_bytes=100, status="in_progress")

        assert not fs.exists("soon")
        with pytest.raises(BlockingIOError) as refusal:
            fs.open("soon")
        assert refusal.value.errno == errno.EAGAIN
        assert refusal.value.filename == "soon.mp4"

    def test_failed_is_an_error_for_good(self, fs, endpoint):
        endpoint.add("failed", size_bytes=100, status="failed")

        for call in (fs.open, fs.info, fs.exists):
            with pytest.raises(OSError) as refusal:
                call("failed")
            assert refusal.value.errno == errno.EIO

    def test_a_wrong_token_is_no_permission(self, make, monkeypatch, expected_log):
        monkeypatch.setenv("HINGFS_TOKEN", "oh-wrong-token-0123")
        expected_log("refused")
        fs = make()

        for call in (fs.open, fs.exists, fs.info, fs.cat_file, fs.ls):
            with pytest.raises(PermissionError) as refusal:
                call("clip")
            assert "oh-wrong" not in str(refusal.value)
        with pytest.raises(PermissionError):
            fs.ls("hing://")

    def test_no_token_says_how_to_give_one(self, make, monkeypatch):
        monkeypatch.delenv("HINGFS_TOKEN")
        fs = make()

        with pytest.raises(
            PermissionError, match=r"put it into HINGFS_TOKEN .* or into a file"
        ):
            fs.open("clip")

        monkeypatch.setenv("HINGFS_TOKEN", "oh-test-token")
        assert fs.size("clip") == 3 * MB

    def test_a_server_that_fails_midway_gives_no_wrong_byte(self, make, endpoint):
        video = endpoint.add("cut", size_bytes=3 * MB)
        endpoint.inject(faults.reset_at(100_000), 3, faults.content_get)
        fs = make()
        assert fs.cat_file("cut") == video.read(0, 3 * MB)

        endpoint.add("lost", size_bytes=3 * MB)
        endpoint.inject(faults.reset_at(0), math.inf, faults.content_get)
        with pytest.raises(OSError) as refusal:
            make(read_timeout="500ms").cat_file("lost")
        assert refusal.value.errno in {errno.EIO, errno.ETIMEDOUT}

    @pytest.mark.parametrize("personality", sorted(PERSONALITIES))
    def test_each_kind_of_server_is_read(self, make, endpoint, personality):
        endpoint.personality = PERSONALITIES[personality]
        video = endpoint.add("clip:veo", size_bytes=300_000)  # one wants a colon

        with make().open("hing://clip:veo") as file:
            assert file.read() == video.read(0, 300_000)

    @pytest.mark.parametrize(
        ("method", "arguments"),
        [
            ("open", ("clip", "wb")),
            ("open", ("clip", "a")),
            ("open", ("clip", "r+b")),
            ("pipe_file", ("clip", b"x")),
            ("pipe", ("clip", b"x")),
            ("put_file", (__file__, "clip")),
            ("put", (__file__, "clip")),
            ("rm", ("clip",)),
            ("rm_file", ("clip",)),
            ("delete", ("clip",)),
            ("mv", ("clip", "d")),
            ("cp_file", ("clip", "d")),
            ("copy", ("clip", "d")),
            ("mkdir", ("d",)),
            ("makedirs", ("d",)),
            ("rmdir", ("d",)),
            ("touch", ("clip",)),
            ("write_text", ("clip", "x")),
        ],
        ids=str,
    )
    def test_writing_is_refused(self, fs, method, arguments):
        with pytest.raises(OSError, match="read-only") as refusal:
            getattr(fs, method)(*arguments)
        assert refusal.value.errno == errno.EROFS


def test_no_thread_to_be_had_is_an_os_error(make, endpoint, monkeypatch, expected_log):
    """And no obstacle for the next call."""
    video = endpoint.add("clip", size_bytes=100)

    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(engines, "_here", engines.Process())
    fs = make()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        expected_log("no thread can be started for hingfs-ends")
        with pytest.raises(OSError, match="no thread can be started"):
            fs.cat_file("clip")

    threads = set(threading.enumerate())
    assert fs.cat_file("clip", 0, 10) == video.read(0, 10)
    assert "hingfs-ends" in {one.name for one in set(threading.enumerate()) - threads}
    engines.here().close()


@pytest.mark.usefixtures("video")
class TestOptions:
    def test_keywords_are_the_settings(self, make, tmp_path):
        directory = tmp_path / "blocks"
        directory.mkdir()
        fs = make(cache_dir=directory, connections=3, disk_cache_size=64 << 20)

        chosen = fs.lease().engine
        assert chosen.fetcher.connections <= 3
        fs.cat_file("clip")
        assert list(directory.iterdir())

    def test_a_keyword_comes_before_its_variable(self, make, endpoint, monkeypatch):
        monkeypatch.setenv("HINGFS_BASE_URL", "http://localhost:1")
        assert make().base_url == endpoint.base_url
        assert HingFileSystem().base_url == "http://localhost:1"

    def test_a_switch_may_be_off(self, make, monkeypatch):
        monkeypatch.setenv("HINGFS_OFFLINE", "yes")
        with pytest.raises(OSError):
            make().ls("hing://")
        assert len(make(offline=False).ls("hing://")) == 1

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"conections": 3}, "no option conections; did you mean connections"),
            ({"connections": 0}, "^connections: 0 is not one of 1 to 64"),
            ({"base_url": "http://example.com"}, "^base_url: .*unencrypted"),
            ({"directory": "/mnt"}, "no option directory"),
            ({"token": "oh-secret"}, "token is no option"),
            ({"api_key": "oh-secret"}, "api_key is no option"),
        ],
    )
    def test_a_bad_one_is_refused_at_once(self, make, options, said):
        with pytest.raises(ValueError, match=said) as refusal:
            make(**options)
        assert "oh-secret" not in str(refusal.value)

    def test_a_bad_variable_is_refused_by_its_name(self, make, monkeypatch):
        monkeypatch.setenv("HINGFS_CONNECTIONS", "many")
        with pytest.raises(ValueError, match=r"^HINGFS_CONNECTIONS: 'many'"):
            make()

    def test_a_misspelt_variable_is_a_warning(self, make, monkeypatch, expected_log):
        monkeypatch.setenv("HINGFS_CONECTIONS", "3")
        expected_log("HINGFS_CONECTIONS is no setting; did you mean HINGFS_CONNECTIONS")
        make().info("clip")

    def test_the_token_may_be_in_a_file(self, make, tmp_path, monkeypatch):
        monkeypatch.delenv("HINGFS_TOKEN")
        file = Path(tmp_path / "token")
        file.write_text("oh-test-token")
        file.chmod(0o600)

        assert make(token_file=file).size("clip") == 3 * MB

    def test_equal_ones_share_an_engine(self, make):
        def engine_of(_number: int) -> object:
            return make().lease().engine

        with ThreadPoolExecutor(4) as threads:
            engines = set(threads.map(engine_of, range(20)))
        assert engines == {make().lease().engine}
        assert make(connections=3).lease().engine not in engines
