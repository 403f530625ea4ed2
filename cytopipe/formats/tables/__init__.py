"""Every table of the chain, declared once as the class of its row: columns, dtypes, units.

`read` and `write` pass DataFrames, `read_rows` and `write_rows` lists of rows.
"""

from cytopipe.formats.tables.brain_rows import CheckRow as CheckRow
from cytopipe.formats.tables.brain_rows import RepairRow as RepairRow
from cytopipe.formats.tables.brain_rows import SurfaceRow as SurfaceRow
from cytopipe.formats.tables.brain_rows import TruthRow as TruthRow
from cytopipe.formats.tables.parquet import Row as Row
from cytopipe.formats.tables.parquet import RowType as RowType
from cytopipe.formats.tables.parquet import check_unchanged as check_unchanged
from cytopipe.formats.tables.parquet import columns as columns
from cytopipe.formats.tables.parquet import conform as conform
from cytopipe.formats.tables.parquet import frame_of as frame_of
from cytopipe.formats.tables.parquet import names as names
from cytopipe.formats.tables.parquet import read as read
from cytopipe.formats.tables.parquet import read_rows as read_rows
from cytopipe.formats.tables.parquet import rows_of as rows_of
from cytopipe.formats.tables.parquet import title as title
from cytopipe.formats.tables.parquet import write as write
from cytopipe.formats.tables.parquet import write_rows as write_rows
from cytopipe.formats.tables.point_rows import ClusterRow as ClusterRow
from cytopipe.formats.tables.point_rows import FeatureRow as FeatureRow
from cytopipe.formats.tables.point_rows import LayerPatchRow as LayerPatchRow
from cytopipe.formats.tables.point_rows import MapRow as MapRow
from cytopipe.formats.tables.point_rows import MetricRow as MetricRow
from cytopipe.formats.tables.point_rows import MidlineRow as MidlineRow
from cytopipe.formats.tables.point_rows import PatchRow as PatchRow
from cytopipe.formats.tables.point_rows import PointRow as PointRow
from cytopipe.formats.tables.point_rows import PredictionRow as PredictionRow
from cytopipe.formats.tables.point_rows import ScoreRow as ScoreRow
from cytopipe.formats.tables.section_rows import ACCEPTED as ACCEPTED
from cytopipe.formats.tables.section_rows import CANNOT_TELL as CANNOT_TELL
from cytopipe.formats.tables.section_rows import MIRRORED as MIRRORED
from cytopipe.formats.tables.section_rows import NO_WHITE as NO_WHITE
from cytopipe.formats.tables.section_rows import OK as OK
from cytopipe.formats.tables.section_rows import PLAIN as PLAIN
from cytopipe.formats.tables.section_rows import UNCERTAIN as UNCERTAIN
from cytopipe.formats.tables.section_rows import WITH_OUTLINE as WITH_OUTLINE
from cytopipe.formats.tables.section_rows import AuditRow as AuditRow
from cytopipe.formats.tables.section_rows import PairRow as PairRow
from cytopipe.formats.tables.section_rows import SegmentationRow as SegmentationRow
from cytopipe.formats.tables.section_rows import StackRow as StackRow
from cytopipe.formats.tables.section_rows import TruthSectionRow as TruthSectionRow
from cytopipe.formats.tables.section_rows import displaced_um as displaced_um
from cytopipe.formats.tables.section_rows import read_segmentation as read_segmentation
from cytopipe.formats.tables.section_rows import rigid_columns as rigid_columns
