#include "coordinator/transport/limits.h"

#include <algorithm>

#include "coordinator/transport/keys.h"
#include "schemas/codec.h"

namespace bitsweep {

namespace {

// A result with its samples is up to 1 MiB (10,000 latencies as base64 are 110 kB). A worker of
// no-op jobs sends two messages for each of some 20,000 jobs a second; a person's commands ask four
// times a second. Submissions are the only large messages, and rare.
constexpr RoleLimits submitting{max_json_bytes, 200, 400};
constexpr RoleLimits working{std::size_t{16} << 20, 100'000, 200'000};
constexpr RoleLimits reading{std::size_t{64} << 10, 100, 200};

constexpr double most_faults = 200;
constexpr double forgiven_per_second = 1;

std::string readable(std::size_t bytes) {
    return bytes >= 1u << 20 ? std::to_string(bytes >> 20) + " MiB"
                             : std::to_string(bytes >> 10) + " KiB";
}

}  // namespace

const RoleLimits& limits_of(Role role) {
    switch (role) {
        case Role::submit:
            return submitting;
        case Role::work:
            return working;
        case Role::read:
            return reading;
    }
    return reading;
}

PeerLimits::Account& PeerLimits::account(const Peer& peer, TimePoint now) {
    const RoleLimits& limits = limits_of(peer.role);
    const auto [found, is_new] = accounts_.try_emplace(peer.name, Account{limits.burst, 0, now});
    Account& account = found->second;
    const double seconds =
        static_cast<double>(std::max<std::int64_t>(0, (now - account.at).ms)) / 1'000;
    account.tokens = std::min(limits.burst, account.tokens + seconds * limits.per_second);
    account.faults = std::max(0.0, account.faults - seconds * forgiven_per_second);
    account.at = now;
    return account;
}

PeerLimits::Ruling PeerLimits::rule(const Peer& peer, std::size_t bytes, TimePoint now) {
    const RoleLimits& limits = limits_of(peer.role);
    Account& account = this->account(peer, now);
    if (account.faults >= most_faults) {
        return {Verdict::cut, make_error(ErrorCode::refused, "too many refused messages")};
    }
    if (bytes > limits.message_bytes) {
        ++account.faults;
        return {Verdict::refuse,
                make_error(ErrorCode::invalid_input,
                           "a message of " + readable(bytes) + " is longer than the " +
                               readable(limits.message_bytes) + " that the role `" +
                               std::string(to_string(peer.role)) + "` may send")};
    }
    if (account.tokens < 1) {
        ++account.faults;
        const Verdict verdict = account.told ? Verdict::silence : Verdict::refuse;
        account.told = true;
        return {verdict,
                make_error(ErrorCode::unavailable,
                           "too fast: the role `" + std::string(to_string(peer.role)) +
                               "` may send " + std::to_string(static_cast<int>(limits.per_second)) +
                               " messages a second; wait a second and ask again")};
    }
    account.tokens -= 1;
    account.told = false;
    return {};
}

void PeerLimits::note_malformed(const Peer& peer, TimePoint now) {
    ++account(peer, now).faults;
}

}  // namespace bitsweep
