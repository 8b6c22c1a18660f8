#include "tests/sim/simulator.h"

#include <algorithm>
#include <map>
#include <memory>

#include "coordinator/scheduler/invariants.h"
#include "schemas/codec.h"
#include "tests/sim/fake_store.h"
#include "tests/sim/sim_worker.h"

namespace bitsweep::sim {

namespace {

constexpr std::int64_t faults_ms = 90'000;       // how long the world is hostile
constexpr std::int64_t patience_ms = 1'200'000;  // then everything must be done within this

// How hostile this seed's world is: the rates themselves are random.
struct Weather {
    double loss = 0;
    double duplication = 0;
    std::int64_t delay_ms_max = 0;
    double worker_death = 0;  // per step and worker
    double worker_freeze = 0;
    double worker_stop = 0;
    double coordinator_death = 0;  // per step
    double store_failure = 0;      // per transaction: the start of an outage
    double death_after_commit = 0;
};

Weather weather_of(Random& random) {
    const auto rate = [&](double most) {
        return chance(random, 0.3) ? 0.0
                                   : most * static_cast<double>(between(random, 0, 100)) / 100;
    };
    return {rate(0.3),  rate(0.3),   between(random, 1, 2'000),
            rate(0.01), rate(0.005), rate(0.003),
            rate(0.01), rate(0.05),  rate(0.02)};
}

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
    std::string session;  // of the worker; "client" for the client
    bool to_coordinator = false;
    Message message;
};

class World {
 public:
    explicit World(const SimOptions& options)
        : options_(options), random_(options.seed), weather_(weather_of(random_)) {
        store_.fault = [this] { return store_fault(); };
        store_.after_commit = [this] { maybe_die_after_commit(); };
        for (int i = 0; i < options.workers; ++i) {
            std::vector<std::string> devices{"cpu"};
            if (chance(random_, 0.3)) {
                devices.push_back("cpu:1");
            }
            workers_.push_back(
                std::make_unique<SimWorker>("w" + std::to_string(i), devices, random_));
        }
    }

    SimReport run();
    Status deliver_from_coordinator(const Peer& to, const Message& message);

 private:
    void start_coordinator();
    void kill_coordinator();
    void step();
    void step_workers();
    void step_client();
    void deliver_due();
    void coordinator_turn();
    void post(Packet packet);
    Status store_fault();
    void maybe_die_after_commit();
    bool hostile() const { return now_.unix_ms < faults_ms; }
    void breach(const std::string& sentence) {
        report_.breaches.push_back("at " + std::to_string(now_.unix_ms) + " ms: " + sentence);
    }
    void mix(const Message& message) {
        for (const char c : to_json(message)) {
            report_.hash = (report_.hash ^ static_cast<unsigned char>(c)) * 1099511628211ull;
        }
    }

    // checkers
    void check_dispatch(const Dispatch& dispatch, const std::string& session);
    void check_ack(const ResultAck& ack);
    void check_submitted();
    void check_agreement();
    void check_end();
    bool all_over() const;

    Submit submission() const;

