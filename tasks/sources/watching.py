"""Watching of local sources: which changes of files call for a run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from threading import Condition, Event, Thread

import watchfiles

from roost.tasks.errors import SourceError
from roost.tasks.locations import local_path
from roost.tasks.sources.foreign_errors import describe_error
from roost.tasks.sources.source import Source, absolute_uri

#: Time without a further change after which a run may begin, and the longest time that one change waits for others.
QUIET_S, MAX_WAIT_S = 0.3, 2.0
#: Interval at which the sources are listed, whatever the system tells of changes.
LIST_INTERVAL_S = 3600.0
#: Most changed files that a run is given by name.
MAX_NAMES = 500
#: How long the operating system's changes are collected before they are looked at, and how often a watch looks whether
#: it is to end, ms.
_COLLECT_MS, _LOOK_MS = 50, 250
#: Interval at which the thread that waits for changes looks whether a run is due.
_POLL_S = 0.15


class SourceWatch:
    """Notes, in a thread, that files of local sources change, from the beginning of its context.

    Late and doubled notices change no result: a run compares what it finds with the index. For lost ones, all is to be
    listed once an hour.
    """

    def __init__(self, sources: Sequence[Source], ignored: Sequence[Path] = ()) -> None:
        """Check the sources.

        Args:
            sources: Each a local file, folder or glob.
            ignored: Files and folders in them that a run itself changes.

        Raises:
            SourceError: One is not on this machine.
        """
        for source in sources:
            if local_path(source.uri) is None:
                raise SourceError(
                    f"{source.uri} cannot be watched: only local files and folders can; use roost schedule"
                )
        self._sources = [(Path(source.place), source) for source in sources]
        self._ignored = [path.absolute() for path in ignored]
        self._changed = Condition()
        self._files = {Path(absolute_uri(file)) for source in sources if (file := source.metadata.file)}
        self._first = self._last = 0.0  # of the changes that no run has seen; 0 for none
        self._names: set[str] = set()  # of the files that have changed
        self._is_all = False
        self._listed = time.monotonic()
        self._problem = ""
        self._stop = Event()

    def __enter__(self) -> SourceWatch:
        """Begin; returns when the watch sees changes.

        Raises:
            SourceError: A place is gone, or the system allows no more watches.
        """
        for place, source in self._sources:
            if not place.exists():
                raise SourceError(f"no such file or folder: {source.uri}")
        folders = {place for place, _ in self._sources if place.is_dir()}
        parents = {place.parent for place, _ in self._sources if place.is_file()} - folders
        begun = [self._begin(paths, is_deep) for paths, is_deep in ((folders, True), (parents, False)) if paths]
        for one in begun:
            one.wait()
        self._raise_problem()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()

    def wait(self) -> list[str]:
        """Wait for a change, and then until nothing has changed for a moment.

        Returns:
            Paths of the files that have changed; none where the sources are to be listed: of many changes, of one in a
            file of rules, and where that was not done for an hour.

        Raises:
            SourceError: The watch has ended.
        """
        with self._changed:
            while not self._is_due():
                self._changed.wait(_POLL_S)  # not for ever: after an event loop, Ctrl-C ends no wait for a lock
                self._raise_problem()
            is_all = self._is_all or self._is_listing_due()
            names = [] if is_all else sorted(self._names)
            self._first, self._last, self._names, self._is_all = 0.0, 0.0, set(), False
            if is_all:
                self._listed = time.monotonic()
            return names

    def _is_due(self) -> bool:
        now = time.monotonic()
        is_changed = bool(self._first) and (now - self._last >= QUIET_S or now - self._first >= MAX_WAIT_S)
        return is_changed or (not self._first and self._is_listing_due())

    def _is_listing_due(self) -> bool:
        return time.monotonic() - self._listed >= LIST_INTERVAL_S

    def _begin(self, paths: set[Path], is_deep: bool) -> Event:
        begun = Event()
        Thread(target=self._note_changes, args=(paths, is_deep, begun), name="watching", daemon=True).start()
        return begun

    def _note_changes(self, paths: set[Path], is_deep: bool, begun: Event) -> None:
        problem = "it has ended"
        try:
            for changes in watchfiles.watch(
                *paths,
                watch_filter=lambda _, path: self.is_relevant(Path(path)),
                debounce=_COLLECT_MS,
                step=_COLLECT_MS,
                stop_event=self._stop,
                rust_timeout=_LOOK_MS,
                yield_on_timeout=True,
                recursive=is_deep,
            ):
                if changes:
                    self.note_changes_of({Path(path) for _, path in changes})
                begun.set()
        except Exception as error:  # noqa: BLE001  the watcher raises what each system gives
            problem = describe_error(error)
        with self._changed:
            self._problem = problem
            self._changed.notify()
        begun.set()

    def note_changes_of(self, paths: set[Path]) -> None:
        """Note that files have changed."""
        with self._changed:
            if not self._is_all:
                self._names |= {str(path) for path in paths}
                self._is_all = len(self._names) > MAX_NAMES or not paths.isdisjoint(self._files)
            self._last = time.monotonic()
            self._first = self._first or self._last
            self._changed.notify()

    def _raise_problem(self) -> None:
        if self._problem:
            places = ", ".join(str(place) for place, _ in self._sources)
            raise SourceError(f"{places} cannot be watched: {self._problem}")

    def is_relevant(self, path: Path) -> bool:
        """Whether a changed path may belong to a source: not hidden, and chosen by its globs if it is a file."""
        if any(path.is_relative_to(one) for one in self._ignored):
            return False
        return path in self._files or any(_is_in(path, place, source) for place, source in self._sources)


def _is_in(path: Path, place: Path, source: Source) -> bool:
    if not path.is_relative_to(place):
        return False
    relative = path.relative_to(place)
    if any(part.startswith(".") or part == "__pycache__" for part in relative.parts):
        return False
    return path == place or not path.is_file() or source.covers(relative.as_posix())
