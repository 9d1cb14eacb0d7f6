import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataimportcron.importer.disk.sparse import BLOCK, write_sparse

PIECES = st.lists(st.tuples(st.sampled_from([b"\0", b"\1", b"\0\0\0\1"]), st.integers(0, 3 * BLOCK)), max_size=6)


@pytest.fixture(scope="module")
def descriptor(tmp_path_factory):
    descriptor = os.open(tmp_path_factory.mktemp("sparse") / "file", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


@settings(max_examples=150, deadline=None)
@given(pieces=PIECES, offset=st.integers(0, 2 * BLOCK))
def test_reads_back_what_was_written(descriptor, pieces, offset):
    data = b"".join(unit * length for unit, length in pieces)
    os.ftruncate(descriptor, 0)
    os.ftruncate(descriptor, offset + len(data))
    written = write_sparse(descriptor, data, offset)
    assert os.pread(descriptor, offset + len(data), 0) == bytes(offset) + data
    assert written <= len(data)


def test_zeros_take_no_space(descriptor):
    os.ftruncate(descriptor, 0)
    size = 8 << 20
    data = bytes(size // 2) + b"x" * BLOCK + bytes(size // 2 - BLOCK)
    assert write_sparse(descriptor, data, 0) == BLOCK
    os.fsync(descriptor)
    assert os.fstat(descriptor).st_blocks * 512 <= 16 * BLOCK


def test_a_block_is_aligned_to_the_file_not_to_the_chunk(descriptor):
    os.ftruncate(descriptor, 0)
    assert write_sparse(descriptor, b"x" * 96 + bytes(BLOCK) + b"y", BLOCK - 96) == 97
