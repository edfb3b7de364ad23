"""Torch modules, checkpoints and whole-volume inference."""
