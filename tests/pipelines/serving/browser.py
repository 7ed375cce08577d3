"""A headless Chromium that tests drive by the DevTools protocol: a page, its scripts, its files, its console."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
"""The browser of this machine, if it has one."""
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-dev-shm-usage", "--remote-debugging-port=0", "--window-size=900,900",
)  # fmt: skip
START_SECONDS = 90


class Page:
    """One tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.troubles: list[str] = []
        """What the page wrote to its console as an error, and exceptions that nothing caught."""
        self.requests: list[str] = []
        """Addresses that the page asked for."""

    async def send(self, method: str, **params: Any) -> Any:
        """Carry out a method of the DevTools protocol, and read the events until its result."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            message = json.loads((await self._socket.receive(timeout=60)).data)
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self._note(message)

    async def value(self, script: str) -> Any:
        """The value of an expression in the page."""
        result = await self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, script: str, seconds: float = 60) -> None:
        """Wait until an expression is true."""
        ends = time.monotonic() + seconds
        while not await self.value(script):
            assert time.monotonic() < ends, f"not in time: {script}; {await self.value('document.body.innerText')}"
            await asyncio.sleep(0.05)

    async def choose(self, selector: str, *files: Path) -> None:
        """Choose files in an input, as a person does."""
        root = (await self.send("DOM.getDocument"))["root"]["nodeId"]
        node = (await self.send("DOM.querySelector", nodeId=root, selector=selector))["nodeId"]
        await self.send("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])

    async def type_line(self, text: str) -> None:
        """Type a text where the cursor is, and press Enter."""
        await self.send("Input.insertText", text=text)
        for kind in ("keyDown", "keyUp"):
            key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
            await self.send("Input.dispatchKeyEvent", type=kind, **key)

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            self.troubles.append(str(params["exceptionDetails"]))
        elif message.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.troubles.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif message.get("method") == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])


@asynccontextmanager
async def opened_page(address: str, folder: Path) -> AsyncIterator[Page]:
    """A browser with one page; `folder` is for its profile."""
    assert CHROMIUM is not None
    browser = subprocess.Popen(
        [CHROMIUM, *FLAGS, f"--user-data-dir={folder}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port = await _debugging_port(folder / "DevToolsActivePort")
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as listed:
                (tab,) = [one for one in await listed.json() if one["type"] == "page"]
            async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                page = Page(socket)
                for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
                    await page.send(f"{domain}.enable")
                await page.send("Page.navigate", url=address)
                await page.until("document.readyState === 'complete'")
                yield page
    finally:
        browser.terminate()
        browser.wait(30)


async def _debugging_port(file: Path) -> int:
    ends = time.monotonic() + START_SECONDS
    while not (file.is_file() and file.read_text().strip()):
        assert time.monotonic() < ends, "Chromium did not start"
        await asyncio.sleep(0.05)
    return int(file.read_text().split()[0])
