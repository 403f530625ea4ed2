# Memory (MB) and time (minutes) of jobs, measured in benchmarks/ of the demo and scaled to the size of
# the brain: its sections, and its pixels or voxels at the resolution of the config. Jobs get twice the
# memory and about five times the time that were measured, and as much again at each further attempt.
# The demo's networks are small; what a GPU job needs is in the profile.

# chosen, not measured: a slide with a section of a human brain; only the scan has its true size
SECTION_MM2 = 130 * 100


def sized(amount):
    """Resource function: an amount, or a function of the wildcards, times the attempt."""

    def at_attempt(wildcards, attempt):
        return attempt * int(amount(wildcards) if callable(amount) else amount)

    return at_attempt


def megapixels(stage):
    """Megapixels of a section at the resolution of a stage."""
    return SECTION_MM2 / config[stage]["spacing_um"] ** 2


def megavoxels(w, voxel_mm):
    """Megavoxels of a brain from its first section to its last; the template counts as 180 mm."""
    sections = OF_BRAIN.get(w.brain)
    depth_mm = 180
    if sections:
        numbers = [s.section for s in sections]
        thickness_mm = sections[0].thickness_um / 1000
        depth_mm = (max(numbers) - min(numbers) + 1) * thickness_mm
    return SECTION_MM2 * depth_mm / voxel_mm**3 / 1e6


def memory_of_sections(stage, voxel_mm=None):
    """Memory for one section at a time, 0.5 GB per megapixel, and for a volume of the brain."""

    def of_chunk(w):
        volume = 5 * megavoxels(w, voxel_mm) if voxel_mm else 0
        return 800 + 500 * megapixels(stage) + volume

    return sized(of_chunk)


def minutes_of_chunk(stage, seconds):
    """Resource function: `seconds` per megapixel and section of the chunk."""

    def of_chunk(w):
        return 10 + len(OF_CHUNK[w.brain, w.chunk]) * megapixels(stage) * seconds / 60

    return sized(of_chunk)


def of_voxels(start, each, voxel_mm):
    """Resource function: `start`, and `each` per megavoxel of the brain."""

    def of_brain(w):
        return start + each * megavoxels(w, voxel_mm)

    return sized(of_brain)


def of_all_sections(start, each):
    """Resource function: `start`, and `each` per section of the study."""
    return sized(start + each * len(SECTIONS))


def memory_of_probes(w, attempt):
    """Memory of a probe: tables of points, and training features up to the `cache_mb` of the run.

    A section has some 1,100 points; half of them, with a label, have 4.5 MB of 2,048 features.
    """
    cache_mb = settings_of_task("areas")(w)["cache_mb"]
    return attempt * int(
        1500 + 0.4 * len(SECTIONS) + min(cache_mb, 4.5 * len(SECTIONS))
    )


def of_sections(start, each):
    """Resource function: `start`, and `each` per section of the brain."""

    def of_brain(w):
        return start + each * len(OF_BRAIN[w.brain])

    return sized(of_brain)


# the processes that read patches while a network is applied
FEATURE_THREADS = max(1, config["features"]["network"]["workers"])


def memory_of_features(base):
    """Resource function: `base`, the workers, and a batch of each, made and waiting."""

    def of_job(w, attempt):
        settings = config["features"]["network"]
        batch_mb = settings["batch_size"] * run_settings(w.run)["patch_px"] ** 2 / 1e6
        workers_mb = settings["workers"] * (300 + 2 * batch_mb)
        return base(w, attempt) + attempt * int(workers_mb)

    return of_job
