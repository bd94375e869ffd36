"""The picture in docs/: it stands alone, can be read by day and by night, and in a browser its words stay where they belong."""

from __future__ import annotations

import itertools
import re
import shutil
from xml.etree import ElementTree

import pytest
from docs_pages import page

SVG = "{http://www.w3.org/2000/svg}"


def test_the_picture_stands_alone_and_says_what_it_shows() -> None:
    text = page("how-it-works.svg")
    picture = ElementTree.fromstring(text)
    assert [len(picture.findtext(f"{SVG}{name}") or "") > 10 for name in ("title", "desc")] == [True, True]
    assert not re.findall(r"<script|<image|href=|url\((?!#)|@import|https?://(?!www\.w3\.org)", text)


def luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_picture_can_be_read_by_day_and_by_night() -> None:
    """Contrast as WCAG AA wants it: 4.5 for text, 3 for lines."""
    schemes = re.findall(r"svg \{ (--[^}]+) \}", page("how-it-works.svg"))
    assert len(schemes) == 2
    for scheme in schemes:
        color = dict(re.findall(r"--(\w+): (#\w{6})", scheme))
        words = [(front, back, 4.5) for front in ("ink", "soft") for back in ("ground", "box", "ours")]
        lines = [("edge", "ground", 3.0), ("line", "ground", 3.0)]
        for front, back, least in words + lines:
            dark, light = sorted((luminance(color[front]), luminance(color[back])))
            assert (light + 0.05) / (dark + 0.05) >= least, (front, back, scheme)


def test_the_words_of_the_picture_stay_in_it() -> None:
    """In a real browser, as an image: no word leaves the picture, and none lies over another."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium is not installed")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=flags)
        opened = browser.new_page(viewport={"width": 960, "height": 600})
        opened.set_content(f"<body style='margin:0'>{page('how-it-works.svg')}</body>")
        words = opened.evaluate(
            "[...document.querySelectorAll('svg > text, svg > g > text')].map(t => {"
            " const b = t.getBBox(); return [t.textContent, b.x, b.y, b.x + b.width, b.y + b.height] })"
        )
        browser.close()
    assert len(words) > 20
    for word, left, top, right, bottom in words:
        assert 0 <= left < right <= 960, word
        assert 0 <= top < bottom <= 600, word
    for one, other in itertools.combinations(words, 2):
        apart = one[3] <= other[1] or other[3] <= one[1] or one[4] <= other[2] + 3 or other[4] <= one[2] + 3
        assert apart, (one, other)
