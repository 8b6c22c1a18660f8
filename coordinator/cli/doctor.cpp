// `bitsweep doctor`: what this machine has and lacks, and the command that mends it.
#include <dlfcn.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <thread>

#include "coordinator/cli/client.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/options.h"
#include "coordinator/cli/tables.h"
#include "coordinator/transport/keys.h"
#include "results/store/store.h"
#include "schemas/content.h"
#include "worker/agent/capabilities.h"

namespace bitsweep {

namespace {

namespace fs = std::filesystem;
namespace po = boost::program_options;

constexpr Duration capabilities_limit{120'000};
// A forced quickstart writes about 10 MB; a million cells about 3 GiB.
constexpr std::uint64_t little_space = std::uint64_t{1} << 30;

constexpr rlim_t few_descriptors = 4'096;

enum class Verdict { ok, note, lacking };

struct Finding {
    std::string subject;
    Verdict verdict = Verdict::ok;
    std::string found;
    std::string remedy;
};

std::string gib(std::uint64_t bytes) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f GiB",
                  static_cast<double>(bytes) / static_cast<double>(1u << 30));
    return text;
}

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words) {
        text += (text.empty() ? "" : ", ") + word;
    }
    return text;
}

void look_at_runner(const Parsed& parsed, std::vector<Finding>& findings) {
    const Result<fs::path> runner = agent::find_runner(parsed.get<std::string>("runner"));
    if (!runner) {
        findings.push_back({"runner", Verdict::lacking, runner.error().message, "scripts/build"});
        return;
    }
    const Result<agent::Capabilities> found = agent::ask_runner(*runner, {}, capabilities_limit);
    if (!found) {
        findings.push_back({"runner", Verdict::lacking, found.error().message, "scripts/setup"});
        return;
    }
    findings.push_back({"runner", Verdict::ok, runner->string() + ", " + found->version, ""});
    for (const DeviceInfo& device : found->devices) {
        std::string facts;
        for (const auto& [key, value] : device.facts) {
            facts += ", " + key + " " + value;
        }
        findings.push_back({"device " + device.id, Verdict::ok,
                            device.name + ", " + gib(device.memory_bytes) + ", " +
                                gib(device.free_bytes) + " free" + facts,
                            ""});
    }
}

// The driver's own library answers even where no program of it is installed.
Finding look_at_gpu() {
    std::error_code code;
    const bool device_node = fs::exists("/dev/nvidiactl", code);
    void* library = dlopen("libnvidia-ml.so.1", RTLD_LAZY | RTLD_LOCAL);
    const bool driver = library != nullptr;
    if (library != nullptr) {
        dlclose(library);
    }
    if (device_node && driver) {
        return {"GPU driver", Verdict::ok, "NVML and /dev/nvidiactl are there", ""};
    }
    if (device_node) {
        return {"GPU driver", Verdict::lacking, "/dev/nvidiactl is there, libnvidia-ml.so.1 is not",
                "install the driver's user libraries"};
    }
    return {"GPU driver", Verdict::note, "none: this machine measures on its CPU", ""};
}

Finding look_at_models(const Parsed& parsed) {
    Result<std::vector<fs::path>> dirs = folders_of(parsed, "models");
    if (!dirs) {
        return {"models", Verdict::lacking, dirs.error().message, "give --models a folder"};
    }
    const std::vector<fs::path> usual = default_model_dirs();
    dirs->insert(dirs->end(), usual.begin(), usual.end());
    const std::vector<std::string> names = list_models(*dirs);
    if (names.empty()) {
        return {"models", Verdict::lacking, "none found", "scripts/setup, or --models DIR"};
    }
    return {"models", Verdict::ok, joined(names), ""};
}

Finding look_at_texts() {
    const std::vector<fs::path> dirs = default_data_dirs();
    const Result<fs::path> text = find_text("heldout-fiction", dirs);
    if (!text) {
        return {"texts", Verdict::lacking, text.error().message, "set BITSWEEP_DATA to its folder"};
    }
    return {"texts", Verdict::ok, text->string(), ""};
}

Finding look_at_database(const fs::path& db) {
    std::error_code code;
    if (!fs::exists(db, code)) {
        return {"database", Verdict::note, db.string() + ": none yet; the first run makes it", ""};
    }
    const Result<std::unique_ptr<Store>> store = Store::open(db, OpenMode::read_only);
    if (!store) {
        return {"database", Verdict::lacking, store.error().message, "name another one with --db"};
    }
    const Result<Table> runs = (*store)->query("SELECT COUNT(*) FROM runs");
    if (!runs || runs->rows.empty()) {
        return {"database", Verdict::lacking, runs ? "no runs table" : runs.error().message,
                "name another one with --db"};
    }
    return {"database", Verdict::ok,
            db.string() + ", " + std::to_string(runs->rows[0][0].integer) + " runs", ""};
}

