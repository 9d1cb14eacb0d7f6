"""qcow2 images with damage where it matters, against QEMU where QEMU takes them for good."""

import random
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.checks import check_qcow2, converted, damaged
from tests.fuzz.examples import examples
from tests.support.small_qcow2 import (
    CLUSTER,
    COMPRESSED,
    COPIED,
    ENTRIES,
    FIELDS,
    L1_AT,
    L2_AT,
    changed,
    entry,
    small_qcow2,
    with_entry,
)

_DISK = b"".join(
    bytes(CLUSTER) if number % 5 == 4 else b"%d " % number * 20 + bytes(400) + random.Random(number).randbytes(60)  # noqa: S311
    for number in range(ENTRIES // 2)
).ljust(ENTRIES // 2 * CLUSTER, b"\0")[: ENTRIES // 2 * CLUSTER]
IMAGES = [
    small_qcow2(_DISK, version=2),
    small_qcow2(_DISK),
    small_qcow2(_DISK, version=2, compression="zlib"),
    small_qcow2(_DISK, compression="zlib"),
    small_qcow2(_DISK, compression="zstd"),
]
# Their numbers, as hypothesis would print them whole.
_image = st.sampled_from(range(len(IMAGES)))
_number = st.one_of(
    st.sampled_from([0, 1, 2, 3, 4, 8, 9, 16, 104, 112, 512, 1 << 31, (1 << 32) - 1, 1 << 63, (1 << 64) - 1]),
    st.integers(0, 40).map(lambda cluster: cluster * CLUSTER),
    st.integers(0, 1 << 16),
)
_entry = st.builds(
    lambda flags, offset: flags | offset,
    st.sampled_from([0, 1, COPIED, COPIED | 1, COMPRESSED, COMPRESSED | 1 << 61, 1 << 58]),
    st.one_of(st.integers(0, 40).map(lambda cluster: cluster * CLUSTER), st.integers(0, 40 * CLUSTER)),
)


@examples(250)
@given(_image, st.dictionaries(st.sampled_from(list(FIELDS)), _number, min_size=1, max_size=3))
def test_a_header_that_lies(image, lies):
    sizes = {">B": 8, ">I": 32, ">Q": 64}
    check_qcow2(changed(IMAGES[image], **{name: value % (1 << sizes[FIELDS[name][1]]) for name, value in lies.items()}))


@examples(250)
@given(_image, st.lists(st.tuples(st.integers(0, ENTRIES - 1), _entry), min_size=1, max_size=3), st.booleans())
def test_tables_that_lie(image, lies, first):
    data = IMAGES[image]
    for number, value in lies:
        data = with_entry(data, L1_AT if first else L2_AT, number % 2 if first else number, value)
    check_qcow2(data)


@examples(100)
@given(
    _image, st.sets(st.integers(0, ENTRIES // 2 - 1), min_size=1, max_size=3), st.sampled_from([1, COPIED, COMPRESSED])
)
def test_flags_that_are_others(image, numbers, flag):
    data = IMAGES[image]
    for number in numbers:
        data = with_entry(data, L2_AT, number, entry(data, L2_AT, number) ^ flag)
    check_qcow2(data)


@examples(150)
@given(_image, st.lists(st.tuples(st.integers(0), st.binary(min_size=1, max_size=6)), min_size=1, max_size=4))
def test_bytes_that_are_others(image, damage):
    check_qcow2(damaged(IMAGES[image], damage))


@examples(60)
@given(_image, st.integers(0, 60 * CLUSTER), st.binary(max_size=600))
def test_an_end_that_is_another(image, length, tail):
    data = IMAGES[image]
    check_qcow2(data[: length % len(data)])
    check_qcow2(data + tail)


@examples(30)
@given(_image, st.permutations(range(ENTRIES // 2)))
def test_guest_clusters_in_any_order(image, order):
    data = IMAGES[image]
    table = [data[L2_AT + 8 * number : L2_AT + 8 * number + 8] for number in order]
    changed_image = data[:L2_AT] + b"".join(table) + data[L2_AT + 8 * len(table) :]
    with tempfile.TemporaryDirectory() as folder:
        assert converted(changed_image, Path(folder), 1000) == b"".join(
            _DISK[number * CLUSTER : number * CLUSTER + CLUSTER] for number in order
        )
    check_qcow2(changed_image)
