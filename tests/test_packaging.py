"""pyproject.toml, constraints.txt and environment.yml agree; the wheel is whole; the Makefile keeps its word."""

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONDA_NAMES = {"torch": "pytorch", "playwright": "playwright-python"}
BY_PIP = {"axe-playwright-python", "kaleido", "lm_eval", "ray"}
OPTIONAL = ("lm-eval", "optuna", "ray", "site", "sweep")
# torch itself pins these to one version each, and only its CUDA builds ask for them.
PINNED_BY_TORCH = re.compile(r"nvidia-|cuda-")


def requirements(*extras):
    """Requirements of the project and of some extras, the project's own name left out."""
    lines = [*PROJECT["dependencies"]]
    for extra in extras:
        lines += PROJECT["optional-dependencies"][extra]
    found = [Requirement(line) for line in lines]
    return [requirement for requirement in found if requirement.name != PROJECT["name"]]


def pins():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def installed_closure(name, extras, seen):
    """Names of everything that a distribution with its extras needs on this machine."""
    for line in importlib.metadata.requires(name) or []:
        needed = Requirement(line)
        asked = needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *extras))
        key = (canonicalize_name(needed.name), tuple(sorted(needed.extras)))
        if asked and key not in seen:
            seen.add(key)
            installed_closure(needed.name, tuple(needed.extras), seen)
    return {name for name, _ in seen}


def test_constraints_are_exact_sorted_and_plain():
    found = pins()
    names = [canonicalize_name(pin.name) for pin in found]
    assert names == sorted(set(names))
    for pin in found:
        (specifier,) = pin.specifier
        assert specifier.operator == "=="
        assert "+" not in specifier.version, f"{pin} names one build"
        assert pin.url is None


@pytest.mark.parametrize("requirement", requirements("lab", "gpu", "dev", *OPTIONAL), ids=str)
def test_each_range_admits_its_pin(requirement):
    (pin,) = [pin for pin in pins() if canonicalize_name(pin.name) == canonicalize_name(requirement.name)]
    (version,) = pin.specifier
    assert requirement.specifier.contains(version.version)


def test_the_lowest_versions_tested_are_the_lowest_admitted():
    lines = (ROOT / "constraints-lowest.txt").read_text(encoding="utf-8").splitlines()
    lowest = {pin.name: pin for pin in map(Requirement, (line for line in lines if not line.startswith("#")))}
    assert set(lowest) <= {pin.name for pin in pins()}
    (version,) = lowest["transformers"].specifier
    (admitted,) = [each.specifier for each in requirements() if each.name == "transformers"]
    (bound,) = [part.version for part in admitted if part.operator == ">="]
    assert version.version == f"{bound}.0" and admitted.contains(version.version)


def test_constraints_pin_everything_that_dev_brings():
    closure = installed_closure(PROJECT["name"], ("dev",), set()) - {canonicalize_name(PROJECT["name"])}
    pinned = {canonicalize_name(pin.name) for pin in pins()}
    assert {name for name in closure if not PINNED_BY_TORCH.match(name)} - pinned == set()


def test_dev_brings_the_lab_the_compiler_of_the_kernels_and_the_optional_parts():
    developing = [Requirement(line) for line in PROJECT["optional-dependencies"]["dev"]]
    (own,) = [each for each in developing if each.name == PROJECT["name"]]
    assert own.extras == {"lab", "gpu", *OPTIONAL}
    (triton,) = [Requirement(line) for line in PROJECT["optional-dependencies"]["gpu"]]
    assert triton.marker.evaluate({"sys_platform": "linux"}) and not triton.marker.evaluate({"sys_platform": "darwin"})


def test_the_pins_that_matter():
    pinned = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in pins()}
    assert pinned["torch"] == "2.13.0"
    assert pinned["transformers"].startswith("5.23.")
    assert pinned["plotly"].startswith("7.1.")
    assert pinned["ipywidgets"].startswith("8.1.")
    assert pinned["jupyterlab"].startswith("4.6.")


def test_torch_is_bounded_above_and_anywidget_is_listed():
    by_name = {requirement.name: requirement for requirement in requirements("lab")}
    assert any(part.operator == "<" for part in by_name["torch"].specifier)
    assert "anywidget" in by_name


