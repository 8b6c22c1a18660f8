// `bitsweep keys new|list|revoke`: access files.
#include "coordinator/transport/keys.h"

#include <cstdio>

#include "coordinator/cli/client.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/options.h"
#include "coordinator/cli/tables.h"

namespace bitsweep {

namespace {

namespace fs = std::filesystem;
namespace po = boost::program_options;

// Where a new peer will find the coordinator: what another access file says.
Result<std::string> coordinator_url(const Parsed& parsed, const fs::path& keys) {
    if (!parsed.shared.coordinator.empty()) {
        return parsed.shared.coordinator;
    }
    std::error_code code;
    for (const fs::directory_entry& file : fs::directory_iterator(keys / "access", code)) {
        if (const Result<Access> access = read_access(file.path()); access) {
            return access->coordinator;
        }
    }
    if (fs::exists(keys / "access", code)) {
        return make_error(ErrorCode::invalid_input,
                          "no access file in " + (keys / "access").string() +
                              " says where the coordinator listens; give --coordinator URL");
    }
    return std::string(default_listen);  // no coordinator yet: it corrects the file when it starts
}

Status keys_new(const Parsed& parsed, const fs::path& keys, const std::string& name) {
    if (name.empty() || !parsed.has("role")) {
        return make_error(ErrorCode::invalid_input,
                          "write `bitsweep keys new NAME --role submit|work|read`");
    }
    const Role role = TRY(parse_role(parsed.get<std::string>("role")));
    const AddressFrom from =
        parsed.shared.coordinator.empty() ? AddressFrom::coordinator : AddressFrom::person;
    const fs::path file =
        TRY(new_access(keys, name, role, TRY(coordinator_url(parsed, keys)), from));
    std::printf("%s\n", file.c_str());
    std::fprintf(stderr, "carry this file to the machine of `%s` and keep it secret there\n",
                 name.c_str());
    return {};
}

Status keys_list(const Parsed& parsed, const fs::path& keys) {
    Table table;
    table.columns = {"name", "role", "public_key"};
    std::vector<std::string> flaws;
    const std::vector<AuthorizedPeer> peers = TRY(list_access(keys, &flaws));
    for (const std::string& flaw : flaws) {
        std::fprintf(stderr, "admits nobody: %s\n", flaw.c_str());
    }
    for (const AuthorizedPeer& peer : peers) {
        table.rows.push_back(
            {cell(peer.name), cell(std::string(to_string(peer.role))), cell(peer.public_key)});
    }
    print_table(table, parsed.shared);
    return {};
}

Status keys_revoke(const fs::path& keys, const std::string& name) {
    if (name.empty()) {
        return make_error(ErrorCode::invalid_input, "write `bitsweep keys revoke NAME`");
    }
    TRY(revoke_access(keys, name));
    std::fprintf(stderr, "`%s` is no longer admitted; a running coordinator notices at once\n",
                 name.c_str());
    return {};
}

Status run_keys(const Parsed& parsed) {
    const fs::path keys =
        parsed.get<std::string>("keys", default_keys_folder(parsed.shared.db).string());
    const std::vector<std::string> words = parsed.get<std::vector<std::string>>("words");
    const std::string action = words.empty() ? "" : words[0];
    const std::string name = words.size() > 1 ? words[1] : "";
    if (words.size() <= 2 && action == "new") {
        return keys_new(parsed, keys, name);
    }
    if (words.size() == 1 && action == "list") {
        return keys_list(parsed, keys);
    }
    if (words.size() <= 2 && action == "revoke") {
        return keys_revoke(keys, name);
    }
    return make_error(ErrorCode::invalid_input,
                      "write `bitsweep keys new NAME --role R`, `keys list` or `keys revoke NAME`");
}

}  // namespace

int command_keys(const Arguments& arguments) {
    OptionSet options("keys new NAME --role submit|work|read | list | revoke NAME",
                      "Access files, one per worker and per client. They act on a running "
                      "coordinator at once.");
    options.add()("role", po::value<std::string>()->value_name("R"),
                  "submit: send experiments and read; work: a worker; read: status and explain")(
        "keys", po::value<std::string>()->value_name("DIR"), "folder of keys (default DB.keys)");
    options.positional("words", 3);
    const Parsed parsed = options.parse(arguments);
    if (parsed.stop) {
        return *parsed.stop;
    }
    if (const Status done = run_keys(parsed); !done) {
        return report(done.error());
    }
    return exit_done;
}

}  // namespace bitsweep
