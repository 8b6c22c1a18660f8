// The coordinator's socket: ZeroMQ ROUTER with CURVE. Bytes in, checked messages out.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "schemas/message.h"
#include "schemas/status.h"
#include "schemas/time.h"

namespace bitsweep {

enum class Role { submit, work, read };

// Who sent a message, as CURVE proved it. Without keys (loopback only) name is "local", role
// submit.
struct Peer {
    std::string routing_id;  // opaque; changes when the peer reconnects
    std::string name;        // of the access file
    Role role = Role::read;
    std::string key = {};  // public key (Z85); empty without keys
};

struct Incoming {
    Peer from;
    Result<Message> message;  // an error is to be answered with a Refusal and changes nothing
};

struct RouterOptions {
    std::string listen = "tcp://127.0.0.1:0";  // port 0: any free port
    std::filesystem::path keys;  // folder made by keys.h; empty: no CURVE, loopback only
    Duration handshake{10'000};  // a connection that is not secure by then is closed
    // Of the cells that one receive() gives, as unpacked_bytes() counts them (schemas/codec.h):
    // four of the largest messages. A few bytes of rows are many cells.
    std::size_t most_submitted_bytes = 512u << 20;
};

class Router {
 public:
    virtual ~Router() = default;

    // What bind() would refuse before it takes the port: refused: non-loopback address without
    // keys; invalid_input: not a URL.
    static Status check(const RouterOptions& options);

    // The same; already_exists: port in use (names it); corrupt: a key file that is not one.
    static Result<std::unique_ptr<Router>> bind(const RouterOptions& options);

    virtual std::string endpoint() const = 0;  // with the real port

    // Waits at most `wait` for the first message, then takes what is there, at most `most` and what
    // comes in one frame with the last of them.
    // Peers beyond limits.h are refused here; one that goes on loses its connection.
    virtual std::vector<Incoming> receive(Duration wait, std::size_t most) = 0;

    // unavailable when the peer is gone, its key was revoked (only a Refusal still goes out) or its
    // queue is full; never blocks.
    virtual Status send(const Peer& to, const Message& message) = 0;

    // The same for several, in order and in as few frames as there may be (schemas/sequence.h). An
    // error: not all of them left, and perhaps none.
    virtual Status send_all(const Peer& to, std::span<const Message> messages);

    // What is wrong with the folder of keys since the last call, for the person at this terminal.
    virtual std::vector<std::string> complaints() { return {}; }
};

}  // namespace bitsweep
