"""Names that a file may have, and the video that each stands for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hingfs.library.names import (
    LONGEST_LISTED_BYTES,
    LONGEST_NAME_BYTES,
    VIDEO_SUFFIX,
    full_name_of,
    inode_of,
    is_short,
    name_of,
    video_id_of,
)

ids = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60
) | st.text("/%25Ff.a:=+é", min_size=1, max_size=30)


class TestNames:
    @given(ids)
    def test_an_id_that_has_a_name_is_found_by_it(self, video_id):
        found = video_id_of(full_name_of(video_id))

        usable = (
            not video_id.startswith(".")
            and not {".", ".."} & set(video_id.split("/"))
            and len(full_name_of(video_id).encode()) <= LONGEST_NAME_BYTES
        )
        assert found == (video_id if usable else None)

    @given(ids, ids)
    def test_two_ids_never_share_a_name(self, first, second):
        same = first == second
        assert (full_name_of(first) == full_name_of(second)) == same
        assert (name_of(first) == name_of(second)) == same

    @given(ids)
    def test_a_name_is_one_component_of_a_path(self, video_id):
        assert "/" not in name_of(video_id)
        assert name_of(video_id).endswith(VIDEO_SUFFIX)

    @given(st.text(max_size=40).map(lambda stem: stem + VIDEO_SUFFIX) | st.text())
    def test_a_name_that_has_an_id_is_the_name_of_it(self, name):
        video_id = video_id_of(name)

        assert video_id is None or full_name_of(video_id) == name

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
        assert name_of(video_id) == full_name_of(video_id) == name
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


# As LiteLLM 1.109 makes them: 266 bytes, of which the first 120 are the same for all.
LITELLM = "video_" + "bGl0ZWxsbTpjdXN0b21fbGxtX3Byb3ZpZGVyOm9wZW5haTttb2RlbF9pZDo" * 4


class TestShortNames:
    """A listing shows short names for ids that other file systems cannot hold."""

    @given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
    def test_every_listed_name_fits_with_what_copiers_add(self, video_id):
        assert len(name_of(video_id).encode()) + len(".syncthing..tmp") <= 255

    @pytest.mark.parametrize(
        ("video_id", "short"),
        [
            ("x" * (LONGEST_LISTED_BYTES - 4), False),
            ("x" * (LONGEST_LISTED_BYTES - 3), True),
            ("é" * 117, False),
            ("é" * 118, True),
            ("a/" * 80, True),  # %2F counts as three
            (LITELLM, True),
            ("x" * 1016, True),
        ],
    )
    def test_only_names_that_are_too_long_are_cut(self, video_id, short):
        name = name_of(video_id)

        assert is_short(name) is short
        assert (name == full_name_of(video_id)) is not short
        if short:
            assert len(name.encode()) <= 143  # eCryptfs
            assert video_id_of(full_name_of(video_id)) == video_id

    @pytest.mark.parametrize("shift", range(4))
    def test_no_character_is_cut_through(self, shift):
        name = name_of("x" * shift + "🎬" * 100)

        assert name.encode().decode() == name
        begin = name.partition("~")[0]
        assert begin == "x" * shift + "🎬" * (len(begin) - shift)
        assert len(begin) > 20

    def test_ids_that_begin_alike_differ(self):
        names = {name_of(f"{LITELLM}{number}") for number in range(1000)}

        assert len(names) == 1000

    def test_names_that_differ_do_so_on_file_systems_without_case(self):
        names = {name_of("x" * 300 + letter).lower() for letter in "aAbB"}

        assert len(names) == 4

    def test_an_id_that_looks_like_a_short_name_gets_another(self):
        """So two videos never have one name, whatever ids a server picks."""
        looks_short = name_of("x" * 300).removesuffix(VIDEO_SUFFIX)

        assert is_short(full_name_of(looks_short))
        assert name_of(looks_short) != full_name_of(looks_short)
        assert video_id_of(full_name_of(looks_short)) == looks_short

    def test_a_short_name_never_changes_between_releases(self):
        """Copies made of an earlier mount keep their names."""
        end = "~ltp7rnwxcrnoil2nvp3j4kmrmc4m46rq.mp4"

        assert name_of("x" * 300) == "x" * 106 + end

    @pytest.mark.parametrize(
        "name",
        ["a.mp4", "~.mp4", f"~{'a' * 32}.mp4", f"a~{'A' * 32}.mp4", f"a~{'a' * 32}"],
    )
    def test_other_names_are_not_taken_for_short_ones(self, name):
        assert not is_short(name)
