"""A person at VS Code: what one sees and does, told in the words of the editor."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import (
    ConsoleMessage,
    Frame,
    FrameLocator,
    Locator,
    Page,
    TimeoutError,
    expect,
)

from patience import PATIENCE

ARTEFACTS = Path(__file__).parents[2] / "artefacts" / "vscode"
"""Screenshots of the latest run, one for each step."""

_EDITOR_S_OWN = re.compile(r"/static/out/vs/|/(?:vsda|manifest|favicon)", re.IGNORECASE)
"""Where the editor complains of itself, without a network above all."""


class Workbench:
    """One window of the editor."""

    def __init__(self, page: Page, story: str, machine: Path) -> None:
        self.page = page
        self._machine = machine
        self.errors: list[str] = []
        """What the console called an error, in the order it came."""
        self._story = story
        self._steps = 0
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def picture(self, name: str) -> Path:
        """Keep a screenshot of this step."""
        self._steps += 1
        path = ARTEFACTS / self._story / f"{self._steps:02}-{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=path)
        return path

    def set(self, name: str, value: object) -> None:
        """Change a setting of the machine, as another program would."""
        settings = json.loads(self._machine.read_bytes()) | {name: value}
        self._machine.write_text(json.dumps(settings), encoding="utf-8")

    def wait_until(self, holds: Callable[[], object], seconds: float = PATIENCE) -> None:
        """Wait for what no page shows."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"the condition did not come to hold in {seconds} s"
            self.page.wait_for_timeout(20)

    def open(self, name: str) -> None:
        """Open a file of the folder by its name."""
        self.page.keyboard.press("Control+p")
        self.page.locator(".quick-input-widget input").fill(name)
        row = self.page.locator(".quick-input-list .monaco-list-row", has_text=name).first
        row.wait_for()
        self.page.keyboard.press("Enter")
        self.page.locator(f".tab.active[data-resource-name='{name}']").wait_for()
        self.page.locator(".monaco-editor .view-line").first.wait_for()

    def command(self, title: str) -> None:
        """Run a command by its title."""
        box = self.page.locator(".quick-input-widget input")
        row = self.page.locator(".quick-input-list .monaco-list-row", has_text=title).first
        # A palette lists what was known when it opened: an extension's commands may come later.
        for _ in range(20):
            self.page.keyboard.press("F1")
            box.fill(f">{title}")
            try:
                row.wait_for(timeout=5_000)
                break
            except TimeoutError:
                self.page.keyboard.press("Escape")
        row.wait_for()
        self.page.keyboard.press("Enter")
        row.wait_for(state="hidden")

    def choose(self, label: str) -> None:
        """Choose from the list that is open."""
        row = self.page.locator(".quick-input-list .monaco-list-row", has_text=label)
        row.click()
        row.wait_for(state="hidden")

    def answer(self, text: str, *, refused: str = "") -> None:
        """Type into the box that is open, and send it; or see it refused."""
        box = self.page.locator(".quick-input-widget input[type='text']:visible")
        box.wait_for()
        box.fill(text)
        if refused:
            expect(self.page.locator(".quick-input-message")).to_contain_text(refused)
            return
        prompt = self.page.locator(".quick-input-message").inner_text()
        self.page.keyboard.press("Enter")
        expect(self.page.locator(".quick-input-message:visible", has_text=prompt)).to_have_count(0)

    def go_to_line(self, line: int, column: int = 1) -> None:
        """Put the cursor on a line and column, both counted from 1."""
        self.page.keyboard.press("Control+g")
        self.page.locator(".quick-input-widget input").fill(f":{line}:{column}")
        self.page.keyboard.press("Enter")
        self.page.locator(".quick-input-widget").wait_for(state="hidden")

    def status(self, text: str) -> Locator:
        """An entry of the status bar."""
        return self.page.locator(".statusbar-item", has_text=text)

    def view(self, title: str) -> None:
        """Show a view container of the activity bar."""
        self.page.locator(f".activitybar .action-item a[aria-label^='{title}']").click()

    @property
    def tree(self) -> Locator:
        """The rows of the tree in the side bar."""
        return self.page.locator(".sidebar .monaco-list-row")

    def webview(self) -> Frame:
        """The page of the webview that is open."""
        self.page.locator("iframe.webview.ready").wait_for()
        outer = self.page.locator("iframe.webview.ready").element_handle().content_frame()
        assert outer is not None
        inner = outer.wait_for_selector("iframe#active-frame").content_frame()
        assert inner is not None
        inner.wait_for_selector("main section")
        return inner

    def preview(self) -> FrameLocator:
        """The Markdown that is shown as a page."""
        webview = self.page.frame_locator("iframe.webview.ready[src*='markdown-language-features']")
        return webview.frame_locator("iframe#active-frame")

    @property
    def language_status(self) -> Locator:
        """What the braces beside the language say, which are opened for it."""
        shown = self.page.locator(".hover-language-status")
        if not shown.is_visible():
            self.page.locator(".statusbar-item[id='status.languageStatus']").click()
            shown.first.wait_for()
        return shown.first

    def close_panel(self) -> None:
        """Hide the panel below the editor."""
        self.page.keyboard.press("Control+j")
        self.page.locator(".markers-panel").wait_for(state="hidden")

    @property
    def squiggles(self) -> Locator:
        """What is underlined in the open files."""
        return self.page.locator(
            ".monaco-editor :is(.squiggly-warning, .squiggly-info, .squiggly-error)"
        )

    def problems(self) -> Locator:
        """The rows of the Problems panel, which is shown for it."""
        if not self.page.locator(".markers-panel").is_visible():
            self.page.keyboard.press("Control+Shift+m")
            self.page.locator(".markers-panel").wait_for()
        return self.page.locator(".markers-panel .monaco-list-row")

    def hover(self) -> Locator:
        """The hover at the cursor, which is shown for it."""
        self.command("Show or Focus Hover")
        hover = self.page.locator(".monaco-hover:not(.hidden) .hover-row").first
        hover.wait_for()
        return self.page.locator(".monaco-hover:not(.hidden)").first

    def quick_fixes(self) -> Locator:
        """The menu of fixes at the cursor, which is shown for it."""
        self.page.keyboard.press("Control+.")
        rows = self.page.locator(".action-widget .monaco-list-row.action")
        rows.first.wait_for()
        # A fresh menu lies under a shield until the pointer moves.
        box = self.page.locator(".action-widget").first.bounding_box()
        assert box is not None
        self.page.mouse.move(box["x"] + 20, box["y"] + 20)
        self.page.mouse.move(box["x"] + 40, box["y"] + 25)
        self.page.locator(".context-view-pointerBlock").wait_for(state="detached")
        return rows

    @property
    def notifications(self) -> Locator:
        """The messages that are shown at the lower right."""
        return self.page.locator(".notifications-toasts .notification-list-item")

    def menu(self, row: Locator, entry: str, shows: Locator | None = None) -> None:
        """Choose from the context menu of a row, again until it `shows` what it is to show.

        A row that is drawn anew under its menu is nothing to choose for: the editor then calls the
        command for no row.
        """
        deadline = time.monotonic() + PATIENCE
        self._choose(row, entry)
        while shows is not None:
            try:
                shows.first.wait_for(timeout=20_000)
                return
            except TimeoutError:
                assert time.monotonic() < deadline, f"{entry} shows nothing"
                self._choose(row, entry)

    def _choose(self, row: Locator, entry: str) -> None:
        # The tip of the row that the pointer rests on may lie over this one.
        self.page.mouse.move(640, 4)
        self.page.locator(".workbench-hover").wait_for(state="hidden")
        row.click(button="right")
        chosen = self.page.locator(".monaco-menu .action-item", has_text=entry)
        chosen.first.wait_for()
        # A menu that has just opened takes a release of the button for a choice of nothing.
        chosen.first.hover()
        chosen.first.click()
        chosen.first.wait_for(state="detached")

    def line(self, text: str) -> Locator:
        """The drawn line that holds a text, with what stands at its end."""
        return self.page.locator(
            ".monaco-editor .view-line", has_text=re.compile(text.replace(" ", r"\s"))
        )

    @property
    def terminal(self) -> Locator:
        """What the terminal shows."""
        return self.page.locator(".terminal-wrapper.active .xterm-rows")

    def accept_file_name(self, ending: str) -> Path:
        """Take the name that the dialog for saving proposes; the file's path."""
        box = self.page.locator(".quick-input-widget input[type='text']:visible")
        expect(box).to_have_value(re.compile(re.escape(ending) + "$"))
        path = Path(box.input_value())
        self.page.keyboard.press("Enter")
        self.page.locator(".quick-input-widget").wait_for(state="hidden")
        return path

    def save(self) -> None:
        """Save the file, and wait until it is."""
        self.page.keyboard.press("Control+s")
        self.page.locator(".tab.active.dirty").wait_for(state="detached")

    def _console(self, message: ConsoleMessage) -> None:
        if message.type != "error":
            return
        place = message.location.get("url", "")
        if "gradtracer" in message.text.lower() or not _EDITOR_S_OWN.search(place):
            self.errors.append(f"{message.text} {place}")
