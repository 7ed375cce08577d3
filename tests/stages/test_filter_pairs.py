"""Each pair is judged by the recipe alone, and every pair that was downloaded gets a verdict."""

import hashlib
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import skimage
from PIL import Image, ImageFilter

from cluster.local import make
from stages.artifacts.kinds import VERDICTS_FILE, KeptPairs, RawPairs
from stages.contract import Source, StageError
from stages.filter_pairs import DropReason, FilterPairsRecipe, PairFacts, drop_reason, filter_pairs
from stages.formats.sample_table import read_table
from stages.import_pairs import ImportPairsRecipe, import_pairs
from stages.pair_filters.measures import PairMeasures, fault_of_measures
from stages.store.errors import StoreError
from stages.toy_world.oddities import Oddity, oddity
from stages.toy_world.records import RowOddity, row_oddity
from tests.worlds.mixture_world import PairsRecipe, make_pairs

RECIPE = FilterPairsRecipe(max_pixels_px=1_000_000)


def facts(**changes: Any) -> PairFacts:
    return PairFacts(**{"width_px": 200, "height_px": 100, "caption": "a red dog", **changes})


CASES: list[tuple[DropReason | None, dict[str, Any]]] = [
    (None, {}),
    (None, {"width_px": 64, "height_px": 64}),
    (None, {"width_px": 300, "height_px": 100}),
    (None, {"width_px": 1000, "height_px": 1000}),
    (None, {"similarity": 0.2, "punsafe": 0.5, "pwatermark": 0.8, "nsfw_tag": 1.0}),
    (DropReason.TOO_SMALL, {"width_px": 63}),
    (DropReason.TOO_SMALL, {"width_px": 1, "height_px": 1}),
    (DropReason.TOO_SMALL, {"width_px": 6000, "height_px": 20}),
    (DropReason.TOO_LARGE, {"width_px": 1001, "height_px": 1000}),
    (DropReason.TOO_ELONGATED, {"width_px": 301}),
    (DropReason.TOO_ELONGATED, {"width_px": 100, "height_px": 301}),
    (DropReason.CAPTION_EMPTY, {"caption": ""}),
    (DropReason.CAPTION_EMPTY, {"caption": "... !!! --- ..."}),
    (DropReason.CAPTION_EMPTY, {"caption": "IMG_2041.JPG"}),
    (DropReason.CAPTION_TOO_SHORT, {"caption": "dog"}),
    (DropReason.CAPTION_TOO_LONG, {"caption": "a" * 4001}),
    (None, {"caption": "a photo named dog.jpg"}),
    (None, {"caption": "赤い犬がいる"}),
    (DropReason.MISMATCHED, {"similarity": 0.19}),
    (DropReason.UNSAFE, {"punsafe": 0.51}),
    (DropReason.UNSAFE, {"nsfw_tag": 2.0}),
    (DropReason.WATERMARKED, {"pwatermark": 0.81}),
    (DropReason.SCORE_UNREADABLE, {"has_unreadable_score": True}),
]


@pytest.mark.parametrize(("reason", "changes"), CASES)
def test_a_pair_is_dropped_for_its_first_reason(reason: DropReason | None, changes: dict[str, Any]) -> None:
    assert drop_reason(facts(**changes), RECIPE) is reason


OF_MEASURES = {
    "placeholder",
    "language_unwanted",
    "caption_repetitive",
    "one_colour",
    "low_entropy",
    "blurred",
    "picture_unreadable",
}
"""Reasons that pictures and captions give where they are measured."""


def test_every_reason_is_reached() -> None:
    assert {reason for reason, _ in CASES} - {None} == {one for one in DropReason if one.value not in OF_MEASURES}


