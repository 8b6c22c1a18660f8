#include "coordinator/transport/zap.h"

#include <zmq.h>

#include <algorithm>
#include <array>
#include <type_traits>

namespace bitsweep {

namespace {

namespace fs = std::filesystem;

// Two changes within one tick of the file system's clock leave the same time stamp, so a folder
// that changed this recently is read again whatever its stamp says.
constexpr std::chrono::milliseconds stamp_doubt{50};

std::vector<std::string> zap_reply(const std::string& id, const char* code, const char* text,
                                   const std::string& user) {
    return {"1.0", id, code, text, user, ""};
}

}  // namespace

AllowList::AllowList(fs::path keys) : keys_(std::move(keys)) {}

const AuthorizedPeer* AllowList::find(const std::string& public_key) {
    read_again_if_changed();
    return known(public_key);
}

const AuthorizedPeer* AllowList::known(const std::string& public_key) const {
    const auto found = by_key_.find(public_key);
    return found == by_key_.end() ? nullptr : &found->second;
}

void AllowList::read_again_if_changed() {
    std::error_code code;
    const fs::file_time_type stamp = fs::last_write_time(keys_ / "authorized", code);
    if (code) {
        by_key_.clear();  // no folder, no peers
        changed_ = {};
        return;
    }
    // Both clocks are the system's wall clock on Linux.
    const auto stamp_time = std::chrono::file_clock::to_sys(stamp);
    if (stamp == changed_ && read_at_ > stamp_time + stamp_doubt) {
        return;
    }
    read_at_ = std::chrono::system_clock::now();
    changed_ = stamp;
    std::vector<std::string> flaws;
    Result<std::vector<AuthorizedPeer>> peers = list_access(keys_, &flaws);
    for (const std::string& flaw : flaws) {
        if (std::ranges::find(flaws_, flaw) == flaws_.end()) {
            new_flaws_.push_back(flaw);
        }
    }
    flaws_ = std::move(flaws);
    by_key_.clear();  // no folder, no peers
    if (peers) {
        for (AuthorizedPeer& peer : *peers) {
            std::string key = peer.public_key;
            by_key_.emplace(std::move(key), std::move(peer));
        }
    }
}

std::vector<std::string> answer_zap(const std::vector<std::string>& request, AllowList& allowed) {
    const std::string id = request.size() > 1 ? request[1] : "";
    if (request.size() != 7 || request[0] != "1.0") {
        return zap_reply(id, "500", "not a ZAP request", "");
    }
    if (request[5] != "CURVE" || request[6].size() != 32) {
        return zap_reply(id, "400", "CURVE only", "");
    }
    std::array<char, 41> text{};
    zmq_z85_encode(text.data(), reinterpret_cast<const std::uint8_t*>(request[6].data()), 32);
    if (allowed.find(text.data()) == nullptr) {
        return zap_reply(id, "400", "key is not authorised", "");
    }
    return zap_reply(id, "200", "OK", text.data());
}

Status check_role(Role role, const Message& message) {
    const Role needed = std::visit(
        [](const auto& body) {
            using Body = std::decay_t<decltype(body)>;
            if constexpr (std::is_same_v<Body, Submit> || std::is_same_v<Body, Control> ||
                          std::is_same_v<Body, Shutdown>) {
                return Role::submit;
            } else if constexpr (std::is_same_v<Body, StatusRequest> ||
                                 std::is_same_v<Body, ExplainRequest>) {
                return Role::read;
            } else {
                return Role::work;
            }
        },
        message);
    if (needed == role || (needed == Role::read && role == Role::submit)) {
        return {};
    }
    return make_error(ErrorCode::refused,
                      "this access file has the role `" + std::string(to_string(role)) +
                          "`, the request needs `" + std::string(to_string(needed)) +
                          "`; `bitsweep keys new NAME --role " + std::string(to_string(needed)) +
                          "` makes one");
}

}  // namespace bitsweep
