"""What the doctor looks at on the machine: Python, libraries, processor, memory, disk, attention."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from selfextend_viz import __version__
from selfextend_viz.cli.finding import Finding
from selfextend_viz.experiments.free_memory import available_memory

GIB = 2**30
LAB_MEMORY = 0.75 * GIB  # the lab's kernel takes 0.6 GiB with the demo model, Jupyter's server the rest
EASY_MEMORY = 2 * GIB
LITTLE_DISK = GIB // 5
OLDEST_PYTHON = (3, 11)


def installed_version(name: str) -> str | None:
    """The version of an installed distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def wanted_versions() -> dict[str, Requirement]:
    """What this package asks of others, by their names; nothing where it was not installed but only unpacked."""
    try:
        lines = importlib.metadata.requires("selfextend-viz") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    return {requirement.name: requirement for requirement in map(Requirement, lines)}


def check_package(folder: Path = Path(__file__).parents[1]) -> Finding:
    """Which copy of the package runs."""
    return Finding("selfextend-viz", "ok", f"{__version__}, in {folder}")


def check_python(version: Sequence[int] = tuple(sys.version_info[:3]), executable: str = sys.executable) -> Finding:
    """Whether Python is new enough."""
    shown = ".".join(map(str, version))
    found = f"{shown}, {executable}"
    if tuple(version[:2]) >= OLDEST_PYTHON:
        return Finding("Python", "ok", found)
    oldest = ".".join(map(str, OLDEST_PYTHON))
    return Finding("Python", "problem", found, f"Python {oldest} or newer is needed; make an environment with it")


def check_libraries(
    names: Sequence[str] = ("torch", "transformers", "plotly", "numpy"),
    *,
    name: str = "libraries",
    extra: str = "",
    version_of: Callable[[str], str | None] = installed_version,
    wanted: dict[str, Requirement] | None = None,
) -> Finding:
    """Whether libraries are there, at versions that were tried."""
    ranges = wanted_versions() if wanted is None else wanted
    versions = {library: version_of(library) for library in names}
    found = ", ".join(f"{library} {version or 'missing'}" for library, version in versions.items())
    missing = [library for library, version in versions.items() if version is None]
    if missing:
        return Finding(name, "problem", found, f'pip install "selfextend-viz{extra}" brings {", ".join(missing)}')
    asked = [ranges[library] for library in names if library in ranges]
    untried = [f"{each.name}{each.specifier}" for each in asked if not _admits(each, versions[each.name])]
    if untried:
        wishes = " ".join(f'"{each}"' for each in untried)
        return Finding(name, "note", found, f"Outside the versions that were tried; pip install {wishes}")
    return Finding(name, "ok", found)


def _admits(requirement: Requirement, version: str | None) -> bool:
    return version is not None and requirement.specifier.contains(version, prereleases=True)


def load_torch() -> Any:
    """The torch module."""
    return importlib.import_module("torch")


def check_torch(load: Callable[[], Any] = load_torch, cores: int | None = os.cpu_count()) -> Finding:
    """Whether torch loads, which build it is, and how many threads it takes."""
    try:
        torch = load()
    except (ImportError, OSError) as error:
        return Finding(
            "torch", "problem", f"does not load: {error}", 'pip install --force-reinstall "torch>=2.13,<2.14"'
        )
    threads = torch.get_num_threads()
    found = (
        f"{torch.__version__}, {_build(torch)}, {threads} {'thread' if threads == 1 else 'threads'} on {cores} cores"
    )
    if threads == 1 and (cores or 1) > 1:
        return Finding("torch", "note", found, "One thread is slow; unset OMP_NUM_THREADS, or raise it")
    return Finding("torch", "ok", found)


def _build(torch: Any) -> str:
    if torch.version.cuda:
        return f"for CUDA {torch.version.cuda}"
    hip = getattr(torch.version, "hip", None)
    return f"for ROCm {hip}" if hip else "for the processor alone"


def check_gpu(
    load: Callable[[], Any] = load_torch, driver: Callable[[], str | None] = lambda: shutil.which("nvidia-smi")
) -> Finding:
    """Which GPU torch can use; the demo model needs none."""
    torch = load()
    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        return Finding("GPU", "ok", ", ".join(f"{card.name}, {card.total_memory / GIB:.0f} GiB" for card in cards))
    if torch.backends.mps.is_available():
        return Finding("GPU", "ok", "Apple's, through Metal (mps)")
    if driver() is None:
        return Finding("GPU", "ok", "none; the demo model runs on the processor")
    if torch.version.cuda is None:
        remedy = "This torch is built without CUDA; install its CUDA build, as pytorch.org/get-started says"
        return Finding("GPU", "note", "there is an NVIDIA driver, but torch cannot use it", remedy)
    remedy = f"Update the driver until nvidia-smi shows CUDA {torch.version.cuda} or newer"
    return Finding("GPU", "note", f"torch is built for CUDA {torch.version.cuda}, but finds no card", remedy)


def check_memory(available: Callable[[], float | None] = available_memory) -> Finding:
    """Whether there is memory for the lab."""
    free = available()
    if free is None:
        return Finding("memory", "note", "cannot be told without psutil", 'pip install "selfextend-viz[lab]" brings it')
    found = f"{free / GIB:.1f} GiB free"
    if free < LAB_MEMORY:
        remedy = f"The lab takes {LAB_MEMORY / GIB:g} GiB; close programs and other notebooks' kernels"
        return Finding("memory", "problem", found, remedy)
    if free < EASY_MEMORY:
        return Finding(
            "memory", "note", found, "Enough for the demo model; close other kernels before a model of your own"
        )
    return Finding("memory", "ok", found)


def check_disk(
    folder: Path | None = None, free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free
) -> Finding:
    """Whether the lab's notebook can be written into the current folder."""
    here = Path.cwd() if folder is None else folder
    if not os.access(here, os.W_OK):
        return Finding("disk", "problem", f"{here} cannot be written to", "Go to a folder of your own, and start there")
    left = free(here)
    found = f"{left / GIB:.1f} GiB free in {here}"
    if left < LITTLE_DISK:
        return Finding("disk", "note", found, "Notebooks may not save; free some space")
    return Finding("disk", "ok", found)


def check_attention(listed: Callable[[], Sequence[Any]] | None = None) -> Finding:
    """What runs attention here, each kernel tried."""
    if listed is None:
        from selfextend_viz.attention import implementations

        listed = implementations
    rows = listed()
    runs = [row for row in rows if row.available]
    kernels = {row.device for row in runs if row.name == "flash"}
    absent = [row for row in rows if not row.available and "no CUDA device" not in row.reason]
    found = ", ".join(f"{row.name} ({row.kernel})" for row in runs)
    if not kernels:
        return Finding("attention", "note", found, "Eager attention alone takes memory that grows as N²; update torch")
    if absent:
        why = "; ".join(f"{row.kernel}: {row.reason.rstrip('.')}" for row in absent)
        return Finding("attention", "note", found, f"The others serve as well, if slower. Not here: {why}")
    return Finding("attention", "ok", found)
