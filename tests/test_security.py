"""Whose code runs and whose HTML: neither a checkpoint's, nor a model's, nor a text's."""

import json
import re
from html.parser import HTMLParser
from importlib.resources import files

import pytest
import torch
import transformers
from experiment_doubles import bytes_tokenizer
from tiny_models import tiny_llama
from typer.testing import CliRunner

from selfextend_viz import checkpoints
from selfextend_viz.cli import app as program
from selfextend_viz.cli.output import Destination
from selfextend_viz.demo import load_demo
from selfextend_viz.experiments.rows import PasskeyRow
from selfextend_viz.experiments.tasks import Phrasing
from selfextend_viz.plots import plot_passkey
from selfextend_viz.positions import SelfExtend
from selfextend_viz.widgets import Lab, passkey_explorer
from selfextend_viz.widgets.look import card_head, chip, sentence
from selfextend_viz.widgets.page import Page, PageControl, PageView, page_html
from selfextend_viz.widgets.strip_state import said
from selfextend_viz.widgets.tables import table_block
from selfextend_viz.widgets.work import Subject

EVIL = "<img/src='x'/onerror=\"document.title='owned'\">"
CONTEXT_LENGTH, WAIT = 128, 60
TAGS = {"div", "span", "b", "i", "sub", "sup", "mark", "p", "table", "thead", "tbody", "tr", "th", "td"}


class Tags(HTMLParser):
    """The tags of a text and the names of their attributes."""

    def __init__(self, text):
        super().__init__()
        self.names, self.attributes = set(), set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.names.add(tag)
        self.attributes |= {name for name, _ in attributes}


def is_harmless(html):
    """Whether HTML has none but our own tags, and no attribute that loads or runs anything."""
    found = Tags(html)
    return found.names <= TAGS and not any(re.match(r"on|src|href|style", name) for name in found.attributes)


