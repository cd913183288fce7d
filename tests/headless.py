"""A headless Chromium for tests, driven through choreographer; nothing is downloaded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

_Answer = TypeVar("_Answer")


class Tab:
    """One page in a browser.

    Attributes:
        complaints: what the console said of errors, and exceptions that nothing caught.
    """

    def __init__(self, tab: Any) -> None:
        self._tab = tab
        self.complaints: list[str] = []

    async def send(self, command: str, **params: Any) -> dict[str, Any]:
        """Answer of the browser to a command of its DevTools protocol."""
        answer = await self._tab.send_command(command, params=params)
        assert "result" in answer, answer
        return answer["result"]

    async def run(self, script: str) -> Any:
        """Value of an expression in the page, awaited if it is a promise."""
        answer = await self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def open(self, address: str, *, width: int = 1280, scheme: str = "light") -> None:
        """Go to a page of a width, and wait until it is loaded."""
        for domain in ("Runtime", "Page", "Log"):
            await self.send(f"{domain}.enable")

        async def complain(message: dict[str, Any]) -> None:
            told = message["params"]
            if told.get("type", "error") == "error" and told.get("entry", told).get("level") != "info":
                self.complaints.append(str(told)[:400])

        for event in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
            self._tab.subscribe(event, complain)
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        await self.send("Emulation.setDeviceMetricsOverride", **metrics)
        dark = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.send("Emulation.setEmulatedMedia", features=dark)
        await self.send("Page.navigate", url=address)
        await self.until("document.readyState === 'complete'")

    async def until(self, condition: str, *, seconds: float = 60.0) -> None:
        """Wait until an expression holds in the page."""
        for _ in range(int(seconds / 0.1)):
            if await self.run(condition):
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"{condition} did not come true; console: {self.complaints}")


def browse(visit: Callable[[Tab], Awaitable[_Answer]]) -> _Answer:
    """What a visit to a fresh tab gives; the test is skipped where there is no Chromium."""
    from choreographer import Browser
    from choreographer.errors import ChromeNotFoundError

    async def session() -> _Answer:
        async with Browser(headless=True) as browser:
            return await visit(Tab(await browser.create_tab("about:blank")))

    try:
        return asyncio.run(session())
    except ChromeNotFoundError as error:
        pytest.skip(f"no Chromium: {error}")
