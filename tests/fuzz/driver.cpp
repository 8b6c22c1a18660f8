// Runs one fuzz target without libFuzzer: every file of a corpus, then a fixed number of seeded
// mutations of them. The same numbers give the same inputs on every machine.
// usage: fuzz_NAME CORPUS ITERATIONS [SEED]
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

std::vector<std::string> read_corpus(const char* folder) {
    std::vector<std::filesystem::path> files;
    std::error_code code;
    for (const auto& entry : std::filesystem::directory_iterator(folder, code)) {
        if (entry.is_regular_file(code)) {
            files.push_back(entry.path());
        }
    }
    std::sort(files.begin(), files.end());
    std::vector<std::string> texts;
    for (const auto& file : files) {
        std::ifstream stream(file, std::ios::binary);
        texts.emplace_back(std::istreambuf_iterator<char>(stream),
                           std::istreambuf_iterator<char>());
    }
    return texts;
}

// Bits, pieces and the numbers at which parsers stumble.
void mutate(std::string& text, const std::vector<std::string>& corpus, std::mt19937_64& random) {
    static const std::vector<std::string> pieces = {
        "null", "-1",       "1e999", "18446744073709551616",
        "\"",   "{",        "}",     "[",
        "]",    "\\u0",     "\xff",  "true",
        ",",    "\"../x\"", "-0",    "0.5"};
    const std::size_t at = text.empty() ? 0 : random() % text.size();
    const std::size_t count =
        text.empty() ? 0 : 1 + random() % std::min<std::size_t>(16, text.size());
    switch (random() % 7) {
        case 0:
            if (!text.empty()) {
                text[at] = static_cast<char>(text[at] ^ (1 << random() % 8));
            }
            break;
        case 1:
            text.erase(at, count);
            break;
        case 2:
            text.insert(at, pieces[random() % pieces.size()]);
            break;
        case 3:
            text.insert(at, text.substr(at, count));
            break;
        case 4: {
            const std::string& other = corpus[random() % corpus.size()];
            const std::size_t from = other.empty() ? 0 : random() % other.size();
            text = text.substr(0, at) + other.substr(from);
            break;
        }
        case 5:
            text.resize(at);
            break;
        default:
            if (!text.empty()) {
                text[at] = static_cast<char>(random());
            }
    }
}

void run(const std::string& text) {
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
}

}  // namespace

int main(int count, char** words) {
    if (count < 3) {
        std::fputs("usage: fuzz_NAME CORPUS ITERATIONS [SEED]\n", stderr);
        return 2;
    }
    const std::vector<std::string> corpus = read_corpus(words[1]);
    if (corpus.empty()) {
        std::fprintf(stderr, "%s holds no corpus\n", words[1]);
        return 2;
    }
    for (const std::string& text : corpus) {
        run(text);
    }
    const long iterations = std::atol(words[2]);
    std::mt19937_64 random(count > 3 ? static_cast<std::uint64_t>(std::atoll(words[3])) : 1);
    for (long i = 0; i < iterations; ++i) {
        std::string text = corpus[random() % corpus.size()];
        for (std::uint64_t left = 1 + random() % 6; left > 0; --left) {
            mutate(text, corpus, random);
        }
        run(text);
    }
    std::printf("%zu files and %ld mutations\n", corpus.size(), iterations);
    return 0;
}