def widgets_under(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from widgets_under(child)


def html_of(widget):
    """All HTML that a widget and those in it put on a page."""
    return [part.value for part in widgets_under(widget) if part._view_name in ("HTMLView", "HTMLMathView")]


class EvilTokenizer:
    """A byte tokenizer that decodes every single token to markup, as a model's vocabulary could."""

    def __init__(self):
        self._tokenizer = bytes_tokenizer()
        self.name_or_path = EVIL

    def __getattr__(self, name):
        return getattr(self._tokenizer, name)

    def __call__(self, *args, **options):
        return self._tokenizer(*args, **options)

    def decode(self, ids, **options):
        text = self._tokenizer.decode(ids, **options)
        return EVIL if len(text) == 1 else text


def evil_model():
    """A model whose class and path are markup."""
    model = tiny_llama(vocab_size=257, max_position_embeddings=CONTEXT_LENGTH)
    model.__class__ = type(EVIL, (type(model),), {})
    model.config.name_or_path = EVIL
    return model


ASK = {
    "filler": "own",
    "own_text": f"{EVIL} is grass. ",
    "phrasing": Phrasing(
        subject=f"key {EVIL}",
        statement=f"{EVIL} {{Subject}} is {{key}}.",
        question=f"What is {{subject}}? {EVIL}",
        answer_start=f"{EVIL} it is",
    ),
}


@pytest.fixture(scope="module")
def app():
    """A lab on an evil model that is asked an evil question, with all its answers."""
    made = Lab(Subject(evil_model(), EvilTokenizer()), trials=1, ask=ASK)
    made.state.set(length=400, group_size=4, neighbor_window=32)
    assert made.worker.wait(WAIT)
    made.show_tables(True)
    yield made
    made.close()


class TestPages:
    def test_the_check_finds_what_is_harmful(self):
        assert is_harmless("<b>1</b> &lt;img src=x onerror=y&gt;")
        for harmful in (EVIL, "<script>1</script>", "<b onclick='x'>", "<a href='javascript:x'>y</a>"):
            assert not is_harmless(harmful)

    def test_the_lab_shows_it_as_text(self, app):
        assert app.worker.error is None
        digits = [digit["said"] for row in app.strip.state["rows"] for digit in row["digits"]]
        assert EVIL in digits  # the tokenizer's text has come as far as the strip
        shown = html_of(app)
        assert len(shown) > 10 and any("&lt;img/src=" in html for html in shown)
        assert [html for html in shown if not is_harmless(html)] == []
        assert EVIL in said(app.strip.state["rows"][0]) and EVIL in app.strip.words()

    def test_an_error_and_a_refusal_show_it_as_text(self, app):
        app.bar.refuse(f"no {EVIL}")
        app.strip.form.key.value = EVIL
        app.strip.form.submit()
        assert "&lt;img" in app.bar.words.value and "&lt;img" in app.strip.form.refusal.value
        assert all(map(is_harmless, html_of(app)))
        app.bar.refuse("")

    @pytest.mark.parametrize("kind", [ValueError, RuntimeError])
    def test_a_model_that_fails_with_it_shows_it_as_text(self, kind):
        model = evil_model()
        model.model.layers[0].register_forward_hook(lambda *_: (_ for _ in ()).throw(kind(f"{type(model).__name__}")))
        made = Lab(Subject(model, bytes_tokenizer()), trials=1)
        try:
            made.worker.wait(WAIT)
            assert isinstance(made.worker.error, kind)
            assert "&lt;img" in made.bar.words.value
            assert all(map(is_harmless, html_of(made)))
        finally:
            made.close()

    def test_no_widget_takes_html_in_a_description(self, app):
        assert not any(getattr(part, "description_allow_html", False) for part in widgets_under(app))

    def test_the_parts_of_cards_escape_it(self):
        table = table_block(EVIL, [EVIL], [[EVIL], [1]])
        for html in (card_head(EVIL, EVIL), chip(EVIL), sentence(f"<b>{EVIL}</b><br>{EVIL}"), table):
            assert is_harmless(re.sub(r'tabindex="0"', "", html))
            assert "&lt;img" in html

    def test_an_explorers_page_holds_it_as_data(self, tmp_path):
        explorer = passkey_explorer(evil_model(), EvilTokenizer(), length=200, trials=1)
        try:
            explorer.worker.wait(WAIT)
            path = explorer.to_html(tmp_path / "page.html", group_sizes=[2], neighbor_windows=[16])
        finally:
            explorer.close()
        assert "<img" not in without_scripts(path.read_text("utf-8"))

    def test_a_page_holds_it_as_data_wherever_it_stands(self):
        control = PageControl("name", EVIL, (EVIL, "</script>" + EVIL), EVIL)
        frame = {"map": {"text": EVIL}, "words": {"map": f"<b>{EVIL}</b></script>"}}
        views = (PageView("map", EVIL, "map", 100),)
        html = page_html(Page(EVIL, EVIL, (control,), {"0": frame, "1": frame}, views))
        assert "<img" not in without_scripts(html)
        data = re.search(r'id="sv-data">(.*?)</script>', html, re.DOTALL).group(1)
        assert "<" not in data
        (view,) = json.loads(data)["views"]
        assert all(is_harmless(words) for _, words in view["frames"].values())

    def test_a_figure_that_the_command_line_writes_holds_it_as_data(self, tmp_path):
        label = f"</script>{EVIL}"
        row = PasskeyRow("paper", label, 64, 0.5, 1, 1, 0.0, 1.0, -0.2, 0)
        figure = plot_passkey([row], context_length=32)
        assert "onerror=" in str(figure)
        Destination(None, tmp_path / "figure.html").write_figure(figure)
        assert "<img/" not in (tmp_path / "figure.html").read_text("utf-8")

    def test_the_shipped_page_may_load_and_send_nothing(self):
        page = (files("selfextend_viz") / "widgets" / "stored" / "show.html").read_text("utf-8")
        (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
        assert "default-src 'none'" in policy and "http" not in policy


def without_scripts(html):
    """A page but for what stands in its scripts, which no browser reads as HTML."""
    return re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)


class TestCheckpoints:
    def test_the_demo_models_weights_are_read_as_safetensors_alone(self, monkeypatch):
        asked, real = [], transformers.LlamaForCausalLM.from_pretrained
        listen = lambda folder, **named: asked.append(named) or real(folder, **named)  # noqa: E731
        monkeypatch.setattr(transformers.LlamaForCausalLM, "from_pretrained", listen)
        load_demo()
        (named,) = asked
        assert named["use_safetensors"] and named["local_files_only"] and "trust_remote_code" not in named

    def test_nothing_in_the_package_is_pickled(self):
        names = [path.name for path in walk(files("selfextend_viz"))]
        assert "model.safetensors" in names
        assert [name for name in names if name.endswith((".bin", ".pt", ".pth", ".pkl", ".ckpt", ".npz"))] == []

    @pytest.mark.parametrize("trust", [False, True])
    def test_load_model_passes_on_what_the_user_said(self, trust, tmp_path, monkeypatch):
        asked = []
        for name, result in (("AutoTokenizer", "a tokenizer"), ("AutoModelForCausalLM", torch.nn.Linear(1, 1))):
            give = lambda source, result=result, **named: asked.append(named["trust_remote_code"]) or result  # noqa: E731
            monkeypatch.setattr(getattr(transformers, name), "from_pretrained", give)
        checkpoints.load_model(tmp_path, **({"trust_remote_code": True} if trust else {}))
        assert asked == [trust, trust]

    @pytest.mark.parametrize("flag", [[], ["--trust-remote-code"]], ids=["usual", "trusted"])
    @pytest.mark.parametrize("command", ["describe", "passkey", "perplexity", "divergence"])
    def test_every_command_that_loads_a_model_trusts_when_told(self, command, flag, tmp_path, monkeypatch):
        asked = []

        def load(source, *, trust_remote_code, **_):
            asked.append(trust_remote_code)
            raise OSError("no further")

        monkeypatch.setattr(checkpoints, "load_model", load)
        told = ["-G", "4", "-w", "8"]
        result = CliRunner().invoke(program, [command, "--model", str(tmp_path), *told, *flag])
        assert result.exit_code == 2
        assert asked == [bool(flag)]

    def test_a_checkpoints_own_code_is_not_run(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
        folder, mark = tmp_path / "model", tmp_path / "mark"
        folder.mkdir()
        names = {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M", "AutoTokenizer": ["evil.T", None]}
        (folder / "config.json").write_text(json.dumps({"model_type": "evil", "auto_map": names}))
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T", "auto_map": names}))
        (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
        result = CliRunner().invoke(program, ["describe", "--model", str(folder)])
        assert result.exit_code == 2
        assert "model brings Python code of its own, which is not run" in result.stderr
        assert "--trust-remote-code" in result.stderr
        assert not mark.exists()


def walk(folder):
    for entry in folder.iterdir():
        yield from walk(entry) if entry.is_dir() else (entry,)


def test_a_method_of_the_users_own_names_itself_without_harm():
    """A method's label goes into figures, whose words are few kinds of markup at most; ours are plain."""
    assert str(SelfExtend(2, 4)) == "SelfExtend(G=2, w_n=4)"
