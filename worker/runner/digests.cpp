#include "worker/runner/digests.h"

#include <sys/stat.h>

#include <charconv>
#include <vector>

#include "schemas/content.h"

namespace bitsweep {
namespace {

namespace fs = std::filesystem;

std::string stamp_of(const fs::path& file) {
    struct stat facts {};
    if (::stat(file.c_str(), &facts) != 0) {
        return file.string() + "|absent\n";
    }
    return file.string() + "|" + std::to_string(facts.st_size) + "|" +
           std::to_string(facts.st_mtim.tv_sec) + "." + std::to_string(facts.st_mtim.tv_nsec) +
           "|" + std::to_string(facts.st_dev) + ":" + std::to_string(facts.st_ino) + "\n";
}

std::string stamp_of_model(const fs::path& model) {
    std::error_code failed;
    if (!fs::is_directory(model, failed)) {
        return stamp_of(model);
    }
    std::vector<fs::path> files = {model.parent_path() / "tokenizer.json"};
    for (const auto& entry : fs::directory_iterator(model, failed)) {
        files.push_back(entry.path());
    }
    std::string stamp;
    for (const fs::path& file : files) {
        stamp += stamp_of(file);
    }
    return stamp;
}

std::string shortest(double value) {
    char text[32];
    const auto end = std::to_chars(text, text + sizeof text, value).ptr;
    return {text, end};
}

}  // namespace

Result<std::string> Digests::of_model(const fs::path& model) {
    std::string& digest = known_["model\n" + stamp_of_model(fs::absolute(model))];
    if (digest.empty()) {
        digest = TRY(model_digest(model));
    }
    return digest;
}

Result<std::string> Digests::of_file(const fs::path& file) {
    std::string& digest = known_["file\n" + stamp_of(fs::absolute(file))];
    if (digest.empty()) {
        digest = TRY(file_digest(file));
    }
    return digest;
}

std::string random_weights_digest(const std::string& shape, const RandomWeightsOptions& options) {
    return sha256_hex("random:" + std::to_string(random_weights_generation) + ":" + shape + ":" +
                      std::to_string(options.seed) + ":" + std::to_string(options.outlier_columns) +
                      ":" + shortest(options.outlier_magnitude));
}

}  // namespace bitsweep
