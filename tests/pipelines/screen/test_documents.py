"""Whatever a table holds becomes JSON that a strict parser takes."""

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

from hypothesis import given

from pipelines.screen.documents import as_json, document_text
from stages.surfaces.credentials import without_credentials
from stages.surfaces.visible import UNSHOWN
from tests.stages.surfaces.hostile_text import TEXTS


def refuse(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def test_every_value_becomes_json() -> None:
    values = {
        "nan": float("nan"), "infinite": [float("-inf"), 1.5], "at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "on": date(2026, 1, 2), "clock": time(3, 4), "price": Decimal("1.50"), "id": b"\x0a\xff", "none": None,
        "several": (1, True, {"deep": float("nan")}), "for": timedelta(seconds=90), "uuid": UUID(int=7),
    }  # fmt: skip
    assert json.loads(document_text(values), parse_constant=refuse) == {
        "nan": None, "infinite": [None, 1.5], "at": "2026-01-02T03:04:05+00:00", "on": "2026-01-02",
        "clock": "03:04:00", "price": "1.50", "id": "0aff", "none": None, "several": [1, True, {"deep": None}],
        "for": "0:01:30", "uuid": str(UUID(int=7)),
    }  # fmt: skip
    assert as_json({7: "ä"}) == {"7": "ä"}


def test_bytes_that_are_no_utf_8_are_printed_all_the_same() -> None:
    text = document_text({"path": b"caf\xe9 \xc3\xa4".decode("utf-8", "surrogateescape")})
    assert text.isprintable() is False and text.encode() and "caf\\udce9 ä" in text
    assert json.loads(text)["path"] == "caf\udce9 ä"


@given(TEXTS)
def test_a_document_holds_no_character_that_a_terminal_obeys_and_means_the_same(text: str) -> None:
    written = document_text({"caption": text, text: 1})
    assert not UNSHOWN.search(written) and "=hunter2" not in written
    assert json.loads(written)["caption"] == without_credentials(text)
