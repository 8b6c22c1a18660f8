"""What must hold of every page that bitsweep makes, asked of a real browser. A check returns the list of what is
wrong, so that a test can show all of it at once. Playwright drives Debian's chromium; axe-core comes from the wheel."""
import os
import pathlib
import shutil
import sys

SKIPPED = 77  # ctest's SKIP_RETURN_CODE
REMEDY = ("the browser checks are skipped: {} is missing; `apt-get install chromium` and "
          "`.deps/venv/bin/pip install -r tests/browser/requirements.txt` bring it")

try:
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright
except ImportError as missing:
    print(REMEDY.format(f"the Python package {missing.name}"))
    sys.exit(SKIPPED)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    print(REMEDY.format("chromium"))
    sys.exit(SKIPPED)

# Texts of one plot that touch each other, and texts or marks that leave it.
PLOTS = """() => {
  const wrong = [];
  const shown = box => box.width > 0 && box.height > 0;
  for (const svg of document.querySelectorAll('svg[role=img]')) {
    const name = svg.getAttribute('aria-label');
    const frame = svg.getBoundingClientRect();
    if (!shown(frame)) { wrong.push(name + ': has no size'); continue; }
    if (!svg.querySelector('.mark, .part, .line')) wrong.push(name + ': has no mark');
    const texts = [...svg.querySelectorAll('text')].filter(text => text.textContent.trim());
    const boxes = texts.map(text => text.getBoundingClientRect());
    boxes.forEach((box, i) => {
      const says = texts[i].textContent;
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 ||
          box.bottom > frame.bottom + 1) wrong.push(name + ': "' + says + '" leaves the plot');
      for (let j = 0; j < i; ++j) {
        const other = boxes[j];
        const wide = Math.min(box.right, other.right) - Math.max(box.left, other.left);
        const high = Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top);
        if (wide > 1 && high > 3) wrong.push(name + ': "' + says + '" lies on "' + texts[j].textContent + '"');
      }
    });
    for (const mark of svg.querySelectorAll('.mark, .part, .bar')) {
      const box = mark.getBoundingClientRect();
      if (box.left < frame.left - 8 || box.right > frame.right + 8 || box.top < frame.top - 8 ||
          box.bottom > frame.bottom + 8) wrong.push(name + ': a mark leaves the plot');
    }
  }
  return wrong;
}"""

# WCAG contrast of the texts and marks inside plots, which axe-core does not look at.
CONTRAST = """() => {
  const rgb = colour => (colour.match(/[\\d.]+/g) || []).map(Number);
  const light = colour => {
    const [r, g, b] = rgb(colour).slice(0, 3).map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
  const paper = getComputedStyle(document.body).backgroundColor;
  const wrong = new Set();
  const judge = (element, colour, least) => {
    if (!rgb(colour).length || colour === paper) return;
    const found = ratio(colour, paper);
    if (found < least) wrong.add(element.getAttribute('class') + ' ' + colour + ' on ' + paper + ': ' +
                                 found.toFixed(2) + ', wants ' + least);
  };
  for (const text of document.querySelectorAll('svg text')) judge(text, getComputedStyle(text).fill, 4.5);
  for (const mark of document.querySelectorAll('svg .mark, svg .line')) judge(mark, getComputedStyle(mark).stroke, 3);
  for (const part of document.querySelectorAll('svg .part')) judge(part, getComputedStyle(part).fill, 3);
  return [...wrong];
}"""

FOCUSABLE = "a[href], summary, button, select, input, [tabindex='0']"
FOCUS = """() => {
  const at = document.activeElement;
  if (!at || at === document.body) return null;
  const style = getComputedStyle(at);
  return {index: [...document.querySelectorAll(%r)].indexOf(at),
          seen: style.outlineStyle !== 'none' || style.boxShadow !== 'none',
          name: at.tagName + ' ' + (at.getAttribute('aria-label') || at.textContent).slice(0, 40)};
}""" % FOCUSABLE

WIDER = """() => {
  const page = document.documentElement, seen = box => box.checkVisibility({contentVisibilityAuto: true});
  const wrong = page.scrollWidth > page.clientWidth ? ['the page is ' + page.scrollWidth + ' px wide'] : [];
  for (const box of document.querySelectorAll('.wide, pre'))
    if (seen(box) && getComputedStyle(box).overflowX === 'visible' && box.scrollWidth > box.clientWidth + 1)
      wrong.push((box.getAttribute('aria-label') || box.tagName) + ' is ' + box.scrollWidth + ' px wide in ' +
                 box.clientWidth);
  return wrong;
}"""


class Browser:
    """One chromium; each page of it is watched from before its first request."""

    def __init__(self):
        self.playwright = sync_playwright().start()
        self.chromium = self.playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])

    def close(self):
        self.chromium.close()
        self.playwright.stop()

    def open(self, url, scheme="light", width=1200, height=900):
        context = self.chromium.new_context(color_scheme=scheme, viewport={"width": width, "height": height})
        page = context.new_page()
        page.told, page.requested = [], []
        page.on("console", lambda message: page.told.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: page.told.append(f"exception: {error}"))
        page.on("requestfailed", lambda request: page.told.append(f"failed: {request.url} {request.failure}"))
        page.on("request", lambda request: page.requested.append(request.url))
        page.goto(url)
        return page


def wait_until(page, expression, seconds=60):
    """Playwright's own wait evaluates text inside the page, which the live page's security policy forbids."""
    for _ in range(10 * seconds):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"not within {seconds} s: {expression}")


def accessibility(page):
    """Serious and critical violations by axe-core, with the elements that have them."""
    violations = Axe().run(page).response["violations"]
    return [f"{found['impact']}: {found['id']}: {node['html'][:160]}: {node['failureSummary'][:300]}"
            for found in violations if found["impact"] in ("serious", "critical") for node in found["nodes"]]


def plots(page):
    return page.evaluate(PLOTS)


def contrast(page):
    return page.evaluate(CONTRAST)


def keyboard(page):
    """What Tab does not reach, or reaches without showing that it has."""
    wanted = page.evaluate("""focusable => [...document.querySelectorAll(focusable)].map((element, index) =>
        element.checkVisibility({contentVisibilityAuto: true}) ? index : -1).filter(index => index >= 0)""", FOCUSABLE)
    reached, wrong = set(), []
    page.evaluate("document.activeElement && document.activeElement.blur(); window.scrollTo(0, 0)")
    for _ in range(4 * len(wanted) + 10):
        page.keyboard.press("Tab")
        at = page.evaluate(FOCUS)
        if at is None or at["index"] in reached:
            break
        if at["index"] >= 0:
            reached.add(at["index"])
        if not at["seen"]:
            wrong.append(f"{at['name']}: focus does not show")
    missed = [index for index in wanted if index not in reached]
    names = page.evaluate("""([focusable, missed]) => missed.map(index =>
        document.querySelectorAll(focusable)[index].outerHTML.slice(0, 100))""", [FOCUSABLE, missed])
    return wrong + [f"Tab does not reach {name}" for name in names]


def too_wide(page):
    return page.evaluate(WIDER)


def keep_picture(page, name):
    """A screenshot for people, where BITSWEEP_SCREENSHOTS names a folder."""
    folder = os.environ.get("BITSWEEP_SCREENSHOTS")
    if folder:
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(pathlib.Path(folder) / f"{name}.png"), full_page=True)
