"""Masked documents: the share that was asked for, the same at every restart, and nothing that gives itself away."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from neo_model.inputs.batch import Document, pack
from stages.contract import StageError
from stages.training.objectives.fields import ObjectivesRecipe
from stages.training.objectives.masking import Masking
from tests.neo_model.tiny import CONTEXT, END, START, lively_model, tiny_config
from tests.worlds.colour_world import tiny_tokenizer

MASK = 89
ALWAYS = Masking(mask_id=MASK, token_share=0.4, document_share=1.0, seed=3)


def talk(num_words: int = 10) -> Document:
    """A picture, a question and an answer, a further question and answer."""
    head = [START, CONTEXT, END, 1, 2]
    answers = [False] * 5 + [True] * num_words + [False] * 2 + [True] * 4
    words = np.random.default_rng(num_words).integers(10, 80, num_words + 6).tolist()
    return Document(token_ids=[*head, *words], supervised=answers, grids=[(2, 2)])


def test_the_share_is_masked_and_predicted_and_each_answer_is_seen_whole() -> None:
    masked = ALWAYS.masked(talk(), step=5, row=7, number=0)
    assert masked is not None
    assert masked.seen_whole == [(5, 15), (17, 21)]
    chosen = np.flatnonzero(masked.supervised)
    assert len(chosen) == round(0.4 * 14)
    shown = np.array(masked.shown_ids)
    assert (shown[chosen] == MASK).all()
    others = np.setdiff1d(np.arange(21), chosen)
    assert (shown[others] == np.array(talk().token_ids)[others]).all()
    picture = np.zeros((4, 768), np.float32)
    batch = pack([talk(), masked], [picture, picture], image_context_id=CONTEXT)
    targets = batch.targets[21:].numpy()
    assert np.flatnonzero(targets >= 0).tolist() == (chosen - 1).tolist()
    assert (targets[chosen - 1] == np.array(talk().token_ids)[chosen]).all()
    assert batch.text_spans.tolist() == [[26, 36], [38, 42]]
    assert batch.whole_spans.tolist() == [[1, 2], [22, 23], [26, 36], [38, 42]]


def test_a_masked_word_is_guessed_from_the_words_behind_it_and_not_from_itself() -> None:
    """Of other words behind it the prediction is another one; of another masked word it is the same."""
    model, picture = lively_model(tiny_config()), np.zeros((4, 768), np.float32)
    masked = replace(ALWAYS, token_share=0.01).masked(talk(), 0, 0, 0)
    assert masked is not None
    (place,) = np.flatnonzero(masked.supervised)

    def predicted(document: Document) -> torch.Tensor:
        with torch.no_grad():
            return model.logits(pack([document], [picture], image_context_id=CONTEXT))[place - 1]

    run = next(run for run in masked.seen_whole if run[0] <= place < run[1])
    assert run[0] < place < run[1] - 1, "words on both sides"
    found = predicted(masked)
    itself = [int(token) if at != place else 77 for at, token in enumerate(masked.token_ids)]
    assert torch.equal(predicted(replace(masked, token_ids=itself)), found)
    behind = [*masked.shown_ids]
    behind[run[1] - 1] = 5
    assert not torch.equal(predicted(replace(masked, shown_ids=behind)), found)
    assert torch.equal(predicted(replace(masked, shown_ids=behind, seen_whole=())), predicted(
        replace(masked, seen_whole=())
    )), "without being seen whole it looks back alone"  # fmt: skip


def test_the_draw_is_a_function_of_seed_step_row_and_document() -> None:
    def draw(masking: Masking = ALWAYS, **place: int) -> tuple[int, ...]:
        masked = masking.masked(talk(40), **{"step": 1, "row": 2, "number": 3, **place})
        return () if masked is None else tuple(np.flatnonzero(masked.supervised).tolist())

    assert draw() == draw() == (10, 11, 13, 14, 15, 18, 20, 23, 26, 27, 28, 31, 35, 37, 38, 43, 44, 47), (
        "on any machine"
    )
    assert len({draw(), draw(step=2), draw(row=1), draw(number=4), draw(replace(ALWAYS, seed=4))}) == 5
    half = replace(ALWAYS, document_share=0.5)
    assert 430 < sum(draw(half, step=step) != () for step in range(1000)) < 570
    assert all(draw(half, step=step) in ((), draw(step=step)) for step in range(50))


def test_a_document_without_a_supervised_token_is_left_alone() -> None:
    assert ALWAYS.masked(Document(token_ids=[1, 2], supervised=[True, False]), 0, 0, 0) is None
    one = ALWAYS.masked(Document(token_ids=[1, 2], supervised=[False, True]), 0, 0, 0)
    assert one is not None and one.supervised.tolist() == [False, True]


def test_the_mask_token_must_stand_in_the_vocabulary() -> None:
    recipe = ObjectivesRecipe(num_steps=1, rows_per_step=1, peak_learning_rate=1, masked_share=0.15)
    with pytest.raises(StageError, match=r"no entry '<\|fim_pad\|>'; name one that it has"):
        Masking.of(recipe, tiny_tokenizer())
    found = Masking.of(recipe.model_copy(update={"mask_token": "<quad>"}), tiny_tokenizer())
    assert found == Masking(tiny_tokenizer().token_to_id("<quad>"), 0.15, 0.5, 0)
    assert Masking.of(recipe.model_copy(update={"masked_share": 0.0}), tiny_tokenizer()) is None
    with pytest.raises(ValueError, match="mask_token = '' masks nothing"):
        ObjectivesRecipe(num_steps=1, rows_per_step=1, peak_learning_rate=1, masked_share=0.15, mask_token="")
