/* Receives over TLS as a C program does, so that it can be told what Python adds.
 *
 *   tls_receive CERT KEY BYTES AHEAD
 *
 * Prints the port that it listens on, takes one connection there, and receives BYTES bytes by SSL_read, 1 MiB
 * at a time, of which it computes SHA-256. AHEAD is how many bytes OpenSSL may read with one call of the
 * kernel; 0: a record's head, then its body, as Python has it. Prints the CPU seconds of the receiving.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

enum { PIECE = 1 << 20 };

static double cpu_s(void) {
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return used.tv_sec + used.tv_nsec / 1e9;
}

/* Waits for bytes, then takes all that can be had without waiting; 0 at the end. */
static size_t receive(SSL *tls, int fd, unsigned char *piece) {
    size_t got = 0;
    while (got < PIECE) {
        int count = SSL_read(tls, piece + got, (int)(PIECE - got));
        if (count > 0) {
            got += (size_t)count;
            continue;
        }
        if (SSL_get_error(tls, count) != SSL_ERROR_WANT_READ || got)
            break;
        struct pollfd readable = {.fd = fd, .events = POLLIN};
        poll(&readable, 1, -1);
    }
    return got;
}

int main(int argc, char **argv) {
    if (argc != 5)
        return 2;
    long total = atol(argv[3]), ahead = atol(argv[4]), done = 0;
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (SSL_CTX_use_certificate_chain_file(context, argv[1]) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, argv[2], SSL_FILETYPE_PEM) != 1)
        return 1;
    if (ahead) {
        SSL_CTX_set_read_ahead(context, 1);
        SSL_CTX_set_default_read_buffer_len(context, (size_t)ahead);
    }
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listening, (void *)&address, size) || listen(listening, 1) ||
        getsockname(listening, (void *)&address, &size))
        return 1;
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    int fd = accept(listening, NULL, NULL);
    SSL *tls = SSL_new(context);
    SSL_set_fd(tls, fd);
    if (SSL_accept(tls) != 1)
        return 1;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    static unsigned char piece[PIECE];
    unsigned char digest[EVP_MAX_MD_SIZE];
    double started_s = cpu_s();
    while (done < total) {
        size_t got = receive(tls, fd, piece);
        if (!got)
            return 1;
        EVP_Digest(piece, got, digest, NULL, EVP_sha256(), NULL);
        done += (long)got;
    }
    printf("%f\n", cpu_s() - started_s);
    return 0;
}
