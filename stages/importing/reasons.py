"""The closed list of reasons that only imported pictures have; those about the bytes of a picture are `download/`'s."""

from __future__ import annotations

from stages.formats.sample_table import ItemReason, Verdict


class ImportReason(ItemReason):
    """Why an item of an imported source was not kept: first the dropped ones, then the failed ones."""

    REPEATED_ROW = "repeated_row"
    """An earlier sample of the file has the same key, caption and picture."""
    SEVERAL_PICTURES = "several_pictures"
    """The sample has several pictures, and the recipe's `columns` does not say which is meant."""
    LEFT_OUT_BEFORE = "left_out_before"
    """The tool that made the folder left the picture out by its own rule: size, area, aspect ratio."""
    NOT_A_FILE = "not_a_file"
    """The member of a tar is a link or a sparse file; neither is followed."""
    PATH_OUTSIDE = "path_outside"
    """The path of the picture is absolute or leads outside the source; it is never opened."""

    NO_CAPTION = "no_caption", Verdict.FAILED
    """Nothing beside the picture holds its text, or the text is null."""
    CAPTION_TOO_LARGE = "caption_too_large", Verdict.FAILED
    """The file or member that holds the text has more bytes than any caption."""
    CAPTION_UNREADABLE = "caption_unreadable", Verdict.FAILED
    """The JSON that should hold the text cannot be parsed, or its field is no text."""
    IMAGE_MISSING = "image_missing", Verdict.FAILED
    """The picture is named and is not in the source."""
    IMAGE_AMBIGUOUS = "image_ambiguous", Verdict.FAILED
    """Several different pictures of the source have this name."""
    HASH_MISMATCH = "hash_mismatch", Verdict.FAILED
    """The tool that made the folder found other bytes than the table of URLs promised."""
    TRUNCATED_TAR = "truncated_tar", Verdict.FAILED
    """The tar ends before its end mark; what lay behind is lost."""
    DAMAGED_TAR = "damaged_tar", Verdict.FAILED
    """A header of the tar is not one; what lies behind it cannot be found."""
    NOT_LISTED = "not_listed", Verdict.FAILED
    """The statistics of the folder count this row, and no file of it holds or lists it."""
