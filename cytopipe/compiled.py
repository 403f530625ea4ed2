"""Where numba keeps what it compiled, so that a job finds it and compiles nothing."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def configure_cache() -> None:
    """See to a folder for compiled code before numba looks for one; called by `import cytopipe`.

    numba takes NUMBA_CACHE_DIR, else `__pycache__` beside a module, else ~/.cache/numba; where it
    can write none, as in a container without a home, the import of a kernel fails. There this names
    a folder among the temporary files.
    """
    places = [Path(__file__).parent / "__pycache__"]
    with suppress(RuntimeError):  # a user whom the system does not know has no home
        cache = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
        places.append(Path(cache, "numba"))
    if "NUMBA_CACHE_DIR" not in os.environ and not any(map(_writable, places)):
        os.environ["NUMBA_CACHE_DIR"] = str(_own_folder())


def _own_folder() -> Path:
    """One that the jobs of a user share; another's may hold code that is not ours to run."""
    folder = Path(tempfile.gettempdir(), f"cytopipe-numba-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        return Path(tempfile.mkdtemp(prefix="cytopipe-numba-"))
    return folder


def _writable(folder: Path) -> bool:
    # tried, as numba does: permissions do not tell of a file system that is read-only
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True
