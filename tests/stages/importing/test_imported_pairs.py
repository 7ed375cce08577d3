"""Imported pairs become a part of RawPairs in the layout of a download, with ids that are unique and stay."""

import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from stages.commit.draft import Draft
from stages.download.picture_recipe import PictureRecipe
from stages.download.reasons import Reason
from stages.download.spool import Spool
from stages.importing.captions import PairRule
from stages.importing.imported_pairs import ImportedPair, write_pairs
from stages.importing.intake import Intake
from stages.importing.reasons import ImportReason
from stages.importing.tar_pairs import pair_of
from stages.importing.tar_samples import TarSample
from tests.stages.importing.conftest import picture


def written(tmp_path: Path, pairs: list[tuple[str, str | bytes | ImportReason, bytes]], number: int = 3) -> pa.Table:
    """The sample table of pairs of (key, caption, picture)."""
    with Spool(tmp_path / "spool") as spool:
        intake = Intake(PictureRecipe(), spool)
        made = [
            ImportedPair(
                path="a.tar",
                key=key,
                reference=f"a.tar/{key}.jpg",
                url=None,
                caption=caption,
                outcome=intake.take(data),
            )
            for key, caption, data in pairs
        ]
    draft = Draft(scratch=tmp_path, report=lambda _: None)
    carried = pa.table({"key": [pair.key.encode("utf-8", "replace") for pair in made], "n": range(len(made))})
    write_pairs(made, carried, draft, source="mine", spool=tmp_path / "spool", number=number)
    assert draft.items.total == len(pairs)
    lost = [example["row"] for example in draft.facts["examples"].values()]
    assert all(0 <= row < len(pairs) for row in lost), "examples are counted in the part, not by keys"
    return pq.read_table(tmp_path / "files/samples.parquet")


def test_a_part_has_the_layout_of_a_download(tmp_path: Path) -> None:
    table = written(tmp_path, [("0", "  caf\u0065\u0301 ", picture()), ("1", ImportReason.NO_CAPTION, picture("blue"))])
    row = table.to_pylist()[0]
    assert (row["caption"], row["url"], row["reference"]) == ("café", "mine:a.tar/0.jpg", "a.tar/0.jpg")
    assert (row["key"], row["source_key"], row["n"]) == ("0003000000", b"0", 0)
    assert table["reason"].to_pylist() == [None, "no_caption"] and table["caption"].to_pylist()[1] is None
    with tarfile.open(tmp_path / "files/pairs.tar") as tar:
        assert tar.getnames() == [f"0003000000.{ending}" for ending in ("jpg", "json", "txt")]


def test_a_reason_of_the_picture_comes_before_one_of_the_caption(tmp_path: Path) -> None:
    table = written(tmp_path, [("0", b"\xff", b"x"), ("1", b"\xff", picture()), ("2", ImportReason.NO_CAPTION, b"x")])
    assert table["reason"].to_pylist() == [Reason.NOT_IMAGE, Reason.CAPTION_ENCODING, Reason.NOT_IMAGE]


def test_repeated_keys_have_ids_of_their_own_and_equal_pairs_are_dropped(tmp_path: Path) -> None:
    red, blue = picture("red"), picture("blue")
    table = written(tmp_path, [("0", "a", red), ("0", "a", red), ("0", "a", blue), ("0", "b", red), ("1", "a", red)])
    assert table["reason"].to_pylist() == [None, "repeated_row", None, None, None]
    assert len(set(table["sample_id"].to_pylist())) == 5


def test_ids_are_hashed_with_the_name_of_the_source_and_not_with_the_part(tmp_path: Path) -> None:
    for number in (0, 7):
        (tmp_path / str(number)).mkdir()
    first, second = (written(tmp_path / str(number), [("0", "a", picture())], number) for number in (0, 7))
    assert first["sample_id"] == second["sample_id"] and first["key"] != second["key"]


def test_names_that_are_not_utf8_are_spelled(tmp_path: Path) -> None:
    table = written(tmp_path, [("stra\udcdfe", "a", picture())])
    assert table["reference"].to_pylist() == ["a.tar/stra\\xdfe.jpg"]


def test_a_sample_without_picture_is_a_failed_pair() -> None:
    pair = pair_of(TarSample("a/0", texts={"txt": b"alone"}), "x.tar", PairRule(captions="beside"))
    assert (pair.outcome, pair.reference) == (ImportReason.IMAGE_MISSING, "x.tar/a/0")
