"""The live page in a browser: from an empty coordinator over an experiment that fills the grid to a coordinator that is
gone; read only, of this machine only, in light and dark, by keyboard."""
import re
import unittest

import page_checks
import programs


class LivePage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = programs.Folder()
        cls.addClassCleanup(cls.folder.close)
        cls.browser = page_checks.Browser()
        cls.addClassCleanup(cls.browser.close)

    def serve(self, database):
        """Starts a coordinator with a live page; returns the process, the page's address and the coordinator's."""
        process, words = self.folder.start("serve", "--db", database, "--listen", "tcp://127.0.0.1:0", "--no-keys",
                                           "--http", "0")
        url = programs.wait_for(lambda: re.search(r"live page: (http\S+)", words.read_text())).group(1)
        return process, url, re.search(r"tcp://127\.0\.0\.1:\d+", words.read_text()).group(0)

    def open(self, url, scheme="light", **how):
        page = self.browser.open(url, scheme, **how)
        self.addCleanup(page.context.close)
        page_checks.wait_until(page, "document.getElementById('state').textContent !== 'asking the coordinator'")
        return page

    def expect_quiet(self, page, url):
        self.assertEqual(page.told, [])
        self.assertEqual([request for request in page.requested if not request.startswith(url)], [])

    def test_of_an_empty_coordinator_says_what_to_do_next(self):
        _, url, _ = self.serve("empty.db")
        page = self.open(url)
        self.assertIn("No experiment yet", page.text_content("#experiments"))
        self.assertIn("No worker is attached", page.text_content("#workers"))
        page_checks.keep_picture(page, "live-empty")
        self.assertEqual(page_checks.accessibility(page), [])
        self.expect_quiet(page, url)

    def test_fills_its_grid_shows_any_view_and_says_when_the_coordinator_is_gone(self):
        server, url, coordinator = self.serve("full.db")
        self.folder.start("worker", "--connect", coordinator, "--cpu")
        self.folder.run("submit", *programs.SMALL, "--set", "quality=off", "--coordinator", coordinator)
        page = self.open(url)
        page.wait_for_selector("td.is-running", timeout=60_000)
        page_checks.keep_picture(page, "live-running")
        page_checks.wait_until(page, "document.querySelectorAll('.grid td.is-done').length === 14", 240)
        page_checks.wait_until(page, "document.querySelectorAll('.grid td small').length === 14")
        self.expect_quiet(page, url)
        self.look_at(url)
        self.open_report(url)
        self.lose(server, page)

    def look_at(self, url):
        for scheme in ("light", "dark"):
            page = self.open(url, scheme)
            page.wait_for_selector("#plot svg")
            page.wait_for_selector(".grid")
            page_checks.keep_picture(page, f"live-{scheme}")
            self.assertEqual(page.locator("#plot circle").count(), 42)  # 2 models, 7 methods, 3 repeats
            self.assertEqual(page_checks.plots(page), [])
            self.assertEqual(page_checks.contrast(page), [])
            self.assertEqual(page_checks.accessibility(page), [])
            self.assertEqual(page_checks.keyboard(page), [])
            self.expect_quiet(page, url)
        for view in page.locator("#view option").all_text_contents():
            page.select_option("#view", view)
            page_checks.wait_until(page, f"document.getElementById('about').textContent.includes('{view}')")
            self.assertNotIn("no such", page.text_content("#about"))
        self.expect_quiet(page, url)
        narrow = self.open(url, width=360, height=740)
        narrow.wait_for_selector("#plot svg")
        page_checks.keep_picture(narrow, "live-telephone")
        self.assertEqual(page_checks.too_wide(narrow), [])

    def open_report(self, url):
        page = self.open(url)
        page.wait_for_selector("#plot svg")
        page.click("h2 a")
        page.wait_for_selector("section#provenance")
        # What the page before was asking for when it was left is cancelled.
        page.told = [told for told in page.told if not told.endswith("net::ERR_ABORTED")]
        self.expect_quiet(page, url)

    def lose(self, server, page):
        server.terminate()
        server.wait(20)
        page.wait_for_selector("#state.trouble", timeout=20_000)
        self.assertIn("no answer from the program behind this page", page.text_content("#state"))
        self.assertEqual(page.locator(".grid td.is-done").count(), 14)
        page_checks.keep_picture(page, "live-gone")


if __name__ == "__main__":
    unittest.main(verbosity=2)
