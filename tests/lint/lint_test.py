#!/usr/bin/env python3
"""The lint finds what it claims to find: one bad snippet for each rule, and good ones that pass."""
import unittest

import lint
import rules
import source


def problems(check, path, text):
    return list(check(path, text))


class LintTest(unittest.TestCase):
    def one(self, check, path, text, word):
        found = problems(check, path, text)
        self.assertEqual(1, len(found), found)
        self.assertIn(word, found[0])

    def test_a_scheduler_that_includes_sqlite_is_told_so(self):
        self.one(lint.check_includes, "coordinator/scheduler/x.cpp", "#include <sqlite3.h>\n", "store")

    def test_a_scheduler_that_includes_the_server_is_told_so(self):
        self.one(lint.check_includes, "coordinator/scheduler/x.cpp", '#include "coordinator/server/server.h"\n',
                 "may not include")

    def test_inference_may_include_status_but_not_job(self):
        self.assertEqual([], problems(lint.check_includes, "worker/inference/x.cpp", '#include "schemas/status.h"\n'))
        self.one(lint.check_includes, "worker/inference/x.cpp", '#include "schemas/job.h"\n', "may not include")

    def test_metrics_sees_only_the_trace_of_inference(self):
        self.assertEqual([], problems(lint.check_includes, "worker/metrics/x.cpp",
                                      '#include "worker/inference/trace.h"\n'))
        self.one(lint.check_includes, "worker/metrics/x.cpp", '#include "worker/inference/engine.h"\n', "metrics")

    def test_an_include_without_folder_is_refused(self):
        self.one(lint.check_includes, "schemas/x.cpp", '#include "x.h"\n', "from the root")

    def test_own_header_comes_first(self):
        self.one(lint.check_own_header_first, "schemas/a.cpp", '#include "schemas/b.h"\n#include "schemas/a.h"\n',
                 "first")

    def test_a_long_function_is_found_and_a_class_is_not_one(self):
        body = "    step();\n" * 71
        self.one(lint.check_shape, "schemas/x.cpp", "void f(int a,\n       int b) {\n" + body + "}\n", "f has")
        klass = "class Big {\n" + "    int a;\n" * 80 + "};\n"
        self.assertEqual([], problems(lint.check_shape, "schemas/x.cpp", klass))

    def test_a_kernel_may_be_longer(self):
        body = "    step();\n" * 150
        self.assertEqual([], problems(lint.check_shape, "worker/inference/x.cu", "__global__ void k() {\n" + body + "}\n"))

    def test_a_method_inside_a_class_is_measured(self):
        text = "namespace a {\nclass B {\n  void f() const {\n" + "    step();\n" * 75 + "  }\n};\n}\n"
        self.one(lint.check_shape, "schemas/x.cpp", text, "f has")

    def test_a_long_file_and_a_wide_line_are_found(self):
        self.one(lint.check_shape, "schemas/x.cpp", "\n" * rules.FILE_LINES, "lines; split")
        self.one(lint.check_shape, "schemas/x.cpp", "x" * 101, "columns")

    def test_a_clock_in_the_scheduler_is_found(self):
        self.one(lint.check_behaviour, "coordinator/scheduler/x.cpp", "auto t = std::chrono::now();", "TimePoint")

    def test_catch_outside_the_seams_is_found(self):
        text = "try { f(); } catch (const E&) {}"
        self.one(lint.check_behaviour, "results/store/x.cpp", text, "seams")
        self.assertEqual([], problems(lint.check_behaviour, "worker/runner/run_job.cpp", text))

    def test_exit_in_a_library_is_found(self):
        self.one(lint.check_behaviour, "results/store/x.cpp", "void f() { std::exit(1); }", "return an Error")

    def test_a_test_without_assertion_is_found(self):
        self.one(lint.check_tests, "tests/x/x.cpp", "TEST(A, B) {\n  run();\n}\n", "asserts nothing")
        self.assertEqual([], problems(lint.check_tests, "tests/x/x.cpp", "TEST(A, B) {\n  EXPECT_TRUE(x);\n}\n"))

    def test_a_forbidden_link_is_found(self):
        self.one(lint.check_link_targets, "coordinator/scheduler/CMakeLists.txt",
                 "bitsweep_room(bitsweep_scheduler SOURCES a.cpp LINK bitsweep_schemas third_party_zmq)\n", "may not link")

    def test_a_new_top_level_folder_is_found(self):
        self.assertEqual(1, len(list(lint.check_top_level(["docs/a.md", "schemas/x.h", ".ci/run"]))))

    def test_comments_and_strings_do_not_count(self):
        self.assertNotIn("catch", source.strip_comments_and_strings('"catch (" // catch (\n/* catch ( */'))


if __name__ == "__main__":
    unittest.main()
