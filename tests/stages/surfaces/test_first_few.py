"""Names in a sentence: none is hidden without a word."""

from stages.surfaces.first_few import first_few


def test_what_is_not_named_is_counted() -> None:
    assert first_few([], 3) == ""
    assert first_few(["one"], 3) == "one"
    assert first_few(["one", "two", "three"], 3) == "one, two, three"
    assert first_few([str(number) for number in range(1003)], 3) == "0, 1, 2 and 1,000 more"
