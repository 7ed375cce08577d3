"""An attempt's name is stored as `<run>-<number>`, and read back from there."""

import pytest

from stages.commit.attempt import AttemptId


@pytest.mark.parametrize(("run", "number"), [("tiny", 1), ("tiny-8a1b2c3d", 12), ("a-1", 2)])
def test_a_name_is_read_back_as_it_was_stored(run: str, number: int) -> None:
    attempt = AttemptId(run, number)
    assert str(attempt) == f"{run}-{number}"
    assert AttemptId.parse(str(attempt)) == attempt


def test_a_name_without_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        AttemptId.parse("tiny-latest")
