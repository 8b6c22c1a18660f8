// `bitsweep-runner job`: the line protocol of worker/agent/README.md.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <variant>

#include "schemas/codec.h"
#include "worker/runner/command.h"
#include "worker/runner/devices.h"
#include "worker/runner/options.h"
#include "worker/runner/run_job.h"

namespace bitsweep {
namespace {

namespace po = boost::program_options;

struct JobOptions {
    RunnerOptions runner;
    std::vector<std::string> models;
    std::vector<std::string> data;
    int result_fd = 3;
    int threads = 0;
    std::uint64_t reference_mib = 1024;
};

po::options_description describe(JobOptions& to) {
    po::options_description options("Options");
    options.add_options()("device", po::value(&to.runner.device)->value_name("D"),
                          "cpu, or cuda:N for a card (cpu)");
    options.add_options()("models", po::value(&to.models)->value_name("DIR")->composing(),
                          "folder to search models in; may be repeated");
    options.add_options()("data", po::value(&to.data)->value_name("DIR")->composing(),
                          "folder to search texts in; may be repeated");
    options.add_options()("result-fd", po::value(&to.result_fd)->value_name("N"),
                          "descriptor for progress and results (3)");
    options.add_options()("threads", po::value(&to.threads)->value_name("N"),
                          "CPU threads of jobs that name none (one per core)");
    options.add_options()("reference-mib", po::value(&to.reference_mib)->value_name("N"),
                          "most fp32 logits kept between jobs (1024)");
    return options;
}

// One line, whole, or the reason why not.
Status write_line(int descriptor, std::string line) {
    line += '\n';
    std::size_t written = 0;
    while (written < line.size()) {
        const ssize_t n = ::write(descriptor, line.data() + written, line.size() - written);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return make_error(ErrorCode::io, "descriptor " + std::to_string(descriptor) + ": " +
                                                 std::strerror(errno));
        }
        written += static_cast<std::size_t>(n);
    }
    return {};
}

Result<Dispatch> read_dispatch(const std::string& line) {
    Message message = TRY(message_from_json(line));
    Dispatch* dispatch = std::get_if<Dispatch>(&message);
    if (dispatch == nullptr) {
        return make_error(ErrorCode::invalid_input, "wanted a dispatch message");
    }
    return std::move(*dispatch);
}

Status serve(const JobOptions& options, ModelSession& session) {
    std::string line;
    std::int64_t number = 0;
    while (std::getline(std::cin, line)) {
        ++number;
        if (line.empty()) {
            continue;
        }
        Result<Dispatch> dispatch = read_dispatch(line);
        if (!dispatch) {
            return make_error(ErrorCode::invalid_input,
                              "line " + std::to_string(number) + ": " + dispatch.error().message);
        }
        if (dispatch->spec.threads == 0) {
            dispatch->spec.threads = options.threads;
        }
        const RunResult result = run_job(*dispatch, session, [&](const std::string& what) {
            // A failed write shows again with the result, where it can be reported.
            (void)write_line(options.result_fd, nlohmann::json{{"progress", what}}.dump());
        });
        TRY(write_line(options.result_fd, to_json(result)));
        if (result.outcome.outcome == OutcomeClass::gpu_fault) {
            return {};  // sticky: this process can use the device no more, a new one can
        }
    }
    return {};
}

}  // namespace

int command_job(const Arguments& arguments) {
    JobOptions options;
    if (parse(arguments, "job [OPTIONS] < dispatch lines", describe(options)) ==
        Parsed::help_shown) {
        return 0;
    }
    if (const Result<Device> device = find_device(options.runner.device); !device) {
        return report("job", device.error());
    }
    if (::fcntl(options.result_fd, F_GETFD) < 0) {
        return report("job", make_error(ErrorCode::invalid_input,
                                        "result descriptor " + std::to_string(options.result_fd) +
                                            " is not open: add " +
                                            std::to_string(options.result_fd) + ">FILE"));
    }
    // A reader that went away is an error of write(), with words, not a silent death.
    std::signal(SIGPIPE, SIG_IGN);
    options.runner.model_dirs.assign(options.models.begin(), options.models.end());
    options.runner.data_dirs.assign(options.data.begin(), options.data.end());
    options.runner.reference_bytes = options.reference_mib << 20;
    ModelSession session(options.runner);
    const Status served = serve(options, session);
    return served ? 0 : report("job", served.error());
}

}  // namespace bitsweep
