// Under which address other machines reach this one.
#pragma once

#include <string>

namespace bitsweep {

// The address of the interface that the default route leaves by, "10.0.0.5"; else the host's name.
// Nothing is sent.
std::string own_address();

// `endpoint` as others can use it: its host replaced by `host` where that is given, and, where it
// stands for every interface (0.0.0.0, [::]), by own_address().
std::string advertised(const std::string& endpoint, const std::string& host);

// As this machine reaches it: every interface includes the loopback.
std::string local_endpoint(const std::string& endpoint);

}  // namespace bitsweep
