#include "worker/agent/dealer.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <vector>
#include <zmq.hpp>

#include "schemas/codec.h"
#include "schemas/sequence.h"

namespace bitsweep {

namespace {

// Outgoing messages that wait for a connection: a worker's heartbeats and results of minutes.
constexpr int queue_messages = 1'000;
constexpr int retry_ms = 100;  // first reconnect; doubles up to the next line
constexpr int retry_max_ms = 5'000;
constexpr int handshake_ms = 10'000;
constexpr int ping_ms = 10'000;  // finds a coordinator whose machine vanished without a FIN
constexpr int silence_ms = 30'000;
constexpr int linger_ms = 1'000;  // a last goodbye leaves

class ZmqDealer final : public Dealer {
 public:
    explicit ZmqDealer(const Access& access)
        : url_(access.coordinator),
          context_(1),
          socket_(context_, zmq::socket_type::dealer),
          monitor_(context_, zmq::socket_type::pair) {}

    void connect(const Access& access) {
        socket_.set(zmq::sockopt::sndhwm, queue_messages);
        socket_.set(zmq::sockopt::rcvhwm, queue_messages);
        socket_.set(zmq::sockopt::maxmsgsize, static_cast<std::int64_t>(max_json_bytes));
        socket_.set(zmq::sockopt::reconnect_ivl, retry_ms);
        socket_.set(zmq::sockopt::reconnect_ivl_max, retry_max_ms);
        socket_.set(zmq::sockopt::handshake_ivl, handshake_ms);
        socket_.set(zmq::sockopt::heartbeat_ivl, ping_ms);
        socket_.set(zmq::sockopt::heartbeat_timeout, silence_ms);
        socket_.set(zmq::sockopt::linger, linger_ms);
        socket_.set(zmq::sockopt::ipv6, url_.rfind("tcp://[", 0) == 0);
        if (!access.server_key.empty()) {
            socket_.set(zmq::sockopt::curve_serverkey, access.server_key);
            socket_.set(zmq::sockopt::curve_publickey, access.public_key);
            socket_.set(zmq::sockopt::curve_secretkey, access.secret_key);
        }
        const int events = ZMQ_EVENT_CONNECTED | ZMQ_EVENT_CONNECT_RETRIED |
                           ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED |
                           ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                           ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
        if (zmq_socket_monitor(socket_.handle(), "inproc://monitor", events) != 0) {
            throw zmq::error_t();
        }
        monitor_.connect("inproc://monitor");
        socket_.connect(url_);
    }

    Status send_all(std::span<const Message> messages) override {
        for (const std::string& frame : frames_of(messages)) {
            TRY(send_frame(frame));
        }
        return {};
    }

    Result<std::optional<Message>> receive(Duration wait) override {
        if (next_text_ == texts_.size()) {
            if (!TRY(take_frame(wait))) {
                return std::optional<Message>();
            }
            next_text_ = 0;
            texts_.clear();
            texts_ = TRY(texts_of({static_cast<const char*>(frame_.data()), frame_.size()}));
        }
        return std::optional<Message>(TRY(message_from_json(texts_[next_text_++])));
    }

    std::string last_failure() const override {
        watch_connection();
        return failure_;
    }

    Link link() const override {
        watch_connection();
        return link_;
    }

    int descriptor() const override { return socket_.get(zmq::sockopt::fd); }

 private:
    Status send_frame(const std::string& frame) {
        if (frame.size() > max_json_bytes) {
            return make_error(ErrorCode::invalid_input,
                              "a message of " + std::to_string(frame.size() >> 20) +
                                  " MiB is longer than the " +
                                  std::to_string(max_json_bytes >> 20) +
                                  " MiB that a coordinator takes; split the experiment");
        }
        try {
            if (socket_.send(zmq::buffer(frame), zmq::send_flags::dontwait)) {
                return {};
            }
            return make_error(ErrorCode::unavailable, "the queue to " + url_ + " is full");
        } catch (const zmq::error_t& failure) {
            return make_error(ErrorCode::unavailable,
                              "cannot send to " + url_ + ": " + failure.what());
        }
    }

