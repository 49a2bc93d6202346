"""What keeps tables readable: spreads stay with their sign, and tables of sentences are marked."""

from docutils import nodes

_SENTENCE = 60  # characters of a cell, from which its rows are stacked on a telephone


def join(app, document):
    """Let "0.108 ± 0.005" break before the sign alone; codes keep what they say."""
    for text in list(document.findall(nodes.Text)):
        if not isinstance(text.parent, (nodes.literal, nodes.literal_block, nodes.math)):
            joined = text.replace(" +- ", " ± ").replace("± ", "±\u00a0")
            if joined != text:
                text.parent.replace(text, nodes.Text(joined))


def mark(app, document):
    """Give tables with a cell of sentences the class "prose", for the style sheet."""
    for table in document.findall(nodes.table):
        cells = [
            entry.astext()
            for body in table.findall(nodes.tbody)
            for entry in body.findall(nodes.entry)
        ]
        if any(len(cell) > _SENTENCE for cell in cells):
            table["classes"].append("prose")


def setup(app):
    """Have every page go through both."""
    app.connect("doctree-read", join)
    app.connect("doctree-read", mark)
    return {"version": "1", "parallel_read_safe": True}
