// The other end of the coordinator's socket: ZeroMQ DEALER with CURVE. Used by the worker's session
// and by the command line client.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "schemas/message.h"
#include "schemas/status.h"
#include "schemas/time.h"

namespace bitsweep {

// The state of the connection below the messages.
enum class LinkState {
    connecting,   // nothing known yet
    connected,    // handshake done
    unreachable,  // nobody answers at the address, or the connection broke; tried again
    rejected,     // somebody answers and refuses our key, or is not the server we know
};

struct Link {
    LinkState state = LinkState::connecting;
    std::uint64_t handshakes = 0;  // completed; a raised count means a new connection
};

// An access file as coordinator/transport/keys.h writes it (JSON).
struct Access {
    std::string coordinator;  // tcp://host:port
    std::string server_key;   // Z85; empty: no CURVE
    std::string public_key;
    std::string secret_key;
    std::string name;
    std::string role;
};

// "-": the next line of standard input. not_found; corrupt (names the missing key); refused: others
// can read the secret.
Result<Access> read_access(const std::filesystem::path& file);

class Dealer {
 public:
    virtual ~Dealer() = default;

    // Connects in the background; a wrong key or no coordinator shows as silence, and
    // last_failure() says which (libzmq's socket monitor).
    static Result<std::unique_ptr<Dealer>> connect(const Access& access);

    // In order and in as few frames as there may be (schemas/sequence.h). unavailable: the queue is
    // full, and not all of them left.
    virtual Status send_all(std::span<const Message> messages) = 0;
    Status send(const Message& message) { return send_all({&message, 1}); }
    // nullopt when nothing came within `wait`. unavailable: nothing can be received any more; else
    // what came was no message, and there may be more.
    virtual Result<std::optional<Message>> receive(Duration wait) = 0;
    // "connection refused", "handshake failed: wrong key", "" when connected.
    virtual std::string last_failure() const = 0;
    virtual Link link() const = 0;
    // A descriptor that becomes readable when receive() may have something, for poll(). Edge
    // triggered: call receive() until it gives nothing before waiting, also after a send().
    virtual int descriptor() const = 0;
};

}  // namespace bitsweep
