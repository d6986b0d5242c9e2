from dataclasses import replace

import pytest

from toolkit.reports.run_report import RunReport


def test_no_training_record_is_refused(report: RunReport) -> None:
    with pytest.raises(ValueError, match="records is empty"):
        replace(report, records=[])
