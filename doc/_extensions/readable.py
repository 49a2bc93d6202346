"""What keeps pages readable: spreads stay whole, tables of sentences are marked, no mail links."""

from docutils import nodes

_SENTENCE = 60  # characters of a cell, from which its rows are stacked on a telephone


def join(app, document):
    """Let "0.108 ± 0.005" break before the sign alone; codes keep what they say."""
    for text in list(document.findall(nodes.Text)):
        if not isinstance(text.parent, (nodes.literal, nodes.literal_block, nodes.math)):
            joined = text.replace(" +- ", " ± ").replace("± ", "±\u00a0")
            if joined != text:
                text.parent.replace(text, nodes.Text(joined))


def unlink(app, document):
    """Leave names such as mocap@user2 as they are: the project has no mail address."""
    for reference in list(document.findall(nodes.reference)):
        if reference.get("refuri", "").startswith("mailto:"):
            reference.parent.replace(reference, nodes.Text(reference.astext()))


def mark(app, document):
    """Give tables of sentences the class "prose", and their cells the heads of the columns.

    A telephone stacks the cells, and shows the heads that stay hidden elsewhere.
    """
    for table in document.findall(nodes.table):
        cells = [
            entry.astext()
            for body in table.findall(nodes.tbody)
            for entry in body.findall(nodes.entry)
        ]
        if any(len(cell) > _SENTENCE for cell in cells):
            table["classes"].append("prose")
            _repeat_heads(table)


def _repeat_heads(table):
    heads = [
        entry.astext() for head in table.findall(nodes.thead) for entry in head.findall(nodes.entry)
    ]
    for row in (row for body in table.findall(nodes.tbody) for row in body.findall(nodes.row)):
        for head, entry in list(zip(heads, row.children))[1:]:
            if entry.children and isinstance(entry[0], nodes.paragraph):
                entry[0].insert(0, nodes.inline("", f"{head}: ", classes=["stacked-head"]))


def setup(app):
    """Have every page go through all of them."""
    app.connect("doctree-read", unlink)
    app.connect("doctree-read", join)
    app.connect("doctree-read", mark)
    return {"version": "1", "parallel_read_safe": True}
