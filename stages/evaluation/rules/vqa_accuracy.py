"""VQA accuracy: how many of ten people gave this answer, after both are brought into one spelling (Antol et al. 2015).

The spelling is that of the public VQA evaluation as VLMEvalKit has it: lower case, no articles, number words up to ten
as digits, apostrophes of contractions put back, and punctuation taken out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

NUM_AGREEING: Final = 3
"""People who must have given an answer for it to be fully right."""
_ARTICLES: Final = frozenset(("a", "an", "the"))
_NUMBERS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DIGITS: Final = {"none": "0"} | {word: str(number) for number, word in enumerate(_NUMBERS)}
_CONTRACTED: Final = (
    "ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd "
    "he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've "
    "needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've "
    "somebody'll somebody's someone'd someone'd've someone'll someone's something'd something'd've something'll that's "
    "there'd there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't "
    "what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're "
    "why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've"
)
_APOSTROPHES: Final = {"somebody'd": "somebodyd"} | {
    full[:place] + full[place + 1 :]: full
    for full in _CONTRACTED.split()
    for place, letter in enumerate(full)
    if letter == "'"
}
"""A contraction that lacks one apostrophe to the contraction. The public list has `somebody'd` the wrong way round."""
_PUNCTUATION: Final = ';/[]"{}()=+\\_-><@`,?!'
_COMMA_IN_NUMBER: Final = re.compile(r"\d,\d")
_LONE_PERIOD: Final = re.compile(r"(?<!\d)\.(?!\d)")
_MAX_PERIODS: Final = 32
"""Lone periods that are taken out at most: the public script passes a flag, which is 32, where a count is expected."""


def vqa_accuracy(answer: str, truths: Sequence[str]) -> float:
    """The mean, over all sets of people without one of them, of how many gave the answer, counted up to three.

    With ten people an answer that two of them gave scores 0.6. A single truth is right or wrong.

    >>> vqa_accuracy("The Dog.", ["dog", "dog", "a dog", "cat"]), vqa_accuracy("the dog", ["dog"])
    (0.75, 1.0)
    """
    said, spelled = vqa_spelling(answer), [vqa_spelling(truth) for truth in truths]
    if len(spelled) == 1:
        return float(said == spelled[0])
    num_same = spelled.count(said)
    scores = [min(1.0, (num_same - (one == said)) / NUM_AGREEING) for one in spelled]
    return sum(scores) / len(scores)


def vqa_spelling(text: str) -> str:
    """A text in the spelling in which answers are compared.

    >>> vqa_spelling("Two dogs, and a cat!"), vqa_spelling("1,000"), vqa_spelling("It isnt red/blue")
    ('2 dogs and cat', '1000', "it isn't red blue")
    """
    plain = without_punctuation(text.replace("\n", " ").replace("\t", " ").strip())
    words = [_DIGITS.get(word, word) for word in plain.lower().split()]
    return " ".join(_APOSTROPHES.get(word, word) for word in words if word not in _ARTICLES)


def without_punctuation(text: str) -> str:
    """The text without punctuation. A mark inside of a word becomes a space, unless the text has a number with commas.

    >>> without_punctuation("red/blue"), without_punctuation("red / blue"), without_punctuation("3.5 km.")
    ('red blue', 'red  blue', '3.5 km')
    """
    has_commas, plain = _COMMA_IN_NUMBER.search(text) is not None, text
    for mark in _PUNCTUATION:
        stands_apart = f"{mark} " in text or f" {mark}" in text
        plain = plain.replace(mark, "" if stands_apart or has_commas else " ")
    return _LONE_PERIOD.sub("", plain, count=_MAX_PERIODS)
