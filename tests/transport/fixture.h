// A folder that goes away, and a coordinator socket with keys in it.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "coordinator/transport/keys.h"
#include "coordinator/transport/router.h"
#include "tests/temp_folder.h"
#include "worker/agent/dealer.h"

namespace bitsweep {

class TransportTest : public testing::Test {
 protected:
    void SetUp() override { keys_ = folder_ / "keys"; }

    std::unique_ptr<Router> bind() {
        EXPECT_TRUE(ensure_server_keys(keys_));
        auto router = Router::bind({"tcp://127.0.0.1:0", keys_});
        EXPECT_TRUE(router) << router.error().message;
        return router ? std::move(*router) : nullptr;
    }

    Access access(const std::string& name, Role role, const std::string& url) {
        const auto file = new_access(keys_, name, role, url);
        EXPECT_TRUE(file) << file.error().message;
        const auto access = read_access(*file);
        EXPECT_TRUE(access) << access.error().message;
        return *access;
    }

    // Everything that arrives until `count` messages did or two seconds passed.
    static std::vector<Incoming> take(Router& router, std::size_t count) {
        std::vector<Incoming> all;
        for (int i = 0; i < 40 && all.size() < count; ++i) {
            for (Incoming& incoming : router.receive({50}, 100)) {
                all.push_back(std::move(incoming));
            }
        }
        return all;
    }

    TempFolder folder_;
    std::filesystem::path keys_;
};

}  // namespace bitsweep
