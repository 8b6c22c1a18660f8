// Who may connect: answers ZeroMQ's authentication requests (RFC 27, ZAP) from KEYS/authorized.
// No sockets here: frames in, frames out.
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/transport/keys.h"
#include "schemas/message.h"
#include "schemas/status.h"

namespace bitsweep {

// The allow-list, read again whenever the folder changed, so that `keys new` and `keys revoke` act
// on a running coordinator.
class AllowList {
 public:
    explicit AllowList(std::filesystem::path keys);

    // nullptr: not authorised, or not any more. Valid until the next call.
    const AuthorizedPeer* find(const std::string& public_key);

    // The same from what was read last, without a look at the folder: for each of many messages
    // after one read_again_if_changed().
    const AuthorizedPeer* known(const std::string& public_key) const;
    void read_again_if_changed();

    // What is wrong with files of the folder, each once.
    std::vector<std::string> new_flaws() { return std::exchange(new_flaws_, {}); }

 private:
    std::filesystem::path keys_;
    std::map<std::string, AuthorizedPeer> by_key_;
    std::filesystem::file_time_type changed_{};
    std::chrono::system_clock::time_point read_at_{};
    std::vector<std::string> flaws_;
    std::vector<std::string> new_flaws_;
};

// The reply to one ZAP request (version, request id, domain, address, routing id, mechanism,
// credentials). Status 200 carries the peer's public key (Z85) as its user id; 400 says no.
std::vector<std::string> answer_zap(const std::vector<std::string>& request, AllowList& allowed);

// refused when a peer of this role may not send such a message.
Status check_role(Role role, const Message& message);

}  // namespace bitsweep
