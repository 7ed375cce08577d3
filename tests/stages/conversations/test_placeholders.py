"""Which `<image>` is a picture follows from where it stands; what is written is what was read."""

from hypothesis import given
from hypothesis import strategies as st

from neo_model.inputs.conversation import IMAGE_PLACEHOLDER
from stages.conversations.image_references import ImageReference
from stages.conversations.placeholders import message_of, place_pictures, places_of
from stages.conversations.turns import Turn
from stages.origins.clean_text import clean_text

TEXTS = st.lists(st.sampled_from(["<image>", "\n", " ", "a", "<ima", "ge>"]), max_size=12).map("".join).map(clean_text)


def test_places_stand_on_lines_of_their_own_or_at_an_end() -> None:
    assert places_of("<image>\nWhat does <image> mean?") == {0}
    assert places_of("Is <image> a tag?\n<image> <image>\nno") == {1, 2}
    assert places_of("<image><image> a <image>") == {0, 1, 2}
    assert places_of("<image>") == {0}
    assert places_of("a <image>.") == set()
    assert places_of(" " * 200_000 + "a") == set()


@given(TEXTS)
def test_the_text_of_a_turn_is_never_changed(text: str) -> None:
    num_tags = text.count(IMAGE_PLACEHOLDER)
    turns = [Turn("user", (text,) if text else ())]
    (placed,) = place_pictures(turns, [ImageReference(str(number)) for number in range(num_tags)])
    message = message_of(placed)
    assert message.content == text
    assert message.num_images == num_tags
