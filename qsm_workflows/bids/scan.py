"""A gradient echo scan: the images, timing and labels that one reconstruction needs."""

import re
from dataclasses import dataclass
from pathlib import Path

_LABEL = re.compile(r"[0-9a-zA-Z+]+")
_NIFTI = re.compile(r"(.+?)\.nii(?:\.gz)?")

# Sign of the phase that a positive field shift gains, by manufacturer.
_PHASE_SIGN = {"ge": -1, "siemens": 1, "philips": 1}


def is_label(label: str) -> bool:
    """Whether it is a BIDS label.

    Examples
    --------
    >>> is_label("T+B150"), is_label("a_b")
    (True, False)
    """
    return _LABEL.fullmatch(label) is not None


def check_label(label: str) -> str:
    """Return a BIDS label unchanged.

    Raises
    ------
    ValueError
        If it holds anything but letters, digits and ``+``.

    Examples
    --------
    >>> check_label("T+B150")
    'T+B150'
    """
    if not is_label(label):
        raise ValueError(f"{label!r} is not a BIDS label: use letters and digits only")
    return label


def strip_key(key: str, label: str) -> str:
    """Label without its key, whichever way the user wrote it.

    Raises
    ------
    ValueError
        If what is left is not a BIDS label.

    Examples
    --------
    >>> strip_key("sub", "sub-01"), strip_key("sub", "01")
    ('01', '01')
    """
    return check_label(str(label).removeprefix(f"{key}-"))


def parse_name(path: Path) -> tuple[dict[str, str], str]:
    """Split the name of an image into its BIDS entities and suffix.

    Raises
    ------
    ValueError
        If it is not ``key-label_…_suffix.nii[.gz]``.

    Examples
    --------
    >>> parse_name(Path("sub-01_echo-2_part-mag_MEGRE.nii.gz"))
    ({'sub': '01', 'echo': '2', 'part': 'mag'}, 'MEGRE')
    """
    name = _NIFTI.fullmatch(path.name)
    if name is None:
        raise ValueError(f"{path.name} is not a NIfTI image (.nii or .nii.gz)")
    *pairs, suffix = name[1].split("_")
    entities: dict[str, str] = {}
    for pair in pairs:
        key, _, label = pair.partition("-")
        if key in entities or not key or not _LABEL.fullmatch(label):
            raise ValueError(f"{path.name} is not a BIDS name: {pair!r} is not key-label")
        entities[key] = label
    if "sub" not in entities or not _LABEL.fullmatch(suffix):
        raise ValueError(f"{path.name} is not a BIDS name such as sub-01_…_MEGRE.nii.gz")
    return entities, suffix


@dataclass(frozen=True)
class Scan:
    """One gradient echo acquisition of a raw dataset, echoes in order.

    Attributes
    ----------
    subject : str
        Label without ``sub-``.
    session, run, acquisition, reconstruction : str or None
        Labels of the other BIDS entities, zeros before a run's number kept.
    magnitude, phase : tuple of Path
        One image for each echo; none where there are real and imaginary ones instead.
    echo_times : tuple of float
        Echo times in seconds.
    b0 : float
        Field strength in tesla.
    manufacturer : str or None
    phase_units : str or None
        ``Units`` of the phase images, ``rad`` or ``arbitrary``.
    stated_phase_sign : int or None
        ``PhaseSign`` of the sidecars, which wins over the maker's: 1 where a raised field
        gives positive phase, else −1.
    real, imaginary : tuple of Path
        One image for each echo, from which magnitude and phase are computed.
    """

    subject: str
    magnitude: tuple[Path, ...]
    phase: tuple[Path, ...]
    echo_times: tuple[float, ...]
    b0: float
    session: str | None = None
    run: str | None = None
    acquisition: str | None = None
    reconstruction: str | None = None
    manufacturer: str | None = None
    phase_units: str | None = None
    stated_phase_sign: int | None = None
    real: tuple[Path, ...] = ()
    imaginary: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        for label in self.entities.values():
            check_label(label)
        (one, first), (other, second) = self.parts.items()
        if not len(first) == len(second) == len(self.echo_times) > 0:
            raise ValueError(
                f"sub-{self.subject} has {len(first)} part-{one} and {len(second)} part-{other} "
                f"images for {len(self.echo_times)} echo times; each echo needs one of each"
            )

    @property
    def parts(self) -> dict[str, tuple[Path, ...]]:
        """Images by their ``part``: magnitude and phase, or real and imaginary."""
        if self.real:
            return {"real": self.real, "imag": self.imaginary}
        return {"mag": self.magnitude, "phase": self.phase}

    @property
    def images(self) -> tuple[Path, ...]:
        """All images."""
        first, second = self.parts.values()
        return (*first, *second)

    @property
    def magnitude_sources(self) -> tuple[Path, ...]:
        """Images that tell the magnitude."""
        return self.images if self.real else self.magnitude

    @property
    def phase_images(self) -> tuple[Path, ...]:
        """One image for each echo, whose sidecar speaks for the phase."""
        return self.imaginary if self.real else self.phase

    @property
    def entities(self) -> dict[str, str]:
        """BIDS keys and labels of the scan, in the order that BIDS asks for."""
        labels = {
            "sub": self.subject,
            "ses": self.session,
            "acq": self.acquisition,
            "rec": self.reconstruction,
            "run": self.run,
        }
        return {key: label for key, label in labels.items() if label is not None}

    @property
    def prefix(self) -> str:
        """Name of the scan, such as ``sub-01_ses-a_acq-x_run-1``."""
        return "_".join(f"{key}-{label}" for key, label in self.entities.items())

    @property
    def folder(self) -> str:
        """Folder of the scan's session inside a dataset, such as ``sub-01/ses-a``."""
        return "/".join(
            f"{key}-{label}" for key, label in self.entities.items() if key in ("sub", "ses")
        )

    @property
    def phase_sign(self) -> int | None:
        """Sign of the phase under a positive field shift; None if it is not known."""
        if self.stated_phase_sign is not None:
            return self.stated_phase_sign
        words = (self.manufacturer or "").lower().split()
        return _PHASE_SIGN.get(words[0]) if words else None
