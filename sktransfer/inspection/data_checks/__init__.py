"""Is the data sound? One file for each kind of finding, and the table of findings.

``picture_facts`` and ``features`` read pictures once each, ``material`` holds what they tell, the
checks find something in it, and ``data_check`` is the table of all findings.
"""

from sktransfer.inspection.data_checks.check import check_pictures
from sktransfer.inspection.data_checks.corrections import read_corrections
from sktransfer.inspection.data_checks.data_check import DataCheck
from sktransfer.inspection.data_checks.findings import Finding

__all__ = ["DataCheck", "Finding", "check_pictures", "read_corrections"]
