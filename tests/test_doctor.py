"""The doctor: each check says what it found on machines of all kinds, and how to mend them."""

from __future__ import annotations

import json
import socket
import sys
import webbrowser
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement
from typer.testing import CliRunner

from selfextend_viz.cli import app, health, lab_checks, machine_checks
from selfextend_viz.cli.finding import Finding, looked_at


def raising(error):
    def check(*_):
        raise error

    return check


def torch_module(*, version="2.13.0", cuda=None, hip=None, threads=4, cards=(), metal=False):
    """As much of torch as the doctor looks at."""
    return SimpleNamespace(
        __version__=version,
        version=SimpleNamespace(cuda=cuda, hip=hip),
        get_num_threads=lambda: threads,
        cuda=SimpleNamespace(
            is_available=lambda: bool(cards),
            device_count=lambda: len(cards),
            get_device_properties=lambda index: SimpleNamespace(name=cards[index], total_memory=80 * 2**30),
        ),
        backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: metal)),
    )


class TestFindings:
    def test_a_remedy_stands_exactly_where_something_is_not_ok(self):
        with pytest.raises(ValueError, match="remedy"):
            Finding("torch", "problem", "missing")
        with pytest.raises(ValueError, match="remedy"):
            Finding("torch", "ok", "2.13", "nothing to do")

    def test_a_check_that_breaks_down_hides_no_other(self):
        checks = {"first": raising(KeyError("odd")), "second": lambda: Finding("second", "ok", "fine")}
        first, second = health.examine(checks)
        assert (first.name, first.state, second.state) == ("first", "problem", "ok")
        assert "KeyError: 'odd'" in first.found and first.remedy

    def test_only_problems_stop_the_lab(self):
        note = Finding("browser", "note", "none", "by hand")
        assert "Nothing stops the lab" in health.summary([note])
        problems = [Finding(name, "problem", "bad", "mend it") for name in ("torch", "ports")]
        assert health.summary([*problems, note]).endswith("mend first: torch, ports.")


class TestPython:
    @pytest.mark.parametrize(("version", "state"), [((3, 10, 14), "problem"), ((3, 11, 0), "ok"), ((4, 0, 1), "ok")])
    def test_version(self, version, state):
        found = machine_checks.check_python(version, "python")
        assert found.state == state
        assert ".".join(map(str, version)) in found.found


class TestLibraries:
    wanted = {"torch": Requirement("torch>=2.13,<2.14"), "plotly": Requirement("plotly>=7")}

    def check(self, **versions):
        return machine_checks.check_libraries(list(versions), version_of=versions.get, wanted=self.wanted)

    def test_inside_the_ranges(self):
        found = self.check(torch="2.13.0+cpu", plotly="7.1.0", unasked="0.1")
        assert (found.state, found.found) == ("ok", "torch 2.13.0+cpu, plotly 7.1.0, unasked 0.1")

    def test_outside(self):
        found = self.check(torch="2.12.1", plotly="7.1.0")
        assert found.state == "note"
        assert '"torch<2.14,>=2.13"' in found.remedy and "plotly" not in found.remedy

    def test_missing(self):
        found = self.check(torch="2.12.1", plotly=None)
        assert found.state == "problem"
        assert found.remedy == 'pip install "selfextend-viz" brings plotly'

    def test_the_widgets_come_with_the_extra(self):
        found = lab_checks.check_widgets(version_of=lambda name: None if name == "anywidget" else "8.0", wanted={})
        assert (found.name, found.state) == ("widgets", "problem")
        assert found.remedy == 'pip install "selfextend-viz[lab]" brings anywidget'

    def test_the_ranges_are_the_packages_own(self):
        assert {"torch", "transformers", "ipywidgets", "anywidget", "jupyterlab"} <= set(
            machine_checks.wanted_versions()
        )

    def test_a_version_that_is_not_there(self):
        assert machine_checks.installed_version("no-such-distribution") is None


class TestTorch:
    def test_builds(self):
        def found(**facts):
            return machine_checks.check_torch(lambda: torch_module(**facts), cores=8).found

        assert "for the processor alone, 4 threads on 8 cores" in found()
        assert "for CUDA 12.8" in found(cuda="12.8")
        assert "for ROCm 6.4" in found(hip="6.4")

    def test_one_thread_of_many_is_noted(self):
        found = machine_checks.check_torch(lambda: torch_module(threads=1), cores=8)
        assert found.state == "note" and "OMP_NUM_THREADS" in found.remedy
        assert machine_checks.check_torch(lambda: torch_module(threads=1), cores=1).state == "ok"

    @pytest.mark.parametrize("error", [ImportError("no torch"), OSError("DLL load failed")])
    def test_one_that_does_not_load(self, error):
        found = machine_checks.check_torch(raising(error))
        assert found.state == "problem" and str(error) in found.found


