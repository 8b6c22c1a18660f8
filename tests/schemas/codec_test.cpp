#include "schemas/codec.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>

namespace bitsweep {
namespace {

using Json = nlohmann::json;

// A spec in which no field has its default.
JobSpec every_field() {
    JobSpec spec;
    spec.model = {"llama-nano", WeightsSource::random, 7, "/models/llama-nano"};
    spec.method = "llmint8-bnb";
    spec.threshold = 6.5;
    spec.head_bits = 8;
    spec.kv = "int8";
    spec.gpu = "H200";
    spec.batch = 3;
    spec.prompt = "Grüße \"quoted\" \n";
    spec.prompt_tokens = 17;
    spec.new_tokens = 32;
    spec.stop_at_eos = true;
    spec.warmup = 2;
    spec.protocol = Protocol::seed_report;
    spec.quality = {QualityMode::off, "other-text", 4096, 256};
    spec.threads = 2;
    spec.seed = 9007199254740991;
    spec.repeat = 4;
    return spec;
}

RunResult every_result_field() {
    RunResult result;
    result.key = JobKey{std::string(64, 'a')};
    result.attempt = Attempt{3};
    result.outcome = {OutcomeClass::crash, "the runner died", "signal 11"};
    result.started_unix_ms = 1'700'000'000'000;
    result.finished_unix_ms = 1'700'000'001'000;
    result.weights_digest = std::string(64, 'b');
    result.dataset_digest = std::string(64, 'c');
    result.measurements = {{"decode_tokens_per_s", "token/s", 2, 12.75}};
    result.samples = {{"token_latency", "ns", {1.5e7, 1.25e7}}};
    result.generated = {{1, 2}, {3}, " ok"};
    result.provenance = {{"cpu", "AMD"}, {"flags", "avx2"}};
    return result;
}

template <class T>
const T& as(const Message& message) {
    return std::get<T>(message);
}

Message through(const Message& message) {
    Result<Message> back = message_from_json(to_json(message));
    EXPECT_TRUE(back.ok()) << (back.ok() ? "" : back.error().message) << "\n" << to_json(message);
    return back.ok() ? std::move(back).value() : Message{};
}

TEST(Codec, EveryFieldOfAJobSurvivesTheRoundTrip) {
    const JobSpec spec = every_field();
    const std::string json = to_json(spec);
    const Result<JobSpec> back = job_from_json(json);
    ASSERT_TRUE(back.ok()) << back.error().message;
    EXPECT_EQ(to_json(*back), json);
    EXPECT_EQ(back->model.name, "llama-nano");
    EXPECT_EQ(back->model.weights, WeightsSource::random);
    EXPECT_EQ(back->model.weights_seed, 7u);
    EXPECT_EQ(back->model.path, "/models/llama-nano");
    EXPECT_EQ(back->method, "llmint8-bnb");
    EXPECT_EQ(back->threshold, 6.5);
    EXPECT_EQ(back->head_bits, 8);
    EXPECT_EQ(back->kv, "int8");
    EXPECT_EQ(back->gpu, "H200");
    EXPECT_EQ(back->batch, 3);
    EXPECT_EQ(back->prompt, spec.prompt);
    EXPECT_EQ(back->prompt_tokens, 17);
    EXPECT_EQ(back->new_tokens, 32);
    EXPECT_TRUE(back->stop_at_eos);
    EXPECT_EQ(back->warmup, 2);
    EXPECT_EQ(back->protocol, Protocol::seed_report);
    EXPECT_EQ(back->quality.mode, QualityMode::off);
    EXPECT_EQ(back->quality.text, "other-text");
    EXPECT_EQ(back->quality.tokens, 4096);
    EXPECT_EQ(back->quality.window, 256);
    EXPECT_EQ(back->threads, 2);
    EXPECT_EQ(back->seed, 9007199254740991u);
    EXPECT_EQ(back->repeat, 4);
}

TEST(Codec, AJobWithoutThresholdHasNoneAfterTheRoundTrip) {
    JobSpec spec;
    spec.model.name = "gpt2";
    spec.method = "fp16";
    const Result<JobSpec> back = job_from_json(to_json(spec));
    ASSERT_TRUE(back.ok()) << back.error().message;
    EXPECT_FALSE(back->threshold.has_value());
    EXPECT_EQ(to_json(spec).find("threshold"), std::string::npos);
}

TEST(Codec, EveryFieldOfAResultSurvivesTheRoundTrip) {
    const RunResult result = every_result_field();
    const std::string json = to_json(result);
    const Result<RunResult> back = result_from_json(json);
    ASSERT_TRUE(back.ok()) << back.error().message;
    EXPECT_EQ(to_json(*back), json);
    EXPECT_EQ(back->key, result.key);
    EXPECT_EQ(back->attempt, result.attempt);
    EXPECT_EQ(back->outcome.outcome, OutcomeClass::crash);
    EXPECT_EQ(back->outcome.message, "the runner died");
    EXPECT_EQ(back->outcome.evidence, "signal 11");
    EXPECT_EQ(back->started_unix_ms, result.started_unix_ms);
    EXPECT_EQ(back->finished_unix_ms, result.finished_unix_ms);
    EXPECT_EQ(back->weights_digest, result.weights_digest);
    EXPECT_EQ(back->dataset_digest, result.dataset_digest);
    ASSERT_EQ(back->measurements.size(), 1u);
    EXPECT_EQ(back->measurements[0].metric, "decode_tokens_per_s");
    EXPECT_EQ(back->measurements[0].unit, "token/s");
    EXPECT_EQ(back->measurements[0].sample, 2);
    EXPECT_EQ(back->measurements[0].value, 12.75);
    ASSERT_EQ(back->samples.size(), 1u);
    EXPECT_EQ(back->samples[0].values, result.samples[0].values);
    EXPECT_EQ(back->generated.prompt_ids, result.generated.prompt_ids);
    EXPECT_EQ(back->generated.new_ids, result.generated.new_ids);
    EXPECT_EQ(back->generated.text, " ok");
    EXPECT_EQ(back->provenance, result.provenance);
}

TEST(Codec, EveryOutcomeClassHasANameThatReadsBack) {
    for (int i = 0; i <= static_cast<int>(OutcomeClass::cancelled); ++i) {
        RunResult result = every_result_field();
        result.outcome.outcome = static_cast<OutcomeClass>(i);
        const Result<RunResult> back = result_from_json(to_json(result));
        ASSERT_TRUE(back.ok()) << back.error().message;
        EXPECT_EQ(back->outcome.outcome, result.outcome.outcome);
    }
}

TEST(Codec, ANumberThatIsNotFiniteIsNullInJsonAndNanWhenReadBack) {
    RunResult result = every_result_field();
    const double inf = std::numeric_limits<double>::infinity();
    const double nan = std::numeric_limits<double>::quiet_NaN();
    result.measurements = {{"perplexity", "1", 0, nan}, {"kl_mean", "nat", 0, inf}};
    result.samples = {{"token_latency", "ns", {1, nan, -inf}}};
    const std::string json = to_json(result);
    EXPECT_EQ(json.find(":nan"), std::string::npos);
    EXPECT_EQ(json.find(":inf"), std::string::npos);
    const Result<RunResult> back = result_from_json(json);
    ASSERT_TRUE(back.ok()) << back.error().message;
    EXPECT_TRUE(std::isnan(back->measurements[0].value));
    EXPECT_TRUE(std::isnan(back->measurements[1].value));
    EXPECT_EQ(back->samples[0].values[0], 1);
    EXPECT_TRUE(std::isnan(back->samples[0].values[1]));
    EXPECT_TRUE(std::isnan(back->samples[0].values[2]));
}

TEST(Codec, BytesOfACrashThatAreNotUtf8AreReplacedAndTheEvidenceKeepsItsTail) {
    RunResult result = every_result_field();
    result.outcome.evidence = std::string(max_evidence_bytes, 'x') + "tail \xff\xfe";
    result.outcome.message = "head" + std::string(2 * max_line_bytes, 'y');
    const Result<RunResult> back = result_from_json(to_json(result));
    ASSERT_TRUE(back.ok()) << back.error().message;
    EXPECT_TRUE(back->outcome.evidence.ends_with("tail \xEF\xBF\xBD\xEF\xBF\xBD"));
    EXPECT_TRUE(back->outcome.message.starts_with("head"));
    EXPECT_EQ(back->outcome.message.size(), max_line_bytes);
    const Message delivery = through(ResultDelivery{SessionId{"s1"}, result});
    EXPECT_TRUE(as<ResultDelivery>(delivery).result.outcome.evidence.size() <=
                max_evidence_bytes + 8);
}

TEST(Codec, TheMessagesOfAWorkerSurviveTheRoundTrip) {
    DeviceInfo device{"cuda:0",   "H200-141GB-700W", "NVIDIA H200",
                      1ull << 37, 1ull << 36,        {{"driver", "570"}}};
    const RunningJob running{JobKey{std::string(64, 'd')}, Attempt{2}};
    const Message hello = through(Hello{WorkerName{"node-1"},
                                        SessionId{"s-9"},
                                        "host.local",
                                        "0.1.0",
                                        {device},
                                        {"llama-nano"},
                                        {running}});
    EXPECT_EQ(as<Hello>(hello).worker.value, "node-1");
    EXPECT_EQ(as<Hello>(hello).devices.at(0).memory_bytes, 1ull << 37);
    EXPECT_EQ(as<Hello>(hello).devices.at(0).free_bytes, 1ull << 36);
    EXPECT_EQ(as<Hello>(hello).devices.at(0).kind, "H200-141GB-700W");
    EXPECT_EQ(as<Hello>(hello).devices.at(0).facts.at("driver"), "570");
    EXPECT_EQ(as<Hello>(hello).models.at(0), "llama-nano");
    EXPECT_EQ(as<Hello>(hello).running.at(0).attempt.value, 2u);
    EXPECT_EQ(as<Hello>(hello).host, "host.local");
    EXPECT_EQ(as<Hello>(hello).version, "0.1.0");

    const Message beat = through(Heartbeat{SessionId{"s-9"}, {running}});
    EXPECT_EQ(as<Heartbeat>(beat).running.at(0).key, running.key);
    const Message started = through(Started{SessionId{"s-9"}, running.key, Attempt{2}, "cpu"});
    EXPECT_EQ(as<Started>(started).device, "cpu");
    EXPECT_EQ(as<Goodbye>(through(Goodbye{SessionId{"s-9"}})).session.value, "s-9");
    const Message result = through(ResultDelivery{SessionId{"s-9"}, every_result_field()});
    EXPECT_EQ(to_json(as<ResultDelivery>(result).result), to_json(every_result_field()));
}

TEST(Codec, TheMessagesOfACoordinatorSurviveTheRoundTrip) {
    const JobKey key{std::string(64, 'e')};
    const Message welcome = through(Welcome{Duration{1000}, Duration{15'000}, "d1"});
    EXPECT_EQ(as<Welcome>(welcome).database, "d1");
    EXPECT_EQ(as<Welcome>(welcome).heartbeat.ms, 1000);
    EXPECT_EQ(as<Welcome>(welcome).lease.ms, 15'000);
    const Message dispatch =
        through(Dispatch{key, Attempt{1}, "cuda:1", Duration{600'000}, every_field(), "aa", "bb"});
    EXPECT_EQ(to_json(as<Dispatch>(dispatch).spec), to_json(every_field()));
    EXPECT_EQ(as<Dispatch>(dispatch).timeout.ms, 600'000);
    EXPECT_EQ(as<Dispatch>(dispatch).weights_digest, "aa");
    EXPECT_EQ(as<Dispatch>(dispatch).dataset_digest, "bb");
    EXPECT_EQ(as<Cancel>(through(Cancel{key, Attempt{1}, "why"})).reason, "why");
    EXPECT_EQ(as<ResultAck>(through(ResultAck{key, Attempt{4}})).attempt.value, 4u);
    EXPECT_TRUE(std::holds_alternative<Drain>(through(Drain{})));
    const Message refusal = through(Refusal{ErrorCode::not_found, "no such experiment", 1});
    EXPECT_EQ(as<Refusal>(refusal).code, ErrorCode::not_found);
    EXPECT_EQ(as<Refusal>(refusal).reason, "no such experiment");
}

TEST(Codec, TheMessagesOfAClientSurviveTheRoundTrip) {
    Cell cell;
    cell.spec = every_field();
    cell.identity = {std::string(64, 'f'), "w", "d", 3};
    cell.policy = {-5, Duration{1234}, 1, 2};
    cell.yaml_line = 12;
    const Message submit = through(Submit{ExperimentName{"int8-crossover"},
                                          "experiment: x\n",
                                          {cell},
                                          true,
                                          true,
                                          {{"paper", "seed"}}});
    const Submit& back = as<Submit>(submit);
    EXPECT_EQ(back.experiment.value, "int8-crossover");
    EXPECT_EQ(back.yaml, "experiment: x\n");
    EXPECT_TRUE(back.force);
    EXPECT_TRUE(back.retry_failed);
    EXPECT_EQ(back.tags.at("paper"), "seed");
    ASSERT_EQ(back.cells.size(), 1u);
    EXPECT_EQ(back.cells[0].identity.numerics_revision, 3);
    EXPECT_EQ(back.cells[0].identity.spec_key, "") << "follows from the spec";
    EXPECT_EQ(back.cells[0].policy.priority, -5);
    EXPECT_EQ(back.cells[0].policy.timeout.ms, 1234);
    EXPECT_EQ(back.cells[0].policy.retries_crash, 1);
    EXPECT_EQ(back.cells[0].policy.retries_fail, 2);
    EXPECT_EQ(back.cells[0].yaml_line, 12);

    EXPECT_TRUE(as<StatusRequest>(through(StatusRequest{})).experiment.empty());
    EXPECT_TRUE(std::holds_alternative<Shutdown>(through(Shutdown{})));
    const Message submitted = through(Submitted{ExperimentName{"e"}, 6, 5, 4, 3, 2, 1});
    EXPECT_EQ(as<Submitted>(submitted).cells, 6);
    EXPECT_EQ(as<Submitted>(submitted).impossible, 1);
    StatusReply reply;
    reply.experiments = {{ExperimentName{"e"},
                          {{"done", 3}},
                          {{"crash", 1}},
                          {{"lost", 2}},
                          {"no worker has llama-3.2-1b"},
                          5000}};
    reply.workers = {{WorkerName{"w"}, "h", "busy", {}, {}, 250}};
    reply.state = "running";
    const Message status = through(reply);
    EXPECT_EQ(as<StatusReply>(status).experiments.at(0).jobs.at("done"), 3);
    EXPECT_EQ(as<StatusReply>(status).experiments.at(0).eta_ms, 5000);
    EXPECT_EQ(as<StatusReply>(status).workers.at(0).silent_ms, 250);
}

// ---- what is refused

std::string refused(const std::string& json) {
    const Result<Message> message = message_from_json(json);
    return message.ok() ? "accepted" : message.error().message;
}

TEST(Codec, AnotherProtocolVersionIsRefusedBeforeAnythingElseIsLookedAt) {
    const Result<Message> message =
        message_from_json(R"({"protocol": 5, "type": "of the future"})");
    ASSERT_FALSE(message.ok());
    EXPECT_EQ(message.error().code, ErrorCode::unsupported);
    EXPECT_EQ(message.error().message,
              "message: protocol 5; this side speaks protocol 4: install the same release on both");
    EXPECT_EQ(refused(R"({"type": "drain"})"),
              "message: no protocol version; this side speaks protocol 4");
    EXPECT_EQ(refused(R"({"protocol": "4", "type": "drain"})"),
              "message: no protocol version; this side speaks protocol 4");
}

TEST(Codec, AnUnknownMessageTypeIsRefused) {
    EXPECT_EQ(refused(R"({"protocol": 4, "type": "execute"})"),
              "message: type: unknown type 'execute'");
    EXPECT_EQ(refused(R"({"protocol": 4})"), "message: type: a message names its type");
    EXPECT_EQ(refused("[]"), "message: a message is a JSON object");
}

TEST(Codec, AnUnknownFieldIsRefused) {
    EXPECT_EQ(refused(R"({"protocol": 4, "type": "drain", "shell": "rm"})"),
              "message drain: no such field 'shell'");
}

TEST(Codec, AMissingFieldIsRefusedByName) {
    EXPECT_EQ(refused(R"({"protocol": 4, "type": "heartbeat", "session": "s"})"),
              "message heartbeat: the field 'running' is missing");
}

TEST(Codec, AWrongTypeIsRefusedWithItsPath) {
    Json job = Json::parse(to_json(every_field()));
    job["batch"] = "3";
    const Result<JobSpec> spec = job_from_json(job.dump());
    ASSERT_FALSE(spec.ok());
    EXPECT_EQ(spec.error().code, ErrorCode::invalid_input);
    EXPECT_EQ(spec.error().message,
              "job: batch: \"3\" is refused: Value type not permitted by 'type' constraint.");
}

TEST(Codec, NumbersOutsideTheirBoundsAreRefused) {
    const auto with = [](const char* field, const Json& value) {
        Json job = Json::parse(to_json(every_field()));
        job[field] = value;
        const Result<JobSpec> spec = job_from_json(job.dump());
        return spec.ok() ? "accepted" : spec.error().message;
    };
    EXPECT_NE(with("batch", 0), "accepted");
    EXPECT_NE(with("batch", 5000), "accepted");
    EXPECT_NE(with("batch", 1.5), "accepted");
    EXPECT_NE(with("new_tokens", -1), "accepted");
    EXPECT_NE(with("new_tokens", 18446744073709551615ull), "accepted");
    EXPECT_NE(with("seed", 9007199254740992ull), "accepted");
    EXPECT_NE(with("threshold", -0.5), "accepted");
    EXPECT_NE(with("head_bits", 7), "accepted");
    EXPECT_NE(with("kv", "int4"), "accepted");
    EXPECT_NE(with("protocol", "fast"), "accepted");
    EXPECT_NE(with("prompt", std::string((1u << 20) + 1, 'x')), "accepted");
    EXPECT_EQ(with("batch", 4096), "accepted");
}

TEST(Codec, ANameThatCouldLeaveAFolderIsRefused) {
    for (const char* key : {"../x", "a/b", "a b", ".hidden", "-rf", "a\\u0000b"}) {
        const std::string json = std::string(R"({"protocol":4,"type":"result_ack","attempt":1,)") +
                                 R"("key":")" + key + R"("})";
        EXPECT_NE(refused(json).find("is not a name"), std::string::npos) << refused(json);
    }
}

TEST(Codec, TextThatIsNotJsonIsCorrupt) {
    for (const char* text : {"", "{", "nul", "{\"protocol\": 2,}", "\xff\xfe", "{\"a\":1e999}"}) {
        const Result<Message> message = message_from_json(text);
        ASSERT_FALSE(message.ok()) << text;
        EXPECT_EQ(message.error().code, ErrorCode::corrupt) << text;
    }
}

TEST(Codec, DepthAndSizeAndCountAreBoundedBeforeParsing) {
    const std::string deep(100'000, '[');
    EXPECT_EQ(refused(deep), "message: JSON nested deeper than 16 levels at byte 16");
    // Brackets inside a string do not nest.
    EXPECT_EQ(refused("\"" + deep + "\""), "message: a message is a JSON object");
    EXPECT_EQ(refused("\"\\\"" + deep + "\""), "message: a message is a JSON object");
    std::string many = "[0";
    for (std::size_t i = 0; i < max_json_values + 1; ++i) {
        many += ",0";
    }
    EXPECT_NE(refused(many + "]").find("the limit is 8000000"), std::string::npos);
    EXPECT_NE(refused(std::string(max_json_bytes + 1, ' ')).find("the limit is 67108864"),
              std::string::npos);
}

TEST(Codec, ASubmissionOfAHundredThousandCellsFitsOneMessage) {
    Submit submit;
    submit.experiment = ExperimentName{"large"};
    Cell cell;
    cell.spec = every_field();
    cell.spec.model.path.clear();
    cell.identity.spec_key = std::string(64, 'f');
    submit.cells.assign(100'000, cell);
    for (Cell& one : submit.cells) {
        one.spec.seed -= static_cast<std::uint64_t>(&one - submit.cells.data());
    }
    const std::string json = to_json(Message(submit));
    EXPECT_LT(json.size(), submit.cells.size() * 32);
    const Result<Message> back = message_from_json(json);
    ASSERT_TRUE(back.ok()) << back.error().message;
    EXPECT_EQ(as<Submit>(*back).cells.size(), submit.cells.size());
}

}  // namespace
}  // namespace bitsweep
