#include "schemas/content.h"

#include <openssl/evp.h>
#include <sodium.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <system_error>

#include "schemas/catalog/edit_distance.h"

namespace bitsweep {
namespace {

namespace fs = std::filesystem;

// Folders are read whole into memory; a models folder has tens of entries, never this many.
constexpr std::size_t max_entries = 100'000;

std::string hex_of(std::span<const unsigned char> bytes) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string out(2 * bytes.size(), '0');
    char* next = out.data();
    for (const unsigned char byte : bytes) {
        *next++ = digits[byte >> 4];
        *next++ = digits[byte & 15];
    }
    return out;
}

std::string lower_case(std::string_view text) {
    std::string out(text);
    for (char& c : out) {
        c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    return out;
}

bool is_there(const fs::path& path) {
    std::error_code ignored;
    return fs::exists(path, ignored);
}

bool is_folder(const fs::path& path) {
    std::error_code ignored;
    return fs::is_directory(path, ignored);
}

// Sorted; empty where the folder cannot be read.
std::vector<fs::path> entries_of(const fs::path& folder) {
    std::vector<fs::path> out;
    std::error_code error;
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
        out.push_back(it->path());
        if (out.size() >= max_entries) {
            break;
        }
    }
    std::ranges::sort(out);
    return out;
}

bool has_extension(const fs::path& path, std::string_view extension) {
    return lower_case(path.extension().string()) == extension;
}

// The model that one entry of a models folder is, or an empty path.
fs::path model_at(const fs::path& entry) {
    if (has_extension(entry, ".gguf") && !is_folder(entry)) {
        return entry;
    }
    if (!is_folder(entry)) {
        return {};
    }
    if (is_there(entry / "config.json")) {
        return entry;
    }
    for (const fs::path& inner : entries_of(entry)) {
        if (has_extension(inner, ".gguf")) {
            return inner;
        }
    }
    return {};
}

std::string name_of_entry(const fs::path& entry) {
    return has_extension(entry, ".gguf") && !is_folder(entry) ? entry.stem().string()
                                                              : entry.filename().string();
}

std::string nearest(std::string_view name, const std::vector<std::string>& known) {
    std::string best;
    std::size_t best_distance = name.size() + 1;
    for (const std::string& candidate : known) {
        const std::size_t distance = edit_distance(lower_case(name), lower_case(candidate));
        if (distance < best_distance) {
            best = candidate;
            best_distance = distance;
        }
    }
    return best;
}

Error not_found(std::string_view what, std::string_view name, std::span<const fs::path> dirs,
                const std::vector<std::string>& known) {
    std::string message =
        std::string(what) + " '" + std::string(name.substr(0, 200)) + "' is not in ";
    for (std::size_t i = 0; i < dirs.size(); ++i) {
        message += (i == 0 ? "" : ", ") + dirs[i].string();
    }
    message += dirs.empty() ? "any folder: none was given" : "";
    if (const std::string best = nearest(name, known); !best.empty()) {
        message += "; the nearest name there is '" + best + "'";
    }
    return make_error(ErrorCode::not_found, std::move(message));
}

// Names come from YAML and from peers: one component of a path, nothing else.
Status check_name(std::string_view what, std::string_view name) {
    const bool bad = name.empty() || name.size() > 200 || name == "." || name == ".." ||
                     name.find_first_of(std::string_view("/\\\0", 3)) != std::string_view::npos;
    if (bad) {
        return make_error(ErrorCode::invalid_input,
                          std::string(what) + " '" + std::string(name.substr(0, 200)) +
                              "' is no name: give 1 to 200 characters without a slash, or a path "
                              "with `path:`");
    }
    return {};
}

fs::path program_folder() {
    std::error_code error;
    const fs::path program = fs::read_symlink("/proc/self/exe", error);
    return error ? fs::path() : program.parent_path();
}

void add_folder(std::vector<fs::path>& out, const fs::path& folder) {
    if (is_folder(folder)) {
        const fs::path clean = folder.lexically_normal();
        if (std::ranges::find(out, clean) == out.end()) {
            out.push_back(clean);
        }
    }
}

std::vector<fs::path> default_dirs(const char* variable, std::string_view leaf) {
    std::vector<fs::path> out;
    if (const char* list = std::getenv(variable)) {
        std::string_view rest = list;
        while (!rest.empty()) {
            const std::size_t colon = rest.find(':');
            if (const std::string_view one = rest.substr(0, colon); !one.empty()) {
                add_folder(out, fs::path(one));
            }
            rest = colon == std::string_view::npos ? "" : rest.substr(colon + 1);
        }
    }
    const fs::path bin = program_folder();
    if (bin.empty()) {
        return out;
    }
    for (const char* step :
         {"../experiments", "../../experiments", "../share/bitsweep/experiments"}) {
        add_folder(out, bin / step / leaf);
    }
    if (leaf == "models") {
        for (const char* step : {"../.deps/models", "../../.deps/models"}) {
            add_folder(out, bin / step);
        }
    }
    return out;
}

// The files that make a folder's model, by the name they have in the digest.
std::vector<std::pair<std::string, fs::path>> files_of_model(const fs::path& folder) {
    std::vector<std::pair<std::string, fs::path>> out;
    for (const fs::path& entry : entries_of(folder)) {
        const std::string name = entry.filename().string();
        const bool index = name.ends_with(".safetensors.index.json");
        if (name == "config.json" || has_extension(entry, ".safetensors") || index) {
            out.emplace_back(name, entry);
        }
    }
    const fs::path own = folder / "tokenizer.json";
    const fs::path parent = fs::absolute(folder).lexically_normal() / ".." / "tokenizer.json";
    if (is_there(own)) {
        out.emplace_back("tokenizer.json", own);
    } else if (is_there(parent)) {
        out.emplace_back("tokenizer.json", parent);
    }
    std::ranges::sort(out);
    return out;
}

}  // namespace

