"""What a person sees while a run goes on: progress, rate, what was kept, dropped and failed."""

import io
import re
import time

import pytest
from hypothesis import given
from rich.console import Console
from rich.panel import Panel
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from pipelines.screen.console import Display, SafeConsole, clean, open_console, write_text
from pipelines.screen.progress import Scoreboard, clock_time
from stages.artifacts.records import ItemBalance
from stages.contract import (
    CheckpointCommitted,
    CheckpointDelayed,
    MachinesAwaited,
    NumbersReported,
    PartProgress,
    PartRecorded,
    PhaseOpened,
    StepBusy,
    StepEnded,
    StepStarted,
    StepWaiting,
)
from stages.surfaces.visible import UNSHOWN
from tests.stages.surfaces.hostile_text import TEXTS


class Clock:
    now_seconds = 100.0

    def __call__(self) -> float:
        return self.now_seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(clock: Clock) -> Scoreboard:
    return Scoreboard({"pairs": None, "mid": 40}, clock)


def test_a_data_step_shows_parts_rate_and_balance(board: Scoreboard, clock: Clock) -> None:
    board.take(StepStarted(step="pairs"))
    before = ItemBalance(kept=1000)
    board.take(PhaseOpened(step="pairs", phase="fetch", num_parts=4, num_recorded=1, items=before))
    clock.now_seconds += 10
    items = ItemBalance(kept=400, dropped={"tiny": 60}, failed={"gone": 40})
    board.take(PartRecorded(step="pairs", phase="fetch", part="1", items=items))
    board.take(PartProgress(step="pairs", phase="fetch", part="2", num_done=250))
    state = board.steps["pairs"]
    assert board.line(state) == "fetch 2/4 parts, 75 items/s, 1,400 kept, 60 dropped, 40 failed"
    assert state.share_done() == 0.5
    board.take(StepEnded(step="pairs", outcome="committed", items=items, seconds=12))
    assert state.share_done() == 1.0 and board.elapsed_seconds(state) == 12


def test_a_training_step_shows_step_rate_and_loss(board: Scoreboard, clock: Clock) -> None:
    board.take(StepStarted(step="mid"))
    board.take(NumbersReported(step="mid", numbers={"loss": 3.0}, at_step=10))
    clock.now_seconds += 5
    board.take(NumbersReported(step="mid", numbers={"loss": 0.25, "grad_norm": 2.0}, at_step=20))
    state = board.steps["mid"]
    assert board.line(state) == "step 20 of 40, 2 steps/s, loss 0.25"
    assert state.share_done() == 0.5


def test_a_failed_step_shows_the_first_line_of_why(board: Scoreboard) -> None:
    board.take(StepEnded(step="mid", outcome="failed", reason="the loss is nan\nand more"))
    assert board.line(board.steps["mid"]) == "the loss is nan"


@pytest.mark.parametrize(("seconds", "shown"), [(7.4, "0:07"), (247, "4:07"), (3723, "1:02:03")])
def test_times_are_shown_as_clocks_do(seconds: float, shown: str) -> None:
    assert clock_time(seconds) == shown


def test_a_step_that_waits_for_another_run_says_for_which(board: Scoreboard) -> None:
    out = io.StringIO()
    display = Display(Console(file=out, width=160), board)
    display.take(StepWaiting(step="mid", holder="attempt 2 of run tiny-1a2b3c4d", host="node-7"))
    assert out.getvalue().endswith("mid  waiting  0:00  waits for attempt 2 of run tiny-1a2b3c4d on node-7\n")
    board.take(StepStarted(step="mid"))
    assert "waits" not in board.line(board.steps["mid"])


