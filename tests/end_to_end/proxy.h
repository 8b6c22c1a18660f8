// A network that can be cut: a TCP proxy between the processes of a test.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <list>
#include <string>
#include <thread>
#include <vector>

namespace bitsweep {

class Proxy {
 public:
    // Forwards connections to tcp://127.0.0.1:PORT of `target`.
    explicit Proxy(const std::string& target);
    ~Proxy();
    Proxy(const Proxy&) = delete;
    Proxy& operator=(const Proxy&) = delete;

    std::string url() const;

    // A silent partition: nothing is forwarded and nothing is closed, as when a cable is pulled.
    void partition(bool on) { partition_ = on; }
    void delay(int ms) { delay_ms_ = ms; }  // each way
    void reset_all() { ++resets_; }         // every open connection ends at once
    // Nothing is forwarded on the open connections any more, and none is closed, as by a router
    // that was switched off and on. New ones work.
    void forget_all() { forget_ = true; }

 private:
    struct Chunk {
        std::chrono::steady_clock::time_point due;
        std::string bytes;
    };
    struct Way {  // one direction of a connection
        int from = -1;
        int to = -1;
        std::list<Chunk> waiting;
    };
    struct Connection {
        Way there;
        Way back;
        bool ended = false;
        bool forgotten = false;
    };

    void run(const std::stop_token& stop);
    void accept_new();
    void take(Connection& connection, Way& way);
    void give(Connection& connection, Way& way);
    static void close_both(Connection& connection);

    int listener_ = -1;
    std::uint16_t port_ = 0;
    std::uint16_t target_ = 0;
    std::atomic<bool> partition_{false};
    std::atomic<int> delay_ms_{0};
    std::atomic<int> resets_{0};
    std::atomic<bool> forget_{false};
    std::list<Connection> connections_;
    std::jthread thread_;
};

}  // namespace bitsweep
