"""Records of documents: what was written is read back, and nothing else is."""

import pytest

from neo_model.inputs.conversation import EncodedDocument
from stages.formats.pairs import StoredImage
from stages.packing.document_records import from_record, to_record

IMAGES = [StoredImage(b"i" * 16, b"s" * 32, 2**40, 77, "00012"), StoredImage(b"j" * 16, b"t" * 32, 0, 1, "a-part")]
GRIDS = [(4, 6), (60_000, 2)]
ENCODED = EncodedDocument(token_ids=[5, 151_936, 7], supervised=[False, True, True], image_starts=[0, 1])
RECORD = to_record(b"d" * 16, ENCODED, IMAGES, GRIDS)
CLIP = [IMAGES[0], *(StoredImage(b"c" * 16, b"u" * 32, 512, 9000, "00003", pts, is_frame=True) for pts in (-45, 2**40))]
CLIP += [StoredImage(b"f" * 16, b"v" * 32, 0, 80, "00003", is_frame=True)]
CLIP_GRIDS = [(4, 4), (2, 2), (22, 40), (4, 6)]
CLIP_ENCODED = EncodedDocument(
    token_ids=[1, *[9] * 4, 2, 9, 3, *[9] * 220, *[9] * 6, 4, 5],
    supervised=[*[False] * 234, True, True],
    image_starts=[1, 6, 8, 228],
)


def test_a_document_is_read_as_it_was_written() -> None:
    document = from_record(RECORD)
    assert (document.sample_id, document.images, document.grids) == (b"d" * 16, IMAGES, GRIDS)
    assert document.token_ids.tolist() == ENCODED.token_ids
    assert document.supervised.tolist() == ENCODED.supervised


def test_frames_are_read_with_their_times_and_their_tokens_are_stored_once() -> None:
    record = to_record(b"d" * 16, CLIP_ENCODED, CLIP, CLIP_GRIDS)
    document = from_record(record)
    assert (document.sample_id, document.images, document.grids) == (b"d" * 16, CLIP, CLIP_GRIDS)
    assert document.token_ids.tolist() == CLIP_ENCODED.token_ids
    assert document.supervised.tolist() == CLIP_ENCODED.supervised
    assert len(record) < 500, "of 236 tokens, which alone would take 1180 bytes, 9 are stored"


@pytest.mark.parametrize("place", [0, 8, 30, len(RECORD) // 2, len(RECORD) - 1])
def test_one_changed_bit_is_noticed(place: int) -> None:
    damaged = bytearray(RECORD)
    damaged[place] ^= 1
    with pytest.raises(ValueError, match="not the record of a document"):
        from_record(bytes(damaged))


def test_a_record_that_is_cut_short_is_noticed() -> None:
    for length in (0, 7, len(RECORD) - 1):
        with pytest.raises(ValueError, match=f"{length} bytes are not"):
            from_record(RECORD[:length])
