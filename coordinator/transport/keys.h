// CURVE keys and access files. One access file per worker and per client; revoking deletes its
// public key.
//
// KEYS/server.json (0600)          the coordinator's key pair
// KEYS/authorized/NAME.json        public key and role of one peer
// KEYS/access/NAME.json (0600)     the access file to carry to that peer: coordinator URL, server
//                                  public key, own key pair, name, role
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/transport/router.h"
#include "schemas/status.h"

namespace bitsweep {

struct AuthorizedPeer {
    std::string name;
    Role role = Role::read;
    std::string public_key;  // Z85, 40 characters
};

// "libzmq 4.3.4 with CURVE, libsodium 1.0.18", for people.
std::string transport_libraries();

struct ServerKeys {
    std::string public_key;  // Z85
    std::string secret_key;
};

std::string_view to_string(Role role);
Result<Role> parse_role(std::string_view text);  // invalid_input names the three

// Creates the folder and the server's key pair when missing. io.
Status ensure_server_keys(const std::filesystem::path& keys);

// not_found; refused: others can read the file; corrupt: not a key.
Result<ServerKeys> read_server_keys(const std::filesystem::path& keys);

// Makes a key pair for NAME, authorises it and writes its access file; returns the file's path.
// already_exists: NAME has one; invalid_input: a name that is no file name.
enum class AddressFrom {
    coordinator,  // follows it when it listens elsewhere
    person,       // stays: only a person knows how that machine reaches the coordinator
};
Result<std::filesystem::path> new_access(const std::filesystem::path& keys, const std::string& name,
                                         Role role, const std::string& coordinator_url,
                                         AddressFrom from = AddressFrom::coordinator);

// Who is admitted, by name. A file that cannot be used admits nobody and harms nobody else: it is
// named in `flaws`. not_found: no folder of keys.
Result<std::vector<AuthorizedPeer>> list_access(const std::filesystem::path& keys,
                                                std::vector<std::string>* flaws = nullptr);
Status revoke_access(const std::filesystem::path& keys, const std::string& name);  // not_found

// Writes the coordinator's present address into the access files that still lie in the folder, but
// for those whose address a person gave.
Status refresh_access(const std::filesystem::path& keys, const std::string& coordinator_url);

}  // namespace bitsweep
