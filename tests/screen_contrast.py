"""How readable the text on a page is, measured on the pixels of two screenshots: with its text, and without."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

SHARP = 2
"""Pixels a point; with one, strokes are thinner than pixels, which are then paler than the text's colour."""

WITHOUT_TEXT = """:is(#before#all#others, *, *::before, *::after) {
    color: transparent !important; -webkit-text-fill-color: transparent !important; text-shadow: none !important;
}
:is(#before#all#others, text, tspan) { fill: transparent !important; stroke: transparent !important; }"""
STILL = "*, *::before, *::after { transition: none !important; animation: none !important; caret-color: transparent; }"

TEXTS = """(root) => {
    const found = [];
    for (const place of document.querySelectorAll(root)) {
        const walker = document.createTreeWalker(place, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) {
            const holder = walker.currentNode.parentElement, words = walker.currentNode.textContent.trim();
            if (!words || holder.closest('[disabled], .sv-off, .sv-dim, style, script, option')) continue;
            const range = document.createRange();
            range.selectNodeContents(walker.currentNode);
            const box = range.getBoundingClientRect();
            if (box.width < 2 || box.height < 2) continue;
            const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
            const style = getComputedStyle(holder);
            if (style.visibility !== 'visible' || !top) continue;
            if (!place.contains(top)) continue;
            const size = parseFloat(style.fontSize), bold = parseInt(style.fontWeight) >= 700;
            found.push({
                words, x: box.x, y: box.y, width: box.width, height: box.height,
                large: size >= 24 || (bold && size >= 18.66),
            });
        }
    }
    return found;
}"""

DRAWN_TEXTS = """([root, silent]) => {
    const kind = CanvasRenderingContext2D.prototype, fill = kind.fillText, found = [];
    kind.fillText = function (words, x, y, ...rest) {
        if (!silent) fill.call(this, words, x, y, ...rest);
        if (!this.canvas.closest(root)) return;
        const size = this.measureText(words), place = this.getTransform(), box = this.canvas.getBoundingClientRect();
        const corners = [-size.actualBoundingBoxLeft, size.actualBoundingBoxRight].flatMap((across) =>
            [-size.actualBoundingBoxAscent, size.actualBoundingBoxDescent].map((down) =>
                place.transformPoint(new DOMPoint(x + across, y + down))));
        const scale = box.width / this.canvas.width;
        const [left, right] = [Math.min, Math.max].map((end) => end(...corners.map((corner) => corner.x)) * scale);
        const [top, bottom] = [Math.min, Math.max].map((end) => end(...corners.map((corner) => corner.y)) * scale);
        found.push({
            words, x: box.x + left, y: box.y + top, width: right - left, height: bottom - top,
            large: parseFloat(this.font.match(/([\\d.]+)px/)[1]) >= 24,
        });
    };
    dispatchEvent(new Event('resize')); // canvases are painted anew
    kind.fillText = fill;
    return found;
}"""

COMPARE = """async ([withText, without, boxes, scale]) => {
    const pixels = async (encoded) => {
        const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
        const image = await createImageBitmap(new Blob([bytes], { type: 'image/png' }));
        const pen = new OffscreenCanvas(image.width, image.height).getContext('2d', { willReadFrequently: true });
        pen.drawImage(image, 0, 0);
        return pen;
    };
    const linear = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const light = (data, at) =>
        0.2126 * linear(data[at]) + 0.7152 * linear(data[at + 1]) + 0.0722 * linear(data[at + 2]);
    const [ink, ground] = await Promise.all([pixels(withText), pixels(without)]);
    return boxes.map((box) => {
        const area = [box.x, box.y, box.width, box.height].map((value) => Math.round(value * scale));
        const [a, b] = [ink, ground].map((pen) => pen.getImageData(...area).data);
        let best = 1;
        for (let at = 0; at < a.length; at += 4) {
            const [one, two] = [light(a, at), light(b, at)];
            best = Math.max(best, (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05));
        }
        return best;
    });
}"""


@dataclass(frozen=True)
class Text:
    """A piece of text on screen, and the highest contrast of its pixels with what lies under them."""

    words: str
    contrast: float
    large: bool

    @property
    def needed(self) -> float:
        """What WCAG's level AA asks: 4.5, and 3 for large type and for marks without a letter or digit."""
        mark = not any(letter.isalnum() for letter in self.words)
        return 3 if self.large or mark else 4.5


def unreadable(page: Any, root: str) -> list[str]:
    """The texts, measured as in `texts`, that are too pale, each with its contrast."""
    return [f"{text.words}: {text.contrast}" for text in texts(page, root) if text.contrast < text.needed]


def texts(page: Any, root: str) -> list[Text]:
    """All visible text inside the elements that `root` selects, measured on screenshots.

    The page must have a `device_scale_factor` of `SHARP`. Text that is disabled, or dimmed because it is stale, is left
    out; text on a canvas that is painted anew when the window changes its size is measured too.
    """
    still = page.add_style_tag(content=STILL)
    boxes = page.evaluate(DRAWN_TEXTS, [root, False])
    page.wait_for_timeout(500)  # plotly looks at its size too
    boxes += page.evaluate(TEXTS, root)
    boxes = [box for box in boxes if inside(box, page.viewport_size)]
    with_text = page.screenshot()
    blank = page.add_style_tag(content=WITHOUT_TEXT)
    page.evaluate(DRAWN_TEXTS, [root, True])
    page.wait_for_timeout(500)
    without = page.screenshot()
    for sheet in (blank, still):
        sheet.evaluate("style => style.remove()")
    page.evaluate(DRAWN_TEXTS, [root, False])
    encoded = [base64.b64encode(image).decode() for image in (with_text, without)]
    contrasts = page.evaluate(COMPARE, [*encoded, boxes, SHARP])
    return [
        Text(box["words"], round(contrast, 2), box["large"]) for box, contrast in zip(boxes, contrasts, strict=True)
    ]


def inside(box: dict[str, float], viewport: dict[str, int]) -> bool:
    """Whether a box is wholly on screen."""
    right, bottom = box["x"] + box["width"], box["y"] + box["height"]
    return min(box["x"], box["y"]) >= 0 and right <= viewport["width"] and bottom <= viewport["height"]
