"""The command line: it teaches, it answers, it writes whole files, and it refuses in one sentence."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from selfextend_viz.cli import app, options, output, start
from selfextend_viz.cli.show import shipped_page

COMMANDS = (
    *("show", "lab", "doctor", "passkey", "perplexity", "divergence"),
    *("eval", "sweep", "bench", "compare", "suggest", "describe", "plan", "verify", "train-demo"),
    *("recommend", "choose"),
)


@pytest.fixture
def run(monkeypatch):
    """Runs a command line in this process; wide, so that no sentence is wrapped."""
    monkeypatch.setenv("COLUMNS", "200")
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A folder with a tiny random Llama (L = 64) and the byte tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from selfextend_viz.demo.tokenizer import byte_tokenizer

    folder = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=257, max_position_embeddings=64, bos_token_id=None, eos_token_id=None, **shape)
    LlamaForCausalLM(config).save_pretrained(folder)
    byte_tokenizer(64).save_pretrained(folder)
    return folder


def refused(result):
    """The one line that a refused command says on stderr."""
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.stderr
    said = result.stderr.strip().splitlines()
    (line,) = [line for line in said if line.startswith("selfextend-viz: ")]
    assert said[-1] == line
    return line


@pytest.mark.parametrize("command", COMMANDS)
def test_each_help_teaches_with_an_example(run, command):
    help_text = run(command, "--help")
    assert help_text.exit_code == 0
    assert "Examples" in help_text.stdout
    assert f"selfextend-viz {command}" in help_text.stdout


def test_every_command_is_listed(run):
    listed = run("--help").stdout
    for command in COMMANDS:
        assert command in listed


def test_version(run):
    from selfextend_viz import __version__

    assert run("--version").stdout.strip() == f"selfextend-viz {__version__}"


def test_help_in_a_fresh_interpreter_is_quick_and_loads_no_torch():
    show = "from selfextend_viz.cli import app; app(['--help'], standalone_mode=False)"
    code = f"import sys; {show}; print('torch' in sys.modules)"
    begin = time.perf_counter()
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert time.perf_counter() - begin < 10
    assert shown.stdout.strip().endswith("False")


def test_python_dash_m_runs_the_same_program():
    command = [sys.executable, "-m", "selfextend_viz", "suggest", "4096", "4000"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "not needed" in shown.stdout


class TestShow:
    @pytest.fixture
    def opened(self, monkeypatch):
        """The addresses that a browser was asked to open."""
        addresses = []
        monkeypatch.setattr("webbrowser.open", lambda address: addresses.append(address) or True)
        return addresses

    def test_the_page_of_the_package_is_opened(self, run, opened):
        result = run("show")
        assert result.exit_code == 0, result.stderr
        page = Path(result.stdout.strip())
        assert opened == [page.as_uri()]
        assert page.read_bytes().startswith(b"<!doctype html>")
        assert "selfextend-viz show first.html" in result.stderr

    def test_without_a_browser_its_place_is_printed(self, run, opened, monkeypatch):
        monkeypatch.setenv("COLUMNS", "20")
        result = run("show", "--no-browser")
        assert Path(result.stdout.strip()).is_file()
        assert (opened, result.stderr) == ([], "")

    def test_no_browser_to_open(self, run, monkeypatch):
        monkeypatch.setattr("webbrowser.open", lambda address: False)
        result = run("show")
        assert result.exit_code == 0
        assert "no browser was found" in result.stderr

    def test_a_copy_is_written_and_opened(self, run, opened, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for _ in range(2):
            assert run("show", "first page.html").exit_code == 0
        assert opened == [(tmp_path / "first page.html").as_uri()] * 2
        assert (tmp_path / "first page.html").read_bytes() == shipped_page().read_bytes()
        assert [path.name for path in tmp_path.iterdir()] == ["first page.html"]

    def test_nothing_is_overwritten(self, run, opened, tmp_path):
        (tmp_path / "mine.html").write_text("mine")
        assert "choose another name" in refused(run("show", tmp_path / "mine.html"))
        assert (tmp_path / "mine.html").read_text() == "mine"
        assert opened == []

    def test_bad_places(self, run, opened, tmp_path):
        assert "give a file name" in refused(run("show", tmp_path))
        assert "there is no folder" in refused(run("show", tmp_path / "none" / "first.html"))
        assert opened == []

    def test_it_needs_neither_torch_nor_jupyter(self):
        command = "from selfextend_viz.cli import app; app(['show', '--no-browser'], standalone_mode=False)"
        heavy = "[name for name in ('torch', 'ipywidgets', 'plotly') if name in sys.modules]"
        code = f"import sys; {command}; print({heavy})"
        shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        assert shown.stdout.splitlines()[-1] == "[]"


class TestSuggest:
    def test_rows_and_figure_are_written(self, run, tmp_path):
        rows, page = tmp_path / "rows.json", tmp_path / "reach.html"
        result = run("suggest", 4096, 16384, "--json", rows, "--html", page)
        assert result.exit_code == 0, result.stderr
        written = json.loads(rows.read_text())
        assert written["settings"] == {"context_length": 4096, "target_length": 16384}
        assert [(row["group_size"], row["neighbor_window"]) for row in written["rows"]] == [
            (10, 1024),
            (8, 512),
            (22, 2048),
        ]
        assert "<html>" in page.read_text()[:100]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["reach.html", "rows.json"]

    def test_stdout_holds_the_table_alone(self, run, tmp_path):
        result = run("suggest", 256, 1024, "--json", tmp_path / "rows.json")
        assert "wrote" in result.stderr
        assert "wrote" not in result.stdout

    def test_a_length_of_zero(self, run):
        assert "0" in refused(run("suggest", 4096, 0))


class TestBadDestinations:
    def test_a_folder_that_is_not_there(self, run, tmp_path):
        line = refused(run("suggest", 256, 1024, "--json", tmp_path / "none" / "rows.json"))
        assert "there is no folder" in line

    def test_a_folder_in_the_place_of_a_file(self, run, tmp_path):
        assert "give a file name" in refused(run("suggest", 256, 1024, "--html", tmp_path))

    def test_it_is_refused_before_the_model_loads(self, run, tmp_path, monkeypatch):
        monkeypatch.setattr("selfextend_viz.cli.options.load_chosen", lambda *_, **__: pytest.fail("loaded"))
        refused(run("passkey", "--json", tmp_path / "none" / "rows.json"))

    def test_a_failed_write_leaves_the_old_file(self, tmp_path, monkeypatch):
        path = tmp_path / "rows.json"
        path.write_text("old")
        monkeypatch.setattr("pathlib.Path.replace", _fail)
        with pytest.raises(OSError, match="disk full"):
            output.Destination(path, None).write_rows("suggest", {}, [])
        assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("rows.json", "old")]


def _fail(*_):
    raise OSError("disk full")


def test_numbers_that_json_cannot_say_become_null(tmp_path):
    path = tmp_path / "rows.json"
    output.Destination(path, None).write_rows("any", {}, [{"value": float("nan"), "other": float("-inf"), "fine": 1.5}])
    assert json.loads(path.read_text())["rows"] == [{"value": None, "other": None, "fine": 1.5}]


class TestModels:
    def test_no_such_folder(self, run, tmp_path):
        assert "is not a folder" in refused(run("describe", "--model", tmp_path / "nothing"))

    def test_a_folder_that_is_no_checkpoint(self, run, tmp_path):
        refused(run("describe", "--model", tmp_path))

    def test_unknown_dtype(self, run, checkpoint):
        assert "'float99' is no floating torch dtype" in refused(
            run("describe", "-m", checkpoint, "--dtype", "float99")
        )

    def test_unknown_device(self, run, checkpoint):
        assert "'toaster' is no torch device" in refused(run("describe", "-m", checkpoint, "--device", "toaster"))

    def test_remote_code_is_off_unless_asked(self, monkeypatch, checkpoint):
        import transformers

        from selfextend_viz.checkpoints import load_model

        asked = []
        real = transformers.AutoTokenizer.from_pretrained
        monkeypatch.setattr(
            transformers.AutoTokenizer,
            "from_pretrained",
            lambda source, **named: asked.append(named["trust_remote_code"]) or real(source, **named),
        )
        load_model(checkpoint)
        load_model(checkpoint, trust_remote_code=True)
        assert asked == [False, True]

    def test_a_checkpoint_loads_ready(self, checkpoint):
        import torch

        from selfextend_viz.checkpoints import load_model

        model, tokenizer = load_model(checkpoint, dtype="float32", device="cpu")
        assert not model.training
        assert model.dtype == torch.float32
        assert tokenizer.encode("ab") == [97, 98]


class TestDescribe:
    def test_rows(self, run, checkpoint, tmp_path):
        result = run("describe", "-m", checkpoint, "-G", 4, "-w", 16, "--json", tmp_path / "d.json")
        assert result.exit_code == 0, result.stderr
        written = json.loads((tmp_path / "d.json").read_text())
        assert written["settings"]["method"] == "SelfExtend(G=4, w_n=16)"
        assert written["settings"]["context_length"] == 64

    def test_one_setting_of_two(self, run, checkpoint):
        assert "--neighbor-window is missing" in refused(run("describe", "-m", checkpoint, "-G", 4))

    def test_settings_that_do_not_fit_the_model(self, run, checkpoint):
        assert "64" in refused(run("describe", "-m", checkpoint, "-G", 4, "-w", 64))
        assert "0" in refused(run("describe", "-m", checkpoint, "-G", 0, "-w", 8))

    def test_unknown_implementation(self, run, checkpoint):
        refused(run("describe", "-m", checkpoint, "-G", 4, "-w", 16, "--implementation", "magic"))


class TestMeasure:
    def test_passkey(self, run, checkpoint, tmp_path):
        rows, page = tmp_path / "rows.json", tmp_path / "grid.html"
        asked = ("--lengths", "300,340", "--depths", "0.5", "--trials", 2, "-G", 8, "-w", 16)
        result = run("passkey", "-m", checkpoint, *asked, "--json", rows, "--html", page)
        assert result.exit_code == 0, result.stderr
        written = json.loads(rows.read_text())["rows"]
        assert len(written) == 6
        assert {row["condition"] for row in written} == {"stock", "blindfold", "SelfExtend(G=8, w_n=16)"}
        assert all(row["trials"] == 2 for row in written)
        assert "N = 340" in result.stdout
        assert page.stat().st_size > 1000

    def test_every_control_has_a_name(self, run, checkpoint, tmp_path):
        names = "stock,blindfold,truncate,sinks,no_needle,self-extend,shuffled"
        asked = ("--lengths", 128, "--depths", "0.5", "--trials", 1, "-G", 8, "-w", 16, "--conditions", names)
        result = run("passkey", "-m", checkpoint, *asked, "--json", tmp_path / "rows.json")
        assert result.exit_code == 0, result.stderr
        found = [row["condition"] for row in json.loads((tmp_path / "rows.json").read_text())["rows"]]
        methods = ["SelfExtend(G=8, w_n=16)", "ShuffledSelfExtend(G=8, w_n=16, seed=0)"]
        assert found == [*names.split(",")[:5], *methods]

    def test_a_warning_is_a_note_and_no_error(self, run, checkpoint):
        asked = ("--lengths", 300, "--depths", "0.5", "--trials", 1, "-G", 2, "-w", 16, "--conditions", "self-extend")
        result = run("passkey", "-m", checkpoint, *asked)
        assert result.exit_code == 0, result.stderr
        (note,) = [line for line in result.stderr.splitlines() if line.startswith("note: ")]
        assert "112" in note

    def test_perplexity(self, run, checkpoint, tmp_path):
        texts = [tmp_path / f"text{number}.txt" for number in range(8)]
        for number, text in enumerate(texts):
            text.write_text(f"The {number} grey cats sat by the wall and looked on. " * 60)
        asked = [argument for text in texts for argument in ("--text", text)]
        asked += ["--context-lengths", "64,128", "--targets", 200, "--json", tmp_path / "rows.json"]
        result = run("perplexity", "-m", checkpoint, *asked, "--html", tmp_path / "page.html")
        assert result.exit_code == 0, result.stderr
        written = json.loads((tmp_path / "rows.json").read_text())["rows"]
        assert {row["context_length"] for row in written} == {64, 128}

    def test_perplexity_of_a_data_set(self, run, checkpoint, tmp_path):
        pytest.importorskip("datasets", reason="tables are read by datasets")
        lines = [{"body": f"The {number} grey cats sat by the wall. " * 20} for number in range(5)]
        lines[2:2] = [{"body": "Too short."}] * 3
        (tmp_path / "cats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        asked = ("--dataset", tmp_path / "cats.jsonl", "--column", "body", "--texts", 4, "--targets", 200)
        result = run("perplexity", "-m", checkpoint, *asked, "--context-lengths", "128", "--json", tmp_path / "r.json")
        assert result.exit_code == 0, result.stderr
        written = json.loads((tmp_path / "r.json").read_text())
        assert {row["texts"] for row in written["rows"]} == {4}
        assert written["settings"]["dataset"] == str(tmp_path / "cats.jsonl")

    def test_perplexity_of_two_sources(self, run, tmp_path):
        (tmp_path / "a.txt").write_text("one")
        line = refused(run("perplexity", "--dataset", "pg19", "--text", tmp_path / "a.txt"))
        assert line.endswith("--dataset pg19 and 1 --text files are given; give one or the other")

    def test_compare(self, run, checkpoint, tmp_path):
        from selfextend_viz import Comparison

        text, rows, page = tmp_path / "text.txt", tmp_path / "rows.json", tmp_path / "page.html"
        text.write_text("Plain words about grass and sky. " * 20)
        asked = ("--text", text, "--lengths", 160, "--depths", "0.5", "--trials", 1, "--targets", 32)
        written = ("--json", rows, "--html", page)
        result = run("compare", "-m", checkpoint, "--methods", "StreamingLLM,SelfExtend", *asked, *written)
        methods = ["StreamingLLM(sinks=4, window=60)", "SelfExtend(G=6, w_n=16)"]
        found = Comparison.read(rows).table()
        assert [row.condition for row in found] == ["stock", "truncate", "blindfold", "no_needle", *methods]
        assert f"{found[0].mass[160].outside:.3f}" in result.stdout and "nats" in result.stdout
        assert page.stat().st_size > 1000

    def test_compare_with_a_method_that_is_none(self, run, checkpoint):
        assert "unknown method 'Sunglasses'" in refused(run("compare", "-m", checkpoint, "--methods", "Sunglasses"))

    def test_divergence(self, run, checkpoint, tmp_path):
        text = tmp_path / "text.txt"
        text.write_text("Plain words about grass and sky. " * 20)
        asked = ("--text", text, "-n", 192, "-G", 8, "-w", 16, "--queries", 16)
        result = run("divergence", "-m", checkpoint, *asked, "--json", tmp_path / "rows.json")
        assert result.exit_code == 0, result.stderr
        written = json.loads((tmp_path / "rows.json").read_text())["rows"]
        assert {row["row"] for row in written} == {"LogitRow", "HeadRow", "OutputRow"}
        uniform = next(row["far_mass_uniform"] for row in written if row["row"] == "HeadRow")
        assert "mass uniform" in result.stdout and f"{uniform:.3f}" in result.stdout

    def test_divergence_without_a_model(self, run, tmp_path):
        asked = ("--random", 64, "-n", 192, "-G", 8, "-w", 16, "--queries", 16, "--html", tmp_path / "page.html")
        result = run("divergence", *asked, "--json", tmp_path / "rows.json")
        assert result.exit_code == 0, result.stderr
        written = json.loads((tmp_path / "rows.json").read_text())
        assert written["settings"]["model"] == "random heads"
        assert {row["row"] for row in written["rows"]} == {"LogitRow", "HeadRow"}
        assert "leave out --model" in refused(run("divergence", "--random", 64, "--model", "any"))

    def test_too_little_text(self, run, checkpoint, tmp_path):
        text = tmp_path / "text.txt"
        text.write_text("short")
        assert "5 tokens" in refused(run("divergence", "-m", checkpoint, "--text", text, "-n", 192))

    def test_lengths_that_are_no_numbers(self, run):
        assert "--lengths has 'many'" in refused(run("passkey", "--lengths", "256,many"))

    def test_settings_that_do_not_fit_are_refused_before_any_row(self, run, checkpoint):
        result = run("passkey", "-m", checkpoint, "--lengths", 128, "-G", 2, "-w", 64)
        assert "neighbor_window 64 leaves no room" in refused(result) and "Pass keys" not in result.stderr
        assert "neighbor_window 64" in refused(run("divergence", "--random", 64, "-n", 192, "-G", 2, "-w", 64))

    def test_unknown_condition(self, run):
        assert "'sunglasses'" in refused(run("passkey", "--conditions", "stock,sunglasses"))


def test_traceback_on_request(run):
    result = run("--traceback", "suggest", 4096, 0)
    assert isinstance(result.exception, ValueError)


def test_the_lab_is_served_on_loopback_with_jupyters_own_token(run, monkeypatch, tmp_path):
    served = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(start, "serve", lambda command: served.append(command) or 0)
    assert run("lab", "--no-browser", "--port", 8890).exit_code == 0
    (command,) = served
    assert command[:3] == [sys.executable, "-m", "jupyterlab"]
    assert "--LabApp.default_url=/lab/tree/selfextend_lab.ipynb" in command
    assert "--ServerApp.ip=127.0.0.1" in command
    assert not any("token" in word.lower() or "password" in word.lower() for word in command)


def test_the_servers_exit_code_is_the_commands():
    assert start.serve([sys.executable, "-c", "raise SystemExit(3)"]) == 3


def code_of(notebook):
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


class TestNotebook:
    def test_a_new_one_is_valid_and_never_overwritten(self, monkeypatch, tmp_path):
        import nbformat

        monkeypatch.chdir(tmp_path)
        path = start.find_notebook(None)
        written = nbformat.read(path, as_version=4)
        nbformat.validate(written)
        assert [cell.cell_type for cell in written.cells] == ["markdown", "code", "markdown"]
        path.write_text("mine")
        assert start.find_notebook(None).read_text() == "mine"

    def test_it_runs_the_same_code_as_the_repositorys(self):
        repository = json.loads((Path(__file__).parents[1] / start.REPOSITORY_NOTEBOOK).read_text(encoding="utf-8"))
        assert code_of(start.new_notebook()) == code_of(repository)

    def test_the_repositorys_comes_first(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "notebooks").mkdir()
        (tmp_path / start.REPOSITORY_NOTEBOOK).write_text("{}")
        assert start.find_notebook(None) == start.REPOSITORY_NOTEBOOK

    def test_one_that_is_not_there(self, run, tmp_path):
        assert "there is no notebook" in refused(run("lab", tmp_path / "other.ipynb"))


def test_train_demo_passes_its_settings_on(run, monkeypatch, tmp_path):
    from selfextend_viz.demo import train as recipe

    asked = {}

    def train(folder, **named):
        asked.update(named, folder=folder)
        named["on_step"](1, 2, 3.5, "copying")
        return folder

    monkeypatch.setattr(recipe, "train", train)
    result = run("train-demo", tmp_path / "model", "--seed", 7, "--no-resume")
    assert result.exit_code == 0, result.stderr
    assert (asked["folder"], asked["seed"], asked["resume"]) == (tmp_path / "model", 7, False)


def test_train_demo_refuses_a_file(run, tmp_path):
    (tmp_path / "file").write_text("")
    assert "is a file" in refused(run("train-demo", tmp_path / "file"))


def test_choices_are_made_from_the_suggestions():
    from selfextend_viz import SelfExtend

    assert options.choose_method(None, None, context_length=4096, target_length=16384) == SelfExtend(10, 1024)
    method = SelfExtend(2, 8)
    assert options.with_method(options.condition_names("stock, self-extend"), method) == ["stock", method]
    assert options.numbers("--depths", "0, 0.5,1", float) == [0.0, 0.5, 1.0]


@pytest.fixture
def store(tmp_path):
    """A small sweep's store, L = 64."""
    from test_tradeoff import LONG, SHORT, fill

    from selfextend_viz import Store

    with Store(tmp_path / "sweep.db") as opened:
        fill(opened, [*SHORT, *LONG])
    return tmp_path / "sweep.db"


