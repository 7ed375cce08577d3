"""Draws films with Pillow and encodes them as H.264. Equal scenes give equal bytes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image

from stages.toy_world.draw import lit_ground, shape_drawn
from stages.toy_world.films.film_scene import SIZE_PX, FilmScene
from stages.video.encoding import encode_film

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

QUALITY = 20
"""Constant rate factor of x264."""


def frame_at(scene: FilmScene, seconds: float) -> Image.Image:
    """What a film shows at one time, as an RGB image."""
    image = lit_ground(SIZE_PX, SIZE_PX, scene.tint)
    for actor in scene.actors:
        box = actor.box_at(seconds)
        if box is not None:
            shape_drawn(image, actor.shape, actor.colour, scene.shade, box)
    return image


def film(scene: FilmScene, times_seconds: Sequence[float] | None = None) -> bytes:
    """The scene as an MP4, its frames shown from these times on; None for those of the scene."""
    times = scene.times_seconds() if times_seconds is None else times_seconds
    return encode_film([_pixels(frame_at(scene, seconds)) for seconds in times], times, quality=QUALITY)


def still_film(scene: FilmScene, times_seconds: Sequence[float]) -> bytes:
    """A film that shows the first frame of a scene all the time."""
    return encode_film([_pixels(frame_at(scene, 0.0))] * len(times_seconds), times_seconds, quality=QUALITY)


def dark_film(times_seconds: Sequence[float]) -> bytes:
    """A film that is black all the time."""
    black = _pixels(Image.new("RGB", (SIZE_PX, SIZE_PX)))
    return encode_film([black] * len(times_seconds), times_seconds, quality=QUALITY)


def turned_film(scene: FilmScene) -> bytes:
    """The scene stored rotated by 90 degrees, with the matrix in the header that sets it upright."""
    times = scene.times_seconds()
    turned = [frame_at(scene, seconds).transpose(Image.Transpose.ROTATE_90) for seconds in times]
    whole = encode_film([_pixels(image) for image in turned], times, quality=QUALITY)
    # In the box `tkhd` the matrix follows 40 bytes of flags, times and numbers; its last column counts in 2^-30.
    start = whole.index(b"tkhd") + 44
    matrix = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, SIZE_PX << 16, 0, 1 << 30)
    return whole[:start] + matrix + whole[start + len(matrix) :]


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    import numpy as np

    return np.asarray(image)
