"""Methods text and references, made from what the sidecars say was run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .citations import WORKS, Work, works_of
from .discovery import ChiMap, ScanOutputs
from .vocabulary import listing, method_name, region_name, sort_methods, sort_orders

# Methods that invert the dipole model itself, and those that have learned it.
_MODELS = {
    "tkd": "thresholded k-space division",
    "tsvd": "truncated k-space division",
    "l2": "closed-form regularisation by squared gradients",
    "ilsqr": "the improved LSQR algorithm",
    "medi": "morphology enabled dipole inversion",
    "tv": "total variation regularisation",
    "rts": "rapid two-step inversion",
    "ndi": "non-linear dipole inversion",
    "star": "streaking artefact reduction",
    "lnqsm": "least-norm inversion of the total field",
    "tfi": "morphology enabled dipole inversion of the total field",
}
_NETWORKS = {
    "xqsmindividual": "the octave convolutional network xQSM trained on patches with the field of "
    "their own sources (Individual)",
    "xqsmcropped": "the octave convolutional network xQSM trained on patches cut from whole "
    "fields (Cropped)",
    "deepqsm": "a convolutional network trained on geometric shapes (DeepQSM)",
    "xqsm": "the octave convolutional network xQSM",
    "unet": "a U-net",
    "ir2qsm": "the recurrent convolutional network IR2QSM",
    "lpcnn": "the learned proximal network LPCNN",
}
_UNWRAPPINGS = {
    "romeo": "ROMEO",
    "bestpath": "the best-path algorithm",
    "laplacian": "least squares of its Laplacian",
}
_UNTOLD = {"weights", "weights_sha256"}


@dataclass(frozen=True)
class MethodsText:
    """Text for a paper.

    Attributes
    ----------
    paragraphs : tuple of str
        References as numbers in brackets.
    references : tuple of Work
        In the order of their numbers, from 1.
    """

    paragraphs: tuple[str, ...]
    references: tuple[Work, ...]


def methods_text(scans: Sequence[ScanOutputs]) -> MethodsText:
    """Describe what was run to make the outputs that are there.

    Only steps that left a trace in a sidecar are told and cited.

    Parameters
    ----------
    scans : sequence of ScanOutputs
        All scans of the output folder.
    """
    maps = [chi for scan in scans for chi in scan.maps]
    if not maps:
        return MethodsText((), ())
    cite = _Citations()
    paragraphs = (
        _software(maps, scans, cite),
        " ".join(filter(None, (_masking(scans, cite), _fields(scans, cite)))),
        " ".join(filter(None, (_background(maps, cite), _coverage(maps, cite)))),
        " ".join(filter(None, (_inversion(maps, cite), _preset(maps), _reference(maps)))),
    )
    return MethodsText(tuple(filter(None, paragraphs)), tuple(WORKS[key] for key in cite.keys))


def parameter_text(parameters: Mapping[str, Any]) -> str:
    """Parameters in words; those that were not set are left out.

    Examples
    --------
    >>> parameter_text({"threshold": 0.15, "max_iterations": 100, "preset": None})
    'threshold 0.15, max iterations 100'
    """
    return ", ".join(
        f"{name.replace('_', ' ')} {_value(value)}"
        for name, value in parameters.items()
        if value not in (None, "", [], {})
    )


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


class _Citations:
    """Numbers works in the order in which they are cited."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def __call__(self, *keys: str) -> str:
        """Numbers in brackets after a space; nothing for what has no publication."""
        known = [key for key in keys if key in WORKS]
        self.keys += [key for key in known if key not in self.keys]
        numbers = [str(self.keys.index(key) + 1) for key in known]
        return f" [{', '.join(numbers)}]" if numbers else ""


def _software(maps: Iterable[ChiMap], scans: Sequence[ScanOutputs], cite: _Citations) -> str:
    versions = sorted({str(v) for m in maps if (v := m.sidecar.get("SoftwareVersion"))})
    done = [scan for scan in scans if scan.maps]
    subjects = len({scan.subject for scan in done})
    return (
        f"Quantitative susceptibility maps of {_count(subjects, 'participant')} "
        f"({_count(len(done), 'scan')}) were made with {listing(versions or ['qsm-workflows'])}, "
        f"which is built on Nipype{cite('nipype')}, from data organised as BIDS{cite('bids')}."
    )


_MASKS = {
    "bet": ("BET", "magnitude of the first echo"),
    "deepbet": ("deepbet", "magnitude of the first echo"),
    "phase": ("a threshold on its local coherence", "phase of all echoes"),
}
"""How masks are made: name and source."""


def _masking(scans: Iterable[ScanOutputs], cite: _Citations) -> str:
    methods, given = set(), False
    for scan in scans:
        if scan.brain_mask is None or not scan.maps:
            continue
        sources = scan.brain_mask.sidecar.get("Sources", [])
        # A mask that was made here comes from the magnitude; one that was given from itself.
        if scan.brain_mask.sidecar.get("SpatialReference") in sources:
            methods.add(str(scan.brain_mask.sidecar.get("MaskMethod", "bet")))
        elif sources:
            given = True
    parts = []
    for method, (name, source) in _MASKS.items():
        if method in methods:
            parts.append(f"The brain was masked from the {source} by {name}{cite(method)}.")
    if given:
        parts.append(
            "Brain masks that came with the data were used"
            + (" where there were any." if methods else ".")
        )
    return " ".join(parts)


