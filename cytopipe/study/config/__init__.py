"""The config of a study: one model per section, and the reader that checks it.

Nothing here imports an array library: a dry run reads the config.
"""

from cytopipe.study.config.alignment import Alignment
from cytopipe.study.config.audit import Audit
from cytopipe.study.config.base import ConfigSection
from cytopipe.study.config.coordinates import Coordinates
from cytopipe.study.config.describing import help_text, keys
from cytopipe.study.config.evaluation import (
    AreasTask,
    AttentionTask,
    CoordinatesTask,
    EmbeddingTask,
    FinetuningTask,
    LayersTask,
    ParcellationTask,
    RetrievalTask,
    ShortcutsTask,
    StructureTask,
)
from cytopipe.study.config.features import ExternalCard, NetworkFeatures, Profiles, Views
from cytopipe.study.config.mapping import Mapping
from cytopipe.study.config.midline import Midline
from cytopipe.study.config.midsurface import Midsurface
from cytopipe.study.config.model import NOT_IN_A_STUDY, Config, section_model, section_of
from cytopipe.study.config.optimiser import Optimiser
from cytopipe.study.config.patches import DataSet, GeodesicTable, LayerSplit
from cytopipe.study.config.phantom import Phantom
from cytopipe.study.config.phantom_disturbances import (
    DamageOptions,
    HandlingOptions,
    SlideOptions,
    Staining,
)
from cytopipe.study.config.phantom_geometry import Geometry
from cytopipe.study.config.pretraining import Augmentation, PretrainingRun
from cytopipe.study.config.pyramids import Pyramids
from cytopipe.study.config.reading import (
    DEFAULTS,
    check,
    check_section,
    checked,
    merge,
    read,
    take_phantom,
)
from cytopipe.study.config.reconstruction import Reconstruction
from cytopipe.study.config.report import Goals, Report
from cytopipe.study.config.segmentation import Segmentation
from cytopipe.study.config.writing import commented, reference
