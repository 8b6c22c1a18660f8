#include "tests/sim/simulator.h"

#include <algorithm>
#include <map>
#include <memory>

#include "coordinator/server/recover.h"
#include "schemas/codec.h"
#include "tests/sim/fake_store.h"
#include "tests/sim/sim_worker.h"
#include "tests/sim/transcript.h"
#include "tests/sim/weather.h"

namespace bitsweep::sim {

namespace {

constexpr std::int64_t patience_ms = 1'800'000;  // then everything must be done within this

class World;

// The coordinator's end of the network; what it sends is checked before it leaves.
class SimRouter : public Router {
 public:
    explicit SimRouter(World& world) : world_(world) {}
    std::string endpoint() const override { return "sim"; }
    std::vector<Incoming> receive(Duration, std::size_t most) override {
        std::vector<Incoming> taken;
        while (!inbox.empty() && taken.size() < most) {
            taken.push_back(std::move(inbox.front()));
            inbox.erase(inbox.begin());
        }
        return taken;
    }
    Status send(const Peer& to, const Message& message) override;

    std::vector<Incoming> inbox;
    bool dead = false;  // the process died: nothing leaves any more

 private:
    World& world_;
};

struct Packet {
    std::string session;  // of the worker; "client" or "person"
    bool to_coordinator = false;
    Message message;
};

class World {
 public:
    explicit World(const SimOptions& options)
        : options_(options),
          random_(options.seed),
          weather_(weather_of(random_, options.without)),
          checkers_(store_, [this](const std::string& sentence) { breach(sentence); }) {
        store_.fault = [this] { return store_fault(); };
        store_.after_commit = [this] { maybe_die(weather_.death_after_commit); };
        store_.on_handed_out = [this](const StoredState& job, const FakeStore::Contents& before) {
            checkers_.handed_out(job, before, kind_of_device(job));
        };
        for (int i = 0; i < options.workers; ++i) {
            add_worker(i);
        }
    }

    SimReport run();
    Status deliver_from_coordinator(const Peer& to, const Message& message);

 private:
    void add_worker(int number);
    void start_coordinator();
    void kill_coordinator();
    void step();
    void step_workers();
    void reset_connection(SimWorker& worker);
    void step_client();
    void step_person();
    void deliver_due();
    void deliver(Packet packet);
    void coordinator_turn();
    void post(Packet packet);
    Status store_fault();
    void maybe_die(double share);
    bool hostile() const { return now_.unix_ms < options_.faults_ms; }
    bool is_cut(const std::string& session) const;
    std::string kind_of_device(const StoredState& job) const;
    void breach(const std::string& sentence) {
        report_.breaches.push_back("at " + std::to_string(now_.unix_ms) + " ms: " + sentence);
        tell("BREACH " + sentence);
    }
    void tell(const std::string& line) const {
        if (options_.tell) {
            options_.tell(std::to_string(now_.unix_ms) + " ms  " + line);
        }
    }
    void mix(const Message& message) {
        for (const char c : to_json(message)) {
            report_.hash = (report_.hash ^ static_cast<unsigned char>(c)) * 1099511628211ull;
        }
    }
    void check_replay();
    bool all_over() const;
    Submit submission() const;

