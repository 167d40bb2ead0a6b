"""What the benchmark measures with: its bill is one that a hospital would post, its percentiles are shown by enough."""

from datetime import timedelta

import pytest

from tests.bench.bills import bill_body
from tests.bench.load import Measured
from tests.hospital_bills import around, findings_of
from tests.parties import NOW


def test_the_benchmarks_bill_is_good_and_warns_of_nothing() -> None:
    findings = findings_of(bill_body(1), around(NOW + timedelta(days=1)))

    assert (findings.faults, findings.warnings) == ((), ())


@pytest.mark.parametrize(("count", "highest"), [(40, "maximum"), (100, "p95"), (399, "p95"), (400, "p99")])
def test_a_percentile_is_named_only_where_enough_samples_show_it(count: int, highest: str) -> None:
    measured = Measured([number / 1000 for number in range(count)])

    assert highest in measured.latencies()
    assert measured.latencies().endswith(f"of {count} samples")
    if highest != "p99":
        with pytest.raises(ValueError, match="do not show this percentile"):
            measured.percentile_ms(0.99)
