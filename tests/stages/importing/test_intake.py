"""An intake ends every picture with its place in the spool or a reason, whatever its bytes are."""

from pathlib import Path

from stages.download.picture_recipe import PictureRecipe
from stages.download.reasons import Reason
from stages.download.spool import Spool, SpooledPicture
from stages.importing.intake import Intake
from tests.stages.importing.conftest import picture


def test_a_picture_waits_in_the_spool(intake: Intake) -> None:
    taken = intake.take(picture(size=(40, 30)))
    assert isinstance(taken, SpooledPicture) and (taken.width_px, taken.height_px) == (40, 30)
    assert intake.take(b"") is Reason.EMPTY_BODY and intake.take(b"no picture") is Reason.NOT_IMAGE
    assert intake.num_taken == 3 and intake.remarks == []


def test_a_picture_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with Spool(tmp_path / "small") as spool:
        intake = Intake(PictureRecipe(max_image_bytes=10), spool)
        assert intake.take_from(11, lambda: 1 / 0) is intake.take(picture()) is Reason.TOO_LARGE


def test_pictures_are_resized_as_a_download_resizes_them(tmp_path: Path) -> None:
    with Spool(tmp_path / "resized") as spool:
        taken = Intake(PictureRecipe(resize_mode="keep_ratio", resize_px=64), spool).take(picture(size=(400, 100)))
    assert isinstance(taken, SpooledPicture) and (taken.width_px, taken.height_px) == (256, 64)


def test_a_picture_that_breaks_a_decoder_is_unexplained_and_the_first_errors_are_kept(
    intake: Intake, monkeypatch: object
) -> None:
    intake._judge = lambda _: 1 / 0  # type: ignore[assignment]
    assert [intake.take(b"x") for _ in range(9)] == [Reason.UNEXPLAINED] * 9
    assert intake.remarks == ["ZeroDivisionError: division by zero"] * 5