// Every cell is hashed four times on its way into the database. OpenSSL uses the processor's own
// instructions: 0.6 us for 400 bytes, libsodium's portable code 2.5.
std::string sha256_hex(std::string_view bytes) {
    struct Free {
        void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
    };
    static EVP_MD* const method = EVP_MD_fetch(nullptr, "SHA256", nullptr);
    thread_local const std::unique_ptr<EVP_MD_CTX, Free> context(EVP_MD_CTX_new());
    std::array<unsigned char, 32> digest{};
    const bool hashed = method != nullptr &&
                        EVP_DigestInit_ex2(context.get(), method, nullptr) == 1 &&
                        EVP_DigestUpdate(context.get(), bytes.data(), bytes.size()) == 1 &&
                        EVP_DigestFinal_ex(context.get(), digest.data(), nullptr) == 1;
    ASSERT(hashed);
    return hex_of(digest);
}

Result<std::string> file_digest(const fs::path& file) {
    if (is_folder(file)) {
        return make_error(ErrorCode::io, file.string() + " is a folder, not a file");
    }
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> stream(std::fopen(file.c_str(), "rb"),
                                                                 std::fclose);
    if (!stream) {
        const int cause = errno;
        return make_error(cause == ENOENT ? ErrorCode::not_found : ErrorCode::io,
                          "cannot read " + file.string() + ": " + std::strerror(cause));
    }
    // Chooses the vector implementation once; safe to call again and from any thread.
    if (sodium_init() < 0) {
        return make_error(ErrorCode::internal, "libsodium cannot start");
    }
    crypto_generichash_state state;
    constexpr std::size_t size = 32;
    crypto_generichash_init(&state, nullptr, 0, size);
    std::vector<unsigned char> buffer(std::size_t{1} << 20);
    std::size_t got = 0;
    while ((got = std::fread(buffer.data(), 1, buffer.size(), stream.get())) > 0) {
        crypto_generichash_update(&state, buffer.data(), got);
    }
    if (std::ferror(stream.get()) != 0) {
        return make_error(ErrorCode::io,
                          "cannot read " + file.string() + ": " + std::strerror(errno));
    }
    std::array<unsigned char, size> digest{};
    crypto_generichash_final(&state, digest.data(), digest.size());
    return hex_of(digest);
}

Result<std::string> model_digest(const fs::path& model) {
    return model_digest(model, file_digest);
}

Result<std::string> model_digest(const fs::path& model, const FileDigest& digest) {
    if (!is_folder(model)) {
        return digest(model);
    }
    const auto files = files_of_model(model);
    if (files.empty()) {
        return make_error(ErrorCode::not_found, model.string() +
                                                    " holds no model: expected config.json and "
                                                    "*.safetensors, or give a GGUF file");
    }
    std::string list;
    for (const auto& [name, path] : files) {
        list += name + '\0' + TRY(digest(path)) + '\n';
    }
    return sha256_hex(list);
}

Result<fs::path> find_model(std::string_view name, std::span<const fs::path> dirs) {
    TRY(check_name("model", name));
    const std::string wanted = lower_case(name);
    for (const fs::path& dir : dirs) {
        for (const fs::path& entry : entries_of(dir)) {
            if (lower_case(name_of_entry(entry)) != wanted) {
                continue;
            }
            if (const fs::path model = model_at(entry); !model.empty()) {
                return model;
            }
        }
    }
    return not_found("model", name, dirs, list_models(dirs));
}

std::vector<std::string> list_models(std::span<const fs::path> dirs) {
    std::vector<std::string> out;
    for (const fs::path& dir : dirs) {
        for (const fs::path& entry : entries_of(dir)) {
            if (!model_at(entry).empty()) {
                out.push_back(name_of_entry(entry));
            }
        }
    }
    std::ranges::sort(out);
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
}

Result<fs::path> find_text(std::string_view name, std::span<const fs::path> dirs) {
    TRY(check_name("text", name));
    std::vector<std::string> known;
    const std::string wanted = lower_case(name);
    for (const fs::path& dir : dirs) {
        for (const fs::path& entry : entries_of(dir)) {
            if (!has_extension(entry, ".txt") || is_folder(entry)) {
                continue;
            }
            if (lower_case(entry.stem().string()) == wanted) {
                return entry;
            }
            known.push_back(entry.stem().string());
        }
    }
    return not_found("text", name, dirs, known);
}

std::vector<fs::path> default_model_dirs() {
    return default_dirs("BITSWEEP_MODELS", "models");
}

std::vector<fs::path> default_data_dirs() {
    return default_dirs("BITSWEEP_DATA", "data");
}

}  // namespace bitsweep
