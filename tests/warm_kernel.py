"""A notebook's kernel as a fork of a process that has imported torch and its like, which is what takes kernels long.

Only others' packages are imported before the fork: what ours does when it is imported still happens in the notebook.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from jupyter_client import AsyncKernelManager

IMPORTED = [
    "einops",
    "ipykernel.ipkernel",
    "ipykernel.kernelapp",
    "ipywidgets",
    "numpy",
    "plotly.graph_objects",
    "torch",
    "torch.utils.checkpoint",
    "transformers.masking_utils",
    "transformers.models.llama.modeling_llama",
]


class ForkedKernel(AsyncKernelManager):
    """A manager of a kernel that somebody else started, and ends."""

    process: BaseProcess | None = None

    @property
    def has_kernel(self) -> bool:
        """Whether there is a kernel to talk to."""
        return self.process is not None

    async def is_alive(self) -> bool:
        """Whether it still runs."""
        return self.process is not None and self.process.is_alive()


def run(connection_file: str, folder: str, environment: dict[str, str]) -> None:
    """The kernel: ends with its process."""
    from ipykernel.kernelapp import launch_new_instance

    os.chdir(folder)
    os.environ.update(environment)
    launch_new_instance(argv=["-f", connection_file])


@contextmanager
def warm_kernel(folder: Path, **environment: str) -> Iterator[ForkedKernel]:
    """A kernel that works in `folder`."""
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    manager = ForkedKernel(owns_kernel=False)
    manager.write_connection_file()
    manager.process = context.Process(target=run, args=(manager.connection_file, str(folder), environment))
    manager.process.start()
    try:
        yield manager
    finally:
        manager.process.kill()
        manager.process.join()
        manager.process.close()
        manager.cleanup_connection_file()
