// One command of `bitsweep`: a row of the table in main.cpp, one file each.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bitsweep {

// Exit codes of every command (see the README).
enum ExitCode {
    exit_done = 0,
    exit_some_failed = 1,  // ran, and some jobs failed or the answer is no
    exit_bad_input = 2,    // nothing was changed
    exit_unavailable = 3,  // no coordinator, no worker, refused
    exit_interrupted = 130,
};

using Arguments = std::vector<std::string>;  // without program and command name

struct Command {
    std::string_view name;
    std::string_view summary;                // one line for --help
    int (*run)(const Arguments& arguments);  // prints; returns an ExitCode
};

int command_run(const Arguments&);
int command_serve(const Arguments&);
int command_worker(const Arguments&);
int command_submit(const Arguments&);
int command_plan(const Arguments&);
int command_schema(const Arguments&);
int command_diff(const Arguments&);
int command_explain(const Arguments&);
int command_status(const Arguments&);
int command_query(const Arguments&);
int command_report(const Arguments&);
int command_analyze(const Arguments&);
int command_import(const Arguments&);
int command_merge(const Arguments&);
int command_keys(const Arguments&);
int command_doctor(const Arguments&);
int command_pause(const Arguments&);
int command_resume(const Arguments&);
int command_cancel(const Arguments&);
int command_retry(const Arguments&);
int command_drain(const Arguments&);
int command_clear(const Arguments&);
int command_launch(const Arguments&);
int command_logs(const Arguments&);
int command_dashboard(const Arguments&);
int command_verify(const Arguments&);

}  // namespace bitsweep
