"""What the wheels of open3d and pymeshlab take from the system: there, or installed, or named.

Run by `make` before anything else is imported. As root on Debian or Ubuntu the missing ones are
installed; elsewhere the line to type is printed and the exit status is 1.
"""

import ctypes
import os
import shutil
import subprocess
import sys

# library -> Debian and Ubuntu package
LIBRARIES = {
    "libusb-1.0.so.0": "libusb-1.0-0",
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libX11.so.6": "libx11-6",
    "libOpenGL.so.0": "libopengl0",
    "libgomp.so.1": "libgomp1",
}


def missing() -> list[str]:
    """Packages of the libraries that do not load."""
    absent = []
    for library, package in LIBRARIES.items():
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
        f"elsewhere install what provides {', '.join(LIBRARIES)}; then run make again.",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
