"""The first reading of a set: every image and label, and what is kept of them for the next reading."""

from tune_cmx.data.audit.kept import KeptAudits
from tune_cmx.data.audit.one_image import Sums, band_sums
from tune_cmx.data.audit.set_sums import SetSums
from tune_cmx.data.audit.whole_set import Audit, audit, moments, read_set, statistics

__all__ = ["Audit", "KeptAudits", "SetSums", "Sums", "audit", "band_sums", "moments", "read_set", "statistics"]
