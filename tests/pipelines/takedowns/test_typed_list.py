"""Lists as people have them: every form, and every line that cannot be read named with its number."""

import json
import tracemalloc
from pathlib import Path

import pytest

from pipelines.exits import BadCommandError
from pipelines.takedowns.typed_list import list_bytes, read_list_file, spellings
from stages.takedowns.lists import ENTRY_BYTES

ID, SHA = "0f" * 16, "A1" * 32
THINGS = [
    ("url", "https://a.example/1.jpg"),
    ("domain", "b.example.org"),
    ("sample", ID),
    ("picture", SHA),
]


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_every_form_of_a_list_is_the_same_list(tmp_path: Path) -> None:
    lines = [value for _, value in THINGS]
    objects = [{"kind": kind, "value": value} for kind, value in THINGS]
    files = [
        written(tmp_path / "a.txt", "\ufeff" + "\r\n".join(["", *lines, f"  {lines[0]} "])),
        written(tmp_path / "b.csv", "kind,value\n" + "".join(f"{k},{v}\n" for k, v in THINGS)),
        written(tmp_path / "c.tsv", "Value\tKind\n" + "".join(f"{v}\t{k}\n" for k, v in THINGS)),
        written(tmp_path / "d.csv", "value\n" + "\n".join(lines)),
        written(tmp_path / "e.json", json.dumps(objects)),
        written(tmp_path / "f.json", json.dumps(lines)),
        written(tmp_path / "g.jsonl", "\n".join(map(json.dumps, objects))),
    ]
    lists = [read_list_file(path) for path in files]
    assert len({list_bytes(one) for one in lists}) == 1
    assert dict(lists[1].numbers) == {"url": 1, "domain": 1, "sample": 1, "picture": 1}


def test_a_url_is_meant_in_both_schemes_and_as_it_is_asked_for() -> None:
    assert spellings("HTTP://Müller.example:80/a b") == [
        "HTTP://Müller.example:80/a b",
        "http://xn--mller-kva.example/a%20b",
        "https://Müller.example:80/a b",
        "https://xn--mller-kva.example/a%20b",
    ]
    assert spellings("folder/1.jpg") == ["folder/1.jpg"] and spellings("http://") == ["http://", "https://"]


def test_captions_count_as_tables_have_them_and_stars_are_the_host(tmp_path: Path) -> None:
    first = read_list_file(written(tmp_path / "a.csv", 'kind,value\ncaption,"A\u200b dog, running"\n'))
    assert len(list_bytes(first)) == 2 * ENTRY_BYTES
    stars = read_list_file(written(tmp_path / "b.txt", "*.example.org\n"))
    assert list_bytes(stars) == list_bytes(read_list_file(written(tmp_path / "c.txt", "example.org\n")))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "a.txt",
            "http://a.example/1\nsome words\n",
            "1 lines of .* line 2: 'some words' is no URL, no host, no sha256",
        ),
        ("a.txt", "co.uk\n", "line 1: 'co.uk' is above all domains that somebody registered"),
        ("a.txt", "\n  \n", "lists nothing"),
        ("a.txt", "", "lists nothing"),
        ("a.csv", "value,kind\nx,pictures\n", "line 2: 'pictures' is no kind: url, domain, picture, sample, caption"),
        ("a.csv", "value,kind\nabc,sample\n", "line 2: 'abc' is no sample: 32 hex digits"),
        ("a.csv", "value,kind\nhttp://x/,domain\n", "line 2: 'http://x/' is no host"),
        ("a.csv", "url\nhttp://x/\n", "names no column `value`, or one twice: url"),
        ("a.csv", "kind,value\nurl,https://a.example/w_1,h_2/a.jpg\n", "line 2: 3 cells, and the first line has 2"),
        ("a.csv", "kind,value\nurl\n", "line 2: 1 cells, and the first line has 2"),
        ("a.csv", "kind,value\nurl,\n", "line 2: it has no value"),
        ("a.csv", 'kind,value\ncaption,"A dog\n', "cannot be read: unexpected end of data"),
        ("a.txt", "photo.jpg\n", "line 1: 'photo.jpg' ends like no host"),
        ("a.txt", "cdn.*.example.org\n", "line 1: 'cdn.\\*.example.org' is no host"),
        ("a.json", "{}", "holds no list"),
        ("a.json", "[{", "cannot be read"),
        ("a.jsonl", '{"value": 7}\n', "line 1 is neither text nor an object"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(BadCommandError, match=f"(?s){said}"):
        read_list_file(written(tmp_path / name, text))


def test_a_file_that_is_missing_or_full_of_faults_is_told_in_a_few_lines(tmp_path: Path) -> None:
    with pytest.raises(BadCommandError, match="No such file"):
        read_list_file(tmp_path / "none.txt")
    with pytest.raises(BadCommandError) as told:
        read_list_file(written(tmp_path / "many.txt", "no url\n" * 5000))
    assert "5,000 lines" in str(told.value) and "and 4,992 more" in str(told.value)
    assert str(told.value).count("\n") == 9


def peak_bytes_an_entry(path: Path, num_lines: int) -> float:
    with path.open("w") as file:
        file.writelines(f"https://h{number % 100}.example/{number}.jpg\n" for number in range(num_lines))
    tracemalloc.start()
    data = list_bytes(read_list_file(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(data) == 2 * num_lines * ENTRY_BYTES
    return peak / (2 * num_lines)


def test_memory_is_that_of_the_digests(tmp_path: Path) -> None:
    few, many = (peak_bytes_an_entry(tmp_path / f"{number}.txt", number) for number in (20_000, 60_000))
    assert many < 160 and many < few * 1.5
