"""Samples made to fit: smaller pictures by one rule, long texts cut, everything else dropped for a stated reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from neo_model.inputs.conversation import IMAGE_CONTEXT, add_special_tokens
from stages.formats.fit_sample import Fitted, Limits, UnfitError, UnfitReason, fit
from stages.formats.pairs import Pair, StoredImage
from stages.formats.samples import CaptionedPicture, Chat, PlainText, Sample
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
