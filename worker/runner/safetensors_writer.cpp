#include "worker/runner/safetensors_writer.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

namespace bitsweep {
namespace {

constexpr std::size_t header_alignment = 8;

std::uint64_t size_of(const std::string& dtype) {
    return dtype == "F32" || dtype == "I32" ? 4 : dtype == "U8" ? 1 : 0;
}

Result<std::string> header_of(const std::vector<TensorToWrite>& tensors,
                              const std::map<std::string, std::string>& metadata) {
    nlohmann::ordered_json header;
    if (!metadata.empty()) {
        header["__metadata__"] = metadata;
    }
    std::uint64_t offset = 0;
    for (const TensorToWrite& tensor : tensors) {
        std::uint64_t bytes = size_of(tensor.dtype);
        for (const std::int64_t extent : tensor.shape) {
            bytes *= static_cast<std::uint64_t>(extent);
        }
        if (bytes != tensor.data.size()) {
            return make_error(ErrorCode::invalid_input,
                              tensor.name + ": " + std::to_string(tensor.data.size()) +
                                  " bytes for a shape of " + std::to_string(bytes));
        }
        header[tensor.name] = {{"dtype", tensor.dtype},
                               {"shape", tensor.shape},
                               {"data_offsets", {offset, offset + bytes}}};
        offset += bytes;
    }
    std::string text =
        header.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
    text.resize((text.size() + header_alignment - 1) / header_alignment * header_alignment, ' ');
    return text;
}

}  // namespace

Status write_safetensors(const std::filesystem::path& file,
                         const std::vector<TensorToWrite>& tensors,
                         const std::map<std::string, std::string>& metadata) {
    const std::string header = TRY(header_of(tensors, metadata));
    // A device or a pipe is written to, not replaced; behind a link is what is meant.
    std::error_code ignored;
    const bool there = std::filesystem::exists(file, ignored);
    const bool in_place = there && !std::filesystem::is_regular_file(file, ignored);
    const std::filesystem::path target = there ? std::filesystem::canonical(file, ignored) : file;
    const std::filesystem::path partial = in_place ? file.string() : target.string() + ".partial";
    std::ofstream out(partial, std::ios::binary | std::ios::trunc);
    std::uint64_t length = header.size();
    char prefix[8];
    for (char& byte : prefix) {  // little endian, whatever the machine
        byte = static_cast<char>(length & 0xffU);
        length >>= 8;
    }
    out.write(prefix, sizeof prefix);
    out << header;
    for (const TensorToWrite& tensor : tensors) {
        out.write(reinterpret_cast<const char*>(tensor.data.data()),
                  static_cast<std::streamsize>(tensor.data.size()));
    }
    out.close();
    if (!out) {
        const std::string words = std::strerror(errno);
        if (!in_place) {
            std::filesystem::remove(partial, ignored);
        }
        return make_error(ErrorCode::io, file.string() + ": cannot be written: " + words);
    }
    std::error_code failed;
    if (!in_place) {
        std::filesystem::rename(partial, target, failed);
    }
    if (failed) {
        return make_error(ErrorCode::io, file.string() + ": " + failed.message());
    }
    return {};
}

}  // namespace bitsweep
