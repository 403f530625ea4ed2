# Memory (MB) and time (minutes) of jobs, from benchmarks/ of the demo and scaled to a brain's size: its
# sections, and its pixels or voxels at the resolution of the config. Twice the memory and some five
# times the time that were measured; each further attempt asks for as much again. All networks are
# small in the demo: what a GPU needs stands in the profile.

# a section of a human brain and its slide, whose true size only the scan knows
SECTION_MM2 = 130 * 100


def sized(amount):
    """Resource function: an amount, or a function of the wildcards, more at each attempt."""

    def at_attempt(wildcards, attempt):
        return attempt * int(amount(wildcards) if callable(amount) else amount)

    return at_attempt


def megapixels(stage):
    """Of a section at the resolution of a stage."""
    return SECTION_MM2 / config[stage]["spacing_um"] ** 2


def megavoxels(w, voxel_mm):
    """Of a brain, from its first section to its last; of the template as of a brain of 180 mm."""
    sections = OF_BRAIN.get(w.brain)
    depth_mm = 180
    if sections:
        numbers = [s.section for s in sections]
        thickness_mm = sections[0].thickness_um / 1000
        depth_mm = (max(numbers) - min(numbers) + 1) * thickness_mm
    return SECTION_MM2 * depth_mm / voxel_mm**3 / 1e6


def memory_of_sections(stage):
    """A section at a time, 0.5 GB a megapixel."""
    return sized(800 + 500 * megapixels(stage))


def minutes_of_chunk(stage, seconds):
    """Resource function: `seconds` a megapixel and section of the chunk."""

    def of_chunk(w):
        return 10 + len(OF_CHUNK[w.brain, w.chunk]) * megapixels(stage) * seconds / 60

    return sized(of_chunk)


def of_voxels(start, each, voxel_mm):
    """Resource function: `start`, and `each` a megavoxel of the brain."""

    def of_brain(w):
        return start + each * megavoxels(w, voxel_mm)

    return sized(of_brain)


def of_sections(start, each):
    """Resource function: `start`, and `each` a section of the brain."""

    def of_brain(w):
        return start + each * len(OF_BRAIN[w.brain])

    return sized(of_brain)
