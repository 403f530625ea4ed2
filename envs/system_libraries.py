"""What the wheels of open3d and pymeshlab take from the system: there, or installed, or named.

Run by `make` before anything else is imported. As root on Debian or Ubuntu the missing ones are
installed; elsewhere the line to type is printed and the exit status is 1.
"""

import ctypes
import os
import shutil
import subprocess
import sys

# library -> package of Debian and Ubuntu, package of conda-forge
LIBRARIES = {
    "libusb-1.0.so.0": ("libusb-1.0-0", "libusb"),
    "libGL.so.1": ("libgl1", "libgl"),
    "libEGL.so.1": ("libegl1", "libegl"),
    "libX11.so.6": ("libx11-6", "xorg-libx11"),
    "libOpenGL.so.0": ("libopengl0", "libopengl"),
    "libgomp.so.1": ("libgomp1", "libgomp"),
}


def missing() -> list[str]:
    """Debian packages of the libraries that do not load."""
    absent = []
    for library, (package, _) in LIBRARIES.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            absent.append(package)
    return absent


def main() -> int:
    """Return 0 when every library loads."""
    if not (packages := missing()):
        return 0
    install = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if shutil.which("apt-get") and os.geteuid() == 0:
        print("installing system libraries that open3d and pymeshlab need:", *packages, flush=True)
        quiet = {
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.DEVNULL,
            "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        }
        if subprocess.run(install, **quiet).returncode:
            # a bare image has no package lists yet
            subprocess.run(["apt-get", "update"], **quiet)
            subprocess.run(install, **quiet)
        if not (packages := missing()):
            return 0
    print(
        "open3d and pymeshlab need system libraries that are not here. On Debian or Ubuntu type:\n"
        "    sudo apt-get update && sudo apt-get install -y --no-install-recommends "
        f"{' '.join(packages)}\n"
        f"elsewhere install what provides {', '.join(LIBRARIES)}\n"
        "(envs/cytopipe.yaml has the names of conda-forge); then run this again.",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
