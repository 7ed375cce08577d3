"""Answers: each path always gets the same one, and each oddity is one a downloader can tell."""

import warnings
from collections.abc import Iterator

import pytest

from neo_model.inputs.pictures import PictureError, PictureTrouble, open_picture, picture_facts
from stages.toy_world import draw
from stages.toy_world.addresses import Address, FilmAddress, RoomAddress, address_of
from stages.toy_world.films.film_faults import FilmOddity, film_oddity
from stages.toy_world.oddities import HARMLESS, NUM_PER_DECK, Oddity, oddity, original_number
from stages.toy_world.responses import FORBIDDEN_URLS, ScriptedResponse, response_to
from stages.toy_world.scene import scene

SEED = 7


def first(odd: Oddity) -> Address:
    """The first picture that is treated so."""
    return next(Address(SEED, "train", n) for n in range(NUM_PER_DECK) if oddity(SEED, n) is odd)


def treated(odd: Oddity) -> ScriptedResponse:
    return response_to(first(odd).path)


def location(given: ScriptedResponse) -> str:
    return dict(given.headers)["Location"]


@pytest.fixture(autouse=True)
def bombs_are_expected() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("odd", Oddity)
def test_an_answer_depends_on_the_path_alone(odd: Oddity) -> None:
    assert treated(odd) == treated(odd)


@pytest.mark.parametrize(
    "path",
    ["/", "/7/train/1.jpg", "/7/train/000001.png", "/7/elsewhere/000001.jpg", "/7/train/0000001.jpg", "/../etc/hosts"],
)
def test_what_names_nothing_is_not_found(path: str) -> None:
    assert address_of(path) is None
    assert response_to(path).status == 404


def test_an_address_and_its_path_are_one() -> None:
    address = Address(7, "train", 1_234_567)
    assert address_of(address.path) == address
    assert Address(7, "heldout", 12).url == "http://toy.invalid/7/heldout/000012.jpg"


@pytest.mark.parametrize("odd", sorted(HARMLESS - {Oddity.MOVED, Oddity.TRANSPARENT, Oddity.COPY}))
def test_harmless_oddities_still_show_the_scene(odd: Oddity) -> None:
    address = first(odd)
    shown = scene(SEED, "train", address.number)
    image = open_picture(treated(odd).body, max_pixels_px=10**6)
    assert image.size == (shown.width_px, shown.height_px)
    wanted = draw.picture(shown).tobytes()
    difference = sum(abs(a - b) for a, b in zip(image.tobytes(), wanted, strict=True)) / len(wanted)
    assert difference < 3


def test_a_moved_picture_is_found_at_the_end_of_its_redirect() -> None:
    given = treated(Oddity.MOVED)
    assert given.status in {301, 302, 307, 308}
    target = location(given).removeprefix("http://toy.invalid")
    assert response_to(target).body == draw.jpeg(scene(SEED, "train", first(Oddity.MOVED).number))


def test_circling_redirects_never_end() -> None:
    path = first(Oddity.CIRCLING).path
    seen = [path]
    for _ in range(4):
        given = response_to(seen[-1])
        assert given.status == 302
        seen.append(location(given).removeprefix("http://toy.invalid"))
    assert seen[0] == seen[2] == seen[4]
    assert seen[1] == seen[3] != seen[0]


def test_trespassing_redirects_lead_outside() -> None:
    numbers = [n for n in range(4000) if oddity(SEED, n) is Oddity.TRESPASSING]
    targets = {location(response_to(Address(SEED, "train", n).path)) for n in numbers}
    assert targets == set(FORBIDDEN_URLS)


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (Oddity.TRUNCATED, PictureTrouble.TRUNCATED),
        (Oddity.PAGE, PictureTrouble.NOT_IMAGE),
        (Oddity.EMPTY, PictureTrouble.NOT_IMAGE),
        (Oddity.BOMB, PictureTrouble.TOO_MANY_PIXELS),
    ],
)
def test_broken_pictures_are_told_by_their_bytes(odd: Oddity, reason: PictureTrouble) -> None:
    given = treated(odd)
    assert given.status == 200
    assert dict(given.headers)["Content-Type"] == "image/jpeg"
    with pytest.raises(PictureError) as trouble:
        open_picture(given.body, max_pixels_px=64_000_000)
    assert trouble.value.reason is reason


def test_sizes_that_no_picture_should_have() -> None:
    assert (picture_facts(treated(Oddity.DOT).body).width_px, picture_facts(treated(Oddity.DOT).body).height_px) == (
        1,
        1,
    )
    sliver = picture_facts(treated(Oddity.SLIVER).body)
    assert (sliver.width_px, sliver.height_px) == (6000, 20)
    assert picture_facts(treated(Oddity.ANIMATED).body).num_frames == 2


def test_a_copy_has_the_bytes_of_its_original() -> None:
    copy = first(Oddity.COPY)
    original = Address(SEED, "train", original_number(SEED, copy.number))
    assert response_to(copy.path).body == response_to(original.path).body


def test_slow_answers_are_few_and_short_and_the_others_exceed_any_deadline() -> None:
    delays = [response_to(Address(SEED, "train", n).path).delay_seconds for n in range(NUM_PER_DECK)]
    slow = sorted(delay for delay in delays if delay)
    assert len(slow) == 5
    assert 0.3 <= slow[0] <= slow[3] <= 1.0
    assert slow[4] >= 30
    dripping = treated(Oddity.DRIPPING)
    assert len(dripping.body) * dripping.seconds_per_byte > 60
    endless = treated(Oddity.ENDLESS)
    assert len(endless.body) * endless.num_bodies > 10**9


def test_statuses_and_headers() -> None:
    assert treated(Oddity.MISSING).status == 404
    assert treated(Oddity.UNAVAILABLE).status == 503
    assert dict(treated(Oddity.OPTED_OUT).headers)["X-Robots-Tag"] == "noai"


def test_held_out_pictures_are_plain() -> None:
    for number in range(300):
        given = response_to(Address(SEED, "heldout", number).path)
        assert given == ScriptedResponse(body=draw.jpeg(scene(SEED, "heldout", number)))


def film_response(oddity: FilmOddity) -> ScriptedResponse:
    number = next(number for number in range(200) if film_oddity(7, number) is oddity)
    return response_to(FilmAddress(7, "train", number).path)


def test_films_are_served_with_their_faults() -> None:
    plain = film_response(FilmOddity.PLAIN)
    assert (plain.status, dict(plain.headers)["Content-Type"]) == (200, "video/mp4")
    assert plain.body[4:8] == b"ftyp"
    assert film_response(FilmOddity.MISSING).status == 404
    assert film_response(FilmOddity.UNAVAILABLE).status == 503
    assert film_response(FilmOddity.PAGE).body.startswith(b"<!doctype html>")
    assert film_response(FilmOddity.SLOW).delay_seconds >= 0.3
    assert response_to("/7/heldout-film/000003.mp4").body[4:8] == b"ftyp"


def test_a_room_is_served_from_both_places() -> None:
    bodies = [response_to(RoomAddress(7, "train", 5, view).path).body for view in (0, 1)]
    assert bodies[0] != bodies[1]
    assert all(body.startswith(b"\xff\xd8") for body in bodies)


@pytest.mark.parametrize("path", ["/7/train-room/000001-2.jpg", "/7/train-film/1.mp4", "/7/other-film/000001.mp4"])
def test_other_paths_lead_nowhere(path: str) -> None:
    assert response_to(path).status == 404
