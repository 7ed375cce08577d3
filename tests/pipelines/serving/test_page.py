"""The page in a real browser: a picture, a question, a streamed answer, a stop, an error; text is never markup."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from PIL import Image

from tests.pipelines.serving.browser import CHROMIUM, Page, opened_page
from tests.pipelines.serving.conftest import Loaded
from tests.pipelines.serving.served_models import ServedHere, data_uri, served_here, until
from tests.worlds.colour_world import COLOURS

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
ANSWERS = "[...document.querySelectorAll('.assistant')].map((turn) => turn.textContent)"
IDLE = "!document.getElementById('send').disabled"


async def asked(page: Page, text: str, number: int) -> str:
    """The answer to a question that is typed, the one of this number."""
    await page.value("document.getElementById('question').focus()")
    await page.type_line(text)
    await page.until(f"{ANSWERS}.length === {number} && {IDLE}")
    answer: str = (await page.value(ANSWERS))[-1]
    return answer


def test_a_picture_is_asked_about(colours: Loaded, tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.png" for name in COLOURS}
    for name, file in files.items():
        Image.new("RGB", (96, 64), COLOURS[name]).save(file)

    async def visit(server: ServedHere) -> None:
        async with opened_page(server.address, tmp_path / "profile") as page:
            await page.until("document.title === 'tiny'")
            await page.choose("#files", files["green"])
            await page.until("document.querySelectorAll('#pictures img').length === 1")
            assert await asked(page, "What colour is it?", 1) == "green"
            assert await page.value("document.querySelectorAll('.user .thumbs img').length") == 1
            assert "tokens read" in await page.value("document.getElementById('status').textContent")
            await asked(page, "How is it turned?", 2)
            assert await page.value("messages.length") == 4, "the follow-up was asked after the first answer"
            await page.value("document.getElementById('clear').click()")
            await page.value(
                f"fetch({json.dumps(data_uri(COLOURS['blue']))}).catch(() => 'data: is not allowed to be fetched')"
            )
            dropped = f"""(() => {{
                const bytes = Uint8Array.from(atob({json.dumps(data_uri(COLOURS["blue"]).partition(",")[2])}),
                                              (letter) => letter.charCodeAt(0));
                const files = new DataTransfer();
                files.items.add(new File([bytes], "blue.png", {{ type: "image/png" }}));
                dispatchEvent(new DragEvent("drop", {{ dataTransfer: files, bubbles: true, cancelable: true }}));
            }})()"""
            page.troubles.clear()  # the fetch above is one
            await page.value(dropped)
            await page.until("document.querySelectorAll('#pictures img').length === 1")
            assert await asked(page, "What colour is it?", 1) == "blue"
            assert page.troubles == []
            assert {request.partition("//")[2].partition("/")[0] for request in page.requests if "://" in request} == {
                server.address.partition("//")[2]
            }

    with served_here(*colours) as server:
        asyncio.run(visit(server))


def test_a_long_answer_is_shown_as_it_comes_and_can_be_stopped(talker: Loaded, tmp_path: Path) -> None:
    async def visit(server: ServedHere) -> None:
        async with opened_page(server.address, tmp_path / "profile") as page:
            await page.until("document.title === 'tiny'")
            await page.value("document.getElementById('question').focus()")
            await page.type_line("Say something long.")
            await page.until(f"{ANSWERS}.length === 1 && {ANSWERS}[0].length > 20")
            assert not await page.value(IDLE)
            await page.value("document.getElementById('stop').click()")
            await page.until(IDLE)
            assert "Stopped" in await page.value("document.getElementById('status').textContent")
            assert await page.value("messages.length") == 0
            until(lambda: server.session.served.engine.num_sequences == 0)
            await page.value("document.getElementById('length').value = 1000000")
            assert "max_tokens 1,000,000: an answer has at most 3,000" in await asked(page, "Again?", 2)
            assert await page.value("document.querySelectorAll('.error').length") == 1
            assert await page.value("document.getElementById('question').value") == "Again?"

    with served_here(*talker) as server:
        asyncio.run(visit(server))


def test_what_a_model_or_a_person_writes_is_text(talker: Loaded, tmp_path: Path) -> None:
    """A stream that holds markup, given to the page by the function that reads streams."""
    markup = "<img src=x onerror=alert(1)><script>alert(2)</script>"

    async def visit(server: ServedHere) -> None:
        async with opened_page(server.address, tmp_path / "profile") as page:
            await page.until("document.title === 'tiny'")
            chunk = {"choices": [{"index": 0, "delta": {"content": markup}, "finish_reason": "stop"}]}
            stream = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
            await page.value(f"window.fetch = async () => new Response({json.dumps(stream)}); 0")
            assert await asked(page, markup, 1) == markup
            assert await page.value("document.querySelectorAll('main img, main script').length") == 0
            assert page.troubles == []

    with served_here(*talker) as server:
        asyncio.run(visit(server))
