"""A short soak: the hour's one is `python tests/support/soak.py`."""

from pathlib import Path

import pytest
from soak import WARM_UP, soak


@pytest.mark.slow
def test_many_rounds_in_one_process_hold_no_more_than_a_few(tmp_path: Path) -> None:
    assert len(list(soak(tmp_path, minutes=0.5))) > WARM_UP
