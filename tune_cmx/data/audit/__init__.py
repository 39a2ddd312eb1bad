"""The first reading of a set: every image and label, and what is kept of them for the next reading."""

from tune_cmx.data.audit.whole_set import Audit, Sums, audit, band_sums, moments, statistics

__all__ = ["Audit", "Sums", "audit", "band_sums", "moments", "statistics"]
