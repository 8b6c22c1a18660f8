#include "coordinator/server/server.h"

#include <chrono>

#include "coordinator/server/loop.h"
#include "coordinator/server/recover.h"
#include "coordinator/transport/keys.h"
#include "coordinator/transport/router.h"
#include "results/store/store.h"

namespace bitsweep {

namespace {

// Wall time for people, but never backwards or by jumps: leases hang on it.
class SteadyClock {
 public:
    TimePoint operator()() const {
        const auto passed = std::chrono::steady_clock::now() - origin_;
        return {unix_ms_ + std::chrono::duration_cast<std::chrono::milliseconds>(passed).count()};
    }

 private:
    std::int64_t unix_ms_ = std::chrono::duration_cast<std::chrono::milliseconds>(
                                std::chrono::system_clock::now().time_since_epoch())
                                .count();
    std::chrono::steady_clock::time_point origin_ = std::chrono::steady_clock::now();
};

LoopOptions loop_options(const ServerOptions& options, const std::string& database) {
    LoopOptions loop;
    loop.scheduler.database = database;
    loop.scheduler.heartbeat = options.heartbeat;
    loop.scheduler.lease = options.lease;
    loop.scheduler.backoff = options.backoff;
    loop.scheduler.affinity = options.affinity;
    loop.roles = options.keys.empty() ? RoleCheck::open : RoleCheck::by_role;
    if (options.say) {
        loop.on_event = [say = options.say](const scheduler::LogEvent& event) {
            const std::string job = event.key.empty()
                                        ? ""
                                        : "job " + event.key.value.substr(0, 12) + ", attempt " +
                                              std::to_string(event.attempt.value) + ": ";
            say(event.kind + ": " + job + event.text);
        };
    }
    return loop;
}

class HostedServer final : public Server {
 public:
    HostedServer(const LoopOptions& options, std::unique_ptr<Store> store,
                 std::unique_ptr<Router> router)
        : store_(std::move(store)),
          router_(std::move(router)),
          loop_(*router_, *store_, SteadyClock(), options) {}

    Status recover() { return loop_.recover(); }

    std::string endpoint() const override { return router_->endpoint(); }

    Status run(const std::atomic<bool>& stop) override {
        while (!stop.load() && !loop_.shutdown_asked()) {
            loop_.turn();
        }
        return loop_.flush();
    }

 private:
    std::unique_ptr<Store> store_;
    std::unique_ptr<Router> router_;
    Loop loop_;
};

}  // namespace

Result<std::unique_ptr<Server>> Server::create(ServerOptions options) {
    TRY(Router::check({options.listen, options.keys}));
    // The store first: of two coordinators of one database the second must not take the port.
    // And no file appears beside one that is no database.
    std::unique_ptr<Store> store = TRY(Store::open(options.db, OpenMode::read_write));
    if (!options.keys.empty()) {
        TRY(ensure_server_keys(options.keys));
    }
    std::unique_ptr<Router> router = TRY(Router::bind({options.listen, options.keys}));
    const LoopOptions loop = loop_options(options, TRY(database_name(*store, SteadyClock()())));
    auto server = std::make_unique<HostedServer>(loop, std::move(store), std::move(router));
    TRY(server->recover());
    return std::unique_ptr<Server>(std::move(server));
}

}  // namespace bitsweep