@pytest.mark.parametrize(
    ("reason", "fields", "measures"),
    [
        ("placeholder", {}, {"is_placeholder": True, "picture_contrast": 0}),
        ("language_unwanted", {"languages": ("en",)}, {"caption_language": "de", "caption_language_score": 0.8}),
        (None, {"languages": ("en",)}, {"caption_language": "de", "caption_language_score": 0.79}),
        (None, {"languages": ("en", "de")}, {"caption_language": "de", "caption_language_score": 1.0}),
        (None, {"languages": ("en",)}, {}),
        (None, {}, {"caption_language": "de", "caption_language_score": 1.0}),
        ("caption_repetitive", {"max_caption_repetition": 0.5}, {"caption_repetition": 0.51}),
        ("picture_unreadable", {"min_contrast": 8}, {"is_unreadable": True}),
        ("one_colour", {"min_contrast": 8}, {"picture_contrast": 7}),
        ("low_entropy", {"min_entropy_bits": 2.0}, {"picture_contrast": 7, "picture_entropy_bits": 1.9}),
        ("blurred", {"min_sharpness": 10.0}, {"picture_sharpness": 9.9}),
        (None, {"min_sharpness": 10.0, "min_contrast": 8}, {"picture_sharpness": 10.0, "picture_contrast": 8}),
        (None, {}, {"picture_sharpness": 0.0, "caption_repetition": 1.0}),
    ],
)
def test_measures_have_reasons(reason: str | None, fields: dict[str, Any], measures: dict[str, Any]) -> None:
    assert fault_of_measures(PairMeasures(**measures), FilterPairsRecipe(**fields)) == reason
    assert reason is None or (DropReason.spelled(reason) and reason in OF_MEASURES)


def test_the_recipe_decides() -> None:
    assert drop_reason(facts(), RECIPE.model_copy(update={"min_side_px": 101})) is DropReason.TOO_SMALL
    assert drop_reason(facts(punsafe=0.9), RECIPE.model_copy(update={"max_punsafe": 1.0})) is None
    assert drop_reason(facts(punsafe=0.4), RECIPE.model_copy(update={"max_punsafe": 0.3})) is DropReason.UNSAFE


def test_each_downloaded_pair_gets_one_verdict(toy_pairs: Any) -> None:
    raw, kept, seed = toy_pairs.raw, toy_pairs.kept, toy_pairs.world.seed
    assert kept.manifest.items.total == raw.manifest.items.kept
    assert [part.part for part in kept.parts] == [part.part for part in raw.parts]
    found: dict[str, set[str | None]] = {}
    for part in kept.parts:
        samples = read_table(raw.read(raw.part(part.part).file("samples.parquet")))
        downloaded = [row for row in samples.to_pylist() if row["verdict"] == "kept"]
        verdicts = read_table(kept.read(part.file(VERDICTS_FILE))).to_pylist()
        assert [row["sample_id"] for row in verdicts] == [row["sample_id"] for row in downloaded]
        for row, judged in zip(downloaded, verdicts, strict=True):
            number = int(row["url"][-10:-4])
            assert (judged["reason"] is None) == (judged["verdict"] == "kept")
            found.setdefault(oddity(seed, number), set()).add(judged["reason"])
            found.setdefault(row_oddity(seed, number), set()).add(judged["reason"])
    assert found[Oddity.DOT] | found[Oddity.SLIVER] == {"too_small"}
    assert found[RowOddity.SPEECHLESS] == {"caption_empty"}
    assert found[RowOddity.UNSAFE] == {"unsafe"} and found[RowOddity.WATERMARKED] == {"watermarked"}
    assert found[RowOddity.MISMATCHED] == {"mismatched"}
    assert found[RowOddity.SPELLING] == {None}


def test_a_filter_that_keeps_nothing_fails_with_an_example(toy_pairs: Any, carry: Any) -> None:
    strict = filter_pairs.bind("strict", FilterPairsRecipe(min_caption_chars=3000), toy_pairs.raw_step)
    with pytest.raises(StageError, match=r"none were kept.*caption_too_short \(such as url 'http://toy.*', caption '"):
        carry(strict, toy_pairs.store)


def test_a_changed_field_makes_other_verdicts_of_the_same_download(toy_pairs: Any, carry: Any) -> None:
    strict = filter_pairs.bind("strict", FilterPairsRecipe(min_side_px=10_000, max_share_lost=1), toy_pairs.raw_step)
    made = carry(strict, toy_pairs.store)
    assert made.manifest.items.kept == 0
    assert made.manifest.items.dropped == {"too_small": toy_pairs.raw.manifest.items.kept}
    assert strict.fingerprint != toy_pairs.kept_step.fingerprint


