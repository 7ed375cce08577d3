"""A plan says of each draw for training whether anything is held out from it."""

from tests.pipelines.conftest import NeoSite


def remarks(site: NeoSite, pipeline: str) -> dict[str, bool]:
    steps = site.neo("plan", pipeline, "--json").json["steps"]
    return {step["name"]: step["holds_nothing_out"] for step in steps if step["stage"] == "mix_samples"}


def test_draws_that_hold_out_what_is_examined_get_no_remark(site: NeoSite) -> None:
    assert remarks(site, "tiny") == dict.fromkeys(("pretrain_mix", "mid_mix", "chat_mix", "heldout_mix"), False)


def test_a_draw_from_which_nothing_is_held_out_gets_one(site: NeoSite) -> None:
    assert set(remarks(site, "neo_2b").values()) == {True}
    assert "holds nothing out" in " ".join(site.neo("plan", "neo_2b").out.split())