class TestGpu:
    def check(self, driver=None, **facts):
        return machine_checks.check_gpu(lambda: torch_module(**facts), lambda: driver)

    def test_cards(self):
        found = self.check(cuda="12.8", cards=("H100", "H200"))
        assert (found.state, found.found) == ("ok", "H100, 80 GiB, H200, 80 GiB")
        assert "Metal" in self.check(metal=True).found

    def test_none_is_no_fault(self):
        assert self.check().state == "ok"

    def test_a_card_that_torch_cannot_use(self):
        processor_build = self.check(driver="nvidia-smi")
        assert processor_build.state == "note" and "CUDA build" in processor_build.remedy
        old_driver = self.check(driver="nvidia-smi", cuda="12.8")
        assert old_driver.state == "note" and "CUDA 12.8 or newer" in old_driver.remedy


class TestMemory:
    @pytest.mark.parametrize(("gibibytes", "state"), [(0.5, "problem"), (1.5, "note"), (8, "ok")])
    def test_thresholds(self, gibibytes, state):
        found = machine_checks.check_memory(lambda: gibibytes * 2**30)
        assert (found.state, found.found) == (state, f"{gibibytes:.1f} GiB free")

    def test_where_nothing_can_tell(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "psutil", None)
        assert machine_checks.available_memory() is None
        assert machine_checks.check_memory().state == "note"

    def test_a_containers_limit_counts(self, tmp_path):
        free = machine_checks.available_memory(tmp_path)
        (tmp_path / "memory.current").write_text("1000\n")
        (tmp_path / "memory.max").write_text("max\n")
        assert machine_checks.available_memory(tmp_path) > 5000 < free
        (tmp_path / "memory.max").write_text("6000\n")
        assert machine_checks.available_memory(tmp_path) == 5000


class TestDisk:
    def test_space(self, tmp_path):
        assert machine_checks.check_disk(tmp_path, lambda path: 5 * 2**30).state == "ok"
        little = machine_checks.check_disk(tmp_path, lambda path: 2**20)
        assert little.state == "note" and "space" in little.remedy

    def test_a_folder_that_cannot_be_written_to(self, tmp_path, monkeypatch):
        monkeypatch.setattr("os.access", lambda path, mode: False)
        assert machine_checks.check_disk(tmp_path).state == "problem"


class TestAttention:
    @staticmethod
    def row(name, kernel, device, available, reason="no softcap."):
        return SimpleNamespace(name=name, kernel=kernel, device=device, available=available, reason=reason)

    def check(self, *rows):
        return machine_checks.check_attention(lambda: [self.row("eager", "plain torch", "any", True), *rows])

    def test_a_missing_card_is_no_fault(self):
        found = self.check(
            self.row("flash", "the CPU's", "cpu", True),
            self.row("flash", "flash_attn", "cuda", False, "there is no CUDA device here."),
        )
        assert (found.state, found.found) == ("ok", "eager (plain torch), flash (the CPU's)")

    def test_a_kernel_that_cannot_run_is_noted_with_its_reason(self):
        found = self.check(
            self.row("flash", "the CPU's", "cpu", True),
            self.row("flash", "flash_attn", "cuda", False, "flash_attn is not installed."),
        )
        assert found.state == "note" and "flash_attn: flash_attn is not installed" in found.remedy

    def test_eager_alone(self):
        assert "memory" in self.check(self.row("flash", "the CPU's", "cpu", False, "it is gone.")).remedy

    def test_here(self):
        assert "eager (plain torch)" in machine_checks.check_attention().found


class TestExtensions:
    both = {"@jupyter-widgets/jupyterlab-manager": "5.0.16", "anywidget": "0.11.0", "other": "1"}

    def test_found(self):
        found = lab_checks.check_extensions(lambda: (self.both, {"other"}))
        assert (found.state, found.found) == ("ok", "@jupyter-widgets/jupyterlab-manager 5.0.16, anywidget 0.11.0")

    def test_not_found(self):
        found = lab_checks.check_extensions(lambda: ({"anywidget": "0.11.0"}, set()))
        assert found.state == "problem" and found.found == "not found: @jupyter-widgets/jupyterlab-manager"

    def test_switched_off(self):
        found = lab_checks.check_extensions(lambda: (self.both, {"anywidget"}))
        assert (found.state, found.remedy) == ("problem", "jupyter labextension enable anywidget")

    def test_without_jupyterlab(self):
        assert lab_checks.check_extensions(raising(ImportError("no jupyter_core"))).state == "problem"

    def test_here(self):
        found, _ = lab_checks.lab_extensions()
        assert set(lab_checks.EXTENSIONS) <= set(found)


class TestKernel:
    @pytest.mark.parametrize("program", ["python", "python3", "/environment/bin/python"])
    def test_this_python(self, program):
        assert lab_checks.check_kernel(lambda: [program, "-m"], "/environment/bin/python").state == "ok"

    def test_another(self):
        found = lab_checks.check_kernel(lambda: ["/usr/bin/python3", "-m"], "/environment/bin/python")
        assert found.state == "problem"
        assert "/environment/bin/python -m ipykernel install --sys-prefix" in found.remedy

    def test_none(self):
        assert "ipykernel install" in lab_checks.check_kernel(raising(KeyError("python3"))).remedy
        assert "pip install" in lab_checks.check_kernel(raising(ImportError("no jupyter_client"))).remedy

    def test_here(self):
        assert list(lab_checks.kernel_command())[1:3] == ["-m", "ipykernel_launcher"]


