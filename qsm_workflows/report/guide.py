"""How to read each figure: what is right, and what is wrong if it looks otherwise."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Guide:
    """Reading guide of a figure.

    Attributes
    ----------
    good : str
        What it shows when all is well.
    faults : tuple of (str, str)
        What is seen, and what it means.
    """

    good: str
    faults: tuple[tuple[str, str], ...]


GUIDE = {
    "magnitude": Guide(
        "The line follows the surface of the brain: the cortex lies inside, skull, eyes and "
        "neck outside.",
        (
            (
                "The line cuts through cortex",
                "The mask is too tight, and background removal takes another few millimetres. "
                "Lower BET's threshold or give a mask.",
            ),
            (
                "Skull, eyes or neck lie inside",
                "The mask is too loose: their field is not modelled and streaks into the brain. "
                "Raise BET's threshold or give a mask.",
            ),
            (
                "Holes, most often above the sinuses",
                "Voxels whose phase is unreliable were left out. Small ones are harmless.",
            ),
        ),
    ),
    "fields": Guide(
        "The total field changes smoothly and most above the sinuses and ear canals. The local "
        "field has no slow change left; vessels and deep nuclei show with lobes of both signs.",
        (
            (
                "Steps with sharp edges in the total field",
                "Phase wraps are left: unwrapping failed there.",
            ),
            (
                "Broad shading in the local field, most near the surface",
                "Background field is left; its removal was too weak or the mask too loose.",
            ),
            (
                "Nuclei and vessels hardly show in the local field",
                "Background removal took signal too: a larger regularisation shrinks the "
                "local field.",
            ),
            (
                "Nothing but noise",
                "The phase is wrongly scaled, or was filtered by the scanner.",
            ),
        ),
    ),
    "slab_fields": Guide(
        "Within the slab each local field looks like that of the whole head, up to its ends.",
        (
            (
                "Shading from end to end of a thin slab",
                "Background removal had too few slices: expect the error in T+B maps that B+T "
                "maps do not have.",
            ),
            (
                "Slices missing at both ends",
                "Expected: the kernel of background removal does not fit there.",
            ),
        ),
    ),
    "chi": Guide(
        "Globus pallidus, putamen, caudate and veins are bright, white matter darker than grey. "
        "Along a row the contrast stays as it is in the thickest slab.",
        (
            (
                "Deep grey matter is dark",
                "The sign of the phase is wrong.",
            ),
            (
                "Contrast fades towards thinner slabs",
                "The effect under study: too little of the dipole field is in the slab. The "
                "curves below tell how much.",
            ),
            (
                "Streaks that radiate from vessels or lesions",
                "The inversion is regularised too little, or the phase is wrong at their source.",
            ),
            (
                "Flat patches or blurred nuclei",
                "The inversion is regularised too much.",
            ),
            (
                "Shading towards the ends of a slab in the coronal view",
                "Background field is left at the ends; look at the local fields of the slabs.",
            ),
        ),
    ),
    "curves": Guide(
        "A line that stays in the grey band from some coverage on needs no thicker slab than that.",
        (
            (
                "Dashed lines lie below solid lines of the same colour",
                "The further loss comes from background removal on the slab, not from inversion.",
            ),
            (
                "All lines lie off the truth even at full coverage",
                "Loss of background removal and inversion that has nothing to do with coverage; "
                "the error against the largest coverage leaves it out.",
            ),
            (
                "A line jumps at one coverage",
                "Look whether the region is fully covered there and whether its reference "
                "changed: the warnings say so.",
            ),
        ),
    ),
}
"""Kind of figure → how to read it."""
