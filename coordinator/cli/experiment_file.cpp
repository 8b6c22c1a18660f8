#include "coordinator/cli/experiment_file.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>

#include "schemas/content.h"

namespace bitsweep {

namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t longest_yaml = 1u << 20;  // matrix.md

Result<std::string> read_yaml(const fs::path& file) {
    std::error_code code;
    if (!fs::is_regular_file(file, code)) {
        return make_error(ErrorCode::not_found, "there is no experiment file " + file.string());
    }
    if (fs::file_size(file, code) > longest_yaml) {
        return make_error(ErrorCode::invalid_input,
                          file.string() + " is longer than the 1 MiB of an experiment file");
    }
    std::ifstream stream(file, std::ios::binary);
    if (!stream) {
        return make_error(ErrorCode::io,
                          "cannot read " + file.string() + ": " + std::strerror(errno));
    }
    return std::string(std::istreambuf_iterator<char>(stream), {});
}

std::vector<fs::path> with_defaults(std::vector<fs::path> dirs, const std::vector<fs::path>& more) {
    dirs.insert(dirs.end(), more.begin(), more.end());
    return dirs;
}

// Whether the runner will read a text for this job, so that its digest is part of the identity.
bool reads_text(const JobSpec& spec) {
    if (spec.model.weights == WeightsSource::random) {
        return false;
    }
    return spec.prompt_tokens > 0 ||
           (spec.quality.mode == QualityMode::once && spec.repeat == 0 && spec.quality.tokens > 0);
}

// Each file is read once, however many cells name it. A content that is not here stays unknown; one
// that is here and cannot be read is an error.
class DigestCache {
 public:
    explicit DigestCache(const ExperimentRequest& request)
        : models_(with_defaults(request.models, default_model_dirs())),
          data_(with_defaults(request.data, default_data_dirs())) {}

    Result<std::string> model(const ModelRef& model) {
        const auto [entry, is_new] = model_digests_.try_emplace({model.name, model.path});
        if (!is_new) {
            return entry->second;
        }
        Result<fs::path> found = model.path.empty() ? find_model(model.name, models_)
                                                    : Result<fs::path>(fs::path(model.path));
        std::error_code code;
        if (found && fs::exists(*found, code)) {
            entry->second = TRY(model_digest(*found));
        }
        return entry->second;
    }

    Result<std::string> text(const std::string& name) {
        const auto [entry, is_new] = text_digests_.try_emplace(name);
        if (is_new) {
            if (const Result<fs::path> found = find_text(name, data_)) {
                entry->second = TRY(file_digest(*found));
            }
        }
        return entry->second;
    }

 private:
    std::vector<fs::path> models_;
    std::vector<fs::path> data_;
    std::map<std::pair<std::string, std::string>, std::string> model_digests_;
    std::map<std::string, std::string> text_digests_;
};

}  // namespace

Status fill_digests(std::vector<Cell>& cells, const ExperimentRequest& request) {
    DigestCache cache(request);
    for (Cell& cell : cells) {
        if (cell.spec.model.weights == WeightsSource::real) {
            cell.identity.weights_digest = TRY(cache.model(cell.spec.model));
        }
        if (reads_text(cell.spec)) {
            cell.identity.dataset_digest = TRY(cache.text(cell.spec.quality.text));
        }
    }
    return {};
}

Result<PreparedExperiment> prepare(const ExperimentRequest& request) {
    PreparedExperiment prepared;
    std::string yaml = TRY(read_yaml(request.file));
    prepared.expansion = TRY(expand_yaml(yaml, request.file.string(), request.overrides));
    Submit& submit = prepared.submit;
    submit.experiment = prepared.expansion.experiment;
    submit.yaml = std::move(yaml);
    submit.cells = std::move(prepared.expansion.cells);
    submit.tags = prepared.expansion.tags;
    submit.force = request.force;
    submit.retry_failed = request.retry_failed;
    prepared.expansion.cells.clear();
    if (request.priority) {
        for (Cell& cell : submit.cells) {
            cell.policy.priority = *request.priority;
        }
    }
    TRY(fill_digests(submit.cells, request));
    return prepared;
}

}  // namespace bitsweep
