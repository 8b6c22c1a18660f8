// Other tools' files: what is read from them, and what is refused.
#include "results/store/external.h"

#include <fstream>

#include "tests/store/fixture.h"

namespace bitsweep::testing {
namespace {

namespace fs = std::filesystem;

const fs::path published = BITSWEEP_SOURCE_DIR "/results/published";

struct External : ::testing::Test {
    TempFolder folder;
    fs::path write(const char* name, const std::string& text) {
        const fs::path file = folder / name;
        std::ofstream(file, std::ios::binary) << text;
        return file;
    }
    ExternalFile read(const fs::path& file) {
        Result<ExternalFile> read = read_external(file);
        EXPECT_TRUE(read.ok()) << read.error().message;
        return read.ok() ? *read : ExternalFile{};
    }
    std::string error(const char* name, const std::string& text) {
        const Result<ExternalFile> read = read_external(write(name, text));
        EXPECT_FALSE(read.ok()) << name;
        return read.ok() ? "" : read.error().message;
    }
};

const ExternalMeasurement& metric(const ExternalRun& run, const std::string& name) {
    for (const ExternalMeasurement& one : run.measurements) {
        if (one.metric == name) {
            return one;
        }
    }
    ADD_FAILURE() << name << " was not read";
    static const ExternalMeasurement none;
    return none;
}

TEST_F(External, llamaBenchCountsItsMedianNotItsColdMean) {
    const ExternalFile file = read(published / "llama-bench-h100.jsonl");
    EXPECT_EQ(file.format, "llama-bench");
    ASSERT_EQ(file.runs.size(), 18u);
    const ExternalRun& prefill = file.runs[0];
    EXPECT_EQ(prefill.model, "llama 1B");
    EXPECT_EQ(prefill.method, "f16");
    EXPECT_EQ(prefill.gpu, "NVIDIA H100 80GB HBM3");
    EXPECT_EQ(prefill.tool, "llama-bench 0c1e570");
    EXPECT_EQ(prefill.parameters, 1235814400.0);
    EXPECT_NEAR(*prefill.weight_bits, 16, 0.01);
    EXPECT_EQ(prefill.prompt_tokens, 512);
    const ExternalMeasurement& rate = metric(prefill, "prefill_tokens_per_s");
    EXPECT_EQ(rate.value, 70450.4);  // printed: 63952.9
    EXPECT_EQ(rate.samples.size(), 5u);
    const ExternalRun& decode = file.runs[1];
    EXPECT_EQ(metric(decode, "decode_tokens_per_s").value, 699.896);
    EXPECT_EQ(decode.new_tokens, 128);
}

TEST_F(External, llamaBenchAsOneArrayAndAsSqlSayTheSame) {
    const ExternalFile array = read(write("a.json", R"([
      {"build_commit": "abc", "cpu_info": "CPU", "gpu_info": "",
       "model_type": "qwen2 7B Q4_K - Medium",
       "model_size": 4000000000, "model_n_params": 7000000000, "n_prompt": 0, "n_gen": 32,
       "avg_ts": 20.5, "samples_ts": [20, 21]},
      {"model_type": "x 1B F16", "n_prompt": 512, "n_gen": 128, "avg_ts": 3}])"));
    ASSERT_EQ(array.runs.size(), 1u);
    EXPECT_EQ(array.skipped, 1);  // prefill and decode in one number
    EXPECT_EQ(array.runs[0].model, "qwen2 7B");
    EXPECT_EQ(array.runs[0].method, "q4_k - medium");
    EXPECT_EQ(array.runs[0].gpu, "cpu");
    const ExternalFile sql = read(write("b.sql", R"(CREATE TABLE IF NOT EXISTS llama_bench (
      build_commit TEXT, cpu_info TEXT, gpu_info TEXT, backends TEXT, model_type TEXT,
      model_size INTEGER, model_n_params INTEGER, n_prompt INTEGER, n_gen INTEGER, test_time TEXT,
      avg_ts REAL);
      INSERT INTO llama_bench (build_commit, cpu_info, gpu_info, backends, model_type, model_size,
      model_n_params, n_prompt, n_gen, test_time, avg_ts) VALUES ('abc', 'CPU', '', 'CPU',
      'qwen2 7B Q4_K - Medium', '4000000000', '7000000000', '0', '32', '2026', '20.5');)"));
    ASSERT_EQ(sql.runs.size(), 1u);
    EXPECT_EQ(sql.runs[0].method, array.runs[0].method);
    EXPECT_EQ(metric(sql.runs[0], "decode_tokens_per_s").value, 20.5);
    EXPECT_TRUE(metric(sql.runs[0], "decode_tokens_per_s").samples.empty());
    EXPECT_NE(sql.runs[0].note.find("no samples"), std::string::npos);
}

TEST_F(External, sqlThatIsNoDumpReachesNothing) {
    const fs::path victim = write("victim.db", "");
    for (const std::string& text :
         {"CREATE TABLE llama_bench (x); ATTACH '" + victim.string() + "' AS v;",
          std::string("CREATE TABLE llama_bench (x); SELECT load_extension('x');"),
          std::string("CREATE TABLE llama_bench (x); PRAGMA journal_mode = WAL;"),
          std::string("CREATE VIRTUAL TABLE llama_bench USING fts5(x);"),
          std::string("CREATE TABLE other (x);"), std::string("CREATE nonsense")}) {
        EXPECT_NE(error("bad.sql", text).find("SQL"), std::string::npos) << text;
    }
    EXPECT_EQ(fs::file_size(victim), 0u);
}

TEST_F(External, optimumBenchmarkGivesRatesMemoryAndEnergy) {
    const ExternalFile file = read(write("benchmark.json", R"({
      "config": {
        "backend": {"name": "pytorch", "version": "2.4.0", "model": "meta-llama/Llama-3.1-8B",
          "device": "cuda", "torch_dtype": "float16", "quantization_scheme": "bnb",
          "quantization_config": {"load_in_8bit": true, "llm_int8_threshold": 6.0}},
        "scenario": {"name": "inference", "input_shapes": {"batch_size": 2, "sequence_length": 256},
          "generate_kwargs": {"max_new_tokens": 65, "min_new_tokens": 65}},
        "environment": {"cpu": " AMD EPYC", "gpu": ["NVIDIA A10G"],
          "optimum_benchmark_version": "0.5.0"}},
      "report": {
        "prefill": {"latency": {"unit": "s", "values": [0.2, 0.1, 0.1]}},
        "decode": {"latency": {"unit": "s", "values": [4, 2, 2]},
          "memory": {"unit": "MB", "max_allocated": 9000.0},
          "energy": {"unit": "kWh", "gpu": 1e-4}}}})"));
    EXPECT_EQ(file.format, "optimum-benchmark");
    ASSERT_EQ(file.runs.size(), 1u);
    const ExternalRun& run = file.runs[0];
    EXPECT_EQ(run.method, "bnb 8 bits");
    EXPECT_EQ(run.threshold, 6.0);
    EXPECT_EQ(run.gpu, "NVIDIA A10G");
    EXPECT_EQ(run.host, "AMD EPYC");
    EXPECT_EQ(run.batch, 2);
    EXPECT_DOUBLE_EQ(metric(run, "decode_tokens_per_s").value, 64);     // 2 x 64 tokens in 2 s
    EXPECT_DOUBLE_EQ(metric(run, "prefill_tokens_per_s").value, 5120);  // 2 x 256 in 0.1 s
    EXPECT_DOUBLE_EQ(metric(run, "first_token_ns").value, 1e8);
    EXPECT_DOUBLE_EQ(metric(run, "device_memory_bytes").value, 9e9);
    EXPECT_DOUBLE_EQ(metric(run, "energy_per_token").value, 360e3 / 128);  // 360 J
}

TEST_F(External, theSeedsFiguresAreReadAsTheyWerePublished) {
    const ExternalFile file = read(published / "seed-t4.csv");
    EXPECT_EQ(file.format, "csv");
    ASSERT_EQ(file.runs.size(), 4u);
    EXPECT_EQ(file.runs[0].gpu, "Tesla T4");
    EXPECT_EQ(metric(file.runs[0], "decode_tokens_per_s").value, 10.75);
    EXPECT_EQ(file.runs[1].threshold, 6.0);
    EXPECT_EQ(metric(file.runs[1], "decode_tokens_per_s").value, 5.58);
    EXPECT_FALSE(file.runs[3].weight_bits);
}

TEST_F(External, mistakesNameTheLineAndTheNearestWord) {
    const struct {
        const char* text;
        const char* words;
    } cases[] = {
        {"", "empty"},
        {"modle,method,gpu\n", "`modle` is unknown; the nearest is `model`"},
        {"model,method,gpu,decode_tokens_per_s\na,b,c\n", "line 2: 3 fields, the header has 4"},
        {"model,method,gpu,decode_tokens_per_s\na,b,c,fast\n", "line 2, decode_tokens_per_s"},
        {"model,method,gpu,decode_tokens_per_s\na,b,c,-1\n", "a number above 0"},
        {"model,method,gpu,decode_tokens_per_s\na,b,c,nan\n", "a number above 0"},
        {"model,method,gpu,decode_tokens_per_s\na,,c,1\n", "line 2: method is empty"},
        {"model,method,gpu,decode_tokens_per_s\n  ,b,c,1\n", "line 2: model is empty"},
        {"method,gpu,decode_tokens_per_s\nb,c,1\n", "line 1: no column `model`"},
        {"model,method,decode_tokens_per_s\na,b,1\n", "line 1: no column `gpu`"},
        {"model,method,gpu,note,note\na,b,c,d,e\n", "the column `note` stands there twice"},
        {"model,method,gpu,parameters,decode_tokens_per_s\na,b,c,1.5,2\n", "a whole number"},
        {"model,method,gpu,prompt_tokens,decode_tokens_per_s\na,b,c,-1,2\n", "a number from 0"},
        {"model,method,gpu,decode_tokens_per_s\na,b,c,1\na,b,\xfc,1\n", "line 3 is not UTF-8"},
        {"model,method,gpu\na,b,c\n", "line 2: no figure"},
        {"model,method,gpu,batch,decode_tokens_per_s\na,b,c,1.5,2\n", "a whole number"},
        {"model,method,gpu,note\na,b,c,\"x\n", "line 2: a quote that never ends"},
        {"{\"n_gen\": 3}\n", "entry 1 is not llama-bench's"},
        {"{\"n_gen\": 3\n", "line 1 is not JSON"},
        {"[1, 2]", "entry 1 is not llama-bench's"},
        {"{\"config\": 1, \"report\": {}}", "config.backend"},
    };
    for (const auto& c : cases) {
        EXPECT_NE(error("x", c.text).find(c.words), std::string::npos)
            << c.text << ": " << error("x", c.text);
    }
    EXPECT_NE(error("binary", std::string("SQLite format 3\0\1", 17)).find("not text"),
              std::string::npos);
    EXPECT_NE(read_external(folder / "none").error().message.find("No such file"),
              std::string::npos);
}

TEST_F(External, aPromptOfNoTokensIsOneOfAText) {
    const ExternalFile file =
        read(write("x.csv", "model,method,gpu,prompt_tokens,decode_tokens_per_s\na,b,c,0,2\n"));
    ASSERT_EQ(file.runs.size(), 1u);
    EXPECT_EQ(file.runs[0].prompt_tokens, 0);
}

TEST_F(External, aFileIsStoredOnceAndShownInItsView) {
    const fs::path db = folder / "a.db";
    const std::vector<ExternalFile> files = {read(published / "seed-t4.csv"),
                                             read(published / "llama-bench-h100.jsonl")};
    const Result<int> first = store_external(db, files, 5);
    ASSERT_TRUE(first.ok()) << first.error().message;
    EXPECT_EQ(*first, 2);
    EXPECT_EQ(*store_external(db, files, 6), 0);
    const auto store = open_store(db, OpenMode::read_only);
    EXPECT_EQ(number(*store, "SELECT count(*) FROM v_external"), 22);
    EXPECT_EQ(
        number(*store, "SELECT decode_tokens_per_s FROM v_external WHERE method = 'llm.int8'"),
        5.58);
    EXPECT_EQ(number(*store,
                     "SELECT samples FROM v_external WHERE method = 'q4_0' AND model ="
                     " 'llama 8B' AND new_tokens = 128"),
              5);
    EXPECT_EQ(number(*store, "SELECT count(*) FROM v_cells"), 0);
}

TEST_F(External, aDatabaseThatIsBeingWrittenIsLeftAlone) {
    const fs::path db = folder / "a.db";
    const auto owner = open_store(db);
    const Result<int> stored = store_external(db, {read(published / "seed-t4.csv")}, 5);
    ASSERT_FALSE(stored.ok());
    EXPECT_EQ(stored.error().code, ErrorCode::already_exists);
}

}  // namespace
}  // namespace bitsweep::testing
