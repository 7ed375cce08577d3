"""Parquet with the bytes of pictures, as the hub and img2dataset write it, is streamed into pairs."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.contract import StageError
from stages.download.reasons import Reason
from stages.download.spool import SpooledPicture
from stages.importing.captions import PairRule
from stages.importing.intake import Intake
from stages.importing.parquet_pairs import open_parquet, pair_columns, parquet_pairs
from stages.importing.reasons import ImportReason
from tests.stages.importing.conftest import EXPECTED, download_shard, picture

RULE = PairRule(captions="beside")
HUB_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def written(table: pa.Table, row_group_size: int = 3) -> io.BytesIO:
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=row_group_size)
    return file


def hub_table(num_rows: int = 7) -> pa.Table:
    images = [{"bytes": picture(size=(40 + number, 30)), "path": f"{number}.jpg"} for number in range(num_rows)]
    columns = {"image": pa.array(images, HUB_IMAGE), "text": [f"caption {number}" for number in range(num_rows)]}
    return pa.table({**columns, "tags": [["a", "b"]] * num_rows, "mask": [b"x"] * num_rows, "key": ["k"] * num_rows})


def test_rows_of_the_hub_are_pairs_and_only_the_row_groups_asked_for_are_read(intake: Intake) -> None:
    pairs, carried = parquet_pairs(
        written(hub_table()), "data/0.parquet", [1, 2], first_row=3, rule=RULE, intake=intake
    )
    assert [(pair.caption, pair.key, pair.reference) for pair in pairs] == [
        (b"caption 3", "3", "3.jpg"),
        (b"caption 4", "4", "4.jpg"),
        (b"caption 5", "5", "5.jpg"),
        (b"caption 6", "6", "6.jpg"),
    ]
    assert [pair.outcome.width_px for pair in pairs if isinstance(pair.outcome, SpooledPicture)] == [43, 44, 45, 46]
    assert carried.column_names == ["tags", "key"] and carried.num_rows == 4


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_a_column_of_binary_is_a_picture(kind: pa.DataType, intake: Intake) -> None:
    table = pa.table(
        {"jpg": pa.array([picture(), None, b"<html>"], kind), "TEXT": ["a", None, "c"], "url": ["u", "v", "w"]}
    )
    pairs, _ = parquet_pairs(written(table), "0.parquet", [0], first_row=0, rule=RULE, intake=intake)
    assert [(pair.caption, pair.url, pair.reference) for pair in pairs] == [
        (b"a", "u", "0.parquet#0"),
        (ImportReason.NO_CAPTION, "v", "0.parquet#1"),
        (b"c", "w", "0.parquet#2"),
    ]
    assert [pair.outcome for pair in pairs][1:] == [ImportReason.IMAGE_MISSING, Reason.NOT_IMAGE]


def test_a_picture_that_is_null_or_named_by_its_path_alone_is_missing(intake: Intake) -> None:
    images = pa.array([None, {"bytes": None, "path": "/data/1.jpg"}], HUB_IMAGE)
    table = pa.table({"image": images, "caption": ["a", "b"]})
    pairs, _ = parquet_pairs(written(table), "0.parquet", [0], first_row=0, rule=RULE, intake=intake)
    assert [pair.outcome for pair in pairs] == [ImportReason.IMAGE_MISSING] * 2


def test_text_that_is_not_utf8_does_not_stop_the_table(intake: Intake) -> None:
    captions = pa.array([b"\xff\xfe"], pa.binary()).cast(pa.string(), safe=False)
    table = pa.table({"image": pa.array([picture()], pa.binary()), "caption": captions})
    (pair,), _ = parquet_pairs(written(table), "0.parquet", [0], first_row=0, rule=RULE, intake=intake)
    assert pair.caption == b"\xff\xfe"


def test_the_parquet_of_img2dataset_is_read_with_its_reasons(tmp_path: Path, intake: Intake) -> None:
    download_shard(tmp_path / "shards", "parquet")
    with (tmp_path / "shards/00000.parquet").open("rb") as file:
        rule = PairRule(captions="beside", columns={"caption": "caption"})
        pairs, carried = parquet_pairs(file, "00000.parquet", [0], first_row=0, rule=rule, intake=intake)
    ends = {
        pair.caption.decode(): None if isinstance(pair.outcome, SpooledPicture) else pair.outcome
        for pair in pairs
        if isinstance(pair.caption, bytes)
    }
    assert ends == EXPECTED and "error_message" in carried.column_names and "jpg" not in carried.column_names


@pytest.mark.parametrize(
    ("columns", "captions", "message"),
    [
        ({"image": HUB_IMAGE, "conversations": pa.string()}, "beside", "no column 'caption'.*'conversations'"),
        ({"caption": pa.string(), "image": pa.string()}, "beside", r"no column with the bytes.*image \(string\)"),
        ({"caption": pa.string(), "images": pa.list_(HUB_IMAGE)}, "beside", "no column with the bytes"),
        (
            {"caption": pa.string(), "a": HUB_IMAGE, "b": HUB_IMAGE},
            "beside",
            r"several.*a, b.*columns=\{'image': 'a'\}",
        ),
        ({"caption": pa.list_(pa.string()), "image": HUB_IMAGE}, "beside", "caption must be text"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_in_words(
    columns: dict[str, pa.DataType], captions: str, message: str
) -> None:
    with pytest.raises(StageError, match=message):
        pair_columns(pa.schema(list(columns.items())), RULE, "data/0.parquet")


@pytest.mark.parametrize("name", ["url", "link"])
def test_a_url_that_is_kept_as_binary_is_read(name: str, intake: Intake) -> None:
    urls = pa.array([b"https://a.example/1", None, b"https://\xff"], pa.binary())
    table = pa.table(
        {"image": pa.array([{"bytes": picture(), "path": None}] * 3, HUB_IMAGE), "caption": list("abc"), name: urls}
    )
    rule = RULE if name == "url" else PairRule(captions="beside", columns={"url": "link"})
    pairs, carried = parquet_pairs(written(table), "0.parquet", [0], first_row=0, rule=rule, intake=intake)
    assert [pair.url for pair in pairs] == ["https://a.example/1", None, "https://\udcff"]
    assert carried.column_names == []
    with pytest.raises(StageError, match="has no column 'image', which `columns` names for 'url'"):
        pair_columns(table.schema, PairRule(captions="beside", columns={"url": "image"}), "0.parquet")


def test_a_picture_in_a_binary_column_called_url_is_no_url() -> None:
    schema = pa.schema([("url", pa.binary()), ("caption", pa.string())])
    columns = pair_columns(schema, RULE, "0.parquet")
    assert (columns.image, columns.url) == ("url", None)


def test_without_captions_pictures_alone_are_read() -> None:
    schema = pa.schema([("image", HUB_IMAGE), ("conversations", pa.string())])
    columns = pair_columns(schema, PairRule(captions="none"), "0.parquet")
    assert (columns.image, columns.caption, columns.url) == ("image", None, None)


def test_what_is_no_parquet_is_refused_in_words() -> None:
    with pytest.raises(StageError, match="x.parquet is not a whole Parquet file"):
        open_parquet(io.BytesIO(b"PAR1 nothing"), "x.parquet")
