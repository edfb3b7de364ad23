"""Single steps on plain NIfTI: ``qsm-wf STEP METHOD INPUT… --mask MASK --out FILE``."""

import argparse
import importlib
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from qsm_workflows.files import copy_file, write_whole
from qsm_workflows.networks.methods import method_key

from . import step_options
from .parser import Parser


@dataclass(frozen=True)
class _Method:
    """A method of a step.

    Attributes
    ----------
    name : str
        What it is called on the command line.
    interface : str
        Module and class of its node in :mod:`qsm_workflows.interfaces`.
    help : str
    """

    name: str
    interface: str
    help: str


_STEPS: dict[str, tuple[str, tuple[_Method, ...]]] = {
    "mask": (
        "mask the brain",
        (
            _Method("bet", "masking.BETMask", "FSL's bet where it is installed, else our own"),
            _Method("deepbet", "masking.DeepBetMask", "network, installed apart"),
            _Method("phase", "masking.PhaseMask", "what has usable phase, slabs too"),
            _Method("csf", "masking.CSFMask", "the ventricles, from R2*"),
            _Method("refine", "masking.RefineMask", "a mask closed, filled, grown or shrunk"),
        ),
    ),
    "phase": (
        "phase in radians, without what coils and readout add",
        (
            _Method("scale", "phase.ScalePhase", "stored numbers to radians"),
            _Method("complex", "phase.SplitComplex", "real and imaginary images to phase"),
            _Method("offset", "phase.RemovePhaseOffset", "take away the phase at echo time zero"),
            _Method("coils", "phase.CombineCoils", "combine the channels of a receive coil"),
        ),
    ),
    "unwrap": (
        "unwrap phase",
        (
            _Method("romeo", "unwrapping.UnwrapROMEO", "coherent voxels first, echoes together"),
            _Method("bestpath", "unwrapping.UnwrapBestPath", "reliable voxels first"),
            _Method("laplacian", "unwrapping.UnwrapLaplacian", "nearest to the wrapped steps"),
        ),
    ),
    "fieldmap": (
        "field in ppm from unwrapped phase or other units",
        (
            _Method("linear", "fieldmap.FitEchoes", "weighted line through zero"),
            _Method("nonlinear", "fieldmap.FitEchoesNonlinear", "complex signal with offset"),
            _Method("scale", "fieldmap.ScaleField", "a field in Hz or radians to ppm"),
        ),
    ),
    "r2star": (
        "R2* from the magnitude of the echoes",
        (
            _Method("arlo", "relaxation.ARLO", "equally spaced echoes"),
            _Method("nonlinear", "relaxation.NonlinearR2Star", "any echoes, least squares"),
        ),
    ),
    "swi": (
        "susceptibility-weighted image",
        (_Method("phase", "swi.SusceptibilityWeighted", "magnitude times a mask of the phase"),),
    ),
    "bgremove": (
        "local field from the total field",
        (
            _Method("resharp", "background.RESHARP", "regularised spherical mean values"),
            _Method("sharp", "background.SHARP", "spherical mean values, deconvolved"),
            _Method("vsharp", "background.VSHARP", "spheres of varying radius, deconvolved"),
            _Method("ismv", "background.ISMV", "iterated spherical mean values"),
            _Method("pdf", "background.PDF", "projection onto dipoles outside the mask"),
            _Method("lbv", "background.LBV", "Laplacian boundary value problem"),
        ),
    ),
    "invert": (
        "susceptibility from the local field",
        (
            _Method("tkd", "inversion.TKD", "thresholded division in k-space"),
            _Method("tsvd", "inversion.TSVD", "truncated division in k-space"),
            _Method("l2", "inversion.L2", "penalty on squared gradients, closed form"),
            _Method("ilsqr", "inversion.ILSQR", "least squares less its streaks"),
            _Method("medi", "inversion.MEDI", "edges of the magnitude as a prior"),
            _Method("tv", "inversion.TV", "penalty on gradients"),
            _Method("rts", "inversion.RTS", "least squares, its cone filled in"),
            _Method("ndi", "inversion.NDI", "gradient descent on the phase"),
            _Method("star", "inversion.STAR", "penalty on gradients, strong sources first"),
            _Method("lnqsm", "inversion.LNQSM", "least norm, from the total field"),
            _Method("tfi", "inversion.TotalFieldMEDI", "MEDI, from the total field"),
            _Method("cosmos", "inversion.COSMOS", "several orientations"),
            _Method("xqsmindividual", "networks.XQSMIndividual", "octave network, lone patches"),
            _Method("xqsmcropped", "networks.XQSMCropped", "octave network, cut-out patches"),
            _Method("xqsm", "networks.XQSM", "octave network, weights of others"),
            _Method("deepqsm", "networks.DeepQSM", "network trained on shapes"),
            _Method("unet", "networks.UNet", "plain U-net"),
            _Method("ir2qsm", "networks.IR2QSM", "four U-nets in a row"),
            _Method("lpcnn", "networks.LPCNN", "learned proximal steps"),
        ),
    ),
    "reference": (
        "state susceptibility relative to a region",
        (_Method("mean", "measurement.SubtractReference", "mean of the mask or of labels"),),
    ),
}


