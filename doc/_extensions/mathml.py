"""Formulas as MathML: no script, no network, and a screen reader can say them.

Every browser of the last years draws it. The font comes from a package, so that stretched signs
look the same everywhere.
"""

import re
from importlib.util import find_spec
from pathlib import Path
from shutil import copyfile

from docutils import nodes
from latex2mathml.converter import convert

_FONT = "STIXTwoMath-Regular.ttf"
_SIZES = re.compile(r"\\(big|Big|bigg|Bigg)[lrm]?(?![a-zA-Z])")  # brackets stretch by themselves


def show_inline(translator, node):
    """Write a formula within a line."""
    translator.body.append(convert(_SIZES.sub("", node.astext())))
    raise nodes.SkipNode


def show_block(translator, node):
    """Write a formula of its own, in a box that scrolls where the page is narrow."""
    parts = [part for part in node.astext().split("\n\n") if part.strip()]
    translator.body.append('<div class="math-block" tabindex="0">')
    for part in parts:
        text = _SIZES.sub("", part.strip())
        if r"\\" in text and r"\begin" not in text:
            # The converter knows "aligned" as a bracket only, and shows its signs.
            text = rf"\begin{{align*}}{text}\end{{align*}}"
        translator.body.append(convert(text, display="block"))
    translator.body.append("</div>\n")
    raise nodes.SkipNode


def copy_font(app, error):
    """Put the font beside the pages."""
    if error is None and app.builder.format == "html":
        fonts = Path(find_spec("ziamath.fonts").submodule_search_locations[0])
        copyfile(fonts / _FONT, Path(app.outdir, "_static", _FONT))


def setup(app):
    """Register the renderer."""
    app.add_html_math_renderer("mathml", (show_inline, None), (show_block, None))
    app.connect("build-finished", copy_font)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
