"""Sees what appears under a final name, and what it held at that moment."""

import hashlib
import io
import os
import threading
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType


@dataclass(frozen=True)
class Sighting:
    """A file as it was when it was first seen in this state."""

    path: Path
    size: int
    sha256: str
    is_archive: bool


class Watcher:
    """Polls folders from a thread of its own while a `with` block runs.

    A file is read as soon as its name, inode, size or time of change is new; names that begin with
    a dot are unfinished by agreement and left alone. What stood there before the block is no news.

    Attributes
    ----------
    sightings : in the order in which they were made.
    polls : how often every folder was looked at.
    """

    def __init__(self, folders: Iterable[Path], every_s: float = 0.002) -> None:
        self.folders = sorted(set(folders))
        self.every_s = every_s
        self.sightings: list[Sighting] = []
        self.polls = 0
        self._known: dict[Path, tuple[int, int, int]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Watcher":
        self._look(reading=False)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._look(reading=True)  # what came since the last poll

    def _watch(self) -> None:
        while not self._stop.wait(self.every_s):
            self._look(reading=True)

    def _look(self, reading: bool) -> None:
        for folder in self.folders:
            for place, folders, names in os.walk(folder):
                folders[:] = [name for name in folders if not name.startswith(".")]
                for name in names:
                    if not name.startswith("."):
                        self._see(Path(place, name), reading)
        self.polls += 1

    def _see(self, path: Path, reading: bool) -> None:
        try:
            found = path.stat()
            state = (found.st_ino, found.st_size, found.st_mtime_ns)
            if self._known.get(path) == state:
                return
            self._known[path] = state
            if reading:
                content = path.read_bytes()
                digest = hashlib.sha256(content).hexdigest()
                archive = zipfile.is_zipfile(io.BytesIO(content))
                self.sightings.append(Sighting(path, len(content), digest, archive))
        except FileNotFoundError:  # deleted in between
            return

    def unfinished(self, expected: Mapping[Path, str]) -> list[str]:
        """What was seen under a final name and is not what `expected` (SHA-256) says of it.

        A checkpoint is in no finished study; its archive ends with its table of contents.
        """
        return [
            f"{sight.path}: {sight.size} bytes, not the finished file"
            for sight in self.sightings
            if sight.sha256 != expected.get(sight.path)
            and not (sight.path.name == "checkpoint.pt" and sight.is_archive)
        ]
