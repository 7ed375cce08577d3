"""What img2dataset leaves is taken over row by row: pictures, reasons, columns; and what is missing is noticed."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.contract import StageError
from stages.download.spool import SpooledPicture
from stages.formats.sample_table import ItemReason
from stages.importing.captions import PairRule
from stages.importing.img2dataset_shard import not_listed, shard_pairs
from stages.importing.imported_pairs import ImportedPair
from stages.importing.intake import Intake
from stages.importing.reasons import ImportReason
from stages.importing.tar_members import tar_members
from stages.importing.tar_samples import TarContents, read_samples
from tests.stages.importing.conftest import EXPECTED, download_shard

RULE = PairRule(captions="beside")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("img2dataset") / "shards"
    download_shard(made, "webdataset")
    return made


def contents_of(tar: bytes, intake: Intake) -> TarContents:
    file = io.BytesIO(tar)
    return read_samples(file, tar_members(file), intake)


def by_caption(pairs: list[ImportedPair]) -> dict[object, ItemReason | None]:
    return {pair.caption: None if isinstance(pair.outcome, SpooledPicture) else pair.outcome for pair in pairs}


def test_every_row_is_taken_over_with_its_reason_and_columns(folder: Path, intake: Intake) -> None:
    table = pq.read_table(folder / "00000.parquet")
    contents = contents_of((folder / "00000.tar").read_bytes(), intake)
    pairs, carried = shard_pairs(table, contents, "00000", RULE, intake)
    assert by_caption(pairs) == EXPECTED
    assert {"key", "status", "error_message", "sha256", "exif", "similarity", "width"} <= set(carried.column_names)
    assert not {"url", "caption"} & set(carried.column_names)
    assert [pair.url for pair in pairs] == table["url"].to_pylist() and carried.num_rows == len(pairs)
    assert not_listed((folder / "00000_stats.json").read_bytes(), len(pairs), "00000") == []


def test_pictures_that_a_cut_tar_lost_are_failed_rows(folder: Path, intake: Intake) -> None:
    whole = (folder / "00000.tar").read_bytes()
    contents = contents_of(whole[: len(whole) // 2], intake)
    pairs, _ = shard_pairs(pq.read_table(folder / "00000.parquet"), contents, "00000", RULE, intake)
    ends = by_caption(pairs)
    lost = {caption for caption, reason in ends.items() if reason is ImportReason.TRUNCATED_TAR}
    assert lost and {caption: None if caption in lost else reason for caption, reason in ends.items()} == EXPECTED


def test_a_picture_that_a_whole_tar_lacks_is_missing(folder: Path, intake: Intake) -> None:
    contents = contents_of((folder / "00000.tar").read_bytes(), intake)
    fewer = replace(contents, samples=contents.samples[1:])
    pairs, _ = shard_pairs(pq.read_table(folder / "00000.parquet"), fewer, "00000", RULE, intake)
    assert [pair.outcome for pair in pairs].count(ImportReason.IMAGE_MISSING) == 1


def test_samples_that_the_table_does_not_list_are_pairs_as_well(folder: Path, intake: Intake) -> None:
    table = pq.read_table(folder / "00000.parquet")
    contents = contents_of((folder / "00000.tar").read_bytes(), intake)
    pairs, carried = shard_pairs(table.slice(0, 0), contents, "00000", RULE, intake)
    assert by_caption(pairs) == {caption: None for caption, reason in EXPECTED.items() if reason is None} or [
        pair.caption for pair in pairs
    ] == [sample.texts["txt"] for sample in contents.samples]
    assert carried.num_rows == len(pairs) and carried["similarity"].null_count == len(pairs)


def test_rows_that_only_the_statistics_count_are_failed() -> None:
    missing = not_listed(json.dumps({"count": 12}).encode(), 10, "00003")
    assert [(pair.key, pair.outcome) for pair in missing] == [
        ("row-10", ImportReason.NOT_LISTED),
        ("row-11", ImportReason.NOT_LISTED),
    ]
    assert not_listed(b"{", 10, "00003") == not_listed(b'{"count": "many"}', 10, "00003") == []


def test_a_table_that_is_not_img2datasets_is_refused_in_words(intake: Intake) -> None:
    with pytest.raises(
        StageError, match=r"00000.parquet has no column key, status.*it has url, text.*form='webdataset'"
    ):
        table = pa.table({"url": ["x"], "text": ["y"], "error_message": [None]})
        shard_pairs(table, TarContents([], None), "00000", RULE, intake)
