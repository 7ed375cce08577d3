"""`neo ask`: ask a model about pictures and films, at their end or while they are seen."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from neo_model.inputs.frame_sampling import FrameSampling
from neo_model.inputs.video_text import frame_time
from pipelines.asking.attention_picture import check_drawing, check_pictures, draw_attention
from pipelines.asking.media import FilmFile, Medium, PictureFile, files_and_question, open_medium
from pipelines.asking.models import load_chat, model_folder
from pipelines.asking.viewer import Viewer
from pipelines.commands.context import CommandContext
from pipelines.commands.options import more_option, with_more_options
from pipelines.exits import BadCommandError, RefusedError
from stages.video.reader import VideoReader

if TYPE_CHECKING:
    from neo_model.live_chat import LiveChat, WatchedAnswer

NO_WORDS = "(The model ended its answer before the first word.)"

ModelArgument: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="REF", help="A checkpoint, an export or an evaluation, as `neo show` takes it; or a model's folder."
    ),
]
WordsArgument: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILE... QUESTION",
        help="Pictures and films, then the question in quotes. Without one, questions are read from stdin.",
    ),
]
RateOption: TypeAlias = Annotated[
    float, typer.Option("--fps", metavar="N", min=0.001, help="Frames of a film for each second.")
]
FramesOption: TypeAlias = Annotated[
    int | None,
    typer.Option("--frames", metavar="N", min=1, help="So many frames, spread evenly over a film, instead of --fps."),
]
MaxFramesOption: TypeAlias = Annotated[
    int,
    typer.Option("--max-frames", metavar="N", min=1, help="Most frames of a film; of a longer one, as many are shown."),
]
EveryOption: TypeAlias = Annotated[
    float | None,
    typer.Option("--every", metavar="SECONDS", min=0.01, help="Ask while the film runs, after each so many seconds."),
]
AnswerOption: TypeAlias = Annotated[
    int, typer.Option("--max-new-tokens", metavar="N", min=1, help="Longest answer, in tokens.")
]
RememberOption: TypeAlias = Annotated[
    bool, typer.Option("--remember", help="Later questions are asked after earlier ones and their answers.")
]

AttentionOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--show-attention", metavar="PNG", help="Draw what of the pictures each word of the answer attended to."
    ),
]


@with_more_options(more_option("show_attention", None, AttentionOption))
def ask(
    ref: ModelArgument,
    words: WordsArgument = None,
    *,
    fps: RateOption = 1.0,
    frames: FramesOption = None,
    max_frames: MaxFramesOption = 256,
    every: EveryOption = None,
    max_new_tokens: AnswerOption = 512,
    remember: RememberOption = False,
) -> None:
    """Ask a model about pictures and films.

    What it was shown stays in memory: a frame is read once, and a question costs its own words.
    """
    command = CommandContext.typed
    assert command is not None
    files, question = files_and_question(words or ())
    drawing = command.show_attention
    if drawing is not None:
        check_drawing(drawing, has_question=question is not None and every is None)
    if every is not None and (frames is not None or question is None):
        missing = "a question, in quotes" if question is None else "--fps, not --frames: its end is not known"
        raise BadCommandError(
            f"--every {every:g}: a film that is seen as it runs needs {missing}", then="neo ask --help"
        )
    rate = None if frames else fps
    sampling = FrameSampling(num_frames=frames, frames_per_second=rate, max_frames=max_frames)
    with closing(VideoReader()) as reader, model_folder(ref, command.store_to_read) as (folder, name):
        media = [open_medium(file, reader) for file in files]
        if drawing is not None:
            check_pictures(media)
        film = None if every is None else _last_film(media)
        chat = load_chat(folder, name)
        viewer, talk = Viewer(chat, reader, sampling), _Talk(command, chat, max_new_tokens, remember, drawing)
        shown = _show_all(command, viewer, media[:-1] if film else media)
        if film is not None and every is not None and question is not None:
            talk.ask_at(viewer.watch(film, every), question)
            assert viewer.watched is not None
            command.say(viewer.watched.sentence())
            shown.append(asdict(viewer.watched))
        else:
            talk.ask_all(_typed_questions(command) if question is None else [question])
            if talk.watched is not None and drawing is not None and question is not None:
                drawn = talk.answers[-1]["attention"] = draw_attention(drawing, question, talk.watched, media)
                told = f"{drawing}: what each word of the answer attended to"
                command.say(told if drawn else "Without words, nothing is drawn.")
    again = shlex.join(["neo", "ask", ref, *map(str, files)])
    then = "neo ask --help" if question is None else f"{again}   (then type questions)"
    document = {"model": name, "shown": shown, "answers": talk.answers, "num_tokens": chat.conversation.num_tokens}
    command.end(document, then=then)


@dataclass
class _Talk:
    """The questions of one command, each answered as soon as it is asked."""

    command: CommandContext
    chat: LiveChat
    max_new_tokens: int
    remember: bool
    drawing: Path | None = None
    """Where the attention of the answer is to be drawn."""
    watched: WatchedAnswer | None = None
    """The last answer with its attention, if that is to be drawn."""
    answers: list[dict[str, Any]] = field(default_factory=list)
    """Questions and answers so far, as the document has them."""

    def ask_all(self, questions: Iterable[str]) -> None:
        """Ask one question after the other about what was shown."""
        for question in questions:
            self.command.say(self._answer(question) or NO_WORDS)

    def ask_at(self, moments: Iterable[float], question: str) -> None:
        """Ask the same question at each moment of a film."""
        for moment in moments:
            self.command.say(f"[{frame_time(moment)}] {self._answer(question, moment) or NO_WORDS}")

    def _answer(self, question: str, moment: float | None = None) -> str:
        from neo_model.cached_conversation import CacheFullError

        try:
            if self.drawing is not None:
                self.watched = self.chat.ask_watched(
                    question, max_new_tokens=self.max_new_tokens, remember=self.remember
                )
                answer = self.watched.text
            else:
                answer = self.chat.ask(question, max_new_tokens=self.max_new_tokens, remember=self.remember)
        except CacheFullError as error:
            raise RefusedError(f"question and answer do not fit: {error}", then="neo ask --help") from error
        self.answers.append({"question": question, "answer": answer, "time_seconds": moment})
        return answer


def _show_all(command: CommandContext, viewer: Viewer, media: Sequence[Medium]) -> list[dict[str, Any]]:
    """Show all files, one after the other, and say how much each takes."""
    num_pictures = sum(isinstance(medium, PictureFile) for medium in media)
    shown = []
    for medium in media:
        one = viewer.show(medium, num_pictures)
        command.say(one.sentence())
        shown.append(asdict(one))
    return shown


def _last_film(media: Sequence[Medium]) -> FilmFile:
    """The film that is seen as it runs. Raises `BadCommandError` unless the last file is the only film."""
    films = [medium for medium in media if isinstance(medium, FilmFile)]
    if len(films) != 1 or media[-1] is not films[0]:
        raise BadCommandError("--every needs one film, as the last of the files", then="neo ask --help")
    return films[0]


def _typed_questions(command: CommandContext) -> Iterator[str]:
    """The questions that are typed, or come from a file or a pipe: a line each, until the input ends."""
    if sys.stdin.isatty():
        command.say("Type questions, a line each; Ctrl-D ends.")
    for line in sys.stdin:
        if line.strip():
            yield line.strip()
