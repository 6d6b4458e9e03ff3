/* The load generator: a WebSocket client on one thread that holds any number of connections to one port of 127.0.0.1.
 *
 *   load PORT [HEADER...]       each HEADER is a whole field, "Name: value", added to every handshake
 *
 * It reads one command a line and answers each with one line of JSON; it ends when its standard input does.
 *
 *   open N                      opens or closes connections until N are open
 *   relay SIZE WINDOW SECONDS   keeps WINDOW messages of SIZE bytes outstanding on every open connection
 *   rotate SIZE WINDOW AMONG SECONDS
 *                               keeps WINDOW messages outstanding in all, each next one on the next of AMONG connections
 *   pace SIZE RATE SECONDS      sends RATE messages a second, at fixed times, and measures from the time each was due
 *   churn WINDOW SECONDS        WINDOW loops of handshake, one 64-byte echo, Close both ways, end of the connection
 *
 * A phase ends when its last message is back, so what it counts has passed the proxy completely. Anything unexpected
 * ends the program with one line on standard error. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "accept.h"
#include "frame.h"

enum { CHUNK = 256 * 1024, REPLY_MAX = 4096, EVENTS = 512, BATCH = 32, OPENING_MAX = 32, STALL_MS = 20000 };
enum { CONTENT_MAX = 1 << 20 };
static const char KEY[] = "d3NndWFyZCBiZW5jaG1hcg=="; /* 16 bytes; the same each time, so its Accept is known */

enum phase { CONNECTING, SHAKING, OPEN, CLOSING };

struct connection {
    int fd;
    enum phase phase;
    size_t place; /* index in `connections` */
    struct frame frame;
    uint64_t message; /* payload bytes of the current message */
    unsigned owed;    /* frames still to be written, the first from `offset` */
    size_t offset;
    int blocked; /* waits for room to write */
    unsigned outstanding;
    double due; /* when the message in flight should have left (pace) */
    char reply[REPLY_MAX + 1];
    size_t reply_size;
};

enum mode { NONE, RELAY, ROTATE, PACE, CHURN };

static struct {
    enum mode mode;
    size_t size;
    double end;
    uint64_t done, outstanding;
    size_t cursor, among; /* the first `among` connections take turns */
    double *delays;
    uint64_t delays_size;
} run;

static int poller, port;
static char request[8192], expected_accept[29];
static struct connection **connections;
static size_t count, capacity, opening;
static uint8_t *content; /* one masked frame: the message every connection sends */
static size_t content_size;
static uint8_t close_frame[8], inbox[CHUNK];
static size_t close_frame_size;

static _Noreturn void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void watch(struct connection *c, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(poller, operation, c->fd, &event) < 0) fail("epoll_ctl: %s", strerror(errno));
}

static void prepare_content(size_t size) {
    uint8_t key[4];
    if (size > CONTENT_MAX) fail("a message of at most %d bytes", CONTENT_MAX);
    if (getrandom(key, 4, 0) != 4) fail("getrandom");
    run.size = size;
    content_size = frame_write_head(content, OP_BINARY, size, key);
    for (size_t i = 0; i < size; i++) content[content_size + i] = (uint8_t)("a message of the benchmark "[i % 27]);
    frame_mask(content + content_size, size, key, 0);
    content_size += size;
}

/* ---- one connection -------------------------------------------------------------------------------------------- */

static struct connection *connect_one(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct connection *c = calloc(1, sizeof *c);
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) fail("socket: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS)
        fail("connect: %s", strerror(errno));
    if (count == capacity) {
        capacity = capacity ? 2 * capacity : 1024;
        connections = realloc(connections, capacity * sizeof *connections);
    }
    c->place = count;
    connections[count++] = c;
    opening++;
    watch(c, EPOLL_CTL_ADD, EPOLLOUT);
    return c;
}

static void forget(struct connection *c) {
    connections[c->place] = connections[--count];
    connections[c->place]->place = c->place;
    close(c->fd);
    free(c);
}

static void write_owed(struct connection *c) {
    while (c->owed) {
        struct iovec parts[BATCH];
        int n = 0;
        for (; n < BATCH && (unsigned)n < c->owed; n++) {
            size_t skip = n ? 0 : c->offset;
            parts[n] = (struct iovec){content + skip, content_size - skip};
        }
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)n};
        ssize_t sent = sendmsg(c->fd, &message, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) fail("send: %s", strerror(errno));
        if (sent < 0) break;
        c->offset += (size_t)sent;
        c->owed -= (unsigned)(c->offset / content_size);
        c->offset %= content_size;
    }
    int blocked = c->owed > 0;
    if (blocked != c->blocked) watch(c, EPOLL_CTL_MOD, EPOLLIN | (blocked ? EPOLLOUT : 0));
    c->blocked = blocked;
}

static void queue_message(struct connection *c) {
    c->owed++;
    c->outstanding++;
    run.outstanding++;
}

