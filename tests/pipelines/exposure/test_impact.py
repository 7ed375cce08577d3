"""What a planted bad part did is what the real order of rows dealt, training by training."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from pipelines.commands.impact import _plan_from
from pipelines.exposure.account import weigh
from pipelines.exposure.asked import Beginnings, of_artifacts, of_ids, of_part
from pipelines.exposure.cost import cost_of
from pipelines.exposure.holds import Doubts
from pipelines.exposure.impact import Impact, Judge
from pipelines.exposure.trainings import trainings_of
from pipelines.lineage.graph import Node, all_nodes
from pipelines.planning.request import FROZEN_PLAN
from stages.artifacts.artifact import open_artifact
from stages.artifacts.kinds import Rows
from stages.contract import Fork
from stages.formats.packed_rows.rows import RowReader
from stages.formats.permutation import Shuffle
from tests.pipelines.conftest import TOYS, NeoSite
from tests.worlds.pipeline_world import sample_id, url_of

WHOLE = f"{TOYS}:whole"


@pytest.fixture
def whole(site: NeoSite) -> NeoSite:
    assert site.neo("run", WHOLE).code == 0
    return site


def short_of(site: NeoSite, step: str) -> str:
    folder = site.artifact_folder(step, "whole")
    return f"{folder.parent.name}/{folder.name}"


def judged(site: NeoSite, beginnings: Beginnings, bad: frozenset[str] = frozenset()) -> Impact:
    nodes = list(all_nodes(site.store))
    return Judge(weigh(site.store, nodes, beginnings, Doubts()), bad).judge()


def nodes_of(site: NeoSite) -> dict[str, Node]:
    return {node.short: node for node in all_nodes(site.store)}


def dealt(site: NeoSite, samples: set[bytes], num_steps: int) -> Counter[int]:
    """Step to the documents of these samples, by dealing one row a step from the shuffled epochs."""
    stage, _, name = short_of(site, "rows").partition("/")
    rows = open_artifact(site.store, stage, name, Rows)
    packed = RowReader(rows).index("sample_ids")["sample_ids"].to_pylist()
    deal = [
        int(row)
        for epoch in range(-(-num_steps // len(packed)))
        for row in Shuffle(len(packed), f"rows/0/{epoch}").items(np.arange(len(packed)))
    ]
    found = {step + 1: sum(one in samples for one in packed[deal[step]]) for step in range(num_steps)}
    return Counter({step: number for step, number in found.items() if number})


def test_a_planted_bad_part_is_in_exactly_the_steps_that_were_dealt_it(whole: NeoSite) -> None:
    nodes = nodes_of(whole)
    pairs = nodes[short_of(whole, "pairs")]
    for part in range(3):
        told = judged(whole, of_part(nodes, pairs, [f"{part:05d}"], Doubts()))
        expected = dealt(whole, {sample_id(url_of(number)) for number in range(part, 12, 3) if number % 5 != 4}, 6)
        (training,) = told.trainings
        documents = zip(training.reads.steps.tolist(), training.reads.documents.tolist(), strict=True)
        assert Counter(dict(documents)) == expected and training.first_step == min(expected)
        assert training.checkpoints == tuple(step for step in (2, 4, 6) if step >= min(expected))
        assert [one.short for one in told.made] == [short_of(whole, "evaluate")]


def test_what_holds_none_of_it_is_clean_only_where_all_could_be_read(whole: NeoSite) -> None:
    never = judged(whole, of_ids(nodes_of(whole), [b"\1" * 16]))
    assert (never.trainings, never.made, never.clean) == ((), (), (short_of(whole, "weights"),))
    (whole.artifact_folder("rows", "whole") / "manifest.json").unlink()
    doubtful = judged(whole, of_ids(nodes_of(whole), [b"\1" * 16]))
    assert doubtful.clean == () and doubtful.doubts
    assert [(one.holds, bool(one.doubts)) for one in doubtful.trainings] == [(False, True)]


def test_bad_weights_are_in_all_that_began_from_them(whole: NeoSite) -> None:
    llm = short_of(whole, "llm")
    told = judged(whole, of_artifacts([nodes_of(whole)[llm]]), frozenset([llm]))
    (training,) = told.trainings
    assert (training.first_step, training.begins_from, training.clean) == (0, (llm,), None)
    assert {one.short for one in told.made} == {llm, short_of(whole, "evaluate")}


def test_training_again_takes_the_steps_after_the_clean_state(whole: NeoSite) -> None:
    (training,) = trainings_of(whole.store, all_nodes(whole.store), Doubts())
    cost = cost_of(training, 2)
    assert (cost.num_steps, cost.num_rows, cost.rank_hours) == (4, 4, None)
    assert "no step times are recorded" in cost.hours_from
    assert cost_of(replace(training, run=""), 6).num_steps == 0


def test_the_command_says_it_in_words_and_json(whole: NeoSite) -> None:
    words = whole.on_terminal(80, "impact", "--of", "whole/pairs", "--part", "00001")
    assert words.code == 0 and "training again takes 6 steps" in " ".join(words.out.split())
    assert all(len(line) <= 80 for line in words.out.splitlines() if not line.startswith("Next:"))
    made = whole.neo("impact", "--made-by", "toy_llm@1", "--json").json
    assert made["version"] == 1 and made["trainings"][0]["first_step"] == 0
    assert "did you mean 'toy_llm'?" in whole.neo("impact", "--made-by", "toy_lm").err


def test_a_fork_of_a_bad_training_began_from_it_however_far_back(whole: NeoSite) -> None:
    weighed = weigh(whole.store, all_nodes(whole.store), Beginnings(), Doubts())
    short = short_of(whole, "weights")
    training = weighed.trainings[short]
    first = Fork(
        stage="train_toy", fingerprint="b" * 64, at_step=2, content="", recipe={}, inputs={}, course=training.course
    )
    second = first.model_copy(update={"fingerprint": "c" * 64, "at_step": 4, "begun_from": first})
    weighed.trainings[short] = replace(training, fork=second)
    for bad in (first.short, second.short):
        told = Judge(weighed, frozenset([bad])).judge()
        assert [(one.first_step, one.begins_from, one.clean) for one in told.trainings] == [(0, (bad,), None)]
        assert told.clean == () and [one.short for one in told.made] == [short_of(whole, "evaluate")]
    assert Judge(weighed, frozenset(["train_toy/dddddddddddd"])).judge().clean == (short,)


def test_a_recipe_of_a_users_own_without_the_fields_of_steps_is_a_doubt(whole: NeoSite) -> None:
    nodes = nodes_of(whole)
    weights = nodes[short_of(whole, "weights")]
    assert weights.head is not None
    recipe = {name: value for name, value in weights.head.recipe.items() if name != "until_steps"}
    doubts, own = Doubts(), replace(weights, head=weights.head.model_copy(update={"recipe": recipe}))
    assert list(trainings_of(whole.store, [own], doubts)) == []
    assert "lack 'until_steps'" in doubts.reasons[own.short][0]


def test_the_next_command_has_all_that_was_typed(whole: NeoSite) -> None:
    (training,) = trainings_of(whole.store, all_nodes(whole.store), Doubts())
    plan = FROZEN_PLAN.read(whole.store, f"runs/{training.run}/plan.json")
    assert plan is not None
    typed = plan.model_copy(update={"settings": ("weights.words=a b",), "retries": ("pairs:timeout",)})
    command = _plan_from(typed, "weights", 2)
    assert command == f"neo plan {plan.request} --set 'weights.words=a b' --retry-rows pairs:timeout --from weights@2"
