"""Quantitative susceptibility mapping of whole heads and thin slabs.

Nipype nodes live in :mod:`qsm_workflows.interfaces`, graph factories in
:mod:`qsm_workflows.workflows`, the numerics in :mod:`qsm_workflows.algorithms`.
"""

__version__ = "0.1.0"
