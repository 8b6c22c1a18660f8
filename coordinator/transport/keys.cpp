#include "coordinator/transport/keys.h"

#include <sodium.h>
#include <zmq.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "coordinator/transport/private_file.h"

namespace bitsweep {

namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr std::size_t z85_length = 40;  // 32 bytes of key

struct KeyPair {
    std::string public_key;
    std::string secret_key;
};

Result<KeyPair> new_key_pair() {
    static_assert(crypto_box_PUBLICKEYBYTES == 32 && crypto_box_SECRETKEYBYTES == 32);
    if (sodium_init() < 0) {
        return make_error(ErrorCode::internal, "libsodium found no source of randomness");
    }
    std::array<unsigned char, 32> open{};
    std::array<unsigned char, 32> secret{};
    crypto_box_keypair(open.data(), secret.data());
    std::array<char, z85_length + 1> open_text{};
    std::array<char, z85_length + 1> secret_text{};
    zmq_z85_encode(open_text.data(), open.data(), open.size());
    zmq_z85_encode(secret_text.data(), secret.data(), secret.size());
    KeyPair pair{open_text.data(), secret_text.data()};
    sodium_memzero(secret.data(), secret.size());
    sodium_memzero(secret_text.data(), secret_text.size());
    return pair;
}

Status check_name(const std::string& name) {
    const bool fits = !name.empty() && name.size() <= 64 && name.front() != '.' &&
                      std::all_of(name.begin(), name.end(), [](unsigned char c) {
                          return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
                      });
    if (fits) {
        return {};
    }
    return make_error(ErrorCode::invalid_input,
                      "`" + name +
                          "` cannot name an access file; use up to 64 letters, digits, `-`, `_` "
                          "and `.`, not starting with `.`");
}

Result<std::string> text_field(const Json& json, const char* key, const fs::path& file) {
    if (!json.is_object() || !json.contains(key) || !json[key].is_string()) {
        return make_error(ErrorCode::corrupt,
                          file.string() + " has no text `" + key + "`; make a new access file");
    }
    return json[key].get<std::string>();
}

Result<std::string> key_field(const Json& json, const char* key, const fs::path& file) {
    std::string text = TRY(text_field(json, key, file));
    std::array<unsigned char, 32> bytes{};
    if (text.size() != z85_length || zmq_z85_decode(bytes.data(), text.c_str()) == nullptr) {
        return make_error(ErrorCode::corrupt,
                          file.string() + ": `" + key + "` is not a key of 40 Z85 characters");
    }
    return text;
}

Result<AuthorizedPeer> read_authorized(const fs::path& file) {
    std::ifstream stream(file, std::ios::binary);
    if (!stream) {
        return make_error(ErrorCode::io,
                          "cannot read " + file.string() + ": " + std::strerror(errno));
    }
    const std::string text(std::istreambuf_iterator<char>(stream), {});
    const Json json = Json::parse(text, nullptr, false);
    AuthorizedPeer peer;
    peer.name = file.stem().string();
    peer.role = TRY(parse_role(TRY(text_field(json, "role", file))));
    peer.public_key = TRY(key_field(json, "public_key", file));
    return peer;
}

fs::path authorized_file(const fs::path& keys, const std::string& name) {
    return keys / "authorized" / (name + ".json");
}

fs::path access_file(const fs::path& keys, const std::string& name) {
    return keys / "access" / (name + ".json");
}

}  // namespace

std::string_view to_string(Role role) {
    switch (role) {
        case Role::submit:
            return "submit";
        case Role::work:
            return "work";
        case Role::read:
            return "read";
    }
    return "read";
}

Result<Role> parse_role(std::string_view text) {
    for (const Role role : {Role::submit, Role::work, Role::read}) {
        if (to_string(role) == text) {
            return role;
        }
    }
    return make_error(ErrorCode::invalid_input,
                      "there is no role `" + std::string(text) + "`; one of submit, work, read");
}

std::string transport_libraries() {
    int major = 0;
    int minor = 0;
    int patch = 0;
    zmq_version(&major, &minor, &patch);
    return "libzmq " + std::to_string(major) + "." + std::to_string(minor) + "." +
           std::to_string(patch) + (zmq_has("curve") == 1 ? " with CURVE" : " WITHOUT CURVE") +
           ", libsodium " + sodium_version_string();
}

