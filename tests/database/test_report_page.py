"""What stands on the page where something is not known, or a text is made to mislead."""

from __future__ import annotations

import asyncio
import html
import re
from pathlib import Path

import pytest
from positions import Fill, Positions

from audit_wrapper.command import main
from audit_wrapper.records import Purpose
from audit_wrapper.report import words
from audit_wrapper.store.postgres import PostgresStore

DASH = "\N{EN DASH}"
TURNED = "MNT\N{RIGHT-TO-LEFT OVERRIDE}TDSU"


async def made(dsn: str, folder: Path, *options: str) -> str:
    file = folder / "report.html"
    assert await asyncio.to_thread(main, ["report", "--dsn", dsn, "-o", str(file), *options]) == 0
    return file.read_text(encoding="utf-8").partition("<main>")[2].partition("<script>")[0]


def cells(page: str, beginning: str) -> list[str]:
    """The texts of the row that begins so."""
    (row,) = re.findall(rf"<tr[^>]*><th[^>]*>{beginning}.*?</tr>", page, re.DOTALL)
    found = re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL)
    return [html.unescape(re.sub(r"<p>.*?</p>|<[^>]+>", "", cell)).strip() for cell in found]


def ledger(page: str) -> list[list[str]]:
    (table,) = re.findall(r'<table class="ledger">(.*?)</table>', page, re.DOTALL)
    rows = re.findall(r"<th[^>]*>(.*?)</th><td[^>]*>(.*?)</td>", table, re.DOTALL)
    return [[re.sub(r"<p>.*?</p>|<[^>]+>", "", cell).strip() for cell in row] for row in rows]


@pytest.fixture
async def three(store: PostgresStore) -> None:
    """Of the first position both prices were meant, of the second that of the entry, of the third none."""
    bot = Positions("bybit")
    bot.order(10, "buy", "10", Fill(11, "1.49", "10"), position="1", type="limit", limit="1.50")
    bot.order(20, "sell", "10", Fill(21, "1.68", "10"), position="1", type="limit", limit="1.70", purpose=Purpose.EXIT)
    bot.order(30, "buy", "10", Fill(31, "2.01", "10"), position="2", type="limit", limit="2.00")
    bot.order(40, "sell", "10", Fill(41, "2.21", "10"), position="2", purpose=Purpose.EXIT)
    bot.order(50, "buy", "10", Fill(51, "3", "10"), position="3")
    bot.order(60, "sell", "10", Fill(61, "4", "10"), position="3", purpose=Purpose.EXIT)
    await bot.deliver(store)


async def test_slippage_that_is_not_known_is_no_zero(three: None, audit_dsn: str, tmp_path: Path) -> None:
    page = await made(audit_dsn, tmp_path)
    # intended, slippage, fees, net result
    assert cells(page, "1<")[8:12] == ["+2", "0.1", "0", "+1.9"]
    assert cells(page, "2<")[8:12] == ["+2.1 entry only", "0.1 entry only", "0", "+2"]
    assert cells(page, "3<")[8:12] == [DASH, DASH, "0", "+10"]
    part = "of 1 of 3 positions, in part of 1 more"
    assert cells(page, "sum of")[:5] == [
        "sum of the 3 closed positions whose result is known, USDT",
        f"+14.1 {part}",
        f"0.2 {part}",
        "0",
        "+13.9",
    ]
    assert ledger(page) == [
        [f"Intended result {part}", "+14.1"],
        [f"Slippage and spread {part}", "-0.2"],
        ["Gross result", "+13.9"],
        ["Fees", "0.0"],
        ["Net result", "+13.9"],
    ]


async def test_where_no_price_was_meant_at_all(three: None, audit_dsn: str, tmp_path: Path) -> None:
    page = await made(audit_dsn, tmp_path, "--position", "3")
    assert ledger(page) == [
        ["Intended result", DASH],
        ["Slippage and spread", DASH],
        ["Gross result", "+10"],
        ["Fees", "0"],
        ["Net result", "+10"],
    ]
    assert cells(page, "sum of")[1:5] == [DASH, DASH, "0", "+10"]
    assert "gross result" in page.partition('id="figure-2"')[2].partition("</script>")[0], "the waterfall begins there"


async def test_texts_that_turn_the_direction_are_shown_by_their_numbers(
    store: PostgresStore, audit_dsn: str, tmp_path: Path
) -> None:
    bot = Positions("bybit")
    bot.order(10, "buy", "10", Fill(11, "1", "10"), position=f"{TURNED}<b>")
    bot.order(20, "sell", "10", Fill(21, "2", "10"), position=f"{TURNED}<b>")
    bot.refused(30, "1", "margin \N{RIGHT-TO-LEFT ISOLATE}is \x1b[31m & \N{ZERO WIDTH SPACE}<i>short")
    await bot.deliver(store)
    page = await made(audit_dsn, tmp_path)
    assert not [one for one in page if one not in "\n\t" and words.harmless(one) != one]
    assert "MNT[U+202E]TDSU&lt;b&gt;" in page
    assert "margin [U+2067]is [U+001B][31m &amp; [U+200B]&lt;i&gt;short" in page
    assert "MNT[U+202E]TDSU\\u0026lt;b" in page.replace("MNT[U+2026", ""), "in the charts too"


def test_what_is_harmless_stays() -> None:
    for text in (
        "MNT/USDT:USDT",
        "Guthaben f\u00fcr 2 \u20ac",
        "\u4f59\u989d\u4e0d\u8db3",
        "two\nlines\tand a tab",
        "",
    ):
        assert words.harmless(text) == text
    assert words.harmless("\ud800\x00\u2028") == "[U+D800][U+0000][U+2028]"
