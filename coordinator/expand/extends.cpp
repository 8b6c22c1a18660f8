#include "coordinator/expand/extends.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "coordinator/expand/text.h"

namespace bitsweep {
namespace {

using expand_text::error_at;
using expand_text::shown;
using yaml::Kind;
using yaml::Node;

constexpr std::array<std::string_view, 5> merged_maps = {"defaults", "matrix", "derive", "retries",
                                                         "tags"};
constexpr std::array<std::string_view, 3> own_keys = {"experiment", "jobs", "cost"};

template <std::size_t Count>
bool is_one_of(const std::array<std::string_view, Count>& names, std::string_view name) {
    return std::ranges::find(names, name) != names.end();
}

void remove(Node& map, std::string_view name) {
    std::erase_if(map.entries, [&](const auto& entry) { return entry.key.text == name; });
}

// The entries of `over` onto `base`; nothing (`~`) removes.
void merge_entries(Node& base, Node&& over) {
    for (auto& [key, value] : over.entries) {
        const std::string& name = key.text;
        if (value.kind == Kind::null) {
            remove(base, name);
        } else if (const auto found = std::ranges::find_if(
                       base.entries, [&](const auto& entry) { return entry.key.text == name; });
                   found != base.entries.end()) {
            // In place, so that the order of axes stays the base's.
            *found = {std::move(key), std::move(value)};
        } else {
            base.entries.push_back({std::move(key), std::move(value)});
        }
    }
}

Node merged(Node base, Node&& over) {
    for (const std::string_view name : own_keys) {
        remove(base, name);
    }
    for (auto& [key, value] : over.entries) {
        Node* below = base.find(key.text);
        if (below != nullptr && below->kind == Kind::map && value.kind == Kind::map &&
            is_one_of(merged_maps, key.text)) {
            merge_entries(*below, std::move(value));
            continue;
        }
        Node one;
        one.kind = Kind::map;
        one.entries.push_back({std::move(key), std::move(value)});
        merge_entries(base, std::move(one));
    }
    base.at = over.at;
    return base;
}

// Relative to the experiment's folder; nullopt: it leaves that folder, or is none of a file.
std::optional<std::string> path_below(const std::string& from, const std::string& said) {
    const std::filesystem::path path(said);
    if (said.empty() || path.is_absolute() || said.find('\\') != std::string::npos) {
        return std::nullopt;
    }
    const std::filesystem::path whole =
        (std::filesystem::path(from).parent_path() / path).lexically_normal();
    const bool leaves =
        whole.empty() || whole == "." || *whole.begin() == ".." || !whole.has_filename();
    return leaves ? std::nullopt : std::optional(whole.string());
}

}  // namespace

Status apply_extends(Node& root, const BaseReader& read, Files& files, BaseTexts& bases) {
    const std::filesystem::path top(files.of({}));
    std::vector<std::string> chain = {top.filename().string()};
    std::vector<Node> trees = {std::move(root)};
    while (const Node* said = trees.back().find("extends")) {
        const auto wrong = [&](const std::string& message) {
            return error_at(files, said->at, message);
        };
        if (said->kind != Kind::scalar) {
            return wrong("`extends` is the path of one experiment file, not " +
                         std::string(describe(*said)));
        }
        const std::optional<std::string> path = path_below(chain.back(), said->text);
        if (!path) {
            return wrong("`extends: " + shown(said->text) +
                         "` must be a relative path below this experiment's folder");
        }
        if (std::ranges::find(chain, *path) != chain.end()) {
            return wrong("`" + shown(*path) + "` extends itself in the end");
        }
        if (chain.size() > max_bases) {
            return wrong("more than " + std::to_string(max_bases) + " files extend each other");
        }
        Result<std::string> text =
            read
                ? read(*path)
                : Result<std::string>(make_error(ErrorCode::not_found, "no file can be read here"));
        if (!text) {
            return wrong("`extends: " + shown(said->text) + "`: " + text.error().message);
        }
        const std::string name = (top.parent_path() / *path).string();
        Node tree = TRY(yaml::read_document(*text, name, files.add(name)));
        if (tree.kind != Kind::map) {
            return error_at(files, tree.at,
                            "an experiment is a map of keys, not " + std::string(describe(tree)));
        }
        chain.push_back(*path);
        bases.emplace_back(*path, std::move(text).value());
        trees.push_back(std::move(tree));
    }
    Node whole = std::move(trees.back());
    for (std::size_t i = trees.size() - 1; i-- > 0;) {
        whole = merged(std::move(whole), std::move(trees[i]));
    }
    remove(whole, "extends");
    root = std::move(whole);
    return {};
}

}  // namespace bitsweep
