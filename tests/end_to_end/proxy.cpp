#include "tests/end_to_end/proxy.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace bitsweep {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int glance_ms = 5;
constexpr std::size_t most_waiting = 256;  // chunks; then the sender's own buffers fill up

sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

void never_block(int descriptor) {
    fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK);
}

}  // namespace

Proxy::Proxy(const std::string& target)
    : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)),
      target_(static_cast<std::uint16_t>(std::stoi(target.substr(target.rfind(':') + 1)))) {
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
        listen(listener_, 64) == 0) {
        getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
        port_ = ntohs(address.sin_port);
    }
    never_block(listener_);
    thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

Proxy::~Proxy() {
    thread_.request_stop();
    thread_.join();
    for (Connection& connection : connections_) {
        close_both(connection);
    }
    close(listener_);
}

std::string Proxy::url() const {
    return "tcp://127.0.0.1:" + std::to_string(port_);
}

void Proxy::run(const std::stop_token& stop) {
    int resets = 0;
    while (!stop.stop_requested()) {
        accept_new();
        const bool reset = resets != resets_.exchange(0);
        const bool forget = forget_.exchange(false);
        for (Connection& connection : connections_) {
            connection.ended = connection.ended || reset;
            connection.forgotten = connection.forgotten || forget;
            if (!partition_ && !connection.forgotten) {
                take(connection, connection.there);
                take(connection, connection.back);
                give(connection, connection.there);
                give(connection, connection.back);
            }
            if (connection.ended) {
                close_both(connection);
            }
        }
        std::erase_if(connections_, [](const Connection& one) { return one.ended; });
        std::vector<pollfd> items = {{listener_, POLLIN, 0}};
        for (const Connection& connection : connections_) {
            if (!partition_ && !connection.forgotten) {
                items.push_back({connection.there.from, POLLIN, 0});
                items.push_back({connection.back.from, POLLIN, 0});
            }
        }
        poll(items.data(), items.size(), glance_ms);
    }
}

void Proxy::accept_new() {
    for (int client;
         !partition_ && (client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
        const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const sockaddr_in address = loopback(target_);
        if (connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
            close(server);
            close(client);
            continue;
        }
        never_block(client);
        never_block(server);
        connections_.push_back({{client, server, {}}, {server, client, {}}, false, false});
    }
}

void Proxy::take(Connection& connection, Way& way) {
    char buffer[65'536];
    while (way.waiting.size() < most_waiting) {
        const ssize_t count = recv(way.from, buffer, sizeof buffer, 0);
        if (count > 0) {
            way.waiting.push_back({Clock::now() + std::chrono::milliseconds(delay_ms_.load()),
                                   std::string(buffer, static_cast<std::size_t>(count))});
            continue;
        }
        connection.ended = connection.ended || count == 0 || (errno != EAGAIN && errno != EINTR);
        return;
    }
}

void Proxy::give(Connection& connection, Way& way) {
    while (!way.waiting.empty() && way.waiting.front().due <= Clock::now()) {
        std::string& bytes = way.waiting.front().bytes;
        const ssize_t count = send(way.to, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (count < 0) {
            connection.ended = connection.ended || (errno != EAGAIN && errno != EINTR);
            return;
        }
        bytes.erase(0, static_cast<std::size_t>(count));
        if (!bytes.empty()) {
            return;
        }
        way.waiting.pop_front();
    }
}

void Proxy::close_both(Connection& connection) {
    const linger at_once{1, 0};  // a reset, not an orderly end
    for (int* descriptor : {&connection.there.from, &connection.there.to}) {
        setsockopt(*descriptor, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(*descriptor);
    }
}

}  // namespace bitsweep
