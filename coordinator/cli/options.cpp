#include "coordinator/cli/options.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <boost/program_options/errors.hpp>
#include <boost/program_options/parsers.hpp>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>

#include "schemas/catalog/edit_distance.h"

namespace bitsweep {

namespace {

namespace po = boost::program_options;

constexpr std::string_view version = "bitsweep " BITSWEEP_VERSION;

po::options_description shared_description() {
    po::options_description shared("Everywhere");
    // clang-format off
    shared.add_options()
        ("db", po::value<std::string>()->value_name("F"),
            "database (BITSWEEP_DB; default ./bitsweep.db)")
        ("coordinator", po::value<std::string>()->value_name("URL"),
            "tcp://host:port (BITSWEEP_COORDINATOR; default: as the access file says)")
        ("access", po::value<std::string>()->value_name("F"),
            "access file (BITSWEEP_ACCESS; default DB.keys/access/client.json)")
        ("format", po::value<std::string>()->value_name("NAME"),
            "table, csv, json, jsonl or markdown")
        ("config", po::value<std::string>()->value_name("F"),
            "file of `flag = value` lines (default ~/.config/bitsweep/bitsweep.conf)")
        ("help,h", "this text")
        ("version", "the version");
    // clang-format on
    return shared;
}

std::vector<std::string> flag_names(const po::options_description& all) {
    std::vector<std::string> names;
    for (const auto& option : all.options()) {
        names.push_back(option->long_name());
    }
    return names;
}

std::filesystem::path default_config() {
    if (const char* xdg = std::getenv("XDG_CONFIG_HOME")) {
        return std::filesystem::path(xdg) / "bitsweep" / "bitsweep.conf";
    }
    if (const char* home = std::getenv("HOME")) {
        return std::filesystem::path(home) / ".config" / "bitsweep" / "bitsweep.conf";
    }
    return {};
}

// Flags of all commands but the shared ones: one configuration file serves them all.
constexpr std::string_view flags_of_commands[] = {
    "budget",      "advertise",    "by",
    "check",       "clear",        "connect",
    "count",       "cpu",          "data",
    "device",      "dry-run",      "end-with-parent",
    "experiment",  "force",        "gpus",
    "gres",        "hostfile",     "http",
    "keys",        "lease",        "list",
    "listen",      "logs",         "loss",
    "margin",      "max-loss",     "memory",
    "model",       "models",       "name",
    "no-affinity", "no-keys",      "orders-from-input",
    "out",         "output",       "partition",
    "patience",    "port",         "priority",
    "program",     "random",       "reason",
    "report",      "retry-failed", "role",
    "runner",      "sample",       "sbatch",
    "seed",        "set",          "state",
    "threads",     "time",         "tolerance",
    "until",       "view",         "wait",
    "watch",       "why",          "workers"};

// A key that is no flag of this command has to be one of another.
Status check_foreign_keys(const po::parsed_options& read) {
    for (const auto& option : read.options) {
        const std::string& key = option.string_key;
        if (!option.unregistered ||
            std::ranges::find(flags_of_commands, key) != std::end(flags_of_commands)) {
            continue;
        }
        const std::string near =
            nearest(key, {std::begin(flags_of_commands), std::end(flags_of_commands)});
        return make_error(ErrorCode::invalid_input,
                          "`" + key + "` is no flag of any command" +
                              (near.empty() ? "" : "; did you mean `" + near + "`?"));
    }
    return {};
}

// A named configuration file must exist. Every key must be a flag of some command.
Status read_config(const po::options_description& all, po::variables_map& values) {
    const bool named = values.count("config") > 0;
    const std::filesystem::path file =
        named ? std::filesystem::path(values["config"].as<std::string>()) : default_config();
    std::error_code ignored;
    if (file.empty() || (!named && !std::filesystem::exists(file, ignored))) {
        return {};
    }
    std::ifstream stream(file);
    if (!stream) {
        return make_error(ErrorCode::not_found,
                          "cannot read the configuration file " + file.string());
    }
    try {
        const po::parsed_options read = po::parse_config_file(stream, all, true);
        if (const Status known = check_foreign_keys(read); !known) {
            return make_error(known.error().code, file.string() + ": " + known.error().message);
        }
        po::store(read, values);
    } catch (const po::error& mistake) {
        return make_error(ErrorCode::invalid_input, file.string() + ": " + mistake.what());
    }
    return {};
}

void read_environment(const po::options_description& all, po::variables_map& values) {
    po::store(po::parse_environment(all,
                                    [](const std::string& name) -> std::string {
                                        if (name == "BITSWEEP_DB") {
                                            return "db";
                                        }
                                        if (name == "BITSWEEP_COORDINATOR") {
                                            return "coordinator";
                                        }
                                        return name == "BITSWEEP_ACCESS" ? "access" : "";
                                    }),
              values);
}

std::string strip_dashes(std::string flag) {
    flag.erase(0, flag.find_first_not_of('-'));
    return flag.substr(0, flag.find('='));
}

SharedOptions shared_values(const po::variables_map& values) {
    SharedOptions shared;
    if (values.count("db") > 0) {
        shared.db = values["db"].as<std::string>();
    }
    if (values.count("coordinator") > 0) {
        shared.coordinator = values["coordinator"].as<std::string>();
    }
    if (values.count("access") > 0) {
        shared.access = values["access"].as<std::string>();
    }
    if (values.count("format") > 0) {
        shared.format = values["format"].as<std::string>();
    }
    return shared;
}

}  // namespace

OptionSet::OptionSet(std::string usage, std::string about)
    : usage_(std::move(usage)), about_(std::move(about)), own_("Flags") {}

void OptionSet::positional(const char* name, int most) {
    if (most == 1) {
        hidden_.add_options()(name, po::value<std::string>());
    } else {
        hidden_.add_options()(name, po::value<std::vector<std::string>>());
    }
    words_.add(name, most);
}

Parsed OptionSet::parse(const Arguments& arguments) const {
    po::options_description visible;
    visible.add(own_).add(shared_description());
    po::options_description all;
    all.add(visible).add(hidden_);
    Parsed parsed;
    try {
        // No abbreviations: a flag added later must not change what a script means.
        constexpr int style =
            po::command_line_style::default_style & ~po::command_line_style::allow_guessing;
        po::store(
            po::command_line_parser(arguments).options(all).positional(words_).style(style).run(),
            parsed.values);
        if (parsed.has("help")) {
            std::cout << "usage: bitsweep " << usage_ << "\n\n" << about_ << "\n" << visible;
            parsed.stop = exit_done;
            return parsed;
        }
        if (parsed.has("version")) {
            std::cout << version << "\n";
            parsed.stop = exit_done;
            return parsed;
        }
        read_environment(all, parsed.values);
        if (const Status read = read_config(all, parsed.values); !read) {
            parsed.stop = report(read.error());
            return parsed;
        }
        po::notify(parsed.values);
        parsed.shared = shared_values(parsed.values);
    } catch (const po::unknown_option& unknown) {
        const std::string flag = strip_dashes(unknown.get_option_name());
        const std::string near = nearest(flag, flag_names(visible));
        const std::string remedy =
            near.empty() ? "; --help lists them" : "; did you mean --" + near + "?";
        parsed.stop =
            report(make_error(ErrorCode::invalid_input, "there is no flag --" + flag + remedy));
    } catch (const po::too_many_positional_options_error&) {
        parsed.stop = report(
            make_error(ErrorCode::invalid_input, "too many words; usage: bitsweep " + usage_));
    } catch (const po::error& mistake) {
        parsed.stop = report(make_error(ErrorCode::invalid_input, mistake.what()));
    }
    if (!parsed.stop && !parsed.shared.format.empty()) {
        if (const Status known = check_format(parsed.shared.format); !known) {
            parsed.stop = report(known.error());
        }
    }
    return parsed;
}

int exit_code(ErrorCode code) {
    switch (code) {
        case ErrorCode::unavailable:
        case ErrorCode::refused:
        case ErrorCode::timeout:
            return exit_unavailable;
        case ErrorCode::interrupted:
            return exit_interrupted;
        case ErrorCode::internal:
        case ErrorCode::out_of_memory:
        case ErrorCode::out_of_gpu_memory:
        case ErrorCode::gpu_fault:
        case ErrorCode::invalid_numbers:
            return exit_some_failed;
        default:
            return exit_bad_input;
    }
}

int report(const Error& error) {
    std::fprintf(stderr, "bitsweep: %s\n", error.message.c_str());
    return exit_code(error.code);
}

Result<std::vector<std::filesystem::path>> folders_of(const Parsed& parsed, const char* flag) {
    std::vector<std::filesystem::path> folders;
    std::error_code code;
    for (const std::string& folder : parsed.get<std::vector<std::string>>(flag)) {
        if (!std::filesystem::is_directory(folder, code)) {
            return make_error(ErrorCode::not_found,
                              "--" + std::string(flag) + " " + folder + " is no folder");
        }
        folders.push_back(std::filesystem::absolute(folder, code));
    }
    return folders;
}

Result<std::vector<std::pair<std::string, std::string>>> parse_overrides(
    const std::vector<std::string>& pairs) {
    std::vector<std::pair<std::string, std::string>> overrides;
    for (const std::string& pair : pairs) {
        const std::size_t equals = pair.find('=');
        if (equals == std::string::npos || equals == 0) {
            return make_error(ErrorCode::invalid_input,
                              "--set " + pair + ": write key=value, for example --set repeat=1");
        }
        overrides.emplace_back(pair.substr(0, equals), pair.substr(equals + 1));
    }
    return overrides;
}

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
    std::string best;
    std::size_t best_distance = std::max<std::size_t>(2, word.size() / 2);
    for (const std::string& candidate : candidates) {
        const std::size_t distance = edit_distance(word, candidate);
        if (distance < best_distance || (distance == best_distance && best.empty())) {
            best_distance = distance;
            best = candidate;
        }
    }
    return best;
}

bool is_terminal(int descriptor) {
    return isatty(descriptor) == 1;
}

bool wants_color(int descriptor) {
    const char* no_color = std::getenv("NO_COLOR");
    return is_terminal(descriptor) && (no_color == nullptr || *no_color == '\0');
}

int terminal_width() {
    winsize size{};
    if (is_terminal(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 &&
        size.ws_col > 0) {
        return size.ws_col;
    }
    return 100;
}

Status check_format(std::string_view format) {
    static const std::vector<std::string> known = {"table", "csv", "json", "jsonl", "markdown"};
    if (std::find(known.begin(), known.end(), format) != known.end()) {
        return {};
    }
    return make_error(ErrorCode::invalid_input, "--format " + std::string(format) +
                                                    ": one of table, csv, json, jsonl, markdown");
}

}  // namespace bitsweep
