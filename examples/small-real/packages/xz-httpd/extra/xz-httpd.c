/* An HTTP server that answers a POST with its body as an .xz file.
 *
 *   xz-httpd [ADDRESS PORT]   serves, by default on 127.0.0.1 8100
 *   xz-httpd --self-test      serves on a free port, asks itself once, and unpacks the answer
 */
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <lzma.h>

#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static const char question[] = "the quick brown panda eats the quick brown bamboo";

static void answer(struct evhttp_request *request, void *unused) {
  (void)unused;
  struct evbuffer *body = evhttp_request_get_input_buffer(request);
  size_t length = evbuffer_get_length(body);
  size_t room = lzma_stream_buffer_bound(length), used = 0;
  unsigned char *packed = malloc(room);
  struct evbuffer *reply = evbuffer_new();
  if (!packed || !reply ||
      lzma_easy_buffer_encode(6, LZMA_CHECK_CRC64, NULL, evbuffer_pullup(body, -1), length, packed,
                              &used, room) != LZMA_OK) {
    evhttp_send_error(request, HTTP_INTERNAL, "cannot compress");
  } else {
    evbuffer_add(reply, packed, used);
    evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type",
                      "application/x-xz");
    evhttp_send_reply(request, HTTP_OK, "OK", reply);
  }
  if (reply) evbuffer_free(reply);
  free(packed);
}

struct test {
  struct event_base *base;
  int passed;
};

static void check(struct evhttp_request *request, void *argument) {
  struct test *test = argument;
  if (request && evhttp_request_get_response_code(request) == HTTP_OK) {
    struct evbuffer *body = evhttp_request_get_input_buffer(request);
    size_t length = evbuffer_get_length(body), in = 0, out = 0;
    uint64_t limit = UINT64_MAX;
    unsigned char text[sizeof question];
    test->passed = lzma_stream_buffer_decode(&limit, 0, NULL, evbuffer_pullup(body, -1), &in, length,
                                             text, &out, sizeof text) == LZMA_OK &&
                   out == strlen(question) && memcmp(text, question, out) == 0;
  }
  event_base_loopbreak(test->base);
}

static void ask(struct event_base *base, unsigned short port, struct test *test) {
  struct evhttp_connection *connection =
      evhttp_connection_base_new(base, NULL, "127.0.0.1", port);
  struct evhttp_request *request = evhttp_request_new(check, test);
  evhttp_connection_set_timeout(connection, 10);
  evhttp_add_header(evhttp_request_get_output_headers(request), "Host", "127.0.0.1");
  evbuffer_add(evhttp_request_get_output_buffer(request), question, strlen(question));
  evhttp_make_request(connection, request, EVHTTP_REQ_POST, "/");
}

static unsigned short port_of(struct evhttp_bound_socket *socket) {
  struct sockaddr_in address;
  socklen_t length = sizeof address;
  int failed = getsockname(evhttp_bound_socket_get_fd(socket), (struct sockaddr *)&address, &length);
  return failed ? 0 : ntohs(address.sin_port);
}

int main(int argc, char **argv) {
  int testing = argc == 2 && strcmp(argv[1], "--self-test") == 0;
  if (argc != 1 && argc != 3 && !testing) {
    fputs("usage: xz-httpd [ADDRESS PORT] | xz-httpd --self-test\n", stderr);
    return 2;
  }
  const char *address = argc == 3 ? argv[1] : "127.0.0.1";
  int port = testing ? 0 : argc == 3 ? atoi(argv[2]) : 8100;

  struct event_base *base = event_base_new();
  struct evhttp *server = base ? evhttp_new(base) : NULL;
  if (!server) return 1;
  evhttp_set_allowed_methods(server, EVHTTP_REQ_POST);
  evhttp_set_max_body_size(server, 64 << 20);
  evhttp_set_gencb(server, answer, NULL);
  struct evhttp_bound_socket *socket =
      evhttp_bind_socket_with_handle(server, address, (unsigned short)port);
  if (!socket) {
    fprintf(stderr, "xz-httpd: cannot listen on %s port %d\n", address, port);
    return 1;
  }

  struct test test = {base, 0};
  if (testing) ask(base, port_of(socket), &test);
  event_base_dispatch(base);
  if (testing) puts(test.passed ? "self-test passed" : "self-test FAILED");
  return testing && !test.passed;
}
