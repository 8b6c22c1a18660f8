// `bitsweep-runner capabilities`: what this machine can run, as a hello message.
#include <sys/sysinfo.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "schemas/codec.h"
#include "schemas/content.h"
#include "worker/runner/command.h"
#include "worker/runner/options.h"
#include "worker/runner/provenance.h"

namespace bitsweep {
namespace {

namespace po = boost::program_options;

// What a new process could get without swapping, as the kernel estimates it.
std::uint64_t available_memory() {
    std::ifstream info("/proc/meminfo");
    std::string key;
    std::uint64_t kib = 0;
    std::string rest;
    while (info >> key >> kib && std::getline(info, rest)) {
        if (key == "MemAvailable:") {
            return kib * 1024;
        }
    }
    return 0;
}

DeviceInfo cpu_device() {
    const Provenance& facts = process_provenance();
    struct sysinfo machine {};
    ::sysinfo(&machine);
    DeviceInfo device;
    device.id = "cpu";
    device.kind = "cpu";
    device.name = facts.at("cpu");
    device.memory_bytes = machine.totalram * machine.mem_unit;
    device.free_bytes = available_memory();
    for (const char* key : {"cores", "isa", "kernel", "torch", "compiler"}) {
        device.facts[key] = facts.at(key);
    }
    return device;
}

}  // namespace

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
    hello.devices = {cpu_device()};
    hello.models = list_models(dirs);
    std::puts(to_json(Message(hello)).c_str());
    return 0;
}

}  // namespace bitsweep
