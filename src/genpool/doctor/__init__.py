"""What is wrong with a pool, what to do about it, and the part of it that can be mended without losing anything."""

from __future__ import annotations

from genpool.doctor.examination import Examination, Progress, examine, mend
from genpool.doctor.findings import Finding, Fix

__all__ = ["Examination", "Finding", "Fix", "Progress", "examine", "mend"]