static void send_close(struct connection *c) {
    if (send(c->fd, close_frame, close_frame_size, MSG_NOSIGNAL) != (ssize_t)close_frame_size)
        fail("send: %s", strerror(errno));
    c->phase = CLOSING;
}

/* ---- what to do next in each mode ------------------------------------------------------------------------------ */

/* The next open connection with no message on it, for a mode that spreads its messages over all of them. */
static struct connection *next_idle(void) {
    for (size_t tried = 0; tried < run.among; tried++) {
        struct connection *c = connections[run.cursor++ % run.among];
        if (c->phase == OPEN && !c->outstanding) return c;
    }
    return NULL;
}

static void message_back(struct connection *c) {
    double time = run.mode == PACE ? now() : 0;
    if (!c->outstanding) fail("a message that nobody asked for");
    if (c->message != run.size) fail("a message of %lu bytes came back as %lu", run.size, c->message);
    c->outstanding--;
    run.outstanding--;
    run.done++;
    if (run.mode == PACE) {
        run.delays[run.delays_size++] = time - c->due;
    } else if (run.mode == CHURN) {
        send_close(c);
    } else if (now() < run.end) {
        struct connection *next = run.mode == RELAY ? c : next_idle();
        queue_message(next);
        if (next != c) write_owed(next);
    }
}

static void opened(struct connection *c) {
    c->phase = OPEN;
    opening--;
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
    if (run.mode != CHURN) return;
    queue_message(c);
    write_owed(c);
}

static void ended(struct connection *c) {
    if (c->phase != CLOSING) fail("the connection ended in phase %d", c->phase);
    forget(c);
    if (run.mode == CHURN && now() < run.end) connect_one();
}

/* ---- what arrives ---------------------------------------------------------------------------------------------- */

static void read_frames(struct connection *c, uint8_t *data, size_t size) {
    struct frame *f = &c->frame;
    while (size) {
        if (!f->complete) {
            size_t used = frame_read_head(f, data, size);
            data += used, size -= used;
            if (!f->complete) return;
            if (f->masked) fail("a masked frame from the server");
        }
        size_t take = f->left < size ? (size_t)f->left : size;
        f->left -= take, data += take, size -= take;
        if (f->left) return;
        if (f->opcode == OP_CLOSE && c->phase != CLOSING) fail("the server closed a connection in use");
        if (f->opcode < OP_CLOSE) {
            c->message += f->length;
            if (f->fin) {
                message_back(c);
                c->message = 0;
            }
        }
        frame_next(f);
    }
    if (c->owed && !c->blocked && c->phase == OPEN) write_owed(c);
}

static void read_reply(struct connection *c, uint8_t *data, size_t size) {
    if (c->reply_size + size > REPLY_MAX) fail("a reply longer than %d bytes", REPLY_MAX);
    memcpy(c->reply + c->reply_size, data, size);
    c->reply_size += size;
    c->reply[c->reply_size] = 0;
    char *end = strstr(c->reply, "\r\n\r\n");
    if (!end) return;
    if (strncmp(c->reply, "HTTP/1.1 101 ", 13) != 0) fail("the handshake was answered: %.200s", c->reply);
    if (!strstr(c->reply, expected_accept)) fail("a 101 with a wrong Sec-WebSocket-Accept");
    size_t head = (size_t)(end + 4 - c->reply);
    opened(c);
    read_frames(c, (uint8_t *)c->reply + head, c->reply_size - head);
}

static void serve(struct connection *c, uint32_t events) {
    if (c->phase == CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) fail("connect: %s", strerror(error));
        size_t length = strlen(request);
        if (send(c->fd, request, length, MSG_NOSIGNAL) != (ssize_t)length) fail("send: %s", strerror(errno));
        c->phase = SHAKING;
        watch(c, EPOLL_CTL_MOD, EPOLLIN);
        return;
    }
    if (events & EPOLLOUT) write_owed(c);
    if (!(events & ~EPOLLOUT)) return;
    ssize_t got = recv(c->fd, inbox, CHUNK, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0)
        ended(c);
    else if (c->phase == SHAKING)
        read_reply(c, inbox, (size_t)got);
    else
        read_frames(c, inbox, (size_t)got);
}

/* Waits for events and serves them; says whether `timer`, marked by a null pointer, was among them. */
static int turn(void) {
    struct epoll_event events[EVENTS];
    int timer = 0, ready = epoll_wait(poller, events, EVENTS, STALL_MS);
    if (!ready) fail("nothing came for %d ms: %lu messages outstanding", STALL_MS, run.outstanding);
    for (int i = 0; i < ready; i++) {
        if (events[i].data.ptr)
            serve(events[i].data.ptr, events[i].events);
        else
            timer = 1;
    }
    return timer;
}

/* ---- commands -------------------------------------------------------------------------------------------------- */

