"""How soon the live page of a database stands: first contentful paint, then the grid of its first experiment and the plot
of its first view. usage: first_paint.py F.db"""
import pathlib
import re
import sys

import page_checks
import programs

PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


def main(database):
    folder = programs.Folder()
    browser = page_checks.Browser()
    try:
        _, words = folder.start("serve", "--db", pathlib.Path(database).resolve(), "--listen", "tcp://127.0.0.1:0",
                                "--no-keys", "--http", "0")
        url = programs.wait_for(lambda: re.search(r"live page: (http\S+)", words.read_text())).group(1)
        for opening in ("first", "second", "third"):
            page = browser.open(url)
            page_checks.wait_until(page, "performance.getEntriesByName('first-contentful-paint').length > 0")
            page.wait_for_selector(".grid td", timeout=120_000)
            grid = page.evaluate("performance.now()")
            page.wait_for_selector("#plot svg", timeout=120_000)
            plot = page.evaluate("performance.now()")
            print(f"{opening} opening: first paint {page.evaluate(PAINT):.0f} ms, grid {grid:.0f} ms, view {plot:.0f} ms")
            page.context.close()
    finally:
        browser.close()
        folder.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
