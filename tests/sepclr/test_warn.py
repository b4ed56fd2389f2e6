import pytest

from medgraph.sepclr.warn import warn_destroyed


def test_a_destroyed_attribute_is_named():
    with pytest.warns(UserWarning, match=r"attribute 'lesion_side' is probed, but the views randomise side"):
        warn_destroyed(("age", "lesion_side"), ("side", "laterality"))
    with pytest.warns(UserWarning, match="'offset_lr' is probed, but the views randomise lr: neither code can hold it"):
        warn_destroyed(("offset_lr",), ("lr",))


@pytest.mark.parametrize("name", ["Side", "lesion side", "lesion-side", "SIDE_2"])
def test_a_column_may_write_its_words_in_any_way(name):
    with pytest.warns(UserWarning, match=f"attribute '{name}' is probed, but the views randomise side"):
        warn_destroyed((name,), ("side",))


def test_nothing_is_said_otherwise():
    warn_destroyed(("age", "inside"), ("side",))  # warnings are errors here
