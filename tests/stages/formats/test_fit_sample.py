"""Samples made to fit: smaller pictures by one rule, long texts cut, everything else dropped for a stated reason."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from neo_model.inputs.conversation import IMAGE_CONTEXT, add_special_tokens
from neo_model.inputs.frame_sampling import interior_points
from stages.formats.clips import Clip
from stages.formats.fit_sample import Fitted, Limits, UnfitError, UnfitReason, fit
from stages.formats.pairs import Pair, StoredImage
from stages.formats.samples import CaptionedClip, CaptionedPicture, Chat, PlainText, Sample
from stages.toy_world.tokenizer import train_tokenizer
from tests.worlds.mixture_world import WORDS

LIMITS = Limits(max_tokens=64, min_pixels_px=4 * 1024, max_pixels_px=100 * 1024)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    made = train_tokenizer([" ".join(WORDS)], 300)
    add_special_tokens(made)
    return made


def pair(width_px: int = 64, height_px: int = 64, caption: str = "a red square") -> Pair:
    return Pair(
        StoredImage(bytes(16), bytes(32), 0, 1, "00000"), url="", caption=caption,
        width_px=width_px, height_px=height_px, position=0,
    )  # fmt: skip


def chat(*pictures: Pair, placeholders: int | None = None, answer: str = "red") -> Chat:
    question = "<image>" * (len(pictures) if placeholders is None else placeholders) + "a red square"
    messages = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    return Chat.of(bytes(16), messages, pictures)


def num_visual_tokens(fitted: Fitted, tokenizer: Tokenizer) -> int:
    context = tokenizer.token_to_id(IMAGE_CONTEXT)
    return sum(document.token_ids.count(context) for document in fitted.documents)


def test_a_sample_that_fits_keeps_the_pictures_of_the_recipe(tokenizer: Tokenizer) -> None:
    fitted = fit(CaptionedPicture.of(pair(96, 64)), tokenizer, LIMITS)
    assert fitted.grids == ((4, 6),)
    assert fitted.max_pixels_px == LIMITS.max_pixels_px
    assert num_visual_tokens(fitted, tokenizer) == 6


def test_pictures_of_a_long_sample_become_as_much_smaller_as_needed(tokenizer: Tokenizer) -> None:
    sample = CaptionedPicture.of(pair(320, 320))
    roomy = fit(sample, tokenizer, Limits(max_tokens=200, min_pixels_px=4096, max_pixels_px=100 * 1024))
    assert num_visual_tokens(roomy, tokenizer) == 100
    fitted = fit(sample, tokenizer, LIMITS)
    num_text_tokens = len(roomy.documents[0].token_ids) - 100
    assert len(fitted.documents[0].token_ids) <= LIMITS.max_tokens
    assert num_visual_tokens(fitted, tokenizer) == 49, "7 x 7 is the largest square that fits beside the text"
    assert 64 - num_text_tokens < 64
    assert fitted.max_pixels_px < LIMITS.max_pixels_px


@given(sizes=st.lists(st.tuples(st.integers(20, 2000), st.integers(20, 2000)), min_size=1, max_size=4))
def test_whatever_the_sizes_a_sample_fits_or_says_why_not(sizes: list[tuple[int, int]], tokenizer: Tokenizer) -> None:
    sample = chat(*(pair(width, height) for width, height in sizes))
    try:
        fitted = fit(sample, tokenizer, LIMITS)
    except UnfitError as error:
        assert error.reason is UnfitReason.TOO_LONG
        smallest = Limits(max_tokens=10_000, min_pixels_px=LIMITS.min_pixels_px, max_pixels_px=5 * 1024)
        assert len(fit(sample, tokenizer, smallest).documents[0].token_ids) > LIMITS.max_tokens - 8
    else:
        assert len(fitted.documents[0].token_ids) <= LIMITS.max_tokens
        assert num_visual_tokens(fitted, tokenizer) == sum(height * width // 4 for height, width in fitted.grids)


def test_long_text_is_cut_into_equal_pieces_and_no_token_is_lost(tokenizer: Tokenizer) -> None:
    text = " ".join(WORDS) * 7
    whole = fit(PlainText.of(bytes(16), text), tokenizer, Limits(max_tokens=10_000, min_pixels_px=1, max_pixels_px=1))
    fitted = fit(PlainText.of(bytes(16), text), tokenizer, LIMITS)
    assert len(fitted.documents) > 1
    lengths = [len(piece.token_ids) for piece in fitted.documents]
    assert max(lengths) <= LIMITS.max_tokens and max(lengths) - min(lengths) <= 1
    assert [token for piece in fitted.documents for token in piece.token_ids] == whole.documents[0].token_ids
    assert all(piece.supervised == [False] + [True] * (len(piece.token_ids) - 1) for piece in fitted.documents)


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        (CaptionedPicture.of(pair(caption=" ".join(WORDS) * 3)), UnfitReason.TOO_LONG),
        (chat(answer=" ".join(WORDS) * 3), UnfitReason.TOO_LONG),
        (chat(*[pair(320, 320)] * 12), UnfitReason.TOO_LONG),
        (CaptionedPicture.of(pair(6000, 20)), UnfitReason.TOO_ELONGATED),
        (chat(pair(), placeholders=2), UnfitReason.MALFORMED),
        (Chat.of(bytes(16), ({"role": "judge", "content": "red"},), ()), UnfitReason.MALFORMED),
        (Chat.of(bytes(16), ({"role": "user", "content": "red"},), ()), UnfitReason.NOTHING_SUPERVISED),
        (PlainText.of(bytes(16), ""), UnfitReason.NOTHING_SUPERVISED),
    ],
)
def test_every_reason_is_reachable(sample: Sample, reason: UnfitReason, tokenizer: Tokenizer) -> None:
    with pytest.raises(UnfitError) as caught:
        fit(sample, tokenizer, LIMITS)
    assert caught.value.reason is reason


CLIP_LIMITS = Limits(max_tokens=2000, min_pixels_px=1024, max_pixels_px=100 * 1024)


def clip(num_frames: int = 8, width_px: int = 640, height_px: int = 360, caption: str = "a red square") -> Clip:
    frames = tuple(StoredImage(bytes(16), bytes([n]) * 32, n, 1, "00000", is_frame=True) for n in range(num_frames))
    return Clip(
        sample_id=bytes(16), url="", reference="", caption=caption, video_sha256=bytes(32), start_seconds=10.0,
        end_seconds=10.0 + num_frames, width_px=width_px, height_px=height_px, frames=frames,
        frame_times=tuple(map(float, range(num_frames))), part="00000", position=0,
    )  # fmt: skip


def text_of(fitted: Fitted, tokenizer: Tokenizer) -> str:
    return tokenizer.decode(fitted.documents[0].token_ids, skip_special_tokens=True)


def test_a_clip_is_its_frames_with_their_times_then_its_caption(tokenizer: Tokenizer) -> None:
    fitted = fit(CaptionedClip.of(clip(2)), tokenizer, CLIP_LIMITS)
    assert fitted.grids == ((22, 40),) * 2, "360 x 640 px become 352 x 640"
    assert (fitted.num_frames, fitted.num_stored_frames, fitted.has_fewer_pixels) == (2, 2, False)
    (document,) = fitted.documents
    told = (
        "The time range of this video is [00:00-00:02], and the following is a series of 2 frames sampled at 1.0 FPS."
    )
    assert text_of(fitted, tokenizer) == f"{told}\n[00:00.00]:\n[00:01.00]:\na red square"
    learned = [token for token, is_learned in zip(document.token_ids, document.supervised, strict=True) if is_learned]
    assert tokenizer.decode(learned, skip_special_tokens=False) == "a red square<|endoftext|>"


def test_frames_and_pictures_have_caps_of_their_own(tokenizer: Tokenizer) -> None:
    messages = ({"role": "user", "content": "<image><video><image>?"}, {"role": "assistant", "content": "red"})
    sample = Chat.of(bytes(16), messages, [pair(320, 320), pair(64, 64)], [clip(2)], "bare")
    fitted = fit(sample, tokenizer, replace(CLIP_LIMITS, min_frame_pixels_px=1024, max_frame_pixels_px=64 * 64))
    assert fitted.grids == ((20, 20), (2, 4), (2, 4), (4, 4)), "in the order of the placeholders"
    assert [image.is_frame for image in fitted.images] == [False, True, True, False]


def test_a_clip_of_more_frames_than_allowed_gives_interior_ones_and_says_so(tokenizer: Tokenizer) -> None:
    fitted = fit(CaptionedClip.of(clip(100)), tokenizer, replace(CLIP_LIMITS, max_frames=3))
    assert [image.offset for image in fitted.images] == [25, 50, 75]
    assert (fitted.num_frames, fitted.num_stored_frames) == (3, 100)
    assert "a series of 3 frames sampled at 0.0 FPS.\n[00:25.00]:\n[00:50.00]:\n[01:15.00]:" in text_of(
        fitted, tokenizer
    )


def test_a_clip_that_is_too_long_is_given_fewer_pixels_first(tokenizer: Tokenizer) -> None:
    fitted = fit(CaptionedClip.of(clip(8)), tokenizer, replace(CLIP_LIMITS, max_tokens=1000))
    assert fitted.num_frames == 8 and fitted.has_fewer_pixels
    assert fitted.max_frame_pixels_px < CLIP_LIMITS.max_frame_pixels_px
    assert fitted.num_tokens_wanted > 1000 >= len(fitted.documents[0].token_ids) > 800


def test_then_fewer_frames_and_its_text_tells_their_number_and_times(tokenizer: Tokenizer) -> None:
    """Of 8 frames of at least 50 tokens each, three fit 300 tokens."""
    limits = replace(CLIP_LIMITS, max_tokens=300, min_frame_pixels_px=50 * 1024)
    fitted = fit(CaptionedClip.of(clip(8)), tokenizer, limits)
    assert 1 <= fitted.num_frames < 8 == fitted.num_stored_frames
    assert [image.offset for image in fitted.images] == interior_points(8, fitted.num_frames)
    assert f"a series of {fitted.num_frames} frames" in text_of(fitted, tokenizer)
    assert len(fitted.documents[0].token_ids) <= 300
    one_more = CaptionedClip.of(clip(8).taking(interior_points(8, fitted.num_frames + 1)))
    with_smallest = replace(limits, max_tokens=10_000, max_frame_pixels_px=50 * 1024)
    assert len(fit(one_more, tokenizer, with_smallest).documents[0].token_ids) > 300, "as many as fit"


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        (CaptionedClip.of(clip(caption=" ".join(WORDS) * 3)), UnfitReason.TOO_LONG),
        (CaptionedClip.of(clip(1)), UnfitReason.TOO_LONG),
        (CaptionedClip.of(clip(2, 64, 64, caption="")), UnfitReason.NOTHING_SUPERVISED),
        (CaptionedClip.of(clip(1, 6000, 20)), UnfitReason.TOO_ELONGATED),
        (Chat.of(bytes(16), ({"role": "user", "content": "red"},), (), [clip(1)]), UnfitReason.MALFORMED),
        (Chat.of(bytes(16), ({"role": "user", "content": "<video><video>"},), (), [clip(1)]), UnfitReason.MALFORMED),
        (Chat.of(bytes(16), ({"role": "user", "content": "<image><video>"},), (), [clip(1)]), UnfitReason.MALFORMED),
        (Chat.of(bytes(16), ({"role": "user", "content": "<video>"},), [pair()], [clip(1)]), UnfitReason.MALFORMED),
    ],
)
def test_every_reason_is_reachable_with_clips(sample: Sample, reason: UnfitReason, tokenizer: Tokenizer) -> None:
    limits = replace(CLIP_LIMITS, max_tokens=140, min_frame_pixels_px=100 * 1024 if sample.texts[0] else 1024)
    with pytest.raises(UnfitError) as caught:
        fit(sample, tokenizer, limits)
    assert caught.value.reason is reason


@given(
    num_frames=st.integers(1, 40),
    size=st.tuples(st.integers(20, 2000), st.integers(20, 2000)),
    max_tokens=st.integers(60, 3000),
    smallest=st.integers(1, 60),
)
def test_whatever_the_clip_it_fits_whole_or_says_why_not(
    num_frames: int, size: tuple[int, int], max_tokens: int, smallest: int, tokenizer: Tokenizer
) -> None:
    limits = replace(CLIP_LIMITS, max_tokens=max_tokens, min_frame_pixels_px=smallest * 1024)
    try:
        fitted = fit(CaptionedClip.of(clip(num_frames, *size)), tokenizer, limits)
    except UnfitError as error:
        assert error.reason in (UnfitReason.TOO_LONG, UnfitReason.TOO_ELONGATED)
    else:
        assert len(fitted.documents[0].token_ids) <= max_tokens and fitted.num_frames >= 1
        assert len(fitted.images) == len(fitted.grids) == fitted.num_frames == len(fitted.documents[0].image_starts)
        assert num_visual_tokens(fitted, tokenizer) == sum(height * width // 4 for height, width in fitted.grids)


@pytest.mark.parametrize(("num_pictures", "largest_tokens"), [(1, 100), (2, 100), (4, 49), (50, 4), (200, 4)])
def test_pictures_that_share_a_budget_have_twice_the_largest_over_their_number(
    num_pictures: int, largest_tokens: int, tokenizer: Tokenizer
) -> None:
    """100 tokens for one or two, 50 for four: squares of 10 x 10 and 7 x 7; never less than the smallest allowed."""
    limits = Limits(max_tokens=10_000, min_pixels_px=4 * 1024, max_pixels_px=100 * 1024, pictures_share_pixels=True)
    fitted = fit(chat(*[pair(320, 320)] * num_pictures), tokenizer, limits)
    assert {height * width // 4 for height, width in fitted.grids} == {largest_tokens}
    assert not fitted.has_fewer_pixels
