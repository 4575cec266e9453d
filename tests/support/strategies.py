"""What Hypothesis draws for more than one module: sizes, spans, ways to read a file."""

from hypothesis import strategies as st

from hingfs.blocks import KIB, MIB, ByteRange

# Names for what a read of a file may be: where it begins and how much it wants.
Read = tuple[int, int]

small_blocks = st.sampled_from([4 * KIB, 8 * KIB, 16 * KIB, 64 * KIB])
file_sizes = st.one_of(
    st.integers(1, 300 * KIB),
    # Around the edges of blocks, where the mistakes live.
    st.builds(
        lambda blocks, off: max(1, blocks * 4 * KIB + off),
        st.integers(0, 64),
        st.integers(-1, 1),
    ),
)


@st.composite
def byte_ranges(draw: st.DrawFn, most: int = 4 * MIB) -> ByteRange:
    start = draw(st.integers(0, most))
    return ByteRange(start, draw(st.integers(start, most)))


@st.composite
def access_patterns(draw: st.DrawFn, size_bytes: int) -> list[Read]:
    """Reads of a file of *size_bytes*, some of them at and beyond its end."""
    offset = st.integers(0, size_bytes + 4 * KIB)
    length = st.sampled_from([1, 7, 512, 4 * KIB, 16 * KIB, 128 * KIB])
    anywhere = st.lists(st.tuples(offset, length), min_size=1, max_size=20)
    pattern = draw(st.sampled_from(["anywhere", "onward", "backward", "swapped"]))
    if pattern == "anywhere":
        return draw(anywhere)
    step, first = draw(length), draw(offset)
    reads = [(at, step) for at in range(first, size_bytes + step, step)][:40]
    if pattern == "backward":
        reads.reverse()
    if pattern == "swapped":  # neighbours change places, as the kernel's reads do
        for at in range(0, len(reads) - 1, 2):
            reads[at], reads[at + 1] = reads[at + 1], reads[at]
    return reads
