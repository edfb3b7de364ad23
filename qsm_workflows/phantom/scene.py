"""What is in the scanner, and the brush that paints it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .grids import Shape3
from .susceptibility import Material


@dataclass(frozen=True)
class Scene:
    """Magnetic properties of everything in the scanner, on a fine grid.

    Parameters
    ----------
    chi : (X, Y, Z) ndarray of float32
        Susceptibility relative to tissue water, ppm.
    r2star : (X, Y, Z) ndarray of float32
        Transverse relaxation rate, 1/s.
    proton_density : (X, Y, Z) ndarray of float32
        Signal at echo time zero.
    labels : (X, Y, Z) ndarray of uint8
        Index of the label table; 0 outside the brain.
    outside : float
        Susceptibility of what surrounds the grid, ppm.
    """

    chi: NDArray[np.float32]
    r2star: NDArray[np.float32]
    proton_density: NDArray[np.float32]
    labels: NDArray[np.uint8]
    outside: float

    @classmethod
    def filled(cls, shape: Shape3, material: Material) -> "Scene":
        """A scene of one material, unlabelled."""
        return cls(
            chi=np.full(shape, material.chi, dtype=np.float32),
            r2star=np.full(shape, material.r2star, dtype=np.float32),
            proton_density=np.full(shape, material.proton_density, dtype=np.float32),
            labels=np.zeros(shape, dtype=np.uint8),
            outside=material.chi,
        )


class Canvas:
    """Some planes of a scene, painted in place with structures that have soft edges.

    Parameters
    ----------
    scene : Scene
    planes : slice
        Of the first axis.
    edge : float
        Width over which one material gives way to the next, mm.
    materials : mapping of str to Material
    """

    def __init__(
        self, scene: Scene, planes: slice, edge: float, materials: Mapping[str, Material]
    ) -> None:
        self.edge = edge
        self._materials = materials
        self._chi = scene.chi[planes].reshape(-1)
        self._r2star = scene.r2star[planes].reshape(-1)
        self._proton_density = scene.proton_density[planes].reshape(-1)
        self._labels = scene.labels[planes].reshape(-1)

    def paint(
        self,
        material: str,
        where: NDArray[np.intp],
        distance: NDArray[np.float32],
        texture: NDArray[np.float32],
        label: int = 0,
    ) -> None:
        """Blend a material over what is there.

        Parameters
        ----------
        material : str
            Name of the material.
        where : (N,) ndarray of int
            Flat indices of the voxels.
        distance : (N,) ndarray
            Signed distance of each to the surface, mm; negative inside.
        texture : (N,) ndarray
            Of unit variance; the material says how much of it shows in χ.
        label : int
            Label given where the material prevails.
        """
        share = np.clip(0.5 - distance / np.float32(self.edge), 0, 1)
        seen = np.flatnonzero(share > 0)
        where, share = where[seen], share[seen]
        made_of = self._materials[material]
        chi = made_of.chi + made_of.texture * texture[seen]
        self._chi[where] += share * (chi - self._chi[where])
        self._r2star[where] += share * (made_of.r2star - self._r2star[where])
        self._proton_density[where] += share * (
            made_of.proton_density - self._proton_density[where]
        )
        self._labels[where[share >= 0.5]] = label

    def unlabel(self, where: NDArray[np.intp]) -> None:
        """Take the labels away, keeping the materials."""
        self._labels[where] = 0