    // The next frame into frame_. False: nothing came within `wait`.
    Result<bool> take_frame(Duration wait) {
        try {
            if (!socket_.recv(frame_, zmq::recv_flags::dontwait)) {
                watch_connection();
                zmq::pollitem_t items[] = {{socket_.handle(), 0, ZMQ_POLLIN, 0}};
                if (wait.ms <= 0 || zmq::poll(items, 1, std::chrono::milliseconds(wait.ms)) == 0 ||
                    !socket_.recv(frame_, zmq::recv_flags::dontwait)) {
                    watch_connection();
                    return false;
                }
            }
            drop_rest_of(frame_);
            return true;
        } catch (const zmq::error_t& failure) {
            if (failure.num() == EINTR) {
                return false;
            }
            return make_error(ErrorCode::unavailable,
                              "cannot receive from " + url_ + ": " + failure.what());
        }
    }

    // A coordinator says everything in one frame.
    void drop_rest_of(const zmq::message_t& first) {
        zmq::message_t next;
        for (bool more = first.more(); more && socket_.recv(next); more = next.more()) {
        }
    }

    // Takes what libzmq's monitor has to say; never waits.
    void watch_connection() const {
        try {
            zmq::message_t event;
            while (monitor_.recv(event, zmq::recv_flags::dontwait)) {
                std::uint16_t kind = 0;
                std::uint32_t value = 0;
                if (event.size() >= sizeof kind + sizeof value) {
                    std::memcpy(&kind, event.data(), sizeof kind);
                    std::memcpy(&value, static_cast<const char*>(event.data()) + sizeof kind,
                                sizeof value);
                }
                while (event.more() && monitor_.recv(event)) {
                }
                note(kind, value);
            }
        } catch (const zmq::error_t&) {
            // EINTR: the rest is taken next time.
        }
    }

    void note(std::uint16_t kind, std::uint32_t value) const {
        switch (kind) {
            case ZMQ_EVENT_CONNECTED:
                in_handshake_ = true;
                return;
            case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
                in_handshake_ = false;
                link_.state = LinkState::connected;
                ++link_.handshakes;
                broken_handshakes_ = 0;
                failure_.clear();
                return;
            case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
                reject("handshake failed: the coordinator at " + url_ +
                       " does not know our key (status " + std::to_string(value) + ")");
                return;
            case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
                reject("handshake failed: " + url_ +
                       " has another server key, or is no bitsweep coordinator");
                return;
            case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            case ZMQ_EVENT_DISCONNECTED:
                if (in_handshake_) {
                    break_handshake();
                } else if (link_.state == LinkState::connected) {
                    lose("the coordinator at " + url_ + " closed the connection");
                }
                return;
            case ZMQ_EVENT_CONNECT_RETRIED:
                // A rejected key stays the reason: the retry says nothing new.
                if (!in_handshake_ && link_.state != LinkState::rejected) {
                    lose("connection refused: no coordinator answers at " + url_);
                }
                return;
            default:
                return;
        }
    }

    // A coordinator that is killed at this very moment looks the same as a wrong key, once.
    void break_handshake() const {
        in_handshake_ = false;
        const std::string words =
            "handshake failed: wrong key; " + url_ + " closed the connection before it was secure";
        if (++broken_handshakes_ >= 3) {
            reject(words);
        } else {
            lose(words);
        }
    }

    void reject(std::string words) const {
        in_handshake_ = false;
        link_.state = LinkState::rejected;
        failure_ = std::move(words);
    }

    void lose(std::string words) const {
        link_.state = LinkState::unreachable;
        failure_ = std::move(words);
    }

    std::string url_;
    zmq::context_t context_;
    zmq::socket_t socket_;
    zmq::message_t frame_;                 // received last
    std::vector<std::string_view> texts_;  // of it
    std::size_t next_text_ = 0;
    mutable zmq::socket_t monitor_;  // read on every call: libzmq's news are not pushed
    mutable Link link_;
    mutable std::string failure_ = "no answer yet";
    mutable bool in_handshake_ = false;
    mutable int broken_handshakes_ = 0;  // in a row
};

}  // namespace

Result<std::unique_ptr<Dealer>> Dealer::connect(const Access& access) {
    if (access.coordinator.rfind("tcp://", 0) != 0) {
        return make_error(
            ErrorCode::invalid_input,
            "`" + access.coordinator + "` is no coordinator's address; write tcp://host:port");
    }
    try {
        auto dealer = std::make_unique<ZmqDealer>(access);
        dealer->connect(access);
        return std::unique_ptr<Dealer>(std::move(dealer));
    } catch (const zmq::error_t& failure) {
        return make_error(ErrorCode::invalid_input,
                          "cannot connect to " + access.coordinator + ": " + failure.what());
    }
}

}  // namespace bitsweep
