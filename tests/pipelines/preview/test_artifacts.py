"""`neo look` at artifacts: pairs, texts, conversations, and packed rows as the model gets them."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cluster.local import make
from neo_model.inputs.conversation import encode_conversation
from neo_model.inputs.pictures import open_pixels, patches_on_grid
from pipelines.preview.artifacts import preview_of_artifact
from pipelines.preview.packed_rows import preview_of_rows
from pipelines.preview.page import preview_page
from pipelines.preview.thumbnails import _joined, as_the_model_gets_it, thumbnail
from pipelines.tracking.page_contents import write_files
from stages.artifacts.kinds import Rows
from stages.artifacts.profiles import profile_pictures
from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.filter_text import FilterTextRecipe, filter_text
from stages.formats.packed_rows.rows import RowReader
from stages.formats.tokenizer import tokenizer_of
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.store.metadata import open_store
from stages.store.store import Store
from tests.pipelines.conftest import NeoSite
from tests.worlds.mixture_world import LLM, TEXTS, ChatsRecipe, PairsRecipe, make_chats, make_pairs

PAIRS = make_pairs.bind("pairs", PairsRecipe(decodable=True))
KEPT = filter_pairs.bind("kept", FilterPairsRecipe(max_aspect=4.0), PAIRS)
CHATS = make_chats.bind("chats", ChatsRecipe(), KEPT)
ANY_LANGUAGE = FilterTextRecipe(languages=(), quality=None, c4=None, fineweb=None, max_share_lost=1)
KEPT_TEXTS = filter_text.bind("kept_texts", ANY_LANGUAGE, TEXTS)
SOURCES = {"pairs": KEPT, "text": TEXTS, "chat": CHATS}
DRAW = mix_samples.bind("mix", MixRecipe(shares=dict.fromkeys(SOURCES, 1)), SOURCES)
ROWS = pack_rows.bind("rows", PackRowsRecipe(max_row_tokens=256, min_pixels_px=1024, max_pixels_px=9216), DRAW, LLM)


@pytest.fixture(scope="module")
def store_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with all of these, made once: looking changes nothing."""
    folder = tmp_path_factory.mktemp("looked") / "store"
    open_store(Store(folder))
    for step in (PAIRS, KEPT, TEXTS, KEPT_TEXTS, CHATS, ROWS):
        make(step, Store(folder))
    return folder


def short(step) -> str:
    return f"{step.stage.name}/{step.fingerprint[:12]}"


@pytest.mark.parametrize("step", [PAIRS, KEPT, TEXTS, KEPT_TEXTS, CHATS, ROWS], ids=lambda step: step.name)
def test_every_kind_with_samples_is_shown_in_80_columns_and_as_one_page(looked: NeoSite, tmp_path: Path, step) -> None:
    told = looked.neo("look", short(step), "--num", "3")
    assert told.code == 0, told
    assert all(len(line) <= 80 for line in told.out.splitlines()[:-1]), told.out
    document = looked.neo("look", short(step), "--num", "3", "--json").json
    assert len(document["items"]) == 3
    page = tmp_path / "page.html"
    assert looked.neo("look", short(step), "--num", "3", "--html", str(page)).code == 0
    text = page.read_text()
    assert (
        "default-src &#x27;none&#x27;" in text
        and "<script" not in text
        and "http" not in text.split("<h1>")[0].replace("http-equiv", "")
    )
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)
    assert len(pictures) == sum(len(item["pictures"]) for item in document["items"])
    for picture in pictures:
        Image.open(io.BytesIO(base64.b64decode(picture))).load()


def test_pairs_are_shown_with_verdicts_and_their_reasons(looked: NeoSite) -> None:
    items = looked.neo("look", short(PAIRS), "--num", "60", "--json").json["items"]
    assert [item["verdict"] for item in items].count("failed: timeout") == 6
    assert all(not item["pictures"] for item in items if item["verdict"] != "kept")
    judged = looked.neo("look", short(KEPT), "--num", "60", "--json").json
    assert "dropped: too_small" in {item["verdict"] for item in judged["items"]}
    assert judged["facts"]["dropped"].endswith("too_small")
    later = looked.neo("look", short(PAIRS), "--skip", "25", "--num", "4", "--json").json["items"]
    assert [item["heading"] for item in later] == [item["heading"] for item in items[25:29]]


def test_a_conversation_is_shown_turn_by_turn(looked: NeoSite) -> None:
    told = looked.neo("look", short(CHATS), "--num", "1")
    assert "      | user: <image><image>" in told.out and "learn | assistant: " in told.out
    assert told.out.count("  picture ") == 2


