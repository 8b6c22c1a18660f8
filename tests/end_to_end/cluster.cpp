#include "tests/end_to_end/cluster.h"

#include <signal.h>

#include <chrono>
#include <fstream>
#include <thread>

namespace bitsweep {

namespace fs = std::filesystem;

void Cluster::SetUp() {
    environment_ = {{"BITSWEEP_RUNNER", FAKE_RUNNER}};
}

void Cluster::serve(const std::string& listen) {
    server_.reset();
    server_.emplace(folder_,
                    on("hub", {bitsweep_program(), "serve", "--listen", listen, "--lease", "2"}));
    ASSERT_TRUE(server_->says("coordinator at", 10)) << server_->err();
    const std::string text = server_->err();
    const std::size_t start = text.find("tcp://");
    url_ = text.substr(start, text.find(',', start) - start);
}

Words Cluster::on(const std::string&, const Words& words) const {
    return words;
}

void Cluster::kill_server() {
    server_->signal(SIGKILL);
    ASSERT_EQ(server_->wait(5), 128 + SIGKILL);
}

std::unique_ptr<Program> Cluster::start_worker(const std::string& name, const Words& more) {
    Words words{bitsweep_program(), "worker", "--name", name};
    words.insert(words.end(), more.begin(), more.end());
    return std::make_unique<Program>(folder_, on(name, words), environment_);
}

std::unique_ptr<Program> Cluster::worker(const std::string& name, const std::string& connect) {
    auto worker = start_worker(name, connect.empty() ? Words{} : Words{"--connect", connect});
    EXPECT_TRUE(worker->says("waiting for jobs", 10)) << worker->err();
    return worker;
}

void Cluster::write_experiment(const std::string& name, int ms, int repeat) {
    std::ofstream(folder_ / (name + ".yaml"))
        << "experiment: " << name << "\nquestion: Is every cell measured once?\n"
        << "defaults: {protocol: quick, prompt: \"work " << ms
        << "\", new_tokens: 4, quality: off}\n"
        << "retries: {crash: 1000, fail: 0}\n"
        << "matrix:\n  model: [llama-pico]\n"
        << "  method: [fp16, int8, nf4, fp4, w8a8, int4-g64, int3-g64, int5-g64]\n"
        << "  gpu: cpu\n  repeat: " << repeat << "\n";
}

std::unique_ptr<Program> Cluster::submit(const std::string& name) {
    return std::make_unique<Program>(
        folder_, on("hub", {bitsweep_program(), "submit", name + ".yaml", "--wait"}));
}

Table Cluster::query(const std::string& sql) {
    const auto store = Store::open(folder_ / "bitsweep.db", OpenMode::read_only);
    if (!store) {
        return {};
    }
    const auto table = (*store)->query(sql);
    EXPECT_TRUE(table) << table.error().message;
    return table ? *table : Table{};
}

std::int64_t Cluster::number(const std::string& sql) {
    const Table table = query(sql);
    return table.rows.empty() ? -1 : table.rows[0][0].integer;
}

bool Cluster::reaches(const std::string& sql, std::int64_t least, int seconds) {
    for (int i = 0; i < seconds * 50; ++i) {
        if (number(sql) >= least) {
            return true;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return false;
}

std::map<std::string, std::int64_t> Cluster::done() {
    std::map<std::string, std::int64_t> found;
    for (const auto& row : query("SELECT j.key, r.attempt FROM runs r JOIN jobs j ON j.id = r.job "
                                 "WHERE r.outcome = 'done'")
                               .rows) {
        found[row.at(0).text] = row.at(1).integer;
    }
    return found;
}

void Cluster::expect_each_cell_once(std::int64_t cells) {
    EXPECT_EQ(number("SELECT COUNT(*) FROM jobs"), cells);
    EXPECT_EQ(number(done_count), cells);
    EXPECT_EQ(number("SELECT COUNT(*) FROM runs WHERE outcome = 'done'"), cells);
    EXPECT_EQ(number("SELECT COUNT(DISTINCT job) FROM runs WHERE outcome = 'done'"), cells);
    EXPECT_EQ(number("SELECT COUNT(*) FROM runs r JOIN jobs j ON j.id = r.job "
                     "WHERE r.outcome = 'done' AND r.attempt <> j.attempt"),
              0)
        << "a result of another attempt than the last one handed out";
}

std::vector<pid_t> children_of(pid_t parent) {
    std::vector<pid_t> children;
    std::error_code code;
    for (const auto& entry : fs::directory_iterator("/proc", code)) {
        const pid_t pid = atoi(entry.path().filename().c_str());
        std::ifstream stream(entry.path() / "stat");
        std::string id;
        std::string name;
        std::string state;
        pid_t its_parent = 0;
        if (pid > 0 && stream >> id >> name >> state >> its_parent && its_parent == parent) {
            children.push_back(pid);
        }
    }
    return children;
}

}  // namespace bitsweep