def judged(folder: Path, columns: dict[str, list[Any]], **fields: Any) -> KeptPairs:
    """The verdicts on photographs whose table has these columns, a row for each value, imported and filtered."""
    data = (Path(skimage.__file__).parent / "data/rocket.jpg").read_bytes()
    num_rows = len(next(iter(columns.values())))
    table = pa.table(
        {"image": [data] * num_rows, "text": [f"rocket {n} on its pad" for n in range(num_rows)], **columns}
    )
    (folder / "mine").mkdir(exist_ok=True)
    pq.write_table(table, folder / "mine/0.parquet")
    raw = import_pairs.bind("pairs", ImportPairsRecipe(source=Source("mine")))
    kept = filter_pairs.bind("kept", FilterPairsRecipe(**{"max_share_lost": 1, **fields}), raw)
    return make(kept, folder / "store", sources={"mine": str(folder / "mine")})


def reasons_of(kept: KeptPairs) -> list[str | None]:
    return [row for part in kept.parts for row in read_table(kept.read(part.file(VERDICTS_FILE)))["reason"].to_pylist()]


def test_the_columns_of_coyo_are_filtered_by_and_what_cannot_be_read_fails(tmp_path: Path) -> None:
    columns = {
        "clip_similarity_vitb32": [0.3, 0.01, 0.3, 0.3, None, float("nan")],
        "nsfw_score_opennsfw2": [0.0] * 6,
        "nsfw_score_gantman": [0.1, 0.1, 0.999, 0.1, None, 0.1],
        "watermark_score": [0.1, 0.1, 0.1, 0.999, None, 0.1],
    }
    kept = judged(tmp_path, columns)
    assert reasons_of(kept) == [None, "mismatched", "unsafe", "watermarked", None, "score_unreadable"]
    assert kept.manifest.items.failed == {"score_unreadable": 1}
    assert kept.head.rules == {
        "max_punsafe": {"applied to nsfw_score_gantman": 5, "null": 1},
        "max_pwatermark": {"applied to watermark_score": 5, "null": 1},
        "min_similarity": {"applied to clip_similarity_vitb32": 4, "null": 1, "unreadable": 1},
        "worst_nsfw_tag": {"no column": 6},
    }


def test_the_tags_of_laion_are_filtered_by(tmp_path: Path) -> None:
    columns = {"NSFW": ["UNLIKELY", "UNSURE", "NSFW", "", None, "maybe"]}
    kept = judged(tmp_path, columns)
    assert reasons_of(kept) == [None, None, "unsafe", None, None, "score_unreadable"]
    assert kept.head.rules["worst_nsfw_tag"] == {"applied to NSFW": 3, "null": 2, "unreadable": 1}
    strict = judged(tmp_path, columns, worst_nsfw_tag="UNLIKELY")
    assert reasons_of(strict) == [None, "unsafe", "unsafe", None, None, "score_unreadable"]


def test_a_limit_that_is_set_finds_its_column_or_nothing_is_judged(tmp_path: Path) -> None:
    columns = {"aesthetic": [0.9, 0.1]}
    with pytest.raises(StageError, match=r"max_punsafe=0.3 is set.*no column of 'punsafe'.*'aesthetic'.*score_columns"):
        judged(tmp_path, columns, max_punsafe=0.3)
    with pytest.raises(StageError, match=r"score_columns names 'pnsfw' for 'punsafe', a column that"):
        judged(tmp_path, columns, score_columns={"punsafe": "pnsfw"})
    assert not list((tmp_path / "store").glob("artifacts/filter_pairs/*/records/*"))
    assert reasons_of(judged(tmp_path, columns, score_columns={"punsafe": "aesthetic"})) == ["unsafe", None]
    assert judged(tmp_path, columns).head.rules["max_punsafe"] == {"no column": 2}


def test_a_column_can_be_left_unread(tmp_path: Path) -> None:
    kept = judged(tmp_path, {"punsafe": [0.9, float("nan")]}, score_columns={"punsafe": ""})
    assert reasons_of(kept) == [None, None] and kept.head.rules["max_punsafe"] == {"no column": 2}


