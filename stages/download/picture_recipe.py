"""The recipe fields by which pictures are fetched and kept, shared by every stage that makes RawPairs.

A picture that was downloaded and one that was imported are kept, resized or refused by the same fields and the same
code, so the two can be mixed.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from neo_model.inputs.colours import Colour
from stages.contract import Recipe, conduct
from stages.download.engines.interface import EngineName, FetchLimits
from stages.download.judge_picture import PictureRule
from stages.download.manners.usage_terms import ALL_OPT_OUTS, Manners, OptOut
from stages.download.resizing import ResizeMode


class PictureRecipe(Recipe):
    """Which pictures are accepted, and how they are kept."""

    max_image_bytes: int = Field(default=20_000_000, ge=1)
    """Largest picture in bytes, as it comes: a response body as sent and after decompression, or a file."""
    max_pixels_px: int = Field(default=64_000_000, ge=1)
    """Largest width times height, read from the picture's header; nothing larger is decoded."""
    animated: Literal["first_frame", "drop"] = "first_frame"
    """Whether an animated picture becomes its first frame or is dropped."""
    resize_mode: ResizeMode = "no"
    """Resize mode of img2dataset. `no` keeps the bytes of ordinary JPEGs as they are."""
    resize_px: int = Field(default=1024, ge=1)
    """Longest or shortest side after resizing, in pixels, depending on the mode; smaller pictures are not resized."""
    decode: Literal["exact", "reduced"] = "exact"
    """How JPEGs that are made smaller are decoded. `exact` decodes all pixels, and gives the bytes of img2dataset.
    `reduced` lets the decoder skip detail that the result has no room for, down to an eighth of each side: up to 2.5
    times as fast for large pictures, which differ from `exact` about as much as JPEG alters them (37 to 57 dB)."""
    jpeg_quality: int = Field(default=95, ge=1, le=100)
    """JPEG quality of pictures that are re-encoded: other formats, CMYK JPEGs, converted and resized pictures."""
    colour: Colour = "srgb"
    """`srgb` converts a picture whose embedded ICC profile gives it other colours than sRGB: Display P3, Adobe RGB,
    inks. Pictures in sRGB, without a profile or with a broken one keep their numbers. `as_is` ignores profiles,
    as the released models' code does."""

    taken_down: tuple[str, ...] = ()
    """Takedowns of which nothing is kept or asked for, by the digests of their lists. `neo takedown` records them, and
    planning names those that count here; leave it as it is."""

    @property
    def picture_rule(self) -> PictureRule:
        """The fields that decide what becomes of a picture's bytes."""
        return PictureRule(
            max_pixels_px=self.max_pixels_px,
            animated=self.animated,
            resize_mode=self.resize_mode,
            resize_px=self.resize_px,
            decode=self.decode,
            jpeg_quality=self.jpeg_quality,
            colour=self.colour,
        )


class FetchRecipe(PictureRecipe):
    """Which hosts pictures may be fetched from, and for how long each is asked."""

    allow_hosts: tuple[Annotated[str, Field(pattern=r"^\.?[0-9a-z_:-]+(\.[0-9a-z_-]+)*$")], ...] = ()
    """Hosts that may lie on a private network or on this machine, such as "images.corp.example" or "127.0.0.1", and
    suffixes of such hosts (".corp.example"); all others must be on the public internet."""
    deadline_seconds: float = Field(default=10.0, gt=0)
    """Time for one try, from resolving the name to the last byte, redirects included."""
    num_tries: int = Field(default=2, ge=1)
    """Tries for a URL whose failure another try may mend, the first one included."""

    opt_outs: tuple[OptOut, ...] = ALL_OPT_OUTS
    """Ways in which servers may forbid the use of a picture that are respected: `x_robots_tag` (noai, noimageai,
    noindex), `tdm_reservation` (tdm-reservation: 1) and `content_usage` (train-ai=n)."""
    robots: Literal["ignore", "respect"] = "ignore"
    """Whether the robots.txt of each host is asked for, once for a part, and obeyed as RFC 9309 has it; also
    Content-Usage in it."""
    max_requests_per_host: int = conduct(8, ge=1)
    """Requests that one part has open at a host at once; parts on other workers have as many."""
    seconds_between_requests: float = conduct(0.0, ge=0, le=3600)
    """Least time between the beginnings of two requests of one part at a host."""
    max_outage_seconds: float = conduct(600.0, ge=0, le=86_400)
    """Seconds for which a part waits where half of the hosts that it asks cannot be reached, because its network or
    resolver is down; it continues by itself once one of them answers, and fails after this time."""
    accept_unreachable: bool = conduct(False)
    """Whether parts are recorded of which most hosts cannot be reached: for old lists of which most hosts are gone."""
    engine: EngineName = conduct("event_loop")
    """Who makes the requests: `event_loop`, many in one thread, or `img2dataset`, its threads. What is made is the
    same; the limits of a host hold for the event loop alone."""

    @property
    def limits(self) -> FetchLimits:
        """The fields that a fetching engine is given."""
        return FetchLimits(
            deadline_seconds=self.deadline_seconds,
            num_tries=self.num_tries,
            max_body_bytes=self.max_image_bytes,
            max_requests_per_host=self.max_requests_per_host,
            seconds_between_requests=self.seconds_between_requests,
            max_outage_seconds=None if self.accept_unreachable else self.max_outage_seconds,
            manners=Manners(opt_outs=self.opt_outs, robots=self.robots),
            allow_hosts=self.allow_hosts,
        )
