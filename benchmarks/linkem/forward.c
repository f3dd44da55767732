/* The forwarding process of the link emulator.

   `core link KEY=VALUE...` makes two network namespaces, each with one TUN interface, and carries IP
   packets between them. Per direction it applies, in this order: outage, drop-tail queue, rate or
   delivery trace, random loss, delay + jitter. Lost packets have used up capacity, as on the air.
   It says "ready FD FD" (the namespaces), then obeys "start" and "stop" on its standard input and
   answers "stop" with what was carried, as JSON.

   `core enter NAMESPACE COMMAND FILE` runs a shell command in one of them and writes what it used. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <math.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MTU = 1500, OPPORTUNITY = 1500, BATCH = 64 };
#define MS 1000000LL            /* all times are int64 nanoseconds since "start" */
#define NEVER INT64_MAX
#define IFNAME "link0"

static void die(const char *what) { perror(what); exit(1); }

static int64_t epoch;           /* CLOCK_MONOTONIC at "start"; 0 before it */
static int64_t clock_of(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}
static int64_t clock_ns(void) { return clock_of(CLOCK_MONOTONIC) - epoch; }

/* ---- random numbers: one splitmix64 stream per direction and purpose ---- */
typedef struct { uint64_t s; } Rng;
static double uniform(Rng *r) {
    uint64_t z = (r->s += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return ((z ^ (z >> 31)) >> 11) * 0x1p-53;
}
static double gauss(Rng *r) {
    double u = 1 - uniform(r);
    return sqrt(-2 * log(u)) * cos(2 * M_PI * uniform(r));
}

/* ---- outages: sorted [from, to) intervals, repeated every `period` if that is not 0 ---- */
static struct { int64_t *from, *to, period; int n; } outage;

static int64_t outage_time(int64_t t) {        /* time without link in [0, t) */
    int64_t sum = 0, whole = 0;
    if (outage.period) {
        for (int i = 0; i < outage.n; i++) whole += outage.to[i] - outage.from[i];
        sum = t / outage.period * whole;
        t %= outage.period;
    }
    for (int i = 0; i < outage.n && outage.from[i] < t; i++)
        sum += (outage.to[i] < t ? outage.to[i] : t) - outage.from[i];
    return sum;
}
static int is_out(int64_t t, int64_t *edge) {  /* and when that next changes */
    int64_t base = 0;
    if (outage.period) { base = t / outage.period * outage.period; t -= base; }
    int lo = 0, hi = outage.n;                 /* first interval that ends after t */
    while (lo < hi) {
        int mid = (lo + hi) / 2;
        if (outage.to[mid] > t) hi = mid; else lo = mid + 1;
    }
    int out = lo < outage.n && outage.from[lo] <= t;
    if (edge) {
        if (lo < outage.n) *edge = base + (out ? outage.to[lo] : outage.from[lo]);
        else *edge = outage.period ? base + outage.period + outage.from[0] : NEVER;
    }
    return out;
}

/* ---- one direction ---- */
typedef struct Packet {
    struct Packet *next;
    int64_t arrived, due;
    uint64_t serial;
    int len, left;                             /* left: bytes not yet sent, in trace mode */
    unsigned char data[MTU + 36];
} Packet;

typedef struct {
    int in, out;                               /* TUN descriptors */
    double rate, delay, jitter, queue_limit;   /* bit/s, ns, ns, bytes */
    double p, r, bad_loss, good_loss, reorder, reorder_extra;
    int64_t *trace; int trace_n, trace_i; int64_t trace_base;
    Rng loss_rng, jitter_rng, reorder_rng;
    int bad;                                   /* Gilbert-Elliott state */
    double jitter_a, jitter_b; int64_t jitter_step;
    Packet *head, *tail; int64_t queue_bytes;  /* waiting for the link */
    int64_t free_at;                           /* when the last packet was fully sent */
    Packet **heap; int heap_n, heap_cap;       /* sent, on its way, ordered by due time */
    int64_t last_due; uint64_t serial;
    int64_t offered_n, offered_b, carried_n, carried_b, loss_n, queue_n, out_n;
    int64_t opportunities, max_queue, wait_sum, sent_n;
} Dir;

static Dir dirs[2];                            /* up, down */
static double late_sum; static int64_t late_n, late_max, late_2ms;
static Packet *spare;

static Packet *take_packet(void) {
    Packet *p = spare;
    if (p) spare = p->next;
    else if (!(p = malloc(sizeof *p))) die("malloc");
    return p;
}
static void drop_packet(Packet *p) { p->next = spare; spare = p; }

static void heap_push(Dir *d, Packet *p) {
    if (d->heap_n == d->heap_cap) {
        d->heap_cap = d->heap_cap ? 2 * d->heap_cap : 256;
        if (!(d->heap = realloc(d->heap, d->heap_cap * sizeof *d->heap))) die("realloc");
    }
    int i = d->heap_n++;
    for (int up; i && (up = (i - 1) / 2, d->heap[up]->due > p->due); i = up)
        d->heap[i] = d->heap[up];              /* equal times only come in serial order */
    d->heap[i] = p;
}
static int before(Packet *a, Packet *b) {
    return a->due != b->due ? a->due < b->due : a->serial < b->serial;
}
static Packet *heap_pop(Dir *d) {
    Packet *top = d->heap[0], *last = d->heap[--d->heap_n];
    int i = 0;
    for (int c; (c = 2 * i + 1) < d->heap_n; i = c) {
        if (c + 1 < d->heap_n && before(d->heap[c + 1], d->heap[c])) c++;
        if (!before(d->heap[c], last)) break;
        d->heap[i] = d->heap[c];
    }
    d->heap[i] = last;
    return top;
}

/* Delay noise at time t: a Gaussian process with standard deviation `jitter` and a correlation
   time of 100 ms, drawn on a 10 ms grid (so it depends on the seed and t, not on the traffic). */
static double jitter_at(Dir *d, int64_t t) {
    const int64_t grid = 10 * MS;
    const double keep = exp(-0.1), fresh = sqrt(1 - keep * keep);
    for (; d->jitter_step <= t / grid; d->jitter_step++) {
        d->jitter_a = d->jitter_b;
        d->jitter_b = keep * d->jitter_b + fresh * gauss(&d->jitter_rng);
    }
    double f = (double)(t % grid) / grid, x = d->jitter_a + f * (d->jitter_b - d->jitter_a);
    return d->jitter * (x > 3 ? 3 : x < -3 ? -3 : x);
}

/* The link has sent the packet at time t: lose it or put it on its way. */
static void depart(Dir *d, Packet *p, int64_t t) {
    d->head = p->next;
    d->queue_bytes -= p->len;
    d->wait_sum += t - p->arrived; d->sent_n++;
    double state = uniform(&d->loss_rng), chance = uniform(&d->loss_rng);
    d->bad = d->bad ? state >= d->r : state < d->p;
    if (is_out(t, NULL)) { d->out_n++; drop_packet(p); return; }
    if (chance < (d->bad ? d->bad_loss : d->good_loss)) { d->loss_n++; drop_packet(p); return; }
    double wait = d->delay + (d->jitter ? jitter_at(d, t) : 0);
    p->due = t + (int64_t)(wait > 0 ? wait : 0);
    if (p->due < d->last_due) p->due = d->last_due;        /* keep the order */
    d->last_due = p->due;
    if (d->reorder && uniform(&d->reorder_rng) < d->reorder) p->due += (int64_t)d->reorder_extra;
    p->serial = d->serial++;
    heap_push(d, p);
}

static int64_t opportunity_at(Dir *d) { return d->trace_base + d->trace[d->trace_i]; }

static void serve(Dir *d, int64_t now) {
    if (!d->trace) {
        while (d->head) {
            int64_t from = d->head->arrived > d->free_at ? d->head->arrived : d->free_at;
            int64_t t = from + (d->rate ? (int64_t)(d->head->len * 8e9 / d->rate) : 0);
            if (t > now) return;
            d->free_at = t;
            depart(d, d->head, t);
        }
        return;
    }
    for (int64_t t; (t = opportunity_at(d)) <= now; ) {
        if (++d->trace_i == d->trace_n) {
            d->trace_i = 0;
            d->trace_base += d->trace[d->trace_n - 1];
        }
        d->opportunities += !is_out(t, NULL);
        for (int budget = OPPORTUNITY; budget && d->head; ) {
            int part = d->head->left < budget ? d->head->left : budget;
            budget -= part;
            if (!(d->head->left -= part)) depart(d, d->head, t);
        }
    }
}

static void ingest(Dir *d, int64_t now) {
    for (int i = 0; i < BATCH; i++) {
        Packet *p = take_packet();
        int len = read(d->in, p->data, sizeof p->data);
        if (len <= 0) { drop_packet(p); return; }
        if (!epoch) { drop_packet(p); continue; }          /* the link is not up yet */
        d->offered_n++; d->offered_b += len;
        if (is_out(now, NULL)) { d->out_n++; drop_packet(p); continue; }
        if (d->queue_bytes + len > d->queue_limit) { d->queue_n++; drop_packet(p); continue; }
        p->len = p->left = len; p->arrived = now; p->next = NULL;
        if (d->head) d->tail->next = p; else d->head = p;
        d->tail = p;
        d->queue_bytes += len;
        if (d->queue_bytes > d->max_queue) d->max_queue = d->queue_bytes;
    }
}

/* ---- what TCP makes of it: bytes of data that arrived above, and those acknowledged below ---- */
enum { FLOWS = 65536 };
static struct { uint32_t top; int live; } flows[FLOWS];   /* by the device's port */
static int64_t payload_up, acked_up;

static void observe(Dir *d, Packet *p) {
    unsigned char *ip = p->data, *tcp = ip + (ip[0] & 15) * 4;
    if (p->len < 40 || ip[0] >> 4 != 4 || ip[9] != IPPROTO_TCP || tcp + 20 > ip + p->len) return;
    if (d == &dirs[0]) { payload_up += p->len - (tcp - ip) - (tcp[12] >> 4) * 4; return; }
    int port = tcp[2] << 8 | tcp[3], syn = tcp[13] & 2, ack = tcp[13] & 16;
    uint32_t at = (uint32_t)tcp[8] << 24 | tcp[9] << 16 | tcp[10] << 8 | tcp[11];
    if (!ack) return;
    if (syn || !flows[port].live) { flows[port].top = at; flows[port].live = 1; }
    int32_t news = (int32_t)(at - flows[port].top);
    if (news > 0) { acked_up += news; flows[port].top = at; }
}

static void release(Dir *d, int64_t now) {
    while (d->heap_n && d->heap[0]->due <= now) {
        Packet *p = heap_pop(d);
        int64_t late = now - p->due;
        late_sum += late; late_n++; late_2ms += late > 2 * MS;
        if (late > late_max) late_max = late;
        if (write(d->out, p->data, p->len) == p->len) {
            d->carried_n++; d->carried_b += p->len;
            observe(d, p);
        }
        else d->out_n++;                                   /* the interface is down */
        drop_packet(p);
    }
}

/* When there is next something to do.  Sending times are computed, not observed, so a packet may
   be sent as late as its delay allows: one wake-up serves both its sending and its arrival. */
static int64_t next_event(Dir *d) {
    int64_t t = NEVER;
    if (d->heap_n) t = d->heap[0]->due;
    if (d->head) {
        int64_t s = d->trace ? opportunity_at(d)
            : (d->head->arrived > d->free_at ? d->head->arrived : d->free_at)
              + (d->rate ? (int64_t)(d->head->len * 8e9 / d->rate) : 0);
        double least = d->delay - 3 * d->jitter;
        s += least > 0 ? (int64_t)least : 0;
        if (s < t) t = s;
    }
    return t;
}

/* Bytes the link could have sent in [0, t): the integral of its rate over the time it was up. */
static double capacity(Dir *d, int64_t t) {
    if (d->trace) { serve(d, t); return (double)d->opportunities * OPPORTUNITY; }
    return d->rate / 8e9 * (t - outage_time(t));
}

/* ---- namespaces ---- */
static int ns_host, ns_fd[2], ctl[2];          /* device, server; a socket inside each */

#define TCP_SYS "/proc/sys/net/ipv4/tcp_"       /* of the namespace we are in */
static void put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY);
    if (fd < 0 || write(fd, text, strlen(text)) < 0) {
        fprintf(stderr, "link emulator: cannot set %s to %s: %s\n", path, text, strerror(errno));
        exit(1);
    }
    close(fd);
}
/* A namespace may only default to an algorithm that the machine lists as allowed.  That list is
   the one machine-wide setting changed here: it lets programs pick the algorithm, no more. */
