"""The built documentation: complete, whole without a network, and readable on a telephone.

Oracle: the files themselves, and a headless Chromium that lays out every page. Needs a built site,
named by ``SKOPU_SITE``; ``.ci/run`` builds one.
"""

import functools
import html
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

SITE = os.environ.get("SKOPU_SITE")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(SITE is None, reason="needs a built site, named by SKOPU_SITE")
# Elements that fetch what they name when the page opens; links are followed by people only.
FETCHING = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}
HINTS = {"canonical", "next", "prev", "index", "search", "preconnect"}
# Loads every page in a frame of a width, and writes what is wrong with it.
CHECKER = """<!doctype html><body><script>
const pages = PAGES, width = WIDTH, found = {};
async function look(page) {
  const frame = document.createElement("iframe");
  frame.style = `width:${width}px;height:800px;border:0`;
  frame.src = "/" + page;
  document.body.append(frame);
  await new Promise(done => { frame.onload = done; });
  const root = frame.contentDocument.documentElement;
  const wide = root.scrollWidth - root.clientWidth;
  const first = frame.contentDocument.querySelector("h1");
  const top = first ? first.getBoundingClientRect().top : 1e4;
  const cells = [...frame.contentDocument.querySelectorAll("article td")];
  const squeezed = cells.filter(cell => cell.clientHeight > 10 * cell.clientWidth).length;
  const images = [...frame.contentDocument.querySelectorAll("article img")];
  const mute = images.filter(image => !image.hasAttribute("alt")).length;
  found[page] = {wide, top, squeezed, mute};
  frame.remove();
}
(async () => {
  for (const page of pages) {
    try { await look(page); } catch (error) { found[page] = {error: String(error)}; }
  }
  const out = document.createElement("pre");
  out.id = "found";
  out.textContent = JSON.stringify(found);
  document.body.append(out);
})();
</script></body>"""


class Page(HTMLParser):
    """Links, places to link to, and what a page fetches."""

    def __init__(self, path):
        super().__init__()
        self.links, self.fetched, self.ids, self.text, self._skipped = [], [], set(), [], 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids |= {attrs.get("id"), attrs.get("name")}
        if tag == "a" and attrs.get("href"):
            self.links.append(attrs["href"])
        wanted = FETCHING.get(tag)
        if attrs.get(wanted) and not HINTS & set((attrs.get("rel") or "").split()):
            self.fetched.append(attrs[wanted])
        self._skipped += tag in ("script", "style", "pre", "code")

    def handle_endtag(self, tag):
        self._skipped -= tag in ("script", "style", "pre", "code")

    def handle_data(self, data):
        if not self._skipped:
            self.text.append(data)


@pytest.fixture(scope="module")
def pages():
    root = Path(SITE).resolve()
    found = sorted(path for path in root.rglob("*.html") if "_static" not in path.parts)
    return {path: Page(path) for path in found}


def test_links_lead_somewhere(pages):
    """Oracle: the files, and the places in them."""
    broken = []
    for path, page in pages.items():
        for link in page.links + page.fetched:
            if re.match(r"[a-z]+:|//", link):
                continue
            address, place = urldefrag(link)
            target = (path.parent / unquote(address.partition("?")[0])) if address else path
            target = target.resolve()
            has_place = not place or target not in pages or unquote(place) in pages[target].ids
            if not (target.exists() and has_place):
                broken.append((path.name, link))
    assert not broken


def test_nothing_is_fetched_from_outside(pages):
    outside = {
        (path.name, place)
        for path, page in pages.items()
        for place in page.fetched
        if re.match(r"(https?:)?//", place)
    }
    assert not outside


def test_no_mail_link_was_made_of_a_name(pages):
    """Names such as mocap@user2 look like addresses."""
    assert not [link for page in pages.values() for link in page.links if "mailto:" in link]


def test_formulas_are_drawn(pages):
    """No TeX is left in the text, and there are formulas."""
    raw = r"\\[\[(]|\\frac|\\sum|\\top|\\mathrm|\$\$"
    left = {path.name for path, page in pages.items() if re.search(raw, "".join(page.text))}
    assert not left
    signs = r"<mi>(&|&amp;)</mi>"  # of an alignment that was not understood
    assert not [path.name for path in pages if re.search(signs, path.read_text("utf-8"))]
    assert "<math" in Path(SITE, "user_guide", "how_it_works.html").read_text(encoding="utf-8")


def test_every_lesson_can_be_had_as_a_notebook(pages):
    lessons = [path for path in pages if path.parent.name == "tutorial" and "plot_" in path.name]
    assert len(lessons) == 4
    for path in lessons:
        assert any(link.endswith(".ipynb") for link in pages[path].links), path.name


@pytest.fixture(scope="module")
def served(pages):
    """Address of the site, served to this machine alone, with a folder for the checkers."""
    root = Path(SITE).resolve()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        checker = ""

        def do_GET(self):
            if self.path != "/checker":
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(Quiet.checker.encode())

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(root))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server, Quiet
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [1280, 400])
def test_pages_as_a_browser_lays_them_out(pages, served, width, tmp_path):
    """No page scrolls sideways or writes an error, and its title is near the top.

    No cell of a table is left a column of letters, and every picture says what it shows, or that
    it only decorates.
    """
    server, handler = served
    root = Path(SITE).resolve()
    names = [str(path.relative_to(root)) for path in pages]
    handler.checker = CHECKER.replace("PAGES", json.dumps(names)).replace("WIDTH", str(width))
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"),
            *("--enable-logging=stderr", "--virtual-time-budget=300000"),
            *(f"--user-data-dir={tmp_path}", f"http://127.0.0.1:{server.server_port}/checker"),
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    text = re.search(r'(?s)<pre id="found">(.*?)</pre>', done.stdout)
    assert text, done.stderr[-2000:]
    found = json.loads(html.unescape(text[1]))
    assert set(found) == set(names)
    wrong = {
        name: page
        for name, page in found.items()
        if page.get("error")
        or page["wide"] > 0
        or page["top"] > 400
        or page["squeezed"]
        or page["mute"]
    }
    assert not wrong
    logged = [line for line in done.stderr.splitlines() if "CONSOLE" in line and "rror" in line]
    assert not logged