def test_conda_environment_says_the_same():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["channels"] == ["conda-forge"]
    conda = {line.split()[0]: line for line in environment["dependencies"] if isinstance(line, str)}
    (by_pip,) = (line["pip"] for line in environment["dependencies"] if isinstance(line, dict))
    assert by_pip[0] == "-e ."
    conda |= {requirement.name: str(requirement) for requirement in map(Requirement, by_pip[1:])}
    assert {name for name in conda if name in BY_PIP} == {Requirement(line).name for line in by_pip[1:]}
    assert conda.pop("python") == f"python {PROJECT['requires-python']}"
    assert conda.pop("pip") == "pip"
    wanted = {CONDA_NAMES.get(each.name, each.name): each.specifier for each in requirements("lab", "dev", *OPTIONAL)}
    assert {name: Requirement(line).specifier for name, line in conda.items()} == wanted


def test_conda_notes_the_gpu_packages():
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    commented = [Requirement(line) for line in re.findall(r"^  # - (\S+ \S+)$", text, flags=re.MULTILINE)]
    noted = {requirement.name: requirement.specifier for requirement in commented}
    base = {each.name for each in requirements()}
    optional = {each.name: each.specifier for each in requirements("flash", "gpu") if each.name not in base}
    assert optional == {name: noted[name] for name in optional}
    assert noted["pytorch-gpu"] == {each.name: each for each in requirements()}["torch"].specifier


def test_the_licence_and_the_changelog_are_there():
    assert PROJECT["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from this checkout without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=100)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_is_whole(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    package = {name for name in names if name.startswith("selfextend_viz/")}
    assert {"selfextend_viz/py.typed", "selfextend_viz/cli/__init__.py", "selfextend_viz/__main__.py"} <= package
    for pattern in (r"demo/.*\.safetensors$", r"demo/.*config\.json$", r"demo/.*\.md$"):
        assert any(re.search(pattern, name) for name in package), f"nothing matches {pattern}"
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any("tests/" in name or "__pycache__" in name for name in names)
    assert wheel.stat().st_size <= 12 * 2**20


def test_the_wheel_works_away_from_the_repository(wheel, tmp_path):
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    environment = {**os.environ, "PYTHONPATH": str(site)}
    code = "import selfextend_viz; print(selfextend_viz.__file__)"
    found = run_python(["-c", code], cwd=tmp_path, env=environment)
    assert Path(found.stdout.strip()).is_relative_to(site)
    suggested = run_python(["-m", "selfextend_viz", "suggest", "4096", "16384"], cwd=tmp_path, env=environment)
    assert "1024" in suggested.stdout


def run_python(arguments, **options):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=True, timeout=60, **options
    )


