"""Pictures in every format that is decoded, and mutations of them: any number, the same for the same number.

A mutation changes, removes, repeats or moves bytes, or puts an extreme number in the place of another, as bad disks,
cut connections and hostile servers do.
"""

import io
import random
import struct
from functools import cache

from PIL import Image

EXTREMES = tuple(
    struct.pack(code, number)
    for code in ("<I", ">I", "<H", ">H")
    for number in (0, 1, 0x7FFF, 0xFFFF, *((0x7FFFFFFF, 0xFFFFFFFF, 65_501, 20_000_000) if code[1] == "I" else ()))
)


def _drawn(mode: str, size: tuple[int, int] = (61, 47)) -> Image.Image:
    image = Image.linear_gradient("L").resize(size)
    coloured = Image.merge("RGB", (image, image.rotate(90, expand=False), image.rotate(180)))
    if mode in ("I;16", "I", "F"):
        return image.convert("I").point(lambda level: level * 200).convert(mode)
    if mode == "RGBA":
        coloured.putalpha(image)
        return coloured
    return coloured.convert(mode)


def _encoded(encoding: str, mode: str, **options: object) -> bytes:
    written = io.BytesIO()
    _drawn(mode).save(written, encoding, **options)
    return written.getvalue()


@cache
def seeds() -> tuple[bytes, ...]:
    """Whole pictures, from which mutations are made."""
    frames = [_drawn("RGB"), _drawn("RGB").rotate(90), _drawn("RGB").rotate(180)]
    exif = Image.Exif()
    exif[0x0112] = 6
    more = {"save_all": True, "append_images": frames}
    return (
        _encoded("JPEG", "RGB"),
        _encoded("JPEG", "RGB", progressive=True, exif=exif),
        _encoded("JPEG", "L", restart_marker_blocks=2),
        _encoded("JPEG", "CMYK", icc_profile=b"no profile" * 20),
        *(_encoded("PNG", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
        _encoded("PNG", "RGB", exif=exif, **more),
        _encoded("GIF", "P"),
        _encoded("GIF", "RGB", **more),
        _encoded("WEBP", "RGB"),
        _encoded("WEBP", "RGBA", lossless=True, exif=exif),
        _encoded("WEBP", "RGB", **more),
        *(_encoded("BMP", mode) for mode in ("1", "P", "RGB")),
        *(_encoded("TIFF", mode) for mode in ("1", "P", "RGBA", "I;16", "I", "F", "CMYK", "LAB")),
        *(
            _encoded("TIFF", "RGB", compression=name)
            for name in ("tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "packbits", "jpeg")
        ),
        _encoded("TIFF", "RGB", tiffinfo={322: 64, 323: 64}, compression="tiff_lzw"),
        _encoded("TIFF", "L", big_tiff=True, **more),
    )


def mutated(number: int) -> bytes:
    """Mutation `number`: a seed with one to six changes."""
    draw = random.Random(number)
    data = bytearray(draw.choice(seeds()))
    for _ in range(draw.randint(1, 6)):
        place = draw.randrange(min(len(data), 400) if draw.random() < 0.7 else len(data))
        match draw.randrange(6):
            case 0:
                data[place] ^= 1 << draw.randrange(8)
            case 1:
                data[place : place + 4] = draw.choice(EXTREMES)
            case 2:
                data[place : place + draw.randint(1, 9)] = draw.randbytes(draw.randint(1, 9))
            case 3:
                del data[place : place + draw.randint(1, 40)]
            case 4:
                stretch = data[place : place + draw.randint(1, 200)]
                data[place:place] = stretch * draw.randint(1, 4)
            case _:
                del data[max(12, place) :]
        data = data or bytearray(b"\xff")
    return bytes(data)
