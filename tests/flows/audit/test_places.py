"""Numbers are found where a dictionary has them, however often their slots are wanted by others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.audit import places
from flows.audit.places import Places

NUMBERS = st.integers(-3, 40) | st.integers(-(1 << 63), (1 << 63) - 1)


@pytest.mark.parametrize("hashed_by", [int(places._ODD), 1])
@given(known=st.lists(NUMBERS, unique=True, max_size=60), others=st.lists(NUMBERS, max_size=20))
def test_each_is_where_it_is(known: list[int], others: list[int], hashed_by: int) -> None:
    """By a factor of one all small numbers want the same slot."""
    place = {number: at for at, number in enumerate(known)}
    asked = [*others, *known, *others]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places, "_ODD", np.uint64(hashed_by))
        found = Places(np.array(known, np.int64))
        assert found.of(np.array(asked, np.int64)).tolist() == [place.get(number, -1) for number in asked]
    assert len(found) == len(known)
