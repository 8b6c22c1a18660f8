#include "coordinator/cli/experiment_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>

#include "coordinator/cli/digest_cache.h"
#include "schemas/content.h"
#include "schemas/policy.h"

namespace bitsweep {

namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t longest_yaml = 1u << 20;  // matrix.md

Result<std::string> read_yaml(const fs::path& file) {
    std::error_code code;
    if (!fs::exists(file, code)) {
        return make_error(ErrorCode::not_found, "there is no experiment file " + file.string());
    }
    if (!fs::is_regular_file(file, code)) {
        return make_error(ErrorCode::invalid_input,
                          file.string() + (fs::is_directory(file, code)
                                               ? ": a folder; give the YAML file in it"
                                               : ": no plain file; write the experiment to one"));
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
    return spec.prompt_tokens > 0 || spec.calibration ||
           (spec.quality.mode != QualityMode::off && spec.repeat == 0 && spec.quality.tokens > 0);
}

// Digests by name, so that each is looked up once however many cells name it. A content that is not
// here stays unknown; one that is here and cannot be read is an error.
class KnownContent {
 public:
    explicit KnownContent(const ExperimentRequest& request)
        : models_(with_defaults(request.models, default_model_dirs())),
          data_(with_defaults(request.data, default_data_dirs())),
          cache_(DigestCache::default_file()) {}
    ~KnownContent() { cache_.save(); }
    KnownContent(const KnownContent&) = delete;
    KnownContent& operator=(const KnownContent&) = delete;

    Result<std::string> model(const ModelRef& model) {
        const auto [entry, is_new] = model_digests_.try_emplace({model.name, model.path});
        if (!is_new) {
            return entry->second;
        }
        Result<fs::path> found = model.path.empty() ? find_model(model.name, models_)
                                                    : Result<fs::path>(fs::path(model.path));
        std::error_code code;
        if (found && fs::exists(*found, code)) {
            entry->second =
                TRY(model_digest(*found, [this](const fs::path& file) { return cache_.of(file); }));
        }
        return entry->second;
    }

    Result<std::string> text(const std::string& name) {
        const auto [entry, is_new] = text_digests_.try_emplace(name);
        if (is_new) {
            if (const Result<fs::path> found = find_text(name, data_)) {
                entry->second = TRY(cache_.of(*found));
            }
        }
        return entry->second;
    }

 private:
    std::vector<fs::path> models_;
    std::vector<fs::path> data_;
    DigestCache cache_;
    std::map<std::pair<std::string, std::string>, std::string> model_digests_;
    std::map<std::string, std::string> text_digests_;
};

// What `extends` names lies below the experiment's folder, also when links are followed.
Result<std::string> read_base(const fs::path& experiment, const std::string& path) {
    std::error_code code;
    const fs::path folder = experiment.has_parent_path() ? experiment.parent_path() : ".";
    const fs::path top = fs::weakly_canonical(folder, code);
    const fs::path file = fs::weakly_canonical(folder / path, code);
    const auto [outside, ignored] = std::ranges::mismatch(top, file);
    if (code || outside != top.end()) {
        const fs::path plain = fs::path(path).lexically_normal();
        const bool leads_out = fs::path(path).is_absolute() || *plain.begin() == "..";
        return make_error(ErrorCode::invalid_input, "it leads out of the folder " + top.string() +
                                                        (leads_out ? "" : " through a link"));
    }
    if (!fs::exists(folder / path, code)) {
        return make_error(ErrorCode::not_found, "there is no file " + (folder / path).string());
    }
    return read_yaml(folder / path);
}

// A path of the file is relative to the file's folder, else to the current one. Whoever runs the
// job may stand elsewhere, so it becomes absolute.
void resolve_paths(std::vector<Cell>& cells, const fs::path& experiment) {
    std::map<std::string, std::string> known;
    std::error_code code;
    for (Cell& cell : cells) {
        std::string& path = cell.spec.model.path;
        if (path.empty()) {
            continue;
        }
        const auto [entry, is_new] = known.try_emplace(path);
        if (is_new) {
            const fs::path beside = experiment.parent_path() / path;
            const fs::path found = fs::exists(beside, code) ? beside : fs::path(path);
            entry->second = fs::exists(found, code)
                                ? fs::absolute(found, code).lexically_normal().string()
                                : path;
        }
        path = entry->second;
    }
}

// The runner refuses a policy of another model's layers: better here than in every job.
Status check_policies(const std::vector<Cell>& cells, const fs::path& experiment) {
    std::map<std::string, std::string> models;  // by the text of the policy
    for (const Cell& cell : cells) {
        const std::string& text = cell.spec.policy;
        if (text.empty()) {
            continue;
        }
        const auto [entry, is_new] = models.try_emplace(text);
        if (is_new) {
            entry->second = TRY(policy_from_json(text)).model;
        }
        if (!entry->second.empty() && entry->second != cell.spec.model.name) {
            return make_error(
                ErrorCode::invalid_input,
                experiment.string() + ":" + std::to_string(cell.yaml_line) +
                    ": a policy of this cell was made for " + entry->second +
                    ", and its model is " + cell.spec.model.name +
                    "; name that model's policy, or leave `model` out of the policy file to use "
                    "it all the same");
        }
    }
    return {};
}

// The record of what was submitted: the file as typed, then, as comments, what it does not say
// itself.
std::string recorded(const std::string& yaml, const ExperimentRequest& request,
                     const BaseTexts& bases) {
    std::string out = yaml;
    out += out.ends_with('\n') ? "" : "\n";
    for (const auto& [key, value] : request.overrides) {
        out += "# --set " + key + "=" + value + "\n";
    }
    for (const auto& [path, text] : bases) {
        out += "# ---- extends " + path + "\n";
        std::istringstream lines(text);
        for (std::string line; std::getline(lines, line);) {
            out += "# " + line + "\n";
        }
    }
    return out.size() <= longest_yaml && out.size() != yaml.size() + 1 ? out : yaml;
}

}  // namespace

Status fill_digests(std::vector<Cell>& cells, const ExperimentRequest& request) {
    KnownContent content(request);
    for (Cell& cell : cells) {
        if (cell.spec.model.weights == WeightsSource::real) {
            cell.identity.weights_digest = TRY(content.model(cell.spec.model));
        }
        if (reads_text(cell.spec)) {
            cell.identity.dataset_digest = TRY(content.text(cell.spec.quality.text));
        }
    }
    return {};
}

Result<std::map<std::string, std::string>> model_paths(const std::vector<Cell>& cells) {
    std::error_code code;
    std::map<std::string, std::string> paths;
    for (const Cell& cell : cells) {
        const std::string& path = cell.spec.model.path;
        if (!path.empty() && !fs::exists(path, code)) {
            return make_error(ErrorCode::not_found,
                              "model " + cell.spec.model.name + ": there is no " + path);
        }
        if (!path.empty()) {
            paths[cell.spec.model.name] = path;
        }
    }
    return paths;
}

Status texts_are_here(const std::vector<Cell>& cells) {
    for (const Cell& cell : cells) {
        if (reads_text(cell.spec) && cell.identity.dataset_digest.empty()) {
            TRY(find_text(cell.spec.quality.text, default_data_dirs()));
        }
    }
    return {};
}

std::vector<ExpansionNote> not_here(const std::vector<Cell>& cells) {
    std::error_code code;
    std::map<std::string, std::int64_t> counts;
    std::map<std::string, bool> there;  // by path: many cells share one
    for (const Cell& cell : cells) {
        const ModelRef& model = cell.spec.model;
        const auto [entry, is_new] = there.try_emplace(model.path, true);
        if (is_new && !model.path.empty()) {
            entry->second = fs::exists(model.path, code);
        }
        if (!entry->second) {
            ++counts["model " + model.name + ": there is no " + model.path +
                     " here; `run` refuses it, another machine's worker may have it"];
        }
        if (reads_text(cell.spec) && cell.identity.dataset_digest.empty()) {
            ++counts["text " + cell.spec.quality.text +
                     " is not here; `run` refuses it, another machine's worker may have it"];
        }
    }
    std::vector<ExpansionNote> notes;
    for (const auto& [what, number] : counts) {
        notes.push_back({what, number});
    }
    return notes;
}

Status link_models(const std::map<std::string, std::string>& paths, const fs::path& folder) {
    std::error_code code;
    fs::create_directories(folder, code);
    // Of an earlier run: a name that has no path now means another model.
    for (const fs::directory_entry& entry : fs::directory_iterator(folder, code)) {
        if (std::error_code ignored; entry.is_symlink(ignored)) {
            fs::remove(entry.path(), ignored);
        }
    }
    for (const auto& [name, path] : paths) {
        const bool single_file = !fs::is_directory(path, code);
        const fs::path link = folder / (single_file ? name + ".gguf" : name);
        fs::create_symlink(path, link, code);
        if (code) {
            return make_error(ErrorCode::io, "cannot link " + link.string() + " to " + path + ": " +
                                                 code.message());
        }
    }
    return {};
}

Result<std::string> read_experiment(const fs::path& file) {
    return read_yaml(file);
}

ExperimentText text_of(const ExperimentRequest& request, std::string_view yaml) {
    return {yaml, request.file.string(), request.overrides,
            [file = request.file](const std::string& path) { return read_base(file, path); }};
}

Result<PreparedExperiment> prepare(const ExperimentRequest& request) {
    PreparedExperiment prepared;
    std::string yaml = TRY(read_yaml(request.file));
    prepared.expansion = TRY(expand_yaml(text_of(request, yaml)));
    Submit& submit = prepared.submit;
    submit.experiment = prepared.expansion.experiment;
    submit.yaml = recorded(yaml, request, prepared.expansion.bases);
    submit.cells = std::move(prepared.expansion.cells);
    submit.max_fails = prepared.expansion.max_fails.value_or(0);
    TRY(check_policies(submit.cells, request.file));
    resolve_paths(submit.cells, request.file);
    submit.tags = prepared.expansion.tags;
    submit.force = request.force;
    submit.retry_failed = request.retry_failed;
    submit.max_fails = prepared.expansion.max_fails.value_or(0);
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
