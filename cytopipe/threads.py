"""How many threads libraries compute on: as many as a job was given, not one for each core."""

import os
import sys

from threadpoolctl import threadpool_limits

# read by OpenMP, BLAS and OpenCV when they are loaded, and by child processes. numba's own is not
# among them: numba refuses to compile once it is changed
_VARIABLES = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
    "OPENCV_FOR_THREADS_NUM",
)


def use(threads: int) -> None:
    """Let BLAS, OpenMP, OpenCV, numba and torch take no more, for the rest of the process.

    What is loaded is told, the rest finds it in the environment. `provenance.recorded` calls it for
    the `run` of every stage, with its argument `threads` or else 1; what starts processes calls it
    in each of them.
    """
    os.environ.update(dict.fromkeys(_VARIABLES, str(threads)))
    # looked up, not imported: a stage that needs no torch does not wait for it
    if cv2 := sys.modules.get("cv2"):
        cv2.setNumThreads(threads)
    if numba := sys.modules.get("numba"):
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)
    # last: numba and torch tell OpenMP what they think right
    threadpool_limits(threads)
