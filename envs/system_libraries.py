"""Check the system libraries that open3d and pymeshlab need; install or name the missing ones.

`make` runs it before anything else is imported. As root on Debian or Ubuntu it installs what is
missing; elsewhere it prints the command to type and exits with 1. With --browser, as in `make
test`, it also checks for Chromium, in which the tests open the report's pages.
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
# any of them will do; Chrome is the same browser
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def missing(browser: bool) -> list[str]:
    """Debian packages of the libraries that do not load, and of a browser where one is wanted."""
    absent = ["chromium"] if browser and not any(map(shutil.which, BROWSERS)) else []
    for library, (package, _) in LIBRARIES.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            absent.append(package)
    return absent


def main() -> int:
    """Return 0 when all is there."""
    browser = "--browser" in sys.argv[1:]
    if not (packages := missing(browser)):
        return 0
    install = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if shutil.which("apt-get") and os.geteuid() == 0:
        print("installing what the system lacks:", *packages, flush=True)
        quiet = {
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.DEVNULL,
            "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        }
        if subprocess.run(install, **quiet).returncode:
            # a bare image has no package lists yet
            subprocess.run(["apt-get", "update"], **quiet)
            subprocess.run(install, **quiet)
        if not (packages := missing(browser)):
            return 0
    wanted = [*LIBRARIES, *(["Chromium or Chrome"] if browser else [])]
    print(
        "open3d and pymeshlab need system libraries, and the tests a browser, that are not here. "
        "On Debian or Ubuntu type:\n"
        "    sudo apt-get update && sudo apt-get install -y --no-install-recommends "
        f"{' '.join(packages)}\n"
        f"elsewhere install what provides {', '.join(wanted)}\n"
        "(envs/cytopipe.yaml has the names of conda-forge); then run this again.",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
