"""Draws rooms in perspective with Pillow. Equal scenes give equal bytes."""

from __future__ import annotations

import io

from PIL import Image

from stages.toy_world.comparisons.room_scene import HEIGHT_PX, WIDTH_PX, RoomScene, RoomShape
from stages.toy_world.draw import lit_ground, shape_drawn
from stages.toy_world.scene import ShapeBox

HORIZON_PX = 36
"""Where wall and floor meet, from the top."""
NEAREST_DEPTH, STEP_DEPTH = 1.2, 0.45
"""Depth of a shape at one step, and what each further step adds."""
FLOOR_PX = 90
"""Where a shape at depth 1 stands, from the top."""
SIDE_PX = 40
"""Side of a shape at depth 1."""
COLUMN_PX = 44
"""Distance between columns at depth 1."""
SIDE_POWER, FLOOR_POWER = 1.2, 1.5
"""How fast sides shrink and floors rise with depth: faster than in life, so that a step is well seen."""


def view(scene: RoomScene, place: int) -> Image.Image:
    """The room from one of its two places, 0 or 1, as an RGB image."""
    image = lit_ground(WIDTH_PX, HEIGHT_PX, scene.wall)
    image.paste(lit_ground(WIDTH_PX, HEIGHT_PX - HORIZON_PX, scene.floor), (0, HORIZON_PX))
    for shape in sorted(scene.shapes, key=lambda one: -one.distance):
        box = box_from(shape, scene.places[place])
        shape_drawn(image, shape.shape, shape.colour, scene.shade, box)
    return image


def room_jpeg(scene: RoomScene, place: int) -> bytes:
    """The room from one of its two places as a JPEG."""
    body = io.BytesIO()
    view(scene, place).save(body, "JPEG", quality=scene.quality)
    return body.getvalue()


def box_from(shape: RoomShape, place: float) -> ShapeBox:
    """Left, top, right and bottom edge of a shape seen from a place, in pixels. The box may leave the picture."""
    depth = NEAREST_DEPTH + (shape.distance - 1 + place) * STEP_DEPTH
    side = round(SIDE_PX / depth**SIDE_POWER)
    left = round(WIDTH_PX / 2 + (shape.column - 1) * COLUMN_PX / depth - side / 2)
    bottom = round(HORIZON_PX + (FLOOR_PX - HORIZON_PX) / depth**FLOOR_POWER)
    return left, bottom - side, left + side, bottom