def test_recommend_reads_a_store_and_ends_in_a_line_of_code(run, store, tmp_path):
    from selfextend_viz import Store, recommend

    found = recommend(Store(store), 128)
    result = run("recommend", store, "-n", 128, "--json", tmp_path / "rows.json", "--html", tmp_path / "map.html")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1] == found.code == "SelfExtend(group_size=8, neighbor_window=8)"
    assert "choice" in result.stdout and "worse" in result.stdout
    written = json.loads((tmp_path / "rows.json").read_text("utf-8"))
    assert written["settings"]["choice"] == found.code
    assert len(written["rows"]) == len(Store(store).rows())
    assert "worst depth" in (tmp_path / "map.html").read_text("utf-8")


def test_recommend_and_choose_refuse_in_a_sentence(run, store, tmp_path):
    assert "there is no store" in refused(run("recommend", tmp_path / "none.db", "-n", 128))
    assert "sweep the length 999 too" in refused(run("recommend", store, "-n", 999))
    assert "no setting is needed" in refused(run("choose", "-n", 100))
    assert "budget_minutes is -1" in refused(run("choose", "-n", 640, "-b", -1))
    assert "more than budget_minutes" in refused(run("choose", "-n", 640, "-b", 0.001))


@pytest.mark.slow
def test_choose_asks_the_demo_and_keeps_its_rows(run, tmp_path):
    wanted = ("-n", 400, "--depths", "0.5", "--trials", 2, "-b", 2, "--store", tmp_path / "choice.db")
    result = run("choose", *wanted)
    assert result.exit_code == 0, result.stderr
    assert "prefills, about" in result.stderr
    assert result.stdout.splitlines()[-1].startswith("SelfExtend(group_size=")
    again = run("recommend", tmp_path / "choice.db", "-n", 400)
    assert again.stdout.splitlines()[-1] == result.stdout.splitlines()[-1]
