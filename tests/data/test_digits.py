import gzip

import pytest
from reference.contrast_files import write_digits

from medgraph.data.digits import read_digits
from medgraph.errors import DataError


def test_first_seven_thousand_train(tmp_path):
    write_digits(tmp_path)
    images, labels = read_digits(tmp_path, "train")
    assert images.shape == (7000, 28, 28)
    assert images.max() == 1
    assert labels[:3].tolist() == [0, 1, 2]
    assert len(read_digits(tmp_path, "test")[1]) == 40


def test_missing_damaged_and_unequal_files_are_named(tmp_path):
    with pytest.raises(DataError, match="no such file, expected MNIST's test part"):
        read_digits(tmp_path, "train")
    write_digits(tmp_path)
    labels = tmp_path / "t10k-labels-idx1-ubyte.gz"
    labels.write_bytes(gzip.compress(bytes(8 + 5)))
    with pytest.raises(DataError, match="7040 digits with 5 labels, expected as many"):
        read_digits(tmp_path, "train")
    whole = gzip.compress(bytes(8 + 7040))
    for damaged in (b"no gzip at all", whole[:10] + b"\xff" + whole[11:], whole[:-9]):
        labels.write_bytes(damaged)
        with pytest.raises(DataError, match=r"labels-idx1-ubyte.gz: is damaged"):
            read_digits(tmp_path, "train")
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(16 + 1000)))
    with pytest.raises(DataError, match=r"images-idx3-ubyte.gz: is damaged"):
        read_digits(tmp_path, "train")
