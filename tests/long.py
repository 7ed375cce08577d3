"""Cases that `make test` leaves out, as a quicker one of their kind stands beside them. `make test-long` runs them."""

from typing import Any

import pytest


def long(*values: Any) -> Any:
    """These values as one parameter set of a test that takes them, marked as long."""
    return pytest.param(*values, marks=pytest.mark.long)
