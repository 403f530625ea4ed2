"""The folder in which numba caches compiled code, so that later jobs need not compile."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def configure_cache() -> None:
    """Give numba a temporary folder if it has no other; called by `import cytopipe`.

    numba uses NUMBA_CACHE_DIR, else `__pycache__` beside a module, else ~/.cache/numba. If it
    cannot write to any, as in a container without a home, the import of a kernel fails.
    """
    places = [Path(__file__).parent / "__pycache__"]
    with suppress(RuntimeError):  # a user unknown to the system has no home
        cache = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
        places.append(Path(cache, "numba"))
    if "NUMBA_CACHE_DIR" not in os.environ and not any(map(_writable, places)):
        os.environ["NUMBA_CACHE_DIR"] = str(_own_folder())


def _own_folder() -> Path:
    """A folder that the jobs of a user share; code in another user's folder must not be run."""
    folder = Path(tempfile.gettempdir(), f"cytopipe-numba-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        return Path(tempfile.mkdtemp(prefix="cytopipe-numba-"))
    return folder


def _writable(folder: Path) -> bool:
    # try it, as numba does: permissions do not show that a file system is read-only
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True
