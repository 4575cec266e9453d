"""fsspec's own tests of filesystems, as far as a flat store that is read-only can pass.

Those make their files by writing; here the server has them. Their paths have folders: the
fixtures leave the folders out on this side, and give the copies on disk the suffix that
names here have. `NOT_OURS` lists all the others, with the reason.
"""

from hashlib import md5
from inspect import getmembers, isfunction

import pytest
from fsspec.tests.abstract import (
    AbstractCopyTests,
    AbstractFixtures,
    AbstractGetTests,
    AbstractOpenTests,
    AbstractPipeTests,
    AbstractPutTests,
)
from fsspec.tests.abstract.common import GLOB_EDGE_CASES_TESTS

WRITES = "it writes to the filesystem, which is read-only"
FOLDERS = "it copies folders of the filesystem, which has none"
SUITES = (
    *(AbstractGetTests, AbstractCopyTests, AbstractOpenTests, AbstractPipeTests),
    AbstractPutTests,
)


def names_of(suite: type) -> set[str]:
    return {name for name, _ in getmembers(suite, isfunction) if name[:5] == "test_"}


NOT_OURS: dict[str, str] = {
    **{
        name: WRITES
        for suite in SUITES
        if suite is not AbstractGetTests
        for name in names_of(suite)
    },
    **dict.fromkeys(
        [
            "test_get_directory_recursive",
            "test_get_directory_to_existing_directory",
            "test_get_directory_to_new_directory",
            "test_get_directory_without_files_with_same_name_prefix",
            "test_get_glob_to_existing_directory",
            "test_get_glob_to_new_directory",
        ],
        FOLDERS,
    ),
}
# Of the patterns: those that also match files in folders are left out, for that reason.
PATTERNS = [
    values
    for values in GLOB_EDGE_CASES_TESTS["argvalues"]
    if "subdir" not in values[0] and not any("/" in one for one in values[3])
]
FILES = ("file1", "file2", "subfile1")


def test_what_is_left_out_is_counted():
    every = set().union(*map(names_of, SUITES))

    assert len(NOT_OURS) >= 35
    assert every - set(NOT_OURS) >= {
        "test_get_file_to_existing_directory",
        "test_get_file_to_new_directory",
        "test_get_file_to_file_in_existing_directory",
        "test_get_file_to_file_in_new_directory",
        "test_get_glob_edge_cases",
        "test_get_list_of_files_to_existing_directory",
        "test_get_list_of_files_to_new_directory",
        "test_get_with_source_and_destination_as_list",
    }
    assert len(PATTERNS) >= 8


class TestGet(AbstractFixtures, AbstractGetTests):  # type: ignore[misc]
    @pytest.fixture
    def fs(self, make):
        return make()

    @pytest.fixture
    def fs_path(self):
        return ""

    @pytest.fixture
    def fs_join(self):
        """The last part alone; a pattern has the suffix that it is to match."""

        def join(*parts):
            last = parts[-1]
            return f"{last}.mp4" if set(last) & set("*?[") and last != "**" else last

        return join

    @pytest.fixture
    def local_join(self):
        def join(*parts):
            joined = "/".join(map(str, parts))
            return f"{joined}.mp4" if parts[-1] in FILES else joined

        return join

    @pytest.fixture
    def fs_bulk_operations_scenario_0(self, endpoint):
        for name in FILES:
            endpoint.add(name, size_bytes=1000)

    @pytest.fixture
    def fs_glob_edge_cases_files(self, endpoint):
        for name in ("file1", "file2"):
            endpoint.add(name, size_bytes=1000)

    @pytest.fixture
    def fs_10_files_with_hashed_names(self, endpoint):
        for number in range(10):
            name = md5(str(number).encode()).hexdigest()
            endpoint.add(f"{name}.txt", data=str(number).encode())

    @pytest.mark.parametrize(GLOB_EDGE_CASES_TESTS["argnames"], PATTERNS)
    def test_get_glob_edge_cases(  # noqa: PLR0917 - as fsspec has them
        self,
        path,
        recursive,
        maxdepth,
        expected,
        fs,
        fs_join,
        fs_glob_edge_cases_files,
        local_fs,
        local_join,
        local_target,
    ):
        super().test_get_glob_edge_cases(
            path,
            recursive,
            maxdepth,
            expected,
            fs,
            fs_join,
            fs_glob_edge_cases_files,
            local_fs,
            local_join,
            local_target,
        )


for _name in names_of(AbstractGetTests) & set(NOT_OURS):
    setattr(TestGet, _name, None)
