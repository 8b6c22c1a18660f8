// The files of an experiment that holds policies against what was predicted of them.
#include "results/analysis/policy.h"
#include "results/analysis/table_row.h"

namespace bitsweep {
namespace {

// Lower case, everything else than letters and digits a dash: part of names of files and
// experiments.
std::string slug(const std::string& text) {
    std::string out;
    for (const char c : text) {
        const bool upper = c >= 'A' && c <= 'Z';
        const bool kept = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.';
        if (upper) {
            out += static_cast<char>(c - 'A' + 'a');
        } else if (kept) {
            out += c;
        } else if (!out.empty() && !out.ends_with('-')) {
            out += '-';
        }
    }
    return out;
}

struct Scored {
    std::string text;
    std::int64_t tokens = 0, window = 0, new_tokens = 0;
};

// What the newest cell of the table scored: the same tokens make predicted and measured comparable.
Result<Scored> scored_of(Store& store, const PolicyTable& table) {
    const Table rows = TRY(store.query(
        "SELECT j.spec ->> '$.quality.text' AS text, j.spec ->> '$.quality.tokens' AS tokens,"
        " j.spec ->> '$.quality.window' AS window, c.new_tokens"
        " FROM v_cells c JOIN jobs j ON j.id = c.job JOIN measurements m"
        " ON m.run = c.run AND m.metric > 'layer_kl:' AND m.metric < 'layer_kl;'"
        " WHERE c.method <> 'mixed' AND c.model = " +
        sql_text(table.model) + " AND c.device = " + sql_text(table.device) +
        " ORDER BY c.run DESC LIMIT 1"));
    ASSERT(!rows.rows.empty());  // the table was read from such cells
    const Row row(rows, 0);
    return Scored{row.label("text"), row.integer("tokens"), row.integer("window"),
                  row.integer("new_tokens")};
}

std::string experiment_text(const PolicyTable& table, const Scored& scored,
                            const std::vector<PolicyCheck::File>& files,
                            const std::string& folder) {
    constexpr int repeats = 3;
    std::string list;
    for (const PolicyCheck::File& file : files) {
        list += "    - " + file.name + "\n";
    }
    const std::string text = "{text: " + scored.text +
                             ", tokens: " + std::to_string(scored.tokens) +
                             ", window: " + std::to_string(scored.window) + "}";
    return "# Question:    Do policies of " + table.model + ", found on " + table.device +
           ", keep what was predicted of them?\n"
           "# Hypothesis:  Predicted and measured loss have the same order, and each found policy "
           "loses no more\n"
           "#              than the uniform method whose time it was given.\n"
           "# Jobs:        " +
           std::to_string(repeats * files.size()) +
           " per kind of device: " + std::to_string(files.size()) + " policies x " +
           std::to_string(repeats) +
           " repeats.\n"
           "# Cost:        about " +
           std::to_string(repeats * files.size() * 2) +
           " s for a model of 5M parameters on 2 CPU cores.\n"
           "#\n"
           "# Written by:   bitsweep analyze policy --check " +
           folder +
           "\n"
           "# Then:         bitsweep analyze policy --model " +
           table.model +
           "   (predicted against measured, found against\n"
           "#               uniform, and, where policies of other devices ran, their transfer)\n"
           "experiment: policy-check-" +
           slug(table.model) + "-" + slug(table.device) +
           "\n"
           "question: Do the policies keep what was predicted of them?\n"
           "hypothesis: Predicted and measured loss have the same order.\n"
           "jobs: " +
           std::to_string(repeats * files.size()) +
           "\n"
           "cost: about " +
           std::to_string(repeats * files.size() * 2) +
           " s on 2 CPU cores\n\n"
           "defaults:\n"
           "  new_tokens: " +
           std::to_string(scored.new_tokens) +
           "\n"
           "  seed: 0\n"
           "  protocol: quick\n"
           "  quality: once\n"
           "  eval: " +
           text +
           "\n\n"
           "matrix:\n"
           "  model: " +
           table.model +
           "\n"
           "  method: mixed\n"
           "  policy:\n" +
           list +
           "  gpu: {each: any}\n"
           "  repeat: " +
           std::to_string(repeats) + "\n\ntimeout: 10m\n";
}

}  // namespace

Result<PolicyCheck> policy_check(Store& store, const PolicyTable& table,
                                 const PolicyQuestion& question, int random,
                                 const std::string& folder) {
    PolicyCheck check;
    for (const std::string& method : table.methods) {
        PolicyQuestion like = question;
        like.budget.reset();
        like.like = method;
        const PolicyChoice choice = TRY(search_policy(table, like));
        LayerPolicy policy = to_policy(table, choice, like, "found like " + method);
        policy.budget = budget_text(like);
        check.files.push_back({"found-" + slug(method) + ".json", std::move(policy)});
    }
    for (std::size_t i = 0; i < table.methods.size(); ++i) {
        check.files.push_back(
            {"uniform-" + slug(table.methods[i]) + ".json",
             to_policy(table, uniform_choice(table, i), question, "uniform " + table.methods[i])});
    }
    for (int i = 1; i <= random; ++i) {
        const PolicyChoice drawn = random_policy(table.layers, static_cast<std::uint64_t>(i));
        check.files.push_back({"random-" + std::to_string(i) + ".json",
                               to_policy(table, drawn, question, "random " + std::to_string(i))});
    }
    check.yaml = experiment_text(table, TRY(scored_of(store, table)), check.files, folder);
    return check;
}

}  // namespace bitsweep
