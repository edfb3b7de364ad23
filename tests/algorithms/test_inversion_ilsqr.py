import pytest

from qsm_workflows.algorithms.inversion import ilsqr as module
from qsm_workflows.algorithms.inversion.ilsqr import ilsqr
from qsm_workflows.algorithms.inversion.problem import DipoleProblem
from qsm_workflows.algorithms.metrics import correlation, nrmse


@pytest.fixture(scope="module")
def problem(head):
    return DipoleProblem.create(
        head.local_field, head.mask, head.voxel_size, head.b0_dir, 20, "cpu"
    )


@pytest.mark.parametrize("scale", [10.0, 1e-3])
def test_result_is_proportional_to_the_field(head, scale):
    arguments = head.mask, head.voxel_size, head.b0_dir
    chi = ilsqr(head.local_field, *arguments, pad=10)
    scaled = ilsqr(scale * head.local_field, *arguments, pad=10)
    # Only rounding differs, which fifty iterations amplify.
    assert nrmse(scaled / scale, chi, head.mask) < 1e-3


def test_least_squares_is_not_stopped_early(problem):
    """A stop by the gradient would come before thirty iterations."""
    earlier, later = (
        module.least_squares(problem, tolerance=0.01, max_iterations=n) for n in (29, 30)
    )
    assert (earlier != later).any()


def test_streaks_lie_in_the_cone(problem):
    chi = module.least_squares(problem, tolerance=0.01, max_iterations=50)
    structure = module.fast_qsm(problem)
    artefact = module.streaks(problem, chi, structure, tolerance=0.01, max_iterations=50)

    def share_in_cone(volume):
        energy = problem.transform(volume).abs() ** 2
        return float(energy[problem.kernel.abs() < 0.1].sum() / energy.sum())

    # Cut off by the mask, they reach beyond the cone.
    assert share_in_cone(artefact) > 0.4
    assert share_in_cone(chi - artefact) < share_in_cone(chi) < 0.1


def test_every_step_resembles_the_truth(head, problem):
    least, fast = (
        problem.result(step)
        for step in (
            module.least_squares(problem, tolerance=0.01, max_iterations=50),
            module.fast_qsm(problem),
        )
    )
    assert correlation(least, head.chi, head.mask) > 0.8
    assert correlation(fast, head.chi, head.mask) > 0.7