static void hold(size_t wanted) {
    run.mode = NONE;
    for (size_t i = wanted; i < count; i++) send_close(connections[i]);
    while (count > wanted) turn();
    while (count < wanted || opening) {
        while (count < wanted && opening < OPENING_MAX) connect_one();
        turn();
    }
}

static void start(enum mode mode, size_t size, double seconds) {
    prepare_content(size);
    run.mode = mode;
    run.among = count;
    run.done = run.delays_size = 0;
    run.end = now() + seconds;
}

static void report(double began) { printf("{\"messages\": %lu, \"seconds\": %.6f}\n", run.done, now() - began); }

static void relay(size_t size, unsigned window, double seconds) {
    double began = now();
    start(RELAY, size, seconds);
    for (size_t i = 0; i < count; i++) {
        for (unsigned j = 0; j < window; j++) queue_message(connections[i]);
        write_owed(connections[i]);
    }
    while (run.outstanding) turn();
    report(began);
}

static void rotate(size_t size, unsigned window, size_t among, double seconds) {
    double began = now();
    if (window > among || among > count) fail("rotate: %u messages on %zu of %zu connections", window, among, count);
    start(ROTATE, size, seconds);
    run.among = among;
    for (unsigned i = 0; i < window; i++) {
        struct connection *c = next_idle();
        queue_message(c);
        write_owed(c);
    }
    while (run.outstanding) turn();
    report(began);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* A message that finds no idle connection waits, and its waiting counts: the schedule never slows with the proxy. */
static void pace(size_t size, double rate, double seconds) {
    uint64_t planned = (uint64_t)(rate * seconds), sent = 0;
    double step = 1 / rate, began = now();
    struct itimerspec period = {.it_interval.tv_nsec = (long)(step * 1e9), .it_value.tv_nsec = (long)(step * 1e9)};
    struct epoll_event event = {.events = EPOLLIN};
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    start(PACE, size, seconds);
    run.delays = realloc(run.delays, planned * sizeof *run.delays);
    epoll_ctl(poller, EPOLL_CTL_ADD, timer, &event);
    timerfd_settime(timer, 0, &period, NULL);
    while (run.done < planned) {
        uint64_t ticks;
        if (turn() && read(timer, &ticks, sizeof ticks) < 0) continue;
        for (struct connection *c; sent < planned && now() >= began + (double)(sent + 1) * step && (c = next_idle());) {
            c->due = began + (double)++sent * step;
            queue_message(c);
            write_owed(c);
        }
    }
    close(timer);
    qsort(run.delays, planned, sizeof *run.delays, compare);
    printf("{\"messages\": %lu, \"seconds\": %.6f, \"p50\": %.9f, \"p99\": %.9f}\n", planned, now() - began,
           run.delays[planned / 2], run.delays[planned * 99 / 100]);
}

static void churn(unsigned window, double seconds) {
    hold(0);
    double began = now();
    start(CHURN, 64, seconds);
    for (unsigned i = 0; i < window; i++) connect_one();
    while (count) turn();
    report(began);
}

static void write_request(int argc, char **argv) {
    size_t size = (size_t)snprintf(request, sizeof request,
                                   "GET /ws HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                   "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n",
                                   port, KEY);
    for (int i = 2; i < argc; i++) {
        size += (size_t)snprintf(request + size, sizeof request - size, "%s\r\n", argv[i]);
        if (size >= sizeof request - 2) fail("headers of at most %zu bytes", sizeof request);
    }
    strcpy(request + size, "\r\n");
    websocket_accept(KEY, expected_accept);
}

int main(int argc, char **argv) {
    char line[256];
    size_t size, among;
    unsigned window;
    double rate, seconds;
    if (argc < 2) fail("usage: load PORT [HEADER...]");
    port = atoi(argv[1]);
    write_request(argc, argv);
    poller = epoll_create1(EPOLL_CLOEXEC);
    content = malloc(CONTENT_MAX + FRAME_HEAD_MAX);
    close_frame_size = frame_write_head(close_frame, OP_CLOSE, 2, (const uint8_t[4]){0, 0, 0, 0});
    close_frame[close_frame_size++] = 1000 >> 8;
    close_frame[close_frame_size++] = 1000 & 0xff;
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "open %zu", &size) == 1)
            hold(size), printf("{\"open\": %zu}\n", count);
        else if (sscanf(line, "relay %zu %u %lf", &size, &window, &seconds) == 3)
            relay(size, window, seconds);
        else if (sscanf(line, "rotate %zu %u %zu %lf", &size, &window, &among, &seconds) == 4)
            rotate(size, window, among, seconds);
        else if (sscanf(line, "pace %zu %lf %lf", &size, &rate, &seconds) == 3)
            pace(size, rate, seconds);
        else if (sscanf(line, "churn %u %lf", &window, &seconds) == 2)
            churn(window, seconds);
        else
            fail("no such command: %s", line);
        fflush(stdout);
    }
    return 0;
}
