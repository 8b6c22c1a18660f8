// The identity of a cell. The keys below are promises: a database of an older release is read by
// them. A key that changes here means that every stored result is measured again.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "schemas/catalog/stored_keys.h"
#include "schemas/cell_numbers.h"
#include "schemas/codec.h"
#include "schemas/content.h"

namespace bitsweep {
namespace {

using Json = nlohmann::json;

JobSpec plain() {
    JobSpec spec;
    spec.model.name = "llama-nano";
    spec.method = "fp16";
    return spec;
}

template <class Edit>
std::string key_of(Edit edit) {
    JobSpec spec = plain();
    edit(spec);
    return spec_key(spec);
}

struct Golden {
    const char* key;
    JobSpec spec;
};

std::vector<Golden> golden() {
    JobSpec seed = plain();
    seed.model.name = "smollm2-135m";
    seed.method = "llmint8-bnb";
    seed.threshold = 6;
    seed.new_tokens = 10;
    seed.protocol = Protocol::seed_report;
    seed.quality.tokens = 0;
    JobSpec half = seed;
    half.threshold = 0.5;
    JobSpec large = seed;
    large.threshold = 100'000;
    JobSpec text = plain();
    text.prompt = "Gr\xC3\xBC\xC3\x9F\x65 \"you\"\\\n\t\x01";
    JobSpec random = plain();
    random.model = {"llama-3.2-1b", WeightsSource::random, 9007199254740991, ""};
    random.method = "int4-g64";
    random.head_bits = 4;
    JobSpec later = plain();
    later.repeat = 2;
    JobSpec prefill = plain();
    prefill.prompt_tokens = 256;
    prefill.quality.text = "other";
    JobSpec card = plain();
    card.gpu = "H200-141GB-700W";
    card.kv = "int8";
    card.batch = 8;
    card.threads = 2;
    card.seed = 3;
    card.stop_at_eos = true;
    card.protocol = Protocol::headline;
    return {{"cc95d3ec1bd5676104b7498e42bc5674c1cffa8bfa81f810ce375637df12e47f", plain()},
            {"4e2439d0479e91275ce8f6aecb0e25adc02055541de5339fbf46c23405679282", seed},
            {"04793eea74142645296391281cb3e74a254c06288ee9bfa5f7400c429d5d82a2", half},
            {"965773b717eb9ccde1d9b168ed7edfba402d5440dea69f2ad1db09014c2e77fa", large},
            {"c31263c1930aef2725c1ebbe65fc7aa954d7c9d2da6944312183d7333e66bd01", text},
            {"83f6cfd2d5b2742abd06e3568dbfe4a36d443136a707fbe827255be876e7c624", random},
            {"9eb5dc066ffbcc0b4b6612657be236dbbcae5992034ef3da6a6eb0f10e52f50a", later},
            {"9fb888bd71bdadcbbfc9c15c66f96d05275d5371379fdf081da3dff3261f7d0c", prefill},
            {"3f7664c44e95ac4e84aaf67aa01512d8e5323f39561e01088340c477dd109198", card}};
}

TEST(Canonical, TheKeysOfTheGoldenListNeverChange) {
    for (const Golden& one : golden()) {
        EXPECT_EQ(spec_key(one.spec), one.key) << canonical_json(one.spec);
    }
}

TEST(Canonical, ThePlainCellReadsAsDocumented) {
    EXPECT_EQ(canonical_json(plain()),
              R"({"batch":1,"gpu":"cpu","head_bits":16,"kv":"16","method":"fp16",)"
              R"("model":{"name":"llama-nano","weights":"real"},"new_tokens":128,)"
              R"("prompt":"Hello, how are you?","protocol":"standard",)"
              R"("quality":{"text":"heldout-fiction","tokens":2048,"window":512},)"
              R"("repeat":0,"seed":0,"stop_at_eos":false,"threads":0})");
}

TEST(Canonical, ItIsJsonWithSortedKeysAndWithoutSpaces) {
    for (const Golden& one : golden()) {
        const std::string text = canonical_json(one.spec);
        const Json json = Json::parse(text);  // std::map: sorted
        std::vector<std::string> order;
        for (std::size_t i = 0; i < text.size(); ++i) {
            if (text.compare(i, 2, "\":") == 0) {
                const std::size_t start = text.rfind('"', i - 1);
                order.push_back(text.substr(start + 1, i - start - 1));
            }
        }
        std::vector<std::string> want;
        for (const auto& [key, value] : json.items()) {
            want.push_back(key);
            if (value.is_object()) {
                for (const auto& [inner, ignored] : value.items()) {
                    want.push_back(inner);
                }
            }
        }
        // The only other `":` is inside the odd prompt, which has none.
        EXPECT_EQ(order, want) << text;
    }
}

TEST(Canonical, TextSurvivesItsEscapes) {
    JobSpec spec = plain();
    spec.prompt = "a\"b\\c\n\r\t\x01\x1f \xE2\x82\xAC";
    EXPECT_EQ(Json::parse(canonical_json(spec)).at("prompt"), spec.prompt);
}

TEST(Canonical, FieldsThatAreNotReadDoNotChangeTheKey) {
    const std::string key = spec_key(plain());
    EXPECT_EQ(key_of([](JobSpec& s) { s.threshold = 6; }), key);
    EXPECT_EQ(key_of([](JobSpec& s) { s.model.path = "/elsewhere"; }), key);
    EXPECT_EQ(key_of([](JobSpec& s) { s.model.name = "LLaMA-Nano"; }), key);
    EXPECT_EQ(key_of([](JobSpec& s) { s.model.weights_seed = 4; }), key);
    EXPECT_EQ(key_of([](JobSpec& s) { s.warmup = 9; }), key);  // standard warms up until steady

    const auto later = [](JobSpec& s) { s.repeat = 1; };
    EXPECT_EQ(key_of([&](JobSpec& s) {
                  later(s);
                  s.quality.tokens = 9;
                  s.quality.window = 9;
                  s.quality.mode = QualityMode::off;
              }),
              key_of(later));
    EXPECT_EQ(key_of([](JobSpec& s) {
                  s.prompt_tokens = 5;
                  s.prompt = "x";
              }),
              key_of([](JobSpec& s) { s.prompt_tokens = 5; }));
}

TEST(Canonical, EveryFieldThatIsReadChangesTheKey) {
    const std::string key = spec_key(plain());
    std::vector<std::string> keys = {
        key,
        key_of([](JobSpec& s) { s.model.name = "gpt2-nano"; }),
        key_of([](JobSpec& s) { s.method = "int8"; }),
        key_of([](JobSpec& s) { s.head_bits = 8; }),
        key_of([](JobSpec& s) { s.kv = "int8"; }),
        key_of([](JobSpec& s) { s.gpu = "T4"; }),
        key_of([](JobSpec& s) { s.batch = 2; }),
        key_of([](JobSpec& s) { s.prompt = "x"; }),
        key_of([](JobSpec& s) { s.prompt_tokens = 1; }),
        key_of([](JobSpec& s) { s.new_tokens = 1; }),
        key_of([](JobSpec& s) { s.stop_at_eos = true; }),
        key_of([](JobSpec& s) { s.protocol = Protocol::quick; }),
        key_of([](JobSpec& s) { s.quality.mode = QualityMode::off; }),
        key_of([](JobSpec& s) { s.quality.text = "other"; }),
        key_of([](JobSpec& s) { s.quality.tokens = 1; }),
        key_of([](JobSpec& s) { s.quality.window = 64; }),
        key_of([](JobSpec& s) { s.threads = 1; }),
        key_of([](JobSpec& s) { s.seed = 1; }),
        key_of([](JobSpec& s) { s.repeat = 1; }),
        key_of([](JobSpec& s) { s.model.weights = WeightsSource::random; })};
    const auto with_threshold = [&](double threshold) {
        return key_of([&](JobSpec& s) {
            s.method = "llmint8-bnb";
            s.threshold = threshold;
        });
    };
    keys.push_back(with_threshold(0));
    keys.push_back(with_threshold(6));
    keys.push_back(with_threshold(6.000000000000001));
    keys.push_back(key_of([](JobSpec& s) {
        s.protocol = Protocol::quick;
        s.warmup = 2;
    }));
    keys.push_back(key_of([](JobSpec& s) {
        s.model.weights = WeightsSource::random;
        s.model.weights_seed = 1;
    }));
    keys.push_back(key_of([](JobSpec& s) {
        s.prompt_tokens = 1;
        s.quality.text = "other";
    }));
    const std::size_t count = keys.size();
    std::ranges::sort(keys);
    const auto repeated = std::ranges::unique(keys);
    EXPECT_EQ(static_cast<std::size_t>(repeated.begin() - keys.begin()), count);
}

TEST(Canonical, AZeroIsAZeroWhateverItsSign) {
    const auto with = [](double threshold) {
        return key_of([&](JobSpec& s) {
            s.method = "llmint8-bnb";
            s.threshold = threshold;
        });
    };
    EXPECT_EQ(with(0.0), with(-0.0));
}

TEST(Canonical, TheRoundTripThroughJsonKeepsTheKey) {
    for (const Golden& one : golden()) {
        if (one.spec.prompt.find('\x01') != std::string::npos) {
            continue;  // tested above
        }
        const Result<JobSpec> back = job_from_json(to_json(one.spec));
        ASSERT_TRUE(back.ok()) << back.error().message;
        EXPECT_EQ(spec_key(*back), spec_key(one.spec));
    }
}

// Stored databases hold them: they are the spec keys of these two changed specs.
TEST(Canonical, SeriesAndSettingAreTheCellWithoutItsRepeatAndWithoutItsMethod) {
    std::vector<JobSpec> specs;
    for (const Golden& one : golden()) {
        specs.push_back(one.spec);
    }
    JobSpec rich = plain();
    rich.method = "mixed";
    rich.policy = "{}";
    rich.alpha = 0.5;
    rich.threshold = 3;
    rich.calibration = CalibrationSpec{};
    rich.quality = {QualityMode::layers, "other-text", 7, 9};
    rich.repeat = 3;
    for (const char* method :
         {"mixed", "smoothquant", "gptq-g128", "llmint8-bnb", "not-a-method"}) {
        rich.method = method;
        for (const std::int64_t tokens : {0, 64}) {
            rich.prompt_tokens = tokens;
            specs.push_back(rich);
        }
    }
    StoredForms forms;
    for (const JobSpec& spec : specs) {
        JobSpec series = spec;
        series.repeat = 0;
        series.quality = {};
        EXPECT_EQ(series_key(spec), spec_key(series)) << spec.method;
        JobSpec setting = series;
        setting.method = "fp16";
        setting.threshold.reset();
        EXPECT_EQ(setting_key(spec), spec_key(setting)) << spec.method;
        const StoredKeys& stored = forms.of(spec, spec_key(spec));
        EXPECT_EQ(stored.series, series_key(spec));
        EXPECT_EQ(stored.setting, setting_key(spec));
        EXPECT_EQ(fill_marks(forms.marked(), spec), canonical_json(spec));
        EXPECT_EQ(fill_marks(to_marked_json(spec), spec), to_json(spec));
    }
}

// Every member of a spec takes one of two values, alone and beside others, in an order that makes
// every form follow every kind of other one.
TEST(CanonicalForms, of_one_spec_after_another_are_those_of_each_alone) {
    const std::vector<std::function<void(JobSpec&)>> changes = {
        [](JobSpec& s) { s.model.name = "GPT2-xl"; },
        [](JobSpec& s) { s.model.weights = WeightsSource::random; },
        [](JobSpec& s) { s.model.weights_seed = 9; },
        [](JobSpec& s) { s.model.path = "/elsewhere"; },
        [](JobSpec& s) { s.method = "llmint8-bnb"; },
        [](JobSpec& s) { s.method = "gptq-int4-g128"; },
        [](JobSpec& s) { s.method = "smoothquant-o1"; },
        [](JobSpec& s) { s.method = "mixed"; },
        [](JobSpec& s) { s.threshold = 2.5; },
        [](JobSpec& s) { s.calibration = CalibrationSpec{}; },
        [](JobSpec& s) {
            s.calibration = CalibrationSpec{"t", 1, 2, 3, 4};
        },
        [](JobSpec& s) { s.alpha = 0.75; },
        [](JobSpec& s) { s.policy = "{}"; },
        [](JobSpec& s) { s.head_bits = 8; },
        [](JobSpec& s) { s.kv = "int8"; },
        [](JobSpec& s) { s.gpu = "T4"; },
        [](JobSpec& s) { s.batch = 1234567; },
        [](JobSpec& s) { s.prompt = "\x01 and \x05, \"quoted\""; },
        [](JobSpec& s) { s.prompt_tokens = 64; },
        [](JobSpec& s) { s.new_tokens = 1; },
        [](JobSpec& s) { s.stop_at_eos = true; },
        [](JobSpec& s) { s.warmup = 7; },
        [](JobSpec& s) { s.protocol = Protocol::quick; },
        [](JobSpec& s) { s.quality.mode = QualityMode::layers; },
        [](JobSpec& s) { s.quality.mode = QualityMode::off; },
        [](JobSpec& s) { s.quality.text = "other"; },
        [](JobSpec& s) { s.quality.tokens = 5; },
        [](JobSpec& s) { s.quality.window = 6; },
        [](JobSpec& s) { s.threads = 2; },
        [](JobSpec& s) { s.seed = 0xffff'ffff'ffff'ffffu; },
        [](JobSpec& s) { s.repeat = 3; },
    };
    StoredForms stored;
    CanonicalForms forms;
    std::map<std::size_t, std::string> by_serial;
    for (std::size_t i = 0; i < changes.size(); ++i) {
        for (std::size_t k = 0; k < changes.size(); ++k) {
            for (const bool both : {false, true}) {
                JobSpec spec = plain();
                changes[i](spec);
                if (both) {
                    changes[k](spec);
                }
                const std::string alone = canonical_json(spec);
                EXPECT_EQ(forms.of(spec), alone) << i << " " << k;
                EXPECT_EQ(fill_marks(forms.marked(), spec), alone) << i << " " << k;
                const std::string& marked =
                    by_serial.try_emplace(forms.serial(), to_marked_json(spec)).first->second;
                EXPECT_EQ(fill_marks(marked, spec), to_json(spec)) << i << " " << k;
                const StoredKeys& keys = stored.of(spec, spec_key(spec));
                EXPECT_EQ(keys.series, series_key(spec)) << i << " " << k;
                EXPECT_EQ(keys.setting, setting_key(spec)) << i << " " << k;
            }
        }
    }
}

TEST(CanonicalForms, of_one_serial_differ_in_their_numbers_only) {
    CanonicalForms forms;
    std::map<std::size_t, std::string> marked;
    for (int i = 0; i < 64; ++i) {
        JobSpec spec = plain();
        spec.method = i % 2 == 0 ? "int8" : "fp16";
        spec.batch = i;
        spec.repeat = i % 4;
        (void)forms.of(spec);
        EXPECT_EQ(marked.emplace(forms.serial(), forms.marked()).first->second, forms.marked());
    }
    EXPECT_EQ(marked.size(), 3u);  // quality is in the first repeat of int8; fp16 has none
}

TEST(CanonicalForm, escapes_what_must_be_wherever_it_stands) {
    for (std::size_t length = 1; length < 20; ++length) {
        for (std::size_t at = 0; at < length; ++at) {
            for (const auto& [raw, written] :
                 {std::pair{'"', "\\\""}, std::pair{'\\', "\\\\"}, std::pair{'\n', "\\u000a"},
                  std::pair{'\x1f', "\\u001f"}, std::pair{' ', " "}, std::pair{'\x7f', "\x7f"},
                  std::pair{'\xc3', "\xc3"}}) {
                JobSpec spec = plain();
                spec.prompt = std::string(length, 'a');
                spec.prompt[at] = raw;
                const std::string expected = "\"prompt\":\"" + std::string(at, 'a') + written +
                                             std::string(length - at - 1, 'a') + "\"";
                EXPECT_NE(canonical_json(spec).find(expected), std::string::npos)
                    << length << " " << at << " " << written;
            }
        }
    }
}

TEST(CellKey, EachOfItsFourPartsCounts) {
    const CellIdentity base{"s", "w", "d", 1};
    std::vector<std::string> keys = {cell_key(base).value,
                                     cell_key({"t", "w", "d", 1}).value,
                                     cell_key({"s", "x", "d", 1}).value,
                                     cell_key({"s", "w", "e", 1}).value,
                                     cell_key({"s", "w", "d", 2}).value,
                                     cell_key({"s", "d", "w", 1}).value};
    std::ranges::sort(keys);
    EXPECT_EQ(std::ranges::adjacent_find(keys), keys.end());
    EXPECT_EQ(cell_key(base).value,
              sha256_hex(R"({"dataset_digest":"d","numerics_revision":1,"spec_key":"s",)"
                         R"("weights_digest":"w"})"));
    EXPECT_EQ(cell_key(base).value.size(), 64u);
}

TEST(CellKey, OneAfterAnotherIsWhatEachIsAlone) {
    CellKeys keys;
    for (const char* dataset : {"", "d"}) {
        for (const char* weights : {"", "w"}) {
            for (const int revision : {1, 12}) {
                for (const char* spec : {"s", "another"}) {
                    const std::string form = std::string(R"({"dataset_digest":")") + dataset +
                                             R"(","numerics_revision":)" +
                                             std::to_string(revision) + R"(,"spec_key":")" + spec +
                                             R"(","weights_digest":")" + weights + "\"}";
                    EXPECT_EQ(keys.of({spec, weights, dataset, revision}).value, sha256_hex(form))
                        << form;
                }
            }
        }
    }
}

}  // namespace
}  // namespace bitsweep
