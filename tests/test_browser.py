"""The page in headless Chromium: it fits a phone, and asks for nothing from anywhere."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from callgrain.core import plugins
from callgrain.core.types import Reading
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose, readings, write_readings
from callgrain.report.html import write_page
from cases import FIXTURES
from test_report import EVIL, card_readings, form_readings, grade_readings, make_run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--enable-logging=stderr", "--v=0"),
)
PROBE = """<script>
const root = document.documentElement, wide = root.scrollWidth, out = [];
for (const box of document.querySelectorAll("body *"))
  if (!box.closest(".unseen, .skip, svg, .wide") && box.getBoundingClientRect().right > innerWidth + 1)
    out.push(box.tagName + "." + box.className);
document.title = JSON.stringify({wide, inner: innerWidth, out,
  paper: getComputedStyle(document.body).backgroundColor, asked: performance.getEntriesByType("resource").length});
</script>"""

NEED_MORE = {"modularity"}
"""Panels whose readings a text model does not give."""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (apt-get install chromium)")


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> str:
    root = tmp_path_factory.mktemp("runs")
    before = make_run(root, "before", {"nest": 6, "names": 27, "slots": 20})
    panels = [
        *card_readings("strict", "bfcl", "nestful", "nestful_fixed", EVIL),
        *form_readings(20),
        *grade_readings(file="outputs-of-a-model.jsonl", overlay="corrections@3"),
    ]
    after = make_run(root, "after", {"nest": 24, "names": 15, "slots": 21}, more=panels)
    extra = {"loss": [[0, 3.0], [10, 1.0], [20, 0.4]], "notes": ["n" * 300]}
    return write_page(after, before=before, extra=extra).read_text(encoding="utf-8")


def _browse(address: str, folder, *flags: str) -> tuple[str, str]:
    command = [
        str(CHROMIUM),
        *FLAGS,
        f"--user-data-dir={folder}",
        "--virtual-time-budget=2000",
        *flags,
        "--dump-dom",
        address,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def carded(tmp_path_factory) -> str:
    """One grader's card, whose tables stand beside one another."""
    run = make_run(tmp_path_factory.mktemp("runs"), "card", {"nest": 6}, more=card_readings("strict"))
    return write_page(run).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def suite(tmp_path_factory) -> str:
    """Every probe on a catalogue whose names, descriptions, requests and values are hostile; each panel is there."""
    folder = tmp_path_factory.mktemp("suite")
    rows = (FIXTURES / "joined" / "requests.jsonl").read_text(encoding="utf-8")
    evil = json.dumps(EVIL)[1:-1]
    for name in ("Skarne", "Kind of bird", "Height of the tide"):
        rows = rows.replace(name, evil)
    rows = rows.replace("get_tide", f"get_tide{evil}").replace("Friday", f"Friday {evil}")
    (folder / "evil.jsonl").write_text(rows, encoding="utf-8")
    model = "scripted:wrong_value=0.2,missing_call=0.1"
    mild = {"model": model, "subtask": "full,nest,slots,names"}
    hostile = DiagnoseRecipe.resolve({**mild, "source": f"jsonl:{folder}/evil.jsonl", "probe": "all", "n": 14})
    plain = DiagnoseRecipe.resolve({**mild, "source": "toolworld:full", "probe": "all", "n": 8})
    found = [r for recipe in (plain, hostile) for r in readings(diagnose(recipe, folder))]
    found += [
        Reading(probe="modularity", name="contrast", value=0.3, low=0.1, high=0.5, n=3, by={"arm": EVIL}),
        Reading(
            probe="prescription",
            name="gain",
            value=0.3,
            low=0.1,
            high=0.5,
            n=9,
            by={"remedy": EVIL, "order": 1, "at_most": True, "from": EVIL * 4, "of": "requests " * 20},
        ),
        Reading(probe="tier", name=EVIL, value=None, by={"needs": "weights", "has": EVIL}),
    ]
    run = diagnose(hostile, folder)
    write_readings(run, found)
    text = write_page(run).read_text(encoding="utf-8")
    shown = set(re.findall(r'<section id="p-(\w+)"', text))
    assert shown >= set(plugins.names("panels")) - NEED_MORE
    assert EVIL not in text
    return text


@pytest.mark.parametrize(
    ("width", "which"),
    [(390, "source"), (1200, "source"), (390, "carded"), (800, "carded"), (390, "suite"), (1200, "suite")],
)
def test_page_fits_its_window_and_logs_nothing(request, which, tmp_path, width):
    source = request.getfixturevalue(which)
    # A window is never narrower than 500 px, so the page under test stands in a frame that is.
    frame = tmp_path / "page.html"
    open_all = source.replace("<details", "<details open")
    inner = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", open_all).replace(
        "</body>", f"{PROBE}</body>"
    )
    frame.write_text(inner, encoding="utf-8")
    outer = tmp_path / "frame.html"
    outer.write_text(
        f'<body style="margin:0"><iframe id=f src="page.html" style="border:0;width:{width}px;height:3000px"></iframe>'
        "<script>f.onload = () => document.title = f.contentDocument.title</script>",
        encoding="utf-8",
    )
    dom, log = _browse(
        outer.as_uri(), tmp_path / "profile", "--allow-file-access-from-files", "--window-size=1400,3000"
    )
    found = re.search(r"<title>(\{.*?\})</title>", dom)
    assert found, log
    seen = json.loads(found[1])
    assert seen["inner"] == width
    assert seen["out"] == []
    assert seen["wide"] <= width
    assert seen["asked"] == 0
    assert "CONSOLE" not in log


def test_page_asks_a_server_for_nothing_but_itself(source, tmp_path):
    asked: list[str] = []

    class Serve(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(source.encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Serve) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        dom, log = _browse(f"http://127.0.0.1:{server.server_port}/page", tmp_path / "profile")
        server.shutdown()
        thread.join()
    assert "Before and after" in dom
    assert set(asked) <= {"/page", "/favicon.ico"}
    assert "/page" in asked
    assert "CONSOLE" not in log
