// Echo, or fan-out with "fan-out" as second argument, on uWebSockets over epoll. Over TLS where TLS_CERT and TLS_KEY
// name files.
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

template <bool SSL> static void run(uWS::TemplatedApp<SSL> app, int port, bool fan_out, bool deflate) {
    app.template ws<Nothing>("/*", {
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

int main(int count, char **words) {
    if (count < 2) {
        fprintf(stderr, "give the port to listen on\n");
        return 2;
    }
    int port = atoi(words[1]);
    const bool fan_out = has(count, words, "fan-out"), deflate = has(count, words, "deflate");
    const char *certificate = getenv("TLS_CERT"), *key = getenv("TLS_KEY");
    if (!certificate || !key) {
        run<false>(uWS::App(), port, fan_out, deflate);
        return 0;
    }
#ifdef LIBUS_USE_OPENSSL
    run<true>(uWS::SSLApp({.key_file_name = key, .cert_file_name = certificate}), port, fan_out, deflate);
    return 0;
#else
    fprintf(stderr, "built without TLS, because libssl-dev was missing\n");
    return 2;
#endif
}
