// The built `bitsweep`, as a person meets it: help, exit codes, mistakes.
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <regex>
#include <set>

#include "tests/cli/program.h"
#include "tests/temp_folder.h"

namespace bitsweep {

namespace {

namespace fs = std::filesystem;

constexpr const char* small_experiment = R"(experiment: small
question: Does it run?
defaults: {protocol: quick, new_tokens: 4, quality: off}
matrix:
  model: [llama-pico]
  method: [fp16, int8]
  gpu: cpu
)";

class Cli : public testing::Test {
 protected:
    void SetUp() override { std::ofstream(folder_ / "small.yaml") << small_experiment; }

    Ended run(const Words& words, const Environment& more = {}) {
        return bitsweep(folder_, words, more);
    }

    TempFolder folder_;
};

int lines_in(const std::string& text) {
    return static_cast<int>(std::count(text.begin(), text.end(), '\n'));
}

TEST_F(Cli, HelpAndVersionGoToStandardOutput) {
    const Ended help = run({"--help"});
    EXPECT_EQ(help.code, 0);
    EXPECT_EQ(help.err, "");
    for (const char* command : {"run", "serve", "worker", "submit", "plan", "status", "query",
                                "report", "keys", "doctor", "schema"}) {
        EXPECT_NE(help.out.find(command), std::string::npos) << command;
    }
    EXPECT_EQ(run({"--version"}).out.rfind("bitsweep ", 0), 0u);
}

TEST_F(Cli, EveryCommandExplainsItself) {
    for (const char* command : {"run", "serve", "worker", "submit", "plan", "status", "query",
                                "report", "keys", "doctor", "schema"}) {
        const Ended help = run({command, "--help"});
        EXPECT_EQ(help.code, 0) << command;
        EXPECT_EQ(help.out.rfind("usage: bitsweep ", 0), 0u) << command;
        EXPECT_NE(help.out.find("--db"), std::string::npos) << command;
    }
}

TEST_F(Cli, AnUnknownCommandSuggestsTheNearest) {
    const Ended ended = run({"submti"});
    EXPECT_EQ(ended.code, 2);
    EXPECT_NE(ended.err.find("did you mean `submit`?"), std::string::npos) << ended.err;
    EXPECT_EQ(lines_in(ended.err), 1);
}

TEST_F(Cli, AnUnknownFlagSuggestsTheNearest) {
    const Ended ended = run({"submit", "small.yaml", "--forse"});
    EXPECT_EQ(ended.code, 2);
    EXPECT_NE(ended.err.find("did you mean --force?"), std::string::npos) << ended.err;
    EXPECT_EQ(lines_in(ended.err), 1);
}

TEST_F(Cli, AnAbbreviatedFlagIsNoFlag) {
    EXPECT_EQ(run({"submit", "small.yaml", "--forc"}).code, 2);
}

TEST_F(Cli, AnUnknownFormatIsRefusedWithTheKnownOnes) {
    const Ended ended = run({"keys", "list", "--format", "xml"});
    EXPECT_EQ(ended.code, 2);
    EXPECT_NE(ended.err.find("jsonl"), std::string::npos);
}

TEST_F(Cli, AConfigurationFileGivesFlagsAndTheCommandLineWins) {
    std::ofstream(folder_ / "my.conf") << "db = from-file.db\n";
    const Ended from_file = run({"status", "--config", "my.conf"});
    EXPECT_NE(from_file.err.find("from-file.db.keys"), std::string::npos) << from_file.err;
    const Ended typed = run({"status", "--config", "my.conf", "--db", "typed.db"});
    EXPECT_NE(typed.err.find("typed.db.keys"), std::string::npos) << typed.err;
    const Ended variable = run({"status", "--config", "my.conf"}, {{"BITSWEEP_DB", "env.db"}});
    EXPECT_NE(variable.err.find("env.db.keys"), std::string::npos) << variable.err;
    EXPECT_EQ(run({"status", "--config", "nothing.conf"}).code, 2);
}

std::vector<std::string> words_of(const std::string& text, const std::string& pattern) {
    const std::regex expression(pattern);
    std::vector<std::string> words;
    for (std::sregex_iterator one(text.begin(), text.end(), expression), end; one != end; ++one) {
        words.push_back((*one)[1]);
    }
    return words;
}

TEST_F(Cli, AConfigurationFileTakesTheFlagsOfEveryCommandAndNothingElse) {
    const std::string flag = "\n  (?:-. \\[ )?--([a-z-]+)";
    const std::vector<std::string> own = words_of(run({"status", "--help"}).out, flag);
    std::set<std::string> others;
    for (const std::string& command : words_of(run({"--help"}).out, "\n  ([a-z]+) ")) {
        for (const std::string& one : words_of(run({command, "--help"}).out, flag)) {
            others.insert(one);
        }
    }
    EXPECT_GT(others.size(), 50u);
    std::ofstream file(folder_ / "my.conf");
    for (const std::string& one : others) {
        file << (std::ranges::find(own, one) == own.end() ? one + " = 1\n" : "");
    }
    file.close();
    const Ended all = run({"status", "--config", "my.conf"});
    EXPECT_EQ(all.code, 3) << all.err;  // as far as a coordinator, which there is not
    std::ofstream(folder_ / "my.conf") << "leese = 5\n";
    const Ended misspelt = run({"status", "--config", "my.conf"});
    EXPECT_EQ(misspelt.code, 2);
    EXPECT_EQ(misspelt.err,
              "bitsweep: my.conf: `leese` is no flag of any command; did you mean `lease`?\n");
}

TEST_F(Cli, SubmitAndStatusWithoutCoordinatorSayWhatToDo) {
    for (const Words& words : {Words{"submit", "small.yaml"}, Words{"status"}}) {
        const Ended ended = run(words);
        EXPECT_EQ(ended.code, 3);
        EXPECT_EQ(ended.out, "");
        EXPECT_NE(ended.err.find("bitsweep serve"), std::string::npos) << ended.err;
        EXPECT_EQ(lines_in(ended.err), 1);
    }
}

TEST_F(Cli, ACoordinatorThatDoesNotAnswerIsGivenUpWithinTwoSeconds) {
    const auto start = std::chrono::steady_clock::now();
    const Ended ended = run({"status", "--coordinator", "tcp://127.0.0.1:1"});
    const auto took = std::chrono::steady_clock::now() - start;
    EXPECT_EQ(ended.code, 3);
    EXPECT_NE(ended.err.find("tcp://127.0.0.1:1"), std::string::npos) << ended.err;
    EXPECT_LT(took, std::chrono::seconds(4));
}

TEST_F(Cli, BadYamlIsNamedByLineAndChangesNothing) {
    std::ofstream(folder_ / "bad.yaml") << "experiment: bad\nmatrix:\n  modle: [llama-pico]\n";
    for (const Words& words : {Words{"submit", "bad.yaml"}, Words{"run", "bad.yaml"}}) {
        const Ended ended = run(words);
        EXPECT_EQ(ended.code, 2);
        EXPECT_NE(ended.err.find("bad.yaml:3:"), std::string::npos) << ended.err;
    }
    EXPECT_FALSE(fs::exists(folder_ / "bitsweep.db"));
    EXPECT_FALSE(fs::exists(folder_ / "bitsweep.db.state"));
}

TEST_F(Cli, AMissingExperimentFileIsNamed) {
    const Ended ended = run({"run", "nothing.yaml"});
    EXPECT_EQ(ended.code, 2);
    EXPECT_NE(ended.err.find("nothing.yaml"), std::string::npos);
}

TEST_F(Cli, ASetWithoutEqualsIsRefused) {
    const Ended ended = run({"run", "small.yaml", "--set", "repeat"});
    EXPECT_EQ(ended.code, 2);
    EXPECT_NE(ended.err.find("key=value"), std::string::npos) << ended.err;
}

TEST_F(Cli, KeysAreMadeListedAndRevoked) {
    const Ended made = run({"keys", "new", "alice", "--role", "work"});
    EXPECT_EQ(made.code, 0) << made.err;
    EXPECT_EQ(made.out, "bitsweep.db.keys/access/alice.json\n");
    const Ended list = run({"keys", "list", "--format", "csv"});
    EXPECT_NE(list.out.find("alice,work,"), std::string::npos) << list.out;
    EXPECT_EQ(run({"keys", "new", "alice", "--role", "work"}).code, 2);
    EXPECT_EQ(run({"keys", "revoke", "alice"}).code, 0);
    EXPECT_EQ(run({"keys", "revoke", "alice"}).code, 2);
    EXPECT_EQ(run({"keys", "new", "bob"}).code, 2);
    EXPECT_EQ(run({"keys", "new", "bob", "--role", "king"}).code, 2);
    EXPECT_EQ(run({"keys", "steal", "bob"}).code, 2);
}

TEST_F(Cli, AnAccessFileSaysWhatAnotherOneSaysOfTheCoordinator) {
    ASSERT_EQ(run({"keys", "new", "first", "--role", "work", "--coordinator", "tcp://h:7421"}).code,
              0);
    ASSERT_EQ(run({"keys", "new", "second", "--role", "read"}).code, 0);
    std::ifstream file(folder_ / "bitsweep.db.keys/access/second.json");
    const std::string text(std::istreambuf_iterator<char>(file), {});
    EXPECT_NE(text.find("tcp://h:7421"), std::string::npos) << text;
    run({"keys", "revoke", "first"});
    run({"keys", "revoke", "second"});
    const Ended none = run({"keys", "new", "third", "--role", "read"});
    EXPECT_EQ(none.code, 2);
    EXPECT_NE(none.err.find("give --coordinator URL"), std::string::npos) << none.err;
}

TEST_F(Cli, AnAnswerThatStandardOutputDoesNotTakeIsAnError) {
    const std::string command =
        bitsweep_program() + " schema > /dev/full 2> " + (folder_ / "err.txt").string();
    EXPECT_EQ(WEXITSTATUS(std::system(command.c_str())), 2);
    std::ifstream file(folder_ / "err.txt");
    const std::string text(std::istreambuf_iterator<char>(file), {});
    EXPECT_NE(text.find("standard output took only part"), std::string::npos) << text;
    EXPECT_EQ(std::system((bitsweep_program() + " schema | head -1 > /dev/null").c_str()), 0);
}

TEST_F(Cli, ARunRefusesAReportThatCannotBeWrittenBeforeItMeasures) {
    const Ended nowhere = run({"run", "small.yaml", "--report", "none/x.html"});
    EXPECT_EQ(nowhere.code, 2);
    EXPECT_NE(nowhere.err.find("--report none/x.html: there is no folder none"), std::string::npos)
        << nowhere.err;
    EXPECT_EQ(run({"run", "small.yaml", "--db", "r.db", "--report", "r.db"}).code, 2);
    EXPECT_FALSE(fs::exists(folder_ / "bitsweep.db") || fs::exists(folder_ / "r.db"));
}

TEST_F(Cli, EveryCommandThatLooksForModelsRefusesAFolderThatIsNone) {
    for (const char* command : {"plan", "submit", "run"}) {
        const Ended refused = run({command, "small.yaml", "--models", "none"});
        EXPECT_EQ(refused.code, 2) << command;
        EXPECT_NE(refused.err.find("--models none is no folder"), std::string::npos) << refused.err;
    }
    const Ended priority = run({"submit", "small.yaml", "--priority", "5000"});
    EXPECT_EQ(priority.code, 2);
    EXPECT_NE(priority.err.find("--priority 5000: from -1000 to 1000"), std::string::npos)
        << priority.err;
}

TEST_F(Cli, AModelPathWhereNothingLiesIsNamedBeforeAnythingStarts) {
    std::ofstream(folder_ / "path.yaml")
        << "experiment: e\nmatrix: {model: {path: ./none}, method: "
           "fp16, gpu: cpu}\n";
    const Ended refused = run({"run", "path.yaml"});
    EXPECT_EQ(refused.code, 2);
    EXPECT_NE(refused.err.find("model none: there is no ./none"), std::string::npos) << refused.err;
    EXPECT_FALSE(fs::exists(folder_ / "bitsweep.db"));
}

TEST_F(Cli, AnAddressBeyondLoopbackWithoutKeysIsRefused) {
    const Ended ended = run({"serve", "--listen", "tcp://0.0.0.0:0", "--no-keys"});
    EXPECT_EQ(ended.code, 3);
    EXPECT_NE(ended.err.find("without keys"), std::string::npos) << ended.err;
}

TEST_F(Cli, ADatabaseThatIsNoneIsRefused) {
    std::ofstream(folder_ / "bitsweep.db") << "this is no database, whatever its name says";
    const Ended ended = run({"serve", "--listen", "tcp://127.0.0.1:0"});
    EXPECT_EQ(ended.code, 2);
    EXPECT_NE(ended.err.find("bitsweep.db"), std::string::npos);
}

class Serving : public Cli {
 protected:
    void SetUp() override {
        Cli::SetUp();
        server_.emplace(folder_,
                        Words{bitsweep_program(), "serve", "--listen", "tcp://127.0.0.1:0"});
        ASSERT_TRUE(server_->says("coordinator at", 10)) << server_->err();
    }
    std::string url() const {
        const std::string text = server_->err();
        const std::size_t start = text.find("tcp://");
        return text.substr(start, text.find(',', start) - start);
    }
    std::optional<Program> server_;
};

TEST_F(Serving, SaysWhereItsAccessFilesAreAndStopsInOrder) {
    EXPECT_NE(server_->err().find("worker.json"), std::string::npos);
    EXPECT_NE(server_->err().find("client.json"), std::string::npos);
    EXPECT_EQ(server_->out(), "");
    server_->signal(SIGTERM);
    EXPECT_EQ(server_->wait(10), 0);
    EXPECT_NE(server_->err().find("the database is complete"), std::string::npos);
}

TEST_F(Cli, ACoordinatorMakesTheAccessFilesThatAreMissingAndTellsOthersWhereItIs) {
    ASSERT_EQ(run({"keys", "new", "gpu1", "--role", "work"}).code, 0);
    Program server(folder_, {bitsweep_program(), "serve", "--listen", "tcp://0.0.0.0:0"});
    ASSERT_TRUE(server.says("clients:", 10)) << server.err();
    EXPECT_NE(server.err().find("access/gpu1.json"), std::string::npos) << server.err();
    EXPECT_NE(server.err().find("access/client.json"), std::string::npos) << server.err();
    for (const char* name : {"gpu1.json", "client.json"}) {
        std::ifstream stream(folder_ / "bitsweep.db.keys/access" / name);
        const std::string access(std::istreambuf_iterator<char>(stream), {});
        EXPECT_EQ(access.find("0.0.0.0"), std::string::npos) << access;
    }
    EXPECT_EQ(run({"status"}).code, 0);
    server.signal(SIGTERM);
    EXPECT_EQ(server.wait(10), 0);
    Program named(folder_, {bitsweep_program(), "serve", "--listen", "tcp://0.0.0.0:0",
                            "--advertise", "head.example"});
    ASSERT_TRUE(named.says("others reach it at tcp://head.example:", 10)) << named.err();
}

TEST_F(Cli, AnAddressThatIsNoneLeavesNothing) {
    const std::vector<Words> wrong = {{"--listen", "foo"},
                                      {"--listen", "tcp://300.1.1.1:0"},
                                      {"--listen", "tcp://0.0.0.0:0", "--no-keys"}};
    for (const Words& words : wrong) {
        Words command = {"serve", "--db", "typo.db"};
        command.insert(command.end(), words.begin(), words.end());
        EXPECT_NE(run(command).code, 0);
        EXPECT_FALSE(fs::exists(folder_ / "typo.db")) << words[1];
        EXPECT_FALSE(fs::exists(folder_ / "typo.db.keys")) << words[1];
    }
}

TEST_F(Serving, StatusShowsAnEmptyCoordinatorInEveryFormat) {
    for (const char* format : {"table", "csv", "json", "jsonl", "markdown"}) {
        const Ended status = run({"status", "--format", format});
        EXPECT_EQ(status.code, 0) << format << status.err;
        EXPECT_FALSE(status.out.empty()) << format;
    }
    EXPECT_EQ(run({"status", "nothing"}).code, 2);
}

TEST_F(Serving, ASubmittedExperimentIsKnownAndSubmittingAgainAddsNothing) {
    const Ended first = run({"submit", "small.yaml", "--format", "csv"});
    EXPECT_EQ(first.code, 0) << first.err;
    EXPECT_NE(first.out.find("small,2,2,0,0,0,0"), std::string::npos) << first.out;
    const Ended again = run({"submit", "small.yaml", "--format", "csv"});
    EXPECT_NE(again.out.find("small,2,0,0,2,0,0"), std::string::npos) << again.out;
    const Ended status = run({"status", "small"});
    EXPECT_NE(status.err.find("no worker is attached"), std::string::npos) << status.err;
}

TEST_F(Serving, ASecondCoordinatorOfTheSameDatabaseIsRefused) {
    const Ended ended = run({"serve", "--listen", "tcp://127.0.0.1:0"});
    EXPECT_EQ(ended.code, 2);
    EXPECT_EQ(lines_in(ended.err), 1) << ended.err;
}

TEST_F(Serving, APortInUseIsNamed) {
    const Ended ended = run({"serve", "--listen", url(), "--db", "other.db"});
    EXPECT_EQ(ended.code, 2);
    EXPECT_NE(ended.err.find("port " + url().substr(url().rfind(':') + 1)), std::string::npos)
        << ended.err;
    EXPECT_FALSE(fs::exists(folder_ / "other.db.keys/access/client.json"));
}

TEST_F(Serving, AWorkerWithAKeyThatIsNotKnownIsToldSo) {
    ASSERT_EQ(run({"keys", "new", "stranger", "--role", "work", "--keys", "others"}).code, 0);
    const Ended ended = run({"worker", "--access", "others/access/stranger.json", "--connect",
                             url(), "--runner", FAKE_RUNNER});
    EXPECT_EQ(ended.code, 3);
    EXPECT_NE(ended.err.find("key"), std::string::npos) << ended.err;
}

TEST_F(Serving, AClientsKeyIsNoWorkersKey) {
    const Ended ended =
        run({"worker", "--access", "bitsweep.db.keys/access/client.json", "--runner", FAKE_RUNNER});
    EXPECT_EQ(ended.code, 3);
    EXPECT_NE(ended.err.find("role"), std::string::npos) << ended.err;
}

TEST_F(Serving, AWorkersKeyCannotSubmit) {
    const Ended ended =
        run({"submit", "small.yaml", "--access", "bitsweep.db.keys/access/worker.json"});
    EXPECT_EQ(ended.code, 3);
    EXPECT_NE(ended.err.find("--role submit"), std::string::npos) << ended.err;
}

TEST_F(Serving, AnAccessFileThatOthersCanReadIsRefused) {
    chmod((folder_ / "bitsweep.db.keys/access/client.json").c_str(), 0644);
    const Ended ended = run({"status"});
    EXPECT_EQ(ended.code, 3);
    EXPECT_NE(ended.err.find("chmod 600"), std::string::npos) << ended.err;
}

TEST_F(Serving, ARevokedClientIsLockedOutWhileTheCoordinatorRuns) {
    EXPECT_EQ(run({"status"}).code, 0);
    fs::copy(folder_ / "bitsweep.db.keys/access/client.json", folder_ / "mine.json");
    EXPECT_EQ(run({"keys", "revoke", "client"}).code, 0);
    EXPECT_EQ(run({"status", "--access", "mine.json"}).code, 3);
}

TEST_F(Serving, AWorkerStopsOnCtrlCWithItsOwnExitCode) {
    Program worker(folder_, {bitsweep_program(), "worker", "--runner", FAKE_RUNNER});
    ASSERT_TRUE(worker.says("waiting for jobs", 10)) << worker.err();
    worker.signal(SIGINT);
    EXPECT_EQ(worker.wait(10), 130);
}

TEST_F(Serving, AWorkerLeavesByItselfAfterItsTime) {
    Program worker(folder_,
                   {bitsweep_program(), "worker", "--runner", FAKE_RUNNER, "--until", "1s"});
    EXPECT_EQ(worker.wait(15), 0) << worker.err();
}

TEST_F(Cli, AWorkerWithoutCoordinatorGivesUpAfterItsPatience) {
    const Ended ended = run(
        {"worker", "--connect", "tcp://127.0.0.1:1", "--runner", FAKE_RUNNER, "--patience", "1"});
    EXPECT_EQ(ended.code, 3);
    EXPECT_NE(ended.err.find("no coordinator answers"), std::string::npos) << ended.err;
}

TEST_F(Cli, AWorkerWithoutRunnerNamesTheFlagThatHelps) {
    const Ended ended = run({"worker", "--connect", "tcp://127.0.0.1:1", "--runner", "nowhere"});
    EXPECT_EQ(ended.code, 2);
    EXPECT_NE(ended.err.find("--runner"), std::string::npos) << ended.err;
}

TEST_F(Cli, DoctorNamesWhatIsLackingAndTheRemedy) {
    const Ended good = run({"doctor", "--runner", FAKE_RUNNER, "--format", "csv"});
    EXPECT_NE(good.out.find("runner,ok,"), std::string::npos) << good.out;
    const Ended bad = run({"doctor", "--runner", "nowhere", "--format", "csv"});
    EXPECT_EQ(bad.code, 1);
    EXPECT_NE(bad.out.find("runner,lacking,"), std::string::npos) << bad.out;
    EXPECT_NE(bad.out.find("scripts/build"), std::string::npos) << bad.out;
    const Ended none =
        run({"doctor", "--runner", FAKE_RUNNER, "--models", "none", "--format", "csv"});
    EXPECT_EQ(none.code, 1);
    EXPECT_NE(none.out.find("models,lacking,--models none is no folder"), std::string::npos)
        << none.out;
}

}  // namespace
}  // namespace bitsweep
