"""What the plan says a study costs."""

from dataclasses import replace

import pytest

from qsm_workflows.bids.companions import find_companions
from qsm_workflows.bids.index import index_dataset
from qsm_workflows.workflows.config import StudyConfig, parse_coverages
from qsm_workflows.workflows.estimate import estimate_study
from qsm_workflows.workflows.plan import plan_scan

CONFIG = StudyConfig(
    coverages=parse_coverages("100,400,full"), methods=("tkd",), background_removal="pdf"
)


@pytest.fixture
def estimate(dataset):
    (scan,) = index_dataset(dataset).scans
    plan = plan_scan(scan, find_companions(scan, dataset), CONFIG)

    def estimate(**changes):
        return estimate_study([plan], replace(CONFIG, **changes))

    return estimate


def test_each_slab_of_t_plus_b_has_a_background_removal(estimate):
    one, both = estimate(orders=("B+T",)), estimate()
    assert (one.n_maps, both.n_maps) == (3, 5)
    # The same two inversions whatever removed the background, but PDF of two slabs more.
    quick, quick_both = (
        estimate(background_removal="sharp", **orders) for orders in ({"orders": ("B+T",)}, {})
    )
    assert both.seconds - one.seconds > 2 * (quick_both.seconds - quick.seconds)


def test_total_field_methods_cost_no_background_removal(estimate):
    costs = [estimate(methods=("tfi",), background_removal=name) for name in ("sharp", "pdf")]
    assert costs[0] == costs[1]
    assert costs[0].n_maps == 3
    assert costs[0].seconds > estimate(methods=("tfi",), coverages=CONFIG.coverages[:1]).seconds
