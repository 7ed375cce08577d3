"""A field marked `conduct` is kept with the recipe and takes no part in identity."""

import re

import pytest
from pydantic import ValidationError

from stages.artifacts.fingerprint import canonical_bytes, conduct_defaults, fingerprint
from stages.contract import Recipe, Source, conduct
from stages.download_pairs import DownloadPairsRecipe
from stages.filter_pairs import FilterPairsRecipe


class Losses(Recipe):
    max_share_lost: float = conduct(0.5)


class DownloadRecipe(Recipe):
    seed: int = 0
    max_share_lost: float = conduct(0.8, ge=0, le=1)
    """Largest share of the items that may be lost."""
    losses: Losses = Losses()


def test_conduct_changes_no_identity_however_deep() -> None:
    strict, lax = DownloadRecipe(), DownloadRecipe(max_share_lost=1, losses=Losses(max_share_lost=0.9))
    assert canonical_bytes(lax) == canonical_bytes(strict) == b"{}"
    assert fingerprint("download", 1, lax, {}) == fingerprint("download", 1, strict, {})
    assert canonical_bytes(DownloadRecipe(seed=1, max_share_lost=1)) == b'{"seed":1}'


def test_conduct_is_checked_explained_and_written() -> None:
    with pytest.raises(ValidationError, match="max_share_lost"):
        DownloadRecipe(max_share_lost=1.5)
    assert DownloadRecipe.model_fields["max_share_lost"].description == "Largest share of the items that may be lost."
    assert DownloadRecipe(max_share_lost=1).model_dump(mode="json")["max_share_lost"] == 1
    assert conduct_defaults(DownloadRecipe(max_share_lost=1)) == {"max_share_lost": 0.8, "losses.max_share_lost": 0.5}


def test_who_types_the_name_of_another_tool_is_told_ours() -> None:
    with pytest.raises(ValueError, match="has no field 'image_size': img2dataset's image_size is `resize_px` here"):
        DownloadPairsRecipe.model_validate({"source": Source("urls"), "image_size": 256})
    ours = DownloadPairsRecipe.model_fields
    assert not ours.keys() & DownloadPairsRecipe.names_elsewhere.keys()
    for said in DownloadPairsRecipe.names_elsewhere.values():
        assert set(re.findall("`(.*?)`", said)) <= {*ours, *FilterPairsRecipe.model_fields, "filter_pairs"}