def test_a_later_table_without_the_column_is_counted(tmp_path: Path) -> None:
    columns = {"punsafe": [0.9, 0.1]}
    (tmp_path / "mine").mkdir()
    data = (Path(skimage.__file__).parent / "data/rocket.jpg").read_bytes()
    pq.write_table(pa.table({"image": [data], "text": ["another rocket"]}), tmp_path / "mine/1.parquet")
    kept = judged(tmp_path, columns, max_punsafe=0.5)
    assert reasons_of(kept) == ["unsafe", None, None]
    assert kept.head.rules["max_punsafe"] == {"applied to punsafe": 2, "no column": 1}


def test_a_score_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no score 'aesthetic'; scores are 'similarity'"):
        FilterPairsRecipe(score_columns={"aesthetic": "aesthetic_score"})


def painted(folder: Path, columns: dict[str, list[Any]], pictures: list[bytes], **fields: Any) -> KeptPairs:
    """The verdicts on these pictures, whose captions are those of `columns`."""
    (folder / "mine").mkdir(exist_ok=True)
    pq.write_table(pa.table({"image": pictures, **columns}), folder / "mine/0.parquet")
    raw = import_pairs.bind("pairs", ImportPairsRecipe(source=Source("mine")))
    kept = filter_pairs.bind("kept", FilterPairsRecipe(**{"max_share_lost": 1, **fields}), raw)
    return make(kept, folder / "store", sources={"mine": str(folder / "mine")})


def encoded(image: Image.Image) -> bytes:
    written = io.BytesIO()
    image.save(written, "JPEG")
    return written.getvalue()


PHOTO = Image.open(Path(skimage.__file__).parent / "data/rocket.jpg").convert("RGB")
PICTURES = [
    encoded(PHOTO),
    encoded(Image.new("RGB", (200, 200), (9, 9, 9))),
    encoded(PHOTO.filter(ImageFilter.GaussianBlur(20))),
    encoded(PHOTO.resize((320, 200))),
    encoded(PHOTO.resize((40, 40))),
    encoded(PHOTO.resize((300, 200))),
]
CAPTIONS = {"text": ["a rocket at night", "nothing at all", "a blur", "removed by its owner", "small", "buy " * 20]}


def test_pictures_and_captions_are_measured_where_it_is_asked_for(tmp_path: Path) -> None:
    fields: dict[str, Any] = {"min_contrast": 8, "min_sharpness": 10, "max_caption_repetition": 0.5}
    fields["placeholders"] = (hashlib.sha256(PICTURES[3]).hexdigest(),)
    kept = painted(tmp_path, CAPTIONS, PICTURES, **fields)
    assert reasons_of(kept) == [None, "one_colour", "blurred", "placeholder", "too_small", "caption_repetitive"]
    (part,) = kept.parts
    table = read_table(kept.read(part.file(VERDICTS_FILE)))
    assert table.column_names[3:] == ["caption_repetition", "picture_contrast", "picture_sharpness"]
    assert [value is None for value in table["picture_contrast"].to_pylist()] == [False] * 3 + [True, True, False]
    assert table["picture_contrast"][1].as_py() == 0 and table["picture_sharpness"][0].as_py() > 100
    examples = part.facts["examples"]
    assert examples["blurred"]["picture_sharpness"] == str(table["picture_sharpness"][2].as_py())
    assert kept.head.rules["min_contrast"] == {"applied": 4, "null": 1, "dropped before": 1}
    assert kept.head.rules["max_caption_repetition"] == {"applied": 5, "dropped before": 1}
    unasked = painted(tmp_path, CAPTIONS, PICTURES)
    assert reasons_of(unasked) == [None, None, None, None, "too_small", None]


