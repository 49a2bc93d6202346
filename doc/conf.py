"""Configuration of the documentation site."""

import skopu

project = "skopu"
author = "skopu developers"
copyright = "2026, skopu developers"
version = release = skopu.__version__

extensions = [
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "examples"]
highlight_language = "python3"
toc_object_entries = False

autosummary_generate = True
# The class template lists the methods.
numpydoc_show_class_members = False
autodoc_typehints = "none"
add_module_names = False

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("skopu",),
    "reference_url": {"skopu": None},
    "capture_repr": (),
    "download_all_examples": False,
    "plot_gallery": True,
    "abort_on_example_error": True,
}


html_theme = "alabaster"
html_title = f"skopu {release}"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_sidebars = {"**": ["about.html", "searchfield.html", "navigation.html", "relations.html"]}
html_theme_options = {
    "description": "Kernel machines on Optical Processing Units",
    "fixed_sidebar": True,
    "page_width": "1120px",
    "sidebar_width": "230px",
    "sidebar_collapse": True,
    "font_family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
    "head_font_family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
    "code_font_size": "0.85em",
    "font_size": "16px",
    "link": "#0b5cad",
    "link_hover": "#c2410c",
}
