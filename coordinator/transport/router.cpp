#include "coordinator/transport/router.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <iterator>
#include <optional>
#include <set>
#include <thread>
#include <zmq.hpp>

#include "coordinator/transport/keys.h"
#include "coordinator/transport/limits.h"
#include "coordinator/transport/zap.h"
#include "schemas/codec.h"
#include "schemas/sequence.h"

namespace bitsweep {

namespace {

// Per peer and direction. Dispatches are about 1 KiB and a worker holds few. What comes in is taken
// out at once, so a short queue costs nothing: results of 100 KiB fill 3 MiB of it, the longest
// submissions 2 GiB, and whoever sends two that are too long for its role is cut off (limits.h).
constexpr int queue_out = 256;
constexpr int queue_in = 32;
constexpr std::size_t most_remembered = 10'000;  // connections that were cut
constexpr int ping_ms = 10'000;                  // finds peers whose machine vanished without a FIN
constexpr int silence_ms = 30'000;
// Where nothing but heartbeats comes, they wait this long for one another: what they cost is mostly
// waking up. After a second of nothing else they wait longer, and a thousand workers wake the
// coordinator 20 times a second. The first other message ends it, and may have waited with them.
constexpr std::chrono::milliseconds gather{5};
constexpr std::chrono::milliseconds gather_when_quiet{50};
constexpr std::chrono::milliseconds quiet{1'000};
constexpr int linger_ms = 1'000;  // the last acknowledgements leave when a coordinator stops

struct Address {
    std::string host;
    std::string port;
};

Result<Address> parse_listen(const std::string& url) {
    const std::string prefix = "tcp://";
    const std::size_t colon = url.rfind(':');
    if (url.rfind(prefix, 0) != 0 || colon == std::string::npos || colon < prefix.size()) {
        return make_error(ErrorCode::invalid_input,
                          "`" + url + "` is no address; write tcp://127.0.0.1:7420");
    }
    Address address{url.substr(prefix.size(), colon - prefix.size()), url.substr(colon + 1)};
    const bool number = !address.port.empty() && address.port.size() <= 5 &&
                        std::all_of(address.port.begin(), address.port.end(),
                                    [](unsigned char c) { return std::isdigit(c) != 0; });
    if (address.host.empty() || !number || std::stoi(address.port) > 65535) {
        return make_error(ErrorCode::invalid_input,
                          "`" + url + "` needs a host and a port from 0 to 65535");
    }
    in_addr ignored{};
    const bool digits = address.host.find_first_not_of("0123456789.") == std::string::npos;
    if (digits && inet_pton(AF_INET, address.host.c_str(), &ignored) != 1) {
        return make_error(ErrorCode::invalid_input,
                          "`" + url + "`: " + address.host + " is no IPv4 address");
    }
    if (address.host == "localhost") {  // libzmq binds addresses and interfaces, no other names
        return make_error(
            ErrorCode::invalid_input,
            "`" + url + "`: give the address to listen on, tcp://127.0.0.1:" + address.port);
    }
    return address;
}

bool is_loopback(const std::string& host) {
    if (host == "[::1]") {
        return true;
    }
    in_addr parsed{};
    return inet_pton(AF_INET, host.c_str(), &parsed) == 1 && (ntohl(parsed.s_addr) >> 24) == 127;
}

Error bind_error(const zmq::error_t& failure, const RouterOptions& options, const Address& at) {
    if (failure.num() == EADDRINUSE) {
        return make_error(ErrorCode::already_exists,
                          "port " + at.port + " of " + at.host +
                              " is in use; stop the other coordinator, or listen on another port "
                              "(tcp://" +
                              at.host + ":0 takes any free one)");
    }
    const bool address_wrong =
        failure.num() == EINVAL || failure.num() == ENODEV || failure.num() == EADDRNOTAVAIL;
    return make_error(address_wrong ? ErrorCode::invalid_input : ErrorCode::io,
                      "cannot listen on " + options.listen + ": " + failure.what());
}

std::string text_of(const zmq::message_t& frame) {
    return {static_cast<const char*>(frame.data()), frame.size()};
}

class ZmqRouter final : public Router {
 public:
    explicit ZmqRouter(const RouterOptions& options)
        : context_(1),
          router_(context_, zmq::socket_type::router),
          zap_(context_, zmq::socket_type::rep),
          most_submitted_bytes_(options.most_submitted_bytes) {
        if (!options.keys.empty()) {
            allowed_.emplace(options.keys);
        }
    }

    void configure(const std::optional<ServerKeys>& keys, const Address& at, Duration handshake) {
        router_.set(zmq::sockopt::router_mandatory, true);
        router_.set(zmq::sockopt::sndhwm, queue_out);
        router_.set(zmq::sockopt::rcvhwm, queue_in);
        router_.set(zmq::sockopt::maxmsgsize, static_cast<std::int64_t>(max_json_bytes));
        router_.set(zmq::sockopt::handshake_ivl, static_cast<int>(handshake.ms));
        router_.set(zmq::sockopt::heartbeat_ivl, ping_ms);
        router_.set(zmq::sockopt::heartbeat_timeout, silence_ms);
        router_.set(zmq::sockopt::linger, linger_ms);
        router_.set(zmq::sockopt::backlog, 1024);
        router_.set(zmq::sockopt::ipv6, at.host.front() == '[');
        if (keys) {
            // The handler stands before the first connection: libzmq admits every key without one.
            zap_.bind("inproc://zeromq.zap.01");
            router_.set(zmq::sockopt::zap_domain, "bitsweep");
            router_.set(zmq::sockopt::curve_server, true);
            router_.set(zmq::sockopt::curve_secretkey, keys->secret_key);
        }
    }

    void listen(const std::string& url) {
        router_.bind(url);
        router_descriptor_ = router_.get(zmq::sockopt::fd);
        zap_descriptor_ = zap_.get(zmq::sockopt::fd);
        endpoint_ = router_.get(zmq::sockopt::last_endpoint);
    }

    std::string endpoint() const override { return endpoint_; }

    std::vector<std::string> complaints() override {
        return allowed_ ? allowed_->new_flaws() : std::vector<std::string>{};
    }

    std::vector<Incoming> receive(Duration wait, std::size_t most) override {
        const Clock::time_point deadline = Clock::now() + std::chrono::milliseconds(wait.ms);
        std::vector<Incoming> taken;
        submitted_bytes_ = 0;
        try {
            answer_zap_requests();
            take_all(taken, most);
            while (taken.empty() && wait_for_bytes(deadline)) {
                take_all(taken, most);
            }
            gather_heartbeats(taken, deadline, most);
        } catch (const zmq::error_t&) {
            // EINTR: the caller has a signal to look at. Anything else shows up again next time.
        }
        return taken;
    }

    Status send(const Peer& to, const Message& message) override {
        return send_all(to, {&message, 1});
    }

    Status send_all(const Peer& to, std::span<const Message> messages) override {
        if (allowed_ && allowed_->known(to.key) == nullptr) {
            return send_refusals(to, messages);
        }
        for (const std::string& frame : frames_of(messages)) {
            TRY(send_frame(to, frame));
        }
        return {};
    }

 private:
    using Clock = std::chrono::steady_clock;

    // Of what is for a peer whose key was revoked.
    Status send_refusals(const Peer& to, std::span<const Message> messages) {
        std::vector<Message> refusals;
        std::copy_if(messages.begin(), messages.end(), std::back_inserter(refusals),
                     [](const Message& m) { return std::holds_alternative<Refusal>(m); });
        for (const std::string& frame : frames_of(refusals)) {
            TRY(send_frame(to, frame));
        }
        if (refusals.size() < messages.size()) {
            return make_error(ErrorCode::unavailable, "the key of " + to.name + " was revoked");
        }
        return {};
    }

    Status send_frame(const Peer& to, const std::string& frame) {
        if (frame.size() > max_json_bytes) {
            return make_error(ErrorCode::invalid_input,
                              "a message of " + std::to_string(frame.size()) +
                                  " bytes is longer than the protocol permits");
        }
        try {
            const auto first = zmq::send_flags::sndmore | zmq::send_flags::dontwait;
            if (router_.send(zmq::buffer(to.routing_id), first) &&
                router_.send(zmq::buffer(frame), zmq::send_flags::dontwait)) {
                return {};
            }
            return make_error(ErrorCode::unavailable, "the queue to " + to.name + " is full");
        } catch (const zmq::error_t& failure) {
            return make_error(ErrorCode::unavailable,
                              "cannot send to " + to.name + ": " + failure.what());
        }
    }

    void gather_heartbeats(std::vector<Incoming>& taken, Clock::time_point deadline,
                           std::size_t most) {
        const Clock::time_point now = Clock::now();
        const bool idle = std::all_of(taken.begin(), taken.end(), is_heartbeat);
        if (!idle) {
            busy_at_ = now;
        } else if (was_idle_ && !taken.empty() && now < deadline) {
            const Clock::duration longest = now - busy_at_ >= quiet ? gather_when_quiet : gather;
            std::this_thread::sleep_for(std::min(longest, deadline - now));
            take_all(taken, most);
        }
        was_idle_ = idle;
    }

    static bool is_heartbeat(const Incoming& incoming) {
        return incoming.message && std::holds_alternative<Heartbeat>(*incoming.message);
    }

    // False: the time is up. libzmq's own poll asks each socket through several system calls; the
    // descriptors tell the same in one, as long as everything is taken before every wait.
    bool wait_for_bytes(Clock::time_point deadline) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
        pollfd descriptors[] = {{router_descriptor_, POLLIN, 0}, {zap_descriptor_, POLLIN, 0}};
        const int ready =
            left.count() > 0 ? poll(descriptors, 2, static_cast<int>(left.count())) : 0;
        if (ready < 0 && errno == EINTR) {
            throw zmq::error_t();
        }
        if (ready > 0 && descriptors[1].revents != 0) {
            answer_zap_requests();
        }
        if (ready <= 0 && allowed_) {
            allowed_->read_again_if_changed();  // for what is sent next
        }
        return ready > 0;
    }

    void answer_zap_requests() {
        if (!allowed_) {
            return;
        }
        zmq::message_t frame;
        while (zap_.recv(frame, zmq::recv_flags::dontwait)) {
            std::vector<std::string> request{text_of(frame)};
            while (frame.more() && zap_.recv(frame)) {
                request.push_back(text_of(frame));
            }
            const std::vector<std::string> reply = answer_zap(request, *allowed_);
            for (std::size_t i = 0; i < reply.size(); ++i) {
                zap_.send(zmq::buffer(reply[i]),
                          i + 1 < reply.size() ? zmq::send_flags::sndmore : zmq::send_flags::none);
            }
        }
    }

    struct Frames {
        std::string routing_id;
        zmq::message_t body;  // the first frame
        std::size_t count = 0;
    };

    // nullopt when nothing is waiting.
    std::optional<Frames> take_one() {
        zmq::message_t identity;
        if (!router_.recv(identity, zmq::recv_flags::dontwait)) {
            return std::nullopt;
        }
        Frames frames{text_of(identity), {}, 0};
        bool more = identity.more();
        while (more) {
            zmq::message_t frame;
            if (!router_.recv(frame)) {
                break;
            }
            more = frame.more();
            if (++frames.count == 1) {
                frames.body = std::move(frame);
            }
        }
        return frames;
    }

    // At most `most`, dropped ones included: a flood must not keep the caller here.
    void take_all(std::vector<Incoming>& taken, std::size_t most) {
        bool first = true;
        for (std::size_t seen = taken.size(); seen < most;) {
            std::optional<Frames> frames = take_one();
            if (!frames) {
                return;
            }
            if (allowed_ && first) {
                allowed_->read_again_if_changed();
            }
            first = false;
            seen += take_messages(*frames, taken);
        }
    }

    // How many there were, dropped ones included.
    std::size_t take_messages(Frames& frames, std::vector<Incoming>& taken) {
        Peer peer{std::move(frames.routing_id), "local", Role::submit, ""};
        if (allowed_ && !identify(peer, frames, taken)) {
            return 1;
        }
        const std::string_view body(static_cast<const char*>(frames.body.data()),
                                    frames.body.size());
        // The first message answers for the length of the frame: what is too long is not read.
        if (!admit(peer, body.size(), frames, taken)) {
            return 1;
        }
        const Result<std::vector<std::string_view>> texts = texts_in(body, frames.count);
        if (!texts) {
            limits_.note_malformed(peer, now());
            taken.push_back({std::move(peer), texts.error()});
            return 1;
        }
        for (std::size_t i = 0; i < texts->size(); ++i) {
            const std::string_view text = (*texts)[i];
            if (i == 0 || admit(peer, text.size(), frames, taken)) {
                taken.push_back({peer, read(peer, text)});
            }
        }
        return texts->size();
    }

    // Who CURVE says it is. False: a key that is not authorised any more.
    bool identify(Peer& peer, Frames& frames, std::vector<Incoming>& taken) {
        const char* user = zmq_msg_gets(frames.body.handle(), "User-Id");
        peer.key = user == nullptr ? "" : user;
        const AuthorizedPeer* known = allowed_->known(peer.key);
        if (known == nullptr) {
            take_from_revoked(std::move(peer), frames, taken);
            return false;
        }
        if (!told_revoked_.empty()) {
            told_revoked_.erase(peer.key);
        }
        peer.name = known->name;
        peer.role = known->role;
        return true;
    }

    // Whether its limits let the peer send one more message of this length.
    bool admit(const Peer& peer, std::size_t bytes, const Frames& frames,
               std::vector<Incoming>& taken) {
        if (!allowed_) {
            return true;
        }
        const PeerLimits::Ruling ruling = limits_.rule(peer, bytes, now());
        switch (ruling.verdict) {
            case PeerLimits::Verdict::take:
                return true;
            case PeerLimits::Verdict::refuse:
                taken.push_back({peer, ruling.reason});
                return false;
            case PeerLimits::Verdict::cut:
                cut(peer, frames);
                return false;
            case PeerLimits::Verdict::silence:
                return false;
        }
        return false;
    }

    static Result<std::vector<std::string_view>> texts_in(std::string_view body,
                                                          std::size_t frames) {
        if (frames != 1) {
            return make_error(ErrorCode::invalid_input,
                              "a message is one frame, this one had " + std::to_string(frames));
        }
        return texts_of(body);
    }

    Result<Message> read(const Peer& peer, std::string_view text) {
        Result<Message> message = message_from_json(text);
        if (!message) {
            limits_.note_malformed(peer, now());
            return message;
        }
        if (allowed_) {
            TRY(check_role(peer.role, *message));
        }
        if (const auto* submit = std::get_if<Submit>(&*message)) {
            TRY(make_room(*submit));
        }
        return message;
    }

    // What has none cannot wait: the heartbeats behind it must be read.
    Status make_room(const Submit& submit) {
        const std::size_t bytes = submitted_bytes_ + unpacked_bytes(submit.cells);
        if (bytes > most_submitted_bytes_) {
            return make_error(ErrorCode::unavailable,
                              "other large submissions have just come; try again when they are "
                              "taken");
        }
        submitted_bytes_ = bytes;
        return {};
    }

    // The first message after the revocation gets the reason, the second one the end: the next
    // handshake is refused.
    void take_from_revoked(Peer peer, const Frames& frames, std::vector<Incoming>& taken) {
        peer.name = "";
        peer.role = Role::read;
        if (!told_revoked_.insert(peer.key).second) {
            cut(peer, frames);
            return;
        }
        taken.push_back(
            {std::move(peer), make_error(ErrorCode::refused,
                                         "the key of this connection is not authorised any more")});
    }

    // Ends the connection that brought this message. libzmq has no call for it, but names the
    // descriptor. Once for each connection: what it had sent before is still read, when the number
    // may be another one's already.
    void cut(const Peer& peer, const Frames& frames) {
        if (cut_.size() >= most_remembered) {
            cut_.clear();
        }
        const int descriptor = zmq_msg_get(frames.body.handle(), ZMQ_SRCFD);
        if (descriptor >= 0 && cut_.insert(peer.routing_id).second) {
            shutdown(descriptor, SHUT_RDWR);
        }
    }

    static TimePoint now() {
        const auto since = std::chrono::steady_clock::now().time_since_epoch();
        return {std::chrono::duration_cast<std::chrono::milliseconds>(since).count()};
    }

    zmq::context_t context_;
    zmq::socket_t router_;
    zmq::socket_t zap_;
    std::optional<AllowList> allowed_;
    PeerLimits limits_;
    std::set<std::string> cut_;           // routing ids of connections that were ended
    std::set<std::string> told_revoked_;  // keys; as many as were ever authorised
    std::string endpoint_;
    std::size_t most_submitted_bytes_;
    std::size_t submitted_bytes_ = 0;  // of the cells in the latest receive()
    int router_descriptor_ = -1;
    int zap_descriptor_ = -1;
    bool was_idle_ = false;        // nothing but heartbeats came last
    Clock::time_point busy_at_{};  // something else came
};

}  // namespace

Status Router::send_all(const Peer& to, std::span<const Message> messages) {
    Status all;
    for (const Message& message : messages) {
        if (const Status sent = send(to, message); !sent) {
            all = sent;
        }
    }
    return all;
}

Status Router::check(const RouterOptions& options) {
    const Address at = TRY(parse_listen(options.listen));
    if (options.keys.empty() && !is_loopback(at.host)) {
        return make_error(ErrorCode::refused,
                          "refusing to listen on " + options.listen +
                              " without keys: anybody could send jobs; give a folder of keys, or "
                              "listen on 127.0.0.1");
    }
    return {};
}

Result<std::unique_ptr<Router>> Router::bind(const RouterOptions& options) {
    TRY(check(options));
    const Address at = TRY(parse_listen(options.listen));
    std::optional<ServerKeys> keys;
    if (!options.keys.empty()) {
        keys = TRY(read_server_keys(options.keys));
    }
    try {
        auto router = std::make_unique<ZmqRouter>(options);
        router->configure(keys, at, options.handshake);
        router->listen(options.listen);
        return std::unique_ptr<Router>(std::move(router));
    } catch (const zmq::error_t& failure) {
        return bind_error(failure, options, at);
    }
}

}  // namespace bitsweep
