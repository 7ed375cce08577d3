"""Steps that fetch rows again: where they stand in a graph, what they are called, whose fields they have."""

from __future__ import annotations

import pytest

from pipelines.exits import BadCommandError
from pipelines.planning.catalog import Pipeline
from pipelines.planning.retries import extended_steps, last_retry, with_retries
from stages.collect_images import CollectImagesRecipe, collect_images
from stages.contract import Source
from stages.download_pairs import DownloadPairsRecipe, download_pairs
from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.import_pairs import ImportPairsRecipe, import_pairs
from stages.read_conversations import ReadConversationsRecipe, read_conversations
from stages.retry_pairs import RetryPairsRecipe


def pipeline() -> Pipeline:
    """A download that two steps read, and pairs that were imported."""
    recipe = DownloadPairsRecipe(source=Source("urls"), resize_mode="keep_ratio", num_tries=3)
    pairs = download_pairs.bind("pairs", recipe)
    own = import_pairs.bind("own", ImportPairsRecipe(source=Source("tars")))
    kept = (
        filter_pairs.bind(name, FilterPairsRecipe(), read) for name, read in (("a", pairs), ("b", pairs), ("c", own))
    )
    return Pipeline("p", "p", (*kept, pairs))


def test_all_that_read_a_download_read_its_retry() -> None:
    before = pipeline()
    after = with_retries(before, ["pairs=timeout"]).steps
    assert {name: step.edges["raw"].name for name, step in after.items() if "raw" in step.edges} == {
        "a": "pairs_retry1",
        "b": "pairs_retry1",
        "c": "own",
    }
    assert after["pairs"].fingerprint == before.steps["pairs"].fingerprint
    assert after["c"].fingerprint == before.steps["c"].fingerprint
    assert before.steps["a"].fingerprint in after["a"].earlier
    assert [step.name for step in with_retries(before, ["pairs=timeout"]).targets] == ["a", "b", "c", "pairs_retry1"]


def test_a_retry_has_the_fields_of_its_download_as_settings_leave_them() -> None:
    settings = ["pairs_retry1.deadline_seconds=60", "pairs.num_tries=5"]
    recipe = with_retries(pipeline(), ["pairs=timeout,dns_error"], settings).steps["pairs_retry1"].recipe
    assert isinstance(recipe, RetryPairsRecipe)
    assert (recipe.resize_mode, recipe.num_tries, recipe.deadline_seconds) == ("keep_ratio", 5, 60)
    assert recipe.reasons == ("dns_error", "timeout") and recipe.accept_unreachable


def test_pictures_of_conversations_are_retried_as_they_were_collected() -> None:
    recipe = CollectImagesRecipe(source=Source("talks"), images=Source("photos"), num_tries=3)
    pictures = collect_images.bind("pictures", recipe)
    read = read_conversations.bind("talks", ReadConversationsRecipe(source=Source("talks")), pictures, None)
    steps = with_retries(Pipeline("p", "p", (read,)), ["pictures=timeout"]).steps
    assert steps["talks"].edges["pictures"].name == "pictures_retry1"
    again = steps["pictures_retry1"].recipe
    assert isinstance(again, RetryPairsRecipe)
    assert (again.source, again.num_tries, again.num_urls_per_part) == (Source("talks"), 3, 10_000)


def test_named_twice_the_second_stands_behind_the_first() -> None:
    steps = with_retries(pipeline(), ["pairs=timeout", "pairs=transient"]).steps
    assert steps["pairs_retry2"].edges["extends"].name == "pairs_retry1"
    assert last_retry(extended_steps(steps), "pairs") == "pairs_retry2" == steps["a"].edges["raw"].name
    assert with_retries(pipeline(), ["pairs=timeout", "pairs_retry1=transient"]).steps.keys() == steps.keys()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pairs", "write it as STEP=REASONS"),
        ("pairs=", "write it as STEP=REASONS"),
        ("pair=timeout", "there is no step 'pair' (did you mean 'pairs'?)"),
        ("a=timeout", "'a' is filter_pairs, which knows nothing of the web; steps that do: pairs, own"),
        ("pairs=tiemout", "did you mean 'timeout'?"),
        ("pairs=opt_out", "'opt_out' is no reason that rows are fetched again for"),
    ],
)
def test_what_cannot_be_retried_is_said(text: str, says: str) -> None:
    with pytest.raises(BadCommandError) as raised:
        with_retries(pipeline(), [text])
    assert says in str(raised.value)