def test_captions_in_other_languages_are_dropped_where_they_are_long_enough_to_tell(tmp_path: Path) -> None:
    captions = [
        "a rocket stands on its launch pad in the night before it is started",
        "eine Rakete steht nachts auf ihrer Startrampe und wird bald gestartet",
        "夜の発射台に立っているロケットの写真です",
        "Rakete",
    ]
    kept = painted(tmp_path, {"text": captions}, PICTURES[:1] * 4, languages=("en", "ja"))
    assert reasons_of(kept) == [None, "language_unwanted", None, None]
    (part,) = kept.parts
    table = read_table(kept.read(part.file(VERDICTS_FILE)))
    assert table["caption_language"].to_pylist() == ["en", "de", "ja", None]
    assert table["caption_language_score"][1].as_py() > 0.8 and table["caption_language_score"][3].as_py() is None
    assert kept.head.rules["languages"] == {"applied": 3, "null": 1}
    ruled = painted(tmp_path, {"text": captions}, PICTURES[:1] * 4, rules={"german": "caption_language = 'de'"})
    assert reasons_of(ruled) == [None, "german", None, None]
    with pytest.raises(StageError, match=r"languages: 'xx' is no language that is told; known are .*, en,"):
        painted(tmp_path, {"text": captions}, PICTURES[:1] * 4, languages=("en", "xx"))
    with pytest.raises(ValueError, match="'English' is no code of a language"):
        FilterPairsRecipe(languages=("English",))


def test_rules_of_the_users_own_have_reasons_of_their_own(tmp_path: Path) -> None:
    columns = {**CAPTIONS, "aesthetic": [5.5, None, 3.0, float("nan"), 9.0, 6.0], "punsafe": ["0.1"] * 6}
    rules = {
        "ugly": "aesthetic < 4",
        "plain": "picture_entropy_bits < 2 OR picture_contrast < 5",
        "advert": "caption LIKE 'buy %' AND punsafe < 0.2",
    }
    kept = painted(tmp_path, columns, PICTURES, rules=rules)
    assert reasons_of(kept) == [None, "plain", "ugly", "score_unreadable", "too_small", "advert"]
    assert kept.manifest.items.dropped == {"advert": 1, "plain": 1, "too_small": 1, "ugly": 1}
    assert kept.head.rules["rules.ugly"] == {"met": 1, "not met": 3, "null": 1, "unreadable": 1}
    assert kept.head.rules["rules.plain"] == {"met": 1, "not met": 4, "null": 1}, "what is dropped is not measured"


def test_rules_that_do_not_fit_are_refused_before_a_part_is_judged(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"rule 'ugly' \(beauty < 4\) names the column 'beauty', which the table of"):
        painted(tmp_path, CAPTIONS, PICTURES, rules={"ugly": "beauty < 4"})
    with pytest.raises(StageError, match=r"has a column 'picture_contrast' of its own"):
        painted(tmp_path, {**CAPTIONS, "picture_contrast": [1] * 6}, PICTURES, min_contrast=4)
    assert not list((tmp_path / "store").glob("artifacts/filter_pairs/*/records/*"))
    with pytest.raises(ValueError, match="rule 'score_unreadable' has the name of a failure"):
        FilterPairsRecipe(rules={"score_unreadable": "true"})
    with pytest.raises(ValueError, match=r"rule 'ugly' calls random\(\)"):
        FilterPairsRecipe(rules={"ugly": "random() < 0.5"})
    with pytest.raises(ValueError, match="'abc' is no sha256"):
        FilterPairsRecipe(placeholders=("abc",))


def test_a_picture_that_does_not_decode_fails(tmp_path: Path) -> None:
    pairs = make_pairs.bind("pairs", PairsRecipe(decodable=False))
    recipe = FilterPairsRecipe(min_side_px=1, min_caption_chars=1, max_aspect=100, min_contrast=4, max_share_lost=1)
    kept = make(filter_pairs.bind("kept", recipe, pairs), tmp_path / "store")
    assert set(reasons_of(kept)) == {"picture_unreadable"} and set(kept.manifest.items.failed) == {"picture_unreadable"}


def test_a_damaged_picture_stops_the_part(tmp_path: Path) -> None:
    raw = painted(tmp_path, CAPTIONS, PICTURES).input("raw", RawPairs)
    path = tmp_path / "store" / next(iter(raw.parts)).file("pairs.tar").key
    path.chmod(0o644)
    stored = bytearray(path.read_bytes())
    stored[1500] ^= 255
    path.write_bytes(stored)
    with pytest.raises(StoreError, match="damaged"):
        painted(tmp_path, CAPTIONS, PICTURES, min_contrast=5)
