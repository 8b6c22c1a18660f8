"""The report in a browser: nothing leaves the file, every plot is drawn with all its marks, it can be read in light and
dark, on paper, on a telephone, with a keyboard and by a screen reader."""
import collections
import unittest

import page_checks
import programs


class Reports(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = programs.Folder()
        cls.addClassCleanup(cls.folder.close)
        cls.browser = page_checks.Browser()
        cls.addClassCleanup(cls.browser.close)
        cls.database, page = programs.synthetic(cls.folder)
        cls.pages = {"synthetic": page}
        small = cls.folder.path / "small.db"
        cls.folder.run("run", *programs.SMALL, "--db", small)
        cls.folder.run("import", programs.SOURCE / "results/published/seed-t4.csv",
                       programs.SOURCE / "results/published/llama-bench-h100.jsonl", "--db", small)
        cls.pages["small"] = cls.folder.report("quickstart", small)
        once = cls.folder.path / "once.db"
        cls.folder.run("run", *programs.SMALL, "--set", "repeat=1", "--set", "model=[llama-pico]", "--set",
                       "quality=off", "--db", once)
        cls.pages["once"] = cls.folder.report("quickstart", once)

    def every_page(self, check, **how):
        """Calls `check` with the name and the opened page, for every page in light and dark."""
        for name, file in self.pages.items():
            for scheme in ("light", "dark"):
                with self.subTest(page=name, scheme=scheme):
                    page = self.browser.open(file.as_uri(), scheme, **how)
                    self.addCleanup(page.context.close)
                    check(f"{name}-{scheme}", page)

    def test_says_nothing_on_the_console_and_asks_for_nothing_but_itself(self):
        def check(name, page):
            page_checks.keep_picture(page, f"report-{name}")
            self.assertEqual(page.told, [])
            self.assertEqual(page.requested, [page.url])

        self.every_page(check)

    def test_draws_every_plot_without_a_text_on_another(self):
        self.every_page(lambda _, page: self.assertEqual(page_checks.plots(page), []))

    def marks(self, page, start, device):
        return page.locator(f'svg[role=img][aria-label^="{start}"][aria-label*="{device}"] .mark').count()

    def test_draws_a_mark_for_every_measured_pair_and_every_run(self):
        page = self.browser.open(self.pages["synthetic"].as_uri())
        pairs = dict(programs.ask(self.database, """SELECT device, count(DISTINCT model || method ||
            ifnull(threshold, '')) FROM v_speedup WHERE method <> 'fp16' GROUP BY device"""))
        runs = dict(programs.ask(self.database, "SELECT device, count(*) FROM v_cells GROUP BY device"))
        peers, = programs.ask(self.database, """SELECT count(*) FROM v_external e WHERE parameters IS NOT NULL AND
            decode_tokens_per_s IS NOT NULL AND method NOT IN ('f16', 'fp16', 'baseline') AND EXISTS (SELECT 1 FROM
            v_external b WHERE (b.file, b.gpu, b.model, b.batch, b.new_tokens) IS (e.file, e.gpu, e.model, e.batch,
            e.new_tokens) AND b.method IN ('f16', 'fp16', 'baseline') AND b.decode_tokens_per_s IS NOT NULL)""")[0]
        self.assertEqual((len(pairs), peers), (3, 8))
        for device, count in pairs.items():
            self.assertEqual(self.marks(page, "Speed-up over 16 bits", device), count + peers, device)
            self.assertEqual(self.marks(page, "Every run", device), runs[device], device)
        bars = page.locator('svg[role=img][aria-label^="Where the time"] .part')
        methods = collections.Counter(title.split(",")[0] for title in bars.locator("title").all_text_contents())
        self.assertEqual(len(methods), 7)

    def test_stands_out_from_the_paper_in_light_and_dark(self):
        self.every_page(lambda _, page: self.assertEqual(page_checks.contrast(page), []))

    def test_has_no_serious_accessibility_violation(self):
        def check(_, page):
            page.evaluate("document.querySelectorAll('details').forEach(folded => folded.open = true)")
            self.assertEqual(page_checks.accessibility(page), [])

        self.every_page(check)

    def test_is_reached_by_keyboard_and_opens_its_folded_parts_with_enter(self):
        page = self.browser.open(self.pages["synthetic"].as_uri())
        self.addCleanup(page.context.close)
        self.assertEqual(page_checks.keyboard(page), [])
        page.locator("summary").first.focus()
        page.keyboard.press("Enter")
        self.assertTrue(page.locator("details").first.evaluate("folded => folded.open"))

    def test_fits_a_telephone(self):
        def check(name, page):
            page_checks.keep_picture(page, f"telephone-{name}")
            self.assertEqual(page_checks.too_wide(page), [])

        self.every_page(check, width=360, height=740)

    def test_prints_within_the_paper(self):
        def check(name, page):
            page.emulate_media(media="print")
            page_checks.keep_picture(page, f"paper-{name}")
            self.assertEqual(page_checks.too_wide(page), [])
            paper = page.pdf(format="A4")
            self.assertTrue(paper.startswith(b"%PDF"))
            self.assertGreater(paper.count(b"/Type /Page\n"), 1)  # broken into pages, not cut off

        self.every_page(check, width=718, height=1000)  # A4 at 96 px an inch, margins of 10 mm


if __name__ == "__main__":
    unittest.main(verbosity=2)
