"""Limits the threads of libraries to those of the job; their default is one per core."""

import os
import sys

from threadpoolctl import threadpool_limits

# read by OpenMP, BLAS and OpenCV when they are loaded, and by child processes. That of numba is not
# included, because numba refuses to compile after a change of it
_NUM_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_VARIABLES = (*_NUM_THREADS, "OPENCV_FOR_THREADS_NUM")


def use(threads: int) -> None:
    """Limit BLAS, OpenMP, OpenCV, numba and torch for the rest of the process.

    `provenance.recorded` calls this for the `run` of every stage, with its argument `threads` or 1.
    Code that starts processes calls it in each of them.
    """
    os.environ.update(dict.fromkeys(_VARIABLES, str(threads)))
    # not imported here: libraries loaded later read the environment
    if cv2 := sys.modules.get("cv2"):
        cv2.setNumThreads(threads)
    if numba := sys.modules.get("numba"):
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)
    # last, because numba and torch set OpenMP's threads
    threadpool_limits(threads)
