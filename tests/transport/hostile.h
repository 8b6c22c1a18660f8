// Peers that mean no good: raw TCP connections and raw ZeroMQ sockets.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <zmq.hpp>

#include "worker/agent/dealer.h"

namespace bitsweep {

// A TCP connection to tcp://127.0.0.1:PORT.
class RawConnection {
 public:
    explicit RawConnection(const std::string& url) : descriptor_(socket(AF_INET, SOCK_STREAM, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(url.substr(16))));
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        connected_ =
            connect(descriptor_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    }
    ~RawConnection() { close(descriptor_); }
    RawConnection(const RawConnection&) = delete;
    RawConnection& operator=(const RawConnection&) = delete;

    bool connected() const { return connected_; }
    void say(const std::string& bytes) const {
        (void)send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    // True once the other side has closed; what it said is thrown away. Never waits.
    bool closed() const {
        char buffer[4'096];
        for (;;) {
            const ssize_t count = recv(descriptor_, buffer, sizeof buffer, MSG_DONTWAIT);
            if (count <= 0) {
                return count == 0 || (errno != EAGAIN && errno != EINTR);
            }
        }
    }

 private:
    int descriptor_;
    bool connected_ = false;
};

// An authorised peer that sends whatever bytes it likes.
class RawPeer {
 public:
    explicit RawPeer(const Access& access, const std::string& routing_id = "")
        : socket_(context_, zmq::socket_type::dealer) {
        socket_.set(zmq::sockopt::linger, 0);
        socket_.set(zmq::sockopt::sndhwm, 0);
        if (!routing_id.empty()) {
            socket_.set(zmq::sockopt::routing_id, routing_id);
        }
        if (!access.server_key.empty()) {
            socket_.set(zmq::sockopt::curve_serverkey, access.server_key);
            socket_.set(zmq::sockopt::curve_publickey, access.public_key);
            socket_.set(zmq::sockopt::curve_secretkey, access.secret_key);
        }
        socket_.connect(access.coordinator);
    }
    void say(const std::string& bytes) { (void)socket_.send(zmq::buffer(bytes)); }
    void say_in_frames(const std::vector<std::string>& frames) {
        for (std::size_t i = 0; i < frames.size(); ++i) {
            (void)socket_.send(zmq::buffer(frames[i]), i + 1 < frames.size()
                                                           ? zmq::send_flags::sndmore
                                                           : zmq::send_flags::none);
        }
    }
    std::string hear() {
        zmq::message_t frame;
        return socket_.recv(frame, zmq::recv_flags::dontwait) ? frame.to_string() : "";
    }

 private:
    zmq::context_t context_{1};
    zmq::socket_t socket_;
};

inline std::string random_bytes(std::mt19937& random, std::size_t count) {
    std::string bytes(count, '\0');
    for (char& byte : bytes) {
        byte = static_cast<char>(random());
    }
    return bytes;
}

// The first 64 bytes of a ZMTP 3.1 connection (RFC 37), with the mechanism's name.
inline std::string zmtp_greeting(const std::string& mechanism) {
    std::string greeting("\xff\0\0\0\0\0\0\0\1\x7f\3\1", 12);
    greeting += mechanism;
    greeting.resize(64, '\0');
    return greeting;
}

inline std::uint64_t resident_mib() {
    std::ifstream stream("/proc/self/statm");
    std::uint64_t size = 0;
    std::uint64_t resident = 0;
    stream >> size >> resident;
    return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)) >> 20;
}

}  // namespace bitsweep