    SimOptions options_;
    Random random_;
    Weather weather_;
    TimePoint now_{0};
    FakeStore store_;
    std::unique_ptr<SimRouter> router_;
    std::unique_ptr<Loop> loop_;
    std::vector<std::unique_ptr<SimWorker>> workers_;
    std::multimap<TimePoint, Packet> network_;
    TimePoint coordinator_back_{0};
    TimePoint outage_until_{0};
    TimePoint client_asks_{0};
    bool submitted_ = false;
    SimReport report_;
};

Status SimRouter::send(const Peer& to, const Message& message) {
    return dead ? Status{} : world_.deliver_from_coordinator(to, message);
}

Submit World::submission() const {
    Submit submit;
    submit.experiment = ExperimentName{"sweep"};
    for (int i = 0; i < options_.jobs; ++i) {
        Cell cell;
        cell.spec.model.name = i % 3 == 0 ? "m" : "n";
        cell.spec.method = i % 2 == 0 ? "fp16" : "int8";
        cell.spec.gpu = i % 4 == 3 ? "*" : "cpu";
        cell.spec.seed = i == 5 ? poison_seed : static_cast<std::uint64_t>(i);
        cell.policy.retries_crash = 30;  // a hostile world is not the job's fault
        submit.cells.push_back(std::move(cell));
    }
    submit.cells[5].policy.retries_crash = 2;
    return submit;
}

void World::start_coordinator() {
    router_ = std::make_unique<SimRouter>(*this);
    LoopOptions options;
    options.roles = RoleCheck::open;
    options.scheduler.rules = options_.rules;
    options.safety = options_.safety;
    loop_ = std::make_unique<Loop>(
        *router_, store_, [this] { return now_; }, options);
    const Status recovered = loop_->recover();
    if (!recovered) {
        breach("recovery failed: " + recovered.error().message);
    }
    for (auto& worker : workers_) {
        worker->link_up(now_);
    }
}

void World::kill_coordinator() {
    ++report_.coordinator_deaths;
    loop_.reset();
    router_.reset();
    std::erase_if(network_, [&](const auto& entry) { return entry.second.to_coordinator; });
    coordinator_back_ = now_ + Duration{between(random_, 100, 20'000)};
    for (auto& worker : workers_) {
        worker->link_lost(now_);
    }
}

Status World::store_fault() {
    if (hostile() && now_ >= outage_until_ && chance(random_, weather_.store_failure)) {
        outage_until_ = now_ + Duration{between(random_, 1, 30'000)};
    }
    if (now_ < outage_until_ && hostile()) {
        ++report_.store_failures;
        return make_error(ErrorCode::io, "database or disk is full");
    }
    return {};
}

void World::maybe_die_after_commit() {
    if (hostile() && chance(random_, weather_.death_after_commit)) {
        router_->dead = true;
    }
}

// ---- network

void World::post(Packet packet) {
    mix(packet.message);
    const double loss = hostile() ? weather_.loss : 0;
    const double duplication = hostile() ? weather_.duplication : 0;
    const std::int64_t slowest = hostile() ? weather_.delay_ms_max : 20;
    if (chance(random_, loss)) {
        return;
    }
    if (chance(random_, duplication)) {
        network_.emplace(now_ + Duration{between(random_, 1, slowest * 3)}, packet);
    }
    network_.emplace(now_ + Duration{between(random_, 1, slowest)}, std::move(packet));
}

Status World::deliver_from_coordinator(const Peer& to, const Message& message) {
    if (const auto* dispatch = std::get_if<Dispatch>(&message)) {
        check_dispatch(*dispatch, to.routing_id);
    } else if (const auto* ack = std::get_if<ResultAck>(&message)) {
        check_ack(*ack);
    } else if (std::holds_alternative<Submitted>(message)) {
        check_submitted();
    }
    const bool gone = to.routing_id != "client" &&
                      std::none_of(workers_.begin(), workers_.end(), [&](const auto& worker) {
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
        if (packet.to_coordinator) {
            if (router_) {
                const bool client = packet.session == "client";
                const Peer from{packet.session, packet.session.substr(0, packet.session.find('-')),
                                client ? Role::submit : Role::work};
                router_->inbox.push_back({from, std::move(packet.message)});
            }
            continue;
        }
        if (packet.session == "client") {
            submitted_ = submitted_ || std::holds_alternative<Submitted>(packet.message);
            continue;
        }
        for (auto& worker : workers_) {
            if (worker->session() == packet.session) {
                worker->receive(now_, packet.message);
            }
        }
    }
}

// ---- one step of the world

void World::step_workers() {
    for (auto& worker : workers_) {
        if (!worker->alive()) {
            if (now_ >= worker->back_at()) {
                worker->start(now_);
            }
        } else if (hostile() && chance(random_, weather_.worker_death)) {
            ++report_.worker_deaths;
            worker->kill(now_, Duration{between(random_, 10, 20'000)});
        } else if (hostile() && chance(random_, weather_.worker_freeze)) {
            worker->freeze(now_, Duration{between(random_, 100, 30'000)});
        } else if (hostile() && worker->awake(now_) && chance(random_, weather_.worker_stop)) {
            worker->stop(now_);
        }
        const std::string session = worker->session();
        for (Message& message : worker->tick(now_)) {
            post({session, true, std::move(message)});
        }
    }
}

void World::step_client() {
    if (!submitted_ && now_ >= client_asks_) {
        client_asks_ = now_ + Duration{3'000};
        post({"client", true, submission()});
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
    check_agreement();
}

void World::step() {
    now_ = now_ + Duration{hostile() ? between(random_, 1, 300) : between(random_, 50, 500)};
    deliver_due();
    step_workers();
    step_client();
    coordinator_turn();
}

// ---- checkers

// Persisted before it is sent, and alone on its device.
void World::check_dispatch(const Dispatch& dispatch, const std::string& session) {
    const StoredJob* job = store_.job(dispatch.key);
    if (job == nullptr || job->state != "running" || job->attempt != dispatch.attempt ||
        job->session.value != session) {
        breach("a dispatch left before it was stored");
        return;
    }
    for (const auto& [key, other] : store_.contents().jobs) {
        if (key != dispatch.key && other.state == "running" && other.session.value == session &&
            other.device == dispatch.device) {
            breach("two live attempts on " + dispatch.device + " of " + session);
        }
    }
}

// Acknowledged: stored, or of an attempt that no longer counts.
void World::check_ack(const ResultAck& ack) {
    const StoredJob* job = store_.job(ack.key);
    if (job != nullptr && job->state == "running" && job->attempt == ack.attempt) {
        breach("a result was acknowledged before it was stored");
    }
}

void World::check_submitted() {
    const auto members = store_.contents().members.find(ExperimentName{"sweep"});
    if (members == store_.contents().members.end() || members->second.empty()) {
        breach("a submission was acknowledged before it was stored");
    }
}

// The scheduler's indexes are right; with a working store, memory and store say the same.
void World::check_agreement() {
    const scheduler::State& state = loop_->scheduler().state();
    for (const std::string& sentence : scheduler::broken_invariants(state)) {
        breach(sentence);
    }
    if (!loop_->store_trouble().empty()) {
        return;
    }
    for (const scheduler::Job& job : state.jobs()) {
        const StoredJob* stored = store_.job(job.key);
        std::string word(scheduler::state_word(job.state));
        word = word == "backoff" ? "waiting" : word;
        if (stored == nullptr || stored->state != word || stored->attempt != job.attempt) {
            breach("memory and store disagree about a job that is " + word);
        }
    }
}

bool World::all_over() const {
    const auto& jobs = store_.contents().jobs;
    const bool terminal = std::all_of(jobs.begin(), jobs.end(), [](const auto& entry) {
        return entry.second.state == "done" || entry.second.state == "failed";
    });
    const bool delivered = std::all_of(workers_.begin(), workers_.end(),
                                       [](const auto& worker) { return worker->outbox_empty(); });
    return submitted_ && terminal && delivered && !hostile() &&
           jobs.size() == static_cast<std::size_t>(options_.jobs);
}

void World::check_end() {
    std::map<JobKey, int> done;
    for (const auto& [id, run] : store_.contents().runs) {
        const StoredJob& job = *store_.job(id.first);
        if (run.result.outcome.outcome == OutcomeClass::done) {
            ++done[id.first];
            if (job.attempt != id.second) {
                breach("the stored result is not that of the last attempt");
            }
        }
    }
    for (const auto& [key, job] : store_.contents().jobs) {
        report_.retries += static_cast<int>(job.attempt.value) - 1;
        if (job.state != "done" && job.state != "failed") {
            breach("a job never ended: it is " + job.state);
        } else if (done[key] != (job.state == "done" ? 1 : 0)) {
            breach("a job that is " + job.state + " has " + std::to_string(done[key]) + " results");
        }
        if (job.crashes > job.cell.policy.retries_crash + 1) {
            breach("a job was tried again beyond its budget");
        }
    }
    for (const auto& worker : workers_) {
        if (!worker->outbox_empty()) {
            breach("the outbox of " + worker->name() + " never emptied");
        }
    }
    if (!submitted_) {
        breach("the submission was never acknowledged");
    }
}

SimReport World::run() {
    start_coordinator();
    for (auto& worker : workers_) {
        worker->start(now_);
    }
    while (!all_over() && now_.unix_ms < faults_ms + patience_ms && report_.breaches.empty() &&
           store_.breaches().empty()) {
        step();
    }
    const auto& stored = store_.breaches();
    report_.breaches.insert(report_.breaches.end(), stored.begin(), stored.end());
    if (report_.breaches.empty()) {
        check_end();
    }
    report_.virtual_ms = now_.unix_ms;
    return report_;
}

}  // namespace

SimReport simulate(const SimOptions& options) {
    return World(options).run();
}

}  // namespace bitsweep::sim
