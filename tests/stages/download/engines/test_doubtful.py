"""Doubtful URLs are asked again after an outage, as long as that brings some back."""

from stages.download.engines.doubtful import MAX_ROUNDS, Doubtful


def filled(num: int, doubtful: Doubtful[int] | None = None) -> Doubtful[int]:
    doubtful = Doubtful() if doubtful is None else doubtful
    for number in range(num):
        doubtful.add(number)
    return doubtful


def test_without_an_outage_they_end_as_they_are() -> None:
    assert filled(3).next_round(num_outages=0) == ([0, 1, 2], False)


def test_rounds_go_on_while_they_bring_some_back() -> None:
    doubtful = filled(9)
    assert doubtful.next_round(1) == (list(range(9)), True)
    assert filled(5, doubtful).next_round(1) == (list(range(5)), True)
    assert filled(5, doubtful).next_round(1) == (list(range(5)), False)


def test_rounds_are_bounded() -> None:
    doubtful: Doubtful[int] = Doubtful()
    rounds = [filled(100 - number, doubtful).next_round(1)[1] for number in range(MAX_ROUNDS + 2)]
    assert rounds == [True] * MAX_ROUNDS + [False] * 2
    assert len(doubtful) == 0
