/* A client that is no bottleneck: one thread a connection, bodies sent from memory, keep-alive.
 *
 *   put_client PORT BLOCK BODY COUNT HEAD TARGET...
 *
 * PORT is a number, or tls:NUMBER where this was compiled with -DWITH_TLS and -lssl; the server's
 * certificate is not checked then.
 *
 * Each TARGET gets a connection of its own and COUNT requests of BODY bytes, one after the other.
 * HEAD is the request's head; in it {target} {body} {first} {last} {total} {number} are replaced by
 * what the request is about: offsets count from the connection's first body. The bytes sent are the file
 * BLOCK over and over. Prints the seconds from the first connection to the last answer; any answer
 * but 2xx ends it with exit code 1.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef WITH_TLS
#include <openssl/ssl.h>
static SSL_CTX *context;
#else
typedef void SSL;
#endif

struct link {
    int fd;
    SSL *tls; /* NULL: in the clear */
};

enum { MAX_HEAD = 4096, MAX_ANSWER = 65536, MAX_TARGETS = 256 };

static int port, count;
static long body;
static const char *head;
static char *block;
static size_t block_bytes;

static void fail(const char *form, ...) {
    va_list values;
    va_start(values, form);
    vfprintf(stderr, form, values);
    va_end(values);
    fputc('\n', stderr);
    exit(1);
}

static struct link dial(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct link made = {.fd = socket(AF_INET, SOCK_STREAM, 0)};
    int on = 1;
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    setsockopt(made.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (made.fd < 0 || connect(made.fd, (struct sockaddr *)&address, sizeof address))
        fail("cannot connect to port %d", port);
#ifdef WITH_TLS
    if (context) {
        made.tls = SSL_new(context);
        SSL_set_fd(made.tls, made.fd);
        if (SSL_connect(made.tls) != 1) fail("the TLS handshake failed");
    }
#endif
    return made;
}

static void hang_up(struct link *which) {
#ifdef WITH_TLS
    if (which->tls) SSL_free(which->tls);
#endif
    close(which->fd);
    *which = (struct link){.fd = -1};
}

static ssize_t put(struct link to, const char *data, size_t length, int flags) {
#ifdef WITH_TLS
    if (to.tls) return SSL_write(to.tls, data, length);
#endif
    return send(to.fd, data, length, flags | MSG_NOSIGNAL);
}

static ssize_t get(struct link from, char *data, size_t length) {
#ifdef WITH_TLS
    if (from.tls) return SSL_read(from.tls, data, length);
#endif
    return recv(from.fd, data, length, 0);
}

/* Writes the head of request `number` into `out`; returns its length. */
static int fill(char *out, const char *target, int number) {
    struct { const char *mark; char value[32]; } marks[] = {
        {"{body}", ""}, {"{first}", ""}, {"{last}", ""}, {"{total}", ""}, {"{number}", ""}};
    snprintf(marks[0].value, 32, "%ld", body);
    snprintf(marks[1].value, 32, "%ld", body * number);
    snprintf(marks[2].value, 32, "%ld", body * (number + 1) - 1);
    snprintf(marks[3].value, 32, "%ld", body * count);
    snprintf(marks[4].value, 32, "%d", number);
    int used = 0;
    for (const char *at = head; *at;) {
        const char *value = NULL;
        size_t skip = 0;
        if (!strncmp(at, "{target}", 8)) value = target, skip = 8;
        for (int i = 0; !value && i < 5; i++)
            if (!strncmp(at, marks[i].mark, strlen(marks[i].mark)))
                value = marks[i].value, skip = strlen(marks[i].mark);
        char one[2] = {*at, 0};
        if (!value) value = one, skip = 1;
        if (used + strlen(value) >= MAX_HEAD) fail("the head is too long");
        used += sprintf(out + used, "%s", value);
        at += skip;
    }
    return used;
}

static void send_all(struct link to, const char *data, size_t length, int flags) {
    while (length) {
        ssize_t sent = put(to, data, length, flags);
        if (sent <= 0) fail("the server closed the connection");
        data += sent, length -= sent;
    }
}

static void send_body(struct link to, long offset) {
    for (long left = body; left;) {
        size_t at = offset % block_bytes, size = block_bytes - at;
        if ((long)size > left) size = left;
        send_all(to, block + at, size, 0);
        left -= size, offset += size;
    }
}

/* Reads one answer in full; returns whether the connection stays open. */
static int answered(struct link from, char *answer) {
    size_t got = 0;
    char *end = NULL;
    for (;;) {
        ssize_t more = get(from, answer + got, MAX_ANSWER - 1 - got);
        if (more <= 0) fail("the server closed before its answer was complete");
        answer[got += more] = 0;
        if (!end && !(end = strstr(answer, "\r\n\r\n"))) continue;
        char *length = strcasestr(answer, "\r\ncontent-length:");
        size_t due = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
        if (got >= (size_t)(end + 4 - answer) + due) break;
    }
    if (answer[9] != '2') fail("refused: %.1000s", answer);
    char *close_mark = strcasestr(answer, "\r\nconnection: close");
    return !close_mark || close_mark > end;
}

static void *run(void *target) {
    char *answer = malloc(MAX_ANSWER), out[MAX_HEAD];
    struct link to = dial();
    for (int number = 0; number < count; number++) {
        if (to.fd < 0) to = dial();
        send_all(to, out, fill(out, target, number), MSG_MORE);
        send_body(to, body * number);
        if (!answered(to, answer)) hang_up(&to);
    }
    if (to.fd >= 0) hang_up(&to);
    free(answer);
    return NULL;
}

static void read_block(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) fail("cannot read %s", path);
    fseek(file, 0, SEEK_END);
    block_bytes = ftell(file);
    rewind(file);
    block = malloc(block_bytes);
    if (!block_bytes || fread(block, 1, block_bytes, file) != block_bytes) fail("cannot read %s", path);
    fclose(file);
}

static int read_port(const char *text) {
    if (strncmp(text, "tls:", 4)) return atoi(text);
#ifdef WITH_TLS
    signal(SIGPIPE, SIG_IGN);
    context = SSL_CTX_new(TLS_client_method());
    if (!context) fail("no TLS");
#else
    fail("compiled without TLS");
#endif
    return atoi(text + 4);
}

int main(int argc, char **argv) {
    if (argc < 7 || argc - 6 > MAX_TARGETS) fail("put_client PORT BLOCK BODY COUNT HEAD TARGET...");
    port = read_port(argv[1]), body = atol(argv[3]), count = atoi(argv[4]), head = argv[5];
    read_block(argv[2]);
    struct timespec began, ended;
    pthread_t threads[MAX_TARGETS];
    clock_gettime(CLOCK_MONOTONIC, &began);
    for (int i = 6; i < argc; i++) pthread_create(&threads[i - 6], NULL, run, argv[i]);
    for (int i = 6; i < argc; i++) pthread_join(threads[i - 6], NULL);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    printf("%.6f\n", ended.tv_sec - began.tv_sec + (ended.tv_nsec - began.tv_nsec) / 1e9);
    return 0;
}