@pytest.fixture
def bare(tmp_path):
    """A folder with the Makefile and the files it depends on, and no environment."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make(folder, *arguments):
    """What a make of its own prints, also where these tests run under make."""
    outer = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"}
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    return subprocess.run(["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
class TestMakefile:
    def test_the_first_run_builds_and_installs_with_the_pins(self, bare):
        planned = make(bare, "-n", "lab").stdout
        assert "-m venv .venv" in planned
        assert '-c constraints.txt -e ".[lab]"' in planned

    def test_the_second_run_only_runs(self, bare):
        (bare / ".venv").mkdir()
        for name in ("pyvenv.cfg", "lab.stamp", "dev.stamp"):
            (bare / ".venv" / name).touch()
        (line,) = make(bare, "-n", "test").stdout.strip().splitlines()
        assert "-m pytest" in line
        assert "|" not in line
        assert make(bare, "-n", "lab").stdout.strip() == ".venv/bin/selfextend-viz lab notebooks/00_lab.ipynb"

    def test_new_pins_are_installed(self, bare):
        (bare / ".venv").mkdir()
        for name in ("pyvenv.cfg", "lab.stamp", "dev.stamp"):
            (bare / ".venv" / name).touch()
            os.utime(bare / ".venv" / name, (1, 1))
        assert "pip install" in make(bare, "-n", "test").stdout

    def test_both_suites_asked_for_together_run_once(self, bare):
        (bare / ".venv").mkdir()
        for name in ("pyvenv.cfg", "lab.stamp", "dev.stamp"):
            (bare / ".venv" / name).touch()
        lines = make(bare, "-n", "test", "test-all").stdout.strip().splitlines()
        assert ["-m slow" in line for line in lines] == [False, True]

    def test_the_lowest_versions_lie_over_the_environment_and_leave_it_as_it_is(self, bare):
        (bare / ".venv").mkdir()
        for name in ("pyvenv.cfg", "lab.stamp", "dev.stamp"):
            (bare / ".venv" / name).touch()
        shutil.copy(ROOT / "constraints-lowest.txt", bare)
        planned = make(bare, "-n", "test-lowest").stdout
        assert "-m venv --clear .venv-lowest" in planned
        assert "--no-deps --ignore-installed -r constraints-lowest.txt" in planned
        named = re.search(r"pytest -n 2 (.*)", planned).group(1).split()
        assert named and [name for name in named if not (ROOT / name).is_file()] == []

    def test_an_old_python_is_refused_in_a_sentence(self, bare):
        old = bare / "python3.10"
        pretend = "import sys; sys.version_info = (3, 10, 4); exec(sys.argv[1])"
        old.write_text(f"#!/bin/sh\nexec '{sys.executable}' -c '{pretend}' \"$2\"\n", encoding="utf-8")
        old.chmod(0o755)
        refused = make(bare, "lab", f"PYTHON={old}")
        assert refused.returncode != 0
        assert "needs Python 3.11 or newer" in refused.stderr
        assert not (bare / ".venv").exists()


def test_continuous_integration_script():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True, timeout=20)
    text = script.read_text(encoding="utf-8")
    assert "set -euo pipefail" in text
    assert re.search(r"^make test test-all$", text, flags=re.MULTILINE)


class TestAudit:
    @pytest.fixture
    def verdict(self):
        specification = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        return module.verdict

    @pytest.mark.parametrize(
        ("packages", "status", "words"),
        [
            ([("a", []), ("b", [])], 0, "no known vulnerability in 2 pinned packages"),
            ([("a", []), ("b", None)], 0, "no known vulnerability in 1 pinned packages; 1 others are not listed there"),
            ([("a", None), ("b", None)], 0, "not done, the advisories reached know none of the 2 pinned packages"),
            ([("a", ["CVE-1"]), ("b", None)], 1, "1 known vulnerabilities\n  a 1.0: CVE-1"),
        ],
    )
    def test_what_was_found_decides(self, verdict, packages, status, words):
        listed = [
            {"name": name, "skip_reason": "unknown"}
            if found is None
            else {"name": name, "version": "1.0", "vulns": [{"id": one} for one in found]}
            for name, found in packages
        ]
        assert verdict(json.dumps({"dependencies": listed}), "") == (status, words)

    @pytest.mark.parametrize("report", ["", "{}", "null", "Traceback"])
    def test_no_answer_is_no_finding_and_is_said(self, verdict, report):
        assert verdict(report, "x\nno route to host\n") == (0, "not done, no advisories were reached: no route to host")


def repository_files():
    """Files of the repository as git sees them, or of the source distribution."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode == 0:
        return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]
    folders = [ROOT / name for name in ("selfextend_viz", "tests", "notebooks")]
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


def test_no_file_names_a_machine_or_a_registry():
    machines = ["/" + folder + "/" for folder in ("work", "root", "home")]
    registries = [".".join(host) for host in (("pypi", "org"), ("pythonhosted", "org"), ("download", "pytorch", "org"))]
    found = []
    for path in repository_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {word}" for word in machines + registries if word in text]
    assert found == []


def test_weights_and_results_are_text_or_small():
    too_big = [path for path in repository_files() if path.stat().st_size > 7 * 2**20]
    assert too_big == []


def test_the_readme_has_the_measured_tables():
    run_python(["benchmarks/readme_tables.py", "--check"], cwd=ROOT)


def test_the_readme_links_to_files_that_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)\)", text)
    local = [link for link in links if not link.startswith("https://")]
    assert "docs/images/lab.png" in local
    assert [link for link in local if not (ROOT / link).is_file()] == []