class TestBrowser:
    def test_the_one_that_would_open(self):
        assert lab_checks.check_browser(lambda: SimpleNamespace(name="firefox")).found == "firefox"
        assert lab_checks.check_browser(lambda: SimpleNamespace()).found == "the system's own"

    @pytest.mark.parametrize(
        "get", [raising(webbrowser.Error("none")), lambda: SimpleNamespace(name="/usr/bin/w3m")], ids=["none", "text"]
    )
    def test_none_that_shows_a_lab(self, get):
        found = lab_checks.check_browser(get)
        assert found.state == "note"
        assert "lab --no-browser" in found.remedy and "ssh -L 8888:127.0.0.1:8888" in found.remedy

    def test_chromium_for_the_browser_tests(self):
        assert lab_checks.check_chromium(lambda name: None, None).state == "note"
        assert lab_checks.check_chromium(lambda name: None, "/opt/chrome").state == "ok"
        assert (
            lab_checks.check_chromium(lambda name: f"/bin/{name}" if name == "google-chrome" else None, None).state
            == "ok"
        )


class TestPorts:
    def test_a_port_in_use_is_noted(self, monkeypatch):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            monkeypatch.setattr(lab_checks, "PORT", listener.getsockname()[1])
            found = lab_checks.check_ports()
            assert found.state == "note"
            assert "in use" in found.found and "--port" in found.remedy
        assert lab_checks.check_ports().state == "ok"

    def test_no_port_at_all(self):
        found = lab_checks.check_ports(lambda port: PermissionError("not permitted"))
        assert found.state == "problem" and "127.0.0.1" in found.remedy

    def test_another_reason(self):
        found = lab_checks.check_ports(lambda port: PermissionError(13, "denied") if port else None)
        assert found.state == "note" and "denied" in found.found


class TestDemo:
    def test_the_shipped_weights(self):
        found = lab_checks.check_demo()
        assert found.state == "ok"
        assert lab_checks.shipped_fingerprint() in found.found

    def test_damaged_weights(self):
        found = lab_checks.check_demo(raising(OSError("header too large")))
        assert found.state == "problem" and "header too large" in found.found

    def test_other_weights(self):
        found = lab_checks.check_demo(stored=lambda: "0123456789abcdef")
        assert found.state == "note" and "0123456789abcdef" in found.found

    def test_without_widgets(self, monkeypatch):
        """The fingerprint needs none."""
        monkeypatch.setitem(sys.modules, "ipywidgets", None)
        monkeypatch.setitem(sys.modules, "selfextend_viz.widgets", None)
        found = lab_checks.check_demo()
        assert found.state == "ok" and lab_checks.shipped_fingerprint() in found.found


class TestCommand:
    @pytest.fixture
    def run(self, monkeypatch):
        monkeypatch.setenv("COLUMNS", "200")
        return lambda *arguments: CliRunner().invoke(app, ["doctor", *map(str, arguments)])

    def test_here(self, run, tmp_path):
        path = tmp_path / "doctor.json"
        result = run("--json", path)
        written = json.loads(path.read_text())
        assert [row["name"] for row in written["rows"]] == list(health.CHECKS)
        states = {row["name"]: row["state"] for row in written["rows"]}
        assert {states[name] for name in ("Python", "demo model", "widgets", "lab extensions")} == {"ok"}
        assert result.exit_code == ("problem" in states.values())
        for row in written["rows"]:
            assert row["name"] in result.stdout
            assert row["found"].split()[0] in result.stdout

    def test_a_problem_is_exit_code_1_and_its_remedy_is_printed(self, run, monkeypatch, tmp_path):
        bad = Finding("ports", "problem", "cannot [listen]", "open the firewall")
        monkeypatch.setattr(health, "CHECKS", {"ports": lambda: bad})
        result = run("--json", tmp_path / "doctor.json")
        assert result.exit_code == 1
        assert "cannot [listen]" in result.stdout and "open the firewall" in result.stdout
        assert "mend first: ports" in result.stdout
        assert (tmp_path / "doctor.json").is_file()

    def test_a_note_is_not(self, run, monkeypatch):
        note = Finding("browser", "note", "none", "by hand")
        monkeypatch.setattr(health, "CHECKS", {"browser": lambda: note})
        assert run().exit_code == 0

    def test_a_bad_path_is_refused_before_anything_is_looked_at(self, run, monkeypatch, tmp_path):
        monkeypatch.setattr(health, "examine", raising(AssertionError("looked")))
        assert run("--json", tmp_path / "none" / "doctor.json").exit_code == 2


def test_looked_at_passes_a_finding_on():
    fine = Finding("disk", "ok", "space")
    assert looked_at("disk", lambda: fine) is fine
