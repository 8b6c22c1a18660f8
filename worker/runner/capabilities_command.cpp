// `bitsweep-runner capabilities`: what this machine can run, as a hello message.
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "schemas/codec.h"
#include "schemas/content.h"
#include "worker/runner/command.h"
#include "worker/runner/devices.h"
#include "worker/runner/options.h"
#include "worker/runner/provenance.h"

namespace bitsweep {
namespace po = boost::program_options;

int command_capabilities(const Arguments& arguments) {
    std::vector<std::string> folders;
    po::options_description all("Options");
    all.add_options()("models", po::value(&folders)->value_name("DIR")->composing(),
                      "folder to search models in; may be repeated");
    if (parse(arguments, "capabilities [--models DIR]...", all) == Parsed::help_shown) {
        return 0;
    }
    std::vector<std::filesystem::path> dirs(folders.begin(), folders.end());
    const auto defaults = default_model_dirs();
    dirs.insert(dirs.end(), defaults.begin(), defaults.end());
    Hello hello;
    hello.worker = {"capabilities"};
    hello.session = {"capabilities"};
    hello.host = process_provenance().at("host");
    hello.version = process_provenance().at("engine_version");
    std::vector<std::string> notes;
    hello.devices = list_devices(&notes);
    for (const std::string& note : notes) {
        std::fprintf(stderr, "bitsweep-runner capabilities: %s\n", note.c_str());
    }
    hello.models = list_models(dirs);
    std::puts(to_json(Message(hello)).c_str());
    return 0;
}

}  // namespace bitsweep
