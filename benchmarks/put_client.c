/* A client that is no bottleneck: one thread a connection, bodies sent from memory, keep-alive.
 *
 *   put_client PORT BLOCK BODY COUNT HEAD TARGET...
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
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

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

static int dial(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int made = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (made < 0 || connect(made, (struct sockaddr *)&address, sizeof address))
        fail("cannot connect to port %d", port);
    return made;
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

static void send_all(int to, const char *data, size_t length, int flags) {
    while (length) {
        ssize_t sent = send(to, data, length, flags | MSG_NOSIGNAL);
        if (sent <= 0) fail("the server closed the connection");
        data += sent, length -= sent;
    }
}

static void send_body(int to, long offset) {
    for (long left = body; left;) {
        size_t at = offset % block_bytes, size = block_bytes - at;
        if ((long)size > left) size = left;
        send_all(to, block + at, size, 0);
        left -= size, offset += size;
    }
}

/* Reads one answer in full; returns whether the connection stays open. */
static int answered(int from, char *answer) {
    size_t got = 0;
    char *end = NULL;
    for (;;) {
        ssize_t more = recv(from, answer + got, MAX_ANSWER - 1 - got, 0);
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
    int to = dial();
    for (int number = 0; number < count; number++) {
        if (to < 0) to = dial();
        send_all(to, out, fill(out, target, number), MSG_MORE);
        send_body(to, body * number);
        if (!answered(to, answer)) close(to), to = -1;
    }
    if (to >= 0) close(to);
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

int main(int argc, char **argv) {
    if (argc < 7 || argc - 6 > MAX_TARGETS) fail("put_client PORT BLOCK BODY COUNT HEAD TARGET...");
    port = atoi(argv[1]), body = atol(argv[3]), count = atoi(argv[4]), head = argv[5];
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
