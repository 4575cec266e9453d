"""hing:// in several processes: nothing of a parent is used by its children."""

import hashlib
import json
import logging
import math
import os
import pickle
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import fsspec
import pytest
from dask.base import tokenize

from hingfs.fsspec import HingFileSystem
from tests.support import endpoint as faults
from tests.support.endpoint import FakeEndpoint
from tests.support.hing_process import CHILDREN, FORKS
from tests.support.mounting import REPOSITORY, environment
from tests.support.personalities import json_response

SIZE = 2_000_000
TOKEN = "oh-secret-0123456789"


@pytest.fixture
def served(endpoint: FakeEndpoint) -> FakeEndpoint:
    for video_id in ("parent", *(f"c{number}" for number in range(CHILDREN))):
        endpoint.add(video_id, size_bytes=SIZE)
    return endpoint


def run(program: str, served: FakeEndpoint, directory: Path) -> Any:
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-W",
                "ignore::DeprecationWarning",
            ),  # of forks by threads
            *("-m", "tests.support.hing_process", program, served.base_url),
        ],
        cwd=REPOSITORY,
        env=environment(
            HINGFS_TOKEN=served.token,
            HINGFS_CACHE_DIR=str(directory),
            XDG_DATA_HOME=str(directory / "data"),
        ),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def sha256(
    served: FakeEndpoint, video_id: str, start: int = 0, stop: int = SIZE
) -> str:
    return hashlib.sha256(served.videos[video_id].read(start, stop)).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children_go_on_with_what_they_were_given(served, tmp_path, method):
    """Each where the parent was in the file, by connections of its own."""
    told = run(method, served, tmp_path)

    assert told["children"] == [
        [n, 1000, sha256(served, "parent", 1000, 2000), sha256(served, f"c{n}")]
        for n in range(CHILDREN)
    ]
    assert told["statuses"] == [0] * CHILDREN
    assert told["position"] == 1000
    assert told["next"] == sha256(served, "parent", 1000, 2000)
    assert told["whole"] == sha256(served, "parent")
    used = [
        {one.connection_id for one in served.log if one.video_id == f"c{n}"}
        for n in range(CHILDREN)
    ]
    assert all(used)
    assert len(set().union(*used)) == sum(map(len, used))  # nobody shares one


@pytest.mark.slow
def test_a_process_forks_while_its_threads_read(served, tmp_path):
    told = run("busy", served, tmp_path)

    assert told["statuses"] == [0] * FORKS
    assert told["wrong"] == []
    assert told["whole"] == sha256(served, "parent")


@pytest.mark.slow
def test_a_process_ends_though_a_read_hangs(served, tmp_path):
    served.inject(
        faults.stall_at(0, threading.Event()),
        math.inf,
        lambda request: request.method == "GET" and "c0" in request.path,
    )

    told = run("ending", served, tmp_path)

    assert bytes.fromhex(told["open"]) == served.videos["parent"].read(0, 4)


class TestTheToken:
    """It is found where it is used, and travels nowhere."""

    @pytest.fixture
    def endpoint(self):
        with FakeEndpoint(TOKEN) as endpoint:
            endpoint.add("clip", size_bytes=SIZE)
            yield endpoint

    def test_nothing_that_travels_has_it(self, fs):
        file = fs.open("clip")
        file.read(10)
        fs.ls("hing://")
        opener = fsspec.open("hing://clip", base_url=fs.base_url)
        with opener as opened:
            opened.read(1)

        for one in (fs, file, opener):
            assert TOKEN.encode() not in pickle.dumps(one)
            assert TOKEN not in repr(one)
        assert TOKEN not in fs.to_json()
        assert TOKEN not in str(fs.to_dict())
        assert TOKEN not in str(vars(fs))
        assert TOKEN not in fs.fsid
        file.close()

    def test_a_filesystem_comes_back_from_its_json_and_its_pickle(self, fs):
        for again in (
            HingFileSystem.from_json(fs.to_json()),
            pickle.loads(pickle.dumps(fs)),
        ):
            assert again.cat_file("clip", 0, 9) == fs.cat_file("clip", 0, 9)
            assert again.lease() is fs.lease()
            assert again == fs
            assert hash(again) == hash(fs)
            assert tokenize(again) == tokenize(fs)

    def test_others_are_others(self, fs, make):
        other = make(connections=3)

        assert other != fs
        assert tokenize(other) != tokenize(fs)

    @pytest.mark.usefixtures("make")
    def test_the_base_url_travels_though_a_variable_gave_it(
        self, endpoint, monkeypatch
    ):
        monkeypatch.setenv("HINGFS_BASE_URL", endpoint.base_url)
        pickled = pickle.dumps(HingFileSystem())
        monkeypatch.setenv("HINGFS_BASE_URL", "http://localhost:1")

        assert pickle.loads(pickled).base_url == endpoint.base_url

    def test_no_error_and_no_line_of_the_log_quotes_it(
        self, make, endpoint, caplog, expected_log
    ):
        """A server does, which refuses it."""
        quoted = json_response(401, {"error": {"message": f"bad key {TOKEN.upper()}"}})
        endpoint.inject(faults._instead("quoting", lambda: quoted), math.inf)
        expected_log("refused")
        caplog.set_level(logging.DEBUG)
        fs = make()

        for call in (fs.info, fs.ls, fs.open):
            with pytest.raises(PermissionError) as refusal:
                call("clip")
            said = "".join(traceback.format_exception(refusal.value))
            assert TOKEN.lower() not in said.lower()
            assert "[token]" in said
        assert caplog.records
        assert TOKEN.lower() not in caplog.text.lower()

    def test_each_process_wants_its_own(self, fs, monkeypatch):
        pickled = pickle.dumps(fs.open("clip"))
        monkeypatch.delenv("HINGFS_TOKEN")
        HingFileSystem.clear_instance_cache()

        with pytest.raises(PermissionError, match="HINGFS_TOKEN"):
            pickle.loads(pickled).read(1)
        assert "HINGFS_TOKEN" not in os.environ
