"""What `neo exposure` and `neo impact` are asked about: one of a few ways to name samples, as it was typed.

`find_asked.py` finds it in the store. That one loads the rooms of lineage; this one is read with every command.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from pipelines.exits import BadCommandError

WhatArgument: TypeAlias = Annotated[
    str | None,
    typer.Argument(metavar="URL|ID", help="A URL, a name of a picture or video in its source, or a whole sample id."),
]
ListOption: TypeAlias = Annotated[
    Path | None, typer.Option("--file", metavar="LIST", help="Many: a URL, name, sample id or sha256 on each line.")
]
SourceOption: TypeAlias = Annotated[
    str | None, typer.Option("--source", metavar="NAME", help="All of a source: of a mixture, or from outside.")
]
OfOption: TypeAlias = Annotated[
    str | None, typer.Option("--of", metavar="REF", help="All that an artifact holds, or its parts named by --part.")
]
PartOption: TypeAlias = Annotated[
    list[str] | None, typer.Option("--part", metavar="PART", help="A part of the artifact --of REF; may be repeated.")
]
ReasonOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--reason", metavar="REASON", help="Samples that some step judged so: a reason, or a verdict."),
]
MadeByOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--made-by",
        metavar="MAKER",
        help="All that a stage made (filter_pairs@2 with its number), code=DIGEST of your own, or PACKAGE==VERSION.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class TypedQuestion:
    """What was typed; one of these, but for `parts`, which belong to `of`."""

    what: str | None = None
    listed: Path | None = None
    domain: str | None = None
    source: str | None = None
    of: str | None = None
    parts: Sequence[str] = ()
    reason: str | None = None
    made_by: str | None = None
    verb: str
    """The command that asks, such as `neo exposure`."""

    def check(self) -> None:
        """Raise `BadCommandError` unless one thing is asked about."""
        typed = {
            "URL|ID": self.what, "--file": self.listed, "--domain": self.domain, "--source": self.source,
            "--of": self.of, "--reason": self.reason, "--made-by": self.made_by,
        }  # fmt: skip
        names_ = [name for name, value in typed.items() if value is not None]
        known = [name for name in typed if name != "--made-by" or self.verb == "neo impact"]
        if self.parts and self.of is None:
            raise self.wrong("--part names a part of an artifact: say which with --of REF")
        if len(names_) != 1:
            raise self.wrong(f"say one of {', '.join(known)}{f', not {len(names_)}' if names_ else ''}")
        for name, value in typed.items():
            if isinstance(value, str) and not value.strip():
                raise self.wrong(f"{name} is empty")
            if isinstance(value, str) and not value.isprintable():
                raise self.wrong(f"{name} {value!a} is no text that could be looked for")

    def wrong(self, why: str) -> BadCommandError:
        """The error for a question that cannot be asked."""
        return BadCommandError(why, then=f"{self.verb} --help")
