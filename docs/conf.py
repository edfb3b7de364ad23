"""Settings of the documentation site; build it with `make docs`."""

from qsm_workflows import __version__

project = "qsm-workflows"
copyright = "2026, the qsm-workflows developers"
release = __version__
extensions = [
    "myst_parser",
    "sphinx.ext.napoleon",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"qsm-workflows {release}"
autosummary_generate = True
templates_path = ["_templates"]
exclude_patterns = ["_build", "_templates", "examples"]
# Sections of the docstrings of graph factories beside those of numpydoc.
napoleon_custom_sections = [("Inputs", "params_style"), ("Outputs", "params_style")]
