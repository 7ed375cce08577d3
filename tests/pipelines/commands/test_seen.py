"""What weights were trained on, up to an optimizer step."""

from tests.pipelines.conftest import TOYS, NeoSite

WHOLE = f"{TOYS}:whole"


def test_steps_up_to_one_and_all_of_them(site: NeoSite) -> None:
    site.neo("run", WHOLE)
    (three,) = site.neo("seen", "whole/weights", "--at", "3", "--json").json["seen"]
    (whole,) = site.neo("seen", "whole/evaluate", "--json").json["seen"]
    assert three["until_step"] == 3 and whole["until_step"] == whole["num_steps"] == 6
    old = site.neo("trace", "whole/weights", "--saw", "3", "--json")
    assert old.json["seen"] == [three] and "Now: neo seen whole/weights --at 3" in old.err


def test_a_step_beyond_the_training_and_what_was_not_trained_are_said(site: NeoSite) -> None:
    site.neo("run", WHOLE)
    assert "was trained for 6 steps; 7 is not among them" in site.neo("seen", "whole/weights", "--at", "7").err
    assert "was not trained on rows itself" in site.neo("seen", "whole/evaluate", "--at", "3").err
    assert "name an optimizer step, or `end`" in site.neo("seen", "whole/weights", "--at", "last").err