def test_work_that_waits_for_machines_says_for_which_and_since_when(board: Scoreboard) -> None:
    out = io.StringIO()
    display = Display(Console(file=out, width=160), board)
    board.take(StepStarted(step="mid"))
    display.take(MachinesAwaited(step="mid", asked="8 ranks of 1 GPU", has="the cluster has 4 GPUs", at_seconds=0.0))
    since = time.strftime("%H:%M:%S", time.localtime(0))
    assert out.getvalue().endswith(f"waits since {since} for 8 ranks of 1 GPU; the cluster has 4 GPUs\n")
    display.take(MachinesAwaited(step="mid", asked=""))
    assert "waits" not in board.line(board.steps["mid"])


def test_a_step_that_counts_nothing_yet_says_what_it_is_busy_with(
    board: Scoreboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.screen.plain_lines.SECONDS_BETWEEN_LOOKS", 0.02)
    out = io.StringIO()
    display = Display(Console(file=out, width=160), board)
    state = board.steps["mid"]
    with display.watching():
        display.take(StepStarted(step="mid"))
        for doing in ("starting 2 ranks", "reading the model"):
            display.take(StepBusy(step="mid", doing=doing))
            deadline = time.monotonic() + 5
            while doing not in out.getvalue() and time.monotonic() < deadline:
                time.sleep(0.02)
    told = [line.partition("  running  ")[2] for line in out.getvalue().splitlines()]
    assert told == ["0:00", "0:00  starting 2 ranks", "0:00  reading the model"], "each is told once"
    board.take(NumbersReported(step="mid", numbers={"loss": 0.5}, at_step=10))
    assert board.line(state) == "step 10 of 40, loss 0.5"
    board.take(StepBusy(step="mid", doing="writing the model"))
    assert board.line(state) == "step 10 of 40, writing the model, loss 0.5"
    board.take(StepEnded(step="mid", outcome="committed"))
    assert board.line(state) == "loss 0.5"


def test_a_step_that_ends_early_says_what_it_holds(board: Scoreboard) -> None:
    board.take(StepStarted(step="pairs"))
    board.take(PhaseOpened(step="pairs", phase="fetch", num_parts=4, num_recorded=1))
    board.take(PartRecorded(step="pairs", phase="fetch", part="1", items=ItemBalance()))
    board.take(StepEnded(step="pairs", outcome="interrupted", reason="as asked"))
    assert board.line(board.steps["pairs"]) == "holds 2 of 4 parts of fetch"
    board.take(StepStarted(step="mid"))
    board.take(CheckpointCommitted(step="mid", at_step=20))
    board.take(NumbersReported(step="mid", numbers={"loss": 1.0}, at_step=25))
    board.take(StepEnded(step="mid", outcome="failed", reason="the loss is nan\nand more"))
    assert board.line(board.steps["mid"]) == "holds step 20 of 40, loss 1, the loss is nan"


def test_a_checkpoint_that_the_store_does_not_take_is_shown_until_one_is_committed(board: Scoreboard) -> None:
    out = io.StringIO()
    display = Display(Console(file=out, width=200), board)
    board.take(StepStarted(step="mid"))
    why = "rank 3: StoreUnavailableError: the store s3://b cannot be used now"
    display.take(CheckpointDelayed(step="mid", at_step=4000, why=why, at_seconds=0.0))
    since = time.strftime("%H:%M:%S", time.localtime(0))
    told = f"keeps the checkpoint at step 4,000 in memory since {since} and tries again to store it: {why}"
    assert out.getvalue().endswith(f"{told}\n") and told in board.line(board.steps["mid"])
    display.take(CheckpointCommitted(step="mid", at_step=4000))
    assert "in memory" not in board.line(board.steps["mid"])


def test_where_nobody_looks_a_plain_line_is_written_at_start_and_end(board: Scoreboard) -> None:
    out = io.StringIO()
    display = Display(Console(file=out, width=160), board)
    with display.watching():
        display.take(StepStarted(step="pairs"))
        display.take(PartProgress(step="pairs", phase="fetch", part="1", num_done=3))
        display.take(StepEnded(step="pairs", outcome="committed", items=ItemBalance(kept=3), seconds=61))
    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("pairs  running  0:00")
    assert lines[1].endswith("pairs  committed  1:01  3 kept")


def test_a_long_silence_is_broken_by_a_line(board: Scoreboard, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setattr("pipelines.screen.plain_lines.SECONDS_BETWEEN_LINES", 0.05)
    out = io.StringIO()
    display = Display(Console(file=out, width=160), board)
    with display.watching():
        display.take(StepStarted(step="pairs"))
        display.take(PhaseOpened(step="pairs", phase="fetch", num_parts=4, num_recorded=1))
        deadline = time.monotonic() + 5
        while "fetch 1/4 parts" not in out.getvalue() and time.monotonic() < deadline:
            time.sleep(0.02)
    assert "fetch 1/4 parts" in out.getvalue()


@pytest.mark.parametrize("width", [20, 200])
def test_a_terminal_shows_a_line_for_each_step_whatever_its_width(board: Scoreboard, width: int) -> None:
    out = io.StringIO()
    console = Console(file=out, width=width, height=30, force_terminal=True)
    display = Display(console, board)
    with display.watching():
        display.take(StepStarted(step="pairs"))
        display.take(PhaseOpened(step="pairs", phase="fetch", num_parts=4, num_recorded=1))
    assert "pairs" in out.getvalue() and "mid" in out.getvalue()


def test_foreign_text_loses_escapes_and_keeps_letters() -> None:
    assert clean("a\x1b[31mb\r\u202ec\tä\n") == "a�[31mb��c\tä\n"


def test_colour_is_not_forced_on_those_who_do_not_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert open_console().no_color


ESCAPES_OF_RICH = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@given(TEXTS)
@pytest.mark.parametrize("is_terminal", [True, False])
def test_nothing_that_is_printed_moves_a_cursor_or_hides_text(is_terminal: bool, text: str) -> None:
    """However it is printed: as a string, a `Text`, the cell of a table, its title, or a line of a run."""
    out = io.StringIO()
    console = SafeConsole(out)
    console._force_terminal = is_terminal
    table = Table("a", text, title=text, caption=text)
    table.add_row(text, Text(text, "bold"))
    with Progress(TextColumn("{task.description}"), console=console) as bar:
        bar.add_task(text)
        console.print(text, Text(text, "red"), table, Panel(text), {"a": text})
    Display(console, Scoreboard({"mid": 1}, Clock())).print_line(text)
    # What rich itself writes: styles and movements of the cursor, and on a terminal returns to the start of a line.
    shown = ESCAPES_OF_RICH.sub("", out.getvalue()).replace("\r", "")
    assert not UNSHOWN.search(shown) and "=hunter2" not in shown


@pytest.mark.parametrize("width", range(20, 60))
def test_a_credential_is_hidden_wherever_a_line_is_broken(width: int) -> None:
    """Between `?` and the name of a parameter, or inside of its value."""
    out = io.StringIO()
    console = SafeConsole(out)
    console._force_terminal, console.width = True, width
    url = "https://host.example/a/picture.jpg?token=hunter2hunter2hunter2hunter2hunter2hunter2hunter2hunter2"
    table = Table("a")
    table.add_row(url)
    console.print(url, Text(url, "red"), Panel(url), table, sep="\n")
    assert "hunter" not in out.getvalue()


def test_an_escape_that_rich_would_write_is_not_let_through_from_text() -> None:
    out = io.StringIO()
    console = SafeConsole(out)
    console._force_terminal = True
    console.print("\x1b[31mred\x1b[2J", Text("\x1b]8;;http://a/\x1b\\b"))
    assert "\x1b" not in out.getvalue()


def test_text_for_programs_is_written_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    write_text("a\tb\n")
    write_text("c\x1b[2J\n", stderr=True)
    assert capsys.readouterr() == ("a\tb\n", "c\N{REPLACEMENT CHARACTER}[2J\n")
