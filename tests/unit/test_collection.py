"""Python's search for cycles is left as it was found."""

import gc

import pytest

from liteasr.collection import no_collection


def broken() -> None:
    with no_collection():
        assert not gc.isenabled()
        raise RuntimeError


@pytest.mark.parametrize("looks", [True, False])
def test_collection_is_as_it_was(looks: bool) -> None:
    try:
        (gc.enable if looks else gc.disable)()
        with pytest.raises(RuntimeError):
            broken()
        assert gc.isenabled() == looks
    finally:
        gc.enable()
