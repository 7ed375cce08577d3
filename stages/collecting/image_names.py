"""Lists the pictures of a folder, and of the tars in it, under every name by which a conversation may call them.

    images_NN.parquet   a row for each name: `name`, and where the picture lies: `path`, `file_bytes` and `etag` of the
                        file, and of a member of a tar its `offset` and `size_bytes`

A file is called by its path. A member of `coco/train.tar` is called by its own name, by `coco/train.tar/NAME` and by
`coco/train/NAME`, which is what it would be called if the tar were unpacked beside itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from pydantic import Field

from stages.collecting.slots import write_slots
from stages.contract import Part, PartDraft, PartTask, PinnedFile, PinnedSource, StageError
from stages.importing.forms import check_archives, is_hidden, is_picture, is_tar
from stages.importing.picture_folder import plain_path
from stages.importing.tar_members import TarBrokenError, tar_members
from stages.origins.files import open_file

IMAGES: Final = "images"
"""Files of the names that pictures have in the source of images."""
FILES_PER_PART: Final = 10_000
"""Files of a folder that one part lists."""


class ImageFiles(PartTask):
    """The task of a part that lists pictures: a tar, or some files of a folder."""

    tar: PinnedFile | None = None
    """A tar whose members are listed; None for files of a folder."""
    files: list[PinnedFile] = Field(default_factory=list)
    """Files of a folder that are pictures themselves."""


class ImagePlace(NamedTuple):
    """Where a picture lies."""

    path: str
    file_bytes: int
    """Size of the file, by which it is opened."""
    etag: str
    """Entity tag of the file, by which it is opened."""
    offset: int | None
    """First byte of a member of a tar; None where the file is the picture."""
    size_bytes: int
    """Length of the picture."""


def parts_of_images(pinned: PinnedSource) -> list[Part]:
    """The parts that list the pictures of a source. Raises `StageError` where there is none, or a tar is compressed."""
    seen = [file for file in pinned.files if not is_hidden(file.path)]
    tars = [file for file in seen if is_tar(file.path)]
    if packed := [file.path for file in tars if not file.path.lower().endswith(".tar")]:
        raise StageError(f"{packed[0]} is compressed, so that its members cannot be read one by one; unpack it")
    pictures = [file for file in seen if is_picture(file.path)]
    if not tars and not pictures:
        check_archives(file.path for file in seen)
        raise StageError(f"source {pinned.name!r} has {len(pinned.files):,} files, and no picture or tar among them")
    tasks = [ImageFiles(tar=tar) for tar in tars]
    tasks += [
        ImageFiles(files=pictures[first : first + FILES_PER_PART]) for first in range(0, len(pictures), FILES_PER_PART)
    ]
    return [Part(name=f"images_{number:05d}", task=task.dump()) for number, task in enumerate(tasks)]


def list_images(part: Part, draft: PartDraft, place: str) -> None:
    """List the pictures of one part. A tar that breaks off gives those before the break."""
    import pyarrow as pa

    task = ImageFiles.of(part)
    named = list(_of_files(task.files) if task.tar is None else _of_tar(place, task.tar, draft))
    columns = {"path": pa.string(), "file_bytes": pa.int64(), "etag": pa.string()}
    columns |= {"offset": pa.int64(), "size_bytes": pa.int64()}
    places = [where for _, where in named]
    table = pa.table(
        {
            "name": pa.array([name for name, _ in named], pa.string()),
            **{name: pa.array([getattr(where, name) for where in places], kind) for name, kind in columns.items()},
        }
    )
    write_slots(table, draft, IMAGES)


def _of_files(files: Sequence[PinnedFile]) -> Iterator[tuple[str, ImagePlace]]:
    for file in files:
        yield plain_path(file.path), ImagePlace(file.path, file.size_bytes, file.etag, None, file.size_bytes)


def _of_tar(place: str, tar: PinnedFile, draft: PartDraft) -> Iterator[tuple[str, ImagePlace]]:
    with open_file(place, tar) as opened:
        try:
            for member in tar_members(opened):
                if member.is_file and is_picture(member.name):
                    where = ImagePlace(tar.path, tar.size_bytes, tar.etag, member.offset, member.size_bytes)
                    name = plain_path(member.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
                    name = name.removeprefix("./")
                    for full in {name, f"{tar.path}/{name}", f"{tar.path.rpartition('.')[0]}/{name}"}:
                        yield full, where
        except TarBrokenError as error:
            draft.fact(broken={"path": tar.path, "reason": error.reason.value, "offset": error.offset})