    SimOptions options_;
    Random random_;
    Weather weather_;
    TimePoint now_{0};
    Duration jump_{0};  // of the coordinator's wall clock against the world's
    FakeStore store_;
    Checkers checkers_;
    Recording recording_;
    std::unique_ptr<SimRouter> router_;
    std::unique_ptr<Loop> loop_;
    std::vector<std::unique_ptr<SimWorker>> workers_;
    std::map<std::string, TimePoint> cut_until_;  // by worker name
    std::map<std::string, TimePoint> link_back_;  // of connections that were reset
    std::multimap<TimePoint, Packet> network_;
    TimePoint coordinator_back_{0};
    TimePoint outage_until_{0};
    TimePoint client_asks_{0};
    TimePoint person_asks_{0};
    bool submitted_ = false;
    SimReport report_;
};

Status SimRouter::send(const Peer& to, const Message& message) {
    return dead ? Status{} : world_.deliver_from_coordinator(to, message);
}

DeviceInfo device(const std::string& id, const std::string& kind, std::uint64_t gib) {
    DeviceInfo info;
    info.id = id;
    info.kind = info.name = kind;
    info.memory_bytes = gib << 30;
    return info;
}

void World::add_worker(int number) {
    std::vector<DeviceInfo> devices{device("cpu", "cpu", 64)};
    if (chance(random_, 0.3)) {
        devices.push_back(device("cpu:1", "cpu", 64));
    }
    // The first worker has both kinds of card, so that every job can end.
    if (number == 0 || chance(random_, 0.4)) {
        devices.push_back(device("cuda:0", small_card, 16));
    }
    if (number == 0 || chance(random_, 0.2)) {
        devices.push_back(device("cuda:1", large_card, 40));
    }
    workers_.push_back(
        std::make_unique<SimWorker>("w" + std::to_string(number), std::move(devices), random_));
    SimWorker& worker = *workers_.back();
    worker.fault_share = weather_.gpu_fault;
    worker.failure_share = weather_.failure;
    worker.hang_share = weather_.hang;
    worker.disturbed_share = weather_.disturbance;
    worker.drift_share = weather_.drift;
    worker.on_breach = [this](const std::string& sentence) { breach(sentence); };
}

std::string World::kind_of_device(const StoredState& job) const {
    for (const auto& worker : workers_) {
        if (worker->name() == job.worker.value) {
            return worker->kind_of(job.device);
        }
    }
    return {};
}

Submit World::submission() const {
    Submit submit;
    submit.experiment = ExperimentName{"sweep"};
    submit.max_fails =
        options_.seed % 3 == 0 ? 1 + static_cast<std::int64_t>(options_.seed % 5) : 0;
    for (int i = 0; i < options_.jobs; ++i) {
        Cell cell;
        cell.spec.model.name = i % 3 == 0 ? "m" : "n";
        cell.spec.method = i % 2 == 0 ? "fp16" : "int8";
        cell.spec.gpu = i % 4 == 3 ? "*" : i % 4 == 2 ? "card" : "cpu";
        cell.spec.seed = i == 5 ? poison_seed : i == 2 ? large_seed : static_cast<std::uint64_t>(i);
        cell.spec.protocol = i % 2 == 0 ? Protocol::standard : Protocol::headline;
        cell.policy.retries_crash = 30;  // a hostile world is not the job's fault
        cell.policy.timeout = Duration{60'000};
        submit.cells.push_back(std::move(cell));
    }
    if (submit.cells.size() > 5) {
        submit.cells[5].policy.retries_crash = 2;
    }
    return submit;
}

void World::start_coordinator() {
    router_ = std::make_unique<SimRouter>(*this);
    LoopOptions options;
    options.roles = RoleCheck::open;
    options.scheduler.rules = options_.rules;
    options.scheduler.windows = sim_windows;
    options.safety = options_.safety;
    options.on_input = [this](TimePoint now, const scheduler::Event& event) {
        recording_.add(now, event);
    };
    // Wall clocks are set while a coordinator is away, by hours, either way.
    const Duration jump{between(random_, -86'400'000, 86'400'000)};
    if (chance(random_, hostile() ? weather_.clock_jump : 0)) {
        jump_ = jump;
    }
    loop_ = std::make_unique<Loop>(
        *router_, store_, [this] { return now_ + jump_; }, options);
    Result<scheduler::Snapshot> snapshot = bitsweep::recover(store_);
    const Status recovered = loop_->recover();
    if (!recovered || !snapshot) {
        breach("recovery failed: " + recovered.error().message);
        return;
    }
    recording_.begin(std::move(snapshot).value(), now_ + jump_);
    tell("the coordinator starts; its clock is off by " + std::to_string(jump_.ms) + " ms");
    for (auto& worker : workers_) {
        worker->link_up(now_);
    }
}

void World::kill_coordinator() {
    ++report_.coordinator_deaths;
    tell("the coordinator is killed");
    check_replay();
    loop_.reset();
    router_.reset();
    std::erase_if(network_, [&](const auto& entry) { return entry.second.to_coordinator; });
    coordinator_back_ = now_ + Duration{between(random_, 100, 20'000)};
    for (auto& worker : workers_) {
        worker->link_lost(now_);
    }
}

void World::check_replay() {
    // A life in four: each costs a second scheduler.
    const bool looked_at =
        report_.coordinator_deaths % 4 == 1 || options_.replay != Recording::Replay::faithful;
    if (loop_ && looked_at) {
        const std::string difference = recording_.difference(loop_->scheduler(), options_.replay);
        if (!difference.empty()) {
            breach(difference);
        }
    }
}

Status World::store_fault() {
    if (hostile() && now_ >= outage_until_ && chance(random_, weather_.store_failure)) {
        outage_until_ = now_ + Duration{between(random_, 1, 30'000)};
        tell("the database cannot be written until " + std::to_string(outage_until_.unix_ms));
    }
    if (now_ < outage_until_ && hostile()) {
        ++report_.store_failures;
        return make_error(ErrorCode::io, "database or disk is full");
    }
    return {};
}

void World::maybe_die(double share) {
    if (hostile() && chance(random_, share)) {
        router_->dead = true;
    }
}

// ---- network

bool World::is_cut(const std::string& session) const {
    const auto cut = cut_until_.find(session.substr(0, session.find('-')));
    return cut != cut_until_.end() && now_ < cut->second;
}

void World::post(Packet packet) {
    mix(packet.message);
    const double loss = hostile() ? weather_.loss : 0;
    const double duplication = hostile() ? weather_.duplication : 0;
    const std::int64_t slowest = hostile() ? weather_.delay_ms_max : 20;
    const bool down = link_back_.contains(packet.session.substr(0, packet.session.find('-')));
    const bool lost = chance(random_, loss) || is_cut(packet.session) || down;
    if (options_.tell) {
        tell((packet.to_coordinator ? packet.session + " -> coordinator: "
                                    : "coordinator -> " + packet.session + ": ") +
             in_words(packet.message) + (lost ? "  [lost]" : ""));
    }
    if (lost) {
        return;
    }
    if (chance(random_, duplication)) {
        network_.emplace(now_ + Duration{between(random_, 1, slowest * 3)}, packet);
    }
    const std::int64_t delay = between(random_, 1, slowest);
    network_.emplace(now_ + Duration{weather_.in_order ? slowest : delay}, std::move(packet));
}

Status World::deliver_from_coordinator(const Peer& to, const Message& message) {
    maybe_die(weather_.death_between_sends);
    if (router_->dead) {
        return {};
    }
    if (const auto* dispatch = std::get_if<Dispatch>(&message)) {
        checkers_.dispatch(*dispatch, to.routing_id);
    } else if (const auto* ack = std::get_if<ResultAck>(&message)) {
        checkers_.acknowledgement(*ack);
    } else if (std::holds_alternative<Submitted>(message)) {
        checkers_.submitted(ExperimentName{"sweep"});
    } else if (const auto* obeyed = std::get_if<Controlled>(&message)) {
        ++report_.orders;
        checkers_.obeyed(*obeyed);
    }
    const bool person = to.routing_id == "client" || to.routing_id == "person";
    const bool gone =
        !person && std::none_of(workers_.begin(), workers_.end(), [&](const auto& worker) {
            return worker->alive() && worker->session() == to.routing_id;
        });
    if (gone && chance(random_, 0.5)) {
        return make_error(ErrorCode::unavailable, "no route");
    }
    post({to.routing_id, false, message});
    return {};
}

void World::deliver_due() {
    while (!network_.empty() && network_.begin()->first <= now_) {
        Packet packet = std::move(network_.begin()->second);
        network_.erase(network_.begin());
        deliver(std::move(packet));
    }
}

void World::deliver(Packet packet) {
    const bool person = packet.session == "client" || packet.session == "person";
    if (packet.to_coordinator) {
        if (router_) {
            const Peer from{packet.session, packet.session.substr(0, packet.session.find('-')),
                            person ? Role::submit : Role::work, ""};
            router_->inbox.push_back({from, std::move(packet.message)});
        }
        return;
    }
    if (person) {
        submitted_ = submitted_ || std::holds_alternative<Submitted>(packet.message);
        return;
    }
    for (auto& worker : workers_) {
        if (worker->session() == packet.session) {
            worker->receive(now_, packet.message);
        }
    }
}

// ---- one step of the world

void World::step_workers() {
    for (auto& worker : workers_) {
        const std::string& name = worker->name();
        if (hostile() && chance(random_, weather_.partition)) {
            cut_until_[name] = now_ + Duration{between(random_, 1'000, 60'000)};
            tell(name + " is cut off until " + std::to_string(cut_until_[name].unix_ms));
        }
        if (!worker->alive()) {
            if (now_ >= worker->back_at()) {
                worker->start(now_);
                tell("worker process " + worker->session() + " starts");
            }
        } else if (hostile() && chance(random_, weather_.worker_death)) {
            ++report_.worker_deaths;
            tell("worker process " + worker->session() + " is killed");
            worker->kill(now_, Duration{between(random_, 10, 20'000)});
        } else if (hostile() && chance(random_, weather_.worker_freeze)) {
            tell("worker process " + worker->session() + " is frozen");
            worker->freeze(now_, Duration{between(random_, 100, 30'000)});
        } else if (hostile() && worker->awake(now_) && chance(random_, weather_.worker_stop)) {
            tell("worker process " + worker->session() + " is stopped by a person");
            worker->stop(now_);
        }
        reset_connection(*worker);
        if (!hostile()) {
            worker->hang_share = worker->failure_share = worker->fault_share = 0;
            worker->disturbed_share = worker->drift_share = 0;
            cut_until_.clear();
        }
        const std::string session = worker->session();
        for (Message& message : worker->tick(now_)) {
            post({session, true, std::move(message)});
        }
    }
}

// What is on its way is lost with the connection; a new one is there in a moment.
void World::reset_connection(SimWorker& worker) {
    const auto back = link_back_.find(worker.name());
    if (back != link_back_.end()) {
        if (now_ >= back->second) {
            link_back_.erase(back);
            worker.link_up(now_);
        }
        return;
    }
    if (!hostile() || !worker.awake(now_) || !router_ || !chance(random_, weather_.reset)) {
        return;
    }
    ++report_.resets;
    const std::string& session = worker.session();
    tell("the connection of " + session + " is reset");
    std::erase_if(network_, [&](const auto& entry) { return entry.second.session == session; });
    link_back_[worker.name()] = now_ + Duration{between(random_, 100, 300)};
    worker.link_lost(now_);
}

void World::step_client() {
    if (!submitted_ && now_ >= client_asks_) {
        client_asks_ = now_ + Duration{3'000};
        post({"client", true, submission()});
    }
}

// Orders at random while the world is hostile; then whatever lets everything finish.
void World::step_person() {
    constexpr ControlAction random_orders[] = {ControlAction::pause, ControlAction::resume,
                                               ControlAction::cancel, ControlAction::retry};
    if (hostile()) {
        const auto which = static_cast<std::size_t>(between(random_, 0, 3));
        if (chance(random_, weather_.orders)) {
            post({"person", true, Control{random_orders[which], "sweep", {}, order_reason}});
        }
        return;
    }
    if (now_ < person_asks_) {
        return;
    }
    person_asks_ = now_ + Duration{3'000};
    if (checkers_.is_paused() || checkers_.is_cancelled()) {
        post({"person", true, Control{ControlAction::resume, "sweep", {}, {}}});
    }
    for (const std::string& card : checkers_.quarantined()) {
        post({"person", true,
              Control{ControlAction::clear, card.substr(0, card.find('/')), {}, {}}});
    }
}

void World::coordinator_turn() {
    if (!loop_) {
        if (now_ >= coordinator_back_) {
            start_coordinator();
        }
        return;
    }
    if (hostile() && chance(random_, weather_.coordinator_death)) {
        kill_coordinator();
        return;
    }
    if (hostile() && chance(random_, 0.1)) {
        return;  // the process did not get the CPU
    }
    ++report_.turns;
    loop_->turn();
    if (router_->dead) {
        kill_coordinator();
        return;
    }
    checkers_.agreement(*loop_);
}

void World::step() {
    now_ = now_ + Duration{hostile() ? between(random_, 1, 300) : between(random_, 50, 500)};
    deliver_due();
    step_workers();
    step_client();
    step_person();
    coordinator_turn();
}

bool World::all_over() const {
    const auto& jobs = store_.contents().jobs;
    const bool terminal = std::all_of(jobs.begin(), jobs.end(), [](const auto& entry) {
        return entry.second.state != "waiting" && entry.second.state != "running";
    });
    const bool delivered = std::all_of(workers_.begin(), workers_.end(),
                                       [](const auto& worker) { return worker->outbox_empty(); });
    // A template gives a job for each kind that attached.
    return submitted_ && terminal && delivered && !hostile() && loop_ != nullptr &&
           !checkers_.is_paused() && !checkers_.is_cancelled() &&
           store_.contents().order.size() >= static_cast<std::size_t>(options_.jobs);
}

SimReport World::run() {
    start_coordinator();
    for (auto& worker : workers_) {
        worker->start(now_);
    }
    while (!all_over() && now_.unix_ms < options_.faults_ms + patience_ms &&
           report_.breaches.empty() && store_.breaches().empty()) {
        step();
    }
    const auto& stored = store_.breaches();
    for (const std::string& sentence : stored) {
        breach(sentence);
    }
    if (report_.breaches.empty()) {
        checkers_.end(workers_);
        check_replay();
        if (!submitted_) {
            breach("the submission was never acknowledged");
        }
    }
    for (const auto& [key, job] : store_.contents().jobs) {
        report_.retries += std::max(0, static_cast<int>(job.attempt.value) - 1);
        report_.windows_again += job.windows_again;
    }
    for (const auto& [id, run] : store_.contents().runs) {
        report_.taken_back += run.result.outcome.outcome == OutcomeClass::lost_worker ? 1 : 0;
    }
    for (const auto& [kind, json] : store_.contents().events) {
        report_.faulty_devices += kind == "quarantine" ? 1 : 0;
        const bool sentinel = kind == "sentinel";
        report_.sentinels += sentinel && json.find("token/s") != std::string::npos ? 1 : 0;
        report_.drifts += sentinel && json.find("none of which") != std::string::npos ? 1 : 0;
    }
    report_.virtual_ms = now_.unix_ms;
    return report_;
}

}  // namespace

WindowPolicy sim_windows(Protocol protocol) {
    return protocol == Protocol::headline ? WindowPolicy{2, 2} : WindowPolicy{1, 0};
}

SimReport simulate(const SimOptions& options) {
    return World(options).run();
}

}  // namespace bitsweep::sim