class _MethodParser(Parser):
    """Takes its options from a node, when it is used: nodes load Nipype."""

    def parse_known_args(self, args=None, namespace=None):
        interface = _load(self.get_default("interface"))
        step, method = self.prog.split()[-2:]
        self.epilog = step_options.source(f"{step} {method}") or step_options.source(method)
        step_options.add_options(self, interface)
        return super().parse_known_args(args, namespace)


def add_parser(subparsers: "argparse._SubParsersAction[Parser]") -> None:
    """Add a command for each step."""
    for step, (purpose, methods) in _STEPS.items():
        parser = subparsers.add_parser(
            step,
            help=f"single step: {purpose}",
            description=f"Single step on NIfTI files: {purpose}. Fields and susceptibility are in "
            "ppm; the direction of B0 comes from the affine.",
        )
        parser.command_key = method_key
        choices = parser.add_subparsers(
            title="methods", metavar="METHOD", required=True, parser_class=_MethodParser
        )
        for method in methods:
            chosen = choices.add_parser(
                method.name,
                help=method.help,
                description=f"{purpose[0].upper()}{purpose[1:]}: {method.help}.",
            )
            chosen.set_defaults(func=main, interface=method.interface)


def main(args: argparse.Namespace) -> int:
    """Run one step; returns the exit status."""
    from nibabel.filebasedimages import ImageFileError

    interface = _load(args.interface)
    targets = _targets(args, interface)
    inputs = step_options.given_inputs(args, interface)
    with tempfile.TemporaryDirectory(prefix="qsm-wf-") as scratch:
        try:
            outputs = interface(**inputs).run(cwd=scratch).outputs
        # torch asserts where it was built without CUDA; a package may be installed apart.
        except (ImageFileError, AssertionError, ModuleNotFoundError) as error:
            raise ValueError(str(error)) from None
        for name, paths in targets.items():
            made = getattr(outputs, name)
            sources = [made] if isinstance(made, str) else made
            for source, target in zip(sources, paths, strict=True):
                write_whole(target, partial(copy_file, Path(source)))
                print(target)
    return 0


def _load(interface: str) -> Any:
    """Class of a node."""
    module, name = interface.split(".")
    return getattr(importlib.import_module(f"qsm_workflows.interfaces.{module}"), name)


def _targets(args: argparse.Namespace, interface: Any) -> dict[str, list[Path]]:
    """Files asked for, by the output of the node that becomes them.

    Raises
    ------
    ValueError
        If a name is not that of a NIfTI file or is used twice, or there is not a file for
        each input of a step that keeps echoes apart.
    """
    names = step_options.output_names(interface)
    targets = {name: getattr(args, name) for name in names if hasattr(args, name)}
    for name in step_options.echo_outputs(interface):
        if name in targets and len(targets[name]) != len(args.in_files):
            option = f"--{step_options.option(name)}"
            raise ValueError(f"{option} takes a file for each of the {len(args.in_files)} inputs")
    paths = [path for several in targets.values() for path in several]
    for path in paths:
        if not path.name.endswith((".nii", ".nii.gz")):
            raise ValueError(f"{path} must end in .nii or .nii.gz")
    if len(set(paths)) < len(paths):
        raise ValueError("two outputs have the same name")
    return targets
