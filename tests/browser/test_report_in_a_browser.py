"""The report in a real browser, headless: charts are drawn, tables sort and filter, nothing is asked of the network.

Needs Chromium: AUDIT_WRAPPER_CHROMIUM names one, or chromium, chromium-browser or google-chrome is on PATH; else it is skipped.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from several_days import HOSTILE, several_days

from audit_wrapper import command

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_LIGHT, _DARK = "rgb(251, 251, 249)", "rgb(18, 22, 28)"


class Seen:
    """A page that is open, and all that it said and asked for."""

    def __init__(self, page: Page, file: Path) -> None:
        self.page = page
        self.said: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.goto(file.as_uri())
        page.wait_for_function("document.querySelectorAll('.chart .main-svg').length > 0")

    def column(self, table: str, name: str) -> list[str]:
        """What is shown of it, from top to bottom."""
        found: list[str] = self.page.evaluate(
            """([id, name]) => {
                const table = document.getElementById(id);
                const place = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent.trim() === name);
                return [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => row.cells[place].dataset.v
                    ?? row.cells[place].textContent.trim());
            }""",
            [table, name],
        )
        return found

    def sort(self, table: str, name: str) -> str | None:
        """Press the head; returns what it then says of the order."""
        head = self.page.locator(f"#{table} thead th", has_text=re.compile(rf"^\s*{name}\s*$"))
        head.locator("button").click()
        return head.get_attribute("aria-sort")

    def background(self) -> str:
        return str(self.page.evaluate("getComputedStyle(document.body).backgroundColor"))

    def overflow(self) -> int:
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@pytest.fixture(scope="module")
def chromium() -> str:
    """Where it is; without one nothing else is made."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    given = os.environ.get("AUDIT_WRAPPER_CHROMIUM")
    found = given or next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no Chromium: set AUDIT_WRAPPER_CHROMIUM, or put one of {', '.join(_NAMES)} on PATH")
    return found


