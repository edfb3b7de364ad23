"""Dipole inversion: from local field to susceptibility."""
