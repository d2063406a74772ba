"""The house keeps its floors: imports go down only, and heavy libraries stay where they belong."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "selfextend_viz"
FLOORS = {
    "positions": 0,
    "rope": 1,
    "frequencies": 1,
    "attention": 2,
    "methods": 3,
    "patch": 4,
    "demo": 4,
    "checkpoints": 4,
    "bench": 5,
    "experiments": 5,
    "evaluation": 6,
    "sweeps": 6,
    "plots": 7,
    "widgets": 8,
    "course": 9,
    "cli": 9,
    "__main__": 10,
}
HOMES_OF_LIBRARIES = {
    "transformers": ("patch", "demo", "checkpoints"),
    "flash_attn": ("attention.flash_attn_kernels",),
    "triton": (
        "attention.fused_decode_kernels",
        "attention.fused_kernels",
        "attention.fused_prefill",
    ),
    "ipywidgets": ("widgets",),
    "anywidget": ("widgets",),
    "typer": ("cli",),
    "rich": ("cli",),
    "ray": ("sweeps.cluster",),
    "optuna": ("sweeps.search",),
    "pyarrow": ("sweeps.parquet",),
    "datasets": ("experiments.texts",),
    "lm_eval": ("evaluation.harness",),
}
LONGEST_MODULE = 330
MODULES = sorted(PACKAGE.rglob("*.py"))


def dotted(path):
    """A module's name inside the package: ``attention.flash``, or ``attention`` for its ``__init__``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def imported_names(path):
    """Every module that a file imports, at any depth of nesting, as written."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_room_has_a_floor():
    rooms = {dotted(path).split(".")[0] for path in MODULES} - {"__init__"}
    assert rooms <= set(FLOORS)


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_imports_go_down(path):
    room = dotted(path).split(".")[0]
    if room == "__init__":
        return
    for name in imported_names(path):
        parts = name.split(".")
        if parts[0] == "selfextend_viz" and parts[1] in FLOORS and parts[1] != room:
            assert FLOORS[parts[1]] < FLOORS[room], f"{dotted(path)} (floor {FLOORS[room]}) imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_libraries_stay_in_their_rooms(path):
    module = dotted(path)
    for name in imported_names(path):
        homes = HOMES_OF_LIBRARIES.get(name.split(".")[0])
        if homes is not None:
            assert any(module == home or module.startswith(f"{home}.") for home in homes), f"{module} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_modules_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE


def loaded_by(statement):
    """Names of top-level modules present after `statement` in a fresh interpreter."""
    code = f"import sys; {statement}; sys.stdout.write(' '.join(sorted({{m.split('.')[0] for m in sys.modules}})))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(run.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "positions",
        "methods",
        "plots",
        "bench.rows",
        "experiments",
        "experiments.rows",
        "sweeps",
        "demo",
        "demo.corpus",
        "cli",
        "course",
    ],
)
def test_light_modules_load_no_torch(module):
    assert loaded_by(f"import selfextend_viz.{module}").isdisjoint({"torch", "transformers"})


def test_the_package_is_lazy():
    heavy = {"torch", "transformers", "numpy", "plotly", "ipywidgets", "typer"}
    assert loaded_by("import selfextend_viz; dir(selfextend_viz)").isdisjoint(heavy)


def test_a_position_needs_no_torch_from_the_top():
    assert "torch" not in loaded_by("from selfextend_viz import SelfExtend, plot_reach, suggest")


def test_every_public_name_is_there():
    import selfextend_viz

    for name in selfextend_viz.__all__:
        assert getattr(selfextend_viz, name) is not None
        assert name in dir(selfextend_viz)
    with pytest.raises(AttributeError, match="no attribute 'self_extend'"):
        _ = selfextend_viz.self_extend


def test_type_checkers_see_what_the_program_loads():
    """The names under TYPE_CHECKING and the lazy table are the same, from the same modules."""
    import selfextend_viz

    seen = {
        alias.name: node.module
        for node in ast.walk(ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("selfextend_viz.")
        for alias in node.names
    }
    assert seen == {name: f"selfextend_viz.{home}" for name, home in selfextend_viz._HOME_OF.items()}
    assert sorted(seen) == sorted(selfextend_viz.__all__)
