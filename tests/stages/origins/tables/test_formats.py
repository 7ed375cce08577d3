"""A file's name tells its format."""

import pytest

from stages.contract import StageError
from stages.origins.tables.formats import TableFormat, format_of, known_format


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("part-00000.snappy.parquet", TableFormat("parquet")),
        ("a/URLS.CSV.GZ", TableFormat("csv", "gzip")),
        ("x.jsonl.zst", TableFormat("jsonl", "zstd")),
        ("x.json", TableFormat("json")),
        ("x.txt.xz", TableFormat("txt", "xz")),
    ],
)
def test_the_end_of_the_name_decides(path: str, expected: TableFormat) -> None:
    assert format_of(path) == expected


@pytest.mark.parametrize("path", ["README.md", "x.gz", "parquet", "folder.csv/x"])
def test_other_files_are_refused_with_what_is_read(path: str) -> None:
    assert known_format(path) is None
    with pytest.raises(StageError, match=r"is no table by its name; files that are read end in \.parquet"):
        format_of(path)
