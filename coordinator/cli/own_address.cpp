#include "coordinator/cli/own_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string_view>

namespace bitsweep {

namespace {

constexpr std::string_view scheme = "tcp://";

// "tcp://HOST:PORT": HOST, an IPv6 one with its brackets.
std::string_view host_of(std::string_view endpoint) {
    endpoint.remove_prefix(scheme.size());
    return endpoint.substr(0, endpoint.rfind(':'));
}

std::string with_host(const std::string& endpoint, std::string_view host) {
    return std::string(scheme) + std::string(host) + endpoint.substr(endpoint.rfind(':'));
}

bool is_everywhere(std::string_view host) {
    return host == "0.0.0.0" || host == "[::]" || host == "*";
}

}  // namespace

std::string own_address() {
    // Connecting a datagram socket asks the routing table and sends nothing (192.0.2.1: RFC 5737).
    const int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(9);
    inet_pton(AF_INET, "192.0.2.1", &address.sin_addr);
    socklen_t length = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    const bool known = descriptor >= 0 && connect(descriptor, generic, sizeof address) == 0 &&
                       getsockname(descriptor, generic, &length) == 0;
    if (descriptor >= 0) {
        close(descriptor);
    }
    std::array<char, INET_ADDRSTRLEN> text{};
    if (known && inet_ntop(AF_INET, &address.sin_addr, text.data(), text.size()) != nullptr) {
        return text.data();
    }
    std::array<char, 256> name{};
    return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "127.0.0.1";
}

std::string advertised(const std::string& endpoint, const std::string& host) {
    if (!host.empty()) {
        return with_host(endpoint, host);
    }
    return is_everywhere(host_of(endpoint)) ? with_host(endpoint, own_address()) : endpoint;
}

std::string local_endpoint(const std::string& endpoint) {
    return is_everywhere(host_of(endpoint)) ? with_host(endpoint, "127.0.0.1") : endpoint;
}

}  // namespace bitsweep
