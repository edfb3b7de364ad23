"""Magnitude images."""

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    SimpleInterface,
    TraitedSpec,
)

from . import _images
from ._traits import InputFile


class _CombineMagnitudeInputSpec(BaseInterfaceInputSpec):
    in_files = InputMultiObject(
        InputFile(exists=True), mandatory=True, desc="magnitude of each echo"
    )


class _CombineMagnitudeOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="combined magnitude")


class CombineMagnitude(SimpleInterface):
    """Combine echoes; see :func:`qsm_workflows.algorithms.magnitude.root_sum_of_squares`."""

    input_spec = _CombineMagnitudeInputSpec
    output_spec = _CombineMagnitudeOutputSpec

    def _run_interface(self, runtime):
        from qsm_workflows.algorithms.magnitude import root_sum_of_squares

        first, image = _images.load(self.inputs.in_files[0])
        for path in self.inputs.in_files[1:]:
            _images.check_same_grid(self.inputs.in_files[0], image, path)
        others = [_images.load_float(path) for path in self.inputs.in_files[1:]]
        self._results["out_file"] = _images.save(
            root_sum_of_squares([first, *others]),
            image,
            _images.output_path(runtime.cwd, "magnitude"),
        )
        return runtime
