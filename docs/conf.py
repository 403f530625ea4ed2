"""Sphinx configuration of the documentation: `make docs` builds docs/_build/html."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import generate

import cytopipe

project = "cytopipe"
author = "The cytopipe developers"
copyright = f"2026, {author}"
version = release = cytopipe.__version__

# pages whose content is declared in the code; written before Sphinx looks for pages
generate.write(Path(__file__).parent / "reference")

extensions = ["myst_nb", "numpydoc", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
# the tests execute the notebooks; the pages show what they printed for the demo
nb_execution_mode = "off"

myst_enable_extensions = ["colon_fence", "html_image"]
myst_heading_anchors = 3

autosummary_generate = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
nitpick_ignore_regex = [("py:.*", r"(np|numpy|torch|nn|Path|pathlib|pandas|pd)\b.*")]

html_theme = "pydata_sphinx_theme"
html_title = "cytopipe"
html_static_path = ["_static"]
html_css_files = ["cytopipe.css"]
html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"index": []}
