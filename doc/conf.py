"""Configuration of the documentation site."""

import os
import sys
from pathlib import Path

import skopu

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "skopu"
author = "skopu developers"
copyright = "2026, skopu developers"
version = release = skopu.__version__

extensions = [
    "mathml",
    "numpydoc",
    "readable",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_extensions", "examples", "lessons"]
highlight_language = "python3"
toc_object_entries = False
html_math_renderer = "mathml"

# Links into other libraries' pages need their inventories, which a build without a network
# cannot have: the published site is built with them.
if os.environ.get("READTHEDOCS"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "numpy": ("https://numpy.org/doc/stable", None),
        "python": ("https://docs.python.org/3", None),
        "scipy": ("https://docs.scipy.org/doc/scipy", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
    }

autosummary_generate = True
# The class template lists the methods.
numpydoc_show_class_members = False
autodoc_typehints = "none"
add_module_names = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

sphinx_gallery_conf = {
    "examples_dirs": ["examples", "lessons"],
    "gallery_dirs": ["auto_examples", "tutorial"],
    "filename_pattern": "/plot_",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("skopu",),
    "reference_url": {"skopu": None},
    "capture_repr": (),
    "download_all_examples": False,
    "write_computation_times": False,
    "plot_gallery": True,
    "abort_on_example_error": True,
    "within_subsection_order": "FileNameSortKey",
}

html_theme = "pydata_sphinx_theme"
html_title = f"skopu {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": f"skopu {release}"},
    "use_edit_page_button": False,
    "show_toc_level": 2,
    "show_nav_level": 1,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
    "navbar_align": "left",
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
    "secondary_sidebar_items": ["page-toc"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {
    "index": [],
    "install": [],
    "api": [],
    "changes": [],
    "contributing": [],
}
