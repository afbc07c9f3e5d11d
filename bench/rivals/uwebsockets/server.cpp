// Echo, or fan-out with "fan-out" as second argument, on uWebSockets over epoll.
// usage: server PORT [fan-out] [deflate]
#include "App.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

struct Nothing {};

static bool has(int count, char **words, const char *word) {
    for (int i = 2; i < count; i++) {
        if (!strcmp(words[i], word)) return true;
    }
    return false;
}

int main(int count, char **words) {
    if (count < 2) {
        fprintf(stderr, "give the port to listen on\n");
        return 2;
    }
    int port = atoi(words[1]);
    const bool fan_out = has(count, words, "fan-out"), deflate = has(count, words, "deflate");
    auto app = uWS::App();
    app.ws<Nothing>("/*", {
        .compression = deflate ? uWS::CompressOptions(uWS::SHARED_COMPRESSOR | uWS::SHARED_DECOMPRESSOR) : uWS::DISABLED,
        .maxPayloadLength = 64 * 1024 * 1024,
        .idleTimeout = 0,
        .maxBackpressure = 64 * 1024 * 1024,
        .closeOnBackpressureLimit = false,
        .resetIdleTimeoutOnSend = false,
        .sendPingsAutomatically = false,
        .open = [fan_out](auto *socket) {
            if (fan_out) socket->subscribe("all");
        },
        .message = [&app, fan_out, deflate](auto *socket, std::string_view message, uWS::OpCode code) {
            if (fan_out) {
                app.publish("all", message, code, false);
            } else {
                socket->send(message, code, deflate);
            }
        },
    });
    app.listen("127.0.0.1", port, [](auto *listening) {
        if (!listening) exit(1);
    });
    app.run();
}
