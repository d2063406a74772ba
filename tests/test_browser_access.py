"""The lab can be read and worked by everyone: axe-core, contrast on the screen's pixels, keyboard, and one page."""

import pytest
from accessibility import serious_faults
from jupyter_browser import DARK, LIGHT, Faults, browser_page, wear
from screen_contrast import SHARP, texts, unreadable

pytestmark = pytest.mark.browser

SCREEN = """<body style="background: #ffffff; font: 16px sans-serif">
<p style="color: #767676">enough</p><p style="color: #949494">too pale</p>
<p style="color: #949494; font-size: 30px">large</p><p style="color: #949494">\u25cf</p><button disabled>idle</button>
<canvas width="200" height="60"></canvas>
<script>
addEventListener('resize', () => {
    const pen = document.querySelector('canvas').getContext('2d');
    pen.clearRect(0, 0, 200, 60);
    pen.font = '16px sans-serif';
    pen.fillStyle = '#949494';
    pen.fillText('painted', 20, 30);
});
</script>
<svg><rect width="200" height="40" fill="#111111"/><text x="9" y="25" style="fill: #5f5f5f">drawn</text></svg>"""

HERE = """() => {
    const at = document.activeElement;
    if (!at.closest('.sv-lab')) return null;
    const { x, y, width, height } = at.getBoundingClientRect();
    return {
        name: at.getAttribute('aria-label') ?? at.labels?.[0]?.textContent ?? at.textContent.trim(),
        box: { x, y, width, height },
    };
}"""

LEAVE = """() => {
    const elsewhere = document.body.appendChild(document.createElement('button'));
    window.svLeft = [document.activeElement, elsewhere];
    elsewhere.focus({ preventScroll: true });
}"""
COME_BACK = """() => {
    const [here, elsewhere] = window.svLeft;
    here.focus({ focusVisible: true });
    elsewhere.remove();
}"""

AREA = """() => {
    const lab = document.querySelector('.sv-lab').getBoundingClientRect();
    const place = document.querySelector('.jp-WindowedPanel-outer').getBoundingClientRect();
    const parts = [...document.querySelectorAll('.sv-lab :is(.sv-card, .sv-bar, .sv-strip, .sv-tool-row)')];
    const cut = parts.filter((part) => {
        const box = part.getBoundingClientRect();
        return part.scrollWidth > part.clientWidth + 1 || box.right > place.right || box.left < place.left;
    });
    const ends = [...document.querySelectorAll('.sv-bar > *')].filter((part) => part.offsetHeight > 0)
        .map((part) => part.getBoundingClientRect().bottom);
    return {
        height: lab.height, room: place.height, cut: cut.map((part) => part.className),
        rows: Math.max(...ends) - Math.min(...ends) < 20 ? 1 : 2,
    };
}"""


@pytest.fixture(params=[LIGHT, DARK])
def themed(lab, request):
    """The lab in each of JupyterLab's themes."""
    wear(lab.page, request.param)
    lab.page.wait_for_timeout(500)
    yield lab
    wear(lab.page, LIGHT)


def test_contrast_is_measured_on_the_screen():
    with browser_page(device_scale_factor=SHARP) as page:
        page.set_content(SCREEN)
        measured = {text.words: text for text in texts(page, "body")}
        pale = unreadable(page, "body")
    assert measured["enough"].contrast == pytest.approx(4.54, abs=0.05)
    assert measured["too pale"].contrast == pytest.approx(3.03, abs=0.1)
    assert measured["drawn"].contrast == pytest.approx(2.96, abs=0.1)
    assert sorted(words.partition(":")[0] for words in pale) == ["drawn", "painted", "too pale"]


def test_faults_of_a_page_are_noticed():
    faults = Faults()
    with browser_page(faults=faults) as page:
        page.set_content(
            "<script>console.error('said'); fetch('http://nowhere.invalid/x'); throw Error('broke')</script>"
        )
        page.wait_for_timeout(500)
    kinds = [fault.partition(":")[0] for fault in faults.found]
    assert {"console", "page error", "request"} <= set(kinds)
    assert "request: http://nowhere.invalid/x" in faults.found


def test_axe_finds_faults_where_there_are_some():
    with browser_page() as page:
        page.set_content('<html lang="en"><body><div class="sv-lab"><img src="data:,"></div>')
        assert [fault.partition(":")[0] for fault in serious_faults(page, ".sv-lab")] == ["image-alt"]


def test_axe_finds_nothing_serious(themed):
    assert serious_faults(themed.page, ".sv-lab") == []


def test_every_text_is_readable(themed):
    assert len(texts(themed.page, ".sv-lab")) > 100
    assert unreadable(themed.page, ".sv-lab") == []


@pytest.mark.parametrize("files", ["closed", "open"])
def test_the_lab_fits_one_screen(lab, files):
    shut = "application:toggle-left-area"
    opened = lab.page.locator("#jp-left-stack").is_visible()
    if opened != (files == "open"):
        lab.page.evaluate("command => window.jupyterapp.commands.execute(command)", shut)
        lab.page.wait_for_timeout(1000)
    area = lab.page.evaluate(AREA)
    assert area["height"] <= area["room"]
    assert area["cut"] == []
    assert area["rows"] == 1


def test_tab_reaches_every_control_and_shows_where_it_is(lab):
    lab.handle("group_size").focus()
    lab.page.keyboard.press("Tab")
    lab.page.keyboard.press("Shift+Tab")
    reached = []
    while (here := lab.page.evaluate(HERE)) is not None:
        reached.append((here["name"], is_marked(lab.page, here["box"])))
        lab.page.keyboard.press("Tab")
        assert len(reached) < 50
    names = [name for name, _ in reached]
    for part in ("group size", "neighbor window", "length", "formula only", "Presets", "Story", "Reset", "Share"):
        assert any(part in name for name in names), part
    assert [name for name, marked in reached if not name or not marked] == []


def is_marked(page, box):
    """Whether the focus shows: the place looks otherwise once the focus is gone."""
    around = {"x": box["x"] - 6, "y": box["y"] - 6, "width": box["width"] + 12, "height": box["height"] + 12}
    page.wait_for_timeout(300)
    focused = page.screenshot(clip=around)
    page.evaluate(LEAVE)
    page.wait_for_timeout(300)
    left = page.screenshot(clip=around)
    page.evaluate(COME_BACK)
    return focused != left
