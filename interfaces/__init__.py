"""Nipype nodes: read files, call one algorithm, write files."""