@pytest.fixture(scope="module")
def file(
    chromium: str, postgres_server: Any, bot_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """The page of two days, made by the command."""
    folder = tmp_path_factory.mktemp("report")
    name = postgres_server.create(bot_template)
    dsn = postgres_server.address_of(name)
    asyncio.run(several_days(dsn, folder / "journal", days=2))
    made = folder / "report.html"
    assert command.main(["report", "--dsn", dsn, "-o", str(made)]) == 0
    yield made
    postgres_server.drop(name)


@pytest.fixture(scope="module")
def browser(chromium: str, file: Path) -> Iterator[Browser]:
    """After the file: while the browser's driver is there, nothing else on this thread can run a loop."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=list(_QUIET))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def opened(browser: Browser, file: Path) -> Seen:
    """The page, opened once: that takes a second or more, since the library of the charts is large."""
    return Seen(browser.new_page(), file)


@pytest.fixture
def seen(opened: Seen, file: Path) -> Iterator[Seen]:
    """The page as on a desk. By the end of the test it must have said nothing, and asked for nothing but itself."""
    opened.page.set_viewport_size({"width": 1280, "height": 900})
    opened.page.emulate_media(media="null", color_scheme="light")
    yield opened
    assert opened.said == []
    assert opened.asked == [file.as_uri()]


def test_the_charts_are_drawn(seen: Seen) -> None:
    charts = seen.page.locator(".chart")
    # for each of two accounts equity, waterfall and results; time without a stop; latency of two exchanges and a third
    assert charts.count() == 2 * 3 + 1 + 3
    drawn = charts.evaluate_all(
        """(all) => all.map((one) => {
            const box = one.querySelector(".main-svg").getBoundingClientRect();
            const marks = one.querySelectorAll(".points path, .lines path, .fills path");
            const sized = [...marks].filter((mark) => mark.getBBox().width + mark.getBBox().height > 1);
            return {width: box.width, height: box.height, marks: sized.length};
        })"""
    )
    for one in drawn:
        assert one["width"] > 300, drawn
        assert one["height"] > 100, drawn
        assert one["marks"] > 0, drawn
    hatched = seen.page.evaluate("document.querySelectorAll('.chart pattern').length")
    assert hatched > 0, "a gap is told by more than its colour"


def test_hostile_texts_do_nothing(seen: Seen) -> None:
    assert seen.page.title().startswith("Audit report")
    assert seen.page.locator("main img").count() == 0
    assert HOSTILE in seen.column("t-positions", "position")


def test_numbers_sort_as_numbers_and_what_is_not_known_is_last(seen: Seen) -> None:
    assert seen.sort("t-positions", "net result") == "descending"
    down = seen.column("t-positions", "net result")
    known = [Decimal(text) for text in down if text]
    assert known == sorted(known, reverse=True)
    assert down[: len(known)] == [text for text in down if text]
    assert "" in down, "a position is open"
    assert {number > 0 for number in known} == {True, False}
    assert seen.sort("t-positions", "net result") == "ascending"
    up = seen.column("t-positions", "net result")
    assert [Decimal(text) for text in up if text] == sorted(known)
    assert up[-1] == ""
    assert seen.sort("t-positions", "closed") == "ascending"
    times = [text for text in seen.column("t-positions", "closed") if text]
    assert times == sorted(times)
    assert seen.page.locator("#t-positions th[aria-sort]").count() == 1, "one column is sorted by, and says so"


def test_numbers_of_any_length_sort_to_the_last_digit(seen: Seen) -> None:
    numbers = [
        "0.000000004322",
        "123456789012345678.1",
        "123456789012345678.2",
        "-123456789012345678.15",
        "9",
        "10",
        "",
        "-0.5",
    ]
    seen.page.evaluate(
        """(numbers) => {
            const table = document.getElementById("t-fills");
            const place = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent.trim() === "quantity");
            [...table.tBodies[0].rows].forEach((row, n) => n < numbers.length
                ? (row.cells[place].dataset.v = numbers[n]) : row.remove());
        }""",
        numbers,
    )
    assert seen.sort("t-fills", "quantity") == "descending"
    assert seen.sort("t-fills", "quantity") == "ascending"
    expected = [*sorted((text for text in numbers if text), key=Decimal), ""]
    assert seen.column("t-fills", "quantity") == expected


def test_rows_are_filtered_by_all_words(seen: Seen) -> None:
    statuses, exchanges = seen.column("t-orders", "status"), seen.column("t-orders", "exchange")
    wanted = sum(pair == ("REJECTED", "bybit") for pair in zip(statuses, exchanges, strict=True))
    field = seen.page.get_by_label("Filter orders")
    field.fill("Rejected BYBIT")
    shown = list(zip(seen.column("t-orders", "status"), seen.column("t-orders", "exchange"), strict=True))
    assert shown == [("REJECTED", "bybit")] * wanted
    assert wanted > 0
    told = seen.page.locator(".filter", has=field).locator("output")
    assert told.text_content() == f"{wanted} of {len(statuses)} rows"
    field.fill("")
    assert seen.column("t-orders", "status") == statuses
    assert told.text_content() == ""


def test_it_is_used_with_the_keyboard_alone(seen: Seen) -> None:
    seen.page.locator("#t-orders thead button").first.focus()
    seen.page.keyboard.press("Enter")
    assert seen.page.locator("#t-orders th[aria-sort]").count() == 1
    seen.page.locator("details.how summary").first.focus()
    seen.page.keyboard.press("Enter")
    assert seen.page.locator("details.how[open] p").first.is_visible()


def test_dark_and_light(seen: Seen) -> None:
    def looks() -> tuple[str, str]:
        # what was switched is told to the page before the next frame is drawn
        seen.page.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
        line = seen.page.evaluate("document.querySelector('.chart .scatterlayer .lines path').style.stroke")
        return seen.background(), str(line)

    day = looks()
    seen.page.emulate_media(color_scheme="dark")
    night = looks()
    assert (day[0], night[0]) == (_LIGHT, _DARK)
    assert day[1] != night[1], "charts too"
    seen.page.get_by_text("Light", exact=True).click()
    assert looks() == day
    seen.page.emulate_media(color_scheme="light")
    seen.page.get_by_text("Dark", exact=True).click()
    assert looks() == night
    seen.page.get_by_text("Auto", exact=True).click()
    assert looks() == day


def test_every_text_can_be_read_on_its_ground(seen: Seen) -> None:
    for scheme in ("light", "dark"):
        seen.page.emulate_media(color_scheme=scheme)
        weak = seen.page.evaluate(
            """() => {
                const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
                const light = (color) => {
                    const parts = numbers(color).slice(0, 3).map((v) => v / 255)
                        .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
                    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
                };
                const ground = (element) => {
                    for (let one = element; one; one = one.parentElement) {
                        const color = getComputedStyle(one).backgroundColor;
                        if (numbers(color)[3] !== 0) return color;
                    }
                    return "rgb(255, 255, 255)";
                };
                const weak = new Set();
                for (const element of document.querySelectorAll("h1, h2, p, th, td, dt, dd, a, label, code, summary, strong")) {
                    const [a, b] = [light(getComputedStyle(element).color), light(ground(element))].sort((x, y) => y - x);
                    const contrast = (a + 0.05) / (b + 0.05);
                    if (contrast < 4.5) weak.add(`${element.tagName}.${element.className}: ${contrast.toFixed(2)}`);
                }
                return [...weak];
            }"""
        )
        assert weak == [], scheme


def test_on_a_phone(browser: Browser, file: Path) -> None:
    phone = {"width": 360, "height": 740}
    seen = Seen(browser.new_page(viewport=phone, device_scale_factor=2, is_mobile=True, has_touch=True), file)
    assert seen.overflow() == 0
    seen.page.locator("details.how summary").nth(3).tap()
    shown = seen.page.locator("details.how[open] p").first
    assert shown.is_visible(), "what a figure is can be read without a mouse"
    box = shown.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360
    assert seen.overflow() == 0
    charts = seen.page.locator(".chart .main-svg").evaluate_all(
        "(all) => all.map((one) => one.getBoundingClientRect().right)"
    )
    assert max(charts) <= 360
    assert seen.said == []


def test_it_prints(seen: Seen, tmp_path: Path) -> None:
    seen.page.emulate_media(color_scheme="dark")
    pdf = seen.page.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True, print_background=True)
    sizes = set(re.findall(rb"/MediaBox ?\[([^\]]*)\]", pdf))
    assert len(sizes) == 2, "A4, and A4 sideways for the wide tables"
    seen.page.emulate_media(media="print")
    seen.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert seen.background() == "rgb(255, 255, 255)", "paper is white, whatever the theme"
    widths = seen.page.locator(".chart .main-svg").evaluate_all(
        "(all) => all.map((one) => one.getBoundingClientRect().width)"
    )
    assert set(widths) == {650}
    assert seen.page.locator("nav").is_hidden()
    assert seen.page.locator("#how table").is_visible(), (
        "paper has no tooltips: how each figure is computed stands at the end"
    )
    clipped = seen.page.evaluate(
        "[...document.querySelectorAll('.wide')].filter((one) => getComputedStyle(one).overflowY !== 'visible').length"
    )
    assert clipped == 0, "every row is printed"
    # what is wider than the paper would make the whole print smaller
    for width, tables in ((1047, ".sideways table"), (695, ":not(.sideways) > table")):
        seen.page.set_viewport_size({"width": width, "height": 1000})
        found = seen.page.locator(tables).evaluate_all("(all) => all.map((one) => one.getBoundingClientRect().width)")
        assert len(found) > 3
        assert max(found) <= width, tables
    seen.page.evaluate("dispatchEvent(new Event('afterprint'))")
