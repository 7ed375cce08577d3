"""Prompts about clips: frames with their times, fewer where there is no room, in another order where that is asked."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.local import make
from stages.artifacts.kinds import Conversations
from stages.benchmarks.benchmark import PixelRange
from stages.evaluation.answering import Answerer, AskedPrompt, load_model_folder, media_reader
from stages.evaluation.blind_control import Media, frame_order
from stages.evaluation.questions import Question, QuestionTrouble, read_questions
from tests.worlds.clip_questions import ClipQuestionsRecipe, ask_about_clips
from tests.worlds.clip_world import ClipsRecipe, make_clips
from tests.worlds.colour_world import ColourWorld

FRAME_TOKENS = 2
"""A frame of 128 x 96 px has 64 x 32 px within 4,096 px."""


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Conversations:
    clips = make_clips.bind("clips", ClipsRecipe(films=("walk", "jump", "turn", "fall"), num_frames=8))
    return make(ask_about_clips.bind("asked", ClipQuestionsRecipe(), clips), tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def answerer(questions: Conversations, colour_world: ColourWorld, tmp_path_factory: pytest.TempPathFactory) -> Answerer:
    folder = colour_world.open(colour_world.checkpoint).copy_to(tmp_path_factory.mktemp("model"))
    model, tokenizer = load_model_folder(folder)
    media = media_reader(questions, model.config, frame_pixels=PixelRange(1024, 4096), max_frames=8)
    return Answerer(model=model, tokenizer=tokenizer, media=media, max_prompt_tokens=4000, max_new_tokens=4)


def by_kind(questions: Conversations, kind: str) -> Question:
    return next(one for one in read_questions(questions) if one.kind == kind)


def prompt(answerer: Answerer, question: Question, **fields: Any) -> AskedPrompt:
    asked = answerer.prompt(question, question.media, **fields)
    assert isinstance(asked, AskedPrompt)
    return asked


def test_every_frame_is_shown_behind_its_time(answerer: Answerer, questions: Conversations) -> None:
    question = by_kind(questions, "order")
    asked = prompt(answerer, question)
    assert (asked.frames.num_frames, asked.frames.num_frames_kept) == ((8,), (8,))
    text = answerer.tokenizer.decode(asked.prompt.token_ids)
    assert "The time range of this video is [00:00-00:02], and the following is a series of 8 frames" in text
    assert "[00:00.24]:" in text and text.index("[00:00.24]:") < text.index("[00:00.48]:") < text.index("Which?")
    assert {patches.shape for patches in asked.prompt.patches} == {(4 * FRAME_TOKENS, 768)}


def test_two_clips_and_a_text_between_keep_their_order(answerer: Answerer, questions: Conversations) -> None:
    question = by_kind(questions, "pair")
    both = prompt(answerer, question)
    assert both.frames.num_frames == (8, 8)
    for number, clip_id in enumerate(question.clip_ids):
        alone = answerer.prompt(by_kind(questions, "order"), Media((), (clip_id,)))
        assert isinstance(alone, AskedPrompt)
        mine = both.prompt.patches[8 * number : 8 * number + 8]
        assert all(np.array_equal(one, other) for one, other in zip(mine, alone.prompt.patches, strict=True))


def test_a_long_clip_shows_interior_frames_and_says_how_many(answerer: Answerer, questions: Conversations) -> None:
    question = by_kind(questions, "order")
    whole = prompt(answerer, question)
    fewer = prompt(replace(answerer, media=replace(answerer.media, max_frames=3)), question)
    assert (fewer.frames.num_frames, fewer.frames.num_frames_kept) == ((3,), (8,))
    shown = [whole.prompt.patches[number] for number in (2, 4, 6)]
    assert all(np.array_equal(one, other) for one, other in zip(fewer.prompt.patches, shown, strict=True))
    assert "a series of 3 frames" in answerer.tokenizer.decode(fewer.prompt.token_ids)


def test_a_prompt_without_room_shows_the_most_frames_that_fit(answerer: Answerer, questions: Conversations) -> None:
    for kind, num_clips in (("order", 1), ("pair", 2)):
        question = by_kind(questions, kind)
        lengths = {}
        for most in range(1, 9):
            limited = replace(answerer, media=replace(answerer.media, max_frames=most))
            lengths[most] = prompt(limited, question).num_tokens
        for most in range(1, 8):
            for limit in (lengths[most], lengths[most + 1] - 1):
                fitting = prompt(replace(answerer, max_prompt_tokens=limit), question)
                assert fitting.frames.num_frames == (most,) * num_clips and fitting.num_tokens == lengths[most]
        none = replace(answerer, max_prompt_tokens=lengths[1] - 1).prompt(question, question.media)
        assert none is QuestionTrouble.TOO_LONG


def test_shuffled_frames_are_the_same_frames_in_another_order(answerer: Answerer, questions: Conversations) -> None:
    question = by_kind(questions, "order")
    own, shuffled = prompt(answerer, question), prompt(answerer, question, is_shuffled=True)
    assert own.prompt.token_ids == shuffled.prompt.token_ids, "times stay in place"
    order = frame_order(question.sample_id, 0, 8)
    assert order != list(range(8))
    expected = [own.prompt.patches[number] for number in order]
    assert all(np.array_equal(one, other) for one, other in zip(shuffled.prompt.patches, expected, strict=True))


def test_what_cannot_be_asked_has_a_reason(answerer: Answerer, questions: Conversations) -> None:
    everything = read_questions(questions)
    reasons = [answerer.prompt(one, one.media) for one in everything]
    troubles = [one for one in reasons if isinstance(one, QuestionTrouble)]
    assert troubles == [QuestionTrouble.CLIP_NOT_KEPT, QuestionTrouble.UNRENDERABLE]


def test_bare_frames_have_no_times(colour_world: ColourWorld, answerer: Answerer, tmp_path: Path) -> None:
    clips = make_clips.bind("clips", ClipsRecipe(films=("walk",), num_frames=2))
    made = make(ask_about_clips.bind("asked", ClipQuestionsRecipe(films=("walk",), style="bare"), clips), tmp_path)
    media = media_reader(made, answerer.model.config, frame_pixels=PixelRange(1024, 4096), max_frames=8)
    asked = prompt(replace(answerer, media=media), by_kind(made, "order"))
    assert "[00:" not in answerer.tokenizer.decode(asked.prompt.token_ids) and asked.frames.num_frames == (2,)