Finding look_at_disk(const fs::path& db) {
    std::error_code code;
    const fs::path folder = fs::absolute(db, code).parent_path();
    struct statvfs facts {};
    if (statvfs(folder.c_str(), &facts) != 0 || access(folder.c_str(), W_OK) != 0) {
        return {"disk", Verdict::lacking, folder.string() + " cannot be written",
                "name a database elsewhere with --db"};
    }
    const std::uint64_t free = std::uint64_t{facts.f_bavail} * facts.f_frsize;
    if (free < little_space) {
        return {"disk", Verdict::lacking, gib(free) + " free in " + folder.string(),
                "free some space, or name a database elsewhere with --db"};
    }
    return {"disk", Verdict::ok, gib(free) + " free in " + folder.string(), ""};
}

// What `bitsweep launch` could use from here.
Finding look_at_launchers() {
    std::string found = "local";
    std::istringstream folders(std::getenv("PATH") == nullptr ? "" : std::getenv("PATH"));
    std::vector<std::pair<std::string, std::string>> programs = {{"ssh", "ssh"},
                                                                 {"sbatch", "slurm"}};
    for (std::string folder; std::getline(folders, folder, ':');) {
        std::erase_if(programs, [&](const auto& program) {
            const bool there = access((fs::path(folder) / program.first).c_str(), X_OK) == 0;
            found += there ? ", " + program.second : "";
            return there;
        });
    }
    return {"launchers", Verdict::ok, found, ""};
}

// Every connection and every open file of the database is a descriptor.
Finding look_at_descriptors() {
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    const std::string found =
        limit.rlim_max == RLIM_INFINITY ? "no limit" : "up to " + std::to_string(limit.rlim_max);
    if (limit.rlim_max < few_descriptors) {
        return {"open files", Verdict::note, found + ": few for a coordinator of many workers",
                "LimitNOFILE= of its unit, or ulimit -n"};
    }
    return {"open files", Verdict::ok, found, ""};
}

Finding look_at_coordinator(const SharedOptions& shared) {
    const Result<Access> access = find_access(shared, "client");
    if (!access) {
        if (access.error().code == ErrorCode::unavailable) {
            return {"coordinator", Verdict::note, "none known; `bitsweep run` brings its own", ""};
        }
        return {"coordinator", Verdict::lacking, access.error().message,
                "bitsweep keys new NAME --role submit"};
    }
    const Result<Client> client = Client::connect(*access);
    if (!client) {
        return {"coordinator", Verdict::note, client.error().message, ""};
    }
    return {"coordinator", Verdict::ok, "answers at " + access->coordinator, ""};
}

std::string_view word(Verdict verdict) {
    switch (verdict) {
        case Verdict::ok:
            return "ok";
        case Verdict::note:
            return "note";
        case Verdict::lacking:
            return "lacking";
    }
    return "";
}

}  // namespace

int command_doctor(const Arguments& arguments) {
    OptionSet options("doctor [--db F] [--models DIR]...",
                      "What this machine has and lacks, and the command that mends it. Exit code 1 "
                      "when something is lacking.");
    // clang-format off
    options.add()
        ("models", po::value<std::vector<std::string>>()->composing()->value_name("DIR"),
            "folder with models; may be given several times")
        ("runner", po::value<std::string>()->value_name("F"),
            "bitsweep-runner (BITSWEEP_RUNNER; default: beside this program)");
    // clang-format on
    const Parsed parsed = options.parse(arguments);
    if (parsed.stop) {
        return *parsed.stop;
    }
    std::vector<Finding> findings = {
        {"program", Verdict::ok,
         "bitsweep " BITSWEEP_VERSION ", " + transport_libraries() + ", " +
             std::to_string(std::thread::hardware_concurrency()) + " cores",
         ""}};
    look_at_runner(parsed, findings);
    findings.push_back(look_at_gpu());
    findings.push_back(look_at_models(parsed));
    findings.push_back(look_at_texts());
    findings.push_back(look_at_database(parsed.shared.db));
    findings.push_back(look_at_disk(parsed.shared.db));
    findings.push_back(look_at_descriptors());
    findings.push_back(look_at_launchers());
    findings.push_back(look_at_coordinator(parsed.shared));
    Table table;
    table.columns = {"subject", "verdict", "found", "remedy"};
    bool lacking = false;
    for (const Finding& finding : findings) {
        lacking = lacking || finding.verdict == Verdict::lacking;
        table.rows.push_back({cell(finding.subject), cell(std::string(word(finding.verdict))),
                              cell(finding.found), cell(finding.remedy)});
    }
    const int printed = print_table(table, parsed.shared);
    return printed != exit_done ? printed : (lacking ? exit_some_failed : exit_done);
}

}  // namespace bitsweep
