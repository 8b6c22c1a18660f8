#include "worker/inference/model_files.h"

#include "worker/inference/bpe.h"
#include "worker/inference/gguf_model.h"
#include "worker/inference/gguf_tokenizer.h"
#include "worker/inference/untrusted.h"

namespace bitsweep {
namespace {

// The folder's own tokenizer, else its parent's (models that share one), else GPT-2's older form.
// Null when there is none: such a folder can still be measured with token ids.
Result<std::unique_ptr<Tokenizer>> folder_tokenizer(const std::filesystem::path& folder) {
    std::error_code ignored;
    const auto exists = [&](const std::filesystem::path& path) {
        return std::filesystem::exists(path, ignored);
    };
    const std::filesystem::path absolute = std::filesystem::absolute(folder, ignored);
    const std::filesystem::path parent =
        (absolute.has_filename() ? absolute : absolute.parent_path()).parent_path();
    if (exists(folder / "tokenizer.json")) {
        return tokenizer_from_json(folder / "tokenizer.json");
    }
    if (exists(folder / "vocab.json") && exists(folder / "merges.txt")) {
        return tokenizer_from_vocab_merges(folder / "vocab.json", folder / "merges.txt");
    }
    if (exists(parent / "tokenizer.json")) {
        return tokenizer_from_json(parent / "tokenizer.json");
    }
    if (exists(folder / "tokenizer.model")) {
        return make_error(ErrorCode::unsupported,
                          (folder / "tokenizer.model").string() +
                              ": SentencePiece tokenizers are not read; wanted a tokenizer.json "
                              "with byte-level BPE");
    }
    return std::unique_ptr<Tokenizer>();
}

Status check_vocabulary(const ModelFiles& files) {
    if (files.tokenizer != nullptr && files.tokenizer->vocabulary() > files.config.vocabulary) {
        return make_error(ErrorCode::invalid_input,
                          files.path.string() + ": the tokenizer has ids up to " +
                              std::to_string(files.tokenizer->vocabulary() - 1) +
                              " but the model's vocabulary is " +
                              std::to_string(files.config.vocabulary) +
                              "; they do not belong together");
    }
    return {};
}

Result<ModelFiles> open_folder(const std::filesystem::path& folder) {
    ModelFiles files;
    files.config = TRY(config_from_json(folder / "config.json"));
    files.weights = TRY(open_safetensors(folder, files.config));
    files.tokenizer = TRY(folder_tokenizer(folder));
    files.path = folder;
    files.format = "safetensors";
    TRY(check_vocabulary(files));
    return files;
}

Result<ModelFiles> open_gguf(const std::filesystem::path& path) {
    GgufFile gguf = TRY(read_gguf(path));
    ModelFiles files;
    files.config = TRY(config_from_gguf(gguf));
    if (gguf.has("tokenizer.ggml.model")) {
        files.tokenizer = TRY(tokenizer_from_gguf(gguf));
    }
    files.weights = TRY(open_gguf_weights(std::move(gguf), files.config));
    files.path = path;
    files.format = "gguf";
    TRY(check_vocabulary(files));
    return files;
}

}  // namespace

Result<ModelFiles> open_model(const std::filesystem::path& path) {
    std::error_code ignored;
    if (std::filesystem::is_directory(path, ignored)) {
        if (!std::filesystem::exists(path / "config.json", ignored)) {
            return make_error(ErrorCode::not_found, path.string() +
                                                        ": has no config.json; wanted a Hugging "
                                                        "Face folder or a .gguf file");
        }
        return open_folder(path);
    }
    if (!std::filesystem::exists(path, ignored)) {
        return make_error(ErrorCode::not_found,
                          path.string() +
                              ": no such file or folder; wanted a Hugging Face folder "
                              "or a .gguf file");
    }
    if (path.extension() != ".gguf") {
        return make_error(ErrorCode::invalid_input,
                          path.string() + ": neither a folder with config.json nor a .gguf file");
    }
    return open_gguf(path);
}

}  // namespace bitsweep