Status ensure_server_keys(const fs::path& keys) {
    TRY(make_private_folder(keys));
    TRY(make_private_folder(keys / "authorized"));
    TRY(make_private_folder(keys / "access"));
    std::error_code code;
    if (fs::exists(keys / "server.json", code)) {
        TRY(read_server_keys(keys));
        return {};
    }
    const KeyPair pair = TRY(new_key_pair());
    const Json json = {{"public_key", pair.public_key}, {"secret_key", pair.secret_key}};
    return write_private_file(keys / "server.json", json.dump(2) + "\n");
}

Result<ServerKeys> read_server_keys(const fs::path& keys) {
    const fs::path file = keys / "server.json";
    const Json json = Json::parse(TRY(read_private_file(file)), nullptr, false);
    ServerKeys pair;
    pair.public_key = TRY(key_field(json, "public_key", file));
    pair.secret_key = TRY(key_field(json, "secret_key", file));
    return pair;
}

Result<fs::path> new_access(const fs::path& keys, const std::string& name, Role role,
                            const std::string& coordinator_url, AddressFrom from) {
    TRY(check_name(name));
    TRY(ensure_server_keys(keys));
    std::error_code code;
    if (fs::exists(authorized_file(keys, name), code)) {
        return make_error(ErrorCode::already_exists,
                          "`" + name + "` has an access file already; `bitsweep keys revoke " +
                              name + "` first, or choose another name");
    }
    const ServerKeys server = TRY(read_server_keys(keys));
    const KeyPair pair = TRY(new_key_pair());
    const std::string role_text(to_string(role));
    Json access = {{"coordinator", coordinator_url},
                   {"server_key", server.public_key},
                   {"public_key", pair.public_key},
                   {"secret_key", pair.secret_key},
                   {"name", name},
                   {"role", role_text}};
    if (from == AddressFrom::person) {
        access["address"] = "given";
    }
    const Json authorized = {{"public_key", pair.public_key}, {"role", role_text}};
    // The access file first: a key that is authorised but lost would never be found again.
    TRY(write_private_file(access_file(keys, name), access.dump(2) + "\n"));
    TRY(write_private_file(authorized_file(keys, name), authorized.dump(2) + "\n"));
    return access_file(keys, name);
}

Result<std::vector<AuthorizedPeer>> list_access(const fs::path& keys,
                                                std::vector<std::string>* flaws) {
    std::error_code code;
    fs::directory_iterator entries(keys / "authorized", code);
    if (code) {
        return make_error(ErrorCode::not_found, keys.string() +
                                                    " is no folder of keys; `bitsweep serve` or "
                                                    "`bitsweep keys new` makes one");
    }
    std::vector<AuthorizedPeer> peers;
    for (const fs::directory_entry& entry : entries) {
        if (entry.path().extension() != ".json") {
            continue;
        }
        Result<AuthorizedPeer> peer = read_authorized(entry.path());
        if (peer) {
            peers.push_back(std::move(*peer));
        } else if (flaws != nullptr) {
            flaws->push_back(peer.error().message);
        }
    }
    std::sort(peers.begin(), peers.end(),
              [](const AuthorizedPeer& a, const AuthorizedPeer& b) { return a.name < b.name; });
    return peers;
}

Status revoke_access(const fs::path& keys, const std::string& name) {
    TRY(check_name(name));
    std::error_code code;
    if (!fs::remove(authorized_file(keys, name), code)) {
        if (code) {
            return make_error(
                ErrorCode::io,
                "cannot remove " + authorized_file(keys, name).string() + ": " + code.message());
        }
        return make_error(ErrorCode::not_found, "no access file is named `" + name +
                                                    "`; `bitsweep keys list` shows them");
    }
    fs::remove(access_file(keys, name), code);
    return {};
}

Status refresh_access(const fs::path& keys, const std::string& coordinator_url) {
    for (const AuthorizedPeer& peer : TRY(list_access(keys))) {
        const fs::path file = access_file(keys, peer.name);
        const Result<std::string> text = read_private_file(file);
        if (!text) {
            continue;  // carried away: it keeps the address it left with
        }
        Json json = Json::parse(*text, nullptr, false);
        if (!json.is_object() || json.contains("address") ||
            json.value("coordinator", Json()) == Json(coordinator_url)) {
            continue;
        }
        json["coordinator"] = coordinator_url;
        TRY(write_private_file(file, json.dump(2) + "\n"));
    }
    return {};
}

}  // namespace bitsweep
