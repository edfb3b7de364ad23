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


def test_streaks_lie_in_the_cone(head, problem):
    chi = module.least_squares(problem, tolerance=0.01, max_iterations=50)
    structure = module.fast_qsm(problem)
    artefact = module.streaks(problem, chi, structure, tolerance=0.01, max_iterations=50)

    def in_cone(volume):
        return problem.transform(volume)[problem.kernel.abs() < 0.1].norm()

    # Cut off by the mask, they reach beyond the cone.
    assert in_cone(artefact) > 0.6 * problem.transform(artefact).norm()
    truth = problem.near(problem.grid.embed(head.chi))
    assert in_cone(chi - artefact - truth) < 0.7 * in_cone(chi - truth)


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


def test_signed_slopes_depend_on_the_direction_of_the_axes(head):
    def mirrored_differs(**keywords):
        b0_dir = (-head.b0_dir[0], *head.b0_dir[1:])
        chi = ilsqr(head.local_field, head.mask, head.voxel_size, head.b0_dir, pad=20, **keywords)
        mirror = ilsqr(
            head.local_field[::-1], head.mask[::-1], head.voxel_size, b0_dir, pad=20, **keywords
        )
        return nrmse(mirror[::-1], chi, head.mask), correlation(chi, head.chi, head.mask)

    change, similarity = mirrored_differs()
    signed_change, signed_similarity = mirrored_differs(signed_slopes=True)
    assert change < 0.05
    assert signed_change > 0.2
    assert similarity > signed_similarity + 0.1