static void allow_congestion_control(const char *cc) {
    char list[256] = "", wanted[64];
    FILE *f = fopen(TCP_SYS "allowed_congestion_control", "r");
    if (!f || !fgets(list + 1, 180, f)) die("allowed_congestion_control");
    fclose(f);
    list[0] = ' ';
    list[strcspn(list, "\n")] = ' ';
    snprintf(wanted, sizeof wanted, " %s ", cc);
    if (strstr(list, wanted)) return;
    put(TCP_SYS "allowed_congestion_control", strcat(list, cc) + 1);  /* no leading space */
    fprintf(stderr, "link emulator: added %s to the machine's tcp_allowed_congestion_control\n", cc);
}
static void set_flag(int sock, const char *name, int up) {
    struct ifreq r = {0};
    strcpy(r.ifr_name, name);
    if (ioctl(sock, SIOCGIFFLAGS, &r)) die("SIOCGIFFLAGS");
    r.ifr_flags = up ? r.ifr_flags | IFF_UP : r.ifr_flags & ~IFF_UP;
    if (ioctl(sock, SIOCSIFFLAGS, &r)) die("SIOCSIFFLAGS");
}
static void set_addr(int sock, unsigned long request, const char *ip) {
    struct ifreq r = {0};
    struct sockaddr_in *a = (struct sockaddr_in *)&r.ifr_addr;
    strcpy(r.ifr_name, IFNAME);
    a->sin_family = AF_INET;
    inet_pton(AF_INET, ip, &a->sin_addr);
    if (ioctl(sock, request, &r)) die("set address");
}
static int make_side(int side, const char *ip, const char *cc) {
    struct ifreq r = {0};
    if (unshare(CLONE_NEWNET)) die("unshare (are you root?)");
    if ((ns_fd[side] = open("/proc/thread-self/ns/net", O_RDONLY)) < 0) die("ns/net");
    if ((ctl[side] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) < 0) die("socket");
    put(TCP_SYS "congestion_control", cc);
    put(TCP_SYS "rmem", "4096 131072 6291456");            /* the kernel's own defaults */
    put(TCP_SYS "wmem", "4096 16384 4194304");
    if (!access("/proc/sys/net/ipv6", F_OK)) {
        put("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
        put("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
    }
    int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (tun < 0) die("/dev/net/tun");
    strcpy(r.ifr_name, IFNAME);
    r.ifr_flags = IFF_TUN | IFF_NO_PI;
    if (ioctl(tun, TUNSETIFF, &r)) die("TUNSETIFF");
    r.ifr_qlen = 5000;                         /* so that only our own queue drops */
    if (ioctl(ctl[side], SIOCSIFTXQLEN, &r)) die("SIOCSIFTXQLEN");
    set_addr(ctl[side], SIOCSIFADDR, ip);
    set_addr(ctl[side], SIOCSIFNETMASK, "255.255.255.0");
    set_flag(ctl[side], "lo", 1);
    set_flag(ctl[side], IFNAME, 1);
    if (setns(ns_host, CLONE_NEWNET)) die("setns");
    return tun;
}
/* Packets the kernel dropped before we could read them (this process starved): should be 0. */
static long host_drops(int side) {
    char line[512]; long drops = -1;
    if (setns(ns_fd[side], CLONE_NEWNET)) die("setns");
    FILE *f = fopen("/proc/thread-self/net/dev", "r");
    while (f && fgets(line, sizeof line, f)) {
        char *at = strstr(line, IFNAME ":");
        if (at) sscanf(at + sizeof IFNAME, "%*s %*s %*s %*s %*s %*s %*s %*s " /* received */
                       "%*s %*s %*s %ld", &drops);
    }
    if (f) fclose(f);
    if (setns(ns_host, CLONE_NEWNET)) die("setns");
    return drops;
}
/* Our parent is gone: kill everything that lives in the two namespaces. */
static void sweep(void) {
    struct stat ours[2], theirs;
    fstat(ns_fd[0], &ours[0]); fstat(ns_fd[1], &ours[1]);
    DIR *proc = opendir("/proc");
    for (struct dirent *e; proc && (e = readdir(proc)); ) {
        char path[64];
        int pid = atoi(e->d_name);
        snprintf(path, sizeof path, "/proc/%d/ns/net", pid);
        if (pid > 0 && !stat(path, &theirs)
            && (theirs.st_ino == ours[0].st_ino || theirs.st_ino == ours[1].st_ino))
            kill(pid, SIGKILL);
    }
}

/* ---- settings ---- */
static int64_t *read_times(const char *path, int *n, double unit) {
    FILE *f = fopen(path, "r");
    int64_t *list = NULL; double v; int cap = 0;
    if (!f) die(path);
    for (*n = 0; fscanf(f, "%lf", &v) == 1; list[(*n)++] = llround(v * unit))
        if (*n == cap && !(list = realloc(list, (cap = cap ? 2 * cap : 1024) * sizeof *list)))
            die("realloc");
    fclose(f);
    return list;
}
static void set_dir(Dir *d, const char *key, const char *v) {
    if (!strcmp(key, "seed")) {
        uint64_t s = strtoull(v, NULL, 10);
        d->loss_rng.s = s; d->jitter_rng.s = s ^ 0x5bd1e995A5A5ULL; d->reorder_rng.s = ~s;
    } else if (!strcmp(key, "rate")) d->rate = atof(v);
    else if (!strcmp(key, "delay")) d->delay = atof(v) * MS;
    else if (!strcmp(key, "jitter")) d->jitter = atof(v) * MS;
    else if (!strcmp(key, "queue")) d->queue_limit = atof(v);
    else if (!strcmp(key, "ge"))
        sscanf(v, "%lf:%lf:%lf:%lf", &d->p, &d->r, &d->bad_loss, &d->good_loss);
    else if (!strcmp(key, "reorder")) {
        sscanf(v, "%lf:%lf", &d->reorder, &d->reorder_extra);
        d->reorder_extra *= MS;
    } else if (!strcmp(key, "trace") && *v) d->trace = read_times(v, &d->trace_n, MS);
}

static void report(const char *name, Dir *d, int64_t end, int side) {
    printf("\"%s\": {\"offered_packets\": %lld, \"offered_bytes\": %lld, "
           "\"carried_packets\": %lld, \"carried_bytes\": %lld, "
           "\"dropped_loss\": %lld, \"dropped_queue\": %lld, "
           "\"dropped_outage\": %lld, \"dropped_host\": %ld, \"capacity_bytes\": %.0f, "
           "\"max_queue_bytes\": %lld, \"mean_queue_ms\": %.2f}, ", name,
           (long long)d->offered_n, (long long)d->offered_b, (long long)d->carried_n,
           (long long)d->carried_b, (long long)d->loss_n, (long long)d->queue_n,
           (long long)d->out_n, host_drops(side), capacity(d, end), (long long)d->max_queue,
           d->sent_n ? (double)d->wait_sum / d->sent_n / MS : 0);
}

static int run_link(int argc, char **argv) {
    const char *cc = "cubic"; FILE *series = NULL;
    int ifdown = 0, link_up = 1; int64_t every = 100 * MS, next_row = 0;
    for (int i = 2; i < argc; i++) {
        char *key = argv[i], *v = strchr(key, '=');
        *v++ = 0;
        if (!strncmp(key, "up.", 3)) set_dir(&dirs[0], key + 3, v);
        else if (!strncmp(key, "down.", 5)) set_dir(&dirs[1], key + 5, v);
        else if (!strcmp(key, "cc")) cc = v;
        else if (!strcmp(key, "ifdown")) ifdown = atoi(v);
        else if (!strcmp(key, "period")) outage.period = llround(atof(v) * MS);
        else if (!strcmp(key, "every")) every = llround(atof(v) * MS);
        else if (!strcmp(key, "series")) { if (!(series = fopen(v, "w"))) die(v); }
        else if (!strcmp(key, "outages")) {
            int n; int64_t *t = read_times(v, &n, MS);
            outage.n = n / 2;
            outage.from = calloc(outage.n + 1, 8); outage.to = calloc(outage.n + 1, 8);
            for (int k = 0; k < outage.n; k++) {
                outage.from[k] = t[2 * k];
                outage.to[k] = t[2 * k + 1];
            }
        }
    }
    for (int k = 0; k < 2; k++) dirs[k].jitter_b = gauss(&dirs[k].jitter_rng);
    if ((ns_host = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) < 0) die("ns/net");
    allow_congestion_control(cc);
    int dev = make_side(0, "10.9.0.1", cc), srv = make_side(1, "10.9.0.2", cc);
    dirs[0].in = dirs[1].out = dev;
    dirs[0].out = dirs[1].in = srv;
    prctl(PR_SET_TIMERSLACK, 1);
    struct sched_param rt = { .sched_priority = 10 };      /* best effort: timing accuracy */
    sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &rt);
    if (series)
        fprintf(series, "t_s,link_up,up_capacity_b,up_offered_b,up_carried_b,up_queue_b,"
                        "down_capacity_b,down_offered_b,down_carried_b,down_queue_b,"
                        "up_payload_b,up_acked_b\n");
    printf("ready %d %d\n", ns_fd[0], ns_fd[1]);
    fflush(stdout);

    struct pollfd fds[3] = {{dev, POLLIN, 0}, {srv, POLLIN, 0}, {0, POLLIN, 0}};
    for (;;) {
        int64_t now = clock_ns(), wake = NEVER, edge = NEVER;
        if (epoch) {
            for (int k = 0; k < 2; k++) {
                Dir *d = &dirs[k];
                serve(d, now);                 /* what was due before the new packets came */
                if (fds[k].revents) { ingest(d, now); serve(d, now); }
                release(d, now);
                int64_t t = next_event(d);
                if (t < wake) wake = t;
            }
            if (ifdown) {
                int up = !is_out(now, &edge);
                if (up != link_up) set_flag(ctl[0], IFNAME, link_up = up);
                if (edge < wake) wake = edge;
            }
            if (series && now >= next_row) {
                fprintf(series, "%.3f,%d", next_row / 1e9, !is_out(next_row, NULL));
                for (int k = 0; k < 2; k++)
                    fprintf(series, ",%.0f,%lld,%lld,%lld", capacity(&dirs[k], now),
                            (long long)dirs[k].offered_b, (long long)dirs[k].carried_b,
                            (long long)dirs[k].queue_bytes);
                fprintf(series, ",%lld,%lld\n", (long long)payload_up, (long long)acked_up);
                next_row += every;
            }
            if (series && next_row < wake) wake = next_row;
        } else { ingest(&dirs[0], now); ingest(&dirs[1], now); }
        fds[0].revents = fds[1].revents = 0;

        struct timespec wait = {0}, *limit = NULL;
        if (wake != NEVER) {
            int64_t left = wake - clock_ns();
            if (left > 0) { wait.tv_sec = left / 1000000000; wait.tv_nsec = left % 1000000000; }
            limit = &wait;
        }
        /* a TUN whose interface is down polls as ready with an error: do not watch it */
        fds[0].fd = link_up ? dev : -1;
        if (ppoll(fds, 3, limit, NULL) < 0 && errno != EINTR) die("ppoll");
        if (fds[2].revents) {
            char line[64];
            int n = read(0, line, sizeof line);
            if (n <= 0) { sweep(); return 1; }
            if (!strncmp(line, "start", 5)) {
                epoch = 0; epoch = clock_ns();
                puts("started"); fflush(stdout);
            } else if (!strncmp(line, "stop", 4)) break;
        }
    }
    int64_t end = clock_ns();
    putchar('{');
    report("up", &dirs[0], end, 0);
    report("down", &dirs[1], end, 1);
    printf("\"payload_bytes\": %lld, \"acked_bytes\": %lld, ",
           (long long)payload_up, (long long)acked_up);
    printf("\"outage_s\": %.3f, \"late_mean_ms\": %.3f, \"late_max_ms\": %.3f, "
           "\"late_over_2ms\": %.5f, "
           "\"emulator_cpu_s\": %.3f}\n", outage_time(end) / 1e9,
           late_n ? late_sum / late_n / MS : 0, (double)late_max / MS,
           late_n ? (double)late_2ms / late_n : 0,
           clock_of(CLOCK_PROCESS_CPUTIME_ID) / 1e9);
    fflush(stdout);
    if (series) fclose(series);
    epoch = 0;                                 /* from here on nothing passes */
    char rest[64];
    while (read(0, rest, sizeof rest) > 0) {}
    sweep();
    return 0;
}

/* Run a shell command in a network namespace, with a /sys that shows its interfaces, and write
   its CPU time (s) and the peak memory (KiB) of its largest process to a file. */
static int enter(const char *ns, const char *command, const char *usage_path) {
    int fd = open(ns, O_RDONLY | O_CLOEXEC), status;
    struct rusage u;
    if (fd < 0 || setns(fd, CLONE_NEWNET)) die("setns");
    if (unshare(CLONE_NEWNS) || mount("", "/", NULL, MS_SLAVE | MS_REC, NULL))
        die("mount namespace");
    if (mount("sysfs", "/sys", "sysfs", 0, NULL)) perror("link emulator: /sys");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    pid_t pid = fork();                        /* a child's memory peak starts from nothing */
    if (pid < 0) die("fork");
    if (!pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        die("/bin/sh");
    }
    signal(SIGTERM, SIG_IGN);                  /* meant for the command; we report how it ended */
    signal(SIGINT, SIG_IGN);
    while (waitpid(pid, &status, 0) < 0) {}
    for (int i = 0; i < 20 && waitpid(-1, NULL, WNOHANG) >= 0; i++)
        usleep(10000);                         /* what it left behind, if that ends as well */
    getrusage(RUSAGE_CHILDREN, &u);
    FILE *f = fopen(usage_path, "w");
    if (!f) die(usage_path);
    fprintf(f, "%.3f %ld\n", u.ru_utime.tv_sec + u.ru_stime.tv_sec
            + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6, u.ru_maxrss);
    fclose(f);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int main(int argc, char **argv) {
    if (argc == 5 && !strcmp(argv[1], "enter")) return enter(argv[2], argv[3], argv[4]);
    if (argc >= 2 && !strcmp(argv[1], "link")) return run_link(argc, argv);
    return 2;
}
