"""Judges imported pictures as they are read, and spools those that are kept, like a download does.

A picture is judged once it is read and then waits in a file on scratch, so memory holds one picture at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from stages.download.judge_picture import PictureJudge
from stages.download.picture_recipe import PictureRecipe
from stages.download.reasons import Reason, RowError
from stages.download.spool import Spool, SpooledPicture
from stages.formats.sample_table import ItemReason

MAX_REMARKS = 5
"""Remarks about unexplained failures that are kept of one part."""

Outcome: TypeAlias = SpooledPicture | ItemReason
"""How an item ended: with a picture, or with the reason why there is none."""


class Intake:
    """Takes the pictures of one part."""

    def __init__(self, recipe: PictureRecipe, spool: Spool, report: Callable[[int], None] = lambda _: None) -> None:
        self.max_image_bytes = recipe.max_image_bytes
        self.remarks: list[str] = []
        """Words about the first few unexplained failures."""
        self.num_taken = 0
        self._judge = PictureJudge(recipe.picture_rule)
        self._spool = spool
        self._report = report

    def take(self, data: bytes) -> Outcome:
        """Judge one picture. Raises `OSError` where scratch cannot hold it."""
        self.num_taken += 1
        self._report(self.num_taken)
        if not data:
            return Reason.EMPTY_BODY
        if len(data) > self.max_image_bytes:
            return Reason.TOO_LARGE
        try:
            judged = self._judge(data)
        except RowError as error:
            return error.reason
        except Exception as error:  # one picture that breaks a decoder must not fail the part
            self.remark(f"{type(error).__name__}: {error}")
            return Reason.UNEXPLAINED
        return self._spool.add(judged)

    def take_from(self, size_bytes: int, read: Callable[[], bytes]) -> Outcome:
        """Judge the picture that `read` gives, of `size_bytes`; one that is too large is not read."""
        return Reason.TOO_LARGE if size_bytes > self.max_image_bytes else self.take(read())

    def remark(self, words: str) -> None:
        """Keep words about a failure that has no reason of its own; the first few are kept."""
        if len(self.remarks) < MAX_REMARKS:
            self.remarks.append(words)