def _fields(scans: Iterable[ScanOutputs], cite: _Citations) -> str:
    sidecars = [s.total_field.sidecar for s in scans if s.maps and s.total_field is not None]
    echoes = {
        sum("part-phase" in str(source) for source in sidecar.get("Sources", []))
        for sidecar in sidecars
    } - {0}
    names = {str(s["Unwrapping"]["Method"]) for s in sidecars if "Unwrapping" in s}
    if not echoes or not names:
        return ""
    ways = listing(f"{_UNWRAPPINGS[name]}{cite(_key(name))}" for name in sorted(names))
    text = f"Phase was unwrapped by {ways}"
    if max(echoes) == 1:
        return f"{text} and scaled to the total field in parts per million of B0."
    number = listing(str(n) for n in sorted(echoes))
    bipolar = any(sidecar.get("BipolarReadoutCorrected") for sidecar in sidecars)
    readout = " and of what reading every second echo backwards added" * bipolar
    return (
        f"{text} after removal of the phase offset{readout}, and the total field in parts "
        f"per million of B0 was fitted to the {number} echoes, weighted by magnitude."
    )


def _background(maps: Sequence[ChiMap], cite: _Citations) -> str:
    sentences = []
    found = [chi.sidecar.get("BackgroundRemoval") for chi in maps]
    settings = [removal for removal in found if isinstance(removal, Mapping)]
    for name in sorted({str(removal["Method"]) for removal in settings if "Method" in removal}):
        used = [
            {key: value for key, value in removal.items() if key != "Method"}
            for removal in settings
            if removal.get("Method") == name
        ]
        sentences.append(
            f"The background field was removed by {name}{cite(_key(name))}{_in_brackets(used)}."
        )
    return " ".join(sentences)


def _key(name: str) -> str:
    """Key of a method's publication, such as `vsharp` for V-SHARP."""
    return name.lower().replace("-", "")


def _coverage(maps: Iterable[ChiMap], cite: _Citations) -> str:
    slabs = [chi for chi in maps if chi.is_slab]
    if not slabs:
        return ""
    percents = sorted({chi.coverage for chi in slabs})
    lengths = sorted({float(mm) for m in slabs if (mm := m.sidecar.get("CoverageMillimeters"))})
    thickness = f" ({_span(lengths)} mm)" if lengths else ""
    text = (
        f"Reduced coverage{cite('coverage')} was studied with slabs of {_span(percents)} % of the "
        f"extent of the deep grey matter{thickness}."
    )
    one_step = sort_methods(chi.method for chi in slabs if chi.of_total_field)
    two_steps = [chi for chi in slabs if not chi.of_total_field]
    sentences = {
        "B+T": "In B+T the background was removed from the field of the whole head, which was "
        "then truncated to the slab.",
        "T+B": "In T+B the total field was truncated first and the background was removed from "
        "the slab alone, as a scan of that coverage would need.",
    }
    told = [text, *(sentences[order] for order in sort_orders(m.order for m in two_steps))]
    if one_step:
        told.append(
            "The truncated total field, no background removed, was inverted in one step by "
            f"{listing(map(method_name, one_step))}."
        )
    return " ".join(told)


def _inversion(maps: Sequence[ChiMap], cite: _Citations) -> str:
    methods = sort_methods(chi.method for chi in maps)
    described = []
    for method in methods:
        used = [
            {key: value for key, value in parameters.items() if key not in _UNTOLD}
            for chi in maps
            if chi.method == method
            and isinstance(parameters := chi.sidecar.get("InversionParameters"), Mapping)
        ]
        name = _NETWORKS.get(method, method_name(method))
        if method in _MODELS:
            name = f"{_MODELS[method]} ({name})"
        described.append(f"{name}{cite(*works_of(method))}{_in_brackets(used)}")
    model = ""
    if _MODELS.keys() & set(methods):
        model = (
            " The field of a susceptibility distribution was modelled by convolution with the "
            f"unit dipole{cite('dipole_salomir', 'dipole_marques')}."
        )
    return f"Susceptibility was computed by {listing(described, '; ')}.{model}"


def _reference(maps: Iterable[ChiMap]) -> str:
    found = [chi.sidecar.get("Reference") for chi in maps]
    regions = sorted({str(r["region"]) for r in found if isinstance(r, Mapping) and "region" in r})
    names = [region_name(region) for region in regions if region != "mask"]
    if not regions:
        return ""
    if not names:
        mean = "brain mask"
    elif len(names) == len(regions):
        mean = listing(names)
    else:
        mean = f"{listing(names)}, or of the brain mask where there were no labels of it"
    return f"Susceptibility is stated relative to the mean of the {mean}."


def _preset(maps: Iterable[ChiMap]) -> str:
    if {chi.sidecar.get("Preset") for chi in maps} != {"recommended"}:
        return ""
    return (
        "Background removal, inversion and their parameters are those that the software recommends "
        "for the least error in deep grey matter."
    )


def _in_brackets(settings: Sequence[Mapping[str, Any]]) -> str:
    """Parameters in brackets, or that they were not the same everywhere."""
    texts = {parameter_text(parameters) for parameters in settings}
    if len(texts) > 1:
        return " (with parameters that differ between maps; see their sidecars)"
    text = next(iter(texts), "")
    return f" ({text})" if text else ""


def _span(values: Sequence[float]) -> str:
    """Few values one by one, many by their ends."""
    if len(values) > 8:
        return f"{values[0]:g} to {values[-1]:g}"
    return listing(f"{value:g}" for value in values)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