def test_the_spans_of_a_packed_row_are_all_its_tokens_and_its_supervision(store_folder: Path) -> None:
    rows: Rows = make(ROWS, Store(store_folder))
    reader, tokenizer = RowReader(rows), tokenizer_of(make(LLM, Store(store_folder)))
    row = reader.read(1)
    items = preview_of_rows(rows, skip=1, num_items=len(row.sample_ids)).items
    assert [dict(item.fields)["sample"] for item in items] == [sample_id.hex() for sample_id in row.sample_ids]
    for item, start, end in zip(items, row.document_offsets[:-1], row.document_offsets[1:], strict=True):
        ids, asked = row.token_ids[start:end], row.supervised[start:end]
        given = "".join(span.text for span in item.spans if span.role == "given")
        learned = "".join(span.text for span in item.spans if span.role == "supervised")
        context = tokenizer.token_to_id("<IMG_CONTEXT>")
        assert learned == tokenizer.decode(ids[asked].tolist(), skip_special_tokens=False)
        assert given == tokenizer.decode(ids[~asked & (ids != context)].tolist(), skip_special_tokens=False)
        assert len([span for span in item.spans if span.role == "picture"]) == len(item.pictures)


def test_positions_are_those_of_training(looked: NeoSite) -> None:
    """Two pictures in one conversation: each takes one step of T, and H and W begin at 0 in each."""
    items = looked.neo("look", short(ROWS), "--num", "200", "--json").json["items"]
    chat = next(item for item in items if item["heading"].endswith(": chat") and len(item["pictures"]) == 2)
    places = [span["text"] for span in chat["text"] if span["role"] == "picture"]
    found = [re.fullmatch(r"picture \d+: (\d+) tokens, T (\d+), H 0 to (\d+), W 0 to (\d+)", text) for text in places]
    assert all(found), places
    for match in found:
        tokens, _, height, width = map(int, match.groups())
        assert tokens == (height + 1) * (width + 1)
    first, second = (int(match[2]) for match in found)
    assert second == first + 3, "</img> and <img> stand between them"


def test_a_picture_is_shown_with_the_pixels_that_the_model_gets() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    patches = patches_on_grid(open_pixels(file.getvalue(), max_pixels_px=10**6), (4, 6))
    joined = np.asarray(_joined(patches, (4, 6)))
    assert joined.shape == (64, 96, 3)
    assert np.array_equal(joined, np.asarray(Image.fromarray(pixels).resize((96, 64), Image.Resampling.BICUBIC)))
    shown = as_the_model_gets_it(file.getvalue(), (4, 6))
    assert shown.about == "96 x 64 px, 2 x 3 tokens, from 70 x 50 px"
    assert Image.open(io.BytesIO(shown.jpeg)).size == (96, 64)
    broken = thumbnail(b"no picture")
    assert broken.jpeg is None and "not_image" in broken.about


def test_what_holds_no_samples_and_rows_that_are_not_there_are_said(looked: NeoSite, tmp_path: Path) -> None:
    told = looked.neo("look", short(LLM))
    assert told.code == 2 and "holds no samples to look at" in told.err
    told = looked.neo("look", short(ROWS), "--skip", "100000")
    assert told.code == 2 and "has the rows 0 to" in told.err
    assert looked.neo("look", short(PAIRS), "--html", str(tmp_path / "page.txt")).code == 2
    assert looked.neo("look", short(PAIRS), "--html", str(tmp_path / "nowhere" / "page.html")).code == 3


def test_decoding_agrees_with_how_a_conversation_was_encoded(store_folder: Path) -> None:
    """The supervised text of a chat is the assistant's turn and what closes it."""
    tokenizer = tokenizer_of(make(LLM, Store(store_folder)))
    messages = [{"role": "user", "content": "red"}, {"role": "assistant", "content": "blue"}]
    document = encode_conversation(tokenizer, messages, [])
    asked = [token for token, wanted in zip(document.token_ids, document.supervised, strict=True) if wanted]
    assert tokenizer.decode(asked, skip_special_tokens=False) == "blue<|im_end|>\n"


def test_what_a_stage_drew_of_its_work_is_on_the_page(looked: NeoSite, tmp_path: Path, store_folder: Path) -> None:
    pictures = ["funnel.png", "charts.png", "sheet_kept.png", "sheet_dropped.png"]
    document = looked.neo("look", short(KEPT), "--num", "1", "--json").json
    assert set(document["drawn"]) == set(pictures)
    told = looked.neo("show", short(KEPT), "--json").json["pictures"]
    assert document["drawn"] == {Path(place).name: place for place in told}
    page = tmp_path / "page.html"
    looked.neo("look", short(KEPT), "--num", "1", "--html", str(page))
    shown = re.findall(r'src="data:image/png;base64,([^"]+)"', page.read_text())
    widths = [Image.open(io.BytesIO(base64.b64decode(one))).width for one in shown]
    assert widths == [1320] * len(pictures)


def test_a_damaged_drawing_is_said_in_its_place(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    kept = make(KEPT, store)
    (funnel,) = (entry for entry in profile_pictures(kept) if entry.name == "funnel.png")
    (Path(store.url) / funnel.key).write_bytes(b"cut")
    page = preview_page(preview_of_artifact(kept, skip=0, num_items=1))
    assert "funnel.png of KeptPairs" in page
    assert "is 3 bytes" in page
    assert page.count("data:image/png") == 3
    files = tmp_path / "page"
    files.mkdir()
    write_files(kept, files)
    drawn = ["charts.png", "profile.json", "sheet_dropped.png", "sheet_kept.png"]
    assert sorted(path.name for path in (files / "profile").iterdir()) == drawn
