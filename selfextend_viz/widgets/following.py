"""Follow a file that another process writes: a thread of its own looks, and tells when there is more."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any

from selfextend_viz.sweeps.rows import CellRow
from selfextend_viz.sweeps.store import Store, StoreError

SECONDS = 1.0
"""Between two looks."""


class Follower:
    """Looks at a store every second, and hears of its rows whenever there are more.

    Parameters
    ----------
    store
        The store; it need not exist yet.
    hear
        A method, called with all rows and what the store says of itself, on the follower's thread; the follower does
        not keep its owner alive.
    refuse
        A method, called with a sentence where the store cannot be read, and with "" once it can.
    seconds
        Between two looks.
    """

    def __init__(
        self,
        store: Store,
        hear: Callable[[list[CellRow], dict[str, Any]], None],
        refuse: Callable[[str], None],
        *,
        seconds: float = SECONDS,
    ) -> None:
        self._store, self._seconds = store, seconds
        self._hear, self._refuse = weakref.WeakMethod(hear), weakref.WeakMethod(refuse)
        self._count = -1
        self._refused = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="selfextend-follower", daemon=True)

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()

    @property
    def following(self) -> bool:
        """Whether it still looks."""
        return self._thread.is_alive() and not self._stop.is_set()

    def look(self) -> bool:
        """Look once; whether there was more."""
        try:
            if not self._store.path.exists():
                self._say(f"{self._store.path} is not there yet; a sweep makes it")
                return False
            count = len(self._store)
            if count == self._count:
                return False
            rows, about = self._store.rows(), self._store.about()
        except StoreError as error:
            self._say(str(error))
            return False
        self._count = len(rows)
        hear = self._hear()
        if hear is None:
            self.stop()
            return False
        if self._refused:
            self._say("")
        hear(rows, about)
        return True

    def _say(self, sentence: str) -> None:
        self._refused = bool(sentence)
        refuse = self._refuse()
        if refuse is None:
            self.stop()
        else:
            refuse(sentence)

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            self.look()
