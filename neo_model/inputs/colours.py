"""Any decoded picture to 8-bit RGB: grey levels, transparency and colour profiles.

Rules, in this order:
- 16-bit grey is scaled to 8 bits, floats are taken as 0..1 where none exceeds 1; 16-bit colours keep their high byte;
- an ICC profile is honoured where the caller asks for sRGB: relative colorimetric with black point compensation. It
  counts only where it is for the colours that the picture has: a grey one for grey, RGB for RGB and colour tables, CMYK
  for CMYK. A broken one is none. One that changes no colour noticeably is sRGB by another name, and changes nothing;
- transparent pixels (an alpha channel, a transparent colour or entry of a colour table) lie over black or white,
  whichever is further from the visible pixels; the profile is for the colours before that.
Gamma and chromaticities of PNG, and the colour space that EXIF names, are not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image
    from PIL.ImageCms import ImageCmsProfile, ImageCmsTransform

Colour: TypeAlias = Literal["srgb", "as_is"]
"""`srgb` converts by the embedded profile; `as_is` takes the stored numbers for sRGB, as the released code does."""

BAND_PX: Final = 2**20
"""Pixels that are floating point numbers at one time."""
UNNOTICEABLE: Final = 3
"""Largest difference of a channel, of 255, by which a profile's colours may differ from sRGB and count as sRGB; to
encode a picture anew as JPEG changes more."""
_SPACES: Final = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
"""Colour space of a profile that is for pictures of a mode."""
_LATTICE: Final = tuple(range(0, 256, 15))


def to_rgb(image: Image, profile: bytes | None = None) -> Image:
    """8-bit RGB from any mode that Pillow decodes; `profile` is honoured where it is one for these colours."""
    if image.mode.startswith(("I", "F")):
        image = _to_grey(image)
    if image.has_transparency_data:
        with_alpha = image.convert("RGBA")
        colours = image.convert("L") if image.mode in ("1", "L", "LA") else with_alpha.convert("RGB")
        return _over_contrast(_converted(colours, profile), with_alpha.getchannel("A"))
    return _converted(image, profile)


def changes_colours(profile: bytes | None, mode: str) -> bool:
    """Whether a profile makes other colours of a picture of this mode (L, RGB or CMYK) than sRGB would."""
    return profile is not None and _transform(profile, mode) is not None


def _converted(image: Image, profile: bytes | None) -> Image:
    from PIL import ImageCms

    if image.mode == "LAB":
        image = ImageCms.profileToProfile(image, ImageCms.createProfile("LAB"), _srgb(), outputMode="RGB") or image
    if profile is None:
        return image if image.mode == "RGB" else image.convert("RGB")
    if image.mode not in _SPACES:
        image = image.convert("L" if image.mode == "1" else "RGB")
    transform = _transform(profile, image.mode)
    if transform is None:
        return image.convert("RGB")
    converted: Image | None = ImageCms.applyTransform(image, transform)
    return image.convert("RGB") if converted is None else converted


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCmsTransform | None:
    """From a profile to sRGB; None where it is broken, for other colours, or changes none noticeably."""
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if source.profile.xcolor_space.strip() != _SPACES.get(mode):
            return None
        intent, flags = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
        transform = ImageCms.buildTransform(source, _srgb(), mode, "RGB", intent, flags)
        return None if mode != "CMYK" and _is_unnoticeable(transform, mode) else transform
    except Exception:  # whatever is wrong with a profile, the picture has its numbers
        return None


def _is_unnoticeable(transform: ImageCmsTransform, mode: str) -> bool:
    """Whether no colour of a lattice is changed by more than `UNNOTICEABLE`."""
    import numpy as np
    from PIL import Image as Pillow
    from PIL import ImageCms

    if mode == "L":
        image = Pillow.fromarray(np.arange(256, dtype=np.uint8)[None])
    else:
        lattice = np.stack(np.meshgrid(_LATTICE, _LATTICE, _LATTICE), axis=-1).astype(np.uint8)
        image = Pillow.fromarray(lattice.reshape(1, -1, 3))
    before = np.asarray(image.convert("RGB"), np.int16)
    after = np.asarray(ImageCms.applyTransform(image, transform), np.int16)
    return int(np.abs(after - before).max()) <= UNNOTICEABLE


@lru_cache(maxsize=1)
def _srgb() -> ImageCmsProfile:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _to_grey(image: Image) -> Image:
    """16-bit, 32-bit or float grey to 8 bits: 0..65535 is scaled, floats are taken as 0..1 where none exceeds 1."""
    import numpy as np
    from PIL import Image as Pillow

    largest = 65_535.0
    if image.mode == "F":
        brightest = max((_finite(band).max(initial=0.0) for _, band in _bands(image)), default=0.0)
        largest = 1.0 if brightest <= 1.0 else 255.0
    grey = np.empty((image.height, image.width), np.uint8)
    for top, band in _bands(image):
        levels = np.rint(_finite(band) * (255.0 / largest))
        grey[top : top + len(band)] = np.clip(levels, 0, 255)
    return Pillow.fromarray(grey)


def _finite(band: NDArray[Any]) -> NDArray[np.float64]:
    """Levels as numbers: 0 for NaN, white for infinity."""
    import numpy as np

    levels: NDArray[np.float64] = np.nan_to_num(band.astype(np.float64), nan=0.0, posinf=65_535.0, neginf=0.0)
    return levels


def _bands(image: Image) -> Iterator[tuple[int, NDArray[Any]]]:
    """The rows of a picture in bands of a million pixels, each with the number of its first row.

    A picture of 64 megapixels as floating point would take 0.5 GB, and several times that in between.
    """
    import numpy as np

    rows = max(1, BAND_PX // max(1, image.width))
    for top in range(0, image.height, rows):
        yield top, np.asarray(image.crop((0, top, image.width, min(image.height, top + rows))))


def _over_contrast(colours: Image, alpha: Image) -> Image:
    """Lay RGB over black if its visible pixels are light on average, else over white."""
    from PIL import Image as Pillow

    background = Pillow.new("RGB", colours.size, (0, 0, 0) if _is_light(colours, alpha) else (255, 255, 255))
    background.paste(colours, mask=alpha)
    return background


def _is_light(colours: Image, alpha: Image) -> bool:
    """Whether the channels of the visible pixels have a mean above 127.5; false where none is visible."""
    total, number = 0, 0
    for (_, band), (_, visible) in zip(_bands(colours), _bands(alpha), strict=True):
        seen = band[visible > 0]
        total, number = total + int(seen.sum(dtype="int64")), number + seen.size
    return 2 * total > 255 * number
