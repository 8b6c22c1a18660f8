// Flags of every command: the shared ones, the configuration file, help and the nearest flag.
// Exceptions of Boost.Program_options stop in options.cpp.
//
//   OptionSet options("status [EXPERIMENT] [--watch]", "Progress, workers and failures.");
//   options.add()("watch", "repeat until interrupted");
//   options.positional("experiment", 1);
//   const Parsed parsed = options.parse(arguments);
//   if (parsed.stop) return *parsed.stop;      // help was printed, or the mistake was
#pragma once

#include <boost/program_options/options_description.hpp>
#include <boost/program_options/positional_options.hpp>
#include <boost/program_options/variables_map.hpp>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "coordinator/cli/command.h"
#include "schemas/status.h"

namespace bitsweep {

// --db, --coordinator, --access, --format: the same everywhere. A value comes from the command
// line, else from BITSWEEP_DB, BITSWEEP_COORDINATOR, BITSWEEP_ACCESS, else from the configuration
// file, else from the default.
struct SharedOptions {
    std::filesystem::path db = "bitsweep.db";
    std::string coordinator;       // tcp://host:port; empty: as the access file says
    std::filesystem::path access;  // empty: DB.keys/access/client.json
    std::string format;            // table|csv|json|jsonl|markdown; empty: table
};

struct Parsed {
    std::optional<int> stop;  // an ExitCode: the command returns it at once
    SharedOptions shared;
    boost::program_options::variables_map values;

    bool has(const char* flag) const { return values.count(flag) > 0; }
    // The value of `flag` or `fallback`. T is the type the flag was declared with.
    template <class T>
    T get(const char* flag, T fallback = {}) const {
        return has(flag) ? values[flag].template as<T>() : fallback;
    }
};

class OptionSet {
 public:
    // `usage`: the line after "bitsweep "; `about`: one or more lines for --help.
    OptionSet(std::string usage, std::string about);

    // Declares the command's own flags, in Boost's own way.
    boost::program_options::options_description_easy_init add() { return own_.add_options(); }

    // Bare words go to the flag `name`: std::string when `most` is 1, else std::vector<std::string>
    // (most -1: any number). The flag is declared here.
    void positional(const char* name, int most);

    // Prints the help to standard output, or one line about a mistake to standard error.
    Parsed parse(const Arguments& arguments) const;

 private:
    std::string usage_;
    std::string about_;
    boost::program_options::options_description own_;
    boost::program_options::options_description hidden_;
    boost::program_options::positional_options_description words_;
};

// "bitsweep: MESSAGE" on standard error; returns the exit code that belongs to the error.
int report(const Error& error);
int exit_code(ErrorCode code);

// "key=value" pairs of --set. invalid_input names the one without "=".
Result<std::vector<std::pair<std::string, std::string>>> parse_overrides(
    const std::vector<std::string>& pairs);

// What --FLAG names, such as --models: folders, absolute. not_found names the one that is none.
Result<std::vector<std::filesystem::path>> folders_of(const Parsed& parsed, const char* flag);

// The candidate with the smallest edit distance, "" when none is near.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

// Progress bars and colours only where a person looks.
bool is_terminal(int descriptor);
bool wants_color(int descriptor);  // a terminal, and NO_COLOR is not set
int terminal_width();              // columns of standard output; 100 where it is no terminal

// One of table|csv|json|jsonl|markdown, else invalid_input.
Status check_format(std::string_view format);

}  // namespace bitsweep
