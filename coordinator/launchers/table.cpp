#include "coordinator/launchers/launcher.h"

namespace bitsweep {

namespace {

constexpr LauncherRow rows[] = {
    {"local", "a process on this machine", make_local_launcher},
    {"ssh", "a process on a machine that ssh reaches", make_ssh_launcher},
    {"slurm", "a job of Slurm", make_slurm_launcher},
};

}  // namespace

std::span<const LauncherRow> launcher_table() {
    return rows;
}

Result<std::unique_ptr<Launcher>> make_launcher(std::string_view name) {
    std::string known;
    for (const LauncherRow& row : rows) {
        if (row.name == name) {
            return row.make();
        }
        known += (known.empty() ? "" : ", ") + std::string(row.name);
    }
    return make_error(ErrorCode::not_found,
                      "there is no launcher `" + std::string(name) + "`; known: " + known);
}

}  // namespace bitsweep
