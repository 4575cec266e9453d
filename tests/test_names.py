"""What a file name may be, and which video it stands for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hingfs.names import (
    LONGEST_NAME_BYTES,
    VIDEO_SUFFIX,
    inode_of,
    name_of,
    video_id_of,
)

ids = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60
) | st.text("/%25Ff.a:=+é", min_size=1, max_size=30)


class TestNames:
    @given(ids)
    def test_an_id_that_has_a_name_is_found_by_it(self, video_id):
        found = video_id_of(name_of(video_id))

        usable = (
            not video_id.startswith(".")
            and not {".", ".."} & set(video_id.split("/"))
            and len(name_of(video_id).encode()) <= LONGEST_NAME_BYTES
        )
        assert found == (video_id if usable else None)

    @given(ids, ids)
    def test_two_ids_never_share_a_name(self, first, second):
        assert (name_of(first) == name_of(second)) == (first == second)

    @given(ids)
    def test_a_name_is_one_component_of_a_path(self, video_id):
        assert "/" not in name_of(video_id)
        assert name_of(video_id).endswith(VIDEO_SUFFIX)

    @given(st.text(max_size=40).map(lambda stem: stem + VIDEO_SUFFIX) | st.text())
    def test_a_name_that_has_an_id_is_the_name_of_it(self, name):
        video_id = video_id_of(name)

        assert video_id is None or name_of(video_id) == name

    @pytest.mark.parametrize(
        ("video_id", "name"),
        [
            ("video_01J", "video_01J.mp4"),
            ("106916112212032", "106916112212032.mp4"),
            ("abc:openai", "abc:openai.mp4"),
            ("video_YWJj==", "video_YWJj==.mp4"),
            ("a/b", "a%2Fb.mp4"),
            ("a%2Fb", "a%252Fb.mp4"),
            ("a%252Fb", "a%25252Fb.mp4"),
            ("a%2fb", "a%2fb.mp4"),
            ("100%", "100%.mp4"),
            ("clip.mp4", "clip.mp4.mp4"),
            ("é", "é.mp4"),
        ],
    )
    def test_r2_ids_of_every_kind_have_a_name(self, video_id, name):
        assert name_of(video_id) == name
        assert video_id_of(name) == video_id

    @pytest.mark.parametrize(
        "name",
        [
            "",
            ".mp4",
            "..mp4",
            ".hidden.mp4",
            "autorun.inf",
            "video.mp4 ",
            "video.MP4",
            "video.mp4.part",
            "new\nline.mp4",
            "nul\0.mp4",
            "escape\x1b[31m.mp4",
            "\x9b31m.mp4",
            "surrogate\udcff.mp4",
            "a%2F..%2F..%2Fadmin.mp4",
            "a%2F...mp4",
            "a%2F.%2Fb.mp4",
            "..%2Fetc.mp4",
            "x" * (LONGEST_NAME_BYTES - 3) + ".mp4",
            "é" * (LONGEST_NAME_BYTES // 2) + ".mp4",
        ],
    )
    def test_hostile_names_stand_for_no_video(self, name):
        assert video_id_of(name) is None

    def test_r2_names_longer_than_255_bytes_are_names(self):
        longest = "x" * (LONGEST_NAME_BYTES - 4)

        assert video_id_of(longest + ".mp4") == longest

    @given(ids)
    def test_inodes_are_stable_and_fit_63_bits(self, video_id):
        inode = inode_of(video_id)

        assert 1 < inode < 2**63
        assert inode == inode_of(video_id)

    def test_an_inode_never_changes_between_releases(self):
        assert inode_of("video_a") == 4443469353303293191
